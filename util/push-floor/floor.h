
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * push-floor: what the kernel alone charges for what a push server does.
 *
 * One parent, --workers servers and --processes clients.  The servers do the
 * system calls of a mode and hardly anything else; only their CPU counts.  The
 * parent reads it from their CPU clocks, so that measuring costs them nothing.
 *
 * Device d belongs to server d modulo --workers, where it is number d divided
 * by --workers.  Servers and clients exchange packets of fixed sizes, those of
 * MQTT and HTTP, whose contents nobody parses: all that is looked at is a
 * floor_mark_t at the start.
 */


#ifndef _FLOOR_H_INCLUDED_
#define _FLOOR_H_INCLUDED_


#include <netinet/in.h>
#include <sys/epoll.h>

#include "common.h"


/* octets, as push-bench and the server exchange them with short names */
#define FLOOR_CONNECT_SIZE    32
#define FLOOR_CONNACK_SIZE    4
#define FLOOR_SUBSCRIBE_SIZE  14
#define FLOOR_SUBACK_SIZE     5
#define FLOOR_PING_SIZE       2
#define FLOOR_ACK_SIZE        4
#define FLOOR_HEAD_SIZE       18   /* of a PUBLISH, in front of the payload */

#define FLOOR_BUFFER          65536
#define FLOOR_EVENTS          512

/* in floor_mark_t.target of a CONNECT: it is a publisher's */
#define FLOOR_PUBLISHER       UINT32_MAX


typedef enum {
    FLOOR_ACCEPT = 0,
    FLOOR_RELAY,
    FLOOR_SEND,
    FLOOR_ECHO,
    FLOOR_IDLE
} floor_mode_e;


/* filled once by floor_parse_options(), read-only afterwards */

typedef struct {
    floor_mode_e    mode;
    int             handshake;     /* accept: CONNECT and SUBSCRIBE as well */
    int             ack;           /* send: receivers answer */
    int             random;        /* relay: targets */

    uint32_t        connections;
    uint32_t        workers;       /* server processes */
    uint32_t        processes;     /* client processes */
    int             sources;       /* 0: the kernel chooses */
    uint32_t        handshakes;    /* of a client process, under way */
    const char     *congestion;    /* NULL: the system's default */

    uint32_t        size;
    uint32_t        publishers;    /* of each client process */
    uint32_t        pipeline;
    uint32_t        request_head;
    uint32_t        answer_size;
    uint32_t        outstanding;
    double          rate;          /* 0: closed loop */

    double          duration;
    double          warmup;
    double          timeout;
    const char     *json;
    int             quiet;
} floor_opts_t;


/* the start of a CONNECT and of a message; payload follows FLOOR_HEAD_SIZE */

typedef struct {
    uint32_t        target;        /* device, or number of the round */
    uint32_t        zero;
    uint64_t        time;          /* when the message was due, ns */
} floor_mark_t;


/* written by one process each, read by all */

typedef struct {
    uint64_t        accepted;      /* connections */
    uint64_t        ready;         /* of these: said who they are */
    uint64_t        sent;          /* messages and PINGRESPs */
    uint64_t        acked;
} __attribute__((aligned(64))) floor_server_stats_t;

typedef struct {
    uint64_t        ready;         /* devices connected */
    uint64_t        publishers;    /* publishers connected */
    uint64_t        issued;        /* requests */
    uint64_t        answered;      /* requests */
    uint64_t        received;      /* messages and PINGRESPs */
    bench_hist_t    latency;
} __attribute__((aligned(64))) floor_client_stats_t;


typedef enum {
    FLOOR_PHASE_CONNECT = 0,
    FLOOR_PHASE_RUN,
    FLOOR_PHASE_DRAIN              /* nothing new is issued */
} floor_phase_e;


/*
 * How a message gets to the server that has the device: a bounded queue with
 * many writers and one reader in shared memory.  --outstanding is never above
 * "slots", so there is always room.
 *
 * A slot's turn is the position it takes next: position p may be written when
 * it is p, and read when it is p + 1; the reader makes it p + slots.  "asleep"
 * is set by the reader before it waits; who resets it writes to the eventfd.
 */

typedef struct {
    uint64_t        tail __attribute__((aligned(64)));
    uint64_t        head __attribute__((aligned(64)));
    uint32_t        asleep;
    uint32_t        slots;         /* a power of two */
    uint32_t        slot_size;
    unsigned char  *data;          /* the same address in all processes */
} floor_ring_t;


typedef struct {
    uint32_t              phase;       /* written by the parent */
    uint32_t              measuring;   /* latency counts while set */
    uint64_t              run_start;   /* ns */
    bench_note_t          error;       /* fatal: the parent ends the run */

    /* send: client processes that have got all of the current round */
    uint32_t              round_done;
    uint32_t              round_idle;  /* no further round was started */

    struct sockaddr_in    addr[BENCH_MAX_PROCESSES];
    int                   listener[BENCH_MAX_PROCESSES];
    int                   wake[BENCH_MAX_PROCESSES];   /* eventfd */
    floor_ring_t          ring[BENCH_MAX_PROCESSES];
    floor_server_stats_t  server[BENCH_MAX_PROCESSES];
    floor_client_stats_t  client[BENCH_MAX_PROCESSES];
} floor_shared_t;


typedef struct floor_server_s  floor_server_t;
typedef struct floor_peer_s    floor_peer_t;


/* the server's end of a connection; the handler of what it waits for */

struct floor_peer_s {
    void                 (*read)(floor_server_t *s, floor_peer_t *p);
    int                    fd;
    uint32_t               in_len;     /* publisher: a request cut by a read */
    unsigned char         *in;
};


struct floor_server_s {
    uint32_t               id;
    const floor_opts_t    *o;
    floor_shared_t        *sh;
    floor_server_stats_t  *st;
    int                    ep;
    uint32_t               npeers;     /* connections accepted */
    uint32_t               ndevices;
    floor_peer_t          *peers;
    int                   *devices;    /* descriptors */
    uint32_t               round;
    uint32_t               posted;     /* messages for others, not woken yet */
    uint8_t               *wakes;      /* who they are for */
    unsigned char         *message;    /* of a round */
    char                  *answers;
    unsigned char          buf[FLOOR_BUFFER];
};


/* the client's end; a publisher is one with "out" */

typedef struct {
    int                    fd;
    uint32_t               index;      /* of the device */
    uint32_t               octets;     /* of a message or answer cut short */
    uint32_t               seen;       /* send: number of the last round */
    uint64_t               time;       /* echo: when its request was due */
    uint8_t                state;      /* floor_state_e */
    uint8_t                pending;    /* echo: a PINGRESP is */
} floor_device_t;

typedef enum {
    FLOOR_CONNECTING = 0,
    FLOOR_CONNACK,                     /* awaited */
    FLOOR_SUBACK,                      /* awaited */
    FLOOR_READY
} floor_state_e;

typedef struct {
    floor_device_t         d;
    uint32_t               unanswered;
    size_t                 out_pos;
    size_t                 out_len;
    char                  *out;
} floor_publisher_t;

typedef struct {
    uint32_t               id;
    const floor_opts_t    *o;
    floor_shared_t        *sh;
    floor_client_stats_t  *st;
    int                    ep;
    uint64_t               now;
    uint64_t               random;
    uint32_t               first;      /* index of the first device */
    uint32_t               ndevices;
    uint32_t               started;    /* connections, publishers included */
    uint32_t               opening;
    floor_device_t        *devices;
    floor_publisher_t     *publishers;
    uint32_t               npublishers;
    uint32_t               cursor;     /* next target */
    uint32_t               room;       /* requests outstanding, at most */
    double                 rate;
    uint32_t               round_left; /* send: devices without this round */
    unsigned char          buf[FLOOR_BUFFER];
} floor_client_t;


#define floor_phase(sh)  __atomic_load_n(&(sh)->phase, __ATOMIC_ACQUIRE)

#define floor_add(counter, n)                                                 \
    __atomic_store_n(&(counter), (counter) + (n), __ATOMIC_RELAXED)

#define floor_get(counter)  __atomic_load_n(&(counter), __ATOMIC_RELAXED)


/* options.c */
extern const char *const floor_modes[];
void floor_parse_options(floor_opts_t *o, int argc, char **argv);

/* server.c: the life of a server process; returns after an error */
void floor_server(const floor_opts_t *o, floor_shared_t *sh, uint32_t id);
int floor_server_send(floor_server_t *s, int fd, const void *p, size_t n);
void floor_server_lost(floor_server_t *s, ssize_t n);

/* relay.c */
void floor_relay_publisher(floor_server_t *s, floor_peer_t *p);
void floor_relay_ring(floor_server_t *s);
void floor_relay_wake(floor_server_t *s);

/* ring.c */
size_t floor_ring_size(const floor_opts_t *o);
void floor_ring_init(floor_ring_t *r, const floor_opts_t *o,
    unsigned char *data);
int floor_ring_post(floor_ring_t *r, const void *p, size_t n);
void *floor_ring_next(floor_ring_t *r);
void floor_ring_free(floor_ring_t *r);
int floor_ring_sleep(floor_ring_t *r);
int floor_ring_rouse(floor_ring_t *r);

/* client.c: the life of a client process; returns after an error */
void floor_client(const floor_opts_t *o, floor_shared_t *sh, uint32_t id);
void floor_client_lost(floor_client_t *c, ssize_t n);

/* load.c */
int floor_load_init(floor_client_t *c);
uint64_t floor_load_tick(floor_client_t *c);
void floor_load_flush(floor_client_t *c, floor_publisher_t *p);
void floor_load_data(floor_client_t *c, floor_device_t *d, size_t n);
void floor_load_answer(floor_client_t *c, floor_publisher_t *p, size_t n);

/* report.c */

typedef struct {
    uint64_t               time;       /* 0: was not taken */
    uint64_t               operations;
    double                 cpu;        /* of the servers, seconds */
    double                 user;       /* the same, as parts of it */
    double                 system;
} floor_sample_t;

typedef struct {
    floor_opts_t          *o;
    floor_shared_t        *sh;
    pid_t                  servers[BENCH_MAX_PROCESSES];
    pid_t                  clients[BENCH_MAX_PROCESSES];
    uint32_t               nservers;
    uint32_t               nclients;
    uint64_t               kernel_before;   /* bytes, system-wide */
    uint64_t               kernel_after;
    floor_sample_t         begin;
    floor_sample_t         end;
    char                   error[512];
} floor_run_t;

uint64_t floor_operations(const floor_run_t *run);
void floor_sample(floor_run_t *run, floor_sample_t *s);
uint64_t floor_kernel_memory(void);
int floor_report(floor_run_t *run);


#endif /* _FLOOR_H_INCLUDED_ */
