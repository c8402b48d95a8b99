
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_REDIS_H_INCLUDED_
#define _NGX_PUSH_REDIS_H_INCLUDED_


/*
 * The Redis client as the saver, the register, the bus and the node see it:
 * calls that are answered later from the event loop of this worker.  Below it
 * are a few pipelined connections per worker and master, and one of three
 * topologies (single server, Sentinel, Cluster), of which nobody above it
 * knows anything but that keys with the same {tag} stand on one server.
 *
 * Keys and values are described in docs/redis.md.
 */


#include "ngx_push_store.h"
#include <hiredis/hiredis.h>


#define NGX_PUSH_REDIS_RUN      8

/* A script: lua/NAME.lua, whose first lines say keys, arguments, result. */

typedef struct {
    const char          *name;
    const char          *body;
    char                 sha[41];      /* by the client */
} ngx_push_redis_script_t;


/*
 * The answer to a call, once, from the event loop, never before the call has
 * returned.  "reply" is valid during the handler, NULL unless NGX_OK or
 * NGX_DECLINED.
 *
 *   NGX_OK          an answer that is not an error
 *   NGX_DECLINED    an error reply, not one of those below
 *   NGX_ERROR       it has not been done: never sent, or the server said so
 *                   before doing anything (LOADING, READONLY, CLUSTERDOWN,
 *                   MASTERDOWN, NOREPLICAS; redirects are followed within)
 *   NGX_PUSH_FULL   the server is out of memory (OOM), nothing was done
 *   NGX_ABORT       sent and not answered in time: nobody knows
 */

typedef void (*ngx_push_redis_pt)(void *data, ngx_int_t rc,
    redisReply *reply);


typedef struct {
    /* NULL: argv[0] is the name of a plain command */
    ngx_push_redis_script_t   *script;

    ngx_str_t                 *key;    /* decides the server; in argv too */
    ngx_uint_t                 nkeys;  /* script: the first of argv are keys */
    ngx_uint_t                 argc;
    const char               **argv;   /* copied before the call returns */
    const size_t              *argvlen;

    ngx_push_redis_pt          handler;    /* NULL: nobody wants to know */
    void                      *data;   /* must live until the handler */

    /*
     * Housekeeping that must get through when pushes are refused (leases,
     * acknowledgements): not counted against redis_inflight.
     */
    unsigned                   urgent:1;

    /*
     * One argument more at the end: NGX_PUSH_REDIS_RUN digits of the run id of
     * the server that it is sent to, by which a script knows that another
     * process than before has the key.
     */
    unsigned                   run:1;
} ngx_push_redis_call_t;


/*
 * NGX_AGAIN: the handler will be called.  NGX_PUSH_BUSY: redis_inflight calls
 * are under way, nothing was sent; NGX_ERROR: no connection to the key's
 * server (or no memory), nothing was sent.  Without a handler NGX_OK.
 */

ngx_int_t ngx_push_redis_call(ngx_push_redis_call_t *call);


/*
 * A blocking command (XREAD BLOCK) on a connection of its own to the server
 * of "key"; one at a time per process, "wait" is its BLOCK time, after which
 * the usual deadline begins.  Answers as a call does.
 */

ngx_int_t ngx_push_redis_block(ngx_push_redis_call_t *call, ngx_msec_t wait);
void ngx_push_redis_unblock(void);     /* gives it up: NGX_ABORT */


/* Can a call for this key be sent now?  Any key: NULL. */

ngx_uint_t ngx_push_redis_up(ngx_str_t *key);


/*
 * Who is told when a server of the topology becomes usable (again) for this
 * worker.  "lost" says what that may mean for what was written before:
 */

typedef enum {
    NGX_PUSH_REDIS_FIRST = 0,          /* first connection of this process */
    NGX_PUSH_REDIS_AGAIN,              /* the same server process as before */
    NGX_PUSH_REDIS_RESTARTED,          /* same address, another run id */
    NGX_PUSH_REDIS_FAILOVER            /* another server for the same keys */
} ngx_push_redis_back_t;

typedef struct ngx_push_redis_watch_s  ngx_push_redis_watch_t;

struct ngx_push_redis_watch_s {
    void                     (*up)(ngx_push_redis_back_t how);
    void                     (*down)(void);    /* the last usable one went */
    ngx_push_redis_watch_t    *next;           /* by the client */
};

void ngx_push_redis_watch(ngx_push_redis_watch_t *watch);


/* configuration: redis, redis_* and what the parts above the client need */

typedef struct {
    ngx_str_t            url;          /* redis ...; empty: not configured */
    ngx_str_t            prefix;       /* redis_prefix, "np:" */
    ngx_str_t            user;         /* redis_user; empty: none */
    ngx_str_t            password;     /* redis_password file=PATH or text */
    ngx_uint_t           inflight;     /* redis_inflight, per worker, 4096 */
    ngx_uint_t           connections;  /* redis_connections, per worker and
                                          master, 2 */
    ngx_msec_t           connect_timeout;      /* 1 s */
    ngx_msec_t           timeout;      /* redis_timeout: of a command, 2 s */
    ngx_msec_t           lease;        /* node_lease, 10 s */
    ngx_uint_t           bus_limit;    /* bus_limit: entries, 10000 */
    ngx_uint_t           reflush_rate; /* sessions a second, 2000 */
    ngx_msec_t           cursor_flush; /* 200 ms */
    void                *topology;     /* of the client */
} ngx_push_redis_conf_t;

ngx_push_redis_conf_t *ngx_push_redis_conf(void);    /* of this cycle */

extern ngx_module_t  ngx_push_redis_module;


/*
 * Keys.  Writes prefix {tag} name suffix into "buf" of NGX_PUSH_REDIS_KEY and
 * sets "key".  "t" says whose; the suffix what: 'q' log, 'd' devices of a
 * user, 'n' nodes interested in a channel, 'k' idempotency keys.
 */

#define NGX_PUSH_REDIS_KEY      512

void ngx_push_redis_key(u_char *buf, ngx_str_t *key, ngx_push_target_t *t,
    u_char suffix);


/*
 * The parts above, each told of the life of the process: called by the module
 * after the client is ready, and before it goes.
 */

ngx_int_t ngx_push_redis_store_init(ngx_cycle_t *cycle);
ngx_int_t ngx_push_redis_register_init(ngx_cycle_t *cycle);
ngx_int_t ngx_push_redis_node_init(ngx_cycle_t *cycle);
void ngx_push_redis_store_exit(ngx_cycle_t *cycle);
void ngx_push_redis_register_exit(ngx_cycle_t *cycle);
void ngx_push_redis_node_exit(ngx_cycle_t *cycle);

extern ngx_push_store_t     ngx_push_redis_store;
extern ngx_push_register_t  ngx_push_redis_register;


#endif /* _NGX_PUSH_REDIS_H_INCLUDED_ */
