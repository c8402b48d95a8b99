# docs/scaling.md holds what util/push-scaling reckons from docs/scaling.conf,
# and the program's numbers follow from those it is given.

use strict;
use warnings;

use Test::More tests => 9;

sub output { scalar qx(util/push-scaling @_ 2>&1) }

sub row {
    my ($text, $name) = @_;
    my ($cells) = $text =~ /^\| \Q$name\E \| (.*) \|$/m;

    $cells =~ tr/,//d;
    return (split / \| /, $cells)[0];
}

like(output('--check'), qr/up to date/, 'docs/scaling.md');

my $one = output('--devices', 10_000_000);
my $two = output('--devices', 20_000_000);

is(row($one, 'rooms'), 10, 'a million devices on each room');
is(row($two, 'rooms'), 20, 'twice the devices');
is(row(output('--devices 10000000 --set per_room=100000'), 'rooms'), 100,
   'smaller rooms');
cmp_ok(row(output('--devices 10000000 --set tls=0'),
           'CPU of all rooms, cores'), '<',
       row($one, 'CPU of all rooms, cores'), 'without TLS');
cmp_ok(row(output('--devices 10000000 --set broadcast_us=143'),
           'a broadcast has been sent to all, s'), '>',
       row($one, 'a broadcast has been sent to all, s'),
       'dearer deliveries take longer');
cmp_ok(row(output('--devices 10000000 --set reflush_rate=20000'),
           'a Redis master failed over: all written back, s'), '<',
       row($one, 'a Redis master failed over: all written back, s'),
       'a higher rate writes back sooner');
like(output('--set nonsense=1'), qr/there is no "nonsense"/, 'unknown name');
like(output('--set tls=much'), qr/is not a number/, 'no number');
