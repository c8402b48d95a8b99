package Bench::Syscalls;

# Counts the system calls of a server's workers with perf while push-bench
# publishes at a rate: the counter of the kernel costs far less than strace,
# under which a busy server cannot keep a rate.

use strict;
use warnings;

use Bench::Common qw(note read_file);
use Exporter qw(import);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(usable count_calls);

my $SECONDS = 2;
my $works;

sub usable {
    return $works if defined $works;

    $works = system('perf stat -x, -e raw_syscalls:sys_enter true'
                    . ' > /dev/null 2>&1') == 0;
    note('system calls are not counted: perf cannot (linux-perf, root)')
        if !$works;
    return $works;
}

# A second of its workers' calls, undef if perf failed.  "ready" returns true
# when it is time to begin, "alive" false when it never will be.
sub count_calls {
    my ($server, $ready, $alive) = @_;

    while (!$ready->()) {
        return undef if !$alive->();
        sleep 0.05;
    }

    my $pids  = join ',', $server->worker_pids;
    my $start = time;
    my $text  = `perf stat -x, -e raw_syscalls:sys_enter -p $pids \\
                 -- sleep $SECONDS 2>&1`;
    my ($n) = $text =~ /^(\d+),[^,]*,raw_syscalls:sys_enter/m or return undef;

    # perf takes some time to attach, in which it does not count
    return $n / $SECONDS;
}

1;
