
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * A connection that is online needs nothing of what nginx's stream made for
 * it: session, contexts, variables, log, addresses, and the pool they are in,
 * 800 octets and more.  So it is detached from them at the end of the first
 * read that finds it online, and they are made again at its end, for the log
 * phase.  Meanwhile c->data is the room's connection and c->pool is NULL; an
 * attached one has the stream session in c->data, as everywhere in nginx.
 *
 * What cannot be made again as it was is not thrown away: the connection
 * stays attached when
 *
 *   - its pool has a cleanup handler (limit_conn counts by one),
 *   - another module than realip has a context,
 *   - a variable has been evaluated, or a regular expression (set, map),
 *   - limit_conn has a status for the log (limit_conn_dry_run),
 *   - debug_connection gave it a log level of its own,
 *   - an address is not kept (a unix socket with a name, TLVs and very long
 *     ones of the PROXY protocol).
 *
 * What the log phase asks for is read from what stays (octets and start from
 * ngx_connection_t, the local address by getsockname()), or was kept behind
 * the names (ngx_push_room_facts.c).
 *
 * All detached connections of a server share one log.  Whoever asks for the
 * connection of a room by ngx_push_room_connection() makes it speak of that
 * one; after a call that may serve another connection, ask again.
 */


#include "ngx_push_room.h"


static ngx_uint_t ngx_push_room_detachable(ngx_push_room_conn_t *room,
    ngx_stream_session_t *s);
static ngx_uint_t ngx_push_room_plain(ngx_stream_session_t *s);
static ngx_int_t ngx_push_room_attach(ngx_push_room_conn_t *room,
    ngx_pool_t *pool);
static ngx_stream_session_t *ngx_push_room_new_session(
    ngx_push_room_conn_t *room, ngx_pool_t *pool);
static void ngx_push_room_drop(ngx_push_room_conn_t *room, ngx_pool_t *pool);
static void ngx_push_room_log_forget(ngx_push_room_conn_t *room);
static u_char *ngx_push_room_log_detached(ngx_log_t *log, u_char *buf,
    size_t len);
static u_char *ngx_push_room_log_session(ngx_log_t *log, u_char *buf,
    size_t len);


void
ngx_push_room_detach(ngx_push_room_conn_t *room)
{
    ngx_log_t             *log;
    ngx_pool_t            *pool;
    ngx_connection_t      *c;
    ngx_stream_session_t  *s;
#if (NGX_STREAM_SSL)
    ngx_ssl_connection_t  *ssl;
#endif

    c = room->connection;
    s = c->data;

    if (!ngx_push_room_detachable(room, s)) {
        room->attached = 1;
        return;
    }

#if (NGX_STREAM_SSL)
    if (c->ssl) {
        ssl = ngx_alloc(sizeof(ngx_ssl_connection_t), c->log);
        if (ssl == NULL) {
            room->attached = 1;
            return;
        }

        *ssl = *c->ssl;
        c->ssl = ssl;
    }
#endif

    ngx_log_debug0(NGX_LOG_DEBUG_STREAM, c->log, 0, "push detach");

    log = &room->conf->log;

    if (log->handler == NULL) {
        *log = *c->log;
        log->handler = ngx_push_room_log_detached;
    }

    pool = c->pool;

    c->data = room;
    c->pool = NULL;
    c->log = log;
    c->read->log = log;
    c->write->log = log;
    c->sockaddr = NULL;
    c->socklen = 0;
    ngx_str_null(&c->addr_text);
    c->local_sockaddr = c->listening->sockaddr;
    c->local_socklen = c->listening->socklen;
    c->proxy_protocol = NULL;
    c->buffer = NULL;

    ngx_destroy_pool(pool);

    (void) ngx_push_room_connection(room);
}


static ngx_uint_t
ngx_push_room_detachable(ngx_push_room_conn_t *room, ngx_stream_session_t *s)
{
    ngx_connection_t  *c;

    c = s->connection;

    if (c->pool->cleanup
        || (c->log->log_level & NGX_LOG_DEBUG_CONNECTION)
        || (c->buffer && c->buffer->pos < c->buffer->last)
        || !ngx_push_room_facts_known(room))
    {
        return 0;
    }

#if (NGX_STREAM_SSL)
    if (c->ssl && (c->ssl->buf || c->ssl->ocsp)) {
        return 0;
    }
#endif

    return ngx_push_room_plain(s);
}


/* The session is as it was before its phases, as far as can be told. */

static ngx_uint_t
ngx_push_room_plain(ngx_stream_session_t *s)
{
    ngx_uint_t                    i;
    ngx_stream_core_main_conf_t  *cmcf;

    if (s->log_handler || s->upstream || s->upstream_states
        || s->limit_conn_status)
    {
        return 0;
    }

#if (NGX_PCRE)
    if (s->ncaptures) {
        return 0;
    }
#endif

    for (i = 0; i < ngx_stream_max_module; i++) {

        if (s->ctx[i] == NULL || i == ngx_push_room_module.ctx_index) {
            continue;
        }

        /* of realip: made by the phase that has no other handler but ours */

        if (i != ngx_push_room_realip
            || ngx_push_room_realip_handler(s) == NULL)
        {
            return 0;
        }
    }

    cmcf = ngx_stream_get_module_main_conf(s, ngx_stream_core_module);

    for (i = 0; i < cmcf->variables.nelts; i++) {
        if (s->variables[i].valid || s->variables[i].not_found) {
            return 0;
        }
    }

    return 1;
}


/*
 * Writes the access log and closes.  Without memory for that the connection is
 * closed all the same.
 */

void
ngx_push_room_finalize(ngx_push_room_conn_t *room, ngx_uint_t status)
{
    ngx_pool_t            *pool;
    ngx_connection_t      *c;
    ngx_stream_session_t  *s;

    c = ngx_push_room_connection(room);

    if (c->pool == NULL) {
        pool = ngx_create_pool(c->listening->pool_size, c->log);

        if (pool == NULL || ngx_push_room_attach(room, pool) != NGX_OK) {
            ngx_log_error(NGX_LOG_ERR, c->log, 0,
                          "push: no memory to log the end of a connection");
            ngx_push_room_drop(room, pool);
            return;
        }
    }

    s = c->data;
    s->received = room->received;

    ngx_push_room_log_forget(room);

    ngx_stream_finalize_session(s, status);
}


static void
ngx_push_room_log_forget(ngx_push_room_conn_t *room)
{
    ngx_log_t  *log;

    log = &room->conf->log;

    if (log->data == room) {
        log->data = NULL;
        log->connection = 0;
    }
}


/*
 * The stream session of a detached connection, as it was when the room got
 * it.  NGX_ERROR: no memory; c->log and what TLS holds are then untouched.
 */

static ngx_int_t
ngx_push_room_attach(ngx_push_room_conn_t *room, ngx_pool_t *pool)
{
    ngx_log_t             *log;
    ngx_connection_t      *c;
    ngx_stream_session_t  *s;

    c = room->connection;
    c->pool = pool;

    s = ngx_push_room_new_session(room, pool);
    log = ngx_palloc(pool, sizeof(ngx_log_t));

    if (s == NULL || log == NULL || ngx_push_room_unfold(room, s) != NGX_OK) {
        return NGX_ERROR;
    }

#if (NGX_STREAM_SSL)
    if (c->ssl) {
        ngx_ssl_connection_t  *ssl;

        ssl = ngx_palloc(pool, sizeof(ngx_ssl_connection_t));
        if (ssl == NULL) {
            return NGX_ERROR;
        }

        *ssl = *c->ssl;
        ngx_free(c->ssl);
        c->ssl = ssl;
        s->ssl = 1;
    }
#endif

    *log = room->conf->log;
    log->handler = ngx_push_room_log_session;
    log->data = s;

    pool->log = log;
    c->log = log;
    c->read->log = log;
    c->write->log = log;
    c->data = s;

    return NGX_OK;
}


static ngx_stream_session_t *
ngx_push_room_new_session(ngx_push_room_conn_t *room, ngx_pool_t *pool)
{
    ngx_time_t                   *tp;
    ngx_msec_t                    start;
    ngx_stream_session_t         *s;
    ngx_stream_core_main_conf_t  *cmcf;

    s = ngx_pcalloc(pool, sizeof(ngx_stream_session_t));
    if (s == NULL) {
        return NULL;
    }

    s->signature = NGX_STREAM_MODULE;
    s->connection = room->connection;
    s->main_conf = room->conf->ctx->main_conf;
    s->srv_conf = room->conf->ctx->srv_conf;

    cmcf = ngx_stream_get_module_main_conf(s, ngx_stream_core_module);

    s->ctx = ngx_pcalloc(pool, ngx_stream_max_module * sizeof(void *));
    s->variables = ngx_pcalloc(pool, cmcf->variables.nelts
                                     * sizeof(ngx_stream_variable_value_t));

    if (s->ctx == NULL || s->variables == NULL) {
        return NULL;
    }

    ngx_stream_set_ctx(s, room, ngx_push_room_module);

    /* c->start_time is of the monotonic clock */

    tp = ngx_timeofday();
    start = (ngx_msec_t) tp->sec * 1000 + tp->msec
            - (ngx_current_msec - room->connection->start_time);

    s->start_sec = start / 1000;
    s->start_msec = start % 1000;

    return s;
}


/* What ngx_stream_finalize_session() does, but for the log phase. */

static void
ngx_push_room_drop(ngx_push_room_conn_t *room, ngx_pool_t *pool)
{
    ngx_connection_t  *c;

    c = room->connection;

#if (NGX_STREAM_SSL)
    if (c->ssl) {
        ngx_ssl_connection_t  *ssl = c->ssl;

        c->error = 1;              /* nothing is sent, and nothing awaited */
        (void) ngx_ssl_shutdown(c);
        ngx_free(ssl);
    }
#endif

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

    ngx_close_connection(c);

    ngx_push_room_log_forget(room);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


/* As nginx's own lines: while doing what, client, server. */

static u_char *
ngx_push_room_log_detached(ngx_log_t *log, u_char *buf, size_t len)
{
    size_t                 n;
    u_char                 text[NGX_SOCKADDR_STRLEN];
    ngx_push_room_conn_t  *room;

    room = log->data;

    if (room == NULL) {
        return buf;
    }

    n = ngx_push_room_client(room, text);

    return ngx_snprintf(buf, len, " while %s, client: %*s, server: %V",
                        log->action, n, text,
                        &room->connection->listening->addr_text);
}


static u_char *
ngx_push_room_log_session(ngx_log_t *log, u_char *buf, size_t len)
{
    ngx_connection_t      *c;
    ngx_stream_session_t  *s;

    s = log->data;
    c = s->connection;

    return ngx_snprintf(buf, len, " while %s, client: %V, server: %V",
                        log->action, &c->addr_text,
                        &c->listening->addr_text);
}
