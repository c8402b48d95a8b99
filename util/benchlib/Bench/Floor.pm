package Bench::Floor;

# Runs push-floor, the least programs that do what a server has to ask of the
# kernel (docs/bench.md).
#
#     my $result = Bench::Floor::run({ mode => 'relay', connections => 10_000,
#         args => ['--random'], json => $path });
#
# The result is what push-floor wrote, and "figures" as in Bench::Load.

use strict;
use warnings;

use Bench::Common qw(fail note read_file read_json temp_dir $BUILD);
use POSIX ();

my $running;

sub run {
    my ($test) = @_;
    my $json = $test->{json} // temp_dir() . '/push-floor.json';
    my $out  = temp_dir() . '/push-floor.out';

    unlink $json;

    my $pid = fork // fail("fork: $!");
    if ($pid == 0) {
        open STDOUT, '>', $out;
        exec "$BUILD/push-floor", $test->{mode}, '--connections',
            $test->{connections}, @{ $test->{args} // [] }, '--quiet',
            '--json', $json or POSIX::_exit(127);
    }

    $running = $pid;
    waitpid $pid, 0;
    my $status = $?;
    undef $running;

    if ($status) {
        note("push-floor $test->{mode} ended with wait status $status");
        print STDERR map { "    $_\n" } split /\n/, read_file($out) // '';
        return undef;
    }

    my $result = read_json($json) // fail("$json: no result");
    $result->{figures} = figures($result);
    return $result;
}

sub interrupt {
    return if !$running;
    kill 'TERM', $running;
    waitpid $running, 0;
}

sub figures {
    my ($r) = @_;
    my $n = $r->{operations};
    my %f = (kernel => $r->{kernel_bytes_per_connection});

    return \%f if !$n;

    $f{per_cpu} = $f{connect_per_cpu} = $r->{per_cpu_second};
    $f{per_s}   = $f{connect_per_s}   = $r->{per_second};
    $f{user_us} = 1e6 * $r->{user} / $n;
    $f{ping_us} = 1e6 / $r->{per_cpu_second} if $r->{per_cpu_second};

    if (my $l = $r->{latency_us}) {
        $f{$_} = $l->{$_} for qw(p50 p99);
    }

    return \%f;
}

1;
