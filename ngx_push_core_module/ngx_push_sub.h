
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

/*
 * Locks the shard of a connection's session.  NULL, with nothing locked, when
 * the session is no longer the connection's.
 */

ngx_push_session_t *ngx_push_session_lock(ngx_push_conn_t *conn,
    ngx_push_shard_t **sh);

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


/* The inbox that a subscription's hint still leads to, or NULL. */

ngx_push_log_t *ngx_push_sub_hinted(ngx_push_shard_t *sh,
    ngx_push_sub_t *sub);

/* The log of an inbox subscription, the cursor set to it; NULL: none. */

ngx_push_log_t *ngx_push_sub_inbox(ngx_push_shard_t *sh,
    ngx_push_session_t *s, ngx_push_sub_t *sub);

/* The cursor goes on to "seq", with nothing put in flight. */

void ngx_push_sub_pass(ngx_push_sub_t *sub, uint64_t seq);

/* Ends what every known device of the user has, of one product. */

void ngx_push_inbox_settle(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t user_hash);

/* Gives up the window: what was in it will be sent anew. */

void ngx_push_window_drop(ngx_push_shard_t *sh, ngx_push_session_t *s);

/* Takes one entry out, as if it had been acknowledged. */

void ngx_push_window_pass(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_inflight_t *e);

/* Takes the entries of one subscription out of the window. */

void ngx_push_window_purge(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_ref_t sub);


/* wills */

void ngx_push_will_drop(ngx_push_shard_t *sh, ngx_push_session_t *s);
void ngx_push_will_schedule(ngx_push_shard_t *sh, ngx_push_session_t *s,
    uint32_t now);
ngx_int_t ngx_push_will_set(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_claim_t *claim);

/* Publishes the will of a session now; no lock held. */

void ngx_push_will_publish(ngx_push_handle_t session);


#endif /* _NGX_PUSH_SUB_H_INCLUDED_ */
