/*
 * Every SSH channel type, global request, channel request and subsystem that a client may use, in one table, each with
 * the right that it needs (R2). Everything that is not in it is refused.
 */
#ifndef SESSION_REQUESTS_H
#define SESSION_REQUESTS_H

#include "base/err.h"

enum request_place {
    REQUEST_GLOBAL,    /* SSH_MSG_GLOBAL_REQUEST */
    REQUEST_OPEN,      /* SSH_MSG_CHANNEL_OPEN */
    REQUEST_CHANNEL,   /* SSH_MSG_CHANNEL_REQUEST on a session channel */
    REQUEST_SUBSYSTEM, /* the name in a subsystem request */
};

/* What the grant must allow. */
enum request_verb {
    VERB_NONE,           /* every signed-in client; changes nothing */
    VERB_SESSION,        /* a shell or a command: counted by max_sessions, recorded */
    VERB_FILE_COPY,      /* options.file_copy */
    VERB_FORWARD_LOCAL,  /* options.port_forwarding_local: the client connects through the host */
    VERB_FORWARD_REMOTE, /* options.port_forwarding_remote: the host listens for the client */
    VERB_FORWARD_AGENT,  /* forward_agent of the login */
    VERB_NEVER,          /* known, and always refused with a line in the log */
};

enum request_id {
    REQUEST_UNKNOWN,
    REQUEST_FORWARD_LISTEN,
    REQUEST_FORWARD_CANCEL,
    REQUEST_KEEPALIVE,
    REQUEST_OPEN_SESSION,
    REQUEST_OPEN_DIRECT_TCPIP,
    REQUEST_OPEN_STREAMLOCAL,
    REQUEST_OPEN_X11,
    REQUEST_PTY,
    REQUEST_ENV,
    REQUEST_SHELL,
    REQUEST_EXEC,
    REQUEST_SUBSYSTEM_START,
    REQUEST_WINDOW_CHANGE,
    REQUEST_SIGNAL,
    REQUEST_AGENT,
    REQUEST_X11,
    REQUEST_SFTP,
};

struct request_row {
    enum request_place place;
    const char *name; /* as on the wire */
    enum request_id id;
    enum request_verb verb;
};

/* What the grant gives, reduced to yes and no. */
struct request_rights {
    bool file_copy;
    bool forward_local;
    bool forward_remote;
    bool forward_agent;
};

const struct request_row *requests_rows(size_t *ret_count);
/* The row of a wire name, or NULL: refuse. */
const struct request_row *requests_find(enum request_place place, const char *name);
/* The row of an id; id must not be REQUEST_UNKNOWN. */
const struct request_row *requests_row(enum request_id id);
/* One place decides: TP_DENIED with the sentence for the log, or TP_OK. row may be NULL. */
enum tp_err requests_decide(const struct request_row *row, const struct request_rights *rights,
                            struct tp_error *error) TP_MUST;

/* True when a command is a file copy by its form: the first word (its last path part) is scp or sftp-server, or it is
 * rsync with the word --server. A shell can copy in other ways; this stops the tools, not a determined person. */
bool requests_is_file_copy(const char *command);

#endif
