# HTTP around a push: pipelining, keep-alive, bodies in every way they come,
# large, slow or broken, and where the location stands.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::HTTP;
use Test::Nginx::Socket;
use Time::HiRes qw(sleep time);

repeat_each(1);
plan tests => repeat_each() * 42;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(push => <<'END') if !defined $block->push;
    zone 16m;
    product shop {
        api_key k;
        payload_limit 100k;
        anonymous on;
    }
END

    $block->set_value(config => '    location /v1/ { push_center; }')
        if ($block->config // '') eq '';

    $block->set_value(request => 'GET /v1/shop/uplink')
        if !defined $block->request;
    $block->set_value(more_headers => 'Authorization: Bearer k');
});

our $HEAD = "POST /v1/shop/users/alice/messages HTTP/1.1\r\nHost: localhost\r\n"
            . "Authorization: Bearer k\r\n";

# One that is read byte for byte, on a connection of its own.
sub http { Push::HTTP->new(port => http_port(), key => 'k', timeout => 5, @_) }

# A device of a user, subscribed.
sub device {
    my ($t, $user) = @_;
    my $c = $t->client(client => 'd', user => "shop/$user");

    $c->subscribe('shop/#');
    return $c;
}

# What it gets next.
sub got {
    my ($c) = @_;
    my $p = $c->expect('PUBLISH');

    $c->puback($p->{id});
    return $p->{payload};
}

sub chunked {
    my ($payload, $size) = @_;
    my $out = '';

    while ($payload ne '') {
        my $part = substr $payload, 0, $size, '';
        $out .= sprintf "%x\r\n%s\r\n", length $part, $part;
    }

    return "${out}0\r\n\r\n";
}

# Bytes to the server in pieces, with a rest in between.
sub trickle {
    my ($h, $bytes, $size) = @_;

    while ($bytes ne '') {
        $h->send_raw(substr $bytes, 0, $size, '');
        sleep 0.002;
    }
}

sub brief {
    my ($r) = @_;
    my $type = ref $r->{json} ? $r->{json}{type} // '' : 'no JSON';

    return "$r->{status} " . ($type =~ s/.*://r || 'ok')
           . (lc($r->{headers}{connection} // '') eq 'close' ? ' close' : '');
}

# The server has closed: no more bytes, and no timeout.
sub closed {
    my ($h) = @_;

    return 'closed' if !$h->{socket};
    return eval { !$h->fill(time + 5) } ? 'closed' : "open: $@$h->{in}";
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: two hundred pushes in one write, in order
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = main::device($t, 'alice');
    my @r = main::http()->pipeline(map {
        ['POST', '/v1/shop/users/alice/messages', "message $_"]
    } 1 .. 200);

    my $n = grep { $r[$_ - 1]{status} == 201
                   && $r[$_ - 1]{json}{id} =~ /-$_$/ } 1 .. 200;
    my $m = grep { main::got($c) eq "message $_" } 1 .. 200;

    return "$n answered, $m received";
}
--- mqtt_out
200 answered, 200 received
--- no_error_log
[error]



=== TEST 2: pushes, questions and refusals mixed, in one write
--- mqtt eval
sub {
    my ($t) = @_;
    my $path = '/v1/shop/users/alice/messages';
    my $h = main::http();

    $h->open;
    $h->send_raw(CORE::join '', map { $h->format(@$_) } (
        ['POST', $path, 'one'],
        ['POST', $path, 'x' x 3000, TTL => 'x'],
        ['GET', '/v1/shop/users/alice', 'a body that GET may have'],
        ['POST', $path, 'wrong key', Authorization => 'Bearer x'],
        ['PUT', $path, 'wrong method'],
        ['POST', "$path/x/y", 'no such thing'],
        ['POST', $path, 'x' x 102401],
        ['POST', $path, 'x' x 30000],
        ['POST', $path, '', TTL => 0],
        ['POST', $path, 'two'],
    ));

    $t->say(main::brief($h->response('POST'))) for 1 .. 10;
    $t->say($h->get('/v1/shop/users/alice')->{json}{queued});

    return $t->text;
}
--- mqtt_out
201 ok
400 invalid-header
200 ok
401 unauthorized
405 method-not-allowed
404 not-found
413 payload-too-large
201 ok
200 ok
201 ok
3
--- no_error_log
[error]



=== TEST 3: HEAD, between others in one write
--- mqtt eval
sub {
    my ($t) = @_;
    my $h = main::http();
    my $path = '/v1/shop/users/alice';

    $h->open;
    $h->send_raw($h->format('POST', "$path/messages", 'x')
                 . "HEAD $path HTTP/1.1\r\nHost: localhost\r\n"
                 . "Authorization: Bearer k\r\n\r\n"
                 . "HEAD $path/messages HTTP/1.1\r\nHost: localhost\r\n\r\n"
                 . $h->format('POST', "$path/messages", 'x'));

    $t->say(main::brief($h->response('POST')));

    for (1, 2) {
        $h->fill(Time::HiRes::time() + 5) while $h->{in} !~ /\r\n\r\n/;
        $h->{in} =~ s/\A(.*?)\r\n\r\n//s;
        my $head = $1;
        $t->say($head =~ /^HTTP\/1.1 (\d+)/,
                $head =~ /Content-Length: (\d+)/ && $1 > 90 ? 'length' : $head);
    }

    $t->say(main::brief($h->response('POST')));
    return $t->text;
}
--- mqtt_out
201 ok
200
length
405
length
201 ok
--- no_error_log
[error]



=== TEST 4: chunked, in chunks and writes of every size
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = main::device($t, 'alice');
    my $h = main::http();
    my $payload = CORE::join '', map { chr(65 + $_ % 26) } 1 .. 2000;

    for my $size (1, 7, 100, 2000) {
        for my $write (50, 333, 20000) {
            next if $size == 1 && $write == 50;

            main::trickle($h, "${main::HEAD}Transfer-Encoding: chunked\r\n\r\n"
                              . main::chunked($payload, $size), $write);

            my $r = main::brief($h->response('POST'));
            my $same = main::got($c) eq $payload ? 'same' : 'differs';
            $t->say("$r $same") if "$r $same" ne '201 ok same';
        }
    }

    $t->say('all');
    return $t->text;
}
--- mqtt_out
all
--- no_error_log
[error]



=== TEST 5: byte by byte, header and body
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = main::device($t, 'alice');
    my $h = main::http();

    main::trickle($h, "${main::HEAD}Content-Length: 10\r\n\r\n0123456789", 1);
    $t->say(main::brief($h->response('POST')), main::got($c));

    main::trickle($h, "${main::HEAD}Transfer-Encoding: chunked\r\n\r\n"
                      . main::chunked('0123456789', 4), 1);
    $t->say(main::brief($h->response('POST')), main::got($c));

    return $t->text;
}
--- mqtt_out
201 ok
0123456789
201 ok
0123456789
--- no_error_log
[error]



=== TEST 6: large bodies in pieces, with a small buffer, never in a file
--- config
    location /v1/ {
        client_body_buffer_size 1k;
        client_body_in_file_only on;
        push_center;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = main::device($t, 'alice');
    my $h = main::http();
    my $payload = CORE::join '', map { chr(32 + $_ * 7 % 95) } 1 .. 102400;

    for my $write (777, 5000, 200000) {
        main::trickle($h, "${main::HEAD}Content-Length: 102400\r\n\r\n$payload",
                      $write);
        $t->say(main::brief($h->response('POST')),
                main::got($c) eq $payload ? 'same' : 'differs');

        main::trickle($h, "${main::HEAD}Transfer-Encoding: chunked\r\n\r\n"
                          . main::chunked($payload, 3000), $write);
        $t->say(main::brief($h->response('POST')),
                main::got($c) eq $payload ? 'same' : 'differs');
    }

    my %n;
    $n{$_}++ for split /\n/, $t->text;

    my @files = grep { -f } glob main::test_dir() . '/servroot/client_body_temp/*';
    return "$n{'201 ok'} $n{same} files " . @files;
}
--- mqtt_out
6 6 files 0
--- no_error_log
[error]



=== TEST 7: a pipelined request behind a body that came in pieces
--- mqtt eval
sub {
    my ($t) = @_;
    my $h = main::http();
    my $body = 'x' x 50000;

    main::trickle($h, "${main::HEAD}Content-Length: 50000\r\n\r\n$body"
                      . $main::HEAD . "Content-Length: 3\r\n\r\nabc"
                      . "${main::HEAD}Transfer-Encoding: chunked\r\n\r\n"
                      . main::chunked('y' x 20000, 999)
                      . $main::HEAD . "Content-Length: 0\r\n\r\n", 4099);

    $t->say(main::brief($h->response('POST'))) for 1 .. 4;
    return $t->text;
}
--- mqtt_out
201 ok
201 ok
201 ok
201 ok
--- no_error_log
[error]



=== TEST 8: over the limit: told at once, or as soon as it is
--- mqtt eval
sub {
    my ($t) = @_;

    # nothing of the body is sent before the answer is there
    my $h = main::http();
    $h->send_raw("${main::HEAD}Content-Length: 102401\r\n\r\n");
    $t->say(main::brief($h->response('POST')));
    $h->send_raw('x' x 102401);
    $t->say(main::brief($h->post('/v1/shop/users/alice/messages', 'x')));

    # more than nginx's own limit
    $h = main::http();
    $h->send_raw("${main::HEAD}Content-Length: 99999999999\r\n\r\n");
    $t->say(main::brief($h->response('POST')));

    # it does not end
    $h = main::http();
    $h->send_raw("${main::HEAD}Transfer-Encoding: chunked\r\n\r\n");
    $h->send_raw(sprintf "%x\r\n%s\r\n", 9000, 'x' x 9000) for 1 .. 11;
    Time::HiRes::sleep(0.1);
    $t->say(IO::Select->new($h->{socket})->can_read(0) ? 'early' : 'waits');
    $h->send_raw(sprintf "%x\r\n%s", 9000, 'x' x 5000);
    $t->say(main::brief($h->response('POST')));

    # one byte too much and one that fits, complete
    for my $n (102401, 102400) {
        $h = main::http();
        $h->send_raw("${main::HEAD}Transfer-Encoding: chunked\r\n\r\n"
                     . main::chunked('x' x $n, 102401));
        $t->say(main::brief($h->response('POST')) =~ s/ close//r);
    }

    $t->say(main::http()->get('/v1/shop/users/alice')->{json}{queued});
    return $t->text;
}
--- mqtt_out
413 payload-too-large
201 ok
413 payload-too-large
waits
413 payload-too-large close
413 payload-too-large
201 ok
2
--- no_error_log
[error]



=== TEST 9: Expect: 100-continue
--- mqtt eval
sub {
    my ($t) = @_;
    my $h = main::http();

    $h->send_raw("${main::HEAD}Content-Length: 5\r\n"
                 . "Expect: 100-continue\r\n\r\n");
    $t->say($h->response('POST')->{status});
    $h->send_raw('hello');
    $t->say(main::brief($h->response('POST')));

    # a refusal comes instead of the invitation
    for my $header ("Content-Length: 102401", "Content-Length: 5\r\nTTL: x") {
        $h = main::http();
        $h->send_raw("${main::HEAD}$header\r\nExpect: 100-continue\r\n\r\n");
        $t->say(main::brief($h->response('POST')));
    }

    return $t->text;
}
--- mqtt_out
100
201 ok
413 payload-too-large close
400 invalid-header close
--- no_error_log
[error]



=== TEST 10: chunks that are none
--- mqtt eval
sub {
    my ($t) = @_;

    for my $body ("x\r\n", "5\r\nhelloX", "-1\r\n", "fffffffffffffffff\r\n") {
        my $h = main::http();
        $h->send_raw("${main::HEAD}Transfer-Encoding: chunked\r\n\r\n");
        Time::HiRes::sleep(0.05);
        $h->send_raw($body);
        $t->say(main::brief($h->response('POST')));

        $h = main::http();
        $h->send_raw("${main::HEAD}Transfer-Encoding: chunked\r\n\r\n$body");
        $t->say(main::brief($h->response('POST')));
    }

    $t->say(main::http()->get('/v1/shop/users/alice')->{status});
    return $t->text;
}
--- mqtt_out
400 invalid-body close
400 invalid-body close
400 invalid-body close
400 invalid-body close
400 invalid-body close
400 invalid-body close
400 invalid-body close
400 invalid-body close
404
--- error_log
client sent invalid chunked body



=== TEST 11: a body that does not come, and one whose sender goes
--- config
    location /v1/ {
        client_body_timeout 300ms;
        push_center;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my $h = main::http();

    $h->send_raw("${main::HEAD}Content-Length: 10\r\n\r\nhello");
    $t->say(main::closed($h));

    for my $part ('', 'hello', 'x' x 20000) {
        $h = main::http();
        $h->send_raw("${main::HEAD}Content-Length: 30000\r\n\r\n$part");
        Time::HiRes::sleep(0.05);
        $h->close;
    }

    Time::HiRes::sleep(0.05);
    $t->say(main::http()->get('/v1/shop/users/alice')->{status});
    return $t->text;
}
--- mqtt_out
closed
404
--- no_error_log
[error]



=== TEST 12: HTTP/1.0, the absolute form, a query, a fragment
--- mqtt eval
sub {
    my ($t) = @_;
    my $path = '/v1/shop/users/alice/messages';

    for my $line ("$path HTTP/1.0", "http://localhost$path HTTP/1.1",
                  "$path?x=/v1/y HTTP/1.1", "$path#x HTTP/1.1",
                  "$path? HTTP/1.1")
    {
        my $h = main::http();
        $h->send_raw("POST $line\r\nHost: localhost\r\n"
                     . "Authorization: Bearer k\r\nContent-Length: 1\r\n\r\nx");

        my $r = $h->response('POST');
        $t->say("$r->{status} " . $r->{headers}{location} =~ s/\w+-(\d)$/#$1/r);
    }

    return $t->text;
}
--- mqtt_out
201 /v1/shop/users/alice/messages/#1
201 /v1/shop/users/alice/messages/#2
201 /v1/shop/users/alice/messages/#3
201 /v1/shop/users/alice/messages/#4
201 /v1/shop/users/alice/messages/#5
--- no_error_log
[error]



=== TEST 13: behind a prefix, a regex, a rewrite
--- config
    location /push/ { push_center; }
    location ~ ^/re/v1/ { push_center; }
    location /old/ { rewrite ^/old/(\w+)/(\w+)$ /push/v1/$1/users/$2/messages last; }
--- mqtt eval
sub {
    my ($t) = @_;
    my $h = main::http();

    for my $path ('/push/v1/shop/users/a%2Fb/messages',
                  '/re/v1/shop/users/v1/messages', '/old/shop/alice',
                  '/push/shop/users/alice/messages',
                  '/push/v2/v1/shop/users/alice/messages')
    {
        my $r = $h->post($path, 'x');
        $t->say("$r->{status} "
                . (($r->{headers}{location} // '') =~ s/\w+-(\d)$/#$1/r));
    }

    $t->say($h->get('/push/v1/shop/users/alice')->{json}{queued});
    return $t->text;
}
--- mqtt_out
201 /push/v1/shop/users/a%2Fb/messages/#1
201 /re/v1/shop/users/v1/messages/#1
201 /old/shop/alice/#1
404 
201 /push/v2/v1/shop/users/alice/messages/#2
2
--- request
GET /push/v1/shop/uplink
--- no_error_log
[error]



=== TEST 14: a body that another module has had read, into a file
--- config
    location /v1/ {
        client_body_buffer_size 1k;
        mirror /mirror;
        push_center;
    }
    location = /mirror { internal; return 204; }
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = main::device($t, 'alice');
    my $h = main::http();

    for my $n (0, 10, 5000, 100000) {
        my $payload = substr CORE::join('', 'a' .. 'zz') x 200, 0, $n;
        my $r = $h->post('/v1/shop/users/alice/messages', $payload);
        $t->say(main::brief($r),
                main::got($c) eq $payload ? 'same' : 'differs');
    }

    $t->say(main::brief($h->post('/v1/shop/users/alice/messages',
                                 'x' x 102401)));
    return $t->text;
}
--- mqtt_out
201 ok
same
201 ok
same
201 ok
same
201 ok
same
413 payload-too-large
--- no_error_log
[error]
