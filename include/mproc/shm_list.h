/* SPDX-License-Identifier: BSD-2-Clause */
/* Shareable list: a fixed number of slots for small values of any plain kind, in memory that threads and processes share.
 *
 *     mproc_shm_list *settings;
 *     mproc_shm_list_create(NULL, MPROC_ARGS("idle", 3, 2.5, mproc_bool(false), mproc_null()), NULL, &settings);
 *     mproc_shm_list_set(settings, 1, mproc_int(4), mproc_after_ms(100));
 *     mproc_shm_list_get(settings, -1, &value);                                           // the last one
 *
 * Values are null, bool, int64, double, text and bytes; bytes keep every byte, NULs at their end too. Kinds are never taken
 * for each other: 1, 1.0, true, "1" and the byte '1' are five values.
 *
 * Room. A slot made with a text or bytes of n bytes (encoded: UTF-8) has room for 8 * (n / 8 + 1) bytes, every other slot for 8,
 * for good. It may later hold a value of any kind that fits: null, bool, int64 and double always do.
 *
 * What is whole. A set becomes visible in one step: whoever reads, and whoever comes after a writer that was killed at any
 * instruction, finds the old value or the new one, and the neighbours as they were. A reader waits for nobody. Writers of one
 * list take turns; a killed one's turn is over, a stopped one's is not, therefore set has a deadline. Calls that read many
 * slots see each of them whole, but not all at one moment.
 *
 *                             blocks              threads  processes  in a signal handler  in a fork child
 *   create, open, copy        no                  any      any        no                   works
 *   get, values, find,
 *   occurrences, formats      no                  any      any        no                   host: works; thread: -ECHILD
 *   set                       to its deadline     any      any        no                   host: works; thread: -ECHILD
 *   count                     no                  any      any        yes                  works
 *   close                     no                  one      any        no                   works: the parent's stays as it is
 *
 *   home     lives in             survives its creator  may be given to
 *   thread:  this process         no                    threads
 *   host:    anonymous memory     yes, while in use     fork children; processes at their start; over Unix connections
 *   shm:     a file in /dev/shm   yes, while in use     the same, and whoever may open the file
 *   unix:    no: MPROC_EPLACE; mproc_list is the served one, which also grows */
#ifndef MPROC_SHM_LIST_H
#define MPROC_SHM_LIST_H

#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_shm_list_options { MPROC_OBJECT_OPTIONS; } mproc_shm_list_options;

/* A new list with a slot for each of `values`, which is a list (MPROC_ARGS, mproc_items) or null for no slots at all.
 * and_open: one of that name is opened as it is, whatever the values say.
 * MPROC_EARGUMENT: values is no list, or one of them is none that a slot can hold. -EMSGSIZE: one is 256 MiB or longer.
 * -EINVAL: no place, wrong options, or an object of another type has that name. -EEXIST: there is one of that name. -ENOMEM,
 * -ENOSPC: no room. -EMFILE, -ENFILE: no descriptor left. */
MPROC_API MPROC_CHECK int mproc_shm_list_create(mproc_place *place, mproc_variant values,
                                                const mproc_shm_list_options *options, mproc_shm_list **ret_list);
/* The named one. thread: and host: know the names given in this process (and before its fork), shm: those of all programs.
 * -ENOENT; -EINVAL: no name, or an object of another type has it; and as mproc_shm_open. */
MPROC_API MPROC_CHECK int mproc_shm_list_open(mproc_place *place, const char *name, mproc_shm_list **ret_list);
/* A new list with the same values and the same room in each slot, from then on independent of this one. Errors as of create. */
MPROC_API MPROC_CHECK int mproc_shm_list_copy(mproc_shm_list *list, mproc_place *place,
                                              const mproc_shm_list_options *options, mproc_shm_list **ret_copy);
/* Drops this handle, never the list that others use. NULL and a pointer to NULL do nothing. */
MPROC_API void mproc_shm_list_close(mproc_shm_list **list);

MPROC_API size_t mproc_shm_list_count(const mproc_shm_list *list);      /* slots, for good; 0 also for no list */
/* index: 0 to count - 1, or -1 (the last) to -count; else MPROC_EKEY. The value is yours to clear.
 * -EINVAL: no list, or nowhere to put it. -ENOMEM. -ECHILD. MPROC_ECORRUPT: its memory was overwritten. */
MPROC_API int mproc_shm_list_get(mproc_shm_list *list, int64_t index, mproc_variant *ret_value);
/* MPROC_EKEY: no such index. MPROC_EARGUMENT: a list, a dict, a handle, a number beyond int64: no slot holds that. -EMSGSIZE:
 * longer than the slot's room. -ETIMEDOUT: another writer did not finish until then. -EINVAL, -ECHILD, MPROC_ENAMESPACE,
 * MPROC_ECORRUPT. */
MPROC_API int mproc_shm_list_set(mproc_shm_list *list, int64_t index, mproc_variant value, mproc_deadline deadline);
/* The first slot that holds an equal value. MPROC_EKEY: none does. */
MPROC_API int mproc_shm_list_find(mproc_shm_list *list, mproc_variant value, size_t *ret_index);
/* How many slots hold an equal value. */
MPROC_API int mproc_shm_list_occurrences(mproc_shm_list *list, mproc_variant value, size_t *ret_count);
/* All values, one after the other, as a list that is yours to clear. */
MPROC_API int mproc_shm_list_values(mproc_shm_list *list, mproc_variant *ret_list);
/* What each slot holds and has room for: a list, yours to clear, of dicts "kind" ("null", "bool", "int", "double", "text",
 * "bytes") and "room" (bytes). */
MPROC_API int mproc_shm_list_formats(mproc_shm_list *list, mproc_variant *ret_list);

MPROC_END_DECLS

#endif
