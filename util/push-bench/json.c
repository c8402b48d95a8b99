
/*
 * Copyright (C) the ngx_push authors
 */


#include "bench.h"


static void
bench_json_counters(FILE *f, const uint64_t *a, const uint64_t *b)
{
    int  i;

    for (i = 0; i < BENCH_NCOUNTERS; i++) {
        fprintf(f, "%s\"%s\": %llu", i ? ", " : "{", bench_counter_names[i],
                (unsigned long long) (b[i] - (a ? a[i] : 0)));
    }

    fputc('}', f);
}


/*
 * One stretch of the run: its length, what was counted in it, CPU, and "what"
 * per server CPU second, null if the server's CPU is not known.
 */

static void
bench_json_between(FILE *f, bench_run_t *run, const bench_sample_t *a,
    const bench_sample_t *b, int what)
{
    double  t, user, system, n;

    if (a->time == 0 || b->time == 0) {
        fputs("null", f);
        return;
    }

    t = (b->time - a->time) / 1e9;
    n = b->c[what] - a->c[what];
    user = b->server.user - a->server.user;
    system = b->server.system - a->server.system;

    fprintf(f, "{\"seconds\": %.3f, \"per_second\": %.1f, ", t,
            t > 0 ? n / t : 0);

    if (run->o->npids && b->server.gone == 0 && user + system > 0) {
        fprintf(f, "\"server_user\": %.4f, \"server_system\": %.4f, "
                   "\"per_cpu_second\": %.1f, ", user, system,
                n / (user + system));

    } else {
        fprintf(f, "\"server_user\": null, \"server_system\": null, "
                   "\"per_cpu_second\": null, ");
    }

    fprintf(f, "\"generator_user\": %.2f, \"generator_system\": %.2f,\n"
               "    \"counters\": ", b->own.user - a->own.user,
            b->own.system - a->own.system);
    bench_json_counters(f, a->c, b->c);
    fputc('}', f);
}


static void
bench_json_stretch(FILE *f, bench_run_t *run, const char *name,
    const bench_sample_t *a, const bench_sample_t *b, int what)
{
    fprintf(f, "  \"%s\": ", name);
    bench_json_between(f, run, a, b, what);
    fputs(",\n", f);
}


static void
bench_json_memory(FILE *f, bench_run_t *run)
{
    const bench_sample_t  *b;

    b = run->held.time ? &run->held : &run->settled;

    if (run->o->npids == 0 || b->time == 0) {
        fprintf(f, "  \"memory\": null,\n");
        return;
    }

    fprintf(f, "  \"memory\": {\"before_pss\": %llu, \"pss\": %llu, "
               "\"shmem\": %llu, \"rss\": %llu, \"processes\": %d, "
               "\"bytes_per_connection\": %.1f},\n",
            (unsigned long long) run->start.server.pss,
            (unsigned long long) b->server.pss,
            (unsigned long long) b->server.shmem,
            (unsigned long long) b->server.rss, b->server.processes,
            ((double) b->server.pss - (double) run->start.server.pss)
            / run->o->connections);
}


static void
bench_json_options(FILE *f, bench_run_t *run)
{
    bench_opts_t  *o;

    o = run->o;

    fprintf(f, "  \"mode\": \"%s\",\n  \"run\": %u,\n"
               "  \"options\": {\"connections\": %u, \"processes\": %u, "
               "\"per_user\": %u, \"groups\": %u, \"mqtt\": %d, \"tls\": %s, "
               "\"qos\": %d, \"size\": %u, \"rate\": %.1f, "
               "\"outstanding\": %u, \"publish\": \"%s\", "
               "\"publishers\": %u, \"pipeline\": %u, \"random\": %s, "
               "\"subscriber\": \"%s\", \"host\": ",
            bench_mode_name(o->mode), o->run_id, o->connections, o->processes,
            o->per_user, o->groups, o->level, o->tls ? "true" : "false",
            o->qos, o->size, o->rate, o->outstanding,
            o->publish == BENCH_PUB_HTTP
            ? "http" : o->publish == BENCH_PUB_MQTT ? "mqtt" : "none",
            o->publishers, o->pipeline, o->random ? "true" : "false",
            bench_subscriber_name(o->subscriber));

    bench_json_string(f, o->host);
    fprintf(f, ", \"port\": %d},\n", o->port);
}


/*
 * "measured" as of the whole run; "settle" is what followed until all was
 * delivered and everybody back
 */

static void
bench_json_stages(FILE *f, bench_run_t *run)
{
    int                   i;
    const bench_stage_t  *s;
    bench_passed_t       *p;

    fputs("  \"stages\": [", f);

    for (i = 0; i < run->o->nstages; i++) {
        s = &run->o->stages[i];
        p = &run->passed[i];

        fprintf(f, "%s\n  {\"name\": ", i ? "," : "");
        bench_json_string(f, s->name);
        fprintf(f, ", \"kind\": \"%s\", \"qos\": %d, \"rate\": %.1f, "
                   "\"messages\": %llu,\n   \"measured\": ",
                bench_stage_kind(s->kind), s->qos, s->rate,
                (unsigned long long) s->messages);
        bench_json_between(f, run, &p->begin, &p->end,
                           s->kind == BENCH_STAGE_HOLD ? BENCH_C_PINGS
                                                       : BENCH_C_DELIVERED);
        fputs(",\n   \"settle\": ", f);
        bench_json_between(f, run, &p->end, &p->settled, BENCH_C_DELIVERED);
        fprintf(f, ",\n   \"away\": {\"seconds\": %.3f, \"most\": %u},\n"
                   "   \"latency_us\": {",
                (p->away_to - p->away_from) / 1e9, p->away_most);
        bench_json_latency(f, "connect", &p->hist[BENCH_H_CONNECT]);
        fputs(",\n    ", f);
        bench_json_latency(f, "accept", &p->hist[BENCH_H_ACCEPT]);
        fputs(",\n    ", f);
        bench_json_latency(f, "delivery", &p->hist[BENCH_H_DELIVERY]);
        fputs("}}", f);
    }

    fputs("],\n", f);
}


static void
bench_json_status(FILE *f, bench_run_t *run)
{
    int       i, n;
    uint32_t  k, answers;

    fprintf(f, "  \"http_status\": {");
    n = 0;

    for (i = 100; i < 600; i++) {
        for (k = 0, answers = 0; k < run->o->processes; k++) {
            answers += run->sh->st[k].status[i];
        }

        if (answers) {
            fprintf(f, "%s\"%d\": %u", n++ ? ", " : "", i, answers);
        }
    }

    fprintf(f, "},\n");
}


/* BENCH_ERROR: the file cannot be written; a message was printed */

int
bench_report_json(bench_run_t *run, int status)
{
    int    rc;
    FILE  *f;

    if (run->o->json == NULL) {
        return BENCH_OK;
    }

    f = strcmp(run->o->json, "-") == 0 ? stdout : fopen(run->o->json, "w");

    if (f == NULL) {
        fprintf(stderr, "push-bench: %s: %s\n", run->o->json, strerror(errno));
        return BENCH_ERROR;
    }

    fputs("{\n", f);
    bench_json_options(f, run);
    bench_json_stretch(f, run, "connect", &run->start, &run->connected,
                       BENCH_C_READY);
    bench_json_memory(f, run);
    bench_json_stretch(f, run, "idle", &run->settled, &run->held,
                       BENCH_C_PINGS);
    bench_json_stretch(f, run, "measured", &run->begin, &run->end,
                       BENCH_C_DELIVERED);

    fputs("  \"latency_us\": {", f);
    bench_json_latency(f, "connect", &run->hist[BENCH_H_CONNECT]);
    fputs(",\n    ", f);
    bench_json_latency(f, "accept", &run->hist[BENCH_H_ACCEPT]);
    fputs(",\n    ", f);
    bench_json_latency(f, "delivery", &run->hist[BENCH_H_DELIVERY]);
    fputs("},\n", f);

    bench_json_stages(f, run);
    bench_json_status(f, run);

    fputs("  \"whole\": ", f);
    bench_json_counters(f, NULL, run->last.c);
    fputs(",\n  \"refusal\": ", f);
    bench_json_string(f, bench_note_text(&run->sh->refusal));
    fputs(",\n  \"loss\": ", f);
    bench_json_string(f, bench_note_text(&run->sh->loss));
    fputs(",\n  \"error\": ", f);
    bench_json_string(f, run->error[0] ? run->error : NULL);
    fprintf(f, ",\n  \"exit\": %d\n}\n", status);

    rc = ferror(f) ? BENCH_ERROR : BENCH_OK;

    if (f != stdout && fclose(f) != 0) {
        rc = BENCH_ERROR;
    }

    if (rc != BENCH_OK) {
        fprintf(stderr, "push-bench: cannot write %s\n", run->o->json);
    }

    return rc;
}
