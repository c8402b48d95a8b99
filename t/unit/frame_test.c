/* link: ngx_push_redis_frame.c */

/*
 * Entries of the bus: written and read again, cut at every octet, with every
 * octet changed.
 */


#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "redis/ngx_push_redis_frame.h"


#define STR(s)  { (const uint8_t *) (s), sizeof(s) - 1 }

#define SIZE    4096


static const ngx_push_frame_entry_t  head = {
    0x01020304, 513, 0xfffffffe, 0x0102030405060708ULL, STR("node-1")
};

static const ngx_push_frame_t  frames[] = {
    { .type = NGX_PUSH_FRAME_IS_MESSAGE, .incarnation = 0x1122334455667788ULL,
      .seq = 7, .kind = 1, .product = STR("shop"), .name = STR("g\0}1"),
      .blob = STR("\1\0some octets\n\0") },
    { .type = NGX_PUSH_FRAME_IS_MESSAGE, .incarnation = 1,
      .seq = 0xffffffffffffffffULL, .kind = 2, .product = STR("p") },
    { .type = NGX_PUSH_FRAME_IS_KICK, .ticket = 0x8000000000000001ULL,
      .slot = 191, .gen = 4, .claim = 9, .reason = 0x8e,
      .product = STR("shop"), .name = STR("u1"), .device = STR("d1") },
    { .type = NGX_PUSH_FRAME_IS_CHECK },
    { .type = NGX_PUSH_FRAME_IS_RELEASED, .ticket = 5, .slot = 1, .gen = 2 },
    { .type = NGX_PUSH_FRAME_IS_REFLUSH }
};

#define FRAMES  (sizeof(frames) / sizeof(frames[0]))


static size_t
build(uint8_t *buf)
{
    size_t    i;
    uint8_t  *p, *start;

    p = ngx_push_frame_write_entry(buf, &head);

    for (i = 0; i < FRAMES; i++) {
        start = p;
        p = ngx_push_frame_write(p, &frames[i]);
        assert_int_equal(p - start, ngx_push_frame_size(&frames[i]));
    }

    return p - buf;
}


static void
same_str(const ngx_push_frame_str_t *a, const ngx_push_frame_str_t *b)
{
    assert_int_equal(a->len, b->len);

    if (a->len) {
        assert_memory_equal(a->data, b->data, a->len);
    }
}


static void
same(const ngx_push_frame_t *a, const ngx_push_frame_t *b)
{
    assert_int_equal(a->type, b->type);
    assert_true(a->incarnation == b->incarnation);
    assert_true(a->seq == b->seq);
    assert_int_equal(a->kind, b->kind);
    assert_true(a->ticket == b->ticket);
    assert_int_equal(a->slot, b->slot);
    assert_int_equal(a->gen, b->gen);
    assert_int_equal(a->claim, b->claim);
    assert_int_equal(a->reason, b->reason);
    same_str(&a->blob, &b->blob);
    same_str(&a->product, &b->product);
    same_str(&a->name, &b->name);
    same_str(&a->device, &b->device);
}


static void
round_trip(void **state)
{
    size_t                   i, len;
    uint8_t                  buf[SIZE];
    const uint8_t           *p;
    ngx_push_frame_t         f;
    ngx_push_frame_entry_t   e;

    len = build(buf);
    p = buf;

    assert_int_equal(ngx_push_frame_entry(&p, buf + len, &e),
                     NGX_PUSH_FRAME_OK);
    assert_true(e.epoch == head.epoch && e.slot == head.slot
                && e.gen == head.gen && e.number == head.number);
    same_str(&e.node, &head.node);

    for (i = 0; i < FRAMES; i++) {
        assert_int_equal(ngx_push_frame_next(&p, buf + len, &f),
                         NGX_PUSH_FRAME_OK);
        same(&f, &frames[i]);
    }

    assert_int_equal(ngx_push_frame_next(&p, buf + len, &f),
                     NGX_PUSH_FRAME_END);
}


/* Whatever is cut off, what was read is right and the end is not taken. */

static void
every_cut(void **state)
{
    size_t                   len, cut, n, whole;
    uint8_t                  buf[SIZE], *copy;
    const uint8_t           *p;
    ngx_push_frame_t         f;
    ngx_push_frame_rc_t      rc;
    ngx_push_frame_entry_t   e;

    len = build(buf);

    for (cut = 0; cut < len; cut++) {

        /* of its own, so that a read beyond it is seen */

        copy = malloc(cut ? cut : 1);
        assert_non_null(copy);
        memcpy(copy, buf, cut);

        p = copy;
        n = 0;
        rc = ngx_push_frame_entry(&p, copy + cut, &e);

        while (rc == NGX_PUSH_FRAME_OK) {
            whole = p - copy;
            rc = ngx_push_frame_next(&p, copy + cut, &f);

            if (rc == NGX_PUSH_FRAME_OK) {
                same(&f, &frames[n++]);

            } else if (rc == NGX_PUSH_FRAME_END) {
                assert_int_equal(whole, cut);
            }
        }

        assert_true(n < FRAMES);
        free(copy);
    }
}


static void
every_octet(void **state)
{
    size_t                   len, i, n;
    uint8_t                  buf[SIZE], *copy;
    unsigned                 value;
    const uint8_t           *p;
    ngx_push_frame_t         f;
    ngx_push_frame_rc_t      rc;
    ngx_push_frame_entry_t   e;

    len = build(buf);
    copy = malloc(len);
    assert_non_null(copy);

    for (i = 0; i < len; i++) {
        for (value = 0; value < 256; value++) {
            memcpy(copy, buf, len);
            copy[i] = (uint8_t) value;

            p = copy;
            rc = ngx_push_frame_entry(&p, copy + len, &e);

            for (n = 0; rc == NGX_PUSH_FRAME_OK; n++) {
                rc = ngx_push_frame_next(&p, copy + len, &f);
                assert_true(n < len);
            }
        }
    }

    free(copy);
}


static void
unknown(void **state)
{
    uint8_t                  buf[SIZE], *w;
    const uint8_t           *p;
    ngx_push_frame_t         f;

    static const uint8_t     later[] = { 77, 0, 0, 0, 3, 1, 2, 3 };

    memcpy(buf, later, sizeof(later));
    w = ngx_push_frame_write(buf + sizeof(later), &frames[3]);

    p = buf;
    assert_int_equal(ngx_push_frame_next(&p, w, &f), NGX_PUSH_FRAME_OK);
    assert_int_equal(f.type, 77);
    assert_int_equal(ngx_push_frame_next(&p, w, &f), NGX_PUSH_FRAME_OK);
    assert_int_equal(f.type, NGX_PUSH_FRAME_IS_CHECK);
    assert_int_equal(ngx_push_frame_next(&p, w, &f), NGX_PUSH_FRAME_END);
}


static void
wrong(void **state)
{
    size_t                   len;
    uint8_t                  buf[SIZE];
    const uint8_t           *p;
    ngx_push_frame_t         f;
    ngx_push_frame_entry_t   e;

    len = build(buf);
    p = buf;
    buf[0] = NGX_PUSH_FRAME_VERSION + 1;

    assert_int_equal(ngx_push_frame_entry(&p, buf + len, &e),
                     NGX_PUSH_FRAME_BAD);

    /* octets behind what a RELEASED has */

    static const uint8_t     more[] = { 3, 0, 0, 0, 15,
                                        0, 0, 0, 0, 0, 0, 0, 1, 0, 1,
                                        0, 0, 0, 1, 9 };

    p = more;
    assert_int_equal(ngx_push_frame_next(&p, more + sizeof(more), &f),
                     NGX_PUSH_FRAME_BAD);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(every_cut),
        cmocka_unit_test(every_octet),
        cmocka_unit_test(unknown),
        cmocka_unit_test(wrong)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
