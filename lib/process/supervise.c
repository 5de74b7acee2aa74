/* SPDX-License-Identifier: BSD-2-Clause */
/* The core of a supervisor: sleep until something happens, reap, kill everything. One per process,
 * single-threaded. */
#include "platform/base.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/supervise.h"

enum {
    FRAMES_BYTES = 65536,
    PIDS_MOST =
        4194304 /* of any kernel, PID_MAX_LIMIT; pid_max is often less, but to read it takes a descriptor */
};

static struct supervisor {
    mproc__segment *segment;
    mproc__eventcount_shared *command;
    unsigned owner_row;
    pid_t owner_pid;
} supervisor;

/* An atomic: all that stands in the handler. It cancels a sleep that is being prepared, so that a child's end between look
 * and sleep is not slept over. Nobody is to be woken: the one thread that sleeps on this word is this one, and the signal has
 * woken it. */
static void supervisor_poke(int signal_number)
{
    (void)signal_number;
    atomic_fetch_add(&supervisor.command->word, 2);
}

/* SIGCHLD and the signal for the owner's death get through; Ctrl-C and the like are the program's to handle,
 * and a supervisor that died of them would take its workers along. Faults kill also when blocked. Without
 * SA_RESTART, so that a sleep ends also where the handler's run is put off, as ThreadSanitizer does. Of all others
 * the dispositions are the default ones from here on, so that no child need look: 60 calls less in each. */
void mproc__supervise_signals(void)
{
    struct sigaction action = {.sa_handler = supervisor_poke, .sa_flags = SA_ONSTACK};
    sigset_t handled, mask;
    sigfillset(&action.sa_mask);
    sigaction(SIGCHLD, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&handled);
    sigaddset(&handled, SIGCHLD);
    sigaddset(&handled, SIGUSR1);
    mproc__signals_default(&handled);
    sigfillset(&mask);
    sigdelset(&mask, SIGCHLD);
    sigdelset(&mask, SIGUSR1);
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* A signal's frame is a page or more, on top of a stack that each fork would make it copy anew. Without room all goes on as
 * before. */
void mproc__supervise_stack(void)
{
    stack_t stack = {.ss_sp = mproc__memory_unforked(FRAMES_BYTES), .ss_size = FRAMES_BYTES};
    if (stack.ss_sp)
        sigaltstack(&stack, NULL);
}

MPROC__FORK_TEXT void mproc__supervised_signals(void)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    const stack_t no_stack = {.ss_flags = SS_DISABLE};
    sigset_t none;
    sigaltstack(&no_stack, NULL); /* the child does not have it */
    sigaction(SIGCHLD, &plain, NULL);
    sigaction(SIGUSR1, &plain, NULL);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* What its children write is theirs: a wild pointer in one shall not reach the others, nor the owner. */
MPROC__FORK_TEXT int mproc__supervised_begin(void)
{
    int rc = mproc__segment_seal(supervisor.segment);
    return rc < 0 ? mproc__fail(rc, "the child's first steps: mprotect: %s", mproc_strerror(rc)) : 0;
}

bool mproc__supervised_orphan(void)
{
    return mproc__segment_row_pid(supervisor.segment, supervisor.owner_row) != supervisor.owner_pid ||
           !mproc__segment_row_alive(supervisor.segment, supervisor.owner_row);
}

/* The life word is the quick proof (0.1 ms after the kill), the parent's pid the sure one: the word's thread
 * may have ended before the process, and then only the kernel's parent-death signal wakes us. */
static bool owner_gone(void)
{
    return getppid() != supervisor.owner_pid || mproc__supervised_orphan();
}

int mproc__supervise_begin(mproc__segment *segment, mproc__eventcount_shared *command, unsigned owner_row)
{
    supervisor = (struct supervisor){.segment = segment,
                                     .command = command,
                                     .owner_row = owner_row,
                                     .owner_pid = mproc__segment_row_pid(segment, owner_row)};
    mproc__supervise_signals();
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return mproc__fail(-errno, "supervisor: subreaper: %s", mproc_strerror(-errno));
    if (prctl(PR_SET_PDEATHSIG, SIGUSR1) < 0)
        return mproc__fail(-errno, "supervisor: parent-death signal: %s", mproc_strerror(-errno));
    int row = mproc__segment_join(segment);
    return row < 0 ? row : 0;
}

uint32_t mproc__supervise_prepare(void)
{
    return mproc__eventcount_prepare(supervisor.command);
}

int mproc__supervise_wait(uint32_t ticket, mproc_deadline deadline)
{
    if (owner_gone())
        return -EOWNERDEAD;
    int rc = mproc__segment_wait(supervisor.segment, supervisor.command, ticket, deadline);
    return owner_gone() ? -EOWNERDEAD : rc;
}

pid_t mproc__supervise_reap(int *ret_exit_code, struct rusage *ret_usage)
{
    int status;
    pid_t pid = wait4(-1, &status, WNOHANG, ret_usage);
    if (pid <= 0)
        return 0;
    *ret_exit_code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    return pid;
}

/* ---- killing everything ---- */

/* A pid is read and killed while its process is this one's unreaped child, so it cannot have been given to
 * another. */
static void kill_listed(FILE *list)
{
    int pid;
    while (fscanf(list, "%d", &pid) == 1)
        kill(pid, SIGKILL);
}

/* *ret_short: this process or the system has no descriptor or memory to find out. */
static bool is_child(const char *pid, bool *ret_short)
{
    char path[300], line[512];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        *ret_short |= errno == EMFILE || errno == ENFILE || errno == ENOMEM;
        return false;
    }
    const char *at = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    if (at)
        (void)sscanf(at, ") %*c %d", &parent);
    fclose(file);
    return parent == (int)getpid();
}

/* For kernels without the list of children: everyone whose parent is this process. */
static bool kill_found(void)
{
    DIR *directory = opendir("/proc");
    bool is_short = !directory;
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && is_child(entry->d_name, &is_short))
            kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
    if (directory)
        closedir(directory);
    return !is_short;
}

/* False: they could not all be listed. */
static bool kill_children(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *list = fopen(path, "re");
    if (!list)
        return errno == ENOENT && kill_found();
    kill_listed(list);
    fclose(list);
    return true;
}

/* Whoever this process could wait for, by asking for each number there may be: 0.6 us each, so some seconds, and no
 * descriptor, memory or /proc. It reaps nobody: what the dead leave to this process is looked for before the next wait. */
static void kill_numbered(void)
{
    siginfo_t info;
    for (pid_t pid = 1; pid <= PIDS_MOST; pid++)
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
            kill(pid, SIGKILL);
}

void mproc__supervise_free_fds(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (int fd = 0; fd < 3; fd++)
        close(fd);
}

static void kill_round(void)
{
    if (kill_children())
        return;
    mproc__supervise_free_fds();
    if (!kill_children())
        kill_numbered();
}

void mproc__supervise_kill_all(void)
{
    pid_t pid;
    /* A dead child's own children have come here before it can be reaped: look again, until none is left. All that have
     * ended are reaped first, as a look may be long. */
    do {
        kill_round();
        do
            pid = waitpid(-1, NULL, 0);
        while (pid < 0 && errno == EINTR);
        while (pid > 0)
            pid = waitpid(-1, NULL, WNOHANG);
    } while (pid >= 0);
}
