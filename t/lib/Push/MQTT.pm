package Push::MQTT;

# A small MQTT client for tests, 3.1.1 and 5.  It writes what it is told, also
# what no client should, and reads packets as plain hashes.  It answers nothing
# of itself unless asked to ("auto"), so that a test sees every packet.
#
#     my $c = Push::MQTT->new(port => $port);         # TCP; tls => 1 for TLS
#     $c->connect(client => 'd1', user => 'alice', clean => 1);
#     $c->subscribe('shop/#');
#     my $p = $c->expect('PUBLISH');
#     $c->puback($p->{id});
#
# Every wait has a deadline ("timeout", seconds, default 5) and dies with the
# reason when it passes; poll() instead returns nothing.
#
# A packet read has: type (name), flags, raw, and what its type carries: id,
# topic, payload, qos, dup, retain, code, codes, session, props.  Properties
# are a hash by name (see %PROPERTY), "user" a list of [name, value].

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Push::MQTT::Packet qw(encode decode frame string);
use Time::HiRes qw(time sleep);

our $TIMEOUT = 5;

sub new {
    my ($class, %opt) = @_;
    my $self = bless {
        version => 4, timeout => $TIMEOUT, in => '', out => '', next_id => 1,
        queue => [], host => '127.0.0.1', auto => 0, %opt,
    }, $class;

    $self->open if !delete $opt{lazy};
    return $self;
}

# Connects the transport; nothing of MQTT is sent.
sub open {
    my ($self) = @_;

    @$self{qw(in out closed)} = ('', '', undef);
    $self->{queue} = [];

    my %to = (PeerAddr => $self->{host}, PeerPort => $self->{port},
              Timeout => $self->{timeout});

    if ($self->{tls}) {
        require IO::Socket::SSL;
        $self->{socket} = IO::Socket::SSL->new(
            %to, SSL_verify_mode => $self->{ca} ? 1 : 0,
            SSL_hostname => 'localhost',
            $self->{ca} ? (SSL_ca_file => $self->{ca}) : (),
        ) or die 'TLS: ' . IO::Socket::SSL::errstr() . "\n";

    } else {
        $self->{socket} = IO::Socket::INET->new(%to, Proto => 'tcp')
            or die "connect to port $self->{port}: $!\n";
    }

    $self->{socket}->blocking(0);
    return $self;
}


# --- sending

# Bytes as they are.
sub send_raw {
    my ($self, $bytes) = @_;
    my $end = time + $self->{timeout};

    $self->{out} .= $bytes;
    local $SIG{PIPE} = 'IGNORE';

    while ($self->{out} ne '') {
        my $n = syswrite $self->{socket}, $self->{out};

        if (defined $n) {
            substr($self->{out}, 0, $n) = '';

        } elsif ($!{EAGAIN} || $!{EINTR}) {
            die "timeout while sending\n" if time > $end;
            IO::Select->new($self->{socket})->can_write(0.05);

        } else {
            # what the server said before it closed is still to be read
            $self->{out} = '';
            return $self;
        }
    }

    return $self;
}

# A packet of this type from its fields.
sub send {
    my ($self, $type, %fields) = @_;

    return $self->send_raw(encode($self->{version}, $type, %fields));
}

sub id { my ($self) = @_; return $self->{next_id}++ % 65535 || $self->id }

# Sends CONNECT and returns the CONNACK; dies of anything else.  Fields:
# client, user, password, clean (default 1), keepalive (default 60), will =>
# {topic, payload, qos, retain, props}, props, and open => 1 for a new socket.
sub connect {
    my ($self, %opt) = @_;

    $self->open if delete $opt{open};
    $self->{connect} = { clean => 1, keepalive => 60, client => '', %opt };
    $self->send('CONNECT', %{$self->{connect}});

    return $self->expect('CONNACK');
}

# The same device again, over a new socket.
sub reconnect {
    my ($self, %change) = @_;

    $self->close;
    return $self->connect(%{$self->{connect}}, %change, open => 1);
}

# subscribe(FILTER | [FILTER, OPTIONS], ..., {props}): returns the SUBACK.
sub subscribe {
    my ($self, @filters) = @_;
    my $props = ref $filters[-1] eq 'HASH' ? pop @filters : {};
    my $id    = $self->id;

    $self->send('SUBSCRIBE', id => $id, props => $props,
                filters => [map { ref $_ ? $_ : [$_, 1] } @filters]);

    return $self->expect('SUBACK', id => $id);
}

sub unsubscribe {
    my ($self, @filters) = @_;
    my $id = $self->id;

    $self->send('UNSUBSCRIBE', id => $id, filters => \@filters);

    return $self->expect('UNSUBACK', id => $id);
}

# publish(TOPIC, PAYLOAD, qos => 1, ...): returns the PUBACK of a QoS 1.
sub publish {
    my ($self, $topic, $payload, %opt) = @_;

    $opt{qos} //= 0;
    $opt{id} //= $self->id if $opt{qos};
    $self->send('PUBLISH', topic => $topic, payload => $payload, %opt);

    return $opt{qos} == 1 ? $self->expect('PUBACK', id => $opt{id}) : undef;
}

sub puback {
    my ($self, $id, $code) = @_;
    return $self->send('PUBACK', id => $id, code => $code);
}

sub ping {
    my ($self) = @_;
    $self->send('PINGREQ');
    return $self->expect('PINGRESP');
}

sub disconnect {
    my ($self, $code, %props) = @_;

    $self->send('DISCONNECT', code => $code, props => \%props);
    return $self->close;
}

# Closes the socket without a word.
sub close {
    my ($self) = @_;

    CORE::close($self->{socket}) if $self->{socket};
    $self->{closed} //= 1;
    return $self;
}

# As close, but with a TCP reset: what a crash or a network looks like.
sub reset {
    my ($self) = @_;

    setsockopt $self->{socket}, Socket::SOL_SOCKET, Socket::SO_LINGER,
               pack 'ii', 1, 0;
    return $self->close;
}


# --- receiving

# Takes in what has arrived within so many seconds; false once the server has
# closed.
sub read_some {
    my ($self, $seconds) = @_;

    return 0 if $self->{closed};

    my $pending = $self->{tls} && $self->{socket}->pending;
    IO::Select->new($self->{socket})->can_read($seconds) if !$pending;

    my $n = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};

    if (defined $n ? $n == 0 : !$!{EAGAIN} && !$!{EINTR}) {
        $self->{closed} = 1;
    }

    while (my $raw = frame(\$self->{in})) {
        my $packet = decode($self->{version}, $raw);

        push @{$self->{queue}}, $packet;

        $self->puback($packet->{id})
            if $self->{auto} && $packet->{type} eq 'PUBLISH' && $packet->{qos};
    }

    return !$self->{closed};
}

# The next packet, if one comes within so many seconds (default: is here).
sub poll {
    my ($self, $seconds) = @_;
    my $end = time + ($seconds // 0);

    for (;;) {
        return shift @{$self->{queue}} if @{$self->{queue}};

        my $left = $end - time;
        $left = 0 if $left < 0;

        my $open = $self->read_some($left);

        next if @{$self->{queue}};
        return undef if !$open || time >= $end;
    }
}

# The next packet, which must be of this type and have these fields.
sub expect {
    my ($self, $type, %fields) = @_;
    my $timeout = delete $fields{timeout} // $self->{timeout};
    my $packet  = $self->poll($timeout);

    if (!$packet) {
        die "expected $type, but "
            . ($self->{closed} ? 'the server closed' : 'nothing came') . "\n";
    }

    die "expected $type, got " . $self->show($packet) . "\n"
        if $packet->{type} ne $type;

    for my $name (sort keys %fields) {
        my $got = $packet->{$name} // 'none';

        die "$type: $name is $got, not $fields{$name}\n"
            if $got ne $fields{$name};
    }

    return $packet;
}

# Nothing comes for so long, and the connection stays.
sub expect_nothing {
    my ($self, $seconds) = @_;
    my $packet = $self->poll($seconds);

    die 'expected nothing, got ' . $self->show($packet) . "\n" if $packet;
    die "expected nothing, but the server closed\n" if $self->{closed};
    return 1;
}

# The server closes, with no packet before.
sub expect_close {
    my ($self, $seconds) = @_;
    my $packet = $self->poll($seconds // $self->{timeout});

    die 'expected a close, got ' . $self->show($packet) . "\n" if $packet;
    die "expected a close, the connection stays\n" if !$self->{closed};
    return 1;
}

# All packets up to a quiet time.
sub drain {
    my ($self, $quiet) = @_;
    my @packets;

    while (my $packet = $self->poll($quiet // 0.3)) {
        push @packets, $packet;
    }

    return @packets;
}

# A packet as a line of a transcript.
sub show {
    my ($self, $packet) = @_;

    return 'close' if !$packet && $self->{closed};
    return 'nothing' if !$packet;

    my @parts = $packet->{type};

    for my $name (qw(session code id topic qos dup retain)) {
        push @parts, "$name=$packet->{$name}" if $packet->{$name};
    }

    push @parts, 'codes=' . join ',', @{$packet->{codes}} if $packet->{codes};
    push @parts, "\"$packet->{payload}\"" if defined $packet->{payload};

    return join ' ', @parts;
}

sub closed { $_[0]{closed} }

sub DESTROY {
    my ($self) = @_;
    local ($!, $@);
    $self->close if $self->{socket};
}

1;
