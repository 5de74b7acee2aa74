/* SPDX-License-Identifier: BSD-2-Clause */
/* What mproc_init does for processes: in a child that was exec'd by a start, everything; in the first
 * process, next to nothing.
 *
 * No fork bomb: only a process that came here starts others by exec, the others run the same main, and so
 * come here too and never see what follows. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/connection.h"
#include "channel/queue.h"
#include "data/parcel.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/child.h"
#include "process/self.h"
#include "sync/nouns.h"

static char **program_argv; /* a copy: option parsers reorder the original */
static bool main_called;

bool mproc__process_main_called(void)
{
    return main_called;
}

/* Set-user-ID, set-group-ID, file capabilities: its caller writes the environment and holds the socket, and would have any
 * function run with rights that are not his. Such a program is nobody's child, and so can have none that come by here. */
static bool has_foreign_rights(void)
{
    return getauxval(AT_SECURE) != 0;
}

int mproc__process_main_check(void)
{
    if (main_called)
        return 0;
    return mproc__fail(MPROC_ENOINIT,
                       has_foreign_rights()
                           ? "spawn and forkserver are not for a program with rights that its caller does "
                             "not have (set-user-ID, set-group-ID, file capabilities)"
                           : "spawn and forkserver need mproc_init(&argc, &argv) first in main");
}

char **mproc__process_argv(void)
{
    return program_argv;
}

static void argv_free(char **copy)
{
    for (size_t i = 0; copy && copy[i]; i++)
        free(copy[i]);
    free(copy);
}

static char **argv_copy(int count, char **argv)
{
    char **copy = calloc((size_t)count + 1, sizeof *copy);
    for (int i = 0; copy && i < count; i++)
        if (!(copy[i] = strdup(argv[i]))) {
            argv_free(copy);
            return NULL;
        }
    return copy;
}

/* A marker without the socket is a stranger's: a program that a child exec'd before it came to mproc_init. */
static bool marker_take(pid_t *ret_parent)
{
    int kind;
    socklen_t size_bytes = sizeof kind;
    const char *marker = getenv(MPROC__CHILD_MARKER);
    if (!marker)
        return false;
    *ret_parent = (pid_t)strtol(marker, NULL, 10);
    unsetenv(MPROC__CHILD_MARKER);
    return *ret_parent > 0 && !has_foreign_rights() &&
           getsockopt(MPROC__CHILD_SOCKET, SOL_SOCKET, SO_DOMAIN, &kind, &size_bytes) == 0 && kind == AF_UNIX;
}

/* A child that cannot be one must not run on as the program itself. */
static int main_without_memory(void)
{
    pid_t parent;
    int rc = mproc__fail(-ENOMEM, "mproc_init: no memory for a copy of the arguments");
    if (!marker_take(&parent))
        return rc;
    rc = mproc__fail(-ENOMEM, "the child's first steps: no memory for a copy of the arguments");
    mproc__boot_report(MPROC__CHILD_SOCKET, rc);
    _exit(1);
}

int mproc__process_main(int *argc, char ***argv)
{
    pid_t parent;
    if (!argc || !argv || !*argv)
        return mproc__fail(-EINVAL, "mproc_init(&argc, &argv): NULL");
    char **copy = argv_copy(*argc, *argv);
    if (!copy)
        return main_without_memory();
    argv_free(program_argv);
    program_argv = copy;
    main_called = !has_foreign_rights();
    mproc__nouns_register();
    mproc__connection_register();
    mproc__noun_register(&mproc__queue_noun);
    if (marker_take(&parent)) {
        fcntl(MPROC__CHILD_SOCKET, F_SETFD, FD_CLOEXEC);
        mproc__start_forget(); /* what main said above mproc_init is for the first process */
        mproc__child_received(MPROC__CHILD_SOCKET, parent, MPROC__CHILD_EXECD);
    }
    return 0;
}
