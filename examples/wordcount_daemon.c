/* SPDX-License-Identifier: BSD-2-Clause */
/* A managerd of wordcount's own: fresh key, fresh address, gone when wordcount is gone. */
#include "wordcount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    READY_MS = 10000,
    STOP_MS = 5000,
    LIFELINE_FD = 3, /* in managerd */
    READY_FD = 4
};

extern char **environ;

static int complain(const char *what, int code)
{
    fprintf(stderr, "wordcount: %s: %s\n", what, strerror(-code));
    return code;
}

/* The key's file has no name for longer than managerd and we need to read it. The address is abstract: no file either. */
static int key_make(daemon_process *daemon)
{
    unsigned char random[40];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return -EIO;
    int used = snprintf(daemon->address, sizeof daemon->address, "unix:@wordcount-%ld-", (long)getpid());
    for (int i = 32; i < 40; i++)
        used += snprintf(daemon->address + used, sizeof daemon->address - (size_t)used, "%02x", random[i]);
    snprintf(daemon->key_file, sizeof daemon->key_file, "/tmp/wordcount-key-XXXXXX");
    int fd = mkostemp(daemon->key_file, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = write(fd, random, 32) == 32 ? 0 : -EIO;
    close(fd);
    if (rc < 0)
        unlink(daemon->key_file);
    return rc;
}

static int program_spawn(daemon_process *daemon, int lifeline, int ready)
{
    const char *program = getenv("MANAGERD");
    char lifeline_text[8], ready_text[8];
    snprintf(lifeline_text, sizeof lifeline_text, "%d", LIFELINE_FD);
    snprintf(ready_text, sizeof ready_text, "%d", READY_FD);
    if (!program)
        program = "managerd";
    char *const argv[] = {(char *)"managerd", (char *)"--listen",
                          daemon->address,    (char *)"--key-file",
                          daemon->key_file,   (char *)"--lifeline-fd",
                          lifeline_text,      (char *)"--ready-fd",
                          ready_text,         NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, lifeline, LIFELINE_FD);
    posix_spawn_file_actions_adddup2(&actions, ready, READY_FD);
    /* A group of its own: Ctrl-C reaches us, and we stop it in order. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int rc = -posix_spawnp(&daemon->pid, program, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc < 0 ? complain(program, rc) : 0;
}

/* One byte: it listens. End of file: it ended before, and said why on stderr. */
static int ready_wait(int ready)
{
    struct pollfd one = {.fd = ready, .events = POLLIN};
    char byte;
    int n = poll(&one, 1, READY_MS);
    if (n == 0)
        return complain("managerd", -ETIMEDOUT);
    if (n < 0 || read(ready, &byte, 1) != 1) {
        fprintf(stderr, "wordcount: managerd did not start\n");
        return -ECHILD;
    }
    return 0;
}

/* Ends above the numbers that managerd gets, so that no dup2 overwrites another's source. */
static int pipe_high(int ends[2])
{
    int low[2], rc = 0;
    if (pipe2(low, O_CLOEXEC) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        ends[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 10);
        if (ends[i] < 0)
            rc = -errno;
        close(low[i]);
    }
    return rc;
}

int daemon_start(daemon_process *daemon)
{
    int lifeline[2], ready[2];
    *daemon = (daemon_process){.lifeline = -1};
    int rc = key_make(daemon);
    if (rc < 0)
        return complain("key file in /tmp", rc);
    if ((rc = pipe_high(lifeline)) < 0 || (rc = pipe_high(ready)) < 0) {
        unlink(daemon->key_file);
        return complain("pipe", rc);
    }
    rc = program_spawn(daemon, lifeline[0], ready[1]);
    close(lifeline[0]);
    close(ready[1]);
    daemon->lifeline = lifeline[1];
    if (rc == 0)
        rc = ready_wait(ready[0]);
    close(ready[0]);
    if (rc < 0)
        daemon_stop(daemon);
    return rc;
}

bool daemon_running(daemon_process *daemon)
{
    int status;
    if (daemon->pid <= 0)
        return false;
    if (waitpid(daemon->pid, &status, WNOHANG) != daemon->pid)
        return true;
    daemon->pid = 0;
    if (WIFSIGNALED(status))
        fprintf(stderr, "wordcount: managerd at %s was killed by signal %d\n", daemon->address,
                WTERMSIG(status));
    else
        fprintf(stderr, "wordcount: managerd at %s ended with exit code %d\n", daemon->address,
                WEXITSTATUS(status));
    return false;
}

void daemon_stop(daemon_process *daemon)
{
    if (daemon->lifeline >= 0)
        close(daemon->lifeline); /* the order to end; SIGTERM says the same to one that is busy */
    daemon->lifeline = -1;
    unlink(daemon->key_file);
    if (daemon->pid <= 0)
        return;
    kill(daemon->pid, SIGTERM);
    const struct timespec pause = {.tv_nsec = 1000000};
    pid_t ended = 0;
    for (int ms = 0; ms < STOP_MS && (ended = waitpid(daemon->pid, NULL, WNOHANG)) == 0; ms++)
        nanosleep(&pause, NULL);
    if (ended == 0) {
        kill(daemon->pid, SIGKILL);
        waitpid(daemon->pid, NULL, 0);
    }
    daemon->pid = 0;
}
