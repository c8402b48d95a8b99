# A short slice of "make bench": the load generator goes through its modes and
# finds nothing lost, misordered or misdirected.  Speed is not judged here.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Server;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 12;

add_block_preprocessor(sub {
    my ($block) = @_;

    # each run has a server of its own
    $block->set_value(push => 'none');
    $block->set_value(room => 'none');
});

# The end of what push-bench says: its verdict, or what went wrong.
sub bench {
    my ($mode, @options) = @_;
    my $build = $ENV{BUILD} || 'build';
    my $s = Push::Server->new(
        workers => 2, product => 'broadcast_limit 100000;',
        http => 'keepalive_requests 10000000; location /v1/ { push_center; }'
    )->start;

    system("make -s -C util/push-bench BUILD=\$PWD/$build") == 0
        or die "push-bench is not built\n";

    my $command = join ' ', "$build/push-bench", $mode, @options,
        '--product shop --connections 300',
        '--port', $s->mqtt_port, "--http 127.0.0.1:@{[$s->http_port]}",
        '--api-key', Push::Test::api_key(),
        '--duration 1 --warmup 0.2 --timeout 20 --quiet 2>&1';
    my $out = `$command`;
    my $status = $? >> 8;

    $s->stop;

    return "$1\n" if $status == 0 && $out =~ /^(ok)$/m;
    return "status $status\n$out";
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: connect and bind
--- mqtt eval
sub { main::bench('connect') }
--- mqtt_out
ok



=== TEST 2: unicast, MQTT 5
--- mqtt eval
sub { main::bench('unicast', '--mqtt 5') }
--- mqtt_out
ok



=== TEST 3: unicast, two devices a user, MQTT 3.1.1
--- mqtt eval
sub { main::bench('unicast', '--per-user 2') }
--- mqtt_out
ok



=== TEST 4: broadcast, QoS 1
--- mqtt eval
sub { main::bench('broadcast') }
--- mqtt_out
ok



=== TEST 5: groups
--- mqtt eval
sub { main::bench('group') }
--- mqtt_out
ok



=== TEST 6: a storm of drops and returns
--- mqtt eval
sub { main::bench('storm', '--rate 500 --storm 20') }
--- mqtt_out
ok
