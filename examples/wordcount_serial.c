/* SPDX-License-Identifier: BSD-2-Clause */
/* The word count's twin: the same files, one after the other, in a plain loop. */
#include "wordcount.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int file_count(const char *path, uint64_t size, words *to)
{
    uint64_t too_long = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : words_scan(to, fd, 0, size, &too_long);
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        fprintf(stderr, "wordcount: %s: %s\n", path, strerror(-rc));
    return rc;
}

static int tables_compare(const words *loop, const words *pool)
{
    size_t cursor = 0, length;
    const char *word;
    uint64_t count;
    while (words_next(pool, &cursor, &word, &length, &count))
        if (words_find(loop, word, length) != count) {
            fprintf(stderr, "wordcount: the pool and the loop disagree about %.*s\n", (int)length, word);
            return -EBADMSG;
        }
    if (words_count(loop) != words_count(pool)) {
        fprintf(stderr, "wordcount: %zu different words by the pool, %zu by the loop\n", words_count(pool),
                words_count(loop));
        return -EBADMSG;
    }
    return 0;
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int serial_compare(const inputs *in, const words *pool, double pool_seconds, unsigned workers)
{
    words *loop = words_create();
    double begin = seconds_now();
    int rc = loop ? 0 : -ENOMEM;
    for (size_t i = 0; i < in->count && rc == 0; i++)
        rc = file_count(in->paths[i], in->sizes[i], loop);
    double loop_seconds = seconds_now() - begin;
    if (rc == 0)
        rc = tables_compare(loop, pool);
    if (rc == 0)
        fprintf(stderr, "wordcount: serial %.3f s, %u workers %.3f s: %.2f times as fast\n", loop_seconds,
                workers, pool_seconds, loop_seconds / pool_seconds);
    if (rc == -ENOMEM)
        fprintf(stderr, "wordcount: no memory\n");
    words_free(loop);
    return rc;
}
