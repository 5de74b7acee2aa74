/* SPDX-License-Identifier: BSD-2-Clause */
/* What both ways share, and stepping: a comparison after every instruction by one PTRACE_SINGLESTEP, one wait, one read of
 * registers and one process_vm_readv, 10-20 us together. */
#include "platform/base.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kill/trace.h"

enum { CODE_BYTES = 2, DIFFERENCES_SHOWN = 12, STEPS_MAX = 5000000 };

static int next_pc(pid_t pid, uintptr_t *ret_pc)
{
    struct user_regs_struct registers;
    struct iovec io = {.iov_base = &registers, .iov_len = sizeof(registers)};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)(uintptr_t)NT_PRSTATUS, &io) != 0)
        return -1;
#if defined(__x86_64__)
    *ret_pc = registers.rip;
#elif defined(__aarch64__)
    *ret_pc = registers.pc;
#else
#error "say where the program counter is"
#endif
    return 0;
}

/* Half an instruction is enough on aarch64: svc #0 is 0xd4000001, bytes 01 00 00 d4; a data word cannot stand at pc. */
static bool is_system_call(const uint8_t *code)
{
#if defined(__x86_64__)
    return code[0] == 0x0f && code[1] == 0x05;
#else
    return code[0] == 0x01 && code[1] == 0x00;
#endif
}

int trace_look(trace *t)
{
    uint8_t code[CODE_BYTES] = {0};
    struct iovec local[2] = {{t->now, t->size_bytes}, {code, sizeof(code)}};
    if (next_pc(t->how.pid, &t->pc) != 0)
        return -1;
    t->ranges[t->range_count] = (struct iovec){(void *)t->pc, CODE_BYTES};
    ssize_t length = process_vm_readv(t->how.pid, local, 2, t->ranges, t->range_count + 1, 0);
    t->next_is_system_call = is_system_call(code);
    return length == (ssize_t)(t->size_bytes + CODE_BYTES) ? 0 : -1;
}

int trace_add_range(trace *t, uintptr_t start, size_t length)
{
    if (t->range_count == TRACE_RANGES)
        return -1;
    t->ranges[t->range_count++] = (struct iovec){(void *)start, length};
    t->size_bytes += length;
    return 0;
}

/* A mapping, less the quiet bytes in it. */
static int add_mapping(trace *t, uintptr_t start, uintptr_t end)
{
    if (t->how.pages)
        return trace_pages_add(t, start, end);
    for (unsigned i = 0; i < t->how.quiet_count; i++) {
        uintptr_t from = (uintptr_t)t->how.quiet[i].iov_base, to = from + t->how.quiet[i].iov_len;
        if (from <= start || to >= end)
            continue;
        if (trace_add_range(t, start, from - start) != 0)
            return -1;
        start = to;
    }
    return trace_add_range(t, start, end - start);
}

/* All shared writable mappings (the fence takes the right from some) but the page with the flags. */
static int find_ranges(trace *t)
{
    char path[64], line[4352], rights[8];
    unsigned long start, end;
    int result = 0;
    uintptr_t flags = (uintptr_t)t->how.returned;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)t->how.pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return -1;
    while (result == 0 && fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx %7s", &start, &end, rights) == 3 && rights[1] == 'w' && rights[3] == 's' &&
            (flags < start || flags >= end))
            result = add_mapping(t, start, end);
    fclose(maps);
    return result;
}

static int find_robust_head(trace *t)
{
    void *head = NULL;
    size_t length = 0;
    if (syscall(SYS_get_robust_list, t->how.pid, &head, &length) != 0)
        return -1;
    return trace_add_range(t, (uintptr_t)head, TRACE_HEAD_WORDS * sizeof(uint64_t));
}

int trace_find(trace *t)
{
    t->range_count = 0;
    t->mapping_count = 0;
    t->size_bytes = 0;
    if (find_ranges(t) != 0 || find_robust_head(t) != 0)
        return -1;
    free(t->before);
    free(t->now);
    t->before = malloc(t->size_bytes);
    t->now = malloc(t->size_bytes);
    if (!t->before || !t->now || trace_look(t) != 0)
        return -1;
    memcpy(t->before, t->now, t->size_bytes);
    return 0;
}

int trace_begin(trace *t, const trace_how *how)
{
    *t = (trace){.how = *how};
    unsigned long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
    if (ptrace(PTRACE_SETOPTIONS, how->pid, NULL, (void *)options) == 0 && trace_find(t) == 0 &&
        (t->how.stepping || fence_begin(t) == 0))
        return 0;
    fprintf(stderr, "killsweep: cannot trace the process: %s\n", strerror(errno));
    trace_end(t);
    return -1;
}

/* One instruction. A signal that arrives meanwhile is dropped: nobody sends one but a case that wants it to fail. */
static trace_step step(trace *t)
{
    int status;
    t->last_pc = t->pc;
    t->last_was_system_call = t->next_is_system_call;
    t->last_was_quiet = t->quiet;
    uint8_t *spare = t->before;
    t->before = t->now;
    t->now = spare;
    if (ptrace(PTRACE_SINGLESTEP, t->how.pid, NULL, NULL) != 0)
        return TRACE_LOST;
    pid_t waited = waitpid(t->how.pid, &status, __WALL);
    if (waited < 0 && errno == EINTR)
        return TRACE_STUCK;
    if (waited < 0 || !WIFSTOPPED(status))
        return TRACE_LOST;
    if (t->last_was_system_call)
        t->how.settle(t->how.context);
    t->steps++;
    if (trace_look(t) != 0)
        return TRACE_LOST;
    t->quiet = t->next_is_system_call && trace_call_is_quiet(t->how.pid);
    return TRACE_MARK;
}

static trace_step step_to_mark(trace *t)
{
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        trace_step result = step(t);
        if (result != TRACE_MARK)
            return result;
        if (atomic_load(t->how.returned) != 0)
            return TRACE_RETURNED;
        if ((t->next_is_system_call && !t->quiet) || (t->last_was_system_call && !t->last_was_quiet) ||
            memcmp(t->before, t->now, t->size_bytes) != 0)
            return TRACE_MARK;
    }
    return TRACE_STUCK;
}

char trace_state(pid_t pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    const char *after = length > 0 ? strrchr(text, ')') : NULL;
    return after ? after[2] : '?';
}

trace_step trace_next(trace *t)
{
    return t->how.stepping ? step_to_mark(t) : fence_next(t);
}

void trace_unfence(trace *t)
{
    if (!t->how.stepping)
        fence_open(t);
}

/* `function at file:line`, as far as addr2line knows; it comes with the linker. */
static void print_place(uintptr_t pc, FILE *to)
{
    char command[4352], name[512] = "?", line[512] = "?";
    Dl_info info;
    if (dladdr((void *)pc, &info) == 0 || !info.dli_fname) {
        fprintf(to, "  place    %#lx\n", (unsigned long)pc);
        return;
    }
    snprintf(command, sizeof(command), "addr2line -f -e '%s' %#lx 2>/dev/null", info.dli_fname,
             (unsigned long)(pc - (uintptr_t)info.dli_fbase));
    FILE *tool = popen(command, "re");
    if (tool && fgets(name, sizeof(name), tool))
        (void)!fgets(line, sizeof(line), tool);
    if (tool)
        pclose(tool);
    name[strcspn(name, "\n")] = line[strcspn(line, "\n")] = '\0';
    fprintf(to, "  place    %s at %s (%#lx in %s)\n", name, line, (unsigned long)pc, info.dli_fname);
}

static void print_difference(const trace *t, FILE *to)
{
    size_t offset = 0;
    unsigned shown = 0;
    for (unsigned range = 0; range < t->range_count; range++)
        for (size_t i = 0; i < t->ranges[range].iov_len; i += sizeof(uint64_t), offset += sizeof(uint64_t)) {
            uint64_t was, is;
            memcpy(&was, t->before + offset, sizeof(was));
            memcpy(&is, t->now + offset, sizeof(is));
            if (was != is && shown++ < DIFFERENCES_SHOWN)
                fprintf(to, "  memory   %s+%#zx  %016lx -> %016lx\n",
                        range + 1 == t->range_count ? "robust list head" : "shared mapping", i,
                        (unsigned long)was, (unsigned long)is);
        }
    if (shown == 0)
        fprintf(to, "  memory   unchanged by the last instruction\n");
}

void trace_print(const trace *t, FILE *to)
{
    fprintf(to, "  step     %lu%s\n", (unsigned long)t->steps,
            t->next_is_system_call    ? ", before a system call"
            : t->last_was_system_call ? ", after a system call"
                                      : "");
    print_place(t->steps > 0 ? t->last_pc : t->pc, to);
    print_difference(t, to);
}

void trace_end(trace *t)
{
    free(t->before);
    free(t->now);
    t->before = t->now = NULL;
    if (t->pagemap > 0)
        close(t->pagemap - 1);
    t->pagemap = 0;
}
