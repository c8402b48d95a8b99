/* link:ngx_push_token.c ngx_push_name.c ngx_push_key.c ngx_push_core_module.c*/
/* libs: -ljwt -ljansson -lcrypto */

/*
 * Copyright (C) the ngx_push authors
 */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ctype.h>

#include <ngx_config.h>
#include <ngx_core.h>
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "ngx_push_token.h"


#define NOW     1700000000
#define SECRET  "0123456789abcdef0123456789abcdef"
#define OTHER   "fedcba9876543210fedcba9876543210"

#define HS256   "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define RS256   "{\"alg\":\"RS256\",\"typ\":\"JWT\"}"
#define ES256   "{\"alg\":\"ES256\",\"typ\":\"JWT\"}"


/* What the sources under test take from nginx, as far as it is called. */

static ngx_time_t    now = { NOW, 0, 0 };
volatile ngx_time_t *ngx_cached_time = &now;


ngx_int_t
ngx_memn2cmp(u_char *s1, u_char *s2, size_t n1, size_t n2)
{
    int  rc;

    rc = memcmp(s1, s2, n1 < n2 ? n1 : n2);

    return rc ? rc : (ngx_int_t) n1 - (ngx_int_t) n2;
}


void ngx_cdecl
ngx_conf_log_error(ngx_uint_t level, ngx_conf_t *cf, ngx_err_t err,
    const char *fmt, ...)
{
    fail_msg("unexpected: %s", fmt);
}


/* Strict, and through OpenSSL: padded, 4 characters at a time. */

ngx_int_t
ngx_decode_base64url(ngx_str_t *dst, ngx_str_t *src)
{
    int      n;
    char     c, in[2048];
    size_t   i, padded;
    u_char  *out;

    padded = (src->len + 3) & ~(size_t) 3;
    assert_true(padded <= sizeof(in));

    if (src->len % 4 == 1) {
        return NGX_ERROR;
    }

    for (i = 0; i < padded; i++) {
        c = i < src->len ? (char) src->data[i] : '=';

        if (i < src->len && !isalnum((u_char) c) && c != '-' && c != '_') {
            return NGX_ERROR;
        }

        in[i] = c == '-' ? '+' : c == '_' ? '/' : c;
    }

    out = malloc(padded);
    n = EVP_DecodeBlock(out, (u_char *) in, (int) padded);

    if (n >= 0) {
        dst->len = n - (padded - src->len);
        memcpy(dst->data, out, dst->len);
    }

    free(out);

    return n < 0 ? NGX_ERROR : NGX_OK;
}


/* Named in command tables, or on paths of configuration, and never called. */

#define UNUSED(declaration)                                                   \
    declaration;                                                              \
    declaration { abort(); }

UNUSED(char *ngx_conf_set_num_slot(ngx_conf_t *cf, ngx_command_t *c, void *d))
UNUSED(char *ngx_conf_set_sec_slot(ngx_conf_t *cf, ngx_command_t *c, void *d))
UNUSED(char *ngx_conf_set_msec_slot(ngx_conf_t *cf, ngx_command_t *c, void *d))
UNUSED(char *ngx_push_product_block(ngx_conf_t *cf, ngx_command_t *c, void *d))
UNUSED(ngx_int_t ngx_conf_full_name(ngx_cycle_t *c, ngx_str_t *n,
       ngx_uint_t prefix))
UNUSED(ssize_t ngx_read_file(ngx_file_t *f, u_char *b, size_t n, off_t o))
UNUSED(off_t ngx_parse_offset(ngx_str_t *line))
UNUSED(void *ngx_array_push(ngx_array_t *a))
UNUSED(ngx_pool_cleanup_t *ngx_pool_cleanup_add(ngx_pool_t *p, size_t n))
UNUSED(void *ngx_pcalloc(ngx_pool_t *p, size_t n))
UNUSED(void *ngx_pnalloc(ngx_pool_t *p, size_t n))
UNUSED(void *ngx_palloc(ngx_pool_t *p, size_t n))


/* --- products a, b, ... in one configuration */

#define NPRODUCTS  12

static ngx_push_conf_t        pcf;
static ngx_push_product_t     products[NPRODUCTS];
static ngx_push_product_t    *list[NPRODUCTS];
static ngx_push_token_key_t   keys[NPRODUCTS][3];
static u_char                 names[NPRODUCTS][2];

static EVP_PKEY              *rsa, *ec;
static ngx_str_t              rsa_pem, ec_pem;

static ngx_push_identity_t    id;
static const char            *why;


static void
set_key(ngx_uint_t product, ngx_uint_t alg, const char *key, size_t len,
    EVP_PKEY *pkey)
{
    ngx_array_t           *a;
    ngx_push_token_key_t  *k;

    a = &products[product].token_keys;
    k = &keys[product][a->nelts++];

    k->alg = alg;
    k->key.data = (u_char *) key;
    k->key.len = len;
    k->pkey = pkey;
}


static ngx_str_t
public_pem(EVP_PKEY *pkey)
{
    BIO        *bio;
    char       *data;
    ngx_str_t   pem;

    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);

    pem.len = BIO_get_mem_data(bio, &data);
    pem.data = malloc(pem.len);
    memcpy(pem.data, data, pem.len);

    BIO_free(bio);

    return pem;
}


/* a: SECRET; b: OTHER, then SECRET; c: RSA; d: EC; e: none; the rest: SECRET */

static int
setup(void **state)
{
    ngx_uint_t  i;

    rsa = EVP_RSA_gen(2048);
    ec = EVP_EC_gen("P-256");
    assert_non_null(rsa);
    assert_non_null(ec);

    rsa_pem = public_pem(rsa);
    ec_pem = public_pem(ec);

    for (i = 0; i < NPRODUCTS; i++) {
        names[i][0] = 'a' + i;
        products[i].name.data = names[i];
        products[i].name.len = 1;
        products[i].id = i;
        products[i].token_keys.elts = keys[i];
        list[i] = &products[i];
        pcf.by_id[i] = list[i];
    }

    pcf.products.elts = list;
    pcf.products.nelts = NPRODUCTS;

    set_key(0, JWT_ALG_HS256, SECRET, 32, NULL);
    set_key(1, JWT_ALG_HS256, OTHER, 32, NULL);
    set_key(1, JWT_ALG_HS256, SECRET, 32, NULL);
    set_key(2, JWT_ALG_RS256, (char *) rsa_pem.data, rsa_pem.len,
            rsa);
    set_key(3, JWT_ALG_ES256, (char *) ec_pem.data, ec_pem.len, ec);

    for (i = 5; i < NPRODUCTS; i++) {
        set_key(i, JWT_ALG_HS256, SECRET, 32, NULL);
    }

    products[0].anonymous = 1;

    return 0;
}


static int
teardown(void **state)
{
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    free(rsa_pem.data);
    free(ec_pem.data);

    return 0;
}


/* --- tokens made by hand, so that they can be wrong in any way */

static size_t
base64url(char *out, const unsigned char *in, size_t len)
{
    int     n, i;
    size_t  kept;

    n = EVP_EncodeBlock((unsigned char *) out, in, (int) len);
    kept = 0;

    for (i = 0; i < n && out[i] != '='; i++) {
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
        kept++;
    }

    out[kept] = '\0';

    return kept;
}


/* R || S instead of DER, as RFC 7518 wants it */

static size_t
raw_ecdsa(unsigned char *sig, size_t len)
{
    ECDSA_SIG            *s;
    const unsigned char  *p;

    p = sig;
    s = d2i_ECDSA_SIG(NULL, &p, (long) len);
    assert_non_null(s);

    BN_bn2binpad(ECDSA_SIG_get0_r(s), sig, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(s), sig + 32, 32);
    ECDSA_SIG_free(s);

    return 64;
}


static size_t
sign(unsigned char *sig, const char *text, size_t len, EVP_PKEY *pkey,
    const char *secret, size_t secret_len)
{
    size_t         n;
    unsigned int   hn;
    EVP_MD_CTX    *ctx;

    if (pkey == NULL) {
        HMAC(EVP_sha256(), secret, (int) secret_len,
             (const unsigned char *) text, len, sig, &hn);
        return hn;
    }

    n = 1024;
    ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey),
                     1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &n, (const u_char *) text, len),
                     1);
    EVP_MD_CTX_free(ctx);

    return EVP_PKEY_base_id(pkey) == EVP_PKEY_EC ? raw_ecdsa(sig, n) : n;
}


/* In memory of exactly its length; freed by the caller. */

static ngx_str_t
make(const char *header, const char *claims, EVP_PKEY *pkey,
    const char *secret, size_t secret_len)
{
    char           *text;
    size_t          n;
    ngx_str_t       token;
    unsigned char   sig[1024];

    text = malloc(2 * (strlen(header) + strlen(claims)) + 2048);

    n = base64url(text, (const u_char *) header, strlen(header));
    text[n++] = '.';
    n += base64url(text + n, (const u_char *) claims, strlen(claims));

    token.len = sign(sig, text, n, pkey, secret, secret_len);
    text[n++] = '.';
    n += base64url(text + n, sig, token.len);

    token.data = malloc(n);
    token.len = n;
    memcpy(token.data, text, n);
    free(text);

    return token;
}


static ngx_int_t
verify(ngx_str_t *token)
{
    ngx_int_t  rc;

    why = NULL;
    memset(&id, 0xa5, sizeof(id));

    rc = ngx_push_token_verify(&pcf, token, &id, &why);

    if (rc == NGX_OK) {
        assert_in_range(id.nproducts, 1, NGX_PUSH_TOKEN_PRODUCTS);

    } else {
        assert_non_null(why);
        assert_int_equal(id.nproducts, 0);
    }

    /* nginx takes what is left in this queue for a failure of its own */
    assert_int_equal(ERR_peek_error(), 0);

    return rc;
}


static ngx_int_t
verify_hs256(const char *claims)
{
    ngx_int_t  rc;
    ngx_str_t  token;

    token = make(HS256, claims, NULL, SECRET, 32);
    rc = verify(&token);
    free(token.data);

    return rc;
}


static ngx_int_t
verify_pkey(const char *header, const char *claims, EVP_PKEY *pkey)
{
    ngx_int_t  rc;
    ngx_str_t  token;

    token = make(header, claims, pkey, NULL, 0);
    rc = verify(&token);
    free(token.data);

    return rc;
}


static ngx_int_t
verify_header(const char *header)
{
    ngx_int_t  rc;
    ngx_str_t  token;

    token = make(header, "{\"aud\":\"a\",\"sub\":\"u\"}", NULL, SECRET, 32);
    rc = verify(&token);
    free(token.data);

    return rc;
}


static void
test_algorithms(void **state)
{
    assert_int_equal(verify_hs256("{\"aud\":\"a\",\"sub\":\"alice\"}"), NGX_OK);
    assert_int_equal(id.nproducts, 1);
    assert_ptr_equal(id.products[0], &products[0]);
    assert_int_equal(id.user.len, 5);
    assert_ptr_equal(id.user.data, id.buf);
    assert_memory_equal(id.user.data, "alice", 5);
    assert_int_equal(id.exp, 0);

    assert_int_equal(verify_pkey(RS256, "{\"aud\":\"c\",\"sub\":\"bob\"}",
                                 rsa), NGX_OK);
    assert_ptr_equal(id.products[0], &products[2]);

    assert_int_equal(verify_pkey(ES256, "{\"aud\":\"d\",\"sub\":\"bob\"}", ec),
                     NGX_OK);
    assert_ptr_equal(id.products[0], &products[3]);
}


static void
test_headers(void **state)
{
    assert_int_equal(verify_header(HS256), NGX_OK);
    assert_int_equal(verify_header("{\"alg\":\"HS256\"}"), NGX_OK);

    assert_int_equal(verify_header("{}"), NGX_PUSH_DENIED);
    assert_int_equal(verify_header("{\"alg\":7}"), NGX_PUSH_DENIED);
    assert_int_equal(verify_header("{\"alg\":\"none\"}"), NGX_PUSH_DENIED);
    assert_int_equal(verify_header("{\"alg\":\"HS384\"}"), NGX_PUSH_DENIED);
    assert_int_equal(verify_header("{\"alg\":\"RS256\"}"), NGX_PUSH_DENIED);
    assert_int_equal(verify_header("{\"alg\":\"ES256\"}"), NGX_PUSH_DENIED);
    assert_int_equal(verify_header("[]"), NGX_PUSH_DENIED);
    assert_int_equal(verify_header("{\"alg\":\"HS256\",\"crit\":[\"b64\"],"
                                   "\"b64\":true}"), NGX_PUSH_DENIED);
}


static void
test_none(void **state)
{
    ngx_str_t  token;

    token = make("{\"alg\":\"none\"}", "{\"aud\":\"a\",\"sub\":\"u\"}",
                 NULL, SECRET, 32);

    while (token.data[token.len - 1] != '.') {
        token.len--;
    }

    assert_int_equal(verify(&token), NGX_PUSH_DENIED);

    token.len--;
    assert_int_equal(verify(&token), NGX_PUSH_DENIED);

    free(token.data);
}


/* The public keys are public: they must be no HS256 secrets. */

static void
test_confusion(void **state)
{
    ngx_str_t  token;

    token = make(HS256, "{\"aud\":\"c\",\"sub\":\"u\"}", NULL,
                 (char *) rsa_pem.data, rsa_pem.len);
    assert_int_equal(verify(&token), NGX_PUSH_DENIED);
    free(token.data);

    token = make(HS256, "{\"aud\":\"d\",\"sub\":\"u\"}", NULL,
                 (char *) ec_pem.data, ec_pem.len);
    assert_int_equal(verify(&token), NGX_PUSH_DENIED);
    free(token.data);

    assert_int_equal(verify_pkey(RS256, "{\"aud\":\"d\",\"sub\":\"u\"}", rsa),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_pkey(ES256, "{\"aud\":\"c\",\"sub\":\"u\"}", ec),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_pkey(RS256, "{\"aud\":\"c\",\"sub\":\"u\"}", ec),
                     NGX_PUSH_DENIED);
}


static void
test_audience(void **state)
{
    /* b has SECRET as its second key */
    assert_int_equal(verify_hs256("{\"aud\":\"b\",\"sub\":\"u\"}"), NGX_OK);

    /* in the token's order, each once, strangers passed over */
    assert_int_equal(verify_hs256("{\"aud\":[\"https://x\",\"b\",\"a\",\"b\"],"
                                  "\"sub\":\"u\"}"), NGX_OK);
    assert_int_equal(id.nproducts, 2);
    assert_ptr_equal(id.products[0], &products[1]);
    assert_ptr_equal(id.products[1], &products[0]);

    /* only where its own key says so */
    assert_int_equal(verify_hs256("{\"aud\":[\"c\",\"e\",\"a\",\"d\"],"
                                  "\"sub\":\"u\"}"), NGX_OK);
    assert_int_equal(id.nproducts, 1);
    assert_ptr_equal(id.products[0], &products[0]);

    assert_int_equal(verify_hs256("{\"aud\":\"c\",\"sub\":\"u\"}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":\"e\",\"sub\":\"u\"}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":\"A\",\"sub\":\"u\"}"),
                     NGX_PUSH_DENIED);
    assert_string_equal(why, "aud names no product of this server");

    assert_int_equal(verify_hs256("{\"sub\":\"u\"}"), NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":[],\"sub\":\"u\"}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":1,\"sub\":\"u\"}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":[\"a\",1],\"sub\":\"u\"}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":{\"a\":1},\"sub\":\"u\"}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":\"\",\"sub\":\"u\"}"),
                     NGX_PUSH_DENIED);
}


/* c, d and e are tried in vain and count; what comes after eight does not */

static void
test_many_products(void **state)
{
    assert_int_equal(verify_hs256("{\"aud\":[\"a\",\"b\",\"f\",\"g\",\"h\","
                                  "\"i\",\"j\",\"k\",\"l\"],\"sub\":\"u\"}"),
                     NGX_OK);
    assert_int_equal(id.nproducts, 8);
    assert_ptr_equal(id.products[7], &products[10]);

    assert_int_equal(verify_hs256("{\"aud\":[\"c\",\"d\",\"e\",\"f\",\"g\","
                                  "\"h\",\"i\",\"j\",\"k\"],\"sub\":\"u\"}"),
                     NGX_OK);
    assert_int_equal(id.nproducts, 5);
}


static void
test_expiry(void **state)
{
    struct {
        const char  *claims;
        ngx_int_t    rc;
        time_t       exp;
    } *c, cases[] = {
        { "\"exp\":1700000001", NGX_OK, NOW + 1 },
        { "\"exp\":1700000000", NGX_PUSH_EXPIRED, 0 },
        { "\"exp\":1699999999", NGX_PUSH_EXPIRED, 0 },
        { "\"exp\":0", NGX_PUSH_EXPIRED, 0 },
        { "\"exp\":-1", NGX_PUSH_EXPIRED, 0 },
        { "\"exp\":-1e300", NGX_PUSH_EXPIRED, 0 },
        { "\"exp\":1700000001.9", NGX_OK, NOW + 1 },
        { "\"exp\":1700000000.9", NGX_PUSH_EXPIRED, 0 },
        { "\"exp\":1e300", NGX_OK, 9007199254740991LL },
        { "\"exp\":9223372036854775807", NGX_OK, 9007199254740991LL },
        { "\"exp\":\"1800000000\"", NGX_PUSH_DENIED, 0 },
        { "\"exp\":null", NGX_PUSH_DENIED, 0 },
        { "\"exp\":true", NGX_PUSH_DENIED, 0 },
        { "\"exp\":[1800000000]", NGX_PUSH_DENIED, 0 },
        { "\"nbf\":1700000000", NGX_OK, 0 },
        { "\"nbf\":1700000001", NGX_PUSH_DENIED, 0 },
        { "\"nbf\":1e300", NGX_PUSH_DENIED, 0 },
        { "\"nbf\":\"0\"", NGX_PUSH_DENIED, 0 },
        { "\"nbf\":-5,\"exp\":1700000099", NGX_OK, NOW + 99 },
        { "\"nbf\":1700000001,\"exp\":1700000099", NGX_PUSH_DENIED, 0 },
        { NULL, 0, 0 }
    };

    char  claims[256];

    for (c = cases; c->claims; c++) {
        snprintf(claims, sizeof(claims), "{\"aud\":\"a\",\"sub\":\"u\",%s}",
                 c->claims);

        if (verify_hs256(claims) != c->rc) {
            fail_msg("%s: %s", c->claims, why ? why : "accepted");
        }

        if (c->rc == NGX_OK) {
            assert_int_equal(id.exp, c->exp);
        }
    }
}


/* For each algorithm: no signature but the whole right one will do. */

static void
test_signature_lengths(void **state)
{
    size_t       i, full, dot;
    ngx_str_t    token[3];
    ngx_uint_t   k;

    token[0] = make(HS256, "{\"aud\":\"a\",\"sub\":\"u\"}", NULL, SECRET, 32);
    token[1] = make(RS256, "{\"aud\":\"c\",\"sub\":\"u\"}", rsa, NULL, 0);
    token[2] = make(ES256, "{\"aud\":\"d\",\"sub\":\"u\"}", ec, NULL, 0);

    for (k = 0; k < 3; k++) {
        full = token[k].len;
        dot = full;

        while (token[k].data[dot - 1] != '.') {
            dot--;
        }

        assert_int_equal(verify(&token[k]), NGX_OK);

        for (i = dot; i < full; i++) {
            token[k].len = i;
            assert_int_equal(verify(&token[k]), NGX_PUSH_DENIED);
        }

        token[k].len = full;
        memset(token[k].data + dot, 'A', full - dot);
        assert_int_equal(verify(&token[k]), NGX_PUSH_DENIED);

        memset(token[k].data + dot, '_', full - dot);
        assert_int_equal(verify(&token[k]), NGX_PUSH_DENIED);

        token[k].data = realloc(token[k].data, 8192);
        memset(token[k].data + dot, 'A', 8192 - dot);

        for (i = dot + 1340; i < dot + 1400; i++) {
            token[k].len = i;
            assert_int_equal(verify(&token[k]), NGX_PUSH_DENIED);
        }

        token[k].len = 8192;
        assert_int_equal(verify(&token[k]), NGX_PUSH_DENIED);

        free(token[k].data);
    }
}


/* The longest signature there is; of many primes, or it would take long. */

static void
test_large_rsa(void **state)
{
    EVP_PKEY      *big;
    EVP_PKEY_CTX  *ctx;

    big = NULL;
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 8192), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_primes(ctx, 5), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &big), 1);
    EVP_PKEY_CTX_free(ctx);

    keys[2][0].pkey = big;
    assert_int_equal(verify_pkey(RS256, "{\"aud\":\"c\",\"sub\":\"u\"}", big),
                     NGX_OK);
    assert_int_equal(verify_pkey(RS256, "{\"aud\":\"c\",\"sub\":\"u\"}", rsa),
                     NGX_PUSH_DENIED);
    keys[2][0].pkey = rsa;

    EVP_PKEY_free(big);
}


/* Nobody learns from a forged token whether it would be in time. */

static void
test_forged_and_expired(void **state)
{
    ngx_str_t  token;

    token = make(HS256, "{\"aud\":\"a\",\"sub\":\"u\",\"exp\":1}", NULL,
                 OTHER, 32);
    assert_int_equal(verify(&token), NGX_PUSH_DENIED);
    free(token.data);
}


static void
test_clock_goes_on(void **state)
{
    ngx_str_t  token;

    token = make(HS256, "{\"aud\":\"a\",\"sub\":\"u\",\"exp\":1700000010}",
                 NULL, SECRET, 32);

    assert_int_equal(verify(&token), NGX_OK);

    now.sec = NOW + 9;
    assert_int_equal(verify(&token), NGX_OK);

    now.sec = NOW + 10;
    assert_int_equal(verify(&token), NGX_PUSH_EXPIRED);
    assert_string_equal(why, "token is expired");

    now.sec = NOW;
    free(token.data);
}


static void
test_user(void **state)
{
    char  claims[512], name[NGX_PUSH_NAME_MAX + 2];

    assert_int_equal(verify_hs256("{\"aud\":\"a\"}"), NGX_PUSH_DENIED);
    assert_string_equal(why, "sub is not a valid name");
    assert_int_equal(verify_hs256("{\"aud\":\"a\",\"sub\":7}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":\"a\",\"sub\":\"\"}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":\"a\",\"sub\":\"x\\ny\"}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":\"a\",\"sub\":\"x\\u0000y\"}"),
                     NGX_PUSH_DENIED);
    assert_int_equal(verify_hs256("{\"aud\":\"a\",\"sub\":\"x\\u0085\"}"),
                     NGX_PUSH_DENIED);

    assert_int_equal(verify_hs256("{\"aud\":\"a\",\"sub\":\"\\u00fc/1\"}"),
                     NGX_OK);
    assert_int_equal(id.user.len, 4);
    assert_memory_equal(id.user.data, "\xc3\xbc/1", 4);

    memset(name, 'n', sizeof(name));
    name[NGX_PUSH_NAME_MAX] = '\0';
    snprintf(claims, sizeof(claims), "{\"aud\":\"a\",\"sub\":\"%s\"}", name);
    assert_int_equal(verify_hs256(claims), NGX_OK);
    assert_int_equal(id.user.len, NGX_PUSH_NAME_MAX);

    name[NGX_PUSH_NAME_MAX] = 'n';
    name[NGX_PUSH_NAME_MAX + 1] = '\0';
    snprintf(claims, sizeof(claims), "{\"aud\":\"a\",\"sub\":\"%s\"}", name);
    assert_int_equal(verify_hs256(claims), NGX_PUSH_DENIED);
}


/* A token of exactly the largest length, and one of a byte more. */

static void
test_length(void **state)
{
    char       *claims;
    size_t      pad, seen;
    ngx_int_t   rc;
    ngx_str_t   token;

    claims = malloc(9000);
    seen = 0;

    for (pad = 5900; pad < 6200; pad++) {
        snprintf(claims, 9000, "{\"aud\":\"a\",\"sub\":\"u\",\"x\":\"%0*d\"}",
                 (int) pad, 0);

        token = make(HS256, claims, NULL, SECRET, 32);
        rc = verify(&token);

        if (token.len > 8192) {
            assert_int_equal(rc, NGX_PUSH_DENIED);
            assert_string_equal(why, "token too long");

        } else {
            assert_int_equal(rc, NGX_OK);
        }

        if (token.len >= 8191 && token.len <= 8194) {
            seen |= (token.len > 8192) ? 2 : 1;
        }

        free(token.data);
    }

    assert_int_equal(seen, 3);
    free(claims);
}


static void
test_cut_at_every_byte(void **state)
{
    size_t     full;
    ngx_str_t  token;

    token = make(HS256, "{\"aud\":\"a\",\"sub\":\"u\"}", NULL, SECRET, 32);
    full = token.len;

    for (token.len = 0; token.len < full; token.len++) {
        assert_int_equal(verify(&token), NGX_PUSH_DENIED);
    }

    assert_int_equal(verify(&token), NGX_OK);
    free(token.data);
}


static void
test_changed_at_every_byte(void **state)
{
    u_char     was;
    size_t     i;
    ngx_str_t  token;

    token = make(HS256, "{\"aud\":\"a\",\"sub\":\"u\"}", NULL, SECRET, 32);

    /* the last character has two bits that mean nothing */

    for (i = 0; i < token.len - 1; i++) {
        was = token.data[i];

        token.data[i] = (was == 'A') ? 'B' : 'A';
        assert_int_equal(verify(&token), NGX_PUSH_DENIED);

        token.data[i] = '\0';
        assert_int_equal(verify(&token), NGX_PUSH_DENIED);

        token.data[i] = was;
    }

    free(token.data);
}


static void
test_appended(void **state)
{
    ngx_str_t  token, more;

    token = make(HS256, "{\"aud\":\"a\",\"sub\":\"u\"}", NULL, SECRET, 32);

    more.len = token.len + 2;
    more.data = malloc(more.len);
    memcpy(more.data, token.data, token.len);

    memcpy(more.data + token.len, "\0x", 2);
    assert_int_equal(verify(&more), NGX_PUSH_DENIED);

    memcpy(more.data + token.len, ".x", 2);
    assert_int_equal(verify(&more), NGX_PUSH_DENIED);

    free(more.data);
    free(token.data);
}


static ngx_int_t
anonymous(const char *name)
{
    ngx_str_t  s;

    s.data = (u_char *) name;
    s.len = strlen(name);
    why = NULL;

    return ngx_push_anonymous_verify(&pcf, &s, &id, &why);
}


static void
test_anonymous(void **state)
{
    assert_int_equal(anonymous("a/alice"), NGX_OK);
    assert_int_equal(id.nproducts, 1);
    assert_ptr_equal(id.products[0], &products[0]);
    assert_int_equal(id.user.len, 5);
    assert_memory_equal(id.user.data, "alice", 5);
    assert_int_equal(id.exp, 0);

    assert_int_equal(anonymous("a/x/y"), NGX_OK);
    assert_memory_equal(id.user.data, "x/y", 3);

    assert_int_equal(anonymous("b/alice"), NGX_PUSH_DENIED);
    assert_string_equal(why, "product takes no anonymous users");
    assert_int_equal(anonymous("zz/alice"), NGX_PUSH_DENIED);
    assert_string_equal(why, "product takes no anonymous users");
    assert_int_equal(anonymous(""), NGX_PUSH_DENIED);
    assert_int_equal(anonymous("a"), NGX_PUSH_DENIED);
    assert_int_equal(anonymous("a/"), NGX_PUSH_DENIED);
    assert_int_equal(id.nproducts, 0);
    assert_int_equal(anonymous("/a"), NGX_PUSH_DENIED);
    assert_int_equal(anonymous("a/\x01"), NGX_PUSH_DENIED);
}


static ngx_uint_t
scopes(ngx_push_product_t *product, const char *key)
{
    ngx_str_t  s;

    s.data = (u_char *) key;
    s.len = strlen(key);

    return ngx_push_api_key_scopes(product, &s);
}


static void
test_api_keys(void **state)
{
    ngx_push_product_t  p;
    ngx_push_api_key_t  api[] = {
        { ngx_string("abc"), NGX_PUSH_SCOPE_PUBLISH },
        { ngx_string("abcabc"), NGX_PUSH_SCOPE_QUERY },
        { ngx_string("x"), NGX_PUSH_SCOPE_ALL }
    };

    memset(&p, 0, sizeof(p));
    assert_int_equal(scopes(&p, "abc"), 0);

    p.api_keys.elts = api;
    p.api_keys.nelts = 3;

    assert_int_equal(scopes(&p, "abc"), NGX_PUSH_SCOPE_PUBLISH);
    assert_int_equal(scopes(&p, "abcabc"), NGX_PUSH_SCOPE_QUERY);
    assert_int_equal(scopes(&p, "x"), NGX_PUSH_SCOPE_ALL);

    assert_int_equal(scopes(&p, ""), 0);
    assert_int_equal(scopes(&p, "ab"), 0);
    assert_int_equal(scopes(&p, "abd"), 0);
    assert_int_equal(scopes(&p, "bbc"), 0);
    assert_int_equal(scopes(&p, "abca"), 0);
    assert_int_equal(scopes(&p, "abcabcabc"), 0);
    assert_int_equal(scopes(&p, "xx"), 0);
    assert_int_equal(scopes(&p, "ABC"), 0);
}


/* Through the module's own init_conf, which sorts. */

static void
test_find_product(void **state)
{
    static ngx_push_conf_t      conf;
    static ngx_push_product_t   many[NGX_PUSH_PRODUCTS];
    static ngx_push_product_t  *sorted[NGX_PUSH_PRODUCTS];

    char                buf[NGX_PUSH_PRODUCTS][8];
    ngx_str_t           name;
    ngx_conf_t          cf;
    ngx_uint_t          i, n;
    ngx_push_module_t  *module;

    module = ngx_push_core_module.ctx;
    memset(&cf, 0, sizeof(cf));

    for (n = 1; n <= NGX_PUSH_PRODUCTS; n += (n < 9) ? 1 : 82) {

        for (i = 0; i < n; i++) {
            many[i].name.data = (u_char *) buf[i];
            many[i].name.len = snprintf(buf[i], sizeof(buf[i]), "p%d",
                                        (int) (i * 37 % 256));
            sorted[i] = &many[i];
        }

        memset(&conf, 0, sizeof(conf));
        conf.size = 1;
        conf.mailbox = 65;
        conf.node = many[0].name;
        conf.products.elts = sorted;
        conf.products.nelts = n;

        assert_ptr_equal(module->init_conf(&cf, &conf), NGX_CONF_OK);
        assert_int_equal(conf.mailbox, 128);

        for (i = 0; i < n; i++) {
            assert_ptr_equal(ngx_push_find_product(&conf, &many[i].name),
                             &many[i]);
            assert_ptr_equal(ngx_push_product_by_id(&conf, many[i].id),
                             &many[i]);

            /* a name that another begins with, and one beyond */
            name = many[i].name;
            name.len = 1;
            assert_null(ngx_push_find_product(&conf, &name));
        }

        ngx_str_set(&name, "q");
        assert_null(ngx_push_find_product(&conf, &name));
        ngx_str_set(&name, "o");
        assert_null(ngx_push_find_product(&conf, &name));
        ngx_str_set(&name, "");
        assert_null(ngx_push_find_product(&conf, &name));
        assert_null(ngx_push_product_by_id(&conf, NGX_PUSH_PRODUCTS));
        assert_null(ngx_push_product_by_id(&conf, (ngx_uint_t) -1));
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_confusion),
        cmocka_unit_test(test_audience),
        cmocka_unit_test(test_many_products),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_signature_lengths),
        cmocka_unit_test(test_large_rsa),
        cmocka_unit_test(test_forged_and_expired),
        cmocka_unit_test(test_clock_goes_on),
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_changed_at_every_byte),
        cmocka_unit_test(test_appended),
        cmocka_unit_test(test_anonymous),
        cmocka_unit_test(test_api_keys),
        cmocka_unit_test(test_find_product),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
