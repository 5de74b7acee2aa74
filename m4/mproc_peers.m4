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
AM_CONDITIONAL([PEER_BOOST], [test "$mproc_peer_boost" = yes])
AM_CONDITIONAL([PEER_ZEROMQ], [test "$mproc_peer_zeromq" = yes])
AM_CONDITIONAL([PEER_NNG], [test "$mproc_peer_nng" = yes])
mproc_peers_summary="Boost: $mproc_peer_boost, ZeroMQ: $mproc_peer_zeromq, nng: $mproc_peer_nng"
])
