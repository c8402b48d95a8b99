package Push::RESP;

# A small Redis client for tests: one connection, requests one by one or
# pipelined.
#
#     my $r = Push::RESP->new(port => $port);          # or path => SOCKET
#     $r->command('HGETALL', $key);     # dies with the text of an error reply
#     my @replies = $r->pipeline(['GET', 'a'], ['GET', 'b']);
#
# Replies are texts, numbers, undef or references to arrays; in a pipeline an
# error is a Push::RESP::Error, which reads as its text.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Time::HiRes qw(time);

sub new {
    my ($class, %opt) = @_;
    return bless { host => '127.0.0.1', timeout => 5, in => '', %opt }, $class;
}

sub open {
    my ($self) = @_;

    $self->{in} = '';
    $self->{socket} = defined $self->{path}
        ? IO::Socket::UNIX->new(Peer => $self->{path})
        : IO::Socket::INET->new(PeerAddr => $self->{host}, Proto => 'tcp',
                                PeerPort => $self->{port},
                                Timeout => $self->{timeout});

    $self->{socket}
        or die 'redis: ' . ($self->{path} // $self->{port}) . ": $!\n";

    $self->command('AUTH', $self->{user} // (), $self->{password})
        if defined $self->{password};

    return $self;
}

sub close {
    my ($self) = @_;
    CORE::close(delete $self->{socket}) if $self->{socket};
}

sub command {
    my ($self, @args) = @_;
    my ($reply) = $self->pipeline([@args]);

    die "redis: $reply\n" if ref $reply eq 'Push::RESP::Error';
    return $reply;
}

# On any failure the connection is given up; the next command has a new one.
sub pipeline {
    my ($self, @commands) = @_;
    local $SIG{PIPE} = 'IGNORE';

    my @replies = eval {
        $self->open if !$self->{socket};
        $self->send(join '', map { encode(@$_) } @commands);

        my $end = time + $self->{timeout};
        map { $self->reply($end) } @commands;
    };

    if ($@) {
        my $why = $@;
        $self->close;
        die $why;
    }

    return @replies;
}

sub encode {
    return join '', '*' . @_ . "\r\n",
                map { '$' . length($_) . "\r\n$_\r\n" } @_;
}

sub send {
    my ($self, $bytes) = @_;

    while ($bytes ne '') {
        my $n = syswrite $self->{socket}, $bytes;
        die "redis: send: $!\n" if !defined $n && !$!{EINTR};
        substr($bytes, 0, $n // 0) = '';
    }
}

sub fill {
    my ($self, $end) = @_;
    my $left = $end - time;

    die "redis: timeout\n"
        if $left <= 0 || !IO::Select->new($self->{socket})->can_read($left);

    sysread($self->{socket}, $self->{in}, 65536, length $self->{in})
        or die "redis: the server closed\n";
}

sub reply {
    my ($self, $end) = @_;

    $self->fill($end) while $self->{in} !~ /\A(.)([^\r\n]*)\r\n/s;

    my ($type, $value) = ($1, $2);
    substr($self->{in}, 0, length($value) + 3) = '';

    return $value                          if $type eq '+' || $type eq ':';
    return bless \$value, 'Push::RESP::Error'          if $type eq '-';
    return $value < 0 ? undef
                      : [map { $self->reply($end) } 1 .. $value]
        if $type eq '*';

    die "redis: strange reply $type\n" if $type ne '$';
    return undef if $value < 0;

    $self->fill($end) while length $self->{in} < $value + 2;
    return substr substr($self->{in}, 0, $value + 2, ''), 0, $value;
}

package Push::RESP::Error;

use overload '""' => sub { ${$_[0]} }, fallback => 1;

1;
