# The ledger: 500 devices, 100 messages a second, while workers are killed and
# the server is reloaded.  What was answered 2xx reaches everyone it is for, in
# order; what was refused reaches nobody; no session is left behind.  Longer
# runs and other troubles: t/fault.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Ledger;
use Push::Server;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 2;

own_servers();

# what the master says of a worker that we killed
allow_alert(qr/worker process \d+ exited on signal 9/);

no_shuffle();
run_tests();

__DATA__

=== TEST 1: a random worker killed every 3 s, reloads in between
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(name => 'ledger', workers => 2, zone => '32m',
                              wait => 30, log_level => 'notice',
                              push => $Push::Ledger::PUSH,
                              product => $Push::Ledger::PRODUCT)->start;
    my $l = Push::Ledger->new($s, devices => 500, rate => 100, seconds => 30);
    my ($kills, $reloads) = (0, 0);

    $l->trouble(1.5, sub {
        my ($n) = @_;

        if ($n % 2) {
            $s->kill_worker('KILL');
            $kills++;

        } elsif ($n % 4 == 0) {
            $s->reload(workers => 2 + $n / 4 % 2);
            $reloads++;
        }
    });

    $t->say($kills >= 8 ? 'workers killed' : "$kills workers killed");
    $t->say($reloads >= 4 ? 'reloaded' : "$reloads reloads");
    $t->say($l->verdict);
    $t->say($l->finish);
    $s->stop;
    return $t->text;
}
--- mqtt_out
workers killed
reloaded
nothing lost
