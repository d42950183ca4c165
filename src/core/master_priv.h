/* Shared by the files of master. */
#ifndef CORE_MASTER_PRIV_H
#define CORE_MASTER_PRIV_H

#include "core/master.h"
#include "core/rpc.h"

enum child_role { CHILD_AUTH, CHILD_WORKER, CHILD_AGENT };

/* One process. STARTING -> READY -> DRAINING/STOPPING -> gone; a worker or agent is started again unless it was leaving. */
struct master_child {
    struct master *master;
    struct master_child *next;
    enum child_role role;
    unsigned number;     /* workers: unique for the life of the master */
    unsigned generation; /* of the configuration it was started with */
    pid_t pid;
    struct child *process; /* NULL when it was taken over at an upgrade */
    struct rpc *line;
    int64_t started;
    bool ready;
    bool leaving;
    json_t *config;
};

struct listening {
    struct listening *next;
    char *address;
    int fd;
    bool wanted;
};

struct master {
    struct loop *loop;
    const char *conf_path;
    char *const *argv;
    char *program; /* the file to start children from, as it was when we started */
    master_load_fn *load;
    struct master_plan plan;
    struct master_child *children;
    struct listening *listening;
    int admin_fd;
    int lock_fd; /* master_lock */
    unsigned generation;
    unsigned answers; /* so far (master_answer.c) */
    unsigned last_number;
    int64_t backoff_ms;
    struct timer *restart;
    struct timer *deadline; /* of a stop or of an upgrade */
    struct timer *look;     /* at the watched files */
    uint64_t files_seen;    /* what they looked like last time */
    bool restart_auth;      /* at an upgrade: when the old auth has gone, start the new one */
    bool stopping;
    bool rest_stopped; /* the agents have ended, all others were told to stop */
    bool failed;       /* master_give_up: the exit code is 1 */
    bool graceful;
    bool upgrading;
};

/* master_files.c */
/* Opens path for writing (flags: O_APPEND, or 0), making it with mode; only a plain file of one name will do. key is what names
 * the file in the configuration, for the sentence. */
enum tp_err master_open_plain(const char *path, int flags, mode_t mode, const char *key, int *ret_fd,
                              struct tp_error *error) TP_MUST;
/* Makes data_dir and takes it for this process; TP_EXISTS when another tportd has it. Nothing happens when the lock is held. */
enum tp_err master_lock(struct master *master, struct tp_error *error) TP_MUST;
/* In data_dir the folders of auth (its key lies apart from what it seals) and of the agent; TP_DENIED when their users could not come there. */
enum tp_err master_make_folders(const struct master_plan *plan, struct tp_error *error) TP_MUST;
enum tp_err master_write_pid(const struct master *master, struct tp_error *error) TP_MUST;
/* Unless it holds another process's number. */
void master_remove_pid(const struct master *master);

/* master_answer.c: what came of the last reload or reopen, for who asked for it; why it was refused, or "". */
void master_answer(struct master *master, const char *why);

/* master_child.c */
/* Starts what the plan wants and does not run (in this generation); tries again later when that fails. */
void master_start_missing(struct master *master);
void master_child_tell(struct master_child *child, const char *event);
/* Takes a running process over whose line is fd. */
void master_child_adopt(struct master *master, enum child_role role, unsigned number, pid_t pid, int fd);
struct master_child *master_auth(struct master *master);
const char *master_role_name(enum child_role role);
/* master_handoff.c: event "handoff" of a worker; fd stays the caller's. Nothing happens when it breaks a rule. */
void master_pass_handoff(struct master_child *child, const json_t *params, int fd);
/* Event "pair" of a worker (worker, sid): a socket pair between it and that worker. Nothing happens when it breaks a rule. */
void master_make_pair(struct master_child *child, const json_t *params);
/* master.c: a child has gone. */
void master_child_gone(struct master *master);
/* master.c: stops everything; the exit code says that it was not asked for. */
void master_give_up(struct master *master);
/* master.c: a worker of the newest generation is ready. */
void master_child_ready(struct master *master);

/* master_upgrade.c */
/* Replaces this program image by the file it was started from, keeping sockets and children. Comes back only on failure. */
void master_upgrade(struct master *master);
/* Are we the new image of an upgrade that is still to be taken over? */
bool master_upgrade_waits(void);
/* In the new image: takes over what the old one left in the environment; false when there is nothing. */
bool master_upgrade_resume(struct master *master);

#endif
