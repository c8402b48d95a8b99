
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_IDEM_H_INCLUDED_
#define _NGX_PUSH_IDEM_H_INCLUDED_


/*
 * Idempotency keys in the zone, by target and key.
 *
 * With the embedded store a key is made together with what it was given for,
 * in one transaction, and holds the answer for "idempotency_keep".  With a
 * store that answers later the store keeps the answers, and the zone only
 * marks which keys are under way at this node.  A mark is its process's: that
 * of one which has died does not count.
 */


#include "ngx_push_store.h"


/*
 * For stores that answer later; called with no lock held.  NGX_OK: marked,
 * and _leave() is to be called when the answer is there, whatever it is, or
 * nothing was sent; NGX_PUSH_PROGRESS: a process of this node has the key
 * under way; NGX_PUSH_LIMITED: too many keys; NGX_PUSH_FULL: no room.
 */

ngx_int_t ngx_push_idem_enter(ngx_push_target_t *t, ngx_str_t *key);
void ngx_push_idem_leave(ngx_push_target_t *t, ngx_str_t *key);


#endif /* _NGX_PUSH_IDEM_H_INCLUDED_ */
