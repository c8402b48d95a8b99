
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_mirror.h"


/* SipHash-1-3 (Aumasson, Bernstein): names come from strangers */

#define ngx_push_rotl(x, b)  (((x) << (b)) | ((x) >> (64 - (b))))

#define ngx_push_sipround(v)                                                  \
    do {                                                                      \
        v[0] += v[1]; v[1] = ngx_push_rotl(v[1], 13); v[1] ^= v[0];           \
        v[0] = ngx_push_rotl(v[0], 32);                                       \
        v[2] += v[3]; v[3] = ngx_push_rotl(v[3], 16); v[3] ^= v[2];           \
        v[0] += v[3]; v[3] = ngx_push_rotl(v[3], 21); v[3] ^= v[0];           \
        v[2] += v[1]; v[1] = ngx_push_rotl(v[1], 17); v[1] ^= v[2];           \
        v[2] = ngx_push_rotl(v[2], 32);                                       \
    } while (0)


uint64_t
ngx_push_hash(uint64_t seed, const u_char *p, size_t len)
{
    size_t    n;
    uint64_t  k0, k1, m, v[4];

    k0 = ngx_push_zone->head->hash_key[0] ^ seed;
    k1 = ngx_push_zone->head->hash_key[1];

    v[0] = k0 ^ 0x736f6d6570736575ULL;
    v[1] = k1 ^ 0x646f72616e646f6dULL;
    v[2] = k0 ^ 0x6c7967656e657261ULL;
    v[3] = k1 ^ 0x7465646279746573ULL;

    for (n = len; n >= 8; n -= 8, p += 8) {
        ngx_memcpy(&m, p, 8);
        v[3] ^= m;
        ngx_push_sipround(v);
        v[0] ^= m;
    }

    m = (uint64_t) len << 56;

    while (n--) {
        m |= (uint64_t) p[n] << (8 * n);
    }

    v[3] ^= m;
    ngx_push_sipround(v);
    v[0] ^= m;

    v[2] ^= 0xff;
    ngx_push_sipround(v);
    ngx_push_sipround(v);
    ngx_push_sipround(v);

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}


/* FNV-1a: the same on every node, which the keyed hash of a zone is not. */

static uint64_t
ngx_push_fnv(uint64_t h, ngx_str_t *s)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        h = (h ^ s->data[i]) * 0x100000001b3ULL;
    }

    return h * 0x100000001b3ULL;       /* as if by a NUL behind it */
}


uint64_t
ngx_push_publisher_hash(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device)
{
    uint64_t  h;

    h = ngx_push_fnv(0xcbf29ce484222325ULL, &product->name);
    h = ngx_push_fnv(h, user);
    h = ngx_push_fnv(h, device);

    return h ? h : 1;
}
