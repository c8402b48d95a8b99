package Bench::Server::Ours;

# nginx with ngx_push, as README.md says to set it up.
#
# Options: zone ("512m"); file, a path for the zone (none); node ("bench");
# push and product, more lines for these blocks; redis and journal, the values
# of these directives (none).

use strict;
use warnings;

use parent 'Bench::Server::Nginx';

use Bench::Common qw($BUILD $MODULES);

our $API_KEY = 'bench-only-api-key';

sub missing {
    return join ' ', grep { !-f "$BUILD/$_" }
        'nginx', map { "ngx_push_${_}_module.so" } qw(core room center);
}

sub ports  { ('mqtt', 'http') }
sub binary { "$BUILD/nginx" }

sub modules {
    my ($self) = @_;
    my @parts = ('core', (grep { $self->{$_} } qw(redis journal)),
                 qw(room center));

    return ("$MODULES/ngx_stream_module.so", "$MODULES/ndk_http_module.so",
            map { "$BUILD/ngx_push_${_}_module.so" } @parts);
}

sub main {
    my ($self) = @_;
    my $zone = $self->{zone} // '512m';
    my $file = $self->{file} ? " file=$self->{file}" : '';
    my $node = $self->{node} // 'bench';
    my ($push, $product) = map { $self->{$_} // '' } qw(push product);
    my $more = join '', map { "    $_ $self->{$_};\n" }
               grep { $self->{$_} } qw(redis journal);

    return <<"END";
push {
    zone $zone$file;
    node $node;
$more    $push

    product bench {
        api_key $API_KEY;
        anonymous on;
        $product
    }
}
END
}

sub stream {
    my ($self) = @_;
    my $listen = $self->listen('mqtt');

    return <<"END";
stream {
    server {
        $listen
        push_room;
        push_window 100;
    }
}
END
}

# Applications publish in the clear here, as to the others.  Their few
# connections stay on one queue, so that any worker may take them.
sub http {
    my ($self) = @_;

    return <<"END";
    server {
        listen 127.0.0.1:$self->{ports}{http} backlog=4096;
        keepalive_requests 1000000000;

        location /v1/ {
            push_center;
        }

        location = /metrics {
            push_metrics;
        }
    }
END
}

sub subscriber {
    my ($self) = @_;
    return ('--port', $self->port('mqtt'), $self->{tls} ? '--tls' : ());
}

sub publisher {
    my ($self, $test) = @_;
    my @qos = $test->{mode} eq 'broadcast' && $test->{qos} == 0
              ? ('--header', 'QoS: 0') : ();

    return ('--http', '127.0.0.1:' . $self->port('http'), '--api-key',
            $API_KEY, @qos);
}

1;
