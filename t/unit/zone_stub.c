
/*
 * Copyright (C) the ngx_push authors
 */


#include "zone_stub.h"

#include <sys/mman.h>


ngx_push_conf_t             stub_conf;
ngx_push_product_t          stub_product[STUB_PRODUCTS];
volatile uint32_t          *stub_alarms;

volatile ngx_msec_t         ngx_current_msec;
volatile ngx_time_t        *ngx_cached_time;
volatile ngx_cycle_t       *ngx_cycle;
ngx_pid_t                   ngx_pid;
ngx_uint_t                  ngx_event_flags;
ngx_event_actions_t         ngx_event_actions;
ngx_rbtree_t                ngx_event_timer_rbtree;
ngx_queue_t                 ngx_posted_events;
ngx_queue_t                 ngx_posted_next_events;

static ngx_log_t            stub_log;
static ngx_cycle_t          stub_cycle;
static ngx_time_t           stub_now;
static ngx_uint_t           stub_factor;
static ngx_msec_t           stub_base;
static ngx_event_t         *stub_timer;
static ngx_event_t         *stub_others[STUB_TIMERS];
static ngx_connection_t     stub_connection;
static ngx_event_t          stub_event[2];


static ngx_int_t
stub_add_event(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    return NGX_OK;
}


void
stub_init(size_t size, const char *file)
{
    ngx_uint_t           i;
    ngx_push_product_t  *p;

    stub_alarms = mmap(NULL, 4096, PROT_READ|PROT_WRITE,
                       MAP_ANON|MAP_SHARED, -1, 0);

    stub_log.log_level = NGX_LOG_NOTICE;
    stub_cycle.log = &stub_log;
    ngx_cycle = &stub_cycle;
    ngx_cached_time = &stub_now;
    ngx_pid = getpid();
    ngx_event_actions.add = stub_add_event;

    ngx_queue_init(&ngx_posted_events);
    ngx_queue_init(&ngx_posted_next_events);

    stub_base = 1000 * 1000;
    stub_time();

    ngx_memzero(&stub_conf, sizeof(ngx_push_conf_t));

    stub_conf.size = size;
    stub_conf.linger = 30;
    stub_conf.device_expiry = 1000;
    stub_conf.session_expiry = 1000;
    stub_conf.mailbox = 64;
    stub_conf.idempotency_keep = 600;
    stub_conf.idempotency_limit = 1000;
    stub_conf.store = &ngx_push_memory_store;
    stub_conf.reg = &ngx_push_memory_register;

    if (file) {
        stub_conf.file.data = (u_char *) file;
        stub_conf.file.len = strlen(file);
    }

    for (i = 0; i < STUB_PRODUCTS; i++) {
        p = &stub_product[i];

        ngx_memzero(p, sizeof(ngx_push_product_t));
        p->name.data = (u_char *) (i ? "news" : "shop");
        p->name.len = 4;
        p->ttl = 600;
        p->ttl_max = 100000;
        p->inbox_limit = 1000;
        p->group_limit = 1000;
        p->broadcast_limit = 1000;
        p->uplink_limit = 1000;
        p->payload_limit = NGX_PUSH_PAYLOAD_MAX;
    }
}


void
stub_speed(ngx_uint_t speed)
{
    stub_factor = speed;
    stub_time();
}


void
stub_pass(ngx_uint_t seconds)
{
    stub_wait(seconds * 1000);
}


void
stub_wait(ngx_msec_t ms)
{
    stub_base += ms;
    stub_time();
}


void
stub_time(void)
{
    struct timespec  ts;

    ngx_current_msec = stub_base;

    if (stub_factor) {
        clock_gettime(CLOCK_MONOTONIC, &ts);
        ngx_current_msec += (ts.tv_sec * 1000000 + ts.tv_nsec / 1000)
                            * stub_factor / 1000;
    }

    stub_now.sec = 1700000000 + ngx_current_msec / 1000;
}


ngx_int_t
stub_open(void)
{
    ngx_int_t   id;
    ngx_uint_t  i;

    stub_conf.zone = ngx_push_zone_open(&stub_cycle, &stub_conf);

    if (stub_conf.zone == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(stub_conf.by_id, sizeof(stub_conf.by_id));

    for (i = 0; i < STUB_PRODUCTS; i++) {
        id = ngx_push_zone_product(stub_conf.zone, &stub_product[i].name);

        if (id == NGX_ERROR) {
            return NGX_ERROR;
        }

        stub_product[i].id = id;
        stub_conf.by_id[id] = &stub_product[i];
    }

    return NGX_OK;
}


void
stub_close(void)
{
    if (ngx_push_zone->fd != -1) {
        close(ngx_push_zone->fd);
        free(ngx_push_zone->file.data);
    }

    munmap(ngx_push_zone->base, ngx_push_zone->size);
    ngx_push_zone = NULL;
}


ngx_int_t
stub_worker(void)
{
    ngx_pid = getpid();

    if (stub_timer) {
        stub_timer->timer_set = 0;
        stub_timer = NULL;
    }

    return ngx_push_worker_init(&stub_cycle, &stub_conf);
}


void
stub_tick(void)
{
    stub_time();
    stub_timer->timer_set = 0;
    stub_timer->handler(stub_timer);
}


void
stub_timers(void)
{
    ngx_uint_t    i;
    ngx_event_t  *ev;

    for (i = 0; i < STUB_TIMERS; i++) {
        ev = stub_others[i];

        if (ev && (ngx_msec_int_t) (ev->timer.key - ngx_current_msec) <= 0) {
            stub_others[i] = NULL;
            ev->timer_set = 0;
            ev->handler(ev);
        }
    }
}


void
stub_events(void)
{
    ngx_queue_t  *q;
    ngx_event_t  *ev;

    while (!ngx_queue_empty(&ngx_posted_next_events)
           || !ngx_queue_empty(&ngx_posted_events))
    {
        while (!ngx_queue_empty(&ngx_posted_events)) {
            q = ngx_queue_head(&ngx_posted_events);
            ev = ngx_queue_data(q, ngx_event_t, queue);
            ngx_delete_posted_event(ev);
            ev->handler(ev);
        }

        while (!ngx_queue_empty(&ngx_posted_next_events)) {
            q = ngx_queue_head(&ngx_posted_next_events);
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&ngx_posted_events, q);
        }
    }
}


/* --- what the core calls */

ngx_push_conf_t *
ngx_push_get_conf(ngx_cycle_t *cycle)
{
    return &stub_conf;
}


ngx_push_product_t *
ngx_push_product_by_id(ngx_push_conf_t *pcf, ngx_uint_t id)
{
    return id < NGX_PUSH_PRODUCTS ? pcf->by_id[id] : NULL;
}


ngx_push_product_t *
ngx_push_find_product(ngx_push_conf_t *pcf, ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < STUB_PRODUCTS; i++) {
        if (stub_product[i].name.len == name->len
            && ngx_memcmp(stub_product[i].name.data, name->data, name->len)
               == 0)
        {
            return &stub_product[i];
        }
    }

    return NULL;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    if (level <= NGX_LOG_CRIT) {
        (void) __sync_add_and_fetch(stub_alarms, 1);

        if (getenv("ZONE_VERBOSE")) {
            fprintf(stderr, "log: %s\n", fmt);
        }
    }
}


/* The first timer set is the tick's. */

void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_uint_t    i;
    ngx_event_t  *ev;

    ev = (ngx_event_t *) ((u_char *) node - offsetof(ngx_event_t, timer));

    if (stub_timer == NULL || ev == stub_timer) {
        stub_timer = ev;
        return;
    }

    for (i = 0; i < STUB_TIMERS; i++) {
        if (stub_others[i] == NULL || stub_others[i] == ev) {
            stub_others[i] = ev;
            return;
        }
    }
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_uint_t  i;

    for (i = 0; i < STUB_TIMERS; i++) {
        if (stub_others[i] && &stub_others[i]->timer == node) {
            stub_others[i] = NULL;
        }
    }
}


ngx_connection_t *
ngx_get_connection(ngx_socket_t s, ngx_log_t *log)
{
    stub_connection.fd = s;
    stub_connection.read = &stub_event[0];
    stub_connection.write = &stub_event[1];
    stub_event[0].data = &stub_connection;

    return &stub_connection;
}


void
ngx_close_connection(ngx_connection_t *c)
{
    close(c->fd);
}


void
ngx_free_connection(ngx_connection_t *c)
{
}


void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return malloc(size);
}


/* A pool here is a list of mallocs, freed by who made it. */

void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    void  **p;

    p = malloc(sizeof(void *) * 2 + size);

    if (p == NULL) {
        return NULL;
    }

    p[0] = pool->chain;
    pool->chain = (ngx_chain_t *) p;

    return p + 2;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_array_push(ngx_array_t *a)
{
    void  *p;

    if (a->nelts == a->nalloc) {
        p = ngx_palloc(a->pool, 2 * a->nalloc * a->size);

        if (p == NULL) {
            return NULL;
        }

        ngx_memcpy(p, a->elts, a->nelts * a->size);
        a->elts = p;
        a->nalloc *= 2;
    }

    return (u_char *) a->elts + a->size * a->nelts++;
}


/* %xL, %uL and %uD, which is all that is asked for */

u_char *
ngx_sprintf(u_char *buf, const char *fmt, ...)
{
    int       n;
    u_char   *p;
    va_list   args;

    p = buf;
    va_start(args, fmt);

    while (*fmt) {

        if (*fmt != '%') {
            *p++ = *fmt++;
            continue;
        }

        if (fmt[2] == 'D') {
            n = sprintf((char *) p, "%u", va_arg(args, uint32_t));

        } else {
            n = sprintf((char *) p, fmt[1] == 'x' ? "%lx" : "%lu",
                        (unsigned long) va_arg(args, uint64_t));
        }

        p += n;
        fmt += 3;
    }

    va_end(args);

    return p;
}
