/*
 * Terminal modes of a pty-req (RFC 4254 section 8): what the client's own terminal is set to, so that keys such as erase
 * and interrupt, and settings such as "8-bit clean" and UTF-8, are the same on the host. Pure: bytes in, a termios changed.
 */
#ifndef SESSION_MODES_H
#define SESSION_MODES_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#define MODES_MAX_BYTES 1024 /* of one encoded list; all opcodes that exist need about 300 */

/*
 * Reads an encoded list: a byte opcode with a u32 each, until opcode 0, an opcode of 160 and above (which RFC 4254 says
 * ends the reading), or the end. Returns [[opcode, value], ...] for the caller to own; NULL when it is longer than
 * MODES_MAX_BYTES or a value is cut short.
 */
json_t *modes_read(const uint8_t *data, size_t size) TP_MUST;
/* Sets in *termios what list (as of modes_read) says. Opcodes that this system lacks and list items of another shape
 * change nothing. */
void modes_apply(const json_t *list, struct termios *termios);

#endif
