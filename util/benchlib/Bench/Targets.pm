package Bench::Targets;

# What is to be reached, once: the row of Bench::Tests it is read from, what of
# it ("value" of ours, ratio to "mosquitto" or to the "floor"), the bound, and
# the words of the goal.

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT_OK = qw(targets_of judge);

my @TARGETS = (
    [ 'idle-all', 'value', '<=', 1000,
      'memory per idle bound connection at most 1,000 bytes' ],
    [ 'idle-all', 'mosquitto', '<=', 1, 'lighter than mosquitto' ],
    [ 'idle-tls', 'floor', '<=', 0.3334,
      'memory per idle TLS connection: a third of nginx\'s' ],
    [ 'connect', 'mosquitto', '>=', 1.6, 'connect: 1.6 x mosquitto' ],
    [ 'connect', 'floor', '>=', 0.6, 'connect: 60 % of the accept floor' ],
    (map { (
        [ "unicast-$_", 'mosquitto', '>=', 1.5,
          "unicast, $_ B: 1.5 x mosquitto" ],
        [ "unicast-$_", 'floor', '>=', 0.85,
          "unicast, $_ B: 85 % of the relay floor" ],
    ) } 256, 1024),
    [ 'unicast-user', 'value', '<=', 4,
      'unicast: at most 4 us of user space' ],
    [ 'syscalls', 'value', '<=', 6, 'at most 6 system calls a message' ],
    [ 'latency-p50', 'mosquitto', '<=', 1, 'p50 not above mosquitto\'s' ],
    [ 'latency-p99', 'mosquitto', '<=', 1, 'p99 not above mosquitto\'s' ],
    [ 'broadcast', 'floor', '>=', 0.9,
      'broadcast QoS 0: 90 % of the send floor' ],
    [ 'broadcast-100k', 'floor', '>=', 0.9,
      'broadcast QoS 0 to 100,000: 90 % of the send floor' ],
    [ 'broadcast-user', 'value', '<=', 1,
      'broadcast: at most 1 us of user space' ],
    [ 'broadcast-qos1', 'floor', '>=', 0.85,
      'broadcast QoS 1: 85 % of the relay floor' ],
    (map {
        my $mode = $_;
        map { [ "workers-$mode-$_-of-1", 'value', '>=', 0.85,
                "$mode, $_ workers: within 15 % of one" ] } 8, 50
    } qw(unicast broadcast)),
    (map { [ "devices-$_-of-10k", 'floor', '>=', 0.8,
             "unicast, $_ devices: within 20 % of 10k beyond the floor's "
             . 'loss' ] } qw(100k 1M)),
    [ 'pings', 'floor', '<=', 1.2, 'pings: 1.2 x the echo floor' ],
    [ 'storm-missing', 'value', '<=', 0, 'storm: no loss' ],
    [ 'storm-of-quiet', 'value', '<', 3, 'storm: p99 under 3 x quiet' ],

    # of "make bench-million"
    [ 'million-pings', 'floor', '<=', 1.2,
      'a million idle: 1.2 x the echo floor' ],
    [ 'million-rate', 'value', '>=', 4_950, 'a million: unicast 5,000/s' ],
    (map { [ "million-unicast-$_-of-few", 'floor', '>=', 0.8,
             'unicast, ' . ($_ eq 'more' ? '100,000' : '1,000,000')
             . ' devices: within 20 % of 10,000 beyond the floor\'s loss' ] }
     qw(more all)),
    (map { [ $_, 'floor', '<=', 1.3,
             'a million: broadcast within 1.3 x the floor\'s time' ] }
     qw(million-broadcast million-broadcast-qos1)),
    [ 'million-kill', 'value', '>=', 1, 'a million: one worker killed' ],
    [ 'million-missing', 'value', '<=', 0, 'a million: no loss' ],
    [ 'million-dropped', 'value', '<=', 0, 'a million: none dropped' ],
    [ 'million-alerts', 'value', '<=', 0, 'a million: nothing in the log' ],
);

# rows that have one
sub ids { return map { $_->[0] } @TARGETS }

# The targets of a row: { of, compare, limit, text }
sub targets_of {
    my ($id) = @_;

    return map { { of => $_->[1], compare => $_->[2], limit => $_->[3],
                   text => $_->[4] } }
           grep { $_->[0] eq $id } @TARGETS;
}

# Whether it is met, undef when the figure is missing.
sub judge {
    my ($target, $figure) = @_;

    return undef if !defined $figure;
    return ($target->{compare} eq '>=' ? $figure >= $target->{limit}
            : $target->{compare} eq '<' ? $figure < $target->{limit}
            : $figure <= $target->{limit}) ? 1 : 0;
}

1;
