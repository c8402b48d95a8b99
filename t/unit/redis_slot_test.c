/* link: ngx_push_redis_slot.c */

/*
 * Copyright (C) the ngx_push authors
 */


/* Slots of keys, redirects and the time until the next try. */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "redis/ngx_push_redis_slot.h"


/* nginx's, which is not linked in */

ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t  value;

    if (n == 0) {
        return NGX_ERROR;
    }

    for (value = 0; n > 0; n--, line++) {
        if (*line < '0' || *line > '9' || value > NGX_MAX_INT_T_VALUE / 10 - 1)
        {
            return NGX_ERROR;
        }

        value = value * 10 + *line - '0';
    }

    return value;
}


static ngx_uint_t
slot(const char *key)
{
    ngx_str_t  s;

    s.data = (u_char *) key;
    s.len = strlen(key);

    return ngx_push_redis_slot(&s);
}


/* As CLUSTER KEYSLOT of Redis 7.0 has them. */

static void
test_slots(void **state)
{
    assert_int_equal(slot(""), 0);
    assert_int_equal(slot("123456789"), 12739);
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot("bar"), 5061);

    /* the tag decides, the first one that is not empty */
    assert_int_equal(slot("np:{foo}q"), 12182);
    assert_int_equal(slot("{foo}{bar}"), 12182);
    assert_int_equal(slot("a{foo"), 113);
    assert_int_equal(slot("{}foo"), 9500);
    assert_int_equal(slot("foo}{"), 8134);

    assert_int_equal(slot("np:{shop:ann}q"), slot("np:{shop:ann}d"));
}


static ngx_int_t
redirect(const char *text, ngx_push_redis_redirect_t *r)
{
    return ngx_push_redis_redirect(text, strlen(text), r);
}


static void
test_redirects(void **state)
{
    ngx_push_redis_redirect_t  r;

    assert_int_equal(redirect("MOVED 3999 127.0.0.1:6381", &r), NGX_OK);
    assert_int_equal(r.ask, 0);
    assert_int_equal(r.slot, 3999);
    assert_string_equal(r.host, "127.0.0.1");
    assert_int_equal(r.port, 6381);

    assert_int_equal(redirect("ASK 16383 ::1:6381", &r), NGX_OK);
    assert_int_equal(r.ask, 1);
    assert_int_equal(r.slot, 16383);
    assert_string_equal(r.host, "::1");

    assert_int_equal(redirect("MOVED 0 node-1.example.com:65535", &r), NGX_OK);
    assert_string_equal(r.host, "node-1.example.com");

    assert_int_equal(redirect("MOVED 0 :6381", &r), NGX_OK);
    assert_string_equal(r.host, "");
}


static void
test_broken_redirects(void **state)
{
    char                       text[400];
    size_t                     i;
    ngx_push_redis_redirect_t  r;

    static const char  *broken[] = {
        "", "MOVED", "MOVED ", "MOVED 1", "MOVED 1 ", "MOVED 1 a", "MOVED 1 a:",
        "MOVED 1 a:0", "MOVED 1 a:65536", "MOVED 1 a:x", "MOVED 16384 a:1",
        "MOVED -1 a:1", "MOVED x a:1", "MOVED  a:1", "ASK", "ASK 1 a:-1",
        "MOVEDX 1 a:1", "ERR MOVED 1 a:1",
        "MOVED 99999999999999999999 a:1", "MOVED 1 a:99999999999999999999"
    };

    for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        assert_int_equal(redirect(broken[i], &r), NGX_DECLINED);
    }

    /* a host that is too long, and one that just fits */

    memset(text, 'h', sizeof(text));
    memcpy(text, "MOVED 1 ", 8);
    memcpy(text + 8 + 256, ":1", 3);
    assert_int_equal(redirect(text, &r), NGX_DECLINED);

    memcpy(text + 8 + 255, ":1", 3);
    assert_int_equal(redirect(text, &r), NGX_OK);
    assert_int_equal(strlen(r.host), 255);
}


static void
test_literals(void **state)
{
    assert_true(ngx_push_redis_literal("127.0.0.1"));
    assert_true(ngx_push_redis_literal("::1"));
    assert_true(ngx_push_redis_literal("fe80::1"));
    assert_false(ngx_push_redis_literal("localhost"));
    assert_false(ngx_push_redis_literal(""));
    assert_false(ngx_push_redis_literal("1.2.3"));
    assert_false(ngx_push_redis_literal("[::1]"));
}


static void
test_backoff(void **state)
{
    uint32_t    random;
    ngx_uint_t  n;
    ngx_msec_t  full, delay, low, high;

    for (n = 0; n < 100; n++) {
        full = n < 7 ? 50UL << n : 5000;
        low = full;
        high = 0;

        for (random = 0; random < 100000; random += 7) {
            delay = ngx_push_redis_backoff(n, random);

            low = delay < low ? delay : low;
            high = delay > high ? delay : high;
        }

        /* half of it is left to chance, and all of that half happens */

        assert_int_equal(low, full / 2);
        assert_int_equal(high, full / 2 + full / 2);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_broken_redirects),
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_backoff)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
