
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_PACE_H_INCLUDED_
#define _NGX_PUSH_PACE_H_INCLUDED_


/*
 * How fast broadcasts go out: "broadcast_rate" is of all nodes together, a
 * node has the part of it that is its part of the devices online, a worker
 * the part that is its part of the node's members.
 */


#include "ngx_push_conn.h"


void ngx_push_pace_init(void);

/* Is there a limit at all? */

extern ngx_uint_t  ngx_push_pace_rate;

/* Under the lock of the log that is walked: this worker's part of it. */

void ngx_push_pace_share(ngx_push_log_t *log);

/* So many may be served now, "max" at most; 0: none for "*wait" ms. */

ngx_uint_t ngx_push_pace_take(ngx_uint_t max, ngx_msec_t *wait);

/* Of them, so many were not. */

void ngx_push_pace_give(ngx_uint_t n);


#endif /* _NGX_PUSH_PACE_H_INCLUDED_ */
