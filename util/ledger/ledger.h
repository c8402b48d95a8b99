
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _LEDGER_H_INCLUDED_
#define _LEDGER_H_INCLUDED_


/*
 * push-ledger: devices that come back whenever they are cut off, a publisher
 * that writes down what it was answered, and a judge that compares the two
 * when everything has come to rest.  One process, one epoll, no threads.
 */


#include <stdint.h>
#include <stddef.h>
#include <sys/epoll.h>


#define LEDGER_SIZE_MAX   3000         /* of a payload */
#define LEDGER_MEMBERSHIP 3            /* groups of one device */
#define LEDGER_NODES      8            /* rooms; centers */

#define WILL              "will"       /* not in the books, but delivered */


typedef enum {
    TO_USER = 0,
    TO_GROUP,
    TO_ALL
} target_t;


typedef enum {
    NOT_SENT = 0,
    OK,                                /* 2xx: must arrive */
    REFUSED,                           /* must not */
    UNKNOWN                            /* no answer: may */
} outcome_t;


/* One message, by its number; "id" as the server told, from whom it came. */

typedef struct {
    uint8_t    target;                 /* target_t */
    uint8_t    outcome;                /* outcome_t */
    uint16_t   status;
    uint32_t   number;                 /* user, group */
    uint32_t   size;
    uint8_t    tries;                  /* requests sent with its key */
    uint8_t    doubled;                /* came under two ids */
    double     sent;                   /* first byte of the first request */
    double     answered;
    uint64_t   incarnation;            /* 0: not told */
    uint64_t   seq;
} message_t;


typedef enum {
    AWAY = 0,                          /* until "due" */
    CONNECTING,                        /* the socket is */
    GREETING,                          /* CONNECT sent */
    BINDING,                           /* SUBSCRIBE sent */
    BOUND
} device_state_t;


typedef struct {
    int        fd;
    int        old;                    /* being taken over from; or -1 */
    uint8_t    state;
    uint8_t    version;                /* 4, 5 */
    uint8_t    clean;                  /* each time */
    uint8_t    want_out;
    uint8_t    will;                   /* leaves a message to group g0 */
    uint8_t    room;                   /* where it is, or goes next */
    uint32_t   index;
    uint32_t   user;
    uint32_t   ngroups;
    uint32_t   groups[LEDGER_MEMBERSHIP];

    double     due;                    /* AWAY: come back; others: give up */
    double     ping;                   /* when to send the next one */
    double     pong;                   /* by when the answer must be here; 0 */
    double     churn;                  /* when to leave by itself */
    double     cut;                    /* when it was cut off last */
    double     known;                  /* first SUBACK; 0: not yet */
    double     since;                  /* BOUND: last SUBACK */

    uint8_t   *in;
    size_t     in_len;
    size_t     in_size;
    uint8_t    out[4096];
    size_t     out_len;

    uint8_t   *got;                    /* per message: how often, up to 255 */
    uint8_t   *waived;                 /* per message: may be lost */
    uint32_t  *order;                  /* messages as they came first */
    uint32_t   norder;
    uint32_t   dropped;                /* PUBACKs not sent on purpose */
    uint32_t   connects;
    uint32_t   turned;                 /* refused so often since BOUND */
} device_t;


typedef struct {
    const char  *mqtt[LEDGER_NODES];   /* HOST:PORT of each room */
    const char  *http[LEDGER_NODES];   /* and of each center */
    uint32_t     rooms;
    uint32_t     centers;
    uint32_t     roam;                 /* per cent of returns: another room */
    int          repeat;               /* unknown ones, by their key */
    const char  *product;
    const char  *key;
    const char  *record;               /* file for the whole ledger */
    uint32_t     devices;
    uint32_t     groups;
    uint32_t     late;                 /* devices that come in the middle */
    uint32_t     conns;                /* of the publisher */
    uint32_t     rate;                 /* messages a second */
    double       seconds;
    double       settle;               /* most time to come to rest */
    double       quiet;                /* without news: at rest */
    double       churn;                /* seconds a connection lives */
    uint32_t     drop_acks;            /* per cent */
    uint32_t     wills;                /* per cent of the devices have one */
    uint32_t     share[3];             /* users, groups, all */
    uint64_t     seed;
    int          interactive;
} options_t;


typedef struct {
    uint64_t   deliveries;
    uint64_t   duplicates;
    uint64_t   dups;                   /* of them marked DUP */
    uint64_t   cuts;                   /* connections ended by the server */
    uint64_t   refused;                /* CONNACK, SUBACK with an error */
    uint64_t   stale;                  /* no answer in time */
    uint64_t   resumed;
    uint64_t   takeovers;
    uint64_t   moves;                  /* to another room */
    uint64_t   repeats;
    uint64_t   replayed;               /* answers that were the first's */
    uint64_t   doubled;                /* repeats that saved a second time */
    uint64_t   wills;                  /* delivered */
    uint64_t   strange;                /* broken, not his, not what was sent */
    double     news;                   /* last first delivery */
    double     slowest;                /* from answer to a first delivery */
} counters_t;


extern options_t   options;
extern counters_t  counters;
extern message_t  *messages;
extern uint32_t    nmessages;          /* there is room for */
extern uint32_t    nsent;
extern device_t   *devices;
extern double      now;
extern int         ep;


double clock_now(void);
uint32_t random_below(uint32_t n);
double random_time(double low, double high);
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* a socket on its way to HOST:PORT; -1 */

int net_connect(const char *address);

/* epoll's data: whose event it is */

#define EVENT_HTTP  0x80000000u
#define EVENT_STDIN 0xffffffffu

void watch(int fd, uint32_t whose, uint32_t events, int op);


/* devices */

void devices_init(void);
void devices_event(uint32_t index, uint32_t events);
void devices_tick(void);
void devices_start(uint32_t first, uint32_t end);
uint32_t devices_known(void);
uint32_t devices_bound(void);

/* no more leaving, no more dropped PUBACKs; who dropped some comes again */

void devices_calm(void);


/* MQTT, no input or output */

size_t mqtt_connect(uint8_t *p, device_t *d);
size_t mqtt_subscribe(uint8_t *p, device_t *d);
size_t mqtt_puback(uint8_t *p, uint16_t pid);
size_t mqtt_simple(uint8_t *p, uint8_t type);

/* Length of the packet at p, 0: not all here yet, -1: not MQTT. */

int mqtt_frame(const uint8_t *p, size_t len, size_t *head, size_t *body);


typedef struct {
    const uint8_t  *topic;
    size_t          topic_len;
    const uint8_t  *payload;
    size_t          size;
    uint64_t        incarnation;       /* 0: no id */
    uint64_t        seq;
    uint16_t        pid;
    uint8_t         qos;
    uint8_t         dup;
} publish_t;

int mqtt_publish(uint8_t version, uint8_t flags, const uint8_t *p,
    size_t len, publish_t *out);


/* the publisher */

void publisher_init(void);
void publisher_event(uint32_t index, uint32_t events);
void publisher_tick(void);
void publisher_begin(void);
uint32_t publisher_busy(void);         /* without an answer yet, or to repeat */
void publisher_end(void);              /* closes its connections */

/* what a message carries, "size" bytes; where it is to go */

void message_body(uint32_t number, char *p);
size_t message_topic(uint32_t number, char *p);
int id_parse(const char *p, size_t len, uint64_t *incarnation,
    uint64_t *seq);


/* the judge */

void judge_delivery(device_t *d, publish_t *p);
uint64_t judge_missing(void);          /* deliveries that are owed now */

/*
 * The store has lost what was answered in the last so many seconds.  What a
 * device has not got by now is waived, unless it was connected all the time
 * since before the message was sent, and the answer is "told" seconds old:
 * then it must have been on its way already.
 */

void judge_loss(double seconds, double told);
void judge_double(message_t *m);       /* has come under a second id */
int judge(void);                       /* prints; 0: the ledger holds */


#endif /* _LEDGER_H_INCLUDED_ */
