# SPDX-License-Identifier: BSD-2-Clause
# MPROC_WARNINGS: sets MPROC_CFLAGS to the warnings that the compiler knows, each tried alone.
AC_DEFUN([MPROC_WARNINGS], [
AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [make warnings errors])], [], [enable_werror=no])
MPROC_CFLAGS="-fvisibility=hidden"
mproc_save_cflags=$CFLAGS
mproc_warnings_summary=""
for mproc_flag in -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
    -Wformat=2 -Wundef -Wvla -Wwrite-strings -Wpointer-arith -Wimplicit-fallthrough \
    -Wcast-align -Wno-missing-field-initializers -Werror=implicit-function-declaration -Werror=incompatible-pointer-types \
    -Werror=return-type; do
    CFLAGS="$mproc_save_cflags -Werror $mproc_flag"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[]], [[]])],
        [MPROC_CFLAGS="$MPROC_CFLAGS $mproc_flag"], [mproc_warnings_summary="$mproc_warnings_summary (without $mproc_flag)"])
done
CFLAGS=$mproc_save_cflags
AS_IF([test "$enable_werror" = yes], [MPROC_CFLAGS="$MPROC_CFLAGS -Werror"])
mproc_warnings_summary="on, errors: $enable_werror$mproc_warnings_summary"
AC_SUBST([MPROC_CFLAGS])
])
