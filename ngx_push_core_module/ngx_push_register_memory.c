
/*
 * Copyright (C) the ngx_push authors
 */


/* The register of a single node: its own session table. */


#include "ngx_push_store.h"
#include "ngx_push_sub.h"


#define NGX_PUSH_QUERY_MAX      1000


static ngx_int_t ngx_push_memory_claim(ngx_push_claim_t *op,
    ngx_push_done_pt done, ngx_push_handle_t handle);
static ngx_int_t ngx_push_memory_query(ngx_push_query_t *op,
    ngx_push_done_pt done, ngx_push_handle_t handle);
static ngx_int_t ngx_push_memory_subscribe(ngx_push_bind_t *op,
    ngx_push_done_pt done, ngx_push_handle_t handle);
static ngx_uint_t ngx_push_query_is(ngx_push_session_t *s,
    uint64_t user_hash, ngx_push_product_t *product, ngx_str_t *user,
    ngx_push_sub_t **inbox);
static void ngx_push_query_device(ngx_push_device_t *d,
    ngx_push_session_t *s, ngx_push_sub_t *sub, ngx_push_log_t *log,
    u_char *name);


ngx_push_register_t  ngx_push_memory_register = {
    ngx_string("memory"),
    ngx_push_memory_claim,
    ngx_push_session_release,
    ngx_push_memory_query,
    ngx_push_memory_subscribe,
    ngx_push_unsubscribe,
    NULL
};


static ngx_int_t
ngx_push_memory_claim(ngx_push_claim_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    return ngx_push_session_claim(op);
}


static ngx_int_t
ngx_push_memory_query(ngx_push_query_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    return ngx_push_session_query(op->product, &op->user, &op->result,
                                  op->pool);
}


static ngx_int_t
ngx_push_memory_subscribe(ngx_push_bind_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    return ngx_push_subscribe(op->conn, op->targets, op->n, op->how, op->qos,
                              op->id);
}


/* Is it a device of this user that has to do with the product? */

static ngx_uint_t
ngx_push_query_is(ngx_push_session_t *s, uint64_t user_hash,
    ngx_push_product_t *product, ngx_str_t *user, ngx_push_sub_t **inbox)
{
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub;

    *inbox = NULL;

    if (s->user_hash != user_hash || s->user_len != user->len
        || ngx_memcmp(ngx_push_session_user(s), user->data, user->len) != 0)
    {
        return 0;
    }

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);

        if (sub->kind == NGX_PUSH_INBOX && sub->product == product->id) {
            *inbox = sub;
            return 1;
        }
    }

    return s->product == product->id;
}


/* Memory is taken between two looks: none is under the lock. */

ngx_int_t
ngx_push_session_query(ngx_push_product_t *product, ngx_str_t *user,
    ngx_push_user_t *u, ngx_pool_t *pool)
{
    u_char              *names;
    uint64_t             user_hash;
    ngx_uint_t           n;
    ngx_push_log_t      *log;
    ngx_push_ref_t      *table, ref;
    ngx_push_sub_t      *sub;
    ngx_push_shard_t    *sh;
    ngx_push_device_t   *d;
    ngx_push_target_t    t;
    ngx_push_session_t  *s;

    user_hash = ngx_push_user_hash(user);
    n = 0;

    ngx_memzero(u, sizeof(ngx_push_user_t));

    sh = ngx_push_begin_user(user_hash);
    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[user_hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);
        n += ngx_push_query_is(s, user_hash, product, user, &sub);
    }

    ngx_push_end();

    n = ngx_min(n + 4, NGX_PUSH_QUERY_MAX);

    names = ngx_pnalloc(pool, n * NGX_PUSH_NAME_MAX);

    if (names == NULL
        || ngx_array_init(&u->devices, pool, n, sizeof(ngx_push_device_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memzero(&t, sizeof(ngx_push_target_t));
    t.kind = NGX_PUSH_INBOX;
    t.product = product;
    t.name = *user;

    sh = ngx_push_begin_user(user_hash);

    log = ngx_push_log_find(sh, &t);

    if (log) {
        u->incarnation = log->incarnation;
        u->queued = log->count;
        u->last = log->last;
        u->acked = log->acked;
    }

    for (ref = table[user_hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (!ngx_push_query_is(s, user_hash, product, user, &sub)) {
            continue;
        }

        if (u->devices.nelts == n) {
            u->more++;
            continue;
        }

        d = ngx_array_push(&u->devices);
        ngx_push_query_device(d, s, sub, log,
                              names + (u->devices.nelts - 1)
                                      * NGX_PUSH_NAME_MAX);
    }

    ngx_push_end();

    return (u->devices.nelts || log) ? NGX_OK : NGX_PUSH_NOT_FOUND;
}


static void
ngx_push_query_device(ngx_push_device_t *d, ngx_push_session_t *s,
    ngx_push_sub_t *sub, ngx_push_log_t *log, u_char *name)
{
    uint64_t             acked;
    ngx_push_ref_t       ref;
    ngx_push_message_t  *m;

    ngx_memzero(d, sizeof(ngx_push_device_t));

    d->device.data = name;
    d->device.len = s->device_len;
    ngx_memcpy(name, ngx_push_session_user(s) + s->user_len, s->device_len);

    d->presence = s->presence;

    if (s->presence == NGX_PUSH_ONLINE
        && !ngx_push_worker_alive(s->worker, s->worker_gen))
    {
        d->presence = NGX_PUSH_LINGERING;
    }

    d->since = ngx_push_wall(s->since);
    d->worker = s->worker;
    d->proto = s->proto;
    d->nflight = s->nflight;
    d->bound = sub && (sub->flags & NGX_PUSH_SUB_BOUND);

    if (sub == NULL || log == NULL) {
        return;
    }

    acked = sub->incarnation == log->incarnation ? sub->sent - sub->lag
                                                 : log->acked;
    d->acked = acked;

    for (ref = log->tail; ref; ref = m->prev) {
        m = ngx_push_ptr(ref);

        if (m->seq <= acked) {
            break;
        }

        d->queued++;
    }
}
