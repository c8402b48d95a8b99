
/*
 * What the files of the MQTT codec share among themselves.
 */


#ifndef _NGX_PUSH_MQTT_UTIL_H_INCLUDED_
#define _NGX_PUSH_MQTT_UTIL_H_INCLUDED_


#include "ngx_push_mqtt.h"

#include <string.h>


#define NGX_PUSH_MQTT_STR_MAX  65535u


/*
 * The definition of a property: how it is encoded, which values are valid, at
 * which offset of ngx_push_mqtt_props_t it is kept; packets has the bit
 * (1 << type) of each packet that may have it.
 */

typedef enum {
    NGX_PUSH_MQTT_KIND_NONE = 0,
    NGX_PUSH_MQTT_KIND_U8,
    NGX_PUSH_MQTT_KIND_U16,
    NGX_PUSH_MQTT_KIND_U32,
    NGX_PUSH_MQTT_KIND_VARINT,
    NGX_PUSH_MQTT_KIND_STRING,
    NGX_PUSH_MQTT_KIND_BINARY,
    NGX_PUSH_MQTT_KIND_USER
} ngx_push_mqtt_kind_e;


typedef enum {
    NGX_PUSH_MQTT_CHECK_NONE = 0,
    NGX_PUSH_MQTT_CHECK_BOOL,
    NGX_PUSH_MQTT_CHECK_NONZERO,
    NGX_PUSH_MQTT_CHECK_ALIAS,
    NGX_PUSH_MQTT_CHECK_TOPIC
} ngx_push_mqtt_check_e;


typedef struct {
    uint8_t                    kind;
    uint8_t                    check;
    uint16_t                   offset;
    uint32_t                   packets;
} ngx_push_mqtt_prop_t;


/* NULL for a property that this packet may not have; that does not exist */

const ngx_push_mqtt_prop_t *ngx_push_mqtt_find_prop(unsigned packet,
    uint32_t id);
const ngx_push_mqtt_prop_t *ngx_push_mqtt_get_prop(uint32_t id);


static inline int
ngx_push_mqtt_fail(ngx_push_mqtt_error_t *err, uint8_t code, const char *text)
{
    err->code = code;
    err->text = text;

    return NGX_PUSH_MQTT_ERROR;
}


static inline int
ngx_push_mqtt_malformed(ngx_push_mqtt_error_t *err, const char *text)
{
    return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_MALFORMED_PACKET, text);
}


static inline int
ngx_push_mqtt_protocol(ngx_push_mqtt_error_t *err, const char *text)
{
    return ngx_push_mqtt_fail(err, NGX_PUSH_MQTT_RC_PROTOCOL_ERROR, text);
}


static inline size_t
ngx_push_mqtt_varint_size(uint32_t value)
{
    return 1 + (value > 127) + (value > 16383) + (value > 2097151);
}


/* the put functions write without a check and return the place behind */

static inline uint8_t *
ngx_push_mqtt_put_u8(uint8_t *p, unsigned value)
{
    *p++ = (uint8_t) value;

    return p;
}


static inline uint8_t *
ngx_push_mqtt_put_u16(uint8_t *p, unsigned value)
{
    ngx_push_mqtt_patch_u16(p, value);

    return p + 2;
}


static inline uint8_t *
ngx_push_mqtt_put_u32(uint8_t *p, uint32_t value)
{
    ngx_push_mqtt_patch_u32(p, value);

    return p + 4;
}


static inline uint8_t *
ngx_push_mqtt_put_varint(uint8_t *p, uint32_t value)
{
    while (value > 127) {
        *p++ = (uint8_t) (value | 0x80);
        value >>= 7;
    }

    *p++ = (uint8_t) value;

    return p;
}


static inline uint8_t *
ngx_push_mqtt_put_raw(uint8_t *p, const ngx_push_mqtt_str_t *s)
{
    if (s->len) {
        memcpy(p, s->data, s->len);
    }

    return p + s->len;
}


static inline uint8_t *
ngx_push_mqtt_put_str(uint8_t *p, const ngx_push_mqtt_str_t *s)
{
    return ngx_push_mqtt_put_raw(ngx_push_mqtt_put_u16(p, s->len), s);
}


#endif /* _NGX_PUSH_MQTT_UTIL_H_INCLUDED_ */
