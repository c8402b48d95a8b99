# What README.md says one runs first, "make run" and "make cluster", on free
# ports: each prints commands that work as they stand, and ends with Ctrl-C,
# leaving no process behind.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use File::Path qw(remove_tree);
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(sleep time);

my $build = $ENV{BUILD} || 'build';

# Starts a demo; its pid, and the commands it prints.
sub demo {
    my ($script, %env) = @_;
    my $out = test_dir() . "/$script.out";

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        setpgrp;
        @ENV{keys %env} = values %env;
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', $out;
        open STDERR, '>&', \*STDOUT;
        exec "util/$script" or POSIX::_exit(127);
    }

    my $text = '';
    my $end  = time + 60;

    while (time < $end && waitpid($pid, WNOHANG) == 0) {
        open my $in, '<', $out or next;
        local $/;
        $text = <$in> // '';
        last if $text =~ /\n\n\z/ && $text =~ /^curl.*metrics/m;
        sleep 0.05;
    }

    diag($text) if $text !~ /^curl/m;
    return ($pid, $text);
}

# A subscriber as printed, but for what is changed in it; its first line.
sub first_line {
    my ($command, $push) = @_;
    my $pid = open my $sub, '-|', "exec timeout 20 $command -C 1"
        or die "mosquitto_sub: $!";

    sleep 1;
    $push->();
    my $line = <$sub> // '';
    close $sub;
    chomp $line;
    return $line;
}

sub descendants {
    my ($pid) = @_;
    open my $in, '<', "/proc/$pid/task/$pid/children" or return;
    my @children = split ' ', <$in> // '';
    return (@children, map { descendants($_) } @children);
}

sub end {
    my ($pid, $name) = @_;
    my @all = descendants($pid);

    cmp_ok(scalar @all, '>', 1, "$name: has processes");
    kill 'INT', $pid;

    my $end = time + 30;
    sleep 0.05 while time < $end && waitpid($pid, WNOHANG) == 0;

    is($? >> 8, 0, "$name: Ctrl-C ends it");
    sleep 0.5;
    is(join(' ', grep { kill 0, $_ } @all), '', "$name: nothing stays");
}

my $first = Push::Test::free_ports(8);
my @port  = map { $first + $_ } 0 .. 7;

{
    remove_tree("$build/run");
    my ($pid, $text) = demo('run', MQTT_PORT => $port[0],
                            MQTTS_PORT => $port[1], HTTP_PORT => $port[2]);
    my ($sub)  = $text =~ /^(mosquitto_sub .*)$/m;
    my ($push) = $text =~ /^(curl .*messages)$/m;
    my ($look) = $text =~ /^(curl .*metrics)$/m;

    is(first_line($sub, sub { qx($push 2>/dev/null) }), 'shop/inbox hello',
       'run: what was pushed arrives');
    like(scalar qx($look 2>/dev/null), qr/^ngx_push_/m, 'run: metrics');
    end($pid, 'run');
}

{
    remove_tree("$build/cluster");
    my ($pid, $text) = demo('cluster', MQTT_PORT => $port[0],
                            MQTTS_PORT => $port[2], HTTP_PORT => $port[3],
                            REDIS_PORT => $port[6]);
    my ($sub)  = $text =~ /^(mosquitto_sub .*)$/m;
    my ($push) = $text =~ /^(curl .*messages)$/m;
    my ($look) = $text =~ /^(curl .*metrics)$/m;
    my ($user) = $text =~ /^(curl .*alice)$/m;
    my ($ops)  = $text =~ /^(curl .*nodes)$/m;

    is(first_line($sub, sub { qx($push 2>/dev/null) }), 'shop/inbox hello',
       'cluster: from the center to a device at room1');

    qx($push 2>/dev/null);
    (my $other = $sub) =~ s/-p \d+/'-p ' . ($port[0] + 1)/e;

    is(first_line("$other -c", sub { }), 'shop/inbox hello',
       'cluster: what came while it was away waits at room2');
    like(scalar qx($look 2>/dev/null), qr/^ngx_push_redis_/m,
         'cluster: metrics');
    like(scalar qx($user 2>/dev/null), qr/"node": ?"room2"/,
         'cluster: who is where');
    like(scalar qx($ops 2>/dev/null), qr/"room1".*"room2"|"room2".*"room1"/s,
         'cluster: nodes');
    end($pid, 'cluster');
}

done_testing();
