
/*
 * Copyright (C) the ngx_push authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * push_dispatch: a location that tells a device which rooms to try, in which
 * order.  Each answer is a new draw, so that devices spread over the rooms by
 * their weights, and those of a room that failed over the others.
 */


#define NGX_PUSH_DISPATCH_WEIGHT_MAX  65535
#define NGX_PUSH_DISPATCH_ROOMS_MAX   10000
#define NGX_PUSH_DISPATCH_COUNT_MAX   64


typedef struct {
    ngx_str_t            address;      /* a JSON string, with its quotes */
    ngx_uint_t           weight;
} ngx_push_dispatch_room_t;


typedef struct {
    ngx_array_t         *rooms;        /* of ngx_push_dispatch_room_t */
    ngx_uint_t           count;
    time_t               ttl;          /* seconds */

    /* where push_dispatch stands; line 0: not in this location */
    ngx_str_t            file;
    ngx_uint_t           line;

    ngx_uint_t           total;        /* of all weights */
    size_t               longest;      /* address */
} ngx_push_dispatch_loc_conf_t;


static ngx_int_t ngx_push_dispatch_handler(ngx_http_request_t *r);
static ngx_int_t ngx_push_dispatch_method(ngx_http_request_t *r);
static ngx_buf_t *ngx_push_dispatch_answer(ngx_http_request_t *r,
    ngx_push_dispatch_loc_conf_t *dlcf);
static ngx_uint_t ngx_push_dispatch_draw(ngx_push_dispatch_loc_conf_t *dlcf,
    ngx_uint_t *drawn, ngx_uint_t n, ngx_uint_t total);
static ngx_int_t ngx_push_dispatch_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *type, ngx_buf_t *b);
static ngx_int_t ngx_push_dispatch_header(ngx_http_request_t *r,
    const char *name, const char *value);
static void *ngx_push_dispatch_create_loc_conf(ngx_conf_t *cf);
static char *ngx_push_dispatch_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_push_dispatch(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_push_dispatch_room(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_uint_t ngx_push_dispatch_address_ok(ngx_str_t *address);


static ngx_conf_num_bounds_t  ngx_push_dispatch_count_bounds = {
    ngx_conf_check_num_bounds, 1, NGX_PUSH_DISPATCH_COUNT_MAX
};


static ngx_command_t  ngx_push_dispatch_commands[] = {

    { ngx_string("push_dispatch"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_push_dispatch,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("push_dispatch_room"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_push_dispatch_room,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("push_dispatch_count"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_push_dispatch_loc_conf_t, count),
      &ngx_push_dispatch_count_bounds },

    { ngx_string("push_dispatch_ttl"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_push_dispatch_loc_conf_t, ttl),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_push_dispatch_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_push_dispatch_create_loc_conf,     /* create location configuration */
    ngx_push_dispatch_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_push_dispatch_module = {
    NGX_MODULE_V1,
    &ngx_push_dispatch_module_ctx,         /* module context */
    ngx_push_dispatch_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_push_dispatch_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_buf_t                     *b;
    ngx_push_dispatch_loc_conf_t  *dlcf;

    static ngx_str_t  type = ngx_string("application/json");

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_push_dispatch_method(r);
    }

    dlcf = ngx_http_get_module_loc_conf(r, ngx_push_dispatch_module);

    b = ngx_push_dispatch_answer(r, dlcf);

    if (b == NULL
        || ngx_push_dispatch_header(r, "Cache-Control", "no-store") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_push_dispatch_send(r, NGX_HTTP_OK, &type, b);
}


static ngx_int_t
ngx_push_dispatch_method(ngx_http_request_t *r)
{
    ngx_buf_t  *b;

    static ngx_str_t  type = ngx_string("application/problem+json");

    static ngx_str_t  problem = ngx_string(
        "{\"type\":\"urn:ngx-push:problem:method-not-allowed\","
        "\"title\":\"Method not allowed\",\"status\":405,"
        "\"detail\":\"The rooms can only be asked for.\"}\n");

    b = ngx_calloc_buf(r->pool);

    if (b == NULL
        || ngx_push_dispatch_header(r, "Allow", "GET, HEAD") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = problem.data;
    b->last = problem.data + problem.len;
    b->memory = 1;

    return ngx_push_dispatch_send(r, NGX_HTTP_NOT_ALLOWED, &type, b);
}


static ngx_buf_t *
ngx_push_dispatch_answer(ngx_http_request_t *r,
    ngx_push_dispatch_loc_conf_t *dlcf)
{
    u_char                    *p;
    ngx_buf_t                 *b;
    ngx_uint_t                 i, n, count, total, index;
    ngx_uint_t                 drawn[NGX_PUSH_DISPATCH_COUNT_MAX];
    ngx_push_dispatch_room_t  *room;

    room = dlcf->rooms->elts;
    count = ngx_min(dlcf->count, dlcf->rooms->nelts);

    b = ngx_create_temp_buf(r->pool, count * (dlcf->longest + 1)
                                     + NGX_TIME_T_LEN
                                     + sizeof("{\"rooms\":[],\"ttl\":}\n"));
    if (b == NULL) {
        return NULL;
    }

    p = ngx_sprintf(b->last, "{\"rooms\":[");

    total = dlcf->total;

    for (n = 0; n < count; n++) {

        index = ngx_push_dispatch_draw(dlcf, drawn, n, total);

        /* drawn[] is kept in ascending order */

        for (i = n; i > 0 && drawn[i - 1] > index; i--) {
            drawn[i] = drawn[i - 1];
        }

        drawn[i] = index;
        total -= room[index].weight;

        if (n) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, room[index].address.data, room[index].address.len);
    }

    b->last = ngx_sprintf(p, "],\"ttl\":%T}\n", dlcf->ttl);

    return b;
}


/* One of those not yet drawn, "total" being the sum of their weights. */

static ngx_uint_t
ngx_push_dispatch_draw(ngx_push_dispatch_loc_conf_t *dlcf, ngx_uint_t *drawn,
    ngx_uint_t n, ngx_uint_t total)
{
    ngx_uint_t                 i, k, at;
    ngx_push_dispatch_room_t  *room;

    room = dlcf->rooms->elts;
    at = (ngx_uint_t) ngx_random() % total;
    k = 0;

    for (i = 0; /* void */; i++) {

        if (k < n && drawn[k] == i) {
            k++;
            continue;
        }

        if (at < room[i].weight) {
            return i;
        }

        at -= room[i].weight;
    }
}


static ngx_int_t
ngx_push_dispatch_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_push_dispatch_header(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);
    h->lowcase_key = NULL;

    return NGX_OK;
}


static void *
ngx_push_dispatch_create_loc_conf(ngx_conf_t *cf)
{
    ngx_push_dispatch_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_push_dispatch_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->rooms = NULL;
     *     conf->file = { 0, NULL };
     *     conf->line = 0;
     *     conf->total = 0;
     *     conf->longest = 0;
     */

    conf->count = NGX_CONF_UNSET_UINT;
    conf->ttl = NGX_CONF_UNSET;

    return conf;
}


/* Rooms are inherited as a whole, by a level that names none itself. */

static char *
ngx_push_dispatch_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_push_dispatch_loc_conf_t *prev = parent;
    ngx_push_dispatch_loc_conf_t *conf = child;

    ngx_conf_merge_uint_value(conf->count, prev->count, 3);
    ngx_conf_merge_sec_value(conf->ttl, prev->ttl, 300);

    if (conf->rooms == NULL) {
        conf->rooms = prev->rooms;
        conf->total = prev->total;
        conf->longest = prev->longest;
    }

    if (conf->line && conf->rooms == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"push_dispatch\" needs a \"push_dispatch_room\" in "
                      "%V:%ui", &conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_push_dispatch(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_dispatch_loc_conf_t *dlcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (dlcf->line) {
        return "is duplicate";
    }

    dlcf->file = cf->conf_file->file.name;
    dlcf->line = cf->conf_file->line;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_push_dispatch_handler;

    return NGX_CONF_OK;
}


static char *
ngx_push_dispatch_room(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_dispatch_loc_conf_t *dlcf = conf;

    u_char                    *p;
    ngx_int_t                  weight;
    ngx_str_t                 *value;
    ngx_push_dispatch_room_t  *room;

    value = cf->args->elts;

    if (!ngx_push_dispatch_address_ok(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid address \"%V\" in \"%V\": it is "
                           "mqtt://, mqtts://, ws://, wss://, http:// or "
                           "https:// and a host", &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    weight = 1;

    if (cf->args->nelts == 3) {

        weight = NGX_ERROR;

        if (ngx_strncmp(value[2].data, "weight=", 7) == 0) {
            weight = ngx_atoi(value[2].data + 7, value[2].len - 7);
        }

        if (weight < 1 || weight > NGX_PUSH_DISPATCH_WEIGHT_MAX) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" in \"%V\": it is "
                               "weight= and a number from 1 to %d", &value[2],
                               &cmd->name, NGX_PUSH_DISPATCH_WEIGHT_MAX);
            return NGX_CONF_ERROR;
        }
    }

    if (dlcf->rooms == NULL) {
        dlcf->rooms = ngx_array_create(cf->pool, 4,
                                       sizeof(ngx_push_dispatch_room_t));
        if (dlcf->rooms == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (dlcf->rooms->nelts == NGX_PUSH_DISPATCH_ROOMS_MAX) {
        return "is there too often";
    }

    room = ngx_array_push(dlcf->rooms);
    if (room == NULL) {
        return NGX_CONF_ERROR;
    }

    /* an address has nothing that JSON would have escaped */

    p = ngx_pnalloc(cf->pool, value[1].len + 2);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    room->address.data = p;
    room->address.len = ngx_sprintf(p, "\"%V\"", &value[1]) - p;
    room->weight = weight;

    dlcf->total += weight;
    dlcf->longest = ngx_max(dlcf->longest, room->address.len);

    return NGX_CONF_OK;
}


/* A scheme that devices speak, a host, and only characters of a URI. */

static ngx_uint_t
ngx_push_dispatch_address_ok(ngx_str_t *address)
{
    size_t      i;
    ngx_str_t  *scheme;

    static ngx_str_t  schemes[] = {
        ngx_string("mqtt://"),
        ngx_string("mqtts://"),
        ngx_string("ws://"),
        ngx_string("wss://"),
        ngx_string("http://"),
        ngx_string("https://"),
        ngx_null_string
    };

    for (i = 0; i < address->len; i++) {
        if (address->data[i] <= 0x20 || address->data[i] >= 0x7f
            || address->data[i] == '"' || address->data[i] == '\\')
        {
            return 0;
        }
    }

    for (scheme = schemes; scheme->len; scheme++) {
        if (address->len > scheme->len
            && ngx_strncmp(address->data, scheme->data, scheme->len) == 0)
        {
            return address->data[scheme->len] != '/'
                   && address->data[scheme->len] != ':';
        }
    }

    return 0;
}
