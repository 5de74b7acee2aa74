/* SPDX-License-Identifier: BSD-2-Clause */
/* Counts the words of many files in parallel: a pool of workers, two queues in shared memory, and a dict in a managerd of
 * its own. Prints the 20 most frequent words.
 *
 *     wordcount [--method fork|spawn|forkserver|thread] [--workers N] [--compare] [FILE...]
 *
 * Pieces of the files go to the workers through the queue `jobs`; counts come back through `results`, name their piece and
 * are merged once. A worker that is killed costs nothing: `jobs` delivers its piece again, and a piece that still has no
 * result when the queue is empty is put again. */
#include "wordcount.h"
#include "words.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TOP = 20,
    WORKERS_MAX = 64,
    JOBS_AHEAD = 64,                  /* pieces in the queue; the rest waits here */
    RESULTS_BYTES = 16 * 1024 * 1024, /* a piece's result is at most about 2.3 times the piece */
    BATCH = 4096,                     /* words in one call to managerd */
    PUT_AGAIN_MAX = 5,
    STOP_MS = 5000
};

typedef struct job {
    inputs in;
    mproc_start method;
    unsigned workers;
    daemon_process daemon;
    mproc_place *here, *manager;
    mproc_queue *jobs, *results;
    mproc_pool *pool;
    mproc_future *counting[WORKERS_MAX];
    mproc_dict *counts;
    words *merged;
    bool *have; /* by piece number: its result was merged */
    uint64_t merged_pieces, too_long;
    unsigned put_again; /* rounds without progress in which lost pieces were put again */
    bool terminal, compare;
    int shown_percent;
} job;

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static int complain(const char *what)
{
    fprintf(stderr, "wordcount: %s: %s\n", what, mproc_error_text(mproc_last_error()));
    return -1;
}

/* ---- progress ---- */

static void progress_show(job *at)
{
    int percent = at->in.pieces ? (int)(100 * at->merged_pieces / at->in.pieces) : 100;
    if (percent == at->shown_percent || (!at->terminal && percent < at->shown_percent + 10 && percent < 100))
        return;
    at->shown_percent = percent;
    if (!at->terminal) {
        fprintf(stderr, "wordcount: %d %% (%llu of %llu pieces)\n", percent,
                (unsigned long long)at->merged_pieces, (unsigned long long)at->in.pieces);
        return;
    }
    char bar[41];
    memset(bar, ' ', sizeof bar - 1);
    memset(bar, '#', (size_t)percent * (sizeof bar - 1) / 100);
    bar[sizeof bar - 1] = '\0';
    fprintf(stderr, "\r[%s] %3d %%%s", bar, percent, percent == 100 ? "\n" : "");
}

/* ---- start ---- */

static int pool_start(job *at)
{
    mproc_variant paths = mproc_null();
    int rc = 0;
    for (size_t i = 0; i < at->in.count && rc == 0; i++)
        rc = mproc_variant_append(&paths, mproc_text(at->in.paths[i]));
    if (rc == 0)
        rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = at->workers, .start = at->method,
                                          .name = "wordcount", .initializer = worker_begin,
                                          .initializer_args = MPROC_ARGS(at->jobs, at->results, paths)),
                               &at->pool);
    mproc_variant_clear(&paths);
    return rc < 0 ? complain("starting the workers") : 0;
}

static int count_submit(job *at, unsigned slot)
{
    if (mproc_pool_submit(at->pool, worker_count, MPROC_NONE,
                          MPROC_WITH(mproc_task_options, .label = "count"), &at->counting[slot]) < 0)
        return complain("giving work to the pool");
    return 0;
}

/* The pool comes first where it forks: before there is a connection to managerd to inherit. */
static int start_all(job *at)
{
    if (mproc_place_open(at->method == MPROC_START_THREAD ? "thread:" : "host:", NULL, &at->here) < 0 ||
        mproc_queue_create(at->here,
                           MPROC_WITH(mproc_queue_options, .max_items = JOBS_AHEAD, .redeliver = true),
                           &at->jobs) < 0 ||
        mproc_queue_create(at->here, MPROC_WITH(mproc_queue_options, .max_bytes = RESULTS_BYTES),
                           &at->results) < 0)
        return complain("queues in shared memory");
    if (pool_start(at) < 0)
        return -1;
    if (daemon_start(&at->daemon) < 0)
        return -1;
    if (mproc_place_open(at->daemon.address, MPROC_WITH(mproc_place_options, .key_file = at->daemon.key_file),
                         &at->manager) < 0 ||
        mproc_dict_create(at->manager, MPROC_WITH(mproc_data_options, .name = "words"), &at->counts) < 0)
        return complain("managerd");
    unlink(at->daemon.key_file); /* both sides have read it */
    for (unsigned i = 0; i < at->workers; i++)
        if (count_submit(at, i) < 0)
            return -1;
    return 0;
}

/* ---- counting ---- */

/* Puts pieces while there is room. *ret_more: some are still to be put. */
static int pieces_put(job *at, piece *last, bool *ret_more)
{
    while (*ret_more) {
        piece next = *last;
        if (!inputs_next(&at->in, &next)) {
            *ret_more = false;
            break;
        }
        int rc = mproc_queue_put(at->jobs, &next, sizeof next, MPROC_NOW);
        if (rc == -ETIMEDOUT)
            break;
        if (rc < 0)
            return complain("queue of pieces");
        *last = next;
    }
    return 0;
}

/* With both queues idle, pieces without a result are lost (a worker died five times on one, say): once more, from the
 * start of the list. */
static int pieces_put_again(job *at)
{
    piece next = {0};
    if (++at->put_again > PUT_AGAIN_MAX) {
        fprintf(stderr, "wordcount: %llu pieces gave no result after %d tries\n",
                (unsigned long long)(at->in.pieces - at->merged_pieces), PUT_AGAIN_MAX);
        return -1;
    }
    while (inputs_next(&at->in, &next)) {
        if (at->have[next.number])
            continue;
        int rc = mproc_queue_put(at->jobs, &next, sizeof next, MPROC_NOW);
        if (rc == -ETIMEDOUT)
            return 0;
        if (rc < 0)
            return complain("queue of pieces");
    }
    return 0;
}

static int result_merge(job *at, const mproc_loan *loan)
{
    uint32_t number, too_long = 0;
    int rc = words_peek(loan->data, loan->data_bytes, &number);
    if (rc == 0 && (number == 0 || number > at->in.pieces))
        rc = -EBADMSG;
    if (rc == 0 && at->have[number])
        return 0; /* delivered twice: its worker was killed between result and done */
    if (rc == 0)
        rc = words_decode(at->merged, loan->data, loan->data_bytes, &number, &too_long);
    if (rc < 0) {
        fprintf(stderr, "wordcount: result of a piece: %s\n", strerror(-rc));
        return rc;
    }
    at->have[number] = true;
    at->merged_pieces++;
    at->put_again = 0;
    at->too_long += too_long;
    return 0;
}

/* Takes what has come, waiting at most 50 ms for the first. */
static int results_take(job *at, bool *ret_any)
{
    mproc_deadline deadline = mproc_after_ms(50);
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc;
    *ret_any = false;
    while ((rc = mproc_queue_take(at->results, deadline, &loan)) == 0) {
        int merged = result_merge(at, &loan);
        mproc_queue_done(at->results, &loan);
        if (merged < 0)
            return merged;
        *ret_any = true;
        deadline = MPROC_NOW;
    }
    return rc == -ETIMEDOUT ? 0 : complain("queue of results");
}

/* A counting task ends early only by failure; one whose worker died is given to the pool anew. */
static int tasks_check(job *at)
{
    for (unsigned i = 0; i < at->workers; i++) {
        mproc_variant nothing;
        int rc = mproc_future_result(at->counting[i], MPROC_NOW, &nothing);
        if (rc == -ETIMEDOUT)
            continue;
        fprintf(stderr, "%swordcount: %s\n", at->terminal ? "\n" : "",
                rc < 0 ? mproc_error_text(mproc_error_of(at->counting[i])) : "a worker stopped early");
        if (rc != MPROC_EDIED)
            return -1;
        mproc_future_close(&at->counting[i]);
        if (count_submit(at, i) < 0)
            return -1;
    }
    return 0;
}

static int lost_check(job *at, bool more, bool any)
{
    size_t items, taken;
    if (more || any)
        return 0;
    if (mproc_queue_counts(at->jobs, &items, &taken, NULL) < 0)
        return complain("queue of pieces");
    return items == 0 && taken == 0 ? pieces_put_again(at) : 0;
}

static int count_all(job *at)
{
    piece last = {0};
    bool more = true, any;
    while (at->merged_pieces < at->in.pieces) {
        if (interrupted) {
            fprintf(stderr, "%swordcount: interrupted\n", at->terminal ? "\n" : "");
            return -1;
        }
        if (pieces_put(at, &last, &more) < 0 || results_take(at, &any) < 0 || tasks_check(at) < 0)
            return -1;
        if (!daemon_running(&at->daemon))
            return -1;
        if (at->merged_pieces < at->in.pieces && lost_check(at, more, any) < 0)
            return -1;
        progress_show(at);
    }
    progress_show(at);
    return mproc_queue_shutdown(at->jobs, false) < 0 ? complain("queue of pieces") : 0;
}

/* ---- the dict ---- */

static int batch_send(job *at, mproc_variant *batch)
{
    int rc = mproc_dict_update(at->counts, *batch);
    mproc_variant_clear(batch);
    return rc < 0 ? complain("dict in managerd") : 0;
}

static int words_publish(job *at)
{
    mproc_variant batch = mproc_null();
    size_t cursor = 0, length;
    const char *word;
    uint64_t count;
    while (words_next(at->merged, &cursor, &word, &length, &count)) {
        char text[WORD_BYTES + 1];
        memcpy(text, word, length);
        text[length] = '\0';
        if (mproc_variant_append(&batch, MPROC_ARGS(text, (int64_t)count)) < 0)
            return complain("a batch of words");
        if (mproc_variant_count(batch) == BATCH && batch_send(at, &batch) < 0)
            return -1;
    }
    return mproc_variant_count(batch) > 0 ? batch_send(at, &batch) : 0;
}

typedef struct entry {
    int64_t count;
    const char *word;
} entry;

static int entry_compare(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->word, y->word);
}

static int top_print(job *at)
{
    mproc_variant pairs;
    if (mproc_dict_copy(at->counts, &pairs) < 0)
        return complain("dict in managerd");
    size_t count = mproc_variant_count(pairs);
    entry *entries = calloc(count ? count : 1, sizeof *entries);
    for (size_t i = 0; entries && i < count; i++) {
        mproc_variant pair = mproc_variant_at(pairs, i);
        entries[i].word = mproc_variant_get_text(mproc_variant_at(pair, 0));
        if (!entries[i].word || mproc_variant_get_int(mproc_variant_at(pair, 1), &entries[i].count) < 0)
            entries[i] = (entry){0, ""};
    }
    if (entries) {
        qsort(entries, count, sizeof *entries, entry_compare);
        for (size_t i = 0; i < count && i < TOP; i++)
            printf("%lld %s\n", (long long)entries[i].count, entries[i].word);
    }
    free(entries);
    mproc_variant_clear(&pairs);
    if (!entries || fflush(stdout) != 0) {
        fprintf(stderr, "wordcount: %s\n", entries ? "standard output: cannot write" : "no memory");
        return -1;
    }
    return 0;
}

/* ---- from start to end ---- */

static int run(job *at)
{
    at->have = calloc((size_t)at->in.pieces + 1, 1);
    at->merged = words_create();
    if (!at->have || !at->merged) {
        fprintf(stderr, "wordcount: no memory\n");
        return -1;
    }
    if (start_all(at) < 0)
        return -1;
    double begin = seconds_now();
    if (count_all(at) < 0)
        return -1;
    double counting = seconds_now() - begin;
    if (words_publish(at) < 0 || top_print(at) < 0)
        return -1;
    if (at->compare && serial_compare(&at->in, at->merged, counting, at->workers) < 0)
        return -1;
    if (at->too_long > 0)
        fprintf(stderr, "wordcount: %llu runs of more than %d letters were not counted\n",
                (unsigned long long)at->too_long, WORD_BYTES);
    return 0;
}

static void clean_up(job *at)
{
    if (at->jobs)
        mproc_queue_shutdown(at->jobs, true);
    if (at->results)
        mproc_queue_shutdown(at->results, true);
    if (at->pool)
        mproc_pool_stop(at->pool, false, mproc_after_ms(STOP_MS), NULL);
    for (unsigned i = 0; i < at->workers; i++)
        mproc_future_close(&at->counting[i]);
    mproc_pool_close(&at->pool);
    mproc_queue_close(&at->jobs);
    mproc_queue_close(&at->results);
    mproc_dict_close(&at->counts);
    mproc_place_close(&at->manager);
    mproc_place_close(&at->here);
    if (at->daemon.address[0])
        daemon_stop(&at->daemon);
    words_free(at->merged);
    free(at->have);
    inputs_free(&at->in);
}

static int method_parse(const char *text, mproc_start *ret_method)
{
    static const char *const names[] = {"fork", "spawn", "forkserver", "thread"};
    for (unsigned i = 0; i < 4; i++)
        if (strcmp(text, names[i]) == 0) {
            *ret_method = (mproc_start)(MPROC_START_FORK + i);
            return 0;
        }
    fprintf(stderr, "wordcount: --method %s: must be fork, spawn, forkserver or thread\n", text);
    return -EINVAL;
}

static int workers_parse(const char *text, unsigned *ret_workers)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < 1 || value > WORKERS_MAX) {
        fprintf(stderr, "wordcount: --workers %s: must be 1 to %d\n", text, WORKERS_MAX);
        return -EINVAL;
    }
    *ret_workers = (unsigned)value;
    return 0;
}

static int usage(FILE *out)
{
    fputs("usage: wordcount [--method fork|spawn|forkserver|thread] [--workers N] [--compare] [FILE...]\n"
          "Counts the words of FILEs (default: the licences and C headers of this machine) and prints\n"
          "the 20 most frequent; with --compare, a loop counts them too, and both times are told. MANAGERD "
          "names the managerd program to start (default: on the PATH).\n",
          out);
    return out == stdout ? 0 : 64;
}

/* 0: go on; else the exit code + 1. */
static int arguments_parse(int argc, char **argv, job *at)
{
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout) + 1;
        if (strcmp(argv[i], "--compare") == 0) {
            at->compare = true;
            continue;
        }
        bool method = strcmp(argv[i], "--method") == 0;
        if ((!method && strcmp(argv[i], "--workers") != 0) || i + 1 >= argc)
            return usage(stderr) + 1;
        i++;
        if ((method ? method_parse(argv[i], &at->method) : workers_parse(argv[i], &at->workers)) < 0)
            return 64 + 1;
    }
    for (; i < argc; i++)
        if (inputs_add(&at->in, argv[i]) < 0)
            return 1 + 1;
    return 0;
}

int main(int argc, char **argv)
{
    job at = {.method = MPROC_START_FORK, .shown_percent = -10, .daemon.lifeline = -1};
    mproc_init(&argc, &argv);
    int code = arguments_parse(argc, argv, &at);
    if (code > 0)
        return code - 1;
    if (at.workers == 0)
        at.workers = mproc_cpu_count() < WORKERS_MAX ? mproc_cpu_count() : WORKERS_MAX;
    at.terminal = isatty(STDERR_FILENO);
    const struct sigaction catch = {.sa_handler = on_signal};
    sigaction(SIGINT, &catch, NULL);
    sigaction(SIGTERM, &catch, NULL);
    int rc = 0;
    if (at.in.count == 0)
        rc = inputs_add_defaults(&at.in);
    if (rc == 0)
        rc = inputs_cut(&at.in);
    if (rc == 0)
        rc = run(&at);
    clean_up(&at);
    return rc == 0 ? 0 : interrupted ? 128 + interrupted : 1;
}
