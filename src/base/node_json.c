/* Nodes to JSON, and JSON to YAML text. */
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/node.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LONGEST_SIMPLE_KEY 500 /* libyaml's limit is 1024 characters, quotes and escapes included */

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* A whole number without needless zeros: "007" is more often a name than a number. */
static bool looks_whole(const char *text)
{
    size_t digits;
    text += *text == '-' || *text == '+';
    digits = count_digits(text);
    return digits > 0 && text[digits] == '\0' && (digits == 1 || text[0] != '0');
}

/* digits [. digits] [e [sign] digits], with a point or an exponent. */
static bool looks_decimal(const char *text)
{
    size_t before;
    size_t after = 0;
    bool special = false;
    text += *text == '-' || *text == '+';
    before = count_digits(text);
    if (before > 1 && text[0] == '0')
        return false;
    text += before;
    if (*text == '.') {
        special = true;
        after = count_digits(++text);
        text += after;
    }
    if (before + after == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        special = true;
        text++;
        text += *text == '-' || *text == '+';
        if (count_digits(text) == 0)
            return false;
        text += count_digits(text);
    }
    return special && *text == '\0';
}

/* The shortest form that reads back as the same number: 1.1, not 1.1000000000000001. */
static char *number_text(const json_t *value)
{
    for (size_t digits = 15; json_is_real(value) && digits < 17; digits++) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        double back = text ? strtod(text, NULL) : 0;
        if (text && memcmp(&back, &(double){json_real_value(value)}, sizeof(back)) == 0)
            return text;
        free(text);
    }
    return json_dumps(value, JSON_ENCODE_ANY);
}

/* A number whose own text would be lost (1.10, +5, 1e3) stays a text: a label or a version must come back as it was. */
static json_t *number_or_text(json_t *number, const char *text, bool exact)
{
    if (!exact)
        return number;
    char *printed = number_text(number);
    bool same = printed && strcmp(printed, text) == 0;
    free(printed);
    if (same)
        return number;
    json_decref(number);
    return json_string(text);
}

static json_t *scalar_to_json(const struct node *node, bool exact)
{
    if (node->quoted)
        return json_string(node->text);
    if (node_is_null(node))
        return json_null();
    if (strcmp(node->text, "true") == 0 || (!exact && strcasecmp(node->text, "true") == 0))
        return json_true();
    if (strcmp(node->text, "false") == 0 || (!exact && strcasecmp(node->text, "false") == 0))
        return json_false();
    if (looks_whole(node->text)) {
        intmax_t value;
        errno = 0;
        value = strtoimax(node->text, NULL, 10);
        return errno == 0 ? number_or_text(json_integer(value), node->text, exact) : json_string(node->text);
    }
    if (looks_decimal(node->text)) {
        double value = strtod(node->text, NULL);
        return isfinite(value) ? number_or_text(json_real(value), node->text, exact) : json_string(node->text);
    }
    return json_string(node->text);
}

static json_t *to_json(const struct node *node, bool exact)
{
    json_t *value;
    if (node->kind == NODE_SCALAR)
        return scalar_to_json(node, exact);
    value = node->kind == NODE_MAP ? json_object() : json_array();
    for (size_t i = 0; i < node->count; i++) {
        json_t *child = to_json(node->items[i], exact);
        if (node->kind == NODE_MAP)
            (void)json_object_set_new(value, node->keys[i], child);
        else
            (void)json_array_append_new(value, child);
    }
    return value;
}

json_t *node_to_json(const struct node *node)
{
    return to_json(node, false);
}

json_t *node_to_json_exact(const struct node *node)
{
    return to_json(node, true);
}

/* One code point of valid UTF-8; an invalid byte gives U+FFFD. */
static uint32_t next_point(const char **text)
{
    const unsigned char *at = (const unsigned char *)*text;
    size_t more = at[0] >= 0xF0 ? 3 : at[0] >= 0xE0 ? 2 : at[0] >= 0xC0 ? 1 : 0;
    uint32_t point = more == 3 ? at[0] & 0x07u : more == 2 ? at[0] & 0x0Fu : more == 1 ? at[0] & 0x1Fu : at[0];
    for (size_t i = 1; i <= more; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            *text += 1;
            return 0xFFFD;
        }
        point = point << 6 | (at[i] & 0x3Fu);
    }
    *text += more + 1;
    return point;
}

/* YAML reads it back as it stands, on one line. */
static bool point_is_plain(uint32_t point)
{
    return (point >= 0x20 && point <= 0x7E) ||
           (point >= 0xA0 && point <= 0xD7FF && point != 0x2028 && point != 0x2029) ||
           (point >= 0xE000 && point <= 0xFFFD && point != 0xFEFF) || (point >= 0x10000 && point <= 0x10FFFF);
}

static bool all_plain(const char *text, bool line_feeds)
{
    while (*text) {
        uint32_t point = next_point(&text);
        if (!point_is_plain(point) && !(line_feeds && (point == '\n' || point == '\t')))
            return false;
    }
    return true;
}

/* Some YAML reader, old or new, would take the plain word for a boolean, null, number or time. */
static bool has_other_type(const char *text)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "=", "<<"};
    const char *digits = text + (*text == '-' || *text == '+');
    size_t dots = 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i]) == 0)
            return true;
    }
    if (strcasecmp(digits, ".inf") == 0 || strcasecmp(digits, ".nan") == 0)
        return true;
    if (!isdigit((unsigned char)digits[0]) && digits[0] != '.')
        return false;
    if (count_digits(text) == 4 && text[4] == '-')
        return true;
    for (const char *at = digits; *at; at++) {
        dots += *at == '.';
        if (!strchr("0123456789abcdefABCDEFxXoO_.:+-", *at))
            return false;
    }
    return dots < 2;
}

static bool needs_quotes(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || text[0] == ' ' || text[length - 1] == ' ' || text[length - 1] == ':')
        return true;
    if (strchr(",[]{}#&*!|>'\"%@`", text[0]))
        return true;
    if (strchr("-?:", text[0]) && (text[1] == ' ' || text[1] == '\0'))
        return true;
    if (strncmp(text, "---", 3) == 0 || strncmp(text, "...", 3) == 0)
        return true;
    return strstr(text, ": ") != NULL || strstr(text, " #") != NULL;
}

static void write_double_quoted(struct buf *out, const char *text)
{
    (void)buf_append_text(out, "\"");
    while (*text) {
        const char *start = text;
        uint32_t point = next_point(&text);
        if (point == '"' || point == '\\')
            (void)buf_printf(out, "\\%c", (char)point);
        else if (point == '\n')
            (void)buf_append_text(out, "\\n");
        else if (point == '\t')
            (void)buf_append_text(out, "\\t");
        else if (point_is_plain(point))
            (void)buf_append(out, start, (size_t)(text - start));
        else if (point > 0xFFFF)
            (void)buf_printf(out, "\\U%08" PRIX32, point);
        else
            (void)buf_printf(out, "\\u%04" PRIX32, point);
    }
    (void)buf_append_text(out, "\"");
}

static void write_line_text(struct buf *out, const char *text)
{
    if (!all_plain(text, false) || has_other_type(text)) {
        write_double_quoted(out, text);
    } else if (!*text) {
        (void)buf_append_text(out, "\"\"");
    } else if (needs_quotes(text)) {
        (void)buf_append_text(out, "'");
        for (; *text; text++)
            (void)buf_append(out, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
        (void)buf_append_text(out, "'");
    } else {
        (void)buf_append_text(out, text);
    }
}

/* The text stands well in a | block: several lines, the first not indented, at most one line feed at the end. */
static bool fits_block(const char *text)
{
    size_t length = strlen(text);
    if (!strchr(text, '\n') || strchr(" \t\n", text[0]))
        return false;
    if (length > 1 && text[length - 1] == '\n' && text[length - 2] == '\n')
        return false;
    return all_plain(text, true);
}

static void write_indent(struct buf *out, size_t indent)
{
    for (size_t i = 0; i < indent; i++)
        (void)buf_append(out, " ", 1);
}

static void write_block(struct buf *out, const char *text, size_t indent)
{
    size_t length = strlen(text);
    (void)buf_append_text(out, text[length - 1] == '\n' ? "|\n" : "|-\n");
    while (*text) {
        size_t line = strcspn(text, "\n");
        if (line > 0) {
            write_indent(out, indent);
            (void)buf_append(out, text, line);
        }
        text += line;
        text += *text == '\n';
        (void)buf_append_text(out, "\n");
    }
}

static void write_scalar(struct buf *out, const json_t *value, size_t indent)
{
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        if (fits_block(text)) {
            write_block(out, text, indent);
            return;
        }
        write_line_text(out, text);
    } else if (json_is_object(value)) {
        (void)buf_append_text(out, "{}");
    } else if (json_is_array(value)) {
        (void)buf_append_text(out, "[]");
    } else {
        char *text = number_text(value);
        (void)buf_append_text(out, text ? text : "null");
        free(text);
    }
    (void)buf_append_text(out, "\n");
}

static bool is_filled(const json_t *value)
{
    return json_object_size(value) > 0 || json_array_size(value) > 0;
}

static void write_members(struct buf *out, const json_t *value, size_t indent, bool first_in_place);

/* A list stands as deep as the key above it, as Teleport's tools print it. */
static void write_object(struct buf *out, const json_t *object, size_t indent, bool first_in_place)
{
    const char *key;
    json_t *child;
    json_object_foreach ((json_t *)(uintptr_t)object, key, child) {
        if (!first_in_place)
            write_indent(out, indent);
        first_in_place = false;
        if (strlen(key) > LONGEST_SIMPLE_KEY) {
            (void)buf_append_text(out, "? ");
            write_line_text(out, key);
            (void)buf_append_text(out, "\n");
            write_indent(out, indent);
        } else {
            write_line_text(out, key);
        }
        if (is_filled(child)) {
            (void)buf_append_text(out, ":\n");
            write_members(out, child, json_is_array(child) ? indent : indent + 2, false);
        } else {
            (void)buf_append_text(out, ": ");
            write_scalar(out, child, indent + 2);
        }
    }
}

static void write_members(struct buf *out, const json_t *value, size_t indent, bool first_in_place)
{
    size_t index;
    json_t *child;
    if (json_is_object(value)) {
        write_object(out, value, indent, first_in_place);
        return;
    }
    json_array_foreach (value, index, child) {
        if (!first_in_place)
            write_indent(out, indent);
        first_in_place = false;
        (void)buf_append_text(out, "- ");
        if (is_filled(child))
            write_members(out, child, indent + 2, true);
        else
            write_scalar(out, child, indent + 2);
    }
}

char *node_yaml_from_json(const json_t *value)
{
    struct buf out;
    buf_init(&out, 0);
    if (is_filled(value))
        write_members(&out, value, 0, false);
    else
        write_scalar(&out, value, 2);
    return buf_take(&out);
}

enum tp_err node_from_json(const json_t *value, const char *file, struct node **ret_node, struct tp_error *error)
{
    char *text = json_text(value);
    enum tp_err err = node_parse_one(text, strlen(text), file, ret_node, error);
    secret_free(text);
    return err;
}
