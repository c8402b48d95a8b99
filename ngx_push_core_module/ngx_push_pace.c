
/*
 * Copyright (C) the ngx_push authors
 */


/* A token bucket for the fan-out of broadcasts in this worker. */


#include "ngx_push_pace.h"
#include "ngx_push_cluster.h"


#define NGX_PUSH_PACE_UNIT      1000000    /* parts of a delivery */
#define NGX_PUSH_PACE_BURST     100        /* ms that are saved up */
#define NGX_PUSH_PACE_WAIT      20         /* ms, at least: not one by one */


ngx_uint_t          ngx_push_pace_rate;

static uint64_t     ngx_push_pace_mine;    /* of this worker, a second */
static uint64_t     ngx_push_pace_tokens;
static ngx_msec_t   ngx_push_pace_at;


void
ngx_push_pace_init(void)
{
    ngx_push_conf_t  *pcf;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    ngx_push_pace_rate = pcf ? pcf->broadcast_rate : 0;
    ngx_push_pace_tokens = 0;
    ngx_push_pace_at = ngx_current_msec;
    ngx_push_pace_mine = NGX_PUSH_PACE_UNIT;
}


void
ngx_push_pace_share(ngx_push_log_t *log)
{
    double              part;
    uint64_t            here, all, mine, sum;
    ngx_push_ref_t      ref;
    ngx_push_conf_t    *pcf;
    ngx_push_member_t  *member;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    mine = 0;
    sum = 0;

    for (ref = log->members; ref; ref = member->next) {
        member = ngx_push_ptr(ref);
        sum += member->count;

        if (member->worker == ngx_push_self->index
            && member->worker_gen == ngx_push_self->gen)
        {
            mine += member->count;
        }
    }

    part = sum ? (double) mine / sum : 1;

    here = 0;
    all = 0;

    if (pcf && pcf->cluster) {
        pcf->cluster->share(&here, &all);
    }

    if (here && all > here) {
        part = part * here / all;
    }

    ngx_push_pace_mine = (uint64_t) (part * ngx_push_pace_rate
                                     * NGX_PUSH_PACE_UNIT);

    if (ngx_push_pace_mine < NGX_PUSH_PACE_UNIT) {
        ngx_push_pace_mine = NGX_PUSH_PACE_UNIT;
    }
}


ngx_uint_t
ngx_push_pace_take(ngx_uint_t max, ngx_msec_t *wait)
{
    uint64_t    burst;
    ngx_msec_t  ms;
    ngx_uint_t  n;

    ms = ngx_current_msec - ngx_push_pace_at;
    ngx_push_pace_at = ngx_current_msec;

    ms = ngx_min(ms, 1000);
    burst = ngx_push_pace_mine * NGX_PUSH_PACE_BURST / 1000;
    burst = ngx_max(burst, NGX_PUSH_PACE_UNIT);

    ngx_push_pace_tokens += ngx_push_pace_mine * ms / 1000;
    ngx_push_pace_tokens = ngx_min(ngx_push_pace_tokens, burst);

    n = (ngx_uint_t) (ngx_push_pace_tokens / NGX_PUSH_PACE_UNIT);

    if (n == 0) {
        *wait = (ngx_msec_t) ((NGX_PUSH_PACE_UNIT - ngx_push_pace_tokens)
                              * 1000 / ngx_push_pace_mine) + 1;
        *wait = ngx_max(*wait, NGX_PUSH_PACE_WAIT);

        return 0;
    }

    n = ngx_min(n, max);
    ngx_push_pace_tokens -= n * (uint64_t) NGX_PUSH_PACE_UNIT;

    return n;
}


void
ngx_push_pace_give(ngx_uint_t n)
{
    ngx_push_pace_tokens += n * (uint64_t) NGX_PUSH_PACE_UNIT;
}
