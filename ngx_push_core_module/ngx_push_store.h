
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_STORE_H_INCLUDED_
#define _NGX_PUSH_STORE_H_INCLUDED_


/*
 * The store (what is not consumed yet) and the register (who is where) as
 * the parts see them.  An entry answers in one of two ways:
 *
 *   - it is done at once: it returns its result (NGX_OK or an error), with
 *     the out fields set, and never calls "done";
 *   - it returns NGX_AGAIN: it has copied what it needs of the in fields, and
 *     later calls done(handle, result, out) once, from the event loop of this
 *     worker.  "handle" is the caller's, by which it finds out whether what
 *     asked is still there (ngx_push_handle_get); "out" is the op with its out
 *     fields set, valid during the call.  A pool among the in fields belongs to
 *     the caller and may be gone by then: look the handle up before using it.
 *
 * NGX_PUSH_BUSY at once: too many are in flight, nothing was done, try later.
 * The embedded store always answers at once.
 */


#include "ngx_push_session.h"


typedef void (*ngx_push_done_pt)(ngx_push_handle_t handle, ngx_int_t rc,
    void *op);


typedef struct {
    /* in */
    ngx_push_target_t    target;
    ngx_chain_t         *payload;      /* memory buffers only */
    size_t               size;         /* of the payload */
    ngx_str_t            ctype;        /* may be empty */
    ngx_str_t            props;        /* MQTT properties to forward, raw */
    ngx_uint_t           qos;          /* 0, 1 */
    time_t               ttl;          /* seconds; 0: online only; -1: the
                                          product's default; cut to its max.
                                          out, if replayed: as it was */
    uint64_t             from;         /* ngx_push_publisher_hash() of the
                                          device; 0: the center */

    /*
     * in: a name for this very push, or empty.  Within "idempotency_keep" a
     * second save to the same target with the same key saves nothing: it gets
     * the first one's answer and "replayed", or NGX_PUSH_MISMATCH when its
     * fingerprint (of payload and options) differs, or NGX_PUSH_PROGRESS when
     * the first has no answer yet.  Too many keys: NGX_PUSH_LIMITED.
     */
    ngx_str_t            key;          /* 1 .. 255 bytes */
    uint64_t             fingerprint;

    /* out */
    uint64_t             incarnation;
    uint64_t             seq;
    ngx_uint_t           reached;      /* devices online, notified */
    time_t               expires;      /* wall clock */
    ngx_uint_t           replayed;
} ngx_push_save_t;


typedef enum {
    NGX_PUSH_STATE_SAVED = 0,          /* nobody has been sent it yet */
    NGX_PUSH_STATE_SENT,               /* to at least one device */
    NGX_PUSH_STATE_ACKED,              /* inbox: by every known device */
    NGX_PUSH_STATE_ENDED               /* TTL or limit, before that */
} ngx_push_state_t;


typedef struct {
    /* in */
    ngx_push_target_t    target;
    uint64_t             incarnation;
    uint64_t             seq;

    /* out */
    ngx_push_state_t     state;
    ngx_uint_t           nsent;        /* devices it was sent to; 0: ended */
    time_t               created;      /* wall clock; 0: no longer known */
    time_t               expires;
    size_t               size;
} ngx_push_status_t;


typedef struct {
    uint64_t             incarnation;
    uint64_t             seq;
    time_t               created;      /* wall clock */
    time_t               expires;
    ngx_str_t            ctype;
    ngx_str_t            type;         /* uplink TYPE */
    ngx_str_t            user;         /* uplink: who sent it */
    ngx_str_t            device;
    ngx_str_t            payload;
} ngx_push_entry_t;


typedef struct {
    /* in */
    ngx_push_target_t    target;
    uint64_t             incarnation;  /* 0: from the start */
    uint64_t             after;
    ngx_uint_t           max;          /* entries */
    size_t               max_bytes;    /* stop after that many of payload */
    ngx_pool_t          *pool;         /* entries are copied to it */

    /* out */
    ngx_array_t          entries;      /* of ngx_push_entry_t */
    ngx_uint_t           lost;         /* "after" is of another incarnation */
} ngx_push_read_t;


/*
 * Messages of a log that the zone does not hold and a device here wants; see
 * ngx_push_mirror.h.  All after "after"; up to "upto", or 0: to the end.
 */

typedef struct {
    ngx_push_target_t    target;       /* name: valid during the call */
    uint64_t             incarnation;  /* 0: none known here, from the start */
    uint64_t             after;
    uint64_t             upto;
} ngx_push_need_t;


struct ngx_push_store_s {
    ngx_str_t            name;

    /*
     * Saves, then notifies those online.  NGX_OK; NGX_PUSH_FULL, _TOO_LARGE,
     * NGX_ERROR: nothing was saved.  From "done" only, an NGX_ABORT means
     * nobody knows whether it was.  TTL 0 saves nothing and sends.
     */
    ngx_int_t          (*save)(ngx_push_save_t *op, ngx_push_done_pt done,
                               ngx_push_handle_t handle);

    /* NGX_OK, NGX_PUSH_NOT_FOUND. */
    ngx_int_t          (*status)(ngx_push_status_t *op, ngx_push_done_pt done,
                               ngx_push_handle_t handle);

    /* A page of a log (uplink). NGX_OK with no entries at the end. */
    ngx_int_t          (*read)(ngx_push_read_t *op, ngx_push_done_pt done,
                               ngx_push_handle_t handle);

    /*
     * Fetches into the zone, by ngx_push_mirror_begin(), or _failed().  Called
     * with no lock held, once at a time for a log of the zone.  NULL for a
     * store whose logs are the zone's.
     */
    void               (*load)(ngx_push_need_t *need);
};


typedef struct {
    ngx_push_product_t  *product;
    ngx_str_t            user;
    ngx_pool_t          *pool;
    ngx_push_user_t      result;       /* out */
} ngx_push_query_t;


typedef struct {
    /* in */
    ngx_push_conn_t     *conn;         /* may end before the answer */
    ngx_push_target_t   *targets;      /* these and their names too */
    ngx_uint_t           n;            /* 1, 2 */
    ngx_uint_t           how;          /* as ngx_push_subscribe() has it */
    ngx_uint_t           qos;
    uint32_t             id;
} ngx_push_bind_t;


struct ngx_push_register_s {
    ngx_str_t            name;

    /*
     * As ngx_push_session_claim() and _release(), for all nodes.  The conn of
     * a claim must stay until the answer.
     */
    ngx_int_t          (*claim)(ngx_push_claim_t *op, ngx_push_done_pt done,
                               ngx_push_handle_t handle);
    void               (*release)(ngx_push_conn_t *conn, ngx_uint_t broken,
                               uint32_t expiry, ngx_uint_t will);

    /* NGX_OK, NGX_PUSH_NOT_FOUND. */
    ngx_int_t          (*query)(ngx_push_query_t *op, ngx_push_done_pt done,
                               ngx_push_handle_t handle);

    /*
     * As ngx_push_subscribe() and ngx_push_unsubscribe() (of one target), for
     * all nodes: what is saved after the answer reaches the device.
     */
    ngx_int_t          (*subscribe)(ngx_push_bind_t *op,
                               ngx_push_done_pt done,
                               ngx_push_handle_t handle);
    ngx_int_t          (*unsubscribe)(ngx_push_conn_t *conn,
                               ngx_push_target_t *t, ngx_uint_t how);

    /*
     * Sessions have moved (ngx_push_moved_next()); called with no lock held,
     * once until they were taken out.  NULL: nothing is noted.
     */
    void               (*moved)(void);
};


extern ngx_push_store_t     ngx_push_memory_store;
extern ngx_push_register_t  ngx_push_memory_register;


/*
 * Handles: how async work names what may have gone when the answer comes.
 * {0, 0} is never given.  NULL data is not allowed.
 */

ngx_int_t ngx_push_handle_new(void *data, ngx_push_handle_t *handle);
void *ngx_push_handle_get(ngx_push_handle_t handle);
void ngx_push_handle_free(ngx_push_handle_t handle);


/* Zone seconds as wall clock. */

#define ngx_push_wall(sec)                                                    \
    (ngx_time() + ((time_t) (sec) - (time_t) ngx_push_now()))


/*
 * An uplink message's payload stands behind these, written by
 * ngx_push_uplink_props(): type, user and device, each with a length byte.
 */

size_t ngx_push_uplink_props(u_char *buf, ngx_str_t *type, ngx_str_t *user,
    ngx_str_t *device);                /* buf: 3 * (NGX_PUSH_NAME_MAX + 1) */


#endif /* _NGX_PUSH_STORE_H_INCLUDED_ */
