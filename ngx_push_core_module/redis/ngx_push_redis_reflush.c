
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Writing back what this node has registered: two walks over the zone's
 * pages, one over the logs of channels with members here, one over sessions.
 * A walk takes some records at a time, hands them to the register, and goes
 * on when all of them are done; where it stands is in the zone, so that
 * another worker can go on.  What is asked for during a walk is another walk
 * after it: one that began anew each time might never see the end.
 */


#include "ngx_push_redis_bus.h"
#include "ngx_push_page.h"


#define NGX_PUSH_REFLUSH_BATCH  128    /* records under way, of a walk */
#define NGX_PUSH_REFLUSH_PAGES  4096   /* pages looked at in a turn */
#define NGX_PUSH_REFLUSH_PACE   20     /* ms */
#define NGX_PUSH_REFLUSH_TRIES  250    /* of one record, by that pace */


typedef struct ngx_push_reflush_s  ngx_push_reflush_t;


typedef enum {
    NGX_PUSH_REFLUSH_DONE = 0,
    NGX_PUSH_REFLUSH_NEXT,
    NGX_PUSH_REFLUSH_FLYING
} ngx_push_reflush_state_t;


typedef struct {
    ngx_push_handle_t     handle;
    ngx_push_reflush_t   *walk;
    ngx_uint_t            state;
    ngx_uint_t            tries;
} ngx_push_reflush_item_t;


/* The records of a walk that are under way, of this process. */

struct ngx_push_reflush_s {
    ngx_push_zone_walk_t     *zone;
    ngx_push_class_t          class;
    const char               *name;
    uint32_t                  page;    /* behind the batch */
    uint32_t                  record;
    ngx_uint_t                n;
    ngx_uint_t                flying;
    ngx_push_reflush_item_t   items[NGX_PUSH_REFLUSH_BATCH];
};


static void ngx_push_reflush_run(ngx_event_t *ev);
static void ngx_push_reflush_start(ngx_push_reflush_t *w);
static ngx_uint_t ngx_push_reflush_step(ngx_push_reflush_t *w);
static ngx_uint_t ngx_push_reflush_collect(ngx_push_reflush_t *w);
static void ngx_push_reflush_page(ngx_push_reflush_t *w, uint32_t n,
    ngx_uint_t max);
static ngx_uint_t ngx_push_reflush_fits(ngx_push_reflush_t *w, void *record);
static void ngx_push_reflush_send(ngx_push_reflush_t *w);
static void ngx_push_reflush_one(ngx_push_reflush_item_t *item);
static void ngx_push_reflush_done(void *data, ngx_int_t rc);
static void ngx_push_reflush_settle(ngx_push_reflush_item_t *item,
    ngx_int_t rc);
static uint64_t ngx_push_reflush_count(ngx_push_class_t class);
static ngx_uint_t ngx_push_reflush_allowance(void);


static ngx_push_reflush_t  ngx_push_reflushes[NGX_PUSH_REFLUSH_WALKS];
static ngx_event_t         ngx_push_reflush_event;
static ngx_msec_t          ngx_push_reflush_at;
static ngx_uint_t          ngx_push_reflush_part;    /* of a record, / 1000 */


void
ngx_push_reflush_init(void)
{
    ngx_uint_t           i;
    ngx_push_reflush_t  *w;

    for (i = 0; i < NGX_PUSH_REFLUSH_WALKS; i++) {
        w = &ngx_push_reflushes[i];

        w->zone = &ngx_push_nodes->walks[i];
        w->class = i == NGX_PUSH_REFLUSH_SESSIONS ? NGX_PUSH_SESSION
                                                  : NGX_PUSH_LOG;
        w->name = i == NGX_PUSH_REFLUSH_SESSIONS ? "sessions" : "channels";
    }

    ngx_push_bus_event(&ngx_push_reflush_event, ngx_push_reflush_run);
}


void
ngx_push_reflush_all(const char *why)
{
    ngx_push_zone_walk_t  *walks;

    walks = ngx_push_nodes->walks;

    if (!walks[NGX_PUSH_REFLUSH_SESSIONS].wanted) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "push: node \"%V\" writes its sessions back: %s",
                      &ngx_push_node_name, why);
    }

    walks[NGX_PUSH_REFLUSH_CHANNELS].wanted = 1;
    walks[NGX_PUSH_REFLUSH_SESSIONS].wanted = 1;
}


void
ngx_push_reflush_channels(void)
{
    ngx_push_nodes->walks[NGX_PUSH_REFLUSH_CHANNELS].wanted = 1;
}


void
ngx_push_reflush_tick(void)
{
    ngx_uint_t           i, n;
    ngx_push_reflush_t  *w;

    n = 0;

    /* a channel need not wait for the heartbeat of a member */

    if (ngx_push_nodes->check != ngx_push_zone->head->check) {
        ngx_push_reflush_channels();
    }

    for (i = 0; i < NGX_PUSH_REFLUSH_WALKS; i++) {
        w = &ngx_push_reflushes[i];

        if (w->zone->wanted || w->zone->running) {
            n++;
        }
    }

    if (n && !ngx_push_reflush_event.timer_set) {
        ngx_push_reflush_at = ngx_current_msec;
        ngx_add_timer(&ngx_push_reflush_event, 1);
    }
}


/* Channels first: they are fewer, and each is many devices'. */

static void
ngx_push_reflush_run(ngx_event_t *ev)
{
    ngx_uint_t           i, more;
    ngx_push_reflush_t  *w;

    if (ngx_push_self == NULL || !ngx_push_role_mine()) {

        /* who has it now begins with the batch anew */

        for (i = 0; i < NGX_PUSH_REFLUSH_WALKS; i++) {
            ngx_push_reflushes[i].n = 0;
        }

        return;
    }

    more = 0;

    for (i = 0; i < NGX_PUSH_REFLUSH_WALKS; i++) {
        w = &ngx_push_reflushes[i];

        if (!w->zone->running && w->zone->wanted && w->flying == 0) {
            ngx_push_reflush_start(w);
        }

        if (w->zone->running) {
            more |= ngx_push_reflush_step(w);
        }
    }

    if (more) {
        ngx_add_timer(ev, NGX_PUSH_REFLUSH_PACE);
    }
}


/*
 * What is asked for until the end of this is done by this walk; who dies
 * before it leaves it to be begun once more.
 */

static void
ngx_push_reflush_start(ngx_push_reflush_t *w)
{
    if (w->class == NGX_PUSH_LOG) {
        ngx_push_nodes->check = ngx_push_zone->head->check;
    }

    ngx_memory_barrier();

    w->zone->page = 0;
    w->zone->record = 0;
    w->zone->remaining = ngx_push_reflush_count(w->class);
    w->n = 0;

    ngx_memory_barrier();

    w->zone->running = 1;

    ngx_memory_barrier();

    w->zone->wanted = 0;
}


/* 1: there is more to do */

static ngx_uint_t
ngx_push_reflush_step(ngx_push_reflush_t *w)
{
    ngx_uint_t  i;

    for (i = 0; i < w->n; i++) {
        if (w->items[i].state != NGX_PUSH_REFLUSH_DONE) {
            break;
        }
    }

    if (i < w->n || w->flying) {
        ngx_push_reflush_send(w);
        return 1;
    }

    if (w->n) {

        /* what another worker begins with anew does not count twice */

        w->zone->page = w->page;
        w->zone->record = w->record;
        w->zone->remaining -= ngx_min(w->n, w->zone->remaining);
        w->n = 0;
    }

    if (ngx_push_reflush_collect(w)) {
        ngx_push_reflush_send(w);
        return 1;
    }

    w->zone->remaining = 0;
    w->zone->running = 0;

    if (w->class == NGX_PUSH_SESSION) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "push: node \"%V\" has written its %s back",
                      &ngx_push_node_name, w->name);
    }

    return w->zone->wanted;
}


/* The next records; 0: the walk is at its end. */

static ngx_uint_t
ngx_push_reflush_collect(ngx_push_reflush_t *w)
{
    uint32_t    n, last;
    ngx_uint_t  max;

    max = ngx_push_reflush_allowance();

    if (max == 0) {
        return 1;
    }

    w->page = w->zone->page;
    w->record = w->zone->record;

    last = ngx_min(w->page + NGX_PUSH_REFLUSH_PAGES,
                   ngx_push_zone->head->npages);

    while (w->page < last && w->n < max) {
        n = w->page;

        ngx_push_reflush_page(w, n, max);

        if (w->n < max) {
            w->page = n + 1;
            w->record = 0;
        }
    }

    if (w->n == 0) {
        w->zone->page = w->page;
        w->zone->record = 0;

        return w->page < ngx_push_zone->head->npages;
    }

    return 1;
}


static void
ngx_push_reflush_page(ngx_push_reflush_t *w, uint32_t n, ngx_uint_t max)
{
    size_t                    size;
    u_char                   *data;
    uint32_t                  k, owner;
    ngx_push_page_t          *page;
    ngx_push_slot_t          *slot;
    ngx_push_reflush_item_t  *item;

    page = &ngx_push_zone->pages[n];
    owner = page->owner;

    if (owner == 0 || (owner & 0xff) != (uint32_t) w->class) {
        return;
    }

    (void) ngx_push_begin_shard((owner >> 8) - 1);

    if (page->owner != owner) {
        ngx_push_end();
        return;
    }

    size = ngx_push_zone->head->records[w->class];
    data = ngx_push_page_data(n) + w->record * size;

    for (k = w->record; k < page->fresh && w->n < max; k++, data += size) {
        slot = (ngx_push_slot_t *) data;

        if (!slot->used || !ngx_push_reflush_fits(w, slot)) {
            continue;
        }

        item = &w->items[w->n++];
        item->handle.index = ngx_push_ref(slot);
        item->handle.gen = slot->gen;
        item->walk = w;
        item->state = NGX_PUSH_REFLUSH_NEXT;
        item->tries = 0;
    }

    w->record = k;

    ngx_push_end();
}


static ngx_uint_t
ngx_push_reflush_fits(ngx_push_reflush_t *w, void *record)
{
    ngx_push_log_t  *log;

    if (w->class == NGX_PUSH_SESSION) {
        return 1;
    }

    log = record;

    return (log->kind == NGX_PUSH_GROUP || log->kind == NGX_PUSH_BROADCAST)
           && log->subs != 0;
}


static void
ngx_push_reflush_send(ngx_push_reflush_t *w)
{
    ngx_uint_t  i;

    if (!ngx_push_redis_up(NULL)) {
        return;
    }

    for (i = 0; i < w->n; i++) {
        if (w->items[i].state == NGX_PUSH_REFLUSH_NEXT) {
            ngx_push_reflush_one(&w->items[i]);
        }
    }
}


static void
ngx_push_reflush_one(ngx_push_reflush_item_t *item)
{
    ngx_int_t            rc;
    ngx_push_reflush_t  *w;

    w = item->walk;

    item->tries++;
    item->state = NGX_PUSH_REFLUSH_FLYING;
    w->flying++;

    if (w->class == NGX_PUSH_SESSION) {
        rc = ngx_push_register_reflush(item->handle, ngx_push_reflush_done,
                                       item);
    } else {
        rc = ngx_push_register_reflush_log(item->handle,
                                           ngx_push_reflush_done, item);
    }

    if (rc != NGX_AGAIN) {
        w->flying--;
        ngx_push_reflush_settle(item, rc);
    }
}


/* Maybe of a batch that this process has left to another. */

static void
ngx_push_reflush_done(void *data, ngx_int_t rc)
{
    ngx_push_reflush_item_t  *item;

    item = data;
    item->walk->flying--;

    if (ngx_push_self && item->walk->n) {
        ngx_push_reflush_settle(item, rc);
    }
}


static void
ngx_push_reflush_settle(ngx_push_reflush_item_t *item, ngx_int_t rc)
{
    ngx_push_reflush_t  *w;

    w = item->walk;

    if (rc != NGX_OK && rc != NGX_PUSH_NOT_FOUND && rc != NGX_DECLINED
        && rc != NGX_PUSH_DENIED)
    {

        if (item->tries < NGX_PUSH_REFLUSH_TRIES) {
            item->state = NGX_PUSH_REFLUSH_NEXT;
            return;
        }

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "push: one of the %s cannot be written back", w->name);
    }

    item->state = NGX_PUSH_REFLUSH_DONE;

    if (rc == NGX_OK && w->class == NGX_PUSH_SESSION) {
        ngx_push_count(reflushed);
    }
}


static uint64_t
ngx_push_reflush_count(ngx_push_class_t class)
{
    uint64_t    n;
    ngx_uint_t  i, first, last;

    first = 0;
    last = ngx_push_zone->head->nusers;

    if (class == NGX_PUSH_LOG) {
        first = last;
        last += ngx_push_zone->head->nchannels;
    }

    for (n = 0, i = first; i < last; i++) {
        n += ngx_push_zone->shards[i].classes[class].used;
    }

    return n;
}


/* Of both walks together: what reflush_rate makes of the time gone by. */

static ngx_uint_t
ngx_push_reflush_allowance(void)
{
    ngx_uint_t  n;
    ngx_msec_t  ms;

    ms = ngx_current_msec - ngx_push_reflush_at;
    ngx_push_reflush_at = ngx_current_msec;

    n = ngx_push_reflush_part
        + ngx_min(ms, 100) * ngx_push_redis_conf()->reflush_rate;

    ngx_push_reflush_part = n % 1000;

    return ngx_min(n / 1000, NGX_PUSH_REFLUSH_BATCH);
}
