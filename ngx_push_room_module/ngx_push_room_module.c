
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_room.h"


static void *ngx_push_room_create_srv_conf(ngx_conf_t *cf);
static char *ngx_push_room_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_push_room_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_push_room_keepalive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_push_room_check_conf(ngx_cycle_t *cycle, void *conf);
static ngx_int_t ngx_push_room_init(ngx_conf_t *cf);
static ngx_int_t ngx_push_room_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_push_room_init_process(ngx_cycle_t *cycle);


static ngx_push_conf_bounds_t  ngx_push_room_window_bounds = {
    ngx_push_check_num, 1, 65535, ""
};

static ngx_push_conf_bounds_t  ngx_push_room_alias_bounds = {
    ngx_push_check_num, 0, 1024, ""
};

static ngx_push_conf_bounds_t  ngx_push_room_timeout_bounds = {
    ngx_push_check_msec, 1000, 3600000, " milliseconds"
};

static ngx_push_conf_bounds_t  ngx_push_room_packet_bounds = {
    ngx_push_check_size, 1024, 1048576, " bytes"
};


static ngx_command_t  ngx_push_room_commands[] = {

    { ngx_string("push_room"),
      NGX_STREAM_SRV_CONF|NGX_CONF_NOARGS,
      ngx_push_room_directive,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("push_keepalive"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE2,
      ngx_push_room_keepalive,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("push_window"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_push_room_srv_conf_t, window),
      &ngx_push_room_window_bounds },

    { ngx_string("push_connect_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_push_room_srv_conf_t, connect_timeout),
      &ngx_push_room_timeout_bounds },

    { ngx_string("push_send_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_push_room_srv_conf_t, send_timeout),
      &ngx_push_room_timeout_bounds },

    { ngx_string("push_max_packet"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_push_room_srv_conf_t, max_packet),
      &ngx_push_room_packet_bounds },

    { ngx_string("push_topic_alias_max"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_push_room_srv_conf_t, topic_alias_max),
      &ngx_push_room_alias_bounds },

    { ngx_string("push_tls_release"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_push_room_srv_conf_t, tls_release),
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_push_room_module_ctx = {
    ngx_push_room_add_variables,           /* preconfiguration */
    ngx_push_room_init,                    /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_push_room_create_srv_conf,         /* create server configuration */
    ngx_push_room_merge_srv_conf           /* merge server configuration */
};


ngx_module_t  ngx_push_room_module = {
    NGX_MODULE_V1,
    &ngx_push_room_module_ctx,             /* module context */
    ngx_push_room_commands,                /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    ngx_push_room_init_module,             /* init module */
    ngx_push_room_init_process,            /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/*
 * The push block may come after the stream block: whether there is one can
 * only be told when all is read, which is when core modules are asked.
 */

static ngx_core_module_t  ngx_push_room_check_ctx = {
    ngx_string("push_room_check"),
    NULL,
    ngx_push_room_check_conf
};


ngx_module_t  ngx_push_room_check_module = {
    NGX_MODULE_V1,
    &ngx_push_room_check_ctx,              /* module context */
    NULL,                                  /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_push_conf_t   *ngx_push_room_push;

/* where the first push_room of the configuration being read is */

static ngx_cycle_t  *ngx_push_room_cycle;
static ngx_str_t     ngx_push_room_file;
static ngx_uint_t    ngx_push_room_line;


/*
 * A new connection, after nginx's own phases (proxy_protocol, limit_conn,
 * allow and deny, the TLS handshake).
 */

void
ngx_push_room_handler(ngx_stream_session_t *s)
{
    ngx_connection_t          *c;
    ngx_push_room_conn_t      *room;
    ngx_push_room_srv_conf_t  *rscf;

    c = s->connection;
    c->log->action = "serving a push client";

    room = ngx_calloc(sizeof(ngx_push_room_conn_t), c->log);
    if (room == NULL) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_stream_set_ctx(s, room, ngx_push_room_module);

    rscf = ngx_stream_get_module_srv_conf(s, ngx_push_room_module);

    room->push.transport = &ngx_push_room_transport;
    room->connection = c;
    room->conf = rscf;
    room->number = c->number;
    room->received = s->received;
    room->kind = NGX_PUSH_CONN_HANDSHAKE;
    room->deadline = ngx_push_room_after(rscf->connect_timeout);

    ngx_push_room_wheel_add(room);

    ngx_push_count(accepted);
    ngx_push_count(conns[NGX_PUSH_CONN_HANDSHAKE]);

    c->read->handler = ngx_push_room_read;
    c->write->handler = ngx_push_room_write;

    if (c->buffer && c->buffer->pos < c->buffer->last
        && ngx_push_room_preread(room, c->buffer) != NGX_OK)
    {
        return;
    }

    ngx_push_room_read(c->read);
}


static void *
ngx_push_room_create_srv_conf(ngx_conf_t *cf)
{
    ngx_push_room_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_push_room_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->keepalive_min = NGX_CONF_UNSET;
    conf->keepalive_max = NGX_CONF_UNSET;
    conf->window = NGX_CONF_UNSET_UINT;
    conf->connect_timeout = NGX_CONF_UNSET_MSEC;
    conf->send_timeout = NGX_CONF_UNSET_MSEC;
    conf->max_packet = NGX_CONF_UNSET_SIZE;
    conf->topic_alias_max = NGX_CONF_UNSET_UINT;
    conf->tls_release = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_push_room_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_push_room_srv_conf_t  *prev = parent;
    ngx_push_room_srv_conf_t  *conf = child;

    ngx_conf_merge_sec_value(conf->keepalive_min, prev->keepalive_min, 10);
    ngx_conf_merge_sec_value(conf->keepalive_max, prev->keepalive_max, 1200);
    ngx_conf_merge_uint_value(conf->window, prev->window, 32);
    ngx_conf_merge_msec_value(conf->connect_timeout, prev->connect_timeout,
                              10000);
    ngx_conf_merge_msec_value(conf->send_timeout, prev->send_timeout, 30000);

    /* the largest payload of any product, its topic and properties */

    ngx_conf_merge_size_value(conf->max_packet, prev->max_packet,
                              NGX_PUSH_PAYLOAD_MAX + 16384);
    ngx_conf_merge_uint_value(conf->topic_alias_max, prev->topic_alias_max,
                              16);
    ngx_conf_merge_value(conf->tls_release, prev->tls_release, 1);

    return NGX_CONF_OK;
}


static char *
ngx_push_room_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_room_srv_conf_t *rscf = conf;

    ngx_stream_core_srv_conf_t  *cscf;

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    if (cscf->handler == ngx_push_room_handler) {
        return "is duplicate";
    }

    if (cscf->handler) {
        return "does not go with another directive that serves connections";
    }

    cscf->handler = ngx_push_room_handler;
    rscf->ctx = cf->ctx;

    if (ngx_push_room_cycle != cf->cycle) {
        ngx_push_room_cycle = cf->cycle;
        ngx_push_room_file = cf->conf_file->file.name;
        ngx_push_room_line = cf->conf_file->line;
    }

    return NGX_CONF_OK;
}


static char *
ngx_push_room_keepalive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_room_srv_conf_t *rscf = conf;

    ngx_str_t  *value;

    if (rscf->keepalive_min != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    rscf->keepalive_min = ngx_parse_time(&value[1], 1);
    rscf->keepalive_max = ngx_parse_time(&value[2], 1);

    if (rscf->keepalive_min == (time_t) NGX_ERROR
        || rscf->keepalive_max == (time_t) NGX_ERROR)
    {
        return "invalid value";
    }

    if (rscf->keepalive_min < 1 || rscf->keepalive_max > 65535
        || rscf->keepalive_min > rscf->keepalive_max)
    {
        return "must be two times between 1 and 65535 seconds, the smaller "
               "one first";
    }

    return NGX_CONF_OK;
}


static char *
ngx_push_room_check_conf(ngx_cycle_t *cycle, void *conf)
{
    if (!ngx_push_room_configured(cycle) || ngx_push_get_conf(cycle)) {
        return NGX_CONF_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "\"push_room\" needs a \"push\" block in %V:%ui",
                  &ngx_push_room_file, ngx_push_room_line);

    return NGX_CONF_ERROR;
}


ngx_uint_t
ngx_push_room_configured(ngx_cycle_t *cycle)
{
    return ngx_push_room_cycle == cycle;
}


static ngx_int_t
ngx_push_room_init_module(ngx_cycle_t *cycle)
{
    return ngx_test_config ? NGX_OK : ngx_push_room_listen_set(cycle);
}


/* All servers are merged: nginx has made their TLS. */

static ngx_int_t
ngx_push_room_init(ngx_conf_t *cf)
{
    ngx_uint_t                     i;
    ngx_push_room_srv_conf_t      *rscf;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        if (cscfp[i]->handler != ngx_push_room_handler) {
            continue;
        }

        rscf = cscfp[i]->ctx->srv_conf[ngx_push_room_module.ctx_index];

        if (ngx_push_room_tls_init(cf, cscfp[i], rscf->tls_release)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_push_room_listen_init(cf);
}


static ngx_int_t
ngx_push_room_init_process(ngx_cycle_t *cycle)
{
    ngx_push_room_push = ngx_push_get_conf(cycle);

    if (ngx_push_room_push == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    ngx_push_room_facts_init(cycle);

    return ngx_push_room_wheel_init(cycle);
}
