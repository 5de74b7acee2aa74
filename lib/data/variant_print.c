/* SPDX-License-Identifier: BSD-2-Clause */
/* Variants as text for people: one line, close to JSON. */
#include "platform/base.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/handle.h"
#include "data/variant.h"

enum { PRINT_BYTES_SHOWN = 32 }; /* of a bytes value; its size follows */

typedef struct printer {
    char *buffer;
    size_t size_bytes;
    size_t used; /* also what no longer fits: the return value of snprintf */
} printer;

static void print(printer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print(printer *out, const char *format, ...)
{
    size_t left = out->used < out->size_bytes ? out->size_bytes - out->used : 0;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(left ? out->buffer + out->used : NULL, left, format, args);
    va_end(args);
    if (length > 0)
        out->used += (size_t)length;
}

/* With the fewest digits that read back as the same number, always recognisable as a double, with a point in any locale. */
static void double_print(printer *out, double value)
{
    char text[40];
    char *comma;

    if (isnan(value) || isinf(value)) {
        print(out, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    comma = strchr(text, ',');
    if (comma)
        *comma = '.';
    print(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void text_print(printer *out, const char *text, size_t size_bytes)
{
    print(out, "\"");
    for (size_t i = 0; i < size_bytes; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '"' || c == '\\')
            print(out, "\\%c", c);
        else if (c == '\n')
            print(out, "\\n");
        else if (c < ' ' || c == 0x7f)
            print(out, "\\u%04x", c);
        else
            print(out, "%c", c);
    }
    print(out, "\"");
}

static void bytes_print(printer *out, const unsigned char *bytes, size_t size_bytes)
{
    size_t shown = size_bytes < PRINT_BYTES_SHOWN ? size_bytes : PRINT_BYTES_SHOWN;

    print(out, "bytes(%zu", size_bytes);
    for (size_t i = 0; i < shown; i++)
        print(out, "%s%02x", i == 0 ? ": " : "", bytes[i]);
    print(out, "%s)", shown < size_bytes ? "..." : "");
}

static void handle_print(printer *out, const void *handle)
{
    char text[128];

    mproc_describe(handle, text, sizeof(text));
    print(out, "<%s>", text);
}

static void variant_print_at(printer *out, mproc_variant value, unsigned depth);

static void items_print(printer *out, mproc_variant value, unsigned depth)
{
    const mproc_variant *items = value.data;
    bool dict = value.kind == MPROC_KIND_DICT;

    print(out, dict ? "{" : "[");
    for (int64_t i = 0; i < value.number && depth < MPROC__VARIANT_DEPTH; i++) {
        print(out, "%s", i ? ", " : "");
        if (dict) {
            text_print(out, items[2 * i].data, (size_t)items[2 * i].number);
            print(out, ": ");
        }
        variant_print_at(out, items[dict ? 2 * i + 1 : i], depth + 1);
    }
    print(out, dict ? "}" : "]");
}

static void variant_print_at(printer *out, mproc_variant value, unsigned depth)
{
    switch (value.kind) {
    case MPROC_KIND_NULL:
        print(out, "null");
        break;
    case MPROC_KIND_BOOL:
        print(out, value.number ? "true" : "false");
        break;
    case MPROC_KIND_INT:
        print(out, "%" PRId64, value.number);
        break;
    case MPROC_KIND_DOUBLE:
        double_print(out, value.real);
        break;
    case MPROC_KIND_TEXT:
        text_print(out, value.data, (size_t)value.number);
        break;
    case MPROC_KIND_BYTES:
        bytes_print(out, value.data, (size_t)value.number);
        break;
    case MPROC_KIND_LIST:
    case MPROC_KIND_DICT:
        items_print(out, value, depth);
        break;
    case MPROC_KIND_HANDLE:
        handle_print(out, value.data);
        break;
    case MPROC_KIND_FD:
        print(out, "fd(%d)", (int)value.number);
        break;
    case MPROC_KIND_POINTER:
        print(out, "pointer(%p)", value.data);
        break;
    default:
        print(out, "invalid(%s)", value.data ? (const char *)value.data : "");
        break;
    }
}

int mproc_variant_print(mproc_variant variant, char *buffer, size_t size_bytes)
{
    printer out = {.buffer = buffer, .size_bytes = size_bytes};

    if (size_bytes > 0)
        buffer[0] = '\0';
    variant_print_at(&out, variant, 0);
    return out.used > INT32_MAX ? INT32_MAX : (int)out.used;
}
