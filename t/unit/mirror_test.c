/* link: ngx_push_conn.c ngx_push_fanout.c ngx_push_pace.c ngx_push_handle.c ngx_push_idem.c ngx_push_log.c ngx_push_mailbox.c ngx_push_mirror.c ngx_push_mirror_fill.c ngx_push_mirror_log.c ngx_push_moved.c ngx_push_name.c ngx_push_need.c ngx_push_pack.c ngx_push_message.c ngx_push_notify.c ngx_push_register_memory.c ngx_push_session.c ngx_push_page.c ngx_push_slot.c ngx_push_stats.c ngx_push_store_memory.c ngx_push_sub.c ngx_push_take.c ngx_push_txn.c ngx_push_will.c ngx_push_window.c ngx_push_worker.c ngx_push_zone.c ngx_push_zone_layout.c ngx_push_hash.c zone_stub.c zone_fixture.c mirror_fake.c zone_check.c zone_check_session.c zone_sim.c */

/*
 * Copyright (C) the ngx_push authors
 */


/* Logs as copies of a store's: holes, who asks, what is delivered and when. */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mirror_fake.h"


static sim_conn_t *
online(ngx_uint_t user, ngx_uint_t device)
{
    sim_conn_t  *c;

    c = sim_claim(0, user, device, 0, 1000, 0);
    assert_non_null(c);

    fake_learn(fake_log(NGX_PUSH_BROADCAST, 0, 0));
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    sim_take(c);
    fake_settle();

    return c;
}


static void
test_in_order(void **state)
{
    ngx_uint_t   i;
    fake_log_t  *log;
    sim_conn_t  *c;

    log = fake_log(NGX_PUSH_INBOX, 0, 1);

    /* nobody here: nothing is kept */

    assert_int_equal(fake_push(log), NGX_DECLINED);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);

    c = online(1, 0);
    assert_int_equal(c->ndelivered, 1);
    fake_asked = 0;

    for (i = 2; i <= 4; i++) {
        assert_int_equal(fake_push(log), NGX_OK);
        assert_int_equal(c->ndelivered, i);
    }

    assert_int_equal(fake_put(log, 3), NGX_OK);
    assert_int_equal(c->ndelivered, 4);
    ack_all(c);

    /* acknowledged by all here: gone, and the floor is above them */

    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);
    sim_take(c);
    fake_settle();
    assert_int_equal(c->ndelivered, 4);
    assert_int_equal(fake_asked, 0);
}


/* A session that has compared its logs asks for nothing while it idles. */

static void
test_idle(void **state)
{
    fake_log_t  *log;
    sim_conn_t  *c;

    c = online(1, 0);
    fake_asked = 0;

    sim_take(c);
    stub_events();
    pass(100);
    sim_take(c);
    stub_events();
    assert_int_equal(fake_asked, 0);

    /* something may have been missed, and was */

    log = fake_log(NGX_PUSH_INBOX, 0, 1);
    (void) fake_save(log);
    ngx_push_check_all();
    stub_events();
    assert_int_equal(fake_asked, 0);
    assert_int_equal(c->ndelivered, 0);

    sim_take(c);
    stub_events();
    assert_int_equal(fake_asked, 2);
    fake_settle();
    assert_int_equal(c->ndelivered, 1);
    ack_all(c);

    fake_asked = 0;
    sim_take(c);
    stub_events();
    pass(200);
    sim_take(c);
    stub_events();
    assert_int_equal(fake_asked, 0);
}


static void
test_gap(void **state)
{
    uint64_t     one, two;
    fake_log_t  *log;
    sim_conn_t  *c;

    c = online(1, 0);
    log = fake_log(NGX_PUSH_INBOX, 0, 1);
    assert_int_equal(fake_push(log), NGX_OK);
    fake_asked = 0;

    /* 2 is late: 3 is not kept, and nothing is asked for right away */

    one = fake_save(log);
    two = fake_save(log);
    assert_int_equal(fake_put(log, two), NGX_AGAIN);
    sim_take(c);
    stub_events();
    assert_int_equal(fake_asked, 0);
    assert_int_equal(c->ndelivered, 1);

    assert_int_equal(fake_put(log, one), NGX_OK);
    assert_int_equal(c->ndelivered, 2);

    stub_wait(25);
    stub_timers();
    stub_events();
    assert_int_equal(fake_asked, 1);
    assert_int_equal(fake_needs[0].need.after, 2);

    /* only one at a time */

    sim_take(c);
    ngx_push_check_all();
    sim_take(c);
    stub_events();
    assert_int_equal(fake_nneeds, 2);       /* the broadcast's */

    fake_settle();
    assert_int_equal(c->ndelivered, 3);
    assert_int_equal(c->last_seq, 3);
}


/* What cannot be had is asked for again, and so is what nobody answers. */

static void
test_failed(void **state)
{
    fake_log_t  *log;
    sim_conn_t  *c;

    c = online(1, 0);
    log = fake_log(NGX_PUSH_INBOX, 0, 1);
    assert_int_equal(fake_push(log), NGX_OK);

    (void) fake_save(log);
    assert_int_equal(fake_push(log), NGX_AGAIN);
    stub_wait(25);
    stub_timers();
    stub_events();

    assert_int_equal(fake_fail(), 1);
    sim_take(c);
    stub_events();
    assert_int_equal(fake_nneeds, 0);
    stub_pass(1);
    stub_timers();
    stub_events();
    assert_int_equal(fake_nneeds, 1);

    /* the worker that asked has died */

    fake_nneeds = 0;
    stub_pass(2);
    sim_take(c);
    stub_events();
    assert_int_equal(fake_nneeds, 0);
    stub_pass(4);
    sim_take(c);
    stub_events();
    assert_int_equal(fake_nneeds, 1);

    fake_settle();
    assert_int_equal(c->ndelivered, 3);
}


/* Two devices, one of which lacks what the other has had: below the floor. */

static void
test_floor(void **state)
{
    ngx_uint_t   i;
    fake_log_t  *log;
    sim_conn_t  *c, *d;

    c = online(1, 0);
    log = fake_log(NGX_PUSH_INBOX, 0, 1);

    for (i = 0; i < 6; i++) {
        assert_int_equal(fake_push(log), NGX_OK);
        ack_all(c);
    }

    assert_int_equal(c->ndelivered, 6);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);
    log->alive[2] = 0;

    d = sim_claim(0, 1, 1, 0, 1000, 0);
    assert_int_equal(sim_bind(d, 0), NGX_OK);

    /* a new message does not overtake those it has not had */

    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(c->ndelivered, 7);
    sim_take(d);
    assert_int_equal(d->ndelivered, 0);

    fake_settle();
    assert_int_equal(d->ndelivered, 4);
    assert_int_equal(d->last_seq, 5);
    ack_all(d);
    assert_int_equal(d->ndelivered, 6);
    assert_int_equal(d->last_seq, 7);
    ack_all(c);
    ack_all(d);
    assert_int_equal(c->ndelivered, 7);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);
    assert_int_equal(zone_check(NULL), 0);
}


/* The same with a store that gives two at a time. */

static void
test_chunks(void **state)
{
    ngx_uint_t   i;
    fake_log_t  *log;
    sim_conn_t  *c, *d;

    sim_window = 20;
    c = online(1, 0);
    log = fake_log(NGX_PUSH_INBOX, 0, 1);

    for (i = 0; i < 9; i++) {
        assert_int_equal(fake_push(log), NGX_OK);
        ack_all(c);
    }

    fake_chunk = 2;
    d = online(1, 1);
    assert_int_equal(d->ndelivered, 9);
    assert_int_equal(c->ndelivered, 9);
    assert_int_equal(zone_check(NULL), 0);
}


static void
test_incarnation(void **state)
{
    ngx_uint_t   i;
    fake_log_t  *log, *cast;
    sim_conn_t  *c;

    c = online(1, 0);
    log = fake_log(NGX_PUSH_INBOX, 0, 1);
    cast = fake_log(NGX_PUSH_BROADCAST, 0, 0);

    for (i = 0; i < 3; i++) {
        assert_int_equal(fake_push(log), NGX_OK);
        assert_int_equal(fake_push(cast), NGX_OK);
    }

    assert_int_equal(c->ndelivered, 4);

    /* the store has lost all and begins anew: what waits here is not lost */

    fake_reset(log);
    fake_reset(cast);
    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(fake_push(cast), NGX_OK);
    assert_int_equal(c->ndelivered, 4);
    assert_int_equal(zone_check(NULL), 0);

    /* its window is resent, of the former ones */

    sim_release(c, 1, 1000, 0);
    c = sim_claim(0, 1, 0, 0, 1000, 0);
    assert_int_equal(c->present, 1);
    assert_int_equal(c->ndelivered, 4);
    fake_settle();

    for (i = 0; i < 6; i++) {
        ack_all(c);
        fake_settle();
    }

    assert_int_equal(c->ndelivered, 8);

    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(fake_push(cast), NGX_OK);
    assert_int_equal(c->ndelivered, 10);
    ack_all(c);
    assert_int_equal(zone_check(NULL), 0);
    pass(60);
    pass(60);
    assert_int_equal(in_use(NGX_PUSH_LOG), 2);
}


/* A late message of a former incarnation changes nothing. */

static void
test_late(void **state)
{
    fake_log_t   old;
    fake_log_t  *log;
    sim_conn_t  *c;

    c = online(1, 0);
    log = fake_log(NGX_PUSH_INBOX, 0, 1);
    old = *log;
    old.incarnation--;
    old.last = 1;
    old.alive[1] = 1;

    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(fake_push(log), NGX_OK);
    ack_all(c);
    assert_int_equal(fake_put(&old, 1), NGX_AGAIN);
    fake_settle();
    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(c->ndelivered, 3);

    /* but if the store's clock went back, the store knows better */

    ack_all(c);
    *log = old;
    assert_int_equal(fake_put(log, 1), NGX_AGAIN);
    fake_settle();
    sim_take(c);
    fake_settle();
    assert_int_equal(c->ndelivered, 4);
    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(c->ndelivered, 5);
}


static void
test_channel(void **state)
{
    ngx_uint_t   i;
    fake_log_t  *log;
    sim_conn_t  *c[3];

    log = fake_log(NGX_PUSH_GROUP, 0, 2);

    for (i = 0; i < 3; i++) {
        (void) fake_save(log);
    }

    for (i = 0; i < 3; i++) {
        c[i] = online(i, 0);
        fake_learn(log);
        assert_int_equal(sim_subscribe(c[i], NGX_PUSH_GROUP, 0, 2,
                                       NGX_PUSH_SUB_OWN),
                         NGX_OK);
        sim_take(c[i]);
        fake_settle();
        assert_int_equal(c[i]->ndelivered, 0);
    }

    assert_int_equal(fake_push(log), NGX_OK);
    (void) fake_save(log);
    assert_int_equal(fake_push(log), NGX_AGAIN);
    fake_settle();

    for (i = 0; i < 3; i++) {
        assert_int_equal(c[i]->ndelivered, 3);
        assert_int_equal(c[i]->last_seq, 6);
        ack_all(c[i]);
    }

    /* the last one leaves, misses some, and comes back */

    for (i = 0; i < 3; i++) {
        sim_release(c[i], 1, 1000, 0);
    }

    (void) fake_save(log);
    assert_int_equal(fake_push(log), NGX_DECLINED);
    c[0] = sim_claim(0, 0, 0, 0, 1000, 0);
    fake_settle();
    assert_int_equal(c[0]->ndelivered, 2);
    c[1] = sim_claim(0, 1, 0, 0, 1000, 0);
    fake_settle();
    assert_int_equal(c[1]->ndelivered, 2);
    assert_int_equal(zone_check(NULL), 0);
}


/* What was dropped from the mirror is had again, and sent again. */

static void
test_retake(void **state)
{
    ngx_uint_t   i;
    fake_log_t  *log;
    sim_conn_t  *c;

    stub_product[0].inbox_limit = 2;
    c = online(1, 0);
    log = fake_log(NGX_PUSH_INBOX, 0, 1);

    for (i = 0; i < 4; i++) {
        assert_int_equal(fake_push(log), NGX_OK);
    }

    assert_int_equal(c->ndelivered, 4);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 2);
    sim_release(c, 1, 1000, 0);

    c = sim_claim(0, 1, 0, 0, 1000, 0);
    assert_int_equal(c->ndelivered, 0);
    assert_int_equal(zone_check(NULL), 0);
    fake_settle();
    assert_int_equal(c->ndelivered, 4);
    assert_int_equal(c->last_seq, 4);
    assert_int_equal(zone_check(NULL), 0);
}


static void
test_zone_full(void **state)
{
    ngx_int_t    rc;
    ngx_uint_t   i;
    fake_log_t  *log, *other;
    sim_conn_t  *c, *d;

    stub_product[0].inbox_limit = 100000;

    /* one that is away, with messages; then more for another than fit */

    c = online(1, 0);
    other = fake_log(NGX_PUSH_INBOX, 0, 1);

    for (i = 0; i < 100; i++) {
        assert_int_equal(fake_push(other), NGX_OK);
    }

    sim_release(c, 0, 1000, 0);
    sim_window = 60000;
    d = online(2, 0);
    log = fake_log(NGX_PUSH_INBOX, 0, 2);
    rc = NGX_OK;

    /* 3 MiB hold some 7,900 */

    for (i = 0; i < FAKE_MSGS - 1 && rc == NGX_OK; i++) {
        rc = fake_push(log);
    }

    assert_int_equal(rc, NGX_PUSH_FULL);
    assert_int_equal(zone_check(NULL), 0);

    /* there is room again: what was not kept comes */

    for (i = 1; i <= 65535 && d->last_pid; i++) {
        (void) ngx_push_ack(&d->push, i);
    }

    pass(3);
    fake_settle();
    assert_int_equal(d->last_seq, log->last);
}


/* --- the register's side */

static size_t
packed(sim_conn_t *c, ngx_push_snapshot_t *snap, u_char *buf)
{
    assert_int_equal(ngx_push_session_pack(c->push.session, snap, buf,
                                           NGX_PUSH_PACKED_MAX),
                     NGX_OK);

    return snap->packed;
}


static void
test_pack(void **state)
{
    size_t               n, cut;
    sim_conn_t          *c;
    fake_log_t          *log, *group;
    ngx_push_snapshot_t  snap;

    static u_char        buf[NGX_PUSH_PACKED_MAX], copy[4096];

    log = fake_log(NGX_PUSH_INBOX, 0, 1);
    group = fake_log(NGX_PUSH_GROUP, 0, 4);
    c = online(1, 0);
    fake_learn(group);
    assert_int_equal(sim_subscribe(c, NGX_PUSH_GROUP, 0, 4,
                                   NGX_PUSH_SUB_OWN|NGX_PUSH_SUB_NO_LOCAL),
                     NGX_OK);

    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(fake_push(group), NGX_OK);
    assert_int_equal(c->ndelivered, 3);
    assert_int_equal(sim_ack(c, 1), NGX_OK);

    n = packed(c, &snap, buf);
    assert_int_equal(snap.acked, 1);
    assert_int_equal(snap.sent, 2);
    assert_int_equal(snap.incarnation, log->incarnation);
    assert_int_equal(snap.presence, NGX_PUSH_ONLINE);
    assert_true(n < 200);

    assert_int_equal(ngx_push_session_pack(c->push.session, &snap, buf,
                                           n - 1),
                     NGX_PUSH_TOO_LARGE);
    n = packed(c, &snap, buf);

    /* the device goes to another node, which has nothing: this one emptied */

    sim_release(c, 0, 0, 0);
    pass(1100);
    assert_int_equal(in_use(NGX_PUSH_SESSION), 0);
    assert_int_equal(in_use(NGX_PUSH_LOG), 0);

    sim_claimed.newer = 1;
    sim_claimed.registered = 7;
    sim_claimed.packed.data = buf;
    sim_claimed.packed.len = n;
    sim_claimed.incarnation = snap.incarnation;
    sim_claimed.acked = snap.acked;

    c = sim_claim(0, 1, 0, 0, 1000, 0);
    assert_int_equal(c->present, 1);
    assert_int_equal(in_use(NGX_PUSH_SUB), 3);
    fake_settle();

    /* 2 of the inbox and 1 of the group, which were in flight */

    log->alive[1] = 0;
    assert_int_equal(c->ndelivered, 2);
    assert_int_equal(zone_check(NULL), 0);

    /* the further cursor counts, here that of this node */

    ack_all(c);
    sim_release(c, 1, 1000, 0);
    sim_claimed.newer = 0;
    sim_claimed.registered = 8;
    c = sim_claim(0, 1, 0, 0, 1000, 0);
    fake_settle();
    assert_int_equal(c->ndelivered, 0);

    /* an older claim comes too late */

    sim_claimed.registered = 6;
    assert_null(sim_claim(0, 1, 0, 0, 1000, 0));
    assert_true(c->used);
    sim_release(c, 1, 1000, 0);
    sim_claimed.registered = 9;

    /* with a clean start nothing but the cursors comes back */

    sim_claimed.newer = 1;
    c = sim_claim(0, 1, 0, 1, 1000, 0);
    assert_int_equal(c->present, 0);
    sim_release(c, 1, 1000, 0);

    /* cut anywhere it is no session, and each byte may be anything */

    sim_claimed.incarnation = 0;
    sim_claimed.acked = 0;

    for (cut = 0; cut < n; cut++) {
        ngx_memcpy(copy, buf, n);
        sim_claimed.packed.data = malloc(cut + 1);
        ngx_memcpy(sim_claimed.packed.data, copy, cut);
        sim_claimed.packed.len = cut;
        sim_claimed.registered++;
        c = sim_claim(0, 3, 0, 0, 1000, 0);
        assert_non_null(c);
        assert_int_equal(c->present, 0);
        sim_release(c, 0, 0, 0);
        free(sim_claimed.packed.data);
    }

    sim_claimed.packed.data = copy;
    sim_claimed.packed.len = n;

    for (cut = 0; cut < 256 * n; cut++) {
        ngx_memcpy(copy, buf, n);
        copy[cut / 256] = (u_char) cut;
        sim_claimed.registered++;
        c = sim_claim(0, 3, 0, 0, 1000, 0);
        assert_non_null(c);
        sim_release(c, 0, 0, 0);

        if (cut % 256 == 0) {
            assert_int_equal(zone_check(NULL), 0);
            pass(1001);
            fake_nneeds = 0;
        }

        stub_events();
        fake_nneeds = 0;
    }
}


static void
test_moved(void **state)
{
    fake_log_t         *log;
    sim_conn_t         *c;
    ngx_push_handle_t   session;

    c = online(1, 0);
    log = fake_log(NGX_PUSH_INBOX, 0, 1);
    assert_int_equal(ngx_push_moved_next(&session), 0);

    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(fake_moved, 0);

    /* once, whatever moves, until it is taken out */

    assert_int_equal(sim_ack(c, 1), NGX_OK);
    assert_int_equal(sim_ack(c, 2), NGX_OK);
    stub_events();
    assert_int_equal(fake_moved, 1);
    assert_int_equal(ngx_push_moved_next(&session), 1);
    assert_int_equal(session.index, c->push.session.index);
    assert_int_equal(ngx_push_moved_next(&session), 0);

    assert_int_equal(fake_push(log), NGX_OK);
    assert_int_equal(sim_ack(c, 3), NGX_OK);
    stub_events();
    assert_int_equal(fake_moved, 2);
    assert_int_equal(ngx_push_moved_next(&session), 1);
    assert_int_equal(ngx_push_moved_next(&session), 0);

    c->npids = 0;
    /* what the register does itself it need not be told */

    sim_release(c, 1, 1000, 0);
    stub_events();
    assert_int_equal(fake_moved, 2);
    assert_int_equal(ngx_push_moved_next(&session), 0);
}


static void
test_evict(void **state)
{
    u_char              ubuf[NGX_PUSH_NAME_MAX];
    ngx_str_t           device = ngx_string("device0");
    sim_conn_t         *c;
    ngx_push_claim_t    claim;
    ngx_push_target_t   t;
    ngx_push_handle_t   session;

    sim_claimed.registered = 5;
    c = online(1, 0);

    sim_target(&t, ubuf, NGX_PUSH_INBOX, 0, 1);
    ngx_memzero(&claim, sizeof(ngx_push_claim_t));
    claim.product = t.product;
    claim.user = t.name;
    claim.device = device;

    assert_int_equal(ngx_push_session_resumable(&claim), 1);
    assert_int_equal(ngx_push_session_evict(t.product, &t.name, &device, 5,
                                            0x8e, &session),
                     NGX_PUSH_NOT_FOUND);
    assert_true(c->used);
    assert_int_equal(ngx_push_session_evict(t.product, &t.name, &device, 6,
                                            0x8e, &session),
                     NGX_OK);
    stub_events();
    assert_int_equal(c->kicks, 1);
    assert_false(c->used);
    assert_int_equal(ngx_push_session_resumable(&claim), 0);

    ngx_push_session_registered(session, 8);
    assert_int_equal(ngx_push_session_resumable(&claim), 1);
    assert_int_equal(zone_check(NULL), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        mirror_test(test_in_order),
        mirror_test(test_idle),
        mirror_test(test_gap),
        mirror_test(test_failed),
        mirror_test(test_floor),
        mirror_test(test_chunks),
        mirror_test(test_incarnation),
        mirror_test(test_late),
        mirror_test(test_channel),
        mirror_test(test_retake),
        mirror_test(test_zone_full),
        mirror_test(test_pack),
        mirror_test(test_moved),
        mirror_test(test_evict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
