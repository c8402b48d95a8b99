package Bench::Server::Mosquitto;

# mosquitto, one process.  Its limits are those of push_window and of our
# inboxes; everything else is its default but for Nagle's algorithm, which
# would cost it latency.

use strict;
use warnings;

use parent 'Bench::Server';

use Bench::Common qw(write_file $MOSQUITTO);
use Bench::Server::Nginx;

sub missing { -x $MOSQUITTO ? '' : $MOSQUITTO }
sub ports   { 'mqtt' }

sub command {
    my ($self) = @_;
    my $tls = '';

    if ($self->{tls}) {
        my ($cert, $key) = Bench::Server::Nginx->certificate;
        $tls = "certfile $cert\nkeyfile $key\n";
    }

    write_file("$self->{dir}/mosquitto.conf", <<"END");
listener $self->{ports}{mqtt} 127.0.0.1
${tls}allow_anonymous true
persistence false
set_tcp_nodelay true
max_inflight_messages 100
max_queued_messages 10000
allow_duplicate_messages true
log_type error
END

    return ($MOSQUITTO, '-c', "$self->{dir}/mosquitto.conf");
}

# It knows no inboxes: there, each device has a topic of its own, and when
# something is published push-bench's own names do.
sub subscriber {
    my ($self, $test) = @_;

    return ('--port', $self->port('mqtt'), $self->{tls} ? '--tls' : (),
            $test->{mode} =~ /^(?:connect|idle)$/ ? ('--topic', '%U') : ());
}

sub publisher { () }

1;
