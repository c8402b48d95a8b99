
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


static ngx_uint_t ngx_push_center_any(ngx_push_conf_t *pcf, ngx_str_t *key);
static void ngx_push_center_bearer(ngx_http_request_t *r, ngx_str_t *key);
static ngx_int_t ngx_push_center_unauthorized(ngx_http_request_t *r,
    ngx_uint_t given);
static ngx_int_t ngx_push_center_forbidden(ngx_http_request_t *r,
    ngx_uint_t scope);


static ngx_str_t  ngx_push_center_challenge =
    ngx_string("Bearer realm=\"push\"");

static ngx_str_t  ngx_push_center_invalid =
    ngx_string("Bearer realm=\"push\", error=\"invalid_token\"");


/*
 * An unknown product is answered like a wrong key, so that nobody without a
 * key finds out which products there are.
 */

ngx_int_t
ngx_push_center_auth(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx,
    ngx_int_t *rc)
{
    ngx_str_t            key;
    ngx_uint_t           scopes;
    ngx_push_product_t  *product;

    ngx_push_center_bearer(r, &key);

    scopes = 0;
    product = NULL;

    if (key.len) {
        if (ctx->ops) {
            scopes = ngx_push_center_any(ctx->push, &key);

        } else {
            product = ngx_push_find_product(ctx->push, &ctx->product);
        }

        if (product) {
            scopes = ngx_push_api_key_scopes(product, &key);
        }
    }

    if (scopes == 0) {
        ngx_push_count(drops[NGX_PUSH_DROP_DENIED]);
        *rc = ngx_push_center_unauthorized(r, key.len);
        return NGX_DECLINED;
    }

    if (!(scopes & ctx->endpoint->scope)) {
        ngx_push_count(drops[NGX_PUSH_DROP_DENIED]);
        *rc = ngx_push_center_forbidden(r, ctx->endpoint->scope);
        return NGX_DECLINED;
    }

    ctx->target.product = product;

    return NGX_OK;
}


/* What belongs to no product takes a key of any. */

static ngx_uint_t
ngx_push_center_any(ngx_push_conf_t *pcf, ngx_str_t *key)
{
    ngx_uint_t            i, scopes;
    ngx_push_product_t  **product;

    product = pcf->products.elts;
    scopes = 0;

    for (i = 0; i < pcf->products.nelts; i++) {
        scopes |= ngx_push_api_key_scopes(product[i], key);
    }

    return scopes;
}


static void
ngx_push_center_bearer(ngx_http_request_t *r, ngx_str_t *key)
{
    ngx_str_t  *value;

    ngx_str_null(key);

    if (r->headers_in.authorization == NULL) {
        return;
    }

    value = &r->headers_in.authorization->value;

    if (value->len < sizeof("Bearer ")
        || ngx_strncasecmp(value->data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           != 0)
    {
        return;
    }

    key->data = value->data + sizeof("Bearer ") - 1;
    key->len = value->len - (sizeof("Bearer ") - 1);

    while (key->len && key->data[0] == ' ') {
        key->data++;
        key->len--;
    }
}


static ngx_int_t
ngx_push_center_unauthorized(ngx_http_request_t *r, ngx_uint_t given)
{
    ngx_str_t  *challenge;

    challenge = given ? &ngx_push_center_invalid : &ngx_push_center_challenge;

    if (ngx_push_center_header(r, "WWW-Authenticate", challenge) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_UNAUTHORIZED, "header",
                            "Authorization",
                            given ? "The key is not one of this product's."
                                  : "The request needs \"Authorization: "
                                    "Bearer KEY\" with a key of the product.");
}


static ngx_int_t
ngx_push_center_forbidden(ngx_http_request_t *r, ngx_uint_t scope)
{
    u_char     *p;
    ngx_str_t   challenge;

    const char  *name;

    name = (scope == NGX_PUSH_SCOPE_PUBLISH) ? "publish"
           : (scope == NGX_PUSH_SCOPE_QUERY) ? "query" : "operate";

    p = ngx_pnalloc(r->pool, 96);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    challenge.data = p;
    challenge.len = ngx_sprintf(p, "Bearer realm=\"push\", "
                                "error=\"insufficient_scope\", scope=\"%s\"",
                                name)
                    - p;

    if (ngx_push_center_header(r, "WWW-Authenticate", &challenge) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_FORBIDDEN, "scope",
                                   name, "The key does not have the scope "
                                   "that this resource needs.");
}
