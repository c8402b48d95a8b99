package Push::HTTP;

# A small HTTP client for tests: one connection, kept alive, requests one by
# one or pipelined.
#
#     my $h = Push::HTTP->new(port => $port, key => $api_key);
#     my $r = $h->post('/v1/shop/users/alice/messages', 'hello', TTL => 60);
#     $r->{status}, $r->{headers}{location}, $r->{body}, $r->{json}
#
# Header names of a response are in lower case.  json is there when the body
# says it is JSON.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Time::HiRes qw(time);

sub new {
    my ($class, %opt) = @_;
    return bless { host => '127.0.0.1', timeout => 5, in => '', %opt }, $class;
}

sub open {
    my ($self) = @_;

    $self->{in} = '';
    $self->{socket} = IO::Socket::INET->new(
        PeerAddr => $self->{host}, PeerPort => $self->{port},
        Proto => 'tcp', Timeout => $self->{timeout},
    ) or die "connect to port $self->{port}: $!\n";

    return $self;
}

sub close {
    my ($self) = @_;
    CORE::close(delete $self->{socket}) if $self->{socket};
}

sub get    { my ($self, $path, @h) = @_; $self->request('GET', $path, '', @h) }
sub delete { my ($self, $path, @h) = @_;
             $self->request('DELETE', $path, '', @h) }
sub post   { my ($self, $path, $body, @h) = @_;
             $self->request('POST', $path, $body, @h) }
sub put    { my ($self, $path, $body, @h) = @_;
             $self->request('PUT', $path, $body, @h) }

sub request {
    my ($self, @request) = @_;
    return ($self->pipeline([@request]))[0];
}

# Sends all requests [METHOD, PATH, BODY, HEADERS...] at once, and returns
# their responses.  A connection that the server closed while it was idle is
# opened anew, and so is one that it closes after some of the responses, as
# in a reload: those behind "Connection: close" have not been looked at
# (RFC 9112, 9.6) and are sent again.
sub pipeline {
    my ($self, @requests) = @_;
    my @responses;

    while (@requests) {
        $self->open if !$self->{socket} || $self->idle_closed;
        $self->send_raw(join '', map { $self->format(@$_) } @requests);

        do {
            push @responses, $self->response((shift @requests)->[0]);
        } while (@requests && $self->{socket});
    }

    return @responses;
}

sub format {
    my ($self, $method, $path, $body, %headers) = @_;
    my %all = (Host => 'localhost', %headers);

    $all{Authorization} //= "Bearer $self->{key}" if defined $self->{key};
    $all{'Content-Length'} //= length $body
        if defined $body && ($body ne '' || $method =~ /^P/);

    return "$method $path HTTP/1.1\r\n"
           . join('', map { "$_: $all{$_}\r\n" }
                      grep { defined $all{$_} } sort keys %all)
           . "\r\n" . ($body // '');
}

sub idle_closed {
    my ($self) = @_;

    return 0 if !IO::Select->new($self->{socket})->can_read(0);
    return !sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
}

sub send_raw {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';

    $self->open if !$self->{socket};

    while ($bytes ne '') {
        my $n = syswrite $self->{socket}, $bytes;
        die "send: $!\n" if !defined $n && !$!{EINTR};
        substr($bytes, 0, $n // 0) = '';
    }
}

sub fill {
    my ($self, $end) = @_;
    my $left = $end - time;

    die "HTTP: timeout\n"
        if $left <= 0 || !IO::Select->new($self->{socket})->can_read($left);

    return sysread $self->{socket}, $self->{in}, 65536, length $self->{in};
}

sub response {
    my ($self, $method) = @_;
    my $end = time + $self->{timeout};

    while ($self->{in} !~ /\r\n\r\n/) {
        $self->fill($end) or die "HTTP: the server closed\n";
    }

    $self->{in} =~ s/\A(.*?)\r\n\r\n//s;
    my ($status_line, @lines) = split /\r\n/, $1;
    my ($status) = $status_line =~ m{^HTTP/1\.[01] (\d{3})}
        or die "HTTP: bad status line: $status_line\n";

    my %headers;
    for my $line (@lines) {
        my ($key, $value) = split /:\s*/, $line, 2;
        $key = lc $key;
        $headers{$key} = exists $headers{$key} ? "$headers{$key}, $value"
                                               : $value;
    }

    my $body = '';
    if ($method ne 'HEAD' && $status !~ /^(?:1..|204|304)$/) {
        $body = $self->body(\%headers, $end);
    }

    $self->close if lc($headers{connection} // '') eq 'close';

    my $json;
    if ($method ne 'HEAD'
        && ($headers{'content-type'} // '')
           =~ m{^application/([\w.-]+\+)?json})
    {
        $json = JSON::PP->new->utf8->decode($body);
    }

    return { status => $status, headers => \%headers, body => $body,
             json => $json };
}

sub body {
    my ($self, $headers, $end) = @_;

    if (($headers->{'transfer-encoding'} // '') eq 'chunked') {
        my $body = '';

        for (;;) {
            $self->fill($end) || die "HTTP: the server closed\n"
                while $self->{in} !~ /\A([0-9A-Fa-f]+)[^\r\n]*\r\n/;

            my ($size, $head) = (hex $1, length $&);

            $self->fill($end) || die "HTTP: the server closed\n"
                while length $self->{in} < $head + $size + 2;

            $body .= substr $self->{in}, $head, $size;
            substr($self->{in}, 0, $head + $size + 2) = '';
            return $body if $size == 0;
        }
    }

    if (defined(my $n = $headers->{'content-length'})) {
        $self->fill($end) || die "HTTP: the body is cut short\n"
            while length $self->{in} < $n;

        return substr $self->{in}, 0, $n, '';
    }

    1 while $self->fill($end);
    return delete($self->{in}) . do { $self->{in} = ''; '' };
}

1;
