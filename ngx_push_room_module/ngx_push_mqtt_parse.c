
/*
 * Parsing what a server receives after CONNECT.  The body that a parser gets
 * is whole, so a primitive that asks for more means a malformed packet.
 */


#include "ngx_push_mqtt_util.h"


static int
ngx_push_mqtt_read_packet_id(ngx_push_mqtt_cursor_t *c, uint16_t *id,
    ngx_push_mqtt_error_t *err)
{
    if (ngx_push_mqtt_read_u16(c, id) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "packet ends inside the packet "
                                            "identifier");
    }

    if (*id == 0) {
        return ngx_push_mqtt_protocol(err, "packet identifier 0");
    }

    return NGX_PUSH_MQTT_OK;
}


/* the properties of a packet that has them last */

static int
ngx_push_mqtt_read_last_props(ngx_push_mqtt_cursor_t *c, unsigned packet,
    ngx_push_mqtt_props_t *props, ngx_push_mqtt_error_t *err)
{
    if (ngx_push_mqtt_read_props(c, packet, props, err) != NGX_PUSH_MQTT_OK) {
        return NGX_PUSH_MQTT_ERROR;
    }

    if (c->pos != c->end) {
        return ngx_push_mqtt_malformed(err, "octets left over after the "
                                            "properties");
    }

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_check_publish(const ngx_push_mqtt_limits_t *limits,
    const ngx_push_mqtt_publish_t *p, ngx_push_mqtt_error_t *err)
{
    if (p->qos > limits->max_qos) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_QOS_NOT_SUPPORTED,
                                  "QoS is not supported");
    }

    if (p->retain && !limits->retain) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_RETAIN_NOT_SUPPORTED,
                                  "retain is not supported");
    }

    if (p->topic.len > limits->max_topic) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_TOPIC_NAME_INVALID,
                                  "topic name is too long");
    }

    return NGX_PUSH_MQTT_OK;
}


/* topic and topic alias name the topic together */

static int
ngx_push_mqtt_check_publish_topic(const ngx_push_mqtt_limits_t *limits,
    const ngx_push_mqtt_publish_t *p, ngx_push_mqtt_error_t *err)
{
    if (ngx_push_mqtt_has(&p->props, NGX_PUSH_MQTT_PROP_SUBSCRIPTION_ID)) {
        return ngx_push_mqtt_protocol(err, "subscription identifier from a "
                                           "client");
    }

    if (p->props.topic_alias > limits->topic_alias_max) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_TOPIC_ALIAS_INVALID,
                                  "topic alias is above the maximum");
    }

    if (p->topic.len == 0) {

        if (p->props.topic_alias == 0) {
            return ngx_push_mqtt_protocol(err, "neither topic name nor topic "
                                               "alias");
        }

        return NGX_PUSH_MQTT_OK;
    }

    if (!ngx_push_mqtt_topic_name_ok(p->topic.data, p->topic.len)) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_TOPIC_NAME_INVALID,
                                  "topic name has a wildcard");
    }

    return NGX_PUSH_MQTT_OK;
}


int
ngx_push_mqtt_parse_publish(int version, unsigned flags, const uint8_t *body,
    uint32_t n, const ngx_push_mqtt_limits_t *limits,
    ngx_push_mqtt_publish_t *out, ngx_push_mqtt_error_t *err)
{
    ngx_push_mqtt_cursor_t  c;

    c.pos = body;
    c.end = body + n;

    memset(out, 0, sizeof(ngx_push_mqtt_publish_t));

    out->qos = (flags >> 1) & 0x03;
    out->dup = (flags >> 3) & 0x01;
    out->retain = flags & 0x01;

    if (ngx_push_mqtt_read_string(&c, &out->topic) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "topic name is cut or not UTF-8");
    }

    if (out->qos && ngx_push_mqtt_read_packet_id(&c, &out->packet_id, err)
                    != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    if (version == NGX_PUSH_MQTT_V5
        && ngx_push_mqtt_read_props(&c, NGX_PUSH_MQTT_PUBLISH, &out->props,
                                    err)
           != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    out->payload.data = c.pos;
    out->payload.len = (uint32_t) (c.end - c.pos);

    if (ngx_push_mqtt_check_publish(limits, out, err) != NGX_PUSH_MQTT_OK) {
        return NGX_PUSH_MQTT_ERROR;
    }

    return ngx_push_mqtt_check_publish_topic(limits, out, err);
}


/* whether a client may give this reason in an acknowledgement */

static int
ngx_push_mqtt_ack_reason_ok(unsigned type, uint8_t reason)
{
    if (type == NGX_PUSH_MQTT_PUBREL || type == NGX_PUSH_MQTT_PUBCOMP) {
        return reason == NGX_PUSH_MQTT_RC_SUCCESS
               || reason == NGX_PUSH_MQTT_RC_PACKET_ID_NOT_FOUND;
    }

    switch (reason) {

    case NGX_PUSH_MQTT_RC_SUCCESS:
    case NGX_PUSH_MQTT_RC_NO_MATCHING_SUBSCRIBERS:
    case NGX_PUSH_MQTT_RC_UNSPECIFIED_ERROR:
    case NGX_PUSH_MQTT_RC_IMPLEMENTATION_SPECIFIC:
    case NGX_PUSH_MQTT_RC_NOT_AUTHORIZED:
    case NGX_PUSH_MQTT_RC_TOPIC_NAME_INVALID:
    case NGX_PUSH_MQTT_RC_PACKET_ID_IN_USE:
    case NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED:
    case NGX_PUSH_MQTT_RC_PAYLOAD_FORMAT_INVALID:
        return 1;

    default:
        return 0;
    }
}


/* what may follow the packet identifier in MQTT 5 */

static int
ngx_push_mqtt_parse_ack_tail(ngx_push_mqtt_cursor_t *c, unsigned type,
    ngx_push_mqtt_ack_t *out, ngx_push_mqtt_error_t *err)
{
    ngx_push_mqtt_props_t  props;

    out->reason = *c->pos++;

    if (!ngx_push_mqtt_ack_reason_ok(type, out->reason)) {
        return ngx_push_mqtt_protocol(err, "this packet may not have such "
                                           "a reason code");
    }

    if (c->pos == c->end) {
        return NGX_PUSH_MQTT_OK;
    }

    if (ngx_push_mqtt_read_last_props(c, type, &props, err)
        != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    out->reason_string = props.reason_string;
    out->user = props.user;

    return NGX_PUSH_MQTT_OK;
}


int
ngx_push_mqtt_parse_ack(int version, unsigned type, const uint8_t *body,
    uint32_t n, ngx_push_mqtt_ack_t *out, ngx_push_mqtt_error_t *err)
{
    ngx_push_mqtt_cursor_t  c;

    memset(out, 0, sizeof(ngx_push_mqtt_ack_t));

    c.pos = body;
    c.end = body + n;

    if (ngx_push_mqtt_read_packet_id(&c, &out->packet_id, err)
        != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    if (n == 2) {
        return NGX_PUSH_MQTT_OK;
    }

    if (version == NGX_PUSH_MQTT_V311) {
        return ngx_push_mqtt_malformed(err, "acknowledgement has octets left "
                                            "over");
    }

    return ngx_push_mqtt_parse_ack_tail(&c, type, out, err);
}


/* the filter at "it", which is moved behind it and its options */

static int
ngx_push_mqtt_read_filter(ngx_push_mqtt_filters_t *it,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_filter_t *f,
    ngx_push_mqtt_error_t *err)
{
    uint8_t              options, reserved;
    ngx_push_mqtt_str_t  s;

    if (ngx_push_mqtt_read_string(&it->pos, &s) != NGX_PUSH_MQTT_OK) {
        return ngx_push_mqtt_malformed(err, "topic filter is cut or not "
                                            "UTF-8");
    }

    if (s.len > limits->max_topic) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_TOPIC_FILTER_INVALID,
                                  "topic filter is too long");
    }

    if (!ngx_push_mqtt_topic_filter_ok(s.data, s.len, it->version, f)) {
        return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_TOPIC_FILTER_INVALID,
                                  "topic filter is not well-formed");
    }

    options = 0;

    if (it->options
        && ngx_push_mqtt_read_u8(&it->pos, &options) != NGX_PUSH_MQTT_OK)
    {
        return ngx_push_mqtt_malformed(err, "SUBSCRIBE ends before the "
                                            "options of a filter");
    }

    f->qos = options & 0x03;
    f->no_local = (options >> 2) & 0x01;
    f->retain_as_published = (options >> 3) & 0x01;
    f->retain_handling = (options >> 4) & 0x03;

    reserved = (it->version == NGX_PUSH_MQTT_V5) ? 0xc0 : 0xfc;

    if (options & reserved) {
        return ngx_push_mqtt_malformed(err, "reserved subscription options "
                                            "are set");
    }

    if (f->qos == 3) {
        return ngx_push_mqtt_malformed(err, "QoS 3 in subscription options");
    }

    if (f->retain_handling == 3) {
        return ngx_push_mqtt_protocol(err, "retain handling 3");
    }

    if (f->no_local && f->share.data) {
        return ngx_push_mqtt_protocol(err, "no local on a shared "
                                           "subscription");
    }

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_check_filters(const ngx_push_mqtt_limits_t *limits,
    ngx_push_mqtt_subscribe_t *out, ngx_push_mqtt_error_t *err)
{
    ngx_push_mqtt_filter_t   f;
    ngx_push_mqtt_filters_t  it;

    it = out->filters;

    if (it.pos.pos == it.pos.end) {
        return ngx_push_mqtt_protocol(err, "no topic filter");
    }

    while (it.pos.pos < it.pos.end) {

        if (ngx_push_mqtt_read_filter(&it, limits, &f, err)
            != NGX_PUSH_MQTT_OK)
        {
            return NGX_PUSH_MQTT_ERROR;
        }

        if (out->count == limits->max_filters) {
            return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED,
                                      "too many topic filters");
        }

        out->count++;
    }

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_parse_filters(int version, unsigned type, const uint8_t *body,
    uint32_t n, const ngx_push_mqtt_limits_t *limits,
    ngx_push_mqtt_subscribe_t *out, ngx_push_mqtt_error_t *err)
{
    ngx_push_mqtt_cursor_t  c;

    memset(out, 0, sizeof(ngx_push_mqtt_subscribe_t));

    c.pos = body;
    c.end = body + n;

    if (ngx_push_mqtt_read_packet_id(&c, &out->packet_id, err)
        != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    if (version == NGX_PUSH_MQTT_V5
        && ngx_push_mqtt_read_props(&c, type, &out->props, err)
           != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    out->filters.pos = c;
    out->filters.version = (uint8_t) version;
    out->filters.options = (type == NGX_PUSH_MQTT_SUBSCRIBE);

    return ngx_push_mqtt_check_filters(limits, out, err);
}


int
ngx_push_mqtt_parse_subscribe(int version, const uint8_t *body, uint32_t n,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_subscribe_t *out,
    ngx_push_mqtt_error_t *err)
{
    return ngx_push_mqtt_parse_filters(version, NGX_PUSH_MQTT_SUBSCRIBE, body,
                                       n, limits, out, err);
}


int
ngx_push_mqtt_parse_unsubscribe(int version, const uint8_t *body, uint32_t n,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_subscribe_t *out,
    ngx_push_mqtt_error_t *err)
{
    return ngx_push_mqtt_parse_filters(version, NGX_PUSH_MQTT_UNSUBSCRIBE,
                                       body, n, limits, out, err);
}


int
ngx_push_mqtt_next_filter(ngx_push_mqtt_filters_t *it,
    ngx_push_mqtt_filter_t *f)
{
    ngx_push_mqtt_error_t                err;
    static const ngx_push_mqtt_limits_t  limits = NGX_PUSH_MQTT_LIMITS_MAX;

    if (it->pos.pos == it->pos.end
        || ngx_push_mqtt_read_filter(it, &limits, f, &err)
           != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_DONE;
    }

    return NGX_PUSH_MQTT_OK;
}


int
ngx_push_mqtt_parse_pingreq(uint32_t n, ngx_push_mqtt_error_t *err)
{
    if (n) {
        return ngx_push_mqtt_malformed(err, "PINGREQ with a body");
    }

    return NGX_PUSH_MQTT_OK;
}


static int
ngx_push_mqtt_disconnect_reason_ok(uint8_t reason)
{
    switch (reason) {

    case NGX_PUSH_MQTT_RC_NORMAL_DISCONNECTION:
    case NGX_PUSH_MQTT_RC_DISCONNECT_WITH_WILL:
    case NGX_PUSH_MQTT_RC_UNSPECIFIED_ERROR:
    case NGX_PUSH_MQTT_RC_MALFORMED_PACKET:
    case NGX_PUSH_MQTT_RC_PROTOCOL_ERROR:
    case NGX_PUSH_MQTT_RC_IMPLEMENTATION_SPECIFIC:
    case NGX_PUSH_MQTT_RC_TOPIC_NAME_INVALID:
    case NGX_PUSH_MQTT_RC_RECEIVE_MAXIMUM_EXCEEDED:
    case NGX_PUSH_MQTT_RC_TOPIC_ALIAS_INVALID:
    case NGX_PUSH_MQTT_RC_PACKET_TOO_LARGE:
    case NGX_PUSH_MQTT_RC_MESSAGE_RATE_TOO_HIGH:
    case NGX_PUSH_MQTT_RC_QUOTA_EXCEEDED:
    case NGX_PUSH_MQTT_RC_ADMINISTRATIVE_ACTION:
    case NGX_PUSH_MQTT_RC_PAYLOAD_FORMAT_INVALID:
        return 1;

    default:
        return 0;
    }
}


int
ngx_push_mqtt_parse_disconnect(int version, const uint8_t *body, uint32_t n,
    ngx_push_mqtt_reason_t *out, ngx_push_mqtt_error_t *err)
{
    ngx_push_mqtt_cursor_t  c;

    memset(out, 0, sizeof(ngx_push_mqtt_reason_t));

    if (n == 0) {
        return NGX_PUSH_MQTT_OK;
    }

    if (version == NGX_PUSH_MQTT_V311) {
        return ngx_push_mqtt_malformed(err, "DISCONNECT with a body");
    }

    out->reason = body[0];

    if (!ngx_push_mqtt_disconnect_reason_ok(out->reason)) {
        return ngx_push_mqtt_protocol(err, "a client may not disconnect with "
                                           "this reason code");
    }

    if (n == 1) {
        return NGX_PUSH_MQTT_OK;
    }

    c.pos = body + 1;
    c.end = body + n;

    return ngx_push_mqtt_read_last_props(&c, NGX_PUSH_MQTT_DISCONNECT,
                                         &out->props, err);
}


int
ngx_push_mqtt_parse_auth(int version, const uint8_t *body, uint32_t n,
    ngx_push_mqtt_reason_t *out, ngx_push_mqtt_error_t *err)
{
    ngx_push_mqtt_cursor_t  c;

    memset(out, 0, sizeof(ngx_push_mqtt_reason_t));

    if (version == NGX_PUSH_MQTT_V311) {
        return ngx_push_mqtt_protocol(err, "3.1.1 has no AUTH packet");
    }

    if (n) {
        out->reason = body[0];
    }

    if (out->reason != NGX_PUSH_MQTT_RC_CONTINUE_AUTHENTICATION
        && out->reason != NGX_PUSH_MQTT_RC_REAUTHENTICATE)
    {
        return ngx_push_mqtt_protocol(err, "a client may not authenticate "
                                           "with this reason code");
    }

    c.pos = body + 1;
    c.end = body + n;

    if (ngx_push_mqtt_read_last_props(&c, NGX_PUSH_MQTT_AUTH, &out->props,
                                      err)
        != NGX_PUSH_MQTT_OK)
    {
        return NGX_PUSH_MQTT_ERROR;
    }

    if (!ngx_push_mqtt_has(&out->props, NGX_PUSH_MQTT_PROP_AUTH_METHOD)) {
        return ngx_push_mqtt_protocol(err, "AUTH without a method");
    }

    return NGX_PUSH_MQTT_OK;
}
