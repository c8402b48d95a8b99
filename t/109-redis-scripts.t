# The scripts of the store, alone against a redis-server, with arguments made
# by hand: docs/redis.md is what they are held to.

use strict;
use warnings;
no warnings "portable";


use lib 't/lib';
use Push::Test;
use Push::Redis;
use Test::More;

my $r = Push::Redis->new->start;
my %sha;

sub script {
    my ($name, $keys, @args) = @_;

    $sha{$name} ||= do {
        open my $in, '<', "ngx_push_core_module/redis/lua/$name.lua" or die;
        local $/;
        $r->command('SCRIPT', 'LOAD', scalar <$in>);
    };

    return $r->command('EVALSHA', $sha{$name}, scalar @$keys, @$keys, @args);
}

sub blob {
    my ($expires, $payload, $created) = @_;
    return pack('CCNNQ>Cn', 1, 1, $created // 1000, $expires, 0, 3, 2)
           . "a/bpp$payload";
}

# save to {T}q at $now, with $ttl; further arguments are the key's
sub save {
    my ($t, $payload, $ttl, $now, $limit, $how, @key) = @_;
    my $run = 'aaaa';

    $run = pop @key if @key % 5 == 1;

    return script('save', ["{$t}q", "{$t}d", @key ? "{$t}k" : ()],
                  $ttl ? blob($now + $ttl, $payload) : '', $ttl, $now,
                  $limit, $how // '', @key, $run);
}

sub load_page {
    my ($t, $inc, $after, $upto, $max, $bytes) = @_;
    return script('load', ["{$t}q"], $inc, $after, $upto // 0, $max // 64,
                  $bytes // 262144);
}

# numbers in a page
sub numbers {
    my ($page) = @_;
    return join ' ', map { $page->[5 + 2 * $_] } 0 .. (@$page - 5) / 2 - 1;
}

my ($a, $b, $inc);

# --- numbers, incarnation, time to live

$a   = save('n', 'one', 100, 1000, 10);
$inc = $a->[0];
like($inc, qr/^[0-9a-f]{13,16}$/, 'the incarnation is hexadecimal');
ok(abs(hex($inc) / 1e6 - time) < 5, '... and microseconds');
is_deeply($a, [$inc, 1, 0, 0, []], 'the first message');
is_deeply(save('n', 'two', 50, 1000, 10), [$inc, 2, 0, 0, []], 'the second');
is($r->command('TTL', '{n}q'), 101, 'the key lives as long as the first');
save('n', 'three', 500, 1000, 10);
is($r->command('TTL', '{n}q'), 501, '... and as the longest');
is($r->command('HGET', '{n}q', 2), blob(1050, 'two'), 'the blob is kept');

$r->command('DEL', '{n}q');
$b = save('n', 'x', 100, 1000, 10);
isnt($b->[0], $inc, 'another log has another incarnation');
is($b->[1], 1, '... and begins with 1');

# --- who is told

$r->command('HSET', '{w}d', 'one', 'n1 1 1 o 5 0 0 0 ', 'two', 'n2 7 x');
is_deeply([sort @{save('w', 'x', 9, 1000, 9, 'HVALS')->[4]}],
          ['n1 1 1 o 5 0 0 0 ', 'n2 7 x'], 'the devices of a user');
is_deeply({@{save('w', 'x', 9, 1000, 9, 'HGETALL')->[4]}},
          {one => 'n1 1 1 o 5 0 0 0 ', two => 'n2 7 x'},
          'the nodes of a channel');

# --- limit and expiry, from the head

save('l', "m$_", 100, 1000, 3) for 1 .. 3;
is_deeply([@{save('l', 'm4', 100, 1000, 3)}[1 .. 3]], [4, 1, 0],
          'one over the limit: the oldest is dropped');
is(numbers(load_page('l', 0, 0)), '2 3 4', '... and gone');
is_deeply([$r->command('HMGET', '{l}q', 'f', 'e')], [[2, 1]],
          '... noted as ended otherwise');

is_deeply([@{save('l', 'm5', 100, 1000, 2)}[1 .. 3]], [5, 2, 0],
          'a smaller limit: two are dropped');

is_deeply([@{save('l', 'm6', 100, 1100, 3)}[1 .. 3]], [6, 0, 2],
          'those that have expired go, and are not dropped');
is(numbers(load_page('l', 0, 0)), '6', '... all of them');

# behind one that has not expired
save('e', 'long', 1000, 1000, 3);
save('e', 'short', 10, 1000, 3) for 1 .. 2;
is_deeply([@{save('e', 'x', 1000, 1020, 3)}[1 .. 3]], [4, 1, 2],
          'over the limit the oldest goes, then what had expired behind it');
is(numbers(load_page('e', 0, 0)), '4', '... which leaves the newest');

# what the register has acknowledged in between
save('k', "m$_", 100, 1000, 3) for 1 .. 3;
$r->command('HDEL', '{k}q', 1, 2, 3);
$r->command('HSET', '{k}q', 'a', 3, 'f', 4);
is_deeply([@{save('k', 'm4', 100, 1000, 3)}[1 .. 3]], [4, 0, 0],
          'after all were acknowledged');
save('k', "m$_", 100, 1000, 3) for 5 .. 6;
is(numbers(load_page('k', 0, 0)), '4 5 6', '... as many as the limit');
is_deeply([@{save('k', 'm7', 100, 1000, 3)}[1 .. 3]], [7, 1, 0],
          '... and not more');

# a hole counts for nothing
save('h', "m$_", 100, 1000, 3) for 1 .. 3;
$r->command('HDEL', '{h}q', 2);
is_deeply([@{save('h', 'm4', 100, 1000, 3)}[1 .. 3]], [4, 0, 0],
          'a hole in the middle leaves room');
is(numbers(load_page('h', 0, 0)), '1 3 4', '... and is not read');

# a step at a time, when much is to go
save('s', 'x', 100, 1000, 1000) for 1 .. 400;
is(save('s', 'x', 100, 1000, 10)->[2], 256, '256 are ended at a time');
is(save('s', 'x', 100, 1000, 10)->[2], 136, '... and the rest later');
is(numbers(load_page('s', 0, 0)), join(' ', 393 .. 402), '... all');

# --- another process of Redis, which may have lost the last ones

save('r', "m$_", 100, 1000, 3) for 1 .. 2;
my $third = save('r', 'm3', 100, 1000, 3, '', 'bbbb')->[1];
my ($fourth, $last) = ($third + 1, $third + 4);

cmp_ok($third, '>=', 65539, 'leaves numbers out');
is_deeply([@{save('r', 'm4', 100, 1000, 3, '', 'bbbb')}[1 .. 3]],
          [$fourth, 1, 0], '... once');
is(numbers(load_page('r', 0, 0)), "2 $third $fourth",
   '... which nobody looks for');
is(load_page('r', 0, 0)->[4], $fourth, '... to the end');
is(numbers(load_page('r', $r->command('HGET', '{r}q', 'i'), 2, $third)),
   $third, '... and not beyond what was asked for');
save('r', "m$_", 100, 1000, 3, '', 'bbbb') for 5 .. 7;
is(numbers(load_page('r', 0, 0)), join(' ', $last - 2 .. $last),
   '... the limit holds');
is(script('status', ['{r}q', '{r}d'], $r->command('HGET', '{r}q', 'i'), 9, '')
       ->[2], $fourth, '... and they have ended');

# a third one, which has heard of nothing that the second has given

save('ff', 'm1', 100, 1000, 3);
select undef, undef, undef, 0.05;
my $second = save('ff', 'm2', 100, 1000, 3, '', 'bbbb')->[1];
$r->command('HDEL', '{ff}q', $second, 'e');
$r->command('HSET', '{ff}q', 'l', 1, 'x', '1100 aaaa');
select undef, undef, undef, 0.05;
cmp_ok(save('ff', 'm3', 100, 1000, 3, '', 'cccc')->[1], '>', $second,
       '... and goes on behind it');

save('re', "m$_", 100, 1000, 3) for 1 .. 2;
$r->command('HDEL', '{re}q', 1, 2);
$r->command('HSET', '{re}q', 'a', 2, 'f', 3);
save('re', 'm3', 100, 1000, 3, '', 'bbbb');
$a = $r->command('HMGET', '{re}q', 'l', 'f', 'x');
cmp_ok($a->[0], '>=', 65539, 'in an empty log too');
is_deeply($a, [$a->[0], $a->[0], '1100 bbbb'], '... which begins there');

# when to look is written again only when it would be too late

$r->command('HSET', '{lo}q', 'i', 'abc', 'l', 1, 'f', 2, 'a', 1,
            'x', '1100 aaaa');
save('lo', 'm', 200, 1050, 3);
is($r->command('HGET', '{lo}q', 'x'), '1100 aaaa',
   'an empty log is looked at when it was to be');

for ([50, 1000, '1050 aaaa'], [200, 1100, '1300 aaaa']) {
    my ($ttl, $now, $x) = @$_;

    $r->command('DEL', '{lo}q');
    $r->command('HSET', '{lo}q', 'i', 'abc', 'l', 1, 'f', 2, 'a', 1,
                'x', '1100 aaaa');
    save('lo', 'm', $ttl, $now, 3);
    is($r->command('HGET', '{lo}q', 'x'), $x,
       '... but not after its message has ended, nor with each');
}

# --- pages

save('p', "m$_" . 'x' x 100, 100, 1000, 1000) for 1 .. 150;
$a = load_page('p', 0, 0);
$inc = $a->[0];
is_deeply([@$a[1 .. 4]], [150, 0, 1, 64], 'a page says where it ends');
is(numbers($a), join(' ', 1 .. 64), '... with so many messages');
is($a->[6], blob(1100, 'm1' . 'x' x 100), '... and their blobs');
is(numbers(load_page('p', $inc, 140)), '141 142 143 144 145 146 147 148 149 150',
   'after a number');
is(numbers(load_page('p', $inc, 10, 13)), '11 12 13', 'up to a number');
is(numbers(load_page('p', 'abc', 140, 145, 5)), '1 2 3 4 5',
   'of another incarnation: from the start');
is(numbers(load_page('p', $inc, 0, 0, 64, 300)), '1 2 3', 'so many bytes');
is_deeply([@{load_page('p', $inc, 150)}[1, 4]], [150, 150], 'at the end');
is_deeply([@{load_page('p', $inc, 160)}[1, 4]], [150, 160],
          '... and beyond it');
is_deeply(load_page('none', $inc, 5), [], 'no log');

# --- status

$r->command('HSET', '{p}d', 'd', 'n1 1 1 o 5 0 0 0 ');
is_deeply(script('status', ['{p}q', '{p}d'], $inc, 7, 'HVALS'),
          [150, 0, 0, substr(blob(1100, ''), 0, 21), 128,
           ['n1 1 1 o 5 0 0 0 ']], 'one that is there');
is_deeply(script('status', ['{p}q', '{p}d'], 'abc', 7, 'HVALS'), [],
          'of another incarnation');
is_deeply(script('status', ['{l}q', '{l}d'],
                 $r->command('HGET', '{l}q', 'i'), 2, ''),
          [6, 0, 5, undef, 0, []], 'one that has ended');

# --- after a save without an answer

is_deeply(script('tell', ['{p}q', '{p}d'], 'HVALS'),
          [$inc, 150, blob(1100, 'm150' . 'x' x 100), ['n1 1 1 o 5 0 0 0 ']],
          'the last message and who is there');
is_deeply(script('tell', ['{none}q', '{none}d'], 'HVALS'), [], 'no log');

# --- idempotency keys: key, fingerprint, expires, keep, limit

my @k = (1100, 60, 3);

$a = save('i', 'x', 100, 1000, 10, '', 'key1', 'ff', @k);
is_deeply(save('i', 'x', 100, 1010, 10, '', 'key1', 'ff', 1110, 60, 3),
          [$a->[0], 1, 1100], 'the first answer again');
is($r->command('HGET', '{i}q', 'l'), 1, '... and nothing was saved');
is_deeply(save('i', 'x', 100, 1010, 10, '', 'key1', 'fe', @k), ['mismatch'],
          'another fingerprint');
save('i', 'x', 100, 1020, 10, '', 'key2', 'ff', @k);
save('i', 'x', 100, 1030, 10, '', 'key3', 'ff', @k);
is_deeply(save('i', 'x', 100, 1040, 10, '', 'key4', 'ff', @k),
          ['limited', 20], 'too many keys, one ends in 20 s');
is($r->command('HGET', '{i}q', 'l'), 3, '... and nothing was saved');
is(save('i', 'x', 100, 1060, 10, '', 'key1', 'aa', @k)->[1], 4,
   'after its time a key is new');
is_deeply(save('i', 'x', 100, 1061, 10, '', 'key1', 'aa', @k),
          [$a->[0], 4, 1100], '... and known then');
is_deeply(save('i', 'x', 100, 1061, 10, '', 'key5', 'aa', @k),
          ['limited', 19], '... and in its new place');
is(save('i', 'x', 100, 1500, 10, '', 'key5', 'aa', @k)->[1], 5,
   'much later all are new');
is($r->command('HLEN', '{i}k'), 4, '... and none of the old ones left');
is($r->command('TTL', '{i}k'), 60, '... and the rest goes by itself');

# with TTL 0
is_deeply(save('o', '', 0, 1000, 10, 'HVALS', 'key', 'ff', 0, 60, 3),
          ['0', 0, 0, 0, []], 'with TTL 0 only the key is kept');
is($r->command('EXISTS', '{o}q'), 0, '... and no message');
is(script('reached', ['{o}k'], 'key', 'ff', 7), 1, 'how many it has reached');
is(script('reached', ['{o}k'], 'key', 'fe', 9), 0, '... by its fingerprint');
is_deeply(save('o', '', 0, 1001, 10, 'HVALS', 'key', 'ff', 0, 60, 3),
          ['0', 7, 0], '... is answered again');

# --- what fails has changed nothing

$r->command('SET', '{f}d', 'no hash');
ok(!eval { save('f', 'x', 100, 1000, 10, 'HVALS'); 1 }, 'a key of another type');
is($r->command('EXISTS', '{f}q'), 0, '... and nothing was saved');

$r->set('maxmemory', '1mb');
for my $key ([], ['key', 'ff', 1100, 60, 3]) {
    ok(!eval { save('m', 'x', 100, 1000, 10, '', @$key); 1 },
       'out of memory');
    like($@, qr/OOM/, '... says so');
}
is($r->command('EXISTS', '{m}q', '{m}k'), 0, '... and nothing was changed');
is(numbers(load_page('p', $inc, 148)), '149 150', 'reading goes on');
$r->set('maxmemory', '0');
is(save('m', 'x', 100, 1000, 10)->[1], 1, 'with memory again it is saved');

# --- cursors

# of {c}: device d1, claim 1, in $state since $since, with $acked of $inc
sub cursor {
    my ($inc, $acked, $state, $since) = @_;
    return script('cursor', ['{c}d', '{c}q'], 'd1', 'n1', 'ff', 1,
                  $state // 'o', $since // 5, $inc, $acked, $acked, 'rest', 0,
                  1000);
}

sub calls {
    my @calls = $r->command('INFO', 'commandstats')
                =~ /^cmdstat_(?!info)\w+:calls=(\d+)/mg;
    my $sum = 0;
    $sum += $_ for @calls;
    return $sum;
}

my $idle = 'n1 ff 1 o 5 1 0 0 rest';

$r->command('HSET', '{c}d', 'd1', $idle);
$inc = save('c', 'm1', 100, 1000, 3, 'HVALS')->[0];
my $before = calls();
is_deeply(cursor($inc, 1), [1, 1, $inc, 1, 1, 0], 'a message is acknowledged');
cmp_ok(calls() - $before, '<=', 6, '... in five commands and the script');
is($r->command('HGET', '{c}d', 'd1'), $idle, '... by an entry as before');
is_deeply($r->command('HMGET', '{c}q', 1, 'a', 'f'), [undef, 1, 2],
          '... and has ended');
is($r->command('TTL', '{c}q'), 60, '... and the log is on its way');
is($r->command('TTL', '{c}d'), -1, '... the device is not');

save('c', "m$_", 100, 1000, 3) for 2 .. 3;
cursor($inc, 2);
is($r->command('HGET', '{c}d', 'd1'), "n1 ff 1 o 5 $inc 2 2 rest",
   'where a device stands is kept while something waits');
cursor($inc, 1);
is($r->command('HGET', '{c}d', 'd1'), "n1 ff 1 o 5 $inc 2 2 rest",
   '... and does not go back');
cursor($inc, 3, 'l', time);
is($r->command('TTL', '{c}d'), 1000, 'when it has gone it is kept a while');
cursor($inc, 3);
is($r->command('TTL', '{c}d'), -1, '... for good when it is back');
cursor($inc, 3, 'x', time - 1001);
is($r->command('EXISTS', '{c}d'), 0, 'one that left too long ago is forgotten');

done_testing();
