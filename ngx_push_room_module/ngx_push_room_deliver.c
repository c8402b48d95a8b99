
/*
 * Copyright (C) the ngx_push authors
 */


/* Messages to devices, and what else the core asks of a connection. */


#include "ngx_push_room.h"


#define NGX_PUSH_ROOM_TOPIC_MAX                                               \
    (NGX_PUSH_PRODUCT_MAX + sizeof("/group/") + NGX_PUSH_NAME_MAX)

/* header of a PUBLISH without its forwarded properties */

#define NGX_PUSH_ROOM_HEADER_MAX                                              \
    (NGX_PUSH_MQTT_PUBLISH_MAX + NGX_PUSH_ROOM_TOPIC_MAX                      \
     + NGX_PUSH_CTYPE_MAX + NGX_PUSH_ID_LEN + 16)


static ngx_int_t ngx_push_room_take(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_redeliver(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_put(ngx_push_room_conn_t *room,
    ngx_push_out_t *out);
static ngx_int_t ngx_push_room_pass(ngx_push_room_conn_t *room,
    ngx_push_out_t *out, ngx_uint_t drop);
static ngx_uint_t ngx_push_room_topic_name(ngx_push_out_t *out, u_char *buf,
    ngx_push_mqtt_str_t *topic);
static void ngx_push_room_message(ngx_push_out_t *out,
    ngx_push_mqtt_message_t *m, u_char *id);
static void ngx_push_room_message_props(ngx_push_out_t *out,
    ngx_push_mqtt_message_t *m);

static void ngx_push_room_notify(ngx_push_conn_t *pc);
static void ngx_push_room_deliver(ngx_push_conn_t *pc, ngx_push_out_t *out);
static void ngx_push_room_kick(ngx_push_conn_t *pc, ngx_uint_t reason);
static void ngx_push_room_drain(ngx_push_conn_t *pc);


ngx_push_transport_t  ngx_push_room_transport = {
    "mqtt",
    ngx_push_room_notify,
    ngx_push_room_deliver,
    ngx_push_room_kick,
    ngx_push_room_drain
};


/* content type, a second subscription id, and forwarded properties */

static u_char  ngx_push_room_data[NGX_PUSH_CTYPE_MAX + 8 + 65536];


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

    } else if (room->take && !room->again
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
    size_t                    n, size;
    u_char                   *p, topic[NGX_PUSH_ROOM_TOPIC_MAX];
    u_char                    id[NGX_PUSH_ID_LEN];
    ngx_push_mqtt_patch_t     patch;
    ngx_push_mqtt_message_t   m;

    ngx_memzero(&m, sizeof(ngx_push_mqtt_message_t));

    if (!ngx_push_room_topic_name(out, topic, &m.topic)) {
        return ngx_push_room_pass(room, out, NGX_PUSH_DROPS);
    }

    m.qos = out->qos;
    m.dup = out->dup;
    m.packet_id = out->pid;
    m.payload_len = out->msg->size;

    if (room->version == NGX_PUSH_MQTT_V5) {
        ngx_push_room_message(out, &m, id);
    }

    size = NGX_PUSH_ROOM_HEADER_MAX + m.user.len;
    p = ngx_push_room_reserve(room, size);

    n = ngx_push_mqtt_write_publish(p, size, room->max_packet, room->version,
                                    &m, &patch);
    if (n == 0) {
        return ngx_push_room_pass(room, out, NGX_PUSH_DROP_PACKET_SIZE);
    }

    ngx_push_room_commit(n);
    ngx_push_room_payload(room, out->msg);

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


/* 0: the product is no longer in the configuration. */

static ngx_uint_t
ngx_push_room_topic_name(ngx_push_out_t *out, u_char *buf,
    ngx_push_mqtt_str_t *topic)
{
    u_char  *p;

    if (out->product == NULL) {
        return 0;
    }

    p = ngx_cpymem(buf, out->product->name.data, out->product->name.len);

    switch (out->kind) {

    case NGX_PUSH_INBOX:
        p = ngx_cpymem(p, "/inbox", 6);
        break;

    case NGX_PUSH_BROADCAST:
        p = ngx_cpymem(p, "/broadcast", 10);
        break;

    case NGX_PUSH_GROUP:
        p = ngx_cpymem(p, "/group/", 7);
        p = ngx_cpymem(p, out->group.data, out->group.len);
        break;

    default:
        return 0;
    }

    topic->data = buf;
    topic->len = p - buf;

    return 1;
}


/* What MQTT 5 tells besides. */

static void
ngx_push_room_message(ngx_push_out_t *out, ngx_push_mqtt_message_t *m,
    u_char *id)
{
    if (out->seq) {
        m->has_expiry = 1;
        m->message_expiry = out->remaining;

        m->id.data = id;
        m->id.len = ngx_push_id_print(id, out->incarnation, out->seq) - id;
    }

    m->subscription_id = out->ids[0] ? out->ids[0] : out->ids[1];

    ngx_push_room_message_props(out, m);
}


/*
 * Content type and forwarded properties stand before the payload.  They are
 * used in place when they are in the record itself, as nearly always, and
 * there is no second subscription id to put before them.
 */

static void
ngx_push_room_message_props(ngx_push_out_t *out, ngx_push_mqtt_message_t *m)
{
    size_t               len;
    u_char              *p;
    uint32_t             id;
    ngx_push_message_t  *msg;

    msg = out->msg;
    len = ngx_push_message_payload(msg);
    id = (out->ids[0] && out->ids[1] != out->ids[0]) ? out->ids[1] : 0;

    if (len == 0 && id == 0) {
        return;
    }

    m->content_type.len = msg->ctype_len;
    m->user.len = msg->props_len;

    if (len <= NGX_PUSH_MSG_INLINE && id == 0) {
        m->content_type.data = msg->data;
        m->user.data = msg->data + msg->ctype_len;
        return;
    }

    p = ngx_push_room_data;

    ngx_push_message_copy(msg, 0, msg->ctype_len, p);
    m->content_type.data = p;
    p += msg->ctype_len;

    m->user.data = p;

    if (id) {
        *p++ = NGX_PUSH_MQTT_PROP_SUBSCRIPTION_ID;

        while (id > 127) {
            *p++ = (u_char) (id | 0x80);
            id >>= 7;
        }

        *p++ = (u_char) id;
    }

    ngx_push_message_copy(msg, msg->ctype_len, msg->props_len, p);
    p += msg->props_len;

    m->user.len = p - m->user.data;
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
