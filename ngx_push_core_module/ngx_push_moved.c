
/*
 * Copyright (C) the ngx_push authors
 */


/* Sessions that have moved; and those that another node has. */


#include "ngx_push_sub.h"
#include "ngx_push_conn.h"
#include "ngx_push_mirror.h"
#include "ngx_push_moved.h"


#define NGX_PUSH_MOVED_ROOM     256    /* notes of one transaction */
#define NGX_PUSH_MOVED_NOBODY   0xffffffff


typedef struct {
    ngx_push_handle_t    session;
    uint32_t             conn;
} ngx_push_moved_t;


static ngx_push_moved_t *ngx_push_moved_new(void);
static void ngx_push_moved_handler(ngx_event_t *ev);
static void ngx_push_session_names(ngx_push_claim_t *claim,
    ngx_push_product_t *product, ngx_str_t *user, ngx_str_t *device);


ngx_uint_t                ngx_push_moving;

static ngx_push_moved_t  *ngx_push_moved;      /* a ring */
static ngx_uint_t         ngx_push_moved_head;
static ngx_uint_t         ngx_push_moved_tail;
static ngx_uint_t         ngx_push_moved_size; /* a power of two */
static ngx_uint_t         ngx_push_moved_told;
static ngx_event_t        ngx_push_moved_event;


void
ngx_push_moved_init(ngx_cycle_t *cycle, ngx_push_conf_t *pcf)
{
    ngx_push_moving = (pcf->reg && pcf->reg->moved);

    ngx_push_moved_event.handler = ngx_push_moved_handler;
    ngx_push_moved_event.log = cycle->log;
}


void
ngx_push_moved_room(void)
{
    ngx_uint_t         i, n, size;
    ngx_push_moved_t  *moved;

    n = ngx_push_moved_head - ngx_push_moved_tail;

    if (ngx_push_moved_size - n >= NGX_PUSH_MOVED_ROOM) {
        return;
    }

    size = ngx_push_moved_size ? 2 * ngx_push_moved_size : 1024;
    moved = malloc(size * sizeof(ngx_push_moved_t));

    if (moved == NULL) {
        return;
    }

    for (i = 0; i < n; i++) {
        moved[i] = ngx_push_moved[(ngx_push_moved_tail + i)
                                  & (ngx_push_moved_size - 1)];
    }

    free(ngx_push_moved);

    ngx_push_moved = moved;
    ngx_push_moved_size = size;
    ngx_push_moved_tail = 0;
    ngx_push_moved_head = n;
}


/* NULL: there is no room. */

static ngx_push_moved_t *
ngx_push_moved_new(void)
{
    if (ngx_push_moved_head - ngx_push_moved_tail == ngx_push_moved_size) {
        return NULL;
    }

    if (!ngx_push_moved_told && !ngx_push_moved_event.posted) {
        ngx_post_event(&ngx_push_moved_event, &ngx_posted_events);
    }

    return &ngx_push_moved[ngx_push_moved_head++ & (ngx_push_moved_size - 1)];
}


void
ngx_push_moved_conn(ngx_push_conn_t *pc)
{
    ngx_push_moved_t  *moved;

    moved = ngx_push_moved_new();

    if (moved) {
        moved->session = pc->session;
        moved->conn = pc->index;
        pc->noted = 1;
    }
}


void
ngx_push_moved_session(ngx_push_handle_t session)
{
    ngx_push_moved_t  *moved;

    moved = ngx_push_moved_new();

    if (moved) {
        moved->session = session;
        moved->conn = NGX_PUSH_MOVED_NOBODY;
    }
}


void
ngx_push_session_moved(ngx_push_handle_t session)
{
    if (ngx_push_moving) {
        ngx_push_moved_room();
        ngx_push_moved_session(session);
    }
}


static void
ngx_push_moved_handler(ngx_event_t *ev)
{
    ngx_push_conf_t  *pcf;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    if (pcf && pcf->reg->moved
        && ngx_push_moved_head != ngx_push_moved_tail)
    {
        ngx_push_moved_told = 1;
        pcf->reg->moved();
    }
}


ngx_uint_t
ngx_push_moved_next(ngx_push_handle_t *session)
{
    ngx_push_conn_t   *pc;
    ngx_push_moved_t  *moved;

    if (ngx_push_moved_head == ngx_push_moved_tail) {
        ngx_push_moved_told = 0;
        return 0;
    }

    moved = &ngx_push_moved[ngx_push_moved_tail++
                            & (ngx_push_moved_size - 1)];

    *session = moved->session;

    pc = ngx_push_conn_get(moved->conn);

    if (pc && pc->session.index == session->index
        && pc->session.gen == session->gen)
    {
        pc->noted = 0;
    }

    return 1;
}


ngx_uint_t
ngx_push_moved_count(void)
{
    return ngx_push_moved_head - ngx_push_moved_tail;
}


void
ngx_push_session_registered(ngx_push_handle_t session, uint32_t claim)
{
    ngx_push_session_t  *s;

    s = ngx_push_session_by_handle(session);

    if (s == NULL) {
        return;
    }

    ngx_push_set(s->registered, claim);
    ngx_push_set(s->slot.flags, s->slot.flags & ~NGX_PUSH_SESSION_AWAY);

    ngx_push_end();
}


static void
ngx_push_session_names(ngx_push_claim_t *claim, ngx_push_product_t *product,
    ngx_str_t *user, ngx_str_t *device)
{
    ngx_memzero(claim, sizeof(ngx_push_claim_t));

    claim->product = product;
    claim->user = *user;
    claim->device = *device;
}


ngx_int_t
ngx_push_session_evict(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device, uint32_t claim, ngx_uint_t reason,
    ngx_push_handle_t *session)
{
    uint64_t             hash;
    ngx_push_claim_t     names;
    ngx_push_shard_t    *sh;
    ngx_push_session_t  *s;

    ngx_push_session_names(&names, product, user, device);

    hash = ngx_push_user_hash(user);
    sh = ngx_push_begin_user(hash);

    s = ngx_push_session_find(sh, hash, &names);

    if (s == NULL || (claim && (int32_t) (s->registered - claim) >= 0)) {
        ngx_push_end();
        return NGX_PUSH_NOT_FOUND;
    }

    session->index = ngx_push_ref(s);
    session->gen = s->slot.gen;

    ngx_push_set(s->slot.flags, s->slot.flags | NGX_PUSH_SESSION_AWAY);

    /* with a delay its will is for the node that has the device to publish */

    if (s->will && s->will_delay) {
        ngx_push_will_drop(sh, s);
    }

    ngx_push_commit();

    if (s->presence == NGX_PUSH_ONLINE || s->will) {
        ngx_push_session_vacate(sh, s, NULL, reason);

    } else {
        ngx_push_end();
    }

    return NGX_OK;
}


ngx_uint_t
ngx_push_session_resumable(ngx_push_claim_t *claim)
{
    uint64_t             hash;
    ngx_uint_t           rc;
    ngx_push_shard_t    *sh;
    ngx_push_session_t  *s;

    hash = ngx_push_user_hash(&claim->user);
    sh = ngx_push_begin_user(hash);

    s = ngx_push_session_find(sh, hash, claim);

    rc = s && s->registered
         && !(s->slot.flags & NGX_PUSH_SESSION_AWAY)
         && (s->presence == NGX_PUSH_ONLINE
             || s->presence == NGX_PUSH_LINGERING);

    ngx_push_end();

    return rc;
}
