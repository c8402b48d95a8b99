# A zone with a file: what outlives a stop, a crash and a binary upgrade, and
# files that are refused.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Server;
use Test::Nginx::Socket;

embedded_only('what is in a zone with a file');

repeat_each(1);
plan tests => repeat_each() * 28;

own_servers();

my @files;
my $owner = $$;

# A path for a zone on tmpfs, gone when the suite is.
sub shm {
    push @files, "/dev/shm/ngx_push_test.$$." . @files;
    return $files[-1];
}

END { unlink @files if $owner == $$ }

sub server {
    my (%opt) = @_;
    my $file = shm();
    my $s = Push::Server->new(workers => 2, zone => "16m file=$file", %opt);

    $s->{file} = $file;
    return $s;
}

# Every process at once, as the kernel's OOM killer or a power button would.
sub kill_all {
    my ($s) = @_;
    my $master = $s->master;
    my @all = ($master, $s->workers($master));

    kill 'STOP', $master;
    kill 'KILL', @all;
    $s->until('all to die', sub { !grep { Push::Server::alive($_) } @all });
}

sub five {
    my ($s, $user, $device, %opt) = @_;

    return $s->dialogue->client(version => 5, timeout => 20, client => $device,
                                user => "shop/$user",
                                props => { session_expiry => 300,
                                           receive_maximum => 2 }, %opt);
}

# Two devices of MQTT 5 and one of 3.1.1, with messages acknowledged, in
# flight and waiting; stopped by $stop; then all goes on as if nothing was.
sub restart {
    my ($t, $stop) = @_;
    my $s = server()->start;
    my $a = five($s, 'u', 'a');
    my $b = five($s, 'u', 'b');
    my $old = $s->dialogue->client(version => 4, timeout => 20, clean => 0,
                                   client => 'o', user => 'shop/u4');

    $_->subscribe('shop/#', 'shop/group/g') for $a, $b, $old;
    $b->disconnect(0);

    my $d = $s->dialogue;
    my @ids = publish_many($d->http, 'users/u', [1 .. 6]);
    publish_many($d->http, 'users/u4', [1 .. 3]);

    my @sent = receive($a, 2, packets => 1, ack => 0);
    $a->puback($sent[0]{id});
    push @sent, receive($a, 1, packets => 1, ack => 0);
    receive($old, 3);
    publish_many($d->http, 'groups/g', ['g1']);
    publish_many($d->http, 'broadcast', ['b1']);

    # 3.1.1 has no Receive Maximum: one in flight of a group, one of all
    my @flight = receive($old, 2, packets => 1, ack => 0);
    eventually('acknowledgements', sub {
        metric($s, 'ngx_push_messages_acked_total') == 4;
    });

    $stop->($s);
    $_->expect_close(20), $_->close for $old;
    $a->close;
    $s->start;

    $d = $s->dialogue;
    my $state = $d->http->get("/v1/shop/users/u/messages/$ids[4]");
    $t->say("known: $state->{status} $state->{json}{state}");

    $t->say('a: ' . $a->show($a->reconnect(clean => 0)));
    my @again = receive($a, 2, packets => 1);
    $t->say(CORE::join(' ', map { "$_->{payload}:dup$_->{dup}" } @again)
            . ($again[0]{id} == $sent[1]{id} ? ', same id' : ', other id'));
    $t->say(CORE::join(' ', sort(receive($a, 5))));

    $t->say('b: ' . $b->show($b->reconnect(clean => 0)));
    $t->say(CORE::join(' ', sort(receive($b, 8))));

    $t->say('o: ' . $old->show($old->reconnect(clean => 0)));
    $t->say(CORE::join(' ', sort map { "$_->{payload}:dup$_->{dup}" }
                       receive($old, 2, packets => 1)));

    # the sequence goes on, nothing is numbered twice
    my ($id) = publish_many($d->http, 'users/u', ['new']);
    my ($before) = $ids[5] =~ /^(.*)-6$/;
    $t->say($id eq "$before-7" ? 'next id' : "$ids[5], then $id");
    $t->say(receive($a, 1), receive($b, 1));
    $_->expect_nothing(0.05), $_->close for $a, $b, $old;
    $s->stop;
    return $t->text;
}

# a start that is refused, and what it says
sub refused {
    my ($t, $s, $pattern) = @_;

    $s->write_conf;
    my $status = $s->run;
    my ($line) = $s->log =~ /($pattern)/;

    $t->say(($status ? 'refused: ' : 'started: ') . ($line // $s->last_log));
    $s->stop if !$status;
}

# the refused starts, each with its message
allow_alert(qr/\[emerg\]/, qr/exited on signal 9/);

no_shuffle();
run_tests();

__DATA__

=== TEST 1: stop with QUIT, and start
--- mqtt eval
sub { main::restart($_[0], sub { $_[0]->stop('QUIT') }) }
--- mqtt_out
known: 200 saved
a: CONNACK session=1
2:dup1 3:dup1, same id
4 5 6 b1 g1
b: CONNACK session=1
1 2 3 4 5 6 b1 g1
o: CONNACK session=1
b1:dup1 g1:dup1
next id
new
new



=== TEST 2: stop with TERM, and start
--- mqtt eval
sub { main::restart($_[0], sub { $_[0]->stop('TERM') }) }
--- mqtt_out
known: 200 saved
a: CONNACK session=1
2:dup1 3:dup1, same id
4 5 6 b1 g1
b: CONNACK session=1
1 2 3 4 5 6 b1 g1
o: CONNACK session=1
b1:dup1 g1:dup1
next id
new
new



=== TEST 3: SIGKILL of everything, and start
--- mqtt eval
sub { main::restart($_[0], \&main::kill_all) }
--- mqtt_out
known: 200 saved
a: CONNACK session=1
2:dup1 3:dup1, same id
4 5 6 b1 g1
b: CONNACK session=1
1 2 3 4 5 6 b1 g1
o: CONNACK session=1
b1:dup1 g1:dup1
next id
new
new



=== TEST 4: without a file a restart is a fresh start
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my $c = main::five($s, 'u', 'd');

    $c->subscribe('shop/#');
    $s->dialogue->push('users/u', 'lost');
    main::receive($c, 1, ack => 0);
    $s->stop('TERM')->start;
    $t->say($c->show($c->reconnect(clean => 0)));
    $c->subscribe('shop/#');
    $s->dialogue->push('users/u', 'new');
    $t->say(main::receive($c, 1));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
CONNACK
new



=== TEST 5: killed under load: each 201 is delivered after the start
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'inbox_limit 100000;');
    my (@ok, @got);
    my $c;

    for my $round (1 .. 5) {
        $s->start;

        if ($c) {
            my $ack = $c->reconnect(clean => 0);
            $t->say('no session') if !$ack->{session};

        } else {
            $c = main::five($s, 'u', 'd');
            $c->subscribe('shop/#');
        }

        # answered are those before the kill, whatever was under way
        my $d = $s->dialogue;
        my $pid = fork // die "fork: $!\n";

        if ($pid == 0) {
            select undef, undef, undef, 0.02 + rand 0.1;
            main::kill_all($s);
            POSIX::_exit(0);
        }

        for my $i (1 .. 100000) {
            my $n = $round * 1000000 + $i;
            my $answer = eval { $d->push('users/u', $n) } or last;

            push @ok, $n if $answer->{status} == 201;
            my $m = $c->poll(0) or next;
            next if $m->{type} ne 'PUBLISH';
            push @got, $m->{payload};
            $c->puback($m->{id}) if $i % 3;
        }

        waitpid $pid, 0;
        $c->close;
    }

    $s->start;
    $c->reconnect(clean => 0);
    $s->dialogue->push('users/u', 'end');
    push @got, main::receive_all($c, 'end');

    my %got = map { $_ => 1 } @got;
    my @lost = grep { !$got{$_} } @ok;
    my ($last, $disorder, %seen) = (0, 0);

    for my $n (grep { !$seen{$_}++ } @got) {
        $disorder++ if $n < $last;
        $last = $n;
    }

    $t->say(@ok > 10 ? 'many' : 'only ' . @ok, 'lost ' . @lost,
            "out of order $disorder");
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
many
lost 0
out of order 0



=== TEST 6: what ends while the server is down
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server()->start;
    my $short = main::five($s, 'u', 'short', props => { session_expiry => 1 });
    my $long = main::five($s, 'u', 'long');

    $_->subscribe('shop/#') for $short, $long;
    $s->dialogue->push('users/u', 'seen');
    main::receive($_, 1) for $short, $long;
    $_->disconnect(0) for $short, $long;
    $s->dialogue->push('users/u', 'gone', TTL => 1);
    $s->dialogue->push('users/u', 'kept', TTL => 600);
    $s->stop;
    select undef, undef, undef, 2.2;
    $s->start;

    $t->say($long->show($long->reconnect(clean => 0)));
    $t->say(main::receive($long, 1));
    $t->say($short->show($short->reconnect(clean => 0)));
    $short->expect_nothing(0.1);
    $short->subscribe('shop/#');
    $t->say(main::receive($short, 1));
    $_->expect_nothing(0.05), $_->close for $short, $long;
    $s->stop;
    return $t->text;
}
--- mqtt_out
CONNACK session=1
kept
CONNACK
kept



=== TEST 7: other products in the configuration of the next start
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server()->start;
    my $c = main::five($s, 'u', 'd');

    $c->subscribe('shop/#');
    $c->disconnect(0);
    $s->dialogue->push('users/u', 'mine');
    $s->stop;
    $s->start(push => 'product aaa { api_key {{key}}; anonymous on; }
                       product zzz { api_key {{key}}; anonymous on; }');
    $s->dialogue(product => 'aaa')->push('users/u', 'not mine');
    $t->say($c->show($c->reconnect(clean => 0)), main::receive($c, 1));
    $c->expect_nothing(0.1);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
CONNACK session=1
mine



=== TEST 8: USR2, WINCH, QUIT: the new binary goes on with the same zone
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(push => 'drain_time 100ms;')->start;
    my ($a, $b) = main::devices($s, 2, version => 5,
                                props => { session_expiry => 300 });

    $_->subscribe('shop/#') for $a, $b;

    my $old = $s->master;
    my @old = $s->workers($old);

    $s->signal('USR2');
    main::eventually('the new master', sub {
        my $new = $s->master;
        $new && $new != $old && $s->workers == 2;
    });

    # both serve now: a device that comes again may land at either
    for my $i (1 .. 6) {
        my $p = $s->dialogue;
        main::publish_many($p->http, "users/u$_", [$i]) for 0, 1;
        $t->say('both: ' . CORE::join(' ', map {
            my ($m) = main::receive($_, 1, packets => 1);
            ($m) = main::receive($_, 1, packets => 1)
                while $m->{dup} && $m->{payload} < $i;
            $m->{payload};
        } $a, $b));
        $a->reconnect(clean => 0);
    }

    kill 'WINCH', $old;
    main::eventually('the old workers to leave', sub {
        !grep { Push::Server::alive($_) } @old;
    });
    main::publish_many($s->dialogue->http, "users/u$_", [7]) for 0, 1;
    kill 'QUIT', $old;
    main::eventually('the old master to leave', sub {
        !Push::Server::alive($old);
    });

    for my $c ($a, $b) {
        my $ack = $c->reconnect(clean => 0);

        # an acknowledgement may have come too late for its connection
        my ($m) = main::receive($c, 1, packets => 1);
        ($m) = main::receive($c, 1, packets => 1)
            while $m->{dup} && $m->{payload} < 7;
        $t->say('session ' . $ack->{session}, $m->{payload});
        $c->expect_nothing(0.05);
    }

    $t->say('online ' . main::metric($s, 'ngx_push_sessions', qr/online/)
            . ', connections ' . main::metric($s, 'ngx_push_connections'));
    $_->close for $a, $b;
    $s->stop;
    return $t->text;
}
--- mqtt_out
both: 1 1
both: 2 2
both: 3 3
both: 4 4
both: 5 5
both: 6 6
session 1
7
session 1
7
online 2, connections 2



=== TEST 9: and back: WINCH, HUP to the old one, QUIT to the new
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(push => 'drain_time 100ms;')->start;
    my $c = main::five($s, 'u', 'd');
    my $old = $s->master;

    $c->subscribe('shop/#');
    $s->signal('USR2');
    main::eventually('the new master', sub {
        my $new = $s->master;
        $new && $new != $old && $s->workers == 2;
    });
    my $new = $s->master;

    kill 'WINCH', $old;
    main::eventually('the old workers to leave', sub {
        !$s->workers($old);
    });
    $t->say($c->show($c->expect('DISCONNECT', timeout => 20)));
    $c->reconnect(clean => 0);
    main::publish_many($s->dialogue->http, 'users/u', [1]);
    $t->say(main::receive($c, 1, ack => 0));

    kill 'HUP', $old;
    main::eventually('workers of the old one', sub {
        scalar(my @w = $s->workers($old)) == 2;
    });
    kill 'QUIT', $new;
    main::eventually('the new one to leave', sub {
        !Push::Server::alive($new);
    });
    $t->say($c->show($c->expect('DISCONNECT', timeout => 20)));
    main::eventually('the pid file', sub { ($s->master // 0) == $old });
    main::publish_many($s->dialogue->http, 'users/u', [2]);
    $t->say($c->show($c->reconnect(clean => 0)));
    $t->say(map { "$_->{payload} dup=$_->{dup}" }
            main::receive($c, 2, packets => 1));
    $t->say('online ' . main::metric($s, 'ngx_push_sessions', qr/online/)
            . ', workers ' . main::metric($s, 'ngx_push_workers', qr/live/));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
DISCONNECT code=139
1
DISCONNECT code=139
CONNACK session=1
1 dup=1
2 dup=0
online 1, workers 2



=== TEST 10: the same device at the old and the new binary: one owner
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(push => 'drain_time 100ms;')->start;
    my $old = $s->master;
    my @old = $s->workers($old);

    $s->signal('USR2');
    main::eventually('the new master', sub {
        my $new = $s->master;
        $new && $new != $old && $s->workers == 2;
    });
    my @new = $s->workers;

    # at a worker of the old one, then at one of the new one
    my $first = main::without(\@new, sub {
        my $c = main::five($s, 'u', 'd');
        $c->subscribe('shop/#');
        return $c;
    });
    my $second = main::without(\@old, sub {
        main::five($s, 'u', 'd', clean => 0);
    });

    $t->say($first->show($first->expect('DISCONNECT', timeout => 20)));
    $s->dialogue->push('users/u', 'one');
    $t->say(main::receive($second, 1));
    $first->expect_close(20);
    kill 'QUIT', $old;
    main::eventually('the old one to leave', sub {
        !Push::Server::alive($old);
    });
    $s->dialogue->push('users/u', 'two');
    $t->say(main::receive($second, 1));
    $second->expect_nothing(0.05);
    $second->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
DISCONNECT code=142
one
two



=== TEST 11: files that are refused, and stay as they are
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $file = $s->{file};

    $s->start->stop;
    my $size = -s $file;
    my $sum = `cksum $file`;

    main::refused($t, Push::Server->new(zone => "32m file=$file"),
                  'was made with another size');
    main::refused($t, Push::Server->new(zone => "16m file=$file",
                                        push => 'mailbox 64;'),
                  'was made with another size|"mailbox"');

    # a layout of another version: the 32 bits behind the magic
    my $other = main::shm();
    system "cp $file $other";
    open my $io, '+<', $other or die "$other: $!\n";
    seek $io, 0, 0;
    read $io, my $head, 16;
    seek $io, 8, 0;
    print $io pack 'L', 1 + unpack 'x8 L', $head;
    close $io;
    main::refused($t, Push::Server->new(zone => "16m file=$other"),
                  'was made by another version');

    # something else of the same size
    open $io, '>', $other or die "$other: $!\n";
    print $io 'x' x 4096;
    truncate $io, $size;
    close $io;
    main::refused($t, Push::Server->new(zone => "16m file=$other"),
                  'is not a push zone');

    # cut short
    truncate $other, $size / 2;
    main::refused($t, Push::Server->new(zone => "16m file=$other"),
                  'was made with another size');
    main::refused($t, Push::Server->new(zone => '16m file=/dev/shm/no/such'),
                  'cannot open');
    main::refused($t, Push::Server->new(zone => '16m file=/dev/shm'),
                  'cannot open');
    $t->say(`cksum $file` eq $sum ? 'unchanged' : 'changed');
    $s->start;
    $t->say('still good');
    $s->stop;
    return $t->text;
}
--- mqtt_out
refused: was made with another size
refused: was made with another size
refused: was made by another version
refused: is not a push zone
refused: was made with another size
refused: cannot open
refused: cannot open
unchanged
still good



=== TEST 12: a warning for a file that is not on tmpfs, and none for one that is
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server()->start->stop;

    $t->say('shm: ' . ($s->log =~ /not on tmpfs/ ? 'warned' : 'quiet'));

    # the folder of this suite may be on tmpfs itself
    my $dir = $s->dir;
    my $type = `stat -f -c %T $dir`;
    my $d = Push::Server->new(zone => '16m file={{dir}}/zone')->start->stop;
    my $warned = $d->log =~ /\[warn\].*not on tmpfs/ ? 1 : 0;
    $t->say($warned == ($type !~ /^(?:tmpfs|ramfs)/) ? 'as it should be'
                                                     : "wrong for $type");
    my @stat = stat $d->dir . '/zone';
    $t->say(sprintf 'mode %o', $stat[2] & 07777);
    unlink $d->dir . '/zone';
    return $t->text;
}
--- mqtt_out
shm: quiet
as it should be
mode 600



=== TEST 13: master_process off with a file, twice
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(main => 'master_process off; daemon on;', workers => 1,
                         wait => 20);
    $s->write_conf;

    my $start = sub {
        $s->run == 0 or die $s->last_log;
        main::eventually('its port', sub {
            eval { $s->dialogue->http->get('/metrics') };
        });
    };
    $start->();
    my $c = main::five($s, 'u', 'd');
    $c->subscribe('shop/#');
    main::publish_many($s->dialogue->http, 'users/u', [1 .. 3]);
    main::receive($c, 1);
    main::eventually('the acknowledgement', sub {
        main::metric($s, 'ngx_push_messages_acked_total') == 1;
    });
    my $pid = $s->master;
    kill 'KILL', $pid;
    main::eventually('its end', sub { !Push::Server::alive($pid) });
    $start->();
    $t->say($c->show($c->reconnect(clean => 0)));
    my %got = map { $_ => 1 } main::receive($c, 2);
    $t->say(map { $got{$_} ? "got $_" : "lost $_" } 2, 3);
    $c->close;
    kill 'QUIT', $s->master;
    main::eventually('its end', sub { !$s->master });
    return $t->text;
}
--- mqtt_out
CONNACK session=1
got 2
got 3



=== TEST 14: huge pages are asked for, with a file and without
--- mqtt eval
sub {
    my ($t) = @_;

    for my $s (main::server(), Push::Server->new(zone => '16m')) {
        $s->start;
        my ($worker) = $s->workers($s->master);
        open my $f, '<', "/proc/$worker/smaps" or die $!;
        my ($size, $asked) = (0, 0);

        while (<$f>) {
            $size = $1 if /^Size: +(\d+) kB/;
            $asked = 1 if /^VmFlags:.* hg\b/ && $size > 16 * 1024;
        }
        $t->say($asked ? 'asked' : 'not asked');
        $s->stop;
    }
    return $t->text;
}
--- mqtt_out
asked
asked
