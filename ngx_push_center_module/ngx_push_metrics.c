
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_metrics.h"
#include "ngx_push_session.h"
#include "ngx_push_store.h"


#define NGX_PUSH_METRICS_BUF    16384
#define NGX_PUSH_METRICS_LINE   512    /* the longest written at once */


typedef struct {
    const char          *event;
    size_t               offset;       /* of an array by kind */
} ngx_push_metrics_event_t;


/* A figure of each live worker. */

typedef struct {
    const char          *name;
    const char          *help;
    time_t             (*value)(ngx_push_worker_t *w);
} ngx_push_metrics_gauge_t;


static time_t ngx_push_metrics_started(ngx_push_worker_t *w);
static time_t ngx_push_metrics_beat(ngx_push_worker_t *w);
static time_t ngx_push_metrics_depth(ngx_push_worker_t *w);
static time_t ngx_push_metrics_resync(ngx_push_worker_t *w);
static void ngx_push_metrics_sum(ngx_push_stats_t *sum);
static void ngx_push_metrics_traffic(ngx_push_metrics_out_t *out,
    ngx_push_stats_t *sum);
static void ngx_push_metrics_sessions(ngx_push_metrics_out_t *out);
static void ngx_push_metrics_zone(ngx_push_metrics_out_t *out);
static void ngx_push_metrics_classes(ngx_push_metrics_out_t *out,
    const char *name, const char *help, uint64_t *values);
static void ngx_push_metrics_workers(ngx_push_metrics_out_t *out);


static const char  *ngx_push_metrics_kinds[NGX_PUSH_KINDS] = {
    "inbox", "group", "broadcast", "uplink"
};


static const char  *ngx_push_metrics_class_names[NGX_PUSH_CLASSES] = {
    "session", "subscription", "inflight", "member", "log", "message",
    "chunk", "longname", "idempotency_key", "longkey"
};


static ngx_push_metrics_event_t  ngx_push_metrics_events[] = {
    { "saved", offsetof(ngx_push_stats_t, saved) },
    { "once", offsetof(ngx_push_stats_t, once) },
    { "sent", offsetof(ngx_push_stats_t, sent) },
    { NULL, 0 }
};


static ngx_push_metrics_counter_t  ngx_push_metrics_counters[] = {

    { "ngx_push_accepted_connections_total",
      "Connections of devices accepted.",
      offsetof(ngx_push_stats_t, accepted) },

    { "ngx_push_connects_total",
      "CONNECT packets answered with success.",
      offsetof(ngx_push_stats_t, connects) },

    { "ngx_push_resumed_sessions_total",
      "CONNECT packets that resumed a session.",
      offsetof(ngx_push_stats_t, resumed) },

    { "ngx_push_messages_redelivered_total",
      "Messages sent again, after a reconnect.",
      offsetof(ngx_push_stats_t, redelivered) },

    { "ngx_push_messages_acked_total",
      "Messages acknowledged by a device.",
      offsetof(ngx_push_stats_t, acked) },

    { "ngx_push_messages_received_total",
      "Messages published by devices.",
      offsetof(ngx_push_stats_t, received) },

    { "ngx_push_replayed_total",
      "Pushes answered as the first with their idempotency key was.",
      offsetof(ngx_push_stats_t, replayed) },

    { "ngx_push_received_bytes_total",
      "Bytes received from devices.",
      offsetof(ngx_push_stats_t, bytes_in) },

    { "ngx_push_sent_bytes_total",
      "Bytes sent to devices.",
      offsetof(ngx_push_stats_t, bytes_out) },

    { "ngx_push_http_answers_gathered_total",
      "Answers to pipelined requests held back to be written with the next.",
      offsetof(ngx_push_stats_t, gathered) },

    { "ngx_push_mailbox_sent_total",
      "Notes written to the mailbox of a worker.",
      offsetof(ngx_push_stats_t, mail_sent) },

    { "ngx_push_mailbox_received_total",
      "Notes read from a mailbox.",
      offsetof(ngx_push_stats_t, mail_received) },

    { "ngx_push_mailbox_wakeups_total",
      "Wake-ups sent to workers.",
      offsetof(ngx_push_stats_t, mail_wakes) },

    { "ngx_push_resyncs_total",
      "Times that a worker read on from the logs as its mailbox was full.",
      offsetof(ngx_push_stats_t, resyncs) },

    { "ngx_push_repairs_total",
      "Half-done changes of a dead worker taken back.",
      offsetof(ngx_push_stats_t, repairs) },

    { "ngx_push_swept_sessions_total",
      "Sessions of dead workers set lingering.",
      offsetof(ngx_push_stats_t, swept) },

    { NULL, NULL, 0 }
};


static ngx_push_metrics_gauge_t  ngx_push_metrics_gauges[] = {

    { "ngx_push_worker_start_time_seconds",
      "When the worker started, in Unix time.",
      ngx_push_metrics_started },

    { "ngx_push_worker_last_tick_time_seconds",
      "When the worker last did its housekeeping, in Unix time.",
      ngx_push_metrics_beat },

    { "ngx_push_mailbox_depth",
      "Notes in the worker's mailbox.",
      ngx_push_metrics_depth },

    { "ngx_push_mailbox_resync",
      "1 while the worker is to read on from the logs.",
      ngx_push_metrics_resync },

    { NULL, NULL, NULL }
};


#define ngx_push_metrics_value(stats, offset)                                 \
    ((uint64_t *) ((u_char *) (stats) + (offset)))


ngx_chain_t *
ngx_push_metrics_write(ngx_pool_t *pool, size_t *size)
{
    ngx_push_stats_t        sum;
    ngx_push_metrics_out_t  out;

    ngx_memzero(&out, sizeof(ngx_push_metrics_out_t));
    out.pool = pool;

    ngx_push_metrics_head(&out, "ngx_push_build_info", "gauge",
                          "What is running; always 1.");
    ngx_push_metrics_print(&out, "ngx_push_build_info{version=\"%s\","
                           "nginx=\"%s\"} 1\n", NGX_PUSH_VERSION,
                           NGINX_VERSION);

    ngx_push_metrics_sum(&sum);

    ngx_push_metrics_traffic(&out, &sum);
    ngx_push_metrics_sessions(&out);
    ngx_push_metrics_zone(&out);
    ngx_push_metrics_workers(&out);
    ngx_push_metrics_journal(&out, &sum);
    ngx_push_metrics_redis(&out, &sum);
    ngx_push_metrics_nodes(&out, &sum);

    if (out.failed) {
        return NULL;
    }

    out.last->buf->last_buf = 1;
    out.last->buf->last_in_chain = 1;

    *size = out.size;

    return out.first;
}


static void
ngx_push_metrics_sum(ngx_push_stats_t *sum)
{
    uint64_t           *from, *to;
    ngx_uint_t          i, j, n;
    ngx_push_worker_t  *w;

    ngx_memzero(sum, sizeof(ngx_push_stats_t));

    n = sizeof(ngx_push_stats_t) / sizeof(uint64_t);

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);

        from = (uint64_t *) &w->stats;
        to = (uint64_t *) sum;

        j = 0;

        if (!ngx_push_worker_alive(i, w->gen)) {
            j = NGX_PUSH_GAUGES;       /* which stand first */
        }

        for ( /* void */ ; j < n; j++) {
            to[j] += from[j];
        }
    }
}


static void
ngx_push_metrics_traffic(ngx_push_metrics_out_t *out, ngx_push_stats_t *sum)
{
    ngx_uint_t                 i;
    ngx_push_metrics_event_t  *event;

    ngx_push_metrics_head(out, "ngx_push_connections", "gauge",
                          "Connections of devices by protocol.");

    for (i = 0; i < NGX_PUSH_CONNS; i++) {
        ngx_push_metrics_print(out, "ngx_push_connections{protocol=\"%s\"} "
                               "%uL\n", ngx_push_conn_names[i], sum->conns[i]);
    }

    ngx_push_metrics_head(out, "ngx_push_messages_total", "counter",
                          "Messages by kind of log: saved, accepted with TTL "
                          "0 (once), and written to devices (sent).");

    for (event = ngx_push_metrics_events; event->event; event++) {
        for (i = 0; i < NGX_PUSH_KINDS; i++) {
            ngx_push_metrics_print(out, "ngx_push_messages_total{kind=\"%s\","
                                   "event=\"%s\"} %uL\n",
                                   ngx_push_metrics_kinds[i], event->event,
                                   ngx_push_metrics_value(sum,
                                                          event->offset)[i]);
        }
    }

    ngx_push_metrics_list(out, ngx_push_metrics_counters, sum);

    ngx_push_metrics_head(out, "ngx_push_drops_total", "counter",
                          "Messages, connections and requests dropped or "
                          "refused, by reason.");

    for (i = 0; i < NGX_PUSH_DROPS; i++) {
        ngx_push_metrics_print(out, "ngx_push_drops_total{reason=\"%s\"} "
                               "%uL\n", ngx_push_drop_names[i], sum->drops[i]);
    }
}


static void
ngx_push_metrics_sessions(ngx_push_metrics_out_t *out)
{
    uint64_t           used, linger, offline, away;
    ngx_uint_t         i;
    ngx_push_shard_t  *sh;

    used = 0;
    linger = 0;
    offline = 0;

    for (i = 0; i < ngx_push_zone->head->nusers; i++) {
        sh = &ngx_push_zone->shards[i];

        used += sh->classes[NGX_PUSH_SESSION].used;
        linger += sh->linger.count;
        offline += sh->offline.count;
    }

    away = linger + offline;

    ngx_push_metrics_head(out, "ngx_push_sessions", "gauge",
                          "Devices known, by presence.");
    ngx_push_metrics_print(out, "ngx_push_sessions{state=\"online\"} %uL\n",
                           used > away ? used - away : (uint64_t) 0);
    ngx_push_metrics_print(out, "ngx_push_sessions{state=\"lingering\"} "
                           "%uL\n", linger);
    ngx_push_metrics_print(out, "ngx_push_sessions{state=\"offline\"} %uL\n",
                           offline);
}


static void
ngx_push_metrics_zone(ngx_push_metrics_out_t *out)
{
    uint64_t                used[NGX_PUSH_CLASSES], bytes[NGX_PUSH_CLASSES];
    uint64_t                capacity[NGX_PUSH_CLASSES];
    ngx_uint_t              i, c, n;
    ngx_push_class_state_t  *state;
    ngx_push_zone_head_t    *head;

    head = ngx_push_zone->head;
    n = head->nusers + head->nchannels;

    for (c = 0; c < NGX_PUSH_CLASSES; c++) {
        used[c] = 0;
        capacity[c] = 0;

        for (i = 0; i < n; i++) {
            state = &ngx_push_zone->shards[i].classes[c];

            used[c] += state->used;
            capacity[c] += (uint64_t) state->npages
                           * ngx_push_page_records(c);
        }

        bytes[c] = used[c] * ngx_push_record_size(c);
    }

    ngx_push_metrics_classes(out, "ngx_push_zone_records",
                             "Records in use, by class.", used);
    ngx_push_metrics_classes(out, "ngx_push_zone_capacity_records",
                             "Records that the pages of a class hold.",
                             capacity);
    ngx_push_metrics_classes(out, "ngx_push_zone_used_bytes",
                             "Bytes of the records in use, by class.", bytes);

    ngx_push_metrics_head(out, "ngx_push_zone_size_bytes", "gauge",
                          "Size of the zone's pages, as configured.");
    ngx_push_metrics_print(out, "ngx_push_zone_size_bytes %uL\n",
                           (uint64_t) head->npages * NGX_PUSH_PAGE_SIZE);

    ngx_push_metrics_head(out, "ngx_push_zone_free_bytes", "gauge",
                          "Bytes of pages that no class has taken.");
    ngx_push_metrics_print(out, "ngx_push_zone_free_bytes %uL\n",
                           head->free_pages * NGX_PUSH_PAGE_SIZE);
}


static void
ngx_push_metrics_classes(ngx_push_metrics_out_t *out, const char *name,
    const char *help, uint64_t *values)
{
    ngx_uint_t  c;

    ngx_push_metrics_head(out, name, "gauge", help);

    for (c = 0; c < NGX_PUSH_CLASSES; c++) {
        ngx_push_metrics_print(out, "%s{class=\"%s\"} %uL\n", name,
                               ngx_push_metrics_class_names[c], values[c]);
    }
}


/* A dead worker is one whose sessions are being swept. */

static void
ngx_push_metrics_workers(ngx_push_metrics_out_t *out)
{
    uint32_t                   state[NGX_PUSH_WORKERS];
    ngx_uint_t                 i, count[NGX_PUSH_WORKER_DEAD + 1];
    ngx_push_metrics_gauge_t  *gauge;

    ngx_memzero(count, sizeof(count));

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        state[i] = ngx_push_worker_slot(i)->state;

        if (state[i] <= NGX_PUSH_WORKER_DEAD) {
            count[state[i]]++;
        }
    }

    ngx_push_metrics_head(out, "ngx_push_workers", "gauge",
                          "Worker processes by state.");
    ngx_push_metrics_print(out, "ngx_push_workers{state=\"live\"} %ui\n"
                           "ngx_push_workers{state=\"draining\"} %ui\n"
                           "ngx_push_workers{state=\"dead\"} %ui\n",
                           count[NGX_PUSH_WORKER_LIVE],
                           count[NGX_PUSH_WORKER_DRAINING],
                           count[NGX_PUSH_WORKER_DEAD]);

    for (gauge = ngx_push_metrics_gauges; gauge->name; gauge++) {

        ngx_push_metrics_head(out, gauge->name, "gauge", gauge->help);

        for (i = 0; i < NGX_PUSH_WORKERS; i++) {

            if (state[i] == NGX_PUSH_WORKER_LIVE
                || state[i] == NGX_PUSH_WORKER_DRAINING)
            {
                ngx_push_metrics_print(out, "%s{worker=\"%ui\"} %T\n",
                                  gauge->name, i,
                                  gauge->value(ngx_push_worker_slot(i)));
            }
        }
    }

    ngx_push_metrics_head(out, "ngx_push_loop_stall_seconds_max", "gauge",
                          "The longest that a turn of the worker's event loop "
                          "took since its start.");

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {

        if (state[i] == NGX_PUSH_WORKER_LIVE
            || state[i] == NGX_PUSH_WORKER_DRAINING)
        {
            ngx_push_metrics_print(out, "ngx_push_loop_stall_seconds_max"
                            "{worker=\"%ui\"} %.3f\n", i,
                            ngx_push_worker_slot(i)->stats.stall / 1000.0);
        }
    }

    ngx_push_metrics_head(out, "ngx_push_mailbox_capacity", "gauge",
                          "Notes that a mailbox holds.");
    ngx_push_metrics_print(out, "ngx_push_mailbox_capacity %uD\n",
                           ngx_push_zone->head->mailbox);
}


static time_t
ngx_push_metrics_started(ngx_push_worker_t *w)
{
    return ngx_push_wall(w->started);
}


static time_t
ngx_push_metrics_beat(ngx_push_worker_t *w)
{
    return ngx_push_wall(w->beat);
}


static time_t
ngx_push_metrics_depth(ngx_push_worker_t *w)
{
    return w->mailbox.head - w->mailbox.tail;
}


static time_t
ngx_push_metrics_resync(ngx_push_worker_t *w)
{
    return w->mailbox.resync != 0;
}


void
ngx_push_metrics_list(ngx_push_metrics_out_t *out,
    ngx_push_metrics_counter_t *counters, ngx_push_stats_t *sum)
{
    ngx_push_metrics_counter_t  *counter;

    for (counter = counters; counter->name; counter++) {
        ngx_push_metrics_head(out, counter->name, "counter", counter->help);
        ngx_push_metrics_print(out, "%s %uL\n", counter->name,
                               *ngx_push_metrics_value(sum, counter->offset));
    }
}


void
ngx_push_metrics_head(ngx_push_metrics_out_t *out, const char *name,
    const char *type, const char *help)
{
    ngx_push_metrics_print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help,
                           name, type);
}


void
ngx_push_metrics_print(ngx_push_metrics_out_t *out, const char *fmt, ...)
{
    va_list       args;
    u_char       *p;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (out->failed) {
        return;
    }

    b = out->last ? out->last->buf : NULL;

    if (b == NULL || b->end - b->last < NGX_PUSH_METRICS_LINE) {

        cl = ngx_alloc_chain_link(out->pool);
        b = ngx_create_temp_buf(out->pool, NGX_PUSH_METRICS_BUF);

        if (cl == NULL || b == NULL) {
            out->failed = 1;
            return;
        }

        cl->buf = b;
        cl->next = NULL;

        if (out->last) {
            out->last->next = cl;

        } else {
            out->first = cl;
        }

        out->last = cl;
    }

    va_start(args, fmt);
    p = ngx_vslprintf(b->last, b->last + NGX_PUSH_METRICS_LINE, fmt, args);
    va_end(args);

    out->size += p - b->last;
    b->last = p;
}
