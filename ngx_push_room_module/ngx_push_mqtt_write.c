
/*
 * Writing what a server sends.  Every function knows the length of its packet
 * before it writes the first octet.
 */


#include "ngx_push_mqtt_util.h"


static size_t
ngx_push_mqtt_min(size_t a, size_t b)
{
    return a < b ? a : b;
}


/* whether a packet with this Remaining Length is one, and not above max */

static int
ngx_push_mqtt_fits(size_t remaining, size_t max)
{
    return remaining <= NGX_PUSH_MQTT_VARINT_MAX
           && 1 + ngx_push_mqtt_varint_size((uint32_t) remaining) + remaining
              <= max;
}


static uint8_t *
ngx_push_mqtt_put_header(uint8_t *p, unsigned type, unsigned flags,
    size_t remaining)
{
    p = ngx_push_mqtt_put_u8(p, type << 4 | flags);

    return ngx_push_mqtt_put_varint(p, (uint32_t) remaining);
}


/*
 * The end of most packets of MQTT 5: properties, of which those may be left
 * out that would make the packet too long.  props is a copy of the caller's.
 */

typedef struct {
    ngx_push_mqtt_props_t      props;
    size_t                     size;
    size_t                     remaining;
} ngx_push_mqtt_tail_t;


/*
 * Chooses the properties of a packet of at most max octets that has "fixed"
 * octets besides its fixed header and its properties; 0 if there is no way.
 */

static int
ngx_push_mqtt_fit_tail(ngx_push_mqtt_tail_t *t, unsigned packet, size_t fixed,
    size_t max)
{
    size_t    i, n;

    static const uint8_t  optional[] = {
        0, NGX_PUSH_MQTT_PROP_USER, NGX_PUSH_MQTT_PROP_REASON_STRING
    };

    for (i = 0; i < sizeof(optional); i++) {

        t->props.present &= ~((uint64_t) 1 << optional[i]);
        t->size = ngx_push_mqtt_props_size(packet, &t->props);

        if (t->size > NGX_PUSH_MQTT_VARINT_MAX) {
            continue;
        }

        n = ngx_push_mqtt_varint_size((uint32_t) t->size) + t->size;

        if (ngx_push_mqtt_fits(fixed + n, max)) {
            t->remaining = fixed + n;
            return 1;
        }
    }

    return 0;
}


static void
ngx_push_mqtt_init_tail(ngx_push_mqtt_tail_t *t,
    const ngx_push_mqtt_props_t *props,
    const ngx_push_mqtt_str_t *reason_string)
{
    if (props) {
        t->props = *props;

    } else {
        t->props.present = 0;
    }

    if (reason_string) {
        t->props.reason_string = *reason_string;
        ngx_push_mqtt_set(&t->props, NGX_PUSH_MQTT_PROP_REASON_STRING);
    }
}


static uint8_t *
ngx_push_mqtt_put_tail(uint8_t *p, unsigned packet,
    const ngx_push_mqtt_tail_t *t)
{
    p = ngx_push_mqtt_put_varint(p, (uint32_t) t->size);

    return ngx_push_mqtt_write_props(p, packet, &t->props);
}


size_t
ngx_push_mqtt_write_connack(uint8_t *buf, size_t cap, uint32_t limit,
    int version, unsigned session_present, unsigned reason,
    const ngx_push_mqtt_props_t *props)
{
    int                    code;
    size_t                 max;
    uint8_t               *p;
    ngx_push_mqtt_tail_t   tail;

    max = ngx_push_mqtt_min(cap, limit);
    code = (int) reason;
    tail.remaining = 2;

    if (version == NGX_PUSH_MQTT_V311) {
        code = ngx_push_mqtt_connack_code(reason);

        if (code < 0 || !ngx_push_mqtt_fits(2, max)) {
            return 0;
        }

    } else {
        ngx_push_mqtt_init_tail(&tail, props, NULL);

        if (!ngx_push_mqtt_fit_tail(&tail, NGX_PUSH_MQTT_CONNACK, 2, max)) {
            return 0;
        }
    }

    p = ngx_push_mqtt_put_header(buf, NGX_PUSH_MQTT_CONNACK, 0,
                                 tail.remaining);
    p = ngx_push_mqtt_put_u8(p, code == 0 && session_present);
    p = ngx_push_mqtt_put_u8(p, code);

    if (version == NGX_PUSH_MQTT_V5) {
        p = ngx_push_mqtt_put_tail(p, NGX_PUSH_MQTT_CONNACK, &tail);
    }

    return p - buf;
}


/* the length of the properties of a message; "id" counts apart */

static size_t
ngx_push_mqtt_message_size(const ngx_push_mqtt_message_t *m)
{
    size_t  n;

    n = (size_t) m->user.len
        + (m->payload_format ? 2 : 0)
        + (m->has_expiry ? 5 : 0)
        + (m->topic_alias ? 3 : 0);

    if (m->content_type.len) {
        n += (size_t) 3 + m->content_type.len;
    }

    if (m->response_topic.len) {
        n += (size_t) 3 + m->response_topic.len;
    }

    if (m->correlation_data.len) {
        n += (size_t) 3 + m->correlation_data.len;
    }

    if (m->subscription_id) {
        n += 1 + ngx_push_mqtt_varint_size(m->subscription_id);
    }

    return n;
}


static uint8_t *
ngx_push_mqtt_put_prop(uint8_t *p, unsigned id, const ngx_push_mqtt_str_t *s)
{
    if (s->len == 0) {
        return p;
    }

    return ngx_push_mqtt_put_str(ngx_push_mqtt_put_u8(p, id), s);
}


/* expiry becomes the place of the Message Expiry Interval if there is one */

static uint8_t *
ngx_push_mqtt_put_message(uint8_t *p, const ngx_push_mqtt_message_t *m,
    uint8_t **expiry)
{
    if (m->payload_format) {
        p = ngx_push_mqtt_put_u8(p, NGX_PUSH_MQTT_PROP_PAYLOAD_FORMAT);
        p = ngx_push_mqtt_put_u8(p, 1);
    }

    if (m->has_expiry) {
        p = ngx_push_mqtt_put_u8(p, NGX_PUSH_MQTT_PROP_MESSAGE_EXPIRY);
        *expiry = p;
        p = ngx_push_mqtt_put_u32(p, m->message_expiry);
    }

    p = ngx_push_mqtt_put_prop(p, NGX_PUSH_MQTT_PROP_CONTENT_TYPE,
                               &m->content_type);
    p = ngx_push_mqtt_put_prop(p, NGX_PUSH_MQTT_PROP_RESPONSE_TOPIC,
                               &m->response_topic);
    p = ngx_push_mqtt_put_prop(p, NGX_PUSH_MQTT_PROP_CORRELATION_DATA,
                               &m->correlation_data);

    if (m->subscription_id) {
        p = ngx_push_mqtt_put_u8(p, NGX_PUSH_MQTT_PROP_SUBSCRIPTION_ID);
        p = ngx_push_mqtt_put_varint(p, m->subscription_id);
    }

    if (m->topic_alias) {
        p = ngx_push_mqtt_put_u8(p, NGX_PUSH_MQTT_PROP_TOPIC_ALIAS);
        p = ngx_push_mqtt_put_u16(p, m->topic_alias);
    }

    return p;
}


static int
ngx_push_mqtt_message_ok(const ngx_push_mqtt_message_t *m)
{
    return m->topic.len <= NGX_PUSH_MQTT_STR_MAX
           && m->content_type.len <= NGX_PUSH_MQTT_STR_MAX
           && m->response_topic.len <= NGX_PUSH_MQTT_STR_MAX
           && m->correlation_data.len <= NGX_PUSH_MQTT_STR_MAX
           && m->id.len <= NGX_PUSH_MQTT_STR_MAX
           && m->user.len <= NGX_PUSH_MQTT_VARINT_MAX
           && m->subscription_id <= NGX_PUSH_MQTT_VARINT_MAX
           && m->payload_len <= NGX_PUSH_MQTT_VARINT_MAX
           && m->qos <= 2;
}


size_t
ngx_push_mqtt_write_publish(uint8_t *buf, size_t cap, uint32_t limit,
    int version, const ngx_push_mqtt_message_t *m,
    ngx_push_mqtt_patch_t *patch)
{
    size_t    fixed, props, id, remaining;
    uint8_t  *p, *expiry;

    static const ngx_push_mqtt_str_t  name = { (const uint8_t *) "id", 2 };

    if (!ngx_push_mqtt_message_ok(m)) {
        return 0;
    }

    fixed = 2 + (size_t) m->topic.len + (m->qos ? 2 : 0);
    remaining = fixed + m->payload_len;
    props = 0;
    id = 0;

    if (version == NGX_PUSH_MQTT_V5) {
        id = m->id.len ? (size_t) 7 + m->id.len : 0;
        props = ngx_push_mqtt_message_size(m) + id;
        remaining += ngx_push_mqtt_varint_size((uint32_t) props) + props;

        if (id && !ngx_push_mqtt_fits(remaining, limit)) {
            props -= id;
            id = 0;
            remaining = fixed + m->payload_len + props
                        + ngx_push_mqtt_varint_size((uint32_t) props);
        }
    }

    if (!ngx_push_mqtt_fits(remaining, limit)
        || !ngx_push_mqtt_fits(remaining, cap + m->payload_len))
    {
        return 0;
    }

    p = ngx_push_mqtt_put_header(buf, NGX_PUSH_MQTT_PUBLISH,
                                 (m->dup ? 8 : 0) | m->qos << 1
                                 | (m->retain ? 1 : 0), remaining);
    p = ngx_push_mqtt_put_str(p, &m->topic);

    expiry = buf;
    patch->packet_id = 0;

    if (m->qos) {
        patch->packet_id = (uint32_t) (p - buf);
        p = ngx_push_mqtt_put_u16(p, m->packet_id);
    }

    if (version == NGX_PUSH_MQTT_V5) {
        p = ngx_push_mqtt_put_varint(p, (uint32_t) props);
        p = ngx_push_mqtt_put_message(p, m, &expiry);

        if (id) {
            p += ngx_push_mqtt_write_user(p, id, &name, &m->id);
        }

        p = ngx_push_mqtt_put_raw(p, &m->user);
    }

    patch->expiry = (uint32_t) (expiry - buf);

    return p - buf;
}


size_t
ngx_push_mqtt_write_ack(uint8_t *buf, size_t cap, uint32_t limit, int version,
    unsigned type, uint16_t packet_id, unsigned reason,
    const ngx_push_mqtt_str_t *reason_string)
{
    size_t                 max;
    uint8_t               *p;
    unsigned               flags;
    ngx_push_mqtt_tail_t   tail;

    max = ngx_push_mqtt_min(cap, limit);
    flags = (type == NGX_PUSH_MQTT_PUBREL) ? 2 : 0;

    tail.size = 0;
    tail.remaining = 2;

    if (version == NGX_PUSH_MQTT_V5 && (reason || reason_string)) {

        if (reason_string) {
            ngx_push_mqtt_init_tail(&tail, NULL, reason_string);

            if (!ngx_push_mqtt_fit_tail(&tail, type, 3, max)) {
                tail.size = 0;
            }
        }

        if (tail.size == 0) {
            tail.remaining = reason ? 3 : 2;
        }
    }

    if (!ngx_push_mqtt_fits(tail.remaining, max)) {
        return 0;
    }

    p = ngx_push_mqtt_put_header(buf, type, flags, tail.remaining);
    p = ngx_push_mqtt_put_u16(p, packet_id);

    if (tail.remaining > 2) {
        p = ngx_push_mqtt_put_u8(p, reason);
    }

    if (tail.size) {
        p = ngx_push_mqtt_put_tail(p, type, &tail);
    }

    return p - buf;
}


size_t
ngx_push_mqtt_write_suback(uint8_t *buf, size_t cap, uint32_t limit,
    int version, uint16_t packet_id, const uint8_t *codes, uint32_t n,
    const ngx_push_mqtt_str_t *reason_string)
{
    size_t                 max;
    uint8_t               *p;
    uint32_t               i;
    ngx_push_mqtt_tail_t   tail;

    max = ngx_push_mqtt_min(cap, limit);
    tail.remaining = (size_t) 2 + n;

    if (version == NGX_PUSH_MQTT_V5) {
        ngx_push_mqtt_init_tail(&tail, NULL, reason_string);

        if (!ngx_push_mqtt_fit_tail(&tail, NGX_PUSH_MQTT_SUBACK,
                                    tail.remaining, max))
        {
            return 0;
        }

    } else if (!ngx_push_mqtt_fits(tail.remaining, max)) {
        return 0;
    }

    p = ngx_push_mqtt_put_header(buf, NGX_PUSH_MQTT_SUBACK, 0,
                                 tail.remaining);
    p = ngx_push_mqtt_put_u16(p, packet_id);

    if (version == NGX_PUSH_MQTT_V5) {
        p = ngx_push_mqtt_put_tail(p, NGX_PUSH_MQTT_SUBACK, &tail);
        memcpy(p, codes, n);

        return p + n - buf;
    }

    for (i = 0; i < n; i++) {
        p = ngx_push_mqtt_put_u8(p, codes[i] < 0x80 ? codes[i] : 0x80);
    }

    return p - buf;
}


size_t
ngx_push_mqtt_write_unsuback(uint8_t *buf, size_t cap, uint32_t limit,
    int version, uint16_t packet_id, const uint8_t *codes, uint32_t n,
    const ngx_push_mqtt_str_t *reason_string)
{
    size_t                 max;
    uint8_t               *p;
    ngx_push_mqtt_tail_t   tail;

    if (version == NGX_PUSH_MQTT_V311) {
        return ngx_push_mqtt_write_ack(buf, cap, limit, version,
                                       NGX_PUSH_MQTT_UNSUBACK, packet_id, 0,
                                       NULL);
    }

    max = ngx_push_mqtt_min(cap, limit);
    ngx_push_mqtt_init_tail(&tail, NULL, reason_string);

    if (!ngx_push_mqtt_fit_tail(&tail, NGX_PUSH_MQTT_UNSUBACK,
                                (size_t) 2 + n, max))
    {
        return 0;
    }

    p = ngx_push_mqtt_put_header(buf, NGX_PUSH_MQTT_UNSUBACK, 0,
                                 tail.remaining);
    p = ngx_push_mqtt_put_u16(p, packet_id);
    p = ngx_push_mqtt_put_tail(p, NGX_PUSH_MQTT_UNSUBACK, &tail);
    memcpy(p, codes, n);

    return p + n - buf;
}


size_t
ngx_push_mqtt_write_pingresp(uint8_t *buf, size_t cap)
{
    if (cap < NGX_PUSH_MQTT_PINGRESP_MAX) {
        return 0;
    }

    return ngx_push_mqtt_put_header(buf, NGX_PUSH_MQTT_PINGRESP, 0, 0) - buf;
}


/* DISCONNECT and AUTH: success without properties is a packet without body */

static size_t
ngx_push_mqtt_write_reason(uint8_t *buf, size_t cap, uint32_t limit,
    unsigned type, unsigned reason, const ngx_push_mqtt_props_t *props)
{
    size_t                 max;
    uint8_t               *p;
    ngx_push_mqtt_tail_t   tail;

    max = ngx_push_mqtt_min(cap, limit);
    ngx_push_mqtt_init_tail(&tail, props, NULL);

    if (!ngx_push_mqtt_fit_tail(&tail, type, 1, max)) {

        /* a Property Length of 0 is left out of DISCONNECT */

        if (type != NGX_PUSH_MQTT_DISCONNECT || tail.size
            || !ngx_push_mqtt_fits(reason ? 1 : 0, max))
        {
            return 0;
        }
    }

    if (tail.size == 0 && reason == 0) {
        return ngx_push_mqtt_put_header(buf, type, 0, 0) - buf;
    }

    if (tail.size == 0 && type == NGX_PUSH_MQTT_DISCONNECT) {
        p = ngx_push_mqtt_put_header(buf, type, 0, 1);
        return ngx_push_mqtt_put_u8(p, reason) - buf;
    }

    p = ngx_push_mqtt_put_header(buf, type, 0, tail.remaining);
    p = ngx_push_mqtt_put_u8(p, reason);
    p = ngx_push_mqtt_put_tail(p, type, &tail);

    return p - buf;
}


size_t
ngx_push_mqtt_write_disconnect(uint8_t *buf, size_t cap, uint32_t limit,
    int version, unsigned reason, const ngx_push_mqtt_props_t *props)
{
    if (version == NGX_PUSH_MQTT_V311) {
        return 0;
    }

    return ngx_push_mqtt_write_reason(buf, cap, limit,
                                      NGX_PUSH_MQTT_DISCONNECT, reason,
                                      props);
}


size_t
ngx_push_mqtt_write_auth(uint8_t *buf, size_t cap, uint32_t limit,
    unsigned reason, const ngx_push_mqtt_props_t *props)
{
    return ngx_push_mqtt_write_reason(buf, cap, limit, NGX_PUSH_MQTT_AUTH,
                                      reason, props);
}
