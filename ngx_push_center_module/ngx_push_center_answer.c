
/*
 * Copyright (C) the ngx_push authors
 */


#include "ngx_push_center.h"


ngx_int_t
ngx_push_center_send(ngx_http_request_t *r, ngx_uint_t status, ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;

    if (r->headers_out.content_type.len == 0) {
        ngx_str_set(&r->headers_out.content_type, "application/json");
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
    }

    ngx_push_center_gather(r);

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_push_center_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;
    h->lowcase_key = NULL;

    return NGX_OK;
}


ngx_int_t
ngx_push_center_no_store(ngx_http_request_t *r)
{
    static ngx_str_t  value = ngx_string("no-store");

    return ngx_push_center_header(r, "Cache-Control", &value);
}


/*
 * The last one is kept: pushes of one second and with one TTL, as most are,
 * expire at the same time.  All of a unicast's printing, of which this is a
 * part, was 1.1 % of its CPU (perf).
 */

u_char *
ngx_push_center_time(u_char *p, time_t t)
{
    ngx_tm_t  tm;

    static time_t  last = -1;
    static u_char  text[NGX_PUSH_TIME_LEN + 16];

    if (t != last) {
        ngx_gmtime(t, &tm);

        ngx_sprintf(text, "%4d-%02d-%02dT%02d:%02d:%02dZ",
                    tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                    tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec);

        last = t;
    }

    return ngx_cpymem(p, text, NGX_PUSH_TIME_LEN);
}


size_t
ngx_push_center_json_len(ngx_str_t *s)
{
    return s->len + ngx_escape_json(NULL, s->data, s->len) + 2;
}


u_char *
ngx_push_center_json(u_char *p, ngx_str_t *s)
{
    *p++ = '"';
    p = (u_char *) ngx_escape_json(p, s->data, s->len);
    *p++ = '"';

    return p;
}
