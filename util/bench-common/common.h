
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * What the measuring programs in util/ share: the clock, histograms, notes
 * between processes, options, sockets, pieces of JSON.  A program says in
 * bench_program what its name is.
 */


#ifndef _BENCH_COMMON_H_INCLUDED_
#define _BENCH_COMMON_H_INCLUDED_


#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>


/* descriptors a process may use, whatever the limit of the shell */
#define BENCH_MAX_FDS        19000

#define BENCH_MAX_PROCESSES  64

#define BENCH_OK             0
#define BENCH_ERROR          (-1)
#define BENCH_AGAIN          (-2)


/* log-linear: 32 steps for each power of two, nanoseconds, 3 % wide */

#define BENCH_HIST_SUB    5
#define BENCH_HIST_SIZE   ((64 - BENCH_HIST_SUB + 1) << BENCH_HIST_SUB)

typedef struct {
    uint64_t                 count;
    uint64_t                 max;
    uint64_t                 bucket[BENCH_HIST_SIZE];
} bench_hist_t;


/* the first to write keeps it; state: 0 empty, 1 being written, 2 readable */

typedef struct {
    uint32_t                 state;
    char                     text[400];
} bench_note_t;


/* what an option's value is; a program's own kinds follow BENCH_OTHER */

typedef enum {
    BENCH_STR = 0,           /* const char *, at most 400 bytes */
    BENCH_U32,
    BENCH_U64,
    BENCH_INT,
    BENCH_DBL,
    BENCH_FLAG,              /* int; takes no value */
    BENCH_OTHER
} bench_type_e;


/*
 * min and max are for numbers, offset is of the field in the program's
 * options; "arg" and "help" are what --help prints.  Without a name, "help"
 * is a heading.
 */

typedef struct {
    const char    *name;
    int            type;
    size_t         offset;
    double         min;
    double         max;
    const char    *arg;
    const char    *help;
} bench_option_t;


/*
 * What a program's command line, MODE [OPTION ...], may hold.  "seen", if any,
 * hears of every option before its value is looked at; "other" takes values of
 * the program's own kinds.  Both end the program when something is wrong.
 */

typedef struct {
    const char *const     *modes;
    size_t                 nmodes;
    const bench_option_t  *options;
    size_t                 noptions;
    const char            *about;        /* of the modes, for --help */
    const char            *status;       /* what exit status 1 means */
    void                 (*seen)(void *o, const bench_option_t *p);
    void                 (*other)(void *o, const bench_option_t *p,
                                  char *value);
} bench_usage_t;


extern const char  bench_program[];


/* hist.c */
uint64_t bench_now(void);
void bench_hist_add(bench_hist_t *h, uint64_t v);
void bench_hist_merge(bench_hist_t *to, const bench_hist_t *from);
uint64_t bench_hist_quantile(const bench_hist_t *h, double q);

/* note.c */
void bench_note(bench_note_t *note, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const char *bench_note_text(bench_note_t *note);

/* usage.c */
int bench_parse_mode(const bench_usage_t *u, int argc, char **argv);
void bench_parse_arguments(const bench_usage_t *u, void *o, int argc,
    char **argv);
void bench_usage_error(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

/* socket.c */
uint32_t bench_descriptors(void);
int bench_sources(uint32_t connections);
int bench_socket(const struct sockaddr_storage *addr, int source);

/* jsontext.c */
void bench_json_string(FILE *f, const char *s);
void bench_json_latency(FILE *f, const char *name, const bench_hist_t *h);


#endif /* _BENCH_COMMON_H_INCLUDED_ */
