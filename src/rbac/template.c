#include "rbac/template.h"

#include "base/mem.h"
#include "rbac/pattern.h"

#include <ctype.h>
#include <string.h>

#define CALLS_MAX 8 /* functions around one trait */
#define TEMPLATE_MAX_SIZE 4096
#define VALUES_MAX 10000 /* values that one template may give */

enum call_kind { CALL_EMAIL_LOCAL, CALL_REGEXP_REPLACE };

struct call {
    enum call_kind kind;
    struct pattern *pattern; /* of regexp.replace */
    char *replacement;
};

struct template
{
    char *text;
    bool literal; /* text is the value */
    bool broken;
    bool internal;
    char *prefix;
    char *suffix;
    char *trait;    /* name of the trait, or NULL: */
    char *constant; /* a string literal as innermost argument */
    size_t call_count;
    struct call calls[CALLS_MAX]; /* innermost first */
};

struct reader {
    const char *whole;
    const char *at;
    const char *end;
    struct tp_error *error;
};

static const char *const internal_names[] = {
    "logins",   "windows_logins", "kubernetes_groups", "kubernetes_users", "db_names",
    "db_users", "db_roles",       "aws_role_arns",     "azure_identities", "gcp_service_accounts",
    "jwt",      "host_user_uid",  "host_user_gid",     "github_orgs",      "mcp_tools",
    NULL};

static enum tp_err fail(const struct reader *reader, const char *why)
{
    return err_set(reader->error, TP_INVALID, "the template \"%.120s\" is wrong at character %zu: %s", reader->whole,
                   (size_t)(reader->at - reader->whole) + 1, why);
}

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t'))
        reader->at++;
}

static bool take(struct reader *reader, const char *word)
{
    size_t size = strlen(word);
    skip_blanks(reader);
    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0)
        return false;
    reader->at += size;
    return true;
}

static enum tp_err read_string(struct reader *reader, char **ret_text)
{
    char *out;
    size_t size = 0;
    skip_blanks(reader);
    if (reader->at == reader->end || *reader->at != '"')
        return fail(reader, "a text in double quotes is expected here");
    reader->at++;
    out = mem_alloc((size_t)(reader->end - reader->at) + 1);
    while (reader->at < reader->end && *reader->at != '"') {
        if (*reader->at == '\\' && reader->at + 1 < reader->end) {
            reader->at++;
            /* Go's rules for the escapes that make sense here; an unknown one is an error, as it hides a mistake. */
            if (!strchr("\\\"nt", *reader->at)) {
                mem_free(out);
                return fail(reader, "unknown escape; write \\\\ for one backslash");
            }
            out[size++] = *reader->at == 'n' ? '\n' : *reader->at == 't' ? '\t' : *reader->at;
            reader->at++;
        } else {
            out[size++] = *reader->at++;
        }
    }
    if (reader->at == reader->end) {
        mem_free(out);
        return fail(reader, "the closing quote is missing");
    }
    reader->at++;
    *ret_text = out;
    return TP_OK;
}

static enum tp_err read_trait(struct reader *reader, struct template *item)
{
    size_t size = 0;
    item->internal = take(reader, "internal");
    if (!item->internal && !take(reader, "external"))
        return fail(reader, "internal.NAME, external.NAME, email.local(...) or regexp.replace(...) is expected here");
    if (take(reader, "[")) {
        if (read_string(reader, &item->trait))
            return TP_INVALID;
        if (!*item->trait || !take(reader, "]"))
            return fail(reader, "a name in quotes and ] are expected here");
        return TP_OK;
    }
    if (!take(reader, "."))
        return fail(reader, "a . and the name of a trait are expected here");
    while (reader->at + size < reader->end &&
           (isalnum((unsigned char)reader->at[size]) || strchr("_-", reader->at[size])))
        size++;
    if (size == 0)
        return fail(reader, "the name of a trait is expected here");
    item->trait = mem_strndup(reader->at, size);
    reader->at += size;
    return TP_OK;
}

static enum tp_err read_expression(struct reader *reader, struct template *item, size_t depth);

static enum tp_err read_replace_arguments(struct reader *reader, struct call *call)
{
    char *text = NULL;
    enum tp_err result;
    if (!take(reader, ","))
        return fail(reader, "regexp.replace takes three arguments");
    if (read_string(reader, &text))
        return TP_INVALID;
    result = pattern_new(text, &call->pattern, reader->error);
    mem_free(text);
    if (result)
        return result;
    if (!take(reader, ","))
        return fail(reader, "regexp.replace takes three arguments");
    return read_string(reader, &call->replacement);
}

static enum tp_err read_call(struct reader *reader, struct template *item, enum call_kind kind, size_t depth)
{
    struct call *call;
    if (depth >= CALLS_MAX)
        return fail(reader, "too many functions");
    if (!take(reader, "("))
        return fail(reader, "( is expected here");
    if (read_expression(reader, item, depth + 1))
        return TP_INVALID;
    call = &item->calls[item->call_count++];
    call->kind = kind;
    if (kind == CALL_REGEXP_REPLACE && read_replace_arguments(reader, call))
        return TP_INVALID;
    return take(reader, ")") ? TP_OK : fail(reader, ") is expected here");
}

static enum tp_err read_expression(struct reader *reader, struct template *item, size_t depth)
{
    if (take(reader, "email.local"))
        return read_call(reader, item, CALL_EMAIL_LOCAL, depth);
    if (take(reader, "regexp.replace"))
        return read_call(reader, item, CALL_REGEXP_REPLACE, depth);
    skip_blanks(reader);
    if (depth > 0 && reader->at < reader->end && *reader->at == '"')
        return read_string(reader, &item->constant);
    return read_trait(reader, item);
}

static const char *last_of(const char *text, const char *word)
{
    const char *found = NULL;
    const char *next;
    while ((next = strstr(found ? found + 1 : text, word)))
        found = next;
    return found;
}

static char *copy_trimmed(const char *start, const char *end, bool left)
{
    if (left)
        while (start < end && (*start == ' ' || *start == '\t'))
            start++;
    else
        while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
    return mem_strndup(start, (size_t)(end - start));
}

static enum tp_err parse_braces(struct template *item, const char *open, const char *close, struct tp_error *error)
{
    struct reader reader = {.whole = item->text, .at = open + 2, .end = close, .error = error};
    const char *rest = close + 2;
    if (strpbrk(rest, "{}") || strcspn(item->text, "{}") < (size_t)(open - item->text))
        return err_set(error, TP_INVALID, "the template \"%.120s\" has braces outside its {{ }}; one {{ }} is allowed",
                       item->text);
    if (read_expression(&reader, item, 0))
        return TP_INVALID;
    skip_blanks(&reader);
    if (reader.at != reader.end)
        return fail(&reader, "}} is expected here; one {{ }} is allowed");
    item->prefix = copy_trimmed(item->text, open, true);
    item->suffix = copy_trimmed(rest, rest + strlen(rest), false);
    return TP_OK;
}

enum tp_err template_parse(const char *text, struct template **ret_template, struct tp_error *error)
{
    const char *open = strstr(text, "{{");
    const char *close = last_of(text, "}}");
    struct template *item;
    enum tp_err result;
    if (strlen(text) > TEMPLATE_MAX_SIZE)
        return err_set(error, TP_INVALID, "the text \"%.40s...\" is longer than %d bytes", text, TEMPLATE_MAX_SIZE);
    item = mem_alloc(sizeof *item);
    item->text = mem_strdup(text);
    if (!open && !close) {
        item->literal = true;
        *ret_template = item;
        return TP_OK;
    }
    if (!open || !close || close < open + 2)
        result = err_set(error, TP_INVALID, "the template \"%.120s\" has %s without %s", text, open ? "{{" : "}}",
                         open ? "}}" : "{{");
    else
        result = parse_braces(item, item->text + (open - text), item->text + (close - text), error);
    if (result) {
        template_free(item);
        return result;
    }
    *ret_template = item;
    return TP_OK;
}

struct template *template_broken(const char *text)
{
    struct template *item = mem_alloc(sizeof *item);
    item->text = mem_strdup(text);
    item->broken = true;
    return item;
}

void template_free(struct template *item)
{
    if (!item)
        return;
    /* A call that failed to parse is counted and may hold a pattern already. */
    for (size_t i = 0; i < CALLS_MAX; i++) {
        pattern_free(item->calls[i].pattern);
        mem_free(item->calls[i].replacement);
    }
    mem_free(item->text);
    mem_free(item->prefix);
    mem_free(item->suffix);
    mem_free(item->trait);
    mem_free(item->constant);
    mem_free(item);
}

const char *template_text(const struct template *item)
{
    return item->text;
}

bool template_is_literal(const struct template *item)
{
    return item->literal;
}

const char *template_unknown_internal(const struct template *item)
{
    return item->internal && item->trait && !names_listed(internal_names, item->trait) ? item->trait : NULL;
}

/* Is it what may stand before <address>: words and quoted texts? */
static bool display_name_valid(const char *name, const char *end)
{
    while (name < end) {
        unsigned char c = (unsigned char)*name++;
        if (c == '"') {
            for (; name < end && *name != '"'; name++)
                if (*name == '\\' && name + 1 < end)
                    name++;
            if (name == end)
                return false;
            name++;
        } else if (c < ' ' || c == 0x7f || strchr("<>()[],;:@\\", c)) {
            return false;
        }
    }
    return true;
}

char *template_email_local(const char *address)
{
    const char *open = strrchr(address, '<');
    size_t size = strlen(address);
    char *bare, *local = NULL;
    const char *at;
    if (open && (address[size - 1] != '>' || !display_name_valid(address, open)))
        return NULL;
    bare = open ? mem_strndup(open + 1, size - (size_t)(open - address) - 2) : mem_strdup(address);
    at = strchr(bare, '@');
    if (at && at != bare && at[1] != '\0' && !strchr(at + 1, '@') && bare[0] != '.' && at[-1] != '.')
        local = mem_strndup(bare, (size_t)(at - bare));
    for (const char *p = bare; local && *p; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p == 0x7f || strchr("<>()[],;:\\\"", *p)) {
            mem_free(local);
            local = NULL;
        }
    }
    mem_free(bare);
    return local;
}

enum step { STEP_VALUE, STEP_DROP, STEP_FAIL };

/* Runs the functions over one value; the result is in *value (allocated) on STEP_VALUE. A bad address fails the whole
 * entry, a value that does not match is left out. */
static enum step run_calls(const struct template *item, char **value)
{
    for (size_t i = 0; i < item->call_count; i++) {
        const struct call *call = &item->calls[i];
        char *next = NULL;
        enum step bad = STEP_FAIL;
        if (call->kind == CALL_EMAIL_LOCAL) {
            next = template_email_local(*value);
        } else {
            enum pattern_result result = pattern_replace(call->pattern, *value, call->replacement, &next);
            bad = result == PATTERN_FAILED ? STEP_FAIL : STEP_DROP;
        }
        mem_free(*value);
        *value = next;
        if (!next)
            return bad;
    }
    return **value ? STEP_VALUE : STEP_DROP;
}

/* Returns false when the whole entry fails. */
static bool expand_value(const struct template *item, const char *text, struct names *values)
{
    char *value = mem_strdup(text);
    enum step step = run_calls(item, &value);
    if (step == STEP_VALUE) {
        char *whole = mem_printf("%s%s%s", item->prefix, value, item->suffix);
        names_add(values, whole);
        mem_free(whole);
    }
    mem_free(value);
    return step != STEP_FAIL;
}

void template_expand(const struct template *item, const json_t *traits, struct names *out)
{
    struct names values = {0};
    const json_t *trait;
    bool good = true;
    if (item->broken || template_unknown_internal(item))
        return;
    if (item->literal) {
        names_add_once(out, item->text);
        return;
    }
    if (item->constant) {
        good = expand_value(item, item->constant, &values);
    } else if ((trait = json_object_get(traits, item->trait))) {
        size_t count = json_is_array(trait) ? json_array_size(trait) : 1;
        for (size_t i = 0; i < count && i < VALUES_MAX && good; i++) {
            const char *text = json_string_value(json_is_array(trait) ? json_array_get(trait, i) : trait);
            if (text)
                good = expand_value(item, text, &values);
        }
    }
    for (size_t i = 0; i < values.count && good; i++)
        names_add_once(out, values.items[i]);
    names_free(&values);
}

void template_list_add(struct template_list *list, struct template *item)
{
    if ((list->count & (list->count - 1)) == 0)
        list->items = mem_resize(list->items, (list->count ? list->count * 2 : 1) * sizeof(struct template *));
    list->items[list->count++] = item;
}

void template_list_free(struct template_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        template_free(list->items[i]);
    mem_free(list->items);
    *list = (struct template_list){0};
}

void template_list_expand(const struct template_list *list, const json_t *traits, struct names *out)
{
    for (size_t i = 0; i < list->count; i++)
        template_expand(list->items[i], traits, out);
}
