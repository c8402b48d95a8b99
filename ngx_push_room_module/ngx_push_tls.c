
/*
 * Copyright (C) the ngx_push authors
 */


/* Records of TLS 1.2 (RFC 5246, 5288, 7905) and TLS 1.3 (RFC 8446). */


#include <string.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/objects.h>
#include "ngx_push_tls.h"


#define NGX_PUSH_TLS_TAG        16
#define NGX_PUSH_TLS_EXPLICIT   8      /* octets of a nonce in the record */
#define NGX_PUSH_TLS_SALT       4
#define NGX_PUSH_TLS_RANDOM     32
#define NGX_PUSH_TLS_BLOCK_MAX  (2 * (32 + 12))
#define NGX_PUSH_TLS_AAD_MAX    13


static EVP_CIPHER_CTX *ngx_push_tls_ctx(ngx_push_tls_t *t, int enc);
static int ngx_push_tls_crypt(ngx_push_tls_t *t, int enc,
    const uint8_t *nonce, const uint8_t *aad, size_t aad_len, uint8_t *p,
    size_t n, uint8_t *tag);
static void ngx_push_tls_nonce(ngx_push_tls_t *t,
    ngx_push_tls_half_t *half, const uint8_t *explicit, uint8_t *nonce);
static size_t ngx_push_tls_aad(ngx_push_tls_t *t, ngx_push_tls_half_t *half,
    const uint8_t *header, size_t n, uint8_t *aad);
static int ngx_push_tls_expand(ngx_push_tls_t *t, const uint8_t *secret,
    const char *label, uint8_t *out, size_t len);
static int ngx_push_tls_key13(ngx_push_tls_t *t, ngx_push_tls_half_t *half);
static int ngx_push_tls_prf(ngx_push_tls_t *t, const uint8_t *master,
    size_t len, const uint8_t *seed, size_t seed_len, uint8_t *out,
    size_t size);


#define ngx_push_tls_hash(t)      ((t)->sha384 ? EVP_sha384() : EVP_sha256())
#define ngx_push_tls_hash_len(t)  ((t)->sha384 ? 48 : 32)

#define ngx_push_tls_explicit(t)                                              \
    (!(t)->tls13 && (t)->cipher != NGX_PUSH_TLS_CHACHA20)

#define ngx_push_tls_key_len(t)                                               \
    ((t)->cipher == NGX_PUSH_TLS_AES_128_GCM ? 16 : 32)


/*
 * A context of OpenSSL takes 1 to 2 kB, most of it the expanded key: so there
 * is one for each cipher and direction, and each record brings its key.  With
 * that, a record of 64 octets takes 0.6 microseconds (AES-256-GCM).
 */

static EVP_CIPHER_CTX  *ngx_push_tls_ctxs[NGX_PUSH_TLS_CIPHERS][2];


int
ngx_push_tls_suite(ngx_push_tls_t *t, int nid, const EVP_MD *md)
{
    switch (nid) {

    case NID_aes_128_gcm:
        t->cipher = NGX_PUSH_TLS_AES_128_GCM;
        break;

    case NID_aes_256_gcm:
        t->cipher = NGX_PUSH_TLS_AES_256_GCM;
        break;

    case NID_chacha20_poly1305:
        t->cipher = NGX_PUSH_TLS_CHACHA20;
        break;

    default:
        return NGX_PUSH_TLS_ERROR;
    }

    if (md == NULL) {
        return NGX_PUSH_TLS_ERROR;
    }

    switch (EVP_MD_type(md)) {

    case NID_sha256:
        t->sha384 = 0;
        break;

    case NID_sha384:
        t->sha384 = 1;
        break;

    default:
        return NGX_PUSH_TLS_ERROR;
    }

    t->fragment = NGX_PUSH_TLS_PLAIN_MAX;

    return NGX_PUSH_TLS_OK;
}


int
ngx_push_tls_keys13(ngx_push_tls_t *t, const uint8_t *in, const uint8_t *out)
{
    size_t  len;

    len = ngx_push_tls_hash_len(t);
    t->tls13 = 1;

    memcpy(t->in.secret, in, len);
    memcpy(t->out.secret, out, len);

    if (ngx_push_tls_key13(t, &t->in) != NGX_PUSH_TLS_OK) {
        return NGX_PUSH_TLS_ERROR;
    }

    return ngx_push_tls_key13(t, &t->out);
}


int
ngx_push_tls_keys12(ngx_push_tls_t *t, const uint8_t *master, size_t len,
    const uint8_t *client_random, const uint8_t *server_random)
{
    int       rc;
    size_t    key_len, iv_len;
    uint8_t  *p, block[NGX_PUSH_TLS_BLOCK_MAX];
    uint8_t   seed[13 + 2 * NGX_PUSH_TLS_RANDOM];

    t->tls13 = 0;
    t->in.seq = 0;
    t->out.seq = 0;

    memcpy(seed, "key expansion", 13);
    memcpy(seed + 13, server_random, NGX_PUSH_TLS_RANDOM);
    memcpy(seed + 13 + NGX_PUSH_TLS_RANDOM, client_random,
           NGX_PUSH_TLS_RANDOM);

    key_len = ngx_push_tls_key_len(t);
    iv_len = ngx_push_tls_explicit(t) ? NGX_PUSH_TLS_SALT : 12;

    rc = ngx_push_tls_prf(t, master, len, seed, sizeof(seed), block,
                          2 * (key_len + iv_len));

    p = block;
    memcpy(t->in.key, p, key_len);
    p += key_len;
    memcpy(t->out.key, p, key_len);
    p += key_len;
    memcpy(t->in.iv, p, iv_len);
    p += iv_len;
    memcpy(t->out.iv, p, iv_len);

    OPENSSL_cleanse(block, sizeof(block));

    return rc;
}


int
ngx_push_tls_update(ngx_push_tls_t *t, ngx_push_tls_half_t *half)
{
    uint8_t  next[NGX_PUSH_TLS_SECRET_MAX];

    if (ngx_push_tls_expand(t, half->secret, "traffic upd", next,
                            ngx_push_tls_hash_len(t))
        != NGX_PUSH_TLS_OK)
    {
        return NGX_PUSH_TLS_ERROR;
    }

    memcpy(half->secret, next, ngx_push_tls_hash_len(t));
    OPENSSL_cleanse(next, sizeof(next));

    return ngx_push_tls_key13(t, half);
}


size_t
ngx_push_tls_front(ngx_push_tls_t *t)
{
    return NGX_PUSH_TLS_HEADER
           + (ngx_push_tls_explicit(t) ? NGX_PUSH_TLS_EXPLICIT : 0);
}


/*
 * The explicit nonce of TLS 1.2 is the sequence number.  OpenSSL began at a
 * random number of 64 bits, and used it for the few records before ours: that
 * one of ours is the same has the probability of n in 2^64.
 */

size_t
ngx_push_tls_seal(ngx_push_tls_t *t, uint8_t type, uint8_t *p, size_t n)
{
    int       i;
    size_t    size, front, aad_len;
    uint8_t  *data, nonce[12], aad[NGX_PUSH_TLS_AAD_MAX];

    if (t->out.seq >= NGX_PUSH_TLS_SEQ_MAX) {
        return 0;
    }

    front = ngx_push_tls_front(t);
    data = p + front;

    if (ngx_push_tls_explicit(t)) {
        for (i = 0; i < NGX_PUSH_TLS_EXPLICIT; i++) {
            p[NGX_PUSH_TLS_HEADER + i] = (uint8_t) (t->out.seq >> (56 - 8 * i));
        }
    }

    p[0] = type;

    if (t->tls13) {
        data[n++] = type;
        p[0] = NGX_PUSH_TLS_DATA;
    }

    p[1] = 3;
    p[2] = 3;

    size = front - NGX_PUSH_TLS_HEADER + n + NGX_PUSH_TLS_TAG;
    p[3] = (uint8_t) (size >> 8);
    p[4] = (uint8_t) size;

    ngx_push_tls_nonce(t, &t->out, p + NGX_PUSH_TLS_HEADER, nonce);
    aad_len = ngx_push_tls_aad(t, &t->out, p, n, aad);

    if (ngx_push_tls_crypt(t, 1, nonce, aad, aad_len, data, n, data + n)
        != NGX_PUSH_TLS_OK)
    {
        return 0;
    }

    t->out.seq++;

    return NGX_PUSH_TLS_HEADER + size;
}


int
ngx_push_tls_open(ngx_push_tls_t *t, uint8_t *p, size_t n,
    ngx_push_tls_record_t *r)
{
    size_t    size, front, len, aad_len;
    uint8_t  *data, nonce[12], aad[NGX_PUSH_TLS_AAD_MAX];

    if (n < NGX_PUSH_TLS_HEADER) {
        return NGX_PUSH_TLS_AGAIN;
    }

    front = ngx_push_tls_front(t);
    size = NGX_PUSH_TLS_HEADER + (p[3] << 8 | p[4]);

    if (p[0] < NGX_PUSH_TLS_ALERT || p[0] > NGX_PUSH_TLS_DATA
        || (t->tls13 && p[0] != NGX_PUSH_TLS_DATA) || p[1] != 3)
    {
        r->alert = NGX_PUSH_TLS_UNEXPECTED_MESSAGE;
        return NGX_PUSH_TLS_ERROR;
    }

    if (size > front + NGX_PUSH_TLS_PLAIN_MAX + t->tls13 + NGX_PUSH_TLS_TAG) {

        /* TLS 1.3 may pad up to 256 octets of expansion, tag included */

        if (!t->tls13
            || size > NGX_PUSH_TLS_HEADER + NGX_PUSH_TLS_PLAIN_MAX + 256)
        {
            r->alert = NGX_PUSH_TLS_RECORD_OVERFLOW;
            return NGX_PUSH_TLS_ERROR;
        }
    }

    if (size < front + t->tls13 + NGX_PUSH_TLS_TAG) {
        r->alert = NGX_PUSH_TLS_BAD_RECORD_MAC;
        return NGX_PUSH_TLS_ERROR;
    }

    if (n < size) {
        return NGX_PUSH_TLS_AGAIN;
    }

    if (t->in.seq >= NGX_PUSH_TLS_SEQ_MAX) {
        r->alert = NGX_PUSH_TLS_INTERNAL_ERROR;
        return NGX_PUSH_TLS_ERROR;
    }

    data = p + front;
    len = size - front - NGX_PUSH_TLS_TAG;

    ngx_push_tls_nonce(t, &t->in, p + NGX_PUSH_TLS_HEADER, nonce);
    aad_len = ngx_push_tls_aad(t, &t->in, p, len, aad);

    if (ngx_push_tls_crypt(t, 0, nonce, aad, aad_len, data, len, data + len)
        != NGX_PUSH_TLS_OK)
    {
        r->alert = NGX_PUSH_TLS_BAD_RECORD_MAC;
        return NGX_PUSH_TLS_ERROR;
    }

    t->in.seq++;

    r->type = p[0];
    r->data = data;
    r->size = size;

    if (t->tls13) {

        /* the type is the last octet that is not padding */

        while (len && data[len - 1] == 0) {
            len--;
        }

        if (len == 0) {
            r->alert = NGX_PUSH_TLS_UNEXPECTED_MESSAGE;
            return NGX_PUSH_TLS_ERROR;
        }

        r->type = data[--len];
    }

    if (len > NGX_PUSH_TLS_PLAIN_MAX) {
        r->alert = NGX_PUSH_TLS_RECORD_OVERFLOW;
        return NGX_PUSH_TLS_ERROR;
    }

    r->len = len;

    return NGX_PUSH_TLS_OK;
}


static EVP_CIPHER_CTX *
ngx_push_tls_ctx(ngx_push_tls_t *t, int enc)
{
    EVP_CIPHER_CTX    *ctx;
    const EVP_CIPHER  *cipher;

    ctx = ngx_push_tls_ctxs[t->cipher][enc];

    if (ctx) {
        return ctx;
    }

    switch (t->cipher) {

    case NGX_PUSH_TLS_AES_128_GCM:
        cipher = EVP_aes_128_gcm();
        break;

    case NGX_PUSH_TLS_AES_256_GCM:
        cipher = EVP_aes_256_gcm();
        break;

    default:
        cipher = EVP_chacha20_poly1305();
    }

    ctx = EVP_CIPHER_CTX_new();

    if (ctx == NULL) {
        return NULL;
    }

    if (EVP_CipherInit_ex(ctx, cipher, NULL, NULL, NULL, enc) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        return NULL;
    }

    ngx_push_tls_ctxs[t->cipher][enc] = ctx;

    return ctx;
}


static int
ngx_push_tls_crypt(ngx_push_tls_t *t, int enc, const uint8_t *nonce,
    const uint8_t *aad, size_t aad_len, uint8_t *p, size_t n, uint8_t *tag)
{
    int                   len;
    uint8_t               end[NGX_PUSH_TLS_TAG];
    EVP_CIPHER_CTX       *ctx;
    ngx_push_tls_half_t  *half;

    half = enc ? &t->out : &t->in;
    ctx = ngx_push_tls_ctx(t, enc);

    if (ctx == NULL
        || EVP_CipherInit_ex(ctx, NULL, NULL, half->key, nonce, enc) != 1
        || EVP_CipherUpdate(ctx, NULL, &len, aad, (int) aad_len) != 1
        || (n && EVP_CipherUpdate(ctx, p, &len, p, (int) n) != 1)
        || (!enc && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG,
                                        NGX_PUSH_TLS_TAG, tag) != 1)
        || EVP_CipherFinal_ex(ctx, end, &len) != 1
        || (enc && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG,
                                       NGX_PUSH_TLS_TAG, tag) != 1))
    {
        return NGX_PUSH_TLS_ERROR;
    }

    return NGX_PUSH_TLS_OK;
}


static void
ngx_push_tls_nonce(ngx_push_tls_t *t, ngx_push_tls_half_t *half,
    const uint8_t *explicit, uint8_t *nonce)
{
    int  i;

    memcpy(nonce, half->iv, 12);

    if (ngx_push_tls_explicit(t)) {
        memcpy(nonce + NGX_PUSH_TLS_SALT, explicit, NGX_PUSH_TLS_EXPLICIT);
        return;
    }

    for (i = 0; i < 8; i++) {
        nonce[4 + i] ^= (uint8_t) (half->seq >> (56 - 8 * i));
    }
}


static size_t
ngx_push_tls_aad(ngx_push_tls_t *t, ngx_push_tls_half_t *half,
    const uint8_t *header, size_t n, uint8_t *aad)
{
    int  i;

    if (t->tls13) {
        memcpy(aad, header, NGX_PUSH_TLS_HEADER);
        return NGX_PUSH_TLS_HEADER;
    }

    for (i = 0; i < 8; i++) {
        aad[i] = (uint8_t) (half->seq >> (56 - 8 * i));
    }

    memcpy(aad + 8, header, 3);
    aad[11] = (uint8_t) (n >> 8);
    aad[12] = (uint8_t) n;

    return NGX_PUSH_TLS_AAD_MAX;
}


/* HKDF-Expand-Label with no context, of at most one hash. */

static int
ngx_push_tls_expand(ngx_push_tls_t *t, const uint8_t *secret,
    const char *label, uint8_t *out, size_t len)
{
    size_t        n;
    uint8_t      *p, info[64], hash[EVP_MAX_MD_SIZE];
    unsigned int  hash_len;

    n = strlen(label);
    p = info;

    *p++ = 0;
    *p++ = (uint8_t) len;
    *p++ = (uint8_t) (6 + n);
    memcpy(p, "tls13 ", 6);
    memcpy(p + 6, label, n);
    p += 6 + n;
    *p++ = 0;
    *p++ = 1;

    if (HMAC(ngx_push_tls_hash(t), secret, ngx_push_tls_hash_len(t), info,
             p - info, hash, &hash_len) == NULL)
    {
        return NGX_PUSH_TLS_ERROR;
    }

    memcpy(out, hash, len);
    OPENSSL_cleanse(hash, sizeof(hash));

    return NGX_PUSH_TLS_OK;
}


static int
ngx_push_tls_key13(ngx_push_tls_t *t, ngx_push_tls_half_t *half)
{
    half->seq = 0;

    if (ngx_push_tls_expand(t, half->secret, "key", half->key,
                            ngx_push_tls_key_len(t))
        != NGX_PUSH_TLS_OK)
    {
        return NGX_PUSH_TLS_ERROR;
    }

    return ngx_push_tls_expand(t, half->secret, "iv", half->iv, 12);
}


/* P_hash of RFC 5246, section 5. */

static int
ngx_push_tls_prf(ngx_push_tls_t *t, const uint8_t *master, size_t len,
    const uint8_t *seed, size_t seed_len, uint8_t *out, size_t size)
{
    size_t        n, hash_len;
    uint8_t       a[EVP_MAX_MD_SIZE + 128], hash[EVP_MAX_MD_SIZE];
    unsigned int  hlen;
    const EVP_MD *md;

    md = ngx_push_tls_hash(t);
    hash_len = ngx_push_tls_hash_len(t);

    if (seed_len > 128
        || HMAC(md, master, (int) len, seed, seed_len, a, &hlen) == NULL)
    {
        return NGX_PUSH_TLS_ERROR;
    }

    memcpy(a + hash_len, seed, seed_len);

    for ( ;; ) {
        if (HMAC(md, master, (int) len, a, hash_len + seed_len, hash, &hlen)
            == NULL)
        {
            return NGX_PUSH_TLS_ERROR;
        }

        n = size < hash_len ? size : hash_len;
        memcpy(out, hash, n);
        out += n;
        size -= n;

        if (size == 0) {
            break;
        }

        if (HMAC(md, master, (int) len, a, hash_len, hash, &hlen) == NULL) {
            return NGX_PUSH_TLS_ERROR;
        }

        memcpy(a, hash, hash_len);
    }

    OPENSSL_cleanse(hash, sizeof(hash));

    return NGX_PUSH_TLS_OK;
}
