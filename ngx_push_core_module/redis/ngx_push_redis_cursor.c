
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * When sessions are written back: some time after their cursors have moved, at
 * once when their connection has ended.  And entries to which no session
 * belongs any more: those of devices that are never to return, and of claims
 * that nobody has answered.
 */


#include "ngx_push_redis_register.h"


#define NGX_PUSH_FLUSH_TURN     512    /* sessions of one turn */
#define NGX_PUSH_FLUSH_STEP     5      /* msec between two turns */
#define NGX_PUSH_FLUSH_WAY      512    /* under way */
#define NGX_PUSH_FLUSH_BACKOFF  5000   /* msec */
#define NGX_PUSH_STRAYS         4096
#define NGX_PUSH_STRAY_AGE      4      /* longer than an answer is awaited */


typedef struct ngx_push_stray_s  ngx_push_stray_t;

struct ngx_push_stray_s {
    ngx_push_stray_t      *next;
    ngx_push_product_t    *product;
    ngx_push_product_t    *own;
    ngx_str_t              user;
    ngx_str_t              device;
    uint32_t               claim;
    u_char                 state;      /* - ? */
    ngx_msec_t             due;
    u_char                 names[2 * NGX_PUSH_NAME_MAX];
};


static void ngx_push_flush(ngx_event_t *ev);
static void ngx_push_flush_arm(ngx_msec_t wait);
static void ngx_push_stray_add(ngx_push_product_t *product,
    ngx_push_product_t *own, ngx_str_t *user, ngx_str_t *device,
    uint32_t claim, u_char state, ngx_msec_t wait);
static void ngx_push_stray_queue(ngx_push_stray_t *stray, ngx_msec_t wait);
static void ngx_push_stray_send(ngx_push_stray_t *stray);
static void ngx_push_stray_answer(void *data, ngx_int_t rc,
    redisReply *reply);


static ngx_event_t        ngx_push_flush_event;
static ngx_connection_t   ngx_push_flush_dummy;
static ngx_msec_t         ngx_push_flush_wait;  /* after a failure */
static ngx_msec_t         ngx_push_flush_after;

static ngx_push_stray_t  *ngx_push_strays;
static ngx_uint_t         ngx_push_nstrays;


void
ngx_push_redis_moved(void)
{
    ngx_push_flush_arm(ngx_push_redis_conf()->cursor_flush);
}


static void
ngx_push_flush_arm(ngx_msec_t wait)
{
    ngx_msec_int_t  left;

    if (ngx_push_flush_wait) {
        left = (ngx_msec_int_t) (ngx_push_flush_after - ngx_current_msec);

        if (left > (ngx_msec_int_t) wait) {
            wait = left;
        }
    }

    if (!ngx_push_flush_event.timer_set && ngx_push_flush_event.handler) {
        ngx_add_timer(&ngx_push_flush_event, wait);
    }
}


/* Twice as long after each failure, and as configured after a success. */

void
ngx_push_flush_backoff(ngx_uint_t failed)
{
    if (!failed) {
        ngx_push_flush_wait = 0;
        return;
    }

    if (ngx_push_flush_wait
        && (ngx_msec_int_t) (ngx_push_flush_after - ngx_current_msec) > 0)
    {
        return;
    }

    ngx_push_flush_wait = ngx_min(2 * ngx_push_flush_wait + 200,
                                  NGX_PUSH_FLUSH_BACKOFF);
    ngx_push_flush_after = ngx_current_msec + ngx_push_flush_wait;
}


/*
 * A share of what is noted, so that it takes about as long again as it has
 * waited: written all at once it held up the pushes behind it in Redis, and
 * what moves several times in a row is written once.  What is noted stays so
 * while there is nobody to write it to.
 */

static void
ngx_push_flush(ngx_event_t *ev)
{
    ngx_uint_t         n, max;
    ngx_push_handle_t  session;

    if (!ngx_push_redis_up(NULL)) {
        return;
    }

    max = ngx_push_moved_count() * NGX_PUSH_FLUSH_STEP
          / (ngx_push_redis_conf()->cursor_flush + NGX_PUSH_FLUSH_STEP) + 1;
    max = ngx_min(max, NGX_PUSH_FLUSH_TURN);

    for (n = 0; n < max; n++) {

        if (ngx_push_writes >= NGX_PUSH_FLUSH_WAY) {
            break;
        }

        if (!ngx_push_moved_next(&session)) {
            return;
        }

        switch (ngx_push_redis_write(session, NULL, NULL)) {

        case NGX_AGAIN:
        case NGX_PUSH_NOT_FOUND:
            break;

        default:

            /* noted again, for later */

            ngx_push_flush_arm(ngx_push_redis_conf()->cursor_flush);
            return;
        }
    }

    ngx_push_flush_arm(NGX_PUSH_FLUSH_STEP);
}


void
ngx_push_redis_release(ngx_push_conn_t *conn, ngx_uint_t broken,
    uint32_t expiry, ngx_uint_t will)
{
    ngx_int_t             rc;
    ngx_uint_t            i, n;
    ngx_push_handle_t     session;
    ngx_push_binding_t    b;
    ngx_push_product_t   *foreign[NGX_PUSH_PRODUCTS];
    ngx_push_snapshot_t   snap;

    static u_char         packed[NGX_PUSH_PACKED_MAX];

    session = conn->session;
    n = 0;

    rc = ngx_push_session_pack(session, &snap, packed, NGX_PUSH_PACKED_MAX);

    if ((rc == NGX_OK || rc == NGX_PUSH_TOO_LARGE) && snap.ephemeral) {

        for (i = 0; ngx_push_session_binding(session, i, &b) == NGX_OK
                    && b.target.kind == NGX_PUSH_INBOX; i++)
        {
            if (b.target.product && b.target.product != snap.product
                && n < NGX_PUSH_PRODUCTS)
            {
                foreign[n++] = b.target.product;
            }
        }
    }

    ngx_push_session_release(conn, broken, expiry, will);

    if (ngx_push_redis_write(session, NULL, NULL) != NGX_PUSH_NOT_FOUND
        || (rc != NGX_OK && rc != NGX_PUSH_TOO_LARGE))
    {
        return;
    }

    /* nobody can come back with this name */

    ngx_push_stray_add(snap.product, snap.product, &snap.user, &snap.device,
                       snap.claim, '-', 0);

    for (i = 0; i < n; i++) {
        ngx_push_stray_add(foreign[i], snap.product, &snap.user,
                           &snap.device, snap.claim, '-', 0);
    }
}


/*
 * A claim that may have been made: if so the device counts as online although
 * no session belongs to it.
 */

void
ngx_push_redis_void(ngx_push_product_t *product, ngx_str_t *user,
    ngx_str_t *device)
{
    ngx_push_stray_add(product, product, user, device, 0, '?',
                       NGX_PUSH_STRAY_AGE * 1000 + 500);
}


/* Once more then, for what could not end yet; else it ends by its TTL. */

void
ngx_push_redis_write_later(ngx_push_product_t *product,
    ngx_push_product_t *own, ngx_str_t *user, ngx_str_t *device,
    ngx_uint_t seconds)
{
    if (ngx_push_nstrays < NGX_PUSH_STRAYS / 2) {
        ngx_push_stray_add(product, own, user, device, 0, '?',
                           seconds * 1000 + 500);
    }
}


static void
ngx_push_stray_add(ngx_push_product_t *product, ngx_push_product_t *own,
    ngx_str_t *user, ngx_str_t *device, uint32_t claim, u_char state,
    ngx_msec_t wait)
{
    ngx_push_stray_t  *stray;

    stray = ngx_alloc(sizeof(ngx_push_stray_t), ngx_cycle->log);

    if (stray == NULL) {
        return;
    }

    stray->product = product;
    stray->own = own;
    stray->user.len = user->len;
    stray->user.data = stray->names;
    stray->device.len = device->len;
    stray->device.data = ngx_cpymem(stray->names, user->data, user->len);
    ngx_memcpy(stray->device.data, device->data, device->len);
    stray->claim = claim;
    stray->state = state;

    if (wait) {
        ngx_push_stray_queue(stray, wait);

    } else {
        ngx_push_stray_send(stray);
    }
}


static void
ngx_push_stray_queue(ngx_push_stray_t *stray, ngx_msec_t wait)
{
    if (ngx_push_nstrays == NGX_PUSH_STRAYS) {

        /* it may look online until its device comes again */

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "push: too many devices that Redis was not told of");
        ngx_free(stray);
        return;
    }

    stray->due = ngx_current_msec + wait;
    stray->next = ngx_push_strays;
    ngx_push_strays = stray;
    ngx_push_nstrays++;
}


void
ngx_push_redis_strays_run(void)
{
    ngx_push_stray_t  *stray, *next;

    if (ngx_push_strays == NULL || !ngx_push_redis_up(NULL)) {
        return;
    }

    stray = ngx_push_strays;
    ngx_push_strays = NULL;
    ngx_push_nstrays = 0;

    for ( /* void */ ; stray; stray = next) {
        next = stray->next;

        if ((ngx_msec_int_t) (stray->due - ngx_current_msec) > 0) {
            stray->next = ngx_push_strays;
            ngx_push_strays = stray;
            ngx_push_nstrays++;
            continue;
        }

        ngx_push_stray_send(stray);
    }
}


static void
ngx_push_stray_send(ngx_push_stray_t *stray)
{
    ngx_push_handle_t        session;
    ngx_push_reg_call_t      c;
    ngx_push_cursor_args_t   a;

    if (ngx_push_session_named(stray->own, &stray->user, &stray->device,
                               &session)
        == NGX_OK)
    {
        /* there is one: it says how things are */

        ngx_push_session_moved(session);
        ngx_free(stray);
        return;
    }

    ngx_memzero(&a, sizeof(ngx_push_cursor_args_t));

    a.product = stray->product;
    a.own = stray->own;
    a.user = &stray->user;
    a.device = &stray->device;
    a.claim = stray->claim;
    a.state = stray->state;
    a.since = NGX_PUSH_STRAY_AGE;

    ngx_push_reg_cursor(&c, &a);

    if (ngx_push_reg_send(&c, ngx_push_stray_answer, stray) != NGX_AGAIN) {
        ngx_push_stray_queue(stray, 1000);
    }
}


static void
ngx_push_stray_answer(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_stray_t  *stray = data;

    if (rc == NGX_OK || rc == NGX_DECLINED) {
        ngx_free(stray);
        return;
    }

    ngx_push_stray_queue(stray, 1000);
}


void
ngx_push_redis_flush_init(ngx_cycle_t *cycle)
{
    ngx_push_flush_dummy.fd = (ngx_socket_t) -1;

    ngx_push_flush_event.handler = ngx_push_flush;
    ngx_push_flush_event.data = &ngx_push_flush_dummy;
    ngx_push_flush_event.log = cycle->log;
    ngx_push_flush_event.cancelable = 1;
}


void
ngx_push_redis_flush_exit(void)
{
    ngx_push_stray_t  *stray;

    if (ngx_push_flush_event.timer_set) {
        ngx_del_timer(&ngx_push_flush_event);
    }

    while (ngx_push_strays) {
        stray = ngx_push_strays;
        ngx_push_strays = stray->next;
        ngx_free(stray);
    }

    ngx_push_nstrays = 0;
}
