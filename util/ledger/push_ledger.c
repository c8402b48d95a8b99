
/*
 * Copyright (C) the ngx_push authors
 */


#include "ledger.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define TICK       10                  /* ms */
#define START_MAX  30.0                /* until all are bound the first time */


options_t   options = {
    .mqtt = { "127.0.0.1:1883" },
    .http = { "127.0.0.1:8080" },
    .rooms = 1,
    .centers = 1,
    .roam = 50,
    .product = "shop",
    .key = "demo-api-key",
    .devices = 500,
    .groups = 20,
    .conns = 8,
    .rate = 100,
    .seconds = 30,
    .settle = 30,
    .quiet = 2,
    .churn = 20,
    .share = { 80, 15, 5 },
};

counters_t  counters;
message_t  *messages;
uint32_t    nmessages;
uint32_t    nsent;
device_t   *devices;
double      now;
int         ep;

static uint64_t  state;
static int       told;                 /* the line that stdin brings is here */


static struct option  long_options[] = {
    { "mqtt", 1, NULL, 'm' },
    { "http", 1, NULL, 'h' },
    { "product", 1, NULL, 'p' },
    { "key", 1, NULL, 'k' },
    { "record", 1, NULL, 'o' },
    { "devices", 1, NULL, 'd' },
    { "groups", 1, NULL, 'g' },
    { "late", 1, NULL, 'l' },
    { "conns", 1, NULL, 'c' },
    { "rate", 1, NULL, 'r' },
    { "seconds", 1, NULL, 's' },
    { "settle", 1, NULL, 't' },
    { "quiet", 1, NULL, 'q' },
    { "churn", 1, NULL, 'u' },
    { "drop-acks", 1, NULL, 'a' },
    { "wills", 1, NULL, 'w' },
    { "roam", 1, NULL, 'n' },
    { "repeat", 0, NULL, 'y' },
    { "share", 1, NULL, 'x' },
    { "seed", 1, NULL, 'e' },
    { "interactive", 0, NULL, 'i' },
    { "help", 0, NULL, '?' },
    { NULL, 0, NULL, 0 }
};

static const char  help[] =
"usage: push-ledger [--OPTION=VALUE ...]\n"
"\n"
"Devices that come back whenever they are cut off, a publisher that writes\n"
"down the answers, and a judge: exits 0 when every message that was answered\n"
"2xx reached every device it is for, in order, and nothing else did.\n"
"\n"
"  --mqtt=HOST:PORT  --http=HOST:PORT   where (IPv4); several with commas\n"
"  --product=NAME    --key=API-KEY      as whom\n"
"  --devices=500     --late=0           of them come in the middle\n"
"  --groups=20       --share=80:15:5    messages to users, groups, all\n"
"  --rate=100        --seconds=30       messages a second, for how long\n"
"  --conns=8                            of the publisher\n"
"  --churn=20                           a connection lives so long (0: ever)\n"
"  --drop-acks=0                        per cent of PUBACKs not sent\n"
"  --wills=0                            per cent of devices that have one\n"
"  --roam=50                            per cent of the times that a device\n"
"                                       comes back: to another room\n"
"  --repeat                             what has no answer is sent again with\n"
"                                       the same Idempotency-Key\n"
"  --settle=30       --quiet=2          at most; without news: at rest\n"
"  --seed=N          --record=FILE      random numbers; the whole ledger\n"
"  --interactive     say \"ready\" and \"published\", then wait for a line\n"
"                    before coming to rest, and for the end of stdin after;\n"
"                    \"lost SECONDS TOLD\" says that the store has just lost\n"
"                    what was answered in this time; who was connected must\n"
"                    have it all the same if that is longer ago than TOLD\n";


double
clock_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


uint32_t
random_below(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;

    return (uint32_t) (state >> 32) % n;
}


double
random_time(double low, double high)
{
    return low + (high - low) * random_below(1000000) / 1e6;
}


void
complain(const char *fmt, ...)
{
    va_list     args;
    static int  n;

    if (n++ < 20) {
        va_start(args, fmt);
        vprintf(fmt, args);
        va_end(args);
        printf("\n");
    }
}


int
net_connect(const char *address)
{
    int                  fd, one;
    char                 host[64];
    const char          *colon;
    struct sockaddr_in   sin;

    colon = strrchr(address, ':');
    memset(&sin, 0, sizeof(sin));
    snprintf(host, sizeof(host), "%.*s", (int) (colon - address), address);

    sin.sin_family = AF_INET;
    sin.sin_port = htons(atoi(colon + 1));
    (void) inet_pton(AF_INET, host, &sin.sin_addr);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }

    one = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        && errno != EINPROGRESS)
    {
        close(fd);
        return -1;
    }

    return fd;
}


void
watch(int fd, uint32_t whose, uint32_t events, int op)
{
    struct epoll_event  ev;

    ev.events = events;
    ev.data.u32 = whose;

    (void) epoll_ctl(ep, op, fd, &ev);
}


static void
read_stdin(void)
{
    char           *line, *end;
    double          seconds, on_way;
    ssize_t         n;
    static char     buf[256];
    static size_t   len;

    n = read(0, buf + len, sizeof(buf) - 1 - len);

    if (n <= 0) {
        told = 2;
        watch(0, EVENT_STDIN, 0, EPOLL_CTL_DEL);
        return;
    }

    len += n;
    buf[len] = '\0';

    for (line = buf; (end = strchr(line, '\n')) != NULL; line = end + 1) {

        if (strncmp(line, "lost ", 5) == 0) {
            if (sscanf(line + 5, "%lf %lf", &seconds, &on_way) == 2) {
                judge_loss(seconds, on_way);
            }

        } else if (told == 0) {
            told = 1;
        }
    }

    len -= line - buf;
    memmove(buf, line, len);
}


static void
turn(void)
{
    int                  i, n;
    uint32_t             whose;
    struct epoll_event   events[256];

    n = epoll_wait(ep, events, 256, TICK);
    now = clock_now();

    for (i = 0; i < n; i++) {
        whose = events[i].data.u32;

        if (whose == EVENT_STDIN) {
            read_stdin();

        } else if (whose & EVENT_HTTP) {
            publisher_event(whose & ~EVENT_HTTP, events[i].events);

        } else {
            devices_event(whose, events[i].events);
        }
    }

    devices_tick();
    publisher_tick();
}


static void
say(const char *line)
{
    printf("%s\n", line);
    fflush(stdout);
}


static int
come_all(void)
{
    double  end;

    end = now + START_MAX;
    devices_start(0, options.devices - options.late);

    while (devices_known() < options.devices - options.late) {
        turn();

        if (now > end) {
            printf("only %u of %u devices were let in\n", devices_known(),
                   options.devices - options.late);
            return -1;
        }
    }

    return 0;
}


/* Until all there is was sent; late ones come when half of it was. */

static void
publish_all(void)
{
    double  end;
    int     late;

    late = options.late;
    end = now + options.seconds + options.settle;
    publisher_begin();

    while ((nsent < nmessages || publisher_busy()) && now < end) {
        turn();

        if (late && nsent > nmessages / 2) {
            devices_start(options.devices - late, options.devices);
            late = 0;
        }
    }

    /* what is still on its way will have no answer */

    while (publisher_busy()) {
        turn();
    }

    publisher_end();
}


/* All are bound, and for a while nothing new has come. */

static void
settle(void)
{
    double  end, look, since;

    devices_calm();
    counters.news = now;

    end = now + options.settle;
    since = now;
    look = now;

    while (now < end) {
        turn();

        if (now < look) {
            continue;
        }

        look = now + 0.2;

        if (devices_bound() != options.devices || judge_missing()) {
            since = now;
            continue;
        }

        if (now - since > options.quiet
            && now - counters.news > options.quiet)
        {
            break;
        }
    }
}


/* HOST:PORT,... into an array; how many, 0: they are not. */

static uint32_t
parse_addresses(char *text, const char **addresses)
{
    char      *p, *save;
    uint32_t   n;

    n = 0;

    for (p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {

        if (n == LEDGER_NODES || strchr(p, ':') == NULL) {
            return 0;
        }

        addresses[n++] = p;
    }

    return n;
}


static int
parse_options(int argc, char **argv)
{
    int  c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {

        switch (c) {
        case 'm': options.rooms = parse_addresses(optarg, options.mqtt); break;
        case 'h': options.centers = parse_addresses(optarg, options.http);
                  break;
        case 'n': options.roam = atoi(optarg); break;
        case 'y': options.repeat = 1; break;
        case 'p': options.product = optarg; break;
        case 'k': options.key = optarg; break;
        case 'o': options.record = optarg; break;
        case 'd': options.devices = atoi(optarg); break;
        case 'g': options.groups = atoi(optarg); break;
        case 'l': options.late = atoi(optarg); break;
        case 'c': options.conns = atoi(optarg); break;
        case 'r': options.rate = atoi(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 't': options.settle = atof(optarg); break;
        case 'q': options.quiet = atof(optarg); break;
        case 'u': options.churn = atof(optarg); break;
        case 'a': options.drop_acks = atoi(optarg); break;
        case 'w': options.wills = atoi(optarg); break;
        case 'e': options.seed = strtoull(optarg, NULL, 10); break;
        case 'i': options.interactive = 1; break;

        case 'x':
            if (sscanf(optarg, "%u:%u:%u", &options.share[0],
                       &options.share[1], &options.share[2]) != 3)
            {
                return -1;
            }

            break;

        default:
            return -1;
        }
    }

    if (options.devices == 0 || options.late >= options.devices
        || options.conns == 0 || options.rate == 0
        || options.share[0] + options.share[1] + options.share[2] == 0
        || options.rooms == 0 || options.centers == 0)
    {
        return -1;
    }

    return optind == argc ? 0 : -1;
}


int
main(int argc, char **argv)
{
    int            rc;
    struct rlimit  rlim;

    if (parse_options(argc, argv) != 0) {
        fputs(help, stderr);
        return 2;
    }

    if (getrlimit(RLIMIT_NOFILE, &rlim) == 0) {
        rlim.rlim_cur = rlim.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &rlim);
    }

    now = clock_now();
    state = options.seed ? options.seed * 0x9e3779b97f4a7c15ULL
                         : (uint64_t) (now * 1e9) | 1;
    nmessages = options.rate * options.seconds;
    messages = calloc(nmessages + 1, sizeof(message_t));
    ep = epoll_create1(EPOLL_CLOEXEC);

    devices_init();
    publisher_init();

    if (options.interactive) {
        watch(0, EVENT_STDIN, EPOLLIN, EPOLL_CTL_ADD);
    }

    if (come_all() != 0) {
        return 1;
    }

    say("ready");
    publish_all();
    say("published");

    while (options.interactive && told == 0) {
        turn();
    }

    settle();

    rc = judge();
    fflush(stdout);

    while (options.interactive && told != 2) {
        turn();
    }

    return rc ? 1 : 0;
}
