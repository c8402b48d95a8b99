# What devices sent up: pages, order, text and bytes, cursors that went; and
# pushes and questions over several workers.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::HTTP;
use Test::Nginx::Socket;
use Time::HiRes qw(sleep);

repeat_each(1);
master_on();
workers(3);
plan tests => repeat_each() * 27;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(config => '    location /v1/ { push_center; }')
        if ($block->config // '') eq '';

    $block->set_value(request => 'GET /v1/shop/users/nobody');
    $block->set_value(error_code => 404);
    $block->set_value(more_headers => 'Authorization: Bearer ' . api_key());
});

sub page {
    my ($t, $args) = @_;

    return $t->http->get('/v1/shop/uplink' . ($args ? "?$args" : ''));
}

sub seq { defined $_[0] ? $_[0] =~ s/.*-//r : 'null' }

sub brief {
    my ($r) = @_;

    return "$r->{status} $r->{json}{type} $r->{json}{parameter}"
        if $r->{status} != 200;

    return (@{$r->{json}{messages}} ? '' : 'nothing')
           . "@{[map { seq($_->{id}) } @{$r->{json}{messages}}]}"
           . ' next=' . seq($r->{json}{next})
           . ($r->{json}{lost} ? ' lost' : '');
}

# Publishes and waits for each to be acknowledged, which is: saved.
sub up {
    my ($c, $type, @payloads) = @_;

    $c->publish("shop/up/$type", $_, qos => 1) for @payloads;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: nothing, then pages
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice');

    $t->say(main::brief(main::page($t)));
    main::up($c, 'log', 1 .. 5);
    $t->say(main::brief(main::page($t)));

    my $r = main::page($t, 'max=2');
    $t->say(main::brief($r));
    $r = main::page($t, "max=2&after=$r->{json}{next}");
    $t->say(main::brief($r));
    $r = main::page($t, "after=$r->{json}{next}&max=2");
    $t->say(main::brief($r));
    $r = main::page($t, "max=2&after=$r->{json}{next}");
    $t->say(main::brief($r));

    main::up($c, 'log', 6);
    $r = main::page($t, "max=2&after=$r->{json}{next}");
    $t->say(main::brief($r));

    return $t->text;
}
--- mqtt_out
nothing next=null
1 2 3 4 5 next=5
1 2 next=2
3 4 next=4
5 next=5
nothing next=5
6 next=6
--- no_error_log
[error]



=== TEST 2: what a message says
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => "d\"1", user => "shop/al\\ice",
                       version => 5);

    $c->publish('shop/up/position', '{"at":"1,2"}', qos => 1,
                props => { content_type => 'application/json' });

    my $m = main::page($t)->{json}{messages}[0];

    for my $key (sort keys %$m) {
        my $value = $m->{$key};
        $value = 'id' if $key eq 'id' && $value =~ /^[0-9a-f]+-1$/;
        $value = 'time' if $key eq 'created'
                        && $value =~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
        $t->say("$key=$value");
    }

    return $t->text;
}
--- mqtt_out
content_type=application/json
created=time
device=d"1
id=id
payload={"at":"1,2"}
type=position
user=al\ice
--- no_error_log
[error]



=== TEST 3: text is text and bytes are base64
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice');
    my @text = ('', "\0\x01\x1f\x7f\"\\\r\n", "\xc3\xa4", "\xe2\x82\xac",
                "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                "\xf4\x8f\xbf\xbf", "\xe0\xa0\x80", "\xf0\x90\x80\x80");
    my @bytes = ("\x80", "\xff", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3\xc3",
                 "\xe2\x82", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                 "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xe2\x28\xa1");

    require MIME::Base64;
    main::up($c, 'x', @text, @bytes);

    my @m = @{main::page($t)->{json}{messages}};
    my $text = grep { my $p = $m[$_]{payload};
                      utf8::encode($p) if defined $p;
                      defined $p && $p eq $text[$_]
                      && !exists $m[$_]{payload_base64} } 0 .. $#text;

    splice @m, 0, scalar @text;
    my $bytes = grep { defined $m[$_]{payload_base64}
                       && MIME::Base64::decode($m[$_]{payload_base64})
                          eq $bytes[$_]
                       && !exists $m[$_]{payload} } 0 .. $#bytes;

    return "$text texts, $bytes bytes, " . @m;
}
--- mqtt_out
10 texts, 13 bytes, 13
--- no_error_log
[error]



=== TEST 4: parameters that are none
--- mqtt eval
sub {
    my ($t) = @_;

    for my $args ('max=0', 'max=1001', 'max=', 'max=x', 'max=-1', 'max=1x',
                  'after=', 'after=x', 'after=1', 'after=1-', 'after=-1',
                  'after=g-1')
    {
        $t->say(main::brief(main::page($t, $args))
                =~ s/urn:ngx-push:problem://r);
    }

    $t->say(main::brief(main::page($t, $_)))
        for 'max=1', 'max=1000', 'something=else';

    return $t->text;
}
--- mqtt_out
400 invalid-parameter max
400 invalid-parameter max
400 invalid-parameter max
400 invalid-parameter max
400 invalid-parameter max
400 invalid-parameter max
400 invalid-parameter after
400 invalid-parameter after
400 invalid-parameter after
400 invalid-parameter after
400 invalid-parameter after
400 invalid-parameter after
nothing next=null
nothing next=null
nothing next=null
--- no_error_log
[error]



=== TEST 5: a cursor of a log that is gone
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice');

    $t->say(main::brief(main::page($t, 'after=1-7')));
    main::up($c, 'log', 1 .. 3);
    $t->say(main::brief(main::page($t, 'after=1-7')));
    $t->say(main::brief(main::page($t, 'after=1-7&max=2')));

    return $t->text;
}
--- mqtt_out
nothing next=null lost
1 2 3 next=3 lost
1 2 next=2 lost
--- no_error_log
[error]



=== TEST 6: a thousand in a page, a page of a MiB
--- push
    zone 64m;
    product shop {
        api_key $TEST_NGINX_API_KEY;
        anonymous on;
        payload_limit 256k;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice');

    main::up($c, 'x', ('x') x 1010);
    my $r = main::page($t, 'max=1000');
    $t->say(scalar(@{$r->{json}{messages}}) . ' ' . main::seq($r->{json}{next}));

    my $small = main::page($t);
    $t->say(scalar(@{$small->{json}{messages}}));

    $r = main::page($t, "max=1000&after=$r->{json}{next}");
    main::up($c, 'x', ("\x01" x 262144) x 6);
    $r = main::page($t, "max=1000&after=$r->{json}{next}");
    $t->say(main::brief($r) . ' ' . length $r->{json}{messages}[0]{payload});
    $t->say(main::brief(main::page($t, "after=$r->{json}{next}")));

    return $t->text;
}
--- mqtt_out
1000 1000
100
1011 1012 1013 1014 next=1014 262144
1015 1016 next=1016
--- timeout: 10
--- no_error_log
[error]



=== TEST 7: the limit ends the oldest
--- push
    zone 4m;
    product shop {
        api_key $TEST_NGINX_API_KEY;
        anonymous on;
        uplink_limit 3;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice');

    main::up($c, 'x', 1 .. 10);
    $t->say(main::brief(main::page($t)));

    return $t->text;
}
--- mqtt_out
8 9 10 next=10
--- no_error_log
[error]



=== TEST 8: pushed at one worker, connected to another
--- mqtt eval
sub {
    my ($t) = @_;
    my @c = map { $t->client(client => "d$_", user => 'shop/alice') } 1 .. 6;
    my @h = map { Push::HTTP->new(port => main::http_port(),
                                  key => main::api_key()) } 1 .. 6;
    my %status;

    $_->subscribe('shop/#') for @c;

    for my $n (1 .. 60) {
        my $r = $h[$n % 6]->post('/v1/shop/users/alice/messages', $n);
        $status{$r->{status}}++;
    }

    my $order = 0;

    for my $c (@c) {
        for my $n (1 .. 60) {
            my $p = $c->expect('PUBLISH');
            $c->puback($p->{id});
            $order++ if $p->{payload} == $n;
        }
    }

    return "@{[%status]}, $order in order";
}
--- mqtt_out
201 60, 360 in order
--- timeout: 10
--- no_error_log
[error]



=== TEST 9: devices of several workers in one answer
--- mqtt eval
sub {
    my ($t) = @_;
    my @c = map { $t->client(client => "d$_", user => 'shop/alice') } 1 .. 40;
    my $r = $t->http->get('/v1/shop/users/alice')->{json};

    my $online = grep { $_->{state} eq 'online' } @{$r->{devices}};
    my $names = keys %{{ map { $_->{device} => 1 } @{$r->{devices}} }};

    return "$online online, $names names, more=" . ($r->{more} ? 1 : 0);
}
--- mqtt_out
40 online, 40 names, more=0
--- no_error_log
[error]
