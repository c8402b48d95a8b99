
/*
 * Copyright (C) the ngx_push authors
 */


/* The journal in MySQL: its directives, and the life of its writer. */


#include "ngx_push_journal_conf.h"


static void *ngx_push_journal_create_conf(ngx_conf_t *cf);
static char *ngx_push_journal_init_conf(ngx_conf_t *cf, void *conf);
static char *ngx_push_journal_no_use(ngx_conf_t *cf,
    ngx_push_journal_conf_t *jcf);
static char *ngx_push_journal_folder(ngx_conf_t *cf,
    ngx_push_journal_conf_t *jcf);
static char *ngx_push_journal_spill(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_push_journal_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_push_journal_copy(ngx_push_journal_settings_t *set,
    ngx_push_journal_conf_t *jcf, ngx_push_conf_t *pcf);
static char *ngx_push_journal_string(ngx_str_t *s);
static void ngx_push_journal_exit_process(ngx_cycle_t *cycle);
static void ngx_push_journal_release(ngx_push_journal_writer_t *w);


static ngx_push_conf_bounds_t  ngx_push_journal_batch_bounds = {
    ngx_push_check_num, 1, 10000, " rows"
};

static ngx_push_conf_bounds_t  ngx_push_journal_delay_bounds = {
    ngx_push_check_msec, 10, 60000, " milliseconds"
};

static ngx_push_conf_bounds_t  ngx_push_journal_backlog_bounds = {
    ngx_push_check_size, 4 * 1024 * 1024, 64LL * 1024 * 1024 * 1024, " bytes"
};

static ngx_push_conf_bounds_t  ngx_push_journal_keep_bounds = {
    ngx_push_check_sec, 0, 10LL * 365 * 24 * 3600, " seconds"
};


static ngx_command_t  ngx_push_journal_commands[] = {

    { ngx_string("journal"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1234,
      ngx_push_journal_url,
      0,
      0,
      NULL },

    { ngx_string("journal_batch"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_journal_conf_t, batch),
      &ngx_push_journal_batch_bounds },

    { ngx_string("journal_delay"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_push_journal_conf_t, delay),
      &ngx_push_journal_delay_bounds },

    { ngx_string("journal_backlog"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      0,
      offsetof(ngx_push_journal_conf_t, backlog),
      &ngx_push_journal_backlog_bounds },

    { ngx_string("journal_spill"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_push_journal_spill,
      0,
      0,
      NULL },

    { ngx_string("journal_keep"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_push_journal_conf_t, keep),
      &ngx_push_journal_keep_bounds },

      ngx_null_command
};


static ngx_push_module_t  ngx_push_journal_module_ctx = {
    ngx_string("journal"),
    ngx_push_journal_create_conf,
    ngx_push_journal_init_conf,
    NULL                                   /* the store still flushes then */
};


ngx_module_t  ngx_push_journal_module = {
    NGX_MODULE_V1,
    &ngx_push_journal_module_ctx,          /* module context */
    ngx_push_journal_commands,             /* module directives */
    NGX_PUSH_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_push_journal_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_push_journal_exit_process,         /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_push_journal_create_conf(ngx_conf_t *cf)
{
    ngx_push_journal_conf_t  *jcf;

    /* set by ngx_pcalloc(): no address, no folder */

    jcf = ngx_pcalloc(cf->pool, sizeof(ngx_push_journal_conf_t));
    if (jcf == NULL) {
        return NULL;
    }

    jcf->batch = NGX_CONF_UNSET;
    jcf->delay = NGX_CONF_UNSET_MSEC;
    jcf->backlog = NGX_CONF_UNSET_SIZE;
    jcf->keep = NGX_CONF_UNSET;

    return jcf;
}


static char *
ngx_push_journal_init_conf(ngx_conf_t *cf, void *conf)
{
    ngx_push_journal_conf_t  *jcf = conf;

    ngx_push_conf_t  *pcf;

    if (jcf->database.len == 0) {
        return ngx_push_journal_no_use(cf, jcf);
    }

    ngx_conf_init_value(jcf->batch, 1000);
    ngx_conf_init_msec_value(jcf->delay, 200);
    ngx_conf_init_size_value(jcf->backlog, 32 * 1024 * 1024);
    ngx_conf_init_value(jcf->keep, 24 * 3600);

    pcf = ngx_push_get_conf(cf->cycle);

    if (pcf->store == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"journal\" needs \"redis\": the embedded store "
                           "has nothing to restore into, \"zone SIZE "
                           "file=PATH\" keeps its content");
        return NGX_CONF_ERROR;
    }

    pcf->journal = &ngx_push_journal_mysql;

    return ngx_push_journal_folder(cf, jcf);
}


static char *
ngx_push_journal_no_use(ngx_conf_t *cf, ngx_push_journal_conf_t *jcf)
{
    const char  *name;

    name = jcf->batch != NGX_CONF_UNSET ? "journal_batch"
           : jcf->delay != NGX_CONF_UNSET_MSEC ? "journal_delay"
           : jcf->backlog != NGX_CONF_UNSET_SIZE ? "journal_backlog"
           : jcf->keep != NGX_CONF_UNSET ? "journal_keep"
           : jcf->spill.len ? "journal_spill" : NULL;

    if (name) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" is of no use without \"journal\"", name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * The folder is made by nginx as its temporary ones are, for the user of the
 * workers; without a directive beside them.
 */

static char *
ngx_push_journal_folder(ngx_conf_t *cf, ngx_push_journal_conf_t *jcf)
{
    char        *slash;
    size_t       len;
    ngx_path_t  *path;

    if (jcf->spill.len == 0) {

#ifdef NGX_HTTP_CLIENT_TEMP_PATH
        slash = strrchr(NGX_HTTP_CLIENT_TEMP_PATH, '/');
        len = slash ? slash + 1 - NGX_HTTP_CLIENT_TEMP_PATH : 0;
#else
        slash = NULL;
        len = 0;
#endif

        jcf->spill.data = ngx_pnalloc(cf->pool,
                                      len + sizeof("push_journal"));
        if (jcf->spill.data == NULL) {
            return NGX_CONF_ERROR;
        }

#ifdef NGX_HTTP_CLIENT_TEMP_PATH
        ngx_memcpy(jcf->spill.data, NGX_HTTP_CLIENT_TEMP_PATH, len);
#endif
        ngx_memcpy(jcf->spill.data + len, "push_journal",
                   sizeof("push_journal"));

        jcf->spill.len = len + sizeof("push_journal") - 1;
        jcf->spill_size = 1024 * 1024 * 1024;

        if (ngx_conf_full_name(cf->cycle, &jcf->spill, 0) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    path = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (path == NULL) {
        return NGX_CONF_ERROR;
    }

    path->name = jcf->spill;
    path->conf_file = cf->conf_file->file.name.data;
    path->line = cf->conf_file->line;

    if (ngx_add_path(cf, &path) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_push_journal_spill(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_journal_conf_t  *jcf = conf;

    ngx_str_t  *value;

    if (jcf->spill.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    jcf->spill_size = ngx_parse_offset(&value[2]);

    if (jcf->spill_size == (off_t) NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\" of \"journal_spill\": write "
                           "it as 64m or 1g", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (jcf->spill_size < 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "size \"%V\" of \"journal_spill\" is too small: 1m "
                           "is the least", &value[2]);
        return NGX_CONF_ERROR;
    }

    jcf->spill = value[1];

    if (jcf->spill.len == 0) {
        return "has an empty path";
    }

    while (jcf->spill.len > 1 && jcf->spill.data[jcf->spill.len - 1] == '/') {
        jcf->spill.data[--jcf->spill.len] = '\0';
    }

    if (ngx_conf_full_name(cf->cycle, &jcf->spill, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_push_journal_init_process(ngx_cycle_t *cycle)
{
    ngx_push_conf_t            *pcf;
    ngx_push_journal_conf_t    *jcf;
    ngx_push_journal_writer_t  *w;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    pcf = ngx_push_get_conf(cycle);

    if (pcf == NULL || pcf->journal != &ngx_push_journal_mysql) {
        return NGX_OK;
    }

    jcf = (*(void ***) ngx_get_conf(cycle->conf_ctx, ngx_push_module))
              [ngx_push_journal_module.ctx_index];

    w = ngx_calloc(sizeof(ngx_push_journal_writer_t), cycle->log);
    if (w == NULL) {
        return NGX_ERROR;
    }

    if (ngx_push_journal_copy(&w->set, jcf, pcf) != NGX_OK) {
        ngx_push_journal_release(w);
        return NGX_ERROR;
    }

    return ngx_push_journal_begin(cycle, w);
}


static ngx_int_t
ngx_push_journal_copy(ngx_push_journal_settings_t *set,
    ngx_push_journal_conf_t *jcf, ngx_push_conf_t *pcf)
{
    set->host = ngx_push_journal_string(&jcf->host);
    set->socket = ngx_push_journal_string(&jcf->socket);
    set->user = ngx_push_journal_string(&jcf->user);
    set->password = ngx_push_journal_string(&jcf->password);
    set->database = ngx_push_journal_string(&jcf->database);
    set->ca = ngx_push_journal_string(&jcf->ca);
    set->spill = ngx_push_journal_string(&jcf->spill);
    set->node = ngx_push_journal_string(&pcf->node);
    set->port = jcf->port;
    set->ssl = jcf->ssl;
    set->batch = jcf->batch;
    set->delay = jcf->delay;
    set->backlog = jcf->backlog;
    set->spill_size = jcf->spill_size;
    set->keep = jcf->keep;
    set->device_expiry = pcf->device_expiry;

    if ((set->host == NULL && set->socket == NULL) || set->user == NULL
        || (set->password == NULL && jcf->password.len)
        || set->database == NULL || set->spill == NULL || set->node == NULL
        || (set->ca == NULL && jcf->ca.len))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* NULL for an empty one, too. */

static char *
ngx_push_journal_string(ngx_str_t *s)
{
    return s->len ? strndup((char *) s->data, s->len) : NULL;
}


static void
ngx_push_journal_exit_process(ngx_cycle_t *cycle)
{
    ngx_push_journal_writer_t  *w;

    w = ngx_push_journal_end(cycle);

    if (w) {
        ngx_push_journal_release(w);
    }
}


static void
ngx_push_journal_release(ngx_push_journal_writer_t *w)
{
    ngx_push_journal_settings_t  *set;

    set = &w->set;

    free(set->host);
    free(set->socket);
    free(set->user);
    free(set->password);
    free(set->database);
    free(set->ca);
    free(set->spill);
    free(set->node);
    free(w);
}
