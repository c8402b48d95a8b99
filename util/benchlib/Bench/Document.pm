package Bench::Document;

# Writes what was measured into docs/benchmarks.md and draws its charts.  The
# page is written by hand; this replaces only what stands between the lines
#
#     <!-- generated: NAME -->
#     <!-- end -->
#
# NAME is machine, results, goals or charts.

use strict;
use warnings;

use Bench::Charts qw(draw_all);
use Bench::Common qw(note read_file write_file read_json $RESULTS $TOP);
use Bench::Results qw(figure);
use File::Path qw(make_path);

my $PAGE   = "$TOP/docs/benchmarks.md";
my $CHARTS = "$TOP/docs/benchmarks";

# the exit status
sub write_all {
    my $summary = read_json("$RESULTS/summary.json");
    my $page    = read_file($PAGE);

    if (!$summary) {
        note('nothing was measured yet (make bench)');
        return 1;
    }

    if (!defined $page) {
        note('there is no docs/benchmarks.md to write into');
        return 1;
    }

    make_path($CHARTS);

    my @rows = @{ $summary->{rows} };
    my %part = (
        machine => machine($summary), results => results(@rows),
        goals => goals(@rows),
        charts => join("\n", map { "![$_->[1]](benchmarks/$_->[0])\n" }
                       draw_all($CHARTS, @rows)),
    );

    for my $name (sort keys %part) {
        next if $page =~ s/(<!--\ generated:\ \Q$name\E\ -->\n).*?
                           (<!--\ end\ -->)/$1\n$part{$name}\n$2/xs;
        note("docs/benchmarks.md has no part \"$name\"");
        return 1;
    }

    write_file($PAGE, $page);
    return 0;
}

# What rows say of this kind, each once: they may be of several runs.
sub unlike_ones {
    my ($name, @rows) = @_;
    my %seen;

    return join ', ', grep { !$seen{$_}++ } map { $_->{$name} // '?' } @rows;
}

sub machine {
    my ($summary) = @_;
    my $m = $summary->{machine};
    my ($rounds, $commits) = map { unlike_ones($_, @{ $summary->{rows} }) }
                             qw(rounds commit);

    return <<"END";
| | |
|---|---|
| measured | $m->{date}, rounds: $rounds |
| commit (+: with changes) | $commits |
| CPU | $m->{cpu}, $m->{cores} cores, shared by servers and generators |
| memory | $m->{memory} |
| descriptors of a process | @{[ figure($m->{files}) ]} |
| kernel | Linux $m->{kernel} |
| nginx | $m->{nginx}, OpenSSL $m->{openssl} |
| mosquitto | @{[ $m->{mosquitto} // '-' ]} |
| Nchan | @{[ $m->{nchan} // '-' ]} |
END
}

sub results {
    my (@rows) = @_;
    my $text = "| | ngx_push | mosquitto | Nchan | floor | / mosquitto "
               . "| / floor |\n|---|--:|--:|--:|--:|--:|--:|\n";
    my $last = '';

    for my $row (@rows) {
        if ($row->{test} ne $last) {
            $last = $row->{test};
            $text .= "| **$last** | | | | | | |\n";
        }

        $text .= '| ' . join(' | ', $row->{title},
                             (map { figure($row->{$_}) }
                              @Bench::Results::COLUMNS),
                             (map { defined $row->{ratio}{$_}
                                    ? sprintf('%.2f', $row->{ratio}{$_})
                                    : '-' } qw(mosquitto floor))) . " |\n";
    }

    return $text;
}

sub goals {
    my (@rows) = @_;
    my $text = "| goal | reached | |\n|---|--:|---|\n";

    for my $target (map { @{ $_->{targets} // [] } } @rows) {
        next if !defined $target->{met};
        $text .= sprintf "| %s | %s | %s |\n", $target->{text},
                         figure($target->{figure}),
                         $target->{met} ? 'met' : '**not met**';
    }

    return $text;
}

1;
