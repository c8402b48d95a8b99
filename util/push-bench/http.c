
/*
 * Copyright (C) the ngx_push authors
 */


#include <ctype.h>
#include <strings.h>

#include "bench.h"


#define BENCH_MAX_ANSWER  65536


/*
 * status, length of head and body, whether the server will close, where the
 * body is; "body_len" is of the body as sent, chunk sizes included
 */

typedef struct {
    int                   status;
    int                   close;
    int                   chunked;
    size_t                head_len;
    size_t                body_len;
    const unsigned char  *body;
} bench_answer_t;


static void bench_http_opened(bench_worker_t *w, bench_conn_t *c);
static ssize_t bench_http_data(bench_worker_t *w, bench_conn_t *c,
    unsigned char *p, size_t len);
static void bench_http_closed(bench_worker_t *w, bench_conn_t *c,
    const char *why);


const bench_role_t  bench_http_role = {
    bench_http_opened,
    bench_http_data,
    bench_http_closed
};


static const char *
bench_http_url(const bench_opts_t *o, uint32_t log)
{
    if (o->url) {
        return o->url;
    }

    if (bench_is_common(o, log)) {
        return "/v1/%p/broadcasts";
    }

    return o->mode == BENCH_GROUP ? "/v1/%p/groups/g%g/messages"
                                  : "/v1/%p/users/%U/messages";
}


/* the part of the head which is the same for all requests of a stage */

static size_t
bench_http_constant(const bench_worker_t *w, char **text)
{
    int                 i;
    FILE               *f;
    const bench_opts_t *o;
    static char        *constant;
    static size_t       len;
    static const char  *header;

    o = w->o;

    if (constant && header != w->header) {
        free(constant);
        constant = NULL;
    }

    if (constant == NULL) {
        header = w->header;
        f = open_memstream(&constant, &len);

        if (f == NULL) {
            fprintf(stderr, "push-bench: out of memory\n");
            exit(1);
        }

        fprintf(f, " HTTP/1.1\r\nHost: %s:%d\r\n", o->http_host, o->http_port);

        if (o->api_key) {
            fprintf(f, "Authorization: Bearer %s\r\n", o->api_key);
        }

        for (i = 0; i < o->nheaders; i++) {
            fprintf(f, "%s\r\n", o->headers[i]);
        }

        if (header) {
            fprintf(f, "%s\r\n", header);
        }

        fprintf(f, "Content-Type: application/octet-stream\r\n"
                   "Content-Length: %u\r\n\r\n", o->size);
        fclose(f);
    }

    *text = constant;

    return len;
}


void
bench_http_write(bench_worker_t *w, bench_pub_t *pub, const bench_request_t *r)
{
    char          *p, *constant;
    size_t         n;
    uint32_t       user, device;
    bench_opts_t  *o;

    o = w->o;
    n = bench_http_constant(w, &constant);

    p = bench_net_reserve(&pub->c, 5 + 1024 + n + o->size);

    memcpy(p, "POST ", 5);
    p += 5;

    bench_publish_message(o, r->log, &user, &device);
    p += bench_expand(o, p, 1024, bench_http_url(o, r->log), user, device);

    memcpy(p, constant, n);
    p += n;

    bench_mark(w, p, r);
    p += o->size;

    pub->c.out_len = p - pub->c.out;
}


/* first of all, what the last connection left unanswered when it closed */

static void
bench_http_opened(bench_worker_t *w, bench_conn_t *c)
{
    uint32_t      i;
    bench_pub_t  *pub;

    pub = (bench_pub_t *) c;
    pub->ready = 1;

    for (i = pub->head; i != pub->tail; i++) {
        bench_http_write(w, pub, &pub->ring[i % w->o->pipeline]);
    }
}


static int
bench_http_header(const unsigned char *p, size_t n, const char *name,
    const char **value)
{
    size_t  len;

    len = strlen(name);

    if (n <= len || p[len] != ':'
        || strncasecmp((const char *) p, name, len) != 0)
    {
        return 0;
    }

    p += len + 1;

    while (*p == ' ' || *p == '\t') {
        p++;
    }

    *value = (const char *) p;

    return 1;
}


/* the length of a chunked body, or BENCH_AGAIN or BENCH_ERROR */

static ssize_t
bench_http_chunks(const unsigned char *p, size_t len)
{
    size_t                size;
    const unsigned char  *s, *nl;

    for (s = p; ; s = nl + 1 + size + 2) {

        if (s >= p + len) {
            return BENCH_AGAIN;
        }

        nl = memchr(s, '\n', p + len - s);

        if (nl == NULL) {
            return BENCH_AGAIN;
        }

        if (!isxdigit(*s)) {
            return BENCH_ERROR;
        }

        size = strtoul((const char *) s, NULL, 16);

        if (size > BENCH_MAX_ANSWER) {
            return BENCH_ERROR;
        }

        if (size == 0) {
            /* no trailers: an empty line ends the body */
            nl += 2;
            return nl < p + len ? nl + 1 - p : BENCH_AGAIN;
        }
    }
}


static int
bench_http_parse(const unsigned char *p, size_t len, bench_answer_t *a)
{
    int                   known;
    ssize_t               rc;
    const char           *v;
    const unsigned char  *end, *line, *next;

    end = memmem(p, len, "\r\n\r\n", 4);

    if (end == NULL) {
        return len > BENCH_MAX_ANSWER ? BENCH_ERROR : BENCH_AGAIN;
    }

    if (end - p < 12 || memcmp(p, "HTTP/1.", 7) != 0 || !isdigit(p[9])) {
        return BENCH_ERROR;
    }

    memset(a, 0, sizeof(bench_answer_t));
    a->status = atoi((const char *) p + 9);
    a->head_len = end + 4 - p;
    a->close = p[7] == '0';
    known = a->status == 204;

    for (line = memchr(p, '\n', end + 2 - p); line < end; line = next) {

        line++;
        next = memchr(line, '\n', end + 2 - line);

        if (bench_http_header(line, next - line, "Content-Length", &v)) {
            a->body_len = strtoul(v, NULL, 10);
            known = 1;

        } else if (bench_http_header(line, next - line, "Connection", &v)) {
            a->close = strncasecmp(v, "close", 5) == 0;

        } else if (bench_http_header(line, next - line, "Transfer-Encoding",
                                     &v))
        {
            a->chunked = 1;
            known = 1;
        }
    }

    a->body = p + a->head_len;

    if (a->chunked) {
        rc = bench_http_chunks(a->body, len - a->head_len);

        if (rc < 0) {
            return rc;
        }

        a->body_len = rc;
    }

    if (!known || a->status < 100 || a->status > 599
        || a->body_len > BENCH_MAX_ANSWER)
    {
        return BENCH_ERROR;
    }

    return a->head_len + a->body_len > len ? BENCH_AGAIN : BENCH_OK;
}


static void
bench_http_answer(bench_worker_t *w, bench_pub_t *pub, const bench_answer_t *a)
{
    int  n;

    w->st->status[a->status]++;

    if (a->status < 300) {
        bench_publish_result(w, pub, BENCH_C_ACCEPTED);
        return;
    }

    n = a->body_len < 200 ? (int) a->body_len : 200;

    bench_note(&w->sh->refusal, "HTTP status %d: %.*s", a->status, n,
               (const char *) a->body);
    bench_publish_result(w, pub, BENCH_C_REFUSED);
}


static ssize_t
bench_http_data(bench_worker_t *w, bench_conn_t *c, unsigned char *p,
    size_t len)
{
    int              rc;
    size_t           pos;
    bench_pub_t     *pub;
    bench_answer_t   a;

    pub = (bench_pub_t *) c;

    for (pos = 0; pos < len; pos += a.head_len + a.body_len) {

        rc = bench_http_parse(p + pos, len - pos, &a);

        if (rc == BENCH_AGAIN) {
            break;
        }

        if (rc == BENCH_OK && a.status < 200) {
            continue;
        }

        if (rc != BENCH_OK || pub->head == pub->tail) {
            bench_note(&w->sh->error, "HTTP: %s: %.*s",
                       rc != BENCH_OK ? "malformed answer"
                                      : "answer without a request",
                       len - pos < 60 ? (int) (len - pos) : 60,
                       (const char *) p + pos);
            bench_net_close(w, c, "malformed answer");
            return BENCH_ERROR;
        }

        bench_http_answer(w, pub, &a);

        if (a.close) {
            pub->closing = 1;
            pub->retry_at = 0;
            bench_net_close(w, c, "Connection: close");
            return BENCH_ERROR;
        }
    }

    return pos;
}


static void
bench_http_closed(bench_worker_t *w, bench_conn_t *c, const char *why)
{
    bench_publish_closed(w, (bench_pub_t *) c, why);
}
