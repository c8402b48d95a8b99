# The Redis servers that suites start: single, Sentinel, Cluster.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Redis;
use Push::Redis::Cluster;
use Push::Redis::Sentinel;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 6;

own_servers();

no_shuffle();
run_tests();

__DATA__

=== TEST 1: one server: killed, stopped, flushed
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = Push::Redis->new(aof => 'always', unix => 1, user => 'push',
                             password => 'secret')->start;

    $r->command('SET', 'a', 'kept');
    $r->kill9;
    $t->say(eval { $r->command('GET', 'a') } // 'down');
    $r->start;
    $t->say($r->command('GET', 'a'));

    $r->stop;
    $t->say(eval { $r->connect(timeout => 0.2)->command("PING") }
            // $@ =~ s{\n}{}r);
    $r->cont;
    $t->say($r->connect(path => $r->path)->command('PING'));

    $t->say($r->calls->{get});
    $r->flushall;
    $t->say($r->command('GET', 'a') // 'gone');
    eval { $r->connect(user => undef, password => "no")->open };
    $t->say($@ =~ /WRONGPASS/);
    return $t->text;
}
--- mqtt_out
down
kept
redis: timeout
PONG
1
gone
1



=== TEST 2: Sentinel: the master dies, a failover on demand
--- mqtt eval
sub {
    my ($t) = @_;
    my $s   = Push::Redis::Sentinel->new->start;
    my $old = $s->master;

    $old->command('SET', 'a', 1);
    $old->command('WAIT', 2, 1000);
    $old->kill9;

    my $new = $s->wait_failover($old);
    $t->say($new != $old ? 'another' : 'the same', $new->command('GET', 'a'));

    $old->start;
    $t->say($s->failover != $new ? 'another' : 'the same');
    return $t->text;
}
--- mqtt_out
another
1
another



=== TEST 3: Cluster: a slot moves, masters change
--- mqtt eval
sub {
    my ($t) = @_;
    my $c     = Push::Redis::Cluster->new->start;
    my $owner = $c->owner('{a}x');
    my ($to)  = grep { $_ != $owner } $c->masters;

    $c->command('SET', $_, 1) for '{a}x', '{a}y';
    $t->say($c->migrate($c->slot('{a}x'), $owner, $to));
    $t->say($c->owner('{a}x') == $to ? 'moved' : 'not moved');

    $c->failover($to);
    $t->say($c->owner('{a}x') == $to ? 'the same' : 'the replica');

    my $master = $c->owner('{a}x');
    $master->command('WAIT', 1, 1000);
    $master->kill9;
    $c->wait_failover($master);
    $t->say($c->command('GET', '{a}y'), join ' ', sort $c->keys);
    return $t->text;
}
--- mqtt_out
2
moved
the replica
1
{a}x {a}y
