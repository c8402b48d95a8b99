# Three nodes with a journal, while the database is stopped, locked, killed.
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
plan tests => repeat_each() * 6;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(push => 'none');
    $block->set_value(room => 'none');
});

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

sub scenario {
    my ($down, $up) = @_;
    my $db = Push::MariaDB->new;
    $db->start;

    my $c = Push::Cluster->ledger(redis => Push::Redis->new->start,
                                  journal => $db);
    my $ledger;
    my @said = Push::Ledger->several(
        cluster => $c, ledger => { seconds => 25, accept => 0.98 },
        at => [[3, sub { $ledger = $_[0]; $down->($db) }],
               [13, sub { $up->($db) }]]);

    push @said, lacks($db, $ledger);
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
