/* SPDX-License-Identifier: BSD-2-Clause */
/* The PNG of the examples, read back as its specification says: chunks with right sums, a zlib stream of stored
 * blocks, the pixels. */
#include "platform/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../examples/image.h"
#include "support/support.h"

enum { MOST = 1 << 20 };

static uint32_t number_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Bit by bit, as the specification has it: not the way the writer does it. */
static uint32_t crc_of(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

static size_t file_read(const char *path, uint8_t *bytes)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    size_t count = fread(bytes, 1, MOST, file);
    fclose(file);
    return count;
}

/* Takes the PNG apart: contents of IHDR and PLTE, and all IDAT as one. */
static size_t chunks_join(const uint8_t *png, size_t count, uint8_t header[13], uint8_t palette[768],
                          uint8_t *stream)
{
    size_t at = 8, length = 0;
    ck_assert_mem_eq(png, "\x89PNG\r\n\x1a\n", 8);
    for (;;) {
        ck_assert_uint_le(at + 12, count);
        size_t bytes = number_at(png + at);
        const uint8_t *kind = png + at + 4, *contents = png + at + 8;
        ck_assert_uint_le(at + 12 + bytes, count);
        ck_assert_uint_eq(number_at(contents + bytes), crc_of(kind, bytes + 4));
        at += 12 + bytes;
        if (memcmp(kind, "IHDR", 4) == 0) {
            ck_assert_uint_eq(bytes, 13);
            memcpy(header, contents, 13);
        } else if (memcmp(kind, "PLTE", 4) == 0) {
            ck_assert_uint_eq(bytes, 768);
            memcpy(palette, contents, 768);
        } else if (memcmp(kind, "IDAT", 4) == 0) {
            memcpy(stream + length, contents, bytes);
            length += bytes;
        } else {
            ck_assert_mem_eq(kind, "IEND", 4);
            break;
        }
    }
    ck_assert_uint_eq(at, count);
    return length;
}

/* Out of stored blocks; returns how many bytes they hold. */
static size_t blocks_join(const uint8_t *stream, size_t length, uint8_t *bytes)
{
    ck_assert_uint_eq((stream[0] << 8 | stream[1]) % 31, 0);
    ck_assert_uint_eq(stream[0] & 15, 8);
    size_t at = 2, count = 0;
    bool last = false;
    while (!last) {
        size_t some = stream[at + 1] | (size_t)stream[at + 2] << 8;
        ck_assert_uint_eq(stream[at] & 6, 0); /* stored */
        ck_assert_uint_eq(some ^ 0xffff, stream[at + 3] | (size_t)stream[at + 4] << 8);
        last = stream[at] & 1;
        memcpy(bytes + count, stream + at + 5, some);
        count += some;
        at += 5 + some;
        ck_assert_uint_le(at, length);
    }
    uint64_t low = 1, high = 0;
    for (size_t i = 0; i < count; i++) {
        low = (low + bytes[i]) % 65521;
        high = (high + low) % 65521;
    }
    ck_assert_uint_eq(number_at(stream + at), high << 16 | low);
    ck_assert_uint_eq(at + 4, length);
    return count;
}

static void picture_check(uint32_t width, uint32_t height)
{
    char path[256];
    snprintf(path, sizeof path, "%s/image.png", support_directory());
    uint8_t *pixels = malloc((size_t)width * height), *png = malloc(MOST), *stream = malloc(MOST),
            *rows = malloc(MOST);
    image *picture = calloc(1, sizeof *picture);
    for (size_t i = 0; i < (size_t)width * height; i++)
        pixels[i] = (uint8_t)(i * 7 + i / 300);
    for (int i = 0; i < 768; i++)
        picture->palette[i / 3][i % 3] = (uint8_t)(i * 5);
    *picture = (image){.width = width, .height = height, .pixels = pixels};
    ck_assert_int_eq(image_write(picture, path), 0);

    uint8_t header[13], palette[768];
    size_t length = chunks_join(png, file_read(path, png), header, palette, stream);
    unlink(path);
    ck_assert_uint_eq(number_at(header), width);
    ck_assert_uint_eq(number_at(header + 4), height);
    ck_assert_mem_eq(header + 8, "\x08\x03\0\0\0", 5);
    ck_assert_mem_eq(palette, picture->palette, sizeof palette);
    ck_assert_uint_eq(blocks_join(stream, length, rows), (size_t)(width + 1) * height);
    for (uint32_t row = 0; row < height; row++) {
        ck_assert_uint_eq(rows[(size_t)row * (width + 1)], 0);
        ck_assert_mem_eq(rows + (size_t)row * (width + 1) + 1, pixels + (size_t)row * width, width);
    }
    free(pixels);
    free(png);
    free(stream);
    free(rows);
    free(picture);
}

START_TEST(a_png_holds_the_pixels_that_were_given)
{
    picture_check(1, 1);
    picture_check(300, 7);
    picture_check(3, 200);
    picture_check(20000, 20); /* more than Adler's sums hold without a reduction */
}
END_TEST

START_TEST(a_picture_that_cannot_be_written_says_why)
{
    static const uint8_t pixels[1] = {1};
    const image picture = {.width = 1, .height = 1, .pixels = pixels};
    char path[256];
    snprintf(path, sizeof path, "%s/never-made.png", support_directory());
    ck_assert_int_eq(image_write(&picture, "/nowhere/at/all.png"), -ENOENT);
    ck_assert_int_eq(image_write(&picture, "/dev/full"), -ENOSPC);
    const image wide = {.width = 65535, .height = 1, .pixels = pixels};
    ck_assert_int_eq(image_write(&wide, path), -EFBIG);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("image");
    TCase *tests = support_case(suite, "image");
    tcase_add_test(tests, a_png_holds_the_pixels_that_were_given);
    tcase_add_test(tests, a_picture_that_cannot_be_written_says_why);
    return support_run(suite, argc, argv);
}
