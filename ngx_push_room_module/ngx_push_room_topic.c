
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * What a topic means: PRODUCT/#, PRODUCT/inbox, PRODUCT/broadcast,
 * PRODUCT/group/NAME, PRODUCT/up/TYPE.  Whoever asks for a product that is not
 * his own learns nothing, not even whether there is one.
 */


#include "ngx_push_room.h"


static ngx_push_product_t *ngx_push_room_own_product(
    ngx_push_room_conn_t *room, ngx_str_t *name);
static ngx_uint_t ngx_push_room_prefix(ngx_str_t *s, const char *prefix,
    size_t len);


ngx_int_t
ngx_push_room_topic(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_str_t *topic, ngx_push_room_topic_t *t)
{
    u_char     *p, *last;
    ngx_str_t   product, rest;

    p = (u_char *) topic->data;
    last = p + topic->len;

    product.data = p;
    p = ngx_strlchr(p, last, '/');

    if (p == NULL) {
        p = last;
    }

    product.len = p - product.data;

    rest.data = (p < last) ? p + 1 : last;
    rest.len = last - rest.data;

    if (ngx_strlchr(product.data, p, '#') || ngx_strlchr(product.data, p, '+'))
    {
        return NGX_DECLINED;
    }

    t->product = ngx_push_room_own_product(room, &product);

    if (t->product == NULL) {
        return NGX_PUSH_DENIED;
    }

    t->kind = NGX_PUSH_ROOM_TOPIC_UNKNOWN;
    ngx_str_null(&t->name);

    if (rest.len == 1 && rest.data[0] == '#') {
        t->kind = NGX_PUSH_ROOM_TOPIC_BIND;
        return NGX_OK;
    }

    if (ngx_strlchr(rest.data, last, '#') || ngx_strlchr(rest.data, last, '+'))
    {
        return NGX_DECLINED;
    }

    if (rest.len == 5 && ngx_memcmp(rest.data, "inbox", 5) == 0) {
        t->kind = NGX_PUSH_ROOM_TOPIC_INBOX;

    } else if (rest.len == 9 && ngx_memcmp(rest.data, "broadcast", 9) == 0) {
        t->kind = NGX_PUSH_ROOM_TOPIC_BROADCAST;

    } else if (ngx_push_room_prefix(&rest, "group/", 6)) {
        t->kind = NGX_PUSH_ROOM_TOPIC_GROUP;

    } else if (ngx_push_room_prefix(&rest, "up/", 3)) {
        t->kind = NGX_PUSH_ROOM_TOPIC_UP;

    } else {
        return NGX_OK;
    }

    if (t->kind == NGX_PUSH_ROOM_TOPIC_GROUP
        || t->kind == NGX_PUSH_ROOM_TOPIC_UP)
    {
        t->name = rest;

        if (!ngx_push_topic_name_ok(&rest)) {
            t->kind = NGX_PUSH_ROOM_TOPIC_UNKNOWN;
        }
    }

    return NGX_OK;
}


/* A device has a handful of products: they are compared one by one. */

static ngx_push_product_t *
ngx_push_room_own_product(ngx_push_room_conn_t *room, ngx_str_t *name)
{
    ngx_uint_t           i;
    ngx_push_product_t  *product;

    for (i = 0; i < room->nproducts; i++) {
        product = ngx_push_product_by_id(ngx_push_room_push,
                                         room->products[i]);

        if (product
            && product->name.len == name->len
            && ngx_memcmp(product->name.data, name->data, name->len) == 0)
        {
            return product;
        }
    }

    return NULL;
}


/* Takes the prefix off. */

static ngx_uint_t
ngx_push_room_prefix(ngx_str_t *s, const char *prefix, size_t len)
{
    if (s->len < len || ngx_memcmp(s->data, prefix, len) != 0) {
        return 0;
    }

    s->data += len;
    s->len -= len;

    return 1;
}


ngx_uint_t
ngx_push_room_publish_target(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_str_t *name, ngx_push_target_t *target,
    ngx_str_t *type)
{
    ngx_push_room_topic_t  t;

    switch (ngx_push_room_topic(room, name, &t)) {

    case NGX_OK:
        break;

    case NGX_PUSH_DENIED:
        return NGX_PUSH_MQTT_RC_NOT_AUTHORIZED;

    default:
        return NGX_PUSH_MQTT_RC_TOPIC_NAME_INVALID;
    }

    target->product = t.product;

    switch (t.kind) {

    case NGX_PUSH_ROOM_TOPIC_UP:
        target->kind = NGX_PUSH_UPLINK;
        ngx_str_null(&target->name);
        *type = t.name;
        return 0;

    case NGX_PUSH_ROOM_TOPIC_GROUP:
        if (!t.product->group_publish) {
            return NGX_PUSH_MQTT_RC_NOT_AUTHORIZED;
        }

        target->kind = NGX_PUSH_GROUP;
        target->name = t.name;
        return 0;

    case NGX_PUSH_ROOM_TOPIC_UNKNOWN:
        return NGX_PUSH_MQTT_RC_TOPIC_NAME_INVALID;

    default:

        /* inbox and broadcast are the server's to write */

        return NGX_PUSH_MQTT_RC_NOT_AUTHORIZED;
    }
}
