
/*
 * Parsing any packet and printing what was found, as " key=value" words.
 */


#include "mqtt_table.h"

#include <string.h>


static void
mqtt_dump_str(FILE *out, const char *prefix, const char *name,
    const ngx_push_mqtt_str_t *s)
{
    uint32_t  i;

    fprintf(out, " %s%s=", prefix, name);

    if (s->data == NULL) {
        fputc('-', out);
        return;
    }

    for (i = 0; i < s->len; i++) {
        if (s->data[i] <= ' ' || s->data[i] > '~') {
            break;
        }
    }

    if (i == s->len) {
        fwrite(s->data, 1, s->len, out);
        return;
    }

    fputs("hex:", out);

    for (i = 0; i < s->len; i++) {
        fprintf(out, "%02x", s->data[i]);
    }
}


static void
mqtt_dump_user(FILE *out, const char *prefix, ngx_push_mqtt_str_t user)
{
    unsigned             n;
    ngx_push_mqtt_str_t  name, value;

    for (n = 0;
         ngx_push_mqtt_next_user(&user, &name, &value) == NGX_PUSH_MQTT_OK;
         n++)
    {
        fprintf(out, " %suser.%.*s=%.*s", prefix, (int) name.len,
                (const char *) name.data, (int) value.len,
                (const char *) value.data);
    }

    fprintf(out, " %suser_count=%u", prefix, n);
}


static void
mqtt_dump_props(FILE *out, const char *prefix, const ngx_push_mqtt_props_t *p)
{
    unsigned  id;

#define NUMBER(name)                                                          \
    fprintf(out, " %s" #name "=%u", prefix, (unsigned) p->name)

#define STRING(name)                                                          \
    mqtt_dump_str(out, prefix, #name, &p->name)

    for (id = 0; id < 64; id++) {
        if (ngx_push_mqtt_has(p, id)) {
            fprintf(out, " %shas.%u=1", prefix, id);
        }
    }

    NUMBER(message_expiry);
    NUMBER(subscription_id);
    NUMBER(session_expiry);
    NUMBER(will_delay);
    NUMBER(maximum_packet_size);
    NUMBER(server_keep_alive);
    NUMBER(receive_maximum);
    NUMBER(topic_alias_maximum);
    NUMBER(topic_alias);
    NUMBER(payload_format);
    NUMBER(request_problem_info);
    NUMBER(request_response_info);
    STRING(content_type);
    STRING(response_topic);
    STRING(correlation_data);
    STRING(auth_method);
    STRING(auth_data);
    STRING(server_reference);
    STRING(reason_string);

    mqtt_dump_user(out, prefix, p->user);
}


static void
mqtt_dump_connect(FILE *out, const ngx_push_mqtt_connect_t *c)
{
    fprintf(out, " version=%u clean=%u keepalive=%u will_qos=%u"
            " will_retain=%u", c->version, c->clean_start, c->keepalive,
            c->will_qos, c->will_retain);

    mqtt_dump_str(out, "", "client_id", &c->client_id);
    mqtt_dump_str(out, "", "will_topic", &c->will_topic);
    mqtt_dump_str(out, "", "will_payload", &c->will_payload);
    mqtt_dump_str(out, "", "user_name", &c->user_name);
    mqtt_dump_str(out, "", "password", &c->password);
    mqtt_dump_props(out, "", &c->props);
    mqtt_dump_props(out, "will.", &c->will_props);
}


static void
mqtt_dump_publish(FILE *out, const ngx_push_mqtt_publish_t *p)
{
    fprintf(out, " qos=%u dup=%u retain=%u packet_id=%u payload_len=%u",
            p->qos, p->dup, p->retain, p->packet_id, p->payload.len);

    mqtt_dump_str(out, "", "topic", &p->topic);
    mqtt_dump_str(out, "", "payload", &p->payload);
    mqtt_dump_props(out, "", &p->props);
}


static void
mqtt_dump_ack(FILE *out, const ngx_push_mqtt_ack_t *a)
{
    fprintf(out, " packet_id=%u reason=%u", a->packet_id, a->reason);

    mqtt_dump_str(out, "", "reason_string", &a->reason_string);
    mqtt_dump_user(out, "", a->user);
}


static void
mqtt_dump_subscribe(FILE *out, const ngx_push_mqtt_subscribe_t *s)
{
    uint32_t                 n;
    ngx_push_mqtt_filter_t   f;
    ngx_push_mqtt_filters_t  it;

    it = s->filters;

    for (n = 0; ngx_push_mqtt_next_filter(&it, &f) == NGX_PUSH_MQTT_OK; n++) {
        mqtt_dump_str(out, "", "filter", &f.filter);
        mqtt_dump_str(out, "", "share", &f.share);
        mqtt_dump_str(out, "", "topic", &f.topic);
        fprintf(out, " wildcard=%u qos=%u no_local=%u retain_as_published=%u"
                " retain_handling=%u", f.wildcard, f.qos, f.no_local,
                f.retain_as_published, f.retain_handling);
    }

    fprintf(out, " packet_id=%u count=%u", s->packet_id, s->count);
    mqtt_dump_props(out, "", &s->props);

    if (n != s->count) {
        fprintf(out, " iterated=%u", n);
    }
}


typedef union {
    ngx_push_mqtt_connect_t    connect;
    ngx_push_mqtt_publish_t    publish;
    ngx_push_mqtt_ack_t        ack;
    ngx_push_mqtt_subscribe_t  subscribe;
    ngx_push_mqtt_reason_t     reason;
} mqtt_any_t;


static int
mqtt_parse_type(int version, const ngx_push_mqtt_frame_t *f,
    const uint8_t *body, uint32_t n, const ngx_push_mqtt_limits_t *limits,
    mqtt_any_t *any, ngx_push_mqtt_error_t *err)
{
    switch (f->type) {

    case NGX_PUSH_MQTT_CONNECT:
        return ngx_push_mqtt_parse_connect(body, n, limits, &any->connect,
                                           err);

    case NGX_PUSH_MQTT_PUBLISH:
        return ngx_push_mqtt_parse_publish(version, f->flags, body, n, limits,
                                           &any->publish, err);

    case NGX_PUSH_MQTT_PUBACK:
    case NGX_PUSH_MQTT_PUBREC:
    case NGX_PUSH_MQTT_PUBREL:
    case NGX_PUSH_MQTT_PUBCOMP:
        return ngx_push_mqtt_parse_ack(version, f->type, body, n, &any->ack,
                                       err);

    case NGX_PUSH_MQTT_SUBSCRIBE:
        return ngx_push_mqtt_parse_subscribe(version, body, n, limits,
                                             &any->subscribe, err);

    case NGX_PUSH_MQTT_UNSUBSCRIBE:
        return ngx_push_mqtt_parse_unsubscribe(version, body, n, limits,
                                               &any->subscribe, err);

    case NGX_PUSH_MQTT_PINGREQ:
        return ngx_push_mqtt_parse_pingreq(n, err);

    case NGX_PUSH_MQTT_DISCONNECT:
        return ngx_push_mqtt_parse_disconnect(version, body, n, &any->reason,
                                              err);

    default: /* NGX_PUSH_MQTT_AUTH */
        return ngx_push_mqtt_parse_auth(version, body, n, &any->reason, err);
    }
}


int
mqtt_parse_any(int version, const ngx_push_mqtt_frame_t *f,
    const uint8_t *body, uint32_t n, const ngx_push_mqtt_limits_t *limits,
    FILE *out, ngx_push_mqtt_error_t *err)
{
    int         rc;
    mqtt_any_t  any;

    rc = mqtt_parse_type(version, f, body, n, limits, &any, err);

    if (out == NULL) {
        return rc;
    }

    fprintf(out, " type=%s", ngx_push_mqtt_type_name(f->type));

    if (rc != NGX_PUSH_MQTT_OK) {

        if (f->type == NGX_PUSH_MQTT_CONNECT) {
            fprintf(out, " version=%u", any.connect.version);
        }

        return rc;
    }

    switch (f->type) {

    case NGX_PUSH_MQTT_CONNECT:
        mqtt_dump_connect(out, &any.connect);
        break;

    case NGX_PUSH_MQTT_PUBLISH:
        mqtt_dump_publish(out, &any.publish);
        break;

    case NGX_PUSH_MQTT_PUBACK:
    case NGX_PUSH_MQTT_PUBREC:
    case NGX_PUSH_MQTT_PUBREL:
    case NGX_PUSH_MQTT_PUBCOMP:
        mqtt_dump_ack(out, &any.ack);
        break;

    case NGX_PUSH_MQTT_SUBSCRIBE:
    case NGX_PUSH_MQTT_UNSUBSCRIBE:
        mqtt_dump_subscribe(out, &any.subscribe);
        break;

    case NGX_PUSH_MQTT_DISCONNECT:
    case NGX_PUSH_MQTT_AUTH:
        fprintf(out, " reason=%u", any.reason.reason);
        mqtt_dump_props(out, "", &any.reason.props);
        break;
    }

    fputc(' ', out);

    return rc;
}


/*
 * By the layout of the packets: PUBLISH may end anywhere in its payload, the
 * acknowledgements and DISCONNECT before what is optional, SUBSCRIBE and
 * UNSUBSCRIBE after any of their filters but the last.
 */

int
mqtt_cut_is_whole(int version, const ngx_push_mqtt_frame_t *f,
    const uint8_t *body, uint32_t k, const ngx_push_mqtt_limits_t *limits)
{
    mqtt_any_t               any;
    ngx_push_mqtt_error_t    err;
    ngx_push_mqtt_filter_t   filter;
    ngx_push_mqtt_filters_t  it;

    if (mqtt_parse_type(version, f, body, f->remaining, limits, &any, &err)
        != NGX_PUSH_MQTT_OK)
    {
        return 0;
    }

    switch (f->type) {

    case NGX_PUSH_MQTT_PUBLISH:
        return body + k >= any.publish.payload.data;

    case NGX_PUSH_MQTT_PUBACK:
    case NGX_PUSH_MQTT_PUBREC:
    case NGX_PUSH_MQTT_PUBREL:
    case NGX_PUSH_MQTT_PUBCOMP:
        return version == NGX_PUSH_MQTT_V5 && (k == 2 || k == 3);

    case NGX_PUSH_MQTT_DISCONNECT:
        return version == NGX_PUSH_MQTT_V5 && k <= 1;

    case NGX_PUSH_MQTT_SUBSCRIBE:
    case NGX_PUSH_MQTT_UNSUBSCRIBE:
        it = any.subscribe.filters;

        while (ngx_push_mqtt_next_filter(&it, &filter) == NGX_PUSH_MQTT_OK) {
            if (it.pos.pos == body + k) {
                return 1;
            }
        }

        return 0;

    default:
        return 0;
    }
}
