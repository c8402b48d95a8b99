
/*
 * The lowest layer of the MQTT codec: values, the fixed header, and what makes
 * a string, a topic name and a topic filter well-formed.
 */


#include "ngx_push_mqtt_util.h"


/*
 * What a server makes of the fixed header of each type.  flags are those that
 * MQTT demands, or NGX_PUSH_MQTT_ANY where the packet gives them a meaning.
 */

#define NGX_PUSH_MQTT_ANY  0xff

typedef struct {
    const char                *name;
    uint8_t                    received;
    uint8_t                    flags;
} ngx_push_mqtt_type_t;


static const ngx_push_mqtt_type_t  ngx_push_mqtt_types[16] = {
    { "reserved",    0, 0 },
    { "CONNECT",     1, 0 },
    { "CONNACK",     0, 0 },
    { "PUBLISH",     1, NGX_PUSH_MQTT_ANY },
    { "PUBACK",      1, 0 },
    { "PUBREC",      1, 0 },
    { "PUBREL",      1, 2 },
    { "PUBCOMP",     1, 0 },
    { "SUBSCRIBE",   1, 2 },
    { "SUBACK",      0, 0 },
    { "UNSUBSCRIBE", 1, 2 },
    { "UNSUBACK",    0, 0 },
    { "PINGREQ",     1, 0 },
    { "PINGRESP",    0, 0 },
    { "DISCONNECT",  1, 0 },
    { "AUTH",        1, 0 }
};


int
ngx_push_mqtt_read_u8(ngx_push_mqtt_cursor_t *c, uint8_t *value)
{
    if (c->pos == c->end) {
        return NGX_PUSH_MQTT_AGAIN;
    }

    *value = *c->pos++;

    return NGX_PUSH_MQTT_OK;
}


int
ngx_push_mqtt_read_u16(ngx_push_mqtt_cursor_t *c, uint16_t *value)
{
    if (c->end - c->pos < 2) {
        return NGX_PUSH_MQTT_AGAIN;
    }

    *value = (uint16_t) (c->pos[0] << 8 | c->pos[1]);
    c->pos += 2;

    return NGX_PUSH_MQTT_OK;
}


int
ngx_push_mqtt_read_u32(ngx_push_mqtt_cursor_t *c, uint32_t *value)
{
    if (c->end - c->pos < 4) {
        return NGX_PUSH_MQTT_AGAIN;
    }

    *value = (uint32_t) c->pos[0] << 24 | (uint32_t) c->pos[1] << 16
             | (uint32_t) c->pos[2] << 8 | c->pos[3];
    c->pos += 4;

    return NGX_PUSH_MQTT_OK;
}


/*
 * MQTT 5 wants the shortest form of a number; 3.1.1 is silent about it, and
 * its clients may pad the Remaining Length.
 */

static int
ngx_push_mqtt_get_varint(ngx_push_mqtt_cursor_t *c, int shortest,
    uint32_t *value)
{
    uint8_t         b;
    uint32_t        v;
    unsigned        shift;
    const uint8_t  *p;

    p = c->pos;
    v = 0;

    for (shift = 0; shift <= 21; shift += 7) {

        if (p == c->end) {
            return NGX_PUSH_MQTT_AGAIN;
        }

        b = *p++;
        v |= (uint32_t) (b & 0x7f) << shift;

        if (b & 0x80) {
            continue;
        }

        if (b == 0 && shift && shortest) {
            return NGX_PUSH_MQTT_ERROR;
        }

        *value = v;
        c->pos = p;

        return NGX_PUSH_MQTT_OK;
    }

    return NGX_PUSH_MQTT_ERROR;
}


int
ngx_push_mqtt_read_varint(ngx_push_mqtt_cursor_t *c, uint32_t *value)
{
    return ngx_push_mqtt_get_varint(c, 1, value);
}


int
ngx_push_mqtt_read_binary(ngx_push_mqtt_cursor_t *c,
    ngx_push_mqtt_str_t *value)
{
    size_t  n, len;

    n = c->end - c->pos;

    if (n < 2) {
        return NGX_PUSH_MQTT_AGAIN;
    }

    len = (size_t) c->pos[0] << 8 | c->pos[1];

    if (len > n - 2) {
        return NGX_PUSH_MQTT_AGAIN;
    }

    value->data = c->pos + 2;
    value->len = (uint32_t) len;
    c->pos += 2 + len;

    return NGX_PUSH_MQTT_OK;
}


int
ngx_push_mqtt_read_string(ngx_push_mqtt_cursor_t *c,
    ngx_push_mqtt_str_t *value)
{
    int                     rc;
    ngx_push_mqtt_str_t     s;
    ngx_push_mqtt_cursor_t  next;

    next = *c;

    rc = ngx_push_mqtt_read_binary(&next, &s);
    if (rc != NGX_PUSH_MQTT_OK) {
        return rc;
    }

    if (!ngx_push_mqtt_utf8_ok(s.data, s.len)) {
        return NGX_PUSH_MQTT_ERROR;
    }

    *c = next;
    *value = s;

    return NGX_PUSH_MQTT_OK;
}


/* what the first octet says already */

static int
ngx_push_mqtt_check_type(uint8_t octet, int version,
    ngx_push_mqtt_error_t *err)
{
    uint8_t  type, flags, want;

    type = octet >> 4;
    flags = octet & 0x0f;
    want = ngx_push_mqtt_types[type].flags;

    if (type == 0) {
        return ngx_push_mqtt_malformed(err, "reserved packet type");
    }

    if (!ngx_push_mqtt_types[type].received) {
        return ngx_push_mqtt_protocol(err,
                                      "a client may not send this packet");
    }

    if (type == NGX_PUSH_MQTT_AUTH && version == NGX_PUSH_MQTT_V311) {
        return ngx_push_mqtt_protocol(err, "3.1.1 has no AUTH packet");
    }

    if (want != NGX_PUSH_MQTT_ANY) {

        if (flags != want) {
            return ngx_push_mqtt_malformed(err, "reserved flags of the fixed "
                                                "header are wrong");
        }

        return NGX_PUSH_MQTT_OK;
    }

    if ((flags & 0x06) == 0x06) {
        return ngx_push_mqtt_malformed(err, "QoS 3");
    }

    if ((flags & 0x0e) == 0x08) {
        return ngx_push_mqtt_malformed(err, "DUP with QoS 0");
    }

    return NGX_PUSH_MQTT_OK;
}


int
ngx_push_mqtt_read_frame(const uint8_t *buf, size_t n, uint32_t max_packet,
    int version, ngx_push_mqtt_frame_t *f, ngx_push_mqtt_error_t *err)
{
    int                     rc;
    uint32_t                remaining;
    ngx_push_mqtt_cursor_t  c;

    f->header = 0;

    if (n == 0) {
        return NGX_PUSH_MQTT_AGAIN;
    }

    if (ngx_push_mqtt_check_type(buf[0], version, err) != NGX_PUSH_MQTT_OK) {
        return NGX_PUSH_MQTT_ERROR;
    }

    c.pos = buf + 1;
    c.end = buf + n;

    rc = ngx_push_mqtt_get_varint(&c, version == NGX_PUSH_MQTT_V5, &remaining);

    if (rc == NGX_PUSH_MQTT_ERROR) {
        return ngx_push_mqtt_malformed(err, "Remaining Length is not a "
                                            "variable byte integer");
    }

    if (rc == NGX_PUSH_MQTT_AGAIN) {
        return rc;
    }

    f->type = buf[0] >> 4;
    f->flags = buf[0] & 0x0f;
    f->header = (uint8_t) (c.pos - buf);
    f->remaining = remaining;

    if (max_packet < f->header || remaining > max_packet - f->header) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_PACKET_TOO_LARGE,
                                  "packet is longer than the maximum");
    }

    return remaining > n - f->header ? NGX_PUSH_MQTT_AGAIN : NGX_PUSH_MQTT_OK;
}


/*
 * The length of the well-formed character of more than one octet at p, or 0.
 * Ranges of the second octet keep out overlong forms, surrogates and what is
 * above U+10FFFF (Unicode, table 3-7).
 */

static size_t
ngx_push_mqtt_utf8_len(const uint8_t *p, size_t n)
{
    size_t   len, i;
    uint8_t  low, high;

    low = 0x80;
    high = 0xbf;

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;

    } else if ((p[0] & 0xf0) == 0xe0) {
        len = 3;
        low = (p[0] == 0xe0) ? 0xa0 : low;
        high = (p[0] == 0xed) ? 0x9f : high;

    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        low = (p[0] == 0xf0) ? 0x90 : low;
        high = (p[0] == 0xf4) ? 0x8f : high;

    } else {
        return 0;
    }

    if (n < len || p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return len;
}


int
ngx_push_mqtt_utf8_ok(const uint8_t *p, size_t n)
{
    size_t    len;
    uint64_t  w;

    while (n) {

        if (n >= sizeof(w)) {
            memcpy(&w, p, sizeof(w));

            /* eight octets of ASCII and none of them 0 */

            if (((w | (w - 0x0101010101010101u)) & 0x8080808080808080u) == 0) {
                p += sizeof(w);
                n -= sizeof(w);
                continue;
            }
        }

        if (*p == 0) {
            return 0;
        }

        len = (*p < 0x80) ? 1 : ngx_push_mqtt_utf8_len(p, n);
        if (len == 0) {
            return 0;
        }

        p += len;
        n -= len;
    }

    return 1;
}


int
ngx_push_mqtt_topic_name_ok(const uint8_t *p, size_t n)
{
    return n && n <= NGX_PUSH_MQTT_STR_MAX
           && memchr(p, '+', n) == NULL && memchr(p, '#', n) == NULL;
}


/* a filter that is not a shared one: "+" fills a level, "#" the last one */

static int
ngx_push_mqtt_plain_filter_ok(const uint8_t *p, size_t n, uint8_t *wildcard)
{
    size_t  i;

    if (n == 0 || n > NGX_PUSH_MQTT_STR_MAX) {
        return 0;
    }

    *wildcard = 0;

    for (i = 0; i < n; i++) {

        if (p[i] != '+' && p[i] != '#') {
            continue;
        }

        *wildcard = 1;

        if (i && p[i - 1] != '/') {
            return 0;
        }

        if (i + 1 < n && (p[i] == '#' || p[i + 1] != '/')) {
            return 0;
        }
    }

    return 1;
}


int
ngx_push_mqtt_topic_filter_ok(const uint8_t *p, size_t n, int version,
    ngx_push_mqtt_filter_t *f)
{
    size_t          skip;
    const uint8_t  *name, *slash;

    f->filter.data = p;
    f->filter.len = (uint32_t) n;
    f->topic = f->filter;
    f->share.data = NULL;
    f->share.len = 0;

    skip = sizeof("$share/") - 1;

    if (n >= skip && n <= NGX_PUSH_MQTT_STR_MAX
        && memcmp(p, "$share/", skip) == 0)
    {
        name = p + skip;
        slash = memchr(name, '/', n - skip);

        if (slash
            && ngx_push_mqtt_topic_name_ok(name, slash - name)
            && ngx_push_mqtt_plain_filter_ok(slash + 1, p + n - slash - 1,
                                             &f->wildcard))
        {
            f->share.data = name;
            f->share.len = (uint32_t) (slash - name);
            f->topic.data = slash + 1;
            f->topic.len = (uint32_t) (p + n - slash - 1);

            return 1;
        }

        if (version == NGX_PUSH_MQTT_V5) {
            return 0;
        }
    }

    return ngx_push_mqtt_plain_filter_ok(p, n, &f->wildcard);
}


const char *
ngx_push_mqtt_type_name(unsigned type)
{
    return ngx_push_mqtt_types[type < 16 ? type : 0].name;
}
