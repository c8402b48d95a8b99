
/*
 * Copyright (C) the ngx_push authors
 */


/* Saving: one script, then everybody who is online is told. */


#include "ngx_push_redis_store.h"
#include "ngx_push_idem.h"
#include "ngx_push_journal.h"
#include "ngx_push_lua_save.h"
#include "ngx_push_lua_reached.h"


#define NGX_PUSH_ONCE_KEEP      10     /* seconds a TTL 0 message may take */


/* What waits for an answer: copies of all it needs stand behind it. */

typedef struct {
    ngx_push_save_t      op;
    ngx_push_done_pt     done;
    ngx_push_handle_t    handle;
    time_t               created;
    time_t               expires;      /* of a TTL 0: what the blob says */
    ngx_msec_t           start;
    ngx_str_t            blob;
    ngx_uint_t           marked;       /* its key, as under way */
} ngx_push_saving_t;


typedef struct {
    ngx_uint_t           argc;
    const char          *argv[16];
    size_t               argvlen[16];
    u_char               numbers[8][NGX_INT64_LEN];
    ngx_uint_t           n;            /* of them */
} ngx_push_save_args_t;


static ngx_push_saving_t *ngx_push_redis_saving(ngx_push_save_t *op);
static ngx_int_t ngx_push_redis_save_send(ngx_push_saving_t *s);
static void ngx_push_save_arg(ngx_push_save_args_t *a, const void *data,
    size_t len);
static void ngx_push_save_num(ngx_push_save_args_t *a, int64_t n);
static void ngx_push_redis_saved(void *data, ngx_int_t rc,
    redisReply *reply);
static ngx_int_t ngx_push_redis_save_answer(ngx_push_saving_t *s,
    redisReply *reply);
static ngx_int_t ngx_push_redis_save_refused(ngx_push_saving_t *s,
    redisReply *reply);
static void ngx_push_redis_replayed(ngx_push_saving_t *s, redisReply *reply);
static void ngx_push_redis_save_tell(ngx_push_saving_t *s, redisReply *who);
static void ngx_push_redis_reached(ngx_push_saving_t *s);
static void ngx_push_redis_save_journal(ngx_push_saving_t *s);


ngx_push_redis_script_t  ngx_push_redis_save_script = {
    "save", ngx_push_lua_save, ""
};

static ngx_push_redis_script_t  ngx_push_redis_reached_script = {
    "reached", ngx_push_lua_reached, ""
};


ngx_int_t
ngx_push_redis_save(ngx_push_save_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    ngx_int_t           rc;
    ngx_push_saving_t  *s;

    if (op->size > op->target.product->payload_limit) {
        ngx_push_count(drops[NGX_PUSH_DROP_TOO_LARGE]);
        return NGX_PUSH_TOO_LARGE;
    }

    op->incarnation = 0;
    op->seq = 0;
    op->reached = 0;
    op->expires = 0;
    op->replayed = 0;

    if (op->ttl == 0 && op->target.kind == NGX_PUSH_UPLINK
        && op->key.len == 0)
    {
        ngx_push_count(drops[NGX_PUSH_DROP_OFFLINE]);
        return NGX_OK;
    }

    s = ngx_push_redis_saving(op);

    if (s == NULL) {
        return NGX_ERROR;
    }

    s->done = done;
    s->handle = handle;

    if (s->op.key.len) {
        rc = ngx_push_idem_enter(&s->op.target, &s->op.key);

        if (rc != NGX_OK) {
            ngx_push_redis_give(s);
            return rc;
        }

        s->marked = 1;
    }

    rc = ngx_push_redis_save_send(s);

    if (rc != NGX_AGAIN) {

        if (s->marked) {
            ngx_push_idem_leave(&s->op.target, &s->op.key);
        }

        ngx_push_redis_give(s);
        return rc == NGX_OK ? NGX_ERROR : rc;
    }

    return NGX_AGAIN;
}


/* The copy: the caller's memory may go while it waits. */

static ngx_push_saving_t *
ngx_push_redis_saving(ngx_push_save_t *op)
{
    size_t               size;
    u_char              *p;
    ngx_push_saving_t   *s;
    ngx_push_product_t  *product;

    size = ngx_push_blob_size(op);
    product = op->target.product;

    s = ngx_push_redis_take(sizeof(ngx_push_saving_t) + op->target.name.len
                            + op->key.len + size);
    if (s == NULL) {
        return NULL;
    }

    s->op = *op;
    s->marked = 0;
    s->start = ngx_current_msec;
    s->created = ngx_time();

    if (s->op.ttl < 0) {
        s->op.ttl = product->ttl;
    }

    s->op.ttl = ngx_min(s->op.ttl, product->ttl_max);
    s->expires = s->created + (s->op.ttl ? s->op.ttl : NGX_PUSH_ONCE_KEEP);

    p = (u_char *) (s + 1);

    s->op.target.name.data = p;
    p = ngx_cpymem(p, op->target.name.data, op->target.name.len);

    s->op.key.data = p;
    p = ngx_cpymem(p, op->key.data, op->key.len);

    s->blob.data = p;
    s->blob.len = size;

    ngx_push_blob_write(p, op, s->created, s->expires);

    /* the caller's memory is of no use from here on */

    p += NGX_PUSH_BLOB_HEAD;
    s->op.ctype.data = p;
    p += op->ctype.len;
    s->op.props.data = p;
    s->op.payload = NULL;

    return s;
}


static ngx_int_t
ngx_push_redis_save_send(ngx_push_saving_t *s)
{
    const char             *how;
    u_char                  buf[3][NGX_PUSH_REDIS_KEY], fp[17];
    ngx_str_t               key[3];
    ngx_push_save_t        *op;
    ngx_push_conf_t        *pcf;
    ngx_push_save_args_t    a;
    ngx_push_redis_call_t   call;

    op = &s->op;
    how = ngx_push_redis_how(op->target.kind);

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));

    call.argv = a.argv;
    call.argvlen = a.argvlen;
    call.handler = ngx_push_redis_saved;
    call.data = s;

    a.argc = 0;
    a.n = 0;

    ngx_push_redis_key(buf[1], &key[1], &op->target,
                       ngx_push_redis_where(op->target.kind));

    if (op->ttl == 0 && op->key.len == 0) {
        ngx_push_save_arg(&a, how, ngx_strlen(how));
        ngx_push_save_arg(&a, key[1].data, key[1].len);

        call.key = &key[1];
        call.argc = a.argc;

        return ngx_push_redis_call(&call);
    }

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    ngx_push_redis_key(buf[0], &key[0], &op->target, 'q');

    call.script = &ngx_push_redis_save_script;
    call.run = 1;
    call.key = &key[0];
    call.nkeys = op->key.len ? 3 : 2;

    ngx_push_save_arg(&a, key[0].data, key[0].len);
    ngx_push_save_arg(&a, key[1].data, key[1].len);

    if (op->key.len) {
        ngx_push_redis_key(buf[2], &key[2], &op->target, 'k');
        ngx_push_save_arg(&a, key[2].data, key[2].len);
    }

    ngx_push_save_arg(&a, s->blob.data, op->ttl ? s->blob.len : 0);
    ngx_push_save_num(&a, op->ttl);
    ngx_push_save_num(&a, s->created);
    ngx_push_save_num(&a, ngx_push_log_limit(&op->target));
    ngx_push_save_arg(&a, how, ngx_strlen(how));

    if (op->key.len) {
        ngx_push_save_arg(&a, op->key.data, op->key.len);
        ngx_push_save_arg(&a, fp, ngx_sprintf(fp, "%xL", op->fingerprint)
                                  - fp);
        ngx_push_save_num(&a, op->ttl ? s->expires : 0);
        ngx_push_save_num(&a, pcf->idempotency_keep);
        ngx_push_save_num(&a, pcf->idempotency_limit);
    }

    call.argc = a.argc;

    return ngx_push_redis_call(&call);
}


static void
ngx_push_save_arg(ngx_push_save_args_t *a, const void *data, size_t len)
{
    a->argv[a->argc] = data;
    a->argvlen[a->argc++] = len;
}


static void
ngx_push_save_num(ngx_push_save_args_t *a, int64_t n)
{
    u_char  *p;

    p = a->numbers[a->n++];

    ngx_push_save_arg(a, p, ngx_sprintf(p, "%L", n) - p);
}


static void
ngx_push_redis_saved(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_saving_t  *s;

    s = data;

    if (rc == NGX_OK) {
        rc = ngx_push_redis_save_answer(s, reply);

    } else if (rc == NGX_ABORT) {

        if (s->op.ttl) {
            ngx_push_redis_doubt(&s->op.target, 0);
        }

    } else {
        rc = ngx_push_reply_error(rc, reply, "save");
    }

    if (rc == NGX_PUSH_FULL) {
        ngx_push_count(drops[NGX_PUSH_DROP_ZONE_FULL]);
    }

    if (s->marked) {
        ngx_push_idem_leave(&s->op.target, &s->op.key);
        s->marked = 0;
    }

    s->done(s->handle, rc, &s->op);

    ngx_push_redis_give(s);
}


static ngx_int_t
ngx_push_redis_save_answer(ngx_push_saving_t *s, redisReply *reply)
{
    redisReply       *who;
    ngx_uint_t        n;
    ngx_push_save_t  *op;

    op = &s->op;

    if (op->ttl == 0 && op->key.len == 0) {
        ngx_push_redis_save_tell(s, reply);
        return NGX_OK;
    }

    n = ngx_push_reply_size(reply);

    if (n == 1 || n == 2) {
        return ngx_push_redis_save_refused(s, reply);
    }

    if (n == 3) {
        ngx_push_redis_replayed(s, reply);
        return NGX_OK;
    }

    who = ngx_push_reply_array(reply, 4);

    if (who == NULL) {
        return ngx_push_reply_error(NGX_OK, reply, "save");
    }

    if (op->ttl == 0) {
        ngx_push_redis_save_tell(s, who);
        ngx_push_redis_reached(s);
        return NGX_OK;
    }

    op->incarnation = ngx_push_reply_hex(reply, 0);
    op->seq = ngx_push_reply_num(reply, 1);
    op->expires = s->expires;

    ngx_push_count(saved[op->target.kind]);
    ngx_push_count_add(drops[NGX_PUSH_DROP_LIMIT],
                       ngx_push_reply_num(reply, 2));
    ngx_push_count_add(drops[NGX_PUSH_DROP_EXPIRED],
                       ngx_push_reply_num(reply, 3));

    ngx_push_redis_save_tell(s, who);
    ngx_push_redis_save_journal(s);

    return NGX_OK;
}


static ngx_int_t
ngx_push_redis_save_refused(ngx_push_saving_t *s, redisReply *reply)
{
    ngx_str_t  why;

    ngx_push_reply_str(reply, 0, &why);

    if (why.len == sizeof("mismatch") - 1
        && ngx_memcmp(why.data, "mismatch", why.len) == 0)
    {
        return NGX_PUSH_MISMATCH;
    }

    if (why.len == sizeof("limited") - 1
        && ngx_memcmp(why.data, "limited", why.len) == 0)
    {
        ngx_push_count(drops[NGX_PUSH_DROP_KEYS]);
        return NGX_PUSH_LIMITED;
    }

    return ngx_push_reply_error(NGX_OK, reply, "save");
}


/*
 * The first answer again.  Whoever gave it has told the devices, or has it
 * among its doubts, or has died: then all nodes compare.  But the journal may
 * not know of it, if the first answer never came or its worker died; so it is
 * told, with the times of then.
 */

static void
ngx_push_redis_replayed(ngx_push_saving_t *s, redisReply *reply)
{
    ngx_push_save_t  *op;

    op = &s->op;

    ngx_push_count(replayed);

    op->replayed = 1;
    op->incarnation = ngx_push_reply_hex(reply, 0);

    if (op->incarnation) {
        op->seq = ngx_push_reply_num(reply, 1);
        op->expires = (time_t) ngx_push_reply_num(reply, 2);

        s->expires = op->expires;
        s->created = op->expires - op->ttl;

        ngx_push_blob_times(&s->blob, s->created, s->expires);
        ngx_push_redis_save_journal(s);

    } else {
        op->reached = (ngx_uint_t) ngx_push_reply_num(reply, 1);
    }
}


static void
ngx_push_redis_save_tell(ngx_push_saving_t *s, redisReply *who)
{
    ngx_push_blob_t   b;
    ngx_push_save_t  *op;

    op = &s->op;

    ngx_memzero(&b.m, sizeof(ngx_push_mirror_t));

    (void) ngx_push_blob_read(&b, &s->blob);

    b.m.target = op->target;
    b.m.incarnation = op->incarnation;
    b.m.seq = op->seq;
    b.m.prev = op->seq ? op->seq - 1 : 0;

    op->reached = ngx_push_redis_tell(who, &b.m, &s->blob);

    if (op->seq == 0) {
        if (op->reached) {
            ngx_push_count(once[op->target.kind]);

        } else {
            ngx_push_count(drops[NGX_PUSH_DROP_OFFLINE]);
        }
    }
}


/* A TTL 0 has no other answer to repeat but this. */

static void
ngx_push_redis_reached(ngx_push_saving_t *s)
{
    u_char                  buf[NGX_PUSH_REDIS_KEY], fp[17];
    ngx_str_t               key;
    ngx_push_save_args_t    a;
    ngx_push_redis_call_t   call;

    if (s->op.reached == 0) {
        return;
    }

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));

    a.argc = 0;
    a.n = 0;

    ngx_push_redis_key(buf, &key, &s->op.target, 'k');

    ngx_push_save_arg(&a, key.data, key.len);
    ngx_push_save_arg(&a, s->op.key.data, s->op.key.len);
    ngx_push_save_arg(&a, fp, ngx_sprintf(fp, "%xL", s->op.fingerprint) - fp);
    ngx_push_save_num(&a, s->op.reached);

    call.script = &ngx_push_redis_reached_script;
    call.key = &key;
    call.nkeys = 1;
    call.argc = a.argc;
    call.argv = a.argv;
    call.argvlen = a.argvlen;

    (void) ngx_push_redis_call(&call);
}


static void
ngx_push_redis_save_journal(ngx_push_saving_t *s)
{
    ngx_push_conf_t             *pcf;
    ngx_push_journal_message_t   jm;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    if (pcf == NULL || pcf->journal == NULL) {
        return;
    }

    jm.target = &s->op.target;
    jm.incarnation = s->op.incarnation;
    jm.seq = s->op.seq;
    jm.created = s->created;
    jm.expires = s->expires;
    jm.blob = &s->blob;

    pcf->journal->saved(&jm);
}
