package Push::Probe;

# The Redis client of a worker, by hand: a module for tests only, built here,
# with which a Push::Server sends what a test asks for.
#
#     my $p = Push::Probe->new(push => $redis->conf);    # starts the server
#     $p->call('GET', 'a');              # "OK 1", "DECLINED ERR no such ..."
#     $p->calls(100, 'INCR', 'a');       # {'OK 1' => 1, 'OK 2' => 1 ...}
#     $p->script('key', 'value');        # a script that sets the key
#     $p->watched;                       # "first", "down", "again" ...
#
# One worker, so that it is always the same client that answers.

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use Push::Server;
use Time::HiRes qw(sleep time);

my %RC = (0 => 'OK', -1 => 'ERROR', -5 => 'DECLINED', -6 => 'ABORT',
          -100 => 'FULL', -103 => 'BUSY');

# Once for all suites of a build.
sub build {
    my $source = File::Spec->rel2abs(dirname(__FILE__)
                                     . '/../probe/ngx_push_probe_module.c');
    my $root   = dirname($source) . '/../../..';
    my $build  = File::Spec->rel2abs($ENV{BUILD} || 'build', $root);
    my $nginx  = ($ENV{NGINX_SRC} || '/usr/share/nginx/src') . '/src';
    my $object = "$build/ngx_push_probe_module.so";

    return $object if -f $object && -M $object < -M $source
                      && -M $object < -M "$build/Makefile";

    my $flags = join ' ', "-I$root/ngx_push_core_module", "-isystem $build",
        map { "-isystem $nginx/$_" }
        qw(core event event/modules os/unix http http/modules http/v2);

    system("cc -shared -fPIC -g -O1 -o $object.$$ $source $flags") == 0
        or die "the probe cannot be built\n";
    rename "$object.$$", $object or die "$object: $!\n";
    return $object;
}

sub new {
    my ($class, %opt) = @_;
    my $load = $ENV{TEST_NGINX_LOAD_MODULES};

    $ENV{TEST_NGINX_LOAD_MODULES} .= ' ' . build();

    my $self = bless {
        server => Push::Server->new(workers => 1, room => '', http =>
            'location = /probe { push_probe; }'
            . ' location = /metrics { push_metrics; }', %opt),
    }, $class;

    $self->{server}->start;
    $ENV{TEST_NGINX_LOAD_MODULES} = $load;
    return $self;
}

sub server { $_[0]{server} }

sub ask {
    my ($self, @args) = @_;
    my $http = $self->{http} ||= $self->{server}->http_client(timeout => 30);
    my $answer = eval { $http->get('/probe?' . join '&', @args) };

    if (!$answer) {
        delete $self->{http};
        return '';
    }

    return $answer->{body} // '';
}

sub words {
    return map { my $w = $_; $w =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ge;
                 "w=$w" } @_;
}

sub outcomes {
    my ($text) = @_;
    my %outcomes;

    for my $line (split /\n/, $text) {
        my ($rc, $count, $reply) = $line =~ /^(-?\d+) (\d+) (.*)/ or next;
        my $name = $RC{$rc} // $rc;

        $outcomes{$reply eq '' ? $name : "$name $reply"} += $count;
    }

    return \%outcomes;
}

# "options" are the probe's: "urgent=1", "block=1000" ...
sub call {
    my ($self, @words) = @_;
    my @options = ref $words[0] ? @{shift @words} : ();

    return join ', ', sort keys %{outcomes(
        $self->ask(@options, words(@words)))};
}

sub calls {
    my ($self, $n, @words) = @_;
    my @options = ref $words[0] ? @{shift @words} : ();

    return outcomes($self->ask("n=$n", @options, words(@words)));
}

sub script {
    my ($self, $key, $value) = @_;
    return $self->call(['script=1'], $key, $value);
}

sub watched { return join ' ', split /\n/, $_[0]->ask('watch=1') }

# Waits until the watches have been told something that matches; or what else
# a sub says.
sub until_watched {
    my ($self, $pattern, $seconds) = @_;
    return $self->until(sub { $self->watched =~ $pattern }, $seconds)
           ? 'yes' : 'no: ' . $self->watched;
}

sub until {
    my ($self, $code, $seconds) = @_;
    my $end = time + ($seconds // 15);

    until ($code->()) {
        return 0 if time > $end;
        sleep 0.02;
    }

    return 1;
}

# Until a command is answered again; returns the outcome.
sub until_ok {
    my ($self, @words) = @_;
    my $last = '';

    $self->until(sub { ($last = $self->call(@words)) =~ /^OK/ });
    return $last;
}

1;
