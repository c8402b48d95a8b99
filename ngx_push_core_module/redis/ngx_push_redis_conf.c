
/*
 * Copyright (C) the ngx_push authors
 */


/* The directives that have a form of their own. */


#include "ngx_push_redis_client.h"


#define NGX_PUSH_REDIS_PORT           6379
#define NGX_PUSH_REDIS_SENTINEL_PORT  26379
#define NGX_PUSH_REDIS_PREFIX_MAX     64


static char *ngx_push_redis_conf_word(ngx_conf_t *cf,
    ngx_push_redis_where_t *where, ngx_str_t *word);
static char *ngx_push_redis_conf_db(ngx_conf_t *cf,
    ngx_push_redis_where_t *where, ngx_str_t *text);
static char *ngx_push_redis_conf_address(ngx_conf_t *cf,
    ngx_push_redis_where_t *where, ngx_str_t *word);
static char *ngx_push_redis_conf_fits(ngx_conf_t *cf,
    ngx_push_redis_where_t *where);


#define ngx_push_redis_begins(s, text)                                        \
    ((s)->len >= sizeof(text) - 1                                             \
     && ngx_strncmp((s)->data, text, sizeof(text) - 1) == 0)


/*
 * redis ADDRESS [db=N];
 * redis sentinel=NAME ADDRESS ... [db=N];
 * redis cluster ADDRESS ...;
 */

char *
ngx_push_redis_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_redis_conf_t *rcf = conf;

    char                    *rv;
    ngx_str_t               *value;
    ngx_uint_t               i;
    ngx_push_redis_where_t  *where;

    if (rcf->topology) {
        return "is duplicate";
    }

    where = ngx_pcalloc(cf->pool, sizeof(ngx_push_redis_where_t));

    if (where == NULL
        || ngx_array_init(&where->addrs, cf->pool, 4,
                          sizeof(ngx_push_redis_addr_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    where->type = &ngx_push_redis_single;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_push_redis_conf_word(cf, where, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    rcf->url = value[1];
    rcf->topology = where;

    return ngx_push_redis_conf_fits(cf, where);
}


static char *
ngx_push_redis_conf_word(ngx_conf_t *cf, ngx_push_redis_where_t *where,
    ngx_str_t *word)
{
    ngx_str_t  text;

    if (ngx_push_redis_begins(word, "sentinel=")) {

        if (where->type != &ngx_push_redis_single || word->len == 9
            || where->addrs.nelts)
        {
            goto invalid;
        }

        where->type = &ngx_push_redis_sentinel;
        where->master.data = word->data + 9;
        where->master.len = word->len - 9;

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(word->data, "cluster") == 0) {

        if (where->type != &ngx_push_redis_single || where->addrs.nelts) {
            goto invalid;
        }

        where->type = &ngx_push_redis_cluster;

        return NGX_CONF_OK;
    }

    if (ngx_push_redis_begins(word, "db=")) {
        text.data = word->data + 3;
        text.len = word->len - 3;

        return ngx_push_redis_conf_db(cf, where, &text);
    }

    if (ngx_push_redis_begins(word, "rediss:")) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"redis\" does not speak TLS: point it at a "
                           "\"stream\" server on loopback that does, with "
                           "\"proxy_ssl on\"");
        return NGX_CONF_ERROR;
    }

    return ngx_push_redis_conf_address(cf, where, word);

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"redis\"", word);

    return NGX_CONF_ERROR;
}


static char *
ngx_push_redis_conf_db(ngx_conf_t *cf, ngx_push_redis_where_t *where,
    ngx_str_t *text)
{
    ngx_int_t  n;

    n = ngx_atoi(text->data, text->len);

    if (n < 0 || n > 65535) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid database \"%V\" of \"redis\": a number "
                           "from 0 to 65535", text);
        return NGX_CONF_ERROR;
    }

    where->db = n;

    return NGX_CONF_OK;
}


/* HOST[:PORT], unix:PATH, redis://HOST[:PORT][/DB] */

static char *
ngx_push_redis_conf_address(ngx_conf_t *cf, ngx_push_redis_where_t *where,
    ngx_str_t *word)
{
    char                   *rv;
    u_char                 *slash;
    ngx_str_t               text, db;
    ngx_url_t               u;
    ngx_uint_t              i;
    ngx_push_redis_addr_t  *addr;

    text = *word;

    if (ngx_push_redis_begins(&text, "redis://")) {
        text.data += 8;
        text.len -= 8;

        if (ngx_strlchr(text.data, text.data + text.len, '@')) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"redis\" takes no password: use "
                               "\"redis_user\" and \"redis_password\"");
            return NGX_CONF_ERROR;
        }

        slash = ngx_strlchr(text.data, text.data + text.len, '/');

        if (slash) {
            db.data = slash + 1;
            db.len = text.data + text.len - db.data;
            text.len = slash - text.data;

            if (db.len) {
                rv = ngx_push_redis_conf_db(cf, where, &db);

                if (rv != NGX_CONF_OK) {
                    return rv;
                }
            }
        }
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = text;
    u.default_port = where->type == &ngx_push_redis_sentinel
                     ? NGX_PUSH_REDIS_SENTINEL_PORT : NGX_PUSH_REDIS_PORT;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in address \"%V\" of \"redis\"",
                           u.err ? u.err : "error", &text);
        return NGX_CONF_ERROR;
    }

    /* a name may have several, of which one server needs one */

    if (where->type == &ngx_push_redis_single) {

        if (where->addrs.nelts) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"redis\" takes one address, or begins with "
                               "\"sentinel=NAME\" or \"cluster\"");
            return NGX_CONF_ERROR;
        }

        u.naddrs = 1;
    }

    for (i = 0; i < u.naddrs; i++) {
        addr = ngx_array_push(&where->addrs);

        if (addr == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_push_redis_addr_of(addr, u.addrs[i].sockaddr, u.addrs[i].socklen);
    }

    return NGX_CONF_OK;
}


void
ngx_push_redis_addr_of(ngx_push_redis_addr_t *addr,
    struct sockaddr *sockaddr, socklen_t socklen)
{
    struct sockaddr_un  *un;

    ngx_memzero(addr, sizeof(ngx_push_redis_addr_t));

    if (sockaddr->sa_family == AF_UNIX) {
        un = (struct sockaddr_un *) sockaddr;
        ngx_cpystrn((u_char *) addr->host, (u_char *) un->sun_path,
                    sizeof(addr->host));
        return;
    }

    if (sockaddr->sa_family == AF_INET6) {
        (void) inet_ntop(AF_INET6, &((struct sockaddr_in6 *) sockaddr)
                                       ->sin6_addr,
                         addr->host, sizeof(addr->host));

    } else {
        (void) inet_ntop(AF_INET, &((struct sockaddr_in *) sockaddr)->sin_addr,
                         addr->host, sizeof(addr->host));
    }

    addr->port = ngx_inet_get_port(sockaddr);
}


static char *
ngx_push_redis_conf_fits(ngx_conf_t *cf, ngx_push_redis_where_t *where)
{
    if (where->addrs.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"redis\" has no address");
        return NGX_CONF_ERROR;
    }

    if (where->type == &ngx_push_redis_cluster && where->db) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "a cluster of Redis has no database but 0");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_push_redis_conf_password(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_redis_conf_t *rcf = conf;

    char       *rv;
    ngx_str_t  *value;

    if (rcf->password.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    rv = ngx_push_read_secret(cf, &value[1], &rcf->password);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return rcf->password.len ? NGX_CONF_OK : "is empty";
}


/* redis_user, redis_prefix */

char *
ngx_push_redis_conf_name(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    size_t      i;
    ngx_str_t  *value, *field;

    field = (ngx_str_t *) ((u_char *) conf + cmd->offset);

    if (field->data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 0; i < value[1].len; i++) {
        if (value[1].data[i] <= ' ' || value[1].data[i] >= 0x7f
            || value[1].data[i] == '{' || value[1].data[i] == '}')
        {
            break;
        }
    }

    if (i < value[1].len || i > NGX_PUSH_REDIS_PREFIX_MAX || i == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": 1 to %d printable ASCII "
                           "characters without spaces and braces",
                           &value[0], NGX_PUSH_REDIS_PREFIX_MAX);
        return NGX_CONF_ERROR;
    }

    *field = value[1];

    return NGX_CONF_OK;
}
