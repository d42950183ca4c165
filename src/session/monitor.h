/*
 * The privileged half: descriptor 3 is the line to the agent, descriptor 4 the client's SSH bytes, which it passes to the
 * unprivileged half unread. It holds the right to become the user; it parses nothing that the client sends.
 */
#ifndef SESSION_MONITOR_H
#define SESSION_MONITOR_H

/* Runs until the connection is over and everything about it has been reported. Returns the exit code of the process. */
int monitor_main(void);

#endif
