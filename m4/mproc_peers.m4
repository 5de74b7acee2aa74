# SPDX-License-Identifier: BSD-2-Clause
# MPROC_PEERS: which libraries there are to measure beside. One that is missing is a row of the table that says so.
AC_DEFUN([MPROC_PEERS], [
AC_LANG_PUSH([C++])
AC_CHECK_HEADER([boost/interprocess/ipc/message_queue.hpp], [mproc_peer_boost=yes], [mproc_peer_boost=no])
AC_LANG_POP([C++])
PKG_CHECK_MODULES([ZMQ], [libzmq >= 4.1], [mproc_peer_zeromq=yes], [mproc_peer_zeromq=no])
mproc_peer_nng=no
AC_CHECK_HEADER([nng/nng.h], [
    AC_CHECK_LIB([nng], [nng_push0_open], [mproc_peer_nng=yes])
])
PKG_CHECK_MODULES([GLIB], [glib-2.0 >= 2.32], [mproc_peer_glib=yes], [mproc_peer_glib=no])
PKG_CHECK_MODULES([APR], [apr-1 apr-util-1], [mproc_peer_apr=yes], [mproc_peer_apr=no])
mproc_peer_openmp=no
mproc_cflags_before=$CFLAGS
CFLAGS="$CFLAGS -fopenmp"
AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <omp.h>]], [[return omp_get_max_threads() < 1;]])],
    [mproc_peer_openmp=yes; PEER_OPENMP_CFLAGS=-fopenmp])
CFLAGS=$mproc_cflags_before
AC_SUBST([PEER_OPENMP_CFLAGS])
AM_CONDITIONAL([PEER_GLIB], [test "$mproc_peer_glib" = yes])
AM_CONDITIONAL([PEER_APR], [test "$mproc_peer_apr" = yes])
AM_CONDITIONAL([PEER_OPENMP], [test "$mproc_peer_openmp" = yes])
AM_CONDITIONAL([PEER_BOOST], [test "$mproc_peer_boost" = yes])
AM_CONDITIONAL([PEER_ZEROMQ], [test "$mproc_peer_zeromq" = yes])
AM_CONDITIONAL([PEER_NNG], [test "$mproc_peer_nng" = yes])
mproc_peers_summary="Boost: $mproc_peer_boost, ZeroMQ: $mproc_peer_zeromq, nng: $mproc_peer_nng, OpenMP: $mproc_peer_openmp, GLib: $mproc_peer_glib, APR: $mproc_peer_apr"
])
