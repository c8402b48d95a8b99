
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * This node and the others: who of its workers has the role, and what is
 * known of whom.
 */


#include "ngx_push_redis_bus.h"


#define NGX_PUSH_EPOCH_MS       16     /* unit of an epoch */
#define NGX_PUSH_EPOCH_YOUNG    (60 * 1000 / NGX_PUSH_EPOCH_MS)


static void ngx_push_node_tick(ngx_event_t *ev);
static void ngx_push_role_take(ngx_msec_t now);
static ngx_uint_t ngx_push_role_heir(void);
static void ngx_push_role_lost(void);
static void ngx_push_node_bury(void);
static void ngx_push_node_up(ngx_push_redis_back_t how);
static uint32_t ngx_push_epoch_now(void);
static ngx_uint_t ngx_push_epoch_young(uint32_t epoch);
static ngx_int_t ngx_push_cluster_nodes(ngx_array_t *nodes,
    ngx_pool_t *pool);
static ngx_int_t ngx_push_cluster_reflush(ngx_str_t *node);
static void ngx_push_cluster_share(uint64_t *here, uint64_t *all);


ngx_str_t   ngx_push_node_name;
uint32_t    ngx_push_node_epoch;


ngx_push_cluster_t  ngx_push_redis_nodes = {
    ngx_push_cluster_nodes,
    ngx_push_cluster_reflush,
    ngx_push_cluster_share
};


static ngx_event_t             ngx_push_node_event;
static ngx_connection_t        ngx_push_node_dummy;
static ngx_push_redis_watch_t  ngx_push_node_watch;
static ngx_uint_t              ngx_push_role_had;
static uint64_t                ngx_push_role_self;


ngx_int_t
ngx_push_redis_node_init(ngx_cycle_t *cycle)
{
    uint32_t          epoch;
    ngx_push_conf_t  *pcf;

    pcf = ngx_push_get_conf(cycle);

    if (pcf == NULL || ngx_push_self == NULL) {
        return NGX_OK;
    }

    epoch = ngx_push_epoch_now();

    (void) __sync_bool_compare_and_swap(&ngx_push_nodes->epoch, 0,
                                        epoch ? epoch : 1);

    ngx_push_node_name = pcf->node;
    ngx_push_node_epoch = ngx_push_nodes->epoch;

    ngx_push_role_self = (uint64_t) (ngx_push_self->index + 1) << 32
                         | ngx_push_self->gen;
    ngx_push_role_had = 0;

    ngx_push_bus_send_init();
    ngx_push_reflush_init();

    ngx_push_mail_released = ngx_push_kick_mail;

    ngx_push_node_watch.up = ngx_push_node_up;
    ngx_push_redis_watch(&ngx_push_node_watch);

    ngx_push_bus_event(&ngx_push_node_event, ngx_push_node_tick);
    ngx_add_timer(&ngx_push_node_event, 1);

    return NGX_OK;
}


/*
 * A worker that leaves nothing unsent needs no check by the other nodes.  Its
 * role is free at once.
 */

void
ngx_push_redis_node_exit(ngx_cycle_t *cycle)
{
    if (ngx_push_role_self == 0 || ngx_push_self == NULL) {
        return;
    }

    if (ngx_push_bus_sent()) {
        ngx_push_nodes->left[ngx_push_self->index] = ngx_push_self->gen;
    }

    (void) __sync_bool_compare_and_swap(&ngx_push_nodes->role,
                                        ngx_push_role_self, 0);

    if (ngx_push_node_event.timer_set) {
        ngx_del_timer(&ngx_push_node_event);
    }

    ngx_push_mail_released = NULL;
}


void
ngx_push_bus_event(ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ngx_push_node_dummy.fd = (ngx_socket_t) -1;

    ev->handler = handler;
    ev->data = &ngx_push_node_dummy;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;
}


ngx_int_t
ngx_push_bus_command(const char *command, ngx_str_t *key, const char *arg,
    ngx_push_redis_pt handler, void *data)
{
    const char             *argv[3];
    size_t                  lens[3];
    ngx_push_redis_call_t   call;

    argv[0] = command;
    lens[0] = ngx_strlen(command);
    argv[1] = (char *) key->data;
    lens[1] = key->len;

    if (arg) {
        argv[2] = arg;
        lens[2] = ngx_strlen(arg);
    }

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));
    call.key = key;
    call.argc = arg ? 3 : 2;
    call.argv = argv;
    call.argvlen = lens;
    call.handler = handler;
    call.data = data;
    call.urgent = 1;

    return ngx_push_redis_call(&call);
}


ngx_uint_t
ngx_push_role_mine(void)
{
    return ngx_push_nodes->role == ngx_push_role_self;
}


static void
ngx_push_node_tick(ngx_event_t *ev)
{
    ngx_msec_t  now;

    now = ngx_current_msec;

    if (!ngx_push_role_mine()) {
        if (ngx_push_role_had) {
            ngx_push_role_lost();
        }

        ngx_push_role_take(now);

    } else if (!ngx_push_role_heir()) {

        /* of an old cycle: a worker that stays is there */

        ngx_push_role_lost();
        (void) __sync_bool_compare_and_swap(&ngx_push_nodes->role,
                                            ngx_push_role_self, 0);
    }

    if (ngx_push_role_mine()) {
        ngx_push_role_had = 1;
        ngx_push_nodes->role_at = now;

        ngx_push_node_bury();
        ngx_push_beat_tick(now);
        ngx_push_bus_read_tick();
        ngx_push_reflush_tick();
    }

    ngx_add_timer(ev, NGX_PUSH_ROLE_TICK);
}


/*
 * The role is free when its holder has gone or shows no life.  One that was
 * only stopped finds out before it writes anything again.
 */

static void
ngx_push_role_take(ngx_msec_t now)
{
    uint64_t  role;

    role = ngx_push_nodes->role;

    if (role
        && ngx_push_worker_alive((uint32_t) (role >> 32) - 1, (uint32_t) role)
        && now - (ngx_msec_t) ngx_push_nodes->role_at < NGX_PUSH_ROLE_STALE)
    {
        return;
    }

    if (!ngx_push_role_heir()) {
        return;
    }

    /* first, or the next one would find the time of who had it before */

    ngx_push_nodes->role_at = now;

    if (__sync_bool_compare_and_swap(&ngx_push_nodes->role, role,
                                     ngx_push_role_self))
    {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "push: this worker speaks for node \"%V\" now",
                      &ngx_push_node_name);
    }
}


/* A worker that leaves has the role only while there is no other. */

static ngx_uint_t
ngx_push_role_heir(void)
{
    ngx_uint_t  i, n;

    if (!ngx_exiting && ngx_push_self->state == NGX_PUSH_WORKER_LIVE) {
        return 1;
    }

    n = ngx_push_zone->head->nworkers;

    for (i = 0; i < n; i++) {
        if (ngx_push_worker_slot(i)->state == NGX_PUSH_WORKER_LIVE
            && i != ngx_push_self->index)
        {
            return 0;
        }
    }

    return 1;
}


static void
ngx_push_role_lost(void)
{
    ngx_push_role_had = 0;

    ngx_push_bus_read_stop();
}


/*
 * A worker that died may have had a save answered and told nobody: all nodes
 * are to check, this one too.
 */

static void
ngx_push_node_bury(void)
{
    uint32_t            gen;
    ngx_uint_t          i, died;
    ngx_push_worker_t  *w;

    died = 0;

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);
        gen = w->gen;

        if (ngx_push_nodes->noticed[i] == gen) {
            continue;
        }

        if (ngx_push_worker_alive(i, gen)) {
            gen--;
        }

        if (ngx_push_nodes->noticed[i] == gen) {
            continue;
        }

        /* of several in between only the last one is known */

        if (ngx_push_nodes->left[i] != gen
            || gen - ngx_push_nodes->noticed[i] > 1)
        {
            died = 1;
        }

        ngx_push_nodes->noticed[i] = gen;
    }

    if (!died) {
        return;
    }

    ngx_push_bus_check_everywhere("a worker has died");
}


void
ngx_push_bus_check_everywhere(const char *why)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_push_nodes->nnodes; i++) {
        ngx_push_nodes->nodes[i].check = 1;
    }

    ngx_push_bus_check(why);
}


static void
ngx_push_node_up(ngx_push_redis_back_t how)
{
    switch (how) {

    case NGX_PUSH_REDIS_RESTARTED:
        ngx_push_bus_doubt("Redis was restarted");
        break;

    case NGX_PUSH_REDIS_FAILOVER:
        ngx_push_bus_doubt("Redis has failed over");
        break;

    default:
        break;
    }

    if (ngx_push_role_mine()) {
        ngx_push_beat_now();
    }
}


ngx_push_zone_node_t *
ngx_push_node_find(u_char *name, size_t len)
{
    uint32_t               hash;
    ngx_uint_t             i, n;
    ngx_push_zone_node_t  *node;

    hash = ngx_murmur_hash2(name, len) | 1;
    n = ngx_push_nodes->nnodes;

    for (i = 0; i < n; i++) {
        if (ngx_push_nodes->hash[i] != hash) {
            continue;
        }

        node = &ngx_push_nodes->nodes[i];

        if (node->len == len && ngx_memcmp(node->name, name, len) == 0) {
            return node;
        }
    }

    return NULL;
}


/*
 * Before the first heartbeat nothing is known of anybody.  Afterwards a node
 * that we have not heard of may have joined since the last one; its epoch
 * tells.  Whoever joins without being heard of for longer than that is sent a
 * CHECK by all when they first hear of it.
 */

ngx_uint_t
ngx_push_node_alive(ngx_str_t *name, uint32_t epoch)
{
    uint32_t               known;
    ngx_push_zone_node_t  *node;

    if (name->len == ngx_push_node_name.len
        && ngx_memcmp(name->data, ngx_push_node_name.data, name->len) == 0)
    {
        return epoch == ngx_push_node_epoch;
    }

    if (ngx_push_nodes->beat_at == 0) {
        return 1;
    }

    node = ngx_push_node_find(name->data, name->len);

    if (node == NULL) {
        return ngx_push_nodes->overflow || ngx_push_epoch_young(epoch);
    }

    known = node->epoch;

    if (known == epoch) {
        return node->alive != 0;
    }

    return (int32_t) (epoch - known) > 0 && ngx_push_epoch_young(epoch);
}


ngx_uint_t
ngx_push_node_serves(void)
{
    return ngx_push_nodes->lease != NGX_PUSH_LEASE_FOREIGN;
}


/* The wall clock, in units small enough that no two lives of a node share. */

static uint32_t
ngx_push_epoch_now(void)
{
    struct timeval  tv;

    ngx_gettimeofday(&tv);

    return (uint32_t) (((uint64_t) tv.tv_sec * 1000 + tv.tv_usec / 1000)
                       / NGX_PUSH_EPOCH_MS);
}


uint64_t
ngx_push_node_age(void)
{
    int32_t  age;

    age = (int32_t) (ngx_push_epoch_now() - ngx_push_node_epoch);

    return age > 0 ? (uint64_t) age * NGX_PUSH_EPOCH_MS : 0;
}


static ngx_uint_t
ngx_push_epoch_young(uint32_t epoch)
{
    int32_t  age;

    age = (int32_t) (ngx_push_epoch_now() - epoch);

    return age < NGX_PUSH_EPOCH_YOUNG && age > -NGX_PUSH_EPOCH_YOUNG;
}


void
ngx_push_bus_check(const char *why)
{
    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "push: all logs are to be compared with the store: %s", why);

    ngx_push_count(checks);

    ngx_push_check_all();
}


void
ngx_push_bus_doubt(const char *why)
{
    ngx_push_settle_begin();
    ngx_push_reflush_all(why);
    ngx_push_bus_check(why);
}


static ngx_int_t
ngx_push_cluster_nodes(ngx_array_t *nodes, ngx_pool_t *pool)
{
    ngx_uint_t             i, n;
    ngx_push_node_t       *node;
    ngx_push_zone_node_t  *zn;

    n = ngx_push_nodes->nnodes;

    for (i = 0; i < n; i++) {
        if (ngx_push_nodes->hash[i] == 0) {
            continue;
        }

        zn = &ngx_push_nodes->nodes[i];

        node = ngx_array_push(nodes);
        if (node == NULL) {
            return NGX_ERROR;
        }

        node->name.len = ngx_min(zn->len, NGX_PUSH_NODE_NAME);
        node->name.data = ngx_pnalloc(pool, NGX_PUSH_NODE_NAME);
        if (node->name.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(node->name.data, zn->name, NGX_PUSH_NODE_NAME);

        node->epoch = zn->epoch;
        node->alive = zn->alive;
        node->seen = (time_t) zn->seen;
        node->online = zn->online;
        node->reflush = zn->reflush;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_cluster_reflush(ngx_str_t *name)
{
    ngx_push_frame_t       f;
    ngx_push_zone_node_t  *node;

    if (name->len == ngx_push_node_name.len
        && ngx_memcmp(name->data, ngx_push_node_name.data, name->len) == 0)
    {
        ngx_push_reflush_all("asked for");
        return NGX_OK;
    }

    node = ngx_push_node_find(name->data, name->len);

    if (node == NULL) {
        return NGX_PUSH_NOT_FOUND;
    }

    if (!node->alive) {
        return NGX_DECLINED;
    }

    if (!ngx_push_redis_up(NULL)) {
        return NGX_ERROR;
    }

    ngx_memzero(&f, sizeof(ngx_push_frame_t));
    f.type = NGX_PUSH_FRAME_IS_REFLUSH;

    ngx_push_bus_frame(name->data, name->len, &f);

    return NGX_OK;
}


static void
ngx_push_cluster_share(uint64_t *here, uint64_t *all)
{
    ngx_uint_t             i, n;
    ngx_push_zone_node_t  *node;

    *here = 0;
    *all = 0;

    n = ngx_push_nodes->nnodes;

    for (i = 0; i < n; i++) {
        node = &ngx_push_nodes->nodes[i];

        if (ngx_push_nodes->hash[i] == 0 || !node->alive) {
            continue;
        }

        *all += node->online;

        if (node->epoch == ngx_push_node_epoch
            && node->len == ngx_push_node_name.len
            && ngx_memcmp(node->name, ngx_push_node_name.data, node->len) == 0)
        {
            *here = node->online;
        }
    }
}
