
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_zone_layout.h"
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
static void ngx_push_zone_advise(ngx_push_zone_t *zone);
static ngx_int_t ngx_push_zone_map_file(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf, ngx_push_zone_t *zone, ngx_push_zone_head_t *want);
static ngx_int_t ngx_push_zone_open_file(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf, ngx_push_zone_t *zone, ngx_push_zone_head_t *want,
    off_t *size, ngx_uint_t *alone);
static void ngx_push_zone_warn_disk(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf, ngx_fd_t fd);
static ngx_int_t ngx_push_zone_fits(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf, ngx_push_zone_head_t *head,
    ngx_push_zone_head_t *want);
static void ngx_push_zone_report(ngx_cycle_t *cycle, ngx_push_conf_t *pcf);


ngx_push_zone_t         *ngx_push_zone;

static ngx_push_zone_t   ngx_push_zone_self;


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

    tables = (3 * n + NGX_PUSH_WHEEL) * sizeof(ngx_push_ref_t);

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

    if (zone->head->mailbox != pcf->mailbox) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"mailbox\" cannot change from %uD to %ui by a reload: "
                      "change it back, or stop and start nginx",
                      zone->head->mailbox, pcf->mailbox);
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

    ngx_push_zone_advise(zone);

    return ngx_push_zone_layout(cycle, zone, want);
}


/*
 * A delivery touches records all over the zone; in large pages the look-ups
 * of their addresses cost less: about 1 microsecond of a unicast to one of
 * 10,000 devices on a virtual machine.  The kernel's default is not to give
 * shared memory any, whatever is asked for here.
 */

static void
ngx_push_zone_advise(ngx_push_zone_t *zone)
{
#ifdef MADV_HUGEPAGE
    (void) madvise(zone->base, zone->size, MADV_HUGEPAGE);
#endif
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
    off_t                  size;
    ngx_int_t              rc;
    ngx_uint_t             alone;
    ngx_push_zone_head_t  *head;

    if (ngx_push_zone_open_file(cycle, pcf, zone, want, &size, &alone)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    zone->base = mmap(NULL, zone->size, PROT_READ|PROT_WRITE, MAP_SHARED,
                      zone->fd, 0);

    if (zone->base == MAP_FAILED) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "mmap of the push zone's file \"%V\" failed",
                      &pcf->file);
        close(zone->fd);
        return NGX_ERROR;
    }

    ngx_push_zone_advise(zone);

    zone->file = pcf->file;
    zone->file.data = (u_char *) strdup((char *) pcf->file.data);

    head = (ngx_push_zone_head_t *) zone->base;

    if (size == 0 || (alone && head->magic == 0)
        || (alone && head->magic == NGX_PUSH_ZONE_MAGIC && !head->clean))
    {
        rc = ngx_push_zone_layout(cycle, zone, want);

    } else {
        rc = ngx_push_zone_fits(cycle, pcf, head, want);

        if (rc == NGX_OK) {
            ngx_push_zone_parts(zone);
            rc = alone ? ngx_push_zone_revive(cycle, zone) : NGX_OK;
        }
    }

    if (rc != NGX_OK) {
        munmap(zone->base, zone->size);
        close(zone->fd);
        ngx_push_zone = NULL;
        return NGX_ERROR;
    }

    if (alone) {
        (void) flock(zone->fd, LOCK_SH);
    }

    return NGX_OK;
}


/* Opens, locks and fills the file; "size" is what it had before. */

static ngx_int_t
ngx_push_zone_open_file(ngx_cycle_t *cycle, ngx_push_conf_t *pcf,
    ngx_push_zone_t *zone, ngx_push_zone_head_t *want, off_t *size,
    ngx_uint_t *alone)
{
    int          rc;
    ngx_fd_t     fd;
    struct stat  st;

    fd = open((char *) pcf->file.data, O_RDWR|O_CREAT|O_CLOEXEC, 0600);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "cannot open the push zone's file \"%V\"", &pcf->file);
        return NGX_ERROR;
    }

    *alone = (flock(fd, LOCK_EX|LOCK_NB) == 0);

    if ((!*alone && flock(fd, LOCK_SH) == -1) || fstat(fd, &st) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "cannot lock the push zone's file \"%V\"", &pcf->file);
        goto failed;
    }

    *size = st.st_size;

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

        if (st.st_size == 0) {
            (void) ftruncate(fd, 0);
        }

        goto failed;
    }

    ngx_push_zone_warn_disk(cycle, pcf, fd);

    zone->fd = fd;

    return NGX_OK;

failed:

    close(fd);

    return NGX_ERROR;
}


static void
ngx_push_zone_warn_disk(ngx_cycle_t *cycle, ngx_push_conf_t *pcf, ngx_fd_t fd)
{
    struct statfs  fs;

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
