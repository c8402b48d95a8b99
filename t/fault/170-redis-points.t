# Nodes at one Redis whose workers die at each marked point of what keeps their
# zones in step with it, again and again: the next owner takes back or goes on,
# and what is missing then is fetched.  As 030-points.t does without Redis.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Ledger;
use Push::Redis;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 20;

own_servers();

# what the master says of a worker that was killed
allow_alert(qr/worker process \d+ exited on signal 9/);

# Two nodes whose workers die when they pass a point for the n-th time, until
# the publisher is done.
sub points {
    my ($point, $n, %opt) = @_;
    my $deaths = 0;

    local $ENV{NGX_PUSH_FAULT} = "$point:$n";

    my $r = Push::Redis->new->start;
    my $c = Push::Cluster->ledger(redis => $r, nodes => 2, workers => 2,
                                  name => "$point-",
                                  env => ['NGX_PUSH_FAULT']);

    my @said = Push::Ledger->several(
        cluster => $c,
        ledger => { devices => 200, groups => 10, seconds => 10, churn => 2,
                    wills => 20, repeat => '', accept => 0.6,
                    %{$opt{ledger} || {}} },
        every => $opt{every} || 1.5,
        trouble => sub { $opt{trouble}->($r, @_) if $opt{trouble} },

        # workers that are not given the variable live
        restore => sub {
            for my $node ($c->nodes) {
                $node->reload(env => []);
                $node->old_gone(30);
                $deaths += () = $node->log =~ /process \d+ exited on signal 9/g;
            }
        });

    $c->stop;
    $r->quit;
    Test::More::diag("$point: $deaths deaths");

    return ($deaths > 1 ? "died at $point" : "$deaths deaths at $point",
            @said);
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: workers die at "put"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::points('put', 150));

    return $t->text;
}
--- mqtt_out
died at put
nothing lost



=== TEST 2: workers die at "mirror"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::points('mirror', 100));

    return $t->text;
}
--- mqtt_out
died at mirror
nothing lost



=== TEST 3: workers die at "fill"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::points('fill', 6));

    return $t->text;
}
--- mqtt_out
died at fill
nothing lost



=== TEST 4: workers die at "filled"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::points('filled', 40));

    return $t->text;
}
--- mqtt_out
died at filled
nothing lost



=== TEST 5: workers die at "turn"
--- mqtt eval
sub {
    my ($t) = @_;

    # Once: a device that waits for its heartbeat since somebody has died may
    # lose what Redis loses the next time.  More passes than one log has
    # messages left, or all workers die in the same turn until the end.
    $t->say(main::points('turn', 45, every => 5,
        ledger => { seconds => 9 },
        trouble => sub { $_[0]->flushall; $_[1]->lost }));

    return $t->text;
}
--- mqtt_out
died at turn
nothing lost



=== TEST 6: workers die at "build"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::points('build', 15));

    return $t->text;
}
--- mqtt_out
died at build
nothing lost



=== TEST 7: workers die at "take"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::points('take', 300));

    return $t->text;
}
--- mqtt_out
died at take
nothing lost



=== TEST 8: workers die at "ack"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::points('ack', 60));

    return $t->text;
}
--- mqtt_out
died at ack
nothing lost



=== TEST 9: workers die at "claim"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::points('claim', 60));

    return $t->text;
}
--- mqtt_out
died at claim
nothing lost



=== TEST 10: workers die at "leave"
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::points('leave', 60));

    return $t->text;
}
--- mqtt_out
died at leave
nothing lost
