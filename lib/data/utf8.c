/* SPDX-License-Identifier: BSD-2-Clause */
/* Is it UTF-8? */
#include "platform/base.h"

#include <string.h>

#include "data/variant.h"

/* Whether the eight bytes at `at` are ASCII and none is NUL: the common case, a word at a time. */
static bool ascii_word(const unsigned char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    /* A byte that is zero borrows from its high bit when one is subtracted. */
    return ((word | (word - UINT64_C(0x0101010101010101))) & UINT64_C(0x8080808080808080)) == 0;
}

/* Length of the sequence at `at`, of which `left` bytes are there; 0: not UTF-8. Table 3-7 of the Unicode standard. */
static size_t sequence_length(const unsigned char *at, size_t left)
{
    unsigned char first = at[0];
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;

    if (first < 0x80)
        return first != 0;
    if (first < 0xc2 || first > 0xf4 || left < length)
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

bool mproc__utf8_valid(const char *text, size_t size_bytes)
{
    const unsigned char *at = (const unsigned char *)text;

    while (size_bytes > 0) {
        size_t length = size_bytes >= 8 && ascii_word(at) ? 8 : sequence_length(at, size_bytes);

        if (length == 0)
            return false;
        at += length;
        size_bytes -= length;
    }
    return true;
}
