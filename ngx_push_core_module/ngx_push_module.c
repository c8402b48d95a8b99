
/*
 * Copyright (C) the ngx_push authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_push_conf.h"
#include "ngx_push_zone.h"
#include "ngx_push_worker.h"
#include "ngx_push_store.h"


static char *ngx_push_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_push_create_confs(ngx_conf_t *cf, void **confs);
static char *ngx_push_init_confs(ngx_conf_t *cf, void **confs);
static char *ngx_push_init_conf(ngx_cycle_t *cycle, void *conf);
static char *ngx_push_number_products(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf);
static ngx_int_t ngx_push_init_process(ngx_cycle_t *cycle);
static void ngx_push_exit_process(ngx_cycle_t *cycle);
static void ngx_push_exit_modules(ngx_cycle_t *cycle);


static ngx_command_t  ngx_push_commands[] = {

    { ngx_string("push"),
      NGX_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_NOARGS,
      ngx_push_block,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_core_module_t  ngx_push_module_ctx = {
    ngx_string("push"),
    NULL,
    ngx_push_init_conf
};


ngx_module_t  ngx_push_module = {
    NGX_MODULE_V1,
    &ngx_push_module_ctx,                  /* module context */
    ngx_push_commands,                     /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_push_init_process,                 /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_push_exit_process,                 /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_push_conf_t *
ngx_push_get_conf(ngx_cycle_t *cycle)
{
    void  ***ctx;

    if (cycle->conf_ctx == NULL) {
        return NULL;
    }

    ctx = (void ***) ngx_get_conf(cycle->conf_ctx, ngx_push_module);

    if (ctx == NULL) {
        return NULL;
    }

    return (*ctx)[ngx_push_core_module.ctx_index];
}


/*
 * The zone is opened here and not while the block is parsed: a broken file
 * must not have touched what the running workers share, and "nginx -t" and
 * "nginx -s" must never do.
 */

static char *
ngx_push_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_push_conf_t  *pcf;

    if (conf == NULL
        || ngx_test_config
        || ngx_process == NGX_PROCESS_SIGNALLER)
    {
        return NGX_CONF_OK;
    }

    pcf = ngx_push_get_conf(cycle);

    pcf->zone = ngx_push_zone_open(cycle, pcf);

    if (pcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_push_number_products(cycle, pcf);
}


/* The zone remembers products by number, over reloads and restarts. */

static char *
ngx_push_number_products(ngx_cycle_t *cycle, ngx_push_conf_t *pcf)
{
    ngx_int_t             id;
    ngx_uint_t            i;
    ngx_push_product_t  **product;

    product = pcf->products.elts;

    ngx_memzero(pcf->by_id, sizeof(pcf->by_id));

    for (i = 0; i < pcf->products.nelts; i++) {

        id = ngx_push_zone_product(pcf->zone, &product[i]->name);

        if (id < 0 || id >= NGX_PUSH_PRODUCTS) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "no number is left for product \"%V\": a zone "
                          "remembers %d products, those removed from the "
                          "configuration included; start with a new zone",
                          &product[i]->name, NGX_PUSH_PRODUCTS);
            return NGX_CONF_ERROR;
        }

        product[i]->id = id;
        pcf->by_id[id] = product[i];
    }

    return NGX_CONF_OK;
}


/* Helper processes (cache manager and loader) hold no connections. */

static ngx_int_t
ngx_push_init_process(ngx_cycle_t *cycle)
{
    ngx_push_conf_t  *pcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    pcf = ngx_push_get_conf(cycle);

    if (pcf == NULL) {
        return NGX_OK;
    }

    if (ngx_push_worker_init(cycle, pcf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_push_loop_init();

    return NGX_OK;
}


static void
ngx_push_exit_process(ngx_cycle_t *cycle)
{
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return;
    }

    if (ngx_push_get_conf(cycle) != NULL) {
        ngx_push_exit_modules(cycle);
        ngx_push_worker_exit(cycle);
    }
}


/* The later ones first: they build on the others. */

static void
ngx_push_exit_modules(ngx_cycle_t *cycle)
{
    ngx_uint_t          n;
    ngx_push_module_t  *module;

    if (ngx_push_zone == NULL || ngx_push_self == NULL) {
        return;
    }

    for (n = cycle->modules_n; n > 0; n--) {

        if (cycle->modules[n - 1]->type != NGX_PUSH_MODULE) {
            continue;
        }

        module = cycle->modules[n - 1]->ctx;

        if (module->exit_worker) {
            module->exit_worker(cycle);
        }
    }
}


static char *
ngx_push_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char             *rv;
    void           ***ctx;
    ngx_uint_t        n;
    ngx_conf_t        save;
    ngx_push_conf_t  *pcf;

    if (*(void **) conf) {
        return "is duplicate";
    }

    n = ngx_count_modules(cf->cycle, NGX_PUSH_MODULE);

    ctx = ngx_pcalloc(cf->pool, sizeof(void *));
    if (ctx == NULL) {
        return NGX_CONF_ERROR;
    }

    *ctx = ngx_pcalloc(cf->pool, n * sizeof(void *));
    if (*ctx == NULL) {
        return NGX_CONF_ERROR;
    }

    *(void **) conf = ctx;

    rv = ngx_push_create_confs(cf, *ctx);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    save = *cf;

    cf->ctx = ctx;
    cf->module_type = NGX_PUSH_MODULE;
    cf->cmd_type = NGX_PUSH_MAIN_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = ngx_push_init_confs(cf, *ctx);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    pcf = (*ctx)[ngx_push_core_module.ctx_index];

    if (pcf->store == NULL) {
        pcf->store = &ngx_push_memory_store;
    }

    if (pcf->reg == NULL) {
        pcf->reg = &ngx_push_memory_register;
    }

    return NGX_CONF_OK;
}


static char *
ngx_push_create_confs(ngx_conf_t *cf, void **confs)
{
    void               *conf;
    ngx_uint_t          i;
    ngx_module_t      **modules;
    ngx_push_module_t  *module;

    modules = cf->cycle->modules;

    for (i = 0; modules[i]; i++) {

        if (modules[i]->type != NGX_PUSH_MODULE) {
            continue;
        }

        module = modules[i]->ctx;

        if (module->create_conf == NULL) {
            continue;
        }

        conf = module->create_conf(cf);

        if (conf == NULL) {
            return NGX_CONF_ERROR;
        }

        confs[modules[i]->ctx_index] = conf;
    }

    return NGX_CONF_OK;
}


static char *
ngx_push_init_confs(ngx_conf_t *cf, void **confs)
{
    char               *rv;
    ngx_uint_t          i;
    ngx_module_t      **modules;
    ngx_push_module_t  *module;

    modules = cf->cycle->modules;

    for (i = 0; modules[i]; i++) {

        if (modules[i]->type != NGX_PUSH_MODULE) {
            continue;
        }

        module = modules[i]->ctx;

        if (module->init_conf == NULL) {
            continue;
        }

        rv = module->init_conf(cf, confs[modules[i]->ctx_index]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}
