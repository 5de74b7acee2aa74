/* SPDX-License-Identifier: BSD-2-Clause */
/* Where shared objects live. NULL means this host: anonymous shared memory that started processes can be given.
 *
 * The same program runs on threads, processes and machines by changing the address it opens:
 *
 *     mproc_place *place;
 *     mproc_place_open(argc > 1 ? argv[1] : "host:", NULL, &place);
 *     mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "door", .and_open = true), &lock);
 *
 *                    blocks                        threads  in a signal handler  in a fork child
 *   open             server: connect_ms            any      no                   works
 *   ping             server: to its deadline       any      no                   works (server: a connection of its own)
 *   names, unlink    server: call_ms; shm: (1)     any      no                   works on the child's copy; server, shm: works
 *   address          no                            any      no                   works
 *   close            no; owner: (1) a name         one      no                   works
 *   (1) up to 1 s, only where a cleaner that was stopped holds a lock on the file
 *
 * What of a process's death: objects in thread: go with it; in host: they stay while another process uses them, and so do
 * the names in shm: (mproc/shm.h: how long, and which promise is weaker there); in a server they stay until they are
 * unlinked or the server ends.
 * What is shared on host: is open to every process that was given it, and those trust each other: one that writes wild
 * pointers into it harms them all. Processes that do not trust each other meet in managerd. A process in another PID or
 * time namespace is refused (MPROC_ENAMESPACE). */
#ifndef MPROC_PLACE_H
#define MPROC_PLACE_H

#include <mproc/deadline.h>
#include <mproc/variant.h>

MPROC_BEGIN

typedef struct mproc_place_options {
    size_t      size;
    const void *key;                /* authkey; NULL: the program's (mproc_set_key) */
    size_t      key_bytes;
    const char *key_file;           /* instead: mode 0600 file */
    uint32_t    connect_ms;         /* 0: 5000 */
    uint32_t    call_ms;            /* limit of calls that take no deadline; 0: 30000 */
    bool        owner;              /* "shm:/NAME": closing the place takes all names in it away */
    bool        persist;            /* "shm:": what is made there stays when nobody uses it, until it is unlinked */
} mproc_place_options;

/* address: "thread:"                 this process; values may hold pointers
 *          "host:"                   as NULL
 *          "shm:/NAME" "shm:"        files in /dev/shm, for unrelated programs on this host
 *          "unix:/run/x.sock" "unix:@abstract"   managerd
 *          "env:"                    whatever MPROC_PLACE says
 * -EINVAL: no such address, or options that fit none. Of servers: -ENOENT, -ECONNREFUSED: nobody serves there; -ETIMEDOUT:
 * no answer within connect_ms; MPROC_EAUTH: the keys differ. -ENOMEM, -EMFILE. */
MPROC_API MPROC_CHECK int mproc_place_open(const char *address, const mproc_place_options *options, mproc_place **ret_place);
/* Objects opened from it stay usable. An owner's: all names of this library in it are taken away, whoever made them; in a
 * fork child of the owner nothing is. */
MPROC_API void mproc_place_close(mproc_place **place);
/* Resolved, as mproc_place_open would take it; lives as long as the place. NULL place: "host:". What is no place: NULL. */
MPROC_API const char *mproc_place_address(const mproc_place *place);
/* 0: its server answers; thread: and host: always do. -ETIMEDOUT, MPROC_EDIED, -EINVAL. */
MPROC_API int  mproc_place_ping(mproc_place *place, mproc_deadline deadline);
/* A list of dicts, the caller's to clear: name, type, holders (of thread: and host:, the references in this process; of shm:,
 * the processes that wait or hold there); a name that is no UTF-8 is bytes. */
MPROC_API int  mproc_place_names(mproc_place *place, mproc_variant *ret_list);
/* Takes a name away: nobody finds it any more, handles keep working. -ENOENT. shm: also -EINVAL, -ENAMETOOLONG: a bad name;
 * -EACCES, -EPERM: another user's; -EBUSY: somebody has held the file's lock for a second, perhaps a stopped cleaner. */
MPROC_API int  mproc_place_unlink(mproc_place *place, const char *name);

/* Every shared noun X below has the same three:
 *   int  mproc_X_create(mproc_place *, ..., const mproc_X_options *, mproc_X **ret);   new; options->name makes it findable
 *   int  mproc_X_open(mproc_place *, const char *name, mproc_X **ret);                 existing; -ENOENT
 *   void mproc_X_close(mproc_X **);                                                    this handle only
 * Each options struct begins with size, name, and_open (an existing one of that name is opened instead of -EEXIST). */
#define MPROC_OBJECT_OPTIONS size_t size; const char *name; bool and_open

MPROC_END_DECLS

#endif
