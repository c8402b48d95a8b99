# Workers that die at each marked point of the core, again and again: the next
# owner takes back or goes on, and nothing is lost.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Ledger;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 24;

own_servers();

# what the master says of a worker that was killed
allow_alert(qr/worker process \d+ exited on signal 9/);

no_shuffle();
run_tests();

__DATA__

=== TEST 1: workers die at "build"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('build', 15));

    return $t->text;
}
--- mqtt_out
died at build
nothing lost



=== TEST 2: workers die at "save"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('save', 30));

    return $t->text;
}
--- mqtt_out
died at save
nothing lost



=== TEST 3: workers die at "saved"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('saved', 30));

    return $t->text;
}
--- mqtt_out
died at saved
nothing lost



=== TEST 4: workers die at "take"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('take', 500));

    return $t->text;
}
--- mqtt_out
died at take
nothing lost



=== TEST 5: workers die at "ack"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('ack', 30));

    return $t->text;
}
--- mqtt_out
died at ack
nothing lost



=== TEST 6: workers die at "claim"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('claim', 300));

    return $t->text;
}
--- mqtt_out
died at claim
nothing lost



=== TEST 7: workers die at "vacate"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('vacate', 30));

    return $t->text;
}
--- mqtt_out
died at vacate
nothing lost



=== TEST 8: workers die at "leave"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('leave', 100));

    return $t->text;
}
--- mqtt_out
died at leave
nothing lost



=== TEST 9: workers die at "join"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('join', 400));

    return $t->text;
}
--- mqtt_out
died at join
nothing lost



=== TEST 10: workers die at "member_leave"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('member_leave', 300));

    return $t->text;
}
--- mqtt_out
died at member_leave
nothing lost



=== TEST 11: workers die at "page"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('page', 4));

    return $t->text;
}
--- mqtt_out
died at page
nothing lost



=== TEST 12: workers die at "will"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->points('will', 20));

    return $t->text;
}
--- mqtt_out
died at will
nothing lost
