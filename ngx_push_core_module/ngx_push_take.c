
/*
 * Copyright (C) the ngx_push authors
 */


/* What is to be sent to a device next, and entered as sent. */


#include "ngx_push_take.h"
#include "ngx_push_moved.h"
#include "ngx_push_need.h"


#define NGX_PUSH_TAKE_LEAP  0x7fffffff


static void ngx_push_take_sub(ngx_push_take_t *t, ngx_push_sub_t *sub);
static ngx_uint_t ngx_push_take_level(ngx_push_log_t *log,
    ngx_push_sub_t *sub);
static ngx_push_log_t *ngx_push_take_mirror(ngx_push_take_t *t,
    ngx_push_sub_t *sub, ngx_push_shard_t *ch, ngx_push_log_t *log);
static ngx_push_log_t *ngx_push_take_next(ngx_push_take_t *t,
    ngx_push_sub_t *sub, ngx_push_shard_t *ch, ngx_push_log_t *log);
static ngx_int_t ngx_push_take_again(ngx_push_take_t *t,
    ngx_push_inflight_t *e);
static ngx_push_log_t *ngx_push_take_of(ngx_push_take_t *t,
    ngx_push_sub_t *sub, ngx_push_shard_t *ch, ngx_push_log_t *log);
static ngx_uint_t ngx_push_take_first(ngx_push_session_t *s,
    ngx_push_inflight_t *e);
static ngx_uint_t ngx_push_take_open(ngx_push_session_t *s);


/*
 * Packet ids are given in order, so those in flight lie between the oldest
 * and the newest; the next one is free unless that range is all there are.
 */

static ngx_uint_t
ngx_push_take_open(ngx_push_session_t *s)
{
    uint16_t              pid;
    ngx_push_inflight_t  *e;

    if (s->nflight >= s->window) {
        return 0;
    }

    if (s->first == 0) {
        return 1;
    }

    pid = s->pid + 1;

    if (pid == 0) {
        pid = 1;
    }

    e = ngx_push_ptr(s->first);

    return e->pid != pid;
}


static ngx_uint_t
ngx_push_sub_qos(ngx_push_sub_t *sub)
{
    return ((sub->flags & (NGX_PUSH_SUB_BIND|NGX_PUSH_SUB_BIND_QOS1))
            == (NGX_PUSH_SUB_BIND|NGX_PUSH_SUB_BIND_QOS1))
           || ((sub->flags & (NGX_PUSH_SUB_OWN|NGX_PUSH_SUB_OWN_QOS1))
               == (NGX_PUSH_SUB_OWN|NGX_PUSH_SUB_OWN_QOS1));
}


void
ngx_push_out_fill(ngx_push_out_t *out, ngx_push_sub_t *sub,
    ngx_push_message_t *m, uint32_t now)
{
    ngx_push_log_t   *log;
    ngx_push_conf_t  *pcf;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    out->msg = m;
    out->incarnation = sub->incarnation;
    out->seq = m->seq;
    out->kind = sub->kind;
    out->product = pcf ? ngx_push_product_by_id(pcf, sub->product) : NULL;
    out->group.len = 0;
    out->remaining = m->expire > now ? m->expire - now : 0;
    out->ids[0] = sub->flags & NGX_PUSH_SUB_BIND ? sub->id[0] : 0;
    out->ids[1] = sub->flags & NGX_PUSH_SUB_OWN ? sub->id[1] : 0;
    out->pid = 0;
    out->qos = 0;
    out->dup = 0;

    if (sub->kind == NGX_PUSH_GROUP) {
        log = ngx_push_ptr(sub->log);
        out->group.data = ngx_push_log_name(log);
        out->group.len = log->name_len;
    }
}


/* NGX_OK; NGX_AGAIN: window or zone is full; NGX_DECLINED: not for it. */

ngx_int_t
ngx_push_take_message(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub, ngx_push_message_t *m, ngx_push_out_t *out,
    uint32_t now)
{
    ngx_uint_t            qos;
    ngx_push_inflight_t  *e, *last;

    if (m->seq - sub->sent > NGX_PUSH_TAKE_LEAP) {

        /* numbers that a store has left out do not fit into the lag */

        if (sub->lag) {
            return NGX_AGAIN;
        }

        ngx_push_set(sub->sent, m->seq - 1);
    }

    if (m->expire <= now
        || ((sub->flags & NGX_PUSH_SUB_NO_LOCAL)
            && m->from && m->from == ngx_push_session_publisher(s)))
    {
        ngx_push_sub_pass(sub, m->seq);
        return NGX_DECLINED;
    }

    qos = m->qos && ngx_push_sub_qos(sub);

    if (!qos) {
        ngx_push_out_fill(out, sub, m, now);
        ngx_push_sub_pass(sub, m->seq);
        goto done;
    }

    if (!ngx_push_take_open(s)) {
        return NGX_AGAIN;
    }

    e = ngx_push_alloc(sh, NGX_PUSH_INFLIGHT);

    if (e == NULL) {
        return NGX_AGAIN;
    }

    ngx_push_out_fill(out, sub, m, now);

    ngx_push_set(s->pid, s->pid == 65535 ? 1 : s->pid + 1);

    e->next = 0;
    e->sub = ngx_push_ref(sub);
    e->seq = m->seq;
    e->pid = s->pid;

    if (s->last) {
        last = ngx_push_ptr(s->last);
        ngx_push_set(last->next, ngx_push_ref(e));

    } else {
        ngx_push_set(s->first, ngx_push_ref(e));
    }

    ngx_push_set(s->last, ngx_push_ref(e));
    ngx_push_set(s->nflight, s->nflight + 1);
    ngx_push_set(sub->lag, sub->lag + (uint32_t) (m->seq - sub->sent));
    ngx_push_set(sub->sent, m->seq);

    out->pid = s->pid;
    out->qos = 1;

done:

    ngx_push_set(sub->hint, ngx_push_ref(m));

    /* a figure for whoever asks, not worth a lock or an undo */

    m->nsent++;

    return NGX_OK;
}


static void
ngx_push_take_sub(ngx_push_take_t *t, ngx_push_sub_t *sub)
{
    ngx_int_t            rc;
    ngx_uint_t           settle;
    ngx_push_log_t      *log;
    ngx_push_shard_t    *ch;
    ngx_push_message_t  *m;

    if (!(sub->flags & NGX_PUSH_SUB_BOUND)) {
        return;
    }

    settle = 0;
    ch = t->sh;

    if (sub->kind == NGX_PUSH_INBOX) {
        log = ngx_push_sub_inbox(t->sh, t->s, sub);

        if (log == NULL) {

            if (ngx_push_mirrored) {
                ngx_push_need_inbox(t->s, sub);
            }

            return;
        }

    } else {

        /* the log counts us and so stays: a glance needs no lock */

        log = ngx_push_ptr(sub->log);

        if (sub->log == 0
            || (*(volatile uint64_t *) &log->last == sub->sent
                && (!ngx_push_mirrored || ngx_push_take_level(log, sub))))
        {
            return;
        }

        ch = ngx_push_begin_channel(log->hash);
    }

    if (ngx_push_mirrored) {
        log = ngx_push_take_mirror(t, sub, ch, log);
    }

    while (log) {
        m = ngx_push_log_after(log, sub->sent, sub->hint);

        if (m == NULL) {

            if (log->slot.flags & NGX_PUSH_LOG_STALE) {
                log = ngx_push_take_next(t, sub, ch, log);
                continue;
            }

            break;
        }

        if (ngx_push_mirrored && sub->lag == 0 && sub->sent < m->seq - 1) {

            /* what is between has ended: "lag" has to count the rest only */

            ngx_push_set(sub->sent, m->seq - 1);
        }

        if (t->n == t->max || ngx_push_pin(m) != NGX_OK) {
            t->behind = 1;
            break;
        }

        rc = ngx_push_take_message(t->sh, t->s, sub, m, &t->out[t->n],
                                   t->now);

        if (rc == NGX_AGAIN) {
            ngx_push_unpin_last();
            t->behind = 1;
            break;
        }

        if (rc == NGX_OK) {
            t->n++;

        } else {
            ngx_push_unpin_last();
        }

        settle |= (sub->lag == 0);

        ngx_push_fault_point("take");
        ngx_push_commit_long();
    }

    t->moved |= settle;

    if (sub->kind != NGX_PUSH_INBOX) {
        ngx_push_end_channel();

    } else if (settle && log) {
        ngx_push_inbox_settle(t->sh, log, t->s->user_hash);
    }
}


/* A glance without the lock: there is nothing, and nothing to ask for. */

static ngx_uint_t
ngx_push_take_level(ngx_push_log_t *log, ngx_push_sub_t *sub)
{
    volatile ngx_push_log_t  *l;

    l = log;

    return l->incarnation == sub->incarnation && l->known <= sub->sent
           && l->check == ngx_push_zone->head->check;
}


/* The log to read, with what it lacks asked for; NULL: nothing before that. */

static ngx_push_log_t *
ngx_push_take_mirror(ngx_push_take_t *t, ngx_push_sub_t *sub,
    ngx_push_shard_t *ch, ngx_push_log_t *log)
{
    if (sub->kind != NGX_PUSH_INBOX) {
        log = ngx_push_sub_turn(t->sh, ch, t->s, sub, log->hash, log);
    }

    return ngx_push_need_look(t->s, log, sub) == NGX_OK ? log : NULL;
}


/* All of a former incarnation was taken: on to what came after it. */

static ngx_push_log_t *
ngx_push_take_next(ngx_push_take_t *t, ngx_push_sub_t *sub,
    ngx_push_shard_t *ch, ngx_push_log_t *log)
{
    ngx_push_log_t  *next;

    if (sub->lag) {

        /* not before it is acknowledged */

        t->behind = 1;
        return NULL;
    }

    if (sub->kind == NGX_PUSH_INBOX) {
        next = ngx_push_sub_inbox(t->sh, t->s, sub);

    } else {
        next = ngx_push_ptr(sub->log);
        next = ngx_push_sub_turn(t->sh, ch, t->s, sub, next->hash, next);
    }

    if (next == NULL || next == log) {
        return NULL;
    }

    return ngx_push_need_look(t->s, next, sub) == NGX_OK ? next : NULL;
}


ngx_int_t
ngx_push_take(ngx_push_conn_t *conn, ngx_push_out_t *out, ngx_uint_t max)
{
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub;
    ngx_push_take_t  t;

    ngx_push_moved_reserve();

    if (ngx_push_mirrored) {
        ngx_push_need_reserve();
    }

    t.s = ngx_push_session_lock(conn, &t.sh);

    if (t.s == NULL) {
        return NGX_DECLINED;
    }

    t.out = out;
    t.n = 0;
    t.max = max;
    t.behind = 0;
    t.moved = 0;
    t.now = ngx_push_now();

    if (ngx_push_mirrored) {
        ngx_push_need_session(t.s);
    }

    for (ref = t.s->subs; ref; ref = sub->next) {

        if (t.n == max) {
            t.behind = 1;
            break;
        }

        sub = ngx_push_ptr(ref);
        ngx_push_take_sub(&t, sub);
    }

    conn->behind = t.behind;

    ngx_push_end();

    if (t.moved) {
        ngx_push_moved_note(conn);
    }

    return t.n;
}


/*
 * NGX_OK: put into out[]; NGX_DECLINED: ended meanwhile; NGX_AGAIN: pins;
 * NGX_ABORT: it is not here, but may not have ended.
 */

static ngx_int_t
ngx_push_take_again(ngx_push_take_t *t, ngx_push_inflight_t *e)
{
    ngx_int_t            rc;
    ngx_push_sub_t      *sub;
    ngx_push_log_t      *log;
    ngx_push_out_t      *out;
    ngx_push_shard_t    *ch;
    ngx_push_message_t  *m;

    sub = ngx_push_ptr(e->sub);

    if (sub->kind == NGX_PUSH_INBOX) {
        log = ngx_push_mirrored ? ngx_push_sub_present(t->sh, t->s, sub)
                                : ngx_push_sub_inbox(t->sh, t->s, sub);
        ch = t->sh;

        if (log == NULL && !ngx_push_mirrored) {
            return NGX_DECLINED;
        }

    } else {
        log = ngx_push_ptr(sub->log);
        ch = ngx_push_begin_channel(log->hash);
    }

    if (ngx_push_mirrored) {
        log = ngx_push_take_of(t, sub, ch, log);
    }

    m = log ? ngx_push_log_after(log, e->seq - 1, 0) : NULL;
    rc = NGX_DECLINED;

    if (ngx_push_mirrored
        && (log == NULL
            || (!(log->slot.flags & NGX_PUSH_LOG_STALE)
                && (e->seq <= log->floor || e->seq > log->last))))
    {
        m = NULL;
        rc = NGX_ABORT;

        if (log && sub->kind == NGX_PUSH_INBOX
            && ngx_push_inbox_consumed(t->sh, log, t->s->user_hash, e->seq))
        {
            rc = NGX_DECLINED;
        }
    }

    if (m && m->seq == e->seq && m->expire > t->now) {
        rc = NGX_AGAIN;

        if (ngx_push_pin(m) == NGX_OK) {
            out = &t->out[t->n++];
            ngx_push_out_fill(out, sub, m, t->now);
            out->pid = e->pid;
            out->qos = 1;
            out->dup = 1;
            rc = NGX_OK;
        }
    }

    if (sub->kind != NGX_PUSH_INBOX) {
        ngx_push_end_channel();
    }

    return rc;
}


/* The log in which what is in flight of a subscription was; NULL: gone. */

static ngx_push_log_t *
ngx_push_take_of(ngx_push_take_t *t, ngx_push_sub_t *sub,
    ngx_push_shard_t *ch, ngx_push_log_t *log)
{
    uint64_t   hash;
    ngx_str_t  user;

    if (log && log->incarnation == sub->incarnation) {
        return log;
    }

    if (sub->kind == NGX_PUSH_INBOX) {
        user.data = ngx_push_session_user(t->s);
        user.len = t->s->user_len;
        hash = ngx_push_log_hash(NGX_PUSH_INBOX, sub->product, &user);

    } else {
        hash = log->hash;
    }

    return ngx_push_log_left(ch, hash, sub->incarnation);
}


/* Is an entry of the window the oldest of its subscription? */

static ngx_uint_t
ngx_push_take_first(ngx_push_session_t *s, ngx_push_inflight_t *e)
{
    ngx_push_ref_t        ref;
    ngx_push_inflight_t  *f;

    for (ref = s->first; ref != ngx_push_ref(e); ref = f->next) {
        f = ngx_push_ptr(ref);

        if (f->sub == e->sub) {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_push_retake(ngx_push_conn_t *conn, ngx_uint_t *cursor,
    ngx_push_out_t *out, ngx_uint_t max)
{
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_push_ref_t        ref;
    ngx_push_take_t       t;
    ngx_push_inflight_t  *e;

    ngx_push_moved_reserve();

    t.s = ngx_push_session_lock(conn, &t.sh);

    if (t.s == NULL) {
        return NGX_DECLINED;
    }

    t.out = out;
    t.n = 0;
    t.max = max;
    t.moved = 0;
    t.now = ngx_push_now();

    for (ref = t.s->first, i = 0; ref && i < *cursor; i++) {
        ref = ((ngx_push_inflight_t *) ngx_push_ptr(ref))->next;
    }

    rc = NGX_OK;

    while (ref && t.n < max) {

        /* another connection's window may have been larger */

        if (*cursor >= t.s->window) {
            rc = NGX_AGAIN;
            break;
        }

        e = ngx_push_ptr(ref);
        ref = e->next;

        rc = ngx_push_take_again(&t, e);

        if (rc == NGX_AGAIN) {
            break;
        }

        if (rc == NGX_OK) {
            (*cursor)++;

        } else if (rc == NGX_DECLINED) {
            t.moved |= ngx_push_window_pass(t.sh, t.s, e);
            ngx_push_commit_long();

        } else {

            /*
             * A mirror has to fetch it: it is sent anew then, and with it
             * what is in flight behind it of the same log.
             */

            ngx_push_sub_rewind(t.sh, t.s, ngx_push_ptr(e->sub),
                                ngx_push_take_first(t.s, e) ? 0 : e->seq);
            ngx_push_commit();

            for (ref = t.s->first, i = 0; ref && i < *cursor; i++) {
                ref = ((ngx_push_inflight_t *) ngx_push_ptr(ref))->next;
            }
        }
    }

    ngx_push_end();

    if (t.moved) {
        ngx_push_moved_note(conn);
    }

    return (t.n == 0 && rc == NGX_AGAIN) ? NGX_AGAIN : (ngx_int_t) t.n;
}
