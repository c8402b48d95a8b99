package Bench::Server::Nchan;

# Nchan, Debian's module in a stock nginx: a WebSocket subscriber for each
# device, a channel for each user and one for broadcasts, HTTP publishing.  It
# keeps the last ten messages of a channel in memory (its default) and asks
# for no acknowledgement: what it is measured at is QoS 0.

use strict;
use warnings;

use parent 'Bench::Server::Nginx';

use Bench::Common qw($MODULES $NGINX);

sub missing {
    return join ' ', grep { !-e } $NGINX, "$MODULES/ngx_nchan_module.so";
}

sub modules { "$MODULES/ngx_nchan_module.so" }

sub http {
    my ($self) = @_;
    my $listen = $self->listen('http');
    my $memory = $self->{zone} // '512m';

    return <<"END";
    nchan_shared_memory_size $memory;

    server {
        $listen
        keepalive_requests 1000000000;

        location = /sub {
            nchan_subscriber websocket;
            nchan_channel_id \$arg_id;
        }

        location = /pub {
            nchan_publisher;
            nchan_channel_id \$arg_id;
        }
    }
END
}

sub subscriber {
    my ($self, $test) = @_;

    return ('--port', $self->port('http'), '--subscriber', 'websocket',
            '--websocket-path', '/sub?id=' . channel($test));
}

sub publisher {
    my ($self, $test) = @_;

    return ('--http', '127.0.0.1:' . $self->port('http'),
            '--http-url-template', '/pub?id=' . channel($test));
}

sub channel { $_[0]{mode} eq 'broadcast' ? 'all' : '%U' }

1;
