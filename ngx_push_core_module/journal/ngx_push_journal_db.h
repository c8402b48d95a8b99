
/*
 * Copyright (C) the ngx_push authors
 */


#ifndef _NGX_PUSH_JOURNAL_DB_H_INCLUDED_
#define _NGX_PUSH_JOURNAL_DB_H_INCLUDED_


/* Inside the part that knows MySQL. */


#include "ngx_push_journal_writer.h"
#include <mysql/mysql.h>


#define NGX_PUSH_JOURNAL_WIDTHS     3      /* rows of a statement: 64, 8, 1 */
#define NGX_PUSH_JOURNAL_ROWS       64
#define NGX_PUSH_JOURNAL_COLUMNS    9


struct ngx_push_journal_db_s {
    ngx_push_journal_writer_t  *writer;
    MYSQL                      *my;
    MYSQL_STMT                 *insert[2][NGX_PUSH_JOURNAL_WIDTHS];
    MYSQL_BIND                  bind[NGX_PUSH_JOURNAL_ROWS
                                     * NGX_PUSH_JOURNAL_COLUMNS];
    ngx_push_journal_record_t  *row[2][NGX_PUSH_JOURNAL_ROWS];
    ngx_uint_t                  nrows[2];  /* not yet executed */
    size_t                      bytes[2];
    size_t                      packet;    /* several rows, at most */
    size_t                      largest;   /* what the server takes */
    uint64_t                    refused;   /* rows of this transaction */
    ngx_uint_t                  single;    /* one row at a time: some are bad */

    ngx_uint_t                  purger;    /* holds the lock */
    int64_t                     purge_at;
    u_char                      product[NGX_PUSH_PRODUCT_MAX];
    unsigned long               product_len;
    u_char                      user[NGX_PUSH_NAME_MAX];
    unsigned long               user_len;  /* where the walk stands */
};


/* Counts it, leaves a note, and tells whether the row itself is at fault. */

ngx_uint_t ngx_push_journal_db_fault(ngx_push_journal_db_t *db,
    const char *what, unsigned code, const char *text);

/* A statement without values. */

ngx_int_t ngx_push_journal_db_query(ngx_push_journal_db_t *db,
    const char *sql);

/* The number that a query yields; NGX_DECLINED: it yields none. */

ngx_int_t ngx_push_journal_db_number(ngx_push_journal_db_t *db,
    const char *sql, uint64_t *value);


#endif /* _NGX_PUSH_JOURNAL_DB_H_INCLUDED_ */
