
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_LOG_H_INCLUDED_
#define _NGX_PUSH_LOG_H_INCLUDED_


/*
 * Logs and messages in the zone.
 *
 * A log is append-only, its messages numbered 1, 2, 3 ...  It exists while
 * it holds something or somebody subscribes to it (channels), and stays a
 * while when it becomes empty.  When it comes back it has another
 * incarnation, never used before in this zone.  A message is known as
 * {incarnation, seq}, written "%xL-%uL" in hexadecimal and decimal.
 */


#include "ngx_push_zone.h"
#include "ngx_push_stats.h"


#define NGX_PUSH_MSG_INLINE     344
#define NGX_PUSH_CHUNK_DATA     1008
#define NGX_PUSH_LOG_INLINE     72

/* of a log, in its slot.flags: what is left of a former incarnation */

#define NGX_PUSH_LOG_STALE      0x01
#define NGX_PUSH_LOG_DOUBT      0x02   /* the store's is another one */
#define NGX_PUSH_LOG_SHED       0x10   /* counts in the bits from here up: a
                                          message at or below the floor went
                                          for another reason than its time */

#define NGX_PUSH_LOG_ASKED      0x80000000   /* in log.check: being compared */

#define NGX_PUSH_ID_LEN         (16 + 1 + 20)


/* states of a message record, in its slot.used */

#define NGX_PUSH_MSG_STORED     1      /* in a log */
#define NGX_PUSH_MSG_BUILDING   2      /* being filled, by an open undo log */
#define NGX_PUSH_MSG_ONCE       3      /* TTL 0: on its way, in no log */
#define NGX_PUSH_MSG_LIMBO      4      /* ended; may still be being sent */
#define NGX_PUSH_MSG_WILL       5      /* of a session */


typedef struct {
    ngx_push_slot_t      slot;
    ngx_push_ref_t       next;         /* in its log; limbo */
    ngx_push_ref_t       prev;
    ngx_push_ref_t       wnext;        /* in the expiry wheel */
    ngx_push_ref_t       wprev;
    ngx_push_ref_t       log;
    ngx_push_ref_t       chunk;        /* data beyond the inline part */
    uint64_t             seq;
    uint32_t             expire;       /* zone second */
    uint32_t             created;      /* zone second */
    uint32_t             size;         /* of the payload */
    uint64_t             from;         /* publisher hash, for No Local; 0:
                                          the center */
    uint8_t              qos;
    uint8_t              ctype_len;
    uint16_t             props_len;
    uint32_t             nsent;        /* to how many devices so far */
    uint16_t             product;      /* will: whom it is for; the name */
    uint8_t              kind;         /*   stands before the content type */
    uint8_t              name_len;
    u_char               data[NGX_PUSH_MSG_INLINE];
                                       /* content type, properties, payload */
} ngx_push_message_t;


typedef struct {
    ngx_push_slot_t      slot;
    ngx_push_ref_t       next;
    uint32_t             spare;
    u_char               data[NGX_PUSH_CHUNK_DATA];
} ngx_push_chunk_t;


/* The members of a channel that are online at one worker. */

typedef struct {
    ngx_push_slot_t      slot;
    ngx_push_ref_t       next;         /* of the same log */
    uint16_t             worker;       /* slot */
    uint16_t             spare;
    uint32_t             worker_gen;
    uint32_t             count;
    ngx_push_ref_t       head;         /* subscriptions, by mnext; walked by
                                          that worker alone */
    ngx_push_ref_t       log;          /* whose it is */
} ngx_push_member_t;


/* What a message to an inbox looks at stands in the first 64 bytes. */

typedef struct {
    ngx_push_slot_t      slot;
    uint64_t             incarnation;
    uint64_t             last;         /* sequence number given last */
    uint64_t             acked;        /* inbox: all known devices have it */
    ngx_push_ref_t       head;
    ngx_push_ref_t       tail;
    uint32_t             count;        /* messages held */
    uint32_t             empty;        /* zone second it became empty; 0: not */
    ngx_push_ref_t       inext;        /* list of empty logs */
    ngx_push_ref_t       iprev;
    uint8_t              kind;         /* ngx_push_kind_t */
    uint8_t              name_len;
    uint16_t             product;
    ngx_push_ref_t       hnext;
    uint64_t             hash;
    uint64_t             ended;        /* last that ended otherwise */
    uint32_t             subs;         /* channels: subscriptions, any state */
    ngx_push_ref_t       members;      /* channels: one per worker */
    ngx_push_ref_t       longname;     /* when it does not fit inline */
    uint32_t             interest;     /* channels: by the register, members
                                          it has told the store of, + 1; 0: the
                                          store does not know this node */

    /* of a mirror (ngx_push_mirror.h); 0 with the embedded store */
    uint32_t             check;        /* check epoch of the last comparison
                                          with the store, | ASKED */
    uint32_t             load;         /* zone second until which an answer of
                                          the store is awaited */
    uint64_t             floor;        /* all in (floor, last] that has not
                                          ended is here */
    uint64_t             known;        /* above last: the store has more */
    u_char               name[NGX_PUSH_LOG_INLINE];
} ngx_push_log_t;


/* Are the logs of this zone copies of a store's?  Set once per process. */

extern ngx_uint_t  ngx_push_mirrored;


/* Whom a message is for, or whose log it is. */

typedef struct {
    ngx_push_kind_t      kind;
    ngx_push_product_t  *product;
    ngx_str_t            name;         /* user, group, uplink type; empty for
                                          broadcast; uplink has one log */
    uint64_t             hash;         /* set by ngx_push_begin_log(): of the
                                          user, or of the log */
} ngx_push_target_t;


/* Shard key of an inbox and its user's sessions. */

uint64_t ngx_push_user_hash(ngx_str_t *user);
uint64_t ngx_push_log_hash(ngx_push_kind_t kind, ngx_uint_t product,
    ngx_str_t *name);

/*
 * Has the processor fetch where the look-up of a user begins, for who knows
 * early that a message will go to it.
 */

void ngx_push_prefetch_user(ngx_str_t *user);

/* Takes the lock of the shard in which the target's log is. */

ngx_push_shard_t *ngx_push_begin_log(ngx_push_target_t *t);

/* Under that lock. */

ngx_push_log_t *ngx_push_log_find(ngx_push_shard_t *sh,
    ngx_push_target_t *t);
ngx_push_log_t *ngx_push_log_get(ngx_push_shard_t *sh, ngx_push_target_t *t);
                                       /* makes it; NULL: zone full */
ngx_push_log_t *ngx_push_log_make(ngx_push_shard_t *sh, ngx_push_target_t *t);
                                       /* another one of that name */
ngx_push_ref_t *ngx_push_log_bucket(ngx_push_shard_t *sh, uint64_t hash);
u_char *ngx_push_log_name(ngx_push_log_t *log);

/* The first message after "seq"; "hint" is where it was last time, or 0. */

ngx_push_message_t *ngx_push_log_after(ngx_push_log_t *log, uint64_t seq,
    ngx_push_ref_t hint);

/* Ends all messages up to "seq", acknowledged. */

void ngx_push_log_trim(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t seq);

/* Ends one message, for a reason other than acknowledgement. */

void ngx_push_log_drop(ngx_push_shard_t *sh, ngx_push_message_t *m);

/* Messages that a log may hold, by its product. */

ngx_uint_t ngx_push_log_limit(ngx_push_target_t *t);

/* A log without messages and subscriptions is put on the list to go. */

void ngx_push_log_idle(ngx_push_shard_t *sh, ngx_push_log_t *log);

/* Bounded: expired messages, ended ones, empty logs.  Number of steps done. */

ngx_uint_t ngx_push_log_sweep(ngx_push_shard_t *sh, uint32_t now);


/*
 * Building: allocates the record and its chunks and copies the data in.
 * The message is BUILDING, in no list.  NULL: zone full, nothing is kept.
 */

ngx_push_message_t *ngx_push_message_build(ngx_push_shard_t *sh,
    ngx_str_t *ctype, ngx_str_t *props, ngx_chain_t *payload, size_t size);

/* Enters a message in the wheel of its shard; it ends when "expire" is due. */

void ngx_push_message_expire(ngx_push_shard_t *sh, ngx_push_message_t *m,
    uint32_t expire);

void ngx_push_log_append(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *m);

/* At its place by "seq", behind "prev" or, if that is NULL, first. */

void ngx_push_log_insert(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *prev, ngx_push_message_t *m, uint64_t seq);

/*
 * Out of its log and wheel and into limbo: gone for everybody but those that
 * have it pinned.  Limbo is emptied in batches, after a look at all pins.
 */

void ngx_push_message_end(ngx_push_shard_t *sh, ngx_push_message_t *m);
ngx_uint_t ngx_push_message_reclaim(ngx_push_shard_t *sh, ngx_uint_t max);


/*
 * Pins: a message read under the lock stays readable after it until
 * ngx_push_unpin(), in this process.  A turn may pin NGX_PUSH_PINS.
 */

ngx_int_t ngx_push_pin(ngx_push_message_t *m);   /* NGX_BUSY: no pin left */
void ngx_push_unpin(void);                       /* all since the hold */
void ngx_push_unpin_last(void);

/*
 * Who calls others while it has pins holds them: until the release of what
 * hold returned, ngx_push_unpin() leaves them alone.
 */

ngx_uint_t ngx_push_pin_hold(void);
void ngx_push_pin_release(ngx_uint_t hold);

/* Of a pinned message. */

ngx_uint_t ngx_push_message_iov(ngx_push_message_t *m, size_t offset,
    struct iovec *iov, ngx_uint_t max);          /* from offset to the end */
void ngx_push_message_copy(ngx_push_message_t *m, size_t offset, size_t len,
    u_char *dst);

#define ngx_push_message_payload(m)  ((size_t) (m)->ctype_len + (m)->props_len)


u_char *ngx_push_id_print(u_char *p, uint64_t incarnation, uint64_t seq);
ngx_int_t ngx_push_id_parse(ngx_str_t *id, uint64_t *incarnation,
    uint64_t *seq);


#endif /* _NGX_PUSH_LOG_H_INCLUDED_ */
