# A second connection of a session takes over, on the same worker and across
# workers, and nothing is lost; who is another user is another session.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Server;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 20;

own_servers();

# Two connections of one device, the second at worker number $second: what
# the first is told, and that the second goes on with the window.
sub takeover {
    my ($t, $version, $second) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my @pids = $s->workers;
    my @connect = (version => $version, timeout => 20, client => 'd',
                   user => 'shop/u',
                   $version == 5 ? (props => { session_expiry => 300,
                                               receive_maximum => 2 }) : ());
    my $a = only($s, $pids[0], sub {
        $s->dialogue->client(@connect, clean => 0);
    });

    $a->subscribe('shop/#', 'shop/group/g');
    publish_many($s->dialogue->http, 'users/u', [1 .. 4]);

    my ($first, $next) = receive($a, 2, packets => 1, ack => 0);
    $a->puback($first->{id});
    eventually('the acknowledgement', sub {
        metric($s, 'ngx_push_messages_acked_total') == 1;
    });

    my $b = $s->dialogue->socket(version => $version, timeout => 20);
    my $ack;

    # a connection is accepted by the worker that runs alone
    $b->close;
    only($s, $pids[$second], sub {
        $b = $s->dialogue->client(@connect, clean => 0);
    });

    # what the first one had been sent before it was told
    my $end;
    $end = $a->poll(20) while !$end || $end->{type} eq 'PUBLISH';
    $t->say('first: ' . $a->show($end)) if $version == 5;
    $a->expect_close(20) if $version == 5;

    my %got = map { $_->{payload} => $_ } receive($b, 3, packets => 1);
    $t->say('second: ' . CORE::join(' ', sort keys %got),
            "2 dup=$got{2}{dup}, "
            . ($got{2}{id} == $next->{id} ? 'same id' : 'other id'));

    # members of the group once, not twice
    my $p = $s->dialogue;
    $t->say('reached ' . $p->push('groups/g', 'x', TTL => 0)->{json}{reached}
            . ' ' . $p->push('users/u', 'y', TTL => 0)->{json}{reached}
            . ' ' . $p->push('broadcast', 'z', TTL => 0)->{json}{reached});
    $t->say(sort(receive($b, 3)));
    $b->expect_nothing(0.05);

    eventually('one connection', sub {
        metric($s, 'ngx_push_connections') == 1
        && metric($s, 'ngx_push_sessions', qr/online/) == 1;
    });
    $t->say('taken over '
            . metric($s, 'ngx_push_drops_total', qr/taken_over/));
    $_->close for $a, $b;
    $s->stop;
    return $t->text;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: MQTT 5 on the same worker
--- mqtt eval
sub { main::takeover($_[0], 5, 0) }
--- mqtt_out
first: DISCONNECT code=142
second: 2 3 4
2 dup=1, same id
reached 1 1 1
x
y
z
taken over 1



=== TEST 2: MQTT 5 on another worker
--- mqtt eval
sub { main::takeover($_[0], 5, 1) }
--- mqtt_out
first: DISCONNECT code=142
second: 2 3 4
2 dup=1, same id
reached 1 1 1
x
y
z
taken over 1



=== TEST 3: 3.1.1 on another worker: the first is closed
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my @pids = $s->workers;
    my ($a, $b) = map {
        main::only($s, $pids[$_], sub {
            $s->dialogue->client(version => 4, timeout => 20, client => 'd',
                                 user => 'shop/u', clean => 0);
        });
    } 0, 1;

    $a->expect_close(20);
    $t->say('closed', $b->show($b->ping), $b->show($b->subscribe('shop/#')));
    $s->dialogue->push('users/u', 'x');
    $t->say(main::receive($b, 1));
    $_->close for $a, $b;
    $s->stop;
    return $t->text;
}
--- mqtt_out
closed
PINGRESP
SUBACK id=1 codes=1
x



=== TEST 4: session present tells of the other connection
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my $d = $s->dialogue;
    my @c;

    # without an expiry interval a session ends with its connection
    for my $of ([1, 0], [0, 60], [0, 0], [0, 60], [1, 60], [0, 60]) {
        my ($clean, $expiry) = @$of;
        my $c = $d->socket(version => 5, timeout => 20);
        my $ack = $c->connect(client => 'd', user => 'shop/u', clean => $clean,
                              props => { session_expiry => $expiry });

        $t->say("clean $clean, expiry $expiry: session $ack->{session}");
        push @c, $c;
    }

    for my $c (@c[0 .. 4]) {
        $t->say($c->show($c->expect('DISCONNECT', timeout => 20)));
    }
    $t->say($c[5]->show($c[5]->ping));
    $_->close for @c;
    $s->stop;
    return $t->text;
}
--- mqtt_out
clean 1, expiry 0: session 0
clean 0, expiry 60: session 0
clean 0, expiry 0: session 1
clean 0, expiry 60: session 0
clean 1, expiry 60: session 0
clean 0, expiry 60: session 1
DISCONNECT code=142
DISCONNECT code=142
DISCONNECT code=142
DISCONNECT code=142
DISCONNECT code=142
PINGRESP



=== TEST 5: Clean Start on takeover: no window, no subscriptions, no loss
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my @pids = $s->workers;
    my @of = (version => 5, timeout => 20, client => 'd', user => 'shop/u',
              props => { session_expiry => 300 });
    my $a = main::only($s, $pids[0], sub { $s->dialogue->client(@of) });

    $a->subscribe('shop/#', 'shop/group/g');
    main::publish_many($s->dialogue->http, 'users/u', [1 .. 3]);
    main::receive($a, 3, ack => 0);

    my $b = main::only($s, $pids[1], sub {
        $s->dialogue->client(@of, clean => 1);
    });
    $t->say($a->show($a->expect('DISCONNECT', timeout => 20)));
    $t->say('group ' . $s->dialogue->push('groups/g', 'x', TTL => 0)
                        ->{json}{reached});
    $b->expect_nothing(0.2);
    $b->subscribe('shop/#');
    $t->say(map { "$_->{payload} dup=$_->{dup}" }
            main::receive($b, 3, packets => 1));
    $b->expect_nothing(0.05);
    $_->close for $a, $b;
    $s->stop;
    return $t->text;
}
--- mqtt_out
DISCONNECT code=142
group 0
1 dup=0
2 dup=0
3 dup=0



=== TEST 6: 20 takeovers at once, one connection is left, nothing is lost
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 4)->start;
    my $d = $s->dialogue;
    my @of = (client => 'd', user => 'shop/u', clean => 0, keepalive => 60,
              props => { session_expiry => 300 });
    my $first = $d->client(version => 5, timeout => 20, @of);

    $first->subscribe('shop/#');
    main::publish_many($d->http, 'users/u', [1 .. 10]);

    # all are there before any is read, so that they race at the workers
    my @c = map { $d->socket(version => 5, timeout => 20) } 1 .. 20;
    $_->send('CONNECT', @of) for @c;
    main::publish_many($d->http, 'users/u', [11 .. 20]);

    # claims that Redis answers in another order than they were made may find
    # a newer one here: these are refused, and never were connected
    my $gone = sub {
        my ($p) = @_;
        return 1 if $p->{type} eq 'DISCONNECT';
        return 0 if $p->{type} ne 'CONNACK' || !$ENV{PUSH_TEST_STORE}
                    || ($p->{code} // 0) != 137;
        @$p{qw(type code)} = ('DISCONNECT', 142);
        delete $p->{$_} for qw(session_present present);
        return 1;
    };

    my (%got, %ends, @left);
    for my $c ($first, @c) {
        my $end;

        # everybody but one is told to go
        for (;;) {
            my $p = $c->poll(0.05);

            if (!$p) {
                last if $c->closed;
                push @left, $c if !grep { $_ == $c } @left;
                last;
            }
            $got{$p->{payload}}++ if $p->{type} eq 'PUBLISH';
            $end = $p if $gone->($p);
        }
        $ends{$c->show($end)}++ if $end;
    }

    # some were looked at before their turn came
    main::eventually('one connection', sub {
        @left = grep {
            while (my $p = $_->poll(0)) {
                $got{$p->{payload}}++ if $p->{type} eq 'PUBLISH';
                $ends{$_->show($p)}++ if $gone->($p);
            }
            !$_->closed;
        } @left;
        @left == 1;
    });

    $t->say(map { "$_: $ends{$_}" } sort keys %ends);

    # the one that is left has all that nobody acknowledged
    my ($last) = @left;
    $d->push('users/u', 21);
    my $end = 0;
    while ($end != 21) {
        my ($p) = main::receive($last, 1, packets => 1);
        $got{$p->{payload}}++;
        $end = $p->{payload};
    }
    $t->say('got ' . main::counted(sort { $a <=> $b } keys %got));
    $t->say(main::device_of($s, 'u', 'd')->{state});
    main::eventually('one connection', sub {
        main::metric($s, 'ngx_push_connections') == 1;
    });
    $last->ping;
    $_->close for @c, $first;
    $s->stop;
    return $t->text;
}
--- mqtt_out
DISCONNECT code=142: 20
got 1..21
online



=== TEST 7: the same client id of another user, and of another product
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push =>
                    'product more { api_key {{key}}; anonymous on; }')->start;
    my @users = qw(shop/u shop/v more/u);
    my @c = map {
        $s->dialogue->client(version => 5, timeout => 20, client => 'd',
                             user => $_, props => { session_expiry => 60 })
    } @users;

    $c[0]->subscribe('shop/#');
    $c[1]->subscribe('shop/#');
    $c[2]->subscribe('more/#');

    $s->dialogue->push('users/u', 'for u');
    $s->dialogue->push('users/v', 'for v');
    $s->dialogue(product => 'more')->push('users/u', 'for u of more');
    $t->say(map { main::receive($_, 1) } @c);
    $_->expect_nothing(0.05) for @c;

    # none of them takes another's place, whatever it claims
    my $again = $s->dialogue->client(version => 5, timeout => 20, client => 'd',
                                     user => 'shop/v', clean => 0,
                                     props => { session_expiry => 60 });
    $t->say($c[1]->show($c[1]->expect('DISCONNECT', timeout => 20)));
    $_->ping for $c[0], $c[2];
    $s->dialogue->push('users/u', 'u again');
    $s->dialogue->push('users/v', 'v again');
    $t->say(main::receive($c[0], 1), main::receive($again, 1));
    $_->expect_nothing(0.05), $_->close for $c[0], $c[2], $again;
    $c[1]->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
for u
for v
for u of more
DISCONNECT code=142
u again
v again



=== TEST 8: a device that changes its protocol version
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my $d = $s->dialogue;
    my $old = $d->client(version => 4, timeout => 20, client => 'd',
                         user => 'shop/u', clean => 0);

    $old->subscribe('shop/#');
    main::publish_many($d->http, 'users/u', [1 .. 3]);
    main::receive($old, 3, ack => 0);

    my $new = $d->client(version => 5, timeout => 20, client => 'd',
                         user => 'shop/u', clean => 0,
                         props => { receive_maximum => 1,
                                    session_expiry => 60 });
    $old->expect_close(20);

    # three are in flight, one may be
    my @got;
    for (1 .. 3) {
        my ($p) = main::receive($new, 1, packets => 1, ack => 0);
        push @got, "$p->{payload} dup=$p->{dup}";
        $new->expect_nothing(0.1);
        $new->puback($p->{id});
    }
    $t->say(@got);
    $d->push('users/u', 4);
    my ($p) = main::receive($new, 1, packets => 1);
    $t->say("$p->{payload} dup=$p->{dup}");
    $_->close for $old, $new;
    $s->stop;
    return $t->text;
}
--- mqtt_out
1 dup=1
2 dup=1
3 dup=1
4 dup=0



=== TEST 9: taken over while it is blocked: the old one does not hold anything
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, zone => '64m',
                              product => 'payload_limit 256k;')->start;
    my $d = $s->dialogue;
    my @of = (version => 5, timeout => 20, client => 'd', user => 'shop/u',
              clean => 0, props => { session_expiry => 60 });
    my $deaf = $d->client(@of);

    $deaf->subscribe('shop/#');
    main::publish_many($d->http, 'users/u', [map { $_ . 'x' x 250000 } 1 .. 60]);
    main::eventually('it is blocked', sub {
        my $d = main::device_of($s, 'u', 'd');
        $d->{in_flight} > 0;
    });

    my $new = $d->client(@of);
    my @got = map { /^(\d+)/ && length == 250000 + length $1 ? $1 : 'broken' }
              main::receive($new, 60);
    $t->say(main::counted(@got));
    main::eventually('one connection', sub {
        main::metric($s, 'ngx_push_connections') == 1;
    });
    $_->close for $deaf, $new;
    $s->stop;
    return $t->text;
}
--- mqtt_out
1..60



=== TEST 10: back and forth between two workers under load
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my @pids = $s->workers;
    my $c;
    my (@got, %dup);
    my $n = 0;

    for my $round (1 .. 10) {
        my $next = main::only($s, $pids[$round % 2], sub {
            $s->dialogue->client(version => 5, timeout => 20, client => 'd',
                                 user => 'shop/u', clean => 0,
                                 props => { session_expiry => 60,
                                            receive_maximum => 5 });
        });
        $next->subscribe('shop/#') if $round == 1;
        $c->close if $c;
        $c = $next;

        main::publish_many($s->dialogue->http, 'users/u', [$n + 1 .. $n + 20]);
        $n += 20;

        # some are acknowledged, some are left for the next connection
        for my $p (main::receive($c, 10, packets => 1)) {
            push @got, $p->{payload}
                if !@got || $p->{payload} > $got[-1];
        }
    }

    $s->dialogue->push('users/u', $n + 1);
    while ($got[-1] <= $n) {
        my ($p) = main::receive($c, 1);
        push @got, $p if $p > $got[-1];
    }
    $t->say(main::counted(@got));
    $c->expect_nothing(0.05);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
1..201
