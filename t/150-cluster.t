# Three nodes at one Redis, devices that move between them: short slices of
# what t/fault/1xx does at length.  Nothing that was accepted is lost.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Ledger;
use Push::Redis;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 8;

own_servers();

no_shuffle();
run_tests();

__DATA__

=== TEST 1: bound at one node before a log is there, then at another
--- mqtt eval
sub {
    my ($t) = @_;
    my $c   = Push::Cluster->ledger(redis => Push::Redis->new->start,
                                    nodes => 2);
    my ($a, $b) = ($c->dialogue(1), $c->dialogue(2));

    my $d = $a->client(client => 'd1', user => 'shop/alice');
    $d->subscribe('shop/#', 'shop/group/g1');
    $d->disconnect;

    $t->say($b->push($_, 'first')->{status}) for 'broadcast', 'groups/g1';

    $d = $b->client(client => 'd1', user => 'shop/alice');
    $d->subscribe('shop/#', 'shop/group/g1');

    my %got;
    for (1 .. 2) {
        my $p = $d->poll(5) or last;
        $got{$p->{topic} // ''}++;
    }

    $t->say(sort keys %got);
    $c->stop;
    return $t->text;
}
--- mqtt_out
202
201
shop/broadcast
shop/group/g1



=== TEST 2: a node killed and started again
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = Push::Cluster->ledger(redis => Push::Redis->new->start);

    $t->say(Push::Ledger->several(
        cluster => $c,
        ledger => { devices => 200, seconds => 9, churn => 2, repeat => '' },
        at => [[2, sub { $c->kill9(1) }], [4, sub { $c->node(1)->start }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: Redis killed and started again
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new(aof => 'always')->start;
    my $c = Push::Cluster->ledger(redis => $r);

    $t->say(Push::Ledger->several(
        cluster => $c,
        ledger => { devices => 200, seconds => 10, repeat => '',
                    accept => 0.4 },
        at => [[2, sub { $r->kill9 }], [4, sub { $r->start }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 4: Redis emptied
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new->start;
    my $c = Push::Cluster->ledger(redis => $r);

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { devices => 200, seconds => 10 },
        at => [[3, sub { $r->flushall; $_[0]->lost }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost
