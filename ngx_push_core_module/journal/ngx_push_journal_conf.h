
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_JOURNAL_CONF_H_INCLUDED_
#define _NGX_PUSH_JOURNAL_CONF_H_INCLUDED_


/* The directives of the journal. */


#include "ngx_push_journal_writer.h"


typedef struct {
    ngx_str_t            host;         /* empty: a socket */
    ngx_str_t            socket;
    ngx_str_t            user;
    ngx_str_t            password;
    ngx_str_t            database;     /* empty: no journal */
    ngx_str_t            ca;
    ngx_uint_t           port;
    ngx_uint_t           ssl;          /* NGX_PUSH_JOURNAL_SSL_* */

    ngx_int_t            batch;
    ngx_msec_t           delay;
    size_t               backlog;
    ngx_str_t            spill;
    off_t                spill_size;
    time_t               keep;
} ngx_push_journal_conf_t;


/* The handler of "journal". */

char *ngx_push_journal_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


extern ngx_module_t  ngx_push_journal_module;


#endif /* _NGX_PUSH_JOURNAL_CONF_H_INCLUDED_ */
