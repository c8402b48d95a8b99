
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_CENTER_H_INCLUDED_
#define _NGX_PUSH_CENTER_H_INCLUDED_


/*
 * The HTTP push API.  One request passes through these files in this order:
 * module (handler), route (whose resource), auth (may he), then one of
 * publish, query and uplink; answer and problem write what comes out, gather
 * holds it back while more requests are there.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_push_store.h"
#include "ngx_push_token.h"


#define NGX_PUSH_TIME_LEN     (sizeof("1970-01-01T00:00:00Z") - 1)


typedef struct {
    /* what first needs push { }, and where it stands; line 0: nothing does */
    ngx_str_t                           name;
    ngx_str_t                           file;
    ngx_uint_t                          line;

    ngx_push_conf_t                    *push;   /* set before any request */
} ngx_push_center_main_conf_t;


typedef struct ngx_push_center_ctx_s    ngx_push_center_ctx_t;

/*
 * Answers a request that is routed and allowed.  Returns what a content
 * handler returns: NGX_DONE means that it answers later.
 */

typedef ngx_int_t (*ngx_push_center_pt)(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);


typedef struct {
    ngx_uint_t                          methods;  /* NGX_HTTP_* allowed */
    ngx_str_t                           allow;    /* the same, for Allow */
    ngx_uint_t                          scope;    /* NGX_PUSH_SCOPE_* wanted */
    ngx_push_center_pt                  handler;
} ngx_push_center_endpoint_t;


/*
 * One request, in its pool.  Strings point into the request's header or its
 * pool.  What waits for a store or a register holds "handle", never this.
 */

struct ngx_push_center_ctx_s {
    ngx_http_request_t                 *request;
    ngx_push_conf_t                    *push;

    /* by route */
    const ngx_push_center_endpoint_t   *endpoint;
    ngx_str_t                           path;     /* as sent, without query */
    ngx_str_t                           product;
    ngx_str_t                           id;       /* of a message, a node */
    unsigned                            ops:1;    /* not a product's */
    ngx_push_target_t                   target;   /* .product: by auth */

    /* by publish */
    time_t                              ttl;      /* granted; 0: once */
    ngx_uint_t                          qos;
    ngx_chain_t                        *payload;
    ngx_chain_t                        *last;     /* of our own copy */
    size_t                              size;
    time_t                              asked;    /* TTL; -1: none was */
    ngx_str_t                           key;      /* Idempotency-Key, or "" */

    ngx_push_handle_t                   handle;   /* {0, 0}: not waiting */
};


/* kinds of refusal; each is one "type" of problem+json */

typedef enum {
    NGX_PUSH_PROBLEM_NAME = 0,
    NGX_PUSH_PROBLEM_HEADER,
    NGX_PUSH_PROBLEM_PARAMETER,
    NGX_PUSH_PROBLEM_BODY,
    NGX_PUSH_PROBLEM_UNAUTHORIZED,
    NGX_PUSH_PROBLEM_FORBIDDEN,
    NGX_PUSH_PROBLEM_NOT_FOUND,
    NGX_PUSH_PROBLEM_METHOD,
    NGX_PUSH_PROBLEM_STATE,
    NGX_PUSH_PROBLEM_PROGRESS,
    NGX_PUSH_PROBLEM_TOO_LARGE,
    NGX_PUSH_PROBLEM_MISMATCH,
    NGX_PUSH_PROBLEM_LIMITED,
    NGX_PUSH_PROBLEM_INTERNAL,
    NGX_PUSH_PROBLEM_NOT_IMPLEMENTED,
    NGX_PUSH_PROBLEM_BUSY,
    NGX_PUSH_PROBLEM_UNAVAILABLE,
    NGX_PUSH_PROBLEM_UNKNOWN,
    NGX_PUSH_PROBLEM_FULL
} ngx_push_problem_t;


/*
 * NGX_OK; NGX_DECLINED: there is no such resource; NGX_ABORT: there is, but
 * a name in it is not one (auth comes before saying so); NGX_ERROR.
 */

ngx_int_t ngx_push_center_route(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);

/* The same for what stands behind /v1/ops. */

ngx_int_t ngx_push_center_ops(ngx_push_center_ctx_t *ctx,
    ngx_str_t *segments, ngx_uint_t n);


/*
 * NGX_OK: target.product is set and the key has the endpoint's scope.
 * NGX_DECLINED: refused, "*rc" is the handler's return.
 */

ngx_int_t ngx_push_center_auth(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_int_t *rc);


ngx_int_t ngx_push_center_publish(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);
ngx_int_t ngx_push_center_user(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);
ngx_int_t ngx_push_center_message(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);
ngx_int_t ngx_push_center_uplink(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);


/*
 * The header fields of a publication, into the context.  NGX_OK, or
 * NGX_DECLINED: refused, "*rc" is the handler's return.
 */

ngx_int_t ngx_push_center_options(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_int_t *rc);

/* The value of Idempotency-Key into ctx->key; what is wrong, or NULL. */

const char *ngx_push_center_key(ngx_push_center_ctx_t *ctx, ngx_str_t *value);

/* By which two pushes with one key are told apart, the same on every node. */

uint64_t ngx_push_center_fingerprint(ngx_push_center_ctx_t *ctx,
    ngx_push_save_t *op);


/*
 * Around a call to the store or the register: _ask() gives ctx->handle for
 * it (NGX_ERROR: none left), then either _done() when it answered at once, or
 * _wait() when it answers later: the request then stays (what it waits for
 * keeps a worker that is to leave), and if it goes all the same its handle
 * goes with it.  In the callback _found() gives the context back and drops the
 * handle, or NULL when the request has gone; and _finish() ends the request.
 */

ngx_int_t ngx_push_center_ask(ngx_push_center_ctx_t *ctx);
void ngx_push_center_done(ngx_push_center_ctx_t *ctx);
ngx_int_t ngx_push_center_wait(ngx_push_center_ctx_t *ctx);
ngx_push_center_ctx_t *ngx_push_center_found(ngx_push_handle_t handle);
void ngx_push_center_finish(ngx_push_center_ctx_t *ctx, ngx_int_t rc);


/*
 * Sends status, headers set so far, and the bytes of "b" (which becomes the
 * last buffer).  Returns what a content handler returns.
 */

ngx_int_t ngx_push_center_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_buf_t *b);

/*
 * Before the header of an answer is sent: if more requests have come on the
 * connection, the answer may be held back, to be written with theirs, until
 * the next turn of the event loop.  The second is a handler of the log phase.
 */

void ngx_push_center_gather(ngx_http_request_t *r);
ngx_int_t ngx_push_center_gather_log(ngx_http_request_t *r);

/* "name" is static; "value" lives as long as the request. */

ngx_int_t ngx_push_center_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);
ngx_int_t ngx_push_center_no_store(ngx_http_request_t *r);

/* NGX_PUSH_TIME_LEN bytes of RFC 3339 */

u_char *ngx_push_center_time(u_char *p, time_t t);

/* A JSON string with its quotes, and how long it becomes. */

size_t ngx_push_center_json_len(ngx_str_t *s);
u_char *ngx_push_center_json(u_char *p, ngx_str_t *s);


/*
 * Refuses: reads the body away and sends problem+json.  "member" (or NULL)
 * says what was wrong: "header", "parameter" or "name", and "culprit" which.
 * The detail has no user's bytes in it.  Returns what a handler returns.
 */

ngx_int_t ngx_push_center_problem(ngx_http_request_t *r,
    ngx_push_problem_t problem, const char *member, const char *culprit,
    const char *detail, ...);

/* The problem for an error of the store or the register. */

ngx_int_t ngx_push_center_failure(ngx_http_request_t *r, ngx_int_t rc);


/*
 * A directive's handler: "handler" becomes the location's, and that the
 * directive needs push { } is remembered.
 */

char *ngx_push_center_use(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_handler_pt handler);


extern ngx_module_t  ngx_push_center_module;
extern ngx_module_t  ngx_push_center_check_module;
extern ngx_module_t  ngx_push_metrics_module;


#endif /* _NGX_PUSH_CENTER_H_INCLUDED_ */
