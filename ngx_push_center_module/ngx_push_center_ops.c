
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"
#include "ngx_push_cluster.h"


/*
 * Operations on nodes, /v1/ops/nodes.  They belong to no product: any key
 * with the scope operate will do.  Every node answers for all of them.
 */


#define NGX_PUSH_CENTER_NODE_SIZE  (160 + 3 * NGX_INT64_LEN + NGX_PUSH_TIME_LEN)


static ngx_int_t ngx_push_center_nodes(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);
static ngx_int_t ngx_push_center_nodes_list(ngx_push_center_ctx_t *ctx,
    ngx_array_t *nodes);
static u_char *ngx_push_center_node(u_char *p, ngx_push_node_t *node);
static ngx_int_t ngx_push_center_reflush(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx);


static ngx_push_center_endpoint_t  ngx_push_center_ops_nodes = {
    NGX_HTTP_GET|NGX_HTTP_HEAD, ngx_string("GET, HEAD"),
    NGX_PUSH_SCOPE_OPERATE, ngx_push_center_nodes
};

static ngx_push_center_endpoint_t  ngx_push_center_ops_reflush = {
    NGX_HTTP_POST, ngx_string("POST"), NGX_PUSH_SCOPE_OPERATE,
    ngx_push_center_reflush
};


/* The segments behind /v1/ops: nodes, or nodes/NODE/reflush. */

ngx_int_t
ngx_push_center_ops(ngx_push_center_ctx_t *ctx, ngx_str_t *segments,
    ngx_uint_t n)
{
    if (segments[0].len != sizeof("nodes") - 1
        || ngx_memcmp(segments[0].data, "nodes", segments[0].len) != 0)
    {
        return NGX_DECLINED;
    }

    ctx->ops = 1;

    if (n == 1) {
        ctx->endpoint = &ngx_push_center_ops_nodes;
        return NGX_OK;
    }

    if (n == 3 && segments[2].len == sizeof("reflush") - 1
        && ngx_memcmp(segments[2].data, "reflush", segments[2].len) == 0)
    {
        ctx->endpoint = &ngx_push_center_ops_reflush;
        ctx->id = segments[1];
        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_push_center_nodes(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    u_char           *p;
    size_t            size;
    ngx_buf_t        *b;
    ngx_int_t         rc;
    ngx_uint_t        i;
    ngx_array_t       nodes;
    ngx_push_node_t  *node;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_array_init(&nodes, r->pool, 8, sizeof(ngx_push_node_t)) != NGX_OK
        || ngx_push_center_nodes_list(ctx, &nodes) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    node = nodes.elts;
    size = 64 + ngx_push_center_json_len(&ctx->push->node);

    for (i = 0; i < nodes.nelts; i++) {
        size += NGX_PUSH_CENTER_NODE_SIZE
                + ngx_push_center_json_len(&node[i].name);
    }

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL || ngx_push_center_no_store(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_sprintf(b->pos, "{\"asked\":");
    p = ngx_push_center_json(p, &ctx->push->node);
    p = ngx_sprintf(p, ",\"nodes\":[");

    for (i = 0; i < nodes.nelts; i++) {
        if (i) {
            *p++ = ',';
        }

        p = ngx_push_center_node(p, &node[i]);
    }

    b->last = ngx_sprintf(p, "]}\n");

    return ngx_push_center_send(r, NGX_HTTP_OK, b);
}


/* A node alone is a list of one. */

static ngx_int_t
ngx_push_center_nodes_list(ngx_push_center_ctx_t *ctx, ngx_array_t *nodes)
{
    uint64_t           used, away;
    ngx_uint_t         i;
    ngx_push_node_t   *node;
    ngx_push_shard_t  *sh;

    if (ctx->push->cluster) {
        return ctx->push->cluster->nodes(nodes, ctx->request->pool);
    }

    node = ngx_array_push(nodes);
    if (node == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(node, sizeof(ngx_push_node_t));

    used = 0;
    away = 0;

    for (i = 0; i < ngx_push_zone->head->nusers; i++) {
        sh = &ngx_push_zone->shards[i];

        used += sh->classes[NGX_PUSH_SESSION].used;
        away += sh->linger.count + sh->offline.count;
    }

    node->name = ctx->push->node;
    node->epoch = (uint32_t) ngx_push_zone->head->epoch;
    node->alive = 1;
    node->seen = ngx_time();
    node->online = used > away ? used - away : 0;

    return NGX_OK;
}


static u_char *
ngx_push_center_node(u_char *p, ngx_push_node_t *node)
{
    p = ngx_sprintf(p, "{\"node\":");
    p = ngx_push_center_json(p, &node->name);
    p = ngx_sprintf(p, ",\"epoch\":\"%xD\",\"state\":\"%s\",\"seen\":\"",
                    node->epoch, node->alive ? "alive" : "gone");
    p = ngx_push_center_time(p, node->seen);

    return ngx_sprintf(p, "\",\"online\":%ui,\"reflush_remaining\":%ui}",
                       node->online, node->reflush);
}


static ngx_int_t
ngx_push_center_reflush(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx)
{
    u_char     *p;
    ngx_int_t   rc;
    ngx_buf_t  *b;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->push->cluster == NULL) {
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_STATE, NULL, NULL,
                                       "This is a single node: it has no "
                                       "Redis to write sessions back to.");
    }

    switch (ctx->push->cluster->reflush(&ctx->id)) {

    case NGX_OK:
        break;

    case NGX_PUSH_NOT_FOUND:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_NOT_FOUND,
                                       "name", "node",
                                       "No node of this name is known.");

    case NGX_DECLINED:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_STATE,
                                       "name", "node",
                                       "The node has gone: its lease has "
                                       "ended.");

    default:
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_UNAVAILABLE,
                                       NULL, NULL, "The node cannot be told "
                                       "now; nothing was done.");
    }

    b = ngx_create_temp_buf(r->pool, 64 + ngx_push_center_json_len(&ctx->id));
    if (b == NULL || ngx_push_center_no_store(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_sprintf(b->pos, "{\"node\":");
    p = ngx_push_center_json(p, &ctx->id);
    b->last = ngx_sprintf(p, ",\"state\":\"accepted\"}\n");

    return ngx_push_center_send(r, NGX_HTTP_ACCEPTED, b);
}
