
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The one blocking call of a process, on a connection of its own: made for
 * the first call, kept while calls go to the same server.  It never keeps the
 * process from leaving.
 */


#include "ngx_push_redis_client.h"
#include "ngx_push_worker.h"


static ngx_push_redis_link_t *ngx_push_redis_block_link(
    ngx_push_redis_server_t *server);
static void ngx_push_redis_block_up(ngx_push_redis_link_t *link);
static void ngx_push_redis_block_down(ngx_push_redis_link_t *link);
static void ngx_push_redis_block_answered(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_push_redis_block_drop(ngx_event_t *ev);


static ngx_push_redis_link_t   ngx_push_redis_blocking;
static ngx_push_redis_job_t   *ngx_push_redis_block_job;  /* until connected */
static ngx_msec_t              ngx_push_redis_block_wait;
static ngx_push_redis_pt       ngx_push_redis_block_handler;
static void                   *ngx_push_redis_block_data;
static ngx_uint_t              ngx_push_redis_block_busy;
static ngx_event_t             ngx_push_redis_block_event;


ngx_int_t
ngx_push_redis_block(ngx_push_redis_call_t *call, ngx_msec_t wait)
{
    ngx_push_redis_call_t     own;
    ngx_push_redis_job_t     *job;
    ngx_push_redis_link_t    *link;
    ngx_push_redis_server_t  *server;

    if (!ngx_push_redis.running || ngx_push_redis.leaving) {
        return NGX_ERROR;
    }

    if (ngx_push_redis_block_busy) {
        return NGX_PUSH_BUSY;
    }

    server = ngx_push_redis.where->type->select(ngx_push_redis_slot(call->key));

    if (server == NULL || server->nready == 0) {
        return NGX_ERROR;
    }

    link = ngx_push_redis_block_link(server);

    if (link == NULL) {
        return NGX_ERROR;
    }

    own = *call;
    own.handler = ngx_push_redis_block_answered;
    own.data = NULL;

    job = ngx_push_redis_job_new(&own);

    if (job == NULL) {
        return NGX_ERROR;
    }

    ngx_push_redis_block_handler = call->handler;
    ngx_push_redis_block_data = call->data;
    ngx_push_redis_block_wait = wait + ngx_push_redis.conf->timeout;

    if (link->state != NGX_PUSH_REDIS_READY) {
        ngx_push_redis_block_job = job;

    } else if (ngx_push_redis_job_send(link, job, ngx_push_redis_block_wait)
               != NGX_OK)
    {
        ngx_push_redis_job_free(job);
        return NGX_ERROR;
    }

    ngx_push_redis_block_busy = 1;

    return NGX_AGAIN;
}


/* NULL: the old connection has to be gone first. */

static ngx_push_redis_link_t *
ngx_push_redis_block_link(ngx_push_redis_server_t *server)
{
    ngx_push_redis_link_t  *link;

    link = &ngx_push_redis_blocking;

    if (link->ac && link->server == server && !link->closing) {
        return link;
    }

    if (link->ac) {
        /* this call has its turn after the event loop's next one */
        ngx_post_event(&ngx_push_redis_block_event, &ngx_posted_events);
        return NULL;
    }

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    ngx_push_redis_link_init(link, &server->addr, NGX_PUSH_REDIS_BLOCKING);

    link->server = server;
    link->once = 1;
    link->up = ngx_push_redis_block_up;
    link->down = ngx_push_redis_block_down;

    ngx_push_redis_link_open(link);

    return link->ac ? link : NULL;
}


static void
ngx_push_redis_block_up(ngx_push_redis_link_t *link)
{
    ngx_push_redis_job_t  *job;

    job = ngx_push_redis_block_job;
    ngx_push_redis_block_job = NULL;

    if (job
        && ngx_push_redis_job_send(link, job, ngx_push_redis_block_wait)
           != NGX_OK)
    {
        ngx_push_redis_job_done(job, NGX_ERROR, NULL);
    }
}


static void
ngx_push_redis_block_down(ngx_push_redis_link_t *link)
{
    ngx_push_redis_job_t  *job;

    job = ngx_push_redis_block_job;
    ngx_push_redis_block_job = NULL;

    if (job) {
        ngx_push_redis_job_done(job, NGX_ERROR, NULL);
    }
}


static void
ngx_push_redis_block_answered(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_redis_pt  handler;

    handler = ngx_push_redis_block_handler;

    ngx_push_redis_block_busy = 0;
    ngx_push_redis_block_handler = NULL;

    if (handler) {
        handler(ngx_push_redis_block_data, rc, reply);
    }
}


/* From the event loop, so that its handler is not called from within. */

void
ngx_push_redis_unblock(void)
{
    if (ngx_push_redis.running && ngx_push_redis_block_busy) {
        ngx_post_event(&ngx_push_redis_block_event, &ngx_posted_events);
    }
}


static void
ngx_push_redis_block_drop(ngx_event_t *ev)
{
    ngx_push_redis_blocking.quiet = 1;

    ngx_push_redis_link_close(&ngx_push_redis_blocking, "given up");
}


void
ngx_push_redis_block_init(void)
{
    ngx_push_redis_block_event.handler = ngx_push_redis_block_drop;
    ngx_push_redis_block_event.log = ngx_push_redis.log;
}


void
ngx_push_redis_block_exit(void)
{
    if (ngx_push_redis_block_event.posted) {
        ngx_delete_posted_event(&ngx_push_redis_block_event);
    }

    ngx_push_redis_block_drop(&ngx_push_redis_block_event);
}


void
ngx_push_redis_block_server(ngx_push_redis_server_t *server)
{
    if (ngx_push_redis_blocking.server != server) {
        return;
    }

    ngx_push_redis_block_drop(&ngx_push_redis_block_event);
    ngx_push_redis_blocking.server = NULL;
}
