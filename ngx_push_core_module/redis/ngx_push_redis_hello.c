
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The handshake: AUTH, SELECT and CLIENT SETNAME as far as there is a reason,
 * and INFO, all in one write.  A connection becomes usable by the answer to
 * INFO, if it is what is needed: a master that has loaded its data.
 */


#include "ngx_push_redis_client.h"
#include "ngx_push_worker.h"


#define NGX_PUSH_REDIS_VERSION  70000


static ngx_int_t ngx_push_redis_hello_say(ngx_push_redis_link_t *link,
    ngx_push_redis_own_pt own, const char *what, const char *how,
    const char *more);
static void ngx_push_redis_hello_must(ngx_push_redis_link_t *link,
    redisReply *reply, void *data);
static void ngx_push_redis_hello_may(ngx_push_redis_link_t *link,
    redisReply *reply, void *data);
static void ngx_push_redis_hello_info(ngx_push_redis_link_t *link,
    redisReply *reply, void *data);
static const char *ngx_push_redis_hello_refuse(ngx_push_redis_link_t *link,
    ngx_push_redis_info_t *info);
static void ngx_push_redis_hello_warn(ngx_push_redis_server_t *server);
static void ngx_push_redis_info(ngx_push_redis_info_t *info, char *text,
    size_t len);
static void ngx_push_redis_info_line(ngx_push_redis_info_t *info,
    ngx_str_t *name, ngx_str_t *value);


void
ngx_push_redis_hello(ngx_push_redis_link_t *link)
{
    char             name[NGX_PUSH_REDIS_NAME], db[NGX_INT_T_LEN + 1];
    ngx_push_conf_t  *pcf;

    if (link->use == NGX_PUSH_REDIS_SCOUT) {

        if (ngx_push_redis.where->type->cluster
            && ngx_push_redis.conf->password.len
            && ngx_push_redis_hello_auth(link) != NGX_OK)
        {
            ngx_push_redis_link_close(link, "no memory");
            return;
        }

        ngx_push_redis_link_ready(link);
        return;
    }

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    ngx_snprintf((u_char *) name, sizeof(name), "ngx_push:%V:%P%Z",
                 &pcf->node, ngx_pid);
    ngx_snprintf((u_char *) db, sizeof(db), "%ui%Z",
                 ngx_push_redis.where->db);

    if ((ngx_push_redis.conf->password.len
         && ngx_push_redis_hello_auth(link) != NGX_OK)
        || (ngx_push_redis.where->db
            && ngx_push_redis_hello_say(link, ngx_push_redis_hello_must,
                                        "SELECT", db, NULL)
               != NGX_OK)
        || ngx_push_redis_hello_say(link, ngx_push_redis_hello_may, "CLIENT",
                                    "SETNAME", name)
           != NGX_OK
        || ngx_push_redis_hello_say(link, ngx_push_redis_hello_info, "INFO",
                                    NULL, NULL)
           != NGX_OK)
    {
        ngx_push_redis_link_close(link, "no memory");
    }
}


ngx_int_t
ngx_push_redis_hello_auth(ngx_push_redis_link_t *link)
{
    size_t                  lens[3];
    ngx_uint_t              n;
    const char             *argv[3];
    ngx_push_redis_conf_t  *conf;

    conf = ngx_push_redis.conf;

    n = 0;
    argv[n] = "AUTH";
    lens[n++] = 4;

    if (conf->user.len) {
        argv[n] = (char *) conf->user.data;
        lens[n++] = conf->user.len;
    }

    argv[n] = (char *) conf->password.data;
    lens[n++] = conf->password.len;

    return ngx_push_redis_own(link, ngx_push_redis_hello_must, "AUTH", n, argv,
                              lens);
}


static ngx_int_t
ngx_push_redis_hello_say(ngx_push_redis_link_t *link,
    ngx_push_redis_own_pt own, const char *what, const char *how,
    const char *more)
{
    const char  *argv[3];

    argv[0] = what;
    argv[1] = how;
    argv[2] = more;

    return ngx_push_redis_own(link, own, (void *) what,
                              more ? 3 : how ? 2 : 1, argv, NULL);
}


static void
ngx_push_redis_hello_must(ngx_push_redis_link_t *link, redisReply *reply,
    void *data)
{
    char         text[128];
    const char  *what = data;

    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) {
        return;
    }

    ngx_snprintf((u_char *) text, sizeof(text) - 1, "%s: %s%Z", what,
                 reply->str);
    text[sizeof(text) - 1] = '\0';

    ngx_push_redis_link_close(link, text);
}


/*
 * A user without the right to CLIENT serves as well.  Any other error is that
 * of a server that does not want us, in answer to the first that was said.
 */

static void
ngx_push_redis_hello_may(ngx_push_redis_link_t *link, redisReply *reply,
    void *data)
{
    if (reply && reply->type == REDIS_REPLY_ERROR
        && ngx_strncmp(reply->str, "NOPERM", 6) != 0)
    {
        ngx_push_redis_hello_must(link, reply, data);
    }
}


static void
ngx_push_redis_hello_info(ngx_push_redis_link_t *link, redisReply *reply,
    void *data)
{
    const char             *reason;
    ngx_push_redis_info_t   info;

    if (reply == NULL) {
        return;
    }

    if (reply->type != REDIS_REPLY_STRING) {
        ngx_push_redis_hello_must(link, reply, data);
        return;
    }

    ngx_memzero(&info, sizeof(ngx_push_redis_info_t));

    ngx_push_redis_info(&info, reply->str, reply->len);

    reason = ngx_push_redis_hello_refuse(link, &info);

    if (reason) {
        ngx_push_redis_link_close(link, reason);
        return;
    }

    link->server->info = info;

    ngx_push_redis_hello_warn(link->server);

    ngx_push_redis_link_ready(link);
}


static const char *
ngx_push_redis_hello_refuse(ngx_push_redis_link_t *link,
    ngx_push_redis_info_t *info)
{
    if (info->version < NGX_PUSH_REDIS_VERSION) {
        return "the server is older than Redis 7.0";
    }

    if (info->runid[0] == '\0') {
        return "INFO has no run_id";
    }

    if (info->loading) {
        return "the server is loading its data";
    }

    if (!info->master) {
        return "the server is a replica, not a master";
    }

    if (info->cluster != (ngx_push_redis.where->type->cluster != 0)) {
        return info->cluster
               ? "the server belongs to a cluster: write \"redis cluster "
                 "ADDRESS ...\""
               : "the server does not belong to a cluster";
    }

    return NULL;
}


/* What is accepted may not be kept: one worker of a node says so, once. */

static void
ngx_push_redis_hello_warn(ngx_push_redis_server_t *server)
{
    if (server->warned || ngx_worker != 0) {
        return;
    }

    server->warned = 1;

    if (!server->info.noeviction) {
        ngx_log_error(NGX_LOG_WARN, ngx_push_redis.log, 0,
                      "redis: %s:%d has a \"maxmemory-policy\" other than "
                      "noeviction: messages may vanish when its memory is "
                      "full", server->addr.host, (int) server->addr.port);
    }

    if (!server->info.aof) {
        ngx_log_error(NGX_LOG_WARN, ngx_push_redis.log, 0,
                      "redis: %s:%d has no append only file: messages are "
                      "lost when it is restarted", server->addr.host,
                      (int) server->addr.port);
    }
}


static void
ngx_push_redis_info(ngx_push_redis_info_t *info, char *text, size_t len)
{
    u_char     *p, *end, *last, *colon;
    ngx_str_t   name, value;

    p = (u_char *) text;
    last = p + len;

    while (p < last) {
        end = ngx_strlchr(p, last, '\n');

        if (end == NULL) {
            end = last;
        }

        colon = ngx_strlchr(p, end, ':');

        if (colon) {
            name.data = p;
            name.len = colon - p;
            value.data = colon + 1;
            value.len = end - colon - 1;

            if (value.len && value.data[value.len - 1] == '\r') {
                value.len--;
            }

            ngx_push_redis_info_line(info, &name, &value);
        }

        p = end + 1;
    }
}


#define ngx_push_redis_is(s, text)                                            \
    ((s)->len == sizeof(text) - 1                                             \
     && ngx_memcmp((s)->data, text, sizeof(text) - 1) == 0)


static void
ngx_push_redis_info_line(ngx_push_redis_info_t *info, ngx_str_t *name,
    ngx_str_t *value)
{
    u_char      *id;
    size_t       i;
    ngx_uint_t   part, n;

    id = NULL;

    if (ngx_push_redis_is(name, "run_id")) {
        id = info->runid;

    } else if (ngx_push_redis_is(name, "master_replid")) {
        id = info->replid;

    } else if (ngx_push_redis_is(name, "master_replid2")) {
        id = info->replid2;

    } else if (ngx_push_redis_is(name, "role")) {
        info->master = ngx_push_redis_is(value, "master");

    } else if (ngx_push_redis_is(name, "loading")
               || ngx_push_redis_is(name, "async_loading"))
    {
        info->loading |= ngx_push_redis_is(value, "1");

    } else if (ngx_push_redis_is(name, "cluster_enabled")) {
        info->cluster = ngx_push_redis_is(value, "1");

    } else if (ngx_push_redis_is(name, "maxmemory_policy")) {
        info->noeviction = ngx_push_redis_is(value, "noeviction");

    } else if (ngx_push_redis_is(name, "aof_enabled")) {
        info->aof = ngx_push_redis_is(value, "1");

    } else if (ngx_push_redis_is(name, "redis_version")) {

        /* 7.0.15 as 70015 */

        for (i = 0, part = 0, n = 0; i < value->len && part < 3; i++) {
            if (value->data[i] == '.') {
                info->version = info->version * 100 + n;
                part++;
                n = 0;

            } else if (value->data[i] >= '0' && value->data[i] <= '9') {
                n = n * 10 + value->data[i] - '0';
            }
        }

        for ( /* void */ ; part < 3; part++) {
            info->version = info->version * 100 + n;
            n = 0;
        }
    }

    if (id) {
        ngx_memcpy(id, value->data, ngx_min(value->len, 40));
    }
}
