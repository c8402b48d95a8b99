
/*
 * Copyright (C) the ngx_push authors
 */


#include <stdarg.h>

#include "common.h"


/* any process may write; all but the first are dropped */

void
bench_note(bench_note_t *note, const char *fmt, ...)
{
    va_list   ap;
    uint32_t  none;

    none = 0;

    if (!__atomic_compare_exchange_n(&note->state, &none, 1, 0,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    {
        return;
    }

    va_start(ap, fmt);
    vsnprintf(note->text, sizeof(note->text), fmt, ap);
    va_end(ap);

    __atomic_store_n(&note->state, 2, __ATOMIC_RELEASE);
}


/* NULL: nothing was written */

const char *
bench_note_text(bench_note_t *note)
{
    if (__atomic_load_n(&note->state, __ATOMIC_ACQUIRE) != 2) {
        return NULL;
    }

    return note->text;
}
