package Push::Redis::Slow;

# A Redis that takes its time: what clients ask goes through at once, each
# reply waits for its turn.
#
#     my $slow = Push::Redis::Slow->new($redis->port);
#     $slow->port;                       # where clients connect
#     $slow->pace(0.3);                  # a reply each 0.3 s, per connection
#     $slow->hold;                       # none
#     $slow->pace(0);                    # at once, and those that waited
#     $slow->stop;

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(time);

sub new {
    my ($class, $to) = @_;
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
                                       ReuseAddr => 1) or die "listen: $!\n";
    my $self   = bless { port => $listen->sockport }, $class;

    pipe my $in, $self->{out} or die "pipe: $!\n";
    $self->{out}->autoflush(1);

    defined($self->{pid} = fork) or die "fork: $!\n";

    if ($self->{pid} == 0) {
        close $self->{out};
        eval { serve($listen, $in, $to) };
        warn $@ if $@;
        POSIX::_exit(0);
    }

    return $self;
}

sub port { $_[0]{port} }
sub hold { $_[0]->pace(1e9) }

sub pace {
    my ($self, $seconds) = @_;
    syswrite $self->{out}, "$seconds\n";
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    close $self->{out};
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

sub DESTROY { local $?; $_[0]->stop }

# Where the reply that begins at "at" ends; undef: not all of it is there.
sub reply_end {
    my ($text, $at) = @_;
    my $end = index $$text, "\r\n", $at;

    return if $end < 0;

    my $type = substr $$text, $at, 1;
    my $n    = substr $$text, $at + 1, $end - $at - 1;

    $end += 2;

    if ($type eq '$' && $n >= 0) {
        $end += $n + 2;

    } elsif ($type eq '*' && $n > 0) {
        for (1 .. $n) {
            $end = reply_end($text, $end);
            return if !defined $end;
        }
    }

    return $end <= length $$text ? $end : undef;
}

sub serve {
    my ($listen, $control, $to) = @_;
    my $select = IO::Select->new($listen, $control);
    my ($pace, %peer, %server) = (0);

    local $SIG{PIPE} = 'IGNORE';

    for (;;) {
        my $wait = 10;

        for my $s (values %server) {
            $wait = turn($s, $pace, $wait);
        }

        for my $fh ($select->can_read($wait)) {

            if ($fh == $control) {
                sysread $control, my $text, 256 or return;
                ($pace) = $text =~ /(\S+)\n\z/;
                $_->{last} = time for values %server;

            } elsif ($fh == $listen) {
                my $client = $listen->accept or next;
                my $redis  = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                                   PeerPort => $to) or next;
                $peer{$client} = $redis;
                $peer{$redis}  = $client;
                $server{$redis} = { client => $client, text => '',
                                    last => time };
                $select->add($client, $redis);

            } elsif (my $other = $peer{$fh}) {
                my $n = sysread $fh, my $text, 65536;

                if (!$n) {
                    $select->remove($fh, $other);
                    delete @server{$fh, $other};
                    delete @peer{$fh, $other};
                    close $_ for $fh, $other;

                } elsif (my $s = $server{$fh}) {
                    $s->{last} = time if $s->{text} eq '';
                    $s->{text} .= $text;

                } else {
                    syswrite $other, $text;
                }
            }
        }
    }
}

# Lets go what may go; for how long there is nothing more to do.
sub turn {
    my ($s, $pace, $wait) = @_;

    if ($pace == 0) {
        syswrite $s->{client}, $s->{text} if $s->{text} ne '';
        $s->{text} = '';
        return $wait;
    }

    my $end = reply_end(\$s->{text}, 0);

    return $wait if !defined $end;

    if (time >= $s->{last} + $pace) {
        syswrite $s->{client}, substr $s->{text}, 0, $end, '';
        $s->{last} = time;
        return 0;
    }

    my $left = $s->{last} + $pace - time;

    return $left < 0 ? 0 : $left < $wait ? $left : $wait;
}

1;
