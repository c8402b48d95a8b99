
/*
 * Copyright (C) the ngx_push authors
 */


#include <signal.h>
#include <sys/prctl.h>

#include "floor.h"


#define FLOOR_MAX_NAP  20000000   /* ns: how late a change of phase is seen */
#define FLOOR_MIN_NAP  50000

/* connections a listener may have before it accepts them, below its backlog */
#define FLOOR_UNACCEPTED  2048


void
floor_client_lost(floor_client_t *c, ssize_t n)
{
    bench_note(&c->sh->error, "client %u: a connection ended: %s", c->id,
               n == 0 ? "closed by the server" : strerror(errno));
}


/* small packets: never cut short */

static void
floor_client_send(floor_client_t *c, floor_device_t *d, const void *p,
    size_t n)
{
    if (send(d->fd, p, n, MSG_NOSIGNAL) != (ssize_t) n) {
        floor_client_lost(c, -1);
    }
}


static int
floor_client_publishes(const floor_client_t *c, const floor_device_t *d)
{
    return d->index == FLOOR_PUBLISHER && c->npublishers;
}


static void
floor_client_ready(floor_client_t *c, floor_device_t *d)
{
    d->state = FLOOR_READY;
    c->opening--;

    if (floor_client_publishes(c, d)) {
        floor_add(c->st->publishers, 1);

    } else {
        floor_add(c->st->ready, 1);
    }
}


static void
floor_client_open(floor_client_t *c, floor_device_t *d, uint32_t owner,
    int source)
{
    const char              *name;
    struct linger            linger;
    struct epoll_event       ev;
    struct sockaddr_storage  addr;

    memset(&addr, 0, sizeof(addr));
    memcpy(&addr, &c->sh->addr[owner], sizeof(struct sockaddr_in));

    d->fd = bench_socket(&addr, source);

    if (d->fd == -1) {
        bench_note(&c->sh->error, "client %u: socket: %s", c->id,
                   strerror(errno));
        return;
    }

    /* no TIME_WAIT that the next run would have to live with */

    linger.l_onoff = 1;
    linger.l_linger = 0;
    (void) setsockopt(d->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));

    ev.events = EPOLLIN|EPOLLOUT|EPOLLRDHUP|EPOLLET;
    ev.data.ptr = d;

    name = "connect()";

    if (connect(d->fd, (struct sockaddr *) &addr, sizeof(struct sockaddr_in))
        == 0 || errno == EINPROGRESS)
    {
        name = "epoll_ctl()";

        if (epoll_ctl(c->ep, EPOLL_CTL_ADD, d->fd, &ev) == 0) {
            c->opening++;
            return;
        }
    }

    bench_note(&c->sh->error, "client %u: %s: %s%s", c->id, name,
               strerror(errno), errno == EADDRNOTAVAIL ? " (more --sources?)"
                                                       : "");
}


/*
 * To the client a connection is made as soon as it is in the server's backlog,
 * which must not overflow: a dropped SYN comes again only after a second.
 */

static int
floor_client_ahead(const floor_client_t *c)
{
    int64_t   n;
    uint32_t  i;

    if (c->o->mode != FLOOR_ACCEPT || c->o->handshake) {
        return 0;
    }

    n = 0;

    for (i = 0; i < c->o->processes; i++) {
        n += floor_get(c->sh->client[i].ready);
    }

    for (i = 0; i < c->o->workers; i++) {
        n -= floor_get(c->sh->server[i].accepted);
    }

    return n > FLOOR_UNACCEPTED;
}


/* returns for how long the client may wait, ns */

static uint64_t
floor_client_connect(floor_client_t *c)
{
    int              source;
    uint32_t         i;
    floor_device_t  *d;

    while (c->started < c->ndevices + c->npublishers
           && c->opening < c->o->handshakes)
    {
        if (floor_client_ahead(c)) {
            return FLOOR_MIN_NAP;
        }

        i = c->started++;

        if (i < c->ndevices) {
            d = &c->devices[i];
            d->index = c->first + i;
            source = c->o->sources ? 1 + (int) (d->index % c->o->sources) : 0;
            floor_client_open(c, d, d->index % c->o->workers, source);
            continue;
        }

        i -= c->ndevices;
        d = &c->publishers[i].d;
        d->index = FLOOR_PUBLISHER;
        floor_client_open(c, d, (c->id * c->npublishers + i) % c->o->workers,
                          0);
    }

    return FLOOR_MAX_NAP;
}


static void
floor_client_connected(floor_client_t *c, floor_device_t *d)
{
    int        err;
    char       packet[FLOOR_CONNECT_SIZE];
    socklen_t  len;

    err = 0;
    len = sizeof(err);

    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1 || err) {
        errno = err ? err : errno;
        floor_client_lost(c, -1);
        return;
    }

    if (c->o->mode == FLOOR_ACCEPT && !c->o->handshake) {
        floor_client_ready(c, d);
        return;
    }

    d->state = FLOOR_CONNACK;

    memset(packet, 0, sizeof(packet));
    ((floor_mark_t *) packet)->target = d->index;
    floor_client_send(c, d, packet, sizeof(packet));
}


static void
floor_client_shake(floor_client_t *c, floor_device_t *d, ssize_t n)
{
    static const char  subscribe[FLOOR_SUBSCRIBE_SIZE];

    if (d->state == FLOOR_CONNACK && n == FLOOR_CONNACK_SIZE) {

        if (floor_client_publishes(c, d)) {
            floor_client_ready(c, d);
            return;
        }

        d->state = FLOOR_SUBACK;
        floor_client_send(c, d, subscribe, sizeof(subscribe));
        return;
    }

    if (d->state == FLOOR_SUBACK && n == FLOOR_SUBACK_SIZE) {
        floor_client_ready(c, d);
        return;
    }

    bench_note(&c->sh->error, "client %u: %zd octets instead of an answer",
               c->id, n);
}


/* a message is cut only if the kernel cuts it: a read ends where one ends */

static void
floor_client_read(floor_client_t *c, floor_device_t *d)
{
    size_t   size, message;
    ssize_t  n;

    size = FLOOR_BUFFER;

    if (d->index != FLOOR_PUBLISHER) {
        message = FLOOR_HEAD_SIZE + c->o->size;
        size = size / message * message - d->octets;
    }

    do {
        n = recv(d->fd, c->buf, size, 0);

        if (n <= 0) {
            if (n == 0 || errno != EAGAIN) {
                floor_client_lost(c, n);
            }

            return;
        }

        if (d->state != FLOOR_READY) {
            floor_client_shake(c, d, n);

        } else if (floor_client_publishes(c, d)) {
            floor_load_answer(c, (floor_publisher_t *) d, n);

        } else {
            floor_load_data(c, d, n);
        }
    } while (n == (ssize_t) size);
}


static void
floor_client_event(floor_client_t *c, floor_device_t *d, uint32_t events)
{
    if (d->state == FLOOR_CONNECTING) {

        if (events & (EPOLLOUT|EPOLLERR|EPOLLHUP)) {
            floor_client_connected(c, d);
        }

        return;
    }

    if ((events & EPOLLOUT) && floor_client_publishes(c, d)) {
        floor_load_flush(c, (floor_publisher_t *) d);
    }

    if (events & ~EPOLLOUT) {
        floor_client_read(c, d);
    }
}


static int
floor_client_init(floor_client_t *c)
{
    uint32_t             to;
    const floor_opts_t  *o;

    o = c->o;

    c->first = (uint64_t) o->connections * c->id / o->processes;
    to = (uint64_t) o->connections * (c->id + 1) / o->processes;
    c->ndevices = to - c->first;
    c->npublishers = o->publishers;

    c->ep = epoll_create1(EPOLL_CLOEXEC);
    c->devices = calloc(c->ndevices, sizeof(floor_device_t));
    c->publishers = calloc(c->npublishers + 1, sizeof(floor_publisher_t));

    if (c->ep == -1 || c->devices == NULL || c->publishers == NULL) {
        return BENCH_ERROR;
    }

    return floor_load_init(c);
}


void
floor_client(const floor_opts_t *o, floor_shared_t *sh, uint32_t id)
{
    int              i, n;
    uint64_t         a, b;
    struct timespec  ts;

    static floor_client_t      c;
    static struct epoll_event  events[FLOOR_EVENTS];

    c.id = id;
    c.o = o;
    c.sh = sh;
    c.st = &sh->client[id];

    if (floor_client_init(&c) != BENCH_OK) {
        bench_note(&sh->error, "client %u: %s", id, strerror(errno));
        return;
    }

    ts.tv_sec = 0;

    while (bench_note_text(&sh->error) == NULL) {
        c.now = bench_now();

        a = floor_client_connect(&c);
        b = floor_load_tick(&c);

        a = a < b ? a : b;
        ts.tv_nsec = a < FLOOR_MAX_NAP ? a : FLOOR_MAX_NAP;

        if (ts.tv_nsec && ts.tv_nsec < FLOOR_MIN_NAP) {
            ts.tv_nsec = FLOOR_MIN_NAP;
        }

        n = epoll_pwait2(c.ep, events, FLOOR_EVENTS, &ts, NULL);

        for (i = 0; i < n; i++) {
            floor_client_event(&c, events[i].data.ptr, events[i].events);
        }
    }
}
