/* link: ngx_push_tls.c */
/* libs: -lcrypto */

/*
 * Records of TLS: the example of RFC 8448, and all cipher suites against
 * themselves: whole, cut at every octet, and with every bit turned.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/objects.h>

#include "ngx_push_tls.h"


typedef struct {
    int     nid;
    int     sha384;
    int     tls13;
} suite_t;


static const suite_t  suites[] = {
    { NID_aes_128_gcm, 0, 1 },
    { NID_aes_256_gcm, 1, 1 },
    { NID_chacha20_poly1305, 0, 1 },
    { NID_aes_128_gcm, 0, 0 },
    { NID_aes_256_gcm, 1, 0 },
    { NID_chacha20_poly1305, 0, 0 },
};

#define NSUITES  (sizeof(suites) / sizeof(suites[0]))


static void
hex(uint8_t *out, const char *text)
{
    unsigned  octet;

    for (; *text; text += *text == ' ') {
        assert_int_equal(sscanf(text, "%2x", &octet), 1);
        *out++ = (uint8_t) octet;
        text += 2;
    }
}


/* Both ends of a connection. */

static void
ends(const suite_t *s, ngx_push_tls_t *server, ngx_push_tls_t *client)
{
    int                  i;
    uint8_t              in[48], out[48];
    ngx_push_tls_half_t  half;

    for (i = 0; i < 48; i++) {
        in[i] = (uint8_t) (i * 7 + 1);
        out[i] = (uint8_t) (i * 5 + 3);
    }

    memset(server, 0, sizeof(*server));
    assert_int_equal(ngx_push_tls_suite(server, s->nid,
                                        s->sha384 ? EVP_sha384()
                                                  : EVP_sha256()),
                     NGX_PUSH_TLS_OK);

    if (s->tls13) {
        assert_int_equal(ngx_push_tls_keys13(server, in, out),
                         NGX_PUSH_TLS_OK);
    } else {
        assert_int_equal(ngx_push_tls_keys12(server, in, 48, out, out + 16),
                         NGX_PUSH_TLS_OK);
    }

    *client = *server;
    half = client->in;
    client->in = client->out;
    client->out = half;
}


/* A record on the heap, of exactly its size. */

static uint8_t *
sealed(ngx_push_tls_t *t, uint8_t type, size_t n, size_t *size)
{
    uint8_t  *p;

    p = malloc(n + NGX_PUSH_TLS_OVERHEAD);
    assert_non_null(p);
    memset(p + ngx_push_tls_front(t), 'x', n);

    *size = ngx_push_tls_seal(t, type, p, n);
    assert_true(*size > n && *size <= n + NGX_PUSH_TLS_OVERHEAD);

    return realloc(p, *size);
}


static void
rfc_8448(void **state)
{
    int                     i;
    uint8_t                 in[32], out[32], key[16], iv[12];
    uint8_t                 record[72], wanted[72];
    ngx_push_tls_t          t, client;
    ngx_push_tls_record_t   r;

    hex(in, "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
    hex(out,
        "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");

    memset(&t, 0, sizeof(t));
    assert_int_equal(ngx_push_tls_suite(&t, NID_aes_128_gcm, EVP_sha256()),
                     NGX_PUSH_TLS_OK);
    assert_int_equal(ngx_push_tls_keys13(&t, in, out), NGX_PUSH_TLS_OK);

    hex(key, "17422dda596ed5d9acd890e3c63f5051");
    hex(iv, "5b78923dee08579033e523d9");
    assert_memory_equal(t.in.key, key, 16);
    assert_memory_equal(t.in.iv, iv, 12);

    hex(key, "9f02283b6c9c07efc26bb9f2ac92e356");
    hex(iv, "cf782b88dd83549aadf1e984");
    assert_memory_equal(t.out.key, key, 16);
    assert_memory_equal(t.out.iv, iv, 12);

    hex(wanted,
        "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f"
        "2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae6"
        "3aeebb21694915e4");
    memcpy(record, wanted, 72);

    assert_int_equal(ngx_push_tls_open(&t, record, 72, &r), NGX_PUSH_TLS_OK);
    assert_int_equal(r.type, NGX_PUSH_TLS_DATA);
    assert_int_equal(r.size, 72);
    assert_int_equal(r.len, 50);

    for (i = 0; i < 50; i++) {
        assert_int_equal(r.data[i], i);
    }

    client = t;
    client.out = t.in;
    client.out.seq = 0;

    for (i = 0; i < 50; i++) {
        record[NGX_PUSH_TLS_HEADER + i] = (uint8_t) i;
    }

    assert_int_equal(ngx_push_tls_seal(&client, NGX_PUSH_TLS_DATA, record,
                                       50), 72);
    assert_memory_equal(record, wanted, 72);
}


static void
both_ways(void **state)
{
    int                     update;
    size_t                  i, n, size, cut;
    uint8_t                *p;
    ngx_push_tls_t          server, client;
    ngx_push_tls_record_t   r;

    static const size_t  sizes[] = { 1, 2, 100, 16384, 5 };

    for (i = 0; i < NSUITES; i++) {
        ends(&suites[i], &server, &client);

        for (n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
            p = sealed(&client, NGX_PUSH_TLS_DATA, sizes[n], &size);

            for (cut = 0; cut < size; cut += size > 200 ? 99 : 1) {
                assert_int_equal(ngx_push_tls_open(&server, p, cut, &r),
                                 NGX_PUSH_TLS_AGAIN);
            }

            assert_int_equal(ngx_push_tls_open(&server, p, size, &r),
                             NGX_PUSH_TLS_OK);
            assert_int_equal(r.type, NGX_PUSH_TLS_DATA);
            assert_int_equal(r.len, sizes[n]);
            assert_int_equal(r.size, size);
            assert_int_equal(r.data[0], 'x');
            assert_int_equal(r.data[r.len - 1], 'x');
            free(p);
        }

        /* and an alert the other way, after an update of the keys */

        for (update = 0; update < suites[i].tls13 * 2; update++) {
            assert_int_equal(ngx_push_tls_update(&server, &server.out),
                             NGX_PUSH_TLS_OK);
            assert_int_equal(ngx_push_tls_update(&client, &client.in),
                             NGX_PUSH_TLS_OK);
        }

        p = sealed(&server, NGX_PUSH_TLS_ALERT, 2, &size);
        assert_int_equal(ngx_push_tls_open(&client, p, size, &r),
                         NGX_PUSH_TLS_OK);
        assert_int_equal(r.type, NGX_PUSH_TLS_ALERT);
        assert_int_equal(r.len, 2);

        /* not twice */

        free(p);
        p = sealed(&server, NGX_PUSH_TLS_DATA, 9, &size);
        client.in.seq++;
        assert_int_equal(ngx_push_tls_open(&client, p, size, &r),
                         NGX_PUSH_TLS_ERROR);
        assert_int_equal(r.alert, NGX_PUSH_TLS_BAD_RECORD_MAC);
        free(p);
    }
}


static void
every_bit(void **state)
{
    int                     rc;
    size_t                  i, bit, size;
    uint8_t                *p, *copy;
    ngx_push_tls_t          server, client, before;
    ngx_push_tls_record_t   r;

    for (i = 0; i < NSUITES; i++) {
        ends(&suites[i], &server, &client);
        p = sealed(&client, NGX_PUSH_TLS_DATA, 20, &size);
        copy = malloc(size);
        before = server;

        for (bit = 0; bit < size * 8; bit++) {
            memcpy(copy, p, size);
            copy[bit / 8] ^= (uint8_t) (1 << bit % 8);
            server = before;

            rc = ngx_push_tls_open(&server, copy, size, &r);

            /* a greater length is waited for */

            if (bit / 8 == 3 || bit / 8 == 4) {
                assert_int_not_equal(rc, NGX_PUSH_TLS_OK);
            } else {
                assert_int_equal(rc, NGX_PUSH_TLS_ERROR);
            }
        }

        free(copy);
        free(p);
    }
}


static void
limits(void **state)
{
    size_t                  i, size;
    uint8_t                *p, header[5];
    ngx_push_tls_t          server, client;
    ngx_push_tls_record_t   r;

    for (i = 0; i < NSUITES; i++) {
        ends(&suites[i], &server, &client);

        memcpy(header, "\x17\3\3\x48\1", 5);
        assert_int_equal(ngx_push_tls_open(&server, header, 5, &r),
                         NGX_PUSH_TLS_ERROR);
        assert_int_equal(r.alert, NGX_PUSH_TLS_RECORD_OVERFLOW);

        memcpy(header, "\x17\3\3\0\xf", 5);
        assert_int_equal(ngx_push_tls_open(&server, header, 5, &r),
                         NGX_PUSH_TLS_ERROR);
        assert_int_equal(r.alert, NGX_PUSH_TLS_BAD_RECORD_MAC);

        memcpy(header, "\x14\3\3\0\1", 5);
        assert_int_equal(ngx_push_tls_open(&server, header, 5, &r),
                         NGX_PUSH_TLS_ERROR);
        assert_int_equal(r.alert, NGX_PUSH_TLS_UNEXPECTED_MESSAGE);

        /* no data is a record, in TLS 1.3 with its type as all there is */

        p = sealed(&client, NGX_PUSH_TLS_DATA, 0, &size);
        assert_int_equal(ngx_push_tls_open(&server, p, size, &r),
                         NGX_PUSH_TLS_OK);
        assert_int_equal(r.len, 0);
        free(p);

        if (suites[i].tls13) {

            /* nothing but padding */

            p = sealed(&client, 0, 0, &size);
            assert_int_equal(ngx_push_tls_open(&server, p, size, &r),
                             NGX_PUSH_TLS_ERROR);
            assert_int_equal(r.alert, NGX_PUSH_TLS_UNEXPECTED_MESSAGE);
            free(p);
        }
    }
}


/* A key is not used for ever. */

static void
key_used_up(void **state)
{
    size_t                  i, size;
    uint8_t                *p, record[1 + NGX_PUSH_TLS_OVERHEAD];
    ngx_push_tls_t          server, client;
    ngx_push_tls_record_t   r;

    for (i = 0; i < NSUITES; i++) {
        ends(&suites[i], &server, &client);

        server.out.seq = NGX_PUSH_TLS_SEQ_UPDATE - 1;
        assert_false(ngx_push_tls_due(&server));
        free(sealed(&server, NGX_PUSH_TLS_DATA, 1, &size));
        assert_int_equal(ngx_push_tls_due(&server), suites[i].tls13);

        if (suites[i].tls13) {
            assert_int_equal(ngx_push_tls_update(&server, &server.out),
                             NGX_PUSH_TLS_OK);
            assert_false(ngx_push_tls_due(&server));
        }

        /* the last record, and none behind it */

        client.out.seq = NGX_PUSH_TLS_SEQ_MAX - 1;
        server.in.seq = client.out.seq;

        p = sealed(&client, NGX_PUSH_TLS_DATA, 1, &size);
        assert_int_equal(ngx_push_tls_open(&server, p, size, &r),
                         NGX_PUSH_TLS_OK);
        free(p);

        assert_int_equal(ngx_push_tls_seal(&client, NGX_PUSH_TLS_DATA,
                                           record, 1), 0);

        client.out.seq--;
        p = sealed(&client, NGX_PUSH_TLS_DATA, 1, &size);
        assert_int_equal(ngx_push_tls_open(&server, p, size, &r),
                         NGX_PUSH_TLS_ERROR);
        assert_int_equal(r.alert, NGX_PUSH_TLS_INTERNAL_ERROR);
        free(p);
    }
}


static void
unknown(void **state)
{
    ngx_push_tls_t  t;

    memset(&t, 0, sizeof(t));
    assert_int_equal(ngx_push_tls_suite(&t, NID_aes_128_cbc, EVP_sha256()),
                     NGX_PUSH_TLS_ERROR);
    assert_int_equal(ngx_push_tls_suite(&t, NID_aes_128_ccm, EVP_sha256()),
                     NGX_PUSH_TLS_ERROR);
    assert_int_equal(ngx_push_tls_suite(&t, NID_aes_128_gcm, EVP_sha1()),
                     NGX_PUSH_TLS_ERROR);
    assert_int_equal(ngx_push_tls_suite(&t, NID_aes_128_gcm, NULL),
                     NGX_PUSH_TLS_ERROR);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rfc_8448),
        cmocka_unit_test(both_ways),
        cmocka_unit_test(every_bit),
        cmocka_unit_test(limits),
        cmocka_unit_test(key_used_up),
        cmocka_unit_test(unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
