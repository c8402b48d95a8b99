
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


/*
 * From a path to a resource.  The path is taken as the client sent it: in
 * r->uri nginx has decoded %2F and merged slashes, and a user name may have
 * both.  Only a URI that was rewritten inside nginx is taken from r->uri.
 *
 * A location was chosen by r->uri, and may restrict who gets to a product.
 * So no name may be such that the two could differ in more than slashes:
 * "." and ".." as path segments are refused, encoded ones too.
 */


#define NGX_PUSH_CENTER_SEGMENTS  5


typedef struct {
    ngx_uint_t                  nsegments;
    ngx_str_t                   collection;   /* the second segment */
    ngx_push_kind_t             kind;
    ngx_push_center_endpoint_t  endpoint;
} ngx_push_center_route_t;


static ngx_int_t ngx_push_center_split(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_str_t *segments, ngx_uint_t *n);
static void ngx_push_center_source(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_str_t *path, ngx_uint_t *encoded);
static ngx_int_t ngx_push_center_decode(ngx_http_request_t *r, ngx_str_t *s);
static ngx_uint_t ngx_push_center_dots(ngx_str_t *s);


#define NGX_PUSH_CENTER_PUBLISH                                               \
    { NGX_HTTP_POST, ngx_string("POST"), NGX_PUSH_SCOPE_PUBLISH,              \
      ngx_push_center_publish }

#define NGX_PUSH_CENTER_QUERY(handler)                                        \
    { NGX_HTTP_GET|NGX_HTTP_HEAD, ngx_string("GET, HEAD"),                    \
      NGX_PUSH_SCOPE_QUERY, handler }


static ngx_push_center_route_t  ngx_push_center_routes[] = {

    { 4, ngx_string("users"), NGX_PUSH_INBOX, NGX_PUSH_CENTER_PUBLISH },

    { 4, ngx_string("groups"), NGX_PUSH_GROUP, NGX_PUSH_CENTER_PUBLISH },

    { 2, ngx_string("broadcasts"), NGX_PUSH_BROADCAST,
      NGX_PUSH_CENTER_PUBLISH },

    { 3, ngx_string("users"), NGX_PUSH_INBOX,
      NGX_PUSH_CENTER_QUERY(ngx_push_center_user) },

    { 5, ngx_string("users"), NGX_PUSH_INBOX,
      NGX_PUSH_CENTER_QUERY(ngx_push_center_message) },

    { 5, ngx_string("groups"), NGX_PUSH_GROUP,
      NGX_PUSH_CENTER_QUERY(ngx_push_center_message) },

    { 3, ngx_string("broadcasts"), NGX_PUSH_BROADCAST,
      NGX_PUSH_CENTER_QUERY(ngx_push_center_message) },

    { 2, ngx_string("uplink"), NGX_PUSH_UPLINK,
      NGX_PUSH_CENTER_QUERY(ngx_push_center_uplink) },

    { 0, ngx_null_string, 0, { 0, ngx_null_string, 0, NULL } }
};


ngx_int_t
ngx_push_center_route(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_str_t                 segments[NGX_PUSH_CENTER_SEGMENTS];
    ngx_uint_t                n;
    ngx_push_center_route_t  *route;

    rc = ngx_push_center_split(r, ctx, segments, &n);

    if (rc != NGX_OK) {
        return rc;
    }

    if (n < 2) {
        return NGX_DECLINED;
    }

    if (segments[0].len == sizeof("ops") - 1
        && ngx_memcmp(segments[0].data, "ops", segments[0].len) == 0
        && ngx_push_center_ops(ctx, &segments[1], n - 1) == NGX_OK)
    {
        return NGX_OK;
    }

    for (route = ngx_push_center_routes; route->nsegments; route++) {

        if (route->nsegments == n
            && route->collection.len == segments[1].len
            && ngx_memcmp(route->collection.data, segments[1].data,
                          segments[1].len)
               == 0)
        {
            break;
        }
    }

    if (route->nsegments == 0) {
        return NGX_DECLINED;
    }

    ctx->endpoint = &route->endpoint;
    ctx->product = segments[0];
    ctx->target.kind = route->kind;

    if (ctx->endpoint->handler == ngx_push_center_message) {
        ctx->id = segments[n - 1];
    }

    if (route->kind != NGX_PUSH_INBOX && route->kind != NGX_PUSH_GROUP) {
        return NGX_OK;
    }

    if (n > 3
        && (segments[3].len != sizeof("messages") - 1
            || ngx_memcmp(segments[3].data, "messages", segments[3].len) != 0))
    {
        return NGX_DECLINED;
    }

    ctx->target.name = segments[2];

    if (ngx_push_center_dots(&segments[2])) {
        return NGX_ABORT;
    }

    if (route->kind == NGX_PUSH_GROUP) {
        return ngx_push_topic_name_ok(&segments[2]) ? NGX_OK : NGX_ABORT;
    }

    return ngx_push_name_ok(&segments[2]) ? NGX_OK : NGX_ABORT;
}


/*
 * The segments behind the first "/v1/": what stands before is the location's
 * business, what stands behind is the client's.
 */

static ngx_int_t
ngx_push_center_split(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx,
    ngx_str_t *segments, ngx_uint_t *n)
{
    u_char      *p, *last, *start;
    ngx_str_t    path;
    ngx_uint_t   encoded, i;

    ngx_push_center_source(r, ctx, &path, &encoded);

    p = path.data;
    last = path.data + path.len;

    for ( ;; ) {
        if (last - p < 4) {
            return NGX_DECLINED;
        }

        if (ngx_memcmp(p, "/v1/", 4) == 0) {
            break;
        }

        p++;
    }

    p += 4;

    for (i = 0; i < NGX_PUSH_CENTER_SEGMENTS; i++) {

        start = p;

        while (p < last && *p != '/') {
            p++;
        }

        segments[i].data = start;
        segments[i].len = p - start;

        if (encoded && ngx_push_center_decode(r, &segments[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        if (segments[i].len == 0) {
            return NGX_DECLINED;
        }

        if (p == last) {
            *n = i + 1;
            return NGX_OK;
        }

        p++;
    }

    return NGX_DECLINED;
}


/* ctx->path is what Location is built from, so always the client's own. */

static void
ngx_push_center_source(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx,
    ngx_str_t *path, ngx_uint_t *encoded)
{
    size_t  i;

    ctx->path = r->unparsed_uri;

    for (i = 0; i < ctx->path.len; i++) {
        if (ctx->path.data[i] == '?' || ctx->path.data[i] == '#') {
            ctx->path.len = i;
            break;
        }
    }

    if (r->valid_unparsed_uri) {
        *path = ctx->path;
        *encoded = 1;

    } else {
        *path = r->uri;
        *encoded = 0;
    }
}


static ngx_int_t
ngx_push_center_decode(ngx_http_request_t *r, ngx_str_t *s)
{
    u_char  *dst, *src, *p;

    if (ngx_strlchr(s->data, s->data + s->len, '%') == NULL) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, s->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    dst = p;
    src = s->data;

    ngx_unescape_uri(&dst, &src, s->len, 0);

    s->data = p;
    s->len = dst - p;

    return NGX_OK;
}


static ngx_uint_t
ngx_push_center_dots(ngx_str_t *s)
{
    u_char  *p, *last, *start;
    size_t   len;

    p = s->data;
    last = s->data + s->len;

    for ( ;; ) {
        start = p;

        while (p < last && *p != '/') {
            p++;
        }

        len = p - start;

        if (len && len < 3 && start[0] == '.' && start[len - 1] == '.') {
            return 1;
        }

        if (p == last) {
            return 0;
        }

        p++;
    }
}
