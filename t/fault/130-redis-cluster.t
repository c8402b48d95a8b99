# Three nodes at a Redis Cluster: slots move under load, masters change.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Ledger;
use Push::Redis::Cluster;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 6;

own_servers();

no_shuffle();
run_tests();

__DATA__

=== TEST 1: slots move, keys and all
--- mqtt eval
sub {
    my ($t) = @_;
    my $k = Push::Redis::Cluster->new(node_timeout => 8000)->start;
    my $c = Push::Cluster->ledger(redis => $k);

    # of users, of the broadcasts, of the leases, and of a node's bus
    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 30 }, every => 1,
        trouble => sub {
            my ($l, $n) = @_;
            my $key  = ('{shop:user' . int(rand 200) . '}', '{shop}',
                        '{nodes}', 'np:bus:n1')[$n % 4];
            my $from = $k->owner($key);
            my ($to) = grep { $_ != $from } $k->masters;

            $k->migrate($k->slot($key), $from, $to, 0.1);
        }));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 2: masters hand over to their replicas
--- mqtt eval
sub {
    my ($t) = @_;
    my $k = Push::Redis::Cluster->new->start;
    my $c = Push::Cluster->ledger(redis => $k);

    # by order, and so in step: nothing is lost
    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 30 }, every => 6,
        trouble => sub { $k->failover(($k->masters)[$_[1] % 3]) }));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: a master is killed
--- mqtt eval
sub {
    my ($t) = @_;
    my $k = Push::Redis::Cluster->new(aof => 'everysec')->start;
    my $c = Push::Cluster->ledger(redis => $k);
    my $m;

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 30, accept => 0.5 },
        at => [[5,  sub { $m = $k->owner('{nodes}'); $m->kill9;
                          $_[0]->lost(1) }],
               [15, sub { $m->start }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost
