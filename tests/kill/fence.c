/* SPDX-License-Identifier: BSD-2-Clause */
/* From change to change at full speed. The process finds its shared mappings read-only: a store stops it, is let through as
 * one step with the mapping writable, and compared. Stores to the robust list head stop it by debug registers, for that
 * is in memory which cannot be made read-only (the kernel writes to the same page). System calls stop it by ptrace.
 *
 * The kernel marks robust mutexes at death by the process's own rights, so before it is killed (or sleeps, where it may
 * be killed) the mappings must be writable again. */
#include "platform/base.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kill/trace.h"

#if defined(__x86_64__)

enum {
    CALL_BYTES = 2,    /* of a system call instruction */
    WINDOW_BYTES = 64, /* the widest store */
    SYSTEM_CALL_STOP = SIGTRAP | 0x80
};

/* Two watches, each on 8 bytes, for writing. */
#define DEBUG_CONTROL (1ul | 1ul << 2 | 9ul << 16 | 9ul << 20)

static int debug_register(const trace *t, unsigned number, unsigned long value)
{
    size_t offset = offsetof(struct user, u_debugreg) + number * sizeof(long);
    return (int)ptrace(PTRACE_POKEUSER, t->how.pid, (void *)offset, (void *)value);
}

bool fence_supported(void)
{
    static const uint64_t watched[2];
    const trace probe = {.how.pid = fork()};
    int status;
    if (probe.how.pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        kill(getpid(), SIGSTOP);
        _exit(0);
    }
    bool supported = probe.how.pid > 0 && waitpid(probe.how.pid, &status, 0) > 0 && WIFSTOPPED(status) &&
                     debug_register(&probe, 0, (uintptr_t)&watched[0]) == 0 &&
                     debug_register(&probe, 1, (uintptr_t)&watched[1]) == 0 &&
                     debug_register(&probe, 7, DEBUG_CONTROL) == 0;
    if (probe.how.pid > 0) {
        kill(probe.how.pid, SIGKILL);
        waitpid(probe.how.pid, NULL, 0);
    }
    return supported;
}

/* Waits for the stop; its signal, or -1. */
static int wait_stop(const trace *t)
{
    int status;
    if (waitpid(t->how.pid, &status, __WALL) < 0 || !WIFSTOPPED(status))
        return -1;
    return WSTOPSIG(status);
}

/* Lets the process do a system call of ours. It stands anywhere but at the beginning of one of its own. */
static int inject(const trace *t, long number, uintptr_t first, uintptr_t second, uintptr_t third)
{
    struct user_regs_struct saved, registers;
    if (ptrace(PTRACE_GETREGS, t->how.pid, NULL, &saved) != 0)
        return -1;
    registers = saved;
    registers.rip = t->system_call;
    registers.rax = (unsigned long)number;
    registers.orig_rax = (unsigned long)-1;
    registers.rdi = first;
    registers.rsi = second;
    registers.rdx = third;
    if (ptrace(PTRACE_SETREGS, t->how.pid, NULL, &registers) != 0 ||
        ptrace(PTRACE_SINGLESTEP, t->how.pid, NULL, NULL) != 0 || wait_stop(t) != SIGTRAP ||
        ptrace(PTRACE_GETREGS, t->how.pid, NULL, &registers) != 0 ||
        ptrace(PTRACE_SETREGS, t->how.pid, NULL, &saved) != 0)
        return -1;
    return registers.rax == 0 ? 0 : -1;
}

/* The whole pages that a range is in: at its ends there may be quiet bytes. */
static struct iovec pages_of(const trace *t, unsigned range)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)t->ranges[range].iov_base;
    uintptr_t end = start + t->ranges[range].iov_len + page - 1;
    start -= start % page;
    return (struct iovec){(void *)start, end - end % page - start};
}

static int set_rights(const trace *t, unsigned range, int rights)
{
    struct iovec pages = pages_of(t, range);
    return inject(t, SYS_mprotect, (uintptr_t)pages.iov_base, pages.iov_len, (uintptr_t)rights);
}

/* All mappings; the last range is the list head. */
static int set_fence(trace *t, bool fenced)
{
    int result = 0;
    if (t->fenced == fenced)
        return 0;
    for (unsigned i = 0; i + 1 < t->range_count; i++)
        result |= set_rights(t, i, fenced ? PROT_READ : PROT_READ | PROT_WRITE);
    t->fenced = fenced;
    return result;
}

int fence_begin(trace *t)
{
    uintptr_t head = (uintptr_t)t->ranges[t->range_count - 1].iov_base;
    t->system_call = t->pc - CALL_BYTES; /* the one by which it stopped itself */
    if (debug_register(t, 0, head) != 0 || debug_register(t, 1, head + 2 * sizeof(uint64_t)) != 0 ||
        debug_register(t, 7, DEBUG_CONTROL) != 0)
        return -1;
    return set_fence(t, true);
}

/* From the beginning of a system call back to before its instruction. */
static int call_back_out(trace *t)
{
    struct user_regs_struct saved, registers;
    if (ptrace(PTRACE_GETREGS, t->how.pid, NULL, &saved) != 0)
        return -1;
    registers = saved;
    registers.orig_rax = (unsigned long)-1;
    if (ptrace(PTRACE_SETREGS, t->how.pid, NULL, &registers) != 0 ||
        ptrace(PTRACE_SYSCALL, t->how.pid, NULL, NULL) != 0 || wait_stop(t) != SYSTEM_CALL_STOP)
        return -1;
    saved.rip -= CALL_BYTES;
    saved.rax = saved.orig_rax;
    saved.orig_rax = (unsigned long)-1;
    t->in_system_call = false;
    return (int)ptrace(PTRACE_SETREGS, t->how.pid, NULL, &saved);
}

static int call_enter(trace *t)
{
    if (ptrace(PTRACE_SYSCALL, t->how.pid, NULL, NULL) != 0 || wait_stop(t) != SYSTEM_CALL_STOP)
        return -1;
    t->in_system_call = true;
    return 0;
}

void fence_open(trace *t)
{
    if (t->in_system_call && !t->asleep && call_back_out(t) != 0)
        return;
    set_fence(t, false); /* is open where it sleeps */
    debug_register(t, 7, 0);
}

/* ---- what changed ---- */

static void forget_change(trace *t)
{
    memcpy(t->before + t->changed_at, t->now + t->changed_at, t->changed_bytes);
    t->changed_bytes = 0;
}

static uintptr_t within(uintptr_t address, uintptr_t from, uintptr_t to)
{
    return address < from ? from : address > to ? to : address;
}

/* The window around an address, as far as it is in the range, and where that is in `now`. */
static size_t window_of(const trace *t, unsigned range, uintptr_t address, struct iovec *ret_window)
{
    size_t offset = 0;
    for (unsigned i = 0; i < range; i++)
        offset += t->ranges[i].iov_len;
    uintptr_t start = (uintptr_t)t->ranges[range].iov_base, end = start + t->ranges[range].iov_len;
    uintptr_t from = within(address - WINDOW_BYTES, start, end);
    uintptr_t to = within(address + 2 * WINDOW_BYTES, start, end);
    *ret_window = (struct iovec){(void *)from, to - from};
    return offset + (from - start);
}

static bool window_changed(trace *t, unsigned range, uintptr_t address)
{
    struct iovec window;
    size_t at = window_of(t, range, address, &window);
    uint8_t code[CALL_BYTES] = {0};
    struct user_regs_struct registers;
    t->last_pc = t->pc;
    if (ptrace(PTRACE_GETREGS, t->how.pid, NULL, &registers) == 0)
        t->pc = registers.rip;
    struct iovec local[2] = {{t->now + at, window.iov_len}, {code, sizeof(code)}};
    struct iovec remote[2] = {window, {(void *)t->pc, sizeof(code)}};
    (void)!process_vm_readv(t->how.pid, local, 2, remote, 2, 0);
    t->last_was_system_call = false;
    t->changed_at = at;
    t->changed_bytes = window.iov_len;
    bool changed = memcmp(t->before + at, t->now + at, window.iov_len) != 0;
    t->next_is_system_call = changed && code[0] == 0x0f && code[1] == 0x05;
    return changed;
}

static bool is_in(const struct iovec *range, uintptr_t address)
{
    return address - (uintptr_t)range->iov_base < range->iov_len;
}

/* Of quiet bytes in a fenced page the range behind them, if that begins in it: a store to them may reach there. */
static int range_of(const trace *t, uintptr_t address)
{
    for (unsigned i = 0; i + 1 < t->range_count; i++)
        if (is_in(&t->ranges[i], address))
            return (int)i;
    for (int i = (int)t->range_count - 2; i >= 0; i--) {
        struct iovec pages = pages_of(t, (unsigned)i);
        if (is_in(&pages, address))
            return i;
    }
    return -1;
}

/* Stopped by its store to a fenced mapping: let that one instruction through. */
static trace_step store(trace *t)
{
    siginfo_t info;
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETSIGINFO, t->how.pid, NULL, &info) != 0 ||
        ptrace(PTRACE_GETREGS, t->how.pid, NULL, &registers) != 0)
        return TRACE_LOST;
    uintptr_t address = (uintptr_t)info.si_addr;
    int range = range_of(t, address);
    if (range < 0 || set_rights(t, (unsigned)range, PROT_READ | PROT_WRITE) != 0 ||
        ptrace(PTRACE_SINGLESTEP, t->how.pid, NULL, NULL) != 0 || wait_stop(t) != SIGTRAP)
        return TRACE_LOST;
    t->pc = registers.rip;
    bool changed = window_changed(t, (unsigned)range, address);
    if (set_rights(t, (unsigned)range, PROT_READ) != 0)
        return TRACE_LOST;
    return changed ? TRACE_MARK : TRACE_NOTHING;
}

/* ---- system calls ---- */

static bool maps_anew(unsigned long number)
{
    return number == SYS_mmap || number == SYS_munmap || number == SYS_mremap || number == SYS_mprotect;
}

/* Those that the call made or removed; new ones get their fence. */
static int find_again(trace *t)
{
    (void)set_fence(t, false); /* of what is left */
    return trace_find(t) != 0 || set_fence(t, true) != 0 ? -1 : 0;
}

/* The kernel could not write where the process could: again, without the fence. */
static trace_step call_again(trace *t, struct user_regs_struct *registers)
{
    registers->rip -= CALL_BYTES;
    registers->rax = registers->orig_rax;
    registers->orig_rax = (unsigned long)-1;
    t->quiet = false;
    if (ptrace(PTRACE_SETREGS, t->how.pid, NULL, registers) != 0 || set_fence(t, false) != 0 ||
        call_enter(t) != 0)
        return TRACE_LOST;
    return TRACE_NOTHING;
}

static trace_step call_ended(trace *t)
{
    struct user_regs_struct registers;
    t->in_system_call = false;
    if (ptrace(PTRACE_GETREGS, t->how.pid, NULL, &registers) != 0)
        return TRACE_LOST;
    if ((long)registers.rax == -EFAULT && t->fenced)
        return call_again(t, &registers);
    if (t->quiet) /* and it wrote nothing, for behind the fence the kernel could not */
        return TRACE_NOTHING;
    t->how.settle(t->how.context);
    int failed =
        maps_anew(registers.orig_rax) ? find_again(t) : set_fence(t, true) != 0 || trace_look(t) != 0;
    t->last_pc = registers.rip - CALL_BYTES;
    t->pc = registers.rip;
    t->last_was_system_call = true;
    t->changed_at = 0;
    t->changed_bytes = t->size_bytes;
    return failed ? TRACE_LOST : TRACE_MARK;
}

/* At its beginning; no mark if the last one was here already. */
static trace_step call_begins(trace *t)
{
    struct user_regs_struct registers;
    t->in_system_call = true;
    if (atomic_load(t->how.returned) != 0)
        return TRACE_RETURNED;
    if (ptrace(PTRACE_GETREGS, t->how.pid, NULL, &registers) != 0)
        return TRACE_LOST;
    bool marked = t->next_is_system_call && t->pc == registers.rip - CALL_BYTES;
    t->quiet = trace_call_is_quiet(t->how.pid);
    if (t->quiet)
        return TRACE_NOTHING;
    t->pc = registers.rip - CALL_BYTES;
    t->next_is_system_call = true;
    t->last_was_system_call = false;
    return marked ? TRACE_NOTHING : TRACE_MARK;
}

/* ---- going on ---- */

/* In a system call that may last: the signal of the stop, 0 when it sleeps, -1. */
static int wait_or_sleep(const trace *t)
{
    int status;
    for (;;) {
        pid_t waited = waitpid(t->how.pid, &status, __WALL | WNOHANG);
        if (waited != 0)
            return waited > 0 && WIFSTOPPED(status) ? WSTOPSIG(status) : -1;
        if (trace_state(t->how.pid) == 'S')
            return 0;
        sched_yield();
    }
}

/* Lets it go on; the signal of its next stop, 0 when it sleeps, -1. */
static int go_on(trace *t)
{
    bool watch = t->in_system_call && t->how.may_block && !t->quiet;
    if (t->asleep) {
        t->asleep = false;
        return wait_stop(t);
    }
    if (watch && (call_back_out(t) != 0 || set_fence(t, false) != 0 || call_enter(t) != 0))
        return -1;
    if (ptrace(PTRACE_SYSCALL, t->how.pid, NULL, NULL) != 0)
        return -1;
    return watch ? wait_or_sleep(t) : wait_stop(t);
}

static trace_step stopped_by(trace *t, int signal_number)
{
    if (signal_number == SYSTEM_CALL_STOP)
        return t->in_system_call ? call_ended(t) : call_begins(t);
    if (signal_number == SIGSEGV)
        return store(t);
    uintptr_t head = (uintptr_t)t->ranges[t->range_count - 1].iov_base;
    if (signal_number == SIGTRAP && window_changed(t, t->range_count - 1, head))
        return TRACE_MARK;
    return TRACE_NOTHING;
}

trace_step fence_next(trace *t)
{
    trace_step result = TRACE_NOTHING;
    forget_change(t);
    while (result == TRACE_NOTHING) {
        errno = 0;
        int signal_number = go_on(t);
        if (signal_number == 0) {
            t->asleep = true;
            return TRACE_ASLEEP;
        }
        if (signal_number < 0)
            return errno == EINTR ? TRACE_STUCK : TRACE_LOST;
        t->steps++;
        result = stopped_by(t, signal_number);
    }
    return result;
}

#else

bool fence_supported(void)
{
    return false;
}

int fence_begin(trace *t)
{
    (void)t;
    return -1;
}

trace_step fence_next(trace *t)
{
    (void)t;
    return TRACE_LOST;
}

void fence_open(trace *t)
{
    (void)t;
}

#endif
