/* SPDX-License-Identifier: BSD-2-Clause */
/* PPM is a line of text and the colours. PNG is chunks with a CRC each; its pixels are a zlib stream, here of
 * blocks that are stored as they are: any reader takes them, and neither zlib nor libpng is needed to write
 * them. */
#include "image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static int written(FILE *file, const void *bytes, size_t count)
{
    return fwrite(bytes, 1, count, file) == count ? 0 : errno ? -errno : -EIO;
}

/* ---- PPM ---- */

static int ppm_write(const image *picture, FILE *file)
{
    fprintf(file, "P6\n%u %u\n255\n", picture->width, picture->height);
    size_t count = (size_t)picture->width * picture->height;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = written(file, picture->palette[picture->pixels[i]], 3);
    return rc;
}

/* ---- PNG ---- */

/* A chunk that is being written: its CRC so far. */
typedef struct chunk {
    FILE *file;
    uint32_t crc;
    int rc;
} chunk;

static void big_endian(uint8_t bytes[4], uint32_t number)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* The CRC by half bytes: a table of 16, which the compiler keeps in a line or two of cache. */
static uint32_t crc_add(uint32_t crc, const uint8_t *bytes, size_t count)
{
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                       0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return crc;
}

static void chunk_add(chunk *at, const void *bytes, size_t count)
{
    at->crc = crc_add(at->crc, bytes, count);
    if (at->rc == 0)
        at->rc = written(at->file, bytes, count);
}

static void chunk_begin(chunk *at, const char kind[4], uint32_t length)
{
    uint8_t bytes[4];
    big_endian(bytes, length);
    chunk_add(at, bytes, 4);
    at->crc = 0xffffffff; /* of the kind and the contents, not of the length */
    chunk_add(at, kind, 4);
}

static void chunk_end(chunk *at)
{
    uint8_t bytes[4];
    big_endian(bytes, ~at->crc);
    chunk_add(at, bytes, 4);
}

/* Adler-32, which ends a zlib stream. 5552 bytes are what fits before the sums must be reduced. */
typedef struct adler {
    uint32_t low, high;
} adler;

static void adler_add(adler *sum, const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        size_t some = count < 5552 ? count : 5552;
        for (size_t i = 0; i < some; i++) {
            sum->low += bytes[i];
            sum->high += sum->low;
        }
        sum->low %= 65521;
        sum->high %= 65521;
        bytes += some;
        count -= some;
    }
}

/* One row is one IDAT chunk of one stored block: a filter byte (none), the pixels. The first one begins the
 * zlib stream, the last one ends it. */
static void row_write(chunk *at, const image *picture, uint32_t row, adler *sum)
{
    static const uint8_t zlib_begin[2] = {0x78, 0x01}, no_filter[1] = {0};
    bool first = row == 0, last = row == picture->height - 1;
    uint32_t length = picture->width + 1;
    const uint8_t *pixels = picture->pixels + (size_t)row * picture->width;
    const uint8_t block[5] = {last, (uint8_t)length, (uint8_t)(length >> 8), (uint8_t)~length,
                              (uint8_t)(~length >> 8)};
    chunk_begin(at, "IDAT", length + (uint32_t)sizeof block + (first ? 2 : 0) + (last ? 4 : 0));
    if (first)
        chunk_add(at, zlib_begin, sizeof zlib_begin);
    chunk_add(at, block, sizeof block);
    chunk_add(at, no_filter, 1);
    chunk_add(at, pixels, picture->width);
    adler_add(sum, no_filter, 1);
    adler_add(sum, pixels, picture->width);
    if (last) {
        uint8_t end[4];
        big_endian(end, sum->high << 16 | sum->low);
        chunk_add(at, end, sizeof end);
    }
    chunk_end(at);
}

static int png_write(const image *picture, FILE *file)
{
    chunk at = {.file = file};
    adler sum = {.low = 1};
    uint8_t header[13] = {[8] = 8, [9] = 3}; /* 8 bits a pixel, of a palette */
    chunk_add(&at, "\x89PNG\r\n\x1a\n", 8);
    big_endian(header, picture->width);
    big_endian(header + 4, picture->height);
    chunk_begin(&at, "IHDR", sizeof header);
    chunk_add(&at, header, sizeof header);
    chunk_end(&at);
    chunk_begin(&at, "PLTE", sizeof picture->palette);
    chunk_add(&at, picture->palette, sizeof picture->palette);
    chunk_end(&at);
    for (uint32_t row = 0; row < picture->height; row++)
        row_write(&at, picture, row, &sum);
    chunk_begin(&at, "IEND", 0);
    chunk_end(&at);
    return at.rc;
}

int image_write(const image *picture, const char *path)
{
    size_t length = strlen(path);
    bool png = length > 4 && strcasecmp(path + length - 4, ".png") == 0;
    if (png && picture->width > UINT16_MAX - 1)
        return -EFBIG; /* a row must fit a stored block */
    FILE *file = fopen(path, "wb");
    if (!file)
        return -errno;
    int rc = png ? png_write(picture, file) : ppm_write(picture, file);
    struct stat what;
    bool regular = fstat(fileno(file), &what) == 0 && S_ISREG(what.st_mode);
    if (fclose(file) != 0 && rc == 0)
        rc = -errno;
    if (rc < 0 && regular)
        unlink(path);
    return rc;
}
