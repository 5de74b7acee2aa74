/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside a function that runs elsewhere: arguments in, result or failure out, "should I stop?".
 *
 *     static int add(mproc_call *call)
 *     {
 *         return mproc_call_return(call, mproc_int(mproc_call_int(call, 0) + mproc_call_int(call, 1)));
 *     }
 *
 * A call belongs to the thread that runs the function, and ends when that returns. Nothing here blocks, or may be used in a
 * signal handler or by a child that the function forks. mproc_call_stopping may be asked by any thread while the function runs;
 * mproc_keep works anywhere and in any thread. */
#ifndef MPROC_CALL_H
#define MPROC_CALL_H

#include <mproc/variant.h>

MPROC_BEGIN

/* Arguments. All borrowed until the function returns. A missing argument or one of another kind gives 0, NULL or 0.0 and
 * marks the call: it then fails with MPROC_EARGUMENT naming function, position and kinds, whatever the function returns. */
MPROC_API size_t      mproc_call_count(const mproc_call *call);
MPROC_API mproc_variant mproc_call_arg(mproc_call *call, size_t index);
MPROC_API int64_t     mproc_call_int(mproc_call *call, size_t index);
MPROC_API double      mproc_call_double(mproc_call *call, size_t index);
MPROC_API bool        mproc_call_bool(mproc_call *call, size_t index);
MPROC_API const char *mproc_call_text(mproc_call *call, size_t index);
MPROC_API const void *mproc_call_bytes(mproc_call *call, size_t index, size_t *ret_size_bytes);
MPROC_API void       *mproc_call_handle(mproc_call *call, size_t index, mproc_type_id type);
MPROC_API int         mproc_call_check(const mproc_call *call);     /* 0, or the mark: ask after reading the arguments */
#define MPROC__TYPED(noun, TYPE) static inline mproc_##noun *mproc_call_##noun(mproc_call *call, size_t index) \
    { return (mproc_##noun *)mproc_call_handle(call, index, TYPE); }
MPROC__TYPED(place, MPROC_TYPE_PLACE)
MPROC__TYPED(shm, MPROC_TYPE_SHM)
MPROC__TYPED(shm_list, MPROC_TYPE_SHM_LIST)
MPROC__TYPED(array, MPROC_TYPE_ARRAY)
MPROC__TYPED(lock, MPROC_TYPE_LOCK)
MPROC__TYPED(rwlock, MPROC_TYPE_RWLOCK)
MPROC__TYPED(semaphore, MPROC_TYPE_SEMAPHORE)
MPROC__TYPED(condition, MPROC_TYPE_CONDITION)
MPROC__TYPED(event, MPROC_TYPE_EVENT)
MPROC__TYPED(barrier, MPROC_TYPE_BARRIER)
MPROC__TYPED(queue, MPROC_TYPE_QUEUE)
MPROC__TYPED(connection, MPROC_TYPE_CONNECTION)
MPROC__TYPED(listener, MPROC_TYPE_LISTENER)
MPROC__TYPED(list, MPROC_TYPE_LIST)
MPROC__TYPED(dict, MPROC_TYPE_DICT)
#undef MPROC__TYPED
MPROC_API void *mproc_keep(void *handle);                            /* one more owner: keep an argument after return */

/* Outcome. 0 from the function is success, with the result of the last mproc_call_return or null. A failure is told with the text
 * of mproc_call_fail, or, when the function returned the code of a call of ours, with that call's story. A result that is
 * INVALID, too deep or too large fails this call and nothing else (MPROC_EARGUMENT, -ENOMEM). */
MPROC_API int  mproc_call_return(mproc_call *call, mproc_variant result);      /* copied; 0, so `return mproc_call_return(..)` */
MPROC_API int  mproc_call_fail(mproc_call *call, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));                                     /* returns code */
/* Circumstances. */
MPROC_API bool mproc_call_stopping(const mproc_call *call);          /* cancelled, past its time limit, or pool stopping */
MPROC_API int  mproc_call_progress(mproc_call *call, uint64_t done, uint64_t total);  /* seen by mproc_future_progress */
MPROC_API void mproc_call_range(const mproc_call *call, size_t *ret_first, size_t *ret_end); /* in mproc_pool_for: items first to
                                                                      * end - 1 are this call's; elsewhere none, 0 and 0. NULL: not wanted */
MPROC_API unsigned mproc_call_attempt(const mproc_call *call);       /* 1, or more after a retry */
/* Of a pool's task that is tried again after a death (retries): keeps a copy of `state` for the next attempt, instead of what was
 * kept before; a death in the middle leaves that. Elsewhere 0, and nothing is kept. -ENOMEM: no room in the pool now. */
MPROC_API int  mproc_call_checkpoint(mproc_call *call, mproc_variant state);
MPROC_API mproc_variant mproc_call_resume(const mproc_call *call);   /* what the attempt before kept, borrowed; null: nothing */
MPROC_API void *mproc_call_self(const mproc_call *call);             /* in a served method: what create set */
MPROC_API void mproc_call_set_self(mproc_call *call, void *self);    /* in create; in an initialiser: the worker's own data */

MPROC_END_DECLS

#endif
