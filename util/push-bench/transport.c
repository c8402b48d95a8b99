
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * A device that says nothing: it is ready when its connection is, the TLS
 * handshake included.  For what a connection alone costs a server.
 */


#include "bench.h"


void
bench_transport_opened(bench_worker_t *w, bench_conn_t *c)
{
    bench_device_ready(w, (bench_device_t *) c);
}


ssize_t
bench_transport_data(bench_worker_t *w, bench_conn_t *c, unsigned char *p,
    size_t len)
{
    (void) p;
    (void) len;

    bench_net_close(w, c, "unexpected bytes from the server");

    return BENCH_ERROR;
}
