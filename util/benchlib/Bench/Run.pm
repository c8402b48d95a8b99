package Bench::Run;

# One run of the table in Bench::Tests: starts what is to be measured,
# measures it, stops it.

use strict;
use warnings;

use Bench::Floor;
use Bench::Load;
use Bench::Server;
use Bench::Syscalls;
use Bench::Common qw(read_file temp_dir);
use Exporter qw(import);

our @EXPORT_OK = qw(run estimate);

my $FEW = 64;                   # worker_connections to compare with

# Its result with "figures", undef if it failed; "json" is where the generator
# leaves what it found.
sub run {
    my ($run, $json) = @_;

    return Bench::Floor::run({ %{ $run->{floor} }, json => $json })
        if $run->{floor};

    my $server = Bench::Server->start($run->{server}, %{ $run->{options} })
        or return undef;
    my $load   = { %{ $run->{load} }, json => $json };
    my $fresh  = $server->memory;
    my $result = $run->{syscalls} ? with_syscalls($server, $load)
                                  : Bench::Load::run($server, $load);

    $server->stop;
    return undef if !$result;

    add_slots($run, $result, $fresh) if $run->{slots};
    return $result;
}

# nginx takes the memory for all worker_connections when it starts, so what a
# connection adds later is not all that it takes.  What a slot takes is the
# difference between this server and one with next to no slots, both fresh.
sub add_slots {
    my ($run, $result, $fresh) = @_;
    my $f = $result->{figures};

    $f->{slot}       = 0;
    $f->{memory_all} = $f->{memory};

    return if !Bench::Server::load($run->{server})->can('fair_slots');

    my $small = Bench::Server->start($run->{server}, %{ $run->{options} },
                                     worker_connections => $FEW)
        or return;
    my $more  = ($small->fair_slots - $FEW) * $small->{workers};

    $f->{slot}       = ($fresh - $small->memory) / $more if $more > 0;
    $f->{memory_all} = $f->{memory} + $f->{slot};
    $small->stop;
}

sub with_syscalls {
    my ($server, $load) = @_;
    my $progress = temp_dir() . '/progress';

    unlink $progress;
    return Bench::Load::run($server, $load) if !Bench::Syscalls::usable();

    my $begun = Bench::Load::begin($server, { %$load,
                                              progress => $progress });
    my $calls = Bench::Syscalls::count_calls(
        $server,
        sub { (read_file($progress) // '') =~ /^$load->{mode} /m },
        sub { (read_file("/proc/$begun->{pid}/stat") // '')
              =~ /\) [^ZX] / });
    my $result = Bench::Load::finish($begun) or return undef;
    my $rate   = $result->{figures}{per_s};

    $result->{figures}{syscalls} = $calls / $rate if defined $calls && $rate;
    return $result;
}

# Seconds it takes, roughly.
sub estimate {
    my ($run) = @_;
    my $spec = $run->{floor} // $run->{load};
    my %arg  = map { $_ => 0 } qw(--warmup --duration);
    my @args = @{ $spec->{args} // [] };

    for my $i (0 .. $#args - 1) {
        $arg{ $args[$i] } = $args[ $i + 1 ] if exists $arg{ $args[$i] };
    }

    return 1 + $spec->{connections} / 8000 + $arg{'--warmup'}
           + $arg{'--duration'} + ($run->{floor} ? 0 : 1)
           + ($run->{slots} ? 1 : 0);
}

1;
