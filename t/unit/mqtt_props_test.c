/* link: ngx_push_mqtt_read.c ngx_push_mqtt_props.c ngx_push_mqtt_props_read.c */

/*
 * MQTT 5 properties, against a second copy of the specification's table 2-4.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ngx_push_mqtt.h"


#define OK     NGX_PUSH_MQTT_OK
#define DONE   NGX_PUSH_MQTT_DONE
#define ERROR  NGX_PUSH_MQTT_ERROR


/*
 * packets: a letter for each packet, as in "letters" below.  octets: a valid
 * property with its identifier.
 */

typedef struct {
    unsigned     id;
    const char  *packets;
    size_t       n;
    const char  *octets;
} prop_case_t;


static const char  letters[] = " CcPaerdSsUu..DAW";

static const prop_case_t  props_cases[] = {
    { 0x01, "PW", 2, "\x01\x01" },
    { 0x02, "PW", 5, "\x02\x01\x02\x03\x04" },
    { 0x03, "PW", 5, "\x03\x00\x02tp" },
    { 0x08, "PW", 5, "\x08\x00\x02rt" },
    { 0x09, "PW", 5, "\x09\x00\x02\xff\x00" },
    { 0x0b, "PS", 3, "\x0b\x80\x01" },
    { 0x11, "CcD", 5, "\x11\x01\x02\x03\x05" },
    { 0x12, "c", 5, "\x12\x00\x02id" },
    { 0x13, "c", 3, "\x13\x01\x02" },
    { 0x15, "CcA", 5, "\x15\x00\x02me" },
    { 0x16, "CcA", 5, "\x16\x00\x02\x00\xfe" },
    { 0x17, "C", 2, "\x17\x01" },
    { 0x18, "W", 5, "\x18\x01\x02\x03\x06" },
    { 0x19, "C", 2, "\x19\x01" },
    { 0x1a, "c", 5, "\x1a\x00\x02ri" },
    { 0x1c, "cD", 5, "\x1c\x00\x02sr" },
    { 0x1f, "caerdsuDA", 5, "\x1f\x00\x02rs" },
    { 0x21, "Cc", 3, "\x21\x01\x03" },
    { 0x22, "Cc", 3, "\x22\x01\x04" },
    { 0x23, "P", 3, "\x23\x01\x05" },
    { 0x24, "c", 2, "\x24\x01" },
    { 0x25, "c", 2, "\x25\x01" },
    { 0x26, "CcPWaerdSsUuDA", 7, "\x26\x00\x01k\x00\x01v" },
    { 0x27, "Cc", 5, "\x27\x01\x02\x03\x07" },
    { 0x28, "c", 2, "\x28\x01" },
    { 0x29, "c", 2, "\x29\x01" },
    { 0x2a, "c", 2, "\x2a\x01" }
};

#define CASES  (sizeof(props_cases) / sizeof(props_cases[0]))


/* reads n octets of properties behind their length, from an exact copy */

static int
read_props(unsigned packet, const void *octets, size_t n,
    ngx_push_mqtt_props_t *props, ngx_push_mqtt_error_t *err, uint8_t **copy)
{
    int                     rc;
    uint8_t                *p;
    ngx_push_mqtt_cursor_t  c;

    assert_true(n < 128);

    p = malloc(n + 1);
    p[0] = (uint8_t) n;
    memcpy(p + 1, octets, n);

    c.pos = p;
    c.end = p + n + 1;
    err->code = 0;
    err->text = NULL;

    rc = ngx_push_mqtt_read_props(&c, packet, props, err);

    if (rc == OK) {
        assert_ptr_equal(c.pos, c.end);
        assert_null(err->text);

    } else {
        assert_non_null(err->text);
    }

    if (copy) {
        *copy = p;

    } else {
        free(p);
    }

    return rc;
}


/* every property in every packet */

static void
test_allowed(void **state)
{
    int                    rc, allowed;
    size_t                 i;
    unsigned               packet;
    ngx_push_mqtt_error_t  err;
    ngx_push_mqtt_props_t  props;

    for (packet = 1; packet <= NGX_PUSH_MQTT_WILL; packet++) {
        for (i = 0; i < CASES; i++) {
            allowed = strchr(props_cases[i].packets, letters[packet]) != NULL;

            rc = read_props(packet, props_cases[i].octets, props_cases[i].n,
                            &props, &err, NULL);

            if (rc != (allowed ? OK : ERROR)) {
                fail_msg("property %02x in packet %u", props_cases[i].id,
                         packet);
            }

            assert_int_equal(err.code, allowed ? 0 : 0x81);
            assert_true(!allowed
                        || props.present == 1ull << props_cases[i].id);
        }
    }
}


/* identifiers that do not exist, alone and in front of a valid property */

static void
test_unknown(void **state)
{
    char                   octets[8];
    size_t                 i;
    unsigned               id;
    ngx_push_mqtt_error_t  err;
    ngx_push_mqtt_props_t  props;

    for (id = 0; id < 128; id++) {

        for (i = 0; i < CASES && props_cases[i].id != id; i++) { /* void */ }

        if (i < CASES) {
            continue;
        }

        memset(octets, 0, sizeof(octets));
        octets[0] = (char) id;

        assert_int_equal(read_props(NGX_PUSH_MQTT_CONNACK, octets, 5, &props,
                                    &err, NULL), ERROR);
        assert_int_equal(err.code, 0x81);
    }

    /* an identifier of two octets whose low bits are those of a known one */

    assert_int_equal(read_props(NGX_PUSH_MQTT_CONNACK, "\xa6\x01\x00\x00", 4,
                                &props, &err, NULL), ERROR);
    assert_int_equal(err.code, 0x81);
}


static unsigned
some_packet(const prop_case_t *c)
{
    return (unsigned) (strchr(letters, c->packets[0]) - letters);
}


static void
test_twice(void **state)
{
    int                    rc;
    char                   octets[32];
    size_t                 i, n;
    ngx_push_mqtt_error_t  err;
    ngx_push_mqtt_props_t  props;

    for (i = 0; i < CASES; i++) {
        n = props_cases[i].n;
        memcpy(octets, props_cases[i].octets, n);
        memcpy(octets + n, "\x26\x00\x00\x00\x00", 5);
        memcpy(octets + n + 5, props_cases[i].octets, n);

        rc = read_props(some_packet(&props_cases[i]), octets, 2 * n + 5,
                        &props, &err, NULL);

        if (props_cases[i].id == NGX_PUSH_MQTT_PROP_USER) {
            assert_int_equal(rc, OK);
            assert_int_equal(props.user_count, 3);

        } else {
            assert_int_equal(rc, ERROR);
            assert_int_equal(err.code, 0x82);
        }
    }
}


static void
test_cut(void **state)
{
    size_t                 i, n;
    ngx_push_mqtt_error_t  err;
    ngx_push_mqtt_props_t  props;

    for (i = 0; i < CASES; i++) {
        for (n = 1; n < props_cases[i].n; n++) {
            assert_int_equal(read_props(some_packet(&props_cases[i]),
                                        props_cases[i].octets, n, &props,
                                        &err, NULL), ERROR);
            assert_int_equal(err.code, 0x81);
        }
    }
}


typedef struct {
    unsigned     packet;
    size_t       n;
    const char  *octets;
    int          code;
} value_case_t;


static void
test_values(void **state)
{
    size_t                 i;
    ngx_push_mqtt_error_t  err;
    ngx_push_mqtt_props_t  props;

    static const value_case_t  cases[] = {
        { NGX_PUSH_MQTT_PUBLISH, 2, "\x01\x00", 0 },
        { NGX_PUSH_MQTT_PUBLISH, 2, "\x01\x02", 0x82 },
        { NGX_PUSH_MQTT_PUBLISH, 2, "\x01\xff", 0x82 },
        { NGX_PUSH_MQTT_PUBLISH, 5, "\x02\x00\x00\x00\x00", 0 },
        { NGX_PUSH_MQTT_PUBLISH, 3, "\x03\x00\x00", 0 },
        { NGX_PUSH_MQTT_PUBLISH, 4, "\x03\x00\x01\x80", 0x81 },
        { NGX_PUSH_MQTT_PUBLISH, 3, "\x08\x00\x00", 0x82 },
        { NGX_PUSH_MQTT_PUBLISH, 4, "\x08\x00\x01#", 0x82 },
        { NGX_PUSH_MQTT_PUBLISH, 4, "\x08\x00\x01+", 0x82 },
        { NGX_PUSH_MQTT_PUBLISH, 4, "\x08\x00\x01\x00", 0x81 },
        { NGX_PUSH_MQTT_PUBLISH, 3, "\x09\x00\x00", 0 },
        { NGX_PUSH_MQTT_SUBSCRIBE, 2, "\x0b\x00", 0x82 },
        { NGX_PUSH_MQTT_SUBSCRIBE, 5, "\x0b\xff\xff\xff\x7f", 0 },
        { NGX_PUSH_MQTT_SUBSCRIBE, 3, "\x0b\x81\x00", 0x81 },
        { NGX_PUSH_MQTT_CONNECT, 2, "\x17\x00", 0 },
        { NGX_PUSH_MQTT_CONNECT, 2, "\x17\x02", 0x82 },
        { NGX_PUSH_MQTT_CONNECT, 2, "\x19\x00", 0 },
        { NGX_PUSH_MQTT_CONNECT, 2, "\x19\x02", 0x82 },
        { NGX_PUSH_MQTT_CONNECT, 3, "\x21\x00\x00", 0x82 },
        { NGX_PUSH_MQTT_CONNECT, 3, "\x21\xff\xff", 0 },
        { NGX_PUSH_MQTT_CONNECT, 3, "\x22\x00\x00", 0 },
        { NGX_PUSH_MQTT_PUBLISH, 3, "\x23\x00\x00", 0x94 },
        { NGX_PUSH_MQTT_CONNECT, 5, "\x27\x00\x00\x00\x00", 0x82 },
        { NGX_PUSH_MQTT_CONNECT, 5, "\x27\x00\x00\x00\x01", 0 },
        { NGX_PUSH_MQTT_CONNACK, 2, "\x24\x02", 0x82 },
        { NGX_PUSH_MQTT_CONNACK, 2, "\x25\x02", 0x82 },
        { NGX_PUSH_MQTT_CONNACK, 2, "\x28\x02", 0x82 },
        { NGX_PUSH_MQTT_CONNACK, 2, "\x29\x02", 0x82 },
        { NGX_PUSH_MQTT_CONNACK, 2, "\x2a\x02", 0x82 },
        { NGX_PUSH_MQTT_CONNACK, 4, "\x1f\x00\x01\xff", 0x81 },
        { NGX_PUSH_MQTT_CONNACK, 6, "\x26\x00\x01\xff\x00\x00", 0x81 },
        { NGX_PUSH_MQTT_CONNACK, 6, "\x26\x00\x00\x00\x01\xff", 0x81 },
        { NGX_PUSH_MQTT_CONNACK, 5, "\x26\x00\x00\x00\x00", 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) read_props(cases[i].packet, cases[i].octets, cases[i].n,
                          &props, &err, NULL);

        if (err.code != cases[i].code) {
            fail_msg("value %d: %02x", (int) i, err.code);
        }
    }
}


static void
test_length(void **state)
{
    size_t                  i;
    uint8_t                *copy;
    ngx_push_mqtt_error_t   err;
    ngx_push_mqtt_props_t   props;
    ngx_push_mqtt_cursor_t  c;

    static const struct {
        size_t       n;
        const char  *octets;
    } cases[] = {
        { 0, "" }, { 1, "\x80" }, { 1, "\x01" }, { 2, "\x80\x00" },
        { 5, "\xff\xff\xff\xff\x01" }, { 5, "\xff\xff\xff\x7f\x01" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        copy = malloc(cases[i].n);
        memcpy(copy, cases[i].octets, cases[i].n);
        c.pos = copy;
        c.end = copy + cases[i].n;

        assert_int_equal(ngx_push_mqtt_read_props(&c, NGX_PUSH_MQTT_CONNECT,
                                                  &props, &err), ERROR);
        assert_int_equal(err.code, 0x81);
        free(copy);
    }

    /* what follows the properties is not theirs */

    c.pos = (const uint8_t *) "\x03\x21\x00\x05\x21";
    c.end = c.pos + 5;

    assert_int_equal(ngx_push_mqtt_read_props(&c, NGX_PUSH_MQTT_CONNECT,
                                              &props, &err), OK);
    assert_ptr_equal(c.pos, c.end - 1);
    assert_int_equal(props.receive_maximum, 5);
}


/* what a writer writes for a packet, a reader finds, octet by octet */

static void
test_round_trip(void **state)
{
    size_t                  n;
    uint8_t                 all[256], buf[256];
    unsigned                packet, i;
    ngx_push_mqtt_error_t   err;
    ngx_push_mqtt_props_t   props, again;
    ngx_push_mqtt_cursor_t  c;

    for (packet = 1; packet <= NGX_PUSH_MQTT_WILL; packet++) {
        n = 0;

        for (i = 0; i < CASES; i++) {
            if (strchr(props_cases[i].packets, letters[packet])) {
                memcpy(all + 2 + n, props_cases[i].octets, props_cases[i].n);
                n += props_cases[i].n;
            }
        }

        assert_true(n < 128);
        all[1] = (uint8_t) n;
        c.pos = all + 1;
        c.end = all + 2 + n;

        if (n == 0) {
            assert_int_equal(letters[packet], '.');
            continue;
        }

        assert_int_equal(ngx_push_mqtt_read_props(&c, packet, &props, &err),
                         OK);
        assert_int_equal(ngx_push_mqtt_props_size(packet, &props), n);
        assert_ptr_equal(ngx_push_mqtt_write_props(buf, packet, &props),
                         buf + n);
        assert_memory_equal(buf, all + 2, n);

        /* the same properties mean nothing to a packet that has none */

        assert_int_equal(ngx_push_mqtt_props_size(NGX_PUSH_MQTT_PINGREQ,
                                                  &props), 0);
        assert_ptr_equal(ngx_push_mqtt_write_props(buf, NGX_PUSH_MQTT_PINGREQ,
                                                   &props), buf);

        memset(&again, 0, sizeof(again));
        assert_int_equal(ngx_push_mqtt_props_size(packet, &again), 0);
    }
}


static void
test_fields(void **state)
{
    uint8_t                *copy;
    ngx_push_mqtt_error_t   err;
    ngx_push_mqtt_props_t   p;

    assert_int_equal(read_props(NGX_PUSH_MQTT_CONNACK,
        "\x11\x01\x02\x03\x04\x12\x00\x01" "a\x13\x00\x05\x1a\x00\x01" "b"
        "\x1c\x00\x01" "c\x21\x00\x06\x22\x00\x07\x24\x01\x25\x01\x27\x00\x00"
        "\x01\x00\x28\x01\x29\x01\x2a\x01", 41, &p, &err, &copy), OK);

    assert_int_equal(p.session_expiry, 0x01020304);
    assert_int_equal(p.assigned_client_id.len, 1);
    assert_int_equal(p.assigned_client_id.data[0], 'a');
    assert_int_equal(p.server_keep_alive, 5);
    assert_int_equal(p.response_info.data[0], 'b');
    assert_int_equal(p.server_reference.data[0], 'c');
    assert_int_equal(p.receive_maximum, 6);
    assert_int_equal(p.topic_alias_maximum, 7);
    assert_int_equal(p.maximum_qos, 1);
    assert_int_equal(p.retain_available, 1);
    assert_int_equal(p.maximum_packet_size, 256);
    assert_int_equal(p.wildcard_available, 1);
    assert_int_equal(p.subscription_id_available, 1);
    assert_int_equal(p.shared_available, 1);
    assert_null(p.reason_string.data);
    assert_null(p.user.data);
    assert_false(ngx_push_mqtt_has(&p, NGX_PUSH_MQTT_PROP_USER));
    assert_true(ngx_push_mqtt_has(&p, NGX_PUSH_MQTT_PROP_SHARED_AVAILABLE));

    free(copy);
}


#define STRING(s)  { (const uint8_t *) s, sizeof(s) - 1 }


/* user properties with others before, between and behind them */

static void
test_user(void **state)
{
    uint8_t                *copy, buf[64];
    ngx_push_mqtt_str_t     user, name, value;
    ngx_push_mqtt_error_t   err;
    ngx_push_mqtt_props_t   p;

    static const char  octets[] =
        "\x01\x01" "\x26\x00\x01" "a\x00\x01" "1" "\x02\x00\x00\x00\x09"
        "\x09\x00\x02\x26\x00" "\x26\x00\x00\x00\x02" "22" "\x23\x00\x01"
        "\x26\x00\x01" "a\x00\x00" "\x03\x00\x01t";

    assert_int_equal(read_props(NGX_PUSH_MQTT_PUBLISH, octets,
                                sizeof(octets) - 1, &p, &err, &copy), OK);
    assert_int_equal(p.user_count, 3);
    assert_int_equal(p.user_size, 7 + 7 + 6);
    assert_ptr_equal(p.user.data, copy + 3);
    assert_int_equal(p.user.len, 33);

    user = p.user;
    assert_int_equal(ngx_push_mqtt_next_user(&user, &name, &value), OK);
    assert_memory_equal(name.data, "a", 1);
    assert_int_equal(name.len, 1);
    assert_memory_equal(value.data, "1", 1);
    assert_int_equal(ngx_push_mqtt_next_user(&user, &name, &value), OK);
    assert_int_equal(name.len, 0);
    assert_int_equal(value.len, 2);
    assert_int_equal(ngx_push_mqtt_next_user(&user, &name, &value), OK);
    assert_int_equal(value.len, 0);
    assert_int_equal(ngx_push_mqtt_next_user(&user, &name, &value), DONE);
    assert_int_equal(ngx_push_mqtt_next_user(&user, &name, &value), DONE);

    memset(buf, 0xee, sizeof(buf));
    assert_int_equal(ngx_push_mqtt_copy_user(buf, &p), 20);
    assert_memory_equal(buf, "\x26\x00\x01" "a\x00\x01" "1"
                             "\x26\x00\x00\x00\x02" "22"
                             "\x26\x00\x01" "a\x00\x00\xee", 21);
    free(copy);

    /* nothing between: copied as it stands */

    assert_int_equal(read_props(NGX_PUSH_MQTT_PUBLISH,
                                "\x26\x00\x00\x00\x00\x26\x00\x00\x00\x01x",
                                11, &p, &err, &copy), OK);
    assert_int_equal(p.user.len, p.user_size);
    assert_int_equal(ngx_push_mqtt_copy_user(buf, &p), 11);
    assert_memory_equal(buf, copy + 1, 11);
    free(copy);

    /* none at all */

    memset(&p, 0, sizeof(p));
    user = p.user;
    assert_int_equal(ngx_push_mqtt_next_user(&user, &name, &value), DONE);
    assert_int_equal(ngx_push_mqtt_copy_user(buf, &p), 0);
}


static void
test_write_user(void **state)
{
    size_t               n;
    uint8_t              buf[16];
    ngx_push_mqtt_str_t  name = STRING("id"), value = STRING("1-2");

    memset(buf, 0xee, sizeof(buf));

    for (n = 0; n < 10; n++) {
        assert_int_equal(ngx_push_mqtt_write_user(buf, n, &name, &value), 0);
        assert_int_equal(buf[0], 0xee);
    }

    assert_int_equal(ngx_push_mqtt_write_user(buf, 10, &name, &value), 10);
    assert_memory_equal(buf, "\x26\x00\x02id\x00\x03" "1-2\xee", 11);

    value.len = 65536;
    assert_int_equal(ngx_push_mqtt_write_user(buf, SIZE_MAX, &name, &value),
                     0);
    value.len = 1;
    name.len = 65536;
    assert_int_equal(ngx_push_mqtt_write_user(buf, SIZE_MAX, &name, &value),
                     0);
}


/* a value without an encoding is too long for any packet */

static void
test_unwritable(void **state)
{
    ngx_push_mqtt_props_t  p;

    memset(&p, 0, sizeof(p));
    p.content_type.data = (const uint8_t *) "";
    p.content_type.len = 65536;
    ngx_push_mqtt_set(&p, NGX_PUSH_MQTT_PROP_CONTENT_TYPE);

    assert_true(ngx_push_mqtt_props_size(NGX_PUSH_MQTT_PUBLISH, &p)
                > NGX_PUSH_MQTT_VARINT_MAX);

    memset(&p, 0, sizeof(p));
    p.subscription_id = NGX_PUSH_MQTT_VARINT_MAX + 1;
    ngx_push_mqtt_set(&p, NGX_PUSH_MQTT_PROP_SUBSCRIPTION_ID);

    assert_true(ngx_push_mqtt_props_size(NGX_PUSH_MQTT_PUBLISH, &p)
                > NGX_PUSH_MQTT_VARINT_MAX);

    p.subscription_id = NGX_PUSH_MQTT_VARINT_MAX;
    assert_int_equal(ngx_push_mqtt_props_size(NGX_PUSH_MQTT_PUBLISH, &p), 5);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_write_user),
        cmocka_unit_test(test_unwritable)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
