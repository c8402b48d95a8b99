# A short slice of "make bench": the load generator goes through its modes and
# finds nothing lost, misordered or misdirected.  Speed is not judged here.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Server;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 16;

own_servers();

# The end of what push-bench says: its verdict, or what went wrong.
sub bench {
    my ($mode, @options) = @_;
    my $build = $ENV{BUILD} || 'build';
    my $s = Push::Server->new(
        workers => 2, product => 'broadcast_limit 100000;',
        http => 'keepalive_requests 10000000; location /v1/ { push_center; }'
    )->start;

    system("make -s -C util/push-bench BUILD=\$PWD/$build") == 0
        or die "push-bench is not built\n";

    my $command = join ' ', "$build/push-bench", $mode, @options,
        '--product shop --connections 300',
        '--port', $s->mqtt_port, "--http 127.0.0.1:@{[$s->http_port]}",
        '--api-key', Push::Test::api_key(),
        '--duration 0.6 --warmup 0.2 --timeout 20 --quiet 2>&1';
    my $out = `$command`;
    my $status = $? >> 8;

    $s->stop;

    return "$1\n" if $status == 0 && $out =~ /^(ok)$/m;
    return "status $status\n$out";
}

# What little of Nchan a WebSocket subscriber needs: GET /sub?id=X switches
# protocols, POST /pub?id=X sends the body as a frame to it, cut in two.
# "spoil" is the number of a message which is not passed on.
sub hub {
    my ($spoil) = @_;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128)
        or die "no port: $!\n";
    my $pid = fork // die "fork: $!\n";

    return ($pid, $listen->sockport) if $pid;

    my $select = IO::Select->new($listen);
    my ($number, %buffer, %device) = (0);

    while (my @ready = $select->can_read) {
        for my $s (@ready) {
            if ($s == $listen) {
                my $c = $listen->accept or next;
                setsockopt $c, 6, 1, 1;
                $select->add($c);
                next;
            }

            if (!sysread $s, $buffer{$s}, 65536, length($buffer{$s} // '')) {
                $select->remove($s);
                next;
            }

            while ($buffer{$s} =~ s{^(GET|POST)\ /...\?id=(\w+)
                                    (.*?)\r\n\r\n}{}xs) {
                my ($method, $id, $head) = ($1, $2, $3);

                if ($method eq 'GET') {
                    $device{$id} = $s;
                    syswrite $s, "HTTP/1.1 101 Switching Protocols\r\n"
                                 . "Upgrade: websocket\r\n\r\n";
                    next;
                }

                my ($n) = $head =~ /Content-Length: (\d+)/;

                if (length $buffer{$s} < $n) {
                    $buffer{$s} = "POST /pub?id=$id$head\r\n\r\n$buffer{$s}";
                    last;
                }

                my $body = substr $buffer{$s}, 0, $n, '';

                if (++$number != ($spoil // 0)) {
                    syswrite $device{$id}, pack('CCn', 0x82, 126, $n);
                    syswrite $device{$id}, $body;
                }

                syswrite $s, "HTTP/1.1 201 Created\r\n"
                             . "Content-Length: 0\r\n\r\n";
            }
        }
    }

    POSIX::_exit(0);
}

# one run for each hub, at the same time
sub websocket {
    my $build = $ENV{BUILD} || 'build';
    my (@runs, $said);

    for my $spoil (@_) {
        my ($pid, $port) = hub($spoil);

        open my $out, '-|', "$build/push-bench unicast --connections 50 \\
            --port $port --subscriber websocket --http 127.0.0.1:$port \\
            --messages 500 --http-url-template '/pub?id=%U' --timeout 1 \\
            --quiet 2>&1" or die "push-bench: $!\n";
        push @runs, [ $pid, $out ];
    }

    for my $run (@runs) {
        my ($pid, $out) = @$run;
        my $text = do { local $/; <$out> };

        kill 'KILL', $pid;
        waitpid $pid, 0;
        $said .= $text =~ /(missing \d+).*^(ok|FAILED)/ms ? "$1\n$2\n" : $text;
    }

    return $said;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: connect and bind
--- mqtt eval
sub { main::bench('connect') }
--- mqtt_out
ok



=== TEST 2: unicast, MQTT 5
--- mqtt eval
sub { main::bench('unicast', '--mqtt 5') }
--- mqtt_out
ok



=== TEST 3: unicast, two devices a user, MQTT 3.1.1
--- mqtt eval
sub { main::bench('unicast', '--per-user 2') }
--- mqtt_out
ok



=== TEST 4: broadcast, QoS 1
--- mqtt eval
sub { main::bench('broadcast') }
--- mqtt_out
ok



=== TEST 5: groups
--- mqtt eval
sub { main::bench('group') }
--- mqtt_out
ok



=== TEST 6: a storm of drops and returns
--- mqtt eval
sub { main::bench('storm', '--rate 500 --storm 20') }
--- mqtt_out
ok



=== TEST 7: connections that say nothing
--- mqtt eval
sub { main::bench('connect', '--subscriber transport') }
--- mqtt_out
ok



=== TEST 8: WebSocket subscribers; one message is lost
--- mqtt eval
sub { main::websocket(0, 77) }
--- mqtt_out
missing 0
ok
missing 1
FAILED
