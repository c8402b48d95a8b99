# Answers to pipelined pushes that are written together: each comes, in order
# and at once, whatever follows it on the connection, and whoever answers that.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::HTTP;
use Push::Server;
use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF SHUT_WR);
use Test::Nginx::Socket;
use Time::HiRes qw(sleep time);

repeat_each(1);
plan tests => repeat_each() * 36;

certificate();                 # TEST 3 asks for it

add_block_preprocessor(sub {
    my ($block) = @_;

    return if ($block->push // '') =~ /none/;

    $block->set_value(push => <<'END');
    zone 16m;
    product shop { api_key k; payload_limit 100k; anonymous on; }
END

    $block->set_value(config => ($block->config // '') . <<'END');
    location /v1/ { push_center; }
    location = /metrics { push_metrics; }
END

    $block->set_value(request => 'GET /v1/shop/uplink')
        if !defined $block->request;
    $block->set_value(more_headers => 'Authorization: Bearer k');
});

our $PATH = '/v1/shop/users/alice/messages';

sub http { Push::HTTP->new(port => http_port(), key => 'k', timeout => 5, @_) }

sub post {
    my ($payload, @headers) = @_;
    return http()->format('POST', $main::PATH, $payload, @headers);
}

# How many answers were held back so far.
sub gathered {
    my ($port) = @_;
    my $text = http($port ? (port => $port) : ())->get('/metrics')->{body};

    return ($text =~ /^ngx_push_http_answers_gathered_total (\d+)/m)[0];
}

# "STATUS" or, of a push, "#" and the number of the message.
sub brief {
    my ($r) = @_;

    return $r->{status} if ($r->{json} // '') eq '' || $r->{status} != 201;
    return '#' . ($r->{json}{id} =~ /-(\d+)$/)[0];
}

# What the answers to so many requests are; "closed" ends them.
sub answers {
    my ($h, $n) = @_;
    my @all;

    for (1 .. $n) {
        my $r = $h->{socket} && eval { $h->response('POST') };

        if (!$r) {
            push @all, $h->{socket} && $@ =~ /timeout/ ? 'timeout' : 'closed';
            last;
        }

        push @all, brief($r);
    }

    return CORE::join ' ', @all;
}

# 1 .. N as answers() says it.
sub numbers { CORE::join ' ', map { "#$_" } $_[0] .. $_[1] }

sub same { $_[0] eq $_[1] ? 'all' : "got $_[0]" }

# Sends as long as it goes, without reading, then reads a little at a time.
sub flood {
    my ($h, $bytes) = @_;
    my $s = $h->{socket};

    $s->blocking(0);

    while ($bytes ne '') {
        my $n = syswrite $s, $bytes, 65536;

        if ($n) {
            substr($bytes, 0, $n) = '';

        } elsif (!IO::Select->new($s)->can_write($h->{in} eq '' ? 0.3 : 0.001)) {
            sysread $s, $h->{in}, 3000, length $h->{in};
        }
    }

    $s->blocking(1);
}

sub slow {
    my ($port) = @_;
    my $h = http(port => $port, timeout => 20);

    $h->open;
    setsockopt $h->{socket}, SOL_SOCKET, SO_RCVBUF, 16384 or die "$!";

    return $h;
}

sub tls {
    my ($port) = @_;

    require IO::Socket::SSL;
    my $h = http(port => $port);
    $h->{socket} = IO::Socket::SSL->new(PeerAddr => "127.0.0.1:$port",
                                        SSL_verify_mode => 0)
        or die "TLS failed\n";

    return $h;
}

# A server with a small socket buffer, TLS and HTTP/2.
sub server {
    return Push::Server->new(workers => 1, @_, http => <<'END')->start;
        listen {{spare}} sndbuf=8k;
        listen {{mqtts}} ssl http2;
        ssl_certificate {{cert}};
        ssl_certificate_key {{certkey}};
        keepalive_requests 100000;
        location /v1/ { push_center; }
        location = /metrics { push_metrics; }
END
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: answers to pipelined pushes go out together, that to a lone one
--- mqtt eval
sub {
    my ($t) = @_;
    my $h = main::http();

    $h->post($main::PATH, 'x') for 1 .. 5;
    $t->say('lone ' . main::gathered());

    my $got = '';
    for (1 .. 9) {
        $h->send_raw(CORE::join '', map { main::post("message $_") } 1 .. 100);
        $got .= main::answers($h, 100) . ' ';
    }
    $t->say(main::same($got, main::numbers(6, 905) . ' '));

    my $n = main::gathered();
    $t->say($n > 700 && $n <= 891 ? 'most held' : "held $n");
    return $t->text;
}
--- mqtt_out
lone 0
all
most held
--- no_error_log
[error]



=== TEST 2: none waits for what does not come
--- mqtt eval
sub {
    my ($t) = @_;

    # a part of a request behind it: of its line, of its header, of its body
    for my $part ("PO", "POST $main::PATH HTTP/1.1\r\nHost: x",
                  substr main::post('a long body'), 0, -4)
    {
        my $h = main::http();
        my $start = Time::HiRes::time();

        $h->send_raw(main::post('x') . main::post('y') . $part);
        $t->say(main::answers($h, 2));
        my $took = Time::HiRes::time() - $start;
        $t->say("took $took") if $took > 1;
    }

    # an empty line, which is no request
    my $before = main::gathered();
    my $h = main::http();
    $h->send_raw(main::post('x') . "\r\n");
    $t->say(main::answers($h, 1), main::gathered() - $before);
    $h->send_raw(main::post('y'));
    $t->say(main::answers($h, 1));

    return $t->text;
}
--- mqtt_out
#1 #2
#3 #4
#5 #6
#7
0
#8
--- no_error_log
[error]



=== TEST 3: what others answer comes behind it, and a refusal, and a hint
--- config
    location = /static { return 200 "static\n"; }
    location = /file { root $TEST_NGINX_PUSH_DIR; try_files /cert.pem =404; }
    location = /gone { return 410; }
--- mqtt eval
sub {
    my ($t) = @_;
    my $h = main::http();

    $h->open;
    $h->send_raw(CORE::join '', map { main::post('x') . $_ }
        $h->format('GET', '/static'), $h->format('GET', '/file'),
        $h->format('GET', '/v1/shop/users/alice'), $h->format('GET', '/none'),
        $h->format('GET', '/gone'), main::post('y', TTL => 'x'),
        main::post('z', Authorization => 'Bearer x'),
        main::post('z', Expect => '100-continue'), main::post('z' x 100000));

    $t->say(main::answers($h, 19));
    return $t->text;
}
--- mqtt_out
#1 200 #2 200 #3 200 #4 404 #5 410 #6 400 #7 401 #8 100 #9 #10 #11
--- no_error_log
[alert]



=== TEST 4: a connection that ends behind it
--- config
    location = /cut { return 444; }
    location /two/ {
        keepalive_requests 3;
        rewrite ^/two(/.*) $1 break;
        push_center;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my $three = main::post('a') . main::post('b') . main::post('c');

    for my $last ("GET /cut HTTP/1.1\r\nHost: x\r\n\r\n",
                  "\x01\x02\r\n\r\n",
                  "GET / HTTP/1.1\r\n\r\n",
                  "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
                  main::post('d', Connection => 'close') . $three)
    {
        my $h = main::http();
        $h->send_raw($three . $last);
        $t->say(main::answers($h, 6));
    }

    my $h = main::http();
    $h->send_raw($three =~ s!/v1!/two/v1!gr x 2);
    $t->say(main::answers($h, 6));

    return $t->text;
}
--- mqtt_out
#1 #2 #3 closed
#4 #5 #6 400 closed
#7 #8 #9 400 closed
#10 #11 #12 400 closed
#13 #14 #15 #16 closed
#17 #18 #19 closed
--- no_error_log
[error]



=== TEST 5: a client that has sent its last
--- mqtt eval
sub {
    my ($t) = @_;
    my $ten = CORE::join '', map { main::post("m$_") } 1 .. 10;

    for my $rest ('', "\r\n", 'POS', "POST / HTTP/1.1\r\nHost: x\r\n",
                  substr(main::post('y' x 5000), 0, 4000))
    {
        my $h = main::http();
        $h->send_raw($ten . $rest);
        shutdown $h->{socket}, main::SHUT_WR;
        $t->say(main::answers($h, 11));
    }

    # with a pause, so that it is a matter of its own
    my $h = main::http();
    $h->send_raw("${ten}POS");
    Time::HiRes::sleep(0.05);
    shutdown $h->{socket}, main::SHUT_WR;
    $t->say(main::answers($h, 11) =~ s/.* //r);

    # and one that has gone
    for my $n (1, 10, 1000) {
        $h = main::http();
        $h->send_raw($ten x $n);
        setsockopt $h->{socket}, main::SOL_SOCKET, main::SO_LINGER,
                   CORE::pack('ii', 1, 0);
        $h->close;
    }

    Time::HiRes::sleep(0.2);
    $t->say(main::http()->get('/v1/shop/users/alice')->{status});
    return $t->text;
}
--- mqtt_out
#1 #2 #3 #4 #5 #6 #7 #8 #9 #10 closed
#11 #12 #13 #14 #15 #16 #17 #18 #19 #20 closed
#21 #22 #23 #24 #25 #26 #27 #28 #29 #30 closed
#31 #32 #33 #34 #35 #36 #37 #38 #39 #40 closed
#41 #42 #43 #44 #45 #46 #47 #48 #49 #50 closed
closed
200
--- no_error_log
[error]



=== TEST 6: pipelines in writes of every size, with bodies of both kinds
--- mqtt eval
sub {
    my ($t) = @_;
    my $n = 0;

    for my $write (1, 7, 100, 999, 1024, 5000, 8192, 100000) {
        my $h = main::http();
        my $bytes = '';

        for my $i (1 .. 30) {
            my $size = ($i * 137) % 900 + 1;
            $bytes .= $i % 3 ? main::post('x' x $size)
                : main::post(undef, 'Transfer-Encoding' => 'chunked')
                  . sprintf("%x\r\n%s\r\n", $size, 'y' x $size) . "0\r\n\r\n";
        }

        while ($bytes ne '') {
            $h->send_raw(substr $bytes, 0, $write, '');
            Time::HiRes::sleep(0.001) if $write >= 100 && $write < 9000;
        }

        my $got = main::answers($h, 30);
        $t->say("$write: $got") if $got ne main::numbers($n + 1, $n + 30);
        $n += 30;
    }

    $t->say($n);
    return $t->text;
}
--- mqtt_out
240
--- no_error_log
[error]



=== TEST 7: the next request waits: the answers before it do not
--- config
    location = /slow { proxy_pass http://127.0.0.1:$TEST_NGINX_SPARE_PORT; }
    location = /limited { limit_rate 1; return 200 "xxxxxxxxxxxxxxxxxxxxx"; }
--- mqtt eval
sub {
    my ($t) = @_;
    my $up = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5,
                                   LocalPort => $ENV{TEST_NGINX_SPARE_PORT},
                                   ReuseAddr => 1) or die "$!";
    my $h = main::http();

    $h->open;
    $h->send_raw(main::post('a') . main::post('b')
                 . $h->format('GET', '/slow') . main::post('c'));
    $t->say(main::answers($h, 2));

    my $c = $up->accept;
    sysread $c, my $request, 4096;
    $c->print("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nup");
    $c->close;
    $t->say(main::answers($h, 2));

    $h->send_raw(main::post('d') . main::post('e')
                 . $h->format('GET', '/limited'));
    $t->say(main::answers($h, 2));
    return $t->text;
}
--- mqtt_out
#1 #2
200 #3
#4 #5
--- no_error_log
[error]



=== TEST 8: logged as if each had been written by itself
--- http_config
    log_format sent "$status $bytes_sent $body_bytes_sent";
--- config
    access_log $TEST_NGINX_PUSH_DIR/sent.log sent;
    add_header X-Sent yes;
--- mqtt eval
sub {
    my ($t) = @_;
    my $h = main::http();
    my $log = main::test_dir() . '/sent.log';
    my ($in, $all, $body) = (0, 0, 0);

    $h->open;
    open my $before, '<', $log or die "$!";
    () = <$before>;

    $h->send_raw(CORE::join('', map { main::post("m$_") } 1 .. 99)
                 . main::post('last', Connection => 'close'));

    while ($h->fill(Time::HiRes::time() + 5)) { }

    $in = length $h->{in};
    my $headers = () = $h->{in} =~ /^X-Sent: yes/mg;
    my ($first) = $h->{in} =~ /\r\n\r\n(.*?\n)/s;

    $h->close;
    Time::HiRes::sleep(0.1);
    seek $before, 0, 1;
    my @lines = grep { /^201 / } <$before>;
    for (@lines) {
        my (undef, $sent, $of) = split;
        $all += $sent;
        $t->say("body $of") if $of < length $first || $of > 2 + length $first;
    }

    $t->say(scalar @lines, $headers, $in == $all ? 'same' : "$in != $all");
    return $t->text;
}
--- mqtt_out
100
100
same
--- no_error_log
[error]



=== TEST 9: a client that does not read for a while
--- push: none
--- room: none
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $n = 0;
    my $key = $s->dialogue->http->{key};
    my $one = main::post('x') =~ s/Bearer k/Bearer $key/r;

    # 5,000 of them; then without the end of one, so that nothing pushes on
    for my $rest ('', substr $one, 0, 30) {
        my $h = main::slow($s->{spare});

        main::flood($h, $one x 5000 . $rest);
        $t->say(main::same(main::answers($h, 5000),
                           main::numbers($n + 1, $n + 5000)));
        $n += 5000;
    }

    my $held = main::gathered($s->http_port);
    $t->say($held > 5000 ? 'most held' : "held $held");

    # little enough for the socket to take a part only
    for my $count (20, 40, 60, 100) {
        my $h = main::slow($s->{spare});

        $h->send_raw($one x $count . 'POST');
        Time::HiRes::sleep(0.3);
        my $got = main::answers($h, $count);
        $t->say("$count: $got") if $got ne main::numbers($n + 1, $n + $count);
        $n += $count;
    }

    $s->stop;
    return $t->text;
}
--- mqtt_out
all
all
most held
--- request
GET /
--- no_error_log
[error]



=== TEST 10: TLS, read late too, and HTTP/2
--- push: none
--- room: none
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $key = $s->dialogue->http->{key};
    my $one = main::post('x') =~ s/Bearer k/Bearer $key/r;

    my $h = main::tls($s->mqtts_port);
    print { $h->{socket} } $one for 1 .. 3;
    $t->say(main::answers($h, 3));
    my $before = main::gathered($s->http_port);

    print { $h->{socket} } $one x 60 . substr $one, 0, 50;
    $t->say(main::same(main::answers($h, 60), main::numbers(4, 63)));
    my $held = main::gathered($s->http_port) - $before;
    $t->say($held > 40 ? 'most held' : "held $held");

    print { $h->{socket} } substr($one, 50) . $one x 3000;
    Time::HiRes::sleep(0.2);
    $t->say(main::same(main::answers($h, 3001), main::numbers(64, 3064)));

    my $url = 'https://127.0.0.1:' . $s->mqtts_port . $main::PATH;
    $before = main::gathered($s->http_port);
    my @codes = sort split /\n/, qx(curl -sSk --no-progress-meter --http2 -Z -o /dev/null \\
        -w '%{http_code} %{http_version}\\n' -H 'Authorization: Bearer $key' \\
        -d x '$url#[1-50]');
    $t->say(scalar @codes, $codes[0], $codes[-1],
            main::gathered($s->http_port) - $before);
    $s->stop;
    return $t->text;
}
--- mqtt_out
#1 #2 #3
all
most held
all
50
201 2
201 2
0
--- request
GET /
--- no_error_log
[error]



=== TEST 11: reloads and the end: what is logged as answered has come
--- push: none
--- room: none
--- timeout: 60
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $key = $s->dialogue->http->{key};
    my $one = main::post('x') =~ s/Bearer k/Bearer $key/r;
    my ($came, $sent) = (0, 0);

    for my $round (1 .. 12) {
        my $h = main::http(port => $s->http_port);

        $h->send_raw($one x 200);
        $sent += 200;

        if ($round == 12) {
            kill QUIT => $s->master;

        } elsif ($round % 2) {
            kill HUP => $s->master;
        }

        eval { $h->send_raw($one x 200) };
        $came += () = main::answers($h, 400) =~ /#\d+/g;
        Time::HiRes::sleep(0.1);
    }

    $s->until('the end', sub { !$s->master }, 20);

    open my $log, '<', $s->dir . '/logs/access.log' or die "$!";
    my $logged = grep { /" 201 / } <$log>;
    $t->say($came == $logged ? 'same' : "$came came, $logged logged");
    $t->say($came >= 1000 ? 'enough' : "only $came");
    return $t->text;
}
--- mqtt_out
same
enough
--- request
GET /
--- no_error_log
[error]



=== TEST 12: what stands behind the last answer is sent again, once
--- config
    location /two/ {
        keepalive_requests 3;
        rewrite ^/two(/.*) $1 break;
        push_center;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my @all = main::http()->pipeline(map {
        ['POST', "/two$main::PATH", "$_"]
    } 1 .. 8);

    $t->say(CORE::join ' ', map { main::brief($_) } @all);
    return $t->text;
}
--- mqtt_out
#1 #2 #3 #4 #5 #6 #7 #8
--- no_error_log
[error]
