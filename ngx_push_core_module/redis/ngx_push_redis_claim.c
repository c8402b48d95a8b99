
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * CONNECT: the register says who has the device, the zone makes the session.
 *
 * A device that is online at another node is asked for over the bus: that node
 * ends its connection, writes the cursors back and answers, and then we claim
 * again.  If it does not answer in time the device is taken from it, and it is
 * told once more, when an answer that its worker may have been waiting for has
 * come: else a connection that it made meanwhile would stay for ever.
 *
 * Who finds that somebody else has claimed the device since it asked is the
 * older one of two that come at the same time, and gives way.
 */


#include "ngx_push_redis_register.h"
#include "ngx_push_lua_claim.h"


#define NGX_PUSH_KICK_WAIT      1000   /* msec */
#define NGX_PUSH_KICK_AGAIN     3000
#define NGX_PUSH_TAKEN_OVER     0x8e
#define NGX_PUSH_UNKNOWN        3      /* seconds */
#define NGX_PUSH_UNKNOWN_LONG   60


typedef struct {
    ngx_push_claim_t     op;           /* strings in "data" */
    ngx_push_done_pt     done;
    ngx_push_handle_t    handle;
    uint32_t             other;        /* claim of another node that we saw */
    uint32_t             epoch;        /* of that node */
    ngx_str_t            node;
    u_char               name[NGX_PUSH_NAME_MAX];
    u_char               data[1];
} ngx_push_claiming_t;


/* A node that is told again that a device is not its own any more. */

typedef struct {
    ngx_event_t          event;
    ngx_push_product_t  *product;
    ngx_str_t            node;
    ngx_str_t            user;
    ngx_str_t            device;
    uint32_t             claim;
    u_char               data[3 * NGX_PUSH_NAME_MAX];
} ngx_push_reminder_t;


static ngx_push_claiming_t *ngx_push_claiming_new(ngx_push_claim_t *op);
static u_char *ngx_push_claiming_copy(u_char *p, ngx_str_t *s);
static ngx_uint_t ngx_push_claiming_unknown(void);
static ngx_int_t ngx_push_claiming_send(ngx_push_claiming_t *cl,
    ngx_uint_t force);
static void ngx_push_claiming_answer(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_push_claiming_held(ngx_push_claiming_t *cl,
    redisReply *reply);
static void ngx_push_claiming_kicked(void *data, ngx_int_t rc);
static ngx_int_t ngx_push_claiming_taken(ngx_push_claiming_t *cl,
    redisReply *reply);
static void ngx_push_claiming_learn(ngx_push_claim_t *op, redisReply *reply);
static ngx_int_t ngx_push_claiming_local(ngx_push_claim_t *op, ngx_int_t rc);
static void ngx_push_claiming_end(ngx_push_claiming_t *cl, ngx_int_t rc);
static void ngx_push_claiming_former(ngx_push_claim_t *op,
    ngx_push_device_entry_t *old);
static void ngx_push_remind(ngx_event_t *ev);
static void ngx_push_told(void *data, ngx_int_t rc);


ngx_push_redis_script_t  ngx_push_script_claim = {
    "claim", ngx_push_lua_claim, ""
};

static ngx_connection_t  ngx_push_remind_dummy = { .fd = (ngx_socket_t) -1 };


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

    rc = ngx_push_claiming_send(cl, 0);

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
    cl->other = 0;

    p = cl->data;
    p = ngx_push_claiming_copy(p, &cl->op.user);
    p = ngx_push_claiming_copy(p, &cl->op.device);
    p = ngx_push_claiming_copy(p, &cl->op.will.name);
    p = ngx_push_claiming_copy(p, &cl->op.will_payload);
    p = ngx_push_claiming_copy(p, &cl->op.will_ctype);
    (void) ngx_push_claiming_copy(p, &cl->op.will_props);

    return cl;
}


static u_char *
ngx_push_claiming_copy(u_char *p, ngx_str_t *s)
{
    u_char  *start;

    start = p;

    if (s->len) {
        p = ngx_cpymem(p, s->data, s->len);
    }

    s->data = start;

    return p;
}


/*
 * For how long a user of whom nothing is known may have devices that only
 * their nodes know of: while somebody writes back what Redis has lost, and for
 * as long as it takes to find that it has.
 */

static ngx_uint_t
ngx_push_claiming_unknown(void)
{
    ngx_uint_t              i, n;
    ngx_push_zone_nodes_t  *nodes;

    nodes = &ngx_push_zone->head->nodes;

    if (nodes->walks[NGX_PUSH_REFLUSH_SESSIONS].wanted
        || nodes->walks[NGX_PUSH_REFLUSH_SESSIONS].running)
    {
        return NGX_PUSH_UNKNOWN_LONG;
    }

    n = ngx_min(nodes->nnodes, NGX_PUSH_NODES);

    for (i = 0; i < n; i++) {
        if (nodes->nodes[i].alive && nodes->nodes[i].reflush) {
            return NGX_PUSH_UNKNOWN_LONG;
        }
    }

    return NGX_PUSH_UNKNOWN;
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
    ngx_push_claiming_t  *cl = data;

    if (rc == NGX_OK && ngx_push_reply_number(reply, 0) == 0) {
        ngx_push_claiming_held(cl, reply);
        return;
    }

    if (rc == NGX_OK) {
        ngx_push_claiming_end(cl, ngx_push_claiming_taken(cl, reply));
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

        ngx_push_claiming_end(cl, NGX_PUSH_BUSY);
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


static ngx_int_t
ngx_push_claiming_taken(ngx_push_claiming_t *cl, redisReply *reply)
{
    ngx_int_t                rc;
    ngx_str_t                value;
    ngx_push_claim_t        *op;
    ngx_push_device_entry_t  old;

    op = &cl->op;
    op->registered = (uint32_t) ngx_push_reply_number(reply, 1);

    ngx_push_reply_str(reply, 2, &value);
    ngx_memzero(&old, sizeof(ngx_push_device_entry_t));

    if (value.len
        && ngx_push_device_entry(&old, value.data, value.len) == NGX_OK)
    {
        op->packed = old.rest;

        if (old.incarnation > NGX_PUSH_BOUND_ONLY) {
            op->incarnation = old.incarnation;
            op->acked = old.acked;
        }

        op->newer = !ngx_push_device_here(&old);
    }

    ngx_push_claiming_learn(op, reply);

    rc = ngx_push_session_claim(op);

    ngx_str_null(&op->packed);

    if (rc != NGX_OK) {
        ngx_push_redis_void(op->product, &op->user, &op->device);
        return rc == NGX_DECLINED ? NGX_PUSH_BUSY : rc;
    }

    if (op->newer) {
        ngx_push_claiming_former(op, &old);
    }

    ngx_push_redis_rebind(op->conn->session, op->present);

    return NGX_OK;
}


/* What has ended meanwhile is not sent again, even if it was in flight. */

static void
ngx_push_claiming_learn(ngx_push_claim_t *op, redisReply *reply)
{
    uint64_t           acked, first;
    ngx_push_target_t  t;

    ngx_memzero(&t, sizeof(ngx_push_target_t));

    t.kind = NGX_PUSH_INBOX;
    t.product = op->product;
    t.name = op->user;

    acked = ngx_push_reply_number(reply, 5);
    first = ngx_push_reply_number(reply, 6);

    if (first > acked) {
        acked = first - 1;
    }

    (void) ngx_push_mirror_learn(&t, ngx_push_reply_hex(reply, 3),
                                 ngx_push_reply_number(reply, 4), acked);
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


/* The node that had the device before us, if it is there, drops it. */

static void
ngx_push_claiming_former(ngx_push_claim_t *op, ngx_push_device_entry_t *old)
{
    u_char               *p;
    ngx_push_reminder_t  *r;

    if (old->node.len == 0 || old->node.len > NGX_PUSH_NAME_MAX
        || (old->node.len == ngx_push_node_name.len
            && ngx_memcmp(old->node.data, ngx_push_node_name.data,
                          old->node.len)
               == 0)
        || !ngx_push_node_alive(&old->node, old->epoch))
    {
        return;
    }

    (void) ngx_push_bus_kick(&old->node, op->product, &op->user, &op->device,
                             op->registered, NGX_PUSH_TAKEN_OVER,
                             NGX_PUSH_KICK_WAIT, ngx_push_told, NULL);

    if (old->state != 'o') {
        return;
    }

    /* taken by force */

    r = ngx_calloc(sizeof(ngx_push_reminder_t), ngx_cycle->log);

    if (r == NULL) {
        return;
    }

    p = r->data;
    r->product = op->product;
    r->claim = op->registered;
    r->node = old->node;
    r->user = op->user;
    r->device = op->device;

    p = ngx_push_claiming_copy(p, &r->node);
    p = ngx_push_claiming_copy(p, &r->user);
    (void) ngx_push_claiming_copy(p, &r->device);

    r->event.handler = ngx_push_remind;
    r->event.data = &ngx_push_remind_dummy;
    r->event.log = ngx_cycle->log;
    r->event.cancelable = 1;

    ngx_add_timer(&r->event, NGX_PUSH_KICK_AGAIN);
}


static void
ngx_push_remind(ngx_event_t *ev)
{
    ngx_push_reminder_t  *r;

    r = (ngx_push_reminder_t *) ev;

    (void) ngx_push_bus_kick(&r->node, r->product, &r->user, &r->device,
                             r->claim, NGX_PUSH_TAKEN_OVER,
                             NGX_PUSH_KICK_WAIT, ngx_push_told, NULL);
    ngx_free(r);
}


static void
ngx_push_told(void *data, ngx_int_t rc)
{
    /* it knows, or finds out when it writes the device back */
}


void
ngx_push_redis_lost(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device, ngx_str_t *entry)
{
    ngx_push_handle_t        session;
    ngx_push_device_entry_t  e;

    if (ngx_push_device_entry(&e, entry->data, entry->len) != NGX_OK) {
        return;
    }

    (void) ngx_push_session_evict(product, user, device, e.claim,
                                  NGX_PUSH_TAKEN_OVER, &session);
}


typedef struct {
    ngx_push_bus_done_pt   done;
    void                  *data;
} ngx_push_evicted_t;


static void
ngx_push_evicted(void *data, ngx_int_t rc)
{
    ngx_push_evicted_t  *ev = data;

    /* another's already is what was wanted as well */

    ev->done(ev->data, rc == NGX_DECLINED ? NGX_OK : rc);
    ngx_free(ev);
}


void
ngx_push_register_evict(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device, uint32_t claim, ngx_uint_t reason,
    ngx_push_bus_done_pt done, void *data)
{
    ngx_push_handle_t    session;
    ngx_push_evicted_t  *ev;

    if (ngx_push_session_evict(product, user, device, claim, reason, &session)
        != NGX_OK)
    {
        done(data, NGX_OK);
        return;
    }

    ev = ngx_alloc(sizeof(ngx_push_evicted_t), ngx_cycle->log);

    if (ev) {
        ev->done = done;
        ev->data = data;

        if (ngx_push_redis_write(session, ngx_push_evicted, ev) == NGX_AGAIN) {
            return;
        }

        ngx_free(ev);
    }

    done(data, NGX_ERROR);
}
