
/*
 * Copyright (C) the ngx_push authors
 */


/* One message at a time, from the store or the bus, into the zone. */


#include "ngx_push_mirror_log.h"
#include "ngx_push_moved.h"


static ngx_push_log_t *ngx_push_mirror_find(ngx_push_shard_t *sh,
    ngx_push_target_t *t, ngx_push_notices_t *ns);
static ngx_int_t ngx_push_mirror_place(ngx_push_shard_t *sh,
    ngx_push_log_t **plog, ngx_push_mirror_t *m, ngx_uint_t online);
static ngx_uint_t ngx_push_mirror_older(ngx_push_shard_t *sh,
    ngx_push_mirror_t *m);
static void ngx_push_learn_users(ngx_push_shard_t *sh, ngx_push_target_t *t,
    uint64_t incarnation, uint64_t last, uint64_t acked);
static ngx_int_t ngx_push_mirror_other(ngx_push_shard_t *sh,
    ngx_push_log_t *log, ngx_push_mirror_t *m);
static ngx_int_t ngx_push_mirror_append(ngx_push_shard_t *sh,
    ngx_push_log_t *log, ngx_push_mirror_t *m, ngx_push_notices_t *ns);


ngx_int_t
ngx_push_mirror_put(ngx_push_mirror_t *m)
{
    ngx_int_t            rc;
    ngx_push_log_t      *log;
    ngx_push_shard_t    *sh;
    ngx_push_notices_t   ns;

    m->reached = 0;

    if (m->target.kind == NGX_PUSH_UPLINK) {
        return NGX_DECLINED;
    }

    ngx_push_moved_reserve();
    ngx_push_need_reserve();
    ngx_push_notify_init(&ns);

    sh = ngx_push_begin_log(&m->target);

    log = ngx_push_mirror_find(sh, &m->target, &ns);
    m->reached = ns.reached;

    rc = ngx_push_mirror_place(sh, &log, m, ns.n);

    if (rc == NGX_OK) {
        rc = ngx_push_mirror_append(sh, log, m, &ns);
    }

    ngx_push_end();
    ngx_push_fault_point("put");

    if (rc == NGX_OK) {
        ngx_push_notify_send(&ns, NGX_PUSH_MAIL_INBOX, NGX_PUSH_MAIL_CHANNEL);

    } else if (rc == NGX_PUSH_FULL) {
        ngx_push_count(drops[NGX_PUSH_DROP_ZONE_FULL]);
        ngx_push_need_later(&m->target, NGX_PUSH_LOAD_AGAIN);

    } else if (rc == NGX_DONE) {
        rc = NGX_OK;
    }

    return rc;
}


ngx_int_t
ngx_push_mirror_once(ngx_push_mirror_t *m)
{
    ngx_push_log_t      *log;
    ngx_push_shard_t    *sh;
    ngx_push_notices_t   ns;
    ngx_push_message_t  *msg;

    ngx_push_notify_init(&ns);

    sh = ngx_push_begin_log(&m->target);

    log = ngx_push_notify_online(sh, &m->target, &ns);
    m->reached = ns.reached;

    if (ns.n == 0) {
        ngx_push_end();
        return NGX_DECLINED;
    }

    msg = ngx_push_mirror_build(sh, m);

    if (msg == NULL) {
        ngx_push_end();
        ngx_push_count(drops[NGX_PUSH_DROP_ZONE_FULL]);
        m->reached = 0;

        return NGX_PUSH_FULL;
    }

    ngx_push_notify_once(sh, log, msg, &m->target, &ns);

    ngx_push_end();

    ngx_push_notify_send(&ns, NGX_PUSH_MAIL_ONCE, NGX_PUSH_MAIL_CHANNEL_ONCE);

    return NGX_OK;
}


/* The present log, and who is online. */

static ngx_push_log_t *
ngx_push_mirror_find(ngx_push_shard_t *sh, ngx_push_target_t *t,
    ngx_push_notices_t *ns)
{
    ngx_push_log_t  *log;

    log = ngx_push_notify_online(sh, t, ns);

    /* what a device has at hand may be of a former incarnation */

    if (t->kind == NGX_PUSH_INBOX
        && (log == NULL || (log->slot.flags & NGX_PUSH_LOG_STALE)))
    {
        log = ngx_push_log_find(sh, t);
    }

    return log;
}


/*
 * NGX_OK: it is to be appended; NGX_DONE: it is there; NGX_DECLINED, NGX_AGAIN
 * and NGX_PUSH_FULL as ngx_push_mirror_put() has them.
 */

static ngx_int_t
ngx_push_mirror_place(ngx_push_shard_t *sh, ngx_push_log_t **plog,
    ngx_push_mirror_t *m, ngx_uint_t online)
{
    ngx_int_t        rc;
    ngx_push_log_t  *log;

    log = *plog;

    if (!online) {

        /* whoever comes back compares the log with the store */

        if (log && log->incarnation == m->incarnation) {
            ngx_push_mirror_known(log, m->seq);

        } else if (log) {
            ngx_push_set(log->check, 0);
        }

        return NGX_DECLINED;
    }

    if (log == NULL) {

        if (m->target.kind == NGX_PUSH_INBOX
            && ngx_push_mirror_older(sh, m))
        {
            ngx_push_need_users(sh, m->target.hash);
            ngx_push_need_later(&m->target, NGX_PUSH_GAP_WAIT);

            return NGX_AGAIN;
        }

        log = ngx_push_log_make(sh, &m->target);

        if (log == NULL) {
            return NGX_PUSH_FULL;
        }

        *plog = log;
    }

    if (log->incarnation == 0) {
        ngx_push_mirror_start(sh, log, m->incarnation, m->prev);

    } else if (log->incarnation != m->incarnation) {
        rc = ngx_push_mirror_other(sh, log, m);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (m->seq <= log->last) {
        return NGX_DONE;
    }

    if (m->prev > log->last) {
        ngx_push_mirror_known(log, m->seq);
        ngx_push_need_gap(log, &m->target);

        return NGX_AGAIN;
    }

    return NGX_OK;
}


/* Has a device had to do with a newer incarnation of its inbox? */

static ngx_uint_t
ngx_push_mirror_older(ngx_push_shard_t *sh, ngx_push_mirror_t *m)
{
    ngx_push_ref_t      *table, ref, sref;
    ngx_push_sub_t      *sub;
    ngx_push_session_t  *s;

    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[m->target.hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash != m->target.hash) {
            continue;
        }

        for (sref = s->subs; sref; sref = sub->next) {
            sub = ngx_push_ptr(sref);

            if (sub->kind == NGX_PUSH_INBOX
                && sub->product == m->target.product->id
                && sub->incarnation > m->incarnation)
            {
                return 1;
            }
        }
    }

    return 0;
}


/*
 * Incarnations are clock readings of the store: the higher one is the newer.
 * A lower one is late, or the store's clock went back: the store is asked.
 */

static ngx_int_t
ngx_push_mirror_other(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_mirror_t *m)
{
    if (m->incarnation > log->incarnation) {
        return ngx_push_mirror_turn(sh, log, &m->target, m->incarnation,
                                    m->prev);
    }

    if (ngx_push_log_left(sh, log->hash, m->incarnation)) {
        return NGX_DECLINED;
    }

    ngx_push_set(log->check, 0);
    ngx_push_need_tail(log);

    return NGX_AGAIN;
}


static ngx_int_t
ngx_push_mirror_append(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_mirror_t *m, ngx_push_notices_t *ns)
{
    ngx_push_message_t  *msg;

    if (m->expires <= ngx_time()) {
        ngx_push_set(log->last, m->seq);
        return NGX_DONE;
    }

    msg = ngx_push_mirror_build(sh, m);

    if (msg == NULL) {
        ngx_push_mirror_known(log, m->seq);
        return NGX_PUSH_FULL;
    }

    ngx_push_set(log->last, m->seq - 1);
    ngx_push_log_append(sh, log, msg);
    ngx_push_message_expire(sh, msg, (uint32_t) ((time_t) ngx_push_now()
                                                 + (m->expires
                                                    - ngx_time())));
    ngx_push_fault_point("mirror");
    ngx_push_commit();

    /* more the store does not keep either, and a mirror is to be bounded */

    ngx_push_mirror_shed(sh, log, ngx_max(ngx_push_log_limit(&m->target), 1));

    ngx_push_notify_saved(sh, log, msg, ns);

    return NGX_OK;
}


ngx_int_t
ngx_push_mirror_learn(ngx_push_target_t *t, uint64_t incarnation,
    uint64_t last, uint64_t acked)
{
    ngx_int_t          rc;
    ngx_push_log_t    *log;
    ngx_push_shard_t  *sh;

    rc = NGX_OK;
    sh = ngx_push_begin_log(t);

    log = ngx_push_log_find(sh, t);

    if (log == NULL && t->kind != NGX_PUSH_INBOX) {
        log = ngx_push_log_make(sh, t);
        rc = log ? NGX_OK : NGX_PUSH_FULL;
    }

    if (log == NULL || incarnation == 0) {

        if (incarnation && t->kind == NGX_PUSH_INBOX) {
            ngx_push_learn_users(sh, t, incarnation, last, acked);
        }

        ngx_push_end();
        return rc;
    }

    if (log->incarnation == incarnation) {
        ngx_push_mirror_known(log, last);

        if (acked > log->acked) {
            ngx_push_log_trim(sh, log, acked);
        }

    } else if (log->incarnation == 0) {
        ngx_push_mirror_start(sh, log, incarnation, last);
        ngx_push_set(log->check, 0);

    } else if (log->incarnation < incarnation) {
        rc = ngx_push_mirror_turn(sh, log, t, incarnation, last);
        ngx_push_set(log->check, 0);

    } else {
        ngx_push_set(log->check, 0);
    }

    ngx_push_end();

    return rc;
}


/* An inbox that has no log here: those who have not got all of it will ask. */

static void
ngx_push_learn_users(ngx_push_shard_t *sh, ngx_push_target_t *t,
    uint64_t incarnation, uint64_t last, uint64_t acked)
{
    uint8_t              flags;
    uint64_t             sent;
    ngx_push_ref_t      *table, ref, sref;
    ngx_push_sub_t      *sub;
    ngx_push_session_t  *s;

    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[t->hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash != t->hash) {
            continue;
        }

        for (sref = s->subs; sref; sref = sub->next) {
            sub = ngx_push_ptr(sref);

            if (sub->kind != NGX_PUSH_INBOX) {
                break;
            }

            sent = sub->incarnation == incarnation ? sub->sent : 0;

            if (sub->product != t->product->id || last <= ngx_max(sent, acked))
            {
                continue;
            }

            flags = sub->flags & ~(NGX_PUSH_SUB_CHECKED|NGX_PUSH_SUB_ASKED);

            ngx_push_set(sub->flags, flags);
            ngx_push_commit_long();
        }
    }
}
