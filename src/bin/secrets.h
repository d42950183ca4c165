/* tportd secrets: what is done to the secrets store while tportd does not run. */
#ifndef BIN_SECRETS_H
#define BIN_SECRETS_H

#include "cli/common/command.h"

extern const struct command_option secrets_options[];

/* "tportd secrets rekey". */
enum tp_err secrets_run(struct command_line *line, struct tp_error *error) TP_MUST;

#endif
