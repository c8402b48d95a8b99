# PUBLISH to devices: the window, redelivery, sizes, properties, TLS, devices
# that do not read, a reload.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Server;
use Test::Nginx::Socket;

our $push = <<'END';
    zone 64m;
    drain_time 1s;
    product shop {
        api_key $TEST_NGINX_API_KEY publish query;
        anonymous on;
        payload_limit 256k;
    }
END

our ($cert, $key) = certificate();

add_block_preprocessor(sub {
    my ($block) = @_;
    return if defined $block->push;
    $block->set_value(push => $push);
    $block->set_value(config => "location /v1/ { push_center; }\n"
                                . 'location = /metrics { push_metrics; }');
});

sub payloads { CORE::join ' ', map { ($_->{dup} ? '+' : '') . $_->{payload} } @_ }

sub metric {
    my ($t, $name) = @_;
    my ($n) = $t->http->get('/metrics')->{body} =~ /^ngx_push_\Q$name\E (\d+)/m;
    return $n;
}

repeat_each(1);
plan tests => repeat_each() * 30;

no_long_string();
run_tests();

__DATA__

=== TEST 1: what comes with a message
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $c->subscribe('shop/#', { subscription_id => 7 });
    my $r = $t->push('users/u', 'hello', 'Content-Type' => 'text/x', TTL => 50);
    my $p = $c->expect('PUBLISH');
    my %props = %{$p->{props}};
    my ($id) = map { $_->[1] } grep { $_->[0] eq 'id' } @{$props{user}};
    my $ids = $props{subscription_id};
    $t->say("$p->{topic} $p->{payload}", $props{content_type},
            $props{message_expiry},
            $id eq $r->{json}{id} ? 'same id' : 'other id', $ids);
    return $t->text;
}
--- mqtt_out
shop/inbox hello
text/x
50
same id
7


=== TEST 2: a filter within another: one message, the identifiers of both
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $c->subscribe('shop/#', { subscription_id => 7 });
    $c->subscribe('shop/inbox', { subscription_id => 268435455 });
    $t->push('users/u', 'hello');
    select undef, undef, undef, 0.5;
    sysread $c->{socket}, my $raw, 65536;
    my @n = $raw =~ /hello/g;
    $t->say(scalar @n);
    $t->say($raw =~ /\x0b\x07/ ? 'bind' : 'not bind',
            $raw =~ /\x0b\xff\xff\xff\x7f/ ? 'own' : 'not own');
    return $t->text;
}
--- mqtt_out
1
bind
own


=== TEST 3: the expiry counts down
--- mqtt eval
sub {
    my ($t) = @_;
    $t->push('users/u', 'kept', TTL => 60);
    $t->push('users/u', 'gone', TTL => 1);
    select undef, undef, undef, 2.1;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $c->subscribe('shop/#');
    my @p = $c->drain(0.4);
    my $left = $p[0]{props}{message_expiry};
    return main::payloads(@p) . ($left >= 55 && $left <= 58 ? ' less' : " $left");
}
--- mqtt_out
kept less


=== TEST 4: the window is the smaller of both sides, and opens by PUBACK
--- room: push_room; push_window 3;
--- mqtt eval
sub {
    my ($t) = @_;
    my %of = (5 => { receive_maximum => 2 }, 4 => undef);
    for my $version (5, 4) {
        my $c = $t->client(client => "d$version", user => "shop/u$version",
                           version => $version, props => $of{$version});
        $c->subscribe('shop/#');
        $t->push("users/u$version", $_) for 1 .. 6;
        my @p = $c->drain(0.3);
        $t->say(main::payloads(@p));
        $c->puback($p[1]{id});
        my $next = $c->expect('PUBLISH');
        $t->say($next->{payload});
        $c->expect_nothing(0.2);
        $c->puback($_->{id}) for $p[0], $next, splice @p, 2;
        my @rest;
        while (my $p = $c->poll(0.3)) {
            push @rest, $p;
            $c->puback($p->{id});
        }
        $t->say(main::payloads(@rest));
    }
    return $t->text;
}
--- mqtt_out
1 2
3
4 5 6
1 2 3
4
5 6


=== TEST 5: a resumed session gets its window again, then goes on
--- room: push_room; push_window 3;
--- mqtt eval
sub {
    my ($t) = @_;
    for my $version (5, 4) {
        my $c = $t->client(client => "d$version", user => "shop/u$version",
                           version => $version, clean => 0,
                           props => { session_expiry => 60 });
        $c->subscribe('shop/#');
        $t->push("users/u$version", $_) for 1 .. 5;
        my @p = $c->drain(0.3);
        $c->puback($p[0]{id});
        $c->expect('PUBLISH');
        $c->reset;
        $c->reconnect;
        my @again = $c->drain(0.3);
        $t->say(main::payloads(@again));
        $t->say($again[0]{id} == $p[1]{id} ? 'same ids' : 'other ids');
        $c->puback($_->{id}) for @again;
        $t->say(main::payloads($c->drain(0.3)));
    }
    return $t->text;
}
--- mqtt_out
+2 +3 +4
same ids
5
+2 +3 +4
same ids
5


=== TEST 6: after a Clean Start what is not acknowledged is new
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $c->subscribe('shop/#');
    $t->push('users/u', $_) for 1 .. 3;
    my @p = $c->drain(0.3);
    $c->puback($p[0]{id});
    $c->ping;
    $c->close;
    $c->reconnect;
    $c->expect_nothing(0.2);
    $c->subscribe('shop/#');
    return main::payloads($c->drain(0.3));
}
--- mqtt_out
2 3


=== TEST 7: an acknowledgement of nothing is counted, twice the same too
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $c->subscribe('shop/#');
    $c->puback(77);
    $t->push('users/u', 'x');
    my $id = $c->expect('PUBLISH')->{id};
    $c->puback($id) for 1 .. 3;
    $c->puback($id, 0x97);
    $c->ping;
    return main::metric($t, 'drops_total{reason="unknown_ack"}')
           . ' ' . main::metric($t, 'messages_acked_total');
}
--- mqtt_out
4 1


=== TEST 8: packet ids wrap
--- timeout: 60
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 4);
    $c->subscribe('shop/#');
    my ($n, $last, $wraps, %held) = (0, 0, 0);
    for my $round (1 .. 700) {
        my @r = $t->http->pipeline(map { ['POST', '/v1/shop/users/u/messages',
                                          $round * 100 + $_] } 0 .. 99);
        die "refused\n" if grep { $_->{status} != 201 } @r;
        my $got = 0;
        while ($got < 100) {
            my $p = $c->expect('PUBLISH');
            die "order: $p->{payload} after $last\n"
                if $p->{payload} <= $last || $p->{id} == 0;
            $last = $p->{payload};
            $wraps++ if $n && $p->{id} < $held{id};
            $held{id} = $p->{id};
            $c->puback($p->{id});
            $got++;
            $n++;
        }
    }
    return "$n $wraps";
}
--- mqtt_out
70000 1


=== TEST 9: a message over the client's largest packet is passed over
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5,
                       props => { maximum_packet_size => 150 });
    $c->subscribe('shop/#');
    $t->push('users/u', 'x' x 150);
    $t->push('users/u', 'small');
    $t->say(main::payloads($c->drain(0.3)));
    $t->say(main::metric($t, 'drops_total{reason="packet_size"}'));
    return $t->text;
}
--- mqtt_out
small
1


=== TEST 10: large messages, also over TLS
--- main_config eval
'stream {
    server { listen $TEST_NGINX_MQTT_PORT; push_room; }
    server {
        listen $TEST_NGINX_MQTTS_PORT ssl;
        ssl_certificate ' . $main::cert . ';
        ssl_certificate_key ' . $main::key . ';
        push_room;
    }
}'
--- mqtt eval
sub {
    my ($t) = @_;
    my $big = CORE::join '', map { pack 'N', $_ } 1 .. 65536;
    my $plain = $t->client(client => 'p', user => 'shop/u', version => 5);
    my $tls = $t->client(client => 't', user => 'shop/u', version => 4,
                         tls => 1, port => $ENV{TEST_NGINX_MQTTS_PORT});
    $_->subscribe('shop/#') for $plain, $tls;
    for my $n (262144, 262143, 320, 321, 1328, 1329, 65536, 16384, 1, 0) {
        $t->push('users/u', substr $big, 0, $n);
        for my $c ($plain, $tls) {
            my $p = $c->expect('PUBLISH');
            $t->say("$n differs") if $p->{payload} ne substr $big, 0, $n;
            $c->puback($p->{id});
        }
    }
    $tls->publish('shop/up/x', $big, qos => 1);
    $t->say($t->http->get('/metrics')->{body}
            =~ /^(ngx_push_connections\{protocol="mqtt3_tls"\} \d)/m);
    return $t->text;
}
--- mqtt_out
ngx_push_connections{protocol="mqtt3_tls"} 1


=== TEST 11: a device that does not read: QoS 1 waits, QoS 0 is dropped
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5,
                       props => { receive_maximum => 65535 });
    $c->subscribe('shop/#');
    my $sent = sub {
        my ($n, @h) = @_;
        for (1 .. $n) {
            my $r = $t->push('users/u', sprintf('%04d', $_) . 'x' x 250000, @h);
            die "push: $r->{status}\n" if $r->{status} >= 300;
        }
    };
    my $read = sub {
        my @n;
        while (my $p = $c->poll(1)) {
            push @n, substr $p->{payload}, 0, 4;
            $c->puback($p->{id}) if $p->{qos};
        }
        return @n;
    };
    $sent->(60);
    my @got = $read->();
    $t->say(scalar @got, "@got" eq "@{[sort @got]}" ? 'in order' : 'mixed');
    $sent->(60, TTL => 0);
    @got = $read->();
    my $drops = main::metric($t, 'drops_total{reason="slow"}');
    $t->say(@got + $drops, @got && $drops ? 'some' : 'all or none',
            "@got" eq "@{[sort @got]}" ? 'in order' : 'mixed');
    $c->ping;
    return $t->text;
}
--- mqtt_out
60
in order
60
some
in order


=== TEST 12: a device that never reads is cut, what it lacks is kept
--- room: push_room; push_send_timeout 1s;
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 4);
    $c->subscribe('shop/#');
    $t->push('users/u', sprintf('%04d', $_) . 'x' x 250000) for 1 .. 40;
    select undef, undef, undef, 4;
    $t->say(main::metric($t, 'drops_total{reason="slow"}'));
    $c->close;
    $c->reconnect;
    $c->subscribe('shop/#');
    my @n;
    while (my $p = $c->poll(0.5)) {
        push @n, substr($p->{payload}, 0, 4) + 0;
        $c->puback($p->{id});
    }
    $t->say("$n[0] $n[-1] " . @n);
    return $t->text;
}
--- mqtt_out
1
1 40 40


=== TEST 13: TTL 0: one copy, no id, and never stored
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $c->subscribe('shop/#');
    $t->push('users/u', 'now', TTL => 0);
    my $p = $c->expect('PUBLISH');
    $t->say("$p->{payload} $p->{qos} " . ($p->{props}{user} ? 'id' : 'no id'));
    $c->close;
    $t->push('users/u', 'never', TTL => 0);
    $c->reconnect;
    $c->subscribe('shop/#');
    $c->expect_nothing(0.3);
    return $t->text;
}
--- mqtt_out
now 0 no id


=== TEST 14: the session's QoS 0
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $c->subscribe(['shop/#', 0]);
    $t->push('users/u', $_) for 1 .. 100;
    my @p = $c->drain(0.4);
    $t->say(scalar @p, scalar grep { $_->{qos} } @p);
    $c->reconnect;
    $c->subscribe('shop/#');
    $c->expect_nothing(0.3);
    return $t->text;
}
--- mqtt_out
100
0


=== TEST 15: a reload sends devices away, and they go on where they were
--- push: none
--- room: none
--- mqtt eval
sub {
    my $s = Push::Server->new(workers => 2,
                              room => 'server { listen {{mqtt}}; push_room; }');
    $s->start;
    my $t = $s->dialogue;
    my %of = (clean => 0, props => { session_expiry => 60 });
    my @c = map {
        my $c = $t->client(client => "d$_", user => "shop/u$_", version => $_,
                           %of);
        $c->subscribe('shop/#');
        $c;
    } 5, 4;
    $t->push("users/u$_", 'before') for 5, 4;
    $_->expect('PUBLISH') for @c;
    $s->reload;
    my $p = $c[0]->poll(15);
    $t->say(sprintf '%s %02x', $p->{type}, $p->{code});
    $_->expect_close(15) for @c;
    $t->push("users/u$_", 'after') for 5, 4;
    for my $c (@c) {
        $c->reconnect;
        $t->say(main::payloads($c->drain(0.5)));
    }
    return $t->text;
}
--- mqtt_out
DISCONNECT 8b
+before after
+before after
