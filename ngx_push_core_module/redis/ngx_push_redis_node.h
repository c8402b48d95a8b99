
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_REDIS_NODE_H_INCLUDED_
#define _NGX_PUSH_REDIS_NODE_H_INCLUDED_


/*
 * Nodes and the bus between them.
 *
 * A node is known by its name and its epoch, which changes when its zone has
 * lost its content.  It holds one lease; what the register says of a device
 * counts only while the lease of the node named there stands at that epoch.
 * Every worker keeps a table of all nodes, some seconds old at most.
 *
 * The bus carries frames to a node: hints that may be lost.  Whatever may
 * have lost one raises the zone's check epoch (ngx_push_check_all()), and
 * each session is then compared with the store at its next heartbeat.
 */


#include "ngx_push_redis.h"
#include "ngx_push_mirror.h"
#include "ngx_push_cluster.h"


#define NGX_PUSH_TAKEN_OVER     0x8e   /* reason code */
#define NGX_PUSH_KICK_WAIT      1000   /* ms, for an answer */


/* name and epoch of this node; the epoch is never 0 */

extern ngx_str_t   ngx_push_node_name;
extern uint32_t    ngx_push_node_epoch;

/*
 * May this node take devices?  0 when another that lives has our name: what
 * the register said of our devices would be taken for the other's.
 */

ngx_uint_t ngx_push_node_serves(void);


/*
 * Does this node's lease stand at that epoch, as far as this worker knows?
 * In doubt it does: a frame too many does no harm.
 */

ngx_uint_t ngx_push_node_alive(ngx_str_t *name, uint32_t epoch);


/* A message for the devices of a node, saved or (seq 0) online only. */

typedef struct {
    ngx_push_target_t   *target;
    uint64_t             incarnation;
    uint64_t             seq;
    ngx_str_t           *blob;         /* as stored; docs/redis.md */
} ngx_push_bus_message_t;

/*
 * All of these put a frame for "node" into this worker's batch, sent at the
 * end of this turn of the event loop.  To the own node is not sent: use the
 * mirror.  Above 16 KiB only the note that there is a message is sent, its
 * blob is empty then (a message with seq 0 is sent whole).
 */

void ngx_push_bus_message(ngx_str_t *node, ngx_push_bus_message_t *m);

/*
 * "claim" of the device has been taken by this node, or is about to be (0):
 * whoever has an older one, or with 0 any, ends the connection with "reason"
 * (0x8e), writes the cursors back, releases the device and answers; "done" is
 * called with NGX_OK, or with NGX_DECLINED when there is no answer for "wait".
 * NGX_AGAIN: it will be; NGX_ERROR: it will not.
 */

typedef void (*ngx_push_bus_done_pt)(void *data, ngx_int_t rc);

ngx_int_t ngx_push_bus_kick(ngx_str_t *node, ngx_push_product_t *product,
    ngx_str_t *user, ngx_str_t *device, uint32_t claim, ngx_uint_t reason,
    ngx_msec_t wait, ngx_push_bus_done_pt done, void *data);


/*
 * Are there nodes that may have sessions of which Redis does not know, since
 * it has lost something?
 */

ngx_uint_t ngx_push_unsettled(void);

/*
 * Has all of them write the device back and let go of it.  NGX_OK: there are
 * none; NGX_AGAIN: done() follows, with NGX_OK or NGX_DECLINED: not all have
 * answered; NGX_DECLINED: one cannot be asked now; NGX_ERROR.
 */

ngx_int_t ngx_push_settle_ask(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device, ngx_push_bus_done_pt done, void *data);

/*
 * Is what Redis says still what was written?  NGX_OK; NGX_AGAIN: done()
 * follows, with NGX_OK, NGX_ERROR, or NGX_DECLINED: it has come back empty,
 * and ngx_push_unsettled() from now on.
 */

ngx_int_t ngx_push_era_same(ngx_push_bus_done_pt done, void *data);


/*
 * All nodes, this one too, compare their logs with the store: nobody knows
 * what they have not been told.  The others hear of it with the next beat.
 */

void ngx_push_bus_check_everywhere(const char *why);


/*
 * What the register gives the bus: a KICK has come for a device of this node.
 * Ends it, writes back and releases, then calls done(data, NGX_OK) (at once
 * when there is nothing to do).
 */

void ngx_push_register_evict(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device, uint32_t claim, ngx_uint_t reason,
    ngx_push_bus_done_pt done, void *data);

/*
 * What the register gives the re-flush: writes one session of this node into
 * Redis as it stands now, and fetches what the zone lacks of its logs.
 * NGX_AGAIN: done() follows; NGX_PUSH_NOT_FOUND: the session is gone;
 * NGX_PUSH_BUSY, NGX_ERROR: not now.  From done() only: NGX_DECLINED, it is
 * another node's; NGX_PUSH_DENIED, Redis does not take it.
 */

ngx_int_t ngx_push_register_reflush(ngx_push_handle_t session,
    ngx_push_bus_done_pt done, void *data);

/* And all interest of this node in channels with members here, bounded. */

ngx_int_t ngx_push_register_reflush_log(ngx_push_handle_t log,
    ngx_push_bus_done_pt done, void *data);

/*
 * What the store gives the bus: a frame with a message has come; decodes the
 * blob and hands it to the mirror.
 */

void ngx_push_store_arrived(ngx_push_bus_message_t *m);


/* What the parts ask about nodes, for pcf->cluster. */

extern ngx_push_cluster_t  ngx_push_redis_nodes;


#endif /* _NGX_PUSH_REDIS_NODE_H_INCLUDED_ */
