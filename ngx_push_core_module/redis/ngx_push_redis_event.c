
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The adapter: a context of hiredis on a connection of nginx's.
 *
 * Events are level triggered, for hiredis reads 16 KiB at a time.  A command
 * given to a connected link posts one event, and what has been gathered by
 * the end of this turn of the event loop goes out in one write.  The write
 * event itself is only watched while the socket takes nothing.
 *
 * hiredis frees a context in its own time: at once, or when the callback that
 * asked for it has returned; cleanup() is the one place that always learns of
 * it, after the callbacks of all commands that have no answer yet.
 */


#include "ngx_push_redis_client.h"
#include "ngx_push_worker.h"


#define NGX_PUSH_REDIS_KEEP     (128 * 1024)   /* of a buffer for replies */


static void ngx_push_redis_add_read(void *data);
static void ngx_push_redis_add_write(void *data);
static void ngx_push_redis_del_write(void *data);
static void ngx_push_redis_cleanup(void *data);
static void ngx_push_redis_connected(const redisAsyncContext *ac, int status);
static void ngx_push_redis_read_handler(ngx_event_t *ev);
static void ngx_push_redis_write_handler(ngx_event_t *ev);
static void ngx_push_redis_flush_handler(ngx_event_t *ev);
static void ngx_push_redis_write(ngx_push_redis_link_t *link);
static void ngx_push_redis_unasked(ngx_push_redis_link_t *link);


ngx_int_t
ngx_push_redis_attach(ngx_push_redis_link_t *link)
{
    ngx_connection_t   *c;
    redisAsyncContext  *ac;

    ac = link->ac;

    c = ngx_get_connection(ac->c.fd, ngx_push_redis.log);

    if (c == NULL) {
        return NGX_ERROR;
    }

    (void) fcntl(ac->c.fd, F_SETFD, FD_CLOEXEC);

    c->data = link;
    c->log = ngx_push_redis.log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_push_redis_read_handler;
    c->write->handler = ngx_push_redis_write_handler;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    link->c = c;
    link->flush.handler = ngx_push_redis_flush_handler;
    link->flush.data = link;
    link->flush.log = c->log;

    /* else what came is given back and taken again in each busy turn */

    ac->c.reader->maxbuf = NGX_PUSH_REDIS_KEEP;

    ac->data = link;
    ac->ev.data = link;
    ac->ev.addRead = ngx_push_redis_add_read;
    ac->ev.addWrite = ngx_push_redis_add_write;
    ac->ev.delWrite = ngx_push_redis_del_write;
    ac->ev.cleanup = ngx_push_redis_cleanup;

    /* this watches for the end of the connect already */

    (void) redisAsyncSetConnectCallback(ac, ngx_push_redis_connected);

    return c->write->active ? NGX_OK : NGX_ERROR;
}


uint64_t
ngx_push_redis_written(ngx_push_redis_link_t *link)
{
    return link->queued - sdslen((sds) link->ac->c.obuf);
}


static void
ngx_push_redis_add_read(void *data)
{
    ngx_push_redis_link_t *link = data;

    ngx_event_t  *rev;

    rev = link->c->read;

    if (!rev->active
        && ngx_add_event(rev, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_CRIT, ngx_push_redis.log, 0,
                      "redis: cannot watch a connection");
    }
}


static void
ngx_push_redis_add_write(void *data)
{
    ngx_push_redis_link_t *link = data;

    ngx_event_t  *wev;

    if (link->state != NGX_PUSH_REDIS_CONNECTING && !link->writing) {
        ngx_post_event(&link->flush, &ngx_posted_events);
        return;
    }

    wev = link->c->write;

    if (!wev->active
        && ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_CRIT, ngx_push_redis.log, 0,
                      "redis: cannot watch a connection");
    }
}


static void
ngx_push_redis_del_write(void *data)
{
    ngx_push_redis_link_t *link = data;

    if (link->c->write->active) {
        (void) ngx_del_event(link->c->write, NGX_WRITE_EVENT, 0);
    }
}


static void
ngx_push_redis_cleanup(void *data)
{
    ngx_push_redis_link_t *link = data;

    char                reason[128];
    redisAsyncContext  *ac;

    ac = link->ac;

    ngx_cpystrn((u_char *) reason,
                (u_char *) (ac->c.err ? ac->c.errstr : ""), sizeof(reason));

    if (link->flush.posted) {
        ngx_delete_posted_event(&link->flush);
    }

    /* the socket is closed here, hiredis finds none */

    ac->c.fd = -1;
    link->ac = NULL;

    ngx_close_connection(link->c);
    link->c = NULL;

    ngx_push_redis_link_gone(link, reason);
}


static void
ngx_push_redis_connected(const redisAsyncContext *ac, int status)
{
    if (status == REDIS_OK) {
        ngx_push_redis_link_connected(ac->data);
    }
}


static void
ngx_push_redis_read_handler(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_push_redis_link_t  *link;

    c = ev->data;
    link = c->data;

    if (link->state == NGX_PUSH_REDIS_READY && link->njobs == 0) {
        ngx_push_redis_unasked(link);
        return;
    }

    link->heard = ngx_current_msec;

    redisAsyncHandleRead(link->ac);
}


/*
 * Nothing has been asked, so what comes is the end of the connection or an
 * error before it.  hiredis would abort the process for anything else.
 */

static void
ngx_push_redis_unasked(ngx_push_redis_link_t *link)
{
    char     text[96];
    ssize_t  n;

    n = recv(link->c->fd, text, sizeof(text) - 1, 0);

    if (n < 0 && (ngx_socket_errno == NGX_EAGAIN || ngx_errno == NGX_EINTR)) {
        return;
    }

    if (n <= 0) {
        ngx_push_redis_link_close(link, "closed by the server");
        return;
    }

    text[n] = '\0';
    text[strcspn(text, "\r\n")] = '\0';

    ngx_push_redis_link_close(link, text[0] == '-' ? text + 1
                                    : "the server spoke unasked");
}


static void
ngx_push_redis_write_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_push_redis_write(c->data);
}


static void
ngx_push_redis_flush_handler(ngx_event_t *ev)
{
    ngx_push_redis_link_t  *link;

    link = ev->data;

    if (link->ac && !link->c->write->active) {
        ngx_push_redis_write(link);
    }
}


static void
ngx_push_redis_write(ngx_push_redis_link_t *link)
{
    link->writing = 1;

    redisAsyncHandleWrite(link->ac);

    link->writing = 0;
}
