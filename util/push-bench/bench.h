
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * push-bench: a load generator for MQTT push servers.
 *
 * One parent and --processes workers.  The parent parses options, forks,
 * moves the run from phase to phase, samples /proc and reports.  A worker owns
 * a contiguous range of the devices and one epoll loop; everything a worker
 * counts lives in its own bench_stats_t of the shared mapping, which only that
 * worker writes and which anybody may read at any time.
 *
 * A run has "logs": one per user (unicast, storm), one per group, or a single
 * one (broadcast).  Every device listens to exactly one log.  Messages of a log
 * are numbered 1, 2, 3 ... by the only process that publishes to it: the
 * worker which owns the user's devices, or worker 0 for groups and broadcasts.
 */


#ifndef _BENCH_H_INCLUDED_
#define _BENCH_H_INCLUDED_


#include <openssl/ssl.h>

#include "common.h"


#define BENCH_MAX_PIDS       16
#define BENCH_MAX_HEADERS    16
#define BENCH_MAX_TOPICS     4
#define BENCH_MAX_STAGES     16

/* the marks at the start of every payload; the rest of it is filler */
#define BENCH_MARK_SIZE      32



typedef enum {
    BENCH_CONNECT = 0,
    BENCH_IDLE,
    BENCH_UNICAST,
    BENCH_BROADCAST,
    BENCH_GROUP,
    BENCH_STORM,
    BENCH_STAGES
} bench_mode_e;


typedef enum {
    BENCH_PUB_NONE = 0,
    BENCH_PUB_HTTP,
    BENCH_PUB_MQTT
} bench_pub_e;


/* what a device speaks; transport: nothing, the connection is all there is */

typedef enum {
    BENCH_SUB_MQTT = 0,
    BENCH_SUB_WEBSOCKET,
    BENCH_SUB_TRANSPORT
} bench_sub_e;


typedef enum {
    BENCH_STAGE_HOLD = 0,
    BENCH_STAGE_UNICAST,
    BENCH_STAGE_BROADCAST
} bench_stage_e;


/* what is done with devices that are connected already: see --stage */

typedef struct {
    bench_stage_e            kind;
    const char              *name;
    int                      qos;
    double                   rate;          /* messages/s; hold: pings/s */
    uint64_t                 messages;      /* 0: by duration */
    double                   duration;
    double                   warmup;
} bench_stage_t;


/* filled once by bench_parse_options(), read-only afterwards */

typedef struct {
    bench_mode_e             mode;
    bench_pub_e              publish;
    bench_sub_e              subscriber;

    const char              *host;
    int                      port;
    const char              *http_host;
    int                      http_port;
    struct sockaddr_storage  addr;
    socklen_t                addrlen;
    struct sockaddr_storage  http_addr;
    socklen_t                http_addrlen;
    int                      sources;       /* 0: the kernel chooses */

    uint32_t                 connections;
    uint32_t                 per_user;      /* devices of one user */
    uint32_t                 groups;
    uint32_t                 processes;
    double                   connect_rate;  /* 0: bounded by handshakes only */
    uint32_t                 handshakes;

    int                      level;         /* 4: MQTT 3.1.1, 5: MQTT 5 */
    int                      tls;
    const char              *cafile;
    int                      qos;
    int                      persistent;    /* keep the session over a drop */
    int                      reconnect;     /* lost devices come back */
    uint32_t                 keepalive;
    uint32_t                 receive_max;

    /* templates, see bench_expand() */
    const char              *product;
    const char              *user;
    const char              *topics[BENCH_MAX_TOPICS];
    int                      ntopics;
    const char              *websocket_path;
    const char              *client_id;
    const char              *username;
    const char              *password;
    const char              *jwt_key;
    const char              *publish_topic;
    const char              *url;
    const char              *pub_username;
    const char              *pub_password;

    const char              *api_key;
    const char              *headers[BENCH_MAX_HEADERS];
    int                      nheaders;
    uint32_t                 publishers;    /* connections, of each worker */
    uint32_t                 pipeline;      /* unanswered on each of them */
    int                      publish_qos;

    double                   rate;          /* messages/s; 0: closed loop */
    uint32_t                 outstanding;   /* messages, in the closed loop */
    uint64_t                 messages;      /* 0: by duration */
    uint32_t                 size;
    int                      random;
    double                   duration;
    double                   warmup;
    double                   timeout;
    double                   storm;         /* per cent of devices a second */
    double                   storm_delay;

    bench_stage_t            stages[BENCH_MAX_STAGES];
    int                      nstages;

    pid_t                    pids[BENCH_MAX_PIDS];
    int                      npids;
    const char              *json;
    int                      quiet;

    uint32_t                 run_id;
} bench_opts_t;


/* what is counted; names for JSON are in bench_counter_names[] */

typedef enum {
    BENCH_C_STARTED = 0,     /* connection attempts of devices */
    BENCH_C_READY,           /* became ready: subscribed, as far as known */
    BENCH_C_UNREADY,         /* ready before and not any more, for any reason */
    BENCH_C_DROPPED,         /* of these: dropped by the storm */
    BENCH_C_LOST,            /* of these: closed by the server or the network */
    BENCH_C_FAILED,          /* attempts which did not become ready */
    BENCH_C_ISSUED,          /* messages handed to a publishing connection */
    BENCH_C_ACCEPTED,        /* 2xx, PUBACK below 0x80, or QoS 0 written */
    BENCH_C_REFUSED,         /* an answer that says no */
    BENCH_C_UNKNOWN,         /* the connection ended before the answer */
    BENCH_C_PUB_RECONNECTS,
    BENCH_C_EXPECTED,        /* deliveries that the issued messages stand for */
    BENCH_C_WITHDRAWN,       /* of these: of refused and unknown messages */
    BENCH_C_DELIVERED,       /* first deliveries */
    BENCH_C_DUPLICATES,
    BENCH_C_DUP_FLAG,        /* deliveries with DUP set */
    BENCH_C_QOS1,            /* deliveries of QoS 1, all acknowledged */
    BENCH_C_MISORDERED,      /* first deliveries after a later one */
    BENCH_C_MISDIRECTED,     /* for another log */
    BENCH_C_STALE,           /* of an earlier run */
    BENCH_C_CORRUPT,         /* of this run, but size or filler is wrong */
    BENCH_C_FOREIGN,         /* without our marks */
    BENCH_C_MISSING,         /* accepted and not delivered, known at the end */
    BENCH_C_UNWANTED,        /* refused and yet delivered, known at the end */
    BENCH_C_PINGS,
    BENCH_NCOUNTERS
} bench_counter_e;

extern const char *const bench_counter_names[BENCH_NCOUNTERS];


typedef enum {
    BENCH_H_CONNECT = 0,     /* connect() to ready */
    BENCH_H_ACCEPT,          /* publish to its answer */
    BENCH_H_DELIVERY,        /* publish to first delivery */
    BENCH_NHISTS
} bench_hist_e;


typedef struct {
    uint64_t                 c[BENCH_NCOUNTERS];
    bench_hist_t             hist[BENCH_NHISTS];
    uint32_t                 status[600];   /* HTTP answers by status */

    /* stages: 0 when nothing that was accepted is still to come, looked at
       only after the worker has stopped publishing for this stage */
    uint64_t                 owed;
} __attribute__((aligned(64))) bench_stats_t;


typedef struct {
    uint32_t                 seq;           /* last issued */
    uint32_t                 accepted;
    uint32_t                 unknown;
    uint32_t                 members;       /* devices that listen */
} bench_log_t;


typedef enum {
    BENCH_PHASE_CONNECT = 0, /* devices connect, nobody publishes */
    BENCH_PHASE_RUN,
    BENCH_PHASE_DRAIN,       /* publishing has ended, deliveries go on */
    BENCH_PHASE_CHECK,       /* workers compare logs with devices and exit */
    BENCH_PHASE_ABORT        /* the same, after an error */
} bench_phase_e;


typedef struct {
    uint32_t                 phase;         /* written by the parent */
    uint32_t                 measuring;     /* histograms count while set */
    uint64_t                 run_start;     /* CLOCK_MONOTONIC, ns */

    /* number of the one under way, from 1; set before the phase is RUN */
    uint32_t                 stage;

    bench_note_t             error;         /* fatal: the parent ends the run */
    bench_note_t             refusal;       /* of a message */
    bench_note_t             loss;          /* of a device's connection */

    bench_stats_t            st[BENCH_MAX_PROCESSES];
    uint32_t                 nlogs;
    bench_log_t              logs[];
} bench_shared_t;


typedef struct bench_worker_s  bench_worker_t;
typedef struct bench_conn_s    bench_conn_t;


/*
 * What a connection is for.  opened: the transport is up.  data: bytes came;
 * returns how many were used, or BENCH_ERROR after closing the connection.
 * closed: the descriptor is already closed; "why" says what happened.
 */

typedef struct {
    void                   (*opened)(bench_worker_t *w, bench_conn_t *c);
    ssize_t                (*data)(bench_worker_t *w, bench_conn_t *c,
                                   unsigned char *p, size_t len);
    void                   (*closed)(bench_worker_t *w, bench_conn_t *c,
                                     const char *why);
} bench_role_t;


typedef enum {
    BENCH_NET_CLOSED = 0,
    BENCH_NET_CONNECTING,
    BENCH_NET_TLS,
    BENCH_NET_OPEN
} bench_net_e;


/* the transport part; embedded as the first member of what uses it */

struct bench_conn_s {
    const bench_role_t      *role;
    SSL                     *ssl;
    int                      fd;
    uint8_t                  net;           /* bench_net_e */
    uint8_t                  blocked;       /* the last write was cut short */

    uint32_t                 in_len;        /* a packet cut by the last read */
    uint32_t                 in_size;
    unsigned char           *in;

    uint32_t                 out_pos;       /* written up to here */
    uint32_t                 out_len;
    uint32_t                 out_size;
    char                    *out;

    uint64_t                 started;
};


typedef enum {
    BENCH_DEV_OFF = 0,
    BENCH_DEV_CONNECT,       /* CONNACK awaited */
    BENCH_DEV_SUBSCRIBE,     /* SUBACK awaited */
    BENCH_DEV_READY
} bench_dev_e;


/* what a device has got of a log */

typedef struct {
    uint32_t                 log;
    uint32_t                 next;          /* sequence expected next */
    uint32_t                 received;      /* first deliveries */
    uint64_t                 seen;          /* bit i: next - 1 - i was seen */
} bench_track_t;

#define BENCH_NO_LOG  UINT32_MAX


/* tracks: its log; in stages the broadcasts too, otherwise BENCH_NO_LOG */

typedef struct {
    bench_conn_t             c;
    uint32_t                 index;         /* among all devices of the run */
    bench_track_t            track[2];
    uint8_t                  state;
    uint8_t                  leaving;       /* being dropped by the storm */
} bench_device_t;


/* a connection that publishes; answers come in the order of requests */

typedef struct {
    uint32_t                 log;
    uint32_t                 seq;
    uint64_t                 time;
} bench_request_t;

typedef struct {
    bench_conn_t             c;
    uint32_t                 index;
    uint8_t                  ready;
    uint8_t                  closing;       /* the server said it will close */
    uint16_t                 packet_id;     /* last used */
    uint32_t                 window;
    uint32_t                 head;          /* ring of unanswered requests */
    uint32_t                 tail;
    bench_request_t         *ring;
    uint64_t                 retry_at;
    uint64_t                 pinged;
} bench_pub_t;


struct bench_worker_s {
    uint32_t                 id;
    bench_opts_t            *o;
    bench_shared_t          *sh;
    bench_stats_t           *st;
    SSL_CTX                 *ctx;
    int                      ep;
    int                      wake;          /* eventfd that wakes worker 0 */
    uint64_t                 now;
    uint64_t                 begun;
    uint64_t                 random;
    unsigned char           *buf;           /* where reads go */

    bench_device_t          *dev;
    uint32_t                 ndev;
    uint32_t                 first;         /* index of dev[0] in the run */
    uint32_t                 opening;       /* handshakes outstanding */
    uint32_t                 next_dev;      /* first not started yet */
    uint32_t                *again;         /* ring of devices to reconnect */
    uint64_t                *again_at;
    uint32_t                 again_head;
    uint32_t                 again_tail;
    uint32_t                 ping_dev;
    uint64_t                 ping_at;
    uint32_t                 keepalive;
    uint64_t                 ping_step;     /* ns; 0: by the keepalive */
    uint64_t                 storm_done;
    uint32_t                 stage;         /* seen last; 0: none yet */
    uint64_t                 owed_at;       /* when to count them again */

    bench_pub_t             *pub;           /* NULL: does not publish */
    uint32_t                 npub;
    uint8_t                  publishing;    /* it has its part in that */
    uint8_t                  common;        /* worker 0 publishes for all */
    const char              *header;        /* HTTP, of this stage; or NULL */
    int64_t                  base;          /* pending before the stage */
    uint32_t                 first_log;     /* logs it publishes to */
    uint32_t                 nlogs;
    uint32_t                 cursor;
    uint64_t                 issued;
    uint64_t                 share;         /* of the messages, if limited */
    uint8_t                  limited;
    double                   rate;
    uint64_t                 outstanding;   /* deliveries, in a closed loop */
    char                    *filler;
};


#define bench_count(w, what, n)                                               \
    __atomic_store_n(&(w)->st->c[what], (w)->st->c[what] + (n),               \
                     __ATOMIC_RELAXED)

#define bench_phase(w)  __atomic_load_n(&(w)->sh->phase, __ATOMIC_ACQUIRE)


/* options.c */
void bench_parse_options(bench_opts_t *o, int argc, char **argv);
const char *bench_mode_name(bench_mode_e mode);
const char *bench_subscriber_name(bench_sub_e subscriber);

/* defaults.c */
void bench_complete_options(bench_opts_t *o);

/* text.c: templates and tokens */
size_t bench_expand(const bench_opts_t *o, char *dst, size_t size,
    const char *tmpl, uint32_t user, uint32_t device);
int bench_check_template(const char *tmpl);
size_t bench_make_token(const bench_opts_t *o, char *dst, size_t size,
    uint32_t user);

/* net.c */
int bench_net_open(bench_worker_t *w, bench_conn_t *c,
    const struct sockaddr_storage *addr, socklen_t addrlen, int source,
    int tls);
void bench_net_close(bench_worker_t *w, bench_conn_t *c, const char *why);
void bench_net_event(bench_worker_t *w, bench_conn_t *c, uint32_t events);
char *bench_net_reserve(bench_conn_t *c, size_t n);
int bench_net_flush(bench_worker_t *w, bench_conn_t *c);
int bench_net_send(bench_worker_t *w, bench_conn_t *c, const void *p, size_t n);

/* mqtt.c */
size_t bench_mqtt_connect(char *p, const bench_opts_t *o, const char *id,
    const char *username, const char *password, int clean, uint32_t expiry);
size_t bench_mqtt_subscribe(char *p, const bench_opts_t *o,
    char topics[][512], int n);
size_t bench_mqtt_publish_head(char *p, const bench_opts_t *o,
    const char *topic, size_t topic_len, uint16_t id, size_t payload);
int bench_mqtt_next(unsigned char *p, size_t len, unsigned char **body,
    size_t *body_len);
int bench_mqtt_connack(const bench_opts_t *o, const unsigned char *p,
    size_t len, uint32_t *keepalive, uint32_t *receive_max);
const char *bench_mqtt_reason(int level, int code);

/* device.c */
void bench_devices_init(bench_worker_t *w);
uint64_t bench_devices_tick(bench_worker_t *w);
void bench_devices_finish(bench_worker_t *w);
void bench_device_ready(bench_worker_t *w, bench_device_t *d);

/* transport.c, websocket.c */
void bench_transport_opened(bench_worker_t *w, bench_conn_t *c);
ssize_t bench_transport_data(bench_worker_t *w, bench_conn_t *c,
    unsigned char *p, size_t len);
void bench_websocket_opened(bench_worker_t *w, bench_conn_t *c);
ssize_t bench_websocket_data(bench_worker_t *w, bench_conn_t *c,
    unsigned char *p, size_t len);

/* check.c */
void bench_mark(const bench_worker_t *w, char *p, const bench_request_t *r);
void bench_check(bench_worker_t *w, bench_device_t *d, const unsigned char *p,
    size_t len, int dup);
void bench_check_final(bench_worker_t *w, bench_device_t *d);
uint64_t bench_check_owed(bench_worker_t *w, bench_device_t *d);

/* publish.c, http.c, mqttpub.c */
void bench_publish_init(bench_worker_t *w);
void bench_publish_plan(bench_worker_t *w, int common, double rate,
    uint64_t messages, uint32_t outstanding);
int bench_publish_unanswered(bench_worker_t *w);
uint64_t bench_publish_tick(bench_worker_t *w);
void bench_publish_flush(bench_worker_t *w);
void bench_publish_finish(bench_worker_t *w);
void bench_publish_result(bench_worker_t *w, bench_pub_t *pub, int counter);
void bench_publish_closed(bench_worker_t *w, bench_pub_t *pub,
    const char *why);
void bench_publish_message(const bench_opts_t *o, uint32_t log, uint32_t *user,
    uint32_t *device);
void bench_http_write(bench_worker_t *w, bench_pub_t *pub,
    const bench_request_t *r);
void bench_mqttpub_write(bench_worker_t *w, bench_pub_t *pub,
    const bench_request_t *r);

extern const bench_role_t  bench_http_role;
extern const bench_role_t  bench_mqttpub_role;

/* stage.c: options, and what a worker does about a stage */
void bench_parse_stage(bench_opts_t *o, char *value);
const char *bench_stage_kind(bench_stage_e kind);
int bench_is_common(const bench_opts_t *o, uint32_t log);
void bench_stage_enter(bench_worker_t *w);
void bench_stage_tick(bench_worker_t *w);

#define bench_stage_look(w)                                                   \
    if (__atomic_load_n(&(w)->sh->stage, __ATOMIC_ACQUIRE) != (w)->stage) {   \
        bench_stage_enter(w);                                                 \
    }

/* worker.c */
void bench_worker(bench_opts_t *o, bench_shared_t *sh, uint32_t id, int wake);

/* proc.c */

typedef struct {
    double                   user;          /* seconds */
    double                   system;
    uint64_t                 rss;           /* bytes */
    uint64_t                 pss;
    uint64_t                 anon;          /* parts of pss */
    uint64_t                 shmem;
    int                      processes;
    int                      gone;          /* a pid that was given and ended */
} bench_proc_t;

void bench_proc_sample(const pid_t *pids, int n, bench_proc_t *s, int memory);

/* results, all of them the parent's */

typedef struct {
    uint64_t                 time;
    uint64_t                 c[BENCH_NCOUNTERS];
    bench_proc_t             server;        /* zero without --server-pid */
    bench_proc_t             own;           /* the workers, CPU only */
} bench_sample_t;

/* what came of a stage; times are 0 if it was not reached */

typedef struct {
    bench_sample_t           begin;         /* of the measured time */
    bench_sample_t           end;
    bench_sample_t           settled;       /* all delivered and connected */
    bench_hist_t             hist[BENCH_NHISTS];
    uint64_t                 away_from;     /* first seen a device missing */
    uint64_t                 away_to;       /* last */
    uint32_t                 away_most;     /* devices at a time */
} bench_passed_t;

typedef struct {
    bench_opts_t            *o;
    bench_shared_t          *sh;
    pid_t                    workers[BENCH_MAX_PROCESSES];
    int                      nworkers;
    bench_sample_t           start;         /* before the first connection */
    bench_sample_t           connected;     /* all devices ready */
    bench_sample_t           settled;       /* memory, a second later */
    bench_sample_t           held;          /* idle: at the end of it */
    bench_sample_t           begin;         /* of the measured time */
    bench_sample_t           end;
    bench_sample_t           last;          /* workers have checked */
    bench_hist_t             hist[BENCH_NHISTS];
    bench_passed_t           passed[BENCH_MAX_STAGES];
    char                     error[512];    /* why the run ended early */
} bench_run_t;

/* what a phase waits for; each says whether it has come */
typedef int (*bench_done_pt)(bench_run_t *run, const uint64_t *c);

/* push_bench.c */
int bench_wait(bench_run_t *run, const char *phase, bench_done_pt done,
    uint64_t limit, int expects);
void bench_set_phase(bench_run_t *run, bench_phase_e phase);
void bench_merge(const bench_run_t *run, bench_hist_t *to);
int bench_all_ready(bench_run_t *run, const uint64_t *c);
int bench_all_delivered(bench_run_t *run, const uint64_t *c);

/* stages.c: the parent's part */
int bench_stages(bench_run_t *run);
void bench_stages_watch(bench_run_t *run, const uint64_t *c, uint64_t now);

/* report.c */
void bench_sum(const bench_run_t *run, uint64_t *c);
void bench_sample(bench_run_t *run, bench_sample_t *s, int memory);
void bench_progress(const bench_run_t *run, const char *phase,
    const uint64_t *prev, const uint64_t *c, double seconds);
int bench_verdict(bench_run_t *run);
void bench_report(bench_run_t *run, int status);
int bench_report_json(bench_run_t *run, int status);


#endif /* _BENCH_H_INCLUDED_ */
