# Three nodes at a Redis that Sentinels watch: its master dies, is replaced,
# or is followed by a replica that lacks the last writes.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Ledger;
use Push::Redis::Sentinel;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 6;

own_servers();

no_shuffle();
run_tests();

__DATA__

=== TEST 1: the master is replaced by order
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Redis::Sentinel->new(down_after => 5000)->start;
    my $c = Push::Cluster->ledger(redis => $s);

    # until it is told, the old master takes what nobody will have: also what
    # a node that still is with it says to one that has gone over
    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 30, accept => 0.5 },
        at => [[5, sub { $s->failover }], [8, sub { $_[0]->lost(4, 4) }]],
        figures => sub { $_[0]{waived} < 0.05 * $_[0]{owed}
                         or "$_[0]{waived} lost by Redis" }));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 2: the master is killed
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Redis::Sentinel->new->start;
    my $c = Push::Cluster->ledger(redis => $s);
    my $old;

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 30, accept => 0.5 },
        at => [[5, sub { $old = $s->master; $old->kill9; $_[0]->lost(1) }],
               [15, sub { $old->start }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: the next master lacks the last three seconds
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Redis::Sentinel->new(replicas => 1)->start;
    my $c = Push::Cluster->ledger(redis => $s);
    my ($old, $new);

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 35, accept => 0.4 },
        at => [[5, sub {
                    ($old, $new) = ($s->master, $s->replicas);

                    # it follows nobody, until the Sentinels see to that
                    $new->command('REPLICAOF', '127.0.0.1', 1);
                }],
               [8, sub { $old->kill9; $_[0]->lost(4) }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost
