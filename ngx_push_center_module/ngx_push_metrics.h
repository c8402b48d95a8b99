
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_METRICS_H_INCLUDED_
#define _NGX_PUSH_METRICS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_push_stats.h"


/*
 * The figures of the zone as text, format 0.0.4 of Prometheus, in a chain of
 * buffers ending with last_buf; "*size" is how many bytes.  NULL: no memory.
 *
 * Any worker answers for all.  Everything is read without a lock, so figures
 * may be some instructions apart from each other.  Counters are summed over
 * all slots, also those whose process has gone; gauges over live ones.
 */

ngx_chain_t *ngx_push_metrics_write(ngx_pool_t *pool, size_t *size);


/* Between the files that write them. */

/* Where the text goes; "failed" once no memory was left. */

typedef struct {
    ngx_pool_t          *pool;
    ngx_chain_t         *first;
    ngx_chain_t         *last;
    size_t               size;
    ngx_uint_t           failed;
} ngx_push_metrics_out_t;

typedef struct {
    const char          *name;
    const char          *help;
    size_t               offset;       /* in ngx_push_stats_t */
} ngx_push_metrics_counter_t;

void ngx_push_metrics_head(ngx_push_metrics_out_t *out, const char *name,
    const char *type, const char *help);
void ngx_push_metrics_print(ngx_push_metrics_out_t *out, const char *fmt,
    ...);

/* A list of counters, up to one without a name. */

void ngx_push_metrics_list(ngx_push_metrics_out_t *out,
    ngx_push_metrics_counter_t *counters, ngx_push_stats_t *sum);

/* The journal, when this server has one. */

void ngx_push_metrics_journal(ngx_push_metrics_out_t *out,
    ngx_push_stats_t *sum);

/* The workers' clients of Redis, when it is used. */

void ngx_push_metrics_redis(ngx_push_metrics_out_t *out,
    ngx_push_stats_t *sum);

/* Of nodes, where there are several. */

void ngx_push_metrics_nodes(ngx_push_metrics_out_t *out,
    ngx_push_stats_t *sum);


#endif /* _NGX_PUSH_METRICS_H_INCLUDED_ */
