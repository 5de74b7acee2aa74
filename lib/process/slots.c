/* SPDX-License-Identifier: BSD-2-Clause */
/* A number for every living child, and a word in shared memory for each that tells it to stop.
 *
 * The words are a descriptor of their own, not part of the nursery's segment: children by spawn and forkserver map it
 * read-only, so that one gone wild cannot stop its siblings, and spawned ones have nothing of the nursery's segment. It is
 * no wall: a fork has what its parent has mapped for writing, of a forkserver child that is the nursery's segment. */
#include "platform/base.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/family.h"

enum { SLOTS_BYTES = MPROC__SLOTS * sizeof(uint32_t) };

MPROC__FORK_DATA static struct {
    _Atomic uint32_t *words; /* NULL: not made yet */
    int fd;
    uint64_t taken[MPROC__SLOTS / 64];
    const char *adopted; /* the words of the program whose nursery this is, or forked this process; or NULL */
} slots;

static int slots_map(void)
{
    int fd = mproc__memfd_create("mproc:stop", SLOTS_BYTES);
    if (fd < 0)
        return mproc__fail(fd, "start: no shared memory for stop words: %s", mproc_strerror(fd));
    int rc = mproc__memory_reserve(fd, 0, SLOTS_BYTES);
    void *at = rc == 0 ? mmap(NULL, SLOTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (at == MAP_FAILED) {
        rc = rc < 0 ? rc : -errno;
        close(fd);
        return mproc__fail(rc, "start: no shared memory for stop words: %s", mproc_strerror(rc));
    }
    slots.fd = fd;
    slots.words = at;
    return 0;
}

int mproc__slot_take(unsigned *ret_slot)
{
    int rc = slots.words ? 0 : slots_map();
    for (unsigned i = 0; rc == 0 && i < MPROC__COUNT(slots.taken); i++) {
        if (slots.taken[i] == UINT64_MAX)
            continue;
        unsigned bit = (unsigned)__builtin_ctzll(~slots.taken[i]);
        slots.taken[i] |= UINT64_C(1) << bit;
        *ret_slot = i * 64 + bit;
        atomic_store_explicit(&slots.words[*ret_slot], 0, memory_order_relaxed);
        return 0;
    }
    return rc < 0 ? rc : mproc__fail(MPROC_ELIMIT, "start: %d children are the most at a time", MPROC__SLOTS);
}

void mproc__slot_give(unsigned slot)
{
    slots.taken[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

_Atomic uint32_t *mproc__slot_word(unsigned slot)
{
    return &slots.words[slot];
}

int mproc__slots_fd(void)
{
    return slots.fd;
}

int mproc__slots_share(int *ret_fd)
{
    mproc__family_lock();
    int rc = slots.words ? 0 : slots_map();
    *ret_fd = slots.fd;
    mproc__family_unlock();
    return rc;
}

int mproc__slots_adopt(int fd)
{
    void *at = mmap(NULL, SLOTS_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return mproc__fail(-errno, "nursery: mapping the stop words: %s", mproc_strerror(-errno));
    slots.adopted = at;
    return 0;
}

MPROC__FORK_TEXT const _Atomic uint32_t *mproc__slots_adopted(size_t offset_bytes)
{
    return (const _Atomic uint32_t *)(const void *)(slots.adopted + offset_bytes);
}

/* In a fork child. The mapping stays: a forked child's own stop word is in it. */
MPROC__FORK_TEXT void mproc__slots_forget(void)
{
    if (slots.words)
        close(slots.fd);
    slots.words = NULL;
    memset(slots.taken, 0, sizeof slots.taken);
}
