
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _ZONE_LOOK_H_INCLUDED_
#define _ZONE_LOOK_H_INCLUDED_


/* Between the two files that look through a zone. */


#include "zone_check.h"


/* what was seen to refer to a record, in a byte for each 32 of the zone */

#define SEEN_TABLE   0x01              /* in its hash table, or its log */
#define SEEN_LIST    0x02              /* in linger, offline, idle, limbo */
#define SEEN_WHEEL   0x04
#define SEEN_OWNER   0x08              /* named by the record it belongs to */
#define SEEN_MEMBER  0x10
#define SEEN_FREE    0x20
#define SEEN_WILL    0x40


extern u_char         *look_seen;
extern uint32_t       *look_subs;      /* of a log, counted from the subs */
extern zone_census_t   look_census;


void look_fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Is it a record of that class, in use, of that shard?  Then notes "how". */

ngx_uint_t look_see(ngx_push_shard_t *sh, ngx_push_ref_t ref,
    ngx_push_class_t class, u_char how, const char *where);

void look_session(ngx_push_shard_t *sh, ngx_push_session_t *s);


#endif /* _ZONE_LOOK_H_INCLUDED_ */
