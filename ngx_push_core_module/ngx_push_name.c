
/*
 * Copyright (C) the ngx_push authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_push_token.h"


static u_char *ngx_push_name_char(u_char *p, u_char *end);


ngx_uint_t
ngx_push_name_ok(ngx_str_t *name)
{
    u_char  *p, *end;

    if (name->len == 0 || name->len > NGX_PUSH_NAME_MAX) {
        return 0;
    }

    p = name->data;
    end = p + name->len;

    while (p < end) {
        p = ngx_push_name_char(p, end);

        if (p == NULL) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_push_topic_name_ok(ngx_str_t *name)
{
    size_t  i;

    for (i = 0; i < name->len; i++) {
        switch (name->data[i]) {

        case '/':
        case '+':
        case '#':
            return 0;
        }
    }

    return ngx_push_name_ok(name);
}


/*
 * Steps over one character, given p < end. NULL: a control character, or not
 * the one and only encoding of a character (Unicode, table 3-7).
 */

static u_char *
ngx_push_name_char(u_char *p, u_char *end)
{
    u_char  c, low, high;
    size_t  n;

    c = *p++;

    if (c < 0x80) {
        return (c < 0x20 || c == 0x7f) ? NULL : p;
    }

    /* the range of the second byte; those after it are 80 to BF */

    low = 0x80;
    high = 0xbf;

    if (c < 0xc2) {
        return NULL;                   /* continuation or overlong */

    } else if (c < 0xe0) {
        n = 1;

        if (c == 0xc2) {
            low = 0xa0;                /* U+0080 to U+009F: controls */
        }

    } else if (c < 0xf0) {
        n = 2;

        if (c == 0xe0) {
            low = 0xa0;                /* overlong */

        } else if (c == 0xed) {
            high = 0x9f;               /* surrogates */
        }

    } else if (c < 0xf5) {
        n = 3;

        if (c == 0xf0) {
            low = 0x90;                /* overlong */

        } else if (c == 0xf4) {
            high = 0x8f;               /* over U+10FFFF */
        }

    } else {
        return NULL;
    }

    if (n > (size_t) (end - p)) {
        return NULL;
    }

    if (*p < low || *p > high) {
        return NULL;
    }

    for (p++, n--; n; p++, n--) {
        if (*p < 0x80 || *p > 0xbf) {
            return NULL;
        }
    }

    return p;
}
