#include "bin/secrets.h"

#include "auth/secrets_key.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int usage(FILE *out)
{
    (void)fputs("Usage: tportd secrets rekey [-c FILE] [--key-file=FILE]\n"
                "\n"
                "Makes a new key for the secrets store and seals the store with it. tportd must be stopped. It may be "
                "cut short\n"
                "at any moment: run it again, or start tportd.\n"
                "\n"
                "  -c, --config=FILE   the configuration (default /etc/tport/tport.conf)\n"
                "      --key-file=FILE where the key is now and the new one is to be, when that is not where the "
                "configuration\n"
                "                      says: a credential of systemd, for example, is there only while tportd runs\n"
                "  -h, --help          this text\n",
                out);
    return out == stdout ? 0 : 1;
}

static int complain(const char *text)
{
    (void)fprintf(stderr, "tportd: %s\n", text);
    return 1;
}

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

static int rekey(const char *conf_path, const char *key_file)
{
    struct conf *conf = NULL;
    struct tp_error error = {0};
    enum secrets_rekeyed done = SECRETS_REKEYED;
    int lock = -1;
    char *path = NULL;
    enum tp_err err = conf_load(conf_path, &conf, NULL, &error);
    if (err == TP_OK && !conf->auth_enabled)
        err = err_set(&error, TP_INVALID, "auth_service is off in %s, so there is no secrets store here", conf_path);
    if (err == TP_OK) {
        path = key_file                  ? mem_strdup(key_file)
               : *conf->secrets_key_file ? mem_strdup(conf->secrets_key_file)
                                         : mem_printf("%s/keys/secrets.key", conf->data_dir);
        err = lock_data(conf->data_dir, &lock, &error);
    }
    if (err == TP_OK)
        err = secrets_rekey(conf->data_dir, path, &done, &error);
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
    return err == TP_OK ? 0 : complain(error.text);
}

int secrets_run(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"key-file", required_argument, NULL, 'k'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *conf_path = CONF_DEFAULT_FILE;
    const char *key_file = NULL;
    for (int option; (option = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            conf_path = optarg;
            break;
        case 'k':
            key_file = optarg;
            break;
        case 'h':
            return usage(stdout);
        default:
            return usage(stderr);
        }
    }
    if (argc - optind != 1 || strcmp(argv[optind], "rekey") != 0)
        return usage(stderr);
    if (key_file && *key_file != '/')
        return complain("--key-file needs an absolute path");
    log_init("secrets", STDERR_FILENO, LOG_LEVEL_WARN, false);
    return rekey(conf_path, key_file);
}
