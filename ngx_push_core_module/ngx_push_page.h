
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_PAGE_H_INCLUDED_
#define _NGX_PUSH_PAGE_H_INCLUDED_


/* Between pages and the records in them. */


#include "ngx_push_zone.h"


#define ngx_push_page_owner(sh, class)                                        \
    (((sh)->index + 1) << 8 | (uint32_t) (class))

#define ngx_push_page_class(page)  ((page)->owner & 0xff)

#define ngx_push_page_data(n)                                                 \
    (ngx_push_zone->data + (size_t) (n) * NGX_PUSH_PAGE_SIZE)


/* A page for records of this class, on the shard's list; NULL: none left. */

ngx_push_page_t *ngx_push_page_get(ngx_push_shard_t *sh,
    ngx_push_class_t class);

/* On and off the list of pages of its shard and class that have room. */

void ngx_push_page_link(ngx_push_shard_t *sh, ngx_push_page_t *page);
void ngx_push_page_unlink(ngx_push_shard_t *sh, ngx_push_page_t *page);


#endif /* _NGX_PUSH_PAGE_H_INCLUDED_ */
