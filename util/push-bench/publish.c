
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * What is published when.  All messages of a log go through one connection,
 * so that the order in which they were issued is the order in which the server
 * gets them.
 */


#include "bench.h"


#define BENCH_RETRY   100000000  /* ns */
#define BENCH_FAR     1000000000
#define BENCH_BURST   2000       /* messages between two looks at the sockets */
#define BENCH_UNSENT  262144     /* QoS 0: bytes that may wait in a buffer */


static int64_t bench_publish_pending(bench_worker_t *w);


static const bench_role_t *
bench_publish_role(const bench_opts_t *o)
{
    return o->publish == BENCH_PUB_HTTP ? &bench_http_role
                                        : &bench_mqttpub_role;
}


/* a user or device of the log, for templates */

void
bench_publish_message(const bench_opts_t *o, uint32_t log, uint32_t *user,
    uint32_t *device)
{
    *user = 0;
    *device = 0;

    if (o->mode == BENCH_GROUP) {
        *user = log / o->per_user;
        *device = log % o->per_user;

    } else if (!bench_is_common(o, log)) {
        *user = log;
    }
}


static void
bench_publish_open(bench_worker_t *w, bench_pub_t *pub)
{
    int            rc;
    bench_opts_t  *o;

    o = w->o;

    if (o->publish == BENCH_PUB_HTTP) {
        rc = bench_net_open(w, &pub->c, &o->http_addr, o->http_addrlen, 0, 0);

    } else {
        rc = bench_net_open(w, &pub->c, &o->addr, o->addrlen, 0, o->tls);
    }

    if (rc != BENCH_OK) {
        bench_publish_closed(w, pub, strerror(errno));
    }
}


void
bench_publish_init(bench_worker_t *w)
{
    int            common;
    uint32_t       i;
    bench_pub_t   *pub;
    bench_opts_t  *o;

    o = w->o;

    if (o->publish == BENCH_PUB_NONE || w->ndev == 0) {
        return;
    }

    common = o->mode == BENCH_BROADCAST || o->mode == BENCH_GROUP;
    bench_publish_plan(w, common, o->rate, o->messages, o->outstanding);

    if (o->mode == BENCH_STAGES) {
        w->publishing = 0;

    } else if (!w->publishing) {
        return;
    }

    w->npub = o->publishers < w->nlogs ? o->publishers : w->nlogs;
    w->pub = calloc(w->npub, sizeof(bench_pub_t));

    for (i = 0; w->pub && i < w->npub; i++) {
        pub = &w->pub[i];
        pub->c.role = bench_publish_role(o);
        pub->c.fd = -1;
        pub->index = w->id * o->publishers + i;
        pub->window = o->pipeline;
        pub->ring = calloc(o->pipeline, sizeof(bench_request_t));

        if (pub->ring == NULL) {
            break;
        }

        bench_publish_open(w, pub);
    }

    if (i < w->npub) {
        bench_note(&w->sh->error, "out of memory");
    }
}


/*
 * Its part in what is published from now on.  "common": to logs of which
 * devices of all workers are members, by worker 0 alone.
 */

void
bench_publish_plan(bench_worker_t *w, int common, double rate,
    uint64_t messages, uint32_t outstanding)
{
    uint32_t       n;
    bench_opts_t  *o;

    o = w->o;
    n = common ? 1 : o->processes;

    w->common = common;
    w->publishing = !common || w->id == 0;

    if (!common) {
        w->first_log = w->first / o->per_user;
        w->nlogs = w->ndev / o->per_user;

    } else if (o->mode == BENCH_STAGES) {
        w->first_log = w->sh->nlogs - 1;
        w->nlogs = 1;

    } else {
        w->first_log = 0;
        w->nlogs = w->sh->nlogs;
    }

    w->share = messages / n + (w->id < messages % n);
    w->limited = messages != 0;
    w->rate = rate / n;
    w->outstanding = (outstanding + n - 1) / n;
    w->issued = 0;
    w->cursor = 0;

    w->base = 0;
    w->base = bench_publish_pending(w);
}


int
bench_publish_unanswered(bench_worker_t *w)
{
    uint32_t  i;

    for (i = 0; i < w->npub; i++) {
        if (w->pub[i].head != w->pub[i].tail) {
            return 1;
        }
    }

    return 0;
}


/* the answer to the oldest unanswered message of the connection */

void
bench_publish_result(bench_worker_t *w, bench_pub_t *pub, int counter)
{
    bench_log_t      *log;
    bench_request_t  *r;

    r = &pub->ring[pub->head++ % w->o->pipeline];
    log = &w->sh->logs[r->log];

    bench_count(w, counter, 1);

    if (counter == BENCH_C_ACCEPTED) {
        log->accepted++;

        if (w->sh->measuring) {
            bench_hist_add(&w->st->hist[BENCH_H_ACCEPT],
                           bench_now() - r->time);
        }

        return;
    }

    if (counter == BENCH_C_UNKNOWN) {
        log->unknown++;
    }

    bench_count(w, BENCH_C_WITHDRAWN, log->members);
}


/*
 * A server that announced the end of the connection has not looked at what
 * came after: that is sent again.  After any other end nobody knows.
 */

void
bench_publish_closed(bench_worker_t *w, bench_pub_t *pub, const char *why)
{
    int            ready;
    bench_opts_t  *o;

    o = w->o;
    ready = pub->ready;
    pub->ready = 0;

    if (!pub->closing) {
        if (bench_phase(w) == BENCH_PHASE_CONNECT && !ready) {
            bench_note(&w->sh->error, "publisher %u: %s:%d: %s", pub->index,
                       o->publish == BENCH_PUB_HTTP ? o->http_host : o->host,
                       o->publish == BENCH_PUB_HTTP ? o->http_port : o->port,
                       why);

        } else if (bench_phase(w) < BENCH_PHASE_CHECK
                   && pub->head != pub->tail)
        {
            bench_note(&w->sh->refusal, "publisher %u: %s", pub->index, why);
        }

        while (pub->head != pub->tail) {
            bench_publish_result(w, pub, BENCH_C_UNKNOWN);
        }

        pub->retry_at = bench_now() + BENCH_RETRY;
    }

    pub->closing = 0;
}


static void
bench_publish_reopen(bench_worker_t *w)
{
    uint32_t      i;
    bench_pub_t  *pub;

    for (i = 0; i < w->npub; i++) {
        pub = &w->pub[i];

        if (pub->c.net == BENCH_NET_CLOSED && pub->retry_at <= w->now) {
            bench_count(w, BENCH_C_PUB_RECONNECTS, 1);
            bench_publish_open(w, pub);
        }
    }
}


/* deliveries of what was published by this plan, still to come */

static int64_t
bench_publish_pending(bench_worker_t *w)
{
    int64_t   n;
    uint32_t  i;

    n = w->st->c[BENCH_C_EXPECTED] - w->st->c[BENCH_C_WITHDRAWN] - w->base;

    if (!w->common) {
        return n - w->st->c[BENCH_C_DELIVERED];
    }

    for (i = 0; i < w->o->processes; i++) {
        n -= __atomic_load_n(&w->sh->st[i].c[BENCH_C_DELIVERED],
                             __ATOMIC_RELAXED);
    }

    return n;
}


static int
bench_publish_one(bench_worker_t *w, uint32_t target, uint64_t time)
{
    int               qos0;
    bench_log_t      *log;
    bench_pub_t      *pub;
    bench_request_t  *r, one;

    pub = &w->pub[target % w->npub];
    qos0 = w->o->publish == BENCH_PUB_MQTT && w->o->publish_qos == 0;

    if (!pub->ready || pub->closing
        || pub->tail - pub->head >= pub->window
        || (qos0 && pub->c.out_len - pub->c.out_pos > BENCH_UNSENT))
    {
        return BENCH_AGAIN;
    }

    log = &w->sh->logs[w->first_log + target];

    r = qos0 ? &one : &pub->ring[pub->tail++ % w->o->pipeline];
    r->log = w->first_log + target;
    r->seq = ++log->seq;
    r->time = time;

    w->issued++;
    bench_count(w, BENCH_C_ISSUED, 1);
    bench_count(w, BENCH_C_EXPECTED, log->members);

    if (w->o->publish == BENCH_PUB_HTTP) {
        bench_http_write(w, pub, r);

    } else {
        bench_mqttpub_write(w, pub, r);
    }

    if (qos0) {
        log->accepted++;
        bench_count(w, BENCH_C_ACCEPTED, 1);
    }

    return BENCH_OK;
}


/*
 * Open loop: the time of a message is when it was due, however late it leaves,
 * so that a server which stalls cannot hide behind a generator that waits.
 */

uint64_t
bench_publish_tick(bench_worker_t *w)
{
    int64_t   room;
    uint32_t  n, members;
    uint64_t  time;

    if (w->pub == NULL || bench_phase(w) > BENCH_PHASE_DRAIN) {
        return BENCH_FAR;
    }

    bench_publish_reopen(w);

    if (bench_phase(w) != BENCH_PHASE_RUN) {
        return BENCH_FAR;
    }

    bench_stage_look(w);

    if (!w->publishing) {
        return BENCH_FAR;
    }

    members = w->sh->logs[w->first_log].members;
    room = (int64_t) w->outstanding * members - bench_publish_pending(w);
    time = bench_now();

    for (n = 0; n < BENCH_BURST; n++) {

        if (w->limited && w->issued == w->share) {
            return BENCH_FAR;
        }

        if (w->rate > 0) {
            time = w->sh->run_start + w->issued / w->rate * 1e9;

            if (time > w->now) {
                return time - w->now;
            }

        } else if (room < (int64_t) members) {
            return BENCH_FAR;
        }

        if (bench_publish_one(w, w->cursor, time) != BENCH_OK) {
            return BENCH_FAR;
        }

        room -= members;

        if (w->o->random) {
            w->random = w->random * 6364136223846793005ull
                        + 1442695040888963407ull;
            w->cursor = (w->random >> 33) % w->nlogs;

        } else {
            w->cursor = (w->cursor + 1) % w->nlogs;
        }
    }

    return 0;
}


/* one write for all that a tick has issued on a connection */

void
bench_publish_flush(bench_worker_t *w)
{
    uint32_t      i;
    bench_pub_t  *pub;

    static const char  ping[2] = { (char) 0xc0, 0 };

    for (i = 0; i < w->npub; i++) {
        pub = &w->pub[i];

        if (w->o->publish == BENCH_PUB_MQTT && pub->ready && w->o->keepalive
            && w->now - pub->pinged > w->o->keepalive * 500000000ull)
        {
            pub->pinged = w->now;
            memcpy(bench_net_reserve(&pub->c, 2), ping, 2);
            pub->c.out_len += 2;
        }

        if (pub->ready && !pub->c.blocked && pub->c.out_pos < pub->c.out_len) {
            (void) bench_net_flush(w, &pub->c);
        }
    }
}


void
bench_publish_finish(bench_worker_t *w)
{
    uint32_t  i;

    for (i = 0; i < w->npub; i++) {
        bench_net_close(w, &w->pub[i].c, "end of the run");
    }
}
