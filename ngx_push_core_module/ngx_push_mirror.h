
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_MIRROR_H_INCLUDED_
#define _NGX_PUSH_MIRROR_H_INCLUDED_


/*
 * Logs of the zone as copies of logs that a store elsewhere (Redis) keeps.
 *
 * With such a store the zone holds of a log what the devices of this node
 * need: all its messages in (floor, last], as far as they have not ended.  So
 * delivery, windows, fan-out and resending work on the zone alone, whichever
 * store there is; what is above "last" or at or below "floor" is not known
 * here, and is fetched before a cursor passes it.  "known" is the last number
 * the store is known to have given: known > last means a gap to be fetched.
 * With the embedded store the zone is the store: floor and known are 0.
 *
 * The incarnation and all numbers are the store's.  When the store comes with
 * another incarnation, messages of the old one that a device of this node has
 * not acknowledged stay with it until it has, or they expire.
 *
 * A session is checked when its logs were compared with the store since the
 * check epoch last changed.  A session that is not asks at its next heartbeat;
 * one that is asks for nothing while it idles.
 */


#include "ngx_push_store.h"


typedef struct {
    /* in */
    ngx_push_target_t    target;
    uint64_t             incarnation;
    uint64_t             seq;          /* once: 0 */
    uint64_t             prev;         /* what lies between it and seq has
                                          ended; mostly seq - 1 */
    ngx_str_t            ctype;
    ngx_str_t            props;
    ngx_chain_t         *payload;
    size_t               size;
    ngx_uint_t           qos;
    time_t               created;      /* wall clock */
    time_t               expires;
    uint64_t             from;         /* ngx_push_publisher_hash(); 0: the
                                          center */

    /* out */
    ngx_uint_t           reached;      /* devices online, notified */
} ngx_push_mirror_t;


/*
 * One message from the store.  NGX_OK: it is there, or was before, and who is
 * online was told; NGX_DECLINED: no device here is interested in the log;
 * NGX_AGAIN: others before it are missing, they are asked for and it comes
 * again with them; NGX_PUSH_FULL: the zone is full, it will be asked for
 * again when there is room.
 */

ngx_int_t ngx_push_mirror_put(ngx_push_mirror_t *m);

/* A message with TTL 0, to those online here. */

ngx_int_t ngx_push_mirror_once(ngx_push_mirror_t *m);


/*
 * The answer to a need (below): the messages in (after, upto] that have not
 * ended, in order, each put with ngx_push_mirror_fill() between _begin() and
 * _end(); "upto" is at least the log's last at the time.  incarnation 0: the
 * store has no such log.  _end() tells who is online to look again, and asks
 * for more if more is known.  Fills from below the floor go in as well.
 */

typedef struct {
    ngx_push_target_t    target;
    uint64_t             incarnation;
    uint64_t             after;
    uint64_t             upto;
    uint64_t             last;         /* the store's, now */
    uint64_t             acked;        /* by every known device; inbox */
    ngx_uint_t           filled;
    ngx_uint_t           full;         /* the zone is; stopped */

    /* of the mirror, from _begin() to _end() */
    ngx_uint_t           skip;         /* not of use any more */
    uint64_t             at;           /* as far as it has come */
    ngx_push_ref_t       hint;         /* message put in last */
    ngx_uint_t           shed;         /* of the log, as it was filled */
} ngx_push_fill_t;

ngx_int_t ngx_push_mirror_begin(ngx_push_fill_t *f);
ngx_int_t ngx_push_mirror_fill(ngx_push_fill_t *f, ngx_push_mirror_t *m);
void ngx_push_mirror_end(ngx_push_fill_t *f);

/* What was asked for cannot be had now: may be asked for again in a second. */

void ngx_push_mirror_failed(ngx_push_target_t *t);


/*
 * What the register was told of a log when a device of this node binds it or
 * comes back: the store has it in this incarnation, "last" was given last and
 * all up to "acked" is done with, so that copies of it end; incarnation 0: the
 * store has none.  Before ngx_push_subscribe(), which starts an unknown device
 * at the tail of a channel: at "known", so the log of a channel is made here
 * when there is none.  Loads nothing: what is missing is asked for when a
 * device wants it.
 * NGX_OK, NGX_PUSH_FULL.
 */

ngx_int_t ngx_push_mirror_learn(ngx_push_target_t *t, uint64_t incarnation,
    uint64_t last, uint64_t acked);


/* All that may have missed something is compared at its next heartbeat. */

void ngx_push_check_all(void);


/* Who published, the same on every node; for No Local. */

uint64_t ngx_push_publisher_hash(ngx_push_product_t *product,
    ngx_str_t *user, ngx_str_t *device);


/*
 * A session as bytes, for the register to keep: protocol, session expiry, and
 * each subscription with its options and cursor (acknowledged part), but for
 * the one in the inbox of the session's own product, which the register keeps
 * for itself.  A version first; products and groups by name.  The window is
 * not in it: what was in flight is sent anew.
 */

#define NGX_PUSH_PACKED_MAX     65536

typedef struct {
    /* out */
    ngx_push_product_t  *product;
    ngx_str_t            user;         /* in "names" */
    ngx_str_t            device;
    uint32_t             claim;        /* the register's */
    ngx_push_presence_t  presence;
    time_t               since;        /* wall clock */
    uint32_t             expiry;
    ngx_uint_t           ephemeral;
    uint64_t             incarnation;  /* of the own product's inbox, 0: none */
    uint64_t             sent;
    uint64_t             acked;
    size_t               packed;       /* bytes written */
    u_char               names[2 * NGX_PUSH_NAME_MAX];
} ngx_push_snapshot_t;

/* NGX_OK; NGX_PUSH_NOT_FOUND: gone; NGX_PUSH_TOO_LARGE: does not fit. */

ngx_int_t ngx_push_session_pack(ngx_push_handle_t session,
    ngx_push_snapshot_t *snap, u_char *buf, size_t size);


/* The protocol (4, 5) of one packed; 0: not known. */

ngx_uint_t ngx_push_packed_proto(ngx_str_t *packed);


/*
 * Sessions whose cursors have moved since they were last written to the
 * register, and those that have left with a dead worker: noted by the core
 * when the register has a "moved" entry, once each; taken out by this.
 * 0: no more.
 */

ngx_uint_t ngx_push_moved_next(ngx_push_handle_t *session);

/* How many there are to be taken out. */

ngx_uint_t ngx_push_moved_count(void);

/* Notes one, as if it had moved: what was taken out could not be written. */

void ngx_push_session_moved(ngx_push_handle_t session);

/* Sets the claim that the register has given; 0 until then. */

void ngx_push_session_registered(ngx_push_handle_t session, uint32_t claim);

/*
 * The device is now another node's: if its claim here is older than "claim",
 * or that is 0, the connection is kicked with "reason", and the session may
 * not be resumed here before the register was asked ("away").  NGX_OK: session
 * is set; NGX_PUSH_NOT_FOUND: nothing here, or newer.
 */

ngx_int_t ngx_push_session_evict(ngx_push_product_t *product,
    ngx_str_t *user, ngx_str_t *device, uint32_t claim, ngx_uint_t reason,
    ngx_push_handle_t *session);

/*
 * May a claim be answered from this node's table alone: the session is online
 * or lingering here, was registered, and is not away?
 */

ngx_uint_t ngx_push_session_resumable(ngx_push_claim_t *claim);


#endif /* _NGX_PUSH_MIRROR_H_INCLUDED_ */
