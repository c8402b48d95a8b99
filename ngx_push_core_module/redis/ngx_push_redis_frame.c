
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_redis_frame.h"

#include <string.h>


/* What is left to read; "bad" once it was too short. */

typedef struct {
    const uint8_t       *pos;
    const uint8_t       *end;
    int                  bad;
} ngx_push_frame_cursor_t;


static uint64_t
ngx_push_frame_get(ngx_push_frame_cursor_t *c, size_t n)
{
    uint64_t  value;

    if ((size_t) (c->end - c->pos) < n) {
        c->bad = 1;
        c->pos = c->end;
        return 0;
    }

    for (value = 0; n; n--) {
        value = value << 8 | *c->pos++;
    }

    return value;
}


static void
ngx_push_frame_get_name(ngx_push_frame_cursor_t *c, ngx_push_frame_str_t *s)
{
    s->len = (size_t) ngx_push_frame_get(c, 1);

    if ((size_t) (c->end - c->pos) < s->len) {
        c->bad = 1;
        c->pos = c->end;
        s->len = 0;
    }

    s->data = c->pos;
    c->pos += s->len;
}


ngx_push_frame_rc_t
ngx_push_frame_entry(const uint8_t **p, const uint8_t *end,
    ngx_push_frame_entry_t *e)
{
    uint64_t                 version;
    ngx_push_frame_cursor_t  c;

    c.pos = *p;
    c.end = end;
    c.bad = 0;

    version = ngx_push_frame_get(&c, 1);

    e->epoch = (uint32_t) ngx_push_frame_get(&c, 4);
    e->slot = (uint16_t) ngx_push_frame_get(&c, 2);
    e->gen = (uint32_t) ngx_push_frame_get(&c, 4);
    e->number = ngx_push_frame_get(&c, 8);
    ngx_push_frame_get_name(&c, &e->node);

    if (c.bad || version != NGX_PUSH_FRAME_VERSION || e->node.len == 0) {
        return NGX_PUSH_FRAME_BAD;
    }

    *p = c.pos;

    return NGX_PUSH_FRAME_OK;
}


ngx_push_frame_rc_t
ngx_push_frame_next(const uint8_t **p, const uint8_t *end,
    ngx_push_frame_t *f)
{
    uint64_t                 len;
    ngx_push_frame_cursor_t  c;

    memset(f, 0, sizeof(ngx_push_frame_t));

    if (*p == end) {
        return NGX_PUSH_FRAME_END;
    }

    c.pos = *p;
    c.end = end;
    c.bad = 0;

    f->type = (uint8_t) ngx_push_frame_get(&c, 1);
    len = ngx_push_frame_get(&c, 4);

    if (c.bad || (size_t) (c.end - c.pos) < len) {
        return NGX_PUSH_FRAME_BAD;
    }

    c.end = c.pos + len;
    *p = c.end;

    switch (f->type) {

    case NGX_PUSH_FRAME_IS_MESSAGE:
        f->kind = (uint8_t) ngx_push_frame_get(&c, 1);
        f->incarnation = ngx_push_frame_get(&c, 8);
        f->seq = ngx_push_frame_get(&c, 8);
        ngx_push_frame_get_name(&c, &f->product);
        ngx_push_frame_get_name(&c, &f->name);
        f->blob.data = c.pos;
        f->blob.len = (size_t) (c.end - c.pos);
        break;

    case NGX_PUSH_FRAME_IS_KICK:
        f->ticket = ngx_push_frame_get(&c, 8);
        f->slot = (uint16_t) ngx_push_frame_get(&c, 2);
        f->gen = (uint32_t) ngx_push_frame_get(&c, 4);
        f->claim = (uint32_t) ngx_push_frame_get(&c, 4);
        f->reason = (uint8_t) ngx_push_frame_get(&c, 1);
        ngx_push_frame_get_name(&c, &f->product);
        ngx_push_frame_get_name(&c, &f->name);
        ngx_push_frame_get_name(&c, &f->device);
        c.bad |= (c.pos != c.end);
        break;

    case NGX_PUSH_FRAME_IS_RELEASED:
        f->ticket = ngx_push_frame_get(&c, 8);
        f->slot = (uint16_t) ngx_push_frame_get(&c, 2);
        f->gen = (uint32_t) ngx_push_frame_get(&c, 4);
        c.bad |= (c.pos != c.end);
        break;

    default:
        break;
    }

    return c.bad ? NGX_PUSH_FRAME_BAD : NGX_PUSH_FRAME_OK;
}


static uint8_t *
ngx_push_frame_put(uint8_t *p, uint64_t value, size_t n)
{
    while (n) {
        n--;
        *p++ = (uint8_t) (value >> (8 * n));
    }

    return p;
}


static uint8_t *
ngx_push_frame_put_name(uint8_t *p, const ngx_push_frame_str_t *s)
{
    *p++ = (uint8_t) s->len;

    if (s->len) {
        memcpy(p, s->data, s->len);
    }

    return p + s->len;
}


uint8_t *
ngx_push_frame_write_entry(uint8_t *p, const ngx_push_frame_entry_t *e)
{
    *p++ = NGX_PUSH_FRAME_VERSION;
    p = ngx_push_frame_put(p, e->epoch, 4);
    p = ngx_push_frame_put(p, e->slot, 2);
    p = ngx_push_frame_put(p, e->gen, 4);
    p = ngx_push_frame_put(p, e->number, 8);

    return ngx_push_frame_put_name(p, &e->node);
}


size_t
ngx_push_frame_size(const ngx_push_frame_t *f)
{
    size_t  n;

    n = NGX_PUSH_FRAME_HEAD;

    switch (f->type) {

    case NGX_PUSH_FRAME_IS_MESSAGE:
        return n + 1 + 8 + 8 + 1 + f->product.len + 1 + f->name.len
               + f->blob.len;

    case NGX_PUSH_FRAME_IS_KICK:
        return n + 8 + 2 + 4 + 4 + 1 + 1 + f->product.len + 1 + f->name.len
               + 1 + f->device.len;

    case NGX_PUSH_FRAME_IS_RELEASED:
        return n + 8 + 2 + 4;

    default:
        return n;
    }
}


uint8_t *
ngx_push_frame_write(uint8_t *p, const ngx_push_frame_t *f)
{
    *p++ = f->type;
    p = ngx_push_frame_put(p, ngx_push_frame_size(f) - NGX_PUSH_FRAME_HEAD, 4);

    switch (f->type) {

    case NGX_PUSH_FRAME_IS_MESSAGE:
        *p++ = f->kind;
        p = ngx_push_frame_put(p, f->incarnation, 8);
        p = ngx_push_frame_put(p, f->seq, 8);
        p = ngx_push_frame_put_name(p, &f->product);
        p = ngx_push_frame_put_name(p, &f->name);

        if (f->blob.len) {
            memcpy(p, f->blob.data, f->blob.len);
        }

        return p + f->blob.len;

    case NGX_PUSH_FRAME_IS_KICK:
        p = ngx_push_frame_put(p, f->ticket, 8);
        p = ngx_push_frame_put(p, f->slot, 2);
        p = ngx_push_frame_put(p, f->gen, 4);
        p = ngx_push_frame_put(p, f->claim, 4);
        *p++ = f->reason;
        p = ngx_push_frame_put_name(p, &f->product);
        p = ngx_push_frame_put_name(p, &f->name);

        return ngx_push_frame_put_name(p, &f->device);

    case NGX_PUSH_FRAME_IS_RELEASED:
        p = ngx_push_frame_put(p, f->ticket, 8);
        p = ngx_push_frame_put(p, f->slot, 2);

        return ngx_push_frame_put(p, f->gen, 4);

    default:
        return p;
    }
}
