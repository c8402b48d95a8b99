
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The topology of one master that Sentinels watch over.  One of them is asked
 * every second, and at once when something is wrong with the master.  Whether
 * the server of that address is a master is seen at its handshake.
 */


#include "ngx_push_redis_scout.h"


#define NGX_PUSH_REDIS_POLL     1000


static void ngx_push_redis_sentinel_ask(ngx_push_redis_link_t *link);
static void ngx_push_redis_sentinel_answer(ngx_push_redis_link_t *link,
    redisReply *reply, void *data);
static void ngx_push_redis_sentinel_auth(ngx_push_redis_link_t *link,
    redisReply *reply);
static void ngx_push_redis_sentinel_heard(ngx_push_redis_addr_t *addr);


static ngx_push_redis_server_t  *ngx_push_redis_named;     /* by a Sentinel */
static ngx_push_redis_server_t  *ngx_push_redis_master;    /* in use */
static u_char                    ngx_push_redis_master_was[41];


static ngx_int_t
ngx_push_redis_sentinel_init(ngx_cycle_t *cycle)
{
    return ngx_push_redis_scout_init(&ngx_push_redis.where->addrs,
                                     NGX_PUSH_REDIS_POLL,
                                     ngx_push_redis_sentinel_ask);
}


static void
ngx_push_redis_sentinel_exit(void)
{
    ngx_push_redis_scout_exit();
    ngx_push_redis_resolve_exit();
    ngx_push_redis_master = NULL;
    ngx_push_redis_named = NULL;
}


static ngx_push_redis_server_t *
ngx_push_redis_sentinel_select(ngx_uint_t slot)
{
    return ngx_push_redis_master;
}


static ngx_push_redis_server_t *
ngx_push_redis_sentinel_redirected(ngx_push_redis_redirect_t *r,
    ngx_push_redis_addr_t *addr)
{
    return NULL;
}


/* The same process under another address is the same server. */

static ngx_push_redis_back_t
ngx_push_redis_sentinel_back(ngx_push_redis_server_t *server)
{
    if (ngx_push_redis_master_was[0] == '\0') {
        return NGX_PUSH_REDIS_FIRST;
    }

    return ngx_memcmp(ngx_push_redis_master_was, server->info.runid,
                      sizeof(ngx_push_redis_master_was))
           == 0 ? NGX_PUSH_REDIS_AGAIN : NGX_PUSH_REDIS_FAILOVER;
}


static void
ngx_push_redis_sentinel_ask(ngx_push_redis_link_t *link)
{
    size_t       lens[3];
    const char  *argv[3];

    argv[0] = "SENTINEL";
    lens[0] = 8;
    argv[1] = "GET-MASTER-ADDR-BY-NAME";
    lens[1] = 23;
    argv[2] = (char *) ngx_push_redis.where->master.data;
    lens[2] = ngx_push_redis.where->master.len;

    (void) ngx_push_redis_own(link, ngx_push_redis_sentinel_answer, NULL, 3,
                              argv, lens);
}


static void
ngx_push_redis_sentinel_answer(ngx_push_redis_link_t *link,
    redisReply *reply, void *data)
{
    ngx_int_t              rc, port;
    redisReply           **part;
    ngx_push_redis_addr_t  addr;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_push_redis_sentinel_auth(link, reply);
        return;
    }

    part = reply->element;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || part[0]->type != REDIS_REPLY_STRING
        || part[1]->type != REDIS_REPLY_STRING)
    {
        ngx_push_redis_scout_other("this Sentinel knows no master of that "
                                   "name");
        return;
    }

    port = ngx_atoi((u_char *) part[1]->str, part[1]->len);

    if (port < 1 || port > 65535) {
        ngx_push_redis_scout_other("this Sentinel names no port");
        return;
    }

    rc = ngx_push_redis_resolve(&addr, part[0]->str, (in_port_t) port);

    if (rc == NGX_AGAIN) {
        return;
    }

    if (rc != NGX_OK) {
        ngx_push_redis_scout_other("the master's name has no address");
        return;
    }

    ngx_push_redis_sentinel_heard(&addr);
}


/* Sentinels may want a password of their own, which is taken for the same. */

static void
ngx_push_redis_sentinel_auth(ngx_push_redis_link_t *link, redisReply *reply)
{
    if (ngx_push_redis.conf->password.len == 0 || link->authed
        || ngx_strncmp(reply->str, "NOAUTH", 6) != 0)
    {
        ngx_push_redis_scout_other(reply->str);
        return;
    }

    link->authed = 1;

    if (ngx_push_redis_hello_auth(link) == NGX_OK) {
        ngx_push_redis_sentinel_ask(link);
    }
}


/*
 * A Sentinel may be behind the others.  The master that is used is used until
 * the one that is named has shown that it is one.
 */

static void
ngx_push_redis_sentinel_heard(ngx_push_redis_addr_t *addr)
{
    ngx_push_redis_server_t  *named;

    named = ngx_push_redis_named;

    if (named && !ngx_push_redis_addr_eq(&named->addr, addr)) {
        ngx_push_redis_named = NULL;

        if (named != ngx_push_redis_master) {
            ngx_push_redis_server_retire(named);
        }

        named = NULL;
    }

    if (named == NULL) {
        named = ngx_push_redis_server_get(addr);
        ngx_push_redis_named = named;

        if (named == NULL) {
            return;
        }

        ngx_log_error(NGX_LOG_NOTICE, ngx_push_redis.log, 0,
                      "redis: the master of \"%V\" is said to be %s:%d",
                      &ngx_push_redis.where->master, addr->host,
                      (int) addr->port);

        ngx_push_redis_scout_answered();
        return;
    }

    if (named->nready) {
        ngx_push_redis_scout_answered();
        return;
    }

    /* perhaps this one is cut off together with what it watches */

    ngx_push_redis_scout_other(NULL);
}


static void
ngx_push_redis_sentinel_usable(ngx_push_redis_server_t *server)
{
    ngx_push_redis_server_t  *old;

    old = ngx_push_redis_master;

    if (server != ngx_push_redis_named || server == old) {
        return;
    }

    ngx_push_redis_master = server;

    if (old) {
        if (old->before[0]) {
            ngx_memcpy(ngx_push_redis_master_was, old->before,
                       sizeof(ngx_push_redis_master_was));
        }

        ngx_push_redis_server_retire(old);
    }
}


ngx_push_redis_topology_t  ngx_push_redis_sentinel = {
    "sentinel",
    0,
    ngx_push_redis_sentinel_init,
    ngx_push_redis_sentinel_exit,
    ngx_push_redis_sentinel_select,
    ngx_push_redis_scout_soon,
    ngx_push_redis_sentinel_redirected,
    ngx_push_redis_sentinel_usable,
    ngx_push_redis_sentinel_back
};
