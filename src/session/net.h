/* The unprivileged half: descriptor 3 is the line to the monitor, descriptor 4 the client's SSH bytes. */
#ifndef SESSION_NET_H
#define SESSION_NET_H

/* Runs until the connection ends. Returns the exit code of the process. */
int net_main(void);

#endif
