
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_IDEM_H_INCLUDED_
#define _NGX_PUSH_IDEM_H_INCLUDED_


/*
 * Idempotency keys in the zone, by target and key.
 *
 * With the embedded store a key is made together with what it was given for,
 * in one transaction, and holds the answer for "idempotency_keep".  With a
 * store that answers later the store keeps the answers, and the zone only
 * marks which keys are under way at this node.  A mark is its process's: that
 * of one which has died does not count.
 *
 * All of a target's keys are in the shard of its log.  They end by time, or
 * not at all: one that was forgotten early would let a message in twice.  So
 * when there are too many, new ones are refused.
 */


#include "ngx_push_store.h"


#define NGX_PUSH_KEY_MAX        255
#define NGX_PUSH_IDEM_INLINE    48


/* states of the record, in its slot.used */

#define NGX_PUSH_IDEM_DONE      1      /* the push was accepted */
#define NGX_PUSH_IDEM_MARK      2      /* it is under way */
#define NGX_PUSH_IDEM_TARGET    3      /* not a key: what keys are of */


typedef struct {
    ngx_push_slot_t      slot;
    ngx_push_ref_t       hnext;
    uint32_t             hash;
    ngx_push_ref_t       next;         /* keys of the shard, oldest first */
    ngx_push_ref_t       prev;
    ngx_push_ref_t       target;       /* key: whose */
    ngx_push_ref_t       longkey;      /* when it does not fit inline */
    uint64_t             fingerprint;
    uint64_t             incarnation;  /* mark: generation of the worker */
    uint64_t             seq;          /* mark: slot of the worker */
    int64_t              expires;      /* wall clock, as it was answered */
    uint32_t             until;        /* zone second */
    uint32_t             ttl;          /* as granted */
    uint32_t             count;        /* devices reached; target: its keys */
    uint16_t             product;      /* target */
    uint8_t              kind;         /* target */
    uint8_t              key_len;
    u_char               key[NGX_PUSH_IDEM_INLINE];
                                       /* target: its name */
} ngx_push_idem_t;


typedef struct {
    ngx_push_slot_t      slot;
    u_char               key[NGX_PUSH_KEY_MAX];
} ngx_push_longkey_t;


/*
 * Under the lock of the target's shard.  NGX_DECLINED: nothing is known of
 * the key; NGX_OK: "op" has the answer of the first, and is "replayed";
 * NGX_PUSH_MISMATCH, NGX_PUSH_PROGRESS.
 */

ngx_int_t ngx_push_idem_find(ngx_push_shard_t *sh, ngx_push_save_t *op);

/*
 * After that: a record for op's key, part of the transaction.  What was
 * answered is noted in it by _done(), before the commit.  NULL: "*rc" is
 * NGX_PUSH_LIMITED or NGX_PUSH_FULL, nothing is kept.
 */

ngx_push_idem_t *ngx_push_idem_new(ngx_push_shard_t *sh, ngx_push_save_t *op,
    ngx_int_t *rc);
void ngx_push_idem_done(ngx_push_idem_t *k, ngx_push_save_t *op);

/* Bounded: keys whose time is over.  Number of steps done. */

ngx_uint_t ngx_push_idem_sweep(ngx_push_shard_t *sh, uint32_t now);


/*
 * For stores that answer later; called with no lock held.  NGX_OK: marked,
 * and _leave() is to be called when the answer is there, whatever it is, or
 * nothing was sent; NGX_PUSH_PROGRESS: a process of this node has the key
 * under way; NGX_PUSH_LIMITED: too many keys; NGX_PUSH_FULL: no room.
 */

ngx_int_t ngx_push_idem_enter(ngx_push_target_t *t, ngx_str_t *key);
void ngx_push_idem_leave(ngx_push_target_t *t, ngx_str_t *key);


#endif /* _NGX_PUSH_IDEM_H_INCLUDED_ */
