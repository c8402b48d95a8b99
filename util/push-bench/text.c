
/*
 * Copyright (C) the ngx_push authors
 */


#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "bench.h"


#define BENCH_TOKEN_LIFETIME  86400


/*
 * Templates: %u number of the user, %d number of the device within the user,
 * %i number of the device in the run, %g number of its group, %U name of the
 * user (--user, itself a template), %p product, %r run id, %% a per cent sign.
 */

int
bench_check_template(const char *tmpl)
{
    const char  *p;

    for (p = tmpl; *p; p++) {
        if (*p == '%') {
            p++;

            if (*p == '\0' || strchr("udigUpr%", *p) == NULL) {
                return BENCH_ERROR;
            }
        }
    }

    return BENCH_OK;
}


static char *
bench_put_number(char *p, char *last, uint64_t n)
{
    char  tmp[20], *t;

    t = tmp + sizeof(tmp);

    do {
        *--t = '0' + n % 10;
        n /= 10;
    } while (n);

    while (t < tmp + sizeof(tmp) && p < last) {
        *p++ = *t++;
    }

    return p;
}


/*
 * Expands a template for one device; the result is cut at "size" and ends
 * with a NUL.  A template that was not checked may contain unknown letters:
 * they are dropped.
 */

size_t
bench_expand(const bench_opts_t *o, char *dst, size_t size, const char *tmpl,
    uint32_t user, uint32_t device)
{
    char        *p, *last;
    size_t       n;
    uint64_t     i;
    const char  *s;

    p = dst;
    last = dst + size - 1;
    i = (uint64_t) user * o->per_user + device;

    for (s = tmpl; *s && p < last; s++) {

        if (*s != '%') {
            *p++ = *s;
            continue;
        }

        switch (*++s) {
        case 'u':
            p = bench_put_number(p, last, user);
            break;
        case 'd':
            p = bench_put_number(p, last, device);
            break;
        case 'i':
            p = bench_put_number(p, last, i);
            break;
        case 'g':
            p = bench_put_number(p, last, i % o->groups);
            break;
        case 'r':
            p = bench_put_number(p, last, o->run_id);
            break;
        case 'p':
            n = strlen(o->product);
            n = n < (size_t) (last - p) ? n : (size_t) (last - p);
            memcpy(p, o->product, n);
            p += n;
            break;
        case 'U':
            /* --user may not name itself, see the check of the options */
            p += bench_expand(o, p, last - p + 1, o->user, user, device);
            break;
        case '%':
            *p++ = '%';
            break;
        default:
            break;
        }
    }

    *p = '\0';

    return p - dst;
}


static size_t
bench_base64url(char *dst, const unsigned char *src, size_t len)
{
    char             *p;
    uint32_t          v;
    size_t            i, n;
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz0123456789-_";

    p = dst;

    for (i = 0; i < len; i += 3) {
        n = len - i < 3 ? len - i : 3;
        v = (uint32_t) src[i] << 16;
        v |= n > 1 ? (uint32_t) src[i + 1] << 8 : 0;
        v |= n > 2 ? src[i + 2] : 0;

        *p++ = set[v >> 18];
        *p++ = set[(v >> 12) & 63];

        if (n > 1) {
            *p++ = set[(v >> 6) & 63];
        }

        if (n > 2) {
            *p++ = set[v & 63];
        }
    }

    return p - dst;
}


/* an HS256 token for one user; returns its length, 0 if "size" is too small */

size_t
bench_make_token(const bench_opts_t *o, char *dst, size_t size, uint32_t user)
{
    int            n;
    char           name[256], claims[700];
    size_t         len;
    unsigned       mac_len;
    unsigned char  mac[EVP_MAX_MD_SIZE];

    static const char  head[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";

    bench_expand(o, name, sizeof(name), o->user, user, 0);

    n = snprintf(claims, sizeof(claims),
                 "{\"aud\":\"%s\",\"sub\":\"%s\",\"exp\":%lld}",
                 o->product, name,
                 (long long) time(NULL) + BENCH_TOKEN_LIFETIME);

    if (n >= (int) sizeof(claims) || size < (size_t) n * 2 + 128) {
        return 0;
    }

    len = bench_base64url(dst, (const unsigned char *) head, sizeof(head) - 1);
    dst[len++] = '.';
    len += bench_base64url(dst + len, (unsigned char *) claims, n);

    if (HMAC(EVP_sha256(), o->jwt_key, strlen(o->jwt_key),
             (unsigned char *) dst, len, mac, &mac_len)
        == NULL)
    {
        return 0;
    }

    dst[len++] = '.';
    len += bench_base64url(dst + len, mac, mac_len);
    dst[len] = '\0';

    return len;
}
