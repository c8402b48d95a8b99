
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * CONNECT: the register says who has the device, the zone makes the session.
 *
 * A device that is online at another node is asked for over the bus: that node
 * ends its connection, writes the cursors back and answers, and then we claim
 * again.  If it does not answer in time the device is taken from it.
 *
 * While Redis may not know of a device because it has lost something, the
 * nodes that may know are asked before; and a device that seems to be new is
 * one only if Redis has not come back empty, which is asked after it.
 *
 * Who finds that somebody else has claimed the device since it asked is the
 * older one of two that come at the same time, and gives way.
 */


#include "ngx_push_redis_register.h"
#include "ngx_push_lua_claim.h"


#define NGX_PUSH_UNKNOWN        3      /* seconds */
#define NGX_PUSH_UNKNOWN_LONG   60


typedef struct {
    ngx_push_claim_t     op;           /* strings in "data" */
    ngx_push_done_pt     done;
    ngx_push_handle_t    handle;
    ngx_uint_t           asked;        /* the nodes that may know of it */
    uint64_t             incarnation;  /* of the inbox; */
    uint64_t             last;
    uint64_t             acked;        /* all up to it has ended */
    uint32_t             other;        /* claim of another node that we saw */
    uint32_t             epoch;        /* of that node */
    ngx_str_t            node;
    u_char               name[NGX_PUSH_NAME_MAX];
    u_char               data[1];
} ngx_push_claiming_t;


static ngx_push_claiming_t *ngx_push_claiming_new(ngx_push_claim_t *op);
static ngx_uint_t ngx_push_claiming_unknown(void);
static ngx_int_t ngx_push_claiming_ask(ngx_push_claiming_t *cl);
static void ngx_push_claiming_asked(void *data, ngx_int_t rc);
static ngx_int_t ngx_push_claiming_send(ngx_push_claiming_t *cl,
    ngx_uint_t force);
static void ngx_push_claiming_answer(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_push_claiming_held(ngx_push_claiming_t *cl,
    redisReply *reply);
static void ngx_push_claiming_kicked(void *data, ngx_int_t rc);
static void ngx_push_claiming_first(ngx_push_claiming_t *cl);
static void ngx_push_claiming_era(void *data, ngx_int_t rc);
static ngx_int_t ngx_push_claiming_undo(ngx_push_claiming_t *cl);
static void ngx_push_claiming_undone(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_push_claiming_note(ngx_push_claiming_t *cl,
    redisReply *reply);
static ngx_int_t ngx_push_claiming_taken(ngx_push_claiming_t *cl,
    ngx_str_t *entry);
static void ngx_push_claiming_learn(ngx_push_claiming_t *cl);
static ngx_int_t ngx_push_claiming_local(ngx_push_claim_t *op, ngx_int_t rc);
static void ngx_push_claiming_end(ngx_push_claiming_t *cl, ngx_int_t rc);


ngx_push_redis_script_t  ngx_push_script_claim = {
    "claim", ngx_push_lua_claim, ""
};


ngx_int_t
ngx_push_redis_claim(ngx_push_claim_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    ngx_int_t             rc;
    ngx_push_claiming_t  *cl;

    if (!ngx_push_node_serves()) {
        return NGX_ERROR;
    }

    cl = ngx_push_claiming_new(op);

    if (cl == NULL) {
        return NGX_ERROR;
    }

    cl->done = done;
    cl->handle = handle;

    if (ngx_push_unsettled() && !ngx_push_session_resumable(op)) {
        rc = ngx_push_claiming_ask(cl);

    } else {
        rc = ngx_push_claiming_send(cl, 0);
    }

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ngx_free(cl);

    return ngx_push_claiming_local(op, rc);
}


static ngx_push_claiming_t *
ngx_push_claiming_new(ngx_push_claim_t *op)
{
    u_char               *p;
    size_t                size;
    ngx_push_claiming_t  *cl;

    size = op->user.len + op->device.len + op->will.name.len
           + op->will_payload.len + op->will_ctype.len + op->will_props.len;

    cl = ngx_alloc(offsetof(ngx_push_claiming_t, data) + size,
                   ngx_cycle->log);
    if (cl == NULL) {
        return NULL;
    }

    cl->op = *op;
    cl->asked = 0;
    cl->other = 0;

    p = cl->data;
    p = ngx_push_reg_copy(p, &cl->op.user);
    p = ngx_push_reg_copy(p, &cl->op.device);
    p = ngx_push_reg_copy(p, &cl->op.will.name);
    p = ngx_push_reg_copy(p, &cl->op.will_payload);
    p = ngx_push_reg_copy(p, &cl->op.will_ctype);
    (void) ngx_push_reg_copy(p, &cl->op.will_props);

    return cl;
}


/*
 * For how long a user of whom nothing is known may have devices that only
 * their nodes know of: while somebody writes back what Redis has lost, and for
 * as long as it takes to find that it has.
 */

static ngx_uint_t
ngx_push_claiming_unknown(void)
{
    ngx_push_zone_walk_t  *sessions;

    sessions = &ngx_push_zone->head->nodes.walks[NGX_PUSH_REFLUSH_SESSIONS];

    if (sessions->wanted || sessions->running || ngx_push_unsettled()) {
        return NGX_PUSH_UNKNOWN_LONG;
    }

    return NGX_PUSH_UNKNOWN;
}


/*
 * A node that may have the device and does not answer keeps it: at the tail of
 * its channels the device would miss what was accepted for it.
 */

static ngx_int_t
ngx_push_claiming_ask(ngx_push_claiming_t *cl)
{
    ngx_int_t  rc;

    cl->asked = 1;

    rc = ngx_push_settle_ask(cl->op.product, &cl->op.user, &cl->op.device,
                             ngx_push_claiming_asked, cl);

    if (rc == NGX_OK) {
        return ngx_push_claiming_send(cl, 0);
    }

    return rc == NGX_DECLINED ? NGX_PUSH_BUSY : rc;
}


static void
ngx_push_claiming_asked(void *data, ngx_int_t rc)
{
    ngx_push_claiming_t  *cl = data;

    rc = rc == NGX_OK ? ngx_push_claiming_send(cl, 0) : NGX_PUSH_BUSY;

    if (rc != NGX_AGAIN) {
        ngx_push_claiming_end(cl, ngx_push_claiming_local(&cl->op, rc));
    }
}


/* "force": takes the claim of another node that was seen before. */

static ngx_int_t
ngx_push_claiming_send(ngx_push_claiming_t *cl, ngx_uint_t force)
{
    ngx_str_t            none;
    ngx_push_reg_call_t  c;

    ngx_str_null(&none);

    ngx_push_reg_begin(&c, &ngx_push_script_claim, 0);
    ngx_push_reg_user(&c, cl->op.product, &cl->op.user);
    ngx_push_reg_str(&c, &cl->op.device);
    ngx_push_reg_node(&c);

    if (force) {
        ngx_push_reg_number(&c, cl->other);

    } else {
        ngx_push_reg_str(&c, &none);
    }

    ngx_push_reg_number(&c, ngx_push_claiming_unknown());

    return ngx_push_reg_send(&c, ngx_push_claiming_answer, cl);
}


static void
ngx_push_claiming_answer(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_str_t             entry;
    ngx_push_claiming_t  *cl = data;

    if (rc == NGX_OK && ngx_push_reply_number(reply, 0) == 0) {
        ngx_push_claiming_held(cl, reply);
        return;
    }

    if (rc == NGX_OK) {
        ngx_push_claiming_note(cl, reply);
        ngx_push_reply_str(reply, 2, &entry);

        if (entry.len == 0 && !cl->asked
            && !ngx_push_session_resumable(&cl->op))
        {
            ngx_push_claiming_first(cl);
            return;
        }

        ngx_push_claiming_end(cl, ngx_push_claiming_taken(cl, &entry));
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "push: Redis does not let \"%V\" connect: %s",
                      &cl->op.user, reply ? reply->str : "");
    }

    if (rc == NGX_ABORT) {
        ngx_push_redis_void(cl->op.product, &cl->op.user, &cl->op.device);
    }

    ngx_push_claiming_end(cl, ngx_push_claiming_local(&cl->op, rc));
}


static void
ngx_push_claiming_held(ngx_push_claiming_t *cl, redisReply *reply)
{
    ngx_str_t                value;
    ngx_push_device_entry_t  e;

    ngx_push_reply_str(reply, 1, &value);

    if (ngx_push_device_entry(&e, value.data, value.len) != NGX_OK
        || e.node.len > NGX_PUSH_NAME_MAX)
    {
        ngx_push_claiming_end(cl, NGX_ERROR);
        return;
    }

    if (cl->other) {

        /* claimed by somebody else since we asked for it */

        ngx_push_claiming_end(cl, NGX_DECLINED);
        return;
    }

    cl->other = e.claim;
    cl->epoch = e.epoch;
    cl->node.data = cl->name;
    cl->node.len = e.node.len;
    ngx_memcpy(cl->name, e.node.data, e.node.len);

    if (ngx_push_node_alive(&cl->node, cl->epoch)
        && ngx_push_bus_kick(&cl->node, cl->op.product, &cl->op.user,
                             &cl->op.device, cl->other + 1,
                             NGX_PUSH_TAKEN_OVER, NGX_PUSH_KICK_WAIT,
                             ngx_push_claiming_kicked, cl)
           == NGX_AGAIN)
    {
        return;
    }

    ngx_push_claiming_kicked(cl, NGX_DECLINED);
}


static void
ngx_push_claiming_kicked(void *data, ngx_int_t rc)
{
    ngx_push_claiming_t  *cl = data;

    rc = ngx_push_claiming_send(cl, 1);

    if (rc != NGX_AGAIN) {
        ngx_push_claiming_end(cl, ngx_push_claiming_local(&cl->op, rc));
    }
}


/* A device of which Redis knows nothing: is it new, or Redis? */

static void
ngx_push_claiming_first(ngx_push_claiming_t *cl)
{
    ngx_int_t  rc;

    rc = ngx_push_era_same(ngx_push_claiming_era, cl);

    if (rc != NGX_AGAIN) {
        ngx_push_claiming_era(cl, rc);
    }
}


static void
ngx_push_claiming_era(void *data, ngx_int_t rc)
{
    ngx_str_t             none;
    ngx_push_claiming_t  *cl = data;

    if (rc == NGX_OK) {
        ngx_str_null(&none);
        ngx_push_claiming_end(cl, ngx_push_claiming_taken(cl, &none));
        return;
    }

    if (rc == NGX_DECLINED) {
        rc = ngx_push_claiming_undo(cl);

        if (rc == NGX_AGAIN) {
            return;
        }
    }

    ngx_push_redis_void(cl->op.product, &cl->op.user, &cl->op.device);
    ngx_push_claiming_end(cl, NGX_ERROR);
}


/* Else the entry of the node that has the device would be the older one. */

static ngx_int_t
ngx_push_claiming_undo(ngx_push_claiming_t *cl)
{
    ngx_push_reg_call_t     c;
    ngx_push_cursor_args_t  a;

    ngx_memzero(&a, sizeof(ngx_push_cursor_args_t));

    a.product = cl->op.product;
    a.own = cl->op.product;
    a.user = &cl->op.user;
    a.device = &cl->op.device;
    a.claim = cl->op.registered;
    a.state = '-';
    a.since = ngx_time();

    ngx_push_reg_cursor(&c, &a);

    return ngx_push_reg_send(&c, ngx_push_claiming_undone, cl);
}


static void
ngx_push_claiming_undone(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_claiming_t  *cl = data;

    if (rc == NGX_OK) {
        rc = ngx_push_claiming_ask(cl);

        if (rc == NGX_AGAIN) {
            return;
        }

    } else {
        ngx_push_redis_void(cl->op.product, &cl->op.user, &cl->op.device);
    }

    ngx_push_claiming_end(cl, rc == NGX_PUSH_BUSY ? rc : NGX_ERROR);
}


static void
ngx_push_claiming_note(ngx_push_claiming_t *cl, redisReply *reply)
{
    uint64_t  first;

    cl->op.registered = (uint32_t) ngx_push_reply_number(reply, 1);
    cl->incarnation = ngx_push_reply_hex(reply, 3);
    cl->last = ngx_push_reply_number(reply, 4);
    cl->acked = ngx_push_reply_number(reply, 5);

    /* what has ended meanwhile is not sent again, even if it was in flight */

    first = ngx_push_reply_number(reply, 6);

    if (first > cl->acked) {
        cl->acked = first - 1;
    }
}


static ngx_int_t
ngx_push_claiming_taken(ngx_push_claiming_t *cl, ngx_str_t *entry)
{
    ngx_int_t                rc;
    ngx_push_claim_t        *op;
    ngx_push_device_entry_t  old;

    op = &cl->op;

    ngx_memzero(&old, sizeof(ngx_push_device_entry_t));

    if (entry->len
        && ngx_push_device_entry(&old, entry->data, entry->len) == NGX_OK)
    {
        op->packed = old.rest;

        if (old.incarnation > NGX_PUSH_BOUND_ONLY) {
            op->incarnation = old.incarnation;
            op->acked = old.acked;
        }

        if (ngx_push_device_here(&old)) {
            op->before = old.claim;

        } else {
            op->newer = 1;
        }
    }

    ngx_push_claiming_learn(cl);

    rc = ngx_push_session_claim(op);

    ngx_str_null(&op->packed);

    if (rc != NGX_OK) {
        ngx_push_redis_void(op->product, &op->user, &op->device);
        return rc;
    }

    if (op->newer) {
        ngx_push_redis_former(op, &old);
    }

    ngx_push_redis_rebind(op->conn->session, op->present);

    return NGX_OK;
}


static void
ngx_push_claiming_learn(ngx_push_claiming_t *cl)
{
    ngx_push_target_t  t;

    ngx_memzero(&t, sizeof(ngx_push_target_t));

    t.kind = NGX_PUSH_INBOX;
    t.product = cl->op.product;
    t.name = cl->op.user;

    (void) ngx_push_mirror_learn(&t, cl->incarnation, cl->last, cl->acked);
}


/*
 * Redis cannot be asked: a device that this node has had all the time may go
 * on, and is written back later.
 */

static ngx_int_t
ngx_push_claiming_local(ngx_push_claim_t *op, ngx_int_t rc)
{
    if (rc == NGX_PUSH_FULL || !ngx_push_session_resumable(op)) {
        return rc == NGX_PUSH_BUSY || rc == NGX_PUSH_FULL ? rc : NGX_ERROR;
    }

    op->newer = 0;
    op->before = 0;
    op->incarnation = 0;
    op->registered = 0;
    ngx_str_null(&op->packed);

    rc = ngx_push_session_claim(op);

    if (rc == NGX_OK) {
        ngx_push_session_moved(op->conn->session);
    }

    return rc == NGX_DECLINED ? NGX_PUSH_BUSY : rc;
}


static void
ngx_push_claiming_end(ngx_push_claiming_t *cl, ngx_int_t rc)
{
    cl->done(cl->handle, rc, &cl->op);
    ngx_free(cl);
}
