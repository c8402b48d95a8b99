
/*
 * MQTT 5 properties: one table says which packets may have each of them, what
 * it looks like on the wire, which values are valid, and where it is kept.
 * Writing follows the table here, reading in ngx_push_mqtt_props_read.c.
 */


#include "ngx_push_mqtt_util.h"


#define NGX_PUSH_MQTT_IN(type)  (1u << NGX_PUSH_MQTT_##type)

#define NGX_PUSH_MQTT_IN_MESSAGE                                              \
    (NGX_PUSH_MQTT_IN(PUBLISH) | NGX_PUSH_MQTT_IN(WILL))

#define NGX_PUSH_MQTT_IN_OPENING                                              \
    (NGX_PUSH_MQTT_IN(CONNECT) | NGX_PUSH_MQTT_IN(CONNACK))

#define NGX_PUSH_MQTT_IN_ANSWER                                               \
    (NGX_PUSH_MQTT_IN(CONNACK) | NGX_PUSH_MQTT_IN(PUBACK)                     \
     | NGX_PUSH_MQTT_IN(PUBREC) | NGX_PUSH_MQTT_IN(PUBREL)                    \
     | NGX_PUSH_MQTT_IN(PUBCOMP) | NGX_PUSH_MQTT_IN(SUBACK)                   \
     | NGX_PUSH_MQTT_IN(UNSUBACK) | NGX_PUSH_MQTT_IN(DISCONNECT)              \
     | NGX_PUSH_MQTT_IN(AUTH))

#define NGX_PUSH_MQTT_IN_ANY                                                  \
    (NGX_PUSH_MQTT_IN_ANSWER | NGX_PUSH_MQTT_IN_MESSAGE                       \
     | NGX_PUSH_MQTT_IN(CONNECT) | NGX_PUSH_MQTT_IN(SUBSCRIBE)                \
     | NGX_PUSH_MQTT_IN(UNSUBSCRIBE))

#define NGX_PUSH_MQTT_PROP(kind, check, field, packets)                       \
    { NGX_PUSH_MQTT_KIND_##kind, NGX_PUSH_MQTT_CHECK_##check,                 \
      offsetof(ngx_push_mqtt_props_t, field), packets }


static const ngx_push_mqtt_prop_t  ngx_push_mqtt_table[] = {

    [NGX_PUSH_MQTT_PROP_PAYLOAD_FORMAT] =
        NGX_PUSH_MQTT_PROP(U8, BOOL, payload_format,
                           NGX_PUSH_MQTT_IN_MESSAGE),
    [NGX_PUSH_MQTT_PROP_MESSAGE_EXPIRY] =
        NGX_PUSH_MQTT_PROP(U32, NONE, message_expiry,
                           NGX_PUSH_MQTT_IN_MESSAGE),
    [NGX_PUSH_MQTT_PROP_CONTENT_TYPE] =
        NGX_PUSH_MQTT_PROP(STRING, NONE, content_type,
                           NGX_PUSH_MQTT_IN_MESSAGE),
    [NGX_PUSH_MQTT_PROP_RESPONSE_TOPIC] =
        NGX_PUSH_MQTT_PROP(STRING, TOPIC, response_topic,
                           NGX_PUSH_MQTT_IN_MESSAGE),
    [NGX_PUSH_MQTT_PROP_CORRELATION_DATA] =
        NGX_PUSH_MQTT_PROP(BINARY, NONE, correlation_data,
                           NGX_PUSH_MQTT_IN_MESSAGE),
    [NGX_PUSH_MQTT_PROP_SUBSCRIPTION_ID] =
        NGX_PUSH_MQTT_PROP(VARINT, NONZERO, subscription_id,
                           NGX_PUSH_MQTT_IN(PUBLISH)
                           | NGX_PUSH_MQTT_IN(SUBSCRIBE)),
    [NGX_PUSH_MQTT_PROP_SESSION_EXPIRY] =
        NGX_PUSH_MQTT_PROP(U32, NONE, session_expiry,
                           NGX_PUSH_MQTT_IN_OPENING
                           | NGX_PUSH_MQTT_IN(DISCONNECT)),
    [NGX_PUSH_MQTT_PROP_ASSIGNED_CLIENT_ID] =
        NGX_PUSH_MQTT_PROP(STRING, NONE, assigned_client_id,
                           NGX_PUSH_MQTT_IN(CONNACK)),
    [NGX_PUSH_MQTT_PROP_SERVER_KEEP_ALIVE] =
        NGX_PUSH_MQTT_PROP(U16, NONE, server_keep_alive,
                           NGX_PUSH_MQTT_IN(CONNACK)),
    [NGX_PUSH_MQTT_PROP_AUTH_METHOD] =
        NGX_PUSH_MQTT_PROP(STRING, NONE, auth_method,
                           NGX_PUSH_MQTT_IN_OPENING
                           | NGX_PUSH_MQTT_IN(AUTH)),
    [NGX_PUSH_MQTT_PROP_AUTH_DATA] =
        NGX_PUSH_MQTT_PROP(BINARY, NONE, auth_data,
                           NGX_PUSH_MQTT_IN_OPENING
                           | NGX_PUSH_MQTT_IN(AUTH)),
    [NGX_PUSH_MQTT_PROP_REQUEST_PROBLEM_INFO] =
        NGX_PUSH_MQTT_PROP(U8, BOOL, request_problem_info,
                           NGX_PUSH_MQTT_IN(CONNECT)),
    [NGX_PUSH_MQTT_PROP_WILL_DELAY] =
        NGX_PUSH_MQTT_PROP(U32, NONE, will_delay,
                           NGX_PUSH_MQTT_IN(WILL)),
    [NGX_PUSH_MQTT_PROP_REQUEST_RESPONSE_INFO] =
        NGX_PUSH_MQTT_PROP(U8, BOOL, request_response_info,
                           NGX_PUSH_MQTT_IN(CONNECT)),
    [NGX_PUSH_MQTT_PROP_RESPONSE_INFO] =
        NGX_PUSH_MQTT_PROP(STRING, NONE, response_info,
                           NGX_PUSH_MQTT_IN(CONNACK)),
    [NGX_PUSH_MQTT_PROP_SERVER_REFERENCE] =
        NGX_PUSH_MQTT_PROP(STRING, NONE, server_reference,
                           NGX_PUSH_MQTT_IN(CONNACK)
                           | NGX_PUSH_MQTT_IN(DISCONNECT)),
    [NGX_PUSH_MQTT_PROP_REASON_STRING] =
        NGX_PUSH_MQTT_PROP(STRING, NONE, reason_string,
                           NGX_PUSH_MQTT_IN_ANSWER),
    [NGX_PUSH_MQTT_PROP_RECEIVE_MAXIMUM] =
        NGX_PUSH_MQTT_PROP(U16, NONZERO, receive_maximum,
                           NGX_PUSH_MQTT_IN_OPENING),
    [NGX_PUSH_MQTT_PROP_TOPIC_ALIAS_MAXIMUM] =
        NGX_PUSH_MQTT_PROP(U16, NONE, topic_alias_maximum,
                           NGX_PUSH_MQTT_IN_OPENING),
    [NGX_PUSH_MQTT_PROP_TOPIC_ALIAS] =
        NGX_PUSH_MQTT_PROP(U16, ALIAS, topic_alias,
                           NGX_PUSH_MQTT_IN(PUBLISH)),
    [NGX_PUSH_MQTT_PROP_MAXIMUM_QOS] =
        NGX_PUSH_MQTT_PROP(U8, BOOL, maximum_qos,
                           NGX_PUSH_MQTT_IN(CONNACK)),
    [NGX_PUSH_MQTT_PROP_RETAIN_AVAILABLE] =
        NGX_PUSH_MQTT_PROP(U8, BOOL, retain_available,
                           NGX_PUSH_MQTT_IN(CONNACK)),
    [NGX_PUSH_MQTT_PROP_USER] =
        NGX_PUSH_MQTT_PROP(USER, NONE, user, NGX_PUSH_MQTT_IN_ANY),
    [NGX_PUSH_MQTT_PROP_MAXIMUM_PACKET_SIZE] =
        NGX_PUSH_MQTT_PROP(U32, NONZERO, maximum_packet_size,
                           NGX_PUSH_MQTT_IN_OPENING),
    [NGX_PUSH_MQTT_PROP_WILDCARD_AVAILABLE] =
        NGX_PUSH_MQTT_PROP(U8, BOOL, wildcard_available,
                           NGX_PUSH_MQTT_IN(CONNACK)),
    [NGX_PUSH_MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE] =
        NGX_PUSH_MQTT_PROP(U8, BOOL, subscription_id_available,
                           NGX_PUSH_MQTT_IN(CONNACK)),
    [NGX_PUSH_MQTT_PROP_SHARED_AVAILABLE] =
        NGX_PUSH_MQTT_PROP(U8, BOOL, shared_available,
                           NGX_PUSH_MQTT_IN(CONNACK))
};

#define NGX_PUSH_MQTT_PROPS                                                   \
    (sizeof(ngx_push_mqtt_table) / sizeof(ngx_push_mqtt_table[0]))


const ngx_push_mqtt_prop_t *
ngx_push_mqtt_find_prop(unsigned packet, uint32_t id)
{
    if (id >= NGX_PUSH_MQTT_PROPS
        || !(ngx_push_mqtt_table[id].packets & (1u << packet)))
    {
        return NULL;
    }

    return &ngx_push_mqtt_table[id];
}


const ngx_push_mqtt_prop_t *
ngx_push_mqtt_get_prop(uint32_t id)
{
    if (id >= NGX_PUSH_MQTT_PROPS
        || ngx_push_mqtt_table[id].kind == NGX_PUSH_MQTT_KIND_NONE)
    {
        return NULL;
    }

    return &ngx_push_mqtt_table[id];
}


size_t
ngx_push_mqtt_write_user(uint8_t *buf, size_t cap,
    const ngx_push_mqtt_str_t *name, const ngx_push_mqtt_str_t *value)
{
    uint8_t  *p;

    if (name->len > NGX_PUSH_MQTT_STR_MAX || value->len > NGX_PUSH_MQTT_STR_MAX
        || (size_t) 5 + name->len + value->len > cap)
    {
        return 0;
    }

    p = ngx_push_mqtt_put_u8(buf, NGX_PUSH_MQTT_PROP_USER);
    p = ngx_push_mqtt_put_str(p, name);
    p = ngx_push_mqtt_put_str(p, value);

    return p - buf;
}


/* a value that has no encoding makes the whole too long for any packet */

static size_t
ngx_push_mqtt_prop_size(const ngx_push_mqtt_prop_t *prop, const void *value)
{
    uint32_t  n;

    switch (prop->kind) {

    case NGX_PUSH_MQTT_KIND_U8:
        return 2;

    case NGX_PUSH_MQTT_KIND_U16:
        return 3;

    case NGX_PUSH_MQTT_KIND_U32:
        return 5;

    case NGX_PUSH_MQTT_KIND_VARINT:
        n = *(const uint32_t *) value;

        return n > NGX_PUSH_MQTT_VARINT_MAX ? NGX_PUSH_MQTT_PACKET_MAX
                                            : 1 + ngx_push_mqtt_varint_size(n);

    case NGX_PUSH_MQTT_KIND_USER:
        return ((const ngx_push_mqtt_str_t *) value)->len;

    default: /* NGX_PUSH_MQTT_KIND_STRING, NGX_PUSH_MQTT_KIND_BINARY */
        n = ((const ngx_push_mqtt_str_t *) value)->len;

        return n > NGX_PUSH_MQTT_STR_MAX ? NGX_PUSH_MQTT_PACKET_MAX
                                         : (size_t) 3 + n;
    }
}


size_t
ngx_push_mqtt_props_size(unsigned packet, const ngx_push_mqtt_props_t *props)
{
    size_t                       size;
    uint32_t                     id;
    const ngx_push_mqtt_prop_t  *prop;

    size = 0;

    for (id = 1; id < NGX_PUSH_MQTT_PROPS; id++) {

        if (!ngx_push_mqtt_has(props, id)) {
            continue;
        }

        prop = ngx_push_mqtt_find_prop(packet, id);

        if (prop) {
            size += ngx_push_mqtt_prop_size(prop, (const uint8_t *) props
                                                  + prop->offset);
        }
    }

    return size;
}


static uint8_t *
ngx_push_mqtt_write_prop(uint8_t *p, uint32_t id,
    const ngx_push_mqtt_prop_t *prop, const void *value)
{
    if (prop->kind == NGX_PUSH_MQTT_KIND_USER) {
        return ngx_push_mqtt_put_raw(p, value);
    }

    p = ngx_push_mqtt_put_u8(p, id);

    switch (prop->kind) {

    case NGX_PUSH_MQTT_KIND_U8:
        return ngx_push_mqtt_put_u8(p, *(const uint8_t *) value);

    case NGX_PUSH_MQTT_KIND_U16:
        return ngx_push_mqtt_put_u16(p, *(const uint16_t *) value);

    case NGX_PUSH_MQTT_KIND_U32:
        return ngx_push_mqtt_put_u32(p, *(const uint32_t *) value);

    case NGX_PUSH_MQTT_KIND_VARINT:
        return ngx_push_mqtt_put_varint(p, *(const uint32_t *) value);

    default: /* NGX_PUSH_MQTT_KIND_STRING, NGX_PUSH_MQTT_KIND_BINARY */
        return ngx_push_mqtt_put_str(p, value);
    }
}


uint8_t *
ngx_push_mqtt_write_props(uint8_t *p, unsigned packet,
    const ngx_push_mqtt_props_t *props)
{
    uint32_t                     id;
    const ngx_push_mqtt_prop_t  *prop;

    for (id = 1; id < NGX_PUSH_MQTT_PROPS; id++) {

        if (!ngx_push_mqtt_has(props, id)) {
            continue;
        }

        prop = ngx_push_mqtt_find_prop(packet, id);

        if (prop) {
            p = ngx_push_mqtt_write_prop(p, id, prop, (const uint8_t *) props
                                                      + prop->offset);
        }
    }

    return p;
}
