
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Mailboxes: a ring per worker slot, written by any process under its lock,
 * read by the owner alone without it.  A cell is written before "head" moves,
 * so a writer's death leaves nothing half done.
 *
 * Wake-ups are datagrams to an abstract socket named by zone, slot and
 * generation; one is under way at most.  They leave at the next turn of the
 * event loop, one to each worker that got notes in between: a publisher that
 * pipelines wakes another worker once per batch, and a lone note waits for
 * no more than an epoll_wait() without a timeout.  If one is lost, the
 * reader's one-second tick stands in.
 */


#include "ngx_push_conn.h"

#include <sys/un.h>


static void ngx_push_mailbox_wake(ngx_push_worker_t *w);
static void ngx_push_wakes_handler(ngx_event_t *ev);
static socklen_t ngx_push_mailbox_name(struct sockaddr_un *sun,
    uint32_t slot, uint32_t gen);
static void ngx_push_mailbox_handler(ngx_event_t *ev);
static void ngx_push_local_handler(ngx_event_t *ev);
static void ngx_push_resync_handler(ngx_event_t *ev);


#define NGX_PUSH_RESYNC_STEP    256    /* connections of one turn */


void                    (*ngx_push_mail_released)(ngx_push_mail_t *mail);

static ngx_connection_t  *ngx_push_wake;
static int                ngx_push_wake_fd = -1;   /* to send from */

/* workers that got notes in this turn: their slots, and which those are */

static uint16_t           ngx_push_wakes[NGX_PUSH_WORKERS];
static ngx_uint_t         ngx_push_nwakes;
static uint8_t            ngx_push_waking[NGX_PUSH_WORKERS];
static ngx_event_t        ngx_push_wakes_event;

/* notes of this process to itself, and the event that reads them */

static ngx_push_mail_t   *ngx_push_local;
static ngx_uint_t         ngx_push_nlocal;
static ngx_uint_t         ngx_push_alocal;
static ngx_event_t        ngx_push_local_event;

static ngx_event_t        ngx_push_resync_event;
static uint32_t           ngx_push_resync_at;
static uint32_t           ngx_push_resync_end;
static uint32_t           ngx_push_resync_size;    /* of the table then */


ngx_int_t
ngx_push_mailbox_init(ngx_cycle_t *cycle)
{
    int                  fd;
    ngx_event_t         *rev;
    socklen_t            len;
    ngx_connection_t    *c;
    struct sockaddr_un   sun;

    ngx_push_local_event.handler = ngx_push_local_handler;
    ngx_push_local_event.log = cycle->log;
    ngx_push_wakes_event.handler = ngx_push_wakes_handler;
    ngx_push_wakes_event.log = cycle->log;
    ngx_push_resync_event.handler = ngx_push_resync_handler;
    ngx_push_resync_event.log = cycle->log;
    ngx_push_resync_event.cancelable = 1;

    fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    ngx_push_wake_fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK|SOCK_CLOEXEC,
                              0);

    if (fd == -1 || ngx_push_wake_fd == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "push: socket() for the mailbox failed");
        return NGX_ERROR;
    }

    len = ngx_push_mailbox_name(&sun, ngx_push_self->index,
                                ngx_push_self->gen);

    if (bind(fd, (struct sockaddr *) &sun, len) == -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                      "push: bind() of the mailbox failed");
        close(fd);
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, cycle->log);

    if (c == NULL) {
        close(fd);
        return NGX_ERROR;
    }

    rev = c->read;
    rev->handler = ngx_push_mailbox_handler;
    rev->log = cycle->log;
    c->write->log = cycle->log;

    /* one datagram is read at a time, what is left is told again */

    if (ngx_add_event(rev, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK)
    {
        ngx_free_connection(c);
        close(fd);
        return NGX_ERROR;
    }

    /*
     * A connection that looks idle is told when the worker is to leave; there
     * is no other moment at which a module is called then.
     */

    c->idle = 1;

    ngx_push_wake = c;

    return NGX_OK;
}


void
ngx_push_mailbox_exit(void)
{
    ngx_push_wakes_handler(&ngx_push_wakes_event);

    if (ngx_push_wake) {
        ngx_close_connection(ngx_push_wake);
        ngx_push_wake = NULL;
    }

    if (ngx_push_wake_fd != -1) {
        close(ngx_push_wake_fd);
        ngx_push_wake_fd = -1;
    }
}


static socklen_t
ngx_push_mailbox_name(struct sockaddr_un *sun, uint32_t slot, uint32_t gen)
{
    u_char  *p;

    ngx_memzero(sun, sizeof(struct sockaddr_un));
    sun->sun_family = AF_UNIX;

    p = (u_char *) sun->sun_path + 1;
    p = ngx_sprintf(p, "ngx_push.%xL.%uD.%uD", ngx_push_zone->head->id, slot,
                    gen);

    return p - (u_char *) sun;
}


static void
ngx_push_mailbox_wake(ngx_push_worker_t *w)
{
    socklen_t           len;
    struct sockaddr_un  sun;

    len = ngx_push_mailbox_name(&sun, w->index, w->gen);

    ngx_push_count(mail_wakes);

    /* a failure means that it is gone, or has enough to wake it up */

    (void) sendto(ngx_push_wake_fd, "", 1, MSG_DONTWAIT|MSG_NOSIGNAL,
                  (struct sockaddr *) &sun, len);
}


static void
ngx_push_wakes_handler(ngx_event_t *ev)
{
    ngx_uint_t          i;
    ngx_push_worker_t  *w;

    for (i = 0; i < ngx_push_nwakes; i++) {
        w = ngx_push_worker_slot(ngx_push_wakes[i]);
        ngx_push_waking[ngx_push_wakes[i]] = 0;

        if (__sync_lock_test_and_set(&w->mailbox.signaled, 1) == 0) {
            ngx_push_mailbox_wake(w);
        }
    }

    ngx_push_nwakes = 0;
}


static void
ngx_push_mail_self(ngx_push_mail_t *mail)
{
    ngx_uint_t        n;
    ngx_push_mail_t  *cells;

    if (ngx_push_nlocal == ngx_push_alocal) {
        n = ngx_push_alocal ? 2 * ngx_push_alocal : 64;
        cells = realloc(ngx_push_local, n * sizeof(ngx_push_mail_t));

        if (cells == NULL) {
            ngx_push_resync();
            return;
        }

        ngx_push_local = cells;
        ngx_push_alocal = n;
    }

    ngx_push_local[ngx_push_nlocal++] = *mail;
    ngx_post_event(&ngx_push_local_event, &ngx_posted_events);
}


void
ngx_push_mail_send(uint32_t slot, uint32_t gen, ngx_push_mail_t *mail)
{
    ngx_uint_t            n;
    ngx_push_mail_t      *cells;
    ngx_push_worker_t    *w;
    ngx_push_mailbox_t   *box;

    if (slot == ngx_push_self->index) {
        ngx_push_mail_self(mail);
        return;
    }

    w = ngx_push_worker_slot(slot);
    box = &w->mailbox;

    if (pthread_mutex_lock(&box->mutex) == EOWNERDEAD) {
        (void) pthread_mutex_consistent(&box->mutex);
    }

    if (!ngx_push_worker_alive(slot, gen)) {
        (void) pthread_mutex_unlock(&box->mutex);
        return;
    }

    n = ngx_push_zone->head->mailbox;

    if (box->head - box->tail >= n) {
        box->resync = 1;

    } else {
        cells = (ngx_push_mail_t *) (ngx_push_zone->base + box->cells);
        cells[box->head % n] = *mail;
        ngx_memory_barrier();
        box->head++;
    }

    (void) pthread_mutex_unlock(&box->mutex);

    ngx_push_count(mail_sent);

    if (!ngx_push_waking[slot]) {
        ngx_push_waking[slot] = 1;
        ngx_push_wakes[ngx_push_nwakes++] = (uint16_t) slot;
        ngx_post_event(&ngx_push_wakes_event, &ngx_posted_next_events);
    }
}


static void
ngx_push_local_handler(ngx_event_t *ev)
{
    ngx_uint_t        i;
    ngx_push_mail_t   mail;

    /* handling a note may post others, they are taken too; copy: it may grow */

    for (i = 0; i < ngx_push_nlocal; i++) {
        mail = ngx_push_local[i];
        ngx_push_mail_handle(&mail);
    }

    ngx_push_nlocal = 0;
}


static void
ngx_push_mailbox_handler(ngx_event_t *ev)
{
    char               buf[8];
    ngx_connection_t  *c;

    c = ev->data;

    if (c->close) {
        c->close = 0;
        c->idle = 0;
        ngx_push_worker_drain();
        return;
    }

    (void) recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

    ngx_push_mailbox_read();
}


void
ngx_push_mailbox_read(void)
{
    uint32_t             n;
    ngx_push_mail_t      mail, *cells;
    ngx_push_mailbox_t  *box;

    box = &ngx_push_self->mailbox;
    cells = (ngx_push_mail_t *) (ngx_push_zone->base + box->cells);
    n = ngx_push_zone->head->mailbox;

    /* from here on a new note wakes us again */

    (void) __sync_lock_test_and_set(&box->signaled, 0);
    __sync_synchronize();

    if (box->resync) {
        box->resync = 0;
        __sync_synchronize();
        ngx_push_resync();
    }

    while (box->tail != box->head) {
        mail = cells[box->tail % n];
        ngx_memory_barrier();
        box->tail++;

        ngx_push_count(mail_received);
        ngx_push_mail_handle(&mail);
    }
}


void
ngx_push_mail_handle(ngx_push_mail_t *mail)
{
    ngx_push_conn_t  *pc;

    if (mail->type == NGX_PUSH_MAIL_CHANNEL
        || mail->type == NGX_PUSH_MAIL_CHANNEL_ONCE)
    {
        ngx_push_fanout(mail);
        return;
    }

    pc = ngx_push_conn_get(mail->conn);

    if (pc && (pc->session.index != mail->to.index
               || pc->session.gen != mail->to.gen))
    {
        pc = NULL;
    }

    switch (mail->type) {

    case NGX_PUSH_MAIL_INBOX:
        if (pc) {
            pc->transport->notify(pc);
        }

        break;

    case NGX_PUSH_MAIL_ONCE:
        ngx_push_once_deliver(pc, mail);
        break;

    case NGX_PUSH_MAIL_KICK:
        if (pc && pc->claim == mail->seq) {
            pc->transport->kick(pc, mail->reason);
        }

        break;

    case NGX_PUSH_MAIL_RELEASED:
        if (ngx_push_mail_released) {
            ngx_push_mail_released(mail);
        }

        break;
    }
}


/*
 * Notes were lost: every connection looks for itself.  Steps of some
 * connections, so that the event loop goes on; a second mark during a walk
 * makes it go round once more from where it is.  So does a table that has
 * grown, for its numbers are counted by its size.
 */

void
ngx_push_resync(void)
{
    ngx_push_count(resyncs);

    ngx_push_resync_size = ngx_push_conn_size();
    ngx_push_resync_end = ngx_push_resync_at + ngx_push_resync_size;

    if (!ngx_push_resync_event.posted) {
        ngx_post_event(&ngx_push_resync_event, &ngx_posted_next_events);
    }
}


static void
ngx_push_resync_handler(ngx_event_t *ev)
{
    uint32_t          n, size;
    ngx_push_conn_t  *pc;

    size = ngx_push_conn_size();

    if (size != ngx_push_resync_size) {
        ngx_push_resync_size = size;
        ngx_push_resync_end = ngx_push_resync_at + size;
    }

    for (n = 0; n < NGX_PUSH_RESYNC_STEP && size
                && ngx_push_resync_at != ngx_push_resync_end; n++)
    {
        pc = ngx_push_conn_get(ngx_push_resync_at++ % size);

        if (pc && pc->session.index) {
            pc->transport->notify(pc);
        }
    }

    if (size && ngx_push_resync_at != ngx_push_resync_end) {
        ngx_post_event(ev, &ngx_posted_next_events);
    }
}
