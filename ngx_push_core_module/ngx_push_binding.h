
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_BINDING_H_INCLUDED_
#define _NGX_PUSH_BINDING_H_INCLUDED_


/*
 * What a register elsewhere reads of sessions and channels of the zone, one
 * at a time and by copy.
 */


#include "ngx_push_mirror.h"


typedef struct {
    ngx_push_target_t    target;       /* name in "name" */
    uint64_t             incarnation;  /* of the cursor */
    uint64_t             sent;
    uint64_t             acked;
    ngx_uint_t           bound;        /* 0: dormant */
    u_char               name[NGX_PUSH_NAME_MAX];
} ngx_push_binding_t;

/*
 * The n-th subscription of a session, from 0; NGX_DECLINED: no more, or the
 * session is gone.  Those of products that are not configured have none.
 */

ngx_int_t ngx_push_session_binding(ngx_push_handle_t session, ngx_uint_t n,
    ngx_push_binding_t *b);

/* The session of a device, whatever its state.  NGX_OK, NGX_PUSH_NOT_FOUND. */

ngx_int_t ngx_push_session_named(ngx_push_product_t *product,
    ngx_str_t *user, ngx_str_t *device, ngx_push_handle_t *session);

/* Tells the connection that has the session, if one has, to look for more. */

void ngx_push_session_tell(ngx_push_handle_t session);


/*
 * Channels.  A log's "interest" is the number of members that the store was
 * told of, + 1; who is told of 0 sends this node nothing, but knows it; 0:
 * the store does not know this node.  "members" are those online now.
 */

/*
 * Does the store send messages of the channel to this node, and has the zone
 * kept up with it?  It does while it has members, here more than "mine".
 */

ngx_uint_t ngx_push_channel_told(ngx_push_target_t *t, ngx_uint_t mine);

void ngx_push_channel_note(ngx_push_target_t *t, ngx_uint_t interest);

typedef struct {
    ngx_push_binding_t   log;          /* incarnation, and target */
    ngx_uint_t           interest;
    ngx_uint_t           members;
} ngx_push_channel_t;

/*
 * The next channel after "*page" and "*record", both 0 at first, of which the
 * store should be told another number of members.  Where there are none that
 * is noted at once, first as 0 members, then as no interest, for a member that
 * comes now has to tell the store anew.  Looks at "*steps" pages at most and
 * counts them off.  NGX_OK; NGX_AGAIN: no steps are left; NGX_DONE: that was
 * all.
 */

ngx_int_t ngx_push_channel_next(uint32_t *page, uint32_t *record,
    ngx_uint_t *steps, ngx_push_channel_t *channel);

/* The channel that {ref, gen} names.  NGX_OK, NGX_PUSH_NOT_FOUND. */

ngx_int_t ngx_push_channel_get(ngx_push_handle_t log,
    ngx_push_channel_t *channel);


#endif /* _NGX_PUSH_BINDING_H_INCLUDED_ */
