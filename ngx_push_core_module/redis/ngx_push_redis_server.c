
/*
 * Copyright (C) the ngx_push authors
 */


/* Servers: an address, its links, and what its return may mean. */


#include "ngx_push_redis_client.h"
#include "ngx_push_worker.h"


static void ngx_push_redis_server_up(ngx_push_redis_link_t *link);
static void ngx_push_redis_server_down(ngx_push_redis_link_t *link);
static void ngx_push_redis_server_unusable(ngx_push_redis_link_t *link);
static ngx_push_redis_back_t ngx_push_redis_server_back(
    ngx_push_redis_server_t *server);


static const char  *ngx_push_redis_hows[] = {
    "first connection", "again", "restarted", "another one than before"
};


ngx_push_redis_server_t *
ngx_push_redis_server_find(ngx_push_redis_addr_t *addr)
{
    ngx_queue_t              *q;
    ngx_push_redis_server_t  *server;

    for (q = ngx_queue_head(&ngx_push_redis.servers);
         q != ngx_queue_sentinel(&ngx_push_redis.servers);
         q = ngx_queue_next(q))
    {
        server = ngx_queue_data(q, ngx_push_redis_server_t, queue);

        if (ngx_push_redis_addr_eq(&server->addr, addr)) {
            return server;
        }
    }

    return NULL;
}


/* The server of that address, which connects from now on. */

ngx_push_redis_server_t *
ngx_push_redis_server_get(ngx_push_redis_addr_t *addr)
{
    size_t                    size;
    ngx_uint_t                i, n;
    ngx_push_redis_link_t    *link;
    ngx_push_redis_server_t  *server;

    server = ngx_push_redis_server_find(addr);

    if (server) {
        return server;
    }

    n = ngx_push_redis.conf->connections;
    size = offsetof(ngx_push_redis_server_t, links)
           + n * sizeof(ngx_push_redis_link_t);

    server = ngx_calloc(size, ngx_push_redis.log);

    if (server == NULL) {
        return NULL;
    }

    server->addr = *addr;
    server->nlinks = n;
    server->since = ngx_current_msec;
    server->fresh = ngx_push_redis.where->type->cluster;

    ngx_queue_insert_tail(&ngx_push_redis.servers, &server->queue);

    for (i = 0; i < n; i++) {
        link = &server->links[i];

        ngx_push_redis_link_init(link, addr, NGX_PUSH_REDIS_POOL);

        link->server = server;
        link->up = ngx_push_redis_server_up;
        link->down = ngx_push_redis_server_down;

        /* at once, but from the event loop */

        ngx_add_timer(&link->timer, 1);
    }

    return server;
}


/*
 * It has no part any more.  What it has been asked it may still answer; its
 * memory goes when all is closed and none of its callbacks is running.
 */

void
ngx_push_redis_server_retire(ngx_push_redis_server_t *server)
{
    ngx_uint_t              i;
    ngx_push_redis_link_t  *link;

    if (server->retired) {
        return;
    }

    server->retired = 1;

    ngx_queue_remove(&server->queue);
    ngx_queue_insert_tail(&ngx_push_redis.retired, &server->queue);

    ngx_push_redis_block_server(server);

    for (i = 0; i < server->nlinks; i++) {
        link = &server->links[i];
        link->once = 1;
        link->quiet = 1;

        if (link->ac == NULL && link->timer.timer_set) {
            ngx_del_timer(&link->timer);
        }
    }

    ngx_push_redis_server_doubt(server);

    ngx_post_event(&ngx_push_redis.reap, &ngx_posted_events);
}


void
ngx_push_redis_server_reap(ngx_event_t *ev)
{
    ngx_uint_t                i;
    ngx_queue_t              *q, *next;
    ngx_push_redis_server_t  *server;

    for (q = ngx_queue_head(&ngx_push_redis.retired);
         q != ngx_queue_sentinel(&ngx_push_redis.retired);
         q = next)
    {
        next = ngx_queue_next(q);
        server = ngx_queue_data(q, ngx_push_redis_server_t, queue);

        for (i = 0; i < server->nlinks; i++) {
            if (server->links[i].ac) {
                break;
            }
        }

        if (i == server->nlinks) {
            ngx_queue_remove(q);
            ngx_free(server);
        }
    }
}


/*
 * Keys of the same slot have the same link, so that their calls keep their
 * order; another one only while that one is down.
 */

ngx_push_redis_link_t *
ngx_push_redis_server_link(ngx_push_redis_server_t *server, ngx_uint_t slot)
{
    ngx_uint_t              i;
    ngx_push_redis_link_t  *link;

    if (server->nready == 0) {
        return NULL;
    }

    for (i = 0; i < server->nlinks; i++) {
        link = &server->links[(slot + i) % server->nlinks];

        if (link->usable && !link->closing) {
            return link;
        }
    }

    return NULL;
}


void
ngx_push_redis_server_doubt(ngx_push_redis_server_t *server)
{
    ngx_uint_t              i;
    ngx_push_redis_link_t  *link;

    for (i = 0; i < server->nlinks; i++) {
        link = &server->links[i];

        if (link->state == NGX_PUSH_REDIS_READY && link->njobs
            && !ngx_push_redis.leaving)
        {
            link->stale = 1;
            ngx_push_redis_server_unusable(link);

        } else {
            ngx_push_redis_link_close(link, NULL);
        }
    }
}


void
ngx_push_redis_server_silent(ngx_push_redis_server_t *server)
{
    ngx_uint_t              i;
    ngx_push_redis_link_t  *link;

    for (i = 0; i < server->nlinks; i++) {
        link = &server->links[i];

        if (link->state == NGX_PUSH_REDIS_READY && link->njobs == 0) {
            ngx_push_redis_link_close(link, NULL);
        }
    }
}


static void
ngx_push_redis_server_up(ngx_push_redis_link_t *link)
{
    ngx_push_redis_server_t  *server;

    server = link->server;

    link->usable = 1;

    ngx_push_redis.nready++;
    ngx_push_redis_gauge(redis_up, ngx_push_redis.nready);

    if (server->nready++) {
        return;
    }

    ngx_push_redis.nusable++;

    if (ngx_push_redis.where->type->usable) {
        ngx_push_redis.where->type->usable(server);
    }

    if (!server->fresh) {
        ngx_push_redis_told(server);
    }
}


static void
ngx_push_redis_server_down(ngx_push_redis_link_t *link)
{
    ngx_push_redis_server_unusable(link);

    if (link->server->retired) {
        ngx_post_event(&ngx_push_redis.reap, &ngx_posted_events);
        return;
    }

    ngx_push_redis.where->type->doubt();
}


static void
ngx_push_redis_server_unusable(ngx_push_redis_link_t *link)
{
    ngx_push_redis_watch_t  *watch;

    if (!link->usable) {
        return;
    }

    link->usable = 0;

    ngx_push_redis.nready--;
    ngx_push_redis_gauge(redis_up, ngx_push_redis.nready);

    if (--link->server->nready || --ngx_push_redis.nusable) {
        return;
    }

    for (watch = ngx_push_redis.watches; watch; watch = watch->next) {
        if (watch->down) {
            watch->down();
        }
    }
}


/*
 * A server is usable, or usable for other keys than before: what may have
 * become of what was written?
 */

void
ngx_push_redis_told(ngx_push_redis_server_t *server)
{
    ngx_push_redis_back_t    how;
    ngx_push_redis_watch_t  *watch;

    how = ngx_push_redis_server_back(server);

    server->heir = 0;
    server->parent[0] = '\0';
    ngx_memcpy(server->before, server->info.runid, sizeof(server->before));

    ngx_log_error(NGX_LOG_NOTICE, ngx_push_redis.log, 0,
                  "redis: %s:%d is usable, %s", server->addr.host,
                  (int) server->addr.port, ngx_push_redis_hows[how]);

    for (watch = ngx_push_redis.watches; watch; watch = watch->next) {
        if (watch->up) {
            watch->up(how);
        }
    }
}


static ngx_push_redis_back_t
ngx_push_redis_server_back(ngx_push_redis_server_t *server)
{
    if (server->parent[0] && server->info.replid2[0] != '0'
        && (server->heir
            || ngx_strcmp(server->parent, server->info.replid2) == 0))
    {
        return NGX_PUSH_REDIS_FAILOVER;
    }

    if (server->before[0] == '\0') {
        return ngx_push_redis.where->type->back(server);
    }

    return ngx_memcmp(server->before, server->info.runid,
                      sizeof(server->before))
           == 0 ? NGX_PUSH_REDIS_AGAIN : NGX_PUSH_REDIS_RESTARTED;
}


void
ngx_push_redis_server_exit(void)
{
    ngx_queue_t              *q;
    ngx_push_redis_server_t  *server;

    while (!ngx_queue_empty(&ngx_push_redis.servers)) {
        q = ngx_queue_head(&ngx_push_redis.servers);
        server = ngx_queue_data(q, ngx_push_redis_server_t, queue);

        ngx_push_redis_server_retire(server);
    }

    if (ngx_push_redis.reap.posted) {
        ngx_delete_posted_event(&ngx_push_redis.reap);
    }

    ngx_push_redis_server_reap(&ngx_push_redis.reap);
}
