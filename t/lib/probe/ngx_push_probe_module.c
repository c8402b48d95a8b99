/*
 * The Redis client by HTTP, for tests.  Arguments of a request to a location
 * with push_probe:
 *
 *   w=WORD        the words of a command, or with script=1 what is behind the
 *                 script: keys and arguments
 *   script=1      calls a script: returns {KEYS[1], ARGV[1]} after SET of them
 *   key=KEY       decides the server (default: the second word)
 *   n=COUNT       so many times at once; the answer sums them up
 *   urgent=1, block=MS, silent=1 (no handler)
 *   up=1          no call: is the key's server usable?
 *   unblock=1     no call: gives a blocking call up
 *   alone=1       no call: ends what runs by itself (heartbeats, the bus)
 *   watch=1       no call: what the watches have been told since the start
 *
 * The answer is a line for each kind of outcome: RC COUNT [REPLY].
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "redis/ngx_push_redis.h"


#define PROBE_WORDS  16
#define PROBE_KINDS  16


typedef struct {
    ngx_int_t            rc;
    ngx_uint_t           count;
    char                 text[256];
} probe_kind_t;


typedef struct {
    ngx_http_request_t  *r;
    ngx_uint_t           left;
    ngx_uint_t           nkinds;
    probe_kind_t         kinds[PROBE_KINDS];
    unsigned             waits:1;
} probe_t;


static char *probe_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t probe_init(ngx_cycle_t *cycle);
static ngx_int_t probe_handler(ngx_http_request_t *r);
static void probe_answer(void *data, ngx_int_t rc, redisReply *reply);


static ngx_push_redis_script_t  probe_script = {
    "probe",
    "redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], ARGV[1]}", ""
};

static u_char                  probe_seen[4096];
static size_t                  probe_nseen;
static const char             *probe_hows[] = {
    "first", "again", "restarted", "failover"
};


static ngx_command_t  probe_commands[] = {

    { ngx_string("push_probe"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      probe_conf,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  probe_ctx = {
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
};


ngx_module_t  ngx_push_probe_module = {
    NGX_MODULE_V1,
    &probe_ctx,
    probe_commands,
    NGX_HTTP_MODULE,
    NULL,
    NULL,
    probe_init,
    NULL,
    NULL,
    NULL,
    NULL,
    NGX_MODULE_V1_PADDING
};


ngx_module_t  *ngx_modules[] = { &ngx_push_probe_module, NULL };
char          *ngx_module_names[] = { "ngx_push_probe_module", NULL };
char          *ngx_module_order[] = { NULL };


static void
probe_saw(const char *what)
{
    u_char  *p;

    p = ngx_snprintf(probe_seen + probe_nseen,
                     sizeof(probe_seen) - probe_nseen, "%s\n", what);
    probe_nseen = p - probe_seen;
}


static void
probe_up(ngx_push_redis_back_t how)
{
    probe_saw(probe_hows[how]);
}


static void
probe_down(void)
{
    probe_saw("down");
}


static ngx_push_redis_watch_t  probe_watch = { probe_up, probe_down, NULL };


static ngx_int_t
probe_init(ngx_cycle_t *cycle)
{
    ngx_push_redis_watch(&probe_watch);
    return NGX_OK;
}


static char *
probe_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = probe_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
probe_send(ngx_http_request_t *r, u_char *text, size_t len)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = len;

    b = ngx_create_temp_buf(r->pool, len + 1);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->last, text, len);
    b->last_buf = 1;

    out.buf = b;
    out.next = NULL;

    /* without a body the head is the last there is, or it would be kept back */

    r->header_only |= len == 0;

    rc = ngx_http_send_header(r);

    return rc == NGX_ERROR || r->header_only ? rc
                                             : ngx_http_output_filter(r, &out);
}


static void
probe_text(char *text, size_t size, redisReply *reply)
{
    size_t  i, n;

    text[0] = '\0';

    if (reply == NULL) {
        return;
    }

    switch (reply->type) {

    case REDIS_REPLY_INTEGER:
        snprintf(text, size, "%lld", reply->integer);
        break;

    case REDIS_REPLY_ARRAY:
        for (i = 0, n = 0; i < reply->elements && n + 1 < size; i++) {
            if (i) {
                text[n++] = ',';
            }

            probe_text(text + n, size - n, reply->element[i]);
            n += strlen(text + n);
        }
        break;

    case REDIS_REPLY_NIL:
        snprintf(text, size, "nil");
        break;

    default:
        snprintf(text, size, "%.*s", (int) reply->len, reply->str);
    }
}


static void
probe_count(probe_t *p, ngx_int_t rc, redisReply *reply)
{
    char        text[256];
    ngx_uint_t  i;

    probe_text(text, sizeof(text), reply);

    for (i = 0; i < p->nkinds; i++) {
        if (p->kinds[i].rc == rc && strcmp(p->kinds[i].text, text) == 0) {
            p->kinds[i].count++;
            return;
        }
    }

    if (i < PROBE_KINDS) {
        p->kinds[i].rc = rc;
        p->kinds[i].count = 1;
        memcpy(p->kinds[i].text, text, sizeof(text));
        p->nkinds++;
    }
}


static ngx_int_t
probe_finish(probe_t *p)
{
    u_char      text[PROBE_KINDS * 300], *last;
    ngx_uint_t  i;

    last = text;

    for (i = 0; i < p->nkinds; i++) {
        last = ngx_snprintf(last, text + sizeof(text) - last, "%i %ui %s\n",
                            p->kinds[i].rc, p->kinds[i].count,
                            p->kinds[i].text);
    }

    return probe_send(p->r, text, last - text);
}


static void
probe_answer(void *data, ngx_int_t rc, redisReply *reply)
{
    probe_t           *p = data;
    ngx_connection_t  *c;

    probe_count(p, rc, reply);

    if (--p->left == 0 && p->waits) {
        c = p->r->connection;
        ngx_http_finalize_request(p->r, probe_finish(p));
        ngx_http_run_posted_requests(c);
    }
}


static ngx_int_t
probe_flag(ngx_http_request_t *r, const char *name)
{
    ngx_str_t  value;

    if (ngx_http_arg(r, (u_char *) name, strlen(name), &value) != NGX_OK) {
        return 0;
    }

    return ngx_atoi(value.data, value.len);
}


static ngx_uint_t
probe_words(ngx_http_request_t *r, ngx_str_t *words)
{
    u_char      *p, *last, *end, *dst;
    ngx_uint_t   n;

    n = 0;
    p = r->args.data;
    last = p + r->args.len;

    while (p < last && n < PROBE_WORDS) {
        end = ngx_strlchr(p, last, '&');
        end = end ? end : last;

        if (end - p >= 2 && p[0] == 'w' && p[1] == '=') {
            p += 2;
            words[n].data = ngx_pnalloc(r->pool, end - p + 1);
            dst = words[n].data;
            ngx_unescape_uri(&dst, &p, end - p, 0);
            words[n].len = dst - words[n].data;
            n++;
        }

        p = end + 1;
    }

    return n;
}


static ngx_int_t
probe_handler(ngx_http_request_t *r)
{
    size_t                  lens[PROBE_WORDS];
    u_char                 *dst, *src;
    probe_t                *p;
    ngx_int_t               rc, n;
    ngx_str_t               words[PROBE_WORDS], key;
    ngx_uint_t              i, nwords;
    const char             *argv[PROBE_WORDS];
    ngx_push_redis_call_t   call;

    if (probe_flag(r, "watch")) {
        return probe_send(r, probe_seen, probe_nseen);
    }

    if (probe_flag(r, "alone")) {
        ngx_push_redis_node_exit((ngx_cycle_t *) ngx_cycle);
        return probe_send(r, (u_char *) "ok\n", 3);
    }

    if (probe_flag(r, "unblock")) {
        ngx_push_redis_unblock();
        return probe_send(r, (u_char *) "ok\n", 3);
    }

    p = ngx_pcalloc(r->pool, sizeof(probe_t));
    nwords = probe_words(r, words);

    ngx_memzero(&call, sizeof(ngx_push_redis_call_t));

    if (ngx_http_arg(r, (u_char *) "key", 3, &key) == NGX_OK) {
        dst = ngx_pnalloc(r->pool, key.len + 1);
        src = key.data;
        key.data = dst;
        ngx_unescape_uri(&dst, &src, key.len, 0);
        key.len = dst - key.data;
        call.key = &key;

    } else if (nwords > 1) {
        call.key = &words[probe_flag(r, "script") ? 0 : 1];
    }

    if (probe_flag(r, "up")) {
        return probe_send(r, (u_char *) (ngx_push_redis_up(call.key)
                                         ? "up\n" : "no\n"), 3);
    }

    for (i = 0; i < nwords; i++) {
        argv[i] = (char *) words[i].data;
        lens[i] = words[i].len;
    }

    if (probe_flag(r, "script")) {
        call.script = &probe_script;
        call.nkeys = 1;
    }

    call.argc = nwords;
    call.argv = argv;
    call.argvlen = lens;
    call.handler = probe_flag(r, "silent") ? NULL : probe_answer;
    call.data = p;
    call.urgent = probe_flag(r, "urgent");

    p->r = r;
    n = probe_flag(r, "n");

    for (n = n ? n : 1; n > 0; n--) {
        rc = probe_flag(r, "block")
             ? ngx_push_redis_block(&call, probe_flag(r, "block"))
             : ngx_push_redis_call(&call);

        if (rc == NGX_AGAIN) {
            p->left++;

        } else {
            probe_count(p, rc, NULL);
        }
    }

    if (p->left == 0) {
        return probe_finish(p);
    }

    p->waits = 1;
    r->main->count++;

    return NGX_DONE;
}
