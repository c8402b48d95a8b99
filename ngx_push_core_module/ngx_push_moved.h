
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_MOVED_H_INCLUDED_
#define _NGX_PUSH_MOVED_H_INCLUDED_


/*
 * Sessions whose cursors have moved, for a register that wants to know
 * (ngx_push_moved_next()).  A cursor moves under a lock, where no memory may
 * be taken: so room is made before it.  A note that finds none is not made,
 * and the next move of that session makes it.
 */


#include "ngx_push_worker.h"


extern ngx_uint_t  ngx_push_moving;    /* the register wants to know */


void ngx_push_moved_init(ngx_cycle_t *cycle, ngx_push_conf_t *pcf);

/* No lock held: room for what one transaction may note. */

void ngx_push_moved_room(void);

#define ngx_push_moved_reserve()                                              \
    if (ngx_push_moving) {                                                    \
        ngx_push_moved_room();                                                \
    }

/* Under a lock or not: the session of a connection, or one without. */

void ngx_push_moved_conn(ngx_push_conn_t *pc);
void ngx_push_moved_session(ngx_push_handle_t session);

#define ngx_push_moved_note(pc)                                               \
    if (ngx_push_moving && !(pc)->noted) {                                    \
        ngx_push_moved_conn(pc);                                              \
    }


#endif /* _NGX_PUSH_MOVED_H_INCLUDED_ */
