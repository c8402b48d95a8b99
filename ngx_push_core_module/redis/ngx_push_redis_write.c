
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * One session written back: who has the device, how far it has got, and what
 * it is bound to; a script for its own product, and one for each further
 * product whose inbox it has bound.  What could not be written is noted in the
 * zone again, from where any worker takes it.
 */


#include "ngx_push_redis_register.h"
#include "ngx_push_journal.h"
#include "ngx_push_lua_cursor.h"


typedef struct ngx_push_waiter_s  ngx_push_waiter_t;

struct ngx_push_waiter_s {
    ngx_push_waiter_t     *next;
    ngx_push_handle_t      session;
    ngx_push_bus_done_pt   done;
    void                  *data;
};


typedef struct {
    ngx_push_handle_t      session;
    ngx_push_product_t    *product;    /* of the session */
    ngx_str_t              user;       /* in "names" */
    ngx_str_t              device;
    uint32_t               claim;
    u_char                 state;
    time_t                 since;
    ngx_uint_t             parts;      /* scripts under way, and we */
    ngx_int_t              rc;
    ngx_push_waiter_t     *waiters;
    u_char                 names[2 * NGX_PUSH_NAME_MAX];
} ngx_push_write_t;


typedef struct {
    ngx_push_write_t      *write;
    ngx_push_product_t    *product;    /* whose entry it is */
    uint64_t               incarnation;
    uint64_t               acked;
    ngx_str_t              rest;       /* behind it; for the journal */
} ngx_push_part_t;


static ngx_int_t ngx_push_write(ngx_push_handle_t session,
    ngx_push_waiter_t *waiters);
static void ngx_push_write_parts(ngx_push_write_t *w,
    ngx_push_snapshot_t *snap);
static void ngx_push_write_part(ngx_push_write_t *w,
    ngx_push_product_t *product, ngx_push_snapshot_t *snap, ngx_str_t *rest);
static void ngx_push_write_answer(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_push_write_learn(ngx_push_part_t *part, redisReply *reply);
static void ngx_push_write_journal(ngx_push_part_t *part, redisReply *reply);
static void ngx_push_write_finish(ngx_push_write_t *w);
static void ngx_push_write_tell(ngx_push_waiter_t *waiter, ngx_int_t rc);
static void ngx_push_write_turn(ngx_event_t *ev);
static void ngx_push_write_hold(ngx_event_t *ev);


ngx_push_redis_script_t  ngx_push_script_cursor = {
    "cursor", ngx_push_lua_cursor, ""
};

ngx_uint_t  ngx_push_writes;

static u_char              ngx_push_packed[NGX_PUSH_PACKED_MAX];
static ngx_push_waiter_t  *ngx_push_waiting;
static ngx_push_waiter_t **ngx_push_waiting_last = &ngx_push_waiting;
static ngx_event_t         ngx_push_turn_event;
static ngx_event_t         ngx_push_hold_event;
static ngx_connection_t    ngx_push_write_dummy;


ngx_int_t
ngx_push_redis_write(ngx_push_handle_t session, ngx_push_bus_done_pt done,
    void *data)
{
    ngx_int_t           rc;
    ngx_push_waiter_t  *waiter;

    if (done == NULL) {
        return ngx_push_write(session, NULL);
    }

    waiter = ngx_alloc(sizeof(ngx_push_waiter_t), ngx_cycle->log);

    if (waiter == NULL) {
        return NGX_ERROR;
    }

    waiter->next = NULL;
    waiter->session = session;
    waiter->done = done;
    waiter->data = data;

    rc = ngx_push_write(session, waiter);

    if (rc != NGX_AGAIN) {
        ngx_free(waiter);
    }

    return rc;
}


/* NGX_AGAIN: the waiters will be told; else they are still the caller's. */

static ngx_int_t
ngx_push_write(ngx_push_handle_t session, ngx_push_waiter_t *waiters)
{
    ngx_int_t             rc;
    ngx_push_write_t     *w;
    ngx_push_snapshot_t   snap;

    rc = ngx_push_session_pack(session, &snap, ngx_push_packed,
                               NGX_PUSH_PACKED_MAX);

    if (rc == NGX_PUSH_TOO_LARGE) {

        /* elsewhere it is known, but has to subscribe again */

        snap.packed = 0;

    } else if (rc != NGX_OK) {
        return rc;
    }

    w = ngx_alloc(sizeof(ngx_push_write_t), ngx_cycle->log);

    if (w == NULL) {
        ngx_push_session_moved(session);
        return NGX_ERROR;
    }

    w->session = session;
    w->product = snap.product;
    w->user.len = snap.user.len;
    w->user.data = w->names;
    w->device.len = snap.device.len;
    w->device.data = ngx_cpymem(w->names, snap.user.data, snap.user.len);
    ngx_memcpy(w->device.data, snap.device.data, snap.device.len);
    w->claim = snap.claim;
    w->since = snap.since;
    w->parts = 1;
    w->rc = NGX_OK;
    w->waiters = NULL;

    w->state = snap.presence == NGX_PUSH_ONLINE ? 'o'
               : snap.ephemeral ? '-'
               : snap.presence == NGX_PUSH_LINGERING ? 'l' : 'x';

    ngx_push_write_parts(w, &snap);

    if (w->parts == 1) {
        rc = w->rc;
        ngx_push_session_moved(session);
        ngx_push_flush_backoff(1);
        ngx_free(w);

        return rc == NGX_OK ? NGX_ERROR : rc;
    }

    w->waiters = waiters;
    w->parts--;

    return NGX_AGAIN;
}


/* What the session keeps stands in its own product's entry. */

static void
ngx_push_write_parts(ngx_push_write_t *w, ngx_push_snapshot_t *snap)
{
    ngx_str_t            rest;
    ngx_uint_t           n;
    ngx_push_binding_t   b;

    rest.data = ngx_push_packed;
    rest.len = snap->packed;

    for (n = 0; ngx_push_session_binding(w->session, n, &b) == NGX_OK
                && b.target.kind == NGX_PUSH_INBOX; n++)
    {
        if (b.target.product == w->product && snap->incarnation == 0) {
            snap->incarnation = NGX_PUSH_BOUND_ONLY;
        }
    }

    ngx_push_write_part(w, w->product, snap, &rest);

    ngx_str_null(&rest);

    for (n = 0; ngx_push_session_binding(w->session, n, &b) == NGX_OK
                && b.target.kind == NGX_PUSH_INBOX; n++)
    {
        if (b.target.product == NULL || b.target.product == w->product) {
            continue;
        }

        snap->incarnation = b.incarnation ? b.incarnation
                                          : NGX_PUSH_BOUND_ONLY;
        snap->sent = b.sent;
        snap->acked = b.acked;

        ngx_push_write_part(w, b.target.product, snap, &rest);
    }
}


void
ngx_push_reg_cursor(ngx_push_reg_call_t *c, ngx_push_cursor_args_t *a)
{
    u_char           *state;
    ngx_str_t         str;
    ngx_push_conf_t  *pcf;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    ngx_push_reg_begin(c, &ngx_push_script_cursor, 1);
    ngx_push_reg_user(c, a->product, a->user);
    ngx_push_reg_field(c, a->product, a->own, a->device);
    ngx_push_reg_node(c);
    ngx_push_reg_number(c, a->claim);

    state = c->numbers[c->argc];
    *state = a->state;
    str.data = state;
    str.len = 1;

    ngx_push_reg_str(c, &str);
    ngx_push_reg_number(c, a->since);
    ngx_push_reg_hex(c, a->incarnation);
    ngx_push_reg_number(c, a->sent);
    ngx_push_reg_number(c, a->acked);
    ngx_push_reg_str(c, &a->rest);
    ngx_push_reg_number(c, a->product->consume_once ? 1 : 0);
    ngx_push_reg_number(c, pcf ? pcf->device_expiry : 0);
}


static void
ngx_push_write_part(ngx_push_write_t *w, ngx_push_product_t *product,
    ngx_push_snapshot_t *snap, ngx_str_t *rest)
{
    ngx_int_t                rc;
    ngx_push_conf_t         *pcf;
    ngx_push_part_t         *part;
    ngx_push_reg_call_t      c;
    ngx_push_cursor_args_t   a;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    part = ngx_alloc(sizeof(ngx_push_part_t)
                     + (pcf && pcf->journal ? rest->len : 0), ngx_cycle->log);

    if (part == NULL) {
        w->rc = NGX_ERROR;
        return;
    }

    ngx_str_null(&part->rest);

    if (pcf && pcf->journal && rest->len) {
        part->rest.len = rest->len;
        part->rest.data = (u_char *) (part + 1);
        ngx_memcpy(part->rest.data, rest->data, rest->len);
    }

    part->write = w;
    part->product = product;
    part->incarnation = snap->incarnation;
    part->acked = snap->acked;

    a.product = product;
    a.own = w->product;
    a.user = &w->user;
    a.device = &w->device;
    a.claim = w->claim;
    a.state = w->state;
    a.since = w->since;
    a.incarnation = snap->incarnation;
    a.sent = snap->sent;
    a.acked = snap->acked;
    a.rest = *rest;

    ngx_push_reg_cursor(&c, &a);

    rc = ngx_push_reg_send(&c, ngx_push_write_answer, part);

    if (rc != NGX_AGAIN) {
        w->rc = rc;
        ngx_free(part);
        return;
    }

    w->parts++;
    ngx_push_writes++;

    if (!ngx_push_hold_event.timer_set) {
        ngx_add_timer(&ngx_push_hold_event, 50);
    }
}


static void
ngx_push_write_answer(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_str_t          entry;
    ngx_uint_t         wait;
    ngx_push_part_t   *part = data;
    ngx_push_write_t  *w;

    w = part->write;
    ngx_push_writes--;

    if (rc != NGX_OK) {
        w->rc = rc;

        if (rc == NGX_DECLINED && reply) {

            /* it would say so again */

            w->rc = NGX_PUSH_DENIED;

            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "push: Redis does not take the cursor of \"%V\": %s",
                          &w->user, reply->str);

        } else {
            ngx_push_session_moved(w->session);
            ngx_push_flush_backoff(1);
        }

        goto done;
    }

    ngx_push_flush_backoff(0);

    switch (ngx_push_reply_number(reply, 0)) {

    case 0:
        ngx_push_reply_str(reply, 1, &entry);
        ngx_push_redis_lost(w->product, &w->user, &w->device, &entry);
        w->rc = NGX_DECLINED;
        goto done;

    case 2:

        /* a claim is under way; if nothing comes of it we take its number */

        ngx_push_session_moved(w->session);
        break;

    default:
        if (part->product == w->product && w->state == 'o'
            && ngx_push_reply_number(reply, 1) != w->claim)
        {
            ngx_push_session_registered(w->session,
                                        ngx_push_reply_number(reply, 1));
        }
    }

    wait = ngx_push_reply_number(reply, 5);

    if (wait) {
        ngx_push_redis_write_later(part->product, w->product, &w->user,
                                   &w->device, wait);
    }

    if (part->incarnation) {
        ngx_push_write_learn(part, reply);
    }

    ngx_push_write_journal(part, reply);

done:

    ngx_free(part);

    if (--w->parts == 0) {
        ngx_push_write_finish(w);
    }
}


/* Where the inbox stands, for what the bus may have missed. */

static void
ngx_push_write_learn(ngx_push_part_t *part, redisReply *reply)
{
    ngx_push_target_t  t;

    ngx_memzero(&t, sizeof(ngx_push_target_t));

    t.kind = NGX_PUSH_INBOX;
    t.product = part->product;
    t.name = part->write->user;

    (void) ngx_push_mirror_learn(&t, ngx_push_reply_hex(reply, 2),
                                 ngx_push_reply_number(reply, 3),
                                 ngx_push_reply_number(reply, 4));
}


static void
ngx_push_write_journal(ngx_push_part_t *part, redisReply *reply)
{
    u_char                   field[NGX_PUSH_FIELD_MAX];
    ngx_push_conf_t         *pcf;
    ngx_push_journal_ack_t   ack;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    if (pcf == NULL || pcf->journal == NULL) {
        return;
    }

    ack.product = part->product;
    ack.user = part->write->user;
    ack.device.data = field;
    ack.device.len = ngx_push_reg_name(field, part->product,
                                       part->write->product,
                                       &part->write->device);
    ack.incarnation = part->incarnation;
    ack.acked = part->acked;
    ack.all = 0;
    ack.rest = part->rest;
    ack.gone = (part->write->state == '-');

    if (part->incarnation
        && ngx_push_reply_hex(reply, 2) == part->incarnation)
    {
        ack.all = ngx_push_reply_number(reply, 4);
    }

    pcf->journal->acked(&ack);
}


static void
ngx_push_write_finish(ngx_push_write_t *w)
{
    ngx_int_t           rc;
    ngx_push_waiter_t  *waiters;

    rc = w->rc;
    waiters = w->waiters;

    if (waiters && w->state == 'o') {
        ngx_push_session_tell(w->session);
    }

    ngx_free(w);

    ngx_push_write_tell(waiters, rc);
}


static void
ngx_push_write_tell(ngx_push_waiter_t *waiter, ngx_int_t rc)
{
    ngx_push_waiter_t  *next;

    for ( /* void */ ; waiter; waiter = next) {
        next = waiter->next;
        waiter->done(waiter->data, rc);
        ngx_free(waiter);
    }
}


/*
 * At the end of the turn: the filters of one SUBSCRIBE need one write, of all
 * that has become of them.
 */

ngx_int_t
ngx_push_redis_write_soon(ngx_push_handle_t session,
    ngx_push_bus_done_pt done, void *data)
{
    ngx_push_waiter_t  *waiter;

    waiter = ngx_alloc(sizeof(ngx_push_waiter_t), ngx_cycle->log);

    if (waiter == NULL) {
        return NGX_ERROR;
    }

    waiter->next = NULL;
    waiter->session = session;
    waiter->done = done;
    waiter->data = data;

    *ngx_push_waiting_last = waiter;
    ngx_push_waiting_last = &waiter->next;

    ngx_post_event(&ngx_push_turn_event, &ngx_posted_events);

    return NGX_AGAIN;
}


static void
ngx_push_write_turn(ngx_event_t *ev)
{
    ngx_int_t           rc;
    ngx_push_waiter_t  *waiters, *last, *rest;

    rest = ngx_push_waiting;

    ngx_push_waiting = NULL;
    ngx_push_waiting_last = &ngx_push_waiting;

    while (rest) {
        waiters = rest;

        for (last = waiters; last->next; last = last->next) {
            if (last->next->session.index != waiters->session.index
                || last->next->session.gen != waiters->session.gen)
            {
                break;
            }
        }

        rest = last->next;
        last->next = NULL;

        rc = ngx_push_write(waiters->session, waiters);

        if (rc != NGX_AGAIN) {
            ngx_push_write_tell(waiters, rc);
        }
    }
}


/* A worker that leaves does so after its last writes were answered. */

static void
ngx_push_write_hold(ngx_event_t *ev)
{
    if (ngx_push_writes) {
        ngx_add_timer(ev, 50);
    }
}


void
ngx_push_redis_write_init(ngx_cycle_t *cycle)
{
    ngx_push_write_dummy.fd = (ngx_socket_t) -1;

    ngx_push_turn_event.handler = ngx_push_write_turn;
    ngx_push_turn_event.data = &ngx_push_write_dummy;
    ngx_push_turn_event.log = cycle->log;

    ngx_push_hold_event.handler = ngx_push_write_hold;
    ngx_push_hold_event.data = &ngx_push_write_dummy;
    ngx_push_hold_event.log = cycle->log;
}


void
ngx_push_redis_write_exit(void)
{
    if (ngx_push_hold_event.timer_set) {
        ngx_del_timer(&ngx_push_hold_event);
    }

    if (ngx_push_turn_event.posted) {
        ngx_delete_posted_event(&ngx_push_turn_event);
    }
}
