# Idempotency-Key: a push that is repeated is done once, and answered as the
# first time.  What holds for any store is in Push::Idempotency.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::HTTP;
use Push::Idempotency;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 34;

master_on();
workers(2);

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(config => '    location /v1/ { push_center; }
    location = /metrics { push_metrics; }');
    $block->set_value(request => 'GET /v1/shop/uplink');
    $block->set_value(more_headers => 'Authorization: Bearer ' . api_key());
});

no_shuffle();
run_tests();

__DATA__

=== TEST 1: a repeated push is answered as the first was
--- mqtt eval
\&Push::Idempotency::repeated
--- mqtt_out eval
$Push::Idempotency::REPEATED
--- no_error_log
[error]



=== TEST 2: another push with the same key
--- mqtt eval
\&Push::Idempotency::other_push
--- mqtt_out eval
$Push::Idempotency::OTHER_PUSH
--- no_error_log
[error]



=== TEST 3: keys that are not the same
--- mqtt eval
\&Push::Idempotency::other_key
--- mqtt_out eval
$Push::Idempotency::OTHER_KEY
--- no_error_log
[error]



=== TEST 4: a refused push leaves no key
--- mqtt eval
\&Push::Idempotency::refused
--- mqtt_out eval
$Push::Idempotency::REFUSED
--- no_error_log
[error]



=== TEST 5: TTL 0
--- mqtt eval
\&Push::Idempotency::once
--- mqtt_out eval
$Push::Idempotency::ONCE
--- no_error_log
[error]



=== TEST 6: keys end by time, and are limited
--- push
    zone 16m;
    node test;
    idempotency_keep 2s;
    idempotency_limit 3;
    product shop {
        api_key $TEST_NGINX_API_KEY;
        anonymous on;
    }
--- mqtt eval
\&Push::Idempotency::ends
--- mqtt_out eval
$Push::Idempotency::ENDS
--- no_error_log
[error]



=== TEST 7: one of many at the same time is saved
--- mqtt eval
\&Push::Idempotency::together
--- mqtt_out eval
$Push::Idempotency::TOGETHER
--- no_error_log
[error]



=== TEST 8: values that are no key
--- mqtt eval
sub {
    my ($t) = @_;

    for my $key ('', '""', '"', 'a b', '"a', 'a"b', '"a"b', '"a";x=1', '"a\\"',
                 '"a\\b"', "\"a\tb\"", "a\x7fb", "k\xc3\xa4", "\"\xc3\xa4\"",
                 'x' x 256, '"' . 'x' x 256 . '"', '"a" "b"', 'a,b')
    {
        my $r = Push::Idempotency::send_keyed($t, 'users/nk', 'x', $key);
        $t->say(Push::Idempotency::line($t, $r) =~ s/ Location.*//r);
    }

    my $r = $t->push('users/nk', 'x', 'Idempotency-Key' =>
                     "a\r\nidempotency-key: a");
    $t->say(Push::Idempotency::line($t, $r));

    return $t->text;
}
--- mqtt_out
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
201
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
400 invalid-header Idempotency-Key
201
400 invalid-header Idempotency-Key
--- no_error_log
[error]



=== TEST 9: the metrics tell
--- push
    zone 16m;
    idempotency_limit 1;
    product shop {
        api_key $TEST_NGINX_API_KEY;
    }
--- mqtt eval
sub {
    my ($t) = @_;

    Push::Idempotency::send_keyed($t, 'users/m', 'x', $_) for qw(a a b a);

    my $body = $t->http->get('/metrics')->{body};
    $t->say($_) for $body =~ /^(ngx_push_replayed_total\ \d+
        |ngx_push_drops_total\{reason="idempotency_keys"\}\ \d+)$/mgx;

    return $t->text;
}
--- mqtt_out
ngx_push_replayed_total 2
ngx_push_drops_total{reason="idempotency_keys"} 1
--- no_error_log
[error]



=== TEST 10: keys take records of the zone
--- skip_eval: 3: Push::Test::embedded('the keys are in Redis')
--- push
    zone 16m;
    product shop {
        api_key $TEST_NGINX_API_KEY;
    }
--- mqtt eval
sub {
    my ($t) = @_;

    Push::Idempotency::send_keyed($t, 'users/m', 'x', $_)
        for 'a', 'b', 'c' x 100;

    my $body = $t->http->get('/metrics')->{body};
    $t->say($_) for $body =~ /^(ngx_push_zone_records
        \{class="(?:idempotency_key|longkey)"\}\ \d+)$/mgx;

    return $t->text;
}
--- mqtt_out
ngx_push_zone_records{class="idempotency_key"} 4
ngx_push_zone_records{class="longkey"} 1
--- no_error_log
[error]



=== TEST 11: directives that cannot work
--- push
    zone 16m;
    idempotency_keep 8d;
    product shop {
        api_key $TEST_NGINX_API_KEY;
    }
--- must_die
--- error_log
"idempotency_keep"



=== TEST 12: no key may be remembered
--- push
    zone 16m;
    idempotency_limit 0;
    product shop {
        api_key $TEST_NGINX_API_KEY;
    }
--- must_die
--- error_log
"idempotency_limit"
