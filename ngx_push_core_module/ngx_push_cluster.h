
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_CLUSTER_H_INCLUDED_
#define _NGX_PUSH_CLUSTER_H_INCLUDED_


/* What the parts may ask about the nodes, when there are several. */


#include "ngx_push_store.h"


typedef struct {
    ngx_str_t            name;         /* in the pool */
    uint32_t             epoch;
    ngx_uint_t           alive;        /* holds its lease */
    time_t               seen;         /* last heartbeat, wall clock */
    ngx_uint_t           online;       /* devices */
    ngx_uint_t           reflush;      /* sessions still to be written back */
} ngx_push_node_t;


/* State of this node for the metrics, kept in the zone's head or statistics. */

struct ngx_push_cluster_s {

    /* Nodes known, into an array of ngx_push_node_t.  At once. */
    ngx_int_t          (*nodes)(ngx_array_t *nodes, ngx_pool_t *pool);

    /*
     * Has a node write back all its sessions.  NGX_OK: told (or begun here);
     * NGX_PUSH_NOT_FOUND: no such node; NGX_DECLINED: its lease has ended;
     * NGX_PUSH_BUSY; NGX_ERROR.  At once.
     */
    ngx_int_t          (*reflush)(ngx_str_t *node);

    /* Devices online here and in all nodes, for a share of a common rate. */
    void               (*share)(uint64_t *here, uint64_t *all);
};


#endif /* _NGX_PUSH_CLUSTER_H_INCLUDED_ */
