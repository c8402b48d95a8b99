
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Wills.  A will is a message of state WILL that belongs to a session; its
 * properties begin with the name of the target.  "seq" holds its time to
 * live.  When its session leaves it is due after its delay, and whoever
 * sweeps the shard publishes it, so that a worker's death does not lose it.
 */


#include "ngx_push_sub.h"
#include "ngx_push_store.h"


#define NGX_PUSH_WILL_LEASE     5      /* seconds to publish a will in */


/* a will that the store has been asked to save */

typedef struct {
    ngx_push_handle_t    session;
    ngx_push_handle_t    will;
} ngx_push_will_wait_t;


static ngx_int_t ngx_push_will_save(ngx_push_message_t *m,
    ngx_push_handle_t session, ngx_push_handle_t handle);
static void ngx_push_will_done(ngx_push_handle_t handle, ngx_int_t rc,
    void *op);


ngx_int_t
ngx_push_will_set(ngx_push_shard_t *sh, ngx_push_session_t *s,
    ngx_push_claim_t *claim)
{
    u_char               buf[NGX_PUSH_NAME_MAX + NGX_PUSH_WILL_PROPS];
    ngx_buf_t            b;
    ngx_str_t            props;
    ngx_chain_t          cl;
    ngx_push_message_t  *m;

    if (claim->will_props.len > NGX_PUSH_WILL_PROPS) {
        return NGX_ERROR;
    }

    props.data = buf;
    props.len = ngx_cpymem(ngx_cpymem(buf, claim->will.name.data,
                                      claim->will.name.len),
                           claim->will_props.data, claim->will_props.len)
                - buf;

    ngx_memzero(&b, sizeof(ngx_buf_t));
    b.pos = claim->will_payload.data;
    b.last = b.pos + claim->will_payload.len;
    b.memory = 1;

    cl.buf = &b;
    cl.next = NULL;

    m = ngx_push_message_build(sh, &claim->will_ctype, &props, &cl,
                               claim->will_payload.len);

    if (m == NULL) {
        return NGX_ERROR;
    }

    m->kind = claim->will.kind;
    m->product = claim->will.product->id;
    m->name_len = claim->will.name.len;
    m->qos = claim->will_qos;
    m->seq = claim->will_ttl;
    m->from = ngx_push_session_publisher(s);

    /* a long one is committed as BUILDING by now, and would be lost as WILL */

    ngx_push_set(m->slot.used, NGX_PUSH_MSG_WILL);

    ngx_push_set(s->will, ngx_push_ref(m));
    ngx_push_set(s->will_delay, claim->will_delay);
    ngx_push_set(s->will_at, 0);

    return NGX_OK;
}


void
ngx_push_will_drop(ngx_push_shard_t *sh, ngx_push_session_t *s)
{
    ngx_push_message_end(sh, ngx_push_ptr(s->will));

    if (s->will_at) {
        ngx_push_list_remove(&sh->wills, s,
                             offsetof(ngx_push_session_t, wnext));
    }

    ngx_push_set(s->will, 0);
    ngx_push_set(s->will_at, 0);
}


void
ngx_push_will_schedule(ngx_push_shard_t *sh, ngx_push_session_t *s,
    uint32_t now)
{
    uint32_t  delay;

    if (s->will_at == 0) {
        ngx_push_list_append(&sh->wills, s,
                             offsetof(ngx_push_session_t, wnext));
    }

    /* at the end of the session at the latest; zone seconds end in 2106 */

    delay = ngx_min(s->will_delay, s->expiry);
    delay = ngx_min(delay, 0xffffffff - now);

    ngx_push_set(s->will_at, now + delay);
}


void
ngx_push_wills_run(ngx_uint_t shard, uint32_t now)
{
    ngx_uint_t           n;
    ngx_push_ref_t       ref;
    ngx_push_shard_t    *sh;
    ngx_push_handle_t    due[16];
    ngx_push_session_t  *s;

    n = 0;
    sh = ngx_push_begin_shard(shard);

    for (ref = sh->wills.head; ref && n < 16; ref = s->wnext) {
        s = ngx_push_ptr(ref);

        if (s->will_at <= now && s->presence != NGX_PUSH_ONLINE) {
            due[n].index = ref;
            due[n++].gen = s->slot.gen;
            ngx_push_set(s->will_at, now + NGX_PUSH_WILL_LEASE);
        }
    }

    ngx_push_end();

    while (n) {
        ngx_push_will_publish(due[--n]);
    }
}


void
ngx_push_will_publish(ngx_push_handle_t session)
{
    size_t                 len;
    ngx_int_t              rc, shard;
    ngx_push_handle_t      handle;
    ngx_push_message_t    *m, *copy;
    ngx_push_session_t    *s;
    ngx_push_will_wait_t  *wait;

    shard = ngx_push_owner(session.index, NGX_PUSH_SESSION);

    if (shard == NGX_ERROR) {
        return;
    }

    (void) ngx_push_begin_shard(shard);

    s = ngx_push_lookup(session, NGX_PUSH_SESSION);

    if (s == NULL || s->will == 0 || s->presence == NGX_PUSH_ONLINE) {
        ngx_push_end();
        return;
    }

    m = ngx_push_ptr(s->will);
    len = m->ctype_len + m->props_len + m->size;

    if (ngx_push_pin(m) != NGX_OK) {
        ngx_push_end();                /* the sweep tries again */
        return;
    }

    ngx_push_end();

    copy = ngx_alloc(offsetof(ngx_push_message_t, data) + len + 1,
                     ngx_cycle->log);

    wait = ngx_alloc(sizeof(ngx_push_will_wait_t), ngx_cycle->log);

    if (copy == NULL || wait == NULL) {
        ngx_push_unpin();
        ngx_free(copy);
        ngx_free(wait);
        return;
    }

    wait->session = session;
    wait->will.index = ngx_push_ref(m);
    wait->will.gen = m->slot.gen;

    ngx_memcpy(copy, m, offsetof(ngx_push_message_t, data));
    ngx_push_message_copy(m, 0, len, copy->data);
    ngx_push_unpin();

    rc = NGX_ERROR;

    if (ngx_push_handle_new(wait, &handle) == NGX_OK) {
        rc = ngx_push_will_save(copy, session, handle);

        ngx_push_fault_point("will");

        if (rc != NGX_AGAIN) {
            ngx_push_will_done(handle, rc, NULL);
        }

    } else {
        ngx_free(wait);
    }

    ngx_free(copy);
}


/* Saved or refused, the will is over, unless its session has another one. */

static void
ngx_push_will_done(ngx_push_handle_t handle, ngx_int_t rc, void *op)
{
    ngx_int_t              shard;
    ngx_push_shard_t      *sh;
    ngx_push_session_t    *s;
    ngx_push_will_wait_t   wait, *w;

    w = ngx_push_handle_get(handle);

    if (w == NULL) {
        return;
    }

    wait = *w;
    ngx_push_handle_free(handle);
    ngx_free(w);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "push: a will was not saved (%i)", rc);
    }

    shard = ngx_push_owner(wait.session.index, NGX_PUSH_SESSION);

    if (shard == NGX_ERROR) {
        return;
    }

    sh = ngx_push_begin_shard(shard);

    s = ngx_push_lookup(wait.session, NGX_PUSH_SESSION);

    if (s && s->will == wait.will.index
        && ngx_push_lookup(wait.will, NGX_PUSH_MESSAGE)
        && s->presence != NGX_PUSH_ONLINE) {
        ngx_push_will_drop(sh, s);
    }

    ngx_push_end();
}


static ngx_int_t
ngx_push_will_save(ngx_push_message_t *m, ngx_push_handle_t session,
    ngx_push_handle_t handle)
{
    u_char           *p;
    ngx_buf_t         b;
    ngx_chain_t       cl;
    ngx_push_conf_t  *pcf;
    ngx_push_save_t   save;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    ngx_memzero(&save, sizeof(ngx_push_save_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    save.target.kind = m->kind;
    save.target.product = pcf ? ngx_push_product_by_id(pcf, m->product)
                              : NULL;

    if (save.target.product == NULL) {
        return NGX_PUSH_NOT_FOUND;
    }

    p = m->data;

    save.ctype.data = p;
    save.ctype.len = m->ctype_len;
    p += m->ctype_len;

    save.target.name.data = p;
    save.target.name.len = m->name_len;

    save.props.data = p + m->name_len;
    save.props.len = m->props_len - m->name_len;
    p += m->props_len;

    b.pos = p;
    b.last = p + m->size;
    b.memory = 1;
    cl.buf = &b;
    cl.next = NULL;

    save.payload = &cl;
    save.size = m->size;
    save.qos = m->qos;
    save.ttl = m->seq ? (time_t) m->seq : -1;
    save.from = m->from;

    return pcf->store->save(&save, ngx_push_will_done, handle);
}
