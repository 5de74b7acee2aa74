/* SPDX-License-Identifier: BSD-2-Clause */
/* Directory, environment and streams of the moment of a forkserver start. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/story.h"
#include "process/own_fds.h"
#include "process/surroundings.h"

/* ---- environment ---- */

int mproc__environment_copy(char **ret_strings, size_t *ret_size_bytes)
{
    size_t size_bytes = 0, at = 0;
    for (char **item = environ; item && *item; item++)
        size_bytes += strlen(*item) + 1;
    char *strings = malloc(size_bytes + 1);
    if (!strings)
        return mproc__fail(-ENOMEM, "start: no memory for a copy of the environment");
    for (char **item = environ; item && *item; item++) {
        size_t length = strlen(*item) + 1;
        memcpy(strings + at, *item, length);
        at += length;
    }
    *ret_strings = strings;
    *ret_size_bytes = size_bytes;
    return 0;
}

bool mproc__environment_is(const char *strings, size_t size_bytes)
{
    const char *at = strings, *end = strings + size_bytes;
    for (char **item = environ; item && *item; item++) {
        if (at == end || strcmp(*item, at) != 0)
            return false;
        at += strlen(at) + 1;
    }
    return at == end;
}

/* The whole list at once, not string by string with putenv: that may run out of memory half-way, and drops what has no
 * '='. libc takes a list that is not its own as it is, and copies it when something is to be added. */
int mproc__environment_become(char *strings, size_t size_bytes)
{
    static char **list; /* the one that was made here last: libc does not free it */
    size_t count = 0;
    for (char *item = strings; item < strings + size_bytes; item += strlen(item) + 1)
        count++;
    char **items = malloc((count + 1) * sizeof *items);
    if (!items)
        return -ENOMEM;
    char *item = strings;
    for (size_t i = 0; i < count; i++, item += strlen(item) + 1)
        items[i] = item;
    items[count] = NULL;
    clearenv();
    environ = items;
    free(list);
    list = items;
    return 0;
}

/* ---- directory ---- */

/* The mount counts: one directory may be reached under two names. False: not to be known, on a kernel before 5.8. */
static bool directory_id(mproc__directory_id_shared *ret_id)
{
    struct statx status;
    if (statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &status) < 0 ||
        (status.stx_mask & (STATX_INO | STATX_MNT_ID)) != (STATX_INO | STATX_MNT_ID))
        return false;
    *ret_id = (mproc__directory_id_shared){.inode = status.stx_ino,
                                           .mount = status.stx_mnt_id,
                                           .device_major = status.stx_dev_major,
                                           .device_minor = status.stx_dev_minor};
    return true;
}

void mproc__directory_tell(mproc__nursery_shared *shared)
{
    if (directory_id(&shared->directory))
        atomic_store_explicit(&shared->directory_told, 1, memory_order_release);
}

/* The nursery is in its own, so no other directory gets that number meanwhile. */
static bool directory_is(mproc__nursery_shared *shared)
{
    mproc__directory_id_shared here;
    return atomic_load_explicit(&shared->directory_told, memory_order_acquire) && directory_id(&here) &&
           memcmp(&here, &shared->directory, sizeof here) == 0;
}

/* As a descriptor, not a name: the directory may have been renamed, or be one that only this process can
 * reach. */
static int pack_directory(const mproc__nursery *nursery, mproc__boot_load *load)
{
    if (directory_is(nursery->shared))
        return 0;
    mproc__own_fds_begin();
    int fd = mproc__fd_above_standard(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    int code = -errno;
    mproc__own_fd_note(fd);
    mproc__own_fds_end();
    load->fds[MPROC__BOOT_DIRECTORY] = fd;
    return fd >= 0 ? 0
                   : mproc__fail(code, "start: cannot open the working directory: %s", mproc_strerror(code));
}

int mproc__surroundings_pack(const mproc__nursery *nursery, mproc__boot_load *load)
{
    load->fds[MPROC__BOOT_STDOUT] = fcntl(1, F_GETFD) >= 0 ? 1 : -1;
    load->fds[MPROC__BOOT_STDERR] = fcntl(2, F_GETFD) >= 0 ? 2 : -1;
    int rc = pack_directory(nursery, load);
    if (rc < 0 || mproc__environment_is(nursery->environment, nursery->environment_bytes))
        return rc;
    load->boot.environment_comes = true;
    size_t size_bytes = 0;
    rc = mproc__environment_copy(&load->environment, &size_bytes);
    load->boot.environment_bytes = size_bytes;
    return rc;
}
