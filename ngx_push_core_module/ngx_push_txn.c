
/*
 * Copyright (C) the ngx_push authors
 */


/* Locks, undo logs and what is done when a holder dies. */


#include "ngx_push_zone.h"
#include "ngx_push_log.h"
#include "ngx_push_worker.h"


static ngx_push_shard_t *ngx_push_lock_shard(ngx_push_shard_t *sh);
static void ngx_push_unlock_shard(ngx_push_shard_t *sh);
static void ngx_push_inherit_shard(ngx_push_shard_t *sh);
static void ngx_push_play_back(ngx_push_undo_t *undo,
    volatile uint32_t *nundo);


ngx_push_shard_t *
ngx_push_begin_user(uint64_t user_hash)
{
    ngx_push_zone_t  *zone;

    zone = ngx_push_zone;

    return ngx_push_lock_shard(&zone->shards[(user_hash >> 40)
                                             & (zone->head->nusers - 1)]);
}


ngx_push_shard_t *
ngx_push_begin_channel(uint64_t log_hash)
{
    ngx_push_zone_t  *zone;

    zone = ngx_push_zone;

    return ngx_push_lock_shard(&zone->shards[zone->head->nusers
                                             + ((log_hash >> 40)
                                                & (zone->head->nchannels
                                                   - 1))]);
}


ngx_push_shard_t *
ngx_push_begin_shard(ngx_uint_t index)
{
    return ngx_push_lock_shard(&ngx_push_zone->shards[index]);
}


static ngx_push_shard_t *
ngx_push_lock_shard(ngx_push_shard_t *sh)
{
    ngx_push_zone_t  *zone;

    zone = ngx_push_zone;

    if (pthread_mutex_lock(&sh->mutex) == EOWNERDEAD) {
        ngx_push_inherit_shard(sh);
    }

    /* from here on a death is known to be ours */

    sh->holder_gen = zone->self->gen;
    ngx_memory_barrier();
    sh->holder = zone->self->index + 1;

    zone->held[zone->nheld++] = sh;

    return sh;
}


static void
ngx_push_unlock_shard(ngx_push_shard_t *sh)
{
    sh->holder = 0;
    (void) pthread_mutex_unlock(&sh->mutex);
}


/*
 * The last holder died with the lock.  Its undo log may span this shard and
 * another one; whoever of their next holders comes first plays back all of
 * it, under the repair lock, while the other waits for that lock.
 */

static void
ngx_push_inherit_shard(ngx_push_shard_t *sh)
{
    uint32_t            holder;
    ngx_push_worker_t  *w;

    holder = sh->holder;

    if (holder != 0 && holder <= NGX_PUSH_WORKERS) {
        w = ngx_push_worker_slot(holder - 1);

        if (w->gen == sh->holder_gen) {
            ngx_push_recover(w);
        }
    }

    /* never the one's slot with another's generation */

    sh->holder = 0;
    ngx_memory_barrier();

    (void) pthread_mutex_consistent(&sh->mutex);

    sh->holder_gen = ngx_push_self->gen;
    ngx_memory_barrier();
    sh->holder = ngx_push_self->index + 1;

    ngx_push_count(repairs);
    ngx_push_pages_repair(sh);
}


void
ngx_push_recover(ngx_push_worker_t *dead)
{
    pthread_mutex_t  *mutex;

    mutex = &ngx_push_zone->head->repair_mutex;

    if (pthread_mutex_lock(mutex) == EOWNERDEAD) {

        /* playing back is idempotent, go on where the other stopped */

        (void) pthread_mutex_consistent(mutex);
    }

    if (dead->nundo) {
        ngx_push_play_back(dead->undo, &dead->nundo);
    }

    (void) pthread_mutex_unlock(mutex);
}


static void
ngx_push_play_back(ngx_push_undo_t *undo, volatile uint32_t *nundo)
{
    size_t            len;
    uint32_t          n;
    uint64_t          where;
    ngx_push_undo_t  *u;

    for (n = ngx_min(*nundo, NGX_PUSH_UNDO); n > 0; n--) {
        u = &undo[n - 1];

        len = u->where >> 56;
        where = u->where & 0x00ffffffffffffffULL;

        if (len <= 8 && where + len <= ngx_push_zone->size) {
            ngx_memcpy(ngx_push_zone->base + where, &u->old, len);
        }

        ngx_memory_barrier();
        *nundo = n - 1;
    }
}


void
ngx_push_commit(void)
{
    ngx_memory_barrier();
    *ngx_push_zone->nundo = 0;
    ngx_memory_barrier();

    ngx_push_zone->ngrabbed = 0;
}


void
ngx_push_rollback(void)
{
    ngx_push_play_back(ngx_push_zone->undo, ngx_push_zone->nundo);
    ngx_push_pages_return();
}


void
ngx_push_end_channel(void)
{
    ngx_push_zone_t  *zone;

    zone = ngx_push_zone;

    ngx_push_commit();

    zone->nheld--;
    ngx_push_unlock_shard(zone->held[zone->nheld]);
}


void
ngx_push_end(void)
{
    ngx_push_zone_t  *zone;

    zone = ngx_push_zone;

    ngx_push_commit();

    while (zone->nheld) {
        zone->nheld--;
        ngx_push_unlock_shard(zone->held[zone->nheld]);
    }
}


/*
 * More changes than a transaction may have: the code lacks a commit.  What
 * was done stays, so at worst this one change is not undone as a whole.
 */

void
ngx_push_undo_overflow(void)
{
    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                  "push: a transaction exceeds %d changes, "
                  "please report this", NGX_PUSH_UNDO);

    ngx_push_commit();
}


#ifdef NGX_PUSH_FAULT_POINTS

void
ngx_push_fault_point(const char *name)
{
    char         *p, *env;
    size_t        len;
    static long   left = -1;

    if (left == 0) {
        return;
    }

    env = getenv("NGX_PUSH_FAULT");
    len = strlen(name);

    if (env == NULL || strncmp(env, name, len) != 0 || env[len] != ':') {
        return;
    }

    if (left == -1) {
        left = strtol(env + len + 1, &p, 10);
    }

    if (--left == 0) {
        (void) kill(getpid(), SIGKILL);
    }
}

#endif
