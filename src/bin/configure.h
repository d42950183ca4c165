/* tportd configure and tportd node configure: write a first configuration. */
#ifndef BIN_CONFIGURE_H
#define BIN_CONFIGURE_H

#include "cli/common/command.h"

extern const struct command_option configure_options[];
extern const struct command_option configure_node_options[];

/* "tportd configure". exit_code becomes 0: done, 1: failed, 2: wrong usage; what is wrong has been said. */
enum tp_err configure_run(struct command_line *line, struct tp_error *error) TP_MUST;
/* "tportd node configure": a machine that joins a cluster. */
enum tp_err configure_node_run(struct command_line *line, struct tp_error *error) TP_MUST;

#endif
