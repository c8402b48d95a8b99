
/*
 * Copyright (C) the ngx_push authors
 */


#include <stdarg.h>

#include "common.h"


void
bench_usage_error(const char *fmt, ...)
{
    va_list  ap;

    fprintf(stderr, "%s: ", bench_program);

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);

    fprintf(stderr, "\nTry \"%s --help\".\n", bench_program);
    exit(2);
}


static void
bench_help(const bench_usage_t *u)
{
    char                   left[64];
    size_t                 i;
    const bench_option_t  *p;

    printf("Usage: %s MODE [OPTION ...]\n\nModes:\n%s", bench_program,
           u->about);

    for (i = 0; i < u->noptions; i++) {
        p = &u->options[i];

        if (p->name == NULL) {
            printf("\n%s:\n", p->help);
            continue;
        }

        snprintf(left, sizeof(left), "--%s %s", p->name, p->arg ? p->arg : "");
        printf("  %-26s %s\n", left, p->help);
    }

    printf("\nExit status: 0; %s; 2 for wrong usage.\n", u->status);
    exit(0);
}


static double
bench_parse_number(const bench_option_t *p, const char *value)
{
    char    *end;
    double   v;

    v = strtod(value, &end);

    if (end == value || *end != '\0' || !(v >= p->min && v <= p->max)
        || (p->type != BENCH_DBL && v != (double) (uint64_t) v))
    {
        bench_usage_error("--%s: \"%s\" is not %s from %.12g to %.12g",
                          p->name, value,
                          p->type == BENCH_DBL ? "a number"
                                               : "a whole number",
                          p->min, p->max);
    }

    return v;
}


static void
bench_parse_value(const bench_usage_t *u, void *o, const bench_option_t *p,
    char *value)
{
    void  *field;

    field = (char *) o + p->offset;

    switch (p->type) {

    case BENCH_STR:
        if (strlen(value) > 400) {
            bench_usage_error("--%s: longer than 400 bytes", p->name);
        }

        *(const char **) field = value;
        break;

    case BENCH_U32:
        *(uint32_t *) field = bench_parse_number(p, value);
        break;

    case BENCH_U64:
        *(uint64_t *) field = bench_parse_number(p, value);
        break;

    case BENCH_INT:
        *(int *) field = bench_parse_number(p, value);
        break;

    case BENCH_DBL:
        *(double *) field = bench_parse_number(p, value);
        break;

    case BENCH_FLAG:
        *(int *) field = 1;
        break;

    default:
        u->other(o, p, value);
    }
}


static const bench_option_t *
bench_find_option(const bench_usage_t *u, const char *name, size_t len)
{
    size_t  i;

    for (i = 0; i < u->noptions; i++) {
        if (u->options[i].name && strlen(u->options[i].name) == len
            && strncmp(u->options[i].name, name, len) == 0)
        {
            return &u->options[i];
        }
    }

    return NULL;
}


/* --NAME VALUE or --NAME=VALUE, after the mode */

void
bench_parse_arguments(const bench_usage_t *u, void *o, int argc, char **argv)
{
    int                    i;
    char                  *value;
    size_t                 n;
    const bench_option_t  *p;

    for (i = 2; i < argc; i++) {

        if (strcmp(argv[i], "--help") == 0) {
            bench_help(u);
        }

        if (strncmp(argv[i], "--", 2) != 0) {
            bench_usage_error("unexpected argument \"%s\"", argv[i]);
        }

        n = strcspn(argv[i] + 2, "=");
        value = argv[i][2 + n] == '=' ? argv[i] + 3 + n : NULL;
        p = bench_find_option(u, argv[i] + 2, n);

        if (p == NULL) {
            bench_usage_error("unknown option \"%s\"", argv[i]);
        }

        if (p->type == BENCH_FLAG && value) {
            bench_usage_error("--%s takes no value", p->name);
        }

        if (p->type != BENCH_FLAG && value == NULL) {
            if (++i == argc) {
                bench_usage_error("--%s needs a value", p->name);
            }

            value = argv[i];
        }

        if (u->seen) {
            u->seen(o, p);
        }

        bench_parse_value(u, o, p, value);
    }
}


/* the number of the mode, the first argument */

int
bench_parse_mode(const bench_usage_t *u, int argc, char **argv)
{
    size_t  i;

    if (argc < 2) {
        bench_usage_error("no mode given");
    }

    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        bench_help(u);
    }

    for (i = 0; i < u->nmodes; i++) {
        if (strcmp(argv[1], u->modes[i]) == 0) {
            return i;
        }
    }

    bench_usage_error("unknown mode \"%s\"", argv[1]);
}
