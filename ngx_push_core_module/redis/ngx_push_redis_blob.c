
/*
 * Copyright (C) the ngx_push authors
 */


/* Messages as Redis holds them, and memory for those on their way. */


#include "ngx_push_redis_store.h"


#define NGX_PUSH_BLOB_VERSION   1

/* 512 bytes, doubled: up to 64 KiB.  What is larger is not kept. */

#define NGX_PUSH_CLASSES        8
#define NGX_PUSH_CLASS_MIN      512
#define NGX_PUSH_CLASS_KEEP     (1024 * 1024)  /* bytes of a class, unused */


typedef struct ngx_push_piece_s  ngx_push_piece_t;

struct ngx_push_piece_s {
    ngx_push_piece_t    *next;         /* of the free ones */
    ngx_uint_t           class;        /* NGX_PUSH_CLASSES: none */
};


static ngx_push_piece_t  *ngx_push_pieces[NGX_PUSH_CLASSES];
static size_t             ngx_push_kept[NGX_PUSH_CLASSES];


void *
ngx_push_redis_take(size_t size)
{
    size_t             n;
    ngx_uint_t         class;
    ngx_push_piece_t  *piece;

    size += sizeof(ngx_push_piece_t);
    n = NGX_PUSH_CLASS_MIN;

    for (class = 0; class < NGX_PUSH_CLASSES && n < size; class++) {
        n *= 2;
    }

    if (class == NGX_PUSH_CLASSES) {
        n = size;

    } else if (ngx_push_pieces[class]) {
        piece = ngx_push_pieces[class];
        ngx_push_pieces[class] = piece->next;
        ngx_push_kept[class] -= n;
        return piece + 1;
    }

    piece = ngx_alloc(n, ngx_cycle->log);

    if (piece == NULL) {
        return NULL;
    }

    piece->class = class;

    return piece + 1;
}


void
ngx_push_redis_give(void *p)
{
    size_t             n;
    ngx_push_piece_t  *piece;

    piece = (ngx_push_piece_t *) p - 1;
    n = (size_t) NGX_PUSH_CLASS_MIN << piece->class;

    if (piece->class == NGX_PUSH_CLASSES
        || ngx_push_kept[piece->class] + n > NGX_PUSH_CLASS_KEEP)
    {
        ngx_free(piece);
        return;
    }

    piece->next = ngx_push_pieces[piece->class];
    ngx_push_pieces[piece->class] = piece;
    ngx_push_kept[piece->class] += n;
}


void
ngx_push_redis_give_all(void)
{
    ngx_uint_t         class;
    ngx_push_piece_t  *piece;

    for (class = 0; class < NGX_PUSH_CLASSES; class++) {

        while (ngx_push_pieces[class]) {
            piece = ngx_push_pieces[class];
            ngx_push_pieces[class] = piece->next;
            ngx_free(piece);
        }

        ngx_push_kept[class] = 0;
    }
}


static u_char *
ngx_push_blob_put(u_char *p, uint64_t value, ngx_uint_t bytes)
{
    ngx_uint_t  i;

    for (i = bytes; i > 0; i--) {
        p[i - 1] = (u_char) value;
        value >>= 8;
    }

    return p + bytes;
}


static uint64_t
ngx_push_blob_get(u_char *p, ngx_uint_t bytes)
{
    uint64_t  value;

    for (value = 0; bytes; bytes--) {
        value = value << 8 | *p++;
    }

    return value;
}


size_t
ngx_push_blob_size(ngx_push_save_t *op)
{
    return NGX_PUSH_BLOB_HEAD + op->ctype.len + op->props.len + op->size;
}


void
ngx_push_blob_write(u_char *p, ngx_push_save_t *op, time_t created,
    time_t expires)
{
    ngx_chain_t  *cl;

    *p++ = NGX_PUSH_BLOB_VERSION;
    *p++ = (u_char) op->qos;
    p = ngx_push_blob_put(p, created, 4);
    p = ngx_push_blob_put(p, expires, 4);
    p = ngx_push_blob_put(p, op->from, 8);
    p = ngx_push_blob_put(p, op->ctype.len, 1);
    p = ngx_push_blob_put(p, op->props.len, 2);
    p = ngx_cpymem(p, op->ctype.data, op->ctype.len);
    p = ngx_cpymem(p, op->props.data, op->props.len);

    for (cl = op->payload; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }
}


void
ngx_push_blob_times(ngx_str_t *blob, time_t created, time_t expires)
{
    u_char  *p;

    p = ngx_push_blob_put(blob->data + 2, created, 4);
    (void) ngx_push_blob_put(p, expires, 4);
}


ngx_int_t
ngx_push_blob_head(ngx_str_t *head, size_t size, time_t *created,
    time_t *expires, size_t *payload)
{
    u_char  *p;
    size_t   rest;

    p = head->data;

    if (head->len < NGX_PUSH_BLOB_HEAD || p[0] != NGX_PUSH_BLOB_VERSION) {
        return NGX_DECLINED;
    }

    rest = NGX_PUSH_BLOB_HEAD + p[18] + ngx_push_blob_get(p + 19, 2);

    if (size < rest) {
        return NGX_DECLINED;
    }

    *created = (time_t) ngx_push_blob_get(p + 2, 4);
    *expires = (time_t) ngx_push_blob_get(p + 6, 4);
    *payload = size - rest;

    return NGX_OK;
}


ngx_int_t
ngx_push_blob_read(ngx_push_blob_t *b, ngx_str_t *blob)
{
    u_char             *p;
    ngx_push_mirror_t  *m;

    m = &b->m;
    p = blob->data;

    if (ngx_push_blob_head(blob, blob->len, &m->created, &m->expires,
                           &m->size)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    m->qos = p[1];
    m->from = ngx_push_blob_get(p + 10, 8);
    m->ctype.len = p[18];
    m->props.len = (size_t) ngx_push_blob_get(p + 19, 2);

    m->ctype.data = p + NGX_PUSH_BLOB_HEAD;
    m->props.data = m->ctype.data + m->ctype.len;

    ngx_memzero(&b->buf, sizeof(ngx_buf_t));

    b->buf.pos = m->props.data + m->props.len;
    b->buf.last = b->buf.pos + m->size;
    b->buf.start = b->buf.pos;
    b->buf.end = b->buf.last;
    b->buf.memory = 1;

    b->chain.buf = &b->buf;
    b->chain.next = NULL;

    m->payload = &b->chain;

    return NGX_OK;
}
