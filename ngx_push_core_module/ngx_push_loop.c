
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
 * look at the clock a turn.  Not at the coarse one: in a virtual machine it
 * stood still for 800 ms of work.
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
    ngx_msec_t       now;
    struct timespec  ts;

    /* what came before the first turn is start-up, not service */

    if (ngx_push_loop_turned && ngx_push_self) {
        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        now = (ngx_msec_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

        if (now > ngx_current_msec
            && now - ngx_current_msec > ngx_push_self->stats.stall)
        {
            ngx_push_self->stats.stall = now - ngx_current_msec;
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
