
/*
 * Copyright (C) the ngx_push authors
 */


#include "ledger.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>


#define ANSWER_TIME  5.0
#define DEPTH        3                 /* requests on their way at once */
#define TRIES        20                /* of one message */
#define REPEAT_TIME  0.5


/* A connection to the HTTP API, kept as long as the server does. */

typedef struct {
    int        fd;                     /* -1: down until "due" */
    int        up;
    double     due;
    double     until;                  /* by when there must be an answer */
    uint32_t   asked[DEPTH];           /* messages without an answer */
    uint32_t   nasked;
    char       in[8192];
    size_t     in_len;
    char       out[DEPTH * (LEDGER_SIZE_MAX + 1024)];
    size_t     out_len;
} conn_t;


static void conn_down(conn_t *c);


/* Messages to be sent again, in the order in which they are due. */

typedef struct {
    uint32_t   number;
    double     due;
} repeat_t;


static conn_t   *conns;
static repeat_t *repeats;              /* a ring */
static uint32_t  repeat_head;
static uint32_t  repeat_tail;
static int       publishing;
static double    began;


/* --- what a message is */

size_t
message_topic(uint32_t number, char *p)
{
    message_t  *m;

    m = &messages[number];

    switch (m->target) {

    case TO_USER:
        return sprintf(p, "%s/inbox", options.product);

    case TO_GROUP:
        return sprintf(p, "%s/group/g%u", options.product, m->number);

    default:
        return sprintf(p, "%s/broadcast", options.product);
    }
}


/* Its number, whom it is for, and a pattern that depends on the number. */

void
message_body(uint32_t number, char *p)
{
    int         n;
    uint32_t    i;
    message_t  *m;

    m = &messages[number];
    n = sprintf(p, "%u %u %u ", number, m->target, m->number);

    for (i = n; i < m->size; i++) {
        p[i] = 'a' + (i * 7 + number) % 26;
    }
}


static void
message_make(uint32_t number)
{
    uint32_t    r;
    message_t  *m;

    m = &messages[number];
    r = random_below(options.share[0] + options.share[1] + options.share[2]);

    if (r < options.share[0]) {
        m->target = TO_USER;
        m->number = devices[random_below(options.devices)].user;

    } else if (r < options.share[0] + options.share[1] && options.groups) {
        m->target = TO_GROUP;
        m->number = random_below(options.groups);

    } else {
        m->target = TO_ALL;
    }

    m->size = 40 + (random_below(10) ? random_below(300)
                                     : random_below(LEDGER_SIZE_MAX - 40));
}


int
id_parse(const char *p, size_t len, uint64_t *incarnation, uint64_t *seq)
{
    char   buf[64], *end;

    if (len == 0 || len >= sizeof(buf)) {
        return 0;
    }

    memcpy(buf, p, len);
    buf[len] = '\0';

    *incarnation = strtoull(buf, &end, 16);

    if (*end != '-') {
        return 0;
    }

    *seq = strtoull(end + 1, &end, 10);

    return *end == '\0' && *incarnation != 0 && *seq != 0;
}


/* --- connections */

void
publisher_init(void)
{
    uint32_t  i;

    conns = calloc(options.conns, sizeof(conn_t));
    repeats = calloc(nmessages + 1, sizeof(repeat_t));

    for (i = 0; i < options.conns; i++) {
        conns[i].fd = -1;
    }
}


void
publisher_begin(void)
{
    publishing = 1;
    began = now;
}


void
publisher_end(void)
{
    uint32_t  i;

    for (i = 0; i < options.conns; i++) {
        conn_down(&conns[i]);
        conns[i].due = 1e300;
    }

    repeat_tail = repeat_head;
}


uint32_t
publisher_busy(void)
{
    uint32_t  i, n;

    for (i = 0, n = 0; i < options.conns; i++) {
        n += conns[i].nasked;
    }

    return n + (repeat_head != repeat_tail);
}


/* Nobody knows; to be settled by sending it again. */

static void
message_unknown(uint32_t number)
{
    message_t  *m;

    m = &messages[number];
    m->outcome = UNKNOWN;
    m->answered = now;

    if (options.repeat && m->tries < TRIES) {
        repeats[repeat_head].number = number;
        repeats[repeat_head].due = now + REPEAT_TIME;
        repeat_head = (repeat_head + 1) % (nmessages + 1);
    }
}


/* Whatever has no answer now will have none. */

static void
conn_down(conn_t *c)
{
    uint32_t  i;

    for (i = 0; i < c->nasked; i++) {
        message_unknown(c->asked[i]);
    }

    if (c->fd != -1) {
        close(c->fd);
    }

    c->fd = -1;
    c->up = 0;
    c->nasked = 0;
    c->in_len = 0;
    c->out_len = 0;
    c->due = now + 0.05;
}


static void
conn_come(conn_t *c)
{
    c->fd = net_connect(options.http[(c - conns) % options.centers]);

    if (c->fd == -1) {
        c->due = now + 0.1;
        return;
    }

    c->until = now + ANSWER_TIME;
    watch(c->fd, EVENT_HTTP | (c - conns), EPOLLIN|EPOLLOUT, EPOLL_CTL_ADD);
}


static void
conn_write(conn_t *c)
{
    ssize_t  n;

    while (c->out_len) {
        n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL|MSG_DONTWAIT);

        if (n <= 0) {

            if (n == -1 && errno == EAGAIN) {
                watch(c->fd, EVENT_HTTP | (c - conns), EPOLLIN|EPOLLOUT,
                      EPOLL_CTL_MOD);
                return;
            }

            conn_down(c);
            return;
        }

        c->out_len -= n;
        memmove(c->out, c->out + n, c->out_len);
    }

    watch(c->fd, EVENT_HTTP | (c - conns), EPOLLIN, EPOLL_CTL_MOD);
}


static void
conn_ask(conn_t *c, uint32_t number)
{
    char        path[128];
    message_t  *m;

    m = &messages[number];

    switch (m->target) {

    case TO_USER:
        sprintf(path, "users/user%u/messages", m->number);
        break;

    case TO_GROUP:
        sprintf(path, "groups/g%u/messages", m->number);
        break;

    default:
        strcpy(path, "broadcasts");
    }

    c->out_len += sprintf(c->out + c->out_len,
                          "POST /v1/%s/%s HTTP/1.1\r\n"
                          "Host: ledger\r\n"
                          "Authorization: Bearer %s\r\n"
                          "Content-Type: text/plain\r\n"
                          "Content-Length: %u\r\n",
                          options.product, path, options.key, m->size);

    if (options.repeat) {
        c->out_len += sprintf(c->out + c->out_len,
                              "Idempotency-Key: ledger-%u\r\n", number);
    }

    memcpy(c->out + c->out_len, "\r\n", 2);
    c->out_len += 2;

    message_body(number, c->out + c->out_len);
    c->out_len += m->size;

    if (c->nasked == 0) {
        c->until = now + ANSWER_TIME;
    }

    c->asked[c->nasked++] = number;

    if (m->tries++ == 0) {
        m->sent = now;

    } else {
        counters.repeats++;
    }

    conn_write(c);
}


static void
conn_answer(conn_t *c, unsigned status, const char *body, size_t len)
{
    char       *p, *q;
    uint32_t    number;
    uint64_t    incarnation, seq;
    message_t  *m;

    number = c->asked[0];
    m = &messages[number];

    c->nasked--;
    memmove(c->asked, c->asked + 1, c->nasked * sizeof(uint32_t));
    c->until = now + ANSWER_TIME;

    m->status = status;

    if (status == 422) {
        counters.strange++;
        complain("message %u: the key is another message's", number);
    }

    /* that a repeat was refused says nothing of the first request */

    if (status == 504 || (status / 100 != 2 && m->tries > 1)) {
        message_unknown(number);
        return;
    }

    m->answered = now;
    m->outcome = status / 100 == 2 ? OK : REFUSED;

    if (m->outcome != OK) {
        return;
    }

    p = memmem(body, len, "\"id\":\"", 6);
    q = p ? memchr(p + 6, '"', body + len - (p + 6)) : NULL;

    if (q == NULL || !id_parse(p + 6, q - (p + 6), &incarnation, &seq)) {
        counters.strange++;
        complain("an answer %u without an id: %.*s", status, (int) len, body);
        return;
    }

    if (m->incarnation
        && (m->incarnation != incarnation || m->seq != seq))
    {
        if (m->tries > 1) {
            judge_double(m);
            return;
        }

        counters.strange++;
        complain("message %u came under another id than was answered",
                 (unsigned) (m - messages));
    }

    m->incarnation = incarnation;
    m->seq = seq;
}


/* One answer of those in the buffer; 0: not all of it is here. */

static size_t
conn_parse(conn_t *c)
{
    char    *end, *p;
    size_t   head, body;

    static const char  replayed[] = "\r\nIdempotent-Replayed: true";

    end = memmem(c->in, c->in_len, "\r\n\r\n", 4);

    if (end == NULL) {
        return 0;
    }

    head = end + 4 - c->in;
    body = 0;

    for (p = c->in; p < end; p++) {
        if (strncasecmp(p, "\r\nContent-Length:", 17) == 0) {
            body = strtoul(p + 17, NULL, 10);
        }

        counters.replayed += strncasecmp(p, replayed,
                                         sizeof(replayed) - 1) == 0;
    }

    if (head + body > c->in_len) {
        return 0;
    }

    if (c->nasked == 0) {
        return -1;
    }

    conn_answer(c, atoi(c->in + 9), c->in + head, body);

    return head + body;
}


static void
conn_read(conn_t *c)
{
    size_t   used;
    ssize_t  n;

    n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len,
             MSG_DONTWAIT);

    if (n <= 0) {

        if (n == 0 || errno != EAGAIN) {
            conn_down(c);
        }

        return;
    }

    c->in_len += n;

    while (c->in_len && (used = conn_parse(c)) != 0) {

        if (used == (size_t) -1) {
            conn_down(c);
            return;
        }

        c->in_len -= used;
        memmove(c->in, c->in + used, c->in_len);
    }
}


void
publisher_event(uint32_t index, uint32_t events)
{
    conn_t  *c;

    c = &conns[index];

    if (c->fd == -1) {
        return;
    }

    if (events & (EPOLLHUP|EPOLLERR)) {
        conn_read(c);

        if (c->fd != -1) {
            conn_down(c);
        }

        return;
    }

    if (events & EPOLLIN) {
        conn_read(c);
    }

    if (c->fd != -1 && (events & EPOLLOUT)) {
        c->up = 1;
        conn_write(c);
    }
}


/* In turn: one without any request keeps an old worker from leaving. */

static conn_t *
conn_free(void)
{
    conn_t           *c;
    uint32_t          i;
    static uint32_t   turn;

    for (i = 0; i < options.conns; i++) {
        c = &conns[turn++ % options.conns];

        if (c->up && c->nasked < DEPTH) {
            return c;
        }
    }

    return NULL;
}


void
publisher_tick(void)
{
    conn_t    *c;
    uint32_t   i, due;

    for (i = 0; i < options.conns; i++) {
        c = &conns[i];

        if (c->fd == -1) {
            if (now >= c->due) {
                conn_come(c);
            }

        } else if ((c->nasked || !c->up) && now >= c->until) {
            conn_down(c);
        }
    }

    if (!publishing) {
        return;
    }

    while (repeat_tail != repeat_head && now >= repeats[repeat_tail].due) {
        c = conn_free();

        if (c == NULL) {
            break;
        }

        i = repeats[repeat_tail].number;
        repeat_tail = (repeat_tail + 1) % (nmessages + 1);
        conn_ask(c, i);
    }

    due = (now - began) * options.rate;

    while (nsent < nmessages && nsent < due) {
        c = conn_free();

        if (c == NULL) {
            break;
        }

        message_make(nsent);
        conn_ask(c, nsent++);
    }
}
