package Bench::Server::Nginx;

# What the servers that are an nginx have in common, and a plain one: HTTP with
# "listen ssl" and nothing else set.  A connection that has made its handshake
# and says nothing is the least that TLS costs in a stock nginx.
#
# Options: worker_connections, of each worker (for "connections" with room for
# an uneven spread).

use strict;
use warnings;

use parent 'Bench::Server';

use Bench::Common qw(fail write_file read_file $NGINX $MODULES);

sub missing { -x $NGINX ? '' : $NGINX }
sub ports   { 'http' }
sub binary  { $NGINX }

# master and workers
sub expected { 1 + $_[0]{workers} }

# paths of modules to load, text of main level, stream servers, http servers
sub modules { () }
sub main    { '' }
sub stream  { '' }

sub http {
    my ($self) = @_;
    my $listen = $self->listen('http');

    return <<"END";
    server {
        $listen
        client_header_timeout $self->{idle_seconds};
    }
END
}

# "listen" of a port that devices come to.  With several workers the kernel
# spreads the connections evenly; a shared queue leaves it to chance.
sub listen {
    my ($self, $port) = @_;
    my $reuse = $self->{workers} > 1 ? ' reuseport' : '';

    return "listen 127.0.0.1:$self->{ports}{$port} backlog=4096$reuse;"
        if !$self->{tls};

    my ($cert, $key) = $self->certificate;
    return "listen 127.0.0.1:$self->{ports}{$port} ssl backlog=4096$reuse;\n"
           . "        ssl_certificate $cert;\n"
           . "        ssl_certificate_key $key;";
}

# P-256, made once for all servers of a run
my @certificate;

sub certificate {
    my ($self) = @_;
    return @certificate if @certificate;

    my $dir = Bench::Common::temp_dir();
    my @pair = ("$dir/cert.pem", "$dir/key.pem");

    system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
           . " -nodes -days 2 -subj /CN=localhost -out $pair[0]"
           . " -keyout $pair[1] 2> /dev/null") == 0
        or fail('openssl could not make a certificate');

    # mosquitto reads it after it has given up root
    chmod 0644, @pair;
    return @certificate = @pair;
}

# slots of a worker that "connections" need
sub fair_slots {
    my ($self) = @_;
    my $fair = $self->{connections} / $self->{workers};

    return int($fair * 1.05 + 4 * sqrt($fair) + 128);
}

sub command {
    my ($self) = @_;
    my $dir   = $self->{dir};
    my $slots = $self->{worker_connections} // $self->fair_slots;
    my $files = $slots + 256 > 20_000 ? 20_000 : $slots + 256;
    my $load  = join '', map { "load_module $_;\n" } $self->modules;
    my $user  = $> == 0 ? 'user root root;' : '';
    my $temp  = join "\n", map { "    ${_}_temp_path $dir/$_;" }
                qw(client_body proxy fastcgi uwsgi scgi);

    write_file("$dir/nginx.conf", <<"END");
$load
$user
daemon off;
worker_processes $self->{workers};
worker_rlimit_nofile $files;
pid $dir/nginx.pid;
error_log $self->{log} warn;

events {
    worker_connections $slots;
}

@{[ $self->main ]}
@{[ $self->stream ]}
http {
    access_log off;
$temp
@{[ $self->http ]}
}
END

    return ($self->binary, '-p', "$dir/", '-c', "$dir/nginx.conf", '-e',
            $self->{log});
}

# For plain TLS connections only.
sub subscriber {
    my ($self) = @_;
    return ('--port', $self->port('http'), $self->{tls} ? '--tls' : (),
            '--subscriber', 'transport');
}

sub publisher { () }

1;
