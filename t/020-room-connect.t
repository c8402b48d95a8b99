# CONNECT in both versions: who is let in, on what terms, and the code that
# tells why not; and the ends that time brings.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Test::Nginx::Socket;

our $push = <<'END';
    zone 16m;
    session_expiry 1h;
    product shop {
        api_key $TEST_NGINX_API_KEY publish query;
        token_key hs256 $TEST_NGINX_SECRET;
        anonymous on;
        group_publish on;
    }
    product game {
        api_key $TEST_NGINX_API_KEY publish query;
        token_key hs256 $TEST_NGINX_SECRET;
    }
END

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value(push => $push) if !defined $block->push;
    $block->set_value(config => "location /v1/ { push_center; }");
});

# What CONNECT is answered with, and whether the connection stays.
sub attempt {
    my ($t, $version, %opt) = @_;
    my $c = $t->socket(version => $version);
    my $ack = eval { $c->connect(client => 'd', %opt) };

    $c->expect_close if !$ack || $ack->{code};
    return $ack ? sprintf('%02x', $ack->{code} // 0) : 'close';
}

sub both {
    my ($t, %opt) = @_;
    return CORE::join(' ', map { attempt($t, $_, %opt) } 5, 4);
}

our %will = (topic => 'shop/up/t', payload => 'bye');

repeat_each(1);
plan tests => repeat_each() * 28;

no_long_string();
run_tests();

__DATA__

=== TEST 1: credentials
--- mqtt eval
sub {
    my ($t) = @_;
    my $ok = Push::Test::token('anna');
    $t->say('none ' . main::both($t));
    $t->say('token ' . main::both($t, user => 'x', password => $ok));
    $t->say('anonymous ' . main::both($t, user => 'shop/anna'));
    $t->say('not allowed ' . main::both($t, user => 'game/anna'));
    $t->say('no user ' . main::both($t, user => 'shop/'));
    $t->say('garbage ' . main::both($t, user => 'x', password => 'a.b.c'));
    $t->say('expired ' . main::both($t, user => 'x', password =>
            Push::Test::token('anna', exp => time - 10)));
    $t->say('other secret ' . main::both($t, user => 'x', password =>
            Push::Test::token('anna', secret => 'y' x 40)));
    $t->say('bad token beside a good user name '
            . main::both($t, user => 'shop/anna', password => 'a.b.c'));
    return $t->text;
}
--- mqtt_out
none 87 05
token 00 00
anonymous 00 00
not allowed 86 04
no user 86 04
garbage 86 04
expired 87 05
other secret 86 04
bad token beside a good user name 86 04


=== TEST 2: client identifiers
--- mqtt eval
sub {
    my ($t) = @_;
    my @of = (user => 'shop/u');
    $t->say('255 ' . main::both($t, @of, client => 'x' x 255));
    $t->say('256 ' . main::both($t, @of, client => 'x' x 256));
    $t->say('control ' . main::both($t, @of, client => "a\x01"));
    $t->say('empty ' . main::both($t, @of, client => ''));
    $t->say('empty, no clean start '
            . main::both($t, @of, client => '', clean => 0));

    my %seen;
    for (1, 2) {
        my $c = $t->socket(version => 5);
        my $id = $c->connect(client => '', @of)->{props}{assigned_client};
        die "not 22 of base62: $id\n" if $id !~ /^[0-9A-Za-z]{22}\z/;
        $seen{$id}++;
    }
    $t->say('assigned ' . keys %seen);
    return $t->text;
}
--- mqtt_out
255 00 00
256 85 02
control 85 02
empty 00 00
empty, no clean start 00 02
assigned 2


=== TEST 3: terms of MQTT 5
--- room: push_room; push_keepalive 10s 100s; push_max_packet 2k; push_topic_alias_max 3;
--- mqtt eval
sub {
    my ($t) = @_;
    my $show = sub {
        my (%opt) = @_;
        my $c = $t->socket(version => 5);
        my $p = $c->connect(client => 'd', user => 'shop/u', %opt)->{props};
        $t->say(CORE::join ' ', map { "$_=$p->{$_}" } sort keys %$p);
    };
    $show->(keepalive => 60);
    $show->(keepalive => 5);
    $show->(keepalive => 0);
    $show->(keepalive => 101, props => { session_expiry => 3600 });
    $show->(keepalive => 60, props => { session_expiry => 3601 });
    $show->(keepalive => 60, props => { session_expiry => 4294967295 });
    return $t->text;
}
--- mqtt_out eval
my $base = 'maximum_packet_size=2048 maximum_qos=1 receive_maximum=64 '
           . 'retain_available=0';
my $tail = 'shared_available=0 topic_alias_maximum=3';
"$base $tail\n"
. "$base server_keep_alive=10 $tail\n"
. "$base server_keep_alive=100 $tail\n" x 2
. "$base session_expiry=3600 $tail\n" x 2


=== TEST 4: authentication method, unknown version
--- mqtt eval
sub {
    my ($t) = @_;
    $t->say(main::attempt($t, 5, user => 'shop/u',
                          props => { auth_method => 'SCRAM' }));
    my $c = $t->socket(version => 5);
    $c->send_raw("\x10\x0d\0\4MQTT\6\2\0\x3c\0\0\0");
    $t->see($c);
    $c->expect_close;
    $c = $t->socket(version => 4);
    $c->send_raw("\x10\x0d\0\4MQTT\3\2\0\x3c\0\1d");
    $t->see($c);
    $c->expect_close;
    return $t->text;
}
--- mqtt_out
8c
CONNACK code=132
CONNACK code=1


=== TEST 5: wills that are refused, and those that are not
--- mqtt eval
sub {
    my ($t) = @_;
    my $will = sub {
        main::both($t, user => 'shop/u', will => { %main::will, @_ });
    };
    $t->say('uplink ' . $will->());
    $t->say('group ' . $will->(topic => 'shop/group/g', qos => 1));
    $t->say('other product ' . $will->(topic => 'game/up/t'));
    $t->say('inbox ' . $will->(topic => 'shop/inbox'));
    $t->say('unknown ' . $will->(topic => 'shop/x'));
    $t->say('no type ' . $will->(topic => 'shop/up/'));
    $t->say('QoS 2 ' . $will->(qos => 2));
    $t->say('retain ' . $will->(retain => 1));
    $t->say('too large ' . $will->(payload => 'x' x 4097));
    return $t->text;
}
--- mqtt_out
uplink 00 00
group 00 00
other product 87 05
inbox 87 05
unknown 90 05
no type 90 05
QoS 2 9b 05
retain 9a 05
too large 97 03


=== TEST 6: a will is published when the connection breaks, not on a farewell
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'seer', user => 'shop/seer', version => 5);
    $c->subscribe('shop/group/w');

    for my $end (qw(close reset farewell with_will)) {
        my $w = $t->client(client => 'w', user => 'shop/w', version => 5,
                           will => { topic => 'shop/group/w', qos => 1,
                                     payload => $end,
                                     props => { content_type => 'text/x' } });
        $end eq 'farewell'    ? $w->disconnect(0)
        : $end eq 'with_will' ? $w->disconnect(4)
                              : $w->$end;

        my $p = $c->poll($end eq 'farewell' ? 0.5 : 5);
        $t->say($p ? "$p->{payload} $p->{props}{content_type}" : 'nothing');
        $c->puback($p->{id}) if $p;
    }
    return $t->text;
}
--- mqtt_out
close text/x
reset text/x
nothing
with_will text/x


=== TEST 7: only CONNECT may be first, and only once
--- mqtt eval
sub {
    my ($t) = @_;
    for my $raw ("\xc0\0", "\xe0\0", "\x82\x08\0\1\0\3a/b\1", "GET / HTTP/1.1\r\n") {
        my $c = $t->socket(version => 5);
        $c->send_raw($raw);
        $c->expect_close;
    }
    for my $version (5, 4) {
        my $c = $t->client(client => 'd', user => 'shop/u', version => $version);
        $c->send('CONNECT', client => 'd', user => 'shop/u', clean => 1,
                 keepalive => 60);
        my $p = $c->poll(5);
        $t->say($p ? sprintf('%s %02x', $p->{type}, $p->{code}) : 'close');
        $c->expect_close;
    }
    return $t->text;
}
--- mqtt_out
DISCONNECT 82
close


=== TEST 8: a CONNECT is small before it is known whose it is
--- mqtt eval
sub {
    my ($t) = @_;
    return main::both($t, user => 'shop/' . 'x' x 9000);
}
--- mqtt_out
close close


=== TEST 9: octet by octet, and all at once
--- mqtt eval
sub {
    my ($t) = @_;
    require Push::MQTT::Packet;
    for my $version (5, 4) {
        my $bytes = CORE::join '', map {
            Push::MQTT::Packet::encode($version, @$_)
        } ['CONNECT', client => 'd', user => 'shop/u', clean => 1,
           keepalive => 60],
          ['SUBSCRIBE', id => 1, props => {}, filters => [['shop/#', 1]]],
          ['PINGREQ'];

        for my $pieces ([split //, $bytes], [$bytes]) {
            my $c = $t->socket(version => $version);
            $c->send_raw($_) for @$pieces;

            # the answers to SUBSCRIBE and PINGREQ are in no order
            my ($first, @rest) = map { $c->poll(5)->{type} } 1 .. 3;
            $t->say(CORE::join ' ', $first, sort { $b cmp $a } @rest);
        }
    }
    return $t->text;
}
--- mqtt_out
CONNACK SUBACK PINGRESP
CONNACK SUBACK PINGRESP
CONNACK SUBACK PINGRESP
CONNACK SUBACK PINGRESP


=== TEST 10: silence before CONNECT, or half of it
--- room: push_room; push_connect_timeout 1s;
--- mqtt eval
sub {
    my ($t) = @_;
    my $a = $t->socket(version => 5);
    my $b = $t->socket(version => 5);
    $b->send_raw("\x10\x20\0\4MQ");
    my $start = time;
    $_->expect_close(6) for $a, $b;
    return time - $start <= 4 ? 'cut' : 'late';
}
--- mqtt_out
cut


=== TEST 11: keep alive is enforced, also the server's own
--- room: push_room; push_keepalive 1s 2s;
--- mqtt eval
sub {
    my ($t) = @_;
    my @of = (user => 'shop/u');
    my $short = $t->client(client => 'a', @of, version => 5, keepalive => 1);
    my $none = $t->client(client => 'b', @of, version => 4, keepalive => 0);
    my $long = $t->client(client => 'c', @of, version => 4, keepalive => 65535);
    my $alive = $t->client(client => 'd', @of, version => 4, keepalive => 1);

    for (1 .. 6) {
        select undef, undef, undef, 0.9;
        $alive->ping;
    }

    my $p = $short->poll(0);
    $t->say(sprintf '%s %02x', $p->{type}, $p->{code});
    $_->expect_close(0.1) for $short, $none, $long;
    $alive->ping;
    return $t->text;
}
--- mqtt_out
DISCONNECT 8d


=== TEST 12: a token that expires ends its connection
--- mqtt eval
sub {
    my ($t) = @_;
    my @of = (user => 'x', password => Push::Test::token('u', exp => time + 2));
    my $five = $t->client(client => 'a', version => 5, @of);
    my $four = $t->client(client => 'b', version => 4, @of);
    my $p = $five->poll(7);
    $t->say(sprintf '%s %02x', $p->{type}, $p->{code});
    $_->expect_close(5) for $five, $four;
    return $t->text;
}
--- mqtt_out
DISCONNECT a0


=== TEST 13: a second connection takes over, a stranger with the same id not
--- mqtt eval
sub {
    my ($t) = @_;
    my $a = $t->client(client => 'd', user => 'shop/u', version => 5);
    my $s = $t->client(client => 'd', user => 'shop/stranger', version => 5);
    my $b = $t->client(client => 'd', user => 'shop/u', version => 4);
    my $p = $a->poll(5);
    $t->say(sprintf '%s %02x', $p->{type}, $p->{code});
    $a->expect_close;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $b->expect_close;
    $_->ping for $s, $c;
    return $t->text;
}
--- mqtt_out
DISCONNECT 8e


=== TEST 14: session present
--- mqtt eval
sub {
    my ($t) = @_;
    my $try = sub {
        my ($version, %opt) = @_;
        my $c = $t->socket(version => $version);
        my $ack = $c->connect(client => 'd', user => 'shop/s', %opt);
        $t->say("$version " . ($ack->{session} ? 'present' : 'new'));
        return $c;
    };
    my $keep = { session_expiry => 60 };
    $try->(5, clean => 0, props => $keep)->close;
    $try->(5, clean => 0, props => $keep)->disconnect(0);
    $try->(5, clean => 0, props => $keep)->disconnect(0, session_expiry => 0);
    $try->(5, clean => 0, props => $keep)->close;
    $try->(5, clean => 1, props => $keep)->close;
    $try->(4, clean => 0)->close;
    $try->(4, clean => 0)->disconnect;
    $try->(4, clean => 1)->disconnect;
    $try->(4, clean => 0)->disconnect;
    my $c = $try->(5, clean => 1);
    $c->send('DISCONNECT', code => 0, props => { session_expiry => 5 });
    my $p = $c->poll(5);
    $t->say(sprintf '%s %02x', $p->{type}, $p->{code});
    return $t->text;
}
--- mqtt_out
5 new
5 present
5 present
5 new
5 new
4 present
4 present
4 new
4 new
5 new
DISCONNECT 82
