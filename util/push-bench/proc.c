
/*
 * Copyright (C) the ngx_push authors
 */


/*
 * CPU time and memory of processes and all their descendants, from /proc.
 * What children used which came and went in between is in the cutime and
 * cstime of their parent, so that sums never go back.
 *
 * The ticks of /proc are of 10 ms, too coarse for a server that has next to
 * nothing to do.  So what a process itself used is read from its CPU clock,
 * which is exact, and the ticks only say how to part it into user and system.
 */


#include <ctype.h>
#include <dirent.h>

#include "bench.h"


typedef struct {
    pid_t     pid;
    pid_t     parent;
    char      state;
    int       member;
    uint64_t  user;          /* ticks */
    uint64_t  system;
    uint64_t  ended;         /* the same of reaped children */
    uint64_t  ended_system;
} bench_process_t;


static int
bench_proc_read(const char *pid, bench_process_t *p)
{
    int        rc;
    long long  cu, cs;
    unsigned long long  u, s;
    char       path[300], buf[1024], *end;
    FILE      *f;
    size_t     n;

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return BENCH_ERROR;
    }

    n = fread(buf, 1, sizeof(buf) - 1, f);
    fclose(f);
    buf[n] = '\0';

    /* the name may contain anything; it ends at the last parenthesis */

    end = strrchr(buf, ')');
    if (end == NULL) {
        return BENCH_ERROR;
    }

    rc = sscanf(end + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u"
                         " %llu %llu %lld %lld",
                &p->state, &p->parent, &u, &s, &cu, &cs);
    if (rc != 6) {
        return BENCH_ERROR;
    }

    p->pid = atoi(pid);
    p->member = 0;
    p->user = u;
    p->system = s;
    p->ended = cu;
    p->ended_system = cs;

    return BENCH_OK;
}


static bench_process_t *
bench_proc_list(size_t *n)
{
    DIR              *dir;
    size_t            size;
    struct dirent    *e;
    bench_process_t  *list, *p;

    *n = 0;
    size = 0;
    list = NULL;

    dir = opendir("/proc");
    if (dir == NULL) {
        return NULL;
    }

    while ((e = readdir(dir)) != NULL) {

        if (!isdigit((unsigned char) e->d_name[0])) {
            continue;
        }

        if (*n == size) {
            size = size ? size * 2 : 256;
            p = realloc(list, size * sizeof(bench_process_t));

            if (p == NULL) {
                break;
            }

            list = p;
        }

        if (bench_proc_read(e->d_name, &list[*n]) == BENCH_OK) {
            (*n)++;
        }
    }

    closedir(dir);

    return list;
}


static void
bench_proc_cpu(const bench_process_t *p, bench_proc_t *s)
{
    double           tick, ticks, factor;
    clockid_t        clock;
    struct timespec  ts;

    tick = sysconf(_SC_CLK_TCK);
    ticks = (p->user + p->system) / tick;
    factor = 1;

    if (clock_getcpuclockid(p->pid, &clock) == 0
        && clock_gettime(clock, &ts) == 0)
    {
        if (ticks == 0) {
            s->system += ts.tv_sec + ts.tv_nsec / 1e9;

        } else {
            factor = (ts.tv_sec + ts.tv_nsec / 1e9) / ticks;
        }
    }

    s->user += p->user / tick * factor + p->ended / tick;
    s->system += p->system / tick * factor + p->ended_system / tick;
}


static void
bench_proc_memory(pid_t pid, bench_proc_t *s)
{
    char                path[64], line[256];
    FILE               *f;
    unsigned long long  kb;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);

    f = fopen(path, "r");
    if (f == NULL) {
        return;
    }

    while (fgets(line, sizeof(line), f)) {

        if (sscanf(line, "Rss: %llu", &kb) == 1) {
            s->rss += kb * 1024;

        } else if (sscanf(line, "Pss: %llu", &kb) == 1) {
            s->pss += kb * 1024;

        } else if (sscanf(line, "Pss_Anon: %llu", &kb) == 1) {
            s->anon += kb * 1024;

        } else if (sscanf(line, "Pss_Shmem: %llu", &kb) == 1) {
            s->shmem += kb * 1024;
        }
    }

    fclose(f);
}


static bench_process_t *
bench_proc_find(bench_process_t *list, size_t n, pid_t pid)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (list[i].pid == pid) {
            return &list[i];
        }
    }

    return NULL;
}


static void
bench_proc_members(bench_process_t *list, size_t n)
{
    int               more;
    size_t            i;
    bench_process_t  *parent;

    do {
        more = 0;

        for (i = 0; i < n; i++) {
            parent = list[i].member
                     ? NULL : bench_proc_find(list, n, list[i].parent);

            if (parent && parent->member) {
                list[i].member = 1;
                more = 1;
            }
        }
    } while (more);
}


/*
 * Sums up the given processes and their descendants; memory only if asked
 * for, as it makes the kernel walk their page tables.  A given pid which does
 * not exist or is a zombie is told in s->gone.
 */

void
bench_proc_sample(const pid_t *pids, int npids, bench_proc_t *s, int memory)
{
    int               i;
    size_t            k, n;
    bench_process_t  *list, *p;

    memset(s, 0, sizeof(bench_proc_t));

    if (npids == 0) {
        return;
    }

    list = bench_proc_list(&n);
    if (list == NULL) {
        return;
    }

    for (i = 0; i < npids; i++) {
        p = bench_proc_find(list, n, pids[i]);

        if (p == NULL || p->state == 'Z') {
            s->gone = pids[i];
        }

        if (p) {
            p->member = 1;
        }
    }

    bench_proc_members(list, n);

    for (k = 0; k < n; k++) {

        if (!list[k].member) {
            continue;
        }

        s->processes++;
        bench_proc_cpu(&list[k], s);

        if (memory) {
            bench_proc_memory(list[k].pid, s);
        }
    }

    free(list);
}
