/*
 * Says no to a channel with a reason (RFC 4254 section 5.1). libssh (0.10 to 0.12) can only say "administratively
 * prohibited" without a word, so its packet is written anew on the way out (ld --wrap, like guard.c).
 */
#ifndef SESSION_OPEN_REFUSE_H
#define SESSION_OPEN_REFUSE_H

#include <libssh/libssh.h>

enum open_refusal {
    OPEN_PROHIBITED = 1,
    OPEN_CONNECT_FAILED = 2,
    OPEN_UNKNOWN_TYPE = 3,
    OPEN_NO_ROOM = 4,
};

/* Answers message, an open of a channel, and frees it. ssh sees code's own words before reason, which is a line for people. */
void open_refuse(ssh_message message, enum open_refusal code, const char *reason);

#endif
