
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


static ngx_int_t ngx_push_center_handler(ngx_http_request_t *r);
static void ngx_push_center_cleanup(void *data);
static ngx_int_t ngx_push_center_init(ngx_conf_t *cf);
static void *ngx_push_center_create_main_conf(ngx_conf_t *cf);
static char *ngx_push_center_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_push_center(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_push_center_check(ngx_cycle_t *cycle, void *conf);


static ngx_command_t  ngx_push_center_commands[] = {

    { ngx_string("push_center"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_push_center,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_push_center_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_push_center_init,                  /* postconfiguration */

    ngx_push_center_create_main_conf,      /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    ngx_push_center_merge_loc_conf         /* merge location configuration */
};


ngx_module_t  ngx_push_center_module = {
    NGX_MODULE_V1,
    &ngx_push_center_module_ctx,           /* module context */
    ngx_push_center_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/*
 * push { } may stand before or after http { }.  Whether it is there is known
 * when all is parsed; that is when a core module is asked.
 */

static ngx_core_module_t  ngx_push_center_check_module_ctx = {
    ngx_string("push_center"),
    NULL,
    ngx_push_center_check
};


ngx_module_t  ngx_push_center_check_module = {
    NGX_MODULE_V1,
    &ngx_push_center_check_module_ctx,     /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_push_center_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc, found;
    ngx_str_t                     allow;
    ngx_push_center_ctx_t        *ctx;
    ngx_push_center_main_conf_t  *pmcf;

    pmcf = ngx_http_get_module_main_conf(r, ngx_push_center_module);

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_push_center_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->push = pmcf->push;

    ngx_http_set_ctx(r, ctx, ngx_push_center_module);

    found = ngx_push_center_route(r, ctx);

    if (found == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (found == NGX_DECLINED) {
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_NOT_FOUND,
                                       NULL, NULL,
                                       "The API has no such resource.");
    }

    if (!(r->method & ctx->endpoint->methods)) {
        allow = ctx->endpoint->allow;

        if (ngx_push_center_header(r, "Allow", &allow) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_METHOD, NULL, NULL,
                                       "The methods of this resource are in "
                                       "the Allow header.");
    }

    if (ngx_push_center_auth(r, ctx, &rc) != NGX_OK) {
        return rc;
    }

    if (found == NGX_ABORT) {
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_NAME, "name",
                         ctx->target.kind == NGX_PUSH_GROUP ? "group" : "user",
                         "A name is 1 to %d bytes of UTF-8 without control "
                         "characters and without \".\" or \"..\" as a path "
                         "segment; a group's has no \"/\", \"+\" or \"#\".",
                         NGX_PUSH_NAME_MAX);
    }

    return ctx->endpoint->handler(r, ctx);
}


ngx_int_t
ngx_push_center_ask(ngx_push_center_ctx_t *ctx)
{
    return ngx_push_handle_new(ctx, &ctx->handle);
}


void
ngx_push_center_done(ngx_push_center_ctx_t *ctx)
{
    ngx_push_handle_free(ctx->handle);

    ctx->handle.index = 0;
    ctx->handle.gen = 0;
}


ngx_int_t
ngx_push_center_wait(ngx_push_center_ctx_t *ctx)
{
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(ctx->request, 0);
    if (cln == NULL) {
        ngx_push_center_done(ctx);
        return NGX_ERROR;
    }

    cln->handler = ngx_push_center_cleanup;
    cln->data = ctx;

    return NGX_OK;
}


static void
ngx_push_center_cleanup(void *data)
{
    ngx_push_center_ctx_t *ctx = data;

    if (ctx->handle.index || ctx->handle.gen) {
        ngx_push_center_done(ctx);
    }
}


ngx_push_center_ctx_t *
ngx_push_center_found(ngx_push_handle_t handle)
{
    ngx_push_center_ctx_t  *ctx;

    ctx = ngx_push_handle_get(handle);

    if (ctx) {
        ngx_push_center_done(ctx);
        ngx_http_set_log_request(ctx->request->connection->log, ctx->request);
    }

    return ctx;
}


void
ngx_push_center_finish(ngx_push_center_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = ctx->request->connection;

    ngx_http_finalize_request(ctx->request, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_push_center_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_push_center_gather_log;

    return NGX_OK;
}


static void *
ngx_push_center_create_main_conf(ngx_conf_t *cf)
{
    /* set by ngx_pcalloc(): name, file, line, push */

    return ngx_pcalloc(cf->pool, sizeof(ngx_push_center_main_conf_t));
}


/*
 * The limit of a body here is the product's payload_limit, and the answer a
 * problem; so that nginx's own check does not come first it is switched off.
 */

static char *
ngx_push_center_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == ngx_push_center_handler) {
        clcf->client_max_body_size = 0;
    }

    return NGX_CONF_OK;
}


static char *
ngx_push_center(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_push_center_use(cf, cmd, ngx_push_center_handler);
}


char *
ngx_push_center_use(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t     *clcf;
    ngx_push_center_main_conf_t  *pmcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == handler) {
        return "is duplicate";
    }

    clcf->handler = handler;

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_push_center_module);

    if (pmcf->line == 0) {
        pmcf->name = cmd->name;
        pmcf->file = cf->conf_file->file.name;
        pmcf->line = cf->conf_file->line;
    }

    return NGX_CONF_OK;
}


static char *
ngx_push_center_check(ngx_cycle_t *cycle, void *conf)
{
    ngx_push_center_main_conf_t  *pmcf;

    pmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_push_center_module);

    if (pmcf == NULL || pmcf->line == 0) {
        return NGX_CONF_OK;
    }

    pmcf->push = ngx_push_get_conf(cycle);

    if (pmcf->push == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"%V\" needs a \"push\" block in %V:%ui",
                      &pmcf->name, &pmcf->file, pmcf->line);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
