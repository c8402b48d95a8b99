package Bench::Tests;

# What is measured: a table of tests.
#
# A test has a name, cases and rows.  A case is measured with several subjects
# (columns) right after each other, so that a ratio of theirs compares the same
# minute of the machine: "runs" is a list of column => run, where a run is
#
#     { server => KIND, options => {...}, load => {...} }    a Bench::Server
#     { floor => {...} }                                     a Bench::Floor
#
# and a server's run may have "slots" (also find what a connection's slot
# takes, see Bench::Run) or "syscalls" (count system calls).  A row names a
# case and a figure of it, or two cases of which the figures are divided:
#
#     { id, case, figure, title, better => 'more'|'less', floor => COLUMN }
#     { id, over => [ CASE, CASE ], figure, title, ... }
#
# "floor" is the column that the ratio to the floor takes ("floor" if it is
# not said).  Ids are unique; Bench::Targets refers to them.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(test_names tests);

# Seconds of warm-up and of measuring, in the tests which publish; how many
# messages a second in those with a rate; pings a second.
our %DEFAULT = (connections => 10_000, warmup => 0.5, duration => 3,
                rate => 5_000, pings => 3_333, large => 0);

# A process may have 20,000 descriptors on the machines we know.
my $PER_PROCESS = 18_000;

my @TESTS = (
    [ connect   => \&connect ],
    [ idle      => \&idle ],
    [ 'idle-tls' => \&idle_tls ],
    [ unicast   => \&unicast ],
    [ latency   => \&latency ],
    [ broadcast => \&broadcast ],
    [ 'broadcast-qos1' => \&broadcast_qos1 ],
    [ workers   => \&workers ],
    [ devices   => \&devices ],
    [ pings     => \&pings ],
    [ storm     => \&storm ],
);

my %KIND = (ours => 'Ours', mosquitto => 'Mosquitto', nchan => 'Nchan');

sub test_names { return map { $_->[0] } @TESTS }

# The tests of these names, in the order of the table.
sub tests {
    my ($names, %option) = @_;
    my %o = (%DEFAULT, %option);
    my %wanted = map { $_ => 1 } @$names;

    return map { { name => $_->[0], %{ $_->[1]->(\%o) } } }
           grep { $wanted{ $_->[0] } } @TESTS;
}


# --- pieces

sub publishing {
    my ($o, @args) = @_;
    return ('--warmup', $o->{warmup}, '--duration', $o->{duration}, @args);
}

# the same load for some of the servers: columns and runs
sub servers {
    my ($o, $columns, $load, %more) = @_;
    my $n = $load->{connections} // $o->{connections};
    my $options = delete $more{options} // {};

    return map {
        $_ => { server => $KIND{$_},
                options => { connections => $n, %$options },
                load => { %$load, connections => $n }, %more }
    } @$columns;
}

sub floor {
    my ($o, $mode, %more) = @_;
    my $column = $more{column} // 'floor';

    return ($column => { floor => {
        mode => $mode, connections => $more{connections} // $o->{connections},
        args => $more{args} // [],
    } });
}

# of a floor that goes on for a time
sub timed { return publishing($_[0]) }

sub count {
    my ($n) = @_;
    return $n % 1_000_000 == 0 ? $n / 1_000_000 . 'M'
           : $n % 1_000 == 0 ? $n / 1_000 . 'k' : $n;
}

# How many workers hold so many devices with room to spare.
sub workers_for {
    my ($n) = @_;
    return $n <= $PER_PROCESS ? 1 : $n <= 120_000 ? 8
           : int($n / ($PER_PROCESS - 200)) + 1;
}

sub zone_for {
    my ($n) = @_;
    my $m = int($n * 1024 / 1_048_576) + 1;
    return ($m < 512 ? 512 : $m) . 'm';
}


# --- tests

sub connect {
    my ($o) = @_;

    return {
        cases => [ {
            id => 'connect',
            runs => [
                servers($o, [qw(ours mosquitto nchan)],
                        { mode => 'connect' }),
                floor($o, 'accept'),
                floor($o, 'accept', column => 'handshake',
                      args => [ '--handshake' ]),
            ],
        } ],
        rows => [
            { id => 'connect', case => 'connect',
              figure => 'connect_per_cpu', better => 'more',
              title => 'connect, CONNECT, bind: per CPU s' },
            { id => 'connect-handshake', case => 'connect',
              figure => 'connect_per_cpu', better => 'more',
              floor => 'handshake',
              title => 'the same; floor with two packets answered' },
            { id => 'connect-rate', case => 'connect',
              figure => 'connect_per_s', better => 'more',
              title => 'the same: per second of time' },
        ],
    };
}

sub idle {
    my ($o) = @_;

    return {
        cases => [ {
            id => 'idle',
            runs => [ servers($o, [qw(ours mosquitto nchan)],
                              { mode => 'idle', args => [ '--duration', 2 ] },
                              slots => 1),
                      floor($o, 'idle') ],
        } ],
        rows => [
            { id => 'idle-all', case => 'idle', figure => 'memory_all',
              better => 'less',
              title => 'memory per idle connection, its slot included' },
            { id => 'idle', case => 'idle', figure => 'memory',
              better => 'less',
              title => 'the same: growth since before the first' },
            { id => 'idle-kernel', case => 'idle', figure => 'kernel',
              better => 'less',
              title => 'memory of the kernel for it, not in the above' },
        ],
    };
}

# The floor is nginx's own "listen ssl": connections that have made their
# handshake and say nothing, in HTTP, with nothing else set.
sub idle_tls {
    my ($o) = @_;
    my $n = $o->{connections} > 5_000 ? 5_000 : $o->{connections};
    my @load = ({ mode => 'idle', connections => $n,
                  args => [ '--duration', 2 ] },
                options => { tls => 1 }, slots => 1);
    my ($column, $plain) = servers($o, ['ours'], @load);

    return {
        cases => [ {
            id => 'idle-tls',
            runs => [ servers($o, [qw(ours mosquitto)], @load),
                      floor => { %$plain, server => 'Nginx' } ],
        } ],
        rows => [
            { id => 'idle-tls', case => 'idle-tls', figure => 'memory_all',
              better => 'less',
              title => 'memory per idle TLS connection (floor: nginx)' },
            { id => 'tls-handshake', case => 'idle-tls',
              figure => 'connect_per_cpu', better => 'more',
              title => 'TLS handshake, CONNECT, bind: per CPU s' },
        ],
    };
}

sub unicast {
    my ($o) = @_;
    my (@cases, @rows);

    for my $size (256, 1024) {
        my $id = "unicast-$size";
        my $label = $size == 256 ? '256 B' : '1 kB';

        push @cases, {
            id => $id,
            runs => [
                servers($o, [qw(ours mosquitto nchan)],
                        { mode => 'unicast',
                          args => [ publishing($o, '--size', $size) ] }),
                floor($o, 'relay', args => [ timed($o), '--size', $size ]),
            ],
        };
        push @rows, { id => $id, case => $id, figure => 'per_cpu',
                      better => 'more',
                      title => "unicast QoS 1, $label: per CPU s" };
    }

    push @rows,
        { id => 'unicast-user', case => 'unicast-256', figure => 'user_us',
          better => 'less',
          title => 'unicast, 256 B: user-space us per delivery' },
        { id => 'unicast-rate', case => 'unicast-256', figure => 'per_s',
          better => 'more',
          title => 'unicast, 256 B: per second of time' },
        { id => 'unicast-generator', case => 'unicast-256',
          figure => 'generator', better => 'less',
          title => 'unicast, 256 B: generator CPU / server CPU' };

    return { cases => \@cases, rows => \@rows };
}

sub latency {
    my ($o) = @_;
    my @load = ({ mode => 'unicast',
                  args => [ publishing($o, '--rate', $o->{rate}) ] });

    return {
        cases => [
            { id => 'latency',
              runs => [
                  servers($o, [qw(ours mosquitto nchan)], @load),
                  floor($o, 'relay',
                        args => [ timed($o), '--rate', $o->{rate} ]),
              ] },
            { id => 'syscalls',
              runs => [ servers($o, [qw(ours mosquitto nchan)],
                                { mode => 'unicast',
                                  args => [ '--warmup', $o->{warmup},
                                            '--duration', 5,
                                            '--rate', $o->{rate} ] },
                                syscalls => 1) ] },
        ],
        rows => [
            (map { { id => "latency-$_", case => 'latency', figure => $_,
                     better => 'less',
                     title => "$o->{rate}/s: $_ to delivery, us" } }
                qw(p50 p99)),
            { id => 'latency-cpu', case => 'latency', figure => 'per_cpu',
              better => 'more', title => "$o->{rate}/s: per CPU s" },
            { id => 'syscalls', case => 'syscalls', figure => 'syscalls',
              better => 'less',
              title => "$o->{rate}/s: system calls per message" },
        ],
    };
}

# Columns and runs of a broadcast to n devices, QoS 0.
sub broadcast_runs {
    my ($o, $n, $columns) = @_;
    my $workers = workers_for($n);

    return (
        servers($o, $columns,
                { mode => 'broadcast', qos => 0, connections => $n,
                  args => [ publishing($o) ] },
                options => { workers => $workers, zone => zone_for($n) }),
        floor($o, 'send', connections => $n,
              args => [ timed($o), $workers > 1 ? ('--workers', $workers)
                                                : () ])
    );
}

sub broadcast {
    my ($o) = @_;
    my $small = count($o->{connections});
    my %test = (
        cases => [ {
            id => 'broadcast',
            runs => [ broadcast_runs($o, $o->{connections},
                                     [qw(ours mosquitto nchan)]) ],
        } ],
        rows => [
            { id => 'broadcast', case => 'broadcast', figure => 'per_cpu',
              better => 'more',
              title => "broadcast QoS 0 to $small: per CPU s" },
            { id => 'broadcast-user', case => 'broadcast',
              figure => 'user_us', better => 'less',
              title => "broadcast: user-space us per delivery" },
            { id => 'broadcast-rate', case => 'broadcast',
              figure => 'per_s', better => 'more',
              title => 'broadcast: deliveries per second of time' },
        ],
    );

    return \%test if !$o->{large};

    # mosquitto is one process, which cannot have so many descriptors
    push @{ $test{cases} }, {
        id => 'broadcast-100k',
        runs => [ broadcast_runs($o, 100_000, [qw(ours nchan)]) ],
    };
    push @{ $test{rows} }, {
        id => 'broadcast-100k', case => 'broadcast-100k',
        figure => 'per_cpu', better => 'more',
        title => 'broadcast QoS 0 to 100k, 8 workers: per CPU s',
    };

    return \%test;
}

sub broadcast_qos1 {
    my ($o) = @_;

    return {
        cases => [ {
            id => 'broadcast-qos1',
            runs => [
                servers($o, [qw(ours mosquitto)],
                        { mode => 'broadcast',
                          args => [ publishing($o) ] }),
                floor($o, 'relay', args => [ timed($o) ]),
                floor($o, 'send', column => 'acknowledged',
                      args => [ timed($o), '--ack' ]),
            ],
        } ],
        rows => [
            { id => 'broadcast-qos1', case => 'broadcast-qos1',
              figure => 'per_cpu', better => 'more',
              title => 'broadcast QoS 1, all acknowledged: per CPU s' },
            { id => 'broadcast-qos1-ack', case => 'broadcast-qos1',
              figure => 'per_cpu', better => 'more',
              floor => 'acknowledged',
              title => 'the same; floor: send and read acknowledgements' },
        ],
    };
}

sub workers {
    my ($o) = @_;
    my (@cases, @rows);

    for my $mode (qw(unicast broadcast)) {
        for my $workers (1, 8, 50) {
            push @cases, {
                id => "workers-$mode-$workers",
                runs => [ servers($o, ['ours'],
                                  { mode => $mode,
                                    qos => $mode eq 'unicast' ? 1 : 0,
                                    args => [ publishing($o) ] },
                                  options => { workers => $workers }) ],
            };
            push @rows, {
                id => "workers-$mode-$workers",
                case => "workers-$mode-$workers", figure => 'per_cpu',
                better => 'more',
                title => "$mode, $workers worker"
                         . ($workers > 1 ? 's' : '') . ': per CPU s',
            };
        }

        push @rows, map { {
            id => "workers-$mode-$_-of-1", figure => 'per_cpu',
            over => [ "workers-$mode-$_", "workers-$mode-1" ],
            better => 'more', title => "$mode, $_ workers / one worker",
        } } 8, 50;
    }

    return { cases => \@cases, rows => \@rows };
}

# All sizes with as many workers as the largest of them needs, for its floor
# too, so that only the number of devices differs.
sub devices {
    my ($o) = @_;
    my @sizes = (10_000, 100_000, $o->{large} ? 1_000_000 : ());
    my (@cases, @rows);

    for my $n (@sizes) {
        my $workers = workers_for($n < 100_000 ? 100_000 : $n);
        my $id = 'devices-' . count($n);

        push @cases, {
            id => $id,
            runs => [
                servers($o, ['ours'],
                        { mode => 'unicast', connections => $n,
                          args => [ publishing($o, '--random', '--timeout',
                                               30) ] },
                        options => { workers => $workers,
                                     zone => zone_for($n) }),
                floor($o, 'relay', connections => $n,
                      args => [ timed($o), '--random', '--workers',
                                $workers ]),
            ],
        };
        push @rows, { id => $id, case => $id, figure => 'per_cpu',
                      better => 'more',
                      title => 'unicast to random ones of ' . count($n)
                               . ': per CPU s' };
    }

    push @rows, map { {
        id => 'devices-' . count($_) . '-of-10k', figure => 'per_cpu',
        over => [ 'devices-' . count($_), 'devices-10k' ], better => 'more',
        title => 'the same: ' . count($_) . ' / 10k',
    } } grep { $_ > 10_000 } @sizes;

    return { cases => \@cases, rows => \@rows };
}

# push-bench pings at half of the keepalive.
sub pings {
    my ($o) = @_;
    my $keepalive = int(2 * $o->{connections} / $o->{pings} + 0.5) || 1;
    my $rate = int(2 * $o->{connections} / $keepalive);

    return {
        cases => [ {
            id => 'pings',
            runs => [
                servers($o, [qw(ours mosquitto)],
                        { mode => 'idle',
                          args => [ '--keepalive', $keepalive, '--duration',
                                    $o->{duration} ] }),
                floor($o, 'echo', args => [ timed($o), '--rate', $rate ]),
            ],
        } ],
        rows => [
            { id => 'pings', case => 'pings', figure => 'ping_us',
              better => 'less', title => "CPU us per ping, at $rate/s" },
        ],
    };
}

sub storm {
    my ($o) = @_;
    my $n = $o->{large} ? 100_000 : $o->{connections};
    my $columns = $n > $PER_PROCESS ? ['ours'] : [qw(ours mosquitto)];
    my @rate = publishing($o, '--rate', $o->{rate}, '--timeout', 30);
    my %options = (workers => workers_for($n), zone => zone_for($n));
    my $what = "1 % of " . count($n) . " a second drop";

    return {
        cases => [
            { id => 'storm-quiet',
              runs => [ servers($o, $columns,
                                { mode => 'unicast', connections => $n,
                                  args => [ '--persistent', @rate ] },
                                options => \%options) ] },
            { id => 'storm',
              runs => [ servers($o, $columns,
                                { mode => 'storm', connections => $n,
                                  args => [ '--storm', 1, @rate ] },
                                options => \%options) ] },
        ],
        rows => [
            { id => 'storm-p99', case => 'storm', figure => 'p99',
              better => 'less', title => "$what: p99 to delivery, us" },
            { id => 'storm-of-quiet', over => [ 'storm', 'storm-quiet' ],
              figure => 'p99', better => 'less',
              title => 'the same: p99 / that of a quiet run' },
            { id => 'storm-missing', case => 'storm', figure => 'missing',
              better => 'less', title => "$what: messages lost" },
        ],
    };
}

1;
