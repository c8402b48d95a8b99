
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_log.h"
#include "ngx_push_worker.h"


/*
 * Ended messages that are reclaimed at a time: a look at the pins costs a
 * cache line or two of every worker, records that wait in limbo cost that
 * of a fresh one.
 */

#define ngx_push_limbo_batch()  (8 + 2 * ngx_push_zone->head->nworkers)


static ngx_push_message_t *ngx_push_message_alloc(ngx_push_shard_t *sh,
    size_t size);
static ngx_int_t ngx_push_message_chunks(ngx_push_shard_t *sh,
    ngx_push_message_t *m, size_t size);
static void ngx_push_message_empty(ngx_push_shard_t *sh,
    ngx_push_message_t *m);
static ngx_uint_t ngx_push_message_pinned(ngx_push_ref_t ref,
    ngx_push_ref_t *pins, ngx_uint_t npins);
static ngx_uint_t ngx_push_message_pins(ngx_push_ref_t *pins, ngx_uint_t max);


static ngx_uint_t  ngx_push_held_pins;


/* where the next byte of a message's data goes */

typedef struct {
    u_char              *pos;
    u_char              *last;
    ngx_push_ref_t       next;
} ngx_push_fill_t;


static void
ngx_push_message_fill(ngx_push_fill_t *f, u_char *p, size_t len)
{
    size_t             n;
    ngx_push_chunk_t  *chunk;

    while (len) {

        if (f->pos == f->last) {
            chunk = ngx_push_ptr(f->next);
            f->pos = chunk->data;
            f->last = chunk->data + NGX_PUSH_CHUNK_DATA;
            f->next = chunk->next;
        }

        n = ngx_min(len, (size_t) (f->last - f->pos));
        f->pos = ngx_cpymem(f->pos, p, n);
        p += n;
        len -= n;
    }
}


static ngx_push_message_t *
ngx_push_message_alloc(ngx_push_shard_t *sh, size_t size)
{
    ngx_push_message_t  *m;

    m = ngx_push_alloc(sh, NGX_PUSH_MESSAGE);

    if (m == NULL) {
        return NULL;
    }

    ngx_memzero((u_char *) m + sizeof(ngx_push_slot_t),
                offsetof(ngx_push_message_t, data)
                - sizeof(ngx_push_slot_t));

    m->slot.used = NGX_PUSH_MSG_BUILDING;

    if (ngx_push_message_chunks(sh, m, size) != NGX_OK) {
        ngx_push_message_empty(sh, m);
        ngx_push_free(sh, m);
        return NULL;
    }

    return m;
}


ngx_push_message_t *
ngx_push_message_build(ngx_push_shard_t *sh, ngx_str_t *ctype,
    ngx_str_t *props, ngx_chain_t *payload, size_t size)
{
    ngx_push_fill_t      f;
    ngx_push_message_t  *m;

    if (sh->limbo.count >= ngx_push_limbo_batch()) {
        (void) ngx_push_message_reclaim(sh, 2 * ngx_push_limbo_batch());
    }

    m = ngx_push_message_alloc(sh, ctype->len + props->len + size);

    if (m == NULL) {

        if (ngx_push_message_reclaim(sh, NGX_MAX_INT32_VALUE) == 0) {
            return NULL;
        }

        m = ngx_push_message_alloc(sh, ctype->len + props->len + size);

        if (m == NULL) {
            return NULL;
        }
    }

    m->ctype_len = ctype->len;
    m->props_len = props->len;
    m->size = size;
    m->created = ngx_push_now();

    f.pos = m->data;
    f.last = m->data + NGX_PUSH_MSG_INLINE;
    f.next = m->chunk;

    ngx_push_message_fill(&f, ctype->data, ctype->len);
    ngx_push_message_fill(&f, props->data, props->len);

    for ( /* void */ ; payload && size; payload = payload->next) {
        ngx_push_message_fill(&f, payload->buf->pos,
                              ngx_min(size, (size_t) ngx_buf_size(
                                                             payload->buf)));
        size -= ngx_min(size, (size_t) ngx_buf_size(payload->buf));
    }

    return m;
}


/*
 * Many chunks are more than one undo log takes.  Committing in between is
 * safe: a message left BUILDING is found and ended by the repair.
 */

static ngx_int_t
ngx_push_message_chunks(ngx_push_shard_t *sh, ngx_push_message_t *m,
    size_t size)
{
    size_t             n;
    ngx_push_chunk_t  *chunk;

    for (n = NGX_PUSH_MSG_INLINE; n < size; n += NGX_PUSH_CHUNK_DATA) {
        chunk = ngx_push_alloc(sh, NGX_PUSH_CHUNK);

        if (chunk == NULL) {
            return NGX_ERROR;
        }

        chunk->next = m->chunk;
        ngx_push_set(m->chunk, ngx_push_ref(chunk));

        ngx_push_fault_point("build");
        ngx_push_commit_long();
    }

    return NGX_OK;
}


/*
 * Gives back the chunks, with commits in between: so the message must still
 * be where it is found again, BUILDING or in limbo.
 */

static void
ngx_push_message_empty(ngx_push_shard_t *sh, ngx_push_message_t *m)
{
    ngx_push_chunk_t  *chunk;

    while (m->chunk) {
        chunk = ngx_push_ptr(m->chunk);
        ngx_push_set(m->chunk, chunk->next);
        ngx_push_free(sh, chunk);
        ngx_push_commit_long();
    }
}


void
ngx_push_message_expire(ngx_push_shard_t *sh, ngx_push_message_t *m,
    uint32_t expire)
{
    ngx_push_ref_t  *bucket, ref;

    /* the sweep is through with the seconds before wheel_at */

    m->expire = ngx_max(expire, sh->wheel_at);

    bucket = (ngx_push_ref_t *) (ngx_push_zone->base + sh->wheel)
             + m->expire % NGX_PUSH_WHEEL;
    ref = ngx_push_ref(m);

    m->wnext = *bucket;
    m->wprev = 0;

    if (*bucket) {
        ngx_push_set(((ngx_push_message_t *) ngx_push_ptr(*bucket))->wprev,
                     ref);
    }

    ngx_push_set(*bucket, ref);
}


void
ngx_push_message_end(ngx_push_shard_t *sh, ngx_push_message_t *m)
{
    ngx_push_log_t  *log;
    ngx_push_ref_t  *bucket, ref;

    if (m->slot.used == NGX_PUSH_MSG_LIMBO) {
        return;
    }

    ref = ngx_push_ref(m);

    if (m->slot.used == NGX_PUSH_MSG_STORED) {
        log = ngx_push_ptr(m->log);

        if (m->prev) {
            ngx_push_set(((ngx_push_message_t *) ngx_push_ptr(m->prev))->next,
                         m->next);
        } else {
            ngx_push_set(log->head, m->next);
        }

        if (m->next) {
            ngx_push_set(((ngx_push_message_t *) ngx_push_ptr(m->next))->prev,
                         m->prev);
        } else {
            ngx_push_set(log->tail, m->prev);
        }

        ngx_push_set(log->count, log->count - 1);

        if (log->count == 0) {
            ngx_push_log_idle(sh, log);
        }
    }

    if (m->expire) {
        bucket = (ngx_push_ref_t *) (ngx_push_zone->base + sh->wheel)
                 + m->expire % NGX_PUSH_WHEEL;

        if (m->wprev) {
            ngx_push_set(((ngx_push_message_t *)
                                            ngx_push_ptr(m->wprev))->wnext,
                         m->wnext);
        } else if (*bucket == ref) {
            ngx_push_set(*bucket, m->wnext);
        }

        if (m->wnext) {
            ngx_push_set(((ngx_push_message_t *)
                                            ngx_push_ptr(m->wnext))->wprev,
                         m->wprev);
        }
    }

    ngx_push_set(m->slot.used, NGX_PUSH_MSG_LIMBO);
    ngx_push_list_append(&sh->limbo, m, offsetof(ngx_push_message_t, next));
}


/*
 * A pin is set under this shard's lock, before the message could get into
 * limbo under the same lock: so a pin that matters is seen here.
 */

ngx_uint_t
ngx_push_message_reclaim(ngx_push_shard_t *sh, ngx_uint_t max)
{
    ngx_uint_t           n, npins;
    ngx_push_ref_t       ref, pins[4 * NGX_PUSH_PINS];
    ngx_push_message_t  *m;

    if (sh->limbo.head == 0) {
        return 0;
    }

    npins = ngx_push_message_pins(pins, 4 * NGX_PUSH_PINS);

    if (npins == 4 * NGX_PUSH_PINS) {

        /* more than fit: everybody is busy sending, try another time */

        return 0;
    }

    n = 0;

    for (ref = sh->limbo.head; ref && n < max; n++) {
        m = ngx_push_ptr(ref);
        ref = m->next;

        if (npins && ngx_push_message_pinned(ngx_push_ref(m), pins, npins)) {
            continue;
        }

        ngx_push_message_empty(sh, m);
        ngx_push_list_remove(&sh->limbo, m,
                             offsetof(ngx_push_message_t, next));
        ngx_push_free(sh, m);
        ngx_push_commit_long();
    }

    return n;
}


static ngx_uint_t
ngx_push_message_pins(ngx_push_ref_t *pins, ngx_uint_t max)
{
    uint32_t            k, npins;
    ngx_uint_t          i, n;
    ngx_push_worker_t  *w;

    n = 0;

    for (i = 0; i < ngx_push_zone->head->nworkers; i++) {
        w = ngx_push_worker_slot(i);

        if (w->state == NGX_PUSH_WORKER_FREE) {
            continue;
        }

        npins = w->npins;

        for (k = 0; k < npins && k < NGX_PUSH_PINS && n < max; k++) {
            pins[n++] = w->pins[k];
        }
    }

    return n;
}


static ngx_uint_t
ngx_push_message_pinned(ngx_push_ref_t ref, ngx_push_ref_t *pins,
    ngx_uint_t npins)
{
    ngx_uint_t  i;

    for (i = 0; i < npins; i++) {
        if (pins[i] == ref) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_push_pin(ngx_push_message_t *m)
{
    uint32_t            n;
    ngx_push_worker_t  *w;

    w = ngx_push_self;
    n = w->npins;

    if (n == NGX_PUSH_PINS) {
        return NGX_BUSY;
    }

    w->pins[n] = ngx_push_ref(m);
    ngx_memory_barrier();
    w->npins = n + 1;

    return NGX_OK;
}


void
ngx_push_unpin(void)
{
    ngx_memory_barrier();
    ngx_push_self->npins = ngx_push_held_pins;
}


void
ngx_push_unpin_last(void)
{
    ngx_push_self->npins--;
}


ngx_uint_t
ngx_push_pin_hold(void)
{
    ngx_uint_t  hold;

    hold = ngx_push_held_pins;
    ngx_push_held_pins = ngx_push_self->npins;

    return hold;
}


void
ngx_push_pin_release(ngx_uint_t hold)
{
    ngx_push_held_pins = hold;
    ngx_push_unpin();
}


ngx_uint_t
ngx_push_message_iov(ngx_push_message_t *m, size_t offset, struct iovec *iov,
    ngx_uint_t max)
{
    size_t             n, left;
    ngx_uint_t         i;
    ngx_push_chunk_t  *chunk;
    ngx_push_ref_t     ref;

    left = (size_t) m->ctype_len + m->props_len + m->size - offset;
    ref = m->chunk;
    i = 0;

    if (offset < NGX_PUSH_MSG_INLINE) {

        if (left && max) {
            n = ngx_min(left, NGX_PUSH_MSG_INLINE - offset);
            iov[i].iov_base = m->data + offset;
            iov[i++].iov_len = n;
            left -= n;
        }

        offset = 0;

    } else {
        offset -= NGX_PUSH_MSG_INLINE;
    }

    while (left && i < max) {
        chunk = ngx_push_ptr(ref);
        ref = chunk->next;

        if (offset >= NGX_PUSH_CHUNK_DATA) {
            offset -= NGX_PUSH_CHUNK_DATA;
            continue;
        }

        n = ngx_min(left, NGX_PUSH_CHUNK_DATA - offset);
        iov[i].iov_base = chunk->data + offset;
        iov[i++].iov_len = n;
        left -= n;
        offset = 0;
    }

    return i;
}


void
ngx_push_message_copy(ngx_push_message_t *m, size_t offset, size_t len,
    u_char *dst)
{
    size_t        n;
    ngx_uint_t    i, niov;
    struct iovec  iov[16];

    while (len) {
        niov = ngx_push_message_iov(m, offset, iov, 16);

        for (i = 0; i < niov && len; i++) {
            n = ngx_min(len, iov[i].iov_len);
            dst = ngx_cpymem(dst, iov[i].iov_base, n);
            offset += n;
            len -= n;
        }

        if (niov == 0) {
            return;
        }
    }
}
