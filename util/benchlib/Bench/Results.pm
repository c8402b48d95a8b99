package Bench::Results;

# What came out: figures of all runs, and rows of medians made of them.
#
#     my $results = Bench::Results->new;
#     $results->add($case, $column, $round, $figures);
#     my @rows = $results->rows(@tests);     # of Bench::Tests
#     print Bench::Results::table(@rows);
#
# A row: id, test, title, better, the medians by column (ours, mosquitto,
# nchan, floor), ratio => { mosquitto, floor }, each the median of the ratios
# within a round, values => by column and round, targets => those that apply,
# each with "figure" and "met".

use strict;
use warnings;

use Bench::Targets qw(targets_of judge);
use Exporter qw(import);

our @EXPORT_OK = qw(median figure table verdict);

our @COLUMNS = qw(ours mosquitto nchan floor);

sub new { return bless { found => {} }, $_[0] }

sub add {
    my ($self, $case, $column, $round, $figures) = @_;
    $self->{found}{$case}{$column}[$round] = $figures;
}

sub median {
    my @sorted = sort { $a <=> $b } grep { defined } @_;
    return undef if !@sorted;
    return $sorted[$#sorted / 2] if @sorted % 2;
    return ($sorted[@sorted / 2 - 1] + $sorted[@sorted / 2]) / 2;
}

# by round, undef where there is none
sub values_of {
    my ($self, $case, $column, $figure) = @_;
    return map { $_ ? $_->{$figure} : undef }
           @{ $self->{found}{$case}{$column} // [] };
}

sub quotient {
    my ($a, $b) = @_;
    my $last = $#$a < $#$b ? $#$a : $#$b;

    return map { defined $a->[$_] && $b->[$_] ? $a->[$_] / $b->[$_]
                                              : undef } 0 .. $last;
}

sub row {
    my ($self, $test, $spec) = @_;
    my %row = (test => $test->{name}, map { $_ => $spec->{$_} }
               qw(id title better figure));

    for my $column (@COLUMNS) {
        my $from = $column eq 'floor' ? $spec->{floor} // $column : $column;
        my @v;

        if ($spec->{over}) {
            @v = quotient(map { [ $self->values_of($_, $from,
                                                   $spec->{figure}) ] }
                          @{ $spec->{over} });
        } else {
            @v = $self->values_of($spec->{case}, $from, $spec->{figure});
        }

        $row{values}{$column} = \@v;
        $row{$column} = median(@v);
    }

    for my $column (qw(mosquitto floor)) {
        $row{ratio}{$column} =
            median(quotient(@{ $row{values} }{ 'ours', $column }));
    }

    for my $target (targets_of($spec->{id})) {
        my $f = $target->{of} eq 'value' ? $row{ours}
                : $row{ratio}{ $target->{of} };
        push @{ $row{targets} }, { %$target, figure => $f,
                                   met => judge($target, $f) };
    }

    return \%row;
}

# those with anything in them
sub rows {
    my ($self, @tests) = @_;

    return grep { my $r = $_; grep { defined $r->{$_} } @COLUMNS }
           map { my $t = $_; map { $self->row($t, $_) } @{ $t->{rows} } }
           @tests;
}

sub figure {
    my ($v) = @_;

    return '-' if !defined $v;
    return sprintf '%.2f', $v if abs $v < 10 && $v != int $v;

    my $text = sprintf '%.0f', $v;
    1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $text;
}

# "met: >= 0.85 of floor" and the like, '' if there is no figure
sub verdict {
    my ($target) = @_;

    return '' if !defined $target->{met};

    my $of = $target->{of} eq 'value' ? '' : " of $target->{of}";
    my $bound = ($target->{compare} eq '>=' ? '>= ' : $target->{compare}
                 eq '<' ? '< ' : '<= ')
                . ($target->{limit} == 0.3334 ? '1/3'
                                              : $target->{limit}) . $of;

    return ($target->{met} ? 'met' : 'NOT MET') . ": $bound";
}

sub table {
    my (@rows) = @_;
    my $text = sprintf "%-48s %9s %9s %9s %9s %6s %6s  %s\n", '', 'ours',
                       'mosquitto', 'nchan', 'floor', '/mosq.', '/floor',
                       'target';
    my $last = '';

    for my $row (@rows) {
        $text .= "\n" if $row->{test} ne $last;
        $last = $row->{test};

        my @verdicts = grep { $_ ne '' } map { verdict($_) }
                       @{ $row->{targets} // [] };

        $text .= sprintf "%-48s %9s %9s %9s %9s %6s %6s  %s\n", $row->{title},
                         (map { figure($row->{$_}) } @COLUMNS),
                         (map { defined $row->{ratio}{$_}
                                ? sprintf '%.2f', $row->{ratio}{$_} : '-' }
                          qw(mosquitto floor)),
                         join '; ', @verdicts;
    }

    $text =~ s/ +$//mg;
    return $text;
}

1;
