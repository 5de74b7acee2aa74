# SPDX-License-Identifier: BSD-2-Clause
# MPROC_VERSION_SCRIPT: exports exactly what lib/libmproc.map lists, where the linker can.
AC_DEFUN([MPROC_VERSION_SCRIPT], [
AC_CACHE_CHECK([whether the linker takes a version script], [mproc_cv_version_script], [
    echo "MPROC_TEST { global: main; local: *; };" >conftest.map
    mproc_save_ldflags=$LDFLAGS
    LDFLAGS="$LDFLAGS -Wl,--version-script=conftest.map"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[]], [[]])], [mproc_cv_version_script=yes], [mproc_cv_version_script=no])
    LDFLAGS=$mproc_save_ldflags
    rm -f conftest.map
])
AM_CONDITIONAL([HAVE_VERSION_SCRIPT], [test "$mproc_cv_version_script" = yes])
mproc_version_script_summary=$mproc_cv_version_script
])
