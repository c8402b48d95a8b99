
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Questions to store and register that are under way.  One that is answered
 * at once never leaves the spare one: with the embedded store nothing is
 * allocated here, and no handle is made, for a message.
 */


#include "ngx_push_room.h"


static ngx_push_room_pending_t  *ngx_push_room_spare;


ngx_push_room_pending_t *
ngx_push_room_pending_get(void)
{
    ngx_push_room_pending_t  *p;

    p = ngx_push_room_spare;

    if (p) {
        ngx_push_room_spare = NULL;
        return p;
    }

    p = ngx_calloc(sizeof(ngx_push_room_pending_t), ngx_cycle->log);

    if (p == NULL) {
        return NULL;
    }

    if (ngx_push_handle_new(p, &p->handle) != NGX_OK) {
        ngx_free(p);
        return NULL;
    }

    return p;
}


void
ngx_push_room_pending_put(ngx_push_room_pending_t *p)
{
    p->room = NULL;
    p->next = NULL;
    p->subs = NULL;

    if (ngx_push_room_spare == NULL) {
        ngx_push_room_spare = p;
        return;
    }

    ngx_push_handle_free(p->handle);
    ngx_free(p);
}


void
ngx_push_room_pending_bind(ngx_push_room_pending_t *p,
    ngx_push_room_conn_t *room)
{
    p->room = room;
    p->next = room->pending;
    room->pending = p;

    if (p->subs) {
        room->nfilters++;

    } else {
        room->npending++;
    }
}


/*
 * NGX_DECLINED: the connection has ended, of which "out" tells as well.  A
 * handle that was answered is given back, so that a second answer to it would
 * find nothing.
 */

ngx_int_t
ngx_push_room_pending_take(ngx_push_handle_t handle,
    ngx_push_room_pending_t *out)
{
    ngx_push_room_pending_t  *p, **pp;

    p = ngx_push_handle_get(handle);

    if (p == NULL) {
        ngx_memzero(out, sizeof(ngx_push_room_pending_t));
        return NGX_DECLINED;
    }

    *out = *p;

    if (p->room) {
        for (pp = &p->room->pending; *pp != p; pp = &(*pp)->next) {
            /* void */
        }

        *pp = p->next;

        if (p->subs) {
            p->room->nfilters--;

        } else {
            p->room->npending--;
        }
    }

    ngx_push_handle_free(handle);
    ngx_free(p);

    return out->room ? NGX_OK : NGX_DECLINED;
}


void
ngx_push_room_pending_drop(ngx_push_room_conn_t *room)
{
    ngx_push_room_pending_t  *p, *next;

    for (p = room->pending; p; p = next) {
        next = p->next;
        p->room = NULL;
        p->next = NULL;
    }

    room->pending = NULL;
    room->npending = 0;
    room->nfilters = 0;
}
