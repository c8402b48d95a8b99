/* link: ngx_push_conn.c ngx_push_fanout.c ngx_push_pace.c ngx_push_handle.c ngx_push_idem.c ngx_push_log.c ngx_push_mailbox.c ngx_push_mirror.c ngx_push_mirror_fill.c ngx_push_mirror_log.c ngx_push_moved.c ngx_push_name.c ngx_push_need.c ngx_push_pack.c ngx_push_message.c ngx_push_notify.c ngx_push_register_memory.c ngx_push_session.c ngx_push_page.c ngx_push_slot.c ngx_push_stats.c ngx_push_store_memory.c ngx_push_sub.c ngx_push_take.c ngx_push_txn.c ngx_push_will.c ngx_push_window.c ngx_push_worker.c ngx_push_zone.c ngx_push_zone_layout.c ngx_push_hash.c zone_stub.c zone_fixture.c zone_check.c zone_check_session.c zone_sim.c */

/*
 * Copyright (C) the ngx_push authors
 */


/* Records, transactions, logs and files of the zone, one contract at a time. */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "zone_fixture.h"

#include <sys/wait.h>


/* --- records and transactions */

static void
test_alloc_free(void **state)
{
    int64_t             free_pages;
    uint32_t            n, i;
    ngx_push_sub_t     *r[600];
    ngx_push_shard_t   *sh;
    ngx_push_handle_t   h;

    free_pages = ngx_push_zone->head->free_pages;
    sh = ngx_push_begin_shard(0);
    n = 2 * ngx_push_page_records(NGX_PUSH_SUB) + 1;
    assert_true(n < 600);

    for (i = 0; i < n; i++) {
        r[i] = ngx_push_alloc(sh, NGX_PUSH_SUB);
        assert_non_null(r[i]);
        ngx_push_commit();
    }

    assert_int_equal(sh->classes[NGX_PUSH_SUB].npages, 3);
    assert_int_equal(ngx_push_zone->head->free_pages, free_pages - 3);

    h.index = ngx_push_ref(r[5]);
    h.gen = r[5]->slot.gen;
    assert_ptr_equal(ngx_push_lookup(h, NGX_PUSH_SUB), r[5]);
    assert_null(ngx_push_lookup(h, NGX_PUSH_LOG));
    assert_int_equal(ngx_push_owner(h.index, NGX_PUSH_SUB), 0);

    for (i = 0; i < n; i++) {
        ngx_push_free(sh, r[i]);
        ngx_push_commit();
    }

    assert_null(ngx_push_lookup(h, NGX_PUSH_SUB));
    assert_int_equal(sh->classes[NGX_PUSH_SUB].used, 0);

    /* one empty page stays */

    ngx_push_pages_sweep(sh);
    assert_int_equal(sh->classes[NGX_PUSH_SUB].npages, 1);
    assert_int_equal(ngx_push_zone->head->free_pages, free_pages - 1);
    ngx_push_end();

    assert_int_equal(in_use(NGX_PUSH_SUB), 0);
}


/* A page that was given back is taken before one that was never used. */

static void
test_recycle(void **state)
{
    uint32_t           i, n;
    ngx_push_ref_t     ref, last;
    ngx_push_log_t    *l;
    ngx_push_sub_t    *r[600];
    ngx_push_shard_t  *sh;

    sh = ngx_push_begin_shard(0);
    n = 2 * ngx_push_page_records(NGX_PUSH_SUB);
    assert_true(n < 600);
    last = 0;

    for (i = 0; i < n; i++) {
        r[i] = ngx_push_alloc(sh, NGX_PUSH_SUB);
        last = ngx_max(last, ngx_push_ref(r[i]));
        ngx_push_commit();
    }

    for (i = 0; i < n; i++) {
        ngx_push_free(sh, r[i]);
        ngx_push_commit();
    }

    ngx_push_pages_sweep(sh);
    ngx_push_end();

    assert_int_equal(ngx_push_zone->head->nrecycled, 1);

    /* of another shard and class; the hint of one that is taken does no harm */

    sh = ngx_push_begin_shard(1);
    l = ngx_push_alloc(sh, NGX_PUSH_LOG);
    ref = ngx_push_ref(l);
    assert_true(ref <= last);
    assert_int_equal(ngx_push_zone->head->nrecycled, 0);

    ngx_push_zone->head->recycled[0] = ngx_push_zone->head->npages;
    ngx_push_zone->head->recycled[1] = ((u_char *) l - ngx_push_zone->data)
                                       / NGX_PUSH_PAGE_SIZE;
    ngx_push_zone->head->nrecycled = NGX_PUSH_RECYCLED + 9;
    ngx_push_commit();

    r[0] = ngx_push_alloc(sh, NGX_PUSH_SUB);
    assert_non_null(r[0]);
    assert_int_equal(ngx_push_owner(ref, NGX_PUSH_LOG), 1);

    ngx_push_free(sh, r[0]);
    ngx_push_free(sh, l);
    ngx_push_end();

    assert_int_equal(in_use(NGX_PUSH_SUB), 0);
}


/* A record made where others were never has the name of one of those. */

static void
test_generations(void **state)
{
    uint32_t            i, k, n, gens[600];
    ngx_push_sub_t     *r[600], *old[600], *s;
    ngx_push_shard_t   *sh;

    sh = ngx_push_begin_shard(0);
    n = 2 * ngx_push_page_records(NGX_PUSH_SUB);

    for (i = 0; i < n; i++) {
        old[i] = ngx_push_alloc(sh, NGX_PUSH_SUB);

        for (k = 0; k < 1000; k++) {
            ngx_push_free(sh, old[i]);
            assert_ptr_equal(ngx_push_alloc(sh, NGX_PUSH_SUB), old[i]);
            ngx_push_commit();
        }

        gens[i] = old[i]->slot.gen;
    }

    for (i = 0; i < n; i++) {
        ngx_push_free(sh, old[i]);
        ngx_push_commit();
    }

    /* one page goes to the zone and comes back, the other one stays */

    ngx_push_pages_sweep(sh);

    for (i = 0; i < n; i++) {
        r[i] = ngx_push_alloc(sh, NGX_PUSH_SUB);
        ngx_push_commit();
    }

    for (i = 0; i < n; i++) {
        s = old[i];
        assert_int_equal(s->slot.used, 1);
        assert_true(s->slot.gen > gens[i]);
    }

    for (i = 0; i < n; i++) {
        ngx_push_free(sh, r[i]);
        ngx_push_commit();
    }

    ngx_push_end();
}


/* What is taken, written over and rolled back is a free record as before. */

static void
test_rollback_free_list(void **state)
{
    ngx_push_sub_t    *a, *b, *c;
    ngx_push_shard_t  *sh;

    sh = ngx_push_begin_shard(0);

    a = ngx_push_alloc(sh, NGX_PUSH_SUB);
    b = ngx_push_alloc(sh, NGX_PUSH_SUB);
    ngx_push_free(sh, a);
    ngx_push_free(sh, b);
    ngx_push_commit();

    c = ngx_push_alloc(sh, NGX_PUSH_SUB);
    assert_ptr_equal(c, b);
    ngx_memset((u_char *) c + sizeof(ngx_push_slot_t), 0xee,
               sizeof(ngx_push_sub_t) - sizeof(ngx_push_slot_t));
    ngx_push_rollback();

    assert_ptr_equal(ngx_push_alloc(sh, NGX_PUSH_SUB), b);
    assert_ptr_equal(ngx_push_alloc(sh, NGX_PUSH_SUB), a);
    ngx_push_free(sh, a);
    ngx_push_free(sh, b);
    ngx_push_end();

    assert_int_equal(in_use(NGX_PUSH_SUB), 0);
}


static void
test_rollback_pages(void **state)
{
    int64_t            free_pages;
    ngx_uint_t         i;
    ngx_push_shard_t  *sh;

    free_pages = ngx_push_zone->head->free_pages;
    sh = ngx_push_begin_shard(0);

    for (i = 0; i < 10; i++) {
        assert_non_null(ngx_push_alloc(sh, NGX_PUSH_SUB));
        assert_non_null(ngx_push_alloc(sh, NGX_PUSH_CHUNK));
        ngx_push_rollback();
    }

    assert_int_equal(ngx_push_zone->head->free_pages, free_pages);
    assert_int_equal(ngx_push_zone->head->message_pages, 0);
    ngx_push_end();

    assert_int_equal(in_use(NGX_PUSH_SUB), 0);
}


/* A process dies with both locks and a change in each shard. */

static void
test_recover(void **state)
{
    int                status;
    pid_t              pid;
    uint32_t           was;
    ngx_push_shard_t  *user, *channel;

    was = ngx_push_zone->shards[0].wheel_at;
    pid = fork();

    if (pid == 0) {
        (void) stub_worker();
        user = ngx_push_begin_shard(0);
        channel = ngx_push_begin_channel(0);
        (void) ngx_push_alloc(user, NGX_PUSH_SESSION);
        (void) ngx_push_alloc(channel, NGX_PUSH_LOG);
        ngx_push_set(user->wheel_at, 1);
        ngx_push_set(channel->wheel_at, 1);
        (void) kill(getpid(), SIGKILL);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(ngx_push_zone->shards[0].wheel_at, 1);

    channel = ngx_push_begin_channel(0);
    assert_int_equal(channel->wheel_at, was);
    assert_int_equal(ngx_push_zone->shards[0].wheel_at, was);
    ngx_push_end();

    user = ngx_push_begin_shard(0);
    assert_int_equal(user->wheel_at, was);
    ngx_push_end();
    assert_int_equal(ngx_push_self->stats.repairs, 2);

    stub_tick();
    assert_int_equal(in_use(NGX_PUSH_SESSION), 0);
    assert_int_equal(in_use(NGX_PUSH_LOG), 0);
}


/* --- logs */

static void
test_log_order(void **state)
{
    ngx_uint_t           i;
    ngx_push_log_t      *log;
    ngx_push_save_t      op;
    ngx_push_shard_t    *sh;
    ngx_push_message_t  *m;

    for (i = 1; i <= 10; i++) {
        assert_int_equal(sim_save(NGX_PUSH_UPLINK, 0, 0, 100, -1, &op),
                         NGX_OK);
        assert_int_equal(op.seq, i);
    }

    sh = ngx_push_begin_log(&op.target);
    log = ngx_push_log_find(sh, &op.target);
    assert_non_null(log);
    assert_int_equal(log->incarnation, op.incarnation);
    assert_int_equal(log->count, 10);

    for (i = 0; i < 10; i++) {
        m = ngx_push_log_after(log, i, 0);
        assert_int_equal(m->seq, i + 1);
        assert_ptr_equal(ngx_push_log_after(log, i, ngx_push_ref(m)), m);
    }

    assert_null(ngx_push_log_after(log, 10, 0));

    ngx_push_log_drop(sh, ngx_push_log_after(log, 4, 0));
    assert_int_equal(ngx_push_log_after(log, 4, 0)->seq, 6);
    assert_int_equal(log->ended, 5);

    ngx_push_log_trim(sh, log, 8);
    assert_int_equal(ngx_push_log_after(log, 0, 0)->seq, 9);
    assert_int_equal(log->acked, 8);
    assert_int_equal(log->count, 2);
    ngx_push_end();

    assert_int_equal(in_use(NGX_PUSH_LOG), 1);
}


static void
test_limit(void **state)
{
    ngx_uint_t      i;
    zone_census_t   census;
    sim_conn_t     *c;

    stub_product[0].inbox_limit = 5;

    for (i = 0; i < 8; i++) {
        push(NGX_PUSH_INBOX, 0, 1);
    }

    assert_int_equal(ngx_push_self->stats.drops[NGX_PUSH_DROP_LIMIT], 3);
    assert_int_equal(zone_check(&census), 0);
    assert_int_equal(census.stored, 5);

    /* who comes then starts at the oldest of them */

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    sim_take(c);
    ack_all(c);
    ack_all(c);
    assert_int_equal(c->ndelivered, 5);
    assert_int_equal(c->last_seq, 8);
}


static void
test_expiry(void **state)
{
    zone_census_t  census;

    assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, 1, 100, 5, NULL), NGX_OK);
    assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, 1, 5000, 3000, NULL),
                     NGX_OK);

    pass(3);
    assert_int_equal(zone_check(&census), 0);
    assert_int_equal(census.stored, 2);

    pass(4);
    assert_int_equal(zone_check(&census), 0);
    assert_int_equal(census.stored, 1);

    /* more than once round the wheel */

    pass(2990);
    assert_int_equal(zone_check(&census), 0);
    assert_int_equal(census.stored, 1);

    pass(10);
    assert_int_equal(zone_check(&census), 0);
    assert_int_equal(census.stored, 0);
    assert_int_equal(ngx_push_self->stats.drops[NGX_PUSH_DROP_EXPIRED], 2);

    pass(120);
    assert_int_equal(in_use(NGX_PUSH_LOG), 0);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);
    assert_int_equal(in_use(NGX_PUSH_CHUNK), 0);
}


/* A log that is filled and emptied all the time does not hold up others. */

static void
test_idle_logs(void **state)
{
    ngx_uint_t   i, n;
    sim_conn_t  *c;

    c = sim_claim(0, 0, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);

    push(NGX_PUSH_INBOX, 0, 0);
    sim_take(c);
    ack_all(c);

    for (n = 1; n <= 50; n++) {
        assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, n, 100, 1, NULL),
                         NGX_OK);
    }

    for (i = 0; i < 150; i++) {
        push(NGX_PUSH_INBOX, 0, 0);
        sim_take(c);
        ack_all(c);
        pass(1);
    }

    /* of the busy one, of its broadcast */

    assert_int_equal(in_use(NGX_PUSH_LOG), 2);
}


static void
test_chunks(void **state)
{
    size_t       size;
    sim_conn_t  *c;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);

    for (size = 20; size <= NGX_PUSH_PAYLOAD_MAX; size = size * 3 / 2 + 1) {
        assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, 1, size, -1, NULL),
                         NGX_OK);
        stub_events();
        ack_all(c);
    }

    assert_int_equal(c->ndelivered, c->last_seq);
    assert_true(c->ndelivered > 20);
    pass(2);
    assert_int_equal(in_use(NGX_PUSH_CHUNK), 0);
}


static void
test_full(void **state)
{
    int64_t          free_pages;
    ngx_int_t        rc;
    ngx_uint_t       i, n;
    zone_census_t    census;

    free_pages = ngx_push_zone->head->free_pages;

    for (n = 0; n < 100000; n++) {
        rc = sim_save(NGX_PUSH_INBOX, 0, n % 40, 1 + n % 9000, 10, NULL);

        if (rc != NGX_OK) {
            break;
        }
    }

    assert_int_equal(rc, NGX_PUSH_FULL);
    assert_int_equal(zone_check(&census), 0);
    assert_int_equal(census.stored, n);

    /* devices have room of their own; refused ones leave nothing behind */

    for (i = 0; i < 20; i++) {
        assert_non_null(sim_claim(0, i, 0, 0, 100, 0));
        assert_int_equal(sim_save(NGX_PUSH_GROUP, 0, i, 60000, 10, NULL),
                         NGX_PUSH_FULL);
    }

    assert_int_equal(zone_check(NULL), 0);

    for (i = 0; i < 20; i++) {
        sim_release(&sim_conns[i], 0, 0, 0);
    }

    pass(1200);
    assert_int_equal(zone_check(&census), 0);

    for (i = 0; i < NGX_PUSH_CLASSES; i++) {
        assert_int_equal(census.used[i], 0);
    }

    /* a page of each class stays with its shard */

    ngx_push_pages_recount();
    assert_true(ngx_push_zone->head->free_pages
                >= free_pages - 5 * NGX_PUSH_CLASSES);
}


/* --- zones with a file */

static void
test_file(void **state)
{
    sim_conn_t  *c;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    push(NGX_PUSH_INBOX, 0, 1);
    push(NGX_PUSH_INBOX, 0, 1);
    assert_int_equal(sim_ack(c, 1), NGX_OK);

    ngx_push_worker_exit((ngx_cycle_t *) ngx_cycle);
    stub_close();
    ngx_memzero(sim_conns, sizeof(sim_conns));

    assert_int_equal(stub_open(), NGX_OK);
    assert_int_equal(stub_worker(), NGX_OK);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_SESSION), 1);

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(c->ndelivered, 1);
    assert_int_equal(c->last_seq, 2);
}


/* Everybody was killed, one of them with locks in the middle of a change. */

static void
test_file_killed(void **state)
{
    int                status;
    pid_t              pid;
    ngx_push_shard_t  *sh;

    stub_close();
    pid = fork();

    if (pid == 0) {
        (void) stub_open();
        (void) stub_worker();
        (void) sim_bind(sim_claim(0, 1, 0, 0, 100, 0), 0);
        (void) sim_save(NGX_PUSH_INBOX, 0, 1, 100, -1, NULL);
        sh = ngx_push_begin_shard(0);
        (void) ngx_push_alloc(sh, NGX_PUSH_SESSION);
        (void) ngx_push_begin_channel(0);
        ngx_push_set(sh->wheel_at, 1);
        (void) kill(getpid(), SIGKILL);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(stub_open(), NGX_OK);
    assert_int_equal(stub_worker(), NGX_OK);
    assert_int_not_equal(ngx_push_zone->shards[0].wheel_at, 1);

    pass(2);
    assert_int_equal(in_use(NGX_PUSH_SESSION), 1);
    assert_int_equal(sim_claim(0, 1, 0, 0, 100, 0)->ndelivered, 1);
}


/* The messages go to the log, as alarms. */

static void
refused(void)
{
    uint32_t  alarms;

    alarms = *stub_alarms;
    assert_int_equal(stub_open(), NGX_ERROR);
    assert_int_equal(*stub_alarms, alarms + 1);
    assert_null(ngx_push_zone);
    *stub_alarms = alarms;
}


static void
test_file_other(void **state)
{
    FILE  *f;

    ngx_push_worker_exit((ngx_cycle_t *) ngx_cycle);
    stub_close();

    stub_conf.size = 2 * ZONE_SIZE;
    refused();
    stub_conf.size = ZONE_SIZE;
    stub_conf.mailbox = 128;
    refused();
    stub_conf.mailbox = 64;
    assert_int_equal(stub_open(), NGX_OK);
    stub_close();

    f = fopen(zone_file, "r+");
    fputs("not ours", f);
    fclose(f);
    refused();
}


static void
test_reload(void **state)
{
    ngx_push_zone_t  *zone;

    zone = ngx_push_zone;
    assert_int_equal(stub_open(), NGX_OK);
    assert_ptr_equal(ngx_push_zone, zone);

    stub_conf.size = 2 * ZONE_SIZE;
    assert_int_equal(stub_open(), NGX_ERROR);
    stub_conf.size = ZONE_SIZE;
    stub_conf.mailbox = 128;
    assert_int_equal(stub_open(), NGX_ERROR);
    stub_conf.mailbox = 64;
    stub_conf.file.data = (u_char *) "/dev/shm/x";
    stub_conf.file.len = 10;
    assert_int_equal(stub_open(), NGX_ERROR);

    assert_ptr_equal(ngx_push_zone, zone);
    assert_int_equal(*stub_alarms, 3);
    *stub_alarms = 0;
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        zone_test(test_alloc_free),
        zone_test(test_recycle),
        zone_test(test_generations),
        zone_test(test_rollback_free_list),
        zone_test(test_rollback_pages),
        zone_test(test_recover),
        zone_test(test_log_order),
        zone_test(test_limit),
        zone_test(test_expiry),
        zone_test(test_idle_logs),
        zone_test(test_chunks),
        zone_test(test_full),
        zone_test(test_reload),
        zone_file_test(test_file),
        zone_file_test(test_file_killed),
        zone_file_test(test_file_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
