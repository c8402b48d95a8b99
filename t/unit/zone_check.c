
/*
 * Copyright (C) the ngx_push authors
 */


#include "zone_look.h"
#include "ngx_push_idem.h"


#define CHECK_SHOWN  20


ngx_uint_t             zone_check_inboxes;

u_char                *look_seen;
uint32_t              *look_subs;
static ngx_uint_t      check_faults;
zone_census_t          look_census;


void
look_fault(const char *fmt, ...)
{
    va_list  args;

    if (check_faults++ < CHECK_SHOWN) {
        va_start(args, fmt);
        fprintf(stderr, "zone: ");
        vfprintf(stderr, fmt, args);
        fprintf(stderr, "\n");
        va_end(args);
    }
}


static ngx_push_page_t *
page_of(ngx_push_ref_t ref)
{
    return &ngx_push_zone->pages[(((size_t) ref << NGX_PUSH_REF_SHIFT)
                                  - ngx_push_zone->head->data_at)
                                 / NGX_PUSH_PAGE_SIZE];
}


/* Is it a record of that class, in use, of that shard?  Then notes "how". */

ngx_uint_t
look_see(ngx_push_shard_t *sh, ngx_push_ref_t ref, ngx_push_class_t class,
    u_char how, const char *where)
{
    size_t            offset;
    ngx_int_t         shard;
    ngx_push_page_t  *page;
    ngx_push_slot_t  *slot;

    shard = ngx_push_owner(ref, class);

    if (shard == NGX_ERROR || (ngx_uint_t) shard != sh->index) {
        look_fault("%s: ref %x is of shard %d, not of %u class %u", where,
                   ref, (int) shard, sh->index, class);
        return 0;
    }

    page = page_of(ref);
    offset = ((size_t) ref << NGX_PUSH_REF_SHIFT)
             - ngx_push_zone->head->data_at;
    offset %= NGX_PUSH_PAGE_SIZE;

    if (offset % ngx_push_record_size(class)
        || offset / ngx_push_record_size(class) >= page->fresh)
    {
        look_fault("%s: ref %x is no record of class %u", where, ref, class);
        return 0;
    }

    slot = ngx_push_ptr(ref);

    if (how != SEEN_FREE && !slot->used) {
        look_fault("%s: ref %x of class %u is free", where, ref, class);
        return 0;
    }

    if (look_seen[ref] & how) {
        look_fault("%s: ref %x of class %u met twice", where, ref, class);
        return 0;
    }

    look_seen[ref] |= how;

    return 1;
}


/* --- pages */

static void
check_page(ngx_push_shard_t *sh, uint32_t n, ngx_push_class_t class)
{
    size_t            size;
    u_char           *data;
    uint32_t          i, used, nfree;
    ngx_uint_t        room;
    ngx_push_ref_t    ref;
    ngx_push_page_t  *page;

    page = &ngx_push_zone->pages[n];
    size = ngx_push_record_size(class);
    data = ngx_push_zone->data + (size_t) n * NGX_PUSH_PAGE_SIZE;
    used = 0;

    for (i = 0; i < page->fresh; i++) {
        used += ((ngx_push_slot_t *) (data + i * size))->used != 0;
    }

    nfree = 0;

    for (ref = page->free; ref;
         ref = *(ngx_push_ref_t *) ((u_char *) ngx_push_ptr(ref)
                                    + sizeof(ngx_push_slot_t)))
    {
        if (!look_see(sh, ref, class, SEEN_FREE, "free list")) {
            return;
        }

        if (page_of(ref) != page
            || ((ngx_push_slot_t *) ngx_push_ptr(ref))->used)
        {
            look_fault("page %u: free record %x is in use or elsewhere", n,
                       ref);
            return;
        }

        nfree++;
    }

    if (used != page->used || used + nfree != page->fresh) {
        look_fault("page %u class %u: %u used, %u counted, %u free, %u fresh",
                   n, class, used, page->used, nfree, page->fresh);
    }

    room = page->free != 0 || page->fresh < ngx_push_page_records(class);

    if (room != (page->listed != 0)) {
        look_fault("page %u class %u: %u used, listed %u", n, class, used,
                   page->listed);
    }
}


static void
check_pages(ngx_push_shard_t *sh)
{
    uint32_t                 n, used[NGX_PUSH_CLASSES];
    uint32_t                 empty[NGX_PUSH_CLASSES], prev, listed;
    uint32_t                 npages[NGX_PUSH_CLASSES];
    uint32_t                 roomy[NGX_PUSH_CLASSES];
    uint32_t                 c;
    ngx_push_page_t         *page;
    ngx_push_class_state_t  *state;

    ngx_memzero(used, sizeof(used));
    ngx_memzero(empty, sizeof(empty));
    ngx_memzero(npages, sizeof(npages));
    ngx_memzero(roomy, sizeof(roomy));

    for (n = 0; n < ngx_push_zone->head->npages; n++) {
        page = &ngx_push_zone->pages[n];

        if (page->owner >> 8 != sh->index + 1) {
            continue;
        }

        c = page->owner & 0xff;

        if (c >= NGX_PUSH_CLASSES) {
            look_fault("page %u: owner %x", n, page->owner);
            continue;
        }

        check_page(sh, n, c);

        npages[c]++;
        used[c] += page->used;
        empty[c] += page->used == 0;
        roomy[c] += page->listed != 0;
    }

    for (c = 0; c < NGX_PUSH_CLASSES; c++) {
        state = &sh->classes[c];

        if (state->npages != npages[c] || state->used != used[c]
            || state->empty != empty[c])
        {
            look_fault("shard %u class %u: pages %u/%u used %u/%u empty "
                       "%u/%u", sh->index, c, state->npages, npages[c],
                       state->used, used[c], state->empty, empty[c]);
        }

        look_census.used[c] += used[c];
        prev = 0;
        listed = 0;

        for (n = state->pages; n && listed <= roomy[c]; n = page->next) {
            page = &ngx_push_zone->pages[n - 1];

            if (page->prev != prev || !page->listed
                || page->owner != ((sh->index + 1) << 8 | c))
            {
                look_fault("shard %u class %u: page %u in its list",
                           sh->index, c, n - 1);
                break;
            }

            prev = n;
            listed++;
        }

        if (listed != roomy[c]) {
            look_fault("shard %u class %u: %u pages listed, %u with room",
                       sh->index, c, listed, roomy[c]);
        }
    }
}


/* --- lists of a shard */

static void
check_list(ngx_push_shard_t *sh, ngx_push_list_t *list, size_t link,
    ngx_push_class_t class, u_char how, const char *name)
{
    uint64_t         n;
    ngx_push_ref_t   ref, prev, *l;

    prev = 0;
    n = 0;

    for (ref = list->head; ref; ref = l[0]) {

        if (!look_see(sh, ref, class, how, name)) {
            return;
        }

        l = (ngx_push_ref_t *) ((u_char *) ngx_push_ptr(ref) + link);

        if (l[1] != prev) {
            look_fault("%s: ref %x has prev %x, not %x", name, ref, l[1],
                       prev);
        }

        prev = ref;
        n++;
    }

    if (list->tail != prev || list->count != n) {
        look_fault("%s of shard %u: tail %x, last %x, count %lu, found %lu",
                   name, sh->index, list->tail, prev,
                   (unsigned long) list->count, (unsigned long) n);
    }
}


static void
check_wheel(ngx_push_shard_t *sh)
{
    uint32_t             i;
    ngx_push_ref_t      *wheel, ref, prev;
    ngx_push_message_t  *m;

    wheel = (ngx_push_ref_t *) (ngx_push_zone->base + sh->wheel);

    for (i = 0; i < NGX_PUSH_WHEEL; i++) {
        prev = 0;

        for (ref = wheel[i]; ref; ref = m->wnext) {

            if (!look_see(sh, ref, NGX_PUSH_MESSAGE, SEEN_WHEEL, "wheel")) {
                break;
            }

            m = ngx_push_ptr(ref);

            if (m->expire % NGX_PUSH_WHEEL != i || m->wprev != prev
                || (m->slot.used != NGX_PUSH_MSG_STORED
                    && m->slot.used != NGX_PUSH_MSG_ONCE))
            {
                look_fault("wheel %u: message %x expires %u state %u wprev "
                           "%x/%x", i, ref, m->expire, m->slot.used, m->wprev,
                           prev);
            }

            prev = ref;
        }
    }
}


/* --- logs */

static void
check_members(ngx_push_shard_t *sh, ngx_push_log_t *log)
{
    uint32_t             n;
    ngx_push_ref_t       ref, sref, prev;
    ngx_push_sub_t      *sub;
    ngx_push_member_t   *member;
    ngx_push_session_t  *s;

    for (ref = log->members; ref; ref = member->next) {

        if (!look_see(sh, ref, NGX_PUSH_MEMBER, SEEN_OWNER, "members")) {
            return;
        }

        member = ngx_push_ptr(ref);
        prev = 0;
        n = 0;

        if (member->log != ngx_push_ref(log)) {
            look_fault("member %x: log %x, of %x", ref, member->log,
                       ngx_push_ref(log));
        }

        for (sref = member->head; sref; sref = sub->mnext) {

            if (ngx_push_owner(sref, NGX_PUSH_SUB) == NGX_ERROR
                || look_seen[sref] & SEEN_MEMBER)
            {
                look_fault("member %x: sub %x", ref, sref);
                return;
            }

            look_seen[sref] |= SEEN_MEMBER;
            sub = ngx_push_ptr(sref);
            s = ngx_push_ptr(sub->session);

            if (!sub->slot.used || !(sub->flags & NGX_PUSH_SUB_MEMBER)
                || sub->log != ngx_push_ref(log) || sub->mprev != prev
                || !s->slot.used || s->presence != NGX_PUSH_ONLINE
                || s->worker != member->worker
                || s->worker_gen != member->worker_gen)
            {
                look_fault("member %x: sub %x flags %x log %x mprev %x, "
                           "session %x presence %u", ref, sref, sub->flags,
                           sub->log, sub->mprev, sub->session, s->presence);
            }

            prev = sref;
            n++;
        }

        if (n != member->count || n == 0) {
            look_fault("member %x: count %u, found %u", ref, member->count,
                       n);
        }
    }
}


static void
check_log(ngx_push_shard_t *sh, ngx_push_log_t *log)
{
    uint64_t             seq;
    uint32_t             n;
    ngx_push_ref_t       ref, prev;
    ngx_push_message_t  *m;

    prev = 0;
    seq = 0;
    n = 0;

    for (ref = log->head; ref; ref = m->next) {

        if (!look_see(sh, ref, NGX_PUSH_MESSAGE, SEEN_TABLE, "log")) {
            return;
        }

        m = ngx_push_ptr(ref);

        if (m->slot.used != NGX_PUSH_MSG_STORED || m->prev != prev
            || m->log != ngx_push_ref(log) || m->seq <= seq
            || m->seq > log->last || m->expire == 0)
        {
            look_fault("log %x: message %x state %u seq %lu after %lu of %lu",
                       ngx_push_ref(log), ref, m->slot.used,
                       (unsigned long) m->seq, (unsigned long) seq,
                       (unsigned long) log->last);
        }

        seq = m->seq;
        prev = ref;
        n++;
    }

    look_census.stored += n;

    if (log->count != n || log->tail != prev || log->acked > log->last
        || log->ended > log->last)
    {
        look_fault("log %x: count %u, found %u, tail %x, last %x",
                   ngx_push_ref(log), log->count, n, log->tail, prev);
    }

    if (log->floor > log->last
        || (!ngx_push_mirrored && (log->floor || log->known || log->load
                                   || log->slot.flags))
        || (log->slot.flags & (NGX_PUSH_LOG_SHED - 1)
            & ~(NGX_PUSH_LOG_STALE|NGX_PUSH_LOG_DOUBT)))
    {
        look_fault("log %x: floor %lu, last %lu, known %lu, flags %x",
                   ngx_push_ref(log), (unsigned long) log->floor,
                   (unsigned long) log->last, (unsigned long) log->known,
                   log->slot.flags);
    }

    if ((log->slot.flags & NGX_PUSH_LOG_STALE)
        && (log->subs || log->members || log->incarnation == 0))
    {
        look_fault("log %x: of a former incarnation, %u subs, members %x",
                   ngx_push_ref(log), log->subs, log->members);
    }

    if ((log->empty != 0)
        != ((look_seen[ngx_push_ref(log)] & SEEN_LIST) != 0))
    {
        look_fault("log %x: empty %u, but listed %u", ngx_push_ref(log),
                   log->empty, look_seen[ngx_push_ref(log)] & SEEN_LIST);
    }

    if (log->count == 0 && log->subs == 0 && log->empty == 0) {
        look_fault("log %x: nobody's, and on no list", ngx_push_ref(log));
    }

    if (log->longname) {
        (void) look_see(sh, log->longname, NGX_PUSH_LONGNAME, SEEN_OWNER,
                        "log");
    }

    check_members(sh, log);
}


static void
check_tables(ngx_push_shard_t *sh, ngx_uint_t sessions)
{
    uint32_t             i;
    uint64_t             hash;
    ngx_push_log_t      *log;
    ngx_push_ref_t      *table, ref;
    ngx_push_class_t     class;
    ngx_push_session_t  *s;

    class = sessions ? NGX_PUSH_SESSION : NGX_PUSH_LOG;
    table = (ngx_push_ref_t *) (ngx_push_zone->base
                                + (sessions ? sh->sessions : sh->logs));

    for (i = 0; i <= sh->mask; i++) {
        ref = table[i];

        while (ref && look_see(sh, ref, class, SEEN_TABLE, "hash table")) {

            if (sessions) {
                s = ngx_push_ptr(ref);
                hash = s->user_hash;
                look_session(sh, s);
                ref = s->hnext;

            } else {
                log = ngx_push_ptr(ref);
                hash = log->hash;
                check_log(sh, log);
                ref = log->hnext;
            }

            if ((hash & sh->mask) != i) {
                look_fault("hash table: a record of %lx in bucket %u",
                           (unsigned long) hash, i);
            }
        }
    }
}


/* --- idempotency keys */

static void
check_key(ngx_push_shard_t *sh, ngx_push_idem_t *k)
{
    ngx_push_ref_t    ref;
    ngx_push_idem_t  *target;

    ref = ngx_push_ref(k);

    if (k->longkey) {
        (void) look_see(sh, k->longkey, NGX_PUSH_LONGKEY, SEEN_OWNER, "key");
    }

    if ((k->longkey != 0) != (k->key_len > NGX_PUSH_IDEM_INLINE)) {
        look_fault("key %x: %u bytes, long %x", ref, k->key_len, k->longkey);
    }

    if (k->slot.used == NGX_PUSH_IDEM_TARGET) {
        if (k->target || look_seen[ref] & SEEN_LIST) {
            look_fault("key %x: a target, of %x, met as %x", ref, k->target,
                       look_seen[ref]);
        }

        return;
    }

    if (!(look_seen[ref] & SEEN_LIST)
        || (ngx_uint_t) ngx_push_owner(k->target, NGX_PUSH_IDEM) != sh->index)
    {
        look_fault("key %x: of %x, met as %x", ref, k->target,
                   look_seen[ref]);
        return;
    }

    target = ngx_push_ptr(k->target);

    if (target->slot.used != NGX_PUSH_IDEM_TARGET) {
        look_fault("key %x: of %x, which is %u", ref, k->target,
                   target->slot.used);
    }

    look_subs[k->target]++;
}


static void
check_keys(ngx_push_shard_t *sh)
{
    uint32_t          i;
    ngx_push_ref_t   *table, ref;
    ngx_push_idem_t  *k;

    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->idems);

    for (i = 0; i <= sh->mask; i++) {

        for (ref = table[i]; ref; ref = k->hnext) {

            if (!look_see(sh, ref, NGX_PUSH_IDEM, SEEN_TABLE, "keys")) {
                break;
            }

            k = ngx_push_ptr(ref);
            check_key(sh, k);

            if ((k->hash & sh->mask) != i) {
                look_fault("key %x: of %x in bucket %u", ref, k->hash, i);
            }
        }
    }
}


/* --- what nothing leads to */

static void
check_chunks(ngx_push_shard_t *sh, ngx_push_message_t *m)
{
    size_t          n, size;
    ngx_push_ref_t  ref;

    size = (size_t) m->ctype_len + m->props_len + m->size;
    n = NGX_PUSH_MSG_INLINE;

    for (ref = m->chunk; ref;
         ref = ((ngx_push_chunk_t *) ngx_push_ptr(ref))->next)
    {
        if (!look_see(sh, ref, NGX_PUSH_CHUNK, SEEN_OWNER, "chunks")) {
            return;
        }

        n += NGX_PUSH_CHUNK_DATA;
    }

    /* chunks are given back one by one in limbo */

    if (m->slot.used != NGX_PUSH_MSG_LIMBO
        && (n < size || (n >= size + NGX_PUSH_CHUNK_DATA
                         && n != NGX_PUSH_MSG_INLINE)))
    {
        look_fault("message %x: %lu bytes in room for %lu", ngx_push_ref(m),
                   (unsigned long) size, (unsigned long) n);
    }
}


static void
check_message(ngx_push_shard_t *sh, void *record)
{
    u_char               seen, want;
    ngx_push_message_t  *m;

    m = record;
    seen = look_seen[ngx_push_ref(m)];

    switch (m->slot.used) {

    case NGX_PUSH_MSG_STORED:
        want = SEEN_TABLE|SEEN_WHEEL;
        break;

    case NGX_PUSH_MSG_ONCE:
        want = SEEN_WHEEL;
        break;

    case NGX_PUSH_MSG_LIMBO:
        want = SEEN_LIST;
        break;

    case NGX_PUSH_MSG_WILL:
        want = SEEN_OWNER;
        break;

    default:
        want = 0xff;
    }

    if (seen != want) {
        look_fault("message %x: state %u, met as %x", ngx_push_ref(m),
                   m->slot.used, seen);
    }

    check_chunks(sh, m);
}


static void
check_owned(ngx_push_shard_t *sh, void *record)
{
    ngx_push_log_t   *log;
    ngx_push_idem_t  *k;
    ngx_push_slot_t  *slot;

    slot = record;

    if (!(look_seen[ngx_push_ref(record)] & (SEEN_OWNER|SEEN_TABLE))) {
        look_fault("record %x of class %u: nothing leads to it",
                   ngx_push_ref(record), slot->class);
    }

    if (slot->class == NGX_PUSH_LOG) {
        log = record;

        if (log->subs != look_subs[ngx_push_ref(log)]) {
            look_fault("log %x: subs %u, found %u", ngx_push_ref(log),
                       log->subs, look_subs[ngx_push_ref(log)]);
        }
    }

    if (slot->class == NGX_PUSH_IDEM && slot->used == NGX_PUSH_IDEM_TARGET) {
        k = record;

        if (k->count == 0 || k->count != look_subs[ngx_push_ref(k)]) {
            look_fault("target %x: %u keys, found %u", ngx_push_ref(k),
                       k->count, look_subs[ngx_push_ref(k)]);
        }
    }
}


static void
check_workers(void)
{
    ngx_uint_t          i;
    ngx_push_worker_t  *w;

    for (i = 0; i < NGX_PUSH_WORKERS; i++) {
        w = ngx_push_worker_slot(i);

        if (w->nundo || w->npins) {
            look_fault("worker slot %u: %u changes to take back, %u pins",
                       (unsigned) i, w->nundo, w->npins);
        }

        if (w->state != NGX_PUSH_WORKER_FREE && w != ngx_push_self) {
            look_fault("worker slot %u: state %u", (unsigned) i, w->state);
        }
    }
}


ngx_uint_t
zone_check(zone_census_t *census)
{
    size_t             refs;
    ngx_uint_t         i, k, n;
    ngx_push_shard_t  *sh;

    refs = ngx_push_zone->size >> NGX_PUSH_REF_SHIFT;
    look_seen = calloc(refs, 1);
    look_subs = calloc(refs, sizeof(uint32_t));
    check_faults = 0;
    ngx_memzero(&look_census, sizeof(zone_census_t));

    n = ngx_push_zone->head->nusers + ngx_push_zone->head->nchannels;

    for (i = 0; i < n; i++) {
        sh = &ngx_push_zone->shards[i];

        if (sh->holder) {
            look_fault("shard %u: held by %u", (unsigned) i, sh->holder);
        }

        check_pages(sh);
        check_list(sh, &sh->limbo, offsetof(ngx_push_message_t, next),
                   NGX_PUSH_MESSAGE, SEEN_LIST, "limbo");
        check_list(sh, &sh->linger, offsetof(ngx_push_session_t, lnext),
                   NGX_PUSH_SESSION, SEEN_LIST, "linger");
        check_list(sh, &sh->offline, offsetof(ngx_push_session_t, lnext),
                   NGX_PUSH_SESSION, SEEN_LIST, "offline");
        check_list(sh, &sh->wills, offsetof(ngx_push_session_t, wnext),
                   NGX_PUSH_SESSION, SEEN_WILL, "wills");
        check_list(sh, &sh->idle, offsetof(ngx_push_log_t, inext),
                   NGX_PUSH_LOG, SEEN_LIST, "idle");
        check_list(sh, &sh->keys, offsetof(ngx_push_idem_t, next),
                   NGX_PUSH_IDEM, SEEN_LIST, "keys");
        check_wheel(sh);
    }

    for (i = 0; i < n; i++) {
        check_tables(&ngx_push_zone->shards[i], 0);
    }

    for (i = 0; i < n; i++) {
        check_tables(&ngx_push_zone->shards[i], 1);
        check_keys(&ngx_push_zone->shards[i]);
    }

    for (i = 0; i < n; i++) {
        sh = &ngx_push_zone->shards[i];

        ngx_push_each(sh, NGX_PUSH_MESSAGE, check_message);

        for (k = 0; k < NGX_PUSH_CLASSES; k++) {
            if (k != NGX_PUSH_MESSAGE) {
                ngx_push_each(sh, k, check_owned);
            }
        }
    }

    check_workers();

    free(look_seen);
    free(look_subs);

    if (census) {
        *census = look_census;
    }

    return check_faults;
}
