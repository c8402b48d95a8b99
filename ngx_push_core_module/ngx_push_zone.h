
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_ZONE_H_INCLUDED_
#define _NGX_PUSH_ZONE_H_INCLUDED_


/*
 * The zone: one mapping shared by all processes of this nginx, and, with
 * file=, by the next nginx too.  It holds no pointers: a record is named by
 * its offset in units of 32 bytes (ngx_push_ref_t, 0 is none), and a name
 * that must outlive its record carries the record's generation as well.
 *
 * Layout:  head | worker slots | shards | page descriptors | hash tables and
 * expiry wheels | mailboxes | pages.  "zone SIZE" is the size of the pages;
 * the rest comes on top.
 *
 * A page of 16 KiB belongs to no one or to one shard and one class of
 * records.  Records are taken and given back under the shard's lock.
 *
 * Locks are process-shared robust mutexes.  What a process changes under a
 * lock it changes through ngx_push_set(), which first writes the old value
 * into the process's own undo log in the zone.  ngx_push_end() empties the
 * undo log and releases.  If a process dies in between, whoever takes the
 * lock next plays the dead one's undo log backwards: a half-done change has
 * never happened.  So no other order of writes has to be thought about.
 *
 * Two kinds of shards: user shards (sessions, subscriptions, inbox logs; all
 * of a user's records are in one) and channel shards (group, broadcast and
 * uplink logs).  A process may hold one user lock and, taken after it, one
 * channel lock; never the other way round, never two of a kind.
 */


#include "ngx_push_conf.h"
#include "ngx_push_nodes.h"
#include <pthread.h>


#define NGX_PUSH_ZONE_MAGIC     0x3148535550584e47ULL   /* "GNXPUSH1" */
#define NGX_PUSH_ZONE_LAYOUT    5

#define NGX_PUSH_PAGE_SIZE      16384
#define NGX_PUSH_REF_SHIFT      5
#define NGX_PUSH_CACHE_LINE     64

#define NGX_PUSH_WORKERS        192   /* 64, and as many of two older cycles */
#define NGX_PUSH_UNDO           512   /* changes between two commits */
#define NGX_PUSH_RECYCLED       1023  /* free pages that are taken first */
#define NGX_PUSH_GRABBED        16    /* pages a rollback gives back */
#define NGX_PUSH_PINS           64    /* messages a process may be sending */
#define NGX_PUSH_WHEEL          1024  /* seconds of the expiry wheel */


typedef uint32_t  ngx_push_ref_t;


/* classes of records */

typedef enum {
    NGX_PUSH_SESSION = 0,
    NGX_PUSH_SUB,
    NGX_PUSH_INFLIGHT,
    NGX_PUSH_MEMBER,
    NGX_PUSH_LOG,
    NGX_PUSH_MESSAGE,
    NGX_PUSH_CHUNK,
    NGX_PUSH_LONGNAME,
    NGX_PUSH_IDEM,
    NGX_PUSH_LONGKEY,
    NGX_PUSH_CLASSES
} ngx_push_class_t;


/*
 * The first bytes of every record.  "gen" changes each time the record is
 * given back, so a {ref, gen} to what was there before is recognised.
 */

typedef struct {
    uint8_t              used;         /* 0: free */
    uint8_t              class;
    uint16_t             flags;        /* of the class; 0 when taken */
    uint32_t             gen;
} ngx_push_slot_t;


typedef struct {
    uint32_t             owner;        /* 0: free; (shard + 1) << 8 | class */
    uint16_t             used;         /* records taken */
    uint16_t             fresh;        /* records never taken yet start here */
    ngx_push_ref_t       free;         /* first one given back */
    uint32_t             next;         /* pages of this shard and class that */
    uint32_t             prev;         /*   have room; page number + 1 */
    uint32_t             listed;
    uint32_t             spare;
} ngx_push_page_t;


typedef struct {
    uint32_t             pages;        /* list of pages with room, + 1 */
    uint32_t             npages;       /* all pages of this class */
    uint32_t             empty;        /* of them without a record */
    uint32_t             used;         /* records taken */
} ngx_push_class_state_t;


typedef struct {
    ngx_push_ref_t       head;
    ngx_push_ref_t       tail;
    uint64_t             count;
} ngx_push_list_t;


typedef struct {
    pthread_mutex_t        mutex;
    uint32_t               holder;     /* worker slot + 1 that changes it */
    uint32_t               holder_gen;
    uint32_t               index;
    uint32_t               tick;       /* zone second of the last sweep */
    uint32_t               wheel_at;   /* second the wheel stands at */
    uint32_t               mask;       /* of the hash tables */

    uint64_t               sessions;   /* offset of the table, by user hash */
    uint64_t               logs;       /* offset of the table, by log hash */
    uint64_t               idems;      /* offset of the table, of keys */
    uint64_t               wheel;      /* offset of NGX_PUSH_WHEEL refs */

    ngx_push_class_state_t classes[NGX_PUSH_CLASSES];

    ngx_push_list_t        limbo;      /* messages ended, maybe being sent */
    ngx_push_list_t        linger;     /* sessions, first to leave first */
    ngx_push_list_t        offline;    /* sessions, longest away first */
    ngx_push_list_t        idle;       /* empty logs, longest empty first */
    ngx_push_list_t        wills;      /* sessions with a pending will */
    ngx_push_list_t        keys;       /* idempotency keys, oldest first */
} __attribute__((aligned(64))) ngx_push_shard_t;


/* One change, to be taken back if its maker dies before the commit. */

typedef struct {
    uint64_t             where;        /* offset | length << 56 */
    uint64_t             old;
} ngx_push_undo_t;


typedef struct ngx_push_mail_s    ngx_push_mail_t;
typedef struct ngx_push_worker_s  ngx_push_worker_t;


typedef struct {
    u_char               name[NGX_PUSH_PRODUCT_MAX + 1];  /* "": unused */
} ngx_push_zone_product_t;


typedef struct {
    uint64_t                magic;
    uint32_t                layout;
    uint32_t                head_size;
    uint64_t                size;      /* of the whole mapping */
    uint64_t                data;      /* zone SIZE */
    uint32_t                npages;
    uint32_t                nusers;    /* user shards, a power of two */
    uint32_t                nchannels; /* channel shards, a power of two */
    uint32_t                mailbox;   /* cells */
    uint32_t                buckets;   /* of each hash table */
    uint32_t                records[NGX_PUSH_CLASSES];    /* sizes */
    uint64_t                workers_at;  /* offsets of the parts */
    uint64_t                shards_at;
    uint64_t                pages_at;
    uint64_t                tables_at;
    uint64_t                cells_at;
    uint64_t                data_at;
    uint32_t                clean;     /* 0 while being laid out */

    uint64_t                id;        /* random; names the wake-up sockets */
    uint64_t                epoch;     /* changes when content was lost */
    uint64_t                hash_key[2];
    int64_t                 clock;     /* zone time = monotonic + clock */
    uint64_t                boot;      /* which boot "clock" is of */

    int64_t                 last_seen; /* zone second of the last tick */

    pthread_mutex_t         workers_mutex;  /* slots being taken, swept */
    pthread_mutex_t         repair_mutex;   /* undo logs being played back */

    ngx_push_zone_product_t products[NGX_PUSH_PRODUCTS];

    /* atomics, on lines of their own */
    volatile uint64_t       incarnation __attribute__((aligned(64)));
    volatile int64_t        free_pages  __attribute__((aligned(64)));
    volatile int64_t        message_pages;    /* of messages, chunks, keys */
    volatile int64_t        key_pages;        /* of them, of keys */
    volatile uint32_t       page_hint;
    volatile uint32_t       gen;       /* first generations of records */
    volatile uint32_t       nworkers;  /* slots ever in use; only grows */
    volatile uint32_t       check;     /* epoch of ngx_push_check_all() */

    /* hints: pages that were given back last, and how many these are */
    volatile uint32_t       nrecycled  __attribute__((aligned(64)));
    volatile uint32_t       recycled[NGX_PUSH_RECYCLED];

    ngx_push_zone_nodes_t   nodes;     /* of a cluster */
} __attribute__((aligned(64))) ngx_push_zone_head_t;


/* The zone as this process sees it. */

struct ngx_push_zone_s {
    u_char                 *base;
    size_t                  size;
    ngx_push_zone_head_t   *head;
    ngx_push_shard_t       *shards;    /* users, then channels */
    ngx_push_page_t        *pages;
    u_char                 *data;
    ngx_str_t               file;
    ngx_fd_t                fd;        /* holds a shared flock; or -1 */

    /* of this process; set by ngx_push_worker_init() */
    ngx_push_worker_t      *self;
    ngx_push_undo_t        *undo;
    volatile uint32_t      *nundo;
    ngx_push_shard_t       *held[2];
    ngx_uint_t              nheld;
    uint32_t                grabbed[NGX_PUSH_GRABBED];  /* pages taken since */
    ngx_uint_t              ngrabbed;                   /* the last commit */
};


/* one zone a process */

extern ngx_push_zone_t     *ngx_push_zone;


/*
 * Opens, makes or keeps the zone; called from init_conf in the master.
 * NULL after logging why it cannot be done (size changed over a reload, a
 * file of another size or layout, no memory).
 */

ngx_push_zone_t *ngx_push_zone_open(ngx_cycle_t *cycle,
    ngx_push_conf_t *pcf);

/* The number of a product, given one when new; NGX_ERROR: 256 are in use. */

ngx_int_t ngx_push_zone_product(ngx_push_zone_t *zone, ngx_str_t *name);

/* Records of a class that a zone page holds, and its record size. */

size_t ngx_push_record_size(ngx_push_class_t class);
ngx_uint_t ngx_push_page_records(ngx_push_class_t class);


#define ngx_push_ptr(ref)                                                     \
    ((void *) (ngx_push_zone->base + ((size_t) (ref) << NGX_PUSH_REF_SHIFT)))

#define ngx_push_ref(ptr)                                                     \
    ((ngx_push_ref_t) (((u_char *) (ptr) - ngx_push_zone->base)               \
                       >> NGX_PUSH_REF_SHIFT))


/* Begins to fetch into the cache what is written or read in a moment. */

static ngx_inline void
ngx_push_prefetch(const void *p, size_t size)
{
    size_t  i;

    for (i = 0; i < size; i += NGX_PUSH_CACHE_LINE) {
        __builtin_prefetch((const u_char *) p + i, 1);
    }
}


/*
 * Seconds of zone time: near the wall clock when the zone was made, and
 * from then on at a steady pace whatever the wall clock does.
 */

#define ngx_push_now()                                                        \
    ((uint32_t) (ngx_current_msec / 1000 + ngx_push_zone->head->clock))


/* keyed hash of a name (SipHash-1-3) */

uint64_t ngx_push_hash(uint64_t seed, const u_char *p, size_t len);


/* transactions */

ngx_push_shard_t *ngx_push_begin_user(uint64_t user_hash);
ngx_push_shard_t *ngx_push_begin_channel(uint64_t log_hash);
ngx_push_shard_t *ngx_push_begin_shard(ngx_uint_t index);

/* What was changed so far stays, the locks are kept. */

void ngx_push_commit(void);

/* Commits and releases the channel lock alone. */

void ngx_push_end_channel(void);

/* Commits and releases all locks held. */

void ngx_push_end(void);

/* Between two changes that may be parted: commits when much is pending. */

#define ngx_push_commit_long()                                                \
    if (*ngx_push_zone->nundo > NGX_PUSH_UNDO - 128) {                        \
        ngx_push_commit();                                                    \
    }

/* Takes back what was changed since begin or commit; the locks are kept. */

void ngx_push_rollback(void);

/* Takes back what a dead worker left half done; needs no lock held by it. */

void ngx_push_recover(ngx_push_worker_t *dead);


void ngx_push_undo_overflow(void);

static ngx_inline void
ngx_push_save_old(void *p, size_t len)
{
    uint32_t          n;
    ngx_push_undo_t  *u;

    n = *ngx_push_zone->nundo;

    if (n == NGX_PUSH_UNDO) {
        ngx_push_undo_overflow();
        n = 0;
    }

    u = &ngx_push_zone->undo[n];
    u->where = (uint64_t) ((u_char *) p - ngx_push_zone->base)
               | (uint64_t) len << 56;
    u->old = 0;
    memcpy(&u->old, p, len);

    /* a killed process has done its stores in program order, no more needed */

    __asm__ volatile ("" ::: "memory");
    *ngx_push_zone->nundo = n + 1;
    __asm__ volatile ("" ::: "memory");
}

#define ngx_push_set(lvalue, value)                                           \
    do {                                                                      \
        ngx_push_save_old(&(lvalue), sizeof(lvalue));                         \
        (lvalue) = (value);                                                   \
    } while (0)


/*
 * Records: the caller holds the shard's lock.  A record comes with its slot
 * set and the rest as it was left; since it is new to everybody its fields
 * may be written plainly.  NULL: no page is left.
 */

void *ngx_push_alloc(ngx_push_shard_t *sh, ngx_push_class_t class);
void ngx_push_free(ngx_push_shard_t *sh, void *record);

/*
 * The record that {ref, gen} named, or NULL when it is gone; for refs that
 * were kept without a lock.  Valid as long as the lock of its shard is held:
 * ngx_push_owner() tells which that is, before any lock is taken.
 */

void *ngx_push_lookup(ngx_push_handle_t h, ngx_push_class_t class);

/* Whatever record in use is there now, for refs that are only a hint. */

void *ngx_push_record(ngx_push_ref_t ref, ngx_push_class_t class);

ngx_int_t ngx_push_owner(ngx_push_ref_t ref, ngx_push_class_t class);
                                       /* shard index, or NGX_ERROR */

/* Calls back for every record in use of a class of this shard. */

typedef void (*ngx_push_record_pt)(ngx_push_shard_t *sh, void *record);

void ngx_push_each(ngx_push_shard_t *sh, ngx_push_class_t class,
    ngx_push_record_pt each);

/* Gives empty pages back to the zone; recounts the free ones. */

void ngx_push_pages_sweep(ngx_push_shard_t *sh);
void ngx_push_pages_recount(void);

/* Have idempotency keys all the pages that they may have? */

ngx_uint_t ngx_push_keys_full(void);

/* After a holder of the shard's lock died: what the undo log cannot know. */

void ngx_push_pages_repair(ngx_push_shard_t *sh);

/* After a rollback: so do the pages that this process had taken. */

void ngx_push_pages_return(void);

/*
 * Lists through two refs in each record at byte offset "link" (next, prev),
 * all under the shard's lock.
 */

void ngx_push_list_append(ngx_push_list_t *list, void *record, size_t link);
void ngx_push_list_remove(ngx_push_list_t *list, void *record, size_t link);


/*
 * Fault points: compiled in with -DNGX_PUSH_FAULT_POINTS only.  The process
 * kills itself when the environment says NGX_PUSH_FAULT=NAME:N and this is
 * the N-th time that point NAME is passed.
 */

#ifdef NGX_PUSH_FAULT_POINTS
void ngx_push_fault_point(const char *name);
#else
#define ngx_push_fault_point(name)
#endif


#endif /* _NGX_PUSH_ZONE_H_INCLUDED_ */
