
/*
 * Copyright (C) the ngx_push authors
 */


/* What scripts answer, and the whereabouts of devices in it. */


#include "ngx_push_redis_store.h"


#define NGX_PUSH_TOLD           64     /* nodes of one user remembered */


static ngx_uint_t ngx_push_whereabouts_next(u_char **p, u_char *end,
    ngx_str_t *word);
static uint64_t ngx_push_word_num(ngx_str_t *word);
static uint64_t ngx_push_word_hex(ngx_str_t *word);


ngx_uint_t
ngx_push_reply_size(redisReply *r)
{
    return r && r->type == REDIS_REPLY_ARRAY ? r->elements : 0;
}


void
ngx_push_reply_str(redisReply *r, ngx_uint_t i, ngx_str_t *s)
{
    redisReply  *e;

    ngx_str_null(s);

    if (i < ngx_push_reply_size(r)) {
        e = r->element[i];

        if (e->type == REDIS_REPLY_STRING || e->type == REDIS_REPLY_STATUS) {
            s->data = (u_char *) e->str;
            s->len = e->len;
        }
    }
}


uint64_t
ngx_push_reply_num(redisReply *r, ngx_uint_t i)
{
    if (i < ngx_push_reply_size(r)
        && r->element[i]->type == REDIS_REPLY_INTEGER
        && r->element[i]->integer > 0)
    {
        return r->element[i]->integer;
    }

    return 0;
}


uint64_t
ngx_push_reply_hex(redisReply *r, ngx_uint_t i)
{
    ngx_str_t  s;

    ngx_push_reply_str(r, i, &s);

    return ngx_push_word_hex(&s);
}


redisReply *
ngx_push_reply_array(redisReply *r, ngx_uint_t i)
{
    if (i < ngx_push_reply_size(r)
        && r->element[i]->type == REDIS_REPLY_ARRAY)
    {
        return r->element[i];
    }

    return NULL;
}


/*
 * An error reply of a script or command here is of its first look at a key:
 * nothing was changed.  One line a second at most.
 */

ngx_int_t
ngx_push_reply_error(ngx_int_t rc, redisReply *r, const char *what)
{
    static time_t  last;

    if (rc != NGX_DECLINED && rc != NGX_OK) {
        return rc;
    }

    if (last != ngx_time()) {
        last = ngx_time();

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "push: redis: %s: %s", what,
                      r && r->type == REDIS_REPLY_ERROR && r->str
                      ? r->str : "an answer that is not understood");
    }

    return NGX_ERROR;
}


const char *
ngx_push_redis_how(ngx_push_kind_t kind)
{
    switch (kind) {

    case NGX_PUSH_INBOX:
        return "HVALS";

    case NGX_PUSH_UPLINK:
        return "";

    default:
        return "HGETALL";
    }
}


u_char
ngx_push_redis_where(ngx_push_kind_t kind)
{
    return kind == NGX_PUSH_INBOX ? 'd' : 'n';
}


/* The value at "i", which is moved on.  NGX_DONE: no more. */

ngx_int_t
ngx_push_whereabouts(redisReply *who, ngx_push_kind_t kind, ngx_uint_t *i,
    ngx_push_whereabouts_t *w)
{
    u_char     *p, *end;
    ngx_str_t   value, epoch, word;

    ngx_memzero(w, sizeof(ngx_push_whereabouts_t));

    if (kind != NGX_PUSH_INBOX) {
        if (*i + 1 >= ngx_push_reply_size(who)) {
            return NGX_DONE;
        }

        ngx_push_reply_str(who, (*i)++, &w->node);
    }

    if (*i >= ngx_push_reply_size(who)) {
        return NGX_DONE;
    }

    ngx_push_reply_str(who, (*i)++, &value);

    p = value.data;
    end = p + value.len;

    if ((kind == NGX_PUSH_INBOX && !ngx_push_whereabouts_next(&p, end,
                                                              &w->node))
        || !ngx_push_whereabouts_next(&p, end, &epoch)
        || !ngx_push_whereabouts_next(&p, end, &word))
    {
        return NGX_DECLINED;
    }

    w->epoch = (uint32_t) ngx_push_word_hex(&epoch);

    if (kind != NGX_PUSH_INBOX) {
        w->online = (ngx_uint_t) ngx_push_word_num(&word);
        return NGX_OK;
    }

    /* "word" was the claim: state, since, incarnation, sent, acked */

    if (!ngx_push_whereabouts_next(&p, end, &word)) {
        return NGX_DECLINED;
    }

    w->online = word.len == 1 && word.data[0] == 'o';

    if (ngx_push_whereabouts_next(&p, end, &word)
        && ngx_push_whereabouts_next(&p, end, &word))
    {
        w->incarnation = ngx_push_word_hex(&word);

        if (ngx_push_whereabouts_next(&p, end, &word)) {
            w->sent = ngx_push_word_num(&word);
        }

        if (ngx_push_whereabouts_next(&p, end, &word)) {
            w->acked = ngx_push_word_num(&word);
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_push_whereabouts_next(u_char **p, u_char *end, ngx_str_t *word)
{
    u_char  *space;

    if (*p >= end) {
        return 0;
    }

    space = memchr(*p, ' ', end - *p);

    word->data = *p;
    word->len = (space ? space : end) - *p;
    *p = space ? space + 1 : end;

    return 1;
}


static uint64_t
ngx_push_word_num(ngx_str_t *word)
{
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < word->len && i < 19; i++) {
        if (word->data[i] < '0' || word->data[i] > '9') {
            return 0;
        }

        n = n * 10 + (word->data[i] - '0');
    }

    return n;
}


static uint64_t
ngx_push_word_hex(ngx_str_t *word)
{
    u_char    c;
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < word->len && i < 16; i++) {
        c = word->data[i] | 0x20;

        if (c >= '0' && c <= '9') {
            n = n << 4 | (c - '0');

        } else if (c >= 'a' && c <= 'f') {
            n = n << 4 | (c - 'a' + 10);

        } else {
            return 0;
        }
    }

    return n;
}


/*
 * A device is told by its node whatever the lease of that says when the node
 * is this one.  An entry that does not say "online" may be about to: the own
 * zone knows best who is.
 */

ngx_uint_t
ngx_push_redis_tell(redisReply *who, ngx_push_mirror_t *m, ngx_str_t *blob)
{
    ngx_int_t                rc;
    ngx_uint_t               i, k, ntold, here, reached;
    ngx_str_t                told[NGX_PUSH_TOLD];
    ngx_push_whereabouts_t   w;
    ngx_push_bus_message_t   bm;

    bm.target = &m->target;
    bm.incarnation = m->incarnation;
    bm.seq = m->seq;
    bm.blob = blob;

    here = 0;
    ntold = 0;
    reached = 0;
    i = 0;

    while ((rc = ngx_push_whereabouts(who, m->target.kind, &i, &w))
           != NGX_DONE)
    {
        if (rc != NGX_OK) {
            continue;
        }

        if (w.node.len == ngx_push_node_name.len
            && ngx_memcmp(w.node.data, ngx_push_node_name.data, w.node.len)
               == 0)
        {
            here |= (w.epoch == ngx_push_node_epoch);

            continue;
        }

        if (w.online == 0 || !ngx_push_node_alive(&w.node, w.epoch)) {
            continue;
        }

        reached += w.online;

        for (k = 0; k < ntold; k++) {
            if (told[k].len == w.node.len
                && ngx_memcmp(told[k].data, w.node.data, w.node.len) == 0)
            {
                break;
            }
        }

        if (k < ntold) {
            continue;
        }

        if (ntold < NGX_PUSH_TOLD) {
            told[ntold++] = w.node;
        }

        ngx_push_bus_message(&w.node, &bm);
    }

    if (here) {
        if (m->seq) {
            (void) ngx_push_mirror_put(m);

        } else {
            (void) ngx_push_mirror_once(m);
        }

        reached += m->reached;
    }

    return reached;
}
