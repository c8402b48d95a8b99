# Three nodes at one Redis, devices that move between them: nodes and workers
# die, a device is wanted by two nodes at once.

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

# what a master says of a worker that was killed
allow_alert(qr/worker process \d+ exited on signal 9/);

sub kill_one {
    my ($s) = @_;
    my @pids = $s->workers or return;

    kill 'KILL', $pids[rand @pids];
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: devices that move, nothing else
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = Push::Cluster->ledger(redis => Push::Redis->new->start);

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { churn => 2, drop_acks => 10, late => 30 },
        at => [[1, sub { }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 2: a node killed with all its processes, and started again
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = Push::Cluster->ledger(redis => Push::Redis->new->start);

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 40, repeat => '' },
        at => [[3,  sub { $c->kill9(1) }], [8,  sub { $c->node(1)->start }],
               [15, sub { $c->kill9(2) }], [16, sub { $c->node(2)->start }],
               [20, sub { $c->kill9(3) }], [33, sub { $c->node(3)->start }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: a worker of any node killed twice a second
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = Push::Cluster->ledger(redis => Push::Redis->new->start);

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 30, repeat => '' },
        every => 0.5,
        trouble => sub { main::kill_one($c->node(1 + $_[1] % 3)) }));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 4: devices that change the node every 200 ms
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new->start;
    my $c = Push::Cluster->ledger(redis => $r, nodes => 2);

    $t->say(Push::Ledger->several(
        cluster => $c,
        ledger => { devices => 40, groups => 5, rate => 50, churn => 0.2,
                    roam => 100, seconds => 20 },
        at => [[1, sub { }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost
