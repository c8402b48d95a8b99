
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


/* GET of a user and of a message. */


#define NGX_PUSH_CENTER_USER_SIZE     (256 + 2 * NGX_PUSH_ID_LEN)
#define NGX_PUSH_CENTER_DEVICE_SIZE                                           \
    (320 + 5 * NGX_INT64_LEN + NGX_PUSH_ID_LEN + NGX_PUSH_TIME_LEN)


static void ngx_push_center_queried(ngx_push_handle_t handle, ngx_int_t rc,
    void *data);
static ngx_int_t ngx_push_center_user_answer(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_int_t rc, ngx_push_query_t *op);
static u_char *ngx_push_center_device(u_char *p, ngx_push_device_t *device,
    uint64_t incarnation, ngx_str_t *node);
static u_char *ngx_push_center_id(u_char *p, uint64_t incarnation,
    uint64_t seq);
static const char *ngx_push_center_protocol(ngx_uint_t proto);
static void ngx_push_center_known(ngx_push_handle_t handle, ngx_int_t rc,
    void *data);
static ngx_int_t ngx_push_center_message_answer(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_int_t rc, ngx_push_status_t *op);


static const char  *ngx_push_center_presence[] = {
    "", "online", "lingering", "offline"
};

static const char  *ngx_push_center_states[] = {
    "saved", "sent", "acked", "ended"
};


ngx_int_t
ngx_push_center_user(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    ngx_int_t         rc;
    ngx_push_query_t  op;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&op, sizeof(ngx_push_query_t));

    op.product = ctx->target.product;
    op.user = ctx->target.name;
    op.pool = r->pool;

    if (ngx_push_center_ask(ctx) != NGX_OK) {
        return ngx_push_center_failure(r, NGX_PUSH_BUSY);
    }

    rc = ctx->push->reg->query(&op, ngx_push_center_queried, ctx->handle);

    if (rc == NGX_AGAIN) {
        r->main->count++;
        return ngx_push_center_wait(ctx) == NGX_OK ? NGX_DONE : NGX_ERROR;
    }

    ngx_push_center_done(ctx);

    return ngx_push_center_user_answer(r, ctx, rc, &op);
}


static void
ngx_push_center_queried(ngx_push_handle_t handle, ngx_int_t rc, void *data)
{
    ngx_push_center_ctx_t  *ctx;

    ctx = ngx_push_center_found(handle);

    if (ctx) {
        ngx_push_center_finish(ctx, ngx_push_center_user_answer(ctx->request,
                                                                ctx, rc,
                                                                data));
    }
}


static ngx_int_t
ngx_push_center_user_answer(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx,
    ngx_int_t rc, ngx_push_query_t *op)
{
    u_char             *p;
    size_t              size;
    ngx_buf_t          *b;
    ngx_str_t          *node;
    ngx_uint_t          i;
    ngx_push_user_t    *u;
    ngx_push_device_t  *device;

    if (rc != NGX_OK) {
        return ngx_push_center_failure(r, rc);
    }

    u = &op->result;
    device = u->devices.elts;

    size = NGX_PUSH_CENTER_USER_SIZE + NGX_INT64_LEN
           + ngx_push_center_json_len(&ctx->target.product->name)
           + ngx_push_center_json_len(&ctx->target.name);

    for (i = 0; i < u->devices.nelts; i++) {
        node = device[i].node.len ? &device[i].node : &ctx->push->node;

        size += NGX_PUSH_CENTER_DEVICE_SIZE + ngx_push_center_json_len(node)
                + ngx_push_center_json_len(&device[i].device);
    }

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL || ngx_push_center_no_store(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_sprintf(b->pos, "{\"product\":");
    p = ngx_push_center_json(p, &ctx->target.product->name);
    p = ngx_sprintf(p, ",\"user\":");
    p = ngx_push_center_json(p, &ctx->target.name);
    p = ngx_sprintf(p, ",\"queued\":%uL,\"acked_up_to\":", u->queued);
    p = ngx_push_center_id(p, u->incarnation, u->acked);
    p = ngx_sprintf(p, ",\"last\":");
    p = ngx_push_center_id(p, u->incarnation, u->last);
    p = ngx_sprintf(p, ",\"more\":%s,\"devices\":[",
                    u->more ? "true" : "false");

    for (i = 0; i < u->devices.nelts; i++) {
        if (i) {
            *p++ = ',';
        }

        node = device[i].node.len ? &device[i].node : &ctx->push->node;
        p = ngx_push_center_device(p, &device[i], u->incarnation, node);
    }

    b->last = ngx_sprintf(p, "]}\n");

    return ngx_push_center_send(r, NGX_HTTP_OK, b);
}


/*
 * The register of this node knows its own devices only; so the node is ours,
 * and the worker a slot of it.
 */

static u_char *
ngx_push_center_device(u_char *p, ngx_push_device_t *device,
    uint64_t incarnation, ngx_str_t *node)
{
    p = ngx_sprintf(p, "{\"device\":");
    p = ngx_push_center_json(p, &device->device);
    p = ngx_sprintf(p, ",\"state\":\"%s\",\"since\":\"",
                    ngx_push_center_presence[device->presence]);
    p = ngx_push_center_time(p, device->since);
    p = ngx_sprintf(p, "\",\"node\":");
    p = ngx_push_center_json(p, node);

    if (device->presence == NGX_PUSH_ONLINE
        && device->worker != NGX_PUSH_NO_WORKER)
    {
        p = ngx_sprintf(p, ",\"worker\":%ui", device->worker);
    }

    p = ngx_sprintf(p, ",\"protocol\":\"%s\",\"bound\":%s,\"in_flight\":%ui,"
                    "\"queued\":%uL,\"acked_up_to\":",
                    ngx_push_center_protocol(device->proto),
                    device->bound ? "true" : "false", device->nflight,
                    device->queued);
    p = ngx_push_center_id(p, incarnation, device->acked);

    *p++ = '}';

    return p;
}


static u_char *
ngx_push_center_id(u_char *p, uint64_t incarnation, uint64_t seq)
{
    if (incarnation == 0 || seq == 0) {
        return ngx_cpymem(p, "null", sizeof("null") - 1);
    }

    *p++ = '"';
    p = ngx_push_id_print(p, incarnation, seq);
    *p++ = '"';

    return p;
}


static const char *
ngx_push_center_protocol(ngx_uint_t proto)
{
    switch (proto) {

    case 4:
        return "mqtt/3.1.1";

    case 5:
        return "mqtt/5.0";

    default:
        return "unknown";
    }
}


ngx_int_t
ngx_push_center_message(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    ngx_int_t          rc;
    ngx_push_status_t  op;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&op, sizeof(ngx_push_status_t));

    op.target = ctx->target;

    if (ngx_push_id_parse(&ctx->id, &op.incarnation, &op.seq) != NGX_OK) {
        return ngx_push_center_failure(r, NGX_PUSH_NOT_FOUND);
    }

    if (ngx_push_center_ask(ctx) != NGX_OK) {
        return ngx_push_center_failure(r, NGX_PUSH_BUSY);
    }

    rc = ctx->push->store->status(&op, ngx_push_center_known, ctx->handle);

    if (rc == NGX_AGAIN) {
        r->main->count++;
        return ngx_push_center_wait(ctx) == NGX_OK ? NGX_DONE : NGX_ERROR;
    }

    ngx_push_center_done(ctx);

    return ngx_push_center_message_answer(r, ctx, rc, &op);
}


static void
ngx_push_center_known(ngx_push_handle_t handle, ngx_int_t rc, void *data)
{
    ngx_push_center_ctx_t  *ctx;

    ctx = ngx_push_center_found(handle);

    if (ctx) {
        ngx_push_center_finish(ctx,
                               ngx_push_center_message_answer(ctx->request,
                                                              ctx, rc, data));
    }
}


/* Of a message that is no longer held only the state is known. */

static ngx_int_t
ngx_push_center_message_answer(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_int_t rc, ngx_push_status_t *op)
{
    u_char     *p;
    ngx_buf_t  *b;

    if (rc != NGX_OK) {
        return ngx_push_center_failure(r, rc);
    }

    b = ngx_create_temp_buf(r->pool, 256 + NGX_PUSH_ID_LEN + NGX_SIZE_T_LEN);
    if (b == NULL || ngx_push_center_no_store(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_sprintf(b->pos, "{\"id\":\"");
    p = ngx_push_id_print(p, op->incarnation, op->seq);
    p = ngx_sprintf(p, "\",\"state\":\"%s\"",
                    ngx_push_center_states[op->state]);

    if (op->created) {
        p = ngx_sprintf(p, ",\"created\":\"");
        p = ngx_push_center_time(p, op->created);
        p = ngx_sprintf(p, "\",\"expires\":\"");
        p = ngx_push_center_time(p, op->expires);
        p = ngx_sprintf(p, "\",\"sent_to\":%ui,\"size\":%uz", op->nsent,
                        op->size);
    }

    b->last = ngx_sprintf(p, "}\n");

    return ngx_push_center_send(r, NGX_HTTP_OK, b);
}
