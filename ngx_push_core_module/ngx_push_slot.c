
/*
 * Copyright (C) the ngx_push authors
 */


/* Records, in the pages of a shard and a class; and lists of them. */


#include "ngx_push_page.h"


/* where a free record names the next free one of its page */

typedef struct {
    ngx_push_slot_t      slot;
    ngx_push_ref_t       next;
} ngx_push_free_t;


void *
ngx_push_alloc(ngx_push_shard_t *sh, ngx_push_class_t class)
{
    size_t                   size;
    ngx_push_free_t         *r;
    ngx_push_page_t         *page;
    ngx_push_class_state_t  *c;

    c = &sh->classes[class];

    if (c->pages) {
        page = &ngx_push_zone->pages[c->pages - 1];

    } else {
        page = ngx_push_page_get(sh, class);

        if (page == NULL) {
            return NULL;
        }
    }

    size = ngx_push_zone->head->records[class];

    if (page->free) {
        r = ngx_push_ptr(page->free);
        ngx_push_set(page->free, r->next);

        /* the caller writes over it, but it may become a free one again */

        ngx_push_save_old(&r->next, sizeof(r->next));

    } else {
        r = (ngx_push_free_t *)
                (ngx_push_page_data(page - ngx_push_zone->pages)
                 + page->fresh * size);

        /* what lay here before was another class's: a generation of its own */

        ngx_push_set(r->slot.used, 0);
        r->slot.gen = __sync_add_and_fetch(&ngx_push_zone->head->gen, 1);
        ngx_push_set(page->fresh, page->fresh + 1);
    }

    ngx_push_set(r->slot.used, 1);
    r->slot.class = class;
    r->slot.flags = 0;

    if (page->used == 0) {
        ngx_push_set(c->empty, c->empty - 1);
    }

    ngx_push_set(page->used, page->used + 1);
    ngx_push_set(c->used, c->used + 1);

    if (page->free == 0 && page->fresh == NGX_PUSH_PAGE_SIZE / size) {
        ngx_push_page_unlink(sh, page);
    }

    return r;
}


void
ngx_push_free(ngx_push_shard_t *sh, void *record)
{
    ngx_push_free_t         *r;
    ngx_push_page_t         *page;
    ngx_push_class_state_t  *c;

    r = record;
    page = &ngx_push_zone->pages[((u_char *) record - ngx_push_zone->data)
                                 / NGX_PUSH_PAGE_SIZE];
    c = &sh->classes[ngx_push_page_class(page)];

    ngx_push_set(r->slot.used, 0);
    ngx_push_set(r->slot.gen, r->slot.gen + 1);
    ngx_push_set(r->next, page->free);
    ngx_push_set(page->free, ngx_push_ref(record));
    ngx_push_set(page->used, page->used - 1);
    ngx_push_set(c->used, c->used - 1);

    if (page->used == 0) {
        ngx_push_set(c->empty, c->empty + 1);
    }

    if (!page->listed) {
        ngx_push_page_link(sh, page);
    }
}


void *
ngx_push_lookup(ngx_push_handle_t h, ngx_push_class_t class)
{
    ngx_push_slot_t  *slot;

    slot = ngx_push_record(h.index, class);

    return (slot && slot->gen == h.gen) ? slot : NULL;
}


void *
ngx_push_record(ngx_push_ref_t ref, ngx_push_class_t class)
{
    size_t            offset, size;
    ngx_push_page_t  *page;
    ngx_push_slot_t  *slot;

    if (ngx_push_owner(ref, class) == NGX_ERROR) {
        return NULL;
    }

    slot = ngx_push_ptr(ref);
    offset = (u_char *) slot - ngx_push_zone->data;

    page = &ngx_push_zone->pages[offset / NGX_PUSH_PAGE_SIZE];
    offset %= NGX_PUSH_PAGE_SIZE;
    size = ngx_push_zone->head->records[class];

    /* beyond "fresh" is what another class has left there */

    if (offset % size != 0 || offset / size >= page->fresh || !slot->used) {
        return NULL;
    }

    return slot;
}


ngx_int_t
ngx_push_owner(ngx_push_ref_t ref, ngx_push_class_t class)
{
    size_t     offset;
    uint32_t   owner;

    offset = (size_t) ref << NGX_PUSH_REF_SHIFT;

    if (offset < ngx_push_zone->head->data_at
        || offset >= ngx_push_zone->size)
    {
        return NGX_ERROR;
    }

    offset -= ngx_push_zone->head->data_at;
    owner = ngx_push_zone->pages[offset / NGX_PUSH_PAGE_SIZE].owner;

    if (owner == 0 || (owner & 0xff) != (uint32_t) class) {
        return NGX_ERROR;
    }

    return (owner >> 8) - 1;
}


void
ngx_push_each(ngx_push_shard_t *sh, ngx_push_class_t class,
    ngx_push_record_pt each)
{
    size_t            size;
    u_char           *data;
    uint32_t          i, n, fresh;
    ngx_push_page_t  *page;

    size = ngx_push_zone->head->records[class];

    for (i = 0; i < ngx_push_zone->head->npages; i++) {
        page = &ngx_push_zone->pages[i];

        if (page->owner != ngx_push_page_owner(sh, class)) {
            continue;
        }

        data = ngx_push_page_data(i);
        fresh = page->fresh;

        for (n = 0; n < fresh; n++, data += size) {
            if (((ngx_push_slot_t *) data)->used) {
                each(sh, data);
            }
        }
    }
}


#define ngx_push_link(record, link)                                           \
    ((ngx_push_ref_t *) ((u_char *) (record) + (link)))


void
ngx_push_list_append(ngx_push_list_t *list, void *record, size_t link)
{
    ngx_push_ref_t  ref, *l, *t;

    l = ngx_push_link(record, link);
    ref = ngx_push_ref(record);

    ngx_push_set(l[0], 0);
    ngx_push_set(l[1], list->tail);

    if (list->tail) {
        t = ngx_push_link(ngx_push_ptr(list->tail), link);
        ngx_push_set(t[0], ref);

    } else {
        ngx_push_set(list->head, ref);
    }

    ngx_push_set(list->tail, ref);
    ngx_push_set(list->count, list->count + 1);
}


void
ngx_push_list_remove(ngx_push_list_t *list, void *record, size_t link)
{
    ngx_push_ref_t  *l, *o;

    l = ngx_push_link(record, link);

    if (l[1]) {
        o = ngx_push_link(ngx_push_ptr(l[1]), link);
        ngx_push_set(o[0], l[0]);

    } else {
        ngx_push_set(list->head, l[0]);
    }

    if (l[0]) {
        o = ngx_push_link(ngx_push_ptr(l[0]), link);
        ngx_push_set(o[1], l[1]);

    } else {
        ngx_push_set(list->tail, l[1]);
    }

    ngx_push_set(list->count, list->count - 1);
}
