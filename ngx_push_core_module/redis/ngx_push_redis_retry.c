
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Error replies: what they say about the call, and what to do about it.  One
 * that says "elsewhere" or "not just now" before anything was done has the
 * call sent again, a few times.
 */


#include "ngx_push_redis_client.h"
#include "ngx_push_worker.h"


#define NGX_PUSH_REDIS_LATER    20     /* ms, after TRYAGAIN */


typedef struct {
    const char  *code;
    ngx_int_t    rc;
    ngx_uint_t   kind;                 /* for the statistics */
    ngx_uint_t   doubt;                /* the topology is to be looked at */
} ngx_push_redis_code_t;


static ngx_int_t ngx_push_redis_follow(ngx_push_redis_job_t *job,
    ngx_push_redis_link_t *link, ngx_push_redis_redirect_t *r);
static void ngx_push_redis_asked(ngx_push_redis_link_t *link,
    redisReply *reply, void *data);
static void ngx_push_redis_again(ngx_event_t *ev);


/* All but the last of these say that nothing has been done. */

static ngx_push_redis_code_t  ngx_push_redis_codes[] = {
    { "LOADING", NGX_ERROR, NGX_PUSH_REDIS_E_LOADING, 0 },
    { "READONLY", NGX_ERROR, NGX_PUSH_REDIS_E_READONLY, 1 },
    { "CLUSTERDOWN", NGX_ERROR, NGX_PUSH_REDIS_E_CLUSTER, 1 },
    { "MASTERDOWN", NGX_ERROR, NGX_PUSH_REDIS_E_CLUSTER, 1 },
    { "NOREPLICAS", NGX_ERROR, NGX_PUSH_REDIS_E_CLUSTER, 0 },
    { "TRYAGAIN", NGX_ERROR, NGX_PUSH_REDIS_E_CLUSTER, 0 },
    { "MOVED", NGX_ERROR, NGX_PUSH_REDIS_E_CLUSTER, 1 },
    { "ASK", NGX_ERROR, NGX_PUSH_REDIS_E_CLUSTER, 0 },
    { "MISCONF", NGX_ERROR, NGX_PUSH_REDIS_E_OTHER, 0 },
    { "BUSY", NGX_ERROR, NGX_PUSH_REDIS_E_BUSY, 0 },
    { "NOSCRIPT", NGX_ERROR, NGX_PUSH_REDIS_E_OTHER, 0 },
    { "NOAUTH", NGX_ERROR, NGX_PUSH_REDIS_E_DENIED, 0 },
    { "NOPERM", NGX_ERROR, NGX_PUSH_REDIS_E_DENIED, 0 },
    { "OOM", NGX_PUSH_FULL, NGX_PUSH_REDIS_E_OOM, 0 },
    { NULL, NGX_DECLINED, NGX_PUSH_REDIS_E_OTHER, 0 }
};


static ngx_push_redis_code_t *
ngx_push_redis_code(const char *text, size_t len)
{
    size_t                  n;
    ngx_push_redis_code_t  *code;

    for (code = ngx_push_redis_codes; code->code; code++) {
        n = ngx_strlen(code->code);

        if (len >= n && ngx_strncmp(text, code->code, n) == 0
            && (len == n || text[n] == ' '))
        {
            break;
        }
    }

    return code;
}


ngx_int_t
ngx_push_redis_error(ngx_push_redis_job_t *job, ngx_push_redis_link_t *link,
    redisReply *reply)
{
    ngx_int_t                  rc;
    ngx_push_redis_code_t     *code;
    ngx_push_redis_redirect_t  r;

    code = ngx_push_redis_code(reply->str, reply->len);

    ngx_push_redis_count(redis_errors[code->kind]);

    if (code->doubt) {
        ngx_push_redis.where->type->doubt();
    }

    if (code->kind == NGX_PUSH_REDIS_E_READONLY && link->server) {
        ngx_push_redis_server_doubt(link->server);
    }

    if (link->use != NGX_PUSH_REDIS_POOL || ngx_push_redis.leaving
        || job->tries++ == NGX_PUSH_REDIS_TRIES)
    {
        return code->rc;
    }

    rc = NGX_DECLINED;

    if (ngx_push_redis_redirect(reply->str, reply->len, &r) == NGX_OK) {
        rc = ngx_push_redis_follow(job, link, &r);

    } else if (ngx_strcmp(reply->str, "NOSCRIPT") == 0
               || ngx_strncmp(reply->str, "NOSCRIPT ", 9) == 0)
    {
        ngx_push_redis_script_lost(link, job);
        rc = ngx_push_redis_job_send(link, job, ngx_push_redis.conf->timeout);

    } else if (ngx_strncmp(reply->str, "TRYAGAIN", 8) == 0) {
        rc = ngx_push_redis_later(job);
    }

    return rc == NGX_OK ? NGX_AGAIN : code->rc;
}


ngx_int_t
ngx_push_redis_classify(const char *text, size_t len)
{
    return ngx_push_redis_code(text, len)->rc;
}


/*
 * ASK holds for this one command, MOVED from now on.  The script has to be
 * there before ASKING, which counts for one command.
 */

static ngx_int_t
ngx_push_redis_follow(ngx_push_redis_job_t *job, ngx_push_redis_link_t *link,
    ngx_push_redis_redirect_t *r)
{
    const char               *asking;
    ngx_push_redis_addr_t     addr;
    ngx_push_redis_server_t  *server;

    ngx_memzero(&addr, sizeof(ngx_push_redis_addr_t));

    if (r->host[0] == '\0') {
        addr = link->addr;

    } else if (ngx_push_redis_literal(r->host)) {
        ngx_memcpy(addr.host, r->host, ngx_strlen(r->host));

    } else {
        /* a name: the new map of the cluster will have its address */
        ngx_push_redis.where->type->doubt();
        return ngx_push_redis_later(job);
    }

    addr.port = r->port;

    server = ngx_push_redis.where->type->redirected(r, &addr);
    link = server ? ngx_push_redis_server_link(server, job->slot) : NULL;

    if (link == NULL) {
        return server ? ngx_push_redis_later(job) : NGX_ERROR;
    }

    if (r->ask) {
        asking = "ASKING";

        if ((job->script
             && ngx_push_redis_script_load(link, job->script) != NGX_OK)
            || ngx_push_redis_own(link, ngx_push_redis_asked, NULL, 1,
                                  &asking, NULL)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_push_redis_job_send(link, job, ngx_push_redis.conf->timeout);
}


static void
ngx_push_redis_asked(ngx_push_redis_link_t *link, redisReply *reply,
    void *data)
{
    /* if it was refused, the command behind it is as well */
}


/* Twenty milliseconds, and twice that with each further time. */

ngx_int_t
ngx_push_redis_later(ngx_push_redis_job_t *job)
{
    job->again.handler = ngx_push_redis_again;
    job->again.data = job;
    job->again.log = ngx_push_redis.log;

    ngx_queue_insert_tail(&ngx_push_redis.waiting, &job->queue);
    ngx_add_timer(&job->again, NGX_PUSH_REDIS_LATER << job->tries);

    return NGX_OK;
}


static void
ngx_push_redis_again(ngx_event_t *ev)
{
    ngx_push_redis_job_t     *job;
    ngx_push_redis_link_t    *link;
    ngx_push_redis_server_t  *server;

    job = ev->data;

    ngx_queue_remove(&job->queue);

    server = ngx_push_redis.where->type->select(job->slot);
    link = server ? ngx_push_redis_server_link(server, job->slot) : NULL;

    if (link
        && ngx_push_redis_job_send(link, job, ngx_push_redis.conf->timeout)
           == NGX_OK)
    {
        return;
    }

    if (job->tries++ < NGX_PUSH_REDIS_TRIES
        && ngx_push_redis_later(job) == NGX_OK)
    {
        return;
    }

    ngx_push_redis_job_done(job, NGX_ERROR, NULL);
}


void
ngx_push_redis_waiting_exit(void)
{
    ngx_queue_t           *q;
    ngx_push_redis_job_t  *job;

    while (!ngx_queue_empty(&ngx_push_redis.waiting)) {
        q = ngx_queue_head(&ngx_push_redis.waiting);
        ngx_queue_remove(q);

        job = ngx_queue_data(q, ngx_push_redis_job_t, queue);

        if (job->again.timer_set) {
            ngx_del_timer(&job->again);
        }

        ngx_push_redis_job_done(job, NGX_ERROR, NULL);
    }
}
