
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_SESSION_H_INCLUDED_
#define _NGX_PUSH_SESSION_H_INCLUDED_


/*
 * Sessions and subscriptions: what the node knows of a device.
 *
 * A session record stands for a device, (product of the token, user,
 * device), and stays when the device goes: ONLINE, then LINGERING for
 * "linger", then OFFLINE until "device_expiry".  It keeps the device's
 * subscriptions with their cursors; so a device that comes back gets what
 * its cursor has not passed, whatever became of its MQTT session.  The MQTT
 * session (window, active subscriptions) ends by its own expiry: then
 * subscriptions are dormant until the device subscribes again.
 *
 * All changes are made under the user's shard lock.  While a session is
 * ONLINE only the owner, {worker slot, generation, connection}, changes it;
 * anybody may take it over and so become the owner.
 */


#include "ngx_push_log.h"
#include "ngx_push_worker.h"


#define NGX_PUSH_SESSION_INLINE  52
#define NGX_PUSH_WILL_PROPS      1024  /* forwarded properties of a will */


typedef enum {
    NGX_PUSH_ONLINE = 1,
    NGX_PUSH_LINGERING,
    NGX_PUSH_OFFLINE
} ngx_push_presence_t;


/* in slot.flags: another node has the device, ask the register first */

#define NGX_PUSH_SESSION_AWAY    0x01


/* What a delivery looks at stands in the first 64 bytes. */

typedef struct {
    ngx_push_slot_t      slot;
    uint64_t             user_hash;
    ngx_push_ref_t       hnext;
    ngx_push_ref_t       subs;
    ngx_push_ref_t       first;        /* window, oldest first */
    ngx_push_ref_t       last;
    uint32_t             worker_gen;   /* owner */
    uint32_t             conn;
    uint32_t             claim;        /* counts owners: which one a kick is
                                          meant for */
    uint16_t             worker;
    uint16_t             product;
    uint16_t             pid;          /* packet id given last */
    uint16_t             nflight;
    uint16_t             window;
    uint8_t              presence;     /* ngx_push_presence_t */
    uint8_t              proto;        /* 4, 5 */
    ngx_push_ref_t       lnext;        /* linger or offline list */
    ngx_push_ref_t       lprev;
    ngx_push_ref_t       wnext;        /* list of pending wills */
    ngx_push_ref_t       wprev;
    ngx_push_ref_t       will;         /* a message record, WILL */
    ngx_push_ref_t       longname;
    uint32_t             will_delay;   /* seconds; */
    uint32_t             will_at;      /* zone second it is due; 0: not yet */
    uint32_t             since;        /* zone second of the last change */
    uint32_t             expiry;       /* MQTT session expiry, seconds */
    uint8_t              mqtt;         /* 1: there is an MQTT session */
    uint8_t              user_len;
    uint8_t              device_len;
    uint8_t              ephemeral;    /* forgotten when it goes */
    uint32_t             registered;   /* the register's claim; 0: none */
    uint16_t             check;        /* check epoch of the CHECKED marks, in
                                          16 bits; 0: they do not count */
    uint16_t             asked;        /* zone second, 16 bits, until which
                                          the ASKED marks count */
    u_char               name[NGX_PUSH_SESSION_INLINE];   /* user, device */
} ngx_push_session_t;


/* how a subscription came about; a bind makes an inbox and a broadcast one */

#define NGX_PUSH_SUB_BIND        0x01  /* by PRODUCT/# */
#define NGX_PUSH_SUB_OWN         0x02  /* by its own filter */
#define NGX_PUSH_SUB_BOUND       0x03  /* neither: dormant, keeps a cursor */
#define NGX_PUSH_SUB_MEMBER      0x04  /* in its worker's member list */
#define NGX_PUSH_SUB_NO_LOCAL    0x08
#define NGX_PUSH_SUB_BIND_QOS1   0x10  /* granted */
#define NGX_PUSH_SUB_OWN_QOS1    0x20
#define NGX_PUSH_SUB_CHECKED     0x40  /* inbox of a mirror without a log */
#define NGX_PUSH_SUB_ASKED       0x80  /*   here: compared; being so */
#define NGX_PUSH_SUB_FORGET      0x100 /* of a call only */
#define NGX_PUSH_SUB_KEEP        0x200

#define NGX_PUSH_SUBS_MAX        1024  /* of one session */


/*
 * A cursor in a log.  All up to "sent" was sent or passed over; all up to
 * sent - lag is done.  lag is 0 exactly when nothing of this log is in
 * flight.  "log" of a channel is always valid, for the log counts it; of an
 * inbox it is a hint, good if the log there is of this incarnation.
 */

typedef struct {
    ngx_push_slot_t      slot;
    ngx_push_ref_t       session;
    ngx_push_ref_t       next;         /* of the session */
    ngx_push_ref_t       log;
    ngx_push_ref_t       mnext;        /* members of a channel here, under */
    ngx_push_ref_t       mprev;        /*   the channel's lock */
    ngx_push_ref_t       hint;         /* message sent last */
    uint64_t             incarnation;  /* of the log the cursor is in */
    uint64_t             sent;
    uint32_t             lag;
    uint16_t             product;
    uint8_t              kind;
    uint8_t              flags;
    uint32_t             id[2];        /* subscription ids: bind, own; or 0 */
} ngx_push_sub_t;


typedef struct {
    ngx_push_slot_t      slot;
    ngx_push_ref_t       next;
    ngx_push_ref_t       sub;
    uint64_t             seq;
    uint16_t             pid;
    uint16_t             spare;
    uint32_t             spare2;
} ngx_push_inflight_t;


/* Claiming a session for a connection; the register's op. */

typedef struct {
    /* in */
    ngx_push_product_t  *product;
    ngx_str_t            user;
    ngx_str_t            device;
    ngx_push_conn_t     *conn;         /* attached; session is set on NGX_OK */
    ngx_uint_t           proto;        /* 4, 5 */
    ngx_uint_t           window;       /* 1 .. 65535 */
    uint32_t             expiry;       /* seconds, already cut to the limit */
    unsigned             clean:1;      /* Clean Start */
    unsigned             ephemeral:1;  /* a device id nobody can use again */

    /* in: the will, when will.product is set */
    ngx_push_target_t    will;
    ngx_str_t            will_payload;
    ngx_str_t            will_ctype;
    ngx_str_t            will_props;   /* forwarded properties, raw */
    uint32_t             will_delay;
    ngx_uint_t           will_qos;
    uint32_t             will_ttl;     /* 0: the product's default */

    /*
     * in: what the register keeps of the device (ngx_push_session_pack()), or
     * empty: its subscriptions, if "newer" than the zone's, and its cursors,
     * of which the further one counts; the claim that it has given, or 0; and
     * the one it had given before, when that was to this node, else 0: if the
     * session does not follow on it, the zone's is old after all.
     */
    ngx_str_t            packed;
    uint64_t             incarnation;  /* and the cursor in the inbox of its */
    uint64_t             acked;        /*   own product, 0: none */
    unsigned             newer:1;
    uint32_t             registered;
    uint32_t             before;

    /* out */
    ngx_uint_t           present;      /* the MQTT session was resumed */
} ngx_push_claim_t;


/*
 * The functions below take the locks they need and are whole or nothing.
 * Where they take a conn they answer NGX_DECLINED when the session is no
 * longer this connection's: it has been taken over, close it.
 */

/*
 * NGX_OK, NGX_PUSH_FULL.  The former owner gets a KICK (0x8E) by mail.
 * NGX_DECLINED: "registered" is older than what the session was given last, so
 * another connection of the device is newer than this one.
 */

ngx_int_t ngx_push_session_claim(ngx_push_claim_t *claim);

/*
 * The connection ends.  "broken": it lingers; else it goes offline at once.
 * "expiry" replaces the MQTT session's (DISCONNECT may change it).  "will":
 * the will is to be published after its delay; else it is discarded.
 * Detaches the conn, clears conn->session.
 */

void ngx_push_session_release(ngx_push_conn_t *conn, ngx_uint_t broken,
    uint32_t expiry, ngx_uint_t will);

/*
 * Subscribes to n targets in one transaction, to all or to none: "how" is
 * NGX_PUSH_SUB_BIND or _OWN, maybe | _NO_LOCAL; a bind has two, INBOX and
 * BROADCAST.  A channel can only be the last of them.  A known device goes on
 * at its cursor, an unknown one starts at the oldest message of an inbox, at
 * the tail of a channel.  Again with the same: qos, id and flags are replaced.
 * NGX_OK, NGX_PUSH_FULL, NGX_DECLINED.  Call notify yourself afterwards.
 */

ngx_int_t ngx_push_subscribe(ngx_push_conn_t *conn, ngx_push_target_t *t,
    ngx_uint_t n, ngx_uint_t how, ngx_uint_t qos, uint32_t id);

/*
 * How a target is subscribed to by "how", as ngx_push_subscribe() was told;
 * "how" of the result is 0 when it is not.  NGX_OK, NGX_DECLINED.
 */

typedef struct {
    ngx_uint_t           how;
    ngx_uint_t           qos;
    uint32_t             id;
    ngx_uint_t           known;        /* there is a cursor, maybe dormant */
} ngx_push_options_t;

ngx_int_t ngx_push_subscription(ngx_push_conn_t *conn, ngx_push_target_t *t,
    ngx_uint_t how, ngx_push_options_t *options);

/*
 * NGX_OK, NGX_PUSH_NOT_FOUND (there was none), NGX_DECLINED.  Leaving a group
 * forgets its cursor, if "how" has not | _KEEP; an inbox and a broadcast keep
 * it, if it has not | _FORGET.
 */

ngx_int_t ngx_push_unsubscribe(ngx_push_conn_t *conn, ngx_push_target_t *t,
    ngx_uint_t how);


/* One message to be written to one device. */

struct ngx_push_out_s {
    ngx_push_message_t  *msg;          /* pinned */
    uint64_t             incarnation;
    uint64_t             seq;          /* 0: TTL 0, no id */
    ngx_push_kind_t      kind;
    ngx_push_product_t  *product;      /* NULL: not in this configuration */
    ngx_str_t            group;        /* of a group; valid until the conn's
                                          subscriptions change */
    uint32_t             remaining;    /* seconds to live */
    uint32_t             ids[2];       /* subscription ids, 0: none */
    uint16_t             pid;          /* 0: QoS 0 */
    uint8_t              qos;
    uint8_t              dup;
};


/*
 * What is to be sent next to this device, in order within each log, as far as
 * its window is open, at most "max": the number put into out[], 0 for nothing,
 * NGX_DECLINED.  The books say "sent" on return; if writing then fails, the
 * connection must end, and they are right again when the device is back.
 * Messages are pinned: write them (or copy), then ngx_push_unpin().
 */

ngx_int_t ngx_push_take(ngx_push_conn_t *conn, ngx_push_out_t *out,
    ngx_uint_t max);

/*
 * After a resumed claim: the window again, oldest first, with dup = 1, before
 * the first ngx_push_take().  "*cursor" starts at 0 and is kept by the caller;
 * 0 out is the end; NGX_AGAIN: the window is smaller than it was and "*cursor"
 * has filled it, or nothing can be pinned: go on after an acknowledgement,
 * which takes one from "*cursor".  A message that has ended meanwhile is left
 * out and counted as done.
 */

ngx_int_t ngx_push_retake(ngx_push_conn_t *conn, ngx_uint_t *cursor,
    ngx_push_out_t *out, ngx_uint_t max);

/*
 * PUBACK.  NGX_OK; NGX_PUSH_NOT_FOUND: nothing in flight has this id;
 * NGX_DECLINED.
 */

ngx_int_t ngx_push_ack(ngx_push_conn_t *conn, ngx_uint_t pid);

/* A PUBLISH that cannot be sent (too large for the client): as if acked. */

#define ngx_push_skip(conn, pid)  ngx_push_ack(conn, pid)


/* What GET user tells of one device. */

#define NGX_PUSH_NO_WORKER      NGX_PUSH_WORKERS

typedef struct {
    ngx_str_t            device;       /* copied to the pool */
    ngx_push_presence_t  presence;
    time_t               since;        /* wall clock */
    ngx_str_t            node;         /* empty: this one */
    ngx_uint_t           worker;       /* _NO_WORKER: of another node */
    ngx_uint_t           proto;        /* 0: not known */
    ngx_uint_t           nflight;
    ngx_uint_t           bound;        /* to the product asked for */
    uint64_t             acked;        /* inbox cursor, seq */
    uint64_t             queued;       /* inbox messages behind it */
} ngx_push_device_t;


typedef struct {
    ngx_array_t          devices;      /* of ngx_push_device_t */
    uint64_t             incarnation;  /* of the inbox; 0: there is none */
    uint64_t             queued;       /* messages held */
    uint64_t             last;
    uint64_t             acked;        /* by every known device */
    ngx_uint_t           more;         /* devices beyond the limit of 1000 */
} ngx_push_user_t;


/* NGX_OK; NGX_PUSH_NOT_FOUND: no device known and no inbox; NGX_ERROR */

ngx_int_t ngx_push_session_query(ngx_push_product_t *product,
    ngx_str_t *user, ngx_push_user_t *u, ngx_pool_t *pool);


/* Housekeeping, from the worker's tick; bounded. */

void ngx_push_session_sweep(ngx_push_shard_t *sh, ngx_push_conf_t *pcf,
    uint32_t now);
ngx_uint_t ngx_push_session_sweep_worker(ngx_push_worker_t *dead);
void ngx_push_wills_run(ngx_uint_t shard, uint32_t now);


#endif /* _NGX_PUSH_SESSION_H_INCLUDED_ */
