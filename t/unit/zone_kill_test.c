/* link: ngx_push_conn.c ngx_push_fanout.c ngx_push_pace.c ngx_push_handle.c ngx_push_idem.c ngx_push_log.c ngx_push_mailbox.c ngx_push_mirror.c ngx_push_mirror_fill.c ngx_push_mirror_log.c ngx_push_moved.c ngx_push_name.c ngx_push_need.c ngx_push_pack.c ngx_push_message.c ngx_push_notify.c ngx_push_register_memory.c ngx_push_session.c ngx_push_page.c ngx_push_slot.c ngx_push_stats.c ngx_push_store_memory.c ngx_push_sub.c ngx_push_take.c ngx_push_txn.c ngx_push_will.c ngx_push_window.c ngx_push_worker.c ngx_push_zone.c ngx_push_zone_layout.c ngx_push_hash.c zone_stub.c zone_check.c zone_check_session.c zone_sim.c */

/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Workers that are killed by SIGKILL at any instruction, thousands of times:
 * whatever they were doing, the zone is whole when the next one has been
 * through it.  Three workers hammer on a small zone; one after another is
 * killed and followed by a new one; after some kills all of them are, and
 * a last one buries them and looks at everything.
 *
 * ZONE_KILLS: how often (default 1500).  ZONE_SEED: the random numbers.
 */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "zone_check.h"
#include "zone_sim.h"

#include <sys/wait.h>


#define KILL_WORKERS  3
#define KILL_ROUND    25               /* kills between two looks */


static pid_t     kill_pid[KILL_WORKERS];
static uint32_t  kill_seed;


static pid_t
kill_spawn(void)
{
    pid_t  pid;

    kill_seed++;
    pid = fork();

    if (pid != 0) {
        return pid;
    }

    sim_seed(kill_seed);

    if (stub_worker() != NGX_OK) {
        _exit(3);
    }

    for ( ;; ) {
        stub_time();
        sim_step();
    }
}


/* Buries whoever is dead; then nothing may contradict anything. */

static ngx_uint_t
kill_look(void)
{
    int         status;
    pid_t       pid;
    ngx_uint_t  i, n, k;

    pid = fork();

    if (pid == 0) {

        if (stub_worker() != NGX_OK) {
            _exit(3);
        }

        for (k = 0; k < 1000; k++) {
            stub_tick();

            for (i = 0, n = 0; i < NGX_PUSH_WORKERS; i++) {
                n += ngx_push_worker_slot(i)->state != NGX_PUSH_WORKER_FREE;
            }

            if (n == 1) {
                break;
            }
        }

        /* locks nobody has asked for since their holder died */

        for (i = 0; i < ngx_push_zone->head->nusers
                        + ngx_push_zone->head->nchannels; i++)
        {
            (void) ngx_push_begin_shard(i);
            ngx_push_end();
        }

        n = zone_check(NULL) + sim_keys_wrong();
        ngx_push_worker_exit((ngx_cycle_t *) ngx_cycle);

        _exit(n ? 1 : 0);
    }

    (void) waitpid(pid, &status, 0);

    if (!WIFEXITED(status)) {
        fprintf(stderr, "the one who looks died by signal %d\n",
                WTERMSIG(status));
    }

    return status == 0;
}


/* A worker that ends in any other way than ours has found something. */

static ngx_uint_t
kill_one(ngx_uint_t i)
{
    int  status;

    (void) kill(kill_pid[i], SIGKILL);
    (void) waitpid(kill_pid[i], &status, 0);

    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        return 1;
    }

    fprintf(stderr, "a worker ended by itself, status %x\n", status);

    return 0;
}


static void
kill_run(ngx_uint_t kills)
{
    ngx_uint_t  i, n;

    for (n = 0; n < kills; n += KILL_ROUND) {

        for (i = 0; i < KILL_WORKERS; i++) {
            kill_pid[i] = kill_spawn();
        }

        for (i = 0; i < KILL_ROUND; i++) {
            usleep(500 + sim_random(6000));
            assert_true(kill_one(i % KILL_WORKERS));
            kill_pid[i % KILL_WORKERS] = kill_spawn();
        }

        for (i = 0; i < KILL_WORKERS; i++) {
            assert_true(kill_one(i));
        }

        if (!kill_look()) {
            fail_msg("after about %u kills, seed %u", (unsigned) n,
                     kill_seed);
        }

        assert_int_equal(*sim_faults, 0);
        assert_int_equal(*stub_alarms, 0);
    }
}


static void
test_kill(void **state)
{
    char        *env;
    ngx_uint_t   kills, i;

    env = getenv("ZONE_KILLS");
    kills = env ? atoi(env) : 1500;

    env = getenv("ZONE_SEED");
    kill_seed = env ? (uint32_t) atoi(env) : (uint32_t) time(NULL);
    sim_seed(kill_seed);

    stub_init(4 * 1024 * 1024, NULL);
    stub_speed(100);
    sim_init();

    stub_conf.linger = 5;
    stub_conf.device_expiry = 60;
    stub_conf.idempotency_keep = 60;
    stub_conf.idempotency_limit = 50;

    for (i = 0; i < STUB_PRODUCTS; i++) {
        stub_product[i].inbox_limit = 40;
        stub_product[i].group_limit = 20;
        stub_product[i].broadcast_limit = 20;
        stub_product[i].uplink_limit = 20;
    }

    assert_int_equal(stub_open(), NGX_OK);

    kill_run(kills);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_kill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
