
/*
 * Copyright (C) the ngx_push authors
 */


/* Sessions, their subscriptions and channels, read for the register. */


#include "ngx_push_sub.h"
#include "ngx_push_binding.h"


static ngx_int_t ngx_push_binding_read(ngx_push_session_t *s,
    ngx_push_sub_t *sub, ngx_push_binding_t *b);
static ngx_int_t ngx_push_channel_read(ngx_push_log_t *log,
    ngx_push_channel_t *channel);


ngx_int_t
ngx_push_session_binding(ngx_push_handle_t session, ngx_uint_t n,
    ngx_push_binding_t *b)
{
    ngx_int_t            rc;
    ngx_push_ref_t       ref;
    ngx_push_sub_t      *sub;
    ngx_push_session_t  *s;

    s = ngx_push_session_by_handle(session);

    if (s == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);

        if (n-- == 0) {
            rc = ngx_push_binding_read(s, sub, b);
            break;
        }
    }

    ngx_push_end();

    return rc;
}


static ngx_int_t
ngx_push_binding_read(ngx_push_session_t *s, ngx_push_sub_t *sub,
    ngx_push_binding_t *b)
{
    u_char           *name;
    ngx_push_log_t   *log;
    ngx_push_conf_t  *pcf;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    ngx_memzero(&b->target, sizeof(ngx_push_target_t));

    b->target.kind = sub->kind;
    b->target.product = pcf ? ngx_push_product_by_id(pcf, sub->product)
                            : NULL;
    b->target.name.data = b->name;
    b->incarnation = sub->incarnation;
    b->sent = sub->sent;
    b->acked = sub->sent - sub->lag;
    b->bound = sub->flags & NGX_PUSH_SUB_BOUND;

    name = NULL;

    if (sub->kind == NGX_PUSH_INBOX) {
        name = ngx_push_session_user(s);
        b->target.name.len = s->user_len;

    } else if (sub->kind == NGX_PUSH_GROUP && sub->log) {

        /* the subscription counts in the log, which so has to stay */

        log = ngx_push_ptr(sub->log);
        name = ngx_push_log_name(log);
        b->target.name.len = log->name_len;
    }

    if (name) {
        ngx_memcpy(b->name, name, b->target.name.len);
    }

    return NGX_OK;
}


ngx_int_t
ngx_push_session_named(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device, ngx_push_handle_t *session)
{
    u_char              *name;
    uint64_t             user_hash;
    ngx_int_t            rc;
    ngx_push_ref_t      *table, ref;
    ngx_push_shard_t    *sh;
    ngx_push_session_t  *s;

    user_hash = ngx_push_user_hash(user);
    rc = NGX_PUSH_NOT_FOUND;

    sh = ngx_push_begin_user(user_hash);
    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->sessions);

    for (ref = table[user_hash & sh->mask]; ref; ref = s->hnext) {
        s = ngx_push_ptr(ref);

        if (s->user_hash != user_hash || s->product != product->id
            || s->user_len != user->len || s->device_len != device->len)
        {
            continue;
        }

        name = ngx_push_session_user(s);

        if (ngx_memcmp(name, user->data, user->len) == 0
            && ngx_memcmp(name + user->len, device->data, device->len) == 0)
        {
            session->index = ref;
            session->gen = s->slot.gen;
            rc = NGX_OK;
            break;
        }
    }

    ngx_push_end();

    return rc;
}


void
ngx_push_session_tell(ngx_push_handle_t session)
{
    uint32_t             slot, gen;
    ngx_push_mail_t      mail;
    ngx_push_session_t  *s;

    s = ngx_push_session_by_handle(session);

    if (s == NULL) {
        return;
    }

    ngx_memzero(&mail, sizeof(ngx_push_mail_t));

    mail.type = NGX_PUSH_MAIL_INBOX;
    mail.conn = s->conn;
    mail.to = session;

    slot = NGX_PUSH_WORKERS;
    gen = 0;

    if (s->presence == NGX_PUSH_ONLINE) {
        slot = s->worker;
        gen = s->worker_gen;
    }

    ngx_push_end();

    if (ngx_push_worker_alive(slot, gen)) {
        ngx_push_mail_send(slot, gen, &mail);
    }
}


static ngx_uint_t
ngx_push_channel_members(ngx_push_log_t *log)
{
    ngx_uint_t          n;
    ngx_push_ref_t      ref;
    ngx_push_member_t  *member;

    n = 0;

    for (ref = log->members; ref; ref = member->next) {
        member = ngx_push_ptr(ref);

        if (ngx_push_worker_alive(member->worker, member->worker_gen)) {
            n += member->count;
        }
    }

    return n;
}


ngx_uint_t
ngx_push_channel_told(ngx_push_target_t *t, ngx_uint_t mine)
{
    ngx_uint_t         told;
    ngx_push_log_t    *log;
    ngx_push_shard_t  *sh;

    sh = ngx_push_begin_log(t);
    log = ngx_push_log_find(sh, t);
    told = log && log->interest > 1 && ngx_push_channel_members(log) > mine;
    ngx_push_end();

    return told;
}


/* An empty log goes when nobody wants it, and the store knows that. */

static void
ngx_push_channel_set(ngx_push_shard_t *sh, ngx_push_log_t *log,
    uint32_t interest)
{
    ngx_push_set(log->interest, interest);

    if (interest == 0 && log->subs == 0 && log->count == 0
        && log->empty == 0)
    {
        ngx_push_log_idle(sh, log);
    }
}


void
ngx_push_channel_note(ngx_push_target_t *t, ngx_uint_t interest)
{
    ngx_push_log_t    *log;
    ngx_push_shard_t  *sh;

    sh = ngx_push_begin_log(t);
    log = ngx_push_log_find(sh, t);

    if (log) {
        ngx_push_channel_set(sh, log, (uint32_t) interest);
    }

    ngx_push_end();
}


static ngx_int_t
ngx_push_channel_read(ngx_push_log_t *log, ngx_push_channel_t *channel)
{
    ngx_push_conf_t     *pcf;
    ngx_push_binding_t  *b;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);
    b = &channel->log;

    ngx_memzero(&b->target, sizeof(ngx_push_target_t));

    b->target.kind = log->kind;
    b->target.product = pcf ? ngx_push_product_by_id(pcf, log->product)
                            : NULL;

    if (b->target.product == NULL) {
        return NGX_PUSH_NOT_FOUND;
    }

    b->target.name.data = b->name;
    b->target.name.len = log->name_len;
    ngx_memcpy(b->name, ngx_push_log_name(log), log->name_len);
    b->incarnation = log->incarnation;

    channel->interest = log->interest;
    channel->members = ngx_push_channel_members(log);

    return NGX_OK;
}


ngx_int_t
ngx_push_channel_next(uint32_t *page, uint32_t *record, ngx_uint_t *steps,
    ngx_push_channel_t *channel)
{
    size_t             size;
    u_char            *data;
    uint32_t           owner;
    ngx_int_t          rc;
    ngx_push_log_t    *log;
    ngx_push_page_t   *p;
    ngx_push_shard_t  *sh;

    size = ngx_push_zone->head->records[NGX_PUSH_LOG];

    for ( /* void */ ; *page < ngx_push_zone->head->npages;
         (*page)++, *record = 0)
    {
        if (*steps == 0) {
            return NGX_AGAIN;
        }

        (*steps)--;

        p = &ngx_push_zone->pages[*page];
        owner = p->owner;

        if (owner == 0 || (owner & 0xff) != NGX_PUSH_LOG
            || (owner >> 8) - 1 < ngx_push_zone->head->nusers)
        {
            continue;
        }

        sh = ngx_push_begin_shard((owner >> 8) - 1);

        if (p->owner != owner) {
            ngx_push_end();
            continue;
        }

        data = ngx_push_zone->data + (size_t) *page * NGX_PUSH_PAGE_SIZE
               + *record * size;

        for ( /* void */ ; *record < p->fresh; data += size) {
            log = (ngx_push_log_t *) data;
            (*record)++;

            if (!log->slot.used || log->kind == NGX_PUSH_UPLINK) {
                continue;
            }

            rc = ngx_push_channel_read(log, channel);

            if (rc == NGX_OK
                && channel->interest
                   != (channel->members ? channel->members + 1 : 0))
            {
                if (channel->members == 0) {
                    ngx_push_channel_set(sh, log, channel->interest > 1);
                }

                ngx_push_end();
                return NGX_OK;
            }
        }

        ngx_push_end();
    }

    return NGX_DONE;
}


ngx_int_t
ngx_push_channel_get(ngx_push_handle_t handle, ngx_push_channel_t *channel)
{
    ngx_int_t        rc, shard;
    ngx_push_log_t  *log;

    shard = ngx_push_owner(handle.index, NGX_PUSH_LOG);

    if (shard == NGX_ERROR) {
        return NGX_PUSH_NOT_FOUND;
    }

    (void) ngx_push_begin_shard(shard);

    rc = NGX_PUSH_NOT_FOUND;

    if (ngx_push_owner(handle.index, NGX_PUSH_LOG) == shard) {
        log = ngx_push_lookup(handle, NGX_PUSH_LOG);

        if (log && log->kind != NGX_PUSH_INBOX
            && log->kind != NGX_PUSH_UPLINK)
        {
            rc = ngx_push_channel_read(log, channel);
        }
    }

    ngx_push_end();

    return rc;
}
