#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_LIMIT 4096

/* The only state of the process that is not passed as an argument: where its log lines go. */
static struct {
    char process[32];
    int fd;
    enum log_level level;
    bool json;
} sink = {"tport", 2, LOG_LEVEL_INFO, false};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(const char *process, int fd, enum log_level level, bool json)
{
    (void)snprintf(sink.process, sizeof(sink.process), "%s", process);
    sink.fd = fd;
    sink.level = level;
    sink.json = json;
}

void log_set_fd(int fd)
{
    sink.fd = fd;
}
void log_set_level(enum log_level level)
{
    sink.level = level;
}
enum log_level log_get_level(void)
{
    return sink.level;
}

enum tp_err log_level_parse(const char *text, enum log_level *ret_level)
{
    static const struct {
        const char *text;
        enum log_level level;
    } words[] = {{"debug", LOG_LEVEL_DEBUG},  {"info", LOG_LEVEL_INFO},   {"warn", LOG_LEVEL_WARN},
                 {"warning", LOG_LEVEL_WARN}, {"error", LOG_LEVEL_ERROR}, {"err", LOG_LEVEL_ERROR},
                 {"DEBUG", LOG_LEVEL_DEBUG},  {"INFO", LOG_LEVEL_INFO},   {"WARN", LOG_LEVEL_WARN},
                 {"WARNING", LOG_LEVEL_WARN}, {"ERROR", LOG_LEVEL_ERROR}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i].text) == 0) {
            *ret_level = words[i].level;
            return TP_OK;
        }
    }
    return TP_INVALID;
}

/* Control bytes, DEL and broken UTF-8 become \xNN, so that a stranger's text cannot move a terminal's cursor. */
static void append_clean(struct buf *line, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        size_t length = 1;
        bool good = *at >= 0x20 && *at < 0x7f;
        if (*at >= 0xc2 && *at <= 0xf4) {
            size_t want = *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : 2;
            /* C1 controls (U+0080 to U+009F) are controls too. */
            good = !(*at == 0xc2 && at[1] < 0xa0);
            for (size_t i = 1; good && i < want; i++)
                good = (at[i] & 0xc0) == 0x80;
            if (good)
                length = want;
        }
        if (good)
            (void)buf_append(line, at, length);
        else
            (void)buf_printf(line, "\\x%02x", *at);
        at += length;
    }
}

/* Of the value that begins at text: sentences have quotes of their own, so behind the last one is nothing, or a key. */
static const char *closing_quote(const char *text)
{
    for (const char *quote = strchr(text, '"'); quote; quote = strchr(quote + 1, '"')) {
        const char *next = quote + 1;
        if (*next == ' ') {
            next++;
            next += strspn(next, "abcdefghijklmnopqrstuvwxyz_");
            if (*next == '=' && next > quote + 2)
                return quote;
        } else if (!*next) {
            return quote;
        }
    }
    return text + strlen(text);
}

/* The fields text as members: key=value or key="value with spaces". */
static void json_fields(json_t *object, const char *fields)
{
    const char *at = fields;
    while (*at) {
        const char *equals = strchr(at, '=');
        const char *end;
        char *key;
        if (!equals)
            break;
        key = mem_strndup(at, (size_t)(equals - at));
        at = equals + 1;
        if (*at == '"') {
            at++;
            end = closing_quote(at);
        } else {
            end = strchr(at, ' ');
            if (!end)
                end = at + strlen(at);
        }
        /* The first of a name stays: a stranger's text with a quote in it must not replace time, level or message. */
        if (!json_object_get(object, key))
            (void)json_object_set_new(object, key, json_stringn_nocheck(at, (size_t)(end - at)));
        mem_free(key);
        at = end;
        if (*at == '"')
            at++;
        while (*at == ' ')
            at++;
    }
}

static TP_PRINTF(3, 0) void write_line(enum log_level level, const char *message, const char *fields, va_list args)
{
    struct buf raw;
    struct buf line;
    char text[LINE_LIMIT];
    char when[CLOCK_TEXT_SIZE];

    if (level < sink.level)
        return;
    (void)vsnprintf(text, sizeof(text), fields, args);
    clock_format_ms(clock_wall_ms(), when);
    buf_init(&raw, 0);
    buf_init(&line, 0);
    append_clean(&raw, text);
    if (sink.json) {
        json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "time", when, "level", level_names[level], "process",
                                   sink.process, "message", message);
        char *dump;
        json_fields(object, buf_text(&raw));
        dump = json_dumps(object, JSON_COMPACT);
        (void)buf_printf(&line, "%s\n", dump ? dump : "{}");
        mem_free(dump);
        json_decref(object);
    } else {
        (void)buf_printf(&line, "%s %s %s %s%s%s\n", when, level_names[level], sink.process, message,
                         buf_size(&raw) ? " " : "", buf_text(&raw));
    }
    /* A log that cannot be written must not stop the service; there is nobody left to tell. */
    (void)!write(sink.fd, buf_head(&line), buf_size(&line));
    buf_free(&line);
    buf_free(&raw);
}

#define LOG_FUNCTION(name, level)                           \
    void name(const char *message, const char *fields, ...) \
    {                                                       \
        va_list args;                                       \
        va_start(args, fields);                             \
        write_line(level, message, fields, args);           \
        va_end(args);                                       \
    }

LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)

char *log_value(const char *text)
{
    char *value = mem_strdup(text);
    for (char *at = strchr(value, '"'); at; at = strchr(at, '"'))
        *at = '\'';
    return value;
}
