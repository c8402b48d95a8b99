# consume_once over several nodes: what one device of a user has acknowledged
# is gone for the others, whatever node they are at or come to.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Redis;
use Test::More;
use Time::HiRes qw(sleep);

my $r = Push::Redis->new->start;
my $c = Push::Cluster->new(
    redis => $r, nodes => 3, workers => 2,
    push => 'linger 30s;', product => 'consume_once on;',
)->start;

# A device at a node: its session is kept, nothing is acknowledged unasked.
sub device {
    my ($node, $name, %opt) = @_;
    my ($user, $device) = split m{/}, $name;

    return $c->dialogue($node)->client(
        client => $device, user => "shop/$user", version => 5, clean => 0,
        %opt, props => { session_expiry => 3600, %{$opt{props} || {}} });
}

sub bound {
    my ($node, $name, %opt) = @_;
    my $d = device($node, $name, %opt);

    $d->subscribe('shop/#');
    return $d;
}

sub send_to {
    my ($node, $user, @payloads) = @_;

    for my $payload (@payloads) {
        my $status = $c->dialogue($node)->push("users/$user", $payload)
                       ->{status};
        $status == 201 or die "$user: $status\n";
    }
}

# Packets of so many messages.
sub take {
    my ($d, $n) = @_;
    return map { $d->expect('PUBLISH') } 1 .. $n;
}

sub payloads { return join ' ', map { $_->{payload} } @_ }

# What comes until all is quiet, not acknowledged.
sub comes {
    my ($d) = @_;
    return payloads(grep { $_->{type} eq 'PUBLISH' } $d->drain(0.4));
}

# Until Redis knows that all up to a number was acknowledged.
sub known {
    my ($user, $number) = @_;

    $r->until("$user to have acknowledged $number", sub {
        ($r->command('HGET', "np:{shop:$user}q", 'a') // 0) >= $number;
    });
}


# --- both are there and have been sent it

{
    my $a  = bound(1, 'ann/a');
    my %at = map { ("b$_" => bound(2, "ann/b$_")) } 1 .. 3;

    send_to(3, 'ann', 'm1', 'm2', 'm3');

    my @p = take($a, 3);

    is(payloads(take($at{$_}, 3)), 'm1 m2 m3', "$_ has been sent all of it")
        for sort keys %at;
    $a->puback($_->{id}) for @p[0, 1];
    known('ann', 2);
    is(join(' ', grep { /^\d+$/ } @{$r->command('HKEYS', 'np:{shop:ann}q')}),
       3, 'what a device has acknowledged goes, though three have not');

    $_->reset for values %at;

    # in this order: who comes to n1 or n3 finds nothing of theirs there
    for my $n (1 .. 3) {
        my $b = device($n, "ann/b$n");

        is(comes($b), 'm3', "who comes back to n$n gets what nobody has"
           . ' acknowledged, and nothing else');
        $at{"b$n"} = $b;
    }

    $a->puback($p[2]{id});
    known('ann', 3);
    $_->reset for values %at;

    for my $n (1 .. 3) {
        my $b = $at{"b$n"} = device($n, "ann/b$n");

        is(comes($b), '', "... at n$n nothing, when all was");
    }

    send_to(2, 'ann', 'm4');
    is(payloads(take($_, 1)), 'm4', 'what comes next does')
        for $a, map { $at{"b$_"} } 1 .. 3;
}


# --- who was away

{
    my $a    = bound(1, 'bob/a');
    my $here = bound(2, 'bob/here');
    my %away = map { ($_ => bound(2, "bob/away$_")) } 1 .. 3;

    $away{1}->reset;
    $away{$_}->disconnect for 2, 3;
    send_to(2, 'bob', 'm1', 'm2');

    my @p = take($a, 2);

    take($here, 2);
    $a->puback($p[0]{id});
    known('bob', 1);

    # n2 has a copy of both, for "here" was sent them
    for my $n (1 .. 3) {
        is(comes(device($n, "bob/away$n")), 'm2',
           "who was away and comes to n$n gets the rest");
    }

    is(comes(bound(2, 'bob/new')), 'm2',
       'and so does one that nobody has seen before');
    is(comes(bound(3, 'bob/new3')), 'm2', '... at another node');

    my $clean = device(2, 'bob/here', clean => 1);

    $clean->subscribe('shop/#');
    is(comes($clean), 'm2', '... and who starts anew');
}


# --- one moves while the other acknowledges

{
    my $a = bound(1, 'cid/a');
    my $b = bound(2, 'cid/b');

    send_to(3, 'cid', map { "m$_" } 1 .. 20);

    my @p = take($a, 20);

    take($b, 20);
    $a->puback($_->{id}) for @p[0 .. 9];
    known('cid', 10);

    my $moved = device(3, 'cid/b');

    is(comes($moved), join(' ', map { "m$_" } 11 .. 20),
       'taken over by a third node: what is left');

    # and back, acknowledged there by the other one
    my @q = do { $moved->close; $b = device(2, 'cid/b'); take($b, 10) };

    is(payloads(@q), join(' ', map { "m$_" } 11 .. 20), '... and at the first');
    $b->puback($_->{id}) for @q;
    known('cid', 20);
    $a->reset;
    is(comes(device(1, 'cid/a')), '',
       '... whose acknowledgements count for the other');
}


# --- one with a small window, connected all the time

{
    my $a = bound(1, 'eve/a');
    my $b = bound(2, 'eve/b', props => { receive_maximum => 1 });

    send_to(3, 'eve', map { "m$_" } 1 .. 20);

    my @p = take($a, 20);
    my ($q) = take($b, 1);

    $a->puback($_->{id}) for @p;
    known('eve', 20);

    # its node hears of it when it writes that
    $b->puback($q->{id});
    my ($next) = take($b, 1);
    sleep 1;
    $b->puback($next->{id});
    is(comes($b), '', 'one that was behind: after an acknowledgement or two of'
       . ' its own nothing of what the other has acknowledged');
    send_to(3, 'eve', 'new');
    is(payloads(take($b, 1)), 'new', '... but what comes next');
}


# --- acknowledged by a device that leaves at once, and one whose node dies

allow_alert('exited on signal 9');

{
    my $a = bound(1, 'dan/a');
    my $b = bound(2, 'dan/b');

    send_to(3, 'dan', 'm1', 'm2');

    my @p = take($a, 2);

    take($b, 2);
    $a->puback($p[0]{id});
    $a->disconnect;
    known('dan', 1);
    $c->kill9(2);
    $c->wait_nodes(2, 20);
    is(comes(device(3, 'dan/b')), 'm2',
       'of a node that has died: what nobody has acknowledged');
    $c->node(2)->start;
    $c->wait_nodes(3, 15);
    is(comes(device(2, 'dan/b')), 'm2', '... when it is back, there too');
}

$c->stop;
$r->quit;
done_testing();
