# The register in Redis: devices that move between nodes, come back, are taken
# over, and what they have acknowledged.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Devices ();
use Push::Redis;
use Push::Redis::Slow;
use Push::Server;
use Test::More;
use Time::HiRes qw(sleep time);

my $r = Push::Redis->new->start;
my $c = Push::Cluster->new(
    redis => $r, nodes => 3, workers => 2,
    push => 'linger 4s; redis_timeout 1s;',
    product => 'group_publish on;',
)->start;

my @t = (undef, map { $c->dialogue($_) } 1 .. 3);

# A device at a node: (client, its CONNACK).
sub device {
    my ($node, $name, %opt) = @_;
    my ($user, $device) = split m{/}, $name;
    my $client = $t[$node]->socket(version => delete $opt{version} // 5,
                                   auto => delete $opt{auto} // 0);
    my $props = { session_expiry => 3600 };

    $props = {} if $client->{version} == 4;

    return ($client, $client->connect(client => $device,
                                      user => "shop/$user", clean => 0,
                                      props => $props, %opt));
}

# What the register says of a device; all empty where it has nothing.
sub entry {
    my ($user, $device) = @_;
    my $v = $r->command('HGET', "np:{shop:$user}d", $device) // '';
    my %e;

    @e{qw(node epoch claim state since inc sent acked rest)}
        = (split(/ /, $v, 9), ('') x 9);
    return \%e;
}

sub wait_for {
    my ($code, $seconds) = @_;
    my $end = time + ($seconds // 5);

    while (time < $end) {
        return 1 if $code->();
        sleep 0.02;
    }

    return 0;
}

sub payloads {
    my ($client, $n, $quiet) = @_;
    my @got;

    while (@got < $n) {
        my $p = $client->poll(5) // last;
        next if $p->{type} ne 'PUBLISH';
        push @got, $p->{payload};
        $client->puback($p->{id}) if $p->{qos};
    }

    push @got, map { $_->{payload} } grep { $_->{type} eq 'PUBLISH' }
               $client->drain($quiet // 0.3);
    return join ' ', @got;
}

# --- claim, resume elsewhere

{
    my ($a, $ack) = device(1, 'ann/d1');

    is($ack->{session}, 0, 'a new device has no session');
    is_deeply([@{entry('ann', 'd1')}{qw(node state)}], ['n1', 'o'],
              '... and is entered');
    cmp_ok(abs(entry('ann', 'd1')->{claim} - time), '<', 60,
           '... its claims are counted from the time on');

    is_deeply($a->subscribe('shop/#', 'shop/group/g')->{codes}, [1, 1],
              'it subscribes');
    is(entry('ann', 'd1')->{inc}, '1', '... bound before there is an inbox');
    is_deeply({@{$r->command('HGETALL', 'np:{shop;g}n')}},
              {n1 => entry('ann', 'd1')->{epoch} . ' 1'},
              '... its node is interested in the group');

    $t[2]->push('users/ann', "m$_") for 1 .. 3;
    is(payloads($a, 3), 'm1 m2 m3', 'messages from another node');
    ok(wait_for(sub { !@{$r->command('HKEYS', 'np:{shop:ann}q')}
                      || ($r->command('HGET', 'np:{shop:ann}q', 'a') // 0) == 3 },
                8),
       'acknowledged, they end');

    $a->close;
    ok(wait_for(sub { entry('ann', 'd1')->{state} eq 'l' }),
       'broken, it may return');

    $t[3]->push('users/ann', 'm4');
    $t[3]->push('groups/g', 'g1');
    $t[3]->push('broadcast', 'b1');

    my ($b, $back) = device(2, 'ann/d1');
    is($back->{session}, 1, 'at another node its session is resumed');
    is(join(' ', sort split / /, payloads($b, 3)), 'b1 g1 m4',
       '... with its subscriptions and cursors');
    is(entry('ann', 'd1')->{node}, 'n2', '... and it is entered there');

    $t[1]->push('groups/g', 'g2');
    $t[1]->push('users/ann', 'm5');
    is(join(' ', sort split / /, payloads($b, 2)), 'g2 m5',
       '... and told of what comes');
    $b->disconnect;
    ok(wait_for(sub { entry('ann', 'd1')->{state} eq 'x' }), 'it leaves');
}

# --- takeover

{
    my ($a) = device(1, 'bob/d1');
    $a->subscribe('shop/#');
    $t[3]->push('users/bob', $_) for 1, 2;
    my $p = $a->expect('PUBLISH');
    $a->puback($p->{id});
    $a->expect('PUBLISH');
    $a->ping;

    my $start = time;
    my ($b, $ack) = device(2, 'bob/d1');

    is($ack->{session}, 1, 'a device that is online elsewhere is taken over');
    cmp_ok(time - $start, '<', 0.9, '... without waiting in vain');

    my ($d) = grep { $_->{type} eq 'DISCONNECT' } $a->drain(0.5);
    is($d && $d->{code}, 0x8e, '... and told so there');
    is(payloads($b, 1), '2', '... cursors flushed first');
    is_deeply([@{entry('bob', 'd1')}{qw(node state)}], ['n2', 'o'],
              '... one entry');
}

# --- the same device, now here, now there

{
    my @all;

    for my $i (0 .. 9) {
        my $s = $t[1 + $i % 2]->socket(version => 5);
        $s->send('CONNECT', client => 'd1', user => 'shop/carl', clean => 0,
                 keepalive => 60, props => { session_expiry => 60 });
        push @all, $s;
        sleep 0.2;
    }

    sleep 2;
    $_->drain(0.05) for @all;
    my @live = grep { !$all[$_]->closed } 0 .. $#all;
    is("@live", '9', 'of two that alternate the last stays');
    is(entry('carl', 'd1')->{state}, 'o', '... and is entered');
    is(entry('carl', 'd1')->{node}, 'n2', '... at its node');
}

# --- a clean start

{
    my ($a) = device(1, 'dora/d1');
    $a->subscribe('shop/#');
    $a->close;
    wait_for(sub { entry('dora', 'd1')->{state} eq 'l' });

    my ($b, $ack) = device(2, 'dora/d1', clean => 1);
    is($ack->{session}, 0, 'a clean start begins a session anew');
    $t[3]->push('users/dora', 'x');
    $b->expect_nothing(0.5);
    ok(1, '... with nothing subscribed to');
    $b->subscribe('shop/#');
    is(payloads($b, 1), 'x', '... but the inbox of a known device is kept');
}

# --- a query at any node

sub devices {
    my ($node, $user) = @_;
    my $u = $t[$node]->http->get("/v1/shop/users/$user")->{json};

    return join '; ', map { "$_->{device} $_->{state} $_->{node}"
                            . (exists $_->{worker} ? ' worker' : '') }
                      sort { $a->{device} cmp $b->{device} } @{$u->{devices}};
}

{
    my ($a) = device(1, 'eve/d1');
    my ($b) = device(2, 'eve/d2');
    my ($gone) = device(3, 'eve/d3');

    $_->subscribe('shop/#') for $a, $b, $gone;
    $t[3]->push('users/eve', 'x');
    $_->puback($_->expect('PUBLISH')->{id}) for $a, $gone;

    $gone->disconnect;
    $b->close;

    ok(wait_for(sub { devices(3, 'eve') eq 'd1 online n1; '
                      . 'd2 lingering n2; d3 offline n3' }),
       'presence, from a node that has none of them online')
        or diag devices(3, 'eve');
    is(devices(1, 'eve'), 'd1 online n1 worker; d2 lingering n2; '
       . 'd3 offline n3', '... and from one that has');
    ok(wait_for(sub { devices(1, 'eve') =~ /d2 offline/ }, 8),
       '... lingering ends');

    my $u = $t[1]->http->get('/v1/shop/users/eve')->{json};
    my %queued = map { $_->{device} => $_->{queued} } @{$u->{devices}};
    is_deeply([$u->{queued}, @queued{qw(d1 d2 d3)}], [1, 0, 1, 0],
              '... what waits, in all and of each device');
    is($r->command('HGET', 'np:{shop:eve}q', 'a') // 0, 0,
       'what one device has not acknowledged stays');

    my ($back) = device(1, 'eve/d2', auto => 1);
    like(payloads($back, 1), qr/^x/, '... until it is back, elsewhere');
    ok(wait_for(sub {
           ($r->command('HGET', 'np:{shop:eve}q', 'a') // 0) == 1
           && !defined $r->command('HGET', 'np:{shop:eve}q', '1')
       }), '... and has got it');
}

# --- idle

{
    my ($a) = device(1, 'ida/d1');
    $a->subscribe('shop/#');
    sleep 1;

    my $calls = sub {
        my $s = $r->command('INFO', 'commandstats');
        my ($n) = $s =~ /cmdstat_hset:calls=(\d+)/;
        my ($m) = $s =~ /cmdstat_hgetall:calls=(\d+)/;
        return [$n, $m];
    };
    my ($h, $g) = @{$calls->()};
    sleep 2;
    my ($h2, $g2) = @{$calls->()};
    my $beats = 3 * 3;

    cmp_ok($h2 - $h, '<=', $beats, 'an idle session writes nothing');
    cmp_ok($g2 - $g, '<=', $beats, '... and asks for nothing');
}

# --- Redis has just lost everything, and nobody has noticed yet

{
    my ($a) = device(1, 'gwen/d1');
    $a->subscribe('shop/group/lost');
    $t[3]->push('groups/lost', 'g1');
    is(payloads($a, 1), 'g1', 'a message in a group');
    $a->close;
    ok(wait_for(sub { entry('gwen', 'd1')->{state} eq 'l' }),
       '... whose member goes away');

    $r->flushall;
    $t[3]->push('groups/lost', 'g2');

    my ($b, $ack);
    ok(wait_for(sub {
           ($b, $ack) = device(2, 'gwen/d1', timeout => 5);
           $ack->{code} == 0
       }, 20), 'it comes to another node when Redis has lost everything');
    is($ack->{session}, 1, '... its session is asked for there');
    is(payloads($b, 1), 'g2', '... and what it missed is sent');
    cmp_ok(entry('gwen', 'd1')->{claim}, '>', time - 60, '... it is known again');
}

# --- Redis is away

{
    my ($a) = device(1, 'finn/d1');
    $a->subscribe('shop/#');
    $t[1]->push('users/finn', 'x');
    my $p = $a->expect('PUBLISH');

    $r->kill9;
    $a->puback($p->{id});
    $a->ping;
    ok(1, 'while Redis is away a device stays connected');
    $a->close;
    sleep 0.2;

    my ($b, $ack) = device(1, 'finn/d1');
    is_deeply([@$ack{qw(code session)}], [0, 1],
              '... and may come back to its node');
    (undef, $ack) = device(1, 'gus/d1');
    is($ack->{code}, 0x88, '... a stranger is refused');
    (undef, $ack) = device(1, 'gus/d1', version => 4);
    is($ack->{code}, 3, '... in MQTT 3.1.1 as well');
    (undef, $ack) = device(2, 'finn/d1');
    is($ack->{code}, 0x88, '... and so is one that another node has');

    $r->start;
    ok(wait_for(sub {
           my $e = eval { entry('finn', 'd1') } or return 0;
           ($e->{node} // '') eq 'n1' && $e->{state} eq 'o'
       }, 20), 'when Redis is back, empty, its devices are written to it');

    # not before all nodes have it again: they are asked
    ok(wait_for(sub { (device(2, 'finn/d1'))[1]{code} == 0 }, 20),
       '... and move as before');
    my ($d) = grep { $_->{type} eq 'DISCONNECT' } $b->drain(1);
    is($d && $d->{code}, 0x8e, '... being ended where they were');
}

# --- Redis is slow: who would stand in a long line is told to come later

{
    ok(wait_for(sub {
           !grep { (split)[4] } @{$r->command('HVALS', 'np:{nodes}')}
       }, 20), 'all has been written back');

    my $slow = Push::Redis::Slow->new($r->port);
    my $s    = Push::Server->new(name => 'late', workers => 1, push =>
        'redis 127.0.0.1:' . $slow->port . '; redis_connections 1;'
        . ' redis_timeout 4s; linger 4s;');
    $s->start;

    my $t    = $s->dialogue;
    my $come = sub {
        my ($user, $version) = @_;
        my $client = $t->socket(version => $version, auto => 0);

        return $client->connect(client => 'd1', user => "shop/$user",
                                clean => 1);
    };

    ok(wait_for(sub { $come->('hal', 5)->{code} == 0 }, 15),
       'through a slow one');

    $slow->hold;

    my $first = $t->socket(version => 5, auto => 0);

    $first->send('CONNECT', client => 'd1', user => 'shop/ivy', clean => 1,
                 keepalive => 60);
    sleep 2.4;

    my $began = time;
    is($come->('jon', 5)->{code}, 0x89, 'a long line: server busy');
    is($come->('jon', 4)->{code}, 3, '... unavailable, in MQTT 3.1.1');
    cmp_ok(time - $began, '<', 0.5, '... at once');

    $slow->pace(0);
    is($first->expect('CONNACK')->{code}, 0, '... who stood in it is served');
    ok(wait_for(sub { $come->('jon', 5)->{code} == 0 }), '... then all are');

    $s->stop;
    $slow->stop;
}

# --- a worker that dies when Redis has given it a device and no more

allow_alert('exited on signal 9');

{
    my $slow = Push::Redis::Slow->new($r->port);
    my $s    = Push::Server->new(name => 'dies', workers => 1, push =>
        'redis 127.0.0.1:' . $slow->port . '; redis_connections 1;'
        . ' redis_timeout 4s; linger 30s; node_lease 20s;');
    $s->start;

    my $there = sub {
        my $client = $s->dialogue->socket(version => 5, auto => 1);
        my $ack    = eval {
            $client->connect(client => 'd1', user => 'shop/kim', clean => 0,
                             props => { session_expiry => 3600 });
        };

        return ($client, $ack // { code => 'none' });
    };
    my ($d, $ack);

    # a session of an old time there, the present one at n1
    ok(wait_for(sub { ($d, $ack) = $there->(); $ack->{code} eq '0' }, 15),
       'a device at a node');
    $d->subscribe('shop/group/old');
    $d->close;
    ok(wait_for(sub { entry('kim', 'd1')->{state} eq 'l' }), '... has left it');

    for my $round ('has had it before', 'has never had it') {
        ($d) = device(1, 'kim/d1', auto => 1);
        $d->unsubscribe('shop/group/old');
        $d->subscribe('shop/#', 'shop/group/k');
        $d->close;
        ok(wait_for(sub {
               my $e = entry('kim', 'd1');
               "$e->{node} $e->{state}" eq 'n1 l'
           }), '... and another');

        $slow->hold;
        my $lost = $s->dialogue->socket(version => 5, auto => 0);
        $lost->send('CONNECT', client => 'd1', user => 'shop/kim', clean => 0,
                    keepalive => 60, props => { session_expiry => 3600 });
        ok(wait_for(sub { entry('kim', 'd1')->{node} eq 'dies' }),
           "a node that $round: it is entered there");
        $s->kill_worker('KILL');
        $slow->pace(0);

        $t[2]->push('groups/k', 'g');
        $t[2]->push('groups/old', 'x');
        $t[2]->push('users/kim', 'u');

        ok(wait_for(sub { ($d, $ack) = $there->(); $ack->{code} eq '0' }, 15),
           '... its worker dies, the next one takes the device');
        is($ack->{session}, 1, '... whose session is resumed');
        is(join(' ', sort split / /, payloads($d, 2)), 'g u',
           '... as it was where it was last');
        $d->disconnect;

        # the next time it knows nothing of it
        $s->stop;
        $s->start;
    }

    $s->stop;
    $slow->stop;
}

# --- two connections of a device, of which the first hears later of its claim

{
    my $slow = Push::Redis::Slow->new($r->port);
    my $s    = Push::Server->new(name => 'two', workers => 2, push =>
        'redis 127.0.0.1:' . $slow->port . '; redis_timeout 8s;'
        . ' node_lease 20s;')->start;

    my $come = sub {
        my ($version) = @_;
        my $client = $s->dialogue->socket(version => $version, auto => 1);

        $client->send('CONNECT', client => 'd1', user => "shop/lea$version",
                      clean => 1, keepalive => 60);
        return $client;
    };

    ok(wait_for(sub {
           my $code = eval { $come->(5)->expect('CONNACK')->{code} } // 1;
           $code == 0;
       }, 15), 'a node with two workers') for 1, 2;
    sleep 1;

    for my $version (5, 4) {
        my ($one, $other) = $s->workers;
        my $claim = sub { entry("lea$version", 'd1')->{claim} || 0 };
        my $was   = $claim->();

        # each worker has one of the two
        $slow->hold;
        Push::Devices::halt($other);
        my $first = $come->($version);
        ok(wait_for(sub { $claim->() > $was }), 'the first has claimed');
        $was = $claim->();

        Push::Devices::halt($one);
        kill 'CONT', $other;
        $slow->pace(0);
        my $second = $come->($version);
        is(eval { $second->expect('CONNACK')->{code} }, 0,
           '... the second is served');
        cmp_ok($claim->(), '>', $was, '... which came after it');

        kill 'CONT', $one;
        is(eval { $first->expect('CONNACK')->{code} }, 0,
           "... then the first, MQTT $version");
        my $end = $first->poll(3);
        is($version == 5 ? $end && "$end->{type} $end->{code}" : $end,
           $version == 5 ? 'DISCONNECT 142' : undef, '... taken over');
        ok(wait_for(sub { $first->read_some(0.1); $first->closed }),
           '... and ended');

        is("@{$second->subscribe('shop/inbox')->{codes}}", 1,
           'the second stays');
        $t[2]->push("users/lea$version", 'u');
        is(payloads($second, 1), 'u', '... and gets its messages');
    }

    $s->stop;
    $slow->stop;
}

done_testing();
