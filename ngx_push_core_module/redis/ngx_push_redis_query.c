
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * GET of a user: what Redis says of the devices of all nodes, and of those of
 * this node what the zone says, which is newer.
 */


#include "ngx_push_redis_register.h"
#include "ngx_push_lua_query.h"


#define NGX_PUSH_QUERY_MAX      1000
#define NGX_PUSH_QUERY_FIRST    5      /* fields begin here */


typedef struct {
    ngx_push_query_t     op;
    ngx_push_done_pt     done;
    ngx_push_handle_t    handle;
    u_char               user[NGX_PUSH_NAME_MAX];
} ngx_push_asking_t;


static void ngx_push_query_answer(void *data, ngx_int_t rc,
    redisReply *reply);
static ngx_int_t ngx_push_query_read(ngx_push_query_t *op,
    redisReply *reply);
static void ngx_push_query_device(ngx_push_query_t *op, ngx_str_t *field,
    ngx_str_t *value, redisReply *reply, time_t now);
static ngx_int_t ngx_push_query_copy(ngx_pool_t *pool, ngx_str_t *dst,
    ngx_str_t *src);
static void ngx_push_query_local(ngx_push_query_t *op);


ngx_push_redis_script_t  ngx_push_script_query = {
    "query", ngx_push_lua_query, ""
};


ngx_int_t
ngx_push_redis_query(ngx_push_query_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    ngx_int_t             rc;
    ngx_push_asking_t    *a;
    ngx_push_reg_call_t   c;

    a = ngx_alloc(sizeof(ngx_push_asking_t), ngx_cycle->log);

    if (a == NULL) {
        return NGX_ERROR;
    }

    a->op = *op;
    a->op.user.data = a->user;
    ngx_memcpy(a->user, op->user.data, op->user.len);
    a->done = done;
    a->handle = handle;

    ngx_push_reg_begin(&c, &ngx_push_script_query, 0);
    ngx_push_reg_user(&c, op->product, &op->user);

    rc = ngx_push_reg_send(&c, ngx_push_query_answer, a);

    if (rc != NGX_AGAIN) {
        ngx_free(a);
    }

    return rc;
}


/* Nothing was changed, so an answer that did not come is an error as well. */

static void
ngx_push_query_answer(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_asking_t  *a = data;

    if (ngx_push_handle_get(a->handle) == NULL) {

        /* nobody asks any more: the pool has gone too */

        ngx_free(a);
        return;
    }

    if (rc == NGX_OK) {
        rc = ngx_push_query_read(&a->op, reply);

    } else {
        rc = NGX_ERROR;
    }

    a->done(a->handle, rc, &a->op);
    ngx_free(a);
}


static ngx_int_t
ngx_push_query_read(ngx_push_query_t *op, redisReply *reply)
{
    time_t            now;
    ngx_str_t         field, value;
    ngx_uint_t        i;
    ngx_push_user_t  *u;

    u = &op->result;
    ngx_memzero(u, sizeof(ngx_push_user_t));

    if (reply->type != REDIS_REPLY_ARRAY
        || reply->elements < NGX_PUSH_QUERY_FIRST
        || reply->element[3]->type != REDIS_REPLY_ARRAY)
    {
        return NGX_ERROR;
    }

    u->incarnation = ngx_push_reply_hex(reply, 0);
    u->last = ngx_push_reply_number(reply, 1);
    u->acked = ngx_push_reply_number(reply, 2);
    u->queued = reply->element[3]->elements;
    now = (time_t) ngx_push_reply_number(reply, 4);

    if (ngx_array_init(&u->devices, op->pool, 4, sizeof(ngx_push_device_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = NGX_PUSH_QUERY_FIRST; i + 1 < reply->elements; i += 2) {

        if (u->devices.nelts == NGX_PUSH_QUERY_MAX) {
            u->more++;
            continue;
        }

        ngx_push_reply_str(reply, i, &field);
        ngx_push_reply_str(reply, i + 1, &value);

        ngx_push_query_device(op, &field, &value, reply, now);
    }

    ngx_push_query_local(op);

    return (u->devices.nelts || u->incarnation) ? NGX_OK
                                                : NGX_PUSH_NOT_FOUND;
}


static void
ngx_push_query_device(ngx_push_query_t *op, ngx_str_t *field,
    ngx_str_t *value, redisReply *reply, time_t now)
{
    u_char                   *nul;
    ngx_str_t                 device;
    ngx_uint_t                i;
    redisReply               *held;
    ngx_push_conf_t          *pcf;
    ngx_push_device_t        *d;
    ngx_push_device_entry_t   e;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    if (pcf == NULL
        || ngx_push_device_entry(&e, value->data, value->len) != NGX_OK)
    {
        return;
    }

    device = *field;
    nul = ngx_strlchr(field->data, field->data + field->len, '\0');

    if (nul) {
        device.data = nul + 1;
        device.len = field->data + field->len - device.data;
    }

    d = ngx_array_push(&op->result.devices);

    if (d == NULL) {
        return;
    }

    ngx_memzero(d, sizeof(ngx_push_device_t));

    if (ngx_push_query_copy(op->pool, &d->device, &device) != NGX_OK
        || ngx_push_query_copy(op->pool, &d->node, &e.node) != NGX_OK)
    {
        op->result.devices.nelts--;
        return;
    }

    d->presence = NGX_PUSH_OFFLINE;

    if (e.state == 'o' && ngx_push_node_alive(&e.node, e.epoch)) {
        d->presence = NGX_PUSH_ONLINE;

    } else if (e.state == 'l' && e.since + pcf->linger > now) {
        d->presence = NGX_PUSH_LINGERING;
    }

    d->since = e.since;
    d->worker = NGX_PUSH_NO_WORKER;
    d->bound = e.incarnation != 0;

    d->proto = ngx_push_packed_proto(&e.rest);

    if (!d->bound || op->result.incarnation == 0) {
        return;
    }

    if (e.incarnation == op->result.incarnation) {
        d->acked = e.acked;
        d->nflight = (ngx_uint_t) (e.sent - e.acked);

    } else {
        d->acked = op->result.acked;
    }

    held = reply->element[3];

    for (i = 0; i < held->elements; i++) {
        if (held->element[i]->type == REDIS_REPLY_INTEGER
            && (uint64_t) held->element[i]->integer > d->acked)
        {
            d->queued++;
        }
    }
}


static ngx_int_t
ngx_push_query_copy(ngx_pool_t *pool, ngx_str_t *dst, ngx_str_t *src)
{
    dst->data = ngx_pnalloc(pool, src->len + 1);

    if (dst->data == NULL) {
        return NGX_ERROR;
    }

    dst->len = src->len;
    ngx_memcpy(dst->data, src->data, src->len);

    return NGX_OK;
}


static void
ngx_push_query_local(ngx_push_query_t *op)
{
    uint64_t            queued;
    ngx_uint_t          i, k;
    ngx_push_user_t     here;
    ngx_push_device_t  *d, *l;

    if (ngx_push_session_query(op->product, &op->user, &here, op->pool)
        != NGX_OK)
    {
        return;
    }

    d = op->result.devices.elts;
    l = here.devices.elts;

    for (i = 0; i < op->result.devices.nelts; i++) {

        if (d[i].node.len != ngx_push_node_name.len
            || ngx_memcmp(d[i].node.data, ngx_push_node_name.data,
                          d[i].node.len)
               != 0)
        {
            continue;
        }

        for (k = 0; k < here.devices.nelts; k++) {

            if (l[k].device.len != d[i].device.len
                || ngx_memcmp(l[k].device.data, d[i].device.data,
                              d[i].device.len)
                   != 0)
            {
                continue;
            }

            queued = d[i].queued;

            if (here.incarnation == op->result.incarnation
                && l[k].acked > d[i].acked)
            {
                queued -= ngx_min(queued, l[k].acked - d[i].acked);
                d[i].acked = l[k].acked;
            }

            d[i].queued = queued;
            d[i].presence = l[k].presence;
            d[i].since = l[k].since;
            d[i].worker = l[k].worker;
            d[i].proto = l[k].proto;
            d[i].nflight = l[k].nflight;
            d[i].bound = l[k].bound;
            break;
        }
    }
}
