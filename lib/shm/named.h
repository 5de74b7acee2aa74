/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments with a file name, for unrelated programs: files in /dev/shm. L2.
 *
 * The kernel keeps the list of names (the directory) and the list of users: everybody who has a named segment open holds a
 * shared flock on the open file that he mapped. Fork children inherit it; it goes when the last descriptor and the last
 * mapping of that open file are gone, whatever ended them. Whoever wants to take an abandoned name away must get the
 * exclusive lock first. So nothing is written down that a kill could leave wrong.
 *
 *     made      O_TMPFILE, space reserved, shared lock, filled, and only then linked under its name
 *     opened    shared lock, then a look whether the name still leads to the same file; if not, from the start
 *     removed   exclusive lock, the same look, nobody in the rows, not made to persist: then the name goes
 *
 * Removal is tried when a process drops its last handle on the object, and by mproc_cleanup for those that died.
 * Rejected: unlinking when the creator closes (its users may come later), a list of names in a file (a kill damages it),
 * owner pids in the names (pids come again). */
#ifndef MPROC__SHM_NAMED_H
#define MPROC__SHM_NAMED_H

#include <sys/types.h>

#include "shm/segment.h"

enum {
    MPROC__FILE_BYTES = 256, /* of a file name with its NUL: NAME_MAX + 1 */
    MPROC__FILE_KEY_BYTES = 48
};

typedef struct mproc__naming {
    const char *file; /* in /dev/shm, as mproc__file_name makes it */
    uint32_t mode;    /* permission bits; 0: 0600 */
    bool persist;     /* stays when nobody uses it */
} mproc__naming;

/* ---- names ---- */
/* The file of the object `name` in the place shm:/GROUP (shm: where group is ""); NULL name: a fresh random one.
 * -EINVAL: empty, ".", "..", with '/' or '%', or beginning as our temporary files do; -ENAMETOOLONG. */
int mproc__file_name(const char *group, const char *name, char ret_file[MPROC__FILE_BYTES]);
/* The same for one part of a name; `what` is for the story. */
int mproc__file_part_check(const char *part, const char *what);
/* Text that tells the file behind a descriptor from every other: device and inode. -errno. */
int mproc__file_key(int fd, char ret_key[MPROC__FILE_KEY_BYTES]);

/* ---- life ---- */
/* As mproc__segment_create; nobody can find it before mproc__named_publish. MPROC_EPLACE: no /dev/shm here. */
int mproc__named_create(const mproc__naming *naming, mproc_type_id kind, size_t size_bytes,
                        size_t reserve_bytes, mproc__segment **ret_segment);
/* Gives it its name. -EEXIST. */
int mproc__named_publish(mproc__segment *segment);
/* The file, with the shared lock, for mproc__segment_attach. -ENOENT; -EACCES; MPROC_ECORRUPT: no segment of ours;
 * -EBUSY: somebody, perhaps a cleaner that was stopped, has held it exclusively for a second. */
int mproc__named_open(const char *file, bool writable, int *ret_fd);
/* Takes the name away, whatever it leads to. -ENOENT, -EACCES, -EPERM; -EBUSY as mproc__named_open. */
int mproc__named_unlink(const char *file);
/* Takes the name away if nobody uses the file any more. `inode` of `device`: only if it leads to that file; 0: to any of
 * ours. 1: removed, and *ret_kind says what (0: it was only half made); 0: not. */
int mproc__named_reap(const char *file, dev_t device, ino_t inode, uint32_t *ret_kind);

/* ---- directory.c: all names ---- */
/* What /dev/shm tells of a name of ours. */
typedef struct mproc__named_facts {
    uint32_t kind;
    unsigned participants; /* rows whose process lives */
} mproc__named_facts;
/* False: not a readable segment of ours. */
bool mproc__named_look(const char *file, mproc__named_facts *ret_facts);
/* Calls fn for the files of shm:/GROUP (shm: where group is ""), `name` being the part behind the group, until it
 * answers negative, which is returned. Names that come or go meanwhile are called for or not. */
typedef int mproc__named_fn(const char *file, const char *name, void *context);
int mproc__named_each(const char *group, mproc__named_fn *fn, void *context);
/* Dicts of name, type, holders. */
int mproc__named_list(const char *group, struct mproc_variant *ret_list);
/* Takes all names of ours in a group away, used or not. */
int mproc__named_unlink_group(const char *group);

#endif
