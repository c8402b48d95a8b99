
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_REDIS_BUS_H_INCLUDED_
#define _NGX_PUSH_REDIS_BUS_H_INCLUDED_


/*
 * Between the files of nodes and bus.  ngx_push_redis_node.c has the life of
 * it, the role and its tick; _beat.c the leases; _send.c and _read.c the two
 * ends of a bus, _kick.c who waits for an answer from it; _reflush.c what is
 * written back, and _settle.c whether all have done so.
 */


#include "ngx_push_redis_node.h"
#include "ngx_push_redis_frame.h"
#include <ngx_event.h>


#define NGX_PUSH_ROLE_TICK      250    /* ms */
#define NGX_PUSH_ROLE_STALE     2000   /* ms without a sign of life */
#define NGX_PUSH_BEAT           1000   /* ms */


#define ngx_push_nodes          (&ngx_push_zone->head->nodes)


/* Has this process the role?  To be asked again after each wait. */

ngx_uint_t ngx_push_role_mine(void);

/* Milliseconds since this node has its epoch. */

uint64_t ngx_push_node_age(void);

/* An event whose timer does not keep the process. */

void ngx_push_bus_event(ngx_event_t *ev, ngx_event_handler_pt handler);

/* A command on a key, with one argument or NULL; never refused as too many. */

ngx_int_t ngx_push_bus_command(const char *command, ngx_str_t *key,
    const char *arg, ngx_push_redis_pt handler, void *data);

/* The entry of a node, or NULL. */

ngx_push_zone_node_t *ngx_push_node_find(u_char *name, size_t len);

/*
 * Notifications may have been lost: all logs of this node are compared with
 * the store, the channels' now, the inboxes' at the devices' heartbeats.
 */

void ngx_push_bus_check(const char *why);

/*
 * All that this node has registered is written again, and compared; or only
 * what it has to do with channels.
 */

void ngx_push_reflush_all(const char *why);
void ngx_push_reflush_channels(void);

/* The server may lack what it once said it had. */

void ngx_push_bus_doubt(const char *why);


/* From now on the nodes have to write back what Redis may have lost. */

void ngx_push_settle_begin(void);

/* The ticks of who has the role, and what it does when it loses it. */

void ngx_push_beat_tick(ngx_msec_t now);
void ngx_push_bus_read_tick(void);
void ngx_push_reflush_tick(void);
void ngx_push_bus_read_stop(void);


/* The server is back: a heartbeat without waiting for its time. */

void ngx_push_beat_now(void);

/* A worker leaves: 1 when nothing that it had to send is still with it. */

ngx_uint_t ngx_push_bus_sent(void);

/* Into the batch for a node. */

void ngx_push_bus_frame(u_char *name, size_t len, ngx_push_frame_t *f);

/* An answer from another node has come, maybe for another worker. */

void ngx_push_kick_frame(ngx_push_frame_entry_t *from, ngx_push_frame_t *f);
void ngx_push_kick_released(ngx_push_frame_t *f);
void ngx_push_kick_mail(ngx_push_mail_t *mail);

/* PREFIX{nodes}e; "buf" has NGX_PUSH_REDIS_KEY bytes */

void ngx_push_era_key(u_char *buf, ngx_str_t *key);

/* PREFIXbus:{NODE} */

void ngx_push_bus_key(u_char *buf, ngx_str_t *key, u_char *name, size_t len);


void ngx_push_bus_send_init(void);
void ngx_push_reflush_init(void);


#endif /* _NGX_PUSH_REDIS_BUS_H_INCLUDED_ */
