/* SPDX-License-Identifier: BSD-2-Clause */
/* Pi by throwing darts: how many of N random points in a square lie in its circle?
 *
 *     pi [--size N] [--workers N] [--start fork|spawn|forkserver|thread]
 *
 * The points come in blocks, each with random numbers of its own that begin at the block's number. So whoever
 * throws a block gets the same hits, also a second time: a block whose worker was killed is thrown again
 * (.retries), and the pool's answer is the loop's to the last digit. */
#include "try.h"
#include "twin.h"

#include <math.h>

enum { BLOCK = 65536 };

/* splitmix64: good enough for darts, and any number may be its beginning. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t block_throw(uint64_t block)
{
    uint64_t state = block << 32, hits = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint64_t bits = random_next(&state);
        double x = (double)(bits >> 32) * 0x1p-32, y = (double)(bits & 0xffffffff) * 0x1p-32;
        hits += x * x + y * y < 1.0;
    }
    return hits;
}

/* One item of the map: a block's number in, its hits out. */
static int hits_of(mproc_call *call, const void *in, void *out)
{
    (void)call;
    *(uint64_t *)out = block_throw(*(const uint64_t *)in);
    return 0;
}

static uint64_t sum(const uint64_t *numbers, size_t count)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += numbers[i];
    return total;
}

int main(int argc, char **argv)
{
    twin_options options = {.program = "pi",
                            .size_means = "points",
                            .size = 100000000,
                            .size_least = 1,
                            .size_most = 1000000000000};
    TRY(mproc_init(&argc, &argv));
    twin_parse(&options, argc, argv);
    mproc_pool *pool = twin_pool_create(&options);

    size_t blocks = ((size_t)options.size + BLOCK - 1) / BLOCK;
    uint64_t *numbers = calloc(blocks, sizeof *numbers), *hits = calloc(blocks, sizeof *hits);
    if (!numbers || !hits)
        return fprintf(stderr, "pi: no memory\n"), 1;
    for (size_t i = 0; i < blocks; i++)
        numbers[i] = i;

    double begin = twin_seconds();
    TRY(mproc_pool_map(pool, hits_of, numbers, sizeof *numbers, hits, sizeof *hits, blocks,
                       MPROC_WITH(mproc_map_options, .retries = 3)));
    double in_pool = twin_seconds() - begin;
    mproc_pool_close(&pool);

    begin = twin_seconds();
    uint64_t serial_hits = 0;
    for (size_t i = 0; i < blocks; i++)
        serial_hits += block_throw(numbers[i]);
    double serial = twin_seconds() - begin;

    double pi = 4.0 * (double)sum(hits, blocks) / ((double)blocks * BLOCK);
    bool same = sum(hits, blocks) == serial_hits;
    printf("%zu points: pi is %.6f, off by %.1g\n", blocks * BLOCK, pi, fabs(pi - acos(-1)));
    free(numbers);
    free(hits);
    return twin_report(&options, same, serial, in_pool);
}
