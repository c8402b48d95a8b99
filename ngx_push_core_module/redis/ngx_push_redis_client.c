
/*
 * Copyright (C) the ngx_push authors
 */


/* The client as a whole: its beginning and end in a process. */


#include "ngx_push_redis_client.h"
#include "ngx_push_worker.h"


static void ngx_push_redis_answer_all(ngx_push_redis_link_t *link);


ngx_push_redis_client_t  ngx_push_redis;


ngx_push_redis_conf_t *
ngx_push_redis_conf(void)
{
    return ngx_push_redis.conf;
}


ngx_int_t
ngx_push_redis_client_init(ngx_cycle_t *cycle)
{
    ngx_push_redis.where = ngx_push_redis.conf->topology;
    ngx_push_redis.log = cycle->log;
    ngx_push_redis.running = 1;
    ngx_push_redis.started = ngx_current_msec;

    ngx_queue_init(&ngx_push_redis.servers);
    ngx_queue_init(&ngx_push_redis.retired);
    ngx_queue_init(&ngx_push_redis.waiting);

    ngx_push_redis.reap.handler = ngx_push_redis_server_reap;
    ngx_push_redis.reap.log = cycle->log;

    ngx_push_redis_block_init();

    /* the slot's last process may have left by a signal */

    ngx_push_redis_gauge(redis_up, 0);
    ngx_push_redis_gauge(redis_inflight, 0);
    ngx_push_redis_gauge(redis_usec_max, 0);

    return ngx_push_redis.where->type->init(cycle);
}


void
ngx_push_redis_watch(ngx_push_redis_watch_t *watch)
{
    watch->next = ngx_push_redis.watches;
    ngx_push_redis.watches = watch;
}


/*
 * What has not been answered by now will not be: its handlers are called
 * while everything they may touch is there.  After that nobody is.
 */

void
ngx_push_redis_client_leave(void)
{
    ngx_uint_t                i;
    ngx_queue_t              *q;
    ngx_push_redis_server_t  *server;

    ngx_push_redis.leaving = 1;
    ngx_push_redis.watches = NULL;

    for (q = ngx_queue_head(&ngx_push_redis.servers);
         q != ngx_queue_sentinel(&ngx_push_redis.servers);
         q = ngx_queue_next(q))
    {
        server = ngx_queue_data(q, ngx_push_redis_server_t, queue);

        for (i = 0; i < server->nlinks; i++) {
            ngx_push_redis_answer_all(&server->links[i]);
        }
    }

    ngx_push_redis_block_exit();
    ngx_push_redis_waiting_exit();
}


/* The jobs stay where they are: their commands may still be written. */

static void
ngx_push_redis_answer_all(ngx_push_redis_link_t *link)
{
    void                  *data;
    ngx_queue_t           *q;
    ngx_push_redis_pt      handler;
    ngx_push_redis_job_t  *job;

    for (q = ngx_queue_head(&link->jobs);
         q != ngx_queue_sentinel(&link->jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_queue_data(q, ngx_push_redis_job_t, queue);

        handler = job->handler;
        data = job->data;

        job->handler = NULL;

        if (handler) {
            ngx_push_redis_count(redis_aborts);
            handler(data, NGX_ABORT, NULL);
        }
    }
}


void
ngx_push_redis_client_exit(void)
{
    ngx_uint_t                i;
    ngx_queue_t              *q;
    ngx_push_redis_link_t    *link;
    ngx_push_redis_server_t  *server;

    for (q = ngx_queue_head(&ngx_push_redis.servers);
         q != ngx_queue_sentinel(&ngx_push_redis.servers);
         q = ngx_queue_next(q))
    {
        server = ngx_queue_data(q, ngx_push_redis_server_t, queue);

        for (i = 0; i < server->nlinks; i++) {
            link = &server->links[i];

            if (link->state == NGX_PUSH_REDIS_READY && link->flush.posted) {
                ngx_delete_posted_event(&link->flush);
                link->flush.handler(&link->flush);
            }
        }
    }

    ngx_push_redis.where->type->exit();
    ngx_push_redis_server_exit();

    ngx_push_redis.running = 0;
    ngx_push_redis_gauge(redis_up, 0);
}


void
ngx_push_redis_key(u_char *buf, ngx_str_t *key, ngx_push_target_t *t,
    u_char suffix)
{
    u_char  *p;

    static const u_char  separator[NGX_PUSH_KINDS] = { ':', ';', 0, '^' };

    p = ngx_cpymem(buf, ngx_push_redis.conf->prefix.data,
                   ngx_push_redis.conf->prefix.len);

    *p++ = '{';
    p = ngx_cpymem(p, t->product->name.data, t->product->name.len);

    if (separator[t->kind]) {
        *p++ = separator[t->kind];
    }

    if (t->kind == NGX_PUSH_INBOX || t->kind == NGX_PUSH_GROUP) {
        p = ngx_cpymem(p, t->name.data, t->name.len);
    }

    *p++ = '}';
    *p++ = suffix;

    key->data = buf;
    key->len = p - buf;
}
