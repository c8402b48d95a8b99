package Bench::Charts;

# Bar charts of the rows of Bench::Results as SVG, drawn by gnuplot.

use strict;
use warnings;

use Bench::Common qw(fail read_file write_file);
use Exporter qw(import);

our @EXPORT_OK = qw(draw_all);

my @COLUMNS = ([ ours => 'ngx_push', '#1f77b4' ],
               [ mosquitto => 'mosquitto', '#ff7f0e' ],
               [ nchan => 'Nchan', '#8c8c8c' ],
               [ floor => 'floor', '#c7e0f0' ]);

# file, title, unit of the axis, and pairs of row id and label, in which | is
# the end of a line
my @CHARTS = (
    [ 'throughput', 'Per second of server CPU', 'operations / CPU s',
      connect => 'connect|and bind', 'unicast-256' => 'unicast|256 B',
      'unicast-1024' => 'unicast|1 kB', broadcast => 'broadcast|QoS 0',
      'broadcast-qos1' => 'broadcast|QoS 1' ],
    [ 'memory', 'Memory per idle connection', 'bytes',
      'idle-all' => 'MQTT or WebSocket', 'idle-tls' => 'through TLS' ],
    [ 'latency', 'Publish to delivery at 5,000 a second', 'us',
      'latency-p50' => 'p50', 'latency-p99' => 'p99' ],
    [ 'user', 'User-space CPU per delivery', 'us',
      'unicast-user' => 'unicast 256 B',
      'broadcast-user' => 'broadcast QoS 0' ],
    [ 'workers', 'By number of workers', 'deliveries / CPU s',
      (map { my $m = $_; map { ("workers-$m-$_" => "$m|$_") } 1, 8, 50 }
       qw(unicast broadcast)) ],
    [ 'devices', 'Unicast to random devices', 'deliveries / CPU s',
      (map { ("devices-$_" => "$_ devices") } qw(10k 100k 1M)) ],
    [ 'syscalls', 'System calls per delivered message', 'calls',
      syscalls => '5,000 messages a second' ],
);

# Draws those that have rows; [ file, title ] of each, in their order.
sub draw_all {
    my ($dir, @rows) = @_;
    my %row = map { $_->{id} => $_ } @rows;
    my @drawn;

    for my $chart (@CHARTS) {
        my ($name, $title, $unit, @bars) = @$chart;
        my @data;

        while (my ($id, $label) = splice @bars, 0, 2) {
            push @data, [ $label, $row{$id} ] if $row{$id};
        }

        next if !@data;
        draw("$dir/$name.svg", $title, $unit, @data);
        push @drawn, [ "$name.svg", $title ];
    }

    return @drawn;
}

sub draw {
    my ($file, $title, $unit, @data) = @_;
    my @used = grep { my $c = $_->[0]; grep { defined $_->[1]{$c} } @data }
               @COLUMNS;
    my $table = join '', map {
        my ($label, $row) = @$_;
        join("\t", '"' . $label =~ s/\|/\\n/gr . '"', map { $row->{ $_->[0] } // '?' } @used) . "\n"
    } @data;
    my $large = grep { ($_ // 0) >= 10 }
                map { my $r = $_->[1]; map { $r->{ $_->[0] } } @used } @data;
    my $format = $large ? '%.0s%c' : '%g';
    my $plots = join ", \\\n    ", map {
        "\$data using " . ($_ + 2) . ($_ ? '' : ':xtic(1)')
        . " title '$used[$_][1]' linecolor rgb '$used[$_][2]'"
    } 0 .. $#used;

    open my $gnuplot, '|-', 'gnuplot' or fail("gnuplot: $!");
    print $gnuplot <<"END";
set terminal svg noenhanced size 760,380 font 'sans-serif,13' background '#ffffff'
set output '$file'
set datafile separator "\\t"
set datafile missing '?'
set title '$title'
set ylabel '$unit'
set yrange [0:*]
set format y "$format"
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 border -1
set grid ytics linecolor rgb '#dddddd'
set key outside center top horizontal
set bmargin 4
set border 3
set tics nomirror
\$data << EOD
${table}EOD
plot $plots
END
    close $gnuplot or fail("gnuplot could not draw $file");

    # so that a document changes only when its figures do
    tidy($file);
}

# gnuplot writes the time and its own version into the file.
sub tidy {
    my ($file) = @_;
    my $text = read_file($file);

    $text =~ s/<!--.*?-->\n?//gs;
    $text =~ s/[ \t]+$//mg;
    write_file($file, $text);
}

1;
