
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Scripts are called by the SHA1 of their text.  A connection loads each one
 * before its first use, in the same pipeline, and again when the server says
 * that it has it no longer: so that nobody above knows of it.
 */


#include "ngx_push_redis_client.h"
#include <ngx_sha1.h>


static void ngx_push_redis_script_loaded(ngx_push_redis_link_t *link,
    redisReply *reply, void *data);


static ngx_int_t
ngx_push_redis_script_index(ngx_push_redis_script_t *script)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_push_redis.nscripts; i++) {
        if (ngx_push_redis.scripts[i] == script) {
            return i;
        }
    }

    return NGX_ERROR;
}


/* Makes it known to this process. */

ngx_int_t
ngx_push_redis_script(ngx_push_redis_script_t *script)
{
    u_char      sha[20];
    ngx_sha1_t  sha1;

    if (script->sha[0]
        && ngx_push_redis_script_index(script) != NGX_ERROR)
    {
        return NGX_OK;
    }

    if (ngx_push_redis.nscripts == NGX_PUSH_REDIS_SCRIPTS) {
        ngx_log_error(NGX_LOG_ERR, ngx_push_redis.log, 0,
                      "redis: no place for script \"%s\"", script->name);
        return NGX_ERROR;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, script->body, ngx_strlen(script->body));
    ngx_sha1_final(sha, &sha1);

    ngx_hex_dump((u_char *) script->sha, sha, sizeof(sha));
    script->sha[40] = '\0';

    ngx_push_redis.scripts[ngx_push_redis.nscripts++] = script;

    return NGX_OK;
}


ngx_int_t
ngx_push_redis_script_load(ngx_push_redis_link_t *link,
    ngx_push_redis_script_t *script)
{
    uint64_t     bit;
    const char  *argv[3];

    bit = (uint64_t) 1 << ngx_push_redis_script_index(script);

    if (link->loaded & bit) {
        return NGX_OK;
    }

    argv[0] = "SCRIPT";
    argv[1] = "LOAD";
    argv[2] = script->body;

    if (ngx_push_redis_own(link, ngx_push_redis_script_loaded, script, 3,
                           argv, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    link->loaded |= bit;

    return NGX_OK;
}


/*
 * SCRIPT FLUSH takes them all.  The jobs that were sent before they began to be
 * loaded again will all say so, and are no reason to load them once more.
 */

void
ngx_push_redis_script_lost(ngx_push_redis_link_t *link,
    ngx_push_redis_job_t *job)
{
    if (job->start >= link->reloaded) {
        link->loaded = 0;
        link->reloaded = link->queued;
    }
}


static void
ngx_push_redis_script_loaded(ngx_push_redis_link_t *link, redisReply *reply,
    void *data)
{
    ngx_push_redis_script_t *script = data;

    if (reply == NULL) {
        return;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_push_redis.log, 0,
                      "redis: script \"%s\" was refused: %s", script->name,
                      reply->str);
    }
}
