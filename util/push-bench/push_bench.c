
/*
 * Copyright (C) the ngx_push authors
 */


#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bench.h"


#define BENCH_TICK    5000000     /* ns: how often the parent looks */
#define BENCH_SETTLE  1000000000
#define BENCH_SECOND  1000000000

/* the workers have to check and to close everything: seconds, and more */
#define BENCH_FINISH      30
#define BENCH_FINISH_MORE 5000    /* connections a second */


static volatile sig_atomic_t  bench_interrupted;


static void
bench_signal(int sig)
{
    bench_interrupted = sig;
}


static void
bench_error(bench_run_t *run, const char *text)
{
    if (run->error[0] == '\0') {
        snprintf(run->error, sizeof(run->error), "%s", text);
    }
}


/* logs and how many devices listen to each */

static bench_shared_t *
bench_share(bench_opts_t *o)
{
    size_t           size;
    uint32_t         i, n, log;
    bench_shared_t  *sh;

    switch (o->mode) {
    case BENCH_BROADCAST:
        n = 1;
        break;
    case BENCH_GROUP:
        n = o->groups;
        break;
    case BENCH_STAGES:
        n = o->connections / o->per_user + 1;
        break;
    default:
        n = o->connections / o->per_user;
    }

    size = sizeof(bench_shared_t) + n * sizeof(bench_log_t);

    sh = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
              0);
    if (sh == MAP_FAILED) {
        return NULL;
    }

    sh->nlogs = n;

    for (i = 0; i < o->connections; i++) {
        log = o->mode == BENCH_BROADCAST ? 0
              : o->mode == BENCH_GROUP ? i % n : i / o->per_user;
        sh->logs[log].members++;
    }

    if (o->mode == BENCH_STAGES) {
        sh->logs[n - 1].members = o->connections;
    }

    return sh;
}


static int
bench_spawn(bench_run_t *run)
{
    int       wake;
    pid_t     pid;
    uint32_t  i;

    wake = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

    for (i = 0; i < run->o->processes; i++) {
        pid = fork();

        if (pid == -1) {
            bench_error(run, "fork() failed");
            return BENCH_ERROR;
        }

        if (pid == 0) {
            /* a signal to the group is the parent's to handle */
            signal(SIGINT, SIG_IGN);
            signal(SIGTERM, SIG_IGN);
            bench_worker(run->o, run->sh, i, wake);
            _exit(0);
        }

        run->workers[run->nworkers++] = pid;
    }

    return BENCH_OK;
}


/* the worker is taken off the list when it has ended */

static int
bench_reap(bench_run_t *run)
{
    int    i, status;
    pid_t  pid;
    char   text[100];

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {

        for (i = 0; i < run->nworkers; i++) {
            if (run->workers[i] == pid) {
                run->workers[i] = run->workers[--run->nworkers];
            }
        }

        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            snprintf(text, sizeof(text), "a worker of push-bench ended: %s %d",
                     WIFSIGNALED(status) ? "signal" : "status",
                     WIFSIGNALED(status) ? WTERMSIG(status)
                                         : WEXITSTATUS(status));
            bench_error(run, text);
            return BENCH_ERROR;
        }
    }

    return BENCH_OK;
}


static int
bench_alive(bench_run_t *run, int thorough)
{
    char          text[200];
    const char   *s;
    bench_proc_t  p;

    s = bench_note_text(&run->sh->error);
    if (s) {
        bench_error(run, s);
        return BENCH_ERROR;
    }

    if (bench_interrupted) {
        bench_error(run, "interrupted");
        return BENCH_ERROR;
    }

    if (bench_reap(run) != BENCH_OK) {
        return BENCH_ERROR;
    }

    if (run->nworkers < (int) run->o->processes) {
        bench_error(run, "a worker of push-bench ended early");
        return BENCH_ERROR;
    }

    if (thorough && run->o->npids) {
        bench_proc_sample(run->o->pids, run->o->npids, &p, 0);

        if (p.gone) {
            snprintf(text, sizeof(text), "the server has ended: there is no "
                     "process %d", p.gone);
            bench_error(run, text);
            return BENCH_ERROR;
        }
    }

    return BENCH_OK;
}


int
bench_all_ready(bench_run_t *run, const uint64_t *c)
{
    return c[BENCH_C_READY] - c[BENCH_C_UNREADY] >= run->o->connections;
}


int
bench_all_delivered(bench_run_t *run, const uint64_t *c)
{
    (void) run;

    return c[BENCH_C_ACCEPTED] + c[BENCH_C_REFUSED] + c[BENCH_C_UNKNOWN]
           >= c[BENCH_C_ISSUED]
           && c[BENCH_C_DELIVERED] + c[BENCH_C_WITHDRAWN]
              >= c[BENCH_C_EXPECTED];
}


static int
bench_all_published(bench_run_t *run, const uint64_t *c)
{
    return run->o->messages && c[BENCH_C_ISSUED] >= run->o->messages
           && bench_all_delivered(run, c);
}


/*
 * What shows that a server is alive.  Once there is something to deliver,
 * devices that drop and return are no progress, and neither are duplicates;
 * unless it is they that are waited for.
 */

static uint64_t
bench_activity(const bench_run_t *run, const uint64_t *c)
{
    uint64_t  n;

    if (c[BENCH_C_ISSUED] == 0) {
        return c[BENCH_C_READY];
    }

    n = c[BENCH_C_ACCEPTED] + c[BENCH_C_REFUSED] + c[BENCH_C_DELIVERED];

    if (run->o->reconnect && run->sh->stage
        && run->sh->phase == BENCH_PHASE_DRAIN)
    {
        n += c[BENCH_C_READY];
    }

    return n;
}


static void
bench_stalled(bench_run_t *run, const char *phase, const uint64_t *c)
{
    char         text[400];
    const char  *s;

    s = bench_note_text(&run->sh->loss);
    s = s ? s : bench_note_text(&run->sh->refusal);

    snprintf(text, sizeof(text), "%s: no progress for %.1f s, %llu of %u "
             "devices connected, %lld deliveries outstanding%s%s", phase,
             run->o->timeout,
             (unsigned long long) (c[BENCH_C_READY] - c[BENCH_C_UNREADY]),
             run->o->connections,
             (long long) (c[BENCH_C_EXPECTED] - c[BENCH_C_WITHDRAWN]
                          - c[BENCH_C_DELIVERED]), s ? "; " : "", s ? s : "");
    bench_error(run, text);
}


/*
 * Waits until "done" says so or "limit" ns have gone by (0: no limit);
 * BENCH_AGAIN after the limit, BENCH_ERROR when the run cannot go on.
 * "expects": nothing happening for --timeout is an error.
 */

int
bench_wait(bench_run_t *run, const char *phase, bench_done_pt done,
    uint64_t limit, int expects)
{
    uint64_t         now, start, second, active, seen;
    uint64_t         c[BENCH_NCOUNTERS], prev[BENCH_NCOUNTERS];
    struct timespec  ts;

    bench_sum(run, prev);

    start = bench_now();
    second = start;
    active = start;
    seen = bench_activity(run, prev);

    ts.tv_sec = 0;
    ts.tv_nsec = BENCH_TICK;

    for ( ;; ) {
        bench_sum(run, c);
        now = bench_now();
        bench_stages_watch(run, c, now);

        if (done && done(run, c)) {
            return BENCH_OK;
        }

        if (limit && now - start >= limit) {
            return BENCH_AGAIN;
        }

        if (bench_alive(run, now - second >= BENCH_SECOND) != BENCH_OK) {
            return BENCH_ERROR;
        }

        if (!run->o->reconnect && c[BENCH_C_UNREADY]
            && c[BENCH_C_LOST] >= run->o->connections
            && c[BENCH_C_READY] == c[BENCH_C_UNREADY])
        {
            if (bench_alive(run, 1) == BENCH_OK) {
                bench_error(run, "all connections were lost");
            }

            return BENCH_ERROR;
        }

        if (bench_activity(run, c) != seen) {
            seen = bench_activity(run, c);
            active = now;
        }

        if (expects && now - active >= run->o->timeout * 1e9) {
            bench_stalled(run, phase, c);
            return BENCH_ERROR;
        }

        if (now - second >= BENCH_SECOND) {
            bench_progress(run, phase, prev, c, (now - second) / 1e9);
            memcpy(prev, c, sizeof(c));
            second = now;
        }

        nanosleep(&ts, NULL);
    }
}


void
bench_set_phase(bench_run_t *run, bench_phase_e phase)
{
    __atomic_store_n(&run->sh->phase, phase, __ATOMIC_RELEASE);
}


static int
bench_publish(bench_run_t *run)
{
    int            rc;
    bench_opts_t  *o;

    o = run->o;
    run->sh->run_start = bench_now();

    if (o->warmup == 0) {
        bench_sample(run, &run->begin, 0);
        run->sh->measuring = 1;
    }

    bench_set_phase(run, BENCH_PHASE_RUN);

    if (o->warmup > 0) {
        rc = bench_wait(run, "warm-up", bench_all_published, o->warmup * 1e9,
                        1);
        if (rc == BENCH_ERROR) {
            return rc;
        }

        bench_sample(run, &run->begin, 0);
        run->sh->measuring = 1;
    }

    rc = bench_wait(run, bench_mode_name(o->mode), bench_all_published,
                    o->duration * 1e9, 1);

    bench_sample(run, &run->end, 0);
    run->sh->measuring = 0;

    if (rc == BENCH_ERROR) {
        return rc;
    }

    bench_set_phase(run, BENCH_PHASE_DRAIN);

    return bench_wait(run, "drain", bench_all_delivered, 0, 1);
}


static int
bench_phases(bench_run_t *run)
{
    int            rc;
    bench_opts_t  *o;

    o = run->o;

    if (bench_alive(run, 1) != BENCH_OK) {
        return BENCH_ERROR;
    }

    rc = bench_wait(run, "connect", bench_all_ready, 0, 1);
    if (rc != BENCH_OK) {
        return rc;
    }

    bench_sample(run, &run->connected, 0);

    if (o->mode == BENCH_CONNECT) {
        return BENCH_OK;
    }

    rc = bench_wait(run, "settle", NULL, BENCH_SETTLE, 0);
    if (rc == BENCH_ERROR) {
        return rc;
    }

    bench_sample(run, &run->settled, 1);

    if (o->mode == BENCH_STAGES) {
        return bench_stages(run);
    }

    if (o->mode != BENCH_IDLE) {
        return bench_publish(run);
    }

    rc = bench_wait(run, "idle", NULL, o->duration * 1e9, 0);
    if (rc == BENCH_ERROR) {
        return rc;
    }

    bench_sample(run, &run->held, 1);

    return BENCH_OK;
}


/* what all workers have in their histograms now */

void
bench_merge(const bench_run_t *run, bench_hist_t *to)
{
    int       h;
    uint32_t  i;

    for (i = 0; i < run->o->processes; i++) {
        for (h = 0; h < BENCH_NHISTS; h++) {
            bench_hist_merge(&to[h], &run->sh->st[i].hist[h]);
        }
    }
}


static void
bench_finish(bench_run_t *run)
{
    int              i;
    uint64_t         start, seconds;
    struct timespec  ts;

    bench_set_phase(run, run->error[0] ? BENCH_PHASE_ABORT
                                       : BENCH_PHASE_CHECK);

    start = bench_now();
    ts.tv_sec = 0;
    ts.tv_nsec = BENCH_TICK;

    seconds = BENCH_FINISH + run->o->connections / BENCH_FINISH_MORE;

    while (run->nworkers && bench_now() - start < seconds * BENCH_SECOND) {
        (void) bench_reap(run);
        nanosleep(&ts, NULL);
    }

    if (run->nworkers) {
        bench_error(run, "a worker of push-bench does not end: killed");
    }

    for (i = 0; i < run->nworkers; i++) {
        kill(run->workers[i], SIGKILL);
        waitpid(run->workers[i], NULL, 0);
    }

    run->nworkers = 0;
    bench_sample(run, &run->last, 0);

    if (run->sh->stage == 0) {
        bench_merge(run, run->hist);
    }
}


int
main(int argc, char **argv)
{
    int                  status;
    static bench_run_t   run;
    static bench_opts_t  o;

    bench_parse_options(&o, argc, argv);

    o.run_id = (uint32_t) (bench_now() ^ ((uint64_t) getpid() << 16));

    run.o = &o;
    run.sh = bench_share(&o);

    if (run.sh == NULL) {
        fprintf(stderr, "push-bench: no memory for %u connections\n",
                o.connections);
        return 1;
    }

    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, bench_signal);
    signal(SIGTERM, bench_signal);

    bench_sample(&run, &run.start, 1);

    if (bench_spawn(&run) == BENCH_OK) {
        (void) bench_phases(&run);
    }

    bench_finish(&run);

    status = bench_verdict(&run);
    bench_report(&run, status);

    if (run.error[0] && !isatty(STDOUT_FILENO)) {
        fprintf(stderr, "push-bench: %s\n", run.error);
    }

    if (bench_report_json(&run, status) != BENCH_OK) {
        status = 1;
    }

    return status;
}
