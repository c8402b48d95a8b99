# The ledger under troubles of workers, longer and harder than t/050 has them.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Ledger;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 12;

own_servers();

# what the master says of a worker that was killed
allow_alert(qr/worker process \d+ exited on signal 9/);

# Kills a worker, and does not wait for the next one.
sub kill_one {
    my ($s) = @_;
    my @pids = $s->workers or return;

    kill 'KILL', $pids[rand @pids];
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: a worker killed three times a second, devices that lose PUBACKs
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        server => { workers => 4 },
        ledger => { seconds => 30, churn => 3, drop_acks => 10, late => 50 },
        every => 0.3, trouble => sub { main::kill_one($_[0]) }));

    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 2: all workers killed at once, wills
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        ledger => { seconds => 20, churn => 3, wills => 20 },
        every => 0.7,
        trouble => sub { my ($s) = @_; kill 'KILL', $s->workers }));

    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: kills and reloads with other worker counts
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        ledger => { seconds => 30, churn => 3, drop_acks => 20 },
        every => 0.4, trouble => sub {
            my ($s, $n) = @_;

            $n % 3 ? main::kill_one($s) : $s->reload(workers => 1 + $n % 4);
        }));

    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 4: reload after reload
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        ledger => { seconds => 60, churn => 3, wills => 20 },
        every => 0.5, trouble => sub {
            my ($s, $n) = @_;
            $s->reload(workers => 1 + $n % 3);
        }));

    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 5: one worker, which is killed
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        server => { workers => 1 }, ledger => { seconds => 15 },
        every => 1, trouble => sub { main::kill_one($_[0]) }));

    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 6: a worker stopped for some seconds
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        server => { workers => 3 }, ledger => { seconds => 30, churn => 5 },
        every => 3, trouble => sub {
            my ($s, $n, $l) = @_;
            my ($pid) = ($s->workers)[$n % 3];

            kill 'STOP', $pid;
            $l->pass(4);
            kill 'CONT', $pid;
        }));

    return $t->text;
}
--- mqtt_out
nothing lost
