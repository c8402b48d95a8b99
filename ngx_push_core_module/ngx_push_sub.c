
/*
 * Copyright (C) the ngx_push authors
 */


/* Subscriptions: bound, joined, left, asleep, forgotten. */


#include "ngx_push_sub.h"


#define NGX_PUSH_MEMBER_HINTS  1024

#define NGX_PUSH_SUB_RESTORED  1       /* in slot.flags, during a claim */

#define ngx_push_member_hint(log)                                             \
    (&ngx_push_member_hints[(ngx_push_ref(log) * 2654435761U) >> 22])


static ngx_push_sub_t *ngx_push_sub_find(ngx_push_session_t *s,
    ngx_push_target_t *t, uint64_t hash, ngx_uint_t *count);
static ngx_int_t ngx_push_sub_add(ngx_push_shard_t *sh,
    ngx_push_session_t *s, ngx_push_target_t *t, ngx_uint_t how,
    ngx_uint_t qos, uint32_t id);
static ngx_push_sub_t *ngx_push_sub_new(ngx_push_shard_t *sh,
    ngx_push_session_t *s, ngx_push_target_t *t);
static ngx_int_t ngx_push_sub_open(ngx_push_shard_t *sh,
    ngx_push_session_t *s, ngx_push_sub_t *sub, ngx_push_target_t *t,
    uint64_t hash);
static void ngx_push_sub_merge(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub, ngx_push_sub_t *as, ngx_uint_t newer);
static ngx_int_t ngx_push_sub_attach(ngx_push_sub_t *sub,
    ngx_push_target_t *t, uint64_t hash);
static ngx_int_t ngx_push_member_join(ngx_push_shard_t *ch,
    ngx_push_session_t *s, ngx_push_sub_t *sub, ngx_push_log_t *log);
static void ngx_push_member_leave(ngx_push_shard_t *ch,
    ngx_push_session_t *s, ngx_push_sub_t *sub, ngx_push_log_t *log);
static void ngx_push_sub_leave(ngx_push_session_t *s, ngx_push_sub_t *sub);
static void ngx_push_sub_free(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub);


/*
 * Where this worker's member record of a log was last: every connect and
 * disconnect needs the one of a broadcast, and would walk past those of all
 * other workers, which these keep changing, under a lock that all want.
 */

static ngx_push_ref_t  ngx_push_member_hints[NGX_PUSH_MEMBER_HINTS];


static ngx_push_sub_t *
ngx_push_sub_find(ngx_push_session_t *s, ngx_push_target_t *t, uint64_t hash,
    ngx_uint_t *count)
{
    ngx_uint_t       n;
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub;
    ngx_push_log_t  *log;

    n = 0;

    for (ref = s->subs; ref; ref = sub->next, n++) {
        sub = ngx_push_ptr(ref);

        if (sub->kind != t->kind || sub->product != t->product->id) {
            continue;
        }

        if (sub->kind == NGX_PUSH_GROUP) {
            log = ngx_push_ptr(sub->log);

            if (log->hash != hash || log->name_len != t->name.len
                || ngx_memcmp(ngx_push_log_name(log), t->name.data,
                              t->name.len)
                   != 0)
            {
                continue;
            }
        }

        return sub;
    }

    *count = n;

    return NULL;
}


ngx_int_t
ngx_push_subscribe(ngx_push_conn_t *conn, ngx_push_target_t *t, ngx_uint_t n,
    ngx_uint_t how, ngx_uint_t qos, uint32_t id)
{
    ngx_int_t            rc;
    ngx_uint_t           i;
    ngx_push_shard_t    *sh;
    ngx_push_session_t  *s;

    s = ngx_push_session_lock(conn, &sh);

    if (s == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_OK;

    for (i = 0; i < n && rc == NGX_OK; i++) {
        rc = ngx_push_sub_add(sh, s, &t[i], how, qos, id);
    }

    if (rc != NGX_OK) {
        ngx_push_rollback();
    }

    ngx_push_end();

    return rc;
}


/* May leave the lock of a channel held, and when it fails half a change. */

static ngx_int_t
ngx_push_sub_add(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_target_t *t, ngx_uint_t how, ngx_uint_t qos, uint32_t id)
{
    uint8_t          flags;
    uint64_t         hash;
    ngx_uint_t       count;
    ngx_push_sub_t  *sub;

    /* an inbox is found by its user */

    hash = (t->kind == NGX_PUSH_INBOX)
           ? 0 : ngx_push_log_hash(t->kind, t->product->id, &t->name);

    sub = ngx_push_sub_find(s, t, hash, &count);

    if (sub == NULL) {

        if (count >= NGX_PUSH_SUBS_MAX) {
            return NGX_PUSH_FULL;
        }

        sub = ngx_push_sub_new(sh, s, t);

        if (sub == NULL) {
            return NGX_PUSH_FULL;
        }
    }

    flags = sub->flags | (how & NGX_PUSH_SUB_BOUND);

    if (how & NGX_PUSH_SUB_BIND) {
        flags &= ~NGX_PUSH_SUB_BIND_QOS1;
        flags |= qos ? NGX_PUSH_SUB_BIND_QOS1 : 0;
        ngx_push_set(sub->id[0], id);

    } else {
        flags &= ~(NGX_PUSH_SUB_OWN_QOS1|NGX_PUSH_SUB_NO_LOCAL);
        flags |= qos ? NGX_PUSH_SUB_OWN_QOS1 : 0;
        flags |= how & NGX_PUSH_SUB_NO_LOCAL;
        ngx_push_set(sub->id[1], id);
    }

    ngx_push_set(sub->flags, flags);

    if (flags & NGX_PUSH_SUB_MEMBER) {
        return NGX_OK;
    }

    return ngx_push_sub_open(sh, s, sub, t, hash);
}


static ngx_push_sub_t *
ngx_push_sub_new(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_target_t *t)
{
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub, *after, *next;

    sub = ngx_push_alloc(sh, NGX_PUSH_SUB);

    if (sub == NULL) {
        return NULL;
    }

    ngx_memzero((u_char *) sub + sizeof(ngx_push_slot_t),
                sizeof(ngx_push_sub_t) - sizeof(ngx_push_slot_t));

    sub->session = ngx_push_ref(s);
    sub->kind = t->kind;
    sub->product = t->product->id;

    /* inboxes come first, all of them: they are what is looked for most */

    after = NULL;

    if (t->kind != NGX_PUSH_INBOX) {

        for (ref = s->subs; ref; ref = next->next) {
            next = ngx_push_ptr(ref);

            if (next->kind != NGX_PUSH_INBOX) {
                break;
            }

            after = next;
        }
    }

    if (after) {
        sub->next = after->next;
        ngx_push_set(after->next, ngx_push_ref(sub));

    } else {
        sub->next = s->subs;
        ngx_push_set(s->subs, ngx_push_ref(sub));
    }

    return sub;
}


/* A new cursor is set, a channel's member list is entered. */

static ngx_int_t
ngx_push_sub_open(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub, ngx_push_target_t *t, uint64_t hash)
{
    ngx_push_log_t    *log;
    ngx_push_shard_t  *ch;

    if (sub->kind == NGX_PUSH_INBOX) {

        /* it starts before whatever the log holds: that is cursor 0 */

        return NGX_OK;
    }

    ch = ngx_push_begin_channel(hash);

    if (sub->log == 0) {
        log = ngx_push_log_get(ch, t);

        if (log == NULL) {
            return NGX_PUSH_FULL;
        }

        ngx_push_set(log->subs, log->subs + 1);
        ngx_push_set(sub->log, ngx_push_ref(log));
        ngx_push_set(sub->incarnation, log->incarnation);
        ngx_push_set(sub->sent, ngx_max(log->last, log->known));

    } else {
        log = ngx_push_ptr(sub->log);
    }

    return ngx_push_member_join(ch, s, sub, log);
}


ngx_push_member_t *
ngx_push_member_find(ngx_push_log_t *log, uint32_t worker,
    uint32_t worker_gen)
{
    ngx_push_ref_t      ref, *hint;
    ngx_push_member_t  *member;

    hint = ngx_push_member_hint(log);

    /* of the log's shard, and so under the lock that is held */

    if (ngx_push_owner(*hint, NGX_PUSH_MEMBER)
        == ngx_push_owner(ngx_push_ref(log), NGX_PUSH_LOG))
    {
        member = ngx_push_record(*hint, NGX_PUSH_MEMBER);

        if (member && member->log == ngx_push_ref(log)
            && member->worker == worker && member->worker_gen == worker_gen)
        {
            return member;
        }
    }

    for (ref = log->members; ref; ref = member->next) {
        member = ngx_push_ptr(ref);

        if (member->worker == worker && member->worker_gen == worker_gen) {

            if (worker == ngx_push_self->index) {
                *hint = ref;
            }

            return member;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_push_member_join(ngx_push_shard_t *ch, ngx_push_session_t *s,
    ngx_push_sub_t *sub, ngx_push_log_t *log)
{
    ngx_push_sub_t     *head;
    ngx_push_member_t  *member;

    if (log->members == 0 && ngx_push_mirrored) {

        /* nobody may have told this node of what came meanwhile */

        ngx_push_set(log->check, 0);
    }

    member = ngx_push_member_find(log, s->worker, s->worker_gen);

    if (member == NULL) {
        member = ngx_push_alloc(ch, NGX_PUSH_MEMBER);

        if (member == NULL) {
            return NGX_PUSH_FULL;
        }

        member->worker = s->worker;
        member->worker_gen = s->worker_gen;
        member->count = 0;
        member->head = 0;
        member->next = log->members;
        member->log = ngx_push_ref(log);

        ngx_push_set(log->members, ngx_push_ref(member));
    }

    ngx_push_set(sub->mnext, member->head);
    ngx_push_set(sub->mprev, 0);

    if (member->head) {
        head = ngx_push_ptr(member->head);
        ngx_push_set(head->mprev, ngx_push_ref(sub));
    }

    ngx_push_set(member->head, ngx_push_ref(sub));
    ngx_push_set(member->count, member->count + 1);
    ngx_push_set(sub->flags, sub->flags | NGX_PUSH_SUB_MEMBER);

    return NGX_OK;
}


static void
ngx_push_member_leave(ngx_push_shard_t *ch, ngx_push_session_t *s,
    ngx_push_sub_t *sub, ngx_push_log_t *log)
{
    ngx_push_ref_t     *p;
    ngx_push_member_t  *member;

    member = ngx_push_member_find(log, s->worker, s->worker_gen);

    ngx_push_set(sub->flags, sub->flags & ~NGX_PUSH_SUB_MEMBER);

    if (member == NULL) {
        return;
    }

    if (sub->mprev) {
        ngx_push_set(((ngx_push_sub_t *) ngx_push_ptr(sub->mprev))->mnext,
                     sub->mnext);
    } else {
        ngx_push_set(member->head, sub->mnext);
    }

    if (sub->mnext) {
        ngx_push_set(((ngx_push_sub_t *) ngx_push_ptr(sub->mnext))->mprev,
                     sub->mprev);
    }

    ngx_push_set(member->count, member->count - 1);

    if (member->count) {
        return;
    }

    for (p = &log->members; *p != ngx_push_ref(member);
         p = &((ngx_push_member_t *) ngx_push_ptr(*p))->next)
    {
        /* void */
    }

    ngx_push_set(*p, member->next);
    ngx_push_free(ch, member);
}


void
ngx_push_subs_join(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_ref_t     ref;
    ngx_push_sub_t    *sub;
    ngx_push_log_t    *log;
    ngx_push_shard_t  *ch;

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);

        if (sub->kind == NGX_PUSH_INBOX
            || !(sub->flags & NGX_PUSH_SUB_BOUND)
            || (sub->flags & NGX_PUSH_SUB_MEMBER))
        {
            continue;
        }

        log = ngx_push_ptr(sub->log);
        ch = ngx_push_begin_channel(log->hash);

        /* if the zone is full, the check at each heartbeat stands in */

        (void) ngx_push_member_join(ch, s, sub, log);

        ngx_push_end_channel();
        ngx_push_fault_point("join");
    }
}


static void
ngx_push_sub_leave(ngx_push_session_t *s, ngx_push_sub_t *sub)
{
    ngx_push_log_t    *log;
    ngx_push_shard_t  *ch;

    if (sub->flags & NGX_PUSH_SUB_MEMBER) {
        log = ngx_push_ptr(sub->log);
        ch = ngx_push_begin_channel(log->hash);

        ngx_push_member_leave(ch, s, sub, log);

        ngx_push_end_channel();
        ngx_push_fault_point("member_leave");
    }
}


void
ngx_push_subs_leave(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub;

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);
        ngx_push_sub_leave(s, sub);
    }
}


void
ngx_push_subs_sleep(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub;

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);

        ngx_push_set(sub->flags, sub->flags & NGX_PUSH_SUB_MEMBER);
        ngx_push_set(sub->id[0], 0);
        ngx_push_set(sub->id[1], 0);
        ngx_push_commit_long();
    }
}


ngx_int_t
ngx_push_sub_restore(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_target_t *t, ngx_push_sub_t *as, ngx_uint_t newer)
{
    ngx_int_t        rc;
    uint64_t         hash;
    ngx_uint_t       count;
    ngx_push_sub_t  *sub;

    hash = (t->kind == NGX_PUSH_INBOX)
           ? 0 : ngx_push_log_hash(t->kind, t->product->id, &t->name);

    sub = ngx_push_sub_find(s, t, hash, &count);

    if (sub == NULL) {

        if (t->kind == NGX_PUSH_GROUP && !newer) {
            return NGX_OK;
        }

        if (count >= NGX_PUSH_SUBS_MAX) {
            return NGX_PUSH_FULL;
        }

        sub = ngx_push_sub_new(sh, s, t);

        if (sub == NULL) {
            return NGX_PUSH_FULL;
        }

        sub->incarnation = as->incarnation;
        sub->sent = as->sent;

        if (t->kind != NGX_PUSH_INBOX) {
            rc = ngx_push_sub_attach(sub, t, hash);

            if (rc != NGX_OK) {
                return rc;
            }
        }

    } else {
        ngx_push_sub_merge(sh, s, sub, as, newer);
    }

    if (newer) {
        ngx_push_set(sub->flags, as->flags);
        ngx_push_set(sub->slot.flags, NGX_PUSH_SUB_RESTORED);
        ngx_push_set(sub->id[0], as->id[0]);
        ngx_push_set(sub->id[1], as->id[1]);
    }

    return NGX_OK;
}


/* The further cursor of one incarnation; of two, the one that is newer. */

static void
ngx_push_sub_merge(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub, ngx_push_sub_t *as, ngx_uint_t newer)
{
    if (as->incarnation == 0) {
        return;
    }

    if (sub->incarnation == as->incarnation) {

        if (as->sent <= sub->sent - sub->lag) {
            return;
        }

    } else if (!newer && sub->incarnation) {
        return;
    }

    ngx_push_sub_rewind(sh, s, sub, 0);

    ngx_push_set(sub->incarnation, as->incarnation);
    ngx_push_set(sub->sent, as->sent);
}


/* A channel's log is made if need be, and counts the subscription. */

static ngx_int_t
ngx_push_sub_attach(ngx_push_sub_t *sub, ngx_push_target_t *t, uint64_t hash)
{
    ngx_push_log_t    *log;
    ngx_push_shard_t  *ch;

    ch = ngx_push_begin_channel(hash);

    log = ngx_push_log_get(ch, t);

    if (log) {
        ngx_push_set(log->subs, log->subs + 1);
        sub->log = ngx_push_ref(log);

        /*
         * Incarnation 0: it was bound when the store had no log, and so
         * stands before the first message that has come since.
         */

        ngx_push_end_channel();

        return NGX_OK;
    }

    ngx_push_rollback();
    ngx_push_end_channel();

    return NGX_PUSH_FULL;
}


void
ngx_push_subs_prune(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub;

    for (ref = s->subs; ref; /* void */ ) {
        sub = ngx_push_ptr(ref);
        ref = sub->next;

        if (sub->slot.flags & NGX_PUSH_SUB_RESTORED) {
            ngx_push_set(sub->slot.flags, 0);

        } else if (sub->kind == NGX_PUSH_GROUP) {
            ngx_push_sub_free(sh, s, sub);
        }

        ngx_push_commit();
    }
}


void
ngx_push_subs_forget(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    while (s->subs) {
        ngx_push_sub_free(sh, s, ngx_push_ptr(s->subs));
        ngx_push_commit();
    }
}


/* The subscription goes for good; what waited for it alone is settled. */

static void
ngx_push_sub_free(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub)
{
    uint8_t            kind;
    ngx_push_log_t    *log;
    ngx_push_ref_t    *p;
    ngx_push_shard_t  *ch;

    kind = sub->kind;
    log = NULL;

    for (p = &s->subs; *p != ngx_push_ref(sub);
         p = &((ngx_push_sub_t *) ngx_push_ptr(*p))->next)
    {
        /* void */
    }

    ngx_push_window_purge(sh, s, ngx_push_ref(sub), 0);

    if (kind == NGX_PUSH_INBOX) {
        log = ngx_push_sub_inbox(sh, s, sub);

        ngx_push_set(*p, sub->next);
        ngx_push_free(sh, sub);

        if (log) {
            ngx_push_inbox_settle(sh, log, s->user_hash);
        }

        return;
    }

    if (sub->log == 0) {
        ngx_push_set(*p, sub->next);
        ngx_push_free(sh, sub);
        return;
    }

    log = ngx_push_ptr(sub->log);
    ch = ngx_push_begin_channel(log->hash);

    if (sub->flags & NGX_PUSH_SUB_MEMBER) {
        ngx_push_member_leave(ch, s, sub, log);
    }

    ngx_push_set(*p, sub->next);
    ngx_push_free(sh, sub);

    ngx_push_set(log->subs, log->subs - 1);

    if (log->subs == 0 && log->count == 0) {
        ngx_push_log_idle(ch, log);
    }

    ngx_push_end_channel();
}


ngx_int_t
ngx_push_subscription(ngx_push_conn_t *conn, ngx_push_target_t *t,
    ngx_uint_t how, ngx_push_options_t *options)
{
    uint64_t             hash;
    ngx_uint_t           count, flags;
    ngx_push_sub_t      *sub;
    ngx_push_shard_t    *sh;
    ngx_push_session_t  *s;

    ngx_memzero(options, sizeof(ngx_push_options_t));

    s = ngx_push_session_lock(conn, &sh);

    if (s == NULL) {
        return NGX_DECLINED;
    }

    hash = ngx_push_log_hash(t->kind, t->product->id, &t->name);
    sub = ngx_push_sub_find(s, t, hash, &count);
    flags = sub ? sub->flags : 0;

    options->known = (sub != NULL);

    if (flags & how & NGX_PUSH_SUB_BIND) {
        options->how = NGX_PUSH_SUB_BIND;
        options->qos = (flags & NGX_PUSH_SUB_BIND_QOS1) != 0;
        options->id = sub->id[0];

    } else if (flags & how & NGX_PUSH_SUB_OWN) {
        options->how = flags & (NGX_PUSH_SUB_OWN|NGX_PUSH_SUB_NO_LOCAL);
        options->qos = (flags & NGX_PUSH_SUB_OWN_QOS1) != 0;
        options->id = sub->id[1];
    }

    ngx_push_end();

    return NGX_OK;
}


ngx_int_t
ngx_push_unsubscribe(ngx_push_conn_t *conn, ngx_push_target_t *t,
    ngx_uint_t how)
{
    uint8_t              flags;
    uint64_t             hash;
    ngx_uint_t           count;
    ngx_push_sub_t      *sub;
    ngx_push_shard_t    *sh;
    ngx_push_session_t  *s;

    s = ngx_push_session_lock(conn, &sh);

    if (s == NULL) {
        return NGX_DECLINED;
    }

    hash = ngx_push_log_hash(t->kind, t->product->id, &t->name);
    sub = ngx_push_sub_find(s, t, hash, &count);

    if (sub == NULL || !(sub->flags & how & NGX_PUSH_SUB_BOUND)) {
        ngx_push_end();
        return NGX_PUSH_NOT_FOUND;
    }

    flags = sub->flags & ~(how & NGX_PUSH_SUB_BOUND);

    if (how & NGX_PUSH_SUB_BIND) {
        flags &= ~NGX_PUSH_SUB_BIND_QOS1;
        ngx_push_set(sub->id[0], 0);

    } else {
        flags &= ~(NGX_PUSH_SUB_OWN_QOS1|NGX_PUSH_SUB_NO_LOCAL);
        ngx_push_set(sub->id[1], 0);
    }

    ngx_push_set(sub->flags, flags);
    ngx_push_commit();

    if (!(flags & NGX_PUSH_SUB_BOUND)) {

        if ((how & NGX_PUSH_SUB_FORGET)
            || (sub->kind == NGX_PUSH_GROUP && !(how & NGX_PUSH_SUB_KEEP)))
        {
            ngx_push_sub_free(sh, s, sub);

        } else {
            ngx_push_sub_leave(s, sub);
        }
    }

    ngx_push_end();

    return NGX_OK;
}
