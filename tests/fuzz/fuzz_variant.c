/* SPDX-License-Identifier: BSD-2-Clause */
/* The decoder of values, alone and as a parcel with descriptors: what it takes is written again as it was read. */
#include "platform/base.h"

#include <string.h>
#include <unistd.h>

#include "channel/connection.h"
#include "data/parcel.h"
#include "fuzz/fuzz.h"

static void decode(const uint8_t *data, size_t size_bytes)
{
    mproc_variant value, again;
    size_t encoded_bytes = 0;
    char text[64];
    if (mproc__variant_decode(data, size_bytes, &value) < 0)
        return;
    (void)mproc_variant_print(value, text, sizeof text);
    FUZZ_CHECK(mproc__variant_encoded_size(value, &encoded_bytes) == 0);
    uint8_t *encoded = malloc(encoded_bytes + 1);
    FUZZ_CHECK(encoded && mproc__variant_encode(value, encoded, encoded_bytes) == 0);
    FUZZ_CHECK(mproc__variant_decode(encoded, encoded_bytes, &again) == 0);
    /* A number that is none equals nothing, not even itself: bytes are compared. */
    size_t again_bytes = 0;
    FUZZ_CHECK(mproc__variant_encoded_size(again, &again_bytes) == 0 && again_bytes == encoded_bytes);
    uint8_t *twice = malloc(encoded_bytes + 1);
    FUZZ_CHECK(twice && mproc__variant_encode(again, twice, encoded_bytes) == 0);
    FUZZ_CHECK(memcmp(encoded, twice, encoded_bytes) == 0);
    free(twice);
    free(encoded);
    mproc_variant_clear(&value);
    mproc_variant_clear(&again);
}

/* With some descriptors beside it, of which what is not taken is closed. */
static void unpack(const uint8_t *data, size_t size_bytes, unsigned fd_count)
{
    mproc_variant value;
    mproc__parcel parcel = {.allow_fds = true, .bytes = (uint8_t *)(uintptr_t)data, .size_bytes = size_bytes};
    for (unsigned i = 0; i < fd_count; i++)
        parcel.fds[parcel.fd_count++] = dup(STDERR_FILENO);
    int rc = mproc__parcel_unpack(&parcel, &value);
    if (rc == 0)
        mproc_variant_clear(&value);
    parcel.bytes = NULL;
    mproc__parcel_clear(&parcel, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    unsigned mode = fuzz_byte(&data, &size_bytes);
    mproc__connection_register();
    decode(data, size_bytes);
    unpack(data, size_bytes, mode % 4);
    return 0;
}
