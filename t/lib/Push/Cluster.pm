package Push::Cluster;

# Several nodes at one Redis.
#
#     my $c = Push::Cluster->new(redis => Push::Redis->new->start)->start;
#     my $d = $c->dialogue(2);              # a client of node n2
#     $c->node(1)->kill_worker('KILL');     # each is a Push::Server
#     $c->kill9(3); $c->node(3)->start;     # a node, with all its processes
#
# Options: redis (a Push::Redis or one of its sets), nodes (3, named n1...),
# roles ({2 => 'room', 3 => 'center'}; default: both), journal (a
# Push::MariaDB), prefix (redis_prefix), push, product and all
# others of Push::Server for each; node => { 2 => {...} } for one of them.

use strict;
use warnings;

use Push::Server;
use Push::Test ();

my $METRICS = ' location = /metrics { push_metrics; }';

my %ROLE = (
    room   => { http => $METRICS },
    center => { room => '', http => "location /v1/ { push_center; }$METRICS" },
);

sub new {
    my ($class, %opt) = @_;
    my $self = bless {
        redis => delete $opt{redis}, journal => delete $opt{journal},
        nodes => [],
    }, $class;

    my $n      = delete $opt{nodes} // 3;
    my $name   = delete $opt{name}  // 'n';
    my $roles  = delete $opt{roles} // {};
    my $each   = delete $opt{node}  // {};
    my $prefix = delete $opt{prefix};
    my $push   = $self->{redis} ? $self->{redis}->conf : '';

    $push .= ' ' . $self->{journal}->conf
        if $self->{journal};

    $push .= " redis_prefix $prefix;" if defined $prefix;

    for my $i (1 .. $n) {
        my %one = (%opt, %{$ROLE{$roles->{$i} // ''} || {}},
                   %{$each->{$i} || {}});

        $one{push} = join ' ', $push, $opt{push} // (),
                               $each->{$i}{push} // ();
        push @{$self->{nodes}}, Push::Server->new(%one, name => "$name$i");
    }

    return $self;
}

# Nodes as the ledger needs them, started.
sub ledger {
    my ($class, %opt) = @_;
    require Push::Ledger;

    return $class->new(
        zone => '32m', wait => 40, log_level => 'notice', %opt,
        push => join(' ', $Push::Ledger::PUSH, $opt{push} // ()),
        product => "$Push::Ledger::PRODUCT group_publish on;")->start;
}

sub nodes    { @{$_[0]{nodes}} }
sub node     { $_[0]{nodes}[$_[1] - 1] }
sub redis    { $_[0]{redis} }
sub rooms    { grep { $_->{room} ne '' } $_[0]->nodes }
sub centers  { grep { $_->{http} =~ /push_center/ } $_[0]->nodes }
sub dialogue { my ($self, $i, %opt) = @_; $self->node($i)->dialogue(%opt) }

# Starts all, and waits until each has its lease and knows the others.
sub start {
    my ($self) = @_;

    $_->start for $self->nodes;
    $self->wait_nodes if $self->{redis};
    return $self;
}

sub stop {
    my ($self) = @_;

    $_->stop for $self->nodes;
    return $self;
}

# Until each node that runs sees so many alive (by default all).
sub wait_nodes {
    my ($self, $n, $seconds) = @_;

    $n //= $self->nodes;

    for my $node (grep { $_->master } $self->nodes) {
        $node->until("$n nodes alive", sub {
            my $m = eval { $node->metrics } or return 0;
            ($m->{'ngx_push_nodes{state="alive"}'} // -1) == $n;
        }, $seconds // 15);
    }

    return $self;
}

# SIGKILL to the master and all workers of a node, at once.
sub kill9 {
    my ($self, $i) = @_;
    $self->node($i)->kill_all;
}

# The longest turn of the event loop of any worker, by node, in ms.
sub stalls {
    my ($self) = @_;

    return { map { $_->{name} => $_->stall }
             grep { $_->master } $self->nodes };
}

1;
