/* What retention has removed from a log, as an event of the log itself says (Teleport has none: "audit.prune" is ours). */
#ifndef AUDIT_PRUNE_H
#define AUDIT_PRUNE_H

#include "audit/day.h"
#include "base/json.h"

#define PRUNE_EVENT "audit.prune"

/* The event: everything before leaf first_leaf, the first line of the file of first_day, may be gone. */
struct prune_statement {
    uint64_t first_leaf; /* 0: nothing was removed */
    char first_day[DAY_TEXT_SIZE];
    char reason[32]; /* "age" or "size" */
};

/* Reads an entry; false when it is another event or says nothing sensible. */
bool prune_statement_read(const void *entry, size_t size, struct prune_statement *ret_statement);
/* The newest statement among the last reach (0: all) of the first size leaves, read from the entry bundles; all zero when
 * there is none. It proves nothing until the entries are proved. TP_CORRUPT when a bundle is cut. */
enum tp_err prune_statement_find(int tlog_fd, uint64_t size, uint64_t reach, struct prune_statement *ret_statement,
                                 struct tp_error *error) TP_MUST;

#endif
