
/*
 * Copyright (C) the ngx_push authors
 */


/* What the workers' Redis clients have done; nothing of it without Redis. */


#include "ngx_push_metrics.h"
#include "ngx_push_store.h"


static void ngx_push_metrics_redis_max(ngx_push_metrics_out_t *out);


static ngx_push_metrics_counter_t  ngx_push_metrics_redis_counters[] = {

    { "ngx_push_redis_calls_total",
      "Calls sent to Redis.",
      offsetof(ngx_push_stats_t, redis_calls) },

    { "ngx_push_redis_unknown_total",
      "Of them, those that were not answered in time.",
      offsetof(ngx_push_stats_t, redis_aborts) },

    { "ngx_push_redis_busy_total",
      "Calls refused since too many were in flight.",
      offsetof(ngx_push_stats_t, redis_busy) },

    { "ngx_push_redis_reconnects_total",
      "Tries to connect anew.",
      offsetof(ngx_push_stats_t, redis_reconnects) },

    { NULL, NULL, 0 }
};


void
ngx_push_metrics_redis(ngx_push_metrics_out_t *out, ngx_push_stats_t *sum)
{
    ngx_uint_t        i;
    ngx_push_conf_t  *pcf;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    if (pcf == NULL || ngx_strcmp(pcf->store->name.data, "redis") != 0) {
        return;
    }

    ngx_push_metrics_head(out, "ngx_push_redis_connections", "gauge",
                          "Usable connections of the workers to Redis.");
    ngx_push_metrics_print(out, "ngx_push_redis_connections %uL\n",
                           sum->redis_up);

    ngx_push_metrics_head(out, "ngx_push_redis_inflight", "gauge",
                          "Calls under way, of those that are bounded.");
    ngx_push_metrics_print(out, "ngx_push_redis_inflight %uL\n",
                           sum->redis_inflight);

    ngx_push_metrics_list(out, ngx_push_metrics_redis_counters, sum);

    ngx_push_metrics_head(out, "ngx_push_redis_errors_total", "counter",
                          "Error replies, and calls that could not be sent "
                          "(down).");

    for (i = 0; i < NGX_PUSH_REDIS_ERRORS; i++) {
        ngx_push_metrics_print(out, "ngx_push_redis_errors_total{error=\"%s\"}"
                               " %uL\n", ngx_push_redis_error_names[i],
                               sum->redis_errors[i]);
    }

    ngx_push_metrics_head(out, "ngx_push_redis_call_seconds_total", "counter",
                          "Time from call to answer, of all calls.");
    ngx_push_metrics_print(out, "ngx_push_redis_call_seconds_total %.6f\n",
                           sum->redis_usec / 1000000.0);

    ngx_push_metrics_redis_max(out);
}


static void
ngx_push_metrics_redis_max(ngx_push_metrics_out_t *out)
{
    ngx_uint_t          i;
    ngx_push_worker_t  *w;

    ngx_push_metrics_head(out, "ngx_push_redis_call_seconds_max", "gauge",
                          "The longest of them since the worker's start.");

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);

        if (w->state == NGX_PUSH_WORKER_LIVE
            || w->state == NGX_PUSH_WORKER_DRAINING)
        {
            ngx_push_metrics_print(out, "ngx_push_redis_call_seconds_max"
                                   "{worker=\"%ui\"} %.6f\n", i,
                                   w->stats.redis_usec_max / 1000000.0);
        }
    }
}
