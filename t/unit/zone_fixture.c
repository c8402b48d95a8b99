
/*
 * Copyright (C) the ngx_push authors
 */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "zone_fixture.h"


char  zone_file[64];


static int
setup_with(const char *file)
{
    stub_init(ZONE_SIZE, file);
    stub_speed(0);
    sim_init();
    zone_check_inboxes = 1;
    ngx_memzero(sim_conns, sizeof(sim_conns));
    sim_window = 4;
    sim_seen = NULL;
    ngx_memzero(&sim_claimed, sizeof(ngx_push_claim_t));
    sim_sub_qos = 1;
    sim_save_qos = 1;

    return stub_open() == NGX_OK && stub_worker() == NGX_OK ? 0 : -1;
}


int
setup(void **state)
{
    return setup_with(NULL);
}


int
setup_file(void **state)
{
    sprintf(zone_file, "/dev/shm/zone_test.%d", (int) getpid());
    (void) unlink(zone_file);

    return setup_with(zone_file);
}


int
teardown(void **state)
{
    if (ngx_push_zone) {
        ngx_push_worker_exit((ngx_cycle_t *) ngx_cycle);
        stub_close();
    }

    if (zone_file[0]) {
        (void) unlink(zone_file);
        zone_file[0] = '\0';
    }

    return *stub_alarms || *sim_faults;
}


uint64_t
in_use(ngx_push_class_t class)
{
    zone_census_t  census;

    assert_int_equal(zone_check(&census), 0);

    return census.used[class];
}


void
pass(ngx_uint_t seconds)
{
    while (seconds--) {
        stub_pass(1);
        stub_tick();
        stub_events();
    }
}


void
ack_all(sim_conn_t *c)
{
    ngx_uint_t  i, n;

    n = c->npids;
    c->npids = 0;

    for (i = 0; i < n; i++) {
        assert_int_equal(sim_ack(c, c->pids[i]), NGX_OK);
    }

    sim_take(c);
}


void
push(ngx_push_kind_t kind, ngx_uint_t product, ngx_uint_t number)
{
    assert_int_equal(sim_save(kind, product, number, 100, -1, NULL), NGX_OK);
    stub_events();
}
