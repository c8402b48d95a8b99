
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * SUBSCRIBE and UNSUBSCRIBE: bind, unbind, groups.  The options Retain As
 * Published and Retain Handling have no meaning here, since nothing is
 * retained.
 *
 * SUBACK follows when the register has answered for all filters of a packet;
 * messages may come before it, and so may the answer to a later packet.
 */


#include "ngx_push_room.h"


typedef struct {
    ngx_push_target_t    targets[2];
    ngx_uint_t           n;
    ngx_uint_t           how;
} ngx_push_room_wanted_t;


/*
 * A SUBSCRIBE of which filters have no answer yet; it is made when the first
 * of them has none at once, and belongs to them all.
 */

struct ngx_push_room_subs_s {
    ngx_uint_t           left;         /* filters without an answer */
    ngx_uint_t           n;
    uint16_t             pid;
    u_char               codes[1];
};


static ngx_int_t ngx_push_room_resolve(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, ngx_push_room_wanted_t *subs,
    uint8_t *code);
static ngx_int_t ngx_push_room_subscribe_one(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, uint32_t id, ngx_uint_t i,
    ngx_push_room_subs_t **subs, ngx_push_mqtt_subscribe_t *packet);
static ngx_push_room_subs_t *ngx_push_room_subs_new(
    ngx_push_mqtt_subscribe_t *packet, ngx_uint_t n);
static void ngx_push_room_subscribed(ngx_push_handle_t handle, ngx_int_t rc,
    void *op);
static uint8_t ngx_push_room_granted(ngx_int_t rc, ngx_uint_t qos);
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
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_push_room_subs_t       *subs;
    ngx_push_mqtt_error_t       err;
    ngx_push_mqtt_filter_t      filter;
    ngx_push_mqtt_subscribe_t   sub;

    rc = NGX_OK;

    if (ngx_push_mqtt_parse_subscribe(room->version, body, f->remaining,
                                      &ngx_push_room_limits, &sub, &err)
        != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_room_fail(room, &err);
    }

    subs = NULL;

    for (i = 0; i < sub.count; i++) {

        if (ngx_push_mqtt_next_filter(&sub.filters, &filter)
            != NGX_PUSH_MQTT_OK)
        {
            break;
        }

        rc = ngx_push_room_subscribe_one(room, &filter,
                                         sub.props.subscription_id, i, &subs,
                                         &sub);
        if (rc != NGX_OK) {
            break;
        }
    }

    if (rc != NGX_OK) {
        return ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0, NULL);
    }

    room->take = 1;

    if (subs) {
        ngx_memcpy(subs->codes, ngx_push_room_codes, i);
        subs->n = i;

        /* what it gets comes behind SUBACK, as clients know it */

        room->push.behind = 1;

        return NGX_OK;
    }

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
    const ngx_push_mqtt_filter_t *f, ngx_push_room_wanted_t *subs,
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

    ngx_memzero(subs, sizeof(ngx_push_room_wanted_t));

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


/*
 * NGX_DECLINED: taken over.  The code is set at once, or will be by
 * ngx_push_room_subscribed().
 */

static ngx_int_t
ngx_push_room_subscribe_one(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, uint32_t id, ngx_uint_t i,
    ngx_push_room_subs_t **subs, ngx_push_mqtt_subscribe_t *packet)
{
    uint8_t                  *code;
    ngx_int_t                 rc;
    ngx_push_bind_t           bind;
    ngx_push_room_wanted_t    wanted;
    ngx_push_room_pending_t  *pending;

    code = &ngx_push_room_codes[i];

    if (ngx_push_room_resolve(room, f, &wanted, code) != NGX_OK) {
        return NGX_OK;
    }

    bind.conn = &room->push;
    bind.targets = wanted.targets;
    bind.n = wanted.n;
    bind.how = wanted.how;
    bind.qos = ngx_min(f->qos, 1);
    bind.id = id;

    if (f->no_local && wanted.targets[0].kind == NGX_PUSH_GROUP) {
        bind.how |= NGX_PUSH_SUB_NO_LOCAL;
    }

    pending = (room->nfilters < NGX_PUSH_ROOM_FILTERS_WAIT)
              ? ngx_push_room_pending_get() : NULL;

    if (pending == NULL) {
        *code = NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED;
        return NGX_OK;
    }

    rc = ngx_push_room_push->reg->subscribe(&bind, ngx_push_room_subscribed,
                                            pending->handle);

    if (rc != NGX_AGAIN) {
        ngx_push_room_pending_put(pending);
        *code = ngx_push_room_granted(rc, bind.qos);

        return rc == NGX_DECLINED ? NGX_DECLINED : NGX_OK;
    }

    if (*subs == NULL) {
        *subs = ngx_push_room_subs_new(packet, packet->count);
    }

    if (*subs == NULL) {

        /* the answer will find that nobody waits for it */

        pending->room = NULL;
        *code = NGX_PUSH_MQTT_RC_UNSPECIFIED_ERROR;

        return NGX_OK;
    }

    (*subs)->left++;

    pending->subs = *subs;
    pending->filter = (uint16_t) i;
    ngx_push_room_pending_bind(pending, room);

    return NGX_OK;
}


static ngx_push_room_subs_t *
ngx_push_room_subs_new(ngx_push_mqtt_subscribe_t *packet, ngx_uint_t n)
{
    ngx_push_room_subs_t  *subs;

    subs = ngx_alloc(offsetof(ngx_push_room_subs_t, codes) + n,
                     ngx_cycle->log);

    if (subs) {
        subs->left = 0;
        subs->pid = packet->packet_id;
    }

    return subs;
}


static uint8_t
ngx_push_room_granted(ngx_int_t rc, ngx_uint_t qos)
{
    switch (rc) {

    case NGX_OK:
        return (uint8_t) qos;

    case NGX_PUSH_FULL:
    case NGX_PUSH_BUSY:
        return NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED;

    default:
        return NGX_PUSH_MQTT_RC_UNSPECIFIED_ERROR;
    }
}


static void
ngx_push_room_subscribed(ngx_push_handle_t handle, ngx_int_t rc, void *op)
{
    ngx_int_t                 here;
    ngx_uint_t                last;
    ngx_push_bind_t          *bind;
    ngx_push_room_conn_t     *room;
    ngx_push_room_subs_t     *subs;
    ngx_push_room_pending_t   pending;

    here = ngx_push_room_pending_take(handle, &pending);

    bind = op;
    room = pending.room;
    subs = pending.subs;

    if (subs == NULL) {
        return;
    }

    subs->codes[pending.filter] = ngx_push_room_granted(rc, bind->qos);

    last = (--subs->left == 0);

    if (here == NGX_OK) {

        if (rc == NGX_DECLINED) {
            (void) ngx_push_room_end(room, NGX_PUSH_ROOM_TAKEN_OVER, 0, NULL);

        } else if (last
                   && ngx_push_room_suback(room, NGX_PUSH_MQTT_SUBACK,
                                           subs->pid, subs->codes, subs->n)
                      == NGX_OK)
        {
            room->take = 1;
            (void) ngx_push_room_settle(room);
        }
    }

    if (last) {
        ngx_free(subs);
    }
}


static ngx_int_t
ngx_push_room_unsubscribe_one(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_filter_t *f, uint8_t *code)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_push_room_wanted_t  subs;

    if (ngx_push_room_resolve(room, f, &subs, code) != NGX_OK) {

        /* what cannot be subscribed to never was */

        *code = NGX_PUSH_MQTT_RC_NO_SUBSCRIPTION_EXISTED;
        return NGX_OK;
    }

    *code = NGX_PUSH_MQTT_RC_NO_SUBSCRIPTION_EXISTED;

    for (i = 0; i < subs.n; i++) {

        rc = ngx_push_room_push->reg->unsubscribe(&room->push,
                                                  &subs.targets[i], subs.how);

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
