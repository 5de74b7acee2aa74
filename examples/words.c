/* SPDX-License-Identifier: BSD-2-Clause */
#include "words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct slot {
    uint64_t count; /* 0: empty */
    char *word;
    uint32_t length;
    uint32_t hash;
} slot;

/* Words lie one behind the other in chunks, so that a million of them are not a million allocations. */
typedef struct chunk {
    struct chunk *next;
    size_t used, capacity;
    char bytes[];
} chunk;

struct words {
    slot *slots; /* open addressing; a power of two, at most three quarters full */
    size_t capacity, count;
    chunk *chunks;
};

enum { FIRST_SLOTS = 1024, CHUNK_BYTES = 256 * 1024, READ_BYTES = 64 * 1024 };

words *words_create(void)
{
    words *table = calloc(1, sizeof *table);
    if (!table)
        return NULL;
    table->capacity = FIRST_SLOTS;
    table->slots = calloc(table->capacity, sizeof *table->slots);
    if (!table->slots) {
        free(table);
        return NULL;
    }
    return table;
}

static void chunks_free(chunk *list)
{
    while (list) {
        chunk *next = list->next;
        free(list);
        list = next;
    }
}

void words_free(words *table)
{
    if (!table)
        return;
    chunks_free(table->chunks);
    free(table->slots);
    free(table);
}

void words_clear(words *table)
{
    if (table->chunks) {
        chunks_free(table->chunks->next);
        table->chunks->next = NULL;
        table->chunks->used = 0;
    }
    /* Not more than a table of this size needs: most files are small, and clearing and walking a large one costs more than
     * counting their words. */
    while (table->capacity > FIRST_SLOTS && table->capacity > 8 * table->count)
        table->capacity /= 2;
    memset(table->slots, 0, table->capacity * sizeof *table->slots);
    table->count = 0;
}

static uint32_t hash_of(const char *word, size_t length)
{
    uint32_t hash = 2166136261u; /* FNV-1a: short keys, and no stranger chooses them to hurt us for long */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)word[i]) * 16777619u;
    return hash;
}

static slot *slot_find(slot *slots, size_t capacity, const char *word, size_t length, uint32_t hash)
{
    size_t at = hash & (capacity - 1);
    while (slots[at].count && !(slots[at].hash == hash && slots[at].length == length &&
                                memcmp(slots[at].word, word, length) == 0))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static int table_grow(words *table)
{
    size_t capacity = table->capacity * 2;
    slot *slots = calloc(capacity, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < table->capacity; i++) {
        const slot *old = &table->slots[i];
        if (old->count)
            *slot_find(slots, capacity, old->word, old->length, old->hash) = *old;
    }
    free(table->slots);
    table->slots = slots;
    table->capacity = capacity;
    return 0;
}

static char *word_store(words *table, const char *word, size_t length)
{
    chunk *last = table->chunks;
    if (!last || last->capacity - last->used < length) {
        last = malloc(sizeof *last + CHUNK_BYTES);
        if (!last)
            return NULL;
        *last = (chunk){.next = table->chunks, .capacity = CHUNK_BYTES};
        table->chunks = last;
    }
    char *at = last->bytes + last->used;
    memcpy(at, word, length);
    last->used += length;
    return at;
}

int words_add(words *table, const char *word, size_t length, uint64_t count)
{
    if (table->count * 4 >= table->capacity * 3 && table_grow(table) < 0)
        return -ENOMEM;
    uint32_t hash = hash_of(word, length);
    slot *found = slot_find(table->slots, table->capacity, word, length, hash);
    if (!found->count) {
        char *stored = word_store(table, word, length);
        if (!stored)
            return -ENOMEM;
        *found = (slot){.word = stored, .length = (uint32_t)length, .hash = hash};
        table->count++;
    }
    found->count += count;
    return 0;
}

uint64_t words_find(const words *table, const char *word, size_t length)
{
    return slot_find(table->slots, table->capacity, word, length, hash_of(word, length))->count;
}

size_t words_count(const words *table)
{
    return table->count;
}

bool words_next(const words *table, size_t *cursor, const char **ret_word, size_t *ret_length,
                uint64_t *ret_count)
{
    for (; *cursor < table->capacity; ++*cursor) {
        const slot *at = &table->slots[*cursor];
        if (!at->count)
            continue;
        *ret_word = at->word;
        *ret_length = at->length;
        *ret_count = at->count;
        ++*cursor;
        return true;
    }
    return false;
}

/* ---- scanning ---- */

typedef struct scanner {
    words *table;
    char word[WORD_BYTES];
    size_t length; /* of the run so far; stops growing one above WORD_BYTES */
    bool skipping; /* inside a run that began before the piece */
    uint64_t too_long;
} scanner;

static int run_end(scanner *scan)
{
    size_t length = scan->length;
    scan->length = 0;
    if (scan->skipping || length == 0) {
        scan->skipping = false;
        return 0;
    }
    if (length > WORD_BYTES) {
        scan->too_long++;
        return 0;
    }
    return words_add(scan->table, scan->word, length, 1);
}

static bool letter_of(unsigned char byte, char *ret_lower)
{
    *ret_lower = (char)(byte | 0x20);
    return *ret_lower >= 'a' && *ret_lower <= 'z';
}

/* Feeds bytes; *ret_done once the last run of the piece has ended: `inside` bytes of these belong to the piece. */
static int scan_bytes(scanner *scan, const unsigned char *bytes, size_t count, uint64_t inside,
                      bool *ret_done)
{
    for (size_t i = 0; i < count; i++) {
        char lower;
        bool letter = letter_of(bytes[i], &lower);
        if (i >= inside && (scan->length == 0 || !letter || scan->skipping)) {
            *ret_done = true;
            return run_end(scan);
        }
        if (!letter) {
            int rc = run_end(scan);
            if (rc < 0)
                return rc;
            continue;
        }
        if (scan->skipping)
            continue;
        if (scan->length < WORD_BYTES)
            scan->word[scan->length] = lower;
        if (scan->length <= WORD_BYTES)
            scan->length++;
    }
    return 0;
}

static int scan_start(scanner *scan, int fd, uint64_t offset)
{
    unsigned char before;
    char lower;
    if (offset == 0)
        return 0;
    ssize_t n = pread(fd, &before, 1, (off_t)(offset - 1));
    if (n < 0)
        return -errno;
    scan->skipping = n == 1 && letter_of(before, &lower);
    return 0;
}

static int scan_piece(scanner *scan, int fd, uint64_t offset, uint64_t length)
{
    unsigned char buffer[READ_BYTES];
    uint64_t at = 0;
    bool done = false;
    int rc = scan_start(scan, fd, offset);
    while (rc == 0 && !done) {
        ssize_t n = pread(fd, buffer, sizeof buffer, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return run_end(scan);
        uint64_t inside = at < length ? length - at : 0;
        rc = scan_bytes(scan, buffer, (size_t)n, inside, &done);
        at += (uint64_t)n;
    }
    return rc;
}

int words_scan(words *table, int fd, uint64_t offset, uint64_t length, uint64_t *ret_too_long)
{
    scanner *scan = calloc(1, sizeof *scan); /* 64 KiB: too much for a small thread's stack */
    if (!scan)
        return -ENOMEM;
    scan->table = table;
    int rc = scan_piece(scan, fd, offset, length);
    *ret_too_long += scan->too_long;
    free(scan);
    return rc;
}

/* ---- messages: piece, too_long, then (count, length, letters) for each word; same machine, so native order ---- */

size_t words_encode(const words *table, uint32_t piece, uint32_t too_long, void *buffer)
{
    char *out = buffer;
    size_t at = 2 * sizeof(uint32_t), cursor = 0, length;
    const char *word;
    uint64_t count;
    if (out) {
        memcpy(out, &piece, sizeof piece);
        memcpy(out + sizeof piece, &too_long, sizeof too_long);
    }
    while (words_next(table, &cursor, &word, &length, &count)) {
        uint32_t head[2] = {(uint32_t)count, (uint32_t)length};
        if (out) {
            memcpy(out + at, head, sizeof head);
            memcpy(out + at + sizeof head, word, length);
        }
        at += sizeof head + length;
    }
    return at;
}

int words_peek(const void *message, size_t size, uint32_t *ret_piece)
{
    if (size < 2 * sizeof(uint32_t))
        return -EBADMSG;
    memcpy(ret_piece, message, sizeof *ret_piece);
    return 0;
}

int words_decode(words *table, const void *message, size_t size, uint32_t *ret_piece, uint32_t *ret_too_long)
{
    const char *in = message;
    size_t at = 2 * sizeof(uint32_t);
    if (words_peek(message, size, ret_piece) < 0)
        return -EBADMSG;
    memcpy(ret_too_long, in + sizeof *ret_piece, sizeof *ret_too_long);
    while (at < size) {
        uint32_t head[2];
        if (size - at < sizeof head)
            return -EBADMSG;
        memcpy(head, in + at, sizeof head);
        at += sizeof head;
        if (head[1] > size - at)
            return -EBADMSG;
        int rc = words_add(table, in + at, head[1], head[0]);
        if (rc < 0)
            return rc;
        at += head[1];
    }
    return 0;
}
