
/*
 * Copyright (C) the ngx_push authors
 */


#include "floor.h"


/*
 * Sends a message, or hands it to the server that has the device.  It lies in
 * front of its payload where the end of the request's head was: no copy.
 */

static void
floor_relay_message(floor_server_t *s, unsigned char *request)
{
    size_t          n;
    uint32_t        owner;
    floor_mark_t    mark;
    unsigned char  *p;

    memcpy(&mark, request, sizeof(floor_mark_t));

    p = request + s->o->request_head - FLOOR_HEAD_SIZE;
    n = FLOOR_HEAD_SIZE + s->o->size;
    memcpy(p, &mark, sizeof(floor_mark_t));

    owner = mark.target % s->o->workers;

    if (owner == s->id) {
        if (floor_server_send(s, s->devices[mark.target / s->o->workers], p,
                              n)
            == BENCH_OK)
        {
            floor_add(s->st->sent, 1);
        }

        return;
    }

    if (floor_ring_post(&s->sh->ring[owner], p, n) != BENCH_OK) {
        bench_note(&s->sh->error, "server %u: the ring of server %u is full",
                   s->id, owner);
        return;
    }

    s->wakes[owner] = 1;
    s->posted++;
}


/* all requests that one read has brought, then their answers in one write */

void
floor_relay_publisher(floor_server_t *s, floor_peer_t *p)
{
    size_t    size, pos;
    ssize_t   n;
    uint32_t  requests;

    size = s->o->request_head + s->o->size;

    do {
        n = recv(p->fd, p->in + p->in_len, FLOOR_BUFFER - p->in_len, 0);

        if (n <= 0) {
            if (n == 0 || errno != EAGAIN) {
                floor_server_lost(s, n);
            }

            return;
        }

        n += p->in_len;
        requests = 0;

        for (pos = 0; n - pos >= size; pos += size) {
            floor_relay_message(s, p->in + pos);
            requests++;
        }

        p->in_len = n - pos;
        memmove(p->in, p->in + pos, p->in_len);

        if (requests
            && floor_server_send(s, p->fd, s->answers,
                                 requests * s->o->answer_size) != BENCH_OK)
        {
            return;
        }
    } while (n == FLOOR_BUFFER);
}


/* what other servers' publishers have for the devices of this one */

void
floor_relay_ring(floor_server_t *s)
{
    floor_mark_t  *mark;
    floor_ring_t  *ring;

    ring = &s->sh->ring[s->id];

    while ((mark = floor_ring_next(ring)) != NULL) {

        if (floor_server_send(s, s->devices[mark->target / s->o->workers],
                              mark, FLOOR_HEAD_SIZE + s->o->size)
            != BENCH_OK)
        {
            return;
        }

        floor_add(s->st->sent, 1);
        floor_ring_free(ring);
    }
}


/* once for each server that got messages in this turn of the loop */

void
floor_relay_wake(floor_server_t *s)
{
    uint32_t  i;
    uint64_t  one;

    one = 1;
    s->posted = 0;

    for (i = 0; i < s->o->workers; i++) {

        if (!s->wakes[i]) {
            continue;
        }

        s->wakes[i] = 0;

        if (floor_ring_rouse(&s->sh->ring[i])
            && write(s->sh->wake[i], &one, sizeof(one)) != sizeof(one))
        {
            bench_note(&s->sh->error, "server %u: cannot wake server %u",
                       s->id, i);
        }
    }
}
