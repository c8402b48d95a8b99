# push-restore: Redis lost everything, and gets it back from the journal.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::HTTP;
use Push::MariaDB;
use Push::Redis;
use Push::Redis::Cluster;
use Push::Redis::Sentinel;
use Test::Nginx::Socket;
use Time::HiRes qw(sleep time);

my ($root) = __FILE__ =~ m{^(.*?)/?t/[^/]*$};
$root = '.' if $root eq '';

BEGIN {
    my $build = $ENV{BUILD} || 'build';
    delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
    system("make -s -C util/push-restore BUILD=../../$build >&2") == 0
        or die "push-restore does not build\n";
}

repeat_each(1);
plan tests => repeat_each() * 26;

own_servers();

our ($db, $redis, $cluster);

# Messages may come before the SUBACK.
sub ask_for {
    my ($c, @filters) = @_;
    $c->send('SUBSCRIBE', id => 100, filters => [map { [$_, 1] } @filters]);
}

# The next so many messages of a client, which acknowledges them.
sub next_of {
    my ($c, $n) = @_;
    my @got;

    while (@got < $n) {
        my $packet = $c->poll(10) // die "only @got\n";
        next if $packet->{type} ne 'PUBLISH';
        $c->puback($packet->{id});
        push @got, $packet->{payload};
    }

    return join ' ', sort @got;
}

# The redis-server of the arguments, or a new one, a database and a node.
sub up {
    my (%opt) = @_;

    down();
    $redis   = $opt{redis} // Push::Redis->new->start;
    $db      = Push::MariaDB->new->start;
    $cluster = Push::Cluster->new(redis => $redis, journal => $db,
        nodes => 1, workers => 1, name => 'r' . int(1000 * time) . '-')->start;
}

sub down {
    $cluster->stop if $cluster;
    $db->stop      if $db;
    undef $_ for $cluster, $db, $redis;
}

sub http { Push::HTTP->new(port => $cluster->node(1)->http_port) }

sub push_to {
    my ($path, $body, %headers) = @_;

    return http()->post("/v1/shop/$path", $body,
        Authorization => 'Bearer ' . api_key(),
        'Content-Type' => 'text/plain', %headers)->{status};
}

sub journaled {
    my ($n) = @_;

    for (1 .. 150) {
        my $rows = eval { $db->value('SELECT COUNT(*) FROM ngx_push_message') }
                   // 0;
        return 1 if $rows >= $n;
        sleep 0.1;
    }
    die "not in the journal\n";
}

# What it prints last, without the time it took, and its exit code.
sub restore {
    my ($where, @options) = @_;
    my $build = $ENV{BUILD} || 'build';
    my ($url) = split ' ', $db->journal;
    my $text  = join ' ', map { "'$_'" } "$build/push-restore", @options,
                    '--quiet', '--journal-password=' . $db->password_file,
                    $url, split ' ', $where;
    my $out = `$text 2>&1`;

    $out =~ s/ in \S+ s:/:/;
    return $out . 'exit ' . ($? >> 8);
}

sub log_of {
    my ($user) = @_;
    my %h = @{$redis->command('HGETALL', "np:{shop:$user}q") // []};

    # how many numbers were left out is by the clock
    my $far = sub { $_[0] =~ /^\d{5,}$/ ? 'far' : $_[0] };

    return join ' ', map { $far->($_) . '=' . (/^\d/ ? substr $h{$_}, -2
                                                     : $far->($h{$_})) }
                     grep { !/^[ix]$/ } sort keys %h;
}

no_shuffle();
run_tests();

END { local $?; down() }

__DATA__

=== TEST 1: everything lost; dry run; put back; again
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    up();
    push_to('users/alice/messages', "a$_") for 1 .. 3;
    push_to('users/bob/messages', 'b1');
    push_to('users/carl/messages', 'c1', TTL => 1);
    push_to('groups/team/messages', "g$_") for 1 .. 2;
    push_to('broadcasts', 'all');
    journaled(8);

    my $inc = $::redis->command('HGET', 'np:{shop:alice}q', 'i');
    my $port = '127.0.0.1:' . $::redis->port;
    $::cluster->stop;
    sleep 1.1;
    $::redis->flushall;

    $t->say(restore($port, '--dry-run'));
    $t->say($::redis->command('DBSIZE'));
    $t->say(restore($port));
    $t->say(log_of('alice'));
    $t->say($::redis->command('HGET', 'np:{shop:alice}q', 'i') eq $inc);
    $t->say(scalar @{$::redis->command('HGETALL', 'np:{shop;team}q')} / 2);
    my $ttl = $::redis->command('TTL', 'np:{shop:alice}q');
    $t->say($ttl > 604700 && $ttl < 604900);
    $t->say($::redis->command('EXISTS', 'np:{shop:carl}q'));
    $t->say(restore($port));
    $t->say(log_of('alice'));

    # goes on behind what may have been given
    $::cluster->start;
    push_to('users/alice/messages', 'a4');
    $t->say(log_of('alice'));
    return $t->text;
}
--- mqtt_out
would be done: 8 rows: 7 messages put back in place, 0 appended as new, 1 left alone; 4 logs made, 0 devices made known
exit 0
0
done: 8 rows: 7 messages put back in place, 0 appended as new, 1 left alone; 4 logs made, 0 devices made known
exit 0
1=a1 2=a2 3=a3 f=1 l=3
1
6
1
0
done: 8 rows: 0 messages put back in place, 0 appended as new, 8 left alone; 0 logs made, 0 devices made known
exit 0
1=a1 2=a2 3=a3 f=1 l=3
1=a1 2=a2 3=a3 far=a4 e=far f=1 l=far



=== TEST 2: what everybody has acknowledged stays away; devices are known
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $port = '127.0.0.1:' . $::redis->port;

    journaled(9);
    my $inc = $::db->value('SELECT incarnation FROM ngx_push_message WHERE '
                           . "name = 'alice' LIMIT 1");
    $::db->execute('INSERT INTO ngx_push_ack VALUES '
        . "('shop', 'alice', $inc, 'phone', 3, 2, '', 0, UNIX_TIMESTAMP()), "
        . "('shop', 'alice', $inc, 'tablet', 2, 2, '', 0, UNIX_TIMESTAMP()), "
        . "('shop', 'alice', 7, 'tablet', 9, 9, '', 0, 100), "
        . "('shop', 'bob', $inc, 'old', 1, 0, '', 0, 100)");
    $::cluster->stop;
    $::redis->flushall;
    $t->say(restore($port, '--product=shop'));
    $t->say(log_of('alice'));
    my $hex = sprintf '%x', $inc;
    my $entry = $::redis->command('HGET', 'np:{shop:alice}d', 'tablet');
    $t->say($entry =~ /^- 0 0 x \d+ ([0-9a-f]+) 2 2 $/
            && $1 eq $hex ? 'cursor' : "$entry $hex");
    $t->say($::redis->command('TTL', 'np:{shop:alice}d') > 2591000);
    $t->say(restore($port, '--product=none'));
    return $t->text;
}
--- mqtt_out
done: 13 rows: 6 messages put back in place, 0 appended as new, 3 left alone; 4 logs made, 2 devices made known
exit 0
3=a3 far=a4 a=2 f=3 l=far
cursor
1
done: 0 rows: 0 messages put back in place, 0 appended as new, 0 left alone; 0 logs made, 0 devices made known
exit 0



=== TEST 3: a log has begun anew: appended to it, once
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $port = '127.0.0.1:' . $::redis->port;

    $::redis->flushall;
    $::db->execute("DELETE FROM ngx_push_ack");
    $::cluster->start;
    push_to('users/alice/messages', 'n1');
    journaled(10);
    $t->say(restore($port));
    $t->say(log_of('alice'));
    $t->say(restore($port));
    $t->say(log_of('alice'));
    return $t->text;
}
--- mqtt_out
done: 10 rows: 4 messages put back in place, 4 appended as new, 2 left alone; 3 logs made, 0 devices made known
exit 0
1=n1 2=a1 3=a2 4=a3 5=a4 l=5
done: 10 rows: 0 messages put back in place, 0 appended as new, 10 left alone; 0 logs made, 0 devices made known
exit 0
1=n1 2=a1 3=a2 4=a3 5=a4 l=5



=== TEST 4: a replica that was behind: its end is filled in
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $port = '127.0.0.1:' . $::redis->port;
    my $key  = 'np:{shop:dora}q';

    push_to('users/dora/messages', "d$_") for 1 .. 4;
    journaled(14);
    # 1 has ended, 3 and 4 are forgotten; 3 was given again
    $::redis->command('HDEL', $key, 1, 3, 4);
    $::redis->command('HSET', $key, 'l', 3, 'f', 2, 3, 'other');
    $t->say(restore($port));
    $t->say(log_of('dora'));
    return $t->text;
}
--- mqtt_out
done: 14 rows: 0 messages put back in place, 2 appended as new, 12 left alone; 0 logs made, 0 devices made known
exit 0
2=d2 3=er 4=d3 5=d4 f=2 l=5



=== TEST 5: stopped in the middle, and gone on with
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $port = '127.0.0.1:' . $::redis->port;
    my $file = test_dir() . '/position';

    $::cluster->stop;
    $::redis->flushall;
    my $now = time;
    $::db->execute('TRUNCATE ngx_push_message',
        'INSERT INTO ngx_push_message SELECT "shop", 0, CONCAT("u", '
        . 'LPAD(seq DIV 10, 5, 0)), 77, seq MOD 10 + 1, UNIX_TIMESTAMP(), '
        . 'UNIX_TIMESTAMP() + 1000, CONCAT("blob", seq) '
        . 'FROM seq_0_to_19999',
        "INSERT INTO ngx_push_ack VALUES ('shop', 'u01999', 77, 'a', 0, 0, "
        . "'', 0, UNIX_TIMESTAMP())");

    my $pid = fork // die;
    if (!$pid) {
        open STDOUT, '>', '/dev/null';
        exec '/bin/sh', '-c', join ' ', map { "'$_'" }
            ($ENV{BUILD} || 'build') . '/push-restore', '--quiet',
            '--rate=8000', "--position=$file",
            '--journal-password=' . $::db->password_file,
            (split ' ', $::db->journal)[0], $port;
    }
    sleep 1;
    my ($child) = `pgrep -P $pid` =~ /(\d+)/;
    kill 'TERM', $child || $pid;
    waitpid $pid, 0;
    my $size = $::redis->command('DBSIZE');
    $t->say(join ' ', $? >> 8, -e $file ? 'position' : 'none',
            $size > 100 && $size < 3900 ? 'part' : $size);

    # before any message: one ends when all that are known have it
    $t->say($::redis->command('HLEN', 'np:{shop:u01999}d'));
    my $rest = restore($port, "--position=$file");
    my ($rows, $placed) = $rest =~ /done: (\d+) rows: (\d+) messages/;
    $t->say("$rows " . ($placed < 19000 && $placed > 1000 ? 'rest' : $placed));
    $t->say(-e $file ? 'position' : 'none');
    $t->say($::redis->command('DBSIZE'));
    my $bad = grep { $::redis->command('HLEN', sprintf 'np:{shop:u%05d}q',
                                       $_) != 14 } 0 .. 1999;
    $t->say("incomplete: $bad");
    return $t->text;
}
--- mqtt_out
3 position part
1
20001 rest
none
4001
incomplete: 0



=== TEST 6: wrong options; no Redis; no journal
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $run = ($ENV{BUILD} || 'build') . '/push-restore';

    for my $args ('', 'mysql://a:b@h/d 127.0.0.1', '--since=x a b',
                  'mysql://u@h/d 127.0.0.1 127.0.0.2',
                  'mysql://u@unix:/nowhere:/d 127.0.0.1:1') {
        my $out = `$run $args 2>&1`;
        $t->say(join ' ', $? >> 8, $out =~ /^push-restore: \w+/ ? 'told' : $out);
    }
    my $out = restore('127.0.0.1:1');
    $t->say($out =~ /no connection\nexit 1$/ ? 'no Redis' : $out);
    $t->say(`$run --help` =~ /^usage: push-restore/);
    return $t->text;
}
--- mqtt_out
2 told
2 told
2 told
2 told
1 told
no Redis
1



=== TEST 7: a Cluster: each log on its server, redirects followed
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $set = Push::Redis::Cluster->new->start;
    my ($one) = $set->masters;

    my $out = restore('cluster 127.0.0.1:' . $one->port);
    $t->say($out);
    my $size = 0;
    $size += $_->command('DBSIZE') for $set->masters;
    $t->say($size);
    $t->say(restore('cluster 127.0.0.1:' . $one->port));
    return $t->text;
}
--- mqtt_out
done: 20001 rows: 20000 messages put back in place, 0 appended as new, 0 left alone; 2000 logs made, 1 devices made known
exit 0
4001
done: 20001 rows: 0 messages put back in place, 0 appended as new, 20000 left alone; 0 logs made, 0 devices made known
exit 0



=== TEST 8: by Sentinel
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my $set = Push::Redis::Sentinel->new->start;
    my ($conf) = $set->conf =~ /redis (sentinel=[^;]*);/;

    $t->say(restore($conf));
    $t->say($set->master->command('DBSIZE'));
    return $t->text;
}
--- mqtt_out
done: 20001 rows: 20000 messages put back in place, 0 appended as new, 0 left alone; 2000 logs made, 1 devices made known
exit 0
4001



=== TEST 9: devices get what they had not acknowledged, once and in order
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my @one = (auto => 0, client => 'phone', user => 'shop/alice');

    up();
    my $phone = $::cluster->dialogue(1)->client(@one);
    $phone->subscribe('shop/#');
    push_to('users/alice/messages', "a$_") for 1 .. 3;
    push_to('users/bob/messages', "b$_") for 1 .. 3;
    $phone->puback($_->{id}) for map { $phone->expect('PUBLISH') } 1 .. 2;
    journaled(6);

    for (1 .. 100) {
        last if ($::db->value('SELECT everyone FROM ngx_push_ack WHERE '
                              . "user = 'alice'") // 0) == 2;
        sleep 0.1;
    }
    $t->say(map { "@$_" } $::db->sql('SELECT user, device, acked, everyone '
                                     . 'FROM ngx_push_ack WHERE acked'));
    $::cluster->stop;
    $::redis->flushall;
    $t->say(restore('127.0.0.1:' . $::redis->port));
    $::cluster->start;

    for my $user ('alice', 'bob') {
        my $c = $::cluster->dialogue(1)->client(client => 'phone',
                                                user => "shop/$user");
        $c->subscribe('shop/#');
        $t->say(join ' ', map { $c->expect('PUBLISH')->{payload} }
                          1 .. ($user eq 'bob' ? 3 : 1));
        $c->expect_nothing(0.3);
    }

    return $t->text;
}
--- mqtt_out
alice phone 2 2
done: 9 rows: 4 messages put back in place, 0 appended as new, 2 left alone; 2 logs made, 1 devices made known
exit 0
a3
b1 b2 b3



=== TEST 10: how far a device is in channels comes back too
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my @one = (auto => 0, client => 'pad', user => 'shop/carla', clean => 0);
    my @topics = ('shop/#', 'shop/group/team');

    $::cluster->stop;
    $::redis->flushall;
    $::db->execute('TRUNCATE ngx_push_message', 'TRUNCATE ngx_push_ack');
    $::cluster->start;

    my $pad = $::cluster->dialogue(1)->client(@one);
    $pad->subscribe(@topics);
    push_to('groups/team/messages', 'g1');
    push_to('broadcasts', 'b1');
    $t->say(next_of($pad, 2));
    sleep 0.5;
    $pad->disconnect;
    push_to('groups/team/messages', 'g2');
    push_to('broadcasts', 'b2');
    journaled(4);
    $::cluster->stop;
    $::redis->flushall;
    $t->say(restore('127.0.0.1:' . $::redis->port) =~ /exit 0/ ? 'done' : 'not');
    $::cluster->start;

    $pad = $::cluster->dialogue(1)->client(@one);
    ask_for($pad, @topics);
    $t->say(next_of($pad, 2));
    $pad->expect_nothing(0.3);
    return $t->text;
}
--- mqtt_out
b1 g1
done
b2 g2



=== TEST 11: who has acknowledged nothing is known, and nothing ends without it
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my @phone = (auto => 0, client => 'phone', user => 'shop/dora');
    my @pad   = (auto => 0, client => 'pad', user => 'shop/dora');

    my $c = $::cluster->dialogue(1)->client(@pad);
    $c->subscribe('shop/#');
    $c->disconnect;
    $c = $::cluster->dialogue(1)->client(@phone);
    $c->subscribe('shop/#');
    push_to('users/dora/messages', 'd1');
    $t->say(next_of($c, 1));

    for (1 .. 100) {
        last if $::db->value('SELECT COUNT(*) FROM ngx_push_ack WHERE '
            . "user = 'dora' AND device = 'phone' AND acked = 1");
        sleep 0.1;
    }

    journaled(5);
    $::cluster->stop;
    $::redis->flushall;
    $t->say(restore('127.0.0.1:' . $::redis->port) =~ /exit 0/ ? 'done' : 'not');
    $::cluster->start;

    $c = $::cluster->dialogue(1)->client(@phone);
    $c->subscribe('shop/#');
    push_to('users/dora/messages', 'd2');
    $t->say(next_of($c, 1));
    sleep 1;
    $c = $::cluster->dialogue(1)->client(@pad);
    ask_for($c, 'shop/#');
    $t->say(next_of($c, 2));
    return $t->text;
}
--- mqtt_out
d1
done
d2
d1 d2



=== TEST 12: names are bytes: case, a space at the end, what is not ASCII
--- mqtt eval
sub {
    package main;
    my ($t) = @_;
    my %user = ('ann' => 'ann', 'Ann' => 'Ann', 'ann%20' => 'ann ',
                '%C3%A4nn' => "\xc3\xa4nn", 'a%25nn' => 'a%nn',
                "a'nn%5C" => "a'nn\\");

    $::db->execute('TRUNCATE ngx_push_message', 'TRUNCATE ngx_push_ack',
        "SET GLOBAL time_zone = '+13:00'",
        'ALTER DATABASE push CHARACTER SET latin1');
    push_to("users/$_/messages", "to $_") for sort keys %user;
    journaled(scalar keys %user);
    $::cluster->stop;
    $::redis->flushall;
    $t->say(restore('127.0.0.1:' . $::redis->port) =~ /exit 0/ ? 'done' : 'not');
    my @wrong = grep {
        ($::redis->command('HGET', "np:{shop:$user{$_}}q", 1) // '')
            !~ /\Qto $_\E$/;
    } sort keys %user;
    $t->say("wrong: @wrong");
    $t->say(scalar @{$::redis->command('KEYS', 'np:{shop:*q')});
    $::cluster->start;
    return $t->text;
}
--- mqtt_out
done
wrong: 
6



=== TEST 13: slower than MySQL likes to wait
--- mqtt eval
sub {
    package main;
    my ($t) = @_;

    $::cluster->stop;
    $::redis->flushall;
    $::db->execute('SET GLOBAL net_write_timeout = 1',
        'SET GLOBAL wait_timeout = 1',
        'TRUNCATE ngx_push_message', 'TRUNCATE ngx_push_ack',
        'INSERT INTO ngx_push_message SELECT "shop", 2, "", 77, seq, '
        . 'UNIX_TIMESTAMP(), UNIX_TIMESTAMP() + 1000, REPEAT("x", 100000) '
        . 'FROM seq_1_to_300');
    $t->say(restore('127.0.0.1:' . $::redis->port, '--rate=75'));
    down();
    return $t->text;
}
--- mqtt_out
done: 300 rows: 300 messages put back in place, 0 appended as new, 0 left alone; 1 logs made, 0 devices made known
exit 0
