
/*
 * Copyright (C) the ngx_push authors
 */


/* Logs as copies of a store's: begun, begun anew, cut short. */


#include "ngx_push_mirror_log.h"


#define NGX_PUSH_ROOM_BUCKETS   64     /* looked through for room, at once */


static ngx_uint_t ngx_push_mirror_room(ngx_push_shard_t *sh);
static ngx_uint_t ngx_push_mirror_wanted(ngx_push_shard_t *sh,
    ngx_push_log_t *log);
static ngx_push_log_t *ngx_push_log_left_next(ngx_push_shard_t *sh,
    uint64_t hash, uint64_t incarnation);


void
ngx_push_mirror_start(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t incarnation, uint64_t last)
{
    ngx_push_set(log->incarnation, incarnation);
    ngx_push_set(log->last, last);
    ngx_push_set(log->floor, last);
    ngx_push_set(log->acked, last);
    ngx_push_set(log->known, last);
    ngx_push_set(log->ended, 0);
    ngx_push_set(log->load, 0);
    ngx_push_set(log->check, ngx_push_zone->head->check);
    ngx_push_set(log->slot.flags,
                 (log->slot.flags & ~NGX_PUSH_LOG_DOUBT)
                 + NGX_PUSH_LOG_SHED);
}


/*
 * The log's record stays the present one, for members and subscriptions name
 * it.  Messages are moved one by one, with commits in between: as they go the
 * floor rises, so a log that is found half moved lacks what has left it.
 */

ngx_int_t
ngx_push_mirror_turn(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_target_t *t, uint64_t incarnation, uint64_t last)
{
    ngx_push_ref_t       ref;
    ngx_push_log_t      *left;
    ngx_push_message_t  *m;

    left = NULL;

    if (log->count) {
        left = ngx_push_log_left(sh, log->hash, log->incarnation);

        if (left == NULL) {
            left = ngx_push_log_make(sh, t);

            if (left == NULL) {
                return NGX_PUSH_FULL;
            }

            left->slot.flags = NGX_PUSH_LOG_STALE;
            left->incarnation = log->incarnation;
            left->acked = log->acked;
            left->ended = log->ended;
        }

        ngx_push_set(left->last, log->last);
    }

    while (log->head) {
        ref = log->head;
        m = ngx_push_ptr(ref);

        ngx_push_set(log->head, m->next);

        if (m->next) {
            ngx_push_set(((ngx_push_message_t *) ngx_push_ptr(m->next))->prev,
                         0);
        } else {
            ngx_push_set(log->tail, 0);
        }

        ngx_push_set(log->count, log->count - 1);

        if (m->seq > log->floor) {
            ngx_push_set(log->floor, m->seq);
        }

        ngx_push_set(m->next, 0);
        ngx_push_set(m->prev, left->tail);
        ngx_push_set(m->log, ngx_push_ref(left));

        if (left->tail) {
            ngx_push_set(((ngx_push_message_t *)
                                         ngx_push_ptr(left->tail))->next, ref);
        } else {
            ngx_push_set(left->head, ref);
        }

        ngx_push_set(left->tail, ref);
        ngx_push_set(left->count, left->count + 1);

        ngx_push_fault_point("turn");
        ngx_push_commit_long();
    }

    if (log->subs == 0 && log->empty == 0) {
        ngx_push_log_idle(sh, log);
    }

    ngx_push_mirror_start(sh, log, incarnation, last);

    return NGX_OK;
}


ngx_push_log_t *
ngx_push_log_left(ngx_push_shard_t *sh, uint64_t hash, uint64_t incarnation)
{
    ngx_push_log_t  *log;
    ngx_push_ref_t   ref;

    for (ref = *ngx_push_log_bucket(sh, hash); ref; ref = log->hnext) {
        log = ngx_push_ptr(ref);

        if (log->hash == hash && log->incarnation == incarnation
            && (log->slot.flags & NGX_PUSH_LOG_STALE))
        {
            return log;
        }
    }

    return NULL;
}


/* The oldest one left that is newer and not empty. */

static ngx_push_log_t *
ngx_push_log_left_next(ngx_push_shard_t *sh, uint64_t hash,
    uint64_t incarnation)
{
    ngx_push_log_t  *log, *next;
    ngx_push_ref_t   ref;

    next = NULL;

    for (ref = *ngx_push_log_bucket(sh, hash); ref; ref = log->hnext) {
        log = ngx_push_ptr(ref);

        if (log->hash == hash && log->incarnation > incarnation
            && (log->slot.flags & NGX_PUSH_LOG_STALE) && log->count
            && (next == NULL || log->incarnation < next->incarnation))
        {
            next = log;
        }
    }

    return next;
}


ngx_push_log_t *
ngx_push_sub_turn(ngx_push_shard_t *sh, ngx_push_shard_t *ch,
    ngx_push_session_t *s, ngx_push_sub_t *sub, uint64_t hash,
    ngx_push_log_t *log)
{
    ngx_push_log_t  *left, *next;

    if (log && sub->incarnation == log->incarnation) {
        return log;
    }

    if (log && log->incarnation == 0) {

        /* nothing is known of it but what this one has had */

        ngx_push_mirror_start(ch, log, sub->incarnation, sub->sent);
        ngx_push_set(log->check, 0);

        return log;
    }

    left = sub->incarnation ? ngx_push_log_left(ch, hash, sub->incarnation)
                            : NULL;

    if (left && (sub->lag || ngx_push_log_after(left, sub->sent, 0))) {
        return left;
    }

    next = ngx_push_log_left_next(ch, hash, sub->incarnation);

    if (next == NULL) {
        next = log;
    }

    if (next == NULL) {
        return NULL;
    }

    if (sub->lag) {

        /* what was in flight has ended with its log */

        ngx_push_window_purge(sh, s, ngx_push_ref(sub), 0);
    }

    ngx_push_set(sub->incarnation, next->incarnation);
    ngx_push_set(sub->sent, 0);
    ngx_push_set(sub->lag, 0);
    ngx_push_set(sub->hint, 0);

    if (left && left->kind == NGX_PUSH_INBOX) {
        ngx_push_inbox_settle(ch, left, s->user_hash);
    }

    return next;
}


void
ngx_push_mirror_known(ngx_push_log_t *log, uint64_t seq)
{
    if (seq > log->known) {
        ngx_push_set(log->known, seq);
    }
}


void
ngx_push_mirror_shed(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_uint_t keep)
{
    ngx_push_message_t  *m;

    while (log->count > keep) {
        m = ngx_push_ptr(log->head);

        if (m->seq > log->floor) {
            ngx_push_set(log->floor, m->seq);

        } else {
            ngx_push_set(log->slot.flags,
                         log->slot.flags + NGX_PUSH_LOG_SHED);
        }

        if (log->acked < log->floor) {
            ngx_push_set(log->acked, log->floor);
        }

        ngx_push_message_end(sh, m);
        ngx_push_commit_long();
    }
}


ngx_push_message_t *
ngx_push_mirror_build(ngx_push_shard_t *sh, ngx_push_mirror_t *m)
{
    ngx_push_message_t  *msg;

    msg = ngx_push_message_build(sh, &m->ctype, &m->props, m->payload,
                                 m->size);

    if (msg == NULL && ngx_push_mirror_room(sh)) {
        msg = ngx_push_message_build(sh, &m->ctype, &m->props, m->payload,
                                     m->size);
    }

    if (msg == NULL) {
        return NULL;
    }

    msg->qos = m->qos;
    msg->from = m->from;
    msg->created = (uint32_t) ((time_t) ngx_push_now()
                               - ngx_max(ngx_time() - m->created, 0));

    return msg;
}


/* Messages that no device wants which is here or may be back any moment. */

static ngx_uint_t
ngx_push_mirror_room(ngx_push_shard_t *sh)
{
    ngx_uint_t        i, n, keep;
    ngx_push_log_t   *log;
    ngx_push_ref_t   *table, ref;

    static uint32_t   at;

    n = 0;
    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->logs);

    for (i = 0; i < NGX_PUSH_ROOM_BUCKETS; i++) {

        for (ref = table[at++ & sh->mask]; ref; ref = log->hnext) {
            log = ngx_push_ptr(ref);

            if (log->count == 0 || log->kind == NGX_PUSH_UPLINK
                || (log->slot.flags & NGX_PUSH_LOG_STALE))
            {
                continue;
            }

            keep = 0;

            if (ngx_push_mirror_wanted(sh, log)) {

                /* most members of a channel have had what is old in it */

                keep = log->kind == NGX_PUSH_INBOX ? log->count
                                                   : (log->count + 1) / 2;
            }

            n += log->count - keep;
            ngx_push_mirror_shed(sh, log, keep);

            if (keep == 0 && log->floor < log->last) {
                ngx_push_set(log->floor, log->last);
                ngx_push_set(log->acked, log->last);
            }

            ngx_push_commit();
        }
    }

    return n;
}


static ngx_uint_t
ngx_push_mirror_wanted(ngx_push_shard_t *sh, ngx_push_log_t *log)
{
    uint64_t             hash;
    ngx_push_ref_t      *table, ref;
    ngx_push_session_t  *s;

    if (log->kind != NGX_PUSH_INBOX) {
        return log->members != 0;
    }

    hash = ngx_push_hash(0, ngx_push_log_name(log), log->name_len);
    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash == hash && s->presence != NGX_PUSH_OFFLINE) {
            return 1;
        }
    }

    return 0;
}
