package Bench::Million;

# The million run: its stages, its floors, and what becomes of them.  A run of
# another size is the same with other numbers.
#
#     my $plan = Bench::Million::plan(connections => 1_000_000);
#     $plan->{stages}, $plan->{floors}, $plan->{sizes} ...
#     my @rows = Bench::Million::rows($plan, $results);

use strict;
use warnings;

use Bench::Tests;

# of 20,000 descriptors: the spread is uneven; while one worker is dead the
# others have its share
my $PER_WORKER = 17_200;
my $KEEPALIVE  = 300;

# Options: connections, workers, drain (seconds), short (true: no figures are
# wanted).
sub plan {
    my (%o) = @_;
    my $n = $o{connections};
    my $workers = $o{workers} // int(($n - 1) / $PER_WORKER) + 2;

    $workers = 4 if !defined $o{workers} && $workers < 4;

    my $drain = $o{drain} // int($n / 5000) + 2;
    my $share = $n / ($workers > 1 ? $workers - 1 : 1);

    # nginx closes idle HTTP connections when less than a sixteenth is free
    my $slots = int(($share + 4 * sqrt($share) + 300) * 16 / 15);
    my %plan  = (
        slots => $slots > 19_700 ? 19_700 : $slots,
        connections => $n, workers => $workers, drain => $drain,
        zone => Bench::Tests::zone_for($n), pings => int($n / $KEEPALIVE) + 1,
        sizes => [ int($n / 100), int($n / 10) ],
    );
    my ($hold, $rate, $closed, $kill) = $o{short} ? (1, 1, 1, 3)
                                                  : (25, 20, 5, 15);

    $plan{stages} = [
        stage('idle', 'hold', $o{short} ? 1 : 8),
        stage('hold', 'hold', $hold, rate => $plan{pings}),
        stage('rate', 'unicast', $rate, rate => $o{short} ? 500 : 5_000),
        stage('closed', 'unicast', $closed, warmup => $o{short} ? 0.2 : 2),
        { %{ stage('broadcast', 'broadcast', 0, qos => 0, messages => 2) },
          seconds => 2 + $n / 30_000 },
        { %{ stage('broadcast-qos1', 'broadcast', 0, messages => 2) },
          seconds => 2 + $n / 20_000 },
        stage('kill', 'unicast', $kill, rate => $o{short} ? 500 : 5_000),
        stage('reload', 'unicast', $drain + ($o{short} ? 1 : 10),
              rate => $o{short} ? 200 : 2_000),
    ];

    # some rounds
    my $time = 10 + int($n / 20_000);

    $plan{floors} = [
        [ echo => 'echo', '--rate', $plan{pings}, '--duration', $hold ],
        [ send => 'send', '--duration', $time ],
        [ ack => 'send', '--ack', '--duration', $time ],
        [ relay => 'relay', '--random', '--duration', $closed ],
    ];

    return \%plan;
}

sub stage {
    my ($name, $kind, $seconds, %more) = @_;
    my %all = (name => $name, %more);

    $all{duration} = $seconds if $seconds;
    return { name => $name, seconds => $seconds + ($more{warmup} // 0) + 1,
             option => "$kind:" . join ',', map { "$_=$all{$_}" }
                       sort keys %all };
}

# of push-bench, for all its runs here: as many processes for few devices as
# for many
sub generator {
    my ($plan) = @_;
    my $n = $plan->{connections};

    return ('--processes', $plan->{workers}, '--handshakes',
            60 * $plan->{workers}, '--sources', int($n / 7000) + 1,
            '--timeout', 60, '--random');
}


# --- what became of it

# Figures of the run, from what push-bench and the watching of the server said.
sub figures {
    my ($plan, $result, $seen) = @_;
    my $n = $plan->{connections};
    my %stage = map { $_->{name} => $_ } @{ $result->{stages} };
    my ($idle, $hold, $rate, $b0, $b1, $kill, $reload) =
        @stage{qw(idle hold rate broadcast broadcast-qos1 kill reload)};
    my $connect = $result->{connect};
    my $lost = 0;

    for my $name (qw(idle hold rate closed broadcast broadcast-qos1)) {
        $lost += $_->{counters}{connections_lost} // 0
            for grep { $_ } @{ $stage{$name} }{qw(measured settle)};
    }

    return {
        connect_seconds => $connect->{seconds},
        connect_per_s   => $connect->{per_second},
        connect_per_cpu => $connect->{per_cpu_second},
        connect_failed  => $connect->{counters}{connects_failed},
        memory          => $result->{memory}{bytes_per_connection},
        memory_all      => $result->{memory}{pss} / $n,
        kernel          => $seen->{kernel},
        idle_cpu        => 100 * cpu($idle->{measured})
                           / $idle->{measured}{seconds},
        ping_us         => per($hold->{measured}, 'pings'),
        ping_rate       => $hold->{measured}{per_second},
        ping_cpu        => 100 * cpu($hold->{measured})
                           / $hold->{measured}{seconds},
        (map { ("rate_$_" => $rate->{latency_us}{delivery}{$_}) }
         qw(p50 p99 p999)),
        rate_per_s      => $rate->{measured}{per_second},
        rate_per_cpu    => $rate->{measured}{per_cpu_second},
        per_cpu         => $stage{closed}{measured}{per_cpu_second},
        per_s           => $stage{closed}{measured}{per_second},
        broadcast(b0 => $b0), broadcast(b1 => $b1),
        kill_devices    => $kill->{away}{most},
        kill_seconds    => $kill->{away}{seconds},
        kill_p99        => $kill->{latency_us}{delivery}{p99},
        reload_seconds  => $seen->{reload_seconds},
        reload_moved    => lost($reload),
        reload_away     => $reload->{away}{most},
        reload_p99      => $reload->{latency_us}{delivery}{p99},
        free            => $seen->{least_available} / 2**30,
        missing         => $result->{whole}{missing},
        duplicates      => $result->{whole}{duplicates},
        dropped         => $lost,
        alerts          => scalar @{ $seen->{alerts} },
    };
}

sub cpu {
    my ($stretch) = @_;
    return ($stretch->{server_user} // 0) + ($stretch->{server_system} // 0);
}

# server CPU in us by what was counted
sub per {
    my ($stretch, $counter) = @_;
    my $n = $stretch->{counters}{$counter};

    return $n ? 1e6 * cpu($stretch) / $n : undef;
}

sub lost {
    my ($stage) = @_;
    my $sum = 0;

    $sum += $_->{counters}{connections_lost}
        for grep { $_ } @{$stage}{qw(measured settle)};
    return $sum;
}

# seconds for one to reach everybody: the slower of two
sub broadcast {
    my ($name, $stage) = @_;
    my $m = $stage->{measured};

    return ("${name}_seconds" => $stage->{latency_us}{delivery}{max} / 1e6,
            "${name}_per_cpu" => $m->{per_cpu_second},
            "${name}_user"    => $m->{counters}{delivered}
                                 ? 1e6 * ($m->{server_user} // 0)
                                   / $m->{counters}{delivered} : undef);
}

# What a floor's run adds to the column "floor".
sub floor_figures {
    my ($name, $result) = @_;
    my $figures = $result->{figures};

    return { ping_us => $figures->{ping_us}, kernel => $figures->{kernel} }
        if $name eq 'echo';
    return { per_cpu => $figures->{per_cpu}, per_s => $figures->{per_s} }
        if $name eq 'relay';

    my $key = $name eq 'ack' ? 'b1' : 'b0';

    return { "${key}_seconds" => $result->{latency_us}{max} / 1e6,
             "${key}_per_cpu" => $result->{figures}{per_cpu} };
}

my @ROWS = (
    [ connect => 'connect_per_s', 'more', 'connected and bound, per second' ],
    [ 'connect-cpu' => 'connect_per_cpu', 'more', 'the same: per CPU s' ],
    [ 'connect-failed' => 'connect_failed', 'less',
      'the same: attempts that failed' ],
    [ memory => 'memory', 'less',
      'memory per connection: growth since before' ],
    [ 'memory-all' => 'memory_all', 'less',
      'the same: all of nginx / connections' ],
    [ kernel => 'kernel', 'less', 'memory of the kernel for one end' ],
    [ free => 'free', 'more', 'GiB available at the least' ],
    [ 'idle-cpu' => 'idle_cpu', 'less', 'idle: % of a CPU' ],
    [ pings => 'ping_us', 'less', 'hold: CPU us per ping' ],
    [ 'pings-rate' => 'ping_rate', 'more', 'hold: pings a second' ],
    [ 'pings-cpu' => 'ping_cpu', 'less', 'hold: % of a CPU' ],
    [ rate => 'rate_per_s', 'more', 'unicast at a rate: per second' ],
    (map { [ "rate-$_" => "rate_$_", 'less',
             "the same: $_ to delivery, us" ] } qw(p50 p99 p999)),
    [ unicast => 'per_cpu', 'more', 'unicast to random ones: per CPU s' ],
    [ 'unicast-rate' => 'per_s', 'more', 'the same: per second' ],
    [ broadcast => 'b0_seconds', 'less',
      'broadcast QoS 0: s until all have it' ],
    [ 'broadcast-cpu' => 'b0_per_cpu', 'more', 'the same: per CPU s' ],
    [ 'broadcast-user' => 'b0_user', 'less', 'the same: user-space us' ],
    [ 'broadcast-qos1' => 'b1_seconds', 'less',
      'broadcast QoS 1: s until all have it' ],
    [ 'broadcast-qos1-cpu' => 'b1_per_cpu', 'more', 'the same: per CPU s' ],
    [ kill => 'kill_devices', 'less', 'a worker killed: devices away' ],
    [ 'kill-back' => 'kill_seconds', 'less', 'the same: s until all are back' ],
    [ reload => 'reload_moved', 'more', 'reload: devices moved' ],
    [ 'reload-away' => 'reload_away', 'less', 'the same: away at a time' ],
    [ 'reload-seconds' => 'reload_seconds', 'less',
      'the same: s until the old workers have gone' ],
    [ missing => 'missing', 'less', 'messages lost, in all of it' ],
    [ dropped => 'dropped', 'less', 'devices lost but for kill and reload' ],
    [ alerts => 'alerts', 'less', 'alerts and errors in the log' ],
);

# As tests of Bench::Results.
sub tests {
    my ($plan) = @_;
    my ($few, $more) = map { Bench::Tests::count($_) } @{ $plan->{sizes} };
    my $all = Bench::Tests::count($plan->{connections});
    my @rows = map { { id => "million-$_->[0]", case => 'million',
                       figure => $_->[1], better => $_->[2],
                       title => $_->[3] } } @ROWS;

    push @rows, map { { id => "million-unicast-$_->[0]",
                        case => "million-$_->[0]", figure => 'per_cpu',
                        better => 'more', title =>
                        "unicast to random ones of $_->[1]: per CPU s" } }
                [ few => $few ], [ more => $more ];
    push @rows, map { { id => "million-unicast-$_->[0]-of-few",
                        figure => 'per_cpu', better => 'more',
                        over => [ $_->[1], 'million-few' ],
                        title => "the same: $_->[2] / $few" } }
                [ more => 'million-more', $more ], [ all => 'million', $all ];

    return ({ name => $all, rows => \@rows });
}

1;
