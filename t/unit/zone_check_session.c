
/*
 * Copyright (C) the ngx_push authors
 */


/* Sessions, their subscriptions, cursors and windows. */


#include "zone_look.h"


static void
check_window(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    uint32_t              n;
    ngx_push_ref_t        ref, sref, last;
    ngx_push_sub_t       *sub;
    ngx_push_inflight_t  *e;

    n = 0;
    last = 0;

    for (ref = s->first; ref; ref = e->next) {

        if (!look_see(sh, ref, NGX_PUSH_INFLIGHT, SEEN_OWNER, "window")) {
            return;
        }

        e = ngx_push_ptr(ref);
        last = ref;
        n++;

        for (sref = s->subs; sref && sref != e->sub; sref = sub->next) {
            sub = ngx_push_ptr(sref);
        }

        if (sref == 0 || e->pid == 0) {
            look_fault("window of %x: entry %x pid %u of no sub %x",
                       ngx_push_ref(s), ref, e->pid, e->sub);
        }
    }

    if (n != s->nflight || last != s->last) {
        look_fault("window of %x: %u in flight, found %u, last %x/%x",
                   ngx_push_ref(s), s->nflight, n, s->last, last);
    }

    if (n && !s->mqtt) {
        look_fault("window of %x: %u in flight without an MQTT session",
                   ngx_push_ref(s), n);
    }
}


/* lag is 0 exactly when nothing is in flight, else up to before the first */

static void
check_cursor(ngx_push_session_t *s, ngx_push_sub_t *sub)
{
    uint32_t              n;
    uint64_t              seq, first;
    ngx_push_ref_t        ref;
    ngx_push_log_t       *log;
    ngx_push_inflight_t  *e;

    n = 0;
    seq = 0;
    first = 0;

    for (ref = s->first; ref; ref = e->next) {
        e = ngx_push_ptr(ref);

        if (e->sub != ngx_push_ref(sub)) {
            continue;
        }

        if (n++ == 0) {
            first = e->seq;
        }

        /* an inbox that came back is counted from 1 again */

        if (e->seq <= seq
            && (sub->kind != NGX_PUSH_INBOX || zone_check_inboxes))
        {
            look_fault("sub %x: seq %lu after %lu in its window",
                       ngx_push_ref(sub), (unsigned long) e->seq,
                       (unsigned long) seq);
        }

        seq = e->seq;
    }

    if (sub->lag > sub->sent) {
        look_fault("sub %x: lag %u of %lu", ngx_push_ref(sub), sub->lag,
                   (unsigned long) sub->sent);
    }

    if (sub->kind == NGX_PUSH_INBOX && !zone_check_inboxes) {
        return;
    }

    if ((n != 0) != (sub->lag != 0) || seq > sub->sent
        || (n && first <= sub->sent - sub->lag))
    {
        look_fault("sub %x: sent %lu lag %u, %u in flight from %lu to %lu",
                   ngx_push_ref(sub), (unsigned long) sub->sent, sub->lag, n,
                   (unsigned long) first, (unsigned long) seq);
    }

    if (sub->kind == NGX_PUSH_INBOX || ngx_push_mirrored) {
        return;
    }

    log = ngx_push_ptr(sub->log);

    if (sub->incarnation != log->incarnation || sub->sent > log->last) {
        look_fault("sub %x: cursor %lu of log %x with last %lu",
                   ngx_push_ref(sub), (unsigned long) sub->sent, sub->log,
                   (unsigned long) log->last);
    }
}


static void
check_subs(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_uint_t           others;
    ngx_push_ref_t       ref;
    ngx_push_sub_t      *sub;

    others = 0;

    for (ref = s->subs; ref; ref = sub->next) {

        if (!look_see(sh, ref, NGX_PUSH_SUB, SEEN_OWNER, "subs")) {
            return;
        }

        sub = ngx_push_ptr(ref);

        if (sub->session != ngx_push_ref(s)) {
            look_fault("sub %x: session %x, not %x", ref, sub->session,
                       ngx_push_ref(s));
        }

        if (sub->kind == NGX_PUSH_INBOX) {

            if (others) {
                look_fault("sub %x: an inbox after others", ref);
            }

        } else {
            others = 1;

            if (ngx_push_owner(sub->log, NGX_PUSH_LOG) == NGX_ERROR
                || !((ngx_push_slot_t *) ngx_push_ptr(sub->log))->used)
            {
                look_fault("sub %x: kind %u, log %x", ref, sub->kind,
                           sub->log);
                continue;
            }

            look_subs[sub->log]++;
        }

        check_cursor(s, sub);

        if ((sub->flags & NGX_PUSH_SUB_MEMBER)
            != (look_seen[ref] & SEEN_MEMBER ? NGX_PUSH_SUB_MEMBER : 0))
        {
            look_fault("sub %x: flags %x, but in a member list %u", ref,
                       sub->flags, look_seen[ref] & SEEN_MEMBER);
        }
    }
}


void
look_session(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_ref_t       ref;
    ngx_push_message_t  *m;

    ref = ngx_push_ref(s);

    switch (s->presence) {

    case NGX_PUSH_ONLINE:
        look_census.online++;

        if (look_seen[ref] & SEEN_LIST) {
            look_fault("session %x: online, but on a list", ref);
        }

        if (!ngx_push_worker_alive(s->worker, s->worker_gen)) {
            look_fault("session %x: online at a worker that is gone", ref);
        }

        break;

    case NGX_PUSH_LINGERING:
    case NGX_PUSH_OFFLINE:

        if (s->presence == NGX_PUSH_OFFLINE) {
            look_census.offline++;
        } else {
            look_census.lingering++;
        }

        if (!(look_seen[ref] & SEEN_LIST)) {
            look_fault("session %x: presence %u, on no list", ref,
                       s->presence);
        }

        break;

    default:
        look_fault("session %x: presence %u", ref, s->presence);
    }

    if (s->longname) {
        (void) look_see(sh, s->longname, NGX_PUSH_LONGNAME, SEEN_OWNER,
                        "session");
    }

    if (s->will
        && look_see(sh, s->will, NGX_PUSH_MESSAGE, SEEN_OWNER, "will"))
    {
        m = ngx_push_ptr(s->will);

        if (m->slot.used != NGX_PUSH_MSG_WILL) {
            look_fault("session %x: its will is in state %u", ref,
                       m->slot.used);
        }
    }

    if ((s->will_at != 0) != ((look_seen[ref] & SEEN_WILL) != 0)) {
        look_fault("session %x: will due %u, listed %u", ref, s->will_at,
                   look_seen[ref] & SEEN_WILL);
    }

    if (s->slot.flags & ~NGX_PUSH_SESSION_AWAY) {
        look_fault("session %x: flags %x", ref, s->slot.flags);
    }

    check_subs(sh, s);
    check_window(sh, s);
}
