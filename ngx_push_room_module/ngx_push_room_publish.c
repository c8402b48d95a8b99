
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * PUBLISH from a device: to the product's backend, or to a group where the
 * product allows it.  QoS 1 is acknowledged when the store has saved it, with
 * a reason code when it has not; 3.1.1 has no such code, so there the
 * connection ends and the client sends again on the next one.
 */


#include "ngx_push_room.h"
#include "ngx_push_mirror.h"


static ngx_int_t ngx_push_room_alias(ngx_push_room_conn_t *room,
    ngx_push_mqtt_publish_t *publish);
static ngx_int_t ngx_push_room_save(ngx_push_room_conn_t *room,
    ngx_push_mqtt_publish_t *publish, ngx_push_save_t *op);
static ngx_int_t ngx_push_room_save_props(ngx_push_room_conn_t *room,
    ngx_push_mqtt_publish_t *publish, ngx_push_save_t *op, ngx_str_t *type);
static void ngx_push_room_saved(ngx_push_handle_t handle, ngx_int_t rc,
    void *op);
static ngx_int_t ngx_push_room_answer(ngx_push_room_conn_t *room,
    ngx_uint_t pid, ngx_int_t rc);
static ngx_int_t ngx_push_room_deny(ngx_push_room_conn_t *room,
    ngx_push_mqtt_publish_t *publish, ngx_uint_t code, const char *text);
static void ngx_push_room_put_ack(ngx_push_room_conn_t *room, ngx_uint_t pid,
    ngx_uint_t code);


static u_char  ngx_push_room_props_buf[NGX_PUSH_ROOM_PROPS_MAX];


ngx_int_t
ngx_push_room_publish(ngx_push_room_conn_t *room, ngx_push_mqtt_frame_t *f,
    u_char *body)
{
    ngx_str_t                  type;
    ngx_uint_t                 code;
    ngx_push_save_t            op;
    ngx_push_mqtt_error_t      err;
    ngx_push_mqtt_limits_t     limits;
    ngx_push_mqtt_publish_t    publish;

    ngx_memzero(&limits, sizeof(ngx_push_mqtt_limits_t));

    limits.max_topic = 65535;
    limits.max_qos = 1;
    limits.topic_alias_max = ngx_push_room_srv_conf(room)->topic_alias_max;

    if (ngx_push_mqtt_parse_publish(room->version, f->flags, body,
                                    f->remaining, &limits, &publish, &err)
        != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_room_fail(room, &err);
    }

    room->messages_in++;
    ngx_push_count(received);

    if (room->npending == NGX_PUSH_ROOM_RECEIVE_MAX) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_PROTOCOL,
                                 NGX_PUSH_MQTT_RC_RECEIVE_MAXIMUM_EXCEEDED,
                                 "too many PUBLISH without an answer");
    }

    if (publish.props.topic_alias
        && ngx_push_room_alias(room, &publish) != NGX_OK)
    {
        return NGX_DONE;
    }

    ngx_memzero(&op, sizeof(ngx_push_save_t));

    code = ngx_push_room_publish_target(room, &publish.topic, &op.target,
                                        &type);
    if (code) {
        return ngx_push_room_deny(room, &publish, code,
                                  "this topic may not be published to");
    }

    if (ngx_push_room_save_props(room, &publish, &op, &type) != NGX_OK) {
        ngx_push_count(drops[NGX_PUSH_DROP_TOO_LARGE]);
        return ngx_push_room_answer(room, publish.packet_id,
                                    NGX_PUSH_TOO_LARGE);
    }

    return ngx_push_room_save(room, &publish, &op);
}


/* Remembers the topic of an alias, or puts it in. */

static ngx_int_t
ngx_push_room_alias(ngx_push_room_conn_t *room,
    ngx_push_mqtt_publish_t *publish)
{
    size_t      size;
    u_char     *p;
    ngx_str_t  *alias;

    if (room->aliases == NULL) {
        size = ngx_push_room_srv_conf(room)->topic_alias_max
               * sizeof(ngx_str_t);

        room->aliases = ngx_calloc(size, ngx_push_room_connection(room)->log);

        if (room->aliases == NULL) {
            return ngx_push_room_end(room, NGX_PUSH_ROOM_NO_MEMORY, 0, NULL);
        }
    }

    alias = &room->aliases[publish->props.topic_alias - 1];

    if (publish->topic.len == 0) {

        if (alias->data == NULL) {
            return ngx_push_room_end(room, NGX_PUSH_ROOM_PROTOCOL, 0,
                                     "topic alias without a topic");
        }

        publish->topic.data = alias->data;
        publish->topic.len = alias->len;

        return NGX_OK;
    }

    if (publish->topic.len > NGX_PUSH_PRODUCT_MAX + sizeof("/group/")
                             + NGX_PUSH_NAME_MAX)
    {
        /* no topic of ours, so nothing to remember but that it was given */

        return ngx_push_room_end(room, NGX_PUSH_ROOM_PROTOCOL,
                                 NGX_PUSH_MQTT_RC_TOPIC_NAME_INVALID,
                                 "topic is too long");
    }

    p = ngx_alloc(publish->topic.len, ngx_push_room_connection(room)->log);

    if (p == NULL) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_NO_MEMORY, 0, NULL);
    }

    if (alias->data) {
        ngx_free(alias->data);
    }

    ngx_memcpy(p, publish->topic.data, publish->topic.len);
    alias->data = p;
    alias->len = publish->topic.len;

    return NGX_OK;
}


void
ngx_push_room_aliases_free(ngx_push_room_conn_t *room)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_push_room_srv_conf(room)->topic_alias_max; i++) {
        if (room->aliases[i].data) {
            ngx_free(room->aliases[i].data);
        }
    }

    ngx_free(room->aliases);
    room->aliases = NULL;
}


/* By the session's own product, whatever product it publishes to. */

static uint64_t
ngx_push_room_publisher(ngx_push_room_conn_t *room)
{
    ngx_str_t            user, device;
    ngx_push_product_t  *product;

    product = ngx_push_product_by_id(ngx_push_room_push, room->products[0]);

    if (product == NULL) {
        return 0;
    }

    ngx_push_room_user(room, &user);
    ngx_push_room_device(room, &device);

    return ngx_push_publisher_hash(product, &user, &device);
}


static ngx_int_t
ngx_push_room_save(ngx_push_room_conn_t *room,
    ngx_push_mqtt_publish_t *publish, ngx_push_save_t *op)
{
    ngx_int_t                 rc;
    ngx_buf_t                 buf;
    ngx_chain_t               cl;
    ngx_push_room_pending_t  *pending;

    ngx_memzero(&buf, sizeof(ngx_buf_t));
    buf.pos = (u_char *) publish->payload.data;
    buf.last = buf.pos + publish->payload.len;
    buf.memory = 1;

    cl.buf = &buf;
    cl.next = NULL;

    op->payload = &cl;
    op->size = publish->payload.len;
    op->qos = publish->qos;
    op->from = ngx_push_room_publisher(room);
    op->ttl = -1;

    if (ngx_push_mqtt_has(&publish->props, NGX_PUSH_MQTT_PROP_MESSAGE_EXPIRY))
    {
        op->ttl = publish->props.message_expiry;
    }

    pending = ngx_push_room_pending_get();

    if (pending == NULL) {
        return ngx_push_room_answer(room, publish->packet_id, NGX_PUSH_BUSY);
    }

    rc = ngx_push_room_push->store->save(op, ngx_push_room_saved,
                                         pending->handle);

    if (rc == NGX_AGAIN) {
        pending->pid = publish->packet_id;
        ngx_push_room_pending_bind(pending, room);
        return NGX_OK;
    }

    ngx_push_room_pending_put(pending);

    return ngx_push_room_answer(room, publish->packet_id, rc);
}


static ngx_int_t
ngx_push_room_save_props(ngx_push_room_conn_t *room,
    ngx_push_mqtt_publish_t *publish, ngx_push_save_t *op, ngx_str_t *type)
{
    ngx_str_t  user, device;

    op->ctype.data = (u_char *) publish->props.content_type.data;
    op->ctype.len = publish->props.content_type.len;

    if (op->ctype.len > NGX_PUSH_CTYPE_MAX) {
        return NGX_DECLINED;
    }

    if (op->target.kind != NGX_PUSH_UPLINK) {
        return ngx_push_room_forward(&publish->props,
                                     ngx_push_room_props_buf, &op->props);
    }

    ngx_push_room_user(room, &user);
    ngx_push_room_device(room, &device);

    op->props.data = ngx_push_room_props_buf;
    op->props.len = ngx_push_uplink_props(ngx_push_room_props_buf, type,
                                          &user, &device);

    return NGX_OK;
}


ngx_int_t
ngx_push_room_forward(ngx_push_mqtt_props_t *props, u_char *buf,
    ngx_str_t *out)
{
    size_t                 n;
    u_char                *p;
    ngx_push_mqtt_props_t  fwd;

    static const ngx_uint_t  forwarded[] = {
        NGX_PUSH_MQTT_PROP_PAYLOAD_FORMAT,
        NGX_PUSH_MQTT_PROP_RESPONSE_TOPIC,
        NGX_PUSH_MQTT_PROP_CORRELATION_DATA
    };

    ngx_str_null(out);

    fwd = *props;
    fwd.present = 0;

    for (n = 0; n < sizeof(forwarded) / sizeof(forwarded[0]); n++) {
        if (ngx_push_mqtt_has(props, forwarded[n])) {
            ngx_push_mqtt_set(&fwd, forwarded[n]);
        }
    }

    n = ngx_push_mqtt_props_size(NGX_PUSH_MQTT_PUBLISH, &fwd);

    if (n + props->user_size > NGX_PUSH_ROOM_PROPS_MAX) {
        return NGX_DECLINED;
    }

    p = ngx_push_mqtt_write_props(buf, NGX_PUSH_MQTT_PUBLISH, &fwd);
    p += ngx_push_mqtt_copy_user(p, props);

    if (p > buf) {
        out->data = buf;
        out->len = p - buf;
    }

    return NGX_OK;
}


static void
ngx_push_room_saved(ngx_push_handle_t handle, ngx_int_t rc, void *op)
{
    ngx_push_room_pending_t  pending;

    if (ngx_push_room_pending_take(handle, &pending) != NGX_OK) {
        return;
    }

    if (ngx_push_room_answer(pending.room, pending.pid, rc) == NGX_OK) {
        (void) ngx_push_room_settle(pending.room);
    }
}


/* What became of a message; pid 0: QoS 0, of which nothing is told. */

static ngx_int_t
ngx_push_room_answer(ngx_push_room_conn_t *room, ngx_uint_t pid, ngx_int_t rc)
{
    ngx_uint_t  code;

    if (pid == 0) {
        return NGX_OK;
    }

    switch (rc) {

    case NGX_OK:
        ngx_push_room_put_ack(room, pid, 0);
        return NGX_OK;

    case NGX_PUSH_FULL:
    case NGX_PUSH_TOO_LARGE:
    case NGX_PUSH_BUSY:
        code = NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED;
        break;

    case NGX_ABORT:

        /* nobody knows: the client asks again on the next connection */

        return ngx_push_room_end(room, NGX_PUSH_ROOM_NOT_SAVED,
                                 NGX_PUSH_MQTT_RC_SERVER_BUSY,
                                 "the store does not answer");

    default:
        code = NGX_PUSH_MQTT_RC_UNSPECIFIED_ERROR;
    }

    if (room->version == NGX_PUSH_MQTT_V5) {
        ngx_push_room_put_ack(room, pid, code);
        return NGX_OK;
    }

    return ngx_push_room_end(room, NGX_PUSH_ROOM_NOT_SAVED, 0, NULL);
}


/* A message that is refused for its topic. */

static ngx_int_t
ngx_push_room_deny(ngx_push_room_conn_t *room,
    ngx_push_mqtt_publish_t *publish, ngx_uint_t code, const char *text)
{
    if (room->version == NGX_PUSH_MQTT_V5 && publish->qos) {
        ngx_push_count(drops[NGX_PUSH_DROP_DENIED]);
        ngx_push_room_put_ack(room, publish->packet_id, code);
        return NGX_OK;
    }

    return ngx_push_room_end(room, NGX_PUSH_ROOM_NOT_ALLOWED, code, text);
}


static void
ngx_push_room_put_ack(ngx_push_room_conn_t *room, ngx_uint_t pid,
    ngx_uint_t code)
{
    size_t   n;
    u_char  *p;

    p = ngx_push_room_reserve(room, 8);

    n = ngx_push_mqtt_write_ack(p, 8, room->max_packet, room->version,
                                NGX_PUSH_MQTT_PUBACK, pid, code, NULL);
    ngx_push_room_commit(n);
}
