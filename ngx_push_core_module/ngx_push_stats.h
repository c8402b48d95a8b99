
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_STATS_H_INCLUDED_
#define _NGX_PUSH_STATS_H_INCLUDED_


/*
 * Counters of one worker slot, written by its process alone and summed by
 * the metrics page.  They go on when a slot gets a new process; gauges start
 * again from zero then.
 */


#include "ngx_push.h"


/* kinds of logs, and of what may be addressed */

typedef enum {
    NGX_PUSH_INBOX = 0,
    NGX_PUSH_GROUP,
    NGX_PUSH_BROADCAST,
    NGX_PUSH_UPLINK,
    NGX_PUSH_KINDS
} ngx_push_kind_t;


/* why a message, a connection or a request was dropped or refused */

typedef enum {
    NGX_PUSH_DROP_EXPIRED = 0,    /* TTL ended before every acknowledgement */
    NGX_PUSH_DROP_LIMIT,          /* the log's limit: oldest first */
    NGX_PUSH_DROP_ZONE_FULL,      /* refused: no room in the zone */
    NGX_PUSH_DROP_TOO_LARGE,      /* over the payload limit */
    NGX_PUSH_DROP_PACKET_SIZE,    /* over the client's Maximum Packet Size */
    NGX_PUSH_DROP_OFFLINE,        /* TTL 0 and nobody there */
    NGX_PUSH_DROP_MALFORMED,      /* bad packet */
    NGX_PUSH_DROP_PROTOCOL,       /* packet out of place */
    NGX_PUSH_DROP_UNKNOWN_ACK,    /* PUBACK for nothing in flight */
    NGX_PUSH_DROP_DENIED,         /* no or wrong credentials, no right */
    NGX_PUSH_DROP_TOKEN_EXPIRED,
    NGX_PUSH_DROP_KEEPALIVE,      /* silent for 1.5 times its keep alive */
    NGX_PUSH_DROP_SLOW,           /* does not read */
    NGX_PUSH_DROP_CONNECT_TIMEOUT,
    NGX_PUSH_DROP_TAKEN_OVER,
    NGX_PUSH_DROP_EVICTED,        /* offline device forgotten to make room */
    NGX_PUSH_DROP_KEYS,           /* refused: too many idempotency keys */
    NGX_PUSH_DROPS
} ngx_push_drop_t;

extern const char *ngx_push_drop_names[NGX_PUSH_DROPS];


typedef enum {
    NGX_PUSH_CONN_MQTT3 = 0,
    NGX_PUSH_CONN_MQTT3_TLS,
    NGX_PUSH_CONN_MQTT5,
    NGX_PUSH_CONN_MQTT5_TLS,
    NGX_PUSH_CONN_HANDSHAKE,      /* before CONNECT */
    NGX_PUSH_CONNS
} ngx_push_conn_kind_t;

extern const char *ngx_push_conn_names[NGX_PUSH_CONNS];


/* what Redis answered instead of doing it */

typedef enum {
    NGX_PUSH_REDIS_E_DOWN = 0,    /* no connection: not sent */
    NGX_PUSH_REDIS_E_LOADING,
    NGX_PUSH_REDIS_E_READONLY,
    NGX_PUSH_REDIS_E_CLUSTER,     /* a part is down, or on its way elsewhere */
    NGX_PUSH_REDIS_E_BUSY,        /* runs a long script */
    NGX_PUSH_REDIS_E_OOM,
    NGX_PUSH_REDIS_E_DENIED,
    NGX_PUSH_REDIS_E_OTHER,
    NGX_PUSH_REDIS_ERRORS
} ngx_push_redis_error_t;

extern const char *ngx_push_redis_error_names[NGX_PUSH_REDIS_ERRORS];


/* why a row did not get into the journal */

typedef enum {
    NGX_PUSH_JOURNAL_DROP_FULL = 0,    /* no room in memory and files */
    NGX_PUSH_JOURNAL_DROP_REFUSED,     /* MySQL will never take it */
    NGX_PUSH_JOURNAL_DROP_CORRUPT,     /* broken ends of files, not rows */
    NGX_PUSH_JOURNAL_DROPS
} ngx_push_journal_drop_t;

extern const char *ngx_push_journal_drop_names[NGX_PUSH_JOURNAL_DROPS];


typedef struct {
    /* gauges */
    uint64_t             conns[NGX_PUSH_CONNS];
    uint64_t             stall;            /* ms, the longest since its start */
    uint64_t             redis_up;         /* connections to Redis */
    uint64_t             redis_inflight;   /* calls under way */
    uint64_t             redis_usec_max;   /* longest answer so far */
    uint64_t             journal_oldest;   /* wall clock, ms, of the oldest row
                                              not in MySQL; 0: there is none */
    uint64_t             journal_backlog;  /* bytes in memory */
    uint64_t             journal_spilled;  /* bytes in the folder, which the
                                              workers share */
    uint64_t             journal_connected;

    /* counters */
    uint64_t             accepted;         /* connections */
    uint64_t             connects;         /* CONNECTs answered with success */
    uint64_t             resumed;          /* of them with session present */
    uint64_t             saved[NGX_PUSH_KINDS];
    uint64_t             once[NGX_PUSH_KINDS];       /* TTL 0 */
    uint64_t             replayed;         /* by an idempotency key */
    uint64_t             sent[NGX_PUSH_KINDS];       /* PUBLISH written */
    uint64_t             redelivered;      /* of them with DUP */
    uint64_t             acked;            /* PUBACK taken */
    uint64_t             received;         /* PUBLISH from devices */
    uint64_t             drops[NGX_PUSH_DROPS];
    uint64_t             mail_sent;
    uint64_t             mail_received;
    uint64_t             mail_wakes;
    uint64_t             resyncs;
    uint64_t             repairs;          /* undo logs played back */
    uint64_t             swept;            /* sessions of dead workers */
    uint64_t             bytes_in;
    uint64_t             bytes_out;
    uint64_t             redis_calls;
    uint64_t             redis_errors[NGX_PUSH_REDIS_ERRORS];
    uint64_t             redis_aborts;     /* no answer to what was sent */
    uint64_t             redis_busy;       /* refused: too many in flight */
    uint64_t             redis_reconnects; /* tries */
    uint64_t             redis_usec;       /* from call to answer, in sum */
    uint64_t             gathered;         /* HTTP answers held for the next */
    uint64_t             journal_rows[2];  /* written: messages, acks */
    uint64_t             journal_dropped[NGX_PUSH_JOURNAL_DROPS];
    uint64_t             journal_purged;
    uint64_t             journal_errors;

    /* between nodes */
    uint64_t             beats;
    uint64_t             beats_failed;
    uint64_t             bus_out;          /* entries sent */
    uint64_t             bus_out_frames;
    uint64_t             bus_failed;       /* entries to be sent again */
    uint64_t             bus_dropped;      /* entries given up */
    uint64_t             bus_in;
    uint64_t             bus_in_frames;
    uint64_t             bus_in_bad;       /* entries we cannot read */
    uint64_t             bus_gaps;
    uint64_t             checks;           /* all logs to be compared */
    uint64_t             kicks;            /* devices asked of other nodes */
    uint64_t             kicks_late;       /* of them without an answer */
    uint64_t             reflushed;        /* sessions written back */
} ngx_push_stats_t;

/* so many values stand before the counters */

#define NGX_PUSH_GAUGES                                                       \
    (offsetof(ngx_push_stats_t, accepted) / sizeof(uint64_t))


#define ngx_push_count(field)        ngx_push_zone->self->stats.field++
#define ngx_push_count_add(field, n) ngx_push_zone->self->stats.field += (n)


#endif /* _NGX_PUSH_STATS_H_INCLUDED_ */
