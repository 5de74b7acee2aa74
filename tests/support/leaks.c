/* SPDX-License-Identifier: BSD-2-Clause */
/* The leak hunter: lists of lines, one list a kind, before and after.
 *
 * All of it is read from /proc and the file system, nothing from the library: a hunter that asks its prey finds
 * nothing. The part of a line before the first blank is what is compared, the rest is for the reader. */
#include "platform/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

enum {
    LINE_BYTES = 320,
    LINES_MAX = 512,
    KILL_ROUNDS = 200,
    GRACE_MS = 500 /* for children and threads that are just ending */
};

typedef enum kind { DESCRIPTORS, CHILDREN, THREADS, MAPPINGS, SHM_NAMES, FILES, SIGNALS, KINDS } kind;

typedef struct list {
    unsigned count;
    char lines[LINES_MAX][LINE_BYTES];
} list;

static const char *const kind_names[KINDS] = {"descriptor", "child",        "thread", "mapping",
                                              "shm name",   "runtime file", "signal"};
static list before[KINDS], now[KINDS];

__attribute__((format(printf, 2, 3))) static void list_add(list *to, const char *format, ...)
{
    va_list args;
    if (to->count == LINES_MAX)
        return;
    va_start(args, format);
    vsnprintf(to->lines[to->count++], LINE_BYTES, format, args);
    va_end(args);
}

static bool list_has(const list *in, const char *line)
{
    size_t length = strcspn(line, " ");
    for (unsigned i = 0; i < in->count; i++)
        if (strcspn(in->lines[i], " ") == length && memcmp(in->lines[i], line, length) == 0)
            return true;
    return false;
}

/* Calls add(to, directory, name) for every entry, without "." and ".."; a directory that is not there has none. */
static void directory_each(const char *path, list *to, void (*add)(list *to, int directory, const char *name))
{
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            add(to, dirfd(directory), entry->d_name);
    closedir(directory);
}

/* The same file, whatever it is called: in a mount namespace of its own, a test sees other paths to what it has open. */
static void add_descriptor(list *to, int directory, const char *name)
{
    char target[256];
    struct stat status;
    if (atoi(name) == directory || fstat(atoi(name), &status) != 0)
        return;
    ssize_t length = readlinkat(directory, name, target, sizeof(target) - 1);
    target[length < 0 ? 0 : length] = '\0';
    list_add(to, "%s:%llx:%llx ->%s", name, (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino, target);
}

/* Children are found by their parent's number, which also shows zombies and those of another process group. */
static void add_child(list *to, int directory, const char *name)
{
    char path[300], text[512], state;
    int parent;
    snprintf(path, sizeof(path), "%s/stat", name);
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t length = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[length < 0 ? 0 : length] = '\0';
    const char *after = strrchr(text, ')'), *program = strchr(text, '(');
    if (after && program && sscanf(after + 1, " %c %d", &state, &parent) == 2 && parent == getpid())
        list_add(to, "%s %.*s state %c", name, (int)(after - program + 1), program, state);
}

static void add_name(list *to, int directory, const char *name)
{
    (void)directory;
    list_add(to, "%s", name);
}

static void add_mappings(list *to)
{
    char line[4352];
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof(line), maps)) {
        char *path = strchr(line, '/');
        line[strcspn(line, "\n")] = '\0';
        if (path && (strncmp(path, "/memfd:", 7) == 0 || strncmp(path, "/dev/shm/", 9) == 0 ||
                     strncmp(path, "/dev/zero", 9) == 0 || strncmp(path, "/SYSV", 5) == 0))
            list_add(to, "%.*s %.200s", (int)strcspn(line, " "), line, path);
    }
    if (maps)
        fclose(maps);
}

static void add_signals(list *to)
{
    sigset_t mask;
    struct sigaction action;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int number = 1; number < 65; number++)
        if (sigismember(&mask, number) == 1)
            list_add(to, "blocked-%d", number);
    sigaction(SIGCHLD, NULL, &action);
    if (action.sa_handler != SIG_DFL)
        list_add(to, "SIGCHLD-handler");
}

static void look(list lists[KINDS])
{
    for (unsigned i = 0; i < KINDS; i++)
        lists[i].count = 0;
    directory_each("/proc/self/fd", &lists[DESCRIPTORS], add_descriptor);
    directory_each("/proc", &lists[CHILDREN], add_child);
    if (!SUPPORT_THREAD_SANITIZER) /* which starts one of its own, and reports those that are left itself */
        directory_each("/proc/self/task", &lists[THREADS], add_name);
    add_mappings(&lists[MAPPINGS]);
    directory_each("/dev/shm", &lists[SHM_NAMES], add_name);
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime)
        directory_each(runtime, &lists[FILES], add_name);
    add_signals(&lists[SIGNALS]);
}

void support_leaks_begin(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    look(before);
}

/* Whether a process that is not this test's has the name open or mapped: then another test, running beside us, made it. */
static bool used_by_others(const char *shm_name)
{
    char command[LINE_BYTES + 128];
    snprintf(command, sizeof(command), "grep -lsF -- '/dev/shm/%s' /proc/[0-9]*/maps | grep -qv '^/proc/%d/'",
             shm_name, (int)getpid());
    return strchr(shm_name, '\'') == NULL && system(command) == 0;
}

static unsigned report(char *buffer, size_t size_bytes, unsigned found, const char *what, kind of,
                       const char *line)
{
    size_t used = strlen(buffer);
    snprintf(buffer + used, size_bytes - used, "%s %s: %s\n", what, kind_names[of], line);
    return found + 1;
}

static unsigned differences(char *buffer, size_t size_bytes)
{
    unsigned found = 0;
    buffer[0] = '\0';
    for (unsigned of = 0; of < KINDS; of++) {
        for (unsigned i = 0; i < now[of].count; i++)
            if (!list_has(&before[of], now[of].lines[i]))
                found = report(buffer, size_bytes, found, "leaked", (kind)of, now[of].lines[i]);
        for (unsigned i = 0; (of == DESCRIPTORS || of == SIGNALS) && i < before[of].count; i++)
            if (!list_has(&now[of], before[of].lines[i]))
                found = report(buffer, size_bytes, found, "lost", (kind)of, before[of].lines[i]);
    }
    return found;
}

/* Names that appeared meanwhile but belong to a test beside us are taken as known. */
static void excuse_foreign_names(void)
{
    for (unsigned i = 0; i < now[SHM_NAMES].count; i++)
        if (!list_has(&before[SHM_NAMES], now[SHM_NAMES].lines[i]) && used_by_others(now[SHM_NAMES].lines[i]))
            list_add(&before[SHM_NAMES], "%s", now[SHM_NAMES].lines[i]);
}

static bool nothing_differs(void *context)
{
    char buffer[8];
    (void)context;
    look(now);
    return differences(buffer, sizeof(buffer)) == 0;
}

unsigned support_leaks_find(char *buffer, size_t size_bytes)
{
    buffer[0] = '\0';
    if (support_until(nothing_differs, NULL, GRACE_MS))
        return 0;
    excuse_foreign_names();
    return differences(buffer, size_bytes);
}

void support_children_kill(void)
{
    static list children;
    for (unsigned round = 0; round < KILL_ROUNDS; round++) {
        children.count = 0;
        directory_each("/proc", &children, add_child);
        if (children.count == 0)
            return;
        for (unsigned i = 0; i < children.count; i++) {
            kill(atoi(children.lines[i]), SIGKILL);
            waitpid(atoi(children.lines[i]), NULL, 0);
        }
    }
}
