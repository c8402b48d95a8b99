
/*
 * Copyright (C) the ngx_push authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_push_conf.h"


#define NGX_PUSH_ZONE_MIN    (4 * 1024 * 1024)
#define NGX_PUSH_ZONE_UNIT   (16 * 1024)
#define NGX_PUSH_NODE_MAX    63


static void *ngx_push_core_create_conf(ngx_conf_t *cf);
static char *ngx_push_core_init_conf(ngx_conf_t *cf, void *conf);
static char *ngx_push_core_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_push_core_node(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_uint_t ngx_push_node_ok(ngx_str_t *name);
static int ngx_libc_cdecl ngx_push_cmp_products(const void *one,
    const void *two);
static char *ngx_push_check_bounds(ngx_conf_t *cf, void *post, int64_t value);


static ngx_push_conf_bounds_t  ngx_push_linger_bounds = {
    ngx_push_check_sec, 0, 86400, " seconds"
};

/* MQTT carries a session expiry in 32 bits, and all ones mean "never" */

static ngx_push_conf_bounds_t  ngx_push_session_bounds = {
    ngx_push_check_sec, 0, 4294967294LL, " seconds"
};

static ngx_push_conf_bounds_t  ngx_push_device_bounds = {
    ngx_push_check_sec, 60, 4294967294LL, " seconds"
};

/* the zone has a mailbox for each of its worker slots, used or not */

static ngx_push_conf_bounds_t  ngx_push_mailbox_bounds = {
    ngx_push_check_num, 64, 16384, ""
};

static ngx_push_conf_bounds_t  ngx_push_rate_bounds = {
    ngx_push_check_num, 0, 1000000000, ""
};

static ngx_push_conf_bounds_t  ngx_push_drain_bounds = {
    ngx_push_check_msec, 0, 3600000, " milliseconds"
};

/* less than the default is there for tests */

static ngx_push_conf_bounds_t  ngx_push_keep_bounds = {
    ngx_push_check_sec, 1, 7 * 24 * 3600, " seconds"
};

static ngx_push_conf_bounds_t  ngx_push_keys_bounds = {
    ngx_push_check_num, 1, 1000000, ""
};


static ngx_command_t  ngx_push_core_commands[] = {

    { ngx_string("zone"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_push_core_zone,
      0,
      0,
      NULL },

    { ngx_string("node"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_push_core_node,
      0,
      0,
      NULL },

    { ngx_string("product"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_push_product_block,
      0,
      0,
      NULL },

    { ngx_string("linger"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_push_conf_t, linger),
      &ngx_push_linger_bounds },

    { ngx_string("device_expiry"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_push_conf_t, device_expiry),
      &ngx_push_device_bounds },

    { ngx_string("session_expiry"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_push_conf_t, session_expiry),
      &ngx_push_session_bounds },

    { ngx_string("mailbox"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_conf_t, mailbox),
      &ngx_push_mailbox_bounds },

    { ngx_string("drain_time"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_push_conf_t, drain_time),
      &ngx_push_drain_bounds },

    { ngx_string("broadcast_rate"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_conf_t, broadcast_rate),
      &ngx_push_rate_bounds },

    { ngx_string("idempotency_keep"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      0,
      offsetof(ngx_push_conf_t, idempotency_keep),
      &ngx_push_keep_bounds },

    { ngx_string("idempotency_limit"),
      NGX_PUSH_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_conf_t, idempotency_limit),
      &ngx_push_keys_bounds },

      ngx_null_command
};


static ngx_push_module_t  ngx_push_core_module_ctx = {
    ngx_string("core"),
    ngx_push_core_create_conf,
    ngx_push_core_init_conf,
    NULL
};


ngx_module_t  ngx_push_core_module = {
    NGX_MODULE_V1,
    &ngx_push_core_module_ctx,             /* module context */
    ngx_push_core_commands,                /* module directives */
    NGX_PUSH_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_push_product_t *
ngx_push_find_product(ngx_push_conf_t *pcf, ngx_str_t *name)
{
    ngx_int_t             rc;
    ngx_uint_t            low, high, mid;
    ngx_push_product_t  **product;

    product = pcf->products.elts;

    low = 0;
    high = pcf->products.nelts;

    while (low < high) {
        mid = low + (high - low) / 2;

        rc = ngx_memn2cmp(name->data, product[mid]->name.data,
                          name->len, product[mid]->name.len);

        if (rc == 0) {
            return product[mid];
        }

        if (rc < 0) {
            high = mid;

        } else {
            low = mid + 1;
        }
    }

    return NULL;
}


ngx_push_product_t *
ngx_push_product_by_id(ngx_push_conf_t *pcf, ngx_uint_t id)
{
    return id < NGX_PUSH_PRODUCTS ? pcf->by_id[id] : NULL;
}


static void *
ngx_push_core_create_conf(ngx_conf_t *cf)
{
    ngx_push_conf_t  *pcf;

    /* set by ngx_pcalloc(): no zone, no file, no node, no store */

    pcf = ngx_pcalloc(cf->pool, sizeof(ngx_push_conf_t));
    if (pcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&pcf->products, cf->pool, 4,
                       sizeof(ngx_push_product_t *))
        != NGX_OK)
    {
        return NULL;
    }

    pcf->linger = NGX_CONF_UNSET;
    pcf->device_expiry = NGX_CONF_UNSET;
    pcf->session_expiry = NGX_CONF_UNSET;
    pcf->mailbox = NGX_CONF_UNSET_UINT;
    pcf->drain_time = NGX_CONF_UNSET_MSEC;
    pcf->broadcast_rate = NGX_CONF_UNSET_UINT;
    pcf->idempotency_keep = NGX_CONF_UNSET;
    pcf->idempotency_limit = NGX_CONF_UNSET_UINT;

    return pcf;
}


static char *
ngx_push_core_init_conf(ngx_conf_t *cf, void *conf)
{
    ngx_push_conf_t  *pcf = conf;

    ngx_uint_t            i, cells;
    ngx_push_product_t  **product;

    ngx_conf_init_value(pcf->linger, 30);
    ngx_conf_init_value(pcf->device_expiry, 30 * 24 * 3600);
    ngx_conf_init_value(pcf->session_expiry, 7 * 24 * 3600);
    ngx_conf_init_uint_value(pcf->mailbox, 1024);
    ngx_conf_init_msec_value(pcf->drain_time, 10000);
    ngx_conf_init_uint_value(pcf->broadcast_rate, 0);
    ngx_conf_init_value(pcf->idempotency_keep, 600);
    ngx_conf_init_uint_value(pcf->idempotency_limit, 1000);

    if (pcf->size == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"push\" has no \"zone\": give its size, "
                           "as in \"zone 64m;\"");
        return NGX_CONF_ERROR;
    }

    if (pcf->device_expiry < pcf->session_expiry
        || pcf->device_expiry < pcf->linger)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"device_expiry\" (%T seconds) must not be less "
                           "than \"session_expiry\" (%T) and \"linger\" (%T)",
                           pcf->device_expiry, pcf->session_expiry,
                           pcf->linger);
        return NGX_CONF_ERROR;
    }

    for (cells = 64; cells < pcf->mailbox; cells <<= 1) { /* void */ }

    pcf->mailbox = cells;

    if (pcf->node.len == 0) {
        pcf->node = cf->cycle->hostname;

        if (!ngx_push_node_ok(&pcf->node)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the host name \"%V\" cannot be the name of "
                               "this node: set another with \"node NAME;\"",
                               &pcf->node);
            return NGX_CONF_ERROR;
        }
    }

    if (pcf->products.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"push\" has no \"product\": nobody can connect "
                           "or push");
    }

    product = pcf->products.elts;

    ngx_qsort(product, pcf->products.nelts, sizeof(ngx_push_product_t *),
              ngx_push_cmp_products);

    /* without a zone (nginx -t) nothing else numbers them */

    for (i = 0; i < pcf->products.nelts; i++) {
        product[i]->id = i;
        pcf->by_id[i] = product[i];
    }

    return NGX_CONF_OK;
}


static int ngx_libc_cdecl
ngx_push_cmp_products(const void *one, const void *two)
{
    ngx_push_product_t  *a, *b;

    a = *(ngx_push_product_t **) one;
    b = *(ngx_push_product_t **) two;

    return (int) ngx_memn2cmp(a->name.data, b->name.data,
                              a->name.len, b->name.len);
}


static char *
ngx_push_core_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_conf_t  *pcf = conf;

    off_t       size;
    ngx_str_t  *value;

    if (pcf->size) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_offset(&value[1]);

    if (size == (off_t) NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\": write it as 64m or 1g",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    size -= size % NGX_PUSH_ZONE_UNIT;

    if (size < NGX_PUSH_ZONE_MIN || (uint64_t) size > NGX_MAX_SIZE_T_VALUE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone size \"%V\" is too %s: 4m is the least",
                           &value[1],
                           size < NGX_PUSH_ZONE_MIN ? "small" : "large");
        return NGX_CONF_ERROR;
    }

    pcf->size = (size_t) size;

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (value[2].len <= 5 || ngx_strncmp(value[2].data, "file=", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"zone\": "
                           "only file=PATH is known", &value[2]);
        return NGX_CONF_ERROR;
    }

    pcf->file.data = value[2].data + 5;
    pcf->file.len = value[2].len - 5;

    if (ngx_conf_full_name(cf->cycle, &pcf->file, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_push_core_node(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_conf_t  *pcf = conf;

    ngx_str_t  *value;

    if (pcf->node.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (!ngx_push_node_ok(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid node name \"%V\": 1 to %d letters, "
                           "digits, \".\", \"_\" or \"-\"",
                           &value[1], NGX_PUSH_NODE_MAX);
        return NGX_CONF_ERROR;
    }

    pcf->node = value[1];

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_push_node_ok(ngx_str_t *name)
{
    u_char  c;
    size_t  i;

    if (name->len == 0 || name->len > NGX_PUSH_NODE_MAX) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
            && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-')
        {
            return 0;
        }
    }

    return 1;
}


char *
ngx_push_check_num(ngx_conf_t *cf, void *post, void *data)
{
    return ngx_push_check_bounds(cf, post, *(ngx_int_t *) data);
}


char *
ngx_push_check_sec(ngx_conf_t *cf, void *post, void *data)
{
    return ngx_push_check_bounds(cf, post, *(time_t *) data);
}


char *
ngx_push_check_msec(ngx_conf_t *cf, void *post, void *data)
{
    return ngx_push_check_bounds(cf, post, *(ngx_msec_t *) data);
}


char *
ngx_push_check_size(ngx_conf_t *cf, void *post, void *data)
{
    return ngx_push_check_bounds(cf, post, *(size_t *) data);
}


static char *
ngx_push_check_bounds(ngx_conf_t *cf, void *post, int64_t value)
{
    ngx_str_t               *args;
    ngx_push_conf_bounds_t  *bounds = post;

    if (value >= bounds->low && value <= bounds->high) {
        return NGX_CONF_OK;
    }

    args = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" must be between %L and %L%s",
                       &args[0], bounds->low, bounds->high, bounds->unit);

    return NGX_CONF_ERROR;
}
