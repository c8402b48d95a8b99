
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Octets in.  They are read into a buffer of the worker and parsed there; an
 * idle connection has no buffer.  Only a packet that came in part is kept, in
 * a heap buffer that grows with the octets received, whatever length the
 * packet announces.
 *
 * Reading stops while answers cannot be written (room->out) and while the
 * register is asked (CLAIMING); write.c and claim.c go on then.
 */


#include "ngx_push_room.h"


#define NGX_PUSH_ROOM_INPUT   (64 * 1024)
#define NGX_PUSH_ROOM_READS   4        /* of one turn */
#define NGX_PUSH_ROOM_TAIL    256      /* smallest buffer for a part */


static ngx_int_t ngx_push_room_read_turn(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_fill(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_fill_packet(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_grow(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_parse(ngx_push_room_conn_t *room, u_char *p,
    size_t n);
static ngx_int_t ngx_push_room_tail(ngx_push_room_conn_t *room, u_char *p,
    size_t n, size_t need);
static ngx_int_t ngx_push_room_received(ngx_push_room_conn_t *room,
    ssize_t n);
static void ngx_push_room_discard(ngx_push_room_conn_t *room);


static u_char  ngx_push_room_input[NGX_PUSH_ROOM_INPUT];


#define ngx_push_room_may_read(room)                                          \
    ((room)->out == NULL && (room)->state != NGX_PUSH_ROOM_CLAIMING)


void
ngx_push_room_read(ngx_event_t *rev)
{
    ngx_int_t              rc;
    ngx_connection_t      *c;
    ngx_push_room_conn_t  *room;

    c = rev->data;
    room = ngx_push_room_of(c);

    if (c->close) {

        /* worker_shutdown_timeout */

        if (room->state == NGX_PUSH_ROOM_CLOSING) {
            ngx_push_room_finish(room);

        } else {
            ngx_push_room_end(room, NGX_PUSH_ROOM_DRAINED, 0, NULL);
        }

        return;
    }

    if (room->state == NGX_PUSH_ROOM_CLOSING) {
        ngx_push_room_discard(room);
        return;
    }

    if (ngx_push_room_may_read(room)) {
        rc = ngx_push_room_read_turn(room);

        if (rc == NGX_DONE) {
            return;
        }

#if (NGX_PUSH_ROOM_TLS)
        if (c->ssl && !room->tls_stays && room->out == NULL
            && room->state == NGX_PUSH_ROOM_ONLINE)
        {
            ngx_push_room_tls_take(room);
        }
#endif
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_push_room_end(room, NGX_PUSH_ROOM_IO_ERROR, 0, NULL);
        return;
    }

    if (c->pool && room->state == NGX_PUSH_ROOM_ONLINE && !room->attached
        && ngx_push_room_tls_settled(room))
    {
        ngx_push_room_detach(room);
    }
}


static ngx_int_t
ngx_push_room_read_turn(ngx_push_room_conn_t *room)
{
    ngx_int_t          rc;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = ngx_push_room_connection(room);

    for (i = 0; ngx_push_room_may_read(room); i++) {

        if (i == NGX_PUSH_ROOM_READS) {
            ngx_post_event(c->read, &ngx_posted_next_events);
            break;
        }

        rc = (room->in && room->in->need) ? ngx_push_room_fill_packet(room)
                                          : ngx_push_room_fill(room);
        if (rc == NGX_DONE) {
            return NGX_DONE;
        }

        if (rc == NGX_AGAIN || !c->read->ready) {
            break;
        }
    }

    return ngx_push_room_settle(room);
}


/*
 * A read into the worker's buffer, behind the octets of a header that was cut.
 * NGX_OK, NGX_AGAIN: nothing there, NGX_DONE.
 */

static ngx_int_t
ngx_push_room_fill(ngx_push_room_conn_t *room)
{
    size_t     part;
    ssize_t    n;
    ngx_int_t  rc;

    part = room->in ? room->in->last : 0;

    n = ngx_push_room_recv(room, ngx_push_room_input + part,
                           NGX_PUSH_ROOM_INPUT - part);

    rc = ngx_push_room_received(room, n);

    if (rc != NGX_OK) {
        return rc;
    }

    if (part) {
        ngx_memcpy(ngx_push_room_input, room->in->data, part);
        ngx_free(room->in);
        room->in = NULL;
    }

    return ngx_push_room_parse(room, ngx_push_room_input, part + n);
}


/* A read of the rest of a packet whose length is known. */

static ngx_int_t
ngx_push_room_fill_packet(ngx_push_room_conn_t *room)
{
    ssize_t               n;
    ngx_int_t             rc;
    ngx_push_room_buf_t  *in;

    if (room->in->last == room->in->size
        && ngx_push_room_grow(room) != NGX_OK)
    {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_NO_MEMORY, 0, NULL);
    }

    in = room->in;

    n = ngx_push_room_recv(room, in->data + in->last, in->size - in->last);

    rc = ngx_push_room_received(room, n);

    if (rc != NGX_OK) {
        return rc;
    }

    in->last += n;

    if (in->last < in->need) {
        return NGX_OK;
    }

    room->in = NULL;
    rc = ngx_push_room_parse(room, in->data, in->last);
    ngx_free(in);

    return rc;
}


static ngx_int_t
ngx_push_room_grow(ngx_push_room_conn_t *room)
{
    size_t                size;
    ngx_push_room_buf_t  *in, *old;

    old = room->in;
    size = ngx_min((size_t) old->size * 2, old->need);

    in = ngx_alloc(offsetof(ngx_push_room_buf_t, data) + size,
                   ngx_push_room_connection(room)->log);
    if (in == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(in, old, offsetof(ngx_push_room_buf_t, data) + old->last);
    in->size = size;

    ngx_free(old);
    room->in = in;

    return NGX_OK;
}


/* All packets in p, of which the last may be cut. */

static ngx_int_t
ngx_push_room_parse(ngx_push_room_conn_t *room, u_char *p, size_t n)
{
    int                         rc;
    size_t                      max, need;
    ngx_push_mqtt_frame_t       f;
    ngx_push_mqtt_error_t       err;
    ngx_push_room_srv_conf_t   *rscf;

    rscf = ngx_push_room_srv_conf(room);

    while (n) {

        if (room->state == NGX_PUSH_ROOM_CLAIMING) {
            return ngx_push_room_tail(room, p, n, 0);
        }

        max = (room->state == NGX_PUSH_ROOM_HANDSHAKE)
              ? NGX_PUSH_ROOM_CONNECT_MAX : rscf->max_packet;

        rc = ngx_push_mqtt_read_frame(p, n, max, room->version, &f, &err);

        if (rc == NGX_PUSH_MQTT_ERROR) {
            return ngx_push_room_fail(room, &err);
        }

        need = f.header ? (size_t) f.header + f.remaining : 0;

        if (rc == NGX_PUSH_MQTT_AGAIN) {
            return ngx_push_room_tail(room, p, n, need);
        }

        if (ngx_push_room_packet(room, &f, p + f.header) != NGX_OK) {
            return NGX_DONE;
        }

        p += need;
        n -= need;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_room_tail(ngx_push_room_conn_t *room, u_char *p, size_t n,
    size_t need)
{
    size_t                size;
    ngx_push_room_buf_t  *in;

    size = ngx_max(n, NGX_PUSH_ROOM_TAIL);

    if (need && size > need) {
        size = need;
    }

    in = ngx_alloc(offsetof(ngx_push_room_buf_t, data) + size,
                   ngx_push_room_connection(room)->log);
    if (in == NULL) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_NO_MEMORY, 0, NULL);
    }

    in->pos = 0;
    in->last = n;
    in->size = size;
    in->need = need;
    ngx_memcpy(in->data, p, n);

    room->in = in;

    return NGX_OK;
}


/* What recv() said: NGX_OK, NGX_AGAIN, NGX_DONE. */

static ngx_int_t
ngx_push_room_received(ngx_push_room_conn_t *room, ssize_t n)
{
    if (n == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (n == 0) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_CLOSED, 0, NULL);
    }

    if (n == NGX_ERROR) {
        ngx_push_room_connection(room)->error = 1;
        return ngx_push_room_end(room, NGX_PUSH_ROOM_IO_ERROR, 0, NULL);
    }

    room->received += n;
    ngx_push_count_add(bytes_in, n);

    return NGX_OK;
}


ngx_int_t
ngx_push_room_resume(ngx_push_room_conn_t *room)
{
    size_t     n;
    ngx_int_t  rc;

    n = 0;

    if (room->in && room->in->need == 0) {
        n = room->in->last;
        ngx_memcpy(ngx_push_room_input, room->in->data, n);
        ngx_free(room->in);
        room->in = NULL;
    }

    rc = ngx_push_room_parse(room, ngx_push_room_input, n);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_push_room_settle(room) != NGX_OK) {
        return NGX_DONE;
    }

    if (ngx_push_room_connection(room)->read->ready) {
        ngx_post_event(ngx_push_room_connection(room)->read,
                       &ngx_posted_events);
    }

    return NGX_OK;
}


ngx_int_t
ngx_push_room_preread(ngx_push_room_conn_t *room, ngx_buf_t *b)
{
    size_t   n;
    u_char  *p;

    p = b->pos;
    n = b->last - b->pos;
    b->pos = b->last;

    ngx_push_count_add(bytes_in, n);

    if (ngx_push_room_parse(room, p, n) != NGX_OK) {
        return NGX_DONE;
    }

    return ngx_push_room_settle(room);
}


static void
ngx_push_room_discard(ngx_push_room_conn_t *room)
{
    ssize_t            n;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = ngx_push_room_connection(room);

    for (i = 0; i < NGX_PUSH_ROOM_READS; i++) {

        n = ngx_push_room_recv(room, ngx_push_room_input,
                               NGX_PUSH_ROOM_INPUT);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            c->error = (n < 0);
            ngx_push_room_finish(room);
            return;
        }
    }

    if (i == NGX_PUSH_ROOM_READS) {
        ngx_post_event(c->read, &ngx_posted_next_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_push_room_finish(room);
    }
}
