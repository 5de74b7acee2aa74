/* SPDX-License-Identifier: BSD-2-Clause */
/* Nouns of this host: made, found by name, packed and unpacked. */
#include "platform/base.h"

#include <unistd.h>

#include "platform/story.h"
#include "shm/noun.h"

enum { PACK_VERSION = 1, NOUN_TYPES = 64 };

static const mproc__noun *nouns[NOUN_TYPES];

void mproc__noun_register(const mproc__noun *noun)
{
    nouns[noun->type] = noun;
    mproc__parcel_register(noun->type, noun->unpack ? noun->unpack : mproc__noun_unpack);
}

const mproc__noun *mproc__noun_of(uint32_t type)
{
    return type < NOUN_TYPES ? nouns[type] : NULL;
}

const char *mproc__noun_home_text(const mproc__segment *segment)
{
    return mproc__segment_shared(segment) ? "host" : "thread";
}

/* ---- made ---- */

static int noun_new(const mproc__making *making, mproc__home home, mproc__handle **ret_handle)
{
    const mproc__noun *noun = making->noun;
    mproc__segment *segment;
    int code = mproc__segment_create(home, noun->type, making->name ? making->name : "", making->size_bytes,
                                     making->reserve_bytes, &segment);
    if (code < 0)
        return code;
    code = making->build(segment, making->how);
    if (code == 0)
        code = noun->attach(segment, ret_handle);
    if (code < 0)
        mproc__segment_release(segment);
    return code;
}

static int noun_new_named(const mproc__making *making, mproc__home home, mproc__handle **ret_handle)
{
    mproc__handle *handle;
    int code = noun_new(making, home, &handle);
    if (code < 0)
        return code;
    code = mproc__names_add(home, making->name, handle);
    if (code < 0)
        mproc__handle_release(handle);
    else
        *ret_handle = handle;
    return code;
}

/* Two threads that create the same name with and_open at once: the one that comes second opens. */
int mproc__noun_create(const mproc__making *making, mproc__handle **ret_handle)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(making->place, &home);
    if (code < 0)
        return code;
    if (!making->name)
        return noun_new(making, home, ret_handle);
    do {
        code = making->and_open ? mproc__names_find(home, making->name, making->noun->type, ret_handle)
                                : -ENOENT;
        if (code == -ENOENT)
            code = noun_new_named(making, home, ret_handle);
    } while (code == -EEXIST && making->and_open);
    return code;
}

int mproc__noun_open(const mproc__noun *noun, mproc_place *place, const char *name,
                     mproc__handle **ret_handle)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code == 0 && !name)
        code = mproc__fail(-EINVAL, "no name given");
    return code < 0 ? code : mproc__names_find(home, name, noun->type, ret_handle);
}

/* ---- given to other processes ---- */

int mproc__noun_pack(mproc__segment *segment, mproc__parcel *parcel)
{
    if (!mproc__segment_shared(segment))
        return mproc__fail(MPROC_ECANNOTCROSS, "%s lives in this process (thread:)",
                           mproc__segment_name(segment));
    const uint8_t blob[2] = {PACK_VERSION, (uint8_t)mproc__segment_kind(segment)};
    int code = mproc__parcel_add_blob(parcel, blob, sizeof(blob));
    return code < 0 ? code : mproc__parcel_add_fd(parcel, mproc__segment_fd(segment));
}

int mproc__noun_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes, mproc__handle **ret_handle)
{
    const uint8_t *bytes = blob;
    const mproc__noun *noun = blob_bytes == 2 && bytes[0] == PACK_VERSION ? mproc__noun_of(bytes[1]) : NULL;
    if (!noun)
        return mproc__fail(MPROC_EPROTOCOL, "a packed object of another version");
    int fd = mproc__parcel_take_fd(parcel);
    if (fd < 0)
        return mproc__fail(MPROC_EPROTOCOL, "a packed %s without its descriptor", noun->word);
    mproc__segment *segment;
    int code = mproc__segment_attach(fd, noun->type, &segment);
    if (code < 0) {
        close(fd);
        return code;
    }
    if (mproc__segment_size(segment) < noun->least_bytes)
        code = mproc__fail(MPROC_ECORRUPT, "the segment of a %s is too small", noun->word);
    else
        code = noun->attach(segment, ret_handle);
    if (code < 0)
        mproc__segment_release(segment);
    return code;
}
