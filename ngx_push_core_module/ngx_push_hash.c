
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_zone.h"


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
