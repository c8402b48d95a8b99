# The ledger over restarts with a zone in a file: stop and start, a new binary,
# a master that is killed.

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

# On tmpfs; a new one for each scenario.
my @zones;

sub zone {
    push @zones, "/dev/shm/ngx_push-fault-$$-" . @zones;
    return "32m file=$zones[-1]";
}

END { unlink @zones if @zones }

no_shuffle();
run_tests();

__DATA__

=== TEST 1: stop and start
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        server => { zone => main::zone() },
        ledger => { seconds => 30, churn => 3, wills => 20 },
        every => 1.5, trouble => sub { my ($s) = @_; $s->stop; $s->start }));

    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 2: a new binary takes over, again and again
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        server => { zone => main::zone() },
        ledger => { seconds => 30, churn => 3 },
        every => 1,
        trouble => sub { my ($s) = @_; $s->upgrade; $s->old_gone(30) }));

    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: a new binary, and a worker of it or of the old one killed
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        server => { zone => main::zone() },
        ledger => { seconds => 30, churn => 3, drop_acks => 5 },
        every => 1, trouble => sub {
            my ($s, $n) = @_;

            if ($n % 2) {
                $s->upgrade;
                kill 'KILL', $s->{old}[0] if $n % 4 == 1;
                $s->kill_worker('KILL') if $n % 4 == 3;
                $s->old_gone(30);

            } else {
                $s->kill_worker('KILL');
            }
        }));

    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 4: master and workers killed, started again
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(Push::Ledger->scenario(
        server => { zone => main::zone() },
        ledger => { seconds => 30, churn => 3, wills => 20 },
        every => 2, trouble => sub {
            my ($s) = @_;
            my @all = ($s->master, $s->workers);

            kill 'KILL', @all;
            $s->until('all to die',
                      sub { !grep { Push::Server::alive($_) } @all });
            unlink "$s->{dir}/nginx.pid";
            $s->start;
        }));

    return $t->text;
}
--- mqtt_out
nothing lost
