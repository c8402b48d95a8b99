
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_REDIS_SCOUT_H_INCLUDED_
#define _NGX_PUSH_REDIS_SCOUT_H_INCLUDED_


/* Who asks for the topology, and how the names in the answers are found. */


#include "ngx_push_redis_client.h"


/* Sends the question, with an answer of its own. */

typedef void (*ngx_push_redis_scout_pt)(ngx_push_redis_link_t *link);


ngx_int_t ngx_push_redis_scout_init(ngx_array_t *addrs, ngx_msec_t interval,
    ngx_push_redis_scout_pt ask);
void ngx_push_redis_scout_exit(void);
void ngx_push_redis_scout_add(ngx_push_redis_addr_t *addr);
void ngx_push_redis_scout_soon(void);
void ngx_push_redis_scout_other(const char *reason);
void ngx_push_redis_scout_answered(void);


/*
 * The address of a host that a server has named.  NGX_AGAIN: it is being looked
 * up, and the topology will be in doubt when it is known; NGX_ERROR: there is
 * none.
 */

ngx_int_t ngx_push_redis_resolve(ngx_push_redis_addr_t *addr,
    const char *host, in_port_t port);
void ngx_push_redis_resolve_exit(void);


#endif /* _NGX_PUSH_REDIS_SCOUT_H_INCLUDED_ */
