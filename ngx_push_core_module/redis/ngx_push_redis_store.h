
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_REDIS_STORE_H_INCLUDED_
#define _NGX_PUSH_REDIS_STORE_H_INCLUDED_


/* What the files of the store in Redis know of each other. */


#include "ngx_push_redis_node.h"


/*
 * Memory of what waits for an answer: recycled by size class, so that a push
 * allocates nothing in steady state.  NULL: no memory.
 */

void *ngx_push_redis_take(size_t size);
void ngx_push_redis_give(void *p);
void ngx_push_redis_give_all(void);    /* what is kept, back to the system */


/* Blobs, as docs/redis.md has them. */

#define NGX_PUSH_BLOB_HEAD      21

size_t ngx_push_blob_size(ngx_push_save_t *op);
void ngx_push_blob_write(u_char *p, ngx_push_save_t *op, time_t created,
    time_t expires);
void ngx_push_blob_times(ngx_str_t *blob, time_t created, time_t expires);

/*
 * Sets what the blob says in "m" and makes its payload one link that points
 * into the blob.  NGX_OK; NGX_DECLINED: no blob of a version known here.
 */

typedef struct {
    ngx_push_mirror_t    m;
    ngx_buf_t            buf;
    ngx_chain_t          chain;
} ngx_push_blob_t;

ngx_int_t ngx_push_blob_read(ngx_push_blob_t *b, ngx_str_t *blob);

/* Reads the head alone: created, expires and the size of the payload. */

ngx_int_t ngx_push_blob_head(ngx_str_t *head, size_t size, time_t *created,
    time_t *expires, size_t *payload);


/* Replies.  An element that is none of these: an empty string, 0. */

ngx_uint_t ngx_push_reply_size(redisReply *r);
void ngx_push_reply_str(redisReply *r, ngx_uint_t i, ngx_str_t *s);
uint64_t ngx_push_reply_num(redisReply *r, ngx_uint_t i);
uint64_t ngx_push_reply_hex(redisReply *r, ngx_uint_t i);
redisReply *ngx_push_reply_array(redisReply *r, ngx_uint_t i);

/* Of a message without an answer: what to answer; logs an error reply. */

ngx_int_t ngx_push_reply_error(ngx_int_t rc, redisReply *r, const char *what);


/* The device hash and the interest hash, one value of them. */

typedef struct {
    ngx_str_t            node;
    uint32_t             epoch;
    ngx_uint_t           online;       /* devices */
    uint64_t             incarnation;  /* devices: inbox cursor */
    uint64_t             sent;
    uint64_t             acked;
} ngx_push_whereabouts_t;

ngx_int_t ngx_push_whereabouts(redisReply *who, ngx_push_kind_t kind,
    ngx_uint_t *i, ngx_push_whereabouts_t *w);

/*
 * Gives a message to the nodes that have devices for it online: HVALS of the
 * device hash or HGETALL of the interest hash says which.  The own zone, the
 * others by bus, each once.  Returns the number of those devices.
 */

ngx_uint_t ngx_push_redis_tell(redisReply *who, ngx_push_mirror_t *m,
    ngx_str_t *blob);

/* The command that reads it. */

const char *ngx_push_redis_how(ngx_push_kind_t kind);
u_char ngx_push_redis_where(ngx_push_kind_t kind);   /* suffix of its key */


/* The entries of the store. */

ngx_int_t ngx_push_redis_save(ngx_push_save_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle);
ngx_int_t ngx_push_redis_status(ngx_push_status_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle);
ngx_int_t ngx_push_redis_read(ngx_push_read_t *op, ngx_push_done_pt done,
    ngx_push_handle_t handle);
void ngx_push_redis_load(ngx_push_need_t *need);

/*
 * One call of load.lua.  "upto" 0: to the last.  Answers as a call does.
 */

ngx_int_t ngx_push_redis_page(ngx_push_target_t *t, uint64_t incarnation,
    uint64_t after, uint64_t upto, ngx_uint_t max, size_t bytes,
    ngx_push_redis_pt handler, void *data);

/*
 * A message has been sent to be saved and nobody knows whether it was: who is
 * online would not hear of it before the log's next one.  Once Redis answers
 * again, the log's last message is told to everybody; or, "here", to this
 * node, which has had a note of a message and could not fetch it.
 */

void ngx_push_redis_doubt(ngx_push_target_t *t, ngx_uint_t here);

extern ngx_push_redis_script_t  ngx_push_redis_save_script;
extern ngx_push_redis_script_t  ngx_push_redis_load_script;


#endif /* _NGX_PUSH_REDIS_STORE_H_INCLUDED_ */
