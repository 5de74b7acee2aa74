# SPDX-License-Identifier: BSD-2-Clause
# MPROC_ROBUST_LIST: whether pthread mutexes have the members that the short way of lib/platform/robust_list.h writes.
# What libc does with them is looked at when a program runs, since a later libc may be another.
AC_DEFUN([MPROC_ROBUST_LIST], [
AC_ARG_ENABLE([robust-list],
    [AS_HELP_STRING([--disable-robust-list], [leave every robust mutex to libc, also a free one])],
    [], [enable_robust_list=yes])
AS_IF([test "$enable_robust_list" != no], [
    AC_CACHE_CHECK([whether robust mutexes are linked both ways], [mproc_cv_robust_list],
        [AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
            #include <linux/futex.h>
            #include <pthread.h>
            #include <stddef.h>
            ]], [[
            pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
            struct __pthread_internal_list *links = &mutex.__data.__list;
            _Static_assert(sizeof(mutex.__data.__lock) == 4 && sizeof(mutex.__data.__owner) == 4, "two words");
            _Static_assert(sizeof(mutex.__data.__spins) >= 2, "room for a note");
            _Static_assert(offsetof(struct __pthread_internal_list, __next) == sizeof(void *), "the back link first");
            return links->__prev != links->__next;
            ]])], [mproc_cv_robust_list=yes], [mproc_cv_robust_list=no])])
    AS_IF([test "$mproc_cv_robust_list" = yes],
        [AC_DEFINE([HAVE_ROBUST_LIST], [1], [Robust mutexes are linked both ways])])
])
])
