/* Dynamic labels (ssh_service.commands, kubernetes_service.commands): each command is run at the start and then each period, its output is the value.
 * Commands run without a shell, at most LABELS_TIME_MS, one run of each at a time. */
#ifndef AGENT_AGENT_LABELS_H
#define AGENT_AGENT_LABELS_H

#include "base/json.h"
#include "core/loop.h"

#define LABELS_TIME_MS 10000
#define LABELS_OUTPUT_MAX ((size_t)4096)

struct labels_command {
    const char *name;
    char *const *argv; /* NULL-terminated; argv[0] is an absolute path */
    int64_t period_ms;
};

struct labels;

/* Starts running count commands, which are copied. on_change: some value has changed (not at each run). */
struct labels *labels_new(struct loop *loop, const struct labels_command *commands, size_t count,
                          void (*on_change)(void *ctx), void *ctx) TP_MUST;
/* Kills what runs. NULL is fine. */
void labels_free(struct labels *labels);
/* {name: {"period": ms, "command": [], "result": ""}} as host.heartbeat wants it. */
json_t *labels_json(const struct labels *labels) TP_MUST;
/* False until each command has ended once. */
bool labels_ready(const struct labels *labels);

/* Output as a value: white space around it gone, control characters and what is no UTF-8 as '?'. mem_free it. */
char *labels_clean(const char *output, size_t size) TP_MUST;

#endif
