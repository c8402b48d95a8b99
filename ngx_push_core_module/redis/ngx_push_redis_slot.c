
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_redis_slot.h"
#include <arpa/inet.h>


#define NGX_PUSH_REDIS_BACKOFF_MIN  ((ngx_msec_t) 50)
#define NGX_PUSH_REDIS_BACKOFF_MAX  5000


/* CRC-16/XMODEM, as the cluster specification has it; four bits at a time. */

static uint16_t
ngx_push_redis_crc16(u_char *data, size_t len)
{
    size_t    i;
    uint16_t  crc;

    static const uint16_t  table[16] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef
    };

    crc = 0;

    for (i = 0; i < len; i++) {
        crc = (uint16_t) (crc << 4) ^ table[(crc >> 12) ^ (data[i] >> 4)];
        crc = (uint16_t) (crc << 4) ^ table[(crc >> 12) ^ (data[i] & 0x0f)];
    }

    return crc;
}


ngx_uint_t
ngx_push_redis_slot(ngx_str_t *key)
{
    size_t   len;
    u_char  *p, *q, *last;

    p = key->data;
    len = key->len;
    last = p + len;

    p = ngx_strlchr(p, last, '{');

    if (p) {
        q = ngx_strlchr(p + 1, last, '}');

        if (q && q > p + 1) {
            return ngx_push_redis_crc16(p + 1, q - p - 1)
                   % NGX_PUSH_REDIS_SLOTS;
        }
    }

    return ngx_push_redis_crc16(key->data, len) % NGX_PUSH_REDIS_SLOTS;
}


ngx_int_t
ngx_push_redis_redirect(const char *text, size_t len,
    ngx_push_redis_redirect_t *r)
{
    u_char     *p, *last, *sp, *colon;
    size_t      n;
    ngx_int_t   value;

    p = (u_char *) text;
    last = p + len;

    if (len > 6 && ngx_strncmp(p, "MOVED ", 6) == 0) {
        r->ask = 0;
        p += 6;

    } else if (len > 4 && ngx_strncmp(p, "ASK ", 4) == 0) {
        r->ask = 1;
        p += 4;

    } else {
        return NGX_DECLINED;
    }

    sp = ngx_strlchr(p, last, ' ');

    if (sp == NULL) {
        return NGX_DECLINED;
    }

    value = ngx_atoi(p, sp - p);

    if (value < 0 || value >= NGX_PUSH_REDIS_SLOTS) {
        return NGX_DECLINED;
    }

    r->slot = value;
    p = sp + 1;

    /* the port is behind the last colon, an IPv6 address has others */

    for (colon = last; colon > p && colon[-1] != ':'; colon--) { /* void */ }

    if (colon == p) {
        return NGX_DECLINED;
    }

    value = ngx_atoi(colon, last - colon);
    n = colon - 1 - p;

    if (value < 1 || value > 65535 || n >= sizeof(r->host)) {
        return NGX_DECLINED;
    }

    ngx_memzero(r->host, sizeof(r->host));
    ngx_memcpy(r->host, p, n);
    r->port = (in_port_t) value;

    return NGX_OK;
}


ngx_uint_t
ngx_push_redis_literal(const char *host)
{
    struct in_addr   addr;
    struct in6_addr  addr6;

    return inet_pton(AF_INET, host, &addr) == 1
           || inet_pton(AF_INET6, host, &addr6) == 1;
}


ngx_msec_t
ngx_push_redis_backoff(ngx_uint_t failures, uint32_t random)
{
    ngx_msec_t  delay;

    delay = NGX_PUSH_REDIS_BACKOFF_MAX;

    if (failures < 7) {
        delay = ngx_min(NGX_PUSH_REDIS_BACKOFF_MIN << failures, delay);
    }

    return delay / 2 + random % (delay / 2 + 1);
}
