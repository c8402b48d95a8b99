
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_zone.h"
#include "ngx_push_session.h"
#include "ngx_push_worker.h"

#include <sys/file.h>
#include <sys/vfs.h>


#define NGX_PUSH_TMPFS_MAGIC    0x01021994
#define NGX_PUSH_RAMFS_MAGIC    0x858458f6
#define NGX_PUSH_HUGETLB_MAGIC  0x958458f6


static void ngx_push_zone_geometry(ngx_push_conf_t *pcf,
    ngx_push_zone_head_t *head);
static ngx_int_t ngx_push_zone_same(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf);
static ngx_int_t ngx_push_zone_map(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf, ngx_push_zone_t *zone, ngx_push_zone_head_t *want);
static ngx_int_t ngx_push_zone_map_file(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf, ngx_push_zone_t *zone, ngx_push_zone_head_t *want);
static ngx_int_t ngx_push_zone_fits(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf, ngx_push_zone_head_t *head,
    ngx_push_zone_head_t *want);
static void ngx_push_zone_parts(ngx_push_zone_t *zone);
static ngx_int_t ngx_push_zone_layout(ngx_cycle_t *cycle,
    ngx_push_zone_t *zone, ngx_push_zone_head_t *want);
static ngx_int_t ngx_push_zone_revive(ngx_cycle_t *cycle,
    ngx_push_zone_t *zone);
static ngx_int_t ngx_push_zone_mutexes(ngx_push_zone_t *zone);
static void ngx_push_zone_clock(ngx_push_zone_head_t *head);
static uint64_t ngx_push_zone_boot(void);
static uint64_t ngx_push_zone_random(void);
static void ngx_push_zone_report(ngx_cycle_t *cycle, ngx_push_conf_t *pcf);


ngx_push_zone_t         *ngx_push_zone;

static ngx_push_zone_t   ngx_push_zone_self;
static size_t            ngx_push_zone_mailbox;


static const size_t  ngx_push_record_sizes[NGX_PUSH_CLASSES] = {
    sizeof(ngx_push_session_t),
    sizeof(ngx_push_sub_t),
    sizeof(ngx_push_inflight_t),
    sizeof(ngx_push_member_t),
    sizeof(ngx_push_log_t),
    sizeof(ngx_push_message_t),
    sizeof(ngx_push_chunk_t),
    2 * NGX_PUSH_NAME_MAX + 16
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


ngx_push_zone_t *
ngx_push_zone_open(ngx_cycle_t *cycle, ngx_push_conf_t *pcf)
{
    ngx_push_zone_t       *zone;
    ngx_push_zone_head_t   want;

    if (ngx_push_zone) {
        return ngx_push_zone_same(cycle, pcf) == NGX_OK ? ngx_push_zone
                                                        : NULL;
    }

    zone = &ngx_push_zone_self;
    ngx_memzero(zone, sizeof(ngx_push_zone_t));
    zone->fd = NGX_INVALID_FILE;

    ngx_push_zone_geometry(pcf, &want);

    if (ngx_push_zone_map(cycle, pcf, zone, &want) != NGX_OK) {
        return NULL;
    }

    ngx_push_zone_report(cycle, pcf);

    return zone;
}


/*
 * The sizes of the parts follow from the directive alone, so that the same
 * configuration always finds its own file again.
 */

static void
ngx_push_zone_geometry(ngx_push_conf_t *pcf, ngx_push_zone_head_t *head)
{
    size_t      at, sessions, tables;
    ngx_uint_t  i, n, shards;

    ngx_memzero(head, sizeof(ngx_push_zone_head_t));

    head->magic = NGX_PUSH_ZONE_MAGIC;
    head->layout = NGX_PUSH_ZONE_LAYOUT;
    head->head_size = sizeof(ngx_push_zone_head_t);
    head->npages = pcf->size / NGX_PUSH_PAGE_SIZE;
    head->data = (uint64_t) head->npages * NGX_PUSH_PAGE_SIZE;
    head->mailbox = pcf->mailbox;

    for (i = 0; i < NGX_PUSH_CLASSES; i++) {
        head->records[i] = ngx_push_record_size(i);
    }

    /* a shard should have a page of each class and some to spare */

    for (n = 1; n < 64 && n * 2 * 1024 * 1024 <= head->data; n *= 2) {
        /* void */
    }

    head->nusers = n;
    head->nchannels = (n + 3) / 4;

    shards = head->nusers + head->nchannels;

    /* buckets for the sessions that half of the zone can hold */

    sessions = head->data / 2 / (head->records[NGX_PUSH_SESSION]
                                 + 2 * head->records[NGX_PUSH_SUB]);

    for (n = 64; n * head->nusers < sessions; n *= 2) { /* void */ }

    tables = (2 * n + NGX_PUSH_WHEEL) * sizeof(ngx_push_ref_t);

    at = ngx_align(sizeof(ngx_push_zone_head_t), 4096);
    head->workers_at = at;

    at = ngx_align(at + NGX_PUSH_WORKERS * sizeof(ngx_push_worker_t), 4096);
    head->shards_at = at;

    at = ngx_align(at + shards * sizeof(ngx_push_shard_t), 4096);
    head->pages_at = at;

    at = ngx_align(at + head->npages * sizeof(ngx_push_page_t), 4096);
    head->tables_at = at;
    head->buckets = n;

    at = ngx_align(at + shards * tables, 4096);
    head->cells_at = at;

    at += NGX_PUSH_WORKERS * (size_t) head->mailbox * sizeof(ngx_push_mail_t);
    head->data_at = ngx_align(at, NGX_PUSH_PAGE_SIZE);

    head->size = head->data_at + head->data;
}


static ngx_int_t
ngx_push_zone_same(ngx_cycle_t *cycle, ngx_push_conf_t *pcf)
{
    ngx_push_zone_t  *zone;

    zone = ngx_push_zone;

    if (zone->file.len != pcf->file.len
        || ngx_strncmp(zone->file.data, pcf->file.data, pcf->file.len) != 0)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "the push zone's file cannot change from \"%V\" to "
                      "\"%V\" by a reload: change it back, or stop and "
                      "start nginx", &zone->file, &pcf->file);
        return NGX_ERROR;
    }

    if (zone->head->npages != pcf->size / NGX_PUSH_PAGE_SIZE) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "the push zone's size cannot change from %uL to %uz "
                      "bytes by a reload: change it back, or stop and start "
                      "nginx", zone->head->data, pcf->size);
        return NGX_ERROR;
    }

    if (ngx_push_zone_mailbox != pcf->mailbox) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"mailbox\" cannot change from %uz to %ui by a reload: "
                      "change it back, or stop and start nginx",
                      ngx_push_zone_mailbox, pcf->mailbox);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_zone_map(ngx_cycle_t *cycle, ngx_push_conf_t *pcf,
    ngx_push_zone_t *zone, ngx_push_zone_head_t *want)
{
    zone->size = want->size;

    if (pcf->file.len) {
        return ngx_push_zone_map_file(cycle, pcf, zone, want);
    }

    zone->base = mmap(NULL, zone->size, PROT_READ|PROT_WRITE,
                      MAP_ANON|MAP_SHARED, -1, 0);

    if (zone->base == MAP_FAILED) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "mmap of %uz bytes for the push zone failed: give it "
                      "less by \"zone\"", zone->size);
        return NGX_ERROR;
    }

    return ngx_push_zone_layout(cycle, zone, want);
}


/*
 * Who gets the file's lock for itself is alone with it: the processes that
 * used it are gone, whatever they left is put right.  Otherwise another nginx
 * serves from it, the one we are to take over from (binary upgrade).
 */

static ngx_int_t
ngx_push_zone_map_file(ngx_cycle_t *cycle, ngx_push_conf_t *pcf,
    ngx_push_zone_t *zone, ngx_push_zone_head_t *want)
{
    int                    rc;
    ngx_fd_t               fd;
    ngx_uint_t             alone;
    struct stat            st;
    struct statfs          fs;
    ngx_push_zone_head_t  *head;

    fd = open((char *) pcf->file.data, O_RDWR|O_CREAT|O_CLOEXEC, 0600);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "cannot open the push zone's file \"%V\"", &pcf->file);
        return NGX_ERROR;
    }

    alone = (flock(fd, LOCK_EX|LOCK_NB) == 0);

    if ((!alone && flock(fd, LOCK_SH) == -1) || fstat(fd, &st) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "cannot lock the push zone's file \"%V\"", &pcf->file);
        goto failed;
    }

    if (st.st_size != 0 && (uint64_t) st.st_size != want->size) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "the push zone's file \"%V\" was made with another size "
                      "(%O bytes, now %uL): restore \"zone\" and \"mailbox\", "
                      "or remove the file and lose what is in it",
                      &pcf->file, st.st_size, want->size);
        goto failed;
    }

    /* all of it now: a full file system must not become a SIGBUS later */

    rc = posix_fallocate(fd, 0, want->size);

    if (rc != 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, rc,
                      "no room for the push zone's file \"%V\" of %uL bytes",
                      &pcf->file, want->size);
        goto failed;
    }

    if (fstatfs(fd, &fs) == 0
        && (uint32_t) fs.f_type != NGX_PUSH_TMPFS_MAGIC
        && (uint32_t) fs.f_type != NGX_PUSH_RAMFS_MAGIC
        && (uint32_t) fs.f_type != NGX_PUSH_HUGETLB_MAGIC)
    {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "the push zone's file \"%V\" is not on tmpfs: writing "
                      "it back to the disk will stall workers, put it under "
                      "/run or /dev/shm", &pcf->file);
    }

    zone->base = mmap(NULL, zone->size, PROT_READ|PROT_WRITE, MAP_SHARED,
                      fd, 0);

    if (zone->base == MAP_FAILED) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "mmap of the push zone's file \"%V\" failed",
                      &pcf->file);
        goto failed;
    }

    zone->fd = fd;
    zone->file = pcf->file;
    zone->file.data = (u_char *) strdup((char *) pcf->file.data);

    head = (ngx_push_zone_head_t *) zone->base;

    if (st.st_size == 0 || (alone && head->magic == 0)
        || (alone && head->magic == NGX_PUSH_ZONE_MAGIC && !head->clean))
    {
        if (ngx_push_zone_layout(cycle, zone, want) != NGX_OK) {
            goto unmap;
        }

    } else {
        if (ngx_push_zone_fits(cycle, pcf, head, want) != NGX_OK) {
            goto unmap;
        }

        ngx_push_zone_parts(zone);

        if (alone && ngx_push_zone_revive(cycle, zone) != NGX_OK) {
            goto unmap;
        }
    }

    if (alone) {
        (void) flock(fd, LOCK_SH);
    }

    return NGX_OK;

unmap:

    munmap(zone->base, zone->size);
    ngx_push_zone = NULL;

failed:

    close(fd);

    return NGX_ERROR;
}


static ngx_int_t
ngx_push_zone_fits(ngx_cycle_t *cycle, ngx_push_conf_t *pcf,
    ngx_push_zone_head_t *head, ngx_push_zone_head_t *want)
{
    if (head->magic != want->magic) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"%V\" is not a push zone: name another file, or "
                      "remove it", &pcf->file);
        return NGX_ERROR;
    }

    if (head->layout != want->layout
        || ngx_memcmp(&head->head_size, &want->head_size,
                      offsetof(ngx_push_zone_head_t, clean)
                      - offsetof(ngx_push_zone_head_t, head_size))
           != 0)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "the push zone in \"%V\" was made by another version "
                      "(layout %uD, this one's is %uD) or with another "
                      "\"mailbox\": start the old version, or remove the "
                      "file and lose what is in it",
                      &pcf->file, head->layout, want->layout);
        return NGX_ERROR;
    }

    if (!head->clean) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "the push zone in \"%V\" is being made by another "
                      "process: try again", &pcf->file);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_push_zone_parts(ngx_push_zone_t *zone)
{
    zone->head = (ngx_push_zone_head_t *) zone->base;
    zone->shards = (ngx_push_shard_t *) (zone->base + zone->head->shards_at);
    zone->pages = (ngx_push_page_t *) (zone->base + zone->head->pages_at);
    zone->data = zone->base + zone->head->data_at;

    ngx_push_zone = zone;
    ngx_push_zone_mailbox = zone->head->mailbox;
}


static ngx_int_t
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

    ngx_push_zone_clock(head);
    ngx_push_zone_parts(zone);

    tables = (2 * (size_t) head->buckets + NGX_PUSH_WHEEL)
             * sizeof(ngx_push_ref_t);

    for (i = 0; i < head->nusers + head->nchannels; i++) {
        sh = &zone->shards[i];
        at = head->tables_at + i * tables;

        sh->index = i;
        sh->mask = head->buckets - 1;
        sh->sessions = at;
        sh->logs = at + head->buckets * sizeof(ngx_push_ref_t);
        sh->wheel = at + 2 * head->buckets * sizeof(ngx_push_ref_t);
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

static ngx_int_t
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


ngx_int_t
ngx_push_zone_product(ngx_push_zone_t *zone, ngx_str_t *name)
{
    ngx_int_t                i, unused;
    ngx_push_zone_product_t *p;

    if (pthread_mutex_lock(&zone->head->workers_mutex) == EOWNERDEAD) {
        (void) pthread_mutex_consistent(&zone->head->workers_mutex);
    }

    unused = NGX_ERROR;

    for (i = 0; i < NGX_PUSH_PRODUCTS; i++) {
        p = &zone->head->products[i];

        if (p->name[0] == '\0') {
            if (unused == NGX_ERROR) {
                unused = i;
            }

            continue;
        }

        if (ngx_strlen(p->name) == name->len
            && ngx_memcmp(p->name, name->data, name->len) == 0)
        {
            goto done;
        }
    }

    i = unused;

    if (i != NGX_ERROR) {

        /* the first byte last: until then the entry is unused */

        p = &zone->head->products[i];
        ngx_memcpy(p->name + 1, name->data + 1, name->len - 1);
        p->name[name->len] = '\0';
        ngx_memory_barrier();
        p->name[0] = name->data[0];
    }

done:

    (void) pthread_mutex_unlock(&zone->head->workers_mutex);

    return i;
}


static void
ngx_push_zone_report(ngx_cycle_t *cycle, ngx_push_conf_t *pcf)
{
    size_t                 idle;
    ngx_push_zone_head_t  *head;

    head = ngx_push_zone->head;

    idle = head->records[NGX_PUSH_SESSION] + 2 * head->records[NGX_PUSH_SUB];

    ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                  "push zone of %uLM (%uLM mapped) holds up to %uL devices "
                  "bound to one product, or %uL messages of up to %d bytes, "
                  "of each three quarters at most",
                  head->data >> 20, head->size >> 20, head->data / idle,
                  head->data / head->records[NGX_PUSH_MESSAGE],
                  NGX_PUSH_MSG_INLINE);
    (void) pcf;
}


/* SipHash-1-3 (Aumasson, Bernstein): names come from strangers */

#define ngx_push_rotl(x, b)  (((x) << (b)) | ((x) >> (64 - (b))))

#define ngx_push_sipround(v)                                                  \
    do {                                                                      \
        v[0] += v[1]; v[1] = ngx_push_rotl(v[1], 13); v[1] ^= v[0];           \
        v[0] = ngx_push_rotl(v[0], 32);                                       \
        v[2] += v[3]; v[3] = ngx_push_rotl(v[3], 16); v[3] ^= v[2];           \
        v[0] += v[3]; v[3] = ngx_push_rotl(v[3], 21); v[3] ^= v[0];           \
        v[2] += v[1]; v[1] = ngx_push_rotl(v[1], 17); v[1] ^= v[2];           \
        v[2] = ngx_push_rotl(v[2], 32);                                       \
    } while (0)


uint64_t
ngx_push_hash(uint64_t seed, const u_char *p, size_t len)
{
    size_t    n;
    uint64_t  k0, k1, m, v[4];

    k0 = ngx_push_zone->head->hash_key[0] ^ seed;
    k1 = ngx_push_zone->head->hash_key[1];

    v[0] = k0 ^ 0x736f6d6570736575ULL;
    v[1] = k1 ^ 0x646f72616e646f6dULL;
    v[2] = k0 ^ 0x6c7967656e657261ULL;
    v[3] = k1 ^ 0x7465646279746573ULL;

    for (n = len; n >= 8; n -= 8, p += 8) {
        ngx_memcpy(&m, p, 8);
        v[3] ^= m;
        ngx_push_sipround(v);
        v[0] ^= m;
    }

    m = (uint64_t) len << 56;

    while (n--) {
        m |= (uint64_t) p[n] << (8 * n);
    }

    v[3] ^= m;
    ngx_push_sipround(v);
    v[0] ^= m;

    v[2] ^= 0xff;
    ngx_push_sipround(v);
    ngx_push_sipround(v);
    ngx_push_sipround(v);

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
