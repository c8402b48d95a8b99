
/*
 * Copyright (C) the ngx_push authors
 */


/* What has become of a message, and pages of an uplink log. */


#include "ngx_push_redis_store.h"
#include "ngx_push_lua_status.h"


typedef struct {
    ngx_push_status_t    op;
    ngx_push_done_pt     done;
    ngx_push_handle_t    handle;
} ngx_push_asking_t;


typedef struct {
    ngx_push_read_t      op;
    ngx_push_done_pt     done;
    ngx_push_handle_t    handle;
    uint64_t             at;           /* read up to, or 0: as op says */
} ngx_push_reading_t;


static void ngx_push_redis_told(void *data, ngx_int_t rc, redisReply *reply);
static ngx_int_t ngx_push_redis_state(ngx_push_status_t *op,
    redisReply *reply);
static ngx_uint_t ngx_push_redis_nsent(ngx_push_status_t *op,
    redisReply *who);
static ngx_int_t ngx_push_redis_read_send(ngx_push_reading_t *r,
    uint64_t incarnation, uint64_t after);
static void ngx_push_redis_got(void *data, ngx_int_t rc, redisReply *reply);
static ngx_int_t ngx_push_redis_entries(ngx_push_reading_t *r,
    redisReply *reply);
static ngx_int_t ngx_push_redis_entry(ngx_push_read_t *op, redisReply *reply,
    ngx_uint_t i);


static ngx_push_redis_script_t  ngx_push_redis_status_script = {
    "status", ngx_push_lua_status, ""
};


ngx_int_t
ngx_push_redis_status(ngx_push_status_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    u_char                  buf[2][NGX_PUSH_REDIS_KEY];
    u_char                  n[2][NGX_INT64_LEN];
    size_t                  len[5];
    ngx_int_t               rc;
    ngx_str_t               key[2];
    const char             *argv[5];
    ngx_push_asking_t      *ask;
    ngx_push_redis_call_t   call;

    ask = ngx_push_redis_take(sizeof(ngx_push_asking_t)
                              + op->target.name.len);
    if (ask == NULL) {
        return NGX_ERROR;
    }

    ask->op = *op;
    ask->op.target.name.data = (u_char *) (ask + 1);
    ngx_memcpy(ask + 1, op->target.name.data, op->target.name.len);
    ask->done = done;
    ask->handle = handle;

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));

    ngx_push_redis_key(buf[0], &key[0], &op->target, 'q');
    ngx_push_redis_key(buf[1], &key[1], &op->target,
                       ngx_push_redis_where(op->target.kind));

    argv[0] = (char *) key[0].data;
    len[0] = key[0].len;
    argv[1] = (char *) key[1].data;
    len[1] = key[1].len;
    argv[2] = (char *) n[0];
    len[2] = ngx_sprintf(n[0], "%xL", op->incarnation) - n[0];
    argv[3] = (char *) n[1];
    len[3] = ngx_sprintf(n[1], "%uL", op->seq) - n[1];
    argv[4] = op->target.kind == NGX_PUSH_INBOX ? "HVALS" : "";
    len[4] = ngx_strlen(argv[4]);

    call.script = &ngx_push_redis_status_script;
    call.key = &key[0];
    call.nkeys = 2;
    call.argc = 5;
    call.argv = argv;
    call.argvlen = len;
    call.handler = ngx_push_redis_told;
    call.data = ask;

    rc = ngx_push_redis_call(&call);

    if (rc != NGX_AGAIN) {
        ngx_push_redis_give(ask);
    }

    return rc;
}


static void
ngx_push_redis_told(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_asking_t  *ask;

    ask = data;

    rc = rc == NGX_OK ? ngx_push_redis_state(&ask->op, reply)
                      : ngx_push_reply_error(rc, reply, "status");

    ask->done(ask->handle, rc, &ask->op);

    ngx_push_redis_give(ask);
}


static ngx_int_t
ngx_push_redis_state(ngx_push_status_t *op, redisReply *reply)
{
    size_t      size;
    time_t      created, expires;
    uint64_t    last, acked, ended;
    ngx_str_t   head;

    last = ngx_push_reply_num(reply, 0);
    acked = ngx_push_reply_num(reply, 1);
    ended = ngx_push_reply_num(reply, 2);

    if (op->seq == 0 || op->seq > last) {
        return NGX_PUSH_NOT_FOUND;
    }

    op->nsent = 0;
    op->created = 0;
    op->expires = 0;
    op->size = 0;

    ngx_push_reply_str(reply, 3, &head);

    if (head.len == 0) {
        op->state = (op->seq <= acked && op->seq > ended)
                    ? NGX_PUSH_STATE_ACKED : NGX_PUSH_STATE_ENDED;
        return NGX_OK;
    }

    if (ngx_push_blob_head(&head, ngx_push_reply_num(reply, 4), &created,
                           &expires, &size)
        != NGX_OK
        || expires <= ngx_time())
    {
        op->state = NGX_PUSH_STATE_ENDED;
        return NGX_OK;
    }

    op->nsent = ngx_push_redis_nsent(op, ngx_push_reply_array(reply, 5));
    op->state = op->nsent ? NGX_PUSH_STATE_SENT : NGX_PUSH_STATE_SAVED;
    op->created = created;
    op->expires = expires;
    op->size = size;

    return NGX_OK;
}


/*
 * Devices whose cursor has passed it, as they were last written; and what the
 * own zone knows, which for a channel is all there is to know.
 */

static ngx_uint_t
ngx_push_redis_nsent(ngx_push_status_t *op, redisReply *who)
{
    ngx_int_t                rc;
    ngx_uint_t               i, n;
    ngx_push_status_t        here;
    ngx_push_handle_t        none;
    ngx_push_whereabouts_t   w;

    n = 0;
    i = 0;

    while (op->target.kind == NGX_PUSH_INBOX
           && (rc = ngx_push_whereabouts(who, NGX_PUSH_INBOX, &i, &w))
              != NGX_DONE)
    {
        if (rc == NGX_OK && w.incarnation == op->incarnation
            && w.sent >= op->seq)
        {
            n++;
        }
    }

    here = *op;
    none.index = 0;
    none.gen = 0;

    if (ngx_push_memory_store.status(&here, NULL, none) == NGX_OK) {
        n = ngx_max(n, here.nsent);
    }

    return n;
}


ngx_int_t
ngx_push_redis_read(ngx_push_read_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    ngx_int_t            rc;
    ngx_push_reading_t  *r;

    r = ngx_push_redis_take(sizeof(ngx_push_reading_t) + op->target.name.len);

    if (r == NULL) {
        return NGX_ERROR;
    }

    r->op = *op;
    r->op.target.name.data = (u_char *) (r + 1);
    ngx_memcpy(r + 1, op->target.name.data, op->target.name.len);
    r->op.lost = 0;
    r->done = done;
    r->handle = handle;

    rc = ngx_push_redis_read_send(r, op->incarnation,
                                  op->incarnation ? op->after : 0);

    if (rc != NGX_AGAIN) {
        ngx_push_redis_give(r);
    }

    return rc;
}


static ngx_int_t
ngx_push_redis_read_send(ngx_push_reading_t *r, uint64_t incarnation,
    uint64_t after)
{
    r->at = after;

    return ngx_push_redis_page(&r->op.target, incarnation, after, 0,
                               r->op.max, r->op.max_bytes, ngx_push_redis_got,
                               r);
}


/* The pool is the caller's: not touched before he was seen. */

static void
ngx_push_redis_got(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_reading_t  *r;

    r = data;

    ngx_memzero(&r->op.entries, sizeof(ngx_array_t));

    if (ngx_push_handle_get(r->handle) == NULL) {
        rc = NGX_ABORT;

    } else {
        rc = rc == NGX_OK ? ngx_push_redis_entries(r, reply)
                          : ngx_push_reply_error(rc, reply, "read");
    }

    if (rc != NGX_AGAIN) {
        r->done(r->handle, rc, &r->op);
        ngx_push_redis_give(r);
    }
}


/* A page in which everything has ended is no end of the log: goes on. */

static ngx_int_t
ngx_push_redis_entries(ngx_push_reading_t *r, redisReply *reply)
{
    uint64_t          incarnation, last, at;
    ngx_uint_t        i, n;
    ngx_push_read_t  *op;

    op = &r->op;
    n = ngx_push_reply_size(reply);

    if (ngx_array_init(&op->entries, op->pool, n / 2 + 1,
                       sizeof(ngx_push_entry_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (n < 5) {
        op->lost = op->incarnation != 0;
        return NGX_OK;
    }

    incarnation = ngx_push_reply_hex(reply, 0);
    last = ngx_push_reply_num(reply, 1);
    at = ngx_push_reply_num(reply, 4);

    if (op->incarnation && op->incarnation != incarnation) {
        op->lost = 1;
    }

    op->incarnation = incarnation;

    for (i = 5; i + 1 < n; i += 2) {
        if (ngx_push_redis_entry(op, reply, i) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (op->entries.nelts == 0 && at < last && at > r->at) {
        return ngx_push_redis_read_send(r, incarnation, at);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_redis_entry(ngx_push_read_t *op, redisReply *reply, ngx_uint_t i)
{
    u_char            *p, *end;
    ngx_str_t          blob, *part[3];
    ngx_uint_t         k;
    ngx_push_blob_t    b;
    ngx_push_entry_t  *e;

    ngx_push_reply_str(reply, i + 1, &blob);
    ngx_memzero(&b.m, sizeof(ngx_push_mirror_t));

    if (ngx_push_blob_read(&b, &blob) != NGX_OK || b.m.expires <= ngx_time()) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(op->pool, blob.len);

    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, blob.data, blob.len);
    blob.data = p;

    (void) ngx_push_blob_read(&b, &blob);

    e = ngx_array_push(&op->entries);

    if (e == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(e, sizeof(ngx_push_entry_t));

    e->incarnation = op->incarnation;
    e->seq = ngx_push_reply_num(reply, i);
    e->created = b.m.created;
    e->expires = b.m.expires;
    e->ctype = b.m.ctype;
    e->payload.data = b.buf.pos;
    e->payload.len = b.m.size;

    part[0] = &e->type;
    part[1] = &e->user;
    part[2] = &e->device;

    p = b.m.props.data;
    end = p + b.m.props.len;

    for (k = 0; op->target.kind == NGX_PUSH_UPLINK && k < 3; k++) {

        if (p == end || *p > end - p - 1) {
            break;
        }

        part[k]->len = *p;
        part[k]->data = p + 1;
        p += 1 + *p;
    }

    return NGX_OK;
}
