
/*
 * Copyright (C) the ngx_push authors
 */


/* How far it is: for who watches, and for the next run. */


#include "restore.h"
#include <stdarg.h>
#include <unistd.h>


#define PROGRESS_WIDTH   30
#define PROGRESS_LINE    5             /* s between plain lines */


static double   progress_began, progress_told;
static int      progress_terminal, progress_shown;


static double
progress_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static void
progress_clear(void)
{
    if (progress_shown) {
        (void) fprintf(stderr, "\r\033[K");
        progress_shown = 0;
    }
}


void
restore_error(const char *fmt, ...)
{
    va_list  args;

    progress_clear();

    (void) fprintf(stderr, "push-restore: ");
    va_start(args, fmt);
    (void) vfprintf(stderr, fmt, args);
    va_end(args);
    (void) fprintf(stderr, "\n");
}


void
progress_start(void)
{
    progress_began = progress_clock();
    progress_terminal = isatty(2);
}


void
progress(int force)
{
    int      i, done;
    double   now, seconds, part, rate;

    now = progress_clock();

    if (restore_options.quiet
        || (!force && now - progress_told < (progress_terminal
                                             ? 0.2 : PROGRESS_LINE)))
    {
        return;
    }

    progress_told = now;
    seconds = now - progress_began;
    rate = seconds > 0 ? restore_figures.rows / seconds : 0;
    part = restore_figures.total ? (double) restore_figures.rows
                                   / restore_figures.total : 1;

    if (part > 1) {
        part = 1;
    }

    if (!progress_terminal) {
        (void) fprintf(stderr, "%.0f %%: %llu rows, %llu messages put back, "
                       "%.0f rows/s\n", part * 100,
                       (unsigned long long) restore_figures.rows,
                       (unsigned long long) (restore_figures.placed
                                             + restore_figures.appended),
                       rate);
        return;
    }

    done = part * PROGRESS_WIDTH;
    (void) fprintf(stderr, "\r[");

    for (i = 0; i < PROGRESS_WIDTH; i++) {
        (void) fputc(i < done ? '#' : '.', stderr);
    }

    (void) fprintf(stderr, "] %3.0f %%  %llu rows  %.0f/s", part * 100,
                   (unsigned long long) restore_figures.rows, rate);

    if (rate > 0 && restore_figures.total > restore_figures.rows) {
        (void) fprintf(stderr, "  %.0f s left",
                       (restore_figures.total - restore_figures.rows) / rate);
    }

    (void) fprintf(stderr, "\033[K");
    progress_shown = 1;
}


void
progress_end(int code)
{
    restore_figures_t  *f = &restore_figures;

    progress_clear();

    (void) printf("%s: %llu rows in %.1f s: %llu messages put back in place, "
                  "%llu appended as new, %llu left alone; %llu logs made, "
                  "%llu devices made known\n",
                  code == RESTORE_DONE ? (restore_options.dry ? "would be done"
                                                              : "done")
                  : code == RESTORE_STOPPED ? "stopped" : "failed",
                  (unsigned long long) f->rows,
                  progress_clock() - progress_began,
                  (unsigned long long) f->placed,
                  (unsigned long long) f->appended,
                  (unsigned long long) f->left, (unsigned long long) f->logs,
                  (unsigned long long) f->devices);

    (void) fflush(stdout);
}


static void
position_hex(FILE *out, const char *p, size_t len)
{
    for ( /* void */ ; len; len--, p++) {
        (void) fprintf(out, "%02x", (unsigned char) *p);
    }
}


/* A line: "2 PHASE ROWS PRODUCT KIND .NAME-IN-HEX INCARNATION SEQ". */

int
position_save(restore_position_t *at)
{
    int    failed;
    char   path[4096];
    FILE  *out;

    if (restore_options.position == NULL || restore_options.dry) {
        return RESTORE_OK;
    }

    (void) snprintf(path, sizeof(path), "%s.new", restore_options.position);
    out = fopen(path, "w");

    if (out == NULL) {
        restore_error("%s cannot be written: %m", path);
        return RESTORE_ERROR;
    }

    (void) fprintf(out, "2 %d %llu .%s %u .", at->phase,
                   (unsigned long long) restore_figures.rows, at->product,
                   at->kind);
    position_hex(out, at->name, at->name_len);
    (void) fprintf(out, " %llu %llu\n", (unsigned long long) at->incarnation,
                   (unsigned long long) at->seq);

    failed = ferror(out);
    failed |= fclose(out);

    if (failed || rename(path, restore_options.position) == -1) {
        restore_error("%s cannot be written: %m", restore_options.position);
        return RESTORE_ERROR;
    }

    return RESTORE_OK;
}


int
position_load(restore_position_t *at)
{
    int                  n;
    char                 product[RESTORE_PRODUCT + 2];
    char                 name[2 * RESTORE_NAME + 2];
    FILE                *in;
    size_t               i;
    unsigned             byte;
    unsigned long long   rows, incarnation, seq;

    memset(at, 0, sizeof(restore_position_t));

    if (restore_options.position == NULL) {
        return RESTORE_END;
    }

    in = fopen(restore_options.position, "r");

    if (in == NULL) {
        return RESTORE_END;
    }

    n = fscanf(in, "2 %d %llu %64s %u %511s %llu %llu", &at->phase, &rows,
               product, &at->kind, name, &incarnation, &seq);
    (void) fclose(in);

    if (n != 7 || product[0] != '.' || name[0] != '.' || at->kind > 3
        || at->phase < 0 || at->phase > 1 || strlen(name) % 2 == 0)
    {
        restore_error("%s is not a position: remove it to begin anew",
                      restore_options.position);
        return RESTORE_ERROR;
    }

    strcpy(at->product, product + 1);
    at->name_len = strlen(name) / 2;

    for (i = 0; i < at->name_len; i++) {
        if (sscanf(name + 1 + 2 * i, "%2x", &byte) != 1) {
            restore_error("%s is not a position", restore_options.position);
            return RESTORE_ERROR;
        }

        at->name[i] = byte;
    }

    at->incarnation = incarnation;
    at->seq = seq;
    restore_figures.rows = rows;

    return RESTORE_OK;
}


void
position_remove(void)
{
    if (restore_options.position && !restore_options.dry) {
        (void) unlink(restore_options.position);
    }
}
