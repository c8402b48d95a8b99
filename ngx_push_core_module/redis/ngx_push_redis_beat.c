
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The heartbeat: holds the lease of this node, and brings all others', into
 * the zone, once a second for all workers.  It is the clock by which losses
 * are noticed that no command has an error for: a Redis that came back empty
 * or older, a node that has gone or is back.
 *
 * A loss is noted first and the answer that told of it only then: the worker
 * that takes over from one that died in between is told again.
 *
 * Order matters where a node comes back: "alive" is set before its CHECK is
 * sent, so that what was saved while we took it for dead, and was not told,
 * was saved before the CHECK.
 */


#include "ngx_push_redis_bus.h"
#include "ngx_push_lua_beat.h"


#define NGX_PUSH_BEAT_DEAD      2200   /* ms without a beat of who has our
                                          name: it is not coming back */
#define NGX_PUSH_BEAT_FORGET    3600   /* s; beat.lua has the same */
#define NGX_PUSH_BEAT_EXPIRE    60     /* s between looks at the bus' TTL */


typedef struct {
    uint64_t             now;          /* Redis's, ms */
    ngx_uint_t           first;        /* nothing was known before */
} ngx_push_beat_t;


static void ngx_push_beat_send(ngx_msec_t now);
static void ngx_push_beat_done(void *data, ngx_int_t rc, redisReply *reply);
static ngx_int_t ngx_push_beat_well(redisReply *reply);
static void ngx_push_beat_lease(redisReply *reply, ngx_msec_t now);
static void ngx_push_beat_foreign(uint64_t beat, ngx_msec_t now);
static void ngx_push_beat_held(redisReply *reply, ngx_msec_t now);
static void ngx_push_beat_node(ngx_push_beat_t *b, redisReply *name,
    redisReply *value);
static ngx_push_zone_node_t *ngx_push_beat_add(redisReply *name);
static void ngx_push_beat_ended(ngx_push_beat_t *b);
static void ngx_push_beat_forget(ngx_push_zone_node_t *node, ngx_uint_t i);
static void ngx_push_beat_checks(void);
static void ngx_push_beat_expire(void);
static uint64_t ngx_push_beat_online(void);


static ngx_push_redis_script_t  ngx_push_beat_script = {
    "beat", ngx_push_lua_beat, ""
};

/* of which the name of a node is made */

static const char  ngx_push_beat_letters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

static ngx_uint_t  ngx_push_beat_flying;
static ngx_msec_t  ngx_push_beat_sent;
static time_t      ngx_push_beat_expired;


void
ngx_push_beat_tick(ngx_msec_t now)
{
    ngx_push_conf_t        *pcf;
    ngx_push_redis_conf_t  *rcf;

    rcf = ngx_push_redis_conf();
    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    if (rcf == NULL || pcf == NULL) {
        return;
    }

    if (ngx_push_nodes->lease == NGX_PUSH_LEASE_HELD
        && now - (ngx_msec_t) ngx_push_nodes->beat_at > rcf->lease)
    {
        ngx_push_nodes->lease = NGX_PUSH_LEASE_NONE;

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "push: the lease of node \"%V\" has ended: no answer "
                      "from Redis", &ngx_push_node_name);
    }

    if (ngx_push_beat_flying
        || (ngx_push_beat_sent && now - ngx_push_beat_sent < NGX_PUSH_BEAT))
    {
        return;
    }

    ngx_push_beat_send(now);
}


void
ngx_push_era_key(u_char *buf, ngx_str_t *key)
{
    key->data = buf;
    key->len = ngx_sprintf(buf, "%V{nodes}e", &ngx_push_redis_conf()->prefix)
               - buf;
}


void
ngx_push_beat_now(void)
{
    ngx_push_beat_sent = 0;
    ngx_push_beat_tick(ngx_current_msec);
}


static void
ngx_push_beat_send(ngx_msec_t now)
{
    u_char                  leases[NGX_PUSH_REDIS_KEY];
    u_char                  numbers[6 * NGX_INT64_LEN], *p;
    ngx_str_t               key, arg[11];
    ngx_uint_t              i, leave, take;
    const char             *argv[11];
    size_t                  lens[11];
    u_char                  era[NGX_PUSH_REDIS_KEY], fresh[NGX_PUSH_ERA];
    ngx_push_redis_call_t   call;
    ngx_push_redis_conf_t  *rcf;
    ngx_push_zone_walk_t   *sessions;

    rcf = ngx_push_redis_conf();
    sessions = &ngx_push_nodes->walks[NGX_PUSH_REFLUSH_SESSIONS];

    key.data = leases;
    key.len = ngx_sprintf(leases, "%V{nodes}", &rcf->prefix) - leases;

    leave = (ngx_push_self->state != NGX_PUSH_WORKER_LIVE);
    take = (ngx_push_nodes->foreign_at
            && now - (ngx_msec_t) ngx_push_nodes->foreign_at
               > NGX_PUSH_BEAT_DEAD);

    arg[0] = key;

    ngx_push_era_key(era, &arg[1]);

    arg[2] = ngx_push_node_name;

    p = numbers;

#define ngx_push_beat_number(i, fmt, value)                                   \
    arg[i].data = p;                                                          \
    p = ngx_sprintf(p, fmt, value);                                           \
    arg[i].len = p - arg[i].data

    ngx_push_beat_number(3, "%xD", ngx_push_node_epoch);
    ngx_push_beat_number(4, "%M", rcf->lease);
    ngx_push_beat_number(5, "%uL", ngx_push_nodes->beat);
    ngx_push_beat_number(6, "%uL", ngx_push_beat_online());
    ngx_push_beat_number(7, "%uL",
                         sessions->remaining || !(sessions->wanted
                                                  || sessions->running)
                         ? sessions->remaining : 1);

    arg[8].data = fresh;
    arg[8].len = ngx_sprintf(fresh, "%08xD%08xD", (uint32_t) ngx_random(),
                             (uint32_t) ngx_random()
                             ^ (uint32_t) ngx_push_zone->head->id)
                 - fresh;

    ngx_str_set(&arg[9], "wait");

    if (take) {
        ngx_str_set(&arg[9], "take");
    }

    ngx_str_set(&arg[10], "-");

    if (leave) {
        ngx_str_set(&arg[10], "leave");
    }

    for (i = 0; i < 11; i++) {
        argv[i] = (char *) arg[i].data;
        lens[i] = arg[i].len;
    }

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));
    call.script = &ngx_push_beat_script;
    call.key = &arg[0];
    call.nkeys = 2;
    call.argc = 11;
    call.argv = argv;
    call.argvlen = lens;
    call.handler = ngx_push_beat_done;
    call.urgent = 1;

    ngx_push_beat_sent = now;

    if (ngx_push_redis_call(&call) == NGX_AGAIN) {
        ngx_push_beat_flying = 1;
        return;
    }

    ngx_push_count(beats_failed);
}


static void
ngx_push_beat_done(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_uint_t       i;
    ngx_msec_t       now;
    ngx_push_beat_t  b;

    ngx_push_beat_flying = 0;

    if (ngx_push_self == NULL) {
        return;
    }

    if (rc == NGX_OK && ngx_push_beat_well(reply) != NGX_OK) {
        rc = NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        ngx_push_count(beats_failed);

        if (rc == NGX_DECLINED) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "push: Redis refuses the heartbeat: \"%s\"",
                          reply && reply->str ? reply->str
                                              : "unexpected answer");
        }

        return;
    }

    if (!ngx_push_role_mine()) {
        return;
    }

    ngx_push_count(beats);

    now = ngx_current_msec;

    b.now = strtoull(reply->element[0]->str, NULL, 10);
    b.first = (ngx_push_nodes->beat_at == 0);

    ngx_push_nodes->clock = (int64_t) b.now - (int64_t) now;

    ngx_push_beat_lease(reply, now);

    for (i = 4; i + 1 < reply->elements; i += 2) {
        ngx_push_beat_node(&b, reply->element[i], reply->element[i + 1]);
    }

    ngx_push_beat_ended(&b);

    /* from here on the table says who is dead */

    ngx_memory_barrier();
    ngx_push_nodes->beat_at = now;

    ngx_push_beat_checks();
    ngx_push_beat_expire();
}


static ngx_int_t
ngx_push_beat_well(redisReply *reply)
{
    size_t  i;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 4) {
        return NGX_ERROR;
    }

    for (i = 0; i < reply->elements; i++) {
        if (reply->element[i]->type != REDIS_REPLY_STRING) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_push_beat_lease(redisReply *reply, ngx_msec_t now)
{
    size_t       len;
    redisReply  *era;

    if (ngx_strcmp(reply->element[2]->str, "foreign") == 0) {
        ngx_push_beat_foreign(strtoull(reply->element[3]->str, NULL, 10), now);

    } else {
        ngx_push_beat_held(reply, now);
    }

    era = reply->element[1];
    len = ngx_min((size_t) era->len, NGX_PUSH_ERA);

    if (ngx_push_nodes->era[0] == '\0') {
        ngx_cpystrn(ngx_push_nodes->era, (u_char *) era->str, len + 1);

    } else if (ngx_strncmp(ngx_push_nodes->era, era->str, len + 1) != 0) {
        ngx_push_bus_doubt("Redis came back empty");

        ngx_cpystrn(ngx_push_nodes->era, (u_char *) era->str, len + 1);
    }
}


/*
 * Another epoch has the lease of our name.  Is its owner dead, which is the
 * usual case after a crash, its beats do not go on, and we take it over soon;
 * until then we serve.  If they do, there are two nodes with one name.
 */

static void
ngx_push_beat_foreign(uint64_t beat, ngx_msec_t now)
{
    if (ngx_push_nodes->foreign_at && ngx_push_nodes->foreign == beat) {
        return;
    }

    if (ngx_push_nodes->foreign_at == 0) {
        ngx_push_nodes->lease = NGX_PUSH_LEASE_WAIT;

    } else if (ngx_push_nodes->lease != NGX_PUSH_LEASE_FOREIGN) {
        ngx_push_nodes->lease = NGX_PUSH_LEASE_FOREIGN;

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "push: another node is called \"%V\" too; no device is "
                      "admitted here until it has gone: give each node a "
                      "\"node\" name of its own", &ngx_push_node_name);
    }

    ngx_push_nodes->foreign = beat;
    ngx_push_nodes->foreign_at = now ? now : 1;
}


static void
ngx_push_beat_held(redisReply *reply, ngx_msec_t now)
{
    const char  *how;

    if (ngx_push_nodes->lease == NGX_PUSH_LEASE_FOREIGN) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "push: node \"%V\" has its lease now",
                      &ngx_push_node_name);
    }

    ngx_push_nodes->lease = NGX_PUSH_LEASE_HELD;
    ngx_push_nodes->foreign_at = 0;

    how = reply->element[2]->str;

    if (ngx_strcmp(how, "lapsed") == 0) {
        ngx_push_bus_doubt("the lease had ended");

    } else if (ngx_strcmp(how, "lost") == 0) {
        ngx_push_bus_doubt("the lease was lost");
    }

    ngx_push_nodes->beat = strtoull(reply->element[3]->str, NULL, 10);
}


static void
ngx_push_beat_node(ngx_push_beat_t *b, redisReply *name, redisReply *value)
{
    unsigned               epoch, online, reflush;
    ngx_uint_t             alive;
    unsigned long long     until, beat;
    ngx_push_zone_node_t  *node;

    if (name->len == 0 || name->len >= NGX_PUSH_NODE_NAME
        || strspn(name->str, ngx_push_beat_letters) != (size_t) name->len
        || sscanf(value->str, "%x %llu %llu %u %u", &epoch, &until, &beat,
                  &online, &reflush) != 5)
    {
        return;
    }

    node = ngx_push_node_find((u_char *) name->str, name->len);

    if (node == NULL) {
        node = ngx_push_beat_add(name);

        if (node == NULL) {
            return;
        }
    }

    /* a server that lags tells of leases that have been renewed since */

    if (node->epoch == epoch && node->until > until) {
        until = node->until;
    }

    alive = (until > b->now);

    node->online = online;
    node->reflush = reflush;
    node->until = until;

    if (node->beat != beat || node->epoch != epoch) {
        node->beat = beat;
        node->seen = (int64_t) ngx_time();
    }

    if (node->epoch != epoch && node->alive) {

        /* what its former life still had to tell is lost */

        node->alive = 0;
        node->awaited = 0;
        ngx_push_bus_check("a node has begun anew");
    }

    if (alive && !node->alive) {
        node->epoch = epoch;
        ngx_memory_barrier();
        node->alive = 1;

        if (!b->first) {
            node->check = 1;
        }

    } else if (!node->alive) {
        node->epoch = epoch;
    }
}


/* A name and only then its hash; places of forgotten ones are used again. */

static ngx_push_zone_node_t *
ngx_push_beat_add(redisReply *name)
{
    ngx_uint_t             i;
    ngx_push_zone_node_t  *node;

    for (i = 0; i < ngx_push_nodes->nnodes; i++) {
        if (ngx_push_nodes->hash[i] == 0) {
            break;
        }
    }

    if (i == NGX_PUSH_NODES) {
        if (!ngx_push_nodes->overflow) {
            ngx_push_nodes->overflow = 1;

            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "push: there are more than %d nodes; the others "
                          "are taken for alive", NGX_PUSH_NODES);
        }

        return NULL;
    }

    node = &ngx_push_nodes->nodes[i];

    ngx_memzero(node, sizeof(ngx_push_zone_node_t));
    ngx_memcpy(node->name, name->str, name->len);
    node->len = name->len;

    ngx_memory_barrier();

    ngx_push_nodes->hash[i] = ngx_murmur_hash2(node->name, node->len) | 1;

    if (i == ngx_push_nodes->nnodes) {
        ngx_memory_barrier();
        ngx_push_nodes->nnodes = i + 1;
    }

    return node;
}


/*
 * Leases that have ended, those that are no longer told of too: a Redis that
 * came back empty does not make all nodes dead at once.
 */

static void
ngx_push_beat_ended(ngx_push_beat_t *b)
{
    ngx_uint_t             i;
    ngx_push_zone_node_t  *node;

    for (i = 0; i < ngx_push_nodes->nnodes; i++) {

        if (ngx_push_nodes->hash[i] == 0) {
            continue;
        }

        node = &ngx_push_nodes->nodes[i];

        if (node->until > b->now) {
            continue;
        }

        if (node->alive) {
            node->alive = 0;

            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "push: the lease of node \"%*s\" has ended",
                          (size_t) node->len, node->name);

            ngx_push_bus_check("a node has gone");
            continue;
        }

        if (node->until + NGX_PUSH_BEAT_FORGET * 1000 < b->now) {
            ngx_push_beat_forget(node, i);
        }
    }
}


/* Its bus has nobody who would read it, or let it expire. */

static void
ngx_push_beat_forget(ngx_push_zone_node_t *node, ngx_uint_t i)
{
    u_char     buf[NGX_PUSH_REDIS_KEY];
    ngx_str_t  key;

    ngx_push_bus_key(buf, &key, node->name, node->len);

    (void) ngx_push_bus_command("UNLINK", &key, NULL, NULL, NULL);

    ngx_push_nodes->hash[i] = 0;
    ngx_push_nodes->overflow = 0;
}


/*
 * A CHECK goes through the bus, which keeps it until it was taken; if this
 * worker dies before that, all are told to check.
 */

static void
ngx_push_beat_checks(void)
{
    ngx_uint_t             i;
    ngx_push_frame_t       f;
    ngx_push_zone_node_t  *node;

    ngx_memzero(&f, sizeof(ngx_push_frame_t));
    f.type = NGX_PUSH_FRAME_IS_CHECK;

    for (i = 0; i < ngx_push_nodes->nnodes; i++) {
        node = &ngx_push_nodes->nodes[i];

        if (ngx_push_nodes->hash[i] == 0 || !node->check || !node->alive) {
            continue;
        }

        node->check = 0;

        if (node->len == ngx_push_node_name.len
            && ngx_memcmp(node->name, ngx_push_node_name.data, node->len) == 0)
        {
            continue;
        }

        ngx_push_bus_frame(node->name, node->len, &f);
    }
}


static void
ngx_push_beat_expire(void)
{
    u_char     buf[NGX_PUSH_REDIS_KEY];
    ngx_str_t  key;

    if (ngx_time() - ngx_push_beat_expired < NGX_PUSH_BEAT_EXPIRE) {
        return;
    }

    ngx_push_beat_expired = ngx_time();

    ngx_push_bus_key(buf, &key, ngx_push_node_name.data,
                     ngx_push_node_name.len);

    (void) ngx_push_bus_command("EXPIRE", &key, "3600", NULL, NULL);
}


static uint64_t
ngx_push_beat_online(void)
{
    uint64_t           used, away;
    ngx_uint_t         i;
    ngx_push_shard_t  *sh;

    used = 0;
    away = 0;

    for (i = 0; i < ngx_push_zone->head->nusers; i++) {
        sh = &ngx_push_zone->shards[i];

        used += sh->classes[NGX_PUSH_SESSION].used;
        away += sh->linger.count + sh->offline.count;
    }

    return used > away ? used - away : 0;
}
