
/*
 * Copyright (C) the ngx_push authors
 */


#include "common.h"


void
bench_json_string(FILE *f, const char *s)
{
    if (s == NULL) {
        fputs("null", f);
        return;
    }

    fputc('"', f);

    for ( /* void */ ; *s; s++) {
        if (*s == '"' || *s == '\\') {
            fprintf(f, "\\%c", *s);

        } else if ((unsigned char) *s < 0x20 || (unsigned char) *s > 0x7e) {
            fprintf(f, "\\u%04x", (unsigned char) *s);

        } else {
            fputc(*s, f);
        }
    }

    fputc('"', f);
}


void
bench_json_latency(FILE *f, const char *name, const bench_hist_t *h)
{
    fprintf(f, "\"%s\": {\"count\": %llu, \"p50\": %.1f, \"p90\": %.1f, "
               "\"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}", name,
            (unsigned long long) h->count,
            bench_hist_quantile(h, 0.5) / 1e3,
            bench_hist_quantile(h, 0.9) / 1e3,
            bench_hist_quantile(h, 0.99) / 1e3,
            bench_hist_quantile(h, 0.999) / 1e3, h->max / 1e3);
}
