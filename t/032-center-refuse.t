# Who may do what, what does not exist, and that nothing is told to those who
# have no key: each refusal is a problem document, and the connection goes on.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::HTTP;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 32;

add_block_preprocessor(sub {
    my ($block) = @_;

    return if defined $block->must_die;

    $block->set_value(push => <<'END') if !defined $block->push;
    zone 4m;
    product shop {
        api_key k-publish publish;
        api_key k-query query;
        api_key k-operate operate;
        api_key k-all;
        anonymous on;
    }
    product other {
        api_key k-other;
        anonymous on;
    }
END

    $block->set_value(config => '    location /v1/ { push_center; }')
        if ($block->config // '') eq '';

    $block->set_value(request => 'GET /v1/shop/uplink')
        if !defined $block->request;
    $block->set_value(more_headers => 'Authorization: Bearer k-all');
});

# A request as it is, and what the answer says on one line.
sub ask {
    my ($t, $method, $path, $key, @headers) = @_;

    $t->{plain} //= Push::HTTP->new(port => http_port());

    my $r = $t->{plain}->request($method, $path,
                                 $method eq 'POST' ? 'x' : '',
                                 (defined $key ? (Authorization => $key) : ()),
                                 @headers);

    return $r->{status} if $r->{status} < 400;

    my $p = $r->{json} || return "$r->{status} not JSON: $r->{body}";

    return "$r->{status} $p->{type}" if $p->{status} != $r->{status}
           || $r->{headers}{'content-type'} ne 'application/problem+json'
           || !$p->{title} || !$p->{detail};

    my $text = "$r->{status} " . $p->{type} =~ s/^urn:ngx-push:problem://r;

    for my $member (qw(header parameter name scope)) {
        $text .= " $member=$p->{$member}" if defined $p->{$member};
    }

    for my $header (qw(allow www-authenticate retry-after)) {
        my $value = $r->{headers}{$header};
        $text .= " [$value]" if defined $value;
    }

    return $text;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: no key, no such key, another product's, no such product
--- mqtt eval
sub {
    my ($t) = @_;
    my $path = '/v1/shop/users/alice/messages';

    for my $key (undef, '', 'k-all', 'Basic k-all', 'Bearer', 'Bearer ',
                 'Bearerk-all', 'Bearer k-al', 'Bearer k-alll', 'Bearer K-ALL',
                 'Bearer k-other', 'Bearer k-all k-all')
    {
        $t->say(main::ask($t, 'POST', $path, $key));
    }

    for my $product ('nope', 'x' x 200, 'sh%6Fp2') {
        $t->say(main::ask($t, 'POST', "/v1/$product/users/alice/messages",
                          'Bearer k-all'));
    }

    return $t->text;
}
--- mqtt_out
401 unauthorized header=Authorization [Bearer realm="push"]
401 unauthorized header=Authorization [Bearer realm="push"]
401 unauthorized header=Authorization [Bearer realm="push"]
401 unauthorized header=Authorization [Bearer realm="push"]
401 unauthorized header=Authorization [Bearer realm="push"]
401 unauthorized header=Authorization [Bearer realm="push"]
401 unauthorized header=Authorization [Bearer realm="push"]
401 unauthorized header=Authorization [Bearer realm="push", error="invalid_token"]
401 unauthorized header=Authorization [Bearer realm="push", error="invalid_token"]
401 unauthorized header=Authorization [Bearer realm="push", error="invalid_token"]
401 unauthorized header=Authorization [Bearer realm="push", error="invalid_token"]
401 unauthorized header=Authorization [Bearer realm="push", error="invalid_token"]
401 unauthorized header=Authorization [Bearer realm="push", error="invalid_token"]
401 unauthorized header=Authorization [Bearer realm="push", error="invalid_token"]
401 unauthorized header=Authorization [Bearer realm="push", error="invalid_token"]
--- no_error_log
[error]



=== TEST 2: ways to write a key that is right
--- mqtt eval
sub {
    my ($t) = @_;
    my $path = '/v1/shop/users/alice/messages';

    for my $key ('Bearer k-all', 'bearer k-all', 'BEARER   k-all',
                 'Bearer k-all  ')
    {
        $t->say(main::ask($t, 'POST', $path, $key));
    }

    $t->say(main::ask($t, 'POST', '/v1/sh%6Fp/users/alice/messages',
                      'Bearer k-all'));
    return $t->text;
}
--- mqtt_out
201
201
201
201
201
--- no_error_log
[error]



=== TEST 3: scopes
--- mqtt eval
sub {
    my ($t) = @_;

    for my $key (qw(k-publish k-query k-operate)) {
        for my $request (['POST', '/v1/shop/users/alice/messages'],
                         ['POST', '/v1/shop/groups/g/messages'],
                         ['POST', '/v1/shop/broadcasts'],
                         ['GET',  '/v1/shop/users/alice'],
                         ['GET',  '/v1/shop/users/alice/messages/1-1'],
                         ['GET',  '/v1/shop/uplink'])
        {
            $t->say("$key: " . main::ask($t, @$request, "Bearer $key"));
        }
    }

    return $t->text;
}
--- mqtt_out
k-publish: 201
k-publish: 201
k-publish: 202
k-publish: 403 forbidden scope=query [Bearer realm="push", error="insufficient_scope", scope="query"]
k-publish: 403 forbidden scope=query [Bearer realm="push", error="insufficient_scope", scope="query"]
k-publish: 403 forbidden scope=query [Bearer realm="push", error="insufficient_scope", scope="query"]
k-query: 403 forbidden scope=publish [Bearer realm="push", error="insufficient_scope", scope="publish"]
k-query: 403 forbidden scope=publish [Bearer realm="push", error="insufficient_scope", scope="publish"]
k-query: 403 forbidden scope=publish [Bearer realm="push", error="insufficient_scope", scope="publish"]
k-query: 200
k-query: 404 not-found
k-query: 200
k-operate: 403 forbidden scope=publish [Bearer realm="push", error="insufficient_scope", scope="publish"]
k-operate: 403 forbidden scope=publish [Bearer realm="push", error="insufficient_scope", scope="publish"]
k-operate: 403 forbidden scope=publish [Bearer realm="push", error="insufficient_scope", scope="publish"]
k-operate: 403 forbidden scope=query [Bearer realm="push", error="insufficient_scope", scope="query"]
k-operate: 403 forbidden scope=query [Bearer realm="push", error="insufficient_scope", scope="query"]
k-operate: 403 forbidden scope=query [Bearer realm="push", error="insufficient_scope", scope="query"]
--- no_error_log
[error]



=== TEST 4: a key of one product does nothing in another
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::ask($t, 'POST', '/v1/other/users/alice/messages',
                      'Bearer k-other'));
    $t->say(main::ask($t, 'GET', '/v1/other/users/alice', 'Bearer k-all'));
    $t->say(main::ask($t, 'GET', '/v1/shop/users/alice', 'Bearer k-all'));
    $t->say(main::ask($t, 'GET', '/v1/other/users/alice', 'Bearer k-other'));

    return $t->text;
}
--- mqtt_out
201
401 unauthorized header=Authorization [Bearer realm="push", error="invalid_token"]
404 not-found
200
--- no_error_log
[error]



=== TEST 5: paths that are no resource
--- mqtt eval
sub {
    my ($t) = @_;

    for my $path ('/v1/', '/v1/shop', '/v1/shop/', '/v1/shop/users',
                  '/v1/shop/users/', '/v1/shop/users//messages',
                  '/v1/shop/users/alice/', '/v1/shop/users/alice/message',
                  '/v1/shop/users/alice/messages/', '/v1/shop/Users/alice',
                  '/v1/shop/users/alice/messages/1-1/x', '/v1/shop/groups/g',
                  '/v1/shop/groups/g/message/1-1', '/v1/shop/broadcasts/',
                  '/v1/shop/broadcasts/1-1/x', '/v1/shop/uplink/',
                  '/v1/shop/uplink/x', '/v1//shop/uplink',
                  '/v1/shop/messages:batch')
    {
        $t->say(main::ask($t, 'GET', $path, 'Bearer k-all'));
    }

    return "@{[do { my %n; $n{$_}++ for split /\n/, $t->text; %n }]}";
}
--- mqtt_out
404 not-found 19
--- no_error_log
[error]



=== TEST 6: methods
--- mqtt eval
sub {
    my ($t) = @_;

    for my $path ('/v1/shop/users/alice/messages', '/v1/shop/broadcasts') {
        $t->say(main::ask($t, $_, $path, 'Bearer k-all'))
            for qw(GET PUT DELETE PATCH OPTIONS);
    }

    for my $path ('/v1/shop/users/alice', '/v1/shop/uplink',
                  '/v1/shop/broadcasts/1-1')
    {
        $t->say(main::ask($t, $_, $path, 'Bearer k-all'))
            for qw(POST PUT DELETE);
    }

    return $t->text;
}
--- mqtt_out
405 method-not-allowed [POST]
405 method-not-allowed [POST]
405 method-not-allowed [POST]
405 method-not-allowed [POST]
405 method-not-allowed [POST]
405 method-not-allowed [POST]
405 method-not-allowed [POST]
405 method-not-allowed [POST]
405 method-not-allowed [POST]
405 method-not-allowed [POST]
405 method-not-allowed [GET, HEAD]
405 method-not-allowed [GET, HEAD]
405 method-not-allowed [GET, HEAD]
405 method-not-allowed [GET, HEAD]
405 method-not-allowed [GET, HEAD]
405 method-not-allowed [GET, HEAD]
405 method-not-allowed [GET, HEAD]
405 method-not-allowed [GET, HEAD]
405 method-not-allowed [GET, HEAD]
--- no_error_log
[error]



=== TEST 7: names that are none
--- mqtt eval
sub {
    my ($t) = @_;

    for my $name ('%2E', '%2e%2E', 'a%2F..%2Fb', 'a%2F.', '.%2Fa', '%01',
                  '%7F', '%C2%85', '%FF', '%C0%AF', '%ED%A0%80', 'a%0A',
                  'x' x 256)
    {
        $t->say(main::ask($t, 'POST', "/v1/shop/users/$name/messages",
                          'Bearer k-all'));
    }

    for my $name ('a%2Fb', 'a+b', 'a%2Bb', 'a%23', 'x' x 256) {
        $t->say(main::ask($t, 'POST', "/v1/shop/groups/$name/messages",
                          'Bearer k-all'));
    }

    # to be told that much takes a key
    $t->say(main::ask($t, 'POST', '/v1/shop/users/%01/messages'));

    my %n;
    $n{$_}++ for split /\n/, $t->text;
    my $text = '';
    $text .= "$n{$_}: $_\n" for sort keys %n;
    return $text;
}
--- mqtt_out
5: 400 invalid-name name=group
13: 400 invalid-name name=user
1: 401 unauthorized header=Authorization [Bearer realm="push"]
--- no_error_log
[error]



=== TEST 8: a location for one product is not reached round about
--- config
    location /v1/ { push_center; }
    location /v1/shop/ { deny all; push_center; }
--- mqtt eval
sub {
    my ($t) = @_;

    for my $path ('/v1/shop/uplink', '/v1/%73hop/uplink', '/v1/./shop/uplink',
                  '/v1/other/../shop/uplink', '//v1/shop/uplink',
                  '/v1/shop/users/a%2F..%2F..%2F..%2Fother%2Fuplink',
                  '/v1/shop/../other/uplink', '/v1/shop%2F..%2Fother/uplink',
                  '/v1/other/%2e%2e/shop/uplink')
    {
        my $r = Push::HTTP->new(port => main::http_port(), key => 'k-all')
                ->get($path);
        $t->say("$r->{status} $path");
    }

    return $t->text;
}
--- mqtt_out
403 /v1/shop/uplink
403 /v1/%73hop/uplink
403 /v1/./shop/uplink
403 /v1/other/../shop/uplink
403 //v1/shop/uplink
400 /v1/shop/users/a%2F..%2F..%2F..%2Fother%2Fuplink
404 /v1/shop/../other/uplink
401 /v1/shop%2F..%2Fother/uplink
403 /v1/other/%2e%2e/shop/uplink
--- request
GET /v1/other/uplink
--- error_code: 401
--- no_error_log
[emerg]



=== TEST 9: push_center without push
--- push: none
--- room: none
--- config
    location /v1/ { push_center; }
--- must_die
--- error_log eval
qr/\[emerg\].*"push_center" needs a "push" block in .*nginx.conf:\d+/



=== TEST 10: push_center twice
--- config
    location /v1/ { push_center; push_center; }
--- must_die
--- error_log
"push_center" directive is duplicate



=== TEST 11: push_center in a server
--- config
    push_center;
--- must_die
--- error_log
"push_center" directive is not allowed here



=== TEST 12: push_center with an argument
--- config
    location /v1/ { push_center on; }
--- must_die
--- error_log
invalid number of arguments in "push_center" directive
