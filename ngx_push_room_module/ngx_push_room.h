
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_ROOM_H_INCLUDED_
#define _NGX_PUSH_ROOM_H_INCLUDED_


/*
 * The room: MQTT connections of devices over nginx's stream.
 *
 * Reading order:
 *   ngx_push_room_module.c     directives, variables, a new connection
 *   ngx_push_room_listen.c     options of the listening sockets
 *   ngx_push_room_read.c       octets in: buffers, frames, when to stop
 *   ngx_push_room_packet.c     [state][packet type], and the small packets
 *   ngx_push_room_connect.c    CONNECT: who it is
 *   ngx_push_room_claim.c      the session, the will, CONNACK
 *   ngx_push_room_topic.c      what a topic means
 *   ngx_push_room_subscribe.c  SUBSCRIBE, UNSUBSCRIBE
 *   ngx_push_room_publish.c    PUBLISH from a device
 *   ngx_push_room_pending.c    questions to the store that are under way
 *   ngx_push_room_deliver.c    PUBLISH to a device; the core's transport
 *   ngx_push_room_encode.c     its octets
 *   ngx_push_room_write.c      octets out
 *   ngx_push_room_tls_watch.c  keys that OpenSSL's handshake has made
 *   ngx_push_room_tls.c        records of TLS, without OpenSSL's connection
 *   ngx_push_room_wheel.c      deadlines
 *   ngx_push_room_end.c        the one way a connection ends
 *   ngx_push_room_detach.c     nginx's session, thrown away and made again
 *   ngx_push_room_facts.c      what is kept of it
 *   ngx_push_room_variables.c  $push_*
 *
 * Functions that take a connection and answer ngx_int_t say NGX_DONE when it
 * has ended: the record may be freed, the caller returns NGX_DONE at once.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_stream.h>
#include "ngx_push_store.h"
#include "ngx_push_token.h"
#include "ngx_push_mqtt.h"


#define NGX_PUSH_ROOM_CONNECT_MAX   8192    /* octets of a CONNECT */
#define NGX_PUSH_ROOM_RECEIVE_MAX   64      /* our Receive Maximum */
#define NGX_PUSH_ROOM_FILTERS_MAX   1024    /* in one SUBSCRIBE */
#define NGX_PUSH_ROOM_FILTERS_WAIT  4096    /* without an answer */
#define NGX_PUSH_ROOM_PROPS_MAX     8192    /* forwarded with a message */
#define NGX_PUSH_ROOM_TAKE          16      /* messages of one write */
#define NGX_PUSH_ROOM_TURN          256     /* messages of one turn */
#define NGX_PUSH_ROOM_FACTS_MAX     256     /* octets that follow the names */

#if (NGX_STREAM_SSL && OPENSSL_VERSION_NUMBER >= 0x10101000L                  \
     && !defined LIBRESSL_VERSION_NUMBER && !defined OPENSSL_IS_BORINGSSL     \
     && !defined OPENSSL_IS_AWSLC)
#define NGX_PUSH_ROOM_TLS           1
#else
#define NGX_PUSH_ROOM_TLS           0
#endif


typedef enum {
    NGX_PUSH_ROOM_HANDSHAKE = 0,   /* CONNECT is awaited */
    NGX_PUSH_ROOM_CLAIMING,        /* the register is asked; nothing is read */
    NGX_PUSH_ROOM_ONLINE,
    NGX_PUSH_ROOM_CLOSING,         /* the last packet is on its way; what
                                      comes is thrown away */
    NGX_PUSH_ROOM_STATES
} ngx_push_room_state_t;


/* why a connection ended; the table is in ngx_push_room_end.c */

typedef enum {
    NGX_PUSH_ROOM_OPEN = 0,
    NGX_PUSH_ROOM_NORMAL,          /* DISCONNECT */
    NGX_PUSH_ROOM_WITH_WILL,       /* DISCONNECT that asks for the will */
    NGX_PUSH_ROOM_CLOSED,          /* by the client, without DISCONNECT */
    NGX_PUSH_ROOM_IO_ERROR,
    NGX_PUSH_ROOM_CONNECT_TIMEOUT,
    NGX_PUSH_ROOM_REFUSED,         /* CONNECT: version, client id, will */
    NGX_PUSH_ROOM_DENIED,          /* CONNECT: credentials */
    NGX_PUSH_ROOM_FULL,            /* CONNECT: no room for a session */
    NGX_PUSH_ROOM_MALFORMED,
    NGX_PUSH_ROOM_PROTOCOL,
    NGX_PUSH_ROOM_TOO_LARGE,
    NGX_PUSH_ROOM_NOT_OFFERED,     /* QoS 2, retain */
    NGX_PUSH_ROOM_NOT_ALLOWED,     /* PUBLISH to where it may not */
    NGX_PUSH_ROOM_NOT_SAVED,       /* PUBLISH of 3.1.1 that failed */
    NGX_PUSH_ROOM_KEEPALIVE,
    NGX_PUSH_ROOM_SLOW,
    NGX_PUSH_ROOM_TOKEN_EXPIRED,
    NGX_PUSH_ROOM_TAKEN_OVER,
    NGX_PUSH_ROOM_KICKED,
    NGX_PUSH_ROOM_DRAINED,         /* reload */
    NGX_PUSH_ROOM_NO_MEMORY,
    NGX_PUSH_ROOM_ENDS
} ngx_push_room_why_t;


typedef struct {
    time_t                keepalive_min;
    time_t                keepalive_max;
    ngx_uint_t            window;
    ngx_msec_t            connect_timeout;
    ngx_msec_t            send_timeout;
    size_t                max_packet;
    ngx_uint_t            topic_alias_max;
    ngx_flag_t            tls_release;

    ngx_stream_conf_ctx_t  *ctx;   /* of the server */
    ngx_log_t             log;     /* of its detached connections; of a worker,
                                      with a handler after the first of them */
} ngx_push_room_srv_conf_t;


/* Octets kept on the heap: of a packet cut short, or not taken by a socket. */

typedef struct {
    uint32_t              pos;
    uint32_t              last;
    uint32_t              size;    /* of data */
    uint32_t              need;    /* input: length of the packet, 0: not
                                      known yet */
    u_char                data[1];
} ngx_push_room_buf_t;


typedef struct ngx_push_room_conn_s     ngx_push_room_conn_t;
typedef struct ngx_push_room_pending_s  ngx_push_room_pending_t;
typedef struct ngx_push_room_subs_s     ngx_push_room_subs_t;
typedef struct ngx_push_room_tls_s      ngx_push_room_tls_t;


/*
 * Something asked of store or register that has not been answered: this is
 * what the handle given to them leads to.  Of a worker; room is NULL when the
 * connection has ended meanwhile.
 */

struct ngx_push_room_pending_s {
    ngx_push_room_pending_t  *next;    /* of the connection; free list */
    ngx_push_room_conn_t     *room;
    ngx_push_room_subs_t     *subs;    /* of a filter: its SUBSCRIBE */
    ngx_push_handle_t         handle;
    uint16_t                  pid;     /* of the PUBLISH; 0: QoS 0, claim */
    uint16_t                  filter;  /* its number in the SUBSCRIBE */
};


/*
 * A connection.  On the heap, because nginx's pool of the connection does not
 * live as long (ngx_push_room_detach.c); freed after the access log was
 * written.  Deadlines are in seconds of ngx_push_room_now() but exp, which is
 * of the wall clock.
 */

struct ngx_push_room_conn_s {
    ngx_push_conn_t            push;   /* first: the core gives it back */
    ngx_connection_t          *connection;  /* see _connection(room) below */
    ngx_push_room_srv_conf_t  *conf;
    ngx_atomic_uint_t          number;      /* of the connection, for logs */
    off_t                      received;
    ngx_queue_t                wheel;
    ngx_push_room_buf_t       *in;
    ngx_push_room_buf_t       *out;    /* the socket blocks while it is there */
    ngx_push_room_tls_t       *tls;    /* taken over from OpenSSL */
    ngx_push_room_pending_t   *pending;
    ngx_str_t                 *aliases;  /* topic_alias_max of them, or NULL */
    u_char                    *name;   /* user and device, each with a length
                                          octet before it, then the facts;
                                          NULL: no CONNECT */
    uint32_t                   deadline;
    uint32_t                   send_deadline;  /* 0: none */
    uint32_t                   exp;            /* of the token; 0: never */
    uint32_t                   expiry;         /* of the MQTT session */
    uint32_t                   max_packet;     /* the client takes */
    uint32_t                   messages_in;
    uint32_t                   messages_out;
    uint16_t                   keepalive;
    uint16_t                   resent;         /* of the window, while again */
    uint16_t                   npending;       /* PUBLISH, claim */
    uint16_t                   nfilters;       /* that are pending */
    uint8_t                    state;          /* ngx_push_room_state_t */
    uint8_t                    why;            /* ngx_push_room_why_t */
    uint8_t                    version;        /* 0, 4, 5 */
    uint8_t                    kind;           /* ngx_push_conn_kind_t */
    uint8_t                    products[NGX_PUSH_TOKEN_PRODUCTS];  /* ids */

    unsigned                   nproducts:4;
    unsigned                   problem_info:1; /* may be told reason strings */
    unsigned                   assigned:1;     /* CONNACK: client id, */
    unsigned                   expiry_cut:1;   /*   session expiry, */
    unsigned                   keepalive_set:1;  /* keep alive are ours */
    unsigned                   expiry_zero:1;  /* CONNECT had none */
    unsigned                   take:1;         /* ask for messages to send */
    unsigned                   again:1;        /* the window is being resent */
    unsigned                   doomed:1;       /* ends when claimed */
    unsigned                   attached:1;     /* has to stay so */
    unsigned                   tls_stays:1;    /* with OpenSSL */
};


/* seconds that only go forward; a deadline is never early by rounding */

#define ngx_push_room_now()        ((uint32_t) (ngx_current_msec / 1000))
#define ngx_push_room_after(msec)                                             \
    ((uint32_t) ((ngx_current_msec + (msec) + 999) / 1000))

#define ngx_push_room_srv_conf(room)   ((room)->conf)


/*
 * The connection; lines in the log of detached ones are about this room from
 * now on.
 */

static ngx_inline ngx_connection_t *
ngx_push_room_connection(ngx_push_room_conn_t *room)
{
    room->conf->log.data = room;
    room->conf->log.connection = room->number;

    return room->connection;
}


/* A topic that a device may have to do with. */

typedef enum {
    NGX_PUSH_ROOM_TOPIC_BIND = 0,  /* PRODUCT/# */
    NGX_PUSH_ROOM_TOPIC_INBOX,
    NGX_PUSH_ROOM_TOPIC_BROADCAST,
    NGX_PUSH_ROOM_TOPIC_GROUP,
    NGX_PUSH_ROOM_TOPIC_UP,
    NGX_PUSH_ROOM_TOPIC_UNKNOWN    /* of an own product, but nothing */
} ngx_push_room_topic_kind_t;

typedef struct {
    ngx_push_room_topic_kind_t  kind;
    ngx_push_product_t         *product;
    ngx_str_t                   name;      /* group, uplink type */
} ngx_push_room_topic_t;


typedef ngx_int_t (*ngx_push_room_packet_pt)(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body);


/* module */

extern ngx_module_t            ngx_push_room_module;
extern ngx_push_conf_t        *ngx_push_room_push;   /* of this worker */


/* The room of a connection in an event, see ngx_push_room_connection(). */

static ngx_inline ngx_push_room_conn_t *
ngx_push_room_of(ngx_connection_t *c)
{
    ngx_push_room_conn_t  *room;

    room = c->pool ? ngx_stream_get_module_ctx((ngx_stream_session_t *)
                                               c->data, ngx_push_room_module)
                   : c->data;

    (void) ngx_push_room_connection(room);

    return room;
}


ngx_int_t ngx_push_room_add_variables(ngx_conf_t *cf);

/* Serves a connection; the handler of a server with push_room. */

void ngx_push_room_handler(ngx_stream_session_t *s);

/* Is there a push_room in the configuration that was read last? */

ngx_uint_t ngx_push_room_configured(ngx_cycle_t *cycle);

/* listen: at the end of stream{}; when its sockets are open */

ngx_int_t ngx_push_room_listen_init(ngx_conf_t *cf);

/* our handler of the post-accept phase, among which realip's is found */

ngx_int_t ngx_push_room_accepted(ngx_stream_session_t *s);
ngx_int_t ngx_push_room_listen_set(ngx_cycle_t *cycle);

/* read */

void ngx_push_room_read(ngx_event_t *rev);

/* Goes on with what came before the connection could take it. */

ngx_int_t ngx_push_room_resume(ngx_push_room_conn_t *room);

/* Octets read by others before us (preread). */

ngx_int_t ngx_push_room_preread(ngx_push_room_conn_t *room, ngx_buf_t *b);

/* packet: NGX_OK, NGX_DONE */

ngx_int_t ngx_push_room_packet(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body);

/* connect, claim */

ngx_int_t ngx_push_room_connect(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body);
ngx_int_t ngx_push_room_claim(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect);

/* Answers CONNECT with an error, and ends. */

ngx_int_t ngx_push_room_refuse(ngx_push_room_conn_t *room,
    ngx_push_room_why_t why, ngx_uint_t code, const char *text);

#define ngx_push_room_user(room, str)                                         \
    ((str)->len = (room)->name[0], (str)->data = (room)->name + 1)
void ngx_push_room_device(ngx_push_room_conn_t *room, ngx_str_t *device);

/*
 * topic: NGX_OK, NGX_PUSH_DENIED (not a product of this device), NGX_DECLINED
 * (a wildcard that is not PRODUCT/#).
 */

ngx_int_t ngx_push_room_topic(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_str_t *name, ngx_push_room_topic_t *t);

/* What may be published to: 0, or a reason code. */

ngx_uint_t ngx_push_room_publish_target(ngx_push_room_conn_t *room,
    const ngx_push_mqtt_str_t *name, ngx_push_target_t *target,
    ngx_str_t *type);

/* subscribe */

ngx_int_t ngx_push_room_subscribe(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body);
ngx_int_t ngx_push_room_unsubscribe(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body);

/* publish */

ngx_int_t ngx_push_room_publish(ngx_push_room_conn_t *room,
    ngx_push_mqtt_frame_t *f, u_char *body);

void ngx_push_room_aliases_free(ngx_push_room_conn_t *room);

/*
 * The properties of a message that are forwarded, encoded to buf, which has
 * NGX_PUSH_ROOM_PROPS_MAX octets; NGX_DECLINED: they do not fit.
 */

ngx_int_t ngx_push_room_forward(ngx_push_mqtt_props_t *props, u_char *buf,
    ngx_str_t *out);

/*
 * A pending with a handle; NULL: no memory.  Ask, and if the answer came at
 * once put it back, else bind it to the connection.  In "done" take it from
 * the handle: it is unbound and put back, what it was is returned by value.
 */

ngx_push_room_pending_t *ngx_push_room_pending_get(void);
void ngx_push_room_pending_put(ngx_push_room_pending_t *p);
void ngx_push_room_pending_bind(ngx_push_room_pending_t *p,
    ngx_push_room_conn_t *room);
ngx_int_t ngx_push_room_pending_take(ngx_push_handle_t handle,
    ngx_push_room_pending_t *p);
void ngx_push_room_pending_drop(ngx_push_room_conn_t *room);

/*
 * encode: a message as a PUBLISH, good until the next call.  NULL: its product
 * is not in the configuration.  A size of 0: it is too large for the client.
 */

typedef struct {
    u_char                     *data;
    size_t                      size;      /* of data */
    size_t                      packet;    /* with the payload */
    ngx_push_mqtt_patch_t       patch;
    unsigned                    whole:1;   /* data has the payload as well */
} ngx_push_room_image_t;

ngx_push_room_image_t *ngx_push_room_encode(ngx_push_room_conn_t *room,
    ngx_push_out_t *out);

/* Copies it, with what is this recipient's alone. */

void ngx_push_room_address(ngx_push_room_image_t *image, ngx_push_out_t *out,
    u_char *dst);

/* deliver */

extern ngx_push_transport_t    ngx_push_room_transport;

/*
 * Writes what was prepared, and messages as long as there are any and the
 * socket takes them.  The end of every step.  NGX_OK, NGX_DONE.
 */

ngx_int_t ngx_push_room_settle(ngx_push_room_conn_t *room);


/*
 * write: ngx_push_room_reserve() gives room for a small packet of up to size
 * octets; what was written there counts by ngx_push_room_commit().
 * ngx_push_room_payload() adds the payload of a pinned message, which must
 * stay pinned until ngx_push_room_flush().
 */

#define NGX_PUSH_ROOM_RESERVE_MAX  (96 * 1024)

#define NGX_PUSH_ROOM_SCRATCH      (128 * 1024)    /* small packets */

/* payload and header pieces of the largest message, and some more */

#define NGX_PUSH_ROOM_MSG_IOVS                                                \
    (NGX_PUSH_PAYLOAD_MAX / NGX_PUSH_CHUNK_DATA + 4)
#define NGX_PUSH_ROOM_IOVS         (2 * NGX_PUSH_ROOM_MSG_IOVS)
#define NGX_PUSH_ROOM_BATCH_MAX                                               \
    (NGX_PUSH_ROOM_SCRATCH + NGX_PUSH_ROOM_IOVS * NGX_PUSH_CHUNK_DATA)

u_char *ngx_push_room_reserve(ngx_push_room_conn_t *room, size_t size);
void ngx_push_room_commit(size_t size);
void ngx_push_room_payload(ngx_push_room_conn_t *room,
    ngx_push_message_t *m);

/* NGX_OK; NGX_AGAIN: the rest is in room->out; NGX_ERROR: end it. */

ngx_int_t ngx_push_room_flush(ngx_push_room_conn_t *room);
void ngx_push_room_write(ngx_event_t *wev);

/*
 * tls: keys and records.  Take, before the connection is detached, does nothing
 * when it cannot leave OpenSSL, or not yet.  Recv is as c->recv().  Seal
 * returns the length of the records that hold the octets of iov, which are
 * valid until the next call; 0: OpenSSL failed.  Bye tells the client that no
 * more comes.
 */

ngx_int_t ngx_push_room_tls_init(ngx_conf_t *cf,
    ngx_stream_core_srv_conf_t *cscf, ngx_uint_t release);

/* Whether OpenSSL has it will not change any more. */

#if (NGX_STREAM_SSL)
#define ngx_push_room_tls_settled(room)                                       \
    (!NGX_PUSH_ROOM_TLS || (room)->connection->ssl == NULL                    \
     || (room)->tls_stays)
#else
#define ngx_push_room_tls_settled(room)  1
#endif

#if (NGX_PUSH_ROOM_TLS)

void ngx_push_room_tls_take(ngx_push_room_conn_t *room);
ssize_t ngx_push_room_tls_recv(ngx_push_room_conn_t *room, u_char *buf,
    size_t size);
size_t ngx_push_room_tls_seal(ngx_push_room_conn_t *room, struct iovec *iov,
    size_t size, u_char **sealed);
void ngx_push_room_tls_bye(ngx_push_room_conn_t *room);
void ngx_push_room_tls_free(ngx_push_room_conn_t *room);

#define ngx_push_room_recv(room, buf, size)                                   \
    ((room)->tls ? ngx_push_room_tls_recv(room, buf, size)                    \
                 : ngx_push_room_connection(room)->recv(                      \
                       ngx_push_room_connection(room), buf, size))

#else

#define ngx_push_room_recv(room, buf, size)                                   \
    ngx_push_room_connection(room)->recv(ngx_push_room_connection(room),      \
                                         buf, size)

#endif

/* wheel */

ngx_int_t ngx_push_room_wheel_init(ngx_cycle_t *cycle);
void ngx_push_room_wheel_add(ngx_push_room_conn_t *room);
void ngx_push_room_wheel_remove(ngx_push_room_conn_t *room);

/* after a deadline has become nearer */

void ngx_push_room_wheel_move(ngx_push_room_conn_t *room);

#define ngx_push_room_alive(room)                                             \
    (room)->deadline = ngx_push_room_after((ngx_msec_t) (room)->keepalive     \
                                           * 1500)

/*
 * end: "code" is the reason code of a DISCONNECT to a client of MQTT 5, 0 is
 * the one that goes with "why"; "text" for log and Reason String, or NULL.
 * Always NGX_DONE.
 */

ngx_int_t ngx_push_room_end(ngx_push_room_conn_t *room,
    ngx_push_room_why_t why, ngx_uint_t code, const char *text);
ngx_int_t ngx_push_room_fail(ngx_push_room_conn_t *room,
    ngx_push_mqtt_error_t *err);
void ngx_push_room_finish(ngx_push_room_conn_t *room);

/* In state CLOSING: the last packet is written. */

void ngx_push_room_hangup(ngx_push_room_conn_t *room);

extern ngx_str_t  ngx_push_room_why_names[NGX_PUSH_ROOM_ENDS];

/* detach */

/* In state ONLINE, when nobody holds anything of the connection's pool. */

void ngx_push_room_detach(ngx_push_room_conn_t *room);

/* Writes the access log and closes; frees nothing of the room. */

void ngx_push_room_finalize(ngx_push_room_conn_t *room, ngx_uint_t status);

/* facts */

/* the place of realip's context, or ngx_stream_max_module: no such module */

extern ngx_uint_t  ngx_push_room_realip;

/*
 * realip's handler: the only one of its phase beside ours; NULL when there are
 * others, for nobody tells which is whose.
 */

ngx_stream_handler_pt ngx_push_room_realip_handler(ngx_stream_session_t *s);

void ngx_push_room_facts_init(ngx_cycle_t *cycle);

/*
 * What the names are followed by; buf has NGX_PUSH_ROOM_FACTS_MAX octets.  The
 * number of octets.
 */

size_t ngx_push_room_facts(ngx_push_room_conn_t *room, u_char *buf);

/* 0: they cannot be put back. */

ngx_uint_t ngx_push_room_facts_known(ngx_push_room_conn_t *room);

/* The client's address without port; text has NGX_SOCKADDR_STRLEN octets. */

size_t ngx_push_room_client(ngx_push_room_conn_t *room, u_char *text);

/*
 * Puts them into the connection of a session that was made again; realip does
 * its part as it did before.  NGX_ERROR: no memory.
 */

ngx_int_t ngx_push_room_unfold(ngx_push_room_conn_t *room,
    ngx_stream_session_t *s);


#endif /* _NGX_PUSH_ROOM_H_INCLUDED_ */
