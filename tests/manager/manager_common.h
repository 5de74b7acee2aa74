/* SPDX-License-Identifier: BSD-2-Clause */
/* A server in a child process, for the tests of L7. */
#ifndef MPROC__TESTS_MANAGER_COMMON_H
#define MPROC__TESTS_MANAGER_COMMON_H

#include <sys/types.h>

#include <mproc/place.h>
#include <mproc/server.h>

#define TEST_KEY "a key of the tests, long enough"

/* Listens at unix:<scratch>/<name>, or at an abstract address of that kind when name begins with '@'; ready
 * when it returns. The child ends by SIGTERM (exit 0) or SIGKILL. */
pid_t common_serve(const char *name, const mproc_server_options *options);
/* The same address again, in a buffer that the next call overwrites. */
const char *common_address(const char *name);
void common_stop(pid_t server); /* SIGTERM, and checks the exit status */
/* A place there with the tests' key; ck_asserts. */
mproc_place *common_open(const char *name);
/* A bare socket connected to it. */
int common_connect(const char *name);
/* With the tests' key. */
extern const mproc_server_options common_options;

#endif
