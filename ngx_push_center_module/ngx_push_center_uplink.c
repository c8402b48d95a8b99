
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


/* GET of a page of what devices sent up. */


#define NGX_PUSH_CENTER_UPLINK_MAX    1000
#define NGX_PUSH_CENTER_UPLINK_DEF    100
#define NGX_PUSH_CENTER_UPLINK_BYTES  (1024 * 1024)
#define NGX_PUSH_CENTER_ENTRY_SIZE                                            \
    (256 + NGX_PUSH_ID_LEN + NGX_PUSH_TIME_LEN)


static ngx_int_t ngx_push_center_uplink_args(ngx_http_request_t *r,
    ngx_push_read_t *op, ngx_int_t *rc);
static void ngx_push_center_uplinked(ngx_push_handle_t handle, ngx_int_t rc,
    void *data);
static ngx_int_t ngx_push_center_uplink_answer(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_int_t rc, ngx_push_read_t *op);
static size_t ngx_push_center_entry_len(ngx_push_entry_t *entry);
static u_char *ngx_push_center_entry(u_char *p, ngx_push_entry_t *entry);
static ngx_uint_t ngx_push_center_is_text(ngx_str_t *s);


ngx_int_t
ngx_push_center_uplink(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    ngx_int_t        rc;
    ngx_push_read_t  op;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&op, sizeof(ngx_push_read_t));

    op.target = ctx->target;
    op.max = NGX_PUSH_CENTER_UPLINK_DEF;
    op.max_bytes = NGX_PUSH_CENTER_UPLINK_BYTES;
    op.pool = r->pool;

    if (ngx_push_center_uplink_args(r, &op, &rc) != NGX_OK) {
        return rc;
    }

    if (ngx_push_center_ask(ctx) != NGX_OK) {
        return ngx_push_center_failure(r, NGX_PUSH_BUSY);
    }

    rc = ctx->push->store->read(&op, ngx_push_center_uplinked, ctx->handle);

    if (rc == NGX_AGAIN) {
        r->main->count++;
        return ngx_push_center_wait(ctx) == NGX_OK ? NGX_DONE : NGX_ERROR;
    }

    ngx_push_center_done(ctx);

    return ngx_push_center_uplink_answer(r, ctx, rc, &op);
}


static ngx_int_t
ngx_push_center_uplink_args(ngx_http_request_t *r, ngx_push_read_t *op,
    ngx_int_t *rc)
{
    ngx_int_t  max;
    ngx_str_t  value;

    if (ngx_http_arg(r, (u_char *) "after", 5, &value) == NGX_OK
        && ngx_push_id_parse(&value, &op->incarnation, &op->after) != NGX_OK)
    {
        *rc = ngx_push_center_problem(r, NGX_PUSH_PROBLEM_PARAMETER,
                                      "parameter", "after", "It is the \"id\" "
                                      "of a message, or a \"next\".");
        return NGX_DECLINED;
    }

    if (ngx_http_arg(r, (u_char *) "max", 3, &value) == NGX_OK) {
        max = ngx_atoi(value.data, value.len);

        if (max < 1 || max > NGX_PUSH_CENTER_UPLINK_MAX) {
            *rc = ngx_push_center_problem(r, NGX_PUSH_PROBLEM_PARAMETER,
                                          "parameter", "max",
                                          "It is a number from 1 to %d.",
                                          NGX_PUSH_CENTER_UPLINK_MAX);
            return NGX_DECLINED;
        }

        op->max = max;
    }

    return NGX_OK;
}


static void
ngx_push_center_uplinked(ngx_push_handle_t handle, ngx_int_t rc, void *data)
{
    ngx_push_center_ctx_t  *ctx;

    ctx = ngx_push_center_found(handle);

    if (ctx) {
        ngx_push_center_finish(ctx, ngx_push_center_uplink_answer(ctx->request,
                                                                  ctx, rc,
                                                                  data));
    }
}


/*
 * "next" goes on where this page ends.  When nothing is there, it is what was
 * asked with; but not when that cursor is of a log that has gone: then null.
 */

static ngx_int_t
ngx_push_center_uplink_answer(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_int_t rc, ngx_push_read_t *op)
{
    u_char            *p;
    size_t             size;
    uint64_t           incarnation, next;
    ngx_buf_t         *b;
    ngx_uint_t         i;
    ngx_push_entry_t  *entry;

    if (rc != NGX_OK) {
        return ngx_push_center_failure(r, rc);
    }

    entry = op->entries.elts;
    size = 64 + NGX_PUSH_ID_LEN;
    incarnation = op->lost ? 0 : op->incarnation;
    next = op->after;

    for (i = 0; i < op->entries.nelts; i++) {
        size += ngx_push_center_entry_len(&entry[i]);
        incarnation = entry[i].incarnation;
        next = entry[i].seq;
    }

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL || ngx_push_center_no_store(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_sprintf(b->pos, "{\"messages\":[");

    for (i = 0; i < op->entries.nelts; i++) {
        if (i) {
            *p++ = ',';
        }

        p = ngx_push_center_entry(p, &entry[i]);
    }

    p = ngx_sprintf(p, "],\"next\":");

    if (incarnation) {
        *p++ = '"';
        p = ngx_push_id_print(p, incarnation, next);
        *p++ = '"';

    } else {
        p = ngx_sprintf(p, "null");
    }

    b->last = ngx_sprintf(p, ",\"lost\":%s}\n", op->lost ? "true" : "false");

    return ngx_push_center_send(r, NGX_HTTP_OK, b);
}


static size_t
ngx_push_center_entry_len(ngx_push_entry_t *entry)
{
    size_t  len;

    len = NGX_PUSH_CENTER_ENTRY_SIZE
          + ngx_push_center_json_len(&entry->type)
          + ngx_push_center_json_len(&entry->user)
          + ngx_push_center_json_len(&entry->device)
          + ngx_push_center_json_len(&entry->ctype);

    return len + ngx_max(ngx_push_center_json_len(&entry->payload),
                         ngx_base64_encoded_length(entry->payload.len) + 2);
}


static u_char *
ngx_push_center_entry(u_char *p, ngx_push_entry_t *entry)
{
    ngx_str_t  dst;

    p = ngx_sprintf(p, "{\"id\":\"");
    p = ngx_push_id_print(p, entry->incarnation, entry->seq);
    p = ngx_sprintf(p, "\",\"type\":");
    p = ngx_push_center_json(p, &entry->type);
    p = ngx_sprintf(p, ",\"user\":");
    p = ngx_push_center_json(p, &entry->user);
    p = ngx_sprintf(p, ",\"device\":");
    p = ngx_push_center_json(p, &entry->device);
    p = ngx_sprintf(p, ",\"created\":\"");
    p = ngx_push_center_time(p, entry->created);
    *p++ = '"';

    if (entry->ctype.len) {
        p = ngx_sprintf(p, ",\"content_type\":");
        p = ngx_push_center_json(p, &entry->ctype);
    }

    if (ngx_push_center_is_text(&entry->payload)) {
        p = ngx_sprintf(p, ",\"payload\":");
        p = ngx_push_center_json(p, &entry->payload);

    } else {
        p = ngx_sprintf(p, ",\"payload_base64\":\"");
        dst.data = p;
        ngx_encode_base64(&dst, &entry->payload);
        p += dst.len;
        *p++ = '"';
    }

    *p++ = '}';

    return p;
}


/*
 * Valid UTF-8 (Unicode, table 3-7), which is what a JSON string can hold.
 * "low" and "high" are the range of the byte behind the first one.
 */

static ngx_uint_t
ngx_push_center_is_text(ngx_str_t *s)
{
    u_char      c, low, high, *p, *last;
    ngx_uint_t  n;

    p = s->data;
    last = s->data + s->len;

    while (p < last) {

        c = *p++;

        if (c < 0x80) {
            continue;
        }

        if (c < 0xc2 || c > 0xf4) {
            return 0;
        }

        n = (c < 0xe0) ? 1 : (c < 0xf0) ? 2 : 3;

        low = (c == 0xe0) ? 0xa0 : (c == 0xf0) ? 0x90 : 0x80;
        high = (c == 0xed) ? 0x9f : (c == 0xf4) ? 0x8f : 0xbf;

        if ((size_t) (last - p) < n) {
            return 0;
        }

        while (n--) {
            if (*p < low || *p > high) {
                return 0;
            }

            p++;
            low = 0x80;
            high = 0xbf;
        }
    }

    return 1;
}
