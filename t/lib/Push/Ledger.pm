package Push::Ledger;

# Shows that nothing is lost while something goes wrong: push-ledger (see
# util/ledger) has devices and a publisher on a server, a scenario troubles
# that server, and when all has come to rest the two accounts are compared.
#
#     my $l = Push::Ledger->new($server, devices => 500, seconds => 30);
#     $l->trouble(3, sub { $server->kill_worker('KILL') });
#     print $l->verdict;                 # "nothing lost", or what is wrong
#     print join "\n", $l->finish;       # what the zone still holds and should
#                                        # not
#
# Options of new() are those of push-ledger; "drop_acks" and the like with _
# (repeat => '': one without a value).  $server may be a Push::Cluster: devices
# are then in all its rooms and move between them, and pushes go through all
# its centers.
#
# Push::Ledger->scenario(server => {...}, ledger => {...}, every => 3,
# trouble => sub { my ($server, $n, $ledger) = @_; ... }) does all of this in
# a server of its own and returns what there is to say about it; "restore" is
# called when the trouble is over.  points('save', 40, ...) has the processes
# die at a fault point, each the 40th time that it passes it.

use strict;
use warnings;

use File::Spec;
use IO::Select;
use IPC::Open2;
use Push::HTTP;
use Push::Server;
use Push::Test ();
use Test::More ();
use Time::HiRes qw(sleep time);

my $root  = File::Spec->rel2abs(__FILE__) =~ s{/t/lib/Push/Ledger\.pm$}{}r;
my $build = File::Spec->rel2abs($ENV{BUILD} || 'build', $root);

# What a server for it needs in push{} and in product{}: room for what nobody
# has yet, and no wait after a reload.
our $PUSH    = 'drain_time 500ms;';
our $PRODUCT = 'inbox_limit 100000; group_limit 100000;'
               . ' broadcast_limit 100000;';

sub new {
    my ($class, $server, %opt) = @_;
    my $program = "$build/push-ledger";
    my $several = $server->isa('Push::Cluster');
    my @rooms   = $several ? $server->rooms   : $server;
    my @centers = $several ? $server->centers : $server;
    my $dir     = $several ? Push::Test::test_dir() : $server->dir;

    system("make -s -C $root/util/ledger BUILD=$build >&2") == 0
        or die "push-ledger is not built\n";

    my $accept = delete $opt{accept} // 0.8;
    my @args   = map { my $name = tr/_/-/r;
                       $opt{$_} eq '' ? "--$name" : "--$name=$opt{$_}" }
                 sort keys %opt;
    my $self   = bless { server => $server, devices => $opt{devices} || 500,
                         wills => $opt{wills}, output => '',
                         accept => $accept, several => $several,
                         nodes => [$several ? $server->nodes : $server],
                       }, $class;

    $self->{pid} = open2(
        $self->{out}, $self->{in}, $program, '--interactive', @args,
        '--mqtt=' . join(',', map { "$_->{host}:$_->{mqtt}" } @rooms),
        '--http=' . join(',', map { "$_->{host}:$_->{http_port}" } @centers),
        "--key=$Push::Test::API_KEY", '--product=shop',
        "--record=$dir/ledger.txt");

    $self->wait_for(qr/^ready$/m, 60);
    return $self;
}

# Reads what it says, for so many seconds at most; 0: it has ended.
sub listen {
    my ($self, $seconds) = @_;

    return 1 if !IO::Select->new($self->{out})->can_read($seconds);

    my $n = sysread $self->{out}, $self->{output}, 65536,
                    length $self->{output};
    return $n;
}

sub wait_for {
    my ($self, $pattern, $seconds) = @_;
    my $end = time + $seconds;

    until ($self->{output} =~ $pattern) {
        die "push-ledger: no $pattern in $seconds s:\n$self->{output}"
            if time > $end || !$self->listen(0.2);
    }
}

sub publishing { $_[0]{output} !~ /^published$/m }

# Does nothing but listen, for so long.
sub pass {
    my ($self, $seconds) = @_;
    my $end = time + $seconds;

    $self->listen(0.1) while time < $end;
}

# Calls back every so many seconds as long as there is publishing, with how
# often that was.  Returns how often.
sub trouble {
    my ($self, $every, $code) = @_;
    my ($n, $next) = (0, time + $every);

    while ($self->publishing) {
        die "push-ledger ended:\n$self->{output}" if !$self->listen(0.05);

        if (time >= $next && $self->publishing) {
            $code->($n++);
            $next = time + $every;
        }
    }

    return $n;
}

# Says that the store has just lost what was answered in the last so many
# seconds; by default all that it had.  Who was connected must have got it, if
# that was more than a second ago, or so many seconds: with a bus that is lost
# as well.
sub lost {
    my ($self, $seconds, $told) = @_;

    print { $self->{in} } join(' ', 'lost', $seconds // 1e9, $told // 1), "\n";
    $self->{in}->flush;
}

# Lets it come to rest; what is wrong, or "nothing lost".
sub verdict {
    my ($self) = @_;
    my @wrong;

    $self->wait_for(qr/^published$/m, 300);
    print { $self->{in} } "settle\n";
    $self->{in}->flush;
    $self->wait_for(qr/^rest .*\n/m, 120);

    my ($rest) = $self->{output} =~ /^rest (.*)$/m;
    my %n      = map { split /=/ } split ' ', $rest;

    $self->{figures} = \%n;

    push @wrong, "$n{lost} of $n{owed} deliveries lost"      if $n{lost};
    push @wrong, "$n{disorder} out of order"                 if $n{disorder};
    push @wrong, "$n{appeared} of refused messages"          if $n{appeared};
    push @wrong, "$n{strange} strange"                       if $n{strange};
    push @wrong, "$n{bound} of $n{devices} devices bound"
        if $n{bound} != $n{devices};

    # a run in which hardly anything was accepted shows nothing
    push @wrong, "only $n{ok} of $n{published} accepted"
        if $n{ok} < $self->{accept} * $n{published} || !$n{ok};

    push @wrong, $self->ghosts if !@wrong;

    return 'nothing lost' if !@wrong;
    return join "\n", @wrong, $self->{output};
}

sub figures { $_[0]{figures} }

sub metrics {
    my ($self) = @_;
    my %value;

    for my $node (grep { $_->master } @{$self->{nodes}}) {
        my $of = $node->metrics;
        $value{$_} += $of->{$_} for keys %$of;
    }

    return \%value;
}

# Waits until the metrics are what they must be; what is not.
sub expect_metrics {
    my ($self, $seconds, $check) = @_;
    my $end = time + $seconds;

    for (;;) {
        my @wrong = $check->($self->metrics);

        return @wrong if !@wrong || time > $end;
        sleep 0.2;
    }
}

# All devices are connected: so many sessions are online, and no more; all was
# acknowledged, so nothing is in flight, and inboxes are empty.
sub ghosts {
    my ($self) = @_;
    my $n = $self->{devices};

    # for a node, a device that came back to another may linger meanwhile
    my $several = $self->{several};

    return $self->expect_metrics(15, sub {
        my ($m) = @_;
        my $conns = 0;

        $conns += $m->{$_} for grep { /^ngx_push_connections/ } keys %$m;

        return (
            $conns == $n ? () : "$conns connections of $n",
            differ($m, 'ngx_push_sessions{state="online"}', $n),
            $several ? () : (
                differ($m, 'ngx_push_sessions{state="lingering"}', 0),
                differ($m, 'ngx_push_sessions{state="offline"}', 0),
                differ($m, 'ngx_push_zone_records{class="session"}', $n),
                differ($m, 'ngx_push_zone_records{class="inflight"}', 0)),
            differ($m, 'ngx_push_workers{state="dead"}', 0),
            differ($m, 'ngx_push_workers{state="draining"}', 0),
        );
    });
}

sub differ {
    my ($m, $name, $n) = @_;
    my $value = $m->{$name} // 'none';

    return $value eq $n ? () : "$name is $value, not $n";
}

# Lets all devices go; what they leave behind and should not.
sub finish {
    my ($self) = @_;

    close delete $self->{in};
    while ($self->listen(10)) { }
    close delete $self->{out};

    my $pid = delete $self->{pid};
    waitpid $pid, 0;
    my @wrong = $? ? 'push-ledger exited with ' . ($? >> 8) : ();

    return @wrong, $self->expect_metrics(10, sub {
        my ($m) = @_;

        return (
            differ($m, 'ngx_push_sessions{state="online"}', 0),
            differ($m, 'ngx_push_zone_records{class="member"}', 0),

            # who is the last to go is sent the wills of the others
            $self->{wills} || $self->{several} ? ()
                : differ($m, 'ngx_push_zone_records{class="inflight"}', 0),
        );
    });
}

sub scenario {
    my ($class, %opt) = @_;
    my $server = Push::Server->new(
        name => 'ledger', workers => 2, zone => '32m', wait => 40,
        log_level => 'notice', push => $PUSH,
        product => "$PRODUCT group_publish on;", %{$opt{server} || {}});

    $server->start;

    my $self = $class->new($server, devices => 500, rate => 100,
                           seconds => 10, %{$opt{ledger} || {}});
    my $n    = $self->trouble($opt{every} || 1, sub {
        $opt{trouble}->($server, $_[0], $self) if $opt{trouble};
    });

    $opt{restore}->($server) if $opt{restore};

    my @said = ($self->verdict, $self->finish);

    push @said, "there was no trouble" if !$n;
    $server->stop;

    return @said;
}

# The same over several nodes: several(cluster => $started, ledger => {...},
# at => [[3, sub { my ($ledger) = @_; ... }], [9, ...]]), where "at" says after
# how many seconds of publishing something is done, and every/trouble/restore
# are as above; "figures" is asked what it says of them.  Tells the figures and the longest stall of any event loop;
# only one over a second is a fault, for machines are noisy.
sub several {
    my ($class, %opt) = @_;
    my $cluster = $opt{cluster};
    my $self    = $class->new($cluster, devices => 300, rate => 100,
                              seconds => 20, churn => 5, settle => 60,
                              %{$opt{ledger} || {}});
    my $start   = time;
    my @at      = @{$opt{at} || []};
    my $next    = $start + ($opt{every} || 1e9);
    my ($done, $stall) = (0, 0);

    my $look = sub {
        my ($max) = sort { $b <=> $a } map { $_ // 0 }
                    values %{(eval { $cluster->stalls }) || {}};
        $stall = $max if ($max // 0) > $stall;
    };

    while ($self->publishing) {
        die "push-ledger ended:\n$self->{output}" if !$self->listen(0.05);

        if (@at && time - $start >= $at[0][0]) {
            $look->();
            (shift @at)->[1]->($self);
            $done++;
        }

        if (time >= $next && $self->publishing) {
            $look->();
            $opt{trouble}->($self, $done++);
            $next = time + $opt{every};
        }
    }

    $opt{restore}->($self) if $opt{restore};

    my @said = $self->verdict;

    $look->();
    Test::More::diag(join ' ', "stall=${stall}ms", map {
        "$_=" . ($self->{figures}{$_} // '?')
    } qw(published ok refused unknown owed duplicates cuts rejected moves
         takeovers incarnations waived repeats replayed doubled gap slowest));

    # what the scenario demands of the figures: 1, or what is wrong
    my $more = $opt{figures} ? $opt{figures}->($self->{figures}) : 1;

    push @said, $more if $more ne '1';
    push @said, $self->finish;
    push @said, "an event loop stood for $stall ms" if $stall > 1000;
    push @said, 'not all of the trouble was made' if @at || !$done;

    return @said;
}

sub points {
    my ($class, $point, $n, %opt) = @_;
    my $deaths = 0;

    local $ENV{NGX_PUSH_FAULT} = "$point:$n";

    my @said = $class->scenario(
        server => { env => ['NGX_PUSH_FAULT'], %{$opt{server} || {}} },
        ledger => { churn => 2, wills => 20, seconds => 6,
                    %{$opt{ledger} || {}} },

        # workers that are not given the variable live
        restore => sub {
            my ($server) = @_;

            $server->reload(env => []);
            $server->old_gone(30);
            $deaths = () = $server->log =~ /process \d+ exited on signal 9/g;
        });

    return ($deaths ? "died at $point" : "nobody died at $point", @said);
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@);

    if ($self->{pid}) {
        kill 'KILL', $self->{pid};
        waitpid $self->{pid}, 0;
    }
}

1;
