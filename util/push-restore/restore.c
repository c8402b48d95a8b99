
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Through the journal in the order of its keys, a page at a time: the devices
 * of each user (device.c), then the messages of a log's incarnation in
 * batches.  Devices come first, for a message ends when all that are known
 * have it.  A position is saved when all that is before it has been written.
 */


#include "restore.h"
#include <unistd.h>


#define RESTORE_BATCH     64           /* messages of a call */
#define RESTORE_BYTES     (1024 * 1024)
#define RESTORE_FIXED     8            /* keys and first arguments */


typedef struct {
    restore_message_t    m;            /* whose log it is */
    int                  open;
    uint64_t             last;
    uint64_t             everyone;
    int                  n;
    size_t               bytes;
    char                *data[RESTORE_BATCH];
    size_t               len[RESTORE_BATCH];
    uint64_t             seq[RESTORE_BATCH];
    uint32_t             expires[RESTORE_BATCH];
    int                  made;
} restore_batch_t;


static restore_batch_t  restore_batch;


void
restore_argument(restore_str_t *s, char *buf, size_t size, uint64_t value)
{
    s->data = buf;
    s->len = snprintf(buf, size, "%llu", (unsigned long long) value);
}


/* What is in the batch goes to Redis. */

static int
restore_flush(void)
{
    int               i, n;
    char              log[TARGET_KEY], marks[TARGET_KEY];
    char              fixed[5][24], rest[RESTORE_BATCH][2][24];
    redisReply       *r;
    restore_str_t     args[RESTORE_FIXED + 3 * RESTORE_BATCH];
    restore_batch_t  *b = &restore_batch;

    if (b->n == 0) {
        return RESTORE_OK;
    }

    args[0].data = log;
    args[0].len = target_key(log, b->m.product, b->m.product_len, b->m.kind,
                             b->m.name, b->m.name_len, 'q');
    args[1].data = marks;
    args[1].len = target_key(marks, b->m.product, b->m.product_len, b->m.kind,
                             b->m.name, b->m.name_len, 'r');

    args[2].data = fixed[0];
    args[2].len = snprintf(fixed[0], sizeof(fixed[0]), "%llx",
                           (unsigned long long) b->m.incarnation);
    restore_argument(&args[3], fixed[1], sizeof(fixed[1]), b->last);
    restore_argument(&args[4], fixed[2], sizeof(fixed[2]), b->everyone);
    restore_argument(&args[5], fixed[3], sizeof(fixed[3]), time(NULL));
    args[TARGET_RUN].data = "";
    args[TARGET_RUN].len = 0;
    restore_argument(&args[7], fixed[4], sizeof(fixed[4]),
                     restore_options.dry);

    for (i = 0, n = RESTORE_FIXED; i < b->n; i++) {
        restore_argument(&args[n++], rest[i][0], sizeof(rest[i][0]),
                         b->seq[i]);
        restore_argument(&args[n++], rest[i][1], sizeof(rest[i][1]),
                         b->expires[i]);
        args[n].data = b->data[i];
        args[n++].len = b->len[i];
    }

    r = target_script(TARGET_RESTORE, 2, n, args);

    for (i = 0; i < b->n; i++) {
        free(b->data[i]);
    }

    n = b->n;
    b->n = 0;
    b->bytes = 0;

    if (r == NULL) {
        return RESTORE_ERROR;
    }

    if (r->type != REDIS_REPLY_ARRAY || r->elements != 4) {
        restore_error("Redis: an answer of another form");
        freeReplyObject(r);
        return RESTORE_ERROR;
    }

    restore_figures.placed += r->element[0]->integer;
    restore_figures.appended += r->element[1]->integer;
    restore_figures.left += r->element[2]->integer;

    if (r->element[3]->integer && !b->made) {
        restore_figures.logs++;
        b->made = 1;
    }

    freeReplyObject(r);

    return RESTORE_OK;
}


static int
restore_same(restore_message_t *m)
{
    restore_batch_t  *b = &restore_batch;

    return b->open && b->m.kind == m->kind
           && b->m.incarnation == m->incarnation
           && b->m.product_len == m->product_len
           && memcmp(b->m.product, m->product, m->product_len) == 0
           && b->m.name_len == m->name_len
           && memcmp(b->m.name, m->name, m->name_len) == 0;
}


static int
restore_add(restore_message_t *m)
{
    restore_batch_t  *b = &restore_batch;

    if (!restore_same(m)) {

        if (restore_flush() != RESTORE_OK) {
            return RESTORE_ERROR;
        }

        b->m = *m;
        b->open = 1;
        b->made = 0;

        if (source_log(m, &b->last, &b->everyone) != RESTORE_OK) {
            return RESTORE_ERROR;
        }
    }

    /* nothing to be asked of Redis for what is over */

    if (m->expires <= time(NULL) || m->seq <= b->everyone) {
        restore_figures.left++;
        return RESTORE_OK;
    }

    if (b->n == RESTORE_BATCH
        || (b->n && b->bytes + m->blob_len > RESTORE_BYTES))
    {
        if (restore_flush() != RESTORE_OK) {
            return RESTORE_ERROR;
        }
    }

    b->data[b->n] = malloc(m->blob_len + 1);

    if (b->data[b->n] == NULL) {
        restore_error("no memory");
        return RESTORE_ERROR;
    }

    memcpy(b->data[b->n], m->blob, m->blob_len);
    b->len[b->n] = m->blob_len;
    b->seq[b->n] = m->seq;
    b->expires[b->n] = m->expires;
    b->bytes += m->blob_len;
    b->n++;

    return RESTORE_OK;
}


/* No more than so many rows a second. */

void
restore_pace(void)
{
    static uint64_t         rows;
    static struct timespec  began;

    double           ahead;
    struct timespec  now;

    if (restore_options.rate == 0) {
        return;
    }

    (void) clock_gettime(CLOCK_MONOTONIC, &now);

    if (rows++ == 0) {
        began = now;
    }

    ahead = (double) rows / restore_options.rate
            - ((now.tv_sec - began.tv_sec)
               + (now.tv_nsec - began.tv_nsec) / 1e9);

    if (ahead > 0.01) {
        (void) usleep(ahead * 1e6);
    }
}


/* All messages of one product and kind, from a position on. */

static int
restore_kind(restore_position_t *at)
{
    int                       rc;
    unsigned                  n;
    static restore_message_t  m;

    m.kind = at->kind;
    m.product_len = strlen(at->product);
    memcpy(m.product, at->product, m.product_len);

    do {
        if (source_messages(at, RESTORE_PAGE) != RESTORE_OK) {
            return RESTORE_ERROR;
        }

        for (n = 0; (rc = source_message(&m)) == RESTORE_OK; n++) {

            if (restore_stop) {
                source_page_end();
                return RESTORE_ERROR;
            }

            if (restore_add(&m) != RESTORE_OK) {
                return RESTORE_ERROR;
            }

            restore_figures.rows++;
            memcpy(at->name, m.name, m.name_len);
            at->name_len = m.name_len;
            at->incarnation = m.incarnation;
            at->seq = m.seq;

            restore_pace();
            progress(0);
        }

        source_page_end();

        if (rc == RESTORE_ERROR || restore_flush() != RESTORE_OK
            || position_save(at) != RESTORE_OK)
        {
            return RESTORE_ERROR;
        }

    } while (n == RESTORE_PAGE);

    return RESTORE_OK;
}


/* From one product to the next; "resumed" begins in the middle of one. */

static int
restore_phase(restore_position_t *at, int resumed)
{
    int                 rc;
    static const char  *table[] = { "ngx_push_ack", "ngx_push_message" };

    for ( ;; ) {

        if (!resumed) {

            if (restore_options.product) {
                if (strcmp(at->product, restore_options.product) == 0) {
                    return RESTORE_OK;
                }

                (void) snprintf(at->product, sizeof(at->product), "%s",
                                restore_options.product);

            } else {
                rc = source_product(table[at->phase], at->product);

                if (rc != RESTORE_OK) {
                    return rc == RESTORE_END ? RESTORE_OK : rc;
                }
            }

            at->kind = 0;
            at->name_len = 0;
            at->incarnation = 0;
            at->seq = 0;
        }

        resumed = 0;

        if (at->phase == 0) {
            if (restore_devices(at) != RESTORE_OK) {
                return RESTORE_ERROR;
            }

            continue;
        }

        for ( ;; ) {
            if (restore_kind(at) != RESTORE_OK) {
                return RESTORE_ERROR;
            }

            if (at->kind == 3) {
                break;
            }

            at->kind++;
            at->name_len = 0;
            at->incarnation = 0;
            at->seq = 0;
        }
    }
}


int
restore_run(void)
{
    int                 rc;
    restore_position_t  at;

    rc = position_load(&at);

    if (rc == RESTORE_ERROR) {
        return RESTORE_FAILED;
    }

    for ( ;; ) {

        if (restore_phase(&at, rc == RESTORE_OK && at.product[0])
            != RESTORE_OK)
        {
            return restore_stop ? RESTORE_STOPPED : RESTORE_FAILED;
        }

        if (at.phase == 1) {
            break;
        }

        rc = RESTORE_END;
        memset(&at, 0, sizeof(at));
        at.phase = 1;

        if (position_save(&at) != RESTORE_OK) {
            return RESTORE_FAILED;
        }
    }

    position_remove();

    return RESTORE_DONE;
}
