#include "cli/common/table.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GAP 2
#define ELASTIC_MIN 12 /* a column is not cut below this, unless the list of those that give way says so */
#define GONE SIZE_MAX  /* the width of a column that is left out */
#define DASHES_MAX 40  /* below a title, where no terminal bounds them */

struct table {
    const char *const *titles;
    size_t columns;
    int elastic;
    const struct table_cut *cuts; /* or NULL */
    char **cells;                 /* rows * columns */
    size_t rows;
    size_t room;
};

struct range {
    uint32_t first;
    uint32_t last;
};

static bool within(const struct range *ranges, size_t count, uint32_t code)
{
    for (size_t i = 0; i < count; i++) {
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    }
    return false;
}

#define WITHIN(ranges, code) within(ranges, sizeof(ranges) / sizeof((ranges)[0]), code)

static const struct range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},  {0x3041, 0xa4cf}, {0xac00, 0xd7a3},
                                    {0xf900, 0xfaff},   {0xfe30, 0xfe6f},  {0xff00, 0xff60}, {0xffe0, 0xffe6},
                                    {0x1f300, 0x1faff}, {0x20000, 0x3fffd}};
static const struct range combining[] = {{0x300, 0x36f}, {0x1ab0, 0x1aff}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}};
/* Zero width, line and paragraph separators, marks that reorder, tags. */
static const struct range deceptive[] = {{0xad, 0xad},     {0x61c, 0x61c},   {0x180e, 0x180e},
                                         {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
                                         {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff}};

/* Bytes of the code point at text, which it stores; 0 when it is no valid UTF-8. */
static size_t decode(const char *text, uint32_t *ret_code)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t size = at[0] < 0x80                    ? 1
                  : at[0] >= 0xc2 && at[0] < 0xe0 ? 2
                  : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
                  : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                                                  : 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    if (size == 0)
        return 0;
    uint32_t code = (uint32_t)(at[0] & masks[size]);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    if (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *ret_code = code;
    return size;
}

/* Bytes at the start of text that are printable ASCII: one column each, and harmless. Most text is nothing else. */
static size_t plain(const char *text)
{
    size_t size = 0;
    while ((unsigned char)text[size] >= 0x20 && (unsigned char)text[size] < 0x7f)
        size++;
    return size;
}

char *text_safe(const char *text)
{
    struct buf out;
    size_t start = plain(text);
    if (!text[start])
        return mem_strndup(text, start);
    buf_init(&out, 0);
    (void)buf_append(&out, text, start);
    text += start;
    while (*text) {
        uint32_t code = 0;
        size_t size = decode(text, &code);
        if (size == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            size = size ? size : 1;
            for (size_t i = 0; i < size; i++)
                (void)buf_printf(&out, "\\x%02x", (unsigned char)text[i]);
        } else if (WITHIN(deceptive, code)) {
            (void)buf_printf(&out, "\\u{%x}", (unsigned)code);
        } else {
            (void)buf_append(&out, text, size);
        }
        text += size;
    }
    return buf_take(&out);
}

static size_t code_width(uint32_t code)
{
    if (code < combining[0].first)
        return 1;
    return WITHIN(combining, code) ? 0 : WITHIN(wide, code) ? 2 : 1;
}

size_t text_width(const char *text)
{
    size_t width = plain(text);
    text += width;
    while (*text) {
        uint32_t code = 0;
        size_t size = decode(text, &code);
        width += size ? code_width(code) : 1;
        text += size ? size : 1;
    }
    return width;
}

struct table *table_new(const char *const *titles, int elastic)
{
    struct table *table = mem_alloc(sizeof(*table));
    table->titles = titles;
    table->elastic = elastic;
    while (titles[table->columns])
        table->columns++;
    return table;
}

void table_yield(struct table *table, const struct table_cut *cuts)
{
    table->cuts = cuts;
}

void table_add(struct table *table, const char *const *cells)
{
    if (table->rows == table->room) {
        table->room = table->room ? table->room * 2 : 16;
        table->cells = mem_resize(table->cells, table->room * table->columns * sizeof(table->cells[0]));
    }
    for (size_t i = 0; i < table->columns; i++)
        table->cells[table->rows * table->columns + i] = text_safe(cells[i] ? cells[i] : "");
    table->rows++;
}

size_t table_rows(const struct table *table)
{
    return table->rows;
}

/* Appends text in at most width columns, with an ellipsis when it is cut; returns the columns used. */
static size_t put_cut(struct buf *out, const char *text, size_t width)
{
    size_t columns_of_all = text_width(text);
    size_t used = 0;
    if (columns_of_all <= width) {
        (void)buf_append_text(out, text);
        return columns_of_all;
    }
    while (*text) {
        uint32_t code = 0;
        size_t size = decode(text, &code);
        size_t columns = size ? code_width(code) : 1;
        if (used + columns > width - 1) /* the last column is the ellipsis */
            break;
        (void)buf_append(out, text, size ? size : 1);
        used += columns;
        text += size ? size : 1;
    }
    (void)buf_append_text(out, "…");
    return used + 1;
}

static void put_row(struct buf *out, const struct table *table, char *const *cells, const size_t *widths)
{
    size_t last = table->columns;
    while (last > 1 && (widths[last - 1] == GONE || cells[last - 1][0] == '\0'))
        last--;
    for (size_t i = 0; i < last; i++) {
        if (widths[i] == GONE)
            continue;
        size_t used = put_cut(out, cells[i], widths[i]);
        if (i + 1 < last && used < widths[i] + GAP)
            (void)buf_printf(out, "%*s", (int)(widths[i] + GAP - used), "");
    }
    (void)buf_append(out, "\n", 1);
}

/* Takes at most excess columns off, down to least; returns how many it took. */
static size_t shrink(size_t *width, size_t least, size_t excess)
{
    size_t room = *width != GONE && *width > least ? *width - least : 0;
    size_t taken = excess < room ? excess : room;
    *width -= taken;
    return taken;
}

/* How many dashes stand below the title of a column that begins at start: as wide as what stands there, but neither over
 * the edge of the terminal nor, where there is none (width 0), as many as one long cell asks for. */
static size_t dashes_of(size_t column_width, size_t start, size_t width)
{
    size_t most = width == 0 ? DASHES_MAX : width > start ? width - start : 0;
    return column_width < most ? column_width : most;
}

/* The elastic column, then those that give way, then the widest ones. excess: how many columns are too many. */
static void fit(const struct table *table, size_t *widths, size_t excess)
{
    size_t *elastic = &widths[table->elastic];
    size_t least = text_width(table->titles[table->elastic]);
    excess -= shrink(elastic, least > ELASTIC_MIN ? least : ELASTIC_MIN, excess);
    for (const struct table_cut *cut = table->cuts; cut && cut->column >= 0 && excess > 0; cut++) {
        size_t *column = &widths[cut->column];
        if (cut->least > 0) {
            excess -= shrink(column, cut->least, excess);
        } else {
            excess = excess > *column + GAP ? excess - *column - GAP : 0;
            *column = GONE;
        }
    }
    while (excess > 0) {
        size_t widest = 0;
        for (size_t i = 1; i < table->columns; i++) {
            if (widths[i] != GONE && (widths[widest] == GONE || widths[i] > widths[widest]))
                widest = i;
        }
        if (widths[widest] <= ELASTIC_MIN)
            break;
        excess -= shrink(&widths[widest], widths[widest] - 1, 1);
    }
}

char *table_text(const struct table *table, size_t width)
{
    struct buf out;
    size_t *widths = mem_array(table->columns, sizeof(widths[0]));
    char **line = mem_array(table->columns, sizeof(line[0]));
    size_t total = 0;

    for (size_t i = 0; i < table->columns; i++) {
        widths[i] = text_width(table->titles[i]);
        for (size_t row = 0; row < table->rows; row++) {
            size_t cell = text_width(table->cells[row * table->columns + i]);
            widths[i] = cell > widths[i] ? cell : widths[i];
        }
        total += widths[i] + (i ? GAP : 0);
    }
    if (width > 0 && total > width && table->elastic >= 0)
        fit(table, widths, total - width);
    buf_init(&out, 0);
    for (size_t i = 0; i < table->columns; i++)
        line[i] = mem_strdup(table->titles[i]);
    put_row(&out, table, line, widths);
    size_t start = 0;
    for (size_t i = 0; i < table->columns; i++) {
        size_t dashes = widths[i] == GONE ? 0 : dashes_of(widths[i], start, width);
        mem_free(line[i]);
        line[i] = mem_alloc(dashes + 1);
        memset(line[i], '-', dashes);
        start += widths[i] == GONE ? 0 : widths[i] + GAP;
    }
    put_row(&out, table, line, widths);
    for (size_t row = 0; row < table->rows; row++)
        put_row(&out, table, &table->cells[row * table->columns], widths);
    for (size_t i = 0; i < table->columns; i++)
        mem_free(line[i]);
    mem_free(line);
    mem_free(widths);
    return buf_take(&out);
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->rows * table->columns; i++)
        mem_free(table->cells[i]);
    mem_free(table->cells);
    mem_free(table);
}

size_t text_terminal(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO))
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void table_print(struct table *table)
{
    char *text = table_text(table, text_terminal());
    (void)fputs(text, stdout);
    mem_free(text);
    table_free(table);
}
