package Push::Token;

# JSON web tokens for tests: any header and claims, also wrong ones.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);

my $json = JSON::PP->new->canonical;

# A token with these claims; undefined ones are left out.
sub hs256 {
    my ($secret, $claims, %header) = @_;
    my $input = input({ alg => 'HS256', typ => 'JWT', %header }, $claims);

    return "$input." . encode_base64url(hmac_sha256($input, $secret));
}

# Signed by the key in a PEM file: RS256 or ES256, through openssl.
sub signed {
    my ($alg, $path, $claims, %header) = @_;
    my $input = input({ alg => $alg, typ => 'JWT', %header }, $claims);

    open my $out, '>', "$path.input" or die "$path.input: $!\n";
    print $out $input;
    close $out;

    my $signature = `openssl dgst -sha256 -sign '$path' '$path.input'`;
    unlink "$path.input";
    $? == 0 or die "openssl failed\n";

    $signature = es256_raw($signature) if $alg eq 'ES256';

    return "$input." . encode_base64url($signature);
}

sub input {
    my ($header, $claims) = @_;
    my %claims = map { $_ => $claims->{$_} }
                 grep { defined $claims->{$_} } keys %$claims;

    return encode_base64url($json->encode($header)) . '.'
           . encode_base64url($json->encode(\%claims));
}

# openssl writes SEQUENCE { INTEGER r, INTEGER s }, a token has r and s as 32
# bytes each.
sub es256_raw {
    my ($der) = @_;
    my (undef, undef, undef, $r, undef, $s) = unpack 'C C C C/a C C/a', $der;

    return join '', map { substr("\0" x 32 . $_, -32) } $r, $s;
}

1;
