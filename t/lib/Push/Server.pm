package Push::Server;

# An nginx of a scenario's own, for what outlives one block of Test::Nginx:
# reloads, upgrades, killed workers, several nodes.  With a master process.
#
#     my $s = Push::Server->new(name => 'reload', workers => 2);
#     $s->start;
#     my $t = $s->dialogue;                # see Push::Dialogue
#     $s->reload(workers => 3);
#     $s->kill_worker('KILL');
#     $s->stop;                            # QUIT; also when the object goes
#
# Options of new(): workers, zone ("16m"), push (more lines for push{}),
# product (more lines for the product), room (the stream servers), http (the
# locations), main (lines at the top), log_level, env, netns (a network
# namespace to run in) and host (its address).  conf replaces all of it.  In these texts {{mqtt}}, {{mqtts}}, {{http}}, {{spare}} are ports,
# {{dir}} the folder, {{key}} and {{secret}} the product's keys, {{cert}} and
# {{certkey}} files for TLS.
#
# Push::Test looks through its logs when the suite ends.

use strict;
use warnings;
use parent 'Push::Waits';

use File::Path qw(make_path);
use Push::Dialogue;
use Push::HTTP;
use Push::Test ();
use Time::HiRes qw(sleep time);

my $count = 0;

sub new {
    my ($class, %opt) = @_;
    my $name  = $opt{name} || 'server' . ++$count;
    my $first = Push::Test::free_ports(4);
    my $self  = bless {
        name => $name, dir => Push::Test::test_dir() . "/$name",
        workers => 2, zone => '16m', push => '', product => '', main => '',
        room => 'server { listen {{mqtt}}; push_room; }',
        http => 'location /v1/ { push_center; }'
                . ' location = /metrics { push_metrics; }',
        log_level => 'info', wait => 10, owner => $$, host => '127.0.0.1',
        mqtt => $first, mqtts => $first + 1, http_port => $first + 2,
        spare => $first + 3, %opt,
    }, $class;

    make_path("$self->{dir}/logs");
    return $self;
}

sub mqtt_port  { $_[0]{mqtt} }
sub mqtts_port { $_[0]{mqtts} }
sub http_port  { $_[0]{http_port} }
sub dir        { $_[0]{dir} }

sub dialogue {
    my ($self, %opt) = @_;
    return Push::Dialogue->new(host => $self->{host},
                               mqtt_port => $self->{mqtt},
                               http_port => $self->{http_port}, %opt);
}

sub http_client {
    my ($self, %opt) = @_;
    return Push::HTTP->new(host => $self->{host}, port => $self->{http_port},
                           key => $Push::Test::API_KEY, %opt);
}

# What /metrics says, by name and labels.
sub metrics {
    my ($self) = @_;
    my $http   = $self->http_client;
    my $body   = $http->get('/metrics')->{body};

    $http->close;
    return { $body =~ /^(ngx_push_\w+(?:\{[^}]*\})?) (\S+)$/mg };
}

# The longest turn of any worker's event loop since the start, in ms.
sub stall {
    my ($self) = @_;
    my $m      = $self->metrics;
    my ($max)  = sort { $b <=> $a } map { $m->{$_} }
                 grep { /^ngx_push_loop_stall_seconds_max/ } keys %$m;

    return sprintf '%.0f', 1000 * ($max // return);
}


# --- configuration

my $CONF = <<'END';
    zone {{zone}};
    node {{name}};
    {{push}}
    product shop {
        api_key {{key}} publish query operate;
        token_key hs256 {{secret}};
        anonymous on;
        {{product}}
    }
END

sub configuration {
    my ($self) = @_;

    return $self->{conf} if defined $self->{conf};

    return <<"END";
$self->{main}
push {
$CONF
}
stream { $self->{room} }
http {
    access_log {{dir}}/logs/access.log;
    client_body_temp_path {{dir}}/client_body_temp;
    proxy_temp_path {{dir}}/proxy_temp;
    fastcgi_temp_path {{dir}}/fastcgi_temp;
    uwsgi_temp_path {{dir}}/uwsgi_temp;
    scgi_temp_path {{dir}}/scgi_temp;
    server { listen {{http}}; $self->{http} }
}
END
}

sub write_conf {
    my ($self, %change) = @_;

    @$self{keys %change} = values %change;

    my $dir  = $self->{dir};
    my $user = $> == 0 ? 'user root;' : '';
    my $load = join '', map { "load_module $_;\n" }
               split ' ', $ENV{TEST_NGINX_LOAD_MODULES};
    my $envs = join '', map { "env $_;\n" }
               qw(LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS),
               @{$self->{env} || []};

    my $text = <<"END" . $self->configuration;
$load
$user
$envs
worker_processes $self->{workers};
pid $dir/nginx.pid;
lock_file $dir/nginx.lock;
error_log $dir/logs/error.log $self->{log_level};
error_log $dir/alert.log alert;
events { worker_connections 4096; }
END

    my %value = (
        dir => $dir, name => $self->{name}, zone => $self->{zone},
        mqtt => $self->{mqtt}, mqtts => $self->{mqtts},
        http => $self->{http_port}, spare => $self->{spare},
        key => $Push::Test::API_KEY, secret => $Push::Test::SECRET,
        push => $self->{push}, product => $self->{product},
    );

    @value{qw(cert certkey)} = Push::Test::certificate() if $text =~ /\{\{cert/;

    # texts of the caller may hold names themselves
    for (1 .. 2) {
        $text =~ s/\{\{(\w+)\}\}/$value{$1} \/\/ die "{{$1}}?\n"/ge;
    }

    # the same store over reloads and restarts
    if (Push::Test::on_redis()) {
        $self->{store} //= Push::Test::store_conf();
        $text = Push::Test::with_store($text, $self->{store});
    }

    open my $out, '>', "$dir/nginx.conf" or die "$dir/nginx.conf: $!\n";
    print $out $text;
    close $out;
}


# --- processes

sub run {
    my ($self, @args) = @_;
    my $dir = $self->{dir};

    my $in  = defined $self->{netns} ? "ip netns exec $self->{netns} " : '';

    return system("$in'$ENV{TEST_NGINX_BINARY}' -e $dir/logs/error.log"
                  . " -p $dir/ -c $dir/nginx.conf @args"
                  . " >> $dir/logs/stderr.log 2>&1");
}

# Starts it and waits until it answers.
sub start {
    my ($self, %change) = @_;

    $self->write_conf(%change);
    $self->run == 0 or die "nginx does not start:\n" . $self->last_log;

    $self->until('its workers', sub { $self->workers == $self->{workers} });
    $self->until('its port', sub {
        IO::Socket::INET->new(PeerAddr => $self->{host},
                              PeerPort => $self->{http_port});
    }) if !defined $self->{conf} || $self->{conf} =~ /\{\{http\}\}/;

    return $self;
}

sub master {
    my ($self) = @_;
    open my $in, '<', "$self->{dir}/nginx.pid" or return undef;
    my $pid = <$in> // '';

    return $pid =~ /^(\d+)$/ && alive($1) ? $1 : undef;
}

# Exists, and is not only waiting to be reaped.
sub alive {
    my ($pid) = @_;
    open my $in, '<', "/proc/$pid/stat" or return 0;
    my ($state) = (<$in> // '') =~ /\) (\S)/;

    return defined $state && $state ne 'Z';
}

# The workers of a master; without an argument those that take connections.
sub workers {
    my ($self, $master) = @_;
    my $only_new = !defined $master;
    my @pids;

    $master //= $self->master // return;

    for my $stat (glob '/proc/[0-9]*/stat') {
        open my $in, '<', $stat or next;
        my ($pid, $state, $parent) = (<$in> // '') =~ /^(\d+) .*\) (\S) (\d+)/
            or next;

        next if $parent != $master || $state eq 'Z';

        open my $cmd, '<', "/proc/$pid/cmdline" or next;
        my $title = <$cmd> // '';

        next if $title !~ /worker process/;
        next if $only_new && $title =~ /shutting down/;
        push @pids, $pid;
    }

    @pids = sort { $a <=> $b } @pids;
    return @pids;
}

# HUP; returns when all new workers are there, and the old ones take no more
# connections.  They may still be leaving: see old_gone.
sub reload {
    my ($self, %change) = @_;
    my $master = $self->master // die "no master\n";
    my %old    = map { $_ => 1 } $self->workers($master);

    $self->write_conf(%change);
    kill 'HUP', $master;

    $self->until('new workers', sub {
        my @now = $self->workers;
        @now == $self->{workers} && !grep { $old{$_} } @now;
    });

    $self->{old} = [keys %old];
    return $self;
}

# Waits until the workers from before the last reload or upgrade have gone.
sub old_gone {
    my ($self, $seconds) = @_;

    $self->until('the old workers to leave',
                 sub { !grep { alive($_) } @{$self->{old} || []} }, $seconds);
}

# Sends a signal to a worker (by number, default a random one), and waits for
# its successor if it dies of it.  Returns the pid.
sub kill_worker {
    my ($self, $signal, $index) = @_;
    my @pids = $self->workers;
    my $pid  = $pids[$index // rand @pids] // die "no worker\n";

    kill $signal, $pid;

    if ($signal =~ /^(?:KILL|SEGV|ABRT|TERM|QUIT)$/) {
        $self->until('the worker to die', sub { !alive($pid) });
        $self->until('its successor', sub { $self->workers == @pids });
    }

    return $pid;
}

# USR2, then WINCH and QUIT to the old master: a new binary takes over.
sub upgrade {
    my ($self) = @_;
    my $old = $self->master // die "no master\n";

    $self->{old} = [$self->workers($old), $old];
    kill 'USR2', $old;

    $self->until('the new master', sub {
        my $new = $self->master;
        $new && $new != $old && $self->workers == $self->{workers};
    });

    kill 'QUIT', $old;
    return $self;
}

sub signal {
    my ($self, $signal) = @_;
    my $master = $self->master // die "no master\n";
    kill $signal, $master;
}

# QUIT (or another signal), and waits for all processes to leave.
sub stop {
    my ($self, $signal) = @_;
    my $master = $self->master // return $self;
    my @all    = ($master, $self->workers($master));

    kill $signal // 'QUIT', $master;
    my $end = time + $self->{wait};

    while (grep { alive($_) } @all) {
        if (time > $end) {
            kill 'KILL', grep { alive($_) } @all;
            die "$self->{name} did not stop in $self->{wait} s\n";
        }
        sleep 0.02;
    }

    return $self;
}


# SIGKILL to all of its processes; returns when they have gone.
sub kill_all {
    my ($self) = @_;
    my $master = $self->master // return $self;
    my @all    = ($master, $self->workers($master));

    kill 'KILL', @all;
    $self->until('its processes to die', sub { !grep { alive($_) } @all });
    return $self;
}


# --- logs

sub log {
    my ($self) = @_;
    open my $in, '<', "$self->{dir}/logs/error.log" or return '';
    local $/;
    return <$in> // '';
}

sub last_log {
    my ($self) = @_;
    my @lines  = split /^/, $self->log;
    @lines = @lines[-20 .. -1] if @lines > 20;
    return join '', @lines;
}

sub log_like {
    my ($self, $pattern, $seconds) = @_;
    $self->until("\"$pattern\" in the log",
                 sub { $self->log =~ /$pattern/ }, $seconds);
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);

    return if $self->{owner} != $$;
    eval { $self->stop; 1 } or warn $@;
}

1;
