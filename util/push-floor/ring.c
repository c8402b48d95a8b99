
/*
 * Copyright (C) the ngx_push authors
 */


#include "floor.h"


typedef struct {
    uint64_t       turn;
    unsigned char  data[];
} floor_slot_t;


static uint32_t
floor_ring_slots(const floor_opts_t *o)
{
    uint32_t  n;

    for (n = 64; n < o->outstanding; n *= 2) { /* void */ }

    return n;
}


static uint32_t
floor_ring_slot_size(const floor_opts_t *o)
{
    return (sizeof(floor_slot_t) + FLOOR_HEAD_SIZE + o->size + 63) & ~63u;
}


/* octets of memory for floor_ring_init() */

size_t
floor_ring_size(const floor_opts_t *o)
{
    return (size_t) floor_ring_slots(o) * floor_ring_slot_size(o);
}


static floor_slot_t *
floor_ring_slot(floor_ring_t *r, uint64_t position)
{
    return (floor_slot_t *) (r->data + (position & (r->slots - 1))
                                       * r->slot_size);
}


void
floor_ring_init(floor_ring_t *r, const floor_opts_t *o, unsigned char *data)
{
    uint32_t  i;

    r->slots = floor_ring_slots(o);
    r->slot_size = floor_ring_slot_size(o);
    r->data = data;

    for (i = 0; i < r->slots; i++) {
        floor_ring_slot(r, i)->turn = i;
    }
}


/* BENCH_ERROR: no room */

int
floor_ring_post(floor_ring_t *r, const void *p, size_t n)
{
    uint64_t       position;
    floor_slot_t  *slot;

    position = __atomic_fetch_add(&r->tail, 1, __ATOMIC_RELAXED);
    slot = floor_ring_slot(r, position);

    if (__atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) != position) {
        return BENCH_ERROR;
    }

    memcpy(slot->data, p, n);
    __atomic_store_n(&slot->turn, position + 1, __ATOMIC_RELEASE);

    return BENCH_OK;
}


/* the oldest message, to be given back by floor_ring_free(); NULL: none */

void *
floor_ring_next(floor_ring_t *r)
{
    floor_slot_t  *slot;

    slot = floor_ring_slot(r, r->head);

    if (__atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) != r->head + 1) {
        return NULL;
    }

    return slot->data;
}


void
floor_ring_free(floor_ring_t *r)
{
    __atomic_store_n(&floor_ring_slot(r, r->head)->turn, r->head + r->slots,
                     __ATOMIC_RELEASE);
    r->head++;
}


/* the reader is about to wait; BENCH_AGAIN: there is something to read */

int
floor_ring_sleep(floor_ring_t *r)
{
    __atomic_store_n(&r->asleep, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    if (floor_ring_next(r)) {
        __atomic_store_n(&r->asleep, 0, __ATOMIC_RELAXED);
        return BENCH_AGAIN;
    }

    return BENCH_OK;
}


/* after posting; true: the reader waits and this caller has to wake it */

int
floor_ring_rouse(floor_ring_t *r)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    return __atomic_load_n(&r->asleep, __ATOMIC_RELAXED)
           && __atomic_exchange_n(&r->asleep, 0, __ATOMIC_ACQ_REL);
}
