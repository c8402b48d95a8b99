# Sentinels and clusters that want a password, or a user and a password: each
# connection needs it, to every server and Sentinel, the one for the bus, and
# those to servers that come later.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Probe;
use Push::Redis::Cluster;
use Push::Redis::Sentinel;
use Test::More;

my $QUICK = ' redis_timeout 500ms; redis_connect_timeout 300ms;';

# A device at one of two nodes gets what is pushed at the other.
sub pushed {
    my ($name, $set) = @_;
    my $c = Push::Cluster->new(redis => $set, nodes => 2, name => $name)->start;
    my $d = $c->dialogue(1)->client(client => 'd', user => 'shop/u',
                                    version => 5, auto => 1);

    $d->subscribe('shop/#');

    my $status = $c->dialogue(2)->push('users/u', 'hello')->{status};
    my $got    = $status == 201 ? $d->expect('PUBLISH')->{payload} : '';

    $d->close;
    $c->stop;
    return "$status $got";
}

# Who lacks the password, or has another, is not connected and says why.
sub refused {
    my ($name, $conf) = @_;
    my $p = Push::Probe->new(name => $name, push => $conf . $QUICK);

    $p->server->log_like(qr/(?:NOAUTH|WRONGPASS)/, 10);

    my $got = $p->call('SET', 'a', 'no');

    $p->server->stop;
    return $got;
}

# --- Sentinel, which wants the password as well

for my $user (undef, 'push') {
    my $what = 'sentinel with a ' . (defined $user ? 'user' : 'password');
    my $name = defined $user ? 'suser' : 'spass';
    my $set  = Push::Redis::Sentinel->new(password => 'secret', locked => 1,
                                          user => $user)->start;
    my $conf = $set->conf;

    is(pushed("$name-n", $set), '201 hello', "$what: nodes are served");

    my $p = Push::Probe->new(name => $name, push => $conf . $QUICK);

    is($p->until_ok('SET', 'a', 1), 'OK OK', '... the master is found');
    is(refused("$name-x", $conf =~ s/ redis_.*//r), 'ERROR',
       '... not who has no password');
    is(refused("$name-y", $conf =~ s/secret/other/r), 'ERROR',
       '... nor who has another');

    my $old = $set->master;

    $old->kill9;
    is($p->until_watched(qr/failover/, 30), 'yes',
       '... a failover is followed');
    is($p->until_ok('SET', 'a', 2), 'OK OK', '... the new master is written');
    is($set->wait_failover($old)->command('GET', 'a'), 2, '... it is another');
    $p->server->stop;
}

# --- Cluster

for my $user (undef, 'push') {
    my $what = 'cluster with a ' . (defined $user ? 'user' : 'password');
    my $name = defined $user ? 'cuser' : 'cpass';
    my $c    = Push::Redis::Cluster->new(password => 'secret',
                                         user => $user)->start;
    my $conf = $c->conf;
    my @keys = map { "{k$_}" } 1 .. 30;

    is(pushed("$name-n", $c), '201 hello', "$what: nodes are served");

    my $p = Push::Probe->new(name => $name, push => $conf . $QUICK);

    is($p->until_watched(qr/(?:first.*){3}/), 'yes', '... three masters');
    is(join(' ', grep { $p->until_ok('SET', $_, "v$_") ne 'OK OK' } @keys), '',
       '... each is written');
    is(refused("$name-x", $conf =~ s/ redis_.*//r), 'ERROR',
       '... not who has no password');
    is(refused("$name-y", $conf =~ s/secret/other/r), 'ERROR',
       '... nor who has another');

    my $slot = $c->slot($keys[0]);
    my $from = $c->owner($slot);
    my ($to) = grep { $_->port != $from->port } $c->masters;

    $c->migrate($slot, $from, $to);
    is($p->until_ok('GET', $keys[0]), "OK v$keys[0]",
       '... a slot that has moved is found');

    my $victim = $c->owner($keys[1]);

    $victim->command('WAIT', 1, 2000);
    $victim->kill9;
    $c->wait_failover($victim);
    is($p->until_ok('GET', $keys[1]), "OK v$keys[1]",
       '... and a replica that has taken over');
    $p->server->stop;
}

done_testing();
