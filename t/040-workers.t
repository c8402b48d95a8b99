# Devices and pushes on different workers: one to four of them, with and
# without "reuseport", without a master, workers that are killed, mailboxes
# that overflow.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Server;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 20;

own_servers();

# One HTTP connection to each worker, so that each of them publishes.
sub publishers {
    my ($s, $reuseport) = @_;

    return map {
        my $t = $s->dialogue;
        my $open = sub { $t->http->get('/metrics') };

        $reuseport ? $open->() : only($s, $_, $open);
        $t;
    } $s->workers;
}

# A device on each worker; each worker pushes to each device, to a group, and
# to all, stored and with TTL 0.
sub across {
    my ($t, $workers, $reuseport) = @_;
    my $s = Push::Server->new(
        workers => $workers,
        room => 'server { listen {{mqtt}}' . ($reuseport ? ' reuseport' : '')
                . '; push_room; }');

    $s->start;

    my @devices = devices($s, $workers, version => 5,
                          reuseport => $reuseport);
    my $last = $#devices;

    $_->subscribe('shop/#', 'shop/group/g') for @devices;

    my $from = 0;
    for my $p (publishers($s, $reuseport)) {
        my $what = 'from ' . $from++;

        $p->push("users/u$_", "$what to u$_") for 0 .. $last;
        my @reached = map {
            $p->push("users/u$_", "$what, once", TTL => 0)->{json}{reached}
        } 0 .. $last;

        $p->push('groups/g', "$what, group");
        push @reached, $p->push('groups/g', "$what, group once", TTL => 0)
                         ->{json}{reached};
        $p->push('broadcast', "$what, all");
        push @reached, $p->push('broadcast', "$what, all once", TTL => 0)
                         ->{json}{reached};

        $t->say("$what reached @reached");
    }

    # Each of these once; order holds within a log, and these are the parts
    # of different logs.
    for my $i (0 .. $last) {
        my @got = map { "$_->{topic} $_->{qos} $_->{payload}" }
                  receive($devices[$i], 6 * $workers, packets => 1);
        my @want = map {
            ("shop/inbox 1 from $_ to u$i", "shop/inbox 0 from $_, once",
             "shop/group/g 1 from $_, group",
             "shop/group/g 0 from $_, group once",
             "shop/broadcast 1 from $_, all",
             "shop/broadcast 0 from $_, all once")
        } 0 .. $workers - 1;

        my $ok = join("\n", sort @got) eq join("\n", sort @want);
        $t->say("u$i: " . ($ok ? 'everything' : join '; ', @got));

        for my $log (qw(inbox group/g broadcast)) {
            my @from = map { /^shop\/$log 1 from (\d+)/ ? $1 : () } @got;
            $t->say("u$i: $log in order @from") if "@from" ne "@{[sort @from]}";
        }
    }

    $t->say('connections ' . metric($s, 'ngx_push_connections'));
    $t->say('online ' . metric($s, 'ngx_push_sessions', qr/online/));

    eventually('acknowledgements', sub {
        metric($s, 'ngx_push_messages_acked_total')
            == 3 * $workers * $workers;
    });

    $t->say('saved ' . metric($s, 'ngx_push_messages_total', qr/"saved"/)
            . ' sent ' . metric($s, 'ngx_push_messages_total', qr/"sent"/));

    $_->expect_nothing(0.05), $_->close for @devices;
    $s->stop;
    return $t->text;
}

# what the scenarios do to their workers
allow_alert(qr/exited on signal 9/);

no_shuffle();
run_tests();

__DATA__

=== TEST 1: one worker
--- mqtt eval
sub { main::across($_[0], 1, 0) }
--- mqtt_out
from 0 reached 1 1 1
u0: everything
connections 1
online 1
saved 3 sent 6



=== TEST 2: two workers, pushes from each to each
--- mqtt eval
sub { main::across($_[0], 2, 0) }
--- mqtt_out
from 0 reached 1 1 2 2
from 1 reached 1 1 2 2
u0: everything
u1: everything
connections 2
online 2
saved 8 sent 24



=== TEST 3: four workers
--- mqtt eval
sub { main::across($_[0], 4, 0) }
--- mqtt_out
from 0 reached 1 1 1 1 4 4
from 1 reached 1 1 1 1 4 4
from 2 reached 1 1 1 1 4 4
from 3 reached 1 1 1 1 4 4
u0: everything
u1: everything
u2: everything
u3: everything
connections 4
online 4
saved 24 sent 96



=== TEST 4: two workers, reuseport
--- mqtt eval
sub { main::across($_[0], 2, 1) }
--- mqtt_out
from 0 reached 1 1 2 2
from 1 reached 1 1 2 2
u0: everything
u1: everything
connections 2
online 2
saved 8 sent 24



=== TEST 5: four workers, reuseport
--- mqtt eval
sub { main::across($_[0], 4, 1) }
--- mqtt_out
from 0 reached 1 1 1 1 4 4
from 1 reached 1 1 1 1 4 4
from 2 reached 1 1 1 1 4 4
from 3 reached 1 1 1 1 4 4
u0: everything
u1: everything
u2: everything
u3: everything
connections 4
online 4
saved 24 sent 96



=== TEST 6: master_process off, stored and once, resume
--- push
    zone 16m;
    node test;
    product shop { api_key $TEST_NGINX_API_KEY; anonymous on; }
--- room
    push_room;
--- config
    location /v1/ { push_center; }
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(version => 5, client => 'd', user => 'shop/u',
                       props => { session_expiry => 60 });

    $c->subscribe('shop/#');
    $t->push('users/u', 'one');
    $t->say('reached ' . $t->push('users/u', 'two', TTL => 0)->{json}{reached});
    $t->push('broadcast', 'three');
    $t->say(CORE::join ' ', sort map { $_->{payload} } main::receive($c, 3,
            packets => 1, ack => 0));
    $c->reset;

    my $ack = $c->reconnect(clean => 0);
    $t->say($c->show($ack));
    $t->say($_->{dup} . ' ' . $_->{payload})
        for main::receive($c, 2, packets => 1);
    $c->disconnect(0);
    return $t->text;
}
--- mqtt_out
reached 1
one three two
CONNACK session=1
1 one
1 three



=== TEST 7: a mailbox of 64 and a burst of 5000: nothing is lost
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'mailbox 64;',
                              product => 'inbox_limit 100000;
                                          group_limit 100000;',
                              http => 'keepalive_requests 100000;
                                       location /v1/ { push_center; }
                                       location = /metrics { push_metrics; }'
                              )->start;
    my ($near, $far) = main::devices($s, 2, version => 5);

    $_->subscribe('shop/#', 'shop/group/g') for $near, $far;

    my ($one, $two) = main::publishers($s, 0);
    my @pids = $s->workers;

    # the second worker does not read its mailbox until all is pushed
    main::only($s, $pids[0], sub {
        main::publish_many($one->http, 'users/u1', [1 .. 2500]);
        main::publish_many($one->http, 'groups/g', [2501 .. 5000]);
        main::publish_many($one->http, 'users/u0', ['end']);
    });

    main::publish_many($two->http, 'users/u1', ['end']);

    my @far = main::receive($far, 5001, packets => 1);

    $t->say('far inbox ' . main::counted(map { $_->{payload} }
            grep { $_->{topic} eq 'shop/inbox' } @far));
    $t->say('far group ' . main::counted(map { $_->{payload} }
            grep { $_->{topic} eq 'shop/group/g' } @far));

    my @near = main::receive($near, 2501, packets => 1);

    $t->say('near inbox ' . main::counted(map { $_->{payload} }
            grep { $_->{topic} eq 'shop/inbox' } @near));
    $t->say('near group ' . main::counted(map { $_->{payload} }
            grep { $_->{topic} eq 'shop/group/g' } @near));
    $t->say(main::metric($s, 'ngx_push_resyncs_total') > 0 ? 'resynced'
                                                           : 'no resync');
    $_->expect_nothing(0.05), $_->close for $near, $far;
    $s->stop;
    return $t->text;
}
--- mqtt_out
far inbox 1..2500, end
far group 2501..5000
near inbox end
near group 2501..5000
resynced



=== TEST 8: a killed worker: its devices resume at another, and miss nothing
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'linger 300s;')->start;
    my @pids = $s->workers;
    my $connect = sub {
        $s->dialogue->client(version => 5, timeout => 20, client => 'd',
                             user => 'shop/u', clean => 1,
                             props => { session_expiry => 300,
                                        receive_maximum => 3 });
    };
    my $c = main::only($s, $pids[0], $connect);
    my $slot = main::worker_of($s, 'u', 'd');

    $c->subscribe('shop/#');

    my ($publisher) = main::only($s, $pids[1], sub {
        my $p = $s->dialogue;
        $p->http->get('/metrics');
        return $p;
    });

    main::publish_many($publisher->http, 'users/u', [1 .. 6]);

    # the window of three: the first acknowledged, 2 3 4 in flight
    my @sent = main::receive($c, 3, packets => 1, ack => 0);
    $c->puback($sent[0]{id});
    push @sent, main::receive($c, 1, packets => 1, ack => 0);
    $t->say('before: ' . main::counted(map { $_->{payload} } @sent));
    main::eventually('the acknowledgement', sub {
        main::metric($s, 'ngx_push_messages_acked_total') == 1;
    });

    $s->kill_worker('KILL', 0);
    $c->expect_close(20);
    main::eventually('the sweep', sub {
        main::device_of($s, 'u', 'd')->{state} eq 'lingering';
    });
    main::publish_many($publisher->http, 'users/u', [7 .. 8]);

    my $ack = main::only($s, $pids[1], sub {
        $c->reconnect(clean => 0);
    });
    $t->say($c->show($ack));

    my @again = main::receive($c, 3, packets => 1, ack => 0);
    $t->say("again: dup=$_->{dup} $_->{payload} "
            . ($_->{id} == $sent[$_->{payload} - 1]{id} ? 'same id' : 'other id'))
        for @again;
    $c->expect_nothing(0.1);
    $c->puback($_->{id}) for @again;
    $t->say('then: ' . CORE::join ' ', map { "$_->{dup}:$_->{payload}" }
            main::receive($c, 4, packets => 1));
    $t->say(main::worker_of($s, 'u', 'd') != $slot ? 'another worker'
                                                   : 'the same worker');
    $c->expect_nothing(0.05);

    # a metric of the dead worker still counts
    main::eventually('acknowledgements', sub {
        main::metric($s, 'ngx_push_messages_acked_total') == 8;
    });
    $t->say('connections ' . main::metric($s, 'ngx_push_connections'));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
before: 1..4
CONNACK session=1
again: dup=1 2 same id
again: dup=1 3 same id
again: dup=1 4 same id
then: 0:5 0:6 0:7 0:8
another worker
connections 1



=== TEST 9: sessions of a killed worker linger, and then are offline
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'linger 2s;')->start;
    my ($a, $b) = main::devices($s, 2);
    my ($first) = $s->workers;

    $_->subscribe('shop/#', 'shop/group/g') for $a, $b;
    $s->kill_worker('KILL', 0);
    $a->expect_close(20);
    $t->say($b->show($b->ping));

    main::eventually('lingering', sub {
        main::device_of($s, 'u0', 'd0')->{state} eq 'lingering';
    });

    # the dead is no member of anything any more
    my $p = $s->dialogue;
    $t->say('reached ' . $p->push('groups/g', 'x', TTL => 0)->{json}{reached}
            . ' ' . $p->push('broadcast', 'y', TTL => 0)->{json}{reached}
            . ' ' . $p->push('users/u0', 'z', TTL => 0)->{json}{reached});
    $t->say(CORE::join ' ', sort(main::receive($b, 2)));

    main::eventually('the end of lingering', sub {
        main::device_of($s, 'u0', 'd0')->{state} eq 'offline';
    });
    main::eventually('one connection', sub {
        main::metric($s, 'ngx_push_connections') == 1
        && main::metric($s, 'ngx_push_sessions', qr/online/) == 1;
    });
    $_->close for $a, $b;
    $s->stop;
    return $t->text;
}
--- mqtt_out
PINGRESP
reached 1 1 0
x y



=== TEST 10: 20 workers die one after another, a device and a publisher go on
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my $c = $s->dialogue->client(version => 5, timeout => 20, client => 'd',
                                 user => 'shop/u',
                                 props => { session_expiry => 300 });
    my ($fresh, $sessions) = (0, 0);
    my @got;

    $c->subscribe('shop/#');

    for my $round (1 .. 20) {
        my $p = $s->dialogue;

        main::publish_many($p->http, 'users/u', [$round * 2 - 1]);
        $s->kill_worker('KILL');
        $p = $s->dialogue;
        main::publish_many($p->http, 'users/u', [$round * 2]);

        while (@got < $round * 2) {
            my $m = $c->poll(0.2);

            if ($m) {
                $c->puback($m->{id});
                push @got, $m->{payload} if !@got || $m->{payload} > $got[-1];

            } elsif ($c->closed) {
                $sessions += $c->reconnect(clean => 0)->{session};
                $fresh++;
            }
        }
    }

    $t->say('got ' . main::counted(@got));
    $t->say($fresh == $sessions ? 'resumed each time'
                                : "$sessions of $fresh resumed");
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
got 1..40
resumed each time
