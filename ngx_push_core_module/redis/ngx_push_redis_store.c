
/*
 * Copyright (C) the ngx_push authors
 */


/* The store in Redis: its entries, and what it does not know for sure. */


#include "ngx_push_redis_store.h"
#include <ngx_event.h>
#include "ngx_push_lua_tell.h"


#define NGX_PUSH_DOUBTS         4096   /* logs of one worker */
#define NGX_PUSH_DOUBT_STEPS    256    /* asked in one turn */
#define NGX_PUSH_DOUBT_EVERY    1000

/*
 * A command that a closed connection had sent may still be read by Redis, and
 * after one that was sent later on another: so each doubt is looked at twice.
 */

#define NGX_PUSH_DOUBT_LOOKS    2


typedef struct {
    ngx_queue_t          queue;
    ngx_push_target_t    target;
    ngx_uint_t           looks;        /* still to do */
    ngx_uint_t           here;         /* only this node is told */
} ngx_push_doubt_t;


static void ngx_push_redis_doubt_timer(ngx_event_t *ev);
static ngx_int_t ngx_push_redis_doubt_ask(ngx_push_doubt_t *d);
static void ngx_push_redis_doubt_told(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_push_redis_doubt_tell(ngx_push_doubt_t *d,
    redisReply *reply);


static ngx_push_redis_script_t  ngx_push_redis_tell_script = {
    "tell", ngx_push_lua_tell, ""
};

static ngx_queue_t   ngx_push_doubts;
static ngx_uint_t    ngx_push_ndoubts;       /* those under way too */
static ngx_event_t   ngx_push_doubt_event;


ngx_push_store_t  ngx_push_redis_store = {
    ngx_string("redis"),
    ngx_push_redis_save,
    ngx_push_redis_status,
    ngx_push_redis_read,
    ngx_push_redis_load
};


ngx_int_t
ngx_push_redis_store_init(ngx_cycle_t *cycle)
{
    static ngx_connection_t  dumb;

    ngx_queue_init(&ngx_push_doubts);

    ngx_memzero(&ngx_push_doubt_event, sizeof(ngx_event_t));

    dumb.fd = (ngx_socket_t) -1;

    ngx_push_doubt_event.handler = ngx_push_redis_doubt_timer;
    ngx_push_doubt_event.data = &dumb;
    ngx_push_doubt_event.log = cycle->log;
    ngx_push_doubt_event.cancelable = 1;

    return NGX_OK;
}


void
ngx_push_redis_store_exit(ngx_cycle_t *cycle)
{
    ngx_push_doubt_t  *d;

    if (ngx_push_doubt_event.timer_set) {
        ngx_del_timer(&ngx_push_doubt_event);
    }

    if (ngx_push_ndoubts) {
        ngx_push_bus_check_everywhere("a worker has left some saves open");
    }

    while (ngx_push_doubts.next && !ngx_queue_empty(&ngx_push_doubts)) {
        d = ngx_queue_data(ngx_queue_head(&ngx_push_doubts), ngx_push_doubt_t,
                           queue);
        ngx_queue_remove(&d->queue);
        ngx_push_redis_give(d);
    }

    ngx_push_redis_give_all();
}


void
ngx_push_redis_doubt(ngx_push_target_t *t, ngx_uint_t here)
{
    ngx_push_doubt_t  *d;
    static time_t      last;

    if (t->kind == NGX_PUSH_UPLINK) {
        return;
    }

    d = ngx_push_ndoubts < NGX_PUSH_DOUBTS
        ? ngx_push_redis_take(sizeof(ngx_push_doubt_t) + t->name.len) : NULL;

    if (d == NULL) {
        if (last != ngx_time()) {
            last = ngx_time();
            ngx_push_bus_check_everywhere("too many saves without an answer");
        }

        return;
    }

    d->target = *t;
    d->target.name.data = (u_char *) (d + 1);
    ngx_memcpy(d + 1, t->name.data, t->name.len);
    d->looks = here ? 1 : NGX_PUSH_DOUBT_LOOKS;
    d->here = here;

    ngx_queue_insert_tail(&ngx_push_doubts, &d->queue);
    ngx_push_ndoubts++;

    if (!ngx_push_doubt_event.timer_set) {
        ngx_add_timer(&ngx_push_doubt_event, NGX_PUSH_DOUBT_EVERY);
    }
}


static void
ngx_push_redis_doubt_timer(ngx_event_t *ev)
{
    ngx_uint_t         n;
    ngx_queue_t       *q;
    ngx_push_doubt_t  *d;

    for (n = 0; n < NGX_PUSH_DOUBT_STEPS; n++) {

        if (ngx_queue_empty(&ngx_push_doubts)) {
            break;
        }

        q = ngx_queue_head(&ngx_push_doubts);
        d = ngx_queue_data(q, ngx_push_doubt_t, queue);

        ngx_queue_remove(q);

        if (ngx_push_redis_doubt_ask(d) != NGX_AGAIN) {
            ngx_queue_insert_tail(&ngx_push_doubts, q);
        }
    }

    if (ngx_push_ndoubts) {
        ngx_add_timer(ev, NGX_PUSH_DOUBT_EVERY);
    }
}


static ngx_int_t
ngx_push_redis_doubt_ask(ngx_push_doubt_t *d)
{
    u_char                  buf[2][NGX_PUSH_REDIS_KEY];
    size_t                  len[3];
    ngx_str_t               key[2];
    const char             *argv[3];
    ngx_push_redis_call_t   call;

    ngx_push_redis_key(buf[0], &key[0], &d->target, 'q');
    ngx_push_redis_key(buf[1], &key[1], &d->target,
                       ngx_push_redis_where(d->target.kind));

    argv[0] = (char *) key[0].data;
    len[0] = key[0].len;
    argv[1] = (char *) key[1].data;
    len[1] = key[1].len;
    argv[2] = ngx_push_redis_how(d->target.kind);
    len[2] = ngx_strlen(argv[2]);

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));

    call.script = &ngx_push_redis_tell_script;
    call.key = &key[0];
    call.nkeys = 2;
    call.argc = 3;
    call.argv = argv;
    call.argvlen = len;
    call.handler = ngx_push_redis_doubt_told;
    call.data = d;

    return ngx_push_redis_call(&call);
}


static void
ngx_push_redis_doubt_told(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_doubt_t  *d;

    d = data;

    if (rc == NGX_OK) {
        ngx_push_redis_doubt_tell(d, reply);
        d->looks--;
    }

    if (d->looks == 0) {
        ngx_push_ndoubts--;
        ngx_push_redis_give(d);
        return;
    }

    ngx_queue_insert_tail(&ngx_push_doubts, &d->queue);

    if (!ngx_push_doubt_event.timer_set) {
        ngx_add_timer(&ngx_push_doubt_event, NGX_PUSH_DOUBT_EVERY);
    }
}


/* The last message, even if it is an older one that was told before. */

static void
ngx_push_redis_doubt_tell(ngx_push_doubt_t *d, redisReply *reply)
{
    ngx_str_t        blob;
    ngx_push_blob_t  b;

    ngx_push_reply_str(reply, 2, &blob);
    ngx_memzero(&b.m, sizeof(ngx_push_mirror_t));

    if (ngx_push_blob_read(&b, &blob) != NGX_OK
        || b.m.expires <= ngx_time())
    {
        return;
    }

    b.m.target = d->target;
    b.m.incarnation = ngx_push_reply_hex(reply, 0);
    b.m.seq = ngx_push_reply_num(reply, 1);
    b.m.prev = b.m.seq - 1;

    if (d->here) {
        (void) ngx_push_mirror_put(&b.m);
        return;
    }

    (void) ngx_push_redis_tell(ngx_push_reply_array(reply, 3), &b.m, &blob);
}
