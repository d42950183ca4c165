#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_SECONDS 86400
#define CENTURY_MS ((int64_t)100 * 366 * DAY_SECONDS * 1000)

static int64_t now_ms(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0)
        return 0;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
    return now_ms(CLOCK_REALTIME);
}
int64_t clock_wall(void)
{
    return clock_wall_ms() / 1000;
}
int64_t clock_mono_ms(void)
{
    return now_ms(CLOCK_MONOTONIC);
}

static void format(int64_t seconds, const char *tail, char out[CLOCK_TEXT_SIZE])
{
    time_t t = (time_t)seconds;
    struct tm tm;
    size_t used;
    if (!gmtime_r(&t, &tm))
        memset(&tm, 0, sizeof(tm));
    used = strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + used, CLOCK_TEXT_SIZE - used, "%sZ", tail);
}

void clock_format_ms(int64_t wall_ms, char out[CLOCK_TEXT_SIZE])
{
    char tail[8];
    int64_t seconds = wall_ms / 1000;
    int64_t ms = wall_ms % 1000;
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    (void)snprintf(tail, sizeof(tail), ".%03d", (int)ms);
    format(seconds, tail, out);
}

void clock_format(int64_t wall_seconds, char out[CLOCK_TEXT_SIZE])
{
    format(wall_seconds, "", out);
}

enum tp_err clock_parse_ms(const char *text, int64_t *ret_wall_ms)
{
    struct tm tm = {0};
    int64_t ms = 0;
    int64_t offset = 0;
    const char *at;
    time_t t;

    at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!at)
        return TP_INVALID;
    if (*at == '.') {
        int scale = 100;
        int digits = 0;
        for (at++; *at >= '0' && *at <= '9'; at++, digits++) {
            ms += (*at - '0') * scale;
            scale /= 10;
        }
        if (digits == 0 || digits > 9)
            return TP_INVALID;
    }
    if (*at == 'Z' || *at == 'z') {
        at++;
    } else if (*at == '+' || *at == '-') {
        int hours;
        int minutes;
        int used = 0;
        if (sscanf(at + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5 || hours > 23 || minutes > 59 ||
            hours < 0 || minutes < 0)
            return TP_INVALID;
        offset = (int64_t)(hours * 60 + minutes) * 60 * (*at == '+' ? 1 : -1);
        at += 6;
    } else {
        return TP_INVALID;
    }
    if (*at)
        return TP_INVALID;
    t = timegm(&tm);
    *ret_wall_ms = ((int64_t)t - offset) * 1000 + ms;
    return TP_OK;
}

enum tp_err clock_parse_duration_ms(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"d", (int64_t)DAY_SECONDS * 1000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
    int64_t total = 0;
    const char *at = text;

    if (strcmp(text, "0") == 0) {
        *ret_ms = 0;
        return TP_OK;
    }
    if (!*at)
        return TP_INVALID;
    while (*at) {
        int64_t value = 0;
        const char *digits = at;
        size_t i;
        for (; *at >= '0' && *at <= '9'; at++) {
            value = value * 10 + (*at - '0');
            if (value > CENTURY_MS)
                return TP_INVALID;
        }
        if (at == digits)
            return TP_INVALID;
        for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            size_t length = strlen(units[i].unit);
            if (strncmp(at, units[i].unit, length) == 0) {
                at += length;
                break;
            }
        }
        if (i == sizeof(units) / sizeof(units[0]) || value > CENTURY_MS / units[i].ms)
            return TP_INVALID;
        total += value * units[i].ms;
        if (total > CENTURY_MS)
            return TP_INVALID;
    }
    *ret_ms = total;
    return TP_OK;
}

void clock_format_duration_ms(int64_t ms, char out[CLOCK_TEXT_SIZE])
{
    int64_t seconds = ms / 1000;
    if (ms == 0)
        (void)snprintf(out, CLOCK_TEXT_SIZE, "0s");
    else if (ms % 1000)
        (void)snprintf(out, CLOCK_TEXT_SIZE, "%lldms", (long long)ms);
    else if (seconds >= 3600)
        (void)snprintf(out, CLOCK_TEXT_SIZE, "%lldh%lldm%llds", (long long)(seconds / 3600),
                       (long long)(seconds / 60 % 60), (long long)(seconds % 60));
    else if (seconds >= 60)
        (void)snprintf(out, CLOCK_TEXT_SIZE, "%lldm%llds", (long long)(seconds / 60), (long long)(seconds % 60));
    else
        (void)snprintf(out, CLOCK_TEXT_SIZE, "%llds", (long long)seconds);
}
