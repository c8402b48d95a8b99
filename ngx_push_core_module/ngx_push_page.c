
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Pages: from nobody to a shard and a class, and back.  All but taking one
 * and giving it back is under the shard's lock.
 */


#include "ngx_push_page.h"
#include "ngx_push_log.h"
#include "ngx_push_worker.h"


/*
 * Neither messages nor devices may take all of the zone, nor keys all that
 * messages may have.
 */

#define ngx_push_page_cap()  ((int64_t) ngx_push_zone->head->npages * 3 / 4)
#define ngx_push_key_cap()   ((int64_t) ngx_push_zone->head->npages / 8)

#define ngx_push_class_key(class)                                             \
    ((class) == NGX_PUSH_IDEM || (class) == NGX_PUSH_LONGKEY)

#define ngx_push_class_message(class)                                         \
    ((class) == NGX_PUSH_MESSAGE || (class) == NGX_PUSH_CHUNK                 \
     || ngx_push_class_key(class))


static ngx_push_page_t *ngx_push_page_grab(ngx_push_shard_t *sh,
    ngx_push_class_t class);
static ngx_uint_t ngx_push_page_take(ngx_push_shard_t *sh,
    ngx_push_class_t class, uint32_t n);
static void ngx_push_page_count(ngx_push_class_t class, int64_t n);
static void ngx_push_page_give(uint32_t n);
static void ngx_push_page_retire(ngx_push_page_t *page);
static ngx_push_page_t *ngx_push_page_convert(ngx_push_shard_t *sh,
    ngx_push_class_t class);
static void ngx_push_repair_message(ngx_push_shard_t *sh, void *record);


ngx_push_page_t *
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
    ngx_push_zone_head_t  *head;

    head = ngx_push_zone->head;
    cap = ngx_push_page_cap();

    n = ngx_push_class_message(class)
            ? head->message_pages
            : head->npages - head->free_pages - head->message_pages;

    if (head->free_pages <= 0 || n >= cap
        || (ngx_push_class_key(class) && ngx_push_keys_full()))
    {
        return NULL;
    }

    /* of those given back last, so that memory is touched once, not by turns */

    while ((i = head->nrecycled) != 0) {
        i = ngx_min(i, NGX_PUSH_RECYCLED) - 1;
        at = head->recycled[i];
        head->nrecycled = i;

        if (at < head->npages && ngx_push_page_take(sh, class, at)) {
            return &ngx_push_zone->pages[at];
        }
    }

    at = head->page_hint;

    for (i = 0; i < head->npages; i++, at++) {

        if (at >= head->npages) {
            at = 0;
        }

        if (ngx_push_page_take(sh, class, at)) {
            head->page_hint = at + 1;
            return &ngx_push_zone->pages[at];
        }
    }

    return NULL;
}


/* 0: it is somebody's. */

static ngx_uint_t
ngx_push_page_take(ngx_push_shard_t *sh, ngx_push_class_t class, uint32_t n)
{
    ngx_push_page_t       *page;
    ngx_push_zone_head_t  *head;

    head = ngx_push_zone->head;
    page = &ngx_push_zone->pages[n];

    if (page->owner != 0
        || !__sync_bool_compare_and_swap(&page->owner, 0,
                                         ngx_push_page_owner(sh, class)))
    {
        return 0;
    }

    ngx_push_fault_point("page");

    (void) __sync_fetch_and_sub(&head->free_pages, 1);

    ngx_push_page_count(class, 1);

    page->fresh = 0;
    page->free = 0;

    if (ngx_push_zone->ngrabbed < NGX_PUSH_GRABBED) {
        ngx_push_zone->grabbed[ngx_push_zone->ngrabbed++] = n;
    }

    return 1;
}


static void
ngx_push_page_count(ngx_push_class_t class, int64_t n)
{
    ngx_push_zone_head_t  *head;

    head = ngx_push_zone->head;

    if (ngx_push_class_message(class)) {
        (void) __sync_fetch_and_add(&head->message_pages, n);
    }

    if (ngx_push_class_key(class)) {
        (void) __sync_fetch_and_add(&head->key_pages, n);
    }
}


ngx_uint_t
ngx_push_keys_full(void)
{
    return ngx_push_zone->head->key_pages >= ngx_push_key_cap();
}


/*
 * A page that is off all lists becomes nobody's.  Where it is remembered is
 * only a hint: entries that get lost or come twice do no harm.
 */

static void
ngx_push_page_give(uint32_t n)
{
    uint32_t               i;
    ngx_push_zone_head_t  *head;

    head = ngx_push_zone->head;

    /* empty before it is free: who dies taking it leaves no records in it */

    ngx_push_page_retire(&ngx_push_zone->pages[n]);
    ngx_push_zone->pages[n].fresh = 0;
    ngx_memory_barrier();
    ngx_push_zone->pages[n].owner = 0;
    (void) __sync_fetch_and_add(&head->free_pages, 1);

    i = head->nrecycled;

    if (i < NGX_PUSH_RECYCLED) {
        head->recycled[i] = n;
        head->nrecycled = i + 1;
    }
}


/*
 * Records made here later begin with a generation beyond all that were given
 * to those before: a record that is used and given back all the time has
 * counted far ahead of the zone, and its old names must not come again.
 */

static void
ngx_push_page_retire(ngx_push_page_t *page)
{
    size_t                 size;
    u_char                *data;
    uint32_t               n, gen, first;
    ngx_push_zone_head_t  *head;

    head = ngx_push_zone->head;
    size = head->records[ngx_push_page_class(page)];
    data = ngx_push_page_data(page - ngx_push_zone->pages);

    for (n = 0; n < page->fresh; n++, data += size) {
        gen = ((ngx_push_slot_t *) data)->gen;

        do {
            first = head->gen;
        } while ((int32_t) (gen - first) > 0
                 && !__sync_bool_compare_and_swap(&head->gen, first, gen));
    }
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

        /* what has a share of its own does not take from the others */

        if (i == class || c->empty == 0
            || ngx_push_class_message(i) != ngx_push_class_message(class)
            || ngx_push_class_key(i) != ngx_push_class_key(class))
        {
            continue;
        }

        for (n = c->pages; n; n = page->next) {
            page = &ngx_push_zone->pages[n - 1];

            if (page->used) {
                continue;
            }

            ngx_push_page_retire(page);

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


void
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


void
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

            ngx_push_page_give(n - 1);

            ngx_push_page_count(i, -1);
        }
    }
}


/* The counters are hints; deaths at the wrong moment make them drift. */

void
ngx_push_pages_recount(void)
{
    int64_t                free, messages, keys;
    uint32_t               i;
    ngx_push_page_t       *page;
    ngx_push_zone_head_t  *head;

    head = ngx_push_zone->head;
    free = 0;
    messages = 0;
    keys = 0;

    for (i = 0; i < head->npages; i++) {
        page = &ngx_push_zone->pages[i];

        if (page->owner == 0) {
            free++;

        } else if (ngx_push_class_message(ngx_push_page_class(page))) {
            messages++;
            keys += ngx_push_class_key(ngx_push_page_class(page));
        }
    }

    head->free_pages = free;
    head->message_pages = messages;
    head->key_pages = keys;
}


void
ngx_push_pages_return(void)
{
    ngx_push_page_t  *page;

    while (ngx_push_zone->ngrabbed) {
        page = &ngx_push_zone->pages[ngx_push_zone->grabbed[
                                                --ngx_push_zone->ngrabbed]];

        ngx_push_page_count(ngx_push_page_class(page), -1);
        ngx_push_page_give(page - ngx_push_zone->pages);
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
            ngx_push_page_give(i);
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
