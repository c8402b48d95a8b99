/* link: ngx_push_name.c */

/*
 * Copyright (C) the ngx_push authors
 */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_push_token.h"


typedef struct {
    const char  *text;
    ngx_uint_t   name;
    ngx_uint_t   topic;
} name_case_t;


static name_case_t  cases[] = {
    { "a", 1, 1 },
    { "alice", 1, 1 },
    { " ", 1, 1 },
    { "alice@example.com", 1, 1 },
    { "a/b", 1, 0 },
    { "a+b", 1, 0 },
    { "#", 1, 0 },
    { "$share", 1, 1 },

    { "", 0, 0 },
    { "a\tb", 0, 0 },
    { "a\r\nb", 0, 0 },
    { "\x1f", 0, 0 },
    { "\x7e", 1, 1 },
    { "\x7f", 0, 0 },                    /* DEL */

    { "\x80", 0, 0 },                    /* continuation alone */
    { "a\xbf", 0, 0 },
    { "\xc0\x80", 0, 0 },                /* overlong NUL */
    { "\xc0\xaf", 0, 0 },                /* overlong slash */
    { "\xc1\xbf", 0, 0 },
    { "\xc2\x80", 0, 0 },                /* U+0080, a control */
    { "\xc2\x9f", 0, 0 },                /* U+009F, the last of them */
    { "\xc2\xa0", 1, 1 },                /* U+00A0 */
    { "\xc2", 0, 0 },                    /* cut short */
    { "\xc2" "a", 0, 0 },
    { "\xc3\xbc", 1, 1 },                /* u umlaut */
    { "\xdf\xbf", 1, 1 },
    { "\xdf\xc0", 0, 0 },

    { "\xe0\x80\x80", 0, 0 },            /* overlong */
    { "\xe0\x9f\xbf", 0, 0 },
    { "\xe0\xa0\x80", 1, 1 },            /* U+0800 */
    { "\xe2\x82\xac", 1, 1 },            /* euro sign */
    { "\xe2\x82", 0, 0 },
    { "\xe2", 0, 0 },
    { "\xe2\x82" "a", 0, 0 },
    { "\xed\x9f\xbf", 1, 1 },            /* U+D7FF */
    { "\xed\xa0\x80", 0, 0 },            /* U+D800, a surrogate */
    { "\xed\xbf\xbf", 0, 0 },
    { "\xee\x80\x80", 1, 1 },            /* U+E000 */
    { "\xef\xbf\xbf", 1, 1 },            /* U+FFFF */

    { "\xf0\x80\x80\x80", 0, 0 },        /* overlong */
    { "\xf0\x8f\xbf\xbf", 0, 0 },
    { "\xf0\x90\x80\x80", 1, 1 },        /* U+10000 */
    { "\xf0\x9f\x98\x80", 1, 1 },
    { "\xf0\x9f\x98", 0, 0 },
    { "\xf0\x9f\x98" "a", 0, 0 },
    { "\xf4\x8f\xbf\xbf", 1, 1 },        /* U+10FFFF, the last */
    { "\xf4\x90\x80\x80", 0, 0 },
    { "\xf5\x80\x80\x80", 0, 0 },
    { "\xf8\x88\x80\x80\x80", 0, 0 },
    { "\xff", 0, 0 },
    { NULL, 0, 0 }
};


/* The bytes in memory of their own, so that a sanitizer sees a read beyond. */

static void
check(const char *text, size_t len, ngx_uint_t name, ngx_uint_t topic)
{
    ngx_str_t  s;

    s.len = len;
    s.data = malloc(len ? len : 1);
    assert_non_null(s.data);
    memcpy(s.data, text, len);

    if (ngx_push_name_ok(&s) != name || ngx_push_topic_name_ok(&s) != topic) {
        fail_msg("\"%.*s\" (%zu bytes): name %d, topic name %d",
                 (int) len, text, len, (int) ngx_push_name_ok(&s),
                 (int) ngx_push_topic_name_ok(&s));
    }

    free(s.data);
}


static void
test_table(void **state)
{
    name_case_t  *c;

    for (c = cases; c->text; c++) {
        check(c->text, strlen(c->text), c->name, c->topic);
    }
}


static void
test_nul(void **state)
{
    check("\0", 1, 0, 0);
    check("a\0b", 3, 0, 0);
    check("ab\0", 3, 0, 0);
}


static void
test_length(void **state)
{
    char  long_name[NGX_PUSH_NAME_MAX + 1];

    memset(long_name, 'x', sizeof(long_name));

    check(long_name, NGX_PUSH_NAME_MAX, 1, 1);
    check(long_name, NGX_PUSH_NAME_MAX + 1, 0, 0);
}


/* Every code point has exactly one accepted encoding or, controls, none. */

static void
test_all_code_points(void **state)
{
    char      b[4];
    size_t    n;
    uint32_t  c;

    for (c = 0x80; c < 0x110000; c++) {

        if (c < 0x800) {
            b[0] = (char) (0xc0 | c >> 6);
            b[1] = (char) (0x80 | (c & 0x3f));
            n = 2;

        } else if (c < 0x10000) {
            b[0] = (char) (0xe0 | c >> 12);
            b[1] = (char) (0x80 | (c >> 6 & 0x3f));
            b[2] = (char) (0x80 | (c & 0x3f));
            n = 3;

        } else {
            b[0] = (char) (0xf0 | c >> 18);
            b[1] = (char) (0x80 | (c >> 12 & 0x3f));
            b[2] = (char) (0x80 | (c >> 6 & 0x3f));
            b[3] = (char) (0x80 | (c & 0x3f));
            n = 4;
        }

        if (c < 0xa0 || (c >= 0xd800 && c < 0xe000)) {
            check(b, n, 0, 0);

        } else {
            check(b, n, 1, 1);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_all_code_points),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
