
/*
 * Copyright (C) the ngx_push authors
 */


#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mirror_fake.h"
#include "ngx_push_moved.h"


static void fake_load(ngx_push_need_t *need);
static void fake_moved_call(void);


fake_log_t           fake_logs[FAKE_LOGS];
fake_need_t          fake_needs[FAKE_NEEDS];
ngx_uint_t           fake_nneeds;
ngx_uint_t           fake_asked;
ngx_uint_t           fake_chunk;
ngx_uint_t           fake_moved;
ngx_push_store_t     fake_store;

static ngx_push_register_t  fake_register;
static uint64_t             fake_clock;


int
fake_setup(void **state)
{
    ngx_push_handle_t  session;

    if (setup(state) != 0) {
        return -1;
    }

    ngx_memzero(fake_logs, sizeof(fake_logs));
    fake_nneeds = 0;
    fake_asked = 0;
    fake_chunk = 0;
    fake_moved = 0;
    fake_clock = 1000;

    fake_store = ngx_push_memory_store;
    fake_store.load = fake_load;
    fake_register = ngx_push_memory_register;
    fake_register.moved = fake_moved_call;

    stub_conf.store = &fake_store;
    stub_conf.reg = &fake_register;

    ngx_push_mirrored = 1;
    ngx_push_moving = 1;

    while (ngx_push_moved_next(&session)) { /* void */ }

    return 0;
}


static void
fake_moved_call(void)
{
    fake_moved++;
}


fake_log_t *
fake_log(ngx_push_kind_t kind, ngx_uint_t product, ngx_uint_t number)
{
    ngx_uint_t   i;
    fake_log_t  *log;

    for (i = 0; i < FAKE_LOGS; i++) {
        log = &fake_logs[i];

        if (log->incarnation == 0 && log->last == 0) {
            log->kind = kind;
            log->product = product;
            log->number = number;
            log->last = 0;
            log->incarnation = ++fake_clock;
            return log;
        }

        if (log->kind == kind && log->product == product
            && log->number == number)
        {
            return log;
        }
    }

    return NULL;
}


void
fake_reset(fake_log_t *log)
{
    log->incarnation = ++fake_clock;
    log->last = 0;
    ngx_memzero(log->alive, sizeof(log->alive));
}


uint64_t
fake_save(fake_log_t *log)
{
    log->alive[++log->last] = 1;

    return log->last;
}


static void
fake_message(fake_log_t *log, uint64_t seq, ngx_push_mirror_t *m,
    u_char *name, ngx_buf_t *b, ngx_chain_t *cl, u_char *body)
{
    ngx_memzero(m, sizeof(ngx_push_mirror_t));
    ngx_memzero(b, sizeof(ngx_buf_t));

    sim_target(&m->target, name, log->kind, log->product, log->number);

    b->pos = body;
    b->last = body + sim_body(body, log->kind, log->product, log->number,
                              60 + seq % 7);
    b->memory = 1;
    cl->buf = b;
    cl->next = NULL;

    m->incarnation = log->incarnation;
    m->seq = seq;

    for (m->prev = seq - 1; m->prev && !log->alive[m->prev]; m->prev--) {
        /* void */
    }

    m->payload = cl;
    m->size = b->last - b->pos;
    m->qos = 1;
    m->created = ngx_time();
    m->expires = ngx_time() + 500;
}


ngx_int_t
fake_put(fake_log_t *log, uint64_t seq)
{
    u_char             name[NGX_PUSH_NAME_MAX], body[256];
    ngx_int_t          rc;
    ngx_buf_t          b;
    ngx_chain_t        cl;
    ngx_push_mirror_t  m;

    fake_message(log, seq, &m, name, &b, &cl, body);

    /* what has ended between is known to the sender only as it was then */

    m.prev = seq - 1;

    rc = ngx_push_mirror_put(&m);
    stub_events();

    return rc;
}


ngx_int_t
fake_push(fake_log_t *log)
{
    return fake_put(log, fake_save(log));
}


static void
fake_load(ngx_push_need_t *need)
{
    fake_need_t  *n;

    assert_true(fake_nneeds < FAKE_NEEDS);

    n = &fake_needs[fake_nneeds++];
    fake_asked++;

    n->need = *need;
    ngx_memcpy(n->name, need->target.name.data, need->target.name.len);
}


/* The log with that very name. */

static fake_log_t *
fake_of(ngx_push_target_t *t)
{
    u_char             name[NGX_PUSH_NAME_MAX];
    ngx_uint_t         i;
    fake_log_t        *log;
    ngx_push_target_t  other;

    for (i = 0; i < FAKE_LOGS; i++) {
        log = &fake_logs[i];

        if (log->last == 0 && log->incarnation == 0) {
            continue;
        }

        sim_target(&other, name, log->kind, log->product, log->number);

        if (other.kind == t->kind && other.product == t->product
            && other.name.len == t->name.len
            && ngx_memcmp(name, t->name.data, t->name.len) == 0)
        {
            return log;
        }
    }

    return NULL;
}


void
fake_answer_one(fake_need_t *n)
{
    u_char             name[NGX_PUSH_NAME_MAX], body[256];
    uint64_t           seq, end;
    ngx_buf_t          b;
    ngx_uint_t         given;
    fake_log_t        *log;
    ngx_chain_t        cl;
    ngx_push_fill_t    f;
    ngx_push_mirror_t  m;

    ngx_memzero(&f, sizeof(ngx_push_fill_t));

    f.target = n->need.target;
    f.target.name.data = n->name;

    log = fake_of(&f.target);

    if (log && log->last) {
        f.incarnation = log->incarnation;
        f.after = n->need.incarnation == log->incarnation ? n->need.after : 0;
        f.last = log->last;
        f.upto = (n->need.upto && f.after == n->need.after
                  && n->need.incarnation == log->incarnation)
                 ? n->need.upto : f.last;
        f.upto = ngx_max(f.upto, f.after);
    }

    end = f.upto;

    if (fake_chunk && log) {

        for (seq = f.after + 1, given = 0; seq <= end; seq++) {
            given += log->alive[seq];

            if (given == fake_chunk) {
                f.upto = seq;
                break;
            }
        }
    }

    (void) ngx_push_mirror_begin(&f);

    for (seq = f.after + 1; f.incarnation && seq <= f.upto; seq++) {

        if (log->alive[seq]) {
            fake_message(log, seq, &m, name, &b, &cl, body);
            (void) ngx_push_mirror_fill(&f, &m);
        }
    }

    ngx_push_mirror_end(&f);
}


ngx_uint_t
fake_answer(void)
{
    ngx_uint_t   n, i;
    fake_need_t  needs[FAKE_NEEDS];

    n = fake_nneeds;
    ngx_memcpy(needs, fake_needs, n * sizeof(fake_need_t));
    fake_nneeds = 0;

    for (i = 0; i < n; i++) {
        fake_answer_one(&needs[i]);
        stub_events();
    }

    return n;
}


ngx_uint_t
fake_fail(void)
{
    ngx_uint_t         n, i;
    ngx_push_target_t  t;

    n = fake_nneeds;
    fake_nneeds = 0;

    for (i = 0; i < n; i++) {
        t = fake_needs[i].need.target;
        t.name.data = fake_needs[i].name;
        ngx_push_mirror_failed(&t);
    }

    stub_events();

    return n;
}


void
fake_settle(void)
{
    ngx_uint_t  i;

    for (i = 0; i < 20; i++) {
        ngx_push_mailbox_read();
        stub_events();

        while (fake_answer()) { /* void */ }

        stub_pass(i % 2);
        stub_wait(25);
        stub_timers();
        stub_events();
    }
}


void
fake_learn(fake_log_t *log)
{
    u_char             name[NGX_PUSH_NAME_MAX];
    ngx_push_target_t  t;

    sim_target(&t, name, log->kind, log->product, log->number);

    assert_int_equal(ngx_push_mirror_learn(&t, log->last ? log->incarnation
                                                         : 0,
                                           log->last, 0),
                     NGX_OK);
}
