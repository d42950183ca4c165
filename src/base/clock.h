/* Time. Wall time is for certificates, tokens and records; monotonic time is for deadlines. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/err.h"

/* "2026-11-24T01:02:03.456Z" and the NUL. */
#define CLOCK_TEXT_SIZE 32

/* Milliseconds since 1970 (UTC). */
int64_t clock_wall_ms(void);
/* Seconds since 1970 (UTC). */
int64_t clock_wall(void);
/* Milliseconds on a clock that never jumps. */
int64_t clock_mono_ms(void);

/* RFC 3339 in UTC with three decimals. */
void clock_format_ms(int64_t wall_ms, char out[CLOCK_TEXT_SIZE]);
/* RFC 3339 in UTC without decimals. */
void clock_format(int64_t wall_seconds, char out[CLOCK_TEXT_SIZE]);
/* Reads RFC 3339 with any offset and up to nine decimals. */
enum tp_err clock_parse_ms(const char *text, int64_t *ret_wall_ms) TP_MUST;

/* A duration as roles and flags write it: "8h0m0s", "30m", "1h30m", "250ms", "10000h", "7d"; no sign, no blanks.
 * TP_INVALID for anything else or past 100 years. */
enum tp_err clock_parse_duration_ms(const char *text, int64_t *ret_ms) TP_MUST;
/* "8h0m0s", "1m0s", "250ms"; the form that Go prints, so that files round-trip. */
void clock_format_duration_ms(int64_t ms, char out[CLOCK_TEXT_SIZE]);

#endif
