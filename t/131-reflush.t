# Writing back what a node has registered: by itself, when Redis has lost it or
# was out of reach, and by hand.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Redis;
use Push::Server;
use Test::More;
use Time::HiRes qw(sleep time);

my $N = 40;
my $r = Push::Redis->new->start;
my $c = Push::Cluster->new(
    redis => $r, nodes => 2, workers => 2,
    push => 'node_lease 3s; reflush_rate 200; redis_timeout 500ms;',
)->start;

sub metric { $c->node($_[0])->metrics->{"ngx_push_$_[1]"} // 'missing' }
sub entry  { $r->command('HGET', "np:{shop:$_[0]}d", "d-$_[0]") // '' }

sub device {
    my ($node, $user, @topics) = @_;
    my $d = $c->dialogue($node)->client(client => "d-$user", version => 5,
                                        user => "shop/$user", auto => 1);

    $d->subscribe('shop/#', @topics);
    return $d;
}

sub got {
    my ($device, $seconds) = @_;
    my $end = time + ($seconds // 5);

    while ((my $left = $end - time) > 0) {
        my $p = $device->poll($left) or last;
        return $p->{payload} if $p->{type} eq 'PUBLISH';
    }

    return 'nothing';
}

sub written {
    my ($what, $more) = @_;
    my $before = $more;

    $c->node(2)->until($what, sub {
        metric(2, 'reflush_sessions_total') >= $before + $N
            && metric(2, 'reflush_running') == 0;
    }, 20);
    pass($what);
}

sub count { metric(2, 'reflush_sessions_total') }

my %d = map { ("u$_" => device(2, "u$_", 'shop/group/g')) } 1 .. $N;
my $one = $d{u1};

like(entry('u1'), qr/^n2 [0-9a-f]+ \d+ o /, 'a device is registered');
is(count(), 0, 'nothing was written back so far');

# --- by hand, through another node

my $n = count();
$r->command('DEL', 'np:{shop:u1}d');
is($c->node(1)->http_client->post('/v1/ops/nodes/n2/reflush', '')->{status},
   202, 'asked of another node');
written('all sessions are written back', $n);
like(entry('u1'), qr/^n2 [0-9a-f]+ \d+ o /, '... and the one that was missing');

# --- Redis comes back empty

$n = count();
$r->flushall;
written('Redis came back empty: all are written back', $n);
is(() = grep({ entry("u$_") =~ /^n2 / } 1 .. $N), $N, '... each');
is(scalar(grep { $_->closed } values %d), 0, '... and no socket was closed');

$c->dialogue(1)->push('users/u1', 'hello');
is(got($one), 'hello', '... pushes from another node arrive');
$c->dialogue(1)->push('groups/g', 'all');
is(join(' ', map { got($_) } values %d), join(' ', ('all') x $N),
   '... to all of the group too');


# --- out of reach for longer than the lease

$n = count();
$r->stop;
sleep 4;
$r->cont;
written('Redis was away for longer than the lease: all are written back', $n);
is(scalar(grep { $_->closed } values %d), 0, '... and no socket was closed');
$c->wait_nodes(2);
$c->dialogue(1)->push('users/u2', 'again');
is(got($d{u2}), 'again', '... pushes arrive');

# --- a device that was taken meanwhile

my @pids = $c->node(2)->workers;

kill 'STOP', @pids;
$c->node(1)->until('the lease of n2 to end', sub {
    metric(1, 'nodes{state="alive"}') == 1;
}, 10);

my $moved = device(1, 'u3');

like(entry('u3'), qr/^n1 /, 'a device of a node that stands still has moved');
kill 'CONT', @pids;

my $end = $d{u3}->poll(10);

is($end ? "$end->{type} $end->{code}" : 'nothing', 'DISCONNECT 142', '... and is told so where it was');
is($moved->closed, undef, '... but not where it is');
$c->wait_nodes(2);
$c->dialogue(2)->push('users/u3', 'there');
is(got($moved), 'there', '... and gets its messages there');
like(entry('u3'), qr/^n1 /, '... and stays there');

$c->stop;

# --- workers die in the middle of it: the next one goes on

allow_alert('exited on signal 9');

my $M = 150;
my $k = Push::Server->new(
    name => 'k', workers => 3, zone => '16m',
    push => $r->conf . ' node_lease 10s; reflush_rate 40; linger 60s;')->start;

sub of_k { $k->metrics->{"ngx_push_$_[0]"} // 'missing' }

# Who has the role now.
sub speaker {
    my %live = map { $_ => 1 } $k->workers;
    my ($pid) = grep { $live{$_} }
                reverse $k->log =~ /(\d+)#\d+: push: this worker speaks/g;

    return $pid;
}

$k->until('its lease', sub { of_k('lease_held') eq '1' });

my $there = $k->dialogue->client(client => 'd-k0', user => 'shop/k0',
                                 version => 5, auto => 1, clean => 0,
                                 props => { session_expiry => 3600 });
$there->subscribe('shop/#');

for my $i (1 .. $M - 1) {
    my $d = $k->dialogue->client(client => "d-k$i", user => "shop/k$i",
                                 version => 5, clean => 0,
                                 props => { session_expiry => 3600 });
    $d->subscribe('shop/#');
    $d->disconnect;
}

sub entries { scalar grep { entry("k$_") =~ /^k / } 0 .. $M - 1 }

$k->until('all to be registered', sub { entries() == $M });

for my $round ('the worker that does it', 'two, one after the other') {
    $n = of_k('reflush_sessions_total');
    $r->flushall;
    $k->until('it to begin', sub {
        of_k('reflush_running') && of_k('reflush_sessions_total') > $n;
    });

    my (@remaining, $jumps, $max);
    my $deaths = $round =~ /two/ ? 2 : 1;
    my $look   = sub {
        my $now = of_k('reflush_remaining');

        $jumps++ if @remaining && $now > $remaining[-1];
        push @remaining, $now;
    };

    # not with the last of it
    while ($deaths) {
        $look->();

        if ($remaining[-1] < $M * ($deaths + 1) / 4) {
            my $pid  = speaker();
            my $left = $remaining[-1];

            kill 'KILL', $pid;
            $k->until('another to speak', sub {
                my $new = speaker() // 0;
                $new && $new != $pid;
            }, 15);
            $look->();
            ok(of_k('reflush_running'), "$round: killed, with $left left");
            cmp_ok(abs($remaining[-1] - $left), '<=', 8,
                   '... the next one knows how many there are');
            $deaths--;
        }

        sleep 0.02;
    }

    my $left = of_k('reflush_remaining');
    my $from = time;

    $k->until('its end', sub { $look->(); !of_k('reflush_running') }, 30);
    $look->();
    cmp_ok(time - $from, '>', $left / 40 * 0.6,
           '... it goes on from there, at its rate');
    is($jumps // 0, 0, '... what remains only falls');
    is($remaining[-1], 0, '... to nothing');
    is(entries(), $M, '... and all are written');

    my $written = of_k('reflush_sessions_total') - $n;

    ok($written >= $M && $written <= $M + 16,
       "... once each, but for some under way ($written of $M)");
    sleep 3;
    is(of_k('reflush_sessions_total') - $n, $written, '... and that was all');
    $k->until('all workers', sub { $k->workers == 3 });
}

$k->stop;
$r->quit;
done_testing();
