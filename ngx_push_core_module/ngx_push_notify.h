
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_NOTIFY_H_INCLUDED_
#define _NGX_PUSH_NOTIFY_H_INCLUDED_


/*
 * Who is told of a message that was just saved in this zone: noted under the
 * lock it was saved under, told after it.  A device of this very worker that
 * has all before it is given the message at once, entered as sent under the
 * same lock; anybody else gets a note and looks for himself.
 */


#include "ngx_push_take.h"
#include "ngx_push_conn.h"


#define NGX_PUSH_NOTIFY_MAX     64     /* devices or workers of one save */
#define NGX_PUSH_NOTIFY_TAKE    4      /* devices that take it at once */


typedef struct {
    ngx_push_mail_t      mail;
    uint32_t             worker;
    uint32_t             worker_gen;
    ngx_push_ref_t       sub;          /* of a device; valid under the lock */
} ngx_push_notice_t;


typedef struct {
    ngx_push_conn_t     *conn;
    ngx_push_out_t       out;          /* pinned */
} ngx_push_taken_t;


typedef struct {
    ngx_uint_t           n;
    ngx_uint_t           ntaken;
    ngx_uint_t           reached;      /* devices online */
    ngx_push_handle_t    log;
    ngx_push_handle_t    msg;
    uint64_t             seq;
    uint64_t             user_hash;    /* set by ngx_push_notify_user() */
    ngx_push_taken_t     taken[NGX_PUSH_NOTIFY_TAKE];
    ngx_push_notice_t    notice[NGX_PUSH_NOTIFY_MAX];
} ngx_push_notices_t;


void ngx_push_notify_init(ngx_push_notices_t *ns);

/* Under the lock of the log. */

/* Fetches the user's first session, for ngx_push_notify_user() soon after. */

void ngx_push_notify_prefetch(ngx_push_shard_t *sh, ngx_push_target_t *t);

/*
 * The user's devices that are online.  The user's inbox, if one of them knows
 * where it is; else NULL: look it up.
 */

ngx_push_log_t *ngx_push_notify_user(ngx_push_shard_t *sh,
    ngx_push_target_t *t, ngx_push_notices_t *ns);

/* The workers that have members of the channel. */

void ngx_push_notify_members(ngx_push_log_t *log, ngx_push_notices_t *ns);

/* Whoever is online; of an inbox the log as ngx_push_notify_user() has it. */

ngx_push_log_t *ngx_push_notify_online(ngx_push_shard_t *sh,
    ngx_push_target_t *t, ngx_push_notices_t *ns);

/* A message that was built becomes one with TTL 0, for those noted. */

void ngx_push_notify_once(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *m, ngx_push_target_t *t, ngx_push_notices_t *ns);

/* What there is to tell; "log" may be NULL. */

void ngx_push_notify_about(ngx_push_notices_t *ns, ngx_push_log_t *log,
    ngx_push_message_t *m);

/*
 * A message was appended: tells what there is, and has those take it that may.
 * The devices of an inbox, the members of a channel are noted already.
 */

void ngx_push_notify_saved(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *m, ngx_push_notices_t *ns);

/* Devices here that stand right before "m", the last of the inbox, take it. */

void ngx_push_notify_take(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_message_t *m, ngx_push_notices_t *ns);

/* No lock held: delivers what was taken, and sends the notes. */

void ngx_push_notify_send(ngx_push_notices_t *ns, ngx_uint_t inbox,
    ngx_uint_t channel);


#endif /* _NGX_PUSH_NOTIFY_H_INCLUDED_ */
