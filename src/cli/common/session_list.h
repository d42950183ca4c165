/* Lists of sessions and recordings, the same in both programs. */
#ifndef CLI_COMMON_SESSION_LIST_H
#define CLI_COMMON_SESSION_LIST_H

#include "base/json.h"
#include "cli/common/command.h"

/* The options that bound a list in time. from and to are times ("2026-01-31" or RFC 3339), last is a duration up to now,
 * which excludes these two. */
struct session_list_span {
    const char *from;
    const char *to;
    const char *last;
};

/* Puts "from" and "to" into params, as far as the options are given. */
enum tp_err session_list_times(const struct command_line *line, const struct session_list_span *options, json_t *params,
                               struct tp_error *error) TP_MUST;
/* Prints items of recordings.list or sessions.list (live) as "text", "json" or "yaml". */
void session_list_print(const json_t *items, const char *format, bool live);

#endif
