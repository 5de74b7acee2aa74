/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes and stories.
 *
 * A call that fails returns its code and leaves a story, what exactly was wrong with which argument, task or peer:
 *
 *     if (mproc_queue_open(NULL, "jobs", &queue) < 0)
 *         fprintf(stderr, "%s\n", mproc_error_text(mproc_last_error()));     // ENOENT: no queue 'jobs' on this host
 *
 * mproc_last_error() is the story of the calling thread's last failure; mproc_error_of(handle) that of a handle, whoever saw it.
 * Codes of the kernel are -errno, ours go down from -5001. A passed deadline is -ETIMEDOUT, also for MPROC_NOW; a call that
 * ends so as a matter of course leaves no story on the handle, and one without a sentence with the thread: its text is then
 * the code's.
 *
 * | call                       | blocks | threads                       | in a signal handler | after fork               |
 * |----------------------------|--------|-------------------------------|---------------------|--------------------------|
 * | strerror, errname          | no     | any                           | yes                 | work                     |
 * | last_error                 | no     | any; each has its own         | no                  | the forking thread's     |
 * | error_code, error_number   | no     | the one that got the story    | yes                 | work                     |
 * | error_text                 | no     | the one that got the story    | no                  | works                    | */
#ifndef MPROC_ERROR_H
#define MPROC_ERROR_H

#include <errno.h>
#include <mproc/base.h>

MPROC_BEGIN

/* 0: done. Negative: not done, nothing changed. Positive exists once: MPROC_RECOVERED, from calls that give you a lock. */
#define MPROC_RECOVERED 1
#define MPROC_ERRORS(X) \
    X(MPROC_EEND,        -5001, "nothing more will come")            \
    X(MPROC_ENEVER,      -5002, "the other side never came")         \
    X(MPROC_ECLOSED,     -5003, "shut down or closed")               \
    X(MPROC_ETOOSMALL,   -5004, "buffer too small; message kept")    \
    X(MPROC_ESTATE,      -5005, "not possible in this state")        \
    X(MPROC_EPLACE,      -5006, "not possible where it lives")       \
    X(MPROC_ECANNOTCROSS,-5007, "this value cannot go there")        \
    X(MPROC_EFUNCTION,   -5008, "function unknown to the other side")\
    X(MPROC_EARGUMENT,   -5009, "argument missing or of another kind")\
    X(MPROC_ETHREADS,    -5010, "fork refused: other threads run")   \
    X(MPROC_ENOINIT,     -5011, "mproc_init was not called in main") \
    X(MPROC_EDIED,       -5012, "the process doing it died")         \
    X(MPROC_EBROKEN,     -5013, "barrier broken")                    \
    X(MPROC_EPOISONED,   -5014, "owner died; lock awaits repair")    \
    X(MPROC_EAUTH,       -5015, "authentication failed")             \
    X(MPROC_EPROTOCOL,   -5016, "the peer broke the protocol")       \
    X(MPROC_ECORRUPT,    -5017, "shared memory damaged")             \
    X(MPROC_ESTALE,      -5018, "object of an earlier server life")  \
    X(MPROC_EUNKNOWN,    -5019, "may or may not have happened")      \
    X(MPROC_EFENCED,     -5020, "a newer owner holds the token")     \
    X(MPROC_ELIMIT,      -5021, "a configured limit was reached")    \
    X(MPROC_EKEY,        -5022, "no such key, index or method")     \
    X(MPROC_ENAMESPACE,  -5023, "attached from another pid or time namespace") \
    X(MPROC_EEXIT,       -5024, "the program reported failure")      \
    X(MPROC_EAFTER,      -5025, "a task that it comes after failed")
enum {
#define X(name, number, text) name = number,
    MPROC_ERRORS(X)
#undef X
    MPROC_ERROR_LAST = -5025
};
MPROC_API const char *mproc_strerror(int code);             /* a few words; never NULL; static, in English in any locale */
MPROC_API const char *mproc_errname(int code);              /* "MPROC_EDIED", "ETIMEDOUT", "OK"; "unknown" for no code */

/* What a story may tell in numbers. The list grows at its end. PID to OOM: of the process that died (OOM 1: the kernel
 * killed it for want of memory); TASK, ATTEMPT, ITEM: what it did; ARGUMENT: position, from 0; the rest: what it had used. */
typedef enum mproc_error_field {
    MPROC_ERROR_PID, MPROC_ERROR_EXIT_CODE, MPROC_ERROR_SIGNAL, MPROC_ERROR_OOM, MPROC_ERROR_TASK, MPROC_ERROR_ATTEMPT,
    MPROC_ERROR_ARGUMENT, MPROC_ERROR_ITEM, MPROC_ERROR_USER_US, MPROC_ERROR_SYSTEM_US, MPROC_ERROR_MAX_RSS_KIB
} mproc_error_field;
/* This thread's last failure; never NULL (code 0 before the first). Changes with this thread's next failing call. */
MPROC_API const mproc_error *mproc_last_error(void);
MPROC_API int         mproc_error_code(const mproc_error *error);    /* NULL: 0 */
/* "CODE_NAME: sentence": one line, complete, without keys or contents of messages. Lives as long as the story. */
MPROC_API const char *mproc_error_text(const mproc_error *error);
/* -ENOENT: this story does not tell that number. */
MPROC_API int         mproc_error_number(const mproc_error *error, mproc_error_field field, int64_t *ret_number);

MPROC_END_DECLS

#endif
