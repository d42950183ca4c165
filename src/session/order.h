/*
 * The order of the calls that the unprivileged half (net) may make to the privileged half (monitor), as one table.
 * What is not in the table, not for the kind of the grant, not allowed in the present state, or asked too often ends the
 * connection (R7).
 */
#ifndef SESSION_ORDER_H
#define SESSION_ORDER_H

#include "base/err.h"

enum order_state {
    ORDER_UNAUTHENTICATED = 1, /* net runs, nobody has signed in */
    ORDER_AUTHENTICATED = 2,   /* the certificate was accepted and the login exists */
    ORDER_ENDING = 4,          /* cut or closing: only what ends things */
};

/* What the grant is for. A half that serves one kind has no business with the calls of another. */
enum order_kind {
    ORDER_KIND_SSH = 1,   /* an SSH connection */
    ORDER_KIND_SHELL = 2, /* one shell in a browser */
    ORDER_KIND_FILE = 4,  /* one file, from a browser */
};

enum order_method {
    ORDER_AUTH,
    ORDER_OPEN_SHELL,
    ORDER_OPEN_EXEC,
    ORDER_OPEN_SFTP,
    ORDER_OPEN_FILE,
    ORDER_FILE_DONE,
    ORDER_SIGNAL,
    ORDER_CONNECT,
    ORDER_LISTEN,
    ORDER_AGENT_LISTEN,
    ORDER_RECORD,
    ORDER_END,
    ORDER_AUDIT,
    ORDER_BYE,
    ORDER_METHOD_COUNT,
};

#define ORDER_AUTH_TRIES 6

/* How often each method has been called on this connection. Zero-initialise it. */
struct order {
    uint32_t calls[ORDER_METHOD_COUNT];
};

/* One row; for tests that walk the table. */
struct order_row {
    const char *name;
    enum order_method method;
    unsigned kinds;  /* set of enum order_kind */
    unsigned states; /* set of enum order_state */
    uint32_t max;    /* most calls on one connection; 0: no limit */
};
const struct order_row *order_rows(size_t *ret_count);

/* Counts and allows the call, or TP_PROTOCOL: the connection must end. */
enum tp_err order_check(struct order *order, enum order_kind kind, enum order_state state, const char *name,
                        enum order_method *ret_method, struct tp_error *error) TP_MUST;

/* May a half of this kind put that event into the audit log by itself? */
bool order_audits(enum order_kind kind, const char *event) TP_MUST;

#endif
