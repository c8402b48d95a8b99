# docs/openapi.yaml against the server: what it lists is there, answers what
# it says it may and with the fields it names, and nothing else is allowed.

use strict;
use warnings;

use lib 't/lib';
use Push::Test;
use Test::Nginx::Socket;

repeat_each(1);
plan tests => repeat_each() * 6;

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value(config => '    location /v1/ { push_center; }');
});

# { path => { method => { status => 1 } } }; each operation also has the
# responses of its parameters' errors, listed as "default".
sub operations {
    my (%of, $path, $method);

    open my $in, '<', 'docs/openapi.yaml' or die "docs/openapi.yaml: $!\n";

    while (my $line = <$in>) {
        last if $line =~ /^components:/;

        $path = $1, undef $method   if $line =~ m{^  (/\S+):};
        $method = uc $1             if $line =~ /^    (get|post|put|delete):/;
        $of{$path}{$method}{$1} = 1 if $method
                                       && $line =~ /^        '?(\d+|default)/;
    }

    die "no paths found\n" if keys %of < 8;
    return \%of;
}

# The path for a device that exists, with the id of a message it was sent.
sub real {
    my ($path, $ids) = @_;
    my ($kind) = $path =~ m{/(users|groups|broadcasts)};

    $path =~ s/\{product\}/shop/;
    $path =~ s/\{user\}/u/;
    $path =~ s/\{group\}/g/;
    $path =~ s/\{node\}/$ids->{node}/;
    $path =~ s/\{id\}/$ids->{$kind}/;

    return $path;
}

sub send_all {
    my ($t) = @_;
    my %ids;

    my $c = $t->client(client => 'd', user => 'shop/u', version => 5);
    $c->subscribe('shop/#', 'shop/group/g');
    $ids{users}      = $t->push('users/u', 'x')->{json}{id};
    $ids{groups}     = $t->push('groups/g', 'x')->{json}{id};
    $ids{broadcasts} = $t->push('broadcast', 'x')->{json}{id};

    $ids{node} = $t->http->get('/v1/ops/nodes')->{json}{asked};

    return \%ids;
}

sub each_operation {
    my ($t, $code) = @_;
    my $of  = operations();
    my $ids = send_all($t);
    my @bad;

    for my $path (sort keys %$of) {
        for my $method (qw(GET POST PUT DELETE)) {
            my $say = $code->($t, $method, real($path, $ids),
                              $of->{$path}{$method});

            push @bad, "$method $path: $say" if defined $say;
        }
    }

    $t->say($_) for @bad;
    $t->say('as written') if !@bad;
    return $t->text;
}

no_shuffle();
run_tests();

__DATA__

=== TEST 1: every operation answers with a status it lists
--- mqtt eval
sub {
    main::each_operation($_[0], sub {
        my ($t, $method, $path, $listed) = @_;
        return if !$listed;

        my $status = $t->http->request($method, $path,
                                       $method eq 'POST' ? 'x' : '')
                       ->{status};

        # alone, a node has nothing to write back to

        return undef if $path =~ /reflush$/ && $status == 409;

        return $listed->{$status} && $status < 300 ? undef : $status;
    });
}
--- mqtt_out
as written



=== TEST 2: other methods are refused, and Allow says which there are
--- mqtt eval
sub {
    main::each_operation($_[0], sub {
        my ($t, $method, $path, $listed) = @_;
        return if $listed;

        my $r = $t->http->request($method, $path, '');
        return $r->{status} if $r->{status} != 405;

        my $allow = $r->{headers}{allow} // '';
        return "Allow: $allow" if $allow !~ /^(GET|POST)/;
        return undef;
    });
}
--- mqtt_out
as written



=== TEST 3: without a key there is nothing to see, with the problem's type
--- mqtt eval
sub {
    main::each_operation($_[0], sub {
        my ($t, $method, $path, $listed) = @_;
        return if !$listed;

        my $http = Push::HTTP->new(port => Push::Test::http_port());
        my $r = $http->request($method, $path, '');

        return "$r->{status}" if $r->{status} != 401;
        return 'no problem'   if !$r->{json}{type} || !$r->{json}{title};
        return undef;
    });
}
--- mqtt_out
as written
