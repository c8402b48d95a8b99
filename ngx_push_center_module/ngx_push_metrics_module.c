
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"
#include "ngx_push_metrics.h"


/*
 * push_metrics: a location that answers with the figures of this nginx as a
 * Prometheus scraper reads them.
 */


static ngx_int_t ngx_push_metrics_handler(ngx_http_request_t *r);
static char *ngx_push_metrics(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_str_t  ngx_push_metrics_allow = ngx_string("GET, HEAD");


static ngx_command_t  ngx_push_metrics_commands[] = {

    { ngx_string("push_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_push_metrics,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_push_metrics_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_push_metrics_module = {
    NGX_MODULE_V1,
    &ngx_push_metrics_module_ctx,          /* module context */
    ngx_push_metrics_commands,             /* module directives */
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


static ngx_int_t
ngx_push_metrics_handler(ngx_http_request_t *r)
{
    size_t        size;
    ngx_int_t     rc;
    ngx_chain_t  *out;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        if (ngx_push_center_header(r, "Allow", &ngx_push_metrics_allow)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_METHOD, NULL, NULL,
                                       "Metrics can only be read.");
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    out = ngx_push_metrics_write(r->pool, &size);

    if (out == NULL || ngx_push_center_no_store(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = size;

    ngx_str_set(&r->headers_out.content_type,
                "text/plain; version=0.0.4; charset=utf-8");
    r->headers_out.content_type_len = sizeof("text/plain") - 1;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}


static char *
ngx_push_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_push_center_use(cf, cmd, ngx_push_metrics_handler);
}
