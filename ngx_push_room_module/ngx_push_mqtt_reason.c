
/*
 * Reason codes of MQTT 5: their names, and what 3.1.1 makes of them.
 */


#include "ngx_push_mqtt_util.h"


/* connack is the return code of 3.1.1, 0 if it has none for this reason */

typedef struct {
    uint8_t                    code;
    uint8_t                    connack;
    const char                *name;
} ngx_push_mqtt_reason_name_t;


#define NGX_PUSH_MQTT_CONNACK_VERSION        1
#define NGX_PUSH_MQTT_CONNACK_IDENTIFIER     2
#define NGX_PUSH_MQTT_CONNACK_UNAVAILABLE    3
#define NGX_PUSH_MQTT_CONNACK_CREDENTIALS    4
#define NGX_PUSH_MQTT_CONNACK_AUTHORIZATION  5


/* sorted by code */

static const ngx_push_mqtt_reason_name_t  ngx_push_mqtt_reasons[] = {
    { 0x00, 0, "success" },
    { 0x01, 0, "granted QoS 1" },
    { 0x02, 0, "granted QoS 2" },
    { 0x04, 0, "disconnect with will message" },
    { 0x10, 0, "no matching subscribers" },
    { 0x11, 0, "no subscription existed" },
    { 0x18, 0, "continue authentication" },
    { 0x19, 0, "re-authenticate" },
    { 0x80, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE, "unspecified error" },
    { 0x81, 0, "malformed packet" },
    { 0x82, 0, "protocol error" },
    { 0x83, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE,
      "implementation specific error" },
    { 0x84, NGX_PUSH_MQTT_CONNACK_VERSION, "unsupported protocol version" },
    { 0x85, NGX_PUSH_MQTT_CONNACK_IDENTIFIER, "client identifier not valid" },
    { 0x86, NGX_PUSH_MQTT_CONNACK_CREDENTIALS, "bad user name or password" },
    { 0x87, NGX_PUSH_MQTT_CONNACK_AUTHORIZATION, "not authorized" },
    { 0x88, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE, "server unavailable" },
    { 0x89, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE, "server busy" },
    { 0x8A, NGX_PUSH_MQTT_CONNACK_AUTHORIZATION, "banned" },
    { 0x8B, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE, "server shutting down" },
    { 0x8C, NGX_PUSH_MQTT_CONNACK_CREDENTIALS, "bad authentication method" },
    { 0x8D, 0, "keep alive timeout" },
    { 0x8E, 0, "session taken over" },
    { 0x8F, 0, "topic filter invalid" },
    { 0x90, NGX_PUSH_MQTT_CONNACK_AUTHORIZATION, "topic name invalid" },
    { 0x91, 0, "packet identifier in use" },
    { 0x92, 0, "packet identifier not found" },
    { 0x93, 0, "receive maximum exceeded" },
    { 0x94, 0, "topic alias invalid" },
    { 0x95, 0, "packet too large" },
    { 0x96, 0, "message rate too high" },
    { 0x97, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE, "quota exceeded" },
    { 0x98, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE, "administrative action" },
    { 0x99, 0, "payload format invalid" },
    { 0x9A, NGX_PUSH_MQTT_CONNACK_AUTHORIZATION, "retain not supported" },
    { 0x9B, NGX_PUSH_MQTT_CONNACK_AUTHORIZATION, "QoS not supported" },
    { 0x9C, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE, "use another server" },
    { 0x9D, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE, "server moved" },
    { 0x9E, 0, "shared subscriptions not supported" },
    { 0x9F, NGX_PUSH_MQTT_CONNACK_UNAVAILABLE, "connection rate exceeded" },
    { 0xA0, 0, "maximum connect time" },
    { 0xA1, 0, "subscription identifiers not supported" },
    { 0xA2, 0, "wildcard subscriptions not supported" }
};

#define NGX_PUSH_MQTT_REASONS                                                 \
    (sizeof(ngx_push_mqtt_reasons) / sizeof(ngx_push_mqtt_reasons[0]))


static const ngx_push_mqtt_reason_name_t *
ngx_push_mqtt_find_reason(unsigned code)
{
    size_t  low, high, mid;

    low = 0;
    high = NGX_PUSH_MQTT_REASONS;

    while (low < high) {
        mid = (low + high) / 2;

        if (ngx_push_mqtt_reasons[mid].code == code) {
            return &ngx_push_mqtt_reasons[mid];
        }

        if (ngx_push_mqtt_reasons[mid].code < code) {
            low = mid + 1;

        } else {
            high = mid;
        }
    }

    return NULL;
}


const char *
ngx_push_mqtt_reason_name(unsigned code)
{
    const ngx_push_mqtt_reason_name_t  *reason;

    reason = ngx_push_mqtt_find_reason(code);

    return reason ? reason->name : "unknown reason";
}


int
ngx_push_mqtt_connack_code(unsigned reason)
{
    const ngx_push_mqtt_reason_name_t  *r;

    if (reason == NGX_PUSH_MQTT_RC_SUCCESS) {
        return 0;
    }

    r = ngx_push_mqtt_find_reason(reason);

    return r && r->connack ? r->connack : -1;
}
