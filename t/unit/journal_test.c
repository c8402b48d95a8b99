/* link: ngx_push_journal_buffer.c ngx_push_journal_thread.c ngx_push_journal_spill.c */
/* libs: -lmariadb -Wl,--wrap=pthread_mutex_unlock,--wrap=pthread_clockjoin_np*/

/*
 * The journal without nginx and without MySQL: the event loop's side and the
 * thread as they are, with a database of ours that fails, hangs and comes back
 * at random.  Every row that went in must come out, whole, or be counted.
 * Also to be built with -fsanitize=thread ("make tsan").
 */

#include "ngx_push_journal_writer.h"
#include "ngx_push_worker.h"
#include <ngx_event.h>

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable()
#define __lsan_enable()
#endif


#define ROWS     20000
#define HELD     3000                  /* that many fit into memory */
#define ENDS     300
#define FOLDER   "/tmp/journal_test.XXXXXX"


/* --- what nginx has */

volatile ngx_msec_t     ngx_current_msec;
volatile ngx_time_t    *ngx_cached_time;
volatile ngx_cycle_t   *ngx_cycle;
ngx_rbtree_t            ngx_event_timer_rbtree;
uint32_t                ngx_crc32_table256[256];
ngx_push_zone_t        *ngx_push_zone;

static ngx_log_t        test_log;
static ngx_cycle_t      test_cycle;
static ngx_time_t       test_time;
static ngx_push_zone_t  test_zone;     /* no worker in it */
static ngx_event_t     *test_timers[2];


void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_uint_t  i;

    for (i = 0; test_timers[i]; i++) { /* void */ }

    test_timers[i] = ngx_rbtree_data(node, ngx_event_t, timer);
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        if (test_timers[i] == ngx_rbtree_data(node, ngx_event_t, timer)) {
            test_timers[i] = NULL;
        }
    }
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


/* The event loop is held up, where it has just let go of the mutex. */

static pthread_t  test_loop;
static unsigned   test_pause;

int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);

int
__wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int  rc;

    rc = __real_pthread_mutex_unlock(mutex);

    if (pthread_equal(pthread_self(), test_loop) && test_pause) {
        usleep(test_pause);
    }

    return rc;
}


/* As ThreadSanitizer knows it; it would take the thread for one that runs. */

int
__wrap_pthread_clockjoin_np(pthread_t thread, void **value, clockid_t clock,
    const struct timespec *until)
{
    int64_t          left;
    struct timespec  ts;

    left = until->tv_sec * 1000LL + until->tv_nsec / 1000000
           - ngx_push_journal_clock();
    left = ngx_push_journal_wall() + (left > 0 ? left : 0);

    ts.tv_sec = left / 1000;
    ts.tv_nsec = left % 1000 * 1000000;

    return pthread_timedjoin_np(thread, value, &ts);
}


/* A turn of the event loop. */

static void
test_turn(void)
{
    ngx_uint_t    i;
    ngx_event_t  *ev;

    ngx_current_msec = ngx_push_journal_clock();
    test_time.sec = ngx_push_journal_wall() / 1000;

    for (i = 0; i < 2; i++) {
        ev = test_timers[i];

        if (ev && (ngx_msec_int_t) (ev->timer.key - ngx_current_msec) <= 0) {
            test_timers[i] = NULL;
            ev->timer_set = 0;
            ev->handler(ev);
        }
    }
}


/* --- MySQL */

struct ngx_push_journal_db_s {
    ngx_push_journal_writer_t  *writer;
    int                         pair[2];
};


static int       db_down;              /* per cent of the calls that fail */
static int       db_hangs;             /* until its socket is shut down */
static int       db_deaf;              /* whatever is done to it; 2: so it
                                          hangs now */
static unsigned  db_takes;             /* us for a row, at most */
static uint8_t   db_rows[2][ROWS];     /* how often each came */
static uint64_t  db_broken;
static unsigned  db_seed;


static ngx_uint_t
db_fails(void)
{
    return (int) (rand_r(&db_seed) % 100)
           < __atomic_load_n(&db_down, __ATOMIC_RELAXED);
}


ngx_push_journal_db_t *
ngx_push_journal_db_open(ngx_push_journal_writer_t *w)
{
    ngx_push_journal_db_t  *db;

    if (db_fails()) {
        w->now.errors++;
        ngx_push_journal_note(w, "down");
        return NULL;
    }

    db = malloc(sizeof(ngx_push_journal_db_t));
    db->writer = w;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, db->pair), 0);
    ngx_push_journal_fd_set(w, db->pair[0]);

    return db;
}


void
ngx_push_journal_db_close(ngx_push_journal_db_t *db)
{
    ngx_push_journal_fd_set(db->writer, -1);
    close(db->pair[0]);
    close(db->pair[1]);
    free(db);
}


ngx_int_t
ngx_push_journal_db_ping(ngx_push_journal_db_t *db)
{
    return db_fails() ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_push_journal_db_purge(ngx_push_journal_db_t *db)
{
    return db_fails() ? NGX_ERROR : NGX_OK;
}


static ngx_uint_t
row_whole(ngx_push_journal_record_t *r)
{
    size_t   i;
    u_char  *p;

    p = ngx_push_journal_blob(r);

    for (i = 0; i < r->blob_len; i++) {
        if (p[i] != (u_char) (r->seq + i)) {
            return 0;
        }
    }

    return r->seq && r->seq <= ROWS && r->product_len == 4
           && memcmp(ngx_push_journal_product(r), "shop", 4) == 0
           && memcmp(ngx_push_journal_name(r), "user", r->name_len) == 0
           && (r->type == NGX_PUSH_JOURNAL_MESSAGE
               || memcmp(ngx_push_journal_device(r), "d", r->device_len) == 0);
}


ngx_int_t
ngx_push_journal_db_write(ngx_push_journal_db_t *db, u_char *data,
    size_t *done, size_t used)
{
    char                        c;
    ngx_uint_t                  t;
    ngx_push_journal_record_t  *r;

    while (*done < used) {

        if (__atomic_load_n(&db_hangs, __ATOMIC_RELAXED)) {
            while (read(db->pair[0], &c, 1) > 0) { /* void */ }
            return NGX_ERROR;
        }

        if (__atomic_load_n(&db_deaf, __ATOMIC_RELAXED)) {
            __atomic_store_n(&db_deaf, 2, __ATOMIC_RELAXED);
        }

        while (__atomic_load_n(&db_deaf, __ATOMIC_RELAXED)) {
            usleep(10000);
        }

        if (rand() % 50 == 0 && db_fails()) {
            return NGX_ERROR;
        }

        if (db_takes) {
            usleep(rand_r(&db_seed) % db_takes);
        }

        r = (ngx_push_journal_record_t *) (data + *done);
        t = r->type == NGX_PUSH_JOURNAL_ACK;

        if (!row_whole(r)) {
            db_broken++;

        } else {
            db_rows[t][r->seq - 1] |= 1;
        }

        *done += r->size;
        db->writer->now.rows[t]++;
    }

    return NGX_OK;
}


/* --- the tests */

typedef struct {
    ngx_push_product_t           product;
    ngx_push_target_t            target;
    char                         folder[sizeof(FOLDER)];
    ngx_push_journal_writer_t   *w;
    u_char                      *bytes;
} journal_t;


static journal_t  j;


static void
journal_begin(void)
{
    j.w = calloc(1, sizeof(ngx_push_journal_writer_t));
    j.w->set.batch = 100;
    j.w->set.delay = 10;
    j.w->set.backlog = 4 * 1024 * 1024;
    j.w->set.spill = j.folder;
    j.w->set.spill_size = 1024 * 1024 * 1024;
    j.w->set.node = "n1";

    assert_int_equal(ngx_push_journal_begin(&test_cycle, j.w), NGX_OK);
}


/* How many rows were dropped, all the time. */

static uint64_t
journal_end(void)
{
    uint64_t  lost;

    assert_ptr_equal(ngx_push_journal_end(&test_cycle), j.w);
    assert_null(test_timers[0]);
    assert_null(test_timers[1]);
    lost = j.w->seen.full;
    free(j.w);

    return lost;
}


static void
journal_row(uint64_t seq, size_t size)
{
    size_t                      i;
    ngx_str_t                   blob;
    ngx_push_journal_ack_t      ack;
    ngx_push_journal_message_t  m;

    for (i = 0; i < size; i++) {
        j.bytes[i] = (u_char) (seq + i);
    }

    blob.data = j.bytes;
    blob.len = size;

    ngx_memzero(&m, sizeof(m));
    m.target = &j.target;
    m.incarnation = 7;
    m.seq = seq;
    m.blob = &blob;

    ngx_push_journal_mysql.saved(&m);

    ngx_memzero(&ack, sizeof(ack));
    ack.product = &j.product;
    ngx_str_set(&ack.user, "user");
    ngx_str_set(&ack.device, "d");
    ack.incarnation = 7;
    ack.acked = seq;
    ack.rest = blob;
    ack.rest.len = size % 100;

    ngx_push_journal_mysql.acked(&ack);
}


static ngx_uint_t
journal_missing(ngx_uint_t rows)
{
    ngx_uint_t  i, n;

    for (i = 0, n = 0; i < rows; i++) {
        n += (db_rows[0][i] == 0) + (db_rows[1][i] == 0);
    }

    return n;
}


static ngx_uint_t
files(const char *suffix)
{
    DIR            *dir;
    ngx_uint_t      n;
    struct dirent  *de;

    n = 0;
    dir = opendir(j.folder);

    while ((de = readdir(dir)) != NULL) {
        n += strlen(de->d_name) > strlen(suffix)
             && strcmp(de->d_name + strlen(de->d_name) - strlen(suffix),
                       suffix) == 0;
    }

    closedir(dir);

    return n;
}


static int
setup(void **state)
{
    uint32_t    c;
    ngx_uint_t  i, k;

    for (i = 0; i < 256; i++) {
        for (c = i, k = 0; k < 8; k++) {
            c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
        }

        ngx_crc32_table256[i] = c;
    }

    memset(&j, 0, sizeof(j));
    memset(db_rows, 0, sizeof(db_rows));
    db_broken = 0;
    db_down = 0;
    db_hangs = 0;
    db_takes = 0;

    ngx_cycle = &test_cycle;
    test_cycle.log = &test_log;
    ngx_cached_time = &test_time;
    ngx_push_zone = &test_zone;

    ngx_str_set(&j.product.name, "shop");
    j.target.product = &j.product;
    j.target.kind = NGX_PUSH_INBOX;
    ngx_str_set(&j.target.name, "user");
    j.bytes = malloc(256 * 1024);

    strcpy(j.folder, FOLDER);

    return mkdtemp(j.folder) == NULL;
}


static int
teardown(void **state)
{
    char  command[64];

    free(j.bytes);
    snprintf(command, sizeof(command), "rm -rf %s", j.folder);

    return system(command);
}


/* Rows as fast as the thread takes them, so that nothing has to be dropped. */

static void
journal_load(ngx_uint_t troubled)
{
    size_t      queued;
    uint64_t    i;

    for (i = 1; i <= ROWS; i++) {

        journal_row(i, i % 997 == 0 ? 200 * 1024 : i % 300);

        do {
            test_turn();
            (void) pthread_mutex_lock(&j.w->mutex);
            queued = j.w->queued;
            (void) pthread_mutex_unlock(&j.w->mutex);
        } while (queued > 3 * 1024 * 1024 - 512 * 1024 && usleep(100) == 0);

        if (troubled && i % 500 == 0) {
            __atomic_store_n(&db_down, rand() % 3 * 50, __ATOMIC_RELAXED);
            usleep(rand() % 20000);
        }
    }
}


/* What stands in files. */

static void
journal_read_back(void)
{
    int64_t  until;

    db_down = 0;
    db_hangs = 0;
    db_takes = 0;
    journal_begin();
    until = ngx_push_journal_clock() + 20000;

    while (files(".spill") && ngx_push_journal_clock() < until) {
        test_turn();
        usleep(1000);
    }

    assert_int_equal(journal_end(), 0);
}


static void
all_of_it_arrives(void **state)
{
    journal_begin();
    journal_load(0);
    assert_int_equal(journal_end(), 0);

    /* a machine that is busy may have made it take to files */

    journal_read_back();
    assert_int_equal(journal_missing(ROWS), 0);
    assert_int_equal(db_broken, 0);
    assert_int_equal(files(".spill"), 0);
}


static void
nothing_is_lost_in_trouble(void **state)
{
    journal_begin();
    journal_load(1);
    assert_int_equal(journal_end(), 0);
    journal_read_back();
    assert_int_equal(journal_missing(ROWS), 0);
    assert_int_equal(db_broken, 0);
    assert_int_equal(files(".broken"), 0);
}


/* A database that hangs at the end is cut off: what is left goes to a file. */

static void
the_end_does_not_wait(void **state)
{
    int64_t     start;
    ngx_uint_t  i;

    db_hangs = 1;
    journal_begin();

    for (i = 1; i <= HELD; i++) {
        journal_row(i, i % 997 == 0 ? 200 * 1024 : i % 300);
        test_turn();
    }

    start = ngx_push_journal_clock();
    assert_int_equal(journal_end(), 0);
    assert_true(ngx_push_journal_clock() - start < 5000);
    assert_true(files(".spill") > 0);

    journal_read_back();
    assert_int_equal(journal_missing(HELD), 0);
}


/* A thread that does not end: what it was given goes to a file. */

static void
the_end_does_without_the_thread(void **state)
{
    int64_t     start;
    ngx_uint_t  i;

    /* the process would end now, with all that the thread may still use */

    __lsan_disable();

    db_deaf = 1;
    journal_begin();

    for (i = 1; i <= HELD; i++) {
        journal_row(i, i % 300);
        test_turn();
    }

    while (__atomic_load_n(&db_deaf, __ATOMIC_RELAXED) != 2) {
        test_turn();
        usleep(1000);
    }

    start = ngx_push_journal_clock();
    assert_null(ngx_push_journal_end(&test_cycle));
    assert_true(ngx_push_journal_clock() - start < 9000);
    assert_true(files(".spill") > 0);

    /* it comes back all the same, and finds nothing to do */

    __atomic_store_n(&db_deaf, 0, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(j.w->thread, NULL), 0);
    assert_null(j.w->head);

    __lsan_enable();

    memset(db_rows, 0, sizeof(db_rows));
    journal_read_back();
    assert_int_equal(journal_missing(HELD), 0);
}


/* Rows that come while the thread is busy, and then nothing but the end. */

static void
the_end_forgets_nothing(void **state)
{
    ngx_uint_t  i, k;

    db_takes = 1000;

    for (i = 1; i + 2 < ENDS * 3; i += 3) {
        journal_begin();

        /* "batch" 1: each is given away if the thread waits for some */

        j.w->set.batch = 1;

        for (k = 0; k < 3; k++) {
            usleep(rand() % 1000);
            journal_row(i + k, 10);
        }

        test_pause = 3000;
        assert_int_equal(journal_end(), 0);
        test_pause = 0;
    }

    journal_read_back();
    assert_int_equal(journal_missing(i - 1), 0);
}


/*
 * A segment that ends anywhere: what is whole in it is read, and the file is
 * put aside if that is not all.
 */

static void
segments_cut_at_any_byte(void **state)
{
    char                       *path, command[256];
    u_char                     *data, *p;
    size_t                      size, cut, whole, got;
    struct dirent             **list;
    ngx_push_journal_spill_t    s;
    ngx_push_journal_record_t  *r;
    ngx_push_journal_writer_t   w;

    memset(&w, 0, sizeof(w));
    pthread_mutex_init(&w.mutex, NULL);
    w.set.spill = j.folder;
    w.set.spill_size = 1024 * 1024;
    w.set.node = "n1";

    size = 5 * 128;
    data = calloc(1, size);

    for (p = data; p < data + size; p += 128) {
        r = (ngx_push_journal_record_t *) p;
        r->size = 128;
        r->type = NGX_PUSH_JOURNAL_MESSAGE;
        r->blob_len = 8;
    }

    for (cut = 0; cut <= size; cut++) {

        assert_int_equal(ngx_push_journal_spill_init(&s, &w), NGX_OK);
        assert_int_equal(ngx_push_journal_spill_write(&s, data, size), NGX_OK);
        ngx_push_journal_spill_finish(&s);

        assert_int_equal(scandir(j.folder, &list, NULL, alphasort), 3);
        assert_true(asprintf(&path, "%s/%s", j.folder, list[2]->d_name) > 0);
        free(list[0]);
        free(list[1]);
        free(list[2]);
        free(list);
        assert_int_equal(truncate(path, 8 + cut), 0);

        for (got = 0; ngx_push_journal_spill_read(&s) == NGX_OK; ) {
            got += s.used;
            s.done = s.used;
        }

        whole = cut / 128 * 128;
        assert_int_equal(got, whole);
        assert_int_equal(files(".spill"), 0);
        assert_int_equal(files(".broken"), cut != whole);
        assert_int_equal(w.now.corrupt, cut != whole);

        w.now.corrupt = 0;
        ngx_push_journal_spill_close(&s);
        free(path);
        snprintf(command, sizeof(command), "rm -f %s/*", j.folder);
        assert_int_equal(system(command), 0);
    }

    free(data);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(all_of_it_arrives, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_lost_in_trouble, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_end_does_not_wait, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_end_does_without_the_thread, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_end_forgets_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(segments_cut_at_any_byte, setup,
                                        teardown)
    };

    test_loop = pthread_self();

    return cmocka_run_group_tests(tests, NULL, NULL);
}
