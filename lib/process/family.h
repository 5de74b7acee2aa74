/* SPDX-License-Identifier: BSD-2-Clause */
/* What this process knows of its children: the list, the numbers, the slots with their stop words, the end of
 * the program. L5. One lock guards it all. Every fork of the program takes it, so under it nothing may be
 * called that takes another lock which forks take too: no segments. A fork child begins with none of it. */
#ifndef MPROC__PROCESS_FAMILY_H
#define MPROC__PROCESS_FAMILY_H

#include "process/process.h"

/* Arms the hooks of fork and exit in this process: first in every start. */
int mproc__family_begin(void);
/* -EPERM: this process, or the thread that runs here, is daemonic. For each call that starts functions elsewhere. */
int mproc__family_daemon_check(const char *call);
/* In a fork child: frees what its parent's family left in memory. */
void mproc__family_clear_forgotten(void);
void mproc__family_lock(void);
void mproc__family_unlock(void);

/* Started children that are not collected; the list holds a reference. Under the lock. */
void mproc__family_add(mproc_process *process);
void mproc__family_remove(mproc_process *process);
/* Collects some of those that have ended, in turn: zombies do not pile up. */
void mproc__family_tidy(void);
/* Gives a nursery that replaces a killed one the children to watch that the killed one had: from then on the
 * death of this process is their end again. */
int mproc__family_watch(mproc__nursery *nursery);
/* Whether a child of this process has a watcher that is dead. */
bool mproc__family_unwatched(void);
/* Whether one may have although the present nursery lives: the last that was to be given to another was not. */
bool mproc__family_stray(void);

/* ---- guard.c: what follows when a nursery is killed between two starts ---- */
/* The nursery that watches, the caller's to release; when the last one is dead and there are children to watch, another is
 * made. NULL: there is none, and no child that needs it, or it cannot be had now. Leaves the thread's story alone. */
mproc__nursery *mproc__guard(void);
void mproc__guard_look(void); /* the same for who only wants it done */
void mproc__guard_renew(void); /* the same for who knows of a child that has a dead one */
/* Waits for a child's end, and looks again whenever the nursery has died: 0, -ETIMEDOUT. */
int mproc__guard_wait(int pidfd, mproc_deadline deadline);

/* The path of the next child: "3", or "2:1" in a child. */
void mproc__family_next_path(char path[MPROC__PATH_BYTES]);

/* ---- slots (slots.c): a small number per living child, and a word for it that says stop ---- */
int mproc__slot_take(unsigned *ret_slot); /* MPROC_ELIMIT: MPROC__SLOTS children live; -ENOMEM */
void mproc__slot_give(unsigned slot);
_Atomic uint32_t *mproc__slot_word(unsigned slot);
int mproc__slots_fd(void);           /* of the memory with all words: slot n at 4 n */
int mproc__slots_share(int *ret_fd); /* the same, not under the lock; makes it if need be */
/* In the nursery: the owner's words, for the children forked from here on. Takes nothing. -errno */
int mproc__slots_adopt(int fd);
const _Atomic uint32_t *mproc__slots_adopted(size_t offset_bytes);
void mproc__slots_forget(void);

#endif
