
/*
 * Copyright (C) the ngx_push authors
 */


/* The embedded store: the logs of this node's zone.  Always answers at once. */


#include "ngx_push_idem.h"
#include "ngx_push_notify.h"
#include "ngx_push_moved.h"


static ngx_int_t ngx_push_memory_save(ngx_push_save_t *op,
    ngx_push_done_pt done, ngx_push_handle_t handle);
static ngx_int_t ngx_push_memory_once(ngx_push_save_t *op);
static ngx_int_t ngx_push_memory_send_once(ngx_push_save_t *op,
    ngx_push_shard_t *sh, ngx_push_log_t *log, ngx_push_notices_t *ns);
static ngx_int_t ngx_push_memory_refuse(ngx_push_shard_t *sh,
    ngx_push_message_t *m, ngx_int_t rc);
static void ngx_push_memory_limit(ngx_push_shard_t *sh,
    ngx_push_log_t *log, ngx_push_target_t *t);
static ngx_int_t ngx_push_memory_status(ngx_push_status_t *op,
    ngx_push_done_pt done, ngx_push_handle_t handle);
static ngx_int_t ngx_push_memory_read(ngx_push_read_t *op,
    ngx_push_done_pt done, ngx_push_handle_t handle);
static ngx_int_t ngx_push_memory_entry(ngx_push_read_t *op,
    ngx_push_message_t *m, ngx_push_log_t *log);


ngx_push_store_t  ngx_push_memory_store = {
    ngx_string("memory"),
    ngx_push_memory_save,
    ngx_push_memory_status,
    ngx_push_memory_read,
    NULL
};


static ngx_int_t
ngx_push_memory_save(ngx_push_save_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    time_t               ttl;
    ngx_int_t            rc;
    ngx_push_log_t      *log;
    ngx_push_idem_t     *k;
    ngx_push_shard_t    *sh;
    ngx_push_notices_t   ns;
    ngx_push_message_t  *m;

    if (op->size > op->target.product->payload_limit) {
        ngx_push_count(drops[NGX_PUSH_DROP_TOO_LARGE]);
        return NGX_PUSH_TOO_LARGE;
    }

    if (op->ttl == 0) {
        return ngx_push_memory_once(op);
    }

    ttl = op->ttl < 0 ? op->target.product->ttl : op->ttl;
    ttl = ngx_min(ttl, op->target.product->ttl_max);

    ngx_push_notify_init(&ns);
    ngx_push_moved_reserve();

    sh = ngx_push_begin_log(&op->target);

    if (op->target.kind == NGX_PUSH_INBOX) {
        ngx_push_notify_prefetch(sh, &op->target);
    }

    if (op->key.len) {
        rc = ngx_push_idem_find(sh, op);

        if (rc != NGX_DECLINED) {
            ngx_push_end();
            return rc;
        }
    }

    m = ngx_push_message_build(sh, &op->ctype, &op->props, op->payload,
                               op->size);

    log = op->target.kind == NGX_PUSH_INBOX
          ? ngx_push_notify_user(sh, &op->target, &ns) : NULL;

    if (m && log == NULL) {
        log = ngx_push_log_get(sh, &op->target);
    }

    if (m == NULL || log == NULL) {
        return ngx_push_memory_refuse(sh, m, NGX_PUSH_FULL);
    }

    k = NULL;

    if (op->key.len) {
        k = ngx_push_idem_new(sh, op, &rc);

        if (k == NULL) {
            return ngx_push_memory_refuse(sh, m, rc);
        }
    }

    m->qos = op->qos;
    m->from = op->from;

    ngx_push_log_append(sh, log, m);
    ngx_push_message_expire(sh, m, ngx_push_now() + ttl);

    op->incarnation = log->incarnation;
    op->seq = m->seq;
    op->expires = ngx_push_wall(m->expire);
    op->ttl = ttl;

    if (k) {
        ngx_push_idem_done(k, op);
    }

    ngx_push_fault_point("save");
    ngx_push_commit();

    ngx_push_memory_limit(sh, log, &op->target);

    if (op->target.kind == NGX_PUSH_GROUP
        || op->target.kind == NGX_PUSH_BROADCAST)
    {
        ngx_push_notify_members(log, &ns);
    }

    ngx_push_notify_saved(sh, log, m, &ns);

    ngx_push_end();
    ngx_push_fault_point("saved");

    ngx_push_count(saved[op->target.kind]);

    op->reached = ns.reached;

    ngx_push_notify_send(&ns, NGX_PUSH_MAIL_INBOX, NGX_PUSH_MAIL_CHANNEL);

    return NGX_OK;
}


/* Nothing is saved; what was built for it goes. */

static ngx_int_t
ngx_push_memory_refuse(ngx_push_shard_t *sh, ngx_push_message_t *m,
    ngx_int_t rc)
{
    if (m) {
        ngx_push_message_end(sh, m);
    }

    ngx_push_end();

    if (rc == NGX_PUSH_FULL) {
        ngx_push_count(drops[NGX_PUSH_DROP_ZONE_FULL]);
    }

    return rc;
}


/* To those there now, in no log. */

static ngx_int_t
ngx_push_memory_once(ngx_push_save_t *op)
{
    ngx_int_t            rc;
    ngx_push_log_t      *log;
    ngx_push_shard_t    *sh;
    ngx_push_notices_t   ns;

    ngx_push_notify_init(&ns);

    op->incarnation = 0;
    op->seq = 0;
    op->expires = 0;
    op->reached = 0;

    sh = ngx_push_begin_log(&op->target);

    if (op->key.len) {
        rc = ngx_push_idem_find(sh, op);

        if (rc != NGX_DECLINED) {
            ngx_push_end();
            return rc;
        }
    }

    log = ngx_push_notify_online(sh, &op->target, &ns);

    rc = ngx_push_memory_send_once(op, sh, log, &ns);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ns.n == 0) {
        ngx_push_count(drops[NGX_PUSH_DROP_OFFLINE]);
        return NGX_OK;
    }

    ngx_push_count(once[op->target.kind]);

    ngx_push_notify_send(&ns, NGX_PUSH_MAIL_ONCE, NGX_PUSH_MAIL_CHANNEL_ONCE);

    return NGX_OK;
}


/*
 * The message and its key, in one transaction, which this ends.  Nobody there:
 * the key alone.
 */

static ngx_int_t
ngx_push_memory_send_once(ngx_push_save_t *op, ngx_push_shard_t *sh,
    ngx_push_log_t *log, ngx_push_notices_t *ns)
{
    ngx_int_t            rc;
    ngx_push_idem_t     *k;
    ngx_push_message_t  *m;

    m = NULL;
    op->reached = ns->reached;

    if (ns->n) {
        m = ngx_push_message_build(sh, &op->ctype, &op->props, op->payload,
                                   op->size);

        if (m == NULL) {
            return ngx_push_memory_refuse(sh, NULL, NGX_PUSH_FULL);
        }
    }

    if (op->key.len) {
        k = ngx_push_idem_new(sh, op, &rc);

        if (k == NULL) {
            return ngx_push_memory_refuse(sh, m, rc);
        }

        ngx_push_idem_done(k, op);
    }

    if (m) {
        ngx_push_notify_once(sh, log, m, &op->target, ns);
    }

    ngx_push_end();

    return NGX_OK;
}


/* Oldest first, counted. */

static void
ngx_push_memory_limit(ngx_push_shard_t *sh, ngx_push_log_t *log,
    ngx_push_target_t *t)
{
    ngx_uint_t  limit;

    limit = ngx_push_log_limit(t);

    while (log->count > limit) {
        ngx_push_count(drops[NGX_PUSH_DROP_LIMIT]);
        ngx_push_log_drop(sh, ngx_push_ptr(log->head));
        ngx_push_commit_long();
    }
}


static ngx_int_t
ngx_push_memory_status(ngx_push_status_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    ngx_int_t            rc;
    ngx_push_log_t      *log;
    ngx_push_shard_t    *sh;
    ngx_push_message_t  *m;

    rc = NGX_PUSH_NOT_FOUND;
    sh = ngx_push_begin_log(&op->target);

    log = ngx_push_log_find(sh, &op->target);

    if (log == NULL || log->incarnation != op->incarnation || op->seq == 0
        || op->seq > log->last)
    {
        goto done;
    }

    rc = NGX_OK;

    m = ngx_push_log_after(log, op->seq - 1, 0);

    if (m && m->seq == op->seq) {
        op->state = m->nsent ? NGX_PUSH_STATE_SENT : NGX_PUSH_STATE_SAVED;
        op->nsent = m->nsent;
        op->created = ngx_push_wall(m->created);
        op->expires = ngx_push_wall(m->expire);
        op->size = m->size;
        goto done;
    }

    op->state = (op->seq <= log->acked && op->seq > log->ended)
                ? NGX_PUSH_STATE_ACKED : NGX_PUSH_STATE_ENDED;
    op->nsent = 0;
    op->created = 0;
    op->expires = 0;
    op->size = 0;

done:

    ngx_push_end();

    return rc;
}


static ngx_int_t
ngx_push_memory_read(ngx_push_read_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle)
{
    size_t               bytes;
    uint64_t             after;
    ngx_int_t            rc;
    ngx_uint_t           hold;
    ngx_push_log_t      *log;
    ngx_push_ref_t       hint;
    ngx_push_shard_t    *sh;
    ngx_push_message_t  *m;

    if (ngx_array_init(&op->entries, op->pool, 16, sizeof(ngx_push_entry_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    op->lost = 0;
    after = op->after;
    bytes = 0;
    hint = 0;

    /*
     * A message is pinned and copied outside of the lock, one at a time: its
     * sequence number finds the next one whatever happened in between.
     */

    while (op->entries.nelts < op->max && bytes < op->max_bytes) {
        sh = ngx_push_begin_log(&op->target);
        log = ngx_push_log_find(sh, &op->target);

        if (log == NULL) {
            op->lost = (op->incarnation != 0 && op->entries.nelts == 0);
            ngx_push_end();
            break;
        }

        if (op->incarnation && log->incarnation != op->incarnation) {

            if (op->entries.nelts) {

                /* a page is of one incarnation, the next one tells */

                ngx_push_end();
                break;
            }

            op->lost = 1;
            after = 0;
        }

        op->incarnation = log->incarnation;

        m = ngx_push_log_after(log, after, hint);

        if (m == NULL || ngx_push_pin(m) != NGX_OK) {
            ngx_push_end();
            break;
        }

        after = m->seq;
        hint = ngx_push_ref(m);
        bytes += m->size;

        ngx_push_end();

        hold = ngx_push_pin_hold();
        rc = ngx_push_memory_entry(op, m, log);
        ngx_push_pin_release(hold);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_memory_entry(ngx_push_read_t *op, ngx_push_message_t *m,
    ngx_push_log_t *log)
{
    size_t             len;
    u_char            *p;
    ngx_push_entry_t  *e;

    e = ngx_array_push(&op->entries);

    if (e == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(e, sizeof(ngx_push_entry_t));

    len = ngx_push_message_payload(m) + m->size;

    p = ngx_pnalloc(op->pool, len + 1);

    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_push_message_copy(m, 0, len, p);

    e->incarnation = op->incarnation;
    e->seq = m->seq;
    e->created = ngx_push_wall(m->created);
    e->expires = ngx_push_wall(m->expire);

    e->ctype.data = p;
    e->ctype.len = m->ctype_len;
    p += m->ctype_len;

    if (op->target.kind == NGX_PUSH_UPLINK && m->props_len >= 3) {
        e->type.len = p[0];
        e->type.data = p + 1;
        e->user.len = p[1 + e->type.len];
        e->user.data = p + 2 + e->type.len;
        e->device.len = p[2 + e->type.len + e->user.len];
        e->device.data = p + 3 + e->type.len + e->user.len;
    }

    e->payload.data = p + m->props_len;
    e->payload.len = m->size;

    (void) log;

    return NGX_OK;
}


size_t
ngx_push_uplink_props(u_char *buf, ngx_str_t *type, ngx_str_t *user,
    ngx_str_t *device)
{
    u_char  *p;

    p = buf;

    *p++ = (u_char) type->len;
    p = ngx_cpymem(p, type->data, type->len);
    *p++ = (u_char) user->len;
    p = ngx_cpymem(p, user->data, user->len);
    *p++ = (u_char) device->len;
    p = ngx_cpymem(p, device->data, device->len);

    return p - buf;
}
