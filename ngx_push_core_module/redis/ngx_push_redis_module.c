
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The directives of Redis, its parts put into the push block, and their life
 * in a worker: begun after the core's, ended before it.
 */


#include "ngx_push_redis_client.h"
#include "ngx_push_redis_node.h"
#include "ngx_push_worker.h"


static void *ngx_push_redis_create_conf(ngx_conf_t *cf);
static char *ngx_push_redis_init_conf(ngx_conf_t *cf, void *conf);
static ngx_int_t ngx_push_redis_init_process(ngx_cycle_t *cycle);
static void ngx_push_redis_exit_worker(ngx_cycle_t *cycle);


static ngx_push_conf_bounds_t  ngx_push_redis_connections_bounds = {
    ngx_push_check_num, 1, 64, ""
};

static ngx_push_conf_bounds_t  ngx_push_redis_inflight_bounds = {
    ngx_push_check_num, 1, 1000000, ""
};

static ngx_push_conf_bounds_t  ngx_push_redis_connect_bounds = {
    ngx_push_check_msec, 10, 60000, " milliseconds"
};

static ngx_push_conf_bounds_t  ngx_push_redis_timeout_bounds = {
    ngx_push_check_msec, 50, 60000, " milliseconds"
};

static ngx_push_conf_bounds_t  ngx_push_redis_lease_bounds = {
    ngx_push_check_msec, 3000, 600000, " milliseconds"
};

static ngx_push_conf_bounds_t  ngx_push_redis_bus_bounds = {
    ngx_push_check_num, 100, 10000000, ""
};

static ngx_push_conf_bounds_t  ngx_push_redis_reflush_bounds = {
    ngx_push_check_num, 1, 1000000, ""
};

static ngx_push_conf_bounds_t  ngx_push_redis_cursor_bounds = {
    ngx_push_check_msec, 1, 60000, " milliseconds"
};


static ngx_command_t  ngx_push_redis_commands[] = {

    { ngx_string("redis"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_1MORE,
      ngx_push_redis_conf_redis,
      0,
      0,
      NULL },

    { ngx_string("redis_user"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_push_redis_conf_name,
      0,
      offsetof(ngx_push_redis_conf_t, user),
      NULL },

    { ngx_string("redis_password"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_push_redis_conf_password,
      0,
      0,
      NULL },

    { ngx_string("redis_prefix"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_push_redis_conf_name,
      0,
      offsetof(ngx_push_redis_conf_t, prefix),
      NULL },

    { ngx_string("redis_connections"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_redis_conf_t, connections),
      &ngx_push_redis_connections_bounds },

    { ngx_string("redis_inflight"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_redis_conf_t, inflight),
      &ngx_push_redis_inflight_bounds },

    { ngx_string("redis_connect_timeout"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_push_redis_conf_t, connect_timeout),
      &ngx_push_redis_connect_bounds },

    { ngx_string("redis_timeout"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_push_redis_conf_t, timeout),
      &ngx_push_redis_timeout_bounds },

    { ngx_string("node_lease"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_push_redis_conf_t, lease),
      &ngx_push_redis_lease_bounds },

    { ngx_string("bus_limit"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_redis_conf_t, bus_limit),
      &ngx_push_redis_bus_bounds },

    { ngx_string("reflush_rate"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_redis_conf_t, reflush_rate),
      &ngx_push_redis_reflush_bounds },

    { ngx_string("cursor_flush"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_push_redis_conf_t, cursor_flush),
      &ngx_push_redis_cursor_bounds },

      ngx_null_command
};


static ngx_push_module_t  ngx_push_redis_module_ctx = {
    ngx_string("redis"),
    ngx_push_redis_create_conf,
    ngx_push_redis_init_conf,
    ngx_push_redis_exit_worker
};


ngx_module_t  ngx_push_redis_module = {
    NGX_MODULE_V1,
    &ngx_push_redis_module_ctx,            /* module context */
    ngx_push_redis_commands,               /* module directives */
    NGX_PUSH_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_push_redis_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_push_redis_create_conf(ngx_conf_t *cf)
{
    ngx_push_redis_conf_t  *rcf;

    /* set by ngx_pcalloc(): no server, user, password and prefix */

    rcf = ngx_pcalloc(cf->pool, sizeof(ngx_push_redis_conf_t));

    if (rcf == NULL) {
        return NULL;
    }

    rcf->connections = NGX_CONF_UNSET_UINT;
    rcf->inflight = NGX_CONF_UNSET_UINT;
    rcf->connect_timeout = NGX_CONF_UNSET_MSEC;
    rcf->timeout = NGX_CONF_UNSET_MSEC;
    rcf->lease = NGX_CONF_UNSET_MSEC;
    rcf->bus_limit = NGX_CONF_UNSET_UINT;
    rcf->reflush_rate = NGX_CONF_UNSET_UINT;
    rcf->cursor_flush = NGX_CONF_UNSET_MSEC;

    return rcf;
}


static char *
ngx_push_redis_init_conf(ngx_conf_t *cf, void *conf)
{
    ngx_push_redis_conf_t *rcf = conf;

    ngx_push_conf_t  *pcf;

    ngx_conf_init_uint_value(rcf->connections, 2);
    ngx_conf_init_uint_value(rcf->inflight, 4096);
    ngx_conf_init_msec_value(rcf->connect_timeout, 1000);
    ngx_conf_init_msec_value(rcf->timeout, 2000);
    ngx_conf_init_msec_value(rcf->lease, 10000);
    ngx_conf_init_uint_value(rcf->bus_limit, 10000);
    ngx_conf_init_uint_value(rcf->reflush_rate, 2000);
    ngx_conf_init_msec_value(rcf->cursor_flush, 200);

    if (rcf->prefix.data == NULL) {
        ngx_str_set(&rcf->prefix, "np:");
    }

    if (rcf->topology == NULL) {
        return NGX_CONF_OK;
    }

    if (rcf->user.len && rcf->password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis_user\" needs a \"redis_password\"");
        return NGX_CONF_ERROR;
    }

    pcf = ngx_push_get_conf(cf->cycle);

    pcf->store = &ngx_push_redis_store;
    pcf->reg = &ngx_push_redis_register;
    pcf->cluster = &ngx_push_redis_nodes;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_push_redis_init_process(ngx_cycle_t *cycle)
{
    void                   ***ctx;
    ngx_push_redis_conf_t    *rcf;

    if ((ngx_process != NGX_PROCESS_WORKER
         && ngx_process != NGX_PROCESS_SINGLE)
        || ngx_push_get_conf(cycle) == NULL)
    {
        return NGX_OK;
    }

    ctx = (void ***) ngx_get_conf(cycle->conf_ctx, ngx_push_module);
    rcf = (*ctx)[ngx_push_redis_module.ctx_index];

    if (rcf->topology == NULL) {
        return NGX_OK;
    }

    ngx_push_redis.conf = rcf;

    if (ngx_push_redis_client_init(cycle) != NGX_OK
        || ngx_push_redis_store_init(cycle) != NGX_OK
        || ngx_push_redis_register_init(cycle) != NGX_OK
        || ngx_push_redis_node_init(cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_push_redis_exit_worker(ngx_cycle_t *cycle)
{
    if (!ngx_push_redis.running) {
        return;
    }

    ngx_push_redis_client_leave();

    ngx_push_redis_node_exit(cycle);
    ngx_push_redis_register_exit(cycle);
    ngx_push_redis_store_exit(cycle);

    ngx_push_redis_client_exit();
}
