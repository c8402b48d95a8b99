# The Redis client with one server: what a call is answered, whatever happens
# to the server meanwhile, and what is said of it.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Probe;
use Push::Redis;
use Push::Redis::Slow;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

sub metric { return $_[0]->server->metrics->{"ngx_push_$_[1]"} }

sub clients {
    my ($r) = @_;
    return grep { /name=ngx_push/ } split /\n/, $r->command('CLIENT', 'LIST');
}

my $r = Push::Redis->new(aof => 'everysec')->start;
my $p = Push::Probe->new(name => 'one', push => $r->conf
    . ' redis_timeout 1s; redis_connect_timeout 500ms; redis_inflight 100;');
my $s = $p->server;

# --- calls

is($p->until_ok('SET', 'a', 1), 'OK OK', 'a call');
is($p->watched, 'first', 'the first connection is told');
is($p->call('GET', 'a'), 'OK 1', '... and its answer');
is($p->call('GET', 'none'), 'OK nil', 'nothing');
is($p->call('SET', 'bin', "\0\r\n\xff *3"), 'OK OK', 'any bytes');
is($r->command('GET', 'bin'), "\0\r\n\xff *3", '... arrive');
is($p->call('SET', 'big', 'x' x 3000), 'OK OK', 'some more');
like($p->call('NOSUCH', 'a'), qr/^DECLINED ERR unknown command/, 'an error');
like($p->call('LPUSH', 'a', 1), qr/^DECLINED WRONGTYPE/, '... another');
is($p->call(['silent=1'], 'SET', 'quiet', 1), 'OK', 'without a handler');
is($p->call('GET', 'quiet'), 'OK 1', '... it is done');

# --- in order, pipelined

my $before = $r->info('total_reads_processed');
my $got    = $p->calls(100, 'INCR', 'n');
my $reads  = $r->info('total_reads_processed') - $before;

is(scalar(keys %$got), 16, 'a hundred calls, each its own answer');
cmp_ok($reads, '<', 20, '... are few writes');
is($r->command('GET', 'n'), 100, '... and each is done once');

# --- the bound

$got = $p->calls(250, 'SET', 'b', 1);
is_deeply($got, { 'OK OK' => 100, BUSY => 150 }, 'above redis_inflight: busy');
$got = $p->calls(250, ['urgent=1'], 'SET', 'b', 1);
is_deeply($got, { 'OK OK' => 250 }, '... but urgent ones are not');
is(metric($p, 'redis_busy_total'), 150, '... which is counted');
is(metric($p, 'redis_inflight'), 0, 'nothing is left in flight');

# --- scripts

is($p->script('k', 'v1'), 'OK k,v1', 'a script');
is($r->calls->{'script|load'} > 0, 1, '... was loaded');
$r->command('CONFIG', 'RESETSTAT');
is($p->script('k', 'v2'), 'OK k,v2', 'a second time');
is($r->calls->{'script|load'} // 0, 0, '... it is not loaded again');
$r->command('SCRIPT', 'FLUSH');
is_deeply($p->calls(100, ['script=1'], 'k', 'v3'), { 'OK k,v3' => 100 },
          'flushed away: nobody notices');
cmp_ok($r->calls->{'script|load'}, '<', 20, '... loaded again, not each time');

# --- a blocking call

# the bus has the one blocking call otherwise
$p->ask('alone=1');

my $t = time;
is($p->call(['block=300', 'key=list'], 'BLPOP', 'list', '0.3'), 'OK nil',
   'a blocking call waits');
cmp_ok(time - $t, '>', 0.25, '... as long as it says');

sub while_blocked {
    my ($code, @block) = @_;
    my $http = $s->http_client(timeout => 30);

    $http->send_raw($http->format('GET', '/probe?' . join '&', @block));
    sleep 0.2;
    $code->();
    my $answer = join ', ', sort keys
        %{Push::Probe::outcomes($http->response('GET')->{body})};
    $http->close;
    return $answer;
}

my @BLPOP = ('block=5000', 'key=list', 'w=BLPOP', 'w=list', 'w=5');

is(while_blocked(sub {
    is($p->call('GET', 'a'), 'OK 1', 'others are not held up');
    is($p->call(['block=300', 'key=list'], 'BLPOP', 'list', 1), 'BUSY',
       'one at a time');
    $r->command('LPUSH', 'list', 'x');
}, @BLPOP), 'OK list,x', '... and it is answered');

is(while_blocked(sub { $p->ask('unblock=1') }, @BLPOP), 'ABORT', 'given up');
is($p->call(['block=100', 'key=list'], 'BLPOP', 'list', '0.1'), 'OK nil',
   '... and the next one');

# --- the memory is full

$r->set('maxmemory', '1mb');
is($p->call('SET', 'a', 2), 'FULL', 'out of memory');
is($p->script('k', 'v4'), 'FULL', '... in a script');
is($p->call('GET', 'a'), 'OK 1', '... reading goes on');
$r->set('maxmemory', 0);
is($r->command('GET', 'k'), 'v3', 'nothing was done');
cmp_ok(metric($p, 'redis_errors_total{error="oom"}'), '>=', 2, 'counted');

# --- a long script of somebody else's

{
    my $other = $r->connect(timeout => 10);

    $r->set('busy-reply-threshold', 10);
    $other->open;
    $other->send(Push::RESP::encode('EVAL', 'while true do end', 0));
    sleep 0.3;
    is($p->call('SET', 'a', 3), 'ERROR', 'busy with a script: refused');
    $r->connect->command('SCRIPT', 'KILL');
    is($p->until_ok('GET', 'a'), 'OK 1', '... and not done');
}

# --- stopped

unlike($p->watched, qr/down/, 'up all the time');
$r->stop;
$t = time;
is_deeply($p->calls(50, 'SET', 'a', 4), { ABORT => 50 },
          'it hangs: nobody knows');
cmp_ok(time - $t, '<', 1.5, '... after the deadline');
is($p->call('SET', 'a', 5), 'ERROR', 'after that, refused');
is($p->ask('up=1', 'w=GET', 'w=a'), "no\n", '... and said to be down');
like($p->watched, qr/down$/, '... and told');
is(metric($p, 'redis_connections'), 0, 'no connection is up');
cmp_ok(metric($p, 'redis_unknown_total'), '>=', 50, 'counted');
cmp_ok($s->stall, '<', 100, 'nobody waited for it but who asked');
$r->cont;
is($p->until_watched(qr/down again$/), 'yes', 'the same server is back');
is($p->until_ok('SET', 'a', 6), 'OK OK', '... and serves');

# --- killed, started again

$r->kill9;
is($p->until_watched(qr/again down$/), 'yes', 'killed: it is down');
is($p->call('GET', 'a'), 'ERROR', '... and refused');
$r->start;
is($p->until_watched(qr/restarted$/), 'yes', 'another process: restarted');
is($p->until_ok('GET', 'a'), 'OK 6', '... and serves what it had kept');
is($p->script('k', 'v5'), 'OK k,v5', '... scripts too');
cmp_ok(metric($p, 'redis_reconnects_total'), '>=', 2, 'tries are counted');

# killed with calls under way
$r->stop;
is(while_blocked(sub { $r->signal('KILL'); $r->kill9 },
                 'w=SET', 'w=a', 'w=7', 'n=20'), 'ABORT',
   'cut off with calls under way: nobody knows');
$r->start;
is($p->until_ok('GET', 'a'), 'OK 6', 'and on again');

# --- made a replica

my $other = Push::Redis->new->start;

$r->command('REPLICAOF', '127.0.0.1', $other->port);
is($p->call('SET', 'a', 8), 'ERROR', 'a replica refuses: nothing was done');
is($p->until(sub { $p->call('GET', 'a') eq 'ERROR' }), 1,
   '... and is not used any more');
is($p->until(sub { $s->log =~ /the server is a replica, not a master/ }), 1,
   '... it says why');
$r->command('REPLICAOF', 'NO', 'ONE');
is($p->until_ok('SET', 'a', 9), 'OK OK', 'a master again');

# --- the log

my $log = $s->log;
unlike($log, qr/maxmemory-policy|append only/, 'nothing to warn of');
unlike($log, qr/\[(?:alert|emerg|crit)\]/, 'nothing worse');
cmp_ok(scalar(() = $log =~ /\[error\].*redis:/g), '<', 30,
       'an outage is a few lines, not one for each try');

# --- quits at once; a call under way is waited for

$t = time;
$s->stop;
cmp_ok(time - $t, '<', 2, 'connections do not keep the worker');
is(scalar(clients($r)), 0, 'none is left open');
unlike($s->log, qr/open socket/, '... nor forgotten');

# --- who it says it is, and what it does not say

{
    my $q = Push::Redis->new(user => 'push', password => 'secret-word',
                             unix => 1, policy => 'allkeys-lru')->start;
    my $c = Push::Probe->new(name => 'two', push => $q->conf
        . ' redis_connections 3;' =~ s/^//r);

    is($c->until_ok('SET', 'a', 1), 'OK OK', 'a user, a socket');
    $c->until(sub { clients($q) >= 3 });

    my @clients = grep { /user=push/ && !/cmd=xread/ } clients($q);
    is(scalar(@clients), 3, 'redis_connections of them');
    like($clients[0], qr/name=ngx_push:two:\d+ /, 'by name');
    like($c->server->log, qr/\[warn\].*other than noeviction/,
         'eviction is warned of');
    like($c->server->log, qr/\[warn\].*no append only file/,
         '... and a server that keeps nothing');
    unlike($c->server->log, qr/secret-word/, 'no password in the log');
    $c->server->stop;

    $c = Push::Probe->new(name => 'three', push => "redis unix:"
        . $q->path . '; redis_user push; redis_password wrong-word;');
    is($c->until(sub { $c->server->log =~ /AUTH: WRONGPASS/ }), 1,
       'a wrong password is told');
    is($c->call('GET', 'a'), 'ERROR', '... and nothing works');
    unlike($c->server->log, qr/wrong-word/, '... but it is not told');
    $c->server->stop;
}

# --- a database of its own

{
    my $c = Push::Probe->new(name => 'four',
        push => 'redis ' . $r->url . '/5; redis_prefix x:;');

    is($c->until_ok('SET', 'only-in-5', 1), 'OK OK', 'a database');
    is($r->command('GET', 'only-in-5'), undef, '... apart from the others');

    my $client = $r->connect;
    $client->command('SELECT', 5);
    is($client->command('GET', 'only-in-5'), 1, '... it is the one');
    $c->server->stop;
}

# --- slow: some calls are unknown, and the connection stays

{
    my $slow = Push::Redis::Slow->new($r->port);
    my $c    = Push::Probe->new(name => 'slow', push =>
        'redis 127.0.0.1:' . $slow->port . '; redis_connections 1;'
        . ' redis_timeout 1s; redis_connect_timeout 500ms;');
    my $later = sub {
        my ($http, @ask) = ($c->server->http_client(timeout => 30), @_);

        $http->send_raw($http->format('GET', '/probe?' . join '&', @ask));
        return sub { Push::Probe::outcomes($http->response('GET')->{body}) };
    };

    is($c->until_ok('SET', 'slow', 0), 'OK OK', 'through a slow one');
    $c->ask('alone=1');
    sleep 0.3;

    my $reconnects = metric($c, 'redis_reconnects_total');
    my $busy       = metric($c, 'redis_busy_total');
    my $unknown    = metric($c, 'redis_unknown_total');

    $slow->pace(0.4);

    my $got = $c->calls(8, ['urgent=1'], 'INCR', 'slow');
    my $ok  = grep { /^OK/ } keys %$got;

    is_deeply($got, { ABORT => 8 - $ok, map { ("OK $_" => 1) } 1 .. $ok },
              'an answer each 0.4 s: the first ones get theirs');
    cmp_ok($ok, '>=', 1, '... some');
    cmp_ok($ok, '<=', 4, '... and the late ones are unknown');
    is(metric($c, 'redis_unknown_total') - $unknown, 8 - $ok, '... counted');

    $t = time;
    is($c->call('INCR', 'slow'), 'BUSY', 'nobody joins a long line');
    cmp_ok(time - $t, '<', 0.3, '... which is said at once');
    is(metric($c, 'redis_busy_total') - $busy, 1, '... and counted');
    cmp_ok(metric($c, 'redis_inflight'), '==', 0, 'urgent ones never count');

    $slow->pace(0);
    is($c->until_ok('INCR', 'slow'), 'OK 9',
       'late answers are thrown away, the next call has its own');
    is_deeply($c->calls(3, 'GET', 'slow'), { 'OK 9' => 3 }, '... and on');
    is(metric($c, 'redis_reconnects_total'), $reconnects,
       'the connection is the same');
    is($c->watched, 'first', '... nobody was told anything');

    # held for less than the deadline

    $slow->hold;
    my $first = $later->('w=INCR', 'w=slow');
    sleep 0.65;
    is($c->call('INCR', 'slow'), 'BUSY', 'older than half of redis_timeout');
    $slow->pace(0);
    is_deeply($first->(), { 'OK 10' => 1 }, '... the old one is answered');
    is($c->until_ok('INCR', 'slow'), 'OK 11', '... and all is well');

    # calls that are late keep their place in redis_inflight until they are
    # answered, and wait for it without end while others are

    $slow->pace(0.4);
    $got = $c->calls(6, 'INCR', 'slow');
    cmp_ok($got->{ABORT}, '>=', 2, 'late again');
    cmp_ok(metric($c, 'redis_inflight'), '>=', 1, '... still in flight');
    is($c->until(sub { metric($c, 'redis_inflight') == 0 }, 5), 1,
       '... until the answer');
    is($r->command('GET', 'slow'), 17, 'each was done once');

    # nothing at all

    $slow->hold;
    $t = time;
    is_deeply($c->calls(3, 'INCR', 'slow'), { ABORT => 3 }, 'silence');
    cmp_ok(time - $t, '<', 1.5, '... for redis_timeout');
    is($c->until_watched(qr/down$/), 'yes', '... ends the connection');
    $slow->pace(0);
    is($c->until_watched(qr/down again$/), 'yes', '... and it comes back');
    is($c->until_ok('INCR', 'slow'), 'OK 21', '... and serves');

    # calls under way do not keep what leaves

    $slow->pace(0.4);
    $c->calls(8, ['urgent=1'], 'INCR', 'slow');
    $t = time;
    $c->server->stop;
    cmp_ok(time - $t, '<', 2, 'nobody waits for late answers');
    unlike($c->server->log, qr/exited on signal|\[(?:alert|emerg)\]/,
           '... nor is harmed by them');
    $slow->stop;
}

# --- something that is no Redis

for my $case (
    ["+OK\r\n" x 20, 'unasked|older than Redis', 'answers at random'],
    ["HTTP/1.1 400 Bad Request\r\n\r\n", 'Protocol error', 'a web server'],
    ["-ERR max number of clients reached\r\n", 'max number of clients',
     'a full one'],
    ['', 'no answer after the connect|closed', 'one that says nothing'],
) {
    my ($text, $says, $name) = @$case;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 9,
                                       ReuseAddr => 1) or die;
    my $port = $listen->sockport;

    defined(my $pid = fork) or die;

    if ($pid == 0) {
        local $SIG{ALRM} = sub { POSIX::_exit(0) };
        my @held;
        alarm 30;

        while (my $c = $listen->accept) {
            $c->syswrite($text) if $text ne '';
            push @held, $c;
            shift @held if @held > 8;
        }
        POSIX::_exit(0);
    }

    close $listen;

    my $c = Push::Probe->new(name => 'strange', push =>
        "redis 127.0.0.1:$port; redis_connect_timeout 300ms;");

    is($c->until(sub { $c->server->log =~ /redis: connection to .*$says/ }, 5),
       1, "$name: it is refused") or diag(grep { /redis/ } $c->server->log);
    is($c->call('GET', 'a'), 'ERROR', '... and so are calls');
    $c->server->stop;
    unlike($c->server->log, qr/exited on signal/, '... and no more');
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

done_testing();
