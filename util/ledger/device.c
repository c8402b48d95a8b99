
/*
 * Copyright (C) the ngx_push authors
 */


#include "ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>


#define GIVE_UP     5.0                /* on a handshake, a PINGRESP */
#define PING_EVERY  4.0

/* after a refused CONNECT, seconds: twice as long with each one more */

#define BACKOFF     0.1
#define BACKOFF_MAX 2.0


static void device_write(device_t *d);


static int  calm;


void
devices_init(void)
{
    uint32_t   i, users;
    device_t  *d;

    devices = calloc(options.devices, sizeof(device_t));

    /* a fifth of the users have two devices */

    users = options.devices * 5 / 6;
    users = users ? users : 1;

    for (i = 0; i < options.devices; i++) {
        d = &devices[i];

        d->fd = -1;
        d->old = -1;
        d->index = i;
        d->user = i % users;
        d->version = i & 1 ? 5 : 4;
        d->clean = (i % 7 == 3);
        d->will = (i * 37 % 100 < options.wills);
        d->due = 1e300;
        d->room = i % options.rooms;
        d->got = calloc(nmessages, 1);
        d->waived = calloc(nmessages, 1);
        d->order = calloc(nmessages, sizeof(uint32_t));
        d->in_size = 16384;
        d->in = malloc(d->in_size);

        if (options.groups && i % 3 == 0) {
            d->groups[d->ngroups++] = i % options.groups;

            if (i % 9 == 0 && options.groups > 1) {
                d->groups[d->ngroups++] = (i + 1) % options.groups;
            }
        }
    }
}


void
devices_start(uint32_t first, uint32_t end)
{
    uint32_t  i;

    /* some 1000 a second */

    for (i = first; i < end; i++) {
        devices[i].due = now + (i - first) * 0.001;
    }
}


uint32_t
devices_known(void)
{
    uint32_t  i, n;

    for (i = 0, n = 0; i < options.devices; i++) {
        n += devices[i].known != 0;
    }

    return n;
}


uint32_t
devices_bound(void)
{
    uint32_t  i, n;

    for (i = 0, n = 0; i < options.devices; i++) {
        n += devices[i].state == BOUND;
    }

    return n;
}


/* Until it comes back: after a refusal as clients should. */

static double
device_pause(device_t *d)
{
    double    most;
    uint32_t  i;

    if (d->turned == 0) {
        return random_time(0.02, 0.3);
    }

    most = BACKOFF;

    for (i = 1; i < d->turned && most < BACKOFF_MAX; i++) {
        most *= 2;
    }

    most = most < BACKOFF_MAX ? most : BACKOFF_MAX;

    return random_time(most / 2, most);
}


/* Cut off, by whomever; comes back by itself. */

static void
device_away(device_t *d)
{
    if (d->fd != -1) {
        close(d->fd);
        d->fd = -1;
    }

    if (d->old != -1) {
        close(d->old);
        d->old = -1;
    }

    d->state = AWAY;
    d->cut = now;
    d->due = now + device_pause(d);
    d->in_len = 0;
    d->out_len = 0;
    d->want_out = 0;
}


void
devices_calm(void)
{
    uint32_t  i;

    calm = 1;

    for (i = 0; i < options.devices; i++) {
        if (devices[i].dropped && devices[i].state != AWAY) {
            device_away(&devices[i]);
        }
    }
}


/* Where it goes next: "percent" of the times to another room. */

static void
device_room(device_t *d, uint32_t percent)
{
    if (options.rooms > 1 && random_below(100) < percent) {
        d->room = (d->room + 1 + random_below(options.rooms - 1))
                  % options.rooms;
        counters.moves++;
    }
}


static void
device_come(device_t *d)
{
    d->fd = net_connect(options.mqtt[d->room]);
    d->due = now + (d->fd == -1 ? random_time(0.05, 0.3) : GIVE_UP);

    if (d->fd == -1) {
        return;
    }

    d->state = CONNECTING;
    d->pong = 0;
    d->in_len = 0;
    d->out_len = 0;
    d->want_out = 1;
    d->connects++;

    watch(d->fd, d->index, EPOLLIN|EPOLLOUT, EPOLL_CTL_ADD);
}


/*
 * Leaves by itself: politely, by closing the socket, or by coming a second
 * time while the first connection is still there.
 */

static void
device_churn(device_t *d)
{
    uint8_t  buf[4];

    d->churn = now + random_time(0, 2 * options.churn);
    device_room(d, options.roam);

    switch (random_below(3)) {

    case 0:
        buf[0] = 0xe0;
        buf[1] = 0;
        (void) !send(d->fd, buf, 2, MSG_NOSIGNAL|MSG_DONTWAIT);
        device_away(d);
        break;

    case 1:
        device_away(d);
        break;

    default:
        if (d->old == -1) {
            watch(d->fd, d->index, 0, EPOLL_CTL_DEL);
            d->old = d->fd;
            counters.takeovers++;
            device_come(d);

            if (d->fd == -1) {
                device_away(d);
            }
        }
    }
}


/* As clients do: who was let down once tries the next address sooner. */

static void
device_cut(device_t *d)
{
    counters.cuts++;
    device_room(d, d->state == BOUND ? options.roam : 50);
    device_away(d);
}


static void
device_out(device_t *d, size_t n)
{
    d->out_len += n;
}


static void
device_write(device_t *d)
{
    ssize_t  n;

    while (d->out_len) {
        n = send(d->fd, d->out, d->out_len, MSG_NOSIGNAL|MSG_DONTWAIT);

        if (n <= 0) {

            if (n == -1 && errno == EAGAIN) {
                break;
            }

            device_cut(d);
            return;
        }

        d->out_len -= n;
        memmove(d->out, d->out + n, d->out_len);
    }

    if (d->want_out != (d->out_len != 0)) {
        d->want_out = d->out_len != 0;
        watch(d->fd, d->index, EPOLLIN | (d->want_out ? EPOLLOUT : 0),
              EPOLL_CTL_MOD);
    }
}


static int
device_turned(device_t *d)
{
    counters.refused++;
    d->turned++;

    return -1;
}


static int
device_connack(device_t *d, const uint8_t *p, size_t len)
{
    if (len < 2 || p[1] != 0) {
        return device_turned(d);
    }

    counters.resumed += p[0] & 1;

    if (d->clean && (p[0] & 1)) {
        counters.strange++;
        complain("device %u: a session after a clean start", d->index);
    }

    if (d->old != -1) {
        close(d->old);
        d->old = -1;
    }

    d->state = BINDING;
    device_out(d, mqtt_subscribe(d->out + d->out_len, d));

    return 0;
}


static int
device_suback(device_t *d, const uint8_t *p, size_t len)
{
    size_t  i, at;

    at = d->version == 5 ? 3 : 2;

    if (len != at + 1 + d->ngroups) {
        return device_turned(d);
    }

    for (i = at; i < len; i++) {
        if (p[i] != 1) {
            return device_turned(d);
        }
    }

    d->state = BOUND;
    d->ping = now + random_time(0, PING_EVERY);
    d->churn = now + random_time(0, 2 * options.churn);
    d->due = 1e300;
    d->since = now;
    d->turned = 0;

    if (d->known == 0) {
        d->known = now;
    }

    return 0;
}


static int
device_message(device_t *d, uint8_t flags, const uint8_t *p, size_t len)
{
    publish_t  m;

    if (mqtt_publish(d->version, flags, p, len, &m) != 0) {
        counters.strange++;
        complain("device %u: a broken PUBLISH", d->index);
        return -1;
    }

    judge_delivery(d, &m);

    if (m.qos == 0) {
        return 0;
    }

    if (!calm && options.drop_acks && random_below(100) < options.drop_acks) {
        d->dropped++;
        return 0;
    }

    device_out(d, mqtt_puback(d->out + d->out_len, m.pid));

    return 0;
}


static int
device_packet(device_t *d, uint8_t first, const uint8_t *p, size_t len)
{
    switch (first >> 4) {

    case 2:
        return d->state == GREETING ? device_connack(d, p, len) : -1;

    case 9:
        return d->state == BINDING ? device_suback(d, p, len) : -1;

    case 3:
        return device_message(d, first & 15, p, len);

    case 13:
        d->pong = 0;
        return 0;

    case 14:
        return -1;
    }

    counters.strange++;
    complain("device %u: packet type %u", d->index, first >> 4);

    return -1;
}


static void
device_read(device_t *d)
{
    int       rc;
    size_t    head, body, at;
    ssize_t   n;

    n = recv(d->fd, d->in + d->in_len, d->in_size - d->in_len, MSG_DONTWAIT);

    if (n <= 0) {

        if (n == 0 || errno != EAGAIN) {
            device_cut(d);
        }

        return;
    }

    d->in_len += n;

    for (at = 0; at < d->in_len; at += head + body) {
        rc = mqtt_frame(d->in + at, d->in_len - at, &head, &body);

        if (rc == 0) {
            break;
        }

        if (d->out_len > sizeof(d->out) - 512) {
            device_write(d);

            if (d->state == AWAY) {
                return;
            }

            if (d->out_len > sizeof(d->out) - 512) {
                break;
            }
        }

        if (rc < 0
            || device_packet(d, d->in[at], d->in + at + head, body) != 0)
        {
            device_cut(d);
            return;
        }
    }

    d->in_len -= at;
    memmove(d->in, d->in + at, d->in_len);

    device_write(d);
}


void
devices_event(uint32_t index, uint32_t events)
{
    int        err;
    device_t  *d;
    socklen_t  len;

    d = &devices[index];

    if (d->state == AWAY) {
        return;
    }

    if (d->state == CONNECTING) {
        len = sizeof(err);
        err = 0;
        (void) getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &len);

        if (err) {
            device_room(d, 50);
            device_away(d);
            return;
        }

        if (!(events & EPOLLOUT)) {
            return;
        }

        d->state = GREETING;
        device_out(d, mqtt_connect(d->out, d));
        device_write(d);

        return;
    }

    if (events & (EPOLLIN|EPOLLHUP|EPOLLERR)) {
        device_read(d);
    }

    if (d->state != AWAY && (events & EPOLLOUT)) {
        device_write(d);
    }
}


static void
device_bound_tick(device_t *d)
{
    if (!calm && options.churn > 0 && now >= d->churn) {
        device_churn(d);
        return;
    }

    if (d->pong && now >= d->pong) {
        counters.stale++;
        device_room(d, 50);
        device_away(d);
        return;
    }

    if (now >= d->ping && d->out_len < sizeof(d->out) - 512) {
        d->ping = now + PING_EVERY;

        if (d->pong == 0) {
            d->pong = now + GIVE_UP;
        }

        device_out(d, mqtt_simple(d->out + d->out_len, 0xc0));
        device_write(d);
    }
}


void
devices_tick(void)
{
    uint32_t   i;
    device_t  *d;

    for (i = 0; i < options.devices; i++) {
        d = &devices[i];

        if (d->state == BOUND) {
            device_bound_tick(d);
            continue;
        }

        if (now < d->due) {
            continue;
        }

        if (d->state == AWAY) {
            device_come(d);

        } else {
            counters.stale++;
            device_room(d, 50);
            device_away(d);
        }
    }
}
