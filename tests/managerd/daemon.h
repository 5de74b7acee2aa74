/* SPDX-License-Identifier: BSD-2-Clause */
/* A private daemon, and programs whose words are looked at: what black-box tests of managerd are made of. */
#ifndef MPROC_TESTS_MANAGERD_DAEMON_H
#define MPROC_TESTS_MANAGERD_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { DAEMON_ARGUMENTS = 12, DAEMON_OUTPUT_BYTES = 4096 };

/* What a program that ran to its end had to say, standard output and error together. */
typedef struct outcome {
    int status; /* exit status, 256 + signal, or -1: it did not end in time */
    char text[DAEMON_OUTPUT_BYTES];
} outcome;

/* Runs managerd or managerctl of the build tree; arguments end with NULL. */
outcome daemon_run(const char *program, const char *const *arguments);
#define RUN(program, ...) daemon_run(program, (const char *const[]){__VA_ARGS__, NULL})

typedef struct daemon_process {
    pid_t pid;
    int lifeline; /* closing it ends the daemon; -1: closed, or none */
} daemon_process;

/* Starts managerd with these arguments and waits until it is ready. What it logs is read by daemon_log. */
daemon_process daemon_start(bool with_lifeline, const char *const *arguments);
#define START(...)       daemon_start(true, (const char *const[]){__VA_ARGS__, NULL})
#define START_ALONE(...) daemon_start(false, (const char *const[]){__VA_ARGS__, NULL})
/* Sends a signal (0: closes the lifeline instead) and returns what daemon_run would as a status. */
int daemon_end(daemon_process *daemon, int signal_number);
/* Everything daemons wrote to standard error since the test began. */
const char *daemon_log(void);

/* Paths and addresses in the test's directory; each call's result lives until the 8th after it. */
const char *daemon_path(const char *name);
const char *daemon_address(const char *name);
/* Writes a file with a mode; returns its path. */
const char *daemon_file(const char *name, const char *text, unsigned mode);
bool daemon_exists(const char *name);

#endif
