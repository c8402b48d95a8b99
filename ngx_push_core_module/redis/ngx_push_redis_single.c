
/*
 * Copyright (C) the ngx_push authors
 */


/* The topology of one server, which has all keys. */


#include "ngx_push_redis_client.h"


static ngx_push_redis_server_t  *ngx_push_redis_the_one;


static ngx_int_t
ngx_push_redis_single_init(ngx_cycle_t *cycle)
{
    ngx_push_redis_the_one = ngx_push_redis_server_get(
                                  ngx_push_redis.where->addrs.elts);

    return ngx_push_redis_the_one ? NGX_OK : NGX_ERROR;
}


static void
ngx_push_redis_single_exit(void)
{
    ngx_push_redis_the_one = NULL;
}


static ngx_push_redis_server_t *
ngx_push_redis_single_select(ngx_uint_t slot)
{
    return ngx_push_redis_the_one;
}


/* There is nobody else to ask. */

static void
ngx_push_redis_single_doubt(void)
{
}


static ngx_push_redis_server_t *
ngx_push_redis_single_redirected(ngx_push_redis_redirect_t *r,
    ngx_push_redis_addr_t *addr)
{
    return NULL;
}


static ngx_push_redis_back_t
ngx_push_redis_single_back(ngx_push_redis_server_t *server)
{
    return NGX_PUSH_REDIS_FIRST;
}


ngx_push_redis_topology_t  ngx_push_redis_single = {
    "single",
    0,
    ngx_push_redis_single_init,
    ngx_push_redis_single_exit,
    ngx_push_redis_single_select,
    ngx_push_redis_single_doubt,
    ngx_push_redis_single_redirected,
    NULL,
    ngx_push_redis_single_back
};
