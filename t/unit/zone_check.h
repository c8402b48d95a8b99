
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _ZONE_CHECK_H_INCLUDED_
#define _ZONE_CHECK_H_INCLUDED_


/*
 * Looks through a whole zone at rest (no process works on it, the dead are
 * buried) and says what contradicts the contracts in the core's headers:
 * every list, hash chain, count and reference.  Returns how many faults were
 * found, each printed to stderr, 20 at most.
 */


#include "zone_stub.h"


typedef struct {
    uint64_t  used[NGX_PUSH_CLASSES];
    uint64_t  online;
    uint64_t  lingering;
    uint64_t  offline;
    uint64_t  stored;                  /* messages in logs */
} zone_census_t;


/*
 * Set when no inbox has come back in another incarnation while something of
 * the old one was in flight: then the cursors of inboxes are looked at too.
 */

extern ngx_uint_t  zone_check_inboxes;


ngx_uint_t zone_check(zone_census_t *census);


#endif /* _ZONE_CHECK_H_INCLUDED_ */
