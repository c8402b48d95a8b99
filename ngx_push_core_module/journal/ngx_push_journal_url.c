
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * journal mysql://USER@HOST[:PORT]/DATABASE [parameters]
 * journal mysql://USER@unix:PATH:/DATABASE [parameters]
 *
 * Nothing here may write the password into a log, nor the address, in which
 * somebody may have put one.
 */


#include "ngx_push_journal_conf.h"


#define NGX_PUSH_JOURNAL_USER_MAX      128
#define NGX_PUSH_JOURNAL_DATABASE_MAX  64
#define NGX_PUSH_JOURNAL_SOCKET_MAX    107


static const char *ngx_push_journal_parse(ngx_conf_t *cf,
    ngx_push_journal_conf_t *jcf, ngx_str_t *url);
static const char *ngx_push_journal_host(ngx_conf_t *cf,
    ngx_push_journal_conf_t *jcf, u_char *p, u_char *last);
static const char *ngx_push_journal_decode(ngx_conf_t *cf, ngx_str_t *dst,
    u_char *p, u_char *last);
static char *ngx_push_journal_parameter(ngx_conf_t *cf,
    ngx_push_journal_conf_t *jcf, ngx_str_t *value);
static char *ngx_push_journal_password(ngx_conf_t *cf,
    ngx_push_journal_conf_t *jcf, ngx_str_t *value);


char *
ngx_push_journal_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_push_journal_conf_t  *jcf = conf;

    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   i;
    const char  *fault;

    if (jcf->database.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    fault = ngx_push_journal_parse(cf, jcf, &value[1]);

    if (fault) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid address of \"journal\": %s; write "
                           "mysql://USER@HOST[:PORT]/DATABASE or "
                           "mysql://USER@unix:PATH:/DATABASE", fault);
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_push_journal_parameter(cf, jcf, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (jcf->ca.len && jcf->ssl != NGX_PUSH_JOURNAL_SSL_VERIFY) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"ca=\" of \"journal\" is of no use without "
                           "\"ssl=verify\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* NULL, or what is wrong. */

static const char *
ngx_push_journal_parse(ngx_conf_t *cf, ngx_push_journal_conf_t *jcf,
    ngx_str_t *url)
{
    u_char      *p, *last, *at, *slash;
    const char  *fault;

    p = url->data;
    last = p + url->len;

    if (url->len < 8 || ngx_strncmp(p, "mysql://", 8) != 0) {
        return "it does not begin with mysql://";
    }

    p += 8;

    for (at = last - 1; at >= p && *at != '@'; at--) { /* void */ }

    if (at <= p) {
        return "it has no user";
    }

    if (ngx_strlchr(p, at, ':')) {
        return "a password does not belong into it, there is "
               "\"password_file=\"";
    }

    fault = ngx_push_journal_decode(cf, &jcf->user, p, at);

    if (fault) {
        return fault;
    }

    if (jcf->user.len > NGX_PUSH_JOURNAL_USER_MAX) {
        return "the user is too long";
    }

    for (slash = last - 1; slash > at && *slash != '/'; slash--) { /* void */ }

    if (slash == at || slash + 1 == last) {
        return "it has no database";
    }

    fault = ngx_push_journal_host(cf, jcf, at + 1, slash);

    if (fault) {
        return fault;
    }

    fault = ngx_push_journal_decode(cf, &jcf->database, slash + 1, last);

    if (fault == NULL && jcf->database.len > NGX_PUSH_JOURNAL_DATABASE_MAX) {
        return "the name of the database is too long";
    }

    return fault;
}


static const char *
ngx_push_journal_host(ngx_conf_t *cf, ngx_push_journal_conf_t *jcf,
    u_char *p, u_char *last)
{
    u_char     *colon, *end;
    ngx_int_t   port;

    if (last - p > 5 && ngx_strncmp(p, "unix:", 5) == 0) {

        p += 5;

        if (last - p < 2 || last[-1] != ':' || *p != '/') {
            return "the path of a socket begins with a slash and ends with "
                   "a colon";
        }

        last--;

        if (last - p > NGX_PUSH_JOURNAL_SOCKET_MAX) {
            return "the path of the socket is too long";
        }

        return ngx_push_journal_decode(cf, &jcf->socket, p, last);
    }

    colon = NULL;
    end = last;

    if (p < last && *p == '[') {
        end = ngx_strlchr(p, last, ']');

        if (end == NULL) {
            return "the host lacks a \"]\"";
        }

        p++;
        colon = end + 1;

        if (colon < last && *colon != ':') {
            return "the host is not valid";
        }

    } else {
        colon = ngx_strlchr(p, last, ':');

        if (colon) {
            end = colon;
        }
    }

    jcf->port = 3306;

    if (colon && colon < last) {
        port = ngx_atoi(colon + 1, last - colon - 1);

        if (port < 1 || port > 65535) {
            return "the port is not one from 1 to 65535";
        }

        jcf->port = port;
    }

    if (p == end) {
        return "it has no host";
    }

    return ngx_push_journal_decode(cf, &jcf->host, p, end);
}


static const char *
ngx_push_journal_decode(ngx_conf_t *cf, ngx_str_t *dst, u_char *p,
    u_char *last)
{
    u_char  *from, *to;
    size_t   i;

    dst->data = ngx_pnalloc(cf->pool, last - p + 1);
    if (dst->data == NULL) {
        return "there is no memory";
    }

    from = p;
    to = dst->data;

    ngx_unescape_uri(&to, &from, last - p, 0);

    dst->len = to - dst->data;
    *to = '\0';

    for (i = 0; i < dst->len; i++) {
        if (dst->data[i] < ' ' || dst->data[i] == 0x7f) {
            return "it has a control character";
        }
    }

    return NULL;
}


static char *
ngx_push_journal_parameter(ngx_conf_t *cf, ngx_push_journal_conf_t *jcf,
    ngx_str_t *value)
{
    u_char      *p;
    ngx_uint_t   i;

    static ngx_str_t  modes[] = {
        ngx_string("off"), ngx_string("on"), ngx_string("verify")
    };

    if (value->len > 14 && ngx_strncmp(value->data, "password_file=", 14) == 0)
    {
        return ngx_push_journal_password(cf, jcf, value);
    }

    if (value->len > 3 && ngx_strncmp(value->data, "ca=", 3) == 0) {
        jcf->ca.data = value->data + 3;
        jcf->ca.len = value->len - 3;

        if (ngx_conf_full_name(cf->cycle, &jcf->ca, 1) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    if (value->len > 4 && ngx_strncmp(value->data, "ssl=", 4) == 0) {

        for (i = 0; i < 3; i++) {
            if (modes[i].len == value->len - 4
                && ngx_strncmp(value->data + 4, modes[i].data, modes[i].len)
                   == 0)
            {
                jcf->ssl = i;
                return NGX_CONF_OK;
            }
        }

        return "has an invalid \"ssl=\": off, on or verify";
    }

    /* what follows a "=" may be a secret */

    p = ngx_strlchr(value->data, value->data + value->len, '=');

    if (p) {
        value->len = p + 1 - value->data;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"journal\": "
                       "password_file=PATH, ssl=off|on|verify and ca=PATH are "
                       "known", value);
    return NGX_CONF_ERROR;
}


static char *
ngx_push_journal_password(ngx_conf_t *cf, ngx_push_journal_conf_t *jcf,
    ngx_str_t *value)
{
    char       *rv;
    ngx_str_t   file;

    if (jcf->password.len) {
        return "has two \"password_file=\"";
    }

    /* "password_" is cut off, file=PATH is what is left */

    file.data = value->data + 9;
    file.len = value->len - 9;

    rv = ngx_push_read_secret(cf, &file, &jcf->password);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (jcf->password.len == 0
        || ngx_strlchr(jcf->password.data,
                       jcf->password.data + jcf->password.len, '\0'))
    {
        return "has a \"password_file=\" without a password";
    }

    return NGX_CONF_OK;
}
