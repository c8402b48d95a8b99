
/*
 * Copyright (C) the ngx_push authors
 */


/* Entries of a user's devices, and calls of the register's scripts. */


#include "ngx_push_redis_register.h"


static u_char *ngx_push_entry_word(u_char *p, u_char *end, ngx_str_t *word);
static uint64_t ngx_push_entry_number(ngx_str_t *word, ngx_uint_t base);


/* Up to the next space, which is passed; NULL: there is none. */

static u_char *
ngx_push_entry_word(u_char *p, u_char *end, ngx_str_t *word)
{
    u_char  *space;

    if (p == NULL) {
        return NULL;
    }

    space = ngx_strlchr(p, end, ' ');

    if (space == NULL) {
        return NULL;
    }

    word->data = p;
    word->len = space - p;

    return space + 1;
}


/* Digits were written by a script of ours: what is not one is passed over. */

static uint64_t
ngx_push_entry_number(ngx_str_t *word, ngx_uint_t base)
{
    u_char    c;
    size_t    i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < word->len; i++) {
        c = word->data[i];

        if (c >= '0' && c <= '9') {
            n = n * base + (c - '0');

        } else if (base == 16 && (c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            n = n * base + ((c | 0x20) - 'a' + 10);
        }
    }

    return n;
}


ngx_int_t
ngx_push_device_entry(ngx_push_device_entry_t *e, u_char *data, size_t len)
{
    u_char     *p, *end;
    ngx_str_t   epoch, claim, state, since, incarnation, sent, acked;

    end = data + len;

    p = ngx_push_entry_word(data, end, &e->node);
    p = ngx_push_entry_word(p, end, &epoch);
    p = ngx_push_entry_word(p, end, &claim);
    p = ngx_push_entry_word(p, end, &state);
    p = ngx_push_entry_word(p, end, &since);
    p = ngx_push_entry_word(p, end, &incarnation);
    p = ngx_push_entry_word(p, end, &sent);
    p = ngx_push_entry_word(p, end, &acked);

    if (p == NULL || state.len != 1) {
        return NGX_DECLINED;
    }

    e->epoch = (uint32_t) ngx_push_entry_number(&epoch, 16);
    e->claim = (uint32_t) ngx_push_entry_number(&claim, 10);
    e->state = state.data[0];
    e->since = (time_t) ngx_push_entry_number(&since, 10);
    e->incarnation = ngx_push_entry_number(&incarnation, 16);
    e->sent = ngx_push_entry_number(&sent, 10);
    e->acked = ngx_push_entry_number(&acked, 10);
    e->rest.data = p;
    e->rest.len = end - p;

    return NGX_OK;
}


ngx_uint_t
ngx_push_device_here(ngx_push_device_entry_t *e)
{
    return e->epoch == ngx_push_node_epoch
           && e->node.len == ngx_push_node_name.len
           && ngx_memcmp(e->node.data, ngx_push_node_name.data, e->node.len)
              == 0;
}


void
ngx_push_reg_begin(ngx_push_reg_call_t *c, ngx_push_redis_script_t *script,
    ngx_uint_t urgent)
{
    c->script = script;
    c->urgent = urgent;
    c->nkeys = 0;
    c->argc = 0;
}


void
ngx_push_reg_key(ngx_push_reg_call_t *c, ngx_push_target_t *t, u_char suffix)
{
    ngx_str_t  key;

    ngx_push_redis_key(c->keys[c->nkeys], &key, t, suffix);

    if (c->nkeys == 0) {
        c->key = key;
    }

    c->nkeys++;
    ngx_push_reg_str(c, &key);
}


void
ngx_push_reg_user(ngx_push_reg_call_t *c, ngx_push_product_t *product,
    ngx_str_t *user)
{
    ngx_push_target_t  t;

    ngx_memzero(&t, sizeof(ngx_push_target_t));

    t.kind = NGX_PUSH_INBOX;
    t.product = product;
    t.name = *user;

    ngx_push_reg_key(c, &t, 'd');
    ngx_push_reg_key(c, &t, 'q');
}


void
ngx_push_reg_field(ngx_push_reg_call_t *c, ngx_push_product_t *product,
    ngx_push_product_t *own, ngx_str_t *device)
{
    ngx_str_t  field;

    field.data = c->field;
    field.len = ngx_push_reg_name(c->field, product, own, device);

    ngx_push_reg_str(c, &field);
}


size_t
ngx_push_reg_name(u_char *field, ngx_push_product_t *product,
    ngx_push_product_t *own, ngx_str_t *device)
{
    u_char  *p;

    p = field;

    if (product != own) {
        p = ngx_cpymem(p, own->name.data, own->name.len);
        *p++ = '\0';
    }

    p = ngx_cpymem(p, device->data, device->len);

    return p - field;
}


u_char *
ngx_push_reg_copy(u_char *p, ngx_str_t *s)
{
    u_char  *start;

    start = p;

    if (s->len) {
        p = ngx_cpymem(p, s->data, s->len);
    }

    s->data = start;

    return p;
}


void
ngx_push_reg_str(ngx_push_reg_call_t *c, ngx_str_t *s)
{
    c->argv[c->argc] = s->len ? (const char *) s->data : "";
    c->argvlen[c->argc] = s->len;
    c->argc++;
}


void
ngx_push_reg_number(ngx_push_reg_call_t *c, uint64_t n)
{
    ngx_str_t  s;

    s.data = c->numbers[c->argc];
    s.len = ngx_sprintf(s.data, "%uL", n) - s.data;

    ngx_push_reg_str(c, &s);
}


void
ngx_push_reg_hex(ngx_push_reg_call_t *c, uint64_t n)
{
    ngx_str_t  s;

    s.data = c->numbers[c->argc];
    s.len = ngx_sprintf(s.data, "%xL", n) - s.data;

    ngx_push_reg_str(c, &s);
}


void
ngx_push_reg_node(ngx_push_reg_call_t *c)
{
    ngx_push_reg_str(c, &ngx_push_node_name);
    ngx_push_reg_hex(c, ngx_push_node_epoch);
}


ngx_int_t
ngx_push_reg_send(ngx_push_reg_call_t *c, ngx_push_redis_pt handler,
    void *data)
{
    ngx_push_redis_call_t  call;

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));

    call.script = c->script;
    call.key = &c->key;
    call.nkeys = c->nkeys;
    call.argc = c->argc;
    call.argv = c->argv;
    call.argvlen = c->argvlen;
    call.handler = handler;
    call.data = data;
    call.urgent = c->urgent;

    return ngx_push_redis_call(&call);
}


uint64_t
ngx_push_reply_number(redisReply *reply, ngx_uint_t n)
{
    ngx_str_t  s;

    if (reply && reply->type == REDIS_REPLY_ARRAY && n < reply->elements
        && reply->element[n]->type == REDIS_REPLY_INTEGER)
    {
        return reply->element[n]->integer;
    }

    ngx_push_reply_str(reply, n, &s);

    return ngx_push_entry_number(&s, 10);
}
