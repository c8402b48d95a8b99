
/*
 * Copyright (C) the ngx_push authors
 */


/* The register in Redis. */


#include "ngx_push_redis_node.h"


ngx_push_register_t  ngx_push_redis_register = {
    ngx_string("redis"), NULL, NULL, NULL, NULL, NULL, NULL
};


ngx_int_t
ngx_push_redis_register_init(ngx_cycle_t *cycle)
{
    return NGX_OK;
}


void
ngx_push_redis_register_exit(ngx_cycle_t *cycle)
{
}


void
ngx_push_register_evict(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device, uint32_t claim, ngx_uint_t reason,
    ngx_push_bus_done_pt done, void *data)
{
    done(data, NGX_OK);
}


ngx_int_t
ngx_push_register_reflush(ngx_push_handle_t session,
    ngx_push_bus_done_pt done, void *data)
{
    return NGX_PUSH_NOT_FOUND;
}


ngx_int_t
ngx_push_register_reflush_log(ngx_push_handle_t log,
    ngx_push_bus_done_pt done, void *data)
{
    return NGX_PUSH_NOT_FOUND;
}
