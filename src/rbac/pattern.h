/*
 * Regular expressions and globs. The one file that calls PCRE2. Only the syntax that RE2 knows is accepted (no back
 * references, no look-around), and matching has a bound on its work.
 */
#ifndef RBAC_PATTERN_H
#define RBAC_PATTERN_H

#include "base/err.h"

struct pattern;

enum pattern_result { PATTERN_NO, PATTERN_YES, PATTERN_FAILED /* too much work */ };

/* Compiles; free it with pattern_free. */
enum tp_err pattern_new(const char *text, struct pattern **ret_pattern, struct tp_error *error) TP_MUST;
void pattern_free(struct pattern *pattern);
/* Is there a match anywhere in text? */
enum pattern_result pattern_match(const struct pattern *pattern, const char *text) TP_MUST;
/* Every match replaced, with $1, ${1} and ${name} in replacement. ret_text (mem_free it) is set on PATTERN_YES only. */
enum pattern_result pattern_replace(const struct pattern *pattern, const char *text, const char *replacement,
                                    char **ret_text) TP_MUST;

/* Glob over the whole text: each * stands for any run of bytes, all else for itself. Linear in the product of both
 * sizes. */
bool pattern_glob(const char *glob, const char *text) TP_MUST;
/* Starts with ^ and ends with $: such a selector is a regular expression. */
bool pattern_is_regex(const char *text) TP_MUST;

#endif
