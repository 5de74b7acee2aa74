/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw shared memory: a segment whose root is the user's. Nobody joins it: who uses it is known by the file's lock or the
 * kernel's count, so there is no limit to the number of processes, and a mapping to read is enough. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "platform/story.h"
#include "shm/named.h"
#include "shm/shm.h"

struct mproc_shm {
    mproc__handle handle;
    mproc__segment *segment;
};

static void shm_destroy(mproc__handle *handle)
{
    mproc_shm *shm = MPROC__CONTAINER(handle, mproc_shm, handle);
    mproc__names_remove(handle);
    mproc__segment_release(shm->segment);
    mproc__handle_fini(handle);
    free(shm);
}

static int shm_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_shm *shm = MPROC__CONTAINER(handle, mproc_shm, handle);
    const char *name = mproc__segment_name(shm->segment);
    return snprintf(buffer, size_bytes, "shm%s%s %zu bytes on %s%s", *name ? " " : "", name,
                    mproc__segment_size(shm->segment), mproc__noun_home_text(shm->segment),
                    mproc__segment_read_only(shm->segment) ? ", to read" : "");
}

static int shm_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    return mproc__noun_pack(MPROC__CONTAINER(handle, mproc_shm, handle)->segment, parcel);
}

static const mproc__handle_ops shm_ops = {.type = MPROC_TYPE_SHM,
                                          .noun = "shm",
                                          .destroy = shm_destroy,
                                          .describe = shm_describe,
                                          .pack = shm_pack};

static int shm_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    mproc_shm *shm = calloc(1, sizeof(*shm));
    if (!shm)
        return mproc__fail(-ENOMEM, "no memory for a handle");
    mproc__handle_init(&shm->handle, &shm_ops);
    shm->segment = segment;
    *ret_handle = &shm->handle;
    return 0;
}

/* A new segment is zero, and that is all there is to it. */
static int shm_build(mproc__segment *segment, const void *unused)
{
    (void)segment;
    (void)unused;
    return 0;
}

const mproc__noun mproc__shm_noun = {
    .type = MPROC_TYPE_SHM, .word = "shm", .least_bytes = 1, .attach = shm_attach, .readable = true};

static mproc_shm *shm_of(mproc__handle *handle)
{
    return MPROC__CONTAINER(handle, mproc_shm, handle);
}

static int arguments_check(mproc_place *place, const void *output, mproc__home *ret_home)
{
    int code = mproc__place_home(place, ret_home);
    if (code == 0 && !output)
        code = mproc__fail(-EINVAL, "nowhere to put the memory");
    if (code == 0 && *ret_home == MPROC__HOME_SERVER)
        code = mproc__fail(MPROC_EPLACE, "no raw memory on a server: thread:, host: and shm: have it");
    return code;
}

int mproc_shm_create(mproc_place *place, size_t size_bytes, const mproc_shm_options *options,
                     mproc_shm **ret_shm)
{
    mproc__home home;
    mproc__handle *handle = NULL;
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_shm_options");
    if (code == 0)
        code = arguments_check(place, ret_shm, &home);
    if (code == 0 && options && (options->mode & ~0666u))
        code = mproc__fail(-EINVAL, "mode 0%o has more than permissions to read and write", options->mode);
    if (code < 0)
        return code;
    const mproc__making making = {
        .noun = &mproc__shm_noun,
        .place = place,
        .name = options ? options->name : NULL,
        .and_open = options && options->and_open,
        .mode = options ? options->mode : 0,
        .persist = options && options->persist,
        .size_bytes = size_bytes,
        .build = shm_build,
    };
    code = mproc__noun_create(&making, &handle);
    if (code == 0)
        *ret_shm = shm_of(handle);
    return code;
}

int mproc_shm_open(mproc_place *place, const char *name, mproc_shm **ret_shm)
{
    mproc__home home;
    mproc__handle *handle = NULL;
    int code = arguments_check(place, ret_shm, &home);
    if (code == 0)
        code = mproc__noun_open(&mproc__shm_noun, place, name, &handle);
    if (code == 0)
        *ret_shm = shm_of(handle);
    return code;
}

/* A handle of its own, not among those that this process finds by name: they may write. */
static int open_file_to_read(const char *file, mproc_shm **ret_shm)
{
    int fd;
    mproc__segment *segment;
    mproc__handle *handle = NULL;
    int code = mproc__named_open(file, false, &fd);
    if (code < 0)
        return code;
    code = mproc__segment_attach(fd, MPROC_TYPE_SHM, &segment);
    if (code < 0) {
        close(fd);
        return code;
    }
    code = shm_attach(segment, &handle);
    if (code < 0)
        mproc__segment_release(segment);
    else
        *ret_shm = shm_of(handle);
    return code;
}

int mproc_shm_open_to_read(mproc_place *place, const char *name, mproc_shm **ret_shm)
{
    char file[MPROC__FILE_BYTES];
    mproc__home home;
    int code = arguments_check(place, ret_shm, &home);
    if (code == 0 && home != MPROC__HOME_SHM)
        code = mproc__fail(MPROC_EPLACE, "memory to be read only is for shm: places");
    if (code == 0 && !name)
        code = mproc__fail(-EINVAL, "no name given");
    if (code == 0)
        code = mproc__file_name(place->group, name, file);
    return code < 0 ? code : open_file_to_read(file, ret_shm);
}

void mproc_shm_close(mproc_shm **shm)
{
    mproc__handle_close((void **)shm, MPROC_TYPE_SHM);
}

void *mproc_shm_data(mproc_shm *shm)
{
    int code = mproc__handle_check(shm, MPROC_TYPE_SHM);
    if (code < 0)
        return NULL;
    code = mproc__segment_check(shm->segment);
    if (code == 0)
        return mproc__segment_root(shm->segment);
    mproc__handle_story(&shm->handle, code);
    return NULL;
}

size_t mproc_shm_size(const mproc_shm *shm)
{
    return mproc__handle_check(shm, MPROC_TYPE_SHM) == 0 ? mproc__segment_size(shm->segment) : 0;
}

const char *mproc_shm_name(const mproc_shm *shm)
{
    if (mproc__handle_check(shm, MPROC_TYPE_SHM) < 0)
        return NULL;
    const char *name = mproc__segment_name(shm->segment);
    return *name ? name : NULL;
}
