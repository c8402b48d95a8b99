
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * What is seen of OpenSSL's handshakes, and the keys that come of it.
 *
 * The sequence numbers are the only thing that OpenSSL has no question for.
 * The message callback is told the header of each record, in the order of
 * the records, and the keys change at known points: in TLS 1.2 after
 * ChangeCipherSpec, in TLS 1.3 where the secret is given to the callback for
 * key logs.  That no record was missed is checked: the lengths in all headers
 * must sum up to what the socket BIO has read and written.  If not, as also
 * when a part of a record is still in OpenSSL's buffer, the connection stays
 * with OpenSSL.
 */


#include "ngx_push_room_tls.h"


#if (NGX_PUSH_ROOM_TLS)

#include <ngx_stream_ssl_module.h>


#if (nginx_version >= 1025005)
typedef ngx_stream_ssl_srv_conf_t  ngx_push_room_ssl_conf_t;
#else
typedef ngx_stream_ssl_conf_t      ngx_push_room_ssl_conf_t;
#endif


/* one direction of a connection of OpenSSL */

typedef struct {
    uint64_t    bytes;     /* of all records */
    uint64_t    seq;       /* of the next record under the present key */
    uint8_t     len;
    u_char      secret[NGX_PUSH_TLS_SECRET_MAX];   /* TLS 1.3 */
} ngx_push_room_tls_seen_t;


/* ex data of an SSL object */

typedef struct {
    ngx_push_room_tls_seen_t  in;
    ngx_push_room_tls_seen_t  out;
    unsigned                  updated:1;  /* keys are no longer the first */
} ngx_push_room_tls_watch_t;


static void ngx_push_room_tls_message(int write, int version, int type,
    const void *buf, size_t len, ngx_ssl_conn_t *ssl, void *arg);
static ngx_push_room_tls_watch_t *ngx_push_room_tls_watch(
    ngx_ssl_conn_t *ssl);
static void ngx_push_room_tls_unwatch(void *parent, void *ptr,
    CRYPTO_EX_DATA *ad, int index, long argl, void *argp);
static void ngx_push_room_tls_keylog(const ngx_ssl_conn_t *ssl,
    const char *line);
static void ngx_push_room_tls_secret(ngx_push_room_tls_seen_t *seen,
    const char *line);
static ngx_int_t ngx_push_room_tls_keys12(ngx_ssl_conn_t *ssl,
    ngx_push_tls_t *keys);


static int  ngx_push_room_tls_index = -1;


/*
 * A device has one connection and needs one ticket, whose place the next
 * connection's takes; OpenSSL's default of two is for browsers, which open
 * several at once.  "ssl_conf_command NumTickets" with another number than 2
 * wins.
 */

ngx_int_t
ngx_push_room_tls_init(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf,
    ngx_uint_t release)
{
    SSL_CTX                   *ctx;
    ngx_push_room_ssl_conf_t  *sslcf;

    sslcf = cscf->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];
    ctx = sslcf->ssl.ctx;

    if (ctx == NULL) {
        return NGX_OK;
    }

    if (SSL_CTX_get_num_tickets(ctx) == 2) {
        SSL_CTX_set_num_tickets(ctx, 1);
    }

    /* whoever wants a log of keys for debugging goes before */

    if (!release || SSL_CTX_get_keylog_callback(ctx)) {
        return NGX_OK;
    }

    if (ngx_push_room_tls_index == -1) {
        ngx_push_room_tls_index = SSL_get_ex_new_index(0, NULL, NULL, NULL,
                                                   ngx_push_room_tls_unwatch);

        if (ngx_push_room_tls_index == -1) {
            ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                          "SSL_get_ex_new_index() failed");
            return NGX_ERROR;
        }
    }

    SSL_CTX_set_msg_callback(ctx, ngx_push_room_tls_message);

    return NGX_OK;
}


/*
 * OpenSSL prints five secrets of a handshake for the key log, 80 octets each
 * by a printf() of their own.  We want two: so its callback is set when the
 * Finished goes by and is taken away when the secret that follows has come.
 */

static void
ngx_push_room_tls_message(int write, int version, int type, const void *buf,
    size_t len, ngx_ssl_conn_t *ssl, void *arg)
{
    SSL_CTX                    *ctx;
    const u_char               *p;
    ngx_push_room_tls_seen_t   *seen;
    ngx_push_room_tls_watch_t  *watch;

    p = buf;

    if (type == SSL3_RT_HEADER && len == SSL3_RT_HEADER_LENGTH) {
        watch = ngx_push_room_tls_watch(ssl);

        if (watch == NULL) {
            return;
        }

        seen = write ? &watch->out : &watch->in;

        seen->bytes += SSL3_RT_HEADER_LENGTH + (p[3] << 8 | p[4]);
        seen->seq++;

        if (p[0] == SSL3_RT_CHANGE_CIPHER_SPEC) {
            seen->seq = 0;
        }

        return;
    }

    if (type != SSL3_RT_HANDSHAKE || len == 0) {
        return;
    }

    if (p[0] == SSL3_MT_FINISHED) {
        ctx = SSL_get_SSL_CTX(ssl);

        /* SNI may have led to another server, which logs its keys */

        if (version == TLS1_3_VERSION
            && SSL_CTX_get_keylog_callback(ctx) == NULL)
        {
            SSL_CTX_set_keylog_callback(ctx, ngx_push_room_tls_keylog);
        }

    } else if (p[0] == SSL3_MT_KEY_UPDATE) {
        watch = ngx_push_room_tls_watch(ssl);

        if (watch) {
            watch->updated = 1;
        }
    }
}


static ngx_push_room_tls_watch_t *
ngx_push_room_tls_watch(ngx_ssl_conn_t *ssl)
{
    ngx_push_room_tls_watch_t  *watch;

    watch = SSL_get_ex_data(ssl, ngx_push_room_tls_index);

    if (watch) {
        return watch;
    }

    watch = OPENSSL_zalloc(sizeof(ngx_push_room_tls_watch_t));

    if (watch && SSL_set_ex_data(ssl, ngx_push_room_tls_index, watch) == 0) {
        OPENSSL_free(watch);
        return NULL;
    }

    return watch;
}


static void
ngx_push_room_tls_unwatch(void *parent, void *ptr, CRYPTO_EX_DATA *ad,
    int index, long argl, void *argp)
{
    OPENSSL_clear_free(ptr, sizeof(ngx_push_room_tls_watch_t));
}


/* Called where the key changes: what follows is numbered from 0. */

static void
ngx_push_room_tls_keylog(const ngx_ssl_conn_t *ssl, const char *line)
{
    ngx_push_room_tls_watch_t  *watch;

    static const char  in[] = "CLIENT_TRAFFIC_SECRET_0 ";
    static const char  out[] = "SERVER_TRAFFIC_SECRET_0 ";

    watch = SSL_get_ex_data(ssl, ngx_push_room_tls_index);

    if (watch == NULL) {
        return;
    }

    if (ngx_strncmp(line, in, sizeof(in) - 1) == 0) {
        ngx_push_room_tls_secret(&watch->in, line + sizeof(in) - 1);

    } else if (ngx_strncmp(line, out, sizeof(out) - 1) == 0) {
        ngx_push_room_tls_secret(&watch->out, line + sizeof(out) - 1);

    } else {
        return;
    }

    SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl), NULL);
}


/* "client random" "secret", both in hexadecimal */

static void
ngx_push_room_tls_secret(ngx_push_room_tls_seen_t *seen, const char *line)
{
    size_t      i, len;
    ngx_int_t   n;
    const char *p;

    p = ngx_strchr(line, ' ');

    if (p == NULL) {
        return;
    }

    len = ngx_strlen(++p);

    if (len > 2 * NGX_PUSH_TLS_SECRET_MAX) {
        return;
    }

    for (i = 0; i < len / 2; i++) {
        n = ngx_hextoi((u_char *) p + 2 * i, 2);

        if (n == NGX_ERROR) {
            return;
        }

        seen->secret[i] = (u_char) n;
    }

    seen->len = (uint8_t) i;
    seen->seq = 0;
}


ngx_int_t
ngx_push_room_tls_keys(ngx_connection_t *c, ngx_push_tls_t *keys)
{
    int                         rc;
    uint8_t                     code;
    ngx_ssl_conn_t             *ssl;
    const SSL_CIPHER           *cipher;
    ngx_push_room_tls_watch_t  *watch;

    ssl = c->ssl->connection;

    watch = (ngx_push_room_tls_index == -1)
            ? NULL : SSL_get_ex_data(ssl, ngx_push_room_tls_index);
    cipher = SSL_get_current_cipher(ssl);

    if (watch == NULL || cipher == NULL || watch->updated
        || SSL_get_shutdown(ssl)
        || SSL_get_current_compression(ssl)
#ifdef BIO_get_ktls_send
        || BIO_get_ktls_send(SSL_get_wbio(ssl))
        || BIO_get_ktls_recv(SSL_get_rbio(ssl))
#endif
        || ngx_push_tls_suite(keys, SSL_CIPHER_get_cipher_nid(cipher),
                              SSL_CIPHER_get_handshake_digest(cipher))
           != NGX_PUSH_TLS_OK)
    {
        return NGX_DECLINED;
    }

    if (!SSL_is_init_finished(ssl) || SSL_has_pending(ssl)
        || watch->in.bytes != BIO_number_read(SSL_get_rbio(ssl))
        || watch->out.bytes != BIO_number_written(SSL_get_wbio(ssl)))
    {
        return NGX_AGAIN;
    }

    switch (SSL_version(ssl)) {

    case TLS1_2_VERSION:
        rc = ngx_push_room_tls_keys12(ssl, keys);
        break;

    case TLS1_3_VERSION:
        if (watch->in.len != (keys->sha384 ? 48 : 32)
            || watch->in.len != watch->out.len)
        {
            return NGX_DECLINED;
        }

        rc = ngx_push_tls_keys13(keys, watch->in.secret, watch->out.secret);
        break;

    default:
        return NGX_DECLINED;
    }

    if (rc != NGX_PUSH_TLS_OK) {
        return NGX_ERROR;
    }

    keys->in.seq = watch->in.seq;
    keys->out.seq = watch->out.seq;

    /* 512, 1024, 2048, 4096 octets, if the client has asked for it */

    code = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl));

    if (code >= TLSEXT_max_fragment_length_512
        && code <= TLSEXT_max_fragment_length_4096)
    {
        keys->fragment = (uint16_t) (256 << code);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_room_tls_keys12(ngx_ssl_conn_t *ssl, ngx_push_tls_t *keys)
{
    int     rc;
    size_t  len;
    u_char  master[SSL_MAX_MASTER_KEY_LENGTH];
    u_char  client[SSL3_RANDOM_SIZE], server[SSL3_RANDOM_SIZE];

    len = SSL_SESSION_get_master_key(SSL_get_session(ssl), master,
                                     SSL_MAX_MASTER_KEY_LENGTH);

    if (len == 0
        || SSL_get_client_random(ssl, client, SSL3_RANDOM_SIZE)
           != SSL3_RANDOM_SIZE
        || SSL_get_server_random(ssl, server, SSL3_RANDOM_SIZE)
           != SSL3_RANDOM_SIZE)
    {
        return NGX_PUSH_TLS_ERROR;
    }

    rc = ngx_push_tls_keys12(keys, master, len, client, server);
    OPENSSL_cleanse(master, SSL_MAX_MASTER_KEY_LENGTH);

    return rc;
}


#else

ngx_int_t
ngx_push_room_tls_init(ngx_conf_t *cf, ngx_stream_core_srv_conf_t *cscf,
    ngx_uint_t release)
{
    return NGX_OK;
}

#endif
