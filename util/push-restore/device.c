
/*
 * Copyright (C) the ngx_push authors
 */


/* The devices of the journal, as ones that are away. */


#include "restore.h"


#define RESTORE_KNOWN     256          /* devices of a user at once */


typedef struct {
    restore_ack_t        ack[RESTORE_KNOWN];   /* "rest" is a copy */
    int                  n;
} restore_user_t;


static void restore_forget_user(void);
static char *restore_copy(const char *p, size_t len);


static restore_user_t   restore_user;


static int
restore_tell_user(void)
{
    int              i, n, rc;
    char             key[TARGET_KEY], keep[24], *entry[RESTORE_KNOWN];
    redisReply      *r;
    restore_ack_t   *ack;
    restore_str_t    args[3 + 2 * RESTORE_KNOWN];
    restore_user_t  *u = &restore_user;

    if (u->n == 0) {
        return RESTORE_OK;
    }

    ack = u->ack;
    r = NULL;

    args[0].data = key;
    args[0].len = target_key(key, ack->product, ack->product_len, 0,
                             ack->user, ack->user_len, 'd');
    restore_argument(&args[1], keep, sizeof(keep),
                     restore_options.device_expiry);
    args[2].data = restore_options.dry ? "1" : "0";
    args[2].len = 1;

    for (i = 0, n = 3; i < u->n; i++) {
        ack = &u->ack[i];
        entry[i] = NULL;

        if (ack->gone) {
            continue;
        }

        entry[i] = malloc(128 + ack->rest_len);

        if (entry[i] == NULL) {
            restore_error("no memory");
            break;
        }

        args[n].data = ack->device;
        args[n++].len = ack->device_len;
        args[n].data = entry[i];
        args[n].len = snprintf(entry[i], 128, "- 0 0 x %u %llx %llu %llu ",
                               ack->updated,
                               (unsigned long long) ack->incarnation,
                               (unsigned long long) ack->acked,
                               (unsigned long long) ack->acked);
        memcpy(entry[i] + args[n].len, ack->rest, ack->rest_len);
        args[n++].len += ack->rest_len;
    }

    rc = i == u->n ? RESTORE_OK : RESTORE_ERROR;

    if (rc == RESTORE_OK && n > 3) {
        r = target_script(TARGET_DEVICES, 1, n, args);
        rc = r ? RESTORE_OK : RESTORE_ERROR;
    }

    while (i-- > 0) {
        free(entry[i]);
    }

    restore_forget_user();

    if (r) {
        restore_figures.devices += r->integer;
        freeReplyObject(r);
    }

    return rc;
}


static void
restore_forget_user(void)
{
    restore_user_t  *u = &restore_user;

    while (u->n) {
        free(u->ack[--u->n].rest);
    }
}


/*
 * A device counts with its newest incarnation, which comes last; what stands
 * beside it, with what was written last.
 */

static int
restore_device(restore_ack_t *ack)
{
    int              i;
    char            *rest;
    restore_ack_t   *known;
    restore_user_t  *u = &restore_user;

    if (u->n && (u->ack[0].user_len != ack->user_len
                 || memcmp(u->ack[0].user, ack->user, ack->user_len) != 0
                 || strncmp(u->ack[0].product, ack->product,
                            ack->product_len) != 0))
    {
        if (restore_tell_user() != RESTORE_OK) {
            return RESTORE_ERROR;
        }
    }

    for (i = 0; i < u->n; i++) {
        known = &u->ack[i];

        if (known->device_len != ack->device_len
            || memcmp(known->device, ack->device, ack->device_len) != 0)
        {
            continue;
        }

        known->incarnation = ack->incarnation;
        known->acked = ack->acked;

        if (ack->updated < known->updated) {
            return RESTORE_OK;
        }

        rest = restore_copy(ack->rest, ack->rest_len);

        if (rest == NULL) {
            return RESTORE_ERROR;
        }

        free(known->rest);
        known->rest = rest;
        known->rest_len = ack->rest_len;
        known->gone = ack->gone;
        known->updated = ack->updated;

        return RESTORE_OK;
    }

    if (u->n == RESTORE_KNOWN && restore_tell_user() != RESTORE_OK) {
        return RESTORE_ERROR;
    }

    rest = restore_copy(ack->rest, ack->rest_len);

    if (rest == NULL) {
        return RESTORE_ERROR;
    }

    known = &u->ack[u->n++];
    *known = *ack;
    known->rest = rest;

    return RESTORE_OK;
}


static char *
restore_copy(const char *p, size_t len)
{
    char  *copy;

    copy = malloc(len + 1);

    if (copy == NULL) {
        restore_error("no memory");
        return NULL;
    }

    return memcpy(copy, p, len);
}


/*
 * The devices of a product.  A page begins behind a whole user: the last one of
 * a full page is read again, unless he fills it.
 */

int
restore_devices(restore_position_t *at)
{
    int                   rc, cut;
    char                  user[RESTORE_NAME];
    unsigned              n, limit;
    unsigned long         user_len, before_len;
    static restore_ack_t  ack;

    ack.product_len = strlen(at->product);
    memcpy(ack.product, at->product, ack.product_len);
    limit = RESTORE_PAGE;

    do {
        if (source_acks(at, limit) != RESTORE_OK) {
            return RESTORE_ERROR;
        }

        user_len = 0;
        before_len = at->name_len;

        for (n = 0; (rc = source_ack(&ack)) == RESTORE_OK; n++) {

            if (restore_stop) {
                source_page_end();
                return RESTORE_ERROR;
            }

            if (n && (user_len != ack.user_len
                      || memcmp(user, ack.user, user_len) != 0))
            {
                memcpy(at->name, user, user_len);
                at->name_len = user_len;
                before_len = (unsigned long) -1;
            }

            memcpy(user, ack.user, ack.user_len);
            user_len = ack.user_len;

            if (ack.updated + restore_options.device_expiry >= time(NULL)
                && restore_device(&ack) != RESTORE_OK)
            {
                return RESTORE_ERROR;
            }

            restore_figures.rows++;
            restore_pace();
            progress(0);
        }

        source_page_end();

        if (rc == RESTORE_ERROR) {
            return RESTORE_ERROR;
        }

        cut = (n == limit);

        if (cut && before_len != (unsigned long) -1) {

            /* one user has them all */

            limit *= 2;
            restore_forget_user();
            continue;
        }

        if (cut) {
            restore_forget_user();     /* he comes again, whole */
            limit = RESTORE_PAGE;

        } else if (n) {
            memcpy(at->name, user, user_len);
            at->name_len = user_len;
        }

        if (restore_tell_user() != RESTORE_OK
            || position_save(at) != RESTORE_OK)
        {
            return RESTORE_ERROR;
        }

    } while (cut);

    return RESTORE_OK;
}
