# A slice of "make bench-million": 2,000 devices and 4 workers go through all of
# its stages.  Nothing is lost while a worker is killed and while nginx reloads,
# and every device is back afterwards.  Speed is not judged.

use strict;
use warnings;

use lib 't/lib';
use lib 'util/benchlib';
use Push::Test;
use Bench::Million;
use Bench::Targets;
use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;

my $build = $ENV{BUILD} || 'build';
my $dir   = tempdir(CLEANUP => 1);
my $json  = "$dir/million.json";

sub decode {
    my ($path) = @_;
    open my $in, '<', $path or return {};
    local $/;
    return decode_json(<$in>);
}

# --- the plan

my %known = map { $_->{id} => 1 } map { @{ $_->{rows} } }
            Bench::Million::tests(Bench::Million::plan(
                connections => 1_000_000));

is_deeply([ grep { /^million/ && !$known{$_} } Bench::Targets::ids() ], [],
          'goals are of rows that exist');

for my $n (2_000, 20_000, 100_000, 1_000_000) {
    my $plan = Bench::Million::plan(connections => $n);

    cmp_ok($plan->{slots} * ($plan->{workers} - 1), '>', $n,
           "$n: all have room with one worker less");
    cmp_ok($plan->{workers}, '<=', 64, "$n: as many workers as can be");
}

# --- the run

my $out = `BUILD=$build util/bench-million --connections 2000 --workers 4 \\
           --short --keep-free 0.1 --json $json 2>&1`;

is($?, 0, 'the run ends well') or diag $out;

my $run   = decode($json);
my $ours  = decode("$dir/million-ours.json");
my %stage = map { $_->{name} => $_ } @{ $ours->{stages} };
my %row   = map { $_->{id} => $_->{ours} } @{ $run->{rows} };
my ($kill, $reload) = @stage{qw(kill reload)};

is($ours->{connect}{counters}{ready}, 2000, 'all connect');
is($ours->{whole}{missing}, 0, 'nothing is lost');
is($ours->{whole}{misordered}, 0, 'nothing is out of order');
cmp_ok($stage{hold}{measured}{counters}{pings}, '>', 0, 'pings');

for my $name (qw(broadcast broadcast-qos1)) {
    is($stage{$name}{measured}{counters}{delivered}, 4000,
       "$name: two to each");
}

is($stage{broadcast}{measured}{counters}{qos1}, 0, 'QoS 0 is that');
is($stage{'broadcast-qos1'}{measured}{counters}{qos1}, 4000, 'QoS 1 too');

for my $stage ($kill, $reload) {
    my $name = $stage->{name};

    cmp_ok($stage->{measured}{counters}{accepted}, '>', 0,
           "$name: messages meanwhile");
    cmp_ok($stage->{away}{most}, '>', 0, "$name: devices were away");
    ok($stage->{settle}, "$name: all are back");
}

cmp_ok($row{'million-kill'}, '<', 1500,
       'kill: those of the other workers stay');
is($row{'million-reload'}, 2000, 'reload: each moves once');
cmp_ok($row{'million-reload-seconds'}, '>', 0, 'reload: old workers go');
is($row{'million-dropped'}, 0, 'no device is lost without a reason');
is($row{'million-alerts'}, 0, 'nothing is in the error log');

# --- what is told apart from a failure

for my $wrong (['--stage', 'dance'], ['--stage', 'hold:rate=x'], [],
               ['--stage', 'hold:colour=1'], ['--stage', 'unicast'],
               ['--stage', 'hold:rate'])
{
    my $out = `$build/push-bench stages @$wrong 2>&1`;
    is($? >> 8, 2, "wrong usage: stages @$wrong");
}

done_testing();
