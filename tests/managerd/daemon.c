/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "managerd/daemon.h"
#include "support/support.h"

/* What a started program inherits, beyond its arguments. */
typedef struct launch {
    const char *program;
    const char *const *arguments;
    int output;          /* standard output and error; -1: standard error to the log file */
    int ready, lifeline; /* -1: none */
} launch;

const char *daemon_path(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % MPROC__COUNT(paths)];
    snprintf(path, sizeof paths[0], "%s/%s", support_directory(), name);
    return path;
}

const char *daemon_address(const char *name)
{
    static char addresses[8][264];
    static unsigned next;
    char *address = addresses[next++ % MPROC__COUNT(addresses)];
    snprintf(address, sizeof addresses[0], "unix:%s", daemon_path(name));
    return address;
}

const char *daemon_file(const char *name, const char *text, unsigned mode)
{
    const char *path = daemon_path(name);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

bool daemon_exists(const char *name)
{
    struct stat st;
    return lstat(daemon_path(name), &st) == 0;
}

/* ---- starting ---- */

static int launch_exec(void *context)
{
    const launch *what = context;
    const char *folder = getenv("top_builddir");
    char path[512], ready[32], lifeline[32];
    char *words[DAEMON_ARGUMENTS + 6];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/managerd/%s", folder ? folder : ".", what->program);
    words[count++] = path;
    for (const char *const *word = what->arguments; *word; word++)
        words[count++] = (char *)(uintptr_t)*word;
    if (what->ready >= 0) {
        snprintf(ready, sizeof ready, "--ready-fd=%d", what->ready);
        words[count++] = ready;
        fcntl(what->ready, F_SETFD, 0);
    }
    if (what->lifeline >= 0) {
        snprintf(lifeline, sizeof lifeline, "--lifeline-fd=%d", what->lifeline);
        words[count++] = lifeline;
        fcntl(what->lifeline, F_SETFD, 0);
    }
    words[count] = NULL;
    int output = what->output;
    if (output < 0)
        output = open(daemon_path("log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    else
        dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execv(path, words);
    return 127;
}

/* All of a file, cut to size. */
static void file_read(const char *path, char *ret_text, size_t size_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, ret_text, size_bytes - 1);
    ret_text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

outcome daemon_run(const char *program, const char *const *arguments)
{
    outcome result;
    const char *path = daemon_file("output", "", 0600);
    int output = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    launch what = {.program = program, .arguments = arguments, .output = output, .ready = -1, .lifeline = -1};
    pid_t child = support_fork(launch_exec, &what);
    close(output);
    result.status = support_reap(child, 10000);
    file_read(path, result.text, sizeof result.text);
    unlink(path);
    return result;
}

daemon_process daemon_start(bool with_lifeline, const char *const *arguments)
{
    int ready[2], line[2] = {-1, -1};
    char byte = 0;
    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    ck_assert(!with_lifeline || pipe2(line, O_CLOEXEC) == 0);
    launch what = {
        .program = "managerd", .arguments = arguments, .output = -1, .ready = ready[1], .lifeline = line[0]};
    daemon_process daemon = {.pid = support_fork(launch_exec, &what), .lifeline = line[1]};
    close(ready[1]);
    if (with_lifeline)
        close(line[0]);
    struct pollfd item = {.fd = ready[0], .events = POLLIN};
    ck_assert_int_eq(poll(&item, 1, support_ms(10000)), 1);
    ssize_t got = read(ready[0], &byte, 1);
    close(ready[0]);
    ck_assert_msg(got == 1 && byte == '\n', "managerd did not start: %s", daemon_log());
    return daemon;
}

int daemon_end(daemon_process *daemon, int signal_number)
{
    if (signal_number != 0)
        kill(daemon->pid, signal_number);
    if (signal_number == 0) {
        close(daemon->lifeline);
        daemon->lifeline = -1;
    }
    int status = support_reap(daemon->pid, 5000);
    if (daemon->lifeline >= 0)
        close(daemon->lifeline);
    daemon->lifeline = -1;
    return status;
}

const char *daemon_log(void)
{
    static char text[DAEMON_OUTPUT_BYTES];
    file_read(daemon_path("log"), text, sizeof text);
    return text;
}
