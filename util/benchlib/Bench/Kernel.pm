package Bench::Kernel;

# What the kernel has to give for many connections, and what they take of it.
#
#     my $before = Bench::Kernel::memory();
#     ...
#     Bench::Kernel::growth($before, Bench::Kernel::memory(), $connections);
#
#     my $undo = Bench::Kernel::provide($connections);
#     ...
#     $undo->();

use strict;
use warnings;

use Bench::Common qw(note read_file);

my $PAGE = 4096;

# Caches of file systems come and go with what others do: push-floor leaves the
# same ones out (util/push-floor/report.c).
my $FOREIGN = qr/^(?:btrfs_|ext4_|xfs_|inode_cache|proc_inode_cache
                  |shmem_inode_cache|lsm_inode_cache|radix_tree_node
                  |buffer_head)/x;

# octets: slab (undef for anybody but root), available, page tables; sockets
# and pages of TCP
sub memory {
    my $info = read_file('/proc/meminfo') // '';
    my $tcp  = read_file('/proc/net/sockstat') // '';
    my %m    = (slab => slab());

    for my $name (qw(MemAvailable PageTables)) {
        $m{$name} = $1 * 1024 if $info =~ /^$name:\s+(\d+) kB/m;
    }

    if ($tcp =~ /^TCP: inuse (\d+) .* alloc (\d+) mem (\d+)/m) {
        @m{qw(tcp_sockets tcp_buffers)} = ($2, $3 * $PAGE);
    }

    return \%m;
}

sub available { return memory()->{MemAvailable} // 0 }

sub slab {
    my $text = read_file('/proc/slabinfo') // return undef;
    my $sum  = 0;

    while ($text =~ /^(\S+) +(\d+) +\d+ +\d+ +(\d+) +(\d+) /mg) {
        $sum += $2 * $4 * $PAGE / $3 if $3 && $1 !~ $FOREIGN;
    }

    return $sum || undef;
}

# octets by end of a connection: both are on this machine
sub growth {
    my ($before, $after, $connections) = @_;

    return undef if !$before->{slab} || !$after->{slab};
    return ($after->{slab} - $before->{slab}) / 2 / $connections;
}


# --- settings

# What so many connections need, by setting: each value at least.
sub needs {
    my ($n) = @_;

    return (
        # both ends, and something for everybody else
        'fs/file-max' => [ 2 * $n + 100_000 ],

        # for both ends' epolls, where the limit is of the user
        'fs/epoll/max_user_watches' => [ 2 * $n + 100_000 ],

        # "listen ... backlog=4096"
        'net/core/somaxconn' => [ 4096 ],

        # A page of either end is taken for a message under way, however small
        # it is; a broadcast has one under way to many of all devices.
        'net/ipv4/tcp_mem' => [ map { int } $n, 1.5 * $n, 2 * $n ],
    );
}

# Raises what is too small if it may, and tells what it could not; undoes that
# when the function it returns is called.
sub provide {
    my ($n) = @_;
    my %need = needs($n);
    my %former;

    for my $name (sort keys %need) {
        my $text = read_file("/proc/sys/$name") // next;
        my @have = split ' ', $text;
        my @want = map { $have[$_] > $need{$name}[$_] ? $have[$_]
                                                      : $need{$name}[$_] }
                   0 .. $#have;

        next if "@want" eq "@have";

        if (set($name, "@want")) {
            $former{$name} = "@have";
        } else {
            note("$name is \"@have\", \"@want\" would be better");
        }
    }

    my $owner = $$;

    return sub {
        return if $$ != $owner;
        set($_, delete $former{$_}) for sort keys %former;
    };
}

sub set {
    my ($name, $value) = @_;

    open my $out, '>', "/proc/sys/$name" or return 0;
    print $out "$value\n";
    return close $out;
}

1;
