package Test::Nginx::Check;

# Runs a block: starts the server for it, sends its requests, and holds what
# came back and what was logged against its sections.  The number of tests a
# section makes is the documented one: one for the status of each response,
# one for each body, header and log pattern asked for.

use strict;
use warnings;

use JSON::PP ();
use Test::More ();
use Test::Nginx::Client ();
use Test::Nginx::Server qw(:all);
use Time::HiRes qw(sleep);

# What the genuine module knows and this one does not.
my @refused = qw(
    curl_protocol curl_options curl_error http2 http3 no_http2 no_http3 stap
    stap_out stap_out_like stap_out_unlike udp_listen udp_reply udp_query
    tcp_listen tcp_reply tcp_query reload_fails request_eval todo todo_nginx
    response_body_eval post_setup_server_root error_log_file skip_openssl
);

my (@body_checks, $version, $previous_config, $previous_block);

sub add_body_check ($) { push @body_checks, $_[0] }

sub run_block ($) {
    my ($block) = @_;

    Test::Nginx::Server::prepare($block);

    my $name = $block->name;

    for my $section (@refused) {
        bail_out("$name - the stand-in does not know --- $section")
            if defined $block->$section;
    }

    my ($skip, $reason) = skip_reason($block);

    if ($skip) {
        skip_tests($skip * repeat_each(), "$name - $reason");

    } elsif (defined $block->must_die) {
        must_die($block);

    } else {
        start_server($block);

        eval($block->init // '');
        bail_out("$name - init failed: $@") if $@;

        reset_error_log();
        request_and_check($block, $_) for 0 .. repeat_each() - 1;
    }

    Test::Nginx::Server::finish($block);
    $previous_block = $block;
}

sub skip_tests ($$) {
    my ($n, $reason) = @_;

  SKIP: {
        Test::More::skip($reason, $n);
    }
}

# (number of tests, reason), or nothing when the block is to run
sub skip_reason ($) {
    my ($block) = @_;
    my $name    = $block->name;

    if (defined(my $spec = $block->skip_eval)) {
        $spec =~ /^\s*(\d+)\s*:\s*(.*)/s
            or bail_out("$name - Invalid --- skip_eval spec: $spec");

        my ($n, $skip) = ($1, eval $2);
        bail_out("$name - skip_eval failed: $@") if $@;
        return ($n, 'skip_eval') if $skip;
    }

    if (defined(my $spec = $block->skip_nginx // $block->skip_nginx2)) {
        my $cond = qr/([<>]=?)\s*(\d+)\.(\d+)\.(\d+)/;

        $spec =~ /^\s*(\d+)\s*:\s*$cond(?:\s*(and|or)\s*$cond)?
                  (?:\s*:\s*(.*?))?\s*$/x
            or bail_out("$name - Invalid --- skip_nginx spec: $spec");

        my ($n, $or, $why) = ($1, ($6 // '') eq 'or', $11);
        my $skip = compare($2, $3, $4, $5);

        if (defined $6) {
            my $second = compare($7, $8, $9, $10);
            $skip = $or ? $skip || $second : $skip && $second;
        }

        return ($n, $why || 'this version of nginx') if $skip;
    }

    return;
}

sub compare ($@) {
    my ($op, @parts) = @_;
    my $want = sprintf '%d%03d%03d', @parts;

    $version //= binary_version();

    return $op eq '<'  ? $version < $want
         : $op eq '<=' ? $version <= $want
         : $op eq '>'  ? $version > $want
         :               $version >= $want;
}

sub start_server ($) {
    my ($block) = @_;
    my $name    = $block->name;
    my $config  = expand($block->config, $name);

    if (!defined $config) {
        bail_out("$name - No '--- config' section specified and could not"
                 . ' get previous one.') if !defined $previous_config;
        return;
    }

    $previous_config = $config;

    stop_previous();

    my $status = start($block, $config);

    if ($status != 0) {
        Test::More::diag(@{error_log_lines()});
        bail_out("$name - Cannot start nginx (status code $status).");
    }
}

sub must_die ($) {
    my ($block) = @_;
    my $name    = $block->name;
    my $want    = $block->must_die;

    undef $previous_config;
    stop_previous();

    for my $i (0 .. repeat_each() - 1) {
        my $status = start($block, expand($block->config, $name) // '');

        # behind a shell, a signal shows as 128 + its number
        my $code = $status >> 8;

        if ($status == -1) {
            Test::More::fail("$name - failed to execute nginx");

        } elsif (($status & 128) || ($code & 128)) {
            Test::More::fail("$name - nginx core dumped");

        } elsif ($want =~ /^\s*(\d+)\s*$/) {
            Test::More::is($code, $1,
                           "$name - die with the expected exit code");

        } else {
            Test::More::isnt($status, 0, "$name - die as expected");
        }

        check_error_log($block, $i);
        stop($name) if $status == 0;
    }
}

sub request_and_check ($$) {
    my ($block, $repeat) = @_;
    my $name = $block->name;
    my ($requests, $per_request) = Test::Nginx::Client::requests($block);
    my $total = @$requests * $per_request;
    my $index = 0;

    for my $packets (@$requests) {
        my $bytes   = Test::Nginx::Client::exchange($block, $packets) // '';
        my $is_head = $packets->[0]{value} =~ /^\s*HEAD\s/;

        for (1 .. $per_request) {
            if (!defined $block->ignore_response) {
                my $res = defined $block->http09
                    ? { code => 200, headers => [], raw_headers => '',
                        content => $bytes, left => '' }
                    : Test::Nginx::Client::parse_response($name, $bytes,
                                                          $is_head);

                $bytes = $res->{left};
                check_response($block, $res, $index, $repeat, $total > 1);
            }

            sleep $block->wait if $block->wait;

            check_error_log($block, $repeat);
            check_access_log($block, $repeat)
                if !defined $block->ignore_response;
            $index++;
        }
    }
}

# The element of a section that belongs to this request.
sub element ($$$$) {
    my ($block, $value, $index, $many) = @_;

    return $value->[$index] if ref $value eq 'ARRAY';

    bail_out($block->name . ' - You asked for many requests, the expected'
             . ' results should be arrays as well.') if $many;

    return $value;
}

sub check_response ($$$$$) {
    my ($block, $res, $index, $repeat, $many) = @_;

    my $of = sub { element($block, $block->${\$_[0]}, $index, $many) };

    check_status($block, $res, $of);
    check_headers($block, $res, $of);
    filter_body($block, $res, $index);
    check_body($block, $res, $of, "repeated req $repeat, req $index");

    $_->($block, $res->{content}, $index, $repeat, 0) for @body_checks;
}

sub check_status ($$$) {
    my ($block, $res, $of) = @_;
    my $title = $block->name . ' - status code ok';

    if (defined $block->error_code_like) {
        my $pattern = $of->('error_code_like');
        Test::More::like($res->{code}, qr/$pattern/sm, $title);

    } else {
        my $code = defined $block->error_code ? $of->('error_code') : 200;
        Test::More::is($res->{code}, $code, $title);
    }
}

sub check_headers ($$$) {
    my ($block, $res, $of) = @_;
    my $name = $block->name;

    if (defined $block->raw_response_headers_like) {
        my $pattern = $of->('raw_response_headers_like');
        Test::More::like($res->{raw_headers}, qr/$pattern/s,
                         "$name - raw resp headers like");
    }

    if (defined $block->raw_response_headers_unlike) {
        my $pattern = $of->('raw_response_headers_unlike');
        Test::More::unlike($res->{raw_headers}, qr/$pattern/s,
                           "$name - raw resp headers unlike");
    }

    if (defined $block->response_headers) {
        for my $pair (header_lines($of->('response_headers'))) {
            my ($key, $value) = @$pair;

            if (!defined $value) {
                Test::More::unlike($res->{raw_headers}, qr/^\s*\Q$key\E\s*:/ms,
                                   "$name - header $key not present");
                next;
            }

            Test::More::is(Test::Nginx::Client::header($res, $key) // '',
                           with_ports($value), "$name - header $key ok");
        }

    } elsif (defined $block->response_headers_like) {
        for my $pair (header_lines($of->('response_headers_like'))) {
            my ($key, $value) = @$pair;

            $value //= '';
            Test::More::like(Test::Nginx::Client::header($res, $key) // '',
                             qr/^$value$/, "$name - header $key like ok");
        }
    }
}

# [name, value] pairs; no value for "! name".  A later line for the same name
# replaces the earlier.
sub header_lines ($) {
    my ($text) = @_;
    my %seen;

    for my $line (split /\n/, $text // '') {
        $line =~ s/^\s+|\s+$//g;

        if ($line =~ s/^!\s*//) {
            $seen{$line} = undef;

        } else {
            my ($key, $value) = split /\s*:\s*/, $line, 2;
            $seen{$key // ''} = $value;
        }
    }

    return map { [$_, $seen{$_}] } sort keys %seen;
}

sub with_ports ($) {
    my ($text) = @_;
    my ($server, $client) = (server_port(), server_port_for_client());

    $text =~ s/\$ServerPort\b/$server/g;
    $text =~ s/\$ServerPortForClient\b/$client/g;
    return $text;
}

my %filters = (
    md5_hex  => sub { require Digest::MD5; Digest::MD5::md5_hex($_[0]) },
    sha1_hex => sub { require Digest::SHA; Digest::SHA::sha1_hex($_[0]) },
    length   => sub { length $_[0] },
    uc       => sub { uc $_[0] },
    lc       => sub { lc $_[0] },
    ucfirst  => sub { ucfirst $_[0] },
    lcfirst  => sub { lcfirst $_[0] },
);

sub filter_body ($$$) {
    my ($block, $res, $index) = @_;
    my $spec = $block->response_body_filters;

    return if !defined $spec;

    my @list = ref $spec eq 'ARRAY' ? @$spec
             : ref $spec            ? $spec : split ' ', $spec;

    @list = @{$list[$index]} if ref $list[0] eq 'ARRAY';

    for my $filter (@list) {
        my $code = ref $filter ? $filter : $filters{$filter}
            or bail_out($block->name . " - unknown filter $filter");
        $res->{content} = $code->($res->{content});
    }
}

sub check_body ($$$$) {
    my ($block, $res, $of, $where) = @_;
    my $name    = $block->name;
    my $content = $res->{content};

    if (defined $block->response_body) {
        my $expected = $of->('response_body');

        if (defined $block->response_body_json_sort) {
            my $json = JSON::PP->new->canonical(1)->loose(1);
            my $data = eval { $json->decode($content) };
            $content = $json->encode($data) . "\n" if defined $data;
        }

        if (defined $expected && !ref $expected) {
            $expected = expand(with_ports($expected), $name);
        }

        is_str($content, $expected, "$name - response_body - response is"
                                    . " expected ($where)");
        return;
    }

    for my $kind (qw(like unlike)) {
        my $section = "response_body_$kind";

        next if !defined $block->$section;

        my $pattern = with_ports($of->($section));
        Test::More->can($kind)->($content, qr/$pattern/s,
                                 "$name - $section - response is expected");
        return;
    }
}


# --- logs

# A section's patterns: lines of text, one regular expression, or a list.
sub patterns ($) {
    my ($value) = @_;

    return grep { defined } @$value if ref $value eq 'ARRAY';
    return $value if ref $value;

    chomp $value;
    return split /\n+/, $value;
}

sub matches ($$) {
    my ($line, $pattern) = @_;

    return ref $pattern ? $line =~ /$pattern/ : index($line, $pattern) >= 0;
}

sub check_lines ($$$$) {
    my ($title, $lines, $wanted, $unwanted) = @_;

    if (defined $wanted) {
        for my $pattern (patterns($wanted)) {
            Test::More::ok(scalar(grep { matches($_, $pattern) } @$lines),
                           "$title: \"$pattern\" matches a line");
        }
    }

    if (defined $unwanted) {
        for my $pattern (patterns($unwanted)) {
            my @found = grep { matches($_, $pattern) } @$lines;

            Test::More::ok(!@found, "$title: \"$pattern\" matches no line")
                or Test::More::diag(@found > 5 ? @found[0 .. 4] : @found);
        }
    }
}

sub check_error_log ($$) {
    my ($block, $repeat) = @_;
    my $name  = $block->name;
    my $lines = error_log_lines();
    my $grep  = $block->grep_error_log;

    if (defined $grep) {
        $grep = $grep->[$repeat] if ref $grep eq 'ARRAY';

        my $out = $block->grep_error_log_out;
        $out = $out->[$repeat] if ref $out eq 'ARRAY';

        defined $out or bail_out("$name - No --- grep_error_log_out defined"
                                 . ' but --- grep_error_log is defined');

        my $pattern = ref $grep ? $grep : qr/\Q$grep\E/;
        my $found = join '', map { "$_\n" } grep { !/\n/ }
                        map { /$pattern/ ? $& : () } @$lines;

        is_str($found, expand($out, $name),
               "$name - grep_error_log_out (req $repeat)");

    } elsif (defined $block->grep_error_log_out) {
        bail_out("$name - No --- grep_error_log defined but"
                 . ' --- grep_error_log_out is defined');
    }

    check_lines("$name - error.log (req $repeat)", $lines,
                $block->error_log, $block->no_error_log);

    warn_of_serious($block, $lines) if !defined $block->must_die;
}

# Not tests of their own, but never silent.
sub warn_of_serious ($$) {
    my ($block, $lines) = @_;
    my @known = map { defined $_ ? patterns($_) : () }
                    $block->error_log, $block->no_error_log;

    for my $level (qw(alert crit emerg)) {
        next if grep { index("$_", "[$level") >= 0 } @known;

        warn 'WARNING: ' . $block->name . " - $_"
            for grep { index($_, "[$level]") >= 0 } @$lines;
    }
}

sub check_access_log ($$) {
    my ($block, $repeat) = @_;

    return if !defined $block->access_log && !defined $block->no_access_log;

    check_lines($block->name . " - access.log (req $repeat)",
                access_log_lines(), $block->access_log,
                $block->no_access_log);
}

# Stops the server of the block before, and checks what it wrote until then.
sub stop_previous () {
    my $block = $previous_block or return;

    stop($block->name);

    return if !defined $block->shutdown_error_log
              && !defined $block->no_shutdown_error_log;

    reset_error_log();
    check_lines($block->name . ' - shutdown error.log', error_log_lines(),
                $block->shutdown_error_log, $block->no_shutdown_error_log);
    undef $previous_block;
}

1;
