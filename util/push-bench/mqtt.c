
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * What a client needs of MQTT 3.1.1 and 5.  Writers expect room that is large
 * enough (templates are cut at 512 bytes, tokens at 2048) and return the
 * length; the reader never looks beyond what it is given.
 */


#include "bench.h"


static char *
bench_put_string(char *p, const char *s, size_t n)
{
    *p++ = (char) (n >> 8);
    *p++ = (char) n;
    memcpy(p, s, n);

    return p + n;
}


static char *
bench_put_u32(char *p, uint32_t v)
{
    *p++ = (char) (v >> 24);
    *p++ = (char) (v >> 16);
    *p++ = (char) (v >> 8);
    *p++ = (char) v;

    return p;
}


static char *
bench_put_length(char *p, size_t n)
{
    do {
        *p++ = (char) ((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
        n >>= 7;
    } while (n);

    return p;
}


/* fixed header in front of a body of which the length is known only now */

static size_t
bench_wrap(char *p, int type, const char *body, size_t n)
{
    char  *s;

    s = p;
    *s++ = (char) type;
    s = bench_put_length(s, n);
    memcpy(s, body, n);

    return s + n - p;
}


size_t
bench_mqtt_connect(char *p, const bench_opts_t *o, const char *id,
    const char *username, const char *password, int clean, uint32_t expiry)
{
    int   flags;
    char  body[4096], *b, *props;

    flags = (clean ? 0x02 : 0) | (username ? 0x80 : 0) | (password ? 0x40 : 0);

    b = bench_put_string(body, "MQTT", 4);
    *b++ = (char) o->level;
    *b++ = (char) flags;
    *b++ = (char) (o->keepalive >> 8);
    *b++ = (char) o->keepalive;

    if (o->level == 5) {
        props = b++;

        if (expiry) {
            *b++ = 0x11;
            b = bench_put_u32(b, expiry);
        }

        if (o->receive_max) {
            *b++ = 0x21;
            *b++ = (char) (o->receive_max >> 8);
            *b++ = (char) o->receive_max;
        }

        *props = (char) (b - props - 1);
    }

    b = bench_put_string(b, id, strlen(id));

    if (username) {
        b = bench_put_string(b, username, strlen(username));
    }

    if (password) {
        b = bench_put_string(b, password, strlen(password));
    }

    return bench_wrap(p, 0x10, body, b - body);
}


size_t
bench_mqtt_subscribe(char *p, const bench_opts_t *o, char topics[][512], int n)
{
    int   i;
    char  body[BENCH_MAX_TOPICS * 520 + 8], *b;

    b = body;
    *b++ = 0;
    *b++ = 1;

    if (o->level == 5) {
        *b++ = 0;
    }

    for (i = 0; i < n; i++) {
        b = bench_put_string(b, topics[i], strlen(topics[i]));
        *b++ = (char) o->qos;
    }

    return bench_wrap(p, 0x82, body, b - body);
}


/* all of a PUBLISH but its payload */

size_t
bench_mqtt_publish_head(char *p, const bench_opts_t *o, const char *topic,
    size_t topic_len, uint16_t id, size_t payload)
{
    char    *s;
    size_t   n;

    n = 2 + topic_len + (id ? 2 : 0) + (o->level == 5 ? 1 : 0) + payload;

    s = p;
    *s++ = (char) (0x30 | (id ? 0x02 : 0));
    s = bench_put_length(s, n);
    s = bench_put_string(s, topic, topic_len);

    if (id) {
        *s++ = (char) (id >> 8);
        *s++ = (char) id;
    }

    if (o->level == 5) {
        *s++ = 0;
    }

    return s - p;
}


/*
 * The packet that starts at p: returns the bytes it takes, 0 if it is not
 * complete, BENCH_ERROR if its length is malformed.
 */

int
bench_mqtt_next(unsigned char *p, size_t len, unsigned char **body,
    size_t *body_len)
{
    size_t  n, i;

    n = 0;

    for (i = 1; i < 5; i++) {

        if (i >= len) {
            return 0;
        }

        n |= (size_t) (p[i] & 0x7f) << (7 * (i - 1));

        if (!(p[i] & 0x80)) {
            break;
        }
    }

    if (i == 5) {
        return BENCH_ERROR;
    }

    i++;

    if (n > len - i) {
        return 0;
    }

    *body = p + i;
    *body_len = n;

    return i + n;
}


/* identifier included; 0 if it does not end before "end" */

static size_t
bench_property_size(const unsigned char *p, const unsigned char *end)
{
    int     strings;
    size_t  n;

    n = 1;
    strings = 0;

    switch (*p) {
    case 0x11:
    case 0x27:
        n = 5;
        break;
    case 0x13:
    case 0x21:
    case 0x22:
        n = 3;
        break;
    case 0x24:
    case 0x25:
    case 0x28:
    case 0x29:
    case 0x2a:
        n = 2;
        break;
    case 0x26:
        strings = 2;
        break;
    default:
        strings = 1;
    }

    while (strings--) {
        if (n + 2 > (size_t) (end - p)) {
            return 0;
        }

        n += 2 + (p[n] << 8 | p[n + 1]);
    }

    return n <= (size_t) (end - p) ? n : 0;
}


/*
 * Returns the code of a CONNACK (0: accepted), BENCH_ERROR if it is malformed,
 * and what the server asks of the client, if it does.
 */

int
bench_mqtt_connack(const bench_opts_t *o, const unsigned char *p, size_t len,
    uint32_t *keepalive, uint32_t *receive_max)
{
    int                   code;
    size_t                n;
    const unsigned char  *end;

    if (len < 2) {
        return BENCH_ERROR;
    }

    code = p[1];

    /* more than 127 bytes of properties: nothing in them is relied upon */

    if (o->level != 5 || len < 3 || p[2] > 127 || len < 3 + (size_t) p[2]) {
        return code;
    }

    end = p + 3 + p[2];

    for (p += 3; p < end; p += n) {
        n = bench_property_size(p, end);

        if (n == 0) {
            break;
        }

        if (*p == 0x13) {
            *keepalive = p[1] << 8 | p[2];

        } else if (*p == 0x21) {
            *receive_max = p[1] << 8 | p[2];
        }
    }

    return code;
}


const char *
bench_mqtt_reason(int level, int code)
{
    unsigned  i;

    static const struct {
        int          level;
        int          code;
        const char  *text;
    } reasons[] = {
        { 4, 1, "unacceptable protocol version" },
        { 4, 2, "identifier rejected" },
        { 4, 3, "server unavailable" },
        { 4, 4, "bad user name or password" },
        { 4, 5, "not authorized" },
        { 4, 0x80, "refused" },
        { 5, 0x80, "unspecified error" },
        { 5, 0x81, "malformed packet" },
        { 5, 0x82, "protocol error" },
        { 5, 0x83, "implementation specific error" },
        { 5, 0x84, "unsupported protocol version" },
        { 5, 0x85, "client identifier not valid" },
        { 5, 0x86, "bad user name or password" },
        { 5, 0x87, "not authorized" },
        { 5, 0x88, "server unavailable" },
        { 5, 0x89, "server busy" },
        { 5, 0x8b, "server shutting down" },
        { 5, 0x8d, "keep alive timeout" },
        { 5, 0x8e, "session taken over" },
        { 5, 0x8f, "topic filter invalid" },
        { 5, 0x90, "topic name invalid" },
        { 5, 0x93, "receive maximum exceeded" },
        { 5, 0x95, "packet too large" },
        { 5, 0x96, "message rate too high" },
        { 5, 0x97, "quota exceeded" },
        { 5, 0x98, "administrative action" },
        { 5, 0x9b, "QoS not supported" },
        { 5, 0x9c, "use another server" },
        { 5, 0x9d, "server moved" },
        { 5, 0x9f, "connection rate exceeded" },
        { 5, 0xa2, "wildcard subscriptions not supported" },
    };

    for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].level == level && reasons[i].code == code) {
            return reasons[i].text;
        }
    }

    return "unknown reason";
}
