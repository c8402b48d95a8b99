
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * SUBSCRIBE and UNSUBSCRIBE: bind, unbind, groups.  The options Retain As
 * Published and Retain Handling have no meaning here, since nothing is
 * retained.
 */


#include "ngx_push_room.h"


typedef struct {
    ngx_push_target_t    targets[2];
    ngx_uint_t           n;
    ngx_uint_t           how;
} ngx_push_room_subs_t;


static ngx_int_t ngx_push_room_resolve(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, ngx_push_room_subs_t *subs,
    uint8_t *code);
static ngx_int_t ngx_push_room_subscribe_one(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, uint32_t id, uint8_t *code);
static ngx_int_t ngx_push_room_unsubscribe_one(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, uint8_t *code);
static ngx_int_t ngx_push_room_suback(ngx_push_room_conn_t *room,
    ngx_uint_t type, ngx_uint_t pid, uint8_t *codes, ngx_uint_t n);


static const ngx_push_mqtt_limits_t  ngx_push_room_limits = {
    65535, 65535, NGX_PUSH_ROOM_FILTERS_MAX, 0, 2, 1
};

static uint8_t  ngx_push_room_codes[NGX_PUSH_ROOM_FILTERS_MAX];


ngx_int_t
ngx_push_room_subscribe(ngx_push_room_conn_t *room, ngx_push_mqtt_frame_t *f,
    u_char *body)
{
    ngx_uint_t                  i;
    ngx_push_mqtt_error_t       err;
    ngx_push_mqtt_filter_t      filter;
    ngx_push_mqtt_subscribe_t   sub;

    if (ngx_push_mqtt_parse_subscribe(room->version, body, f->remaining,
                                      &ngx_push_room_limits, &sub, &err)
        != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_room_fail(room, &err);
    }

    for (i = 0; i < sub.count; i++) {

        if (ngx_push_mqtt_next_filter(&sub.filters, &filter)
            != NGX_PUSH_MQTT_OK)
        {
            break;
        }

        if (ngx_push_room_subscribe_one(room, &filter,
                                        sub.props.subscription_id,
                                        &ngx_push_room_codes[i])
            != NGX_OK)
        {
            return ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0, NULL);
        }
    }

    room->take = 1;

    return ngx_push_room_suback(room, NGX_PUSH_MQTT_SUBACK, sub.packet_id,
                                ngx_push_room_codes, i);
}


ngx_int_t
ngx_push_room_unsubscribe(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body)
{
    ngx_uint_t                  i;
    ngx_push_mqtt_error_t       err;
    ngx_push_mqtt_filter_t      filter;
    ngx_push_mqtt_subscribe_t   sub;

    if (ngx_push_mqtt_parse_unsubscribe(room->version, body, f->remaining,
                                        &ngx_push_room_limits, &sub, &err)
        != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_room_fail(room, &err);
    }

    for (i = 0; i < sub.count; i++) {

        if (ngx_push_mqtt_next_filter(&sub.filters, &filter)
            != NGX_PUSH_MQTT_OK)
        {
            break;
        }

        if (ngx_push_room_unsubscribe_one(room, &filter,
                                          &ngx_push_room_codes[i])
            != NGX_OK)
        {
            return ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0, NULL);
        }
    }

    return ngx_push_room_suback(room, NGX_PUSH_MQTT_UNSUBACK, sub.packet_id,
                                ngx_push_room_codes, i);
}


/* NGX_OK, or NGX_DECLINED with the reason code. */

static ngx_int_t
ngx_push_room_resolve(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, ngx_push_room_subs_t *subs,
    uint8_t *code)
{
    ngx_push_room_topic_t  t;

    if (f->share.data) {
        *code = NGX_PUSH_MQTT_RC_SHARED_NOT_SUPPORTED;
        return NGX_DECLINED;
    }

    *code = NGX_PUSH_MQTT_RC_TOPIC_FILTER_INVALID;

    switch (ngx_push_room_topic(room, &f->filter, &t)) {

    case NGX_OK:
        break;

    case NGX_PUSH_DENIED:
        *code = NGX_PUSH_MQTT_RC_NOT_AUTHORIZED;
        return NGX_DECLINED;

    default:
        return NGX_DECLINED;
    }

    ngx_memzero(subs, sizeof(ngx_push_room_subs_t));

    subs->n = 1;
    subs->how = NGX_PUSH_SUB_OWN;
    subs->targets[0].product = t.product;
    subs->targets[1].product = t.product;

    switch (t.kind) {

    case NGX_PUSH_ROOM_TOPIC_BIND:
        subs->n = 2;
        subs->how = NGX_PUSH_SUB_BIND;
        subs->targets[0].kind = NGX_PUSH_INBOX;
        subs->targets[1].kind = NGX_PUSH_BROADCAST;
        break;

    case NGX_PUSH_ROOM_TOPIC_INBOX:
        subs->targets[0].kind = NGX_PUSH_INBOX;
        break;

    case NGX_PUSH_ROOM_TOPIC_BROADCAST:
        subs->targets[0].kind = NGX_PUSH_BROADCAST;
        break;

    case NGX_PUSH_ROOM_TOPIC_GROUP:
        subs->targets[0].kind = NGX_PUSH_GROUP;
        subs->targets[0].name = t.name;
        break;

    default:
        return NGX_DECLINED;
    }

    if (subs->targets[0].kind == NGX_PUSH_INBOX) {
        ngx_push_room_user(room, &subs->targets[0].name);
    }

    return NGX_OK;
}


/* NGX_DECLINED: taken over */

static ngx_int_t
ngx_push_room_subscribe_one(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, uint32_t id, uint8_t *code)
{
    ngx_uint_t            qos;
    ngx_push_room_subs_t  subs;

    if (ngx_push_room_resolve(room, f, &subs, code) != NGX_OK) {
        return NGX_OK;
    }

    qos = ngx_min(f->qos, 1);

    if (f->no_local && subs.targets[0].kind == NGX_PUSH_GROUP) {
        subs.how |= NGX_PUSH_SUB_NO_LOCAL;
    }

    switch (ngx_push_subscribe(&room->push, subs.targets, subs.n, subs.how,
                               qos, id))
    {

    case NGX_OK:
        *code = (uint8_t) qos;
        return NGX_OK;

    case NGX_DECLINED:
        return NGX_DECLINED;

    case NGX_PUSH_FULL:
        *code = NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED;
        return NGX_OK;

    default:
        *code = NGX_PUSH_MQTT_RC_UNSPECIFIED_ERROR;
        return NGX_OK;
    }
}


static ngx_int_t
ngx_push_room_unsubscribe_one(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, uint8_t *code)
{
    ngx_int_t              rc;
    ngx_uint_t             i;
    ngx_push_room_subs_t   subs;

    if (ngx_push_room_resolve(room, f, &subs, code) != NGX_OK) {

        /* what cannot be subscribed to never was */

        *code = NGX_PUSH_MQTT_RC_NO_SUBSCRIPTION_EXISTED;
        return NGX_OK;
    }

    *code = NGX_PUSH_MQTT_RC_NO_SUBSCRIPTION_EXISTED;

    for (i = 0; i < subs.n; i++) {

        rc = ngx_push_unsubscribe(&room->push, &subs.targets[i], subs.how);

        if (rc == NGX_DECLINED) {
            return NGX_DECLINED;
        }

        if (rc == NGX_OK) {
            *code = NGX_PUSH_MQTT_RC_SUCCESS;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_room_suback(ngx_push_room_conn_t *room, ngx_uint_t type,
    ngx_uint_t pid, uint8_t *codes, ngx_uint_t n)
{
    size_t   size;
    u_char  *p;

    size = NGX_PUSH_ROOM_FILTERS_MAX + 16;
    p = ngx_push_room_reserve(room, size);

    if (type == NGX_PUSH_MQTT_SUBACK) {
        size = ngx_push_mqtt_write_suback(p, size, room->max_packet,
                                          room->version, pid, codes, n, NULL);

    } else {
        size = ngx_push_mqtt_write_unsuback(p, size, room->max_packet,
                                            room->version, pid, codes, n,
                                            NULL);
    }

    if (size == 0) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_PROTOCOL, 0,
                                 "the answer is larger than the client takes");
    }

    ngx_push_room_commit(size);

    return NGX_OK;
}
