
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_TAKE_H_INCLUDED_
#define _NGX_PUSH_TAKE_H_INCLUDED_


/* Between taking for one device and fanning out to many. */


#include "ngx_push_sub.h"


typedef struct {
    ngx_push_shard_t    *sh;
    ngx_push_session_t  *s;
    ngx_push_out_t      *out;
    ngx_uint_t           n;
    ngx_uint_t           max;
    ngx_uint_t           behind;       /* not all there is was taken */
    ngx_uint_t           moved;        /* so has a cursor, acknowledged part */
    uint32_t             now;
} ngx_push_take_t;


/*
 * Enters one message, the next after the cursor and pinned, as sent; under
 * the user's lock.  NGX_OK: "out" is filled.  NGX_DECLINED: passed over, not
 * for this device.  NGX_AGAIN: the window is full, or the zone.
 */

ngx_int_t ngx_push_take_message(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_sub_t *sub, ngx_push_message_t *m, ngx_push_out_t *out,
    uint32_t now);

void ngx_push_out_fill(ngx_push_out_t *out, ngx_push_sub_t *sub,
    ngx_push_message_t *m, uint32_t now);


#endif /* _NGX_PUSH_TAKE_H_INCLUDED_ */
