
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _ZONE_FIXTURE_H_INCLUDED_
#define _ZONE_FIXTURE_H_INCLUDED_


/* A small zone for each test; this process is its only worker. */


#include "zone_check.h"
#include "zone_sim.h"


#define ZONE_SIZE  (4 * 1024 * 1024)


extern char  zone_file[64];            /* its path; "": anonymous */


int setup(void **state);
int setup_file(void **state);
int teardown(void **state);            /* fails on an alarm in the log */

/* Records of a class, after a look at the whole zone. */

uint64_t in_use(ngx_push_class_t class);

/* Time goes on, second by second, with a tick in each. */

void pass(ngx_uint_t seconds);

/* Acknowledges what the device has, and takes what is next. */

void ack_all(sim_conn_t *c);

/* Saves a message and has it delivered. */

void push(ngx_push_kind_t kind, ngx_uint_t product, ngx_uint_t number);


#define zone_test(f)       cmocka_unit_test_setup_teardown(f, setup, teardown)
#define zone_file_test(f)                                                     \
    cmocka_unit_test_setup_teardown(f, setup_file, teardown)


#endif /* _ZONE_FIXTURE_H_INCLUDED_ */
