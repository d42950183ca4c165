/*
 * What one host asks of auth at once, over all its lines through this worker. The way to auth is shared by everybody: a host that
 * has been taken over, or one with very much to say, would fill it, and sign-ins and the reports of others would stand behind
 * that (R15). So its lines are read no further while much of it waits for its answer; the rest waits at the host, which is what
 * the windows of its tunnel are for.
 */
#ifndef PROTOCOLS_HOST_LOAD_H
#define PROTOCOLS_HOST_LOAD_H

#include "base/map.h"
#include "tunnel/rpc_line.h"

#define HOST_LOAD_CALLS 64                    /* an agent has one for each session that begins, and few more */
#define HOST_LOAD_BYTES ((size_t)1024 * 1024) /* one call may be larger: then it is the only one */

struct host_load;

/* One line of the host; inside its owner's object. */
struct host_load_line {
    struct rpc_line *line;
    struct host_load *load;
    struct host_load_line *next, **prev;
};

/* Of this host, made when it is the first; loads is the worker's map of them, by host id. host_load_drop it. */
struct host_load *host_load_get(struct map *loads, const char *host_id) TP_MUST;
void host_load_drop(struct host_load *load);

/* A line that has just been accepted; it may be paused at once. The load must outlive it. */
void host_load_line_add(struct host_load *load, struct host_load_line *entry, struct rpc_line *line);
/* The line has ended. */
void host_load_line_remove(struct host_load_line *entry);

/* A call of size bytes goes to auth; host_load_end with the same size when it is answered (the load is there until then). */
void host_load_begin(struct host_load *load, size_t size);
void host_load_end(struct host_load *load, size_t size);

#endif
