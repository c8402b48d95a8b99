
/*
 * Copyright (C) the ngx_push authors
 */


/* Sessions: claimed by connections, released, lingering, forgotten. */


#include "ngx_push_sub.h"
#include "ngx_push_mirror.h"
#include "ngx_push_moved.h"


#define NGX_PUSH_SESSION_STEPS  500    /* of one sweep, under the lock */
#define NGX_PUSH_SWEEP_PAGES    256    /* of a dead worker's, at once */
#define NGX_PUSH_LEFT_LATELY    10     /* seconds */


static ngx_push_session_t *ngx_push_session_new(ngx_push_shard_t *sh,
    uint64_t user_hash, ngx_push_claim_t *claim);
static ngx_push_session_t *ngx_push_session_make(ngx_push_shard_t *sh,
    uint64_t user_hash, ngx_push_claim_t *claim);
static ngx_uint_t ngx_push_session_missed(ngx_push_session_t *s,
    uint32_t before);
static ngx_uint_t ngx_push_session_will_due(ngx_push_session_t *s,
    ngx_push_claim_t *claim);
static void ngx_push_session_own(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_claim_t *claim);
static void ngx_push_session_uncheck(ngx_push_shard_t *sh,
    ngx_push_session_t *s);
static void ngx_push_session_end_mqtt(ngx_push_shard_t *sh,
    ngx_push_session_t *s);
static void ngx_push_session_unlist(ngx_push_shard_t *sh,
    ngx_push_session_t *s);
static void ngx_push_session_leave(ngx_push_shard_t *sh,
    ngx_push_session_t *s, ngx_uint_t broken);
static void ngx_push_session_forget(ngx_push_shard_t *sh,
    ngx_push_session_t *s);


u_char *
ngx_push_session_user(ngx_push_session_t *s)
{
    if (s->longname) {
        return (u_char *) ngx_push_ptr(s->longname) + sizeof(ngx_push_slot_t);
    }

    return s->name;
}


uint64_t
ngx_push_session_publisher(ngx_push_session_t *s)
{
    ngx_str_t            user, device;
    ngx_push_conf_t     *pcf;
    ngx_push_product_t  *product;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);
    product = pcf ? ngx_push_product_by_id(pcf, s->product) : NULL;

    if (product == NULL) {
        return 0;
    }

    user.data = ngx_push_session_user(s);
    user.len = s->user_len;
    device.data = user.data + s->user_len;
    device.len = s->device_len;

    return ngx_push_publisher_hash(product, &user, &device);
}


ngx_push_session_t *
ngx_push_session_lock(ngx_push_conn_t *conn, ngx_push_shard_t **sh)
{
    ngx_int_t            shard;
    ngx_push_session_t  *s;

    shard = ngx_push_owner(conn->session.index, NGX_PUSH_SESSION);

    if (shard == NGX_ERROR) {
        return NULL;
    }

    *sh = ngx_push_begin_shard(shard);

    if (ngx_push_owner(conn->session.index, NGX_PUSH_SESSION) == shard) {
        s = ngx_push_lookup(conn->session, NGX_PUSH_SESSION);

        if (s && ngx_push_session_mine(s) && s->conn == conn->index
            && s->claim == conn->claim)
        {
            return s;
        }
    }

    ngx_push_end();

    return NULL;
}


ngx_push_session_t *
ngx_push_session_by_handle(ngx_push_handle_t session)
{
    ngx_int_t            shard;
    ngx_push_session_t  *s;

    shard = ngx_push_owner(session.index, NGX_PUSH_SESSION);

    if (shard == NGX_ERROR) {
        return NULL;
    }

    (void) ngx_push_begin_shard(shard);

    if (ngx_push_owner(session.index, NGX_PUSH_SESSION) == shard) {
        s = ngx_push_lookup(session, NGX_PUSH_SESSION);

        if (s) {
            return s;
        }
    }

    ngx_push_end();

    return NULL;
}


ngx_push_session_t *
ngx_push_session_find(ngx_push_shard_t *sh, uint64_t user_hash,
    ngx_push_claim_t *claim)
{
    u_char              *name;
    ngx_push_ref_t      *table, ref;
    ngx_push_session_t  *s;

    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[user_hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash != user_hash
            || s->product != claim->product->id
            || s->user_len != claim->user.len
            || s->device_len != claim->device.len)
        {
            continue;
        }

        name = ngx_push_session_user(s);

        if (ngx_memcmp(name, claim->user.data, s->user_len) == 0
            && ngx_memcmp(name + s->user_len, claim->device.data,
                          s->device_len)
               == 0)
        {
            return s;
        }
    }

    return NULL;
}


static ngx_push_session_t *
ngx_push_session_new(ngx_push_shard_t *sh, uint64_t user_hash,
    ngx_push_claim_t *claim)
{
    u_char              *name;
    ngx_push_ref_t      *bucket;
    ngx_push_slot_t     *longname;
    ngx_push_session_t  *s;

    s = ngx_push_alloc(sh, NGX_PUSH_SESSION);

    if (s == NULL) {
        return NULL;
    }

    ngx_memzero((u_char *) s + sizeof(ngx_push_slot_t),
                sizeof(ngx_push_session_t) - sizeof(ngx_push_slot_t));

    name = s->name;

    if (claim->user.len + claim->device.len > NGX_PUSH_SESSION_INLINE) {
        longname = ngx_push_alloc(sh, NGX_PUSH_LONGNAME);

        if (longname == NULL) {
            ngx_push_rollback();
            return NULL;
        }

        s->longname = ngx_push_ref(longname);
        name = (u_char *) (longname + 1);
    }

    name = ngx_cpymem(name, claim->user.data, claim->user.len);
    ngx_memcpy(name, claim->device.data, claim->device.len);

    s->user_len = claim->user.len;
    s->device_len = claim->device.len;
    s->product = claim->product->id;
    s->user_hash = user_hash;

    bucket = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions)
             + (user_hash & sh->mask);

    s->hnext = *bucket;
    ngx_push_set(*bucket, ngx_push_ref(s));

    /* always on one list or online, so that it cannot be left behind */

    s->presence = NGX_PUSH_OFFLINE;
    s->since = ngx_push_now();
    ngx_push_list_append(&sh->offline, s,
                         offsetof(ngx_push_session_t, lnext));

    return s;
}


/* A zone without room forgets who has been away longest, then tries again. */

static ngx_push_session_t *
ngx_push_session_make(ngx_push_shard_t *sh, uint64_t user_hash,
    ngx_push_claim_t *claim)
{
    ngx_uint_t           i;
    ngx_push_session_t  *s;

    for (i = 0; i < 8; i++) {
        s = ngx_push_session_new(sh, user_hash, claim);

        if (s || sh->offline.head == 0) {
            return s;
        }

        ngx_push_count(drops[NGX_PUSH_DROP_EVICTED]);
        ngx_push_session_forget(sh, ngx_push_ptr(sh->offline.head));
    }

    return NULL;
}


ngx_int_t
ngx_push_session_claim(ngx_push_claim_t *claim)
{
    uint64_t             user_hash;
    ngx_push_shard_t    *sh;
    ngx_push_session_t  *s;

    user_hash = ngx_push_user_hash(&claim->user);

    sh = ngx_push_begin_user(user_hash);

    s = ngx_push_session_find(sh, user_hash, claim);

    if (s && claim->registered && s->registered
        && (int32_t) (claim->registered - s->registered) < 0)
    {
        ngx_push_end();
        return NGX_DECLINED;
    }

    if (claim->before && ngx_push_session_missed(s, claim->before)) {
        claim->newer = 1;
    }

    if (s && (s->presence == NGX_PUSH_ONLINE
              || ngx_push_session_will_due(s, claim)))
    {
        ngx_push_session_vacate(sh, s, claim, 0x8e);

        sh = ngx_push_begin_user(user_hash);

        s = ngx_push_session_find(sh, user_hash, claim);
    }

    if (s == NULL) {
        s = ngx_push_session_make(sh, user_hash, claim);

        if (s == NULL) {
            ngx_push_end();
            return NGX_PUSH_FULL;
        }

    } else if (s->presence == NGX_PUSH_ONLINE) {

        /* another worker was quicker in between: it is kicked in turn */

        ngx_push_end();
        return ngx_push_session_claim(claim);

    } else if (s->mqtt
               && (claim->clean
                   || (s->expiry != 0xffffffff
                       && (uint64_t) s->since + s->expiry < ngx_push_now())))
    {
        /* over, or not wanted any more */

        ngx_push_session_end_mqtt(sh, s);
        ngx_push_commit();
    }

    if (claim->packed.len
        && ngx_push_session_unpack(sh, s, claim) != NGX_OK)
    {
        ngx_push_end();
        return NGX_PUSH_FULL;
    }

    claim->present = s->mqtt;

    if (s->will) {

        /* the session goes on, so its will is not published (3.1.3.2) */

        ngx_push_will_drop(sh, s);
    }

    ngx_push_commit_long();

    if (claim->will.product
        && ngx_push_will_set(sh, s, claim) != NGX_OK)
    {
        ngx_push_end();
        return NGX_PUSH_FULL;
    }

    ngx_push_session_own(sh, s, claim);
    ngx_push_commit();
    ngx_push_fault_point("claim");

    claim->conn->session.index = ngx_push_ref(s);
    claim->conn->session.gen = s->slot.gen;
    claim->conn->claim = s->claim;

    if (claim->present) {
        ngx_push_subs_join(sh, s);
    }

    ngx_push_end();

    return NGX_OK;
}


/*
 * A claim was given to this node, and a worker that died, or has not come to
 * it yet, did not make a session of it: has another node had the device before
 * that?
 */

static ngx_uint_t
ngx_push_session_missed(ngx_push_session_t *s, uint32_t before)
{
    return s == NULL || (s->slot.flags & NGX_PUSH_SESSION_AWAY)
           || (s->registered && (int32_t) (before - s->registered) > 1);
}


/* A will that the claim of its session brings about. */

static ngx_uint_t
ngx_push_session_will_due(ngx_push_session_t *s, ngx_push_claim_t *claim)
{
    return s->will && (claim->clean || s->will_delay == 0);
}


/* What is done without the lock comes last, so the transaction ends here. */

void
ngx_push_session_vacate(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_claim_t *claim, ngx_uint_t reason)
{
    uint32_t           slot, gen;
    ngx_uint_t         due;
    ngx_push_mail_t    mail;
    ngx_push_handle_t  handle;

    slot = NGX_PUSH_WORKERS;
    gen = 0;

    handle.index = ngx_push_ref(s);
    handle.gen = s->slot.gen;

    ngx_memzero(&mail, sizeof(ngx_push_mail_t));

    if (s->presence == NGX_PUSH_ONLINE) {
        slot = s->worker;
        gen = s->worker_gen;

        mail.type = NGX_PUSH_MAIL_KICK;
        mail.reason = reason;
        mail.conn = s->conn;
        mail.to = handle;
        mail.seq = s->claim;

        ngx_push_subs_leave(sh, s);
        ngx_push_session_leave(sh, s, 1);
        ngx_push_commit();
        ngx_push_fault_point("vacate");
    }

    due = claim ? ngx_push_session_will_due(s, claim)
                : (s->will && s->will_delay == 0);

    ngx_push_end();

    if (slot != NGX_PUSH_WORKERS && ngx_push_worker_alive(slot, gen)) {
        ngx_push_mail_send(slot, gen, &mail);
    }

    if (due) {
        ngx_push_will_publish(handle);
    }
}


static void
ngx_push_session_own(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_claim_t *claim)
{
    ngx_push_session_unlist(sh, s);

    ngx_push_set(s->presence, NGX_PUSH_ONLINE);
    ngx_push_set(s->since, ngx_push_now());
    ngx_push_set(s->worker, (uint16_t) ngx_push_self->index);
    ngx_push_set(s->worker_gen, ngx_push_self->gen);
    ngx_push_set(s->conn, claim->conn->index);
    ngx_push_set(s->claim, s->claim + 1);
    ngx_push_set(s->proto, (uint8_t) claim->proto);
    ngx_push_set(s->window, (uint16_t) claim->window);
    ngx_push_set(s->expiry, claim->expiry);
    ngx_push_set(s->ephemeral, (uint8_t) claim->ephemeral);
    ngx_push_set(s->mqtt, 1);

    if (claim->registered) {
        ngx_push_set(s->registered, claim->registered);
        ngx_push_set(s->slot.flags, s->slot.flags & ~NGX_PUSH_SESSION_AWAY);
    }

    if (ngx_push_mirrored) {
        ngx_push_session_uncheck(sh, s);
    }
}


/* While it was away nothing may have told this node of its messages. */

static void
ngx_push_session_uncheck(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_ref_t   ref;
    ngx_push_sub_t  *sub;
    ngx_push_log_t  *log;

    ngx_push_set(s->check, 0);

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);

        if (sub->kind != NGX_PUSH_INBOX) {
            break;
        }

        log = ngx_push_sub_present(sh, s, sub);

        if (log) {
            ngx_push_set(log->check, 0);
        }

        ngx_push_commit_long();
    }
}


static void
ngx_push_session_end_mqtt(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_window_drop(sh, s);
    ngx_push_subs_sleep(sh, s);
    ngx_push_set(s->mqtt, 0);
}


static void
ngx_push_session_unlist(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    if (s->presence == NGX_PUSH_LINGERING) {
        ngx_push_list_remove(&sh->linger, s,
                             offsetof(ngx_push_session_t, lnext));

    } else if (s->presence == NGX_PUSH_OFFLINE) {
        ngx_push_list_remove(&sh->offline, s,
                             offsetof(ngx_push_session_t, lnext));
    }
}


/* Online no more; its subscriptions have left their member lists already. */

static void
ngx_push_session_leave(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_uint_t broken)
{
    ngx_push_set(s->since, ngx_push_now());

    if (broken) {
        ngx_push_set(s->presence, NGX_PUSH_LINGERING);
        ngx_push_list_append(&sh->linger, s,
                             offsetof(ngx_push_session_t, lnext));

    } else {
        ngx_push_set(s->presence, NGX_PUSH_OFFLINE);
        ngx_push_list_append(&sh->offline, s,
                             offsetof(ngx_push_session_t, lnext));
    }

    if (s->will) {
        ngx_push_will_schedule(sh, s, s->since);
    }

    ngx_push_commit();
    ngx_push_fault_point("leave");

    if (s->expiry == 0 && s->mqtt) {
        ngx_push_session_end_mqtt(sh, s);
    }
}


void
ngx_push_session_release(ngx_push_conn_t *conn, ngx_uint_t broken,
    uint32_t expiry, ngx_uint_t will)
{
    ngx_uint_t           due;
    ngx_push_shard_t    *sh;
    ngx_push_handle_t    handle;
    ngx_push_session_t  *s;

    handle = conn->session;
    due = 0;

    s = ngx_push_session_lock(conn, &sh);

    ngx_push_conn_detach(conn);
    conn->session.index = 0;
    conn->session.gen = 0;

    if (s == NULL) {
        return;
    }

    if (!will && s->will) {
        ngx_push_will_drop(sh, s);
    }

    ngx_push_set(s->expiry, expiry);

    ngx_push_subs_leave(sh, s);
    ngx_push_session_leave(sh, s, broken);

    due = s->will && (s->will_delay == 0 || expiry == 0);

    if (s->ephemeral && !s->will) {
        ngx_push_session_forget(sh, s);
    }

    ngx_push_end();

    if (due) {
        ngx_push_will_publish(handle);
    }
}


static void
ngx_push_session_forget(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_ref_t  *p, ref;

    if (s->will) {
        ngx_push_will_drop(sh, s);
    }

    ngx_push_window_drop(sh, s);
    ngx_push_subs_forget(sh, s);

    ref = ngx_push_ref(s);
    p = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions)
        + (s->user_hash & sh->mask);

    while (*p != ref) {
        p = &((ngx_push_session_t *) ngx_push_ptr(*p))->hnext;
    }

    ngx_push_set(*p, s->hnext);

    ngx_push_session_unlist(sh, s);

    if (s->longname) {
        ngx_push_free(sh, ngx_push_ptr(s->longname));
    }

    ngx_push_free(sh, s);
    ngx_push_commit();
}


void
ngx_push_session_sweep(ngx_push_shard_t *sh, ngx_push_conf_t *pcf,
    uint32_t now)
{
    ngx_uint_t           n;
    ngx_push_session_t  *s;

    for (n = 0; sh->linger.head && n < NGX_PUSH_SESSION_STEPS; n++) {
        s = ngx_push_ptr(sh->linger.head);

        if (s->since + pcf->linger > now) {
            break;
        }

        if (s->ephemeral && !s->will) {
            ngx_push_session_forget(sh, s);
            continue;
        }

        ngx_push_session_unlist(sh, s);
        ngx_push_set(s->presence, NGX_PUSH_OFFLINE);
        ngx_push_list_append(&sh->offline, s,
                             offsetof(ngx_push_session_t, lnext));
        ngx_push_commit();
    }

    for (n = 0; sh->offline.head && n < NGX_PUSH_SESSION_STEPS; n++) {
        s = ngx_push_ptr(sh->offline.head);

        if (s->since + pcf->device_expiry > now) {
            break;
        }

        ngx_push_session_forget(sh, s);
    }
}


/* It may not have come to tell the register of a device that left last. */

static ngx_uint_t
ngx_push_session_left_with(ngx_push_session_t *s, ngx_push_worker_t *dead)
{
    return s->slot.used && s->presence != NGX_PUSH_ONLINE && s->registered
           && s->worker == dead->index && s->worker_gen == dead->gen
           && s->since + NGX_PUSH_LEFT_LATELY >= ngx_push_now();
}


/*
 * The sessions of a dead worker begin to linger.  Looks at some pages at a
 * time; 1 when all were looked at.  A device that is back before that does
 * not wait for us: a claim finds out by itself that the owner is dead.
 */

ngx_uint_t
ngx_push_session_sweep_worker(ngx_push_worker_t *dead)
{
    size_t               size;
    u_char              *data;
    uint32_t             end, n, k, owner;
    ngx_push_page_t     *page;
    ngx_push_shard_t    *sh;
    ngx_push_handle_t    handle;
    ngx_push_session_t  *s;

    size = ngx_push_zone->head->records[NGX_PUSH_SESSION];
    end = ngx_min(dead->swept + NGX_PUSH_SWEEP_PAGES,
                  ngx_push_zone->head->npages);

    for (n = dead->swept; n < end; n++) {
        page = &ngx_push_zone->pages[n];
        owner = page->owner;

        if (owner == 0 || (owner & 0xff) != NGX_PUSH_SESSION) {
            continue;
        }

        ngx_push_moved_reserve();

        sh = ngx_push_begin_shard((owner >> 8) - 1);

        if (page->owner != owner) {
            ngx_push_end();
            continue;
        }

        data = ngx_push_zone->data + (size_t) n * NGX_PUSH_PAGE_SIZE;

        for (k = 0; k < page->fresh; k++, data += size) {
            s = (ngx_push_session_t *) data;

            if (s->slot.used && s->presence == NGX_PUSH_ONLINE
                && s->worker == dead->index && s->worker_gen == dead->gen)
            {
                ngx_push_subs_leave(sh, s);
                ngx_push_session_leave(sh, s, 1);
                ngx_push_commit();
                ngx_push_count(swept);


            } else if (!ngx_push_session_left_with(s, dead)) {
                continue;
            }

            if (ngx_push_moving) {
                handle.index = ngx_push_ref(s);
                handle.gen = s->slot.gen;
                ngx_push_moved_session(handle);
            }
        }

        ngx_push_end();
    }

    dead->swept = end;

    return end == ngx_push_zone->head->npages;
}
