
/*
 * Copyright (C) the ngx_push authors
 */


#include "zone_sim.h"
#include "ngx_push_idem.h"

#include <sys/mman.h>


#define SIM_USERS     6
#define SIM_DEVICES   3
#define SIM_GROUPS    6
#define SIM_KEYS      16
#define SIM_SAVED     8192             /* messages that are looked at */


/* how a payload begins; what follows is a pattern */

typedef struct {
    uint32_t             magic;
    uint32_t             kind;
    uint32_t             product;
    uint32_t             number;
    uint32_t             size;
    uint32_t             key;          /* it was saved with; 0: none */
} sim_body_t;

#define SIM_MAGIC  0x50555348


static void sim_notify(ngx_push_conn_t *pc);
static void sim_deliver(ngx_push_conn_t *pc, ngx_push_out_t *out);
static void sim_kick(ngx_push_conn_t *pc, ngx_uint_t reason);
static void sim_drain(ngx_push_conn_t *pc);
static void sim_warm(ngx_push_conn_t *pc);


volatile uint32_t  *sim_faults;
sim_conn_t          sim_conns[SIM_CONNS];

ngx_uint_t          sim_window = 4;
ngx_uint_t          sim_sub_qos = 1;
ngx_uint_t          sim_save_qos = 1;

void              (*sim_seen)(sim_conn_t *c, ngx_push_out_t *out);
ngx_push_claim_t    sim_claimed;

uint32_t            sim_save_key;

/* of all processes: keys that are repeated, and the last one ever given */

static volatile uint32_t  *sim_keys;

static uint64_t     sim_state = 1;
static u_char       sim_buf[NGX_PUSH_PAYLOAD_MAX];


static ngx_push_transport_t  sim_transport = {
    "sim", sim_notify, sim_deliver, sim_kick, sim_drain, sim_warm
};


void
sim_init(void)
{
    sim_faults = mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED,
                      -1, 0);

    sim_keys = sim_faults + 1;
}


void
sim_seed(uint32_t seed)
{
    sim_state = seed * 0x9e3779b97f4a7c15ULL + 1;
}


uint32_t
sim_random(uint32_t below)
{
    sim_state ^= sim_state << 13;
    sim_state ^= sim_state >> 7;
    sim_state ^= sim_state << 17;

    return (uint32_t) (sim_state >> 32) % below;
}


static void
sim_fault(const char *what, ngx_push_out_t *out)
{
    if (__sync_add_and_fetch(sim_faults, 1) <= 20) {
        fprintf(stderr, "sim: %s: kind %u seq %lu size %u\n", what,
                out->kind, (unsigned long) out->seq, out->msg->size);
    }
}


static void
sim_name(ngx_str_t *name, u_char *buf, const char *prefix, ngx_uint_t number)
{
    name->data = buf;
    name->len = sprintf((char *) buf, "%s%u", prefix, (unsigned) number);

    if (number % 5 == 4) {
        ngx_memset(buf + name->len, 'x', 100);
        name->len += 100;
    }
}


void
sim_target(ngx_push_target_t *t, u_char *buf, ngx_push_kind_t kind,
    ngx_uint_t product, ngx_uint_t number)
{
    ngx_memzero(t, sizeof(ngx_push_target_t));

    t->kind = kind;
    t->product = &stub_product[product];
    t->name.data = buf;

    if (kind == NGX_PUSH_INBOX) {
        sim_name(&t->name, buf, "user", number);

    } else if (kind == NGX_PUSH_GROUP) {
        sim_name(&t->name, buf, "group", number);
    }
}


/* --- what the core asks of a connection */

static ngx_uint_t
sim_whole(sim_conn_t *c, ngx_push_out_t *out)
{
    size_t               n, at;
    sim_body_t           body;
    ngx_push_message_t  *m;

    m = out->msg;

    if (m->size < sizeof(sim_body_t)) {
        return 0;
    }

    at = ngx_push_message_payload(m);

    ngx_push_message_copy(m, at, m->size, sim_buf);
    ngx_memcpy(&body, sim_buf, sizeof(sim_body_t));

    if (body.magic != SIM_MAGIC || body.size != m->size
        || body.kind != out->kind || out->product == NULL
        || body.product != (uint32_t) (out->product - stub_product)
        || (out->kind == NGX_PUSH_INBOX && body.number != c->user))
    {
        return 0;
    }

    for (n = sizeof(sim_body_t); n < m->size; n++) {
        if (sim_buf[n] != (u_char) (n * 7 + body.number)) {
            return 0;
        }
    }

    return 1;
}


static void
sim_got(sim_conn_t *c, ngx_push_out_t *out)
{
    ngx_uint_t   i;
    sim_last_t  *last;

    c->ndelivered++;
    c->last_seq = out->seq;

    if (sim_seen) {
        sim_seen(c, out);
    }

    if (c->push.blocked) {
        sim_fault("to one that is blocked", out);
    }

    if (!sim_whole(c, out)) {
        sim_fault("not what was saved, or not for this device", out);
    }

    if (out->qos) {
        c->last_pid = out->pid;

        if (c->npids < 64) {
            c->pids[c->npids++] = out->pid;
        }
    }

    if (out->seq == 0) {
        c->nonce++;
        return;
    }

    last = NULL;

    for (i = 0; i < SIM_LOGS; i++) {
        last = &c->last[i];

        if (last->incarnation == out->incarnation || last->incarnation == 0) {
            break;
        }
    }

    if (i == SIM_LOGS) {
        return;
    }

    if (out->seq <= last->seq) {
        sim_fault("out of order", out);
    }

    last->incarnation = out->incarnation;
    last->seq = ngx_max(last->seq, out->seq);
}


static void
sim_gone(sim_conn_t *c)
{
    sim_release(c, 1, 100, 1);
}


void
sim_take(sim_conn_t *c)
{
    ngx_int_t        i, n;
    ngx_push_out_t   out[SIM_OUT];

    for ( ;; ) {
        n = ngx_push_take(&c->push, out, SIM_OUT);

        if (n == NGX_DECLINED) {
            sim_gone(c);
            return;
        }

        for (i = 0; i < n; i++) {
            sim_got(c, &out[i]);
        }

        ngx_push_unpin();

        if (n == 0 || !c->push.behind) {
            return;
        }
    }
}


/* NGX_OK: all of the window was resent, or what can be for now. */

static ngx_int_t
sim_retake(sim_conn_t *c)
{
    ngx_int_t        i, n;
    ngx_push_out_t   out[SIM_OUT];

    do {
        n = ngx_push_retake(&c->push, &c->resent, out, SIM_OUT);

        for (i = 0; i < n; i++) {
            sim_got(c, &out[i]);
        }

        ngx_push_unpin();

    } while (n > 0);

    if (n == NGX_DECLINED) {
        sim_gone(c);
        return NGX_DONE;
    }

    if (n == 0) {
        c->again = 0;
    }

    return NGX_OK;
}


void
sim_settle(sim_conn_t *c)
{
    if (c->push.blocked) {
        return;
    }

    if (c->again && sim_retake(c) != NGX_OK) {
        return;
    }

    if (c->want && !c->again) {
        c->want = 0;
        sim_take(c);
    }
}


void
sim_block(sim_conn_t *c)
{
    c->push.blocked = 1;
}


void
sim_unblock(sim_conn_t *c)
{
    c->push.blocked = 0;
    c->want = 1;
    sim_settle(c);
}


static void
sim_notify(ngx_push_conn_t *pc)
{
    ((sim_conn_t *) pc)->want = 1;
    sim_settle((sim_conn_t *) pc);
}


static void
sim_deliver(ngx_push_conn_t *pc, ngx_push_out_t *out)
{
    sim_got((sim_conn_t *) pc, out);
}


static void
sim_kick(ngx_push_conn_t *pc, ngx_uint_t reason)
{
    ((sim_conn_t *) pc)->kicks++;
    sim_gone((sim_conn_t *) pc);
}


static void
sim_drain(ngx_push_conn_t *pc)
{
    sim_gone((sim_conn_t *) pc);
}


/* nothing is written to a socket here, so nothing has to be fetched */

static void
sim_warm(ngx_push_conn_t *pc)
{
    (void) pc;
}


/* --- single steps */

size_t
sim_body(u_char *p, ngx_push_kind_t kind, ngx_uint_t product,
    ngx_uint_t number, size_t size)
{
    size_t       n;
    sim_body_t   body;

    size = ngx_max(size, sizeof(sim_body_t));

    body.magic = SIM_MAGIC;
    body.kind = kind;
    body.product = product;
    body.number = number;
    body.size = size;
    body.key = sim_save_key;

    ngx_memcpy(p, &body, sizeof(sim_body_t));

    for (n = sizeof(sim_body_t); n < size; n++) {
        p[n] = (u_char) (n * 7 + number);
    }

    return size;
}


sim_conn_t *
sim_claim(ngx_uint_t product, ngx_uint_t user, ngx_uint_t device,
    ngx_uint_t clean, uint32_t expiry, size_t will)
{
    u_char             ubuf[NGX_PUSH_NAME_MAX], dbuf[NGX_PUSH_NAME_MAX];
    u_char             wbuf[NGX_PUSH_NAME_MAX];
    sim_conn_t        *c;
    ngx_uint_t         i;
    ngx_push_claim_t   claim;

    for (i = 0; i < SIM_CONNS && sim_conns[i].used; i++) { /* void */ }

    if (i == SIM_CONNS) {
        return NULL;
    }

    c = &sim_conns[i];
    ngx_memzero(c, sizeof(sim_conn_t));
    ngx_memzero(&claim, sizeof(ngx_push_claim_t));

    c->push.transport = &sim_transport;

    if (ngx_push_conn_attach(&c->push) != NGX_OK) {
        return NULL;
    }

    c->used = 1;
    c->product = product;
    c->user = user;
    c->device = device;

    claim.product = &stub_product[product];
    claim.conn = &c->push;
    claim.proto = 5;
    claim.window = sim_window;
    claim.expiry = expiry;
    claim.clean = clean;

    claim.packed = sim_claimed.packed;
    claim.incarnation = sim_claimed.incarnation;
    claim.acked = sim_claimed.acked;
    claim.newer = sim_claimed.newer;
    claim.registered = sim_claimed.registered;

    sim_name(&claim.user, ubuf, "user", user);
    sim_name(&claim.device, dbuf, "device", device);

    if (will) {
        sim_target(&claim.will, wbuf, NGX_PUSH_GROUP, product,
                   user % SIM_GROUPS);
        claim.will_payload.data = sim_buf;
        claim.will_payload.len = sim_body(sim_buf, NGX_PUSH_GROUP, product,
                                          user % SIM_GROUPS, will);
        claim.will_delay = will % 3;
        claim.will_qos = 1;
    }

    if (ngx_push_session_claim(&claim) != NGX_OK) {
        ngx_push_conn_detach(&c->push);
        c->used = 0;
        return NULL;
    }

    c->present = claim.present;

    if (claim.present) {
        c->again = 1;
        c->want = 1;
        sim_settle(c);
    }

    return c;
}


void
sim_release(sim_conn_t *c, ngx_uint_t broken, uint32_t expiry,
    ngx_uint_t will)
{
    ngx_push_session_release(&c->push, broken, expiry, will);
    c->used = 0;
}


ngx_int_t
sim_subscribe(sim_conn_t *c, ngx_push_kind_t kind, ngx_uint_t product,
    ngx_uint_t number, ngx_uint_t how)
{
    u_char             buf[NGX_PUSH_NAME_MAX];
    ngx_push_target_t  t;

    sim_target(&t, buf, kind, product, number);

    return ngx_push_subscribe(&c->push, &t, 1, how, sim_sub_qos, 0);
}


ngx_int_t
sim_unsubscribe(sim_conn_t *c, ngx_push_kind_t kind, ngx_uint_t product,
    ngx_uint_t number, ngx_uint_t how)
{
    u_char             buf[NGX_PUSH_NAME_MAX];
    ngx_push_target_t  t;

    sim_target(&t, buf, kind, product, number);

    return ngx_push_unsubscribe(&c->push, &t, how);
}


ngx_int_t
sim_bind(sim_conn_t *c, ngx_uint_t product)
{
    u_char             buf[2][NGX_PUSH_NAME_MAX];
    ngx_push_target_t  t[2];

    sim_target(&t[0], buf[0], NGX_PUSH_INBOX, product, c->user);
    sim_target(&t[1], buf[1], NGX_PUSH_BROADCAST, product, 0);

    return ngx_push_subscribe(&c->push, t, 2, NGX_PUSH_SUB_BIND, sim_sub_qos,
                              0);
}


ngx_int_t
sim_save(ngx_push_kind_t kind, ngx_uint_t product, ngx_uint_t number,
    size_t size, time_t ttl, ngx_push_save_t *op)
{
    u_char             buf[NGX_PUSH_NAME_MAX], kbuf[NGX_PUSH_NAME_MAX];
    ngx_int_t          rc;
    ngx_buf_t          b;
    ngx_chain_t        cl;
    ngx_push_save_t    save;
    ngx_push_handle_t  none = { 0, 0 };

    ngx_memzero(&save, sizeof(ngx_push_save_t));
    ngx_memzero(&b, sizeof(ngx_buf_t));

    sim_target(&save.target, buf, kind, product, number);

    b.pos = sim_buf;
    b.last = sim_buf + sim_body(sim_buf, kind, product, number, size);
    b.memory = 1;
    cl.buf = &b;
    cl.next = NULL;

    save.payload = &cl;
    save.size = b.last - b.pos;
    save.qos = sim_save_qos;
    save.ttl = ttl;

    if (sim_save_key) {
        sim_name(&save.key, kbuf, "key", sim_save_key);
        save.fingerprint = sim_save_key;
    }

    rc = ngx_push_memory_store.save(&save, NULL, none);

    if (op) {
        *op = save;
    }

    return rc;
}


ngx_int_t
sim_ack(sim_conn_t *c, ngx_uint_t pid)
{
    ngx_int_t  rc;

    rc = ngx_push_ack(&c->push, pid);

    if (rc == NGX_DECLINED) {
        sim_gone(c);

    } else if (rc == NGX_OK && c->again && c->resent) {
        c->resent--;
    }

    return rc;
}


/* --- random steps */

static void
sim_ack_some(sim_conn_t *c)
{
    ngx_uint_t  i, pid;

    if (c->npids == 0) {
        return;
    }

    /* mostly in order, as devices do */

    i = sim_random(4) ? 0 : sim_random(c->npids);
    pid = c->pids[i];

    c->npids--;
    ngx_memmove(&c->pids[i], &c->pids[i + 1],
                (c->npids - i) * sizeof(uint16_t));

    if (sim_ack(c, pid) == NGX_OK) {
        c->want |= c->push.behind;
        sim_settle(c);
    }
}


static size_t
sim_size(void)
{
    switch (sim_random(30)) {

    case 0:
        return sim_random(60000);

    case 1:
    case 2:
        return sim_random(6000);

    default:
        return sim_random(300);
    }
}


static void
sim_save_some(void)
{
    time_t           ttl;
    ngx_uint_t       product;
    ngx_push_kind_t  kind;

    kind = sim_random(20) == 0 ? NGX_PUSH_UPLINK : sim_random(3);
    ttl = sim_random(8) == 0 ? 0 : sim_random(3) ? 100 : sim_random(5) + 1;
    product = sim_random(STUB_PRODUCTS);
    sim_save_qos = sim_random(4) != 0;

    (void) sim_save(kind, product,
                    kind == NGX_PUSH_INBOX ? sim_random(SIM_USERS)
                    : kind == NGX_PUSH_GROUP ? sim_random(SIM_GROUPS) : 0,
                    sim_size(), ttl, NULL);
}


/* One of a few keys, saved again and again until another takes its place. */

static void
sim_save_keyed(void)
{
    uint32_t     key;
    ngx_uint_t   i;

    i = sim_random(SIM_KEYS);
    key = sim_keys[1 + i];

    if (key == 0 || sim_random(4) == 0) {
        key = __sync_add_and_fetch(&sim_keys[0], 1);
        sim_keys[1 + i] = key;
    }

    sim_save_qos = 1;
    sim_save_key = key;

    (void) sim_save(key % 3, key % STUB_PRODUCTS, key % 3 == 2 ? 0 : key % 5,
                    key % 7 ? 100 : 3000, key % 11 ? 100 : 0, NULL);

    sim_save_key = 0;
}


typedef struct {
    uint32_t             key;
    uint32_t             created;
} sim_saved_t;

static ngx_uint_t   sim_nsaved;
static ngx_uint_t   sim_nwrong;
static sim_saved_t  sim_saved[SIM_SAVED];


static void
sim_key_message(ngx_push_shard_t *sh, void *record)
{
    sim_body_t           body;
    ngx_uint_t           i;
    sim_saved_t         *s;
    ngx_push_message_t  *m;

    (void) sh;
    m = record;

    if (m->slot.used != NGX_PUSH_MSG_STORED) {
        return;
    }

    ngx_push_message_copy(m, ngx_push_message_payload(m), sizeof(sim_body_t),
                          (u_char *) &body);

    if (body.key == 0 || sim_nsaved == SIM_SAVED) {
        return;
    }

    for (i = 0; i < sim_nsaved; i++) {
        s = &sim_saved[i];

        if (s->key == body.key
            && ngx_max(s->created, m->created)
               < ngx_min(s->created, m->created)
                 + (uint32_t) stub_conf.idempotency_keep)
        {
            fprintf(stderr, "sim: key %u was saved twice\n", body.key);
            sim_nwrong++;
        }
    }

    sim_saved[sim_nsaved].key = body.key;
    sim_saved[sim_nsaved++].created = m->created;
}


static void
sim_key_record(ngx_push_shard_t *sh, void *record)
{
    uint32_t          i;
    ngx_push_ref_t   *table, ref;
    ngx_push_log_t   *log;
    ngx_push_idem_t  *k;

    k = record;

    if (k->slot.used != NGX_PUSH_IDEM_DONE || k->seq == 0) {
        return;
    }

    table = (ngx_push_ref_t *) (ngx_push_zone->base + sh->logs);

    for (i = 0; i <= sh->mask; i++) {
        for (ref = table[i]; ref; ref = log->hnext) {
            log = ngx_push_ptr(ref);

            if (log->incarnation == k->incarnation && k->seq > log->last) {
                fprintf(stderr, "sim: a key of %lu, the last is %lu\n",
                        (unsigned long) k->seq, (unsigned long) log->last);
                sim_nwrong++;
            }
        }
    }
}


ngx_uint_t
sim_keys_wrong(void)
{
    ngx_uint_t         i, n;
    ngx_push_shard_t  *sh;

    sim_nsaved = 0;
    sim_nwrong = 0;

    n = ngx_push_zone->head->nusers + ngx_push_zone->head->nchannels;

    for (i = 0; i < n; i++) {
        sh = &ngx_push_zone->shards[i];
        ngx_push_each(sh, NGX_PUSH_MESSAGE, sim_key_message);
        ngx_push_each(sh, NGX_PUSH_IDEM, sim_key_record);
    }

    return sim_nwrong;
}


static void
sim_claim_some(void)
{
    sim_conn_t  *c;

    sim_window = sim_random(3) ? 4 : sim_random(8) + 1;
    sim_sub_qos = sim_random(4) != 0;

    c = sim_claim(sim_random(STUB_PRODUCTS), sim_random(SIM_USERS),
                  sim_random(SIM_DEVICES), sim_random(5) == 0,
                  sim_random(3) ? 1000 : sim_random(3),
                  sim_random(4) ? 0 : sim_size() + sizeof(sim_body_t));

    if (c && c->used && sim_bind(c, c->product) == NGX_OK) {
        c->want = 1;
        sim_settle(c);
    }
}


static void
sim_query_some(void)
{
    void             **p;
    u_char             buf[NGX_PUSH_NAME_MAX];
    ngx_str_t          user;
    ngx_pool_t         pool;
    ngx_push_user_t    result;

    ngx_memzero(&pool, sizeof(ngx_pool_t));
    sim_name(&user, buf, "user", sim_random(SIM_USERS));

    (void) ngx_push_session_query(&stub_product[0], &user, &result, &pool);

    while (pool.chain) {
        p = (void **) pool.chain;
        pool.chain = p[0];
        free(p);
    }
}


void
sim_step(void)
{
    ngx_uint_t   product;
    sim_conn_t  *c;

    product = sim_random(STUB_PRODUCTS);
    c = &sim_conns[sim_random(SIM_CONNS)];

    switch (sim_random(28)) {

    case 0:
    case 1:
        sim_claim_some();
        break;

    case 2:
        sim_sub_qos = sim_random(4) != 0;

        if (c->used && sim_bind(c, product) == NGX_OK) {
            c->want = 1;
            sim_settle(c);
        }

        break;

    case 3:
    case 4:
        if (c->used && sim_subscribe(c, NGX_PUSH_GROUP, product,
                                     sim_random(SIM_GROUPS),
                                     NGX_PUSH_SUB_OWN)
                       == NGX_OK)
        {
            c->want = 1;
            sim_settle(c);
        }

        break;

    case 5:
        if (c->used) {
            (void) sim_unsubscribe(c, NGX_PUSH_GROUP, product,
                                   sim_random(SIM_GROUPS), NGX_PUSH_SUB_OWN);
        }

        break;

    case 6:
        if (c->used && sim_random(4) == 0) {
            (void) sim_unsubscribe(c, NGX_PUSH_BROADCAST, product, 0,
                                   NGX_PUSH_SUB_BIND);
        }

        break;

    case 7:
        if (c->used) {
            sim_release(c, sim_random(2), sim_random(3) ? 1000 : 0,
                        sim_random(2));
        }

        break;

    case 8:
        sim_query_some();
        break;

    case 9:
        stub_tick();
        break;

    case 10:
    case 11:
    case 12:
    case 13:
    case 14:
        sim_save_some();
        break;

    case 26:
    case 27:
        sim_save_keyed();
        break;

    case 15:
        if (c->used) {
            sim_block(c);
        }

        break;

    case 16:
    case 17:
        if (c->used && c->push.blocked) {
            sim_unblock(c);
        }

        break;

    default:
        if (c->used) {
            sim_ack_some(c);
        }
    }

    if (sim_random(4) == 0) {
        ngx_push_mailbox_read();
    }

    stub_events();
}


ngx_uint_t
sim_forgotten(void)
{
    ngx_int_t        n, k;
    ngx_uint_t       i, forgotten;
    sim_conn_t      *c;
    ngx_push_out_t   out[SIM_OUT];

    forgotten = 0;

    for (i = 0; i < SIM_CONNS; i++) {
        c = &sim_conns[i];

        if (!c->used || c->push.blocked || c->again
            || (c->push.behind && c->npids))
        {
            continue;
        }

        n = ngx_push_take(&c->push, out, SIM_OUT);

        for (k = 0; k < n; k++) {
            sim_got(c, &out[k]);
            forgotten++;
        }

        ngx_push_unpin();
    }

    return forgotten;
}
