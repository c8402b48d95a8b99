
/*
 * Copyright (C) the ngx_push authors
 */


/* The journal in MySQL: its directives. */


#include "ngx_push_conf.h"


static void *ngx_push_journal_create_conf(ngx_conf_t *cf);


static ngx_command_t  ngx_push_journal_commands[] = {
      ngx_null_command
};


static ngx_push_module_t  ngx_push_journal_module_ctx = {
    ngx_string("journal"),
    ngx_push_journal_create_conf,
    NULL,
    NULL
};


ngx_module_t  ngx_push_journal_module = {
    NGX_MODULE_V1,
    &ngx_push_journal_module_ctx,            /* module context */
    ngx_push_journal_commands,               /* module directives */
    NGX_PUSH_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_push_journal_create_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(void *));
}
