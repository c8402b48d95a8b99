# The directives of push { } and of product NAME { } in it: what is taken,
# what is refused, and that refusing tells why and never tells a secret.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 323;

my $dir = test_dir();

sub file {
    my ($name, $text) = @_;

    open my $out, '>', "$dir/$name" or die "$dir/$name: $!\n";
    print $out $text;
    close $out or die "$dir/$name: $!\n";
}

# NAME.key and, its public half, NAME.pem
sub key_pair {
    my ($name, @options) = @_;
    my $key = "$dir/$name.key";

    system("openssl genpkey @options -out $key 2> /dev/null") == 0
        && system("openssl pkey -in $key -pubout -out $dir/$name.pem") == 0
        or die "openssl failed\n";
}

file('api.key', "key-from-a-file\n");
file('hs.key', "secret-from-a-file-secret-from-a-file\r\n");
file('two.key', "first-of-two\nsecond-of-two\n");
file('empty.key', "\n");
file('large.key', 'k' x 16385);
file('product.inc', "api_key included publish;\n");

key_pair('rsa', '-algorithm RSA -pkeyopt rsa_keygen_bits:2048');
key_pair('rsa1024', '-algorithm RSA -pkeyopt rsa_keygen_bits:1024');
key_pair('p256', '-algorithm EC -pkeyopt ec_paramgen_curve:P-256');
key_pair('p384', '-algorithm EC -pkeyopt ec_paramgen_curve:P-384');

add_block_preprocessor(sub {
    my ($block) = @_;

    # none of the server's other parts is of interest here
    $block->set_value(room => 'none');
});

no_shuffle();
run_tests();

__DATA__

=== TEST 1: accepted: the least of a push block
--- push
    zone 4m;
    product shop { anonymous on; }
--- config
    location = /t { return 204; }
--- request
GET /t
--- error_code: 204
--- no_error_log
[error]



=== TEST 2: accepted: every directive, smallest values
--- push
    zone 4m;
    node n;
    linger 0;
    session_expiry 0;
    device_expiry 60s;
    mailbox 64;
    drain_time 0;
    product a {
        api_key k;
        token_key hs256 $TEST_NGINX_SECRET;
        anonymous off;
        group_publish off;
        consume_once off;
        message_ttl 0 max=1s;
        inbox_limit 1;
        group_limit 1;
        broadcast_limit 1;
        uplink_limit 1;
        payload_limit 1;
    }
--- config
    location = /t { return 204; }
--- request
GET /t
--- error_code: 204
--- no_error_log
[error]



=== TEST 3: accepted: every directive, largest values
--- push
    zone 16383k;
    node Node-63_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com;
    linger 1d;
    session_expiry 4294967294;
    device_expiry 4294967294;
    mailbox 16384;
    drain_time 1h;
    product A-b_9aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {
        api_key key1 publish;
        api_key key2 query operate;
        api_key key3 operate query publish;
        api_key file=$TEST_NGINX_PUSH_DIR/api.key query;
        token_key hs256 $TEST_NGINX_SECRET;
        token_key hs256 file=$TEST_NGINX_PUSH_DIR/hs.key;
        token_key rs256 file=$TEST_NGINX_PUSH_DIR/rsa.pem;
        token_key es256 file=$TEST_NGINX_PUSH_DIR/p256.pem;
        anonymous on;
        group_publish on;
        consume_once on;
        message_ttl 3650d max=3650d;
        inbox_limit 1000000;
        group_limit 1000000;
        broadcast_limit 1000000;
        uplink_limit 1000000;
        payload_limit 256k;
    }
    product other {
        api_key key1;
        anonymous on;
    }
--- config
    location = /t { return 204; }
--- request
GET /t
--- error_code: 204
--- no_error_log
[error]



=== TEST 4: accepted: a zone in a file
--- push
    zone 4m file=$TEST_NGINX_PUSH_DIR/push.zone;
    product shop { anonymous on; }
--- config
    location = /t { return 204; }
--- request
GET /t
--- error_code: 204
--- no_error_log
[error]



=== TEST 5: accepted: includes and quoting
--- push
    zone 4m;
    product shop {
        include $TEST_NGINX_PUSH_DIR/product.inc;
        token_key "hs256" "spaces and \"quotes\" are of a secret too";
    }
--- config
    location = /t { return 204; }
--- request
GET /t
--- error_code: 204
--- no_error_log
[error]



=== TEST 6: no product: a warning
--- push
    zone 4m;
--- config
    then_stop;
--- must_die
--- error_log
[warn]
"push" has no "product": nobody can connect
--- no_error_log
[alert]



=== TEST 7: a product nobody can connect to: a warning
--- push
    zone 4m;
    product shop { api_key k; }
--- config
    then_stop;
--- must_die
--- error_log
[warn]
product "shop" has no "token_key" and is not "anonymous"
--- no_error_log
[alert]



=== TEST 8: a short secret: a warning
--- push
    zone 4m;
    product shop { token_key hs256 2short; }
--- config
    then_stop;
--- must_die
--- error_log
[warn]
"token_key hs256" of product "shop" is shorter than the 32 bytes
--- no_error_log
[alert]



=== TEST 9: refused: a second push block
--- push: none
--- main_config
push { zone 4m; product a { anonymous on; } }
push { zone 4m; }
--- must_die
--- error_log
"push" directive is duplicate
--- no_error_log
[alert]



=== TEST 10: refused: push in another context
--- push: none
--- config
    push { }
--- must_die
--- error_log
"push" directive is not allowed here
--- no_error_log
[alert]



=== TEST 11: refused: push takes no arguments
--- push: none
--- main_config
push on { zone 4m; }
--- must_die
--- error_log
invalid number of arguments in "push" directive
--- no_error_log
[alert]



=== TEST 12: refused: no zone
--- push
    product shop { anonymous on; }
--- must_die
--- error_log
"push" has no "zone"
--- no_error_log
[alert]



=== TEST 13: refused: zone twice
--- push
    zone 4m;
    zone 4m;
    product shop { anonymous on; }
--- must_die
--- error_log
"zone" directive is duplicate
--- no_error_log
[alert]



=== TEST 14: refused: a zone too small
--- push
    zone 4095k;
    product shop { anonymous on; }
--- must_die
--- error_log
zone size "4095k" is too small: 4m is the least
--- no_error_log
[alert]



=== TEST 15: refused: a zone of no size
--- push
    zone big;
    product shop { anonymous on; }
--- must_die
--- error_log
invalid zone size "big"
--- no_error_log
[alert]



=== TEST 16: refused: a zone with an unknown parameter
--- push
    zone 4m path=/x;
    product shop { anonymous on; }
--- must_die
--- error_log
invalid parameter "path=/x" of "zone"
--- no_error_log
[alert]



=== TEST 17: refused: a zone with an empty file
--- push
    zone 4m file=;
    product shop { anonymous on; }
--- must_die
--- error_log
invalid parameter "file=" of "zone"
--- no_error_log
[alert]



=== TEST 18: refused: node twice
--- push
    zone 16m;
    node a;
    node b;
    product shop { anonymous on; }
--- must_die
--- error_log
"node" directive is duplicate
--- no_error_log
[alert]



=== TEST 19: refused: a node name with a slash
--- push
    zone 16m;
    node a/b;
    product shop { anonymous on; }
--- must_die
--- error_log
invalid node name "a/b": 1 to 63 letters
--- no_error_log
[alert]



=== TEST 20: refused: a node name too long
--- push
    zone 16m;
    node nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn;
    product shop { anonymous on; }
--- must_die
--- error_log
invalid node name "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
--- no_error_log
[alert]



=== TEST 21: refused: an empty node name
--- push
    zone 16m;
    node "";
    product shop { anonymous on; }
--- must_die
--- error_log
invalid node name ""
--- no_error_log
[alert]



=== TEST 22: refused: linger 86401
--- push
    zone 16m;
    linger 86401;
    product shop { anonymous on; }
--- must_die
--- error_log
"linger" must be between 0 and 86400 seconds
--- no_error_log
[alert]



=== TEST 23: refused: linger soon
--- push
    zone 16m;
    linger soon;
    product shop { anonymous on; }
--- must_die
--- error_log
"linger" directive invalid value
--- no_error_log
[alert]



=== TEST 24: refused: session_expiry 4294967295
--- push
    zone 16m;
    session_expiry 4294967295;
    product shop { anonymous on; }
--- must_die
--- error_log
"session_expiry" must be between 0 and 4294967294 seconds
--- no_error_log
[alert]



=== TEST 25: refused: device_expiry 59s
--- push
    zone 16m;
    device_expiry 59s;
    product shop { anonymous on; }
--- must_die
--- error_log
"device_expiry" must be between 60 and 4294967294 seconds
--- no_error_log
[alert]



=== TEST 26: refused: mailbox 63
--- push
    zone 16m;
    mailbox 63;
    product shop { anonymous on; }
--- must_die
--- error_log
"mailbox" must be between 64 and 16384
--- no_error_log
[alert]



=== TEST 27: refused: mailbox 16385
--- push
    zone 16m;
    mailbox 16385;
    product shop { anonymous on; }
--- must_die
--- error_log
"mailbox" must be between 64 and 16384
--- no_error_log
[alert]



=== TEST 28: refused: mailbox many
--- push
    zone 16m;
    mailbox many;
    product shop { anonymous on; }
--- must_die
--- error_log
"mailbox" directive invalid number
--- no_error_log
[alert]



=== TEST 29: refused: drain_time 3601s
--- push
    zone 16m;
    drain_time 3601s;
    product shop { anonymous on; }
--- must_die
--- error_log
"drain_time" must be between 0 and 3600000 milliseconds
--- no_error_log
[alert]



=== TEST 30: refused: drain_time -1
--- push
    zone 16m;
    drain_time -1;
    product shop { anonymous on; }
--- must_die
--- error_log
"drain_time" directive invalid value
--- no_error_log
[alert]



=== TEST 31: refused: linger twice
--- push
    zone 16m;
    linger 1s;
    linger 1s;
    product shop { anonymous on; }
--- must_die
--- error_log
"linger" directive is duplicate
--- no_error_log
[alert]



=== TEST 32: refused: session_expiry twice
--- push
    zone 16m;
    session_expiry 1h;
    session_expiry 1h;
    product shop { anonymous on; }
--- must_die
--- error_log
"session_expiry" directive is duplicate
--- no_error_log
[alert]



=== TEST 33: refused: device_expiry twice
--- push
    zone 16m;
    device_expiry 40d;
    device_expiry 40d;
    product shop { anonymous on; }
--- must_die
--- error_log
"device_expiry" directive is duplicate
--- no_error_log
[alert]



=== TEST 34: refused: mailbox twice
--- push
    zone 16m;
    mailbox 64;
    mailbox 64;
    product shop { anonymous on; }
--- must_die
--- error_log
"mailbox" directive is duplicate
--- no_error_log
[alert]



=== TEST 35: refused: drain_time twice
--- push
    zone 16m;
    drain_time 1s;
    drain_time 1s;
    product shop { anonymous on; }
--- must_die
--- error_log
"drain_time" directive is duplicate
--- no_error_log
[alert]



=== TEST 36: refused: devices forgotten before their sessions
--- push
    zone 16m;
    device_expiry 6d;
    product shop { anonymous on; }
--- must_die
--- error_log
"device_expiry" (518400 seconds) must not be less than "session_expiry" (604800)
--- no_error_log
[alert]



=== TEST 37: refused: a product directive outside of a product
--- push
    zone 16m;
    anonymous on;
    product shop { anonymous on; }
--- must_die
--- error_log
"anonymous" directive is not allowed here
--- no_error_log
[alert]



=== TEST 38: refused: a push directive inside of a product
--- push
    zone 16m;
    product shop {
        anonymous on;
        zone 4m;
    }
--- must_die
--- error_log
"zone" directive is not allowed here
--- no_error_log
[alert]



=== TEST 39: refused: an unknown directive in a product
--- push
    zone 16m;
    product shop {
        anonymous on;
        colour red;
    }
--- must_die
--- error_log
unknown directive "colour"
--- no_error_log
[alert]



=== TEST 40: refused: a product in a product
--- push
    zone 16m;
    product shop {
        anonymous on;
        product a { }
    }
--- must_die
--- error_log
"product" directive is not allowed here
--- no_error_log
[alert]



=== TEST 41: refused: the same product twice
--- push
    zone 16m;
    product shop { anonymous on; }
    product shop { anonymous on; }
--- must_die
--- error_log
duplicate product "shop"
--- no_error_log
[alert]



=== TEST 42: refused: a product name with a dot
--- push
    zone 4m;
    product my.shop { }
--- must_die
--- error_log
invalid product name "my.shop": 1 to 63 letters
--- no_error_log
[alert]



=== TEST 43: refused: a product name too long
--- push
    zone 4m;
    product pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp { }
--- must_die
--- error_log
invalid product name "pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp"
--- no_error_log
[alert]



=== TEST 44: refused: an empty product name
--- push
    zone 4m;
    product "" { }
--- must_die
--- error_log
invalid product name ""
--- no_error_log
[alert]



=== TEST 45: refused: a product without a name
--- push
    zone 4m;
    product { }
--- must_die
--- error_log
invalid number of arguments in "product" directive
--- no_error_log
[alert]



=== TEST 46: refused: an unknown scope
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key abc publish not-to-be-seen;
    }
--- must_die
--- error_log
unknown scope of "api_key", argument 3
--- no_error_log
[alert]
not-to-be-seen
abc



=== TEST 47: refused: an API key in two words
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key not-to-be seen;
    }
--- must_die
--- error_log
unknown scope of "api_key", argument 2
--- no_error_log
[alert]
not-to-be
 seen



=== TEST 48: refused: an API key with a space
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key "not-to-be seen";
    }
--- must_die
--- error_log
invalid "api_key": 1 to 512 printable ASCII
--- no_error_log
[alert]
not-to-be



=== TEST 49: refused: an API key beyond ASCII
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key not-to-be-seené;
    }
--- must_die
--- error_log
invalid "api_key": 1 to 512
--- no_error_log
[alert]
not-to-be-seen



=== TEST 50: refused: an API key too long
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk;
    }
--- must_die
--- error_log
invalid "api_key": 1 to 512
--- no_error_log
[alert]
kkkk



=== TEST 51: refused: an empty API key
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key "" publish;
    }
--- must_die
--- error_log
invalid "api_key"
--- no_error_log
[alert]



=== TEST 52: refused: the same API key twice
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key not-to-be-seen publish;
        api_key not-to-be-seen query;
    }
--- must_die
--- error_log
"api_key" directive is duplicate
--- no_error_log
[alert]
not-to-be-seen



=== TEST 53: refused: an API key file that is missing
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key file=$TEST_NGINX_PUSH_DIR/none;
    }
--- must_die
--- error_log eval
qr{open\(\) ".*/none" failed}
--- no_error_log
[alert]



=== TEST 54: refused: an API key file with two lines
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key file=$TEST_NGINX_PUSH_DIR/two.key;
    }
--- must_die
--- error_log
invalid "api_key"
--- no_error_log
[alert]
first-of-two



=== TEST 55: refused: an API key file without a name
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key file=;
    }
--- must_die
--- error_log
"api_key" directive has an empty file=
--- no_error_log
[alert]



=== TEST 56: refused: an API key file that is a folder
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key file=$TEST_NGINX_PUSH_DIR;
    }
--- must_die
--- error_log
is not a key file: a regular file of at most 16384 bytes
--- no_error_log
[alert]



=== TEST 57: refused: an API key file too large
--- push
    zone 16m;
    product shop {
        anonymous on;
        api_key file=$TEST_NGINX_PUSH_DIR/large.key;
    }
--- must_die
--- error_log
is not a key file: a regular file of at most 16384 bytes
--- no_error_log
[alert]



=== TEST 58: refused: an unknown token algorithm
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key none not-to-be-seen;
    }
--- must_die
--- error_log
"token_key" directive has an unknown algorithm: hs256, rs256 and es256
--- no_error_log
[alert]
not-to-be-seen



=== TEST 59: refused: a token key without an algorithm
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key not-to-be-seen;
    }
--- must_die
--- error_log
invalid number of arguments in "token_key" directive
--- no_error_log
[alert]
not-to-be-seen



=== TEST 60: refused: an empty token secret
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key hs256 "";
    }
--- must_die
--- error_log
"token_key" directive is empty
--- no_error_log
[alert]



=== TEST 61: refused: an empty token key file
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key hs256 file=$TEST_NGINX_PUSH_DIR/empty.key;
    }
--- must_die
--- error_log
"token_key" directive is empty
--- no_error_log
[alert]



=== TEST 62: refused: the same token key twice
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key hs256 $TEST_NGINX_SECRET;
        token_key hs256 $TEST_NGINX_SECRET;
    }
--- must_die
--- error_log
"token_key" directive is duplicate
--- no_error_log
[alert]
$TEST_NGINX_SECRET



=== TEST 63: refused: an RS256 key that is no PEM
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key rs256 not-to-be-seen;
    }
--- must_die
--- error_log
the key of "token_key rs256" is not a public key in PEM
--- no_error_log
[alert]
not-to-be-seen



=== TEST 64: refused: an RS256 key that is private
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key rs256 file=$TEST_NGINX_PUSH_DIR/rsa.key;
    }
--- must_die
--- error_log
the key of "token_key rs256" is not a public key in PEM
--- no_error_log
[alert]
PRIVATE



=== TEST 65: refused: an RS256 key that is an EC key
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key rs256 file=$TEST_NGINX_PUSH_DIR/p256.pem;
    }
--- must_die
--- error_log
the key of "token_key rs256" is not an RSA key
--- no_error_log
[alert]



=== TEST 66: refused: an RS256 key of 1024 bits
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key rs256 file=$TEST_NGINX_PUSH_DIR/rsa1024.pem;
    }
--- must_die
--- error_log
the key of "token_key rs256" has a wrong size: RSA keys have 2048 to 8192 bits
--- no_error_log
[alert]



=== TEST 67: refused: an ES256 key that is an RSA key
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key es256 file=$TEST_NGINX_PUSH_DIR/rsa.pem;
    }
--- must_die
--- error_log
the key of "token_key es256" is not an EC key on the curve P-256
--- no_error_log
[alert]



=== TEST 68: refused: an ES256 key on another curve
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key es256 file=$TEST_NGINX_PUSH_DIR/p384.pem;
    }
--- must_die
--- error_log
the key of "token_key es256" is not an EC key on the curve P-256
--- no_error_log
[alert]



=== TEST 69: refused: an ES256 key that is missing
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key es256 file=$TEST_NGINX_PUSH_DIR/none.pem;
    }
--- must_die
--- error_log eval
qr{open\(\) ".*/none.pem" failed}
--- no_error_log
[alert]



=== TEST 70: refused: more token keys than a product may have
--- push
    zone 16m;
    product shop {
        anonymous on;
        token_key hs256 0$TEST_NGINX_SECRET;
        token_key hs256 1$TEST_NGINX_SECRET;
        token_key hs256 2$TEST_NGINX_SECRET;
        token_key hs256 3$TEST_NGINX_SECRET;
        token_key hs256 4$TEST_NGINX_SECRET;
        token_key hs256 5$TEST_NGINX_SECRET;
        token_key hs256 6$TEST_NGINX_SECRET;
        token_key hs256 7$TEST_NGINX_SECRET;
        token_key hs256 8$TEST_NGINX_SECRET;
    }
--- must_die
--- error_log
"token_key" directive is one too many: a product may have 8
--- no_error_log
[alert]



=== TEST 71: refused: anonymous maybe
--- push
    zone 16m;
    product shop {
        anonymous maybe;
    }
--- must_die
--- error_log
invalid value "maybe" in "anonymous" directive, it must be "on" or "off"
--- no_error_log
[alert]



=== TEST 72: refused: anonymous twice
--- push
    zone 16m;
    product shop {
        anonymous on;
        anonymous on;
    }
--- must_die
--- error_log
"anonymous" directive is duplicate
--- no_error_log
[alert]



=== TEST 73: refused: group_publish maybe
--- push
    zone 16m;
    product shop {
        group_publish maybe;
    }
--- must_die
--- error_log
invalid value "maybe" in "group_publish" directive, it must be "on" or "off"
--- no_error_log
[alert]



=== TEST 74: refused: group_publish twice
--- push
    zone 16m;
    product shop {
        group_publish on;
        group_publish on;
    }
--- must_die
--- error_log
"group_publish" directive is duplicate
--- no_error_log
[alert]



=== TEST 75: refused: consume_once maybe
--- push
    zone 16m;
    product shop {
        consume_once maybe;
    }
--- must_die
--- error_log
invalid value "maybe" in "consume_once" directive, it must be "on" or "off"
--- no_error_log
[alert]



=== TEST 76: refused: consume_once twice
--- push
    zone 16m;
    product shop {
        consume_once on;
        consume_once on;
    }
--- must_die
--- error_log
"consume_once" directive is duplicate
--- no_error_log
[alert]



=== TEST 77: refused: message_ttl twice
--- push
    zone 16m;
    product shop {
        anonymous on;
        message_ttl 1d;
        message_ttl 2d;
    }
--- must_die
--- error_log
"message_ttl" directive is duplicate
--- no_error_log
[alert]



=== TEST 78: refused: message_ttl over its default maximum
--- push
    zone 16m;
    product shop {
        anonymous on;
        message_ttl 29d;
    }
--- must_die
--- error_log
"message_ttl" is longer than its maximum of 2419200 seconds: set max=TIME
--- no_error_log
[alert]



=== TEST 79: refused: message_ttl over its maximum
--- push
    zone 16m;
    product shop {
        anonymous on;
        message_ttl 2d max=1d;
    }
--- must_die
--- error_log
"message_ttl" is longer than its maximum of 86400 seconds
--- no_error_log
[alert]



=== TEST 80: refused: message_ttl without a time
--- push
    zone 16m;
    product shop {
        anonymous on;
        message_ttl later;
    }
--- must_die
--- error_log
"message_ttl" directive invalid value
--- no_error_log
[alert]



=== TEST 81: refused: message_ttl with an unknown parameter
--- push
    zone 16m;
    product shop {
        anonymous on;
        message_ttl 1d min=1s;
    }
--- must_die
--- error_log
invalid parameter "min=1s" of "message_ttl"
--- no_error_log
[alert]



=== TEST 82: refused: message_ttl max=""
--- push
    zone 16m;
    product shop {
        anonymous on;
        message_ttl 0 max=;
    }
--- must_die
--- error_log
"message_ttl" directive has an invalid max=: between 1s and 3650d
--- no_error_log
[alert]



=== TEST 83: refused: message_ttl max="0"
--- push
    zone 16m;
    product shop {
        anonymous on;
        message_ttl 0 max=0;
    }
--- must_die
--- error_log
"message_ttl" directive has an invalid max=: between 1s and 3650d
--- no_error_log
[alert]



=== TEST 84: refused: message_ttl max="3651d"
--- push
    zone 16m;
    product shop {
        anonymous on;
        message_ttl 0 max=3651d;
    }
--- must_die
--- error_log
"message_ttl" directive has an invalid max=: between 1s and 3650d
--- no_error_log
[alert]



=== TEST 85: refused: message_ttl max="x"
--- push
    zone 16m;
    product shop {
        anonymous on;
        message_ttl 0 max=x;
    }
--- must_die
--- error_log
"message_ttl" directive has an invalid max=: between 1s and 3650d
--- no_error_log
[alert]



=== TEST 86: refused: inbox_limit 0
--- push
    zone 16m;
    product shop {
        anonymous on;
        inbox_limit 0;
    }
--- must_die
--- error_log
"inbox_limit" must be between 1 and 1000000
--- no_error_log
[alert]



=== TEST 87: refused: inbox_limit 1000001
--- push
    zone 16m;
    product shop {
        anonymous on;
        inbox_limit 1000001;
    }
--- must_die
--- error_log
"inbox_limit" must be between 1 and 1000000
--- no_error_log
[alert]



=== TEST 88: refused: inbox_limit twice
--- push
    zone 16m;
    product shop {
        anonymous on;
        inbox_limit 5;
        inbox_limit 5;
    }
--- must_die
--- error_log
"inbox_limit" directive is duplicate
--- no_error_log
[alert]



=== TEST 89: refused: group_limit 0
--- push
    zone 16m;
    product shop {
        anonymous on;
        group_limit 0;
    }
--- must_die
--- error_log
"group_limit" must be between 1 and 1000000
--- no_error_log
[alert]



=== TEST 90: refused: group_limit 1000001
--- push
    zone 16m;
    product shop {
        anonymous on;
        group_limit 1000001;
    }
--- must_die
--- error_log
"group_limit" must be between 1 and 1000000
--- no_error_log
[alert]



=== TEST 91: refused: group_limit twice
--- push
    zone 16m;
    product shop {
        anonymous on;
        group_limit 5;
        group_limit 5;
    }
--- must_die
--- error_log
"group_limit" directive is duplicate
--- no_error_log
[alert]



=== TEST 92: refused: broadcast_limit 0
--- push
    zone 16m;
    product shop {
        anonymous on;
        broadcast_limit 0;
    }
--- must_die
--- error_log
"broadcast_limit" must be between 1 and 1000000
--- no_error_log
[alert]



=== TEST 93: refused: broadcast_limit 1000001
--- push
    zone 16m;
    product shop {
        anonymous on;
        broadcast_limit 1000001;
    }
--- must_die
--- error_log
"broadcast_limit" must be between 1 and 1000000
--- no_error_log
[alert]



=== TEST 94: refused: broadcast_limit twice
--- push
    zone 16m;
    product shop {
        anonymous on;
        broadcast_limit 5;
        broadcast_limit 5;
    }
--- must_die
--- error_log
"broadcast_limit" directive is duplicate
--- no_error_log
[alert]



=== TEST 95: refused: uplink_limit 0
--- push
    zone 16m;
    product shop {
        anonymous on;
        uplink_limit 0;
    }
--- must_die
--- error_log
"uplink_limit" must be between 1 and 1000000
--- no_error_log
[alert]



=== TEST 96: refused: uplink_limit 1000001
--- push
    zone 16m;
    product shop {
        anonymous on;
        uplink_limit 1000001;
    }
--- must_die
--- error_log
"uplink_limit" must be between 1 and 1000000
--- no_error_log
[alert]



=== TEST 97: refused: uplink_limit twice
--- push
    zone 16m;
    product shop {
        anonymous on;
        uplink_limit 5;
        uplink_limit 5;
    }
--- must_die
--- error_log
"uplink_limit" directive is duplicate
--- no_error_log
[alert]



=== TEST 98: refused: inbox_limit all
--- push
    zone 16m;
    product shop {
        anonymous on;
        inbox_limit all;
    }
--- must_die
--- error_log
"inbox_limit" directive invalid number
--- no_error_log
[alert]



=== TEST 99: refused: payload_limit 0
--- push
    zone 16m;
    product shop {
        anonymous on;
        payload_limit 0;
    }
--- must_die
--- error_log
"payload_limit" must be between 1 and 262144 bytes
--- no_error_log
[alert]



=== TEST 100: refused: payload_limit over 256k
--- push
    zone 16m;
    product shop {
        anonymous on;
        payload_limit 262145;
    }
--- must_die
--- error_log
"payload_limit" must be between 1 and 262144 bytes
--- no_error_log
[alert]



=== TEST 101: refused: payload_limit twice
--- push
    zone 16m;
    product shop {
        anonymous on;
        payload_limit 4k;
        payload_limit 4k;
    }
--- must_die
--- error_log
"payload_limit" directive is duplicate
--- no_error_log
[alert]



=== TEST 102: refused: more API keys than a product may have
--- push eval
"zone 16m; product shop { anonymous on;\n"
. CORE::join("", map { "api_key k$_;\n" } 1 .. 65) . "}\n"
--- must_die
--- error_log
"api_key" directive is one too many: a product may have 64
--- no_error_log
[alert]



=== TEST 103: refused: more products than a zone knows
--- push eval
"zone 16m;\n" . CORE::join("", map { "product p$_ { anonymous on; }\n" } 1 .. 257)
--- must_die
--- error_log
too many products: 256 are possible
--- no_error_log
[alert]



=== TEST 104: accepted: as many of both as are possible
--- push eval
"zone 16m; product p0 { anonymous on;\n"
. CORE::join("", map { "api_key k$_;\n" } 1 .. 64) . "}\n"
. CORE::join("", map { "product p$_ { anonymous on; }\n" } 1 .. 255)
--- config
    location = /t { return 204; }
--- request
GET /t
--- error_code: 204
--- no_error_log
[error]
