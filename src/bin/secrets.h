/* tportd secrets: what is done to the secrets store while tportd does not run. */
#ifndef BIN_SECRETS_H
#define BIN_SECRETS_H

/* argv[0] is "secrets". Returns what main returns. */
int secrets_run(int argc, char **argv);

#endif
