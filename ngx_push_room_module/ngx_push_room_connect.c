
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * CONNECT: whether the client may, and who it is.  Product and user come from
 * the token in the password; where a product allows anonymous users and there
 * is no password, from the user name PRODUCT/USER.  The device is the client
 * identifier.
 */


#include "ngx_push_room.h"
#include <sys/random.h>


#define NGX_PUSH_ROOM_ASSIGNED  22     /* characters, 131 bits */


static ngx_int_t ngx_push_room_check(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect);
static ngx_int_t ngx_push_room_identify(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect, ngx_push_identity_t *id);
static ngx_int_t ngx_push_room_set_name(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect, ngx_push_identity_t *id);
static void ngx_push_room_assign(u_char *p);
static void ngx_push_room_set_terms(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect);


ngx_int_t
ngx_push_room_connect(ngx_push_room_conn_t *room, ngx_push_mqtt_frame_t *f,
    u_char *body)
{
    int                       rc;
    ngx_push_identity_t       id;
    ngx_push_mqtt_error_t     err;
    ngx_push_mqtt_connect_t   connect;

    static const ngx_push_mqtt_limits_t  limits = NGX_PUSH_MQTT_LIMITS_MAX;

    rc = ngx_push_mqtt_parse_connect(body, f->remaining, &limits, &connect,
                                     &err);

    room->version = connect.version;
    room->max_packet = UINT32_MAX;

    if (rc != NGX_PUSH_MQTT_OK) {

        if (err.code == NGX_PUSH_MQTT_RC_MALFORMED_PACKET) {
            return ngx_push_room_refuse(room, NGX_PUSH_ROOM_MALFORMED,
                                        err.code, err.text);
        }

        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_REFUSED, err.code,
                                    err.text);
    }

    room->max_packet = connect.props.maximum_packet_size;
    room->problem_info = connect.props.request_problem_info;

    if (ngx_push_room_check(room, &connect) != NGX_OK
        || ngx_push_room_identify(room, &connect, &id) != NGX_OK
        || ngx_push_room_set_name(room, &connect, &id) != NGX_OK)
    {
        return NGX_DONE;
    }

    ngx_push_room_set_terms(room, &connect);

    return ngx_push_room_claim(room, &connect);
}


ngx_int_t
ngx_push_room_refuse(ngx_push_room_conn_t *room, ngx_push_room_why_t why,
    ngx_uint_t code, const char *text)
{
    size_t                  n;
    u_char                 *p;
    ngx_push_mqtt_props_t   props;

    if (room->version) {
        props.present = 0;

        if (text && room->problem_info) {
            props.reason_string.data = (const uint8_t *) text;
            props.reason_string.len = ngx_strlen(text);
            ngx_push_mqtt_set(&props, NGX_PUSH_MQTT_PROP_REASON_STRING);
        }

        p = ngx_push_room_reserve(room, 512);

        n = ngx_push_mqtt_write_connack(p, 512, room->max_packet,
                                        room->version, 0, code, &props);
        if (n) {
            ngx_push_room_commit(n);
        }
    }

    return ngx_push_room_end(room, why, code, text);
}


/* What is asked for, apart from who asks. */

static ngx_int_t
ngx_push_room_check(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect)
{
    ngx_str_t  client_id;

    if (ngx_exiting) {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_DRAINED,
                                    NGX_PUSH_MQTT_RC_SERVER_UNAVAILABLE,
                                    "this worker is leaving");
    }

    if (ngx_push_mqtt_has(&connect->props, NGX_PUSH_MQTT_PROP_AUTH_METHOD)) {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_DENIED,
                                  NGX_PUSH_MQTT_RC_BAD_AUTHENTICATION_METHOD,
                                  "no authentication method is offered");
    }

    if (connect->client_id.len == 0) {

        if (connect->version == NGX_PUSH_MQTT_V311 && !connect->clean_start) {
            return ngx_push_room_refuse(room, NGX_PUSH_ROOM_REFUSED,
                                       NGX_PUSH_MQTT_RC_CLIENT_ID_NOT_VALID,
                                       "empty client identifier");
        }

        return NGX_OK;
    }

    client_id.data = (u_char *) connect->client_id.data;
    client_id.len = connect->client_id.len;

    if (!ngx_push_name_ok(&client_id)) {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_REFUSED,
                                    NGX_PUSH_MQTT_RC_CLIENT_ID_NOT_VALID,
                                    "client identifier is too long or has "
                                    "control characters");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_room_identify(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect, ngx_push_identity_t *id)
{
    ngx_int_t    rc;
    ngx_str_t    s;
    ngx_uint_t   i;
    const char  *why;

    why = NULL;

    if (connect->password.len) {
        s.data = (u_char *) connect->password.data;
        s.len = connect->password.len;

        rc = ngx_push_token_verify(ngx_push_room_push, &s, id, &why);

    } else if (connect->user_name.len) {
        s.data = (u_char *) connect->user_name.data;
        s.len = connect->user_name.len;

        rc = ngx_push_anonymous_verify(ngx_push_room_push, &s, id, &why);

    } else {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_DENIED,
                                    NGX_PUSH_MQTT_RC_NOT_AUTHORIZED,
                                    "no token and no user name");
    }

    if (rc == NGX_PUSH_EXPIRED) {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_TOKEN_EXPIRED,
                                    NGX_PUSH_MQTT_RC_NOT_AUTHORIZED,
                                    why ? why : "token has expired");
    }

    if (rc != NGX_OK) {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_DENIED,
                                NGX_PUSH_MQTT_RC_BAD_USER_NAME_OR_PASSWORD,
                                why);
    }

    for (i = 0; i < id->nproducts; i++) {
        room->products[i] = id->products[i]->id;
    }

    room->nproducts = id->nproducts;

    /* beyond 2106 is never */

    room->exp = (id->exp > 0 && id->exp < (time_t) UINT32_MAX) ? id->exp : 0;

    return NGX_OK;
}


/* Kept for the access log, and user and device for uplink messages. */

static ngx_int_t
ngx_push_room_set_name(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect, ngx_push_identity_t *id)
{
    size_t   len, n;
    u_char  *p, facts[NGX_PUSH_ROOM_FACTS_MAX];

    room->assigned = (connect->client_id.len == 0);
    len = room->assigned ? NGX_PUSH_ROOM_ASSIGNED : connect->client_id.len;

    n = ngx_push_room_facts(room, facts);

    p = ngx_alloc(2 + id->user.len + len + n,
                  ngx_push_room_connection(room)->log);

    if (p == NULL) {
        return ngx_push_room_refuse(room, NGX_PUSH_ROOM_NO_MEMORY,
                                    NGX_PUSH_MQTT_RC_SERVER_UNAVAILABLE,
                                    NULL);
    }

    room->name = p;

    *p++ = (u_char) id->user.len;
    p = ngx_cpymem(p, id->user.data, id->user.len);
    *p++ = (u_char) len;

    if (room->assigned) {
        ngx_push_room_assign(p);

    } else {
        ngx_memcpy(p, connect->client_id.data, len);
    }

    ngx_memcpy(p + len, facts, n);

    return NGX_OK;
}


void
ngx_push_room_device(ngx_push_room_conn_t *room, ngx_str_t *device)
{
    u_char  *p;

    p = room->name + 1 + room->name[0];

    device->len = *p;
    device->data = p + 1;
}


static void
ngx_push_room_assign(u_char *p)
{
    u_char      rnd[NGX_PUSH_ROOM_ASSIGNED];
    ngx_uint_t  i;

    static const u_char  digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz";

    if (getrandom(rnd, sizeof(rnd), 0) != (ssize_t) sizeof(rnd)) {
        for (i = 0; i < sizeof(rnd); i++) {
            rnd[i] = (u_char) (ngx_random() >> 7);
        }
    }

    for (i = 0; i < sizeof(rnd); i++) {
        p[i] = digits[rnd[i] % 62];
    }
}


/* Keep alive and session expiry: what is asked for, within our limits. */

static void
ngx_push_room_set_terms(ngx_push_room_conn_t *room,
    ngx_push_mqtt_connect_t *connect)
{
    uint32_t                   limit;
    ngx_uint_t                 keepalive;
    ngx_push_room_srv_conf_t  *rscf;

    rscf = ngx_push_room_srv_conf(room);
    keepalive = connect->keepalive;

    if (keepalive == 0 || keepalive > (ngx_uint_t) rscf->keepalive_max) {
        keepalive = rscf->keepalive_max;

    } else if (keepalive < (ngx_uint_t) rscf->keepalive_min) {
        keepalive = rscf->keepalive_min;
    }

    room->keepalive = (uint16_t) keepalive;
    room->keepalive_set = (keepalive != connect->keepalive);

    limit = (uint32_t) ngx_push_room_push->session_expiry;

    if (connect->version == NGX_PUSH_MQTT_V311) {
        room->expiry = connect->clean_start ? 0 : limit;
        return;
    }

    room->expiry = connect->props.session_expiry;
    room->expiry_zero = (room->expiry == 0);

    if (room->expiry > limit) {
        room->expiry = limit;
        room->expiry_cut = 1;
    }
}
