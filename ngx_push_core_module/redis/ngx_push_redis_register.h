
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_REDIS_REGISTER_H_INCLUDED_
#define _NGX_PUSH_REDIS_REGISTER_H_INCLUDED_


/*
 * Between the files of the register in Redis:
 *
 *   ngx_push_redis_register.c  the table; the timers of a worker
 *   ngx_push_redis_entry.c     entries of a user's devices, and calls
 *   ngx_push_redis_claim.c     CONNECT, also of devices of another node
 *   ngx_push_redis_evict.c     the node that had a device before
 *   ngx_push_redis_bind.c      SUBSCRIBE; what a session that came back needs
 *   ngx_push_redis_interest.c  channels that have members at this node
 *   ngx_push_redis_write.c     a session written back
 *   ngx_push_redis_cursor.c    when, and what has no session
 *   ngx_push_redis_query.c     GET of a user
 *
 * Nothing here holds a connection or a session by pointer while it waits: the
 * zone's handles lead back to them, or do not any more.
 */


#include <ngx_event.h>
#include "ngx_push_redis_store.h"
#include "ngx_push_binding.h"


#define NGX_PUSH_FIELD_MAX      (NGX_PUSH_PRODUCT_MAX + 1 + NGX_PUSH_NAME_MAX)
#define NGX_PUSH_CALL_ARGS      14

/* incarnation in the entry of who has bound an inbox and has no cursor in it */

#define NGX_PUSH_BOUND_ONLY     1


/* A device as the register has it; strings lead into what was parsed. */

typedef struct {
    ngx_str_t            node;
    uint32_t             epoch;
    uint32_t             claim;
    u_char               state;        /* o, l, x */
    time_t               since;
    uint64_t             incarnation;  /* 0: not bound; 1: before any log */
    uint64_t             sent;
    uint64_t             acked;
    ngx_str_t            rest;
} ngx_push_device_entry_t;


/* NGX_OK, NGX_DECLINED */

ngx_int_t ngx_push_device_entry(ngx_push_device_entry_t *e, u_char *data,
    size_t len);

/* Is it of this node, and of the zone that this node has now? */

ngx_uint_t ngx_push_device_here(ngx_push_device_entry_t *e);


/*
 * A script being called: keys first, then arguments, each added by one of the
 * functions; strings must stay until _send().
 */

typedef struct {
    ngx_push_redis_script_t   *script;
    ngx_uint_t                 urgent;
    ngx_str_t                  key;
    ngx_uint_t                 nkeys;
    ngx_uint_t                 argc;
    const char                *argv[NGX_PUSH_CALL_ARGS];
    size_t                     argvlen[NGX_PUSH_CALL_ARGS];
    u_char                     keys[2][NGX_PUSH_REDIS_KEY];
    u_char                     numbers[NGX_PUSH_CALL_ARGS][NGX_INT64_LEN + 1];
    u_char                     field[NGX_PUSH_FIELD_MAX];
} ngx_push_reg_call_t;

void ngx_push_reg_begin(ngx_push_reg_call_t *c,
    ngx_push_redis_script_t *script, ngx_uint_t urgent);
void ngx_push_reg_key(ngx_push_reg_call_t *c, ngx_push_target_t *t,
    u_char suffix);

/* The keys of a user: devices and inbox. */

void ngx_push_reg_user(ngx_push_reg_call_t *c, ngx_push_product_t *product,
    ngx_str_t *user);

/* "own" is the session's product; its name stands in an entry elsewhere. */

void ngx_push_reg_field(ngx_push_reg_call_t *c, ngx_push_product_t *product,
    ngx_push_product_t *own, ngx_str_t *device);
size_t ngx_push_reg_name(u_char *field, ngx_push_product_t *product,
    ngx_push_product_t *own, ngx_str_t *device);
void ngx_push_reg_str(ngx_push_reg_call_t *c, ngx_str_t *s);
void ngx_push_reg_number(ngx_push_reg_call_t *c, uint64_t n);
void ngx_push_reg_hex(ngx_push_reg_call_t *c, uint64_t n);

/* This node's name and epoch. */

void ngx_push_reg_node(ngx_push_reg_call_t *c);
ngx_int_t ngx_push_reg_send(ngx_push_reg_call_t *c, ngx_push_redis_pt handler,
    void *data);

/* A string is copied to "p", and from then on is there; the end of it. */

u_char *ngx_push_reg_copy(u_char *p, ngx_str_t *s);

/* An element that is a number, or one as text; 0: there is none. */

uint64_t ngx_push_reply_number(redisReply *reply, ngx_uint_t n);


/* claim */

ngx_int_t ngx_push_redis_claim(ngx_push_claim_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle);


/*
 * evict: a device has been claimed from a node that is known by "old"; it
 * drops it, if it is there.
 */

void ngx_push_redis_former(ngx_push_claim_t *op,
    ngx_push_device_entry_t *old);

/*
 * The register says that the device is another node's: whoever has an older
 * claim of it here is sent away.
 */

void ngx_push_redis_lost(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device, ngx_str_t *entry);


/* bind */

ngx_int_t ngx_push_redis_subscribe(ngx_push_bind_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle);
ngx_int_t ngx_push_redis_unsubscribe(ngx_push_conn_t *conn,
    ngx_push_target_t *t, ngx_uint_t how);

/*
 * After a claim: sees to it that the register knows of all that the session is
 * bound to, and the zone where the logs stand.
 */

void ngx_push_redis_rebind(ngx_push_handle_t session, ngx_uint_t present);


/*
 * interest: this node has so many members of a channel.  NGX_AGAIN: done()
 * follows, and if it is NGX_OK the zone has learnt where the log stands.
 */

ngx_int_t ngx_push_redis_interest(ngx_push_target_t *t, ngx_uint_t count,
    ngx_push_bus_done_pt done, void *data);

/* Some steps of the walk that tells numbers and withdraws interest. */

void ngx_push_redis_interest_run(void);


/*
 * write: a session as it is now.  NGX_AGAIN: done(data, rc) follows; else as
 * ngx_push_register_reflush().  What could not be written is noted again.
 * "Soon" is at the end of this turn.
 */

ngx_int_t ngx_push_redis_write(ngx_push_handle_t session,
    ngx_push_bus_done_pt done, void *data);
ngx_int_t ngx_push_redis_write_soon(ngx_push_handle_t session,
    ngx_push_bus_done_pt done, void *data);
void ngx_push_redis_write_init(ngx_cycle_t *cycle);
void ngx_push_redis_write_exit(void);

extern ngx_uint_t  ngx_push_writes;    /* scripts under way */


/* Calls of cursor.lua, whose head says what these are. */

typedef struct {
    ngx_push_product_t  *product;      /* whose entry it is */
    ngx_push_product_t  *own;          /* the session's */
    ngx_str_t           *user;
    ngx_str_t           *device;
    uint32_t             claim;
    u_char               state;
    time_t               since;
    uint64_t             incarnation;
    uint64_t             sent;
    uint64_t             acked;
    ngx_str_t            rest;
} ngx_push_cursor_args_t;

void ngx_push_reg_cursor(ngx_push_reg_call_t *c, ngx_push_cursor_args_t *a);


/* cursor */

void ngx_push_redis_moved(void);
void ngx_push_redis_release(ngx_push_conn_t *conn, ngx_uint_t broken,
    uint32_t expiry, ngx_uint_t will);

/* A write has failed, or succeeded: when to try the next. */

void ngx_push_flush_backoff(ngx_uint_t failed);

/* A claim that may have been made, and has no session. */

void ngx_push_redis_void(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device);
void ngx_push_redis_write_later(ngx_push_product_t *product,
    ngx_push_product_t *own, ngx_str_t *user, ngx_str_t *device,
    ngx_uint_t seconds);
void ngx_push_redis_strays_run(void);
void ngx_push_redis_flush_init(ngx_cycle_t *cycle);
void ngx_push_redis_flush_exit(void);


/* query */

ngx_int_t ngx_push_redis_query(ngx_push_query_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle);


extern ngx_push_redis_script_t  ngx_push_script_claim;
extern ngx_push_redis_script_t  ngx_push_script_interest;
extern ngx_push_redis_script_t  ngx_push_script_cursor;
extern ngx_push_redis_script_t  ngx_push_script_query;


#endif /* _NGX_PUSH_REDIS_REGISTER_H_INCLUDED_ */
