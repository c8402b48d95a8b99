
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _MIRROR_FAKE_H_INCLUDED_
#define _MIRROR_FAKE_H_INCLUDED_


/*
 * A store elsewhere, as little of it as the mirror needs: logs with messages
 * that end by hand, and needs that are answered when the test says so.
 */


#include "zone_fixture.h"
#include "ngx_push_mirror.h"


#define FAKE_LOGS   16
#define FAKE_MSGS   16384
#define FAKE_NEEDS  256


typedef struct {
    ngx_push_kind_t      kind;
    ngx_uint_t           product;
    ngx_uint_t           number;
    uint64_t             incarnation;  /* 0: there is none */
    uint64_t             last;
    u_char               alive[FAKE_MSGS];     /* by seq */
} fake_log_t;


typedef struct {
    ngx_push_need_t      need;
    u_char               name[NGX_PUSH_NAME_MAX];
} fake_need_t;


extern fake_log_t        fake_logs[FAKE_LOGS];
extern fake_need_t       fake_needs[FAKE_NEEDS];
extern ngx_uint_t        fake_nneeds;          /* not answered yet */
extern ngx_uint_t        fake_asked;           /* in all */
extern ngx_uint_t        fake_chunk;           /* messages of an answer */
extern ngx_uint_t        fake_moved;           /* calls of it */
extern ngx_push_store_t  fake_store;

int fake_setup(void **state);

fake_log_t *fake_log(ngx_push_kind_t kind, ngx_uint_t product,
    ngx_uint_t number);

/* A message is saved, told to this node or not. */

uint64_t fake_save(fake_log_t *log);
ngx_int_t fake_put(fake_log_t *log, uint64_t seq);
ngx_int_t fake_push(fake_log_t *log);

/* The log has emptied, and begins anew with the next message. */

void fake_reset(fake_log_t *log);

/* Answers what was asked, and what that makes them ask; 0: nothing was. */

ngx_uint_t fake_answer(void);
void fake_answer_one(fake_need_t *n);
ngx_uint_t fake_fail(void);

/* Runs until nothing happens any more, 20 ms gaps included. */

void fake_settle(void);

/* What a register does before a subscription. */

void fake_learn(fake_log_t *log);


#define mirror_test(f)                                                        \
    cmocka_unit_test_setup_teardown(f, fake_setup, teardown)


#endif /* _MIRROR_FAKE_H_INCLUDED_ */
