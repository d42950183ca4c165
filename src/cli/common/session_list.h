/* Lists of sessions and recordings, the same in both programs. */
#ifndef CLI_COMMON_SESSION_LIST_H
#define CLI_COMMON_SESSION_LIST_H

#include "base/json.h"
#include "cli/common/command.h"

/* Puts the time of an option ("2026-01-31" or RFC 3339) into params under key; nothing when the option is absent. */
enum tp_err session_list_time(const struct command_line *line, const char *option, const char *key, json_t *params,
                              struct tp_error *error) TP_MUST;
/* Prints items of recordings.list or sessions.list (live) as "text", "json" or "yaml". */
void session_list_print(const json_t *items, const char *format, bool live);

#endif
