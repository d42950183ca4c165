/* The agent process: joins the cluster, holds tunnels to the proxy, starts a tport-session for each SSH connection. */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

/* Runs until master says stop (or drain, and the last session has ended) or goes away; returns the exit code.
 * control_fd is the line to master: docs/protocol-rpc.md, Lines of master. */
int agent_main(int control_fd);

#endif
