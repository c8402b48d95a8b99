
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * Redis: a single server, the master that Sentinel names, or a Cluster, whose
 * redirects are followed.  One call at a time; a server that is not there, or
 * not ready, is tried again for TARGET_PATIENCE.
 */


#include "restore.h"
#include "push_lua.h"
#include <unistd.h>


#define TARGET_SERVERS    256
#define TARGET_SLOTS      16384
#define TARGET_PATIENCE   30           /* s */
#define TARGET_TIMEOUT    10           /* s, of a command */
#define TARGET_ADDRESS    300


typedef struct {
    char                 addr[TARGET_ADDRESS];
    redisContext        *ctx;
    char                 run[9];       /* first part of its run id */
    int                  loaded[2];
} target_server_t;


static target_server_t   target_servers[TARGET_SERVERS];
static int               target_nservers;
static uint16_t          target_slots[TARGET_SLOTS];   /* server + 1; 0 */
static const char       *target_scripts[2] = {
    push_lua_restore, push_lua_devices
};
static char              target_sha[2][41];


static void target_run(target_server_t *server);


static int
target_find(const char *addr)
{
    int  i;

    for (i = 0; i < target_nservers; i++) {
        if (strcmp(target_servers[i].addr, addr) == 0) {
            return i;
        }
    }

    if (i == TARGET_SERVERS || strlen(addr) >= TARGET_ADDRESS) {
        return -1;
    }

    memset(&target_servers[i], 0, sizeof(target_server_t));
    strcpy(target_servers[i].addr, addr);
    target_nservers++;

    return i;
}


static void
target_drop(target_server_t *server)
{
    if (server->ctx) {
        redisFree(server->ctx);
        server->ctx = NULL;
    }
}


static redisContext *
target_dial(const char *addr, int port)
{
    char            host[TARGET_ADDRESS], *colon;
    redisContext   *ctx;
    struct timeval  tv = { 5, 0 };

    if (strncmp(addr, "unix:", 5) == 0) {
        ctx = redisConnectUnixWithTimeout(addr + 5, tv);

    } else {
        (void) snprintf(host, sizeof(host), "%s", addr);
        colon = strrchr(host, ':');

        if (host[0] == '[') {
            char  *end = strchr(host, ']');

            colon = end ? strchr(end, ':') : NULL;

            if (end) {
                *end = '\0';
                memmove(host, host + 1, end - host);
            }
        }

        if (colon) {
            port = atoi(colon + 1);
            *colon = '\0';
        }

        ctx = redisConnectWithTimeout(host, port, tv);
    }

    if (ctx && ctx->err == 0) {
        tv.tv_sec = TARGET_TIMEOUT;
        (void) redisSetTimeout(ctx, tv);
        return ctx;
    }

    if (ctx) {
        redisFree(ctx);
    }

    return NULL;
}


static int
target_ok(redisReply *reply, const char *what)
{
    int  ok = reply && reply->type != REDIS_REPLY_ERROR;

    if (!ok) {
        restore_error("Redis: %s: %s", what,
                      reply ? reply->str : "no answer");
    }

    if (reply) {
        freeReplyObject(reply);
    }

    return ok;
}


static int
target_connect(target_server_t *server)
{
    redisContext  *ctx;

    ctx = target_dial(server->addr, 6379);

    if (ctx == NULL) {
        return RESTORE_ERROR;
    }

    server->ctx = ctx;
    server->loaded[0] = 0;
    server->loaded[1] = 0;

    if (restore_options.redis_password
        && !target_ok(restore_options.redis_user
                      ? redisCommand(ctx, "AUTH %s %s",
                                     restore_options.redis_user,
                                     restore_options.redis_password)
                      : redisCommand(ctx, "AUTH %s",
                                     restore_options.redis_password),
                      "AUTH"))
    {
        target_drop(server);
        return RESTORE_ERROR;
    }

    if (restore_options.db
        && !target_ok(redisCommand(ctx, "SELECT %d", restore_options.db),
                      "SELECT"))
    {
        target_drop(server);
        return RESTORE_ERROR;
    }

    target_run(server);

    return RESTORE_OK;
}


/*
 * Which process it is, as nginx's client names it; another name costs some
 * numbers, no more.
 */

static void
target_run(target_server_t *server)
{
    char        *p;
    redisReply  *r;

    server->run[0] = '\0';
    r = redisCommand(server->ctx, "INFO server");

    if (r && r->type == REDIS_REPLY_STRING) {
        p = strstr(r->str, "\nrun_id:");

        if (p) {
            (void) sscanf(p + 8, "%8[0-9a-f]", server->run);
        }
    }

    if (r) {
        freeReplyObject(r);
    }
}


/* Asks the Sentinels in turn who is the master. */

static int
target_master(void)
{
    int            i, n;
    char           addr[TARGET_ADDRESS];
    redisReply    *r;
    redisContext  *ctx;

    for (i = 0; i < restore_options.naddrs; i++) {

        ctx = target_dial(restore_options.addrs[i], 26379);

        if (ctx == NULL) {
            continue;
        }

        n = -1;
        r = redisCommand(ctx, "SENTINEL get-master-addr-by-name %s",
                         restore_options.sentinel);

        if (r && r->type == REDIS_REPLY_ARRAY && r->elements == 2) {
            (void) snprintf(addr, sizeof(addr),
                            strchr(r->element[0]->str, ':') ? "[%s]:%s"
                                                            : "%s:%s",
                            r->element[0]->str, r->element[1]->str);
            n = target_find(addr);
        }

        if (r) {
            freeReplyObject(r);
        }

        redisFree(ctx);

        if (n >= 0) {
            return n;
        }
    }

    return -1;
}


/* CRC-16 (XMODEM) of the part in braces, as Redis Cluster has it. */

static unsigned
target_slot(const char *key, size_t len)
{
    int          bit;
    size_t       i, open, close;
    unsigned     crc = 0;

    for (open = 0; open < len && key[open] != '{'; open++) { /* void */ }

    if (open < len) {
        for (close = open + 1; close < len && key[close] != '}'; close++) {
            /* void */
        }

        if (close < len && close != open + 1) {
            key += open + 1;
            len = close - open - 1;
        }
    }

    for (i = 0; i < len; i++) {
        crc ^= (unsigned) (unsigned char) key[i] << 8;

        for (bit = 0; bit < 8; bit++) {
            crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
        }
    }

    return (crc & 0xffff) % TARGET_SLOTS;
}


/* Which server is to be asked; -1: nobody knows now. */

static int
target_choose(unsigned slot, unsigned attempt)
{
    if (restore_options.sentinel) {
        if (target_slots[0] == 0) {
            target_slots[0] = target_master() + 1;
        }

        return target_slots[0] - 1;
    }

    if (restore_options.cluster && target_slots[slot]) {
        return target_slots[slot] - 1;
    }

    return target_find(restore_options.addrs[attempt
                                             % restore_options.naddrs]);
}


/* "MOVED SLOT HOST:PORT", "ASK ..."; the host may be empty: the same one. */

static int
target_redirect(int from, const char *text)
{
    char         addr[TARGET_ADDRESS], *colon;
    const char  *p;

    p = strrchr(text, ' ');

    if (p == NULL) {
        return -1;
    }

    p++;
    restore_figures.redirects++;

    if (*p == ':') {
        (void) snprintf(addr, sizeof(addr), "%s", target_servers[from].addr);
        colon = strrchr(addr, ':');

        if (colon == NULL) {
            return -1;
        }

        (void) snprintf(colon, sizeof(addr) - (colon - addr), "%s", p);

    } else {
        (void) snprintf(addr, sizeof(addr), "%s", p);
    }

    return target_find(addr);
}


static redisReply *
target_call(target_server_t *server, int script, int argc, const char **argv,
    const size_t *len, int asking)
{
    redisReply  *r;

    if (asking) {
        r = redisCommand(server->ctx, "ASKING");

        if (r) {
            freeReplyObject(r);
        }
    }

    if (!server->loaded[script]) {
        r = redisCommand(server->ctx, "SCRIPT LOAD %s",
                         target_scripts[script]);

        if (r == NULL || r->type != REDIS_REPLY_STRING) {
            return r;
        }

        (void) snprintf(target_sha[script], 41, "%s", r->str);
        freeReplyObject(r);
        server->loaded[script] = 1;

        if (asking) {
            return target_call(server, script, argc, argv, len, asking);
        }
    }

    argv[1] = target_sha[script];

    return redisCommandArgv(server->ctx, argc, argv, len);
}


static int
target_begins(redisReply *r, const char *text)
{
    return strncmp(r->str, text, strlen(text)) == 0;
}


/* What to do after an error: 1 again at once, 0 again later, -1 give up. */

static int
target_error(redisReply *r, int at, unsigned slot, int *next, int *asking,
    int script)
{
    if (target_begins(r, "MOVED ")) {
        *next = target_redirect(at, r->str);

        if (*next >= 0) {
            target_slots[slot] = *next + 1;
        }

        return *next >= 0 ? 1 : 0;
    }

    if (target_begins(r, "ASK ")) {
        *next = target_redirect(at, r->str);
        *asking = 1;
        return *next >= 0 ? 1 : 0;
    }

    if (target_begins(r, "NOSCRIPT")) {
        target_servers[at].loaded[script] = 0;
        return 1;
    }

    if (target_begins(r, "READONLY") || target_begins(r, "LOADING")
        || target_begins(r, "TRYAGAIN") || target_begins(r, "CLUSTERDOWN")
        || target_begins(r, "MASTERDOWN") || target_begins(r, "BUSY"))
    {
        target_slots[restore_options.cluster ? slot : 0] = 0;
        return 0;
    }

    return -1;
}


redisReply *
target_script(int script, int nkeys, int argc, restore_str_t *args)
{
    int           i, at, next, rc, asking;
    char          number[12];
    time_t        start;
    unsigned      slot, attempt;
    size_t       *len;
    const char  **argv;
    redisReply   *r;

    argv = malloc((argc + 3) * sizeof(char *));
    len = malloc((argc + 3) * sizeof(size_t));

    if (argv == NULL || len == NULL) {
        restore_error("no memory");
        free(argv);
        free(len);
        return NULL;
    }

    argv[0] = "EVALSHA";
    len[0] = 7;
    argv[1] = target_sha[script];
    len[1] = 40;
    argv[2] = number;
    len[2] = snprintf(number, sizeof(number), "%d", nkeys);

    for (i = 0; i < argc; i++) {
        argv[i + 3] = args[i].data;
        len[i + 3] = args[i].len;
    }

    slot = restore_options.cluster ? target_slot(args[0].data, args[0].len)
                                   : 0;
    start = time(NULL);
    next = -1;
    asking = 0;
    r = NULL;

    for (attempt = 0; !restore_stop; attempt++) {

        at = next >= 0 ? next : target_choose(slot, attempt);
        next = -1;
        rc = 0;

        if (at >= 0 && (target_servers[at].ctx
                        || target_connect(&target_servers[at]) == RESTORE_OK))
        {
            if (script == TARGET_RESTORE) {
                argv[TARGET_RUN + 3] = target_servers[at].run;
                len[TARGET_RUN + 3] = strlen(target_servers[at].run);
            }

            r = target_call(&target_servers[at], script, argc + 3, argv, len,
                            asking);
            asking = 0;

            if (r && r->type != REDIS_REPLY_ERROR) {
                break;
            }

            if (r == NULL) {
                target_drop(&target_servers[at]);

            } else {
                rc = target_error(r, at, slot, &next, &asking, script);
            }
        }

        if (at >= 0 && target_servers[at].ctx == NULL) {
            target_slots[restore_options.cluster ? slot : 0] = 0;
        }

        if (rc < 0 || time(NULL) - start > TARGET_PATIENCE) {
            restore_error("Redis: %s: %s",
                          at >= 0 ? target_servers[at].addr : "no master",
                          r ? r->str : "it does not answer");
            break;
        }

        if (r) {
            freeReplyObject(r);
            r = NULL;
        }

        if (rc == 0 || attempt % 16 == 15) {
            progress(0);
            (void) usleep(200000);
        }
    }

    free(argv);
    free(len);

    if (r && r->type == REDIS_REPLY_ERROR) {
        freeReplyObject(r);
        r = NULL;
    }

    return r;
}


size_t
target_key(char *buf, const char *product, size_t product_len,
    unsigned kind, const char *name, size_t name_len, char suffix)
{
    char               *p;
    static const char   separator[] = { ':', ';', '\0', '^' };

    p = stpcpy(buf, restore_options.prefix);
    *p++ = '{';
    p = mempcpy(p, product, product_len);

    if (separator[kind]) {
        *p++ = separator[kind];
    }

    if (kind < 2) {
        p = mempcpy(p, name, name_len);
    }

    *p++ = '}';
    *p++ = suffix;

    return p - buf;
}


int
target_open(void)
{
    int  at;

    at = target_choose(0, 0);

    if (at < 0) {
        restore_error("Redis: no Sentinel names a master \"%s\"",
                      restore_options.sentinel);
        return RESTORE_ERROR;
    }

    if (target_connect(&target_servers[at]) != RESTORE_OK
        && restore_options.naddrs == 1)
    {
        restore_error("Redis: %s: no connection", target_servers[at].addr);
        return RESTORE_ERROR;
    }

    return RESTORE_OK;
}


void
target_close(void)
{
    int  i;

    for (i = 0; i < target_nservers; i++) {
        target_drop(&target_servers[i]);
    }
}
