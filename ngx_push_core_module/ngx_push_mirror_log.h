
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_MIRROR_LOG_H_INCLUDED_
#define _NGX_PUSH_MIRROR_LOG_H_INCLUDED_


/* Between the files that keep logs as copies; all under the log's lock. */


#include "ngx_push_need.h"
#include "ngx_push_notify.h"


/* An empty log begins at "last" of an incarnation. */

void ngx_push_mirror_start(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint64_t incarnation, uint64_t last);

/*
 * Another incarnation takes the log over; messages go to one beside it, for
 * those who have not done with them.  NGX_OK, NGX_PUSH_FULL.
 */

ngx_int_t ngx_push_mirror_turn(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_target_t *t, uint64_t incarnation, uint64_t last);

/* A message in a record, in no log yet; NULL: the zone is full. */

ngx_push_message_t *ngx_push_mirror_build(ngx_push_shard_t *sh,
    ngx_push_mirror_t *m);

/* The store has more of it than is here. */

void ngx_push_mirror_known(ngx_push_log_t *log, uint64_t seq);

/* Drops the oldest: they are had again from the store by who wants them. */

void ngx_push_mirror_shed(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_uint_t keep);


#endif /* _NGX_PUSH_MIRROR_LOG_H_INCLUDED_ */
