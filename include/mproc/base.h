/* SPDX-License-Identifier: BSD-2-Clause */
/* Types, start-up, and the calls that work on any handle. */
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
typedef struct mproc_lock mproc_lock;             /* recursive by option */
typedef struct mproc_queue mproc_queue;           /* joinable, acknowledged, LIFO, priority by option */
typedef struct mproc_connection mproc_connection;
typedef struct mproc_listener mproc_listener;
typedef struct mproc_process mproc_process;
typedef struct mproc_pool mproc_pool;
typedef struct mproc_future mproc_future;
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
    MPROC_TYPE_SET, MPROC_TYPE_OBJECT, MPROC_TYPE_SERVER
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

MPROC_API int  mproc_init(int *argc, char ***argv);         /* first line of main; does not return in a spawned child */
MPROC_API int  mproc_set_start(mproc_start method);         /* program-wide default, before the first start */
MPROC_API mproc_start mproc_get_start(void);
MPROC_API int  mproc_set_key(const void *key, size_t size_bytes);   /* the program's authkey; children inherit it */
MPROC_API void mproc_set_log(mproc_log_fn *fn, mproc_log_level level, void *context);
MPROC_API unsigned mproc_cpu_count(void);                   /* CPUs this process may use; $MPROC_CPU_COUNT overrides */
MPROC_API const char *mproc_version(void);                  /* of the library at run time; header's: MPROC_VERSION */
#define MPROC_VERSION 0x000100                               /* major, minor, patch: a byte each */
#define MPROC_VERSION_TEXT "0.1.0"

/* For any handle (void * so that there is one of each; the magic word tells the type). NULL is allowed. */
MPROC_API mproc_type_id mproc_type_of(const void *handle);
MPROC_API int  mproc_describe(const void *handle, char *buffer, size_t size_bytes);  /* "queue jobs 3/64 on host" */
MPROC_API const mproc_error *mproc_error_of(const void *handle);    /* last story of this handle, or NULL */

MPROC_END_DECLS

#endif
