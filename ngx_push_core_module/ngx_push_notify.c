
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_notify.h"
#include "ngx_push_moved.h"


#define NGX_PUSH_ONCE_KEEP      10     /* seconds a TTL 0 message may take */


static ngx_push_sub_t *ngx_push_notify_sub(ngx_push_session_t *s,
    ngx_uint_t product);
static ngx_int_t ngx_push_notify_try(ngx_push_shard_t *sh,
    ngx_push_log_t *log, ngx_push_message_t *m, ngx_push_notice_t *notice,
    ngx_push_taken_t *taken);


void
ngx_push_notify_init(ngx_push_notices_t *ns)
{
    /* the arrays are not touched before they are used */

    ngx_memzero(ns, offsetof(ngx_push_notices_t, taken));
}


/* The inbox subscriptions of a session stand first. */

static ngx_push_sub_t *
ngx_push_notify_sub(ngx_push_session_t *s, ngx_uint_t product)
{
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub;

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);

        if (sub->kind != NGX_PUSH_INBOX) {
            break;
        }

        if (sub->product == product && (sub->flags & NGX_PUSH_SUB_BOUND)) {
            return sub;
        }
    }

    return NULL;
}


void
ngx_push_notify_prefetch(ngx_push_shard_t *sh, ngx_push_target_t *t)
{
    ngx_push_ref_t  *table;

    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    __builtin_prefetch(ngx_push_ptr(table[t->hash & sh->mask]));
}


ngx_push_log_t *
ngx_push_notify_user(ngx_push_shard_t *sh, ngx_push_target_t *t,
    ngx_push_notices_t *ns)
{
    uint64_t             user_hash;
    ngx_push_log_t      *log, *inbox;
    ngx_push_ref_t      *table, ref;
    ngx_push_sub_t      *sub;
    ngx_push_notice_t   *notice;
    ngx_push_session_t  *s;

    inbox = NULL;
    user_hash = t->hash;
    ns->user_hash = user_hash;
    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[user_hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash != user_hash || s->presence != NGX_PUSH_ONLINE
            || !ngx_push_worker_alive(s->worker, s->worker_gen))
        {
            continue;
        }

        sub = ngx_push_notify_sub(s, t->product->id);

        if (sub == NULL) {
            continue;
        }

        log = ngx_push_sub_hinted(sh, sub);

        if (log) {
            inbox = log;
        }

        if (ns->n == NGX_PUSH_NOTIFY_MAX) {

            /* a crowd under one name: they look for themselves */

            ngx_push_worker_slot(s->worker)->mailbox.resync = 1;
            continue;
        }

        notice = &ns->notice[ns->n++];
        ns->reached++;

        notice->worker = s->worker;
        notice->worker_gen = s->worker_gen;
        notice->sub = ngx_push_ref(sub);
        notice->mail.conn = s->conn;
        notice->mail.to.index = ref;
        notice->mail.to.gen = s->slot.gen;
    }

    return inbox;
}


void
ngx_push_notify_members(ngx_push_log_t *log, ngx_push_notices_t *ns)
{
    ngx_push_ref_t      ref;
    ngx_push_notice_t  *notice;
    ngx_push_member_t  *member;

    for (ref = log->members; ref; ref = member->next) {
        member = ngx_push_ptr(ref);

        if (member->count == 0
            || !ngx_push_worker_alive(member->worker, member->worker_gen))
        {
            continue;
        }

        ns->reached += member->count;

        if (ns->n == NGX_PUSH_NOTIFY_MAX) {
            ngx_push_worker_slot(member->worker)->mailbox.resync = 1;
            continue;
        }

        notice = &ns->notice[ns->n++];
        notice->worker = member->worker;
        notice->worker_gen = member->worker_gen;
        notice->mail.to.index = 0;
    }
}


void
ngx_push_notify_about(ngx_push_notices_t *ns, ngx_push_log_t *log,
    ngx_push_message_t *m)
{
    if (log) {
        ns->log.index = ngx_push_ref(log);
        ns->log.gen = log->slot.gen;
    }

    ns->msg.index = ngx_push_ref(m);
    ns->msg.gen = m->slot.gen;
    ns->seq = m->seq;
}


/*
 * NGX_OK: taken; NGX_DECLINED: not for it; NGX_AGAIN: it has to look itself.
 */

static ngx_int_t
ngx_push_notify_try(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *m, ngx_push_notice_t *notice, ngx_push_taken_t *taken)
{
    uint64_t             before;
    ngx_int_t            rc;
    ngx_push_sub_t      *sub;
    ngx_push_conn_t     *pc;
    ngx_push_session_t  *s;

    pc = ngx_push_conn_get(notice->mail.conn);
    s = ngx_push_ptr(notice->mail.to.index);
    sub = ngx_push_ptr(notice->sub);

    if (pc == NULL || pc->blocked || pc->behind
        || pc->session.index != notice->mail.to.index
        || pc->session.gen != notice->mail.to.gen
        || pc->claim != s->claim)
    {
        return NGX_AGAIN;
    }

    before = m->prev ? ((ngx_push_message_t *) ngx_push_ptr(m->prev))->seq
                     : 0;

    if (ngx_push_mirrored) {

        /* what is not here may have to be had before it */

        before = ngx_max(before, log->floor);
    }

    if (ngx_push_sub_inbox(sh, s, sub) != log || sub->sent < before) {
        return NGX_AGAIN;
    }

    if (sub->sent >= m->seq) {

        /* a mirror may be late, and the device have had it elsewhere */

        return NGX_DECLINED;
    }

    if (ngx_push_pin(m) != NGX_OK) {
        return NGX_AGAIN;
    }

    rc = ngx_push_take_message(sh, s, sub, m, &taken->out, ngx_push_now());

    if (sub->lag == 0 && rc != NGX_AGAIN) {
        ngx_push_moved_note(pc);
    }

    if (rc != NGX_OK) {
        ngx_push_unpin_last();
        return rc;
    }

    taken->conn = pc;

    return NGX_OK;
}


void
ngx_push_notify_take(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *m, ngx_push_notices_t *ns)
{
    ngx_int_t           rc;
    ngx_uint_t          i, settle;
    ngx_push_sub_t     *sub;
    ngx_push_notice_t  *notice;

    settle = 0;

    for (i = 0; i < ns->n && ns->ntaken < NGX_PUSH_NOTIFY_TAKE; /* void */ ) {
        notice = &ns->notice[i];

        if (notice->worker != ngx_push_self->index
            || notice->worker_gen != ngx_push_self->gen)
        {
            i++;
            continue;
        }

        sub = ngx_push_ptr(notice->sub);

        rc = ngx_push_notify_try(sh, log, m, notice, &ns->taken[ns->ntaken]);

        ngx_push_fault_point("take");
        ngx_push_commit_long();

        if (rc == NGX_AGAIN) {
            i++;
            continue;
        }

        if (rc == NGX_OK) {
            ns->ntaken++;
        }

        settle |= (sub->lag == 0);

        if (i != --ns->n) {
            *notice = ns->notice[ns->n];
        }
    }

    if (settle) {
        ngx_push_inbox_settle(sh, log, ns->user_hash);
    }
}


void
ngx_push_notify_saved(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *m, ngx_push_notices_t *ns)
{
    ngx_push_notify_about(ns, log, m);

    if (log->kind == NGX_PUSH_INBOX) {
        ngx_push_notify_take(sh, log, m, ns);
    }
}


ngx_push_log_t *
ngx_push_notify_online(ngx_push_shard_t *sh, ngx_push_target_t *t,
    ngx_push_notices_t *ns)
{
    ngx_push_log_t  *log;

    if (t->kind == NGX_PUSH_INBOX) {
        return ngx_push_notify_user(sh, t, ns);
    }

    log = ngx_push_log_find(sh, t);

    if (log) {
        ngx_push_notify_members(log, ns);
    }

    return log;
}


/* "seq" counts the notes to come back. */

void
ngx_push_notify_once(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *m, ngx_push_target_t *t, ngx_push_notices_t *ns)
{
    ngx_push_set(m->slot.used, NGX_PUSH_MSG_ONCE);
    m->product = t->product->id;
    m->kind = t->kind;
    m->seq = ns->n;

    ngx_push_message_expire(sh, m, ngx_push_now() + NGX_PUSH_ONCE_KEEP);

    ngx_push_notify_about(ns, log, m);
}


void
ngx_push_notify_send(ngx_push_notices_t *ns, ngx_uint_t inbox,
    ngx_uint_t channel)
{
    ngx_uint_t         i, hold;
    ngx_push_mail_t   *mail;
    ngx_push_conn_t   *pc;

    if (ns->ntaken) {
        hold = ngx_push_pin_hold();

        for (i = 0; i < ns->ntaken; i++) {
            pc = ns->taken[i].conn;
            pc->transport->deliver(pc, &ns->taken[i].out);
        }

        ngx_push_pin_release(hold);
    }

    for (i = 0; i < ns->n; i++) {
        mail = &ns->notice[i].mail;

        mail->reason = 0;
        mail->spare = 0;
        mail->msg = ns->msg;
        mail->seq = ns->seq;

        if (mail->to.index) {
            mail->type = inbox;

        } else {
            mail->type = channel;
            mail->conn = 0;
            mail->to = ns->log;
        }

        ngx_push_mail_send(ns->notice[i].worker, ns->notice[i].worker_gen,
                           mail);
    }
}
