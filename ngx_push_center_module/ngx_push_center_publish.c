
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


/*
 * POST of a message.  A body that came with the header is saved from where
 * nginx has received it.  Any other is collected part by part in memory that
 * grows with what arrives: never in a file, and not beyond payload_limit.
 */


#define NGX_PUSH_CENTER_PART_MIN  4096
#define NGX_PUSH_CENTER_PART_MAX  65536


static void ngx_push_center_body(ngx_http_request_t *r);
static void ngx_push_center_read_body(ngx_http_request_t *r);
static ngx_int_t ngx_push_center_collect(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);
static ngx_int_t ngx_push_center_copy(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_buf_t *in);
static ngx_buf_t *ngx_push_center_part(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);
static ngx_int_t ngx_push_center_in_place(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);
static ngx_int_t ngx_push_center_too_large(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);
static ngx_int_t ngx_push_center_bad_body(ngx_http_request_t *r,
    ngx_int_t rc);
static ngx_int_t ngx_push_center_save(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);
static void ngx_push_center_saved(ngx_push_handle_t handle, ngx_int_t rc,
    void *data);
static ngx_int_t ngx_push_center_created(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_int_t rc, ngx_push_save_t *op);
static ngx_int_t ngx_push_center_once(ngx_http_request_t *r,
    ngx_push_save_t *op);
static ngx_int_t ngx_push_center_ttl(ngx_http_request_t *r, time_t ttl);
static ngx_int_t ngx_push_center_replayed(ngx_http_request_t *r);


ngx_int_t
ngx_push_center_publish(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->target.kind == NGX_PUSH_INBOX) {
        ngx_push_prefetch_user(&ctx->target.name);
    }

    if (ngx_push_center_options(r, ctx, &rc) != NGX_OK) {
        return rc;
    }

    if (r->headers_in.content_length_n
        > (off_t) ctx->target.product->payload_limit)
    {
        return ngx_push_center_too_large(r, ctx);
    }

    r->request_body_no_buffering = 1;
    r->request_body_in_file_only = 0;

    rc = ngx_http_read_client_request_body(r, ngx_push_center_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return ngx_push_center_bad_body(r, rc);
    }

    return NGX_DONE;
}


/* Called once, with the whole body or with its beginning. */

static void
ngx_push_center_body(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_push_center_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_push_center_module);

    if (r->reading_body) {
        r->read_event_handler = ngx_push_center_read_body;

        rc = ngx_push_center_collect(r, ctx);

        if (rc == NGX_OK) {
            ngx_push_center_read_body(r);
            return;
        }

    } else {
        rc = ngx_push_center_in_place(r, ctx);

        if (rc == NGX_OK) {
            ngx_http_finalize_request(r, ngx_push_center_save(r, ctx));
            return;
        }
    }

    ngx_http_finalize_request(r, rc == NGX_DECLINED
                                 ? ngx_push_center_too_large(r, ctx)
                                 : NGX_HTTP_INTERNAL_SERVER_ERROR);
}


static void
ngx_push_center_read_body(ngx_http_request_t *r)
{
    ngx_int_t               rc, got;
    ngx_push_center_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_push_center_module);

    for ( ;; ) {
        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ngx_http_finalize_request(r, ngx_push_center_bad_body(r, rc));
            return;
        }

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            return;
        }

        got = ngx_push_center_collect(r, ctx);

        if (got == NGX_DECLINED) {
            ngx_http_finalize_request(r, ngx_push_center_too_large(r, ctx));
            return;
        }

        if (got != NGX_OK) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        if (rc == NGX_OK) {
            break;
        }
    }

    r->read_event_handler = ngx_http_block_reading;

    ngx_http_finalize_request(r, ngx_push_center_save(r, ctx));
}


/*
 * Takes over what has arrived, so that nginx reuses its buffers.
 * NGX_OK; NGX_DECLINED: over the limit; NGX_ERROR.
 */

static ngx_int_t
ngx_push_center_collect(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_chain_t  *cl, *next;

    for (cl = r->request_body->bufs; cl; cl = next) {

        rc = ngx_push_center_copy(r, ctx, cl->buf);

        if (rc != NGX_OK) {
            return rc;
        }

        next = cl->next;
        r->request_body->bufs = next;
        ngx_free_chain(r->pool, cl);
    }

    return NGX_OK;
}


/* A part in a file is there only if another module has had the body read. */

static ngx_int_t
ngx_push_center_copy(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx,
    ngx_buf_t *in)
{
    off_t       rest;
    size_t      n;
    ngx_buf_t  *b;

    rest = ngx_buf_size(in);

    if (rest > (off_t) (ctx->target.product->payload_limit - ctx->size)) {
        return NGX_DECLINED;
    }

    ctx->size += (size_t) rest;

    while (rest) {

        b = ctx->last ? ctx->last->buf : NULL;

        if (b == NULL || b->last == b->end) {
            b = ngx_push_center_part(r, ctx);
            if (b == NULL) {
                return NGX_ERROR;
            }
        }

        n = (size_t) ngx_min(rest, (off_t) (b->end - b->last));

        if (ngx_buf_in_memory(in)) {
            b->last = ngx_cpymem(b->last, in->pos, n);
            in->pos += n;

        } else {
            if (ngx_read_file(in->file, b->last, n, in->file_pos)
                != (ssize_t) n)
            {
                return NGX_ERROR;
            }

            b->last += n;
            in->file_pos += n;
        }

        rest -= n;
    }

    return NGX_OK;
}


/* Room for more: twice as much each time, never more than can come. */

static ngx_buf_t *
ngx_push_center_part(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    size = NGX_PUSH_CENTER_PART_MIN;

    if (ctx->last) {
        b = ctx->last->buf;
        size = ngx_min(2 * (size_t) (b->end - b->start),
                       NGX_PUSH_CENTER_PART_MAX);
    }

    cl = ngx_alloc_chain_link(r->pool);
    if (cl == NULL) {
        return NULL;
    }

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NULL;
    }

    cl->buf = b;
    cl->next = NULL;

    if (ctx->last) {
        ctx->last->next = cl;

    } else {
        ctx->payload = cl;
    }

    ctx->last = cl;

    return b;
}


/* The whole body is there: used where it is, but for what is in a file. */

static ngx_int_t
ngx_push_center_in_place(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    off_t          size;
    ngx_chain_t  **ll;

    size = 0;
    ll = &r->request_body->bufs;

    while (*ll) {

        if (ngx_buf_size((*ll)->buf) == 0) {
            *ll = (*ll)->next;
            continue;
        }

        if (!ngx_buf_in_memory((*ll)->buf)) {
            return ngx_push_center_collect(r, ctx);
        }

        size += ngx_buf_size((*ll)->buf);
        ll = &(*ll)->next;
    }

    if (size > (off_t) ctx->target.product->payload_limit) {
        return NGX_DECLINED;
    }

    ctx->payload = r->request_body->bufs;
    ctx->size = (size_t) size;

    return NGX_OK;
}


static ngx_int_t
ngx_push_center_too_large(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    ngx_push_count(drops[NGX_PUSH_DROP_TOO_LARGE]);

    return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_TOO_LARGE, NULL, NULL,
                                   "A payload of this product has at most %uz "
                                   "bytes.",
                                   ctx->target.product->payload_limit);
}


/* A client that has gone, or is too slow, is nginx's to end. */

static ngx_int_t
ngx_push_center_bad_body(ngx_http_request_t *r, ngx_int_t rc)
{
    if (rc != NGX_HTTP_BAD_REQUEST || r->connection->error) {
        return rc;
    }

    r->keepalive = 0;

    return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_BODY, NULL, NULL,
                                   "The chunked coding of the body is "
                                   "invalid.");
}


static ngx_int_t
ngx_push_center_save(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    ngx_int_t        rc;
    ngx_push_save_t  op;

    ngx_memzero(&op, sizeof(ngx_push_save_t));

    op.target = ctx->target;
    op.payload = ctx->payload;
    op.size = ctx->size;
    op.qos = ctx->qos;
    op.ttl = ctx->ttl;

    if (r->headers_in.content_type) {
        op.ctype = r->headers_in.content_type->value;
    }

    if (ctx->key.len) {
        op.key = ctx->key;
        op.fingerprint = ngx_push_center_fingerprint(ctx, &op);
    }

    if (ngx_push_center_ask(ctx) != NGX_OK) {
        return ngx_push_center_failure(r, NGX_PUSH_BUSY);
    }

    rc = ctx->push->store->save(&op, ngx_push_center_saved, ctx->handle);

    if (rc == NGX_AGAIN) {
        r->main->count++;
        return ngx_push_center_wait(ctx) == NGX_OK ? NGX_DONE : NGX_ERROR;
    }

    ngx_push_center_done(ctx);

    return ngx_push_center_created(r, ctx, rc, &op);
}


static void
ngx_push_center_saved(ngx_push_handle_t handle, ngx_int_t rc, void *data)
{
    ngx_push_center_ctx_t  *ctx;

    ctx = ngx_push_center_found(handle);

    if (ctx) {
        ngx_push_center_finish(ctx, ngx_push_center_created(ctx->request, ctx,
                                                            rc, data));
    }
}


static ngx_int_t
ngx_push_center_created(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx,
    ngx_int_t rc, ngx_push_save_t *op)
{
    u_char     *p;
    ngx_buf_t  *b;
    ngx_str_t   location, id;

    if (rc != NGX_OK) {
        return ngx_push_center_failure(r, rc);
    }

    if (op->replayed) {

        if (ngx_push_center_replayed(r) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->ttl = op->ttl;
    }

    if (ctx->ttl == 0) {
        return ngx_push_center_once(r, op);
    }

    /* one piece of memory: path "/" id, and the answer behind it */

    b = ngx_create_temp_buf(r->pool, ctx->path.len + 1 + 2 * NGX_PUSH_ID_LEN
                                     + NGX_PUSH_TIME_LEN
                                     + sizeof("{\"id\":\"\","
                                              "\"state\":\"saved\","
                                              "\"expires\":\"\"}\n"));
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    location.data = b->pos;
    p = ngx_cpymem(b->pos, ctx->path.data, ctx->path.len);
    *p++ = '/';

    id.data = p;
    p = ngx_push_id_print(p, op->incarnation, op->seq);
    id.len = p - id.data;
    location.len = p - location.data;

    b->pos = p;
    p = ngx_cpymem(p, "{\"id\":\"", sizeof("{\"id\":\"") - 1);
    p = ngx_cpymem(p, id.data, id.len);
    p = ngx_cpymem(p, "\",\"state\":\"saved\",\"expires\":\"",
                   sizeof("\",\"state\":\"saved\",\"expires\":\"") - 1);
    p = ngx_push_center_time(p, op->expires);
    b->last = ngx_cpymem(p, "\"}\n", sizeof("\"}\n") - 1);

    if (ngx_push_center_header(r, "Location", &location) != NGX_OK
        || ngx_push_center_ttl(r, ctx->ttl) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_push_center_send(r, ctx->target.kind == NGX_PUSH_BROADCAST
                                   ? NGX_HTTP_ACCEPTED : NGX_HTTP_CREATED, b);
}


static ngx_int_t
ngx_push_center_once(ngx_http_request_t *r, ngx_push_save_t *op)
{
    ngx_buf_t  *b;

    b = ngx_create_temp_buf(r->pool, NGX_INT_T_LEN
                              + sizeof("{\"state\":\"once\",\"reached\":}\n"));
    if (b == NULL || ngx_push_center_ttl(r, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_sprintf(b->last, "{\"state\":\"once\",\"reached\":%ui}\n",
                          op->reached);

    return ngx_push_center_send(r, NGX_HTTP_OK, b);
}


static ngx_int_t
ngx_push_center_replayed(ngx_http_request_t *r)
{
    static ngx_str_t  value = ngx_string("true");

    return ngx_push_center_header(r, "Idempotent-Replayed", &value);
}


/* The time to live that was granted, as RFC 8030 wants it. */

static ngx_int_t
ngx_push_center_ttl(ngx_http_request_t *r, time_t ttl)
{
    u_char     *p;
    ngx_str_t   value;

    p = ngx_pnalloc(r->pool, NGX_TIME_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%T", ttl) - p;

    return ngx_push_center_header(r, "TTL", &value);
}
