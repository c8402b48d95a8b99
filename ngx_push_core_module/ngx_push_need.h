
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_NEED_H_INCLUDED_
#define _NGX_PUSH_NEED_H_INCLUDED_


/*
 * What a mirror lacks: noted under the locks, asked of the store at the end
 * of this turn of the event loop.  Only with such a store (ngx_push_mirrored)
 * may any of these be called, but init and tick.
 */


#include "ngx_push_sub.h"
#include "ngx_push_mirror.h"


#define NGX_PUSH_LOAD_WAIT      5      /* seconds; then it is forgotten */
#define NGX_PUSH_GAP_WAIT       20     /* ms for what is late to come itself */
#define NGX_PUSH_LOAD_AGAIN     1000   /* ms after one that failed */


void ngx_push_need_init(ngx_cycle_t *cycle, ngx_push_conf_t *pcf);

/* No lock held: room for the needs of one transaction. */

void ngx_push_need_reserve(void);

/*
 * Looks what a subscription lacks in the present log that it reads, under the
 * log's lock.  NGX_OK: what the log has for it may be taken; NGX_AGAIN: a hole
 * comes first.
 */

ngx_int_t ngx_push_need_look(ngx_push_session_t *s, ngx_push_log_t *log,
    ngx_push_sub_t *sub);

/* The same for an inbox of which there is no log here; begins an epoch. */

void ngx_push_need_inbox(ngx_push_session_t *s, ngx_push_sub_t *sub);
void ngx_push_need_session(ngx_push_session_t *s);

/* The marks of the epoch, in the 16 bits of a session. */

#define ngx_push_need_epoch()                                                 \
    ((uint16_t) (ngx_push_zone->head->check % 65535 + 1))

/* A log goes that lacked something: its user's sessions ask. */

void ngx_push_need_forget(ngx_push_shard_t *sh, ngx_push_log_t *log);
void ngx_push_need_users(ngx_push_shard_t *sh, uint64_t user_hash);

/* What is after "last" is asked for: now, or when it is due. */

void ngx_push_need_tail(ngx_push_log_t *log);
void ngx_push_need_gap(ngx_push_log_t *log, ngx_push_target_t *t);

/* In some ms all online look again, which asks; a copy of "t" is kept. */

void ngx_push_need_later(ngx_push_target_t *t, ngx_msec_t wait);

/* Tells all who are online to look; takes the lock itself. */

void ngx_push_need_tell(ngx_push_target_t *t);


#endif /* _NGX_PUSH_NEED_H_INCLUDED_ */
