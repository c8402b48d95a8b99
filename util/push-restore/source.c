
/*
 * Copyright (C) the ngx_push authors
 */


#include "restore.h"


#define SOURCE_ARGS      10
#define SOURCE_COLUMNS   8


typedef struct {
    MYSQL_STMT          *stmt;
    MYSQL_BIND           in[SOURCE_ARGS];
    uint64_t             number[SOURCE_ARGS];
    int                  n;
    MYSQL_BIND           out[SOURCE_COLUMNS];
    uint64_t             value[SOURCE_COLUMNS];
    my_bool              null[SOURCE_COLUMNS];
    int                  columns;
} source_query_t;


static MYSQL           *source_pages, *source_asks;
static source_query_t   source_page;
static char            *source_blob;   /* of a message, of a device */
static unsigned long    source_blob_len, source_blob_size;


/*
 * Rows are taken as fast as Redis, or --rate, lets them be written, and a
 * connection may rest as long: the server is to wait, a day if need be.
 */

static int
source_session(MYSQL *my)
{
    size_t              i;
    static const char  *session[] = {
        "SET NAMES utf8mb4",
        "SET SESSION net_write_timeout = 86400",
        "SET SESSION wait_timeout = 86400",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
    };

    for (i = 0; i < sizeof(session) / sizeof(session[0]); i++) {
        if (mysql_query(my, session[i]) != 0) {
            restore_error("MySQL: %s", mysql_error(my));
            return RESTORE_ERROR;
        }
    }

    return RESTORE_OK;
}


static MYSQL *
source_connect(void)
{
    MYSQL    *my;
    my_bool   on = 1;
    unsigned  local = 0, tcp = MYSQL_PROTOCOL_TCP, timeout = 60, wait = 10;

    my = mysql_init(NULL);

    if (my == NULL) {
        restore_error("no memory");
        return NULL;
    }

    (void) mysql_options(my, MYSQL_OPT_CONNECT_TIMEOUT, &wait);
    (void) mysql_options(my, MYSQL_OPT_READ_TIMEOUT, &timeout);
    (void) mysql_options(my, MYSQL_OPT_WRITE_TIMEOUT, &timeout);
    (void) mysql_options(my, MYSQL_OPT_LOCAL_INFILE, &local);
    (void) mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");

    if (restore_options.host) {
        (void) mysql_options(my, MYSQL_OPT_PROTOCOL, &tcp);
    }

    if (restore_options.ssl) {
        (void) mysql_options(my, MYSQL_OPT_SSL_ENFORCE, &on);
    }

    if (restore_options.ssl == 2) {
        (void) mysql_options(my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &on);

        if (restore_options.ca) {
            (void) mysql_options(my, MYSQL_OPT_SSL_CA, restore_options.ca);
        }
    }

    if (mysql_real_connect(my, restore_options.host, restore_options.user,
                           restore_options.password ? restore_options.password
                                                    : "",
                           restore_options.database, restore_options.port,
                           restore_options.socket, 0)
        == NULL)
    {
        restore_error("MySQL: %s", mysql_error(my));
        mysql_close(my);
        return NULL;
    }

    if (source_session(my) != RESTORE_OK) {
        mysql_close(my);
        return NULL;
    }

    return my;
}


static void
source_bytes(source_query_t *q, const char *p, unsigned long len)
{
    MYSQL_BIND  *b = &q->in[q->n++];

    memset(b, 0, sizeof(MYSQL_BIND));

    b->buffer_type = MYSQL_TYPE_BLOB;
    b->buffer = (void *) p;
    b->buffer_length = len;
    b->length = &b->buffer_length;
}


static void
source_number(source_query_t *q, uint64_t value)
{
    MYSQL_BIND  *b = &q->in[q->n];

    memset(b, 0, sizeof(MYSQL_BIND));
    q->number[q->n++] = value;

    b->buffer_type = MYSQL_TYPE_LONGLONG;
    b->buffer = &q->number[q->n - 1];
    b->is_unsigned = 1;
}


static void
source_out_bytes(source_query_t *q, char *p, unsigned long size,
    unsigned long *len)
{
    MYSQL_BIND  *b = &q->out[q->columns++];

    memset(b, 0, sizeof(MYSQL_BIND));

    b->buffer_type = MYSQL_TYPE_BLOB;
    b->buffer = p;
    b->buffer_length = size;
    b->length = len;
    b->is_null = &q->null[q->columns - 1];
}


static void
source_out_number(source_query_t *q)
{
    MYSQL_BIND  *b = &q->out[q->columns];

    memset(b, 0, sizeof(MYSQL_BIND));

    b->buffer_type = MYSQL_TYPE_LONGLONG;
    b->buffer = &q->value[q->columns];
    b->is_unsigned = 1;
    b->is_null = &q->null[q->columns];
    q->columns++;
}


static void
source_end(source_query_t *q)
{
    if (q->stmt) {
        (void) mysql_stmt_close(q->stmt);
    }

    memset(q, 0, sizeof(source_query_t));
}


static int
source_execute(MYSQL *my, source_query_t *q, const char *sql)
{
    q->stmt = mysql_stmt_init(my);

    if (q->stmt && mysql_stmt_prepare(q->stmt, sql, strlen(sql)) == 0
        && mysql_stmt_bind_param(q->stmt, q->in) == 0
        && mysql_stmt_execute(q->stmt) == 0
        && mysql_stmt_bind_result(q->stmt, q->out) == 0)
    {
        return RESTORE_OK;
    }

    restore_error("MySQL: %s", q->stmt ? mysql_stmt_error(q->stmt)
                                       : "no memory");
    source_end(q);

    return RESTORE_ERROR;
}


/* RESTORE_OK, RESTORE_END, RESTORE_ERROR */

static int
source_fetch(source_query_t *q)
{
    int  rc;

    rc = mysql_stmt_fetch(q->stmt);

    if (rc == 0 || rc == MYSQL_DATA_TRUNCATED) {
        return RESTORE_OK;
    }

    if (rc == MYSQL_NO_DATA) {
        return RESTORE_END;
    }

    restore_error("MySQL: %s", mysql_stmt_error(q->stmt));

    return RESTORE_ERROR;
}


/* The only number of a query whose arguments are in q. */

static int
source_value(source_query_t *q, const char *sql, uint64_t *value)
{
    int  rc;

    source_out_number(q);

    if (source_execute(source_asks, q, sql) != RESTORE_OK) {
        return RESTORE_ERROR;
    }

    rc = source_fetch(q);
    *value = rc == RESTORE_OK && !q->null[0] ? q->value[0] : 0;

    source_end(q);

    return rc == RESTORE_ERROR ? RESTORE_ERROR : RESTORE_OK;
}


int
source_open(void)
{
    uint64_t        version;
    source_query_t  q = { 0 };

    source_blob_size = 1024 * 1024;
    source_blob = malloc(source_blob_size);

    if (source_blob == NULL) {
        restore_error("no memory");
        return RESTORE_ERROR;
    }

    source_pages = source_connect();
    source_asks = source_pages ? source_connect() : NULL;

    if (source_asks == NULL) {
        return RESTORE_ERROR;
    }

    if (source_value(&q, "SELECT version FROM ngx_push_schema WHERE id = 1",
                     &version)
        != RESTORE_OK)
    {
        return RESTORE_ERROR;
    }

    if (version != RESTORE_VERSION) {
        restore_error("the journal is of version %llu, this program knows %d",
                      (unsigned long long) version, RESTORE_VERSION);
        return RESTORE_ERROR;
    }

    return RESTORE_OK;
}


void
source_close(void)
{
    source_end(&source_page);

    if (source_pages) {
        mysql_close(source_pages);
    }

    if (source_asks) {
        mysql_close(source_asks);
    }

    free(source_blob);
}


uint64_t
source_rows(void)
{
    uint64_t        n;
    source_query_t  q = { 0 };

    if (source_value(&q, "SELECT SUM(table_rows) FROM "
                     "information_schema.tables WHERE table_schema = "
                     "DATABASE() AND table_name IN ('ngx_push_message', "
                     "'ngx_push_ack')", &n)
        != RESTORE_OK)
    {
        return 0;
    }

    return n;
}


int
source_product(const char *table, char *product)
{
    int             rc;
    char            sql[128], next[RESTORE_PRODUCT];
    unsigned long   len = 0;
    source_query_t  q = { 0 };

    (void) snprintf(sql, sizeof(sql), "SELECT MIN(product) FROM %s WHERE "
                    "product > ?", table);

    source_bytes(&q, product, strlen(product));
    source_out_bytes(&q, next, sizeof(next), &len);

    if (source_execute(source_asks, &q, sql) != RESTORE_OK) {
        return RESTORE_ERROR;
    }

    rc = source_fetch(&q);

    if (rc == RESTORE_OK && q.null[0]) {
        rc = RESTORE_END;
    }

    if (rc == RESTORE_OK) {
        memcpy(product, next, len);
        product[len] = '\0';
    }

    source_end(&q);

    return rc;
}


/*
 * What stands behind a position, in a form of which the server makes ranges of
 * the primary key.
 */

int
source_messages(restore_position_t *at, unsigned limit)
{
    source_query_t  *q = &source_page;

    source_end(q);

    source_bytes(q, at->product, strlen(at->product));
    source_number(q, at->kind);
    source_bytes(q, at->name, at->name_len);
    source_bytes(q, at->name, at->name_len);
    source_number(q, at->incarnation);
    source_number(q, at->incarnation);
    source_number(q, at->seq);
    source_number(q, restore_options.since);
    source_number(q, limit);

    return RESTORE_OK;
}


int
source_message(restore_message_t *m)
{
    int              rc;
    source_query_t  *q = &source_page;

    if (q->stmt == NULL) {

        source_out_bytes(q, m->name, sizeof(m->name), &m->name_len);
        source_out_number(q);
        source_out_number(q);
        source_out_number(q);
        source_out_bytes(q, source_blob, source_blob_size, &source_blob_len);

        if (source_execute(source_pages, q, "SELECT name, incarnation, seq, "
                           "expires, data FROM ngx_push_message WHERE "
                           "product = ? AND kind = ? AND (name > ? OR "
                           "(name = ? AND (incarnation > ? OR (incarnation = ?"
                           " AND seq > ?)))) AND created >= ? ORDER BY name, "
                           "incarnation, seq LIMIT ?")
            != RESTORE_OK)
        {
            return RESTORE_ERROR;
        }
    }

    rc = source_fetch(q);

    if (rc != RESTORE_OK) {
        return rc;
    }

    if (source_blob_len > source_blob_size) {
        restore_error("a message is larger than any that is accepted");
        return RESTORE_ERROR;
    }

    m->incarnation = q->value[1];
    m->seq = q->value[2];
    m->expires = q->value[3];
    m->blob = source_blob;
    m->blob_len = source_blob_len;

    return RESTORE_OK;
}


int
source_acks(restore_position_t *at, unsigned limit)
{
    source_query_t  *q = &source_page;

    source_end(q);

    source_bytes(q, at->product, strlen(at->product));
    source_bytes(q, at->name, at->name_len);
    source_number(q, limit);

    return RESTORE_OK;
}


int
source_ack(restore_ack_t *ack)
{
    int              rc;
    source_query_t  *q = &source_page;

    if (q->stmt == NULL) {

        source_out_bytes(q, ack->user, sizeof(ack->user), &ack->user_len);
        source_out_number(q);
        source_out_bytes(q, ack->device, sizeof(ack->device),
                         &ack->device_len);
        source_out_number(q);
        source_out_number(q);
        source_out_number(q);
        source_out_bytes(q, source_blob, source_blob_size, &source_blob_len);

        if (source_execute(source_pages, q, "SELECT user, incarnation, device,"
                           " acked, updated, gone, rest FROM ngx_push_ack "
                           "WHERE product = ? AND user > ? ORDER BY user, "
                           "incarnation, device LIMIT ?")
            != RESTORE_OK)
        {
            return RESTORE_ERROR;
        }
    }

    rc = source_fetch(q);

    if (rc != RESTORE_OK) {
        return rc;
    }

    ack->incarnation = q->value[1];
    ack->acked = q->value[3];
    ack->updated = q->value[4];
    ack->gone = q->value[5] != 0;
    ack->rest = source_blob;
    ack->rest_len = source_blob_len;

    if (source_blob_len > RESTORE_REST) {
        restore_error("what is known of a device is too much");
        return RESTORE_ERROR;
    }

    return RESTORE_OK;
}


void
source_page_end(void)
{
    source_end(&source_page);
}


int
source_log(restore_message_t *m, uint64_t *last, uint64_t *everyone)
{
    source_query_t  q = { 0 };

    *everyone = 0;

    source_bytes(&q, m->product, m->product_len);
    source_number(&q, m->kind);
    source_bytes(&q, m->name, m->name_len);
    source_number(&q, m->incarnation);

    if (source_value(&q, "SELECT MAX(seq) FROM ngx_push_message WHERE "
                     "product = ? AND kind = ? AND name = ? AND "
                     "incarnation = ?", last)
        != RESTORE_OK)
    {
        return RESTORE_ERROR;
    }

    if (m->kind != 0) {
        return RESTORE_OK;
    }

    source_bytes(&q, m->product, m->product_len);
    source_bytes(&q, m->name, m->name_len);
    source_number(&q, m->incarnation);

    if (source_value(&q, "SELECT MAX(everyone) FROM ngx_push_ack WHERE "
                     "product = ? AND user = ? AND incarnation = ?", everyone)
        != RESTORE_OK)
    {
        return RESTORE_ERROR;
    }

    return RESTORE_OK;
}
