
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_ROOM_TLS_H_INCLUDED_
#define _NGX_PUSH_ROOM_TLS_H_INCLUDED_


/*
 * TLS of a room.  OpenSSL, through nginx's stream ssl module, makes the
 * handshake.  An idle connection of OpenSSL then keeps 10 kB for what comes
 * down to two keys and two counters: so the room takes those over, gives the
 * SSL object back, and has a plain connection with records of its own
 * (ngx_push_tls.h) in it.
 *
 * The keys are asked for by what OpenSSL offers for it: the secrets of TLS
 * 1.3 come by the callback for key logs, those of TLS 1.2 are the master key
 * and the random values of the session.  How many records were written and
 * read under these keys is counted in the message callback.
 */


#include "ngx_push_room.h"
#include "ngx_push_tls.h"


/* Of a connection that was taken over, on the heap. */

struct ngx_push_room_tls_s {
    ngx_push_tls_t         keys;
    ngx_push_room_buf_t   *part;     /* of a record that came in part */
    ngx_push_room_buf_t   *rest;     /* opened, and more than asked for */
    uint8_t                quiet;    /* records in a row without data */
    unsigned               eof:1;    /* the client has said its last */
    unsigned               bye:1;    /* we have */
    unsigned               update:1; /* a KeyUpdate is owed */
};


#if (NGX_PUSH_ROOM_TLS)

/*
 * Keys of a connection whose handshake is over, and which has nothing read
 * or written in part.  NGX_AGAIN: it has; NGX_DECLINED: never for this one;
 * NGX_ERROR.
 */

ngx_int_t ngx_push_room_tls_keys(ngx_connection_t *c, ngx_push_tls_t *keys);

#endif


#endif /* _NGX_PUSH_ROOM_TLS_H_INCLUDED_ */
