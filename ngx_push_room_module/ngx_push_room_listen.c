
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * TCP_NODELAY of device connections, without a system call for each: on Linux
 * an accepted socket inherits the option from the listening one.  There it is
 * set where all servers of that socket want it ("tcp_nodelay on", the default)
 * and one of them is a room; connections are then marked as having it before
 * nginx sets it.  It saves 0.5 of some 44 microseconds of a CONNECT with a
 * bind (docs/bench.md, "What a connection costs").
 *
 * A listening socket outlives reloads and upgrades, so one that is not to
 * have the option loses it again.
 */


#include "ngx_push_room.h"
#include <netinet/tcp.h>


/* newer versions have the servers of one address by name as well */

#if (nginx_version >= 1025005)

#define ngx_push_room_addr_server(conf)                                       \
    ((conf)->virtual_names ? NULL : (conf)->default_server)

#else

#define ngx_push_room_addr_server(conf)                                       \
    ((ngx_stream_core_srv_conf_t *)                                           \
     (conf)->ctx->srv_conf[ngx_stream_core_module.ctx_index])

#endif


static ngx_uint_t ngx_push_room_wants_nodelay(ngx_listening_t *ls);
static ngx_stream_addr_conf_t *ngx_push_room_addr(ngx_listening_t *ls,
    ngx_uint_t i);


/* of each listening socket, by its place in the cycle: 1, it has the option */

static u_char  *ngx_push_room_nodelay;


ngx_int_t
ngx_push_room_listen_init(ngx_conf_t *cf)
{
    ngx_stream_handler_pt        *h;
    ngx_stream_core_main_conf_t  *cmcf;

    if (!ngx_push_room_configured(cf->cycle)) {
        return NGX_OK;
    }

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_POST_ACCEPT_PHASE].handlers);

    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_push_room_accepted;

    return NGX_OK;
}


/* In the master, when the sockets are open and before workers are made. */

ngx_int_t
ngx_push_room_listen_set(ngx_cycle_t *cycle)
{
    int               on;
    ngx_uint_t        i;
    ngx_listening_t  *ls;

    if (!ngx_push_room_configured(cycle) && ngx_push_room_nodelay == NULL) {

        /* no room now, and none before that has left its mark */

        return NGX_OK;
    }

    ls = cycle->listening.elts;

    ngx_push_room_nodelay = ngx_pcalloc(cycle->pool,
                                        cycle->listening.nelts + 1);
    if (ngx_push_room_nodelay == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < cycle->listening.nelts; i++) {

        if (ls[i].handler != ngx_stream_init_connection
            || ls[i].type != SOCK_STREAM
            || ls[i].sockaddr->sa_family == AF_UNIX
            || ls[i].fd == (ngx_socket_t) -1)
        {
            continue;
        }

        on = ngx_push_room_wants_nodelay(&ls[i]);

        if (setsockopt(ls[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int))
            == -1)
        {
            ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_socket_errno,
                          "setsockopt(TCP_NODELAY, %d) of %V failed, ignored",
                          on, &ls[i].addr_text);
            continue;
        }

        ngx_push_room_nodelay[i] = (u_char) on;
    }

    return NGX_OK;
}


ngx_int_t
ngx_push_room_accepted(ngx_stream_session_t *s)
{
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = s->connection;
    i = c->listening - (ngx_listening_t *) ngx_cycle->listening.elts;

    if (ngx_push_room_nodelay[i]) {
        c->tcp_nodelay = NGX_TCP_NODELAY_SET;
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_push_room_wants_nodelay(ngx_listening_t *ls)
{
    ngx_uint_t                   i, room;
    ngx_stream_port_t           *port;
    ngx_stream_core_srv_conf_t  *cscf;

    room = 0;
    port = ls->servers;

    for (i = 0; i < port->naddrs; i++) {

        cscf = ngx_push_room_addr_server(ngx_push_room_addr(ls, i));

        if (cscf == NULL || !cscf->tcp_nodelay) {
            return 0;
        }

        room |= (cscf->handler == ngx_push_room_handler);
    }

    return room;
}


/* The i-th address of a listening socket with its servers. */

static ngx_stream_addr_conf_t *
ngx_push_room_addr(ngx_listening_t *ls, ngx_uint_t i)
{
    ngx_stream_port_t  *port;

    port = ls->servers;

#if (NGX_HAVE_INET6)
    if (ls->sockaddr->sa_family == AF_INET6) {
        return &((ngx_stream_in6_addr_t *) port->addrs)[i].conf;
    }
#endif

    return &((ngx_stream_in_addr_t *) port->addrs)[i].conf;
}
