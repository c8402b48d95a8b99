/* link: ngx_push_mqtt_read.c ngx_push_mqtt_reason.c ngx_push_mqtt_props.c ngx_push_mqtt_props_read.c ngx_push_mqtt_parse.c ngx_push_mqtt_write.c */

/*
 * Writing MQTT packets at their limits: what is left out for a client with a
 * small Maximum Packet Size, and what is not written at all.  The octets of
 * ordinary packets are in t/packets/server.txt.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ngx_push_mqtt.h"


#define STRING(s)  { (const uint8_t *) s, sizeof(s) - 1 }

static uint8_t  buf[70000];
static uint8_t  zeros[70000];


static void
test_reason_limit(void **state)
{
    ngx_push_mqtt_props_t  p;

    static const ngx_push_mqtt_str_t  text = STRING("long");
    static const ngx_push_mqtt_str_t  user = STRING("\x26\x00\x00\x00\x01u");
    static const ngx_push_mqtt_str_t  reference = STRING("b");

    memset(&p, 0, sizeof(p));
    p.reason_string = text;
    p.user = user;
    p.server_reference = reference;
    ngx_push_mqtt_set(&p, NGX_PUSH_MQTT_PROP_REASON_STRING);
    ngx_push_mqtt_set(&p, NGX_PUSH_MQTT_PROP_USER);
    ngx_push_mqtt_set(&p, NGX_PUSH_MQTT_PROP_SERVER_REFERENCE);

    /* 4 octets, reference 4, reason string 7, user property 6 */

    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 21, 5, 0x9c, &p),
                     21);
    assert_memory_equal(buf, "\xe0\x13\x9c\x11\x1c\x00\x01" "b\x1f\x00\x04long"
                             "\x26\x00\x00\x00\x01u", 21);

    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 20, 5, 0x9c, &p),
                     15);
    assert_memory_equal(buf, "\xe0\x0d\x9c\x0b\x1c\x00\x01" "b\x1f\x00\x04long",
                        15);

    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 14, 5, 0x9c, &p),
                     8);
    assert_memory_equal(buf, "\xe0\x06\x9c\x04\x1c\x00\x01" "b", 8);

    /* the reference may not be left out */

    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 7, 5, 0x9c, &p),
                     0);

    /* a small buffer is as good a reason */

    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 20, 99, 5, 0x9c, &p),
                     15);
    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 7, 99, 5, 0x9c, &p),
                     0);

    /* the caller's properties are his */

    assert_true(ngx_push_mqtt_has(&p, NGX_PUSH_MQTT_PROP_USER));

    p.present = 1ull << NGX_PUSH_MQTT_PROP_REASON_STRING;
    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 10, 5, 0x82, &p),
                     3);
    assert_memory_equal(buf, "\xe0\x01\x82", 3);
    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 3, 5, 0x82, &p),
                     3);
    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 2, 5, 0x82, &p),
                     0);
    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 2, 5, 0, &p), 2);
    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 1, 5, 0, &p), 0);
    assert_int_equal(ngx_push_mqtt_write_disconnect(buf, 99, 99, 4, 0, &p),
                     0);
}


static void
test_auth(void **state)
{
    ngx_push_mqtt_props_t  p;

    static const ngx_push_mqtt_str_t  method = STRING("M");

    memset(&p, 0, sizeof(p));

    assert_int_equal(ngx_push_mqtt_write_auth(buf, 99, 99, 0, &p), 2);
    assert_memory_equal(buf, "\xf0\x00", 2);
    assert_int_equal(ngx_push_mqtt_write_auth(buf, 99, 99, 0x18, &p), 4);
    assert_memory_equal(buf, "\xf0\x02\x18\x00", 4);

    p.auth_method = method;
    ngx_push_mqtt_set(&p, NGX_PUSH_MQTT_PROP_AUTH_METHOD);

    assert_int_equal(ngx_push_mqtt_write_auth(buf, 99, 8, 0, &p), 8);
    assert_memory_equal(buf, "\xf0\x06\x00\x04\x15\x00\x01M", 8);
    assert_int_equal(ngx_push_mqtt_write_auth(buf, 99, 7, 0x18, &p), 0);
}


static void
test_ack_limit(void **state)
{
    ngx_push_mqtt_str_t  text = STRING("no");

    assert_int_equal(ngx_push_mqtt_write_ack(buf, 99, 11, 5,
                         NGX_PUSH_MQTT_PUBACK, 9, 0x87, &text), 11);
    assert_memory_equal(buf, "\x40\x09\x00\x09\x87\x05\x1f\x00\x02no", 11);

    assert_int_equal(ngx_push_mqtt_write_ack(buf, 99, 10, 5,
                         NGX_PUSH_MQTT_PUBACK, 9, 0x87, &text), 5);
    assert_memory_equal(buf, "\x40\x03\x00\x09\x87", 5);

    assert_int_equal(ngx_push_mqtt_write_ack(buf, 99, 4, 5,
                         NGX_PUSH_MQTT_PUBACK, 9, 0x87, &text), 0);

    /* success with a string, and the string left out */

    assert_int_equal(ngx_push_mqtt_write_ack(buf, 99, 99, 5,
                         NGX_PUSH_MQTT_PUBREC, 9, 0, &text), 11);
    assert_memory_equal(buf, "\x50\x09\x00\x09\x00\x05\x1f\x00\x02no", 11);
    assert_int_equal(ngx_push_mqtt_write_ack(buf, 99, 10, 5,
                         NGX_PUSH_MQTT_PUBREC, 9, 0, &text), 4);
    assert_memory_equal(buf, "\x50\x02\x00\x09", 4);

    /* 3.1.1 */

    assert_int_equal(ngx_push_mqtt_write_ack(buf, 4, 4, 4,
                         NGX_PUSH_MQTT_PUBREL, 0xfffe, 0x92, &text), 4);
    assert_memory_equal(buf, "\x62\x02\xff\xfe", 4);
    assert_int_equal(ngx_push_mqtt_write_ack(buf, 3, 99, 4,
                         NGX_PUSH_MQTT_PUBACK, 1, 0, NULL), 0);
}


static void
test_suback_limit(void **state)
{
    uint8_t              codes[300];
    ngx_push_mqtt_str_t  text = STRING("no");

    memset(codes, 0x87, sizeof(codes));

    assert_int_equal(ngx_push_mqtt_write_suback(buf, 999, 999, 5, 1, codes,
                                                300, NULL), 306);
    assert_memory_equal(buf, "\x90\xaf\x02\x00\x01\x00\x87", 7);
    assert_int_equal(buf[305], 0x87);

    assert_int_equal(ngx_push_mqtt_write_suback(buf, 999, 305, 5, 1, codes,
                                                300, NULL), 0);
    assert_int_equal(ngx_push_mqtt_write_suback(buf, 999, 999, 4, 1, codes,
                                                300, NULL), 305);
    assert_memory_equal(buf, "\x90\xae\x02\x00\x01\x80\x80", 7);
    assert_int_equal(buf[304], 0x80);
    assert_int_equal(ngx_push_mqtt_write_suback(buf, 304, 999, 4, 1, codes,
                                                300, NULL), 0);

    assert_int_equal(ngx_push_mqtt_write_suback(buf, 999, 11, 5, 1, codes, 1,
                                                &text), 11);
    assert_memory_equal(buf, "\x90\x09\x00\x01\x05\x1f\x00\x02no\x87", 11);
    assert_int_equal(ngx_push_mqtt_write_suback(buf, 999, 10, 5, 1, codes, 1,
                                                &text), 6);

    assert_int_equal(ngx_push_mqtt_write_unsuback(buf, 999, 11, 5, 1, codes,
                                                  1, &text), 11);
    assert_int_equal(buf[0], 0xb0);
    assert_int_equal(ngx_push_mqtt_write_unsuback(buf, 999, 10, 5, 1, codes,
                                                  1, &text), 6);
    assert_memory_equal(buf, "\xb0\x04\x00\x01\x00\x87", 6);
    assert_int_equal(ngx_push_mqtt_write_unsuback(buf, 999, 5, 5, 1, codes,
                                                  1, &text), 0);
}


static void
test_connack(void **state)
{
    ngx_push_mqtt_props_t  p;

    static const ngx_push_mqtt_str_t  text = STRING("no");

    /* 3.1.1 has no word for a malformed packet, nor for larger ones */

    assert_int_equal(ngx_push_mqtt_write_connack(buf, 99, 99, 4, 0, 0x81,
                                                 NULL), 0);
    assert_int_equal(ngx_push_mqtt_write_connack(buf, 99, 99, 4, 1, 0x85,
                                                 NULL), 4);
    assert_memory_equal(buf, "\x20\x02\x00\x02", 4);

    /* any value but 0 is "present", and never with a refusal */

    assert_int_equal(ngx_push_mqtt_write_connack(buf, 99, 99, 4, 64, 0, NULL),
                     4);
    assert_memory_equal(buf, "\x20\x02\x01\x00", 4);
    assert_int_equal(ngx_push_mqtt_write_connack(buf, 99, 99, 5, 1, 0x81,
                                                 NULL), 5);
    assert_memory_equal(buf, "\x20\x03\x00\x81\x00", 5);

    memset(&p, 0, sizeof(p));
    p.receive_maximum = 9;
    p.reason_string = text;
    ngx_push_mqtt_set(&p, NGX_PUSH_MQTT_PROP_RECEIVE_MAXIMUM);
    ngx_push_mqtt_set(&p, NGX_PUSH_MQTT_PROP_REASON_STRING);

    assert_int_equal(ngx_push_mqtt_write_connack(buf, 99, 13, 5, 0, 0, &p),
                     13);
    assert_int_equal(ngx_push_mqtt_write_connack(buf, 99, 12, 5, 0, 0, &p),
                     8);
    assert_memory_equal(buf, "\x20\x06\x00\x00\x03\x21\x00\x09", 8);
    assert_int_equal(ngx_push_mqtt_write_connack(buf, 99, 7, 5, 0, 0, &p), 0);
}


static void
message(ngx_push_mqtt_message_t *m)
{
    static const ngx_push_mqtt_str_t  topic = STRING("t");
    static const ngx_push_mqtt_str_t  id = STRING("12");
    static const ngx_push_mqtt_str_t  user = STRING("\x26\x00\x00\x00\x01u");

    memset(m, 0, sizeof(ngx_push_mqtt_message_t));

    m->topic = topic;
    m->id = id;
    m->user = user;
    m->payload_len = 10;
}


static void
test_publish_limit(void **state)
{
    size_t                   n;
    ngx_push_mqtt_patch_t    patch;
    ngx_push_mqtt_message_t  m;

    message(&m);

    /* 2 + 3 + 1, id 9, user 6, payload 10: 31 octets */

    n = ngx_push_mqtt_write_publish(buf, 21, 31, 5, &m, &patch);
    assert_int_equal(n, 21);
    assert_memory_equal(buf, "\x30\x1d\x00\x01t\x0f\x26\x00\x02id\x00\x02" "12"
                             "\x26\x00\x00\x00\x01u", 21);

    /* what is ours goes first, what was forwarded never */

    assert_int_equal(ngx_push_mqtt_write_publish(buf, 21, 30, 5, &m, &patch),
                     12);
    assert_memory_equal(buf, "\x30\x14\x00\x01t\x06\x26\x00\x00\x00\x01u",
                        12);
    assert_int_equal(ngx_push_mqtt_write_publish(buf, 21, 22, 5, &m, &patch),
                     12);
    assert_int_equal(ngx_push_mqtt_write_publish(buf, 21, 21, 5, &m, &patch),
                     0);

    /* a small buffer is the caller's mistake: nothing is left out for it */

    assert_int_equal(ngx_push_mqtt_write_publish(buf, 20, 31, 5, &m, &patch),
                     0);

    /* 3.1.1: 2 + 3 + 10 */

    assert_int_equal(ngx_push_mqtt_write_publish(buf, 5, 15, 4, &m, &patch),
                     5);
    assert_memory_equal(buf, "\x30\x0d\x00\x01t", 5);
    assert_int_equal(ngx_push_mqtt_write_publish(buf, 5, 14, 4, &m, &patch),
                     0);
    assert_int_equal(ngx_push_mqtt_write_publish(buf, 4, 99, 4, &m, &patch),
                     0);
}


static void
test_publish_refused(void **state)
{
    size_t                   i;
    ngx_push_mqtt_str_t      longest = { zeros, 65535 }, longer;
    ngx_push_mqtt_patch_t    patch;
    ngx_push_mqtt_message_t  m;

    longer = longest;
    longer.len++;

    for (i = 0; i < 9; i++) {
        message(&m);

        switch (i) {
        case 0: m.topic = longer; break;
        case 1: m.content_type = longer; break;
        case 2: m.response_topic = longer; break;
        case 3: m.correlation_data = longer; break;
        case 4: m.id = longer; break;
        case 5: m.subscription_id = NGX_PUSH_MQTT_VARINT_MAX + 1; break;
        case 6: m.payload_len = UINT32_MAX; break;
        case 7: m.qos = 3; break;
        case 8: m.payload_len = NGX_PUSH_MQTT_VARINT_MAX - 17; break;
        }

        assert_int_equal(ngx_push_mqtt_write_publish(buf, sizeof(buf),
                                                     UINT32_MAX, 5, &m,
                                                     &patch), i == 8 ? 15 : 0);
    }

    /* the longest strings are fine */

    message(&m);
    m.topic = longest;
    assert_int_equal(ngx_push_mqtt_write_publish(buf, sizeof(buf), UINT32_MAX,
                                                 5, &m, &patch),
                     4 + 2 + 65535 + 1 + 15);

    /* the largest packet of all, and one octet more */

    message(&m);
    m.id.len = 0;
    m.user.len = 0;
    m.payload_len = NGX_PUSH_MQTT_VARINT_MAX - 4;
    assert_int_equal(ngx_push_mqtt_write_publish(buf, sizeof(buf), UINT32_MAX,
                                                 5, &m, &patch), 9);
    assert_memory_equal(buf, "\x30\xff\xff\xff\x7f", 5);
    m.payload_len++;
    assert_int_equal(ngx_push_mqtt_write_publish(buf, sizeof(buf), UINT32_MAX,
                                                 5, &m, &patch), 0);
}


/* the parser reads back what was written, with patched values */

static void
test_publish_round_trip(void **state)
{
    int                      rc;
    size_t                   n;
    uint32_t                 len;
    ngx_push_mqtt_str_t      type = STRING("a/b"), topic = STRING("x/y");
    ngx_push_mqtt_str_t      user, name, value;
    ngx_push_mqtt_frame_t    f;
    ngx_push_mqtt_error_t    err;
    ngx_push_mqtt_patch_t    patch;
    ngx_push_mqtt_limits_t   limits = NGX_PUSH_MQTT_LIMITS_MAX;
    ngx_push_mqtt_message_t  m;
    ngx_push_mqtt_publish_t  p;

    limits.topic_alias_max = 65535;

    for (len = 0; len < 66000; len += len < 300 ? 1 : 491) {
        message(&m);
        m.topic = topic;
        m.qos = 1;
        m.packet_id = 7;
        m.has_expiry = 1;
        m.message_expiry = 1;
        m.content_type = type;
        m.topic_alias = 513;
        m.payload_len = len;

        n = ngx_push_mqtt_write_publish(buf, sizeof(buf), UINT32_MAX, 5, &m,
                                        &patch);

        assert_true(n > 0 && n <= NGX_PUSH_MQTT_PUBLISH_MAX + 3 + 3 + 2 + 6);

        ngx_push_mqtt_patch_u16(buf + patch.packet_id, 0xabcd);
        ngx_push_mqtt_patch_u32(buf + patch.expiry, 0x12345678u);
        buf[0] |= 0x08;

        rc = ngx_push_mqtt_read_frame(buf, n + len, UINT32_MAX, 5, &f, &err);
        assert_int_equal(rc, NGX_PUSH_MQTT_OK);
        assert_int_equal(f.header + f.remaining, n + len);

        rc = ngx_push_mqtt_parse_publish(5, f.flags, buf + f.header,
                                         f.remaining, &limits, &p, &err);
        assert_int_equal(rc, NGX_PUSH_MQTT_OK);
        assert_int_equal(p.dup, 1);
        assert_int_equal(p.packet_id, 0xabcd);
        assert_int_equal(p.props.message_expiry, 0x12345678);
        assert_int_equal(p.props.topic_alias, 513);
        assert_int_equal(p.payload.len, len);
        assert_ptr_equal(p.payload.data, buf + n);
        assert_int_equal(p.props.user_count, 2);

        user = p.props.user;
        assert_int_equal(ngx_push_mqtt_next_user(&user, &name, &value),
                         NGX_PUSH_MQTT_OK);
        assert_memory_equal(name.data, "id", 2);
        assert_memory_equal(value.data, "12", 2);
    }
}


/* the constant holds whatever is set */

static void
test_publish_max(void **state)
{
    size_t                   n;
    ngx_push_mqtt_str_t      s = { zeros, 40000 }, user;
    ngx_push_mqtt_patch_t    patch;
    ngx_push_mqtt_message_t  m;

    static uint8_t  big[300000];

    user.data = zeros;
    user.len = 20000;

    memset(&m, 0, sizeof(m));
    m.qos = 2;
    m.payload_format = 1;
    m.has_expiry = 1;
    m.subscription_id = NGX_PUSH_MQTT_VARINT_MAX;
    m.topic_alias = 1;
    m.topic = m.content_type = m.response_topic = s;
    m.correlation_data = m.id = s;
    m.user = user;
    m.payload_len = 250000000;

    n = ngx_push_mqtt_write_publish(big, sizeof(big), UINT32_MAX, 5, &m,
                                    &patch);

    assert_true(n > 220000);
    assert_true(n <= NGX_PUSH_MQTT_PUBLISH_MAX + 5 * 40000 + 20000);
}


static void
test_pingresp(void **state)
{
    assert_int_equal(ngx_push_mqtt_write_pingresp(buf, 2), 2);
    assert_memory_equal(buf, "\xd0\x00", 2);
    assert_int_equal(ngx_push_mqtt_write_pingresp(buf, 1), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_reason_limit),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_ack_limit),
        cmocka_unit_test(test_suback_limit),
        cmocka_unit_test(test_connack),
        cmocka_unit_test(test_publish_limit),
        cmocka_unit_test(test_publish_refused),
        cmocka_unit_test(test_publish_round_trip),
        cmocka_unit_test(test_publish_max),
        cmocka_unit_test(test_pingresp)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
