/* SPDX-License-Identifier: BSD-2-Clause */
/* A table of words and how often each was seen, and the scanner that fills it from a piece of a file. */
#ifndef WORDS_H
#define WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WORD_BYTES = 65535          /* a longer run of letters is told apart and not counted: memory stays bounded */
};

typedef struct words words;

words *words_create(void);                                              /* NULL: no memory */
void words_free(words *table);
void words_clear(words *table);                                         /* keeps its memory */
int words_add(words *table, const char *word, size_t length, uint64_t count);   /* 0 or -ENOMEM */
uint64_t words_find(const words *table, const char *word, size_t length);      /* how often; 0: not there */
size_t words_count(const words *table);
/* Walks the table in no particular order: start with *cursor = 0; false at the end. The word is not NUL-ended. */
bool words_next(const words *table, size_t *cursor, const char **ret_word, size_t *ret_length, uint64_t *ret_count);

/* Adds the words (runs of ASCII letters, lower-cased) that begin in [offset, offset + length) of a file, also when they
 * end behind it. Returns 0 or -errno; *ret_too_long grows by the runs above WORD_BYTES. */
int words_scan(words *table, int fd, uint64_t offset, uint64_t length, uint64_t *ret_too_long);

/* A message: what one piece gave. Encoding into `buffer`, or its size when buffer is NULL. */
size_t words_encode(const words *table, uint32_t piece, uint32_t too_long, void *buffer);
/* Adds a message's words to the table. 0, -ENOMEM, or -EBADMSG. */
int words_decode(words *table, const void *message, size_t size, uint32_t *ret_piece, uint32_t *ret_too_long);
/* Only the message's piece number; -EBADMSG. */
int words_peek(const void *message, size_t size, uint32_t *ret_piece);

#endif
