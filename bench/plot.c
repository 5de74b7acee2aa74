/* SPDX-License-Identifier: BSD-2-Clause */
/* Bars of medians with whiskers from the least to the most, one panel above the other, as SVG. */
#include "platform/base.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum {
    WIDTH = 860,
    LABEL_WIDTH = 250, /* left of the axis */
    VALUE_WIDTH = 90,  /* right of the longest bar */
    BAR_HEIGHT = 18,
    BAR_STEP = 26,
    PANEL_HEAD = 34,
    PANEL_FOOT = 46,
    MARGIN = 16
};

typedef struct panel {
    const char *name, *unit;
    double least, most; /* powers of ten */
    unsigned count;
    double top;
} panel;

/* "9.2 M", "640": three digits at most. */
static void brief(double figure, char *ret_text, size_t capacity)
{
    static const struct {
        double from;
        const char *mark;
    } marks[] = {{1e9, " G"}, {1e6, " M"}, {1e3, " k"}, {1, ""}, {0, ""}};
    size_t i = 0;
    while (marks[i].from > figure)
        i++;
    double shown = marks[i].from > 0 ? figure / marks[i].from : figure;
    snprintf(ret_text, capacity, shown >= 99.5 ? "%.0f%s" : "%.2g%s", shown, marks[i].mark);
}

static double across(const panel *p, double figure)
{
    double share = (log10(figure) - log10(p->least)) / (log10(p->most) - log10(p->least));
    return LABEL_WIDTH + share * (WIDTH - LABEL_WIDTH - VALUE_WIDTH);
}

/* The extent of a panel, and the axis' ends: the powers of ten around all whiskers. */
static panel panel_of(const char *name, const bench_bar *bars, size_t count)
{
    panel p = {.name = name, .least = INFINITY};
    for (size_t i = 0; i < count; i++)
        if (strcmp(bars[i].panel, name) == 0) {
            p.unit = bars[i].unit;
            p.count++;
            p.least = fmin(p.least, bars[i].least);
            p.most = fmax(p.most, bars[i].most);
        }
    p.least = pow(10, floor(log10(p.least) - 0.05));
    p.most = pow(10, ceil(log10(p.most)));
    return p;
}

static void draw_axis(FILE *out, const panel *p)
{
    double bottom = p->top + PANEL_HEAD + p->count * BAR_STEP;
    fprintf(out, "<text x=\"%d\" y=\"%.0f\" class=\"head\">%s</text>\n", MARGIN, p->top + 20, p->name);
    for (double at = p->least; at <= p->most * 1.001; at *= 10) {
        char text[32];
        double x = across(p, at);
        brief(at, text, sizeof text);
        fprintf(out, "<line x1=\"%.1f\" y1=\"%.0f\" x2=\"%.1f\" y2=\"%.0f\" class=\"grid\"/>\n", x,
                p->top + PANEL_HEAD - 4, x, bottom);
        fprintf(out, "<text x=\"%.1f\" y=\"%.0f\" class=\"tick\">%s</text>\n", x, bottom + 14, text);
    }
    fprintf(out, "<text x=\"%d\" y=\"%.0f\" class=\"tick\">%s, logarithmic; whiskers: least to most</text>\n",
            (LABEL_WIDTH + WIDTH - VALUE_WIDTH) / 2, bottom + 29, p->unit);
}

static void draw_bar(FILE *out, const panel *p, const bench_bar *bar, unsigned number)
{
    char text[32];
    double top = p->top + PANEL_HEAD + number * BAR_STEP, middle = top + BAR_HEIGHT / 2.0;
    double end = across(p, bar->figure), from = across(p, bar->least), to = across(p, bar->most);
    brief(bar->figure, text, sizeof text);
    fprintf(out, "<text x=\"%d\" y=\"%.1f\" class=\"label\">%s</text>\n", LABEL_WIDTH - 8, middle + 4,
            bar->label);
    fprintf(out, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" class=\"%s\"/>\n", LABEL_WIDTH, top,
            end - LABEL_WIDTH, BAR_HEIGHT, bar->ours ? "ours" : "peer");
    fprintf(out, "<path d=\"M%.1f %.1fH%.1fM%.1f %.1fv10M%.1f %.1fv10\" class=\"whisker\"/>\n", from, middle,
            to, from, middle - 5, to, middle - 5);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"value\">%s</text>\n", to + 8, middle + 4, text);
}

static void draw_panel(FILE *out, const panel *p, const bench_bar *bars, size_t count)
{
    unsigned number = 0;
    draw_axis(out, p);
    for (size_t i = 0; i < count; i++)
        if (strcmp(bars[i].panel, p->name) == 0)
            draw_bar(out, p, &bars[i], number++);
}

static bool is_first_of_panel(const bench_bar *bars, size_t i)
{
    for (size_t before = 0; before < i; before++)
        if (strcmp(bars[before].panel, bars[i].panel) == 0)
            return false;
    return true;
}

static void draw(FILE *out, const bench_bar *bars, size_t count)
{
    double height = MARGIN;
    for (size_t i = 0; i < count; i++)
        height += BAR_STEP + (is_first_of_panel(bars, i) ? PANEL_HEAD + PANEL_FOOT : 0);
    fprintf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\">\n"
        "<style>text{font:12px sans-serif;fill:#222}.head{font-weight:bold;font-size:15px}"
        ".label{text-anchor:end}.tick{text-anchor:middle;font-size:11px;fill:#666}.grid{stroke:#ddd}"
        ".ours{fill:#1f6fb2}.peer{fill:#b9c2cc}.whisker{stroke:#222;fill:none}</style>\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
        WIDTH, height, WIDTH, height);
    double top = MARGIN / 2.0;
    for (size_t i = 0; i < count; i++)
        if (is_first_of_panel(bars, i)) {
            panel p = panel_of(bars[i].panel, bars, count);
            p.top = top;
            draw_panel(out, &p, bars, count);
            top += PANEL_HEAD + PANEL_FOOT + p.count * BAR_STEP;
        }
    fprintf(out, "</svg>\n");
}

int bench_plot(const char *path, const bench_bar *bars, size_t count)
{
    char whole[PATH_MAX];
    FILE *out = fopen(path, "we");
    if (out)
        draw(out, bars, count);
    if (!out || ferror(out) || fclose(out) != 0) {
        fprintf(stderr, "bench: cannot write the plot to %s\n", path);
        return -1;
    }
    fprintf(stderr, "bench: plot: %s\n", realpath(path, whole) ? whole : path);
    return 0;
}
