package Bench::Load;

# Runs push-bench against a Bench::Server.
#
#     my $result = Bench::Load::run($server, {
#         mode => 'unicast', connections => 10_000, qos => 1,
#         args => ['--rate', 5000], json => $path });
#
# The result is what push-bench wrote (docs/bench.md, "JSON") with one more
# entry, "figures", for Bench::Results: names to numbers, the same names as
# Bench::Floor's where they mean the same.  undef, told on stderr, if the run
# failed, which a lost message is too.

use strict;
use warnings;

use Bench::Common qw(fail note read_file read_json temp_dir $BUILD);
use POSIX ();

my $running;                        # pid of push-bench

# "qos" is 1 unless it is said.  For a caller that has something to do meanwhile: finish() waits for it.
# "progress" is a file for its line a second, which starts with what it does.
sub begin {
    my ($server, $given) = @_;
    my $test = { qos => 1, args => [], %$given };
    my $json = $test->{json} // temp_dir() . '/push-bench.json';
    my $out  = temp_dir() . '/push-bench.out';
    my @command = (
        "$BUILD/push-bench", $test->{mode},
        '--connections', $test->{connections}, '--server-pid', $server->pid,
        '--qos', $test->{qos}, $test->{progress} ? () : '--quiet',
        $server->subscriber($test),
        $test->{mode} =~ /^(?:connect|idle)$/ ? ()
                                              : $server->publisher($test),
        @{ $test->{args} }, '--json', $json
    );

    unlink $json;

    my $pid = fork // fail("fork: $!");
    if ($pid == 0) {
        open STDOUT, '>', $out;
        open STDERR, '>', $test->{progress} if $test->{progress};
        exec @command or POSIX::_exit(127);
    }

    $running = $pid;
    return { pid => $pid, server => $server, test => $test, json => $json,
             out => $out };
}

sub finish {
    my ($run) = @_;

    waitpid $run->{pid}, 0;
    my $status = $?;
    undef $running;

    if ($status) {
        note(sprintf '%s, %s: push-bench ended with %s',
             $run->{server}->name, $run->{test}{mode},
             $status & 127 ? 'signal ' . ($status & 127)
                           : 'status ' . ($status >> 8));
        print STDERR map { "    $_\n" }
            split /\n/, read_file($run->{out}) // '';
        $run->{server}->show_log;
        return undef;
    }

    my $result = read_json($run->{json}) // fail("$run->{json}: no result");
    $result->{figures} = figures($result);
    return $result;
}

sub run { return finish(begin(@_)) }

# The run that goes on, if any: for whoever ends the program early.
sub interrupt {
    return if !$running;
    kill 'TERM', $running;
    waitpid $running, 0;
}

sub figures {
    my ($r) = @_;
    my %f;

    if (my $c = $r->{connect}) {
        $f{connect_per_cpu} = $c->{per_cpu_second};
        $f{connect_per_s}   = $c->{per_second};
    }

    $f{memory} = $r->{memory}{bytes_per_connection} if $r->{memory};

    if (my $i = $r->{idle}) {
        my $cpu = ($i->{server_user} // 0) + ($i->{server_system} // 0);
        $f{ping_us} = 1e6 * $cpu / $i->{counters}{pings}
            if $i->{counters}{pings};
    }

    my $m = $r->{measured} or return \%f;
    my $n = $m->{counters}{delivered};
    my $cpu = ($m->{server_user} // 0) + ($m->{server_system} // 0);

    $f{per_cpu} = $m->{per_cpu_second};
    $f{per_s}   = $m->{per_second};
    $f{user_us} = 1e6 * $m->{server_user} / $n
        if $n && defined $m->{server_user};
    $f{generator} = ($m->{generator_user} + $m->{generator_system}) / $cpu
        if $cpu;
    $f{$_}        = $r->{latency_us}{delivery}{$_} for qw(p50 p99 p999);
    $f{missing}   = $r->{whole}{missing};
    $f{lost}      = $r->{whole}{missing} + $r->{whole}{connections_lost};

    return \%f;
}

1;
