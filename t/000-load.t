# The modules load into the packaged nginx, with and without a master, one
# worker and several, and the folder stays clean when they leave.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Test::Nginx::Socket;

repeat_each(2);
plan tests => repeat_each() * 12;

no_shuffle();
run_tests();

__DATA__

=== TEST 1: all modules, and nothing configured
--- push: none
--- room: none
--- config
    location = /t { return 200 "loaded\n"; }
--- request
GET /t
--- response_body
loaded
--- no_error_log
[error]
[alert]



=== TEST 2: a product and a room
--- config
    location = /t { return 200 "loaded\n"; }
--- request
GET /t
--- response_body
loaded
--- no_error_log
[error]
[alert]



=== TEST 3: an unknown directive inside of push
--- push
    no_such_directive on;
--- must_die
--- error_log
[emerg]
no_such_directive
--- no_error_log
[alert]
