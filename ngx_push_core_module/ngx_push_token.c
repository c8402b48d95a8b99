
/*
 * Copyright (C) the ngx_push authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jwt.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "ngx_push_token.h"


/* A longer token is refused unread; a copy of it stands on the stack. */

#define NGX_PUSH_TOKEN_MAX  8192

/* an RSA signature of 8192 bits; base64 goes by threes */

#define NGX_PUSH_SIG_MAX    1026

/* bytes of R and of S in an ES256 signature (RFC 7518) */

#define NGX_PUSH_P256_HALF  32

/* seconds of a NumericDate that still are exact in a double and in time_t */

#define NGX_PUSH_DATE_MAX   9007199254740991LL


/* A token in its parts, for one check of it. */

typedef struct {
    jwt_alg_t            alg;          /* of its header */
    json_t              *claims;
    ngx_str_t            text;         /* what is signed: header and claims */
    ngx_str_t            sig;          /* in "buf" */
    u_char               buf[NGX_PUSH_SIG_MAX];
} ngx_push_jwt_t;


static ngx_int_t ngx_push_token_parse(ngx_push_jwt_t *jwt, char *token,
    size_t len);
static ngx_int_t ngx_push_token_signature(ngx_push_jwt_t *jwt, char *token,
    size_t len);
static json_t *ngx_push_token_claims(const char *token, jwt_alg_t *alg);
static ngx_int_t ngx_push_token_grant(ngx_push_conf_t *pcf,
    ngx_push_jwt_t *jwt, ngx_push_identity_t *id, const char **why);
static ngx_uint_t ngx_push_token_signed(ngx_push_product_t *product,
    ngx_push_jwt_t *jwt);
static ngx_uint_t ngx_push_verify_hmac(ngx_str_t *key, ngx_push_jwt_t *jwt);
static ngx_uint_t ngx_push_verify_ecdsa(EVP_PKEY *pkey, ngx_push_jwt_t *jwt);
static ngx_uint_t ngx_push_verify_digest(EVP_PKEY *pkey, ngx_str_t *text,
    ngx_str_t *sig);
static ngx_int_t ngx_push_token_times(json_t *claims, ngx_push_identity_t *id,
    const char **why);
static ngx_int_t ngx_push_token_date(json_t *claims, const char *name,
    int64_t *date);
static ngx_int_t ngx_push_token_user(json_t *claims, ngx_push_identity_t *id,
    const char **why);
static ngx_int_t ngx_push_identity_user(ngx_push_identity_t *id,
    const u_char *data, size_t len);


/*
 * libjwt takes the token apart, OpenSSL checks the signature: libjwt would
 * parse token and PEM again for each key, which takes several times as long
 * as the check, and its older versions compare an HMAC with strcmp().
 *
 * The claims are read first to learn which products the token is for; nothing
 * of them is believed before a key of such a product has verified it.
 */

ngx_int_t
ngx_push_token_verify(ngx_push_conf_t *pcf, ngx_str_t *token,
    ngx_push_identity_t *id, const char **why)
{
    char            buf[NGX_PUSH_TOKEN_MAX + 1];
    ngx_int_t       rc;
    ngx_push_jwt_t  jwt;

    ngx_memzero(id, sizeof(ngx_push_identity_t));

    if (token->len == 0) {
        *why = "no token";
        return NGX_PUSH_DENIED;
    }

    if (token->len > NGX_PUSH_TOKEN_MAX) {
        *why = "token too long";
        return NGX_PUSH_DENIED;
    }

    ngx_memcpy(buf, token->data, token->len);
    buf[token->len] = '\0';

    if (ngx_push_token_parse(&jwt, buf, token->len) != NGX_OK) {
        *why = "token is not a JWT";
        return NGX_PUSH_DENIED;
    }

    rc = ngx_push_token_grant(pcf, &jwt, id, why);

    if (rc == NGX_OK) {
        rc = ngx_push_token_times(jwt.claims, id, why);
    }

    if (rc == NGX_OK) {
        rc = ngx_push_token_user(jwt.claims, id, why);
    }

    json_decref(jwt.claims);

    if (rc != NGX_OK) {
        id->nproducts = 0;
    }

    return rc;
}


ngx_int_t
ngx_push_anonymous_verify(ngx_push_conf_t *pcf, ngx_str_t *name,
    ngx_push_identity_t *id, const char **why)
{
    u_char              *slash;
    ngx_str_t            product;
    ngx_push_product_t  *found;

    ngx_memzero(id, sizeof(ngx_push_identity_t));

    slash = name->len ? memchr(name->data, '/', name->len) : NULL;

    if (slash == NULL) {
        *why = "user name is not PRODUCT/USER";
        return NGX_PUSH_DENIED;
    }

    product.data = name->data;
    product.len = slash - name->data;

    found = ngx_push_find_product(pcf, &product);

    /* one answer for both: strangers need not learn which products exist */

    if (found == NULL || !found->anonymous) {
        *why = "product takes no anonymous users";
        return NGX_PUSH_DENIED;
    }

    if (ngx_push_identity_user(id, slash + 1, name->len - product.len - 1)
        != NGX_OK)
    {
        *why = "user is not a valid name";
        return NGX_PUSH_DENIED;
    }

    id->products[0] = found;
    id->nproducts = 1;

    return NGX_OK;
}


/* "token" ends with a NUL; what is parsed points into it. */

static ngx_int_t
ngx_push_token_parse(ngx_push_jwt_t *jwt, char *token, size_t len)
{
    /* libjwt would stop at a NUL and never see what is behind */

    if (memchr(token, '\0', len) != NULL) {
        return NGX_ERROR;
    }

    if (ngx_push_token_signature(jwt, token, len) != NGX_OK) {
        return NGX_ERROR;
    }

    jwt->claims = ngx_push_token_claims(token, &jwt->alg);

    return jwt->claims ? NGX_OK : NGX_ERROR;
}


/* What is behind the second dot, decoded; a third is not of its alphabet. */

static ngx_int_t
ngx_push_token_signature(ngx_push_jwt_t *jwt, char *token, size_t len)
{
    char       *dot;
    ngx_str_t   encoded;

    dot = strchr(token, '.');

    if (dot != NULL) {
        dot = strchr(dot + 1, '.');
    }

    if (dot == NULL) {
        return NGX_ERROR;
    }

    jwt->text.data = (u_char *) token;
    jwt->text.len = dot - token;

    encoded.data = (u_char *) dot + 1;
    encoded.len = len - jwt->text.len - 1;

    if (encoded.len == 0
        || encoded.len > ngx_base64_encoded_length(NGX_PUSH_SIG_MAX))
    {
        return NGX_ERROR;
    }

    jwt->sig.data = jwt->buf;

    return ngx_decode_base64url(&jwt->sig, &encoded);
}


/* The unverified claims, owned by the caller, and the header's algorithm. */

static json_t *
ngx_push_token_claims(const char *token, jwt_alg_t *alg)
{
    char        *text, *crit;
    jwt_t       *jwt;
    json_t      *claims;
    const char  *name;

    if (jwt_decode(&jwt, token, NULL, 0) != 0) {
        return NULL;
    }

    claims = NULL;
    text = NULL;

    /* RFC 7515: extensions that must be understood, and none is */

    crit = jwt_get_headers_json(jwt, "crit");

    name = jwt_get_header(jwt, "alg");

    if (name == NULL || crit != NULL) {
        goto done;
    }

    *alg = jwt_str_alg(name);

    text = jwt_get_grants_json(jwt, NULL);

    if (text != NULL) {
        claims = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    }

done:

    free(text);
    free(crit);
    jwt_free(jwt);

    return claims;
}


static ngx_int_t
ngx_push_token_grant(ngx_push_conf_t *pcf, ngx_push_jwt_t *jwt,
    ngx_push_identity_t *id, const char **why)
{
    size_t               i, n;
    json_t              *aud, *entry;
    ngx_str_t            name;
    ngx_uint_t           k, ntried;
    ngx_push_product_t  *product, *tried[NGX_PUSH_TOKEN_PRODUCTS];

    ntried = 0;

    aud = json_object_get(jwt->claims, "aud");
    n = json_is_array(aud) ? json_array_size(aud) : 1;

    for (i = 0; i < n && ntried < NGX_PUSH_TOKEN_PRODUCTS; i++) {

        entry = json_is_array(aud) ? json_array_get(aud, i) : aud;

        if (!json_is_string(entry)) {
            *why = "aud is neither a string nor an array of them";
            return NGX_PUSH_DENIED;
        }

        name.data = (u_char *) json_string_value(entry);
        name.len = json_string_length(entry);

        product = ngx_push_find_product(pcf, &name);

        if (product == NULL) {
            continue;
        }

        for (k = 0; k < ntried && tried[k] != product; k++) { /* void */ }

        if (k < ntried) {
            continue;
        }

        tried[ntried++] = product;

        if (ngx_push_token_signed(product, jwt)) {
            id->products[id->nproducts++] = product;
        }
    }

    if (id->nproducts) {
        return NGX_OK;
    }

    *why = ntried ? "no key of its product verifies the token"
                  : "aud names no product of this server";

    return NGX_PUSH_DENIED;
}


/*
 * A key is tried for its own algorithm only: else an RS256 public key, known
 * to everybody, would do as an HS256 secret. "none" is no key's algorithm.
 */

static ngx_uint_t
ngx_push_token_signed(ngx_push_product_t *product, ngx_push_jwt_t *jwt)
{
    ngx_uint_t             i, ok;
    ngx_push_token_key_t  *key;

    key = product->token_keys.elts;
    ok = 0;

    for (i = 0; i < product->token_keys.nelts && !ok; i++) {

        if (key[i].alg != (ngx_uint_t) jwt->alg) {
            continue;
        }

        switch (jwt->alg) {

        case JWT_ALG_HS256:
            ok = ngx_push_verify_hmac(&key[i].key, jwt);
            break;

        case JWT_ALG_RS256:
            ok = ngx_push_verify_digest(key[i].pkey, &jwt->text, &jwt->sig);
            break;

        case JWT_ALG_ES256:
            ok = ngx_push_verify_ecdsa(key[i].pkey, jwt);
            break;

        default:
            break;
        }

        /* what is left here nginx would report for the next TLS connection */

        ERR_clear_error();
    }

    return ok;
}


static ngx_uint_t
ngx_push_verify_hmac(ngx_str_t *key, ngx_push_jwt_t *jwt)
{
    u_char        md[EVP_MAX_MD_SIZE];
    unsigned int  len;

    if (HMAC(EVP_sha256(), key->data, (int) key->len, jwt->text.data,
             jwt->text.len, md, &len)
        == NULL)
    {
        return 0;
    }

    return jwt->sig.len == len && CRYPTO_memcmp(md, jwt->sig.data, len) == 0;
}


/* JWT has R and S one behind the other, OpenSSL wants them in DER. */

static ngx_uint_t
ngx_push_verify_ecdsa(EVP_PKEY *pkey, ngx_push_jwt_t *jwt)
{
    int          len;
    BIGNUM      *r, *s;
    u_char      *der;
    ngx_str_t    sig;
    ngx_uint_t   ok;
    ECDSA_SIG   *ecdsa;

    if (jwt->sig.len != 2 * NGX_PUSH_P256_HALF) {
        return 0;
    }

    r = BN_bin2bn(jwt->sig.data, NGX_PUSH_P256_HALF, NULL);
    s = BN_bin2bn(jwt->sig.data + NGX_PUSH_P256_HALF, NGX_PUSH_P256_HALF,
                  NULL);
    ecdsa = ECDSA_SIG_new();

    if (r == NULL || s == NULL || ecdsa == NULL
        || ECDSA_SIG_set0(ecdsa, r, s) != 1)
    {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(ecdsa);
        return 0;
    }

    der = NULL;
    ok = 0;

    len = i2d_ECDSA_SIG(ecdsa, &der);

    if (len > 0) {
        sig.data = der;
        sig.len = len;

        ok = ngx_push_verify_digest(pkey, &jwt->text, &sig);
    }

    OPENSSL_free(der);
    ECDSA_SIG_free(ecdsa);

    return ok;
}


static ngx_uint_t
ngx_push_verify_digest(EVP_PKEY *pkey, ngx_str_t *text, ngx_str_t *sig)
{
    ngx_uint_t   ok;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();

    if (ctx == NULL) {
        return 0;
    }

    ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1
         && EVP_DigestVerify(ctx, sig->data, sig->len, text->data, text->len)
            == 1;

    EVP_MD_CTX_free(ctx);

    return ok;
}


static ngx_int_t
ngx_push_token_times(json_t *claims, ngx_push_identity_t *id,
    const char **why)
{
    time_t     now;
    int64_t    date;
    ngx_int_t  rc;

    now = ngx_time();

    rc = ngx_push_token_date(claims, "nbf", &date);

    if (rc == NGX_ERROR) {
        *why = "nbf is not a number";
        return NGX_PUSH_DENIED;
    }

    if (rc == NGX_OK && (int64_t) now < date) {
        *why = "token is not valid yet";
        return NGX_PUSH_DENIED;
    }

    rc = ngx_push_token_date(claims, "exp", &date);

    if (rc == NGX_ERROR) {
        *why = "exp is not a number";
        return NGX_PUSH_DENIED;
    }

    if (rc == NGX_DECLINED) {
        id->exp = 0;
        return NGX_OK;
    }

    if ((int64_t) now >= date) {
        *why = "token is expired";
        return NGX_PUSH_EXPIRED;
    }

    id->exp = (time_t) date;

    return NGX_OK;
}


/* A NumericDate in whole seconds; NGX_DECLINED: no such claim. */

static ngx_int_t
ngx_push_token_date(json_t *claims, const char *name, int64_t *date)
{
    double   real;
    json_t  *value;

    value = json_object_get(claims, name);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    if (!json_is_number(value)) {
        return NGX_ERROR;
    }

    if (json_is_integer(value)) {
        *date = json_integer_value(value);

    } else {
        real = json_real_value(value);

        if (real >= (double) NGX_PUSH_DATE_MAX) {
            *date = NGX_PUSH_DATE_MAX;

        } else {
            *date = (real <= 0) ? 0 : (int64_t) real;
        }
    }

    if (*date > NGX_PUSH_DATE_MAX) {
        *date = NGX_PUSH_DATE_MAX;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_token_user(json_t *claims, ngx_push_identity_t *id, const char **why)
{
    json_t  *sub;

    sub = json_object_get(claims, "sub");

    if (!json_is_string(sub)
        || ngx_push_identity_user(id, (u_char *) json_string_value(sub),
                                  json_string_length(sub))
           != NGX_OK)
    {
        *why = "sub is not a valid name";
        return NGX_PUSH_DENIED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_identity_user(ngx_push_identity_t *id, const u_char *data, size_t len)
{
    ngx_str_t  name;

    name.data = (u_char *) data;
    name.len = len;

    if (!ngx_push_name_ok(&name)) {
        return NGX_ERROR;
    }

    ngx_memcpy(id->buf, data, len);

    id->user.data = id->buf;
    id->user.len = len;

    return NGX_OK;
}
