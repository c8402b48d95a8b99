
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_WORKER_H_INCLUDED_
#define _NGX_PUSH_WORKER_H_INCLUDED_


/*
 * Worker slots, mailboxes and connections.
 *
 * A process that serves takes a slot of the zone for its life.  It holds the
 * slot's "life" mutex from start to end: whoever finds that mutex without an
 * owner knows, whatever became of the pid, that the process is dead.
 */


#include "ngx_push_zone.h"
#include "ngx_push_stats.h"


/* A note to a worker: something may be new.  Never the thing itself. */

typedef enum {
    NGX_PUSH_MAIL_INBOX = 1,   /* session: read on */
    NGX_PUSH_MAIL_ONCE,        /* session: a message with TTL 0 */
    NGX_PUSH_MAIL_CHANNEL,     /* log: the members here, read on */
    NGX_PUSH_MAIL_CHANNEL_ONCE,
    NGX_PUSH_MAIL_KICK,        /* session: taken over or ended */
    NGX_PUSH_MAIL_RELEASED     /* another node has let go of a device */
} ngx_push_mail_type_t;


struct ngx_push_mail_s {
    uint8_t              type;
    uint8_t              reason;       /* KICK: MQTT 5 reason code */
    uint16_t             spare;
    uint32_t             conn;         /* of a session */
    ngx_push_handle_t    to;           /* session or log */
    ngx_push_handle_t    msg;
    uint64_t             seq;          /* KICK: the claim that is over;
                                          RELEASED: the ticket */
};


typedef struct {
    pthread_mutex_t      mutex;
    volatile uint32_t    head;         /* next cell to write, by senders */
    uint32_t             spare[7];
    volatile uint32_t    tail __attribute__((aligned(64)));  /* to read */
    volatile uint32_t    signaled;     /* a wake-up is under way */
    volatile uint32_t    resync;       /* something was not written */
    uint64_t             cells;        /* offset */
} __attribute__((aligned(64))) ngx_push_mailbox_t;


typedef enum {
    NGX_PUSH_WORKER_FREE = 0,
    NGX_PUSH_WORKER_LIVE,
    NGX_PUSH_WORKER_DRAINING,          /* of an old cycle, sends devices away */
    NGX_PUSH_WORKER_DEAD               /* its sessions are to be swept */
} ngx_push_worker_state_t;


struct ngx_push_worker_s {
    pthread_mutex_t      life;
    volatile uint32_t    state;
    volatile uint32_t    gen;          /* changes with each process */
    uint32_t             index;
    int32_t              pid;
    uint32_t             started;      /* zone second */
    volatile uint32_t    beat;         /* zone second of the last tick */
    uint32_t             swept;        /* DEAD: pages looked through so far */

    ngx_push_mailbox_t   mailbox;

    /* messages this process is sending outside of the lock */
    volatile uint32_t    npins __attribute__((aligned(64)));
    ngx_push_ref_t       pins[NGX_PUSH_PINS];

    ngx_push_stats_t     stats __attribute__((aligned(64)));

    volatile uint32_t    nundo __attribute__((aligned(64)));
    ngx_push_undo_t      undo[NGX_PUSH_UNDO];
};


#define ngx_push_worker_slot(i)                                               \
    ((ngx_push_worker_t *) (ngx_push_zone->base                               \
                            + ngx_push_zone->head->workers_at) + (i))

#define ngx_push_self  (ngx_push_zone->self)

/* Is {slot, gen} a process that serves? */

static ngx_inline ngx_uint_t
ngx_push_worker_alive(uint32_t slot, uint32_t gen)
{
    ngx_push_worker_t  *w;

    if (slot >= NGX_PUSH_WORKERS) {
        return 0;
    }

    w = ngx_push_worker_slot(slot);

    return w->gen == gen && (w->state == NGX_PUSH_WORKER_LIVE
                             || w->state == NGX_PUSH_WORKER_DRAINING);
}


ngx_int_t ngx_push_worker_init(ngx_cycle_t *cycle, ngx_push_conf_t *pcf);

/* begins to watch how long the event loop is away; in a worker with a slot */

void ngx_push_loop_init(void);
void ngx_push_worker_exit(ngx_cycle_t *cycle);

/*
 * Sends a note; to this process itself it is put into a queue that is read
 * at the end of this turn of the event loop.  Never blocks, never fails: a
 * full mailbox sets its owner's resync mark.
 */

void ngx_push_mail_send(uint32_t slot, uint32_t gen, ngx_push_mail_t *mail);

/* Who gets what came from other nodes; NULL: nobody. */

extern void  (*ngx_push_mail_released)(ngx_push_mail_t *mail);


/*
 * Connections of this worker, of any transport.  The owner embeds this in
 * its own record; "index" is what the session table knows it by.
 */

typedef struct ngx_push_conn_s       ngx_push_conn_t;
typedef struct ngx_push_transport_s  ngx_push_transport_t;
typedef struct ngx_push_out_s        ngx_push_out_t;


struct ngx_push_conn_s {
    ngx_push_transport_t  *transport;
    ngx_push_handle_t      session;    /* index: its ref; 0: none yet */
    uint32_t               index;      /* set by ngx_push_conn_attach() */
    uint32_t               claim;      /* of the session, set with it */
    unsigned               attached:1;
    unsigned               blocked:1;  /* its socket takes nothing now: by the
                                          transport, which takes on after it */
    unsigned               behind:1;   /* it has or may have more to take than
                                          it took: by the core.  Nothing is
                                          put into its hand meanwhile, it is
                                          asked to look; and it takes on after
                                          an acknowledgement */
    unsigned               noted:1;    /* among those that have moved: by the
                                          core */
};


/*
 * What a transport does for the core.  All are called on the event loop of
 * the connection's worker, with no lock held, and may close the connection.
 */

struct ngx_push_transport_s {
    const char  *name;

    /* something may be new for the session: ngx_push_take() until nothing */
    void       (*notify)(ngx_push_conn_t *pc);

    /*
     * One message in hand, already entered in the session's books: write it.
     * "out" and the message are valid until return.  Not called while the
     * connection is blocked.
     */
    void       (*deliver)(ngx_push_conn_t *pc, ngx_push_out_t *out);

    /* the session is no longer this connection's; reason as in MQTT 5 */
    void       (*kick)(ngx_push_conn_t *pc, ngx_uint_t reason);

    /* the worker leaves (reload): send the device away, in its own time */
    void       (*drain)(ngx_push_conn_t *pc);

    /*
     * deliver() comes soon, after others: fetches what it looks at into the
     * cache.  The first octets of the connection are on their way.
     */
    void       (*warm)(ngx_push_conn_t *pc);
};


ngx_int_t ngx_push_conn_attach(ngx_push_conn_t *pc);
void ngx_push_conn_detach(ngx_push_conn_t *pc);
ngx_uint_t ngx_push_conn_count(void);


#endif /* _NGX_PUSH_WORKER_H_INCLUDED_ */
