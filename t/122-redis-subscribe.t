# A SUBSCRIBE that Redis was not told of is not granted, and has changed
# nothing: neither what the device gets nor what it has elsewhere.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Redis;
use Test::More;
use Time::HiRes qw(sleep time);

my $r = Push::Redis->new->start;
my $c = Push::Cluster->new(
    redis => $r, nodes => 2, workers => 1,
    push => 'redis_timeout 400ms; cursor_flush 100ms;',
    product => 'group_publish on;',
)->start;

# A device at a node: (client, its CONNACK).
sub device {
    my ($node, $name, %opt) = @_;
    my ($user, $device) = split m{/}, $name;
    my $client = $c->dialogue($node)->socket(
        version => $opt{version} // 5, auto => 1);

    delete $opt{version};

    my $ack = $client->connect(client => $device, user => "shop/$user",
                               clean => 0, %opt,
                               props => { session_expiry => 3600 });

    return ($client, $ack);
}

# Subscribes while Redis does not answer; the codes of the SUBACK.
sub stopped {
    my ($d, @filters) = @_;

    $r->stop;
    my @codes = eval { @{$d->subscribe(@filters)->{codes}} };
    my $error = $@;
    $r->cont;
    die $error if $error;
    return "@codes";
}

# Until pushes are taken again.
sub up {
    for my $node (1, 2) {
        $c->node($node)->until('Redis', sub {
            $c->dialogue($node)->push('users/nobody', 'x', TTL => 0)->{status}
                == 200;
        });
    }
}

sub push_to {
    my ($target, $payload) = @_;
    my $status = $c->dialogue(2)->push($target, $payload)->{status};

    $status =~ /^20/ or die "$target: $status\n";
}

# What comes until all is quiet, sorted, for of several logs no order is
# promised: payload, QoS and subscription identifier.
sub comes {
    my ($d) = @_;

    return join ' ', sort map {
        my $id = $_->{props}{subscription_id};
        "$_->{payload}/$_->{qos}"
            . (defined $id ? '#' . (ref $id ? "@$id" : $id) : '')
    } grep { $_->{type} eq 'PUBLISH' } $d->drain(0.6);
}

# What an entry in the register says of it: bound to its inbox?
sub entry { $r->command('HGET', "np:{shop:$_[0]}d", $_[1]) // '' }


# --- new ones

{
    my ($d) = device(1, 'ann/d');
    my ($other) = device(1, 'ann/other');

    $other->subscribe('shop/#', 'shop/group/g');

    is(stopped($d, 'shop/#', 'shop/group/g'), '128 128',
       'Redis does not answer: not granted');
    up();
    push_to('users/ann', 'u1');
    push_to('groups/g', 'g1');
    push_to('broadcast', 'b1');
    is(comes($other), 'b1/1 g1/1 u1/1', '... who had subscribed gets all');
    is(comes($d), '', '... it gets nothing');

    $r->kill9;
    is("@{$d->subscribe('shop/#', 'shop/group/g')->{codes}}", '128 128',
       'no Redis: not granted');
    $r->start;
    up();
    sleep 0.5;
    push_to('users/ann', 'u2');
    push_to('groups/g', 'g2');
    is(comes($d), '', '... it gets nothing when Redis is back');
    is(comes($other), 'g2/1 u2/1', '... the other one does');

    # nor elsewhere
    $d->close;
    my ($moved, $ack) = device(2, 'ann/d');

    is($ack->{session}, 1, 'its session is resumed elsewhere');
    push_to('users/ann', 'u3');
    push_to('groups/g', 'g3');
    is(comes($moved), '', '... without them');

    is("@{$moved->subscribe('shop/#', 'shop/group/g')->{codes}}", '1 1',
       'asked for again they are granted');
    comes($moved);
    push_to('users/ann', 'u4');
    push_to('groups/g', 'g4');
    is(comes($moved), 'g4/1 u4/1', '... and it gets its messages');
}


# --- in MQTT 3.1.1

{
    my ($d) = device(1, 'bob/d', version => 4);

    is(stopped($d, 'shop/inbox'), 128, 'MQTT 3.1.1: a failure as well');
    up();
    push_to('users/bob', 'u1');
    is(comes($d), '', '... it gets nothing');
    $d->subscribe('shop/inbox');
    is(comes($d), 'u1/1', '... before it has subscribed');
}


# --- one that was to replace another

{
    my ($d) = device(1, 'cid/d');

    $d->subscribe(['shop/inbox', 1], { subscription_id => 5 });
    $d->subscribe(['shop/group/g', 0], { subscription_id => 6 });
    is(stopped($d, ['shop/inbox', 0], ['shop/group/g', 1],
               { subscription_id => 7 }), '128 128',
       'others to replace them are not granted');
    up();
    push_to('users/cid', 'u1');
    push_to('groups/g', 'g1');
    is(comes($d), 'g1/0#6 u1/1#5', '... those before them stay');

    is(stopped($d, ['shop/#', 0], { subscription_id => 8 }), 128,
       'a bind beside one by its own filter is not granted');
    up();
    push_to('users/cid', 'u2');
    push_to('broadcast', 'b2');
    is(comes($d), 'u2/1#5', '... that one stays, and nothing else');

    $d->close;
    my ($moved) = device(2, 'cid/d');

    push_to('users/cid', 'u3');
    push_to('groups/g', 'g3');
    push_to('broadcast', 'b3');
    is(comes($moved), 'g3/0#6 u3/1#5', '... at another node too');
}


# --- dormant ones stay dormant

{
    my ($d) = device(1, 'dan/d');

    $d->subscribe('shop/#');
    push_to('users/dan', 'u1');
    is(comes($d), 'u1/1', 'one who had bound it');
    $d->unsubscribe('shop/#');
    push_to('users/dan', 'u2');
    is(stopped($d, 'shop/#'), 128, '... is not granted it again');
    up();
    is(comes($d), '', '... gets nothing');
    $d->subscribe('shop/#');
    is(comes($d), 'u2/1', '... and goes on where it was');
}

{
    my ($d) = device(1, 'gus/d');
    my ($other) = device(1, 'hal/d');    # so the node is told of them

    $other->subscribe('shop/group/d');
    $d->subscribe('shop/group/d');
    push_to('groups/d', 'd1');
    is(comes($d), 'd1/1', 'one who was in a group');
    ($d) = device(1, 'gus/d', clean => 1);
    push_to('groups/d', 'd2');
    is(stopped($d, 'shop/group/d'), 128, '... is not let in again');
    up();
    push_to('groups/d', 'd3');
    is(comes($d), '', '... gets nothing');
    $d->subscribe('shop/group/d');
    is(comes($d), 'd2/1 d3/1', '... and goes on where it was');
}


# --- several under way

{
    my ($d) = device(1, 'eve/d');
    my $ask = sub {
        my ($id, @filters) = @_;
        $d->send('SUBSCRIBE', id => $id, filters => [map { [$_, 1] } @filters],
                 props => { subscription_id => $id });
    };
    my $codes = sub {
        my %of = map { $_->{id} => "@{$_->{codes}}" }
                 map { $d->poll(5) // die "no answer\n" } 1 .. $_[0];
        return join ', ', map { "$_: $of{$_}" } sort { $a <=> $b } keys %of;
    };

    $r->stop;
    $ask->(1, 'shop/#');
    $ask->(2, 'shop/#');
    is($codes->(2), '1: 128, 2: 128', 'the same twice: neither is granted');
    $r->cont;
    up();
    push_to('users/eve', 'u1');
    push_to('broadcast', 'b1');
    is(comes($d), '', '... it gets nothing');

    $r->stop;
    $ask->(3, 'shop/#');
    $d->send('UNSUBSCRIBE', id => 4, filters => ['shop/#']);
    is($codes->(2), '3: 128, 4: 0', 'one and its end');
    $r->cont;
    up();
    is(comes($d), '', '... it gets nothing');

    $d->subscribe(['shop/#', 1], { subscription_id => 9 });
    is(comes($d), 'u1/1#9', 'one that is granted');

    $r->stop;
    $ask->(10, 'shop/#');
    sleep 0.2;
    $ask->(11, 'shop/#');
    is($codes->(2), '10: 128, 11: 128', '... then two more in vain');
    $r->cont;
    up();
    push_to('users/eve', 'u2');
    is(comes($d), 'u2/1#9', '... it is the one');

    $r->stop;
    $ask->(12, 'shop/#');
    $d->send('UNSUBSCRIBE', id => 13, filters => ['shop/#']);
    is($codes->(2), '12: 128, 13: 0', '... another, and the end of it');
    $r->cont;
    up();
    push_to('users/eve', 'u3');
    is(comes($d), '', '... what has ended does not come back');

    # the first times out, the second is answered
    $d->subscribe(['shop/#', 1], { subscription_id => 14 });
    comes($d);
    $r->stop;
    $ask->(15, 'shop/#');
    sleep 0.3;
    $ask->(16, 'shop/#');
    is($codes->(1), '15: 128', 'the first of two in vain');
    $r->cont;
    like($codes->(1), qr/^16: (?:1|128)$/, '... and the second');
    up();
    push_to('users/eve', 'u4');
    like(comes($d), qr{^u4/1#1[46]$}, '... one of them is there');
}


# --- an entry that Redis does not take

{
    my ($d) = device(1, 'fay/d');

    $d->subscribe('shop/group/h');
    $r->command('DEL', 'np:{shop:fay}d');
    $r->command('SET', 'np:{shop:fay}d', 'x');
    is("@{$d->subscribe('shop/#')->{codes}}", 128,
       'a register that is broken: not granted');
    is($d->ping->{type}, 'PINGRESP', '... the device stays');
    $r->command('DEL', 'np:{shop:fay}d');
    push_to('groups/h', 'h1');
    is(comes($d), 'h1/1', '... with what it had');
    is("@{$d->subscribe('shop/#')->{codes}}", 1, '... and may ask again');
    push_to('users/fay', 'u1');
    is(comes($d), 'u1/1', '... for what it gets then');
}

$c->stop;
$r->quit;
done_testing();
