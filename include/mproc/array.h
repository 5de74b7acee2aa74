/* SPDX-License-Identifier: BSD-2-Clause */
/* Array: items of one type in memory that threads and processes share. A Value is an array of one.
 *
 *     mproc_array *total;
 *     mproc_array_create(NULL, MPROC_ITEM_INT64, 1, NULL, &total);
 *     mproc_array_add_int(total, 0, 5, NULL);                                             // one item: an atomic step
 *     MPROC_WITH_LOCK(mproc_array_lock(total), MPROC_FOREVER) { ... }                     // several steps: the array's lock
 *
 * What is whole. One item of a number type is read and written whole by every call below, whoever is killed meanwhile: old or
 * new, never half. Slices, texts and items of MPROC_ITEM_BYTES are not: a reader beside a writer, or after a writer that was
 * killed half-way, may see some of the new and some of the old. Hold the array's lock around them, on both sides: then a reader
 * sees all or nothing, and after a death in between MPROC_RECOVERED tells it to look. No call here takes that lock, so none
 * waits for anybody.
 *
 *                            blocks  threads           processes  in a signal handler   in a fork child
 *   create, open, copy       no      any               any        no                    works
 *   open_file, flush         disk    any               any        no                    works
 *   set_lock                 no      one               any        no                    host: works; thread: -ECHILD
 *   data                     no      any               any        no                    host: works; thread: NULL
 *   lock                     no      any               any        no                    works; the lock may answer -ECHILD
 *   read, write, texts       no      any, see above    any        no                    host: works; thread: -ECHILD
 *   get, set, add,
 *   compare_set and _int     no      any               any        number types: yes (1) host: works; thread: -ECHILD
 *   count, item, item_bytes  no      any               any        yes                   works
 *   close                    no      one               any        no                    works: the parent's stays as it is
 *   (1) when they succeed; a failure stores its story, which is not for signal handlers
 *
 *   home     lives in             survives its creator  may be given to
 *   thread:  this process         no                    threads
 *   host:    anonymous memory     yes, while in use     fork children; processes at their start; over Unix connections
 *   shm:     a file in /dev/shm   yes, while in use     the same, and whoever may open the file
 *   a file   that file            yes, the file does   as host:, descriptor and all; others open the file themselves
 *   unix:    not yet: MPROC_EPLACE
 *
 * An array on this host costs its items and 18.2 KiB, in whole pages (so 20 KiB at least), and one descriptor. */
#ifndef MPROC_ARRAY_H
#define MPROC_ARRAY_H

#include <mproc/lock.h>

MPROC_BEGIN

typedef enum mproc_item {                       /* numbers are frozen */
    MPROC_ITEM_INT8 = 1, MPROC_ITEM_UINT8, MPROC_ITEM_INT16, MPROC_ITEM_UINT16, MPROC_ITEM_INT32, MPROC_ITEM_UINT32,
    MPROC_ITEM_INT64, MPROC_ITEM_UINT64, MPROC_ITEM_FLOAT, MPROC_ITEM_DOUBLE, MPROC_ITEM_BYTES  /* item_bytes each */
} mproc_item;

typedef struct mproc_array_options {
    MPROC_OBJECT_OPTIONS;
    size_t      item_bytes;         /* with MPROC_ITEM_BYTES: sizeof your struct; with others 0 */
    const void *initial;            /* count items to copy in; NULL: zeros */
    bool        unlocked;           /* no lock */
    mproc_lock *lock;               /* use this one instead of an own recursive one; see set_lock */
} mproc_array_options;

/* A new array of count items, one after the other as in a C array, the first at a multiple of 128 bytes. Structs are shared byte
 * for byte: no pointers in them. and_open: one of that name is opened as it is, whatever else is asked for.
 * -EINVAL: no items; no such type; item_bytes missing or not the type's; unlocked and a lock; not a lock, or of another home; no
 * place, wrong options, or an object of another type has that name. -EOVERFLOW: more bytes than can be counted. -EEXIST: there
 * is one of that name. -ENOMEM, -ENOSPC: no room. -EMFILE, -ENFILE: no descriptor left. */
MPROC_API MPROC_CHECK int mproc_array_create(mproc_place *place, mproc_item item, size_t count,
                                             const mproc_array_options *options, mproc_array **ret_array);
/* The named one. thread: and host: know the names given in this process (and before its fork), shm: those of all programs.
 * -ENOENT; -EINVAL: no name, or an object of another type has it; and as mproc_shm_open. */
MPROC_API MPROC_CHECK int mproc_array_open(mproc_place *place, const char *name, mproc_array **ret_array);
/* A new array in `place` with the type, count and content of this one, and from then on independent of it; of the options,
 * item_bytes, initial and and_open must be zero. Content that others change meanwhile is copied as by read. Errors as of create,
 * and -ECHILD. */
MPROC_API MPROC_CHECK int mproc_array_copy(mproc_array *array, mproc_place *place, const mproc_array_options *options,
                                           mproc_array **ret_copy);
/* Over a file: the items are the file's own pages, from offset_bytes on, as numpy.memmap has them. Nothing is read before it is
 * touched, nothing is copied for those who get the array, and a file may be larger than the memory. Only what is in the file is
 * the items: no header of ours, so any file of numbers will do, in this machine's byte order. There is no lock until set_lock.
 *   READ     data may only be read: calls that write answer -EACCES, and a store through the address is SIGSEGV
 *   WRITE    what one process writes all who have the file see at once; it is on the disk after flush, or when the kernel sees fit
 *   PRIVATE  what a process writes only that process sees; the file never. Who gets the array begins with the file's items
 * The weaker promise: a file cannot be sealed. Who may write it can cut it short, and whoever then touches what is gone gets
 * SIGBUS; so does who reads from a failing disk. Room for what WRITE writes is reserved here, also in a file with holes (where the
 * file system can), so that a full disk is an error of this call. */
typedef enum mproc_array_access { MPROC_ARRAY_READ = 0, MPROC_ARRAY_WRITE = 1, MPROC_ARRAY_PRIVATE = 2 } mproc_array_access;
typedef struct mproc_array_file_options {
    size_t      size;
    mproc_array_access access;      /* READ unless asked otherwise */
    uint64_t    offset_bytes;       /* where the first item begins; for numbers a multiple of their size. Structs lie as it says */
    size_t      item_bytes;         /* with MPROC_ITEM_BYTES: sizeof your struct; with others 0 */
    bool        create;             /* with WRITE: make the file (0666 and umask) where it is missing, and as long as `count` items
                                     * need where it is shorter; what is new is zeros */
} mproc_array_file_options;
/* count 0: all whole items that the file has now. -ENOENT, -EACCES, -EISDIR, -EROFS; -ENODEV: not a regular file. -ERANGE: the file has
 * fewer items, or none. -EINVAL: no such type or access; an offset within a number; create without WRITE or count. -EOVERFLOW.
 * -ENOSPC, -EFBIG, -EDQUOT: no room on its disk; a file that was made is taken away again, one that was lengthened stays so.
 * -ENOMEM, -EMFILE, -ENFILE. */
MPROC_API MPROC_CHECK int mproc_array_open_file(const char *path, mproc_item item, size_t count,
                                                const mproc_array_file_options *options, mproc_array **ret_array);
/* Waits until all that was written is on the disk. MPROC_ESTATE: not opened over a file with WRITE. -EIO, -ENOSPC: not all is. */
MPROC_API int mproc_array_flush(mproc_array *array);
/* Drops this handle, never the array that others use. Its own lock goes as mproc_lock_close says. NULL and a pointer to NULL do
 * nothing. */
MPROC_API void mproc_array_close(mproc_array **array);

/* The items themselves; the address is this process's and good until close. NULL: no array, or of the home thread and made
 * before a fork. Plain loads and stores through it are as good as on any shared memory: hold the lock, or use C11 atomics. */
MPROC_API void  *mproc_array_data(mproc_array *array);
MPROC_API size_t mproc_array_count(const mproc_array *array);           /* 0: no array */
MPROC_API mproc_item mproc_array_item(const mproc_array *array);        /* 0: no array */
MPROC_API size_t mproc_array_item_bytes(const mproc_array *array);      /* 0: no array */

/* Borrowed from the array. NULL: made unlocked and none set since, or no array; mproc_last_error says which. */
MPROC_API mproc_lock *mproc_array_lock(mproc_array *array);
/* Gives an array that was made unlocked its lock; data and every other call go on as before. NULL: an own recursive one, which
 * every holder of the array finds from then on. A given one is this handle's and of those made from it (by a start or a
 * connection), and stays open as long: give it before the array is given away. Who opens the array by its name must give it the
 * same lock. MPROC_ESTATE: it has one. -EINVAL: not a lock; a lock of a server, or of thread: for an array elsewhere (or the
 * other way round). */
MPROC_API int mproc_array_set_lock(mproc_array *array, mproc_lock *lock);

/* Slices: items [first, first + count) from or to plain memory of yours; of number types item by item, each whole. count may
 * be 0. -EACCES: write, to a file that was opened to be read. -ERANGE: not all of them exist; nothing was copied. -EINVAL: no array, or no memory. -ECHILD. */
MPROC_API int mproc_array_read(mproc_array *array, size_t first, size_t count, void *ret_items);
MPROC_API int mproc_array_write(mproc_array *array, size_t first, size_t count, const void *items);

/* One item, in one atomic step that takes no lock: get acquires, set releases, add and compare_set do both. The _int ones are
 * for the integer types; a uint64 above INT64_MAX is carried as the int64 of the same bits. The others are for float and
 * double, and round to the item's type. add wraps around as the type does (127 + 1 is -128 in an int8), in every type.
 * compare_set stores value if the item equals expected, and says in ret_set whether it did; floats are compared bit by bit, so
 * a NaN equals itself and 0.0 is not -0.0. ret_new and ret_set may be NULL.
 * -EACCES: of a file that was opened to be read. -ERANGE: no such index; in set and compare_set also: the number is none of the type (300 in an int8). MPROC_EARGUMENT: items of
 * the other kind, or bytes. -EINVAL: no array, or nowhere to put the item. -ECHILD. */
MPROC_API int mproc_array_get(mproc_array *array, size_t index, double *ret_value);
MPROC_API int mproc_array_set(mproc_array *array, size_t index, double value);
MPROC_API int mproc_array_add(mproc_array *array, size_t index, double delta, double *ret_new);
MPROC_API int mproc_array_compare_set(mproc_array *array, size_t index, double expected, double value, bool *ret_set);
MPROC_API int mproc_array_get_int(mproc_array *array, size_t index, int64_t *ret_value);
MPROC_API int mproc_array_set_int(mproc_array *array, size_t index, int64_t value);
MPROC_API int mproc_array_add_int(mproc_array *array, size_t index, int64_t delta, int64_t *ret_new);
MPROC_API int mproc_array_compare_set_int(mproc_array *array, size_t index, int64_t expected, int64_t value, bool *ret_set);

/* add_int is a function, and also a macro around it that adds to an int64 or uint64 of another home than thread without a call:
 * a call costs almost as much as the atomic addition itself. For all else, errors too, it calls the function. The item's address
 * never changes while the handle is open, so that a compiler may ask for it once before a loop; NULL: ask the function. */
MPROC_API int64_t *mproc__array_quick(const mproc_array *array, size_t index) __attribute__((const));
static inline int mproc__array_add_int(mproc_array *array, size_t index, int64_t delta, int64_t *ret_new)
{
    int64_t *item = mproc__array_quick(array, index), old;
    if (__builtin_expect(!item, 0))
        return mproc_array_add_int(array, index, delta, ret_new);
    old = __atomic_fetch_add(item, delta, __ATOMIC_SEQ_CST);
    if (ret_new)
        *ret_new = (int64_t)((uint64_t)old + (uint64_t)delta);
    return 0;
}
#define mproc_array_add_int(...) mproc__array_add_int(__VA_ARGS__)

/* Items of one byte as text: up to the first NUL, or all of them. data, read and write show all bytes.
 * set_text stores the text and, if there is room, a NUL behind it; what follows stays. -ERANGE: longer than the array; nothing
 * was stored. MPROC_EARGUMENT: items of more than a byte. -EINVAL: no array or no text. -ECHILD. */
MPROC_API int mproc_array_set_text(mproc_array *array, const char *text);
/* The text with a NUL behind it, at most size_bytes in all; ret_length, which may be NULL, without it.
 * MPROC_ETOOSMALL: *ret_length says how long it is, the buffer is untouched. MPROC_EARGUMENT, -EINVAL, -ECHILD as set_text. */
MPROC_API int mproc_array_get_text(mproc_array *array, char *buffer, size_t size_bytes, size_t *ret_length);

MPROC_END_DECLS

#endif
