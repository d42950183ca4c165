#define PCRE2_CODE_UNIT_WIDTH 8
#include "rbac/pattern.h"

#include "base/buf.h"
#include "base/mem.h"

#include <ctype.h>
#include <pcre2.h>
#include <string.h>

#define MATCH_LIMIT 50000u
#define DEPTH_LIMIT 5000u
#define HEAP_LIMIT_KB 1024u
#define PATTERN_MAX_SIZE 1000
#define SUBJECT_MAX_SIZE 4096
#define RESULT_MAX_SIZE 16384

struct pattern {
    pcre2_code *code;
    pcre2_match_context *limits;
};

/* One escape after the backslash. Returns false when RE2 does not know it. */
static bool escape_known(char c)
{
    return c != '\0' && (!isalnum((unsigned char)c) || strchr("afnrtdDsSwWbBAzpPx", c) != NULL);
}

static bool group_known(const char *after)
{
    if (*after == '*')
        return false; /* (*VERB) */
    if (*after != '?')
        return true;
    after++;
    if (*after == ':')
        return true;
    if (*after == 'P')
        return after[1] == '<';
    if (*after == '<')
        return after[1] != '=' && after[1] != '!';
    after += strspn(after, "imsU-");
    return (*after == ')' || *after == ':') && after[-1] != '?' && after[-1] != '-';
}

/* Refuses what PCRE2 would take but RE2 would not, so that a role means the same here as elsewhere, and so that
 * matching stays cheap. */
static enum tp_err check_syntax(const char *text, struct tp_error *error)
{
    bool in_class = false;
    for (const char *p = text; *p; p++) {
        if (*p == '\\') {
            p++;
            if (!escape_known(*p))
                return err_set(error, TP_INVALID,
                               "the regular expression \"%.100s\" uses \\%.1s, which is not supported", text, p);
        } else if (in_class) {
            in_class = *p != ']';
        } else if (*p == '[') {
            in_class = true;
            if (p[1] == '^')
                p++;
            if (p[1] == ']')
                p++;
        } else if (*p == '(' && !group_known(p + 1)) {
            return err_set(error, TP_INVALID,
                           "the regular expression \"%.100s\" uses a kind of group that is not supported", text);
        } else if (strchr("*+?}", *p) && p[1] == '+') {
            return err_set(error, TP_INVALID, "the regular expression \"%.100s\" repeats a repetition", text);
        }
    }
    return TP_OK;
}

enum tp_err pattern_new(const char *text, struct pattern **ret_pattern, struct tp_error *error)
{
    struct pattern *pattern;
    pcre2_code *code;
    int number;
    size_t at;
    if (strlen(text) > PATTERN_MAX_SIZE)
        return err_set(error, TP_INVALID, "the regular expression \"%.40s...\" is longer than %d bytes", text,
                       PATTERN_MAX_SIZE);
    if (check_syntax(text, error))
        return TP_INVALID;
    code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                         PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &number,
                         &at, NULL);
    if (!code) {
        PCRE2_UCHAR why[160];
        pcre2_get_error_message(number, why, sizeof why);
        return err_set(error, TP_INVALID, "the regular expression \"%.100s\" is wrong at character %zu: %s", text,
                       at + 1, (const char *)why);
    }
    pattern = mem_alloc(sizeof *pattern);
    pattern->code = code;
    pattern->limits = pcre2_match_context_create(NULL);
    if (!pattern->limits) {
        pattern_free(pattern);
        return err_set(error, TP_INTERNAL, "no memory for a regular expression");
    }
    pcre2_set_match_limit(pattern->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(pattern->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(pattern->limits, HEAP_LIMIT_KB);
    *ret_pattern = pattern;
    return TP_OK;
}

void pattern_free(struct pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_match_context_free(pattern->limits);
    pcre2_code_free(pattern->code);
    mem_free(pattern);
}

static enum pattern_result run(const struct pattern *pattern, const char *text, size_t size, size_t start,
                               uint32_t options, pcre2_match_data *match)
{
    int count = pcre2_match(pattern->code, (PCRE2_SPTR)text, size, start, options, match, pattern->limits);
    return count >= 0 ? PATTERN_YES : count == PCRE2_ERROR_NOMATCH ? PATTERN_NO : PATTERN_FAILED;
}

enum pattern_result pattern_match(const struct pattern *pattern, const char *text)
{
    size_t size = strlen(text);
    pcre2_match_data *match;
    enum pattern_result result;
    if (size > SUBJECT_MAX_SIZE || !(match = pcre2_match_data_create_from_pattern(pattern->code, NULL)))
        return PATTERN_FAILED;
    result = run(pattern, text, size, 0, 0, match);
    pcre2_match_data_free(match);
    return result;
}

static bool name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* One capture by number or name; an unknown one is empty. */
static void append_group(const struct pattern *pattern, pcre2_match_data *match, const char *text, const char *name,
                         struct buf *out)
{
    const size_t *ends = pcre2_get_ovector_pointer(match);
    size_t group = 0;
    if (strspn(name, "0123456789") == strlen(name)) {
        for (; *name && group < 1000; name++)
            group = group * 10 + (size_t)(*name - '0');
    } else {
        int found = pcre2_substring_number_from_name(pattern->code, (PCRE2_SPTR)name);
        if (found < 0)
            return;
        group = (size_t)found;
    }
    if (group < pcre2_get_ovector_count(match) && ends[2 * group] != PCRE2_UNSET &&
        ends[2 * group] <= ends[2 * group + 1])
        buf_append(out, text + ends[2 * group], ends[2 * group + 1] - ends[2 * group]);
}

static void append_replacement(const struct pattern *pattern, pcre2_match_data *match, const char *text,
                               const char *replacement, struct buf *out)
{
    while (*replacement) {
        char name[64];
        size_t size = 0;
        const char *next = replacement + 1;
        bool braces = false;
        if (*replacement != '$') {
            buf_append(out, replacement++, 1);
            continue;
        }
        if (*next == '$') {
            buf_append(out, "$", 1);
            replacement += 2;
            continue;
        }
        if (*next == '{') {
            braces = true;
            next++;
        }
        while (name_byte(next[size]) && size < sizeof name - 1)
            size++;
        if (size == 0 || (braces && next[size] != '}')) {
            buf_append(out, replacement++, 1);
            continue;
        }
        memcpy(name, next, size);
        name[size] = '\0';
        append_group(pattern, match, text, name, out);
        replacement = next + size + braces;
    }
}

enum pattern_result pattern_replace(const struct pattern *pattern, const char *text, const char *replacement,
                                    char **ret_text)
{
    size_t size = strlen(text);
    size_t at = 0;   /* where the next match may begin */
    size_t done = 0; /* text before it is in out */
    bool any = false;
    pcre2_match_data *match;
    enum pattern_result result = PATTERN_FAILED;
    struct buf out;
    if (size > SUBJECT_MAX_SIZE || !(match = pcre2_match_data_create_from_pattern(pattern->code, NULL)))
        return PATTERN_FAILED;
    buf_init(&out, RESULT_MAX_SIZE);
    while (at <= size && (result = run(pattern, text, size, at, 0, match)) == PATTERN_YES) {
        const size_t *ends = pcre2_get_ovector_pointer(match);
        if (ends[1] < ends[0] || ends[1] < done) {
            result = PATTERN_FAILED;
            break;
        }
        any = true;
        buf_append(&out, text + done, ends[0] - done);
        append_replacement(pattern, match, text, replacement, &out);
        done = ends[1];
        at = ends[1];
        if (ends[0] == ends[1]) {
            /* An empty match: step over one whole character. */
            do
                at++;
            while (at < size && ((unsigned char)text[at] & 0xc0) == 0x80);
        }
    }
    pcre2_match_data_free(match);
    if (any && result != PATTERN_FAILED) {
        buf_append(&out, text + done, size - done);
        if (!out.failed) {
            *ret_text = buf_take(&out);
            return PATTERN_YES;
        }
        result = PATTERN_FAILED;
    }
    buf_free(&out);
    return result == PATTERN_FAILED ? PATTERN_FAILED : PATTERN_NO;
}

bool pattern_glob(const char *glob, const char *text)
{
    const char *star = NULL;   /* behind the last * */
    const char *resume = NULL; /* where that * ended in text so far */
    while (*text) {
        if (*glob == '*') {
            star = ++glob;
            resume = text;
        } else if (*glob == *text) {
            glob++;
            text++;
        } else if (star) {
            glob = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*glob == '*')
        glob++;
    return *glob == '\0';
}

bool pattern_is_regex(const char *text)
{
    size_t size = strlen(text);
    return size >= 2 && text[0] == '^' && text[size - 1] == '$';
}
