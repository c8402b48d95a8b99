
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Deadlines of all connections of this worker, without a timer for each: a
 * wheel of one-second buckets.  A connection is in the bucket of the second
 * in which it is to be looked at, at most NGX_PUSH_ROOM_BUCKETS - 1 ahead.
 * When its deadline moves away, as with every packet that arrives, nothing is
 * done; the look finds it in the future and puts the connection ahead again.
 *
 * The looks of one tick are bounded: what is left stays in the "due" queue
 * for the next one.
 *
 * A connection keeps the worker alive (the tick is a timer), so that an old
 * worker of a reload stays until the core has sent all of them away.
 */


#include "ngx_push_room.h"


#define NGX_PUSH_ROOM_BUCKETS   512
#define NGX_PUSH_ROOM_LOOKS     16384
#define NGX_PUSH_ROOM_TICK      1000


static void ngx_push_room_tick(ngx_event_t *ev);
static void ngx_push_room_collect(uint32_t now);
static void ngx_push_room_look(ngx_push_room_conn_t *room, uint32_t now);
static uint32_t ngx_push_room_next(ngx_push_room_conn_t *room, uint32_t now);


static ngx_queue_t       ngx_push_room_buckets[NGX_PUSH_ROOM_BUCKETS];
static ngx_queue_t       ngx_push_room_due;
static ngx_uint_t        ngx_push_room_nconns;
static uint32_t          ngx_push_room_ticked;   /* buckets done up to here */
static time_t            ngx_push_room_skew;     /* wall clock - now */
static ngx_event_t       ngx_push_room_tick_event;
static ngx_connection_t  ngx_push_room_tick_conn;  /* timers want one */


ngx_int_t
ngx_push_room_wheel_init(ngx_cycle_t *cycle)
{
    ngx_uint_t    i;
    ngx_event_t  *ev;

    for (i = 0; i < NGX_PUSH_ROOM_BUCKETS; i++) {
        ngx_queue_init(&ngx_push_room_buckets[i]);
    }

    ngx_queue_init(&ngx_push_room_due);

    ngx_push_room_nconns = 0;
    ngx_push_room_ticked = ngx_push_room_now();
    ngx_push_room_skew = ngx_time() - ngx_push_room_ticked;

    ngx_push_room_tick_conn.fd = (ngx_socket_t) -1;

    ev = &ngx_push_room_tick_event;
    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_push_room_tick;
    ev->data = &ngx_push_room_tick_conn;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_PUSH_ROOM_TICK);

    return NGX_OK;
}


void
ngx_push_room_wheel_add(ngx_push_room_conn_t *room)
{
    uint32_t  now, next;

    now = ngx_push_room_now();
    next = ngx_push_room_next(room, now);

    ngx_queue_insert_tail(&ngx_push_room_buckets[next
                                                 % NGX_PUSH_ROOM_BUCKETS],
                          &room->wheel);
    ngx_push_room_nconns++;
    ngx_push_room_tick_event.cancelable = 0;
}


void
ngx_push_room_wheel_remove(ngx_push_room_conn_t *room)
{
    ngx_queue_remove(&room->wheel);
    ngx_push_room_nconns--;

    if (ngx_push_room_nconns == 0) {
        ngx_push_room_tick_event.cancelable = 1;
    }
}


void
ngx_push_room_wheel_move(ngx_push_room_conn_t *room)
{
    ngx_push_room_wheel_remove(room);
    ngx_push_room_wheel_add(room);
}


static void
ngx_push_room_tick(ngx_event_t *ev)
{
    uint32_t               now;
    ngx_uint_t             n;
    ngx_queue_t           *q;
    ngx_push_room_conn_t  *room;

    now = ngx_push_room_now();

    ngx_push_room_collect(now);

    for (n = 0; n < NGX_PUSH_ROOM_LOOKS; n++) {

        if (ngx_queue_empty(&ngx_push_room_due)) {
            break;
        }

        q = ngx_queue_head(&ngx_push_room_due);
        room = ngx_queue_data(q, ngx_push_room_conn_t, wheel);

        ngx_push_room_wheel_move(room);
        ngx_push_room_look(room, now);
    }

    ngx_add_timer(ev, NGX_PUSH_ROOM_TICK);
}


/*
 * The buckets of the seconds since the last tick; all of them after a jump
 * of the wall clock, by which tokens expire.
 */

static void
ngx_push_room_collect(uint32_t now)
{
    time_t        skew;
    uint32_t      i, n;
    ngx_queue_t  *bucket;

    skew = ngx_time() - now;
    n = now - ngx_push_room_ticked;

    if (n > NGX_PUSH_ROOM_BUCKETS || skew > ngx_push_room_skew + 2) {
        n = NGX_PUSH_ROOM_BUCKETS;
    }

    for (i = 0; i < n; i++) {
        bucket = &ngx_push_room_buckets[(now - i) % NGX_PUSH_ROOM_BUCKETS];

        if (!ngx_queue_empty(bucket)) {
            ngx_queue_add(&ngx_push_room_due, bucket);
            ngx_queue_init(bucket);
        }
    }

    ngx_push_room_ticked = now;
    ngx_push_room_skew = skew;
}


/* May end the connection. */

static void
ngx_push_room_look(ngx_push_room_conn_t *room, uint32_t now)
{
    if (room->state == NGX_PUSH_ROOM_CLOSING) {

        if (room->deadline <= now) {
            ngx_push_room_connection(room)->timedout = 1;
            ngx_push_room_finish(room);
        }

        return;
    }

    if (room->send_deadline && room->send_deadline <= now) {
        ngx_push_room_connection(room)->timedout = 1;
        ngx_push_room_end(room, NGX_PUSH_ROOM_SLOW, 0, NULL);
        return;
    }

    if (room->exp && (time_t) room->exp <= ngx_time()) {
        ngx_push_room_end(room, NGX_PUSH_ROOM_TOKEN_EXPIRED, 0, NULL);
        return;
    }

    if (room->state != NGX_PUSH_ROOM_ONLINE) {

        if (room->deadline <= now) {
            ngx_push_room_end(room, NGX_PUSH_ROOM_CONNECT_TIMEOUT, 0, NULL);
        }

        return;
    }

    /* a blocked connection is not read, its send deadline watches it */

    if (room->deadline <= now && room->out == NULL) {
        ngx_push_room_end(room, NGX_PUSH_ROOM_KEEPALIVE, 0, NULL);
    }
}


/* The second in which to look next, after now and within the wheel. */

static uint32_t
ngx_push_room_next(ngx_push_room_conn_t *room, uint32_t now)
{
    time_t    left;
    uint32_t  next;

    next = room->deadline;

    if (room->send_deadline && room->send_deadline < next) {
        next = room->send_deadline;
    }

    if (room->exp) {
        left = (time_t) room->exp - ngx_time();

        if (left < (time_t) next - (time_t) now) {
            next = (left < 1) ? now + 1 : now + (uint32_t) left;
        }
    }

    if (next <= now) {
        return now + 1;
    }

    return ngx_min(next, now + NGX_PUSH_ROOM_BUCKETS - 1);
}
