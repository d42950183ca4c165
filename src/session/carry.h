/*
 * What libssh (0.10 to 0.12) reads from a client and throws away, brought to us in fields that it keeps (ld --wrap, like
 * hostcert.h and guard.c; the packets are written anew, so that no state is kept beside libssh's own):
 *
 * - the terminal modes of a pty-req: behind the terminal's name, in hex;
 * - the path of a direct-streamlocal@openssh.com channel: as the destination of a direct-tcpip channel, behind a byte that
 *   no client can send there.
 */
#ifndef SESSION_CARRY_H
#define SESSION_CARRY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct ssh_buffer_struct; /* libssh's ssh_buffer */

/* The longest path of a socket that is passed on; unix(7) has room for no more. */
#define CARRY_PATH_MAX 107

/* The path when destination (of a direct-tcpip open, as libssh tells it) carries one, else NULL. It points into destination. */
const char *carry_socket_path(const char *destination);

/* The name in term (of a pty-req, as libssh tells it) has *ret_size bytes; *ret_modes gets the modes (modes.h) for the
 * caller to own, NULL when there are none. False: refuse the request. */
bool carry_terminal(const char *term, size_t *ret_size, json_t **ret_modes);

/* Stands in front of an open of a channel: the packet to hand on instead, for the caller to free; NULL: as it is. */
struct ssh_buffer_struct *carry_open(struct ssh_buffer_struct *packet);

#endif
