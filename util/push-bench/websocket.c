
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * A device that is a WebSocket (RFC 6455) client of a server which pushes a
 * message per frame: ready when the server has switched protocols, and every
 * text or binary frame is a delivery.  Nothing is acknowledged.
 */


#include "bench.h"


#define BENCH_WS_HEAD     4096       /* bytes of an answer's head, at most */

#define BENCH_WS_TEXT     1
#define BENCH_WS_BINARY   2
#define BENCH_WS_CLOSE    8
#define BENCH_WS_PING     9


/* a frame without its header; "size" is of both */

typedef struct {
    int             opcode;
    int             final;
    size_t          size;
    size_t          len;
    unsigned char  *payload;
} bench_frame_t;


void
bench_websocket_opened(bench_worker_t *w, bench_conn_t *c)
{
    int              n;
    char             path[1024], buf[2048];
    bench_opts_t    *o;
    bench_device_t  *d;

    o = w->o;
    d = (bench_device_t *) c;

    bench_expand(o, path, sizeof(path), o->websocket_path,
                 d->index / o->per_user, d->index % o->per_user);

    /* any key will do: what the server makes of it is not looked at */

    n = snprintf(buf, sizeof(buf),
                 "GET %s HTTP/1.1\r\n"
                 "Host: %s:%d\r\n"
                 "Upgrade: websocket\r\n"
                 "Connection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Version: 13\r\n\r\n", path, o->host, o->port);

    (void) bench_net_send(w, c, buf, n);
}


/* bytes of the head, 0 if it is not complete; BENCH_ERROR after closing */

static ssize_t
bench_websocket_answer(bench_worker_t *w, bench_device_t *d,
    const unsigned char *p, size_t len)
{
    int                   n;
    char                  text[120];
    const unsigned char  *end;

    end = memmem(p, len, "\r\n\r\n", 4);

    if (end == NULL && len < BENCH_WS_HEAD) {
        return 0;
    }

    if (end == NULL || memcmp(p, "HTTP/1.1 101", 12) != 0) {
        for (n = 0; n < 60 && (size_t) n < len && p[n] >= ' '; n++) {
            /* void */
        }

        snprintf(text, sizeof(text), "no upgrade to WebSocket: %.*s", n,
                 (const char *) p);
        bench_net_close(w, &d->c, text);
        return BENCH_ERROR;
    }

    bench_device_ready(w, d);

    return end + 4 - p;
}


/* BENCH_AGAIN: not complete; BENCH_ERROR: masked, which a server's never is */

static int
bench_websocket_frame(unsigned char *p, size_t len, bench_frame_t *f)
{
    size_t  i, n, head;

    if (len < 2) {
        return BENCH_AGAIN;
    }

    if (p[1] & 0x80) {
        return BENCH_ERROR;
    }

    f->opcode = p[0] & 0x0f;
    f->final = p[0] >> 7;
    f->len = p[1];
    n = f->len == 126 ? 2 : f->len == 127 ? 8 : 0;
    head = 2 + n;

    if (len < head) {
        return BENCH_AGAIN;
    }

    if (n) {
        f->len = 0;

        for (i = 0; i < n; i++) {
            f->len = f->len << 8 | p[2 + i];
        }
    }

    if (f->len > len - head) {
        return BENCH_AGAIN;
    }

    f->payload = p + head;
    f->size = head + f->len;

    return BENCH_OK;
}


/* BENCH_ERROR after closing */

static int
bench_websocket_message(bench_worker_t *w, bench_device_t *d,
    const bench_frame_t *f)
{
    char  pong[6 + 125];

    switch (f->opcode) {

    case BENCH_WS_TEXT:
    case BENCH_WS_BINARY:
        if (f->final) {
            bench_check(w, d, f->payload, f->len, 0);
            return BENCH_OK;
        }

        bench_net_close(w, &d->c, "a message in several frames");
        return BENCH_ERROR;

    case BENCH_WS_PING:

        /* a client's frame is masked; with zeros it stays as it is */

        memset(pong, 0, 6);
        pong[0] = (char) 0x8a;
        pong[1] = (char) (0x80 | (f->len & 0x7f));
        memcpy(pong + 6, f->payload, f->len & 0x7f);

        return bench_net_send(w, &d->c, pong, 6 + (f->len & 0x7f));

    default:
        bench_net_close(w, &d->c, f->opcode == BENCH_WS_CLOSE
                                  ? "Close from the server"
                                  : "unexpected WebSocket frame");
        return BENCH_ERROR;
    }
}


ssize_t
bench_websocket_data(bench_worker_t *w, bench_conn_t *c, unsigned char *p,
    size_t len)
{
    int              rc;
    size_t           pos;
    ssize_t          n;
    bench_frame_t    f;
    bench_device_t  *d;

    d = (bench_device_t *) c;
    pos = 0;

    if (d->state != BENCH_DEV_READY) {
        n = bench_websocket_answer(w, d, p, len);

        if (n <= 0) {
            return n;
        }

        pos = n;
    }

    for ( /* void */ ; pos < len; pos += f.size) {
        rc = bench_websocket_frame(p + pos, len - pos, &f);

        if (rc == BENCH_AGAIN) {
            break;
        }

        if (rc == BENCH_ERROR) {
            bench_net_close(w, c, "a masked frame from the server");
            return BENCH_ERROR;
        }

        if (bench_websocket_message(w, d, &f) != BENCH_OK) {
            return BENCH_ERROR;
        }
    }

    return pos;
}
