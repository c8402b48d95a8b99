
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The end of a connection.  Every way leads through ngx_push_room_end(): the
 * session is released, a client of MQTT 5 is told why, and when that packet
 * was read or two seconds have passed, nginx closes and writes its access
 * log.
 */


#include "ngx_push_room.h"


#define NGX_PUSH_ROOM_LINGER    2000   /* msec */
#define NGX_PUSH_ROOM_NO_DROP   NGX_PUSH_DROPS


typedef struct {
    ngx_uint_t       drop;             /* ngx_push_drop_t, or NO_DROP */
    ngx_uint_t       code;             /* DISCONNECT; 0: none is sent */
    ngx_uint_t       status;           /* of nginx's stream session */
    unsigned         broken:1;         /* the session lingers */
    unsigned         will:1;
} ngx_push_room_end_t;


static void ngx_push_room_release(ngx_push_room_conn_t *room,
    const ngx_push_room_end_t *end);
static ngx_uint_t ngx_push_room_last_words(ngx_push_room_conn_t *room,
    ngx_uint_t code, const char *text);


ngx_str_t  ngx_push_room_why_names[NGX_PUSH_ROOM_ENDS] = {
    ngx_string("open"),
    ngx_string("normal"),
    ngx_string("with_will"),
    ngx_string("closed"),
    ngx_string("io_error"),
    ngx_string("connect_timeout"),
    ngx_string("refused"),
    ngx_string("denied"),
    ngx_string("full"),
    ngx_string("malformed"),
    ngx_string("protocol"),
    ngx_string("too_large"),
    ngx_string("not_offered"),
    ngx_string("not_allowed"),
    ngx_string("not_saved"),
    ngx_string("keepalive"),
    ngx_string("slow"),
    ngx_string("token_expired"),
    ngx_string("taken_over"),
    ngx_string("kicked"),
    ngx_string("drained"),
    ngx_string("no_memory")
};


#define NGX_PUSH_ROOM_OK   NGX_STREAM_OK
#define NGX_PUSH_ROOM_BAD  NGX_STREAM_BAD_REQUEST
#define NGX_PUSH_ROOM_FORBIDDEN  NGX_STREAM_FORBIDDEN
#define NGX_PUSH_ROOM_INTERNAL   NGX_STREAM_INTERNAL_SERVER_ERROR
#define NGX_PUSH_ROOM_UNAVAILABLE  NGX_STREAM_SERVICE_UNAVAILABLE

/* in the order of ngx_push_room_why_t */

static const ngx_push_room_end_t  ngx_push_room_ends[NGX_PUSH_ROOM_ENDS] = {
    /* open */
    { NGX_PUSH_ROOM_NO_DROP, 0, NGX_PUSH_ROOM_OK, 1, 1 },
    /* normal */
    { NGX_PUSH_ROOM_NO_DROP, 0, NGX_PUSH_ROOM_OK, 0, 0 },
    /* with_will */
    { NGX_PUSH_ROOM_NO_DROP, 0, NGX_PUSH_ROOM_OK, 0, 1 },
    /* closed */
    { NGX_PUSH_ROOM_NO_DROP, 0, NGX_PUSH_ROOM_OK, 1, 1 },
    /* io_error */
    { NGX_PUSH_ROOM_NO_DROP, 0, NGX_PUSH_ROOM_OK, 1, 1 },
    /* connect_timeout */
    { NGX_PUSH_DROP_CONNECT_TIMEOUT, 0, NGX_PUSH_ROOM_BAD, 1, 1 },
    /* refused */
    { NGX_PUSH_DROP_PROTOCOL, 0, NGX_PUSH_ROOM_BAD, 1, 1 },
    /* denied */
    { NGX_PUSH_DROP_DENIED, 0, NGX_PUSH_ROOM_FORBIDDEN, 1, 1 },
    /* full */
    { NGX_PUSH_DROP_ZONE_FULL, 0, NGX_PUSH_ROOM_UNAVAILABLE, 1, 1 },
    /* malformed */
    { NGX_PUSH_DROP_MALFORMED, NGX_PUSH_MQTT_RC_MALFORMED_PACKET,
      NGX_PUSH_ROOM_BAD, 1, 1 },
    /* protocol */
    { NGX_PUSH_DROP_PROTOCOL, NGX_PUSH_MQTT_RC_PROTOCOL_ERROR,
      NGX_PUSH_ROOM_BAD, 1, 1 },
    /* too_large */
    { NGX_PUSH_DROP_TOO_LARGE, NGX_PUSH_MQTT_RC_PACKET_TOO_LARGE,
      NGX_PUSH_ROOM_BAD, 1, 1 },
    /* not_offered */
    { NGX_PUSH_DROP_PROTOCOL, NGX_PUSH_MQTT_RC_QOS_NOT_SUPPORTED,
      NGX_PUSH_ROOM_BAD, 1, 1 },
    /* not_allowed */
    { NGX_PUSH_DROP_DENIED, NGX_PUSH_MQTT_RC_NOT_AUTHORIZED,
      NGX_PUSH_ROOM_FORBIDDEN, 1, 1 },
    /* not_saved */
    { NGX_PUSH_ROOM_NO_DROP, NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED,
      NGX_PUSH_ROOM_UNAVAILABLE, 1, 1 },
    /* keepalive */
    { NGX_PUSH_DROP_KEEPALIVE, NGX_PUSH_MQTT_RC_KEEP_ALIVE_TIMEOUT,
      NGX_PUSH_ROOM_OK, 1, 1 },
    /* slow */
    { NGX_PUSH_DROP_SLOW, 0, NGX_PUSH_ROOM_OK, 1, 1 },
    /* token_expired */
    { NGX_PUSH_DROP_TOKEN_EXPIRED, NGX_PUSH_MQTT_RC_MAXIMUM_CONNECT_TIME,
      NGX_PUSH_ROOM_OK, 1, 1 },
    /* taken_over */
    { NGX_PUSH_DROP_TAKEN_OVER, NGX_PUSH_MQTT_RC_SESSION_TAKEN_OVER,
      NGX_PUSH_ROOM_OK, 0, 0 },
    /* kicked */
    { NGX_PUSH_ROOM_NO_DROP, NGX_PUSH_MQTT_RC_ADMINISTRATIVE_ACTION,
      NGX_PUSH_ROOM_OK, 0, 0 },
    /* drained */
    { NGX_PUSH_ROOM_NO_DROP, NGX_PUSH_MQTT_RC_SERVER_SHUTTING_DOWN,
      NGX_PUSH_ROOM_OK, 1, 1 },
    /* no_memory */
    { NGX_PUSH_ROOM_NO_DROP, NGX_PUSH_MQTT_RC_UNSPECIFIED_ERROR,
      NGX_PUSH_ROOM_INTERNAL, 1, 1 }
};


ngx_int_t
ngx_push_room_end(ngx_push_room_conn_t *room, ngx_push_room_why_t why,
    ngx_uint_t code, const char *text)
{
    ngx_int_t                   rc;
    ngx_uint_t                  last;
    ngx_connection_t           *c;
    const ngx_push_room_end_t  *end;

    if (room->state == NGX_PUSH_ROOM_CLOSING) {
        return NGX_DONE;
    }

    room->why = why;

    if (room->state == NGX_PUSH_ROOM_CLAIMING && room->pending) {

        /* the register has a hand on it: ngx_push_room_claim_done() ends it */

        room->doomed = 1;
        return NGX_DONE;
    }

    c = ngx_push_room_connection(room);
    end = &ngx_push_room_ends[why];

    ngx_log_error(NGX_LOG_INFO, c->log, 0, "push: connection ended: %V%s%s",
                  &ngx_push_room_why_names[why], text ? ", " : "",
                  text ? text : "");

    if (end->drop != NGX_PUSH_ROOM_NO_DROP) {
        ngx_push_count(drops[end->drop]);
    }

    ngx_push_count_add(conns[room->kind], -1);

    ngx_push_room_pending_drop(room);
    ngx_push_room_release(room, end);

    last = ngx_push_room_last_words(room, code ? code : end->code, text);

    rc = ngx_push_room_flush(room);
    room->state = NGX_PUSH_ROOM_CLOSING;

    if (rc == NGX_ERROR || !last || c->close) {
        ngx_push_room_finish(room);
        return NGX_DONE;
    }

    room->exp = 0;
    room->send_deadline = 0;
    room->deadline = ngx_push_room_after(NGX_PUSH_ROOM_LINGER);
    ngx_push_room_wheel_move(room);

    if (rc == NGX_OK) {
        ngx_push_room_hangup(room);
    }

    return NGX_DONE;
}


/* What was read is not what MQTT allows. */

ngx_int_t
ngx_push_room_fail(ngx_push_room_conn_t *room, ngx_push_mqtt_error_t *err)
{
    ngx_push_room_why_t  why;

    switch (err->code) {

    case NGX_PUSH_MQTT_RC_MALFORMED_PACKET:
        why = NGX_PUSH_ROOM_MALFORMED;
        break;

    case NGX_PUSH_MQTT_RC_PACKET_TOO_LARGE:
        why = NGX_PUSH_ROOM_TOO_LARGE;
        break;

    case NGX_PUSH_MQTT_RC_QOS_NOT_SUPPORTED:
    case NGX_PUSH_MQTT_RC_RETAIN_NOT_SUPPORTED:
        why = NGX_PUSH_ROOM_NOT_OFFERED;
        break;

    default:
        why = NGX_PUSH_ROOM_PROTOCOL;
    }

    return ngx_push_room_end(room, why, err->code, err->text);
}


static void
ngx_push_room_release(ngx_push_room_conn_t *room,
    const ngx_push_room_end_t *end)
{
    if (room->push.session.index == 0) {
        return;
    }

    if (room->why == NGX_PUSH_ROOM_TAKEN_OVER
        || room->why == NGX_PUSH_ROOM_KICKED)
    {
        ngx_push_conn_detach(&room->push);
        room->push.session.index = 0;
        return;
    }

    ngx_push_room_push->reg->release(&room->push, end->broken, room->expiry,
                                     end->will);
}


/*
 * Prepares a DISCONNECT where there is one.  1: the client is to read what is
 * on its way before the connection is closed.
 */

static ngx_uint_t
ngx_push_room_last_words(ngx_push_room_conn_t *room, ngx_uint_t code,
    const char *text)
{
    size_t                 n;
    u_char                *p;
    ngx_push_mqtt_props_t  props;

    if (room->state != NGX_PUSH_ROOM_ONLINE) {

        /* a refused CONNECT has had its CONNACK prepared */

        return room->version != 0;
    }

    if (code == 0 || room->version != NGX_PUSH_MQTT_V5) {
        return 0;
    }

    props.present = 0;

    if (text && room->problem_info) {
        props.reason_string.data = (const uint8_t *) text;
        props.reason_string.len = ngx_strlen(text);
        ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_REASON_STRING);
    }

    p = ngx_push_room_reserve(room, 512);

    n = ngx_push_mqtt_write_disconnect(p, 512, room->max_packet,
                                       room->version, code, &props);
    if (n == 0) {
        return 0;
    }

    ngx_push_room_commit(n);

    return 1;
}


/*
 * Unread octets in a socket that is closed turn the close into a reset, which
 * would take the last packet from the client: so only our half is closed, and
 * the rest is read until the client has done the same.
 */

void
ngx_push_room_hangup(ngx_push_room_conn_t *room)
{
    ngx_connection_t  *c;

    c = ngx_push_room_connection(room);

#if (NGX_PUSH_ROOM_TLS)
    if (room->tls) {
        ngx_push_room_tls_bye(room);
    }
#endif

#if (NGX_STREAM_SSL)
    if (c->ssl == NULL)
#endif
    {
        if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
            ngx_connection_error(c, ngx_socket_errno,
                                 ngx_shutdown_socket_n " failed");
            ngx_push_room_finish(room);
            return;
        }
    }

    if (c->read->ready || c->read->eof) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


void
ngx_push_room_finish(ngx_push_room_conn_t *room)
{
    ngx_push_room_wheel_remove(room);

#if (NGX_PUSH_ROOM_TLS)
    if (room->tls) {
        ngx_push_room_tls_bye(room);
        ngx_push_room_tls_free(room);
    }
#endif

    if (room->in) {
        ngx_free(room->in);
    }

    if (room->out) {
        room->connection->error = 1;
        ngx_free(room->out);
    }

    if (room->aliases) {
        ngx_push_room_aliases_free(room);
    }

    /* the access log still asks for variables */

    ngx_push_room_finalize(room, ngx_push_room_ends[room->why].status);

    if (room->name) {
        ngx_free(room->name);
    }

    ngx_free(room);
}
