
/*
 * Copyright (C) the ngx_push authors
 */


/* Worker slots, the one-second tick, and the way out. */


#include "ngx_push_conn.h"
#include "ngx_push_idem.h"
#include "ngx_push_moved.h"
#include "ngx_push_need.h"


#define NGX_PUSH_TICK           1000
#define NGX_PUSH_SWEEP_AGAIN    10     /* ms, while a dead worker is swept */
#define NGX_PUSH_DRAIN_STEP     50     /* ms */
#define NGX_PUSH_RECOUNT        16     /* seconds */


static ngx_push_worker_t *ngx_push_worker_take(ngx_cycle_t *cycle);
static void ngx_push_worker_tick(ngx_event_t *ev);
static ngx_uint_t ngx_push_worker_bury(void);
static void ngx_push_worker_shards(ngx_push_conf_t *pcf, uint32_t now);
static void ngx_push_worker_drain_step(ngx_event_t *ev);
static ngx_uint_t ngx_push_workers_lock(ngx_uint_t wait);
static void ngx_push_workers_unlock(void);


static ngx_event_t       ngx_push_tick_event;
static ngx_event_t       ngx_push_drain_event;
static ngx_connection_t  ngx_push_dummy;
static ngx_msec_t        ngx_push_drain_until;
static uint32_t          ngx_push_drain_at;


ngx_int_t
ngx_push_worker_init(ngx_cycle_t *cycle, ngx_push_conf_t *pcf)
{
    ngx_push_zone_t    *zone;
    ngx_push_worker_t  *w;

    zone = ngx_push_zone;

    w = ngx_push_worker_take(cycle);

    if (w == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "push: all %d worker slots of the zone are in use",
                      NGX_PUSH_WORKERS);
        return NGX_ERROR;
    }

    zone->self = w;
    zone->undo = w->undo;
    zone->nundo = &w->nundo;
    zone->nheld = 0;

    if (ngx_push_mailbox_init(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_push_fanout_init();
    ngx_push_moved_init(cycle, pcf);
    ngx_push_need_init(cycle, pcf);

    ngx_push_dummy.fd = (ngx_socket_t) -1;

    ngx_push_tick_event.handler = ngx_push_worker_tick;
    ngx_push_tick_event.data = &ngx_push_dummy;
    ngx_push_tick_event.log = cycle->log;
    ngx_push_tick_event.cancelable = 1;

    ngx_push_drain_event.handler = ngx_push_worker_drain_step;
    ngx_push_drain_event.data = &ngx_push_dummy;
    ngx_push_drain_event.log = cycle->log;

    /* at once: this may be the successor of one that has died */

    ngx_add_timer(&ngx_push_tick_event, 1);

    return NGX_OK;
}


void
ngx_push_worker_exit(ngx_cycle_t *cycle)
{
    ngx_push_worker_t  *w;

    w = ngx_push_self;

    if (w == NULL) {
        return;
    }

    ngx_push_mailbox_exit();

    if (ngx_push_tick_event.timer_set) {
        ngx_del_timer(&ngx_push_tick_event);
    }

    if (ngx_push_drain_event.timer_set) {
        ngx_del_timer(&ngx_push_drain_event);
    }

    /* whoever lives on, or comes next, sweeps what is left of us */

    w->swept = 0;
    ngx_memory_barrier();
    w->state = NGX_PUSH_WORKER_DEAD;

    (void) pthread_mutex_unlock(&w->life);

    ngx_push_zone->self = NULL;
}


static ngx_uint_t
ngx_push_workers_lock(ngx_uint_t wait)
{
    int               rc;
    pthread_mutex_t  *mutex;

    mutex = &ngx_push_zone->head->workers_mutex;

    rc = wait ? pthread_mutex_lock(mutex) : pthread_mutex_trylock(mutex);

    if (rc == EOWNERDEAD) {
        (void) pthread_mutex_consistent(mutex);
        rc = 0;
    }

    return rc == 0;
}


static void
ngx_push_workers_unlock(void)
{
    (void) pthread_mutex_unlock(&ngx_push_zone->head->workers_mutex);
}


/*
 * A free slot; one whose process has died is not taken before it was swept,
 * for its number and generation still stand in sessions.
 */

static ngx_push_worker_t *
ngx_push_worker_take(ngx_cycle_t *cycle)
{
    int                 rc;
    ngx_uint_t          i;
    ngx_push_worker_t  *w;

    (void) ngx_push_workers_lock(1);

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);

        if (w->state != NGX_PUSH_WORKER_FREE) {
            continue;
        }

        rc = pthread_mutex_trylock(&w->life);

        if (rc == EOWNERDEAD) {
            (void) pthread_mutex_consistent(&w->life);

        } else if (rc != 0) {
            continue;
        }

        ngx_push_recover(w);

        w->gen++;
        w->pid = ngx_pid;
        w->npins = 0;
        w->started = ngx_push_now();
        w->beat = w->started;
        w->mailbox.tail = w->mailbox.head;
        w->mailbox.resync = 0;
        w->mailbox.signaled = 0;
        ngx_memzero(&w->stats, NGX_PUSH_GAUGES * sizeof(uint64_t));

        if (i >= ngx_push_zone->head->nworkers) {
            ngx_push_zone->head->nworkers = i + 1;
        }

        ngx_memory_barrier();
        w->state = NGX_PUSH_WORKER_LIVE;

        ngx_push_workers_unlock();

        return w;
    }

    ngx_push_workers_unlock();

    return NULL;
}


static void
ngx_push_worker_tick(ngx_event_t *ev)
{
    uint32_t          now;
    ngx_uint_t        again;
    ngx_push_conf_t  *pcf;

    now = ngx_push_now();
    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    ngx_push_self->beat = now;
    ngx_push_zone->head->last_seen = now;

    ngx_push_mailbox_read();

    again = ngx_push_worker_bury();

    if (pcf) {
        ngx_push_worker_shards(pcf, now);
    }

    ngx_add_timer(ev, again ? NGX_PUSH_SWEEP_AGAIN : NGX_PUSH_TICK);
}


/*
 * Finds the dead, plays back their undo logs, and sweeps their sessions some
 * pages at a time; any worker does, one at a time.  1: there is more to do.
 */

static ngx_uint_t
ngx_push_worker_bury(void)
{
    int                 rc;
    ngx_uint_t          i, again;
    ngx_push_worker_t  *w;

    if (!ngx_push_workers_lock(0)) {
        return 0;
    }

    again = 0;

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);

        if (w == ngx_push_self || w->state == NGX_PUSH_WORKER_FREE) {
            continue;
        }

        if (w->state != NGX_PUSH_WORKER_DEAD) {
            rc = pthread_mutex_trylock(&w->life);

            if (rc == EBUSY) {
                continue;
            }

            if (rc == EOWNERDEAD) {
                (void) pthread_mutex_consistent(&w->life);
            }

            (void) pthread_mutex_unlock(&w->life);

            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "push: worker %D is gone, its devices may return",
                          (int) w->pid);

            w->swept = 0;
            ngx_memory_barrier();
            w->state = NGX_PUSH_WORKER_DEAD;
        }

        ngx_push_recover(w);
        w->npins = 0;

        if (ngx_push_session_sweep_worker(w)) {
            ngx_memory_barrier();
            w->state = NGX_PUSH_WORKER_FREE;

        } else {
            again = 1;
        }
    }

    ngx_push_workers_unlock();

    return again;
}


/* Each shard is swept once a second, by the worker whose tick comes first. */

static void
ngx_push_worker_shards(ngx_push_conf_t *pcf, uint32_t now)
{
    ngx_uint_t         i, n, start;
    ngx_push_shard_t  *sh;

    n = ngx_push_zone->head->nusers + ngx_push_zone->head->nchannels;

    if (now % NGX_PUSH_RECOUNT == 0) {
        ngx_push_pages_recount();
    }

    start = ngx_push_self->index;

    for (i = 0; i < n; i++) {
        sh = &ngx_push_zone->shards[(start + i) % n];

        if (sh->tick == now) {
            continue;
        }

        sh = ngx_push_begin_shard((start + i) % n);

        if (sh->tick == now) {
            ngx_push_end();
            continue;
        }

        sh->tick = now;

        (void) ngx_push_log_sweep(sh, now);
        (void) ngx_push_idem_sweep(sh, now);
        ngx_push_session_sweep(sh, pcf, now);
        ngx_push_pages_sweep(sh);

        ngx_push_end();

        if (sh->wills.head) {
            ngx_push_wills_run(sh->index, now);
        }
    }
}


/*
 * The worker is to leave.  Its devices are sent away over "drain_time", by a
 * timer that keeps the process until they are gone.
 */

void
ngx_push_worker_drain(void)
{
    ngx_push_conf_t  *pcf;

    if (ngx_push_self == NULL) {
        return;
    }

    if (ngx_push_self->state != NGX_PUSH_WORKER_DRAINING) {
        ngx_push_self->state = NGX_PUSH_WORKER_DRAINING;

        pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

        ngx_push_drain_at = 0;
        ngx_push_drain_until = ngx_current_msec + (pcf ? pcf->drain_time : 0);
    }

    if (ngx_push_conn_count() && !ngx_push_drain_event.timer_set) {
        ngx_add_timer(&ngx_push_drain_event, 1);
    }
}


static void
ngx_push_worker_drain_step(ngx_event_t *ev)
{
    uint32_t          size;
    ngx_uint_t        n;
    ngx_msec_int_t    left;
    ngx_push_conn_t  *pc;

    n = ngx_push_conn_count();
    size = ngx_push_conn_size();
    left = (ngx_msec_int_t) (ngx_push_drain_until - ngx_current_msec);

    /*
     * An equal share of the time that is left, since steps come late when the
     * machine is busy; what came meanwhile goes in the last one.
     */

    if (left > NGX_PUSH_DRAIN_STEP) {
        n = (n * NGX_PUSH_DRAIN_STEP + left - 1) / left;
    }

    while (n && ngx_push_drain_at < size) {
        pc = ngx_push_conn_get(ngx_push_drain_at++);

        if (pc) {
            pc->transport->drain(pc);
            n--;
        }
    }

    if (ngx_push_drain_at >= size) {
        ngx_push_drain_at = 0;
    }

    if (ngx_push_conn_count()) {
        ngx_add_timer(ev, NGX_PUSH_DRAIN_STEP);
    }
}
