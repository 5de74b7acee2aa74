/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes to messages and back: pure, touches no descriptor, so that it can be fuzzed and tested exhaustively. L4.
 *
 * A frame is 8 bytes, big-endian: kind in the top 8 bits, length in the lower 56; then `length` bytes. Length 0 is a
 * message. Kinds below 16 are the connection's, 16 and up the manager protocol's. */
#ifndef MPROC__CHANNEL_FRAME_H
#define MPROC__CHANNEL_FRAME_H

#include "platform/base.h"

enum {
    MPROC__FRAME_HEADER_BYTES = 8,
    MPROC__FRAME_BYTES = 1,   /* a user's bytes */
    MPROC__FRAME_VARIANT = 2, /* an encoded variant */
    MPROC__FRAME_AUTH = 3,    /* a step of the handshake */
    MPROC__FRAME_MANAGER = 16 /* an Envelope of manager.proto */
};

#define MPROC__FRAME_LENGTH_MAX (((uint64_t)1 << 56) - 1)

void mproc__frame_header(uint8_t ret_header[MPROC__FRAME_HEADER_BYTES], unsigned kind, uint64_t length);
/* Takes a header apart. 0; -EMSGSIZE: longer than max_bytes; MPROC_EPROTOCOL: kind 0, which no sender uses. */
int mproc__frame_parse(const uint8_t header[MPROC__FRAME_HEADER_BYTES], size_t max_bytes, unsigned *ret_kind,
                       size_t *ret_length);

typedef struct mproc__frame_reader {
    uint8_t *buffer; /* owned; grows only as bytes arrive, never to what a header merely claims */
    size_t used, taken, capacity;
    size_t max_bytes; /* of one frame's payload */
} mproc__frame_reader;

void mproc__frame_reader_init(mproc__frame_reader *reader, size_t max_bytes);
void mproc__frame_reader_fini(mproc__frame_reader *reader);
/* Where to read the next bytes to (at least 4 KiB); then say how many came. -ENOMEM. */
int mproc__frame_reader_space(mproc__frame_reader *reader, void **ret_space, size_t *ret_bytes);
void mproc__frame_reader_fed(mproc__frame_reader *reader, size_t bytes);
/* The next whole frame, borrowed until the next call on the reader. 0; -EAGAIN: not whole yet; -EMSGSIZE: above the
 * limit (told from the header alone); MPROC_EPROTOCOL. */
int mproc__frame_reader_next(mproc__frame_reader *reader, unsigned *ret_kind, const void **ret_data,
                             size_t *ret_bytes);
/* Whether a frame has begun and is not whole: an end of file now is a truncation, not a clean end. */
bool mproc__frame_reader_inside(const mproc__frame_reader *reader);

#endif
