
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The topology of a cluster: a map of slots to masters, read from any node
 * (CLUSTER SLOTS) at the start, every ten seconds, and soon after a redirect,
 * a lost connection or an error that puts it in doubt.
 *
 * A server that is met by a redirect is "fresh" until the map says what it is:
 * calls follow the redirect, but nobody is told of it yet.  It is an heir, and
 * that a failover, if it was the replica of the master whose slots it has; or
 * anybody's replica once, and that master is none any more.  Slots that move
 * between masters are none.
 */


#include "ngx_push_redis_scout.h"


#define NGX_PUSH_REDIS_MAP      10000  /* ms */
#define NGX_PUSH_REDIS_FRESH    60000  /* a server without slots is kept */


static void ngx_push_redis_cluster_ask(ngx_push_redis_link_t *link);
static void ngx_push_redis_cluster_answer(ngx_push_redis_link_t *link,
    redisReply *reply, void *data);
static ngx_int_t ngx_push_redis_cluster_read(ngx_push_redis_link_t *link,
    redisReply *reply, ngx_push_redis_server_t **owners);
static ngx_int_t ngx_push_redis_cluster_range(ngx_push_redis_link_t *link,
    redisReply *range, ngx_push_redis_server_t **owners);
static ngx_int_t ngx_push_redis_cluster_node(ngx_push_redis_link_t *link,
    redisReply *node, ngx_push_redis_addr_t *addr);
static void ngx_push_redis_cluster_apply(ngx_push_redis_server_t **owners);
static void ngx_push_redis_cluster_sweep(void);


static ngx_push_redis_server_t  **ngx_push_redis_slots;


static ngx_int_t
ngx_push_redis_cluster_init(ngx_cycle_t *cycle)
{
    ngx_push_redis_slots = ngx_calloc(NGX_PUSH_REDIS_SLOTS
                                      * sizeof(ngx_push_redis_server_t *),
                                      cycle->log);
    if (ngx_push_redis_slots == NULL) {
        return NGX_ERROR;
    }

    return ngx_push_redis_scout_init(&ngx_push_redis.where->addrs,
                                     NGX_PUSH_REDIS_MAP,
                                     ngx_push_redis_cluster_ask);
}


static void
ngx_push_redis_cluster_exit(void)
{
    ngx_push_redis_scout_exit();
    ngx_push_redis_resolve_exit();

    ngx_memzero(ngx_push_redis_slots,
                NGX_PUSH_REDIS_SLOTS * sizeof(ngx_push_redis_server_t *));
}


static ngx_push_redis_server_t *
ngx_push_redis_cluster_select(ngx_uint_t slot)
{
    return ngx_push_redis_slots[slot];
}


static ngx_push_redis_server_t *
ngx_push_redis_cluster_redirected(ngx_push_redis_redirect_t *r,
    ngx_push_redis_addr_t *addr)
{
    ngx_push_redis_server_t  *server;

    server = ngx_push_redis_server_get(addr);

    if (server && !server->fresh && !r->ask) {
        ngx_push_redis_slots[r->slot] = server;
    }

    return server;
}


static ngx_push_redis_back_t
ngx_push_redis_cluster_back(ngx_push_redis_server_t *server)
{
    return NGX_PUSH_REDIS_FIRST;
}


static void
ngx_push_redis_cluster_ask(ngx_push_redis_link_t *link)
{
    const char  *argv[2];

    argv[0] = "CLUSTER";
    argv[1] = "SLOTS";

    (void) ngx_push_redis_own(link, ngx_push_redis_cluster_answer, NULL, 2,
                              argv, NULL);
}


static void
ngx_push_redis_cluster_answer(ngx_push_redis_link_t *link,
    redisReply *reply, void *data)
{
    size_t                     size;
    ngx_int_t                  rc;
    ngx_push_redis_server_t  **owners;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        ngx_push_redis_scout_other(reply->type == REDIS_REPLY_ERROR
                                   ? reply->str
                                   : "this node knows of no slots");
        return;
    }

    size = NGX_PUSH_REDIS_SLOTS * sizeof(ngx_push_redis_server_t *);
    owners = ngx_alloc(size, ngx_push_redis.log);

    if (owners == NULL) {
        return;
    }

    /* what this map does not name stays where it was */

    ngx_memcpy(owners, ngx_push_redis_slots, size);

    rc = ngx_push_redis_cluster_read(link, reply, owners);

    if (rc == NGX_OK) {
        ngx_push_redis_scout_answered();
        ngx_push_redis_cluster_apply(owners);

    } else if (rc == NGX_ERROR) {
        ngx_push_redis_scout_other("this node's map of slots is malformed");
    }

    ngx_free(owners);
}


static ngx_int_t
ngx_push_redis_cluster_read(ngx_push_redis_link_t *link, redisReply *reply,
    ngx_push_redis_server_t **owners)
{
    size_t      i;
    ngx_int_t   rc, all;

    all = NGX_OK;

    for (i = 0; i < reply->elements; i++) {
        rc = ngx_push_redis_cluster_range(link, reply->element[i], owners);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_AGAIN) {
            all = NGX_AGAIN;           /* but have all names looked up */
        }
    }

    return all;
}


/* [first, last, [host, port, id, ...] of the master, those of replicas] */

static ngx_int_t
ngx_push_redis_cluster_range(ngx_push_redis_link_t *link, redisReply *range,
    ngx_push_redis_server_t **owners)
{
    size_t                     i;
    long long                  first, last;
    ngx_int_t                  rc;
    ngx_push_redis_addr_t      addr;
    ngx_push_redis_server_t   *server;

    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3
        || range->element[0]->type != REDIS_REPLY_INTEGER
        || range->element[1]->type != REDIS_REPLY_INTEGER)
    {
        return NGX_ERROR;
    }

    first = range->element[0]->integer;
    last = range->element[1]->integer;

    if (first < 0 || last < first || last >= NGX_PUSH_REDIS_SLOTS) {
        return NGX_ERROR;
    }

    for (i = 3; i < range->elements; i++) {
        if (ngx_push_redis_cluster_node(link, range->element[i], &addr)
            == NGX_OK)
        {
            ngx_push_redis_scout_add(&addr);
        }
    }

    rc = ngx_push_redis_cluster_node(link, range->element[2], &addr);

    if (rc != NGX_OK) {
        return rc == NGX_DECLINED ? NGX_OK : rc;
    }

    ngx_push_redis_scout_add(&addr);

    server = ngx_push_redis_server_get(&addr);

    if (server == NULL) {
        return NGX_AGAIN;
    }

    while (first <= last) {
        owners[first++] = server;
    }

    return NGX_OK;
}


/* NGX_DECLINED: nobody knows where it is. */

static ngx_int_t
ngx_push_redis_cluster_node(ngx_push_redis_link_t *link, redisReply *node,
    ngx_push_redis_addr_t *addr)
{
    redisReply  **part;

    part = node->element;

    if (node->type != REDIS_REPLY_ARRAY || node->elements < 2
        || part[1]->type != REDIS_REPLY_INTEGER
        || part[1]->integer < 1 || part[1]->integer > 65535)
    {
        return NGX_ERROR;
    }

    /* it does not know its own address: then it is the one we came by */

    if (part[0]->type == REDIS_REPLY_NIL
        || (part[0]->type == REDIS_REPLY_STRING && part[0]->len == 0))
    {
        *addr = link->addr;
        addr->port = (in_port_t) part[1]->integer;
        return NGX_OK;
    }

    if (part[0]->type != REDIS_REPLY_STRING) {
        return NGX_ERROR;
    }

    if (ngx_strcmp(part[0]->str, "?") == 0) {
        return NGX_DECLINED;
    }

    return ngx_push_redis_resolve(addr, part[0]->str,
                                  (in_port_t) part[1]->integer);
}


static void
ngx_push_redis_cluster_apply(ngx_push_redis_server_t **owners)
{
    ngx_uint_t                i;
    ngx_push_redis_server_t  *old, *server;

    for (i = 0; i < NGX_PUSH_REDIS_SLOTS; i++) {
        if (owners[i]) {
            owners[i]->marked = 1;
        }
    }

    for (i = 0; i < NGX_PUSH_REDIS_SLOTS; i++) {
        old = ngx_push_redis_slots[i];
        server = owners[i];

        if (server == NULL || server == old) {
            continue;
        }

        if (old && old != server && server->fresh && !server->heir) {
            server->heir = !old->marked;
            ngx_memcpy(server->parent, old->info.replid,
                       sizeof(server->parent));
        }

        ngx_push_redis_slots[i] = server;
    }

    ngx_push_redis_cluster_sweep();
}


/* Tells of those that were fresh, and lets those go that have no slots. */

static void
ngx_push_redis_cluster_sweep(void)
{
    ngx_queue_t              *q, *next;
    ngx_push_redis_server_t  *server;

    for (q = ngx_queue_head(&ngx_push_redis.servers);
         q != ngx_queue_sentinel(&ngx_push_redis.servers);
         q = next)
    {
        next = ngx_queue_next(q);
        server = ngx_queue_data(q, ngx_push_redis_server_t, queue);

        if (server->marked) {
            server->marked = 0;

            if (server->fresh) {
                server->fresh = 0;

                if (server->nready) {
                    ngx_push_redis_told(server);
                }
            }

            continue;
        }

        if (!server->fresh
            || ngx_current_msec - server->since > NGX_PUSH_REDIS_FRESH)
        {
            ngx_push_redis_server_retire(server);
        }
    }
}


ngx_push_redis_topology_t  ngx_push_redis_cluster = {
    "cluster",
    1,
    ngx_push_redis_cluster_init,
    ngx_push_redis_cluster_exit,
    ngx_push_redis_cluster_select,
    ngx_push_redis_scout_soon,
    ngx_push_redis_cluster_redirected,
    NULL,
    ngx_push_redis_cluster_back
};
