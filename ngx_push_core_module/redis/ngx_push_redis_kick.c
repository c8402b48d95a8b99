
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Devices asked of other nodes, and devices that others ask of us.  Who waits
 * holds a ticket; the answer names it, and the worker that waits, since the
 * bus is read by another.  An answer that is lost is no answer in time.
 */


#include "ngx_push_redis_bus.h"


/* One who waits, in a list: as many as devices are moving right now. */

typedef struct ngx_push_kick_s  ngx_push_kick_t;

struct ngx_push_kick_s {
    ngx_queue_t            queue;
    uint64_t               ticket;
    ngx_event_t            timer;
    ngx_push_bus_done_pt   done;
    void                  *data;
};


/* A device that is being let go of: to whom that is told. */

typedef struct {
    uint64_t               ticket;
    uint16_t               slot;
    uint32_t               gen;
    size_t                 len;
    u_char                 node[NGX_PUSH_NODE_NAME];
} ngx_push_kicked_t;


#define NGX_PUSH_KICK_BUCKETS   256


static void ngx_push_kick_end(ngx_push_kick_t *kick, ngx_int_t rc);
static void ngx_push_kick_late(ngx_event_t *ev);
static void ngx_push_kick_answer(void *data, ngx_int_t rc);
static void ngx_push_kick_find(uint64_t ticket);


static ngx_queue_t  ngx_push_kicks[NGX_PUSH_KICK_BUCKETS];
static uint64_t     ngx_push_kick_ticket;


ngx_int_t
ngx_push_bus_kick(ngx_str_t *node, ngx_push_product_t *product,
    ngx_str_t *user, ngx_str_t *device, uint32_t claim, ngx_uint_t reason,
    ngx_msec_t wait, ngx_push_bus_done_pt done, void *data)
{
    ngx_queue_t       *bucket;
    ngx_push_kick_t   *kick;
    ngx_push_frame_t   f;

    kick = ngx_calloc(sizeof(ngx_push_kick_t), ngx_cycle->log);

    if (kick == NULL) {
        return NGX_ERROR;
    }

    kick->ticket = ++ngx_push_kick_ticket;
    kick->done = done;
    kick->data = data;

    bucket = &ngx_push_kicks[kick->ticket % NGX_PUSH_KICK_BUCKETS];

    if (bucket->next == NULL) {
        ngx_queue_init(bucket);
    }

    ngx_queue_insert_tail(bucket, &kick->queue);

    /* a device waits for it: it may keep the process */

    ngx_push_bus_event(&kick->timer, ngx_push_kick_late);
    kick->timer.data = kick;
    ngx_add_timer(&kick->timer, wait);

    ngx_memzero(&f, sizeof(ngx_push_frame_t));
    f.type = NGX_PUSH_FRAME_IS_KICK;
    f.ticket = kick->ticket;
    f.slot = (uint16_t) ngx_push_self->index;
    f.gen = ngx_push_self->gen;
    f.claim = claim;
    f.reason = (uint8_t) reason;
    f.product.data = product->name.data;
    f.product.len = product->name.len;
    f.name.data = user->data;
    f.name.len = user->len;
    f.device.data = device->data;
    f.device.len = device->len;

    ngx_push_bus_frame(node->data, node->len, &f);

    ngx_push_count(kicks);

    return NGX_AGAIN;
}


static void
ngx_push_kick_end(ngx_push_kick_t *kick, ngx_int_t rc)
{
    void                  *data;
    ngx_push_bus_done_pt   done;

    done = kick->done;
    data = kick->data;

    ngx_queue_remove(&kick->queue);

    if (kick->timer.timer_set) {
        ngx_del_timer(&kick->timer);
    }

    ngx_free(kick);

    done(data, rc);
}


static void
ngx_push_kick_late(ngx_event_t *ev)
{
    ngx_push_count(kicks_late);
    ngx_push_kick_end(ev->data, NGX_DECLINED);
}


static void
ngx_push_kick_find(uint64_t ticket)
{
    ngx_queue_t      *q, *bucket;
    ngx_push_kick_t  *kick;

    bucket = &ngx_push_kicks[ticket % NGX_PUSH_KICK_BUCKETS];

    if (bucket->next == NULL) {
        return;
    }

    for (q = ngx_queue_head(bucket); q != ngx_queue_sentinel(bucket);
         q = ngx_queue_next(q))
    {
        kick = ngx_queue_data(q, ngx_push_kick_t, queue);

        if (kick->ticket == ticket) {
            ngx_push_kick_end(kick, NGX_OK);
            return;
        }
    }
}


/* A RELEASED came to this worker, which reads the bus. */

void
ngx_push_kick_released(ngx_push_frame_t *f)
{
    ngx_push_mail_t  mail;

    if (f->slot == ngx_push_self->index) {
        if (f->gen == ngx_push_self->gen) {
            ngx_push_kick_find(f->ticket);
        }

        return;
    }

    if (!ngx_push_worker_alive(f->slot, f->gen)) {
        return;
    }

    ngx_memzero(&mail, sizeof(ngx_push_mail_t));
    mail.type = NGX_PUSH_MAIL_RELEASED;
    mail.seq = f->ticket;

    ngx_push_mail_send(f->slot, f->gen, &mail);
}


void
ngx_push_kick_mail(ngx_push_mail_t *mail)
{
    ngx_push_kick_find(mail->seq);
}


/* A KICK came: the register ends the device's connection here. */

void
ngx_push_kick_frame(ngx_push_frame_entry_t *from, ngx_push_frame_t *f)
{
    ngx_str_t            name, user, device;
    ngx_push_conf_t     *pcf;
    ngx_push_kicked_t   *kicked;
    ngx_push_product_t  *product;

    if (from->node.len >= NGX_PUSH_NODE_NAME) {
        return;
    }

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    name.data = (u_char *) f->product.data;
    name.len = f->product.len;
    user.data = (u_char *) f->name.data;
    user.len = f->name.len;
    device.data = (u_char *) f->device.data;
    device.len = f->device.len;

    product = pcf ? ngx_push_find_product(pcf, &name) : NULL;

    if (product == NULL || user.len == 0 || device.len == 0) {
        return;
    }

    kicked = ngx_alloc(sizeof(ngx_push_kicked_t), ngx_cycle->log);

    if (kicked == NULL) {
        return;
    }

    kicked->ticket = f->ticket;
    kicked->slot = f->slot;
    kicked->gen = f->gen;
    kicked->len = from->node.len;
    ngx_memcpy(kicked->node, from->node.data, from->node.len);

    ngx_push_register_evict(product, &user, &device, f->claim, f->reason,
                            ngx_push_kick_answer, kicked);
}


/* What could not be written back is not released: let it time out. */

static void
ngx_push_kick_answer(void *data, ngx_int_t rc)
{
    ngx_push_frame_t    f;
    ngx_push_kicked_t  *kicked;

    kicked = data;

    if (rc == NGX_OK && ngx_push_self) {
        ngx_memzero(&f, sizeof(ngx_push_frame_t));
        f.type = NGX_PUSH_FRAME_IS_RELEASED;
        f.ticket = kicked->ticket;
        f.slot = kicked->slot;
        f.gen = kicked->gen;

        ngx_push_bus_frame(kicked->node, kicked->len, &f);
    }

    ngx_free(kicked);
}
