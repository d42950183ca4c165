/* Private to src/session/monitor*.c. */
#ifndef SESSION_MONITOR_PRIV_H
#define SESSION_MONITOR_PRIV_H

#include "core/rpc.h"
#include "session/account.h"
#include "session/order.h"
#include "session/pam.h"
#include "session/user_child.h"

struct monitor;

/* One shell, command or subsystem, from the question to the agent until session.end has been answered. */
struct session {
    struct monitor *monitor;
    struct session *next;
    uint32_t number;       /* net's number of the channel */
    const char *kind;      /* "shell", "exec", "subsystem" */
    char *command;         /* raw bytes; NULL for a shell */
    char *command_text;    /* for people: valid UTF-8 */
    char *id;              /* from session.start; NULL until then */
    int64_t watched;       /* number of the last event about who watches it */
    struct rpc_call *call; /* net's question, until answered */
    struct environment env;
    char term[64];
    bool pty;
    bool sftp;
    uint32_t cols, rows;
    json_t *modes; /* for modes_apply; NULL: none */
    struct pam *pam;
    struct user_child *child;
    pid_t pid;
    bool started;
    bool exited;
    int exit_code;
    char exit_signal[16];
    bool ended; /* net is done with it (or gone): session.end is sent once the process has ended, too */
    bool recorded;
    bool end_sent;
    bool finished; /* by itself, with all output delivered; else the connection's reason counts */
};

struct monitor {
    struct loop *loop;
    struct rpc *agent;
    struct rpc *net;
    struct child *net_child;
    struct order order;
    enum order_state state;
    bool configured;
    json_t *grant;
    json_t *config;
    const char *sid; /* inside grant */
    bool record;
    bool record_strict;
    struct account account;
    bool account_ok; /* PAM has said so */
    bool forward_agent;
    bool forward_local, forward_remote; /* by the grant and this host's configuration */
    struct session *sessions;
    size_t helpers;     /* processes that open sockets for net now */
    size_t agent_calls; /* questions to the agent without an answer */
    char *agent_path;   /* SSH_AUTH_SOCK */
    char *agent_dir;
    bool agent_pending;
    struct timer *expiry;
    struct timer *killer;
    enum close_reason reason;
    bool net_gone;
    char *client_addr;
    enum order_kind kind;        /* of the grant */
    bool terminal;               /* not SSH: the login is the grant's */
    char *file_path, *file_temp; /* monitor_file.c; temp: an upload that has no name yet */
};

/* monitor.c */
/* A descriptor for net, ahead of the reply that needs it. Closes fd. */
void monitor_send_fd(struct monitor *monitor, uint32_t number, const char *what, int fd);
/* Ends everything: the person is told text (may be NULL), processes are hung up, then killed. */
void monitor_cut(struct monitor *monitor, enum close_reason reason, const char *text);
/* A request to the agent whose answer is not waited for, but keeps the process alive until it comes. */
void monitor_tell_agent(struct monitor *monitor, const char *method, json_t *params);
void monitor_audit(struct monitor *monitor, const char *event, json_t *fields);
/* Ends the process when nothing is left to do. */
void monitor_check_done(struct monitor *monitor);

/* monitor_session.c */
void monitor_open(struct monitor *monitor, struct rpc_call *call, enum order_method method, json_t *params);
void monitor_record(struct monitor *monitor, struct rpc_call *call, json_t *params);
void monitor_session_end(struct monitor *monitor, json_t *params);
void monitor_signal(struct monitor *monitor, json_t *params);
/* Who watches one of its terminals has changed: net is told, once. */
void monitor_watched(struct monitor *monitor, const json_t *params);
/* Starts what waited for the agent's socket. */
void monitor_open_waiting(struct monitor *monitor);
void monitor_hangup_all(struct monitor *monitor);
void monitor_kill_all(struct monitor *monitor);
/* PAM's account and session modules, when the configuration asks for them; ret_pam stays as it is otherwise. */
enum tp_err monitor_pam(struct monitor *monitor, const char *tty, struct environment *env, struct pam **ret_pam,
                        struct tp_error *error) TP_MUST;
/* PAM's account modules alone, for what opens no session (forwarding); asked until they have said yes once. */
enum tp_err monitor_account_ok(struct monitor *monitor, struct tp_error *error) TP_MUST;
/* net is gone: all sessions end. */
void monitor_end_all(struct monitor *monitor);

/* monitor_file.c: one file of a grant that is for it */
void monitor_open_file(struct monitor *monitor, struct rpc_call *call, json_t *params);
void monitor_file_done(struct monitor *monitor, struct rpc_call *call, json_t *params);

/* net is gone: what it uploaded and did not complete goes too. */
void monitor_file_abandon(struct monitor *monitor);

/* monitor_forward.c */
void monitor_connect(struct monitor *monitor, struct rpc_call *call, json_t *params);
void monitor_listen(struct monitor *monitor, struct rpc_call *call, json_t *params);
void monitor_agent_listen(struct monitor *monitor, struct rpc_call *call, json_t *params);
/* Removes the agent's socket. */
void monitor_agent_remove(struct monitor *monitor);

#endif
