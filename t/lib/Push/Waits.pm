package Push::Waits;

# What Push::Server and Push::Redis have in common: {name}, {wait} seconds.

use strict;
use warnings;

use Time::HiRes qw(sleep time);

# Waits until the code returns something true, and returns that.
sub until {
    my ($self, $what, $code, $seconds) = @_;
    my $end = time + ($seconds // $self->{wait});

    for (;;) {
        my $value = $code->();

        return $value if $value;
        die "$self->{name}: waited in vain for $what\n" if time > $end;
        sleep 0.02;
    }
}

1;
