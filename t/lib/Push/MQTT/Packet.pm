package Push::MQTT::Packet;

# MQTT packets to bytes and back, for both versions (4 is 3.1.1).  The encoder
# does not check: a test may want a packet that is wrong.

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(encode decode frame string binary varint properties
                    %TYPE %PROPERTY);

our %TYPE = (
    CONNECT => 1, CONNACK => 2, PUBLISH => 3, PUBACK => 4, PUBREC => 5,
    PUBREL => 6, PUBCOMP => 7, SUBSCRIBE => 8, SUBACK => 9, UNSUBSCRIBE => 10,
    UNSUBACK => 11, PINGREQ => 12, PINGRESP => 13, DISCONNECT => 14,
    AUTH => 15,
);

my %type_name = reverse %TYPE;

# name => [identifier, form]
our %PROPERTY = (
    payload_format         => [1, 'C'],
    message_expiry         => [2, 'N'],
    content_type           => [3, 'string'],
    response_topic         => [8, 'string'],
    correlation_data       => [9, 'binary'],
    subscription_id        => [11, 'varint'],
    session_expiry         => [17, 'N'],
    assigned_client        => [18, 'string'],
    server_keep_alive      => [19, 'n'],
    auth_method            => [21, 'string'],
    auth_data              => [22, 'binary'],
    request_problem        => [23, 'C'],
    will_delay             => [24, 'N'],
    request_response       => [25, 'C'],
    response_information   => [26, 'string'],
    server_reference       => [28, 'string'],
    reason                 => [31, 'string'],
    receive_maximum        => [33, 'n'],
    topic_alias_maximum    => [34, 'n'],
    topic_alias            => [35, 'n'],
    maximum_qos            => [36, 'C'],
    retain_available       => [37, 'C'],
    user                   => [38, 'pair'],
    maximum_packet_size    => [39, 'N'],
    wildcard_available     => [40, 'C'],
    subscription_id_available => [41, 'C'],
    shared_available       => [42, 'C'],
);

my %by_id = map { $PROPERTY{$_}[0] => [$_, $PROPERTY{$_}[1]] } keys %PROPERTY;


# --- elements

sub string { pack 'n/a*', $_[0] }
sub binary { pack 'n/a*', $_[0] }

sub varint {
    my ($n) = @_;
    my $out = '';

    do {
        my $byte = $n % 128;
        $n = int $n / 128;
        $out .= chr($byte | ($n ? 128 : 0));
    } while $n;

    return $out;
}

# From position $$at; undef if it is cut short or longer than four bytes.
sub read_varint {
    my ($bytes, $at) = @_;
    my ($n, $shift) = (0, 0);

    while ($$at < length $bytes && $shift < 28) {
        my $byte = ord substr $bytes, $$at++, 1;

        $n |= ($byte & 127) << $shift;
        return $n if $byte < 128;
        $shift += 7;
    }

    return undef;
}

sub properties {
    my ($props) = @_;
    my $out = '';

    for my $name (sort keys %{$props || {}}) {
        my ($id, $form) = @{$PROPERTY{$name} || die "property $name?\n"};
        my $value = $props->{$name};
        my @values = $form eq 'pair' ? map({ string($_->[0])
                                             . string($_->[1]) } @$value)
                   : $form eq 'string' || $form eq 'binary' ? string($value)
                   : $form eq 'varint' ? varint($value)
                   :                     pack $form, $value;

        $out .= chr($id) . $_ for @values;
    }

    return varint(length $out) . $out;
}

sub read_string {
    my ($bytes, $at) = @_;
    my $n = unpack 'n', substr $bytes, $$at, 2;
    my $value = substr $bytes, $$at + 2, $n;

    $$at += 2 + $n;
    return $value;
}

sub read_properties {
    my ($bytes, $at) = @_;
    my %props;

    return {} if $$at >= length $bytes;

    my $end = read_varint($bytes, $at) // die "bad property length\n";
    $end += $$at;
    die "properties beyond the packet\n" if $end > length $bytes;

    while ($$at < $end) {
        my $id = read_varint($bytes, $at);
        my ($name, $form) = @{$by_id{$id} || die "property $id?\n"};

        if ($form eq 'pair') {
            my $key = read_string($bytes, $at);
            push @{$props{$name}}, [$key, read_string($bytes, $at)];
            next;
        }

        # of two subscriptions: "1,2"
        if ($name eq 'subscription_id' && exists $props{$name}) {
            $props{$name} .= ',' . read_varint($bytes, $at);
            next;
        }

        die "property $name twice\n" if exists $props{$name};

        if ($form eq 'string' || $form eq 'binary') {
            $props{$name} = read_string($bytes, $at);

        } elsif ($form eq 'varint') {
            $props{$name} = read_varint($bytes, $at);

        } else {
            $props{$name} = unpack $form, substr $bytes, $$at, 4;
            $$at += length pack $form, 0;
        }
    }

    die "properties do not end at their length\n" if $$at != $end;
    return \%props;
}


# --- packets to bytes

my %encode = (
    CONNECT     => \&encode_connect,
    PUBLISH     => \&encode_publish,
    SUBSCRIBE   => \&encode_subscribe,
    UNSUBSCRIBE => \&encode_unsubscribe,
);

# "flags" overrides the flags of the first byte, "length" the length told.
sub encode {
    my ($version, $type, %f) = @_;
    my $number = $TYPE{$type} // die "packet $type?\n";
    my ($flags, $body) = (0, '');

    if ($encode{$type}) {
        ($flags, $body) = $encode{$type}->($version, %f);

    } else {
        $flags = 2 if $type eq 'PUBREL';
        $body = pack 'n', $f{id} if defined $f{id};

        if ($version == 5 && (defined $f{code} || %{$f{props} || {}})) {
            $body .= chr($f{code} // 0);
            $body .= properties($f{props}) if %{$f{props} || {}};
        }
    }

    return chr($number << 4 | ($f{flags} // $flags))
           . varint($f{length} // length $body) . $body;
}

sub encode_connect {
    my ($version, %f) = @_;
    my $will  = $f{will};
    my $flags = ($f{clean} ? 2 : 0)
                | ($will ? 4 | ($will->{qos} // 0) << 3
                           | ($will->{retain} ? 32 : 0) : 0)
                | (defined $f{password} ? 64 : 0)
                | (defined $f{user} ? 128 : 0);

    my $body = string($f{protocol} // 'MQTT') . chr($f{level} // $version)
               . chr($f{connect_flags} // $flags)
               . pack('n', $f{keepalive} // 0);

    $body .= properties($f{props}) if $version == 5;
    $body .= string($f{client} // '');

    if ($will) {
        $body .= properties($will->{props}) if $version == 5;
        $body .= string($will->{topic}) . binary($will->{payload});
    }

    $body .= string($f{user}) if defined $f{user};
    $body .= binary($f{password}) if defined $f{password};

    return (0, $body);
}

sub encode_publish {
    my ($version, %f) = @_;
    my $qos  = $f{qos} // 0;
    my $body = string($f{topic});

    $body .= pack 'n', $f{id} // 0 if $qos;
    $body .= properties($f{props}) if $version == 5;

    return (($f{dup} ? 8 : 0) | $qos << 1 | ($f{retain} ? 1 : 0),
            $body . ($f{payload} // ''));
}

sub encode_subscribe {
    my ($version, %f) = @_;
    my $body = pack 'n', $f{id};

    $body .= properties($f{props}) if $version == 5;
    $body .= join '', map { string($_->[0]) . chr $_->[1] } @{$f{filters}};

    return (2, $body);
}

sub encode_unsubscribe {
    my ($version, %f) = @_;
    my $body = pack 'n', $f{id};

    $body .= properties($f{props}) if $version == 5;
    $body .= join '', map { string($_) } @{$f{filters}};

    return (2, $body);
}


# --- bytes to packets

# Takes one whole packet off the front of the buffer, if it is there.
sub frame {
    my ($buffer) = @_;
    my $at = 1;
    my $length = read_varint($$buffer, \$at);

    if (!defined $length) {
        die "bad remaining length\n" if length $$buffer >= 5;
        return undef;
    }

    return undef if length $$buffer < $at + $length;
    return substr $$buffer, 0, $at + $length, '';
}

my %decode = (
    CONNACK  => \&decode_connack,
    PUBLISH  => \&decode_publish,
    SUBACK   => \&decode_codes,
    UNSUBACK => \&decode_codes,
    DISCONNECT => \&decode_code,
    AUTH     => \&decode_code,
    map { $_ => \&decode_ack } qw(PUBACK PUBREC PUBREL PUBCOMP),
);

# A packet of a server as a hash; dies of what a server must not send.
sub decode {
    my ($version, $raw) = @_;
    my $at = 1;
    my $type = $type_name{ord($raw) >> 4} // die "packet of type 0\n";

    read_varint($raw, \$at);

    my %p = (type => $type, flags => ord($raw) & 15, raw => $raw);
    my $body = substr $raw, $at;

    $decode{$type}->($version, \%p, $body) if $decode{$type};
    return \%p;
}

sub decode_connack {
    my ($version, $p, $body) = @_;
    my $at = 2;

    die "CONNACK of " . length($body) . " bytes\n"
        if length $body < 2 || $version == 4 && length $body != 2;

    @$p{qw(session code)} = unpack 'CC', $body;
    $p->{props} = read_properties($body, \$at) if $version == 5;
}

sub decode_publish {
    my ($version, $p, $body) = @_;
    my $at = 0;

    @$p{qw(dup qos retain)} = ($p->{flags} >> 3, $p->{flags} >> 1 & 3,
                               $p->{flags} & 1);
    $p->{topic} = read_string($body, \$at);

    if ($p->{qos}) {
        $p->{id} = unpack 'n', substr $body, $at, 2;
        $at += 2;
        die "PUBLISH with packet id 0\n" if $p->{id} == 0;
    }

    $p->{props} = read_properties($body, \$at) if $version == 5;
    $p->{payload} = substr $body, $at;
}

sub decode_ack {
    my ($version, $p, $body) = @_;
    my $at = 3;

    $p->{id} = unpack 'n', $body;
    $p->{code} = length $body > 2 ? ord substr $body, 2, 1 : 0;
    $p->{props} = length $body > 3 ? read_properties($body, \$at) : {};
}

sub decode_codes {
    my ($version, $p, $body) = @_;
    my $at = 2;

    $p->{id} = unpack 'n', $body;
    $p->{props} = read_properties($body, \$at) if $version == 5;
    $p->{codes} = [unpack 'C*', substr $body, $at];
}

sub decode_code {
    my ($version, $p, $body) = @_;
    my $at = 1;

    $p->{code} = length $body ? ord $body : 0;
    $p->{props} = length $body > 1 ? read_properties($body, \$at) : {};
}

1;
