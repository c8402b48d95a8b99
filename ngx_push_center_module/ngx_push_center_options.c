
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


/*
 * The header fields that say how a message is to be pushed.  What would be
 * accepted and then not be done is refused: a client that asks for a message
 * to be replaced by its successor (Topic), or that has encoded the payload,
 * relies on it.
 *
 * Urgency is done in full: it is for devices that ask for urgent messages
 * only, which none can, so every device gets every message.
 */


#define NGX_PUSH_CENTER_TOPIC_MAX  32


typedef struct {
    ngx_str_t     name;                /* in lower case */
    const char   *title;

    /* what is wrong with the value, or NULL */
    const char *(*parse)(ngx_push_center_ctx_t *ctx, ngx_str_t *value);
    ngx_uint_t    missing;             /* refused though right */
} ngx_push_center_option_t;


static const char *ngx_push_center_parse_ttl(ngx_push_center_ctx_t *ctx,
    ngx_str_t *value);
static const char *ngx_push_center_parse_qos(ngx_push_center_ctx_t *ctx,
    ngx_str_t *value);
static const char *ngx_push_center_parse_urgency(ngx_push_center_ctx_t *ctx,
    ngx_str_t *value);
static const char *ngx_push_center_parse_topic(ngx_push_center_ctx_t *ctx,
    ngx_str_t *value);
static const char *ngx_push_center_parse_any(ngx_push_center_ctx_t *ctx,
    ngx_str_t *value);
static const char *ngx_push_center_parse_type(ngx_push_center_ctx_t *ctx,
    ngx_str_t *value);
static ngx_push_center_option_t *ngx_push_center_find(ngx_table_elt_t *h);
static ngx_int_t ngx_push_center_option(ngx_http_request_t *r,
    ngx_push_center_ctx_t *ctx, ngx_table_elt_t *h, ngx_uint_t *seen);


static ngx_push_center_option_t  ngx_push_center_option_table[] = {

    { ngx_string("ttl"), "TTL", ngx_push_center_parse_ttl, 0 },
    { ngx_string("qos"), "QoS", ngx_push_center_parse_qos, 0 },
    { ngx_string("urgency"), "Urgency", ngx_push_center_parse_urgency, 0 },
    { ngx_string("content-type"), "Content-Type",
      ngx_push_center_parse_type, 0 },

    { ngx_string("idempotency-key"), "Idempotency-Key",
      ngx_push_center_key, 0 },

    { ngx_string("topic"), "Topic", ngx_push_center_parse_topic, 1 },
    { ngx_string("content-encoding"), "Content-Encoding",
      ngx_push_center_parse_any, 1 },

    { ngx_null_string, NULL, NULL, 0 }
};


ngx_int_t
ngx_push_center_options(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx,
    ngx_int_t *rc)
{
    ngx_uint_t           i, seen;
    ngx_list_part_t     *part;
    ngx_table_elt_t     *h;
    ngx_push_product_t  *product;

    ctx->ttl = -1;
    ctx->qos = 1;
    seen = 0;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */; i++) {

        if (i == part->nelts) {
            part = part->next;

            if (part == NULL) {
                break;
            }

            h = part->elts;
            i = 0;
        }

        *rc = ngx_push_center_option(r, ctx, &h[i], &seen);

        if (*rc != NGX_DECLINED) {
            return NGX_DECLINED;
        }
    }

    product = ctx->target.product;

    ctx->asked = ctx->ttl;
    ctx->ttl = (ctx->ttl < 0) ? product->ttl
                              : ngx_min(ctx->ttl, product->ttl_max);

    return NGX_OK;
}


/* NGX_DECLINED: nothing is wrong with this one; else as a problem returns. */

static ngx_int_t
ngx_push_center_option(ngx_http_request_t *r, ngx_push_center_ctx_t *ctx,
    ngx_table_elt_t *h, ngx_uint_t *seen)
{
    ngx_uint_t                 bit;
    const char                *wrong;
    ngx_push_center_option_t  *option;

    option = ngx_push_center_find(h);

    if (option == NULL) {
        return NGX_DECLINED;
    }

    bit = (ngx_uint_t) 1 << (option - ngx_push_center_option_table);

    wrong = (*seen & bit) ? "The field is there more than once."
                          : option->parse(ctx, &h->value);

    *seen |= bit;

    if (wrong) {
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_HEADER, "header",
                                       option->title, "%s", wrong);
    }

    if (option->missing) {
        return ngx_push_center_problem(r, NGX_PUSH_PROBLEM_NOT_IMPLEMENTED,
                                       "header", option->title, "This server "
                                       "does not do what the field asks for.");
    }

    return NGX_DECLINED;
}


static ngx_push_center_option_t *
ngx_push_center_find(ngx_table_elt_t *h)
{
    ngx_push_center_option_t  *option;

    for (option = ngx_push_center_option_table; option->parse; option++) {

        if (option->name.len == h->key.len
            && ngx_memcmp(option->name.data, h->lowcase_key, h->key.len) == 0)
        {
            return option;
        }
    }

    return NULL;
}


/* Any number of digits is a number; one beyond the limit is the limit. */

static const char *
ngx_push_center_parse_ttl(ngx_push_center_ctx_t *ctx, ngx_str_t *value)
{
    size_t  i;
    time_t  ttl;

    ttl = 0;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] < '0' || value->data[i] > '9') {
            break;
        }

        ttl = ngx_min(ttl * 10 + value->data[i] - '0', NGX_MAX_INT32_VALUE);
    }

    if (value->len == 0 || i < value->len) {
        return "The time to live is a number of seconds, 0 or more.";
    }

    ctx->ttl = ttl;

    return NULL;
}


static const char *
ngx_push_center_parse_qos(ngx_push_center_ctx_t *ctx, ngx_str_t *value)
{
    if (value->len != 1 || value->data[0] < '0' || value->data[0] > '1') {
        return "The quality of service is 0 (sent once) or 1 (until it is "
               "acknowledged).";
    }

    ctx->qos = value->data[0] - '0';

    return NULL;
}


static const char *
ngx_push_center_parse_urgency(ngx_push_center_ctx_t *ctx, ngx_str_t *value)
{
    ngx_uint_t  i;

    static ngx_str_t  levels[] = {
        ngx_string("very-low"),
        ngx_string("low"),
        ngx_string("normal"),
        ngx_string("high"),
        ngx_null_string
    };

    for (i = 0; levels[i].len; i++) {
        if (levels[i].len == value->len
            && ngx_strncasecmp(levels[i].data, value->data, value->len) == 0)
        {
            return NULL;
        }
    }

    return "The urgency is very-low, low, normal or high.";
}


static const char *
ngx_push_center_parse_topic(ngx_push_center_ctx_t *ctx, ngx_str_t *value)
{
    u_char  c;
    size_t  i;

    for (i = 0; i < value->len; i++) {
        c = value->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-' || c == '_'))
        {
            break;
        }
    }

    if (i == 0 || i < value->len || i > NGX_PUSH_CENTER_TOPIC_MAX) {
        return "A topic is 1 to 32 characters of the URL-safe base64 alphabet "
               "(RFC 8030, section 5.4).";
    }

    return NULL;
}


static const char *
ngx_push_center_parse_any(ngx_push_center_ctx_t *ctx, ngx_str_t *value)
{
    return NULL;
}


/* It becomes a string of MQTT. */

static const char *
ngx_push_center_parse_type(ngx_push_center_ctx_t *ctx, ngx_str_t *value)
{
    if (value->len && !ngx_push_name_ok(value)) {
        return "The content type is at most 255 bytes of UTF-8 without "
               "control characters.";
    }

    return NULL;
}
