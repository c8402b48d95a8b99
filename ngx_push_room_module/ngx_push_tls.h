
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_TLS_H_INCLUDED_
#define _NGX_PUSH_TLS_H_INCLUDED_


/*
 * The record layer of TLS 1.2 and 1.3 after the handshake, for the AEAD
 * cipher suites: what is needed to go on with a connection when OpenSSL has
 * made its keys.  Ciphers and hashes are OpenSSL's (EVP); no nginx header, no
 * allocation but of cipher contexts, which the process has once for all
 * connections.
 */


#include <stddef.h>
#include <stdint.h>
#include <openssl/evp.h>


#define NGX_PUSH_TLS_HEADER      5
#define NGX_PUSH_TLS_PLAIN_MAX   16384   /* octets in a record */
#define NGX_PUSH_TLS_SECRET_MAX  48

/* The most that a record is longer than what is in it. */

#define NGX_PUSH_TLS_OVERHEAD    (NGX_PUSH_TLS_HEADER + 8 + 16)

/*
 * Records under one key.  UPDATE, of TLS 1.3: AES-GCM is to get another one
 * before 2^24.5 (RFC 8446, section 5.5).  MAX: none is sealed or opened any
 * more; TLS 1.2 has no other key, and small records stay below the blocks that
 * the limit comes from.
 */

#define NGX_PUSH_TLS_SEQ_UPDATE  ((uint64_t) 1 << 24)
#define NGX_PUSH_TLS_SEQ_MAX     ((uint64_t) 1 << 32)

/* types of records */

#define NGX_PUSH_TLS_ALERT       21
#define NGX_PUSH_TLS_HANDSHAKE   22
#define NGX_PUSH_TLS_DATA        23

/* descriptions of alerts */

#define NGX_PUSH_TLS_CLOSE_NOTIFY        0
#define NGX_PUSH_TLS_UNEXPECTED_MESSAGE  10
#define NGX_PUSH_TLS_BAD_RECORD_MAC      20
#define NGX_PUSH_TLS_RECORD_OVERFLOW     22
#define NGX_PUSH_TLS_DECODE_ERROR        50
#define NGX_PUSH_TLS_INTERNAL_ERROR      80
#define NGX_PUSH_TLS_USER_CANCELED       90
#define NGX_PUSH_TLS_NO_RENEGOTIATION    100


typedef enum {
    NGX_PUSH_TLS_AES_128_GCM = 0,
    NGX_PUSH_TLS_AES_256_GCM,
    NGX_PUSH_TLS_CHACHA20,
    NGX_PUSH_TLS_CIPHERS
} ngx_push_tls_cipher_t;


/*
 * One direction.  seq is the number of the next record; secret is the traffic
 * secret that a KeyUpdate of TLS 1.3 goes on from.
 */

typedef struct {
    uint64_t             seq;
    uint8_t              iv[12];
    uint8_t              key[32];
    uint8_t              secret[NGX_PUSH_TLS_SECRET_MAX];
} ngx_push_tls_half_t;


typedef struct {
    ngx_push_tls_half_t  in;
    ngx_push_tls_half_t  out;
    uint16_t             fragment;  /* most octets of a record sent */
    uint8_t              cipher;    /* ngx_push_tls_cipher_t */
    unsigned             tls13:1;
    unsigned             sha384:1;  /* of the suite; else SHA-256 */
} ngx_push_tls_t;


/* A record that was opened; data points into it. */

typedef struct {
    uint8_t             *data;
    size_t               len;
    size_t               size;      /* of the whole record */
    uint8_t              type;
    uint8_t              alert;     /* to send after NGX_PUSH_TLS_ERROR */
} ngx_push_tls_record_t;


#define NGX_PUSH_TLS_OK      0
#define NGX_PUSH_TLS_AGAIN   1      /* the record is not all there */
#define NGX_PUSH_TLS_ERROR   2


/*
 * The suite, by the NID of its cipher and the hash of its handshake.
 * NGX_PUSH_TLS_ERROR: not one of ours.  To be called first.
 */

int ngx_push_tls_suite(ngx_push_tls_t *t, int nid, const EVP_MD *md);

/*
 * Keys, the sequence numbers are then 0; "in" is what the client writes.  A
 * secret of TLS 1.3 is as long as the hash.
 */

int ngx_push_tls_keys13(ngx_push_tls_t *t, const uint8_t *in,
    const uint8_t *out);
int ngx_push_tls_keys12(ngx_push_tls_t *t, const uint8_t *master, size_t len,
    const uint8_t *client_random, const uint8_t *server_random);

/* Whether a KeyUpdate has to be sent before the next data. */

#define ngx_push_tls_due(t)                                                   \
    ((t)->tls13 && (t)->out.seq >= NGX_PUSH_TLS_SEQ_UPDATE)

/* The next key of a direction, TLS 1.3. */

int ngx_push_tls_update(ngx_push_tls_t *t, ngx_push_tls_half_t *half);

/*
 * A record of n octets, at most NGX_PUSH_TLS_PLAIN_MAX, which stand at
 * p + ngx_push_tls_front(t); there are n + NGX_PUSH_TLS_OVERHEAD octets at p.
 * The length of the record, or 0: OpenSSL failed, or the key is used up.
 */

size_t ngx_push_tls_front(ngx_push_tls_t *t);
size_t ngx_push_tls_seal(ngx_push_tls_t *t, uint8_t type, uint8_t *p,
    size_t n);

/* Opens the record at p in place. */

int ngx_push_tls_open(ngx_push_tls_t *t, uint8_t *p, size_t n,
    ngx_push_tls_record_t *r);


#endif /* _NGX_PUSH_TLS_H_INCLUDED_ */
