
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_H_INCLUDED_
#define _NGX_PUSH_H_INCLUDED_


/* What every file of the project knows: limits, names, result codes. */


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_PUSH_VERSION        "0.1.0"

/* module and command types of the directives inside push { } */

#define NGX_PUSH_MODULE         0x48535550   /* "PUSH" */
#define NGX_PUSH_MAIN_CONF      0x02000000

/* limits of names, in bytes; a name is UTF-8 without control characters */

#define NGX_PUSH_PRODUCT_MAX    63
#define NGX_PUSH_NAME_MAX       255   /* user, device, group, uplink type */
#define NGX_PUSH_CTYPE_MAX      255   /* content type */
#define NGX_PUSH_PAYLOAD_MAX    (256 * 1024)
#define NGX_PUSH_PRODUCTS       256   /* products of one zone */

/* what the store, the register and the token check answer beyond NGX_OK */

#define NGX_PUSH_FULL           -100  /* no room in the zone */
#define NGX_PUSH_TOO_LARGE      -101  /* payload over the product's limit */
#define NGX_PUSH_NOT_FOUND      -102
#define NGX_PUSH_BUSY           -103  /* too many requests in flight */
#define NGX_PUSH_EXPIRED        -104
#define NGX_PUSH_DENIED         -105
#define NGX_PUSH_MISMATCH       -106  /* idempotency key of another push */
#define NGX_PUSH_PROGRESS       -107  /* that push is under way */
#define NGX_PUSH_LIMITED        -108  /* too many keys are kept */


/*
 * A reference that survives what it refers to: async work and other processes
 * never hold a pointer, they hold this and look up again.
 */

typedef struct {
    uint32_t             index;
    uint32_t             gen;
} ngx_push_handle_t;


#endif /* _NGX_PUSH_H_INCLUDED_ */
