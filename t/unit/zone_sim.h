
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _ZONE_SIM_H_INCLUDED_
#define _ZONE_SIM_H_INCLUDED_


/*
 * A worker without sockets: connections that claim, subscribe, take,
 * acknowledge and leave, and saves, picked at random.  What is taken is
 * looked at: whole, for this device, in order.  When a connection takes is
 * what the room does: when it is told, when its socket takes octets again,
 * when its window was resent, and after an acknowledgement if it is behind.
 */


#include "zone_stub.h"


#define SIM_CONNS   24
#define SIM_OUT     8
#define SIM_LOGS    32                 /* whose order a connection follows */


typedef struct {
    uint64_t             incarnation;
    uint64_t             seq;
} sim_last_t;


typedef struct {
    ngx_push_conn_t      push;
    ngx_uint_t           used;
    ngx_uint_t           product;      /* of the token */
    ngx_uint_t           user;
    ngx_uint_t           device;
    ngx_uint_t           ndelivered;   /* all that was written to it */
    ngx_uint_t           nonce;        /* of them without an id */
    ngx_uint_t           kicks;
    ngx_uint_t           present;      /* its MQTT session was resumed */
    ngx_uint_t           again;        /* its window is being resent */
    ngx_uint_t           resent;       /* as far as this */
    ngx_uint_t           want;         /* told that there may be something */
    uint64_t             last_seq;     /* of the newest delivery */
    ngx_uint_t           last_pid;
    ngx_uint_t           npids;        /* not acknowledged yet */
    uint16_t             pids[64];
    sim_last_t           last[SIM_LOGS];
} sim_conn_t;


/* faults seen by any process: bodies, order, strangers' messages */

extern volatile uint32_t  *sim_faults;

extern sim_conn_t          sim_conns[SIM_CONNS];


void sim_init(void);
uint32_t sim_random(uint32_t below);
void sim_seed(uint32_t seed);

/*
 * The single steps, for tests that want one thing at a time.  A name is made
 * of a number; every fifth is a long one.
 */

sim_conn_t *sim_claim(ngx_uint_t product, ngx_uint_t user, ngx_uint_t device,
    ngx_uint_t clean, uint32_t expiry, size_t will);
ngx_int_t sim_subscribe(sim_conn_t *c, ngx_push_kind_t kind,
    ngx_uint_t product, ngx_uint_t number, ngx_uint_t how);
ngx_int_t sim_unsubscribe(sim_conn_t *c, ngx_push_kind_t kind,
    ngx_uint_t product, ngx_uint_t number, ngx_uint_t how);
ngx_int_t sim_save(ngx_push_kind_t kind, ngx_uint_t product,
    ngx_uint_t number, size_t size, time_t ttl, ngx_push_save_t *op);
ngx_int_t sim_ack(sim_conn_t *c, ngx_uint_t pid);
void sim_take(sim_conn_t *c);

/* What the room does at the end of each step, and when a socket is full. */

void sim_settle(sim_conn_t *c);
void sim_block(sim_conn_t *c);
void sim_unblock(sim_conn_t *c);

/* A target, and a payload as it has to be; "buf" takes the name. */

void sim_target(ngx_push_target_t *t, u_char *buf, ngx_push_kind_t kind,
    ngx_uint_t product, ngx_uint_t number);
size_t sim_body(u_char *p, ngx_push_kind_t kind, ngx_uint_t product,
    ngx_uint_t number, size_t size);

/* Told of every delivery; what the register has of the device of a claim. */

extern void              (*sim_seen)(sim_conn_t *c, ngx_push_out_t *out);
extern ngx_push_claim_t    sim_claimed;

/* Of claims and subscriptions, messages from now on; 4, 1 and 1. */

extern ngx_uint_t          sim_window;
extern ngx_uint_t          sim_sub_qos;
extern ngx_uint_t          sim_save_qos;

/* An idempotency key for the next saves; 0: none. */

extern uint32_t            sim_save_key;

/*
 * Of all messages in logs and keys in use: no two messages have one key,
 * unless it had expired in between, and no key is of a message that was never
 * in its log.  The number of faults, which are printed.
 */

ngx_uint_t sim_keys_wrong(void);
void sim_release(sim_conn_t *c, ngx_uint_t broken, uint32_t expiry,
    ngx_uint_t will);

/* "shop/inbox" and its like in one call: a bind at QoS 1 */

ngx_int_t sim_bind(sim_conn_t *c, ngx_uint_t product);

/* One random step. */

void sim_step(void);

/*
 * When nothing is on its way any more: a connection that would be given
 * something if it took, and has nothing to wait for, was not told.  The
 * number of such messages, which are given to it.
 */

ngx_uint_t sim_forgotten(void);


#endif /* _ZONE_SIM_H_INCLUDED_ */
