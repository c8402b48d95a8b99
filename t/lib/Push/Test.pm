package Push::Test;

# What every suite needs around Test::Nginx.  Load it first:
#
#     use lib 't/lib';
#     use Push::Test;
#     use Test::Nginx::Socket;
#
# - It finds Test::Nginx (the genuine module, or util/testlib), the server,
#   our modules, free ports and a folder of the suite's own, unless util/test
#   or the environment has said so already.
#
# - It completes the configuration of a block.  Sections of our own:
#
#     --- push       inside of push { }; without it there is a product "shop"
#                    with the keys below.  "--- push: none" leaves push{} out.
#     --- room       inside of the stream server that listens on
#                    $TEST_NGINX_MQTT_PORT; default "push_room;".
#                    "--- room: none" leaves the server out.
#
#   Neither is added where main_config has such a block of its own.
#
# - It runs dialogues.  "--- mqtt eval" holds a sub that is called when the
#   server runs, with a Push::Dialogue (see there) as its argument, and
#   returns a text; "--- mqtt_out" is the text expected, or a regular
#   expression.  One test.  A block with a dialogue and no request asks for
#   "/", which makes the usual test of the status.
#
# - It fails the whole file, whatever the blocks asked for, if a server wrote
#   an [alert] or [emerg], a sanitizer report or a core.  allow_alert(PATTERN)
#   lists what a suite provokes.
#
# - With PUSH_TEST_STORE=redis it runs the same blocks on Redis: the suite gets
#   a redis-server of its own, and each block (each Push::Server) that names no
#   Redis itself a prefix of its own.  What is about the embedded store alone
#   says so: a suite by embedded_only(REASON) in front of its plan, a block by
#   "--- skip_eval: N: Push::Test::embedded('REASON')" for its N tests.

use strict;
use warnings;

use Exporter 'import';
use Fcntl qw(:flock);
use File::Path qw(make_path remove_tree);
use File::Spec;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More ();

our @EXPORT = qw(allow_alert api_key token mqtt_port http_port mqtts_port
                 test_dir certificate embedded embedded_only own_servers);

our $API_KEY = 'test-api-key';
our $SECRET  = 'test-secret-test-secret-test-secret';

my ($root, $dir, @allowed, @reserved, $owner, $temporary, @held);
my ($redis, $prefixes);

# Compiled before Test::Nginx is loaded, so that it runs after the server has
# been stopped.
END {
    if (defined $owner && $owner == $$) {
        my $status = $?;
        undef $redis;
        my @bad    = problems();

        Test::More::diag($_) for @bad;
        remove_tree($dir) if $temporary && !@bad;
        $? = $status || (@bad ? 1 : 0);
    }
}

SETUP: {
    $owner = $$;
    $root  = File::Spec->rel2abs(__FILE__) =~ s{/t/lib/Push/Test\.pm$}{}r;

    my $build   = File::Spec->rel2abs($ENV{BUILD} || 'build', $root);
    my ($suite) = $0 =~ m{([^/]+?)(?:\.t)?$};

    make_path("$build/t");

    # A suite named 9xx has the machine to itself, the others share it.
    hold("$build/t/.alone", $suite =~ /^9/ ? LOCK_EX : LOCK_SH);

    # The folder of a suite is kept for looking at; a second run at the same
    # time has one of its own.
    $dir = "$build/t/$suite" . (on_redis() ? '-redis' : '');
    if (!hold("$dir.lock", LOCK_EX | LOCK_NB)) {
        $dir .= ".$$";
        $temporary = 1;
    }

    remove_tree($dir);
    make_path($dir);

    my $first = free_ports(4);

    my %env = (
        TEST_NGINX_BINARY       => "$build/nginx",
        TEST_NGINX_SERVROOT     => "$dir/servroot",
        TEST_NGINX_LOAD_MODULES => join(' ', modules($build)),
        TEST_NGINX_PORT         => $first,
        TEST_NGINX_MQTT_PORT    => $first + 1,
        TEST_NGINX_MQTTS_PORT   => $first + 2,
        TEST_NGINX_SPARE_PORT   => $first + 3,
        TEST_NGINX_PUSH_DIR     => $dir,
        TEST_NGINX_API_KEY      => $API_KEY,
        TEST_NGINX_SECRET       => $SECRET,
    );

    $ENV{$_} //= $env{$_} for keys %env;

    # servers write their sanitizer reports here
    for my $name (qw(ASAN_OPTIONS UBSAN_OPTIONS)) {
        $ENV{$name} = join ':', "log_path=$dir/sanitizer", $ENV{$name} || ();
    }

    push @INC, "$root/util/testlib";
    require Test::Nginx::Socket;
}

# Takes a lock until the suite ends.
sub hold {
    my ($path, $how) = @_;

    open my $lock, '>>', $path or die "$path: $!\n";
    flock $lock, $how or return 0;
    push @held, $lock;
    return 1;
}

# A run of so many ports that nobody listens on.  Below the range that clients
# are given theirs from, and apart for suites that run at the same time: the
# name of a socket reserves a run as long as this process lives.
sub free_ports {
    my ($count) = @_;

    for my $try (0 .. 1000) {
        my $first = 10000 + ($$ + $try) * 16 % 20000;

        # first, for the look itself would be in another's way
        my $mark  = IO::Socket::UNIX->new(Type => SOCK_DGRAM,
                                          Local => "\0push_test_ports.$first")
            or next;
        push @reserved, $mark;

        my @held  = grep { $_ } map {
            IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $_,
                                  Listen => 1, ReuseAddr => 1)
        } $first .. $first + $count - 1;

        return $first if @held == $count;
    }

    die "no free ports\n";
}

# In the order in which nginx has to load them.
sub modules {
    my ($build) = @_;
    my $dir     = $ENV{MODULEDIR} || '/usr/lib/nginx/modules';

    return grep { -f }
           map({ "$dir/$_.so" } qw(ngx_stream_module ndk_http_module)),
           map({ "$build/ngx_push_${_}_module.so" }
               qw(core redis journal room center dispatch));
}

# --- the store

sub on_redis {
    my $store = $ENV{PUSH_TEST_STORE} // '';

    die "PUSH_TEST_STORE=$store?\n" if $store !~ /^(?:|memory|redis)$/;
    return $store eq 'redis';
}

# For skip_eval: is this block not to run on this store?
sub embedded {
    my ($reason) = @_;

    Test::More::note("embedded store only: $reason") if on_redis();
    return on_redis();
}

sub embedded_only {
    my ($reason) = @_;

    Test::More::plan(skip_all => "embedded store only: $reason")
        if on_redis();
}

# What push{} needs to use the store, for somebody who shares it with nobody.
sub store_conf {
    return '' if !on_redis();

    require Push::Redis;
    $redis //= Push::Redis->new(name => 'store')->start;
    return $redis->conf . ' redis_prefix t' . ++$prefixes . ':;';
}

# A configuration in which push{} uses it, unless it names a Redis.
sub with_store {
    my ($text, $conf) = @_;

    return $text if $text =~ /^\s*redis\s/m || $text =~ /[;{]\s*redis\s/;

    $text =~ s/^(\s*push\s*\{)/"$1 " . ($conf \/\/ store_conf())/me;
    return $text;
}

# The suite starts its servers itself: the one of a block has no part of ours,
# unless the block says otherwise.
sub own_servers {
    Test::Nginx::Socket::add_block_preprocessor(sub {
        my ($block) = @_;

        $block->set_value(push => 'none') if !defined $block->push;
        $block->set_value(room => 'none') if !defined $block->room;
    });
}

sub allow_alert { push @allowed, @_ }
sub api_key     { $API_KEY }
sub test_dir    { $dir }
sub http_port   { $ENV{TEST_NGINX_PORT} }
sub mqtt_port   { $ENV{TEST_NGINX_MQTT_PORT} }
sub mqtts_port  { $ENV{TEST_NGINX_MQTTS_PORT} }

# A token for a user of a product: token('alice'), or token('alice',
# aud => [...], exp => ..., secret => ...); an undefined claim is left out.
sub token {
    require Push::Token;
    my ($user, %claims) = @_;
    my $secret = delete $claims{secret} // $SECRET;

    return Push::Token::hs256($secret, { aud => 'shop', sub => $user,
                                         exp => time + 3600, %claims });
}

# (certificate, key): paths of a self-signed pair for localhost, made once.
sub certificate {
    my @paths = ("$dir/cert.pem", "$dir/key.pem");

    if (!-f $paths[1]) {
        system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
               . " -nodes -days 30 -subj /CN=localhost"
               . " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
               . " -out $paths[0] -keyout $paths[1] 2> /dev/null") == 0
            or die "openssl failed\n";
    }

    return @paths;
}


# --- the configuration of a block

sub default_push {
    return <<'END';
    zone 16m;
    node test;
    product shop {
        api_key $TEST_NGINX_API_KEY publish query operate;
        token_key hs256 $TEST_NGINX_SECRET;
        anonymous on;
    }
END
}

Test::Nginx::Socket::add_block_preprocessor(sub {
    my ($block) = @_;
    my $main    = $block->main_config // '';
    my $push    = $block->push // default_push();
    my $room    = $block->room // 'push_room;';

    if (defined $block->must_die) {
        $block->set_value(suppress_stderr => 1);

    } else {
        # beside the log that a block may look at, and kept over all blocks
        $main .= "\nerror_log $dir/alert.log alert;\nenv UBSAN_OPTIONS;\n";
    }

    if ($push !~ /^\s*none\s*$/ && $main !~ /^\s*push\s*\{/m) {
        $main .= "push {\n$push}\n";
    }

    if ($room !~ /^\s*none\s*$/ && $main !~ /^\s*stream\s*\{/m) {
        $main .= 'stream { server { listen $TEST_NGINX_MQTT_PORT; '
                 . "$room } }\n";
    }

    $main = with_store($main) if on_redis() && !defined $block->must_die;

    $block->set_value(main_config => $main);
    $block->set_value(config => '') if !defined $block->config;

    if (defined $block->mqtt && !defined $block->request) {
        $block->set_value(request => 'GET /');
    }
});

Test::Nginx::Socket::add_response_body_check(sub {
    my ($block, $body, $index, $repeat, $dry_run) = @_;
    my $dialogue = $block->mqtt;

    # once for a block, after the last of its requests
    my $request = $block->request;
    my $last = ref $request eq 'ARRAY' ? $#$request : 0;

    return if !defined $dialogue || $index != $last;

    require Push::Dialogue;

    my $name = $block->name . ' - dialogue';
    my $out  = eval { $dialogue->(Push::Dialogue->new) };
    $out = "died: $@" if $@;

    my $expected = $block->mqtt_out // bail("$name has no mqtt_out");

    if (ref $expected) {
        Test::More::like($out, $expected, $name);

    } else {
        s/\s*\z/\n/ for $out, $expected;
        Test::More::is($out, $expected, $name);
    }
});

sub bail { Test::Nginx::Socket::bail_out($_[0]) }


# --- what no suite may leave behind

sub problems {
    my @bad;

    for my $log (glob "$dir/alert.log $dir/*/alert.log") {
        open my $in, '<', $log or next;

        while (my $line = <$in>) {
            next if grep { $line =~ /$_/ } @allowed;
            push @bad, "in the error log: $line";
        }
    }

    for my $report (glob "$dir/sanitizer* $dir/*/sanitizer*") {
        next if -z $report;
        open my $in, '<', $report or next;
        my @head = grep { defined } map { scalar <$in> } 1 .. 30;
        push @bad, "sanitizer report $report:\n@head";
    }

    push @bad, "core file: $_"
        for grep { -f } glob "$dir/core* $dir/*/core* $root/core $root/core.*";

    return @bad;
}

1;
