# What our suites use of Test::Nginx: the same under the genuine module and
# under util/testlib, down to the number of tests.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Test::Nginx::Socket;

repeat_each(2);
plan tests => repeat_each() * 55;

no_long_string();
add_response_body_check(sub {
    my ($block, $body) = @_;
    Test::More::is(length $body, $block->body_length, 'a check of our own')
        if defined $block->body_length;
});

run_tests();

__DATA__

=== TEST 1: body, headers and codes
--- config
    location = /t {
        add_header X-One "a b" always;
        add_header X-Port $server_port always;
        return 404 "not here\n";
    }
--- request
GET /t
--- error_code: 404
--- response_headers
X-One: a b
X-Port: $ServerPort
! X-Two
--- response_body
not here
--- body_length: 9
--- raw_response_headers_like: X-One: a b\r\n
--- raw_response_headers_unlike: X-Two



=== TEST 2: patterns
--- config
    location = /t {
        add_header X-One abc;
        return 200 "one\ntwo\n";
    }
--- request
GET /t HTTP/1.0
--- error_code_like: ^2
--- response_headers_like
X-One: a.c
--- response_body_like
one
tw.
--- access_log
"GET /t HTTP/1.0" 200
--- no_access_log
POST



=== TEST 3: several requests, each over its own connection
--- config
    location ~ ^/ { return 200 "$request_method $uri $http_x_n\n"; }
--- request eval
["GET /a", "POST /b\nbody", ["PUT /c\nbo", "dy"]]
--- more_headers eval
["X-N: 1", "X-N: 2", "X-N: 3"]
--- response_body eval
["GET /a 1\n", "POST /b 2\n", qr/^PUT .c 3/]
--- error_log eval
qr/http request line: "(?:GET|POST|PUT) /
--- http_config
    map $uri $unused { default 0; }



=== TEST 4: pipelined
--- config
    location = /a { return 200 "a\n"; }
    location = /b { return 201 "b\n"; }
--- pipelined_requests eval
["GET /a", "POST /b\nbody"]
--- error_code eval
[200, 201]
--- response_body eval
["a\n", "b\n"]



=== TEST 5: a raw request in two parts
--- config
    location = /t { return 200 "$http_x_long\n"; }
--- raw_request eval
["GET /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Lo",
 "ng: yes\r\n\r\n"]
--- raw_request_middle_delay: 0.1
--- response_body
yes



=== TEST 6: logs
--- config
    location = /t { return 200 "$remote_addr\n"; }
--- request
GET /t?grep-me
--- response_body
127.0.0.1
--- grep_error_log eval
qr/http request line: "[^"]+"/
--- grep_error_log_out
http request line: "GET /t?grep-me HTTP/1.1"
--- error_log eval
["grep-me", qr/http (process )?request line/]
--- no_error_log
[alert]
[crit]



=== TEST 7: a broken configuration
--- config
    location = /t { no_such_directive; }
--- must_die
--- error_log
unknown directive "no_such_directive"
--- no_error_log
[alert]



=== TEST 8: the exit code of a broken configuration
--- config
    return;
--- must_die: 1



=== TEST 9: files, environment, filters
--- user_files
>>> sub/file.txt
from $TEST_NGINX_MQTT_PORT
--- config
    location = /t { alias $TEST_NGINX_SERVER_ROOT/html/sub/file.txt; }
--- request
GET /t
--- response_body_filters
uc lc
--- response_body eval
"from $ENV{TEST_NGINX_MQTT_PORT}\n"



=== TEST 10: chunked
--- config
    location = /t {
        ssi on;
        ssi_types text/plain;
        default_type text/plain;
        alias $TEST_NGINX_SERVER_ROOT/html/t.txt;
    }
--- user_files
>>> t.txt
a<!--# echo var="request_method" -->b
--- request
GET /t
--- response_headers
Transfer-Encoding: chunked
--- response_body
aGETb



=== TEST 11: no answer
--- config
    location = /t { return 444; }
--- request
GET /t
--- ignore_response
--- no_error_log
[alert]



=== TEST 12: HTTP/0.9
--- config
    location = /t { return 200 "old"; }
--- raw_request eval
"GET /t\r\n"
--- http09
--- response_body: old



=== TEST 13: not for this version
--- config
    location = /t { return 200; }
--- request
GET /t
--- skip_nginx: 3: >= 1.0.0



=== TEST 14: skipped by code
--- config
    location = /t { return 200; }
--- request
GET /t
--- skip_eval: 2: 1 == 1



=== TEST 15: a timeout that is expected
--- config
    location = /t { return 200 "never asked\n"; }
--- raw_request eval
"GET /t HTTP/1.1\r\nHost: loc"
--- timeout: 300ms
--- abort
--- ignore_response
--- no_error_log
[alert]



=== TEST 16: a connection closed for writing
--- config
    location = /t { return 200 "half\n"; }
--- raw_request eval
"GET /t HTTP/1.0\r\n\r\n"
--- shutdown: 1
--- response_body
half
