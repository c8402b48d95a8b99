# Clients that others have written: mosquitto's, paho for Python, MQTT.js.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Push::Devices;
use Push::Server;
use Test::Nginx::Socket;
use IO::Select;
use IPC::Open2;
use Time::HiRes ();

repeat_each(1);
plan tests => repeat_each() * 18;

own_servers();

my %command = (
    paho   => ['/usr/bin/python3', 't/clients/paho_client.py'],
    mqttjs => ['node', 't/clients/mqttjs_client.js'],
);

system('t/clients/setup') == 0 or die "no MQTT.js\n";
$ENV{NODE_PATH} = 'build/clients/node_modules';

my $ROOM = 'server { listen {{mqtt}}; listen {{mqtts}} ssl; push_room;
                     ssl_certificate {{cert}};
                     ssl_certificate_key {{certkey}}; }';

sub server { return Push::Server->new(room => $ROOM, @_)->start }

# A process whose lines are read as they come.
sub spawn {
    my (@command) = @_;
    my $pid = open2(my $out, my $in, @command);

    $in->autoflush(1);
    return { pid => $pid, out => $out, in => $in, text => '' };
}

sub order { print {$_[0]{in}} "$_[1]\n" }

# The next line; dies when none comes.
sub line {
    my ($p, $seconds) = @_;
    my $end = Time::HiRes::time() + ($seconds // 30);

    while ($p->{text} !~ /\n/) {
        my $left = $end - Time::HiRes::time();

        die "no line came, but \"$p->{text}\"\n"
            if $left <= 0 || !IO::Select->new($p->{out})->can_read($left);
        sysread $p->{out}, $p->{text}, 65536, length $p->{text}
            or die "the client has ended\n";
    }

    $p->{text} =~ s/\A(.*)\n//;
    return $1;
}

# The next lines that match; others in between are passed over.
sub lines {
    my ($p, $pattern, $count) = @_;
    my @got;

    while (@got < $count) {
        my $line = line($p);
        push @got, $line if $line =~ $pattern;
    }

    return @got;
}

# Ends it by the end of its input, mosquitto's by a signal; its output to the
# end.  One that does not leave is killed: a signal at the wrong moment makes
# mosquitto_sub wait for itself.
sub finish {
    my ($p) = @_;
    my $end = Time::HiRes::time() + 25;

    close $p->{in};
    kill 'TERM', $p->{pid} if $p->{kill};
    $end -= 20 if $p->{kill};

    for (;;) {
        my $left = $end - Time::HiRes::time();

        if ($left <= 0) {
            kill 'KILL', $p->{pid};
            last;
        }

        next if !IO::Select->new($p->{out})->can_read($left);
        sysread $p->{out}, $p->{text}, 65536, length $p->{text} or last;
    }

    waitpid $p->{pid}, 0;
    return $p->{text};
}

sub client {
    my ($kind, $s, %of) = @_;

    %of = (port => $s->mqtt_port, client => 'd', user => 'shop/u', %of);
    return spawn(@{$command{$kind}}, map { "$_=$of{$_}" } sort keys %of);
}

# What every library has to get through.
sub scenario {
    my ($t, $kind, $version) = @_;
    my $s = server(push => 'drain_time 0;', product => 'group_publish on;');
    my $c = client($kind, $s, version => $version, window => 5);
    my $d = $s->dialogue;

    # bind, receive, publish
    $t->say(line($c));
    order($c, 'subscribe shop/#');
    order($c, 'subscribe shop/group/g');
    $t->say(lines($c, qr/^subscribed/, 2));
    publish_many($d->http, 'users/u', [1 .. 20]);
    my @got = map { /^message shop\/inbox (\S+) dup=0$/ ? $1 : $_ }
              lines($c, qr/^message/, 20);
    $t->say('received ' . counted(@got));
    order($c, 'publish shop/group/g hello');
    $t->say(sort(lines($c, qr/^message|^published/, 2)));
    order($c, 'publish shop/up/kind text');
    lines($c, qr/^published/, 1);
    my $up = $d->http->get('/v1/shop/uplink')->{json}{messages}[0];
    $t->say("uplink $up->{type} $up->{payload} $up->{user} $up->{device}");

    # cut by the server
    $s->reload;
    $t->say(lines($c, qr/^(?:dis)?connected/, 2));
    publish_many($s->dialogue->http, 'users/u', ['after']);
    $t->say(lines($c, qr/^message/, 1));

    # offline, and back
    order($c, 'disconnect');
    lines($c, qr/^disconnected/, 1);
    publish_many($s->dialogue->http, 'users/u', [21 .. 40]);
    order($c, 'connect');
    $t->say(lines($c, qr/^connected/, 1));
    @got = map { /^message shop\/inbox (\S+) dup=0$/ ? $1 : $_ }
           lines($c, qr/^message/, 20);
    $t->say('received ' . counted(@got));

    # the worker dies; nobody is told
    $s->kill_worker('KILL', 0);
    $s->kill_worker('KILL', 0);
    $t->say(lines($c, qr/^connected/, 1));
    order($c, 'exit');
    finish($c);

    # taken over by another process
    my $one = client($kind, $s, version => $version, once => 1);
    $t->say(line($one));
    my $two = client($kind, $s, version => $version);
    $t->say(line($two));
    my $end = (lines($one, qr/^disconnected/, 1))[0];
    $t->say($version == 5 ? $end : 'disconnected');
    $s->dialogue->push('users/u', 'to the second');
    $t->say(lines($two, qr/^message/, 1));
    order($_, 'exit') for $one, $two;
    finish($_) for $one, $two;
    $s->stop;
    return $t->text;
}

# TLS and a token
sub secure {
    my ($t, $kind, $version) = @_;
    my $s = server();
    my ($ca) = certificate();
    my %of = (port => $s->mqtts_port, ca => $ca, version => $version,
              user => 'any');
    my $c = client($kind, $s, %of, password => token('alice'));

    $t->say(line($c));
    order($c, 'subscribe shop/#');
    $t->say(line($c));
    $s->dialogue->push('users/alice', 'over TLS');
    $t->say(line($c));
    order($c, 'exit');
    finish($c);

    my $wrong = client($kind, $s, %of, once => 1,
                       password => token('alice', secret => 'x' x 32));
    my ($line) = lines($wrong, qr/code=[1-9]/, 1);
    $t->say($line =~ /code=(?:5|135|134)$/ ? 'not authorized' : $line);
    finish($wrong);
    $s->stop;
    return $t->text;
}

# mosquitto_sub as a process; -F writes topic and payload
sub mosquitto_sub {
    my ($port, @options) = @_;

    my $p = spawn('mosquitto_sub', '-h', 'localhost', '-p', $port, '-q', 1,
                  '-F', '%t %p', @options);
    $p->{kill} = 1;
    return $p;
}

allow_alert(qr/exited on signal 9/);

no_shuffle();
run_tests();

__DATA__

=== TEST 1: paho, 3.1.1
--- mqtt eval
sub { main::scenario($_[0], 'paho', 4) }
--- mqtt_out
connected session=0 code=0
subscribed 1
subscribed 1
received 1..20
message shop/group/g hello dup=0
published
uplink kind text u d
disconnected code=7
connected session=1 code=0
message shop/inbox after dup=0
connected session=1 code=0
received 21..40
connected session=1 code=0
connected session=1 code=0
connected session=1 code=0
disconnected
message shop/inbox to the second dup=0



=== TEST 2: paho, 5
--- mqtt eval
sub { main::scenario($_[0], 'paho', 5) }
--- mqtt_out
connected session=0 code=0
subscribed 1
subscribed 1
received 1..20
message shop/group/g hello dup=0
published
uplink kind text u d
disconnected code=139
connected session=1 code=0
message shop/inbox after dup=0
connected session=1 code=0
received 21..40
connected session=1 code=0
connected session=1 code=0
connected session=1 code=0
disconnected code=142
message shop/inbox to the second dup=0



=== TEST 3: MQTT.js, 3.1.1
--- mqtt eval
sub { main::scenario($_[0], 'mqttjs', 4) }
--- mqtt_out
connected session=0 code=0
subscribed 1
subscribed 1
received 1..20
message shop/group/g hello dup=0
published
uplink kind text u d
disconnected code=0
connected session=1 code=0
message shop/inbox after dup=0
connected session=1 code=0
received 21..40
connected session=1 code=0
connected session=1 code=0
connected session=1 code=0
disconnected
message shop/inbox to the second dup=0



=== TEST 4: MQTT.js, 5
--- mqtt eval
sub { main::scenario($_[0], 'mqttjs', 5) }
--- mqtt_out
connected session=0 code=0
subscribed 1
subscribed 1
received 1..20
message shop/group/g hello dup=0
published
uplink kind text u d
disconnected code=139
connected session=1 code=0
message shop/inbox after dup=0
connected session=1 code=0
received 21..40
connected session=1 code=0
connected session=1 code=0
connected session=1 code=0
disconnected code=142
message shop/inbox to the second dup=0



=== TEST 5: paho, TLS and a token, 5
--- mqtt eval
sub { main::secure($_[0], 'paho', 5) }
--- mqtt_out
connected session=0 code=0
subscribed 1
message shop/inbox over TLS dup=0
not authorized



=== TEST 6: MQTT.js, TLS and a token, 5
--- mqtt eval
sub { main::secure($_[0], 'mqttjs', 5) }
--- mqtt_out
connected session=0 code=0
subscribed 1
message shop/inbox over TLS dup=0
not authorized



=== TEST 7: mosquitto_sub and mosquitto_pub, both versions, offline and cut
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(push => 'drain_time 0;', product => 'group_publish on;');
    my $d = $s->dialogue;

    for my $v ('mqttv311', 'mqttv5') {
        my @as = ('-V', $v, '-u', "shop/$v", '-i', 'd');
        my @sub = (@as, '-c', $v eq 'mqttv5' ? ('-x', 3600) : (),
                   '-t', 'shop/#', '-t', 'shop/group/g');
        my $c = main::mosquitto_sub($s->mqtt_port, @sub);

        main::eventually('it is bound', sub {
            (main::device_of($s, $v, 'd') // {})->{bound};
        });
        main::publish_many($d->http, "users/$v", [1 .. 10]);
        $t->say("$v: " . main::counted(map { /^shop\/inbox (\d+)$/ ? $1 : $_ }
                                       main::lines($c, qr/./, 10)));

        # another one publishes
        system('mosquitto_pub', '-h', 'localhost', '-p', $s->mqtt_port, @as,
               '-i', 'p', '-q', 1, '-t', 'shop/group/g', '-m', 'from a device')
            == 0 or die "mosquitto_pub failed\n";
        $t->say(main::line($c));

        # it connects again after a reload; with MQTT 5 it has been told to
        # leave, and does
        $s->reload;
        $d = $s->dialogue;

        if ($v eq 'mqttv5') {
            main::finish($c);
            $c = main::mosquitto_sub($s->mqtt_port, @sub);
        }

        main::publish_many($d->http, "users/$v", ['after']);
        $t->say(main::line($c));
        main::finish($c);

        # offline
        main::eventually('it is gone', sub {
            main::device_of($s, $v, 'd')->{state} ne 'online';
        });
        main::publish_many($d->http, "users/$v", [11 .. 20]);
        $c = main::mosquitto_sub($s->mqtt_port, @sub, '-C', 10);
        $t->say("$v: " . main::counted(map { /^shop\/inbox (\d+)$/ ? $1 : $_ }
                                       main::lines($c, qr/./, 10)));
        main::finish({ %$c, kill => 0 });
    }

    $s->stop;
    return $t->text;
}
--- mqtt_out
mqttv311: 1..10
shop/group/g from a device
shop/inbox after
mqttv311: 11..20
mqttv5: 1..10
shop/group/g from a device
shop/inbox after
mqttv5: 11..20



=== TEST 8: mosquitto_sub over TLS with a token, and without a good one
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server();
    my ($ca) = main::certificate();
    my $d = $s->dialogue;

    # with an inbox of its own: a new device is sent what another had just now
    for my $v ('mqttv311', 'mqttv5') {
        my $user = "alice-$v";
        my @of = ('-V', $v, '--cafile', $ca, '-u', 'any', '-t', 'shop/#',
                  '-i', $v);
        my $c = main::mosquitto_sub($s->mqtts_port, @of,
                                    '-P', main::token($user));

        main::eventually('it is bound', sub {
            (main::device_of($s, $user, $v) // {})->{bound};
        });
        $d->push("users/$user", "over TLS to $v");
        $t->say(main::line($c));
        main::finish($c);

        for my $bad (main::token($user, exp => time - 10),
                     main::token($user, aud => 'other'), 'rubbish')
        {
            my $c = main::spawn('sh', '-c', 'exec "$@" 2>&1', 'sh',
                                'mosquitto_sub', '-h', 'localhost', '-p',
                                $s->mqtts_port, @of, '-P', $bad, '-W', 20);
            my $text = main::finish($c);
            $t->say($text =~ /not authori|bad user name/i && $?
                    ? 'refused' : "$?: $text");
        }
    }

    $s->stop;
    return $t->text;
}
--- mqtt_out
shop/inbox over TLS to mqttv311
refused
refused
refused
shop/inbox over TLS to mqttv5
refused
refused
refused



=== TEST 9: a will of mosquitto_sub, when it is killed
--- mqtt eval
sub {
    my ($t) = @_;
    my $s = main::server(product => 'group_publish on;');
    my $w = $s->dialogue->client(version => 5, timeout => 20, client => 'w',
                                 user => 'shop/w');
    $w->subscribe('shop/group/g');

    my $c = main::mosquitto_sub($s->mqtt_port, '-u', 'shop/u', '-i', 'd',
                                '-t', 'shop/#', '--will-topic', 'shop/group/g',
                                '--will-payload', 'gone', '--will-qos', 1);
    main::eventually('it is bound', sub {
        (main::device_of($s, 'u', 'd') // {})->{bound};
    });
    kill 'KILL', $c->{pid};
    $t->say(main::receive($w, 1));
    main::finish($c);
    $w->close;
    $s->stop;
    return $t->text;
}
--- mqtt_out
gone
