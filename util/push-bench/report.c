
/*
 * Copyright (C) the ngx_push authors
 */


#include <stdarg.h>

#include "bench.h"


const char *const  bench_counter_names[BENCH_NCOUNTERS] = {
    [BENCH_C_STARTED] = "connects",
    [BENCH_C_READY] = "ready",
    [BENCH_C_UNREADY] = "unready",
    [BENCH_C_DROPPED] = "dropped",
    [BENCH_C_LOST] = "connections_lost",
    [BENCH_C_FAILED] = "connects_failed",
    [BENCH_C_ISSUED] = "issued",
    [BENCH_C_ACCEPTED] = "accepted",
    [BENCH_C_REFUSED] = "refused",
    [BENCH_C_UNKNOWN] = "unknown",
    [BENCH_C_PUB_RECONNECTS] = "publisher_reconnects",
    [BENCH_C_EXPECTED] = "expected",
    [BENCH_C_WITHDRAWN] = "withdrawn",
    [BENCH_C_DELIVERED] = "delivered",
    [BENCH_C_DUPLICATES] = "duplicates",
    [BENCH_C_DUP_FLAG] = "dup_flag",
    [BENCH_C_QOS1] = "qos1",
    [BENCH_C_MISORDERED] = "misordered",
    [BENCH_C_MISDIRECTED] = "misdirected",
    [BENCH_C_STALE] = "stale",
    [BENCH_C_CORRUPT] = "corrupt",
    [BENCH_C_FOREIGN] = "foreign",
    [BENCH_C_MISSING] = "missing",
    [BENCH_C_UNWANTED] = "unwanted",
    [BENCH_C_PINGS] = "pings",
};


void
bench_sum(const bench_run_t *run, uint64_t *c)
{
    int       k;
    uint32_t  i;

    memset(c, 0, BENCH_NCOUNTERS * sizeof(uint64_t));

    for (i = 0; i < run->o->processes; i++) {
        for (k = 0; k < BENCH_NCOUNTERS; k++) {
            c[k] += __atomic_load_n(&run->sh->st[i].c[k], __ATOMIC_RELAXED);
        }
    }
}


void
bench_sample(bench_run_t *run, bench_sample_t *s, int memory)
{
    bench_sum(run, s->c);
    s->time = bench_now();
    bench_proc_sample(run->o->pids, run->o->npids, &s->server, memory);
    bench_proc_sample(run->workers, run->nworkers, &s->own, 0);
}


void
bench_progress(const bench_run_t *run, const char *phase, const uint64_t *prev,
    const uint64_t *c, double seconds)
{
    if (run->o->quiet) {
        return;
    }

    fprintf(stderr, "%-8s %llu connected", phase,
            (unsigned long long) (c[BENCH_C_READY] - c[BENCH_C_UNREADY]));

    if (c[BENCH_C_READY] != prev[BENCH_C_READY]) {
        fprintf(stderr, " (%.0f/s)",
                (c[BENCH_C_READY] - prev[BENCH_C_READY]) / seconds);
    }

    if (c[BENCH_C_ISSUED]) {
        fprintf(stderr, ", %.0f published/s, %.0f delivered/s, %lld to come",
                (c[BENCH_C_ACCEPTED] - prev[BENCH_C_ACCEPTED]) / seconds,
                (c[BENCH_C_DELIVERED] - prev[BENCH_C_DELIVERED]) / seconds,
                (long long) (c[BENCH_C_EXPECTED] - c[BENCH_C_WITHDRAWN]
                             - c[BENCH_C_DELIVERED]));
    }

    if (c[BENCH_C_LOST]) {
        fprintf(stderr, ", %llu connections lost",
                (unsigned long long) c[BENCH_C_LOST]);
    }

    if (c[BENCH_C_REFUSED] + c[BENCH_C_UNKNOWN]) {
        fprintf(stderr, ", %llu refused or unknown",
                (unsigned long long) (c[BENCH_C_REFUSED]
                                      + c[BENCH_C_UNKNOWN]));
    }

    fputc('\n', stderr);
}


/* the exit status; what counts as a failure of the run */

int
bench_verdict(bench_run_t *run)
{
    uint64_t  *c;

    c = run->last.c;

    if (run->error[0] || c[BENCH_C_MISSING] || c[BENCH_C_MISORDERED]
        || c[BENCH_C_MISDIRECTED] || c[BENCH_C_CORRUPT]
        || c[BENCH_C_UNWANTED] || (c[BENCH_C_LOST] && !run->o->reconnect))
    {
        return 1;
    }

    if (run->o->publish != BENCH_PUB_NONE && c[BENCH_C_ACCEPTED] == 0) {
        snprintf(run->error, sizeof(run->error), "no message was accepted");
        return 1;
    }

    return 0;
}


static void
bench_row(FILE *f, const char *name, const char *fmt, ...)
{
    va_list  ap;

    fprintf(f, "  %-22s ", name);

    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);

    fputc('\n', f);
}


static double
bench_seconds(const bench_sample_t *a, const bench_sample_t *b)
{
    return b->time > a->time ? (b->time - a->time) / 1e9 : 0;
}


static void
bench_report_cpu(FILE *f, const char *what, uint64_t n,
    const bench_sample_t *a, const bench_sample_t *b, int server)
{
    double  user, system;

    if (server && b->server.gone == 0) {
        user = b->server.user - a->server.user;
        system = b->server.system - a->server.system;
        bench_row(f, "server CPU", "%.2f s (user %.2f, system %.2f)",
                  user + system, user, system);

        if (user + system > 0) {
            bench_row(f, "", "%.0f %s per server CPU second",
                      n / (user + system), what);
        }
    }

    user = b->own.user - a->own.user;
    system = b->own.system - a->own.system;
    bench_row(f, "generator CPU", "%.2f s (user %.2f, system %.2f)",
              user + system, user, system);
}


static void
bench_report_latency(FILE *f, const char *name, const bench_hist_t *h)
{
    if (h->count == 0) {
        return;
    }

    bench_row(f, name, "p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f ms",
              bench_hist_quantile(h, 0.5) / 1e6,
              bench_hist_quantile(h, 0.9) / 1e6,
              bench_hist_quantile(h, 0.99) / 1e6,
              bench_hist_quantile(h, 0.999) / 1e6, h->max / 1e6);
}


static void
bench_report_connect(FILE *f, bench_run_t *run)
{
    double    t;
    uint64_t  n;

    n = run->connected.c[BENCH_C_READY];
    t = bench_seconds(&run->start, &run->connected);

    fprintf(f, "connect and subscribe\n");
    bench_row(f, "connections", "%llu in %.2f s, %.0f/s",
              (unsigned long long) n, t, n / t);
    bench_report_cpu(f, "connections", n, &run->start, &run->connected,
                     run->o->npids);
    bench_report_latency(f, "time to ready", &run->hist[BENCH_H_CONNECT]);
}


static void
bench_report_memory(FILE *f, const char *name, const bench_sample_t *a,
    const bench_sample_t *b, double n)
{
    bench_row(f, name, "%.0f bytes each (PSS; of it shared %.0f); RSS %.0f",
              ((double) b->server.pss - (double) a->server.pss) / n,
              ((double) b->server.shmem - (double) a->server.shmem) / n,
              ((double) b->server.rss - (double) a->server.rss) / n);
}


static void
bench_report_publish(FILE *f, bench_run_t *run)
{
    int              i;
    double           t;
    uint64_t        *b, *e, n;
    uint32_t         k, answers;

    b = run->begin.c;
    e = run->end.c;
    t = bench_seconds(&run->begin, &run->end);
    n = e[BENCH_C_DELIVERED] - b[BENCH_C_DELIVERED];

    fprintf(f, "%s, %s%s, QoS %d, %u bytes, measured %.2f s\n",
            bench_mode_name(run->o->mode),
            run->o->publish == BENCH_PUB_HTTP ? "HTTP" : "MQTT",
            run->o->rate > 0 ? " at a rate" : "", run->o->qos, run->o->size,
            t);

    bench_row(f, "accepted", "%.0f messages/s",
              (e[BENCH_C_ACCEPTED] - b[BENCH_C_ACCEPTED]) / t);

    if (run->o->rate > 0) {
        bench_row(f, "offered", "%.0f messages/s", run->o->rate);
    }

    bench_row(f, "delivered", "%.0f/s", n / t);
    bench_report_cpu(f, "deliveries", n, &run->begin, &run->end,
                     run->o->npids);
    bench_report_latency(f, "to delivery", &run->hist[BENCH_H_DELIVERY]);
    bench_report_latency(f, "to answer", &run->hist[BENCH_H_ACCEPT]);

    for (i = 100; i < 600; i++) {
        for (k = 0, answers = 0; k < run->o->processes; k++) {
            answers += run->sh->st[k].status[i];
        }

        if (answers) {
            fprintf(f, "  HTTP status %d         %u\n", i, answers);
        }
    }
}


static void
bench_report_stage(FILE *f, const bench_stage_t *s, const bench_passed_t *p,
    int server)
{
    double          t;
    uint64_t        n, lost;
    const uint64_t  *b, *e;

    if (p->begin.time == 0 || p->end.time == 0) {
        return;
    }

    b = p->begin.c;
    e = p->end.c;
    t = bench_seconds(&p->begin, &p->end);

    fprintf(f, "stage %s: %s, QoS %d, measured %.2f s\n", s->name,
            bench_stage_kind(s->kind), s->qos, t);

    if (s->kind == BENCH_STAGE_HOLD) {
        n = e[BENCH_C_PINGS] - b[BENCH_C_PINGS];
        bench_row(f, "pings", "%.0f/s", n / t);
        bench_report_cpu(f, "pings", n, &p->begin, &p->end, server);

    } else {
        n = e[BENCH_C_DELIVERED] - b[BENCH_C_DELIVERED];
        bench_row(f, "accepted", "%.0f messages/s",
                  (e[BENCH_C_ACCEPTED] - b[BENCH_C_ACCEPTED]) / t);
        bench_row(f, "delivered", "%.0f/s", n / t);
        bench_report_cpu(f, "deliveries", n, &p->begin, &p->end, server);
        bench_report_latency(f, "to delivery", &p->hist[BENCH_H_DELIVERY]);
        bench_report_latency(f, "to answer", &p->hist[BENCH_H_ACCEPT]);
    }

    if (p->settled.time) {
        e = p->settled.c;
    }

    lost = e[BENCH_C_LOST] - b[BENCH_C_LOST];

    if (lost) {
        bench_row(f, "connections lost", "%llu; at most %u away, for %.2f s",
                  (unsigned long long) lost, p->away_most,
                  (p->away_to - p->away_from) / 1e9);
    }
}


static void
bench_report_whole(FILE *f, bench_run_t *run)
{
    int        i, n;
    uint64_t  *c;

    static const int  always[] = {
        BENCH_C_ISSUED, BENCH_C_ACCEPTED, BENCH_C_REFUSED, BENCH_C_UNKNOWN,
        BENCH_C_DELIVERED, BENCH_C_MISSING, BENCH_C_DUPLICATES,
        BENCH_C_MISORDERED, BENCH_C_MISDIRECTED
    };

    static const int  other[] = {
        BENCH_C_CORRUPT, BENCH_C_UNWANTED, BENCH_C_STALE, BENCH_C_FOREIGN,
        BENCH_C_PUB_RECONNECTS, BENCH_C_DROPPED, BENCH_C_LOST, BENCH_C_FAILED
    };

    c = run->last.c;
    n = 0;

    for (i = 0; i < 9 && c[BENCH_C_ISSUED]; i++) {
        fprintf(f, "%s %s %llu",
                n++ == 0 ? "whole run\n " : i == 5 ? "\n " : "",
                bench_counter_names[always[i]],
                (unsigned long long) c[always[i]]);
    }

    for (i = 0; i < 8; i++) {
        if (c[other[i]]) {
            fprintf(f, "%s %s %llu", n++ == 0 ? "whole run\n " : "",
                    bench_counter_names[other[i]],
                    (unsigned long long) c[other[i]]);
        }
    }

    if (n) {
        fputc('\n', f);
    }
}


void
bench_report(bench_run_t *run, int status)
{
    int          i;
    FILE        *f;
    double       n;
    const char  *s;

    f = run->o->json && strcmp(run->o->json, "-") == 0 ? stderr : stdout;
    n = run->o->connections;

    if (run->connected.time) {
        bench_report_connect(f, run);
    }

    if (run->settled.time && run->o->npids) {
        fprintf(f, "memory\n");
        bench_report_memory(f, "connected", &run->start, &run->settled, n);

        if (run->held.time) {
            bench_report_memory(f, "after the idle time", &run->start,
                                &run->held, n);
        }
    }

    if (run->begin.time && run->end.time) {
        bench_report_publish(f, run);
    }

    for (i = 0; i < run->o->nstages; i++) {
        bench_report_stage(f, &run->o->stages[i], &run->passed[i],
                           run->o->npids);
    }

    bench_report_whole(f, run);

    s = bench_note_text(&run->sh->refusal);
    if (s) {
        bench_row(f, "first failed publish", "%s", s);
    }

    s = bench_note_text(&run->sh->loss);
    if (s) {
        bench_row(f, "first lost connection", "%s", s);
    }

    fprintf(f, "%s%s%s\n", status ? "FAILED" : "ok",
            run->error[0] ? ": " : "", run->error);
    fflush(f);
}
