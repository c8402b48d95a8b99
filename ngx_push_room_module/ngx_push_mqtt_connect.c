
/*
 * Parsing CONNECT, in the order of its parts: protocol, flags, properties,
 * and the payload that the flags announce.
 */


#include "ngx_push_mqtt_util.h"


#define NGX_PUSH_MQTT_FLAG_RESERVED     0x01
#define NGX_PUSH_MQTT_FLAG_CLEAN_START  0x02
#define NGX_PUSH_MQTT_FLAG_WILL         0x04
#define NGX_PUSH_MQTT_FLAG_WILL_QOS     0x18
#define NGX_PUSH_MQTT_FLAG_WILL_RETAIN  0x20
#define NGX_PUSH_MQTT_FLAG_PASSWORD     0x40
#define NGX_PUSH_MQTT_FLAG_USER_NAME    0x80

/* a protocol level with this bit set is that of a bridge between brokers */

#define NGX_PUSH_MQTT_LEVEL_BRIDGE      0x80


static int
ngx_push_mqtt_is(const ngx_push_mqtt_str_t *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}


/* sets the version in which an answer is understood, also on errors */

static int
ngx_push_mqtt_connect_protocol(ngx_push_mqtt_cursor_t *c,
    ngx_push_mqtt_connect_t *out, ngx_push_mqtt_error_t *err)
{
    uint8_t              level;
    ngx_push_mqtt_str_t  name;

    if (ngx_push_mqtt_read_binary(c, &name) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "CONNECT ends inside the "
                                            "protocol name");
    }

    if (ngx_push_mqtt_is(&name, "MQIsdp")) {
        out->version = NGX_PUSH_MQTT_V311;
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_UNSUPPORTED_VERSION,
                                  "MQTT 3.1 is not supported");
    }

    if (!ngx_push_mqtt_is(&name, "MQTT")) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_UNSUPPORTED_VERSION,
                                  "protocol name is not MQTT");
    }

    if (ngx_push_mqtt_read_u8(c, &level) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "CONNECT ends before the "
                                            "protocol level");
    }

    out->version = NGX_PUSH_MQTT_V311;

    if ((level & ~NGX_PUSH_MQTT_LEVEL_BRIDGE) >= NGX_PUSH_MQTT_V5) {
        out->version = NGX_PUSH_MQTT_V5;
    }

    if (level != out->version) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_UNSUPPORTED_VERSION,
                                  "protocol level is neither 4 nor 5");
    }

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_connect_flags(uint8_t flags,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_connect_t *out,
    ngx_push_mqtt_error_t *err)
{
    if (flags & NGX_PUSH_MQTT_FLAG_RESERVED) {
        return ngx_push_mqtt_malformed(err, "reserved flag of CONNECT is "
                                            "set");
    }

    out->clean_start = (flags & NGX_PUSH_MQTT_FLAG_CLEAN_START) != 0;
    out->will_qos = (flags & NGX_PUSH_MQTT_FLAG_WILL_QOS) >> 3;
    out->will_retain = (flags & NGX_PUSH_MQTT_FLAG_WILL_RETAIN) != 0;

    if (out->will_qos == 3) {
        return ngx_push_mqtt_malformed(err, "will QoS 3");
    }

    if (!(flags & NGX_PUSH_MQTT_FLAG_WILL)
        && (out->will_qos || out->will_retain))
    {
        return ngx_push_mqtt_malformed(err, "will QoS or will retain "
                                            "without a will");
    }

    if (out->version == NGX_PUSH_MQTT_V311
        && (flags & NGX_PUSH_MQTT_FLAG_PASSWORD)
        && !(flags & NGX_PUSH_MQTT_FLAG_USER_NAME))
    {
        return ngx_push_mqtt_malformed(err, "password without user name");
    }

    if (out->will_qos > limits->max_qos) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_QOS_NOT_SUPPORTED,
                                  "QoS of the will is not supported");
    }

    if (out->will_retain && !limits->retain) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_RETAIN_NOT_SUPPORTED,
                                  "retain of the will is not supported");
    }

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_connect_props(ngx_push_mqtt_cursor_t *c,
    ngx_push_mqtt_connect_t *out, ngx_push_mqtt_error_t *err)
{
    ngx_push_mqtt_props_t  *props;

    props = &out->props;

    if (out->version == NGX_PUSH_MQTT_V5
        && ngx_push_mqtt_read_props(c, NGX_PUSH_MQTT_CONNECT, props, err)
           != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    if (ngx_push_mqtt_has(props, NGX_PUSH_MQTT_PROP_AUTH_DATA)
        && !ngx_push_mqtt_has(props, NGX_PUSH_MQTT_PROP_AUTH_METHOD))
    {
        return ngx_push_mqtt_protocol(err, "authentication data without "
                                           "method");
    }

    if (!ngx_push_mqtt_has(props, NGX_PUSH_MQTT_PROP_RECEIVE_MAXIMUM)) {
        props->receive_maximum = 65535;
    }

    if (!ngx_push_mqtt_has(props, NGX_PUSH_MQTT_PROP_MAXIMUM_PACKET_SIZE)) {
        props->maximum_packet_size = UINT32_MAX;
    }

    if (!ngx_push_mqtt_has(props, NGX_PUSH_MQTT_PROP_REQUEST_PROBLEM_INFO)) {
        props->request_problem_info = 1;
    }

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_connect_client_id(ngx_push_mqtt_cursor_t *c,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_connect_t *out,
    ngx_push_mqtt_error_t *err)
{
    if (ngx_push_mqtt_read_string(c, &out->client_id) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "client identifier is cut or "
                                            "not UTF-8");
    }

    if (out->client_id.len > limits->max_client_id) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_CLIENT_ID_NOT_VALID,
                                  "client identifier is too long");
    }

    if (out->version == NGX_PUSH_MQTT_V311
        && out->client_id.len == 0 && !out->clean_start)
    {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_CLIENT_ID_NOT_VALID,
                                  "empty client identifier without a clean "
                                  "session");
    }

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_connect_will(ngx_push_mqtt_cursor_t *c,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_connect_t *out,
    ngx_push_mqtt_error_t *err)
{
    ngx_push_mqtt_str_t  *topic;

    topic = &out->will_topic;

    if (out->version == NGX_PUSH_MQTT_V5
        && ngx_push_mqtt_read_props(c, NGX_PUSH_MQTT_WILL, &out->will_props,
                                    err)
           != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    if (ngx_push_mqtt_read_string(c, topic) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "will topic is cut or not UTF-8");
    }

    if (!ngx_push_mqtt_topic_name_ok(topic->data, topic->len)) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_TOPIC_NAME_INVALID,
                                  "will topic is empty or has a wildcard");
    }

    if (topic->len > limits->max_topic) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_TOPIC_NAME_INVALID,
                                  "will topic is too long");
    }

    if (ngx_push_mqtt_read_binary(c, &out->will_payload)
        != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_mqtt_malformed(err, "CONNECT ends inside the will");
    }

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_connect_payload(ngx_push_mqtt_cursor_t *c, uint8_t flags,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_connect_t *out,
    ngx_push_mqtt_error_t *err)
{
    if (ngx_push_mqtt_connect_client_id(c, limits, out, err)
        != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    if ((flags & NGX_PUSH_MQTT_FLAG_WILL)
        && ngx_push_mqtt_connect_will(c, limits, out, err)
           != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    if ((flags & NGX_PUSH_MQTT_FLAG_USER_NAME)
        && ngx_push_mqtt_read_string(c, &out->user_name) != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_mqtt_malformed(err, "user name is cut or not UTF-8");
    }

    if ((flags & NGX_PUSH_MQTT_FLAG_PASSWORD)
        && ngx_push_mqtt_read_binary(c, &out->password) != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_mqtt_malformed(err, "CONNECT ends inside the "
                                            "password");
    }

    if (c->pos != c->end) {
        return ngx_push_mqtt_malformed(err, "CONNECT has octets left over");
    }

    return NGX_PUSH_MQTT_OK;
}


int
ngx_push_mqtt_parse_connect(const uint8_t *body, uint32_t n,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_connect_t *out,
    ngx_push_mqtt_error_t *err)
{
    uint8_t                 flags;
    ngx_push_mqtt_cursor_t  c;

    memset(out, 0, sizeof(ngx_push_mqtt_connect_t));

    c.pos = body;
    c.end = body + n;

    if (ngx_push_mqtt_connect_protocol(&c, out, err) != NGX_PUSH_MQTT_OK) {
        return NGX_PUSH_MQTT_ERROR;
    }

    if (ngx_push_mqtt_read_u8(&c, &flags) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "CONNECT ends before its flags");
    }

    if (ngx_push_mqtt_connect_flags(flags, limits, out, err)
        != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    if (ngx_push_mqtt_read_u16(&c, &out->keepalive) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "CONNECT ends inside the keep "
                                            "alive");
    }

    if (ngx_push_mqtt_connect_props(&c, out, err) != NGX_PUSH_MQTT_OK) {
        return NGX_PUSH_MQTT_ERROR;
    }

    return ngx_push_mqtt_connect_payload(&c, flags, limits, out, err);
}
