# The store in Redis as devices see it: two nodes with two workers each, and a
# Redis that is not always well.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Redis;
use Test::More;
use Time::HiRes qw(sleep time);

my $r = Push::Redis->new(aof => 'always')->start;
my $c = Push::Cluster->new(
    redis => $r, nodes => 2, workers => 2,
    push => 'redis_timeout 500ms; linger 1s;',
    product => 'inbox_limit 300; group_limit 3; payload_limit 100000;',
)->start;
my @t = map { $c->dialogue($_) } 1, 2;

# what a device is given until "count" have come, acknowledged; as payloads
sub take {
    my ($d, $count) = @_;
    my @got;

    while (@got < $count) {
        my $p = $d->expect('PUBLISH');

        $d->puback($p->{id}) if $p->{qos};
        push @got, $p->{payload};
    }

    return \@got;
}

sub device {
    my ($node, $name, $user, @to) = @_;
    my $d = $t[$node - 1]->client(client => $name, user => "shop/$user",
                                  version => 5, clean => 0,
                                  props => { session_expiry => 3600 });

    $d->subscribe(@to ? @to : 'shop/#');
    return $d;
}

sub accepted { $_[0]{status} =~ /^20[012]$/ ? 1 : "$_[0]{status} $_[0]{body}" }

# --- in order, whatever the node

my @d = (device(1, 'a1', 'ann'), device(2, 'a2', 'ann'), device(1, 'b', 'bob'));

is(accepted($t[$_ % 2]->push('users/ann', "m$_")), 1) for 1 .. 20;
is_deeply(take($_, 20), [map { "m$_" } 1 .. 20],
          'both devices of a user have all of it, in order') for @d[0, 1];
$d[2]->expect_nothing(0.2);
pass('another user has none');

# many at once: two connections to each node, pipelined
my @h = map { $c->node($_)->http_client } 1, 2, 1, 2;
$_->open for @h;
for my $h (0 .. 3) {
    $h[$h]->send_raw(join '', map {
        $h[$h]->format('POST', '/v1/shop/users/bob/messages', "$h-$_")
    } 1 .. 50);
}
for my $h (@h) { $h->response('POST')->{status} == 201 or die for 1 .. 50 }
my $got = take($d[2], 200);
is_deeply([sort @$got], [sort map { my $h = $_; map { "$h-$_" } 1 .. 50 } 0 .. 3],
          'from four senders at once a device has all');
for my $h (0 .. 3) {
    is_deeply([grep { /^$h-/ } @$got], [map { "$h-$_" } 1 .. 50],
              '... those of each in order');
}

# --- groups and everybody

my @g = map { device($_, "g$_", "gus$_", 'shop/#', 'shop/group/chess') } 1, 2;
my $quiet = device(2, 'q', 'quiet', 'shop/inbox');

is(accepted($t[0]->push('groups/chess', "g$_")), 1) for 1 .. 3;
is_deeply(take($_, 3), ['g1', 'g2', 'g3'], 'members of a group') for @g;
is(accepted($t[1]->push('broadcast', 'all')), 1);
is_deeply(take($_, 1), ['all'], 'everybody') for @g, @d;
$quiet->expect_nothing(0.2);
pass('... but who has not asked for it');

my $p = $t[0]->push('users/ann', 'once', TTL => 0);
is($p->{json}{reached}, 2, 'TTL 0 counts the devices of both nodes');
is_deeply(take($_, 1), ['once'], '... and reaches them') for @d[0, 1];
$p = $t[1]->push('groups/chess', 'once', TTL => 0);
is($p->{json}{reached}, 2, '... the members of a group too');
is_deeply(take($_, 1), ['once'], '... and reaches them') for @g;

# --- large ones: the bus carries a note, and no more

my $large = 'x' x 90000;
is(accepted($t[0]->push('users/ann', "$large$_")), 1) for 1 .. 8;
is_deeply(take($_, 8), [map { "$large$_" } 1 .. 8], 'large ones') for @d[0, 1];

# --- for a device that was away: several pages, by number and by size

$_->disconnect for @d[0, 1];
is(accepted($t[$_ % 2]->push('users/ann', "away$_")), 1) for 1 .. 150;
is(accepted($t[0]->push('users/ann', "$large$_")), 1) for 1 .. 6;
$d[0] = $t[1]->client(client => 'a1', user => 'shop/ann', version => 5,
                      clean => 0, props => { session_expiry => 3600 });
is_deeply(take($d[0], 156), [(map { "away$_" } 1 .. 150),
                             map { "$large$_" } 1 .. 6],
          'a device that comes back to the other node has all it missed');
$d[0]->expect_nothing(0.3);
pass('... once');

# the other one has not: nothing is gone
$d[1] = $t[0]->client(client => 'a2', user => 'shop/ann', version => 5,
                      clean => 0, props => { session_expiry => 3600 });
is(scalar @{take($d[1], 156)}, 156, 'and so has the other one');

# --- when all have it, it goes

$r->until('the log to be empty', sub {
    !grep { /^\d+$/ } @{$r->command('HKEYS', 'np:{shop:ann}q')};
});
my $ttl = $r->command('TTL', 'np:{shop:ann}q');
ok($ttl > 0 && $ttl <= 60, 'a log that is empty goes after a minute');
my $id = $t[0]->push('users/ann', 'last')->{json}{id};
take($_, 1) for @d[0, 1];
my $state = $c->node(1)->until('all to have acknowledged', sub {
    my $s = $t[0]->http->get("/v1/shop/users/ann/messages/$id")->{json};
    return $s->{state} eq 'acked' && $s;
});
is($state->{state}, 'acked', 'the state of what all have');

# --- uplink

is($d[0]->publish('shop/up/where', "up$_", qos => 1)->{code} // 0, 0) for 1, 2;
my $up = $t[1]->http->get('/v1/shop/uplink')->{json}{messages};
is_deeply([map { "$_->{type} $_->{user} $_->{device} $_->{payload}" } @$up],
          ['where ann a1 up1', 'where ann a1 up2'], 'uplink of any node');

# --- a Redis that stands still: nobody knows, but nothing is lost

$r->stop;
my $from = time;
$p = $t[0]->push('users/bob', 'unknown');
is($p->{status}, 504, 'no answer: unknown');
ok(time - $from < 2, '... in time');
$d[2]->expect_nothing(0.2);
pass('... and nothing was sent');
$d[2]->ping;
$r->cont;

# it was in Redis's hands: if it is in the log the device must hear of it,
# with no other message and no heartbeat to help
my $saved = eval { $r->until('the save', sub {
    my ($l) = @{$r->command('HMGET', 'np:{shop:bob}q', 'l')};
    ($l // 0) > 200;
}, 2) };
if ($saved) {
    is_deeply(take($d[2], 1), ['unknown'], 'what was saved arrives');

} else {
    $d[2]->expect_nothing(0.5);
pass('what was not saved does not');
}

# --- a Redis that is gone: refused, and the sockets stay

$r->kill9;
sleep 0.3;
$from = time;
is($t[0]->push('users/bob', 'refused')->{status}, 503, 'no Redis: refused');
is($t[0]->push('users/bob', 'refused', TTL => 0)->{status}, 503,
   '... with TTL 0 too');
ok(time - $from < 0.5, '... at once');
$_->ping for @d, @g;
pass('devices stay');
$r->start;
$r->until('a push to be accepted', sub {
    $t[0]->push('users/bob', 'back')->{status} == 201;
});
is_deeply(take($d[2], 1), ['back'], 'and get what is accepted again');

$c->stop;
done_testing();
