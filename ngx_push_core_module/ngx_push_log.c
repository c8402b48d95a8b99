
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_sub.h"
#include "ngx_push_need.h"


#define NGX_PUSH_LOG_KEEP       60     /* seconds an empty log stays */
#define NGX_PUSH_SWEEP_STEPS    2000   /* of one call, under the lock */


static ngx_uint_t ngx_push_log_is(ngx_push_log_t *log, ngx_push_target_t *t,
    uint64_t hash);
static void ngx_push_log_forget(ngx_push_shard_t *sh, ngx_push_log_t *log);
static ngx_uint_t ngx_push_log_sweep_idle(ngx_push_shard_t *sh, uint32_t now,
    ngx_uint_t max);
static ngx_uint_t ngx_push_log_sweep_wheel(ngx_push_shard_t *sh,
    uint32_t now, ngx_uint_t max);


uint64_t
ngx_push_user_hash(ngx_str_t *user)
{
    return ngx_push_hash(0, user->data, user->len);
}


uint64_t
ngx_push_log_hash(ngx_push_kind_t kind, ngx_uint_t product, ngx_str_t *name)
{
    return ngx_push_hash(((uint64_t) kind + 1) << 32 | product, name->data,
                         name->len);
}


void
ngx_push_prefetch_user(ngx_str_t *user)
{
    uint64_t           hash;
    ngx_push_zone_t   *zone;
    ngx_push_shard_t  *sh;

    zone = ngx_push_zone;
    hash = ngx_push_user_hash(user);
    sh = &zone->shards[(hash >> 40) & (zone->head->nusers - 1)];

    __builtin_prefetch((ngx_push_ref_t *) (zone->base + sh->sessions)
                       + (hash & sh->mask));
}


ngx_push_shard_t *
ngx_push_begin_log(ngx_push_target_t *t)
{
    if (t->kind == NGX_PUSH_INBOX) {
        t->hash = ngx_push_user_hash(&t->name);

        return ngx_push_begin_user(t->hash);
    }

    t->hash = ngx_push_log_hash(t->kind, t->product->id, &t->name);

    return ngx_push_begin_channel(t->hash);
}


u_char *
ngx_push_log_name(ngx_push_log_t *log)
{
    if (log->longname) {
        return (u_char *) ngx_push_ptr(log->longname)
               + sizeof(ngx_push_slot_t);
    }

    return log->name;
}


static ngx_uint_t
ngx_push_log_is(ngx_push_log_t *log, ngx_push_target_t *t, uint64_t hash)
{
    return log->hash == hash
           && !(log->slot.flags & NGX_PUSH_LOG_STALE)
           && log->kind == t->kind
           && log->product == t->product->id
           && log->name_len == t->name.len
           && ngx_memcmp(ngx_push_log_name(log), t->name.data, t->name.len)
              == 0;
}


ngx_push_log_t *
ngx_push_log_find(ngx_push_shard_t *sh, ngx_push_target_t *t)
{
    uint64_t         hash;
    ngx_push_log_t  *log;
    ngx_push_ref_t  *table, ref;

    hash = ngx_push_log_hash(t->kind, t->product->id, &t->name);
    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->logs);

    for (ref = table[hash & sh->mask]; ref; ref = log->hnext) {
        log = ngx_push_ptr(ref);

        if (ngx_push_log_is(log, t, hash)) {
            return log;
        }
    }

    return NULL;
}


ngx_push_ref_t *
ngx_push_log_bucket(ngx_push_shard_t *sh, uint64_t hash)
{
    return (ngx_push_ref_t *) (ngx_push_zone->base + sh->logs)
           + (hash & sh->mask);
}


ngx_push_log_t *
ngx_push_log_get(ngx_push_shard_t *sh, ngx_push_target_t *t)
{
    ngx_push_log_t  *log;

    log = ngx_push_log_find(sh, t);

    return log ? log : ngx_push_log_make(sh, t);
}


ngx_push_log_t *
ngx_push_log_make(ngx_push_shard_t *sh, ngx_push_target_t *t)
{
    u_char           *name;
    ngx_push_log_t   *log;
    ngx_push_ref_t   *bucket;
    ngx_push_slot_t  *longname;

    log = ngx_push_alloc(sh, NGX_PUSH_LOG);

    if (log == NULL) {
        return NULL;
    }

    ngx_memzero((u_char *) log + sizeof(ngx_push_slot_t),
                sizeof(ngx_push_log_t) - sizeof(ngx_push_slot_t));

    name = log->name;

    if (t->name.len > NGX_PUSH_LOG_INLINE) {
        longname = ngx_push_alloc(sh, NGX_PUSH_LONGNAME);

        if (longname == NULL) {
            ngx_push_free(sh, log);
            return NULL;
        }

        log->longname = ngx_push_ref(longname);
        name = (u_char *) (longname + 1);
    }

    ngx_memcpy(name, t->name.data, t->name.len);

    log->kind = t->kind;
    log->name_len = t->name.len;
    log->product = t->product->id;
    log->hash = ngx_push_log_hash(t->kind, t->product->id, &t->name);

    /* that of a mirror is the store's, and not known yet */

    if (!ngx_push_mirrored) {
        log->incarnation = __sync_add_and_fetch(
                                       &ngx_push_zone->head->incarnation, 1);
    }

    bucket = ngx_push_log_bucket(sh, log->hash);

    log->hnext = *bucket;
    ngx_push_set(*bucket, ngx_push_ref(log));

    /* on the list to go until the sweep finds it in use */

    ngx_push_log_idle(sh, log);

    return log;
}


ngx_uint_t
ngx_push_log_limit(ngx_push_target_t *t)
{
    switch (t->kind) {

    case NGX_PUSH_INBOX:
        return t->product->inbox_limit;

    case NGX_PUSH_GROUP:
        return t->product->group_limit;

    case NGX_PUSH_BROADCAST:
        return t->product->broadcast_limit;

    default:
        return t->product->uplink_limit;
    }
}


/*
 * The list is lazy: a log that is used again stays on it, and the sweep takes
 * it off; one that fills and empties all the time is moved to the end every
 * half of its time only.  "empty" is when it was put there, so the list is in
 * that order, and who stands first holds up nobody.
 */

void
ngx_push_log_idle(ngx_push_shard_t *sh, ngx_push_log_t *log)
{
    uint32_t  now;

    now = ngx_push_now();

    if (log->empty) {

        if (log->empty + NGX_PUSH_LOG_KEEP / 2 > now) {
            return;
        }

        ngx_push_list_remove(&sh->idle, log, offsetof(ngx_push_log_t, inext));
    }

    ngx_push_set(log->empty, now);
    ngx_push_list_append(&sh->idle, log, offsetof(ngx_push_log_t, inext));
}


static void
ngx_push_log_forget(ngx_push_shard_t *sh, ngx_push_log_t *log)
{
    ngx_push_ref_t     *p, ref;
    ngx_push_member_t  *member;

    ref = ngx_push_ref(log);
    p = ngx_push_log_bucket(sh, log->hash);

    if (log->known > log->last && log->kind == NGX_PUSH_INBOX
        && ngx_push_mirrored)
    {
        ngx_push_need_forget(sh, log);
    }

    while (*p != ref) {
        p = &((ngx_push_log_t *) ngx_push_ptr(*p))->hnext;
    }

    ngx_push_set(*p, log->hnext);

    while (log->members) {
        member = ngx_push_ptr(log->members);
        ngx_push_set(log->members, member->next);
        ngx_push_free(sh, member);
        ngx_push_commit_long();
    }

    if (log->longname) {
        ngx_push_free(sh, ngx_push_ptr(log->longname));
    }

    ngx_push_list_remove(&sh->idle, log, offsetof(ngx_push_log_t, inext));
    ngx_push_free(sh, log);
}


ngx_push_message_t *
ngx_push_log_after(ngx_push_log_t *log, uint64_t seq, ngx_push_ref_t hint)
{
    ngx_push_ref_t       ref;
    ngx_push_message_t  *m;

    if (log->tail == 0) {
        return NULL;
    }

    m = ngx_push_ptr(log->tail);

    if (m->seq <= seq) {
        return NULL;
    }

    if (m->prev == 0
        || ((ngx_push_message_t *) ngx_push_ptr(m->prev))->seq <= seq)
    {
        return m;
    }

    /* the hint is of this shard, but may be anything by now */

    m = ngx_push_record(hint, NGX_PUSH_MESSAGE);

    if (m && m->slot.used == NGX_PUSH_MSG_STORED
        && m->log == ngx_push_ref(log) && m->seq == seq && m->next)
    {
        return ngx_push_ptr(m->next);
    }

    m = ngx_push_ptr(log->head);

    if (log->last - seq > seq - m->seq) {

        for (ref = log->head; ref; ref = m->next) {
            m = ngx_push_ptr(ref);

            if (m->seq > seq) {
                break;
            }
        }

        return m;
    }

    for (m = ngx_push_ptr(log->tail); m->prev; m = ngx_push_ptr(ref)) {
        ref = m->prev;

        if (((ngx_push_message_t *) ngx_push_ptr(ref))->seq <= seq) {
            break;
        }
    }

    return m;
}


void
ngx_push_log_append(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *m)
{
    ngx_push_ref_t  ref;

    ref = ngx_push_ref(m);

    m->log = ngx_push_ref(log);
    m->seq = log->last + 1;
    m->next = 0;
    m->prev = log->tail;

    ngx_push_set(log->last, m->seq);

    if (log->tail) {
        ngx_push_set(((ngx_push_message_t *) ngx_push_ptr(log->tail))->next,
                     ref);

    } else {
        ngx_push_set(log->head, ref);
    }

    ngx_push_set(log->tail, ref);
    ngx_push_set(log->count, log->count + 1);
    ngx_push_set(m->slot.used, NGX_PUSH_MSG_STORED);
}


void
ngx_push_log_insert(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *prev, ngx_push_message_t *m, uint64_t seq)
{
    ngx_push_ref_t  ref;

    ref = ngx_push_ref(m);

    m->log = ngx_push_ref(log);
    m->seq = seq;
    m->prev = prev ? ngx_push_ref(prev) : 0;
    m->next = prev ? prev->next : log->head;

    if (prev) {
        ngx_push_set(prev->next, ref);

    } else {
        ngx_push_set(log->head, ref);
    }

    if (m->next) {
        ngx_push_set(((ngx_push_message_t *) ngx_push_ptr(m->next))->prev,
                     ref);
    } else {
        ngx_push_set(log->tail, ref);
    }

    ngx_push_set(log->count, log->count + 1);
    ngx_push_set(m->slot.used, NGX_PUSH_MSG_STORED);
}


void
ngx_push_log_trim(ngx_push_shard_t *sh, ngx_push_log_t *log, uint64_t seq)
{
    ngx_push_message_t  *m;

    while (log->head) {
        m = ngx_push_ptr(log->head);

        if (m->seq > seq) {
            break;
        }

        if (m->seq <= log->floor) {

            /* an answer is being filled in that has to know */

            ngx_push_set(log->slot.flags,
                         log->slot.flags + NGX_PUSH_LOG_SHED);
        }

        ngx_push_message_end(sh, m);
        ngx_push_commit_long();
    }

    if (seq > log->acked) {
        ngx_push_set(log->acked, seq);
    }

    if (ngx_push_mirrored) {

        /* a device of another node may not have them: they are not ended */

        if (seq > log->floor) {
            ngx_push_set(log->floor, seq);
        }

        if (seq > log->last) {
            ngx_push_set(log->last, seq);
        }
    }
}


void
ngx_push_log_drop(ngx_push_shard_t *sh, ngx_push_message_t *m)
{
    ngx_push_log_t  *log;

    if (m->slot.used == NGX_PUSH_MSG_STORED) {
        log = ngx_push_ptr(m->log);

        if (m->seq > log->ended) {
            ngx_push_set(log->ended, m->seq);
        }
    }

    ngx_push_message_end(sh, m);
}


ngx_uint_t
ngx_push_log_sweep(ngx_push_shard_t *sh, uint32_t now)
{
    ngx_uint_t  n;

    n = ngx_push_message_reclaim(sh, NGX_PUSH_SWEEP_STEPS);
    n += ngx_push_log_sweep_wheel(sh, now, NGX_PUSH_SWEEP_STEPS);
    n += ngx_push_log_sweep_idle(sh, now, NGX_PUSH_SWEEP_STEPS);

    return n;
}


static ngx_uint_t
ngx_push_log_sweep_wheel(ngx_push_shard_t *sh, uint32_t now, ngx_uint_t max)
{
    ngx_uint_t           n;
    ngx_push_ref_t      *wheel, ref;
    ngx_push_message_t  *m;

    wheel = (ngx_push_ref_t *) (ngx_push_zone->base + sh->wheel);

    /* after a long stop one round sees everything */

    if (now - sh->wheel_at > NGX_PUSH_WHEEL) {
        ngx_push_set(sh->wheel_at, now - NGX_PUSH_WHEEL);
    }

    n = 0;

    while (sh->wheel_at < now) {

        for (ref = wheel[sh->wheel_at % NGX_PUSH_WHEEL]; ref; n++) {
            m = ngx_push_ptr(ref);
            ref = m->wnext;

            if (m->expire > now) {
                continue;
            }

            if (m->slot.used == NGX_PUSH_MSG_STORED) {
                ngx_push_count(drops[NGX_PUSH_DROP_EXPIRED]);
            }

            ngx_push_log_drop(sh, m);
            ngx_push_commit_long();

            if (n >= max) {

                /* this second again next time: what is done is gone */

                return n;
            }
        }

        ngx_push_set(sh->wheel_at, sh->wheel_at + 1);
        ngx_push_commit_long();
    }

    return n;
}


static ngx_uint_t
ngx_push_log_sweep_idle(ngx_push_shard_t *sh, uint32_t now, ngx_uint_t max)
{
    ngx_uint_t       n;
    ngx_push_log_t  *log;

    for (n = 0; sh->idle.head && n < max; n++) {
        log = ngx_push_ptr(sh->idle.head);

        if (log->count || log->subs || log->interest) {

            /* "interest": the register says when the store has forgotten it */

            ngx_push_list_remove(&sh->idle, log,
                                 offsetof(ngx_push_log_t, inext));
            ngx_push_set(log->empty, 0);

        } else if (log->empty + NGX_PUSH_LOG_KEEP > now) {

            if (ngx_push_zone->head->free_pages > 0) {
                break;
            }

            ngx_push_log_forget(sh, log);

        } else {
            ngx_push_log_forget(sh, log);
        }

        ngx_push_commit_long();
    }

    return n;
}


u_char *
ngx_push_id_print(u_char *p, uint64_t incarnation, uint64_t seq)
{
    return ngx_sprintf(p, "%xL-%uL", incarnation, seq);
}


ngx_int_t
ngx_push_id_parse(ngx_str_t *id, uint64_t *incarnation, uint64_t *seq)
{
    u_char    *p, *last, c;
    uint64_t   v;

    p = id->data;
    last = p + id->len;

    for (v = 0; p < last && *p != '-'; p++) {
        c = *p;

        if (v >> 60) {
            return NGX_ERROR;
        }

        if (c >= '0' && c <= '9') {
            v = v << 4 | (c - '0');

        } else if (c >= 'a' && c <= 'f') {
            v = v << 4 | (c - 'a' + 10);

        } else {
            return NGX_ERROR;
        }
    }

    if (p == id->data || v == 0 || last - p < 2 || last - p > 20) {
        return NGX_ERROR;
    }

    *incarnation = v;

    for (p++, v = 0; p < last; p++) {

        if (*p < '0' || *p > '9') {
            return NGX_ERROR;
        }

        v = v * 10 + (*p - '0');
    }

    *seq = v;

    return NGX_OK;
}
