
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * How long a worker's event loop was away at most: the time from the wake-up
 * of one turn to the wait of the next, in which nobody else is served.  What
 * blocks (a call that should not have been made, a page fault, another
 * process on the core) shows here, and what waits does not.
 *
 * The turn is taken at its only entry, where nginx keeps a table of functions
 * for its event methods.  The wake-up's time is nginx's own, so this costs one
 * look at the clock a turn.
 *
 * nginx keeps two times of a wake-up, and neither can be believed alone: the
 * monotonic one comes from the coarse clock, which in a virtual machine stood
 * still for 800 ms, and the wall clock is set at times.  Each errs upwards but
 * for a clock set back, so the smaller one holds.
 */


#include "ngx_push_worker.h"
#include <ngx_event.h>


#if (NGX_HAVE_CLOCK_MONOTONIC)

static ngx_int_t ngx_push_loop_turn(ngx_cycle_t *cycle, ngx_msec_t timer,
    ngx_uint_t flags);


static ngx_int_t  (*ngx_push_loop_process)(ngx_cycle_t *cycle,
    ngx_msec_t timer, ngx_uint_t flags);
static ngx_uint_t   ngx_push_loop_turned;


void
ngx_push_loop_init(void)
{
    ngx_push_self->stats.stall = 0;
    ngx_push_loop_turned = 0;

    if (ngx_event_actions.process_events != ngx_push_loop_turn) {
        ngx_push_loop_process = ngx_event_actions.process_events;
        ngx_event_actions.process_events = ngx_push_loop_turn;
    }
}


static ngx_int_t
ngx_push_loop_turn(ngx_cycle_t *cycle, ngx_msec_t timer, ngx_uint_t flags)
{
    int64_t          away, wall;
    ngx_time_t      *woken;
    struct timeval   tv;
    struct timespec  ts;

    /* what came before the first turn is start-up, not service */

    if (ngx_push_loop_turned && ngx_push_self) {
        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        away = (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000
               - (int64_t) ngx_current_msec;

        if (away > (int64_t) ngx_push_self->stats.stall) {
            woken = ngx_timeofday();
            ngx_gettimeofday(&tv);
            wall = (int64_t) (tv.tv_sec - woken->sec) * 1000
                   + tv.tv_usec / 1000 - (int64_t) woken->msec;

            if (wall >= 0 && wall < away) {
                away = wall;
            }

            if (away > (int64_t) ngx_push_self->stats.stall) {
                ngx_push_self->stats.stall = away;
            }
        }
    }

    ngx_push_loop_turned = 1;

    return ngx_push_loop_process(cycle, timer, flags);
}

#else

void
ngx_push_loop_init(void)
{
    ngx_push_self->stats.stall = 0;
}

#endif
