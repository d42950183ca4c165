/*
 * The command line of the system's OpenSSH that reaches a node through the proxy. Nothing of what a person or a server
 * says reaches a shell unquoted: the ProxyCommand is the only text that a shell sees.
 */
#ifndef CLI_TPORT_SSH_ARGV_H
#define CLI_TPORT_SSH_ARGV_H

#include "cli/common/argv.h"
#include "cli/common/profile.h"

/* Host key algorithms: certificates only, so that a plain key is never asked about. */
#define SSH_ARGV_HOST_KEYS                                                       \
    "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com," \
    "rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com"

struct ssh_target {
    char *login; /* NULL: none was named */
    char *host;  /* name, UUID, or KEY=VALUE labels */
    bool labels; /* host is labels */
};

/* "[login@]host"; the suffix ".CLUSTER" is dropped. TP_INVALID with a sentence for names that hold anything a shell, a
 * configuration file or an option parser could take for something else. ssh_target_free it. */
enum tp_err ssh_target_parse(const char *text, const char *cluster, struct ssh_target *ret_target,
                             struct tp_error *error) TP_MUST;
void ssh_target_free(struct ssh_target *target);
/* A login that somebody else names: the server, in the certificate, or the environment. It reaches the shell of the ProxyCommand as
 * %r, and only newer OpenSSHs look at it first. TP_INVALID with a sentence. */
enum tp_err ssh_argv_check_login(const char *login, struct tp_error *error) TP_MUST;
/* "user@host:port" as OpenSSH hands it to a ProxyCommand: only host matters; ".CLUSTER" is dropped. mem_free ret_host. */
enum tp_err ssh_argv_proxy_host(const char *text, const char *cluster, char **ret_host, struct tp_error *error) TP_MUST;

/* Text as one word for a POSIX shell inside a ProxyCommand: single quotes, '%' doubled. mem_free it. */
char *ssh_argv_shell_word(const char *text) TP_MUST;
/* A path as one word of a configuration value: double quotes, '%' doubled. TP_INVALID for '"', a backslash, "${" or a
 * line break. mem_free it. */
enum tp_err ssh_argv_config_word(const char *path, char **ret_word, struct tp_error *error) TP_MUST;
/* The whole ProxyCommand value. mem_free it. */
char *ssh_argv_proxy_command(const struct profile *profile, const char *program) TP_MUST;

/* Appends the -o options that make OpenSSH use this profile: they come first, so they win over everything else. alias:
 * the name host certificates are checked against, or NULL for the host name itself. */
enum tp_err ssh_argv_options(struct argv *argv, const struct profile *profile, const char *program, const char *alias,
                             struct tp_error *error) TP_MUST;

#endif
