
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_JOURNAL_H_INCLUDED_
#define _NGX_PUSH_JOURNAL_H_INCLUDED_


/*
 * The journal: a second, slower place for what was accepted and what was
 * acknowledged, from which a store that has lost everything is rebuilt.  It is
 * told after the fact, never asked, never delays or refuses anything.
 */


#include "ngx_push_log.h"


typedef struct {
    ngx_push_target_t   *target;
    uint64_t             incarnation;
    uint64_t             seq;
    time_t               created;      /* wall clock */
    time_t               expires;
    ngx_str_t           *blob;         /* as the store keeps it */
} ngx_push_journal_message_t;


typedef struct {
    ngx_push_product_t  *product;
    ngx_str_t            user;
    ngx_str_t            device;       /* as the user's devices are told apart
                                          in the register */
    uint64_t             incarnation;  /* of the inbox; 0: it is not bound */
    uint64_t             acked;        /* everything up to it */
    uint64_t             all;          /* up to it by every known device, the
                                          log's "a"; 0: not known.  What a
                                          restore may leave out. */
    ngx_str_t            rest;         /* what the register keeps beside it:
                                          how far it is in channels */
    ngx_uint_t           gone;         /* the register has forgotten it */
} ngx_push_journal_ack_t;


struct ngx_push_journal_s {
    ngx_str_t            name;

    /* Both copy what they keep; called on the event loop, never block. */

    void               (*saved)(ngx_push_journal_message_t *m);
    void               (*acked)(ngx_push_journal_ack_t *ack);
};


#endif /* _NGX_PUSH_JOURNAL_H_INCLUDED_ */
