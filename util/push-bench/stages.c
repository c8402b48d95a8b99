
/*
 * Copyright (C) the ngx_push authors
 */


#include "bench.h"


static const bench_stage_t *
bench_stage_now(const bench_run_t *run)
{
    return &run->o->stages[run->sh->stage - 1];
}


/* devices that are away, for how long and how many; called while waiting */

void
bench_stages_watch(bench_run_t *run, const uint64_t *c, uint64_t now)
{
    uint64_t         connected;
    bench_passed_t  *p;

    if (run->sh->stage == 0) {
        return;
    }

    p = &run->passed[run->sh->stage - 1];
    connected = c[BENCH_C_READY] - c[BENCH_C_UNREADY];

    if (connected >= run->o->connections) {
        return;
    }

    if (p->away_from == 0) {
        p->away_from = now;
    }

    p->away_to = now;

    if (run->o->connections - connected > p->away_most) {
        p->away_most = run->o->connections - connected;
    }
}


static int
bench_stage_published(bench_run_t *run, const uint64_t *c)
{
    const bench_stage_t  *s;
    bench_passed_t       *p;

    s = bench_stage_now(run);
    p = &run->passed[run->sh->stage - 1];

    return s->messages
           && c[BENCH_C_ISSUED] - p->begin.c[BENCH_C_ISSUED] >= s->messages
           && bench_all_delivered(run, c);
}


static int
bench_stage_settled(bench_run_t *run, const uint64_t *c)
{
    uint32_t  i;

    if (!bench_all_delivered(run, c)
        || (run->o->reconnect && !bench_all_ready(run, c)))
    {
        return 0;
    }

    for (i = 0; i < run->o->processes; i++) {
        if (__atomic_load_n(&run->sh->st[i].owed, __ATOMIC_ACQUIRE)) {
            return 0;
        }
    }

    return 1;
}


static int
bench_stage(bench_run_t *run)
{
    int                   rc, expects;
    bench_passed_t       *p;
    const bench_stage_t  *s;

    s = bench_stage_now(run);
    p = &run->passed[run->sh->stage - 1];
    expects = s->kind != BENCH_STAGE_HOLD;

    run->sh->run_start = bench_now();

    if (s->warmup == 0) {
        bench_sample(run, &p->begin, 0);
        run->sh->measuring = 1;
    }

    if (!run->o->quiet) {
        fprintf(stderr, "stage %s\n", s->name);
    }

    bench_set_phase(run, BENCH_PHASE_RUN);

    if (s->warmup > 0) {
        rc = bench_wait(run, s->name, NULL, s->warmup * 1e9, expects);
        if (rc == BENCH_ERROR) {
            return rc;
        }

        bench_sample(run, &p->begin, 0);
        run->sh->measuring = 1;
    }

    rc = bench_wait(run, s->name, bench_stage_published, s->duration * 1e9,
                    expects);

    bench_sample(run, &p->end, 0);
    run->sh->measuring = 0;

    if (rc == BENCH_ERROR) {
        return rc;
    }

    bench_set_phase(run, BENCH_PHASE_DRAIN);

    rc = bench_wait(run, "drain", bench_stage_settled, 0, 1);
    if (rc != BENCH_OK) {
        return rc;
    }

    bench_sample(run, &p->settled, 0);
    bench_merge(run, p->hist);

    return BENCH_OK;
}


int
bench_stages(bench_run_t *run)
{
    int  i;

    bench_merge(run, run->hist);

    for (i = 0; i < run->o->nstages; i++) {

        /* with the phase that follows: nobody publishes by the last plan */

        __atomic_store_n(&run->sh->stage, i + 1, __ATOMIC_RELEASE);

        if (bench_stage(run) != BENCH_OK) {
            return BENCH_ERROR;
        }
    }

    return BENCH_OK;
}
