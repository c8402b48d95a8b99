
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


/*
 * Answers to pipelined requests, written together.
 *
 * nginx writes each answer by itself, which is the dearest thing about a
 * publication.  So where more requests are known to have come on the same
 * connection, an answer is held back and goes out in front of the next thing
 * that is written.  For that the connection's send_chain and send stand
 * behind functions of ours from its first such request on: whatever writes,
 * an error page, a file or a proxied answer, finds what was held written
 * before it.
 *
 * Who calls for the octets that are held, the first of these:
 *
 * - the next answer that is not held: the last one of the pipeline, one of
 *   another location, one that no longer fits;
 * - a request that ends without an answer, in the log phase, which comes
 *   before its connection is closed ("return 444", a client that has gone);
 * - the next turn of the event loop: the next request is not complete, or
 *   waits for something.
 *
 * An answer is held only if nothing between here and the next request can
 * close the connection; out of memory is the exception, and makes outcomes
 * unknown, as a broken connection does.
 */


#define NGX_PUSH_CENTER_HELD_MAX  16384
#define NGX_PUSH_CENTER_RETRY     50         /* milliseconds */


/*
 * Of a connection, in its pool; the octets are in the heap and there only
 * while some are held.  "event" is either posted, then it was not tried to
 * write them yet, or timed: the socket took a part of them only.  While a
 * part waits nothing is added, so the answers behind it wait in nginx's
 * hands, with its timeouts.
 */

typedef struct {
    ngx_connection_t       *connection;
    ngx_send_chain_pt       send_chain;      /* nginx's own */
    ngx_send_pt             send;

    /* whose answer may be held, and by number, as memory is used again */
    ngx_http_request_t     *request;
    ngx_uint_t              number;

    ngx_buf_t               held;            /* .start NULL: none */
    ngx_event_t             event;
} ngx_push_center_stage_t;


#define ngx_push_center_held(st)  ((st)->held.last - (st)->held.pos)


static ngx_push_center_stage_t *ngx_push_center_stage(ngx_connection_t *c);
static ngx_push_center_stage_t *ngx_push_center_stage_new(
    ngx_http_request_t *r);
static void ngx_push_center_stage_cleanup(void *data);
static ngx_uint_t ngx_push_center_more(ngx_http_request_t *r);
static void ngx_push_center_read_ahead(ngx_http_request_t *r);
static ngx_buf_t *ngx_push_center_header_buf(ngx_http_request_t *r);
static ngx_chain_t *ngx_push_center_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ssize_t ngx_push_center_send_octets(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_uint_t ngx_push_center_hold(ngx_push_center_stage_t *st,
    ngx_chain_t *in, off_t limit);
static ngx_chain_t *ngx_push_center_write(ngx_push_center_stage_t *st,
    ngx_chain_t *in, off_t limit);
static void ngx_push_center_release(ngx_push_center_stage_t *st);
static void ngx_push_center_flush(ngx_push_center_stage_t *st);
static void ngx_push_center_flush_handler(ngx_event_t *ev);


void
ngx_push_center_gather(ngx_http_request_t *r)
{
    ngx_connection_t         *c;
    ngx_push_center_stage_t  *st;

    c = r->connection;

    /* ngx_exiting: the connection is closed after this answer */

    if (r != r->main
        || r->http_version != NGX_HTTP_VERSION_11
        || !r->keepalive
        || r->reading_body
        || r->discard_body
        || ngx_exiting
        || ngx_terminate
        || c->error)
    {
        return;
    }

#if (NGX_HTTP_V2)
    if (r->stream) {
        return;
    }
#endif

    if (!ngx_push_center_more(r)) {
        return;
    }

    st = ngx_push_center_stage(c);

    if (st == NULL) {
        st = ngx_push_center_stage_new(r);

        if (st == NULL) {
            return;
        }
    }

    st->request = r;
    st->number = c->requests;
}


ngx_int_t
ngx_push_center_gather_log(ngx_http_request_t *r)
{
    ngx_connection_t         *c;
    ngx_push_center_stage_t  *st;

    c = r->connection;

    if (c->send_chain != ngx_push_center_send_chain) {
        return NGX_OK;
    }

    st = ngx_push_center_stage(c);

    if (ngx_push_center_held(st) == 0) {
        return NGX_OK;
    }

    /* keepalive of one that goes on to the next request is taken back */

    if (st->number != c->requests || r->keepalive) {
        ngx_push_center_flush(st);
    }

    return NGX_OK;
}


/* The state stands among the first of the few cleanups of a connection. */

static ngx_push_center_stage_t *
ngx_push_center_stage(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    if (c->send_chain != ngx_push_center_send_chain) {
        return NULL;
    }

    cln = c->pool->cleanup;

    while (cln->handler != ngx_push_center_stage_cleanup) {
        cln = cln->next;
    }

    return cln->data;
}


static ngx_push_center_stage_t *
ngx_push_center_stage_new(ngx_http_request_t *r)
{
    ngx_connection_t          *c;
    ngx_pool_cleanup_t        *cln;
    ngx_push_center_stage_t   *st;
    ngx_http_core_loc_conf_t  *clcf;

    c = r->connection;

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_push_center_stage_t));
    if (cln == NULL) {
        return NULL;
    }

    st = cln->data;
    ngx_memzero(st, sizeof(ngx_push_center_stage_t));

    st->connection = c;
    st->send_chain = c->send_chain;
    st->send = c->send;

    st->event.handler = ngx_push_center_flush_handler;
    st->event.data = st;
    st->event.log = c->log;

    cln->handler = ngx_push_center_stage_cleanup;

    /* nginx does so when the pipeline ran dry, which may be later */

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->tcp_nodelay && ngx_tcp_nodelay(c) != NGX_OK) {
        return NULL;
    }

    c->send_chain = ngx_push_center_send_chain;
    c->send = ngx_push_center_send_octets;

    return st;
}


/* The socket is closed by now. */

static void
ngx_push_center_stage_cleanup(void *data)
{
    ngx_push_center_stage_t *st = data;

    ngx_push_center_release(st);
}


/*
 * Have octets of a next request come?  If nginx's buffer has none, but the
 * socket may, it is read here: after this request nginx would do so as well,
 * but only by way of an idle connection, which is not a state to have
 * answers held in, and a kilobyte at a time.
 */

static ngx_uint_t
ngx_push_center_more(ngx_http_request_t *r)
{
    u_char       *p;
    ngx_buf_t    *b;
    ngx_event_t  *rev;

    rev = r->connection->read;
    b = r->header_in;

    if (b->pos == b->last && rev->ready && rev->available != 0) {
        ngx_push_center_read_ahead(r);
        b = r->header_in;
    }

    if (rev->eof || rev->error) {
        return 0;
    }

    /* some clients send an empty line after a body */

    for (p = b->pos; p < b->last; p++) {
        if (*p != CR && *p != LF) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_push_center_read_ahead(ngx_http_request_t *r)
{
    ssize_t            n;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    c = r->connection;

    b = ngx_push_center_header_buf(r);
    if (b == NULL) {
        return;
    }

    n = c->recv(c, b->last, b->end - b->last);

    if (n > 0) {
        b->last += n;

    } else if (n == NGX_ERROR) {
        r->keepalive = 0;       /* it would not be told again */
    }
}


/*
 * Another of the connection's large header buffers; this request's strings
 * are still in the one it came in.  nginx takes it over as it does after a
 * body that was read together with the next request.
 */

static ngx_buf_t *
ngx_push_center_header_buf(ngx_http_request_t *r)
{
    ngx_buf_t                 *b;
    ngx_chain_t               *cl;
    ngx_http_connection_t     *hc;
    ngx_http_core_srv_conf_t  *cscf;

    hc = r->http_connection;
    cl = hc->free;

    if (cl) {
        hc->free = cl->next;
        b = cl->buf;

    } else {
        cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

        cl = ngx_alloc_chain_link(r->connection->pool);
        if (cl == NULL) {
            return NULL;
        }

        b = ngx_create_temp_buf(r->connection->pool,
                                cscf->large_client_header_buffers.size);
        if (b == NULL) {
            return NULL;
        }

        cl->buf = b;
    }

    cl->next = hc->busy;
    hc->busy = cl;
    hc->nbusy++;

    r->header_in = b;

    return b;
}


static ngx_chain_t *
ngx_push_center_send_chain(ngx_connection_t *c, ngx_chain_t *in, off_t limit)
{
    ngx_push_center_stage_t  *st;

    st = ngx_push_center_stage(c);

    if (st->number == c->requests && ngx_push_center_hold(st, in, limit)) {
        return NULL;
    }

    if (ngx_push_center_held(st) == 0) {
        return st->send_chain(c, in, limit);
    }

    return ngx_push_center_write(st, in, limit);
}


/* Of nginx's own: "100 Continue", and connections that were upgraded. */

static ssize_t
ngx_push_center_send_octets(ngx_connection_t *c, u_char *buf, size_t size)
{
    ngx_push_center_stage_t  *st;

    st = ngx_push_center_stage(c);

    if (ngx_push_center_held(st)) {
        ngx_push_center_flush(st);

        if (c->error) {
            return NGX_ERROR;
        }

        if (ngx_push_center_held(st)) {
            return NGX_AGAIN;
        }
    }

    return st->send(c, buf, size);
}


/* 1: taken over, all of it, and "in" looks as if it had been sent. */

static ngx_uint_t
ngx_push_center_hold(ngx_push_center_stage_t *st, ngx_chain_t *in, off_t limit)
{
    size_t             size;
    ngx_buf_t         *b;
    ngx_chain_t       *cl;
    ngx_connection_t  *c;

    c = st->connection;
    b = &st->held;

    if (!st->request->keepalive
        || !c->write->ready
        || b->pos != b->start
        || (c->buffered & NGX_LOWLEVEL_BUFFERED))
    {
        return 0;
    }

    size = 0;

    for (cl = in; cl; cl = cl->next) {

        if (cl->buf->in_file || cl->buf->flush) {
            return 0;
        }

        size += ngx_buf_size(cl->buf);
    }

    if (size == 0
        || (limit && (off_t) size > limit)
        || (b->start ? size > (size_t) (b->end - b->last)
                     : size > NGX_PUSH_CENTER_HELD_MAX))
    {
        return 0;
    }

    if (b->start == NULL) {

        b->start = ngx_alloc(NGX_PUSH_CENTER_HELD_MAX, c->log);
        if (b->start == NULL) {
            return 0;
        }

        b->pos = b->start;
        b->last = b->start;
        b->end = b->start + NGX_PUSH_CENTER_HELD_MAX;
        b->temporary = 1;
        b->flush = 1;

        ngx_post_event(&st->event, &ngx_posted_next_events);
    }

    for (cl = in; cl; cl = cl->next) {

        if (ngx_buf_in_memory(cl->buf)) {
            b->last = ngx_cpymem(b->last, cl->buf->pos,
                                 cl->buf->last - cl->buf->pos);
            cl->buf->pos = cl->buf->last;
        }
    }

    c->sent += size;

    ngx_push_count(gathered);

    return 1;
}


/*
 * As send_chain: what is held, then "in" (or NULL), in one go.  c->sent is
 * of the request that sends, and its own octets were counted when they were
 * taken over.
 */

static ngx_chain_t *
ngx_push_center_write(ngx_push_center_stage_t *st, ngx_chain_t *in, off_t limit)
{
    size_t             size;
    ngx_chain_t        first, *rest;
    ngx_connection_t  *c;

    c = st->connection;
    size = ngx_push_center_held(st);

    first.buf = &st->held;
    first.next = in;

    rest = st->send_chain(c, &first, limit ? limit + (off_t) size : 0);

    if (rest == NGX_CHAIN_ERROR) {
        ngx_push_center_release(st);
        return rest;
    }

    c->sent -= size - ngx_push_center_held(st);

    if (ngx_push_center_held(st)) {
        return in;
    }

    ngx_push_center_release(st);

    return (rest == &first) ? in : rest;
}


static void
ngx_push_center_release(ngx_push_center_stage_t *st)
{
    ngx_buf_t  *b;

    b = &st->held;

    if (b->start) {
        ngx_free(b->start);

        b->start = NULL;
        b->pos = NULL;
        b->last = NULL;
    }

    if (st->event.posted) {
        ngx_delete_posted_event(&st->event);
    }

    if (st->event.timer_set) {
        ngx_del_timer(&st->event);
    }
}


/*
 * Outside of any answer.  That the socket is full then is rare: the client
 * does not read, and has not sent the rest of a request either.  c->write is
 * nginx's, and is handled by whatever the next request is doing; so whether
 * it has become ready is looked at from time to time.
 */

static void
ngx_push_center_flush(ngx_push_center_stage_t *st)
{
    ngx_chain_t       *rest;
    ngx_connection_t  *c;

    c = st->connection;
    rest = NULL;

    if (c->write->ready) {
        rest = ngx_push_center_held(st) ? ngx_push_center_write(st, NULL, 0)
                                        : st->send_chain(c, NULL, 0);
    }

    if (rest == NGX_CHAIN_ERROR) {
        c->error = 1;
        return;
    }

    /* octets that went into the buffer of TLS only wait as well */

    if (ngx_push_center_held(st) == 0
        && !(c->buffered & NGX_LOWLEVEL_BUFFERED))
    {
        return;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        c->error = 1;
        return;
    }

    if (!st->event.timer_set) {
        ngx_add_timer(&st->event, NGX_PUSH_CENTER_RETRY);
    }
}


static void
ngx_push_center_flush_handler(ngx_event_t *ev)
{
    ngx_push_center_stage_t *st = ev->data;

    ev->timedout = 0;

    ngx_push_center_flush(st);
}
