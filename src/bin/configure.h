/* tportd configure and tportd node configure: write a first configuration. */
#ifndef BIN_CONFIGURE_H
#define BIN_CONFIGURE_H

/* The command line behind "tportd" ("configure" is argv[0]). Returns the exit code: 0 done, 1 failed, 2 wrong usage. */
int configure_run(int argc, char **argv);
/* The same for "tportd node configure" ("configure" is argv[0]): a machine that joins a cluster. */
int configure_node_run(int argc, char **argv);

#endif
