
/*
 * Copyright (C) the ngx_push authors
 */


#include <netinet/tcp.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "floor.h"


#define FLOOR_TICK     1000000     /* ns: how often the parent looks */
#define FLOOR_SECOND   1000000000
#define FLOOR_SETTLE   500000000   /* between connecting and the load */
#define FLOOR_BACKLOG  4096


static volatile sig_atomic_t  floor_interrupted;


static void
floor_signal(int sig)
{
    floor_interrupted = sig;
}


static void
floor_error(floor_run_t *run, const char *text)
{
    if (run->error[0] == '\0') {
        snprintf(run->error, sizeof(run->error), "%s", text);
    }
}


/* one for each server; what is set here is inherited by what it accepts */

static int
floor_listen(const floor_opts_t *o, floor_shared_t *sh, uint32_t i)
{
    int                  fd, on;
    socklen_t            len;
    struct sockaddr_in  *sin;

    sin = &sh->addr[i];
    sin->sin_family = AF_INET;
    sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    on = 1;
    len = sizeof(struct sockaddr_in);

    sh->wake[i] = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);
    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    sh->listener[i] = fd;

    if (sh->wake[i] == -1 || fd == -1
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1
        || bind(fd, (struct sockaddr *) sin, len) == -1
        || getsockname(fd, (struct sockaddr *) sin, &len) == -1
        || listen(fd, FLOOR_BACKLOG) == -1)
    {
        fprintf(stderr, "push-floor: cannot listen: %s\n", strerror(errno));
        return BENCH_ERROR;
    }

    if (o->congestion
        && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, o->congestion,
                      strlen(o->congestion)) == -1)
    {
        fprintf(stderr, "push-floor: --congestion \"%s\": %s\n", o->congestion,
                strerror(errno));
        return BENCH_ERROR;
    }

    return BENCH_OK;
}


static void *
floor_map(size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
             0);

    return p == MAP_FAILED ? NULL : p;
}


static floor_shared_t *
floor_share(const floor_opts_t *o)
{
    size_t           size;
    uint32_t         i;
    unsigned char   *rings;
    floor_shared_t  *sh;

    sh = floor_map(sizeof(floor_shared_t));
    size = floor_ring_size(o);
    rings = sh ? floor_map(size * o->workers) : NULL;

    if (rings == NULL) {
        fprintf(stderr, "push-floor: out of memory\n");
        return NULL;
    }

    for (i = 0; i < o->workers; i++) {
        if (floor_listen(o, sh, i) != BENCH_OK) {
            return NULL;
        }

        if (o->mode == FLOOR_RELAY && o->workers > 1) {
            floor_ring_init(&sh->ring[i], o, rings + size * i);
        }
    }

    return sh;
}


/*
 * A child ends with the parent.  A signal to the whole group is the parent's
 * to handle.
 */

static int
floor_spawn(floor_run_t *run, pid_t *pids, uint32_t *done, uint32_t n,
    void (*life)(const floor_opts_t *o, floor_shared_t *sh, uint32_t id))
{
    pid_t  pid, parent;

    parent = getpid();

    while (*done < n) {
        pid = fork();

        if (pid == -1) {
            floor_error(run, "fork() failed");
            return BENCH_ERROR;
        }

        if (pid == 0) {
            signal(SIGINT, SIG_IGN);
            signal(SIGTERM, SIG_IGN);
            prctl(PR_SET_PDEATHSIG, SIGKILL);

            if (getppid() == parent) {
                life(run->o, run->sh, *done);
            }

            _exit(1);
        }

        pids[(*done)++] = pid;
    }

    return BENCH_OK;
}


static int
floor_alive(floor_run_t *run)
{
    int          status;
    pid_t        pid;
    const char  *s;

    s = bench_note_text(&run->sh->error);

    if (s) {
        floor_error(run, s);
        return BENCH_ERROR;
    }

    if (floor_interrupted) {
        floor_error(run, "interrupted");
        return BENCH_ERROR;
    }

    pid = waitpid(-1, &status, WNOHANG|WNOWAIT);

    if (pid > 0) {
        s = bench_note_text(&run->sh->error);
        floor_error(run, s ? s : "a process of push-floor ended early");
        return BENCH_ERROR;
    }

    return BENCH_OK;
}


/* what is waited for, and what shows that things go on */

typedef int (*floor_done_pt)(floor_run_t *run);


typedef struct {
    uint64_t  accepted;
    uint64_t  bound;
    uint64_t  sent;
    uint64_t  acked;
    uint64_t  ready;
    uint64_t  publishers;
    uint64_t  issued;
    uint64_t  answered;
    uint64_t  received;
} floor_sum_t;


static void
floor_sum(const floor_run_t *run, floor_sum_t *sum)
{
    uint32_t               i;
    floor_client_stats_t  *c;
    floor_server_stats_t  *s;

    memset(sum, 0, sizeof(floor_sum_t));

    for (i = 0; i < run->o->workers; i++) {
        s = &run->sh->server[i];
        sum->accepted += floor_get(s->accepted);
        sum->bound += floor_get(s->ready);
        sum->sent += floor_get(s->sent);
        sum->acked += floor_get(s->acked);
    }

    for (i = 0; i < run->o->processes; i++) {
        c = &run->sh->client[i];
        sum->ready += floor_get(c->ready);
        sum->publishers += floor_get(c->publishers);
        sum->issued += floor_get(c->issued);
        sum->answered += floor_get(c->answered);
        sum->received += floor_get(c->received);
    }
}


static int
floor_all_connected(floor_run_t *run)
{
    uint32_t      publishers;
    floor_sum_t   sum;

    publishers = run->o->publishers * run->o->processes;
    floor_sum(run, &sum);

    return sum.ready == run->o->connections && sum.publishers == publishers
           && sum.accepted == run->o->connections + publishers;
}


/* accept: the first tenth is the warm-up */

static int
floor_some_connected(floor_run_t *run)
{
    return floor_operations(run) >= run->o->connections / 10;
}


static int
floor_all_done(floor_run_t *run)
{
    floor_sum_t  sum;

    floor_sum(run, &sum);

    switch (run->o->mode) {
    case FLOOR_RELAY:
        return sum.answered == sum.issued && sum.received == sum.issued
               && sum.acked == sum.issued;
    case FLOOR_ECHO:
        return sum.received == sum.issued;
    case FLOOR_SEND:
        return __atomic_load_n(&run->sh->round_idle, __ATOMIC_ACQUIRE)
               && sum.received == sum.sent
               && (!run->o->ack || sum.acked == sum.sent);
    default:
        return 1;
    }
}


/* BENCH_AGAIN after "limit" ns (0: none), BENCH_ERROR when the run is over */

static int
floor_wait(floor_run_t *run, const char *phase, floor_done_pt done,
    uint64_t limit)
{
    uint64_t         now, start, second, active, last;
    floor_sum_t      sum, prev, seen;
    struct timespec  ts;

    start = bench_now();
    second = start;
    active = start;
    last = floor_operations(run);
    floor_sum(run, &seen);

    ts.tv_sec = 0;
    ts.tv_nsec = FLOOR_TICK;

    for ( ;; ) {
        now = bench_now();

        if (done && done(run)) {
            return BENCH_OK;
        }

        if (limit && now - start >= limit) {
            return BENCH_AGAIN;
        }

        if (floor_alive(run) != BENCH_OK) {
            return BENCH_ERROR;
        }

        prev = seen;
        floor_sum(run, &sum);

        if (memcmp(&sum, &prev, sizeof(floor_sum_t)) != 0) {
            seen = sum;
            active = now;
        }

        if (done && now - active >= run->o->timeout * 1e9) {
            snprintf(run->error, sizeof(run->error), "%s: no progress for "
                     "%.1f s", phase, run->o->timeout);
            return BENCH_ERROR;
        }

        if (now - second >= FLOOR_SECOND && !run->o->quiet) {
            fprintf(stderr, "%s: %llu of %u connected, %.0f operations/s\n",
                    phase, (unsigned long long) sum.ready, run->o->connections,
                    (floor_operations(run) - last) * 1e9 / (now - second));
            last = floor_operations(run);
            second = now;
        }

        nanosleep(&ts, NULL);
    }
}


static void
floor_set_phase(floor_run_t *run, floor_phase_e phase)
{
    __atomic_store_n(&run->sh->phase, phase, __ATOMIC_RELEASE);
}


static int
floor_load(floor_run_t *run)
{
    uint32_t             i;
    uint64_t             one;
    const floor_opts_t  *o;

    o = run->o;
    one = 1;
    run->sh->run_start = bench_now();

    floor_set_phase(run, FLOOR_PHASE_RUN);

    for (i = 0; o->mode == FLOOR_SEND && i < o->workers; i++) {
        if (write(run->sh->wake[i], &one, sizeof(one)) != sizeof(one)) {
            floor_error(run, "the first round cannot be started");
            return BENCH_ERROR;
        }
    }

    if (o->warmup > 0
        && floor_wait(run, "warm-up", NULL, o->warmup * 1e9) == BENCH_ERROR)
    {
        return BENCH_ERROR;
    }

    floor_sample(run, &run->begin);
    __atomic_store_n(&run->sh->measuring, 1, __ATOMIC_RELAXED);

    if (floor_wait(run, floor_modes[o->mode], NULL, o->duration * 1e9)
        == BENCH_ERROR)
    {
        return BENCH_ERROR;
    }

    floor_sample(run, &run->end);
    __atomic_store_n(&run->sh->measuring, 0, __ATOMIC_RELAXED);

    if (o->mode != FLOOR_IDLE && run->end.operations == run->begin.operations) {
        floor_error(run, "no operation in the measured time");
        return BENCH_ERROR;
    }

    floor_set_phase(run, FLOOR_PHASE_DRAIN);

    return o->mode == FLOOR_IDLE ? BENCH_OK
                                 : floor_wait(run, "drain", floor_all_done, 0);
}


static int
floor_phases(floor_run_t *run)
{
    if (run->o->mode == FLOOR_ACCEPT) {
        if (floor_wait(run, "connect", floor_some_connected, 0) != BENCH_OK) {
            return BENCH_ERROR;
        }

        floor_sample(run, &run->begin);
    }

    if (floor_wait(run, "connect", floor_all_connected, 0) != BENCH_OK) {
        return BENCH_ERROR;
    }

    if (run->o->mode == FLOOR_ACCEPT) {
        floor_sample(run, &run->end);
    }

    if (floor_wait(run, "settle", NULL, FLOOR_SETTLE) == BENCH_ERROR) {
        return BENCH_ERROR;
    }

    run->kernel_after = floor_kernel_memory();

    return run->o->mode == FLOOR_ACCEPT ? BENCH_OK : floor_load(run);
}


static void
floor_end(pid_t *pids, uint32_t n)
{
    uint32_t  i;

    for (i = 0; i < n; i++) {
        kill(pids[i], SIGKILL);
    }

    for (i = 0; i < n; i++) {
        waitpid(pids[i], NULL, 0);
    }
}


int
main(int argc, char **argv)
{
    static floor_run_t   run;
    static floor_opts_t  o;

    floor_parse_options(&o, argc, argv);

    run.o = &o;
    run.sh = floor_share(&o);

    if (run.sh == NULL) {
        return 1;
    }

    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, floor_signal);
    signal(SIGTERM, floor_signal);
    signal(SIGHUP, floor_signal);

    run.kernel_before = floor_kernel_memory();

    if (floor_spawn(&run, run.servers, &run.nservers, o.workers, floor_server)
        == BENCH_OK
        && floor_spawn(&run, run.clients, &run.nclients, o.processes,
                       floor_client) == BENCH_OK)
    {
        (void) floor_phases(&run);
    }

    /* the clients first: it is they who reset the connections */

    floor_end(run.clients, run.nclients);
    floor_end(run.servers, run.nservers);

    return floor_report(&run);
}
