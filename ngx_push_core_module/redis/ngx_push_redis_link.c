
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The life of a connection: connect, hello, ready, lost, wait, connect ...
 * One timer serves whichever of these it is in.
 *
 * A server that is slow is not gone.  A call that has missed its deadline is
 * answered alone, and the connection is kept as long as anything comes on it:
 * to close it would make all calls behind unknown as well, although most of
 * their replies are about to come.
 */


#include "ngx_push_redis_client.h"
#include "ngx_push_worker.h"


#define NGX_PUSH_REDIS_IDLE     10000  /* silence before a PING */
#define NGX_PUSH_REDIS_GRACE    50     /* more answers are being read */


static void ngx_push_redis_link_timer(ngx_event_t *ev);
static void ngx_push_redis_link_check(ngx_push_redis_link_t *link);
static ngx_msec_t ngx_push_redis_link_silence(ngx_push_redis_link_t *link);
static ngx_uint_t ngx_push_redis_link_late(ngx_push_redis_link_t *link);
static void ngx_push_redis_link_failed(ngx_push_redis_link_t *link,
    const char *reason);
static void ngx_push_redis_ponged(ngx_push_redis_link_t *link,
    redisReply *reply, void *data);
static void ngx_push_redis_link_hold(ngx_push_redis_link_t *link);


void
ngx_push_redis_link_init(ngx_push_redis_link_t *link,
    ngx_push_redis_addr_t *addr, ngx_push_redis_use_t use)
{
    ngx_memzero(link, sizeof(ngx_push_redis_link_t));
    ngx_queue_init(&link->jobs);
    ngx_queue_init(&link->late);

    link->addr = *addr;
    link->use = use;

    link->timer.handler = ngx_push_redis_link_timer;
    link->timer.data = link;
    link->timer.log = ngx_push_redis.log;
    link->timer.cancelable = 1;
}


void
ngx_push_redis_link_open(ngx_push_redis_link_t *link)
{
    redisAsyncContext  *ac;

    if (link->ac || !ngx_push_redis.running) {
        return;
    }

    ac = link->addr.port ? redisAsyncConnect(link->addr.host, link->addr.port)
                         : redisAsyncConnectUnix(link->addr.host);

    if (ac == NULL) {
        ngx_push_redis_link_failed(link, "no memory");
        return;
    }

    if (ac->err) {
        ngx_push_redis_link_failed(link, ac->errstr);
        redisAsyncFree(ac);
        return;
    }

    link->ac = ac;
    link->state = NGX_PUSH_REDIS_CONNECTING;
    link->closing = 0;
    link->stale = 0;
    link->graced = 0;
    link->queued = 0;
    link->loaded = 0;
    link->reloaded = 0;
    link->heard = ngx_current_msec;

    if (ngx_push_redis_attach(link) != NGX_OK) {

        if (link->c) {
            ngx_push_redis_link_close(link, "cannot watch the connection");
            return;
        }

        link->ac = NULL;
        redisAsyncFree(ac);
        ngx_push_redis_link_failed(link, "worker_connections are used up");
        return;
    }

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    ngx_add_timer(&link->timer, ngx_push_redis.conf->connect_timeout);
}


/*
 * The jobs are answered before this returns, unless it was called from within
 * a callback of this very connection: then when that one has returned.
 */

void
ngx_push_redis_link_close(ngx_push_redis_link_t *link, const char *reason)
{
    redisAsyncContext  *ac;

    ac = link->ac;

    if (ac == NULL || link->closing) {
        return;
    }

    if (reason == NULL) {
        link->mute = 1;
        reason = "";
    }

    link->closing = 1;

    if (ac->c.err == 0) {
        ac->c.err = REDIS_ERR_OTHER;
        ngx_cpystrn((u_char *) ac->c.errstr, (u_char *) reason,
                    sizeof(ac->c.errstr));
    }

    redisAsyncFree(ac);
}


void
ngx_push_redis_link_connected(ngx_push_redis_link_t *link)
{
    link->state = NGX_PUSH_REDIS_HELLO;
    link->heard = ngx_current_msec;

    ngx_push_redis_hello(link);
}


void
ngx_push_redis_link_ready(ngx_push_redis_link_t *link)
{
    link->state = NGX_PUSH_REDIS_READY;
    link->asked = 0;

    if (link->quiet) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_push_redis.log, 0,
                      "redis: %s:%d is back", link->addr.host,
                      (int) link->addr.port);
    }

    link->failures = 0;
    link->quiet = 0;

    ngx_push_redis_link_due(link, ngx_current_msec + NGX_PUSH_REDIS_IDLE);

    link->up(link);
}


void
ngx_push_redis_link_gone(ngx_push_redis_link_t *link, const char *reason)
{
    link->closing = 0;

    ngx_push_redis_link_failed(link, reason);
}


/* Waits for the next try, and tells the owner, who may have other plans. */

static void
ngx_push_redis_link_failed(ngx_push_redis_link_t *link, const char *reason)
{
    ngx_msec_t  delay;

    link->state = NGX_PUSH_REDIS_DOWN;

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    if (link->mute) {
        link->mute = 0;

    } else if (!link->quiet && ngx_push_redis.running) {
        ngx_log_error(NGX_LOG_ERR, ngx_push_redis.log, 0,
                      "redis: connection to %s:%d: %s", link->addr.host,
                      (int) link->addr.port, reason);
        link->quiet = 1;
    }

    if (!link->once && ngx_push_redis.running) {
        delay = ngx_push_redis_backoff(link->failures++,
                                       (uint32_t) ngx_random());

        link->timer.cancelable = 1;
        ngx_add_timer(&link->timer, delay);
    }

    link->down(link);
}


static void
ngx_push_redis_link_timer(ngx_event_t *ev)
{
    ngx_push_redis_link_t  *link;

    link = ev->data;

    switch (link->state) {

    case NGX_PUSH_REDIS_DOWN:
        ngx_push_redis_count(redis_reconnects);
        ngx_push_redis_link_open(link);
        break;

    case NGX_PUSH_REDIS_CONNECTING:
        ngx_push_redis_link_close(link, "connect timed out");
        break;

    case NGX_PUSH_REDIS_HELLO:
        ngx_push_redis_link_close(link, "no answer after the connect");
        break;

    case NGX_PUSH_REDIS_READY:
        ngx_push_redis_link_check(link);
        break;
    }
}


static void
ngx_push_redis_link_check(ngx_push_redis_link_t *link)
{
    ngx_msec_t             next, now;
    const char            *ping;
    ngx_push_redis_job_t  *job;

    now = ngx_current_msec;

    if (link->njobs) {

        /*
         * If the timer comes late it was us who did not read: what has come
         * meanwhile has its turn first.
         */

        if (!link->graced
            && (ngx_msec_int_t) (now - link->timer.timer.key)
               > NGX_PUSH_REDIS_GRACE)
        {
            link->graced = 1;
            ngx_push_redis_link_hold(link);
            ngx_add_timer(&link->timer, NGX_PUSH_REDIS_GRACE);
            return;
        }

        link->graced = 0;
        next = ngx_push_redis_link_silence(link);

        if ((ngx_msec_int_t) (next - now) <= 0) {
            ngx_push_redis_link_close(link, "no answer in time");

            if (link->use == NGX_PUSH_REDIS_POOL) {
                ngx_push_redis_server_silent(link->server);
            }

            return;
        }

        if (!ngx_push_redis_link_late(link)) {
            return;
        }

        if (link->use == NGX_PUSH_REDIS_POOL
            && !ngx_queue_empty(&link->jobs))
        {
            job = ngx_queue_data(ngx_queue_head(&link->jobs),
                                 ngx_push_redis_job_t, queue);

            if ((ngx_msec_int_t) (job->deadline - next) < 0) {
                next = job->deadline;
            }
        }

    } else {
        next = link->heard + NGX_PUSH_REDIS_IDLE;

        if ((ngx_msec_int_t) (next - now) <= 0) {
            ping = "PING";

            if (ngx_push_redis_own(link, ngx_push_redis_ponged, NULL, 1,
                                   &ping, NULL)
                == NGX_OK)
            {
                return;
            }

            next = now + NGX_PUSH_REDIS_IDLE;
        }
    }

    /* a call that was made from here has set it already */

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    ngx_push_redis_link_hold(link);
    ngx_add_timer(&link->timer, next - now);
}


/* When it is to be given up, if nothing comes until then. */

static ngx_msec_t
ngx_push_redis_link_silence(ngx_push_redis_link_t *link)
{
    ngx_msec_t  deadline, silence;

    deadline = ngx_push_redis_link_oldest(link)->deadline;
    silence = link->heard + (link->use == NGX_PUSH_REDIS_POOL
                             ? ngx_push_redis.conf->timeout
                             : NGX_PUSH_REDIS_GRACE);

    return (ngx_msec_int_t) (silence - deadline) > 0 ? silence : deadline;
}


/*
 * Answers those that are late.  Whoever is told may do anything: 0, when the
 * connection is not what it was.
 */

static ngx_uint_t
ngx_push_redis_link_late(ngx_push_redis_link_t *link)
{
    ngx_queue_t           *q;
    ngx_push_redis_job_t  *job;

    if (link->use != NGX_PUSH_REDIS_POOL) {
        return 1;
    }

    while (!ngx_queue_empty(&link->jobs)) {
        q = ngx_queue_head(&link->jobs);
        job = ngx_queue_data(q, ngx_push_redis_job_t, queue);

        if ((ngx_msec_int_t) (job->deadline - ngx_current_msec) > 0) {
            break;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&link->late, q);

        ngx_push_redis_job_late(job);

        if (link->ac == NULL || link->closing
            || link->state != NGX_PUSH_REDIS_READY)
        {
            return 0;
        }
    }

    return 1;
}


ngx_push_redis_job_t *
ngx_push_redis_link_oldest(ngx_push_redis_link_t *link)
{
    ngx_queue_t  *jobs;

    jobs = ngx_queue_empty(&link->late) ? &link->jobs : &link->late;

    return ngx_queue_empty(jobs) ? NULL
           : ngx_queue_data(ngx_queue_head(jobs), ngx_push_redis_job_t, queue);
}


static void
ngx_push_redis_ponged(ngx_push_redis_link_t *link, redisReply *reply,
    void *data)
{
    /* an error answers as well: somebody is there */
}


void
ngx_push_redis_link_due(ngx_push_redis_link_t *link, ngx_msec_t deadline)
{
    ngx_push_redis_link_hold(link);

    if (link->timer.timer_set) {

        if ((ngx_msec_int_t) (deadline - link->timer.timer.key) >= 0
            && link->state == NGX_PUSH_REDIS_READY
            && link->njobs)
        {
            return;
        }

        ngx_del_timer(&link->timer);
    }

    ngx_add_timer(&link->timer, ngx_max((ngx_msec_int_t)
                                        (deadline - ngx_current_msec), 1));
}


/* The process may leave while nobody waits for an answer. */

static void
ngx_push_redis_link_hold(ngx_push_redis_link_t *link)
{
    link->timer.cancelable = link->nheld == 0;
}
