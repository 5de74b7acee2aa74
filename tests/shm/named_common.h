/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of names in /dev/shm share. */
#ifndef MPROC__TESTS_SHM_NAMED_COMMON_H
#define MPROC__TESTS_SHM_NAMED_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Gives this process a /dev/shm of its own, empty, with the options of a tmpfs ("size=64k"; NULL: none), so that no other
 * test's cleaning is taken for ours. False: not allowed to; the test that needs it says so and passes. */
bool named_own_directory(const char *options);
/* Prints why a test has shown nothing here. */
void named_skipped(const char *why);
/* Entries of /dev/shm whose name begins so. */
unsigned named_count(const char *prefix);
/* A file of /dev/shm, by its name there. */
bool named_exists(const char *file);
void named_write(const char *file, const void *data, size_t bytes);
/* Changes a file in place; a negative size_bytes keeps the size. */
void named_damage(const char *file, off_t offset, const void *data, size_t bytes, off_t size_bytes);
char *named_path(const char *file, char path[300]);

/* Collects what is logged; count and last line. */
typedef struct named_log {
    unsigned count;
    char last[512];
} named_log;
void named_log_begin(named_log *log);

#endif
