
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_SUB_H_INCLUDED_
#define _NGX_PUSH_SUB_H_INCLUDED_


/*
 * Between the files that work on sessions and subscriptions; all of these are
 * called with the user's shard lock held.
 */


#include "ngx_push_session.h"


/* user, then device, one behind the other */

u_char *ngx_push_session_user(ngx_push_session_t *s);

/* ngx_push_publisher_hash() of the session's device; 0: product not here */

uint64_t ngx_push_session_publisher(ngx_push_session_t *s);

/* The session of the device that a claim names. */

ngx_push_session_t *ngx_push_session_find(ngx_push_shard_t *sh,
    uint64_t user_hash, ngx_push_claim_t *claim);

/*
 * Sends away who has the session, with "reason", and publishes its will if
 * that is due by the claim, or by its delay when there is none.  The lock is
 * released.
 */

void ngx_push_session_vacate(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_claim_t *claim, ngx_uint_t reason);

/*
 * What the register keeps of it (claim->packed) into the session, which is
 * online nowhere.  NGX_OK, NGX_PUSH_FULL; what is malformed is left alone.
 */

ngx_int_t ngx_push_session_unpack(ngx_push_shard_t *sh,
    ngx_push_session_t *s, ngx_push_claim_t *claim);

/*
 * Locks the shard of a connection's session.  NULL, with nothing locked, when
 * the session is no longer the connection's.
 */

ngx_push_session_t *ngx_push_session_lock(ngx_push_conn_t *conn,
    ngx_push_shard_t **sh);

/* Locks the session's shard.  NULL, with nothing locked: it is gone. */

ngx_push_session_t *ngx_push_session_by_handle(ngx_push_handle_t session);

/* Is the session, found without its lock, this connection's right now? */

#define ngx_push_session_mine(s)                                              \
    ((s)->presence == NGX_PUSH_ONLINE                                         \
     && (s)->worker == ngx_push_self->index                                   \
     && (s)->worker_gen == ngx_push_self->gen)


/* Enters, leaves the member lists of all its channels; commits. */

void ngx_push_subs_join(ngx_push_shard_t *sh, ngx_push_session_t *s);
void ngx_push_subs_leave(ngx_push_shard_t *sh, ngx_push_session_t *s);

/* Dormant: keeps the cursors; not online any more. */

void ngx_push_subs_sleep(ngx_push_shard_t *sh, ngx_push_session_t *s);

/* Forgets all of them, one commit each. */

void ngx_push_subs_forget(ngx_push_shard_t *sh, ngx_push_session_t *s);

/* The member record of a worker in a channel, under the channel's lock. */

ngx_push_member_t *ngx_push_member_find(ngx_push_log_t *log, uint32_t worker,
    uint32_t worker_gen);


/* The present inbox of a subscription, or NULL; the cursor is left alone. */

ngx_push_log_t *ngx_push_sub_present(ngx_push_shard_t *sh,
    ngx_push_session_t *s, ngx_push_sub_t *sub);

/* The inbox that a subscription's hint still leads to, or NULL. */

ngx_push_log_t *ngx_push_sub_hinted(ngx_push_shard_t *sh,
    ngx_push_sub_t *sub);

/*
 * A mirror: what is left of an incarnation in the shard, of the log's name;
 * and the log that a subscription reads now, of those there are: what is left
 * of a former incarnation first.  The cursor is set to it.  "log" is the
 * present one and may be NULL, for an inbox, and so may be the answer.
 */

ngx_push_log_t *ngx_push_log_left(ngx_push_shard_t *sh, uint64_t hash,
    uint64_t incarnation);
ngx_push_log_t *ngx_push_sub_turn(ngx_push_shard_t *sh, ngx_push_shard_t *ch,
    ngx_push_session_t *s, ngx_push_sub_t *sub, uint64_t hash,
    ngx_push_log_t *log);

/*
 * The subscription as the register has it: made when there is none, "flags"
 * and ids taken over if "newer"; the cursor if it is further.  In no member
 * list yet.  NGX_OK, NGX_PUSH_FULL.
 */

ngx_int_t ngx_push_sub_restore(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_target_t *t, ngx_push_sub_t *as, ngx_uint_t newer);

/* Forgets the groups that were not restored. */

void ngx_push_subs_prune(ngx_push_shard_t *sh, ngx_push_session_t *s);

/*
 * What is in flight of a subscription will be sent anew: all of it, or from a
 * message on that has others of it before it in the window.
 */

void ngx_push_sub_rewind(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub, uint64_t from);

/* The log of an inbox subscription, the cursor set to it; NULL: none. */

ngx_push_log_t *ngx_push_sub_inbox(ngx_push_shard_t *sh,
    ngx_push_session_t *s, ngx_push_sub_t *sub);

/* The cursor goes on to "seq", with nothing put in flight. */

void ngx_push_sub_pass(ngx_push_sub_t *sub, uint64_t seq);

/* Ends what every known device of the user has, of one product. */

void ngx_push_inbox_settle(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t user_hash);

/* By "consume_once": has a device of this node acknowledged it? */

ngx_uint_t ngx_push_inbox_consumed(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t user_hash, uint64_t seq);

/* Gives up the window: what was in it will be sent anew. */

void ngx_push_window_drop(ngx_push_shard_t *sh, ngx_push_session_t *s);

/* Takes one entry out, as if it was acknowledged; 1: the cursor has moved. */

ngx_uint_t ngx_push_window_pass(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_inflight_t *e);

/* Takes the entries of one subscription out of the window, those >= "from" */

void ngx_push_window_purge(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_ref_t sub, uint64_t from);


/* wills */

void ngx_push_will_drop(ngx_push_shard_t *sh, ngx_push_session_t *s);
void ngx_push_will_schedule(ngx_push_shard_t *sh, ngx_push_session_t *s,
    uint32_t now);
ngx_int_t ngx_push_will_set(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_claim_t *claim);

/* Publishes the will of a session now; no lock held. */

void ngx_push_will_publish(ngx_push_handle_t session);


#endif /* _NGX_PUSH_SUB_H_INCLUDED_ */
