# TCP_NODELAY of devices comes from the listening socket where all of its
# servers want it, and only there.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Server;
use Socket qw(unpack_sockaddr_in sockaddr_family AF_INET IPPROTO_TCP
              TCP_NODELAY);
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 10;

own_servers();

# The option of the sockets of a port, as the only worker has them: looked at
# through descriptors of our own for them.
sub nodelay {
    my ($s, $port) = @_;
    my ($pid) = $s->workers;
    my ($pidfd_open, $pidfd_getfd) = (434, 438);
    my %has;

    my $of = syscall($pidfd_open, $pid, 0);
    die "pidfd_open: $!\n" if $of < 0;

    for my $n (map { m{(\d+)$} } glob "/proc/$pid/fd/*") {
        my $fd = syscall($pidfd_getfd, $of, $n + 0, 0);
        next if $fd < 0;

        open my $socket, '+<&=', $fd or die "descriptor $fd: $!\n";

        my $name = getsockname($socket) or next;
        next if sockaddr_family($name) != AF_INET
                || (unpack_sockaddr_in($name))[0] != $port;

        my $on = unpack 'i', getsockopt($socket, IPPROTO_TCP, TCP_NODELAY);
        push @{$has{getpeername($socket) ? 'device' : 'listen'}}, $on ? 1 : 0;
    }

    open my $done, '+<&=', $of;
    return join ' ', map { "$_=" . join ',', @{$has{$_}} } reverse sort keys %has;
}

sub device {
    my ($s, $name) = @_;
    return $s->dialogue->client(client => $name, user => "shop/$name",
                                timeout => 20);
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: on by default, with the listening socket
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 1)->start;
    my $c = main::device($s, 'd');

    $t->say(main::nodelay($s, $s->mqtt_port));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
listen=1 device=1



=== TEST 2: off, on and off again by reloads
--- mqtt eval
sub {
    my ($t) = @_;
    my $room = sub { "server { listen {{mqtt}}; tcp_nodelay $_[0]; push_room; }" };
    my $s = Push::Server->new(workers => 1, push => 'drain_time 0;',
                              room => $room->('off'))->start;

    for my $next ('on', 'off', undef) {
        my $c = main::device($s, 'd');

        $t->say(main::nodelay($s, $s->mqtt_port));
        $c->close;
        $s->reload(room => $room->($next))->old_gone(20) if $next;
    }

    $s->stop;
    return $t->text;
}
--- mqtt_out
listen=0 device=0
listen=1 device=1
listen=0 device=0



=== TEST 3: a server on the same socket does not want it
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 1, room => <<'END')->start;
server { listen 127.0.0.1:{{mqtt}}; push_room; }
server { listen {{mqtt}}; tcp_nodelay off; return "no room"; }
END
    my $c = main::device($s, 'd');

    $t->say(main::nodelay($s, $s->mqtt_port));
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
listen=0 device=1



=== TEST 4: the room has gone, the socket is the same
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 1, push => 'drain_time 0;')->start;

    $t->say(main::nodelay($s, $s->mqtt_port));
    $s->reload(room => 'server { listen {{mqtt}}; return "no room"; }');
    $s->old_gone(20);
    $t->say(main::nodelay($s, $s->mqtt_port));
    $s->stop;
    return $t->text;
}
--- mqtt_out
listen=1
listen=0



=== TEST 5: sockets without the option, and one for each worker
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = Push::Server->new(workers => 1, room => <<'END')->start;
server { listen {{mqtt}} reuseport; listen unix:{{dir}}/room; push_room; }
END
    my $c = main::device($s, 'd');

    $t->say(main::nodelay($s, $s->mqtt_port));
    $t->say($s->log =~ /setsockopt/ ? 'complaints' : 'no complaint');
    $c->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
listen=1 device=1
no complaint
