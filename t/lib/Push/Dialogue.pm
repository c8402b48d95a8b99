package Push::Dialogue;

# What a "--- mqtt" section works with: clients of the server of its block,
# and a transcript.
#
#     --- mqtt eval
#     sub {
#         my ($t) = @_;
#         my $c = $t->client(client => 'd1', user => 'alice');
#         $t->say($c->show($c->subscribe('shop/#')));
#         $t->say($t->push('users/alice', 'hello')->{status});
#         $t->see($c);
#         return $t->text;
#     }
#     --- mqtt_out
#     SUBACK id=1 codes=1
#     201
#     PUBLISH id=1 topic=shop/inbox qos=1 "hello"

use strict;
use warnings;

use Push::HTTP;
use Push::MQTT;
use Push::Test ();

# Without options it speaks to the server of the current block of Test::Nginx.
sub new {
    my ($class, %opt) = @_;

    return bless {
        host      => '127.0.0.1',
        mqtt_port => $ENV{TEST_NGINX_MQTT_PORT},
        http_port => $ENV{TEST_NGINX_PORT},
        product   => 'shop',
        key       => $Push::Test::API_KEY,
        text      => '',
        %opt,
    }, $class;
}

# A client that is not connected yet: socket(version => 5, ...)
sub socket {
    my ($self, %opt) = @_;
    return Push::MQTT->new(host => $self->{host}, port => $self->{mqtt_port},
                           %opt);
}

# A client that is connected; dies if it was refused.  Options of the client
# are version, tls, auto, timeout, port; the others are those of CONNECT.
sub client {
    my ($self, %opt) = @_;
    my %of = map { exists $opt{$_} ? ($_ => delete $opt{$_}) : () }
             qw(version tls ca auto timeout port);
    my $client = $self->socket(%of);
    my $ack = $client->connect(%opt);

    die 'refused: ' . $client->show($ack) . "\n" if $ack->{code};
    return $client;
}

sub http {
    my ($self) = @_;
    return $self->{http} //= Push::HTTP->new(host => $self->{host},
                                             port => $self->{http_port},
                                             key => $self->{key});
}

# push('users/alice', PAYLOAD, HEADERS): the response of the center.
sub push {
    my ($self, $target, $payload, @headers) = @_;
    my $path = $target eq 'broadcast' ? 'broadcasts' : "$target/messages";

    return $self->http->post("/v1/$self->{product}/$path", $payload,
                             @headers);
}

sub say {
    my ($self, @lines) = @_;
    $self->{text} .= "$_\n" for @lines;
}

# The next packet of a client, whatever it is, as a line; returns it.
sub see {
    my ($self, $client, $seconds) = @_;
    my $packet = $client->poll($seconds // $client->{timeout});

    $self->say($client->show($packet));
    return $packet;
}

sub text { $_[0]{text} }

1;
