# One message for recipients of many kinds at once: each gets the octets that
# are right for it, whoever had the message before it.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Server;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 6;

own_servers();

sub server {
    return Push::Server->new(
        http => 'keepalive_requests 1000000; location /v1/ { push_center; }
                 location = /metrics { push_metrics; }', @_)->start;
}

# name, version, granted QoS, id of the bind, id of the own filter, largest
# packet (126: a broadcast of 100 octets fits without its property "id")
our @kinds = (
    ['v4q1',   4, 1],            ['v4q0',   4, 0],
    ['v5q1',   5, 1],            ['v5q0',   5, 0],
    ['v5id7',  5, 1, 7],         ['v5id8',  5, 1, 8],
    ['v5two',  5, 1, 7, 268435455],
    ['v5q0id', 5, 0, 7],         ['v5max',  5, 1, undef, undef, 126],
    ['v5id9',  5, 1, 9],         ['v5idx',  5, 1, 300],
    ['v4b',    4, 1],
);

# Bound to shop/#, subscribed to shop/broadcast and shop/group/g.
sub recipient {
    my ($s, $name, $version, $qos, $bind, $own, $max) = @_;
    my $c = $s->dialogue->client(version => $version, timeout => 20,
        user => "shop/$name", client => 'd', clean => $version == 5,
        $version == 4 ? () : (props => {
            session_expiry => 3600,
            $max ? (maximum_packet_size => $max) : () }));

    $c->subscribe(['shop/#', $qos],
                  { $bind ? (subscription_id => $bind) : () });
    $c->subscribe(['shop/broadcast', $qos], { subscription_id => $own })
        if $own;
    $c->subscribe(['shop/group/g', $qos],
                  { $bind ? (subscription_id => $bind + 1) : () });
    return $c;
}

# What is wrong with a packet that a recipient of this kind got; '' is nothing.
sub wrong {
    my ($p, $m, $name, $version, $qos, $bind, $own, $max) = @_;
    my $group = $m->{target} ne 'broadcast';
    my %user = map { @$_ } @{$p->{props}{user} // []};
    my $once = !$m->{TTL};
    my @bad;

    my $id = $group ? ($bind ? $bind + 1 : 'none')
                    : CORE::join(',', grep { defined } $bind, $own) || 'none';

    push @bad, 'topic' if $p->{topic} ne ($group ? 'shop/group/g'
                                                 : 'shop/broadcast');
    push @bad, 'payload' if $p->{payload} ne $m->{payload};
    push @bad, 'qos' if $p->{qos} != ($qos && !$once && ($m->{QoS} // 1));
    push @bad, 'dup' if $p->{dup};
    push @bad, 'packet id' if $p->{qos} && !$p->{id};
    return "@bad" if $version == 4;

    push @bad, 'ids' if ($p->{props}{subscription_id} // 'none') ne $id;
    push @bad, 'content type' if ($p->{props}{content_type} // '')
                                 ne ($m->{'Content-Type'} // '');
    if ($once) {
        push @bad, 'expiry' if defined $p->{props}{message_expiry};
        push @bad, 'id' if defined $user{id};
    } else {
        my $left = $p->{props}{message_expiry} // 0;
        push @bad, "expiry $left" if $left > $m->{TTL} || $left < $m->{TTL} - 20;
        push @bad, 'id' if ($user{id} // '')
                           ne ($max && length $p->{payload} ? '' : $m->{id});
    }
    return "@bad";
}

no_long_string();
no_shuffle();
run_tests();

__DATA__

=== TEST 1: versions, QoS, identifiers, sizes, in one broadcast and one group
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'payload_limit 256k;');
    my $d = $s->dialogue;
    my @clients = map { main::recipient($s, @$_) } @main::kinds;
    my @sent;

    for my $target ('broadcast', 'groups/g') {
        for my $m ({ payload => 'a' x 100 },
                   { payload => 'b' x 100, 'Content-Type' => 'text/x' },
                   { payload => 'c' x 100, QoS => 0 },
                   { payload => 'd' x 3000, 'Content-Type' => 'text/y' },
                   { payload => 'e' x 4090 },
                   { payload => CORE::join('', 1 .. 20_000) },
                   { payload => 'f', TTL => 0 },
                   { payload => '' })
        {
            my %m = (TTL => 600, %$m, target => $target);
            my %headers = %m;

            delete @headers{qw(payload target)};
            my $answer = $d->push($target, $m{payload}, %headers);
            die "push: $answer->{status}\n" if $answer->{status} !~ /^20/;
            $m{id} = $answer->{json}{id};
            push @sent, \%m;
        }
    }

    for my $i (0 .. $#clients) {
        my @kind = @{$main::kinds[$i]};
        my @mine = grep { !$kind[5] || length $_->{payload} <= 100
                                       && !$_->{'Content-Type'} } @sent;
        my @got = main::receive($clients[$i], scalar @mine, packets => 1);
        my (%pids, @bad);

        # order is kept within a log only
        for my $topic ('shop/broadcast', 'shop/group/g') {
            my @p = grep { $_->{topic} eq $topic } @got;
            my @m = grep { ($_->{target} eq 'broadcast')
                           == ($topic eq 'shop/broadcast') } @mine;

            push @bad, "$topic: " . @p if @p != @m;
            for my $n (0 .. $#p) {
                my $bad = main::wrong($p[$n], $m[$n], @kind);
                push @bad, "$topic $n: $bad" if $bad;
            }
        }
        push @bad, 'one packet id twice'
            if grep { $_->{qos} && $pids{$_->{id}}++ } @got;
        $clients[$i]->expect_nothing(0.02);
        $t->say("$kind[0] " . (@bad ? "@bad" : 'good'));
    }
    $_->close for @clients;
    $s->stop;
    return $t->text;
}
--- mqtt_out
v4q1 good
v4q0 good
v5q1 good
v5q0 good
v5id7 good
v5id8 good
v5two good
v5q0id good
v5max good
v5id9 good
v5idx good
v4b good



=== TEST 2: a record used again is another message
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my $c = main::recipient($s, 'u', 5, 1, 7);
    my $old = main::recipient($s, 'v', 4, 1);

    # TTL 0: ended as soon as it is sent; an inbox: as soon as acknowledged
    main::publish_many($s->dialogue->http, 'broadcast', [1 .. 300], TTL => 0);
    $t->say(map { main::counted(main::receive($_, 300)) } $c, $old);
    # the sweep of each second frees the record, the next message takes it
    for my $n ('one', 'two', 'three') {
        $s->dialogue->push('broadcast', $n, TTL => 0);
        $t->say(map { main::receive($_, 1) } $c, $old);
        select undef, undef, undef, 2.5;
    }
    for my $n (1 .. 5) {
        main::publish_many($s->dialogue->http, 'users/u',
                           [map { "$n." . $_ } 1 .. 90]);
        my @got = main::receive($c, 90);
        $t->say($got[0], $got[89], "@got" eq "@{[map { qq($n.) . $_ } 1 .. 90]}"
                                   ? 'all' : "@got");
    }
    $_->close for $c, $old;
    $s->stop;
    return $t->text;
}
--- mqtt_out eval
"1..300\n1..300\none\none\ntwo\ntwo\nthree\nthree\n" . CORE::join '', map { ("$_.1\n$_.90\nall\n") } 1 .. 5



=== TEST 3: No Local, long properties, and the same again with DUP
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'group_publish on;');
    my ($a, $b, $v4) = map { main::recipient($s, @$_) }
                       ['a', 5, 1], ['b', 5, 1, 7], ['c', 4, 1];
    my $long = 'w' x 5000;

    $a->subscribe(['shop/group/g', 1 | 4]);
    $a->publish('shop/group/g', 'from a', qos => 1,
                props => { content_type => 'text/x',
                           user => [['k', $long]] });
    for my $round (0, 1) {
        my ($p) = main::receive($b, 1, packets => 1, ack => $round);
        my %user = map { @$_ } @{$p->{props}{user}};

        $t->say("$p->{payload} $p->{props}{content_type}"
                . " $p->{props}{subscription_id} dup=$p->{dup} "
                . ($user{k} eq $long ? 'whole' : 'cut'));
        ($p) = main::receive($v4, 1, packets => 1, ack => $round);
        $t->say("$p->{payload} dup=$p->{dup}");
        last if $round;

        $_->reset, $_->reconnect(clean => 0) for $b, $v4;
    }
    $_->expect_nothing(0.05), $_->close for $a, $b, $v4;
    $s->stop;
    return $t->text;
}
--- mqtt_out
from a text/x 8 dup=0 whole
from a dup=0
from a text/x 8 dup=1 whole
from a dup=1
