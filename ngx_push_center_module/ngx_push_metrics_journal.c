
/*
 * Copyright (C) the ngx_push authors
 */


/* The journal's part of the metrics. */


#include "ngx_push_metrics.h"
#include "ngx_push_session.h"


void
ngx_push_metrics_journal(ngx_push_metrics_out_t *out, ngx_push_stats_t *sum)
{
    int64_t             lag;
    uint64_t            oldest, spilled;
    ngx_uint_t          i;
    ngx_time_t         *tp;
    ngx_push_conf_t    *pcf;
    ngx_push_worker_t  *w;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    if (pcf == NULL || pcf->journal == NULL) {
        return;
    }

    /* the folder is common to all workers: no sum of what each has seen */

    oldest = 0;
    spilled = 0;

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);

        if (!ngx_push_worker_alive(i, w->gen)) {
            continue;
        }

        spilled = ngx_max(spilled, w->stats.journal_spilled);

        if (w->stats.journal_oldest
            && (oldest == 0 || w->stats.journal_oldest < oldest))
        {
            oldest = w->stats.journal_oldest;
        }
    }

    tp = ngx_timeofday();
    lag = (int64_t) tp->sec * 1000 + tp->msec - (int64_t) oldest;

    if (oldest == 0 || lag < 0) {
        lag = 0;
    }

    ngx_push_metrics_head(out, "ngx_push_journal_lag_seconds", "gauge",
                          "Age of the oldest row that is not in MySQL.");
    ngx_push_metrics_print(out, "ngx_push_journal_lag_seconds %L.%03L\n",
                           lag / 1000, lag % 1000);

    ngx_push_metrics_head(out, "ngx_push_journal_rows_total", "counter",
                          "Rows written to MySQL, by table.");
    ngx_push_metrics_print(out, "ngx_push_journal_rows_total{"
                           "table=\"message\"} %uL\n"
                           "ngx_push_journal_rows_total{table=\"ack\"} "
                           "%uL\n",
                           sum->journal_rows[0], sum->journal_rows[1]);

    ngx_push_metrics_head(out, "ngx_push_journal_backlog_bytes", "gauge",
                          "Rows that wait in the memory of the workers.");
    ngx_push_metrics_print(out, "ngx_push_journal_backlog_bytes %uL\n",
                           sum->journal_backlog);

    ngx_push_metrics_head(out, "ngx_push_journal_spilled_bytes", "gauge",
                          "Rows that wait in files of the spill folder.");
    ngx_push_metrics_print(out, "ngx_push_journal_spilled_bytes %uL\n",
                           spilled);

    ngx_push_metrics_head(out, "ngx_push_journal_dropped_total", "counter",
                          "Rows lost: no room (full), never accepted by MySQL "
                          "(refused); and broken ends of files (corrupt).");

    for (i = 0; i < NGX_PUSH_JOURNAL_DROPS; i++) {
        ngx_push_metrics_print(out, "ngx_push_journal_dropped_total{"
                               "reason=\"%s\"} %uL\n",
                               ngx_push_journal_drop_names[i],
                               sum->journal_dropped[i]);
    }

    ngx_push_metrics_head(out, "ngx_push_journal_purged_total", "counter",
                          "Rows removed from MySQL after journal_keep.");
    ngx_push_metrics_print(out, "ngx_push_journal_purged_total %uL\n",
                           sum->journal_purged);

    ngx_push_metrics_head(out, "ngx_push_journal_errors_total", "counter",
                          "Calls of MySQL and of files that failed.");
    ngx_push_metrics_print(out, "ngx_push_journal_errors_total %uL\n",
                           sum->journal_errors);

    ngx_push_metrics_head(out, "ngx_push_journal_connected", "gauge",
                          "Workers that have a connection to MySQL.");
    ngx_push_metrics_print(out, "ngx_push_journal_connected %uL\n",
                           sum->journal_connected);
}
