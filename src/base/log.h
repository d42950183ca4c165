/*
 * The log: one line per event, text or JSON, to a descriptor (standard error of every daemon; master points it at the
 * log file). A line has time, level, process, and the fields given. Only the object that owns an outcome logs it.
 *
 *   2026-11-24T01:02:03.456Z info worker/1 connection closed id=7 peer=10.0.0.1:5000 reason=client_closed
 *
 * Never logged: secrets, bytes of sessions, anything from a stranger that is not escaped (log_* escape control bytes).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* process: "master", "auth", "worker/1", "agent", "session"; copied. fd stays the caller's. Before log_init lines go to
 * descriptor 2 as text at level info under the process name "tport". */
void log_init(const char *process, int fd, enum log_level level, bool json);
/* Lines go to fd from now on (reopen). The old descriptor is not closed. */
void log_set_fd(int fd);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* "debug", "info", "warn" (or "warning"), "error" (or "err"); TP_INVALID otherwise. */
enum tp_err log_level_parse(const char *text, enum log_level *ret_level) TP_MUST;

/*
 * message: a fixed lower-case phrase without a full stop. fields: a printf format of key=value pairs, or "" for none;
 * a value that may hold spaces stands in double quotes, for example
 *   log_info("login refused", "user=\"%s\" peer=%s", user, peer);
 * Everything that is not printable ASCII or UTF-8 text is written as \xNN.
 */
void log_debug(const char *message, const char *fields, ...) TP_PRINTF(2, 3);
void log_info(const char *message, const char *fields, ...) TP_PRINTF(2, 3);
void log_warn(const char *message, const char *fields, ...) TP_PRINTF(2, 3);
void log_error(const char *message, const char *fields, ...) TP_PRINTF(2, 3);
/* A copy of a stranger's text, or of a sentence with one in it, to stand in double quotes: with quotes of his own he would begin
 * other members of the line, such as a user. mem_free it. */
char *log_value(const char *text) TP_MUST;

#endif
