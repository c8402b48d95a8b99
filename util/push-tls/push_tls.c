
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * push-tls: TLS connections to 127.0.0.1, one after the other in each of some
 * processes, to count what they cost a server: handshakes that are closed at
 * once, or connections that are held until standard input ends.
 *
 * With --mqtt a connection says CONNECT and SUBSCRIBE and waits for both
 * answers; without, it waits for one octet, if not told --silent.
 */


#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


#define PUSH_TLS_PROCESSES  64


typedef struct {
    int          port;
    int          connections;
    int          processes;
    int          version;          /* 0: what both can */
    int          resume;
    int          hold;
    int          silent;
    const char  *ciphers;          /* of TLS 1.2 */
    const char  *suites;           /* of TLS 1.3 */
    const char  *product;          /* --mqtt */
} push_tls_options_t;


/* shared among the processes */

typedef struct {
    long         done;
    long         resumed;
} push_tls_count_t;


static push_tls_options_t   opt = { .connections = 1000, .processes = 4 };
static SSL_SESSION         *session;
static push_tls_count_t    *counts;


static void
push_tls_fail(const char *what)
{
    fprintf(stderr, "push-tls: %s", what);

    if (ERR_peek_error()) {
        fputs(": ", stderr);
        ERR_print_errors_fp(stderr);

    } else {
        fprintf(stderr, ": %s\n", strerror(errno));
    }

    exit(1);
}


static double
push_tls_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* The newest session is what the next connection offers. */

static int
push_tls_new_session(SSL *ssl, SSL_SESSION *s)
{
    (void) ssl;

    SSL_SESSION_free(session);
    session = s;

    return 1;
}


static SSL_CTX *
push_tls_ctx(void)
{
    SSL_CTX  *ctx;

    ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL
        || (opt.version && (!SSL_CTX_set_min_proto_version(ctx, opt.version)
                            || !SSL_CTX_set_max_proto_version(ctx,
                                                              opt.version)))
        || (opt.ciphers && !SSL_CTX_set_cipher_list(ctx, opt.ciphers))
        || (opt.suites && !SSL_CTX_set_ciphersuites(ctx, opt.suites)))
    {
        push_tls_fail("SSL_CTX");
    }

    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);

    if (opt.resume) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT
                                            |SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, push_tls_new_session);

    } else {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    }

    return ctx;
}


/* An MQTT 3.1.1 CONNECT and a SUBSCRIBE to "product/#", and their answers. */

static void
push_tls_mqtt(SSL *ssl, int number)
{
    int            n, got;
    char           user[128], id[32], filter[64];
    unsigned char  buf[512], *p;

    snprintf(user, sizeof(user), "%s/u%d", opt.product, number);
    snprintf(id, sizeof(id), "d%d", number);
    snprintf(filter, sizeof(filter), "%s/#", opt.product);

    p = buf + 2;
    memcpy(p, "\0\4MQTT\4\x82\1\x2c", 10);    /* user name, clean start */
    p += 10;
    *p++ = 0;
    *p++ = (unsigned char) strlen(id);
    p = (unsigned char *) stpcpy((char *) p, id);
    *p++ = 0;
    *p++ = (unsigned char) strlen(user);
    p = (unsigned char *) stpcpy((char *) p, user);
    buf[0] = 0x10;
    buf[1] = (unsigned char) (p - buf - 2);

    if (SSL_write(ssl, buf, (int) (p - buf)) <= 0) {
        push_tls_fail("CONNECT");
    }

    for (got = 0; got < 4; got += n) {
        n = SSL_read(ssl, buf + got, 4 - got);
        if (n <= 0) {
            push_tls_fail("CONNACK");
        }
    }

    if (buf[0] != 0x20 || buf[3] != 0) {
        push_tls_fail("CONNECT refused");
    }

    memcpy(buf, "\x82\0\0\1\0", 5);
    p = (unsigned char *) stpcpy((char *) buf + 6, filter);
    buf[5] = (unsigned char) strlen(filter);
    *p++ = 1;
    buf[1] = (unsigned char) (p - buf - 2);

    if (SSL_write(ssl, buf, (int) (p - buf)) <= 0) {
        push_tls_fail("SUBSCRIBE");
    }

    for (got = 0; got < 5; got += n) {
        n = SSL_read(ssl, buf + got, 5 - got);
        if (n <= 0) {
            push_tls_fail("SUBACK");
        }
    }

    if (buf[0] != 0x90 || buf[4] > 1) {
        push_tls_fail("SUBSCRIBE refused");
    }
}


static void
push_tls_open(SSL_CTX *ctx, push_tls_count_t *count, int number)
{
    int                 fd, on;
    SSL                *ssl;
    char                c;
    struct sockaddr_in  sin;
    struct linger       linger;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(opt.port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    fd = socket(AF_INET, SOCK_STREAM, 0);
    on = 1;

    if (fd == -1 || connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        push_tls_fail("connect");
    }

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    ssl = SSL_new(ctx);

    if (ssl == NULL || !SSL_set_fd(ssl, fd)
        || (opt.resume && session && !SSL_set_session(ssl, session))
        || SSL_connect(ssl) != 1)
    {
        push_tls_fail("handshake");
    }

    if (opt.product) {
        push_tls_mqtt(ssl, number);

    } else if (!opt.silent && SSL_read(ssl, &c, 1) != 1) {
        push_tls_fail("read");
    }

    count->done++;
    count->resumed += SSL_session_reused(ssl);

    if (opt.hold) {
        return;
    }

    /* no TIME_WAIT: there are only 28,000 ports */

    linger.l_onoff = 1;
    linger.l_linger = 0;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));

    SSL_set_quiet_shutdown(ssl, 1);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}


static void
push_tls_process(int p, int ready)
{
    int       i, n;
    char      c;
    SSL_CTX  *ctx;

    ctx = push_tls_ctx();
    n = opt.connections / opt.processes;

    for (i = 0; i < n; i++) {
        push_tls_open(ctx, &counts[p], p * n + i);
    }

    if (opt.hold) {
        if (write(ready, "", 1) != 1) {
            push_tls_fail("pipe");
        }

        while (read(STDIN_FILENO, &c, 1) > 0) { /* void */ }
    }

    /* the kernel closes what is held */

    _exit(0);
}


static void
push_tls_options(int argc, char **argv)
{
    int  c;

    static const struct option  table[] = {
        { "port", 1, NULL, 'p' },
        { "connections", 1, NULL, 'n' },
        { "processes", 1, NULL, 'P' },
        { "tls", 1, NULL, 't' },
        { "ciphers", 1, NULL, 'c' },
        { "suites", 1, NULL, 's' },
        { "mqtt", 1, NULL, 'm' },
        { "resume", 0, NULL, 'r' },
        { "hold", 0, NULL, 'h' },
        { "silent", 0, NULL, 'q' },
        { NULL, 0, NULL, 0 }
    };

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'p':
            opt.port = atoi(optarg);
            break;
        case 'n':
            opt.connections = atoi(optarg);
            break;
        case 'P':
            opt.processes = atoi(optarg);
            break;
        case 't':
            opt.version = strcmp(optarg, "1.2") == 0 ? TLS1_2_VERSION
                                                     : TLS1_3_VERSION;
            break;
        case 'c':
            opt.ciphers = optarg;
            break;
        case 's':
            opt.suites = optarg;
            break;
        case 'm':
            opt.product = optarg;
            break;
        case 'r':
            opt.resume = 1;
            break;
        case 'h':
            opt.hold = 1;
            break;
        case 'q':
            opt.silent = 1;
            break;
        default:
            opt.port = 0;
            optind = argc;
        }
    }

    if (opt.port == 0 || optind != argc || opt.processes < 1
        || opt.processes > PUSH_TLS_PROCESSES
        || opt.connections < opt.processes)
    {
        fputs("usage: push-tls --port PORT [--connections N] [--processes N]"
              "\n       [--mqtt PRODUCT | --silent] [--hold] [--resume]"
              " [--tls 1.2|1.3]\n       [--ciphers LIST] [--suites LIST]\n",
              stderr);
        exit(2);
    }
}


int
main(int argc, char **argv)
{
    int     p, ready[2], status, failed;
    char    c;
    long    done, resumed;
    double  start, end;

    push_tls_options(argc, argv);

    counts = mmap(NULL, sizeof(push_tls_count_t) * PUSH_TLS_PROCESSES,
                  PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    if (counts == MAP_FAILED || pipe(ready) == -1) {
        push_tls_fail("start");
    }

    start = push_tls_now();

    for (p = 0; p < opt.processes; p++) {
        switch (fork()) {
        case -1:
            push_tls_fail("fork");
            break;
        case 0:
            close(ready[0]);
            push_tls_process(p, ready[1]);
        }
    }

    close(ready[1]);

    for (p = 0; opt.hold && p < opt.processes; p++) {
        if (read(ready[0], &c, 1) != 1) {
            break;
        }
    }

    end = opt.hold ? push_tls_now() : 0;

    if (opt.hold) {
        puts("held");
        fflush(stdout);
    }

    for (p = 0, failed = 0; p < opt.processes; p++) {
        if (wait(&status) == -1 || status != 0) {
            failed = 1;
        }
    }

    end = end ? end : push_tls_now();

    for (p = 0, done = 0, resumed = 0; p < opt.processes; p++) {
        done += counts[p].done;
        resumed += counts[p].resumed;
    }

    printf("{ \"connections\": %ld, \"resumed\": %ld, \"seconds\": %.3f }\n",
           done, resumed, end - start);

    return failed;
}
