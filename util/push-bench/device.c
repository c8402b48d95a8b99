
/*
 * Copyright (C) the ngx_push authors
 */


#include "bench.h"


#define BENCH_RETRY          100000000   /* ns */
#define BENCH_FAR            1000000000
#define BENCH_SESSION_LIFE   3600        /* seconds, over a drop */
#define BENCH_ACKS           8192


static void bench_device_opened(bench_worker_t *w, bench_conn_t *c);
static ssize_t bench_device_data(bench_worker_t *w, bench_conn_t *c,
    unsigned char *p, size_t len);
static void bench_device_closed(bench_worker_t *w, bench_conn_t *c,
    const char *why);


static const bench_role_t  bench_device_roles[] = {
    [BENCH_SUB_MQTT] = {
        bench_device_opened,
        bench_device_data,
        bench_device_closed
    },
    [BENCH_SUB_WEBSOCKET] = {
        bench_websocket_opened,
        bench_websocket_data,
        bench_device_closed
    },
    [BENCH_SUB_TRANSPORT] = {
        bench_transport_opened,
        bench_transport_data,
        bench_device_closed
    }
};


void
bench_devices_init(bench_worker_t *w)
{
    uint32_t         i;
    bench_opts_t    *o;
    bench_device_t  *d;

    o = w->o;

    for (i = 0; i < w->ndev; i++) {
        d = &w->dev[i];
        d->c.role = &bench_device_roles[o->subscriber];
        d->c.fd = -1;
        d->index = w->first + i;
        d->track[0].next = 1;
        d->track[1].next = 1;
        d->track[1].log = BENCH_NO_LOG;

        switch (o->mode) {
        case BENCH_BROADCAST:
            d->track[0].log = 0;
            break;
        case BENCH_GROUP:
            d->track[0].log = d->index % o->groups;
            break;
        default:
            d->track[0].log = d->index / o->per_user;
        }

        if (o->mode == BENCH_STAGES) {
            d->track[1].log = w->sh->nlogs - 1;
        }
    }

    w->keepalive = o->subscriber == BENCH_SUB_MQTT ? o->keepalive : 0;
    w->ping_at = w->now;
}


static void
bench_device_reconnect(bench_worker_t *w, bench_device_t *d, uint64_t delay)
{
    uint32_t  i;

    i = w->again_tail++ % w->ndev;
    w->again[i] = d - w->dev;
    w->again_at[i] = w->now + delay;
}


static void
bench_device_start(bench_worker_t *w, bench_device_t *d)
{
    int            source;
    bench_opts_t  *o;

    o = w->o;
    source = o->sources ? 1 + (int) (d->index % o->sources) : 0;

    bench_count(w, BENCH_C_STARTED, 1);

    if (bench_net_open(w, &d->c, &o->addr, o->addrlen, source, o->tls)
        != BENCH_OK)
    {
        bench_count(w, BENCH_C_FAILED, 1);

        if (bench_phase(w) == BENCH_PHASE_CONNECT || !o->reconnect) {
            bench_note(&w->sh->error, "device %u: %s:%d: %s%s", d->index,
                       o->host, o->port, strerror(errno),
                       errno == EADDRNOTAVAIL ? " (more --sources?)" : "");
            return;
        }

        bench_device_reconnect(w, d, BENCH_RETRY);
        return;
    }

    d->state = BENCH_DEV_CONNECT;
    w->opening++;
}


static uint64_t
bench_devices_connect(bench_worker_t *w)
{
    double     rate;
    uint32_t   i;
    uint64_t   allowed;

    while (w->again_head != w->again_tail
           && w->opening < w->o->handshakes)
    {
        i = w->again_head % w->ndev;

        if (w->again_at[i] > w->now) {
            break;
        }

        w->again_head++;
        bench_device_start(w, &w->dev[w->again[i]]);
    }

    if (w->next_dev == w->ndev) {
        return w->again_head == w->again_tail ? BENCH_FAR : 1000000;
    }

    rate = w->o->connect_rate / w->o->processes;
    allowed = rate > 0 ? (w->now - w->begun) / 1e9 * rate + 1 : w->ndev;

    while (w->next_dev < w->ndev && w->next_dev < allowed
           && w->opening < w->o->handshakes)
    {
        bench_device_start(w, &w->dev[w->next_dev++]);
    }

    return rate > 0 ? 1000000 : BENCH_FAR;
}


/* drops devices in random order, as a lost network does: no DISCONNECT */

static uint64_t
bench_devices_storm(bench_worker_t *w)
{
    uint64_t         due;
    bench_device_t  *d;

    if (w->o->mode != BENCH_STORM || bench_phase(w) != BENCH_PHASE_RUN) {
        return BENCH_FAR;
    }

    due = (w->now - w->sh->run_start) / 1e9 * w->o->storm / 100 * w->ndev;

    while (w->storm_done < due) {
        w->storm_done++;

        w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
        d = &w->dev[(w->random >> 33) % w->ndev];

        if (d->state == BENCH_DEV_READY) {
            d->leaving = 1;
            bench_net_close(w, &d->c, "dropped");
        }
    }

    return 1000000;
}


/* every device once in half a keepalive, or at the stage's rate; evenly */

static uint64_t
bench_devices_ping(bench_worker_t *w)
{
    uint64_t         step, young, n;
    bench_device_t  *d;

    static const char  ping[2] = { (char) 0xc0, 0 };

    if ((w->keepalive == 0 && w->ping_step == 0) || w->ndev == 0) {
        return BENCH_FAR;
    }

    step = w->ping_step;
    young = 0;

    if (step == 0) {
        step = (uint64_t) w->keepalive * 500000000 / w->ndev;
        young = (uint64_t) w->keepalive * 250000000;
    }

    for (n = 0; w->ping_at + step <= w->now && n < 1000; n++) {
        w->ping_at += step;
        d = &w->dev[w->ping_dev++ % w->ndev];

        if (d->state == BENCH_DEV_READY && w->now - d->c.started > young) {
            bench_count(w, BENCH_C_PINGS, 1);
            (void) bench_net_send(w, &d->c, ping, 2);
        }
    }

    return BENCH_FAR;
}


/* returns for how many ns the worker may sleep */

uint64_t
bench_devices_tick(bench_worker_t *w)
{
    uint64_t  a, b;

    a = bench_devices_connect(w);
    b = bench_devices_storm(w);
    (void) bench_devices_ping(w);

    return a < b ? a : b;
}


static void
bench_device_opened(bench_worker_t *w, bench_conn_t *c)
{
    char            id[512], user[512], pass[2048], buf[5120], *u, *p;
    uint32_t        number, device;
    bench_opts_t   *o;
    bench_device_t *d;

    o = w->o;
    d = (bench_device_t *) c;
    number = d->index / o->per_user;
    device = d->index % o->per_user;

    bench_expand(o, id, sizeof(id), o->client_id, number, device);

    u = NULL;
    p = NULL;

    if (o->username[0]) {
        bench_expand(o, user, sizeof(user), o->username, number, device);
        u = user;
    }

    if (o->jwt_key) {
        bench_make_token(o, pass, sizeof(pass), number);
        p = pass;

    } else if (o->password) {
        bench_expand(o, pass, sizeof(pass), o->password, number, device);
        p = pass;
    }

    (void) bench_net_send(w, c, buf,
                          bench_mqtt_connect(buf, o, id, u, p, !o->persistent,
                                             o->persistent ? BENCH_SESSION_LIFE
                                                           : 0));
}


static int
bench_device_connack(bench_worker_t *w, bench_device_t *d,
    const unsigned char *p, size_t len)
{
    int            i, code;
    char           topics[BENCH_MAX_TOPICS][512], text[120];
    char           buf[BENCH_MAX_TOPICS * 520 + 16];
    uint32_t       keepalive, receive_max;
    bench_opts_t  *o;

    o = w->o;
    keepalive = w->keepalive;

    code = bench_mqtt_connack(o, p, len, &keepalive, &receive_max);

    if (code != 0 || d->state != BENCH_DEV_CONNECT) {
        snprintf(text, sizeof(text), "CONNECT refused: 0x%02x, %s",
                 (unsigned) code & 0xff, bench_mqtt_reason(o->level, code));
        bench_net_close(w, &d->c, text);
        return BENCH_ERROR;
    }

    /* the server's choice; the smallest one serves all devices */

    if (keepalive && (w->keepalive == 0 || keepalive < w->keepalive)) {
        w->keepalive = keepalive;
    }

    for (i = 0; i < o->ntopics; i++) {
        bench_expand(o, topics[i], sizeof(topics[i]), o->topics[i],
                     d->index / o->per_user, d->index % o->per_user);
    }

    d->state = BENCH_DEV_SUBSCRIBE;

    return bench_net_send(w, &d->c, buf,
                          bench_mqtt_subscribe(buf, o, topics, o->ntopics));
}


static int
bench_device_suback(bench_worker_t *w, bench_device_t *d,
    const unsigned char *p, size_t len)
{
    char    text[120];
    size_t  n;

    n = len > 2 && w->o->level == 5 ? 3 + (size_t) p[2] : 2;

    if (n >= len || d->state != BENCH_DEV_SUBSCRIBE) {
        bench_net_close(w, &d->c, "malformed or unexpected SUBACK");
        return BENCH_ERROR;
    }

    for ( /* void */ ; n < len; n++) {
        if (p[n] >= 0x80) {
            snprintf(text, sizeof(text), "SUBSCRIBE refused: 0x%02x, %s", p[n],
                     bench_mqtt_reason(w->o->level, p[n]));
            bench_net_close(w, &d->c, text);
            return BENCH_ERROR;
        }
    }

    bench_device_ready(w, d);

    return BENCH_OK;
}


/* it gets from now on what is published to it */

void
bench_device_ready(bench_worker_t *w, bench_device_t *d)
{
    d->state = BENCH_DEV_READY;
    w->opening--;

    bench_count(w, BENCH_C_READY, 1);
    bench_hist_add(&w->st->hist[BENCH_H_CONNECT],
                   bench_now() - d->c.started);
}


/*
 * Checks one PUBLISH; returns how many bytes of acknowledgement it wrote, or
 * BENCH_ERROR if the packet is malformed.
 */

static int
bench_device_publish(bench_worker_t *w, bench_device_t *d, int flags,
    const unsigned char *p, size_t len, char *ack)
{
    int                   n, qos;
    size_t                props, shift;
    const unsigned char  *end;

    end = p + len;
    qos = (flags >> 1) & 3;

    if (len < 2 || (size_t) (p[0] << 8 | p[1]) + 2 > len || qos > 1) {
        return BENCH_ERROR;
    }

    p += 2 + (p[0] << 8 | p[1]);
    n = 0;

    if (qos) {
        if (end - p < 2) {
            return BENCH_ERROR;
        }

        ack[0] = 0x40;
        ack[1] = 2;
        ack[2] = (char) p[0];
        ack[3] = (char) p[1];
        p += 2;
        n = 4;

        bench_count(w, BENCH_C_QOS1, 1);
    }

    if (w->o->level == 5) {
        props = 0;
        shift = 0;

        do {
            if (p == end || shift > 21) {
                return BENCH_ERROR;
            }

            props |= (size_t) (*p & 0x7f) << shift;
            shift += 7;
        } while (*p++ & 0x80);

        if (props > (size_t) (end - p)) {
            return BENCH_ERROR;
        }

        p += props;
    }

    bench_check(w, d, p, end - p, flags & 0x08);

    return n;
}


static int
bench_device_packet(bench_worker_t *w, bench_device_t *d, int type,
    unsigned char *p, size_t len)
{
    char  text[120];

    switch (type >> 4) {

    case 2:
        return bench_device_connack(w, d, p, len);

    case 9:
        return bench_device_suback(w, d, p, len);

    case 13:
        return BENCH_OK;

    case 14:
        snprintf(text, sizeof(text), "DISCONNECT from the server: 0x%02x, %s",
                 len ? p[0] : 0,
                 bench_mqtt_reason(w->o->level, len ? p[0] : 0));
        bench_net_close(w, &d->c, text);
        return BENCH_ERROR;

    default:
        snprintf(text, sizeof(text), "unexpected packet type 0x%02x", type);
        bench_net_close(w, &d->c, text);
        return BENCH_ERROR;
    }
}


/* all acknowledgements of one read leave in one write */

static ssize_t
bench_device_data(bench_worker_t *w, bench_conn_t *c, unsigned char *p,
    size_t len)
{
    int              rc, used;
    char             acks[BENCH_ACKS];
    size_t           pos, n, nacks;
    unsigned char   *body;
    bench_device_t  *d;

    d = (bench_device_t *) c;
    nacks = 0;

    for (pos = 0; pos < len; pos += used) {

        used = bench_mqtt_next(p + pos, len - pos, &body, &n);

        if (used == 0) {
            break;
        }

        if (used < 0) {
            bench_net_close(w, c, "malformed packet length");
            return BENCH_ERROR;
        }

        if (p[pos] >> 4 == 3) {
            rc = bench_device_publish(w, d, p[pos], body, n, acks + nacks);

            if (rc < 0) {
                bench_net_close(w, c, "malformed PUBLISH");
                return BENCH_ERROR;
            }

            nacks += rc;

            if (nacks + 4 > sizeof(acks)) {
                if (bench_net_send(w, c, acks, nacks) != BENCH_OK) {
                    return BENCH_ERROR;
                }

                nacks = 0;
            }

            continue;
        }

        if (bench_device_packet(w, d, p[pos], body, n) != BENCH_OK) {
            return BENCH_ERROR;
        }
    }

    if (nacks && bench_net_send(w, c, acks, nacks) != BENCH_OK) {
        return BENCH_ERROR;
    }

    return pos;
}


static void
bench_device_closed(bench_worker_t *w, bench_conn_t *c, const char *why)
{
    int              state;
    uint64_t         delay;
    bench_opts_t    *o;
    bench_device_t  *d;

    o = w->o;
    d = (bench_device_t *) c;
    state = d->state;
    d->state = BENCH_DEV_OFF;

    delay = BENCH_RETRY;

    if (state == BENCH_DEV_READY) {
        bench_count(w, BENCH_C_UNREADY, 1);

        if (d->leaving) {
            bench_count(w, BENCH_C_DROPPED, 1);
            delay = o->storm_delay * 1e9;

        } else if (bench_phase(w) < BENCH_PHASE_CHECK) {
            bench_count(w, BENCH_C_LOST, 1);
            bench_note(&w->sh->loss, "device %u: %s", d->index, why);
        }

    } else {
        w->opening--;
        bench_count(w, BENCH_C_FAILED, 1);

        if (bench_phase(w) == BENCH_PHASE_CONNECT) {
            bench_note(&w->sh->error, "device %u: %s:%d: %s", d->index,
                       o->host, o->port, why);
        }
    }

    d->leaving = 0;

    if (o->reconnect && bench_phase(w) <= BENCH_PHASE_DRAIN) {
        bench_device_reconnect(w, d, delay);
    }
}


/* compares with the logs and says goodbye */

void
bench_devices_finish(bench_worker_t *w)
{
    uint32_t         i;
    bench_device_t  *d;

    /* MQTT 5: with Session Expiry 0, so that a persistent session ends too */

    static const char  bye4[] = { (char) 0xe0, 0 };
    static const char  bye5[] = { (char) 0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0 };

    for (i = 0; i < w->ndev; i++) {
        d = &w->dev[i];

        bench_check_final(w, d);

        if (d->state == BENCH_DEV_READY
            && w->o->subscriber == BENCH_SUB_MQTT)
        {
            if (w->o->level == 5 && w->o->persistent) {
                (void) bench_net_send(w, &d->c, bye5, sizeof(bye5));

            } else {
                (void) bench_net_send(w, &d->c, bye4, sizeof(bye4));
            }
        }

        bench_net_close(w, &d->c, "end of the run");
    }
}
