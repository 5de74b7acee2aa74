/* SPDX-License-Identifier: BSD-2-Clause */
/* Semaphores by name that programs share which know only <semaphore.h>: libc's, behind our calls. */
#include "platform/base.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "sync/semaphore.h"

/* With "sem." before it and a zero behind it fits a file name of 255 bytes. */
enum { NAME_BYTES = 252 };

typedef struct posix_semaphore {
    mproc_semaphore base;
    sem_t *sem; /* libc's mapping: one for all that this process opened by that name */
    char name[NAME_BYTES];
} posix_semaphore;

static inline sem_t *sem_of(const mproc_semaphore *base)
{
    return ((const posix_semaphore *)(const void *)base)->sem;
}

/* ---- the calls ---- */

/* A signal ends libc's waits; its deadline is absolute, so going on is right. */
static int sleep_until(sem_t *sem, mproc_deadline deadline)
{
    struct timespec until;
    int result;
    do {
        if (deadline.ns == INT64_MAX) {
            result = sem_wait(sem);
        } else {
            until = mproc__deadline_timespec(deadline);
            result = sem_clockwait(sem, CLOCK_MONOTONIC, &until);
        }
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

static int posix_acquire(mproc_semaphore *base, mproc_deadline deadline)
{
    int code = sem_trywait(sem_of(base)) < 0 ? -errno : 0;
    if (code == -EAGAIN || code == -EINTR)
        code = mproc__deadline_past(deadline) ? -ETIMEDOUT : sleep_until(sem_of(base), deadline);
    if (code == -ETIMEDOUT)
        return mproc__fail_plain(code);
    return code < 0 ? mproc__handle_fail(&base->handle, code, "the semaphore: %s", mproc_strerror(code)) : 0;
}

static int too_many(mproc_semaphore *base, unsigned count)
{
    return mproc__handle_fail(&base->handle, -EOVERFLOW, "%u permits more are too many", count);
}

/* libc gives one at a time. Looked at first, so that only a race with other releases at the very maximum has to take back. */
static int posix_release(mproc_semaphore *base, unsigned count)
{
    int value = 0;
    if (sem_getvalue(sem_of(base), &value) == 0 && count > (unsigned)(MPROC_SEMAPHORE_MAX - value))
        return too_many(base, count);
    for (unsigned done = 0; done < count; done++)
        if (sem_post(sem_of(base)) < 0) {
            while (done-- > 0 && sem_trywait(sem_of(base)) == 0)
                ;
            return too_many(base, count);
        }
    return 0;
}

static int posix_value(mproc_semaphore *base, unsigned *ret_value)
{
    int value = 0;
    if (sem_getvalue(sem_of(base), &value) < 0)
        return mproc__handle_fail(&base->handle, -errno, "the semaphore: %s", strerror(errno));
    *ret_value = value > 0 ? (unsigned)value : 0; /* elsewhere it is below 0 while somebody waits */
    return 0;
}

static int posix_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const posix_semaphore *semaphore = MPROC__CONTAINER(handle, posix_semaphore, base.handle);
    int value = 0;
    sem_getvalue(semaphore->sem, &value);
    return snprintf(buffer, size_bytes, "posix semaphore %s, %d free", semaphore->name, value);
}

static void posix_destroy(mproc__handle *handle)
{
    posix_semaphore *semaphore = MPROC__CONTAINER(handle, posix_semaphore, base.handle);
    sem_close(semaphore->sem);
    mproc__handle_fini(handle);
    free(semaphore);
}

static int posix_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    posix_semaphore *semaphore = MPROC__CONTAINER(handle, posix_semaphore, base.handle);
    (void)parcel;
    return mproc__fail(MPROC_ECANNOTCROSS, "the posix semaphore %s is opened by its name", semaphore->name);
}

static const mproc__semaphore_ops posix_ops = {
    .handle = {.type = MPROC_TYPE_SEMAPHORE,
               .noun = "semaphore",
               .destroy = posix_destroy,
               .describe = posix_describe,
               .pack = posix_pack},
    .acquire = posix_acquire,
    .release = posix_release,
    .value = posix_value,
};

/* ---- made ---- */

/* libc also takes names without the slash, other systems do not; what it says of slashes inside differs by version. */
static int name_check(const char *name)
{
    if (!name || name[0] != '/' || name[1] == '\0' || strchr(name + 1, '/'))
        return mproc__fail(-EINVAL, "the name of a posix semaphore is a slash and a word, not %s",
                           name ? name : "nothing");
    if (strlen(name) >= NAME_BYTES)
        return mproc__fail(-ENAMETOOLONG, "the name of a posix semaphore has up to %d bytes, this one %zu",
                           NAME_BYTES - 1, strlen(name));
    return 0;
}

static int posix_open(const char *name, int flags, unsigned value, mproc_semaphore **ret_semaphore)
{
    int code = name_check(name);
    if (code == 0 && !ret_semaphore)
        code = mproc__fail(-EINVAL, "nowhere to put the semaphore");
    if (code < 0)
        return code;
    posix_semaphore *semaphore = calloc(1, sizeof(*semaphore));
    if (!semaphore)
        return mproc__fail(-ENOMEM, "no memory for a semaphore");
    semaphore->sem = sem_open(name, flags, (mode_t)0600, value);
    if (semaphore->sem == SEM_FAILED) {
        code = mproc__fail(-errno, "cannot open the posix semaphore %s: %s", name, strerror(errno));
        free(semaphore);
        return code;
    }
    mproc__handle_init(&semaphore->base.handle, &posix_ops.handle);
    snprintf(semaphore->name, sizeof(semaphore->name), "%s", name);
    *ret_semaphore = &semaphore->base;
    return 0;
}

int mproc__semaphore_posix_create(const char *name, unsigned value, bool and_open,
                                  mproc_semaphore **ret_semaphore)
{
    return posix_open(name, O_CREAT | (and_open ? 0 : O_EXCL), value, ret_semaphore);
}

int mproc_semaphore_open_posix(const char *name, mproc_semaphore **ret_semaphore)
{
    return posix_open(name, 0, 0, ret_semaphore);
}
