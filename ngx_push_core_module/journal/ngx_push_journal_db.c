
/*
 * Copyright (C) the ngx_push authors
 */


/* The connection to MySQL and its tables. */


#include "ngx_push_journal_db.h"
#include <mysql/errmsg.h>
#include <mysql/mysqld_error.h>
#include <stdio.h>


#define NGX_PUSH_JOURNAL_CONNECT    2      /* s */
#define NGX_PUSH_JOURNAL_TIMEOUT    4      /* s, of a read or write */

#define NGX_PUSH_JOURNAL_STRING(n)  NGX_PUSH_JOURNAL_STRING_(n)
#define NGX_PUSH_JOURNAL_STRING_(n) #n


static void ngx_push_journal_db_options(ngx_push_journal_db_t *db);
static ngx_int_t ngx_push_journal_db_session(ngx_push_journal_db_t *db);
static ngx_int_t ngx_push_journal_db_schema(ngx_push_journal_db_t *db);


/*
 * A wait for a lock ends before a read does, so that it is an error and not a
 * connection lost; READ COMMITTED, so that several workers which add rows with
 * neighbouring keys do not wait for each other.
 */

static const char  *ngx_push_journal_session[] = {
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES'",
    "SET SESSION innodb_lock_wait_timeout = 2",
    "SET SESSION lock_wait_timeout = 2",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION autocommit = 0",
    NULL
};


/*
 * The version comes last: what is before it is repeatable, for MySQL commits
 * each change of a table by itself.
 */

static const char  *ngx_push_journal_schema[] = {

    "CREATE TABLE IF NOT EXISTS ngx_push_message ("
    " product VARBINARY(63) NOT NULL,"
    " kind TINYINT UNSIGNED NOT NULL,"
    " name VARBINARY(255) NOT NULL,"
    " incarnation BIGINT UNSIGNED NOT NULL,"
    " seq BIGINT UNSIGNED NOT NULL,"
    " created INT UNSIGNED NOT NULL,"
    " expires INT UNSIGNED NOT NULL,"
    " data MEDIUMBLOB NOT NULL,"
    " PRIMARY KEY (product, kind, name, incarnation, seq),"
    " KEY expires (expires)"
    ") ENGINE=InnoDB ROW_FORMAT=DYNAMIC",

    "CREATE TABLE IF NOT EXISTS ngx_push_ack ("
    " product VARBINARY(63) NOT NULL,"
    " user VARBINARY(255) NOT NULL,"
    " incarnation BIGINT UNSIGNED NOT NULL,"
    " device VARBINARY(319) NOT NULL,"
    " acked BIGINT UNSIGNED NOT NULL,"
    " everyone BIGINT UNSIGNED NOT NULL,"
    " rest MEDIUMBLOB NOT NULL,"
    " gone TINYINT UNSIGNED NOT NULL,"
    " updated INT UNSIGNED NOT NULL,"
    " PRIMARY KEY (product, user, incarnation, device)"
    ") ENGINE=InnoDB ROW_FORMAT=DYNAMIC",

    "CREATE TABLE IF NOT EXISTS ngx_push_schema ("
    " id TINYINT UNSIGNED NOT NULL PRIMARY KEY,"
    " version INT UNSIGNED NOT NULL"
    ") ENGINE=InnoDB",

    "INSERT IGNORE INTO ngx_push_schema (id, version) VALUES (1, "
    NGX_PUSH_JOURNAL_STRING(NGX_PUSH_JOURNAL_VERSION) ")",

    "COMMIT",
    NULL
};


/* From version 1; a column that is there already is no error. */

static const char  *ngx_push_journal_upgrade[] = {
    "ALTER TABLE ngx_push_ack ADD COLUMN rest MEDIUMBLOB NOT NULL"
    " AFTER everyone",
    "ALTER TABLE ngx_push_ack ADD COLUMN gone TINYINT UNSIGNED NOT NULL"
    " AFTER rest",
    "UPDATE ngx_push_schema SET version = "
    NGX_PUSH_JOURNAL_STRING(NGX_PUSH_JOURNAL_VERSION) " WHERE id = 1",
    "COMMIT",
    NULL
};


ngx_push_journal_db_t *
ngx_push_journal_db_open(ngx_push_journal_writer_t *w)
{
    ngx_push_journal_db_t        *db;
    ngx_push_journal_settings_t  *set;

    db = calloc(1, sizeof(ngx_push_journal_db_t));
    if (db == NULL) {
        return NULL;
    }

    db->writer = w;
    db->my = mysql_init(NULL);

    if (db->my == NULL) {
        free(db);
        return NULL;
    }

    set = &w->set;

    ngx_push_journal_db_options(db);

    if (mysql_real_connect(db->my, set->host, set->user,
                           set->password ? set->password : "", set->database,
                           set->port, set->socket, 0)
        == NULL)
    {
        (void) ngx_push_journal_db_fault(db, "no connection",
                                         mysql_errno(db->my),
                                         mysql_error(db->my));
        goto failed;
    }

    ngx_push_journal_fd_set(w, mysql_get_socket(db->my));

    if (ngx_push_journal_db_session(db) != NGX_OK
        || ngx_push_journal_db_schema(db) != NGX_OK)
    {
        goto failed;
    }

    return db;

failed:

    ngx_push_journal_db_close(db);

    return NULL;
}


static void
ngx_push_journal_db_options(ngx_push_journal_db_t *db)
{
    my_bool                       on, off;
    unsigned                      connect, timeout, tcp, local;
    ngx_push_journal_settings_t  *set;

    set = &db->writer->set;

    on = 1;
    off = 0;
    local = 0;
    connect = NGX_PUSH_JOURNAL_CONNECT;
    timeout = NGX_PUSH_JOURNAL_TIMEOUT;

    (void) mysql_options(db->my, MYSQL_OPT_CONNECT_TIMEOUT, &connect);
    (void) mysql_options(db->my, MYSQL_OPT_READ_TIMEOUT, &timeout);
    (void) mysql_options(db->my, MYSQL_OPT_WRITE_TIMEOUT, &timeout);
    (void) mysql_options(db->my, MYSQL_OPT_RECONNECT, &off);

    /* a server may ask a client for its files */

    (void) mysql_options(db->my, MYSQL_OPT_LOCAL_INFILE, &local);
    (void) mysql_options(db->my, MYSQL_SET_CHARSET_NAME, "utf8mb4");

    if (set->host) {

        /* "localhost" is an address too */

        tcp = MYSQL_PROTOCOL_TCP;
        (void) mysql_options(db->my, MYSQL_OPT_PROTOCOL, &tcp);
    }

    if (set->ssl == NGX_PUSH_JOURNAL_SSL_OFF) {
        return;
    }

    (void) mysql_options(db->my, MYSQL_OPT_SSL_ENFORCE, &on);

    if (set->ssl == NGX_PUSH_JOURNAL_SSL_VERIFY) {
        (void) mysql_options(db->my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &on);

        if (set->ca) {
            (void) mysql_options(db->my, MYSQL_OPT_SSL_CA, set->ca);
        }
    }
}


static ngx_int_t
ngx_push_journal_db_session(ngx_push_journal_db_t *db)
{
    uint64_t    packet;
    ngx_uint_t  i;

    for (i = 0; ngx_push_journal_session[i]; i++) {
        if (ngx_push_journal_db_query(db, ngx_push_journal_session[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_push_journal_db_number(db, "SELECT @@max_allowed_packet",
                                   &packet)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    db->largest = packet;
    db->packet = ngx_min(packet / 2, 1024 * 1024);

    return NGX_OK;
}


static ngx_int_t
ngx_push_journal_db_schema(ngx_push_journal_db_t *db)
{
    uint64_t    tables, version;
    ngx_int_t   rc;
    ngx_uint_t  i;

    if (ngx_push_journal_db_number(db, "SELECT COUNT(*) FROM "
                                   "information_schema.tables WHERE "
                                   "table_schema = DATABASE() AND "
                                   "table_name = 'ngx_push_schema'", &tables)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for ( ;; ) {

        rc = NGX_DECLINED;

        if (tables) {
            rc = ngx_push_journal_db_number(db, "SELECT version FROM "
                                            "ngx_push_schema WHERE id = 1",
                                            &version);
        }

        if (rc != NGX_DECLINED) {
            break;
        }

        for (i = 0; ngx_push_journal_schema[i]; i++) {
            if (ngx_push_journal_db_query(db, ngx_push_journal_schema[i])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        tables = 1;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    if (version == 1) {

        /* several may do so at once: none minds */

        for (i = 0; ngx_push_journal_upgrade[i]; i++) {
            if (mysql_query(db->my, ngx_push_journal_upgrade[i]) != 0
                && mysql_errno(db->my) != ER_DUP_FIELDNAME)
            {
                (void) ngx_push_journal_db_fault(db, "the tables cannot be "
                                                 "brought up to date",
                                                 mysql_errno(db->my),
                                                 mysql_error(db->my));
                return NGX_ERROR;
            }
        }

        version = NGX_PUSH_JOURNAL_VERSION;
    }

    if (version != NGX_PUSH_JOURNAL_VERSION) {
        db->writer->now.errors++;
        ngx_push_journal_note(db->writer, "the tables in database %s are of "
                              "version %llu, which this one (%d) does not "
                              "know: nothing is written to them",
                              db->writer->set.database,
                              (unsigned long long) version,
                              NGX_PUSH_JOURNAL_VERSION);
        return NGX_ERROR;
    }

    return ngx_push_journal_db_query(db, "COMMIT");
}


void
ngx_push_journal_db_close(ngx_push_journal_db_t *db)
{
    ngx_uint_t  i, n;

    for (i = 0; i < 2; i++) {
        for (n = 0; n < NGX_PUSH_JOURNAL_WIDTHS; n++) {
            if (db->insert[i][n]) {
                (void) mysql_stmt_close(db->insert[i][n]);
            }
        }
    }

    ngx_push_journal_fd_set(db->writer, -1);
    mysql_close(db->my);
    free(db);
}


ngx_int_t
ngx_push_journal_db_ping(ngx_push_journal_db_t *db)
{
    if (mysql_ping(db->my) == 0) {
        return NGX_OK;
    }

    (void) ngx_push_journal_db_fault(db, "the connection is lost",
                                     mysql_errno(db->my),
                                     mysql_error(db->my));
    return NGX_ERROR;
}


ngx_int_t
ngx_push_journal_db_query(ngx_push_journal_db_t *db, const char *sql)
{
    if (mysql_query(db->my, sql) == 0) {
        return NGX_OK;
    }

    (void) ngx_push_journal_db_fault(db, "a statement failed",
                                     mysql_errno(db->my),
                                     mysql_error(db->my));
    return NGX_ERROR;
}


ngx_int_t
ngx_push_journal_db_number(ngx_push_journal_db_t *db, const char *sql,
    uint64_t *value)
{
    MYSQL_ROW   row;
    MYSQL_RES  *res;

    if (ngx_push_journal_db_query(db, sql) != NGX_OK) {
        return NGX_ERROR;
    }

    res = mysql_store_result(db->my);

    if (res == NULL) {
        (void) ngx_push_journal_db_fault(db, "a query failed",
                                         mysql_errno(db->my),
                                         mysql_error(db->my));
        return NGX_ERROR;
    }

    row = mysql_fetch_row(res);

    if (row == NULL || row[0] == NULL) {
        mysql_free_result(res);
        return NGX_DECLINED;
    }

    *value = strtoull(row[0], NULL, 10);
    mysql_free_result(res);

    return NGX_OK;
}


ngx_uint_t
ngx_push_journal_db_fault(ngx_push_journal_db_t *db, const char *what,
    unsigned code, const char *text)
{
    db->writer->now.errors++;

    ngx_push_journal_note(db->writer, "MySQL: %s: %u: %s", what, code, text);

    switch (code) {

    case ER_NET_PACKET_TOO_LARGE:
    case CR_NET_PACKET_TOO_LARGE:
    case ER_DATA_TOO_LONG:
    case ER_WARN_DATA_OUT_OF_RANGE:
    case ER_TRUNCATED_WRONG_VALUE_FOR_FIELD:
    case ER_TOO_BIG_ROWSIZE:
        return 1;

    default:
        return 0;
    }
}
