
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Sessions as bytes, for the register to keep, and as few as can be: many
 * millions of them are kept, and Redis packs what has at most 64.  Numbers are
 * written in groups of seven bits, the lowest first.
 *
 *   version 1 and marks (1 byte), session expiry, when it left (wall clock; 0:
 *   it is online), number of subscriptions, and each of these: kind, flags (1
 *   byte each), length and name of the product if it is not the session's own,
 *   of a group its length and name; two subscription ids if one is set;
 *   incarnation and cursor if there is one.
 *
 * The cursor in the inbox of its own product is not among it: the register
 * keeps that apart, for all to see.
 *
 * They come back from another machine, so they are looked through to the end
 * before any of it counts.
 */


#include "ngx_push_sub.h"
#include "ngx_push_mirror.h"
#include "ngx_push_token.h"


/* the first byte */

#define NGX_PUSH_PACK_MQTT      0x01   /* there is an MQTT session */
#define NGX_PUSH_PACK_V5        0x02   /* the protocol, else 3.1.1 */
#define NGX_PUSH_PACK_VERSION   0x10
#define NGX_PUSH_PACK_VERSIONS  0xf0

/* flags of a subscription: those of its own that last, and these */

#define NGX_PUSH_PACK_IDS       NGX_PUSH_SUB_MEMBER
#define NGX_PUSH_PACK_CURSOR    NGX_PUSH_SUB_CHECKED
#define NGX_PUSH_PACK_FOREIGN   NGX_PUSH_SUB_ASKED

#define NGX_PUSH_PACK_FLAGS     (NGX_PUSH_SUB_BOUND|NGX_PUSH_SUB_NO_LOCAL     \
                                 |NGX_PUSH_SUB_BIND_QOS1                      \
                                 |NGX_PUSH_SUB_OWN_QOS1)


typedef struct {
    u_char              *pos;
    u_char              *end;
    ngx_uint_t           bad;          /* too short, or too small */
} ngx_push_pack_t;


typedef struct {
    ngx_push_kind_t      kind;
    uint8_t              flags;
    ngx_str_t            product;      /* empty: the session's */
    ngx_str_t            group;
    uint32_t             id[2];
    uint64_t             incarnation;
    uint64_t             sent;
} ngx_push_packed_sub_t;


typedef struct {
    ngx_uint_t           marks;
    uint32_t             expiry;
    uint32_t             left;
    ngx_uint_t           n;
} ngx_push_packed_t;


static void
ngx_push_pack_byte(ngx_push_pack_t *p, ngx_uint_t n)
{
    if (p->bad || p->pos == p->end) {
        p->bad = 1;
        return;
    }

    *p->pos++ = (u_char) n;
}


static void
ngx_push_pack_number(ngx_push_pack_t *p, uint64_t n)
{
    while (n > 127) {
        ngx_push_pack_byte(p, (n & 127) | 128);
        n >>= 7;
    }

    ngx_push_pack_byte(p, n);
}


static void
ngx_push_pack_name(ngx_push_pack_t *p, u_char *name, size_t len)
{
    ngx_push_pack_byte(p, len);

    if (p->bad || (size_t) (p->end - p->pos) < len) {
        p->bad = 1;
        return;
    }

    p->pos = ngx_cpymem(p->pos, name, len);
}


static ngx_uint_t
ngx_push_unpack_byte(ngx_push_pack_t *p)
{
    if (p->bad || p->pos == p->end) {
        p->bad = 1;
        return 0;
    }

    return *p->pos++;
}


static uint64_t
ngx_push_unpack_number(ngx_push_pack_t *p)
{
    uint64_t    n;
    ngx_uint_t  byte, shift;

    n = 0;

    for (shift = 0; shift < 64; shift += 7) {
        byte = ngx_push_unpack_byte(p);
        n |= (uint64_t) (byte & 127) << shift;

        if (byte < 128) {
            return n;
        }
    }

    p->bad = 1;

    return 0;
}


static void
ngx_push_unpack_name(ngx_push_pack_t *p, ngx_str_t *name)
{
    name->len = ngx_push_unpack_byte(p);
    name->data = p->pos;

    if (p->bad || (size_t) (p->end - p->pos) < name->len) {
        p->bad = 1;
        name->len = 0;
        return;
    }

    p->pos += name->len;
}


static void
ngx_push_pack_sub(ngx_push_pack_t *p, ngx_push_conf_t *pcf,
    ngx_push_session_t *s, ngx_push_sub_t *sub, ngx_push_product_t *product)
{
    uint8_t          flags;
    ngx_push_log_t  *log;

    flags = sub->flags & NGX_PUSH_PACK_FLAGS;

    if (sub->id[0] || sub->id[1]) {
        flags |= NGX_PUSH_PACK_IDS;
    }

    if (sub->product != s->product) {
        flags |= NGX_PUSH_PACK_FOREIGN;
    }

    if (sub->incarnation
        && (sub->kind != NGX_PUSH_INBOX || sub->product != s->product))
    {
        flags |= NGX_PUSH_PACK_CURSOR;
    }

    ngx_push_pack_byte(p, sub->kind);
    ngx_push_pack_byte(p, flags);

    if (flags & NGX_PUSH_PACK_FOREIGN) {
        ngx_push_pack_name(p, product->name.data, product->name.len);
    }

    if (sub->kind == NGX_PUSH_GROUP) {
        log = ngx_push_ptr(sub->log);
        ngx_push_pack_name(p, ngx_push_log_name(log), log->name_len);
    }

    if (flags & NGX_PUSH_PACK_IDS) {
        ngx_push_pack_number(p, sub->id[0]);
        ngx_push_pack_number(p, sub->id[1]);
    }

    if (flags & NGX_PUSH_PACK_CURSOR) {
        ngx_push_pack_number(p, sub->incarnation);
        ngx_push_pack_number(p, sub->sent - sub->lag);
    }
}


static void
ngx_push_pack_session(ngx_push_pack_t *p, ngx_push_conf_t *pcf,
    ngx_push_session_t *s, ngx_push_snapshot_t *snap)
{
    ngx_uint_t           n;
    ngx_push_ref_t       ref;
    ngx_push_sub_t      *sub;
    ngx_push_product_t  *product;

    n = 0;

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);
        n += (ngx_push_product_by_id(pcf, sub->product) != NULL);
    }

    ngx_push_pack_byte(p, NGX_PUSH_PACK_VERSION
                          | (s->mqtt ? NGX_PUSH_PACK_MQTT : 0)
                          | (s->proto == 5 ? NGX_PUSH_PACK_V5 : 0));
    ngx_push_pack_number(p, s->expiry);
    ngx_push_pack_number(p, snap->presence == NGX_PUSH_ONLINE
                            ? 0 : (uint64_t) snap->since);
    ngx_push_pack_number(p, n);

    for (ref = s->subs; ref; ref = sub->next) {
        sub = ngx_push_ptr(ref);
        product = ngx_push_product_by_id(pcf, sub->product);

        if (product) {
            ngx_push_pack_sub(p, pcf, s, sub, product);
        }

        if (sub->kind == NGX_PUSH_INBOX && sub->product == s->product) {
            snap->incarnation = sub->incarnation;
            snap->sent = sub->sent;
            snap->acked = sub->sent - sub->lag;
        }
    }
}


ngx_uint_t
ngx_push_packed_proto(ngx_str_t *packed)
{
    if (packed->len == 0) {
        return 0;
    }

    return (packed->data[0] & NGX_PUSH_PACK_V5) ? 5 : 4;
}


ngx_int_t
ngx_push_session_pack(ngx_push_handle_t session, ngx_push_snapshot_t *snap,
    u_char *buf, size_t size)
{
    u_char              *name;
    ngx_int_t            shard;
    ngx_push_conf_t     *pcf;
    ngx_push_pack_t      p;
    ngx_push_session_t  *s;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);
    shard = ngx_push_owner(session.index, NGX_PUSH_SESSION);

    if (shard == NGX_ERROR || pcf == NULL) {
        return NGX_PUSH_NOT_FOUND;
    }

    p.pos = buf;
    p.end = buf + size;
    p.bad = 0;

    (void) ngx_push_begin_shard(shard);

    s = (ngx_push_owner(session.index, NGX_PUSH_SESSION) == shard)
        ? ngx_push_lookup(session, NGX_PUSH_SESSION) : NULL;

    if (s) {
        snap->product = ngx_push_product_by_id(pcf, s->product);
    }

    if (s == NULL || snap->product == NULL) {
        ngx_push_end();
        return NGX_PUSH_NOT_FOUND;
    }

    name = ngx_push_session_user(s);
    ngx_memcpy(snap->names, name, s->user_len + s->device_len);

    snap->user.data = snap->names;
    snap->user.len = s->user_len;
    snap->device.data = snap->names + s->user_len;
    snap->device.len = s->device_len;

    snap->claim = s->registered;
    snap->presence = s->presence;
    snap->since = ngx_push_wall(s->since);
    snap->expiry = s->expiry;
    snap->ephemeral = s->ephemeral;
    snap->incarnation = 0;
    snap->sent = 0;
    snap->acked = 0;

    if (s->presence == NGX_PUSH_ONLINE
        && !ngx_push_worker_alive(s->worker, s->worker_gen))
    {
        snap->presence = NGX_PUSH_LINGERING;
    }

    ngx_push_pack_session(&p, pcf, s, snap);

    ngx_push_end();

    snap->packed = p.pos - buf;

    return p.bad ? NGX_PUSH_TOO_LARGE : NGX_OK;
}


static void
ngx_push_unpack_head(ngx_push_pack_t *p, ngx_push_packed_t *head)
{
    head->marks = ngx_push_unpack_byte(p);

    if ((head->marks & NGX_PUSH_PACK_VERSIONS) != NGX_PUSH_PACK_VERSION) {
        p->bad = 1;
    }

    head->expiry = (uint32_t) ngx_push_unpack_number(p);
    head->left = (uint32_t) ngx_push_unpack_number(p);
    head->n = ngx_push_unpack_number(p);

    if (head->n > NGX_PUSH_SUBS_MAX) {
        p->bad = 1;
    }
}


static void
ngx_push_unpack_sub(ngx_push_pack_t *p, ngx_push_packed_sub_t *sub)
{
    ngx_memzero(sub, sizeof(ngx_push_packed_sub_t));

    sub->kind = ngx_push_unpack_byte(p);
    sub->flags = ngx_push_unpack_byte(p);

    if (sub->flags & NGX_PUSH_PACK_FOREIGN) {
        ngx_push_unpack_name(p, &sub->product);
    }

    if (sub->kind == NGX_PUSH_GROUP) {
        ngx_push_unpack_name(p, &sub->group);

        if (!p->bad && !ngx_push_name_ok(&sub->group)) {
            p->bad = 1;
        }

    } else if (sub->kind != NGX_PUSH_INBOX
               && sub->kind != NGX_PUSH_BROADCAST)
    {
        p->bad = 1;
    }

    if (sub->flags & NGX_PUSH_PACK_IDS) {
        sub->id[0] = (uint32_t) ngx_push_unpack_number(p);
        sub->id[1] = (uint32_t) ngx_push_unpack_number(p);
    }

    if (sub->flags & NGX_PUSH_PACK_CURSOR) {
        sub->incarnation = ngx_push_unpack_number(p);
        sub->sent = ngx_push_unpack_number(p);

        if (sub->incarnation == 0) {
            p->bad = 1;
        }
    }

    sub->flags &= NGX_PUSH_PACK_FLAGS;
}


/* 1: what it says can be understood to the end. */

static ngx_uint_t
ngx_push_unpack_ok(ngx_str_t *packed)
{
    ngx_uint_t             i;
    ngx_push_pack_t        p;
    ngx_push_packed_t      head;
    ngx_push_packed_sub_t  sub;

    p.pos = packed->data;
    p.end = packed->data + packed->len;
    p.bad = 0;

    ngx_push_unpack_head(&p, &head);

    for (i = 0; i < head.n && !p.bad; i++) {
        ngx_push_unpack_sub(&p, &sub);
    }

    return !p.bad && p.pos == p.end;
}


static ngx_int_t
ngx_push_unpack_one(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_claim_t *claim, ngx_push_packed_sub_t *packed, ngx_uint_t newer,
    ngx_uint_t mqtt)
{
    ngx_int_t           rc;
    ngx_push_sub_t      as;
    ngx_push_conf_t    *pcf;
    ngx_push_target_t   t;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    ngx_memzero(&t, sizeof(ngx_push_target_t));
    ngx_memzero(&as, sizeof(ngx_push_sub_t));

    t.kind = packed->kind;
    t.product = packed->product.len ? ngx_push_find_product(pcf,
                                                            &packed->product)
                                    : claim->product;

    if (t.product == NULL) {

        /* a product that this node does not have */

        return NGX_OK;
    }

    t.name = (packed->kind == NGX_PUSH_INBOX) ? claim->user : packed->group;

    if (t.kind == NGX_PUSH_INBOX && t.product == claim->product) {
        as.incarnation = claim->incarnation;
        as.sent = claim->acked;

    } else {
        as.incarnation = packed->incarnation;
        as.sent = packed->sent;
    }

    if (mqtt) {
        as.flags = packed->flags;
        as.id[0] = packed->id[0];
        as.id[1] = packed->id[1];
    }

    rc = ngx_push_sub_restore(sh, s, &t, &as, newer);

    if (rc == NGX_OK) {
        ngx_push_commit();

    } else {
        ngx_push_rollback();
    }

    return rc;
}


ngx_int_t
ngx_push_session_unpack(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_claim_t *claim)
{
    ngx_int_t              rc;
    ngx_uint_t             i, mqtt;
    ngx_push_pack_t        p;
    ngx_push_packed_t      head;
    ngx_push_packed_sub_t  sub;

    if (!ngx_push_unpack_ok(&claim->packed)) {
        return NGX_OK;
    }

    p.pos = claim->packed.data;
    p.end = claim->packed.data + claim->packed.len;
    p.bad = 0;

    ngx_push_unpack_head(&p, &head);

    mqtt = (head.marks & NGX_PUSH_PACK_MQTT) && !claim->clean
           && (head.expiry == 0xffffffff || head.left == 0
               || (time_t) head.left + (time_t) head.expiry >= ngx_time());

    if (claim->newer) {

        /* what was sent from here is old: the other node has gone on */

        ngx_push_window_drop(sh, s);
        ngx_push_subs_sleep(sh, s);
        ngx_push_set(s->mqtt, 0);
        ngx_push_commit();
    }

    for (i = 0; i < head.n; i++) {
        ngx_push_unpack_sub(&p, &sub);

        rc = ngx_push_unpack_one(sh, s, claim, &sub, claim->newer, mqtt);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (claim->newer) {
        ngx_push_subs_prune(sh, s);

        if (mqtt) {
            ngx_push_set(s->mqtt, 1);
        }
    }

    ngx_push_commit();

    return NGX_OK;
}
