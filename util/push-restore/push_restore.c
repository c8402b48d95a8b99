
/*
 * Copyright (C) the ngx_push authors
 */


/* The options of push-restore. */


#include "restore.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>


restore_options_t   restore_options;
restore_figures_t   restore_figures;
volatile int        restore_stop;


static const char  restore_usage[] =
"usage: push-restore [OPTION]... JOURNAL REDIS...\n"
"\n"
"Puts back into Redis what the journal in MySQL has: messages that have not\n"
"ended and that not every known device has acknowledged, with their numbers,\n"
"and the devices with their cursors. What Redis has stays; a second run adds\n"
"nothing. nginx may serve meanwhile.\n"
"\n"
"JOURNAL   as in the directive \"journal\":\n"
"            mysql://USER@HOST[:PORT]/DATABASE\n"
"            mysql://USER@unix:PATH:/DATABASE\n"
"REDIS     as in the directive \"redis\":\n"
"            HOST[:PORT] | unix:PATH | redis://HOST[:PORT] [db=N]\n"
"            sentinel=NAME HOST[:PORT]... [db=N]\n"
"            cluster HOST[:PORT]...\n"
"\n"
"  -n, --dry-run                 change nothing, say what would be done\n"
"  -p, --product=NAME            this product alone\n"
"  -s, --since=TIME              messages accepted since then: Unix seconds,\n"
"                                or an age as 90s, 30m, 12h, 7d\n"
"  -f, --position=FILE           remember there how far it is, and go on from\n"
"                                there; removed at the end\n"
"  -r, --rate=N                  rows a second, at most\n"
"  -q, --quiet                   no progress\n"
"      --journal-password=FILE   password of the journal's user\n"
"      --journal-ssl=on|verify   TLS; verify its certificate too\n"
"      --journal-ca=FILE         by this authority, not the system's\n"
"      --redis-user=NAME\n"
"      --redis-password=FILE\n"
"      --prefix=TEXT             redis_prefix (np:)\n"
"      --device-expiry=TIME      device_expiry (30d)\n"
"  -h, --help\n"
"\n"
"exit code: 0 done; 1 failed, run it again; 2 wrong options; 3 stopped by a\n"
"signal, run it again\n";


enum {
    RESTORE_O_PASSWORD = 256,
    RESTORE_O_SSL,
    RESTORE_O_CA,
    RESTORE_O_REDIS_USER,
    RESTORE_O_REDIS_PASSWORD,
    RESTORE_O_PREFIX,
    RESTORE_O_EXPIRY
};


static const struct option  restore_long[] = {
    { "dry-run", 0, NULL, 'n' },
    { "product", 1, NULL, 'p' },
    { "since", 1, NULL, 's' },
    { "position", 1, NULL, 'f' },
    { "rate", 1, NULL, 'r' },
    { "quiet", 0, NULL, 'q' },
    { "help", 0, NULL, 'h' },
    { "journal-password", 1, NULL, RESTORE_O_PASSWORD },
    { "journal-ssl", 1, NULL, RESTORE_O_SSL },
    { "journal-ca", 1, NULL, RESTORE_O_CA },
    { "redis-user", 1, NULL, RESTORE_O_REDIS_USER },
    { "redis-password", 1, NULL, RESTORE_O_REDIS_PASSWORD },
    { "prefix", 1, NULL, RESTORE_O_PREFIX },
    { "device-expiry", 1, NULL, RESTORE_O_EXPIRY },
    { NULL, 0, NULL, 0 }
};


static void
restore_wrong(const char *what, const char *value)
{
    (void) fprintf(stderr, "push-restore: %s%s%s; --help says more\n", what,
                   value ? " " : "", value ? value : "");
    exit(RESTORE_USAGE);
}


static int64_t
restore_number(const char *what, const char *text, int64_t max)
{
    char     *end;
    int64_t   n;

    errno = 0;
    n = strtoll(text, &end, 10);

    if (errno || end == text || *end || n < 0 || n > max) {
        restore_wrong(what, text);
    }

    return n;
}


static int64_t
restore_time(const char *what, const char *text, int *age)
{
    char         *end;
    int64_t       n;
    const char   *unit;
    static const int  seconds[] = { 1, 60, 3600, 86400 };

    errno = 0;
    n = strtoll(text, &end, 10);
    unit = *end ? strchr("smhd", *end) : NULL;

    if (errno || end == text || n < 0 || n > INT64_C(1) << 40
        || (*end && (unit == NULL || end[1])))
    {
        restore_wrong(what, text);
    }

    *age = unit != NULL;

    return unit ? n * seconds[unit - "smhd"] : n;
}


static char *
restore_secret(const char *path)
{
    char    text[4096];
    size_t  n;
    FILE   *in;

    in = fopen(path, "r");

    if (in == NULL) {
        (void) fprintf(stderr, "push-restore: %s: %m\n", path);
        exit(RESTORE_USAGE);
    }

    n = fread(text, 1, sizeof(text) - 1, in);
    (void) fclose(in);
    text[n] = '\0';

    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r')) {
        text[--n] = '\0';
    }

    if (n == 0) {
        restore_wrong("no password in", path);
    }

    return strdup(text);
}


static char *
restore_decode(const char *p, size_t len)
{
    char     *text, *to;
    size_t    i;
    unsigned  byte;

    text = malloc(len + 1);

    if (text == NULL) {
        exit(RESTORE_FAILED);
    }

    for (i = 0, to = text; i < len; i++) {
        if (p[i] == '%' && i + 2 < len
            && sscanf(p + i + 1, "%2x", &byte) == 1)
        {
            *to++ = byte;
            i += 2;

        } else {
            *to++ = p[i];
        }
    }

    *to = '\0';

    return text;
}


/* mysql://USER@HOST[:PORT]/DATABASE, mysql://USER@unix:PATH:/DATABASE */

static void
restore_journal(const char *url)
{
    const char         *at, *slash, *p, *colon, *end;
    restore_options_t  *o = &restore_options;

    if (strncmp(url, "mysql://", 8) != 0) {
        restore_wrong("not the address of a journal:", url);
    }

    p = url + 8;
    at = strrchr(p, '@');
    slash = at ? strrchr(at, '/') : NULL;

    if (at == NULL || at == p || slash == NULL || slash[1] == '\0') {
        restore_wrong("no user, host or database in the journal's address",
                      NULL);
    }

    if (memchr(p, ':', at - p)) {
        restore_wrong("a password does not belong into an address, there is "
                      "--journal-password", NULL);
    }

    o->user = restore_decode(p, at - p);
    o->database = restore_decode(slash + 1, strlen(slash + 1));
    p = at + 1;

    if (strncmp(p, "unix:", 5) == 0) {
        if (slash[-1] != ':' || slash - p < 7) {
            restore_wrong("the path of a socket ends with a colon:", url);
        }

        o->socket = restore_decode(p + 5, slash - p - 6);
        return;
    }

    end = slash;
    colon = NULL;

    if (*p == '[') {
        p++;
        end = memchr(p, ']', slash - p);

        if (end == NULL) {
            restore_wrong("a host without its \"]\":", url);
        }

        colon = end[1] == ':' ? end + 1 : NULL;

    } else {
        colon = memchr(p, ':', slash - p);
        end = colon ? colon : slash;
    }

    o->host = restore_decode(p, end - p);
    o->port = 3306;

    if (colon) {
        o->port = atoi(colon + 1);
    }

    if (o->host[0] == '\0' || o->port == 0 || o->port > 65535) {
        restore_wrong("no host or port in", url);
    }
}


static void
restore_redis(int argc, char **argv)
{
    int                 i;
    char               *slash;
    restore_options_t  *o = &restore_options;

    o->addrs = calloc(argc + 1, sizeof(char *));

    if (o->addrs == NULL) {
        exit(RESTORE_FAILED);
    }

    for (i = 0; i < argc; i++) {

        if (strncmp(argv[i], "sentinel=", 9) == 0) {
            o->sentinel = argv[i] + 9;

        } else if (strcmp(argv[i], "cluster") == 0) {
            o->cluster = 1;

        } else if (strncmp(argv[i], "db=", 3) == 0) {
            o->db = restore_number("not a database:", argv[i] + 3, 65535);

        } else if (strncmp(argv[i], "redis://", 8) == 0) {
            slash = strchr(argv[i] + 8, '/');

            if (slash) {
                o->db = restore_number("not a database:", slash + 1, 65535);
                *slash = '\0';
            }

            o->addrs[o->naddrs++] = argv[i] + 8;

        } else {
            o->addrs[o->naddrs++] = argv[i];
        }
    }

    if (o->naddrs == 0) {
        restore_wrong("no address of Redis", NULL);
    }

    if (o->naddrs > 1 && !o->cluster && o->sentinel == NULL) {
        restore_wrong("several addresses need \"cluster\" or "
                      "\"sentinel=NAME\"", NULL);
    }

    if (o->cluster && (o->db || o->sentinel)) {
        restore_wrong("\"cluster\" goes without \"db=\" and \"sentinel=\"",
                      NULL);
    }
}


static void
restore_option(int c)
{
    int                 age;
    restore_options_t  *o = &restore_options;

    switch (c) {

    case 'n':
        o->dry = 1;
        break;

    case 'p':
        if (strlen(optarg) > RESTORE_PRODUCT) {
            restore_wrong("not a product:", optarg);
        }

        o->product = optarg;
        break;

    case 's':
        o->since = restore_time("not a time:", optarg, &age);

        if (age) {
            o->since = time(NULL) - o->since;
        }

        break;

    case 'f':
        o->position = optarg;
        break;

    case 'r':
        o->rate = restore_number("not a rate:", optarg, 100000000);
        break;

    case 'q':
        o->quiet = 1;
        break;

    case 'h':
        (void) fputs(restore_usage, stdout);
        exit(RESTORE_DONE);

    case RESTORE_O_PASSWORD:
        o->password = restore_secret(optarg);
        break;

    case RESTORE_O_SSL:
        o->ssl = strcmp(optarg, "on") == 0 ? 1
                 : strcmp(optarg, "verify") == 0 ? 2 : 0;

        if (o->ssl == 0) {
            restore_wrong("--journal-ssl is on or verify, not", optarg);
        }

        break;

    case RESTORE_O_CA:
        o->ca = optarg;
        break;

    case RESTORE_O_REDIS_USER:
        o->redis_user = optarg;
        break;

    case RESTORE_O_REDIS_PASSWORD:
        o->redis_password = restore_secret(optarg);
        break;

    case RESTORE_O_PREFIX:
        if (strlen(optarg) > 64) {
            restore_wrong("too long a prefix:", optarg);
        }

        o->prefix = optarg;
        break;

    case RESTORE_O_EXPIRY:
        o->device_expiry = restore_time("not a time:", optarg, &age);
        break;

    default:
        exit(RESTORE_USAGE);
    }
}


static void
restore_signal(int signo)
{
    restore_stop = signo;
}


int
main(int argc, char **argv)
{
    int               c, code;
    struct sigaction  sa;

    restore_options.prefix = "np:";
    restore_options.device_expiry = 30 * 86400;

    while ((c = getopt_long(argc, argv, "np:s:f:r:qh", restore_long, NULL))
           != -1)
    {
        restore_option(c);
    }

    if (argc - optind < 2) {
        restore_wrong("the journal and Redis have to be named", NULL);
    }

    restore_journal(argv[optind]);
    restore_redis(argc - optind - 1, argv + optind + 1);

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = restore_signal;
    (void) sigaction(SIGINT, &sa, NULL);
    (void) sigaction(SIGTERM, &sa, NULL);
    (void) signal(SIGPIPE, SIG_IGN);

    code = RESTORE_FAILED;

    if (source_open() == RESTORE_OK && target_open() == RESTORE_OK) {
        restore_figures.total = source_rows();
        progress_start();
        code = restore_run();
        progress(1);
        progress_end(code);
    }

    source_close();
    target_close();

    return code;
}
