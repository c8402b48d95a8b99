package Bench::Progress;

# Says on stderr which run of how many goes on, and how long the rest will
# take, judging by how long the ones before took against their estimates.

use strict;
use warnings;

use Time::HiRes qw(time);

# estimates: seconds of every run to come, in their order
sub new {
    my ($class, @estimates) = @_;
    my $total = 0;

    $total += $_ for @estimates;
    return bless { count => scalar @estimates, total => $total, done => 0,
                   number => 0, start => time }, $class;
}

sub step {
    my ($self, $estimate, $text) = @_;
    my $factor = $self->{done} > 20 ? (time - $self->{start}) / $self->{done}
                                    : 1;
    my $left   = ($self->{total} - $self->{done}) * $factor;

    printf STDERR "[%d/%d, %d:%02d left] %s\n", ++$self->{number},
        $self->{count}, $left / 60, $left % 60, $text;
    $self->{done} += $estimate;
}

1;
