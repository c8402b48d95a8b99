/* link: ngx_push_mqtt_read.c ngx_push_mqtt_reason.c */

/*
 * The lowest layer of the MQTT codec: values, frames, UTF-8, topics.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ngx_push_mqtt.h"


#define OK     NGX_PUSH_MQTT_OK
#define AGAIN  NGX_PUSH_MQTT_AGAIN
#define ERROR  NGX_PUSH_MQTT_ERROR


/* a cursor over a copy of exactly n octets */

static ngx_push_mqtt_cursor_t
cursor(const void *data, size_t n)
{
    uint8_t                 *copy;
    ngx_push_mqtt_cursor_t   c;

    copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, data, n);

    c.pos = copy;
    c.end = copy + n;

    return c;
}


static void
test_numbers(void **state)
{
    uint8_t                 u8;
    uint16_t                u16;
    uint32_t                u32;
    const uint8_t          *start;
    ngx_push_mqtt_cursor_t  c;

    c = cursor("\x01\x02\x03\xff\xfe\xfd\xfc", 7);
    start = c.pos;

    assert_int_equal(ngx_push_mqtt_read_u8(&c, &u8), OK);
    assert_int_equal(u8, 1);
    assert_int_equal(ngx_push_mqtt_read_u16(&c, &u16), OK);
    assert_int_equal(u16, 0x0203);
    assert_int_equal(ngx_push_mqtt_read_u32(&c, &u32), OK);
    assert_true(u32 == 0xfffefdfcu);
    assert_ptr_equal(c.pos, c.end);

    assert_int_equal(ngx_push_mqtt_read_u8(&c, &u8), AGAIN);

    c.pos = c.end - 1;
    assert_int_equal(ngx_push_mqtt_read_u16(&c, &u16), AGAIN);
    assert_ptr_equal(c.pos, c.end - 1);

    c.pos = c.end - 3;
    assert_int_equal(ngx_push_mqtt_read_u32(&c, &u32), AGAIN);
    assert_ptr_equal(c.pos, c.end - 3);

    free((void *) start);
}


typedef struct {
    const char  *octets;
    size_t       n;
    int          rc;
    uint32_t     value;
} varint_case_t;


static void
test_varint(void **state)
{
    size_t                  i;
    uint32_t                value;
    const uint8_t          *start;
    ngx_push_mqtt_cursor_t  c;

    static const varint_case_t  cases[] = {
        { "", 0, AGAIN, 0 },
        { "\x00", 1, OK, 0 },
        { "\x7f", 1, OK, 127 },
        { "\x80", 1, AGAIN, 0 },
        { "\x80\x01", 2, OK, 128 },
        { "\xff\x7f", 2, OK, 16383 },
        { "\xff\xff", 2, AGAIN, 0 },
        { "\x80\x80\x01", 3, OK, 16384 },
        { "\xff\xff\x7f", 3, OK, 2097151 },
        { "\x80\x80\x80", 3, AGAIN, 0 },
        { "\x80\x80\x80\x01", 4, OK, 2097152 },
        { "\xff\xff\xff\x7f", 4, OK, 268435455 },
        { "\xff\xff\xff\xff", 4, ERROR, 0 },
        { "\x80\x80\x80\x80\x01", 5, ERROR, 0 },
        { "\x80\x00", 2, ERROR, 0 },
        { "\xff\x80\x00", 3, ERROR, 0 },
        { "\xff\xff\xff\x00", 4, ERROR, 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        c = cursor(cases[i].octets, cases[i].n);
        start = c.pos;
        value = 77;

        assert_int_equal(ngx_push_mqtt_read_varint(&c, &value), cases[i].rc);
        assert_int_equal(value, cases[i].rc == OK ? cases[i].value : 77);
        assert_ptr_equal(c.pos, cases[i].rc == OK ? c.end : start);

        free((void *) start);
    }
}


static void
test_strings(void **state)
{
    const uint8_t          *start;
    ngx_push_mqtt_str_t     s;
    ngx_push_mqtt_cursor_t  c;

    c = cursor("\x00\x02" "ab" "\x00\x00" "\x00\x01\xff" "\x00\x02x", 12);
    start = c.pos;

    assert_int_equal(ngx_push_mqtt_read_string(&c, &s), OK);
    assert_ptr_equal(s.data, start + 2);
    assert_int_equal(s.len, 2);

    /* empty is not absent */

    assert_int_equal(ngx_push_mqtt_read_string(&c, &s), OK);
    assert_non_null(s.data);
    assert_int_equal(s.len, 0);

    /* not UTF-8, but good binary data */

    assert_int_equal(ngx_push_mqtt_read_string(&c, &s), ERROR);
    assert_ptr_equal(c.pos, start + 6);
    assert_int_equal(ngx_push_mqtt_read_binary(&c, &s), OK);
    assert_int_equal(s.data[0], 0xff);

    assert_int_equal(ngx_push_mqtt_read_string(&c, &s), AGAIN);
    assert_int_equal(ngx_push_mqtt_read_binary(&c, &s), AGAIN);
    assert_ptr_equal(c.pos, start + 9);

    c.pos = c.end - 1;
    assert_int_equal(ngx_push_mqtt_read_binary(&c, &s), AGAIN);

    free((void *) start);
}


static int
frame(const char *octets, size_t n, uint32_t max, int version,
    ngx_push_mqtt_frame_t *f, ngx_push_mqtt_error_t *err)
{
    int                     rc;
    ngx_push_mqtt_cursor_t  c;

    err->code = 0;
    c = cursor(octets, n);
    rc = ngx_push_mqtt_read_frame(c.pos, n, max, version, f, err);
    free((void *) c.pos);

    return rc;
}


/* for each first octet and version: may a server receive it */

static void
test_frame_types(void **state)
{
    int                    version, rc, bad, flags, type;
    char                   octets[2];
    unsigned               first;
    ngx_push_mqtt_frame_t  f;
    ngx_push_mqtt_error_t  err;

    static const int  wanted[16] = {
        -1, 0, -2, 99, 0, 0, 2, 0, 2, -2, 2, -2, 0, -2, 0, 0
    };

    for (version = 0; version <= 5; version += version ? 1 : 4) {
        for (first = 0; first < 256; first++) {
            type = first >> 4;
            flags = first & 15;

            octets[0] = (char) first;
            octets[1] = 0;

            rc = frame(octets, 2, 100, version, &f, &err);

            bad = 0;

            if (wanted[type] == -1) {
                bad = 0x81;

            } else if (wanted[type] == -2 || (type == 15 && version == 4)) {
                bad = 0x82;

            } else if (wanted[type] == 99) {
                bad = (flags & 6) == 6 || flags == 8 || flags == 9 ? 0x81 : 0;

            } else if (flags != wanted[type]) {
                bad = 0x81;
            }

            assert_int_equal(rc, bad ? ERROR : OK);
            assert_int_equal(err.code, bad);

            /* nothing but the first octet is needed for a refusal */

            assert_int_equal(frame(octets, 1, 100, version, &f, &err),
                             bad ? ERROR : AGAIN);
            assert_int_equal(f.header, 0);
        }
    }
}


static void
test_frame_length(void **state)
{
    ngx_push_mqtt_frame_t  f;
    ngx_push_mqtt_error_t  err;

    assert_int_equal(frame("", 0, 100, 5, &f, &err), AGAIN);
    assert_int_equal(f.header, 0);

    assert_int_equal(frame("\x30\x03" "abc", 5, 5, 5, &f, &err), OK);
    assert_int_equal(f.type, NGX_PUSH_MQTT_PUBLISH);
    assert_int_equal(f.header, 2);
    assert_int_equal(f.remaining, 3);

    /* one octet more than the limit, before any of the body is there */

    assert_int_equal(frame("\x30\x03", 2, 4, 5, &f, &err), ERROR);
    assert_int_equal(err.code, 0x95);

    /* the length is known before the body is there */

    assert_int_equal(frame("\x32\xff\x7f" "a", 4, 20000, 5, &f, &err), AGAIN);
    assert_int_equal(f.header, 3);
    assert_int_equal(f.remaining, 16383);
    assert_int_equal(f.flags, 2);

    assert_int_equal(frame("\x30\xff\xff\xff\x7f", 5, NGX_PUSH_MQTT_PACKET_MAX,
                           5, &f, &err), AGAIN);
    assert_int_equal(f.remaining, NGX_PUSH_MQTT_VARINT_MAX);

    assert_int_equal(frame("\x30\xff\xff\xff\x7f", 5,
                           NGX_PUSH_MQTT_PACKET_MAX - 1, 5, &f, &err), ERROR);
    assert_int_equal(err.code, 0x95);

    assert_int_equal(frame("\xc0\x00", 2, 0, 5, &f, &err), ERROR);
    assert_int_equal(err.code, 0x95);

    assert_int_equal(frame("\x30\xff\xff\xff\xff", 5, UINT32_MAX, 5, &f, &err),
                     ERROR);
    assert_int_equal(err.code, 0x81);

    /* padded lengths: MQTT 5 forbids them */

    assert_int_equal(frame("\xc0\x80\x00", 3, 100, 5, &f, &err), ERROR);
    assert_int_equal(err.code, 0x81);
    assert_int_equal(frame("\xc0\x80\x00", 3, 100, 4, &f, &err), OK);
    assert_int_equal(f.header, 3);
    assert_int_equal(frame("\x10\x80\x00", 3, 100, 0, &f, &err), OK);
}


static int
utf8(const void *data, size_t n)
{
    int                     ok;
    ngx_push_mqtt_cursor_t  c;

    c = cursor(data, n);
    ok = ngx_push_mqtt_utf8_ok(c.pos, n);
    free((void *) c.pos);

    return ok;
}


/* the encoding of any number below 2^21, also of what is no character */

static size_t
encode(uint8_t *p, uint32_t code, size_t len)
{
    size_t  i;

    static const uint8_t  lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

    if (len == 1) {
        p[0] = (uint8_t) code;
        return 1;
    }

    for (i = len - 1; i > 0; i--) {
        p[i] = 0x80 | (code & 0x3f);
        code >>= 6;
    }

    p[0] = (uint8_t) (lead[len] | code);

    return len;
}


/* every number in every length that can hold it, between ASCII */

static void
test_utf8_all(void **state)
{
    int       ok;
    size_t    len;
    uint8_t   text[16];
    uint32_t  code, first;

    static const uint32_t  end[] = { 0, 0x80, 0x800, 0x10000, 0x200000 };

    for (len = 1; len <= 4; len++) {
        first = end[len - 1];

        for (code = 0; code < end[len]; code++) {
            ok = code >= first && code != 0 && code <= 0x10ffff
                 && (code < 0xd800 || code > 0xdfff);

            memset(text, 'a', sizeof(text));
            encode(text + 9, code, len);

            if (ngx_push_mqtt_utf8_ok(text, sizeof(text)) != ok) {
                fail_msg("U+%X in %d octets", code, (int) len);
            }
        }
    }
}


static void
test_utf8_broken(void **state)
{
    size_t   i, n, at;
    uint8_t  text[20];

    static const char *good[] = {
        "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x93\xb1"
    };

    assert_true(utf8("", 0));
    assert_true(utf8("0123456789abcdef", 16));

    for (i = 0; i < 3; i++) {
        n = strlen(good[i]);

        assert_true(utf8(good[i], n));

        /* cut anywhere, at the end of the input */

        for (at = 1; at < n; at++) {
            assert_false(utf8(good[i], at));
        }

        /* cut by ASCII */

        for (at = 1; at < n; at++) {
            memcpy(text, good[i], n);
            text[at] = 'a';
            assert_false(utf8(text, n));
        }
    }

    /* octets that never occur, at each place of a word */

    for (i = 0; i < 256; i++) {
        for (at = 0; at < sizeof(text); at++) {
            memset(text, 'x', sizeof(text));
            text[at] = (uint8_t) i;

            assert_int_equal(utf8(text, sizeof(text)), i > 0 && i < 0x80);
        }
    }
}


static void
test_topic_names(void **state)
{
    assert_true(ngx_push_mqtt_topic_name_ok((uint8_t *) "a/b", 3));
    assert_true(ngx_push_mqtt_topic_name_ok((uint8_t *) "/", 1));
    assert_true(ngx_push_mqtt_topic_name_ok((uint8_t *) "$SYS", 4));
    assert_false(ngx_push_mqtt_topic_name_ok((uint8_t *) "", 0));
    assert_false(ngx_push_mqtt_topic_name_ok((uint8_t *) "a/+", 3));
    assert_false(ngx_push_mqtt_topic_name_ok((uint8_t *) "a#b", 3));
    assert_false(ngx_push_mqtt_topic_name_ok((uint8_t *) "a", 65536));
}


typedef struct {
    const char  *filter;
    int          v4;
    int          v5;
    int          wildcard;
    const char  *share;
    const char  *topic;
} filter_case_t;


static void
test_topic_filters(void **state)
{
    int                     version, ok;
    size_t                  i, n;
    ngx_push_mqtt_cursor_t  c;
    ngx_push_mqtt_filter_t  f;
    const filter_case_t    *t;

    static const filter_case_t  cases[] = {
        { "a", 1, 1, 0, NULL, NULL },
        { "a/b", 1, 1, 0, NULL, NULL },
        { "/", 1, 1, 0, NULL, NULL },
        { "#", 1, 1, 1, NULL, NULL },
        { "+", 1, 1, 1, NULL, NULL },
        { "a/#", 1, 1, 1, NULL, NULL },
        { "/#", 1, 1, 1, NULL, NULL },
        { "+/b", 1, 1, 1, NULL, NULL },
        { "a/+/c/#", 1, 1, 1, NULL, NULL },
        { "", 0, 0, 0, NULL, NULL },
        { "#/", 0, 0, 0, NULL, NULL },
        { "a#", 0, 0, 0, NULL, NULL },
        { "a/#/", 0, 0, 0, NULL, NULL },
        { "##", 0, 0, 0, NULL, NULL },
        { "++", 0, 0, 0, NULL, NULL },
        { "+#", 0, 0, 0, NULL, NULL },
        { "a+", 0, 0, 0, NULL, NULL },
        { "+a", 0, 0, 0, NULL, NULL },
        { "a/+b", 0, 0, 0, NULL, NULL },
        { "$share/g/a", 1, 1, 0, "g", "a" },
        { "$share/g/#", 1, 1, 1, "g", "#" },
        { "$share/g//a", 1, 1, 0, "g", "/a" },
        { "$share", 1, 1, 0, NULL, NULL },
        { "$shared/g/a", 1, 1, 0, NULL, NULL },
        { "$share/", 1, 0, 0, NULL, NULL },
        { "$share/g", 1, 0, 0, NULL, NULL },
        { "$share/g/", 1, 0, 0, NULL, NULL },
        { "$share//a", 1, 0, 0, NULL, NULL },
        { "$share/+/a", 1, 0, 1, NULL, NULL },
        { "$share/#/a", 0, 0, 0, NULL, NULL },
        { "$share/g/a#", 0, 0, 0, NULL, NULL }
    };

    for (version = 4; version <= 5; version++) {
        for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            t = &cases[i];
            n = strlen(t->filter);
            c = cursor(t->filter, n);

            ok = ngx_push_mqtt_topic_filter_ok(c.pos, n, version, &f);

            if (ok != (version == 4 ? t->v4 : t->v5)) {
                fail_msg("%s, version %d: %d", t->filter, version, ok);
            }

            if (ok) {
                assert_int_equal(f.wildcard, t->wildcard);
                assert_int_equal(f.filter.len, n);
                assert_int_equal(f.topic.len,
                                 strlen(t->topic ? t->topic : t->filter));
                assert_memory_equal(f.topic.data,
                                    t->topic ? t->topic : t->filter,
                                    f.topic.len);

                if (t->share) {
                    assert_int_equal(f.share.len, strlen(t->share));
                    assert_memory_equal(f.share.data, t->share, f.share.len);

                } else {
                    assert_null(f.share.data);
                }
            }

            free((void *) c.pos);
        }
    }
}


static void
test_names(void **state)
{
    unsigned  code, known;

    assert_string_equal(ngx_push_mqtt_type_name(0), "reserved");
    assert_string_equal(ngx_push_mqtt_type_name(NGX_PUSH_MQTT_PUBLISH),
                        "PUBLISH");
    assert_string_equal(ngx_push_mqtt_type_name(NGX_PUSH_MQTT_AUTH), "AUTH");
    assert_string_equal(ngx_push_mqtt_type_name(16), "reserved");

    assert_string_equal(ngx_push_mqtt_reason_name(0x00), "success");
    assert_string_equal(ngx_push_mqtt_reason_name(0x8e), "session taken over");
    assert_string_equal(ngx_push_mqtt_reason_name(0xa2),
                        "wildcard subscriptions not supported");

    known = 0;

    for (code = 0; code < 300; code++) {
        known += strcmp(ngx_push_mqtt_reason_name(code), "unknown reason")
                 != 0;
    }

    assert_int_equal(known, 43);
}


static void
test_connack_codes(void **state)
{
    unsigned  code;
    uint8_t   known[256];

    memset(known, 0xff, sizeof(known));

    known[0x00] = 0;
    known[0x84] = 1;
    known[0x85] = 2;
    known[0x80] = known[0x83] = known[0x88] = known[0x89] = known[0x8b] = 3;
    known[0x97] = known[0x98] = known[0x9c] = known[0x9d] = known[0x9f] = 3;
    known[0x86] = known[0x8c] = 4;
    known[0x87] = known[0x8a] = known[0x90] = known[0x9a] = known[0x9b] = 5;

    for (code = 0; code < 256; code++) {
        assert_int_equal(ngx_push_mqtt_connack_code(code),
                         known[code] == 0xff ? -1 : known[code]);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_varint),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_frame_types),
        cmocka_unit_test(test_frame_length),
        cmocka_unit_test(test_utf8_all),
        cmocka_unit_test(test_utf8_broken),
        cmocka_unit_test(test_topic_names),
        cmocka_unit_test(test_topic_filters),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_connack_codes)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
