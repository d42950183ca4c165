/*
 * Which grants were used, as names DIR/used/ID of a file: of two processes one makes the name, and it outlives both. The process after
 * this one asks there, and the one beside it: a reload starts a new agent, and the old one serves on until all is ready.
 * The disk is not waited for, so a machine that loses its power loses what was noted last.
 */
#ifndef AGENT_AGENT_USED_H
#define AGENT_AGENT_USED_H

#include <stdint.h>

#define AGENT_USED_MS ((int64_t)120 * 1000) /* longer than a grant lives; then nobody asks for its name */

enum agent_used { AGENT_USED_FIRST, AGENT_USED_BEFORE, AGENT_USED_UNKNOWN };

/* Makes the folder and removes what is too old to matter: its process ended before it could. */
void agent_used_open(const char *dir);
/* id is used now. AGENT_USED_UNKNOWN: it can't be noted (dir is NULL, the disk is full, id is no plain word). */
enum agent_used agent_used_note(const char *dir, const char *id);
/* It has expired. */
void agent_used_forget(const char *dir, const char *id);

#endif
