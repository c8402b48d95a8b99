
/*
 * Copyright (C) the ngx_push authors
 */


/* This node and the others. */


#include "ngx_push_redis_node.h"


ngx_str_t   ngx_push_node_name;
uint32_t    ngx_push_node_epoch = 1;


ngx_int_t
ngx_push_redis_node_init(ngx_cycle_t *cycle)
{
    return NGX_OK;
}


void
ngx_push_redis_node_exit(ngx_cycle_t *cycle)
{
}


ngx_uint_t
ngx_push_node_alive(ngx_str_t *name, uint32_t epoch)
{
    return 1;
}


void
ngx_push_bus_message(ngx_str_t *node, ngx_push_bus_message_t *m)
{
}


ngx_int_t
ngx_push_bus_kick(ngx_str_t *node, ngx_push_product_t *product,
    ngx_str_t *user, ngx_str_t *device, uint32_t claim, ngx_uint_t reason,
    ngx_msec_t wait, ngx_push_bus_done_pt done, void *data)
{
    return NGX_ERROR;
}
