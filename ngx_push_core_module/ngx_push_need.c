
/*
 * Copyright (C) the ngx_push authors
 */


/* What a mirror lacks, and who asks the store for it, and when. */


#include "ngx_push_need.h"
#include "ngx_push_notify.h"


#define NGX_PUSH_NEEDS          16     /* of one transaction */
#define NGX_PUSH_LATER          256


typedef struct {
    ngx_push_need_t      need;
    ngx_uint_t           product;
    u_char               name[NGX_PUSH_NAME_MAX];
} ngx_push_need_cell_t;


typedef struct {
    ngx_push_target_t    target;
    ngx_uint_t           product;
    ngx_msec_t           due;
    u_char               name[NGX_PUSH_NAME_MAX];
} ngx_push_later_t;


static ngx_int_t ngx_push_need_note(ngx_push_kind_t kind, ngx_uint_t product,
    u_char *name, size_t len, uint64_t incarnation, uint64_t after,
    uint64_t upto);
static ngx_int_t ngx_push_need_ask(ngx_push_log_t *log, uint64_t after,
    uint64_t upto);
static void ngx_push_need_handler(ngx_event_t *ev);
static void ngx_push_later_handler(ngx_event_t *ev);


ngx_uint_t                    ngx_push_mirrored;

static ngx_push_need_cell_t  *ngx_push_needs;
static ngx_uint_t             ngx_push_nneeds;
static ngx_uint_t             ngx_push_aneeds;
static ngx_event_t            ngx_push_need_event;

static ngx_push_later_t       ngx_push_laters[NGX_PUSH_LATER];
static ngx_uint_t             ngx_push_nlaters;
static ngx_event_t            ngx_push_later_event;
static ngx_connection_t       ngx_push_later_dummy;


void
ngx_push_need_init(ngx_cycle_t *cycle, ngx_push_conf_t *pcf)
{
    ngx_push_mirrored = (pcf->store && pcf->store->load);

    ngx_push_need_event.handler = ngx_push_need_handler;
    ngx_push_need_event.log = cycle->log;

    ngx_push_later_dummy.fd = (ngx_socket_t) -1;

    ngx_push_later_event.handler = ngx_push_later_handler;
    ngx_push_later_event.data = &ngx_push_later_dummy;
    ngx_push_later_event.log = cycle->log;
    ngx_push_later_event.cancelable = 1;
}


void
ngx_push_check_all(void)
{
    uint32_t           check, next;
    volatile uint32_t *epoch;

    epoch = &ngx_push_zone->head->check;

    do {
        check = *epoch;
        next = (check + 1) & ~NGX_PUSH_LOG_ASKED;
        next = next ? next : 1;

    } while (!__sync_bool_compare_and_swap(epoch, check, next));
}


void
ngx_push_need_reserve(void)
{
    ngx_uint_t             n;
    ngx_push_need_cell_t  *needs;

    if (ngx_push_aneeds - ngx_push_nneeds >= NGX_PUSH_NEEDS) {
        return;
    }

    n = ngx_push_aneeds ? 2 * ngx_push_aneeds : 4 * NGX_PUSH_NEEDS;
    needs = realloc(ngx_push_needs, n * sizeof(ngx_push_need_cell_t));

    if (needs) {
        ngx_push_needs = needs;
        ngx_push_aneeds = n;
    }
}


static ngx_int_t
ngx_push_need_note(ngx_push_kind_t kind, ngx_uint_t product, u_char *name,
    size_t len, uint64_t incarnation, uint64_t after, uint64_t upto)
{
    ngx_push_need_t       *need;
    ngx_push_need_cell_t  *cell;

    if (ngx_push_nneeds == ngx_push_aneeds) {
        return NGX_BUSY;
    }

    cell = &ngx_push_needs[ngx_push_nneeds++];
    need = &cell->need;

    need->target.kind = kind;
    need->target.product = NULL;
    need->target.name.len = len;
    need->target.hash = 0;
    need->incarnation = incarnation;
    need->after = after;
    need->upto = upto;

    cell->product = product;
    ngx_memcpy(cell->name, name, len);

    if (!ngx_push_need_event.posted) {
        ngx_post_event(&ngx_push_need_event, &ngx_posted_events);
    }

    return NGX_OK;
}


/* The store may answer at once, and that may bring more: they are taken too. */

static void
ngx_push_need_handler(ngx_event_t *ev)
{
    ngx_uint_t             i;
    ngx_push_conf_t       *pcf;
    ngx_push_need_cell_t   cell;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    for (i = 0; i < ngx_push_nneeds; i++) {
        cell = ngx_push_needs[i];
        cell.need.target.name.data = cell.name;
        cell.need.target.product = pcf ? ngx_push_product_by_id(pcf,
                                                                cell.product)
                                       : NULL;

        if (cell.need.target.product && pcf->store->load) {
            pcf->store->load(&cell.need);
        }
    }

    ngx_push_nneeds = 0;
}


/* One at a time for a log, whichever worker asks. */

static ngx_int_t
ngx_push_need_ask(ngx_push_log_t *log, uint64_t after, uint64_t upto)
{
    uint32_t  now;

    now = ngx_push_now();

    if (log->load > now && log->load <= now + NGX_PUSH_LOAD_WAIT) {
        return NGX_AGAIN;
    }

    if (ngx_push_need_note(log->kind, log->product, ngx_push_log_name(log),
                           log->name_len, log->incarnation, after, upto)
        != NGX_OK)
    {
        return NGX_BUSY;
    }

    ngx_push_set(log->load, now + NGX_PUSH_LOAD_WAIT);

    /* an answer to the end is a comparison, as of the epoch of the question */

    if (upto == 0 && log->check != ngx_push_zone->head->check) {
        ngx_push_set(log->check, ngx_push_zone->head->check
                                 | NGX_PUSH_LOG_ASKED);
    }

    return NGX_OK;
}


ngx_int_t
ngx_push_need_look(ngx_push_session_t *s, ngx_push_log_t *log,
    ngx_push_sub_t *sub)
{
    uint8_t  flags;

    if (log->slot.flags & NGX_PUSH_LOG_STALE) {

        /* nobody has more of it */

        return NGX_OK;
    }

    flags = sub->flags & ~NGX_PUSH_SUB_CHECKED;

    if (sub->sent < log->floor) {

        if (flags != sub->flags) {
            ngx_push_set(sub->flags, flags);
        }

        (void) ngx_push_need_ask(log, sub->sent, log->floor);

        return NGX_AGAIN;
    }

    if (log->check != ngx_push_zone->head->check || log->known > log->last) {

        if (flags != sub->flags) {
            ngx_push_set(sub->flags, flags);
        }

        ngx_push_need_tail(log);

    } else if (log->kind == NGX_PUSH_INBOX && flags == sub->flags
               && s->check == ngx_push_need_epoch())
    {
        /* the log goes when it is empty: what it knew stays */

        ngx_push_set(sub->flags, flags | NGX_PUSH_SUB_CHECKED);
    }

    return NGX_OK;
}


void
ngx_push_need_tail(ngx_push_log_t *log)
{
    (void) ngx_push_need_ask(log, log->last, 0);
}


/* Begins anew when the epoch has changed, but not while an answer is awaited */

void
ngx_push_need_session(ngx_push_session_t *s)
{
    uint8_t          flags;
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub;

    if (s->check == ngx_push_need_epoch()) {
        return;
    }

    if (s->check && (int16_t) (s->asked - (uint16_t) ngx_push_now()) > 0) {
        return;
    }

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);

        if (sub->kind != NGX_PUSH_INBOX) {
            break;
        }

        flags = sub->flags & ~(NGX_PUSH_SUB_CHECKED|NGX_PUSH_SUB_ASKED);

        if (flags != sub->flags) {
            ngx_push_set(sub->flags, flags);
        }

        ngx_push_commit_long();
    }

    ngx_push_set(s->check, ngx_push_need_epoch());
    ngx_push_set(s->asked, (uint16_t) ngx_push_now());
}


void
ngx_push_need_inbox(ngx_push_session_t *s, ngx_push_sub_t *sub)
{
    if (s->check != ngx_push_need_epoch()
        || (sub->flags & NGX_PUSH_SUB_CHECKED)
        || ((sub->flags & NGX_PUSH_SUB_ASKED)
            && (int16_t) (s->asked - (uint16_t) ngx_push_now()) > 0))
    {
        return;
    }

    if (ngx_push_need_note(NGX_PUSH_INBOX, sub->product,
                           ngx_push_session_user(s), s->user_len,
                           sub->incarnation, sub->sent, 0)
        != NGX_OK)
    {
        return;
    }

    ngx_push_set(sub->flags, sub->flags | NGX_PUSH_SUB_ASKED);
    ngx_push_set(s->asked, (uint16_t) (ngx_push_now() + NGX_PUSH_LOAD_WAIT));
}


void
ngx_push_need_forget(ngx_push_shard_t *sh, ngx_push_log_t *log)
{
    ngx_push_need_users(sh, ngx_push_hash(0, ngx_push_log_name(log),
                                          log->name_len));
}


void
ngx_push_need_users(ngx_push_shard_t *sh, uint64_t hash)
{
    ngx_push_ref_t      *table, ref;
    ngx_push_session_t  *s;

    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash == hash) {
            ngx_push_set(s->check, 0);
            ngx_push_commit_long();
        }
    }
}


/*
 * With several senders messages come out of order by a little: the one that
 * was waited for may be here before the store would be asked.
 */

void
ngx_push_need_gap(ngx_push_log_t *log, ngx_push_target_t *t)
{
    uint32_t  now;

    now = ngx_push_now();

    if (log->load > now && log->load <= now + NGX_PUSH_LOAD_WAIT) {
        return;
    }

    ngx_push_set(log->load, now + NGX_PUSH_LOAD_WAIT);
    ngx_push_need_later(t, NGX_PUSH_GAP_WAIT);
}


/* Nothing is allocated, so it may be called under a lock. */

void
ngx_push_need_later(ngx_push_target_t *t, ngx_msec_t wait)
{
    ngx_uint_t         i;
    ngx_push_later_t  *later;

    for (i = 0; i < ngx_push_nlaters; i++) {
        later = &ngx_push_laters[i];

        if (later->target.kind == t->kind
            && later->product == t->product->id
            && later->target.name.len == t->name.len
            && ngx_memcmp(later->name, t->name.data, t->name.len) == 0)
        {
            return;
        }
    }

    if (i == NGX_PUSH_LATER) {

        /* the next message asks, or the next heartbeat */

        return;
    }

    later = &ngx_push_laters[ngx_push_nlaters++];

    later->target = *t;
    later->product = t->product->id;
    later->due = ngx_current_msec + wait;
    ngx_memcpy(later->name, t->name.data, t->name.len);

    if (!ngx_push_later_event.timer_set
        || (ngx_msec_int_t) (ngx_push_later_event.timer.key - later->due)
           > NGX_TIMER_LAZY_DELAY)
    {
        ngx_add_timer(&ngx_push_later_event, wait);
    }
}


static void
ngx_push_later_handler(ngx_event_t *ev)
{
    ngx_uint_t          i;
    ngx_msec_int_t      left, next;
    ngx_push_conf_t    *pcf;
    ngx_push_later_t    later;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    for (i = 0; i < ngx_push_nlaters; /* void */ ) {
        later = ngx_push_laters[i];

        if ((ngx_msec_int_t) (later.due - ngx_current_msec) > 0) {
            i++;
            continue;
        }

        ngx_push_laters[i] = ngx_push_laters[--ngx_push_nlaters];

        later.target.name.data = later.name;
        later.target.product = pcf ? ngx_push_product_by_id(pcf,
                                                            later.product)
                                   : NULL;

        if (later.target.product) {
            ngx_push_need_tell(&later.target);
        }
    }

    next = NGX_PUSH_LOAD_AGAIN;

    for (i = 0; i < ngx_push_nlaters; i++) {
        left = (ngx_msec_int_t) (ngx_push_laters[i].due - ngx_current_msec);
        next = ngx_min(next, ngx_max(left, 1));
    }

    if (ngx_push_nlaters) {
        ngx_add_timer(ev, next);
    }
}


/*
 * What is missing at the end is asked for right here; what one of them lacks
 * below the floor, by the one who lacks it.
 */

void
ngx_push_need_tell(ngx_push_target_t *t)
{
    ngx_uint_t           tell;
    ngx_push_log_t      *log;
    ngx_push_shard_t    *sh;
    ngx_push_notices_t   ns;

    ngx_push_need_reserve();
    ngx_push_notify_init(&ns);

    sh = ngx_push_begin_log(t);

    log = ngx_push_log_find(sh, t);

    if (t->kind == NGX_PUSH_INBOX) {
        (void) ngx_push_notify_user(sh, t, &ns);

    } else if (log) {
        ngx_push_notify_members(log, &ns);
    }

    tell = (ns.n != 0);

    if (log) {
        ns.log.index = ngx_push_ref(log);
        ns.log.gen = log->slot.gen;

        ngx_push_set(log->load, 0);

        if (ns.n && log->known > log->last) {
            ngx_push_need_tail(log);
        }
    }

    ngx_push_end();

    if (tell) {
        ngx_push_notify_send(&ns, NGX_PUSH_MAIL_INBOX, NGX_PUSH_MAIL_CHANNEL);
    }
}
