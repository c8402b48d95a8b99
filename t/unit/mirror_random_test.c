/* link: ngx_push_conn.c ngx_push_fanout.c ngx_push_pace.c ngx_push_handle.c ngx_push_idem.c ngx_push_log.c ngx_push_mailbox.c ngx_push_mirror.c ngx_push_mirror_fill.c ngx_push_mirror_log.c ngx_push_moved.c ngx_push_name.c ngx_push_need.c ngx_push_pack.c ngx_push_message.c ngx_push_notify.c ngx_push_register_memory.c ngx_push_session.c ngx_push_page.c ngx_push_slot.c ngx_push_stats.c ngx_push_store_memory.c ngx_push_sub.c ngx_push_take.c ngx_push_txn.c ngx_push_will.c ngx_push_window.c ngx_push_worker.c ngx_push_zone.c ngx_push_zone_layout.c ngx_push_hash.c zone_stub.c zone_fixture.c mirror_fake.c zone_check.c zone_check_session.c zone_sim.c */

/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Devices that come and go, messages that come late, twice or not at all,
 * answers that do not come, a store that begins its logs anew, a mirror that
 * forgets: in the end every device has had all that it is entitled to.
 *
 * MIRROR_ROUNDS: how often (default 60).  MIRROR_SEED: the random numbers.
 */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mirror_fake.h"


#define USERS     3
#define DEVICES   2
#define LOGS      (USERS + 2)
#define LATE      16


typedef struct {
    fake_log_t          *log;
    uint64_t             incarnation;
    uint64_t             seq;
} late_t;


static fake_log_t    *logs[LOGS];      /* inboxes, a group, the broadcast */
static sim_conn_t    *conns[USERS][DEVICES];
static uint64_t       since[USERS][DEVICES][LOGS];     /* + 1; 0: not bound */
static u_char         got[USERS][DEVICES][LOGS][FAKE_MSGS];
static late_t         late[LATE];
static ngx_uint_t     lost;            /* nobody told: to be checked */


static void
seen(sim_conn_t *c, ngx_push_out_t *out)
{
    ngx_uint_t  i;

    for (i = 0; i < LOGS; i++) {
        if (logs[i]->incarnation == out->incarnation
            && out->seq < FAKE_MSGS)
        {
            got[c->user][c->device][i][out->seq] = 1;
        }
    }
}


static ngx_uint_t
mine(ngx_uint_t user, ngx_uint_t i)
{
    return i >= USERS || i == user;
}


/* The first message that a device has not had; 0: none. */

static uint64_t
missing(ngx_uint_t u, ngx_uint_t d, ngx_uint_t i)
{
    uint64_t  seq;

    if (!mine(u, i) || since[u][d][i] == 0) {
        return 0;
    }

    for (seq = since[u][d][i]; seq <= logs[i]->last; seq++) {
        if (logs[i]->alive[seq] && !got[u][d][i][seq]) {
            return seq;
        }
    }

    return 0;
}


static void
come(ngx_uint_t u, ngx_uint_t d)
{
    sim_conn_t  *c;

    sim_window = 1 + sim_random(6);
    c = sim_claim(0, u, d, sim_random(8) == 0, 1000, 0);

    if (c == NULL || !c->used) {
        return;
    }

    conns[u][d] = c;

    fake_learn(logs[USERS]);
    fake_learn(logs[USERS + 1]);

    if (sim_bind(c, 0) != NGX_OK
        || sim_subscribe(c, NGX_PUSH_GROUP, 0, 2, NGX_PUSH_SUB_OWN) != NGX_OK)
    {
        return;
    }

    since[u][d][u] = since[u][d][u] ? since[u][d][u] : 1;

    if (since[u][d][USERS] == 0) {
        since[u][d][USERS] = logs[USERS]->last + 1;
        since[u][d][USERS + 1] = logs[USERS + 1]->last + 1;
    }

    c->want = 1;
    sim_settle(c);
}


static void
save(ngx_uint_t i)
{
    uint64_t   seq;
    late_t    *l;

    if (logs[i]->last + 2 >= FAKE_MSGS) {
        return;
    }

    seq = fake_save(logs[i]);

    switch (sim_random(8)) {

    case 0:
        l = &late[sim_random(LATE)];

        if (l->log) {
            lost = 1;
        }

        l->log = logs[i];
        l->incarnation = logs[i]->incarnation;
        l->seq = seq;
        break;

    case 1:
        lost = 1;
        break;

    case 2:
        (void) fake_put(logs[i], seq);
        (void) fake_put(logs[i], 1 + sim_random(seq));
        break;

    default:
        (void) fake_put(logs[i], seq);
    }
}


static void
late_come(void)
{
    late_t      *l;
    fake_log_t   old;

    l = &late[sim_random(LATE)];

    if (l->log == NULL) {
        return;
    }

    old = *l->log;
    old.incarnation = l->incarnation;
    l->log = NULL;

    (void) fake_put(&old, l->seq);
}


/* When everybody has had all of it, the store forgets it. */

static void
begin_anew(ngx_uint_t i)
{
    ngx_uint_t  u, d;

    for (u = 0; u < USERS; u++) {
        for (d = 0; d < DEVICES; d++) {
            if (missing(u, d, i)) {
                return;
            }
        }
    }

    fake_reset(logs[i]);

    for (u = 0; u < USERS; u++) {
        for (d = 0; d < DEVICES; d++) {
            ngx_memzero(got[u][d][i], FAKE_MSGS);

            if (since[u][d][i]) {
                since[u][d][i] = 1;
            }
        }
    }
}


static void
acknowledge(sim_conn_t *c)
{
    ngx_uint_t  pid;

    if (c->npids == 0) {
        return;
    }

    pid = c->pids[0];
    c->npids--;
    ngx_memmove(&c->pids[0], &c->pids[1], c->npids * sizeof(uint16_t));

    if (sim_ack(c, pid) == NGX_OK) {
        c->want |= c->push.behind;
        sim_settle(c);
    }
}


static void
step(void)
{
    ngx_uint_t   u, d;
    sim_conn_t  *c;

    u = sim_random(USERS);
    d = sim_random(DEVICES);
    c = conns[u][d];

    if (c && !c->used) {
        conns[u][d] = NULL;
        c = NULL;
    }

    switch (sim_random(20)) {

    case 0:
        if (c == NULL) {
            come(u, d);
        }

        break;

    case 1:
        if (c && sim_random(3) == 0) {
            sim_release(c, sim_random(2), sim_random(4) ? 1000 : 0, 0);
            conns[u][d] = NULL;
        }

        break;

    case 2:
        late_come();
        break;

    case 3:
        if (sim_random(3)) {
            (void) fake_answer();

        } else {
            (void) fake_fail();
        }

        break;

    case 4:
        if (lost && sim_random(4) == 0) {
            ngx_push_check_all();
            lost = 0;
        }

        break;

    case 5:
        if (c) {
            c->want = 1;
            sim_settle(c);
        }

        break;

    case 6:
        begin_anew(sim_random(LOGS));
        break;

    case 7:
        pass(1);
        break;

    case 8:
        stub_wait(sim_random(30));
        stub_timers();
        break;

    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
        save(sim_random(LOGS));
        break;

    default:
        if (c) {
            acknowledge(c);
        }
    }

    if (fake_nneeds > FAKE_NEEDS / 2) {
        (void) fake_answer();
    }

    ngx_push_mailbox_read();
    stub_events();
}


/* All come back, nothing is lost any more, and heartbeats go on. */

static void
finish(void)
{
    ngx_uint_t  u, d, n;

    ngx_push_check_all();
    lost = 0;

    for (n = 0; n < 12; n++) {

        for (u = 0; u < USERS; u++) {
            for (d = 0; d < DEVICES; d++) {

                if (conns[u][d] == NULL || !conns[u][d]->used) {
                    come(u, d);
                }

                while (conns[u][d]->npids) {
                    acknowledge(conns[u][d]);
                    stub_events();
                }

                conns[u][d]->want = 1;
                sim_settle(conns[u][d]);
                fake_settle();
            }
        }
    }
}


static void
test_random(void **state)
{
    char        *env;
    uint32_t     seed;
    ngx_uint_t   u, d, i, n, round, rounds;

    env = getenv("MIRROR_ROUNDS");
    rounds = env ? (ngx_uint_t) atoi(env) : 60;
    env = getenv("MIRROR_SEED");
    seed = env ? (uint32_t) atoi(env) : (uint32_t) time(NULL);

    sim_seed(seed);
    sim_seen = seen;
    zone_check_inboxes = 0;

    ngx_memzero(conns, sizeof(conns));
    ngx_memzero(since, sizeof(since));
    ngx_memzero(got, sizeof(got));
    ngx_memzero(late, sizeof(late));

    for (i = 0; i < USERS; i++) {
        logs[i] = fake_log(NGX_PUSH_INBOX, 0, i);
    }

    logs[USERS] = fake_log(NGX_PUSH_GROUP, 0, 2);
    logs[USERS + 1] = fake_log(NGX_PUSH_BROADCAST, 0, 0);

    for (round = 0; round < rounds; round++) {

        /* what the mirror drops beyond that it has to fetch again */

        stub_product[0].inbox_limit = 2 + sim_random(30);
        stub_product[0].group_limit = 2 + sim_random(30);
        fake_chunk = sim_random(3) ? 0 : 1 + sim_random(4);

        for (n = 0; n < 300; n++) {
            step();
        }

        finish();

        if (zone_check(NULL) || *sim_faults) {
            fail_msg("round %u, seed %u", (unsigned) round, seed);
        }

        for (u = 0; u < USERS; u++) {
            for (d = 0; d < DEVICES; d++) {
                for (i = 0; i < LOGS; i++) {
                    if (missing(u, d, i)) {
                        fail_msg("round %u, seed %u: user %u device %u lacks "
                                 "%lu of %lu of log %u", (unsigned) round,
                                 seed, (unsigned) u, (unsigned) d,
                                 (unsigned long) missing(u, d, i),
                                 (unsigned long) logs[i]->last,
                                 (unsigned) i);
                    }
                }
            }
        }

        for (i = 0; i < LOGS; i++) {
            if (logs[i]->last > 2000) {
                begin_anew(i);
            }
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        mirror_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
