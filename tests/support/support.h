/* SPDX-License-Identifier: BSD-2-Clause */
/* What every Check test stands on: a fixture that hunts leaks, children with deadlines, faults on demand.
 *
 * A test program, whole:
 *
 *     #include "platform/base.h"
 *     #include "support/support.h"
 *
 *     // shows: PROC-02 START-C
 *     START_TEST(a_started_process_is_alive)
 *     {
 *         ...ck_assert_int_eq(...)...
 *     }
 *     END_TEST
 *
 *     int main(int argc, char **argv)
 *     {
 *         Suite *suite = suite_create("process");
 *         TCase *life = support_case(suite, "life");       // fixture and time limit included
 *         tcase_add_test(life, a_started_process_is_alive);
 *         return support_run(suite, argc, argv);
 *     }
 *
 * and in tests/<layer>/Makefile.inc, inside `if HAVE_CHECK`:
 *
 *     check_PROGRAMS += tests/process/check_process
 *     TESTS += tests/process/check_process
 *     tests_process_check_process_SOURCES = tests/process/check_process.c
 *     tests_process_check_process_CPPFLAGS = $(SUPPORT_CPPFLAGS)
 *     tests_process_check_process_LDADD = $(SUPPORT_LIBS) $(L5_LIBS)
 *
 * Each test runs in a process of its own (CK_FORK=no: in this one, for a debugger). The teardown fails the test when
 * a descriptor, child, thread, shared mapping, /dev/shm name or file below $XDG_RUNTIME_DIR is left that was not there at
 * setup, when a descriptor of the setup is gone, or when the signal mask or SIGCHLD's disposition has changed.
 * The test process is a subreaper: children of children count, also those that left the process group.
 * What lives as long as the program by design (a nursery, say) is made first and then excused by
 * support_leaks_begin(). Nothing here needs the library. */
#ifndef MPROC__TESTS_SUPPORT_H
#define MPROC__TESTS_SUPPORT_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whether the thread sanitizer is in: it adds a thread of its own, which wakes ten times a second, to every process. Tests
 * that count threads or wake-ups are left out then, by name, in their main. */
#define SUPPORT_THREAD_SANITIZER MPROC__THREAD_SANITIZER

/* Whether any sanitizer is in: a process's addresses and memory are beyond the limits that a test may want to set. */
#ifdef MPROC__SANITIZED
#define SUPPORT_SANITIZED 1
#else
#define SUPPORT_SANITIZED 0
#endif

/* ---- run.c: suites ---- */
/* Adds a case with the leak fixture and a limit of 20 s (scaled) for each test; tcase_set_timeout changes it. */
TCase *support_case(Suite *suite, const char *name);
/* Runs all, or what CK_RUN_SUITE and CK_RUN_CASE name; writes the results as TAP to $MPROC_TEST_RESULTS/<program>.tap where
 * that variable is set. Returns main's exit status. Ends orphans, removes the scratch directory. */
int support_run(Suite *suite, int argc, char **argv);
/* A directory of this test program, empty at first, removed at the end; short enough for socket names. */
const char *support_directory(void);
/* Milliseconds stretched for slow builds and machines: times $MPROC_TEST_SCALE (default 1), times 5 with sanitizers. */
int support_ms(int milliseconds);
/* At this process's exit, the leak sanitizer does not look: for a child forked beside threads, in which all that only they
 * could reach seems lost. */
void support_sanitizer_skip(void);

/* ---- leaks.c: the hunter; support_case installs it ---- */
/* Remembers what exists now. The fixture calls it at setup. */
void support_leaks_begin(void);
/* Lists what differs from the beginning, a line each, into buffer; returns the number of lines. */
unsigned support_leaks_find(char *buffer, size_t size_bytes);
/* Kills all children of this process, also those that come to it by their parents' death, and waits for them. */
void support_children_kill(void);

/* ---- child.c: processes that report by exit status ---- */
typedef int support_fn(void *context);
/* Forks a child that runs fn and leaves by _exit(its return value). The child must not use ck_assert. */
pid_t support_fork(support_fn *fn, void *context);
/* Waits: the exit status, 256 + signal for a killed child, or -1 when the time (scaled) passed: then it is killed. */
int support_reap(pid_t child, int limit_ms);
/* Runs a program of the build by the shell: its path below the build's top, and arguments. The status as above; what it wrote
 * to both outputs is in `output`, cut off where that ends. */
int support_program(const char *command, char *output, size_t size_bytes);
/* Kills with SIGKILL and reaps. */
void support_kill(pid_t child);
/* Looks again and again (every 0.5 to 8 ms) until predicate is true, or the time (scaled) passed: then false. */
bool support_until(bool (*predicate)(void *context), void *context, int limit_ms);
/* Until the (single-threaded) process or thread sleeps in the kernel and stays there for some looks. */
bool support_until_asleep(pid_t tid, int limit_ms);

/* ---- fault.c: allocations that fail; malloc, calloc, realloc, strdup and their kin in the program and the library,
 * not inside libc or Check ---- */
/* The n-th allocation from now on fails once (1: the next), 0: none does. In this thread's process only. */
void support_fail_allocation(unsigned n);
/* Whether that failure has happened. The usual loop: for (n = 1; ; n++) { support_fail_allocation(n); rc = call();
 * if (!support_allocation_failed()) break; ...rc must be -ENOMEM, nothing leaked, the next try works... } */
bool support_allocation_failed(void);

#endif
