/* SPDX-License-Identifier: BSD-2-Clause */
/* The nursery's own side: commands, forks, ends, the owner's death. Single-threaded; takes no lock. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/child.h"
#include "process/nursery.h"
#include "process/object.h"
#include "process/preload.h"
#include "process/program.h"
#include "process/family.h"
#include "process/self.h"
#include "process/spare.h"
#include "process/supervise.h"
#include "process/surroundings.h"

enum { AGAIN_MS = 10, KILL_AGAIN_NS = 10000000 };

static struct {
    mproc__segment *segment;
    mproc__nursery_shared *shared;
    int socket;
    unsigned used; /* highest slot ever used + 1 */
    pid_t owner_pid;
    mproc_error refusal; /* code < 0: a preload failed whose failure counts, and no function is started */
    pid_t *pids;         /* MPROC__SLOTS, of children of this process; 0: none. Not there in children */
} nursery;

/* ---- commands ---- */

static void slot_refuse(int socket)
{
    (void)mproc__boot_report(socket, mproc__fail(nursery.refusal.code, "%s", nursery.refusal.text));
    close(socket);
}

/* Forks with everything blocked, so that no handler of this process runs in the child. The child comes back to this code: not
 * inlined, it is where a child's other code is. */
__attribute__((noinline)) MPROC__FORK_TEXT static void slot_start(unsigned index, int socket)
{
    sigset_t mask;
    pid_t self = getpid();
    atomic_store_explicit(&nursery.shared->slots[index].state, MPROC__SLOT_RUNNING, memory_order_release);
    mproc__signals_block(&mask);
    pid_t pid = fork();
    if (pid == 0) {
        mproc__start_forget();
        mproc__child_received(socket, self, MPROC__CHILD_SERVED);
    }
    int error = errno;
    mproc__signals_restore(&mask);
    nursery.pids[index] = pid > 0 ? pid : 0;
    if (pid < 0)
        (void)mproc__boot_report(
            socket, mproc__fail(-error, "start: fork in the fork server: %s", mproc_strerror(-error)));
    close(socket);
}

/* The slot is RUNNING before there may be a program: with it FREE the owner knows, also after our death, that none was
 * begun. It looks when it has the answer: FREE comes before that. */
static void slot_program(unsigned index, int socket)
{
    _Atomic uint32_t *state = &nursery.shared->slots[index].state;
    pid_t pid = 0;
    bool ran;
    atomic_store_explicit(state, MPROC__SLOT_RUNNING, memory_order_release);
    int rc = mproc__program_serve(socket, &pid, &ran);
    nursery.pids[index] = rc == 0 ? pid : 0;
    if (rc < 0) {
        atomic_store_explicit(state, ran ? MPROC__SLOT_ENDED : MPROC__SLOT_FREE, memory_order_release);
        (void)mproc__boot_report(socket, rc);
    }
    close(socket);
}

static void slot_enter(unsigned index)
{
    if (nursery.used <= index)
        nursery.used = index + 1;
}

static void spares_adopt(void)
{
    unsigned index;
    for (pid_t pid; mproc__spare_adopt(nursery.shared, &index, &pid);) {
        slot_enter(index);
        nursery.pids[index] = pid;
    }
}

static void slot_kill(unsigned index)
{
    if (nursery.pids[index] > 0)
        kill(nursery.pids[index], SIGKILL); /* not reaped yet: no other has that pid */
    else
        atomic_store_explicit(&nursery.shared->slots[index].state, MPROC__SLOT_ENDED, memory_order_release);
}

static void command_run(const mproc__nursery_command *command, int fd)
{
    if (command->slot >= MPROC__SLOTS)
        return;
    slot_enter(command->slot);
    if (command->verb == MPROC__NURSERY_START && fd >= 0 && nursery.refusal.code < 0)
        slot_refuse(fd);
    else if (command->verb == MPROC__NURSERY_START && fd >= 0)
        slot_start(command->slot, fd);
    else if (command->verb == MPROC__NURSERY_PROGRAM && fd >= 0)
        slot_program(command->slot, fd);
    else if (fd >= 0)
        close(fd);
}

/* Until none is left: true; false: the next one cannot be had now. */
static bool commands_run(void)
{
    mproc__nursery_command command;
    size_t fd_count;
    int fd = -1;
    for (;;) {
        ssize_t got = mproc__fd_recv(nursery.socket, &command, sizeof command, &fd, 1, &fd_count, MPROC_NOW);
        /* -EMSGSIZE: no room for the descriptor. Its sender sees the end of it; the next command may do without. */
        if (got == sizeof command)
            command_run(&command, fd_count ? fd : -1);
        else if (got != -EMSGSIZE)
            return got != -ENOMEM && got != -ENOBUFS;
    }
}

/* The command of a doomed slot was sent before it was doomed, so it goes first, and is looked for when the word has been
 * read: after it there is a child, or will be none. False: it cannot be had now. */
static bool slot_undo(unsigned index)
{
    _Atomic uint32_t *doomed = &nursery.shared->slots[index].doomed;
    if (!atomic_load_explicit(doomed, memory_order_acquire))
        return true;
    if (!commands_run())
        return false;
    spares_adopt();
    slot_kill(index);
    atomic_store_explicit(doomed, 0, memory_order_release); /* last: from now on the slot is another's */
    mproc__eventcount_post(&nursery.shared->ended, true);
    return true;
}

static bool doomed_undo(void)
{
    if (!atomic_exchange_explicit(&nursery.shared->doom, 0, memory_order_acquire))
        return true;
    for (unsigned i = 0; i < MPROC__SLOTS; i++)
        if (!slot_undo(i)) {
            atomic_store_explicit(&nursery.shared->doom, 1, memory_order_relaxed);
            return false;
        }
    return true;
}

/* ---- ends ---- */

static int32_t narrowed(long number)
{
    return number < INT32_MAX ? (int32_t)number : INT32_MAX;
}

static void usage_write(const struct rusage *usage, mproc__slot_shared *slot)
{
    slot->user_us = (int64_t)usage->ru_utime.tv_sec * 1000000 + usage->ru_utime.tv_usec;
    slot->system_us = (int64_t)usage->ru_stime.tv_sec * 1000000 + usage->ru_stime.tv_usec;
    slot->max_rss_kib = narrowed(usage->ru_maxrss);
    slot->minor_faults = narrowed(usage->ru_minflt);
    slot->major_faults = narrowed(usage->ru_majflt);
    slot->voluntary_switches = narrowed(usage->ru_nvcsw);
    slot->involuntary_switches = narrowed(usage->ru_nivcsw);
}

/* Children are few and ends are rare beside forks, so a walk finds the slot. A spare has its slot from its word, which
 * stands still once it has said that nobody had it. */
static void child_ended(pid_t pid, int exit_code, const struct rusage *usage)
{
    if (mproc__spare_lost(nursery.shared, pid))
        return;
    spares_adopt();
    for (unsigned i = 0; i < nursery.used; i++)
        if (nursery.pids[i] == pid) {
            mproc__slot_shared *slot = &nursery.shared->slots[i];
            nursery.pids[i] = 0;
            slot->exit_code = exit_code;
            usage_write(usage, slot);
            atomic_store_explicit(&slot->state, MPROC__SLOT_ENDED, memory_order_release);
            mproc__eventcount_post(&nursery.shared->ended, true);
            return;
        }
}

static void children_reap(void)
{
    struct rusage usage;
    int exit_code;
    for (pid_t pid; (pid = mproc__supervise_reap(&exit_code, &usage)) > 0;)
        child_ended(pid, exit_code, &usage);
}

/* The owner is dead. What it had asked for and is not begun need not begin, so its socket's descriptor is free. With a low
 * limit that number may be above it, and before Linux 6.9 a look at a child takes two. */
static bool watched_kill(void)
{
    close(nursery.socket);
    if (mproc__watched_kill(nursery.shared))
        return true;
    mproc__supervise_free_fds();
    return mproc__watched_kill(nursery.shared);
}

/* The whole system may be short of descriptors. There is nothing else to do than to kill them. */
static void watched_kill_rest(void)
{
    const struct timespec nap = {.tv_nsec = KILL_AGAIN_NS};
    do
        nanosleep(&nap, NULL);
    while (!mproc__watched_kill(nursery.shared));
}

/* Its own by the pids that it knows, at first: then nobody waits for a look at all. */
static void everybody_kill(void)
{
    bool all = watched_kill();
    for (unsigned i = 0; i < nursery.used; i++)
        if (nursery.pids[i] > 0)
            kill(nursery.pids[i], SIGKILL);
    mproc__supervise_kill_all();
    if (!all)
        watched_kill_rest();
}

/* ---- preload ---- */

/* A preloaded function may take its time, or never return, and others may have to be killed meanwhile. Only system calls:
 * no child of this process's own exists yet. The signal comes also when a mere thread of the owner has ended. */
static void preload_owner_ended(int signal_number)
{
    (void)signal_number;
    int error = errno;
    if (getppid() != nursery.owner_pid) {
        if (!watched_kill())
            watched_kill_rest();
        _exit(0);
    }
    errno = error;
}

static void preload_run(mproc_variant list)
{
    struct sigaction action = {.sa_handler = preload_owner_ended, .sa_flags = SA_RESTART}, before;
    sigfillset(&action.sa_mask);
    sigaction(SIGUSR1, &action, &before);
    preload_owner_ended(SIGUSR1); /* it may have died before the handler was there */
    if (mproc__preload_run(list) < 0)
        mproc__story_copy(mproc__story(), &nursery.refusal);
    sigaction(SIGUSR1, &before, NULL);
    mproc__supervise_signals();
}

/* ---- life ---- */

/* A start sends only what differs from what this process was made with; main before mproc_init, constructors and
 * preloaded functions may have changed that. */
static int surroundings_settle(mproc_variant environment)
{
    size_t size_bytes = 0;
    const void *given = mproc_variant_get_bytes(environment, &size_bytes);
    mproc__directory_tell(nursery.shared);
    if (mproc__environment_is(given, size_bytes))
        return 0;
    char *strings = malloc(size_bytes + 1);
    if (!strings)
        return -ENOMEM;
    memcpy(strings, given, size_bytes);
    int rc = mproc__environment_become(strings, size_bytes);
    if (rc < 0)
        free(strings);
    return rc;
}

/* Out of the way of the program's own streams: a reader of them must see their end when the program ends
 * them. */
static void standard_fds_leave(void)
{
    for (int i = 0; i < 3; i++) {
        int fd = open("/dev/null", i == 0 ? O_RDONLY : O_RDWR); /* input is the children's, too */
        if (fd >= 0 && fd != i)
            dup2(fd, i);
        if (fd > 2)
            close(fd);
    }
}

static int nursery_begin(mproc_call *call)
{
    int fds[2] = {(int)mproc_call_arg(call, 0).number, (int)mproc_call_arg(call, 1).number};
    unsigned owner_row = (unsigned)mproc_call_int(call, 2);
    nursery.socket = fds[1];
    int keep[2] = {fds[0] < fds[1] ? fds[0] : fds[1], fds[0] < fds[1] ? fds[1] : fds[0]};
    mproc_variant stop_words = mproc_call_arg(call, 4);
    int rc = stop_words.kind == MPROC_KIND_NULL ? 0 : mproc__slots_adopt((int)stop_words.number);
    mproc__fd_close_others(3, keep, 2);
    nursery.pids = mproc__memory_unforked(MPROC__SLOTS * sizeof *nursery.pids);
    if (rc == 0 && (!nursery.pids || !mproc__spares_begin()))
        rc = mproc__fail_plain(-ENOMEM);
    if (rc == 0)
        rc = mproc__segment_attach(fds[0], MPROC_TYPE_PROCESS, &nursery.segment);
    if (rc < 0)
        return rc;
    nursery.shared = mproc__segment_root(nursery.segment);
    mproc__supervise_stack();
    rc = mproc__supervise_begin(nursery.segment, &nursery.shared->command, owner_row);
    if (rc == 0)
        rc = mproc__segment_join(nursery.segment);
    if (rc >= 0)
        atomic_store_explicit(&nursery.shared->row, (uint32_t)rc + 1, memory_order_release);
    if (rc >= 0) {
        nursery.owner_pid = mproc__segment_row_pid(nursery.segment, owner_row);
        preload_run(mproc_call_arg(call, 3)); /* with the program's streams */
        rc = surroundings_settle(mproc_call_arg(call, 5));
        mproc__object_note();
    }
    standard_fds_leave();
    return rc < 0 ? rc : 0;
}

int mproc__nursery_main(mproc_call *call)
{
    if (nursery_begin(call) < 0)
        _exit(1);
    for (;;) {
        uint32_t ticket = mproc__supervise_prepare();
        children_reap(); /* first: somebody may wait for the word */
        bool all = commands_run() && doomed_undo();
        spares_adopt();
        if (atomic_load_explicit(&nursery.shared->stop, memory_order_acquire)) {
            mproc__spares_end(); /* all others have been joined */
            _exit(0);
        }
        /* A command that the kernel had no memory to hand over still waits, and nobody will post it again. */
        mproc_deadline due = nursery.refusal.code < 0 ? MPROC_FOREVER : mproc__spares_due(nursery.shared);
        mproc_deadline again = mproc_after_ms(AGAIN_MS);
        int rc = mproc__supervise_wait(ticket, all || due.ns < again.ns ? due : again);
        if (rc == -EOWNERDEAD) {
            everybody_kill();
            _exit(0);
        }
        if (rc == -ETIMEDOUT && nursery.refusal.code == 0)
            mproc__spare_add(nursery.shared, nursery.socket);
    }
}
