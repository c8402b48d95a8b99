# Three nodes while their Redis is killed, stopped, emptied and full.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Ledger;
use Push::Redis;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 14;

own_servers();

no_shuffle();
run_tests();

__DATA__

=== TEST 1: killed and started again, all of it on disk
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new(aof => 'always')->start;
    my $c = Push::Cluster->ledger(redis => $r);

    $t->say(Push::Ledger->several(
        cluster => $c,
        ledger => { seconds => 30, repeat => '', accept => 0.5 },
        at => [[3, sub { $r->kill9 }], [5, sub { $r->start }],
               [12, sub { $r->restart }],
               [18, sub { $r->kill9 }], [22, sub { $r->start }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 2: stopped for a second
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new->start;
    my $c = Push::Cluster->ledger(redis => $r);

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 20, repeat => '' },
        at => [[3, sub { $r->stop }], [4, sub { $r->cont }],
               [9, sub { $r->stop }], [10, sub { $r->cont }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: stopped for ten seconds
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new->start;
    my $c = Push::Cluster->ledger(redis => $r);

    $t->say(Push::Ledger->several(
        cluster => $c,
        ledger => { seconds => 30, repeat => '', accept => 0.4 },
        at => [[3, sub { $r->stop }], [13, sub { $r->cont }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 4: stopped for a minute; who is connected stays so
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new->start;
    my $c = Push::Cluster->ledger(redis => $r);

    # nobody leaves by himself: nobody is cut off either
    $t->say(Push::Ledger->several(
        cluster => $c,
        ledger => { seconds => 75, rate => 50, churn => 0, accept => 0.1 },
        at => [[3, sub { $r->stop }], [63, sub { $r->cont }]],
        figures => sub { $_[0]{cuts} == 0 && $_[0]{stale} == 0
                         or 'devices were cut off' }));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 5: emptied
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new->start;
    my $c = Push::Cluster->ledger(redis => $r);

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 25 },
        at => [[5,  sub { $r->flushall; $_[0]->lost }],
               [15, sub { $r->flushall; $_[0]->lost }]],
        figures => sub { $_[0]{waived} < 0.1 * $_[0]{owed}
                         or "$_[0]{waived} lost by Redis" }));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 6: restarted without a disk
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new->start;
    my $c = Push::Cluster->ledger(redis => $r);

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 25, accept => 0.6 },
        at => [[5, sub { $r->kill9; $_[0]->lost }],
               [8, sub { $r->start; $_[0]->lost }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 7: full, and given room again
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new->start;
    my $c = Push::Cluster->ledger(redis => $r);

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 25, accept => 0.4 },
        at => [[4,  sub { $r->set('maxmemory', 1_000_000) }],
               [12, sub { $r->set('maxmemory', 0) }]],
        figures => sub { $_[0]{refused} > 100
                         or 'it was not full' }));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost
