
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_REDIS_FRAME_H_INCLUDED_
#define _NGX_PUSH_REDIS_FRAME_H_INCLUDED_


/*
 * Entries of a bus as bytes: who sends, the number of the entry, and frames.
 * Numbers are in network order, names have a length byte before them.
 *
 *   entry:  version 1, epoch 4, slot 2, generation 4, number 8, node
 *   frame:  type 1, length 4, and of that length:
 *
 *     MESSAGE   kind 1, incarnation 8, seq 8, product, name, blob
 *     KICK      ticket 8, slot 2, generation 4, claim 4, reason 1, product,
 *               user, device
 *     RELEASED  ticket 8, slot 2, generation 4
 *     CHECK, REFLUSH  nothing
 *
 * A frame of an unknown type is passed over.  Pure: no header of nginx's, no
 * allocation; what was parsed points into what it was parsed from.
 */


#include <stddef.h>
#include <stdint.h>


#define NGX_PUSH_FRAME_VERSION   1
#define NGX_PUSH_FRAME_NAME      255

#define NGX_PUSH_FRAME_ENTRY     (1 + 4 + 2 + 4 + 8 + 1 + 255)
#define NGX_PUSH_FRAME_HEAD      (1 + 4)
#define NGX_PUSH_FRAME_MESSAGE   (1 + 8 + 8 + 2 * (1 + 255))
#define NGX_PUSH_FRAME_KICK      (8 + 2 + 4 + 4 + 1 + 3 * (1 + 255))


typedef enum {
    NGX_PUSH_FRAME_OK = 0,
    NGX_PUSH_FRAME_END,                /* nothing is left */
    NGX_PUSH_FRAME_BAD
} ngx_push_frame_rc_t;


typedef enum {
    NGX_PUSH_FRAME_IS_MESSAGE = 1,
    NGX_PUSH_FRAME_IS_KICK,
    NGX_PUSH_FRAME_IS_RELEASED,
    NGX_PUSH_FRAME_IS_CHECK,
    NGX_PUSH_FRAME_IS_REFLUSH
} ngx_push_frame_type_t;


typedef struct {
    const uint8_t       *data;
    size_t               len;
} ngx_push_frame_str_t;


typedef struct {
    uint32_t             epoch;
    uint16_t             slot;         /* of the worker that sends */
    uint32_t             gen;
    uint64_t             number;
    ngx_push_frame_str_t node;
} ngx_push_frame_entry_t;


typedef struct {
    uint8_t              type;

    uint64_t             incarnation;  /* MESSAGE */
    uint64_t             seq;
    uint8_t              kind;
    ngx_push_frame_str_t blob;

    uint64_t             ticket;       /* KICK, RELEASED: which one, and */
    uint16_t             slot;         /*   the worker that waits */
    uint32_t             gen;
    uint32_t             claim;        /* KICK */
    uint8_t              reason;
    ngx_push_frame_str_t product;      /* MESSAGE too */
    ngx_push_frame_str_t name;         /* of the user or group */
    ngx_push_frame_str_t device;
} ngx_push_frame_t;


/* Read on at "*p", below "end"; after BAD nothing is to be read. */

ngx_push_frame_rc_t ngx_push_frame_entry(const uint8_t **p,
    const uint8_t *end, ngx_push_frame_entry_t *e);
ngx_push_frame_rc_t ngx_push_frame_next(const uint8_t **p,
    const uint8_t *end, ngx_push_frame_t *f);

/*
 * Written at "p", where there must be room; the first octet behind.  An entry
 * takes at most NGX_PUSH_FRAME_ENTRY, a frame _size() octets.
 */

uint8_t *ngx_push_frame_write_entry(uint8_t *p,
    const ngx_push_frame_entry_t *e);
size_t ngx_push_frame_size(const ngx_push_frame_t *f);
uint8_t *ngx_push_frame_write(uint8_t *p, const ngx_push_frame_t *f);


#endif /* _NGX_PUSH_REDIS_FRAME_H_INCLUDED_ */
