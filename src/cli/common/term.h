/* Asking the person at the terminal. */
#ifndef CLI_COMMON_TERM_H
#define CLI_COMMON_TERM_H

#include "base/err.h"

#include <termios.h>

/*
 * Prints "prompt " and reads one line, without echo when secret. At a terminal it talks to /dev/tty; when standard input is
 * no terminal, the line comes from there and no prompt is shown (so that scripts can pipe password and code, one line
 * each). secret_free ret_line. TP_CLOSED when there is no line, or Ctrl-C was pressed.
 */
enum tp_err term_ask(const char *prompt, bool secret, char **ret_line, struct tp_error *error) TP_MUST;

/* Keys come at once and unechoed, Ctrl-C as a byte. False when fd is no terminal. term_restore undoes it. */
bool term_raw(int fd, struct termios *ret_old);
void term_restore(int fd, const struct termios *old);

#endif
