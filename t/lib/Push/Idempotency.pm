package Push::Idempotency;

# What a push with an Idempotency-Key and its repetitions are answered,
# whatever the store: each sub runs on a Push::Dialogue and returns a text.

use strict;
use warnings;

use Push::Test ();

my @told = qw(Location TTL Idempotent-Replayed);

# A response on one line, whole; ids and times are told apart from others by
# the first response that had them.
sub line {
    my ($t, $r) = @_;
    my $text = join ' ', $r->{status}, map {
                   my $v = $r->{headers}{lc $_};
                   defined $v ? "$_=$v" : ()
               } @told;

    if ($r->{status} >= 400) {
        $text .= ' ' . $r->{json}{type} =~ s/^urn:ngx-push:problem://r;
        $text .= " $r->{json}{header}" if defined $r->{json}{header};
        $text .= " retry=$r->{headers}{'retry-after'}"
            if defined $r->{headers}{'retry-after'};

    } else {
        $text .= " $r->{body}";
    }

    my $seen = $t->{idempotency} //= [];

    for my $id ($text =~ /\b([0-9a-f]{6,}-\d+)\b(?!-)/g) {
        push @$seen, $id if !grep { $_ eq $id } @$seen;
    }

    $text =~ s/\Q$seen->[$_]\E\b/'ID' . ($_ + 1)/ge for 0 .. $#$seen;
    $text =~ s/"expires":"[^"]*"/"expires":TIME/;
    $text =~ s/\s+\z//;

    return $text;
}

sub send_keyed {
    my ($t, $target, $body, $key, @headers) = @_;

    return $t->push($target, $body, 'Idempotency-Key' => $key, @headers);
}

# The same answer, byte for byte, and nothing more for the devices.
sub repeated {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/ra', version => 5);

    $c->subscribe('shop/#', 'shop/group/rg');

    for my $target ('users/ra', 'groups/rg', 'broadcast') {
        my @r = map { send_keyed($t, $target, 'once', '"k1"') } 1 .. 3;

        $t->say(line($t, $_)) for @r;
        $t->say('another body') if grep { $_->{body} ne $r[0]{body} } @r;

        my $p = $c->expect('PUBLISH');
        $t->say("$p->{topic} $p->{payload}");
        $c->puback($p->{id});
    }

    $t->push('users/ra', 'end');
    $t->say($c->expect('PUBLISH')->{payload});

    return $t->text;
}

our $REPEATED = <<'END';
201 Location=/v1/shop/users/ra/messages/ID1 TTL=604800 {"id":"ID1","state":"saved","expires":TIME}
201 Location=/v1/shop/users/ra/messages/ID1 TTL=604800 Idempotent-Replayed=true {"id":"ID1","state":"saved","expires":TIME}
201 Location=/v1/shop/users/ra/messages/ID1 TTL=604800 Idempotent-Replayed=true {"id":"ID1","state":"saved","expires":TIME}
shop/inbox once
201 Location=/v1/shop/groups/rg/messages/ID2 TTL=604800 {"id":"ID2","state":"saved","expires":TIME}
201 Location=/v1/shop/groups/rg/messages/ID2 TTL=604800 Idempotent-Replayed=true {"id":"ID2","state":"saved","expires":TIME}
201 Location=/v1/shop/groups/rg/messages/ID2 TTL=604800 Idempotent-Replayed=true {"id":"ID2","state":"saved","expires":TIME}
shop/group/rg once
202 Location=/v1/shop/broadcasts/ID3 TTL=604800 {"id":"ID3","state":"saved","expires":TIME}
202 Location=/v1/shop/broadcasts/ID3 TTL=604800 Idempotent-Replayed=true {"id":"ID3","state":"saved","expires":TIME}
202 Location=/v1/shop/broadcasts/ID3 TTL=604800 Idempotent-Replayed=true {"id":"ID3","state":"saved","expires":TIME}
shop/broadcast once
end
END

# Another push with the key: refused, and the first is not harmed.
sub other_push {
    my ($t) = @_;
    my $send = sub {
        my ($body, @h) = @_;
        my $r = send_keyed($t, 'users/op', $body, 'k1', @h);
        $t->say(line($t, $r));
    };

    $send->('body', TTL => 60, 'Content-Type' => 'text/plain');
    $send->('body', TTL => 60, 'Content-Type' => 'text/plain', QoS => 0);
    $send->('body', TTL => 61, 'Content-Type' => 'text/plain');
    $send->('body', 'Content-Type' => 'text/plain');
    $send->('body', TTL => 0, 'Content-Type' => 'text/plain');
    $send->('body', TTL => 60, 'Content-Type' => 'text/plainx');
    $send->('body', TTL => 60);
    $send->('bodx', TTL => 60, 'Content-Type' => 'text/plain');
    $send->('', TTL => 60, 'Content-Type' => 'text/plain');
    $send->('body', TTL => 60, 'Content-Type' => 'text/plain', QoS => 1,
            Urgency => 'high');
    $t->say($t->http->get('/v1/shop/users/op')->{json}{queued});

    return $t->text;
}

our $OTHER_PUSH = <<'END';
201 Location=/v1/shop/users/op/messages/ID1 TTL=60 {"id":"ID1","state":"saved","expires":TIME}
422 key-reused Idempotency-Key
422 key-reused Idempotency-Key
422 key-reused Idempotency-Key
422 key-reused Idempotency-Key
422 key-reused Idempotency-Key
422 key-reused Idempotency-Key
422 key-reused Idempotency-Key
422 key-reused Idempotency-Key
201 Location=/v1/shop/users/op/messages/ID1 TTL=60 Idempotent-Replayed=true {"id":"ID1","state":"saved","expires":TIME}
1
END

# A key is its target's; quotes are not part of it, case and length are.
sub other_key {
    my ($t) = @_;
    my $long = 'x' x 254;

    for my $case (
        ['users/ok', 'k1'], ['users/ok2', 'k1'], ['groups/ok', 'k1'],
        ['broadcast', 'ok1'], ['users/ok', 'K1'], ['users/ok', 'k11'],
        ['users/ok', "${long}a"], ['users/ok', "${long}b"],
        ['users/ok', "\"${long}b\""], ['users/ok', '"k1"'],
        ['users/ok', '"a b"'], ['users/ok', '"a\\"b"'],
        ['users/ok', '"a\\\\b"'], ['users/ok', '"a b"'],
        ['users/' . 'u' x 255, 'k1'], ['users/' . 'u' x 254, 'k1'],
        ['users/' . 'u' x 255, 'k1'],
    ) {
        my $r = send_keyed($t, $case->[0], 'x', $case->[1]);
        $t->say($r->{status} . ($r->{headers}{'idempotent-replayed'}
                                ? ' replayed' : ''));
    }

    return $t->text;
}

our $OTHER_KEY = <<'END';
201
201
201
202
201
201
201
201
201 replayed
201 replayed
201
201
201
201 replayed
201
201
201 replayed
END

# What was refused may come again with its key.
sub refused {
    my ($t) = @_;

    for my $case (['x', TTL => 'x'], ['x' x 300_000], ['x', Topic => 't'],
                  ['x', Authorization => 'Bearer nope'], ['x'], ['x'])
    {
        my ($body, @h) = @$case;
        my $r = send_keyed($t, 'users/rf', $body, 'k1', @h);

        $t->say($r->{status} . ($r->{headers}{'idempotent-replayed'}
                                ? ' replayed' : ''));
    }

    return $t->text;
}

our $REFUSED = <<'END';
400
413
501
401
201
201 replayed
END

# TTL 0: the first's result, and nothing is sent again.
sub once {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/on', version => 5);

    $c->subscribe('shop/#', 'shop/group/ong');

    for my $target ('users/on', 'groups/ong', 'broadcast') {
        $t->say(line($t, send_keyed($t, $target, 'now', 'o1', TTL => 0)))
            for 1, 2;
        $t->say($c->expect('PUBLISH')->{payload});
    }

    # nobody there when it came first
    $t->say(line($t, send_keyed($t, 'users/on2', 'now', 'o1', TTL => 0)));

    my $d = $t->client(client => 'd1', user => 'shop/on2', version => 5);
    $d->subscribe('shop/#');
    $t->say(line($t, send_keyed($t, 'users/on2', 'now', 'o1', TTL => 0)));

    for my $client ([$c, 'on'], [$d, 'on2']) {
        $t->push("users/$client->[1]", 'end');
        $t->say($client->[0]->expect('PUBLISH')->{payload});
    }

    return $t->text;
}

our $ONCE = <<'END';
200 TTL=0 {"state":"once","reached":1}
200 TTL=0 Idempotent-Replayed=true {"state":"once","reached":1}
now
200 TTL=0 {"state":"once","reached":1}
200 TTL=0 Idempotent-Replayed=true {"state":"once","reached":1}
now
200 TTL=0 {"state":"once","reached":1}
200 TTL=0 Idempotent-Replayed=true {"state":"once","reached":1}
now
200 TTL=0 {"state":"once","reached":0}
200 TTL=0 Idempotent-Replayed=true {"state":"once","reached":0}
end
end
END

# Needs "idempotency_keep 2s; idempotency_limit 3;".
sub ends {
    my ($t) = @_;
    my $send = sub {
        my $r = send_keyed($t, 'users/en', 'x', $_[0]);
        $t->say(line($t, $r) =~ s/ \{.*//r =~ s/Location=\S+ TTL=\d+ ?//r);
    };

    $send->("k$_") for 1 .. 4;
    $send->('k2');
    $t->say($t->push('users/en', 'x')->{status});
    sleep 4;
    $send->('k4');
    $send->('k2');
    $t->say($t->http->get('/v1/shop/users/en')->{json}{queued});

    return $t->text;
}

our $ENDS = <<'END';
201 
201 
201 
429 too-many-keys Idempotency-Key retry=10
201 Idempotent-Replayed=true
201
201 
201 
6
END

# The same push on many connections at the same time, to all workers.
sub together {
    my ($t) = @_;
    my %ids;

    for my $round (1 .. 20) {
        my (@h, $replayed);

        push @h, Push::HTTP->new(port => Push::Test::http_port(),
                                 key => Push::Test::api_key())->open
            for 1 .. 8;

        $_->send_raw($_->format('POST', '/v1/shop/users/to/messages', 'x',
                                'Idempotency-Key' => "t$round")) for @h;

        for my $h (@h) {
            my $r = $h->response('POST');

            # under way at another node, or here: to be asked again
            while ($r->{status} == 409) {
                $r = $h->post('/v1/shop/users/to/messages', 'x',
                              'Idempotency-Key' => "t$round");
            }

            $ids{"$round $r->{json}{id}"}++;
            $replayed += $r->{headers}{'idempotent-replayed'} ? 1 : 0;
        }

        $t->say("round $round: $replayed of 8 replayed") if $replayed != 7;
    }

    $t->say(scalar(keys %ids) . ' messages, '
            . $t->http->get('/v1/shop/users/to')->{json}{queued} . ' queued');

    return $t->text;
}

our $TOGETHER = <<'END';
20 messages, 20 queued
END

1;
