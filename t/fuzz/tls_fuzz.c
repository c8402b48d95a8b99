/* link: ngx_push_tls.c */
/* libs: -lcrypto */

/*
 * libFuzzer entry for the record layer of TLS.  The first octet of the input
 * chooses the suite and what is done: the rest is opened as it came, or it
 * says which records a client seals, how they are cut and which octet of them
 * is changed on the way.  A record that was changed must not open, one that
 * was not must come out as it went in, and what was opened must lie in the
 * record.
 */


#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/objects.h>

#include "ngx_push_tls.h"


#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            abort();                                                          \
        }                                                                     \
    } while (0)

#define TURNED  0x80


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
ends(unsigned suite, ngx_push_tls_t *server, ngx_push_tls_t *client)
{
    uint8_t              in[48], out[48];
    ngx_push_tls_half_t  half;

    static const int  nids[] = {
        NID_aes_128_gcm, NID_aes_256_gcm, NID_chacha20_poly1305
    };

    memset(in, 1, sizeof(in));
    memset(out, 2, sizeof(out));
    memset(server, 0, sizeof(*server));

    CHECK(ngx_push_tls_suite(server, nids[suite % 3],
                             suite % 3 == 1 ? EVP_sha384() : EVP_sha256())
          == NGX_PUSH_TLS_OK);

    CHECK((suite < 3 ? ngx_push_tls_keys13(server, in, out)
                     : ngx_push_tls_keys12(server, in, 48, in, out))
          == NGX_PUSH_TLS_OK);

    *client = *server;
    half = client->in;
    client->in = client->out;
    client->out = half;
}


/* On the heap, of exactly its size, so that ASan sees a step outside. */

static int
opened(ngx_push_tls_t *t, const uint8_t *p, size_t n, uint8_t **copy,
    ngx_push_tls_record_t *r)
{
    int  rc;

    *copy = malloc(n ? n : 1);
    CHECK(*copy != NULL);

    if (n) {
        memcpy(*copy, p, n);
    }

    rc = ngx_push_tls_open(t, *copy, n, r);

    if (rc == NGX_PUSH_TLS_OK) {
        CHECK(r->size <= n && r->len <= NGX_PUSH_TLS_PLAIN_MAX);
        CHECK(r->data >= *copy && r->data + r->len <= *copy + r->size);
    }

    return rc;
}


/* What an attacker without keys sends: nothing of it may open. */

static void
as_it_came(ngx_push_tls_t *server, const uint8_t *data, size_t size)
{
    uint8_t                *copy;
    ngx_push_tls_record_t   r;

    CHECK(opened(server, data, size, &copy, &r) != NGX_PUSH_TLS_OK);
    CHECK(server->in.seq == 0);
    free(copy);
}


/* Six octets of input for each record. */

static void
as_sealed(ngx_push_tls_t *server, ngx_push_tls_t *client, const uint8_t *data,
    size_t size)
{
    int                     rc, turned;
    size_t                  n, len, at;
    uint8_t                *p, *copy, type;
    ngx_push_tls_record_t   r;

    static uint8_t  record[NGX_PUSH_TLS_PLAIN_MAX + NGX_PUSH_TLS_OVERHEAD];

    for (; size >= 6; data += 6, size -= 6) {
        type = (uint8_t) (NGX_PUSH_TLS_ALERT + data[0] % 3);
        turned = data[0] & TURNED;
        n = (data[1] << 8 | data[2]) % (NGX_PUSH_TLS_PLAIN_MAX + 1);
        p = record + ngx_push_tls_front(client);
        memset(p, data[5], n);

        len = ngx_push_tls_seal(client, type, record, n);
        CHECK(len > n && len <= n + NGX_PUSH_TLS_OVERHEAD);

        at = (size_t) (data[3] << 8 | data[4]) % len;

        CHECK(opened(server, record, at, &copy, &r) == NGX_PUSH_TLS_AGAIN);
        free(copy);

        record[at] ^= (uint8_t) (turned ? data[5] | 1 : 0);
        rc = opened(server, record, len, &copy, &r);

        if (turned) {
            CHECK(rc != NGX_PUSH_TLS_OK);
            free(copy);
            return;
        }

        CHECK(rc == NGX_PUSH_TLS_OK);
        CHECK(r.type == type && r.len == n && r.size == len);
        CHECK(n == 0 || (r.data[0] == data[5] && r.data[n - 1] == data[5]));
        free(copy);

        if (client->tls13 && data[0] & 0x40) {
            CHECK(ngx_push_tls_update(client, &client->out)
                  == NGX_PUSH_TLS_OK);
            CHECK(ngx_push_tls_update(server, &server->in)
                  == NGX_PUSH_TLS_OK);
        }
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_push_tls_t  server, client;

    if (size == 0) {
        return 0;
    }

    ends(data[0] % 6, &server, &client);

    if (data[0] & TURNED) {
        as_it_came(&server, data + 1, size - 1);

    } else {
        as_sealed(&server, &client, data + 1, size - 1);
    }

    return 0;
}
