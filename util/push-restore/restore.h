
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * push-restore: rebuilds Redis from the journal in MySQL.  source.c reads the
 * journal, target.c writes to Redis, restore.c and device.c bring the two
 * together, progress.c tells and remembers how far it is.
 */


#ifndef _PUSH_RESTORE_H_INCLUDED_
#define _PUSH_RESTORE_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <hiredis/hiredis.h>
#include <mysql/mysql.h>


#define RESTORE_OK        0
#define RESTORE_ERROR     (-1)
#define RESTORE_END       (-2)

/* exit codes */

#define RESTORE_DONE      0
#define RESTORE_FAILED    1      /* run it again */
#define RESTORE_USAGE     2
#define RESTORE_STOPPED   3      /* by a signal: run it again */

#define RESTORE_PRODUCT   63
#define RESTORE_NAME      255
#define RESTORE_DEVICE    319
#define RESTORE_REST      65536
#define RESTORE_VERSION   2


typedef struct {
    size_t               len;
    const char          *data;
} restore_str_t;


typedef struct {
    /* the journal */
    char                *host;
    char                *socket;
    char                *user;
    char                *password;
    char                *database;
    char                *ca;
    unsigned             port;
    int                  ssl;          /* 1 on, 2 verify */

    /* Redis */
    char                *sentinel;     /* name of the master */
    int                  cluster;
    char               **addrs;        /* HOST[:PORT] or unix:PATH */
    int                  naddrs;
    int                  db;
    char                *redis_user;
    char                *redis_password;
    char                *prefix;

    /* what */
    char                *product;      /* NULL: all */
    int64_t              since;        /* created, Unix seconds; 0: all */
    int                  dry;
    int                  quiet;
    int64_t              device_expiry;
    unsigned             rate;         /* messages a second; 0: no bound */
    char                *position;     /* file; NULL: none */
} restore_options_t;


/* Where it is; what comes next stands behind it in the order of the tables. */

typedef struct {
    int                  phase;        /* 0 devices, 1 messages */
    char                 product[RESTORE_PRODUCT + 1];
    unsigned             kind;
    char                 name[RESTORE_NAME];
    unsigned long        name_len;
    uint64_t             incarnation;
    uint64_t             seq;
} restore_position_t;


typedef struct {
    uint64_t             rows;         /* of both tables, read */
    uint64_t             total;        /* of them there are about so many */
    uint64_t             logs;         /* made */
    uint64_t             placed;
    uint64_t             appended;
    uint64_t             left;
    uint64_t             devices;
    uint64_t             redirects;
} restore_figures_t;


extern restore_options_t    restore_options;
extern restore_figures_t    restore_figures;
extern volatile int         restore_stop;


/* one line on stderr, after the progress */

void restore_error(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));


/*
 * The journal.  Two connections: one for pages of a table, whose rows come as
 * they are read, one for questions meanwhile.
 */

typedef struct {
    unsigned             kind;
    char                 product[RESTORE_PRODUCT];
    unsigned long        product_len;
    char                 name[RESTORE_NAME];
    unsigned long        name_len;
    uint64_t             incarnation;
    uint64_t             seq;
    uint32_t             expires;
    char                *blob;         /* valid until the next row */
    unsigned long        blob_len;
} restore_message_t;


typedef struct {
    char                 product[RESTORE_PRODUCT];
    unsigned long        product_len;
    char                 user[RESTORE_NAME];
    unsigned long        user_len;
    uint64_t             incarnation;
    char                 device[RESTORE_DEVICE];
    unsigned long        device_len;
    uint64_t             acked;
    uint32_t             updated;
    int                  gone;
    char                *rest;         /* valid until the next row */
    unsigned long        rest_len;
} restore_ack_t;


int source_open(void);
void source_close(void);

/* How many rows there are, about. */

uint64_t source_rows(void);

/* The first product after this one; RESTORE_END. */

int source_product(const char *table, char *product);

/*
 * Begins a page after a position, of one product (and kind); the rows come
 * with _next, RESTORE_END after the last.
 */

int source_messages(restore_position_t *at, unsigned limit);
int source_message(restore_message_t *m);
int source_acks(restore_position_t *at, unsigned limit);
int source_ack(restore_ack_t *ack);
void source_page_end(void);

/* Of an incarnation of a log: its last number, and what everybody has. */

int source_log(restore_message_t *m, uint64_t *last, uint64_t *everyone);


/* Redis. */

int target_open(void);
void target_close(void);

#define TARGET_RESTORE    0
#define TARGET_DEVICES    1

/* the argument of "restore" that becomes the name of the server's process */

#define TARGET_RUN        6

/*
 * Runs a script on the server of key[0], whatever it takes to find it.  NULL
 * after an error, which was told; else to be freed.
 */

redisReply *target_script(int script, int nkeys, int argc,
    restore_str_t *args);

/* prefix, {tag} and suffix, into buf; its length */

size_t target_key(char *buf, const char *product, size_t product_len,
    unsigned kind, const char *name, size_t name_len, char suffix);

#define TARGET_KEY  512


/* What is told, and remembered. */

void progress_start(void);
void progress(int force);
void progress_end(int code);

int position_load(restore_position_t *at);   /* RESTORE_END: there is none */
int position_save(restore_position_t *at);
void position_remove(void);


int restore_run(void);

#define RESTORE_PAGE  1000             /* rows */

/* All devices of a product, from a position on. */

int restore_devices(restore_position_t *at);

/* No more than so many rows a second. */

void restore_pace(void);

void restore_argument(restore_str_t *s, char *buf, size_t size,
    uint64_t value);


#endif /* _PUSH_RESTORE_H_INCLUDED_ */
