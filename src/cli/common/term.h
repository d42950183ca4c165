/* Asking the person at the terminal. */
#ifndef CLI_COMMON_TERM_H
#define CLI_COMMON_TERM_H

#include "base/err.h"

#include <termios.h>

/*
 * Prints "prompt " and reads one line, without echo when secret. At a terminal it talks to /dev/tty; when standard input is
 * no terminal, the line comes from there and no prompt is shown (so that scripts can pipe password and code, one line
 * each). secret_free ret_line. TP_CLOSED when there is no line. Ctrl-C ends the program by SIGINT, once the terminal is as
 * it was before; so does any other signal that ends it meanwhile.
 */
enum tp_err term_ask(const char *prompt, bool secret, char **ret_line, struct tp_error *error) TP_MUST;

/*
 * The same at /dev/tty, whatever standard input is: for programs that ssh or kubectl start, whose standard input is not the
 * person's. The question ends with TP_CLOSED when the other side of watch (a pipe or socket; -1: none) has gone, and with
 * Ctrl-C. TP_NOT_FOUND when the process has no terminal.
 */
enum tp_err term_ask_tty(const char *prompt, bool secret, int watch, char **ret_line, struct tp_error *error) TP_MUST;
/* A line at /dev/tty, if there is one. */
void term_tell(const char *text);

/* Keys come at once and unechoed, Ctrl-C as a byte. False when fd is no terminal. term_restore undoes it. */
bool term_raw(int fd, struct termios *ret_old);
void term_restore(int fd, const struct termios *old);

#endif
