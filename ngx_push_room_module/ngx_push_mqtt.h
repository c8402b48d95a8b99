
/*
 * Copyright (C) ngx_push authors
 *
 * The MQTT codec: versions 3.1.1 (protocol level 4) and 5.
 *
 * Pure: no nginx header, no allocation, no state, no clock.  Parsers read
 * from a caller's buffer, and every slice in what they return points into
 * that buffer: it is valid as long as the buffer is.  Writers write into a
 * caller's buffer.  A "version" parameter is 4 or 5 everywhere.
 *
 * Reading order:
 *   ngx_push_mqtt_codes.h       packet types, reason codes, property ids
 *   ngx_push_mqtt_read.c        cursor, frame, UTF-8, topics
 *   ngx_push_mqtt_reason.c      reason codes
 *   ngx_push_mqtt_props.c       the table of properties, and writing them
 *   ngx_push_mqtt_props_read.c  reading them
 *   ngx_push_mqtt_connect.c     CONNECT
 *   ngx_push_mqtt_parse.c       the other packets that a server receives
 *   ngx_push_mqtt_write.c       the packets that a server sends
 */


#ifndef _NGX_PUSH_MQTT_H_INCLUDED_
#define _NGX_PUSH_MQTT_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "ngx_push_mqtt_codes.h"


/* the values are nginx's own, so that they pass through its code unchanged */

#define NGX_PUSH_MQTT_OK      0
#define NGX_PUSH_MQTT_ERROR  -1
#define NGX_PUSH_MQTT_AGAIN  -2
#define NGX_PUSH_MQTT_DONE   -4

#define NGX_PUSH_MQTT_V311    4
#define NGX_PUSH_MQTT_V5      5

/* the largest Remaining Length, and the largest packet that carries it */

#define NGX_PUSH_MQTT_VARINT_MAX  268435455u
#define NGX_PUSH_MQTT_PACKET_MAX  (NGX_PUSH_MQTT_VARINT_MAX + 5)


/*
 * A slice of the input.  data is NULL for a field that was absent, and not
 * NULL for one that was there and empty.
 */

typedef struct {
    const uint8_t             *data;
    uint32_t                   len;
} ngx_push_mqtt_str_t;


/*
 * Why input was refused: set by everything that returns NGX_PUSH_MQTT_ERROR,
 * untouched otherwise.  code is the reason code to answer with, text a static
 * English sentence fit for a Reason String and for logs.
 */

typedef struct {
    uint8_t                    code;
    const char                *text;
} ngx_push_mqtt_error_t;


/*
 * What the server accepts.  A packet that exceeds it is refused by the parser
 * with the reason code given here.
 */

typedef struct {
    uint32_t                   max_client_id;    /* octets, 0x85 */
    uint32_t                   max_topic;        /* octets, 0x90, 0x8F */
    uint32_t                   max_filters;      /* in one packet, 0x97 */
    uint16_t                   topic_alias_max;  /* ours in CONNACK, 0x94 */
    uint8_t                    max_qos;          /* of PUBLISH, will, 0x9B */
    uint8_t                    retain;           /* 1 accepted, 0: 0x9A */
} ngx_push_mqtt_limits_t;

/* everything the protocol allows; topic aliases none until announced */

#define NGX_PUSH_MQTT_LIMITS_MAX                                              \
    { 65535, 65535, NGX_PUSH_MQTT_VARINT_MAX, 0, 2, 1 }


/*
 * Properties of any packet, read or to be written.
 *
 * present has the bit (1 << id) of each property that was read, or is to be
 * written; use ngx_push_mqtt_has() and ngx_push_mqtt_set().  Absent values
 * are 0 and NULL, except that a parsed CONNECT has the values which MQTT
 * defines for absence (3.1.1 has no others): receive_maximum 65535,
 * maximum_packet_size UINT32_MAX, request_problem_info 1.
 *
 * user runs from the first user property to the end of the last one, encoded
 * as on the wire (identifier 0x26, name, value).  Other properties may stand
 * between them: user_size is the length of the user properties alone, so
 * user.len == user_size if there is nothing between.  Iterate with
 * ngx_push_mqtt_next_user(), copy with ngx_push_mqtt_copy_user().  For
 * writers, user must hold user properties alone; user_count and user_size
 * are not read.
 */

typedef struct {
    uint64_t                   present;

    uint32_t                   message_expiry;
    uint32_t                   subscription_id;
    uint32_t                   session_expiry;
    uint32_t                   will_delay;
    uint32_t                   maximum_packet_size;
    uint16_t                   server_keep_alive;
    uint16_t                   receive_maximum;
    uint16_t                   topic_alias_maximum;
    uint16_t                   topic_alias;
    uint8_t                    payload_format;
    uint8_t                    request_problem_info;
    uint8_t                    request_response_info;
    uint8_t                    maximum_qos;
    uint8_t                    retain_available;
    uint8_t                    wildcard_available;
    uint8_t                    subscription_id_available;
    uint8_t                    shared_available;

    ngx_push_mqtt_str_t        content_type;
    ngx_push_mqtt_str_t        response_topic;
    ngx_push_mqtt_str_t        correlation_data;
    ngx_push_mqtt_str_t        assigned_client_id;
    ngx_push_mqtt_str_t        auth_method;
    ngx_push_mqtt_str_t        auth_data;
    ngx_push_mqtt_str_t        response_info;
    ngx_push_mqtt_str_t        server_reference;
    ngx_push_mqtt_str_t        reason_string;

    ngx_push_mqtt_str_t        user;
    uint32_t                   user_size;
    uint32_t                   user_count;
} ngx_push_mqtt_props_t;

#define ngx_push_mqtt_has(props, id)                                          \
    (((props)->present >> (id)) & 1)

#define ngx_push_mqtt_set(props, id)                                          \
    ((props)->present |= (uint64_t) 1 << (id))


/* a place in the input: pos is the next octet, end is behind the last */

typedef struct {
    const uint8_t             *pos;
    const uint8_t             *end;
} ngx_push_mqtt_cursor_t;


/*
 * A fixed header.  header is its length in octets (2 to 5), 0 while it is
 * incomplete; the packet takes header + remaining octets.
 */

typedef struct {
    uint8_t                    type;
    uint8_t                    flags;
    uint8_t                    header;
    uint32_t                   remaining;
} ngx_push_mqtt_frame_t;


/*
 * CONNECT.  Also after an error version tells in which version to answer:
 * 4, 5, or 0 if the peer does not speak MQTT and gets no answer.
 * will_topic.data is NULL if there is no will; user_name and password have
 * data NULL if they were not sent.
 */

typedef struct {
    uint8_t                    version;
    uint8_t                    clean_start;
    uint8_t                    will_qos;
    uint8_t                    will_retain;
    uint16_t                   keepalive;
    ngx_push_mqtt_str_t        client_id;
    ngx_push_mqtt_str_t        will_topic;
    ngx_push_mqtt_str_t        will_payload;
    ngx_push_mqtt_str_t        user_name;
    ngx_push_mqtt_str_t        password;
    ngx_push_mqtt_props_t      props;
    ngx_push_mqtt_props_t      will_props;
} ngx_push_mqtt_connect_t;


/*
 * PUBLISH.  packet_id is 0 with QoS 0.  topic is empty if the packet gives
 * only props.topic_alias (which the parser has compared with the limit; that
 * it was defined before, only the caller can know).
 */

typedef struct {
    uint8_t                    qos;
    uint8_t                    dup;
    uint8_t                    retain;
    uint16_t                   packet_id;
    ngx_push_mqtt_str_t        topic;
    ngx_push_mqtt_str_t        payload;
    ngx_push_mqtt_props_t      props;
} ngx_push_mqtt_publish_t;


/* PUBACK, PUBREC, PUBREL, PUBCOMP; the strings are rare, see props */

typedef struct {
    uint16_t                   packet_id;
    uint8_t                    reason;
    ngx_push_mqtt_str_t        reason_string;
    ngx_push_mqtt_str_t        user;
} ngx_push_mqtt_ack_t;


/*
 * SUBSCRIBE and UNSUBSCRIBE, validated to the end: next_filter() on filters
 * yields count well-formed filters and then NGX_PUSH_MQTT_DONE.
 */

typedef struct {
    ngx_push_mqtt_cursor_t     pos;
    uint8_t                    version;
    uint8_t                    options;     /* an octet after each filter */
} ngx_push_mqtt_filters_t;

typedef struct {
    uint16_t                   packet_id;
    uint32_t                   count;
    ngx_push_mqtt_filters_t    filters;
    ngx_push_mqtt_props_t      props;
} ngx_push_mqtt_subscribe_t;

/*
 * One filter.  filter is what the client sent.  For a shared subscription,
 * $share/NAME/TOPIC, share is NAME and topic is TOPIC; otherwise share.data
 * is NULL and topic equals filter.  The options are 0 for UNSUBSCRIBE; all
 * but qos are 0 in 3.1.1.
 */

typedef struct {
    ngx_push_mqtt_str_t        filter;
    ngx_push_mqtt_str_t        share;
    ngx_push_mqtt_str_t        topic;
    uint8_t                    wildcard;
    uint8_t                    qos;
    uint8_t                    no_local;
    uint8_t                    retain_as_published;
    uint8_t                    retain_handling;
} ngx_push_mqtt_filter_t;


/* DISCONNECT and AUTH */

typedef struct {
    uint8_t                    reason;
    ngx_push_mqtt_props_t      props;
} ngx_push_mqtt_reason_t;


/*
 * Reading: ngx_push_mqtt_read.c
 *
 * The cursor primitives return OK and move the cursor, or AGAIN (the input
 * ends before the value does) or ERROR (the value is invalid whatever
 * follows) and leave it where it was.  read_string() also checks UTF-8.
 */

int ngx_push_mqtt_read_u8(ngx_push_mqtt_cursor_t *c, uint8_t *value);
int ngx_push_mqtt_read_u16(ngx_push_mqtt_cursor_t *c, uint16_t *value);
int ngx_push_mqtt_read_u32(ngx_push_mqtt_cursor_t *c, uint32_t *value);
int ngx_push_mqtt_read_varint(ngx_push_mqtt_cursor_t *c, uint32_t *value);
int ngx_push_mqtt_read_binary(ngx_push_mqtt_cursor_t *c,
    ngx_push_mqtt_str_t *value);
int ngx_push_mqtt_read_string(ngx_push_mqtt_cursor_t *c,
    ngx_push_mqtt_str_t *value);

/*
 * Looks at n octets of input for one packet.  OK: all of it is there, its
 * body at buf + f->header.  AGAIN: more is needed; as soon as f->header is
 * not 0, the length is known to be f->header + f->remaining.  ERROR: what is
 * there cannot become a packet that a server receives, or one longer than
 * max_packet octets (fixed header included).  version is 0 before CONNECT.
 */

int ngx_push_mqtt_read_frame(const uint8_t *buf, size_t n,
    uint32_t max_packet, int version, ngx_push_mqtt_frame_t *f,
    ngx_push_mqtt_error_t *err);

/*
 * 1 or 0.  The topic checks look at length and wildcards and take UTF-8 for
 * granted.
 */

int ngx_push_mqtt_utf8_ok(const uint8_t *p, size_t n);
int ngx_push_mqtt_topic_name_ok(const uint8_t *p, size_t n);

/*
 * Fills filter, share, topic and wildcard of f and returns 1, or returns 0 if
 * the filter is ill-formed.  $share/… that is not a well-formed shared
 * subscription is an error in 5 and an ordinary filter in 3.1.1.
 */

int ngx_push_mqtt_topic_filter_ok(const uint8_t *p, size_t n, int version,
    ngx_push_mqtt_filter_t *f);

/* "PUBLISH", "reserved" */

const char *ngx_push_mqtt_type_name(unsigned type);

/* ngx_push_mqtt_reason.c: the name of a reason code in MQTT 5 */

const char *ngx_push_mqtt_reason_name(unsigned code);


/*
 * Properties: ngx_push_mqtt_props.c, ngx_push_mqtt_props_read.c
 */

/* reads the Property Length and the properties which "packet" may have */

#define NGX_PUSH_MQTT_WILL  16

int ngx_push_mqtt_read_props(ngx_push_mqtt_cursor_t *c, unsigned packet,
    ngx_push_mqtt_props_t *props, ngx_push_mqtt_error_t *err);

/*
 * Iterates over the user properties in a slice "user" of a parsed packet
 * (the slice is consumed: give a copy of it).  OK or DONE.
 */

int ngx_push_mqtt_next_user(ngx_push_mqtt_str_t *user,
    ngx_push_mqtt_str_t *name, ngx_push_mqtt_str_t *value);

/*
 * Copies the user properties of a parsed packet, without what may stand
 * between them, to buf, which has room for props->user_size octets.  The
 * result is fit to be "user" for a writer.
 */

size_t ngx_push_mqtt_copy_user(uint8_t *buf,
    const ngx_push_mqtt_props_t *props);

/* encodes one user property; returns its length, or 0 if it does not fit */

size_t ngx_push_mqtt_write_user(uint8_t *buf, size_t cap,
    const ngx_push_mqtt_str_t *name, const ngx_push_mqtt_str_t *value);

/*
 * For the writers: the length of those of the given properties that "packet"
 * may have (without the Property Length), and writing them.
 */

size_t ngx_push_mqtt_props_size(unsigned packet,
    const ngx_push_mqtt_props_t *props);
uint8_t *ngx_push_mqtt_write_props(uint8_t *p, unsigned packet,
    const ngx_push_mqtt_props_t *props);


/*
 * Parsing: ngx_push_mqtt_connect.c, ngx_push_mqtt_parse.c
 *
 * body has exactly the Remaining Length n that the frame announced.  OK or
 * ERROR: a packet that is cut short or has something left over is an error.
 */

int ngx_push_mqtt_parse_connect(const uint8_t *body, uint32_t n,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_connect_t *out,
    ngx_push_mqtt_error_t *err);

/* flags are those of the fixed header */

int ngx_push_mqtt_parse_publish(int version, unsigned flags,
    const uint8_t *body, uint32_t n, const ngx_push_mqtt_limits_t *limits,
    ngx_push_mqtt_publish_t *out, ngx_push_mqtt_error_t *err);

/* type: NGX_PUSH_MQTT_PUBACK, PUBREC, PUBREL, PUBCOMP */

int ngx_push_mqtt_parse_ack(int version, unsigned type, const uint8_t *body,
    uint32_t n, ngx_push_mqtt_ack_t *out, ngx_push_mqtt_error_t *err);

int ngx_push_mqtt_parse_subscribe(int version, const uint8_t *body,
    uint32_t n, const ngx_push_mqtt_limits_t *limits,
    ngx_push_mqtt_subscribe_t *out, ngx_push_mqtt_error_t *err);
int ngx_push_mqtt_parse_unsubscribe(int version, const uint8_t *body,
    uint32_t n, const ngx_push_mqtt_limits_t *limits,
    ngx_push_mqtt_subscribe_t *out, ngx_push_mqtt_error_t *err);

/* OK or DONE; "it" is consumed */

int ngx_push_mqtt_next_filter(ngx_push_mqtt_filters_t *it,
    ngx_push_mqtt_filter_t *f);

int ngx_push_mqtt_parse_pingreq(uint32_t n, ngx_push_mqtt_error_t *err);

/*
 * Whether a Session Expiry Interval is allowed here (it is not if CONNECT
 * had 0) is known to the caller alone.
 */

int ngx_push_mqtt_parse_disconnect(int version, const uint8_t *body,
    uint32_t n, ngx_push_mqtt_reason_t *out, ngx_push_mqtt_error_t *err);
int ngx_push_mqtt_parse_auth(int version, const uint8_t *body, uint32_t n,
    ngx_push_mqtt_reason_t *out, ngx_push_mqtt_error_t *err);


/*
 * Writing: ngx_push_mqtt_write.c
 *
 * Each returns the length of the packet, or 0 if it is longer than cap octets
 * or than limit, the Maximum Packet Size of the client (UINT32_MAX if it gave
 * none); then nothing may be sent.  What MQTT allows to leave out, user
 * properties and then the Reason String, is left out before that.  Reason
 * strings are for a client with request_problem_info 1 only (but in CONNACK
 * and DISCONNECT): the caller knows.  A reason_string may be NULL.
 */

#define NGX_PUSH_MQTT_ACK_MAX       4   /* acks without a reason */
#define NGX_PUSH_MQTT_PINGRESP_MAX  2

/*
 * CONNACK: every property of CONNACK that is present.  In 3.1.1 the reason is
 * mapped to a return code, and 0 is returned for a reason that has none: the
 * connection is to be closed without an answer.
 */

size_t ngx_push_mqtt_write_connack(uint8_t *buf, size_t cap, uint32_t limit,
    int version, unsigned session_present, unsigned reason,
    const ngx_push_mqtt_props_t *props);

/* 0 to 5, or -1 if 3.1.1 has no return code for this */

int ngx_push_mqtt_connack_code(unsigned reason);


/*
 * PUBLISH without its payload.  Absent: strings of length 0 (data may be
 * NULL), subscription_id 0, topic_alias 0, has_expiry 0, payload_format 0.
 * topic may be empty only with topic_alias.  id is the value of a user
 * property "id" of ours, which is left out if only so the packet fits limit;
 * user are encoded user properties that are forwarded whole.  In 3.1.1 only
 * flags, packet_id, topic and payload_len count.
 */

typedef struct {
    uint8_t                    qos;
    uint8_t                    dup;
    uint8_t                    retain;
    uint8_t                    has_expiry;
    uint8_t                    payload_format;
    uint16_t                   packet_id;
    uint16_t                   topic_alias;
    uint32_t                   message_expiry;
    uint32_t                   subscription_id;
    uint32_t                   payload_len;
    ngx_push_mqtt_str_t        topic;
    ngx_push_mqtt_str_t        content_type;
    ngx_push_mqtt_str_t        response_topic;
    ngx_push_mqtt_str_t        correlation_data;
    ngx_push_mqtt_str_t        id;
    ngx_push_mqtt_str_t        user;
} ngx_push_mqtt_message_t;

/*
 * Where values stand in a written header, to be patched when it is sent to
 * the next client: 0 if not there.  DUP is the bit 0x08 of the first octet.
 */

typedef struct {
    uint32_t                   packet_id;   /* two octets */
    uint32_t                   expiry;      /* four octets */
} ngx_push_mqtt_patch_t;

/* octets that a header takes at most besides the strings */

#define NGX_PUSH_MQTT_PUBLISH_MAX  48

size_t ngx_push_mqtt_write_publish(uint8_t *buf, size_t cap, uint32_t limit,
    int version, const ngx_push_mqtt_message_t *m,
    ngx_push_mqtt_patch_t *patch);

#define ngx_push_mqtt_patch_u16(p, v)                                         \
    ((p)[0] = (uint8_t) ((v) >> 8), (p)[1] = (uint8_t) (v))

#define ngx_push_mqtt_patch_u32(p, v)                                         \
    ((p)[0] = (uint8_t) ((v) >> 24), (p)[1] = (uint8_t) ((v) >> 16),          \
     (p)[2] = (uint8_t) ((v) >> 8), (p)[3] = (uint8_t) (v))


/*
 * PUBACK, PUBREC, PUBREL, PUBCOMP.  3.1.1 cannot tell a reason: the ack is
 * written without it.
 */

size_t ngx_push_mqtt_write_ack(uint8_t *buf, size_t cap, uint32_t limit,
    int version, unsigned type, uint16_t packet_id, unsigned reason,
    const ngx_push_mqtt_str_t *reason_string);

/* codes are of MQTT 5; all failures are 0x80 in 3.1.1, UNSUBACK has none */

size_t ngx_push_mqtt_write_suback(uint8_t *buf, size_t cap, uint32_t limit,
    int version, uint16_t packet_id, const uint8_t *codes, uint32_t n,
    const ngx_push_mqtt_str_t *reason_string);
size_t ngx_push_mqtt_write_unsuback(uint8_t *buf, size_t cap, uint32_t limit,
    int version, uint16_t packet_id, const uint8_t *codes, uint32_t n,
    const ngx_push_mqtt_str_t *reason_string);

size_t ngx_push_mqtt_write_pingresp(uint8_t *buf, size_t cap);

/* MQTT 5 only: 3.1.1 has no DISCONNECT from a server, and 0 is returned */

size_t ngx_push_mqtt_write_disconnect(uint8_t *buf, size_t cap,
    uint32_t limit, int version, unsigned reason,
    const ngx_push_mqtt_props_t *props);

/* MQTT 5 only; props with the authentication method */

size_t ngx_push_mqtt_write_auth(uint8_t *buf, size_t cap, uint32_t limit,
    unsigned reason, const ngx_push_mqtt_props_t *props);


#endif /* _NGX_PUSH_MQTT_H_INCLUDED_ */
