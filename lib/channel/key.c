/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/auth.h"
#include "platform/story.h"

/* The program's key. Forked children have it as memory, spawned ones get it through their start-up channel (AUTH-11). */
MPROC__FORK_DATA static pthread_mutex_t program_lock = PTHREAD_MUTEX_INITIALIZER;
MPROC__FORK_DATA static mproc__key *program_key;

mproc__key *mproc__key_create(void)
{
    void *page = mmap(NULL, sizeof(mproc__key), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    /* Old kernels and sandboxes may refuse the advice: the key then works and a core dump would show it. */
    (void)madvise(page, sizeof(mproc__key), MADV_DONTDUMP);
    return page;
}

void mproc__key_destroy(mproc__key *key)
{
    if (!key)
        return;
    mproc__key_clear(key);
    munmap(key, sizeof *key);
}

MPROC__FORK_TEXT void mproc__key_clear(mproc__key *key)
{
    explicit_bzero(key, sizeof *key);
}

static int key_set(mproc__key *key, const void *bytes, size_t size_bytes)
{
    if (size_bytes > MPROC__KEY_BYTES)
        return mproc__fail(-EINVAL, "a key of %zu bytes: the longest has %d", size_bytes, MPROC__KEY_BYTES);
    if (size_bytes > 0)
        memcpy(key->bytes, bytes, size_bytes);
    key->size_bytes = size_bytes;
    key->set = true;
    return 0;
}

/* ---- the program's ---- */

MPROC__FORK_TEXT static void program_hold(void)
{
    pthread_mutex_lock(&program_lock);
}

MPROC__FORK_TEXT static void program_let(void)
{
    pthread_mutex_unlock(&program_lock);
}

/* A thread that is just copying the key must not leave the lock taken in the child of another thread's fork.
 * At the program's start: at the first use it might come while another thread forks,
 * too late for that child. */
__attribute__((constructor(101))) static void program_begin(void)
{
    pthread_atfork(program_hold, program_let, program_let);
}

MPROC__FORK_TEXT int mproc_set_key(const void *key, size_t size_bytes)
{
    if (!key && size_bytes > 0)
        return mproc__fail(-EINVAL, "mproc_set_key: NULL with %zu bytes", size_bytes);
    if (key && size_bytes < MPROC__KEY_LEAST_BYTES)
        return mproc__fail(-EINVAL, "mproc_set_key: a key of %zu bytes, at least %d are needed", size_bytes,
                           MPROC__KEY_LEAST_BYTES);
    if (key && size_bytes > MPROC__KEY_BYTES) /* before the present key is wiped */
        return mproc__fail(-EINVAL, "mproc_set_key: a key of %zu bytes: the longest has %d", size_bytes,
                           MPROC__KEY_BYTES);
    program_hold();
    int rc = 0;
    if (!program_key && key)
        program_key = mproc__key_create();
    if (program_key)
        mproc__key_clear(program_key);
    if (key)
        rc = program_key ? key_set(program_key, key, size_bytes)
                         : mproc__fail(-ENOMEM, "no memory for the key");
    program_let();
    return rc;
}

int mproc__key_program(mproc__key *ret_key)
{
    ret_key->set = false;
    ret_key->size_bytes = 0;
    program_hold();
    if (program_key && program_key->set)
        key_set(ret_key, program_key->bytes, program_key->size_bytes);
    program_let();
    return 0;
}

/* ---- from a file ---- */

static int file_check(int fd, const char *file)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return mproc__fail(-errno, "cannot look at the key file %s", file);
    if (!S_ISREG(st.st_mode))
        return mproc__fail(-EACCES, "the key file %s is no regular file", file);
    if (st.st_uid != geteuid())
        return mproc__fail(-EACCES, "the key file %s belongs to uid %u, not to this process's uid %u", file,
                           (unsigned)st.st_uid, (unsigned)geteuid());
    if (st.st_mode & 077)
        return mproc__fail(-EACCES,
                           "the key file %s has mode %04o, others could read it: chmod 600 is needed", file,
                           (unsigned)st.st_mode & 07777);
    return 0;
}

static int file_read(int fd, const char *file, mproc__key *ret_key)
{
    uint8_t
        bytes[MPROC__KEY_BYTES + 2]; /* one more than the longest key and its line end: longer ones show */
    size_t used = 0;
    ssize_t n = 0;
    while (used < sizeof bytes &&
           ((n = read(fd, bytes + used, sizeof bytes - used)) > 0 || (n < 0 && errno == EINTR)))
        used += n > 0 ? (size_t)n : 0;
    int rc = n < 0 ? mproc__fail(-errno, "cannot read the key file %s", file) : 0;
    while (used > 0 && (bytes[used - 1] == '\n' || bytes[used - 1] == '\r'))
        used--;
    if (rc == 0 && used < MPROC__KEY_LEAST_BYTES)
        rc = mproc__fail(MPROC_EAUTH, "the key in %s has %zu bytes, at least %d are needed", file, used,
                         MPROC__KEY_LEAST_BYTES);
    if (rc == 0)
        rc = key_set(ret_key, bytes, used);
    explicit_bzero(bytes, sizeof bytes);
    return rc;
}

static int key_from_file(const char *file, mproc__key *ret_key)
{
    /* O_NONBLOCK: opening a FIFO by mistake must not wait for its writer. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return mproc__fail(-errno, "cannot open the key file %s", file);
    int rc = file_check(fd, file);
    if (rc == 0)
        rc = file_read(fd, file, ret_key);
    close(fd);
    return rc;
}

int mproc__key_from_options(const void *key, size_t key_bytes, const char *key_file, mproc__key *ret_key)
{
    ret_key->set = false;
    ret_key->size_bytes = 0;
    if (key && key_file)
        return mproc__fail(-EINVAL, "both a key and a key file are given: one of them");
    if (!key && key_bytes > 0)
        return mproc__fail(-EINVAL, "key_bytes is %zu without a key", key_bytes);
    if (key)
        return key_set(ret_key, key, key_bytes);
    if (key_file)
        return key_from_file(key_file, ret_key);
    return mproc__key_program(ret_key);
}
