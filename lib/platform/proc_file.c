/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole files of /proc, of any size, into one buffer that is used again. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/proc.h"

void mproc__proc_text_begin(mproc__proc_text *text)
{
    text->bytes = text->inside;
    text->capacity = sizeof text->inside;
    text->length = 0;
    text->inside[0] = '\0';
}

void mproc__proc_text_end(mproc__proc_text *text)
{
    if (text->bytes != text->inside)
        free(text->bytes);
    mproc__proc_text_begin(text);
}

/* Twice as much; what is there stays. */
static int text_grow(mproc__proc_text *text)
{
    size_t capacity = text->capacity * 2;
    if (capacity > MPROC__PROC_FILE_BYTES)
        return -EFBIG;
    char *bytes = text->bytes == text->inside ? malloc(capacity) : realloc(text->bytes, capacity);
    if (!bytes)
        return -ENOMEM;
    if (text->bytes == text->inside)
        memcpy(bytes, text->inside, text->length);
    text->bytes = bytes;
    text->capacity = capacity;
    return 0;
}

/* A file that names no process's end differently: gone is gone, forbidden is forbidden. */
static int code_of(int error)
{
    if (error == ENOENT)
        return -ESRCH;
    return error == EPERM ? -EACCES : -error;
}

/* Files of one record are given whole, so that less than there was room for is the end; others are given page by page. */
static int fd_read(int fd, bool one_record, mproc__proc_text *text)
{
    for (;;) {
        int rc = text->length + 1 < text->capacity ? 0 : text_grow(text);
        if (rc < 0)
            return rc;
        size_t room = text->capacity - text->length - 1;
        ssize_t bytes = read(fd, text->bytes + text->length, room);
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes <= 0)
            return bytes == 0 ? 0 : code_of(errno);
        text->length += (size_t)bytes;
        if (one_record && (size_t)bytes < room)
            return 0;
    }
}

static int file_read(int directory_fd, const char *file, bool one_record, mproc__proc_text *text)
{
    text->length = 0;
    text->bytes[0] = '\0';
    int fd = openat(directory_fd, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return code_of(errno);
    int rc = fd_read(fd, one_record, text);
    close(fd);
    text->bytes[text->length] = '\0';
    return rc;
}

int mproc__proc_read(int directory_fd, const char *file, mproc__proc_text *text)
{
    return file_read(directory_fd, file, false, text);
}

int mproc__proc_read_record(int directory_fd, const char *file, mproc__proc_text *text)
{
    return file_read(directory_fd, file, true, text);
}

int mproc__proc_link(int directory_fd, const char *file, mproc__proc_text *text)
{
    text->length = 0;
    for (;;) {
        ssize_t bytes = readlinkat(directory_fd, file, text->bytes, text->capacity);
        if (bytes < 0) {
            text->bytes[0] = '\0';
            return code_of(errno);
        }
        if ((size_t)bytes < text->capacity) {
            text->length = (size_t)bytes;
            text->bytes[text->length] = '\0';
            return 0;
        }
        int rc = text_grow(text);
        if (rc < 0)
            return rc;
    }
}
