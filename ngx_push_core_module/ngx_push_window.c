
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The window: what was sent at QoS 1 and is not acknowledged, a list from
 * the oldest to the newest; and the cursors that follow from it.
 */


#include "ngx_push_sub.h"
#include "ngx_push_moved.h"


static void ngx_push_inbox_skip(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t user_hash, uint64_t done);
static ngx_uint_t ngx_push_window_remove(ngx_push_shard_t *sh,
    ngx_push_session_t *s, ngx_push_inflight_t *prev,
    ngx_push_inflight_t *e);


ngx_push_log_t *
ngx_push_sub_hinted(ngx_push_shard_t *sh, ngx_push_sub_t *sub)
{
    ngx_push_log_t  *log;

    /* a page may have become another shard's, which has not our lock */

    if (ngx_push_owner(sub->log, NGX_PUSH_LOG) != (ngx_int_t) sh->index) {
        return NULL;
    }

    log = ngx_push_record(sub->log, NGX_PUSH_LOG);

    return (log && log->incarnation == sub->incarnation) ? log : NULL;
}


ngx_push_log_t *
ngx_push_sub_present(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub)
{
    ngx_str_t        user;
    ngx_push_log_t  *log;
    ngx_push_ref_t   ref;
    uint64_t         hash;

    user.data = ngx_push_session_user(s);
    user.len = s->user_len;

    hash = ngx_push_log_hash(NGX_PUSH_INBOX, sub->product, &user);

    for (ref = *ngx_push_log_bucket(sh, hash); ref; ref = log->hnext) {
        log = ngx_push_ptr(ref);

        if (log->hash == hash && log->kind == NGX_PUSH_INBOX
            && !(log->slot.flags & NGX_PUSH_LOG_STALE)
            && log->product == sub->product && log->name_len == user.len
            && ngx_memcmp(ngx_push_log_name(log), user.data, user.len) == 0)
        {
            return log;
        }
    }

    return NULL;
}


ngx_push_log_t *
ngx_push_sub_inbox(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub)
{
    ngx_str_t        user;
    ngx_push_log_t  *log;

    log = ngx_push_sub_hinted(sh, sub);

    if (log && !(log->slot.flags & NGX_PUSH_LOG_STALE)) {
        return log;
    }

    log = ngx_push_sub_present(sh, s, sub);

    if (ngx_push_mirrored) {
        user.data = ngx_push_session_user(s);
        user.len = s->user_len;

        log = ngx_push_sub_turn(sh, sh, s, sub,
                                ngx_push_log_hash(NGX_PUSH_INBOX,
                                                  sub->product, &user),
                                log);

        if (log && sub->log != ngx_push_ref(log)) {
            ngx_push_set(sub->log, ngx_push_ref(log));
        }

        return log;
    }

    if (log == NULL) {
        return NULL;
    }

    ngx_push_set(sub->log, ngx_push_ref(log));

    if (sub->incarnation != log->incarnation) {

        /* a log that came back: the cursor stands before its first message */

        ngx_push_set(sub->incarnation, log->incarnation);
        ngx_push_set(sub->sent, log->acked);
        ngx_push_set(sub->lag, 0);
    }

    return log;
}


void
ngx_push_sub_pass(ngx_push_sub_t *sub, uint64_t seq)
{
    if (sub->lag) {
        ngx_push_set(sub->lag, sub->lag + (uint32_t) (seq - sub->sent));
    }

    ngx_push_set(sub->sent, seq);
}


static ngx_uint_t
ngx_push_inbox_once(ngx_push_log_t *log)
{
    ngx_push_conf_t     *pcf;
    ngx_push_product_t  *product;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);
    product = pcf ? ngx_push_product_by_id(pcf, log->product) : NULL;

    return product && product->consume_once;
}


/*
 * As far as every device known to be interested has acknowledged; by
 * "consume_once", as the first of them has.
 */

static uint64_t
ngx_push_inbox_done(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t user_hash, ngx_uint_t once)
{
    uint64_t              done, acked;
    ngx_uint_t            n;
    ngx_push_ref_t       *table, ref, sref;
    ngx_push_sub_t       *sub;
    ngx_push_session_t   *s;

    done = 0;
    n = 0;
    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[user_hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash != user_hash) {
            continue;
        }

        for (sref = s->subs; sref; sref = sub->next) {
            sub = ngx_push_ptr(sref);

            if (sub->kind != NGX_PUSH_INBOX) {
                break;
            }

            if (sub->product != log->product) {
                continue;
            }

            acked = sub->incarnation == log->incarnation
                    ? sub->sent - sub->lag : 0;

            if ((log->slot.flags & NGX_PUSH_LOG_STALE)
                && sub->incarnation > log->incarnation)
            {
                /* it has gone on to the next */

                acked = log->last;
            }

            if (n++ == 0) {
                done = acked;

            } else {
                done = once ? ngx_max(done, acked) : ngx_min(done, acked);
            }

            break;
        }
    }

    return done;
}


void
ngx_push_inbox_settle(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t user_hash)
{
    uint64_t    done;
    ngx_uint_t  once;

    once = ngx_push_inbox_once(log);
    done = ngx_push_inbox_done(sh, log, user_hash, once);

    if (done <= log->acked) {
        return;
    }

    ngx_push_log_trim(sh, log, done);

    if (once && ngx_push_mirrored) {

        /* or the others would ask the store for what is consumed */

        ngx_push_inbox_skip(sh, log, user_hash, done);
    }
}


ngx_uint_t
ngx_push_inbox_consumed(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t user_hash, uint64_t seq)
{
    return ngx_push_inbox_once(log)
           && ngx_push_inbox_done(sh, log, user_hash, 1) >= seq;
}


static void
ngx_push_inbox_skip(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t user_hash, uint64_t done)
{
    ngx_push_ref_t      *table, ref, sref;
    ngx_push_sub_t      *sub;
    ngx_push_session_t  *s;

    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[user_hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash != user_hash) {
            continue;
        }

        for (sref = s->subs; sref; sref = sub->next) {
            sub = ngx_push_ptr(sref);

            if (sub->kind != NGX_PUSH_INBOX) {
                break;
            }

            if (sub->product == log->product && sub->incarnation == 0
                && !(log->slot.flags & NGX_PUSH_LOG_STALE))
            {
                /* bound before there was a log */

                ngx_push_set(sub->incarnation, log->incarnation);
            }

            if (sub->product == log->product && sub->sent < done
                && sub->incarnation == log->incarnation)
            {
                ngx_push_sub_pass(sub, done);
                ngx_push_commit_long();
            }
        }
    }
}


/*
 * Takes an entry out.  1: the cursor of its subscription has moved.  It moves
 * when the entry was the oldest of its log, to before the next one of it.
 */

static ngx_uint_t
ngx_push_window_remove(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_inflight_t *prev, ngx_push_inflight_t *e)
{
    uint64_t              sent;
    ngx_push_ref_t        ref;
    ngx_push_sub_t       *sub;
    ngx_push_inflight_t  *f;

    sub = ngx_push_ptr(e->sub);

    if (prev) {
        ngx_push_set(prev->next, e->next);

    } else {
        ngx_push_set(s->first, e->next);
    }

    if (e->next == 0) {
        ngx_push_set(s->last, prev ? ngx_push_ref(prev) : 0);
    }

    ngx_push_set(s->nflight, s->nflight - 1);

    if (prev) {
        for (ref = s->first; ref != e->next; ref = f->next) {
            f = ngx_push_ptr(ref);

            if (f->sub == e->sub) {
                ngx_push_free(sh, e);
                return 0;
            }
        }
    }

    sent = sub->sent;

    for (ref = e->next; ref; ref = f->next) {
        f = ngx_push_ptr(ref);

        if (f->sub == e->sub) {
            sent = f->seq - 1;
            break;
        }
    }

    /* after a window was given up its cursor may stand before the entry */

    if (sent <= sub->sent) {
        ngx_push_set(sub->lag, (uint32_t) (sub->sent - sent));
    }

    ngx_push_free(sh, e);

    return 1;
}


ngx_uint_t
ngx_push_window_pass(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_inflight_t *e)
{
    ngx_push_ref_t        ref;
    ngx_push_sub_t       *sub;
    ngx_push_log_t       *log;
    ngx_push_inflight_t  *prev;

    prev = NULL;

    for (ref = s->first; ref != ngx_push_ref(e); ref = prev->next) {
        prev = ngx_push_ptr(ref);
    }

    sub = ngx_push_ptr(e->sub);

    if (!ngx_push_window_remove(sh, s, prev, e)) {
        return 0;
    }

    if (sub->kind == NGX_PUSH_INBOX) {
        ngx_push_fault_point("ack");

        log = ngx_push_sub_inbox(sh, s, sub);

        if (log) {
            ngx_push_inbox_settle(sh, log, s->user_hash);
        }
    }

    return 1;
}


void
ngx_push_sub_rewind(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub, uint64_t from)
{
    uint64_t  acked;

    acked = sub->sent - sub->lag;

    /* the cursor first: the entries go one by one, with commits in between */

    if (from) {
        ngx_push_set(sub->sent, from - 1);
        ngx_push_set(sub->lag, (uint32_t) (from - 1 - acked));

    } else {
        ngx_push_set(sub->sent, acked);
        ngx_push_set(sub->lag, 0);
    }

    ngx_push_set(sub->hint, 0);

    ngx_push_window_purge(sh, s, ngx_push_ref(sub), from);
}


ngx_int_t
ngx_push_ack(ngx_push_conn_t *conn, ngx_uint_t pid)
{
    ngx_uint_t            moved;
    ngx_push_ref_t        ref;
    ngx_push_shard_t     *sh;
    ngx_push_session_t   *s;
    ngx_push_inflight_t  *e;

    ngx_push_moved_reserve();

    s = ngx_push_session_lock(conn, &sh);

    if (s == NULL) {
        return NGX_DECLINED;
    }

    for (ref = s->first; ref; ref = e->next) {
        e = ngx_push_ptr(ref);

        if (e->pid == pid) {
            moved = ngx_push_window_pass(sh, s, e);
            ngx_push_end();
            ngx_push_count(acked);

            if (moved) {
                ngx_push_moved_note(conn);
            }

            return NGX_OK;
        }
    }

    ngx_push_end();

    return NGX_PUSH_NOT_FOUND;
}


void
ngx_push_window_drop(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_ref_t        ref;
    ngx_push_sub_t       *sub;
    ngx_push_inflight_t  *e;

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);

        if (sub->lag) {
            ngx_push_set(sub->sent, sub->sent - sub->lag);
            ngx_push_set(sub->lag, 0);
            ngx_push_commit_long();
        }
    }

    while (s->first) {
        e = ngx_push_ptr(s->first);

        ngx_push_set(s->first, e->next);
        ngx_push_set(s->nflight, s->nflight - 1);
        ngx_push_free(sh, e);

        if (s->first == 0) {
            ngx_push_set(s->last, 0);
        }

        ngx_push_commit_long();
    }
}


void
ngx_push_window_purge(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_ref_t sub, uint64_t from)
{
    ngx_push_ref_t        ref;
    ngx_push_inflight_t  *e, *prev;

    prev = NULL;

    for (ref = s->first; ref; /* void */ ) {
        e = ngx_push_ptr(ref);
        ref = e->next;

        if (e->sub == sub && e->seq >= from) {
            (void) ngx_push_window_remove(sh, s, prev, e);
            ngx_push_commit_long();

        } else {
            prev = e;
        }
    }
}
