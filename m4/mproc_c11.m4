# SPDX-License-Identifier: BSD-2-Clause
# MPROC_C11: C11 with lock-free 64-bit atomics, which every shared structure relies on.
AC_DEFUN([MPROC_C11], [
AC_MSG_CHECKING([for C11 with lock-free 64-bit atomics])
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#include <stdatomic.h>
#include <stdint.h>
#if __STDC_VERSION__ < 201112L
#error not C11
#endif
_Static_assert(sizeof(_Atomic uint64_t) == 8, "size");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "lock-free");
]], [[]])], [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([a C11 compiler with lock-free 64-bit atomics is needed])])
])
