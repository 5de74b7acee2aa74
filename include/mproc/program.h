/* SPDX-License-Identifier: BSD-2-Clause */
/* External programs: any argv, with its streams, its environment and its end in the caller's hand.
 *
 *     const char *const sort[] = {"sort", "-r", NULL};
 *     mproc_process *done;
 *     mproc_output sorted;
 *     int code;
 *     if (mproc_run(sort, MPROC_WITH(mproc_program_options, .capture = true),
 *                   MPROC_WITH(mproc_communicate_options, .input = "a\nc\nb\n", .input_bytes = 6),
 *                   mproc_after_ms(2000), &done) == 0 &&
 *         mproc_process_join(done, MPROC_NOW, &code) == 0 && mproc_process_output(done, 1, &sorted) == 0)
 *         printf("%d: %s", code, (const char *)sorted.data);
 *     mproc_process_close(&done);
 *
 * Never a shell: each string of argv is one argument, whatever is in it. A program is a process handle like any other
 * (process.h): join, signal, stop, close, mproc_wait. It is a child of the nursery, the library's own small process: its start
 * costs the same from a program of any size, it is killed when this process dies for any reason, and so is what it started,
 * however it detached itself. Should the nursery be killed first, set-user-ID programs and what programs had started live on.
 *
 * The program finds: the streams, environment and directory of the options; every other descriptor closed; default signal
 * dispositions and an empty mask; umask, limits, priority, CPUs, user and groups of the caller at this moment. Capabilities,
 * seccomp filters, namespaces and cgroup are of the moment when the nursery was made, at the first start: a program that gives
 * up such rights does so before.
 *
 *                    blocks            threads              processes         in a signal handler  after fork
 *   start_program    until it runs     any, at once         one family each   no                   a new family
 *   run              to the deadline   any, at once         one family each   no                   a new family
 *   communicate      to the deadline   one at a time (1)    who started it    no                   -ECHILD
 *   pipe, pipe_close no                one at a time (1)    who started it    no                   -ECHILD
 *   output           no                one at a time (1)    who started it    no                   -ECHILD
 *   (1) on one handle; join, signal, stop and wait go beside them
 *
 * The nursery waits while the system loads the program. From a filesystem that hangs no start of programs and forkserver children
 * goes on until that does, without a deadline, nor are children ended at this process's death; fork and spawn go on.
 *
 * SIGPIPE: a program that does not read what is sent to it raises none here. At normal exit running programs are joined as
 * other children are, behind the closing of their pipes, so that none waits for us while we wait for it. */
#ifndef MPROC_PROGRAM_H
#define MPROC_PROGRAM_H

#include <mproc/deadline.h>
#include <mproc/process.h>

MPROC_BEGIN

/* Where one of the three streams comes from or goes to. */
typedef enum mproc_stream_kind {
    MPROC_STREAM_INHERIT,           /* the caller's; closed there, closed here */
    MPROC_STREAM_NULL,              /* the null device */
    MPROC_STREAM_PIPE,              /* ours to read or write: communicate, or mproc_process_pipe */
    MPROC_STREAM_FILE,              /* `path`, opened by the caller: read, or made anew and written */
    MPROC_STREAM_APPEND,            /* `path`: written at its end */
    MPROC_STREAM_FD,                /* `fd`, any descriptor of the caller's, which stays open here */
    MPROC_STREAM_OUTPUT             /* error only: where output goes, in one order with it */
} mproc_stream_kind;
typedef struct mproc_stream {
    mproc_stream_kind kind;
    int         fd;
    unsigned    mode;               /* of a file that is made, less the umask; 0: 0666 */
    const char *path;               /* relative to the caller's directory */
} mproc_stream;

/* Whom signals from the terminal reach, and whom mproc_process_stop reaches. */
typedef enum mproc_program_group {
    MPROC_GROUP_SAME,               /* this program's process group; stop reaches the program alone */
    MPROC_GROUP_OWN,                /* one of its own: stop reaches its children as well, but those that left the group */
    MPROC_GROUP_SESSION             /* a session of its own, without a terminal; stop as above */
} mproc_program_group;

#define MPROC_PROGRAM_FDS 48        /* the most in `fds` */

typedef struct mproc_program_options {
    size_t      size;
    const char *name;               /* of the handle, copied, up to 127 bytes; NULL: the last part of argv[0] */
    const char *program;            /* what is run in place of argv[0], which the program sees all the same */
    mproc_stream input, output, error;
    bool        capture;            /* output and error are pipes, where nothing else is said of them */
    const char *const *environment; /* all of it, "NAME=value", NULL-ended; NULL: the caller's */
    const char *const *variables;   /* changes to that: "NAME=value" sets, "NAME" takes away; NULL-ended */
    const char *directory;          /* NULL: the caller's */
    const int  *fds;                /* stay open in the program, by the same numbers, 3 and up; others are closed */
    size_t      fd_count;
    mproc_program_group group;
    bool        set_umask;          /* it is `umask`, 0 to 0777; else the caller's */
    unsigned    umask;
    const char *user;               /* for root: a name or a number, with the groups of that user; NULL: the caller's */
    const char *user_group;         /* for root: a name or a number, in place of the user's first group */
    uint32_t    grace_ms;           /* mproc_process_stop: between SIGTERM and SIGKILL; 0: 2000 */
    mproc_limits limits;            /* process.h; below what it needs to begin, the kernel ends it in its first moments */
} mproc_program_options;

/* Runs argv (NULL-ended). A name without a slash is searched in PATH, that of the program's own environment; one with a slash
 * is relative to the program's directory. Returns when the program has taken over; what fails before that is this call's
 * error, whose story names the step, and no process is left:
 *   -ENOENT    no such program, file or directory       -EACCES  no permission for it
 *   -ENOEXEC   no program; a script needs its #! line   -E2BIG   more than the system takes as arguments
 *   -ENAMETOOLONG  the name
 *   -EBADF     a descriptor that is not open            -EINVAL  argv, options, a number in `fds` below 3
 *   -EPERM     another user, without being root         -ENOENT  no such user or group
 *   MPROC_ELIMIT   4096 children live, or too many `fds`
 *   MPROC_EDIED    the nursery was killed just now; whether the program had begun is not known, it does not run any more
 *   -EAGAIN, -EMFILE, -ENOMEM, ...  the system's */
MPROC_API MPROC_CHECK int mproc_process_start_program(const char *const argv[], const mproc_program_options *options,
                                                      mproc_process **ret_process);

/* This end of a pipe: 0 writes to the program's input, 1 and 2 read its output and error. Blocking, close-on-exec, owned by the
 * handle. -ENOENT: that stream is no pipe, or this end is closed. MPROC_ESTATE: not an external program. */
MPROC_API int  mproc_process_pipe(mproc_process *process, int which);
/* Closes this end: the program reads the end of its input, or cannot write any more. Closed before: 0. */
MPROC_API int  mproc_process_pipe_close(mproc_process *process, int which);

typedef struct mproc_communicate_options {
    size_t      size;
    const void *input;              /* for the input pipe, which is closed behind it; not copied */
    size_t      input_bytes;
    size_t      max_bytes;          /* kept of each output; 0: 64 MiB */
    bool        drop;               /* above that: read on and drop; else SIGKILL and MPROC_ELIMIT */
    bool        linger;             /* to the end of the pipes: who else has them is waited for, too */
} mproc_communicate_options;

/* Writes the input, reads both outputs, waits for the program's end; all at once, so that no order of reads and writes of the
 * program locks up. What it reads is kept by the handle: mproc_process_output. Done when the program has ended and what it
 * wrote is read. What its children still write then is not waited for, unless `linger` says so; the pipes are closed.
 * A program that does not read all its input is no error.
 *   -ETIMEDOUT    it runs; what has come is kept. Called again, with the same input, it goes on where it was.
 *   MPROC_ELIMIT  more than max_bytes came, the program was killed, with its group if it has one; max_bytes are kept
 *   -ENOMEM       no memory to keep more; nothing is lost, call again or stop it
 *   MPROC_ESTATE  not an external program          -EINVAL  less input than the last call has written */
MPROC_API int  mproc_process_communicate(mproc_process *process, const mproc_communicate_options *options,
                                         mproc_deadline deadline);

typedef struct mproc_output {
    const void *data;               /* with a 0 behind it; never NULL; until the next communicate, or close */
    size_t      size_bytes;
    uint64_t    dropped_bytes;      /* came after those, above max_bytes */
} mproc_output;

/* What communicate has read of stream 1 or 2, also after it failed. Empty for one that is no pipe. */
MPROC_API int  mproc_process_output(mproc_process *process, int which, mproc_output *ret_output);

/* Start and communicate in one; what fails ends the program, at the deadline as well: SIGKILL, with its group. With a deadline
 * other than MPROC_FOREVER the default group is MPROC_GROUP_OWN, so that its children go, too; a program that reads from the
 * terminal is started with start_program instead. The input is a pipe where options->input says nothing else and there is some.
 * What a program had written before it failed so is gone with it; start_program and communicate keep it.
 * 0: it has ended, *ret_process has its exit code and outputs. Where ret_process is NULL nobody could look at the exit code;
 * then any but 0 is MPROC_EEXIT, and the story has it, with the last line of a captured error stream.
 * Errors: those of start_program and communicate. */
MPROC_API MPROC_CHECK int mproc_run(const char *const argv[], const mproc_program_options *options,
                                    const mproc_communicate_options *communicate, mproc_deadline deadline,
                                    mproc_process **ret_process);

MPROC_END_DECLS

#endif
