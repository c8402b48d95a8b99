package Bench::Staged;

# A run of push-bench's stages, with something to be done when one begins.
#
#     my $result = Bench::Staged::run($server, $load,
#         begin => sub { my ($name) = @_; ... },
#         look  => sub { ... },             # ten times a second
#         said  => sub { my ($line) = @_; ... });
#
# The result is that of Bench::Load.

use strict;
use warnings;

use Bench::Common qw(fail read_file temp_dir);
use Bench::Load;
use Time::HiRes qw(sleep);

sub run {
    my ($server, $load, %on) = @_;
    my $path = temp_dir() . '/stages';

    unlink $path;

    my $begun = Bench::Load::begin($server, { %$load, mode => 'stages',
                                              progress => $path });
    my $in;
    my $rest = '';

    # once more after it has ended
    for (my $last = 0; !$last; sleep 0.1) {
        $last = !alive($begun->{pid});
        $on{look}->() if $on{look};
        $in or open $in, '<', $path or next;
        seek $in, 0, 1;

        while (defined(my $line = <$in>)) {
            $rest .= $line;
            next if $rest !~ s/\n\z//;

            $on{begin}->($1) if $rest =~ /^stage (.+)/ && $on{begin};
            $on{said}->($rest) if $rest !~ /^stage / && $on{said};
            $rest = '';
        }
    }

    return Bench::Load::finish($begun);
}

sub alive {
    my ($pid) = @_;
    return (read_file("/proc/$pid/stat") // '') =~ /\) [^ZX] /;
}

1;
