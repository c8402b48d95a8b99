
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _ZONE_STUB_H_INCLUDED_
#define _ZONE_STUB_H_INCLUDED_


/*
 * As much of nginx as the core's data structures call: a clock, posted
 * events, one timer, pools that are malloc, a log that counts.
 */


#include "ngx_push_conn.h"
#include "ngx_push_store.h"


#define STUB_PRODUCTS  2
#define STUB_TIMERS    8               /* beside the tick's */


extern ngx_push_conf_t     stub_conf;
extern ngx_push_product_t  stub_product[STUB_PRODUCTS];

/* lines of level CRIT and above, of all processes */

extern volatile uint32_t  *stub_alarms;


/* Defaults, no zone yet; called once before anything else. */

void stub_init(size_t size, const char *file);

/*
 * The clock runs "speed" times as fast as the real one; with 0 it stands
 * still and is moved by stub_pass() alone.
 */

void stub_speed(ngx_uint_t speed);
void stub_pass(ngx_uint_t seconds);
void stub_wait(ngx_msec_t ms);
void stub_time(void);

/* Opens the zone as the master does; the products get their numbers. */

ngx_int_t stub_open(void);

/* Forgets the mapping, as another process that opens the file would. */

void stub_close(void);

/* Becomes a worker; runs its tick; runs what was posted, and what that posts */

ngx_int_t stub_worker(void);
void stub_tick(void);
void stub_timers(void);                /* those that are due */
void stub_events(void);


#endif /* _ZONE_STUB_H_INCLUDED_ */
