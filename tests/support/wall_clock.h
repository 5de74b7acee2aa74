/* SPDX-License-Identifier: BSD-2-Clause */
/* A wall clock that can be stepped, for one program at a time: libfaketime reads how far it is off from a file, and leaves the
 * monotonic clock alone. It cannot reach waits by bare system calls: that those name no wall clock is for
 * tests/rules/clock.sh. */
#ifndef MPROC__TESTS_WALL_CLOCK_H
#define MPROC__TESTS_WALL_CLOCK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { WALL_CLOCK_DAY_S = 86400, WALL_CLOCK_SKIPPED = 77 };

/* NULL: it is not there. */
__attribute__((unused)) static const char *wall_clock_library(void)
{
    static const char *const libraries[] = {
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib64/faketime/libfaketimeMT.so.1",
        "/usr/lib/faketime/libfaketimeMT.so.1",
    };
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
        if (access(libraries[i], R_OK) == 0)
            return libraries[i];
    return NULL;
}

/* Whether the test program can run here; if not, why has been printed, and main returns WALL_CLOCK_SKIPPED. */
__attribute__((unused)) static bool wall_clock_usable(void)
{
#ifdef MPROC__SANITIZED
    puts("libfaketime and a sanitizer's runtime both want to come first");
    return false;
#endif
    if (wall_clock_library())
        return true;
    puts("libfaketime is missing (apt-get install faketime)");
    return false;
}

/* "+86400": a day forward, of the programs that were begun by wall_clock_exec. */
__attribute__((unused)) static int wall_clock_set(const char *step)
{
    FILE *file = fopen(getenv("FAKETIME_TIMESTAMP_FILE"), "we");
    if (!file)
        return -1;
    int written = fprintf(file, "%s\n", step);
    return fclose(file) == 0 && written > 0 ? 0 : -1;
}

/* In the test: whose clock is stepped. `directory`: for the file. */
__attribute__((unused)) static int wall_clock_begin(const char *directory)
{
    char path[160];
    snprintf(path, sizeof path, "%s/clock", directory);
    setenv("FAKETIME_TIMESTAMP_FILE", path, 1);
    return wall_clock_set("+0");
}

/* In a fork child of the test: becomes this program again, with these arguments, under the false clock. */
__attribute__((unused)) static void wall_clock_exec(char *const argv[])
{
    char self[64];
    snprintf(self, sizeof self, "/proc/%d/exe", (int)getpid());
    setenv("LD_PRELOAD", wall_clock_library(), 1);
    setenv("DONT_FAKE_MONOTONIC", "1", 1);
    setenv("FAKETIME_NO_CACHE", "1", 1);
    execv(self, argv);
}

/* Whether the wall clock has made its step since `before`. */
__attribute__((unused)) static bool wall_clock_stepped(time_t before)
{
    time_t passed = time(NULL) - before;
    return passed > WALL_CLOCK_DAY_S - 60 || passed < 60 - WALL_CLOCK_DAY_S;
}

#endif
