
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
bench_check_sequence(bench_worker_t *w, bench_track_t *t, uint32_t seq)
{
    uint32_t  n;

    if (seq >= t->next) {
        n = seq - t->next + 1;
        t->seen = (n < 64 ? t->seen << n : 0) | 1;
        t->next = seq + 1;
        return BENCH_OK;
    }

    n = t->next - 1 - seq;

    if (n >= 64 || (t->seen & ((uint64_t) 1 << n))) {
        bench_count(w, BENCH_C_DUPLICATES, 1);
        return BENCH_AGAIN;
    }

    t->seen |= (uint64_t) 1 << n;
    bench_count(w, BENCH_C_MISORDERED, 1);

    return BENCH_OK;
}


void
bench_check(bench_worker_t *w, bench_device_t *d, const unsigned char *p,
    size_t len, int dup)
{
    uint64_t        now;
    bench_mark_t    m;
    bench_track_t  *t;

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

    t = m.log == d->track[1].log ? &d->track[1] : &d->track[0];

    if (m.log != t->log) {
        bench_count(w, BENCH_C_MISDIRECTED, 1);
        return;
    }

    if (dup) {
        bench_count(w, BENCH_C_DUP_FLAG, 1);
    }

    if (bench_check_sequence(w, t, m.seq) != BENCH_OK) {
        return;
    }

    t->received++;
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
    uint32_t        i, most;
    bench_log_t    *log;
    bench_track_t  *t;

    for (i = 0; i < 2; i++) {
        t = &d->track[i];

        if (t->log == BENCH_NO_LOG) {
            continue;
        }

        log = &w->sh->logs[t->log];

        if (log->accepted > t->received) {
            bench_count(w, BENCH_C_MISSING, log->accepted - t->received);
        }

        most = log->accepted + log->unknown;

        if (t->received > most) {
            bench_count(w, BENCH_C_UNWANTED, t->received - most);
        }
    }
}


/* how much of what was accepted it does not have yet */

uint64_t
bench_check_owed(bench_worker_t *w, bench_device_t *d)
{
    uint32_t        i, accepted;
    uint64_t        n;
    bench_track_t  *t;

    n = 0;

    for (i = 0; i < 2; i++) {
        t = &d->track[i];

        if (t->log != BENCH_NO_LOG) {
            accepted = __atomic_load_n(&w->sh->logs[t->log].accepted,
                                       __ATOMIC_RELAXED);
            n += accepted > t->received ? accepted - t->received : 0;
        }
    }

    return n;
}
