
/*
 * Copyright (C) the ngx_push authors
 */


#include "floor.h"


const char  bench_program[] = "push-floor";


#define floor_off(field)  offsetof(floor_opts_t, field)
#define floor_bit(mode)   (1 << FLOOR_##mode)

/* descriptors of a process that are no devices: listeners, eventfds, ... */
#define FLOOR_SPARE  (2 * BENCH_MAX_PROCESSES + 32)


const char *const  floor_modes[] = {
    "accept", "relay", "send", "echo", "idle"
};


static const bench_option_t  floor_options[] = {

    { NULL, 0, 0, 0, 0, NULL, "Connections" },
    { "connections", BENCH_U32, floor_off(connections), 1, 100000000, "N",
      "devices (10000)" },
    { "workers", BENCH_U32, floor_off(workers), 1, BENCH_MAX_PROCESSES, "N",
      "server processes (as few as descriptors allow)" },
    { "processes", BENCH_U32, floor_off(processes), 1, BENCH_MAX_PROCESSES,
      "N", "client processes (the same)" },
    { "sources", BENCH_INT, floor_off(sources), 0, 1000, "N",
      "bind to 127.0.0.2 and the next ones (by connections)" },
    { "handshakes", BENCH_U32, floor_off(handshakes), 1, 1000000, "N",
      "connections not ready yet, at most (64)" },
    { "congestion", BENCH_STR, floor_off(congestion), 0, 0, "NAME",
      "congestion control of the servers (the system's)" },

    { NULL, 0, 0, 0, 0, NULL, "Load" },
    { "size", BENCH_U32, floor_off(size), 1, 32768, "BYTES",
      "payload; relay, send (256)" },
    { "handshake", BENCH_FLAG, floor_off(handshake), 0, 0, NULL,
      "accept: with CONNECT and SUBSCRIBE" },
    { "ack", BENCH_FLAG, floor_off(ack), 0, 0, NULL,
      "send: each receiver acknowledges" },
    { "random", BENCH_FLAG, floor_off(random), 0, 0, NULL,
      "relay, echo: random devices instead of one after the other" },
    { "rate", BENCH_DBL, floor_off(rate), 0, 1e8, "N",
      "relay, echo: requests a second; 0: as fast as\n"
      "                             possible (relay 0, echo 3333)" },
    { "outstanding", BENCH_U32, floor_off(outstanding), 1, 65536, "N",
      "relay, echo: requests under way, at most (1000)" },
    { "publishers", BENCH_U32, floor_off(publishers), 1, 1000, "N",
      "relay: connections of each client process (4)" },
    { "pipeline", BENCH_U32, floor_off(pipeline), 1, 30000, "N",
      "relay: unanswered requests on each of them (64)" },
    { "request-head", BENCH_U32, floor_off(request_head), FLOOR_HEAD_SIZE,
      16384, "BYTES", "relay: of a request, in front of the payload (177)" },
    { "answer-size", BENCH_U32, floor_off(answer_size), 1, 4096, "BYTES",
      "relay: of the answer to a request (295)" },
    { "duration", BENCH_DBL, floor_off(duration), 0.1, 1e6, "S",
      "measured time; all but accept (5)" },
    { "warmup", BENCH_DBL, floor_off(warmup), 0, 1e6, "S",
      "the same before it; all but accept (1)" },
    { "timeout", BENCH_DBL, floor_off(timeout), 0.5, 1000, "S",
      "without any progress ends the run (5)" },

    { NULL, 0, 0, 0, 0, NULL, "Output" },
    { "json", BENCH_STR, floor_off(json), 0, 0, "FILE|-",
      "result as JSON (with -, the text goes to stderr)" },
    { "quiet", BENCH_FLAG, floor_off(quiet), 0, 0, NULL,
      "no progress lines" },
};


/* options that not every mode has */

static const struct {
    const char  *name;
    int          modes;
} floor_limits[] = {
    { "size", floor_bit(RELAY)|floor_bit(SEND) },
    { "handshake", floor_bit(ACCEPT) },
    { "ack", floor_bit(SEND) },
    { "random", floor_bit(RELAY)|floor_bit(ECHO) },
    { "rate", floor_bit(RELAY)|floor_bit(ECHO) },
    { "outstanding", floor_bit(RELAY)|floor_bit(ECHO) },
    { "publishers", floor_bit(RELAY) },
    { "pipeline", floor_bit(RELAY) },
    { "request-head", floor_bit(RELAY) },
    { "answer-size", floor_bit(RELAY) },
    { "duration", ~floor_bit(ACCEPT) },
    { "warmup", ~floor_bit(ACCEPT) }
};


static void
floor_seen(void *opts, const bench_option_t *p)
{
    size_t         i;
    floor_opts_t  *o;

    o = opts;

    for (i = 0; i < sizeof(floor_limits) / sizeof(floor_limits[0]); i++) {
        if (strcmp(floor_limits[i].name, p->name) == 0
            && !(floor_limits[i].modes & 1 << o->mode))
        {
            bench_usage_error("--%s is not for mode \"%s\"", p->name,
                              floor_modes[o->mode]);
        }
    }
}


static const bench_usage_t  floor_usage = {
    floor_modes,
    sizeof(floor_modes) / sizeof(floor_modes[0]),
    floor_options,
    sizeof(floor_options) / sizeof(floor_options[0]),

    "  accept     accept connections and register them\n"
    "  relay      read requests, answer them, send each one's message to a\n"
    "             device and read its acknowledgement\n"
    "  send       send to all devices, again when all have got it\n"
    "  echo       answer pings of 2 octets at a rate\n"
    "  idle       hold the connections; kernel memory\n",

    "1 when the run could not be made",

    floor_seen,
    NULL
};


/* as few processes as descriptors allow, unless the user has said */

static void
floor_processes(uint32_t *n, const char *name, uint32_t connections,
    uint32_t spare)
{
    uint32_t  max;

    max = bench_descriptors();

    if (max <= spare) {
        bench_usage_error("%u descriptors (ulimit -n) are too few", max);
    }

    max -= spare;

    if (*n == 0) {
        *n = (connections + max - 1) / max;
    }

    if (*n > BENCH_MAX_PROCESSES || (connections + *n - 1) / *n > max) {
        bench_usage_error("--connections: a process can have %u, and there "
                          "can be %d of them (--%s)", max, BENCH_MAX_PROCESSES,
                          name);
    }

    if (*n > connections) {
        bench_usage_error("--%s: more than --connections", name);
    }
}


/* exits with a message if anything in them is wrong */

void
floor_parse_options(floor_opts_t *o, int argc, char **argv)
{
    memset(o, 0, sizeof(floor_opts_t));

    o->mode = bench_parse_mode(&floor_usage, argc, argv);
    o->connections = 10000;
    o->sources = -1;
    o->handshakes = 64;
    o->size = 256;
    o->publishers = o->mode == FLOOR_RELAY ? 4 : 0;
    o->pipeline = 64;
    o->request_head = 177;
    o->answer_size = 295;
    o->outstanding = 1000;
    o->rate = o->mode == FLOOR_ECHO ? 3333 : 0;
    o->duration = 5;
    o->warmup = 1;
    o->timeout = 5;

    bench_parse_arguments(&floor_usage, o, argc, argv);

    floor_processes(&o->processes, "processes", o->connections,
                    FLOOR_SPARE + o->publishers);
    floor_processes(&o->workers, "workers", o->connections,
                    FLOOR_SPARE + o->publishers
                    * (o->workers ? o->processes / o->workers + 1 : 2));

    if (o->mode == FLOOR_RELAY && o->outstanding < o->processes) {
        bench_usage_error("--outstanding: less than --processes (%u)",
                          o->processes);
    }

    o->handshakes = (o->handshakes + o->processes - 1) / o->processes;

    if (o->sources == -1) {
        o->sources = bench_sources(o->connections);
    }
}
