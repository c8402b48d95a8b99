
/*
 * Copyright (C) the ngx_push authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_push_conf.h"


#define NGX_PUSH_TTL            (7 * 24 * 3600)
#define NGX_PUSH_TTL_MAX        (28 * 24 * 3600)
#define NGX_PUSH_TTL_LIMIT      (10 * 365 * 24 * 3600)


static ngx_push_product_t *ngx_push_create_product(ngx_conf_t *cf,
    ngx_str_t *name);
static void ngx_push_init_product(ngx_conf_t *cf, ngx_push_product_t *product);
static char *ngx_push_check_product_name(ngx_conf_t *cf, ngx_push_conf_t *pcf,
    ngx_str_t *name);
static char *ngx_push_product_message_ttl(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

static ngx_push_conf_bounds_t  ngx_push_limit_bounds = {
    ngx_push_check_num, 1, 1000000, ""
};

static ngx_push_conf_bounds_t  ngx_push_payload_bounds = {
    ngx_push_check_size, 1, NGX_PUSH_PAYLOAD_MAX, " bytes"
};


static ngx_command_t  ngx_push_product_commands[] = {

    { ngx_string("api_key"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_1MORE,
      ngx_push_product_api_key,
      0,
      0,
      NULL },

    { ngx_string("token_key"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_TAKE2,
      ngx_push_product_token_key,
      0,
      0,
      NULL },

    { ngx_string("anonymous"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_push_product_t, anonymous),
      NULL },

    { ngx_string("group_publish"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_push_product_t, group_publish),
      NULL },

    { ngx_string("consume_once"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_push_product_t, consume_once),
      NULL },

    { ngx_string("message_ttl"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_TAKE12,
      ngx_push_product_message_ttl,
      0,
      0,
      NULL },

    { ngx_string("inbox_limit"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_product_t, inbox_limit),
      &ngx_push_limit_bounds },

    { ngx_string("group_limit"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_product_t, group_limit),
      &ngx_push_limit_bounds },

    { ngx_string("broadcast_limit"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_product_t, broadcast_limit),
      &ngx_push_limit_bounds },

    { ngx_string("uplink_limit"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_push_product_t, uplink_limit),
      &ngx_push_limit_bounds },

    { ngx_string("payload_limit"),
      NGX_PUSH_PRODUCT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      0,
      offsetof(ngx_push_product_t, payload_limit),
      &ngx_push_payload_bounds },

      ngx_null_command
};


/* The directives are these; the products themselves hang in ngx_push_conf_t. */

static ngx_push_module_t  ngx_push_product_module_ctx = {
    ngx_string("product"),
    NULL,
    NULL,
    NULL
};


ngx_module_t  ngx_push_product_module = {
    NGX_MODULE_V1,
    &ngx_push_product_module_ctx,          /* module context */
    ngx_push_product_commands,             /* module directives */
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


char *
ngx_push_product_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_conf_t  *pcf = conf;

    char                 *rv;
    void                **confs;
    ngx_str_t            *value;
    ngx_uint_t            n;
    ngx_conf_t            save;
    ngx_push_product_t   *product, **slot;

    value = cf->args->elts;

    rv = ngx_push_check_product_name(cf, pcf, &value[1]);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    product = ngx_push_create_product(cf, &value[1]);
    if (product == NULL) {
        return NGX_CONF_ERROR;
    }

    slot = ngx_array_push(&pcf->products);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = product;

    /* nginx looks for a directive's conf by its module's number */

    n = ngx_push_product_module.ctx_index + 1;

    confs = ngx_pcalloc(cf->pool, n * sizeof(void *));
    if (confs == NULL) {
        return NGX_CONF_ERROR;
    }

    confs[n - 1] = product;

    save = *cf;

    cf->ctx = &confs;
    cf->module_type = NGX_PUSH_MODULE;
    cf->cmd_type = NGX_PUSH_PRODUCT_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv == NGX_CONF_OK) {
        ngx_push_init_product(cf, product);
    }

    return rv;
}


static char *
ngx_push_check_product_name(ngx_conf_t *cf, ngx_push_conf_t *pcf,
    ngx_str_t *name)
{
    u_char                c;
    size_t                i;
    ngx_push_product_t  **product;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
            && (c < '0' || c > '9') && c != '_' && c != '-')
        {
            break;
        }
    }

    if (name->len == 0 || name->len > NGX_PUSH_PRODUCT_MAX || i < name->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid product name \"%V\": 1 to %d letters, "
                           "digits, \"_\" or \"-\"",
                           name, NGX_PUSH_PRODUCT_MAX);
        return NGX_CONF_ERROR;
    }

    product = pcf->products.elts;

    for (i = 0; i < pcf->products.nelts; i++) {
        if (product[i]->name.len == name->len
            && ngx_memcmp(product[i]->name.data, name->data, name->len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate product \"%V\"", name);
            return NGX_CONF_ERROR;
        }
    }

    if (pcf->products.nelts == NGX_PUSH_PRODUCTS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many products: %d are possible",
                           NGX_PUSH_PRODUCTS);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_push_product_t *
ngx_push_create_product(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_push_product_t  *product;

    product = ngx_pcalloc(cf->pool, sizeof(ngx_push_product_t));
    if (product == NULL) {
        return NULL;
    }

    product->name = *name;

    if (ngx_array_init(&product->api_keys, cf->pool, 2,
                       sizeof(ngx_push_api_key_t))
        != NGX_OK
        || ngx_array_init(&product->token_keys, cf->pool, 2,
                          sizeof(ngx_push_token_key_t))
           != NGX_OK)
    {
        return NULL;
    }

    product->anonymous = NGX_CONF_UNSET;
    product->group_publish = NGX_CONF_UNSET;
    product->consume_once = NGX_CONF_UNSET;
    product->ttl = NGX_CONF_UNSET;
    product->ttl_max = NGX_CONF_UNSET;
    product->inbox_limit = NGX_CONF_UNSET_UINT;
    product->group_limit = NGX_CONF_UNSET_UINT;
    product->broadcast_limit = NGX_CONF_UNSET_UINT;
    product->uplink_limit = NGX_CONF_UNSET_UINT;
    product->payload_limit = NGX_CONF_UNSET_SIZE;

    return product;
}


static void
ngx_push_init_product(ngx_conf_t *cf, ngx_push_product_t *product)
{
    ngx_conf_init_value(product->anonymous, 0);
    ngx_conf_init_value(product->group_publish, 0);
    ngx_conf_init_value(product->consume_once, 0);
    ngx_conf_init_value(product->ttl, NGX_PUSH_TTL);
    ngx_conf_init_value(product->ttl_max, NGX_PUSH_TTL_MAX);
    ngx_conf_init_uint_value(product->inbox_limit, 1000);
    ngx_conf_init_uint_value(product->group_limit, 1000);
    ngx_conf_init_uint_value(product->broadcast_limit, 1000);
    ngx_conf_init_uint_value(product->uplink_limit, 10000);
    ngx_conf_init_size_value(product->payload_limit, 4096);

    if (product->token_keys.nelts == 0 && !product->anonymous) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "product \"%V\" has no \"token_key\" and is not "
                           "\"anonymous\": no device can connect to it",
                           &product->name);
    }
}


static char *
ngx_push_product_message_ttl(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_product_t  *product = conf;

    ngx_str_t  *value, max;

    if (product->ttl != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    product->ttl = ngx_parse_time(&value[1], 1);
    product->ttl_max = NGX_PUSH_TTL_MAX;

    if (product->ttl == (time_t) NGX_ERROR) {
        return "invalid value";
    }

    if (cf->args->nelts == 3) {

        if (ngx_strncmp(value[2].data, "max=", 4) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"message_ttl\": "
                               "only max=TIME is known", &value[2]);
            return NGX_CONF_ERROR;
        }

        max.data = value[2].data + 4;
        max.len = value[2].len - 4;

        product->ttl_max = ngx_parse_time(&max, 1);

        if (product->ttl_max == (time_t) NGX_ERROR
            || product->ttl_max < 1
            || product->ttl_max > NGX_PUSH_TTL_LIMIT)
        {
            return "has an invalid max=: between 1s and 3650d";
        }
    }

    if (product->ttl > product->ttl_max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"message_ttl\" is longer than its maximum of %T "
                           "seconds: set max=TIME", product->ttl_max);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
