/* link: ngx_push_redis_frame.c */

/*
 * libFuzzer entry for what comes by the bus.  Every slice must lie in the
 * input, and what was read is written again and must come back the same.
 */


#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "redis/ngx_push_redis_frame.h"


#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check_str(const uint8_t *data, size_t size, const ngx_push_frame_str_t *s)
{
    CHECK(s->len <= size);

    if (s->len) {
        CHECK(s->data >= data && s->data <= data + size - s->len);
    }
}


static void
check_again(const ngx_push_frame_t *f)
{
    size_t             n;
    uint8_t           *buf;
    const uint8_t     *p;
    ngx_push_frame_t   again;

    n = ngx_push_frame_size(f);
    buf = malloc(n);
    CHECK(buf != NULL);
    CHECK(ngx_push_frame_write(buf, f) == buf + n);

    p = buf;
    CHECK(ngx_push_frame_next(&p, buf + n, &again) == NGX_PUSH_FRAME_OK);
    CHECK(p == buf + n);
    CHECK(again.type == f->type && again.seq == f->seq
          && again.ticket == f->ticket && again.claim == f->claim
          && again.blob.len == f->blob.len && again.name.len == f->name.len);

    free(buf);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t           *p, *end;
    ngx_push_frame_t         f;
    ngx_push_frame_entry_t   e;

    p = data;
    end = data + size;

    if (ngx_push_frame_entry(&p, end, &e) != NGX_PUSH_FRAME_OK) {
        return 0;
    }

    check_str(data, size, &e.node);

    while (ngx_push_frame_next(&p, end, &f) == NGX_PUSH_FRAME_OK) {
        check_str(data, size, &f.blob);
        check_str(data, size, &f.product);
        check_str(data, size, &f.name);
        check_str(data, size, &f.device);

        if (f.type <= NGX_PUSH_FRAME_IS_REFLUSH) {
            check_again(&f);
        }
    }

    return 0;
}
