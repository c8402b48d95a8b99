# broadcast_rate: deliveries of broadcasts are spread over time, of all nodes
# together, and hold up nothing else.  Counted, with room to be late.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Cluster;
use Push::Redis;
use Push::Server;
use Test::More;
use Time::HiRes qw(sleep time);

my $N = 60;

sub devices {
    my ($server, $first, $n) = @_;

    return map {
        my $d = $server->dialogue->client(client => "d$_", user => "shop/u$_",
                                          version => 5, auto => 1);
        $d->subscribe('shop/#');
        $d;
    } $first .. $first + $n - 1;
}

# How many have it after some seconds, and after which time all have.
sub spread {
    my ($devices, $early, $late) = @_;
    my $start = time;
    my ($n, $then) = (0);
    my @left = @$devices;

    while (@left && time - $start < $late) {
        $then //= $n if time - $start >= $early;
        @left = grep { my $p = $_->poll(0.002);
                       !($p && $p->{type} eq 'PUBLISH' && ++$n) } @left;
    }

    return ($then // $n, $n, time - $start);
}

# --- one node

my $s = Push::Server->new(workers => 2, push => 'broadcast_rate 20;')->start;
my @d = devices($s, 1, $N);

is($s->dialogue->push('broadcast', 'slow')->{status}, 202, 'accepted');

my $t = time;
is($s->dialogue->push('users/u1', 'fast')->{status}, 201, 'a push meanwhile');
my $first = $d[0]->poll(1);
ok($first && time - $t < 1, '... is not held up');

my ($then, $all, $took) = spread(\@d, 1, 8);

ok($then < $N / 2 + 5, "after a second $then of $N");
cmp_ok($all, '>=', $N - 1, 'at last all');
ok($took > 1.5, "... not before their time: $took s");
$_->close for @d;
$s->stop;

# --- two nodes share it

my $r = Push::Redis->new->start;
my $c = Push::Cluster->new(redis => $r, nodes => 2, workers => 1,
                           push => 'broadcast_rate 20;')->start;

@d = (devices($c->node(1), 1, $N / 2), devices($c->node(2), 100, $N / 2));
sleep 2.5;

is($c->dialogue(1)->push('broadcast', 'slow')->{status}, 202, 'accepted');
($then, $all, $took) = spread(\@d, 1, 8);

ok($then < $N / 2 + 5, "two nodes: after a second $then of $N");
is($all, $N, '... at last all');
ok($took > 2, "... not before their time: $took s");

$c->stop;
$r->quit;
done_testing();
