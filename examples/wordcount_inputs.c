/* SPDX-License-Identifier: BSD-2-Clause */
/* Which files wordcount reads, and how they are cut into pieces. */
#include "wordcount.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int inputs_add(inputs *in, const char *path)
{
    char **grown = realloc(in->paths, (in->count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    in->paths = grown;
    in->paths[in->count] = strdup(path);
    if (!in->paths[in->count])
        return -ENOMEM;
    in->count++;
    return 0;
}

static inputs *walk_inputs; /* nftw takes no context */

static int walk_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    const char *dot = strrchr(path + place->base, '.');
    if (type == FTW_F && S_ISREG(status->st_mode) && dot && strcmp(dot, ".h") == 0)
        return inputs_add(walk_inputs, path) < 0;
    return 0;
}

/* What every Debian machine has: the licences and the C headers. */
int inputs_add_defaults(inputs *in)
{
    glob_t found;
    int rc = 0;
    if (glob("/usr/share/common-licenses/*", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && rc == 0; i++)
            rc = inputs_add(in, found.gl_pathv[i]);
        globfree(&found);
    }
    walk_inputs = in;
    if (rc == 0 && nftw("/usr/include", walk_one, 16, FTW_PHYS) > 0)
        rc = -ENOMEM;
    return rc;
}

/* Opens and measures one file: what cannot be read is found before anything is started. */
static int file_size(const char *path, uint64_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0) {
        fprintf(stderr, "wordcount: %s: %s\n", path, strerror(errno));
        return -errno;
    }
    int rc = fstat(fd, &status) < 0 ? -errno : 0;
    close(fd);
    if (rc == 0 && S_ISDIR(status.st_mode))
        rc = -EISDIR;
    else if (rc == 0 && !S_ISREG(status.st_mode))
        rc = -EINVAL;
    if (rc < 0) {
        fprintf(stderr, "wordcount: %s: %s\n", path, rc == -EINVAL ? "Not a regular file" : strerror(-rc));
        return rc;
    }
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

int inputs_cut(inputs *in)
{
    in->sizes = calloc(in->count ? in->count : 1, sizeof *in->sizes);
    if (!in->sizes)
        return -ENOMEM;
    for (size_t i = 0; i < in->count; i++) {
        int rc = file_size(in->paths[i], &in->sizes[i]);
        if (rc < 0)
            return rc;
    }
    piece at = {0};
    while (inputs_next(in, &at))
        in->pieces++;
    return 0;
}

/* The next piece in order of files; false when all were given. */
bool inputs_next(const inputs *in, piece *at)
{
    uint64_t offset = at->more ? 0 : at->offset + at->length;
    uint32_t file = at->more ? at->file + at->more + 1 : at->file;
    while (file < in->count && offset >= in->sizes[file]) {
        file++;
        offset = 0;
    }
    if (file >= in->count)
        return false;
    uint64_t left = in->sizes[file] - offset, sum = left < PIECE_BYTES ? left : PIECE_BYTES;
    *at = (piece){.number = at->number + 1, .file = file, .offset = offset, .length = sum};
    while (left == at->length && file + at->more + 1 < in->count &&
           sum + in->sizes[file + at->more + 1] <= PIECE_BYTES)
        sum += in->sizes[file + ++at->more];
    return true;
}

void inputs_free(inputs *in)
{
    for (size_t i = 0; i < in->count; i++)
        free(in->paths[i]);
    free(in->paths);
    free(in->sizes);
}
