
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Names that servers tell at run time.  They are rare, but a look-up may take
 * seconds: each is done by a thread of its own, which hands what it has found
 * to the event loop through a pipe.  The thread knows nothing but its job.
 */


#include "ngx_push_redis_scout.h"
#include <netdb.h>
#include <pthread.h>
#include <signal.h>


#define NGX_PUSH_REDIS_NAMES    64
#define NGX_PUSH_REDIS_KNOWN    60000  /* ms, how long an answer is good */
#define NGX_PUSH_REDIS_UNKNOWN  1000


typedef struct {
    char                    host[256];
    ngx_push_redis_addr_t   addr;
    ngx_msec_t              since;
    unsigned                asked:1;   /* a thread is at it */
    unsigned                found:1;
} ngx_push_redis_name_t;


typedef struct {
    int                     fd;        /* where to hand this in */
    ngx_uint_t              index;
    char                    host[256];
    ngx_push_redis_addr_t   addr;
    ngx_uint_t              found;
} ngx_push_redis_lookup_t;


static ngx_push_redis_name_t *ngx_push_redis_name(const char *host);
static ngx_int_t ngx_push_redis_lookup(ngx_push_redis_name_t *name);
static ngx_int_t ngx_push_redis_pipe(void);
static void *ngx_push_redis_lookup_thread(void *data);
static void ngx_push_redis_looked_up(ngx_event_t *ev);


static ngx_push_redis_name_t   ngx_push_redis_names[NGX_PUSH_REDIS_NAMES];
static ngx_connection_t       *ngx_push_redis_pipe_read;
static int                     ngx_push_redis_pipe_write = -1;


ngx_int_t
ngx_push_redis_resolve(ngx_push_redis_addr_t *addr, const char *host,
    in_port_t port)
{
    ngx_msec_t              age;
    ngx_push_redis_name_t  *name;

    ngx_memzero(addr, sizeof(ngx_push_redis_addr_t));

    if (ngx_push_redis_literal(host)) {
        ngx_cpystrn((u_char *) addr->host, (u_char *) host,
                    sizeof(addr->host));
        addr->port = port;
        return NGX_OK;
    }

    name = ngx_push_redis_name(host);

    if (name == NULL) {
        return NGX_ERROR;
    }

    age = ngx_current_msec - name->since;

    if (!name->asked && age > (name->found ? NGX_PUSH_REDIS_KNOWN
                                           : NGX_PUSH_REDIS_UNKNOWN)
        && ngx_push_redis_lookup(name) != NGX_OK)
    {
        name->since = ngx_current_msec;
        return NGX_ERROR;
    }

    if (!name->found) {
        return name->asked ? NGX_AGAIN : NGX_ERROR;
    }

    /* what was found before serves until it has been looked up again */

    *addr = name->addr;
    addr->port = port;

    return NGX_OK;
}


/* Known or new; the one that was not asked for longest makes room. */

static ngx_push_redis_name_t *
ngx_push_redis_name(const char *host)
{
    ngx_uint_t              i;
    ngx_push_redis_name_t  *name, *oldest;

    if (host[0] == '\0' || ngx_strlen(host) >= sizeof(name->host)) {
        return NULL;
    }

    oldest = NULL;

    for (i = 0; i < NGX_PUSH_REDIS_NAMES; i++) {
        name = &ngx_push_redis_names[i];

        if (ngx_strcmp(name->host, host) == 0) {
            return name;
        }

        if (!name->asked
            && (oldest == NULL || name->host[0] == '\0'
                || (oldest->host[0] != '\0'
                    && (ngx_msec_int_t) (oldest->since - name->since) > 0)))
        {
            oldest = name;
        }
    }

    if (oldest) {
        ngx_memzero(oldest, sizeof(ngx_push_redis_name_t));
        ngx_cpystrn((u_char *) oldest->host, (u_char *) host,
                    sizeof(oldest->host));
        oldest->since = ngx_current_msec - NGX_PUSH_REDIS_KNOWN - 1;
    }

    return oldest;
}


static ngx_int_t
ngx_push_redis_lookup(ngx_push_redis_name_t *name)
{
    int                       rc;
    sigset_t                  all, old;
    pthread_t                 thread;
    pthread_attr_t            attr;
    ngx_push_redis_lookup_t  *job;

    if (ngx_push_redis_pipe() != NGX_OK) {
        return NGX_ERROR;
    }

    job = ngx_calloc(sizeof(ngx_push_redis_lookup_t), ngx_push_redis.log);

    if (job == NULL) {
        return NGX_ERROR;
    }

    job->fd = ngx_push_redis_pipe_write;
    job->index = name - ngx_push_redis_names;
    ngx_memcpy(job->host, name->host, sizeof(job->host));

    /* signals are the event loop's */

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_BLOCK, &all, &old);

    (void) pthread_attr_init(&attr);
    (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);

    rc = pthread_create(&thread, &attr, ngx_push_redis_lookup_thread, job);

    (void) pthread_attr_destroy(&attr);
    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (rc != 0) {
        ngx_log_error(NGX_LOG_ERR, ngx_push_redis.log, rc,
                      "redis: no thread to look up \"%s\"", name->host);
        ngx_free(job);
        return NGX_ERROR;
    }

    name->asked = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_push_redis_pipe(void)
{
    int                fd[2];
    ngx_connection_t  *c;

    if (ngx_push_redis_pipe_read) {
        return NGX_OK;
    }

    if (pipe2(fd, O_CLOEXEC|O_NONBLOCK) == -1) {
        ngx_log_error(NGX_LOG_ERR, ngx_push_redis.log, ngx_errno,
                      "redis: pipe2() failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd[0], ngx_push_redis.log);

    if (c == NULL) {
        goto failed;
    }

    c->log = ngx_push_redis.log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_push_redis_looked_up;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;
        goto failed;
    }

    ngx_push_redis_pipe_read = c;
    ngx_push_redis_pipe_write = fd[1];

    return NGX_OK;

failed:

    (void) close(fd[0]);
    (void) close(fd[1]);

    return NGX_ERROR;
}


static void *
ngx_push_redis_lookup_thread(void *data)
{
    ngx_push_redis_lookup_t *job = data;

    struct addrinfo   hints, *res;

    ngx_memzero(&hints, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;

    if (getaddrinfo(job->host, NULL, &hints, &res) == 0) {
        ngx_push_redis_addr_of(&job->addr, res->ai_addr, res->ai_addrlen);
        job->found = job->addr.host[0] != '\0';
        freeaddrinfo(res);
    }

    if (write(job->fd, &job, sizeof(job)) != sizeof(job)) {
        free(job);
    }

    return NULL;
}


static void
ngx_push_redis_looked_up(ngx_event_t *ev)
{
    ssize_t                   n;
    ngx_uint_t                any;
    ngx_push_redis_name_t    *name;
    ngx_push_redis_lookup_t  *job;

    any = 0;

    for ( ;; ) {
        n = read(ngx_push_redis_pipe_read->fd, &job, sizeof(job));

        if (n != sizeof(job)) {
            break;
        }

        name = &ngx_push_redis_names[job->index];

        name->asked = 0;
        name->since = ngx_current_msec;

        if (job->found) {
            name->found = 1;
            name->addr = job->addr;

        } else {
            ngx_log_error(NGX_LOG_ERR, ngx_push_redis.log, 0,
                          "redis: host \"%s\" not found", name->host);
        }

        free(job);
        any = 1;
    }

    if (any) {
        ngx_push_redis.where->type->doubt();
    }
}


/*
 * The other end stays open: a thread may still be about to write into it, and
 * its number must not have become another's.
 */

void
ngx_push_redis_resolve_exit(void)
{
    if (ngx_push_redis_pipe_read) {
        ngx_close_connection(ngx_push_redis_pipe_read);
        ngx_push_redis_pipe_read = NULL;
    }
}
