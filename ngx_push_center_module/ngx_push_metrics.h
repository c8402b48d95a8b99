
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_METRICS_H_INCLUDED_
#define _NGX_PUSH_METRICS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * The figures of the zone as text, format 0.0.4 of Prometheus, in a chain of
 * buffers ending with last_buf; "*size" is how many bytes.  NULL: no memory.
 *
 * Any worker answers for all.  Everything is read without a lock, so figures
 * may be some instructions apart from each other.  Counters are summed over
 * all slots, also those whose process has gone; gauges over live ones.
 */

ngx_chain_t *ngx_push_metrics_write(ngx_pool_t *pool, size_t *size);


#endif /* _NGX_PUSH_METRICS_H_INCLUDED_ */
