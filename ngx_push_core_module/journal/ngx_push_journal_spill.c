
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Segments: what MySQL did not take, in files of one folder.  A name is
 * WHEN-NODE-PID-SERIAL.spill, WHEN in milliseconds and padded, so that the
 * order of names is that of time.  A segment is a head and records with
 * checksums.  Who writes or reads one holds its flock: a segment without one
 * is complete, or its writer is dead, and anybody with a connection may read
 * it, write its rows to MySQL and remove it.  Dying on the way there leaves it
 * to be read again from the start.  One that cannot be read to its end is
 * renamed to NAME.spill.broken and left to the operator.
 *
 * All of it is done by the journal's thread.
 */


#include "ngx_push_journal_writer.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>


#define NGX_PUSH_JOURNAL_MAGIC      "NPJS0001"
#define NGX_PUSH_JOURNAL_HEAD       8
#define NGX_PUSH_JOURNAL_SUFFIX     ".spill"
#define NGX_PUSH_JOURNAL_BROKEN     ".broken"
#define NGX_PUSH_JOURNAL_SYNC       1000


static ngx_int_t ngx_push_journal_spill_new(ngx_push_journal_spill_t *s);
static ngx_int_t ngx_push_journal_spill_put(int fd, off_t at,
    const void *data, size_t size);
static void ngx_push_journal_spill_fault(ngx_push_journal_spill_t *s,
    const char *what, const char *name);
static ngx_int_t ngx_push_journal_spill_take(ngx_push_journal_spill_t *s);
static ngx_int_t ngx_push_journal_spill_lock(ngx_push_journal_spill_t *s,
    const char *path);
static void ngx_push_journal_spill_aside(ngx_push_journal_spill_t *s,
    const char *why);
static void ngx_push_journal_spill_leave(ngx_push_journal_spill_t *s);
static ngx_uint_t ngx_push_journal_spill_is(const char *name);


ngx_int_t
ngx_push_journal_spill_init(ngx_push_journal_spill_t *s,
    ngx_push_journal_writer_t *w)
{
    memset(s, 0, sizeof(ngx_push_journal_spill_t));

    s->writer = w;
    s->fd = -1;
    s->in = -1;

    /* the largest record and the rest of another may be in it */

    s->buffer = malloc(NGX_PUSH_JOURNAL_CHUNK);

    return s->buffer ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_push_journal_spill_write(ngx_push_journal_spill_t *s, u_char *data,
    size_t size)
{
    ngx_push_journal_writer_t  *w;

    w = s->writer;

    ngx_push_journal_spill_look(s);

    if ((off_t) (w->now.spilled + size + NGX_PUSH_JOURNAL_HEAD)
        > w->set.spill_size)
    {
        return NGX_DECLINED;
    }

    if (s->fd == -1 && ngx_push_journal_spill_new(s) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_push_journal_seal(data, size);

    if (ngx_push_journal_spill_put(s->fd, s->size, data, size) != NGX_OK) {
        ngx_push_journal_spill_fault(s, "written", NULL);

        /* what is whole in it stays */

        if (ftruncate(s->fd, s->size) == -1) {
            ngx_push_journal_spill_finish(s);
        }

        return NGX_ERROR;
    }

    s->size += size;
    w->now.spilled += size;

    if (w->now.oldest == 0) {
        w->now.oldest = ngx_push_journal_wall();
    }

    s->dirty = 1;

    if (ngx_push_journal_clock() - s->synced >= NGX_PUSH_JOURNAL_SYNC) {
        ngx_push_journal_spill_sync(s);
    }

    if (s->size >= NGX_PUSH_JOURNAL_SEGMENT) {
        ngx_push_journal_spill_finish(s);
    }

    return NGX_OK;
}


void
ngx_push_journal_spill_sync(ngx_push_journal_spill_t *s)
{
    if (s->fd == -1 || !s->dirty) {
        return;
    }

    s->synced = ngx_push_journal_clock();
    s->dirty = 0;

    (void) fdatasync(s->fd);
}


static ngx_int_t
ngx_push_journal_spill_new(ngx_push_journal_spill_t *s)
{
    int                         fd, dir;
    char                        path[PATH_MAX];
    ngx_push_journal_writer_t  *w;

    w = s->writer;

    (void) snprintf(path, sizeof(path), "%s/%015lld-%s-%d-%llu"
                    NGX_PUSH_JOURNAL_SUFFIX, w->set.spill,
                    (long long) ngx_push_journal_wall(), w->set.node,
                    (int) getpid(), (unsigned long long) ++s->serial);

    fd = open(path, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600);

    if (fd == -1) {
        ngx_push_journal_spill_fault(s, "made", path);
        return NGX_ERROR;
    }

    /*
     * Somebody may look at it before it is locked and take it for one of a
     * dead worker: the removal of a file this new and empty is left out.
     */

    if (flock(fd, LOCK_EX|LOCK_NB) == -1
        || ngx_push_journal_spill_put(fd, 0, NGX_PUSH_JOURNAL_MAGIC,
                                      NGX_PUSH_JOURNAL_HEAD)
           != NGX_OK)
    {
        ngx_push_journal_spill_fault(s, "begun", path);
        (void) unlink(path);
        (void) close(fd);
        return NGX_ERROR;
    }

    /* its name has to survive as well */

    dir = open(w->set.spill, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (dir != -1) {
        (void) fsync(dir);
        (void) close(dir);
    }

    s->fd = fd;
    s->size = NGX_PUSH_JOURNAL_HEAD;
    s->synced = ngx_push_journal_clock();

    return NGX_OK;
}


static ngx_int_t
ngx_push_journal_spill_put(int fd, off_t at, const void *data, size_t size)
{
    ssize_t        n;
    const u_char  *p;

    for (p = data; size; p += n, at += n, size -= n) {

        n = pwrite(fd, p, size, at);

        if (n == -1 && errno == EINTR) {
            n = 0;
            continue;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_push_journal_spill_fault(ngx_push_journal_spill_t *s, const char *what,
    const char *name)
{
    int  err;

    err = errno;
    s->writer->now.errors++;

    ngx_push_journal_note(s->writer, "a segment cannot be %s: %s (%d: %s)",
                          what, name ? name : s->writer->set.spill, err,
                          strerror(err));
}


void
ngx_push_journal_spill_finish(ngx_push_journal_spill_t *s)
{
    if (s->fd == -1) {
        return;
    }

    ngx_push_journal_spill_sync(s);
    (void) close(s->fd);

    s->fd = -1;
}


ngx_int_t
ngx_push_journal_spill_read(ngx_push_journal_spill_t *s)
{
    size_t   whole;
    ssize_t  n;

    if (s->done < s->used) {
        return NGX_OK;
    }

    for ( ;; ) {

        if (s->in == -1 && ngx_push_journal_spill_take(s) != NGX_OK) {
            return NGX_DONE;
        }

        do {
            n = pread(s->in, s->buffer, NGX_PUSH_JOURNAL_CHUNK, s->at);
        } while (n == -1 && errno == EINTR);

        if (n == -1) {
            ngx_push_journal_spill_aside(s, strerror(errno));
            continue;
        }

        whole = ngx_push_journal_whole(s->buffer, n);

        s->at += whole;
        s->done = 0;
        s->used = whole;

        if (whole) {
            return NGX_OK;
        }

        if (n) {
            ngx_push_journal_spill_aside(s, "it is not a segment");
            continue;
        }

        (void) unlink(s->name);
        ngx_push_journal_spill_leave(s);
    }
}


static void
ngx_push_journal_spill_aside(ngx_push_journal_spill_t *s, const char *why)
{
    char  path[PATH_MAX];

    (void) snprintf(path, sizeof(path), "%s" NGX_PUSH_JOURNAL_BROKEN, s->name);

    s->writer->now.corrupt++;
    ngx_push_journal_note(s->writer, "%s from byte %lld on: %s; it is put "
                          "aside as %s", s->name, (long long) s->at, why,
                          path);

    /* it must not come again */

    if (rename(s->name, path) == -1) {
        (void) unlink(s->name);
    }

    ngx_push_journal_spill_leave(s);
}


/* The first segment by name that can be locked. */

static ngx_int_t
ngx_push_journal_spill_take(ngx_push_journal_spill_t *s)
{
    int              i, n;
    char             path[PATH_MAX];
    ngx_int_t        rc;
    struct dirent  **list;

    n = scandir(s->writer->set.spill, &list, NULL, alphasort);

    if (n == -1) {
        return NGX_DONE;
    }

    rc = NGX_DONE;

    for (i = 0; i < n; i++) {

        if (rc != NGX_OK && ngx_push_journal_spill_is(list[i]->d_name)) {

            (void) snprintf(path, sizeof(path), "%s/%s",
                            s->writer->set.spill, list[i]->d_name);

            rc = ngx_push_journal_spill_lock(s, path);
        }

        free(list[i]);
    }

    free(list);

    return rc;
}


static ngx_int_t
ngx_push_journal_spill_lock(ngx_push_journal_spill_t *s, const char *path)
{
    int          fd;
    char         head[NGX_PUSH_JOURNAL_HEAD];
    struct stat  st, now;

    fd = open(path, O_RDONLY|O_CLOEXEC|O_NOFOLLOW|O_NONBLOCK);

    if (fd == -1) {
        return NGX_DONE;
    }

    /* whoever had the lock before may have removed it */

    if (flock(fd, LOCK_EX|LOCK_NB) == -1
        || fstat(fd, &st) == -1
        || !S_ISREG(st.st_mode)
        || stat(path, &now) == -1
        || now.st_ino != st.st_ino
        || now.st_dev != st.st_dev)
    {
        (void) close(fd);
        return NGX_DONE;
    }

    if (st.st_size < NGX_PUSH_JOURNAL_HEAD
        && ngx_push_journal_wall() / 1000 - st.st_mtime < 60)
    {
        (void) close(fd);              /* its writer is about to lock it */
        return NGX_DONE;
    }

    s->name = strdup(path);

    if (s->name == NULL) {
        (void) close(fd);
        return NGX_DONE;
    }

    s->in = fd;
    s->at = 0;

    if (st.st_size == 0) {
        return NGX_OK;
    }

    if (pread(fd, head, NGX_PUSH_JOURNAL_HEAD, 0) != NGX_PUSH_JOURNAL_HEAD
        || memcmp(head, NGX_PUSH_JOURNAL_MAGIC, NGX_PUSH_JOURNAL_HEAD) != 0)
    {
        ngx_push_journal_spill_aside(s, "it is not a segment of this version");
        return NGX_DONE;
    }

    s->at = NGX_PUSH_JOURNAL_HEAD;

    return NGX_OK;
}


static void
ngx_push_journal_spill_leave(ngx_push_journal_spill_t *s)
{
    if (s->in == -1) {
        return;
    }

    (void) close(s->in);
    free(s->name);

    s->in = -1;
    s->name = NULL;
    s->used = 0;
    s->done = 0;
}


void
ngx_push_journal_spill_look(ngx_push_journal_spill_t *s)
{
    DIR                         *dir;
    char                         path[PATH_MAX];
    int64_t                      when, oldest;
    uint64_t                     size;
    struct stat                  st;
    struct dirent               *de;

    dir = opendir(s->writer->set.spill);

    if (dir == NULL) {
        ngx_push_journal_spill_fault(s, "looked for", s->writer->set.spill);
        return;
    }

    size = 0;
    oldest = 0;

    while ((de = readdir(dir)) != NULL) {

        if (!ngx_push_journal_spill_is(de->d_name)) {
            continue;
        }

        (void) snprintf(path, sizeof(path), "%s/%s", s->writer->set.spill,
                        de->d_name);

        if (stat(path, &st) == -1 || st.st_size == 0) {
            continue;
        }

        size += st.st_size;
        when = strtoll(de->d_name, NULL, 10);

        if (oldest == 0 || when < oldest) {
            oldest = when;
        }
    }

    (void) closedir(dir);

    s->writer->now.spilled = size;
    s->writer->now.oldest = oldest;
}


void
ngx_push_journal_spill_close(ngx_push_journal_spill_t *s)
{
    ngx_push_journal_spill_finish(s);
    ngx_push_journal_spill_leave(s);

    free(s->buffer);
    s->buffer = NULL;
}


static ngx_uint_t
ngx_push_journal_spill_is(const char *name)
{
    size_t  len, suffix;

    len = strlen(name);
    suffix = sizeof(NGX_PUSH_JOURNAL_SUFFIX) - 1;

    return name[0] >= '0' && name[0] <= '9' && len > suffix
           && strcmp(name + len - suffix, NGX_PUSH_JOURNAL_SUFFIX) == 0;
}


size_t
ngx_push_journal_whole(u_char *data, size_t size)
{
    size_t                      at;
    ngx_push_journal_record_t  *r;

    for (at = 0; size - at >= sizeof(ngx_push_journal_record_t);
         at += r->size)
    {
        r = (ngx_push_journal_record_t *) (data + at);

        if (r->size < sizeof(ngx_push_journal_record_t)
            || r->size > NGX_PUSH_JOURNAL_CHUNK
            || r->size > size - at
            || r->size % 8
            || (r->type != NGX_PUSH_JOURNAL_MESSAGE
                && r->type != NGX_PUSH_JOURNAL_ACK)
            || r->product_len > NGX_PUSH_PRODUCT_MAX
            || r->device_len > NGX_PUSH_JOURNAL_DEVICE
            || (uint64_t) r->blob_len + r->product_len + r->name_len
               + r->device_len
               > r->size - sizeof(ngx_push_journal_record_t)
            || r->crc != ngx_crc32_long((u_char *) r + 8, r->size - 8))
        {
            break;
        }
    }

    return at;
}


void
ngx_push_journal_seal(u_char *data, size_t size)
{
    size_t                      at;
    ngx_push_journal_record_t  *r;

    for (at = 0; at < size; at += r->size) {
        r = (ngx_push_journal_record_t *) (data + at);
        r->crc = ngx_crc32_long((u_char *) r + 8, r->size - 8);
    }
}
