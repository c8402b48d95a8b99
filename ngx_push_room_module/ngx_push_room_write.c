
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Octets out.  A step (a read event, a note from the core) collects what it
 * has to say to one connection in the batch of this worker, and one system
 * call at the end of the step writes it.  What the socket does not take is
 * copied to the heap: then the connection is "blocked", no more messages are
 * taken for it and nothing is read from it until that is written.
 *
 * A step may make the core deliver to another connection (a message to a
 * group that it publishes): the batch is then written for the one and begun
 * for the other.
 */


#include "ngx_push_room.h"


#define NGX_PUSH_ROOM_RECORD    16384          /* of TLS */

/*
 * Up to this much is gathered and sent by send(): copying 4 kB costs less
 * than what writev() does more (0.3 to 0.5 microseconds; docs/benchmarks.md).
 */

#define NGX_PUSH_ROOM_SMALL     4096


typedef struct {
    ngx_push_room_conn_t  *room;
    ngx_uint_t             niov;
    size_t                 size;
    u_char                *pos;        /* in the scratch */
    struct iovec           iov[NGX_PUSH_ROOM_IOVS];
} ngx_push_room_batch_t;


static ngx_uint_t ngx_push_room_message_iovs(ngx_push_message_t *m);
static void ngx_push_room_batch_begin(ngx_push_room_conn_t *room);
static ssize_t ngx_push_room_send(ngx_push_room_conn_t *room);
static ssize_t ngx_push_room_send_small(ngx_connection_t *c);
static ssize_t ngx_push_room_send_large(ngx_connection_t *c);
#if (NGX_STREAM_SSL)
static ssize_t ngx_push_room_send_ssl(ngx_connection_t *c);
#endif
static size_t ngx_push_room_gather(size_t from, u_char *dst, size_t size);
#if (NGX_PUSH_ROOM_TLS)
static ngx_int_t ngx_push_room_seal(ngx_push_room_conn_t *room);
#endif
static ngx_int_t ngx_push_room_keep(ngx_push_room_conn_t *room, size_t sent);
static ngx_int_t ngx_push_room_block(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_write_rest(ngx_push_room_conn_t *room);


static u_char                 ngx_push_room_scratch[NGX_PUSH_ROOM_SCRATCH];
static ngx_push_room_batch_t  ngx_push_room_batch;


u_char *
ngx_push_room_reserve(ngx_push_room_conn_t *room, size_t size)
{
    ngx_push_room_batch_t  *b;

    b = &ngx_push_room_batch;

    ngx_push_room_batch_begin(room);

    if (size > (size_t) (ngx_push_room_scratch + NGX_PUSH_ROOM_SCRATCH
                         - b->pos)
        || b->niov == NGX_PUSH_ROOM_IOVS)
    {
        (void) ngx_push_room_flush(room);
        ngx_push_room_batch_begin(room);
    }

    return b->pos;
}


void
ngx_push_room_commit(size_t size)
{
    struct iovec           *last;
    ngx_push_room_batch_t  *b;

    b = &ngx_push_room_batch;

    last = b->niov ? &b->iov[b->niov - 1] : NULL;

    if (last && (u_char *) last->iov_base + last->iov_len == b->pos) {
        last->iov_len += size;

    } else {
        b->iov[b->niov].iov_base = b->pos;
        b->iov[b->niov].iov_len = size;
        b->niov++;
    }

    b->pos += size;
    b->size += size;
}


void
ngx_push_room_payload(ngx_push_room_conn_t *room, ngx_push_message_t *m)
{
    ngx_push_room_batch_t  *b;

    if (m->size == 0) {
        return;
    }

    b = &ngx_push_room_batch;

    if (ngx_push_room_message_iovs(m) > NGX_PUSH_ROOM_IOVS - b->niov) {
        (void) ngx_push_room_flush(room);
        ngx_push_room_batch_begin(room);
    }

    b->niov += ngx_push_message_iov(m, ngx_push_message_payload(m),
                                    &b->iov[b->niov],
                                    NGX_PUSH_ROOM_IOVS - b->niov);
    b->size += m->size;
}


static ngx_uint_t
ngx_push_room_message_iovs(ngx_push_message_t *m)
{
    return m->size / NGX_PUSH_CHUNK_DATA + 3;
}


static void
ngx_push_room_batch_begin(ngx_push_room_conn_t *room)
{
    ngx_push_room_batch_t  *b;

    b = &ngx_push_room_batch;

    if (b->room == room) {
        return;
    }

    if (b->room) {

        /* if this fails, that connection's own step finds it out */

        (void) ngx_push_room_flush(b->room);
    }

    b->room = room;
    b->niov = 0;
    b->size = 0;
    b->pos = ngx_push_room_scratch;
}


ngx_int_t
ngx_push_room_flush(ngx_push_room_conn_t *room)
{
    size_t                  size;
    ssize_t                 n;
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_push_room_batch_t  *b;

    c = ngx_push_room_connection(room);
    b = &ngx_push_room_batch;

    rc = NGX_OK;

    if (b->room == room) {

#if (NGX_PUSH_ROOM_TLS)
        if (room->tls && b->size && !c->write->error
            && ngx_push_room_seal(room) != NGX_OK)
        {
            c->write->error = 1;
        }
#endif

        size = b->size;
        n = 0;

        if (size && !c->write->error && room->out == NULL) {
            n = ngx_push_room_send(room);
        }

        if (n != NGX_ERROR && !c->write->error && (size_t) n < size) {
            rc = ngx_push_room_keep(room, n);
        }

        b->room = NULL;

        if (n == NGX_ERROR || rc != NGX_OK) {
            c->write->error = 1;
        }
    }

    if (c->write->error) {
        return NGX_ERROR;
    }

    return room->out ? NGX_AGAIN : NGX_OK;
}


/* The number of octets that were taken, maybe 0; or NGX_ERROR. */

static ssize_t
ngx_push_room_send(ngx_push_room_conn_t *room)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = ngx_push_room_connection(room);

    if (!c->write->ready) {
        return 0;
    }

#if (NGX_STREAM_SSL)
    if (c->ssl) {
        n = ngx_push_room_send_ssl(c);
        goto done;
    }
#endif

    n = ngx_push_room_batch.size <= NGX_PUSH_ROOM_SMALL
        ? ngx_push_room_send_small(c) : ngx_push_room_send_large(c);

#if (NGX_STREAM_SSL)
done:
#endif

    if (n > 0) {
        ngx_push_count_add(bytes_out, n);
    }

    return n;
}


static ssize_t
ngx_push_room_send_small(ngx_connection_t *c)
{
    size_t   size;
    u_char  *p, buf[NGX_PUSH_ROOM_SMALL];
    ssize_t  n;

    size = ngx_push_room_batch.size;
    p = ngx_push_room_batch.iov[0].iov_base;

    if (ngx_push_room_batch.niov > 1) {
        p = buf;
        (void) ngx_push_room_gather(0, p, size);
    }

    n = c->send(c, p, size);

    return n == NGX_AGAIN ? 0 : n;
}


static ssize_t
ngx_push_room_send_large(ngx_connection_t *c)
{
    ssize_t      n;
    ngx_iovec_t  vec;

    vec.iovs = ngx_push_room_batch.iov;
    vec.count = ngx_push_room_batch.niov;
    vec.size = ngx_push_room_batch.size;
    vec.nalloc = NGX_PUSH_ROOM_IOVS;

    n = ngx_writev(c, &vec);

    if (n == NGX_AGAIN) {
        n = 0;
    }

    if (n >= 0) {
        c->sent += n;

        if ((size_t) n < vec.size) {
            c->write->ready = 0;
        }
    }

    return n;
}


#if (NGX_STREAM_SSL)

/*
 * TLS copies what it encrypts, and wants it in one piece: it is gathered
 * here record by record.
 */

static ssize_t
ngx_push_room_send_ssl(ngx_connection_t *c)
{
    size_t   size, sent;
    ssize_t  n;

    static u_char  buf[NGX_PUSH_ROOM_RECORD];

    sent = 0;

    while (sent < ngx_push_room_batch.size) {
        size = ngx_push_room_gather(sent, buf, NGX_PUSH_ROOM_RECORD);

        n = c->send(c, buf, size);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        sent += n;
    }

    return sent;
}

#endif


/* Copies up to size octets of the batch, from offset "from". */

static size_t
ngx_push_room_gather(size_t from, u_char *dst, size_t size)
{
    size_t                  len;
    u_char                 *p;
    ngx_uint_t              i;
    ngx_push_room_batch_t  *b;

    b = &ngx_push_room_batch;
    p = dst;

    for (i = 0; i < b->niov && size; i++) {

        len = b->iov[i].iov_len;

        if (from >= len) {
            from -= len;
            continue;
        }

        len = ngx_min(len - from, size);
        p = ngx_cpymem(p, (u_char *) b->iov[i].iov_base + from, len);
        size -= len;
        from = 0;
    }

    return p - dst;
}


#if (NGX_PUSH_ROOM_TLS)

/*
 * The batch becomes one piece of records, whatever of it can be sent now:
 * what was sealed cannot be sealed again.  Octets are counted as without TLS.
 */

static ngx_int_t
ngx_push_room_seal(ngx_push_room_conn_t *room)
{
    size_t                  n;
    u_char                 *sealed;
    ngx_push_room_batch_t  *b;

    b = &ngx_push_room_batch;

    n = ngx_push_room_tls_seal(room, b->iov, b->size, &sealed);

    if (n == 0) {
        return NGX_ERROR;
    }

    ngx_push_count_add(bytes_out, b->size - n);
    ngx_push_room_connection(room)->sent -= n - b->size;

    b->iov[0].iov_base = sealed;
    b->iov[0].iov_len = n;
    b->niov = 1;
    b->size = n;

    return NGX_OK;
}

#endif


/* Copies what was not sent of the batch behind what waits already. */

static ngx_int_t
ngx_push_room_keep(ngx_push_room_conn_t *room, size_t sent)
{
    size_t                need;
    ngx_uint_t            i;
    struct iovec         *iov;
    ngx_push_room_buf_t  *out, *old;

    old = room->out;
    out = old;
    need = ngx_push_room_batch.size - sent;

    if (old == NULL || old->size - old->last < need) {
        need += old ? old->last - old->pos : 0;

        out = ngx_alloc(offsetof(ngx_push_room_buf_t, data) + need,
                        ngx_push_room_connection(room)->log);
        if (out == NULL) {
            return NGX_ERROR;
        }

        out->pos = 0;
        out->last = 0;
        out->size = need;

        if (old) {
            out->last = old->last - old->pos;
            ngx_memcpy(out->data, old->data + old->pos, out->last);
            ngx_free(old);
        }

        room->out = out;
        room->push.blocked = 1;
    }

    for (i = 0; i < ngx_push_room_batch.niov; i++) {
        iov = &ngx_push_room_batch.iov[i];

        if (sent >= iov->iov_len) {
            sent -= iov->iov_len;
            continue;
        }

        ngx_memcpy(out->data + out->last, (u_char *) iov->iov_base + sent,
                   iov->iov_len - sent);
        out->last += iov->iov_len - sent;
        sent = 0;
    }

    return old ? NGX_OK : ngx_push_room_block(room);
}


/* From now on the socket tells when it takes more, or time runs out. */

static ngx_int_t
ngx_push_room_block(ngx_push_room_conn_t *room)
{
    ngx_push_room_srv_conf_t  *rscf;

    rscf = ngx_push_room_srv_conf(room);

    room->send_deadline = ngx_push_room_after(rscf->send_timeout);
    ngx_push_room_wheel_move(room);

    return ngx_handle_write_event(ngx_push_room_connection(room)->write, 0);
}


/* NGX_OK: nothing waits any more; NGX_AGAIN, NGX_ERROR */

static ngx_int_t
ngx_push_room_write_rest(ngx_push_room_conn_t *room)
{
    ssize_t                    n;
    ngx_connection_t          *c;
    ngx_push_room_buf_t       *out;
    ngx_push_room_srv_conf_t  *rscf;

    c = ngx_push_room_connection(room);
    out = room->out;

    while (out->pos < out->last) {

        n = c->send(c, out->data + out->pos, out->last - out->pos);

        if (n == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        if (n <= 0) {
            c->write->error = 1;
            return NGX_ERROR;
        }

        out->pos += n;
        ngx_push_count_add(bytes_out, n);

        rscf = ngx_push_room_srv_conf(room);
        room->send_deadline = ngx_push_room_after(rscf->send_timeout);
    }

    ngx_free(out);
    room->out = NULL;
    room->send_deadline = 0;

    /* meanwhile the core has passed it over */

    room->push.blocked = 0;
    room->take = 1;

    return NGX_OK;
}


void
ngx_push_room_write(ngx_event_t *wev)
{
    ngx_int_t              rc;
    ngx_connection_t      *c;
    ngx_push_room_conn_t  *room;

    c = wev->data;
    room = ngx_push_room_of(c);

    rc = room->out ? ngx_push_room_write_rest(room) : NGX_OK;

    if (rc == NGX_ERROR) {
        ngx_push_room_end(room, NGX_PUSH_ROOM_IO_ERROR, 0, NULL);
        return;
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_push_room_end(room, NGX_PUSH_ROOM_IO_ERROR, 0, NULL);
        return;
    }

    if (rc == NGX_AGAIN) {
        return;
    }

    if (room->state == NGX_PUSH_ROOM_CLOSING) {
        ngx_push_room_hangup(room);
        return;
    }

    if (ngx_push_room_settle(room) != NGX_OK) {
        return;
    }

    /* nothing was read while there was no way to answer */

    if (room->out == NULL && c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}
