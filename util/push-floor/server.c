
/*
 * Copyright (C) the ngx_push authors
 */


#include <signal.h>
#include <sys/prctl.h>

#include "floor.h"


/* nginx registers a connection once and edge triggered */
#define FLOOR_PEER_EVENTS  (EPOLLIN|EPOLLRDHUP|EPOLLET)


void
floor_server_lost(floor_server_t *s, ssize_t n)
{
    bench_note(&s->sh->error, "server %u: a connection ended: %s", s->id,
               n == 0 ? "closed" : strerror(errno));
}


int
floor_server_send(floor_server_t *s, int fd, const void *p, size_t n)
{
    ssize_t  rc;

    rc = send(fd, p, n, MSG_NOSIGNAL);

    if (rc == (ssize_t) n) {
        return BENCH_OK;
    }

    bench_note(&s->sh->error, "server %u: send() of %zu octets: %s", s->id, n,
               rc == -1 ? strerror(errno) : "cut short");

    return BENCH_ERROR;
}


/*
 * Devices: acknowledgements, or pings.  A read that returns less than asked
 * for has emptied the socket: EPOLLRDHUP tells of the end, as in nginx.
 */

static void
floor_server_device(floor_server_t *s, floor_peer_t *p)
{
    ssize_t  n;

    n = recv(p->fd, s->buf, FLOOR_BUFFER, 0);

    if (n <= 0) {
        floor_server_lost(s, n);
        return;
    }

    if (s->o->mode != FLOOR_ECHO) {
        floor_add(s->st->acked, n / FLOOR_ACK_SIZE);
        return;
    }

    if (floor_server_send(s, p->fd, s->buf, n) == BENCH_OK) {
        floor_add(s->st->sent, n / FLOOR_PING_SIZE);
    }
}


static void
floor_server_subscribe(floor_server_t *s, floor_peer_t *p)
{
    ssize_t  n;

    static const char  suback[FLOOR_SUBACK_SIZE];

    n = recv(p->fd, s->buf, FLOOR_BUFFER, 0);

    if (n != FLOOR_SUBSCRIBE_SIZE) {
        floor_server_lost(s, n);
        return;
    }

    if (floor_server_send(s, p->fd, suback, sizeof(suback)) == BENCH_OK) {
        p->read = floor_server_device;
        floor_add(s->st->ready, 1);
    }
}


static void
floor_server_connect(floor_server_t *s, floor_peer_t *p)
{
    ssize_t        n;
    uint32_t       i;
    floor_mark_t  *mark;

    static const char  connack[FLOOR_CONNACK_SIZE];

    n = recv(p->fd, s->buf, FLOOR_BUFFER, 0);

    if (n != FLOOR_CONNECT_SIZE) {
        floor_server_lost(s, n);
        return;
    }

    mark = (floor_mark_t *) s->buf;

    if (mark->target == FLOOR_PUBLISHER) {
        p->read = floor_relay_publisher;
        p->in = malloc(FLOOR_BUFFER);

        if (p->in == NULL) {
            bench_note(&s->sh->error, "out of memory");
            return;
        }

    } else {
        i = mark->target / s->o->workers;

        if (mark->target % s->o->workers != s->id || i >= s->ndevices) {
            bench_note(&s->sh->error, "server %u: there is no device %u",
                       s->id, mark->target);
            return;
        }

        s->devices[i] = p->fd;
        p->read = floor_server_subscribe;
    }

    (void) floor_server_send(s, p->fd, connack, sizeof(connack));
}


static void
floor_server_accept(floor_server_t *s)
{
    int                 fd;
    uint32_t            max;
    floor_peer_t       *p;
    struct epoll_event  ev;

    max = s->ndevices + s->o->publishers * s->o->processes;

    while (s->npeers < max) {
        fd = accept4(s->sh->listener[s->id], NULL, NULL, SOCK_NONBLOCK);

        if (fd == -1) {
            if (errno != EAGAIN && errno != ECONNABORTED) {
                bench_note(&s->sh->error, "server %u: accept4(): %s", s->id,
                           strerror(errno));
            }

            return;
        }

        p = &s->peers[s->npeers++];
        p->fd = fd;
        p->read = floor_server_connect;

        ev.events = FLOOR_PEER_EVENTS;
        ev.data.ptr = p;

        if (epoll_ctl(s->ep, EPOLL_CTL_ADD, fd, &ev) == -1) {
            bench_note(&s->sh->error, "server %u: epoll_ctl(): %s", s->id,
                       strerror(errno));
            return;
        }

        floor_add(s->st->accepted, 1);
    }
}


/* one message to every device; the time in it is when the first one leaves */

static void
floor_server_round(floor_server_t *s)
{
    uint32_t       i;
    floor_mark_t  *mark;

    mark = (floor_mark_t *) s->message;
    mark->target = ++s->round;
    mark->time = bench_now();

    for (i = 0; i < s->ndevices; i++) {
        if (floor_server_send(s, s->devices[i], s->message,
                              FLOOR_HEAD_SIZE + s->o->size)
            != BENCH_OK)
        {
            return;
        }

        floor_add(s->st->sent, 1);
    }
}


static int
floor_server_init(floor_server_t *s)
{
    uint32_t            n;
    struct epoll_event  ev;

    n = s->o->connections;
    s->ndevices = n / s->o->workers + (s->id < n % s->o->workers);

    s->ep = epoll_create1(EPOLL_CLOEXEC);
    s->devices = calloc(s->ndevices + 1, sizeof(int));
    s->peers = calloc(s->ndevices + s->o->publishers * s->o->processes,
                      sizeof(floor_peer_t));
    s->wakes = calloc(s->o->workers, 1);
    s->message = calloc(1, FLOOR_HEAD_SIZE + s->o->size);
    s->answers = calloc(FLOOR_BUFFER / s->o->request_head + 1,
                        s->o->answer_size);

    if (s->ep == -1 || s->devices == NULL || s->peers == NULL
        || s->wakes == NULL || s->message == NULL || s->answers == NULL)
    {
        return BENCH_ERROR;
    }

    ev.events = EPOLLIN;
    ev.data.ptr = NULL;

    if (epoll_ctl(s->ep, EPOLL_CTL_ADD, s->sh->listener[s->id], &ev) == -1) {
        return BENCH_ERROR;
    }

    /* edge triggered: every write wakes, and nobody has to read */

    ev.events = EPOLLIN|EPOLLET;
    ev.data.ptr = s;

    return epoll_ctl(s->ep, EPOLL_CTL_ADD, s->sh->wake[s->id], &ev) == -1
           ? BENCH_ERROR : BENCH_OK;
}


static void
floor_server_event(floor_server_t *s, void *what)
{
    floor_peer_t  *p;

    if (what == NULL) {
        floor_server_accept(s);
        return;
    }

    if (what == s) {
        if (s->o->mode == FLOOR_SEND) {
            floor_server_round(s);
        }

        return;
    }

    p = what;
    p->read(s, p);
}


void
floor_server(const floor_opts_t *o, floor_shared_t *sh, uint32_t id)
{
    int            i, n, relays, nap;
    floor_ring_t  *ring;

    static floor_server_t      s;
    static struct epoll_event  events[FLOOR_EVENTS];

    s.id = id;
    s.o = o;
    s.sh = sh;
    s.st = &sh->server[id];

    if (floor_server_init(&s) != BENCH_OK) {
        bench_note(&sh->error, "server %u: %s", id, strerror(errno));
        return;
    }

    ring = &sh->ring[id];
    relays = o->mode == FLOOR_RELAY && o->workers > 1;

    while (bench_note_text(&sh->error) == NULL) {
        nap = relays && floor_ring_sleep(ring) != BENCH_OK ? 0 : -1;

        n = epoll_wait(s.ep, events, FLOOR_EVENTS, nap);

        if (relays) {
            __atomic_store_n(&ring->asleep, 0, __ATOMIC_RELAXED);
            floor_relay_ring(&s);
        }

        for (i = 0; i < n; i++) {
            floor_server_event(&s, events[i].data.ptr);
        }

        if (s.posted) {
            floor_relay_wake(&s);
        }
    }
}
