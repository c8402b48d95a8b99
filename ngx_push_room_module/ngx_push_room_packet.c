
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Which packet may come when.  What is not in the table is a protocol error:
 * packets only a server sends, a second CONNECT, anything before the first,
 * PUBREC, PUBREL and PUBCOMP (QoS 2 is sent neither way), AUTH (no
 * authentication method is offered).
 */


#include "ngx_push_room.h"


static ngx_int_t ngx_push_room_puback(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body);
static ngx_int_t ngx_push_room_pingreq(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body);
static ngx_int_t ngx_push_room_disconnect(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body);


static const ngx_push_room_packet_pt
    ngx_push_room_packets[NGX_PUSH_ROOM_STATES][16] =
{
    [NGX_PUSH_ROOM_HANDSHAKE] = {
        [NGX_PUSH_MQTT_CONNECT] = ngx_push_room_connect
    },

    [NGX_PUSH_ROOM_ONLINE] = {
        [NGX_PUSH_MQTT_PUBLISH] = ngx_push_room_publish,
        [NGX_PUSH_MQTT_PUBACK] = ngx_push_room_puback,
        [NGX_PUSH_MQTT_SUBSCRIBE] = ngx_push_room_subscribe,
        [NGX_PUSH_MQTT_UNSUBSCRIBE] = ngx_push_room_unsubscribe,
        [NGX_PUSH_MQTT_PINGREQ] = ngx_push_room_pingreq,
        [NGX_PUSH_MQTT_DISCONNECT] = ngx_push_room_disconnect
    }
};


ngx_int_t
ngx_push_room_packet(ngx_push_room_conn_t *room, ngx_push_mqtt_frame_t *f,
    u_char *body)
{
    ngx_push_room_packet_pt  handler;

    ngx_log_debug3(NGX_LOG_DEBUG_STREAM,
                   ngx_push_room_connection(room)->log, 0,
                   "push %s flags:%ui length:%uD",
                   ngx_push_mqtt_type_name(f->type), (ngx_uint_t) f->flags,
                   f->remaining);

    handler = ngx_push_room_packets[room->state][f->type];

    if (handler == NULL) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_PROTOCOL, 0,
                                 "packet out of place");
    }

    if (room->state == NGX_PUSH_ROOM_ONLINE) {
        ngx_push_room_alive(room);
    }

    return handler(room, f, body);
}


static ngx_int_t
ngx_push_room_puback(ngx_push_room_conn_t *room, ngx_push_mqtt_frame_t *f,
    u_char *body)
{
    ngx_push_mqtt_ack_t    ack;
    ngx_push_mqtt_error_t  err;

    if (ngx_push_mqtt_parse_ack(room->version, f->type, body, f->remaining,
                                &ack, &err)
        != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_room_fail(room, &err);
    }

    /* a reason that says it was not taken ends the message all the same */

    switch (ngx_push_ack(&room->push, ack.packet_id)) {

    case NGX_OK:

        /* while the window is resent the place in it moves up as well */

        if (room->again && room->resent) {
            room->resent--;
        }

        if (room->push.behind) {
            room->take = 1;
        }

        return NGX_OK;

    case NGX_DECLINED:
        return ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0, NULL);

    default:
        ngx_push_count(drops[NGX_PUSH_DROP_UNKNOWN_ACK]);
        return NGX_OK;
    }
}


/* The answer, and a look for messages of which the note got lost. */

static ngx_int_t
ngx_push_room_pingreq(ngx_push_room_conn_t *room, ngx_push_mqtt_frame_t *f,
    u_char *body)
{
    u_char                 *p;
    ngx_push_mqtt_error_t   err;

    if (ngx_push_mqtt_parse_pingreq(f->remaining, &err) != NGX_PUSH_MQTT_OK) {
        return ngx_push_room_fail(room, &err);
    }

    p = ngx_push_room_reserve(room, NGX_PUSH_MQTT_PINGRESP_MAX);

    ngx_push_room_commit(
        ngx_push_mqtt_write_pingresp(p, NGX_PUSH_MQTT_PINGRESP_MAX));

    room->take = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_push_room_disconnect(ngx_push_room_conn_t *room, ngx_push_mqtt_frame_t *f,
    u_char *body)
{
    uint32_t                 expiry;
    ngx_push_mqtt_error_t    err;
    ngx_push_mqtt_reason_t   reason;

    if (ngx_push_mqtt_parse_disconnect(room->version, body, f->remaining,
                                       &reason, &err)
        != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_room_fail(room, &err);
    }

    if (ngx_push_mqtt_has(&reason.props, NGX_PUSH_MQTT_PROP_SESSION_EXPIRY)) {
        expiry = reason.props.session_expiry;

        if (expiry && room->expiry_zero) {
            return ngx_push_room_end(room, NGX_PUSH_ROOM_PROTOCOL, 0,
                                     "session expiry on DISCONNECT where "
                                     "CONNECT had none");
        }

        room->expiry = ngx_min(expiry,
                               (uint32_t) ngx_push_room_push->session_expiry);
    }

    return ngx_push_room_end(room,
                             reason.reason == NGX_PUSH_MQTT_RC_SUCCESS
                             ? NGX_PUSH_ROOM_NORMAL
                             : NGX_PUSH_ROOM_WITH_WILL, 0, NULL);
}
