
/*
 * Copyright (C) the ngx_push authors
 */


#include "bench.h"


/* values that are more than a number or a text */

typedef enum {
    BENCH_TMPL = BENCH_OTHER,
    BENCH_TOPIC,
    BENCH_HEADER,
    BENCH_HTTP,
    BENCH_PUBLISH,
    BENCH_SUBSCRIBER,
    BENCH_STAGE,
    BENCH_PIDS
} bench_own_type_e;


const char  bench_program[] = "push-bench";


#define bench_off(field)  offsetof(bench_opts_t, field)


static const char *const  bench_modes[] = {
    "connect", "idle", "unicast", "broadcast", "group", "storm", "stages"
};


static const char *const  bench_subscribers[] = {
    [BENCH_SUB_MQTT] = "mqtt",
    [BENCH_SUB_WEBSOCKET] = "websocket",
    [BENCH_SUB_TRANSPORT] = "transport",
    NULL
};


static const bench_option_t  bench_options[] = {

    { NULL, 0, 0, 0, 0, NULL, "Devices" },
    { "host", BENCH_STR, bench_off(host), 0, 0, "HOST",
      "MQTT server (127.0.0.1)" },
    { "port", BENCH_INT, bench_off(port), 1, 65535, "PORT",
      "its port (1883; 8883 with --tls)" },
    { "subscriber", BENCH_SUBSCRIBER, bench_off(subscriber), 0, 0, "KIND",
      "mqtt, websocket or transport: connections only (mqtt)" },
    { "websocket-path", BENCH_TMPL, bench_off(websocket_path), 0, 0, "TEXT",
      "to subscribe at by WebSocket (/sub?id=%U)" },
    { "mqtt", BENCH_INT, bench_off(level), 4, 5, "4|5",
      "MQTT 3.1.1 or 5 (4)" },
    { "tls", BENCH_FLAG, bench_off(tls), 0, 0, NULL, "TLS to the MQTT port" },
    { "cafile", BENCH_STR, bench_off(cafile), 0, 0, "FILE",
      "verify the server's certificate against it" },
    { "connections", BENCH_U32, bench_off(connections), 1, 100000000, "N",
      "devices (1000)" },
    { "per-user", BENCH_U32, bench_off(per_user), 1, 1000, "N",
      "devices of each user (1)" },
    { "processes", BENCH_U32, bench_off(processes), 1, BENCH_MAX_PROCESSES,
      "N", "worker processes (as few as descriptors allow)" },
    { "sources", BENCH_INT, bench_off(sources), 0, 1000, "N",
      "bind to 127.0.0.2 and the next ones (by connections)" },
    { "connect-rate", BENCH_DBL, bench_off(connect_rate), 0, 1e9, "N",
      "connections a second, 0 as fast as possible (0)" },
    { "handshakes", BENCH_U32, bench_off(handshakes), 1, 1000000, "N",
      "connections not ready yet, at most (64)" },
    { "qos", BENCH_INT, bench_off(qos), 0, 1, "0|1",
      "of the subscriptions (1)" },
    { "keepalive", BENCH_U32, bench_off(keepalive), 0, 65535, "S",
      "of CONNECT; pings go at half of it (240)" },
    { "receive-maximum", BENCH_U32, bench_off(receive_max), 0, 65535, "N",
      "MQTT 5, 0 not sent (0)" },
    { "persistent", BENCH_FLAG, bench_off(persistent), 0, 0, NULL,
      "keep the session over a drop (with --reconnect)" },
    { "reconnect", BENCH_FLAG, bench_off(reconnect), 0, 0, NULL,
      "lost devices come back, are no failure (storm)" },

    { NULL, 0, 0, 0, 0, NULL, "Names (templates: %u user, %d device of the "
      "user, %i device,\n  %g group, %U user name, %p product, %r run, %%)" },
    { "product", BENCH_STR, bench_off(product), 0, 0, "NAME",
      "product (bench)" },
    { "user", BENCH_TMPL, bench_off(user), 0, 0, "TEXT", "user name (u%u)" },
    { "topic", BENCH_TOPIC, 0, 0, 0, "TEXT",
      "to subscribe to, up to four times (%p/#)" },
    { "client-id", BENCH_TMPL, bench_off(client_id), 0, 0, "TEXT",
      "client identifier (d%i)" },
    { "username", BENCH_TMPL, bench_off(username), 0, 0, "TEXT",
      "MQTT user name, '' for none (%p/%U)" },
    { "password", BENCH_TMPL, bench_off(password), 0, 0, "TEXT",
      "MQTT password (none)" },
    { "jwt-key", BENCH_STR, bench_off(jwt_key), 0, 0, "KEY",
      "password is an HS256 token: aud, sub, exp" },

    { NULL, 0, 0, 0, 0, NULL, "Publishing" },
    { "publish", BENCH_PUBLISH, bench_off(publish), 0, 0, "http|mqtt",
      "how (http if --http is given, else mqtt)" },
    { "http", BENCH_HTTP, 0, 0, 0, "HOST:PORT", "HTTP API" },
    { "http-url-template", BENCH_TMPL, bench_off(url), 0, 0, "TEXT",
      "path (/v1/%p/users/%U/messages and so on)" },
    { "api-key", BENCH_STR, bench_off(api_key), 0, 0, "KEY",
      "Authorization: Bearer KEY" },
    { "header", BENCH_HEADER, 0, 0, 0, "'NAME: VALUE'",
      "further HTTP header, such as 'TTL: 60'" },
    { "publish-topic", BENCH_TMPL, bench_off(publish_topic), 0, 0, "TEXT",
      "MQTT topic (by mode, see docs/bench.md)" },
    { "publish-qos", BENCH_INT, bench_off(publish_qos), 0, 1, "0|1",
      "of MQTT publishing (as --qos)" },
    { "publish-username", BENCH_TMPL, bench_off(pub_username), 0, 0, "TEXT",
      "of the publishing MQTT clients (none)" },
    { "publish-password", BENCH_TMPL, bench_off(pub_password), 0, 0, "TEXT",
      "of the same (none)" },
    { "http-connections", BENCH_U32, bench_off(publishers), 1, 1000, "N",
      "publishing connections of each process (4)" },
    { "publishers", BENCH_U32, bench_off(publishers), 1, 1000, "N",
      "the same" },
    { "pipeline", BENCH_U32, bench_off(pipeline), 1, 30000, "N",
      "unanswered messages on each of them (64)" },
    { "size", BENCH_U32, bench_off(size), BENCH_MARK_SIZE, 1048576, "BYTES",
      "payload (256)" },

    { NULL, 0, 0, 0, 0, NULL, "Load" },
    { "rate", BENCH_DBL, bench_off(rate), 0, 1e8, "N",
      "messages a second; 0: as fast as they are delivered (0)" },
    { "outstanding", BENCH_U32, bench_off(outstanding), 1, 10000000, "N",
      "undelivered messages with rate 0 (1000; broadcast 1)" },
    { "duration", BENCH_DBL, bench_off(duration), 0.1, 1e6, "S",
      "measured time (10)" },
    { "warmup", BENCH_DBL, bench_off(warmup), 0, 1e6, "S",
      "publishing before it (1; 0 with --messages)" },
    { "messages", BENCH_U64, bench_off(messages), 1, 1e12, "N",
      "end after so many messages" },
    { "groups", BENCH_U32, bench_off(groups), 1, 10000000, "N",
      "groups, device i is in group i modulo N (10)" },
    { "random", BENCH_FLAG, bench_off(random), 0, 0, NULL,
      "random targets instead of one after the other" },
    { "storm", BENCH_DBL, bench_off(storm), 0.001, 1000, "PERCENT",
      "of the devices drop and return each second (5)" },
    { "storm-delay", BENCH_DBL, bench_off(storm_delay), 0, 1000, "S",
      "before a dropped device returns (0.1)" },
    { "stage", BENCH_STAGE, 0, 0, 0, "KIND[:...]",
      "hold, unicast or broadcast; each may have name=\n"
      "                             rate= duration= messages= warmup= qos=, "
      "with commas" },
    { "timeout", BENCH_DBL, bench_off(timeout), 0.5, 1000, "S",
      "without any progress ends the run (5)" },

    { NULL, 0, 0, 0, 0, NULL, "Measuring" },
    { "server-pid", BENCH_PIDS, 0, 0, 0, "PID[,PID]",
      "CPU and memory of these and their descendants" },
    { "json", BENCH_STR, bench_off(json), 0, 0, "FILE|-",
      "result as JSON (with -, the table goes to stderr)" },
    { "quiet", BENCH_FLAG, bench_off(quiet), 0, 0, NULL,
      "no progress lines" },
};


const char *
bench_mode_name(bench_mode_e mode)
{
    return bench_modes[mode];
}


const char *
bench_subscriber_name(bench_sub_e subscriber)
{
    return bench_subscribers[subscriber];
}


static void
bench_parse_pids(bench_opts_t *o, const char *value)
{
    long         pid;
    char        *end;
    const char  *s;

    for (s = value; /* void */ ; s = end + 1) {
        pid = strtol(s, &end, 10);

        if (end == s || pid < 1 || (*end != ',' && *end != '\0')
            || o->npids == BENCH_MAX_PIDS)
        {
            bench_usage_error("--server-pid: \"%s\" is not a list of at most "
                              "%d pids", value, BENCH_MAX_PIDS);
        }

        o->pids[o->npids++] = pid;

        if (*end == '\0') {
            return;
        }
    }
}


static void
bench_parse_http(bench_opts_t *o, char *value)
{
    char  *colon;
    long   port;

    colon = strrchr(value, ':');
    port = colon ? strtol(colon + 1, NULL, 10) : 0;

    if (colon == NULL || colon == value || port < 1 || port > 65535) {
        bench_usage_error("--http: \"%s\" is not HOST:PORT", value);
    }

    *colon = '\0';
    o->http_host = value;
    o->http_port = port;
}


static void
bench_parse_subscriber(bench_opts_t *o, const char *value)
{
    int  i;

    for (i = 0; bench_subscribers[i]; i++) {
        if (strcmp(bench_subscribers[i], value) == 0) {
            o->subscriber = i;
            return;
        }
    }

    bench_usage_error("--subscriber: \"%s\" is neither mqtt, websocket nor "
                      "transport", value);
}


static void
bench_parse_list(const bench_option_t *p, const char **list, int *n, int max,
    const char *value)
{
    if (*n == max) {
        bench_usage_error("--%s: at most %d", p->name, max);
    }

    list[(*n)++] = value;
}


static void
bench_parse_own(void *opts, const bench_option_t *p, char *value)
{
    bench_opts_t  *o;

    o = opts;

    switch (p->type) {

    case BENCH_TOPIC:
        bench_parse_list(p, o->topics, &o->ntopics, BENCH_MAX_TOPICS, value);

        /* fall through */

    case BENCH_TMPL:
        if (strlen(value) > 400 || bench_check_template(value) != BENCH_OK) {
            bench_usage_error("--%s: \"%s\" is too long or has an unknown "
                              "letter after %%", p->name, value);
        }

        if (p->type == BENCH_TMPL) {
            *(const char **) ((char *) o + p->offset) = value;
        }

        break;

    case BENCH_HEADER:
        if (strchr(value, ':') == NULL || strpbrk(value, "\r\n")) {
            bench_usage_error("--header: \"%s\" is not NAME: VALUE", value);
        }

        bench_parse_list(p, o->headers, &o->nheaders, BENCH_MAX_HEADERS,
                         value);
        break;

    case BENCH_HTTP:
        bench_parse_http(o, value);
        break;

    case BENCH_PUBLISH:
        if (strcmp(value, "http") != 0 && strcmp(value, "mqtt") != 0) {
            bench_usage_error("--publish: \"%s\" is neither http nor mqtt",
                              value);
        }

        o->publish = value[0] == 'h' ? BENCH_PUB_HTTP : BENCH_PUB_MQTT;
        break;

    case BENCH_SUBSCRIBER:
        bench_parse_subscriber(o, value);
        break;

    case BENCH_STAGE:
        bench_parse_stage(o, value);
        break;

    case BENCH_PIDS:
        bench_parse_pids(o, value);
        break;
    }
}


static const bench_usage_t  bench_usage = {
    bench_modes,
    sizeof(bench_modes) / sizeof(bench_modes[0]),
    bench_options,
    sizeof(bench_options) / sizeof(bench_options[0]),

    "  connect    connect and subscribe, as fast as possible or at a rate\n"
    "  idle       hold the connections, measure memory\n"
    "  unicast    messages to one user each\n"
    "  broadcast  messages to all\n"
    "  group      messages to groups\n"
    "  storm      unicast while devices drop and return\n"
    "  stages     connect once, then each --stage\n",

    "1 when messages were lost, reordered, misdirected or damaged,\n"
    "a connection was lost or the run could not be made",

    NULL,
    bench_parse_own
};


/* exits with a message if anything in them is wrong */

void
bench_parse_options(bench_opts_t *o, int argc, char **argv)
{
    memset(o, 0, sizeof(bench_opts_t));

    o->mode = bench_parse_mode(&bench_usage, argc, argv);
    o->host = "127.0.0.1";
    o->level = 4;
    o->connections = 1000;
    o->per_user = 1;
    o->sources = -1;
    o->handshakes = 64;
    o->qos = 1;
    o->publish_qos = -1;
    o->keepalive = 240;
    o->product = "bench";
    o->user = "u%u";
    o->websocket_path = "/sub?id=%U";
    o->publishers = 4;
    o->pipeline = 64;
    o->size = 256;
    o->warmup = -1;
    o->groups = 10;
    o->storm = 5;
    o->storm_delay = 0.1;
    o->timeout = 5;

    bench_parse_arguments(&bench_usage, o, argc, argv);
    bench_complete_options(o);
}
