
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Channels that have members at this node.  The log's record in the zone notes
 * that Redis was told, and how many there were then, so that only the first
 * member costs a command.  A walk over the channels tells new numbers, and
 * takes the node off the list some time after the last member has gone: at
 * first it says that there are 0, and a walk later that it wants nothing more.
 *
 * A member that comes at that very moment sends its own command, and which of
 * the two Redis sees last is not known: so after the answer one looks whether
 * somebody has come, and tells once more.
 */


#include "ngx_push_redis_register.h"
#include "ngx_push_lua_interest.h"


#define NGX_PUSH_INTEREST_STEPS   2048  /* pages of one turn */
#define NGX_PUSH_INTEREST_TURN    64    /* channels of one turn */
#define NGX_PUSH_INTEREST_WAY     256   /* under way */
#define NGX_PUSH_INTEREST_PAUSE   20    /* seconds between walks */


typedef struct {
    ngx_push_target_t      target;
    ngx_uint_t             count;
    ngx_push_bus_done_pt   done;
    void                  *data;
    u_char                 name[NGX_PUSH_NAME_MAX];
} ngx_push_interest_t;


static ngx_int_t ngx_push_interest_send(ngx_push_target_t *t,
    ngx_uint_t count, ngx_uint_t withdraw, ngx_push_bus_done_pt done,
    void *data);
static void ngx_push_interest_again(ngx_push_target_t *t, ngx_int_t rc);
static void ngx_push_interest_answer(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_push_interest_told(void *data, ngx_int_t rc);
static ngx_uint_t ngx_push_interest_walker(void);


ngx_push_redis_script_t  ngx_push_script_interest = {
    "interest", ngx_push_lua_interest, ""
};

static ngx_uint_t  ngx_push_interest_way;
static uint32_t    ngx_push_interest_page;
static uint32_t    ngx_push_interest_record;
static uint32_t    ngx_push_interest_next;     /* zone second of a new walk */


ngx_int_t
ngx_push_redis_interest(ngx_push_target_t *t, ngx_uint_t count,
    ngx_push_bus_done_pt done, void *data)
{
    return ngx_push_interest_send(t, count, 0, done, data);
}


static ngx_int_t
ngx_push_interest_send(ngx_push_target_t *t, ngx_uint_t count,
    ngx_uint_t withdraw, ngx_push_bus_done_pt done, void *data)
{
    ngx_int_t             rc;
    ngx_str_t             none;
    ngx_push_interest_t  *in;
    ngx_push_reg_call_t   c;

    in = ngx_alloc(sizeof(ngx_push_interest_t), ngx_cycle->log);

    if (in == NULL) {
        return NGX_ERROR;
    }

    in->target = *t;
    in->target.name.data = in->name;
    ngx_memcpy(in->name, t->name.data, t->name.len);
    in->count = withdraw ? 0 : count;
    in->done = done;
    in->data = data;

    ngx_str_set(&none, "-");

    ngx_push_reg_begin(&c, &ngx_push_script_interest, 1);
    ngx_push_reg_key(&c, t, 'n');
    ngx_push_reg_key(&c, t, 'q');
    ngx_push_reg_node(&c);

    if (withdraw) {
        ngx_push_reg_str(&c, &none);

    } else {
        ngx_push_reg_number(&c, count);
    }

    rc = ngx_push_reg_send(&c, ngx_push_interest_answer, in);

    if (rc != NGX_AGAIN) {
        ngx_free(in);
        return rc;
    }

    ngx_push_interest_way++;

    return NGX_AGAIN;
}


static void
ngx_push_interest_answer(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_push_interest_t  *in = data;

    ngx_push_interest_way--;

    if (in->count == 0) {
        ngx_push_interest_again(&in->target, rc);

    } else if (rc == NGX_OK) {

        /* the log is made here, if need be, by what is learnt of it */

        rc = ngx_push_mirror_learn(&in->target, ngx_push_reply_hex(reply, 0),
                                   ngx_push_reply_number(reply, 1), 0);
        if (rc == NGX_OK) {
            ngx_push_channel_note(&in->target, in->count + 1);
        }
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "push: Redis does not take interest in \"%V\": %s",
                      &in->target.name, reply ? reply->str : "");
    }

    in->done(in->data, rc == NGX_DECLINED ? NGX_ERROR : rc);
    ngx_free(in);
}


static void
ngx_push_interest_again(ngx_push_target_t *t, ngx_int_t rc)
{
    if (ngx_push_channel_told(t, 0)) {
        (void) ngx_push_interest_send(t, 1, 0, ngx_push_interest_told, NULL);

    } else if (rc != NGX_OK) {

        /* to be withdrawn by the next walk */

        ngx_push_channel_note(t, 1);
    }
}


static void
ngx_push_interest_told(void *data, ngx_int_t rc)
{
    /* what failed comes with the next walk */
}


/* The worker with the lowest number, of those that are alive. */

static ngx_uint_t
ngx_push_interest_walker(void)
{
    ngx_uint_t          i;
    ngx_push_worker_t  *w;

    for (i = 0; i < ngx_push_self->index; i++) {
        w = ngx_push_worker_slot(i);

        if (w->state == NGX_PUSH_WORKER_LIVE
            && ngx_push_now() - w->beat < 10)
        {
            return 0;
        }
    }

    return 1;
}


void
ngx_push_redis_interest_run(void)
{
    uint32_t             now;
    ngx_int_t            rc;
    ngx_uint_t           n, steps;
    ngx_push_channel_t   channel;

    now = ngx_push_now();

    if ((ngx_push_interest_page == 0 && ngx_push_interest_record == 0
         && now < ngx_push_interest_next)
        || !ngx_push_redis_up(NULL) || !ngx_push_interest_walker())
    {
        return;
    }

    steps = NGX_PUSH_INTEREST_STEPS;

    for (n = 0; n < NGX_PUSH_INTEREST_TURN
                && ngx_push_interest_way < NGX_PUSH_INTEREST_WAY; n++)
    {
        rc = ngx_push_channel_next(&ngx_push_interest_page,
                                   &ngx_push_interest_record, &steps,
                                   &channel);
        if (rc == NGX_DONE) {
            ngx_push_interest_page = 0;
            ngx_push_interest_record = 0;
            ngx_push_interest_next = now + NGX_PUSH_INTEREST_PAUSE;
            return;
        }

        if (rc != NGX_OK) {
            return;
        }

        if (ngx_push_interest_send(&channel.log.target, channel.members,
                                   channel.members == 0
                                   && channel.interest == 1,
                                   ngx_push_interest_told, NULL)
            != NGX_AGAIN
            && channel.members == 0)
        {
            ngx_push_interest_again(&channel.log.target, NGX_ERROR);
        }
    }
}


ngx_int_t
ngx_push_register_reflush_log(ngx_push_handle_t log,
    ngx_push_bus_done_pt done, void *data)
{
    ngx_push_channel_t  channel;

    if (ngx_push_channel_get(log, &channel) != NGX_OK) {
        return NGX_PUSH_NOT_FOUND;
    }

    if (channel.members == 0) {
        return NGX_PUSH_NOT_FOUND;
    }

    return ngx_push_interest_send(&channel.log.target, channel.members, 0,
                                  done, data);
}
