package Push::Netns;

# A network namespace for a node, with two links to the outside: one for
# devices and HTTP, one for Redis, which can be cut.  Needs root.
#
#     my $ns = Push::Netns->new;            # undef: not possible here
#     Push::Server->new(netns => $ns->name, host => $ns->host, ...);
#     $ns->store;                           # where it reaches this machine
#     $ns->cut('out'); $ns->cut('in'); $ns->cut; $ns->mend;
#
# What is cut is dropped without a word, as by a broken network: the frames go
# to a hardware address that nobody has.

use strict;
use warnings;

my $count = 0;

sub new {
    my ($class) = @_;
    my $n    = $$ % 10000 . 'x' . ++$count;
    my $self = bless { name => "push$n", owner => $$,
                       net => [10, 64 + $$ % 128, $count] }, $class;

    return undef if $> != 0;
    return undef if system("ip netns add $self->{name} 2>/dev/null") != 0;

    my ($a, $b, $c) = @{$self->{net}};
    my $ns = $self->{name};

    # d: devices, s: store
    for my $link (['d', 0], ['s', 4]) {
        my ($kind, $at) = @$link;
        my ($out, $in)  = ("p$kind$n", "q$kind$n");

        for my $command (
            "link add $out type veth peer name $in netns $ns",
            "addr add $a.$b.$c." . ($at + 1) . "/30 dev $out",
            "link set $out up",
            "-n $ns addr add $a.$b.$c." . ($at + 2) . "/30 dev $in",
            "-n $ns link set $in up", "-n $ns link set lo up")
        {
            system("ip $command 2>/dev/null") == 0 or return undef;
        }

        $self->{$kind} = [$out, $in];
    }

    return $self;
}

sub name  { $_[0]{name} }
sub at    { join '.', @{$_[0]{net}}, $_[1] }
sub host  { $_[0]->at(2) }
sub store { $_[0]->at(5) }

# "out": from the node to the store; "in": the other way; default both.
sub cut {
    my ($self, $way) = @_;
    my ($out, $in) = @{$self->{s}};
    my $nobody = 'lladdr 02:00:00:00:00:99 nud permanent';

    system("ip -n $self->{name} neigh replace " . $self->at(5)
           . " $nobody dev $in") == 0 or die "no cut\n"
        if ($way // 'out') eq 'out';

    system('ip neigh replace ' . $self->at(6) . " $nobody dev $out") == 0
        or die "no cut\n"
        if ($way // 'in') eq 'in';
}

sub mend {
    my ($self) = @_;
    my ($out, $in) = @{$self->{s}};

    system("ip -n $self->{name} neigh del " . $self->at(5)
           . " dev $in 2>/dev/null");
    system('ip neigh del ' . $self->at(6) . " dev $out 2>/dev/null");
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);

    system("ip netns del $self->{name} 2>/dev/null")
        if $self->{owner} == $$;
}

1;
