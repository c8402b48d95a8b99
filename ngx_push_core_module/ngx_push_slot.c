
/*
 * Copyright (C) the ngx_push authors
 */


/* Pages and records. */


#include "ngx_push_zone.h"
#include "ngx_push_log.h"
#include "ngx_push_worker.h"


/* where a free record names the next free one of its page */

typedef struct {
    ngx_push_slot_t      slot;
    ngx_push_ref_t       next;
} ngx_push_free_t;


#define ngx_push_page_owner(sh, class)                                        \
    (((sh)->index + 1) << 8 | (uint32_t) (class))

#define ngx_push_page_class(page)  ((page)->owner & 0xff)

#define ngx_push_page_data(n)                                                 \
    (ngx_push_zone->data + (size_t) (n) * NGX_PUSH_PAGE_SIZE)

/* neither messages nor devices may take all of the zone */

#define ngx_push_page_cap()  ((int64_t) ngx_push_zone->head->npages * 3 / 4)

#define ngx_push_class_message(class)                                         \
    ((class) == NGX_PUSH_MESSAGE || (class) == NGX_PUSH_CHUNK)


static ngx_push_page_t *ngx_push_page_get(ngx_push_shard_t *sh,
    ngx_push_class_t class);
static ngx_push_page_t *ngx_push_page_grab(ngx_push_shard_t *sh,
    ngx_push_class_t class);
static ngx_push_page_t *ngx_push_page_convert(ngx_push_shard_t *sh,
    ngx_push_class_t class);
static void ngx_push_page_link(ngx_push_shard_t *sh, ngx_push_page_t *page);
static void ngx_push_page_unlink(ngx_push_shard_t *sh,
    ngx_push_page_t *page);
static void ngx_push_repair_message(ngx_push_shard_t *sh, void *record);


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
    r->slot.spare = 0;

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


static ngx_push_page_t *
ngx_push_page_get(ngx_push_shard_t *sh, ngx_push_class_t class)
{
    ngx_push_page_t  *page;

    page = ngx_push_page_grab(sh, class);

    if (page == NULL) {
        page = ngx_push_page_convert(sh, class);

        if (page == NULL) {
            return NULL;
        }
    }

    ngx_push_set(sh->classes[class].npages, sh->classes[class].npages + 1);
    ngx_push_set(sh->classes[class].empty, sh->classes[class].empty + 1);

    ngx_push_page_link(sh, page);

    return page;
}


/*
 * A page of nobody's becomes the shard's by one compare-and-swap.  Dying
 * right after it leaves a page that is owned, not listed and without a
 * record, which ngx_push_pages_repair() knows from all others.
 */

static ngx_push_page_t *
ngx_push_page_grab(ngx_push_shard_t *sh, ngx_push_class_t class)
{
    int64_t                cap, n;
    uint32_t               i, at;
    ngx_push_page_t       *page;
    ngx_push_zone_head_t  *head;

    head = ngx_push_zone->head;
    cap = ngx_push_page_cap();

    n = ngx_push_class_message(class)
            ? head->message_pages
            : head->npages - head->free_pages - head->message_pages;

    if (head->free_pages <= 0 || n >= cap) {
        return NULL;
    }

    at = head->page_hint;

    for (i = 0; i < head->npages; i++, at++) {

        if (at >= head->npages) {
            at = 0;
        }

        page = &ngx_push_zone->pages[at];

        if (page->owner == 0
            && __sync_bool_compare_and_swap(&page->owner, 0,
                                            ngx_push_page_owner(sh, class)))
        {
            ngx_push_fault_point("page");

            head->page_hint = at + 1;
            (void) __sync_fetch_and_sub(&head->free_pages, 1);

            if (ngx_push_class_message(class)) {
                (void) __sync_fetch_and_add(&head->message_pages, 1);
            }

            page->fresh = 0;
            page->free = 0;

            if (ngx_push_zone->ngrabbed < NGX_PUSH_GRABBED) {
                ngx_push_zone->grabbed[ngx_push_zone->ngrabbed++] = at;
            }

            return page;
        }
    }

    return NULL;
}


/* An empty page of another class of the same shard. */

static ngx_push_page_t *
ngx_push_page_convert(ngx_push_shard_t *sh, ngx_push_class_t class)
{
    uint32_t                 n;
    ngx_uint_t               i;
    ngx_push_page_t         *page;
    ngx_push_class_state_t  *c;

    for (i = 0; i < NGX_PUSH_CLASSES; i++) {
        c = &sh->classes[i];

        /* messages and the rest do not take from each other, see the cap */

        if (i == class || c->empty == 0
            || ngx_push_class_message(i) != ngx_push_class_message(class))
        {
            continue;
        }

        for (n = c->pages; n; n = page->next) {
            page = &ngx_push_zone->pages[n - 1];

            if (page->used) {
                continue;
            }

            ngx_push_page_unlink(sh, page);
            ngx_push_set(c->empty, c->empty - 1);
            ngx_push_set(c->npages, c->npages - 1);
            ngx_push_set(page->owner, ngx_push_page_owner(sh, class));
            ngx_push_set(page->fresh, 0);
            ngx_push_set(page->free, 0);

            return page;
        }
    }

    return NULL;
}


static void
ngx_push_page_link(ngx_push_shard_t *sh, ngx_push_page_t *page)
{
    uint32_t                 n;
    ngx_push_class_state_t  *c;

    c = &sh->classes[ngx_push_page_class(page)];
    n = page - ngx_push_zone->pages + 1;

    ngx_push_set(page->next, c->pages);
    ngx_push_set(page->prev, 0);
    ngx_push_set(page->listed, 1);

    if (c->pages) {
        ngx_push_set(ngx_push_zone->pages[c->pages - 1].prev, n);
    }

    ngx_push_set(c->pages, n);
}


static void
ngx_push_page_unlink(ngx_push_shard_t *sh, ngx_push_page_t *page)
{
    ngx_push_class_state_t  *c;

    c = &sh->classes[ngx_push_page_class(page)];

    if (page->prev) {
        ngx_push_set(ngx_push_zone->pages[page->prev - 1].next, page->next);

    } else {
        ngx_push_set(c->pages, page->next);
    }

    if (page->next) {
        ngx_push_set(ngx_push_zone->pages[page->next - 1].prev, page->prev);
    }

    ngx_push_set(page->listed, 0);
}


/*
 * One empty page of each class stays with the shard.  A page is given away
 * after the commit that took it off the list, so that no undo log of ours
 * can still mean it.
 */

void
ngx_push_pages_sweep(ngx_push_shard_t *sh)
{
    uint32_t                 n, next;
    ngx_uint_t               i, kept;
    ngx_push_page_t         *page;
    ngx_push_class_state_t  *c;

    for (i = 0; i < NGX_PUSH_CLASSES; i++) {
        c = &sh->classes[i];

        if (c->empty <= 1) {
            continue;
        }

        kept = 0;

        for (n = c->pages; n; n = next) {
            page = &ngx_push_zone->pages[n - 1];
            next = page->next;

            if (page->used || kept++ == 0) {
                continue;
            }

            ngx_push_page_unlink(sh, page);
            ngx_push_set(c->empty, c->empty - 1);
            ngx_push_set(c->npages, c->npages - 1);
            ngx_push_commit();

            ngx_push_fault_point("page_give");

            page->owner = 0;
            (void) __sync_fetch_and_add(&ngx_push_zone->head->free_pages, 1);

            if (ngx_push_class_message(i)) {
                (void) __sync_fetch_and_sub(
                                    &ngx_push_zone->head->message_pages, 1);
            }
        }
    }
}


/* The counters are hints; deaths at the wrong moment make them drift. */

void
ngx_push_pages_recount(void)
{
    int64_t                free, messages;
    uint32_t               i;
    ngx_push_page_t       *page;
    ngx_push_zone_head_t  *head;

    head = ngx_push_zone->head;
    free = 0;
    messages = 0;

    for (i = 0; i < head->npages; i++) {
        page = &ngx_push_zone->pages[i];

        if (page->owner == 0) {
            free++;

        } else if (ngx_push_class_message(ngx_push_page_class(page))) {
            messages++;
        }
    }

    head->free_pages = free;
    head->message_pages = messages;
}


void
ngx_push_pages_return(void)
{
    ngx_push_page_t  *page;

    while (ngx_push_zone->ngrabbed) {
        page = &ngx_push_zone->pages[ngx_push_zone->grabbed[
                                                --ngx_push_zone->ngrabbed]];

        if (ngx_push_class_message(ngx_push_page_class(page))) {
            (void) __sync_fetch_and_sub(&ngx_push_zone->head->message_pages,
                                        1);
        }

        page->owner = 0;
        (void) __sync_fetch_and_add(&ngx_push_zone->head->free_pages, 1);
    }
}


void
ngx_push_pages_repair(ngx_push_shard_t *sh)
{
    uint32_t          i;
    ngx_push_page_t  *page;

    for (i = 0; i < ngx_push_zone->head->npages; i++) {
        page = &ngx_push_zone->pages[i];

        if (page->owner >> 8 == sh->index + 1
            && page->used == 0 && !page->listed)
        {
            page->owner = 0;
            (void) __sync_fetch_and_add(&ngx_push_zone->head->free_pages, 1);
        }
    }

    ngx_push_each(sh, NGX_PUSH_MESSAGE, ngx_push_repair_message);
}


/*
 * A message that was being filled is in no list: only this finds it.  There
 * is one at most, and no commit here: the caller may have inherited the lock
 * in the middle of a transaction of its own.
 */

static void
ngx_push_repair_message(ngx_push_shard_t *sh, void *record)
{
    ngx_push_message_t  *m;

    m = record;

    if (m->slot.used == NGX_PUSH_MSG_BUILDING) {
        ngx_push_message_end(sh, m);
    }
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
