
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * What the clients ask for, and what they do with what they get.
 */


#include "floor.h"


#define FLOOR_FAR    1000000000
#define FLOOR_BURST  2000       /* requests between two looks at the sockets */


int
floor_load_init(floor_client_t *c)
{
    size_t               size;
    uint32_t             i;
    const floor_opts_t  *o;

    o = c->o;
    size = o->request_head + o->size;

    for (i = 0; i < c->npublishers; i++) {
        c->publishers[i].out = malloc(o->pipeline * size);

        if (c->publishers[i].out == NULL) {
            return BENCH_ERROR;
        }

        memset(c->publishers[i].out, 'x', o->pipeline * size);
    }

    c->room = o->outstanding / o->processes;
    c->room = c->room ? c->room : 1;
    c->rate = o->rate / o->processes;
    c->round_left = c->ndevices;
    c->random = bench_now() ^ c->id;

    return BENCH_OK;
}


void
floor_load_flush(floor_client_t *c, floor_publisher_t *p)
{
    ssize_t  n;

    while (p->out_pos < p->out_len) {
        n = send(p->d.fd, p->out + p->out_pos, p->out_len - p->out_pos,
                 MSG_NOSIGNAL);

        if (n == -1) {
            if (errno != EAGAIN) {
                floor_client_lost(c, n);
            }

            return;
        }

        p->out_pos += n;
    }

    p->out_pos = 0;
    p->out_len = 0;
}


static int
floor_load_publish(floor_client_t *c, uint32_t target, uint64_t time)
{
    size_t              size;
    floor_mark_t        mark;
    floor_publisher_t  *p;

    p = &c->publishers[target % c->npublishers];

    if (p->unanswered == c->o->pipeline) {
        return BENCH_AGAIN;
    }

    size = c->o->request_head + c->o->size;

    if (p->out_len == c->o->pipeline * size) {
        memmove(p->out, p->out + p->out_pos, p->out_len - p->out_pos);
        p->out_len -= p->out_pos;
        p->out_pos = 0;
    }

    mark.target = c->first + target;
    mark.zero = 0;
    mark.time = time;
    memcpy(p->out + p->out_len, &mark, sizeof(floor_mark_t));

    p->out_len += size;
    p->unanswered++;

    return BENCH_OK;
}


static int
floor_load_ping(floor_client_t *c, uint32_t target, uint64_t time)
{
    floor_device_t  *d;

    static const char  ping[FLOOR_PING_SIZE];

    d = &c->devices[target];

    if (d->pending) {
        return BENCH_AGAIN;
    }

    d->pending = 1;
    d->time = time;

    if (send(d->fd, ping, sizeof(ping), MSG_NOSIGNAL) != sizeof(ping)) {
        floor_client_lost(c, -1);
    }

    return BENCH_OK;
}


static void
floor_load_next(floor_client_t *c)
{
    if (c->o->random) {
        c->random = c->random * 6364136223846793005ull + 1442695040888963407ull;
        c->cursor = (c->random >> 33) % c->ndevices;

    } else {
        c->cursor = (c->cursor + 1) % c->ndevices;
    }
}


/*
 * Issues what is due and returns for how long the client may wait, ns.  Open
 * loop: the time of a request is when it was due, however late it leaves.
 */

static uint64_t
floor_load_issue(floor_client_t *c)
{
    int       rc;
    uint32_t  n;
    uint64_t  time;

    time = bench_now();

    for (n = 0; n < FLOOR_BURST; n++) {

        if (c->st->issued - c->st->received >= c->room) {
            return FLOOR_FAR;
        }

        if (c->rate > 0) {
            time = c->sh->run_start + c->st->issued / c->rate * 1e9;

            if (time > c->now) {
                return time - c->now;
            }
        }

        rc = c->o->mode == FLOOR_RELAY ? floor_load_publish(c, c->cursor, time)
                                       : floor_load_ping(c, c->cursor, time);
        if (rc != BENCH_OK) {
            return FLOOR_FAR;
        }

        floor_add(c->st->issued, 1);
        floor_load_next(c);
    }

    return 0;
}


uint64_t
floor_load_tick(floor_client_t *c)
{
    uint32_t  i;
    uint64_t  nap;

    if (floor_phase(c->sh) != FLOOR_PHASE_RUN
        || (c->o->mode != FLOOR_RELAY && c->o->mode != FLOOR_ECHO))
    {
        return FLOOR_FAR;
    }

    nap = floor_load_issue(c);

    for (i = 0; i < c->npublishers; i++) {
        floor_load_flush(c, &c->publishers[i]);
    }

    return nap;
}


/* the last client process that has the whole round starts the next one */

static void
floor_load_round(floor_client_t *c)
{
    uint32_t         i;
    uint64_t         one;
    floor_shared_t  *sh;

    sh = c->sh;
    one = 1;
    c->round_left = c->ndevices;

    if (__atomic_add_fetch(&sh->round_done, 1, __ATOMIC_ACQ_REL)
        != c->o->processes)
    {
        return;
    }

    __atomic_store_n(&sh->round_done, 0, __ATOMIC_RELEASE);

    if (floor_phase(sh) != FLOOR_PHASE_RUN) {
        __atomic_store_n(&sh->round_idle, 1, __ATOMIC_RELEASE);
        return;
    }

    for (i = 0; i < c->o->workers; i++) {
        if (write(sh->wake[i], &one, sizeof(one)) != sizeof(one)) {
            bench_note(&sh->error, "client %u: cannot wake server %u", c->id,
                       i);
        }
    }
}


static void
floor_load_latency(floor_client_t *c, uint64_t time)
{
    if (floor_get(c->sh->measuring)) {
        bench_hist_add(&c->st->latency, bench_now() - time);
    }
}


/* false: it is not for this device, or not the next one for it */

static int
floor_load_message(floor_client_t *c, floor_device_t *d,
    const unsigned char *p)
{
    uint32_t      expected;
    floor_mark_t  mark;

    memcpy(&mark, p, sizeof(floor_mark_t));

    expected = c->o->mode == FLOOR_SEND ? d->seen + 1 : d->index;

    if (mark.target != expected) {
        bench_note(&c->sh->error, "device %u got a message with the number %u "
                   "instead of %u", d->index, mark.target, expected);
        return 0;
    }

    d->seen++;
    floor_load_latency(c, mark.time);

    return 1;
}


/* n octets for a device in c->buf */

void
floor_load_data(floor_client_t *c, floor_device_t *d, size_t n)
{
    size_t    pos, part, size;
    uint32_t  done;

    static const char  acks[FLOOR_BUFFER];

    if (c->o->mode == FLOOR_ECHO) {
        d->pending = 0;
        floor_load_latency(c, d->time);
        floor_add(c->st->received, n / FLOOR_PING_SIZE);
        return;
    }

    size = FLOOR_HEAD_SIZE + c->o->size;
    done = 0;

    for (pos = 0; pos < n; pos += part) {
        part = n - pos < size - d->octets ? n - pos : size - d->octets;

        if (d->octets == 0 && part < sizeof(floor_mark_t)) {
            bench_note(&c->sh->error, "device %u: a message cut after %zu "
                       "octets", d->index, part);
            return;
        }

        if (d->octets == 0 && !floor_load_message(c, d, c->buf + pos)) {
            return;
        }

        d->octets += part;

        if (d->octets == size) {
            d->octets = 0;
            done++;
        }
    }

    if (done && (c->o->ack || c->o->mode == FLOOR_RELAY)
        && send(d->fd, acks, done * FLOOR_ACK_SIZE, MSG_NOSIGNAL)
           != (ssize_t) (done * FLOOR_ACK_SIZE))
    {
        floor_client_lost(c, -1);
        return;
    }

    floor_add(c->st->received, done);

    if (c->o->mode == FLOOR_SEND) {
        c->round_left -= done;

        if (c->round_left == 0) {
            floor_load_round(c);
        }
    }
}


void
floor_load_answer(floor_client_t *c, floor_publisher_t *p, size_t n)
{
    uint32_t  done;

    n += p->d.octets;
    done = n / c->o->answer_size;
    p->d.octets = n % c->o->answer_size;

    p->unanswered -= done;
    floor_add(c->st->answered, done);
}
