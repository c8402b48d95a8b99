
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * SUBSCRIBE: the subscription is made in the zone, and then the session is
 * written back with it; the answer to that says where the inbox stands, so
 * that nothing falls between the two.  The first member of a channel makes
 * this node one of those that are told of its messages, and that answer says
 * where the channel stands.
 */


#include "ngx_push_redis_register.h"


typedef struct {
    ngx_push_bind_t      op;
    ngx_push_done_pt     done;
    ngx_push_handle_t    handle;
    ngx_uint_t           waits;
    ngx_int_t            rc;
} ngx_push_binding_op_t;


static void ngx_push_bind_written(void *data, ngx_int_t rc);
static void ngx_push_bind_end(ngx_push_binding_op_t *b, ngx_int_t rc);
static void ngx_push_rebound(void *data, ngx_int_t rc);


ngx_int_t
ngx_push_redis_subscribe(ngx_push_bind_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_push_target_t      *t;
    ngx_push_binding_op_t  *b;

    rc = ngx_push_subscribe(op->conn, op->targets, op->n, op->how, op->qos,
                            op->id);
    if (rc != NGX_OK) {
        return rc;
    }

    b = ngx_alloc(sizeof(ngx_push_binding_op_t), ngx_cycle->log);

    if (b == NULL) {
        return NGX_ERROR;
    }

    b->op = *op;
    b->op.conn = NULL;
    b->op.targets = NULL;
    b->done = done;
    b->handle = handle;
    b->waits = 0;
    b->rc = NGX_OK;

    for (i = 0; i < op->n; i++) {
        t = &op->targets[i];

        if (t->kind == NGX_PUSH_INBOX || ngx_push_channel_told(t)) {
            continue;
        }

        rc = ngx_push_redis_interest(t, 1, ngx_push_bind_written, b);

        if (rc == NGX_AGAIN) {
            b->waits++;

        } else {
            b->rc = rc;
        }
    }

    rc = ngx_push_redis_write_soon(op->conn->session, ngx_push_bind_written,
                                   b);
    if (rc == NGX_AGAIN) {
        b->waits++;

    } else {
        b->rc = rc;
    }

    if (b->waits) {
        return NGX_AGAIN;
    }

    rc = b->rc;
    ngx_free(b);

    return rc;
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


/*
 * A subscription that could not be written stays in the zone, and is written
 * later; but it was not promised, so the client is told that it failed.
 */

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

    b->done(b->handle, rc, &b->op);
    ngx_free(b);
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

    return rc;
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

        if (!ngx_push_channel_told(&b.target)) {
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
