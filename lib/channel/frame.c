/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/frame.h"
#include "platform/story.h"

/* A buffer starts at one page and doubles when the bytes that came have filled it: a peer pays for every byte of our
 * memory with a byte of its own (CONN-22). An empty buffer above KEEP_BYTES goes back, so that an idle connection that
 * once carried a large message costs no more than the others. */
enum { SPACE_BYTES = 4096, KEEP_BYTES = 65536 };

void mproc__frame_header(uint8_t ret_header[MPROC__FRAME_HEADER_BYTES], unsigned kind, uint64_t length)
{
    MPROC__ASSERT(kind > 0 && kind < 256 && length <= MPROC__FRAME_LENGTH_MAX);
    uint64_t word = (uint64_t)kind << 56 | length;
    for (int i = MPROC__FRAME_HEADER_BYTES - 1; i >= 0; i--, word >>= 8)
        ret_header[i] = (uint8_t)word;
}

int mproc__frame_parse(const uint8_t header[MPROC__FRAME_HEADER_BYTES], size_t max_bytes, unsigned *ret_kind,
                       size_t *ret_length)
{
    uint64_t length = 0;
    for (int i = 1; i < MPROC__FRAME_HEADER_BYTES; i++)
        length = length << 8 | header[i];
    if (header[0] == 0)
        return mproc__fail(MPROC_EPROTOCOL, "the peer sent something that is no frame");
    if (length > max_bytes)
        return mproc__fail(-EMSGSIZE, "the peer announced a message of %llu bytes, the limit is %zu",
                           (unsigned long long)length, max_bytes);
    *ret_kind = header[0];
    *ret_length = (size_t)length;
    return 0;
}

void mproc__frame_reader_init(mproc__frame_reader *reader, size_t max_bytes)
{
    *reader = (mproc__frame_reader){.max_bytes = max_bytes};
}

void mproc__frame_reader_fini(mproc__frame_reader *reader)
{
    free(reader->buffer);
    *reader = (mproc__frame_reader){.max_bytes = reader->max_bytes};
}

/* Moves what is not yet taken to the front. Runs once a read, never once a frame: a burst of small frames is taken
 * from one buffer without moving anything. */
static void reader_compact(mproc__frame_reader *reader)
{
    size_t left = reader->used - reader->taken;
    if (left == 0 && reader->capacity > KEEP_BYTES) {
        mproc__frame_reader_fini(reader);
        return;
    }
    if (reader->taken > 0 && left > 0)
        memmove(reader->buffer, reader->buffer + reader->taken, left);
    reader->used = left;
    reader->taken = 0;
}

int mproc__frame_reader_space(mproc__frame_reader *reader, void **ret_space, size_t *ret_bytes)
{
    reader_compact(reader);
    if (reader->capacity - reader->used < SPACE_BYTES) {
        size_t capacity = reader->capacity < SPACE_BYTES ? SPACE_BYTES : 2 * reader->capacity;
        uint8_t *buffer = realloc(reader->buffer, capacity);
        if (!buffer)
            return mproc__fail(-ENOMEM, "no memory for a receive buffer of %zu bytes", capacity);
        reader->buffer = buffer;
        reader->capacity = capacity;
    }
    *ret_space = reader->buffer + reader->used;
    *ret_bytes = reader->capacity - reader->used;
    return 0;
}

void mproc__frame_reader_fed(mproc__frame_reader *reader, size_t bytes)
{
    MPROC__ASSERT(bytes <= reader->capacity - reader->used);
    reader->used += bytes;
}

int mproc__frame_reader_next(mproc__frame_reader *reader, unsigned *ret_kind, const void **ret_data,
                             size_t *ret_bytes)
{
    size_t left = reader->used - reader->taken;
    if (left < MPROC__FRAME_HEADER_BYTES)
        return mproc__fail_plain(-EAGAIN);
    unsigned kind;
    size_t length;
    int rc = mproc__frame_parse(reader->buffer + reader->taken, reader->max_bytes, &kind, &length);
    if (rc < 0)
        return rc;
    if (left - MPROC__FRAME_HEADER_BYTES < length)
        return mproc__fail_plain(-EAGAIN);
    *ret_kind = kind;
    *ret_data = reader->buffer + reader->taken + MPROC__FRAME_HEADER_BYTES;
    *ret_bytes = length;
    reader->taken += MPROC__FRAME_HEADER_BYTES + length;
    return 0;
}

bool mproc__frame_reader_inside(const mproc__frame_reader *reader)
{
    return reader->used > reader->taken;
}
