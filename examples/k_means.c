/* SPDX-License-Identifier: BSD-2-Clause */
/* k-means: N points are put into 16 groups, each around its centre.
 *
 *     k_means [--size N] [--workers N] [--start fork|spawn|forkserver|thread]
 *
 * The points are in a shared array, so no round copies one. A round is a loop over blocks of points
 * (mproc_pool_for): with it go the centres; what it leaves in another array, sums and counts of each block, is
 * added up in the order of the blocks, so the answer is the loop's to the last bit, whoever did which block. */
#include "try.h"
#include "twin.h"

enum { DIMENSIONS = 8, GROUPS = 16, BLOCK = 4096, ROUNDS = 30 };

typedef struct point {
    double at[DIMENSIONS];
} point;

typedef struct centres {
    point of[GROUPS];
} centres;

/* Of the points of one block in each group. */
typedef struct sums {
    point sum[GROUPS];
    uint64_t count[GROUPS];
    double error; /* squared distances to their centres */
} sums;

/* ---- a block ---- */

static double distance(const point *a, const point *b)
{
    double total = 0;
    for (int i = 0; i < DIMENSIONS; i++)
        total += (a->at[i] - b->at[i]) * (a->at[i] - b->at[i]);
    return total;
}

static void block_sum(const point *points, size_t count, const centres *now, sums *to)
{
    memset(to, 0, sizeof *to);
    for (size_t p = 0; p < count; p++) {
        int nearest = 0;
        double least = distance(&points[p], &now->of[0]);
        for (int g = 1; g < GROUPS; g++) {
            double d = distance(&points[p], &now->of[g]);
            nearest = d < least ? g : nearest;
            least = d < least ? d : least;
        }
        for (int i = 0; i < DIMENSIONS; i++)
            to->sum[nearest].at[i] += points[p].at[i];
        to->count[nearest]++;
        to->error += least;
    }
}

static size_t block_length(size_t count, size_t block)
{
    return count - block * BLOCK < BLOCK ? count - block * BLOCK : BLOCK;
}

/* ---- in the workers ---- */

/* Blocks [first, end): from the points of one array to the sums of another. The third argument is the centres. */
static int blocks_sum(mproc_call *call)
{
    mproc_array *points = mproc_call_array(call, 0), *to = mproc_call_array(call, 1);
    size_t bytes, first, end;
    const centres *now = mproc_call_bytes(call, 2, &bytes);
    const point *at = mproc_array_data(points);
    sums *of = mproc_array_data(to);
    if (!at || !of || !now || bytes != sizeof *now)
        return MPROC_EARGUMENT;
    mproc_call_range(call, &first, &end);
    for (size_t b = first; b < end; b++)
        block_sum(at + b * BLOCK, block_length(mproc_array_count(points), b), now, &of[b]);
    return 0;
}

/* ---- rounds ---- */

/* Makes of each block's sums the next centres; returns the mean squared distance of this round. */
static double centres_move(centres *now, const sums *of, size_t blocks, size_t count)
{
    sums all = {0};
    for (size_t b = 0; b < blocks; b++) {
        for (int g = 0; g < GROUPS; g++) {
            for (int i = 0; i < DIMENSIONS; i++)
                all.sum[g].at[i] += of[b].sum[g].at[i];
            all.count[g] += of[b].count[g];
        }
        all.error += of[b].error;
    }
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < DIMENSIONS && all.count[g] > 0; i++)
            now->of[g].at[i] = all.sum[g].at[i] / (double)all.count[g];
    return all.error / (double)count;
}

static double serial_rounds(const point *points, size_t count, centres *now, sums *of, size_t blocks)
{
    double error = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t b = 0; b < blocks; b++)
            block_sum(points + b * BLOCK, block_length(count, b), now, &of[b]);
        error = centres_move(now, of, blocks, count);
    }
    return error;
}

static double pool_rounds(mproc_pool *pool, mproc_array *points, mproc_array *of, centres *now)
{
    double error = 0;
    for (int round = 0; round < ROUNDS; round++) {
        TRY(mproc_pool_for(pool, blocks_sum, mproc_array_count(of),
                           MPROC_WITH(mproc_map_options, .retries = 3,
                                      .args = MPROC_ARGS(points, of, mproc_bytes(now, sizeof *now)))));
        error = centres_move(now, mproc_array_data(of), mproc_array_count(of), mproc_array_count(points));
    }
    return error;
}

/* Clouds around GROUPS random places; the first points are the first centres. */
static void points_fill(point *points, size_t count, centres *begin)
{
    uint64_t state = 7;
    for (size_t p = 0; p < count; p++) {
        uint64_t cloud = p % GROUPS;
        for (int i = 0; i < DIMENSIONS; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            points[p].at[i] = (double)((cloud * 2654435761u >> i) % 16) + (double)(state >> 11) * 0x1p-52;
        }
    }
    for (size_t g = 0; g < GROUPS; g++)
        begin->of[g] = points[g % count];
}

int main(int argc, char **argv)
{
    twin_options options = {.program = "k_means",
                            .size_means = "points",
                            .size = 500000,
                            .size_least = 1,
                            .size_most = INT64_C(1) << 40};
    TRY(mproc_init(&argc, &argv));
    twin_parse(&options, argc, argv);
    size_t count = (size_t)options.size, blocks = (count + BLOCK - 1) / BLOCK;
    mproc_array *points, *of;
    TRY(mproc_array_create(NULL, MPROC_ITEM_BYTES, count,
                           MPROC_WITH(mproc_array_options, .item_bytes = sizeof(point), .unlocked = true),
                           &points));
    TRY(mproc_array_create(NULL, MPROC_ITEM_BYTES, blocks,
                           MPROC_WITH(mproc_array_options, .item_bytes = sizeof(sums), .unlocked = true),
                           &of));
    mproc_pool *pool = twin_pool_create(&options);
    static centres twins[2];
    points_fill(mproc_array_data(points), count, &twins[0]);
    twins[1] = twins[0];

    double begin = twin_seconds();
    double error = pool_rounds(pool, points, of, &twins[0]);
    double in_pool = twin_seconds() - begin;
    mproc_pool_close(&pool);

    begin = twin_seconds();
    double serial_error =
        serial_rounds(mproc_array_data(points), count, &twins[1], mproc_array_data(of), blocks);
    double serial = twin_seconds() - begin;

    bool same = memcmp(&twins[0], &twins[1], sizeof twins[0]) == 0 && error == serial_error;
    printf("%zu points in %d groups, %d rounds: mean squared distance %.6f\n", count, GROUPS, ROUNDS, error);
    mproc_array_close(&points);
    mproc_array_close(&of);
    return twin_report(&options, same, serial, in_pool);
}
