/* SPDX-License-Identifier: BSD-2-Clause */
/* Sequences, threads, operations, the watchdog. */
#include "platform/base.h"

#include <dirent.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "platform/platform.h"
#include "process/launch.h"
#include "support/support.h"
#include "torture/pool_fuzz.h"

enum {
    SEQUENCES = 5000,
    OPERATIONS = 30,
    WATCH_MS = 2000,
    CLOSE_MS = 5000, /* 2 s of grace are the close's own */
    WAIT_MS_MOST = 15,
    STOP_MS_MOST = 40,
    PAUSE_US_MOST = 400,
    VARIANTS = 12
};

typedef struct actor {
    fuzz *f;
    unsigned seed;
    pthread_t thread;
    work works[FUZZ_WORKS];
    _Atomic(const char *) doing;
    _Atomic int64_t since_ns, limit_ms;
} actor;

static const char *const method_names[] = {"fork", "spawn", "forkserver", "thread"};

/* ---- operations ---- */

static void doing(actor *a, const char *what, int limit_ms)
{
    atomic_store(&a->doing, NULL);
    atomic_store(&a->limit_ms, limit_ms);
    atomic_store(&a->since_ns, mproc__now_ns());
    atomic_store(&a->doing, what);
    atomic_fetch_add(&a->f->operations, 1);
    if (a->f->say)
        fprintf(stderr, "pool_fuzz: %p %s\n", (void *)a, what);
}

static void op_begin(actor *a, work *w)
{
    doing(a, "submit", WATCH_MS);
    work_begin(a->f, w, a->works, &a->seed);
}

static void op_cancel(actor *a, work *w)
{
    doing(a, "cancel", WATCH_MS);
    work_cancel(a->f, w, rand_r(&a->seed) % 3 > 0);
}

static void op_take(actor *a, work *w)
{
    doing(a, "wait", WATCH_MS);
    (void)work_take(a->f, w, mproc_after_ms((uint64_t)rand_r(&a->seed) % WAIT_MS_MOST));
}

static void op_look(actor *a, work *w)
{
    doing(a, "look", WATCH_MS);
    work_look(a->f, w);
}

static void op_close(actor *a, work *w)
{
    doing(a, "close a future", WATCH_MS);
    mproc_future_close(&w->future);
}

static void op_kill(actor *a, work *w)
{
    pid_t workers[POOL_LEDGER_PEOPLE];
    (void)w;
    doing(a, "kill", WATCH_MS);
    pid_t supervisor = a->f->threads ? 0 : pool_supervisor(a->f->before, a->f->before_count);
    unsigned count = supervisor ? pool_children(supervisor, workers, POOL_LEDGER_PEOPLE) : 0;
    bool all = rand_r(&a->seed) % 8 == 0; /* its workers die with it */
    if (count == 0)
        return;
    atomic_fetch_add(&a->f->kills, all ? count + 1 : 1);
    kill(all ? supervisor : workers[(unsigned)rand_r(&a->seed) % count], SIGKILL);
}

static void op_stats(actor *a, work *w)
{
    mproc_variant stats = mproc_null();
    (void)w;
    doing(a, "statistics", WATCH_MS);
    if (mproc_pool_stats(a->f->pool, &stats) < 0)
        fuzz_blame(a->f, "no statistics");
    mproc_variant_clear(&stats);
}

static void op_stop(actor *a, work *w)
{
    size_t dropped = 0;
    (void)w;
    bool drain = rand_r(&a->seed) % 2;
    if (rand_r(&a->seed) % 4 > 0)
        return;
    doing(a, "stop", WATCH_MS);
    atomic_fetch_add(&a->f->stops, 1);
    int rc = mproc_pool_stop(a->f->pool, drain, mproc_after_ms((uint64_t)rand_r(&a->seed) % STOP_MS_MOST),
                             &dropped);
    if (rc < 0 && rc != -ETIMEDOUT && !(rc == -EBUSY && a->f->threads))
        fuzz_blame(a->f, "stop answers %s: %s", mproc_errname(rc), mproc_error_text(mproc_last_error()));
}

static int task_square(mproc_call *call)
{
    int64_t n = mproc_call_int(call, 0);
    return mproc_call_return(call, mproc_int(n * n));
}

static void results_read(actor *a, mproc_results *results, unsigned count)
{
    mproc_result one;
    for (unsigned i = 0; i < count; i++) {
        doing(a, "next result", WATCH_MS);
        int rc = mproc_results_next(results, mproc_after_ms(WAIT_MS_MOST), &one);
        int64_t value = -1;
        bool stopped = atomic_load(&a->f->stops) > 0;
        if (rc == MPROC_EEND || rc == -ETIMEDOUT || (rc < 0 && stopped))
            return;
        if (rc < 0)
            fuzz_blame(a->f, "next result: %s", mproc_error_text(mproc_last_error()));
        else if (one.code == 0 &&
                 (mproc_variant_get_int(one.value, &value) < 0 || value != (int64_t)(one.index * one.index)))
            fuzz_blame(a->f, "result %zu is wrong", one.index);
        else if (one.code != 0 && !(one.code == MPROC_EDIED && atomic_load(&a->f->kills) > 0) && !stopped)
            fuzz_blame(a->f, "result %zu: %s", one.index, mproc_errname(one.code));
    }
}

static void op_results(actor *a, work *w)
{
    mproc_variant items[VARIANTS];
    mproc_results *results = NULL;
    (void)w;
    for (int i = 0; i < VARIANTS; i++)
        items[i] = mproc_int(i);
    doing(a, "map of variants", WATCH_MS);
    int rc =
        mproc_pool_map_variants(a->f->pool, task_square, items, VARIANTS,
                                MPROC_WITH(mproc_map_options, .unordered = rand_r(&a->seed) % 2), &results);
    if (rc == 0)
        results_read(a, results, (unsigned)rand_r(&a->seed) % (VARIANTS + 2));
    else if (!(rc == MPROC_ECLOSED && atomic_load(&a->f->stops) > 0))
        fuzz_blame(a->f, "map of variants: %s", mproc_error_text(mproc_last_error()));
    doing(a, "close results", WATCH_MS);
    mproc_results_close(&results);
}

/* ---- an actor ---- */

typedef struct operation {
    void (*run)(actor *a, work *w);
    unsigned weight;
    bool on_work; /* on a future there is; else on none */
} operation;

static const operation operations[] = {{op_begin, 12, false}, {op_cancel, 5, true}, {op_take, 6, true},
                                       {op_look, 3, true},    {op_close, 1, true},  {op_kill, 2, false},
                                       {op_stats, 1, false},  {op_stop, 1, false},  {op_results, 1, false}};

static const operation *operation_choose(unsigned *seed)
{
    unsigned all = 0, chosen;
    for (size_t i = 0; i < MPROC__COUNT(operations); i++)
        all += operations[i].weight;
    chosen = (unsigned)rand_r(seed) % all;
    const operation *of = operations;
    while (chosen >= of->weight)
        chosen -= (of++)->weight;
    return of;
}

static void *actor_run(void *context)
{
    actor *a = context;
    for (unsigned i = 0; i < OPERATIONS && atomic_load(&a->f->failures) == 0; i++) {
        work *w = &a->works[(unsigned)rand_r(&a->seed) % FUZZ_WORKS];
        const operation *of = operation_choose(&a->seed);
        if (of->run == op_begin && w->future)
            of = &operations[2];
        if (!of->on_work || w->future)
            of->run(a, w);
        if (rand_r(&a->seed) % 2)
            nanosleep(&(struct timespec){.tv_nsec = (rand_r(&a->seed) % PAUSE_US_MOST) * 1000L}, NULL);
    }
    atomic_store(&a->doing, NULL);
    return NULL;
}

/* ---- the watchdog ---- */

static actor *actors; /* of the sequence that is under way, and one for the main thread */
static _Atomic bool watch_ends;

static void actor_watch(const actor *a)
{
    const char *what = atomic_load(&a->doing);
    int64_t since = atomic_load(&a->since_ns), limit = support_ms((int)atomic_load(&a->limit_ms));
    if (!what || atomic_load(&a->doing) != what || (mproc__now_ns() - since) / 1000000 < limit)
        return;
    fprintf(stderr, "pool_fuzz: seed %u: %s hangs for %d ms\n", a->f->seed, what, (int)limit);
    fflush(NULL);
    abort();
}

static void *watch(void *unused)
{
    while (!atomic_load(&watch_ends)) {
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        for (unsigned i = 0; i <= FUZZ_THREADS; i++)
            actor_watch(&actors[i]);
    }
    return unused;
}

/* ---- a sequence ---- */

static unsigned descriptors_count(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

typedef struct surroundings {
    unsigned descriptors, children;
    pid_t pids[POOL_LEDGER_PEOPLE];
} surroundings;

static void surroundings_take(surroundings *s)
{
    s->descriptors = descriptors_count();
    s->children = pool_children(getpid(), s->pids, POOL_LEDGER_PEOPLE);
}

static bool pool_begin(fuzz *f, mproc_start start, const surroundings *before, unsigned *seed)
{
    mproc_pool_options options = {.workers = 1 + (unsigned)rand_r(seed) % 4,
                                  .restarts_per_minute = 65536,
                                  .max_queued_tasks = 2 + (size_t)rand_r(seed) % 30,
                                  .max_queued_bytes = (size_t)(8 + rand_r(seed) % 64) << 10};
    if (start != MPROC_START_THREAD && rand_r(seed) % 4 == 0)
        options.tasks_per_worker = 1 + (unsigned)rand_r(seed) % 5;
    int rc = pool_ledger_pool(f->shm, start, &options, &f->pool);
    if (rc < 0)
        fuzz_blame(f, "no pool: %s", mproc_error_text(mproc_last_error()));
    f->before = before->pids;
    f->before_count = before->children;
    return rc == 0;
}

/* Stopped or not, with work of all kinds there. Futures outlive their pool. */
static void pool_end(fuzz *f, actor *main_actor, unsigned *seed)
{
    bool drain = rand_r(seed) % 4 == 0;
    atomic_fetch_add(&f->stops, 1);
    if (rand_r(seed) % 8 > 0) {
        doing(main_actor, "last stop", WATCH_MS);
        int rc = mproc_pool_stop(f->pool, drain, mproc_after_ms((uint64_t)rand_r(seed) % STOP_MS_MOST), NULL);
        if (rc < 0 && !(rc == -EBUSY && f->threads))
            fuzz_blame(f, "the last stop answers %s: %s", mproc_errname(rc),
                       mproc_error_text(mproc_last_error()));
    }
    doing(main_actor, "close", CLOSE_MS);
    mproc_pool_close(&f->pool);
}

static void works_end(actor *a, actor *main_actor)
{
    for (unsigned i = 0; i < FUZZ_WORKS; i++)
        if (a->works[i].future) {
            doing(main_actor, "last wait", WATCH_MS);
            if (!work_take(a->f, &a->works[i], mproc_after_ms((uint64_t)support_ms(WATCH_MS / 2))))
                fuzz_blame(a->f, "work %u (kind %d) does not end with its pool", a->works[i].number,
                           (int)a->works[i].kind);
            mproc_future_close(&a->works[i].future);
        }
}

static bool nothing_more(void *context)
{
    const surroundings *before = context;
    surroundings now;
    while (waitpid(-1, NULL, WNOHANG) > 0) /* workers of a killed supervisor */
        ;
    surroundings_take(&now);
    return now.descriptors == before->descriptors && now.children == before->children;
}

static void actors_run(fuzz *f, unsigned *seed)
{
    for (unsigned i = 0; i <= FUZZ_THREADS; i++) {
        actors[i].f = f;
        actors[i].seed = (unsigned)rand_r(seed);
        atomic_store(&actors[i].doing, NULL);
    }
    unsigned started = 0;
    while (started < FUZZ_THREADS &&
           pthread_create(&actors[started].thread, NULL, actor_run, &actors[started]) == 0)
        started++;
    for (unsigned i = 0; i < started; i++)
        pthread_join(actors[i].thread, NULL);
    pool_end(f, &actors[FUZZ_THREADS], seed);
    for (unsigned i = 0; i < FUZZ_THREADS; i++)
        works_end(&actors[i], &actors[FUZZ_THREADS]);
    atomic_store(&actors[FUZZ_THREADS].doing, NULL);
}

static void sequence(fuzz *f, mproc_start start)
{
    surroundings before;
    unsigned seed = f->seed;
    surroundings_take(&before);
    if (!pool_begin(f, start, &before, &seed))
        return;
    actors_run(f, &seed);
    if (!support_until(nothing_more, &before, WATCH_MS))
        fuzz_blame(f, "descriptors or processes are left");
}

/* ---- all ---- */

typedef struct asked {
    unsigned sequences, seed;
    int method; /* -1: each in turn */
    bool say;
} asked;

static bool options_read(int argc, char **argv, asked *ret_asked)
{
    static const struct option names[] = {{"sequences", required_argument, NULL, 'n'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"method", required_argument, NULL, 'm'},
                                          {"say", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    for (int letter; (letter = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (letter == 'n')
            ret_asked->sequences = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 's')
            ret_asked->seed = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 'v')
            ret_asked->say = true;
        else if (letter != 'm')
            return false;
        for (int i = 0; letter == 'm' && i < (int)MPROC__COUNT(method_names); i++)
            if (strcmp(optarg, method_names[i]) == 0)
                ret_asked->method = i;
    }
    return optind == argc;
}

static int sequences_run(const asked *of, mproc_shm *shm, pool_ledger_shared *ledger)
{
    static const mproc_start starts[] = {MPROC_START_FORK, MPROC_START_SPAWN, MPROC_START_FORKSERVER,
                                         MPROC_START_THREAD};
    uint64_t done = 0;
    unsigned kills = 0, failures = 0;
    for (unsigned i = 0; i < of->sequences && failures == 0; i++) {
        int method = of->method >= 0 ? of->method : (int)((of->seed + i) % MPROC__COUNT(starts));
        fuzz f = {.shm = shm, .ledger = ledger, .say = of->say, .seed = of->seed + i};
        f.threads = starts[method] == MPROC_START_THREAD;
        sequence(&f, starts[method]);
        if (atomic_load(&f.failures) > 0)
            fprintf(stderr, "pool_fuzz: again: --seed %u --sequences 1 --method %s\n", f.seed,
                    method_names[method]);
        done += atomic_load(&f.operations);
        kills += atomic_load(&f.kills);
        failures += atomic_load(&f.failures);
    }
    printf("%u\t%llu\t%u\t%u\n", of->sequences, (unsigned long long)done, kills, failures);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    mproc_shm *shm;
    pool_ledger_shared *ledger;
    pthread_t watcher;
    asked of = {.sequences = SEQUENCES, .seed = (unsigned)time(NULL), .method = -1};
    mproc__process_main(&argc, &argv);
    if (!options_read(argc, argv, &of) || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        fprintf(stderr, "usage: pool_fuzz [--sequences N] [--seed N] [--method NAME] [--say]\n");
        return 64;
    }
    fprintf(stderr, "pool_fuzz: seed %u\n", of.seed);
    actors = calloc(FUZZ_THREADS + 1, sizeof(*actors));
    if (!actors || pool_ledger_make(&shm, &ledger) < 0 || pthread_create(&watcher, NULL, watch, NULL) != 0)
        return EXIT_FAILURE;
    int status = sequences_run(&of, shm, ledger);
    atomic_store(&watch_ends, true);
    pthread_join(watcher, NULL);
    mproc_shm_close(&shm);
    free(actors);
    return status;
}
