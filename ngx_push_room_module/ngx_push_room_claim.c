
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The session of a CONNECT that was found good: its will, the claim with the
 * register, and CONNACK.
 */


#include "ngx_push_room.h"


static ngx_int_t ngx_push_room_will(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect, ngx_push_claim_t *claim);
static ngx_int_t ngx_push_room_will_props(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect, ngx_push_claim_t *claim,
    ngx_str_t *type);
static void ngx_push_room_claim_done(ngx_push_handle_t handle, ngx_int_t rc,
    void *op);
static ngx_int_t ngx_push_room_claimed(ngx_push_room_conn_t *room,
    ngx_int_t rc, ngx_uint_t present);
static ngx_int_t ngx_push_room_older(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_online(ngx_push_room_conn_t *room,
    ngx_uint_t present);
static ngx_int_t ngx_push_room_connack(ngx_push_room_conn_t *room,
    ngx_uint_t present);


static u_char  ngx_push_room_will_buf[NGX_PUSH_ROOM_PROPS_MAX];


ngx_int_t
ngx_push_room_claim(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect)
{
    ngx_int_t                  rc;
    ngx_push_claim_t           claim;
    ngx_push_room_pending_t   *pending;
    ngx_push_room_srv_conf_t  *rscf;

    rscf = ngx_push_room_srv_conf(room);

    ngx_memzero(&claim, sizeof(ngx_push_claim_t));

    claim.product = ngx_push_product_by_id(ngx_push_room_push,
                                           room->products[0]);
    ngx_push_room_user(room, &claim.user);
    ngx_push_room_device(room, &claim.device);

    claim.conn = &room->push;
    claim.proto = room->version;
    claim.clean = connect->clean_start;

    /* a device of 3.1.1 is not told its identifier, and cannot come back */

    claim.ephemeral = (room->assigned && room->version == NGX_PUSH_MQTT_V311);
    claim.expiry = room->expiry;
    claim.window = rscf->window;

    if (room->version == NGX_PUSH_MQTT_V5) {
        claim.window = ngx_min(claim.window, connect->props.receive_maximum);
    }

    if (connect->will_topic.data
        && ngx_push_room_will(room, connect, &claim) != NGX_OK)
    {
        return NGX_DONE;
    }

    pending = ngx_push_room_pending_get();

    if (pending == NULL || ngx_push_conn_attach(&room->push) != NGX_OK) {

        if (pending) {
            ngx_push_room_pending_put(pending);
        }

        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_NO_MEMORY,
                                    NGX_PUSH_MQTT_RC_SERVER_UNAVAILABLE,
                                    NULL);
    }

    room->state = NGX_PUSH_ROOM_CLAIMING;

    rc = ngx_push_room_push->reg->claim(&claim, ngx_push_room_claim_done,
                                        pending->handle);

    if (rc == NGX_AGAIN) {
        pending->pid = 0;
        ngx_push_room_pending_bind(pending, room);
        return NGX_OK;
    }

    ngx_push_room_pending_put(pending);

    return ngx_push_room_claimed(room, rc, claim.present);
}


static ngx_int_t
ngx_push_room_will(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect, ngx_push_claim_t *claim)
{
    ngx_str_t               type;
    ngx_uint_t              code;
    ngx_push_mqtt_props_t  *props;

    props = &connect->will_props;

    if (connect->will_qos > 1) {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_REFUSED,
                                    NGX_PUSH_MQTT_RC_QOS_NOT_SUPPORTED,
                                    "a will has QoS 0 or 1");
    }

    if (connect->will_retain) {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_REFUSED,
                                    NGX_PUSH_MQTT_RC_RETAIN_NOT_SUPPORTED,
                                    "nothing is retained");
    }

    code = ngx_push_room_publish_target(room, &connect->will_topic,
                                        &claim->will, &type);
    if (code) {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_DENIED, code,
                                    "the will's topic may not be published "
                                    "to");
    }

    if (connect->will_payload.len > claim->will.product->payload_limit
        || props->content_type.len > NGX_PUSH_CTYPE_MAX
        || ngx_push_room_will_props(room, connect, claim, &type) != NGX_OK)
    {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_REFUSED,
                                    NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED,
                                    "the will is too large");
    }

    claim->will_payload.data = (u_char *) connect->will_payload.data;
    claim->will_payload.len = connect->will_payload.len;
    claim->will_ctype.data = (u_char *) props->content_type.data;
    claim->will_ctype.len = props->content_type.len;
    claim->will_delay = props->will_delay;
    claim->will_qos = connect->will_qos;

    if (ngx_push_mqtt_has(props, NGX_PUSH_MQTT_PROP_MESSAGE_EXPIRY)) {

        /* 0 stands for the default */

        claim->will_ttl = ngx_max(props->message_expiry, 1);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_room_will_props(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect, ngx_push_claim_t *claim,
    ngx_str_t *type)
{
    if (claim->will.kind != NGX_PUSH_UPLINK) {
        return ngx_push_room_forward(&connect->will_props,
                                     ngx_push_room_will_buf,
                                     &claim->will_props);
    }

    claim->will_props.data = ngx_push_room_will_buf;
    claim->will_props.len = ngx_push_uplink_props(ngx_push_room_will_buf,
                                                  type, &claim->user,
                                                  &claim->device);

    return NGX_OK;
}


static void
ngx_push_room_claim_done(ngx_push_handle_t handle, ngx_int_t rc, void *op)
{
    ngx_push_claim_t         *claim;
    ngx_push_room_conn_t     *room;
    ngx_push_room_pending_t   pending;

    if (ngx_push_room_pending_take(handle, &pending) != NGX_OK) {
        return;
    }

    claim = op;
    room = pending.room;

    if (ngx_push_room_claimed(room, rc, claim->present) == NGX_OK) {
        (void) ngx_push_room_resume(room);
    }
}


static ngx_int_t
ngx_push_room_claimed(ngx_push_room_conn_t *room, ngx_int_t rc,
    ngx_uint_t present)
{
    if (rc == NGX_OK && !room->doomed) {
        return ngx_push_room_online(room, present);
    }

    room->state = NGX_PUSH_ROOM_HANDSHAKE;

    if (rc == NGX_OK) {

        /* it ended meanwhile, and gives back what it was given */

        return ngx_push_room_end(room, room->why, 0, NULL);
    }

    ngx_push_conn_detach(&room->push);

    if (room->doomed) {
        return ngx_push_room_end(room, room->why, 0, NULL);
    }

    switch (rc) {

    case NGX_PUSH_FULL:
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_FULL,
                                    NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED,
                                    "no room for another session");

    case NGX_PUSH_BUSY:
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_FULL,
                                    NGX_PUSH_MQTT_RC_SERVER_BUSY, NULL);

    case NGX_DECLINED:
        return ngx_push_room_older(room);

    default:
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_FULL,
                                    NGX_PUSH_MQTT_RC_SERVER_UNAVAILABLE,
                                    NULL);
    }
}


/*
 * A connection that the device made after this one was served before it: this
 * one hears what it would have heard in their order.  Told to come later it
 * would take the device from the other.
 */

static ngx_int_t
ngx_push_room_older(ngx_push_room_conn_t *room)
{
    if (ngx_push_room_connack(room, 0) != NGX_OK) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_REFUSED, 0,
                                 "CONNACK is larger than the client takes");
    }

    room->state = NGX_PUSH_ROOM_ONLINE;

    return ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0, NULL);
}


static ngx_int_t
ngx_push_room_online(ngx_push_room_conn_t *room, ngx_uint_t present)
{
    ngx_uint_t  kind;

    kind = (room->version == NGX_PUSH_MQTT_V5) ? NGX_PUSH_CONN_MQTT5
                                               : NGX_PUSH_CONN_MQTT3;
#if (NGX_STREAM_SSL)
    if (ngx_push_room_connection(room)->ssl) {
        kind++;                        /* its TLS kind */
    }
#endif

    ngx_push_count_add(conns[room->kind], -1);
    room->kind = kind;
    ngx_push_count(conns[kind]);
    ngx_push_count(connects);

    room->state = NGX_PUSH_ROOM_ONLINE;
    ngx_push_room_alive(room);
    ngx_push_room_wheel_move(room);

    if (ngx_push_room_connack(room, present) != NGX_OK) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_REFUSED, 0,
                                 "CONNACK is larger than the client takes");
    }

    if (!present) {
        return NGX_OK;
    }

    ngx_push_count(resumed);
    room->take = 1;
    room->again = 1;
    room->resent = 0;

    return ngx_push_room_settle(room);
}


static ngx_int_t
ngx_push_room_connack(ngx_push_room_conn_t *room, ngx_uint_t present)
{
    size_t                     n;
    u_char                    *p;
    ngx_str_t                  device;
    ngx_push_mqtt_props_t      props;
    ngx_push_room_srv_conf_t  *rscf;

    rscf = ngx_push_room_srv_conf(room);

    ngx_memzero(&props, sizeof(ngx_push_mqtt_props_t));

    ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_RECEIVE_MAXIMUM);
    props.receive_maximum = NGX_PUSH_ROOM_RECEIVE_MAX;

    ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_MAXIMUM_QOS);
    props.maximum_qos = 1;

    ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_RETAIN_AVAILABLE);
    ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_SHARED_AVAILABLE);

    ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_MAXIMUM_PACKET_SIZE);
    props.maximum_packet_size = rscf->max_packet;

    if (rscf->topic_alias_max) {
        ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_TOPIC_ALIAS_MAXIMUM);
        props.topic_alias_maximum = rscf->topic_alias_max;
    }

    if (room->keepalive_set) {
        ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_SERVER_KEEP_ALIVE);
        props.server_keep_alive = room->keepalive;
    }

    if (room->expiry_cut) {
        ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_SESSION_EXPIRY);
        props.session_expiry = room->expiry;
    }

    if (room->assigned) {
        ngx_push_room_device(room, &device);
        ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_ASSIGNED_CLIENT_ID);
        props.assigned_client_id.data = device.data;
        props.assigned_client_id.len = device.len;
    }

    p = ngx_push_room_reserve(room, 512);

    n = ngx_push_mqtt_write_connack(p, 512, room->max_packet, room->version,
                                    present, 0, &props);
    if (n == 0) {
        return NGX_ERROR;
    }

    ngx_push_room_commit(n);

    return NGX_OK;
}
