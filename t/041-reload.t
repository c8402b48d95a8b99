# Reloads: devices are sent away and come back without loss, other worker
# counts, settings that change, settings that cannot, and the way out.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Server;
use Test::Nginx::Socket;
use Time::HiRes ();

repeat_each(1);
plan tests => repeat_each() * 28;

own_servers();

# A configuration that is refused: says why, and everything goes on.
sub refused {
    my ($t, $s, $pattern, %change) = @_;
    my @before = $s->workers;
    my %keep   = map { $_ => $s->{$_} } keys %change;

    $s->write_conf(%change);
    $s->signal('HUP');
    $s->log_like($pattern, 20);
    my ($line) = $s->log =~ /($pattern)/;
    $t->say($line);

    # a master that is done with the signal answers the next one
    $s->signal('USR1');
    $s->log_like('reopening logs', 20);

    my $p = $s->dialogue;
    $t->say('push ' . $p->push('users/u', 'still here')->{status});
    $t->say(CORE::join(' ', @before) eq CORE::join(' ', $s->workers)
            ? 'same workers' : 'other workers');
    $s->write_conf(%keep);
}

# Receives and acknowledges until so many different messages have come;
# connects again whenever the server ends the connection.  Returns what came
# first, in order, and how the connections ended.
sub follow {
    my ($c, $count, $seen, $ends) = @_;
    my $end = Time::HiRes::time() + 30;

    while (@$seen < $count) {
        die "only " . @$seen . " of $count\n" if Time::HiRes::time() > $end;

        my $p = $c->poll(0.2);

        if ($p && $p->{type} eq 'PUBLISH') {
            $c->puback($p->{id}) if $p->{qos};
            push @$seen, $p->{payload}
                if !@$seen || $p->{payload} > $seen->[-1];

        } elsif ($p) {
            push @$ends, $c->show($p);

        } elsif ($c->closed) {
            push @$ends, 'close';
            my $ack = $c->reconnect(clean => 0);
            push @$ends, 'session=' . $ack->{session};
        }
    }
}

# the refused configurations, each with its message
allow_alert(qr/\[emerg\]/);

no_shuffle();
run_tests();

__DATA__

=== TEST 1: devices are told to come again, MQTT 5 by 0x8B, 3.1.1 by a close
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'drain_time 0;')->start;
    my ($five) = main::devices($s, 1, version => 5,
                               props => { session_expiry => 60 });
    my $three = $s->dialogue->client(version => 4, clean => 0, timeout => 20,
                                     client => 'd3', user => 'shop/u3');

    $_->subscribe('shop/#') for $five, $three;
    $s->reload;
    $t->say($five->show($five->expect('DISCONNECT', timeout => 20)));
    $five->expect_close(20);
    $three->expect_close(20);
    $s->old_gone(20);
    $t->say($five->show($five->reconnect(clean => 0)));
    $t->say($three->show($three->reconnect(clean => 0)));

    my $p = $s->dialogue;
    $p->push('users/u0', 'a');
    $p->push('users/u3', 'b');
    $t->say(main::receive($five, 1), main::receive($three, 1));
    $_->close for $five, $three;
    $s->stop;
    return $t->text;
}
--- mqtt_out
DISCONNECT code=139
CONNACK session=1
CONNACK session=1
a
b



=== TEST 2: they are sent away over drain_time, not at once
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 1, push => 'drain_time 2s;')->start;
    my @c = map {
        $s->dialogue->client(version => 5, client => "d$_", user => "shop/u$_",
                             timeout => 20)
    } 1 .. 20;
    my $begin = Time::HiRes::time();
    my (%at, $half);

    $s->reload;

    while (keys %at < @c) {
        for my $i (grep { !$at{$_} } 0 .. $#c) {
            my $p = $c[$i]->poll(0) or next;

            $at{$i} = Time::HiRes::time() - $begin;
            $c[$i]->close;
        }
        die "not all were sent away\n" if Time::HiRes::time() - $begin > 30;
        Time::HiRes::sleep(0.01);
    }

    my @at = sort { $a <=> $b } values %at;
    $t->say($at[-1] - $at[0] >= 0.4 ? 'spread' : "in $at[-1] - $at[0] s");
    $t->say($at[9] - $at[0] >= 0.1 ? 'evenly' : "half in $at[9] - $at[0] s");
    $s->old_gone(20);
    $s->stop;
    return $t->text;
}
--- mqtt_out
spread
evenly



=== TEST 3: nothing is lost over reloads with 2, 4 and 1 workers
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'drain_time 200ms;')->start;
    my ($five, $three) = map {
        $s->dialogue->client(version => $_, client => "d$_", timeout => 20,
                             user => "shop/u$_", clean => $_ == 5,
                             $_ == 5 ? (props => { session_expiry => 60 })
                                     : ())
    } 5, 4;
    my (@five, @three, @ends5, @ends3);
    my $n = 0;

    $_->subscribe('shop/#') for $five, $three;

    for my $workers (4, 1, 2) {
        my $p = $s->dialogue;
        my @batch = map { ++$n } 1 .. 50;

        main::publish_many($p->http, "users/u$_", \@batch) for 5, 4;
        $s->reload(workers => $workers);
        $p = $s->dialogue;
        @batch = map { ++$n } 1 .. 50;
        main::publish_many($p->http, "users/u$_", \@batch) for 5, 4;
        main::follow($five, $n, \@five, \@ends5);
        main::follow($three, $n, \@three, \@ends3);

        # the old workers have sent them away before they leave
        for my $c ([$five, \@ends5], [$three, \@ends3]) {
            next if @{$c->[1]};
            my $p = $c->[0]->poll(20);
            push @{$c->[1]}, $c->[0]->show($p);
            $c->[0]->expect_close(20) if $p;
            push @{$c->[1]}, 'close' if $p;
            push @{$c->[1]}, 'session='
                             . $c->[0]->reconnect(clean => 0)->{session};
        }

        $s->old_gone(20);
        $t->say("$workers: " . CORE::join(' ', @ends5), CORE::join(' ', @ends3));
        @ends5 = @ends3 = ();
    }

    $t->say(main::counted(@five), main::counted(@three));
    $_->close for $five, $three;
    $s->stop;
    return $t->text;
}
--- mqtt_out
4: DISCONNECT code=139 close session=1
close session=1
1: DISCONNECT code=139 close session=1
close session=1
2: DISCONNECT code=139 close session=1
close session=1
1..300
1..300



=== TEST 4: what was in flight comes again with DUP, and keeps its place
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'drain_time 0;')->start;
    my $c = $s->dialogue->client(version => 5, client => 'd', timeout => 20,
                                 user => 'shop/u',
                                 props => { session_expiry => 60,
                                            receive_maximum => 2 });

    $c->subscribe('shop/#');
    main::publish_many($s->dialogue->http, 'users/u', [1 .. 4]);
    my @first = main::receive($c, 2, ack => 0, packets => 1);

    $s->reload;
    $c->expect('DISCONNECT', timeout => 20);
    $c->reconnect(clean => 0);

    my @again = main::receive($c, 2, ack => 0, packets => 1);
    $t->say("$_->{payload} dup=$_->{dup}") for @again;
    $t->say(CORE::join(' ', map { $_->{id} } @first)
            eq CORE::join(' ', map { $_->{id} } @again)
            ? 'same ids' : 'other ids');
    $c->expect_nothing(0.1);
    $c->puback($_->{id}) for @again;
    $t->say("$_->{payload} dup=$_->{dup}")
        for main::receive($c, 2, packets => 1);
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
1 dup=1
2 dup=1
same ids
3 dup=0
4 dup=0



=== TEST 5: connections in every state let the old workers go
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(
        workers => 1, zone => '64m',
        push => 'drain_time 100ms;', product => 'payload_limit 256k;',
        room => 'server { listen {{mqtt}}; listen {{mqtts}} ssl; push_room;
                          ssl_certificate {{cert}};
                          ssl_certificate_key {{certkey}};
                          push_connect_timeout 1s; }')->start;
    my $d = $s->dialogue;

    my $silent = $d->socket;                       # no CONNECT
    my $half = $d->socket;
    $half->send_raw("\x10\x40\0\4MQ");             # half of one
    my $tls = $d->client(tls => 1, port => $s->mqtts_port, version => 5,
                         client => 't', user => 'shop/t', timeout => 20);
    my $deaf = $d->client(version => 5, client => 'deaf', user => 'shop/deaf');

    $deaf->subscribe('shop/#');
    main::publish_many($d->http, 'users/deaf', [('x' x 262144) x 60]);
    main::eventually('a blocked device', sub {
        main::device_of($s, 'deaf', 'deaf')->{in_flight} > 0;
    });

    $s->reload;
    $t->say($tls->show($tls->expect('DISCONNECT', timeout => 20)));
    $_->expect_close(20) for $silent, $half;
    $tls->close;
    $s->old_gone(20);
    $t->say('gone');
    $deaf->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
DISCONNECT code=139
gone



=== TEST 6: a broken file is refused, and service goes on
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my $c = $s->dialogue->client(client => 'd', user => 'shop/u', timeout => 20);

    $c->subscribe('shop/#');
    main::refused($t, $s, 'unknown directive "no_such"',
                  product => 'no_such on;');
    $t->say(main::receive($c, 1));
    main::refused($t, $s, '"push" has no "zone"|is duplicate',
                  push => 'zone 8m;');
    $t->say(main::receive($c, 1));
    $c->close;
    $s->reload->old_gone(20);
    $t->say('push ' . $s->dialogue->push('users/u', 'after')->{status});
    $s->stop;
    return $t->text;
}
--- mqtt_out
unknown directive "no_such"
push 201
same workers
still here
is duplicate
push 201
same workers
still here
push 201



=== TEST 7: zone size, file and mailbox cannot change, and the message says so
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my $c = $s->dialogue->client(client => 'd', user => 'shop/u', timeout => 20);

    $c->subscribe('shop/#');
    main::refused($t, $s, "zone's size cannot change from 16777216 to "
                          . '33554432 bytes by a reload', zone => '32m');
    main::refused($t, $s, '"mailbox" cannot change from 1024 to 2048 by a '
                          . 'reload', push => 'mailbox 2048;');
    main::refused($t, $s, "zone's file cannot change",
                  zone => '16m file={{dir}}/zone');
    $t->say(main::receive($c, 3));
    $t->say(-e $s->dir . '/zone' ? 'a file was made' : 'no file');
    $c->close;
    $s->reload->old_gone(20);
    $t->say('push ' . $s->dialogue->push('users/u', 'after')->{status});
    $s->stop;
    return $t->text;
}
--- mqtt_out
zone's size cannot change from 16777216 to 33554432 bytes by a reload
push 201
same workers
"mailbox" cannot change from 1024 to 2048 by a reload
push 201
same workers
zone's file cannot change
push 201
same workers
still here
still here
still here
no file
push 201



=== TEST 8: a product's settings change: time to live, limits, keys
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2)->start;
    my $p = $s->dialogue;
    my $old = $Push::Test::API_KEY;

    $t->say('ttl ' . $p->push('users/u', 1)->{headers}{ttl});
    $t->say('large ' . $p->push('users/u', 'x' x 3000)->{status});
    $p->push('users/u', $_) for 3 .. 5;

    $s->reload(product => 'message_ttl 60 max=120; payload_limit 1k;
                           inbox_limit 3;');
    $p = $s->dialogue;
    $t->say('ttl ' . $p->push('users/u', 6)->{headers}{ttl},
            'ttl ' . $p->push('users/u', 7, TTL => 1000)->{headers}{ttl},
            'large ' . $p->push('users/u', 'x' x 3000)->{status});
    $t->say('queued ' . $p->http->get('/v1/shop/users/u')->{json}{queued});

    {
        local $Push::Test::API_KEY = 'another-key';
        $s->reload;
        $t->say('old key ' . $s->dialogue(key => $old)->push('users/u', 8)
                              ->{status});
        $t->say('new key ' . $s->dialogue(key => 'another-key')
                              ->push('users/u', 9)->{status});
    }

    my $c = $s->dialogue->client(client => 'd', user => 'shop/u', timeout => 20);
    $c->subscribe('shop/#');
    $t->say(main::receive($c, 3));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
ttl 604800
large 201
ttl 60
ttl 120
large 413
queued 3
old key 401
new key 201
6
7
9



=== TEST 9: a product is added, removed, and comes back with its messages
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'drain_time 0;')->start;
    my $more = 'drain_time 0; product more { api_key {{key}}; anonymous on; }';

    # the name that is first in order changes all positions
    my $first = 'product aaa { api_key {{key}}; anonymous on; }';

    my $get = sub {
        my ($s) = @_;
        return $s->dialogue(product => 'more')->push('users/u', 'm')->{status};
    };

    $t->say('not there ' . $get->($s));
    $s->reload(push => $more);
    $t->say('added ' . $get->($s));

    my $c = $s->dialogue->client(version => 5, client => 'd', timeout => 20,
                                 user => 'more/u',
                                 props => { session_expiry => 60 });
    $c->subscribe('more/#');
    $t->say(main::receive($c, 1));

    $s->reload(push => "drain_time 0; $first");
    $c->expect('DISCONNECT', timeout => 20);
    my $refused = eval { $c->reconnect(clean => 0) };
    $t->say('removed ' . $get->($s), $c->show($refused));

    $s->dialogue->push('users/u', 'for shop');
    $s->reload(push => "$more $first");
    $t->say('back ' . $get->($s));
    $t->say($c->show($c->reconnect(clean => 0)), main::receive($c, 1));
    $c->expect_nothing(0.1);
    $c->close;

    my $shop = $s->dialogue->client(client => 'd', user => 'shop/u',
                                    timeout => 20);
    $shop->subscribe('shop/#');
    $t->say(main::receive($shop, 1));
    $shop->expect_nothing(0.1);
    $shop->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
not there 401
added 201
m
removed 401
CONNACK code=134
back 201
CONNACK session=1
m
for shop



=== TEST 10: a graceful quit ends, though devices stay silent
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'drain_time 1s;',
                              wait => 20)->start;
    my @c = map {
        $s->dialogue->client(version => $_ % 2 ? 5 : 4, client => "d$_",
                             user => "shop/u$_", timeout => 20)
    } 1 .. 10;
    my $master = $s->master;
    my @all = ($master, $s->workers);
    my $begin = Time::HiRes::time();

    $s->signal('QUIT');
    main::eventually('the end', sub {
        !grep { Push::Server::alive($_) } @all;
    });
    $t->say(Time::HiRes::time() - $begin < 10 ? 'in time' : 'late');

    my %ends;
    for my $c (@c) {
        my $p = $c->poll(1);
        $ends{$c->show($p)}++;
    }
    $t->say(map { "$_ $ends{$_}" } sort keys %ends);
    return $t->text;
}
--- mqtt_out
in time
DISCONNECT code=139 5
close 5



=== TEST 11: ten reloads one upon the other, one device, nothing is lost
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'drain_time 300ms;')->start;
    my $c = $s->dialogue->client(version => 5, client => 'd', timeout => 20,
                                 user => 'shop/u',
                                 props => { session_expiry => 60 });
    my (@got, @ends);

    $c->subscribe('shop/#');

    for my $round (1 .. 10) {
        main::publish_many($s->dialogue->http, 'users/u',
                           [($round - 1) * 20 + 1 .. $round * 20]);
        $s->signal('HUP');
        main::follow($c, $round * 20, \@got, \@ends);
    }

    $t->say(main::counted(@got));
    my %seen = map { $_ => 1 } @ends;
    $t->say(grep { $seen{'session=0'} } 'a session was lost');
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
1..200



=== TEST 12: without a push block after a reload, and with it again
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 2, push => 'drain_time 0;')->start;
    my $c = $s->dialogue->client(version => 5, client => 'd', timeout => 20,
                                 user => 'shop/u',
                                 props => { session_expiry => 60 });

    $c->subscribe('shop/#');
    $s->reload(conf => 'http { access_log off;
                         client_body_temp_path {{dir}}/b;
                         proxy_temp_path {{dir}}/p;
                         fastcgi_temp_path {{dir}}/f;
                         uwsgi_temp_path {{dir}}/u;
                         scgi_temp_path {{dir}}/s;
                         server { listen {{http}}; return 204; } }');
    $t->say($c->show($c->expect('DISCONNECT', timeout => 20)));
    $t->say($s->dialogue->http->get('/')->{status});
    $s->old_gone(20);
    $s->reload(conf => undef);
    $t->say('push ' . $s->dialogue->push('users/u', 'x')->{status});
    $t->say($c->show($c->reconnect(clean => 0)));
    $t->say(main::receive($c, 1));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
DISCONNECT code=139
204
push 201
CONNACK session=1
x



=== TEST 13: a device that was about to connect to an old worker
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 1, push => 'drain_time 0;')->start;
    my @c = map { $s->dialogue->socket(version => $_, timeout => 20) } 5, 4;

    # the handshake is done when the server closes what is wrong
    my $probe = $s->dialogue->socket;
    $probe->send_raw("\x20\0");
    $probe->expect_close(20);

    $s->reload;
    my $ack = $c[0]->connect(client => 'd5', user => 'shop/u');
    $t->say($c[0]->show($ack));
    $t->say($c[1]->show($c[1]->connect(client => 'd4', user => 'shop/u')));
    $_->expect_close(20), $_->close for @c;
    $s->old_gone(20);
    $t->say('gone');
    $s->stop;
    return $t->text;
}
--- mqtt_out
CONNACK code=136
CONNACK code=3
gone



=== TEST 14: worker_shutdown_timeout ends a long drain_time
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 1, push => 'drain_time 1h;',
                              main => 'worker_shutdown_timeout 500ms;')->start;
    my @c = map {
        $s->dialogue->client(version => 5, client => "d$_", user => "shop/u$_",
                             timeout => 20, props => { session_expiry => 60 })
    } 1 .. 3;

    $s->reload->old_gone(20);
    $t->say($_->show($_->expect('DISCONNECT', timeout => 20)),
            $_->show($_->reconnect(clean => 0))) for @c;
    $_->close for @c;
    $s->stop;
    return $t->text;
}
--- mqtt_out
DISCONNECT code=139
CONNACK session=1
DISCONNECT code=139
CONNACK session=1
DISCONNECT code=139
CONNACK session=1
