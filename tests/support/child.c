/* SPDX-License-Identifier: BSD-2-Clause */
/* Children that report by exit status, and waits that have a deadline. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

enum { ASLEEP_LOOKS = 3, LONGEST_PAUSE_US = 8000 };

extern void __gcov_dump(void) __attribute__((weak));

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool support_until(bool (*predicate)(void *context), void *context, int limit_ms)
{
    int64_t end_ms = now_ms() + support_ms(limit_ms);
    for (unsigned pause_us = 500;; pause_us = pause_us < LONGEST_PAUSE_US ? 2 * pause_us : pause_us) {
        bool late = now_ms() > end_ms;
        if (predicate(context))
            return true;
        if (late)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000L * pause_us}, NULL);
    }
}

pid_t support_fork(support_fn *fn, void *context)
{
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        ck_abort_msg("fork: %s", strerror(errno));
    if (child > 0)
        return child;
    int status = fn(context);
    fflush(NULL);
    if (__gcov_dump)
        __gcov_dump();
    _exit(status);
}

typedef struct reaping {
    pid_t child;
    int status;
} reaping;

static bool reaped(void *context)
{
    reaping *r = context;
    return waitpid(r->child, &r->status, WNOHANG) != 0;
}

int support_reap(pid_t child, int limit_ms)
{
    reaping r = {.child = child, .status = -1};
    if (!support_until(reaped, &r, limit_ms)) {
        support_kill(child);
        return -1;
    }
    return WIFSIGNALED(r.status) ? 256 + WTERMSIG(r.status) : WEXITSTATUS(r.status);
}

int support_program(const char *command, char *output, size_t size_bytes)
{
    char line[4352];
    const char *top = getenv("top_builddir");
    snprintf(line, sizeof line, "%s/%s 2>&1", top ? top : ".", command);
    FILE *run = popen(line, "re");
    if (!run)
        ck_abort_msg("popen: %s", strerror(errno));
    output[fread(output, 1, size_bytes - 1, run)] = '\0';
    while (fgetc(run) != EOF)
        ;
    int status = pclose(run);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

void support_kill(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

typedef struct sleeper {
    pid_t tid;
    unsigned looks;
} sleeper;

static bool asleep(void *context)
{
    sleeper *s = context;
    char path[64], text[512] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)s->tid);
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    if (file)
        fclose(file);
    text[length] = '\0';
    const char *after = strrchr(text, ')');
    s->looks = after && strncmp(after, ") S", 3) == 0 ? s->looks + 1 : 0;
    return s->looks == ASLEEP_LOOKS;
}

bool support_until_asleep(pid_t tid, int limit_ms)
{
    sleeper s = {.tid = tid};
    return support_until(asleep, &s, limit_ms);
}
