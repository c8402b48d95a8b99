
/*
 * Copyright (C) the ngx_push authors
 */


#include "bench.h"


static void bench_mqttpub_opened(bench_worker_t *w, bench_conn_t *c);
static ssize_t bench_mqttpub_data(bench_worker_t *w, bench_conn_t *c,
    unsigned char *p, size_t len);
static void bench_mqttpub_closed(bench_worker_t *w, bench_conn_t *c,
    const char *why);


const bench_role_t  bench_mqttpub_role = {
    bench_mqttpub_opened,
    bench_mqttpub_data,
    bench_mqttpub_closed
};


static void
bench_mqttpub_opened(bench_worker_t *w, bench_conn_t *c)
{
    char          id[64], user[512], pass[2048], buf[5120], *u, *p;
    bench_pub_t  *pub;

    pub = (bench_pub_t *) c;
    u = NULL;
    p = NULL;

    snprintf(id, sizeof(id), "pub%u-%u", w->o->run_id, pub->index);

    if (w->o->pub_username) {
        bench_expand(w->o, user, sizeof(user), w->o->pub_username,
                     pub->index, 0);
        u = user;
    }

    if (w->o->pub_password) {
        bench_expand(w->o, pass, sizeof(pass), w->o->pub_password,
                     pub->index, 0);
        p = pass;
    }

    pub->packet_id = 0;
    pub->pinged = w->now;

    (void) bench_net_send(w, c, buf,
                          bench_mqtt_connect(buf, w->o, id, u, p, 1, 0));
}


void
bench_mqttpub_write(bench_worker_t *w, bench_pub_t *pub,
    const bench_request_t *r)
{
    char          *p, topic[512];
    size_t         n;
    uint16_t       id;
    uint32_t       user, device;
    bench_opts_t  *o;

    o = w->o;
    id = 0;

    if (o->publish_qos) {
        /* acknowledged in order: ids in use never meet before 65,535 */
        id = pub->packet_id == 65535 ? 1 : pub->packet_id + 1;
        pub->packet_id = id;
    }

    bench_publish_message(o, r->log, &user, &device);
    n = bench_expand(o, topic, sizeof(topic), o->publish_topic, user, device);

    p = bench_net_reserve(&pub->c, n + 16 + o->size);

    p += bench_mqtt_publish_head(p, o, topic, n, id, o->size);
    bench_mark(w, p, r);
    p += o->size;

    pub->c.out_len = p - pub->c.out;
}


static int
bench_mqttpub_connack(bench_worker_t *w, bench_pub_t *pub,
    const unsigned char *p, size_t len)
{
    int       code;
    char      text[120];
    uint32_t  keepalive, receive_max;

    receive_max = 65535;
    code = bench_mqtt_connack(w->o, p, len, &keepalive, &receive_max);

    if (code != 0 || pub->ready) {
        snprintf(text, sizeof(text), "CONNECT refused: 0x%02x, %s",
                 (unsigned) code & 0xff, bench_mqtt_reason(w->o->level, code));
        bench_net_close(w, &pub->c, text);
        return BENCH_ERROR;
    }

    pub->ready = 1;
    pub->window = receive_max && receive_max < w->o->pipeline
                  ? receive_max : w->o->pipeline;

    return BENCH_OK;
}


static int
bench_mqttpub_puback(bench_worker_t *w, bench_pub_t *pub,
    const unsigned char *p, size_t len)
{
    uint32_t  id, behind;

    /* the last id used is of the last request, "behind" requests after */

    behind = pub->tail - pub->head - 1;
    id = pub->packet_id > behind ? pub->packet_id - behind
                                 : pub->packet_id + 65535 - behind;

    if (len < 2 || pub->head == pub->tail
        || (uint32_t) (p[0] << 8 | p[1]) != id)
    {
        bench_note(&w->sh->error, "publisher %u: PUBACK out of order",
                   pub->index);
        bench_net_close(w, &pub->c, "PUBACK out of order");
        return BENCH_ERROR;
    }

    if (len > 2 && p[2] >= 0x80) {
        bench_note(&w->sh->refusal, "PUBLISH refused: 0x%02x, %s", p[2],
                   bench_mqtt_reason(w->o->level, p[2]));
        bench_publish_result(w, pub, BENCH_C_REFUSED);
        return BENCH_OK;
    }

    bench_publish_result(w, pub, BENCH_C_ACCEPTED);

    return BENCH_OK;
}


static ssize_t
bench_mqttpub_data(bench_worker_t *w, bench_conn_t *c, unsigned char *p,
    size_t len)
{
    int             rc, used;
    char            text[120];
    size_t          pos, n;
    bench_pub_t    *pub;
    unsigned char  *body;

    pub = (bench_pub_t *) c;

    for (pos = 0; pos < len; pos += used) {

        used = bench_mqtt_next(p + pos, len - pos, &body, &n);

        if (used == 0) {
            break;
        }

        rc = BENCH_ERROR;

        if (used > 0) {
            switch (p[pos] >> 4) {
            case 2:
                rc = bench_mqttpub_connack(w, pub, body, n);
                break;
            case 4:
                rc = bench_mqttpub_puback(w, pub, body, n);
                break;
            case 13:
                rc = BENCH_OK;
                break;
            }
        }

        if (rc != BENCH_OK) {
            snprintf(text, sizeof(text), "packet type 0x%02x, reason 0x%02x",
                     p[pos], used > 0 && n ? body[0] : 0);
            bench_net_close(w, c, text);
            return BENCH_ERROR;
        }
    }

    return pos;
}


static void
bench_mqttpub_closed(bench_worker_t *w, bench_conn_t *c, const char *why)
{
    bench_publish_closed(w, (bench_pub_t *) c, why);
}
