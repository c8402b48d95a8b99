
/*
 * Copyright (C) the ngx_push authors
 */


#include "bench.h"


#define BENCH_MAGIC  0x42485350  /* "PSHB" */


/*
 * The first BENCH_MARK_SIZE bytes of a payload.  Both ends are this program on
 * one machine: host byte order, CLOCK_MONOTONIC.
 */

typedef struct {
    uint32_t  magic;
    uint32_t  run_id;
    uint32_t  log;
    uint32_t  seq;
    uint64_t  time;          /* when it was, or was to be, published; ns */
    uint32_t  size;          /* of the whole payload */
    uint32_t  spare;
} bench_mark_t;

_Static_assert(sizeof(bench_mark_t) == BENCH_MARK_SIZE, "size of the marks");


/* writes a whole payload of --size bytes */

void
bench_mark(const bench_worker_t *w, char *p, const bench_request_t *r)
{
    bench_mark_t  m;

    m.magic = BENCH_MAGIC;
    m.run_id = w->o->run_id;
    m.log = r->log;
    m.seq = r->seq;
    m.time = r->time;
    m.size = w->o->size;
    m.spare = 0;

    memcpy(p, &m, sizeof(m));
    memcpy(p + sizeof(m), w->filler, w->o->size - sizeof(m));
}


/*
 * A first delivery counts as in order if nothing later came before it.  A gap
 * is no fault yet: what stood in it may have been refused.  What is still
 * missing at the end is found by bench_check_final().
 */

static int
bench_check_sequence(bench_worker_t *w, bench_device_t *d, uint32_t seq)
{
    uint32_t  n;

    if (seq >= d->next) {
        n = seq - d->next + 1;
        d->seen = (n < 64 ? d->seen << n : 0) | 1;
        d->next = seq + 1;
        return BENCH_OK;
    }

    n = d->next - 1 - seq;

    if (n >= 64 || (d->seen & ((uint64_t) 1 << n))) {
        bench_count(w, BENCH_C_DUPLICATES, 1);
        return BENCH_AGAIN;
    }

    d->seen |= (uint64_t) 1 << n;
    bench_count(w, BENCH_C_MISORDERED, 1);

    return BENCH_OK;
}


void
bench_check(bench_worker_t *w, bench_device_t *d, const unsigned char *p,
    size_t len, int dup)
{
    uint64_t      now;
    bench_mark_t  m;

    if (len < sizeof(m)) {
        bench_count(w, BENCH_C_FOREIGN, 1);
        return;
    }

    memcpy(&m, p, sizeof(m));

    if (m.magic != BENCH_MAGIC) {
        bench_count(w, BENCH_C_FOREIGN, 1);
        return;
    }

    if (m.run_id != w->o->run_id) {
        bench_count(w, BENCH_C_STALE, 1);
        return;
    }

    if (m.size != len || len != w->o->size
        || memcmp(p + sizeof(m), w->filler, len - sizeof(m)) != 0)
    {
        bench_count(w, BENCH_C_CORRUPT, 1);
        return;
    }

    if (m.log != d->log) {
        bench_count(w, BENCH_C_MISDIRECTED, 1);
        return;
    }

    if (dup) {
        bench_count(w, BENCH_C_DUP_FLAG, 1);
    }

    if (bench_check_sequence(w, d, m.seq) != BENCH_OK) {
        return;
    }

    d->received++;
    bench_count(w, BENCH_C_DELIVERED, 1);

    if (w->sh->measuring) {
        now = bench_now();
        bench_hist_add(&w->st->hist[BENCH_H_DELIVERY],
                       now > m.time ? now - m.time : 0);
    }
}


void
bench_check_final(bench_worker_t *w, bench_device_t *d)
{
    uint32_t      most;
    bench_log_t  *log;

    log = &w->sh->logs[d->log];

    if (log->accepted > d->received) {
        bench_count(w, BENCH_C_MISSING, log->accepted - d->received);
    }

    most = log->accepted + log->unknown;

    if (d->received > most) {
        bench_count(w, BENCH_C_UNWANTED, d->received - most);
    }
}
