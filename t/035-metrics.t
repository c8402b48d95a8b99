# push_metrics: Prometheus text that follows its rules, summed over workers,
# with the figures that a known course of events has to give.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::HTTP;
use Test::Nginx::Socket;
use POSIX ();
use Time::HiRes qw(sleep);

allow_alert('exited on signal 9');

repeat_each(1);
master_on();
workers(2);
plan tests => repeat_each() * 40;

add_block_preprocessor(sub {
    my ($block) = @_;

    return if defined $block->must_die;

    $block->set_value(config => <<'END') if ($block->config // '') eq '';
    location /v1/ { push_center; }
    location = /metrics { push_metrics; }
END

    $block->set_value(request => 'GET /metrics')
        if !defined $block->request;
});

sub text { Push::HTTP->new(port => http_port())->get('/metrics')->{body} }

# Each sample by its name and labels.
sub samples {
    my %value = text() =~ /^([a-z_]+(?:\{.*\})?) (\S+)$/mg;
    return \%value;
}

# Waits for one to be what it is to become.
sub becomes {
    my ($name, $value) = @_;
    my $is;

    for (1 .. 60) {
        $is = samples()->{$name} // 'missing';
        return "$name $is" if $is eq $value;
        sleep 0.1;
    }

    return "$name $is, not $value";
}

# What is wrong with the text, after the format's own description.
sub faults {
    my ($text) = @_;
    my (%type, %help, %seen, %done, @bad);
    my $name = '';

    push @bad, 'no newline at the end' if $text !~ /\n\z/;

    for my $line (split /\n/, $text) {
        if ($line =~ /^# HELP (\S+) \S.*\.$/) {
            $name = $1;
            push @bad, "$name: two HELP" if $help{$name}++;

        } elsif ($line =~ /^# TYPE (\S+) (counter|gauge)$/) {
            my ($of, $is) = ($1, $2);
            my $due = $name =~ /_total$/ ? 'counter' : 'gauge';

            push @bad, "TYPE $of behind $name" if $of ne $name;
            push @bad, "$name: two TYPE" if $type{$name};
            push @bad, "$name is a $is" if $is ne $due;
            $type{$name} = $is;
            push @bad, "$name lacks the prefix" if $name !~ /^ngx_push_/;

        } elsif ($line =~ /^([a-z_]+)(\{(?:[a-z_]+="[^"\\]*",?)*\})? (\d+(?:\.\d+)?)$/) {
            push @bad, "$1 in the group of $name" if $1 ne $name;
            push @bad, "twice: $line" if $seen{$1 . ($2 // '')}++;
            $done{$1}++;

        } else {
            push @bad, "line: $line";
        }
    }

    push @bad, "$_ has no sample" for grep { !$done{$_} } keys %type;
    return @bad;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: type, and not to be cached
--- request
GET /metrics
--- response_headers
Content-Type: text/plain; version=0.0.4; charset=utf-8
Cache-Control: no-store
--- response_body_like eval
qr/\A# HELP ngx_push_build_info .+
# TYPE ngx_push_build_info gauge
ngx_push_build_info\{version="\d+\.\d+\.\d+",nginx="[\d.]+"\} 1
/
--- no_error_log
[error]



=== TEST 2: HEAD
--- request
HEAD /metrics
--- response_headers
Content-Type: text/plain; version=0.0.4; charset=utf-8
--- response_body:
--- no_error_log
[error]



=== TEST 3: only to be read
--- request
POST /metrics
x
--- error_code: 405
--- response_headers
Allow: GET, HEAD
Content-Type: application/problem+json
--- response_body_like eval
qr/"type":"urn:ngx-push:problem:method-not-allowed"/
--- no_error_log
[error]



=== TEST 4: the format, at rest and after some traffic
--- mqtt eval
sub {
    my ($t) = @_;

    $t->say(main::faults(main::text()), 'before');

    my $c = $t->client(client => 'd1', user => 'shop/alice');
    $c->subscribe('shop/#');
    $t->push('users/alice', 'x') for 1 .. 3;
    $t->say(main::faults(main::text()), 'after');

    return $t->text;
}
--- mqtt_out
before
after
--- no_error_log
[error]



=== TEST 5: messages, by kind and event
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice');

    $c->subscribe('shop/#');
    $c->subscribe('shop/group/g');

    $t->push('users/alice', 'x') for 1 .. 4;
    $t->push('users/bob', 'x') for 1 .. 2;
    $t->push('groups/g', 'x') for 1 .. 3;
    $t->push('broadcast', 'x');
    $t->push('users/alice', 'x', TTL => 0);
    $t->push('users/bob', 'x', TTL => 0);

    for (1 .. 9) {
        my $p = $c->expect('PUBLISH');
        $c->puback($p->{id}) if $p->{id};
    }

    $c->publish('shop/up/x', 'x', qos => 1) for 1, 2;

    my $name = 'ngx_push_messages_total';
    $t->say(map { main::becomes("$name\{kind=\"$_->[0]\",event=\"$_->[1]\"}",
                                $_->[2]) }
            (['inbox', 'saved', 6], ['inbox', 'once', 1], ['inbox', 'sent', 5],
             ['group', 'saved', 3], ['group', 'sent', 3],
             ['broadcast', 'saved', 1], ['broadcast', 'sent', 1],
             ['uplink', 'saved', 2], ['uplink', 'sent', 0]));
    $t->say(main::becomes('ngx_push_messages_acked_total', 8));
    $t->say(main::becomes('ngx_push_messages_received_total', 2));
    $t->say(main::becomes('ngx_push_drops_total{reason="offline"}', 1));

    return $t->text;
}
--- mqtt_out
ngx_push_messages_total{kind="inbox",event="saved"} 6
ngx_push_messages_total{kind="inbox",event="once"} 1
ngx_push_messages_total{kind="inbox",event="sent"} 5
ngx_push_messages_total{kind="group",event="saved"} 3
ngx_push_messages_total{kind="group",event="sent"} 3
ngx_push_messages_total{kind="broadcast",event="saved"} 1
ngx_push_messages_total{kind="broadcast",event="sent"} 1
ngx_push_messages_total{kind="uplink",event="saved"} 2
ngx_push_messages_total{kind="uplink",event="sent"} 0
ngx_push_messages_acked_total 8
ngx_push_messages_received_total 2
ngx_push_drops_total{reason="offline"} 1
--- no_error_log
[error]



=== TEST 6: connections and sessions
--- mqtt eval
sub {
    my ($t) = @_;
    my @c = map { $t->client(client => "d$_", user => 'shop/alice',
                             version => $_ > 2 ? 5 : 4) } 1 .. 5;
    my $half = $t->socket;

    $t->say(map { main::becomes("ngx_push_connections{protocol=\"$_->[0]\"}",
                                $_->[1]) }
            ['mqtt3', 2], ['mqtt5', 3], ['mqtt5_tls', 0], ['handshake', 1]);
    $t->say(main::becomes('ngx_push_sessions{state="online"}', 5));

    $c[0]->disconnect;
    $c[2]->close;
    $half->close;

    $t->say(map { main::becomes("ngx_push_connections{protocol=\"$_->[0]\"}",
                                $_->[1]) }
            ['mqtt3', 1], ['mqtt5', 2], ['handshake', 0]);
    $t->say(map { main::becomes("ngx_push_sessions{state=\"$_->[0]\"}",
                                $_->[1]) }
            ['online', 3], ['lingering', 1], ['offline', 1]);
    $t->say(main::becomes('ngx_push_connects_total', 5));

    return $t->text;
}
--- mqtt_out
ngx_push_connections{protocol="mqtt3"} 2
ngx_push_connections{protocol="mqtt5"} 3
ngx_push_connections{protocol="mqtt5_tls"} 0
ngx_push_connections{protocol="handshake"} 1
ngx_push_sessions{state="online"} 5
ngx_push_connections{protocol="mqtt3"} 1
ngx_push_connections{protocol="mqtt5"} 2
ngx_push_connections{protocol="handshake"} 0
ngx_push_sessions{state="online"} 3
ngx_push_sessions{state="lingering"} 1
ngx_push_sessions{state="offline"} 1
ngx_push_connects_total 5
--- no_error_log
[error]



=== TEST 7: refusals of the API are drops with a reason
--- push
    zone 4m;
    product shop {
        api_key k publish;
        inbox_limit 2;
        anonymous on;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my $h = Push::HTTP->new(port => main::http_port());
    my $path = '/v1/shop/users/alice/messages';

    $h->post($path, 'x');
    $h->post($path, 'x', Authorization => 'Bearer x');
    $h->get('/v1/shop/users/alice', Authorization => 'Bearer k');
    $h->post($path, 'x' x 5000, Authorization => 'Bearer k');
    $h->post($path, 'x', Authorization => 'Bearer k') for 1 .. 5;

    $t->say(map { main::becomes("ngx_push_drops_total{reason=\"$_->[0]\"}",
                                $_->[1]) }
            ['denied', 3], ['too_large', 1], ['limit', 3], ['zone_full', 0]);

    return $t->text;
}
--- mqtt_out
ngx_push_drops_total{reason="denied"} 3
ngx_push_drops_total{reason="too_large"} 1
ngx_push_drops_total{reason="limit"} 3
ngx_push_drops_total{reason="zone_full"} 0
--- no_error_log
[error]



=== TEST 8: the zone and the workers
--- skip_eval: 3: Push::Test::embedded('what nobody here wants is not in the zone')
--- push
    zone 8m;
    mailbox 128;
    product shop {
        api_key $TEST_NGINX_API_KEY;
        anonymous on;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my $before = main::samples();

    $t->push('users/alice', 'x' x 2000) for 1 .. 3;

    my $v = main::samples();

    for my $class ('log', 'message', 'chunk', 'session') {
        my $label = "{class=\"$class\"}";
        $t->say("$class: $v->{qq(ngx_push_zone_records$label)}, "
                . ($v->{"ngx_push_zone_used_bytes$label"}
                   >= 32 * $v->{"ngx_push_zone_records$label"}
                   ? 'bytes' : 'no bytes') . ', '
                . ($v->{"ngx_push_zone_capacity_records$label"}
                   >= $v->{"ngx_push_zone_records$label"}
                   ? 'room' : 'no room'));
    }

    my ($size, $free) = map { $v->{"ngx_push_zone_${_}_bytes"} } qw(size free);
    my $taken = $before->{ngx_push_zone_free_bytes} - $free;

    $t->say("size $size", $free < $size && $taken > 0 && $taken % 16384 == 0
                          ? 'pages taken' : "free $free, taken $taken");

    $t->say(map { "$_: $v->{qq(ngx_push_workers{state=\"$_\"})}" }
            'live', 'draining', 'dead');
    $t->say("mailbox of $v->{ngx_push_mailbox_capacity}");

    for my $name (qw(worker_start_time_seconds worker_last_tick_time_seconds
                     mailbox_depth mailbox_resync))
    {
        my @of = grep { /^ngx_push_$name\{worker="\d+"\}$/ } keys %$v;
        my $in_range = grep { $name =~ /time/ ? abs(time - $v->{$_}) < 10
                                              : $v->{$_} == 0 } @of;
        $t->say("$name: $in_range of " . @of);
    }

    return $t->text;
}
--- mqtt_out
log: 1, bytes, room
message: 3, bytes, room
chunk: 6, bytes, room
session: 0, bytes, room
size 8388608
pages taken
live: 2
draining: 0
dead: 0
mailbox of 128
worker_start_time_seconds: 2 of 2
worker_last_tick_time_seconds: 2 of 2
mailbox_depth: 2 of 2
mailbox_resync: 2 of 2
--- no_error_log
[error]



=== TEST 9: counters stay when a worker dies, its gauges go
--- mqtt eval
sub {
    my ($t) = @_;
    my $c = $t->client(client => 'd1', user => 'shop/alice');
    $c->subscribe('shop/#');

    $t->push('users/alice', 'x') for 1 .. 5;
    main::becomes('ngx_push_messages_total{kind="inbox",event="sent"}', 5);

    my $file = main::test_dir() . '/servroot/logs/nginx.pid';
    open my $in, '<', $file or die "$file: $!\n";
    my $master = <$in> + 0;
    my @workers = split ' ', do {
        open my $c, '<', "/proc/$master/task/$master/children" or die "$!\n";
        <$c>;
    };
    kill 'KILL', @workers;

    $t->say(main::becomes('ngx_push_workers{state="live"}', 2));
    $t->say(main::becomes('ngx_push_connections{protocol="mqtt3"}', 0));
    $t->say(main::becomes('ngx_push_sessions{state="lingering"}', 1));
    $t->say(main::becomes('ngx_push_swept_sessions_total', 1));
    $t->say(main::becomes(
                'ngx_push_messages_total{kind="inbox",event="saved"}', 5));

    return $t->text;
}
--- mqtt_out
ngx_push_workers{state="live"} 2
ngx_push_connections{protocol="mqtt3"} 0
ngx_push_sessions{state="lingering"} 1
ngx_push_swept_sessions_total 1
ngx_push_messages_total{kind="inbox",event="saved"} 5
--- timeout: 10
--- no_error_log
[error]



=== TEST 10: push_metrics without push
--- push: none
--- room: none
--- config
    location = /metrics { push_metrics; }
--- must_die
--- error_log eval
qr/\[emerg\].*"push_metrics" needs a "push" block in .*nginx.conf:\d+/



=== TEST 11: push_metrics with an argument
--- config
    location = /metrics { push_metrics on; }
--- must_die
--- error_log
invalid number of arguments in "push_metrics" directive



=== TEST 12: push_metrics twice
--- config
    location = /metrics { push_metrics; push_metrics; }
--- must_die
--- error_log
"push_metrics" directive is duplicate



=== TEST 13: a turn of the event loop that takes long
--- config
    location = /metrics { push_metrics; }
    location = /slow {
        # its reader blocks until somebody writes
        auth_basic "slow";
        auth_basic_user_file $document_root/slow.fifo;
    }
--- mqtt eval
sub {
    my ($t) = @_;
    my $took = sub {
        my $m = main::samples();
        my ($max) = sort { $b <=> $a } map { $m->{$_} }
                    grep { /loop_stall_seconds_max/ } keys %$m;
        return $max;
    };

    my $fifo = main::html_dir() . '/slow.fifo';
    POSIX::mkfifo($fifo, 0666) or die "mkfifo $fifo: $!\n";

    my $after;

    # a second time where a busy machine reads late
    for (1 .. 20) {
        my $http = $t->http;
        $http->open;
        $http->send_raw("GET /slow HTTP/1.1\r\nHost: localhost\r\n"
                        . "Authorization: Basic dTpw\r\n\r\n");
        Time::HiRes::sleep(0.3);
        open my $writer, '>', $fifo or die "$fifo: $!\n";
        close $writer;
        $http->response('GET');
        $after = $took->();
        last if $after >= 0.2;
    }

    $t->say($after >= 0.2 && $after < 60 ? 'told' : $after);
    return $t->text;
}
--- mqtt_out
told
