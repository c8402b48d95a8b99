
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * SUBSCRIBE: the subscription is made in the zone, and then the session is
 * written back with it; the answer to that says where the inbox stands, so
 * that nothing falls between the two.
 *
 * The first member of a channel makes this node one of those that are told of
 * its messages.  That comes before the subscription, for its answer says where
 * the cursor begins, and once more after it, for what came in between.  An
 * UNSUBSCRIBE that comes before the first answer takes such a one back.
 *
 * What could not be written was not granted, and is undone: the subscription
 * is again as it was before, unless something newer was said of it.
 */


#include "ngx_push_redis_register.h"
#include "ngx_push_conn.h"


#define NGX_PUSH_BIND_BUCKETS   1021   /* by session; a prime, for indexes
                                          have a common step */


/* One that has no answer yet; in the order in which the zone learnt of them. */

typedef struct {
    ngx_queue_t          queue;
    ngx_push_bind_t      op;
    ngx_push_target_t    targets[2];
    ngx_push_done_pt     done;
    ngx_push_handle_t    handle;
    ngx_push_handle_t    session;
    uint32_t             conn;         /* index */
    uint32_t             claim;
    ngx_push_target_t   *channel;      /* of which it is the first member */
    ngx_uint_t           waits;
    ngx_int_t            rc;
    unsigned             made:1;       /* in the zone, where it was "before" */
    unsigned             dropped:1;    /* an UNSUBSCRIBE came before that */
    unsigned             stays:1;      /* is not to be undone any more */
    ngx_push_options_t   before[2];
    u_char               names[2][NGX_PUSH_NAME_MAX];
} ngx_push_binding_op_t;


static ngx_queue_t *ngx_push_bind_bucket(ngx_push_handle_t session);
static ngx_push_conn_t *ngx_push_bind_conn(ngx_push_binding_op_t *b);
static void ngx_push_bind_interested(void *data, ngx_int_t rc);
static ngx_int_t ngx_push_bind_zone(ngx_push_binding_op_t *b,
    ngx_push_conn_t *conn);
static void ngx_push_bind_written(void *data, ngx_int_t rc);
static void ngx_push_bind_end(ngx_push_binding_op_t *b, ngx_int_t rc);
static void ngx_push_bind_granted(ngx_push_binding_op_t *b);
static void ngx_push_bind_failed(ngx_push_binding_op_t *b);
static void ngx_push_bind_undo(ngx_push_binding_op_t *b,
    ngx_push_conn_t *conn);
static ngx_uint_t ngx_push_bind_same(ngx_push_binding_op_t *b,
    ngx_push_handle_t session, ngx_push_target_t *t, ngx_uint_t how);
static ngx_uint_t ngx_push_bind_drop(ngx_push_handle_t session,
    ngx_push_target_t *t, ngx_uint_t how);
static void ngx_push_rebound(void *data, ngx_int_t rc);


static ngx_queue_t  ngx_push_bindings[NGX_PUSH_BIND_BUCKETS];


ngx_int_t
ngx_push_redis_subscribe(ngx_push_bind_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_push_binding_op_t  *b;

    if (op->conn->session.index == 0) {
        return NGX_DECLINED;
    }

    b = ngx_alloc(sizeof(ngx_push_binding_op_t), ngx_cycle->log);

    if (b == NULL) {
        return NGX_ERROR;
    }

    b->op = *op;
    b->op.conn = NULL;
    b->op.targets = b->targets;
    b->done = done;
    b->handle = handle;
    b->session = op->conn->session;
    b->conn = op->conn->index;
    b->claim = op->conn->claim;
    b->channel = NULL;
    b->waits = 0;
    b->rc = NGX_OK;
    b->made = 0;
    b->dropped = 0;
    b->stays = 0;

    for (i = 0; i < op->n; i++) {
        b->targets[i] = op->targets[i];
        b->targets[i].name.data = b->names[i];
        ngx_memcpy(b->names[i], op->targets[i].name.data,
                   op->targets[i].name.len);

        if (op->targets[i].kind != NGX_PUSH_INBOX
            && !ngx_push_channel_told(&b->targets[i], 0))
        {
            b->channel = &b->targets[i];
        }
    }

    ngx_queue_insert_tail(ngx_push_bind_bucket(b->session), &b->queue);

    if (b->channel == NULL) {
        rc = ngx_push_bind_zone(b, op->conn);

    } else {
        rc = ngx_push_redis_interest(b->channel, 1, ngx_push_bind_interested,
                                     b);
    }

    if (rc != NGX_AGAIN) {
        ngx_push_bind_failed(b);
        ngx_queue_remove(&b->queue);
        ngx_free(b);
    }

    return rc;
}


/* Many may fail at once: each looks for others of its session alone. */

static ngx_queue_t *
ngx_push_bind_bucket(ngx_push_handle_t session)
{
    ngx_queue_t  *bucket;

    bucket = &ngx_push_bindings[session.index % NGX_PUSH_BIND_BUCKETS];

    if (bucket->next == NULL) {
        ngx_queue_init(bucket);
    }

    return bucket;
}


/* The connection may have ended, and its place be another's: NULL. */

static ngx_push_conn_t *
ngx_push_bind_conn(ngx_push_binding_op_t *b)
{
    ngx_push_conn_t  *conn;

    conn = ngx_push_conn_get(b->conn);

    if (conn == NULL || conn->session.index != b->session.index
        || conn->session.gen != b->session.gen || conn->claim != b->claim)
    {
        return NULL;
    }

    return conn;
}


static void
ngx_push_bind_interested(void *data, ngx_int_t rc)
{
    ngx_push_conn_t        *conn;
    ngx_push_binding_op_t  *b = data;

    conn = ngx_push_bind_conn(b);

    if (conn == NULL) {
        rc = NGX_DECLINED;

    } else if (rc == NGX_OK && !b->dropped) {
        rc = ngx_push_bind_zone(b, conn);
    }

    if (rc != NGX_AGAIN) {
        ngx_push_bind_end(b, rc);
    }
}


static ngx_int_t
ngx_push_bind_zone(ngx_push_binding_op_t *b, ngx_push_conn_t *conn)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < b->op.n; i++) {
        rc = ngx_push_subscription(conn, &b->targets[i], b->op.how,
                                   &b->before[i]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_push_subscribe(conn, b->targets, b->op.n, b->op.how, b->op.qos,
                            b->op.id);
    if (rc != NGX_OK) {
        return rc;
    }

    b->made = 1;
    ngx_queue_remove(&b->queue);
    ngx_queue_insert_tail(ngx_push_bind_bucket(b->session), &b->queue);

    if (b->channel
        && ngx_push_redis_interest(b->channel, 1, ngx_push_bind_written, b)
           == NGX_AGAIN)
    {
        b->waits++;
    }

    if (ngx_push_redis_write_soon(b->session, ngx_push_bind_written, b)
        == NGX_AGAIN)
    {
        b->waits++;
    }

    return b->waits ? NGX_AGAIN : NGX_ERROR;
}


static void
ngx_push_bind_written(void *data, ngx_int_t rc)
{
    ngx_push_binding_op_t  *b = data;

    if (rc != NGX_OK && b->rc == NGX_OK) {
        b->rc = rc;
    }

    if (--b->waits == 0) {
        ngx_push_bind_end(b, b->rc);
    }
}


static void
ngx_push_bind_end(ngx_push_binding_op_t *b, ngx_int_t rc)
{
    switch (rc) {

    case NGX_OK:
    case NGX_DECLINED:
    case NGX_PUSH_FULL:
    case NGX_PUSH_BUSY:
        break;

    case NGX_PUSH_NOT_FOUND:
        rc = NGX_DECLINED;
        break;

    default:
        rc = NGX_ERROR;
    }

    if (rc == NGX_OK) {
        ngx_push_bind_granted(b);

    } else {
        ngx_push_bind_failed(b);
    }

    ngx_queue_remove(&b->queue);

    b->done(b->handle, rc, &b->op);
    ngx_free(b);
}


/* One before it that has no answer yet has been replaced, and stays so. */

static void
ngx_push_bind_granted(ngx_push_binding_op_t *b)
{
    ngx_queue_t            *q, *bucket;
    ngx_push_binding_op_t  *older;

    if (!b->made) {
        return;
    }

    bucket = ngx_push_bind_bucket(b->session);

    for (q = ngx_queue_prev(&b->queue); q != bucket; q = ngx_queue_prev(q)) {
        older = ngx_queue_data(q, ngx_push_binding_op_t, queue);

        if (older->made
            && ngx_push_bind_same(older, b->session, b->targets, b->op.how))
        {
            older->stays = 1;
        }
    }
}


/* One that has replaced it meanwhile has replaced what was before it. */

static void
ngx_push_bind_failed(ngx_push_binding_op_t *b)
{
    ngx_queue_t            *q, *bucket;
    ngx_push_conn_t        *conn;
    ngx_push_binding_op_t  *newer;

    if (!b->made || b->stays) {
        return;
    }

    bucket = ngx_push_bind_bucket(b->session);

    for (q = ngx_queue_next(&b->queue); q != bucket; q = ngx_queue_next(q)) {
        newer = ngx_queue_data(q, ngx_push_binding_op_t, queue);

        if (newer->made
            && ngx_push_bind_same(newer, b->session, b->targets, b->op.how))
        {
            ngx_memcpy(newer->before, b->before, sizeof(b->before));
            return;
        }
    }

    conn = ngx_push_bind_conn(b);

    if (conn) {
        ngx_push_bind_undo(b, conn);
    }
}


static void
ngx_push_bind_undo(ngx_push_binding_op_t *b, ngx_push_conn_t *conn)
{
    ngx_uint_t           i, how;
    ngx_push_options_t  *was;

    for (i = 0; i < b->op.n; i++) {
        was = &b->before[i];
        how = b->op.how;

        if (was->how) {
            (void) ngx_push_subscribe(conn, &b->targets[i], 1, was->how,
                                      was->qos, was->id);
            continue;
        }

        /* after a Clean Start that of a group is dormant, too */

        how |= was->known ? NGX_PUSH_SUB_KEEP : NGX_PUSH_SUB_FORGET;

        (void) ngx_push_unsubscribe(conn, &b->targets[i], how);
    }

    ngx_push_session_moved(b->session);
}


ngx_int_t
ngx_push_redis_unsubscribe(ngx_push_conn_t *conn, ngx_push_target_t *t,
    ngx_uint_t how)
{
    ngx_int_t  rc;

    rc = ngx_push_unsubscribe(conn, t, how);

    if (rc == NGX_OK) {
        ngx_push_session_moved(conn->session);
    }

    if (rc != NGX_DECLINED && ngx_push_bind_drop(conn->session, t, how)) {
        rc = NGX_OK;
    }

    return rc;
}


static ngx_uint_t
ngx_push_bind_same(ngx_push_binding_op_t *b, ngx_push_handle_t session,
    ngx_push_target_t *t, ngx_uint_t how)
{
    ngx_uint_t          i;
    ngx_push_target_t  *target;

    if (b->session.index != session.index || b->session.gen != session.gen
        || !(b->op.how & how & NGX_PUSH_SUB_BOUND))
    {
        return 0;
    }

    for (i = 0; i < b->op.n; i++) {
        target = &b->targets[i];

        if (target->kind == t->kind && target->product == t->product
            && target->name.len == t->name.len
            && ngx_memcmp(target->name.data, t->name.data, t->name.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* How many there are that have not been made. */

static ngx_uint_t
ngx_push_bind_drop(ngx_push_handle_t session, ngx_push_target_t *t,
    ngx_uint_t how)
{
    ngx_uint_t              n;
    ngx_queue_t            *q, *bucket;
    ngx_push_binding_op_t  *b;

    n = 0;
    bucket = ngx_push_bind_bucket(session);

    for (q = ngx_queue_head(bucket); q != bucket; q = ngx_queue_next(q))
    {
        b = ngx_queue_data(q, ngx_push_binding_op_t, queue);

        if (!ngx_push_bind_same(b, session, t, how)) {
            continue;
        }

        if (b->made) {
            b->stays = 1;

        } else {
            b->dropped = 1;
            n++;
        }
    }

    return n;
}


void
ngx_push_redis_rebind(ngx_push_handle_t session, ngx_uint_t present)
{
    ngx_uint_t           n, write;
    ngx_push_binding_t   b;

    /* what was bound is not any more: not to be had back elsewhere */

    write = !present;

    for (n = 0; ngx_push_session_binding(session, n, &b) == NGX_OK; n++) {

        if (b.target.product == NULL || !b.bound) {
            continue;
        }

        if (b.target.kind == NGX_PUSH_INBOX) {
            write = 1;
            continue;
        }

        if (!ngx_push_channel_told(&b.target, 1)) {
            (void) ngx_push_redis_interest(&b.target, 1, ngx_push_rebound,
                                           NULL);
        }
    }

    if (write
        && ngx_push_redis_write_soon(session, ngx_push_rebound, NULL)
           != NGX_AGAIN)
    {
        ngx_push_session_moved(session);
    }
}


static void
ngx_push_rebound(void *data, ngx_int_t rc)
{
    /* what failed is noted, and what was learnt was told */
}
