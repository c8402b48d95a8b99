
/*
 * Copyright (C) the ngx_push authors
 */


/* From Redis into the zone: what a device wants, and what the bus tells of. */


#include "ngx_push_redis_store.h"
#include "ngx_push_lua_load.h"


#define NGX_PUSH_PAGE_MESSAGES  64
#define NGX_PUSH_PAGE_BYTES     (256 * 1024)


typedef struct {
    ngx_push_need_t      need;
    ngx_uint_t           note;         /* of the bus: one message */
} ngx_push_loading_t;


static ngx_push_loading_t *ngx_push_redis_loading(ngx_push_target_t *t);
static ngx_int_t ngx_push_redis_load_send(ngx_push_loading_t *l);
static void ngx_push_redis_loaded(void *data, ngx_int_t rc,
    redisReply *reply);
static ngx_int_t ngx_push_redis_fill(ngx_push_loading_t *l,
    redisReply *reply);
static void ngx_push_redis_noted(ngx_push_loading_t *l, redisReply *reply);
static ngx_int_t ngx_push_redis_message(ngx_push_blob_t *b,
    ngx_push_target_t *t, redisReply *reply, ngx_uint_t i);


ngx_push_redis_script_t  ngx_push_redis_load_script = {
    "load", ngx_push_lua_load, ""
};


ngx_int_t
ngx_push_redis_page(ngx_push_target_t *t, uint64_t incarnation,
    uint64_t after, uint64_t upto, ngx_uint_t max, size_t bytes,
    ngx_push_redis_pt handler, void *data)
{
    u_char                  buf[NGX_PUSH_REDIS_KEY], n[5][NGX_INT64_LEN];
    size_t                  len[6];
    ngx_str_t               key;
    ngx_uint_t              i;
    const char             *argv[6];
    ngx_push_redis_call_t   call;

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));

    ngx_push_redis_key(buf, &key, t, 'q');

    argv[0] = (char *) key.data;
    len[0] = key.len;

    len[1] = ngx_sprintf(n[0], "%xL", incarnation) - n[0];
    len[2] = ngx_sprintf(n[1], "%uL", after) - n[1];
    len[3] = ngx_sprintf(n[2], "%uL", upto) - n[2];
    len[4] = ngx_sprintf(n[3], "%ui", max) - n[3];
    len[5] = ngx_sprintf(n[4], "%uz", bytes) - n[4];

    for (i = 0; i < 5; i++) {
        argv[i + 1] = (char *) n[i];
    }

    call.script = &ngx_push_redis_load_script;
    call.key = &key;
    call.nkeys = 1;
    call.argc = 6;
    call.argv = argv;
    call.argvlen = len;
    call.handler = handler;
    call.data = data;

    return ngx_push_redis_call(&call);
}


void
ngx_push_redis_load(ngx_push_need_t *need)
{
    ngx_push_loading_t  *l;

    l = ngx_push_redis_loading(&need->target);

    if (l == NULL) {
        ngx_push_mirror_failed(&need->target);
        return;
    }

    l->need.incarnation = need->incarnation;
    l->need.after = need->after;
    l->need.upto = need->upto;

    if (ngx_push_redis_load_send(l) != NGX_AGAIN) {
        ngx_push_mirror_failed(&l->need.target);
        ngx_push_redis_give(l);
    }
}


/*
 * What was too large for the note is fetched.  A note that cannot be followed
 * now is a doubt, to be looked after when Redis answers again.
 */

void
ngx_push_store_arrived(ngx_push_bus_message_t *m)
{
    ngx_push_blob_t      b;
    ngx_push_loading_t  *l;

    if (m->blob && m->blob->len) {
        ngx_memzero(&b.m, sizeof(ngx_push_mirror_t));

        if (ngx_push_blob_read(&b, m->blob) != NGX_OK) {
            return;
        }

        b.m.target = *m->target;
        b.m.incarnation = m->incarnation;
        b.m.seq = m->seq;
        b.m.prev = m->seq ? m->seq - 1 : 0;

        if (b.m.expires <= ngx_time()) {
            return;
        }

        if (m->seq) {
            (void) ngx_push_mirror_put(&b.m);

        } else {
            (void) ngx_push_mirror_once(&b.m);
        }

        return;
    }

    if (m->seq == 0) {
        return;
    }

    l = ngx_push_redis_loading(m->target);

    if (l) {
        l->note = 1;
        l->need.incarnation = m->incarnation;
        l->need.after = m->seq - 1;
        l->need.upto = m->seq;

        if (ngx_push_redis_load_send(l) == NGX_AGAIN) {
            return;
        }

        ngx_push_redis_give(l);
    }

    ngx_push_redis_doubt(m->target, 1);
}


static ngx_push_loading_t *
ngx_push_redis_loading(ngx_push_target_t *t)
{
    ngx_push_loading_t  *l;

    l = ngx_push_redis_take(sizeof(ngx_push_loading_t) + t->name.len);

    if (l == NULL) {
        return NULL;
    }

    ngx_memzero(l, sizeof(ngx_push_loading_t));

    l->need.target = *t;
    l->need.target.name.data = (u_char *) (l + 1);
    ngx_memcpy(l + 1, t->name.data, t->name.len);

    return l;
}


static ngx_int_t
ngx_push_redis_load_send(ngx_push_loading_t *l)
{
    ngx_push_need_t  *need;

    need = &l->need;

    return ngx_push_redis_page(&need->target, need->incarnation, need->after,
                               need->upto, NGX_PUSH_PAGE_MESSAGES,
                               NGX_PUSH_PAGE_BYTES, ngx_push_redis_loaded, l);
}


static void
ngx_push_redis_loaded(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_loading_t  *l;

    l = data;

    if (rc == NGX_OK && l->note) {
        ngx_push_redis_noted(l, reply);

    } else if (rc == NGX_OK) {
        rc = ngx_push_redis_fill(l, reply);
    }

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        (void) ngx_push_reply_error(rc, reply, "load");

        if (l->note) {
            ngx_push_redis_doubt(&l->need.target, 1);

        } else {
            ngx_push_mirror_failed(&l->need.target);
        }
    }

    if (rc != NGX_AGAIN) {
        ngx_push_redis_give(l);
    }
}


static ngx_int_t
ngx_push_redis_fill(ngx_push_loading_t *l, redisReply *reply)
{
    uint64_t          prev;
    ngx_uint_t        i;
    ngx_push_need_t  *need;
    ngx_push_fill_t   f;
    ngx_push_blob_t   b;

    need = &l->need;

    ngx_memzero(&f, sizeof(ngx_push_fill_t));

    f.target = need->target;

    if (ngx_push_reply_size(reply) >= 5) {
        f.incarnation = ngx_push_reply_hex(reply, 0);
        f.last = ngx_push_reply_num(reply, 1);
        f.acked = ngx_push_reply_num(reply, 2);
        f.upto = ngx_push_reply_num(reply, 4);
        f.after = f.incarnation == need->incarnation
                  ? ngx_min(need->after, f.upto) : 0;
    }

    prev = f.after;

    (void) ngx_push_mirror_begin(&f);  /* "full" says it too */

    for (i = 5; !f.full && i + 1 < ngx_push_reply_size(reply); i += 2) {

        if (ngx_push_redis_message(&b, &need->target, reply, i) != NGX_OK) {
            continue;
        }

        b.m.incarnation = f.incarnation;
        b.m.prev = prev;

        if (ngx_push_mirror_fill(&f, &b.m) != NGX_OK) {
            break;                     /* what is left is asked for again */
        }

        prev = b.m.seq;
    }

    ngx_push_mirror_end(&f);

    return NGX_OK;
}


static void
ngx_push_redis_noted(ngx_push_loading_t *l, redisReply *reply)
{
    ngx_push_blob_t  b;

    if (ngx_push_reply_size(reply) < 7
        || ngx_push_reply_hex(reply, 0) != l->need.incarnation
        || ngx_push_redis_message(&b, &l->need.target, reply, 5) != NGX_OK)
    {
        return;                        /* it has ended */
    }

    b.m.incarnation = l->need.incarnation;
    b.m.prev = b.m.seq - 1;

    (void) ngx_push_mirror_put(&b.m);
}


/* Number and blob at "i".  NGX_DECLINED: it is over, or not understood. */

static ngx_int_t
ngx_push_redis_message(ngx_push_blob_t *b, ngx_push_target_t *t,
    redisReply *reply, ngx_uint_t i)
{
    ngx_str_t  blob;

    ngx_memzero(&b->m, sizeof(ngx_push_mirror_t));

    ngx_push_reply_str(reply, i + 1, &blob);

    if (ngx_push_blob_read(b, &blob) != NGX_OK
        || b->m.expires <= ngx_time())
    {
        return NGX_DECLINED;
    }

    b->m.target = *t;
    b->m.seq = ngx_push_reply_num(reply, i);

    return b->m.seq ? NGX_OK : NGX_DECLINED;
}
