package Test::Nginx::Client;

# The client of a block: what its sections say is to be sent, the sending, and
# the parsing of what came back.

use strict;
use warnings;

use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use Test::More ();
use Test::Nginx::Server qw(:all);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(requests exchange parse_response);

my $pause = $ENV{TEST_NGINX_SLEEP} || 0.015;


# --- requests

# The requests of a block, each a list of packets {value, delay_before}, and
# how many responses each of them is to bring.
sub requests ($) {
    my ($block) = @_;
    my $name    = $block->name;

    if (defined(my $raw = $block->raw_request)) {
        return [[map { { value => $_ } } ref $raw ? @$raw : $raw]], 1;
    }

    if (defined(my $pipelined = $block->pipelined_requests)) {
        ref $pipelined eq 'ARRAY'
            or bail_out("$name - invalid entries in --- pipelined_requests");

        my $bytes = '';
        for my $i (0 .. $#$pipelined) {
            my $last = $i == $#$pipelined;
            my $text = expand($pipelined->[$i], $name);

            $bytes .= build($block, $i, $last ? 'close' : 'keep-alive',
                            $text)->[0]{value};
        }

        return [[{ value => $bytes }]], scalar @$pipelined;
    }

    my $request = $block->request;

    defined $request or bail_out("$name - request empty");

    return [map { build($block, $_, 'close', $request->[$_]) }
            0 .. $#$request], 1 if ref $request eq 'ARRAY';

    # comments and empty lines may come first
    1 while $request =~ s/^\s*#[^\n]+\s+|^\s+//;

    return [build($block, 0, 'close', $request)], 1;
}

# "Name: value" lines of --- more_headers, of the request with this index,
# and whether the body is chunked by the suite itself.
sub more_headers ($$) {
    my ($block, $index) = @_;
    my $text = $block->more_headers // '';

    if (ref $text) {
        $text = $text->[$index]
            // bail_out('--- more_headers lacks data for request ' . $index);
    }

    my ($out, $chunked) = ('', 0);

    for my $line (split /\n+/, $text) {
        next if $line =~ /^\s*#/;

        my ($key, $value) = split /:\s*/, $line, 2;

        $value //= '';
        $chunked = 1 if lc $key eq 'transfer-encoding' && $value eq 'chunked';
        $out .= "$key: $value\r\n";
    }

    return ($out, $chunked);
}

# Turns "METHOD [URL [VERSION]]\nbody", whole or in packets, into the bytes of
# a request.  The division into packets stays where it was in the body; all
# that is added goes with the packet that ends the request line.
sub build ($$$$) {
    my ($block, $index, $connection, $spec) = @_;
    my $name    = $block->name;
    my @packets = map { ref $_ ? { %$_ } : { value => $_ } }
                      ref $spec eq 'ARRAY' ? @$spec : $spec;
    my $whole   = join '', map { $_->{value} } @packets;
    my ($line, $body) = $whole =~ /\A([^\n]*\n?)(.*)\z/s;
    my ($method, $url, $version) = $line =~ /(\S+)/g;

    defined $method or bail_out("$name - Request line should be non-empty");
    length $packets[0]{value} >= length $line
        or bail_out("$name - the request line must be in the first packet");

    my ($more, $chunked) = more_headers($block, $index);
    my $head = join ' ', $method, $url // '/', $version // 'HTTP/1.1';

    $head .= "\r\n";
    $head .= 'Host: ' . server_name() . "\r\n" if $more !~ /^Host:/mi;
    $head .= "Connection: $connection\r\n" if $more !~ /^Connection/mi;
    $head .= $more;

    substr($packets[0]{value}, 0, length $line) = '';

    if ($body ne '' && !$chunked && $more !~ /^Content-Length:/m) {
        my ($left)  = $body =~ /\A(\s*)/;
        my ($right) = $body =~ /(\s*)\z/;

        $body =~ s/\A\s+|\s+\z//g;
        trim_packets(\@packets, length $left, length $right);
        $head .= 'Content-Length: ' . length($body) . "\r\n";
    }

    $packets[0]{value} = "$head\r\n$packets[0]{value}";

    return \@packets;
}

# Takes so many bytes from both ends of what the packets hold.
sub trim_packets ($$$) {
    my ($packets, $left, $right) = @_;

    for my $packet (@$packets) {
        my $n = length $packet->{value};

        $n = $left if $n > $left;
        substr($packet->{value}, 0, $n) = '';
        $left -= $n;
    }

    for my $packet (reverse @$packets) {
        my $n = length $packet->{value};

        $n = $right if $n > $right;
        substr($packet->{value}, -$n) = '' if $n;
        $right -= $n;
    }
}


# --- sending and receiving

sub connect_to_server ($$) {
    my ($block, $timeout) = @_;
    my $address = $block->server_addr_for_client || server_addr();
    my $end     = time + 10;

    for (;;) {
        my $socket = IO::Socket::INET->new(
            PeerAddr => $address,
            PeerPort => server_port_for_client(),
            Proto    => 'tcp',
            Timeout  => $timeout,
        );

        return $socket if $socket;
        last if time > $end;
        sleep 0.02;
    }

    return undef;
}

# Sends one request, and returns all that comes until the server closes.
# Reading goes on while sending, so that neither side can block the other.
sub exchange ($$) {
    my ($block, $packets) = @_;
    my $name    = $block->name;
    my $timeout = parse_time($block->timeout) // timeout();
    my $socket  = connect_to_server($block, $timeout);
    my ($got, $out, $first) = ('', '', 1);
    my @todo    = @$packets;

    if (!$socket) {
        Test::More::fail("$name - Can't connect to the server: $! (aborted)");
        return undef;
    }

    local $SIG{PIPE} = 'IGNORE';
    $socket->blocking(0);
    my $select = IO::Select->new($socket);

    for (;;) {
        if ($out eq '' && @todo) {
            my $packet = shift @todo;
            my $delay  = $packet->{delay_before}
                         // $block->raw_request_middle_delay // $pause;

            sleep $delay if !$first || $packet->{delay_before};
            $first = 0;
            $out = $packet->{value};
            utf8::encode($out) if utf8::is_utf8($out);
        }

        my ($readable, $writable) = IO::Select->select($select,
            $out ne '' ? $select : undef, undef, $timeout);

        if (!$readable) {
            Test::More::fail("ERROR: client socket timed out - $name")
                if !defined $block->abort;
            last;
        }

        if (@$readable) {
            my $n = sysread $socket, $got, 65536, length $got;

            last if defined $n && $n == 0;
            last if !defined $n && !$!{EAGAIN} && !$!{EINTR};
        }

        if ($writable && @$writable) {
            my $n = syswrite $socket, $out;

            if (defined $n) {
                substr($out, 0, $n) = '';

            } elsif (!$!{EAGAIN} && !$!{EINTR}) {
                # the server may have answered before it closed
                ($out, @todo) = ('');
            }

            if ($out eq '' && !@todo && defined $block->shutdown) {
                shutdown $socket, $block->shutdown =~ /(\d)/ ? $1 : 1;
            }
        }
    }

    close $socket;
    return $got;
}


# --- responses

# One response off the front of the bytes: {code, headers, raw_headers,
# content, left}.  Headers are [name, value] pairs.
sub parse_response ($$$) {
    my ($name, $bytes, $is_head) = @_;
    my %res = (code => '', headers => [], raw_headers => '',
               content => '', left => '');

    my ($head, $body) = $bytes =~ /\A(.*?\r?\n)\r?\n(.*)\z/s;

    my ($code) = ($head // '') =~ m{\AHTTP/\d\.\d[ ]+(\d{3})\b};

    if (!defined $code) {
        $res{content} = $bytes;
        return \%res;
    }

    $res{code} = $code;
    $res{raw_headers} = $head;

    my (undef, @lines) = split /\r?\n/, $head;
    for my $line (@lines) {
        my ($key, $value) = $line =~ /^([^:]+?)\s*:\s*(.*?)\s*$/ or next;
        push @{$res{headers}}, [$key, $value];
    }

    if ($res{code} =~ /^(?:304|101|204)$/ || $is_head) {
        $res{left} = $body;
        return \%res;
    }

    my $length = header(\%res, 'Content-Length');

    if ((header(\%res, 'Transfer-Encoding') // '') eq 'chunked') {
        dechunk($name, \%res, $body);

    } elsif (defined $length) {
        warn "WARNING: $name - response body truncated: $length expected,"
             . ' but got ' . length($body) . "\n" if length $body < $length;

        $res{content} = substr $body, 0, $length;
        $res{left} = length $body > $length ? substr $body, $length : '';

    } else {
        $res{content} = $body;
    }

    return \%res;
}

# All values of a header, as one; undef if it is not there.
sub header ($$) {
    my ($res, $name) = @_;
    my @values = map { $_->[1] } grep { lc $_->[0] eq lc $name }
                     @{$res->{headers}};

    return @values ? join(', ', @values) : undef;
}

sub dechunk ($$$) {
    my ($name, $res, $body) = @_;

    while ($body =~ /\G[ \t]*([0-9A-Fa-f]+)[^\r\n]*\r\n/gc) {
        my $size = hex $1;

        if ($size == 0) {
            $body =~ /\G(?:[^\r\n]+\r\n)*\r\n/gc or last;
            $res->{left} = substr $body, pos $body;
            return;
        }

        my $at = pos $body;
        last if length($body) < $at + $size + 2;
        last if substr($body, $at + $size, 2) ne "\r\n";

        $res->{content} .= substr $body, $at, $size;
        pos($body) = $at + $size + 2;
    }

    Test::More::fail("$name - invalid chunked data received");
}

1;
