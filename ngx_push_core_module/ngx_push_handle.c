
/*
 * Copyright (C) the ngx_push authors
 */


/* A growing table of this process: {index, generation} to a pointer. */


#include "ngx_push_store.h"


typedef struct {
    void                *data;         /* NULL: free */
    uint32_t             gen;
    uint32_t             next;         /* free: the next free one + 1 */
} ngx_push_entry_slot_t;


static ngx_push_entry_slot_t  *ngx_push_handles;
static uint32_t                ngx_push_nhandles;
static uint32_t                ngx_push_free_handle;   /* + 1 */


static ngx_int_t
ngx_push_handles_grow(void)
{
    uint32_t                i, n;
    ngx_push_entry_slot_t  *slots;

    n = ngx_push_nhandles ? 2 * ngx_push_nhandles : 256;

    slots = realloc(ngx_push_handles, n * sizeof(ngx_push_entry_slot_t));

    if (slots == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      "push: no memory for %uD handles", n);
        return NGX_ERROR;
    }

    for (i = n; i > ngx_push_nhandles; i--) {
        slots[i - 1].data = NULL;
        slots[i - 1].gen = 1;
        slots[i - 1].next = ngx_push_free_handle;
        ngx_push_free_handle = i;
    }

    ngx_push_handles = slots;
    ngx_push_nhandles = n;

    return NGX_OK;
}


ngx_int_t
ngx_push_handle_new(void *data, ngx_push_handle_t *handle)
{
    ngx_push_entry_slot_t  *slot;

    if (ngx_push_free_handle == 0 && ngx_push_handles_grow() != NGX_OK) {
        return NGX_ERROR;
    }

    slot = &ngx_push_handles[ngx_push_free_handle - 1];

    handle->index = ngx_push_free_handle - 1;
    handle->gen = slot->gen;

    ngx_push_free_handle = slot->next;
    slot->data = data;

    return NGX_OK;
}


void *
ngx_push_handle_get(ngx_push_handle_t handle)
{
    if (handle.index >= ngx_push_nhandles
        || ngx_push_handles[handle.index].gen != handle.gen)
    {
        return NULL;
    }

    return ngx_push_handles[handle.index].data;
}


void
ngx_push_handle_free(ngx_push_handle_t handle)
{
    ngx_push_entry_slot_t  *slot;

    if (ngx_push_handle_get(handle) == NULL) {
        return;
    }

    slot = &ngx_push_handles[handle.index];

    slot->data = NULL;

    if (++slot->gen == 0) {
        slot->gen = 1;
    }

    slot->next = ngx_push_free_handle;
    ngx_push_free_handle = handle.index + 1;
}
