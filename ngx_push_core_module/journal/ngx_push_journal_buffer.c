
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The worker's side of the journal: saved() and acked() append to a chunk; a
 * chunk that is due goes to the thread.  While the thread is busy the current
 * chunk goes on growing, so that chunks are well filled when there is much to
 * do.  What no chunk is left for is dropped and counted.
 */


#include "ngx_push_journal_writer.h"
#include "ngx_push_worker.h"
#include <ngx_event.h>


#define NGX_PUSH_JOURNAL_SPARE   4       /* chunks kept for the next */
#define NGX_PUSH_JOURNAL_SOON    2       /* ms: the thread had the mutex */
#define NGX_PUSH_JOURNAL_LOOK    1000
#define NGX_PUSH_JOURNAL_END     2000    /* ms for MySQL at the end */


static void ngx_push_journal_rescue(ngx_push_journal_writer_t *w);
static void ngx_push_journal_free(ngx_push_journal_chunk_t *c);
static void ngx_push_journal_saved(ngx_push_journal_message_t *m);
static void ngx_push_journal_acked(ngx_push_journal_ack_t *ack);
static ngx_push_journal_record_t *ngx_push_journal_reserve(size_t size);
static void ngx_push_journal_fill(ngx_push_journal_record_t *r,
    ngx_push_product_t *product, ngx_str_t *name, ngx_str_t *device,
    ngx_str_t *blob);
static void ngx_push_journal_appended(ngx_push_journal_record_t *r);
static ngx_push_journal_chunk_t *ngx_push_journal_chunk(void);
static ngx_uint_t ngx_push_journal_hand(ngx_uint_t wait);
static void ngx_push_journal_delay(ngx_event_t *ev);
static void ngx_push_journal_look(ngx_event_t *ev);
static void ngx_push_journal_publish(ngx_push_journal_figures_t *seen);


ngx_push_journal_t  ngx_push_journal_mysql = {
    ngx_string("mysql"),
    ngx_push_journal_saved,
    ngx_push_journal_acked
};


/* of this process */

static ngx_push_journal_writer_t   *ngx_push_journal_writer;
static ngx_push_journal_chunk_t    *ngx_push_journal_current;
static ngx_push_journal_chunk_t    *ngx_push_journal_full;    /* to be queued */
static ngx_push_journal_chunk_t   **ngx_push_journal_full_last;
static ngx_push_journal_chunk_t    *ngx_push_journal_spare;
static ngx_uint_t                   ngx_push_journal_nchunks;  /* all of them */
static ngx_uint_t                   ngx_push_journal_max;
static size_t                       ngx_push_journal_held;   /* bytes in full */
static uint64_t                     ngx_push_journal_lost;
static ngx_push_journal_figures_t   ngx_push_journal_last;   /* published */
static ngx_event_t                  ngx_push_journal_delay_event;
static ngx_event_t                  ngx_push_journal_look_event;
static ngx_connection_t             ngx_push_journal_dummy;


ngx_int_t
ngx_push_journal_begin(ngx_cycle_t *cycle, ngx_push_journal_writer_t *w)
{
    int                 rc;
    sigset_t            all, old;
    pthread_condattr_t  attr;

    ngx_push_journal_fd_set(w, -1);

    (void) pthread_mutex_init(&w->mutex, NULL);
    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&w->cond, &attr);
    (void) pthread_condattr_destroy(&attr);

    ngx_push_journal_full = NULL;
    ngx_push_journal_full_last = &ngx_push_journal_full;
    ngx_push_journal_current = NULL;
    ngx_push_journal_spare = NULL;
    ngx_push_journal_nchunks = 0;
    ngx_push_journal_max = w->set.backlog / NGX_PUSH_JOURNAL_CHUNK;

    ngx_push_journal_dummy.fd = (ngx_socket_t) -1;

    ngx_push_journal_delay_event.handler = ngx_push_journal_delay;
    ngx_push_journal_delay_event.data = &ngx_push_journal_dummy;
    ngx_push_journal_delay_event.log = cycle->log;
    ngx_push_journal_delay_event.cancelable = 1;

    ngx_push_journal_look_event.handler = ngx_push_journal_look;
    ngx_push_journal_look_event.data = &ngx_push_journal_dummy;
    ngx_push_journal_look_event.log = cycle->log;
    ngx_push_journal_look_event.cancelable = 1;

    /* signals are for nginx's own thread */

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);

    rc = pthread_create(&w->thread, NULL, ngx_push_journal_thread, w);

    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (rc != 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, rc,
                      "the thread of the journal cannot be started");
        return NGX_ERROR;
    }

    ngx_push_journal_writer = w;
    ngx_add_timer(&ngx_push_journal_look_event, NGX_PUSH_JOURNAL_LOOK);

    return NGX_OK;
}


/*
 * The thread has NGX_PUSH_JOURNAL_END for MySQL, then what is left goes to the
 * file.  If it hangs in a call until then, its socket is shut down, which ends
 * the call: nobody else opens or closes anything by now.
 */

ngx_push_journal_writer_t *
ngx_push_journal_end(ngx_cycle_t *cycle)
{
    int                         i, fd, rc;
    u_char                      note[NGX_PUSH_JOURNAL_NOTE];
    struct timespec             ts;
    ngx_push_journal_writer_t  *w;
    ngx_push_journal_figures_t  seen;

    w = ngx_push_journal_writer;

    if (w == NULL) {
        return NULL;
    }

    if (ngx_push_journal_delay_event.timer_set) {
        ngx_del_timer(&ngx_push_journal_delay_event);
    }

    if (ngx_push_journal_look_event.timer_set) {
        ngx_del_timer(&ngx_push_journal_look_event);
    }

    /* in this order: a thread that is told to stop ends with the queue */

    (void) ngx_push_journal_hand(1);

    (void) pthread_mutex_lock(&w->mutex);
    w->stop = ngx_push_journal_clock() + NGX_PUSH_JOURNAL_END;
    (void) pthread_cond_signal(&w->cond);
    (void) pthread_mutex_unlock(&w->mutex);

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += NGX_PUSH_JOURNAL_END / 1000;

    for (i = 0; i < 5; i++) {
        rc = pthread_clockjoin_np(w->thread, NULL, CLOCK_MONOTONIC, &ts);

        if (rc == 0) {
            break;
        }

        fd = ngx_push_journal_fd(w);

        if (fd != -1) {
            (void) shutdown(fd, SHUT_RDWR);
        }

        ts.tv_sec++;
    }

    if (rc != 0) {
        ngx_push_journal_rescue(w);
        ngx_log_error(NGX_LOG_ERR, cycle->log, rc,
                      "journal: its thread does not end, what was queued went "
                      "to a file");

    }

    (void) pthread_mutex_lock(&w->mutex);

    seen = w->seen;
    note[0] = '\0';

    if (w->noted) {
        ngx_memcpy(note, w->note, NGX_PUSH_JOURNAL_NOTE);
    }

    (void) pthread_mutex_unlock(&w->mutex);

    if (note[0]) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0, "journal: %s", note);
    }

    seen.full += ngx_push_journal_lost;

    ngx_push_journal_publish(&seen);

    ngx_push_journal_writer = NULL;

    if (rc != 0) {
        return NULL;
    }

    ngx_push_journal_free(ngx_push_journal_spare);
    ngx_push_journal_free(w->free);
    ngx_push_journal_spare = NULL;
    w->free = NULL;

    (void) pthread_cond_destroy(&w->cond);
    (void) pthread_mutex_destroy(&w->mutex);

    return w;
}


static void
ngx_push_journal_free(ngx_push_journal_chunk_t *c)
{
    ngx_push_journal_chunk_t  *next;

    for ( /* void */ ; c; c = next) {
        next = c->next;
        free(c);
    }
}


/*
 * The thread hangs where nothing can be done about it, in the look-up of a
 * name.  It finds an empty queue if it should come back.
 */

static void
ngx_push_journal_rescue(ngx_push_journal_writer_t *w)
{
    ngx_push_journal_chunk_t  *c;
    ngx_push_journal_spill_t   s;

    (void) pthread_mutex_lock(&w->mutex);
    c = w->head;
    w->head = NULL;
    (void) pthread_mutex_unlock(&w->mutex);

    if (c == NULL || ngx_push_journal_spill_init(&s, w) != NGX_OK) {
        return;
    }

    s.serial = (uint64_t) 1 << 32;     /* apart from those of the thread */

    for ( /* void */ ; c; c = c->next) {
        if (ngx_push_journal_spill_write(&s, c->data, c->used) != NGX_OK) {
            ngx_push_journal_lost += c->rows;
        }
    }

    ngx_push_journal_spill_close(&s);
}


static void
ngx_push_journal_saved(ngx_push_journal_message_t *m)
{
    size_t                      size;
    ngx_str_t                   name, none;
    ngx_push_product_t         *product;
    ngx_push_journal_record_t  *r;

    product = m->target->product;
    name = m->target->name;

    /* whose log it is: the others have one for the product */

    if (m->target->kind != NGX_PUSH_INBOX && m->target->kind != NGX_PUSH_GROUP)
    {
        name.len = 0;
    }

    size = sizeof(ngx_push_journal_record_t) + product->name.len + name.len
           + m->blob->len;

    r = ngx_push_journal_reserve(size);

    if (r == NULL) {
        return;
    }

    r->type = NGX_PUSH_JOURNAL_MESSAGE;
    r->kind = m->target->kind;
    r->incarnation = m->incarnation;
    r->seq = m->seq;
    r->all = 0;
    r->created = m->created;
    r->expires = m->expires;

    ngx_str_null(&none);
    ngx_push_journal_fill(r, product, &name, &none, m->blob);
    ngx_push_journal_appended(r);
}


static void
ngx_push_journal_acked(ngx_push_journal_ack_t *ack)
{
    size_t                      size;
    ngx_push_journal_record_t  *r;

    size = sizeof(ngx_push_journal_record_t) + ack->product->name.len
           + ack->user.len + ack->device.len + ack->rest.len;

    if (ack->device.len > NGX_PUSH_JOURNAL_DEVICE) {
        ngx_push_journal_lost++;
        return;
    }

    r = ngx_push_journal_reserve(size);

    if (r == NULL) {
        return;
    }

    r->type = NGX_PUSH_JOURNAL_ACK;
    r->kind = NGX_PUSH_INBOX;
    r->incarnation = ack->incarnation;
    r->seq = ack->acked;
    r->all = ack->all;
    r->created = ngx_time();
    r->expires = 0;
    r->gone = ack->gone;

    ngx_push_journal_fill(r, ack->product, &ack->user, &ack->device,
                          &ack->rest);
    ngx_push_journal_appended(r);
}


/* Room for a record in the current chunk; NULL: there is none, counted. */

static ngx_push_journal_record_t *
ngx_push_journal_reserve(size_t size)
{
    ngx_push_journal_chunk_t   *c;
    ngx_push_journal_record_t  *r;

    if (ngx_push_journal_writer == NULL) {
        return NULL;
    }

    size = ngx_align(size, 8);
    c = ngx_push_journal_current;

    if (c && size > NGX_PUSH_JOURNAL_CHUNK - c->used) {
        *ngx_push_journal_full_last = c;
        ngx_push_journal_full_last = &c->next;
        ngx_push_journal_held += c->used;
        ngx_push_journal_current = NULL;

        (void) ngx_push_journal_hand(0);
    }

    c = ngx_push_journal_current;

    if (c == NULL && size <= NGX_PUSH_JOURNAL_CHUNK) {
        c = ngx_push_journal_chunk();
        ngx_push_journal_current = c;
    }

    if (c == NULL || size > NGX_PUSH_JOURNAL_CHUNK) {
        ngx_push_journal_lost++;
        return NULL;
    }

    if (c->used == 0) {
        c->first = ngx_push_journal_wall();

        if (!ngx_push_journal_delay_event.timer_set) {
            ngx_add_timer(&ngx_push_journal_delay_event,
                          ngx_push_journal_writer->set.delay);
        }
    }

    r = (ngx_push_journal_record_t *) (c->data + c->used);
    r->size = size;
    r->crc = 0;
    r->gone = 0;
    r->spare2 = 0;

    return r;
}


static void
ngx_push_journal_fill(ngx_push_journal_record_t *r,
    ngx_push_product_t *product, ngx_str_t *name, ngx_str_t *device,
    ngx_str_t *blob)
{
    u_char  *p, *end;

    r->product_len = product->name.len;
    r->name_len = name->len;
    r->device_len = device->len;
    r->blob_len = blob->len;

    p = (u_char *) (r + 1);
    end = (u_char *) r + r->size;

    p = ngx_cpymem(p, product->name.data, product->name.len);
    p = ngx_cpymem(p, name->data, name->len);
    p = ngx_cpymem(p, device->data, device->len);
    p = ngx_cpymem(p, blob->data, blob->len);

    ngx_memzero(p, end - p);
}


static void
ngx_push_journal_appended(ngx_push_journal_record_t *r)
{
    ngx_push_journal_chunk_t  *c;

    c = ngx_push_journal_current;

    c->used += r->size;
    c->rows++;

    if (c->rows % ngx_push_journal_writer->set.batch == 0) {
        (void) ngx_push_journal_hand(0);
    }
}


static ngx_push_journal_chunk_t *
ngx_push_journal_chunk(void)
{
    ngx_push_journal_chunk_t  *c;

    c = ngx_push_journal_spare;

    if (c) {
        ngx_push_journal_spare = c->next;

    } else {

        if (ngx_push_journal_nchunks >= ngx_push_journal_max) {
            return NULL;
        }

        c = malloc(sizeof(ngx_push_journal_chunk_t));
        if (c == NULL) {
            return NULL;
        }

        ngx_push_journal_nchunks++;
    }

    c->next = NULL;
    c->used = 0;
    c->done = 0;
    c->rows = 0;

    return c;
}


/*
 * Queues full chunks, and the current one if the thread has none to write;
 * takes back what the thread has done with.  0: the thread had the mutex.
 */

static ngx_uint_t
ngx_push_journal_hand(ngx_uint_t wait)
{
    ngx_uint_t                  n, wake;
    ngx_push_journal_chunk_t   *c, *back;
    ngx_push_journal_writer_t  *w;

    w = ngx_push_journal_writer;

    if (wait) {
        (void) pthread_mutex_lock(&w->mutex);

    } else if (pthread_mutex_trylock(&w->mutex) != 0) {
        return 0;
    }

    c = ngx_push_journal_current;

    if (c && c->used
        && (wait || (w->head == NULL && ngx_push_journal_full == NULL)))
    {
        *ngx_push_journal_full_last = c;
        ngx_push_journal_full_last = &c->next;
        ngx_push_journal_held += c->used;
        ngx_push_journal_current = NULL;
    }

    if (ngx_push_journal_full) {

        if (w->head) {
            w->tail->next = ngx_push_journal_full;

        } else {
            w->head = ngx_push_journal_full;
        }

        for (c = ngx_push_journal_full; c->next; c = c->next) { /* void */ }

        w->tail = c;
        w->queued += ngx_push_journal_held;

        ngx_push_journal_full = NULL;
        ngx_push_journal_full_last = &ngx_push_journal_full;
        ngx_push_journal_held = 0;
    }

    wake = wait || (w->idle && w->head);
    back = w->free;
    w->free = NULL;

    (void) pthread_mutex_unlock(&w->mutex);

    if (wake) {
        (void) pthread_cond_signal(&w->cond);
    }

    n = 0;

    for (c = ngx_push_journal_spare; c; c = c->next) {
        n++;
    }

    while (back) {
        c = back;
        back = c->next;

        if (n < NGX_PUSH_JOURNAL_SPARE) {
            c->next = ngx_push_journal_spare;
            ngx_push_journal_spare = c;
            n++;

        } else {
            free(c);
            ngx_push_journal_nchunks--;
        }
    }

    return 1;
}


/* The first row of a chunk has waited long enough. */

static void
ngx_push_journal_delay(ngx_event_t *ev)
{
    ngx_uint_t  done;

    done = ngx_push_journal_hand(0);

    if (!done) {
        ngx_add_timer(ev, NGX_PUSH_JOURNAL_SOON);

    } else if (ngx_push_journal_current && ngx_push_journal_current->used) {
        ngx_add_timer(ev, ngx_push_journal_writer->set.delay);
    }
}


static void
ngx_push_journal_look(ngx_event_t *ev)
{
    u_char                      note[NGX_PUSH_JOURNAL_NOTE];
    size_t                      queued;
    int64_t                     first;
    ngx_push_worker_t          *self;
    ngx_push_journal_chunk_t   *c;
    ngx_push_journal_writer_t  *w;
    ngx_push_journal_figures_t  seen;

    ngx_add_timer(ev, NGX_PUSH_JOURNAL_LOOK);

    w = ngx_push_journal_writer;

    if (pthread_mutex_trylock(&w->mutex) != 0) {
        return;
    }

    seen = w->seen;
    queued = w->queued;
    first = w->head ? w->head->first : 0;

    note[0] = '\0';

    if (w->noted) {
        w->noted = 0;
        ngx_memcpy(note, w->note, NGX_PUSH_JOURNAL_NOTE);
    }

    (void) pthread_mutex_unlock(&w->mutex);

    if (note[0]) {
        ngx_log_error(NGX_LOG_ERR, ev->log, 0, "journal: %s", note);
    }

    self = ngx_push_self;

    if (self == NULL) {
        return;
    }

    c = ngx_push_journal_full ? ngx_push_journal_full
                              : ngx_push_journal_current;

    if (first == 0 && c && c->used) {
        first = c->first;
    }

    if (seen.oldest && (first == 0 || seen.oldest < first)) {
        first = seen.oldest;
    }

    self->stats.journal_oldest = first;
    self->stats.journal_spilled = seen.spilled;
    self->stats.journal_connected = seen.connected;
    self->stats.journal_backlog = queued + ngx_push_journal_held
                                  + (ngx_push_journal_current
                                     ? ngx_push_journal_current->used : 0);

    seen.full += ngx_push_journal_lost;

    ngx_push_journal_publish(&seen);
}


/* What was counted since the last time. */

static void
ngx_push_journal_publish(ngx_push_journal_figures_t *seen)
{
    ngx_push_stats_t            *stats;
    ngx_push_journal_figures_t  *last;

    last = &ngx_push_journal_last;

    if (seen->full != last->full) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "journal: %uL rows were dropped: neither in memory nor "
                      "in the spill folder was room for them",
                      seen->full - last->full);
    }

    if (ngx_push_self == NULL) {
        return;                        /* at the end: the slot is given up */
    }

    stats = &ngx_push_self->stats;

    stats->journal_rows[0] += seen->rows[0] - last->rows[0];
    stats->journal_rows[1] += seen->rows[1] - last->rows[1];
    stats->journal_purged += seen->purged - last->purged;
    stats->journal_errors += seen->errors - last->errors;
    stats->journal_dropped[NGX_PUSH_JOURNAL_DROP_FULL]
        += seen->full - last->full;
    stats->journal_dropped[NGX_PUSH_JOURNAL_DROP_REFUSED]
        += seen->refused - last->refused;
    stats->journal_dropped[NGX_PUSH_JOURNAL_DROP_CORRUPT]
        += seen->corrupt - last->corrupt;

    *last = *seen;
}
