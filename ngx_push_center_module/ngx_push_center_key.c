
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"
#include "ngx_push_idem.h"
#include <ngx_sha1.h>


/*
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a string of
 * RFC 8941, "8e03978e", or the same without quotes, as most clients send it.
 */


static const char *ngx_push_center_quoted(ngx_push_center_ctx_t *ctx,
    ngx_str_t *value);
static void ngx_push_center_mix(ngx_sha1_t *sha, ngx_str_t *s);


static const char  ngx_push_center_wrong_key[] =
    "The key is 1 to 255 printable ASCII characters: a string in quotes "
    "(RFC 8941), or bare and without spaces.";


const char *
ngx_push_center_key(ngx_push_center_ctx_t *ctx, ngx_str_t *value)
{
    size_t  i;

    if (value->len && value->data[0] == '"') {
        return ngx_push_center_quoted(ctx, value);
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] <= ' ' || value->data[i] > '~') {
            return ngx_push_center_wrong_key;
        }
    }

    if (i == 0 || i > NGX_PUSH_KEY_MAX) {
        return ngx_push_center_wrong_key;
    }

    ctx->key = *value;

    return NULL;
}


/*
 * Nothing may stand behind the closing quote.  What is between the quotes is
 * the key as it stands, \" and \\ too: they need not be read to be compared.
 */

static const char *
ngx_push_center_quoted(ngx_push_center_ctx_t *ctx, ngx_str_t *value)
{
    u_char  *p, *first, *last;

    first = value->data + 1;
    last = value->data + value->len;

    for (p = first; p < last && *p != '"'; p++) {

        if (*p == '\\' && (++p == last || (*p != '"' && *p != '\\'))) {
            return ngx_push_center_wrong_key;
        }

        if (*p < ' ' || *p > '~') {
            return ngx_push_center_wrong_key;
        }
    }

    if (last - p != 1 || p == first || p - first > NGX_PUSH_KEY_MAX) {
        return ngx_push_center_wrong_key;
    }

    ctx->key.data = first;
    ctx->key.len = p - first;

    return NULL;
}


/*
 * Of what was asked for, not of what was granted: the limits of a product may
 * change between a push and its repetition.
 */

uint64_t
ngx_push_center_fingerprint(ngx_push_center_ctx_t *ctx, ngx_push_save_t *op)
{
    u_char        head[6], digest[20];
    uint64_t      h;
    ngx_str_t     s;
    ngx_uint_t    i;
    ngx_sha1_t    sha;
    ngx_chain_t  *cl;

    head[0] = 1;
    head[1] = (u_char) op->qos;

    for (i = 0; i < 4; i++) {
        head[2 + i] = (u_char) ((uint32_t) ctx->asked >> (24 - 8 * i));
    }

    ngx_sha1_init(&sha);
    ngx_sha1_update(&sha, head, sizeof(head));
    ngx_push_center_mix(&sha, &op->ctype);
    ngx_push_center_mix(&sha, &op->props);

    for (cl = op->payload; cl; cl = cl->next) {
        s.data = cl->buf->pos;
        s.len = cl->buf->last - cl->buf->pos;
        ngx_sha1_update(&sha, s.data, s.len);
    }

    ngx_sha1_final(digest, &sha);

    for (h = 0, i = 0; i < 8; i++) {
        h = h << 8 | digest[i];
    }

    return h;
}


/* With its length, so that no two fields become the same bytes. */

static void
ngx_push_center_mix(ngx_sha1_t *sha, ngx_str_t *s)
{
    u_char  len[2];

    len[0] = (u_char) (s->len >> 8);
    len[1] = (u_char) s->len;

    ngx_sha1_update(sha, len, sizeof(len));
    ngx_sha1_update(sha, s->data, s->len);
}
