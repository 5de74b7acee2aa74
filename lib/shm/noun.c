/* SPDX-License-Identifier: BSD-2-Clause */
/* Nouns of this host: made, found by name, packed and unpacked. */
#include "platform/base.h"

#include <unistd.h>

#include "platform/story.h"
#include "shm/named.h"
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
    if (mproc__segment_named(segment))
        return "shm";
    return mproc__segment_shared(segment) ? "host" : "thread";
}

/* ---- made ---- */

/* From a new segment to its handle; the segment goes if that fails. */
static int noun_build(const mproc__making *making, mproc__segment *segment, mproc__handle **ret_handle)
{
    int code = making->build(segment, making->how);
    if (code == 0)
        code = making->noun->attach(segment, ret_handle);
    if (code < 0)
        mproc__segment_release(segment);
    return code;
}

/* The same for a segment that somebody else built. */
static int noun_attach(const mproc__noun *noun, int fd, mproc__handle **ret_handle)
{
    mproc__segment *segment;
    int code = mproc__segment_attach(fd, noun->type, &segment);
    if (code < 0) {
        close(fd);
        return code;
    }
    if (mproc__segment_size(segment) < noun->least_bytes)
        code = mproc__fail(MPROC_ECORRUPT, "the segment of a %s is too small", noun->word);
    else if (mproc__segment_read_only(segment) && !noun->readable)
        code = mproc__fail(-EACCES, "a %s that may only be read", noun->word);
    else
        code = noun->attach(segment, ret_handle);
    if (code < 0)
        mproc__segment_release(segment);
    return code;
}

/* ---- thread: and host: named in this process's directory ---- */

static int local_new(const mproc__making *making, mproc__home home, mproc__handle **ret_handle)
{
    mproc__segment *segment;
    int code = mproc__segment_create(home, making->noun->type, making->name, making->size_bytes,
                                     making->reserve_bytes, &segment);
    return code < 0 ? code : noun_build(making, segment, ret_handle);
}

static int local_new_named(const mproc__making *making, mproc__home home, mproc__handle **ret_handle)
{
    mproc__handle *handle;
    int code = local_new(making, home, &handle);
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
static int local_create(const mproc__making *making, mproc__home home, mproc__handle **ret_handle)
{
    int code;
    if (!making->name)
        return local_new(making, home, ret_handle);
    do {
        code = making->and_open ? mproc__names_find(home, making->name, making->noun->type, ret_handle)
                                : -ENOENT;
        if (code == -ENOENT)
            code = local_new_named(making, home, ret_handle);
    } while (code == -EEXIST && making->and_open);
    return code;
}

/* ---- shm: named by files ---- */

/* One handle a process and file, found by the file's number, so that a process has one row in a segment and a lock one
 * depth, however often it is opened. It must be known here before its name is: another thread may open it at once. */
static int file_handle_add(mproc__handle *handle, int fd)
{
    char key[MPROC__FILE_KEY_BYTES];
    int code = mproc__file_key(fd, key);
    return code < 0 ? code : mproc__names_add(MPROC__HOME_SHM, key, handle);
}

static int file_new(const mproc__making *making, const char *file, mproc__handle **ret_handle)
{
    const mproc_place *place = making->place;
    const mproc__naming naming = {
        .file = file, .mode = making->mode, .persist = making->persist || place->persist};
    mproc__handle *handle;
    mproc__segment *segment;
    int code =
        mproc__named_create(&naming, making->noun->type, making->size_bytes, making->reserve_bytes, &segment);
    if (code == 0)
        code = noun_build(making, segment, &handle);
    if (code < 0)
        return code;
    code = file_handle_add(handle, mproc__segment_fd(segment));
    if (code == 0)
        code = mproc__named_publish(segment);
    if (code < 0)
        mproc__handle_release(handle);
    else
        *ret_handle = handle;
    return code;
}

/* The handle that this process has on the file already, or a new one. -EEXIST: another thread has just made one. */
static int file_attach(const mproc__noun *noun, int fd, mproc__handle **ret_handle)
{
    char key[MPROC__FILE_KEY_BYTES];
    int code = mproc__file_key(fd, key);
    if (code == 0)
        code = mproc__names_find(MPROC__HOME_SHM, key, noun->type, ret_handle);
    if (code != -ENOENT) {
        close(fd);
        return code == -EINVAL ? mproc__fail(code, "an object of another type than %s", noun->word) : code;
    }
    mproc__handle *handle;
    code = noun_attach(noun, fd, &handle);
    if (code < 0)
        return code;
    code = mproc__names_add(MPROC__HOME_SHM, key, handle);
    if (code < 0)
        mproc__handle_release(handle);
    else
        *ret_handle = handle;
    return code;
}

static int file_open(const mproc__noun *noun, const char *file, mproc__handle **ret_handle)
{
    int fd;
    int code;
    do {
        code = mproc__named_open(file, true, &fd);
        if (code == 0)
            code = file_attach(noun, fd, ret_handle);
    } while (code == -EEXIST);
    return code;
}

/* Whoever comes second opens; a random name that is taken is another one's. */
static int file_create(const mproc__making *making, mproc__handle **ret_handle)
{
    char file[MPROC__FILE_BYTES];
    int code;
    do {
        code = mproc__file_name(making->place->group, making->name, file);
        if (code < 0)
            return code;
        code = making->and_open && making->name ? file_open(making->noun, file, ret_handle) : -ENOENT;
        if (code == -ENOENT)
            code = file_new(making, file, ret_handle);
    } while (code == -EEXIST && (making->and_open || !making->name));
    return code;
}

/* ---- by home ---- */

int mproc__noun_create(const mproc__making *making, mproc__handle **ret_handle)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(making->place, &home);
    if (code < 0)
        return code;
    return home == MPROC__HOME_SHM ? file_create(making, ret_handle) : local_create(making, home, ret_handle);
}

int mproc__noun_open(const mproc__noun *noun, mproc_place *place, const char *name,
                     mproc__handle **ret_handle)
{
    char file[MPROC__FILE_BYTES];
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code == 0 && !name)
        code = mproc__fail(-EINVAL, "no name given");
    if (code < 0)
        return code;
    if (home != MPROC__HOME_SHM)
        return mproc__names_find(home, name, noun->type, ret_handle);
    code = mproc__file_name(place->group, name, file);
    return code < 0 ? code : file_open(noun, file, ret_handle);
}

/* ---- given to other processes ---- */

int mproc__noun_pack(mproc__segment *segment, mproc__parcel *parcel)
{
    if (!mproc__segment_shared(segment))
        return mproc__fail(MPROC_ECANNOTCROSS, "%s lives in this process (thread:)",
                           mproc__segment_name(segment));
    const uint8_t blob[2] = {PACK_VERSION, (uint8_t)mproc__segment_kind(segment)};
    int fd = -1;
    int code = mproc__segment_fd_lend(segment, &fd);
    if (code == 0)
        code = mproc__parcel_add_blob(parcel, blob, sizeof(blob));
    return code < 0 ? code : mproc__parcel_add_fd(parcel, fd);
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
    return noun_attach(noun, fd, ret_handle);
}
