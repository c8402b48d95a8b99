
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


#define NGX_PUSH_PROBLEM_SIZE   640

typedef struct {
    ngx_uint_t    status;
    ngx_uint_t    retry;               /* Retry-After, seconds; 0: none */
    const char   *type;                /* behind urn:ngx-push:problem: */
    const char   *title;
} ngx_push_problem_type_t;


static void ngx_push_center_drop_body(ngx_http_request_t *r);
static ngx_int_t ngx_push_center_retry(ngx_http_request_t *r,
    ngx_uint_t seconds);


/* In the order of ngx_push_problem_t.  The types are part of the API. */

static ngx_push_problem_type_t  ngx_push_problem_types[] = {
    { 400, 0, "invalid-name", "Invalid name" },
    { 400, 0, "invalid-header", "Invalid header field" },
    { 400, 0, "invalid-parameter", "Invalid query parameter" },
    { 400, 0, "invalid-body", "Invalid message body" },
    { 401, 0, "unauthorized", "No valid API key" },
    { 403, 0, "forbidden", "Insufficient scope" },
    { 404, 0, "not-found", "Not found" },
    { 405, 0, "method-not-allowed", "Method not allowed" },
    { 409, 0, "wrong-state", "Not possible in this state" },
    { 409, 1, "in-progress", "The same push is under way" },
    { 413, 0, "payload-too-large", "Payload too large" },
    { 422, 0, "key-reused", "Idempotency key of another push" },
    { 429, 10, "too-many-keys", "Too many idempotency keys" },
    { 500, 0, "internal", "Internal error" },
    { 501, 0, "not-implemented", "Not implemented" },
    { 503, 1, "busy", "Too many requests in flight" },
    { 503, 1, "unavailable", "Store unavailable" },
    { 504, 0, "outcome-unknown", "Outcome unknown" },
    { 507, 0, "zone-full", "No room left" }
};


ngx_int_t
ngx_push_center_problem(ngx_http_request_t *r, ngx_push_problem_t problem,
    const char *member, const char *culprit, const char *detail, ...)
{
    u_char                   *p, *last;
    va_list                   args;
    ngx_buf_t                *b;
    ngx_str_t                 text;
    u_char                    buf[NGX_PUSH_PROBLEM_SIZE / 2];
    ngx_push_problem_type_t  *type;

    ngx_push_center_drop_body(r);

    type = &ngx_push_problem_types[problem];

    if (type->retry && ngx_push_center_retry(r, type->retry) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    va_start(args, detail);
    text.data = buf;
    text.len = ngx_vslprintf(buf, buf + sizeof(buf), detail, args) - buf;
    va_end(args);

    b = ngx_create_temp_buf(r->pool, NGX_PUSH_PROBLEM_SIZE
                                     + ngx_push_center_json_len(&text));
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = b->pos;
    last = b->end;

    p = ngx_slprintf(p, last, "{\"type\":\"urn:ngx-push:problem:%s\","
                     "\"title\":\"%s\",\"status\":%ui,\"detail\":",
                     type->type, type->title, type->status);

    p = ngx_push_center_json(p, &text);

    if (member) {
        p = ngx_slprintf(p, last, ",\"%s\":\"%s\"", member, culprit);
    }

    b->last = ngx_slprintf(p, last, "}\n");

    ngx_str_set(&r->headers_out.content_type, "application/problem+json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    return ngx_push_center_send(r, type->status, b);
}


ngx_int_t
ngx_push_center_failure(ngx_http_request_t *r, ngx_int_t rc)
{
    switch (rc) {

    case NGX_PUSH_NOT_FOUND:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_NOT_FOUND,
                                       NULL, NULL,
                                       "Nothing is known of it.");

    case NGX_PUSH_TOO_LARGE:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_TOO_LARGE,
                                       NULL, NULL, "The payload is over the "
                                       "limit of the product.");

    case NGX_PUSH_FULL:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_FULL, NULL, NULL,
                                       "There is no room for this "
                                       "message; nothing was saved.");

    case NGX_PUSH_BUSY:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_BUSY, NULL, NULL,
                                       "Nothing was done; try again.");

    case NGX_PUSH_PROGRESS:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_PROGRESS,
                                       "header", "Idempotency-Key", "The "
                                       "first push with this key has no "
                                       "answer yet; try again.");

    case NGX_PUSH_MISMATCH:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_MISMATCH,
                                       "header", "Idempotency-Key", "Another "
                                       "push to this target had the same key; "
                                       "nothing was done.");

    case NGX_PUSH_LIMITED:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_LIMITED,
                                       "header", "Idempotency-Key", "No "
                                       "further key can be remembered now; "
                                       "nothing was done.");

    case NGX_ABORT:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_UNKNOWN, NULL, NULL,
                                       "The store did not answer: what was "
                                       "asked may have been done or not.  A "
                                       "push is repeated safely with the same "
                                       "Idempotency-Key.");

    case NGX_ERROR:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_UNAVAILABLE,
                                       NULL, NULL, "The store cannot do it "
                                       "now; nothing was done.");

    default:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_INTERNAL,
                                       NULL, NULL, "The request failed; "
                                       "nothing was done.");
    }
}


/*
 * What is refused is read away, so that the connection can be kept.  A client
 * that waits for "100 Continue" is told at once instead, and since nobody
 * knows whether it sends the body all the same, its connection is not kept;
 * nor is that of a body which was refused half read.
 */

static void
ngx_push_center_drop_body(ngx_http_request_t *r)
{
    if (r->headers_in.expect && !r->expect_tested) {
        r->expect_tested = 1;
        r->keepalive = 0;
    }

    if (r->reading_body) {
        r->keepalive = 0;
        return;
    }

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }
}


static ngx_int_t
ngx_push_center_retry(ngx_http_request_t *r, ngx_uint_t seconds)
{
    u_char     *p;
    ngx_str_t   value;

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%ui", seconds) - p;

    return ngx_push_center_header(r, "Retry-After", &value);
}
