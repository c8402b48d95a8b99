
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * What the log phase asks of a connection and nginx keeps in the connection's
 * pool: where it came from.  Packed behind the names at CONNECT, and put back
 * to where it was at the end of a connection that was detached.
 *
 *   flags     1, NGX_PUSH_ROOM_FACT_*; 0: it has to stay attached
 *   client    its address, of realip if that put one in
 *   peer      the address of the socket, with _REALIP only
 *   proxy     with _PROXY only: source and destination, each with a length
 *             octet before it, and the two ports of two octets
 *
 * An address is a family octet, and with 4 and 6 port and address as in the
 * sockaddr.  getpeername() would not do: a reset takes the peer's address away.
 */


#include "ngx_push_room.h"


#define NGX_PUSH_ROOM_FACT_KNOWN   0x01
#define NGX_PUSH_ROOM_FACT_REALIP  0x02
#define NGX_PUSH_ROOM_FACT_PROXY   0x04

/* of one address in the PROXY protocol's text; two of 19 octets, packed */

#define NGX_PUSH_ROOM_PROXY_MAX    100


static u_char *ngx_push_room_proxy_fact(u_char *p, ngx_proxy_protocol_t *pp);
static u_char *ngx_push_room_pack(u_char *p, struct sockaddr *sa,
    socklen_t socklen);
static u_char *ngx_push_room_unpack(u_char *p, ngx_sockaddr_t *sa,
    socklen_t *socklen);
static u_char *ngx_push_room_facts_of(ngx_push_room_conn_t *room);
static ngx_int_t ngx_push_room_unfold_proxy(ngx_connection_t *c, u_char *p);


ngx_uint_t  ngx_push_room_realip;


void
ngx_push_room_facts_init(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    ngx_push_room_realip = ngx_stream_max_module;

    for (i = 0; cycle->modules[i]; i++) {
        if (cycle->modules[i]->type == NGX_STREAM_MODULE
            && ngx_strcmp(cycle->modules[i]->name, "ngx_stream_realip_module")
               == 0)
        {
            ngx_push_room_realip = cycle->modules[i]->ctx_index;
        }
    }
}


ngx_stream_handler_pt
ngx_push_room_realip_handler(ngx_stream_session_t *s)
{
    ngx_uint_t                    i;
    ngx_array_t                  *handlers;
    ngx_stream_handler_pt        *h, found;
    ngx_stream_core_main_conf_t  *cmcf;

    cmcf = ngx_stream_get_module_main_conf(s, ngx_stream_core_module);
    handlers = &cmcf->phases[NGX_STREAM_POST_ACCEPT_PHASE].handlers;
    h = handlers->elts;
    found = NULL;

    for (i = 0; i < handlers->nelts; i++) {

        if (h[i] == ngx_push_room_accepted) {
            continue;
        }

        if (found) {
            return NULL;
        }

        found = h[i];
    }

    return found;
}


size_t
ngx_push_room_facts(ngx_push_room_conn_t *room, u_char *buf)
{
    u_char                *p, flags;
    socklen_t              len;
    ngx_sockaddr_t         sa;
    ngx_connection_t      *c;
    ngx_stream_session_t  *s;

    c = room->connection;
    s = c->data;

    flags = NGX_PUSH_ROOM_FACT_KNOWN;
    p = ngx_push_room_pack(buf + 1, c->sockaddr, c->socklen);

    if (p && ngx_push_room_realip < ngx_stream_max_module
        && s->ctx[ngx_push_room_realip])
    {
        flags |= NGX_PUSH_ROOM_FACT_REALIP;
        len = sizeof(ngx_sockaddr_t);

        p = (getpeername(c->fd, &sa.sockaddr, &len) == -1)
            ? NULL : ngx_push_room_pack(p, &sa.sockaddr, len);
    }

    if (p && c->proxy_protocol) {
        flags |= NGX_PUSH_ROOM_FACT_PROXY;
        p = ngx_push_room_proxy_fact(p, c->proxy_protocol);
    }

    if (p == NULL) {
        buf[0] = 0;
        return 1;
    }

    buf[0] = flags;

    return p - buf;
}


static u_char *
ngx_push_room_proxy_fact(u_char *p, ngx_proxy_protocol_t *pp)
{
#if (nginx_version >= 1023002)
    if (pp->tlvs.len) {
        return NULL;
    }
#endif

    if (pp->src_addr.len > NGX_PUSH_ROOM_PROXY_MAX
        || pp->dst_addr.len > NGX_PUSH_ROOM_PROXY_MAX)
    {
        return NULL;
    }

    *p++ = (u_char) pp->src_addr.len;
    p = ngx_cpymem(p, pp->src_addr.data, pp->src_addr.len);
    *p++ = (u_char) pp->dst_addr.len;
    p = ngx_cpymem(p, pp->dst_addr.data, pp->dst_addr.len);
    p = ngx_cpymem(p, &pp->src_port, 2);

    return ngx_cpymem(p, &pp->dst_port, 2);
}


/* NULL: of a family or length that is not kept. */

static u_char *
ngx_push_room_pack(u_char *p, struct sockaddr *sa, socklen_t socklen)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sa->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        *p++ = 6;
        p = ngx_cpymem(p, &sin6->sin6_port, 2);
        return ngx_cpymem(p, &sin6->sin6_addr, 16);
#endif

#if (NGX_HAVE_UNIX_DOMAIN)
    case AF_UNIX:

        if (socklen > (socklen_t) offsetof(struct sockaddr_un, sun_path)) {
            return NULL;
        }

        *p++ = 0;
        return p;
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) sa;

        *p++ = 4;
        p = ngx_cpymem(p, &sin->sin_port, 2);
        return ngx_cpymem(p, &sin->sin_addr, 4);

    default:
        return NULL;
    }
}


static u_char *
ngx_push_room_unpack(u_char *p, ngx_sockaddr_t *sa, socklen_t *socklen)
{
    ngx_memzero(sa, sizeof(ngx_sockaddr_t));

    switch (*p++) {

#if (NGX_HAVE_INET6)
    case 6:
        *socklen = sizeof(struct sockaddr_in6);
        sa->sockaddr_in6.sin6_family = AF_INET6;
        ngx_memcpy(&sa->sockaddr_in6.sin6_port, p, 2);
        ngx_memcpy(&sa->sockaddr_in6.sin6_addr, p + 2, 16);
        return p + 18;
#endif

#if (NGX_HAVE_UNIX_DOMAIN)
    case 0:
        *socklen = offsetof(struct sockaddr_un, sun_path);
        sa->sockaddr.sa_family = AF_UNIX;
        return p;
#endif

    default: /* 4 */
        *socklen = sizeof(struct sockaddr_in);
        sa->sockaddr_in.sin_family = AF_INET;
        ngx_memcpy(&sa->sockaddr_in.sin_port, p, 2);
        ngx_memcpy(&sa->sockaddr_in.sin_addr, p + 2, 4);
        return p + 6;
    }
}


static u_char *
ngx_push_room_facts_of(ngx_push_room_conn_t *room)
{
    ngx_str_t  device;

    ngx_push_room_device(room, &device);

    return device.data + device.len;
}


ngx_uint_t
ngx_push_room_facts_known(ngx_push_room_conn_t *room)
{
    return *ngx_push_room_facts_of(room) != 0;
}


size_t
ngx_push_room_client(ngx_push_room_conn_t *room, u_char *text)
{
    socklen_t       len;
    ngx_sockaddr_t  sa;

    (void) ngx_push_room_unpack(ngx_push_room_facts_of(room) + 1, &sa, &len);

    return ngx_sock_ntop(&sa.sockaddr, len, text, NGX_SOCKADDR_STRLEN, 0);
}


ngx_int_t
ngx_push_room_unfold(ngx_push_room_conn_t *room, ngx_stream_session_t *s)
{
    u_char                 *p, flags;
    socklen_t               len;
    ngx_sockaddr_t          sa;
    ngx_connection_t       *c;
    ngx_stream_handler_pt   handler;

    c = s->connection;

    p = ngx_push_room_facts_of(room);
    flags = *p++;

    p = ngx_push_room_unpack(p, &sa, &len);

    if (flags & NGX_PUSH_ROOM_FACT_REALIP) {
        p = ngx_push_room_unpack(p, &sa, &len);
    }

    c->sockaddr = ngx_palloc(c->pool, len);
    c->addr_text.data = ngx_pnalloc(c->pool, c->listening->addr_text_max_len);

    if (c->sockaddr == NULL || c->addr_text.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(c->sockaddr, &sa, len);
    c->socklen = len;
    c->addr_text.len = ngx_sock_ntop(c->sockaddr, c->socklen,
                                     c->addr_text.data,
                                     c->listening->addr_text_max_len, 0);

    if ((flags & NGX_PUSH_ROOM_FACT_PROXY)
        && ngx_push_room_unfold_proxy(c, p) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (flags & NGX_PUSH_ROOM_FACT_REALIP) {
        handler = ngx_push_room_realip_handler(s);

        if (handler == NULL || handler(s) != NGX_DECLINED) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_room_unfold_proxy(ngx_connection_t *c, u_char *p)
{
    size_t                 n;
    u_char                *copy;
    ngx_proxy_protocol_t  *pp;

    n = 2 + p[0] + p[1 + p[0]];

    pp = ngx_pcalloc(c->pool, sizeof(ngx_proxy_protocol_t));
    copy = ngx_pnalloc(c->pool, n);

    if (pp == NULL || copy == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy, p, n);

    pp->src_addr.len = copy[0];
    pp->src_addr.data = copy + 1;
    pp->dst_addr.len = copy[1 + copy[0]];
    pp->dst_addr.data = copy + 2 + copy[0];

    ngx_memcpy(&pp->src_port, p + n, 2);
    ngx_memcpy(&pp->dst_port, p + n + 2, 2);

    c->proxy_protocol = pp;

    return NGX_OK;
}
