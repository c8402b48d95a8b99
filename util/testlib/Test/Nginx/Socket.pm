package Test::Nginx::Socket;

# A stand-in for the CPAN module of this name, with what our suites use of it,
# written from its documentation.  It is used where the genuine one is not
# installed; a suite passes under both with the same number of tests.
#
# Server.pm runs nginx, Client.pm talks to it, Check.pm holds the answers
# against the sections of a block.  A section or a function that the genuine
# module has and this one has not stops the suite with a message; it is never
# ignored.

use strict;
use warnings;

use Test::Base -Base;
use Test::Nginx::Server qw(:all);
use Test::Nginx::Check ();

our $VERSION = '0.33';

our @EXPORT = (qw(plan run_tests add_response_body_check),
               @Test::Nginx::Server::SETTINGS);

sub add_response_body_check ($) {
    Test::Nginx::Check::add_body_check($_[0]);
}

sub run_tests () {
    my @blocks = Test::Base::blocks();

    Test::Nginx::Check::run_block($_)
        for Test::Nginx::Server::ordered(@blocks);

    Test::Nginx::Check::stop_previous() if !$ENV{TEST_NGINX_NO_CLEAN};
    Test::Nginx::Server::cleanup();
}

1;
