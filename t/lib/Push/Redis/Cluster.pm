package Push::Redis::Cluster;

# A Redis Cluster: three masters with a replica each.
#
#     my $c = Push::Redis::Cluster->new->start;
#     my $m = $c->owner($key);              # the master that has the key
#     $c->migrate($slot, $m, $other);       # moves a slot, keys and all
#     $m->kill9; $c->wait_failover($m);
#
# Options: name, masters (3), replicas (1, of each), node_timeout (1000 ms),
# and those of Push::Redis for the servers.

use strict;
use warnings;

use Push::Redis;
use Push::Test ();
use Time::HiRes qw(sleep);

my $SLOTS = 16384;
my $count = 0;

sub new {
    my ($class, %opt) = @_;
    my $name = delete $opt{name} || 'rcluster' . ++$count;
    my $self = bless {
        name => $name, masters => delete $opt{masters} // 3,
        replicas => delete $opt{replicas} // 1, wait => 30,
        node_timeout => delete $opt{node_timeout} || 1000,
    }, $class;

    my $n      = $self->{masters} * (1 + $self->{replicas});
    my $ports  = Push::Test::free_ports(2 * $n);
    my $config = delete $opt{config} // '';

    # the bus not at port + 10000, where others get their ports
    for my $i (0 .. $n - 1) {
        my $bus = $ports + $n + $i;

        push @{$self->{servers}}, Push::Redis->new(
            %opt, name => "$name-$i", port => $ports + $i, bus => $bus,
            config => "$config\ncluster-enabled yes\ncluster-port $bus\n"
                      . "cluster-node-timeout $self->{node_timeout}\n"
                      . "cluster-announce-ip 127.0.0.1\n"
                      . "cluster-replica-validity-factor 0\n"
                      . "cluster-config-file nodes.conf\n"
                      . "repl-diskless-sync-delay 0\n");
    }

    return $self;
}

sub servers { @{$_[0]{servers}} }

# What a push{} block needs to use it.
sub conf {
    my ($self) = @_;

    return join(' ', 'redis cluster', map { "127.0.0.1:$_->{port}" }
                                      $self->servers)
           . ';' . $self->{servers}[0]->auth_conf;
}

sub start {
    my ($self) = @_;
    my ($first, @others) = map { $_->start } $self->servers;
    my @masters = ($self->servers)[0 .. $self->{masters} - 1];

    $_->command('CLUSTER', 'MEET', '127.0.0.1', $first->{port}, $first->{bus})
        for @others;

    for my $i (0 .. $#masters) {
        $masters[$i]->command('CLUSTER', 'ADDSLOTSRANGE',
                              int($SLOTS * $i / @masters),
                              int($SLOTS * ($i + 1) / @masters) - 1);
    }

    for my $server ($self->servers) {
        $server->{id} = $server->command('CLUSTER', 'MYID');
        $server->until('the others', sub {
            my @known = grep { !/handshake/ } $self->view($server);
            @known == $self->servers;
        }, $self->{wait});
    }

    for my $i (@masters .. $#{$self->{servers}}) {
        $self->{servers}[$i]->command('CLUSTER', 'REPLICATE',
                                      $masters[$i % @masters]{id});
    }

    return $self->wait_ok($self->servers - @masters);
}

# The lines of CLUSTER NODES.
sub view {
    my ($self, $server) = @_;
    return split /\n/, $server->command('CLUSTER', 'NODES');
}

# All that run say that all slots are served; so many replicas are in step.
sub wait_ok {
    my ($self, $replicas) = @_;

    for my $server (grep { $_->alive } $self->servers) {
        $server->until('the cluster', sub {
            my $info   = $server->command('CLUSTER', 'INFO');
            my @linked = grep { / connected/ && /slave/ && !/fail/ }
                         $self->view($server);

            return $info =~ /cluster_state:ok/
                   && $info =~ /cluster_slots_ok:$SLOTS/
                   && @linked >= ($replicas // 0)
                   && ($server->info('role') eq 'master'
                       || $server->info('master_link_status') eq 'up');
        }, $self->{wait});
    }

    return $self;
}

# Any that runs.
sub some { (grep { $_->alive } $_[0]->servers)[0] }

sub slot {
    my ($self, $key) = @_;
    return $self->some->command('CLUSTER', 'KEYSLOT', $key);
}

# The master of a key, or of a slot by its number.
sub owner {
    my ($self, $what) = @_;
    my $slot = $what =~ /^\d+$/ ? $what : $self->slot($what);

    for my $range (@{$self->some->command('CLUSTER', 'SLOTS')}) {
        next if $slot < $range->[0] || $slot > $range->[1];
        return (grep { $_->{port} == $range->[2][1] } $self->servers)[0];
    }

    return undef;
}

sub masters {
    my ($self) = @_;
    my %port   = map { $_->[2][1] => 1 }
                 @{$self->some->command('CLUSTER', 'SLOTS')};

    return grep { $_->alive && $port{$_->{port}} } $self->servers;
}

# A command to the master of its key, which is its first argument.
sub command {
    my ($self, $name, $key, @args) = @_;
    return $self->owner($key)->command($name, $key, @args);
}

# All masters' keys that match.
sub keys {
    my ($self, $pattern) = @_;
    return map { @{$_->command('KEYS', $pattern // '*')} } $self->masters;
}

sub flushall { $_->flushall for $_[0]->masters }

# Moves a slot as redis-cli does; "pause" seconds pass after each key, in which
# the slot is half here and half there (ASK, TRYAGAIN).  Returns how many keys
# were moved.
sub migrate {
    my ($self, $slot, $from, $to, $pause) = @_;
    my $moved = 0;

    $to->command('CLUSTER', 'SETSLOT', $slot, 'IMPORTING', $from->{id});
    $from->command('CLUSTER', 'SETSLOT', $slot, 'MIGRATING', $to->{id});

    for (;;) {
        my @keys = @{$from->command('CLUSTER', 'GETKEYSINSLOT', $slot, 1)};
        last if !@keys;

        $from->command('MIGRATE', '127.0.0.1', $to->{port}, '', 0, 5000,
                       $from->auth_words, 'KEYS', @keys);
        $moved += @keys;
        sleep $pause if $pause;
    }

    $_->command('CLUSTER', 'SETSLOT', $slot, 'NODE', $to->{id})
        for $to, $from, grep { $_ != $to && $_ != $from } $self->masters;

    return $moved;
}

# The replica takes over while the master lives.
sub failover {
    my ($self, $master) = @_;
    my ($replica) = $self->replicas_of($master) or die "no replica\n";

    $replica->command('CLUSTER', 'FAILOVER');
    return $self->wait_failover($master);
}

sub replicas_of {
    my ($self, $master) = @_;
    my %of = map { (split)[0, 3] } $self->view($self->some);

    return grep { $_->alive && ($of{$_->{id}} // '') eq $master->{id} }
           $self->servers;
}

# Waits until that server is no master of anything, and all slots have one.
sub wait_failover {
    my ($self, $old) = @_;

    for my $server (grep { $_->alive } $self->servers) {
        $server->until('a failover', sub {
            my $info = $server->command('CLUSTER', 'INFO');
            my %port = map { $_->[2][1] => 1 }
                       @{$server->command('CLUSTER', 'SLOTS')};

            return $info =~ /cluster_state:ok/ && !$port{$old->{port}};
        }, $self->{wait});
    }

    return $self;
}

1;
