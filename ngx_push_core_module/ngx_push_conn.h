
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_CONN_H_INCLUDED_
#define _NGX_PUSH_CONN_H_INCLUDED_


/* Between the files of the core that reach connections by number. */


#include "ngx_push_take.h"
#include <ngx_event.h>


/* NULL when there is none of this number; numbers are below _size(). */

ngx_push_conn_t *ngx_push_conn_get(uint32_t index);
uint32_t ngx_push_conn_size(void);

/* Mail that came, one note; no lock held. */

void ngx_push_mail_handle(ngx_push_mail_t *mail);

/* Reads this worker's mailbox empty. */

void ngx_push_mailbox_read(void);

/* Starts telling all connections that something may be new, in steps. */

void ngx_push_resync(void);

/* A message with TTL 0 for one device; "pc" may be NULL: it has gone. */

void ngx_push_once_deliver(ngx_push_conn_t *pc, ngx_push_mail_t *mail);

/* Members of a channel here get a message, in steps. */

void ngx_push_fanout(ngx_push_mail_t *mail);

ngx_int_t ngx_push_mailbox_init(ngx_cycle_t *cycle);
void ngx_push_mailbox_exit(void);
void ngx_push_fanout_init(void);


/*
 * The worker is to leave, as the close of the wake-up socket tells; again
 * when a connection was attached after that.
 */

void ngx_push_worker_drain(void);


#endif /* _NGX_PUSH_CONN_H_INCLUDED_ */
