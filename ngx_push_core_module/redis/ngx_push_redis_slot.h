
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_REDIS_SLOT_H_INCLUDED_
#define _NGX_PUSH_REDIS_SLOT_H_INCLUDED_


/* Slots of keys, addresses, and redirects: pure, so that tests can ask. */


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_PUSH_REDIS_SLOTS    16384


/* "host" is an IP address in text, or with port 0 the path of a socket. */

typedef struct {
    char                 host[108];    /* filled with NUL */
    in_port_t            port;
} ngx_push_redis_addr_t;


#define ngx_push_redis_addr_eq(a, b)                                          \
    ((a)->port == (b)->port && ngx_strcmp((a)->host, (b)->host) == 0)


/* A redirect: MOVED or ASK.  "host" may be a name, or empty: the same one. */

typedef struct {
    ngx_uint_t           ask;
    ngx_uint_t           slot;
    char                 host[256];
    in_port_t            port;
} ngx_push_redis_redirect_t;


ngx_uint_t ngx_push_redis_slot(ngx_str_t *key);

/* Of an error reply; NGX_DECLINED when it is another one, or malformed. */

ngx_int_t ngx_push_redis_redirect(const char *text, size_t len,
    ngx_push_redis_redirect_t *r);

/* Is that an IPv4 or IPv6 address? */

ngx_uint_t ngx_push_redis_literal(const char *host);

/* 50 ms doubled with each failure up to 5 s, of that a half to the whole. */

ngx_msec_t ngx_push_redis_backoff(ngx_uint_t failures, uint32_t random);


#endif /* _NGX_PUSH_REDIS_SLOT_H_INCLUDED_ */
