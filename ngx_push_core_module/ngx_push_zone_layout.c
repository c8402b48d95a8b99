
/*
 * Copyright (C) the ngx_push authors
 */


/* What is in a zone: laid out new, or put right after its last users. */


#include "ngx_push_zone_layout.h"
#include "ngx_push_idem.h"
#include "ngx_push_session.h"
#include "ngx_push_mirror.h"
#include "ngx_push_worker.h"


static ngx_int_t ngx_push_zone_mutexes(ngx_push_zone_t *zone);
static void ngx_push_zone_clock(ngx_push_zone_head_t *head);
static uint64_t ngx_push_zone_boot(void);
static uint64_t ngx_push_zone_random(void);


static const size_t  ngx_push_record_sizes[NGX_PUSH_CLASSES] = {
    sizeof(ngx_push_session_t),
    sizeof(ngx_push_sub_t),
    sizeof(ngx_push_inflight_t),
    sizeof(ngx_push_member_t),
    sizeof(ngx_push_log_t),
    sizeof(ngx_push_message_t),
    sizeof(ngx_push_chunk_t),
    2 * NGX_PUSH_NAME_MAX + 16,
    sizeof(ngx_push_idem_t),
    sizeof(ngx_push_longkey_t)
};


size_t
ngx_push_record_size(ngx_push_class_t class)
{
    return ngx_align(ngx_push_record_sizes[class],
                     (1 << NGX_PUSH_REF_SHIFT));
}


ngx_uint_t
ngx_push_page_records(ngx_push_class_t class)
{
    return NGX_PUSH_PAGE_SIZE / ngx_push_record_size(class);
}


void
ngx_push_zone_parts(ngx_push_zone_t *zone)
{
    zone->head = (ngx_push_zone_head_t *) zone->base;
    zone->shards = (ngx_push_shard_t *) (zone->base + zone->head->shards_at);
    zone->pages = (ngx_push_page_t *) (zone->base + zone->head->pages_at);
    zone->data = zone->base + zone->head->data_at;

    ngx_push_zone = zone;
}


ngx_int_t
ngx_push_zone_layout(ngx_cycle_t *cycle, ngx_push_zone_t *zone,
    ngx_push_zone_head_t *want)
{
    size_t                 tables;
    uint64_t               at;
    ngx_uint_t             i;
    ngx_push_shard_t      *sh;
    ngx_push_worker_t     *w;
    ngx_push_zone_head_t  *head;

    head = (ngx_push_zone_head_t *) zone->base;

    head->clean = 0;
    ngx_memzero(zone->base, want->data_at);
    *head = *want;

    head->id = ngx_push_zone_random();
    head->hash_key[0] = ngx_push_zone_random();
    head->hash_key[1] = ngx_push_zone_random();

    /* grows by itself over the lives of a zone, and never repeats */

    head->epoch = (uint64_t) ngx_time();
    head->incarnation = head->epoch << 24 | (ngx_push_zone_random() & 0xffff);
    head->gen = (uint32_t) ngx_push_zone_random();
    head->free_pages = head->npages;
    head->check = 1;

    ngx_push_zone_clock(head);
    ngx_push_zone_parts(zone);

    tables = (3 * (size_t) head->buckets + NGX_PUSH_WHEEL)
             * sizeof(ngx_push_ref_t);

    for (i = 0; i < head->nusers + head->nchannels; i++) {
        sh = &zone->shards[i];
        at = head->tables_at + i * tables;

        sh->index = i;
        sh->mask = head->buckets - 1;
        sh->sessions = at;
        sh->logs = at + head->buckets * sizeof(ngx_push_ref_t);
        sh->idems = at + 2 * head->buckets * sizeof(ngx_push_ref_t);
        sh->wheel = at + 3 * head->buckets * sizeof(ngx_push_ref_t);
        sh->wheel_at = ngx_push_now();
    }

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);
        w->index = i;
        w->mailbox.cells = head->cells_at + i * (uint64_t) head->mailbox
                                              * sizeof(ngx_push_mail_t);
    }

    if (ngx_push_zone_mutexes(zone) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "pthread_mutex_init() failed for the push zone");
        return NGX_ERROR;
    }

    head->clean = 1;

    return NGX_OK;
}


/* Nobody else uses the zone: what the dead left half done is taken back. */

ngx_int_t
ngx_push_zone_revive(ngx_cycle_t *cycle, ngx_push_zone_t *zone)
{
    ngx_uint_t          i, n;
    ngx_push_shard_t   *sh;
    ngx_push_worker_t  *w;

    if (ngx_push_zone_mutexes(zone) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "pthread_mutex_init() failed for the push zone");
        return NGX_ERROR;
    }

    ngx_push_zone_clock(zone->head);

    /* nobody has told of what a store elsewhere was given meanwhile */

    ngx_push_check_all();

    n = 0;

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);

        ngx_push_recover(w);

        w->npins = 0;
        w->mailbox.signaled = 0;
        w->mailbox.resync = 0;
        w->mailbox.tail = w->mailbox.head;

        if (w->state != NGX_PUSH_WORKER_FREE) {
            w->state = NGX_PUSH_WORKER_DEAD;
            w->swept = 0;
            n++;
        }
    }

    /* for the repair the master stands in for a worker */

    zone->self = ngx_push_worker_slot(0);
    zone->undo = zone->self->undo;
    zone->nundo = &zone->self->nundo;

    for (i = 0; i < zone->head->nusers + zone->head->nchannels; i++) {
        sh = ngx_push_begin_shard(i);
        ngx_push_pages_repair(sh);
        ngx_push_end();
    }

    zone->self = NULL;

    ngx_push_pages_recount();

    ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                  "push zone \"%V\" taken over with what it held, "
                  "%ui worker(s) to be swept", &zone->file, n);

    return NGX_OK;
}


static ngx_int_t
ngx_push_zone_mutexes(ngx_push_zone_t *zone)
{
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_push_worker_t    *w;
    pthread_mutexattr_t   attr;

    if (pthread_mutexattr_init(&attr) != 0) {
        return NGX_ERROR;
    }

    rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    rc |= pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);

    rc |= pthread_mutex_init(&zone->head->workers_mutex, &attr);
    rc |= pthread_mutex_init(&zone->head->repair_mutex, &attr);

    for (i = 0; i < zone->head->nusers + zone->head->nchannels; i++) {
        rc |= pthread_mutex_init(&zone->shards[i].mutex, &attr);
    }

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);
        rc |= pthread_mutex_init(&w->life, &attr);
        rc |= pthread_mutex_init(&w->mailbox.mutex, &attr);
    }

    (void) pthread_mutexattr_destroy(&attr);

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


/*
 * Zone time goes on where it was: by the monotonic clock within one boot of
 * the host, by the wall clock from one boot to the next, never backwards.
 */

static void
ngx_push_zone_clock(ngx_push_zone_head_t *head)
{
    int64_t   clock;
    uint64_t  boot;

    boot = ngx_push_zone_boot();

    if (head->boot == boot) {
        return;
    }

    clock = (int64_t) ngx_time() - (int64_t) (ngx_current_msec / 1000);

    if (head->last_seen > clock + (int64_t) (ngx_current_msec / 1000)) {
        clock = head->last_seen - (int64_t) (ngx_current_msec / 1000);
    }

    head->clock = clock;
    head->boot = boot;
}


static uint64_t
ngx_push_zone_boot(void)
{
    ssize_t   n;
    u_char    buf[64];
    uint64_t  h;
    ngx_fd_t  fd;

    fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY|O_CLOEXEC);

    if (fd == -1) {
        return 1;
    }

    n = read(fd, buf, sizeof(buf));
    close(fd);

    for (h = 1469598103934665603ULL; n > 0; n--) {
        h = (h ^ buf[n - 1]) * 1099511628211ULL;
    }

    return h | 1;
}


static uint64_t
ngx_push_zone_random(void)
{
    uint64_t  r;
    ngx_fd_t  fd;

    fd = open("/dev/urandom", O_RDONLY|O_CLOEXEC);

    if (fd == -1 || read(fd, &r, sizeof(r)) != sizeof(r)) {
        r = (uint64_t) ngx_random() << 32 ^ (uint64_t) ngx_random()
            ^ (uint64_t) ngx_pid << 16;
    }

    if (fd != -1) {
        close(fd);
    }

    return r;
}
