/* SPDX-License-Identifier: BSD-2-Clause */
/* Types, start-up, and the calls that work on any handle.
 *
 *     int main(int argc, char **argv)
 *     {
 *         mproc_init(&argc, &argv);       // first: children started by spawn and forkserver run their function in here
 *         ...
 *
 * Rules that hold everywhere. int calls: 0 is done; negative is not done and nothing changed (error.h); MPROC_RECOVERED, from
 * calls that give you a lock, is the only positive one. Outputs come last and are written only when done. mproc_X_close(&x)
 * nulls x, accepts NULL and cannot fail. No call prints, exits or aborts on a mistake of yours.
 *
 * | call                  | blocks      | threads                  | processes    | in a signal handler | after fork     |
 * |-----------------------|-------------|--------------------------|--------------|---------------------|----------------|
 * | init                  | no          | first in main, alone     | each its own | no                  | -              |
 * | set_start, get_start, | no          | any                      | each its own | no                  | inherited      |
 * | reset_start           |             |                          |              |                     |                |
 * | set_key               | no          | any                      | each its own | no                  | inherited      |
 * | set_log               | no          | while no other uses us   | each its own | no                  | inherited      |
 * | log_to_stderr         | no          | while no other uses us   | each its own | no                  | inherited      |
 * | log_at, log_get_level | its sink's  | any                      | each its own | no                  | work           |
 * | log_place             | no          | in a log function        | each its own | no                  | works          |
 * | options_init, version | no          | any                      | -            | yes                 | works          |
 * | cpu_count             | reads files | any                      | -            | no                  | works          |
 * | type_of               | no          | any, not beside close    | -            | yes                 | works          |
 * | describe              | its noun's  | any, not beside close    | -            | no                  | its noun's     |
 * | error_of              | no          | any, not beside close    | -            | no                  | works          | */
#ifndef MPROC_BASE_H
#define MPROC_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
#define MPROC_BEGIN     extern "C" {
#define MPROC_END_DECLS }
#else
#define MPROC_BEGIN
#define MPROC_END_DECLS
#endif
#define MPROC_API   __attribute__((visibility("default")))
#define MPROC_CHECK __attribute__((warn_unused_result))   /* on start, put, acquire: ignoring these is a bug */

MPROC_BEGIN

/* The nouns. All opaque; each begins with a magic word, so that a wrong or closed handle is -EINVAL, not a crash. */
typedef struct mproc_place mproc_place;           /* where an object lives: threads, host, a named segment, a server */
typedef struct mproc_shm mproc_shm;               /* raw shared memory */
typedef struct mproc_shm_list mproc_shm_list;     /* a fixed number of slots for small values, in shared memory */
typedef struct mproc_array mproc_array;           /* typed shared items; a Value is an array of one */
typedef struct mproc_lock mproc_lock;             /* recursive by option */
typedef struct mproc_rwlock mproc_rwlock;         /* many readers or one writer */
typedef struct mproc_semaphore mproc_semaphore;   /* bounded by option */
typedef struct mproc_condition mproc_condition;
typedef struct mproc_event mproc_event;
typedef struct mproc_barrier mproc_barrier;
typedef struct mproc_queue mproc_queue;           /* joinable, acknowledged, LIFO, priority by option */
typedef struct mproc_connection mproc_connection;
typedef struct mproc_listener mproc_listener;
typedef struct mproc_process mproc_process;
typedef struct mproc_pool mproc_pool;
typedef struct mproc_future mproc_future;
typedef struct mproc_waitset mproc_waitset;       /* what one waits for again and again */
typedef struct mproc_results mproc_results;       /* a map's results, one after the other */
typedef struct mproc_list mproc_list;
typedef struct mproc_dict mproc_dict;             /* also what the reference calls a Namespace */
typedef struct mproc_server mproc_server;
typedef struct mproc_call mproc_call;             /* one run of a function elsewhere: its arguments and its outcome */
typedef struct mproc_error mproc_error;           /* an error with its story */
typedef struct mproc_variant mproc_variant;       /* a plain value that can travel */

typedef enum mproc_type_id {                      /* numbers are frozen: they are in the ABI and on the wire */
    MPROC_TYPE_NONE, MPROC_TYPE_PLACE, MPROC_TYPE_SHM, MPROC_TYPE_ARRAY, MPROC_TYPE_LOCK, MPROC_TYPE_SEMAPHORE,
    MPROC_TYPE_CONDITION, MPROC_TYPE_EVENT, MPROC_TYPE_BARRIER, MPROC_TYPE_QUEUE, MPROC_TYPE_CONNECTION,
    MPROC_TYPE_LISTENER, MPROC_TYPE_PROCESS, MPROC_TYPE_POOL, MPROC_TYPE_FUTURE, MPROC_TYPE_LIST, MPROC_TYPE_DICT,
    MPROC_TYPE_SET, MPROC_TYPE_OBJECT, MPROC_TYPE_SERVER, MPROC_TYPE_RWLOCK, MPROC_TYPE_SHM_LIST, MPROC_TYPE_WAITSET
} mproc_type_id;

/* The one function type that runs elsewhere: process target, task, initialiser, served method.
 * Return 0 for success. Anything else is failure: a process exits with it (1..255; a negative code is printed with its
 * text and exits 1), a future fails with it, a remote caller receives it. */
typedef int mproc_fn(mproc_call *call);

/* Options: zero is the default of every field; `size` says which fields the caller's header knew.
 *   C:      mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 4), &pool)
 *   C++, FFI: mproc_pool_options o; mproc_options_init(&o, sizeof o); o.workers = 4; */
#define MPROC_WITH(type, ...) (&(type){ .size = sizeof(type), __VA_ARGS__ })
MPROC_API void mproc_options_init(void *options, size_t size);  /* zeroes, then sets the size field */

typedef enum mproc_start { MPROC_START_DEFAULT, MPROC_START_FORK, MPROC_START_SPAWN, MPROC_START_FORKSERVER,
                           MPROC_START_THREAD } mproc_start;
typedef enum mproc_log_level { MPROC_LOG_ERROR = 1, MPROC_LOG_WARNING, MPROC_LOG_INFO, MPROC_LOG_DEBUG } mproc_log_level;
typedef void mproc_log_fn(mproc_log_level level, const char *text, void *context);

/* First line of main. In a spawned child it runs the child's function and does not return. In the program itself: 0, and what
 * it takes from the arguments is gone from *argc and *argv. mproc_init(NULL, NULL) serves a library that has no main: then
 * spawn and forkserver answer MPROC_ENOINIT. */
MPROC_API int  mproc_init(int *argc, char ***argv);
/* The program's default start method (process.h says what they are; fork unless set), once, before the first start that names
 * none. -EINVAL: no method. MPROC_ESTATE: set or used before. */
MPROC_API int  mproc_set_start(mproc_start method);
/* The same at any time, by force: what runs already keeps its method. MPROC_START_DEFAULT: as if it were never set or used. */
MPROC_API int  mproc_reset_start(mproc_start method);
/* The method that a start without one would have now. Asking settles nothing. In a started child: that by which it was
 * started, until the child sets its own. */
MPROC_API mproc_start mproc_get_start(void);
/* The program's authkey, copied; started children have it too, never by argument or environment. NULL, 0: none. Set again, it
 * holds for what is opened from then on. -EINVAL: shorter than 16 bytes. -ENOMEM. */
MPROC_API int  mproc_set_key(const void *key, size_t size_bytes);
/* Where messages at `level` and more urgent ones go, a line each, without a newline; `text` is gone when fn returns. NULL: to
 * nobody, as at first. fn may run in any thread that calls us; it must not call us. Keys and contents are never logged. */
MPROC_API void mproc_set_log(mproc_log_fn *fn, mproc_log_level level, void *context);
/* The same to stderr, as lines "[WARNING/Process-1] text", where the name is that of the process (process.h). */
MPROC_API void mproc_log_to_stderr(mproc_log_level level);
/* The level set last, 0: silent. A started child has its parent's, by every method, and writes to stderr if its parent does; a
 * function and its context cross by fork and thread only, and are to be set again in the others. */
MPROC_API mproc_log_level mproc_log_get_level(void);
/* A message of the program's own, format as printf's, cut at 511 bytes: mproc_log(MPROC_LOG_INFO, "took %d", n). */
#define mproc_log(level, ...) mproc_log_at(level, __FILE__, __LINE__, __VA_ARGS__)
MPROC_API void mproc_log_at(mproc_log_level level, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* In a log function: the line of the source that its message comes from, and the file; 0 and NULL elsewhere. */
MPROC_API int mproc_log_place(const char **ret_file);
/* CPUs this process may use, at least 1: those of its affinity mask, or what its control groups' quotas are worth, rounded up, if
 * that is less. $MPROC_CPU_COUNT (1..65536) overrides both. Asked anew at each call. */
MPROC_API unsigned mproc_cpu_count(void);
MPROC_API const char *mproc_version(void);                  /* of the library at run time; header's: MPROC_VERSION */
#define MPROC_VERSION 0x000100                               /* major, minor, patch: a byte each */
#define MPROC_VERSION_TEXT "0.1.0"

/* For any handle (void *, so that there is one of each; the magic word tells the type). NULL, closed and foreign memory of at
 * least 8 bytes are MPROC_TYPE_NONE, "nothing" and NULL. */
MPROC_API mproc_type_id mproc_type_of(const void *handle);
/* One line for people and logs, "queue jobs 3/64 on host", as snprintf: returns the length it would need. */
MPROC_API int  mproc_describe(const void *handle, char *buffer, size_t size_bytes);
/* The last failure on this handle, in any thread: a copy, which this thread's next mproc_error_of replaces. NULL: none yet. */
MPROC_API const mproc_error *mproc_error_of(const void *handle);

MPROC_END_DECLS

#endif
