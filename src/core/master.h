/*
 * The master process: reads the configuration, binds, starts the others and starts them again, passes descriptors,
 * reloads, upgrades. It parses nothing that comes from the network.
 */
#ifndef CORE_MASTER_H
#define CORE_MASTER_H

#include "base/err.h"
#include "base/json.h"

#include <sys/types.h>

/* A file that workers hand out as it is. Master opens it, because a worker opens none. */
struct master_file {
    char *name;
    char *sha256; /* hex */
    int64_t size;
    int fd; /* to read at any place; closed with the plan */
};
#define MASTER_FILES_MAX 4

/* What a configuration file means for the processes. Owned by the loader's caller; master_plan_free frees it. */
struct master_plan {
    json_t *auth;   /* "config" for auth, or NULL: none runs here */
    json_t *worker; /* "config" for each worker (master adds "number"), or NULL */
    json_t *agent;  /* "config" for the agent, or NULL */
    size_t worker_count;
    json_t *listen;  /* ["IP:PORT", ...] of the workers */
    json_t *watched; /* [path, ...]: certificates and keys; a change of one is a reload */
    char *data_dir;
    char *pid_file;
    char *log_file; /* NULL: standard error */
    char *log_level;
    bool log_json;
    char *auth_key_file; /* in a folder of ours auth gets its descriptor with "config"; NULL: auth has its own */
    char *auth_user;     /* "" keeps the user */
    char *worker_user;
    char *agent_user; /* "": root, as ssh_service needs it */
    struct master_file files[MASTER_FILES_MAX];
    size_t file_count;
};
void master_plan_free(struct master_plan *plan);

/* Reads and checks the file. All errors in one sentence each, joined by newlines. */
typedef enum tp_err master_load_fn(const char *path, struct master_plan *ret_plan, struct tp_error *error);

/* Exit status of a child for which trying again is pointless (what is on the disk is damaged, or of another cluster): master
 * says so, stops everything and ends with 1. */
#define MASTER_CHILD_POINTLESS 78

/* Tells the daemon that runs with this data_dir as process pid to load its configuration anew (SIGHUP) or to open its log file anew
 * (SIGUSR1), and waits for what comes of it. TP_OK: it has done so (or is of a version that does not tell). Else all stays as it
 * was, but for TP_TIMEOUT, where nobody knows. Blocks. */
enum tp_err master_ask(const char *data_dir, pid_t pid, int signal_number, struct tp_error *error) TP_MUST;

/* The whole life of the daemon; returns the exit code. argv is kept for an upgrade. */
int master_run(const char *conf_path, char *const *argv, master_load_fn *load);

#endif
