/* SPDX-License-Identifier: BSD-2-Clause */
/* The streams of a child that was forked: what they hold is the parent's. */
#include "platform/base.h"

#include <stdio.h>
#include <stdio_ext.h>

#include "process/child.h"

/* Whether a stream has anything to forget. libc's calls are on pages of their own, and to purge an empty stream would copy
 * its page, too; the fields are those that its own macros read. Of wide streams it must be asked, or not at all. */
MPROC__FORK_TEXT static bool stream_unwritten(FILE *stream)
{
    return stream->_mode > 0 ? __fpending(stream) > 0 : stream->_IO_write_ptr != stream->_IO_write_base;
}

MPROC__FORK_TEXT static bool stream_unread(const FILE *stream)
{
    return stream->_mode > 0 || stream->_IO_read_ptr != stream->_IO_read_end || stream->_IO_save_base;
}

/* libc has no call that goes through all streams but those that flush; its list of them is part of its binary interface. */
extern FILE *_IO_list_all;

MPROC__FORK_TEXT bool mproc__child_streams_unwritten(void)
{
    bool found = false;
    for (FILE *stream = _IO_list_all; stream && !found; stream = stream->_chain)
        found = stream_unwritten(stream);
    return found;
}

MPROC__FORK_TEXT void mproc__child_streams_forget(void)
{
    for (FILE *stream = _IO_list_all; stream; stream = stream->_chain)
        if (stream_unwritten(stream))
            __fpurge(stream);
}

MPROC__FORK_TEXT void mproc__child_stdin_forget(void)
{
    if (stream_unread(stdin))
        __fpurge(stdin);
}
