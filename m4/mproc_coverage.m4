# SPDX-License-Identifier: BSD-2-Clause
# MPROC_COVERAGE: --enable-coverage builds for gcov; `make coverage` prints a line a file.
AC_DEFUN([MPROC_COVERAGE], [
AC_ARG_ENABLE([coverage], [AS_HELP_STRING([--enable-coverage], [count the lines that tests reach (gcov)])],
    [], [enable_coverage=no])
MPROC_COVERAGE_FLAGS=""
AS_IF([test "$enable_coverage" = yes], [
    AC_CHECK_PROGS([GCOV], [gcov])
    AS_IF([test -z "$GCOV"], [AC_MSG_ERROR([gcov is missing])])
    MPROC_COVERAGE_FLAGS="--coverage -O0"
])
AM_CONDITIONAL([COVERAGE], [test "$enable_coverage" = yes])
AC_SUBST([MPROC_COVERAGE_FLAGS])
])
