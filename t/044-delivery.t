# What reaches a device, when, in which order and how often.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Server;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 52;

own_servers();

sub server {
    return Push::Server->new(
        http => 'keepalive_requests 1000000; location /v1/ { push_center; }
                 location = /metrics { push_metrics; }', @_)->start;
}

# A device of MQTT 5: session of an hour, unless told otherwise.
sub device {
    my ($s, $user, $device, %props) = @_;
    my $clean = delete $props{clean} // 1;

    return $s->dialogue->client(version => 5, timeout => 20, clean => $clean,
                                user => "shop/$user", client => $device,
                                props => { session_expiry => 3600, %props });
}

sub acked {
    my ($s, $count) = @_;

    eventually("$count acknowledgements", sub {
        metric($s, 'ngx_push_messages_acked_total') == $count;
    });
}

# "payload:dup:id" of packets
sub lines { CORE::join(' ', map { "$_->{payload}:$_->{dup}:$_->{id}" } @_) }

# in the scenario of the wills
allow_alert(qr/exited on signal 9/);

no_shuffle();
run_tests();

__DATA__

=== TEST 1: messages from before the first bind, in order
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();

    main::publish_many($s->dialogue->http, 'users/u', [1 .. 200]);
    main::publish_many($s->dialogue->http, 'broadcast', ['not for the new']);
    main::publish_many($s->dialogue->http, 'groups/g', ['nor this']);

    my @c = map {
        $s->dialogue->client(version => $_, timeout => 20, user => 'shop/u',
                             client => "d$_")
    } 4, 5;

    # what the devices known have all acknowledged is no longer there for one
    # that is not
    $_->subscribe('shop/#', 'shop/group/g') for @c;
    $t->say(map { main::counted(main::receive($_, 200)) } @c);
    $_->expect_nothing(0.1) for @c;
    main::acked($s, 400);

    # cursors may be written behind
    main::eventually('the end', sub {
        $s->dialogue->http->get('/v1/shop/users/u')->{json}{queued} == 0;
    });
    push @c, main::device($s, 'u', 'd6');
    $c[2]->subscribe('shop/#');
    $s->dialogue->push('users/u', 'new');
    $t->say(map { main::receive($_, 1) } @c);
    $_->close for @c;
    $s->stop;
    return $t->text;
}
--- mqtt_out
1..200
1..200
new
new
new



=== TEST 2: one, five, and push_window in flight
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(room => 'server { listen {{mqtt}}; push_room;
                                           push_window 8; }');

    for my $max (1, 5, 8, 1000, undef) {
        my $user = 'u' . ($max // 0);
        my $c = main::device($s, $user, 'd',
                             $max ? (receive_maximum => $max) : ());

        main::publish_many($s->dialogue->http, "users/$user", [1 .. 30]);
        my $window = !$max || $max > 8 ? 8 : $max;

        $c->subscribe('shop/#');
        my @in = main::receive($c, $window, packets => 1, ack => 0);
        $c->expect_nothing(0.1);

        # each acknowledgement, also out of order, lets one follow
        my @got = map { $_->{payload} } @in;
        while (@got < 30) {
            my $p = splice @in, @in > 1, 1;
            $c->puback($p->{id});
            my ($next) = main::receive($c, 1, packets => 1, ack => 0);
            push @in, $next;
            push @got, $next->{payload};
            $c->expect_nothing(0.01) if @got < 12;
        }
        $t->say("$window: " . main::counted(@got));
        $c->close;
    }

    $s->stop;
    return $t->text;
}
--- mqtt_out
1: 1..30
5: 1..30
8: 1..30
8: 1..30
8: 1..30



=== TEST 3: 70000 messages to one device: packet ids wrap
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(zone => '64m', product => 'inbox_limit 100000;',
                         room => 'server { listen {{mqtt}}; push_room;
                                           push_window 500; }',
                         log_level => 'error');
    my $c = main::device($s, 'u', 'd', receive_maximum => 500);
    my $h = $s->dialogue->http;
    my ($n, $wrong, $acks) = (0, 0, '');

    $c->subscribe('shop/#');

    # the first stays in flight, its id must not come again
    for my $batch (0 .. 69) {
        main::flood($h, 'users/u', $batch * 1000 + 1, $batch * 1000 + 1000);

        for (1 .. 1000) {
            my $p = $c->poll($n == 65535 ? 0.3 : 20) or last;

            $wrong++ if $p->{payload} != ++$n || $p->{id} != $n || $p->{dup};
            $acks .= pack 'CCn', 0x40, 2, $p->{id} if $n > 1;

            if ($n % 50 == 0 || $n == 65535) {
                $c->send_raw($acks);
                $acks = '';
            }
        }
    }

    $t->say("stands after $n, wrong $wrong");
    $c->puback(1);

    while ($n < 70000) {
        my ($p) = main::receive($c, 1, packets => 1);
        $wrong++ if $p->{payload} != ++$n || $p->{id} != $n - 65535;
    }

    $t->say("wrong $wrong");
    main::acked($s, 70000);
    $c->expect_nothing(0.05);
    $c->close;
    $s->stop;
    return $t->text;
}
--- timeout: 60
--- mqtt_out
stands after 65535, wrong 0
wrong 0



=== TEST 4: acknowledgements out of order, and some that are for nothing
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::device($s, 'u', 'd', receive_maximum => 4);

    $c->subscribe('shop/#');
    main::publish_many($s->dialogue->http, 'users/u', [1 .. 8]);
    my @p = main::receive($c, 4, packets => 1, ack => 0);

    # twice the same, and one that was never sent
    $c->puback($_) for $p[2]{id}, $p[2]{id}, 4711;
    $t->say(main::receive($c, 1, ack => 0));
    $c->expect_nothing(0.1);
    my $acked = main::device_of($s, 'u', 'd')->{acked_up_to};
    $t->say('acknowledged up to ' . ($acked // 'nothing'));
    $c->puback($_->{id}) for @p[1, 0];
    $t->say(main::receive($c, 2, ack => 0));
    main::acked($s, 3);
    ($acked) = main::device_of($s, 'u', 'd')->{acked_up_to} =~ /-(\d+)$/;
    $t->say("acknowledged up to $acked");
    $t->say('unknown ' . main::metric($s, 'ngx_push_drops_total',
                                      qr/unknown_ack/));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
5
acknowledged up to nothing
6
7
acknowledged up to 3
unknown 2



=== TEST 5: what was in flight comes again with DUP and its id, then the rest
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();

    for my $version (4, 5) {
        my $c = $s->dialogue->client(
            version => $version, timeout => 20, clean => 0,
            user => "shop/u$version", client => 'd',
            $version == 5 ? (props => { session_expiry => 60,
                                        receive_maximum => 4 }) : ());
        $c->subscribe('shop/#');
        main::publish_many($s->dialogue->http, "users/u$version", [1 .. 4]);
        my @p = main::receive($c, 4, packets => 1, ack => 0);
        $c->puback($p[1]{id});
        $c->puback($p[3]{id});
        main::acked($s, $version == 4 ? 2 : 7);
        $c->reset;
        main::publish_many($s->dialogue->http, "users/u$version", [5]);

        $c->reconnect(clean => 0);
        $t->say(main::lines(main::receive($c, 3, packets => 1, ack => 0)));

        # and once more, from the same state
        $c->reset;
        $c->reconnect(clean => 0);
        $t->say(main::lines(main::receive($c, 3, packets => 1)));
        $c->expect_nothing(0.05);
        main::acked($s, $version == 4 ? 5 : 10);
        $c->disconnect(0);
    }

    $s->stop;
    return $t->text;
}
--- mqtt_out
1:1:1 3:1:3 5:0:5
1:1:1 3:1:3 5:1:5
1:1:1 3:1:3 5:0:5
1:1:1 3:1:3 5:1:5



=== TEST 6: Clean Start binds anew and gets what its cursor has not passed
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::device($s, 'u', 'd', session_expiry => 0);

    $c->subscribe('shop/#', 'shop/group/g');
    main::publish_many($s->dialogue->http, 'users/u', [1 .. 5]);
    my @p = main::receive($c, 5, packets => 1, ack => 0);
    $c->puback($_->{id}) for @p[0, 1, 4];
    main::acked($s, 3);
    $c->disconnect(0);
    main::publish_many($s->dialogue->http, 'users/u', [6]);
    main::publish_many($s->dialogue->http, 'broadcast', ['all']);

    $c->reconnect(clean => 1);
    $c->expect_nothing(0.1);
    $c->subscribe('shop/#');

    # 5 was acknowledged behind a gap: it may come again, as new
    my @got = sort(main::receive_all($c, 'all'));
    push @got, main::receive($c, 1) while !grep { $_ eq '6' } @got;
    $t->say(CORE::join(' ', grep { $_ ne '5' } sort @got));
    $c->expect_nothing(0.05);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
3 4 6



=== TEST 7: two devices of one user each get all, and the queue empties after both
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my ($a, $b) = main::devices($s, 2, version => 5, user => sub { 'u' });

    $_->subscribe('shop/#') for $a, $b;
    my @ids = main::publish_many($s->dialogue->http, 'users/u', [1 .. 50]);
    my $state = sub {
        my $h = $s->dialogue->http;
        my $u = $h->get('/v1/shop/users/u')->{json};
        my $m = $h->get("/v1/shop/users/u/messages/$ids[0]")->{json};
        return "queued $u->{queued}, first $m->{state}";
    };

    $t->say(main::counted(main::receive($a, 50)));
    main::acked($s, 50);
    $t->say($state->());
    $t->say(main::counted(main::receive($b, 50)));
    main::acked($s, 100);

    # cursors may be written behind
    main::eventually('the end', sub { $state->() =~ /^queued 0, / });
    $t->say($state->());
    $_->close for $a, $b;
    $s->stop;
    return $t->text;
}
--- mqtt_out
1..50
queued 50, first sent
1..50
queued 0, first acked



=== TEST 8: consume_once: the first acknowledgement removes it for all
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'consume_once on;');
    my $a = main::device($s, 'u', 'a');
    my $b = main::device($s, 'u', 'b');

    $_->subscribe('shop/#') for $a, $b;
    $b->disconnect(0);
    main::publish_many($s->dialogue->http, 'users/u', [1 .. 3]);
    my @p = main::receive($a, 3, packets => 1, ack => 0);
    $a->puback($_->{id}) for @p[0, 1];
    main::acked($s, 2);

    $b->reconnect(clean => 0);
    $t->say(main::receive($b, 1, ack => 0));
    $b->expect_nothing(0.1);
    $a->puback($p[2]{id});
    main::acked($s, 3);

    # it is gone for the other, and what comes next is not
    $b->reset;
    $b->reconnect(clean => 0);
    $b->expect_nothing(0.1);
    $s->dialogue->push('users/u', 4);
    $t->say(main::receive($b, 1), main::receive($a, 1));
    $_->close for $a, $b;
    $s->stop;
    return $t->text;
}
--- mqtt_out
3
4
4



=== TEST 9: TTL: expired ones do not come, the rest counts down
--- skip_eval: 2: Push::Test::embedded('Redis counts what expired with the next save')
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'message_ttl 1000 max=5000;');
    my $d = $s->dialogue;

    $d->push('users/u', 'short', TTL => 1);
    $d->push('users/u', 'default');
    $d->push('users/u', 'long', TTL => 100);
    $d->push('users/u', 'cut', TTL => 1000000);
    select undef, undef, undef, 2.1;

    my $c = main::device($s, 'u', 'd');
    $c->subscribe('shop/#');
    my %left = (default => 1000, long => 100, cut => 5000);
    for my $p (main::receive($c, 3, packets => 1)) {
        my $gone = $left{$p->{payload}} - $p->{props}{message_expiry};

        # two seconds have passed, on a slow machine some more
        $t->say("$p->{payload} "
                . ($gone >= 1 && $gone < 20 ? 'counted down' : "by $gone"));
    }
    $c->expect_nothing(0.05);
    $t->say('expired ' . main::metric($s, 'ngx_push_drops_total',
                                      qr/"expired"/));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
default counted down
long counted down
cut counted down
expired 1



=== TEST 10: a message that expires in flight is not redelivered, and is passed
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::device($s, 'u', 'd', receive_maximum => 2);
    my $d = $s->dialogue;

    $c->subscribe('shop/#');
    $d->push('users/u', 1, TTL => 2);
    $d->push('users/u', 2, TTL => 600);
    $d->push('users/u', 3, TTL => 2);
    $d->push('users/u', 4, TTL => 600);
    $t->say(main::lines(main::receive($c, 2, packets => 1, ack => 0)));
    $c->reset;
    main::eventually('expiry', sub {
        main::metric($s, 'ngx_push_drops_total', qr/"expired"/) == 2;
    });
    $c->reconnect(clean => 0);
    $t->say(main::lines(main::receive($c, 2, packets => 1)));
    $c->expect_nothing(0.1);
    main::eventually('an empty queue', sub {
        $d->http->get('/v1/shop/users/u')->{json}{queued} == 0;
    });
    my $dev = main::device_of($s, 'u', 'd');
    $t->say("in flight $dev->{in_flight}");
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
1:0:1 2:0:2
2:1:2 4:0:3
in flight 0



=== TEST 11: inbox_limit ends the oldest, and counts them
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'inbox_limit 5; group_limit 3;
                                     broadcast_limit 2;');
    my $c = main::device($s, 'u', 'd');

    $c->subscribe('shop/#', 'shop/group/g');
    $c->disconnect(0);
    my @ids = main::publish_many($s->dialogue->http, 'users/u', [1 .. 12]);
    main::publish_many($s->dialogue->http, 'groups/g', [21 .. 26]);
    main::publish_many($s->dialogue->http, 'broadcast', [31 .. 36]);
    $t->say('limit ' . main::metric($s, 'ngx_push_drops_total', qr/"limit"/));
    my $m = $s->dialogue->http->get("/v1/shop/users/u/messages/$ids[0]");
    $t->say("first $m->{json}{state}");
    $c->reconnect(clean => 0);
    $t->say(main::counted(sort { $a <=> $b } main::receive($c, 10)));
    $c->expect_nothing(0.05);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
limit 14
first ended
8..12, 24..26, 35..36



=== TEST 12: the limit passes what is in flight
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'inbox_limit 3;');
    my $c = main::device($s, 'u', 'd', receive_maximum => 2);

    $c->subscribe('shop/#');
    main::publish_many($s->dialogue->http, 'users/u', [1 .. 2]);
    my @p = main::receive($c, 2, packets => 1, ack => 0);
    main::publish_many($s->dialogue->http, 'users/u', [3 .. 9]);
    $c->puback($_->{id}) for @p;
    $t->say(main::counted(main::receive($c, 3)));
    $c->expect_nothing(0.05);

    # the same with a reconnect: what is gone does not come again
    main::publish_many($s->dialogue->http, 'users/u', [11 .. 12]);
    main::receive($c, 2, ack => 0);
    $c->reset;
    main::publish_many($s->dialogue->http, 'users/u', [13 .. 19]);
    $c->reconnect(clean => 0);
    $t->say(main::counted(main::receive($c, 3)));
    $c->expect_nothing(0.05);
    my $d = main::device_of($s, 'u', 'd');
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
7..9
17..19



=== TEST 13: subscription ids, content type, the property id
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $d = $s->dialogue;
    my $c = main::device($s, 'u', 'd');

    $c->subscribe('shop/#', { subscription_id => 7 });
    $c->subscribe('shop/group/g', { subscription_id => 268435455 });
    my $answer = $d->push('users/u', '{}', 'Content-Type' => 'application/json');
    my ($p) = main::receive($c, 1, packets => 1);

    $t->say("ids $p->{props}{subscription_id}, $p->{props}{content_type}");
    my %user = map { @$_ } @{$p->{props}{user}};
    $t->say($user{id} eq $answer->{json}{id} ? 'same id' : 'other id');

    $d->push('groups/g', 'g');
    ($p) = main::receive($c, 1, packets => 1);
    $t->say("ids $p->{props}{subscription_id}, "
            . ($p->{props}{content_type} // 'no type'));

    # subscribed again without one: it has none
    $c->subscribe('shop/#');
    $d->push('users/u', 'x', 'Content-Type' => 'text/plain; charset=utf-8');
    ($p) = main::receive($c, 1, packets => 1);
    $t->say('ids ' . ($p->{props}{subscription_id} // 'none')
            . ", $p->{props}{content_type}");
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
ids 7, application/json
same id
ids 268435455, no type
ids none, text/plain; charset=utf-8



=== TEST 14: No Local, and properties of a PUBLISH are forwarded
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'group_publish on;');
    my ($a, $b) = map { main::device($s, $_, 'd') } qw(a b);

    $a->subscribe(['shop/group/g', 1 | 4]);
    $b->subscribe('shop/group/g');
    my $ack = $a->publish('shop/group/g', 'from a', qos => 1,
                          props => { content_type => 'text/x',
                                     correlation_data => 'cd',
                                     response_topic => 'shop/group/r',
                                     payload_format => 1,
                                     user => [['k', 'v'], ['k', 'w']] });
    $t->say($a->show($ack));
    my ($p) = main::receive($b, 1, packets => 1);
    $t->say($p->{payload}, CORE::join(' ', @{$p->{props}}{
            qw(content_type correlation_data response_topic payload_format)}));
    $t->say(map { "$_->[0]=$_->[1]" } grep { $_->[0] eq 'k' }
            @{$p->{props}{user}});
    $b->publish('shop/group/g', 'from b', qos => 1);
    $t->say(main::receive($a, 1), main::receive($b, 1));
    $_->expect_nothing(0.05), $_->close for $a, $b;
    $s->stop;
    return $t->text;
}
--- mqtt_out
PUBACK id=2
from a
text/x cd shop/group/r 1
k=v
k=w
from b
from b



=== TEST 15: QoS 0 and 1, of the message and of the subscription
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::device($s, 'u', 'd');
    my $d = $s->dialogue;

    $t->say($c->show($c->subscribe(['shop/#', 0])));
    $d->push('users/u', 'a');
    $d->push('users/u', 'b', QoS => 0);
    $t->say(map { "$_->{payload} qos=$_->{qos}" }
            main::receive($c, 2, packets => 1));
    $t->say($c->show($c->subscribe(['shop/#', 1])));
    $d->push('users/u', 'c');
    $d->push('users/u', 'd', QoS => 0);
    $t->say(map { "$_->{payload} qos=$_->{qos}" }
            main::receive($c, 2, packets => 1));

    # sent once: nothing comes again, but what was sent at QoS 1 unacknowledged
    $d->push('users/u', 'e');
    $d->push('users/u', 'f', QoS => 0);
    main::receive($c, 2, ack => 0);
    $c->reset;
    $c->reconnect(clean => 0);
    $t->say(map { "$_->{payload} dup=$_->{dup}" }
            main::receive($c, 1, packets => 1));
    $c->expect_nothing(0.1);

    # QoS 2 is granted as 1
    $t->say($c->show($c->subscribe(['shop/group/g', 2])));

    # QoS 0 does wait for who is offline
    $c->disconnect(0);
    $d->push('users/u', 'g', QoS => 0);
    $c->reconnect(clean => 0);
    $t->say(map { "$_->{payload} qos=$_->{qos}" }
            main::receive($c, 1, packets => 1));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
SUBACK id=1 codes=0
a qos=0
b qos=0
SUBACK id=2 codes=1
c qos=1
d qos=0
e dup=1
SUBACK id=3 codes=1
g qos=0



=== TEST 16: TTL 0 is for those who are there
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::device($s, 'u', 'd');
    my $d = $s->dialogue;

    $c->subscribe('shop/#', 'shop/group/g');
    $c->disconnect(0);
    main::eventually('it to go', sub { !defined main::worker_of($s, 'u', 'd') });
    $t->say(map { $d->push($_, 'x', TTL => 0)->{json}{reached} }
            'users/u', 'groups/g', 'broadcast', 'users/nobody');
    $c->reconnect(clean => 0);
    $c->expect_nothing(0.2);
    $t->say(map { $d->push($_, 'y', TTL => 0)->{json}{reached} }
            'users/u', 'groups/g', 'broadcast');
    my @got = main::receive($c, 3, packets => 1);
    $t->say(map { "$_->{topic} qos=$_->{qos}"
                  . ($_->{props}{user} ? ' id' : '') }
            sort { $a->{topic} cmp $b->{topic} } @got);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
0
0
0
0
1
1
1
shop/broadcast qos=0
shop/group/g qos=0
shop/inbox qos=0



=== TEST 17: wills: a broken connection, not a DISCONNECT, and not one taken over
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'group_publish on;');
    my $w = main::device($s, 'watcher', 'w');
    my $connect = sub {
        my ($device, %will) = @_;
        return $s->dialogue->client(
            version => 5, timeout => 20, user => 'shop/u', client => $device,
            props => { session_expiry => 60 },
            will => { topic => 'shop/group/g', payload => "will of $device",
                      qos => 1, %will });
    };

    $w->subscribe('shop/group/g');

    $connect->('a')->reset;
    $t->say(main::receive($w, 1));
    $connect->('b')->disconnect(0);
    $connect->('c')->disconnect(4);
    $t->say(main::receive($w, 1));

    # of a protocol error
    my $e = $connect->('e', props => { content_type => 'text/w' });
    $e->send_raw("\xf0\0");
    my ($p) = main::receive($w, 1, packets => 1);
    $t->say("$p->{payload} $p->{props}{content_type}");

    # 3.1.1
    my $old = $s->dialogue->client(
        version => 4, user => 'shop/u', client => 'o', timeout => 20,
        will => { topic => 'shop/group/g', payload => 'will of o', qos => 0 });
    $old->reset;
    $t->say(main::receive($w, 1));
    $w->expect_nothing(0.1);
    $w->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
will of a
will of c
will of e text/w
will of o



=== TEST 18: will delay: a device that is back in time has no will published
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'group_publish on;');
    my $w = main::device($s, 'watcher', 'w');
    my $connect = sub {
        my ($device, $delay, $expiry) = @_;
        return $s->dialogue->client(
            version => 5, timeout => 20, user => 'shop/u', client => $device,
            props => { session_expiry => $expiry },
            will => { topic => 'shop/group/g', payload => "will of $device",
                      qos => 1, props => { will_delay => $delay } });
    };

    $w->subscribe('shop/group/g');

    my $back = $connect->('back', 8, 60);
    my $late = $connect->('late', 2, 60);
    my $ends = $connect->('ends', 600, 1);
    $_->reset for $back, $late, $ends;
    $t->say(sort(main::receive($w, 2)));

    # a new connection without a will
    delete $back->{connect}{will};
    $t->say($back->show($back->reconnect(clean => 0)));

    # after the delay of the one that came back
    my $mark = $connect->('mark', 7, 60);
    $mark->reset;
    $t->say(main::receive($w, 1));
    $_->close for $w, $back;
    $s->stop;
    return $t->text;
}
--- mqtt_out
will of ends
will of late
CONNACK session=1
will of mark



=== TEST 19: wills of a killed worker
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'group_publish on;');
    my @pids = $s->workers;
    my $w = main::only($s, $pids[1], sub { main::device($s, 'watcher', 'w') });

    $w->subscribe('shop/group/g');

    my @c = map {
        my $delay = $_;
        main::only($s, $pids[0], sub {
            $s->dialogue->client(
                version => 5, timeout => 20, user => 'shop/u',
                client => "d$delay", props => { session_expiry => 60 },
                will => { topic => 'shop/group/g', payload => "after $delay",
                          qos => 1, props => { will_delay => $delay } });
        });
    } 0, 2;

    $s->kill_worker('KILL', 0);
    $t->say(main::receive($w, 2));
    $w->expect_nothing(0.1);
    $_->close for $w, @c;
    $s->stop;
    return $t->text;
}
--- mqtt_out
after 0
after 2



=== TEST 20: payloads of 256k, up to the limit and not over it
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(zone => '64m',
                         product => 'payload_limit 256k; group_publish on;',
                         room => 'server { listen {{mqtt}}; push_room;
                                           push_max_packet 300k; }');
    my $c = main::device($s, 'u', 'd');
    my $d = $s->dialogue;
    my $big = CORE::join '', map { pack 'N', $_ } 1 .. 65536;

    $c->subscribe('shop/#', 'shop/group/g');
    $t->say(map { $d->push('users/u', $_)->{status} }
            $big, substr($big, 1), $big . 'x', '', "\0");
    $t->say(map { $_ eq $big ? 'whole' : $_ eq substr($big, 1) ? 'less one'
                  : length } main::receive($c, 4));

    # and up
    $t->say($c->show($c->publish('shop/group/g', $big, qos => 1)));
    my ($got) = main::receive($c, 1);
    $t->say($got eq $big ? 'whole' : 'broken');
    $t->say($c->show($c->publish('shop/group/g', $big . 'x', qos => 1)));
    $c->expect_nothing(0.05);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
201
201
413
201
201
whole
less one
0
1
PUBACK id=2
whole
PUBACK code=151 id=3



=== TEST 21: a message over the client's Maximum Packet Size is left out
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::device($s, 'u', 'd', maximum_packet_size => 200,
                         receive_maximum => 2);
    my $d = $s->dialogue;

    $c->subscribe('shop/#');
    $d->push('users/u', $_) for 'a', 'x' x 300, 'y' x 300, 'z' x 300, 'b';
    $t->say(main::receive($c, 2));
    main::eventually('an empty queue', sub {
        $d->http->get('/v1/shop/users/u')->{json}{queued} == 0;
    });
    $t->say('left out ' . main::metric($s, 'ngx_push_drops_total',
                                       qr/packet_size/));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
a
b
left out 3



=== TEST 22: unbind keeps the cursor, leaving a group forgets it
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::device($s, 'u', 'd');
    my $d = $s->dialogue;

    $c->subscribe('shop/#', 'shop/group/g');
    $t->say($c->show($c->unsubscribe('shop/#', 'shop/group/g', 'shop/inbox')));
    $d->push('users/u', 'inbox');
    $d->push('broadcast', 'all');
    $d->push('groups/g', 'missed');
    $c->expect_nothing(0.2);
    $c->subscribe('shop/#', 'shop/group/g');
    $t->say(sort(main::receive($c, 2)));
    $c->expect_nothing(0.1);

    # in flight when it unbinds: the acknowledgement still counts
    $d->push('users/u', 'one');
    my ($p) = main::receive($c, 1, packets => 1, ack => 0);
    $c->unsubscribe('shop/#');
    $c->puback($p->{id});
    main::acked($s, 3);
    $c->subscribe('shop/#');
    $c->expect_nothing(0.1);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
UNSUBACK id=2 codes=0,0,17
all
inbox



=== TEST 23: bound twice, by shop/# and shop/inbox: each message once
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::device($s, 'u', 'd');
    my $d = $s->dialogue;

    $c->subscribe('shop/#', { subscription_id => 1 });
    $c->subscribe('shop/inbox', 'shop/broadcast', { subscription_id => 2 });
    $d->push('users/u', 'a');
    $d->push('broadcast', 'b');
    $t->say(sort map { "$_->{payload} of $_->{props}{subscription_id}" }
            main::receive($c, 2, packets => 1));
    $c->expect_nothing(0.1);
    $c->unsubscribe('shop/#');
    $d->push('users/u', 'c');
    $t->say(main::receive($c, 1));
    $c->unsubscribe('shop/inbox', 'shop/broadcast');
    $d->push('users/u', 'd');
    $c->expect_nothing(0.1);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
a of 1,2
b of 1,2
c



=== TEST 24: a zone that is full refuses with 507, and recovers
--- skip_eval: 2: Push::Test::embedded('a copy needs no room to be saved')
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(zone => '4m',
                         product => 'payload_limit 64k; inbox_limit 100000;');
    my $d = $s->dialogue;
    my $c = main::device($s, 'u', 'd');
    my ($n, $status) = (0);

    $c->subscribe('shop/#');
    $c->disconnect(0);

    for (1 .. 200) {
        $status = $d->push('users/u', 'x' x 60000)->{status};
        last if $status != 201;
        $n++;
    }
    $t->say($status, $n > 30 ? 'many' : "only $n");

    # for who is there it is still possible to drain it
    $c->reconnect(clean => 0);
    my @got = main::receive($c, $n);
    $t->say(scalar(grep { length == 60000 } @got) == $n ? 'all' : 'broken');
    main::eventually('room', sub {
        $d->push('users/u', 'x' x 60000)->{status} == 201;
    });
    main::receive($c, 1);
    main::acked($s, $n + 1);
    $t->say('dropped ' . (main::metric($s, 'ngx_push_drops_total',
                                       qr/zone_full/) > 0 ? 'counted' : 'no'));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
507
many
all
dropped counted



=== TEST 25: many groups, one window, order in each
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::device($s, 'u', 'd', receive_maximum => 3);
    my $h = $s->dialogue->http;
    my %got;

    $c->subscribe('shop/#', map { "shop/group/g$_" } 1 .. 10);
    for my $round (1 .. 10) {
        main::publish_many($h, "groups/g$_", [$round]) for 1 .. 10;
        main::publish_many($h, 'users/u', [$round]);
        main::publish_many($h, 'broadcast', [$round]);
    }
    for my $p (main::receive($c, 120, packets => 1)) {
        push @{$got{$p->{topic}}}, $p->{payload};
    }
    $t->say(scalar keys %got);
    $t->say(grep { $_ ne '1..10' } map { main::counted(@$_) } values %got);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
12



=== TEST 26: resumed with a smaller Maximum Packet Size: all but the large come
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(room => 'server { listen {{mqtt}}; push_room;
                                           push_window 50; }');
    my $c = main::device($s, 'u', 'd', receive_maximum => 40);

    $c->subscribe('shop/#');
    main::publish_many($s->dialogue->http, 'users/u',
                       [map { $_ < 4 ? 'x' x 500 : $_ } 1 .. 40]);
    main::receive($c, 40, ack => 0);
    $c->reset;
    $c->reconnect(clean => 0, props => { session_expiry => 3600,
                                         receive_maximum => 40,
                                         maximum_packet_size => 300 });
    main::publish_many($s->dialogue->http, 'users/u', [41]);
    my @got = main::receive($c, 38, packets => 1);
    $t->say(main::counted(map { $_->{payload} } @got),
            'dup ' . scalar grep { $_->{dup} } @got);
    $c->expect_nothing(0.05);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
4..41
dup 37
