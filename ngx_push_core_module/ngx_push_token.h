
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_TOKEN_H_INCLUDED_
#define _NGX_PUSH_TOKEN_H_INCLUDED_


#include "ngx_push_conf.h"


#define NGX_PUSH_TOKEN_PRODUCTS  8


/*
 * Who a device is. products[0] is the product of the token (or of the user
 * name), the one that keys the session; the others may be bound as well.
 * The user's bytes are copied into "buf", nothing points into the packet; so
 * a copy of the structure needs "user" set again.
 */

typedef struct {
    ngx_push_product_t  *products[NGX_PUSH_TOKEN_PRODUCTS];
    ngx_uint_t           nproducts;
    ngx_str_t            user;
    time_t               exp;          /* wall clock; 0: never */
    u_char               buf[NGX_PUSH_NAME_MAX];
} ngx_push_identity_t;


/*
 * Checks a JWT. A product named in "aud" is granted only if one of its own
 * keys verifies the signature with that key's own algorithm; the first so
 * granted is products[0]. NGX_OK, NGX_PUSH_DENIED or NGX_PUSH_EXPIRED; "why"
 * then says what was wrong, without any part of the token.
 */

ngx_int_t ngx_push_token_verify(ngx_push_conf_t *pcf, ngx_str_t *token,
    ngx_push_identity_t *id, const char **why);

/* The user name PRODUCT/USER of a product with "anonymous on". */

ngx_int_t ngx_push_anonymous_verify(ngx_push_conf_t *pcf, ngx_str_t *name,
    ngx_push_identity_t *id, const char **why);

/*
 * A name may be a user, device or group: 1 to NGX_PUSH_NAME_MAX bytes of
 * UTF-8, no control characters (U+0000 to U+001F, U+007F to U+009F).
 * A group name and an uplink type, which stand in topics, have no "/", "+"
 * or "#" either.
 */

ngx_uint_t ngx_push_name_ok(ngx_str_t *name);
ngx_uint_t ngx_push_topic_name_ok(ngx_str_t *name);


#endif /* _NGX_PUSH_TOKEN_H_INCLUDED_ */
