
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The reading end of the bus.  One worker reads, from the id in the zone, so
 * that its successor goes on there; an entry read twice does no harm.
 *
 * What was not read is noticed in one of these ways, and then all logs are
 * compared with the store:
 *
 *   - the numbers of a sender have a gap;
 *   - a read was full, and what was read before it is no longer there: a
 *     stream is trimmed from its old end, and holds bus_limit entries at
 *     least, so a read that is not full leaves no doubt;
 *   - nothing is there to be read, but the stream says that it has given ids
 *     beyond the last one read, or it is gone.
 */


#include "ngx_push_redis_bus.h"


#define NGX_PUSH_READ_COUNT     64     /* entries of one answer */
#define NGX_PUSH_READ_WAIT      2000   /* ms */
#define NGX_PUSH_READ_FRESH     60     /* s; senders we come to know then may
                                          have begun before us */
#define NGX_PUSH_READ_MARGIN    1000   /* ms */
#define NGX_PUSH_READ_PROBES    8


/* The position is no entry that was read: what is before it is not ours. */

#define NGX_PUSH_READ_NONE      UINT64_MAX


typedef struct {
    uint64_t             ms;
    uint64_t             seq;
} ngx_push_read_id_t;


static void ngx_push_read_start(void);
static void ngx_push_read_done(void *data, ngx_int_t rc, redisReply *reply);
static redisReply *ngx_push_read_entries(redisReply *reply);
static ngx_uint_t ngx_push_read_count(void);
static void ngx_push_read_entry(redisReply *entry);
static void ngx_push_read_frames(const uint8_t *p, size_t len);
static void ngx_push_read_number(ngx_push_frame_entry_t *e);
static void ngx_push_read_frame(ngx_push_frame_entry_t *e,
    ngx_push_frame_t *f);
static void ngx_push_read_message(ngx_push_frame_t *f);
static void ngx_push_read_idle(void);
static void ngx_push_read_known(void *data, ngx_int_t rc, redisReply *reply);
static void ngx_push_read_gone(void);
static void ngx_push_read_full(ngx_push_read_id_t *before);
static void ngx_push_read_there(void *data, ngx_int_t rc, redisReply *reply);
static ngx_int_t ngx_push_read_id(redisReply *reply, ngx_push_read_id_t *id);
static ngx_int_t ngx_push_read_cmp(ngx_push_read_id_t *a,
    ngx_push_read_id_t *b);
static void ngx_push_read_at(ngx_push_read_id_t *id);
static void ngx_push_read_set(uint64_t ms, uint64_t seq);
static void ngx_push_read_call(const char **argv, ngx_uint_t n,
    ngx_push_redis_pt handler);


static ngx_uint_t           ngx_push_reading;
static ngx_push_read_id_t   ngx_push_read_expect;  /* ms 0: nothing */


void
ngx_push_bus_read_tick(void)
{
    if (!ngx_push_reading) {
        ngx_push_read_start();
    }
}


void
ngx_push_bus_read_stop(void)
{
    ngx_push_read_expect.ms = 0;

    if (ngx_push_reading) {
        ngx_push_redis_unblock();
    }
}


/*
 * The first time, from shortly before the node's epoch: no device can have
 * been registered here earlier.
 */

static void
ngx_push_read_start(void)
{
    u_char                  buf[NGX_PUSH_REDIS_KEY], id[2 * NGX_INT64_LEN];
    u_char                  count[NGX_INT64_LEN];
    uint64_t                now, age;
    ngx_str_t               key;
    const char             *argv[8];
    size_t                  lens[8];
    ngx_push_redis_call_t   call;
    ngx_push_zone_nodes_t  *nodes;

    nodes = ngx_push_nodes;

    if (nodes->started == 0) {

        if (nodes->beat_at == 0) {
            return;
        }

        now = (uint64_t) ((int64_t) ngx_current_msec + nodes->clock);
        age = ngx_push_node_age() + NGX_PUSH_READ_MARGIN;

        ngx_push_read_set(now > age ? now - age : 0, NGX_PUSH_READ_NONE);
        nodes->started = ngx_push_now();
    }

    ngx_push_bus_key(buf, &key, ngx_push_node_name.data,
                     ngx_push_node_name.len);

    argv[0] = "XREAD";
    argv[1] = "COUNT";
    argv[2] = (char *) count;
    argv[3] = "BLOCK";
    argv[4] = "2000";
    argv[5] = "STREAMS";
    argv[6] = (char *) key.data;
    argv[7] = (char *) id;

    lens[0] = 5;
    lens[1] = 5;
    lens[2] = ngx_sprintf(count, "%ui", ngx_push_read_count()) - count;
    lens[3] = 5;
    lens[4] = 4;
    lens[5] = 7;
    lens[6] = key.len;
    lens[7] = ngx_sprintf(id, "%uL-%uL", nodes->last_ms, nodes->last_seq) - id;

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));
    call.key = &key;
    call.argc = 8;
    call.argv = argv;
    call.argvlen = lens;
    call.handler = ngx_push_read_done;

    if (ngx_push_redis_block(&call, NGX_PUSH_READ_WAIT) == NGX_AGAIN) {
        ngx_push_reading = 1;
    }
}


static ngx_uint_t
ngx_push_read_count(void)
{
    return ngx_min(ngx_push_redis_conf()->bus_limit, NGX_PUSH_READ_COUNT);
}


static void
ngx_push_read_done(void *data, ngx_int_t rc, redisReply *reply)
{
    size_t               i;
    redisReply          *entries;
    ngx_push_read_id_t   before;

    ngx_push_reading = 0;

    if (ngx_push_self == NULL || !ngx_push_role_mine()) {
        return;
    }

    if (rc != NGX_OK) {

        /* the tick tries again */

        return;
    }

    entries = ngx_push_read_entries(reply);

    if (entries == NULL || entries->elements == 0) {
        ngx_push_read_idle();
        ngx_push_read_start();
        return;
    }

    ngx_push_read_at(&before);

    for (i = 0; i < entries->elements; i++) {
        ngx_push_read_entry(entries->element[i]);
    }

    if (entries->elements >= ngx_push_read_count()) {
        ngx_push_read_full(&before);
    }

    ngx_push_read_start();
}


/* [ [ key, [ entry, ... ] ] ] */

static redisReply *
ngx_push_read_entries(redisReply *reply)
{
    redisReply  *stream;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        return NULL;
    }

    stream = reply->element[0];

    if (stream->type != REDIS_REPLY_ARRAY || stream->elements < 2
        || stream->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return NULL;
    }

    return stream->element[1];
}


/* [ id, [ field, value, ... ] ] */

static void
ngx_push_read_entry(redisReply *entry)
{
    int64_t              lag;
    redisReply          *fields;
    ngx_push_read_id_t   id;

    if (entry->type != REDIS_REPLY_ARRAY || entry->elements < 2
        || ngx_push_read_id(entry->element[0], &id) != NGX_OK)
    {
        return;
    }

    fields = entry->element[1];

    ngx_push_count(bus_in);

    if (fields->type == REDIS_REPLY_ARRAY && fields->elements >= 2
        && fields->element[1]->type == REDIS_REPLY_STRING)
    {
        ngx_push_read_frames((uint8_t *) fields->element[1]->str,
                             fields->element[1]->len);
    }

    /* only now: who dies before this has it read by another */

    ngx_push_read_set(id.ms, id.seq);

    lag = (int64_t) ngx_current_msec + ngx_push_nodes->clock - (int64_t) id.ms;
    ngx_push_nodes->lag = lag > 0 ? lag : 0;
}


static void
ngx_push_read_frames(const uint8_t *p, size_t len)
{
    const uint8_t           *end;
    ngx_push_frame_t         f;
    ngx_push_frame_rc_t      rc;
    ngx_push_frame_entry_t   e;

    end = p + len;

    if (ngx_push_frame_entry(&p, end, &e) != NGX_PUSH_FRAME_OK) {
        rc = NGX_PUSH_FRAME_BAD;

    } else {
        ngx_push_read_number(&e);

        for ( ;; ) {
            rc = ngx_push_frame_next(&p, end, &f);

            if (rc != NGX_PUSH_FRAME_OK) {
                break;
            }

            ngx_push_count(bus_in_frames);
            ngx_push_read_frame(&e, &f);
        }
    }

    if (rc == NGX_PUSH_FRAME_BAD) {
        ngx_push_count(bus_in_bad);
        ngx_push_bus_check("an entry of the bus cannot be read");
    }
}


/* Is it the sender's next one? */

static void
ngx_push_read_number(ngx_push_frame_entry_t *e)
{
    u_char                   buf[NGX_PUSH_FRAME_ENTRY], *p;
    uint64_t                 key;
    ngx_uint_t               i;
    ngx_push_zone_sender_t  *s, *place;

    p = ngx_cpymem(buf, &e->epoch, sizeof(e->epoch));
    p = ngx_cpymem(p, &e->slot, sizeof(e->slot));
    p = ngx_cpymem(p, &e->gen, sizeof(e->gen));
    p = ngx_cpymem(p, e->node.data, e->node.len);

    key = ngx_push_hash(0, buf, p - buf) | 1;
    place = NULL;

    for (i = 0; i < NGX_PUSH_READ_PROBES; i++) {
        s = &ngx_push_nodes->senders[((key >> 1) + i) % NGX_PUSH_SENDERS];

        if (s->key == key) {
            s->at = ngx_push_now();

            if (e->number > s->number + 1) {
                ngx_push_count(bus_gaps);
                ngx_push_bus_check("the bus has a gap");
            }

            if (e->number > s->number) {
                s->number = e->number;
            }

            return;
        }

        if (place == NULL
            || (place->key && (s->key == 0 || s->at < place->at)))
        {
            place = s;
        }
    }

    place->key = 0;
    ngx_memory_barrier();
    place->number = e->number;
    place->at = ngx_push_now();
    ngx_memory_barrier();
    place->key = key;

    if (e->number > 1
        && ngx_push_now() - ngx_push_nodes->started > NGX_PUSH_READ_FRESH)
    {
        ngx_push_count(bus_gaps);
        ngx_push_bus_check("the bus lacks the first of a sender");
    }
}


static void
ngx_push_read_frame(ngx_push_frame_entry_t *e, ngx_push_frame_t *f)
{
    switch (f->type) {

    case NGX_PUSH_FRAME_IS_MESSAGE:
        ngx_push_read_message(f);
        break;

    case NGX_PUSH_FRAME_IS_KICK:
        ngx_push_kick_frame(e, f);
        break;

    case NGX_PUSH_FRAME_IS_RELEASED:
        ngx_push_kick_released(f);
        break;

    case NGX_PUSH_FRAME_IS_CHECK:
        ngx_push_bus_check("another node says so");
        break;

    case NGX_PUSH_FRAME_IS_REFLUSH:
        ngx_push_reflush_all("asked for");
        break;

    default:
        break;
    }
}


static void
ngx_push_read_message(ngx_push_frame_t *f)
{
    ngx_str_t                name, blob;
    ngx_push_conf_t         *pcf;
    ngx_push_target_t        target;
    ngx_push_bus_message_t   m;

    pcf = ngx_push_get_conf((ngx_cycle_t *) ngx_cycle);

    name.data = (u_char *) f->product.data;
    name.len = f->product.len;

    ngx_memzero(&target, sizeof(ngx_push_target_t));

    target.product = pcf ? ngx_push_find_product(pcf, &name) : NULL;
    target.kind = f->kind;
    target.name.data = (u_char *) f->name.data;
    target.name.len = f->name.len;

    if (target.product == NULL || f->kind >= NGX_PUSH_KINDS) {
        return;
    }

    blob.data = (u_char *) f->blob.data;
    blob.len = f->blob.len;

    m.target = &target;
    m.incarnation = f->incarnation;
    m.seq = f->seq;
    m.blob = &blob;

    ngx_push_store_arrived(&m);
}


/*
 * Nothing came for a while: has there been anything?  What the stream has
 * given by now must have been read when nothing comes the next time.
 */

static void
ngx_push_read_idle(void)
{
    u_char               buf[NGX_PUSH_REDIS_KEY];
    ngx_str_t            key;
    const char          *argv[4];
    ngx_push_read_id_t   last;

    ngx_push_nodes->lag = 0;

    ngx_push_read_at(&last);

    if (ngx_push_read_expect.ms
        && ngx_push_read_cmp(&last, &ngx_push_read_expect) < 0)
    {
        ngx_push_read_set(ngx_push_read_expect.ms, ngx_push_read_expect.seq);

        ngx_push_count(bus_gaps);
        ngx_push_bus_check("entries of the bus are gone");
    }

    ngx_push_read_expect.ms = 0;

    ngx_push_bus_key(buf, &key, ngx_push_node_name.data,
                     ngx_push_node_name.len);

    buf[key.len] = '\0';

    argv[0] = "XINFO";
    argv[1] = "STREAM";
    argv[2] = (char *) buf;

    ngx_push_read_call(argv, 3, ngx_push_read_known);
}


static void
ngx_push_read_known(void *data, ngx_int_t rc, redisReply *reply)
{
    size_t               i;
    ngx_push_read_id_t   id, last;

    if (ngx_push_self == NULL || !ngx_push_role_mine()) {
        return;
    }

    if (rc == NGX_DECLINED && reply && reply->str
        && ngx_strstr(reply->str, "no such key") != NULL)
    {
        ngx_push_read_gone();
        return;
    }

    if (rc != NGX_OK || reply->type != REDIS_REPLY_ARRAY) {
        return;
    }

    for (i = 0; i + 1 < reply->elements; i += 2) {
        if (reply->element[i]->type == REDIS_REPLY_STRING
            && ngx_strcmp(reply->element[i]->str, "last-generated-id") == 0
            && ngx_push_read_id(reply->element[i + 1], &id) == NGX_OK)
        {
            break;
        }
    }

    if (i + 1 >= reply->elements) {
        return;
    }

    ngx_push_read_at(&last);

    if (last.seq != NGX_PUSH_READ_NONE && ngx_push_read_cmp(&id, &last) < 0) {

        /* another stream, by a clock that was set back */

        ngx_push_read_gone();
        return;
    }

    if (ngx_push_read_cmp(&last, &id) < 0) {
        ngx_push_read_expect = id;
    }
}


static void
ngx_push_read_gone(void)
{
    if (ngx_push_nodes->last_seq == NGX_PUSH_READ_NONE) {
        return;
    }

    ngx_push_read_set(0, NGX_PUSH_READ_NONE);

    ngx_push_count(bus_gaps);
    ngx_push_bus_check("the bus is gone");

    /* its next id may be below the one that is waited for */

    if (ngx_push_reading) {
        ngx_push_redis_unblock();
    }
}


static void
ngx_push_read_full(ngx_push_read_id_t *before)
{
    u_char       buf[NGX_PUSH_REDIS_KEY], id[2 * NGX_INT64_LEN];
    ngx_str_t    key;
    const char  *argv[4];

    if (before->seq == NGX_PUSH_READ_NONE) {
        return;
    }

    ngx_push_bus_key(buf, &key, ngx_push_node_name.data,
                     ngx_push_node_name.len);

    buf[key.len] = '\0';
    *ngx_sprintf(id, "%uL-%uL", before->ms, before->seq) = '\0';

    argv[0] = "XRANGE";
    argv[1] = (char *) buf;
    argv[2] = (char *) id;
    argv[3] = (char *) id;

    ngx_push_read_call(argv, 4, ngx_push_read_there);
}


static void
ngx_push_read_there(void *data, ngx_int_t rc, redisReply *reply)
{
    if (ngx_push_self == NULL
        || (rc == NGX_OK && reply->type == REDIS_REPLY_ARRAY
            && reply->elements))
    {
        return;
    }

    ngx_push_count(bus_gaps);
    ngx_push_bus_check("the bus was trimmed");
}


static ngx_int_t
ngx_push_read_id(redisReply *reply, ngx_push_read_id_t *id)
{
    char  *end;

    if (reply->type != REDIS_REPLY_STRING) {
        return NGX_ERROR;
    }

    id->ms = strtoull(reply->str, &end, 10);

    if (*end != '-') {
        return NGX_ERROR;
    }

    id->seq = strtoull(end + 1, NULL, 10);

    return NGX_OK;
}


static ngx_int_t
ngx_push_read_cmp(ngx_push_read_id_t *a, ngx_push_read_id_t *b)
{
    if (a->ms != b->ms) {
        return a->ms < b->ms ? -1 : 1;
    }

    return a->seq < b->seq ? -1 : a->seq > b->seq;
}


static void
ngx_push_read_at(ngx_push_read_id_t *id)
{
    id->ms = ngx_push_nodes->last_ms;
    id->seq = ngx_push_nodes->last_seq;
}


/* Who dies in between leaves an id that is earlier: that is read again. */

static void
ngx_push_read_set(uint64_t ms, uint64_t seq)
{
    ngx_push_nodes->last_seq = 0;
    ngx_memory_barrier();
    ngx_push_nodes->last_ms = ms;
    ngx_memory_barrier();
    ngx_push_nodes->last_seq = seq;
}


/* A command of words, on the key of the bus, that need not hold up a push. */

static void
ngx_push_read_call(const char **argv, ngx_uint_t n, ngx_push_redis_pt handler)
{
    u_char                  buf[NGX_PUSH_REDIS_KEY];
    size_t                  lens[4];
    ngx_str_t               key;
    ngx_uint_t              i;
    ngx_push_redis_call_t   call;

    ngx_push_bus_key(buf, &key, ngx_push_node_name.data,
                     ngx_push_node_name.len);

    for (i = 0; i < n; i++) {
        lens[i] = ngx_strlen(argv[i]);
    }

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));
    call.key = &key;
    call.argc = n;
    call.argv = argv;
    call.argvlen = lens;
    call.handler = handler;
    call.urgent = 1;

    if (ngx_push_redis_call(&call) != NGX_AGAIN
        && handler == ngx_push_read_there)
    {
        handler(NULL, NGX_ERROR, NULL);
    }
}
