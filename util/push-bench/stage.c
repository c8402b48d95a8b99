
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Stages: what is done with devices that connect once, one thing after the
 * other.  The parent says which (stages.c), a worker finds out here.  The logs
 * are one for each user and, as the last one, that of the broadcasts.
 */


#include "bench.h"


#define BENCH_OWED_EVERY  100000000  /* ns */


static const char *const  bench_stage_kinds[] = {
    [BENCH_STAGE_HOLD] = "hold",
    [BENCH_STAGE_UNICAST] = "unicast",
    [BENCH_STAGE_BROADCAST] = "broadcast"
};

#define BENCH_NKINDS                                                          \
    (sizeof(bench_stage_kinds) / sizeof(bench_stage_kinds[0]))


const char *
bench_stage_kind(bench_stage_e kind)
{
    return bench_stage_kinds[kind];
}


static double
bench_stage_number(const char *name, const char *value, double max)
{
    char    *end;
    double   v;

    v = strtod(value, &end);

    if (end == value || *end != '\0' || !(v >= 0 && v <= max)) {
        bench_usage_error("--stage: %s=\"%s\" is not a number up to %.12g",
                          name, value, max);
    }

    return v;
}


static void
bench_stage_set(bench_stage_t *s, const char *name, const char *value)
{
    if (strcmp(name, "name") == 0) {
        s->name = value;

    } else if (strcmp(name, "rate") == 0) {
        s->rate = bench_stage_number(name, value, 1e8);

    } else if (strcmp(name, "duration") == 0) {
        s->duration = bench_stage_number(name, value, 1e6);

    } else if (strcmp(name, "messages") == 0) {
        s->messages = bench_stage_number(name, value, 1e12);

    } else if (strcmp(name, "warmup") == 0) {
        s->warmup = bench_stage_number(name, value, 1e6);

    } else if (strcmp(name, "qos") == 0) {
        s->qos = bench_stage_number(name, value, 1);

    } else {
        bench_usage_error("--stage: there is no \"%s\"", name);
    }
}


/* KIND or KIND:NAME=VALUE,... */

void
bench_parse_stage(bench_opts_t *o, char *value)
{
    char           *p, *name, *end;
    size_t          kind;
    bench_stage_t  *s;

    if (o->nstages == BENCH_MAX_STAGES) {
        bench_usage_error("--stage: at most %d", BENCH_MAX_STAGES);
    }

    s = &o->stages[o->nstages++];
    p = strchr(value, ':');

    if (p) {
        *p++ = '\0';
    }

    for (kind = 0; kind < BENCH_NKINDS; kind++) {
        if (strcmp(bench_stage_kinds[kind], value) == 0) {
            break;
        }
    }

    if (kind == BENCH_NKINDS) {
        bench_usage_error("--stage: there is no kind \"%s\"", value);
    }

    s->kind = kind;
    s->name = bench_stage_kinds[kind];
    s->qos = 1;

    for ( /* void */ ; p; p = end) {
        end = strchr(p, ',');

        if (end) {
            *end++ = '\0';
        }

        name = p;
        p = strchr(name, '=');

        if (p == NULL) {
            bench_usage_error("--stage: \"%s\" is not NAME=VALUE", name);
        }

        *p++ = '\0';
        bench_stage_set(s, name, p);
    }

    if (s->duration == 0) {
        s->duration = s->messages ? 1e6 : 10;
    }
}


/* whether all devices listen to the log */

int
bench_is_common(const bench_opts_t *o, uint32_t log)
{
    return o->mode == BENCH_BROADCAST
           || (o->mode == BENCH_STAGES && log == o->connections / o->per_user);
}


/*
 * The stage has changed.  What is measured begins anew; until the worker has
 * looked, it owes.
 */

void
bench_stage_enter(bench_worker_t *w)
{
    const bench_stage_t  *s;

    w->stage = __atomic_load_n(&w->sh->stage, __ATOMIC_ACQUIRE);
    s = &w->o->stages[w->stage - 1];

    memset(w->st->hist, 0, sizeof(w->st->hist));
    w->st->owed = 1;

    w->ping_step = 0;
    w->publishing = 0;
    w->common = 0;
    w->header = s->qos == 0 ? "QoS: 0" : NULL;

    if (s->kind == BENCH_STAGE_HOLD) {
        w->ping_step = s->rate > 0 ? 1e9 * w->o->connections / w->ndev / s->rate
                                   : 0;
        w->ping_at = w->now;
        return;
    }

    bench_publish_plan(w, s->kind == BENCH_STAGE_BROADCAST, s->rate,
                       s->messages, s->kind == BENCH_STAGE_BROADCAST
                                    ? 1 : w->o->outstanding);
}


/*
 * Counting what was delivered against what was expected does not do once a
 * publish has got no answer: its message may arrive in place of one that was
 * accepted.
 */

void
bench_stage_tick(bench_worker_t *w)
{
    uint32_t  i;
    uint64_t  owed;

    if (w->stage == 0 || bench_phase(w) != BENCH_PHASE_DRAIN
        || w->st->owed == 0 || w->now < w->owed_at)
    {
        return;
    }

    owed = bench_publish_unanswered(w);

    for (i = 0; i < w->ndev; i++) {
        owed += bench_check_owed(w, &w->dev[i]);
    }

    w->owed_at = w->now + BENCH_OWED_EVERY;
    __atomic_store_n(&w->st->owed, owed, __ATOMIC_RELEASE);
}
