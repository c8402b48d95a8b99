# The Redis client with Sentinels and with a cluster: which server it sends to,
# redirects, failovers and migrations, and what it says about them.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Probe;
use Push::Redis;
use Push::Redis::Cluster;
use Push::Redis::Sentinel;
use Test::More;
use Time::HiRes qw(sleep time);

my $QUICK = ' redis_timeout 500ms; redis_connect_timeout 300ms;';

# --- Sentinel

{
    my $set = Push::Redis::Sentinel->new->start;
    my $p   = Push::Probe->new(name => 'sentinel', push => $set->conf . $QUICK);

    is($p->until_ok('SET', 'a', 1), 'OK OK', 'sentinel: the master is found');
    is($p->watched, 'first', '... and told of');

    my $old = $set->master;

    $old->kill9;
    is($p->until_watched(qr/failover/, 30), 'yes', 'a failover is followed');
    is($p->watched, 'first down failover', '... and told as one');
    is($p->until_ok('SET', 'a', 2), 'OK OK', '... the new master is written');
    $set->wait_failover($old);
    isnt($set->master->port, $old->port, '... which is another');

    # the old one returns, a replica soon
    $old->start;
    is($p->call('GET', 'a'), 'OK 2', 'the old master is left alone');

    # told to, while all live: at most a moment of refusals
    my $before = $set->master;
    my $n = 0;
    my %seen;

    $set->failover;
    $p->until(sub {
        $seen{$p->call('SET', 'b', ++$n)}++;
        return $p->watched =~ /failover.*failover/ && $seen{'OK OK'};
    }, 30);

    like($p->watched, qr/failover.*failover/, 'a planned failover too');
    is(join(' ', grep { !/^(?:OK OK|ERROR|ABORT)$/ } keys %seen), '',
       '... and nothing strange was answered');

    # its Sentinel gone: the next is asked
    ($set->sentinels)[0]->kill9;
    my $m = $set->master;
    $m->kill9;
    is($p->until_watched(qr/(?:failover.*){3}/, 40), 'yes',
       'with a Sentinel less');
    $p->server->stop;
}

# --- cluster

{
    my $c = Push::Redis::Cluster->new->start;
    my $p = Push::Probe->new(name => 'cluster', push => $c->conf . $QUICK);
    my @keys = map { "{k$_}" } 1 .. 60;

    is($p->until_watched(qr/(?:first.*){3}/), 'yes',
       'cluster: three masters');
    is(join(' ', grep { $p->until_ok('SET', $_, "v$_") ne 'OK OK' } @keys), '',
       'each key goes to its master');
    is(join(' ', grep { $c->command('GET', $_) ne "v$_" } @keys), '',
       '... where it is found');
    is($c->masters + 0, 3, 'three of them');

    my %calls = map { $_->port => $_->calls } $c->masters;
    is(join(' ', grep { !$calls{$_}{set} } keys %calls), '',
       '... and each has got some');
    is($p->server->metrics->{'ngx_push_redis_errors_total{error="cluster"}'},
       0, 'nothing was redirected');

    # a slot moves: redirects on the way, and nothing is lost
    my $slot = $c->slot($keys[0]);
    my $from = $c->owner($slot);
    my ($to) = grep { $_->port != $from->port } $c->masters;

    $from->command('SET', "$keys[0]$_", 1) for 1 .. 20;

    $_->[0]->command('CLUSTER', 'SETSLOT', $slot, $_->[1], $_->[2]{id})
        for [$to, 'IMPORTING', $from], [$from, 'MIGRATING', $to];

    is($p->call('SET', "$keys[0]new", 'x'), 'OK OK', 'a new key: ASK');
    is($p->script("$keys[0]new2", 'y'), "OK $keys[0]new2,y",
       '... with a script');
    is(($to->pipeline(['ASKING'], ['GET', "$keys[0]new2"]))[1], 'y',
       '... on the other server');
    is($p->call('GET', $keys[0]), "OK v$keys[0]", 'an old key: as before');
    like($p->call('MGET', "$keys[0]new", "$keys[0]1"), qr/^ERROR$/,
         'one here, one there: refused after some tries (TRYAGAIN)');

    $c->migrate($slot, $from, $to);

    is($p->call('GET', "$keys[0]7"), 'OK 1', 'then it has moved: MOVED');
    is($p->script("$keys[0]8", 'z'), "OK $keys[0]8,z", '... for scripts');
    ok($p->server->metrics->{'ngx_push_redis_errors_total{error="cluster"}'}
       > 0, '... and is counted');
    unlike($p->watched, qr/failover|restarted|down/,
           'a migration is no failover');

    # the master of some key dies
    my $victim = $c->owner($keys[1]);
    $victim->kill9;
    my $other = (grep { $c->owner($_)
                        && $c->owner($_)->port != $victim->port } @keys)[0];
    is($p->call('SET', $other, 'on'), 'OK OK', 'a master dies, others serve');

    $c->wait_failover($victim);
    is($p->until_watched(qr/failover/), 'yes', 'its replica is a failover');
    is($p->until_ok('SET', $keys[1], 'w'), 'OK OK', '... and is written');
    unlike($p->watched, qr/down/, 'all that time one was usable');

    # all workers' connections go to masters only
    $victim->start;
    sleep 1;
    is(scalar(grep { /name=ngx_push:cluster:.* cmd=(?!cluster)/ }
              split /\n/, $victim->command('CLIENT', 'LIST')), 0,
       'the old one, a replica now, is left alone');

    # planned, under load
    my $m = $c->owner($keys[2]);
    my %seen;

    ($c->replicas_of($m))[0]->command('CLUSTER', 'FAILOVER');
    $p->until(sub {
        my $o = $p->calls(20, 'SET', $keys[2], 'x');
        $seen{$_} += $o->{$_} for keys %$o;
        return $p->watched =~ /failover.*failover/;
    });

    like($p->watched, qr/failover.*failover/, 'a planned one');
    is(join(' ', grep { !/^(?:OK OK|ERROR|ABORT)$/ } keys %seen), '',
       '... nothing strange was answered');

    $p->server->stop;
}

# --- what a cluster says of itself may be a name

{
    my $c = Push::Redis::Cluster->new(
        replicas => 0, config => "cluster-announce-hostname localhost\n"
            . "cluster-preferred-endpoint-type hostname")->start;
    my $p = Push::Probe->new(name => 'names', push => $c->conf . $QUICK);

    is($p->until_ok('SET', 'a', 1), 'OK OK', 'nodes that announce a name');
    is($p->until_ok('SET', 'b', 1), 'OK OK', '... all of them');
    is($p->until_ok('SET', 'c', 1), 'OK OK', '... are found');
    $p->server->stop;
}

done_testing();
