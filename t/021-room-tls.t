# TLS of a room: connections taken over from OpenSSL after the handshake, in
# all cipher suites, with all that a client may do; and what they cost.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::MQTT::Packet qw(encode);
use Push::Server;
use Push::TLS;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 28;

own_servers();

our $TAKEN = qr/push: TLS taken over/;

sub server {
    my ($room, %opt) = @_;

    return Push::Server->new(
        workers => 1, log_level => 'debug', push => 'drain_time 1s;',
        product => 'payload_limit 256k;',
        room => ($opt{unlogged} ? ''
                   : 'log_format tls "$push_user|$ssl_protocol|$ssl_cipher|'
                     . '$ssl_session_reused";')
                . 'server { listen {{mqtts}} ssl; push_room;'
                . ' ssl_protocols TLSv1.2 TLSv1.3;'
                . ' ssl_certificate {{cert}};'
                . ' ssl_certificate_key {{certkey}};'
                . ($opt{unlogged} ? ''
                   : 'access_log {{dir}}/logs/tls.log tls; ')
                . "$room }", %opt
    )->start;
}

# A bound device.
sub device {
    my ($s, $name, @options) = @_;
    my $c = Push::TLS->new($s->mqtts_port, '-brief', @options);

    $c->wait(qr/^Verif.*\n/m);
    $c->send(encode(4, 'CONNECT', client => $name, user => "shop/$name",
                    clean => 1, keepalive => 60));
    $c->wait(qr/\x20\x02\0\0/);
    $c->send(encode(4, 'SUBSCRIBE', id => 1, filters => [['shop/#', 0]]));
    $c->wait(qr/\x90\x03\0\x01\0/);
    return $c;
}

# A message of $size octets to the device.
sub deliver {
    my ($s, $c, $name, $size) = @_;
    my $r = $s->dialogue->push("users/$name", 'm' x ($size - 3) . 'end');

    die "push: $r->{status}\n" if $r->{status} != 201;
    $c->wait(qr/m*end/);
}

# A message of $size octets from the device, through the answer to it.
sub upload {
    my ($c, $size) = @_;

    $c->send(encode(4, 'PUBLISH', topic => 'shop/up/x', id => 77, qos => 1,
                    payload => 'u' x $size));
    $c->wait(qr/\x40\x02\0\x4d/);
}

# How many connections were taken over, once there are so many.
sub taken {
    my ($s, $count) = @_;
    return eventually("$count taken over", sub {
        my $n = () = $s->log =~ /$TAKEN/g;
        return $n >= $count ? $n : undef;
    });
}

sub logged {
    my ($s, $count) = @_;

    return @{eventually("$count lines", sub {
        open my $in, '<', $s->dir . '/logs/tls.log' or return;
        my @lines = <$in>;
        chomp @lines;
        return @lines >= $count ? [sort @lines] : undef;
    })};
}

# A sanitizer and valgrind have a heap of their own.
sub plain_heap {
    my $nginx = $ENV{TEST_NGINX_BINARY} // '';
    return ($ENV{BUILD} // '') !~ /asan/ && $nginx !~ /valgrind|asan/;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: every cipher suite, small and large, both ways
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('');
    my @suites = (
        (map { ['-tls1_3', '-ciphersuites', $_] } qw(TLS_AES_128_GCM_SHA256
            TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256)),
        (map { ['-tls1_2', '-cipher', $_] } qw(ECDHE-ECDSA-AES128-GCM-SHA256
            ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305)),
    );
    my $n = 0;
    for my $suite (@suites) {
        my $name = 'd' . ++$n;
        my $c = main::device($s, $name, @$suite);
        for my $size (3, 200, 16384, 100000, 3) {
            main::deliver($s, $c, $name, $size);
            main::upload($c, $size);
        }
        $c->close;
        $t->say("$suite->[2] taken " . main::taken($s, $n));
    }
    $s->stop;
    return $t->text;
}
--- mqtt_out
TLS_AES_128_GCM_SHA256 taken 1
TLS_AES_256_GCM_SHA384 taken 2
TLS_CHACHA20_POLY1305_SHA256 taken 3
ECDHE-ECDSA-AES128-GCM-SHA256 taken 4
ECDHE-ECDSA-AES256-GCM-SHA384 taken 5
ECDHE-ECDSA-CHACHA20-POLY1305 taken 6


=== TEST 2: other suites, and push_tls_release off, stay with OpenSSL
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('');
    my $c = main::device($s, 'd', '-tls1_2', '-cipher',
                         'ECDHE-ECDSA-AES128-SHA256');
    main::deliver($s, $c, 'd', 20000);
    main::upload($c, 20000);
    $c->close;
    $t->say($s->log =~ $main::TAKEN ? 'taken' : 'stays');
    $s->stop;
    $s = main::server('push_tls_release off;');
    $c = main::device($s, 'd', '-tls1_3');
    main::deliver($s, $c, 'd', 20000);
    main::upload($c, 20000);
    $c->close;
    $t->say($s->log =~ $main::TAKEN ? 'taken' : 'stays');
    $s->stop;
    return $t->text;
}
--- mqtt_out
stays
stays


=== TEST 3: KeyUpdate, asked for and not
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('');
    my $c = main::device($s, 'd', '-tls1_3');
    main::taken($s, 1);
    for my $letter (qw(k K K k)) {
        $c->command($letter, qr/KEYUPDATE/);
        main::upload($c, 100);
        main::deliver($s, $c, 'd', 3000);
    }
    # asked twice before there is anything to send
    $c->command('K', qr/KEYUPDATE/);
    $c->command('K', qr/KEYUPDATE/);
    main::deliver($s, $c, 'd', 30);
    main::deliver($s, $c, 'd', 30);
    $t->say('all came');
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
all came


=== TEST 4: renegotiation is refused, the others go on
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('');
    my $other = main::device($s, 'other', '-tls1_2');
    my $c = main::device($s, 'd', '-tls1_2');
    main::taken($s, 2);
    $c->command('R', qr/RENEGOTIATING/);
    $t->say($c->ended =~ /(no renegotiation)/);
    main::deliver($s, $other, 'other', 30);
    $s->stop;
    return $t->text;
}
--- mqtt_out
no renegotiation


=== TEST 5: a small message is one record
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('');
    for my $version (qw(1.2 1.3)) {
        my $name = "d$version" =~ s/\.//r;
        my $c = main::device($s, $name, '-msg', "-tls$version" =~ s/\./_/r);
        main::taken($s, $version eq '1.2' ? 1 : 2);
        for my $size (10, 1000, 16000) {
            my $r = $s->dialogue->push("users/$name",
                                       'm' x ($size - 3) . 'end');
            my $text = $c->wait(qr/m+end/);
            my $n = () = $text =~ /<<< TLS 1\.., RecordHeader/g;
            $t->say("TLS $version, $size: $n");
        }
        $c->close;
    }
    $s->stop;
    return $t->text;
}
--- mqtt_out
TLS 1.2, 10: 1
TLS 1.2, 1000: 1
TLS 1.2, 16000: 1
TLS 1.3, 10: 1
TLS 1.3, 1000: 1
TLS 1.3, 16000: 1


=== TEST 6: one ticket, and it resumes; the access log knows TLS
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('ssl_session_tickets on;');
    my $n = 0;
    for my $version (qw(1_2 1_3)) {
        my $file = $s->dir . "/session$version";
        my $c = main::device($s, 'd' . ++$n, "-tls$version", '-sess_out',
                             $file, '-msg');
        $c->send("Q\n");
        my $tickets = () = $c->ended =~ /<<<.*NewSessionTicket/g;
        $t->say("TLS $version, tickets: $tickets");
        $c = main::device($s, 'd' . ++$n, "-tls$version", '-sess_in', $file);
        main::deliver($s, $c, "d$n", 50);
        $c->send("Q\n");
        $c->ended;
    }
    main::taken($s, 4);
    $t->say($_) for main::logged($s, 4);
    $s->stop;
    return $t->text;
}
--- mqtt_out
TLS 1_2, tickets: 1
TLS 1_3, tickets: 1
d1|TLSv1.2|ECDHE-ECDSA-AES256-GCM-SHA384|.
d2|TLSv1.2|ECDHE-ECDSA-AES256-GCM-SHA384|r
d3|TLSv1.3|TLS_AES_256_GCM_SHA384|.
d4|TLSv1.3|TLS_AES_256_GCM_SHA384|r


=== TEST 7: sessions in a cache outlive the connection
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('ssl_session_tickets off;'
                         . ' ssl_session_cache shared:tls:1m;');
    my $file = $s->dir . '/session';
    my $c = main::device($s, 'd1', '-tls1_2', '-sess_out', $file);
    $c->send("Q\n");
    $c->ended;
    $c = main::device($s, 'd2', '-tls1_2', '-sess_in', $file);
    main::deliver($s, $c, 'd2', 50);
    $c->send("Q\n");
    $c->ended;
    $t->say(map { /(.)$/ } main::logged($s, 2));
    $s->stop;
    return $t->text;
}
--- mqtt_out
.
r


=== TEST 8: fragments as small as the client asks for
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('');
    for my $version (qw(1_2 1_3)) {
        my $c = main::device($s, "d$version", "-tls$version", '-msg',
                             '-maxfraglen', 512);
        $s->dialogue->push("users/d$version", 'm' x 100000 . 'end');
        # a record's header and what else -msg prints may be between
        my $text = $c->wait(qr/end/);
        my $n = () = $text =~ /<<< TLS 1\.., RecordHeader/g;
        $t->say("TLS $version: $n");
        main::upload($c, 3000);
        $c->close;
    }
    main::taken($s, 2);
    $s->stop;
    return $t->text;
}
--- mqtt_out
TLS 1_2: 196
TLS 1_3: 196


=== TEST 9: the end is told: close_notify after the last packet
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('');
    for my $version (qw(1_2 1_3)) {
        my $c = main::device($s, 'd', "-tls$version", '-msg');
        my $again = main::device($s, 'd', "-tls$version");
        $t->say($c->wait(qr/(?<=<<< TLS 1\..)?, Alert .*warning close_notify/)
                =~ /(close_notify)/);
        $c->close;
        $again->close;
    }
    $s->stop;
    return $t->text;
}
--- mqtt_out
close_notify
close_notify


=== TEST 10: what is no record ends this connection, with an alert
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('');
    my $d = $s->dialogue;
    my $n = 0;
    for my $garbage ("\x17\3\3\0\x20" . 'x' x 32, "\x17\3\3\xff\xff",
                     "GET / HTTP/1.1\r\n\r\n", "\x17\3\3\0\1x")
    {
        my $c = $d->client(client => 'd' . ++$n, user => "shop/d$n", tls => 1,
                           port => $s->mqtts_port);
        $c->subscribe('shop/#');
        main::taken($s, $n);
        my $fd = POSIX::dup(fileno $c->{socket});
        POSIX::write($fd, $garbage, CORE::length $garbage);
        POSIX::close($fd);
        $t->say($c->expect_close);
    }
    $s->stop;
    return $t->text;
}
--- mqtt_out
1
1
1
1


=== TEST 11: octet by octet
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('');
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
    my $pid = fork;
    if ($pid == 0) {
        my $in = $listen->accept;
        my $out = IO::Socket::INET->new(
            PeerAddr => '127.0.0.1:' . $s->mqtts_port);
        $out->setsockopt(Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1);
        my $select = IO::Select->new($in, $out);
        while (1) {
            for my $from ($select->can_read) {
                my $to = $from == $in ? $out : $in;
                my $octets;
                sysread $from, $octets, $from == $in ? 1 : 65536
                    or POSIX::_exit(0);
                syswrite $to, $octets;
            }
        }
    }
    my $c = $s->dialogue->client(client => 'd', user => 'shop/d', tls => 1,
                                 port => $listen->sockport, version => 5);
    $c->subscribe('shop/#');
    main::taken($s, 1);
    for my $size (1, 1000, 20000) {
        $c->publish('shop/up/x', 'u' x $size, qos => 1);
        $s->dialogue->push('users/d', 'm' x $size);
        $t->say(CORE::length $c->expect('PUBLISH')->{payload});
    }
    $c->disconnect(0);
    waitpid $pid, 0;
    $s->stop;
    return $t->text;
}
--- mqtt_out
1
1000
20000


=== TEST 12: a device that does not read, and then does
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('push_window 100;');
    my $c = $s->dialogue->client(client => 'd', user => 'shop/d', tls => 1,
                                 port => $s->mqtts_port, timeout => 20);
    $c->subscribe('shop/#');
    main::taken($s, 1);
    my $d = $s->dialogue;
    $d->push('users/d', sprintf('%04d', $_) . 'x' x 250000) for 1 .. 40;
    my @got;
    while (@got < 40) {
        my $p = $c->expect('PUBLISH');
        push @got, CORE::substr $p->{payload}, 0, 4;
        $c->puback($p->{id});
    }
    $t->say("@got" eq CORE::join(' ', map { sprintf '%04d', $_ } 1 .. 40)
            ? 'all, in order' : "@got");
    $c->disconnect;
    $s->stop;
    return $t->text;
}
--- mqtt_out
all, in order


=== TEST 13: memory of an idle connection
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('', log_level => 'error', unlogged => 1);
    my ($worker) = $s->workers;
    my $pss = sub {
        open my $in, '<', "/proc/$worker/smaps_rollup" or die "smaps: $!\n";
        my ($kb) = CORE::join('', <$in>) =~ /^Pss:\s+(\d+)/m;
        return $kb * 1024;
    };
    my $bind = sub {
        my ($n) = @_;
        my $c = $s->dialogue->client(client => "d$n", user => "shop/d$n",
                                     tls => 1, port => $s->mqtts_port);
        $c->subscribe('shop/#');
        return $c;
    };
    my @c = map { $bind->($_) } 1 .. 50;
    my $before = $pss->();
    push @c, map { $bind->($_) } 51 .. 550;
    my $each = ($pss->() - $before) / 500;
    $t->say(!main::plain_heap() || $each < 4000 ? 'small' : "$each octets");
    undef @c;
    $s->stop;
    return $t->text;
}
--- mqtt_out
small


=== TEST 14: taken over and detached, to the end
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server('', unlogged => 1);
    my $c = main::device($s, 'd', '-tls1_3', '-msg');
    main::deliver($s, $c, 'd', 50);
    main::upload($c, 20000);
    my $log = $s->log;
    $t->say($log =~ $main::TAKEN ? 'taken' : 'stays',
            $log =~ /push detach/ ? 'detached' : 'attached');
    my $again = main::device($s, 'd', '-tls1_3');
    $t->say($c->wait(qr/warning close_notify/) =~ /(close_notify)/);
    main::deliver($s, $again, 'd', 50);
    $s->stop;
    return $t->text;
}
--- mqtt_out
taken
detached
close_notify
