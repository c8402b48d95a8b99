
/*
 * Copyright (C) the ngx_push authors
 */


#include "common.h"


uint64_t
bench_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


static unsigned
bench_hist_index(uint64_t v)
{
    int  e;

    if (v < (1 << BENCH_HIST_SUB)) {
        return v;
    }

    e = 63 - __builtin_clzll(v);

    return ((unsigned) (e - BENCH_HIST_SUB + 1) << BENCH_HIST_SUB)
           + ((v >> (e - BENCH_HIST_SUB)) & ((1 << BENCH_HIST_SUB) - 1));
}


/* the largest value that falls into a bucket */

static uint64_t
bench_hist_value(unsigned i)
{
    int       e;
    uint64_t  low;

    if (i < (1 << BENCH_HIST_SUB)) {
        return i;
    }

    e = (int) (i >> BENCH_HIST_SUB) - 1;
    low = (uint64_t) ((1 << BENCH_HIST_SUB)
                      + (i & ((1 << BENCH_HIST_SUB) - 1))) << e;

    return low + ((uint64_t) 1 << e) - 1;
}


void
bench_hist_add(bench_hist_t *h, uint64_t v)
{
    h->bucket[bench_hist_index(v)]++;
    h->count++;

    if (v > h->max) {
        h->max = v;
    }
}


void
bench_hist_merge(bench_hist_t *to, const bench_hist_t *from)
{
    unsigned  i;

    for (i = 0; i < BENCH_HIST_SIZE; i++) {
        to->bucket[i] += from->bucket[i];
    }

    to->count += from->count;

    if (from->max > to->max) {
        to->max = from->max;
    }
}


uint64_t
bench_hist_quantile(const bench_hist_t *h, double q)
{
    double    rank;
    unsigned  i;
    uint64_t  sum, v;

    if (h->count == 0) {
        return 0;
    }

    sum = 0;
    rank = q * h->count;

    for (i = 0; i < BENCH_HIST_SIZE; i++) {
        sum += h->bucket[i];

        if (sum && sum >= rank) {
            v = bench_hist_value(i);
            return v < h->max ? v : h->max;
        }
    }

    return h->max;
}
