
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * The sending end of the bus.  Frames of one turn of the event loop become
 * one entry for each node, more when they are many, and are added to the
 * node's stream when the turn ends.
 *
 * An entry is kept until its XADD was answered.  One that was refused, or of
 * which nobody knows, is added again, with its number: the reader takes no
 * harm from an entry twice, and looks for what it lacks when a number was
 * left out.  While a stream cannot be written to, entries wait in a queue of
 * bounded size, and the first of them is tried now and then; if one must be
 * given up, a CHECK goes when the rest does.
 */


#include "ngx_push_redis_bus.h"


#define NGX_PUSH_SEND_ENTRY     65536  /* octets; a new entry is begun then */
#define NGX_PUSH_SEND_LEAST     4096   /* octets taken for one */
#define NGX_PUSH_SEND_QUEUE     (4 * 1024 * 1024)      /* of one node */
#define NGX_PUSH_SEND_AGAIN     200    /* ms */
#define NGX_PUSH_SEND_NOTE      16384  /* a larger message is only noted */


typedef struct ngx_push_send_node_s   ngx_push_send_node_t;
typedef struct ngx_push_send_entry_s  ngx_push_send_entry_t;


struct ngx_push_send_entry_s {
    ngx_push_send_entry_t  *next;
    ngx_push_send_node_t   *node;
    uint64_t                number;
    size_t                  len;
    size_t                  size;
    ngx_uint_t              frames;
    u_char                  data[];
};


/* Another node, for the life of this process: its numbers must stay dense. */

struct ngx_push_send_node_s {
    ngx_push_send_node_t   *next;
    uint64_t                number;    /* of the last entry */
    ngx_push_send_entry_t  *batch;     /* being filled */
    ngx_push_send_entry_t  *queue;     /* to be sent, by number */
    ngx_push_send_entry_t  *last;      /* of the queue */
    size_t                  bytes;     /* of the queue, in memory */
    ngx_uint_t              flying;    /* entries without an answer yet */
    unsigned                failing:1; /* the queue waits for the timer */
    unsigned                trying:1;  /* it failed: one at a time */
    unsigned                lost:1;    /* entries were given up */
    size_t                  len;
    u_char                  name[NGX_PUSH_NODE_NAME];
};


static ngx_push_send_node_t *ngx_push_send_node(u_char *name, size_t len);
static ngx_push_send_entry_t *ngx_push_send_begin(ngx_push_send_node_t *node,
    size_t size);
static void ngx_push_send_seal(ngx_push_send_node_t *node);
static void ngx_push_send_queue(ngx_push_send_node_t *node,
    ngx_push_send_entry_t *entry);
static ngx_push_send_entry_t *ngx_push_send_take(ngx_push_send_node_t *node);
static void ngx_push_send_pump(ngx_push_send_node_t *node);
static ngx_int_t ngx_push_send_entry(ngx_push_send_entry_t *entry);
static void ngx_push_send_done(void *data, ngx_int_t rc, redisReply *reply);
static void ngx_push_send_failed(ngx_push_send_node_t *node);
static void ngx_push_send_again(ngx_event_t *ev);
static void ngx_push_send_turn(ngx_event_t *ev);


static ngx_push_send_node_t  *ngx_push_send_nodes;
static ngx_event_t            ngx_push_send_event;
static ngx_event_t            ngx_push_again_event;


void
ngx_push_bus_send_init(void)
{
    ngx_push_bus_event(&ngx_push_send_event, ngx_push_send_turn);
    ngx_push_bus_event(&ngx_push_again_event, ngx_push_send_again);
}


void
ngx_push_bus_key(u_char *buf, ngx_str_t *key, u_char *name, size_t len)
{
    ngx_push_redis_conf_t  *rcf;

    rcf = ngx_push_redis_conf();

    key->data = buf;
    key->len = ngx_snprintf(buf, NGX_PUSH_REDIS_KEY, "%Vbus:{%*s}",
                            &rcf->prefix, len, name)
               - buf;
}


void
ngx_push_bus_message(ngx_str_t *name, ngx_push_bus_message_t *m)
{
    ngx_push_frame_t  f;

    ngx_memzero(&f, sizeof(ngx_push_frame_t));

    f.type = NGX_PUSH_FRAME_IS_MESSAGE;
    f.kind = (uint8_t) m->target->kind;
    f.incarnation = m->incarnation;
    f.seq = m->seq;
    f.product.data = m->target->product->name.data;
    f.product.len = m->target->product->name.len;
    f.name.data = m->target->name.data;
    f.name.len = m->target->name.len;

    if (m->blob->len <= NGX_PUSH_SEND_NOTE || m->seq == 0) {
        f.blob.data = m->blob->data;
        f.blob.len = m->blob->len;
    }

    ngx_push_bus_frame(name->data, name->len, &f);
}


void
ngx_push_bus_frame(u_char *name, size_t len, ngx_push_frame_t *f)
{
    size_t                  size;
    u_char                 *p;
    ngx_push_send_node_t   *node;
    ngx_push_send_entry_t  *entry;

    node = ngx_push_send_node(name, len);

    if (node == NULL) {
        return;
    }

    size = ngx_push_frame_size(f);
    entry = node->batch;

    if (entry && entry->size - entry->len < size) {
        ngx_push_send_seal(node);
        entry = NULL;
    }

    if (entry == NULL) {
        entry = ngx_push_send_begin(node, size);

        if (entry == NULL) {
            node->lost = 1;
            ngx_push_send_failed(node);
            return;
        }
    }

    p = ngx_push_frame_write(entry->data + entry->len, f);

    entry->len = p - entry->data;
    entry->frames++;

    if (!ngx_push_send_event.posted) {
        ngx_post_event(&ngx_push_send_event, &ngx_posted_events);
    }
}


static ngx_push_send_node_t *
ngx_push_send_node(u_char *name, size_t len)
{
    ngx_push_send_node_t  *node;

    for (node = ngx_push_send_nodes; node; node = node->next) {
        if (node->len == len && ngx_memcmp(node->name, name, len) == 0) {
            return node;
        }
    }

    if (len == 0 || len >= NGX_PUSH_NODE_NAME) {
        return NULL;
    }

    node = ngx_calloc(sizeof(ngx_push_send_node_t), ngx_cycle->log);

    if (node == NULL) {

        /* its devices find out by a CHECK from somebody, this one is late */

        ngx_push_bus_check("no memory");
        return NULL;
    }

    ngx_memcpy(node->name, name, len);
    node->len = len;
    node->next = ngx_push_send_nodes;
    ngx_push_send_nodes = node;

    return node;
}


/* Under load frames come many in a turn, else mostly one. */

static ngx_push_send_entry_t *
ngx_push_send_begin(ngx_push_send_node_t *node, size_t size)
{
    size_t                   least;
    ngx_push_send_entry_t   *entry;
    ngx_push_frame_entry_t   head;

    least = node->flying ? NGX_PUSH_SEND_ENTRY : NGX_PUSH_SEND_LEAST;
    size = ngx_max(size + NGX_PUSH_FRAME_ENTRY, least);

    entry = ngx_alloc(sizeof(ngx_push_send_entry_t) + size, ngx_cycle->log);

    if (entry == NULL) {
        return NULL;
    }

    entry->next = NULL;
    entry->node = node;
    entry->number = ++node->number;
    entry->size = size;
    entry->frames = 0;

    head.epoch = ngx_push_node_epoch;
    head.slot = (uint16_t) ngx_push_self->index;
    head.gen = ngx_push_self->gen;
    head.number = entry->number;
    head.node.data = ngx_push_node_name.data;
    head.node.len = ngx_push_node_name.len;

    entry->len = ngx_push_frame_write_entry(entry->data, &head) - entry->data;

    node->batch = entry;

    return entry;
}


/* What an entry was not filled with is given back: it may wait long. */

static void
ngx_push_send_seal(ngx_push_send_node_t *node)
{
    ngx_push_send_entry_t  *entry, *less;

    entry = node->batch;

    if (entry) {
        node->batch = NULL;

        less = realloc(entry, sizeof(ngx_push_send_entry_t) + entry->len);

        if (less) {
            entry = less;
            entry->size = entry->len;
        }

        ngx_push_send_queue(node, entry);
    }
}


/* Into its place by number; gives up the oldest when there is too much. */

static void
ngx_push_send_queue(ngx_push_send_node_t *node, ngx_push_send_entry_t *entry)
{
    ngx_push_send_entry_t  **e;

    e = &node->queue;

    if (node->last && node->last->number < entry->number) {
        e = &node->last->next;
    }

    while (*e && (*e)->number < entry->number) {
        e = &(*e)->next;
    }

    entry->next = *e;
    *e = entry;
    node->bytes += sizeof(ngx_push_send_entry_t) + entry->size;

    if (entry->next == NULL) {
        node->last = entry;
    }

    while (node->bytes > NGX_PUSH_SEND_QUEUE && node->queue->next) {
        node->lost = 1;

        ngx_push_count(bus_dropped);
        ngx_free(ngx_push_send_take(node));
    }
}


static ngx_push_send_entry_t *
ngx_push_send_take(ngx_push_send_node_t *node)
{
    ngx_push_send_entry_t  *entry;

    entry = node->queue;

    node->queue = entry->next;
    node->bytes -= sizeof(ngx_push_send_entry_t) + entry->size;

    if (node->queue == NULL) {
        node->last = NULL;
    }

    return entry;
}


static void
ngx_push_send_pump(ngx_push_send_node_t *node)
{
    ngx_push_frame_t        f;
    ngx_push_send_entry_t  *entry;

    if (node->failing) {
        return;
    }

    if (node->lost && (!node->trying || node->queue == NULL)) {
        node->lost = 0;

        ngx_memzero(&f, sizeof(ngx_push_frame_t));
        f.type = NGX_PUSH_FRAME_IS_CHECK;

        ngx_push_bus_frame(node->name, node->len, &f);
        ngx_push_send_seal(node);
    }

    while (node->queue && !(node->trying && node->flying)) {
        entry = ngx_push_send_take(node);

        if (ngx_push_send_entry(entry) != NGX_OK) {
            ngx_push_send_queue(node, entry);
            ngx_push_send_failed(node);
            return;
        }
    }
}


static ngx_int_t
ngx_push_send_entry(ngx_push_send_entry_t *entry)
{
    u_char                  buf[NGX_PUSH_REDIS_KEY], max[NGX_INT64_LEN];
    ngx_str_t               key;
    const char             *argv[8];
    size_t                  lens[8];
    ngx_push_redis_call_t   call;

    static char  *words[] = { "XADD", NULL, "MAXLEN", "~", NULL, "*", "f" };

    ngx_push_bus_key(buf, &key, entry->node->name, entry->node->len);

    ngx_memcpy(argv, words, sizeof(words));

    argv[1] = (char *) key.data;
    argv[4] = (char *) max;
    argv[7] = (char *) entry->data;

    lens[0] = 4;
    lens[1] = key.len;
    lens[2] = 6;
    lens[3] = 1;
    lens[4] = ngx_sprintf(max, "%ui", ngx_push_redis_conf()->bus_limit) - max;
    lens[5] = 1;
    lens[6] = 1;
    lens[7] = entry->len;

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));
    call.key = &key;
    call.argc = 8;
    call.argv = argv;
    call.argvlen = lens;
    call.handler = ngx_push_send_done;
    call.data = entry;
    call.urgent = 1;

    if (ngx_push_redis_call(&call) != NGX_AGAIN) {
        return NGX_ERROR;
    }

    entry->node->flying++;

    return NGX_OK;
}


static void
ngx_push_send_done(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_send_node_t   *node;
    ngx_push_send_entry_t  *entry;

    entry = data;
    node = entry->node;
    node->flying--;

    if (ngx_push_self == NULL) {
        return;
    }

    if (rc == NGX_OK) {
        ngx_push_count(bus_out);
        ngx_push_count_add(bus_out_frames, entry->frames);

        ngx_free(entry);

        if (node->trying) {
            node->trying = 0;
            ngx_push_send_pump(node);
        }

        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "push: the bus of node \"%*s\" refuses an entry: \"%s\"",
                      node->len, node->name,
                      reply && reply->str ? reply->str : "");
    }

    ngx_push_count(bus_failed);

    ngx_push_send_queue(node, entry);
    ngx_push_send_failed(node);
}


static void
ngx_push_send_failed(ngx_push_send_node_t *node)
{
    node->failing = 1;
    node->trying = 1;

    if (!ngx_push_again_event.timer_set) {
        ngx_add_timer(&ngx_push_again_event, NGX_PUSH_SEND_AGAIN);
    }
}


static void
ngx_push_send_again(ngx_event_t *ev)
{
    ngx_push_send_node_t  *node;

    for (node = ngx_push_send_nodes; node; node = node->next) {
        if (node->failing) {
            node->failing = 0;
            ngx_push_send_pump(node);
        }
    }
}


static void
ngx_push_send_turn(ngx_event_t *ev)
{
    ngx_push_send_node_t  *node;

    for (node = ngx_push_send_nodes; node; node = node->next) {
        ngx_push_send_seal(node);

        if (node->queue || node->lost) {
            ngx_push_send_pump(node);
        }
    }
}


ngx_uint_t
ngx_push_bus_sent(void)
{
    ngx_push_send_node_t  *node;

    for (node = ngx_push_send_nodes; node; node = node->next) {
        if (node->batch || node->queue || node->lost || node->flying) {
            return 0;
        }
    }

    return 1;
}
