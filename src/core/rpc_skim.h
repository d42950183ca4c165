/* A request that is only passed on, looked at without being read into a tree. */
#ifndef CORE_RPC_SKIM_H
#define CORE_RPC_SKIM_H

#include <stdbool.h>
#include <stddef.h>

#define RPC_METHOD_ROOM 64

/* true: the text is {"method":M,"params":{...}} with no blank between, and JSON for sure: json_parse_object takes it, so no
 * object in it has a key twice. ret_method is M. false: it is something else, or JSON that only the parser can tell to be that (bytes
 * that are not ASCII, \u, numbers with a point, keys with a backslash, more keys or values or deeper than most have). */
bool rpc_skim(const void *data, size_t size, char ret_method[RPC_METHOD_ROOM]);

#endif
