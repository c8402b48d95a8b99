package Push::TLS;

# A connection by "openssl s_client", for what no library shows: records,
# KeyUpdate, renegotiation, tickets in files.
#
#     my $c = Push::TLS->new($port, '-tls1_3', '-msg');
#     $c->send(encode(4, 'CONNECT', ...));
#     $c->wait(qr/\x20\x02\0\0/);         # in all that it has printed
#     $c->command('K', qr/KEYUPDATE/);
#     $c->close;                          # and what it printed
#
# Waiting has a deadline (10 s) and dies with what has come.

use strict;
use warnings;

use IO::Select;
use POSIX ();
use Time::HiRes qw(time);

sub new {
    my ($class, $port, @options) = @_;
    my $self = bless { text => '', seen => 0 }, $class;

    pipe my $from, my $to or die "pipe: $!\n";
    my $pid = open $self->{in}, '|-';
    die "fork: $!\n" if !defined $pid;

    if ($pid == 0) {
        open STDOUT, '>&', $to;
        open STDERR, '>&', $to;
        { no warnings; exec 'openssl', 's_client', '-connect',
                            "127.0.0.1:$port", @options; }
        POSIX::_exit(127);
    }

    close $to;
    binmode $_ for $self->{in}, $from;
    $self->{in}->autoflush;
    $self->{from} = $from;
    return $self;
}

sub send {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';

    syswrite $self->{in}, $bytes;
    return $self;
}

# Takes in more; false at the end.
sub more {
    my ($self, $seconds) = @_;

    IO::Select->new($self->{from})->can_read($seconds) or return 1;
    return sysread $self->{from}, $self->{text}, 65536, length $self->{text};
}

# What matches, in what was printed since the last wait.
sub wait {
    my ($self, $pattern) = @_;
    my $end = time + 10;

    for (;;) {
        if (substr($self->{text}, $self->{seen}) =~ $pattern) {
            my $found = substr $self->{text}, $self->{seen}, $+[0];
            $self->{seen} += $+[0];
            return $found;
        }

        my $open = $self->more(0.1);
        last if !$open || time > $end;
    }

    die "openssl: no $pattern in:\n"
        . substr($self->{text}, $self->{seen}) . "\n";
}

sub command {
    my ($self, $letter, $pattern) = @_;
    return $self->send("$letter\n")->wait($pattern);
}

# All of it, when openssl has ended by itself.
sub ended {
    my ($self) = @_;
    my $end = time + 10;

    while ($self->more(0.1)) {
        die "openssl has not ended:\n$self->{text}\n" if time > $end;
    }

    return $self->{text};
}

sub close {
    my ($self) = @_;
    local $SIG{PIPE} = 'IGNORE';
    local ($?, $!);

    close delete $self->{in} if $self->{in};
    return $self->{text};
}

sub DESTROY { $_[0]->close }

1;
