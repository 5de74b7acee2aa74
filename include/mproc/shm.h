/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw shared memory: bytes that processes have in common.
 *
 *     mproc_shm *shm;
 *     mproc_place *place;
 *     mproc_place_open("shm:/weather", NULL, &place);
 *     mproc_shm_create(place, 4096, MPROC_WITH(mproc_shm_options, .name = "today", .and_open = true), &shm);
 *     strcpy(mproc_shm_data(shm), "fair");
 *
 * and any other program that opens "today" in shm:/weather reads it. In host: and thread: it is anonymous memory, given to
 * others as a handle. What goes on in the bytes is the program's own affair: use a lock beside them, or arrays.
 *
 *                     blocks      threads  processes  in a signal handler  in a fork child
 *   create            (1)         any      any        no                   works
 *   open              (1)         any      any        no                   works
 *   data, size, name  no          any      any        yes                  host, shm: work; thread: data is NULL, -ECHILD
 *   close             no          one      any        no                   works: the parent's stays as it is
 *   cleanup           no          any      any        no                   works
 *   (1) up to 1 s (create: with and_open), only where somebody holds the file's lock exclusively, which a cleaner does for
 *   microseconds. So for every type in shm:
 *
 *   home     lives in                          a name in it leads there    may be given to
 *   thread:  this process                      this process                threads
 *   host:    anonymous memory that cannot      this process (and a fork    fork children; processes at their start; over
 *            shrink                            child, what it inherited)   Unix connections
 *   shm:     a file in /dev/shm                any program on this host    the same, and whoever may open the file
 *   unix:    MPROC_EPLACE: managerd has no raw memory
 *
 * Names in shm: (of all objects, not only raw memory). The object OBJ made in shm:/NAME is the file NAME%OBJ in /dev/shm; in
 * shm: it is OBJ. Neither part is empty, "." or "..", holds '/' or '%', or begins with ".mproc-"; together at most 254
 * bytes (OBJ alone: 255); any other byte will do. Who may open it is what the file's mode says (0600 unless asked otherwise).
 *   - A name stays as long as some process has the object open, and goes with the last handle (or, if later, the end
 *     of the thread that first used it in the last process); with .persist it stays until it is unlinked. Of processes that were killed, or that ended without closing, it is taken away by the next mproc_init
 *     of any program, or mproc_cleanup.
 *   - The weaker promise: a file with a name cannot be sealed. A process that may write it can also cut it short, and
 *     whoever then touches what is gone gets SIGBUS. Programs that share a name trust each other, and whoever opens one
 *     trusts all who could have made it. Anonymous memory has no such hole.
 *   - There is no call to resize: others have mapped what there is. Make a new object. */
#ifndef MPROC_SHM_H
#define MPROC_SHM_H

#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_shm_options {
    MPROC_OBJECT_OPTIONS;
    uint32_t mode;      /* shm: permission bits of the file, read and write only; 0: 0600; no umask applies */
    bool     persist;   /* shm: the name stays until it is unlinked, whoever is gone */
} mproc_shm_options;

/* New memory of at least size_bytes, all zero, its space reserved (thread: as malloc's): touching it never fails for want of
 * memory. Aligned to 128 bytes. In shm: places without a name it gets a fresh random one. and_open: an existing one of that name is opened as it is,
 * with the size that it has; its errors are then mproc_shm_open's, too.
 * -EINVAL: size 0 or absurd (a negative number), a bad name, a mode with other bits, no place; or an object of another type
 * has that name. -EEXIST. -ENAMETOOLONG. -ENOMEM, -ENOSPC: no room; /dev/shm is full (df /dev/shm). -EMFILE, -ENFILE.
 * MPROC_EPLACE: a server, or no /dev/shm here. */
MPROC_API MPROC_CHECK int mproc_shm_create(mproc_place *place, size_t size_bytes, const mproc_shm_options *options,
                                           mproc_shm **ret_shm);
/* What has that name, with the size that it has. thread: and host: know the names given in this process.
 * -ENOENT. -EINVAL: no name, or an object of another type. -EACCES: its file is not for this user. MPROC_ECORRUPT: a file that
 * is no object of libmproc, of another version of it, or damaged; unlink it. MPROC_ENAMESPACE. -EBUSY: somebody has held the
 * file's lock exclusively for a second. */
MPROC_API MPROC_CHECK int mproc_shm_open(mproc_place *place, const char *name, mproc_shm **ret_shm);
/* The same, to be read only: writing to it is SIGSEGV. In shm: it needs no permission to write the file. MPROC_EPLACE: thread:
 * and host:, whose memory is open to all who have it. */
MPROC_API MPROC_CHECK int mproc_shm_open_to_read(mproc_place *place, const char *name, mproc_shm **ret_shm);
/* Drops this handle; the last one of this process unmaps the memory here. NULL and a pointer to NULL do nothing. */
MPROC_API void   mproc_shm_close(mproc_shm **shm);
/* The same address in this process until its last handle is closed. NULL: no shared memory, or -ECHILD (mproc_error_of). */
MPROC_API void  *mproc_shm_data(mproc_shm *shm);
/* As asked for when it was made; 0: no shared memory. */
MPROC_API size_t mproc_shm_size(const mproc_shm *shm);
/* The object's name in its place, without '/'; lives as long as the handle. NULL when it has none. To take a name away:
 * mproc_place_unlink(place, name); memory that is mapped stays, and nobody finds it any more. */
MPROC_API const char *mproc_shm_name(const mproc_shm *shm);

/* Takes away every name in /dev/shm that was made by this library, not to persist, and that no living process uses; also what
 * a creator left half made when it was killed. Runs in mproc_init, too. Each removal is logged (MPROC_LOG_WARNING). Never
 * touches what somebody uses, what others made, or what this user may not remove. *ret_removed: how many; may be NULL.
 * 0; -EMFILE, -ENOMEM: /dev/shm could not be read. */
MPROC_API int mproc_cleanup(unsigned *ret_removed);

MPROC_END_DECLS

#endif
