# Connections that are online are detached from nginx's stream session, whose
# memory is freed: at their end the access log, the error log and the counters
# say what they would have said, and what counts a connection by its pool goes
# on counting.  The twin of a detached connection is one on a server with a
# "set", which keeps it attached.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Server;
use Test::Nginx::Socket;
use Time::HiRes ();

repeat_each(1);
plan tests => repeat_each() * 20;

own_servers();

our $LOG = 'access_log {{dir}}/logs/push.log push;';

sub server {
    my ($format, $room, %opt) = @_;

    return Push::Server->new(room => "log_format push \"$format\"; $LOG $room",
                             log_level => 'debug', workers => 1, %opt)->start;
}

# The last line of the access log once there are so many.
sub logged {
    my ($s, $count) = @_;

    return eventually("$count lines", sub {
        open my $in, '<', $s->dir . '/logs/push.log' or return;
        my @lines = <$in>;
        chomp @lines;
        return @lines >= $count ? $lines[-1] : undef;
    });
}

sub detached {
    my ($s) = @_;
    my $n = () = $s->log =~ / push detach$/mg;
    return $n;
}

# A client that has done a little of everything, and what it has sent.
sub busy {
    my ($d, $user, %opt) = @_;
    my $c = $d->client(timeout => 20, client => 'phone', user => "shop/$user",
                       %opt);

    $c->subscribe('shop/#');
    publish_many($d->http, "users/$user", [1 .. 3]);
    receive($c, 3);
    $c->publish('shop/up/x', 'y' x 20, qos => 1) for 1 .. 2;
    $c->ping;
    return $c;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: a line of the access log as that of an attached connection
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('$remote_addr|$server_addr|$protocol|$bytes_received|'
                         . '$bytes_sent|$status|$push_product|$push_user|'
                         . '$push_device|$push_protocol|$push_reason|'
                         . '$push_messages_in|$push_messages_out|$pid',
                         'server { listen {{mqtt}}; push_room; }
                          server { listen {{spare}}; set $x 1; push_room; }');
    my $d = $s->dialogue;
    my ($pid) = $s->workers;
    my $n = 0;

    for my $version (5, 4) {
        for my $end (qw(disconnect close reset)) {
            my @lines = map {
                my $c = main::busy($d, 'alice', version => $version,
                                   port => $_);
                $c->$end;
                main::logged($s, ++$n) =~ s/\|$pid$//r;
            } $s->mqtt_port, $s->{spare};

            # ids of messages are not always as long
            if ($version == 5) {
                s/\|1[5-9]\d\|200/|1__|200/ for @lines;
            }

            $t->say($lines[0], $lines[0] eq $lines[1] ? 'same' : $lines[1]);
        }
    }

    $t->say(main::detached($s));
    $s->stop;
    return $t->text;
}
--- mqtt_out
127.0.0.1|127.0.0.1|TCP|134|1__|200|shop|alice|phone|5|normal|2|3
same
127.0.0.1|127.0.0.1|TCP|132|1__|200|shop|alice|phone|5|closed|2|3
same
127.0.0.1|127.0.0.1|TCP|132|1__|200|shop|alice|phone|5|io_error|2|3
same
127.0.0.1|127.0.0.1|TCP|130|70|200|shop|alice|phone|3.1.1|normal|2|3
same
127.0.0.1|127.0.0.1|TCP|128|70|200|shop|alice|phone|3.1.1|closed|2|3
same
127.0.0.1|127.0.0.1|TCP|128|70|200|shop|alice|phone|3.1.1|io_error|2|3
same
6



=== TEST 2: ports, times, numbers; also of IPv6
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('$remote_addr|$remote_port|$server_port|'
                         . '$session_time|$connection',
                         'server { listen {{mqtt}}; listen [::]:{{mqtt}};
                                   push_room; }');
    my $d = $s->dialogue;
    my $n = 0;

    for my $host ('127.0.0.1', '::1') {
        my $class = $host eq '::1' ? 'IO::Socket::IP' : 'IO::Socket::INET';
        my $c = $d->socket(version => 5, timeout => 20, lazy => 1);

        require IO::Socket::IP;
        $c->{socket} = $class->new(PeerAddr => $host, PeerPort => $c->{port})
            or die "connect: $!\n";
        $c->{socket}->blocking(0);
        $c->connect(client => 'd', user => 'shop/u');

        my $port = $c->{socket}->sockport;
        Time::HiRes::sleep(0.3);
        $c->ping;
        $c->reset;

        my ($addr, $from, $to, $time, $number)
            = split /\|/, main::logged($s, ++$n);

        $t->say($addr, $from == $port ? 'port' : "$from, not $port",
                $to == $s->mqtt_port ? 'port' : $to,
                $time >= 0.3 && $time < 15 ? 'time' : $time,
                $s->log =~ /\*$number client \S+ connected/ ? 'number'
                                                            : $number);
    }

    $t->say(main::detached($s));
    $s->stop;
    return $t->text;
}
--- mqtt_out
127.0.0.1
port
port
time
number
::1
port
port
time
number
2



=== TEST 3: the PROXY protocol and realip
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('$remote_addr|$remote_port|$realip_remote_addr|'
                         . '$realip_remote_port|$proxy_protocol_addr|'
                         . '$proxy_protocol_port|$proxy_protocol_server_addr|'
                         . '$proxy_protocol_server_port',
                         'server { listen {{mqtt}} proxy_protocol;
                                   set_real_ip_from 127.0.0.1; push_room; }
                          server { listen {{spare}} proxy_protocol;
                                   push_room; }');
    my $d = $s->dialogue;
    my $n = 0;
    my %head = (
        4 => "PROXY TCP4 192.0.2.7 192.0.2.1 5555 1883\r\n",
        6 => "PROXY TCP6 2001:db8::7 2001:db8::1 5555 1883\r\n",
        none => "PROXY UNKNOWN\r\n",
    );

    for my $port ($s->mqtt_port, $s->{spare}) {
        for my $head (@head{qw(4 6 none)}) {
            my $c = $d->socket(version => 5, timeout => 20, port => $port);

            $c->send_raw($head);
            $c->connect(client => 'one', user => 'shop/u');
            $c->ping;

            my $port = $c->{socket}->sockport;
            $c->reset;
            $t->say(main::logged($s, ++$n) =~ s/\|$port\|/|PORT|/gr);
        }
    }

    my $at = $s->mqtt_port;
    $t->say($s->log =~ /ended: io_error.* client: (192.0.2.7), server: \S+:$at/
            ? $1 : 'no line');
    $t->say(main::detached($s));
    $s->stop;
    return $t->text;
}
--- mqtt_out
192.0.2.7|5555|127.0.0.1|PORT|192.0.2.7|5555|192.0.2.1|1883
2001:db8::7|5555|127.0.0.1|PORT|2001:db8::7|5555|2001:db8::1|1883
127.0.0.1|PORT|127.0.0.1|PORT|-|-|-|-
127.0.0.1|PORT|127.0.0.1|PORT|192.0.2.7|5555|192.0.2.1|1883
127.0.0.1|PORT|127.0.0.1|PORT|2001:db8::7|5555|2001:db8::1|1883
127.0.0.1|PORT|127.0.0.1|PORT|-|-|-|-
192.0.2.7
6



=== TEST 4: TLS that stays with OpenSSL
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('$ssl_protocol|$ssl_server_name|$ssl_session_reused|'
                         . '$push_reason|$push_messages_out',
                         'ssl_certificate {{cert}};
                          ssl_certificate_key {{certkey}};
                          ssl_protocols TLSv1.3;
                          push_tls_release off;
                          server { listen {{mqtts}} ssl; push_room; }
                          server { listen {{spare}} ssl; set $x 1;
                                   push_room; }');
    my $d = $s->dialogue;
    my $n = 0;

    for my $end (qw(disconnect close)) {
        my @lines = map {
            my $c = main::busy($d, 'alice', version => 5, port => $_,
                               tls => 1);
            $c->$end;
            main::logged($s, ++$n);
        } $s->mqtts_port, $s->{spare};

        $t->say($lines[0], $lines[0] eq $lines[1] ? 'same' : $lines[1]);
    }

    $t->say(main::detached($s));
    $s->stop;
    return $t->text;
}
--- mqtt_out
TLSv1.3|localhost|.|normal|3
same
TLSv1.3|localhost|.|closed|3
same
2



=== TEST 5: limit_conn counts connections until they end
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('$limit_conn_status|$push_device',
                         'limit_conn_zone $server_port zone=a:1m;
                          server { listen {{mqtt}}; limit_conn a 2;
                                   push_room; }
                          server { listen {{spare}}; limit_conn a 1;
                                   limit_conn_dry_run on; push_room; }');
    my $d = $s->dialogue;
    my @c = map {
        my $c = $d->client(version => 5, timeout => 20, client => "d$_",
                           user => 'shop/u');
        $c->subscribe('shop/#');
        $c->ping;
        $c;
    } 1, 2;

    my $more = $d->socket(version => 5, timeout => 20);
    eval { $more->connect(client => 'd3', user => 'shop/u') };
    $t->say($more->closed ? 'refused' : 'let in');
    $t->say(main::logged($s, 1));
    (shift @c)->disconnect(0);
    $t->say(main::logged($s, 2));

    my $next = main::eventually('a place', sub {
        eval { $d->client(version => 5, timeout => 20, client => 'd4',
                          user => 'shop/u') };
    });
    $t->say($next->show($next->ping));

    # one in excess, which is only said
    my @dry = map { $d->client(version => 5, timeout => 20, client => "e$_",
                               port => $s->{spare}, user => 'shop/u') } 1, 2;
    $_->ping for @dry;
    (pop @dry)->disconnect(0);
    main::eventually('the line', sub {
        open my $in, '<', $s->dir . '/logs/push.log' or return;
        grep { /^REJECTED_DRY_RUN\|e2$/ } <$in>;
    });
    $s->stop;
    return $t->text;
}
--- mqtt_out
refused
REJECTED|-
PASSED|d1
PINGRESP



=== TEST 6: lines of the error log are about the right connection
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('$connection|$push_device',
                         'server { listen {{mqtt}}; push_room; }',
                         product => 'group_publish on;');
    my $d = $s->dialogue;
    my ($at, %number) = ($s->mqtt_port);

    # each makes the server speak to the other in between
    my ($one, $two) = map {
        my $c = $d->client(version => 5, timeout => 20, client => $_,
                           user => "shop/$_");
        my $port = $c->{socket}->sockport;
        ($number{$_}) = $s->log =~ /\*(\d+) client \S+:$port connected/;
        $c->subscribe('shop/group/g');
        $c;
    } qw(one two);

    $one->publish('shop/group/g', 'x', qos => 1);
    main::receive($two, 1);
    $two->send_raw("\xf1\0");
    $two->expect('DISCONNECT');
    $two->close;
    $one->reset;
    main::logged($s, 2);

    for my $case (['one', 'io_error'], ['two', 'malformed']) {
        my ($name, $why) = @$case;
        my @lines = $s->log =~ /^(.*push: connection ended: $why.*)$/mg;

        $t->say(scalar @lines,
                $lines[0] =~ /: \*$number{$name} push: / ? 'number' : $lines[0],
                $lines[0] =~ /while (.*), client: (\S+), server: \S*:$at$/
                ? "$1, $2" : $lines[0]);
    }

    my @recv = $s->log =~ /: (\*\d+ recv\(\) failed.*)/g;
    $t->say(map { s/\*$number{one} .*? while /NUMBER while /;
                  s/server: \S*:$at/server/; $_ } @recv);
    $t->say(main::detached($s));
    $s->stop;
    return $t->text;
}
--- mqtt_out
1
number
serving a push client, 127.0.0.1
1
number
serving a push client, 127.0.0.1
NUMBER while serving a push client, client: 127.0.0.1, server
2



=== TEST 7: each server's own error log
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('x', 'server { listen {{mqtt}}; push_room;
                                        error_log {{dir}}/logs/one.log info; }
                               server { listen {{spare}}; push_room;
                                        error_log {{dir}}/logs/two.log info; }
                              ');
    my $d = $s->dialogue;
    my @c = map {
        my $c = $d->client(version => 5, timeout => 20, client => "d$_",
                           port => $_, user => 'shop/u');
        $c->ping;
        $c;
    } $s->mqtt_port, $s->{spare};

    $c[0]->disconnect(0);
    $c[1]->close;
    main::logged($s, 2);

    for my $name (qw(one two)) {
        open my $in, '<', $s->dir . "/logs/$name.log" or die "$name: $!\n";
        $t->say(map { /(connection ended: \w+)/ } <$in>);
    }

    $s->stop;
    return $t->text;
}
--- mqtt_out
connection ended: normal
connection ended: closed



=== TEST 8: counters of stub_status
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('x', 'server { listen {{mqtt}}; push_room; }',
                         http => 'location /v1/ { push_center; }
                                  location = /stub { stub_status; }');
    my $d = $s->dialogue;
    my $active = sub {
        my ($n) = $d->http->get('/stub')->{body} =~ /Active connections: (\d+)/;
        $n - 1;
    };
    my @c = map { $d->client(version => 5, timeout => 20, client => "d$_",
                             user => 'shop/u') } 1 .. 5;

    $_->ping for @c;
    $t->say($active->());
    $c[0]->disconnect(0);
    $c[1]->close;
    $c[2]->reset;
    main::eventually('two', sub { $active->() == 2 });
    $_->close for @c;
    main::eventually('none', sub { $active->() == 0 });
    $t->say(main::detached($s));
    $s->stop;
    return $t->text;
}
--- mqtt_out
5
5



=== TEST 9: reload, and a shutdown timeout
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('$push_device|$push_reason|$remote_addr|$status',
                         'server { listen {{mqtt}}; push_room; }',
                         push => 'drain_time 0;');
    my $d = $s->dialogue;
    my @c = map { $d->client(version => 5, timeout => 20, client => "d$_",
                             user => "shop/u$_",
                             props => { session_expiry => 60 }) } 1 .. 3;

    $_->subscribe('shop/#') for @c;
    $s->reload(main => 'worker_shutdown_timeout 1s;', push => 'drain_time 1h;');
    $t->say($_->show($_->expect('DISCONNECT', timeout => 20))) for @c;
    $_->close for @c;
    $s->old_gone(20);
    main::logged($s, 3);

    # not drained in time
    $t->say($_->show($_->reconnect(clean => 0))) for @c;
    $_->ping for @c;
    $s->reload;
    $t->say($_->show($_->expect('DISCONNECT', timeout => 20))) for @c;
    $_->expect_close(20) for @c;
    $s->old_gone(20);
    main::logged($s, 6);
    $t->say($_->show($_->reconnect(clean => 0))) for @c;

    open my $in, '<', $s->dir . '/logs/push.log' or die;
    $t->say(sort map { s/\n//r } <$in>);
    $_->close for @c;
    $s->stop;
    return $t->text;
}
--- mqtt_out
DISCONNECT code=139
DISCONNECT code=139
DISCONNECT code=139
CONNACK session=1
CONNACK session=1
CONNACK session=1
DISCONNECT code=139
DISCONNECT code=139
DISCONNECT code=139
CONNACK session=1
CONNACK session=1
CONNACK session=1
d1|drained|127.0.0.1|200
d1|drained|127.0.0.1|200
d2|drained|127.0.0.1|200
d2|drained|127.0.0.1|200
d3|drained|127.0.0.1|200
d3|drained|127.0.0.1|200



=== TEST 10: what cannot be made again is kept
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('$x|$ssl_preread_protocol|$remote_addr|$push_device',
                         'map $remote_addr $m { default mapped; }
                          server { listen {{mqtt}}; set $x "$m at $msec";
                                   push_room; }
                          server { listen {{spare}}; ssl_preread on;
                                   set $x 2; push_room; }
                          server { listen unix:{{dir}}/room.sock;
                                   set $x 3; push_room; }
                          server { listen unix:{{dir}}/plain.sock;
                                   push_room; }');
    my $d = $s->dialogue;
    my $n = 0;
    my $begin = Time::HiRes::time();

    my $c = $d->client(version => 5, timeout => 20, client => 'a',
                       user => 'shop/u');
    Time::HiRes::sleep(0.5);
    $c->disconnect(0);
    $t->say(main::logged($s, ++$n) =~ s/^mapped at ([\d.]+)/
            $1 - $begin < 0.4 ? 'mapped then' : $&/er);

    $c = $d->client(version => 5, timeout => 20, client => 'b',
                    user => 'shop/u', port => $s->{spare});
    $c->ping;
    $c->disconnect(0);
    $t->say(main::logged($s, ++$n), main::detached($s));

    require IO::Socket::UNIX;
    require Push::MQTT::Packet;

    for my $name (qw(room plain)) {
        my $u = IO::Socket::UNIX->new(Peer => $s->dir . "/$name.sock")
            or die "$name: $!\n";

        syswrite $u, Push::MQTT::Packet::encode(5, 'CONNECT', client => $name,
                                                clean => 1, user => 'shop/u',
                                                keepalive => 60);
        sysread $u, my $answer, 1;

        # with a register that answers later it is detached with the next packet
        syswrite $u, Push::MQTT::Packet::encode(5, 'PINGREQ');
        Time::HiRes::sleep(0.3);
        close $u;
        $t->say(main::logged($s, ++$n));
    }

    $t->say(main::detached($s));
    $s->stop;
    return $t->text;
}
--- mqtt_out
mapped then|-|127.0.0.1|a
2|-|127.0.0.1|b
0
3|-|unix:|room
|-|unix:|plain
1
