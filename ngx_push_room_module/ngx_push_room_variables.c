
/*
 * Copyright (C) the ngx_push authors
 */


/* Variables of a connection, for access_log. */


#include "ngx_push_room.h"


static ngx_int_t ngx_push_room_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_uint_t ngx_push_room_value(ngx_push_room_conn_t *room,
    uintptr_t data, ngx_str_t *value, u_char *buf);


typedef enum {
    NGX_PUSH_ROOM_VAR_PRODUCT = 0,
    NGX_PUSH_ROOM_VAR_USER,
    NGX_PUSH_ROOM_VAR_DEVICE,
    NGX_PUSH_ROOM_VAR_PROTOCOL,
    NGX_PUSH_ROOM_VAR_REASON,
    NGX_PUSH_ROOM_VAR_IN,
    NGX_PUSH_ROOM_VAR_OUT
} ngx_push_room_variable_t;


static ngx_stream_variable_t  ngx_push_room_vars[] = {

    { ngx_string("push_product"), NULL, ngx_push_room_variable,
      NGX_PUSH_ROOM_VAR_PRODUCT, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("push_user"), NULL, ngx_push_room_variable,
      NGX_PUSH_ROOM_VAR_USER, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("push_device"), NULL, ngx_push_room_variable,
      NGX_PUSH_ROOM_VAR_DEVICE, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("push_protocol"), NULL, ngx_push_room_variable,
      NGX_PUSH_ROOM_VAR_PROTOCOL, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("push_reason"), NULL, ngx_push_room_variable,
      NGX_PUSH_ROOM_VAR_REASON, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("push_messages_in"), NULL, ngx_push_room_variable,
      NGX_PUSH_ROOM_VAR_IN, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("push_messages_out"), NULL, ngx_push_room_variable,
      NGX_PUSH_ROOM_VAR_OUT, NGX_STREAM_VAR_NOCACHEABLE, 0 },

      ngx_stream_null_variable
};


ngx_int_t
ngx_push_room_add_variables(ngx_conf_t *cf)
{
    ngx_stream_variable_t  *var, *v;

    for (v = ngx_push_room_vars; v->name.len; v++) {
        var = ngx_stream_add_variable(cf, &v->name, v->flags);

        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_room_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    u_char                 buf[NGX_INT_T_LEN];
    ngx_str_t              value;
    ngx_push_room_conn_t  *room;

    room = ngx_stream_get_module_ctx(s, ngx_push_room_module);

    if (room == NULL || !ngx_push_room_value(room, data, &value, buf)) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(s->connection->pool, value.len);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(v->data, value.data, value.len);
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 1;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_uint_t
ngx_push_room_value(ngx_push_room_conn_t *room, uintptr_t data,
    ngx_str_t *value, u_char *buf)
{
    ngx_push_product_t  *product;

    value->data = buf;

    switch (data) {

    case NGX_PUSH_ROOM_VAR_PRODUCT:

        if (room->nproducts == 0) {
            return 0;
        }

        product = ngx_push_product_by_id(ngx_push_room_push,
                                         room->products[0]);
        if (product == NULL) {
            return 0;
        }

        *value = product->name;
        return 1;

    case NGX_PUSH_ROOM_VAR_USER:

        if (room->name == NULL) {
            return 0;
        }

        ngx_push_room_user(room, value);
        return 1;

    case NGX_PUSH_ROOM_VAR_DEVICE:

        if (room->name == NULL) {
            return 0;
        }

        ngx_push_room_device(room, value);
        return 1;

    case NGX_PUSH_ROOM_VAR_PROTOCOL:

        switch (room->version) {

        case NGX_PUSH_MQTT_V311:
            ngx_str_set(value, "3.1.1");
            return 1;

        case NGX_PUSH_MQTT_V5:
            ngx_str_set(value, "5");
            return 1;

        default:
            return 0;
        }

    case NGX_PUSH_ROOM_VAR_REASON:
        *value = ngx_push_room_why_names[room->why];
        return 1;

    case NGX_PUSH_ROOM_VAR_IN:
        value->len = ngx_sprintf(buf, "%uD", room->messages_in) - buf;
        return 1;

    default: /* NGX_PUSH_ROOM_VAR_OUT */
        value->len = ngx_sprintf(buf, "%uD", room->messages_out) - buf;
        return 1;
    }
}
