
/*
 * Copyright (C) the ngx_push authors
 */


#include <netdb.h>
#include <netinet/in.h>

#include "bench.h"


static void
bench_resolve(const char *host, int port, struct sockaddr_storage *addr,
    socklen_t *len)
{
    int               rc;
    char              service[8];
    struct addrinfo   hints, *res;

    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = AF_UNSPEC;

    snprintf(service, sizeof(service), "%d", port);

    rc = getaddrinfo(host, service, &hints, &res);
    if (rc != 0) {
        bench_usage_error("host \"%s\": %s", host, gai_strerror(rc));
    }

    memcpy(addr, res->ai_addr, res->ai_addrlen);
    *len = res->ai_addrlen;

    freeaddrinfo(res);
}


/* topics that a broker understands which knows nothing of products */

static void
bench_default_topics(bench_opts_t *o)
{
    const char  *topic;

    switch (o->mode) {
    case BENCH_BROADCAST:
        topic = "%p/broadcast";
        break;
    case BENCH_GROUP:
        topic = "%p/group/g%g";
        break;
    default:
        topic = "%p/%U/inbox";
    }

    if (o->publish_topic == NULL) {
        o->publish_topic = topic;
    }

    if (o->ntopics == 0) {
        o->ntopics = 1;
        o->topics[0] = o->publish == BENCH_PUB_MQTT || o->mode == BENCH_GROUP
                       ? topic : "%p/#";
    }
}


static void
bench_default_numbers(bench_opts_t *o)
{
    if (o->port == 0) {
        o->port = o->tls ? 8883 : 1883;
    }

    if (o->subscriber != BENCH_SUB_MQTT) {
        o->qos = 0;
    }

    if (o->publish_qos == -1) {
        o->publish_qos = o->qos;
    }

    if (o->outstanding == 0) {
        o->outstanding = o->mode == BENCH_BROADCAST ? 1 : 1000;
    }

    if (o->warmup < 0) {
        o->warmup = o->messages ? 0 : 1;
    }

    if (o->duration == 0) {
        o->duration = o->messages ? 1e6 : 10;
    }

    if (o->mode == BENCH_STORM) {
        o->reconnect = 1;
    }

    if (o->reconnect) {
        o->persistent = 1;
    }

    if (o->mode == BENCH_CONNECT || o->mode == BENCH_IDLE) {
        o->connect_rate = o->connect_rate > 0 ? o->connect_rate : o->rate;
    }

    if (o->client_id == NULL) {
        o->client_id = "d%i";
    }

    if (o->username == NULL) {
        o->username = o->jwt_key ? "%U" : "%p/%U";
    }
}


static void
bench_default_processes(bench_opts_t *o)
{
    uint32_t             per, extra;
    struct sockaddr_in  *sin;

    extra = o->publishers + 32;
    per = bench_descriptors();

    if (per <= extra) {
        bench_usage_error("%u descriptors (ulimit -n) are too few", per);
    }

    per -= extra;

    if (o->processes == 0) {
        o->processes = (o->connections + per - 1) / per;
    }

    if (o->processes > BENCH_MAX_PROCESSES
        || (o->connections / o->per_user + o->processes - 1) / o->processes
           * o->per_user > per)
    {
        bench_usage_error("%u connections of %u processes: a process can have "
                          "%u, and there can be %d processes", o->connections,
                          o->processes, per, BENCH_MAX_PROCESSES);
    }

    o->handshakes = (o->handshakes + o->processes - 1) / o->processes;

    sin = (struct sockaddr_in *) &o->addr;

    if (sin->sin_family != AF_INET
        || ntohl(sin->sin_addr.s_addr) >> 24 != 127)
    {
        if (o->sources > 0) {
            bench_usage_error("--sources is for servers on 127.0.0.0/8");
        }

        o->sources = 0;

    } else if (o->sources == -1) {
        o->sources = bench_sources(o->connections);
    }
}


/* what they publish is told apart by the paths of our HTTP API */

static void
bench_check_stages(bench_opts_t *o)
{
    int  i;

    if (o->nstages == 0 || o->subscriber != BENCH_SUB_MQTT) {
        bench_usage_error("stages are of MQTT devices and need --stage");
    }

    o->publish = BENCH_PUB_NONE;

    for (i = 0; i < o->nstages; i++) {
        if (o->stages[i].kind != BENCH_STAGE_HOLD) {
            o->publish = BENCH_PUB_HTTP;
        }
    }

    if (o->publish == BENCH_PUB_HTTP && (o->http_host == NULL || o->url)) {
        bench_usage_error("stages which publish need --http, and no "
                          "--http-url-template");
    }
}


static void
bench_check_options(bench_opts_t *o)
{
    if (o->connections % o->per_user) {
        bench_usage_error("--connections is not a multiple of --per-user");
    }

    if (strstr(o->user, "%U")) {
        bench_usage_error("--user cannot contain %%U");
    }

    if (strpbrk(o->user, "\"\\") || strpbrk(o->product, "\"\\%")) {
        bench_usage_error("--user and --product: no quotes, backslashes, "
                          "and no %% in --product");
    }

    if (o->publish == BENCH_PUB_HTTP && o->http_host == NULL) {
        bench_usage_error("--publish http needs --http HOST:PORT");
    }

    if (o->groups > o->connections) {
        if (o->mode == BENCH_GROUP) {
            bench_usage_error("more groups than connections");
        }

        o->groups = o->connections;
    }

    if (o->subscriber == BENCH_SUB_TRANSPORT && o->mode != BENCH_CONNECT
        && o->mode != BENCH_IDLE)
    {
        bench_usage_error("--subscriber transport is for connect and idle");
    }

    if (o->mode == BENCH_CONNECT || o->mode == BENCH_IDLE) {
        o->publish = BENCH_PUB_NONE;

    } else if (o->mode == BENCH_STAGES) {
        bench_check_stages(o);

    } else if (o->publish == BENCH_PUB_NONE) {
        o->publish = o->http_host ? BENCH_PUB_HTTP : BENCH_PUB_MQTT;
    }

    if (o->mode == BENCH_UNICAST || o->mode == BENCH_STORM
        || o->mode == BENCH_STAGES)
    {
        if (o->processes > o->connections / o->per_user) {
            bench_usage_error("more processes than users");
        }
    }
}


/* checks what the options say together, fills in what they leave out */

void
bench_complete_options(bench_opts_t *o)
{
    bench_check_options(o);
    bench_default_topics(o);
    bench_default_numbers(o);

    bench_resolve(o->host, o->port, &o->addr, &o->addrlen);

    if (o->http_host) {
        bench_resolve(o->http_host, o->http_port, &o->http_addr,
                      &o->http_addrlen);
    }

    bench_default_processes(o);
}
