/* link: ngx_push_conn.c ngx_push_fanout.c ngx_push_pace.c ngx_push_handle.c ngx_push_idem.c ngx_push_log.c ngx_push_mailbox.c ngx_push_mirror.c ngx_push_mirror_fill.c ngx_push_mirror_log.c ngx_push_moved.c ngx_push_name.c ngx_push_need.c ngx_push_pack.c ngx_push_message.c ngx_push_notify.c ngx_push_register_memory.c ngx_push_session.c ngx_push_page.c ngx_push_slot.c ngx_push_stats.c ngx_push_store_memory.c ngx_push_sub.c ngx_push_take.c ngx_push_txn.c ngx_push_will.c ngx_push_window.c ngx_push_worker.c ngx_push_zone.c ngx_push_zone_layout.c ngx_push_hash.c zone_stub.c zone_fixture.c zone_check.c zone_check_session.c zone_sim.c */

/*
 * Copyright (C) the ngx_push authors
 */


/* Idempotency keys of the zone: what a repeat is told, how keys end. */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "zone_fixture.h"
#include "ngx_push_idem.h"


static ngx_push_save_t  first, again;


static ngx_int_t
keyed(uint32_t key, ngx_push_kind_t kind, ngx_uint_t product,
    ngx_uint_t number, time_t ttl, ngx_push_save_t *op)
{
    ngx_int_t  rc;

    sim_save_key = key;
    rc = sim_save(kind, product, number, 100, ttl, op);
    sim_save_key = 0;

    return rc;
}


/* Messages in logs, after a look at the whole zone. */

static uint64_t
stored(void)
{
    zone_census_t  census;

    assert_int_equal(zone_check(&census), 0);

    return census.stored;
}


static ngx_push_target_t
target_of(const char *user)
{
    ngx_push_target_t  t;

    ngx_memzero(&t, sizeof(ngx_push_target_t));

    t.kind = NGX_PUSH_INBOX;
    t.product = &stub_product[0];
    t.name.data = (u_char *) user;
    t.name.len = strlen(user);

    return t;
}


static void
test_replay(void **state)
{
    ngx_uint_t       i;
    ngx_push_kind_t  kind;

    static ngx_push_kind_t  kinds[] = {
        NGX_PUSH_INBOX, NGX_PUSH_GROUP, NGX_PUSH_BROADCAST
    };

    /* key and number 4 have names that do not fit into a record */

    for (i = 0; i < 6; i++) {
        kind = kinds[i % 3];

        assert_int_equal(keyed(i + 1, kind, 0, 4 * (i / 3), 100, &first),
                         NGX_OK);
        assert_int_equal(first.replayed, 0);
        assert_true(first.seq > 0);

        pass(3);

        assert_int_equal(keyed(i + 1, kind, 0, 4 * (i / 3), 100, &again),
                         NGX_OK);
        assert_int_equal(again.replayed, 1);
        assert_int_equal(again.incarnation, first.incarnation);
        assert_int_equal(again.seq, first.seq);
        assert_int_equal(again.expires, first.expires);
        assert_int_equal(again.ttl, 100);
    }

    /* 0 and 4 are two targets, a broadcast has but one */

    assert_int_equal(stored(), 6);
    assert_int_equal(in_use(NGX_PUSH_IDEM), 6 + 5);
    assert_int_equal(sim_keys_wrong(), 0);
}


static void
test_other(void **state)
{
    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 100, &first), NGX_OK);

    /* another user, product, kind, and no key at all */

    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 2, 100, &again), NGX_OK);
    assert_int_equal(again.replayed, 0);
    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 1, 1, 100, &again), NGX_OK);
    assert_int_equal(again.replayed, 0);
    assert_int_equal(keyed(1, NGX_PUSH_GROUP, 0, 1, 100, &again), NGX_OK);
    assert_int_equal(again.replayed, 0);
    assert_int_equal(keyed(0, NGX_PUSH_INBOX, 0, 1, 100, &again), NGX_OK);
    assert_int_equal(again.replayed, 0);

    assert_int_equal(stored(), 5);
}


static void
test_mismatch(void **state)
{
    ngx_push_save_t    op;
    ngx_push_handle_t  none = { 0, 0 };

    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 100, NULL), NGX_OK);

    ngx_memzero(&op, sizeof(ngx_push_save_t));
    op.target = target_of("user1");
    op.ttl = 100;
    op.key.data = (u_char *) "key1";
    op.key.len = 4;
    op.fingerprint = 2;

    assert_int_equal(ngx_push_memory_store.save(&op, NULL, none),
                     NGX_PUSH_MISMATCH);

    op.ttl = 0;
    assert_int_equal(ngx_push_memory_store.save(&op, NULL, none),
                     NGX_PUSH_MISMATCH);

    assert_int_equal(stored(), 1);
}


static void
test_once(void **state)
{
    sim_conn_t  *c;

    c = sim_claim(0, 1, 1, 1, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);

    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 0, &first), NGX_OK);
    stub_events();
    assert_int_equal(first.reached, 1);
    assert_int_equal(c->nonce, 1);

    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 0, &again), NGX_OK);
    stub_events();
    assert_int_equal(again.replayed, 1);
    assert_int_equal(again.reached, 1);
    assert_int_equal(again.ttl, 0);
    assert_int_equal(c->nonce, 1);

    /* nobody there: an answer as well, and it stays that */

    assert_int_equal(keyed(2, NGX_PUSH_INBOX, 0, 2, 0, &first), NGX_OK);
    assert_int_equal(first.reached, 0);

    c = sim_claim(0, 2, 1, 1, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);

    assert_int_equal(keyed(2, NGX_PUSH_INBOX, 0, 2, 0, &again), NGX_OK);
    stub_events();
    assert_int_equal(again.replayed, 1);
    assert_int_equal(again.reached, 0);
    assert_int_equal(c->nonce, 0);
}


static void
test_expiry(void **state)
{
    ngx_uint_t  i;

    stub_conf.idempotency_keep = 5;

    for (i = 1; i <= 20; i++) {
        assert_int_equal(keyed(i, NGX_PUSH_INBOX, 0, i % 6, 100, NULL),
                         NGX_OK);
    }

    assert_int_equal(in_use(NGX_PUSH_IDEM), 20 + 6);

    /* over, though nobody has swept yet */

    stub_pass(6);
    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 100, &again), NGX_OK);
    assert_int_equal(again.replayed, 0);

    pass(1);
    assert_int_equal(in_use(NGX_PUSH_IDEM), 2);

    pass(6);
    assert_int_equal(in_use(NGX_PUSH_IDEM), 0);
    assert_int_equal(in_use(NGX_PUSH_LONGKEY), 0);
    assert_int_equal(stored(), 21);
}


static void
test_limit(void **state)
{
    ngx_uint_t  i;

    stub_conf.idempotency_keep = 5;
    stub_conf.idempotency_limit = 3;

    for (i = 1; i <= 3; i++) {
        assert_int_equal(keyed(i, NGX_PUSH_INBOX, 0, 1, 100, NULL), NGX_OK);
    }

    assert_int_equal(keyed(9, NGX_PUSH_INBOX, 0, 1, 100, NULL),
                     NGX_PUSH_LIMITED);
    assert_int_equal(keyed(9, NGX_PUSH_INBOX, 0, 1, 0, NULL),
                     NGX_PUSH_LIMITED);
    assert_int_equal(stored(), 3);

    /* not those that are known, not others, not who asks without */

    assert_int_equal(keyed(3, NGX_PUSH_INBOX, 0, 1, 100, NULL), NGX_OK);
    assert_int_equal(keyed(9, NGX_PUSH_INBOX, 0, 2, 100, NULL), NGX_OK);
    assert_int_equal(keyed(0, NGX_PUSH_INBOX, 0, 1, 100, NULL), NGX_OK);

    pass(6);
    assert_int_equal(keyed(9, NGX_PUSH_INBOX, 0, 1, 100, NULL), NGX_OK);
}


/* A flood of keys has its share; messages and devices have theirs. */

static void
test_flood(void **state)
{
    uint32_t    i;
    ngx_int_t   rc;
    uint64_t    before;

    stub_conf.idempotency_keep = 5;
    stub_conf.idempotency_limit = 1000000;

    rc = NGX_OK;

    for (i = 1; i < 100000 && rc == NGX_OK; i++) {
        rc = keyed(i, NGX_PUSH_INBOX, 0, i % 6, 1, NULL);
        pass(i % 1000 == 0);
    }

    assert_int_equal(rc, NGX_PUSH_LIMITED);
    assert_true(i > 200);

    before = in_use(NGX_PUSH_IDEM);
    assert_true(ngx_push_zone->head->key_pages
                <= (int64_t) ngx_push_zone->head->npages / 8);

    assert_int_equal(keyed(0, NGX_PUSH_INBOX, 0, 1, 100, NULL), NGX_OK);
    assert_non_null(sim_claim(0, 1, 1, 1, 100, 0));
    assert_int_equal(in_use(NGX_PUSH_IDEM), before);

    pass(30);
    assert_int_equal(in_use(NGX_PUSH_IDEM), 0);
    assert_int_equal(in_use(NGX_PUSH_LONGKEY), 0);
    ngx_push_pages_recount();
    assert_true(ngx_push_zone->head->key_pages
                <= 2 * (int64_t) (ngx_push_zone->head->nusers
                                  + ngx_push_zone->head->nchannels));
}


/* What is refused for want of room leaves no key. */

static void
test_refused(void **state)
{
    uint32_t   i;
    ngx_int_t  rc;

    rc = NGX_OK;
    stub_product[0].inbox_limit = 1000000;

    for (i = 1; i < 100000 && rc == NGX_OK; i++) {
        rc = sim_save(NGX_PUSH_INBOX, 0, 1, 30000, 1000, NULL);
    }

    assert_int_equal(rc, NGX_PUSH_FULL);

    sim_save_key = 1;
    rc = sim_save(NGX_PUSH_INBOX, 0, 1, 30000, 1000, NULL);
    sim_save_key = 0;

    assert_int_equal(rc, NGX_PUSH_FULL);
    assert_int_equal(in_use(NGX_PUSH_IDEM), 0);

    stub_product[0].payload_limit = 20000;

    sim_save_key = 1;
    rc = sim_save(NGX_PUSH_INBOX, 0, 1, 30000, 1000, NULL);
    sim_save_key = 0;

    assert_int_equal(rc, NGX_PUSH_TOO_LARGE);
    assert_int_equal(in_use(NGX_PUSH_IDEM), 0);
}


/* Marks: one at a time, and that of a dead worker does not count. */

static void
test_mark(void **state)
{
    ngx_str_t          key = ngx_string("key1"), other = ngx_string("key2");
    ngx_push_target_t  t, u;

    t = target_of("user1");
    u = target_of("user2");

    assert_int_equal(ngx_push_idem_enter(&t, &key), NGX_OK);
    assert_int_equal(ngx_push_idem_enter(&t, &key), NGX_PUSH_PROGRESS);
    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 100, NULL),
                     NGX_PUSH_PROGRESS);
    assert_int_equal(ngx_push_idem_enter(&u, &key), NGX_OK);
    assert_int_equal(ngx_push_idem_enter(&t, &other), NGX_OK);
    assert_int_equal(in_use(NGX_PUSH_IDEM), 3 + 2);

    /* it stays as long as its worker does */

    pass(200);
    assert_int_equal(ngx_push_idem_enter(&t, &key), NGX_PUSH_PROGRESS);

    ngx_push_idem_leave(&t, &key);
    ngx_push_idem_leave(&t, &key);
    assert_int_equal(ngx_push_idem_enter(&t, &key), NGX_OK);

    ngx_push_self->gen++;
    assert_int_equal(ngx_push_idem_enter(&t, &key), NGX_OK);

    /* the other two are of one that is no more */

    pass(200);
    assert_int_equal(in_use(NGX_PUSH_IDEM), 2);

    ngx_push_idem_leave(&t, &key);
    assert_int_equal(in_use(NGX_PUSH_IDEM), 0);

    /* an answer is not for a mark to take away */

    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 100, NULL), NGX_OK);
    ngx_push_idem_leave(&t, &key);
    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 100, &again), NGX_OK);
    assert_int_equal(again.replayed, 1);
}


/* Keys are in the file with their messages. */

static void
test_file(void **state)
{
    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 100, &first), NGX_OK);

    ngx_push_worker_exit((ngx_cycle_t *) ngx_cycle);
    stub_close();
    assert_int_equal(stub_open(), NGX_OK);
    assert_int_equal(stub_worker(), NGX_OK);

    assert_int_equal(keyed(1, NGX_PUSH_INBOX, 0, 1, 100, &again), NGX_OK);
    assert_int_equal(again.replayed, 1);
    assert_int_equal(again.seq, first.seq);
    assert_int_equal(again.incarnation, first.incarnation);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        zone_test(test_replay),
        zone_test(test_other),
        zone_test(test_mismatch),
        zone_test(test_once),
        zone_test(test_expiry),
        zone_test(test_limit),
        zone_test(test_flood),
        zone_test(test_refused),
        zone_test(test_mark),
        zone_file_test(test_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
