
/*
 * Copyright (C) the ngx_push authors
 */


#include <openssl/err.h>
#include <sys/epoll.h>

#include "bench.h"


#define BENCH_READ_SIZE  65536


/*
 * Starts a connection.  On an error errno is set, the role is not called.
 * Otherwise the role hears "opened" or "closed" later, never from here.
 */

int
bench_net_open(bench_worker_t *w, bench_conn_t *c,
    const struct sockaddr_storage *addr, socklen_t addrlen, int source,
    int tls)
{
    int                 fd, err;
    struct epoll_event  ev;

    fd = bench_socket(addr, source);
    if (fd == -1) {
        return BENCH_ERROR;
    }

    if (connect(fd, (struct sockaddr *) addr, addrlen) == -1
        && errno != EINPROGRESS)
    {
        goto failed;
    }

    c->fd = fd;
    c->net = BENCH_NET_CONNECTING;
    c->blocked = 0;
    c->in_len = 0;
    c->out_pos = 0;
    c->out_len = 0;
    c->started = bench_now();

    if (tls) {
        c->ssl = SSL_new(w->ctx);
        if (c->ssl == NULL) {
            errno = ENOMEM;
            goto failed;
        }

        SSL_set_fd(c->ssl, fd);
        SSL_set_connect_state(c->ssl);
        SSL_set_tlsext_host_name(c->ssl, w->o->host);
    }

    /* one registration for the life of the descriptor */

    ev.events = EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLET;
    ev.data.ptr = c;

    if (epoll_ctl(w->ep, EPOLL_CTL_ADD, fd, &ev) == 0) {
        return BENCH_OK;
    }

failed:

    err = errno;

    SSL_free(c->ssl);
    c->ssl = NULL;
    c->net = BENCH_NET_CLOSED;
    close(fd);

    errno = err;

    return BENCH_ERROR;
}


void
bench_net_close(bench_worker_t *w, bench_conn_t *c, const char *why)
{
    if (c->net == BENCH_NET_CLOSED) {
        return;
    }

    if (c->ssl) {
        if (c->net == BENCH_NET_OPEN) {
            (void) SSL_shutdown(c->ssl);
        }

        SSL_free(c->ssl);
        ERR_clear_error();
        c->ssl = NULL;
    }

    close(c->fd);

    c->fd = -1;
    c->net = BENCH_NET_CLOSED;

    free(c->in);
    c->in = NULL;
    c->in_len = 0;
    c->in_size = 0;

    free(c->out);
    c->out = NULL;
    c->out_pos = 0;
    c->out_len = 0;
    c->out_size = 0;

    c->role->closed(w, c, why);
}


/* room for n more bytes; the caller adds what it wrote to c->out_len */

char *
bench_net_reserve(bench_conn_t *c, size_t n)
{
    char    *p;
    size_t   size;

    if (c->out_len + n <= c->out_size) {
        return c->out + c->out_len;
    }

    if (c->out_pos) {
        memmove(c->out, c->out + c->out_pos, c->out_len - c->out_pos);
        c->out_len -= c->out_pos;
        c->out_pos = 0;
    }

    if (c->out_len + n > c->out_size) {
        size = (c->out_len + n) * 2;

        p = realloc(c->out, size);
        if (p == NULL) {
            fprintf(stderr, "push-bench: out of memory\n");
            exit(1);
        }

        c->out = p;
        c->out_size = size;
    }

    return c->out + c->out_len;
}


static ssize_t
bench_net_write(bench_conn_t *c, const void *p, size_t n)
{
    int      err;
    ssize_t  rc;

    if (c->ssl == NULL) {
        rc = send(c->fd, p, n, MSG_NOSIGNAL);

        if (rc == -1) {
            return errno == EAGAIN ? BENCH_AGAIN : BENCH_ERROR;
        }

        return rc;
    }

    rc = SSL_write(c->ssl, p, n);
    if (rc > 0) {
        return rc;
    }

    err = SSL_get_error(c->ssl, rc);
    ERR_clear_error();

    if (err == SSL_ERROR_WANT_WRITE || err == SSL_ERROR_WANT_READ) {
        return BENCH_AGAIN;
    }

    return BENCH_ERROR;
}


/* BENCH_ERROR: the connection is closed and its role has heard of it */

int
bench_net_flush(bench_worker_t *w, bench_conn_t *c)
{
    size_t   n;
    ssize_t  rc;

    if (c->net != BENCH_NET_OPEN) {
        return BENCH_OK;
    }

    while (c->out_pos < c->out_len) {
        n = c->out_len - c->out_pos;
        rc = bench_net_write(c, c->out + c->out_pos, n);

        if (rc == BENCH_AGAIN) {
            c->blocked = 1;
            return BENCH_OK;
        }

        if (rc < 0) {
            bench_net_close(w, c, "write failed");
            return BENCH_ERROR;
        }

        c->out_pos += rc;
    }

    c->blocked = 0;
    c->out_pos = 0;
    c->out_len = 0;

    return BENCH_OK;
}


/* at once if possible: nothing is kept for a connection in step */

int
bench_net_send(bench_worker_t *w, bench_conn_t *c, const void *p, size_t n)
{
    ssize_t  rc;

    if (c->out_len == 0) {
        rc = bench_net_write(c, p, n);

        if (rc == (ssize_t) n) {
            return BENCH_OK;
        }

        if (rc == BENCH_ERROR) {
            bench_net_close(w, c, "write failed");
            return BENCH_ERROR;
        }

        /* OpenSSL wants the same bytes again, wherever they are then */

        rc = rc > 0 ? rc : 0;
        p = (const char *) p + rc;
        n -= rc;
    }

    memcpy(bench_net_reserve(c, n), p, n);
    c->out_len += n;
    c->blocked = 1;

    return BENCH_OK;
}


static void
bench_net_keep(bench_conn_t *c, const unsigned char *p, size_t n)
{
    unsigned char  *in;

    if (n > c->in_size) {
        in = realloc(c->in, n + 256);
        if (in == NULL) {
            fprintf(stderr, "push-bench: out of memory\n");
            exit(1);
        }

        c->in = in;
        c->in_size = n + 256;
    }

    memcpy(c->in, p, n);
    c->in_len = n;
}


/* hands what was kept and what was read to the role, keeps the rest */

static int
bench_net_data(bench_worker_t *w, bench_conn_t *c, size_t n)
{
    ssize_t         used;
    unsigned char  *p;

    p = w->buf;

    if (c->in_len) {

        if (c->in_len + n > c->in_size) {
            p = realloc(c->in, c->in_len + n);
            if (p == NULL) {
                fprintf(stderr, "push-bench: out of memory\n");
                exit(1);
            }

            c->in = p;
            c->in_size = c->in_len + n;
        }

        memcpy(c->in + c->in_len, w->buf, n);
        n += c->in_len;
        p = c->in;
    }

    used = c->role->data(w, c, p, n);

    if (used < 0) {
        return BENCH_ERROR;
    }

    if (p == c->in) {
        memmove(c->in, c->in + used, n - used);
        c->in_len = n - used;

    } else if ((size_t) used < n) {
        bench_net_keep(c, p + used, n - used);
    }

    return BENCH_OK;
}


/*
 * Edge-triggered: reads until a short read, and until the end is seen if the
 * event said that there is one.
 */

static void
bench_net_read(bench_worker_t *w, bench_conn_t *c, int end)
{
    int      err;
    ssize_t  n;

    for ( ;; ) {

        if (c->ssl) {
            n = SSL_read(c->ssl, w->buf, BENCH_READ_SIZE);

            if (n <= 0) {
                err = SSL_get_error(c->ssl, n);
                ERR_clear_error();

                if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE) {
                    return;
                }

                n = err == SSL_ERROR_ZERO_RETURN ? 0 : -1;
            }

        } else {
            n = recv(c->fd, w->buf, BENCH_READ_SIZE, 0);

            if (n == -1 && errno == EAGAIN) {
                return;
            }
        }

        if (n <= 0) {
            bench_net_close(w, c, n == 0 ? "closed by the server"
                                         : "connection reset");
            return;
        }

        if (bench_net_data(w, c, n) != BENCH_OK) {
            return;
        }

        if (c->ssl == NULL && n < BENCH_READ_SIZE && !end) {
            return;
        }
    }
}


static int
bench_net_handshake(bench_worker_t *w, bench_conn_t *c)
{
    int   rc, err;
    char  text[200];

    rc = SSL_do_handshake(c->ssl);

    if (rc == 1) {
        return BENCH_OK;
    }

    err = SSL_get_error(c->ssl, rc);

    if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE) {
        return BENCH_AGAIN;
    }

    strcpy(text, "TLS handshake: ");

    if (ERR_peek_error()) {
        ERR_error_string_n(ERR_peek_error(), text + 15, sizeof(text) - 15);

    } else {
        strcat(text, "connection closed");
    }

    ERR_clear_error();
    bench_net_close(w, c, text);

    return BENCH_ERROR;
}


static int
bench_net_connected(bench_worker_t *w, bench_conn_t *c, uint32_t events)
{
    int        err;
    socklen_t  len;

    if (!(events & (EPOLLOUT|EPOLLERR|EPOLLHUP))) {
        return BENCH_AGAIN;
    }

    err = 0;
    len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1) {
        err = errno;
    }

    if (err) {
        bench_net_close(w, c, strerror(err));
        return BENCH_ERROR;
    }

    c->net = c->ssl ? BENCH_NET_TLS : BENCH_NET_OPEN;

    return BENCH_OK;
}


void
bench_net_event(bench_worker_t *w, bench_conn_t *c, uint32_t events)
{
    int  opened;

    opened = 0;

    if (c->net == BENCH_NET_CONNECTING) {
        if (bench_net_connected(w, c, events) != BENCH_OK) {
            return;
        }

        opened = 1;
    }

    if (c->net == BENCH_NET_TLS) {
        if (bench_net_handshake(w, c) != BENCH_OK) {
            return;
        }

        c->net = BENCH_NET_OPEN;
        opened = 1;
    }

    if (c->net != BENCH_NET_OPEN) {
        return;
    }

    if (opened) {
        c->role->opened(w, c);

    } else if (c->blocked && bench_net_flush(w, c) != BENCH_OK) {
        return;
    }

    if (c->net == BENCH_NET_OPEN
        && (c->ssl || (events & (EPOLLIN|EPOLLRDHUP|EPOLLHUP|EPOLLERR))))
    {
        bench_net_read(w, c, events & (EPOLLRDHUP|EPOLLHUP|EPOLLERR));
    }
}
