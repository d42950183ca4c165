/*
 * The auth process: CA keys, store, logins, decisions, certificates, audit. It has no listener on the network and speaks
 * only the calls of docs/protocol-rpc.md, over lines that master hands to it.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "base/err.h"

/* Runs the process over the line to master until master goes or says stop. Returns the exit status. */
int auth_main(int control_fd);

#endif
