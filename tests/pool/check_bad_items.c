/* SPDX-License-Identifier: BSD-2-Clause */
/* Items, ranges and items of batches that do what none should: each costs itself and no other, in every kind of map, and the
 * pool is at its full size again. (What single tasks do: check_bad_tasks.) */
#include "platform/base.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool_common.h"

enum { WORKERS = 2, ITEMS = 40, BAD = 13, CHUNK = 4, MEMORY_MIB = 64, LIMIT_MS = 50 };

/* ---- the deeds ---- */

/* What an item leaves that ends its process is no leak; telling it, with its places in the source, hides others. */
static int do_exit(mproc_call *call)
{
    (void)call;
    support_sanitizer_skip();
    exit(0);
}

static int do_thread_exit(mproc_call *call)
{
    (void)call;
    support_sanitizer_skip();
    pthread_exit(NULL);
}

static int do_exec(mproc_call *call)
{
    (void)call;
    execl("/bin/sleep", "sleep", "1000", (char *)NULL);
    return -errno;
}

/* Its child returns in its place, an orphan. */
static int do_daemonize(mproc_call *call)
{
    (void)call;
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child > 0)
        _exit(0);
    return setsid() < 0 ? -errno : 0;
}

static int do_fork(mproc_call *call)
{
    (void)call;
    return fork() < 0 ? -errno : 0;
}

static int do_close_all(mproc_call *call)
{
    (void)call;
    for (int fd = 0; fd < 256; fd++)
        close(fd);
    return 0;
}

static int do_forbid_files(mproc_call *call)
{
    (void)call;
    const struct rlimit none = {0, 0};
    return setrlimit(RLIMIT_NOFILE, &none) < 0 ? -errno : 0;
}

static int do_change_directory(mproc_call *call)
{
    (void)call;
    return chdir("/") < 0 ? -errno : 0;
}

static int do_block_signals(mproc_call *call)
{
    (void)call;
    sigset_t all;
    sigfillset(&all);
    return -pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static int do_leave_family(mproc_call *call)
{
    (void)call;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_IGN);
    return setsid() < 0 && getsid(0) != getpid() ? -errno : 0; /* it has, for an earlier item */
}

/* As much as it gets; what fails is its own. */
static int do_allocate(mproc_call *call)
{
    enum { STEP = 1 << 20 };
    (void)call;
    for (char *bytes; (bytes = malloc(STEP)) != NULL;)
        memset(bytes, 1, STEP);
    return -ENOMEM;
}

static const struct {
    const char *name;
    mproc_fn *deed;
    int code, other_code; /* one of the two becomes of it */
    bool limited;         /* of memory, or of time */
    bool threads;         /* it may be done to all of a process */
} deeds[] = {
    {"exit", do_exit, .code = MPROC_EDIED, .other_code = MPROC_EDIED},
    {"abort", task_abort, .code = MPROC_EDIED, .other_code = MPROC_EDIED},
    {"pthread_exit", do_thread_exit, .code = MPROC_EDIED, .other_code = MPROC_EDIED},
    {"exec", do_exec, .code = MPROC_EDIED, .other_code = MPROC_EDIED},
    {"daemonize", do_daemonize, .code = MPROC_EDIED, .other_code = MPROC_EDIED},
    {"fork", do_fork, .threads = true},
    {"close all", do_close_all, .other_code = MPROC_EDIED},
    {"forbid files", do_forbid_files, .other_code = MPROC_EDIED},
    {"change directory", do_change_directory, .threads = true},
    {"block signals", do_block_signals, .threads = true},
    {"leave the family", do_leave_family},
    {"allocate", do_allocate, .code = -ENOMEM, .other_code = MPROC_EDIED, .limited = true},
    {"hang", task_hang, .code = -ETIME, .other_code = -ETIME, .limited = true},
};
enum { DEEDS = MPROC__COUNT(deeds) };

/* ---- maps ---- */

static int item_bad(mproc_call *call, const void *in, void *out)
{
    int64_t n;
    memcpy(&n, in, sizeof n);
    int rc = n == BAD && mproc_call_attempt(call) == 1 ? deeds[mproc_call_int(call, 0)].deed(call) : 0;
    n *= 3;
    memcpy(out, &n, sizeof n);
    return rc;
}

static int range_bad(mproc_call *call)
{
    size_t first, end;
    mproc_call_range(call, &first, &end);
    const int64_t *in = mproc_array_data(mproc_call_array(call, 1));
    int64_t *out = mproc_array_data(mproc_call_array(call, 2));
    int rc = mproc_call_check(call);
    for (size_t i = first; i < end && rc == 0; i++)
        rc = item_bad(call, &in[i], &out[i]);
    return rc;
}

static int variant_bad(mproc_call *call)
{
    int64_t n = mproc_call_int(call, 0);
    int rc = n == BAD && mproc_call_attempt(call) == 1 ? deeds[mproc_call_int(call, 1)].deed(call) : 0;
    return rc < 0 ? rc : mproc_call_return(call, mproc_int(3 * n));
}

typedef struct field {
    mproc_pool *pool;
    mproc_array *in, *out;
    int code; /* of the whole: that of its first failure */
    int status[ITEMS];
    int64_t got[ITEMS];
} field;

static mproc_array *array_make(void)
{
    mproc_array *array = NULL;
    int rc = mproc_array_create(NULL, MPROC_ITEM_INT64, ITEMS, NULL, &array);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return array;
}

static void run_items(field *f, mproc_map_options *options)
{
    int64_t *in = mproc_array_data(f->in), *out = mproc_array_data(f->out);
    f->code = mproc_pool_map(f->pool, item_bad, in, sizeof *in, out, sizeof *out, ITEMS, options);
    memcpy(f->got, out, sizeof f->got);
}

static void run_ranges(field *f, mproc_map_options *options)
{
    const mproc_variant deed = mproc_variant_at(options->args, 0);
    options->args = MPROC_ARGS(deed, f->in, f->out);
    f->code = mproc_pool_for(f->pool, range_bad, ITEMS, options);
    memcpy(f->got, mproc_array_data(f->out), sizeof f->got);
}

static void run_batches(field *f, mproc_map_options *options)
{
    mproc_variant items[ITEMS];
    mproc_results *results = NULL;
    mproc_result one;
    for (int i = 0; i < ITEMS; i++)
        items[i] = mproc_int(i);
    options->status = NULL;
    ck_assert_int_eq(mproc_pool_map_variants(f->pool, variant_bad, items, ITEMS, options, &results), 0);
    while (mproc_results_next(results, mproc_after_ms(support_ms(10000)), &one) == 0) {
        f->status[one.index] = one.code;
        (void)mproc_variant_get_int(one.value, &f->got[one.index]);
    }
    f->code = f->status[BAD];
    mproc_results_close(&results);
}

typedef void run_fn(field *f, mproc_map_options *options);
static run_fn *const shapes[] = {run_items, run_ranges, run_batches};
enum { SHAPES = MPROC__COUNT(shapes) };

/* A range stands or falls as one. */
static void judge(const field *f, unsigned which, unsigned shape)
{
    ck_assert_msg(f->code == f->status[BAD], "%s, shape %u: %s", deeds[which].name, shape,
                  mproc_errname(f->code));
    for (int i = 0; i < ITEMS; i++) {
        bool bad = shapes[shape] == run_ranges ? i / CHUNK == BAD / CHUNK : i == BAD;
        int code = f->status[i];
        ck_assert_msg(code == 0 || (bad && (code == deeds[which].code || code == deeds[which].other_code)),
                      "%s, shape %u, item %d: %s", deeds[which].name, shape, i, mproc_errname(code));
        ck_assert_msg(code < 0 || f->got[i] == 3 * i, "%s, shape %u, item %d", deeds[which].name, shape, i);
        ck_assert_msg(i != BAD || code == deeds[which].code || code == deeds[which].other_code,
                      "%s, shape %u: %s", deeds[which].name, shape, mproc_errname(code));
    }
}

static void run_and_judge(field *f, unsigned which, unsigned shape)
{
    memset(f->got, 0, sizeof f->got);
    for (int i = 0; i < ITEMS; i++)
        f->status[i] = 1;
    memset(mproc_array_data(f->out), 0, sizeof f->got);
    shapes[shape](f, MPROC_WITH(mproc_map_options, .chunk = CHUNK, .status = f->status,
                                .args = MPROC_ARGS(which),
                                .time_limit_ms = deeds[which].deed == task_hang ? LIMIT_MS : 0));
    judge(f, which, shape);
}

/* Two at the same time: all that there should be. */
static bool is_full(void *context)
{
    mproc_pool *pool = context;
    mproc_future *guests[WORKERS];
    bool all = true;
    for (int i = 0; i < WORKERS; i++)
        guests[i] = submit(pool, task_until_stopped, MPROC_NONE);
    for (int i = 0; i < WORKERS; i++)
        all &= support_until(is_running, guests[i], 500);
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(mproc_future_cancel(guests[i], true), 0);
        ck_assert_int_eq(result_code(guests[i]), -ECANCELED);
        mproc_future_close(&guests[i]);
    }
    return all;
}

static void misbehave_in_all_maps(mproc_start method, unsigned which)
{
    field f = {.in = array_make(), .out = array_make()};
    mproc_pool_options options = {.size = sizeof options, .start = method, .workers = WORKERS};
    if (deeds[which].deed == do_allocate)
        options.limits.memory_bytes = (size_t)MEMORY_MIB << 20;
    int rc = mproc_pool_create(&options, &f.pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    for (int i = 0; i < ITEMS; i++)
        ((int64_t *)mproc_array_data(f.in))[i] = i;
    for (unsigned shape = 0; shape < SHAPES; shape++)
        if (!deeds[which].limited || shape == method % SHAPES) /* those take their time */
            run_and_judge(&f, which, shape);
    ck_assert(support_until(is_full, f.pool, 5000));
    pool_end(&f.pool);
    mproc_array_close(&f.in);
    mproc_array_close(&f.out);
    while (waitpid(-1, NULL, 0) > 0) /* children of threads' items are this process's */
        ;
}

/* shows: DEATH-6 WORK-1 */
START_TEST(whatever_an_item_does_costs_itself_alone)
{
    unsigned method = (unsigned)_i / DEEDS, which = (unsigned)_i % DEEDS;
    char before[512];
    if (pool_methods[method] == MPROC_START_THREAD && !deeds[which].threads)
        return;
#ifdef MPROC__SANITIZED /* its shadow is beyond any limit of addresses */
    if (deeds[which].deed == do_allocate)
        return;
#endif
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    misbehave_in_all_maps(pool_methods[method], which);
    ck_assert_int_eq(chdir(before), 0);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, whatever_an_item_does_costs_itself_alone, METHODS_FIRST * DEEDS,
                        METHODS * DEEDS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "bad_items", add);
}
