# SUBSCRIBE, UNSUBSCRIBE and PUBLISH from devices: what topics mean, what is
# refused, and with which code.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Test::Nginx::Socket;

our $push = <<'END';
    zone 16m;
    product shop {
        api_key $TEST_NGINX_API_KEY publish query;
        token_key hs256 $TEST_NGINX_SECRET;
        anonymous on;
        group_publish on;
    }
    product game {
        api_key $TEST_NGINX_API_KEY publish query;
        token_key hs256 $TEST_NGINX_SECRET;
        anonymous on;
    }
END

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(push => $push) if !defined $block->push;
    $block->set_value(config => "location /v1/ { push_center; }");
});

sub hex2 { return CORE::join ' ', map { sprintf '%02x', $_ } @_ }

# What a packet brings: a packet with its code, or a close.
sub after {
    my ($c) = @_;
    my $p = $c->poll(5);
    return $p ? sprintf('%s %02x', $p->{type}, $p->{code} // 0) : 'close';
}

# What one PUBLISH on a fresh connection brings, in both versions.
sub both {
    my ($t, $topic, %opt) = @_;
    my $payload = delete $opt{payload} // 'x';

    return CORE::join ', ', map {
        my $c = $t->client(client => "p$_", user => 'shop/u', version => $_);
        $c->send('PUBLISH', topic => $topic, payload => $payload, qos => 1,
                 id => 7, %opt);
        after($c);
    } 5, 4;
}

repeat_each(1);
plan tests => repeat_each() * 26;

no_long_string();
run_tests();

__DATA__

=== TEST 1: filters, MQTT 5
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    my $ack = $c->subscribe(map { [$_, 1] }
        'shop/#', 'shop/inbox', 'shop/broadcast', 'shop/group/a',
        'game/#', 'nothing/#', 'shop/+', '#', '+/inbox', 'shop/group/+',
        'shop/group/#', 'shop/foo', 'shop/up/x', 'shop/group/', 'shop',
        'shop/', 'shop/inbox/x', '$share/g/shop/inbox', '$SYS/x');
    return main::hex2(@{$ack->{codes}});
}
--- mqtt_out
01 01 01 01 87 87 8f 8f 8f 8f 8f 8f 8f 8f 8f 8f 8f 9e 87


=== TEST 2: filters, MQTT 3.1.1
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 4);
    my $ack = $c->subscribe(map { [$_, 1] }
        'shop/#', 'shop/group/a', 'game/#', 'shop/+', 'shop/foo',
        '$share/g/shop/inbox');
    return main::hex2(@{$ack->{codes}});
}
--- mqtt_out
01 01 80 80 80 80


=== TEST 3: the QoS granted
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    return main::hex2(map { $c->subscribe(['shop/#', $_])->{codes}[0] } 0 .. 2);
}
--- mqtt_out
00 01 01


=== TEST 4: unsubscribe
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $c->subscribe('shop/#', 'shop/inbox', 'shop/group/a');
    my @of = split ' ', 'shop/# shop/# shop/group/a shop/group/b shop/inbox '
                        . 'game/# shop/+';
    $t->say(main::hex2(@{$c->unsubscribe(@of)->{codes}}));
    $t->push('users/u', 'x');
    $t->push('groups/a', 'x');
    $t->push('broadcast', 'x');
    $c->expect_nothing(0.4);
    return $t->text;
}
--- mqtt_out
00 11 00 11 00 11 11


=== TEST 5: inbox and broadcast alone, and a bind beside them
--- mqtt eval
sub {
    my ($t) = @_;
    my @c = map {
        my $c = $t->client(client => $_, user => 'shop/u', version => 5,
                           auto => 1);
        $c->subscribe(split / /, $_);
        $c;
    } 'shop/inbox', 'shop/broadcast', 'shop/# shop/inbox shop/broadcast';
    $t->push('users/u', 'to u');
    $t->push('broadcast', 'to all');
    for my $c (@c) {
        $t->say(CORE::join ', ', sort map { "$_->{topic} $_->{payload}" }
                $c->drain(0.4));
    }
    return $t->text;
}
--- mqtt_out
shop/inbox to u
shop/broadcast to all
shop/broadcast to all, shop/inbox to u


=== TEST 6: several products on one connection
--- mqtt eval
sub {
    my ($t) = @_;
    my $token = Push::Test::token('u', aud => ['shop', 'game']);
    my $c = $t->client(client => 'd', user => 'x', password => $token,
                       version => 5);
    $t->say(main::hex2(@{$c->subscribe('shop/#', 'game/#')->{codes}}));
    $t->push('users/u', 'one');
    $t->see($c);
    $t->http->post('/v1/game/users/u/messages', 'two');
    $t->see($c);
    return $t->text;
}
--- mqtt_out
01 01
PUBLISH id=1 topic=shop/inbox qos=1 "one"
PUBLISH id=2 topic=game/inbox qos=1 "two"


=== TEST 7: uplink, as the backend reads it
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'dev', user => 'shop/u', version => 5);
    my $props = { content_type => 'text/csv', user => [['k', 'v']] };
    $c->publish('shop/up/temp', '21.5', qos => 1, props => $props);
    $c->publish('shop/up/temp', '', qos => 1);
    $c->publish('shop/up/ping', 'zero', qos => 0);
    $c->ping;
    my $r = $t->http->get('/v1/shop/uplink');
    for my $m (@{$r->{json}{messages}}) {
        $t->say(CORE::join '|', map { $m->{$_} // '-' }
                qw(type user device payload));
    }
    return $t->text;
}
--- mqtt_out
temp|u|dev|21.5
temp|u|dev|
ping|u|dev|zero


=== TEST 8: what may not be published to
--- mqtt eval
sub {
    my ($t) = @_;
    $t->say("$_: " . main::both($t, $_))
        for qw(shop/up/x shop/group/g shop/inbox shop/broadcast shop/x shop
               shop/up/ shop/up/a/b shop/group/a/b game/up/x other/up/x);
    $t->say('QoS 0: ' . main::both($t, 'shop/inbox', qos => 0, id => 0));
    return $t->text;
}
--- mqtt_out
shop/up/x: PUBACK 00, PUBACK 00
shop/group/g: PUBACK 00, PUBACK 00
shop/inbox: PUBACK 87, close
shop/broadcast: PUBACK 87, close
shop/x: PUBACK 90, close
shop: PUBACK 90, close
shop/up/: PUBACK 90, close
shop/up/a/b: PUBACK 90, close
shop/group/a/b: PUBACK 90, close
game/up/x: PUBACK 87, close
other/up/x: PUBACK 87, close
QoS 0: DISCONNECT 87, close


=== TEST 9: what MQTT has and this does not
--- mqtt eval
sub {
    my ($t) = @_;
    $t->say('QoS 2: ' . main::both($t, 'shop/up/x', qos => 2));
    $t->say('retain: ' . main::both($t, 'shop/up/x', retain => 1));
    $t->say('payload: ' . main::both($t, 'shop/up/x', payload => 'x' x 4097));
    for my $raw ("\x50\2\0\1", "\x62\2\0\1", "\x70\2\0\1", "\xf0\0",
                 "\x20\2\0\0", "\x90\3\0\1\0", "\xd0\0", "\xc1\0",
                 "\xc0\1\0", "\x00\0", "\x32\4\0\1x\0", "\x80\0")
    {
        my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
        $c->send_raw($raw);
        $t->say(unpack('H*', $raw) . ' ' . main::after($c));
    }
    return $t->text;
}
--- mqtt_out
QoS 2: DISCONNECT 9b, close
retain: DISCONNECT 9a, close
payload: PUBACK 97, close
50020001 DISCONNECT 82
62020001 DISCONNECT 82
70020001 DISCONNECT 82
f000 DISCONNECT 82
20020000 DISCONNECT 82
9003000100 DISCONNECT 82
d000 DISCONNECT 82
c100 DISCONNECT 81
c00100 DISCONNECT 81
0000 DISCONNECT 81
320400017800 DISCONNECT 81
8000 DISCONNECT 81


=== TEST 10: the largest packet
--- room: push_room; push_max_packet 1k;
--- mqtt eval
sub {
    my ($t) = @_;
    # fixed header 3, topic 2 + 9, packet id 2, properties 1
    $t->say(main::both($t, 'shop/up/x', payload => 'x' x (1024 - 17)));
    $t->say(main::both($t, 'shop/up/x', payload => 'x' x (1024 - 15)));
    return $t->text;
}
--- mqtt_out
PUBACK 00, PUBACK 00
DISCONNECT 95, close


=== TEST 11: topic aliases
--- room: push_room; push_topic_alias_max 2;
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    my $send = sub {
        my ($topic, $payload, $alias) = @_;
        $c->publish($topic, $payload, qos => 1,
                    props => { topic_alias => $alias });
    };
    $send->('shop/up/a', 1, 1);
    $send->('shop/up/b', 2, 2);
    $send->('', 3, 1);
    $send->('', 4, 2);
    $send->('shop/up/c', 5, 1);
    $send->('', 6, 1);
    my $r = $t->http->get('/v1/shop/uplink');
    $t->say(map { "$_->{type} $_->{payload}" } @{$r->{json}{messages}});

    for my $alias (3, 2, 0) {
        my $d = $t->client(client => 'e', user => 'shop/u', version => 5);
        $d->send('PUBLISH', topic => '', payload => '', qos => 1, id => 1,
                 props => { topic_alias => $alias });
        $t->say(main::after($d));
    }
    return $t->text;
}
--- mqtt_out
a 1
b 2
a 3
b 4
c 5
c 6
DISCONNECT 94
DISCONNECT 82
DISCONNECT 94


=== TEST 12: a chat: properties are forwarded, No Local is heeded
--- mqtt eval
sub {
    my ($t) = @_;
    my $a = $t->client(client => 'a', user => 'shop/a', version => 5);
    my $b = $t->client(client => 'b', user => 'shop/b', version => 5);
    my $old = $t->client(client => 'c', user => 'shop/c', version => 4);
    $a->subscribe(['shop/group/g', 1 | 4]);
    $_->subscribe(['shop/group/g', 1]) for $b, $old;

    $a->publish('shop/group/g', 'hi', qos => 1, props => {
        payload_format => 1, message_expiry => 100, content_type => 'text/x',
        response_topic => 'shop/group/r', correlation_data => 'corr',
        user => [['k', 'v1'], ['k', 'v2']] });

    my $p = $b->expect('PUBLISH');
    my $props = $p->{props};
    my $users = $props->{user};
    $t->say("$p->{topic} $p->{payload}");
    $t->say(map { "$_ " . ($props->{$_} // 'none') }
            qw(payload_format message_expiry content_type response_topic
               correlation_data));
    $t->say(map { "$_->[0]=$_->[1]" } grep { $_->[0] ne 'id' } @$users);
    $t->see($old);
    $a->expect_nothing(0.3);
    return $t->text;
}
--- mqtt_out
shop/group/g hi
payload_format 1
message_expiry 100
content_type text/x
response_topic shop/group/r
correlation_data corr
k=v1
k=v2
PUBLISH id=1 topic=shop/group/g qos=1 "hi"


=== TEST 13: groups of a product that has them written by the server alone
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'game/u', version => 5);
    $t->say(main::hex2($c->subscribe('game/group/g')->{codes}[0]));
    $t->say(main::hex2($c->publish('game/group/g', 'x', qos => 1)->{code}));
    $c->expect_nothing(0.3);
    return $t->text;
}
--- mqtt_out
01
87
