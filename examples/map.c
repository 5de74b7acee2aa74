/* SPDX-License-Identifier: BSD-2-Clause */
/* Square roots of a million doubles with a progress bar, then the beginnings of the files of the command line, as they
 * come.
 *
 *     map [FILE...] */
#include "try.h"

#include <errno.h>
#include <math.h>

enum { COUNT = 1000000, HEAD_BYTES = 4096 };

static int root(mproc_call *call, const void *in, void *out)
{
    double x = *(const double *)in;
    if (x < 0)
        return mproc_call_fail(call, -EDOM, "negative: %g", x);
    *(double *)out = sqrt(x);
    return 0;
}

/* (path) -> [path, bytes, the bytes]: a result of any size. */
static int head(mproc_call *call)
{
    const char *path = mproc_call_text(call, 0);
    FILE *file = path ? fopen(path, "rb") : NULL;
    if (!file)
        return mproc_call_fail(call, -errno, "%s: %s", path ? path : "?", strerror(errno));
    char text[HEAD_BYTES];
    size_t n = fread(text, 1, sizeof text, file);
    fclose(file);
    return mproc_call_return(call, MPROC_ARGS(path, (int64_t)n, mproc_bytes(text, n)));
}

static int roots(mproc_pool *pool)
{
    static double in[COUNT], out[COUNT];
    mproc_future *map;
    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    TRY(mproc_pool_map_start(pool, root, in, sizeof in[0], out, sizeof out[0], COUNT, NULL, &map));
    while (mproc_future_wait(map, mproc_after_ms(100)) == -ETIMEDOUT) {
        uint64_t done, total;
        TRY(mproc_future_progress(map, &done, &total));
        fprintf(stderr, "\r%3.0f %%", 100.0 * (double)done / (double)total);
    }
    bool ok = mproc_future_get_state(map) == MPROC_FUTURE_DONE;
    if (ok)
        printf("the root of %d is %g\n", COUNT - 1, out[COUNT - 1]);
    else
        fprintf(stderr, "%s\n", mproc_error_text(mproc_error_of(map)));
    mproc_future_close(&map);
    return ok ? 0 : 1;
}

static int heads(mproc_pool *pool, char **paths, int count)
{
    mproc_variant files = mproc_null();
    for (int i = 0; i < count; i++)
        TRY(mproc_variant_append(&files, mproc_text(paths[i])));
    mproc_results *results;
    mproc_result r;
    TRY(mproc_pool_map_variants(pool, head, files.data, mproc_variant_count(files),
                                MPROC_WITH(mproc_map_options, .unordered = true, .time_limit_ms = 5000),
                                &results));
    int failed = 0, rc;
    while ((rc = mproc_results_next(results, MPROC_FOREVER, &r)) == 0) {
        size_t n;
        if (r.error) {
            fprintf(stderr, "%s\n", mproc_error_text(r.error));
            failed = 1;
            continue;
        }
        const char *text = mproc_variant_get_bytes(mproc_variant_at(r.value, 2), &n);
        printf("== %s\n", paths[r.index]);
        fwrite(text, 1, n, stdout);
    }
    mproc_results_close(&results);
    mproc_variant_clear(&files);
    return failed || rc != MPROC_EEND;
}

int main(int argc, char **argv)
{
    mproc_pool *pool;
    TRY(mproc_init(&argc, &argv));
    TRY(mproc_pool_create(NULL, &pool));
    int rc = roots(pool);
    if (rc == 0)
        rc = heads(pool, argv + 1, argc - 1);
    mproc_pool_close(&pool);
    return rc;
}
