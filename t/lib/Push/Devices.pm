package Push::Devices;

# Devices for scenarios: on a worker of choice, and what they receive.
#
#     my ($a, $b) = devices($server, 2);     # on two different workers
#     only($server, $pid, sub { ... });      # all others stand still
#     my @got = receive($client, 10);        # payloads, each acknowledged
#
# Which worker a device is on is asked of the server (GET user).

use strict;
use warnings;

use Exporter 'import';
use Time::HiRes qw(sleep time);

our @EXPORT = qw(only without devices device_of worker_of receive receive_all
                 publish_many flood metric eventually counted);

our $WAIT = 20;


# Runs the code while all workers but this one are stopped, so that it takes
# every connection.  With "reuseport" the kernel chooses: there use devices().
sub only {
    my ($server, $pid, $code) = @_;

    return without([grep { $_ != $pid } $server->workers], $code);
}

# Runs the code while these processes stand still.
sub without {
    my ($pids, $code) = @_;

    my @result = eval {
        halt($_) for @$pids;
        $code->();
    };
    my $error = $@;

    kill 'CONT', @$pids;
    die $error if $error;

    return wantarray ? @result : $result[0];
}

# Stops a worker where it waits for events: elsewhere it might hold a lock.
sub halt {
    my ($pid) = @_;

    eventually("process $pid to stand still", sub {
        kill 'STOP', $pid;
        eventually("process $pid to stop", sub { state($pid) eq 'T' });

        open my $in, '<', "/proc/$pid/syscall" or return 1;
        my ($number) = (<$in> // '') =~ /^(\S+)/ or return 1;

        # epoll_wait, and epoll_pwait of x86-64 and arm64
        return 1 if $number =~ /^(?:232|281|22)$/;

        kill 'CONT', $pid;
        return 0;
    });
}

sub state {
    my ($pid) = @_;
    open my $in, '<', "/proc/$pid/stat" or return '';
    my ($state) = (<$in> // '') =~ /\) (\S)/;

    return $state // '';
}

# The entry of a device in GET user; undef if it is not known.
sub device_of {
    my ($server, $user, $device) = @_;
    my $answer = $server->dialogue->http->get("/v1/shop/users/$user");

    return undef if $answer->{status} != 200;
    return (grep { $_->{device} eq $device } @{$answer->{json}{devices}})[0];
}

# The slot of the worker that holds this device now.
sub worker_of {
    my ($server, $user, $device) = @_;
    my $entry = device_of($server, $user, $device) // return undef;

    return $entry->{state} eq 'online' ? $entry->{worker} : undef;
}

# So many connected clients, each on another worker: users u0, u1 ..., devices
# d0, d1 ..., unless "user" or "device" (a sub of the number) says otherwise.
# Options of Push::Dialogue::client besides; reuseport => 1 to try until the
# kernel has chosen another worker.
sub devices {
    my ($server, $count, %opt) = @_;
    my $reuseport = delete $opt{reuseport};
    my $user      = delete $opt{user}   // sub { "u$_[0]" };
    my $device    = delete $opt{device} // sub { "d$_[0]" };
    my @pids      = $server->workers;
    my (@clients, %taken);

    for my $i (0 .. $count - 1) {
        my ($u, $d) = ($user->($i), $device->($i));
        my $connect = sub {
            $server->dialogue->client(timeout => $WAIT, user => "shop/$u",
                                      client => $d, %opt);
        };

        for my $try (1 .. 200) {
            my $client = $reuseport ? $connect->()
                                    : only($server, $pids[$i], $connect);
            my $worker = worker_of($server, $u, $d)
                         // die "$u/$d is not online\n";

            if (!$taken{$worker}) {
                $taken{$worker} = 1;
                push @clients, $client;
                last;
            }

            die "$u/$d is on worker $worker again\n" if !$reuseport;
            $client->disconnect(0);
        }

        die "no other worker found\n" if @clients != $i + 1;
    }

    return @clients;
}

# The payloads of the next messages, each acknowledged; dies if they do not
# come.  Options: ack => 0, packets => 1 for the packets.
sub receive {
    my ($client, $count, %opt) = @_;
    my @got;

    while (@got < $count) {
        my $packet = eval {
            $client->expect('PUBLISH', timeout => $opt{timeout} // $WAIT);
        } or die "after " . @got . " of $count messages: $@";

        $client->puback($packet->{id}) if $packet->{qos} && ($opt{ack} // 1);
        push @got, $opt{packets} ? $packet : $packet->{payload};
    }

    return @got;
}

# Up to a message with this payload, which is not returned: what else came.
sub receive_all {
    my ($client, $mark, %opt) = @_;
    my @got;

    for (;;) {
        my ($packet) = receive($client, 1, %opt, packets => 1);

        return @got if $packet->{payload} eq $mark;
        push @got, $opt{packets} ? $packet : $packet->{payload};
    }
}

# Pushes payloads to a target, pipelined in batches; the ids, or dies.
sub publish_many {
    my ($http, $target, $payloads, %headers) = @_;
    my $path  = $target eq 'broadcast' ? 'broadcasts' : "$target/messages";
    my @todo  = @$payloads;
    my @ids;

    while (my @batch = splice @todo, 0, 100) {
        my @answers = $http->pipeline(map {
            ['POST', "/v1/shop/$path", $_, %headers]
        } @batch);

        for my $answer (@answers) {
            die "push: $answer->{status} $answer->{body}\n"
                if $answer->{status} !~ /^20[012]$/;
            push @ids, $answer->{json}{id};
        }
    }

    return @ids;
}

# Numbers as payloads, many and fast; each must be saved.
sub flood {
    my ($http, $target, $from, $to) = @_;
    my $head = "POST /v1/shop/$target/messages HTTP/1.1\r\nHost: localhost\r\n"
               . "Authorization: Bearer $http->{key}\r\nContent-Length: ";
    my $socket = $http->open->{socket};

    while ($from <= $to) {
        my $last = $from + 499 < $to ? $from + 499 : $to;
        my $left = $last - $from + 1;

        $http->send_raw(CORE::join '', map {
            $head . length($_) . "\r\n\r\n$_"
        } $from .. $last);

        # the line of a status may be cut in two
        my $rest = '';
        while ($left) {
            IO::Select->new($socket)->can_read($WAIT)
                && sysread $socket, my $in, 65536
                or die "flood: no answer\n";
            $rest .= $in;
            $left -= () = $rest =~ m{HTTP/1\.1 201}g;
            die "flood: refused\n" if $rest =~ m{HTTP/1\.1 [345]};
            $rest = $rest =~ /(H[^H]{0,10})\z/ ? $1 : '';
        }

        $from = $last + 1;
    }

    $http->close;
}

# The sum of a metric, of all its label sets or those that match.
sub metric {
    my ($server, $name, $labels) = @_;
    my $body = $server->dialogue->http->get('/metrics')->{body};
    my ($sum, $found) = (0, 0);

    while ($body =~ /^\Q$name\E(\{[^}]*\})? (\S+)$/mg) {
        my ($set, $value) = ($1 // '', $2);

        next if defined $labels && $set !~ $labels;
        $sum += $value;
        $found++;
    }

    die "no metric $name\n" if !$found;
    return $sum;
}

# Waits until the code returns something true, and returns that.
sub eventually {
    my ($what, $code, $seconds) = @_;
    my $end = time + ($seconds // $WAIT);

    for (;;) {
        my $value = $code->();

        return $value if $value;
        die "waited in vain for $what\n" if time > $end;
        sleep 0.02;
    }
}

# "1..5, 7" for payloads that are numbers in order: short in a transcript.
sub counted {
    my @out;

    for my $n (@_) {
        if (@out && $n =~ /^\d+$/ && $out[-1][1] =~ /^\d+$/
            && $n == $out[-1][1] + 1)
        {
            $out[-1][1] = $n;

        } else {
            push @out, [$n, $n];
        }
    }

    return join ', ', map { $_->[0] eq $_->[1] ? $_->[0] : "$_->[0]..$_->[1]" }
                      @out;
}

1;
