
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The scout asks where the keys are: a connection to one of several addresses,
 * Sentinels or nodes of a cluster, that goes on to the next when one fails.
 * It asks every "interval", and soon when there is a doubt.
 */


#include "ngx_push_redis_client.h"
#include "ngx_push_redis_scout.h"


#define NGX_PUSH_REDIS_SOON     50     /* ms from a doubt to the question */
#define NGX_PUSH_REDIS_SEEN     256    /* addresses */


static void ngx_push_redis_scout_timer(ngx_event_t *ev);
static void ngx_push_redis_scout_up(ngx_push_redis_link_t *link);
static void ngx_push_redis_scout_down(ngx_push_redis_link_t *link);
static void ngx_push_redis_scout_at(ngx_msec_t delay);


static ngx_push_redis_link_t     ngx_push_redis_scout;
static ngx_push_redis_addr_t    *ngx_push_redis_scout_addrs;
static ngx_uint_t                ngx_push_redis_scout_n;
static ngx_uint_t                ngx_push_redis_scout_next;
static ngx_uint_t                ngx_push_redis_scout_failures;
static ngx_msec_t                ngx_push_redis_scout_interval;
static ngx_event_t               ngx_push_redis_scout_event;
static ngx_push_redis_scout_pt   ngx_push_redis_scout_ask;


ngx_int_t
ngx_push_redis_scout_init(ngx_array_t *addrs, ngx_msec_t interval,
    ngx_push_redis_scout_pt ask)
{
    ngx_uint_t              i;
    ngx_push_redis_addr_t  *addr;

    ngx_push_redis_scout_addrs = ngx_calloc(NGX_PUSH_REDIS_SEEN
                                            * sizeof(ngx_push_redis_addr_t),
                                            ngx_push_redis.log);
    if (ngx_push_redis_scout_addrs == NULL) {
        return NGX_ERROR;
    }

    addr = addrs->elts;

    for (i = 0; i < addrs->nelts; i++) {
        ngx_push_redis_scout_add(&addr[i]);
    }

    /* not all workers begin with the same one */

    ngx_push_redis_scout_next = (ngx_uint_t) ngx_random()
                                % ngx_push_redis_scout_n;
    ngx_push_redis_scout_interval = interval;
    ngx_push_redis_scout_ask = ask;

    ngx_push_redis_scout_event.handler = ngx_push_redis_scout_timer;
    ngx_push_redis_scout_event.data = &ngx_push_redis_scout;
    ngx_push_redis_scout_event.log = ngx_push_redis.log;
    ngx_push_redis_scout_event.cancelable = 1;

    ngx_push_redis_scout_at(1);

    return NGX_OK;
}


void
ngx_push_redis_scout_exit(void)
{
    ngx_push_redis_scout_n = 0;

    if (ngx_push_redis_scout_event.timer_set) {
        ngx_del_timer(&ngx_push_redis_scout_event);
    }

    ngx_push_redis_link_close(&ngx_push_redis_scout, NULL);

    ngx_free(ngx_push_redis_scout_addrs);
    ngx_push_redis_scout_addrs = NULL;
}


void
ngx_push_redis_scout_add(ngx_push_redis_addr_t *addr)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_push_redis_scout_n; i++) {
        if (ngx_push_redis_addr_eq(&ngx_push_redis_scout_addrs[i], addr)) {
            return;
        }
    }

    if (i < NGX_PUSH_REDIS_SEEN) {
        ngx_push_redis_scout_addrs[i] = *addr;
        ngx_push_redis_scout_n++;
    }
}


void
ngx_push_redis_scout_soon(void)
{
    if (ngx_push_redis_scout.ac
        && ngx_push_redis_scout.state != NGX_PUSH_REDIS_READY)
    {
        return;                        /* it is about to ask */
    }

    ngx_push_redis_scout_at(NGX_PUSH_REDIS_SOON);
}


/* What this one says cannot be right; the next may know better. */

void
ngx_push_redis_scout_other(const char *reason)
{
    ngx_push_redis_link_close(&ngx_push_redis_scout, reason);
}


/* Not later than that, if there is a question planned already. */

static void
ngx_push_redis_scout_at(ngx_msec_t delay)
{
    ngx_event_t  *ev;

    ev = &ngx_push_redis_scout_event;

    if (ngx_push_redis_scout_n == 0) {
        return;
    }

    if (ev->timer_set) {

        if ((ngx_msec_int_t) (ngx_current_msec + delay - ev->timer.key) >= 0) {
            return;
        }

        ngx_del_timer(ev);
    }

    ngx_add_timer(ev, delay);
}


static void
ngx_push_redis_scout_timer(ngx_event_t *ev)
{
    ngx_push_redis_addr_t  *addr;
    ngx_push_redis_link_t  *link;

    link = &ngx_push_redis_scout;

    if (link->state == NGX_PUSH_REDIS_READY) {
        ngx_push_redis_scout_at(ngx_push_redis_scout_interval);

        if (link->njobs == 0) {
            ngx_push_redis_scout_ask(link);
        }

        return;
    }

    if (link->ac) {
        return;
    }

    addr = &ngx_push_redis_scout_addrs[ngx_push_redis_scout_next++
                                       % ngx_push_redis_scout_n];

    ngx_push_redis_link_init(link, addr, NGX_PUSH_REDIS_SCOUT);

    link->once = 1;
    link->quiet = ngx_push_redis_scout_failures > ngx_push_redis_scout_n;
    link->up = ngx_push_redis_scout_up;
    link->down = ngx_push_redis_scout_down;

    ngx_push_redis_link_open(link);
}


static void
ngx_push_redis_scout_up(ngx_push_redis_link_t *link)
{
    ngx_push_redis_scout_at(ngx_push_redis_scout_interval);
    ngx_push_redis_scout_ask(link);
}


/* One after another at once, and when all have failed, more slowly. */

static void
ngx_push_redis_scout_down(ngx_push_redis_link_t *link)
{
    ngx_msec_t  delay;
    ngx_uint_t  round;

    round = ngx_push_redis_scout_n
            ? ngx_push_redis_scout_failures++ / ngx_push_redis_scout_n : 0;

    delay = ngx_push_redis_backoff(round, (uint32_t) ngx_random());

    ngx_push_redis_scout_at(ngx_min(delay, ngx_push_redis_scout_interval));
}


void
ngx_push_redis_scout_answered(void)
{
    ngx_push_redis_scout_failures = 0;
}
