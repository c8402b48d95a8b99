# The journal in MySQL: what is saved and acknowledged gets there, once, and
# whatever is the matter with MySQL neither delays nor refuses a push.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::HTTP;
use Push::MariaDB;
use Push::Redis;
use Test::Nginx::Socket;
use Time::HiRes qw(sleep time);

repeat_each(1);
plan tests => repeat_each() * 42;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(push => 'none') if defined $block->mqtt;
    $block->set_value(room => 'none');
});

allow_alert(qr/worker process \d+ exited on signal 9/);

# One of each for the blocks that follow.
our ($redis, $db, $cluster);
my $clusters = 0;

sub up {
    down();

    $redis   = Push::Redis->new->start;
    $db      = Push::MariaDB->new(@_)->start;
    $cluster = Push::Cluster->new(redis => $redis, journal => $db, nodes => 1,
        workers => 2, name => 'n' . ++$clusters . '-',
        product => 'payload_limit 128k;',
        push => 'product news { token_key hs256 {{secret}}; }')->start;
    return $cluster;
}

sub down {
    $cluster->stop if $cluster;
    $db->stop      if $db;
    undef $_ for $cluster, $redis, $db;
}

# So many pushes to users, each with a body of its own; what is not a 201 is
# told, with the slowest answer in ms.
our $number = 0;

sub pushes {
    my ($n, $size) = @_;
    my $http = Push::HTTP->new(port => $cluster->node(1)->http_port);
    my ($bad, $slow) = ('', 0);

    for (1 .. $n) {
        my $start  = time;
        my $answer = $http->post('/v1/shop/users/user' . $number++ % 50
            . '/messages', "m$number" . 'x' x ($size // 0),
            Authorization => 'Bearer ' . api_key(),
            'Content-Type' => 'text/plain');
        my $took = time - $start;

        $slow = $took if $took > $slow;
        $bad .= " $answer->{status}" if $answer->{status} != 201;
    }

    return ($bad, $slow);
}

sub rows { $db->value('SELECT COUNT(*) FROM ngx_push_message') // 0 }

# Waits until the database has so many, as long as it is needed.
sub rows_are {
    my ($n, $seconds) = @_;
    my $end = time + ($seconds // 15);
    my $is;

    for (;;) {
        $is = eval { rows() } // 'no table';
        return "rows $is" if $is eq $n || time > $end;
        sleep 0.1;
    }
}

sub metrics {
    my $text = Push::HTTP->new(port => $cluster->node(1)->http_port)
                         ->get('/metrics')->{body};
    my %value = $text =~ /^ngx_push_journal_([a-z_]+(?:\{.*\})?) (\S+)$/mg;
    return \%value;
}

sub metric_until {
    my ($name, $test, $seconds) = @_;
    my $end = time + ($seconds // 10);
    my $is;

    for (;;) {
        $is = metrics()->{$name} // 'missing';
        return 1 if $is ne 'missing' && $test->($is);
        die "$name is $is\n" if time > $end;
        sleep 0.1;
    }
}

sub stall {
    my $text = Push::HTTP->new(port => $cluster->node(1)->http_port)
                         ->get('/metrics')->{body};
    my @all  = $text =~ /^ngx_push_loop_stall_seconds_max\{.*\} (\S+)$/mg;

    return (sort { $b <=> $a } @all)[0];
}

no_shuffle();
run_tests();

END { local $?; down() }

__DATA__

=== TEST 1: what is saved gets there, with all that a restore needs
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    up();

    my ($bad) = pushes(100);
    $t->say("refused:$bad");
    $t->say(rows_are(100));
    $t->say(join ' ', map { "@$_" } $::db->sql(
        'SELECT product, kind, name, seq, expires - created, '
        . 'RIGHT(data, 2), LENGTH(data) > 21 FROM ngx_push_message '
        . "WHERE name = 'user0' ORDER BY seq"));
    my ($inc) = $::redis->command('HGET', 'np:{shop:user0}q', 'i');
    $t->say($::db->value("SELECT LOWER(HEX(incarnation)) = '$inc' FROM "
                       . "ngx_push_message WHERE name = 'user0' LIMIT 1"));
    $t->say($::db->value('SELECT version FROM ngx_push_schema'));
    return $t->text;
}
--- mqtt_out
refused:
rows 100
shop 0 user0 1 604800 m1 1 shop 0 user0 2 604800 51 1
1
2



=== TEST 2: metrics
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    metric_until('rows_total{table="message"}', sub { $_[0] == 100 });
    my $m = metrics();
    $t->say("$_ $m->{$_}") for qw(lag_seconds backlog_bytes spilled_bytes
        dropped_total{reason="full"} errors_total connected);
    return $t->text;
}
--- mqtt_out
lag_seconds 0.000
backlog_bytes 0
spilled_bytes 0
dropped_total{reason="full"} 0
errors_total 0
connected 2



=== TEST 3: MariaDB killed: files, which are read back
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    $::db->kill;
    my ($bad, $slow) = pushes(200);
    metric_until('lag_seconds', sub { $_[0] > 1.5 });
    my ($more, $slower) = pushes(200);
    $slow = $slower if $slower > $slow;

    $t->say("refused:$bad$more");
    $t->say($slow < 0.5 ? 'quick' : "slow: $slow");
    $t->say('spilled') if metric_until('spilled_bytes', sub { $_[0] > 10000 });
    $t->say('not connected') if metric_until('connected', sub { $_[0] == 0 });
    $::db->start;
    $t->say(rows_are(500));
    metric_until('spilled_bytes', sub { $_[0] == 0 });
    metric_until('lag_seconds', sub { $_[0] < 1 });
    $t->say(scalar(my @left = glob $::db->spill . '/*.spill'));
    $t->say($::cluster->node(1)->log =~ /journal: MySQL: / ? 'told' : 'silent');
    return $t->text;
}
--- mqtt_out
refused:
quick
spilled
not connected
rows 500
0
told



=== TEST 4: a worker killed while MariaDB is away: another reads its files
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    $::db->kill;
    pushes(100);
    metric_until('spilled_bytes', sub { $_[0] > 0 }, 20);
    sleep 3;
    $t->say('in files') if metric_until('backlog_bytes', sub { $_[0] == 0 });
    $::cluster->node(1)->kill_worker('KILL', 0);
    $::cluster->node(1)->kill_worker('KILL', 0);
    $::cluster->wait_nodes;
    my ($bad) = pushes(10);
    $t->say("refused:$bad");
    $::db->start;
    $t->say(rows_are(610));
    return $t->text;
}
--- mqtt_out
in files
refused:
rows 610



=== TEST 5: SIGSTOP of MariaDB for 8 s
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my ($bad, $slow) = ('', 0);

    $::db->signal('STOP');
    my $end = time + 8;
    my $n   = 0;

    while (time < $end) {
        my ($b, $s) = pushes(10);
        $bad .= $b;
        $slow = $s if $s > $slow;
        $n += 10;
        sleep 0.1;
    }

    $::db->signal('CONT');
    $t->say("refused:$bad");
    $t->say($slow < 0.5 ? 'quick' : "slow: $slow");
    $t->say(rows_are(610 + $n) eq 'rows ' . (610 + $n));
    $t->say(stall() < 0.2 ? 'no stall' : 'stall ' . stall());
    Test::More::diag(sprintf 'stopped: slowest push %.0f ms, stall %.0f ms',
                     $slow * 1000, stall() * 1000);
    $::number = 0;
    $::db->execute('TRUNCATE ngx_push_message');
    return $t->text;
}
--- mqtt_out
refused:
quick
1
no stall



=== TEST 6: tables locked by somebody else
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $lock = $::db->session;

    $lock->run('LOCK TABLES ngx_push_message WRITE, ngx_push_ack WRITE');
    my ($bad, $slow) = pushes(200);
    metric_until('errors_total', sub { $_[0] > 0 });
    my ($more, $slower) = pushes(100);
    $slow = $slower if $slower > $slow;
    $t->say("refused:$bad$more");
    $t->say($slow < 0.5 ? 'quick' : "slow: $slow");
    undef $lock;
    $t->say(rows_are(300, 30));
    return $t->text;
}
--- mqtt_out
refused:
quick
rows 300



=== TEST 7: reload and stop: nothing is left behind
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    pushes(50);
    $::cluster->node(1)->reload;
    pushes(50);
    my $start = time;
    $::cluster->stop;
    $t->say(time - $start < 5 ? 'quick' : 'slow');
    $t->say(rows_are(400, 1));
    $::cluster->start;
    $::db->signal('STOP');
    pushes(50);
    $start = time;
    $::cluster->stop;
    $t->say(time - $start < 8 ? 'quick' : 'slow');
    $t->say((my @files = glob $::db->spill . '/*.spill') > 0 ? 'files' : 'none');
    $::db->signal('CONT');
    $::cluster->start;
    $t->say(rows_are(450));
    return $t->text;
}
--- mqtt_out
quick
rows 400
quick
files
rows 450



=== TEST 8: a file cut short and one of rubbish: what is whole is read
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    $::db->kill;
    pushes(100);
    metric_until('spilled_bytes', sub { $_[0] > 0 }, 20);
    $::cluster->stop;

    my ($file) = sort { -s $b <=> -s $a } glob $::db->spill . '/*.spill';
    truncate $file, (-s $file) - 5 or die;
    open my $out, '>', $::db->spill . '/000000000000001-x-1-1.spill' or die;
    print $out 'rubbish' x 100;
    close $out;

    $::db->start;
    $::cluster->start;
    $t->say(rows_are(549));
    metric_until('dropped_total{reason="corrupt"}', sub { $_[0] == 2 });
    $t->say(scalar(my @left = glob $::db->spill . '/*.spill'));

    # put aside, whole
    my @aside = glob $::db->spill . '/*.broken';
    $t->say(@aside . ' ' . -s $aside[0]);
    return $t->text;
}
--- mqtt_out
rows 549
0
2 700



=== TEST 9: tables of a newer version are not touched
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    $::db->execute('UPDATE ngx_push_schema SET version = 9');
    $::cluster->node(1)->reload;
    $::cluster->node(1)->old_gone;
    pushes(10);
    $::cluster->node(1)->log_like('journal: the tables in database push are of '
                                . 'version 9');
    $t->say(rows_are(549, 0));
    $::db->execute('UPDATE ngx_push_schema SET version = 2');
    $t->say(rows_are(559));
    return $t->text;
}
--- mqtt_out
rows 549
rows 559



=== TEST 10: no password in a log
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $log = $::cluster->node(1)->log;

    $t->say(index($log, 'pa ss') < 0 ? 'none' : 'password');
    down();
    return $t->text;
}
--- mqtt_out
none



=== TEST 11: neither memory nor files have room: counted, and no push refused
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    up(spill_size => '1m',
       directives => 'journal_delay 50ms; journal_backlog 4m;');
    metric_until('connected', sub { $_[0] == 2 });
    $::db->kill;
    my ($bad, $slow) = pushes(150, 100_000);
    $t->say("refused:$bad");
    metric_until('dropped_total{reason="full"}', sub { $_[0] > 0 });
    my $m = metrics();
    $t->say($m->{spilled_bytes} <= 3 * 1048576 ? 'bounded' : 'not');
    $t->say($m->{backlog_bytes} <= 2 * 4 * 1048576 ? 'bounded' : 'not');
    my $lines = () = $::cluster->node(1)->log =~ /rows were dropped/g;
    $t->say($lines > 0 && $lines < 40 ? 'told' : $lines);
    $::db->start;
    metric_until('lag_seconds', sub { $_[0] == 0 }, 20);
    $t->say(rows() + metrics()->{'dropped_total{reason="full"}'});
    down();
    return $t->text;
}
--- mqtt_out
refused:
bounded
bounded
told
150



=== TEST 12: MariaDB that is full
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    up(options => ['--innodb-file-per-table=0',
                   '--innodb-data-file-path=ibdata1:12M;ibdata2:10M']);
    my ($bad, $slow) = pushes(200, 100_000);
    metric_until('errors_total', sub { $_[0] > 0 });
    $t->say("refused:$bad");
    metric_until('spilled_bytes', sub { $_[0] > 100_000 });
    my ($more) = pushes(20);
    $t->say("refused:$more");
    $::db->stop;
    $::db->{options}[1] .= ';ibdata3:60M';
    $::db->start;
    metric_until('spilled_bytes', sub { $_[0] == 0 }, 20);
    $t->say(rows() > 20 ? 'room again' : rows());
    down();
    return $t->text;
}
--- mqtt_out
refused:
refused:
room again



=== TEST 13: rows that have ended are removed
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    up(directives => 'journal_delay 50ms; journal_keep 0;');
    $::number = 0;
    pushes(10);
    $t->say(rows_are(10));

    my $inc = $::db->value('SELECT incarnation FROM ngx_push_message WHERE '
                         . "name = 'user0'");
    $::db->execute(
        # expired
        "UPDATE ngx_push_message SET expires = 1 WHERE name = 'user9'",
        # acknowledged by all; older than "keep"
        "UPDATE ngx_push_message SET created = created - 10",
        "INSERT INTO ngx_push_ack VALUES ('shop', 'user0', $inc, 'a', 1, 1, "
            . "'', 0, UNIX_TIMESTAMP())",
        # by one of two
        "INSERT INTO ngx_push_ack VALUES ('shop', 'user1', $inc, 'a', 1, 0, "
            . "'', 0, UNIX_TIMESTAMP())",
        # of a device that nothing newer tells of; of one that is gone
        "INSERT INTO ngx_push_ack VALUES ('shop', 'user0', 5, 'b', 1, 1, '', "
            . '0, UNIX_TIMESTAMP() - 86400)',
        "INSERT INTO ngx_push_ack VALUES ('shop', 'user0', 5, 'c', 1, 1, '', "
            . '1, UNIX_TIMESTAMP() - 86400)',
        # of an incarnation that is over, and nothing newer
        "INSERT INTO ngx_push_ack VALUES ('shop', 'user0', 5, 'a', 1, 1, '', 0, 5)",
        "INSERT INTO ngx_push_ack VALUES ('shop', 'user5', 5, 'a', 1, 1, '', 0, 5)");
    $t->say(rows_are(8, 30));
    $t->say(join ' ', map { $_->[0] } $::db->sql(
        'SELECT name FROM ngx_push_message ORDER BY name'));
    sleep 2;
    $t->say(join ' ', map { "@$_" } $::db->sql(
        'SELECT user, device, acked FROM ngx_push_ack ORDER BY 1, 2'));
    down();
    return $t->text;
}
--- mqtt_out
rows 10
rows 8
user1 user2 user3 user4 user5 user6 user7 user8
user0 a 1 user0 b 1 user1 a 1



=== TEST 14: tables of version 1 are brought up to date
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    up();
    pushes(1);
    rows_are(1);
    $::cluster->stop;
    $::db->execute('ALTER TABLE ngx_push_ack DROP COLUMN rest, '
        . 'DROP COLUMN gone', 'UPDATE ngx_push_schema SET version = 1',
        "INSERT INTO ngx_push_ack VALUES ('shop', 'old', 7, 'a', 3, 2, "
        . 'UNIX_TIMESTAMP())',

        # somebody died on the way
        'ALTER TABLE ngx_push_ack ADD COLUMN rest MEDIUMBLOB NOT NULL '
        . 'AFTER everyone');
    $::cluster->start;
    my $c = $::cluster->dialogue(1)->client(client => 'a', user => 'shop/new');
    $c->subscribe('shop/#');
    pushes(1);
    $t->say(rows_are(2));
    $t->say($::db->value('SELECT version FROM ngx_push_schema'));
    $t->say(map { "@$_" } $::db->sql('SELECT user, acked, everyone, gone, '
        . "LENGTH(rest) FROM ngx_push_ack WHERE user = 'old'"));
    sleep 0.5;
    $t->say($::db->value('SELECT COUNT(*) > 0 FROM ngx_push_ack '
                         . "WHERE user = 'new' AND LENGTH(rest) > 0"));
    return $t->text;
}
--- mqtt_out
rows 2
2
old 3 2 0 0
1



=== TEST 15: an answer that is repeated: the journal has it, as it was
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $http = Push::HTTP->new(port => $::cluster->node(1)->http_port);
    my $once = sub {
        my $answer = $http->post('/v1/shop/users/rita/messages', 'r1',
            Authorization => 'Bearer ' . api_key(), TTL => 300,
            'Content-Type' => 'text/plain', 'Idempotency-Key' => '"k1"');
        return join ' ', $answer->{status},
                    $answer->{headers}{'idempotent-replayed'} // '-';
    };

    $t->say($once->());
    $t->say(rows_are(3));
    $::db->execute("DELETE FROM ngx_push_message WHERE name = 'rita'");
    sleep 1.2;
    $t->say($once->());
    $t->say(rows_are(3));
    my ($blob) = $::redis->command('HGET', 'np:{shop:rita}q', 1);
    $t->say($::db->value("SELECT data = X'" . unpack('H*', $blob)
        . "', expires - created FROM ngx_push_message WHERE name = 'rita'"));
    return $t->text;
}
--- mqtt_out
201 -
rows 3
201 true
rows 3
1



=== TEST 16: a deadlock is no reason to begin with a new connection
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $http = Push::HTTP->new(port => $::cluster->node(1)->http_port);
    my $send = sub {
        my ($user, $body) = @_;
        $http->post("/v1/shop/users/$user/messages", $body,
                    Authorization => 'Bearer ' . api_key());
    };
    my $row = sub {
        my ($user, $lock) = @_;
        my $inc = $::db->value('SELECT incarnation FROM ngx_push_message '
                               . "WHERE name = '$user'");
        return "INSERT INTO ngx_push_message VALUES ('shop', 0, '$user', "
               . "$inc, 2, 1, 1, '')";
    };
    my $lives = sub {
        my $ids = join ' ', map { $_->[0] } $::db->sql('SELECT id FROM '
            . "information_schema.processlist WHERE user = 'push' ORDER BY id");
        return $ids;
    };

    # one worker, one transaction: both rows in their order
    $::cluster->node(1)->reload(workers => 1);
    $::cluster->node(1)->old_gone(10);
    $send->($_, 'one') for 'ada', 'bea';
    $t->say(rows_are(5));
    my ($ada, $bea, $before) = ($row->('ada'), $row->('bea'), $lives->());

    # whoever has written less is the one that is rolled back
    my $other = $::db->session;
    $other->run('CREATE TABLE heavy (n INT) ENGINE=InnoDB');
    $other->run('BEGIN');
    $other->run('INSERT INTO heavy SELECT seq FROM seq_1_to_1000');
    $other->run($bea);
    $send->($_, 'two') for 'ada', 'bea';
    sleep 0.5;
    $other->run($ada);
    $other->run('ROLLBACK');
    $t->say(rows_are(7));
    $t->say($lives->() eq $before && $before ? 'the same' : 'another');
    $t->say($::cluster->node(1)->log =~ /Deadlock/i ? 'told' : 'silent');
    return $t->text;
}
--- mqtt_out
rows 5
rows 7
the same
silent



=== TEST 17: devices as the register has them, also of another product
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    $::db->execute('TRUNCATE ngx_push_ack');
    my $c = $::cluster->dialogue(1)->client(client => 'a', user => 'x',
        password => Push::Test::token('eve', aud => ['shop', 'news']));
    $c->subscribe('shop/#', 'news/#');
    sleep 0.5;
    $t->say(map { "@$_" } $::db->sql('SELECT product, HEX(device), gone FROM '
        . "ngx_push_ack WHERE user = 'eve' AND incarnation = 1 ORDER BY 1"));
    $t->say(join ' ', map { unpack 'H*', $_ } @{$::redis->command('HKEYS',
        'np:{news:eve}d')});
    down();
    return $t->text;
}
--- mqtt_out
news 73686F700061 0
shop 61 0
73686f700061



=== TEST 18: without Redis
--- push
    zone 4m;
    product shop { anonymous on; }
    journal mysql://push@127.0.0.1/push;
--- must_die
--- error_log
"journal" needs "redis"



=== TEST 19: a password in the address is refused, and not told
--- push
    zone 4m;
    product shop { anonymous on; }
    journal mysql://push:sesame@127.0.0.1/push;
--- must_die
--- error_log
a password does not belong into it
--- no_error_log
sesame



=== TEST 20: a parameter that is none is not told either
--- push
    zone 4m;
    product shop { anonymous on; }
    journal mysql://push@127.0.0.1/push password=sesame;
--- must_die
--- error_log
invalid parameter "password=" of "journal"
--- no_error_log
sesame
