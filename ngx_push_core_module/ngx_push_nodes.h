
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_NODES_H_INCLUDED_
#define _NGX_PUSH_NODES_H_INCLUDED_


/*
 * What the zone knows of the nodes of a cluster; a part of its head.
 *
 * One worker has the node's role: it sends the heartbeat, reads the bus and
 * runs the re-flush, and it alone writes here, but for what is said to be
 * others'.  It holds all that its successor needs to go on.  The others read
 * without a lock: a name stands before its hash does, and what is read half
 * written is put right by the next heartbeat.
 */


#include "ngx_push.h"


#define NGX_PUSH_NODES          512    /* known, those that left included */
#define NGX_PUSH_NODE_NAME      64     /* with a NUL behind */
#define NGX_PUSH_SENDERS        4096   /* workers of other nodes */
#define NGX_PUSH_ERA            32


typedef struct {
    u_char               name[NGX_PUSH_NODE_NAME];
    uint32_t             len;
    volatile uint32_t    epoch;
    volatile uint32_t    alive;        /* held its lease at the last beat */
    volatile uint32_t    check;        /* has yet to be sent a CHECK; set by
                                          any process */
    uint32_t             online;       /* devices */
    uint32_t             reflush;      /* sessions it has to write back */
    uint64_t             beat;
    volatile uint64_t    awaited;      /* its first beat after a loss that
                                          counts; set by any process */
    uint64_t             until;        /* ms by Redis's clock, furthest seen */
    int64_t              seen;         /* wall clock of the last new beat */
} ngx_push_zone_node_t;


/* A process that sends to this node, and the number of its last entry. */

typedef struct {
    uint64_t             key;          /* 0: free */
    uint64_t             number;
    uint32_t             at;           /* zone second */
    uint32_t             spare;
} ngx_push_zone_sender_t;


typedef enum {
    NGX_PUSH_LEASE_NONE = 0,           /* not yet, or it has ended */
    NGX_PUSH_LEASE_HELD,
    NGX_PUSH_LEASE_WAIT,               /* the last owner of the name may be
                                          dead */
    NGX_PUSH_LEASE_FOREIGN             /* another node has our name */
} ngx_push_lease_t;


/* A walk over all records of a class, to write them back; see _reflush.c. */

typedef enum {
    NGX_PUSH_REFLUSH_CHANNELS = 0,
    NGX_PUSH_REFLUSH_SESSIONS,
    NGX_PUSH_REFLUSH_WALKS
} ngx_push_reflush_what_t;

typedef struct {
    volatile uint32_t    wanted;       /* set by any process */
    volatile uint32_t    running;
    uint32_t             page;         /* first record not done with */
    uint32_t             record;
    volatile uint64_t    remaining;
} ngx_push_zone_walk_t;


typedef struct {
    /* taken by compare and swap: (slot + 1) << 32 | generation */
    volatile uint64_t       role __attribute__((aligned(64)));
    volatile uint64_t       role_at;   /* last sign of life; ms, monotonic */

    /* the node and its lease */
    volatile uint32_t       epoch;     /* 0: none yet; never changes then */
    volatile uint32_t       lease;     /* ngx_push_lease_t */
    u_char                  era[NGX_PUSH_ERA + 1];
    uint64_t                beat;      /* counts ours */
    uint64_t                foreign;   /* last beat of who has our name */
    uint64_t                foreign_at;
    volatile uint64_t       beat_at;   /* last answer; ms, monotonic */
    volatile int64_t        clock;     /* Redis's ms minus ours */
    volatile uint64_t       doubt_at;  /* Redis has lost something; ms,
                                          monotonic; set by any process */

    /* generations of our worker slots: last one noticed, last clean exit */
    uint32_t                noticed[192];
    volatile uint32_t       left[192]; /* by the worker itself */

    /* the bus: id of the entry read last */
    uint64_t                last_ms;
    uint64_t                last_seq;
    uint64_t                started;   /* zone second, of reading at all */
    volatile uint64_t       lag;       /* ms, of the last entry */

    ngx_push_zone_walk_t    walks[NGX_PUSH_REFLUSH_WALKS];
    uint32_t                check;     /* the zone's, when the last walk over
                                          channels began */

    ngx_push_zone_sender_t  senders[NGX_PUSH_SENDERS];

    volatile uint32_t       nnodes;    /* entries ever used; only grows */
    volatile uint32_t       overflow;  /* there are more than we can hold */
    volatile uint32_t       hash[NGX_PUSH_NODES];  /* of the name; 0: free */
    ngx_push_zone_node_t    nodes[NGX_PUSH_NODES];
} ngx_push_zone_nodes_t;


#endif /* _NGX_PUSH_NODES_H_INCLUDED_ */
