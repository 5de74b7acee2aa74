/* SPDX-License-Identifier: BSD-2-Clause */
/* An image of bytes, each a place in a palette of 256 colours, written as PNG or PPM without any library. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct image {
    uint32_t width, height;
    const uint8_t *pixels;      /* height rows of width bytes */
    uint8_t palette[256][3];    /* red, green, blue */
} image;

/* As PNG if the path ends in .png, else as PPM. 0, or -errno; what was written of a file that failed is taken
 * away. */
int image_write(const image *picture, const char *path);

#endif
