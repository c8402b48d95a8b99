package Bench::Machine;

# What it was measured on: hardware, kernel, versions.  No names or paths.

use strict;
use warnings;

use Bench::Common qw(read_file $TOP $MOSQUITTO $NGINX);
use POSIX qw(uname strftime);

sub describe {
    my $cpu    = read_file('/proc/cpuinfo') // '';
    my $memory = read_file('/proc/meminfo') // '';
    my ($model) = $cpu =~ /^model name\s*:\s*(.+)$/m;
    my $cores   = () = $cpu =~ /^processor\s*:/mg;
    my ($kb)    = $memory =~ /^MemTotal:\s*(\d+) kB/m;

    return {
        date      => strftime('%Y-%m-%d', gmtime),
        cpu       => $model // 'unknown',
        cores     => $cores,
        memory    => sprintf('%.0f GiB', ($kb // 0) / 1_048_576),
        kernel    => (uname())[2],
        files     => (read_file('/proc/self/limits') // '')
                     =~ /^Max open files\s+\d+\s+(\d+)/m ? $1 : '',
        nginx     => version("$NGINX -v 2>&1", qr{nginx/(\S+)}),
        mosquitto => version("$MOSQUITTO -h", qr/version (\S+)/),
        nchan     => package_version('libnginx-mod-nchan'),
        openssl   => version('openssl version', qr/OpenSSL (\S+)/),
        commit    => version("git -C '$TOP' rev-parse --short=12 HEAD",
                             qr/^(\w+)/),
        changed   => version("git -C '$TOP' status --porcelain -uno",
                             qr/(\S)/) ? 1 : 0,
    };
}

sub version {
    my ($command, $pattern) = @_;
    my $text = `($command) 2> /dev/null` // '';
    return $text =~ $pattern ? $1 : undef;
}

sub package_version {
    my ($name) = @_;
    return version("dpkg-query -W -f '\${Version}' $name", qr/^(\S+)/);
}

1;
