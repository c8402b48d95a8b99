
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * A TLS connection that was taken over from OpenSSL: records in and out.
 *
 * Octets are read into a buffer of the worker and opened there; only a part
 * of a record is kept.  The batch of a step is sealed as a whole before it is
 * written: what room->out then holds is sealed already.
 */


#include "ngx_push_room_tls.h"


#if (NGX_PUSH_ROOM_TLS)

#define NGX_PUSH_ROOM_WIRE       (64 * 1024)

/* the largest batch in records of 512 octets, and a KeyUpdate */

#define NGX_PUSH_ROOM_SEALED                                                  \
    (NGX_PUSH_ROOM_BATCH_MAX                                                  \
     + (NGX_PUSH_ROOM_BATCH_MAX / 512 + 2) * (NGX_PUSH_TLS_OVERHEAD + 1))

/* records without data that a client may send in a row, as in OpenSSL */

#define NGX_PUSH_ROOM_QUIET      32

#define NGX_PUSH_ROOM_KEY_UPDATE  24
#define NGX_PUSH_ROOM_WARNING     1
#define NGX_PUSH_ROOM_FATAL       2


static void ngx_push_room_tls_variables(ngx_push_room_conn_t *room);
static ssize_t ngx_push_room_tls_open(ngx_push_room_conn_t *room, size_t n);
static ngx_int_t ngx_push_room_tls_control(ngx_push_room_conn_t *room,
    ngx_push_tls_record_t *r);
static ngx_int_t ngx_push_room_tls_key_update(ngx_push_room_conn_t *room,
    ngx_push_tls_record_t *r);
static void ngx_push_room_tls_alert(ngx_push_room_conn_t *room,
    ngx_uint_t level, ngx_uint_t alert);
static ngx_push_room_buf_t *ngx_push_room_tls_keep(
    ngx_push_room_conn_t *room, u_char *p, size_t n);
static ssize_t ngx_push_room_tls_rest(ngx_push_room_conn_t *room,
    u_char *buf, size_t size);


static u_char  ngx_push_room_wire[NGX_PUSH_ROOM_WIRE];
static u_char  ngx_push_room_sealed[NGX_PUSH_ROOM_SEALED];


void
ngx_push_room_tls_take(ngx_push_room_conn_t *room)
{
    ngx_int_t             rc;
    ngx_push_tls_t        keys;
    ngx_connection_t     *c;
    ngx_push_room_tls_t  *tls;

    c = ngx_push_room_connection(room);

    if (c->ssl->last == NGX_ERROR || c->ssl->last == NGX_DONE || c->buffered
        || c->ssl->saved_read_handler || c->ssl->saved_write_handler
        || c->read->eof || c->read->error || c->write->error)
    {
        return;
    }

    ngx_memzero(&keys, sizeof(ngx_push_tls_t));

    rc = ngx_push_room_tls_keys(c, &keys);

    if (rc != NGX_OK) {
        OPENSSL_cleanse(&keys, sizeof(ngx_push_tls_t));
        room->tls_stays = (rc != NGX_AGAIN);
        return;
    }

    tls = ngx_calloc(sizeof(ngx_push_room_tls_t), c->log);

    if (tls == NULL) {
        OPENSSL_cleanse(&keys, sizeof(ngx_push_tls_t));
        return;
    }

    tls->keys = keys;
    OPENSSL_cleanse(&keys, sizeof(ngx_push_tls_t));

    ngx_push_room_tls_variables(room);

    /* with both set it writes nothing and keeps the session for resumption */

    c->ssl->no_wait_shutdown = 1;
    c->ssl->no_send_shutdown = 1;

    (void) ngx_ssl_shutdown(c);

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "push: TLS taken over, cipher %d",
                   (int) tls->keys.cipher);

    room->tls = tls;

    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;
}


/*
 * Those of nginx's $ssl_* that the configuration uses, as an access log
 * does: they are asked now, and kept by nginx as variables are.  That makes
 * the connection stay attached; without such a variable it can be detached.
 */

static void
ngx_push_room_tls_variables(ngx_push_room_conn_t *room)
{
    ngx_uint_t                    i;
    ngx_stream_session_t         *s;
    ngx_stream_variable_t        *v;
    ngx_stream_core_main_conf_t  *cmcf;

    s = ngx_push_room_connection(room)->data;
    cmcf = ngx_stream_get_module_main_conf(s, ngx_stream_core_module);
    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {

        if (v[i].name.len > 4 && ngx_strncmp(v[i].name.data, "ssl_", 4) == 0) {
            (void) ngx_stream_get_indexed_variable(s, i);
        }
    }
}


void
ngx_push_room_tls_free(ngx_push_room_conn_t *room)
{
    ngx_push_room_tls_t  *tls;

    tls = room->tls;

    if (tls->part) {
        ngx_free(tls->part);
    }

    if (tls->rest) {
        ngx_free(tls->rest);
    }

    OPENSSL_cleanse(tls, sizeof(ngx_push_room_tls_t));
    ngx_free(tls);

    room->tls = NULL;
}


ssize_t
ngx_push_room_tls_recv(ngx_push_room_conn_t *room, u_char *buf, size_t size)
{
    size_t                part;
    ssize_t               n;
    ngx_connection_t     *c;
    ngx_push_room_tls_t  *tls;

    c = ngx_push_room_connection(room);
    tls = room->tls;

    if (tls->rest) {
        return ngx_push_room_tls_rest(room, buf, size);
    }

    do {
        if (tls->eof) {
            return 0;
        }

        part = tls->part ? tls->part->last : 0;

        n = ngx_recv(c, ngx_push_room_wire + part, NGX_PUSH_ROOM_WIRE - part);

        if (n <= 0) {
            return n;
        }

        if (part) {
            ngx_memcpy(ngx_push_room_wire, tls->part->data, part);
            ngx_free(tls->part);
            tls->part = NULL;
        }

        n = ngx_push_room_tls_open(room, part + n);

        if (n == NGX_ERROR) {
            c->read->error = 1;
            return NGX_ERROR;
        }

        if (n > (ssize_t) size) {
            tls->rest = ngx_push_room_tls_keep(room,
                                               ngx_push_room_wire + size,
                                               n - size);
            if (tls->rest == NULL) {
                return NGX_ERROR;
            }

            n = size;
        }

        /* what is to be told at the next call must not wait for an event */

        if (tls->eof || tls->rest) {
            c->read->ready = 1;
        }

        if (n) {
            ngx_memcpy(buf, ngx_push_room_wire, n);
            return n;
        }

    } while (c->read->ready);

    return NGX_AGAIN;
}


/*
 * Opens the records in n octets of the wire, and moves what is in them to its
 * beginning.  The number of octets, or NGX_ERROR.
 */

static ssize_t
ngx_push_room_tls_open(ngx_push_room_conn_t *room, size_t n)
{
    int                     rc;
    u_char                 *p, *last, *data;
    ngx_push_room_tls_t    *tls;
    ngx_push_tls_record_t   r;

    tls = room->tls;
    data = ngx_push_room_wire;
    last = ngx_push_room_wire + n;

    for (p = ngx_push_room_wire; !tls->eof; p += r.size) {

        rc = ngx_push_tls_open(&tls->keys, p, last - p, &r);

        if (rc == NGX_PUSH_TLS_AGAIN) {
            break;
        }

        if (rc == NGX_PUSH_TLS_ERROR) {
            ngx_push_room_tls_alert(room, NGX_PUSH_ROOM_FATAL, r.alert);
            return NGX_ERROR;
        }

        if (r.type == NGX_PUSH_TLS_DATA && r.len) {
            ngx_memmove(data, r.data, r.len);
            data += r.len;
            tls->quiet = 0;
            continue;
        }

        if (tls->quiet++ == NGX_PUSH_ROOM_QUIET) {
            r.alert = NGX_PUSH_TLS_UNEXPECTED_MESSAGE;
            ngx_push_room_tls_alert(room, NGX_PUSH_ROOM_FATAL, r.alert);
            return NGX_ERROR;
        }

        if (r.type != NGX_PUSH_TLS_DATA
            && ngx_push_room_tls_control(room, &r) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (p < last && !tls->eof) {
        tls->part = ngx_push_room_tls_keep(room, p, last - p);

        if (tls->part == NULL) {
            return NGX_ERROR;
        }
    }

    return data - ngx_push_room_wire;
}


/* A record of another type than data. */

static ngx_int_t
ngx_push_room_tls_control(ngx_push_room_conn_t *room,
    ngx_push_tls_record_t *r)
{
    ngx_connection_t     *c;
    ngx_push_room_tls_t  *tls;

    c = ngx_push_room_connection(room);
    tls = room->tls;

    if (r->type == NGX_PUSH_TLS_ALERT && r->len == 2) {

        if (r->data[1] == NGX_PUSH_TLS_CLOSE_NOTIFY) {
            tls->eof = 1;
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_INFO, c->log, 0, "push: TLS alert %ui",
                      (ngx_uint_t) r->data[1]);

        /* the level means nothing in TLS 1.3 (RFC 8446, section 6) */

        if (tls->keys.tls13) {
            return r->data[1] == NGX_PUSH_TLS_USER_CANCELED ? NGX_OK
                                                            : NGX_ERROR;
        }

        return r->data[0] == NGX_PUSH_ROOM_WARNING ? NGX_OK : NGX_ERROR;
    }

    if (r->type == NGX_PUSH_TLS_HANDSHAKE && r->len) {

        if (tls->keys.tls13) {
            return ngx_push_room_tls_key_update(room, r);
        }

        /* whatever it is, it is about renegotiation */

        ngx_push_room_tls_alert(room, NGX_PUSH_ROOM_WARNING,
                                NGX_PUSH_TLS_NO_RENEGOTIATION);
        return NGX_OK;
    }

    ngx_push_room_tls_alert(room, NGX_PUSH_ROOM_FATAL,
                            NGX_PUSH_TLS_UNEXPECTED_MESSAGE);
    return NGX_ERROR;
}


/*
 * The message must end with its record, as the next one has another key.  An
 * update of our own is due only before the next data that we send.
 */

static ngx_int_t
ngx_push_room_tls_key_update(ngx_push_room_conn_t *room,
    ngx_push_tls_record_t *r)
{
    ngx_uint_t            alert;
    ngx_push_room_tls_t  *tls;

    static const u_char  head[] = { NGX_PUSH_ROOM_KEY_UPDATE, 0, 0, 1 };

    tls = room->tls;
    alert = NGX_PUSH_TLS_UNEXPECTED_MESSAGE;

    if (r->len == 5 && ngx_memcmp(r->data, head, 4) == 0 && r->data[4] < 2) {

        if (ngx_push_tls_update(&tls->keys, &tls->keys.in)
            == NGX_PUSH_TLS_OK)
        {
            tls->update |= r->data[4];
            return NGX_OK;
        }

        alert = NGX_PUSH_TLS_INTERNAL_ERROR;
    }

    ngx_push_room_tls_alert(room, NGX_PUSH_ROOM_FATAL, alert);

    return NGX_ERROR;
}


/*
 * Outside of any batch.  An alert is not waited for: there is none if the
 * socket takes no more, and the connection ends if it takes a part.  Nothing
 * is written after a fatal one, not even what the batch holds.
 */

static void
ngx_push_room_tls_alert(ngx_push_room_conn_t *room, ngx_uint_t level,
    ngx_uint_t alert)
{
    u_char             *p;
    size_t              n;
    ngx_connection_t   *c;
    u_char              buf[NGX_PUSH_TLS_OVERHEAD + 3];

    c = ngx_push_room_connection(room);

    if (room->out || room->tls->bye || c->error || c->write->error
        || !c->write->ready)
    {
        return;
    }

    p = buf + ngx_push_tls_front(&room->tls->keys);
    p[0] = (u_char) level;
    p[1] = (u_char) alert;

    if (level == NGX_PUSH_ROOM_FATAL || alert == NGX_PUSH_TLS_CLOSE_NOTIFY) {
        room->tls->bye = 1;
    }

    n = ngx_push_tls_seal(&room->tls->keys, NGX_PUSH_TLS_ALERT, buf, 2);

    if (n == 0 || ngx_send(c, buf, n) != (ssize_t) n
        || level == NGX_PUSH_ROOM_FATAL)
    {
        c->write->error = 1;
    }
}


void
ngx_push_room_tls_bye(ngx_push_room_conn_t *room)
{
    ngx_push_room_tls_alert(room, NGX_PUSH_ROOM_WARNING,
                            NGX_PUSH_TLS_CLOSE_NOTIFY);
}


/* On the heap, of exactly this size. */

static ngx_push_room_buf_t *
ngx_push_room_tls_keep(ngx_push_room_conn_t *room, u_char *p, size_t n)
{
    ngx_push_room_buf_t  *b;

    b = ngx_alloc(offsetof(ngx_push_room_buf_t, data) + n,
                  ngx_push_room_connection(room)->log);
    if (b == NULL) {
        return NULL;
    }

    b->pos = 0;
    b->last = n;
    b->size = n;
    b->need = 0;
    ngx_memcpy(b->data, p, n);

    return b;
}


static ssize_t
ngx_push_room_tls_rest(ngx_push_room_conn_t *room, u_char *buf, size_t size)
{
    size_t                n;
    ngx_push_room_buf_t  *rest;

    rest = room->tls->rest;

    n = ngx_min(size, rest->last - rest->pos);
    ngx_memcpy(buf, rest->data + rest->pos, n);
    rest->pos += n;

    if (rest->pos == rest->last) {
        ngx_free(rest);
        room->tls->rest = NULL;
    }

    return n;
}


size_t
ngx_push_room_tls_seal(ngx_push_room_conn_t *room, struct iovec *iov,
    size_t size, u_char **sealed)
{
    size_t                n, len, front, off;
    u_char               *p, *data;
    ngx_push_room_tls_t  *tls;

    tls = room->tls;
    front = ngx_push_tls_front(&tls->keys);
    p = ngx_push_room_sealed;
    off = 0;

    if (size > NGX_PUSH_ROOM_BATCH_MAX) {
        return 0;
    }

    /* a batch is far less than what is left to the limit */

    if (tls->update || ngx_push_tls_due(&tls->keys)) {
        tls->update = 0;

        ngx_memcpy(p + front, "\x18\0\0\1", 5);    /* the fifth is 0 too */
        n = ngx_push_tls_seal(&tls->keys, NGX_PUSH_TLS_HANDSHAKE, p, 5);

        if (n == 0 || ngx_push_tls_update(&tls->keys, &tls->keys.out)
                      != NGX_PUSH_TLS_OK)
        {
            return 0;
        }

        p += n;
    }

    while (size) {
        data = p + front;

        for (n = ngx_min(size, tls->keys.fragment); n; n -= len) {
            len = ngx_min(n, iov->iov_len - off);
            data = ngx_cpymem(data, (u_char *) iov->iov_base + off, len);
            off += len;

            if (off == iov->iov_len) {
                iov++;
                off = 0;
            }
        }

        n = data - (p + front);
        size -= n;

        n = ngx_push_tls_seal(&tls->keys, NGX_PUSH_TLS_DATA, p, n);

        if (n == 0) {
            return 0;
        }

        p += n;
    }

    *sealed = ngx_push_room_sealed;

    return p - ngx_push_room_sealed;
}

#endif
