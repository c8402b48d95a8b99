
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_ZONE_LAYOUT_H_INCLUDED_
#define _NGX_PUSH_ZONE_LAYOUT_H_INCLUDED_


/* Between who finds the memory of a zone and who knows what is in it. */


#include "ngx_push_zone.h"


/* Sets the pointers of this process by the head; makes it the zone. */

void ngx_push_zone_parts(ngx_push_zone_t *zone);

/* A new zone; nobody else may use it yet. */

ngx_int_t ngx_push_zone_layout(ngx_cycle_t *cycle, ngx_push_zone_t *zone,
    ngx_push_zone_head_t *want);

/* Nobody else uses the zone: what the dead left half done is taken back. */

ngx_int_t ngx_push_zone_revive(ngx_cycle_t *cycle, ngx_push_zone_t *zone);


#endif /* _NGX_PUSH_ZONE_LAYOUT_H_INCLUDED_ */
