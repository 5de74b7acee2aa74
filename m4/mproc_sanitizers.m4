# SPDX-License-Identifier: BSD-2-Clause
# MPROC_SANITIZERS: --enable-sanitizers=address,undefined or =thread.
AC_DEFUN([MPROC_SANITIZERS], [
AC_ARG_ENABLE([sanitizers],
    [AS_HELP_STRING([--enable-sanitizers=LIST], [address,undefined (also with no list), or thread])],
    [], [enable_sanitizers=no])
AS_CASE([$enable_sanitizers],
    [yes], [enable_sanitizers=address,undefined],
    [*address*thread*|*thread*address*], [AC_MSG_ERROR([address and thread cannot be combined])])
MPROC_SANITIZER_FLAGS=""
AS_IF([test "$enable_sanitizers" != no], [
    MPROC_SANITIZER_FLAGS="-fsanitize=$enable_sanitizers -fno-sanitize-recover=all -fno-omit-frame-pointer"
    # gcc warns of every fence, which this sanitizer does not follow. The one it misjudged, of all posts, is written
    # for it (lib/shm/segment.h).
    AS_CASE([$enable_sanitizers], [*thread*],
        [AS_IF([$CC --version 2>/dev/null | grep -q clang], [],
            [MPROC_SANITIZER_FLAGS="$MPROC_SANITIZER_FLAGS -Wno-tsan"])])
    mproc_save_cflags=$CFLAGS
    CFLAGS="$CFLAGS $MPROC_SANITIZER_FLAGS"
    AC_MSG_CHECKING([whether programs link with $MPROC_SANITIZER_FLAGS])
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[]], [[]])], [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         AC_MSG_ERROR([the compiler does not link with these sanitizers])])
    CFLAGS=$mproc_save_cflags
    AC_DEFINE([MPROC__SANITIZED], [1], [Built with sanitizers: children need more time and memory])
])
mproc_sanitizers_summary=$enable_sanitizers
AM_CONDITIONAL([SANITIZED], [test "$enable_sanitizers" != no])
AC_SUBST([MPROC_SANITIZER_FLAGS])
])
