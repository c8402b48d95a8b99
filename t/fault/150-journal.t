# Three nodes with a journal, while the database is stopped, locked, killed, full.
# The pushes must not notice, and the event loops neither; afterwards all that
# was accepted is in it.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Ledger;
use Push::MariaDB;
use Push::Redis;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 10;

own_servers();

# Every message that was answered "ok" is in the journal, within a minute.
sub lacks {
    my ($db, $ledger) = @_;
    my $want = $ledger->figures->{ok};
    my ($end, $have) = (time + 60, 0);

    while (time < $end) {
        $have = $db->value('SELECT COUNT(*) FROM ngx_push_message');
        return () if $have >= $want;
        select undef, undef, undef, 0.5;
    }

    return "$have of $want in the journal";
}

# Bytes that wait in files, by the node that says most.
sub spilled {
    my ($c) = @_;
    my ($most) = sort { $b <=> $a }
                 map { $_->metrics->{ngx_push_journal_spilled_bytes} }
                 $c->nodes;

    return $most;
}

# A table takes all the room that there is.
sub fill {
    my ($db) = @_;

    $db->execute('CREATE TABLE hog (data MEDIUMBLOB NOT NULL) ENGINE=InnoDB');

    for my $size (500_000, 50_000, 4000, 400) {
        for (1 .. 400) {
            $db->try("INSERT INTO hog VALUES (REPEAT('x', $size))") or last;
        }
    }
}

sub scenario {
    my ($down, $up, %opt) = @_;
    my $db = Push::MariaDB->new(%opt);
    $db->start;

    my $c = Push::Cluster->ledger(redis => Push::Redis->new->start,
                                  journal => $db);
    my ($ledger, $spilled);
    my @said = Push::Ledger->several(
        cluster => $c, ledger => { seconds => 25, accept => 0.98 },
        at => [[3, sub { $ledger = $_[0]; $down->($db) }],
               [12, sub { $spilled = spilled($c) }],
               [13, sub { $up->($db) }]]);

    push @said, lacks($db, $ledger);
    push @said, 'nothing waited in files' if !$spilled;
    $c->stop;
    return @said;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: stopped for ten seconds
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::scenario(sub { $_[0]->signal('STOP') },
                           sub { $_[0]->signal('CONT') }));
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 2: its table locked
--- mqtt eval
sub {
    my ($t) = @_;
    my $lock;

    $t->say(main::scenario(
        sub { $lock = $_[0]->session;
              $lock->run('LOCK TABLES ngx_push_message WRITE') },
        sub { undef $lock }));
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: killed, and started again
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::scenario(sub { $_[0]->kill }, sub { $_[0]->start }));
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 4: full
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::scenario(
        sub { main::fill($_[0]) },
        sub { $_[0]->stop; $_[0]{options}[1] .= ';ibdata3:60M'; $_[0]->start },
        options => ['--innodb-file-per-table=0',
                    '--innodb-data-file-path=ibdata1:12M;ibdata2:10M']));
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 5: its disk full
--- skip_eval: 2: $> != 0
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::scenario(
        sub { my $hog = $_[0]->dir . '/hog';
              `dd if=/dev/zero of=$hog bs=64k 2>&1` },


        # it may have given up
        sub { unlink $_[0]->dir . '/hog'; $_[0]->kill; $_[0]->start },
        disk => '128m', spill => Push::Test::test_dir() . '/spill'));
    return $t->text;
}
--- mqtt_out
nothing lost
