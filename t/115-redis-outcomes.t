# What the center answers when Redis is slow, away, full or read-only: refused
# (nothing was done) or unknown, never "saved"; and that a repeat with the same
# Idempotency-Key settles what was unknown.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Redis;
use Push::Server;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 20;

# a worker is killed
allow_alert(qr/exited on signal 9/);

own_servers();

# (a Redis, a server of one worker at it that answers)
sub start {
    my ($push, %opt) = @_;
    my $timeout = delete $opt{timeout} // '500ms';
    my $r = Push::Redis->new(%{delete $opt{redis} || {}})->start;
    my $s = Push::Server->new(workers => 1, push => $r->conf
                              . " redis_timeout $timeout; $push", %opt)->start;

    ready($s);
    return ($r, $s);
}

sub ready {
    my ($s) = @_;
    my $d = $s->dialogue;

    $s->until('a push to be saved', sub {
        $d->push('users/ready', 'x')->{status} == 201;
    }, 20);
}

# A request that is under way on a connection of its own.
sub sent {
    my ($s, $user, $key) = @_;
    my $h = $s->http_client(timeout => 10)->open;

    $h->send_raw($h->format('POST', "/v1/shop/users/$user/messages", 'x',
                            defined $key ? ('Idempotency-Key' => $key) : ()));
    return $h;
}

# One line; the detail only of what is to be told there.
sub brief {
    my ($r) = @_;
    my $text = $r->{status};

    $text .= ' replayed' if $r->{headers}{'idempotent-replayed'};
    $text .= ' ' . $r->{json}{type} =~ s/^urn:ngx-push:problem://r
        if $r->{status} >= 400;
    $text .= " retry=$r->{headers}{'retry-after'}"
        if $r->{headers}{'retry-after'};
    $text .= ' with a key' if ($r->{json}{detail} // '') =~ /repeated safely/;

    return $text;
}

# Messages in the log of a user, as docs/redis.md has it.
sub queued {
    my ($r, $user) = @_;
    my $fields = $r->command('HKEYS', "np:{shop:$user}q");

    return scalar grep { /^\d+$/ } @$fields;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: sent and not answered is unknown; the key settles it
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('');
    my $d = $s->dialogue;

    $r->stop;
    my $h = main::sent($s, 'u', 'k1');
    $t->say(main::brief($h->response('POST')));
    $t->say($d->http->get('/v1/shop/users/u')->{status} =~ /^50[34]$/
            ? 'no answer' : 'an answer');
    $r->cont;
    main::ready($s);

    # Redis has read it meanwhile, or never will: but once it is
    $t->say($d->push('users/u', 'x', 'Idempotency-Key' => 'k1')->{status});
    $t->say(main::brief($d->push('users/u', 'x', 'Idempotency-Key' => 'k1')));
    $t->say(main::queued($r, 'u'));
    $s->stop;
    return $t->text;
}
--- mqtt_out
504 outcome-unknown with a key
no answer
201
201 replayed
1



=== TEST 2: not there is refused, and nothing was done
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('', redis => { aof => 'always' });
    my $d = $s->dialogue;

    $r->kill9;
    $s->until('it to be seen', sub {
        $d->push('users/u', 'x', TTL => 0)->{status} == 503;
    });

    for my $target ('users/u', 'groups/g', 'broadcast') {
        $t->say(main::brief($d->push($target, 'x', 'Idempotency-Key' => 'k')));
    }
    $t->say(main::brief($d->push('users/u', 'x', TTL => 0)));
    $t->say(main::brief($d->http->get('/v1/shop/users/u/messages/abcdef-1')));

    $r->start;
    main::ready($s);
    $t->say(main::queued($r, 'u'));
    $t->say(main::brief($d->push('users/u', 'x', 'Idempotency-Key' => 'k')));
    $t->say(main::queued($r, 'u'));
    $s->stop;
    return $t->text;
}
--- mqtt_out
503 unavailable retry=1
503 unavailable retry=1
503 unavailable retry=1
503 unavailable retry=1
503 unavailable retry=1
0
201
1



=== TEST 3: full is 507, and leaves no key
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('');
    my $d = $s->dialogue;
    my $key = ['Idempotency-Key' => 'k1'];

    $r->set('maxmemory', 1);
    $t->say(main::brief($d->push('users/u', 'x', @$key)));
    $t->say(main::brief($d->push('broadcast', 'x')));
    $r->set('maxmemory', 0);
    $t->say(main::brief($d->push('users/u', 'x', @$key)));
    $t->say(main::queued($r, 'u'));
    $s->stop;
    return $t->text;
}
--- mqtt_out
507 zone-full
507 zone-full
201
1



=== TEST 4: more than redis_inflight: refused at once
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('redis_inflight 4;');
    my %got;

    $r->stop;
    my @h = map { main::sent($s, 'u') } 1 .. 10;
    my $began = Time::HiRes::time();

    $got{main::brief($_->response('POST'))}++ for @h[6 .. 9];
    $t->say('at once') if Time::HiRes::time() - $began < 0.4;
    $got{main::brief($_->response('POST'))}++ for @h[0 .. 5];
    $t->say($_) for sort keys %got;
    $t->say(($got{'503 busy retry=1'} // 0) >= 5 ? 'most' : 'few');
    $r->cont;
    main::ready($s);
    $s->stop;
    return $t->text;
}
--- mqtt_out
at once
503 busy retry=1
504 outcome-unknown with a key
most



=== TEST 5: the same key while the first is under way
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('', timeout => '5s', workers => 2);
    my $d = $s->dialogue;

    $r->stop;
    my $h = main::sent($s, 'u', 'k1');
    select undef, undef, undef, 0.2;

    # whichever of the two workers is asked
    my %got;
    $got{main::brief($s->http_client->post('/v1/shop/users/u/messages', 'x',
                     'Idempotency-Key' => 'k1'))}++ for 1 .. 8;
    $t->say(sort keys %got);

    $r->cont;
    $t->say(main::brief($h->response('POST')));
    $t->say(main::brief($d->push('users/u', 'x', 'Idempotency-Key' => 'k1')));
    $t->say(main::queued($r, 'u'));
    $s->stop;
    return $t->text;
}
--- mqtt_out
409 in-progress retry=1
201
201 replayed
1



=== TEST 6: the worker dies with it: the next one settles it
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('', timeout => '5s');
    my $d = $s->dialogue;

    $r->stop;
    my $h = main::sent($s, 'u', 'k1');
    select undef, undef, undef, 0.2;
    $s->kill_worker('KILL');
    $t->say(eval { $h->response('POST')->{status} } // 'no answer');
    $r->cont;
    main::ready($s);

    my $again;
    $s->until('the mark to go', sub {
        $again = $d->push('users/u', 'x', 'Idempotency-Key' => 'k1');
        $again->{status} != 409;
    });
    $t->say($again->{status});
    $t->say(main::queued($r, 'u'));
    $s->stop;
    return $t->text;
}
--- mqtt_out
no answer
201
1



=== TEST 7: a reload, and a stop, wait for the answer
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('', timeout => '5s');

    for my $how ('HUP', 'QUIT') {
        $r->stop;
        my $h = main::sent($s, "u$how");
        select undef, undef, undef, 0.2;

        $how eq 'HUP' ? $s->reload : $s->signal('QUIT');
        select undef, undef, undef, 0.5;

        $r->cont;
        $t->say("$how " . main::brief($h->response('POST')));
    }

    $s->stop;
    return $t->text;
}
--- mqtt_out
HUP 201
QUIT 201



=== TEST 8: clients that do not wait for the answer
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('');
    my $d = $s->dialogue;

    for my $round (1 .. 5) {
        $r->stop;
        my @h = map { main::sent($s, 'u', "k$round-$_") } 1 .. 20;
        select undef, undef, undef, 0.1;
        $_->close for splice @h, 0, 10;
        $r->cont;
        $_->response('POST') for @h;
        undef @h;
    }

    main::ready($s);
    $t->say(main::queued($r, 'u') >= 50 ? 'saved' : 'not saved');

    # and none of them is under way any more
    my %got;
    $got{$d->push('users/u', 'x', 'Idempotency-Key' => "k5-$_")->{status}}++
        for 1 .. 20;
    $t->say(%got);
    $t->say(main::queued($r, 'u'));
    $s->stop;
    return $t->text;
}
--- mqtt_out
saved
201
20
100



=== TEST 9: a server that takes no writes
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('');
    my $other = Push::Redis->new->start;
    my $d = $s->dialogue;

    $r->command('REPLICAOF', '127.0.0.1', $other->port);
    $t->say(main::brief($d->push('users/u', 'x')));
    $r->command('REPLICAOF', 'NO', 'ONE');
    main::ready($s);
    $t->say(main::brief($d->push('users/u', 'x')));
    $s->stop;
    return $t->text;
}
--- mqtt_out
503 unavailable retry=1
201



=== TEST 10: a query of a user while Redis is away does not invent an answer
--- mqtt eval
sub {
    my ($t) = @_;
    my ($r, $s) = main::start('');
    my $d = $s->dialogue;

    $d->push('users/u', 'x');
    $r->kill9;
    $s->until('it to be seen', sub {
        $d->push('users/u', 'x', TTL => 0)->{status} == 503;
    });
    $t->say(main::brief($d->http->get('/v1/shop/users/u')));
    $t->say(main::brief($d->http->get('/v1/shop/users/nobody')));
    $t->say(main::brief($d->http->get('/v1/shop/uplink')));
    $s->stop;
    return $t->text;
}
--- mqtt_out
503 unavailable retry=1
503 unavailable retry=1
503 unavailable retry=1
