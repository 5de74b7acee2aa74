/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz targets: each is LLVMFuzzerTestOneInput in a file of its own, for two drivers. fuzz_main.c, with any compiler, runs
 * the corpus and random changes to it, from a seed that it prints; libFuzzer (configure --enable-fuzzers, clang) searches on
 * its own. A target aborts by FUZZ_CHECK when something is not as promised. */
#ifndef MPROC__TESTS_FUZZ_H
#define MPROC__TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

/* Takes the first byte of an input as a choice; 0 when there is none. */
static inline unsigned fuzz_byte(const uint8_t **data, size_t *size_bytes)
{
    if (*size_bytes == 0)
        return 0;
    ++*data;
    --*size_bytes;
    return (*data)[-1];
}

#endif
