# Three nodes in networks of their own, cut from Redis, and so from each
# other: one way, both ways.  Devices still reach a node that is cut off.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Ledger;
use Push::Netns;
use Push::Redis;
use Test::Nginx::Socket;

our @nets = map { Push::Netns->new } 1 .. 3;

plan(skip_all => 'needs root and network namespaces')
    if grep { !$_ } @nets;

repeat_each(1);
plan tests => repeat_each() * 6;

own_servers();

sub cluster {
    my $r = Push::Redis->new(bind => '0.0.0.0')->start;

    # each has an address of its own for Redis
    return Push::Cluster->ledger(
        nodes => 3, redis => undef, push => 'node_lease 5s;',
        node => { map {
            my $ns = $nets[$_ - 1];
            $_ => { netns => $ns->name, host => $ns->host,
                    push => 'redis redis://' . $ns->store . ":$r->{port};",
                    keep => $r }
        } 1 .. 3 })->wait_nodes;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: a node cut off for three seconds, within its lease
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = main::cluster();

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 25, repeat => '', accept => 0.5 },
        at => [[3, sub { $main::nets[0]->cut }], [6, sub { $main::nets[0]->mend }],
               [12, sub { $main::nets[1]->cut('in') }],
               [15, sub { $main::nets[1]->mend }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 2: a node cut off for longer than its lease, both ways
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = main::cluster();

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 35, repeat => '', accept => 0.5 },
        at => [[3, sub { $main::nets[0]->cut }], [18, sub { $main::nets[0]->mend }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: one way, then the other
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = main::cluster();

    $t->say(Push::Ledger->several(
        cluster => $c, ledger => { seconds => 45, repeat => '', accept => 0.5 },
        at => [[3, sub { $main::nets[0]->cut('out') }], [14, sub { $main::nets[0]->mend }],
               [20, sub { $main::nets[1]->cut('in') }],
               [31, sub { $main::nets[1]->mend }]]));
    $c->stop;
    return $t->text;
}
--- mqtt_out
nothing lost
