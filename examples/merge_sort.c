/* SPDX-License-Identifier: BSD-2-Clause */
/* Merge sort of N doubles in shared arrays.
 *
 *     merge_sort [--size N] [--workers N] [--start fork|spawn|forkserver|thread]
 *
 * The numbers are cut into slices. First each slice is sorted by itself; then in rounds sorted runs are
 * merged two by two, and in every round, also in the last, where only two runs are left, each slice of the
 * outcome is made by whoever is free: where a slice begins in the two runs is found by bisection.
 *
 * Every step reads one array and writes its slice of the other. So when a worker is killed, its slice is
 * simply made again (.retries): nothing that it has left half done is ever read. */
#include "try.h"
#include "twin.h"

#include <errno.h>

enum { INSERTION_RUN = 16, SLICES_A_WORKER = 8, SLICES_MOST = 1024 };

/* ---- sorting, as in a program with one thread ---- */

static void merge(const double *a, size_t a_count, const double *b, size_t b_count, double *out, size_t count)
{
    size_t i = 0, j = 0, k = 0;
    while (k < count && i < a_count && j < b_count) {
        bool right = b[j] < a[i];
        out[k++] = right ? b[j] : a[i];
        j += right;
        i += !right;
    }
    for (; k < count && i < a_count; i++)
        out[k++] = a[i];
    for (; k < count; j++)
        out[k++] = b[j];
}

static void insertion_sort(double *numbers, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        double number = numbers[i];
        size_t j = i;
        for (; j > 0 && number < numbers[j - 1]; j--)
            numbers[j] = numbers[j - 1];
        numbers[j] = number;
    }
}

/* Sorts `in` into `out`; scratch is as long. in stays as it is. */
static void sort(const double *in, double *out, double *scratch, size_t count)
{
    int rounds = 0;
    for (size_t run = INSERTION_RUN; run < count; run *= 2)
        rounds++;
    double *from = rounds % 2 ? scratch : out, *to = rounds % 2 ? out : scratch;
    memcpy(from, in, count * sizeof *in);
    for (size_t i = 0; i < count; i += INSERTION_RUN)
        insertion_sort(from + i, count - i < INSERTION_RUN ? count - i : INSERTION_RUN);
    for (size_t run = INSERTION_RUN; run < count; run *= 2) {
        for (size_t i = 0; i < count; i += 2 * run) {
            size_t a = count - i < run ? count - i : run, b = count - i - a < run ? count - i - a : run;
            merge(from + i, a, from + i + a, b, to + i, a + b);
        }
        double *other = from;
        from = to;
        to = other;
    }
}

/* ---- in the workers ---- */

typedef struct step {
    size_t slices, run; /* run: slices a sorted run has in `from`; 0: they are still to be sorted */
} step;

static size_t slice_begin(size_t count, size_t slices, size_t slice)
{
    return (size_t)((__uint128_t)count * slice / slices);
}

/* How many of the first `rank` numbers of the merge come from a. */
static size_t from_a(const double *a, size_t a_count, const double *b, size_t b_count, size_t rank)
{
    size_t low = rank > b_count ? rank - b_count : 0, high = rank < a_count ? rank : a_count;
    while (low < high) {
        size_t i = low + (high - low) / 2;
        if (b[rank - i - 1] < a[i])
            high = i;
        else
            low = i + 1;
    }
    return low;
}

static void slice_merge(const double *from, double *to, size_t count, const step *at, size_t slice)
{
    size_t pair = slice / (2 * at->run) * (2 * at->run);
    size_t begin = slice_begin(count, at->slices, pair), end;
    size_t middle = slice_begin(count, at->slices, pair + at->run);
    end = slice_begin(count, at->slices, pair + 2 * at->run);
    const double *a = from + begin, *b = from + middle;
    size_t first = slice_begin(count, at->slices, slice) - begin;
    size_t last = slice_begin(count, at->slices, slice + 1) - begin;
    size_t i = from_a(a, middle - begin, b, end - middle, first);
    merge(a + i, middle - begin - i, b + (first - i), end - middle - (first - i), to + begin + first,
          last - first);
}

static int slice_sort(mproc_call *call, const double *from, double *to, size_t count)
{
    double *scratch = malloc((count ? count : 1) * sizeof *scratch);
    if (!scratch)
        return mproc_call_fail(call, -ENOMEM, "no memory to sort %zu numbers", count);
    sort(from, to, scratch, count);
    free(scratch);
    return 0;
}

/* Slices [first, end) of one step. Arguments: the array that is read, the one that is written, slices, run. */
static int slices_make(mproc_call *call)
{
    mproc_array *from = mproc_call_array(call, 0), *to = mproc_call_array(call, 1);
    const step at = {.slices = (size_t)mproc_call_int(call, 2), .run = (size_t)mproc_call_int(call, 3)};
    size_t count = mproc_array_count(from), first, end;
    const double *in = mproc_array_data(from);
    double *out = mproc_array_data(to);
    int rc = mproc_call_check(call);
    mproc_call_range(call, &first, &end);
    for (size_t slice = first; slice < end && rc == 0; slice++) {
        size_t begin = slice_begin(count, at.slices, slice);
        if (at.run > 0)
            slice_merge(in, out, count, &at, slice);
        else
            rc = slice_sort(call, in + begin, out + begin, slice_begin(count, at.slices, slice + 1) - begin);
    }
    return rc;
}

/* ---- the program ---- */

/* Returns which array has the result. */
static int sort_in_pool(mproc_pool *pool, mproc_array *arrays[2], size_t slices)
{
    int from = 0;
    for (size_t run = 0; run < slices; run = run ? 2 * run : 1, from = !from)
        TRY(mproc_pool_for(
            pool, slices_make, slices,
            MPROC_WITH(mproc_map_options, .chunk = 1, .retries = 3,
                       .args = MPROC_ARGS(arrays[from], arrays[!from], (int64_t)slices, (int64_t)run))));
    return from;
}

static void fill(double *numbers, size_t count)
{
    uint64_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        numbers[i] = (double)(state >> 11) * 0x1p-53;
    }
}

int main(int argc, char **argv)
{
    twin_options options = {.program = "merge_sort",
                            .size_means = "numbers",
                            .size = 10000000,
                            .size_least = 1,
                            .size_most = INT64_C(1) << 40};
    TRY(mproc_init(&argc, &argv));
    twin_parse(&options, argc, argv);
    size_t count = (size_t)options.size, slices = 2;
    while (slices < SLICES_A_WORKER * options.workers && slices < SLICES_MOST)
        slices *= 2;
    mproc_array *arrays[2];
    for (int i = 0; i < 2; i++)
        TRY(mproc_array_create(NULL, MPROC_ITEM_DOUBLE, count,
                               MPROC_WITH(mproc_array_options, .unlocked = true), &arrays[i]));
    mproc_pool *pool = twin_pool_create(&options);

    double *numbers = malloc(count * sizeof *numbers), *scratch = malloc(count * sizeof *scratch);
    double *sorted = malloc(count * sizeof *sorted);
    if (!numbers || !scratch || !sorted)
        return fprintf(stderr, "merge_sort: no memory\n"), 1;
    fill(numbers, count);
    TRY(mproc_array_write(arrays[0], 0, count, numbers));

    double begin = twin_seconds();
    int which = sort_in_pool(pool, arrays, slices);
    double in_pool = twin_seconds() - begin;
    mproc_pool_close(&pool);

    begin = twin_seconds();
    sort(numbers, sorted, scratch, count);
    double serial = twin_seconds() - begin;

    bool same = memcmp(sorted, mproc_array_data(arrays[which]), count * sizeof *sorted) == 0;
    printf("%zu numbers, the median is %.6f\n", count, sorted[count / 2]);
    free(numbers);
    free(scratch);
    free(sorted);
    for (int i = 0; i < 2; i++)
        mproc_array_close(&arrays[i]);
    return twin_report(&options, same, serial, in_pool);
}
