# What "make bench" makes of its figures: medians, ratios and whether a goal is
# met, and that the table of tests and the list of goals fit together.

use strict;
use warnings;

use lib 'util/benchlib';
use Bench::Results;
use Bench::Run;
use Bench::Targets;
use Bench::Tests;
use Test::More;

my @small = Bench::Tests::tests([ Bench::Tests::test_names() ]);
my @large = Bench::Tests::tests([ Bench::Tests::test_names() ], large => 1);

# --- the table

for my $tests (\@small, \@large) {
    my (%case, %row);

    for my $test (@$tests) {
        $case{ $_->{id} }++ for @{ $test->{cases} };
        $row{ $_->{id} }++  for @{ $test->{rows} };
    }

    is_deeply([ grep { $case{$_} > 1 } sort keys %case ], [],
              'no case twice');
    is_deeply([ grep { $row{$_} > 1 } sort keys %row ], [], 'no row twice');
    is_deeply([ grep { !$case{$_} }
                map { $_->{over} ? @{ $_->{over} } : $_->{case} }
                map { @{ $_->{rows} } } @$tests ], [],
              'rows are of cases that exist');
}

my %known = map { $_->{id} => 1 } map { @{ $_->{rows} } } @large;

# those of the million run are held by t/902-million.t
is_deeply([ grep { !$known{$_} && !/^million-/ } Bench::Targets::ids() ], [],
          'goals are of rows that exist');

my $seconds = 0;

for my $case (map { @{ $_->{cases} } } @small) {
    my %runs = @{ $case->{runs} };
    $seconds += Bench::Run::estimate($_) for values %runs;
}

cmp_ok($seconds, '<', 420, 'a round of all tests is no more than 7 minutes');

# --- figures

is(Bench::Results::median(5, 1, undef, 3), 3, 'median of three');
is(Bench::Results::median(4, 1), 2.5, 'median of two');
is(Bench::Results::median(undef), undef, 'median of nothing');

my $results = Bench::Results->new;
my @ours  = (30, 10, 40);
my @other = (10, 10, 10);
my @floor = (30, 40, 50);

for my $round (0 .. 2) {
    $results->add('unicast-256', 'ours', $round, { per_cpu => $ours[$round] });
    $results->add('unicast-256', 'mosquitto', $round,
                  { per_cpu => $other[$round] });
    $results->add('unicast-256', 'floor', $round,
                  { per_cpu => $floor[$round] });
}

# a round that failed
$results->add('unicast-1024', 'ours', 0, { per_cpu => 8 });
$results->add('unicast-1024', 'mosquitto', 1, { per_cpu => 4 });

my %row = map { $_->{id} => $_ } $results->rows(@small);
my $row = $row{'unicast-256'};

is($row->{ours}, 30, 'median of ours');
is($row->{ratio}{mosquitto}, 3, 'median of the ratios to mosquitto');
is($row->{ratio}{floor}, 0.8, 'the ratios to the floor, by round');
is_deeply([ map { $_->{met} } @{ $row->{targets} } ], [ 1, 0 ],
          'one goal met, one not');
like(Bench::Results::table($row), qr/met: >= 1.5.*NOT MET: >= 0.85/,
     'the table says so');

is($row{'unicast-1024'}{ratio}{mosquitto}, undef, 'no ratio across rounds');
is_deeply([ map { $_->{met} } @{ $row{'unicast-1024'}{targets} } ],
          [ undef, undef ], 'and no verdict');
ok(!$row{connect}, 'no row of what was not measured');

$results->add('storm-quiet', 'ours', 0, { p99 => 100 });
$results->add('storm', 'ours', 0, { p99 => 300, missing => 0 });
%row = map { $_->{id} => $_ } $results->rows(@small);

is($row{'storm-of-quiet'}{ours}, 3, 'one case over another');
is_deeply([ map { $_->{met} } @{ $row{'storm-of-quiet'}{targets} } ], [ 0 ],
          'under means under');
is_deeply([ map { $_->{met} } @{ $row{'storm-missing'}{targets} } ], [ 1 ],
          'nothing lost');

done_testing();
