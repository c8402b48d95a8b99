package Push::Redis::Sentinel;

# A master, replicas and three Sentinels that watch them.
#
#     my $s = Push::Redis::Sentinel->new->start;
#     $s->master->kill9;
#     $s->wait_failover;                    # another one is master now
#
# Options: name, replicas (2), sentinels (3), down_after (1000 ms),
# failover_timeout (3000 ms), locked (1: the Sentinels want the servers'
# password too), and those of Push::Redis for the servers.

use strict;
use warnings;

use Push::Redis;
use Push::Test ();

my $count = 0;

sub new {
    my ($class, %opt) = @_;
    my $name = delete $opt{name} || 'sentinel' . ++$count;
    my $self = bless {
        name => $name, master_name => 'mymaster', wait => 30,
        down_after => delete $opt{down_after} || 1000,
        failover_timeout => delete $opt{failover_timeout} || 3000,
    }, $class;

    my $replicas  = delete $opt{replicas}  // 2;
    my $sentinels = delete $opt{sentinels} // 3;
    my $config    = delete $opt{config}    // '';
    my $locked    = delete $opt{locked};
    my $ports     = Push::Test::free_ports(1 + $replicas + $sentinels);

    $config .= "\nreplica-serve-stale-data yes\nrepl-diskless-sync-delay 0"
               . "\nrepl-timeout 10\n";

    for my $i (0 .. $replicas) {
        push @{$self->{servers}}, Push::Redis->new(
            %opt, name => "$name-$i", port => $ports + $i,
            config => $config
                      . ($i ? "replicaof 127.0.0.1 $ports\n" : ''));
    }

    for my $i (1 .. $sentinels) {
        push @{$self->{sentinels}}, Push::Redis::Sentinel::One->new(
            name => "$name-s$i", port => $ports + $replicas + $i,
            program => 'redis-sentinel', keep_conf => 1,
            master => $ports, auth => [@opt{qw(user password)}],
            $locked ? map({ $_ => $opt{$_} } qw(user password)) : (),
            map { $_ => $self->{$_} }
                qw(master_name down_after failover_timeout));
    }

    return $self;
}

sub servers   { @{$_[0]{servers}} }
sub sentinels { @{$_[0]{sentinels}} }

# What a push{} block needs to use them.
sub conf {
    my ($self) = @_;

    return join(' ', "redis sentinel=$self->{master_name}",
                map { "127.0.0.1:$_->{port}" } $self->sentinels)
           . ';' . $self->{servers}[0]->auth_conf;
}

# All servers in step and all Sentinels aware of each other.
sub start {
    my ($self) = @_;

    $_->start for $self->servers;
    my ($master, @replicas) = $self->servers;

    for my $replica (@replicas) {
        $replica->until('its master', sub {
            $replica->info('master_link_status') eq 'up' }, $self->{wait});
    }

    $_->start for $self->sentinels;

    for my $one ($self->sentinels) {
        $one->until('the other Sentinels', sub {
            my %m = @{$one->command('SENTINEL', 'MASTER',
                                    $self->{master_name})};
            $m{'num-other-sentinels'} == $self->sentinels - 1
                && $m{'num-slaves'} == @replicas && $m{flags} eq 'master';
        }, $self->{wait});
    }

    return $self;
}

# The server that most Sentinels take for the master.
sub master {
    my ($self) = @_;
    my %votes;

    for my $one ($self->sentinels) {
        my $at = eval { $one->command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME',
                                      $self->{master_name}) } or next;
        $votes{$at->[1]}++;
    }

    my ($port) = sort { $votes{$b} <=> $votes{$a} } keys %votes;
    return (grep { $_->{port} == ($port // 0) } $self->servers)[0];
}

sub replicas {
    my ($self) = @_;
    my $master = $self->master;

    return grep { $_ != $master } $self->servers;
}

# Asks for a failover (the master stays alive and becomes a replica).
sub failover {
    my ($self) = @_;
    my $old    = $self->master;

    # refused as long as one is in progress
    my ($one) = $self->sentinels;
    $one->until('the order', sub {
        eval { $one->command('SENTINEL', 'FAILOVER', $self->{master_name}) }
    }, $self->{wait});

    return $self->wait_failover($old);
}

# Waits until there is another master than that one, and it says so itself.
sub wait_failover {
    my ($self, $old) = @_;

    return ($self->sentinels)[0]->until('a failover', sub {
        my $new = $self->master;

        $new && $new != $old && eval { $new->info('role') eq 'master' }
            && $new;
    }, $self->{wait});
}

package Push::Redis::Sentinel::One;

our @ISA = 'Push::Redis';

# Sentinel keeps its state in this file, and so writes it anew.
sub configuration {
    my ($self) = @_;
    my $name   = $self->{master_name};
    my ($user, $password) = @{$self->{auth}};

    # among themselves as before the servers
    my @auth = grep { !/^master/ } $self->auth_lines;

    push @auth, "sentinel sentinel-pass $self->{password}" if @auth;
    push @auth, "sentinel sentinel-user $self->{user}"
        if @auth && defined $self->{user};

    return <<"END" . join '', map { "$_\n" } @auth,
port $self->{port}
bind 127.0.0.1
dir $self->{dir}
logfile $self->{dir}/redis.log
daemonize no
sentinel monitor $name 127.0.0.1 $self->{master} 2
sentinel down-after-milliseconds $name $self->{down_after}
sentinel failover-timeout $name $self->{failover_timeout}
sentinel parallel-syncs $name 2
END
        defined $user     ? "sentinel auth-user $name $user"     : (),
        defined $password ? "sentinel auth-pass $name $password" : ();
}

1;
