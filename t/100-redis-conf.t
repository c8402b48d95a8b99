# The directives of Redis: what is taken, what is refused, and that refusing
# names what is wrong and never tells a secret.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Server;
use Test::More;

my $dir = test_dir();

sub file {
    my ($name, $text) = @_;

    open my $out, '>', "$dir/$name" or die "$dir/$name: $!\n";
    print $out $text;
    close $out or die "$dir/$name: $!\n";
}

file('password', "from-a-file\n");
file('empty', "\n");

my $s = Push::Server->new(name => 'conf', room => '');

# what "nginx -t" says, without the time
sub check {
    my ($push) = @_;

    $s->write_conf(push => $push);

    my $text = `$ENV{TEST_NGINX_BINARY} -t -p $s->{dir} -c $s->{dir}/nginx.conf 2>&1`;
    return ($? == 0, $text);
}

sub good {
    my ($push, $name) = @_;
    my ($ok, $text) = check($push);

    ok($ok, "good: " . ($name // $push)) or diag($text);
    unlike($text, qr/\[(?:warn|emerg|alert|crit|error)\]/, '... and no word');
}

sub bad {
    my ($push, $pattern) = @_;
    my ($ok, $text) = check($push);

    ok(!$ok, "bad: $push");
    like($text, qr/\[emerg\].*$pattern.* in .*nginx\.conf:\d+/, '... says so');
    unlike($text, qr/secret|from-a-file/, '... and no secret');
}

# --- where

good($_) for
    'redis 127.0.0.1;',
    'redis 127.0.0.1:6379;',
    'redis 127.0.0.1:6379 db=0;',
    'redis 127.0.0.1:6379 db=65535;',
    'redis db=3 127.0.0.1;',
    'redis [::1]:6379;',
    'redis localhost:6379;',
    'redis unix:/run/redis.sock;',
    'redis unix:/run/redis.sock db=1;',
    'redis redis://127.0.0.1;',
    'redis redis://127.0.0.1/;',
    'redis redis://127.0.0.1:6379/2;',
    'redis sentinel=main 127.0.0.1;',
    'redis sentinel=main 127.0.0.1 127.0.0.2:26380 [::1] db=4;',
    'redis cluster 127.0.0.1:7000;',
    'redis cluster 127.0.0.1:7000 127.0.0.1:7001 redis://127.0.0.1:7002;';

bad('redis;', 'invalid number of arguments in "redis" directive');
bad('redis 127.0.0.1; redis 127.0.0.1;', '"redis" directive is duplicate');
bad('redis db=1;', '"redis" has no address');
bad('redis cluster;', '"redis" has no address');
bad('redis sentinel=main;', '"redis" has no address');
bad('redis sentinel= 127.0.0.1;', 'invalid parameter "sentinel=" of "redis"');
bad('redis sentinel=a sentinel=b 127.0.0.1;',
    'invalid parameter "sentinel=b" of "redis"');
bad('redis sentinel=a cluster 127.0.0.1;',
    'invalid parameter "cluster" of "redis"');
bad('redis 127.0.0.1 cluster;', 'invalid parameter "cluster" of "redis"');
bad('redis 127.0.0.1 sentinel=a;',
    'invalid parameter "sentinel=a" of "redis"');
bad('redis 127.0.0.1 127.0.0.2;', '"redis" takes one address');
bad('redis 127.0.0.1 db=65536;', 'invalid database "65536"');
bad('redis 127.0.0.1 db=-1;', 'invalid database "-1"');
bad('redis 127.0.0.1 db=;', 'invalid database ""');
bad('redis redis://127.0.0.1/x;', 'invalid database "x"');
bad('redis cluster 127.0.0.1 db=1;', 'no database but 0');
bad('redis 127.0.0.1:0;', 'invalid port in address "127.0.0.1:0"');
bad('redis 127.0.0.1:65536;', 'invalid port');
bad('redis 127.0.0.1:x;', 'invalid port');
bad('redis no-such-host.invalid;',
    'host not found in address "no-such-host.invalid"');
bad('redis unix:;', 'address "unix:"');
bad('redis rediss://127.0.0.1:6379;', 'does not speak TLS.*proxy_ssl');
bad('redis redis://user:secret@127.0.0.1;',
    '"redis" takes no password: use "redis_user" and "redis_password"');

# --- who

my $R = 'redis 127.0.0.1;';

good("$R redis_password secret;");
good("$R redis_password file=$dir/password;");
good("$R redis_user push; redis_password secret;");
good("redis_prefix other:; $R");
good("$R redis_prefix " . 'x' x 64 . ';', 'a long prefix');

bad("$R redis_user push;", '"redis_user" needs a "redis_password"');
bad("$R redis_user 'a b'; redis_password secret;", 'invalid "redis_user"');
bad("$R redis_user a; redis_user b;", '"redis_user" directive is duplicate');
bad("$R redis_password '';", '"redis_password" directive is empty');
bad("$R redis_password file=$dir/empty;", '"redis_password" directive is empty');
bad("$R redis_password file=;", 'has an empty file=');
bad("$R redis_password secret; redis_password secret;", 'is duplicate');
bad("$R redis_prefix '';", 'invalid "redis_prefix"');
bad("$R redis_prefix a{b;", '');
bad("$R redis_prefix 'a{b';", 'invalid "redis_prefix"');
bad("$R redis_prefix " . 'x' x 65 . ';', 'invalid "redis_prefix"');

{
    my ($ok, $text) = check("$R redis_password file=$dir/none;");

    ok(!$ok, 'bad: a file that is not there');
    like($text, qr{open\(\) "\Q$dir\E/none" failed}, '... says so');
}

# --- how much, how long

for my $bounds (
    ['redis_connections', 1, 64, 0, 65],
    ['redis_inflight', 1, 1000000, 0, 1000001],
    ['redis_connect_timeout', '10ms', '60s', '9ms', '61s'],
    ['redis_timeout', '50ms', '60s', '49ms', '60001ms'],
    ['node_lease', '3s', '10m', '2999ms', '601s'],
    ['bus_limit', 100, 10000000, 99, 10000001],
    ['reflush_rate', 1, 1000000, 0, 1000001],
    ['cursor_flush', '1ms', '60s', '0', '61s'],
) {
    my ($name, $low, $high, $below, $above) = @$bounds;

    good("$R $name $_;")                          for $low, $high;
    good("$name $low;", "$name alone");
    bad("$R $name $_;", "\"$name\" must be between") for $below, $above;
    bad("$R $name x;", "\"$name\" directive invalid|invalid (?:number|value)");
    bad("$R $name $low; $name $low;", "\"$name\" directive is duplicate");
}

done_testing();
