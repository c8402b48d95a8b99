
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The journal's thread: takes chunks in their order and gives them to MySQL,
 * or, when that does not take them, to a segment.  Between chunks, and then
 * only, it reads segments back and purges, a bounded step at a time.
 */


#include "ngx_push_journal_writer.h"
#include <errno.h>
#include <mysql/mysql.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>


#define NGX_PUSH_JOURNAL_TICK       1000   /* ms between two looks around */
#define NGX_PUSH_JOURNAL_PATIENCE   1000   /* ms of failing before a file */
#define NGX_PUSH_JOURNAL_RETRY      100    /* ms, doubled each time */
#define NGX_PUSH_JOURNAL_RETRY_MAX  5000
#define NGX_PUSH_JOURNAL_PING       10000
#define NGX_PUSH_JOURNAL_PAUSE      100


typedef struct {
    ngx_push_journal_writer_t  *w;
    ngx_push_journal_db_t      *db;        /* NULL: not connected */
    ngx_push_journal_spill_t    spill;
    int64_t                     failing;   /* since; 0: it works */
    int64_t                     retry_at;
    int64_t                     retry;
    int64_t                     tick_at;
    int64_t                     ping_at;
    int64_t                     pause;     /* nobody takes the first chunk:
                                              until then */
    ngx_uint_t                  segments;  /* there may be some to read */
    ngx_uint_t                  purge;     /* there is more to purge */
    size_t                      queued;    /* when last looked */
    int64_t                     stop;
} ngx_push_journal_turn_t;


static ngx_push_journal_chunk_t *ngx_push_journal_wait(
    ngx_push_journal_turn_t *t);
static void ngx_push_journal_take(ngx_push_journal_turn_t *t,
    ngx_push_journal_chunk_t *c);
static ngx_int_t ngx_push_journal_to_file(ngx_push_journal_turn_t *t,
    ngx_push_journal_chunk_t *c);
static ngx_int_t ngx_push_journal_to_db(ngx_push_journal_turn_t *t,
    u_char *data, size_t *done, size_t used);
static ngx_int_t ngx_push_journal_connect(ngx_push_journal_turn_t *t);
static void ngx_push_journal_failed(ngx_push_journal_turn_t *t);
static ngx_uint_t ngx_push_journal_impatient(ngx_push_journal_turn_t *t);
static void ngx_push_journal_pop(ngx_push_journal_turn_t *t);
static void ngx_push_journal_tick(ngx_push_journal_turn_t *t);
static void ngx_push_journal_replay(ngx_push_journal_turn_t *t);


void *
ngx_push_journal_thread(void *data)
{
    ngx_push_journal_turn_t    t;
    ngx_push_journal_chunk_t  *c;

    memset(&t, 0, sizeof(t));

    t.w = data;
    t.segments = 1;
    t.retry = NGX_PUSH_JOURNAL_RETRY;

    (void) mysql_thread_init();

    if (ngx_push_journal_spill_init(&t.spill, t.w) != NGX_OK) {
        ngx_push_journal_note(t.w, "no memory for its thread");
        mysql_thread_end();
        return NULL;
    }

    for ( ;; ) {

        c = ngx_push_journal_wait(&t);

        if (c) {
            ngx_push_journal_take(&t, c);

        } else if (t.stop) {
            break;
        }

        ngx_push_journal_tick(&t);

        if (t.db && t.queued == 0 && !t.stop) {
            ngx_push_journal_replay(&t);
        }
    }

    if (t.db) {
        ngx_push_journal_db_close(t.db);
    }

    ngx_push_journal_spill_close(&t.spill);
    mysql_thread_end();

    (void) pthread_mutex_lock(&t.w->mutex);
    t.w->seen = t.w->now;
    (void) pthread_mutex_unlock(&t.w->mutex);

    return NULL;
}


/*
 * The first chunk of the queue, in which it stays; NULL when there is none and
 * the time for something else has come.
 */

static ngx_push_journal_chunk_t *
ngx_push_journal_wait(ngx_push_journal_turn_t *t)
{
    int64_t                     until, now;
    struct timespec             ts;
    ngx_push_journal_chunk_t   *c;
    ngx_push_journal_writer_t  *w;

    w = t->w;
    now = ngx_push_journal_clock();
    until = t->tick_at;

    if (t->db && (t->segments || t->purge)) {
        until = now;

    } else if (t->pause > now && t->pause < until) {
        until = t->pause;
    }

    ts.tv_sec = until / 1000;
    ts.tv_nsec = until % 1000 * 1000000;

    (void) pthread_mutex_lock(&w->mutex);

    w->seen = w->now;

    while (until > now && !w->stop && (w->head == NULL || t->pause > now)) {
        w->idle = (w->head == NULL);

        if (pthread_cond_timedwait(&w->cond, &w->mutex, &ts) == ETIMEDOUT) {
            break;
        }

        now = ngx_push_journal_clock();
    }

    w->idle = 0;
    c = (t->pause > now && !w->stop) ? NULL : w->head;
    t->queued = w->queued;
    t->stop = w->stop;

    (void) pthread_mutex_unlock(&w->mutex);

    return c;
}


static void
ngx_push_journal_take(ngx_push_journal_turn_t *t, ngx_push_journal_chunk_t *c)
{
    ngx_int_t   rc;
    ngx_uint_t  slow;

    /* MySQL works, but more than half of the memory is taken: a file helps */

    slow = !t->stop && !t->failing && t->queued > t->w->set.backlog / 2;

    rc = slow ? ngx_push_journal_to_file(t, c) : NGX_ERROR;

    if (rc != NGX_OK
        && (t->stop == 0 || ngx_push_journal_clock() < t->stop))
    {
        rc = ngx_push_journal_to_db(t, c->data, &c->done, c->used);
    }

    if (rc != NGX_OK && !slow && ngx_push_journal_impatient(t)) {
        rc = ngx_push_journal_to_file(t, c);
    }

    if (rc != NGX_OK) {

        if (!t->stop) {

            /* there may be room later */

            t->pause = ngx_push_journal_clock() + NGX_PUSH_JOURNAL_PAUSE;
            return;
        }

        t->w->now.full += c->rows;
    }

    t->pause = 0;
    ngx_push_journal_pop(t);
}


static ngx_int_t
ngx_push_journal_to_file(ngx_push_journal_turn_t *t,
    ngx_push_journal_chunk_t *c)
{
    ngx_int_t  rc;

    rc = ngx_push_journal_spill_write(&t->spill, c->data + c->done,
                                      c->used - c->done);

    if (rc == NGX_OK) {
        t->segments = 1;
    }

    return rc;
}


/* Is it time to write a chunk to a file? */

static ngx_uint_t
ngx_push_journal_impatient(ngx_push_journal_turn_t *t)
{
    return t->stop
           || t->queued > t->w->set.backlog / 2
           || (t->failing && ngx_push_journal_clock() - t->failing
                             >= NGX_PUSH_JOURNAL_PATIENCE);
}


static ngx_int_t
ngx_push_journal_to_db(ngx_push_journal_turn_t *t, u_char *data, size_t *done,
    size_t used)
{
    if (ngx_push_journal_connect(t) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_push_journal_db_write(t->db, data, done, used) == NGX_OK) {
        t->failing = 0;
        t->retry = NGX_PUSH_JOURNAL_RETRY;
        t->ping_at = ngx_push_journal_clock() + NGX_PUSH_JOURNAL_PING;
        return NGX_OK;
    }

    ngx_push_journal_failed(t);

    return NGX_ERROR;
}


static ngx_int_t
ngx_push_journal_connect(ngx_push_journal_turn_t *t)
{
    int64_t  now;

    now = ngx_push_journal_clock();

    if (t->db) {
        return NGX_OK;
    }

    /* at the end there is no time for it: a look-up of a name may take long */

    if (now < t->retry_at || t->stop) {
        return NGX_ERROR;
    }

    t->db = ngx_push_journal_db_open(t->w);

    if (t->db == NULL) {
        ngx_push_journal_failed(t);
        return NGX_ERROR;
    }

    t->w->now.connected = 1;
    t->segments = 1;
    t->ping_at = ngx_push_journal_clock() + NGX_PUSH_JOURNAL_PING;

    /* its own segment is over, and may be read as well */

    ngx_push_journal_spill_finish(&t->spill);

    return NGX_OK;
}


/* Begins with a new connection after a while: the old one may be half dead. */

static void
ngx_push_journal_failed(ngx_push_journal_turn_t *t)
{
    int64_t  now;

    now = ngx_push_journal_clock();

    if (t->failing == 0) {
        t->failing = now;
    }

    if (t->db) {
        ngx_push_journal_db_close(t->db);
        t->db = NULL;
        t->w->now.connected = 0;
    }

    /* what was read of a segment goes on being there: "done" tells */

    t->retry_at = now + t->retry;
    t->retry = ngx_min(t->retry * 2, NGX_PUSH_JOURNAL_RETRY_MAX);
}


static void
ngx_push_journal_pop(ngx_push_journal_turn_t *t)
{
    ngx_push_journal_chunk_t   *c;
    ngx_push_journal_writer_t  *w;

    w = t->w;

    (void) pthread_mutex_lock(&w->mutex);

    c = w->head;

    if (c) {
        w->head = c->next;
        w->queued -= c->used;

        c->next = w->free;
        w->free = c;
    }

    t->queued = w->queued;
    w->seen = w->now;

    (void) pthread_mutex_unlock(&w->mutex);
}


static void
ngx_push_journal_tick(ngx_push_journal_turn_t *t)
{
    int64_t    now;
    ngx_int_t  rc;

    now = ngx_push_journal_clock();

    if (t->stop || (now < t->tick_at && !t->purge)) {
        return;
    }

    if (now >= t->tick_at) {
        t->tick_at = now + NGX_PUSH_JOURNAL_TICK;

        ngx_push_journal_spill_sync(&t->spill);
        ngx_push_journal_spill_look(&t->spill);

        if (t->w->now.spilled) {
            t->segments = 1;
        }
    }

    if (t->queued || ngx_push_journal_connect(t) != NGX_OK) {
        return;
    }

    if (now >= t->ping_at) {
        t->ping_at = now + NGX_PUSH_JOURNAL_PING;

        if (ngx_push_journal_db_ping(t->db) != NGX_OK) {
            ngx_push_journal_failed(t);
            return;
        }
    }

    /* what is yet to be written goes first */

    if (t->w->now.spilled) {
        return;
    }

    rc = ngx_push_journal_db_purge(t->db);
    t->purge = (rc == NGX_AGAIN);

    if (rc == NGX_ERROR) {
        ngx_push_journal_failed(t);
    }
}


static void
ngx_push_journal_replay(ngx_push_journal_turn_t *t)
{
    if (!t->segments) {
        return;
    }

    ngx_push_journal_spill_finish(&t->spill);

    if (ngx_push_journal_spill_read(&t->spill) != NGX_OK) {
        t->segments = 0;
        ngx_push_journal_spill_look(&t->spill);
        return;
    }

    (void) ngx_push_journal_to_db(t, t->spill.buffer, &t->spill.done,
                                  t->spill.used);
}


int64_t
ngx_push_journal_wall(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


int64_t
ngx_push_journal_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


void
ngx_push_journal_note(ngx_push_journal_writer_t *w, const char *fmt, ...)
{
    char     text[NGX_PUSH_JOURNAL_NOTE], *p;
    va_list  args;

    va_start(args, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    /* a server may send what it likes */

    for (p = text; *p; p++) {
        if ((u_char) *p < ' ' || *p == 0x7f) {
            *p = ' ';
        }
    }

    (void) pthread_mutex_lock(&w->mutex);

    memcpy(w->note, text, sizeof(text));
    w->noted = 1;

    (void) pthread_mutex_unlock(&w->mutex);
}
