package Bench::Common;

# Where things are, and small helpers for files.
#
# From the environment, with defaults: BUILD build, NGINX_MODULES
# /usr/lib/nginx/modules, MOSQUITTO /usr/sbin/mosquitto, NGINX
# /usr/sbin/nginx (for the servers that are not ours).

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use IO::Socket::INET;
use File::Temp qw(tempdir);
use JSON::PP;

our @EXPORT_OK = qw(fail note read_file write_file read_json write_json
                    free_port temp_dir build_tool
                    $TOP $BUILD $RESULTS $MODULES $MOSQUITTO $NGINX);

our $TOP   = abs_path(dirname(__FILE__) . '/../../..');
our $BUILD = $ENV{BUILD} // 'build';
$BUILD = "$TOP/$BUILD" if $BUILD !~ m{^/};

our $RESULTS   = "$BUILD/bench";
our $MODULES   = $ENV{NGINX_MODULES} // '/usr/lib/nginx/modules';
our $MOSQUITTO = $ENV{MOSQUITTO} // '/usr/sbin/mosquitto';
our $NGINX     = $ENV{NGINX} // '/usr/sbin/nginx';

sub note { print STDERR "util/bench: @_\n" }

sub fail {
    note(@_);
    exit 1;
}

sub read_file {
    my ($path) = @_;
    open my $in, '<', $path or return undef;
    local $/;
    return scalar <$in>;
}

sub write_file {
    my ($path, $text) = @_;
    open my $out, '>', $path or fail("$path: $!");
    print $out $text;
    close $out or fail("$path: $!");
}

# undef if there is no such file, or nothing sensible in it
sub read_json {
    my ($path) = @_;
    my $text = read_file($path) // return undef;
    return eval { decode_json($text) };
}

sub write_json {
    my ($path, $data) = @_;
    write_file($path, JSON::PP->new->pretty->canonical->encode($data));
}

sub free_port {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                       LocalPort => 0, Listen => 1)
        or fail("no free port: $!");
    return $socket->sockport;
}

# One folder for a run of the program, gone when it ends.
my $temp;

sub temp_dir {
    return $temp if $temp;

    $temp = tempdir('push-bench-XXXXXX', TMPDIR => 1, CLEANUP => 1);

    # mosquitto gives up root and must still reach its configuration
    chmod 0755, $temp;
    return $temp;
}

# Builds util/NAME into BUILD; false if there is no such tool or it does not
# build.
sub build_tool {
    my ($name) = @_;

    return 0 if !-f "$TOP/util/$name/Makefile";
    return system('make', '-s', '--no-print-directory', '-C',
                  "$TOP/util/$name", "BUILD=$BUILD") == 0
           && -x "$BUILD/$name";
}

1;
