
/*
 * Copyright (C) the ngx_push authors
 */


/* The connections of this worker, by the number the session table knows. */


#include "ngx_push_conn.h"


static ngx_push_conn_t  **ngx_push_conns;
static uint32_t           ngx_push_nconns;      /* size of the table */
static uint32_t           ngx_push_used_conns;
static uint32_t           ngx_push_free_conn;   /* + 1 */


/* a free entry holds the number of the next one, odd, so never a pointer */

#define ngx_push_conn_is_free(p)   ((uintptr_t) (p) & 1)
#define ngx_push_conn_next(p)      ((uint32_t) ((uintptr_t) (p) >> 1))
#define ngx_push_conn_free(n)      ((void *) (((uintptr_t) (n) << 1) | 1))


ngx_int_t
ngx_push_conn_attach(ngx_push_conn_t *pc)
{
    uint32_t           i, n;
    ngx_push_conn_t  **conns;

    if (ngx_push_free_conn == 0) {
        n = ngx_push_nconns + ngx_max(512, ngx_push_nconns / 4);

        conns = realloc(ngx_push_conns, n * sizeof(ngx_push_conn_t *));

        if (conns == NULL) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                          "push: no memory for %uD connections", n);
            return NGX_ERROR;
        }

        for (i = n; i > ngx_push_nconns; i--) {
            conns[i - 1] = ngx_push_conn_free(ngx_push_free_conn);
            ngx_push_free_conn = i;
        }

        ngx_push_conns = conns;
        ngx_push_nconns = n;
    }

    i = ngx_push_free_conn - 1;

    ngx_push_free_conn = ngx_push_conn_next(ngx_push_conns[i]);
    ngx_push_conns[i] = pc;
    ngx_push_used_conns++;

    pc->index = i;
    pc->attached = 1;
    pc->behind = 1;

    if (ngx_push_self->state == NGX_PUSH_WORKER_DRAINING) {
        ngx_push_worker_drain();
    }

    return NGX_OK;
}


void
ngx_push_conn_detach(ngx_push_conn_t *pc)
{
    if (!pc->attached) {
        return;
    }

    ngx_push_conns[pc->index] = ngx_push_conn_free(ngx_push_free_conn);
    ngx_push_free_conn = pc->index + 1;
    ngx_push_used_conns--;

    pc->attached = 0;
}


ngx_uint_t
ngx_push_conn_count(void)
{
    return ngx_push_used_conns;
}


ngx_push_conn_t *
ngx_push_conn_get(uint32_t index)
{
    if (index >= ngx_push_nconns
        || ngx_push_conn_is_free(ngx_push_conns[index]))
    {
        return NULL;
    }

    return ngx_push_conns[index];
}


uint32_t
ngx_push_conn_size(void)
{
    return ngx_push_nconns;
}
