# Three nodes with a journal lose all that Redis had, and get it back from the
# journal: see "Rebuilding Redis" in docs/operations.md.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Ledger;
use Push::MariaDB;
use Push::Redis;
use Test::Nginx::Socket;
use Time::HiRes qw(sleep time);

repeat_each(1);
plan tests => repeat_each() * 8;

own_servers();

our ($redis, $db, $cluster);
my $n = 0;

sub up {
    $redis   = Push::Redis->new->start;
    $db      = Push::MariaDB->new->start;
    $cluster = Push::Cluster->ledger(redis => $redis, journal => $db,
                                     name => 'r' . ++$n . '-');
}

sub down {
    $cluster->stop if $cluster;
    $db->stop      if $db;
    undef $_ for $cluster, $db, $redis;
}

# All that was accepted is in MySQL: what the operator waits for as well.
sub caught_up {
    my $end = time + 30;

    for (;;) {
        my @m = map { $_->metrics } $cluster->nodes;

        # what they say is a second old
        my $waits = grep { $_->{ngx_push_journal_backlog_bytes}
                           || $_->{ngx_push_journal_spilled_bytes}
                           || $_->{ngx_push_journal_connected} < 2 } @m;
        last if !$waits;
        die "the journal does not catch up\n" if time > $end;
        sleep 0.2;
    }
}

# A new Redis gets what the journal has where no node looks for it, and then
# goes to where they do.
sub restore_aside {
    my $port = $redis->port;

    $redis->move(Push::Test::free_ports(1))->start;
    my $said = $db->restore('127.0.0.1:' . $redis->port);
    Test::More::diag($said);
    die $said if $said !~ /exit 0$/;
    $redis->command('SAVE');
    $redis->quit;
    $redis->move($port)->start;
}

sub restore {
    my $said = $db->restore('127.0.0.1:' . $redis->port);

    Test::More::diag($said);
    die $said if $said !~ /exit 0$/;
}

no_shuffle();
run_tests();

END { local $?; down() }

__DATA__

=== TEST 1: Redis lost everything; restored before the nodes see it
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    # all that was accepted is owed: nothing is said to the ledger
    up();
    $t->say(Push::Ledger->several(
        cluster => $::cluster,
        ledger => { seconds => 30, accept => 0.5, repeat => '' },
        at => [[8, sub { $::redis->kill9 }],
               [10, sub { caught_up(); restore_aside() }]]));
    down();
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 2: and the nodes with it: but for what was on its way to the journal
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    up();
    $t->say(Push::Ledger->several(
        cluster => $::cluster,
        ledger => { seconds => 35, accept => 0.4, repeat => '' },
        at => [[10, sub { my ($ledger) = @_;
                          $::cluster->kill9($_) for 1 .. 3;
                          $::redis->kill9;
                          $ledger->lost(1) }],
               [11, sub { restore_aside();
                          $::cluster->start }]],
        figures => sub { $_[0]{waived} < 0.05 * $_[0]{owed}
                         or "$_[0]{waived} lost" }));
    down();
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 3: nodes stopped while MariaDB is away as well: their files have it
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    up();
    $t->say(Push::Ledger->several(
        cluster => $::cluster,
        ledger => { seconds => 40, accept => 0.4, repeat => '' },
        at => [[5, sub { $::db->kill }],
               [10, sub { $::cluster->stop; $::redis->kill9 }],
               [12, sub { $::db->start;

                          # they write their files, and see no Redis
                          $_->start for $::cluster->nodes;
                          caught_up();
                          restore_aside() }]]));
    down();
    return $t->text;
}
--- mqtt_out
nothing lost



=== TEST 4: Redis emptied, pushes going on, restored meanwhile
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    up();
    $t->say(Push::Ledger->several(
        cluster => $::cluster, ledger => { seconds => 30, repeat => '' },
        at => [[8,  sub { $::redis->flushall; $_[0]->lost(0) }],

               # devices that moved before they were written back
               [11, sub { $_[0]->lost(3.5) }],
               [14, sub { restore() }]],
        figures => sub { $_[0]{waived} < 0.02 * $_[0]{owed}
                         or "$_[0]{waived} lost" }));
    down();
    return $t->text;
}
--- mqtt_out
nothing lost
