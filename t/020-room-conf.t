# The directives of the room: what is taken, what is refused and where, and
# the variables of the access log.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 36;

our $dir = test_dir();

no_long_string();
run_tests();

__DATA__

=== TEST 1: all directives, in stream and in server
--- main_config
stream {
    push_keepalive 5s 10m;
    push_window 10;
    server {
        listen $TEST_NGINX_MQTT_PORT;
        push_room;
        push_keepalive 1s 65535s;
        push_window 65535;
        push_connect_timeout 1s;
        push_send_timeout 1h;
        push_max_packet 1m;
        push_topic_alias_max 0;
    }
}
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->socket(version => 5);
    my $p = $c->connect(client => 'd', user => 'shop/u', keepalive => 0)
              ->{props};
    $t->say(map { "$_=" . ($p->{$_} // 'none') }
            qw(server_keep_alive maximum_packet_size topic_alias_maximum));
    return $t->text;
}
--- mqtt_out
server_keep_alive=65535
maximum_packet_size=1048576
topic_alias_maximum=none


=== TEST 2: the push block may come after
--- main_config
stream { server { listen $TEST_NGINX_MQTT_PORT; push_room; } }
push {
    zone 16m;
    product shop { anonymous on; }
}
--- mqtt eval
sub {
    my ($t) = @_;
    $t->client(client => 'd', user => 'shop/u');
    return 'in';
}
--- mqtt_out
in


=== TEST 3: no push block
--- push: none
--- must_die
--- error_log eval
qr/"push_room" needs a "push" block in \S+nginx.conf:\d+/


=== TEST 4: keep alive: bounds in the wrong order
--- room: push_room; push_keepalive 60s 10s;
--- must_die
--- error_log
"push_keepalive" directive must be two times between 1 and 65535 seconds, the smaller one first


=== TEST 5: keep alive: zero
--- room: push_room; push_keepalive 0 10s;
--- must_die
--- error_log
"push_keepalive" directive must be two times


=== TEST 6: keep alive: too long for MQTT
--- room: push_room; push_keepalive 1s 65536s;
--- must_die
--- error_log
"push_keepalive" directive must be two times


=== TEST 7: keep alive: not a time
--- room: push_room; push_keepalive 1s x;
--- must_die
--- error_log
"push_keepalive" directive invalid value


=== TEST 8: keep alive twice
--- room: push_room; push_keepalive 1s 2s; push_keepalive 1s 2s;
--- must_die
--- error_log
"push_keepalive" directive is duplicate


=== TEST 9: window 0
--- room: push_room; push_window 0;
--- must_die
--- error_log
push_window


=== TEST 10: window too large
--- room: push_room; push_window 65536;
--- must_die
--- error_log
push_window


=== TEST 11: connect timeout too short
--- room: push_room; push_connect_timeout 10ms;
--- must_die
--- error_log
push_connect_timeout


=== TEST 12: send timeout too long
--- room: push_room; push_send_timeout 2h;
--- must_die
--- error_log
push_send_timeout


=== TEST 13: packet size too small
--- room: push_room; push_max_packet 100;
--- must_die
--- error_log
push_max_packet


=== TEST 14: too many topic aliases
--- room: push_room; push_topic_alias_max 1025;
--- must_die
--- error_log
push_topic_alias_max


=== TEST 15: push_room twice
--- room: push_room; push_room;
--- must_die
--- error_log
"push_room" directive is duplicate


=== TEST 16: push_room takes no argument
--- room: push_room on;
--- must_die
--- error_log
invalid number of arguments in "push_room" directive


=== TEST 17: variables of the access log
--- main_config eval
'stream {
    log_format push "$push_product|$push_user|$push_device|$push_protocol|'
  . '$push_reason|$push_messages_in|$push_messages_out|$status";
    access_log ' . $main::dir . '/stream.log push;
    server { listen $TEST_NGINX_MQTT_PORT; push_room; }
}'
--- mqtt eval
sub {
    my ($t) = @_;

    my $c = $t->client(client => 'dev', user => 'shop/anna', version => 5);
    $c->subscribe('shop/#');
    $t->push('users/anna', 'hello');
    $c->puback($c->expect('PUBLISH')->{id});
    $c->publish('shop/up/t', "$_", qos => 1) for 1, 2;
    $c->disconnect;

    $c = $t->client(client => 'old', user => 'shop/anna', version => 4);
    $c->close;

    $c = $t->socket(version => 5);
    $c->send_raw("GET / HTTP/1.0\r\n\r\n");
    $c->expect_close;

    my $file = $main::dir . '/stream.log';
    for (1 .. 50) {
        select undef, undef, undef, 0.1;
        open my $in, '<', $file or next;
        my @lines = <$in>;
        return CORE::join('', @lines) if @lines == 3;
    }
    return 'no log';
}
--- mqtt_out
shop|anna|dev|5|normal|2|1|200
shop|anna|old|3.1.1|closed|0|0|200
-|-|-|-|malformed|0|0|400
--- config
location /v1/ { push_center; }


=== TEST 18: allow, deny and limit_conn work in front
--- main_config
stream {
    limit_conn_zone $binary_remote_addr zone=perip:1m;
    server {
        listen $TEST_NGINX_MQTT_PORT;
        limit_conn perip 2;
        push_room;
    }
    server {
        listen $TEST_NGINX_MQTTS_PORT;
        deny all;
        push_room;
    }
}
--- mqtt eval
sub {
    my ($t) = @_;
    my @c = map { $t->client(client => "d$_", user => 'shop/u') } 1, 2;
    $t->socket(version => 5)->expect_close;
    $t->say('limited');
    $t->socket(version => 5, port => $ENV{TEST_NGINX_MQTTS_PORT})->expect_close;
    $t->say('denied');
    $c[0]->ping;
    return $t->text;
}
--- mqtt_out
limited
denied
