# push_dispatch: rooms are drawn at random by weight, each once; the answer is
# never cached; directives inherit as a whole and refuse what cannot work.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::HTTP;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 67;

own_servers();

# How often each address is answered at all, and which of them came first and
# how many there were of how many, as text, in so many requests.
sub draw {
    my ($path, $times) = @_;
    my $http = Push::HTTP->new(port => http_port());
    my (%first, %any, %length);

    for (1 .. $times) {
        my $rooms = $http->get($path)->{json}{rooms};
        my %seen;

        $first{$rooms->[0]}++;
        $any{$_}++ for grep { !$seen{$_}++ } @$rooms;
        $length{@$rooms . ' of ' . keys %seen}++;
    }

    return { any    => \%any,
             count  => \%first,
             first  => join(',', sort keys %first),
             length => join(',', sort keys %length) };
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: one room
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_room mqtt://room1.example.com:1883;
    }
--- request
GET /rooms
--- response_headers
Content-Type: application/json
Cache-Control: no-store
--- response_body
{"rooms":["mqtt://room1.example.com:1883"],"ttl":300}
--- no_error_log
[error]



=== TEST 2: HEAD has the headers and no body
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_room mqtt://room1.example.com:1883;
    }
--- request
HEAD /rooms
--- response_headers
Content-Type: application/json
Content-Length: 54
--- response_body:
--- no_error_log
[error]



=== TEST 3: POST is refused as a problem
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_room mqtt://room1.example.com:1883;
    }
--- request
POST /rooms
hello
--- error_code: 405
--- response_headers
Allow: GET, HEAD
Content-Type: application/problem+json
--- response_body_like
^\{"type":"urn:ngx-push:problem:method-not-allowed","title":"[^"]+","status":405,"detail":"[^"]+"\}$
--- no_error_log
[error]



=== TEST 4: the connection goes on after a refused body
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_room mqtts://room1.example.com;
    }
--- pipelined_requests eval
["POST /rooms
hello", "GET /rooms"]
--- error_code eval
[405, 200]
--- response_body_like eval
['method-not-allowed', '^{"rooms":\["mqtts://room1.example.com"\],"ttl":300}$']



=== TEST 5: as many as push_dispatch_count, each once, all in turn
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_count 2;
        push_dispatch_room mqtt://a;
        push_dispatch_room mqtt://b;
        push_dispatch_room mqtt://c;
        push_dispatch_room mqtt://d;
    }
--- request
GET /rooms
--- response_body_like
^\{"rooms":\["mqtt://[abcd]","mqtt://[abcd]"\],"ttl":300\}$
--- mqtt eval
sub {
    my $drawn = main::draw('/rooms', 200);
    return "$drawn->{first}\n$drawn->{length}";
}
--- mqtt_out
mqtt://a,mqtt://b,mqtt://c,mqtt://d
2 of 2



=== TEST 6: no more than there are
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_count 64;
        push_dispatch_room mqtt://a;
        push_dispatch_room mqtt://b;
    }
--- mqtt eval
sub {
    my $drawn = main::draw('/rooms', 50);
    return $drawn->{length};
}
--- mqtt_out
2 of 2
--- request
GET /rooms
--- error_code: 200



=== TEST 7: three by default
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_room mqtt://a;
        push_dispatch_room mqtt://b;
        push_dispatch_room mqtt://c;
        push_dispatch_room mqtt://d;
    }
--- mqtt eval
sub {
    my $drawn = main::draw('/rooms', 50);
    return $drawn->{length};
}
--- mqtt_out
3 of 3
--- request
GET /rooms
--- error_code: 200



=== TEST 8: weights
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_count 1;
        push_dispatch_room mqtt://light;
        push_dispatch_room mqtt://heavy weight=9;
    }
--- mqtt eval
sub {
    my $drawn = main::draw('/rooms', 2000);
    my $light = $drawn->{count}{'mqtt://light'};

    # 200 expected, standard deviation 13
    return $light > 120 && $light < 280 ? 'as weighted' : "light: $light";
}
--- mqtt_out
as weighted
--- request
GET /rooms
--- error_code: 200



=== TEST 9: weights of those that are left, drawn second
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_count 2;
        push_dispatch_room mqtt://a weight=65535;
        push_dispatch_room mqtt://b;
        push_dispatch_room mqtt://c;
    }
--- mqtt eval
sub {
    my $drawn = main::draw('/rooms', 1000);
    my ($b, $c) = map { $drawn->{any}{"mqtt://$_"} } 'b', 'c';

    # 500 expected, standard deviation 16
    return abs($b - $c) < 200 ? 'evenly' : "b: $b, c: $c";
}
--- mqtt_out
evenly
--- request
GET /rooms
--- error_code: 200



=== TEST 10: rooms, count and ttl of the server are inherited
--- http_config
    push_dispatch_ttl 1m;
--- config
    push_dispatch_room wss://a.example.com/mqtt;
    push_dispatch_count 1;

    location = /rooms {
        push_dispatch;
    }
--- request
GET /rooms
--- response_body
{"rooms":["wss://a.example.com/mqtt"],"ttl":60}
--- no_error_log
[error]



=== TEST 11: a location's own rooms replace those of the server
--- config
    push_dispatch_room mqtt://a;
    push_dispatch_room mqtt://b;

    location = /rooms {
        push_dispatch;
        push_dispatch_room mqtt://c;
    }
--- request
GET /rooms
--- response_body
{"rooms":["mqtt://c"],"ttl":300}
--- no_error_log
[error]



=== TEST 12: an address with a name, an IPv6 address, a path
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch_room ws://[2001:db8::1]:8080/push?x=1;
    }
--- request
GET /rooms
--- response_body
{"rooms":["ws://[2001:db8::1]:8080/push?x=1"],"ttl":300}
--- no_error_log
[error]



=== TEST 13: no room
--- config
    location = /rooms {
        push_dispatch;
    }
--- must_die
--- error_log eval
qr/\[emerg\].*"push_dispatch" needs a "push_dispatch_room" in .*nginx.conf:\d+/



=== TEST 14: twice in a location
--- config
    location = /rooms {
        push_dispatch;
        push_dispatch;
        push_dispatch_room mqtt://a;
    }
--- must_die
--- error_log
"push_dispatch" directive is duplicate



=== TEST 15: not in a server
--- config
    push_dispatch;
    push_dispatch_room mqtt://a;
--- must_die
--- error_log
"push_dispatch" directive is not allowed here



=== TEST 16: a scheme that devices do not speak
--- config
    push_dispatch_room ftp://a;
--- must_die
--- error_log
invalid address "ftp://a" in "push_dispatch_room"



=== TEST 17: no scheme
--- config
    push_dispatch_room room1.example.com:1883;
--- must_die
--- error_log
invalid address "room1.example.com:1883"



=== TEST 18: no host
--- config
    push_dispatch_room mqtt://;
--- must_die
--- error_log
invalid address "mqtt://"



=== TEST 19: a port and no host
--- config
    push_dispatch_room mqtt://:1883;
--- must_die
--- error_log
invalid address "mqtt://:1883"



=== TEST 20: a character that is not of a URI
--- config
    push_dispatch_room 'mqtt://a"b';
--- must_die
--- error_log
invalid address "mqtt://a"b"



=== TEST 21: weight 0
--- config
    push_dispatch_room mqtt://a weight=0;
--- must_die
--- error_log
invalid parameter "weight=0" in "push_dispatch_room"



=== TEST 22: weight over the limit
--- config
    push_dispatch_room mqtt://a weight=65536;
--- must_die
--- error_log
invalid parameter "weight=65536"



=== TEST 23: not a weight
--- config
    push_dispatch_room mqtt://a backup;
--- must_die
--- error_log
invalid parameter "backup"



=== TEST 24: a count of 0
--- config
    push_dispatch_count 0;
--- must_die
--- error_log
value must be between 1 and 64



=== TEST 25: a count over the limit
--- config
    push_dispatch_count 65;
--- must_die
--- error_log
value must be between 1 and 64



=== TEST 26: not a time
--- config
    push_dispatch_ttl soon;
--- must_die
--- error_log
"push_dispatch_ttl" directive invalid value
