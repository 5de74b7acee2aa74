/* SPDX-License-Identifier: BSD-2-Clause */
/* The Mandelbrot set, as a picture.
 *
 *     mandelbrot [--size N] [--workers N] [--start fork|spawn|forkserver|thread] [--output FILE.png|FILE.ppm]
 *
 * An item of the map is a row: its number in, its pixels out, in place. Rows through the middle take a
 * hundred times as long as those at the edge; who has done an easy one takes the next, so nobody has to cut
 * the work into fair shares. */
#include "try.h"
#include "image.h"
#include "twin.h"

#include <errno.h>
#include <math.h>

enum { ITERATIONS = 1000, SIZE_MOST = 20000 };

/* How fast c runs away, as a colour: 0 never, else 1 to 255. */
static uint8_t colour_of(double cr, double ci)
{
    double r = 0, i = 0;
    for (int n = 0; n < ITERATIONS; n++) {
        double rr = r * r, ii = i * i;
        if (rr + ii > 4.0)
            return (uint8_t)(1 + n % 255);
        i = 2 * r * i + ci;
        r = rr - ii + cr;
    }
    return 0;
}

static void row_draw(int64_t size, int64_t row, uint8_t *pixels)
{
    double step = 3.0 / (double)size;
    for (int64_t x = 0; x < size; x++)
        pixels[x] = colour_of(-2.25 + step * (double)x, -1.5 + step * (double)row);
}

/* One item: the row's number in, its pixels out. The one further argument is how many they are. */
static int row_of(mproc_call *call, const void *in, void *out)
{
    row_draw(mproc_call_int(call, 0), *(const int64_t *)in, out);
    return 0;
}

static void palette_make(image *to)
{
    for (int n = 1; n < 256; n++)
        for (int c = 0; c < 3; c++)
            to->palette[n][c] = (uint8_t)(127.5 - 127.5 * cos(n * 0.1 + c * 0.7));
}

static int output_write(const twin_options *options, const uint8_t *pixels)
{
    image *to = calloc(1, sizeof *to);
    int rc = to ? 0 : -ENOMEM;
    if (to) {
        to->width = to->height = (uint32_t)options->size;
        to->pixels = pixels;
        palette_make(to);
        rc = image_write(to, options->output);
    }
    if (rc < 0)
        fprintf(stderr, "mandelbrot: %s: %s\n", options->output, strerror(-rc));
    free(to);
    return rc;
}

int main(int argc, char **argv)
{
    twin_options options = {.program = "mandelbrot",
                            .size_means = "pixels a side",
                            .size = 1000,
                            .size_least = 1,
                            .size_most = SIZE_MOST,
                            .writes_image = true};
    TRY(mproc_init(&argc, &argv));
    twin_parse(&options, argc, argv);
    mproc_pool *pool = twin_pool_create(&options);

    size_t size = (size_t)options.size;
    int64_t *rows = calloc(size, sizeof *rows);
    uint8_t *pixels = malloc(size * size), *serial_pixels = malloc(size * size);
    if (!rows || !pixels || !serial_pixels)
        return fprintf(stderr, "mandelbrot: no memory\n"), 1;
    for (size_t i = 0; i < size; i++)
        rows[i] = (int64_t)i;

    double begin = twin_seconds();
    TRY(mproc_pool_map(pool, row_of, rows, sizeof *rows, pixels, size, size,
                       MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(options.size), .retries = 3)));
    double in_pool = twin_seconds() - begin;
    mproc_pool_close(&pool);

    begin = twin_seconds();
    for (size_t i = 0; i < size; i++)
        row_draw(options.size, rows[i], serial_pixels + i * size);
    double serial = twin_seconds() - begin;

    int rc = twin_report(&options, memcmp(pixels, serial_pixels, size * size) == 0, serial, in_pool);
    if (rc == 0 && options.output && output_write(&options, pixels) < 0)
        rc = 1;
    free(rows);
    free(pixels);
    free(serial_pixels);
    return rc;
}
