
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_CONF_H_INCLUDED_
#define _NGX_PUSH_CONF_H_INCLUDED_


#include "ngx_push.h"


/* command type of the directives inside product NAME { } */

#define NGX_PUSH_PRODUCT_CONF   0x04000000

/* keys of one product: each is tried, so their number is bounded */

#define NGX_PUSH_API_KEYS       64
#define NGX_PUSH_TOKEN_KEYS     8

/* scopes of an API key */

#define NGX_PUSH_SCOPE_PUBLISH  0x01
#define NGX_PUSH_SCOPE_QUERY    0x02
#define NGX_PUSH_SCOPE_OPERATE  0x04
#define NGX_PUSH_SCOPE_ALL      0x07


typedef struct {
    ngx_str_t            key;
    ngx_uint_t           scopes;       /* NGX_PUSH_SCOPE_* */
} ngx_push_api_key_t;


typedef struct {
    ngx_uint_t           alg;          /* a jwt_alg_t */
    ngx_str_t            key;          /* secret, or public key in PEM */
    void                *pkey;         /* that, an EVP_PKEY; NULL for HS256 */
} ngx_push_token_key_t;


/* One product { } block. Lives in the cycle's pool, read only after init. */

typedef struct {
    ngx_str_t            name;
    ngx_uint_t           id;           /* number in the zone; set at init */
    ngx_array_t          api_keys;     /* of ngx_push_api_key_t */
    ngx_array_t          token_keys;   /* of ngx_push_token_key_t */
    ngx_flag_t           anonymous;    /* user name PRODUCT/USER is enough */
    ngx_flag_t           group_publish;
    ngx_flag_t           consume_once; /* first acknowledgement ends it */
    time_t               ttl;          /* default, seconds */
    time_t               ttl_max;
    ngx_uint_t           inbox_limit;  /* messages kept per user */
    ngx_uint_t           group_limit;
    ngx_uint_t           broadcast_limit;
    ngx_uint_t           uplink_limit;
    size_t               payload_limit;
} ngx_push_product_t;


typedef struct ngx_push_zone_s      ngx_push_zone_t;
typedef struct ngx_push_store_s     ngx_push_store_t;
typedef struct ngx_push_register_s  ngx_push_register_t;
typedef struct ngx_push_journal_s   ngx_push_journal_t;
typedef struct ngx_push_cluster_s   ngx_push_cluster_t;


/* The push { } block. */

typedef struct {
    size_t               size;         /* zone SIZE */
    ngx_str_t            file;         /* zone ... file=PATH; empty: none */
    ngx_str_t            node;         /* node NAME; default: host name */
    ngx_array_t          products;     /* of ngx_push_product_t *, by name */
    ngx_push_product_t  *by_id[NGX_PUSH_PRODUCTS];  /* NULL: not here */
    time_t               linger;       /* seconds, 30 */
    time_t               device_expiry;   /* forget a device, seconds, 30 d */
    time_t               session_expiry;  /* largest MQTT session expiry, 7 d */
    ngx_uint_t           mailbox;      /* cells per worker, a power of two */
    ngx_msec_t           drain_time;   /* 10 s */
    ngx_uint_t           broadcast_rate;  /* deliveries a second; 0: no limit */
    time_t               idempotency_keep;    /* a key, seconds, 10 min */
    ngx_uint_t           idempotency_limit;   /* keys kept of a target */

    ngx_push_zone_t     *zone;         /* NULL under nginx -t */
    ngx_push_store_t    *store;
    ngx_push_register_t *reg;
    ngx_push_journal_t  *journal;      /* NULL: none */
    ngx_push_cluster_t  *cluster;      /* NULL: a single node */
} ngx_push_conf_t;


/* The configuration of a cycle, NULL when it has no push { } block. */

ngx_push_conf_t *ngx_push_get_conf(ngx_cycle_t *cycle);

/* By name; NULL when there is none. A binary search. */

ngx_push_product_t *ngx_push_find_product(ngx_push_conf_t *pcf,
    ngx_str_t *name);

/* By number in the zone; NULL when this configuration lacks it. */

ngx_push_product_t *ngx_push_product_by_id(ngx_push_conf_t *pcf,
    ngx_uint_t id);

/*
 * The scopes of an API key, compared in constant time with every key of the
 * product; 0 when it is none of them.
 */

ngx_uint_t ngx_push_api_key_scopes(ngx_push_product_t *product,
    ngx_str_t *key);


/*
 * A module with directives inside push { }, in whatever shared object (a
 * store, a register), has type NGX_PUSH_MODULE and this context. All
 * create_conf run before the block is parsed, all init_conf after it. One
 * that provides the store or the register sets it in its init_conf; what is
 * NULL after the last of them becomes the memory store and register.
 */

typedef struct {
    ngx_str_t            name;
    void              *(*create_conf)(ngx_conf_t *cf);
    char              *(*init_conf)(ngx_conf_t *cf, void *conf);

    /*
     * A process that serves is about to leave, and has its place in the zone
     * still.  May be NULL.
     */
    void               (*exit_worker)(ngx_cycle_t *cycle);
} ngx_push_module_t;


/*
 * A directive's post handler that holds the value between two bounds, both
 * allowed, and names directive and unit when it is not. Which function
 * depends on the slot: num, sec, msec or size.
 */

typedef struct {
    ngx_conf_post_handler_pt  post_handler;
    int64_t                   low;
    int64_t                   high;
    const char               *unit;    /* " seconds"; "" for a number */
} ngx_push_conf_bounds_t;

char *ngx_push_check_num(ngx_conf_t *cf, void *post, void *data);
char *ngx_push_check_sec(ngx_conf_t *cf, void *post, void *data);
char *ngx_push_check_msec(ngx_conf_t *cf, void *post, void *data);
char *ngx_push_check_size(ngx_conf_t *cf, void *post, void *data);


/*
 * A secret as it stands, or what is in file=PATH, without line ends at its
 * end.  The path may be logged, the secret never is; nor may the caller.
 */

char *ngx_push_read_secret(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *secret);


/* The handler of the directive product NAME { }; conf is a ngx_push_conf_t. */

char *ngx_push_product_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Those of api_key and token_key inside it; conf is a ngx_push_product_t. */

char *ngx_push_product_api_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_push_product_token_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


extern ngx_module_t  ngx_push_module;
extern ngx_module_t  ngx_push_core_module;
extern ngx_module_t  ngx_push_product_module;


#endif /* _NGX_PUSH_CONF_H_INCLUDED_ */
