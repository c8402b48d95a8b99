# Workers that die at marked points inside of a change: the next owner takes
# back or goes on, and nothing is lost.  Some points here, all of them in
# t/fault/030-points.t.

# Only a build with the fault points compiled in has them.
BEGIN {
    my $make = 'make -s --no-print-directory FAULT=1';

    $make .= ' SANITIZE=1' if ($ENV{BUILD} || '') =~ /asan/;
    delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
    $ENV{BUILD} = $make =~ /SANITIZE/ ? 'build-asan-fault' : 'build-fault';
    delete @ENV{qw(TEST_NGINX_BINARY TEST_NGINX_LOAD_MODULES)};

    system("$make BUILD=$ENV{BUILD} all >&2") == 0
        or die "the build with fault points failed\n";
}

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Ledger;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 8;

own_servers();

# what the master says of a worker that was killed
allow_alert(qr/worker process \d+ exited on signal 9/);

no_shuffle();
run_tests();

__DATA__

=== TEST 1: workers die at "save"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('save', 30));

    return $t->text;
}
--- mqtt_out
died at save
nothing lost



=== TEST 2: workers die at "take"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('take', 400));

    return $t->text;
}
--- mqtt_out
died at take
nothing lost



=== TEST 3: workers die at "claim"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('claim', 300));

    return $t->text;
}
--- mqtt_out
died at claim
nothing lost



=== TEST 4: workers die at "ack"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('ack', 30));

    return $t->text;
}
--- mqtt_out
died at ack
nothing lost
