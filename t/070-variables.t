# The room among nginx's own: $push_* in an access log, limit_conn, allow and
# deny in front, the PROXY protocol.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Server;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 12;

own_servers();

my $FORMAT = 'log_format push "$push_product|$push_user|$push_device|'
             . '$push_protocol|$push_reason|$push_messages_in|'
             . '$push_messages_out|$status";'
             . ' access_log {{dir}}/logs/push.log push;';

sub server {
    my ($room, %opt) = @_;

    return Push::Server->new(room => "$FORMAT $room", %opt)->start;
}

# The lines of the log, once there are so many.
sub logged {
    my ($s, $count) = @_;

    return @{eventually("$count lines", sub {
        open my $in, '<', $s->dir . '/logs/push.log' or return;
        my @lines = <$in>;
        chomp @lines;
        return @lines >= $count ? \@lines : undef;
    })};
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: who it was, what it did, and why it ended
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('server { listen {{mqtt}}; push_room; }');
    my $d = $s->dialogue;
    my $n = 0;

    my $c = $d->client(version => 5, timeout => 20, client => 'phone',
                       user => 'shop/alice');
    $c->subscribe('shop/#');
    main::publish_many($d->http, 'users/alice', [1 .. 3]);
    main::receive($c, 3);
    $c->publish('shop/up/x', 'y', qos => 1) for 1 .. 2;
    $c->disconnect(0);
    $t->say((main::logged($s, ++$n))[-1]);

    # a token; closed without a word
    $c = $d->client(version => 4, client => 'pad', user => 'x', timeout => 20,
                    password => main::token('bob'));
    $c->close;
    $t->say((main::logged($s, ++$n))[-1]);

    # before CONNECT
    $c = $d->socket;
    $c->close;
    $t->say((main::logged($s, ++$n))[-1]);

    # refused
    $c = $d->socket(version => 5, timeout => 20);
    $c->connect(client => 'evil', user => 'x', password => 'rubbish');
    $c->expect_close;
    $c->close;
    $t->say((main::logged($s, ++$n))[-1]);

    # a packet that is none
    $c = $d->client(version => 5, timeout => 20, client => 'bad',
                    user => 'shop/carol');
    $c->send_raw("\xf1\0");
    $c->expect('DISCONNECT');
    $c->close;
    $t->say((main::logged($s, ++$n))[-1]);

    # taken over
    my @c = map {
        $d->client(version => 5, timeout => 20, client => 'same',
                   user => 'shop/dan')
    } 1, 2;
    $c[0]->expect('DISCONNECT');
    $c[0]->close;
    $t->say((main::logged($s, ++$n))[-1]);
    $_->close for @c;
    $s->stop;
    return $t->text;
}
--- mqtt_out
shop|alice|phone|5|normal|2|3|200
shop|bob|pad|3.1.1|closed|0|0|200
-|-|-|-|closed|0|0|200
-|-|-|5|denied|0|0|403
shop|carol|bad|5|malformed|0|0|400
shop|dan|same|5|taken_over|0|0|200



=== TEST 2: strange names do not break the log
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('server { listen {{mqtt}}; push_room; }');
    my $c = $s->dialogue->client(version => 5, timeout => 20,
                                 client => "a\"b\\c d|e\xc3\xa9",
                                 user => 'shop/q" x');
    $c->disconnect(0);
    $t->say(main::logged($s, 1));
    $s->stop;
    return $t->text;
}
--- mqtt_out
shop|q\x22 x|a\x22b\x5Cc d|e\xC3\xA9|5|normal|0|0|200



=== TEST 3: limit_conn in front of the room
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('limit_conn_zone $binary_remote_addr zone=a:1m;
                          server { listen {{mqtt}}; limit_conn a 3;
                                   push_room; }');
    my $d = $s->dialogue;
    my @c = map {
        $d->client(version => 5, timeout => 20, client => "d$_",
                   user => 'shop/u')
    } 1 .. 3;

    my $more = $d->socket(version => 5, timeout => 20);
    eval { $more->connect(client => 'd4', user => 'shop/u') };
    $t->say($more->closed ? 'refused' : 'let in');
    $c[0]->ping;
    (shift @c)->disconnect(0);

    # a place is free once nginx has closed the other
    my $next = main::eventually('a place', sub {
        my $c = eval { $d->client(version => 5, timeout => 20, client => 'd4',
                                  user => 'shop/u') };
        $c;
    });
    $t->say($next->show($next->ping));
    $_->close for @c, $next;
    $s->stop;
    return $t->text;
}
--- mqtt_out
refused
PINGRESP



=== TEST 4: deny
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('server { listen {{mqtt}}; deny 127.0.0.1; push_room; }
                          server { listen {{mqtts}}; allow 127.0.0.1; deny all;
                                   push_room; }');
    my $d = $s->dialogue;
    my $c = $d->socket(version => 5, timeout => 20);

    eval { $c->connect(client => 'd', user => 'shop/u') };
    $t->say($c->closed ? 'refused' : 'let in');
    $c = $d->client(port => $s->mqtts_port, version => 5, timeout => 20,
                    client => 'd', user => 'shop/u');
    $t->say($c->show($c->ping));
    $c->disconnect(0);
    $s->stop;
    return $t->text;
}
--- mqtt_out
refused
PINGRESP



=== TEST 5: the PROXY protocol, also in one packet with CONNECT
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(room =>
        'log_format p "$proxy_protocol_addr|$remote_addr|$push_device";
         access_log {{dir}}/logs/push.log p;
         server { listen {{mqtt}} proxy_protocol; set_real_ip_from 127.0.0.1;
                  push_room; }')->start;
    my $d = $s->dialogue;
    my $head = "PROXY TCP4 192.0.2.7 192.0.2.1 5555 1883\r\n";

    my $c = $d->socket(version => 5, timeout => 20);
    $c->send_raw($head);
    $t->say($c->show($c->connect(client => 'one', user => 'shop/u')));
    $c->subscribe('shop/#');
    $d->push('users/u', 'x');
    $t->say(main::receive($c, 1));
    $c->disconnect(0);
    $t->say((main::logged($s, 1))[-1]);

    # header, CONNECT and SUBSCRIBE at once
    require Push::MQTT::Packet;
    $c = $d->socket(version => 5, timeout => 20);
    $c->send_raw($head
        . Push::MQTT::Packet::encode(5, 'CONNECT', client => 'two', clean => 1,
                                     user => 'shop/u', keepalive => 60)
        . Push::MQTT::Packet::encode(5, 'SUBSCRIBE', id => 9,
                                     filters => [['shop/#', 1]]));
    $t->say($c->show($c->expect('CONNACK')), $c->show($c->expect('SUBACK')));
    $c->disconnect(0);
    $t->say((main::logged($s, 2))[-1]);

    # none is refused
    $c = $d->socket(version => 5, timeout => 20);
    eval { $c->connect(client => 'three', user => 'shop/u') };
    $t->say($c->closed ? 'refused' : 'let in');
    $s->stop;
    return $t->text;
}
--- mqtt_out
CONNACK
x
192.0.2.7|192.0.2.7|one
CONNACK
SUBACK id=9 codes=1
192.0.2.7|192.0.2.7|two
refused



=== TEST 6: CONNECT preread, with ssl_preread and a map in front
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('server { listen {{mqtt}}; ssl_preread on;
                                   preread_timeout 5s; push_room; }');
    my $c = $s->dialogue->client(version => 5, timeout => 20, client => 'd',
                                 user => 'shop/u');
    $t->say($c->show($c->subscribe('shop/#')));
    $s->dialogue->push('users/u', 'x');
    $t->say(main::receive($c, 1));
    $c->disconnect(0);
    $s->stop;
    return $t->text;
}
--- mqtt_out
SUBACK id=1 codes=1
x
