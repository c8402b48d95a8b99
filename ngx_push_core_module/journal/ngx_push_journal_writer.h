
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_JOURNAL_WRITER_H_INCLUDED_
#define _NGX_PUSH_JOURNAL_WRITER_H_INCLUDED_


/*
 * The journal in MySQL.
 *
 * A worker appends records to a chunk of memory.  When the chunk is full, or
 * has enough rows, or its first record has waited long enough, the chunk is
 * queued for the worker's one journal thread, which alone knows MySQL and the
 * files.  What MySQL does not take the thread writes to a file, a segment,
 * from which it goes to MySQL later, by this thread or that of another worker:
 * every row has a key by which a second write of it changes nothing, so what
 * is not known to be written is written again, and in no order.
 *
 * The event loop takes the mutex by trylock alone, and the thread holds it for
 * some assignments only.  The thread calls nothing of nginx's: no log, no
 * pool, no cached time; what it has to say it leaves for the event loop.
 */


#include "ngx_push_journal.h"
#include <pthread.h>


#define NGX_PUSH_JOURNAL_CHUNK      (512 * 1024)
#define NGX_PUSH_JOURNAL_SEGMENT    (8 * 1024 * 1024)
#define NGX_PUSH_JOURNAL_VERSION    2
#define NGX_PUSH_JOURNAL_NOTE       512

#define NGX_PUSH_JOURNAL_DEVICE     (NGX_PUSH_PRODUCT_MAX + 1                 \
                                     + NGX_PUSH_NAME_MAX)


typedef enum {
    NGX_PUSH_JOURNAL_MESSAGE = 1,
    NGX_PUSH_JOURNAL_ACK
} ngx_push_journal_type_t;


/*
 * A record, in memory as in a file; product, name, device and blob (of an ack:
 * what the register keeps beside) stand behind it, and as many zeroes as make
 * the size a multiple of 8.
 */

typedef struct {
    uint32_t             size;         /* with all that belongs to it */
    uint32_t             crc;          /* of what follows; files only */
    uint8_t              type;         /* ngx_push_journal_type_t */
    uint8_t              kind;         /* message: ngx_push_kind_t */
    uint8_t              product_len;
    uint8_t              name_len;     /* target, user */
    uint16_t             device_len;   /* ack */
    uint16_t             gone;         /* ack */
    uint64_t             incarnation;
    uint64_t             seq;          /* ack: up to it */
    uint64_t             all;          /* ack: up to it by every device */
    uint32_t             created;      /* wall clock; ack: when it came */
    uint32_t             expires;
    uint32_t             blob_len;
    uint32_t             spare2;
} ngx_push_journal_record_t;


#define NGX_PUSH_JOURNAL_RECORD_MAX                                           \
    (sizeof(ngx_push_journal_record_t) + NGX_PUSH_PRODUCT_MAX                 \
     + NGX_PUSH_NAME_MAX + NGX_PUSH_JOURNAL_DEVICE + 21                       \
     + NGX_PUSH_CTYPE_MAX + 65535 + NGX_PUSH_PAYLOAD_MAX + 8)

#define ngx_push_journal_product(r)  ((u_char *) ((r) + 1))
#define ngx_push_journal_name(r)     (ngx_push_journal_product(r)             \
                                      + (r)->product_len)
#define ngx_push_journal_device(r)   (ngx_push_journal_name(r)                \
                                      + (r)->name_len)
#define ngx_push_journal_blob(r)     (ngx_push_journal_device(r)              \
                                      + (r)->device_len)


typedef struct ngx_push_journal_chunk_s  ngx_push_journal_chunk_t;

struct ngx_push_journal_chunk_s {
    ngx_push_journal_chunk_t  *next;
    size_t                     used;
    size_t                     done;   /* written so far; by the thread */
    ngx_uint_t                 rows;
    int64_t                    first;  /* wall clock, ms, of the first row */
    u_char                     data[NGX_PUSH_JOURNAL_CHUNK]
                                           __attribute__((aligned(8)));
};


/* Copies, so that they live as long as the thread. */

typedef struct {
    char                *host;         /* NULL: a socket */
    char                *socket;
    char                *user;
    char                *password;     /* NULL: none */
    char                *database;
    char                *ca;           /* NULL: the system's */
    unsigned             port;
    ngx_uint_t           ssl;          /* NGX_PUSH_JOURNAL_SSL_* */
    ngx_uint_t           batch;        /* rows in a transaction, at most */
    ngx_msec_t           delay;
    size_t               backlog;
    char                *spill;        /* folder */
    char                *node;
    off_t                spill_size;   /* of all in it */
    time_t               keep;
    time_t               device_expiry;
} ngx_push_journal_settings_t;


#define NGX_PUSH_JOURNAL_SSL_OFF      0
#define NGX_PUSH_JOURNAL_SSL_ON       1
#define NGX_PUSH_JOURNAL_SSL_VERIFY   2


/* What the thread counts; under the mutex it is copied for the event loop. */

typedef struct {
    uint64_t             rows[2];      /* messages, acks written */
    uint64_t             purged;
    uint64_t             errors;       /* calls of MySQL and of files */
    uint64_t             full;         /* rows lost: no room anywhere */
    uint64_t             refused;      /* rows MySQL will never take */
    uint64_t             corrupt;      /* segments with broken ends */
    uint64_t             spilled;      /* bytes in the folder, now */
    int64_t              oldest;       /* of them, wall ms; 0: none */
    ngx_uint_t           connected;
} ngx_push_journal_figures_t;


typedef struct {
    ngx_push_journal_settings_t  set;

    pthread_t                    thread;
    pthread_mutex_t              mutex;
    pthread_cond_t               cond;     /* on the monotonic clock */

    /* under the mutex */
    ngx_push_journal_chunk_t    *head;     /* taken out by the thread alone */
    ngx_push_journal_chunk_t    *tail;
    ngx_push_journal_chunk_t    *free;
    size_t                       queued;   /* bytes from head to tail */
    ngx_uint_t                   idle;     /* the thread waits for chunks */
    int64_t                      stop;     /* monotonic ms to end by; 0 */
    ngx_push_journal_figures_t   seen;
    u_char                       note[NGX_PUSH_JOURNAL_NOTE];
    ngx_uint_t                   noted;    /* since it was last taken */

    /* without it: who ends the thread reads it */
    int                          fd;       /* MySQL's, -1: none */

    /* of the thread alone */
    ngx_push_journal_figures_t   now;
} ngx_push_journal_writer_t;


#define ngx_push_journal_fd_set(w, n)                                         \
    __atomic_store_n(&(w)->fd, n, __ATOMIC_RELEASE)
#define ngx_push_journal_fd(w)  __atomic_load_n(&(w)->fd, __ATOMIC_ACQUIRE)


/* Both clocks in milliseconds. */

int64_t ngx_push_journal_wall(void);
int64_t ngx_push_journal_clock(void);


/* The thread; its argument is the writer. */

void *ngx_push_journal_thread(void *data);

/* Leaves a line for the log; a later one within the same second replaces it. */

void ngx_push_journal_note(ngx_push_journal_writer_t *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));


/* MySQL: a connection of the thread's, its statements; opaque outside. */

typedef struct ngx_push_journal_db_s  ngx_push_journal_db_t;

ngx_push_journal_db_t *ngx_push_journal_db_open(ngx_push_journal_writer_t *w);
void ngx_push_journal_db_close(ngx_push_journal_db_t *db);

/* Does the server still answer? */

ngx_int_t ngx_push_journal_db_ping(ngx_push_journal_db_t *db);

/*
 * Writes the records from data + *done to data + used, in transactions; *done
 * moves with each that was committed.  NGX_OK: all; NGX_ERROR: not now, errors
 * and a note were made.  Rows that the server will never take are counted and
 * left out.
 */

ngx_int_t ngx_push_journal_db_write(ngx_push_journal_db_t *db, u_char *data,
    size_t *done, size_t used);

/*
 * One bounded step of removing what ended long ago, if this connection is the
 * one that does.  NGX_AGAIN: there is more; NGX_OK; NGX_ERROR.
 */

ngx_int_t ngx_push_journal_db_purge(ngx_push_journal_db_t *db);


/* Segments: files of records, see ngx_push_journal_spill.c. */

typedef struct {
    ngx_push_journal_writer_t  *writer;
    int                         fd;        /* being written; -1: none */
    off_t                       size;
    uint64_t                    serial;
    int64_t                     synced;    /* clock */
    ngx_uint_t                  dirty;     /* written since */

    int                         in;        /* being read; -1: none */
    off_t                       at;
    char                       *name;
    u_char                     *buffer;    /* of NGX_PUSH_JOURNAL_CHUNK */
    size_t                      used;
    size_t                      done;
} ngx_push_journal_spill_t;

ngx_int_t ngx_push_journal_spill_init(ngx_push_journal_spill_t *s,
    ngx_push_journal_writer_t *w);

/* NGX_OK; NGX_DECLINED: the bound is reached; NGX_ERROR: the disk. */

ngx_int_t ngx_push_journal_spill_write(ngx_push_journal_spill_t *s,
    u_char *data, size_t size);

/* What was written is on the disk; by _write() it is once a second. */

void ngx_push_journal_spill_sync(ngx_push_journal_spill_t *s);

/* What was being written is complete: anybody may read it now. */

void ngx_push_journal_spill_finish(ngx_push_journal_spill_t *s);

/*
 * Records of the oldest segment that nobody writes or reads, from "buffer" +
 * "done" to "buffer" + "used".  NGX_OK; NGX_DONE: there is none.  When "done"
 * has come to "used" the next call goes on, and removes what was read.
 */

ngx_int_t ngx_push_journal_spill_read(ngx_push_journal_spill_t *s);

/* Bytes and age of all segments, into the figures. */

void ngx_push_journal_spill_look(ngx_push_journal_spill_t *s);

void ngx_push_journal_spill_close(ngx_push_journal_spill_t *s);


/*
 * The length of the run of whole records, by their lengths and checksums, at
 * the start of data; and what sets the checksums.
 */

size_t ngx_push_journal_whole(u_char *data, size_t size);
void ngx_push_journal_seal(u_char *data, size_t size);


/* The worker's side. */

ngx_int_t ngx_push_journal_begin(ngx_cycle_t *cycle,
    ngx_push_journal_writer_t *w);

/*
 * The writer, which is the caller's again; NULL: there is none, or its thread
 * does not end and may still use it.
 */

ngx_push_journal_writer_t *ngx_push_journal_end(ngx_cycle_t *cycle);

extern ngx_push_journal_t  ngx_push_journal_mysql;


#endif /* _NGX_PUSH_JOURNAL_WRITER_H_INCLUDED_ */
