
/*
 * Copyright (C) the ngx_push authors
 */


/* Messages to devices, and what else the core asks of a connection. */


#include "ngx_push_room.h"


static ngx_int_t ngx_push_room_take(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_redeliver(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_put(ngx_push_room_conn_t *room,
    ngx_push_out_t *out);
static ngx_int_t ngx_push_room_pass(ngx_push_room_conn_t *room,
    ngx_push_out_t *out, ngx_uint_t drop);

static void ngx_push_room_notify(ngx_push_conn_t *pc);
static void ngx_push_room_deliver(ngx_push_conn_t *pc, ngx_push_out_t *out);
static void ngx_push_room_kick(ngx_push_conn_t *pc, ngx_uint_t reason);
static void ngx_push_room_drain(ngx_push_conn_t *pc);
static void ngx_push_room_warm(ngx_push_conn_t *pc);


ngx_push_transport_t  ngx_push_room_transport = {
    "mqtt",
    ngx_push_room_notify,
    ngx_push_room_deliver,
    ngx_push_room_kick,
    ngx_push_room_drain,
    ngx_push_room_warm
};


ngx_int_t
ngx_push_room_settle(ngx_push_room_conn_t *room)
{
    ngx_int_t  rc;

    rc = NGX_OK;

    if (room->again && room->state == NGX_PUSH_ROOM_ONLINE) {
        rc = ngx_push_room_redeliver(room);
    }

    if (rc != NGX_OK) {
        /* void */

    } else if (room->take && !room->again && room->nfilters == 0
               && room->state == NGX_PUSH_ROOM_ONLINE)
    {
        rc = ngx_push_room_take(room);

    } else {
        rc = ngx_push_room_flush(room);
    }

    if (rc == NGX_ERROR) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_IO_ERROR, 0, NULL);
    }

    return rc == NGX_DONE ? NGX_DONE : NGX_OK;
}


/*
 * Messages, as long as there are any and the socket takes them; a bounded
 * number, then others have their turn.  NGX_OK, NGX_AGAIN, NGX_ERROR,
 * NGX_DONE.
 */

static ngx_int_t
ngx_push_room_take(ngx_push_room_conn_t *room)
{
    ngx_int_t        n, rc;
    ngx_int_t        i;
    ngx_uint_t       total;
    ngx_push_out_t   out[NGX_PUSH_ROOM_TAKE];

    for (total = 0; room->out == NULL; total += n) {

        if (total >= NGX_PUSH_ROOM_TURN) {
            ngx_post_event(ngx_push_room_connection(room)->write,
                           &ngx_posted_next_events);
            break;
        }

        n = ngx_push_take(&room->push, out, NGX_PUSH_ROOM_TAKE);

        if (n == NGX_DECLINED) {
            return ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0, NULL);
        }

        if (n <= 0) {
            ngx_push_unpin();
            room->take = 0;
            break;
        }

        for (i = 0; i < n; i++) {
            if (ngx_push_room_put(room, &out[i]) != NGX_OK) {
                ngx_push_unpin();
                return ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0,
                                         NULL);
            }
        }

        rc = ngx_push_room_flush(room);
        ngx_push_unpin();

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (!room->push.behind) {
            room->take = 0;
            break;
        }
    }

    return ngx_push_room_flush(room);
}


/*
 * The window again, as far as the socket takes it, the rest when it does; no
 * new message overtakes it.  NGX_OK, NGX_ERROR, NGX_DONE.
 */

static ngx_int_t
ngx_push_room_redeliver(ngx_push_room_conn_t *room)
{
    ngx_int_t        i, n, rc;
    ngx_uint_t       cursor;
    ngx_push_out_t   out[NGX_PUSH_ROOM_TAKE];

    while (room->out == NULL) {
        cursor = room->resent;

        n = ngx_push_retake(&room->push, &cursor, out, NGX_PUSH_ROOM_TAKE);

        room->resent = (uint16_t) cursor;

        if (n == NGX_DECLINED) {
            return ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0, NULL);
        }

        if (n == NGX_AGAIN) {
            ngx_push_unpin();
            break;
        }

        if (n <= 0) {
            ngx_push_unpin();
            room->again = 0;
            break;
        }

        for (i = 0; i < n; i++) {
            if (ngx_push_room_put(room, &out[i]) != NGX_OK) {
                ngx_push_unpin();
                return ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0,
                                         NULL);
            }
        }

        rc = ngx_push_room_flush(room);
        ngx_push_unpin();

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* Adds one message to the batch.  NGX_OK, NGX_DECLINED: taken over. */

static ngx_int_t
ngx_push_room_put(ngx_push_room_conn_t *room, ngx_push_out_t *out)
{
    u_char                 *p;
    ngx_push_room_image_t  *image;

    image = ngx_push_room_encode(room, out);

    if (image == NULL) {
        return ngx_push_room_pass(room, out, NGX_PUSH_DROPS);
    }

    if (image->size == 0) {
        return ngx_push_room_pass(room, out, NGX_PUSH_DROP_PACKET_SIZE);
    }

    p = ngx_push_room_reserve(room, image->size);

    ngx_push_room_address(image, out, p);
    ngx_push_room_commit(image->size);

    if (!image->whole) {
        ngx_push_room_payload(room, out->msg);
    }

    room->messages_out++;
    ngx_push_count(sent[out->kind]);

    if (out->dup) {
        ngx_push_count(redelivered);
    }

    return NGX_OK;
}


/* A message that cannot be sent is done with. */

static ngx_int_t
ngx_push_room_pass(ngx_push_room_conn_t *room, ngx_push_out_t *out,
    ngx_uint_t drop)
{
    if (drop < NGX_PUSH_DROPS) {
        ngx_push_count(drops[drop]);
    }

    if (out->qos) {

        if (ngx_push_skip(&room->push, out->pid) == NGX_DECLINED) {
            return NGX_DECLINED;
        }

        /* as by an acknowledgement */

        if (room->again && room->resent) {
            room->resent--;
        }
    }

    return NGX_OK;
}


static void
ngx_push_room_notify(ngx_push_conn_t *pc)
{
    ngx_push_room_conn_t  *room;

    room = (ngx_push_room_conn_t *) pc;

    if (room->state != NGX_PUSH_ROOM_ONLINE) {
        return;
    }

    room->take = 1;

    if (room->out == NULL) {
        (void) ngx_push_room_settle(room);
    }
}


/*
 * The core may be at work for another connection, or for this one, whose step
 * then finds out that writing failed: so nothing ends here but by an event.
 */

static void
ngx_push_room_deliver(ngx_push_conn_t *pc, ngx_push_out_t *out)
{
    ngx_push_room_conn_t  *room;

    room = (ngx_push_room_conn_t *) pc;

    if (room->state != NGX_PUSH_ROOM_ONLINE) {
        return;
    }

    if (ngx_push_room_put(room, out) != NGX_OK
        || ngx_push_room_flush(room) == NGX_ERROR)
    {
        room->take = 1;
        ngx_post_event(ngx_push_room_connection(room)->write,
                       &ngx_posted_events);
    }
}


static void
ngx_push_room_kick(ngx_push_conn_t *pc, ngx_uint_t reason)
{
    ngx_push_room_end((ngx_push_room_conn_t *) pc,
                      reason == NGX_PUSH_MQTT_RC_SESSION_TAKEN_OVER
                      ? NGX_PUSH_ROOM_TAKEN_OVER : NGX_PUSH_ROOM_KICKED,
                      reason,
                      reason == NGX_PUSH_MQTT_RC_SESSION_TAKEN_OVER
                      ? "the device has connected again" : NULL);
}


static void
ngx_push_room_drain(ngx_push_conn_t *pc)
{
    ngx_push_room_end((ngx_push_room_conn_t *) pc, NGX_PUSH_ROOM_DRAINED, 0,
                      "this worker is leaving");
}


/*
 * What sending looks at.  The event is found without a look at the connection,
 * which is not asked for by its function: logs go on about another one.
 */

static void
ngx_push_room_warm(ngx_push_conn_t *pc)
{
    ngx_connection_t  *c;

    c = ((ngx_push_room_conn_t *) pc)->connection;

    ngx_push_prefetch(c, sizeof(ngx_connection_t));
    ngx_push_prefetch(&ngx_cycle->write_events[c - ngx_cycle->connections],
                      NGX_PUSH_CACHE_LINE);
}
