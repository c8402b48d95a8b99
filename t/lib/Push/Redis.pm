package Push::Redis;

# A redis-server of a test's own.  With nothing that outlives the test: it
# dies with it, even when that is killed.
#
#     my $r = Push::Redis->new(aof => 'always')->start;
#     $r->command('HGETALL', $key);         # see Push::RESP
#     Push::Cluster->new(redis => $r);      # or "push => $r->conf" of a server
#     $r->kill9; $r->start;                 # what it has on disk comes back
#     $r->stop; $r->cont;                   # SIGSTOP, SIGCONT
#
# Options of new(): name, aof ("always", "everysec"; default: nothing is kept),
# maxmemory ("8mb"), policy ("noeviction"), password, user (with all rights,
# needs a password; nobody else has any then), unix (1: a socket instead of a
# port for our servers), bind ("127.0.0.1"), host (where others reach it),
# config (more lines), wait (seconds for anything).
#
# Push::Redis::Sentinel and Push::Redis::Cluster start several of them.

use strict;
use warnings;
use parent 'Push::Waits';

use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Push::RESP;
use Push::Test ();
use Time::HiRes qw(sleep time);

my $count = 0;

sub new {
    my ($class, %opt) = @_;
    my $name = $opt{name} || 'redis' . ++$count;
    my $self = bless {
        name => $name, dir => Push::Test::test_dir() . "/$name",
        policy => 'noeviction', bind => '127.0.0.1', host => '127.0.0.1',
        program => 'redis-server', config => '', wait => 15, owner => $$, %opt,
    }, $class;

    $self->{port} ||= Push::Test::free_ports(1);
    make_path($self->{dir});

    # What a process that is killed has written stays in memory too, and there
    # a slow disk is not what is tested.
    $self->{disk} = $self->{aof} && -w '/dev/shm'
                    ? tempdir('push-redis-XXXXXX', DIR => '/dev/shm',
                              CLEANUP => 1)
                    : $self->{dir};
    return $self;
}

sub port { $_[0]{port} }
sub dir  { $_[0]{dir} }
sub pid  { $_[0]{pid} }
sub path { "$_[0]{dir}/redis.sock" }


# --- configuration

sub url {
    my ($self) = @_;

    return $self->{unix} ? 'unix:' . $self->path
                         : "redis://$self->{host}:$self->{port}";
}

# What a push{} block needs to use it.
sub conf {
    my ($self) = @_;

    return 'redis ' . $self->url . ';' . $self->auth_conf;
}

sub auth_conf {
    my ($self) = @_;
    my $text   = '';

    $text .= " redis_user $self->{user};"         if defined $self->{user};
    $text .= " redis_password $self->{password};" if defined $self->{password};
    return $text;
}

# What others of its kind need to know it, and what MIGRATE has to say.
sub auth_lines {
    my ($self) = @_;

    return if !defined $self->{password};
    return ("masterauth $self->{password}",
            "requirepass $self->{password}") if !defined $self->{user};
    return ("masterauth $self->{password}", "masteruser $self->{user}",
            "user $self->{user} on >$self->{password} ~* &* +\@all",
            'user default off');
}

sub auth_words {
    my ($self) = @_;

    return if !defined $self->{password};
    return ('AUTH', $self->{password}) if !defined $self->{user};
    return ('AUTH2', $self->{user}, $self->{password});
}

sub configuration {
    my ($self) = @_;
    my @lines = (
        "port $self->{port}", "bind $self->{bind}", "dir $self->{disk}",
        "logfile $self->{dir}/redis.log", 'daemonize no', 'save ""',
        'protected-mode no', 'databases 16', 'enable-debug-command yes',
        "maxmemory-policy $self->{policy}",
        'appendonly ' . ($self->{aof} ? 'yes' : 'no'),
    );

    push @lines, "appendfsync $self->{aof}"   if $self->{aof};
    push @lines, "maxmemory $self->{maxmemory}" if $self->{maxmemory};
    push @lines, 'unixsocket ' . $self->path if $self->{unix};

    return join '', map { "$_\n" } @lines, $self->auth_lines,
                                   $self->{config};
}


# --- the process

# Starts it and waits until it answers, with all that its disk had.
sub start {
    my ($self) = @_;
    my $file = "$self->{dir}/redis.conf";

    # what it has written there itself is kept (Sentinel)
    if (!-e $file || !$self->{keep_conf}) {
        open my $out, '>', $file or die "$file: $!\n";
        print $out $self->configuration;
        close $out;
    }

    defined(my $pid = fork) or die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$self->{dir}/stdout.log";
        open STDERR, '>&', \*STDOUT;

        # not ours to run: the parent's END and DESTROY
        exec 'setpriv', '--pdeathsig', 'KILL', $self->{program}, $file,
             @{$self->{args} || []} or POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    $self->until('it to answer', sub { $self->answers });
    return $self;
}

sub answers {
    my ($self) = @_;

    die "$self->{name} ended:\n" . $self->last_log if !$self->alive;
    return eval { $self->client->command('PING') eq 'PONG' };
}

sub alive {
    my ($self) = @_;

    return 0 if !$self->{pid};
    return 1 if waitpid($self->{pid}, POSIX::WNOHANG()) == 0;
    delete $self->{pid};
    return 0;
}

sub signal {
    my ($self, $signal) = @_;
    kill $signal, $self->{pid} // die "$self->{name} is not running\n";
}

sub stop { $_[0]->signal('STOP') }
sub cont { $_[0]->signal('CONT') }

# SIGKILL; returns when it has gone.  start() has it back.
sub kill9 { $_[0]->end('KILL') }

# To another port, from its next start on.
sub move {
    my ($self, $port) = @_;

    $self->{port} = $port;
    delete $self->{client};
    return $self;
}

# As an administrator would end it.
sub quit { $_[0]->end('TERM') }

sub end {
    my ($self, $signal) = @_;
    my $pid = $self->{pid} // return $self;

    kill $signal, $pid;
    kill 'CONT', $pid;
    $self->until('it to end', sub { !$self->alive });
    $self->{client}->close if $self->{client};
    return $self;
}

# With its disk, or without: what is not on disk is lost.
sub restart {
    my ($self, $signal) = @_;

    $self->end($signal // 'KILL');
    return $self->start;
}


# --- commands

# The connection for commands; connect() makes another one.
sub client { $_[0]{client} ||= $_[0]->connect }

sub connect {
    my ($self, %opt) = @_;

    return Push::RESP->new(
        port => $self->{port}, host => $self->{host},
        user => $self->{user}, password => $self->{password}, %opt);
}

sub command  { my $self = shift; return $self->client->command(@_) }
sub pipeline { my $self = shift; return $self->client->pipeline(@_) }
sub flushall { $_[0]->command('FLUSHALL') }

sub set {
    my ($self, $name, $value) = @_;
    $self->command('CONFIG', 'SET', $name, $value);
}

# A field of INFO, or all of them.
sub info {
    my ($self, $name) = @_;
    my %info = $self->command('INFO', 'everything') =~ /^(\w+):(.*?)\r?$/mg;

    return defined $name ? $info{$name} : \%info;
}

# How often each command was called, by CONFIG RESETSTAT's leave.
sub calls {
    my ($self) = @_;
    my $text = $self->command('INFO', 'commandstats');
    my %calls = $text =~ /^cmdstat_(\S+?):calls=(\d+)/mg;

    return \%calls;
}

sub log {
    my ($self) = @_;
    open my $in, '<', "$self->{dir}/redis.log" or return '';
    local $/;
    return <$in> // '';
}

sub last_log {
    my ($self) = @_;
    my @lines  = split /^/, $self->log;
    @lines = @lines[-20 .. -1] if @lines > 20;
    return join '', @lines;
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);

    return if $self->{owner} != $$;
    eval { $self->end('KILL'); 1 } or warn $@;
}

require POSIX;

1;
