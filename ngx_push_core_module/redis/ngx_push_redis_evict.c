
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * A device that goes from one node to another: the node that had it is told,
 * and what a node does that is told so.
 *
 * Who did not let go in time is told once more, when an answer that its worker
 * may have been waiting for has come: else a connection that it made meanwhile
 * would stay for ever.
 */


#include "ngx_push_redis_register.h"


#define NGX_PUSH_KICK_AGAIN     3000   /* ms */


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


typedef struct {
    ngx_push_bus_done_pt   done;
    void                  *data;
} ngx_push_evicted_t;


static void ngx_push_remind(ngx_event_t *ev);
static void ngx_push_told(void *data, ngx_int_t rc);
static void ngx_push_evicted(void *data, ngx_int_t rc);


static ngx_connection_t  ngx_push_remind_dummy = { .fd = (ngx_socket_t) -1 };


void
ngx_push_redis_former(ngx_push_claim_t *op, ngx_push_device_entry_t *old)
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

    p = ngx_push_reg_copy(p, &r->node);
    p = ngx_push_reg_copy(p, &r->user);
    (void) ngx_push_reg_copy(p, &r->device);

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
