/* link: ngx_push_conn.c ngx_push_fanout.c ngx_push_pace.c ngx_push_handle.c ngx_push_idem.c ngx_push_log.c ngx_push_mailbox.c ngx_push_mirror.c ngx_push_mirror_fill.c ngx_push_mirror_log.c ngx_push_moved.c ngx_push_name.c ngx_push_need.c ngx_push_pack.c ngx_push_message.c ngx_push_notify.c ngx_push_register_memory.c ngx_push_session.c ngx_push_page.c ngx_push_slot.c ngx_push_stats.c ngx_push_store_memory.c ngx_push_sub.c ngx_push_take.c ngx_push_txn.c ngx_push_will.c ngx_push_window.c ngx_push_worker.c ngx_push_zone.c ngx_push_zone_layout.c ngx_push_hash.c zone_stub.c zone_fixture.c zone_check.c zone_check_session.c zone_sim.c */

/*
 * Copyright (C) the ngx_push authors
 */


/* Sessions, subscriptions, windows and wills, one contract at a time. */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "zone_fixture.h"

#include <sys/wait.h>


static void
test_take_ack(void **state)
{
    ngx_uint_t   i;
    sim_conn_t  *c;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);

    for (i = 0; i < 10; i++) {
        push(NGX_PUSH_INBOX, 0, 1);
    }

    /* the window holds 4 */

    assert_int_equal(c->ndelivered, 4);
    assert_int_equal(in_use(NGX_PUSH_INFLIGHT), 4);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 10);

    /* out of order: the cursor moves with the oldest only */

    assert_int_equal(sim_ack(c, 3), NGX_OK);
    assert_int_equal(sim_ack(c, 2), NGX_OK);
    assert_int_equal(sim_ack(c, 2), NGX_PUSH_NOT_FOUND);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 10);

    assert_int_equal(sim_ack(c, 1), NGX_OK);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 7);

    sim_take(c);
    assert_int_equal(c->ndelivered, 7);

    for (i = 4; i <= 10; i++) {
        assert_int_equal(sim_ack(c, i), NGX_OK);
        sim_take(c);
    }

    assert_int_equal(c->ndelivered, 10);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);
    assert_int_equal(in_use(NGX_PUSH_INFLIGHT), 0);
}


/* A device that has all so far is given the next message while it is saved. */

static void
test_at_once(void **state)
{
    ngx_uint_t        i;
    sim_conn_t       *c, *other;
    ngx_push_save_t   op;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    assert_true(c->push.behind);
    sim_take(c);
    assert_false(c->push.behind);

    /* no note was read in between; the window holds 4 */

    for (i = 1; i <= 5; i++) {
        assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, 1, 100, 100, &op),
                         NGX_OK);
        assert_int_equal(op.reached, 1);
        assert_int_equal(c->ndelivered, ngx_min(i, 4));
    }

    pass(1);
    assert_int_equal(c->ndelivered, 4);
    assert_true(c->push.behind);

    /* one that is behind looks for itself, and in order */

    assert_int_equal(sim_ack(c, 1), NGX_OK);
    assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, 1, 100, 100, &op), NGX_OK);
    assert_int_equal(c->ndelivered, 4);
    pass(1);
    assert_int_equal(c->ndelivered, 5);
    assert_int_equal(c->last_seq, 5);

    for (i = 2; i <= 6; i++) {
        assert_int_equal(sim_ack(c, i), NGX_OK);
        sim_take(c);
    }

    c->npids = 0;
    assert_int_equal(c->last_seq, 6);
    assert_false(c->push.behind);

    /* a blocked one is left alone, the user's other device is not */

    other = sim_claim(0, 1, 1, 0, 100, 0);
    assert_int_equal(sim_bind(other, 0), NGX_OK);
    sim_take(other);

    c->push.blocked = 1;
    assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, 1, 100, 100, &op), NGX_OK);
    assert_int_equal(op.reached, 2);
    assert_int_equal(c->ndelivered, 6);
    assert_int_equal(other->ndelivered, 1);
    c->push.blocked = 0;

    ack_all(other);
    pass(1);
    ack_all(c);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);
    assert_int_equal(in_use(NGX_PUSH_INFLIGHT), 0);
}


/* A message of another worker's stands before ours while its note waits. */

static void
test_at_once_after_note(void **state)
{
    int               status;
    pid_t             pid;
    sim_conn_t       *c;
    ngx_push_save_t   op;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    sim_take(c);

    pid = fork();

    if (pid == 0) {
        status = stub_worker() != NGX_OK
                 || sim_save(NGX_PUSH_INBOX, 0, 1, 100, 100, NULL) != NGX_OK;
        ngx_push_worker_exit((ngx_cycle_t *) ngx_cycle);
        _exit(status);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);

    assert_false(c->push.behind);
    assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, 1, 100, 100, &op), NGX_OK);
    assert_int_equal(op.seq, 2);
    assert_int_equal(c->ndelivered, 0);

    stub_events();
    ngx_push_mailbox_read();
    assert_int_equal(c->ndelivered, 2);
    assert_int_equal(c->last_seq, 2);
}


static void
test_resume(void **state)
{
    ngx_uint_t   i;
    sim_conn_t  *c;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);

    for (i = 0; i < 3; i++) {
        push(NGX_PUSH_INBOX, 0, 1);
    }

    assert_int_equal(sim_ack(c, 1), NGX_OK);
    sim_release(c, 1, 100, 0);
    push(NGX_PUSH_INBOX, 0, 1);
    push(NGX_PUSH_BROADCAST, 0, 0);

    /* two again, two that it has not seen */

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(c->ndelivered, 4);
    ack_all(c);
    sim_release(c, 0, 100, 0);

    /* after a clean start the cursors are still there */

    push(NGX_PUSH_INBOX, 0, 1);
    push(NGX_PUSH_BROADCAST, 0, 0);
    c = sim_claim(0, 1, 0, 1, 100, 0);
    assert_int_equal(c->present, 0);
    assert_int_equal(c->ndelivered, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    sim_take(c);
    assert_int_equal(c->ndelivered, 2);
    assert_int_equal(zone_check(NULL), 0);
}


/* What is resent stands before whatever is new, QoS 0 too. */

static void
test_resume_smaller(void **state)
{
    ngx_uint_t   i;
    sim_conn_t  *c;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    sim_take(c);

    for (i = 0; i < 4; i++) {
        push(NGX_PUSH_BROADCAST, 0, 0);
    }

    assert_int_equal(c->ndelivered, 4);
    sim_release(c, 1, 100, 0);

    sim_window = 2;
    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(c->ndelivered, 2);
    assert_int_equal(c->again, 1);

    sim_save_qos = 0;
    push(NGX_PUSH_BROADCAST, 0, 0);
    push(NGX_PUSH_INBOX, 0, 1);
    assert_int_equal(c->ndelivered, 2);

    sim_save_qos = 1;
    push(NGX_PUSH_BROADCAST, 0, 0);
    assert_int_equal(c->ndelivered, 2);

    for (i = 1; i <= 4; i++) {
        assert_int_equal(sim_ack(c, i), NGX_OK);
        c->want |= c->push.behind;
        sim_settle(c);
    }

    /* two more of the window, then all three that are new */

    assert_int_equal(c->again, 0);
    assert_int_equal(c->ndelivered, 7);
    assert_int_equal(zone_check(NULL), 0);
}


/* Whatever happened: who is not told has nothing to take. */

static void
test_nobody_forgotten(void **state)
{
    ngx_uint_t  i, n;

    for (i = 0; i < STUB_PRODUCTS; i++) {
        stub_product[i].inbox_limit = 40;
        stub_product[i].group_limit = 20;
        stub_product[i].broadcast_limit = 20;
        stub_product[i].uplink_limit = 20;
        stub_product[i].consume_once = i;
    }

    sim_seed(7);

    for (n = 0; n < 3000; n++) {

        for (i = sim_random(40); i; i--) {
            sim_step();
        }

        ngx_push_mailbox_read();
        stub_events();
        assert_int_equal(sim_forgotten(), 0);
        assert_int_equal(ngx_push_self->npins, 0);

        if (n % 100 == 0) {
            assert_int_equal(zone_check(NULL), 0);
            pass(sim_random(3));
        }
    }
}


/* A session that is over does not come back, nor does one without expiry. */

static void
test_session_end(void **state)
{
    sim_conn_t  *c;

    c = sim_claim(0, 1, 0, 0, 5, 0);
    assert_int_equal(c->present, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    push(NGX_PUSH_INBOX, 0, 1);
    sim_release(c, 1, 5, 0);
    pass(2);

    c = sim_claim(0, 1, 0, 0, 5, 0);
    assert_int_equal(c->present, 1);
    assert_int_equal(c->ndelivered, 1);
    sim_release(c, 1, 5, 0);
    pass(8);

    c = sim_claim(0, 1, 0, 0, 0, 0);
    assert_int_equal(c->present, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    sim_take(c);
    assert_int_equal(c->ndelivered, 1);
    sim_release(c, 1, 0, 0);
    assert_int_equal(in_use(NGX_PUSH_INFLIGHT), 0);

    c = sim_claim(0, 1, 0, 0, 5, 0);
    assert_int_equal(c->present, 0);
    push(NGX_PUSH_INBOX, 0, 1);
    assert_int_equal(c->ndelivered, 0);
}


static void
test_takeover(void **state)
{
    sim_conn_t  *c, *d;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    push(NGX_PUSH_INBOX, 0, 1);
    assert_int_equal(c->ndelivered, 1);

    d = sim_claim(0, 1, 0, 0, 100, 0);
    assert_ptr_not_equal(c, d);
    assert_int_equal(d->ndelivered, 1);
    assert_int_equal(ngx_push_ack(&c->push, 1), NGX_DECLINED);

    stub_events();
    assert_int_equal(c->kicks, 1);
    assert_int_equal(c->used, 0);
    assert_int_equal(d->used, 1);

    push(NGX_PUSH_INBOX, 0, 1);
    assert_int_equal(c->ndelivered, 1);
    assert_int_equal(d->ndelivered, 2);
    assert_int_equal(in_use(NGX_PUSH_SESSION), 1);
}


/* What one device has acknowledged stays for the user's others. */

static void
test_two_devices(void **state)
{
    sim_conn_t  *c, *d;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    d = sim_claim(0, 1, 1, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    assert_int_equal(sim_bind(d, 0), NGX_OK);
    sim_release(d, 0, 100, 0);

    push(NGX_PUSH_INBOX, 0, 1);
    ack_all(c);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 1);

    d = sim_claim(0, 1, 1, 0, 100, 0);
    assert_int_equal(d->ndelivered, 1);
    ack_all(d);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);
}


/* Also when that other device is bound to a second product. */

static void
test_two_products(void **state)
{
    sim_conn_t  *c, *d;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    d = sim_claim(0, 1, 1, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    assert_int_equal(sim_bind(d, 0), NGX_OK);
    assert_int_equal(sim_bind(d, 1), NGX_OK);
    sim_release(d, 0, 100, 0);

    push(NGX_PUSH_INBOX, 0, 1);
    push(NGX_PUSH_INBOX, 1, 1);
    ack_all(c);
    assert_int_equal(c->ndelivered, 1);
    pass(1);

    d = sim_claim(0, 1, 1, 0, 100, 0);
    assert_int_equal(d->ndelivered, 2);
    ack_all(d);
    pass(1);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);
}


static void
test_linger(void **state)
{
    zone_census_t   census;
    sim_conn_t     *c;

    c = sim_claim(0, 4, 4, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    assert_int_equal(sim_subscribe(c, NGX_PUSH_GROUP, 0, 4,
                                   NGX_PUSH_SUB_OWN), NGX_OK);
    assert_int_equal(in_use(NGX_PUSH_MEMBER), 2);
    assert_int_equal(in_use(NGX_PUSH_LONGNAME), 2);

    sim_release(c, 1, 100, 0);
    assert_int_equal(zone_check(&census), 0);
    assert_int_equal(census.lingering, 1);
    assert_int_equal(in_use(NGX_PUSH_MEMBER), 0);

    pass(stub_conf.linger + 2);
    assert_int_equal(zone_check(&census), 0);
    assert_int_equal(census.offline, 1);

    pass(stub_conf.device_expiry + 100);
    assert_int_equal(in_use(NGX_PUSH_SESSION), 0);
    assert_int_equal(in_use(NGX_PUSH_SUB), 0);
    assert_int_equal(in_use(NGX_PUSH_LOG), 0);
    assert_int_equal(in_use(NGX_PUSH_LONGNAME), 0);
}


/* The longest session expiry does not wrap round and is not over at once. */

static void
test_long_expiry(void **state)
{
    sim_conn_t  *c;

    c = sim_claim(0, 1, 0, 0, 0xfffffffe, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    push(NGX_PUSH_INBOX, 0, 1);
    sim_release(c, 1, 0xfffffffe, 0);
    pass(2);

    /* resumed: what was in flight comes without another subscribe */

    c = sim_claim(0, 1, 0, 0, 0xfffffffe, 0);
    assert_int_equal(c->present, 1);
    assert_int_equal(c->ndelivered, 1);
}


static void
test_group(void **state)
{
    sim_conn_t  *c, *d;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    d = sim_claim(0, 2, 0, 0, 100, 0);

    push(NGX_PUSH_GROUP, 0, 1);
    assert_int_equal(sim_subscribe(c, NGX_PUSH_GROUP, 0, 1,
                                   NGX_PUSH_SUB_OWN), NGX_OK);
    assert_int_equal(sim_subscribe(d, NGX_PUSH_GROUP, 0, 1,
                                   NGX_PUSH_SUB_OWN), NGX_OK);
    sim_take(c);
    assert_int_equal(c->ndelivered, 0);

    push(NGX_PUSH_GROUP, 0, 1);
    push(NGX_PUSH_GROUP, 1, 1);
    push(NGX_PUSH_GROUP, 0, 2);
    assert_int_equal(c->ndelivered, 1);
    assert_int_equal(d->ndelivered, 1);

    assert_int_equal(sim_unsubscribe(c, NGX_PUSH_GROUP, 0, 1,
                                     NGX_PUSH_SUB_OWN), NGX_OK);
    assert_int_equal(sim_unsubscribe(c, NGX_PUSH_GROUP, 0, 1,
                                     NGX_PUSH_SUB_OWN), NGX_PUSH_NOT_FOUND);
    assert_int_equal(in_use(NGX_PUSH_MEMBER), 1);
    assert_int_equal(in_use(NGX_PUSH_INFLIGHT), 1);

    push(NGX_PUSH_GROUP, 0, 1);
    assert_int_equal(c->ndelivered, 1);
    assert_int_equal(d->ndelivered, 2);

    /* it begins anew, at the end */

    assert_int_equal(sim_subscribe(c, NGX_PUSH_GROUP, 0, 1,
                                   NGX_PUSH_SUB_OWN), NGX_OK);
    sim_take(c);
    assert_int_equal(c->ndelivered, 1);
}


/* A bind is two subscriptions or none: there is room for one alone. */

static void
test_bind_whole(void **state)
{
    ngx_uint_t   i;
    sim_conn_t  *c;

    c = sim_claim(0, 1, 0, 0, 100, 0);

    for (i = 0; i < NGX_PUSH_SUBS_MAX - 1; i++) {
        assert_int_equal(sim_subscribe(c, NGX_PUSH_GROUP, 0, i,
                                       NGX_PUSH_SUB_OWN), NGX_OK);
    }

    assert_int_equal(sim_bind(c, 0), NGX_PUSH_FULL);
    assert_int_equal(in_use(NGX_PUSH_SUB), NGX_PUSH_SUBS_MAX - 1);

    push(NGX_PUSH_INBOX, 0, 1);
    assert_int_equal(c->ndelivered, 0);

    /* with a place more there is room for both */

    assert_int_equal(sim_unsubscribe(c, NGX_PUSH_GROUP, 0, 0,
                                     NGX_PUSH_SUB_OWN), NGX_OK);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    assert_int_equal(in_use(NGX_PUSH_SUB), NGX_PUSH_SUBS_MAX);
    sim_take(c);
    assert_int_equal(c->ndelivered, 1);
}


/* What was the member record of one group is now another's. */

static void
test_member_reused(void **state)
{
    ngx_uint_t   i;
    sim_conn_t  *c, *d;

    c = sim_claim(0, 1, 0, 0, 100, 0);
    d = sim_claim(0, 2, 0, 0, 100, 0);

    for (i = 0; i < 2; i++) {
        assert_int_equal(sim_subscribe(c, NGX_PUSH_GROUP, 0, 1,
                                       NGX_PUSH_SUB_OWN), NGX_OK);
        assert_int_equal(sim_unsubscribe(c, NGX_PUSH_GROUP, 0, 1,
                                         NGX_PUSH_SUB_OWN), NGX_OK);
    }

    assert_int_equal(in_use(NGX_PUSH_MEMBER), 0);

    for (i = 2; i < 40; i++) {
        assert_int_equal(sim_subscribe(d, NGX_PUSH_GROUP, 0, i,
                                       NGX_PUSH_SUB_OWN), NGX_OK);
    }

    assert_int_equal(sim_subscribe(c, NGX_PUSH_GROUP, 0, 1,
                                   NGX_PUSH_SUB_OWN), NGX_OK);
    assert_int_equal(in_use(NGX_PUSH_MEMBER), 39);

    push(NGX_PUSH_GROUP, 0, 1);
    assert_int_equal(c->ndelivered, 1);
    assert_int_equal(d->ndelivered, 0);

    for (i = 2; i < 40; i++) {
        push(NGX_PUSH_GROUP, 0, i);
        ack_all(d);
    }

    assert_int_equal(c->ndelivered, 1);
    assert_int_equal(d->ndelivered, 38);
}


static void
test_once(void **state)
{
    sim_conn_t       *c;
    ngx_push_save_t   op;

    assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, 1, 100, 0, &op), NGX_OK);
    assert_int_equal(op.reached, 0);

    c = sim_claim(0, 1, 0, 0, 100, 0);
    assert_int_equal(sim_bind(c, 0), NGX_OK);
    sim_take(c);
    assert_int_equal(c->ndelivered, 0);

    assert_int_equal(sim_save(NGX_PUSH_INBOX, 0, 1, 2000, 0, &op), NGX_OK);
    assert_int_equal(op.reached, 1);
    assert_int_equal(sim_save(NGX_PUSH_BROADCAST, 0, 0, 100, 0, &op),
                     NGX_OK);
    assert_int_equal(op.reached, 1);
    stub_events();
    assert_int_equal(c->nonce, 2);

    pass(2);
    assert_int_equal(in_use(NGX_PUSH_MESSAGE), 0);
}


static void
test_will(void **state)
{
    sim_conn_t  *c, *d;

    d = sim_claim(0, 2, 0, 0, 100, 0);
    assert_int_equal(sim_subscribe(d, NGX_PUSH_GROUP, 0, 1,
                                   NGX_PUSH_SUB_OWN), NGX_OK);

    /* a delay of 2 seconds, and a payload of many chunks */

    c = sim_claim(0, 1, 0, 0, 100, 59999);
    sim_release(c, 1, 100, 1);
    pass(1);
    assert_int_equal(d->ndelivered, 0);
    pass(3);
    assert_int_equal(d->ndelivered, 1);

    /* not if it is back in time, not if it says goodbye */

    c = sim_claim(0, 1, 0, 0, 100, 200);
    sim_release(c, 1, 100, 1);
    c = sim_claim(0, 1, 0, 0, 100, 200);
    sim_release(c, 0, 100, 0);
    pass(5);
    assert_int_equal(d->ndelivered, 1);
    ack_all(d);
    assert_int_equal(zone_check(NULL), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        zone_test(test_take_ack),
        zone_test(test_at_once),
        zone_test(test_at_once_after_note),
        zone_test(test_resume),
        zone_test(test_resume_smaller),
        zone_test(test_nobody_forgotten),
        zone_test(test_session_end),
        zone_test(test_takeover),
        zone_test(test_two_devices),
        zone_test(test_two_products),
        zone_test(test_linger),
        zone_test(test_long_expiry),
        zone_test(test_group),
        zone_test(test_bind_whole),
        zone_test(test_member_reused),
        zone_test(test_once),
        zone_test(test_will),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
