/* link: ngx_push_mqtt_read.c ngx_push_mqtt_reason.c ngx_push_mqtt_props.c ngx_push_mqtt_props_read.c ngx_push_mqtt_connect.c ngx_push_mqtt_parse.c ngx_push_mqtt_write.c */

/*
 * libFuzzer entry for the MQTT codec.  The first octet of the input chooses
 * version and limits, the rest is a stream of packets, read as a server reads
 * them.  What was parsed is walked through, every slice is checked to lie in
 * the input, and messages are written again and must come back the same.
 */


#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_push_mqtt.h"


#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            abort();                                                          \
        }                                                                     \
    } while (0)


typedef struct {
    const uint8_t  *start;
    const uint8_t  *end;
} area_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_str(const area_t *a, const ngx_push_mqtt_str_t *s)
{
    if (s->data == NULL) {
        CHECK(s->len == 0);
        return;
    }

    CHECK(s->data >= a->start && s->data <= a->end);
    CHECK(s->len <= (size_t) (a->end - s->data));
}


static void
check_props(const area_t *a, const ngx_push_mqtt_props_t *p)
{
    size_t                n;
    uint8_t              *copy;
    uint32_t              count;
    ngx_push_mqtt_str_t   user, name, value;

    check_str(a, &p->content_type);
    check_str(a, &p->response_topic);
    check_str(a, &p->correlation_data);
    check_str(a, &p->assigned_client_id);
    check_str(a, &p->auth_method);
    check_str(a, &p->auth_data);
    check_str(a, &p->response_info);
    check_str(a, &p->server_reference);
    check_str(a, &p->reason_string);
    check_str(a, &p->user);

    user = p->user;

    for (count = 0;
         ngx_push_mqtt_next_user(&user, &name, &value) == NGX_PUSH_MQTT_OK;
         count++)
    {
        check_str(a, &name);
        check_str(a, &value);
    }

    CHECK(count == p->user_count);

    copy = malloc(p->user_size);
    n = ngx_push_mqtt_copy_user(copy, p);
    CHECK(n == p->user_size);
    free(copy);
}


static void
check_filters(const area_t *a, const ngx_push_mqtt_subscribe_t *s)
{
    uint32_t                 n;
    ngx_push_mqtt_filter_t   f;
    ngx_push_mqtt_filters_t  it;

    check_props(a, &s->props);

    it = s->filters;

    for (n = 0; ngx_push_mqtt_next_filter(&it, &f) == NGX_PUSH_MQTT_OK; n++) {
        check_str(a, &f.filter);
        check_str(a, &f.share);
        check_str(a, &f.topic);
        CHECK(f.topic.len > 0 && f.qos < 3);
    }

    CHECK(n == s->count && n > 0);
    CHECK(it.pos.pos == a->end);
}


/* writes a parsed message as the server would, and parses that */

static void
check_rewrite(int version, const ngx_push_mqtt_publish_t *p,
    const ngx_push_mqtt_limits_t *limits)
{
    int                      rc;
    size_t                   n, cap;
    uint8_t                 *buf, *user;
    ngx_push_mqtt_patch_t    patch;
    ngx_push_mqtt_frame_t    f;
    ngx_push_mqtt_error_t    err;
    ngx_push_mqtt_message_t  m;
    ngx_push_mqtt_publish_t  again;

    user = malloc(p->props.user_size);

    memset(&m, 0, sizeof(m));
    m.qos = p->qos;
    m.dup = p->dup;
    m.retain = p->retain;
    m.packet_id = p->packet_id;
    m.topic = p->topic;
    m.payload_len = p->payload.len;
    m.payload_format = p->props.payload_format;
    m.has_expiry = ngx_push_mqtt_has(&p->props,
                                     NGX_PUSH_MQTT_PROP_MESSAGE_EXPIRY);
    m.message_expiry = p->props.message_expiry;
    m.topic_alias = p->props.topic_alias;
    m.content_type = p->props.content_type;
    m.response_topic = p->props.response_topic;
    m.correlation_data = p->props.correlation_data;
    m.user.data = user;
    m.user.len = (uint32_t) ngx_push_mqtt_copy_user(user, &p->props);

    cap = NGX_PUSH_MQTT_PUBLISH_MAX + m.topic.len + m.content_type.len
          + m.response_topic.len + m.correlation_data.len + m.user.len;

    buf = malloc(cap + m.payload_len);
    n = ngx_push_mqtt_write_publish(buf, cap, UINT32_MAX, version, &m, &patch);
    CHECK(n > 0 && n <= cap);

    if (p->payload.len) {
        memcpy(buf + n, p->payload.data, p->payload.len);
    }

    rc = ngx_push_mqtt_read_frame(buf, n + m.payload_len, UINT32_MAX, version,
                                  &f, &err);
    CHECK(rc == NGX_PUSH_MQTT_OK);
    CHECK(f.header + f.remaining == n + m.payload_len);

    rc = ngx_push_mqtt_parse_publish(version, f.flags, buf + f.header,
                                     f.remaining, limits, &again, &err);
    CHECK(rc == NGX_PUSH_MQTT_OK);
    CHECK(again.packet_id == p->packet_id);
    CHECK(again.topic.len == p->topic.len);
    CHECK(again.payload.len == p->payload.len);
    CHECK(again.props.user_count == p->props.user_count);
    CHECK(again.props.message_expiry == p->props.message_expiry);
    CHECK(patch.packet_id == 0 || p->qos);

    free(buf);
    free(user);
}


/* returns what the parser returned */

static int
parse(int *version, const ngx_push_mqtt_frame_t *f, const area_t *a,
    const ngx_push_mqtt_limits_t *limits, ngx_push_mqtt_error_t *err)
{
    int                        rc;
    uint32_t                   n;
    ngx_push_mqtt_ack_t        ack;
    ngx_push_mqtt_reason_t     reason;
    ngx_push_mqtt_connect_t    connect;
    ngx_push_mqtt_publish_t    publish;
    ngx_push_mqtt_subscribe_t  subscribe;

    n = f->remaining;

    switch (f->type) {

    case NGX_PUSH_MQTT_CONNECT:
        rc = ngx_push_mqtt_parse_connect(a->start, n, limits, &connect, err);

        if (rc == NGX_PUSH_MQTT_OK) {
            check_str(a, &connect.client_id);
            check_str(a, &connect.will_topic);
            check_str(a, &connect.will_payload);
            check_str(a, &connect.user_name);
            check_str(a, &connect.password);
            check_props(a, &connect.props);
            check_props(a, &connect.will_props);
            *version = connect.version;
        }

        return rc;

    case NGX_PUSH_MQTT_PUBLISH:
        rc = ngx_push_mqtt_parse_publish(*version, f->flags, a->start, n,
                                         limits, &publish, err);

        if (rc == NGX_PUSH_MQTT_OK) {
            check_str(a, &publish.topic);
            check_str(a, &publish.payload);
            check_props(a, &publish.props);
            check_rewrite(*version, &publish, limits);
        }

        return rc;

    case NGX_PUSH_MQTT_SUBSCRIBE:
        rc = ngx_push_mqtt_parse_subscribe(*version, a->start, n, limits,
                                           &subscribe, err);
        break;

    case NGX_PUSH_MQTT_UNSUBSCRIBE:
        rc = ngx_push_mqtt_parse_unsubscribe(*version, a->start, n, limits,
                                             &subscribe, err);
        break;

    case NGX_PUSH_MQTT_PINGREQ:
        return ngx_push_mqtt_parse_pingreq(n, err);

    case NGX_PUSH_MQTT_DISCONNECT:
    case NGX_PUSH_MQTT_AUTH:
        rc = (f->type == NGX_PUSH_MQTT_AUTH ? ngx_push_mqtt_parse_auth
                                            : ngx_push_mqtt_parse_disconnect)
                 (*version, a->start, n, &reason, err);

        if (rc == NGX_PUSH_MQTT_OK) {
            check_props(a, &reason.props);
        }

        return rc;

    default:
        rc = ngx_push_mqtt_parse_ack(*version, f->type, a->start, n, &ack,
                                     err);

        if (rc == NGX_PUSH_MQTT_OK) {
            check_str(a, &ack.reason_string);
            check_str(a, &ack.user);
            CHECK(ack.packet_id);
        }

        return rc;
    }

    if (rc == NGX_PUSH_MQTT_OK) {
        check_filters(a, &subscribe);
    }

    return rc;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                     version, rc;
    area_t                  a;
    uint8_t                *body;
    uint32_t                max;
    ngx_push_mqtt_frame_t   f;
    ngx_push_mqtt_error_t   err;
    ngx_push_mqtt_limits_t  limits = NGX_PUSH_MQTT_LIMITS_MAX;

    if (size == 0) {
        return 0;
    }

    version = (data[0] & 1) ? NGX_PUSH_MQTT_V5 : NGX_PUSH_MQTT_V311;
    max = (data[0] & 2) ? 64 : NGX_PUSH_MQTT_PACKET_MAX;
    limits.topic_alias_max = (data[0] & 4) ? 65535 : 0;
    limits.max_qos = (data[0] & 8) ? 1 : 2;
    limits.retain = (data[0] & 16) ? 0 : 1;
    limits.max_filters = (data[0] & 32) ? 2 : 65535;

    data++;
    size--;

    for ( ;; ) {
        err.text = NULL;
        rc = ngx_push_mqtt_read_frame(data, size, max, version, &f, &err);

        if (rc != NGX_PUSH_MQTT_OK) {
            CHECK((rc == NGX_PUSH_MQTT_ERROR) == (err.text != NULL));
            return 0;
        }

        CHECK(f.header + f.remaining <= size);
        CHECK(f.header + f.remaining <= max);

        body = malloc(f.remaining);
        memcpy(body, data + f.header, f.remaining);
        a.start = body;
        a.end = body + f.remaining;

        rc = parse(&version, &f, &a, &limits, &err);

        CHECK(rc == NGX_PUSH_MQTT_OK || rc == NGX_PUSH_MQTT_ERROR);
        CHECK((rc == NGX_PUSH_MQTT_ERROR) == (err.text != NULL));
        CHECK(rc == NGX_PUSH_MQTT_OK || err.code >= 0x80);

        free(body);

        data += f.header + f.remaining;
        size -= f.header + f.remaining;
    }
}
