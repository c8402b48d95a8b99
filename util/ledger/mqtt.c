
/*
 * Copyright (C) the ngx_push authors
 */


#include "ledger.h"

#include <stdio.h>
#include <string.h>


#define KEEP_ALIVE  10


static uint8_t *
put16(uint8_t *p, unsigned n)
{
    *p++ = n >> 8;
    *p++ = n;

    return p;
}


static uint8_t *
put_string(uint8_t *p, const char *s)
{
    size_t  n;

    n = strlen(s);
    p = put16(p, n);
    memcpy(p, s, n);

    return p + n;
}


/* The body stands at p + 3: its length is put before it, in as few bytes. */

static size_t
finish(uint8_t *p, uint8_t type, uint8_t *end)
{
    size_t  n;

    n = end - (p + 3);

    p[0] = type;

    if (n < 0x80) {
        p[1] = n;
        memmove(p + 2, p + 3, n);

        return n + 2;
    }

    p[1] = (n & 0x7f) | 0x80;
    p[2] = n >> 7;

    return n + 3;
}


size_t
mqtt_connect(uint8_t *p, device_t *d)
{
    char      name[64];
    uint8_t  *q;

    q = put_string(p + 3, "MQTT");

    *q++ = d->version;
    *q++ = 0x80 | (d->clean ? 0x02 : 0) | (d->will ? 0x0c : 0);
    q = put16(q, KEEP_ALIVE);

    if (d->version == 5) {

        /* who starts clean has no session to come back to */

        *q++ = 8;
        *q++ = 17;
        q = put16(q, 0);
        q = put16(q, d->clean ? 0 : 600);
        *q++ = 33;
        q = put16(q, 1 + d->index % 20);
    }

    snprintf(name, sizeof(name), "ledger-device-%u", d->index);
    q = put_string(q, name);

    if (d->will) {

        if (d->version == 5) {
            *q++ = 0;
        }

        snprintf(name, sizeof(name), "%s/group/g0", options.product);
        q = put_string(q, name);
        q = put_string(q, WILL);
    }

    snprintf(name, sizeof(name), "%s/user%u", options.product, d->user);
    q = put_string(q, name);

    return finish(p, 0x10, q);
}


size_t
mqtt_subscribe(uint8_t *p, device_t *d)
{
    char       name[64];
    uint8_t   *q;
    uint32_t   i;

    q = put16(p + 3, 1);

    if (d->version == 5) {
        *q++ = 0;
    }

    snprintf(name, sizeof(name), "%s/#", options.product);
    q = put_string(q, name);
    *q++ = 1;

    for (i = 0; i < d->ngroups; i++) {
        snprintf(name, sizeof(name), "%s/group/g%u", options.product,
                 d->groups[i]);
        q = put_string(q, name);
        *q++ = 1;
    }

    return finish(p, 0x82, q);
}


size_t
mqtt_puback(uint8_t *p, uint16_t pid)
{
    p[0] = 0x40;
    p[1] = 2;
    (void) put16(p + 2, pid);

    return 4;
}


size_t
mqtt_simple(uint8_t *p, uint8_t type)
{
    p[0] = type;
    p[1] = 0;

    return 2;
}


static int
get_varint(const uint8_t **p, const uint8_t *end, uint32_t *value)
{
    int  shift;

    *value = 0;

    for (shift = 0; shift < 28; shift += 7) {

        if (*p == end) {
            return 0;
        }

        *value |= (uint32_t) (**p & 0x7f) << shift;

        if (!(*(*p)++ & 0x80)) {
            return 1;
        }
    }

    return -1;
}


int
mqtt_frame(const uint8_t *p, size_t len, size_t *head, size_t *body)
{
    int             rc;
    uint32_t        n;
    const uint8_t  *q;

    if (len < 2) {
        return 0;
    }

    q = p + 1;
    rc = get_varint(&q, p + len, &n);

    if (rc <= 0) {
        return rc;
    }

    *head = q - p;
    *body = n;

    return *head + n <= len;
}


/* How many bytes a property's value has; -1: unknown or too short. */

static int
property_size(uint8_t id, const uint8_t *p, const uint8_t *end)
{
    int             n;
    uint32_t        v;
    const uint8_t  *q;

    switch (id) {

    case 1:
        n = 1;
        break;

    case 2:
        n = 4;
        break;

    case 3: case 8: case 9:
        n = end - p < 2 ? 2 : 2 + (p[0] << 8 | p[1]);
        break;

    case 11:
        q = p;
        n = get_varint(&q, end, &v) > 0 ? q - p : -1;
        break;

    case 35:
        n = 2;
        break;

    case 38:
        if (end - p < 2) {
            return -1;
        }

        n = 2 + (p[0] << 8 | p[1]);

        if (end - p < n + 2) {
            return -1;
        }

        n += 2 + (p[n] << 8 | p[n + 1]);
        break;

    default:
        return -1;
    }

    return n <= end - p ? n : -1;
}


static int
publish_properties(const uint8_t *p, const uint8_t *end, publish_t *out)
{
    int      n;
    uint8_t  id;

    while (p < end) {
        id = *p++;
        n = property_size(id, p, end);

        if (n < 0) {
            return -1;
        }

        if (id == 38 && p[0] == 0 && p[1] == 2 && memcmp(p + 2, "id", 2) == 0
            && !id_parse((const char *) p + 6, n - 6, &out->incarnation,
                         &out->seq))
        {
            return -1;
        }

        p += n;
    }

    return 0;
}


int
mqtt_publish(uint8_t version, uint8_t flags, const uint8_t *p, size_t len,
    publish_t *out)
{
    uint32_t        n;
    const uint8_t  *end;

    memset(out, 0, sizeof(publish_t));

    end = p + len;
    out->dup = flags >> 3 & 1;
    out->qos = flags >> 1 & 3;

    if (len < 2) {
        return -1;
    }

    out->topic_len = p[0] << 8 | p[1];
    out->topic = p + 2;
    p += 2;

    if ((size_t) (end - p) < out->topic_len + (out->qos ? 2 : 0)) {
        return -1;
    }

    p += out->topic_len;

    if (out->qos) {
        out->pid = p[0] << 8 | p[1];
        p += 2;
    }

    if (version == 5) {
        if (get_varint(&p, end, &n) <= 0 || n > (size_t) (end - p)
            || publish_properties(p, p + n, out) != 0)
        {
            return -1;
        }

        p += n;
    }

    out->payload = p;
    out->size = end - p;

    return 0;
}
