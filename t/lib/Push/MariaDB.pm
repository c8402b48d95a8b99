package Push::MariaDB;

# A MariaDB server of a suite's own: data and socket below the suite's folder,
# stopped by its pid.
#
#     my $db = Push::MariaDB->new(name => 'db');
#     $db->start;
#     my @rows = $db->sql('SELECT seq FROM ngx_push_message');   # array refs
#     $db->signal('STOP');  ...  $db->signal('CONT');
#     $db->kill;  $db->start;              # SIGKILL, and the same data again
#     $db->stop;                           # TERM; also when the object goes
#     print $db->restore('127.0.0.1:6379');      # util/push-restore
#
# Options of new(): name, tcp (1: listens on a free port of 127.0.0.1 as
# well), options (more arguments of mariadbd), wait (seconds for a start),
# directives (in place of "journal_delay 50ms;"), spill_size ("64m"), spill
# (folder), disk (a file system of its own of that size, "100m"; needs root).
#
# There is a database "push" and a user of that name who may do all in it;
# conf() is what push{} needs to use it, journal() the value of the directive
# alone.
# sql() works as root of the database; execute() leaves the answer alone.
# session() is a client that stays, to hold locks.

use strict;
use warnings;

use Fcntl qw(:flock);
use File::Path qw(make_path remove_tree);
use IO::Handle;
use IPC::Open2;
use POSIX qw(:sys_wait_h);
use Push::Test ();
use Time::HiRes qw(sleep time);

our $PASSWORD = q(pa ss'"\\-word);

my $count = 0;

sub new {
    my ($class, %opt) = @_;
    my $name = $opt{name} || 'mariadb' . ++$count;
    my $dir  = Push::Test::test_dir() . "/$name";
    my $self = bless {
        name => $name, dir => $dir, wait => 60, owner => $$, options => [],
        socket => "$dir/sock", port => 0, %opt,
    }, $class;

    make_path($dir);

    if ($self->{disk}) {
        system('mount', '-t', 'tmpfs', '-o', "size=$self->{disk}", 'none',
               $dir) == 0 or die "$dir: no file system\n";
    }

    $self->{port} = Push::Test::free_ports(1) if $self->{tcp};

    # a file, so that the password is not in a configuration
    open my $out, '>', $self->password_file or die "$dir: $!\n";
    chmod 0600, $self->password_file;
    print $out "$PASSWORD\n";
    close $out;

    return $self;
}

sub dir           { $_[0]{dir} }
sub socket        { $_[0]{socket} }
sub port          { $_[0]{port} }
sub pid           { $_[0]{pid} }
sub password_file { "$_[0]{dir}/password" }

# The arguments of the directive "journal".
sub journal {
    my ($self, %opt) = @_;
    my $where = $opt{tcp} ? "127.0.0.1:$self->{port}"
                          : "unix:$self->{socket}:";

    return "mysql://push\@$where/push password_file=" . $self->password_file;
}

# Lines for push{}; the option "directives" adds some.  The files of what the
# database does not take are in spill().
sub conf {
    my ($self, %opt) = @_;

    return 'journal ' . $self->journal(%opt) . '; journal_spill '
           . $self->spill . ' ' . ($self->{spill_size} // '64m') . '; '
           . ($self->{directives} // 'journal_delay 50ms;');
}

sub spill { $_[0]{spill} // "$_[0]{dir}/spill" }

# Puts what it has into Redis, whose address is as in the directive "redis";
# what push-restore prints, and its exit code.
sub restore {
    my ($self, $where, @options) = @_;
    my $build = $ENV{BUILD} || 'build';

    delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
    system("make -s -C util/push-restore BUILD=../../$build >&2") == 0
        or die "push-restore does not build\n";

    my ($url) = split ' ', $self->journal;
    my $text  = join ' ', map { "'$_'" } "$build/push-restore", @options,
                    '--quiet', '--journal-password=' . $self->password_file,
                    $url, split ' ', $where;
    my $out = `$text 2>&1`;

    return $out . 'exit ' . ($? >> 8);
}

# Laid out once for all suites of a build; a suite gets a copy.
sub template {
    my ($self) = @_;
    my $dir = Push::Test::test_dir() =~ s{/[^/]+$}{/.mariadb}r;

    open my $lock, '>>', "$dir.lock" or die "$dir.lock: $!\n";
    flock $lock, LOCK_EX;
    return $dir if -e "$dir/done";

    remove_tree($dir);
    make_path($dir);

    my @user = $> == 0 ? '--user=root' : ();
    $self->quietly("$dir.log", 'mariadb-install-db', '--no-defaults', @user,
                   "--datadir=$dir/data", '--skip-test-db',
                   '--auth-root-authentication-method=normal',
                   '--innodb-log-file-size=8M') == 0
        or die "mariadb-install-db failed, see $dir.log\n";

    open my $done, '>', "$dir/done" or die "$dir/done: $!\n";
    return $dir;
}

sub quietly {
    my ($self, $log, @command) = @_;
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $log;
        open STDERR, '>&', \*STDOUT;
        exec @command or POSIX::_exit(127);
    }

    waitpid $pid, 0;
    return $?;
}

# Starts it, the first time with a new database; more() as options for once.
sub start {
    my ($self, @more) = @_;
    my $dir  = $self->{dir};
    my $data = "$dir/data";
    my $new  = !-d $data;

    if ($new) {
        my $template = $self->template;
        system('cp', '-a', "$template/data", $data) == 0
            or die "$data: not copied\n";
    }

    my @args = ('--no-defaults', $> == 0 ? '--user=root' : (),
        "--datadir=$data", "--socket=$self->{socket}",
        "--pid-file=$dir/pid", "--log-error=$dir/error.log",
        "--tmpdir=$dir", '--innodb-buffer-pool-size=32M',
        '--innodb-log-file-size=8M', '--skip-performance-schema',
        '--skip-log-bin', '--character-set-server=utf8mb4',
        '--skip-name-resolve',
        $self->{tcp} ? ("--port=$self->{port}", '--bind-address=127.0.0.1')
                     : '--skip-networking',
        @{$self->{options}}, @more);

    unlink $self->{socket};
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$dir/stderr.log";
        open STDERR, '>&', \*STDOUT;
        exec 'mariadbd', @args or POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    my $end = time + $self->{wait};

    until (-S $self->{socket} && defined $self->try('SELECT 1')) {
        if (waitpid($pid, WNOHANG) == $pid) {
            delete $self->{pid};
            die "$self->{name}: mariadbd ended, see $dir/error.log\n";
        }
        die "$self->{name}: mariadbd does not answer\n" if time > $end;
        sleep 0.05;
    }

    if ($new) {
        my $quoted = $PASSWORD =~ s/([\\'])/\\$1/gr;

        $self->execute('CREATE DATABASE push', map {
            ("CREATE USER 'push'\@'$_' IDENTIFIED BY '$quoted'",
             "GRANT ALL ON push.* TO 'push'\@'$_'")
        } 'localhost', '127.0.0.1');
    }

    return $self;
}

sub signal {
    my ($self, $signal) = @_;
    kill $signal, $self->{pid} if $self->{pid};
}

# Ends it by a signal, SIGKILL unless told, and waits for that.
sub kill {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} // return $self;

    kill $signal // 'KILL', $pid;
    my $end = time + 30;

    while (waitpid($pid, WNOHANG) == 0) {
        kill 'KILL', $pid if time > $end;
        sleep 0.02;
    }

    return $self;
}

sub stop {
    my ($self) = @_;

    $self->signal('CONT');
    return $self->kill('TERM');
}

sub client {
    my ($self) = @_;

    return ('mariadb', '--no-defaults', '-u', 'root', '-N', '-B', '-r',
            '--connect-timeout=5', '-S', $self->{socket});
}

# Rows as array refs; undef when the server refuses, with the reason in {why}.
sub try {
    my ($self, @statements) = @_;
    my ($database) = -d "$self->{dir}/data/push" ? 'push' : ();
    my $err = "$self->{dir}/client.err";

    my $pid = open(my $out, '-|') // die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDERR, '>', $err;
        exec $self->client, '-e', join(';', @statements), $database // ()
            or POSIX::_exit(127);
    }

    my @rows = map { chomp; [split /\t/, $_, -1] } <$out>;

    return \@rows if close $out;

    open my $in, '<', $err;
    $self->{why} = join '', <$in>;
    return undef;
}

sub sql {
    my ($self, @statements) = @_;
    my $rows = $self->try(@statements)
        // die "$self->{name}: $self->{why}";

    return @$rows;
}

sub execute {
    my ($self, @statements) = @_;
    $self->sql(@statements);
    return $self;
}

# The only value of a query.
sub value {
    my ($self, @statements) = @_;
    my ($row) = $self->sql(@statements);

    return $row ? $row->[0] : undef;
}

# A client that stays connected, for locks: its run() returns when the
# statement has been done; it ends with the object.
sub session {
    my ($self) = @_;
    my $pid = open2(my $out, my $in, $self->client, '--unbuffered', 'push');

    return bless { in => $in, out => $out, pid => $pid },
                 'Push::MariaDB::Session';
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);

    return if $self->{owner} != $$;
    $self->stop;
    system('umount', '-l', $self->{dir}) if $self->{disk};
}


package Push::MariaDB::Session;

sub run {
    my ($self, $statement) = @_;
    my ($in, $out) = @$self{qw(in out)};
    my @rows;

    print $in "$statement;\nSELECT 'is done';\n";
    $in->flush;

    while (my $line = <$out>) {
        chomp $line;
        return @rows if $line eq 'is done';
        push @rows, [split /\t/, $line, -1];
    }

    die "the session ended\n";
}

sub DESTROY {
    my ($self) = @_;
    local ($?, $@, $!);

    close $self->{in};
    close $self->{out};
    waitpid $self->{pid}, 0;
}

1;
