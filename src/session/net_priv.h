/*
 * The unprivileged half of tport-session: speaks SSH with the client and asks the monitor for everything else.
 * Private to src/session/net*.c.
 */
#ifndef SESSION_NET_PRIV_H
#define SESSION_NET_PRIV_H

#include "base/buf.h"
#include "core/rpc.h"
#include "recording/recorder.h"
#include "recording/sizes.h"
#include "session/requests.h"
#include "session/screen.h"

/* The only way to read passwords, keys and pty sizes in libssh's queue mode is "deprecated" there. */
#define SSH_SUPPRESS_DEPRECATED
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>

#define NET_CHANNEL_MAX 256
#define NET_TERM_MAX 64
/* Of a program's output, taken at once: packets of libssh that are full when the client takes 32 KB in one, as most do. */
#define NET_PIECE ((size_t)4 * (32768 - 10))

struct net;

/* One direction of a descriptor. The watch exists while fd >= 0. */
struct net_end {
    int fd;
    struct watch *watch;
};

enum channel_kind { CHANNEL_SESSION, CHANNEL_TCP };

enum channel_state {
    CHANNEL_NEW,    /* session: nothing started yet; tcp: connecting or waiting for the client's yes */
    CHANNEL_ASKING, /* the monitor is starting the process */
    CHANNEL_RUNNING,
    CHANNEL_ENDING, /* SSH side closed; the recording is being confirmed */
};

struct channel {
    struct net *net;
    struct channel *next;
    uint32_t number;
    enum channel_kind kind;
    enum channel_state state;
    ssh_channel ssh; /* NULL when none (any more) */
    struct ssh_channel_callbacks_struct callbacks;
    ssh_message pending; /* request that waits for an answer */
    struct net_end in;   /* we write the client's bytes here */
    struct net_end out;  /* standard output, terminal or socket */
    struct net_end err;
    struct buf to_fd;  /* client's bytes that the descriptor has not taken */
    struct buf to_ssh; /* bytes that SSH has not taken */
    bool to_ssh_is_err;
    bool blocked; /* reading out/err waits for SSH, the window or the recorder */
    bool client_eof;
    bool client_closed;
    bool eof_sent;
    bool end_sent; /* the monitor knows that it is over */
    bool doomed;   /* must be ended at the next step */
    bool exited;
    bool finished; /* the process ended before anything else ended the channel */
    int exit_status;
    char exit_signal[16]; /* empty: exited */
    bool pty;
    bool sftp;
    char term[NET_TERM_MAX];
    uint32_t cols, rows;
    json_t *env;   /* name: base64 of value */
    json_t *modes; /* of the terminal, as modes.h reads them; NULL: the system's own */
    struct recorder *recorder;
    struct sizes *sizes;  /* NULL until the first change */
    uint32_t record_call; /* the piece that the monitor has not confirmed, 0: none */
    /* net_notice.c; of terminals only */
    struct screen screen;
    struct buf notice;  /* lines of ours that are not out yet */
    char *notice_title; /* the last of them, where the window's title has not said it yet; or NULL */
    bool notice_titled; /* the window's title is ours */
    int64_t notice_ms;  /* when the last one came */
    /* a channel that we opened: asked again at each step until the client answers */
    int (*reopen)(struct channel *channel);
    int opened_fd; /* the accepted socket, until then */
    char *peer_host, *bind_host;
    int peer_port, bind_port;
};

/* A listening socket of tcpip-forward or of agent forwarding. */
struct listener {
    struct net *net;
    struct listener *next;
    uint32_t number;
    struct net_end end;
    bool agent;
    char *host; /* as the client asked for it: the key for cancel */
    int port;   /* bound */
};

enum net_phase { NET_STARTING, NET_AUTH, NET_AUTH_ASKING, NET_OPEN, NET_CLOSING, NET_DONE };

struct net_settings {
    struct request_rights rights;
    bool permit_user_env;
    bool record;
    bool record_strict;
    bool record_packed;
    bool disconnect_expired_cert;
    int64_t cert_not_after_ms;
    int64_t idle_timeout_ms;
    int64_t max_sessions;
};

struct net {
    struct loop *loop;
    struct rpc *monitor;
    int ssh_fd;
    ssh_session ssh;
    ssh_bind bind;
    ssh_event event;
    bool ssh_full;  /* libssh holds bytes that the socket has not taken, as of the last net_flush */
    uint8_t *piece; /* NET_PIECE bytes, for what is on its way from a program to libssh */
    struct ssh_counter_struct socket_counter, raw_counter;
    struct net_end socket; /* a duplicate: libssh closes its own at any time */
    struct later step;
    struct timer *deadline; /* until signed in; then the end's */
    struct timer *tick;
    enum net_phase phase;
    struct net_settings settings;
    ssh_message auth_message;
    unsigned auth_tries;
    unsigned auth_offers;
    struct channel *channels;
    struct listener *listeners;
    uint32_t next_number;
    size_t channel_count;
    int64_t last_activity_ms;
    /* descriptors whose reply has not come yet; see net_take_fd */
    struct {
        uint32_t number;
        char what[8];
        int fd;
    } arrived[16];
    size_t arrived_count;
    ssh_message global_queue[16]; /* global requests answered in order */
    size_t global_count;
    bool agent_asked;
    char last_word[512]; /* for the SSH disconnect message: who only forwards ports has no terminal to read it in */
    enum close_reason reason;
};

/* net.c */
void net_end_init(struct net_end *end);
void net_end_open(struct net *net, struct net_end *end, int fd, watch_cb *fn, void *ctx);
void net_end_close(struct net_end *end);
/* Runs one step at the end of this turn. */
void net_wake(struct net *net);
/* Sets ssh_full, after one more try to send what libssh holds. No system call when that is nothing. Like all that sends, it may
 * read packets as well, but not while a client waits for the answer to his key. */
void net_flush(struct net *net);
/* Ends the connection: tells each terminal text (may be NULL), then disconnects. */
void net_close(struct net *net, enum close_reason reason, const char *text);
/* The descriptor that came for number under that name, now the caller's, or -1. */
int net_take_fd(struct net *net, uint32_t number, const char *what);
/* Drops all that came for number. */
void net_drop_fds(struct net *net, uint32_t number);
/* Notes a refusal, and tells the client in an SSH debug message, which `ssh -v` shows: the answers themselves have no
 * room for a reason that people see. The caller sends the answer. */
void net_refused(struct net *net, const char *what, const char *reason);
void net_audit(struct net *net, const char *event, json_t *fields);
void net_activity(struct net *net);

/* net_auth.c */
void net_auth_message(struct net *net, ssh_message message);

/* net_request.c */
void net_open_message(struct net *net, ssh_message message);
void net_channel_message(struct net *net, ssh_message message);

/* net_channel.c */
struct channel *net_channel_new(struct net *net, enum channel_kind kind) TP_MUST;
void net_channel_attach(struct channel *channel, ssh_channel ssh);
struct channel *net_channel_find(struct net *net, uint32_t number);
struct channel *net_channel_find_ssh(struct net *net, ssh_channel ssh);
void net_channel_start_io(struct channel *channel, int in_fd, int out_fd, int err_fd);
void net_channel_exited(struct channel *channel, int status, const char *signal_name);
/* It waited for SSH to take bytes, and need not wait any more. */
bool net_channel_is_free_again(struct channel *channel);
/* Moves bytes and closes what has ended; called for each channel at each step. */
void net_channel_step(struct channel *channel);
/* Can bytes of ours go out now, behind all of the program's that have been read? */
bool net_channel_takes(const struct channel *channel);
/* Some bytes (NOTICE_MAX at most) to the person's terminal, behind net_channel_takes. */
#define NOTICE_MAX ((size_t)4096)
void net_channel_give(struct channel *channel, const uint8_t *data, size_t size);
/* A text of ours on the person's terminal. */
void net_channel_say(struct channel *channel, const char *text);
void net_channel_end(struct channel *channel);
/* The connection is about to be freed, and its SSH channels with it. */
void net_channel_leave(struct channel *channel);
/* Gives the SSH channel back to libssh when both sides have closed it. Only while libssh's queue of messages is empty:
 * a queued message points at its channel. */
void net_channel_reap(struct channel *channel);
/* Frees it; its SSH channel must be gone. */
void net_channel_free(struct channel *channel);

/* net_notice.c */
/* A sentence for who sits at this terminal; nothing where there is none. */
void net_notice_add(struct channel *channel, const char *text);
/* Brings out what waits, where it fits between the program's output. Called at each step. */
void net_notice_step(struct channel *channel);

/* net_forward.c */
void net_connect(struct net *net, ssh_message message);
void net_global_message(struct net *net, ssh_message message);
void net_agent_request(struct net *net);
void net_listeners_free(struct net *net);

#endif
