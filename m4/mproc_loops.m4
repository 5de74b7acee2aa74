# SPDX-License-Identifier: BSD-2-Clause
# MPROC_LOOPS: which libraries there are to show descriptors in. Examples of those that are missing are not built.
AC_DEFUN([MPROC_LOOPS], [
PKG_CHECK_MODULES([LIBUV], [libuv >= 1.0], [mproc_loop_uv=yes], [mproc_loop_uv=no])
PKG_CHECK_MODULES([LIBEVENT], [libevent >= 2.0], [mproc_loop_event=yes], [mproc_loop_event=no])
AM_CONDITIONAL([LOOP_UV], [test "$mproc_loop_uv" = yes])
AM_CONDITIONAL([LOOP_EVENT], [test "$mproc_loop_event" = yes])
mproc_loops_summary="libuv: $mproc_loop_uv, libevent: $mproc_loop_event"
])
