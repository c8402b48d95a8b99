
/*
 * Copyright (C) the ngx_push authors
 */


#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include "bench.h"


#define BENCH_EVENTS   512
#define BENCH_BUFFER   65536
#define BENCH_MAX_NAP  20000000   /* ns: how late a change of phase is seen */
#define BENCH_MIN_NAP  50000


static int
bench_worker_tls(bench_worker_t *w)
{
    bench_opts_t  *o;

    o = w->o;
    w->ctx = SSL_CTX_new(TLS_client_method());

    if (w->ctx == NULL) {
        return BENCH_ERROR;
    }

    SSL_CTX_set_mode(w->ctx, SSL_MODE_RELEASE_BUFFERS
                             |SSL_MODE_ENABLE_PARTIAL_WRITE
                             |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(w->ctx, SSL_SESS_CACHE_OFF);

    if (o->cafile) {
        SSL_CTX_set_verify(w->ctx, SSL_VERIFY_PEER, NULL);

        if (SSL_CTX_load_verify_locations(w->ctx, o->cafile, NULL) != 1) {
            bench_note(&w->sh->error, "cannot read certificates of \"%s\"",
                       o->cafile);
            return BENCH_ERROR;
        }
    }

    return BENCH_OK;
}


/* devices of a user stay together: a worker gets whole users */

static void
bench_worker_range(bench_worker_t *w)
{
    uint32_t       users, from, to;
    bench_opts_t  *o;

    o = w->o;
    users = o->connections / o->per_user;

    from = (uint64_t) users * w->id / o->processes;
    to = (uint64_t) users * (w->id + 1) / o->processes;

    w->first = from * o->per_user;
    w->ndev = (to - from) * o->per_user;
}


static int
bench_worker_init(bench_worker_t *w)
{
    uint32_t            i;
    struct epoll_event  ev;

    bench_worker_range(w);

    w->dev = calloc(w->ndev + 1, sizeof(bench_device_t));
    w->again = calloc(w->ndev + 1, sizeof(uint32_t));
    w->again_at = calloc(w->ndev + 1, sizeof(uint64_t));
    w->buf = malloc(BENCH_BUFFER + 1);
    w->filler = malloc(w->o->size);
    w->ep = epoll_create1(EPOLL_CLOEXEC);

    if (w->dev == NULL || w->again == NULL || w->again_at == NULL
        || w->buf == NULL || w->filler == NULL || w->ep == -1)
    {
        bench_note(&w->sh->error, "worker %u: %s", w->id, strerror(errno));
        return BENCH_ERROR;
    }

    for (i = 0; i < w->o->size; i++) {
        w->filler[i] = (char) ('a' + i % 26);
    }

    if (w->o->tls && bench_worker_tls(w) != BENCH_OK) {
        bench_note(&w->sh->error, "TLS cannot be set up");
        return BENCH_ERROR;
    }

    if (w->id == 0) {
        ev.events = EPOLLIN;
        ev.data.ptr = NULL;
        epoll_ctl(w->ep, EPOLL_CTL_ADD, w->wake, &ev);
    }

    w->now = bench_now();
    w->begun = w->now;
    w->random = w->now ^ w->id;

    bench_devices_init(w);
    bench_publish_init(w);

    return BENCH_OK;
}


static void
bench_worker_events(bench_worker_t *w, uint64_t nap)
{
    int                        i, n;
    uint64_t                   one, before;
    struct timespec            ts;
    static struct epoll_event  events[BENCH_EVENTS];

    nap = nap > BENCH_MAX_NAP ? BENCH_MAX_NAP : nap;
    nap = nap && nap < BENCH_MIN_NAP ? BENCH_MIN_NAP : nap;

    ts.tv_sec = 0;
    ts.tv_nsec = nap;

    n = epoll_pwait2(w->ep, events, BENCH_EVENTS, &ts, NULL);

    w->now = bench_now();
    bench_stage_look(w);
    before = w->st->c[BENCH_C_DELIVERED];

    for (i = 0; i < n; i++) {

        if (events[i].data.ptr) {
            bench_net_event(w, events[i].data.ptr, events[i].events);
            continue;
        }

        if (read(w->wake, &one, sizeof(one)) != sizeof(one)) {
            one = 0;
        }
    }

    /* worker 0 waits for what all of them have got */

    if (w->id && w->common && w->st->c[BENCH_C_DELIVERED] != before) {
        one = 1;

        if (write(w->wake, &one, sizeof(one)) != sizeof(one)) {
            one = 0;
        }
    }
}


/* the life of a worker process; returns when the parent ends the run */

void
bench_worker(bench_opts_t *o, bench_shared_t *sh, uint32_t id, int wake)
{
    uint64_t               a, b;
    static bench_worker_t  w;

    prctl(PR_SET_PDEATHSIG, SIGKILL);

    w.id = id;
    w.o = o;
    w.sh = sh;
    w.st = &sh->st[id];
    w.wake = wake;

    if (bench_worker_init(&w) != BENCH_OK) {
        return;
    }

    while (bench_phase(&w) < BENCH_PHASE_CHECK) {
        w.now = bench_now();

        a = bench_devices_tick(&w);
        b = bench_publish_tick(&w);
        bench_publish_flush(&w);
        bench_stage_tick(&w);

        bench_worker_events(&w, a < b ? a : b);
    }

    bench_publish_finish(&w);
    bench_devices_finish(&w);
}
