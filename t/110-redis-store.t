# The store in Redis, seen from the center and from Redis itself; what devices
# see of it is in t/111-redis-deliver.t.

use strict;
use warnings;
no warnings "portable";

use lib 't/lib';
use Push::Test;
use Push::Redis;
use Push::Server;
use Test::More;
use Time::HiRes qw(sleep time);

my $r = Push::Redis->new(aof => 'always')->start;
my $s = Push::Server->new(
    name => 'n1', workers => 2,
    push => $r->conf . ' redis_timeout 500ms; idempotency_limit 50;',
    product => 'inbox_limit 5; group_limit 3; payload_limit 100000;',
)->start;
my $h = $s->http_client;

sub post {
    my ($target, $body, @headers) = @_;
    my $path = $target eq 'broadcasts' ? $target : "$target/messages";

    return $h->post("/v1/shop/$path", $body, @headers);
}

sub log_of { return { @{$r->command('HGETALL', "np:{shop$_[0]}q")} } }

# what a message says of itself, decoded
sub blob {
    my ($text) = @_;
    my ($version, $qos, $created, $expires, $from, $ctype, $props)
        = unpack 'CCNNQ>Cn', $text;

    return { version => $version, qos => $qos, created => $created,
             expires => $expires, from => $from,
             ctype => substr($text, 21, $ctype),
             payload => substr($text, 21 + $ctype + $props) };
}

# each worker has connections of its own
$r->until('both workers to be connected', sub {
    my @c = map { $s->http_client } 1 .. 12;

    $_->open for @c;
    return 12 == grep {
        $_->get('/v1/shop/users/warm/messages/abc-1')->{status} == 404
    } @c;
});

# --- saved

my $a = post('users/ann', 'hello', 'Content-Type' => 'text/plain', TTL => 100);

is($a->{status}, 201, 'a push is accepted');
like($a->{json}{id}, qr/^[0-9a-f]{12,}-1$/, '... and has an id');

my $log = log_of(':ann');
my ($inc) = $a->{json}{id} =~ /^(\w+)-/;

is_deeply([@$log{qw(i l)}], [$inc, 1], '... which is that of Redis');

my $m = blob($log->{1});
is($m->{payload}, 'hello', 'the payload is there');
is($m->{ctype}, 'text/plain', '... and its type');
is($m->{expires} - $m->{created}, 100, '... and its time to live');
ok(abs($m->{created} - time) < 3, '... and the time');
is($m->{version}, 1, 'in a blob of version 1');

my $ttl = $r->command('TTL', 'np:{shop:ann}q');
ok($ttl > 95 && $ttl <= 101, 'the log lives as long as its message');

is(post('users/ann', "m$_")->{json}{id}, "$inc-$_", "number $_") for 2 .. 5;
ok($r->command('TTL', 'np:{shop:ann}q') > 600000,
   'the log lives as long as its longest message');

is(post('users/ann', 'm6')->{json}{id}, "$inc-6", 'over the limit it is saved');
$log = log_of(':ann');
is_deeply([sort grep { /^\d+$/ } keys %$log], [2 .. 6], '... the oldest goes');
is($s->metrics->{'ngx_push_dropped_total{reason="limit"}'}
   // $s->metrics->{'ngx_push_drops_total{reason="limit"}'}, 1,
   '... and is counted');

is(post('groups/chess', 'x')->{status}, 201, 'to a group');
is(blob(log_of(';chess')->{1})->{payload}, 'x', '... has a log of its own');
is(post('broadcasts', 'y')->{status}, 202, 'to everybody');
is(blob(log_of('')->{1})->{payload}, 'y', '... as well');

my $large = join '', map { chr rand 256 } 1 .. 100000;
is(post('users/large', $large)->{status}, 201, 'a large one');
is(blob(log_of(':large')->{1})->{payload}, $large, '... is the same');
is(post('users/large', "$large.")->{status}, 413, 'one that is too large');
is(log_of(':large')->{l}, 1, '... has not been sent');

is_deeply([map { $_->{json}{id} =~ /-(\d+)$/ } $h->pipeline(
              map { ['POST', '/v1/shop/users/pipe/messages', "p$_"] } 1 .. 40)],
          [1 .. 40], 'pipelined requests are saved in their order');

# --- TTL 0

$a = post('users/zero', 'now', TTL => 0);
is($a->{status}, 200, 'TTL 0');
is($a->{json}{reached}, 0, '... to nobody');
is($r->command('EXISTS', 'np:{shop:zero}q'), 0, '... is not saved');

# --- status

sub state_of {
    my ($user, $id) = @_;
    return $h->get("/v1/shop/users/$user/messages/$id");
}

$a = state_of('ann', "$inc-6");
is($a->{status}, 200, 'the state of a message');
is($a->{json}{state}, 'saved', '... that waits');
is(state_of('ann', "$inc-1")->{json}{state}, 'ended', '... that was dropped');
is(state_of('ann', "$inc-7")->{status}, 404, 'one that never was');
is(state_of('ann', 'abcdef-6')->{status}, 404, 'one of another incarnation');
is(state_of('nobody', "$inc-6")->{status}, 404, 'one of no log');

$r->command('HSET', 'np:{shop:ann}d', 'phone',
            "n9 1 1 x 1 $inc 5 3 ", 'pad', "n9 1 1 x 1 $inc 6 3 ");
is(state_of('ann', "$inc-5")->{json}{state}, 'sent', 'one that was sent');
is(state_of('ann', "$inc-5")->{json}{sent_to}, 2, '... to two devices');
is(state_of('ann', "$inc-6")->{json}{sent_to}, 1, '... to one');

# as the register does it
$r->command('HDEL', 'np:{shop:ann}q', 2, 3);
$r->command('HSET', 'np:{shop:ann}q', 'a', 3, 'f', 4);
is(state_of('ann', "$inc-3")->{json}{state}, 'acked', 'one that all have');

post('users/short', 'x', TTL => 1);
$a = post('users/short', 'y', TTL => 30);
($inc) = $a->{json}{id} =~ /^(\w+)-/;
sleep 2.1;
is(state_of('short', "$inc-1")->{json}{state}, 'ended', 'one that has expired');

# --- uplink, page by page

sub entry {
    my ($type, $payload, $expires) = @_;
    my $props = join '', map { chr(length) . $_ } $type, 'ann', 'phone';

    return pack('CCNNQ>Cn', 1, 1, time, $expires // time + 100, 7, 10,
                length $props) . "text/plain$props$payload";
}

$r->command('HSET', 'np:{shop^}q', 'i', 'abc123', 'l', 300, 'f', 1,
            map { $_ => entry('t', "u$_") } 1 .. 100, 201 .. 300);
$r->command('HSET', 'np:{shop^}q', map { $_ => entry('t', 'x', time - 5) }
                                   101 .. 200);

my ($next, $pages, @got) = ('', 0);
while (1) {
    my $page = $h->get('/v1/shop/uplink?max=30' . ($next && "&after=$next"));

    die $page->{body} if $page->{status} != 200 || $pages++ > 20;
    last if !@{$page->{json}{messages}};
    push @got, map { $_->{payload} } @{$page->{json}{messages}};
    $next = $page->{json}{next};
}
is_deeply(\@got, [map { "u$_" } 1 .. 100, 201 .. 300],
          'all of the uplink, over what has expired in it');
is($next, 'abc123-300', '... to its end');

$a = $h->get('/v1/shop/uplink?max=1')->{json}{messages}[0];
is("$a->{type} $a->{user} $a->{device}", 't ann phone', 'who sent it');
$a = $h->get('/v1/shop/uplink?max=1&after=abd-7')->{json};
is("$a->{lost} $a->{messages}[0]{payload}", '1 u1',
   'after one of another incarnation: from the start');
$a = $h->get("/v1/shop/uplink?after=$next")->{json};
is_deeply([scalar @{$a->{messages}}, $a->{next}], [0, $next], 'at the end');

# --- idempotency

my @key = ('Idempotency-Key' => '"one"');
$a = post('users/idem', 'x', @key);
my $b = post('users/idem', 'x', @key);
is($b->{status}, 201, 'again with the same key');
is($b->{json}{id}, $a->{json}{id}, '... has the same answer');
is($b->{json}{expires}, $a->{json}{expires}, '... to the time');
is($b->{headers}{'idempotent-replayed'}, 'true', '... and says so');
is($a->{headers}{'idempotent-replayed'}, undef, '... which the first did not');
is(log_of(':idem')->{l}, 1, '... and nothing more is saved');
is(post('users/idem', 'y', @key)->{status}, 422, 'with another body: no');
is(post('users/other', 'x', @key)->{status}, 201, 'with another target: yes');

# many at once, over both workers
my @c = map { $s->http_client } 1 .. 20;
$_->open for @c;
$_->send_raw($_->format('POST', '/v1/shop/users/race/messages', 'x',
                        'Idempotency-Key' => '"race"')) for @c;
my %status;
$status{$_->response('POST')->{status}}++ for @c;
is(log_of(':race')->{l}, 1, 'many at once with one key: one is saved');
is(($status{201} // 0) + ($status{409} // 0), 20,
   '... the others have its answer, or are told to wait');
ok($status{201}, '... at least one has it');

is(post('users/many', 'x', 'Idempotency-Key' => "\"k$_\"")->{status}, 201,
   "key $_") for 1, 50;
post('users/many', 'x', 'Idempotency-Key' => "\"k$_\"") for 2 .. 49;
$a = post('users/many', 'x', 'Idempotency-Key' => '"k51"');
is($a->{status}, 429, 'too many keys');
is(post('users/many', 'x')->{status}, 201, '... without one it goes');

# --- scripts are forgotten

$r->command('SCRIPT', 'FLUSH');
is(post('users/flush', 'x')->{status}, 201, 'after SCRIPT FLUSH');

# --- out of memory

$r->set('maxmemory', 1);
is(post('users/oom', 'x')->{status}, 507, 'no memory: refused');
is(post('users/oom', 'x', 'Idempotency-Key' => '"oom"')->{status}, 507,
   '... with a key too');
is($r->command('EXISTS', 'np:{shop:oom}q', 'np:{shop:oom}k'), 0,
   '... and nothing was saved');
is(state_of('idem', post('users/idem', 'x', @key)->{json}{id} // 'f00-1')
       ->{status}, 404, '... a replay is refused too, and reading goes on');
$r->set('maxmemory', 0);
is(post('users/oom', 'x', 'Idempotency-Key' => '"oom"')->{status}, 201,
   '... and accepted when there is memory again');

# --- a Redis that does not answer

$r->stop;
my $from = time;
$a = post('users/slow', 'x', 'Idempotency-Key' => '"slow"');
my $took = time - $from;
is($a->{status}, 504, 'no answer: unknown');
ok($took > 0.4 && $took < 2, '... after redis_timeout');
my $quick = $s->http_client;
$from = time;
is($quick->get('/metrics')->{status}, 200, '... and the workers go on');
ok(time - $from < 0.3, '... at once');
$r->cont;

$b = eval { $r->until('a push to be accepted', sub {
    my $p = post('users/slow', 'x', 'Idempotency-Key' => '"slow"');
    return $p->{status} == 201 && $p;
}) };
is($b && $b->{status}, 201, 'when it goes on, the repetition is accepted');
is(log_of(':slow')->{l}, 1, '... and it was saved once');

# --- a Redis that is not there

$r->kill9;
sleep 0.2;
$from = time;
is(post('users/down', 'x')->{status}, 503, 'no Redis: refused');
ok(time - $from < 0.3, '... at once');
is(post('users/down', 'x', 'Idempotency-Key' => '"down"')->{status}, 503,
   '... with a key too');
is($h->get("/v1/shop/users/ann/messages/$inc-1")->{status}, 503,
   '... and so is a question');
$r->start;
$b = $r->until('a push to be accepted', sub {
    my $p = post('users/down', 'y', 'Idempotency-Key' => '"down2"');
    return $p->{status} == 201 && $p;
});
is(log_of(':down')->{l}, 1, 'what was refused was not saved');
is(post('users/down', 'x', 'Idempotency-Key' => '"down"')->{status}, 201,
   '... and its key is free');

# it is another process, which may have lost something
post('users/slow', 'x');
my $leap = log_of(':slow')->{l};
cmp_ok($leap, '>=', 65538, 'numbers are left out in a log of before');
post('users/slow', 'x');
is(log_of(':slow')->{l}, $leap + 1, '... once');

ok(!$s->can('dead_workers') || !$s->dead_workers, 'no worker has died');
$s->stop;

done_testing();
