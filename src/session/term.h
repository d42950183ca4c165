/*
 * The unprivileged half of a terminal without SSH (grants of kind "term"): descriptor 3 is the line to the monitor,
 * descriptor 4 the person's bytes in the frames of docs/protocol-terminal.md.
 */
#ifndef SESSION_TERM_H
#define SESSION_TERM_H

/* Runs until the terminal or the file is done. Returns the exit code of the process. */
int term_main(void);

#endif
