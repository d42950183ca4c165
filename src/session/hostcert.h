/*
 * Host certificates for a libssh server, which has none of its own: six internal functions of the static libssh.a are
 * wrapped at link time (ld --wrap; CMakeLists.txt checks that each exists). The server then offers the certificate
 * algorithm first, sends the certificate in place of the plain key, and signs with the plain key as before.
 *
 * libssh gives these functions no context, so the certificate is process-wide: tport-session serves one connection.
 */
#ifndef SESSION_HOSTCERT_H
#define SESSION_HOSTCERT_H

#include "base/err.h"

/* line: "ssh-ed25519-cert-v01@openssh.com AAAA... comment". Before the SSH session starts, once. */
enum tp_err hostcert_set(const char *line, struct tp_error *error) TP_MUST;

#endif
