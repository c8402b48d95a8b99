package Test::Nginx::Server;

# The nginx under test: its settings, its folder, its configuration for one
# block, start and stop.

use strict;
use warnings;

use Exporter 'import';
use File::Path qw(make_path remove_tree);
use File::Spec;
use IO::Socket::INET;
use List::Util qw(shuffle);
use POSIX qw(:sys_wait_h);
use Test::More ();
use Time::HiRes qw(sleep time);

our @SETTINGS = qw(
    env_to_nginx is_str repeat_each config_preamble worker_connections
    master_process_enabled no_long_string workers master_on master_off
    log_level no_shuffle no_root_location use_hup server_name server_addr
    server_root html_dir server_port server_port_for_client timeout
    no_nginx_manager check_accum_error_log add_block_preprocessor bail_out
    add_test_cleanup_handler add_cleanup_handler
);

our @EXPORT_OK = (@SETTINGS, qw(expand parse_time start stop binary_version
                                error_log_lines access_log_lines
                                reset_error_log));
our %EXPORT_TAGS = (all => \@EXPORT_OK);

our $ServerPort = $ENV{TEST_NGINX_SERVER_PORT} || $ENV{TEST_NGINX_PORT} || 1984;
our $ServRoot   = $ENV{TEST_NGINX_SERVROOT} || File::Spec->rel2abs('t/servroot');

$ENV{TEST_NGINX_SERVER_PORT} ||= $ServerPort;
$ENV{TEST_NGINX_SERVER_ROOT} = $ServRoot;

my %set = (
    repeat_each            => 1,
    worker_connections     => 64,
    workers                => 1,
    log_level              => $ENV{TEST_NGINX_LOG_LEVEL} || 'debug',
    server_name            => 'localhost',
    server_addr            => '127.0.0.1',
    server_port            => $ServerPort,
    server_port_for_client => $ENV{TEST_NGINX_CLIENT_PORT} || $ServerPort,
    timeout                => $ENV{TEST_NGINX_TIMEOUT} || 3,
    config_preamble        => '',
    master                 => $ENV{TEST_NGINX_MASTER_PROCESS} || 'off',
    shuffle                => !$ENV{TEST_NGINX_NO_SHUFFLE},
    long_string            => 1,
    root_location          => 1,
    accumulate_log         => $ENV{TEST_NGINX_CHECK_ACCUM_ERR_LOG},
);

my $binary   = $ENV{TEST_NGINX_BINARY} || 'nginx';
my $valgrind = $ENV{TEST_NGINX_USE_VALGRIND};
my $pause    = $ENV{TEST_NGINX_SLEEP} || 0.015;

my (@env, @preprocessors, @block_cleanups, @cleanups);
my ($owner, $child, $log_position) = ($$, undef, 0);
my %random_ports;


# --- settings, called by a suite before run_tests()

for my $name (qw(repeat_each worker_connections workers log_level server_name
                 server_addr server_port server_port_for_client timeout))
{
    no strict 'refs';
    *$name = sub (@) {
        $set{$name} = $_[0] if @_;
        return $set{$name};
    };
}

sub config_preamble ($)        { $set{config_preamble} = $_[0] }
sub no_shuffle ()              { $set{shuffle} = 0 }
sub no_long_string ()          { $set{long_string} = 0 }
sub no_root_location ()        { $set{root_location} = 0 }
sub check_accum_error_log ()   { $set{accumulate_log} = 1 }
sub master_on ()               { $set{master} = 'on' }
sub master_off ()              { $set{master} = 'off' }
sub server_root ()             { $ServRoot }
sub html_dir ()                { "$ServRoot/html" }
sub env_to_nginx (@)           { push @env, @_ }
sub add_block_preprocessor (&) { unshift @preprocessors, $_[0] }
sub add_cleanup_handler ($)    { push @cleanups, $_[0] }
sub add_test_cleanup_handler ($) { push @block_cleanups, $_[0] }
sub use_hup ()                 { bail_out('use_hup: not in the stand-in') }
sub no_nginx_manager ()        { bail_out('no_nginx_manager: not here') }

sub master_process_enabled (@) {
    $set{master} = $_[0] ? 'on' : 'off' if @_;
    return $set{master} eq 'on';
}

sub bail_out (@) {
    cleanup();
    Test::More::BAIL_OUT(@_);
}

sub is_str (@) {
    my ($got, $expected, $name) = @_;

    return Test::More::like($got, $expected, $name) if ref $expected;
    return Test::More::is($got, $expected, $name) if !$set{long_string};

    require Test::LongString;
    return Test::LongString::is_string($got, $expected, $name);
}

# The blocks of the suite, preprocessed as they come up.
sub ordered (@) {
    return $set{shuffle} ? shuffle(@_) : @_;
}

sub prepare ($) {
    my ($block) = @_;

    $_->($block) for @preprocessors;
    $block->set_value(name => "$0 " . $block->name);
    %random_ports = ();
}

sub finish ($) {
    $_->($_[0]) for @block_cleanups;
}

sub cleanup () {
    return if $$ != $owner;

    my @todo = splice @cleanups;
    $_->() for @todo;

    stop('cleanup') if !$ENV{TEST_NGINX_NO_CLEAN};
}


# --- texts

sub free_port () {
    for (1 .. 1000) {
        my $port = 1985 + int rand 30000;
        my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                           LocalPort => $port, Listen => 1);
        return $port if $socket && $port != $ServerPort;
    }

    bail_out('no free port');
}

# Replaces $TEST_NGINX_XXX by the environment's value.
sub expand ($$) {
    my ($text, $name) = @_;

    return $text if !defined $text || ref $text;

    $text =~ s{\$(TEST_NGINX_[_A-Z0-9]+)}{
        my $key = $1;

        if ($key =~ /^TEST_NGINX_RAND_PORT_\d+$/) {
            $random_ports{$key} ||= free_port();

        } elsif (defined $ENV{$key}) {
            $ENV{$key};

        } else {
            bail_out("$name - No environment $key defined.");
        }
    }ge;

    return $text;
}

# Seconds, from "3", "0.5s" or "50ms".
sub parse_time ($) {
    my ($time) = @_;

    return undef if !defined $time;
    return $1 / 1000 if $time =~ /^\s*([\d.]+)\s*ms\s*$/;
    return $1 if $time =~ /^\s*([\d.]+)\s*s?\s*$/;

    bail_out("bad time: $time");
}

# "1.22.1" as a number that compares.
sub binary_version () {
    my ($text) = `$binary -v 2>&1` =~ m{nginx/(\d+\.\d+\.\d+)};

    return 0 if !defined $text;
    return sprintf '%d%03d%03d', split /\./, $text;
}

sub write_file ($$) {
    my ($path, $text) = @_;

    open my $out, '>:raw', $path or bail_out("cannot write $path: $!");
    print $out $text;
    close $out or bail_out("cannot write $path: $!");
}

sub read_lines ($) {
    my ($path) = @_;

    open my $in, '<', $path or return [];
    return [<$in>];
}


# --- the folder and the configuration of a block

sub make_root ($) {
    my ($block) = @_;

    if (-d $ServRoot) {
        remove_tree(map { "$ServRoot/$_" } qw(conf html logs));
        remove_tree(glob "$ServRoot/*_temp $ServRoot/*_cache");
        rmdir $ServRoot
            or bail_out("Can't remove $ServRoot (not empty?): $!");
    }

    make_path(map { "$ServRoot/$_" } qw(conf html logs));
    write_file("$ServRoot/html/index.html",
               '<html><head><title>It works!</title></head>'
               . '<body>It works!</body></html>');
    write_user_files($block);
}

sub write_user_files ($) {
    my ($block) = @_;
    my $files   = $block->user_files;

    return if !defined $files;

    if (!ref $files) {
        my @parts = split /^>>>[ \t]+(\S+)(?:[ \t]+(\S+))?[ \t]*\n/m, $files;
        my @list;

        shift @parts;
        while (@parts) {
            my ($path, $date, $text) = splice @parts, 0, 3;
            push @list, [$path, $text, $date];
        }
        $files = \@list;
    }

    for my $file (@$files) {
        my ($path, $text, $date) = @$file;

        $path = "$ServRoot/html/$path" if $path !~ m{^/};
        my ($dir) = $path =~ m{^(.*)/};
        make_path($dir) if !-d $dir;

        write_file($path, expand($text // '', $block->name));

        if ($date) {
            local $ENV{TZ} = 'GMT';
            system('touch', '-t', $date, $path) == 0
                or bail_out("touch $path failed");
        }
    }
}

sub write_config ($$) {
    my ($block, $config) = @_;
    my $name  = $block->name;
    my %text  = map { $_ => expand($block->$_, $name) // '' }
                    qw(main_config http_config post_main_config);
    my $load  = join '', map { "load_module $_;\n" }
                    split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my $level = $block->log_level || $set{log_level};
    my $host  = $block->server_name || $set{server_name};
    my $daemon = $valgrind ? 'off' : 'on';
    my $envs  = join '', map { /\s/ ? "env '$_';\n" : "env $_;\n" }
                    qw(LD_PRELOAD LD_LIBRARY_PATH ASAN_OPTIONS
                       UBSAN_OPTIONS), @env;
    my $temps = join ' ', map { "${_}_temp_path $ServRoot/${_}_temp;" }
                    grep { $text{http_config} !~ /\b${_}_temp_path\b/ }
                    qw(client_body proxy fastcgi scgi uwsgi);
    my $root  = $set{root_location}
                ? "location / { root $ServRoot/html;"
                  . ' index index.html index.htm; }' : '';
    my $listen = $ENV{TEST_NGINX_REUSE_PORT} ? ' reuseport' : '';
    my $events = $ENV{TEST_NGINX_EVENT_TYPE}
                 ? "use $ENV{TEST_NGINX_EVENT_TYPE};" : '';
    my $user   = $ENV{TEST_NGINX_WORKER_USER} || ($> == 0 ? 'root' : '');

    $user = "user $user;" if $user;

    write_file("$ServRoot/conf/nginx.conf", <<"END");
worker_processes $set{workers};
daemon $daemon;
master_process $set{master};
error_log $ServRoot/logs/error.log $level;
pid $ServRoot/logs/nginx.pid;
$user
$envs
$load
$text{main_config}

http {
    access_log $ServRoot/logs/access.log;
    $temps
    default_type text/plain;
    keepalive_timeout 68;

$text{http_config}
    server {
        listen $set{server_port}$listen;
        server_name '$host';
        client_max_body_size 30M;

$set{config_preamble}
$config

        $root
    }
}

$text{post_main_config}

events {
    accept_mutex off;
    worker_connections $set{worker_connections};
    $events
}
END
}


# --- start and stop

sub command ($) {
    my ($block) = @_;
    my $command = "$binary -e $ServRoot/logs/error.log -p $ServRoot/"
                  . " -c $ServRoot/conf/nginx.conf > /dev/null";

    $command .= ' 2> /dev/null' if defined $block->suppress_stderr;

    if (defined $ENV{TEST_NGINX_LD_PRELOAD}) {
        $command = "LD_PRELOAD='$ENV{TEST_NGINX_LD_PRELOAD}' $command";
    }

    return $command;
}

# Runs nginx for this block, and returns the status of the command; it has
# become a daemon if that is 0.
sub start ($$) {
    my ($block, $config) = @_;

    stop($block->name);
    make_root($block);
    write_config($block, $config);
    $log_position = 0;

    return start_valgrind($block)
        if $valgrind && !defined $block->must_die;

    return system(command($block));
}

sub start_valgrind ($) {
    my ($block) = @_;
    my $options = $valgrind =~ /^\d+$/
                  ? '--tool=memcheck --leak-check=full' : $valgrind;
    my $command = command($block);

    $options .= ' --gen-suppressions=all --suppressions=valgrind.suppress'
        if -f 'valgrind.suppress';

    Test::More::diag($block->name);

    $child = fork // bail_out("fork() failed: $!");
    if ($child == 0) {
        exec "exec valgrind --num-callers=50 -q $options $command"
            or POSIX::_exit(127);
    }

    my $end = time + 60;
    while (!running_pid() && time < $end) {
        return 1 << 8 if waitpid($child, WNOHANG) == $child;
        sleep 0.05;
    }

    return 0;
}

sub running_pid () {
    my ($pid) = @{read_lines("$ServRoot/logs/nginx.pid")};

    return undef if !defined $pid || $pid !~ /^(\d+)\s*$/;
    return is_alive($1) ? $1 : undef;
}

# Exists, and has not just ended: a daemon is reaped by init, which may take
# its time.
sub is_alive ($) {
    my ($pid) = @_;

    return 0 if !kill 0, $pid;

    my ($stat) = @{read_lines("/proc/$pid/stat")};
    return !defined $stat || $stat !~ /\) Z /;
}

sub gone ($$) {
    my ($pid, $seconds) = @_;
    my $end = time + $seconds;

    for (;;) {
        waitpid($child, WNOHANG) if $child;
        return 1 if !is_alive($pid);
        return 0 if time > $end;
        sleep 0.01;
    }
}

sub stop ($) {
    my ($name) = @_;
    my $pid    = running_pid() or return;
    my $wait   = $valgrind ? 30 : $set{timeout};

    kill $ENV{TEST_NGINX_FAST_SHUTDOWN} ? 'TERM' : 'QUIT', $pid;

    if (!gone($pid, $wait)) {
        warn "$name - timeout when waiting for the process $pid to exit";
        kill 'TERM', $pid;

        if (!gone($pid, 1)) {
            kill 'KILL', $pid;
            gone($pid, 3);
        }
    }

    undef $child;
    unlink "$ServRoot/logs/nginx.pid";
}


# --- logs

sub reset_error_log () { $log_position = 0 }

# The lines that came since the last call, or all with
# check_accum_error_log().
sub error_log_lines () {
    sleep $pause * 3;

    open my $in, '<', "$ServRoot/logs/error.log" or return [];

    seek $in, $log_position, 0 if !$set{accumulate_log};

    my @lines = <$in>;
    $log_position = tell $in;

    return \@lines;
}

sub access_log_lines () {
    sleep $pause * 3;
    return read_lines("$ServRoot/logs/access.log");
}

END {
    local $?;
    cleanup();
}

1;
