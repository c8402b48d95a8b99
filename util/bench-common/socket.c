
/*
 * Copyright (C) the ngx_push authors
 */


#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "common.h"


#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT  24
#endif

/* connections to one port from an address that has some 28,000 ports */
#define BENCH_PER_SOURCE  15000


/* raises the limit as far as it goes; how many a process may use */

uint32_t
bench_descriptors(void)
{
    struct rlimit  rl;

    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    getrlimit(RLIMIT_NOFILE, &rl);

    return rl.rlim_cur < BENCH_MAX_FDS ? rl.rlim_cur : BENCH_MAX_FDS;
}


/* addresses that so many connections to 127.0.0.0/8 need; 0: no bind() */

int
bench_sources(uint32_t connections)
{
    return connections > BENCH_PER_SOURCE ? connections / BENCH_PER_SOURCE + 1
                                          : 0;
}


/* "source" > 0 binds to 127.0.0.(1 + source): 28,000 ports each */

int
bench_socket(const struct sockaddr_storage *addr, int source)
{
    int                 fd, on;
    struct sockaddr_in  sin;

    fd = socket(addr->ss_family, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return -1;
    }

    on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    /* nothing that paces with timers, whatever the system's default */

    (void) setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);

    if (source == 0) {
        return fd;
    }

    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source);

    if (bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        close(fd);
        return -1;
    }

    return fd;
}
