
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Calls on their way.  A job keeps its command until it has been answered,
 * for it may have to be sent again: to another server, or after its script.
 *
 * Its answer comes from hiredis's callback, with a reply, or without one when
 * the connection goes.  Whoever is called then may make other calls, and may
 * have connections closed; so a job is out of all lists, and freed, before its
 * handler is called.
 */


#include "ngx_push_redis_client.h"
#include "ngx_push_worker.h"


/* "$LENGTH\r\n" before a word, and "\r\n" behind it; what EVALSHA adds */

#define NGX_PUSH_REDIS_WORD     (NGX_SIZE_T_LEN + 5)
#define NGX_PUSH_REDIS_EVAL     (7 + 40 + NGX_INT_T_LEN + NGX_PUSH_REDIS_RUN)


static ngx_uint_t ngx_push_redis_young(void);
static size_t ngx_push_redis_arglen(ngx_push_redis_call_t *call,
    ngx_uint_t i);
static size_t ngx_push_redis_format(char *command,
    ngx_push_redis_call_t *call);
static u_char *ngx_push_redis_word(u_char *p, const void *data, size_t len);
static u_char *ngx_push_redis_head(u_char *p, u_char type, size_t n);
static void ngx_push_redis_answered(redisAsyncContext *ac, void *reply,
    void *data);
static void ngx_push_redis_job_took(ngx_push_redis_job_t *job);
static ngx_uint_t ngx_push_redis_line(ngx_push_redis_link_t *link);
static void ngx_push_redis_job_count(ngx_push_redis_job_t *job, ngx_int_t rc);


uint64_t
ngx_push_redis_usec(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


ngx_int_t
ngx_push_redis_call(ngx_push_redis_call_t *call)
{
    ngx_uint_t                slot;
    ngx_push_redis_job_t     *job;
    ngx_push_redis_link_t    *link;
    ngx_push_redis_server_t  *server;

    if (!ngx_push_redis.running || (ngx_push_redis.leaving && call->handler)) {
        return NGX_ERROR;
    }

    if (!call->urgent
        && (ngx_push_redis.inflight >= ngx_push_redis.conf->inflight
            || ngx_push_redis.bytes >= NGX_PUSH_REDIS_BYTES))
    {
        ngx_push_redis_count(redis_busy);
        return NGX_PUSH_BUSY;
    }

    slot = call->key ? ngx_push_redis_slot(call->key) : 0;

    server = ngx_push_redis.where->type->select(slot);
    link = server ? ngx_push_redis_server_link(server, slot) : NULL;

    if (link == NULL && (call->handler == NULL || !ngx_push_redis_young())) {
        ngx_push_redis_count(redis_errors[NGX_PUSH_REDIS_E_DOWN]);
        return NGX_ERROR;
    }

    if (link && !call->urgent && ngx_push_redis_line(link)) {
        ngx_push_redis_count(redis_busy);
        return NGX_PUSH_BUSY;
    }

    job = ngx_push_redis_job_new(call);

    if (job == NULL) {
        return NGX_ERROR;
    }

    job->slot = (uint16_t) slot;

    if (!call->urgent) {
        job->counted = 1;
        ngx_push_redis.inflight++;
        ngx_push_redis_gauge(redis_inflight, ngx_push_redis.inflight);
    }

    if ((link ? ngx_push_redis_job_send(link, job,
                                        ngx_push_redis.conf->timeout)
              : ngx_push_redis_later(job))
        != NGX_OK)
    {
        ngx_push_redis_job_free(job);
        return NGX_ERROR;
    }

    ngx_push_redis_count(redis_calls);

    return call->handler ? NGX_AGAIN : NGX_OK;
}


/*
 * Is it likely that a call of now would not be answered in time?  Then it is
 * better refused, of which something is known, and the server has less to do.
 */

static ngx_uint_t
ngx_push_redis_line(ngx_push_redis_link_t *link)
{
    ngx_push_redis_job_t  *job;

    job = ngx_push_redis_link_oldest(link);

    return job
           && (ngx_msec_int_t) (job->deadline - ngx_current_msec)
              < (ngx_msec_int_t) (ngx_push_redis.conf->timeout / 2);
}


/*
 * A worker takes requests before it can have a connection.  So that they are
 * not refused after each reload they wait, as long as one may take.
 */

static ngx_uint_t
ngx_push_redis_young(void)
{
    return ngx_current_msec - ngx_push_redis.started
           < ngx_push_redis.conf->connect_timeout;
}


ngx_uint_t
ngx_push_redis_up(ngx_str_t *key)
{
    ngx_push_redis_server_t  *server;

    if (!ngx_push_redis.running) {
        return 0;
    }

    if (key == NULL) {
        return ngx_push_redis.nusable != 0;
    }

    server = ngx_push_redis.where->type->select(ngx_push_redis_slot(key));

    return server && server->nready;
}


/* The command stands behind it, as it is to be sent. */

ngx_push_redis_job_t *
ngx_push_redis_job_new(ngx_push_redis_call_t *call)
{
    size_t                 len;
    ngx_uint_t             i;
    ngx_push_redis_job_t  *job;

    if (call->script && ngx_push_redis_script(call->script) != NGX_OK) {
        return NULL;
    }

    len = 5 * NGX_PUSH_REDIS_WORD + NGX_PUSH_REDIS_EVAL;

    for (i = 0; i < call->argc; i++) {
        len += NGX_PUSH_REDIS_WORD + ngx_push_redis_arglen(call, i);
    }

    job = ngx_alloc(sizeof(ngx_push_redis_job_t) + len, ngx_push_redis.log);

    if (job == NULL) {
        return NULL;
    }

    ngx_memzero(job, sizeof(ngx_push_redis_job_t));

    job->command = (char *) (job + 1);
    job->len = ngx_push_redis_format(job->command, call);

    ngx_push_redis.bytes += job->len;

    job->script = call->script;
    job->run = call->run;
    job->handler = call->handler;
    job->data = call->data;
    job->began = ngx_push_redis_usec();

    return job;
}


void
ngx_push_redis_job_free(ngx_push_redis_job_t *job)
{
    if (job->counted) {
        ngx_push_redis.inflight--;
        ngx_push_redis_gauge(redis_inflight, ngx_push_redis.inflight);
    }

    ngx_push_redis.bytes -= job->len;

    ngx_free(job);
}


static size_t
ngx_push_redis_arglen(ngx_push_redis_call_t *call, ngx_uint_t i)
{
    return call->argvlen ? call->argvlen[i] : ngx_strlen(call->argv[i]);
}


static size_t
ngx_push_redis_format(char *command, ngx_push_redis_call_t *call)
{
    u_char      *p, nkeys[NGX_INT_T_LEN];
    ngx_uint_t   i;

    p = (u_char *) command;
    p = ngx_push_redis_head(p, '*', call->argc + (call->script ? 3 : 0)
                                    + call->run);

    if (call->script) {
        p = ngx_push_redis_word(p, "EVALSHA", 7);
        p = ngx_push_redis_word(p, call->script->sha, 40);
        p = ngx_push_redis_word(p, nkeys, ngx_sprintf(nkeys, "%ui",
                                                      call->nkeys) - nkeys);
    }

    for (i = 0; i < call->argc; i++) {
        p = ngx_push_redis_word(p, call->argv[i],
                                ngx_push_redis_arglen(call, i));
    }

    if (call->run) {

        /* until it is sent */

        p = ngx_push_redis_word(p, "00000000", NGX_PUSH_REDIS_RUN);
    }

    return p - (u_char *) command;
}


static u_char *
ngx_push_redis_word(u_char *p, const void *data, size_t len)
{
    p = ngx_push_redis_head(p, '$', len);
    p = ngx_cpymem(p, data, len);

    *p++ = CR;
    *p++ = LF;

    return p;
}


static u_char *
ngx_push_redis_head(u_char *p, u_char type, size_t n)
{
    u_char  digits[NGX_SIZE_T_LEN], *d;

    d = digits + NGX_SIZE_T_LEN;

    do {
        *--d = (u_char) (n % 10 + '0');
        n /= 10;
    } while (n);

    *p++ = type;
    p = ngx_cpymem(p, d, digits + NGX_SIZE_T_LEN - d);
    *p++ = CR;
    *p++ = LF;

    return p;
}


/* Puts it at the end of what the link is to write and to be answered. */

ngx_int_t
ngx_push_redis_job_send(ngx_push_redis_link_t *link,
    ngx_push_redis_job_t *job, ngx_msec_t timeout)
{
    if (link->ac == NULL || link->closing) {
        return NGX_ERROR;
    }

    if (job->script
        && ngx_push_redis_script_load(link, job->script) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (job->run && link->server) {
        ngx_memcpy(job->command + job->len - NGX_PUSH_REDIS_RUN - 2,
                   link->server->info.runid, NGX_PUSH_REDIS_RUN);
    }

    if (redisAsyncFormattedCommand(link->ac, ngx_push_redis_answered, job,
                                   job->command, job->len)
        != REDIS_OK)
    {
        return NGX_ERROR;
    }

    job->link = link;
    job->start = link->queued;
    job->deadline = ngx_current_msec + timeout;

    if (link->ac->c.err == 0) {
        link->queued += job->len;

    } else {
        /*
         * There was no memory for the command, but hiredis has kept the
         * callback.  It gives the connection up when it is to write.
         */
        link->closing = 1;
    }

    link->njobs++;

    if (job->own == NULL && link->use == NGX_PUSH_REDIS_POOL) {
        link->nheld++;
    }

    ngx_queue_insert_tail(&link->jobs, &job->queue);

    if (link->state == NGX_PUSH_REDIS_READY) {
        ngx_push_redis_link_due(link, job->deadline);
    }

    return NGX_OK;
}


ngx_int_t
ngx_push_redis_own(ngx_push_redis_link_t *link, ngx_push_redis_own_pt own,
    void *data, ngx_uint_t argc, const char **argv, const size_t *argvlen)
{
    ngx_push_redis_job_t   *job;
    ngx_push_redis_call_t   call;

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));

    call.argc = argc;
    call.argv = argv;
    call.argvlen = argvlen;
    call.data = data;

    job = ngx_push_redis_job_new(&call);

    if (job == NULL) {
        return NGX_ERROR;
    }

    job->own = own;

    if (ngx_push_redis_job_send(link, job, ngx_push_redis.conf->timeout)
        != NGX_OK)
    {
        ngx_push_redis_job_free(job);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* hiredis's callback; no reply: the connection is being freed. */

static void
ngx_push_redis_answered(redisAsyncContext *ac, void *data, void *privdata)
{
    redisReply            *reply = data;
    ngx_push_redis_job_t  *job = privdata;

    void                   *own_data;
    ngx_int_t               rc;
    ngx_push_redis_link_t  *link;
    ngx_push_redis_own_pt   own;

    link = job->link;

    if (reply == NULL) {
        /* what is called from here finds this link unusable */
        link->closing = 1;
    }

    rc = reply == NULL && job->start < ngx_push_redis_written(link)
         ? NGX_ABORT : NGX_ERROR;

    ngx_push_redis_job_took(job);

    if (job->late && job->own == NULL) {
        ngx_push_redis_job_free(job);
        job = NULL;
    }

    /* one answer more than questions: hiredis would abort the process */

    if (reply && link->njobs == 0 && ac->c.reader->pos < ac->c.reader->len) {
        ngx_push_redis_link_close(link, "the server spoke unasked");
    }

    if (job == NULL) {
        return;
    }

    if (job->own) {
        own = job->own;
        own_data = job->data;

        ngx_push_redis_job_free(job);
        own(link, reply, own_data);
        return;
    }

    if (reply && reply->type != REDIS_REPLY_ERROR) {
        rc = NGX_OK;

    } else if (reply) {
        rc = ngx_push_redis_error(job, link, reply);

        if (rc == NGX_AGAIN) {
            return;
        }
    }

    ngx_push_redis_job_done(job, rc, reply);
}


static void
ngx_push_redis_job_took(ngx_push_redis_job_t *job)
{
    ngx_push_redis_link_t  *link;

    link = job->link;

    ngx_queue_remove(&job->queue);
    link->njobs--;

    if (job->own == NULL && !job->late && link->use == NGX_PUSH_REDIS_POOL) {
        link->nheld--;
    }

    link->timer.cancelable = link->nheld == 0;
    job->link = NULL;

    if (link->stale && link->njobs == 0) {
        ngx_push_redis_link_close(link, NULL);
    }
}


void
ngx_push_redis_job_done(ngx_push_redis_job_t *job, ngx_int_t rc,
    redisReply *reply)
{
    void               *data;
    ngx_push_redis_pt   handler;

    ngx_push_redis_job_count(job, rc);

    handler = job->handler;
    data = job->data;

    ngx_push_redis_job_free(job);

    if (handler) {
        handler(data, rc,
                rc == NGX_OK || rc == NGX_DECLINED ? reply : NULL);
    }
}


/* It stays counted in inflight: the server has still to do it. */

void
ngx_push_redis_job_late(ngx_push_redis_job_t *job)
{
    ngx_push_redis_pt  handler;

    job->late = 1;

    if (job->own) {
        return;
    }

    job->link->nheld--;

    ngx_push_redis_job_count(job, NGX_ABORT);

    handler = job->handler;
    job->handler = NULL;

    if (handler) {
        handler(job->data, NGX_ABORT, NULL);
    }
}


static void
ngx_push_redis_job_count(ngx_push_redis_job_t *job, ngx_int_t rc)
{
    uint64_t  usec;

    if (ngx_push_self == NULL) {
        return;
    }

    usec = ngx_push_redis_usec() - job->began;

    ngx_push_count_add(redis_usec, usec);

    if (usec > ngx_push_self->stats.redis_usec_max) {
        ngx_push_self->stats.redis_usec_max = usec;
    }

    if (rc == NGX_ABORT) {
        ngx_push_count(redis_aborts);
    }
}
