
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_idem.h"


#define NGX_PUSH_IDEM_STEPS    2000    /* of one sweep, under the lock */
#define NGX_PUSH_IDEM_MARKED   60      /* seconds between looks at a mark */


static u_char *ngx_push_idem_key(ngx_push_idem_t *k);
static ngx_push_ref_t *ngx_push_idem_bucket(ngx_push_shard_t *sh,
    uint32_t hash);
static ngx_push_idem_t *ngx_push_idem_search(ngx_push_shard_t *sh,
    uint32_t hash, ngx_push_ref_t target, ngx_push_target_t *t,
    ngx_str_t *key);
static ngx_push_idem_t *ngx_push_idem_make(ngx_push_shard_t *sh,
    uint32_t hash, ngx_str_t *key);
static ngx_push_idem_t *ngx_push_idem_look(ngx_push_shard_t *sh,
    ngx_push_target_t *t, ngx_str_t *key);
static ngx_push_idem_t *ngx_push_idem_add(ngx_push_shard_t *sh,
    ngx_push_target_t *t, ngx_str_t *key, ngx_int_t *rc);
static void ngx_push_idem_drop(ngx_push_shard_t *sh, ngx_push_idem_t *k);
static void ngx_push_idem_release(ngx_push_shard_t *sh, ngx_push_idem_t *k);


#define ngx_push_idem_target_hash(t)                                          \
    ((uint32_t) ngx_push_log_hash((t)->kind, (t)->product->id, &(t)->name))

#define ngx_push_idem_key_hash(target, key)                                   \
    ((uint32_t) ngx_push_hash((uint64_t) 1 << 48 | (target), (key)->data,     \
                              (key)->len))


static u_char *
ngx_push_idem_key(ngx_push_idem_t *k)
{
    if (k->longkey) {
        return ((ngx_push_longkey_t *) ngx_push_ptr(k->longkey))->key;
    }

    return k->key;
}


static ngx_push_ref_t *
ngx_push_idem_bucket(ngx_push_shard_t *sh, uint32_t hash)
{
    return (ngx_push_ref_t *) (ngx_push_zone->base + sh->idems)
           + (hash & sh->mask);
}


/* A key of "target"; or, target 0, the record of "t", whose name is "key". */

static ngx_push_idem_t *
ngx_push_idem_search(ngx_push_shard_t *sh, uint32_t hash,
    ngx_push_ref_t target, ngx_push_target_t *t, ngx_str_t *key)
{
    ngx_push_ref_t    ref;
    ngx_push_idem_t  *k;

    for (ref = *ngx_push_idem_bucket(sh, hash); ref; ref = k->hnext) {
        k = ngx_push_ptr(ref);

        if (k->hash != hash || k->target != target || k->key_len != key->len
            || ngx_memcmp(ngx_push_idem_key(k), key->data, key->len) != 0)
        {
            continue;
        }

        if (target || (k->kind == t->kind && k->product == t->product->id)) {
            return k;
        }
    }

    return NULL;
}


static ngx_push_idem_t *
ngx_push_idem_make(ngx_push_shard_t *sh, uint32_t hash, ngx_str_t *key)
{
    u_char              *p;
    ngx_push_ref_t      *bucket;
    ngx_push_idem_t     *k;
    ngx_push_longkey_t  *longkey;

    k = ngx_push_alloc(sh, NGX_PUSH_IDEM);

    if (k == NULL) {
        return NULL;
    }

    ngx_memzero((u_char *) k + sizeof(ngx_push_slot_t),
                sizeof(ngx_push_idem_t) - sizeof(ngx_push_slot_t));

    p = k->key;

    if (key->len > NGX_PUSH_IDEM_INLINE) {
        longkey = ngx_push_alloc(sh, NGX_PUSH_LONGKEY);

        if (longkey == NULL) {
            ngx_push_free(sh, k);
            return NULL;
        }

        k->longkey = ngx_push_ref(longkey);
        p = longkey->key;
    }

    ngx_memcpy(p, key->data, key->len);

    k->key_len = key->len;
    k->hash = hash;

    bucket = ngx_push_idem_bucket(sh, hash);

    k->hnext = *bucket;
    ngx_push_set(*bucket, ngx_push_ref(k));

    return k;
}


/* Out of the table and given back; a target or a key. */

static void
ngx_push_idem_release(ngx_push_shard_t *sh, ngx_push_idem_t *k)
{
    ngx_push_ref_t  *p, ref;

    ref = ngx_push_ref(k);

    for (p = ngx_push_idem_bucket(sh, k->hash);
         *p != ref;
         p = &((ngx_push_idem_t *) ngx_push_ptr(*p))->hnext)
    {
        /* void */
    }

    ngx_push_set(*p, k->hnext);

    if (k->longkey) {
        ngx_push_free(sh, ngx_push_ptr(k->longkey));
    }

    ngx_push_free(sh, k);
}


static void
ngx_push_idem_drop(ngx_push_shard_t *sh, ngx_push_idem_t *k)
{
    ngx_push_idem_t  *target;

    target = ngx_push_ptr(k->target);

    ngx_push_list_remove(&sh->keys, k, offsetof(ngx_push_idem_t, next));
    ngx_push_idem_release(sh, k);

    ngx_push_set(target->count, target->count - 1);

    if (target->count == 0) {
        ngx_push_idem_release(sh, target);
    }
}


/* The key if it counts; one that no longer does is dropped. */

static ngx_push_idem_t *
ngx_push_idem_look(ngx_push_shard_t *sh, ngx_push_target_t *t, ngx_str_t *key)
{
    ngx_push_ref_t    ref;
    ngx_push_idem_t  *k, *target;

    target = ngx_push_idem_search(sh, ngx_push_idem_target_hash(t), 0, t,
                                  &t->name);
    if (target == NULL) {
        return NULL;
    }

    ref = ngx_push_ref(target);

    k = ngx_push_idem_search(sh, ngx_push_idem_key_hash(ref, key), ref, t,
                             key);
    if (k == NULL) {
        return NULL;
    }

    if (k->slot.used == NGX_PUSH_IDEM_DONE
        ? k->until > ngx_push_now()
        : ngx_push_worker_alive((uint32_t) k->seq,
                                (uint32_t) k->incarnation))
    {
        return k;
    }

    ngx_push_idem_drop(sh, k);

    return NULL;
}


static ngx_push_idem_t *
ngx_push_idem_add(ngx_push_shard_t *sh, ngx_push_target_t *t, ngx_str_t *key,
    ngx_int_t *rc)
{
    uint32_t          hash;
    ngx_push_ref_t    ref;
    ngx_push_conf_t  *pcf;
    ngx_push_idem_t  *k, *target;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);
    hash = ngx_push_idem_target_hash(t);

    target = ngx_push_idem_search(sh, hash, 0, t, &t->name);

    if (target && target->count >= pcf->idempotency_limit) {
        *rc = NGX_PUSH_LIMITED;
        goto refused;
    }

    *rc = ngx_push_keys_full() ? NGX_PUSH_LIMITED : NGX_PUSH_FULL;

    if (target == NULL) {
        target = ngx_push_idem_make(sh, hash, &t->name);

        if (target == NULL) {
            goto refused;
        }

        target->slot.used = NGX_PUSH_IDEM_TARGET;
        target->kind = t->kind;
        target->product = t->product->id;
    }

    ref = ngx_push_ref(target);

    k = ngx_push_idem_make(sh, ngx_push_idem_key_hash(ref, key), key);

    if (k == NULL) {

        if (target->count == 0) {
            ngx_push_idem_release(sh, target);
        }

        goto refused;
    }

    k->target = ref;
    ngx_push_set(target->count, target->count + 1);
    ngx_push_list_append(&sh->keys, k, offsetof(ngx_push_idem_t, next));

    return k;

refused:

    if (*rc == NGX_PUSH_LIMITED) {
        ngx_push_count(drops[NGX_PUSH_DROP_KEYS]);
    }

    return NULL;
}


ngx_int_t
ngx_push_idem_find(ngx_push_shard_t *sh, ngx_push_save_t *op)
{
    ngx_push_idem_t  *k;

    k = ngx_push_idem_look(sh, &op->target, &op->key);

    if (k == NULL) {
        return NGX_DECLINED;
    }

    if (k->slot.used == NGX_PUSH_IDEM_MARK) {
        return NGX_PUSH_PROGRESS;
    }

    if (k->fingerprint != op->fingerprint) {
        return NGX_PUSH_MISMATCH;
    }

    op->incarnation = k->incarnation;
    op->seq = k->seq;
    op->reached = k->count;
    op->expires = k->expires;
    op->ttl = k->ttl;
    op->replayed = 1;

    ngx_push_count(replayed);

    return NGX_OK;
}


ngx_push_idem_t *
ngx_push_idem_new(ngx_push_shard_t *sh, ngx_push_save_t *op, ngx_int_t *rc)
{
    ngx_push_conf_t  *pcf;
    ngx_push_idem_t  *k;

    k = ngx_push_idem_add(sh, &op->target, &op->key, rc);

    if (k) {
        pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

        k->fingerprint = op->fingerprint;
        k->until = ngx_push_now() + (uint32_t) pcf->idempotency_keep;
    }

    return k;
}


void
ngx_push_idem_done(ngx_push_idem_t *k, ngx_push_save_t *op)
{
    k->incarnation = op->incarnation;
    k->seq = op->seq;
    k->count = (uint32_t) op->reached;
    k->expires = op->expires;
    k->ttl = (uint32_t) op->ttl;
}


/*
 * The list is in the order of time as long as "idempotency_keep" stays what
 * it is.  After a reload that made it less, keys stay up to the former time.
 */

ngx_uint_t
ngx_push_idem_sweep(ngx_push_shard_t *sh, uint32_t now)
{
    ngx_uint_t        n;
    ngx_push_idem_t  *k;

    for (n = 0; sh->keys.head && n < NGX_PUSH_IDEM_STEPS; n++) {
        k = ngx_push_ptr(sh->keys.head);

        if (k->until > now) {
            break;
        }

        if (k->slot.used == NGX_PUSH_IDEM_MARK
            && ngx_push_worker_alive((uint32_t) k->seq,
                                     (uint32_t) k->incarnation))
        {
            ngx_push_set(k->until, now + NGX_PUSH_IDEM_MARKED);
            ngx_push_list_remove(&sh->keys, k,
                                 offsetof(ngx_push_idem_t, next));
            ngx_push_list_append(&sh->keys, k,
                                 offsetof(ngx_push_idem_t, next));

        } else {
            ngx_push_idem_drop(sh, k);
        }

        ngx_push_commit_long();
    }

    return n;
}


ngx_int_t
ngx_push_idem_enter(ngx_push_target_t *t, ngx_str_t *key)
{
    ngx_int_t          rc;
    ngx_push_idem_t   *k;
    ngx_push_shard_t  *sh;

    sh = ngx_push_begin_log(t);

    k = ngx_push_idem_look(sh, t, key);

    if (k && k->slot.used == NGX_PUSH_IDEM_MARK) {
        ngx_push_end();
        return NGX_PUSH_PROGRESS;
    }

    /* an answer of the time before there was such a store; it has its own */

    if (k) {
        ngx_push_idem_drop(sh, k);
    }

    k = ngx_push_idem_add(sh, t, key, &rc);

    if (k) {
        k->slot.used = NGX_PUSH_IDEM_MARK;
        k->seq = ngx_push_self->index;
        k->incarnation = ngx_push_self->gen;
        k->until = ngx_push_now() + NGX_PUSH_IDEM_MARKED;
        rc = NGX_OK;
    }

    ngx_push_end();

    return rc;
}


void
ngx_push_idem_leave(ngx_push_target_t *t, ngx_str_t *key)
{
    ngx_push_idem_t   *k;
    ngx_push_shard_t  *sh;

    sh = ngx_push_begin_log(t);

    k = ngx_push_idem_look(sh, t, key);

    if (k && k->slot.used == NGX_PUSH_IDEM_MARK
        && k->seq == ngx_push_self->index
        && k->incarnation == ngx_push_self->gen)
    {
        ngx_push_idem_drop(sh, k);
    }

    ngx_push_end();
}
