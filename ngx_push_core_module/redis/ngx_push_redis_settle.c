
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * After Redis has lost something: until the nodes have written their sessions
 * back it does not say who has a device, nor how far that device has got.  A
 * node is not settled from when the loss was noticed here until it has said,
 * some heartbeats later, that it has nothing more to write; one that was alive
 * and is not heard of is waited for as long as its lease would have run.
 * Meanwhile who claims a device asks these nodes first: each writes the device
 * back, lets go of it and answers.
 *
 * The loss itself is noticed at the next heartbeat.  So a device of which
 * nothing is known is believed to be new only after the era was seen to be
 * still the same.
 */


#include "ngx_push_redis_bus.h"


#define NGX_PUSH_SETTLE_BEATS   4      /* to notice, and to tell of it */


typedef struct {
    ngx_uint_t             waits;      /* answers to come, and we */
    ngx_int_t              rc;
    ngx_push_bus_done_pt   done;
    void                  *data;
} ngx_push_asked_t;


typedef struct {
    ngx_push_bus_done_pt   done;
    void                  *data;
} ngx_push_era_t;


static ngx_uint_t ngx_push_settled(ngx_uint_t i);
static void ngx_push_asked(void *data, ngx_int_t rc);
static void ngx_push_era_answer(void *data, ngx_int_t rc, redisReply *reply);


/* By any process. */

void
ngx_push_settle_begin(void)
{
    ngx_uint_t             i, n;
    ngx_push_zone_node_t  *node;

    ngx_push_nodes->doubt_at = ngx_current_msec ? ngx_current_msec : 1;

    n = ngx_push_nodes->nnodes;

    for (i = 0; i < n; i++) {
        node = &ngx_push_nodes->nodes[i];

        if (node->alive) {
            node->awaited = node->beat + NGX_PUSH_SETTLE_BEATS;
        }
    }
}


static ngx_uint_t
ngx_push_settled(ngx_uint_t i)
{
    ngx_push_zone_node_t  *node;

    node = &ngx_push_nodes->nodes[i];

    if (ngx_push_nodes->hash[i] == 0
        || (node->len == ngx_push_node_name.len
            && ngx_memcmp(node->name, ngx_push_node_name.data, node->len)
               == 0))
    {
        return 1;
    }

    if (node->alive) {
        return node->reflush == 0 && node->beat >= node->awaited;
    }

    return node->beat >= node->awaited
           || ngx_current_msec - (ngx_msec_t) ngx_push_nodes->doubt_at
              > ngx_push_redis_conf()->lease;
}


ngx_uint_t
ngx_push_unsettled(void)
{
    ngx_uint_t  i, n;

    n = ngx_push_nodes->nnodes;

    for (i = 0; i < n; i++) {
        if (!ngx_push_settled(i)) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_push_settle_ask(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device, ngx_push_bus_done_pt done, void *data)
{
    ngx_int_t              rc;
    ngx_str_t              name;
    ngx_uint_t             i, n;
    ngx_push_asked_t      *asked;
    ngx_push_zone_node_t  *node;

    if (!ngx_push_redis_up(NULL)) {
        return NGX_ERROR;
    }

    asked = ngx_alloc(sizeof(ngx_push_asked_t), ngx_cycle->log);

    if (asked == NULL) {
        return NGX_ERROR;
    }

    asked->waits = 1;
    asked->rc = NGX_OK;
    asked->done = done;
    asked->data = data;

    n = ngx_push_nodes->nnodes;

    for (i = 0; i < n; i++) {
        if (ngx_push_settled(i)) {
            continue;
        }

        node = &ngx_push_nodes->nodes[i];

        name.data = node->name;
        name.len = node->len;

        if (!node->alive
            || ngx_push_bus_kick(&name, product, user, device, 0,
                                 NGX_PUSH_TAKEN_OVER, NGX_PUSH_KICK_WAIT,
                                 ngx_push_asked, asked)
               != NGX_AGAIN)
        {
            asked->rc = NGX_DECLINED;
            break;
        }

        asked->waits++;
    }

    if (--asked->waits) {
        return NGX_AGAIN;
    }

    rc = asked->rc;
    ngx_free(asked);

    return rc;
}


/* No answer comes before ngx_push_bus_kick() has returned. */

static void
ngx_push_asked(void *data, ngx_int_t rc)
{
    ngx_push_asked_t  *asked = data;

    if (rc != NGX_OK) {
        asked->rc = NGX_DECLINED;
    }

    if (--asked->waits == 0) {
        asked->done(asked->data, asked->rc);
        ngx_free(asked);
    }
}


ngx_int_t
ngx_push_era_same(ngx_push_bus_done_pt done, void *data)
{
    u_char           buf[NGX_PUSH_REDIS_KEY];
    ngx_str_t        key;
    ngx_push_era_t  *e;

    if (ngx_push_nodes->era[0] == '\0') {

        /* before the first heartbeat there is nothing to have been lost */

        return NGX_OK;
    }

    e = ngx_alloc(sizeof(ngx_push_era_t), ngx_cycle->log);

    if (e == NULL) {
        return NGX_ERROR;
    }

    e->done = done;
    e->data = data;

    ngx_push_era_key(buf, &key);

    if (ngx_push_bus_command("GET", &key, NULL, ngx_push_era_answer, e)
        == NGX_AGAIN)
    {
        return NGX_AGAIN;
    }

    ngx_free(e);

    return NGX_ERROR;
}


static void
ngx_push_era_answer(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_str_t        era;
    ngx_push_era_t  *e = data;

    if (rc == NGX_OK) {
        ngx_str_null(&era);

        if (reply->type == REDIS_REPLY_STRING) {
            era.data = (u_char *) reply->str;
            era.len = ngx_min((size_t) reply->len, NGX_PUSH_ERA);
        }

        if (era.len != ngx_strlen(ngx_push_nodes->era)
            || ngx_memcmp(era.data, ngx_push_nodes->era, era.len) != 0)
        {
            /* the rest is for the next heartbeat */

            ngx_push_settle_begin();
            rc = NGX_DECLINED;
        }

    } else {
        rc = NGX_ERROR;
    }

    e->done(e->data, rc);
    ngx_free(e);
}
