# What the API tells of users and messages, as devices come, acknowledge, go,
# and as messages end.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Test::Nginx::Socket;
use Time::HiRes qw(sleep);

repeat_each(1);
plan tests => repeat_each() * 24;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(config => '    location /v1/ { push_center; }')
        if ($block->config // '') eq '';

    $block->set_value(request => 'GET /v1/shop/uplink');
    $block->set_value(more_headers => 'Authorization: Bearer ' . api_key());
});

sub user {
    my ($t, $name) = @_;
    my $r = $t->http->get("/v1/shop/users/$name");

    return "$r->{status}" if $r->{status} != 200;

    my $u = $r->{json};
    my $out = 'queued=' . $u->{queued} . ' acked=' . seq($u->{acked_up_to})
              . ' last=' . seq($u->{last});

    for my $d (sort { $a->{device} cmp $b->{device} } @{$u->{devices}}) {
        $out .= "; $d->{device} $d->{state} $d->{protocol}"
                . ($d->{bound} ? ' bound' : '')
                . " in_flight=$d->{in_flight} queued=$d->{queued} acked="
                . seq($d->{acked_up_to});
    }

    return $out;
}

sub seq { defined $_[0] ? $_[0] =~ s/.*-//r : 'none' }

sub message {
    my ($t, $r) = @_;
    my $m = $t->http->get($r->{headers}{location});

    return "$m->{status}" if $m->{status} != 200;

    $m = $m->{json};
    return "$m->{state}" if !defined $m->{created};
    return "$m->{state} sent_to=$m->{sent_to} size=$m->{size}";
}

# Waits until a sub returns true; that what it waits for takes time is known,
# how long is not.
sub wait_for {
    my ($sub) = @_;
    my $value;

    for (1 .. 100) {
        last if $value = $sub->();
        sleep 0.05;
    }

    return $value;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: a user nobody knows, one with messages only
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::user($t, 'alice'));
    $t->push('users/alice', 'x') for 1 .. 3;
    $t->say(main::user($t, 'alice'));
    $t->say(main::user($t, 'bob'));

    return $t->text;
}
--- mqtt_out
404
queued=3 acked=none last=3
404
--- no_error_log
[error]



=== TEST 2: devices, in flight, acknowledged
--- mqtt eval
sub {
    my ($t) = @_;
    my $c1 = $t->client(client => 'd1', user => 'shop/alice');
    my $c2 = $t->client(client => 'd2', user => 'shop/alice', version => 5);

    $c1->subscribe('shop/#');
    $c2->subscribe('shop/inbox');
    $t->say(main::user($t, 'alice'));

    $t->push('users/alice', $_) for 1, 2;
    my @p1 = map { $c1->expect('PUBLISH') } 1, 2;
    my @p2 = map { $c2->expect('PUBLISH') } 1, 2;
    $t->say(main::user($t, 'alice'));

    $c1->puback($_->{id}) for @p1;
    main::wait_for(sub { main::user($t, 'alice') =~ /d1.*acked=2; d2/ });
    $t->say(main::user($t, 'alice'));

    $c2->puback($_->{id}) for @p2;
    main::wait_for(sub {
        main::user($t, 'alice') =~ /^queued=0 .*d2.*acked=2$/;
    });
    $t->say(main::user($t, 'alice'));

    return $t->text;
}
--- mqtt_out
queued=0 acked=none last=none; d1 online mqtt/3.1.1 bound in_flight=0 queued=0 acked=none; d2 online mqtt/5.0 bound in_flight=0 queued=0 acked=none
queued=2 acked=none last=2; d1 online mqtt/3.1.1 bound in_flight=2 queued=2 acked=none; d2 online mqtt/5.0 bound in_flight=2 queued=2 acked=none
queued=2 acked=none last=2; d1 online mqtt/3.1.1 bound in_flight=0 queued=0 acked=2; d2 online mqtt/5.0 bound in_flight=2 queued=2 acked=none
queued=0 acked=2 last=2; d1 online mqtt/3.1.1 bound in_flight=0 queued=0 acked=2; d2 online mqtt/5.0 bound in_flight=0 queued=0 acked=2
--- no_error_log
[error]



=== TEST 3: where and since when, in the form that is documented
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => "d\"1\\", user => 'shop/alice');
    my $d = $t->http->get('/v1/shop/users/alice')->{json}{devices}[0];

    my $form = $d->{since} =~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
    $t->say($d->{device}, $d->{node}, $form ? 'time' : $d->{since},
            $d->{worker} =~ /^\d+$/ ? 'worker' : 'no worker');

    return $t->text;
}
--- mqtt_out
d"1\
test
time
worker
--- no_error_log
[error]



=== TEST 4: gone with a DISCONNECT is offline, without is lingering
--- mqtt eval
sub {
    my ($t) = @_;
    my $c1 = $t->client(client => 'd1', user => 'shop/alice');
    my $c2 = $t->client(client => 'd2', user => 'shop/alice');

    $c1->disconnect;
    $c2->close;

    main::wait_for(sub { main::user($t, 'alice') =~ /offline.*lingering/ });
    my $user = $t->http->get('/v1/shop/users/alice')->{json};
    my @d = sort { $a->{device} cmp $b->{device} } @{$user->{devices}};

    $t->say("$_->{device} $_->{state}"
            . (exists $_->{worker} ? ' has worker' : '')) for @d;

    return $t->text;
}
--- mqtt_out
d1 offline
d2 lingering
--- no_error_log
[error]



=== TEST 5: a message: saved, sent, acked
--- mqtt eval
sub {
    my ($t) = @_;
    my $r = $t->push('users/alice', 'hello');

    $t->say(main::message($t, $r));

    my $c = $t->client(client => 'd1', user => 'shop/alice');
    $c->subscribe('shop/#');
    my $p = $c->expect('PUBLISH');
    $t->say(main::message($t, $r));

    $c->puback($p->{id});
    main::wait_for(sub { main::message($t, $r) !~ /sent/ });
    $t->say(main::message($t, $r));

    return $t->text;
}
--- mqtt_out
saved sent_to=0 size=5
sent sent_to=1 size=5
acked
--- no_error_log
[error]



=== TEST 6: a message to a group and a broadcast
--- mqtt eval
sub {
    my ($t) = @_;
    my @c = map { $t->client(client => "d$_", user => "shop/u$_") } 1 .. 3;

    $_->subscribe('shop/group/g') for @c;
    $_->subscribe('shop/#') for @c[0, 1];

    my $group = $t->push('groups/g', 'to a group');
    my $broadcast = $t->push('broadcast', 'to everybody');
    my @p = map { $c[$_]->expect('PUBLISH') } 0, 1, 2, 0, 1;

    $t->say(main::message($t, $group), main::message($t, $broadcast));

    return $t->text;
}
--- mqtt_out
sent sent_to=3 size=10
sent sent_to=2 size=12
--- no_error_log
[error]



=== TEST 7: ended by the limit and by its time
--- push
    zone 4m;
    product shop {
        api_key $TEST_NGINX_API_KEY;
        inbox_limit 2;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my @r = map { $t->push('users/alice', 'x', TTL => 600) } 1 .. 3;

    $t->say(map { main::message($t, $_) } @r);

    my $short = $t->push('users/bob', 'x', TTL => 1);
    $t->say(main::message($t, $short));
    main::wait_for(sub { main::message($t, $short) eq 'ended' });
    $t->say(main::message($t, $short));

    return $t->text;
}
--- mqtt_out
ended
saved sent_to=0 size=1
saved sent_to=0 size=1
saved sent_to=0 size=1
ended
--- no_error_log
[error]



=== TEST 8: ids that were never given
--- mqtt eval
sub {
    my ($t) = @_;
    my ($inc) = $t->push('users/alice', 'x')->{json}{id} =~ /^(.*)-1$/;
    my $broadcast = $t->push('broadcast', 'x')->{json}{id};

    for my $id ("$inc-1", "$inc-2", "$inc-0", '1-1', $broadcast, 'x', '1', '-',
                "$inc-", '-1', "$inc-1x", "$inc-1-1", 'f' x 17 . '-1',
                "$inc-" . '9' x 20, "$inc-" . '9' x 21)
    {
        my $path = "/v1/shop/users/alice/messages/$id";
        $t->say($t->http->get($path)->{status});
    }

    return $t->text;
}
--- mqtt_out
200
404
404
404
404
404
404
404
404
404
404
404
404
404
404
--- no_error_log
[error]
