
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Answers to needs.  The lock is taken for each message anew, so others may
 * put some in between: what is there already is passed over.  Messages at or
 * below the floor go to their place, and count when all of them are there and
 * the floor is lowered.
 */


#include "ngx_push_mirror_log.h"


static ngx_push_log_t *ngx_push_fill_log(ngx_push_shard_t *sh,
    ngx_push_fill_t *f);
static ngx_int_t ngx_push_fill_one(ngx_push_shard_t *sh,
    ngx_push_log_t *log, ngx_push_fill_t *f, ngx_push_mirror_t *m);
static ngx_push_message_t *ngx_push_fill_before(ngx_push_log_t *log,
    ngx_push_fill_t *f, uint64_t seq);
static ngx_uint_t ngx_push_fill_cover(ngx_push_shard_t *sh,
    ngx_push_log_t *log, ngx_push_fill_t *f);
static void ngx_push_fill_cut(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t after, uint64_t upto);
static void ngx_push_fill_users(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_target_t *t, ngx_push_fill_t *f);
static void ngx_push_fill_cursor(ngx_push_shard_t *sh, ngx_push_sub_t *sub,
    ngx_push_target_t *t, ngx_push_fill_t *f);
static ngx_uint_t ngx_push_fill_known(ngx_push_shard_t *sh,
    ngx_push_target_t *t);


ngx_int_t
ngx_push_mirror_begin(ngx_push_fill_t *f)
{
    ngx_int_t          rc;
    ngx_push_log_t    *log;
    ngx_push_shard_t  *sh;

    f->filled = 0;
    f->full = 0;
    f->skip = 0;
    f->at = f->after;
    f->hint = 0;

    rc = NGX_OK;
    sh = ngx_push_begin_log(&f->target);

    log = ngx_push_log_find(sh, &f->target);

    if (f->incarnation && log == NULL && f->target.kind != NGX_PUSH_INBOX) {
        log = ngx_push_log_make(sh, &f->target);

        if (log == NULL) {
            rc = NGX_PUSH_FULL;
        }
    }

    if (f->incarnation == 0 && log && log->incarnation && log->count
        && !(log->slot.flags & NGX_PUSH_LOG_DOUBT))
    {
        /* its first message may have come while the answer was on its way */

        ngx_push_set(log->slot.flags, log->slot.flags | NGX_PUSH_LOG_DOUBT);
        f->skip = 1;

    } else if (f->incarnation == 0 || log == NULL) {
        /* void */

    } else if (log->incarnation == f->incarnation) {
        ngx_push_set(log->slot.flags, log->slot.flags & ~NGX_PUSH_LOG_DOUBT);

    } else if (log->incarnation == 0) {
        ngx_push_mirror_start(sh, log, f->incarnation, f->after);
        ngx_push_set(log->check, 0);

    } else if (f->incarnation < log->incarnation
               && !(log->slot.flags & NGX_PUSH_LOG_DOUBT))
    {
        /* the newer one may have come while this answer was on its way */

        ngx_push_set(log->slot.flags, log->slot.flags | NGX_PUSH_LOG_DOUBT);
        f->skip = 1;

    } else {
        rc = ngx_push_mirror_turn(sh, log, &f->target, f->incarnation,
                                  f->after);
    }

    if (rc != NGX_OK) {
        f->full = 1;
    }

    f->shed = log ? log->slot.flags / NGX_PUSH_LOG_SHED : 0;

    ngx_push_end();

    return rc;
}


ngx_int_t
ngx_push_mirror_fill(ngx_push_fill_t *f, ngx_push_mirror_t *m)
{
    ngx_int_t          rc;
    ngx_push_log_t    *log;
    ngx_push_shard_t  *sh;

    if (f->full) {
        return NGX_PUSH_FULL;
    }

    if (f->skip || f->incarnation == 0) {
        return NGX_DECLINED;
    }

    sh = ngx_push_begin_log(&f->target);

    log = ngx_push_fill_log(sh, f);

    if (log) {
        rc = ngx_push_fill_one(sh, log, f, m);

    } else {
        rc = f->full ? NGX_PUSH_FULL : NGX_DECLINED;
    }

    ngx_push_end();
    ngx_push_fault_point("fill");

    return rc;
}


/* The log that is filled; of an inbox it is made with the first message. */

static ngx_push_log_t *
ngx_push_fill_log(ngx_push_shard_t *sh, ngx_push_fill_t *f)
{
    ngx_push_log_t  *log;

    log = ngx_push_log_find(sh, &f->target);

    if (log == NULL) {

        if (!ngx_push_fill_known(sh, &f->target)) {
            f->skip = 1;
            return NULL;
        }

        log = ngx_push_log_make(sh, &f->target);

        if (log == NULL) {
            f->full = 1;
            return NULL;
        }

        ngx_push_mirror_start(sh, log, f->incarnation, f->at);
        ngx_push_set(log->check, 0);
        f->shed = log->slot.flags / NGX_PUSH_LOG_SHED;
    }

    if (log->incarnation != f->incarnation) {

        /* it has begun anew meanwhile */

        f->skip = 1;
        return NULL;
    }

    return log;
}


static ngx_int_t
ngx_push_fill_one(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_fill_t *f, ngx_push_mirror_t *m)
{
    uint32_t             expire;
    ngx_push_ref_t       ref;
    ngx_push_message_t  *msg, *prev;

    if (f->after > log->last && m->seq > log->last) {

        /* it does not join what is here */

        f->skip = 1;
        return NGX_DECLINED;
    }

    prev = NULL;

    if (m->seq <= log->floor) {
        prev = ngx_push_fill_before(log, f, m->seq);
        ref = prev ? prev->next : log->head;

        if (ref && ((ngx_push_message_t *) ngx_push_ptr(ref))->seq == m->seq)
        {
            f->hint = ref;
            f->at = m->seq;
            return NGX_OK;
        }
    }

    if ((m->seq > log->floor && m->seq <= log->last)
        || m->expires <= ngx_time())
    {
        if (m->seq > log->last) {
            ngx_push_set(log->last, m->seq);
        }

        f->at = m->seq;
        return NGX_OK;
    }

    msg = ngx_push_mirror_build(sh, m);

    if (msg == NULL) {
        f->full = 1;
        return NGX_PUSH_FULL;
    }

    if (m->seq > log->last) {
        ngx_push_set(log->last, m->seq - 1);
        ngx_push_log_append(sh, log, msg);

    } else {

        /* room may have been made at the cost of others of this log */

        prev = ngx_push_fill_before(log, f, m->seq);
        ngx_push_log_insert(sh, log, prev, msg, m->seq);
    }

    expire = (uint32_t) ((time_t) ngx_push_now() + (m->expires - ngx_time()));
    ngx_push_message_expire(sh, msg, expire);

    f->hint = ngx_push_ref(msg);
    f->at = m->seq;
    f->filled++;

    return NGX_OK;
}


/* The last message before "seq", from the one that was put in last. */

static ngx_push_message_t *
ngx_push_fill_before(ngx_push_log_t *log, ngx_push_fill_t *f, uint64_t seq)
{
    ngx_push_ref_t       ref;
    ngx_push_message_t  *m, *prev;

    prev = NULL;
    ref = log->head;

    m = ngx_push_record(f->hint, NGX_PUSH_MESSAGE);

    if (m && m->slot.used == NGX_PUSH_MSG_STORED
        && m->log == ngx_push_ref(log) && m->seq < seq)
    {
        prev = m;
        ref = m->next;
    }

    for ( /* void */ ; ref; ref = m->next) {
        m = ngx_push_ptr(ref);

        if (m->seq >= seq) {
            break;
        }

        prev = m;
    }

    return prev;
}


void
ngx_push_mirror_end(ngx_push_fill_t *f)
{
    uint64_t           last;
    ngx_uint_t         tell, later;
    ngx_push_log_t    *log;
    ngx_push_shard_t  *sh;

    ngx_push_need_reserve();

    tell = (f->filled != 0);
    later = f->full;

    sh = ngx_push_begin_log(&f->target);

    log = ngx_push_log_find(sh, &f->target);

    if (log) {
        last = log->last;
        ngx_push_set(log->load, 0);

        tell |= ngx_push_fill_cover(sh, log, f);

        if (log->known > log->last || f->skip) {

            if (!later && (f->filled || f->skip || log->last != last)) {
                ngx_push_need_tail(log);

            } else {
                later = 1;
            }
        }
    }

    if (f->target.kind == NGX_PUSH_INBOX) {
        ngx_push_fill_users(sh, log, &f->target, f);
    }

    ngx_push_end();
    ngx_push_fault_point("filled");

    if (tell) {
        ngx_push_need_tell(&f->target);
    }

    if (later) {
        ngx_push_need_later(&f->target, NGX_PUSH_LOAD_AGAIN);
    }
}


/* What the log has now, and whether it was compared.  1: it has more. */

static ngx_uint_t
ngx_push_fill_cover(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_fill_t *f)
{
    uint64_t    upto;
    uint32_t    check;
    ngx_uint_t  more, all;

    more = 0;
    all = !f->full && !f->skip;
    upto = f->full ? f->at : f->upto;

    if (f->skip) {
        /* void */

    } else if (f->incarnation == 0) {

        /* the store has none, so nothing of this one is to be had any more */

        ngx_push_set(log->known, log->last);
        more = (log->floor != 0);
        ngx_push_set(log->floor, 0);
        ngx_push_set(log->acked, 0);

    } else if (log->incarnation != f->incarnation) {
        all = 0;

    } else {

        if (f->after < log->floor && all
            && f->shed != log->slot.flags / NGX_PUSH_LOG_SHED)
        {
            /* some of it has gone again: once more from the start */

            all = 0;
            f->skip = 1;

        } else if (f->after < log->floor && all) {
            more = 1;

            if (upto < log->floor) {
                ngx_push_fill_cut(sh, log, f->after, upto);
            }

            ngx_push_set(log->floor, f->after);
            ngx_push_set(log->acked, ngx_min(log->acked, f->after));
        }

        if (f->after <= log->last && upto > log->last) {
            ngx_push_set(log->last, upto);
        }

        ngx_push_mirror_known(log, f->last);
        all &= (f->upto >= f->last);
    }

    check = log->check;

    if (check & NGX_PUSH_LOG_ASKED) {
        ngx_push_set(log->check, all ? check & ~NGX_PUSH_LOG_ASKED : 0);
    }

    return more;
}


/*
 * An answer that ends below the floor, since the store gives so much at once:
 * what is above it goes, and comes again with the next ones.
 */

static void
ngx_push_fill_cut(ngx_push_shard_t *sh, ngx_push_log_t *log, uint64_t after,
    uint64_t upto)
{
    uint64_t             last;
    ngx_push_message_t  *m;

    last = log->last;

    while (log->tail) {
        m = ngx_push_ptr(log->tail);

        if (m->seq <= upto) {
            break;
        }

        /* until it is done nothing above "upto" is taken for whole */

        if (log->floor < last) {
            ngx_push_set(log->floor, last);
        }

        ngx_push_message_end(sh, m);
        ngx_push_commit_long();
    }

    ngx_push_mirror_known(log, last);
    ngx_push_set(log->last, upto);
}


/* Is a device of the user known here that has to do with the product? */

static ngx_uint_t
ngx_push_fill_known(ngx_push_shard_t *sh, ngx_push_target_t *t)
{
    ngx_push_ref_t      *table, ref, sref;
    ngx_push_sub_t      *sub;
    ngx_push_session_t  *s;

    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[t->hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash != t->hash || s->presence == NGX_PUSH_OFFLINE) {
            continue;
        }

        for (sref = s->subs; sref; sref = sub->next) {
            sub = ngx_push_ptr(sref);

            if (sub->kind == NGX_PUSH_INBOX && sub->product == t->product->id)
            {
                return 1;
            }
        }
    }

    return 0;
}


/* The marks of those who asked for an inbox, and what they need not ask for */

static void
ngx_push_fill_users(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_target_t *t, ngx_push_fill_t *f)
{
    uint8_t              flags;
    ngx_uint_t           all;
    ngx_push_ref_t      *table, ref, sref;
    ngx_push_sub_t      *sub;
    ngx_push_session_t  *s;

    all = f && !f->full && !f->skip && f->upto >= f->last;
    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[t->hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash != t->hash) {
            continue;
        }

        for (sref = s->subs; sref; sref = sub->next) {
            sub = ngx_push_ptr(sref);

            if (sub->kind != NGX_PUSH_INBOX
                || sub->product != t->product->id)
            {
                continue;
            }

            if (all && log == NULL && f->incarnation) {
                ngx_push_fill_cursor(sh, sub, t, f);
            }

            if (!(sub->flags & NGX_PUSH_SUB_ASKED)
                || (all && f->incarnation && f->after
                    && (sub->incarnation != f->incarnation
                        || sub->sent < f->after)))
            {
                /* this answer was another's */

                continue;
            }

            flags = sub->flags & ~NGX_PUSH_SUB_ASKED;
            flags |= all && log == NULL ? NGX_PUSH_SUB_CHECKED : 0;

            ngx_push_set(sub->flags, flags);
            ngx_push_commit_long();
        }
    }
}


/* There is nothing in (after, upto], and so no log: the cursor may pass it. */

static void
ngx_push_fill_cursor(ngx_push_shard_t *sh, ngx_push_sub_t *sub,
    ngx_push_target_t *t, ngx_push_fill_t *f)
{
    uint64_t  hash;

    if (sub->lag) {
        return;
    }

    if (sub->incarnation == f->incarnation) {

        if (sub->sent >= f->after && sub->sent < f->upto) {
            ngx_push_set(sub->sent, f->upto);
        }

        return;
    }

    hash = ngx_push_log_hash(NGX_PUSH_INBOX, t->product->id, &t->name);

    if (f->after == 0 && !ngx_push_log_left(sh, hash, sub->incarnation)) {
        ngx_push_set(sub->incarnation, f->incarnation);
        ngx_push_set(sub->sent, f->upto);
    }
}


void
ngx_push_mirror_failed(ngx_push_target_t *t)
{
    ngx_push_log_t    *log;
    ngx_push_shard_t  *sh;

    sh = ngx_push_begin_log(t);

    log = ngx_push_log_find(sh, t);

    if (log) {
        ngx_push_set(log->load, ngx_push_now() + 1);

        if (log->check & NGX_PUSH_LOG_ASKED) {
            ngx_push_set(log->check, 0);
        }
    }

    if (t->kind == NGX_PUSH_INBOX) {
        ngx_push_fill_users(sh, NULL, t, NULL);
    }

    ngx_push_end();

    ngx_push_need_later(t, NGX_PUSH_LOAD_AGAIN);
}
