package Bench::Server;

# A server under measurement: started on free ports of 127.0.0.1 with a folder
# of its own, and stopped when the object goes.
#
#     my $server = Bench::Server->start('Ours', workers => 8,
#         connections => 100_000, zone => '2g');
#     $server->pid; $server->port('mqtt'); $server->memory; ...
#     $server->stop;
#
# Options, for all kinds: workers (1); connections (10,000), how many it is to
# hold; tls (0), whether devices come by TLS; idle_seconds (3,600), how long
# they may say nothing.  Those of one kind stand there.
#
# A kind is a package Bench::Server::KIND with
#     missing()          what it lacks on this machine, '' if nothing
#     ports()            names of the ports it listens on
#     command($self)     the command to run; writes its configuration
#     subscriber($self, $test)  arguments of push-bench for its devices
#     publisher($self, $test)   the same for publishing to them
# where $test says what is measured, see Bench::Load.

use strict;
use warnings;

use Bench::Common qw(fail note read_file temp_dir free_port);
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep);

my $count = 0;

sub load {
    my ($kind) = @_;
    my $class = "Bench::Server::$kind";
    eval "require $class; 1" or die $@;
    return $class;
}

# undef, with the end of its log shown, if it does not start
sub start {
    my ($class, $kind, %opt) = @_;
    my $package = load($kind);
    my $dir     = temp_dir() . '/' . lc($kind) . ++$count;

    mkdir $dir or fail("$dir: $!");

    my $self = bless {
        workers => 1, connections => 10_000, tls => 0, idle_seconds => 3600,
        %opt, kind => $kind, dir => $dir, log => "$dir/error.log",
        owner => $$, ports => { map { $_ => free_port() } $package->ports },
    }, $package;

    $self->spawn($self->command);
    return $self if $self->answers;

    note("$kind did not start:");
    $self->show_log;
    $self->stop;
    return undef;
}

sub spawn {
    my ($self, @command) = @_;
    my $pid = fork // fail("fork: $!");

    if ($pid == 0) {
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', $self->{log};
        open STDERR, '>&', \*STDOUT;
        exec @command or POSIX::_exit(127);
    }

    $self->{pid} = $pid;
}

# Waits until all its ports do; false if it ended before or takes too long.
sub answers {
    my ($self) = @_;
    my @ports = values %{ $self->{ports} };

    for (1 .. 400) {
        if (waitpid($self->{pid}, WNOHANG) == $self->{pid}) {
            delete $self->{pid};
            return 0;
        }

        my $up = grep {
            IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_)
        } @ports;

        return 1 if $up == @ports && $self->processes >= $self->expected;
        sleep 0.05;
    }

    return 0;
}

# processes of it that must be there before it is measured
sub expected { 1 }

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    kill 'TERM', $pid;

    for (1 .. 200) {
        return if waitpid($pid, WNOHANG) == $pid;
        sleep 0.05;
    }

    kill 'KILL', $pid;
    waitpid $pid, 0;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $!, $@);
    $self->stop if $self->{owner} == $$;
}

sub pid  { $_[0]{pid} }
sub port { $_[0]{ports}{ $_[1] } }
sub name { lc $_[0]{kind} }

# its workers, or itself if it has none
sub worker_pids {
    my ($self) = @_;
    my @children = children($self->{pid});
    return @children ? @children : $self->{pid};
}

sub children {
    my ($pid) = @_;
    return split ' ', read_file("/proc/$pid/task/$pid/children") // '';
}

sub processes {
    my ($self) = @_;
    return 1 + children($self->{pid});
}

# bytes, as PSS, of all its processes
sub memory {
    my ($self) = @_;
    my $sum = 0;

    for my $pid ($self->{pid}, children($self->{pid})) {
        my $text = read_file("/proc/$pid/smaps_rollup") // next;
        $sum += $1 * 1024 if $text =~ /^Pss:\s+(\d+) kB/m;
    }

    return $sum;
}

sub show_log {
    my ($self) = @_;
    my @lines = split /^/, read_file($self->{log}) // '';

    splice @lines, 0, @lines - 10 if @lines > 10;
    print STDERR "    $_" for @lines;
}

1;
