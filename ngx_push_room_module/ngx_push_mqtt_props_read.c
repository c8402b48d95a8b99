
/*
 * Reading MQTT 5 properties by the table in ngx_push_mqtt_props.c.
 */


#include "ngx_push_mqtt_util.h"


static int
ngx_push_mqtt_read_user(ngx_push_mqtt_cursor_t *c, const uint8_t *start,
    ngx_push_mqtt_props_t *props)
{
    int                  rc;
    ngx_push_mqtt_str_t  pair;

    rc = ngx_push_mqtt_read_string(c, &pair);
    if (rc != NGX_PUSH_MQTT_OK) {
        return rc;
    }

    rc = ngx_push_mqtt_read_string(c, &pair);
    if (rc != NGX_PUSH_MQTT_OK) {
        return rc;
    }

    if (props->user.data == NULL) {
        props->user.data = start;
    }

    props->user.len = (uint32_t) (c->pos - props->user.data);
    props->user_size += (uint32_t) (c->pos - start);
    props->user_count++;

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_read_value(ngx_push_mqtt_cursor_t *c, unsigned kind,
    void *value)
{
    switch (kind) {

    case NGX_PUSH_MQTT_KIND_U8:
        return ngx_push_mqtt_read_u8(c, value);

    case NGX_PUSH_MQTT_KIND_U16:
        return ngx_push_mqtt_read_u16(c, value);

    case NGX_PUSH_MQTT_KIND_U32:
        return ngx_push_mqtt_read_u32(c, value);

    case NGX_PUSH_MQTT_KIND_VARINT:
        return ngx_push_mqtt_read_varint(c, value);

    case NGX_PUSH_MQTT_KIND_STRING:
        return ngx_push_mqtt_read_string(c, value);

    default: /* NGX_PUSH_MQTT_KIND_BINARY */
        return ngx_push_mqtt_read_binary(c, value);
    }
}


static uint32_t
ngx_push_mqtt_number(const ngx_push_mqtt_prop_t *prop, const void *value)
{
    switch (prop->kind) {

    case NGX_PUSH_MQTT_KIND_U8:
        return *(const uint8_t *) value;

    case NGX_PUSH_MQTT_KIND_U16:
        return *(const uint16_t *) value;

    default: /* NGX_PUSH_MQTT_KIND_U32, NGX_PUSH_MQTT_KIND_VARINT */
        return *(const uint32_t *) value;
    }
}


static int
ngx_push_mqtt_check_value(const ngx_push_mqtt_prop_t *prop, const void *value,
    ngx_push_mqtt_error_t *err)
{
    const ngx_push_mqtt_str_t  *s;

    switch (prop->check) {

    case NGX_PUSH_MQTT_CHECK_BOOL:
        if (ngx_push_mqtt_number(prop, value) > 1) {
            return ngx_push_mqtt_protocol(err, "property is neither 0 nor 1");
        }

        break;

    case NGX_PUSH_MQTT_CHECK_NONZERO:
        if (ngx_push_mqtt_number(prop, value) == 0) {
            return ngx_push_mqtt_protocol(err, "property may not be 0");
        }

        break;

    case NGX_PUSH_MQTT_CHECK_ALIAS:
        if (ngx_push_mqtt_number(prop, value) == 0) {
            return ngx_push_mqtt_fail(err,
                                      NGX_PUSH_MQTT_RC_TOPIC_ALIAS_INVALID,
                                      "topic alias 0");
        }

        break;

    case NGX_PUSH_MQTT_CHECK_TOPIC:
        s = value;

        if (!ngx_push_mqtt_topic_name_ok(s->data, s->len)) {
            return ngx_push_mqtt_protocol(err, "response topic is empty or "
                                               "has a wildcard");
        }

        break;

    default:
        break;
    }

    return NGX_PUSH_MQTT_OK;
}


/* one property; c ends where the properties do */

static int
ngx_push_mqtt_read_prop(ngx_push_mqtt_cursor_t *c, unsigned packet,
    ngx_push_mqtt_props_t *props, ngx_push_mqtt_error_t *err)
{
    int                          rc;
    void                        *value;
    uint32_t                     id;
    const uint8_t               *start;
    const ngx_push_mqtt_prop_t  *prop;

    start = c->pos;

    if (ngx_push_mqtt_read_varint(c, &id) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "property identifier is not a "
                                            "variable byte integer");
    }

    prop = ngx_push_mqtt_find_prop(packet, id);
    if (prop == NULL) {
        return ngx_push_mqtt_malformed(err, "this packet may not have such "
                                            "a property");
    }

    value = (uint8_t *) props + prop->offset;

    if (prop->kind == NGX_PUSH_MQTT_KIND_USER) {
        rc = ngx_push_mqtt_read_user(c, start, props);

    } else {
        if (ngx_push_mqtt_has(props, id)) {
            return ngx_push_mqtt_protocol(err, "property is given twice");
        }

        rc = ngx_push_mqtt_read_value(c, prop->kind, value);
    }

    if (rc == NGX_PUSH_MQTT_AGAIN) {
        return ngx_push_mqtt_malformed(err, "properties end inside a value");
    }

    if (rc == NGX_PUSH_MQTT_ERROR) {
        return ngx_push_mqtt_malformed(err, "property is not well-formed");
    }

    ngx_push_mqtt_set(props, id);

    return ngx_push_mqtt_check_value(prop, value, err);
}


int
ngx_push_mqtt_read_props(ngx_push_mqtt_cursor_t *c, unsigned packet,
    ngx_push_mqtt_props_t *props, ngx_push_mqtt_error_t *err)
{
    uint32_t                len;
    ngx_push_mqtt_cursor_t  block;

    memset(props, 0, sizeof(ngx_push_mqtt_props_t));

    if (ngx_push_mqtt_read_varint(c, &len) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "Property Length is missing or "
                                            "not a variable byte integer");
    }

    if (len > (size_t) (c->end - c->pos)) {
        return ngx_push_mqtt_malformed(err, "Property Length is beyond the "
                                            "end of the packet");
    }

    block.pos = c->pos;
    block.end = c->pos + len;
    c->pos = block.end;

    while (block.pos < block.end) {

        if (ngx_push_mqtt_read_prop(&block, packet, props, err)
            != NGX_PUSH_MQTT_OK)
        {
            return NGX_PUSH_MQTT_ERROR;
        }
    }

    return NGX_PUSH_MQTT_OK;
}


/* skips a property that is not a user property, in validated input */

static int
ngx_push_mqtt_skip_prop(ngx_push_mqtt_cursor_t *c, uint32_t id)
{
    const ngx_push_mqtt_prop_t  *prop;

    union {
        uint8_t                  u8;
        uint16_t                 u16;
        uint32_t                 u32;
        ngx_push_mqtt_str_t      str;
    } value;

    prop = ngx_push_mqtt_get_prop(id);
    if (prop == NULL) {
        return NGX_PUSH_MQTT_ERROR;
    }

    return ngx_push_mqtt_read_value(c, prop->kind, &value);
}


int
ngx_push_mqtt_next_user(ngx_push_mqtt_str_t *user, ngx_push_mqtt_str_t *name,
    ngx_push_mqtt_str_t *value)
{
    uint32_t                id;
    ngx_push_mqtt_cursor_t  c;

    c.pos = user->data;
    c.end = user->len ? user->data + user->len : user->data;

    while (ngx_push_mqtt_read_varint(&c, &id) == NGX_PUSH_MQTT_OK) {

        if (id == NGX_PUSH_MQTT_PROP_USER) {

            if (ngx_push_mqtt_read_binary(&c, name) != NGX_PUSH_MQTT_OK
                || ngx_push_mqtt_read_binary(&c, value) != NGX_PUSH_MQTT_OK)
            {
                break;
            }

            user->data = c.pos;
            user->len = (uint32_t) (c.end - c.pos);

            return NGX_PUSH_MQTT_OK;
        }

        if (ngx_push_mqtt_skip_prop(&c, id) != NGX_PUSH_MQTT_OK) {
            break;
        }
    }

    user->len = 0;

    return NGX_PUSH_MQTT_DONE;
}


size_t
ngx_push_mqtt_copy_user(uint8_t *buf, const ngx_push_mqtt_props_t *props)
{
    uint8_t              *p;
    ngx_push_mqtt_str_t   user, name, value;

    if (props->user.len == props->user_size) {
        return ngx_push_mqtt_put_raw(buf, &props->user) - buf;
    }

    p = buf;
    user = props->user;

    while (ngx_push_mqtt_next_user(&user, &name, &value)
           == NGX_PUSH_MQTT_OK)
    {
        p += ngx_push_mqtt_write_user(p, props->user_size - (p - buf), &name,
                                      &value);
    }

    return p - buf;
}
