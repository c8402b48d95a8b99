# Nodes at one Redis: leases, the bus between them, and what is noticed of
# all that may be lost there.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Devices qw(receive);
use Push::Redis;
use Push::Server;
use Test::More;
use Time::HiRes qw(sleep time);

allow_alert('exited on signal 9');

my $r = Push::Redis->new->start;
my $c = Push::Cluster->new(
    redis => $r, push => 'node_lease 4s; bus_limit 100;', workers => 2,
    product => 'payload_limit 64k; inbox_limit 5000;'
               . ' api_key reader publish query;',
)->start;

sub dialogue { $c->dialogue($_[0]) }
sub nodes    { return { @{$r->command('HGETALL', 'np:{nodes}')} } }
sub bus      { $r->command('XLEN', "np:bus:{n$_[0]}") }
sub metric   { $c->node($_[0])->metrics->{"ngx_push_$_[1]"} // 'missing' }
sub ops      { $c->node($_[0])->http_client }

sub device {
    my ($node, $user, @topics) = @_;
    my $d = dialogue($node)->client(client => "d-$user", user => "shop/$user",
                                    version => 5, auto => 1);

    $d->subscribe('shop/#', @topics);
    return $d;
}

sub send_to {
    my ($node, $target, @payloads) = @_;
    my $t = dialogue($node);

    for my $payload (@payloads) {
        my $answer = $t->push($target, $payload);

        $answer->{status} =~ /^20/ or die "$target: $answer->{status}\n";
    }
}

# Payloads that come within some seconds, each acknowledged, up to as many.
sub got {
    my ($device, $n, $seconds) = @_;
    my @got;
    my $end = time + ($seconds // 5);

    while (@got < $n && time < $end) {
        my $p = $device->poll($end - time) or last;
        push @got, $p->{payload} if $p->{type} eq 'PUBLISH';
    }

    return "@got";
}

# Rest: nothing more is told to anybody.
sub rest {
    my $last = '';

    for (1 .. 50) {
        my $now = join ' ', map { metric($_, 'checks_total'),
                                  metric($_, 'bus_sent_frames_total') } 1 .. 3;
        return if $now eq $last;
        $last = $now;
        sleep 1.2;
    }
}


# --- leases

my $leases = nodes();

is(join(' ', sort keys %$leases), 'n1 n2 n3', 'each node holds a lease');
like($leases->{n1}, qr/^[0-9a-f]+ \d{13} \d+ 0 0 - 0$/, '... that says all');
like($r->command('GET', 'np:{nodes}e'), qr/^[0-9a-f]{16}$/, 'an era is there');
is(metric(2, 'lease_held'), 1, 'the lease is a metric');

my $beat = metric(2, 'heartbeats_total');
sleep 2.5;
my $beats = metric(2, 'heartbeats_total') - $beat;
ok($beats >= 2 && $beats <= 3, "one heartbeat a second, whoever sends it");


# --- the API

my $list = ops(3)->get('/v1/ops/nodes');

is($list->{status}, 200, 'a node tells of the nodes');
is($list->{json}{asked}, 'n3', '... and which it is');
is(join(' ', sort map { "$_->{node}=$_->{state}" } @{$list->{json}{nodes}}),
   'n1=alive n2=alive n3=alive', '... all');

# What an operation answers to a key, or to none.
sub asked {
    my ($method, $path, @key) = @_;
    my $http   = Push::HTTP->new(port => $c->node(1)->http_port, @key);
    my $answer = $http->request($method, "/v1/ops/nodes$path", '');

    return join ' ', grep { defined } $answer->{status},
                     $answer->{headers}{allow};
}

my @operator = (key => api_key());
my @reader   = (key => 'reader');
my $reflush  = '/n2/reflush';

is(asked('POST', '/n9/reflush', @operator), 404, 'no such node');
is(asked('GET', $reflush, @operator), '405 POST', 'only by POST');
is(asked('POST', '', @operator), '405 GET, HEAD', '... the list only by GET');
is(asked('HEAD', '', @operator), 200, '... or HEAD');
is(asked('POST', $reflush), 401, 'not without a key');
is(asked('GET', ''), 401, '... nor the list');
is(asked('POST', $reflush, key => 'x'), 401, 'not with a key nobody has');
is(asked('POST', $reflush, @reader), 403, 'not without the scope operate');
is(asked('GET', '', @reader), 403, '... nor the list');
is(asked('HEAD', '', @reader), 403, '... nor its head');
is(asked('POST', '/n9/reflush', @reader), 403,
   '... which does not tell what nodes there are');
# --- messages between nodes, and only to where somebody is

rest();
unlike($c->node(2)->log, qr/writes its sessions back: asked/,
       'who was refused has started nothing');

my $ann = device(2, 'ann', 'shop/group/g');
my $bob = device(3, 'bob');
my ($two, $three) = (bus(2), bus(3));

send_to(1, 'users/ann', 'a1');
is(got($ann, 1), 'a1', 'a push gets to a device on another node');
send_to(1, 'groups/g', 'g1');
is(got($ann, 1), 'g1', 'a push to a group too');
is(bus(2) - $two, 2, '... by an entry each');
is(bus(3) - $three, 0, '... and nothing to a node without members');

send_to(1, 'broadcast', 'b1');
is(got($ann, 1) . got($bob, 1), 'b1b1', 'a broadcast gets to both nodes');

dialogue(1)->push('users/bob', 'once', TTL => 0);
is(got($bob, 1), 'once', 'one with TTL 0 too');

send_to(1, 'users/bob', 'x' x 20000);
is(length got($bob, 1), 20000, 'and one too large for a frame');

my $checks = metric(3, 'checks_total');
send_to(1, 'users/bob', map { "m$_" } 1 .. 50);
is(got($bob, 50), join(' ', map { "m$_" } 1 .. 50), 'many, in order');
is(metric(3, 'checks_total'), $checks, '... for which nothing is compared');


# --- entries that are lost

my $cid = device(2, 'cid');
rest();

# A push is answered before its entry is on the bus, so: until it is.
sub on_bus {
    my (@push) = @_;
    my $added  = sub {
        my $info = eval { $r->command('XINFO', 'STREAM', 'np:bus:{n2}') };
        my %of   = @{$info || []};
        return $of{'entries-added'} // 0;
    };
    my $before = $added->();

    send_to(@push);
    $r->until('the entry', sub { $added->() > $before });
}

# What is unread while a node stands still; the first is for who waits.
sub unread {
    my ($code) = @_;
    my @pids = $c->node(2)->workers;

    kill 'STOP', @pids;
    sleep 0.2;
    eval {
        on_bus(1, 'users/ann', 'first');
        $code->();
    };
    my $error = $@;
    kill 'CONT', @pids;
    die $error if $error;
}

my $gaps;

# What comes after a heartbeat, of which there may be several.
sub beaten {
    my ($device) = @_;
    my $got = '';

    for (1 .. 8) {
        $device->send_raw("\xc0\0");
        $got = got($device, 1, 1) and last;
    }

    return $got;
}

# Noticed on its own, and healed by the device's next heartbeat.
sub healed {
    my ($what, $device, $payload) = @_;

    $c->node(2)->until("$what to be noticed", sub {
        metric(2, 'bus_gaps_total') > $gaps;
    }, 15);
    is(beaten($device), $payload, "$what: healed at the heartbeat");
}

$gaps = metric(2, 'bus_gaps_total');
unread(sub {
    on_bus(1, 'users/cid', 'lost1');
    $r->command('DEL', 'np:bus:{n2}');
});
healed('a stream that is gone', $cid, 'lost1');

$gaps = metric(2, 'bus_gaps_total');
unread(sub {
    on_bus(1, 'users/cid', 'lost2');
    my $all = $r->command('XREVRANGE', 'np:bus:{n2}', '+', '-', 'COUNT', 1);
    $r->command('XDEL', 'np:bus:{n2}', $all->[0][0]);
});
healed('the last entry deleted', $cid, 'lost2');

my $dan = device(2, 'dan');
rest();
$gaps = metric(2, 'bus_gaps_total');

unread(sub {
    send_to(1, 'users/cid', 'lost3');
    send_to(1, 'users/dan', map { "d$_" } 1 .. 330);
});
is(() = got($dan, 330, 10) =~ /d\d+/g, 330, 'a bus trimmed: the log is whole');
ok(metric(2, 'bus_gaps_total') > $gaps, '... it was noticed');
is(beaten($cid), 'lost3', '... and healed at the heartbeat');


# --- entries that are refused

# A bus that takes nothing, while what is done there; n1 serves with whichever
# worker, of which each keeps what it has for n2.
sub shut {
    my ($code) = @_;

    $r->command('DEL', 'np:bus:{n2}');
    $r->command('SET', 'np:bus:{n2}', 'x');
    eval { $code->() };
    my $error = $@;
    $r->command('DEL', 'np:bus:{n2}');
    die $error if $error;
}

sub pending { metric(1, 'bus_failed_entries_total') }

rest();

my $gus    = device(2, 'gus');
my $failed = pending();

shut(sub {
    send_to(1, 'users/gus', map { "g$_" } 1 .. 5);
    $gus->expect_nothing(0.7);
    pass('a bus that takes nothing: pushes are accepted');
    ok(pending() > $failed, '... and what is refused is counted');

    my $from = pending();
    sleep 1.2;
    cmp_ok(pending() - $from, '<=', 8,
           '... one is tried now and then, not all of it');
});
is(got($gus, 5, 3), 'g1 g2 g3 g4 g5',
   '... sent when it can be: no heartbeat is needed');
is(metric(1, 'bus_dropped_entries_total'), 0, '... nothing was given up');

# the queue is bounded in memory, not only in what it would send (ASan keeps
# what was freed)

SKIP: {
    skip 'built with ASan', 2 if ($ENV{BUILD} // '') =~ /asan/;

    my $rss = sub {
        my $kb = 0;

        for my $pid ($c->node(1)->workers) {
            open my $in, '<', "/proc/$pid/smaps_rollup" or die "$pid: $!\n";
            $kb += /^Private_Dirty:\s+(\d+)/ ? $1 : 0 while <$in>;
        }

        return $kb;
    };
    my $before = $rss->();

    shut(sub {
        send_to(1, 'users/gus', map { "s$_" } 1 .. 3000);
        cmp_ok($rss->() - $before, '<', 6000,
               'small entries that wait take no large pieces of memory');
    });
    is(() = got($gus, 3000, 10) =~ /s\d+/g, 3000, '... all come');
}

# 400 entries of 16 KB for one node, of one worker, are more than may wait

rest();

my $sent = metric(1, 'bus_sent_entries_total');
my $n    = 400;

shut(sub {
    my $one = dialogue(1);

    for my $i (1 .. $n) {
        my $status = $one->push('users/gus', "h$i " . 'x' x 16000)->{status};
        $status == 201 or die "$status\n";
    }
});

$c->node(1)->until('the bus to be empty', sub {
    metric(1, 'bus_sent_entries_total') + metric(1, 'bus_dropped_entries_total')
        > $sent + $n;
}, 10);

my $dropped = metric(1, 'bus_dropped_entries_total');

$sent = metric(1, 'bus_sent_entries_total') - $sent;
cmp_ok($dropped, '>', 100, 'a bus that takes nothing for long: '
       . 'the oldest entries are given up, and counted');
cmp_ok(($sent - 1) * 16000, '<=', 4 << 20, '... 4 MiB of them wait');
is($sent + $dropped, $n + 1, '... and a CHECK goes instead of the others');

my @h;

while (@h < $n) {
    my $p = $gus->poll(1) // do { $gus->send_raw("\xc0\0"); $gus->poll(5) }
        // last;
    push @h, $p->{payload} =~ /^h(\d+) /
        if $p->{type} eq 'PUBLISH';
}

is("@h", join(' ', 1 .. $n), '... the device gets all, in order');


# --- a Redis that is full, where KICK finds no room

{
    my $hal = device(1, 'hal');

    rest();
    $failed = pending();
    my $failed2 = metric(2, 'bus_failed_entries_total');

    $r->set('maxmemory', '1mb');

    my $start = time;
    my $moved = device(2, 'hal');

    cmp_ok(time - $start, '<', 3, 'a device moves when Redis is full');
    ok(metric(2, 'bus_failed_entries_total') > $failed2,
       '... though the other node cannot be told');
    is(dialogue(1)->push('users/hal', 'x')->{status}, 507, '... it is full');
    $r->set('maxmemory', 0);

    my ($end) = grep { $_->{type} eq 'DISCONNECT' } $hal->drain(5);

    is($end && $end->{code}, 0x8e, '... and is told when it has room again');
    send_to(1, 'users/hal', 'there');
    is(got($moved, 1), 'there', '... the device gets its messages');
    is($hal->closed, 1, '... at one place');
}


# --- workers and nodes that die

for my $pid ($c->node(2)->workers) {
    my $eve = device(2, 'eve');

    kill 'KILL', $pid;
    my $n = 0;

    # the device may have been at that worker
    $c->node(2)->until('messages to go on', sub {
        send_to(1, 'users/eve', ++$n);
        $eve = device(2, 'eve') if $eve->closed;
        return got($eve, 1, 0.5) ne '';
    }, 15);
    pass('a worker killed: another reads on');
    $eve->close;
}

$c->kill9(3);
$c->wait_nodes(2, 10);
pass('the lease of a killed node ends');
is(ops(1)->post('/v1/ops/nodes/n3/reflush', '')->{status}, 409,
   'a node that has gone writes nothing back');

$c->node(3)->start;
$c->wait_nodes(3, 10);
pass('it is back');

my $fay = device(3, 'fay');
send_to(1, 'users/fay', 'hello');
like(got($fay, 2, 3), qr/hello$/, '... and gets messages');
like($c->node(1)->log, qr/the lease of node "n3" has ended/, 'it was told');


# --- two of one name

my $twin = Push::Server->new(name => 'twin', push => $r->conf,
                             workers => 1);
$twin->{conf} = $twin->configuration;
$twin->{conf} =~ s/node \{\{name\}\}/node n1/;
$twin->{conf} = $twin->{conf} =~ s/\{\{push\}\}/$twin->{push}/r;
$twin->start;
$twin->log_like(qr/another node is called "n1" too/, 10);
pass('a second node of the same name says so');
is($twin->metrics->{ngx_push_lease_conflict}, 1, '... in a metric');
is(metric(1, 'lease_held'), 1, 'the first keeps its lease');
ok(!eval { $twin->dialogue->client(client => 'd-z', user => 'shop/z',
                                   version => 5) },
   'the second admits no device');

$twin->stop;
$c->stop;
$r->quit;
done_testing();
