
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_REDIS_CLIENT_H_INCLUDED_
#define _NGX_PUSH_REDIS_CLIENT_H_INCLUDED_


/*
 * The inside of the Redis client.  From below:
 *
 *   link     a connection: hiredis's context on nginx's events, its handshake,
 *            its deadlines, its way back (event.c, link.c, hello.c)
 *   job      a call on its way: copied, sent, answered or sent again (call.c)
 *   server   an address and its links (server.c)
 *   topology which server has a key; single.c, sentinel.c, cluster.c
 *
 * All of it is one worker's own and lives from its start to its end.
 */


#include "ngx_push_redis.h"
#include "ngx_push_redis_slot.h"
#include <hiredis/async.h>
#include <ngx_event.h>


#define NGX_PUSH_REDIS_SCRIPTS  64     /* known to one process */

/* what waits for an answer may take so much of a worker's memory */

#define NGX_PUSH_REDIS_BYTES    (64 * 1024 * 1024)

#define NGX_PUSH_REDIS_NAME     128    /* of a connection */
#define NGX_PUSH_REDIS_TRIES    5      /* of a call that is redirected */


typedef struct ngx_push_redis_link_s      ngx_push_redis_link_t;
typedef struct ngx_push_redis_server_s    ngx_push_redis_server_t;
typedef struct ngx_push_redis_job_s       ngx_push_redis_job_t;
typedef struct ngx_push_redis_topology_s  ngx_push_redis_topology_t;


/* The client's own use of a link: an answer, or NULL: there will be none. */

typedef void (*ngx_push_redis_own_pt)(ngx_push_redis_link_t *link,
    redisReply *reply, void *data);


struct ngx_push_redis_job_s {
    ngx_queue_t                queue;      /* of its link, in order */
    ngx_push_redis_link_t     *link;
    ngx_push_redis_pt          handler;
    void                      *data;
    ngx_push_redis_own_pt      own;        /* instead of the handler */
    ngx_push_redis_script_t   *script;
    char                      *command;    /* behind it; to be sent again */
    size_t                     len;
    uint64_t                   start;      /* where it begins in the stream of
                                              bytes of its link */
    uint64_t                   began;      /* microseconds */
    ngx_msec_t                 deadline;
    ngx_event_t                again;      /* TRYAGAIN: waits here */
    uint16_t                   slot;
    uint8_t                    tries;
    unsigned                   counted:1;  /* in inflight */
    unsigned                   waiting:1;  /* in the list of those that wait */
    unsigned                   run:1;      /* ends with a part of the run id */
    unsigned                   late:1;     /* in "late" of its link: has been
                                              answered without a reply */
};


typedef enum {
    NGX_PUSH_REDIS_DOWN = 0,           /* the timer is until the next try */
    NGX_PUSH_REDIS_CONNECTING,
    NGX_PUSH_REDIS_HELLO,              /* connected, says who it is */
    NGX_PUSH_REDIS_READY
} ngx_push_redis_state_t;


typedef enum {
    NGX_PUSH_REDIS_POOL = 0,           /* one of a server's */
    NGX_PUSH_REDIS_BLOCKING,           /* the one of ngx_push_redis_block() */
    NGX_PUSH_REDIS_SCOUT               /* asks for the topology */
} ngx_push_redis_use_t;


struct ngx_push_redis_link_s {
    ngx_push_redis_server_t   *server;     /* NULL: a scout */
    ngx_push_redis_addr_t      addr;
    redisAsyncContext         *ac;         /* NULL: closed */
    ngx_connection_t          *c;          /* with it */
    ngx_queue_t                jobs;       /* sent or to be sent, in order */
    ngx_queue_t                late;       /* before those: their deadline has
                                              passed, the reply has not come */
    ngx_uint_t                 njobs;      /* in both */
    ngx_uint_t                 nheld;      /* of them, that keep the process */
    uint64_t                   queued;     /* bytes handed to hiredis */
    uint64_t                   loaded;     /* scripts the server has, by bit */
    uint64_t                   reloaded;   /* "queued" when they were lost */
    ngx_event_t                timer;
    ngx_event_t                flush;      /* posted: something is to be
                                              written */
    ngx_msec_t                 heard;      /* when something came last */
    ngx_msec_t                 asked;      /* PING sent; 0: none */
    ngx_uint_t                 failures;
    ngx_push_redis_state_t     state;
    ngx_push_redis_use_t       use;
    unsigned                   closing:1;
    unsigned                   writing:1;
    unsigned                   quiet:1;    /* its failure has been logged */
    unsigned                   mute:1;     /* closed by us for a reason that
                                              nobody wants to read */
    unsigned                   usable:1;   /* counted in nready */
    unsigned                   stale:1;    /* takes no calls, is closed when
                                              all have been answered */
    unsigned                   authed:1;   /* scout: AUTH has been tried */
    unsigned                   once:1;     /* does not come back by itself */
    unsigned                   graced:1;   /* we were late, and have waited */

    /* by the owner: usable now, and no longer (or never was) */
    void                     (*up)(ngx_push_redis_link_t *link);
    void                     (*down)(ngx_push_redis_link_t *link);
};


/* What a server says of itself (INFO). */

typedef struct {
    u_char                     runid[41];
    u_char                     replid[41];
    u_char                     replid2[41];    /* of its master, once */
    ngx_uint_t                 version;        /* 70015 */
    unsigned                   master:1;
    unsigned                   loading:1;
    unsigned                   cluster:1;
    unsigned                   noeviction:1;
    unsigned                   aof:1;
} ngx_push_redis_info_t;


struct ngx_push_redis_server_s {
    ngx_queue_t                queue;
    ngx_push_redis_addr_t      addr;
    ngx_push_redis_info_t      info;       /* of its latest connection */
    u_char                     before[41]; /* run id that was told of */
    ngx_uint_t                 nready;
    ngx_uint_t                 nlinks;
    ngx_msec_t                 since;      /* when it was first heard of */
    unsigned                   fresh:1;    /* cluster: in no map yet */
    unsigned                   retired:1;  /* to be freed when all is closed */
    unsigned                   warned:1;
    u_char                     parent[41]; /* replid of whose slots it got */
    unsigned                   heir:1;     /* and that is no master any more */
    unsigned                   marked:1;   /* of the topology being read */
    ngx_push_redis_link_t      links[1];
};


struct ngx_push_redis_topology_s {
    const char                *name;
    ngx_uint_t                 cluster;    /* its servers have slots */

    ngx_int_t                (*init)(ngx_cycle_t *cycle);
    void                     (*exit)(void);

    /* NULL: nobody, as far as is known */
    ngx_push_redis_server_t *(*select)(ngx_uint_t slot);

    /*
     * Something does not fit: a connection was lost, a reply said that the
     * server has not the part it should have.  Look again, soon.
     */
    void                     (*doubt)(void);

    /* A redirect to "addr" has come; NULL: there should be none. */
    ngx_push_redis_server_t *(*redirected)(ngx_push_redis_redirect_t *r,
                                           ngx_push_redis_addr_t *addr);

    /* A server has become usable, and will be told of; NULL: so what. */
    void                     (*usable)(ngx_push_redis_server_t *server);

    /* what a server is that has not been told of before */
    ngx_push_redis_back_t    (*back)(ngx_push_redis_server_t *server);
};

extern ngx_push_redis_topology_t  ngx_push_redis_single;
extern ngx_push_redis_topology_t  ngx_push_redis_sentinel;
extern ngx_push_redis_topology_t  ngx_push_redis_cluster;


/* The directive "redis". */

typedef struct {
    ngx_push_redis_topology_t *type;
    ngx_array_t                addrs;      /* of ngx_push_redis_addr_t */
    ngx_str_t                  master;     /* sentinel=NAME */
    ngx_uint_t                 db;
} ngx_push_redis_where_t;


typedef struct {
    ngx_push_redis_conf_t     *conf;
    ngx_push_redis_where_t    *where;
    ngx_log_t                 *log;
    ngx_queue_t                servers;
    ngx_queue_t                retired;
    ngx_queue_t                waiting;    /* jobs that no link has */
    ngx_event_t                reap;
    ngx_push_redis_watch_t    *watches;
    ngx_push_redis_script_t   *scripts[NGX_PUSH_REDIS_SCRIPTS];
    ngx_uint_t                 nscripts;
    ngx_msec_t                 started;    /* this process */
    ngx_uint_t                 inflight;
    size_t                     bytes;      /* of commands in flight */
    ngx_uint_t                 nready;     /* links of all servers */
    ngx_uint_t                 nusable;    /* servers with one at least */
    unsigned                   running:1;
    unsigned                   leaving:1;  /* no handlers any more */
} ngx_push_redis_client_t;

extern ngx_push_redis_client_t  ngx_push_redis;


/* client.c */

ngx_int_t ngx_push_redis_client_init(ngx_cycle_t *cycle);

/* Answers all calls under way, and takes those without a handler only. */

void ngx_push_redis_client_leave(void);

/* Writes what can be written, and closes everything. */

void ngx_push_redis_client_exit(void);


/* event.c: hiredis's context on a connection of nginx's */

ngx_int_t ngx_push_redis_attach(ngx_push_redis_link_t *link);

/* Bytes that have been given to the kernel. */

uint64_t ngx_push_redis_written(ngx_push_redis_link_t *link);


/* link.c */

void ngx_push_redis_link_init(ngx_push_redis_link_t *link,
    ngx_push_redis_addr_t *addr, ngx_push_redis_use_t use);

void ngx_push_redis_link_open(ngx_push_redis_link_t *link);

/*
 * Not from within ngx_push_redis_call(), for jobs are answered by it.  Without
 * a reason nothing is logged.
 */

void ngx_push_redis_link_close(ngx_push_redis_link_t *link,
    const char *reason);

/* By the adapter. */

void ngx_push_redis_link_connected(ngx_push_redis_link_t *link);
void ngx_push_redis_link_gone(ngx_push_redis_link_t *link,
    const char *reason);

/* It has passed its handshake. */

void ngx_push_redis_link_ready(ngx_push_redis_link_t *link);

/* Sees to it that the timer is not later than that. */

void ngx_push_redis_link_due(ngx_push_redis_link_t *link,
    ngx_msec_t deadline);

/* The call that has waited for its reply longest; NULL: none does. */

ngx_push_redis_job_t *ngx_push_redis_link_oldest(ngx_push_redis_link_t *link);


/* hello.c: who we are, and who it is */

void ngx_push_redis_hello(ngx_push_redis_link_t *link);
ngx_int_t ngx_push_redis_hello_auth(ngx_push_redis_link_t *link);


/* call.c */

/* A command of the client's own, of "argc" words. */

ngx_int_t ngx_push_redis_own(ngx_push_redis_link_t *link,
    ngx_push_redis_own_pt own, void *data, ngx_uint_t argc,
    const char **argv, const size_t *argvlen);

ngx_push_redis_job_t *ngx_push_redis_job_new(ngx_push_redis_call_t *call);
void ngx_push_redis_job_free(ngx_push_redis_job_t *job);
ngx_int_t ngx_push_redis_job_send(ngx_push_redis_link_t *link,
    ngx_push_redis_job_t *job, ngx_msec_t timeout);
void ngx_push_redis_job_done(ngx_push_redis_job_t *job, ngx_int_t rc,
    redisReply *reply);

/*
 * Answers NGX_ABORT to a job of a link that stays; the job waits on for its
 * reply, which nobody reads.
 */

void ngx_push_redis_job_late(ngx_push_redis_job_t *job);


/* retry.c */

/*
 * What to make of an error reply: NGX_AGAIN: the job has been sent again or
 * waits for it; else what the caller is told.
 */

ngx_int_t ngx_push_redis_error(ngx_push_redis_job_t *job,
    ngx_push_redis_link_t *link, redisReply *reply);
ngx_int_t ngx_push_redis_classify(const char *text, size_t len);
void ngx_push_redis_waiting_exit(void);

/* Sends it some milliseconds from now, to whoever it is for then. */

ngx_int_t ngx_push_redis_later(ngx_push_redis_job_t *job);


/* script.c */

ngx_int_t ngx_push_redis_script(ngx_push_redis_script_t *script);

/* Loads it into the link's server before its first use by this link. */

ngx_int_t ngx_push_redis_script_load(ngx_push_redis_link_t *link,
    ngx_push_redis_script_t *script);

/* NOSCRIPT was the answer to that job. */

void ngx_push_redis_script_lost(ngx_push_redis_link_t *link,
    ngx_push_redis_job_t *job);


/* server.c */

ngx_push_redis_server_t *ngx_push_redis_server_find(
    ngx_push_redis_addr_t *addr);
ngx_push_redis_server_t *ngx_push_redis_server_get(
    ngx_push_redis_addr_t *addr);
void ngx_push_redis_server_retire(ngx_push_redis_server_t *server);

/* It is not what it was: no calls any more, a new handshake. */

void ngx_push_redis_server_doubt(ngx_push_redis_server_t *server);

/* It does not answer: what else there is to it is not to be relied on. */

void ngx_push_redis_server_silent(ngx_push_redis_server_t *server);

ngx_push_redis_link_t *ngx_push_redis_server_link(
    ngx_push_redis_server_t *server, ngx_uint_t slot);
void ngx_push_redis_server_reap(ngx_event_t *ev);
void ngx_push_redis_server_exit(void);

/* Tells the watches. */

void ngx_push_redis_told(ngx_push_redis_server_t *server);


/* block.c */

void ngx_push_redis_block_init(void);
void ngx_push_redis_block_exit(void);

/* A server goes: its blocking call with it. */

void ngx_push_redis_block_server(ngx_push_redis_server_t *server);


/* conf.c */

char *ngx_push_redis_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_push_redis_conf_password(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_push_redis_conf_name(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* The address of sockaddr, as hiredis takes it. */

void ngx_push_redis_addr_of(ngx_push_redis_addr_t *addr,
    struct sockaddr *sockaddr, socklen_t socklen);


/* In the statistics of the zone; at the very end there is none any more. */

#define ngx_push_redis_count(field)                                           \
    if (ngx_push_self) {                                                      \
        ngx_push_self->stats.field++;                                         \
    }

#define ngx_push_redis_gauge(field, n)                                        \
    if (ngx_push_self) {                                                      \
        ngx_push_self->stats.field = (n);                                     \
    }


uint64_t ngx_push_redis_usec(void);


#endif /* _NGX_PUSH_REDIS_CLIENT_H_INCLUDED_ */
