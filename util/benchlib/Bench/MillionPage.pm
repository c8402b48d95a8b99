package Bench::MillionPage;

# Writes what the million run found between the lines
#
#     <!-- generated: million -->
#     <!-- end -->
#
# of docs/benchmarks.md.

use strict;
use warnings;

use Bench::Common qw(note read_file write_file read_json $TOP);
use Bench::Results qw(figure);

my $PAGE = "$TOP/docs/benchmarks.md";

# the exit status
sub write_part {
    my ($json) = @_;
    my $run  = read_json($json);
    my $page = read_file($PAGE) // '';

    if (!$run) {
        note("there is no $json (make bench-million)");
        return 1;
    }

    my $part = part($run);

    if ($page !~ s/(<!--\ generated:\ million\ -->\n).*?
                   (<!--\ end\ -->)/$1\n$part\n$2/xs)
    {
        note('docs/benchmarks.md has no part "million"');
        return 1;
    }

    write_file($PAGE, $page);
    return 0;
}

sub part {
    my ($run) = @_;
    my ($plan, $m) = @{$run}{qw(plan machine)};
    my $text = sprintf "%s connections, %d workers of nginx, as many processes "
        . "of the generator; %s, commit %s%s, %s, %d cores, %s.\n\n",
        figure($plan->{connections}), $plan->{workers}, $m->{date},
        $m->{commit}, $m->{changed} ? ' with changes' : '', $m->{cpu},
        $m->{cores}, $m->{memory};

    $text .= "| | ngx_push | floor | / floor | goal |\n"
             . "|---|--:|--:|--:|---|\n";

    for my $row (@{ $run->{rows} }) {
        my @goals = map { sprintf '%s%s: %s', $_->{compare} =~ s/=//r,
                          bound($_), $_->{met} ? 'met' : '**not met**' }
                    grep { defined $_->{met} } @{ $row->{targets} // [] };

        $text .= '| ' . join(' | ', $row->{title},
                             figure($row->{ours}), figure($row->{floor}),
                             defined $row->{ratio}{floor}
                             ? sprintf('%.2f', $row->{ratio}{floor}) : '-',
                             join('; ', @goals)) . " |\n";
    }

    return $text;
}

sub bound {
    my ($target) = @_;
    my $of = $target->{of} eq 'value' ? '' : " x $target->{of}";

    return ($target->{compare} =~ /=/ ? '= ' : ' ') . "$target->{limit}$of";
}

1;
