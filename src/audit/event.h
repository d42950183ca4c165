/* Names and codes of audit events (behaviour as Teleport's, so that existing searches and alerts go on working). */
#ifndef AUDIT_EVENT_H
#define AUDIT_EVENT_H

#include "base/json.h"

/* A new event with event, code, uid, time, ei (0) and, when cluster is not NULL, cluster_name. The caller adds members and
 * json_decref's it. An unknown name gets the code TCC00E; success chooses between the codes for success and failure. */
json_t *event_new(const char *name, bool success, const char *cluster) TP_MUST;
/* The code; "TCC00E" for unknown names. Events that only exist as success (or failure) have one code for both. */
const char *event_code(const char *name, bool success);
/* The name is in the table. */
bool event_known(const char *name);
/* The names, for listing what can be searched for: NULL past the end. */
const char *event_name_at(size_t index);

#endif
