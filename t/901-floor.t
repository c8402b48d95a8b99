# push-floor goes through its modes, small: every figure is there, wrong usage
# is told from a failed run, and nothing is left behind.  Speed is not judged.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use JSON::PP;
use POSIX ();
use Test::More;

my $build = File::Spec->rel2abs($ENV{BUILD} || 'build');
my $floor = "$build/push-floor";

system("make -s -C util/push-floor BUILD=$build") == 0
    or die "push-floor is not built\n";

# (exit status, what it wrote to stdout and stderr)
sub run {
    my $out = `$floor @_ 2>&1`;
    return ($? >> 8, $out);
}

# Starts push-floor in a process group of its own.
sub start {
    my ($out, $options) = @_;
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        setpgrp;
        open STDOUT, '>', $out;
        open STDERR, '>&STDOUT';
        exec "exec $floor $options" or POSIX::_exit(127);
    }

    return $pid;
}

# Waits until a group has so many processes; how many it has then.
sub processes {
    my ($group, $wanted) = @_;
    my $n;

    for (1 .. 100) {
        $n = 0;
        for my $path (glob '/proc/[0-9]*/stat') {
            open my $in, '<', $path or next;
            my $line = <$in> // next;
            $n++ if $line =~ /\) [^Z] \d+ $group /;
        }

        last if $n == $wanted;
        select undef, undef, undef, 0.05;
    }

    return $n;
}

# By mode: options, and fields that must be numbers above 0.
my $common = '--connections 200 --quiet';
my $short  = "$common --duration 0.3 --warmup 0.1";
my @rate   = qw(operations seconds per_second per_cpu_second cpu_per_second);

my @runs = (
    ["accept $common", \@rate],
    ["accept --handshake --workers 2 $common", \@rate],
    ["relay $short", \@rate, 1],
    ["relay --workers 3 --processes 2 --random $short", \@rate, 1],
    ["relay --rate 500 $short", \@rate, 1],
    ["relay --size 20000 --request-head 18 --answer-size 1 --pipeline 3 $short",
     \@rate, 1],
    ["send $short", \@rate, 1],
    ["send --ack --workers 2 --processes 3 $short", \@rate, 1],
    ["echo --rate 1000 $short", \@rate, 1],
    ["echo --rate 0 --random --outstanding 50 $short", \@rate, 1],
    ["idle $short", ['seconds']],
);

for (@runs) {
    my ($options, $fields, $latency) = @$_;

    subtest $options => sub {
        my $json = test_dir() . '/floor.json';
        unlink $json;

        my ($status, $out) = run($options, '--json', $json);
        is($status, 0, 'exit status') or diag($out);
        like($out, qr/^ok$/m, 'verdict');

        open my $in, '<', $json or return fail("$json: $!");
        my $r = decode_json(do { local $/; <$in> });

        is($r->{mode}, (split ' ', $options)[0], 'mode');
        is($r->{options}{connections}, 200, 'options');
        ok(defined $r->{$_} && $r->{$_} > 0, $_) for @$fields;
        ok($r->{user} >= 0 && $r->{system} >= 0
           && (!$r->{cpu_per_second}
               || abs(($r->{user} + $r->{system})
                      / ($r->{cpu_per_second} * $r->{seconds}) - 1) < 0.05),
           'user and system are all of the CPU') if $r->{seconds} > 0.1;
        ok($r->{latency_us}{p50} > 0
           && $r->{latency_us}{p99} >= $r->{latency_us}{p50}, 'latency')
            if $latency;
        is($r->{error}, undef, 'error');
    };
}

# The rate of an open loop is kept.
{
    my ($status, $out) = run("echo --rate 2000 --json - $short", '2>/dev/null');
    my ($rate) = $out =~ /"per_second": ([\d.]+)/;

    ok($rate && $rate > 1500 && $rate < 2500, 'rate') or diag($out);
}

for (
    ['', qr/no mode given/],
    ['fly', qr/unknown mode "fly"/],
    ['relay --speed 1', qr/unknown option "--speed"/],
    ['relay --rate', qr/--rate needs a value/],
    ['relay --size 0', qr/--size: "0" is not a whole number from 1 to 32768/],
    ['relay --random=1', qr/--random takes no value/],
    ['relay 100', qr/unexpected argument "100"/],
    ['send --rate 5', qr/--rate is not for mode "send"/],
    ['echo --size 5', qr/--size is not for mode "echo"/],
    ['accept --ack', qr/--ack is not for mode "accept"/],
    ['accept --duration 1', qr/--duration is not for mode "accept"/],
    ['relay --outstanding 1 --processes 2', qr/--outstanding: less than/],
    ['idle --connections 3 --workers 4', qr/--workers: more than/],
    ['idle --connections 40000 --workers 2', qr/--connections: .*--workers/],
    ['idle --connections 90000000', qr/--connections: .*--processes/],
) {
    my ($options, $message) = @$_;
    my ($status, $out) = run($options);

    subtest "usage: $options" => sub {
        is($status, 2, 'exit status');
        like($out, $message, 'message');
    };
}

# A run that cannot be made.
{
    my ($status, $out) = run("idle --congestion none $short");

    is($status, 1, 'failure: exit status');
    like($out, qr/--congestion "none"/, 'failure: message');
}

# Interrupted: an error, said, and no process left.
{
    my $out = test_dir() . '/out';
    my $pid = start($out, 'idle --connections 200 --duration 60 --workers 2'
                          . ' --processes 2');

    is(processes($pid, 5), 5, 'interrupted: was running');
    kill 'INT', $pid;
    waitpid $pid, 0;

    is($? >> 8, 1, 'interrupted: exit status');
    open my $in, '<', $out or die "$out: $!\n";
    like(do { local $/; <$in> }, qr/interrupted/, 'interrupted: message');
    is(processes($pid, 0), 0, 'interrupted: no process is left');
}

# The parent killed: the others go as well.
{
    my $pid = start('/dev/null', 'idle --connections 200 --duration 60');

    is(processes($pid, 3), 3, 'killed: was running');
    kill 'KILL', $pid;
    waitpid $pid, 0;

    is(processes($pid, 0), 0, 'killed: no process is left');
}

done_testing();
