
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Rows into MySQL: transactions of at most journal_batch rows, in statements
 * of 64, 8 or 1 of them, whose values point into the records themselves.
 */


#include "ngx_push_journal_db.h"
#include <mysql/errmsg.h>
#include <mysql/mysqld_error.h>
#include <stdio.h>


#define NGX_PUSH_JOURNAL_AGAIN      5      /* tries after a deadlock */
#define NGX_PUSH_JOURNAL_SQL        16384
#define NGX_PUSH_JOURNAL_OVERHEAD   256    /* of a row, beside its bytes */


typedef struct {
    const char          *head;
    const char          *row;
    const char          *tail;
    ngx_uint_t           columns;
} ngx_push_journal_insert_t;


static ngx_int_t ngx_push_journal_rows_transaction(ngx_push_journal_db_t *db,
    u_char *data, size_t from, size_t *to, size_t used);
static ngx_int_t ngx_push_journal_rows_add(ngx_push_journal_db_t *db,
    ngx_push_journal_record_t *r);
static ngx_int_t ngx_push_journal_rows_flush(ngx_push_journal_db_t *db,
    ngx_uint_t table);
static ngx_int_t ngx_push_journal_rows_execute(ngx_push_journal_db_t *db,
    ngx_uint_t table, ngx_uint_t width, ngx_push_journal_record_t **row);
static MYSQL_STMT *ngx_push_journal_rows_prepare(ngx_push_journal_db_t *db,
    ngx_uint_t table, ngx_uint_t width);
static void ngx_push_journal_rows_message(MYSQL_BIND *b,
    ngx_push_journal_record_t *r);
static void ngx_push_journal_rows_ack(MYSQL_BIND *b,
    ngx_push_journal_record_t *r);
static void ngx_push_journal_rows_bytes(MYSQL_BIND *b, u_char *p,
    unsigned long len);
static void ngx_push_journal_rows_number(MYSQL_BIND *b, void *p,
    enum enum_field_types type);


/*
 * A message that is there stays as it is, an acknowledgement only grows, and
 * what stands beside it is the latest; so each may be written again, at any
 * time.  MySQL assigns from left to right: "updated" comes last.
 */

static ngx_push_journal_insert_t  ngx_push_journal_inserts[] = {

    { "INSERT INTO ngx_push_message (product, kind, name, incarnation, seq, "
      "created, expires, data) VALUES ",
      "(?,?,?,?,?,?,?,?)",
      " ON DUPLICATE KEY UPDATE kind = kind", 8 },

    { "INSERT INTO ngx_push_ack (product, user, incarnation, device, acked, "
      "everyone, rest, gone, updated) VALUES ",
      "(?,?,?,?,?,?,?,?,?)",
      " ON DUPLICATE KEY UPDATE acked = GREATEST(acked, VALUES(acked)), "
      "everyone = GREATEST(everyone, VALUES(everyone)), "
      "rest = IF(VALUES(updated) < updated, rest, VALUES(rest)), "
      "gone = IF(VALUES(updated) < updated, gone, VALUES(gone)), "
      "updated = GREATEST(updated, VALUES(updated))", 9 }
};


static const ngx_uint_t  ngx_push_journal_widths[NGX_PUSH_JOURNAL_WIDTHS] = {
    64, 8, 1
};


ngx_int_t
ngx_push_journal_db_write(ngx_push_journal_db_t *db, u_char *data,
    size_t *done, size_t used)
{
    size_t      to;
    ngx_int_t   rc;
    ngx_uint_t  tries;

    tries = 0;

    while (*done < used) {

        rc = ngx_push_journal_rows_transaction(db, data, *done, &to, used);

        if (rc == NGX_BUSY && tries++ < NGX_PUSH_JOURNAL_AGAIN) {

            /* another worker's rows crossed ours; MySQL has rolled back */

            continue;
        }

        if (rc == NGX_DECLINED) {

            /* a row is at fault: once more, one by one, without it */

            if (mysql_query(db->my, "ROLLBACK") != 0) {
                return NGX_ERROR;
            }

            db->single = 1;
            rc = ngx_push_journal_rows_transaction(db, data, *done, &to, used);
            db->single = 0;
        }

        if (rc == NGX_BUSY) {
            (void) ngx_push_journal_db_fault(db, "rows were not written",
                                             ER_LOCK_DEADLOCK,
                                             "one deadlock after another");
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        tries = 0;
        *done = to;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_push_journal_rows_transaction(ngx_push_journal_db_t *db, u_char *data,
    size_t from, size_t *to, size_t used)
{
    size_t                      at;
    ngx_int_t                   rc;
    ngx_uint_t                  n, count[2];
    ngx_push_journal_record_t  *r;

    ngx_memzero(db->nrows, sizeof(db->nrows));
    ngx_memzero(db->bytes, sizeof(db->bytes));
    ngx_memzero(count, sizeof(count));

    db->refused = 0;

    for (at = from, n = 0;
         at < used && n < db->writer->set.batch;
         at += r->size, n++)
    {
        r = (ngx_push_journal_record_t *) (data + at);
        count[r->type == NGX_PUSH_JOURNAL_ACK]++;

        rc = ngx_push_journal_rows_add(db, r);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    for (n = 0; n < 2; n++) {
        rc = ngx_push_journal_rows_flush(db, n);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (mysql_commit(db->my) != 0) {
        (void) ngx_push_journal_db_fault(db, "no commit",
                                         mysql_errno(db->my),
                                         mysql_error(db->my));
        return NGX_ERROR;
    }

    *to = at;

    db->writer->now.rows[0] += count[0];
    db->writer->now.rows[1] += count[1];
    db->writer->now.refused += db->refused;

    return NGX_OK;
}


static ngx_int_t
ngx_push_journal_rows_add(ngx_push_journal_db_t *db,
    ngx_push_journal_record_t *r)
{
    size_t      size;
    ngx_int_t   rc;
    ngx_uint_t  table;

    table = (r->type == NGX_PUSH_JOURNAL_ACK);
    size = r->size + NGX_PUSH_JOURNAL_OVERHEAD;

    if (size > db->largest) {

        /* the server would end the connection */

        db->refused++;
        return NGX_OK;
    }

    if (db->nrows[table]
        && (db->nrows[table] == NGX_PUSH_JOURNAL_ROWS
            || db->bytes[table] + size > db->packet))
    {
        rc = ngx_push_journal_rows_flush(db, table);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    db->row[table][db->nrows[table]++] = r;
    db->bytes[table] += size;

    return NGX_OK;
}


static ngx_int_t
ngx_push_journal_rows_flush(ngx_push_journal_db_t *db, ngx_uint_t table)
{
    ngx_int_t   rc;
    ngx_uint_t  i, w;

    w = db->single ? NGX_PUSH_JOURNAL_WIDTHS - 1 : 0;

    for (i = 0; i < db->nrows[table]; i += ngx_push_journal_widths[w]) {

        while (ngx_push_journal_widths[w] > db->nrows[table] - i) {
            w++;
        }

        rc = ngx_push_journal_rows_execute(db, table, w, &db->row[table][i]);

        if (rc == NGX_DECLINED && db->single) {
            db->refused++;
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    db->nrows[table] = 0;
    db->bytes[table] = 0;

    return NGX_OK;
}


/* NGX_DECLINED: one of the rows is at fault; NGX_BUSY: a deadlock. */

static ngx_int_t
ngx_push_journal_rows_execute(ngx_push_journal_db_t *db, ngx_uint_t table,
    ngx_uint_t width, ngx_push_journal_record_t **row)
{
    unsigned     code;
    MYSQL_BIND  *b;
    MYSQL_STMT  *stmt;
    ngx_uint_t   i, n;

    stmt = db->insert[table][width];

    if (stmt == NULL) {
        stmt = ngx_push_journal_rows_prepare(db, table, width);

        if (stmt == NULL) {
            return NGX_ERROR;
        }
    }

    n = ngx_push_journal_widths[width];
    b = db->bind;

    ngx_memzero(b, n * ngx_push_journal_inserts[table].columns
                   * sizeof(MYSQL_BIND));

    for (i = 0; i < n; i++) {

        if (table == 0) {
            ngx_push_journal_rows_message(b, row[i]);

        } else {
            ngx_push_journal_rows_ack(b, row[i]);
        }

        b += ngx_push_journal_inserts[table].columns;
    }

    if (mysql_stmt_bind_param(stmt, db->bind) == 0
        && mysql_stmt_execute(stmt) == 0)
    {
        return NGX_OK;
    }

    code = mysql_stmt_errno(stmt);

    if (code == ER_LOCK_DEADLOCK) {
        return NGX_BUSY;
    }

    return ngx_push_journal_db_fault(db, "rows were not written", code,
                                     mysql_stmt_error(stmt))
           ? NGX_DECLINED : NGX_ERROR;
}


static MYSQL_STMT *
ngx_push_journal_rows_prepare(ngx_push_journal_db_t *db, ngx_uint_t table,
    ngx_uint_t width)
{
    char                        sql[NGX_PUSH_JOURNAL_SQL];
    size_t                      len;
    MYSQL_STMT                 *stmt;
    ngx_uint_t                  i;
    ngx_push_journal_insert_t  *insert;

    insert = &ngx_push_journal_inserts[table];
    len = snprintf(sql, sizeof(sql), "%s", insert->head);

    for (i = 0; i < ngx_push_journal_widths[width]; i++) {
        len += snprintf(sql + len, sizeof(sql) - len, "%s%s", i ? "," : "",
                        insert->row);
    }

    len += snprintf(sql + len, sizeof(sql) - len, "%s", insert->tail);

    stmt = mysql_stmt_init(db->my);

    if (stmt == NULL) {
        (void) ngx_push_journal_db_fault(db, "no memory", CR_OUT_OF_MEMORY,
                                         "for a statement");
        return NULL;
    }

    if (mysql_stmt_prepare(stmt, sql, len) != 0) {
        (void) ngx_push_journal_db_fault(db, "a statement is not possible",
                                         mysql_stmt_errno(stmt),
                                         mysql_stmt_error(stmt));
        (void) mysql_stmt_close(stmt);
        return NULL;
    }

    db->insert[table][width] = stmt;

    return stmt;
}


static void
ngx_push_journal_rows_message(MYSQL_BIND *b, ngx_push_journal_record_t *r)
{
    ngx_push_journal_rows_bytes(&b[0], ngx_push_journal_product(r),
                                r->product_len);
    ngx_push_journal_rows_number(&b[1], &r->kind, MYSQL_TYPE_TINY);
    ngx_push_journal_rows_bytes(&b[2], ngx_push_journal_name(r), r->name_len);
    ngx_push_journal_rows_number(&b[3], &r->incarnation, MYSQL_TYPE_LONGLONG);
    ngx_push_journal_rows_number(&b[4], &r->seq, MYSQL_TYPE_LONGLONG);
    ngx_push_journal_rows_number(&b[5], &r->created, MYSQL_TYPE_LONG);
    ngx_push_journal_rows_number(&b[6], &r->expires, MYSQL_TYPE_LONG);
    ngx_push_journal_rows_bytes(&b[7], ngx_push_journal_blob(r), r->blob_len);
}


static void
ngx_push_journal_rows_ack(MYSQL_BIND *b, ngx_push_journal_record_t *r)
{
    ngx_push_journal_rows_bytes(&b[0], ngx_push_journal_product(r),
                                r->product_len);
    ngx_push_journal_rows_bytes(&b[1], ngx_push_journal_name(r), r->name_len);
    ngx_push_journal_rows_number(&b[2], &r->incarnation, MYSQL_TYPE_LONGLONG);
    ngx_push_journal_rows_bytes(&b[3], ngx_push_journal_device(r),
                                r->device_len);
    ngx_push_journal_rows_number(&b[4], &r->seq, MYSQL_TYPE_LONGLONG);
    ngx_push_journal_rows_number(&b[5], &r->all, MYSQL_TYPE_LONGLONG);
    ngx_push_journal_rows_bytes(&b[6], ngx_push_journal_blob(r), r->blob_len);
    ngx_push_journal_rows_number(&b[7], &r->gone, MYSQL_TYPE_SHORT);
    ngx_push_journal_rows_number(&b[8], &r->created, MYSQL_TYPE_LONG);
}


static void
ngx_push_journal_rows_bytes(MYSQL_BIND *b, u_char *p, unsigned long len)
{
    b->buffer_type = MYSQL_TYPE_BLOB;
    b->buffer = p;
    b->buffer_length = len;
    b->length = &b->buffer_length;
}


static void
ngx_push_journal_rows_number(MYSQL_BIND *b, void *p,
    enum enum_field_types type)
{
    b->buffer_type = type;
    b->buffer = p;
    b->is_unsigned = 1;
}
