# What was once wrong, or nearly.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 10;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(config => <<'END');
    location /v1/ { push_center; }
    location = /metrics { push_metrics; }
END
    $block->set_value(push => <<'END') if !defined $block->push;
    zone 16m;
    node test;
    linger 1s;
    product shop { api_key $TEST_NGINX_API_KEY; anonymous on;
                   group_publish on; message_ttl 1h;
                   payload_limit 256k; token_key hs256 $TEST_NGINX_SECRET; }
    product mail { api_key $TEST_NGINX_API_KEY;
                   token_key hs256 $TEST_NGINX_SECRET; }
END
});

sub gauge {
    my ($t, $name) = @_;
    my ($value) = $t->http->get('/metrics')->{body} =~ /^\Q$name\E (\d+)$/m;

    return $value // 'none';
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: a device of 3.1.1 without an identifier is forgotten when it goes
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => '', user => 'shop/u', version => 4);

    $c->subscribe('shop/#');
    $t->say('sessions ' . main::gauge($t,
                          'ngx_push_zone_records{class="session"}'));
    $c->disconnect;
    Push::Devices::eventually('the session to go', sub {
        main::gauge($t, 'ngx_push_zone_records{class="session"}') eq '0';
    });
    $t->say('user ' . $t->http->get('/v1/shop/users/u')->{status});

    $c = $t->client(client => '', user => 'shop/u', version => 4);
    $c->subscribe('shop/#');
    $c->close;
    Push::Devices::eventually('the session to go', sub {
        main::gauge($t, 'ngx_push_zone_records{class="session"}') eq '0';
    });
    $t->say('subscriptions ' . main::gauge($t,
                          'ngx_push_zone_records{class="subscription"}'));
    return $t->text;
}
--- mqtt_out
sessions 1
user 404
subscriptions 0



=== TEST 2: more of one's own messages than can be pinned do not hide others'
--- skip_eval: 2: Push::Test::embedded('more than Receive Maximum at once')
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5,
                       clean => 0, props => { session_expiry => 60 });

    # No Local; then so many at once that their walks do not fit the queue
    $c->subscribe(['shop/group/g', 1 | 4]);

    my $own = pack 'n/a* C a*', 'shop/group/g', 0, 'own';
    my $packet = pack 'C C/a*', 0x30, $own;
    $c->send_raw($packet x 900);
    $c->ping;

    $t->push('groups/g', 'from others');
    $t->say($c->expect('PUBLISH')->{payload});
    return $t->text;
}
--- mqtt_out
from others



=== TEST 3: a device bound to two products holds up both inboxes
--- mqtt eval
sub {
    my ($t) = @_;
    my $both = $t->client(client => 'both', user => 'x', version => 5,
                          password => Push::Test::token(
                              'u', aud => ['shop', 'mail']));

    $both->subscribe('shop/#');
    $both->subscribe('mail/#');
    $both->disconnect;

    my $one = $t->client(client => 'one', user => 'x', version => 5,
                         password => Push::Test::token('u'));
    $one->subscribe('shop/#');
    $t->push('users/u', $_) for 1 .. 5;
    $t->say("one: @{[Push::Devices::receive($one, 5)]}");

    Push::Devices::eventually('acknowledgements', sub {
        main::gauge($t, 'ngx_push_messages_acked_total') eq '5';
    });

    $both->reconnect(clean => 1);
    $both->subscribe('mail/#');
    $both->subscribe('shop/#');
    $t->say("both: @{[Push::Devices::receive($both, 5)]}");
    return $t->text;
}
--- mqtt_out
one: 1 2 3 4 5
both: 1 2 3 4 5



=== TEST 4: a slow reader misses no broadcast, and none is queued for it
--- push
    zone 64m;
    node test;
    product shop { api_key $TEST_NGINX_API_KEY; anonymous on;
                   payload_limit 256k; }
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5,
                       props => { receive_maximum => 1000 });

    $c->subscribe(['shop/broadcast', 0]);
    $t->push('broadcast', sprintf('%03d', $_) . 'x' x 200000) for 1 .. 120;
    $t->say('drops ' . main::gauge($t,
                       'ngx_push_drops_total{reason="slow"}'));
    $t->say(Push::Devices::counted(map { 0 + substr $_, 0, 3 }
                                   Push::Devices::receive($c, 120)));
    return $t->text;
}
--- mqtt_out
drops 0
1..120



=== TEST 5: a window resumed over a slow connection comes whole and in order
--- room: push_room; push_window 200;
--- push
    zone 64m;
    node test;
    product shop { api_key $TEST_NGINX_API_KEY; anonymous on;
                   payload_limit 256k; }
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd', user => 'shop/u', version => 5,
                       clean => 0, props => { session_expiry => 60,
                                              receive_maximum => 200 });

    $c->subscribe('shop/#');
    $t->push('users/u', sprintf('%03d', $_) . 'x' x 200000) for 1 .. 100;
    Push::Devices::receive($c, 100, ack => 0);
    $c->close;
    $c->reconnect;
    $t->push('users/u', 'new');

    # it does not read while the server writes
    select undef, undef, undef, 1;

    my @got = Push::Devices::receive($c, 101, packets => 1);
    my $last = pop @got;

    $t->say(Push::Devices::counted(map { substr($_->{payload}, 0, 3) + 0 }
                                   @got));
    $t->say('again ' . grep { $_->{dup} } @got);
    $t->say("$last->{payload} " . ($last->{dup} ? 'again' : 'first'));
    return $t->text;
}
--- mqtt_out
1..100
again 100
new first
