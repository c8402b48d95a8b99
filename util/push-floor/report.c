
/*
 * Copyright (C) the ngx_push authors
 */


#include "floor.h"


/* what per_cpu_second is of */

static const char *
floor_operation(const floor_opts_t *o)
{
    switch (o->mode) {
    case FLOOR_ACCEPT:
        return o->handshake ? "connections bound" : "connections accepted";
    case FLOOR_RELAY:
        return "messages relayed and acknowledged";
    case FLOOR_SEND:
        return o->ack ? "messages sent and acknowledged" : "messages sent";
    case FLOOR_ECHO:
        return "pings answered";
    default:
        return "nothing";
    }
}


uint64_t
floor_operations(const floor_run_t *run)
{
    uint32_t                     i;
    uint64_t                     n;
    const floor_opts_t          *o;
    const floor_server_stats_t  *st;

    o = run->o;
    n = 0;

    for (i = 0; i < o->workers; i++) {
        st = &run->sh->server[i];

        switch (o->mode) {
        case FLOOR_ACCEPT:
            n += floor_get(*(o->handshake ? &st->ready : &st->accepted));
            break;
        case FLOOR_RELAY:
            n += floor_get(st->acked);
            break;
        case FLOOR_SEND:
            n += floor_get(*(o->ack ? &st->acked : &st->sent));
            break;
        case FLOOR_ECHO:
            n += floor_get(st->sent);
            break;
        case FLOOR_IDLE:
            break;
        }
    }

    return n;
}


/* ticks of user and system time, which tell the two apart but coarsely */

static void
floor_ticks(pid_t pid, floor_sample_t *s)
{
    char           path[64], text[512], *p;
    FILE          *f;
    size_t         n;
    unsigned long  user, system;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return;
    }

    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';

    p = strrchr(text, ')');

    if (p && sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
                    "%lu %lu", &user, &system) == 2)
    {
        s->user += user;
        s->system += system;
    }
}


/* the operations first: CPU that is counted too much is the server's loss */

void
floor_sample(floor_run_t *run, floor_sample_t *s)
{
    uint32_t         i;
    clockid_t        clock;
    struct timespec  ts;

    memset(s, 0, sizeof(floor_sample_t));

    s->operations = floor_operations(run);
    s->time = bench_now();

    for (i = 0; i < run->o->workers; i++) {
        if (clock_getcpuclockid(run->servers[i], &clock) == 0
            && clock_gettime(clock, &ts) == 0)
        {
            s->cpu += ts.tv_sec + ts.tv_nsec / 1e9;
        }
    }

    for (i = 0; i < run->o->workers; i++) {
        floor_ticks(run->servers[i], s);
    }
}


/* caches of file systems, which come and go with what others do */

static int
floor_foreign_cache(const char *name)
{
    size_t  i;

    static const char *const  names[] = {
        "btrfs_", "ext4_", "xfs_", "inode_cache", "proc_inode_cache",
        "shmem_inode_cache", "lsm_inode_cache", "radix_tree_node",
        "buffer_head"
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(name, names[i], strlen(names[i])) == 0) {
            return 1;
        }
    }

    return 0;
}


/* octets in slabs: objects in use, each with its share of what a slab wastes */

uint64_t
floor_kernel_memory(void)
{
    char           line[512], name[64];
    FILE          *f;
    double         sum;
    unsigned long  active, per_slab, pages;

    f = fopen("/proc/slabinfo", "r");
    if (f == NULL) {
        return 0;
    }

    sum = 0;

    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%63s %lu %*u %*u %lu %lu", name, &active, &per_slab,
                   &pages) == 4
            && per_slab && !floor_foreign_cache(name))
        {
            sum += (double) active * pages * sysconf(_SC_PAGESIZE) / per_slab;
        }
    }

    fclose(f);

    return sum;
}


/* what the text and the JSON say */

typedef struct {
    double        seconds;
    double        operations;
    double        user;
    double        system;
    double        cpu;
    double        kernel;         /* octets a connection; 0: not known */
    bench_hist_t  latency;
} floor_result_t;


static void
floor_result(const floor_run_t *run, floor_result_t *r)
{
    double                 user, system;
    uint32_t               i;
    const floor_sample_t  *a, *b;

    a = &run->begin;
    b = &run->end;
    memset(r, 0, sizeof(floor_result_t));

    if (run->kernel_before && run->kernel_after > run->kernel_before) {
        r->kernel = (run->kernel_after - run->kernel_before) / 2.0
                    / run->o->connections;
    }

    for (i = 0; i < run->o->processes; i++) {
        bench_hist_merge(&r->latency, &run->sh->client[i].latency);
    }

    if (a->time == 0 || b->time == 0) {
        return;
    }

    r->seconds = (b->time - a->time) / 1e9;
    r->operations = b->operations - a->operations;
    r->cpu = b->cpu - a->cpu;

    user = b->user - a->user;
    system = b->system - a->system;

    r->user = user + system > 0 ? r->cpu * user / (user + system) : 0;
    r->system = r->cpu - r->user;
}


static void
floor_report_text(const floor_run_t *run, const floor_result_t *r, FILE *f)
{
    const floor_opts_t  *o;

    o = run->o;

    fprintf(f, "%s: %u connections, %u server and %u client processes\n",
            floor_modes[o->mode], o->connections, o->workers, o->processes);

    if (o->mode != FLOOR_IDLE && r->cpu > 0 && r->seconds > 0) {
        fprintf(f, "%s: %.0f in %.2f s\n"
                   "  per server CPU second %12.0f\n"
                   "  per second            %12.0f\n",
                floor_operation(o), r->operations, r->seconds,
                r->operations / r->cpu, r->operations / r->seconds);
    }

    if (r->seconds > 0) {
        fprintf(f, "  server CPU            %12.4f s a second: user %.4f, "
                   "system %.4f\n", r->cpu / r->seconds, r->user / r->seconds,
                r->system / r->seconds);
    }

    if (r->latency.count) {
        fprintf(f, "  latency               %12.1f us p50, %.1f us p99\n",
                bench_hist_quantile(&r->latency, 0.5) / 1e3,
                bench_hist_quantile(&r->latency, 0.99) / 1e3);
    }

    if (r->kernel > 0) {
        fprintf(f, "  kernel memory         %12.0f bytes a connection's end\n",
                r->kernel);
    }

    fprintf(f, "%s\n", run->error[0] ? run->error : "ok");
}


static void
floor_json_options(const floor_opts_t *o, FILE *f)
{
    fprintf(f, "  \"options\": {\"connections\": %u, \"workers\": %u, "
               "\"processes\": %u, \"sources\": %d, \"handshake\": %s, "
               "\"ack\": %s, \"random\": %s, \"size\": %u, \"rate\": %.1f, "
               "\"outstanding\": %u, \"publishers\": %u, \"pipeline\": %u, "
               "\"request_head\": %u, \"answer_size\": %u, "
               "\"duration\": %.3f, \"warmup\": %.3f, \"congestion\": ",
            o->connections, o->workers, o->processes, o->sources,
            o->handshake ? "true" : "false", o->ack ? "true" : "false",
            o->random ? "true" : "false", o->size, o->rate, o->outstanding,
            o->publishers, o->pipeline, o->request_head, o->answer_size,
            o->duration, o->warmup);
    bench_json_string(f, o->congestion);
    fputs("},\n", f);
}


static void
floor_json_number(FILE *f, const char *name, int known, const char *format,
    double v)
{
    fprintf(f, "  \"%s\": ", name);

    if (known) {
        fprintf(f, format, v);

    } else {
        fputs("null", f);
    }

    fputs(",\n", f);
}


static int
floor_report_json(const floor_run_t *run, const floor_result_t *r, int status)
{
    int                  rc, some;
    FILE                *f;
    const floor_opts_t  *o;

    o = run->o;
    f = strcmp(o->json, "-") == 0 ? stdout : fopen(o->json, "w");

    if (f == NULL) {
        fprintf(stderr, "push-floor: %s: %s\n", o->json, strerror(errno));
        return BENCH_ERROR;
    }

    some = r->operations > 0;

    fprintf(f, "{\n  \"mode\": \"%s\",\n", floor_modes[o->mode]);
    floor_json_options(o, f);
    floor_json_number(f, "operations", 1, "%.0f", r->operations);
    floor_json_number(f, "seconds", 1, "%.4f", r->seconds);
    floor_json_number(f, "user", 1, "%.4f", r->user);
    floor_json_number(f, "system", 1, "%.4f", r->system);
    floor_json_number(f, "per_second", some && r->seconds > 0, "%.1f",
                      r->operations / r->seconds);
    floor_json_number(f, "per_cpu_second", some && r->cpu > 0, "%.1f",
                      r->operations / r->cpu);
    floor_json_number(f, "cpu_per_second", r->seconds > 0, "%.6f",
                      r->cpu / r->seconds);
    floor_json_number(f, "kernel_bytes_per_connection", r->kernel > 0, "%.0f",
                      r->kernel);

    if (r->latency.count) {
        fputs("  ", f);
        bench_json_latency(f, "latency_us", &r->latency);

    } else {
        fputs("  \"latency_us\": null", f);
    }

    fputs(",\n  \"error\": ", f);
    bench_json_string(f, run->error[0] ? run->error : NULL);
    fprintf(f, ",\n  \"exit\": %d\n}\n", status);

    rc = ferror(f) ? BENCH_ERROR : BENCH_OK;

    if (f != stdout && fclose(f) != 0) {
        rc = BENCH_ERROR;
    }

    if (rc != BENCH_OK) {
        fprintf(stderr, "push-floor: cannot write %s\n", o->json);
    }

    return rc;
}


/* the exit status */

int
floor_report(floor_run_t *run)
{
    int                    status;
    static floor_result_t  r;

    status = run->error[0] ? 1 : 0;

    floor_result(run, &r);
    floor_report_text(run, &r, run->o->json && strcmp(run->o->json, "-") == 0
                               ? stderr : stdout);

    if (run->o->json && floor_report_json(run, &r, status) != BENCH_OK) {
        status = 1;
    }

    return status;
}
