/* Why a connection ended: one reason out of one list, set once, the first wins. It feeds the log line and the audit. */
#ifndef BASE_CLOSE_H
#define BASE_CLOSE_H

/* X(symbol, name, is_error, text) */
#define CLOSE_REASON_LIST(X)                                                                       \
    X(NONE, "none", 0, "still open")                                                               \
    X(CLIENT_CLOSED, "client_closed", 0, "the client closed the connection")                       \
    X(TARGET_CLOSED, "target_closed", 0, "the target closed the connection")                       \
    X(DONE, "done", 0, "the exchange is complete")                                                 \
    X(SHUTDOWN, "shutdown", 0, "this process is shutting down")                                    \
    X(DRAIN, "drain", 0, "this process is draining after a reload")                                \
    X(HANDED_OFF, "handed_off", 0, "another worker took the connection over")                      \
    X(PREAUTH_TIMEOUT, "preauth_timeout", 1, "the client did not authenticate in time")            \
    X(PREAUTH_TOO_LARGE, "preauth_too_large", 1, "the client sent too much before authentication") \
    X(SOURCE_LIMIT, "source_limit", 1, "too many unauthenticated connections from one source")     \
    X(CONNECTION_LIMIT, "connection_limit", 1, "this worker holds as many connections as it may")  \
    X(PROXY_HEADER, "proxy_header", 1, "the PROXY header is missing, not allowed or broken")       \
    X(NOT_TLS, "not_tls", 1, "the first bytes are no TLS ClientHello")                             \
    X(SSH_REFUSED, "ssh_refused", 1, "plain SSH on this port is not offered")                      \
    X(HTTP_PLAIN, "http_plain", 1, "plain HTTP on the TLS port")                                   \
    X(HTTP2, "http2", 1, "HTTP/2 is not spoken here")                                              \
    X(BAD_HELLO, "bad_hello", 1, "the ClientHello is malformed")                                   \
    X(NO_ROUTE, "no_route", 1, "no route for this ALPN and server name")                           \
    X(TLS_FAILED, "tls_failed", 1, "the TLS handshake failed")                                     \
    X(CERT_MISSING, "cert_missing", 1, "the client sent no certificate where one is needed")       \
    X(CERT_REFUSED, "cert_refused", 1, "the client's certificate was refused")                     \
    X(ACCESS_DENIED, "access_denied", 1, "access denied")                                          \
    X(MFA_NEEDED, "mfa_needed", 1, "this session needs your second factor")                        \
    X(TARGET_UNKNOWN, "target_unknown", 1, "no such target")                                       \
    X(TARGET_OFFLINE, "target_offline", 1, "the target is offline")                                \
    X(TARGET_REFUSED, "target_refused", 1, "the target refused the connection")                    \
    X(TARGET_TIMEOUT, "target_timeout", 1, "the target did not answer in time")                    \
    X(PROTOCOL_ERROR, "protocol_error", 1, "the peer broke the protocol")                          \
    X(BAD_REQUEST, "bad_request", 1, "the HTTP request is malformed")                              \
    X(TOO_LARGE, "too_large", 1, "the peer sent more than is allowed")                             \
    X(IDLE_TIMEOUT, "idle_timeout", 1, "nothing was sent for too long")                            \
    X(KEEPALIVE_TIMEOUT, "keepalive_timeout", 1, "the peer stopped answering")                     \
    X(PEER_RESET, "peer_reset", 1, "the peer reset the connection")                                \
    X(IO_ERROR, "io_error", 1, "a read or write failed")                                           \
    X(REPLACED, "replaced", 0, "a newer connection of the same agent took over")                   \
    X(LOCKED, "locked", 1, "a lock is in force")                                                   \
    X(CERT_EXPIRED, "cert_expired", 1, "the certificate has expired")                              \
    X(RIGHT_LOST, "right_lost", 1, "a change of roles or labels took the right away")              \
    X(ENDED_BY_ADMIN, "ended_by_admin", 1, "an administrator ended the session")                   \
    X(RECORDING_FAILED, "recording_failed", 1, "the session can't be recorded")                    \
    X(AUDIT_FAILED, "audit_failed", 1, "the access can't be recorded, so it is refused")           \
    X(SESSION_CRASHED, "session_crashed", 1, "the session's process died")                         \
    X(AUTH_UNAVAILABLE, "auth_unavailable", 1, "the auth process is not available")                \
    X(INTERNAL, "internal", 1, "an internal error, see the log")

enum close_reason {
#define X(symbol, name, is_error, text) CLOSE_##symbol,
    CLOSE_REASON_LIST(X)
#undef X
        CLOSE_REASON_COUNT
};

/* "client_closed"; never NULL. */
const char *close_name(enum close_reason reason);
/* One sentence without a full stop; never NULL. */
const char *close_text(enum close_reason reason);
/* Not the normal end of a connection. */
_Bool close_is_error(enum close_reason reason);
/* The reason with that name; CLOSE_INTERNAL for an unknown one. */
enum close_reason close_from_name(const char *name);

#endif
