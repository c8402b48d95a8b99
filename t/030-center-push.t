# Pushing over HTTP: what is answered, what a device gets of it, which header
# fields say how, and that a refused push has changed nothing.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 33;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(config => '    location /v1/ { push_center; }')
        if ($block->config // '') eq '';

    $block->set_value(request => 'GET /v1/shop/uplink');
    $block->set_value(more_headers => 'Authorization: Bearer ' . api_key());
});

# What a response says, on one line.  Of ids only the sequence number, of
# times only the form is told.
sub brief {
    my ($r) = @_;
    my $text = join ' ', $r->{status},
               map { my $v = $r->{headers}{lc $_};
                     defined $v ? "$_=$v" : () } qw(Location TTL);

    $text .= " $r->{json}{type}" if $r->{status} >= 400;
    $text .= " $r->{json}{header}" if $r->{json}{header};
    $text .= " $r->{body}" if $r->{status} < 400;

    $text =~ s/\b[0-9a-f]+-(\d+)\b(?!-)/#$1/g if $r->{status} < 400;
    $text =~ s/"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"/TIME/g;
    $text =~ s/urn:ngx-push:problem://;
    $text =~ s/\s+\z//;

    return $text;
}

sub seconds_to_live {
    my ($r) = @_;
    require Time::Local;

    my @t = $r->{json}{expires} =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)Z$/;
    return Time::Local::timegm(reverse(@t[3 .. 5]), $t[2], $t[1] - 1, $t[0])
           - time;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: to a user, a group, everybody
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::brief($t->push('users/alice', 'hello')));
    $t->say(main::brief($t->push('users/alice', 'again')));
    $t->say(main::brief($t->push('users/bob', 'hello')));
    $t->say(main::brief($t->push('groups/g1', 'hello')));
    $t->say(main::brief($t->push('groups/g1', 'again')));
    $t->say(main::brief($t->push('broadcast', 'hello')));

    return $t->text;
}
--- mqtt_out
201 Location=/v1/shop/users/alice/messages/#1 TTL=604800 {"id":"#1","state":"saved","expires":TIME}
201 Location=/v1/shop/users/alice/messages/#2 TTL=604800 {"id":"#2","state":"saved","expires":TIME}
201 Location=/v1/shop/users/bob/messages/#1 TTL=604800 {"id":"#1","state":"saved","expires":TIME}
201 Location=/v1/shop/groups/g1/messages/#1 TTL=604800 {"id":"#1","state":"saved","expires":TIME}
201 Location=/v1/shop/groups/g1/messages/#2 TTL=604800 {"id":"#2","state":"saved","expires":TIME}
202 Location=/v1/shop/broadcasts/#1 TTL=604800 {"id":"#1","state":"saved","expires":TIME}
--- no_error_log
[error]



=== TEST 2: a device gets each with its content type and id
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice', version => 5);

    $c->subscribe('shop/#');
    $c->subscribe('shop/group/g1');

    for my $target ('users/alice', 'groups/g1', 'broadcast') {
        my $r = $t->push($target, "to $target",
                         'Content-Type' => 'text/x-test');
        my $p = $c->expect('PUBLISH');
        my ($id) = map { $_->[1] } grep { $_->[0] eq 'id' }
                   @{$p->{props}{user} || []};

        $t->say("$p->{topic} qos=$p->{qos} $p->{payload} "
                . ($p->{props}{content_type} // 'no type') . ' '
                . ($id eq $r->{json}{id} ? 'same id' : "id $id"));
        $c->puback($p->{id});
    }

    return $t->text;
}
--- mqtt_out
shop/inbox qos=1 to users/alice text/x-test same id
shop/group/g1 qos=1 to groups/g1 text/x-test same id
shop/broadcast qos=1 to broadcast text/x-test same id
--- no_error_log
[error]



=== TEST 3: QoS 0
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice');

    $c->subscribe('shop/#');
    $t->say(main::brief($t->push('users/alice', 'once', QoS => 0)));

    my $p = $c->expect('PUBLISH');
    $t->say("qos=$p->{qos} $p->{payload}");

    return $t->text;
}
--- mqtt_out
201 Location=/v1/shop/users/alice/messages/#1 TTL=604800 {"id":"#1","state":"saved","expires":TIME}
qos=0 once
--- no_error_log
[error]



=== TEST 4: TTL: taken, cut to the maximum, any number of digits
--- push
    zone 4m;
    product shop {
        api_key $TEST_NGINX_API_KEY;
        message_ttl 1h max=1d;
    }
--- mqtt eval
sub {
    my ($t) = @_;

    for my $ttl (undef, 1, 60, 86400, 86401, '0060', '9' x 40) {
        my $r = $t->push('users/alice', 'x', defined $ttl ? (TTL => $ttl) : ());
        my $wrong = main::seconds_to_live($r) - $r->{headers}{ttl};

        $t->say("$r->{status} $r->{headers}{ttl} "
                . (abs($wrong) < 3 ? 'as it expires' : "off by $wrong"));
    }

    return $t->text;
}
--- mqtt_out
201 3600 as it expires
201 1 as it expires
201 60 as it expires
201 86400 as it expires
201 86400 as it expires
201 60 as it expires
201 86400 as it expires
--- no_error_log
[error]



=== TEST 5: TTL 0 reaches who is there and is not stored
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::brief($t->push('users/alice', 'nobody', TTL => 0)));

    my @c = map { $t->client(client => "d$_", user => 'shop/alice') } 1, 2;
    $_->subscribe('shop/#') for @c;
    $_->subscribe('shop/group/g1') for @c;

    for my $target ('users/alice', 'groups/g1', 'broadcast') {
        $t->say(main::brief($t->push($target, 'now', TTL => 0)));

        for my $c (@c) {
            my $p = $c->expect('PUBLISH');
            $t->say("$p->{topic} $p->{payload}");
            $c->puback($p->{id}) if $p->{id};
        }
    }

    my $user = $t->http->get('/v1/shop/users/alice')->{json};
    $t->say("queued $user->{queued}, last " . ($user->{last} // 'none'));

    return $t->text;
}
--- mqtt_out
200 TTL=0 {"state":"once","reached":0}
200 TTL=0 {"state":"once","reached":2}
shop/inbox now
shop/inbox now
200 TTL=0 {"state":"once","reached":2}
shop/group/g1 now
shop/group/g1 now
200 TTL=0 {"state":"once","reached":2}
shop/broadcast now
shop/broadcast now
queued 0, last none
--- no_error_log
[error]



=== TEST 6: a product whose messages are not stored by default
--- push
    zone 4m;
    product shop {
        api_key $TEST_NGINX_API_KEY;
        message_ttl 0 max=1h;
    }
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::brief($t->push('users/alice', 'x')));
    $t->say(main::brief($t->push('broadcast', 'x')));
    $t->say(main::brief($t->push('users/alice', 'x', TTL => 5)));

    return $t->text;
}
--- mqtt_out
200 TTL=0 {"state":"once","reached":0}
200 TTL=0 {"state":"once","reached":0}
201 Location=/v1/shop/users/alice/messages/#1 TTL=5 {"id":"#1","state":"saved","expires":TIME}
--- no_error_log
[error]



=== TEST 7: header fields that are refused, and have changed nothing
--- mqtt eval
sub {
    my ($t) = @_;
    my @refused = (
        [TTL => '-1'], [TTL => 'x'], [TTL => '1 0'], [TTL => '1.5'],
        [TTL => '+1'], [TTL => ''],
        [QoS => 2], [QoS => ''], [QoS => '01'], [QoS => 'x'],
        [Urgency => 'soon'], [Urgency => ''], [Urgency => 'high,low'],
        [Topic => 'a b'], [Topic => ''], [Topic => 'x' x 33], [Topic => 'a='],
        [Topic => 'x' x 32], [Topic => '-_aZ9'],
        ['Idempotency-Key' => ''], ['Content-Encoding' => 'gzip'],
        ['Content-Type' => 'x' x 256], ['Content-Type' => "a\xffb"],
        ['Content-Type' => "a\tb"],
        [TTL => "1\r\nTTL: 1"], [QoS => "1\r\nqos: 1"],
    );

    for my $h (@refused) {
        $t->say(main::brief($t->push('users/alice', 'x', @$h)));
    }

    $t->say($t->http->get('/v1/shop/users/alice')->{status});

    return $t->text;
}
--- mqtt_out
400 invalid-header TTL
400 invalid-header TTL
400 invalid-header TTL
400 invalid-header TTL
400 invalid-header TTL
400 invalid-header TTL
400 invalid-header QoS
400 invalid-header QoS
400 invalid-header QoS
400 invalid-header QoS
400 invalid-header Urgency
400 invalid-header Urgency
400 invalid-header Urgency
400 invalid-header Topic
400 invalid-header Topic
400 invalid-header Topic
400 invalid-header Topic
501 not-implemented Topic
501 not-implemented Topic
400 invalid-header Idempotency-Key
501 not-implemented Content-Encoding
400 invalid-header Content-Type
400 invalid-header Content-Type
400 invalid-header Content-Type
400 invalid-header TTL
400 invalid-header QoS
404
--- no_error_log
[error]



=== TEST 8: header fields that are accepted
--- mqtt eval
sub {
    my ($t) = @_;
    my @accepted = (
        [Urgency => 'very-low'], [Urgency => 'low'], [Urgency => 'normal'],
        [Urgency => 'high'], [Urgency => 'HIGH'], [QoS => 0], [QoS => 1],
        ['Content-Type' => 'x' x 255], ['Content-Type' => ''],
        ['Content-Type' => "text/plain; x=\xc3\xa4"],
        [urgency => 'low', ttl => 5, qos => 1], [Prefer => 'anything'],
    );

    my %status;
    $status{$t->push('users/alice', 'x', @$_)->{status}}++ for @accepted;

    return "@{[%status]}";
}
--- mqtt_out
201 12
--- no_error_log
[error]



=== TEST 9: payloads from nothing to the limit, byte for byte
--- push
    zone 32m;
    product shop {
        api_key $TEST_NGINX_API_KEY;
        payload_limit 256k;
        anonymous on;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice');
    $c->subscribe('shop/#');

    my $all = pack 'C*', 0 .. 255;

    for my $size (0, 1, 255, 319, 320, 321, 1008, 4096, 16384, 65536, 262144) {
        my $payload = substr $all x (1 + $size / 256), 0, $size;
        my $r = $t->push('users/alice', $payload);
        my $p = $c->expect('PUBLISH');

        $t->say("$size: $r->{status} "
                . ($p->{payload} eq $payload ? 'equal' : 'differs'));
        $c->puback($p->{id});
    }

    my $r = $t->push('users/alice', 'x' x 262145);
    $t->say("262145: $r->{status} $r->{json}{type}");
    $t->say('last ' . $t->http->get('/v1/shop/users/alice')->{json}{last}
                      =~ s/.*-//r);

    return $t->text;
}
--- mqtt_out
0: 201 equal
1: 201 equal
255: 201 equal
319: 201 equal
320: 201 equal
321: 201 equal
1008: 201 equal
4096: 201 equal
16384: 201 equal
65536: 201 equal
262144: 201 equal
262145: 413 urn:ngx-push:problem:payload-too-large
last 11
--- no_error_log
[error]



=== TEST 10: names that need encoding
--- mqtt eval
sub {
    my ($t) = @_;

    for my $name ('a%2Fb', 'a%2F%2Fb', '%E2%82%AC', 'a%20b', 'a+b', '...',
                  'a%252Fb', '%3F', '%23', 'users', 'v1', 'x' x 255)
    {
        my $r = $t->push("users/$name", 'x');
        my $at = $r->{headers}{location} // '';
        my $user = $t->http->get("/v1/shop/users/$name")->{json};
        my $name_of = substr $user->{user}, 0, 10;

        utf8::encode($name_of);
        $t->say("$r->{status} $name_of " . $t->http->get($at)->{status});
    }

    return $t->text;
}
--- mqtt_out
201 a/b 200
201 a//b 200
201 € 200
201 a b 200
201 a+b 200
201 ... 200
201 a%2Fb 200
201 ? 200
201 # 200
201 users 200
201 v1 200
201 xxxxxxxxxx 200
--- no_error_log
[error]



=== TEST 11: a full zone refuses, keeps what it accepted, and goes on
--- skip_eval: 3: Push::Test::embedded('a copy needs no room to be saved')
--- push
    zone 4m;
    product shop {
        api_key $TEST_NGINX_API_KEY;
        inbox_limit 1000000;
        payload_limit 64k;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my ($saved, $refused, $r) = (0, 0);

    for (1 .. 200) {
        $r = $t->push('users/alice', 'x' x 65000);
        $r->{status} == 201 ? $saved++ : $refused++;
        last if $refused == 3;
    }

    $t->say(main::brief($r));
    $t->say($saved > 20 ? 'many saved' : "saved $saved");

    my $queued = $t->http->get('/v1/shop/users/alice')->{json}{queued};
    $t->say($queued == $saved ? 'all kept' : "$queued of $saved");

    my $small = $t->push('users/alice', 'small')->{status};
    $t->say($small =~ /^(?:201|507)$/ ? 'goes on' : $small);

    return $t->text;
}
--- mqtt_out
507 zone-full
many saved
all kept
goes on
--- no_error_log
[alert]
