/* SPDX-License-Identifier: BSD-2-Clause */
/* What small programs begin with: everything of the library, and TRY, which ends the program with the story of the
 * first call that failed. Copy it; it is not part of the library. */
#ifndef TRY_H
#define TRY_H

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mproc.h>

#define TRY(call)                                                                          \
    do {                                                                                   \
        if ((call) < 0) {                                                                  \
            fprintf(stderr, "%.*s: %s\n", (int)strcspn(#call, "("), #call,                 \
                    mproc_error_text(mproc_last_error()));                                 \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)

#endif
