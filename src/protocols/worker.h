/* The worker process: everything that strangers can reach. */
#ifndef PROTOCOLS_WORKER_H
#define PROTOCOLS_WORKER_H

/* Runs until master says stop or goes away; returns the exit code. control_fd is the line to master. */
int worker_main(int control_fd);

#endif
