/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue: messages of 4 KiB and 1 MiB, by copies and by loans. */
#include "platform/base.h"

#include <string.h>

#include "bench.h"
#include "bench_queue.h"

enum { PAGES = BENCH_MESSAGES, LARGE_MESSAGES = 8000, HANDOVERS = BENCH_MESSAGES, LARGE_DEPTH = 16 };

static double pages(void)
{
    return bench_queue_transfer(&(bench_transfer){.bytes = BENCH_PAGE_BYTES,
                                                  .buffer_bytes = BENCH_PAGE_BYTES,
                                                  .messages = PAGES,
                                                  .send = bench_queue_put,
                                                  .receive = bench_queue_get},
                                true);
}

static double pages_unpinned(void)
{
    return bench_queue_transfer(&(bench_transfer){.bytes = BENCH_PAGE_BYTES,
                                                  .buffer_bytes = BENCH_PAGE_BYTES,
                                                  .messages = PAGES,
                                                  .send = bench_queue_put,
                                                  .receive = bench_queue_get},
                                false);
}

static double large_by(bench_queue_step *send, bench_queue_step *receive, unsigned messages)
{
    return bench_queue_transfer(
        &(bench_transfer){
            .options = MPROC_WITH(mproc_queue_options, .max_bytes = (size_t)LARGE_DEPTH * BENCH_LARGE_BYTES),
            .bytes = BENCH_LARGE_BYTES,
            .buffer_bytes = BENCH_LARGE_BYTES,
            .messages = messages,
            .send = send,
            .receive = receive},
        true);
}

static double large(void)
{
    return large_by(bench_queue_put, bench_queue_get, LARGE_MESSAGES);
}

/* ---- loans: nothing is copied ---- */

static int reserve_and_commit(mproc_queue *queue, char *buffer, size_t bytes, mproc_deadline deadline)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    (void)buffer;
    return mproc_queue_reserve(queue, bytes, deadline, &loan) < 0 || mproc_queue_commit(queue, &loan) < 0 ? -1
                                                                                                          : 1;
}

static int take_and_done(mproc_queue *queue, char *buffer, size_t bytes, mproc_deadline deadline)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    (void)buffer;
    (void)bytes;
    return mproc_queue_take(queue, deadline, &loan) < 0 || mproc_queue_done(queue, &loan) < 0 ? -1 : 1;
}

static double handover(void)
{
    return large_by(reserve_and_commit, take_and_done, HANDOVERS);
}

/* As peer_main.c does with `fill`. */
static int fill_and_commit(mproc_queue *queue, char *buffer, size_t bytes, mproc_deadline deadline)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    if (mproc_queue_reserve(queue, bytes, deadline, &loan) < 0)
        return -1;
    memset(loan.data, ++buffer[0] & 63, bytes);
    return mproc_queue_commit(queue, &loan) < 0 ? -1 : 1;
}

/* So that the compiler does not leave the reading out. */
static volatile uint64_t sink;

static int take_and_read(mproc_queue *queue, char *buffer, size_t bytes, mproc_deadline deadline)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    uint64_t sum = 0, word;
    (void)buffer;
    if (mproc_queue_take(queue, deadline, &loan) < 0 || loan.data_bytes != bytes)
        return -1;
    for (size_t i = 0; i + sizeof word <= bytes; i += sizeof word) {
        memcpy(&word, (const char *)loan.data + i, sizeof word);
        sum += word;
    }
    sink = sum;
    return mproc_queue_done(queue, &loan) < 0 ? -1 : 1;
}

static double filled(void)
{
    return large_by(fill_and_commit, take_and_read, LARGE_MESSAGES);
}

/* ---- the cases. Where nobody has set a goal it is not to be slower ---- */

const bench_group bench_queue_pages = {
    "4 KiB, two processes pinned to two CPUs",
    "libmproc",
    "messages/s",
    BENCH_MIN,
    pages,
    (const bench_row[]){{"queue-4KiB", "boost-message-queue", 4, 2, NULL, "boost 4096 2000000 pinned"},
                        {"queue-4KiB-zeromq", "zeromq-ipc", 1, 1, NULL, "zeromq 4096 2000000 pinned"},
                        {"queue-4KiB-pipe", "pipe", 1, 1, NULL, "pipe 4096 2000000 pinned"},
                        {"queue-4KiB-unix", "unix-seqpacket", 1, 1, NULL, "unix 4096 2000000 pinned"},
                        {"queue-4KiB-mq", "posix-mq", 1, 1, NULL, "mq 4096 2000000 pinned"},
                        {"queue-4KiB-nng", "nng-ipc", 1, 1, NULL, "nng 4096 2000000 pinned"},
                        {"queue-4KiB-python", "python-queue", 1, 1, NULL, "python 4096 2000000 pinned"},
                        {0}}};

const bench_group bench_queue_pages_unpinned = {
    "4 KiB, unpinned",
    "libmproc",
    "messages/s",
    BENCH_MIN,
    pages_unpinned,
    (const bench_row[]){
        {"queue-4KiB-unpinned", "boost-message-queue", 4, 2, NULL, "boost 4096 2000000 unpinned"},
        {"queue-4KiB-unpinned-pipe", "pipe", 1, 1, NULL, "pipe 4096 2000000 unpinned"},
        {0}}};

const bench_group bench_queue_large = {
    "1 MiB, two processes pinned to two CPUs",
    "libmproc, copied",
    "messages/s",
    BENCH_MIN,
    large,
    (const bench_row[]){{"queue-1MiB", "boost-message-queue", 1, 1, NULL, "boost 1048576 8000 pinned"},
                        {"queue-1MiB-zeromq", "zeromq-ipc", 1, 1, NULL, "zeromq 1048576 8000 pinned"},
                        {"queue-1MiB-pipe", "pipe", 1, 1, NULL, "pipe 1048576 8000 pinned"},
                        {"queue-1MiB-unix", "unix-stream", 1, 1, NULL, "unix 1048576 8000 pinned"},
                        {"queue-1MiB-mq", "posix-mq", 1, 1, NULL, "mq 1048576 8000 pinned"},
                        {"queue-1MiB-nng", "nng-ipc", 1, 1, NULL, "nng 1048576 8000 pinned"},
                        {"queue-1MiB-python", "python-queue", 1, 1, NULL, "python 1048576 8000 pinned"},
                        {0}}};

const bench_group bench_queue_filled = {
    "1 MiB, two processes pinned to two CPUs",
    "libmproc, loan filled and read",
    "messages/s",
    BENCH_MIN,
    filled,
    (const bench_row[]){
        {"queue-1MiB-loan", "pipe, filled and read", 6, 3, NULL, "pipe 1048576 8000 pinned fill"}, {0}}};

const bench_group bench_queue_handover = {
    "1 MiB, two processes pinned to two CPUs",
    "libmproc, loan handed over",
    "messages/s",
    BENCH_MIN,
    handover,
    (const bench_row[]){{"queue-1MiB-handover", "pipe", 1000, 300, NULL, "pipe 1048576 8000 pinned"}, {0}}};
