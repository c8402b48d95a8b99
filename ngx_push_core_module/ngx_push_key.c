
/*
 * Copyright (C) the ngx_push authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include "ngx_push_conf.h"


/*
 * Nothing in this file may write a value of api_key or token_key, or an
 * argument that could be a piece of one, into a log.
 */


#define NGX_PUSH_KEY_FILE_MAX   16384
#define NGX_PUSH_API_KEY_MAX    512
#define NGX_PUSH_RSA_MIN        2048   /* bits */
#define NGX_PUSH_RSA_MAX        8192
#define NGX_PUSH_HMAC_BYTES     32


static ngx_uint_t ngx_push_parse_scopes(ngx_conf_t *cf);
static char *ngx_push_read_file(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text);
static char *ngx_push_parse_public_key(ngx_conf_t *cf, ngx_str_t *alg,
    ngx_push_token_key_t *key);
static void ngx_push_free_public_key(void *data);
static const char *ngx_push_public_key_fault(EVP_PKEY *pkey, ngx_uint_t alg);
static ngx_uint_t ngx_push_is_p256(EVP_PKEY *pkey);


/*
 * Takes a time that depends on what was given and on the number of keys, not
 * on how much of a key is right, nor on a key's length.
 */

ngx_uint_t
ngx_push_api_key_scopes(ngx_push_product_t *product, ngx_str_t *key)
{
    size_t               n, k, diff;
    ngx_uint_t           i, scopes;
    ngx_push_api_key_t  *known;

    known = product->api_keys.elts;
    scopes = 0;

    for (i = 0; i < product->api_keys.nelts; i++) {

        diff = key->len ^ known[i].key.len;

        for (n = 0, k = 0; n < key->len; n++) {
            diff |= (size_t) (key->data[n] ^ known[i].key.data[k]);

            k++;
            k &= (size_t) 0 - (size_t) (k != known[i].key.len);
        }

        scopes |= known[i].scopes & ((ngx_uint_t) 0 - (ngx_uint_t) (diff == 0));
    }

    return scopes;
}


char *
ngx_push_product_api_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_product_t  *product = conf;

    char                *rv;
    size_t               n;
    ngx_str_t            secret, *value;
    ngx_uint_t           i, scopes;
    ngx_push_api_key_t  *key;

    value = cf->args->elts;

    rv = ngx_push_read_secret(cf, &value[1], &secret);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    for (n = 0; n < secret.len; n++) {
        if (secret.data[n] <= ' ' || secret.data[n] >= 0x7f) {
            break;
        }
    }

    if (secret.len == 0 || secret.len > NGX_PUSH_API_KEY_MAX || n < secret.len)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"api_key\": 1 to %d printable ASCII "
                           "characters without spaces", NGX_PUSH_API_KEY_MAX);
        return NGX_CONF_ERROR;
    }

    scopes = ngx_push_parse_scopes(cf);

    if (scopes == 0) {
        return NGX_CONF_ERROR;
    }

    key = product->api_keys.elts;

    for (i = 0; i < product->api_keys.nelts; i++) {
        if (key[i].key.len == secret.len
            && ngx_memcmp(key[i].key.data, secret.data, secret.len) == 0)
        {
            return "is duplicate: this product has the same key already";
        }
    }

    if (product->api_keys.nelts == NGX_PUSH_API_KEYS) {
        return "is one too many: a product may have 64";
    }

    key = ngx_array_push(&product->api_keys);
    if (key == NULL) {
        return NGX_CONF_ERROR;
    }

    key->key = secret;
    key->scopes = scopes;

    return NGX_CONF_OK;
}


/* The scopes named behind an API key, all when none is; 0 after an error. */

static ngx_uint_t
ngx_push_parse_scopes(ngx_conf_t *cf)
{
    ngx_str_t   *value;
    ngx_uint_t   i, scopes;

    value = cf->args->elts;

    scopes = 0;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "publish") == 0) {
            scopes |= NGX_PUSH_SCOPE_PUBLISH;

        } else if (ngx_strcmp(value[i].data, "query") == 0) {
            scopes |= NGX_PUSH_SCOPE_QUERY;

        } else if (ngx_strcmp(value[i].data, "operate") == 0) {
            scopes |= NGX_PUSH_SCOPE_OPERATE;

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown scope of \"api_key\", argument %ui: "
                               "publish, query and operate are known", i);
            return 0;
        }
    }

    return scopes ? scopes : NGX_PUSH_SCOPE_ALL;
}


char *
ngx_push_product_token_key(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_product_t  *product = conf;

    char                  *rv;
    ngx_str_t             *value;
    ngx_uint_t             i;
    ngx_push_token_key_t   key, *known;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "hs256") == 0) {
        key.alg = JWT_ALG_HS256;

    } else if (ngx_strcmp(value[1].data, "rs256") == 0) {
        key.alg = JWT_ALG_RS256;

    } else if (ngx_strcmp(value[1].data, "es256") == 0) {
        key.alg = JWT_ALG_ES256;

    } else {
        return "has an unknown algorithm: hs256, rs256 and es256 are known";
    }

    key.pkey = NULL;

    rv = ngx_push_read_secret(cf, &value[2], &key.key);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (key.key.len == 0) {
        return "is empty";
    }

    if (key.alg != JWT_ALG_HS256) {
        rv = ngx_push_parse_public_key(cf, &value[1], &key);

        if (rv != NGX_CONF_OK) {
            return rv;
        }

    } else if (key.key.len < NGX_PUSH_HMAC_BYTES) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"token_key hs256\" of product \"%V\" is shorter "
                           "than the %d bytes RFC 7518 asks for",
                           &product->name, NGX_PUSH_HMAC_BYTES);
    }

    known = product->token_keys.elts;

    for (i = 0; i < product->token_keys.nelts; i++) {
        if (known[i].alg == key.alg
            && known[i].key.len == key.key.len
            && ngx_memcmp(known[i].key.data, key.key.data, key.key.len) == 0)
        {
            return "is duplicate: this product has the same key already";
        }
    }

    if (product->token_keys.nelts == NGX_PUSH_TOKEN_KEYS) {
        return "is one too many: a product may have 8";
    }

    known = ngx_array_push(&product->token_keys);
    if (known == NULL) {
        return NGX_CONF_ERROR;
    }

    *known = key;

    return NGX_CONF_OK;
}


char *
ngx_push_read_secret(ngx_conf_t *cf, ngx_str_t *value, ngx_str_t *secret)
{
    ngx_str_t  name;

    if (value->len < 5 || ngx_strncmp(value->data, "file=", 5) != 0) {
        *secret = *value;
        return NGX_CONF_OK;
    }

    name.data = value->data + 5;
    name.len = value->len - 5;

    if (name.len == 0) {
        return "has an empty file=";
    }

    if (ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_push_read_file(cf, &name, secret);
}


/* The text lives in the cycle's pool; line ends at its end are cut off. */

static char *
ngx_push_read_file(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text)
{
    char             *rv;
    ssize_t           n;
    ngx_file_t        file;
    ngx_file_info_t   info;

    ngx_memzero(&file, sizeof(ngx_file_t));

    file.name = *name;
    file.log = cf->log;
    file.fd = ngx_open_file(name->data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                            NGX_FILE_OPEN, 0);

    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", name);
        return NGX_CONF_ERROR;
    }

    rv = NGX_CONF_ERROR;

    if (ngx_fd_info(file.fd, &info) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", name);
        goto done;
    }

    if (!ngx_is_file(&info) || ngx_file_size(&info) > NGX_PUSH_KEY_FILE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not a key file: a regular file of at "
                           "most %d bytes", name, NGX_PUSH_KEY_FILE_MAX);
        goto done;
    }

    text->data = ngx_pnalloc(cf->pool, ngx_file_size(&info) + 1);
    if (text->data == NULL) {
        goto done;
    }

    n = ngx_read_file(&file, text->data, ngx_file_size(&info), 0);

    if (n == NGX_ERROR) {
        goto done;
    }

    text->len = n;

    while (text->len && (text->data[text->len - 1] == LF
                         || text->data[text->len - 1] == CR))
    {
        text->len--;
    }

    rv = NGX_CONF_OK;

done:

    if (ngx_close_file(file.fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", name);
    }

    return rv;
}


/*
 * Parsed once for the life of the cycle: OpenSSL 3 takes ten times as long to
 * read a PEM as to check a signature with it.
 */

static char *
ngx_push_parse_public_key(ngx_conf_t *cf, ngx_str_t *alg,
    ngx_push_token_key_t *key)
{
    BIO                 *bio;
    const char          *fault;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    bio = BIO_new_mem_buf(key->key.data, (int) key->key.len);
    if (bio == NULL) {
        return NGX_CONF_ERROR;
    }

    key->pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);

    BIO_free(bio);
    ERR_clear_error();

    cln->handler = ngx_push_free_public_key;
    cln->data = key->pkey;

    if (key->pkey == NULL) {
        fault = "is not a public key in PEM "
                "(\"openssl pkey -pubout\" makes one)";

    } else {
        fault = ngx_push_public_key_fault(key->pkey, key->alg);
    }

    if (fault == NULL) {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "the key of \"token_key %V\" %s", alg, fault);

    return NGX_CONF_ERROR;
}


static void
ngx_push_free_public_key(void *data)
{
    EVP_PKEY_free(data);
}


static const char *
ngx_push_public_key_fault(EVP_PKEY *pkey, ngx_uint_t alg)
{
    if (alg == JWT_ALG_RS256) {

        if (EVP_PKEY_base_id(pkey) != EVP_PKEY_RSA) {
            return "is not an RSA key";
        }

        if (EVP_PKEY_bits(pkey) < NGX_PUSH_RSA_MIN
            || EVP_PKEY_bits(pkey) > NGX_PUSH_RSA_MAX)
        {
            return "has a wrong size: RSA keys have 2048 to 8192 bits";
        }

        return NULL;
    }

    if (EVP_PKEY_base_id(pkey) != EVP_PKEY_EC || !ngx_push_is_p256(pkey)) {
        return "is not an EC key on the curve P-256 (prime256v1)";
    }

    return NULL;
}


static ngx_uint_t
ngx_push_is_p256(EVP_PKEY *pkey)
{
#if (OPENSSL_VERSION_NUMBER >= 0x30000000L)
    char    name[64];
    size_t  len;

    return EVP_PKEY_get_group_name(pkey, name, sizeof(name), &len) == 1
           && OBJ_txt2nid(name) == NID_X9_62_prime256v1;
#else
    const EC_KEY  *ec;

    ec = EVP_PKEY_get0_EC_KEY(pkey);

    return ec != NULL
           && EC_GROUP_get_curve_name(EC_KEY_get0_group(ec))
              == NID_X9_62_prime256v1;
#endif
}
