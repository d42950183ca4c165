#include "bin/secrets.h"

#include "auth/secrets_key.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* The lock that a running tportd holds. Without the file none has ever run here. */
static enum tp_err lock_data(const char *data_dir, int *ret_fd, struct tp_error *error)
{
    char *path = mem_printf("%s/tportd.lock", data_dir);
    enum tp_err err = TP_OK;
    *ret_fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (*ret_fd < 0 && errno != ENOENT) {
        err = err_errno(error, errno, "cannot open %s", path);
    } else if (*ret_fd >= 0 && flock(*ret_fd, LOCK_EX | LOCK_NB) != 0) {
        err = errno == EWOULDBLOCK
                  ? err_set(error, TP_UNAVAILABLE, "tportd runs with data_dir %s; stop it first", data_dir)
                  : err_errno(error, errno, "cannot lock %s", path);
    }
    mem_free(path);
    return err;
}

static enum tp_err rekey(const char *conf_path, const char *key_file, struct tp_error *error)
{
    struct conf *conf = NULL;
    enum secrets_rekeyed done = SECRETS_REKEYED;
    int lock = -1;
    char *path = NULL;
    enum tp_err err = conf_load(conf_path, &conf, NULL, error);
    if (err == TP_OK && !conf->auth_enabled)
        err = err_set(error, TP_INVALID, "auth_service is off in %s, so there is no secrets store here", conf_path);
    if (err == TP_OK) {
        path = key_file                  ? mem_strdup(key_file)
               : *conf->secrets_key_file ? mem_strdup(conf->secrets_key_file)
                                         : mem_printf("%s/keys/secrets.key", conf->data_dir);
        err = lock_data(conf->data_dir, &lock, error);
    }
    if (err == TP_OK)
        err = secrets_rekey(conf->data_dir, path, &done, error);
    if (err == TP_OK)
        (void)printf(
            "%s %s.\n"
            "Make a backup of it, and keep the old key's as long as backups of the store from before: they open with "
            "that one.\n",
            done == SECRETS_FINISHED ? "A change of the key that had been cut short is done now; the new key is in"
                                     : "The secrets store is sealed with a new key, which is in",
            path);
    if (lock >= 0)
        (void)close(lock);
    conf_free(conf);
    mem_free(path);
    return err;
}

const struct command_option secrets_options[] = {
    {"config", 'c', COMMAND_TEXT, "FILE", "The configuration (" CONF_DEFAULT_FILE ")"},
    {"key-file", 0, COMMAND_TEXT, "FILE",
     "Where the key is now and the new one is to be, when that is not where the configuration says: a credential of "
     "systemd, for example, is there only while tportd runs"},
    {NULL, 0, COMMAND_FLAG, NULL, NULL}};

enum tp_err secrets_run(struct command_line *line, struct tp_error *error)
{
    const char *key_file = command_text(line, "key-file", NULL);
    if (key_file && *key_file != '/')
        return err_set(error, TP_INVALID, "--key-file needs an absolute path");
    log_init("secrets", STDERR_FILENO, LOG_LEVEL_WARN, false);
    return rekey(command_text(line, "config", CONF_DEFAULT_FILE), key_file, error);
}
