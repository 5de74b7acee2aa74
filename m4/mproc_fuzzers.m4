# SPDX-License-Identifier: BSD-2-Clause
# MPROC_FUZZERS: --enable-fuzzers builds tests/fuzz for libFuzzer, and the library with its counters.
AC_DEFUN([MPROC_FUZZERS], [
AC_ARG_ENABLE([fuzzers],
    [AS_HELP_STRING([--enable-fuzzers], [link the fuzz targets with libFuzzer (needs clang)])],
    [], [enable_fuzzers=no])
AS_IF([test "$enable_fuzzers" != no], [
    MPROC_SANITIZER_FLAGS="$MPROC_SANITIZER_FLAGS -fsanitize=fuzzer-no-link"
    AC_MSG_CHECKING([whether programs link with -fsanitize=fuzzer])
    mproc_save_cflags=$CFLAGS
    CFLAGS="$CFLAGS -fsanitize=fuzzer"
    AC_LINK_IFELSE([AC_LANG_SOURCE([[#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return size > 0 && data[0] == 1; }]])],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         AC_MSG_ERROR([libFuzzer is missing: configure with CC=clang])])
    CFLAGS=$mproc_save_cflags
])
AM_CONDITIONAL([FUZZERS], [test "$enable_fuzzers" != no])
])
