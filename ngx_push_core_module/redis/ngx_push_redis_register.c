
/*
 * Copyright (C) the ngx_push authors
 */


/* The register in Redis: its entries, and what a worker does for it. */


#include "ngx_push_redis_register.h"


#define NGX_PUSH_REGISTER_TICK  1000


static void ngx_push_register_tick(ngx_event_t *ev);


ngx_push_register_t  ngx_push_redis_register = {
    ngx_string("redis"),
    ngx_push_redis_claim,
    ngx_push_redis_release,
    ngx_push_redis_query,
    ngx_push_redis_subscribe,
    ngx_push_redis_unsubscribe,
    ngx_push_redis_moved
};


static ngx_event_t       ngx_push_register_event;
static ngx_connection_t  ngx_push_register_dummy;


ngx_int_t
ngx_push_redis_register_init(ngx_cycle_t *cycle)
{
    ngx_push_redis_write_init(cycle);
    ngx_push_redis_flush_init(cycle);

    ngx_push_register_dummy.fd = (ngx_socket_t) -1;

    ngx_push_register_event.handler = ngx_push_register_tick;
    ngx_push_register_event.data = &ngx_push_register_dummy;
    ngx_push_register_event.log = cycle->log;
    ngx_push_register_event.cancelable = 1;

    ngx_add_timer(&ngx_push_register_event, NGX_PUSH_REGISTER_TICK);

    return NGX_OK;
}


void
ngx_push_redis_register_exit(ngx_cycle_t *cycle)
{
    if (ngx_push_register_event.timer_set) {
        ngx_del_timer(&ngx_push_register_event);
    }

    ngx_push_redis_flush_exit();
    ngx_push_redis_write_exit();
}


/*
 * What a worker that died had been told to write, what waited for Redis, and
 * channels.  Asks Redis nothing when there is nothing to say.
 */

static void
ngx_push_register_tick(ngx_event_t *ev)
{
    ngx_push_redis_moved();
    ngx_push_redis_strays_run();
    ngx_push_redis_interest_run();

    ngx_add_timer(ev, NGX_PUSH_REGISTER_TICK);
}


ngx_int_t
ngx_push_register_reflush(ngx_push_handle_t session,
    ngx_push_bus_done_pt done, void *data)
{
    return ngx_push_redis_write(session, done, data);
}
