
/*
 * Copyright (C) the ngx_push authors
 */


/* The store in Redis. */


#include "ngx_push_redis_node.h"


ngx_push_store_t  ngx_push_redis_store = {
    ngx_string("redis"), NULL, NULL, NULL, NULL
};


ngx_int_t
ngx_push_redis_store_init(ngx_cycle_t *cycle)
{
    return NGX_OK;
}


void
ngx_push_redis_store_exit(ngx_cycle_t *cycle)
{
}


void
ngx_push_store_arrived(ngx_push_bus_message_t *m)
{
}
