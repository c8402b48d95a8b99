
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Removes what ended more than journal_keep ago, in bounded steps, by one
 * connection of all that have this journal: the one that holds a lock of the
 * server's.  A message ends by its time, or, in an inbox, when every known
 * device has acknowledged it.  For the latter a walk goes through all users
 * that have acknowledged something, again and again.
 */


#include "ngx_push_journal_db.h"
#include <mysql/errmsg.h>


#define NGX_PUSH_JOURNAL_STEP       1000   /* rows removed at once */
#define NGX_PUSH_JOURNAL_WALK       500    /* acknowledgements looked at */
#define NGX_PUSH_JOURNAL_LOCK       10000  /* ms between two tries */
#define NGX_PUSH_JOURNAL_ARGS       11


/* An inbox of one incarnation, as its acknowledgements have it. */

typedef struct {
    u_char               user[NGX_PUSH_NAME_MAX];
    unsigned long        user_len;
    uint64_t             incarnation;
    uint64_t             everyone;
    ngx_uint_t           due;          /* messages may go */
    ngx_uint_t           old;          /* acknowledgements may */
} ngx_push_journal_inbox_t;


typedef struct {
    MYSQL_BIND           bind[NGX_PUSH_JOURNAL_ARGS];
    uint64_t             number[NGX_PUSH_JOURNAL_ARGS];
    ngx_uint_t           n;
} ngx_push_journal_args_t;


static ngx_int_t ngx_push_journal_purge_step(ngx_push_journal_db_t *db);
static ngx_int_t ngx_push_journal_purge_lock(ngx_push_journal_db_t *db);
static ngx_int_t ngx_push_journal_purge_walk(ngx_push_journal_db_t *db,
    uint64_t cut);
static uint64_t ngx_push_journal_purge_until(ngx_push_journal_db_t *db,
    uint64_t cut);
static ngx_int_t ngx_push_journal_purge_page(ngx_push_journal_db_t *db,
    ngx_push_journal_inbox_t *inbox, ngx_uint_t *n, ngx_uint_t *rows,
    uint64_t cut);
static ngx_int_t ngx_push_journal_purge_inbox(ngx_push_journal_db_t *db,
    ngx_push_journal_inbox_t *inbox, uint64_t cut);
static ngx_int_t ngx_push_journal_purge_product(ngx_push_journal_db_t *db);
static ngx_int_t ngx_push_journal_purge_run(ngx_push_journal_db_t *db,
    const char *sql, ngx_push_journal_args_t *args, uint64_t *affected);
static MYSQL_STMT *ngx_push_journal_purge_stmt(ngx_push_journal_db_t *db,
    const char *sql, ngx_push_journal_args_t *args);
static void ngx_push_journal_purge_bytes(ngx_push_journal_args_t *args,
    u_char *p, unsigned long len);
static void ngx_push_journal_purge_number(ngx_push_journal_args_t *args,
    uint64_t value);


/* Users, and of each inbox: may messages go, may acknowledgements? */

static const char  ngx_push_journal_purge_look[] =
    "SELECT user, incarnation, everyone, "

    "EXISTS (SELECT 1 FROM ngx_push_message m WHERE m.product = a.product"
    " AND m.kind = 0 AND m.name = a.user AND m.incarnation = a.incarnation"
    " AND m.seq <= a.everyone AND m.created < ?), "

    "updated < ? AND (gone = 1 OR updated < ? OR EXISTS (SELECT 1"
    " FROM ngx_push_ack n WHERE n.product = a.product AND n.user = a.user"
    " AND n.incarnation > a.incarnation AND n.device = a.device)) "

    "FROM ngx_push_ack a WHERE product = ? AND user > ?"
    " ORDER BY user, incarnation LIMIT ?";


/* Nothing may stay open: what a look has locked, a change of a table awaits. */

ngx_int_t
ngx_push_journal_db_purge(ngx_push_journal_db_t *db)
{
    ngx_int_t  rc;

    rc = ngx_push_journal_purge_step(db);

    if (rc != NGX_ERROR && mysql_commit(db->my) != 0) {
        (void) ngx_push_journal_db_fault(db, "no commit",
                                         mysql_errno(db->my),
                                         mysql_error(db->my));
        return NGX_ERROR;
    }

    return rc;
}


static ngx_int_t
ngx_push_journal_purge_step(ngx_push_journal_db_t *db)
{
    uint64_t                 now, cut, removed;
    ngx_int_t                rc;
    ngx_push_journal_args_t  args;

    rc = ngx_push_journal_purge_lock(db);

    if (rc != NGX_OK) {
        return rc == NGX_DECLINED ? NGX_OK : NGX_ERROR;
    }

    now = ngx_push_journal_wall() / 1000;

    if (now <= (uint64_t) db->writer->set.keep) {
        return NGX_OK;
    }

    cut = now - db->writer->set.keep;

    ngx_memzero(&args, sizeof(args));
    ngx_push_journal_purge_number(&args, cut);
    ngx_push_journal_purge_number(&args, NGX_PUSH_JOURNAL_STEP);

    rc = ngx_push_journal_purge_run(db, "DELETE FROM ngx_push_message WHERE "
                                    "expires < ? ORDER BY expires LIMIT ?",
                                    &args, &removed);

    if (rc != NGX_OK || removed == NGX_PUSH_JOURNAL_STEP) {
        return rc == NGX_OK ? NGX_AGAIN : rc;
    }

    return ngx_push_journal_purge_walk(db, cut);
}


/* The lock goes with the connection. */

static ngx_int_t
ngx_push_journal_purge_lock(ngx_push_journal_db_t *db)
{
    int64_t    now;
    uint64_t   got;
    ngx_int_t  rc;

    if (db->purger) {
        return NGX_OK;
    }

    now = ngx_push_journal_clock();

    if (now < db->purge_at) {
        return NGX_DECLINED;
    }

    db->purge_at = now + NGX_PUSH_JOURNAL_LOCK;

    rc = ngx_push_journal_db_number(db, "SELECT GET_LOCK(CONCAT("
                                    "'ngx_push.purge.', MD5(DATABASE())), 0)",
                                    &got);

    if (rc != NGX_OK || got != 1) {
        return rc == NGX_OK ? NGX_DECLINED : rc;
    }

    db->purger = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_push_journal_purge_walk(ngx_push_journal_db_t *db, uint64_t cut)
{
    ngx_int_t                  rc, again;
    ngx_uint_t                 i, n, rows;
    ngx_push_journal_inbox_t  *inbox;

    inbox = calloc(NGX_PUSH_JOURNAL_WALK, sizeof(ngx_push_journal_inbox_t));
    if (inbox == NULL) {
        return NGX_OK;
    }

    again = NGX_OK;

    rc = ngx_push_journal_purge_page(db, inbox, &n, &rows, cut);

    for (i = 0; rc == NGX_OK && i < n; i++) {
        rc = ngx_push_journal_purge_inbox(db, &inbox[i], cut);

        if (rc == NGX_AGAIN) {

            /* there is more of this one: it is met again */

            again = NGX_AGAIN;
            rc = NGX_OK;
            break;
        }

        db->user_len = inbox[i].user_len;
        ngx_memcpy(db->user, inbox[i].user, inbox[i].user_len);
    }

    if (rc == NGX_OK && rows < NGX_PUSH_JOURNAL_WALK && i == n) {
        rc = ngx_push_journal_purge_product(db);
    }

    free(inbox);

    return rc == NGX_OK ? again : rc;
}


/* Who has not been heard of since then is forgotten. */

static uint64_t
ngx_push_journal_purge_until(ngx_push_journal_db_t *db, uint64_t cut)
{
    return cut > (uint64_t) db->writer->set.device_expiry
           ? cut - db->writer->set.device_expiry : 0;
}


/*
 * The inboxes of the users after the one where the walk stands, and whether
 * there is anything to be removed: mostly there is not, and one question for
 * all of them costs little.  The last user may not be there whole: he comes
 * again with the next page.
 */

static ngx_int_t
ngx_push_journal_purge_page(ngx_push_journal_db_t *db,
    ngx_push_journal_inbox_t *inbox, ngx_uint_t *n, ngx_uint_t *rows,
    uint64_t cut)
{
    int                        rc;
    u_char                     user[NGX_PUSH_NAME_MAX];
    uint64_t                   number[4];
    MYSQL_BIND                 out[5];
    MYSQL_STMT                *stmt;
    ngx_uint_t                 i;
    unsigned long              len;
    ngx_push_journal_args_t    args;
    ngx_push_journal_inbox_t  *last;

    *n = 0;
    *rows = 0;

    ngx_memzero(&args, sizeof(args));
    ngx_push_journal_purge_number(&args, cut);
    ngx_push_journal_purge_number(&args, cut);
    ngx_push_journal_purge_number(&args,
                                  ngx_push_journal_purge_until(db, cut));
    ngx_push_journal_purge_bytes(&args, db->product, db->product_len);
    ngx_push_journal_purge_bytes(&args, db->user, db->user_len);
    ngx_push_journal_purge_number(&args, NGX_PUSH_JOURNAL_WALK);

    stmt = ngx_push_journal_purge_stmt(db, ngx_push_journal_purge_look, &args);

    if (stmt == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(out, sizeof(out));

    out[0].buffer_type = MYSQL_TYPE_BLOB;
    out[0].buffer = user;
    out[0].buffer_length = sizeof(user);
    out[0].length = &len;

    for (i = 0; i < 4; i++) {
        out[i + 1].buffer_type = MYSQL_TYPE_LONGLONG;
        out[i + 1].buffer = &number[i];
        out[i + 1].is_unsigned = 1;
    }

    last = NULL;
    rc = mysql_stmt_bind_result(stmt, out);

    if (rc == 0) {
        rc = mysql_stmt_store_result(stmt);
    }

    while (rc == 0 && (rc = mysql_stmt_fetch(stmt)) == 0) {

        (*rows)++;

        if (last && last->user_len == len
            && ngx_memcmp(last->user, user, len) == 0
            && last->incarnation == number[0])
        {
            last->everyone = ngx_max(last->everyone, number[1]);
            last->due |= number[2] != 0;
            last->old |= number[3] != 0;
            continue;
        }

        last = &inbox[(*n)++];
        last->user_len = ngx_min(len, sizeof(user));
        ngx_memcpy(last->user, user, last->user_len);
        last->incarnation = number[0];
        last->everyone = number[1];
        last->due = number[2] != 0;
        last->old = number[3] != 0;
    }

    if (rc != MYSQL_NO_DATA) {
        (void) ngx_push_journal_db_fault(db, "a look at acknowledgements "
                                         "failed", mysql_stmt_errno(stmt),
                                         mysql_stmt_error(stmt));
        (void) mysql_stmt_close(stmt);
        return NGX_ERROR;
    }

    (void) mysql_stmt_close(stmt);

    if (*rows == NGX_PUSH_JOURNAL_WALK) {

        for (i = *n; i && inbox[i - 1].user_len == last->user_len
             && ngx_memcmp(inbox[i - 1].user, last->user, last->user_len) == 0;
             i--)
        {
            /* void */
        }

        if (i) {
            *n = i;
        }
    }

    return NGX_OK;
}


/*
 * The acknowledgements of an inbox without messages are of use only as long as
 * they tell of a device that nothing newer tells of.  (MySQL does not read the
 * table that it deletes from but as a derived one.)
 */

static ngx_int_t
ngx_push_journal_purge_inbox(ngx_push_journal_db_t *db,
    ngx_push_journal_inbox_t *inbox, uint64_t cut)
{
    uint64_t                 removed;
    ngx_int_t                rc;
    ngx_push_journal_args_t  args;

    if (inbox->due) {

        ngx_memzero(&args, sizeof(args));
        ngx_push_journal_purge_bytes(&args, db->product, db->product_len);
        ngx_push_journal_purge_bytes(&args, inbox->user, inbox->user_len);
        ngx_push_journal_purge_number(&args, inbox->incarnation);
        ngx_push_journal_purge_number(&args, inbox->everyone);
        ngx_push_journal_purge_number(&args, cut);
        ngx_push_journal_purge_number(&args, NGX_PUSH_JOURNAL_STEP);

        rc = ngx_push_journal_purge_run(db, "DELETE FROM ngx_push_message "
                                        "WHERE product = ? AND kind = 0 AND "
                                        "name = ? AND incarnation = ? AND "
                                        "seq <= ? AND created < ? LIMIT ?",
                                        &args, &removed);

        if (rc != NGX_OK || removed == NGX_PUSH_JOURNAL_STEP) {
            return rc == NGX_OK ? NGX_AGAIN : rc;
        }
    }

    if (!inbox->old) {
        return NGX_OK;
    }

    ngx_memzero(&args, sizeof(args));
    ngx_push_journal_purge_bytes(&args, db->product, db->product_len);
    ngx_push_journal_purge_bytes(&args, inbox->user, inbox->user_len);
    ngx_push_journal_purge_number(&args, inbox->incarnation);
    ngx_push_journal_purge_number(&args, cut);
    ngx_push_journal_purge_bytes(&args, db->product, db->product_len);
    ngx_push_journal_purge_bytes(&args, inbox->user, inbox->user_len);
    ngx_push_journal_purge_number(&args, inbox->incarnation);
    ngx_push_journal_purge_number(&args,
                                  ngx_push_journal_purge_until(db, cut));
    ngx_push_journal_purge_bytes(&args, db->product, db->product_len);
    ngx_push_journal_purge_bytes(&args, inbox->user, inbox->user_len);
    ngx_push_journal_purge_number(&args, inbox->incarnation);

    return ngx_push_journal_purge_run(db, "DELETE FROM ngx_push_ack WHERE "
                                      "product = ? AND user = ? AND "
                                      "incarnation = ? AND updated < ? AND "
                                      "NOT EXISTS (SELECT 1 FROM "
                                      "ngx_push_message m WHERE m.product = ? "
                                      "AND m.kind = 0 AND m.name = ? AND "
                                      "m.incarnation = ?) AND (gone = 1 OR "
                                      "updated < ? OR device IN (SELECT "
                                      "device FROM (SELECT device FROM "
                                      "ngx_push_ack WHERE product = ? AND "
                                      "user = ? AND incarnation > ?) newer))",
                                      &args, &removed);
}


/* The walk goes on with the next product, or begins again. */

static ngx_int_t
ngx_push_journal_purge_product(ngx_push_journal_db_t *db)
{
    int                       rc;
    my_bool                   null;
    MYSQL_BIND                out;
    MYSQL_STMT               *stmt;
    ngx_push_journal_args_t   args;

    ngx_memzero(&args, sizeof(args));
    ngx_push_journal_purge_bytes(&args, db->product, db->product_len);

    stmt = ngx_push_journal_purge_stmt(db, "SELECT MIN(product) FROM "
                                       "ngx_push_ack WHERE product > ?",
                                       &args);
    if (stmt == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&out, sizeof(out));

    null = 0;
    out.buffer_type = MYSQL_TYPE_BLOB;
    out.buffer = db->product;
    out.buffer_length = sizeof(db->product);
    out.length = &db->product_len;
    out.is_null = &null;

    rc = mysql_stmt_bind_result(stmt, &out);

    if (rc == 0) {
        rc = mysql_stmt_fetch(stmt);
    }

    if (rc != 0 && rc != MYSQL_NO_DATA) {
        (void) ngx_push_journal_db_fault(db, "a look for products failed",
                                         mysql_stmt_errno(stmt),
                                         mysql_stmt_error(stmt));
        (void) mysql_stmt_close(stmt);
        return NGX_ERROR;
    }

    (void) mysql_stmt_close(stmt);

    if (null || rc == MYSQL_NO_DATA) {
        db->product_len = 0;
    }

    db->user_len = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_push_journal_purge_run(ngx_push_journal_db_t *db, const char *sql,
    ngx_push_journal_args_t *args, uint64_t *affected)
{
    MYSQL_STMT  *stmt;

    stmt = ngx_push_journal_purge_stmt(db, sql, args);

    if (stmt == NULL) {
        return NGX_ERROR;
    }

    *affected = mysql_stmt_affected_rows(stmt);
    db->writer->now.purged += *affected;

    (void) mysql_stmt_close(stmt);

    if (mysql_commit(db->my) != 0) {
        (void) ngx_push_journal_db_fault(db, "no commit",
                                         mysql_errno(db->my),
                                         mysql_error(db->my));
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Executed; to be closed by the caller. */

static MYSQL_STMT *
ngx_push_journal_purge_stmt(ngx_push_journal_db_t *db, const char *sql,
    ngx_push_journal_args_t *args)
{
    MYSQL_STMT  *stmt;
    ngx_uint_t   i;

    for (i = 0; i < args->n; i++) {
        if (args->bind[i].buffer_type == MYSQL_TYPE_BLOB) {
            args->bind[i].length = &args->bind[i].buffer_length;
        }
    }

    stmt = mysql_stmt_init(db->my);

    if (stmt == NULL) {
        (void) ngx_push_journal_db_fault(db, "no memory", CR_OUT_OF_MEMORY,
                                         "for a statement");
        return NULL;
    }

    if (mysql_stmt_prepare(stmt, sql, strlen(sql)) == 0
        && mysql_stmt_bind_param(stmt, args->bind) == 0
        && mysql_stmt_execute(stmt) == 0)
    {
        return stmt;
    }

    (void) ngx_push_journal_db_fault(db, "no purge", mysql_stmt_errno(stmt),
                                     mysql_stmt_error(stmt));
    (void) mysql_stmt_close(stmt);

    return NULL;
}


static void
ngx_push_journal_purge_bytes(ngx_push_journal_args_t *args, u_char *p,
    unsigned long len)
{
    MYSQL_BIND  *b;

    b = &args->bind[args->n++];

    b->buffer_type = MYSQL_TYPE_BLOB;
    b->buffer = p;
    b->buffer_length = len;
}


static void
ngx_push_journal_purge_number(ngx_push_journal_args_t *args, uint64_t value)
{
    args->number[args->n] = value;

    args->bind[args->n].buffer_type = MYSQL_TYPE_LONGLONG;
    args->bind[args->n].buffer = &args->number[args->n];
    args->bind[args->n].is_unsigned = 1;
    args->n++;
}
