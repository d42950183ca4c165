/* The audit log: recording, recovery after a crash, queries, and the offline proof against every kind of damage. */
#include "audit/audit_log.h"
#include "audit/event.h"
#include "audit/note.h"
#include "base/clock.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ORIGIN "example.com/audit"

static struct key *key;
static char dir[64];

static void remove_tree(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL) {
        char child[PATH_MAX];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        assert_int_equal(lstat(child, &info), 0);
        if (S_ISDIR(info.st_mode))
            remove_tree(child);
        else
            assert_int_equal(unlink(child), 0);
    }
    if (folder)
        (void)closedir(folder);
    (void)rmdir(path);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/test_audit.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    remove_tree(dir);
    return 0;
}

static struct audit_log *open_log(void)
{
    struct audit_log *log = NULL;
    struct tp_error error = {0};
    if (audit_log_open(dir, ORIGIN, key, &log, &error) != TP_OK)
        fail_msg("open: %s", error.text);
    return log;
}

static void append(struct audit_log *log, const char *name, const char *user, int number)
{
    json_t *event = event_new(name, true, "example.com");
    char *text;
    (void)json_object_set_new(event, "user", json_string(user));
    (void)json_object_set_new(event, "number", json_integer(number));
    text = json_text(event);
    assert_int_equal(audit_log_append(log, text, strlen(text)), TP_OK);
    mem_free(text);
    json_decref(event);
}

static void sync_log(struct audit_log *log)
{
    struct tp_error error = {0};
    if (audit_log_sync(log, &error) != TP_OK)
        fail_msg("sync: %s", error.text);
}

static char *verifier(void)
{
    struct audit_log *log = open_log();
    char *text = audit_log_verifier_key(log);
    audit_log_close(log);
    return text;
}

static enum tp_err verify(const char *vkey, struct audit_verdict *verdict, struct tp_error *error)
{
    memset(error, 0, sizeof(*error));
    return audit_log_verify(dir, vkey, NULL, verdict, error);
}

static void assert_sound(uint64_t size, uint64_t unpublished)
{
    uint8_t public_key[32];
    struct audit_verdict verdict;
    struct tp_error error;
    char *vkey;
    assert_int_equal(key_ed25519_public(key, public_key), TP_OK);
    vkey = note_verifier_key(ORIGIN, public_key);
    if (verify(vkey, &verdict, &error) != TP_OK)
        fail_msg("verify: %s", error.text);
    assert_int_equal(verdict.size, size);
    assert_int_equal(verdict.unpublished, unpublished);
    mem_free(vkey);
}

static void test_empty_log_is_sound(void **state)
{
    struct audit_log *log = open_log();
    (void)state;
    assert_non_null(strstr(audit_log_checkpoint(log), ORIGIN "\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"));
    audit_log_close(log);
    assert_sound(0, 0);
}

static void test_events_survive_reopening(void **state)
{
    (void)state;
    for (int round = 0, number = 0; round < 4; round++) {
        struct audit_log *log = open_log();
        for (int i = 0; i < 200; i++)
            append(log, "session.start", "alice", number++);
        sync_log(log);
        append(log, "session.end", "alice", number++); /* close writes it */
        audit_log_close(log);
        assert_sound((uint64_t)number, 0);
    }
}

#ifdef TPORT_SANITIZE
#define MANY 3000 /* sanitized, hashing takes ten times as long */
#define BIT_STEP 4
#else
#define BIT_STEP 1
#define MANY 70000 /* past the first tile of level 1 */
#endif

static void test_every_size_is_sound(void **state)
{
    struct audit_log *log = open_log();
    (void)state;
    for (int i = 0; i < 40; i++) {
        append(log, "exec", "bob", i);
        sync_log(log);
        assert_sound((uint64_t)i + 1, 0);
    }
    for (int i = 40; i < MANY; i++)
        append(log, "exec", "bob", i);
    sync_log(log);
    audit_log_close(log);
    assert_sound(MANY, 0);
    log = open_log();
    append(log, "exec", "bob", MANY);
    audit_log_close(log);
    assert_sound(MANY + 1, 0);
}

static void test_bad_lines_are_refused(void **state)
{
    struct audit_log *log = open_log();
    char *large = mem_alloc(AUDIT_LINE_MAX + 2);
    (void)state;
    memset(large, 'x', AUDIT_LINE_MAX + 1);
    assert_int_equal(audit_log_append(log, large, AUDIT_LINE_MAX + 1), TP_TOO_LARGE);
    assert_int_equal(audit_log_append(log, "", 0), TP_INVALID);
    assert_int_equal(audit_log_append(log, "{}\n{}", 5), TP_INVALID);
    assert_int_equal(audit_log_append(log, "text", 4), TP_INVALID);
    assert_int_equal(audit_log_append(log, "{\0}", 3), TP_INVALID);
    assert_int_equal(audit_log_pending(log), 0);
    memset(large, ' ', AUDIT_LINE_MAX);
    large[0] = '{';
    large[AUDIT_LINE_MAX - 1] = '}';
    assert_int_equal(audit_log_append(log, large, AUDIT_LINE_MAX), TP_OK);
    sync_log(log);
    audit_log_close(log);
    mem_free(large);
    assert_sound(1, 0);
}

static void test_one_batch_at_a_time(void **state)
{
    struct audit_log *log = open_log();
    struct audit_batch *batch;
    struct tp_error error = {0};
    (void)state;
    assert_null(audit_log_take_batch(log));
    append(log, "exec", "a", 1);
    batch = audit_log_take_batch(log);
    assert_non_null(batch);
    assert_int_equal(audit_batch_count(batch), 1);
    append(log, "exec", "a", 2);
    assert_null(audit_log_take_batch(log));
    assert_int_equal(audit_log_sync(log, &error), TP_CONFLICT);
    assert_int_equal(audit_batch_write(batch, &error), TP_OK);
    audit_log_finish_batch(log, batch);
    batch = audit_log_take_batch(log);
    assert_int_equal(audit_batch_count(batch), 1);
    assert_int_equal(audit_batch_write(batch, &error), TP_OK);
    audit_log_finish_batch(log, batch);
    audit_log_close(log);
    assert_sound(2, 0);
}

static void test_second_opener_is_refused(void **state)
{
    struct audit_log *log = open_log(), *second = NULL;
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(audit_log_open(dir, ORIGIN, key, &second, &error), TP_UNAVAILABLE);
    audit_log_close(log);
}

/* A child acknowledges events one by one through a pipe until it is killed: none of the acknowledged may be lost. */
static void test_kill_loses_no_acknowledged_event(void **state)
{
    uint64_t total = 0;
    (void)state;
    for (int round = 0; round < 12; round++) {
        int pipes[2], number = 0;
        char byte;
        pid_t child;
        uint64_t acknowledged = 0;
        struct audit_verdict verdict;
        struct tp_error error;
        char *vkey;
        assert_int_equal(pipe(pipes), 0);
        child = fork();
        if (child == 0) {
            struct audit_log *log = NULL;
            if (audit_log_open(dir, ORIGIN, key, &log, NULL) != TP_OK)
                _exit(1);
            for (;; number++) {
                struct audit_batch *batch;
                char text[128];
                int size =
                    snprintf(text, sizeof(text), "{\"event\":\"exec\",\"round\":%d,\"number\":%d}", round, number);
                if (audit_log_append(log, text, (size_t)size) != TP_OK)
                    _exit(2);
                if (number % 50 == 49) { /* publications happen in between */
                    if (audit_log_sync(log, NULL) != TP_OK)
                        _exit(3);
                } else {
                    batch = audit_log_take_batch(log);
                    if (!batch || audit_batch_write(batch, NULL) != TP_OK)
                        _exit(4);
                    audit_log_finish_batch(log, batch);
                }
                if (write(pipes[1], "x", 1) != 1)
                    _exit(5);
            }
        }
        (void)close(pipes[1]);
        for (int i = 0; i < 20 + 37 * round; i++) {
            assert_int_equal(read(pipes[0], &byte, 1), 1);
            acknowledged++;
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(pipes[0], &byte, 1) == 1)
            acknowledged++;
        (void)close(pipes[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);
        vkey = verifier(); /* opens, recovers, closes */
        if (verify(vkey, &verdict, &error) != TP_OK)
            fail_msg("round %d: %s", round, error.text);
        assert_true(verdict.size >= total + acknowledged);
        assert_true(verdict.size <= total + acknowledged + 1);
        assert_int_equal(verdict.unpublished, 0);
        total = verdict.size;
        mem_free(vkey);
    }
}

static char *today_path(void)
{
    char now[CLOCK_TEXT_SIZE];
    clock_format_ms(clock_wall_ms(), now);
    return mem_printf("%s/log/%.10s.log", dir, now);
}

static void write_file(const char *path, const void *data, size_t size, int flags)
{
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    (void)close(fd);
}

static char *read_file(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY);
    struct stat info;
    char *data;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    data = mem_alloc((size_t)info.st_size + 1);
    assert_int_equal(read(fd, data, (size_t)info.st_size), info.st_size);
    (void)close(fd);
    *ret_size = (size_t)info.st_size;
    return data;
}

static void test_torn_tail_is_cut_off(void **state)
{
    static const char *const tails[] = {"{\"event\":\"ex", "{\"event\":\"exec\"}", "\0\0\0\0\0",
                                        "{\"event\":\"exec\"\n{\"a\":1}\n"};
    static const size_t sizes[] = {12, 16, 5, 25};
    char *path = today_path();
    struct audit_log *log;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        log = open_log();
        append(log, "exec", "alice", (int)i);
        audit_log_close(log);
        write_file(path, tails[i], sizes[i], O_APPEND);
        log = open_log();
        audit_log_close(log);
        assert_sound(i + 1, 0);
    }
    write_file(path, "{\"event\":\"exec\"}\n", 17, O_APPEND); /* whole: a crash came between the line and the tree */
    log = open_log();
    audit_log_close(log);
    assert_sound(5, 0);
    mem_free(path);
}

static void test_shortened_day_file_is_restored(void **state)
{
    char *path = today_path(), *before, *after;
    size_t before_size, after_size;
    struct audit_log *log = open_log();
    (void)state;
    for (int i = 0; i < 700; i++)
        append(log, "exec", "alice", i);
    audit_log_close(log);
    before = read_file(path, &before_size);
    assert_int_equal(truncate(path, (off_t)before_size / 2), 0);
    log = open_log();
    audit_log_close(log);
    after = read_file(path, &after_size);
    assert_int_equal(after_size, before_size);
    assert_memory_equal(after, before, before_size);
    assert_int_equal(unlink(path), 0);
    log = open_log();
    append(log, "exec", "alice", 700);
    audit_log_close(log);
    assert_sound(701, 0);
    mem_free(before);
    mem_free(after);
    mem_free(path);
}

/* The disk fills up in the middle of a batch: nothing of it is recorded, and later events are, without a gap. */
static void test_full_disk_records_nothing_by_half(void **state)
{
    char *path = today_path();
    struct audit_log *log = open_log();
    struct audit_batch *batch;
    struct tp_error error = {0};
    struct rlimit old, small;
    size_t before, after;
    (void)state;
    append(log, "exec", "alice", 0);
    sync_log(log);
    mem_free(read_file(path, &before));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = before + 1000;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 1; i < 100; i++)
        append(log, "exec", "alice", i);
    batch = audit_log_take_batch(log);
    assert_int_not_equal(audit_batch_write(batch, &error), TP_OK);
    audit_log_finish_batch(log, batch);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    mem_free(read_file(path, &after));
    assert_int_equal(after, before);
    append(log, "exec", "alice", 100);
    audit_log_close(log);
    assert_sound(2, 0);
    mem_free(path);
}

static void test_lost_position_is_counted(void **state)
{
    char path[128];
    struct audit_log *log = open_log();
    (void)state;
    for (int i = 0; i < 30; i++)
        append(log, "exec", "alice", i);
    audit_log_close(log);
    (void)snprintf(path, sizeof(path), "%s/tlog/position", dir);
    assert_int_equal(unlink(path), 0);
    log = open_log();
    append(log, "exec", "alice", 30);
    audit_log_close(log);
    assert_sound(31, 0);
}

static void test_lost_checkpoint_is_told(void **state)
{
    char path[128];
    struct audit_log *log = open_log();
    struct tp_error error = {0};
    (void)state;
    append(log, "exec", "alice", 1);
    audit_log_close(log);
    (void)snprintf(path, sizeof(path), "%s/tlog/checkpoint", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(audit_log_open(dir, ORIGIN, key, &log, &error), TP_CORRUPT);
    assert_non_null(strstr(error.text, "checkpoint"));
}

static void test_foreign_key_is_told(void **state)
{
    struct audit_log *log = open_log();
    struct key *other = key_generate(KEY_ED25519);
    struct tp_error error = {0};
    (void)state;
    audit_log_close(log);
    assert_int_equal(audit_log_open(dir, ORIGIN, other, &log, &error), TP_CORRUPT);
    assert_int_equal(audit_log_open(dir, "other/audit", key, &log, &error), TP_CORRUPT);
    key_free(other);
}

/* All files of the log except those that prove nothing. */
static size_t list_files(const char *path, char (*out)[PATH_MAX], size_t count)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        char child[PATH_MAX];
        struct stat info;
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "position") == 0 || strcmp(entry->d_name, "index") == 0)
            continue;
        (void)snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        assert_int_equal(lstat(child, &info), 0);
        if (S_ISDIR(info.st_mode))
            count = list_files(child, out, count);
        else if (S_ISREG(info.st_mode))
            memcpy(out[count++], child, sizeof(child));
        assert_true(count < 32);
    }
    (void)closedir(folder);
    return count;
}

static void test_every_changed_byte_and_every_cut_is_found(void **state)
{
    char(*files)[PATH_MAX] = mem_array(32, PATH_MAX);
    size_t count;
    struct audit_log *log = open_log();
    struct audit_verdict verdict;
    struct tp_error error;
    char *vkey;
    (void)state;
    for (int i = 0; i < 5; i++)
        append(log, "user.login", "alice", i);
    audit_log_close(log);
    vkey = verifier();
    count = list_files(dir, files, 0);
    assert_int_equal(count, 4); /* day file, entries, hashes, checkpoint */
    for (size_t f = 0; f < count; f++) {
        size_t size;
        char *data = read_file(files[f], &size);
        for (size_t at = 0; at < size; at++) {
            for (int bit = 0; bit < 8; bit += BIT_STEP) {
                data[at] = (char)(data[at] ^ (1 << bit));
                write_file(files[f], data, size, 0);
                data[at] = (char)(data[at] ^ (1 << bit));
                if (verify(vkey, &verdict, &error) == TP_OK)
                    fail_msg("%s: bit %d of byte %zu may be changed", files[f], bit, at);
                assert_int_equal(error.code, TP_CORRUPT);
            }
        }
        write_file(files[f], data, size, 0);
        for (size_t at = size; at-- > 0;) {
            assert_int_equal(truncate(files[f], (off_t)at), 0);
            if (verify(vkey, &verdict, &error) == TP_OK)
                fail_msg("%s may be cut to %zu bytes", files[f], at);
        }
        write_file(files[f], data, size, O_TRUNC);
        assert_int_equal(verify(vkey, &verdict, &error), TP_OK);
        assert_int_equal(unlink(files[f]), 0);
        assert_int_not_equal(verify(vkey, &verdict, &error), TP_OK);
        write_file(files[f], data, size, O_TRUNC);
        mem_free(data);
    }
    mem_free(vkey);
    mem_free(files);
}

static void test_damage_is_named(void **state)
{
    char *path = today_path(), *data, *third;
    size_t size;
    struct audit_log *log = open_log();
    struct audit_verdict verdict;
    struct tp_error error;
    char *vkey;
    (void)state;
    for (int i = 0; i < 300; i++)
        append(log, "exec", "alice", i);
    audit_log_close(log);
    vkey = verifier();
    data = read_file(path, &size);
    third = strstr(data, "\"number\":257");
    assert_non_null(third);
    third[9] = '9';
    write_file(path, data, size, O_TRUNC);
    assert_int_equal(verify(vkey, &verdict, &error), TP_CORRUPT);
    assert_non_null(strstr(error.text, "leaf 257"));
    assert_non_null(strstr(error.text, "line 258"));
    mem_free(data);
    mem_free(path);
    mem_free(vkey);
}

static void test_earlier_checkpoint_shows_a_rewritten_log(void **state)
{
    struct audit_log *log = open_log();
    char *earlier, *vkey, *longer;
    struct audit_verdict verdict;
    struct tp_error error = {0};
    (void)state;
    for (int i = 0; i < 10; i++)
        append(log, "exec", "alice", i);
    sync_log(log);
    earlier = mem_strdup(audit_log_checkpoint(log));
    for (int i = 0; i < 10; i++)
        append(log, "exec", "alice", i);
    sync_log(log);
    longer = mem_strdup(audit_log_checkpoint(log));
    vkey = audit_log_verifier_key(log);
    audit_log_close(log);
    assert_int_equal(audit_log_verify(dir, vkey, earlier, &verdict, &error), TP_OK);
    /* Somebody with the key begins anew and tells another story. */
    remove_tree(dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    log = open_log();
    for (int i = 0; i < 12; i++)
        append(log, "exec", "mallory", i);
    audit_log_close(log);
    assert_int_equal(audit_log_verify(dir, vkey, NULL, &verdict, &error), TP_OK);
    assert_int_equal(audit_log_verify(dir, vkey, earlier, &verdict, &error), TP_CORRUPT);
    assert_int_equal(audit_log_verify(dir, vkey, longer, &verdict, &error), TP_CORRUPT);
    assert_non_null(strstr(error.text, "cut"));
    mem_free(earlier);
    mem_free(longer);
    mem_free(vkey);
}

struct seen {
    int numbers[2000];
    size_t count;
};

static bool note_event(void *ctx, const json_t *event)
{
    struct seen *seen = ctx;
    seen->numbers[seen->count++] = (int)json_get_int(event, "number", -1);
    return true;
}

static void query(const struct audit_query *wanted, struct seen *seen, char **ret_key)
{
    struct tp_error error = {0};
    if (audit_log_query(dir, wanted, note_event, seen, ret_key, &error) != TP_OK)
        fail_msg("query: %s", error.text);
}

static void test_query(void **state)
{
    static const char *const types[] = {"user.login", "exec", NULL};
    struct audit_log *log = open_log();
    struct seen seen = {{0}, 0};
    struct audit_query wanted = {0};
    struct tp_error error = {0};
    char *next = NULL, *path, *old_path;
    int64_t now = clock_wall_ms();
    (void)state;
    for (int i = 0; i < 1000; i++)
        append(log, i % 3 ? "session.start" : i % 2 ? "exec" : "user.login", i % 5 ? "alice" : "bob", i);
    audit_log_close(log);
    /* An older day beside it. */
    path = today_path();
    old_path = mem_printf("%s/log/2001-02-03.log", dir);
    write_file(old_path,
               "{\"event\":\"exec\",\"time\":\"2001-02-03T04:05:06.000Z\",\"user\":\"bob\",\"number\":5000}\n", 79,
               O_TRUNC);

    wanted.limit = 7;
    for (size_t expected = 999; expected + 1 > 0;) { /* newest first, page by page */
        seen.count = 0;
        wanted.start_key = next;
        char *previous = next;
        query(&wanted, &seen, &next);
        mem_free(previous);
        for (size_t i = 0; i < seen.count; i++) {
            if (expected + 1 == 0) {
                assert_int_equal(seen.numbers[i], 5000);
                break;
            }
            assert_int_equal(seen.numbers[i], expected);
            expected--;
        }
        if (next[0] == '\0')
            break;
    }
    mem_free(next);
    next = NULL;
    wanted = (struct audit_query){.ascending = true, .types = types, .user = "bob"};
    seen.count = 0;
    query(&wanted, &seen, &next);
    assert_string_equal(next, "");
    mem_free(next);
    assert_int_equal(seen.count, 68);
    assert_int_equal(seen.numbers[0], 5000);
    assert_int_equal(seen.numbers[1], 0);
    assert_int_equal(seen.numbers[67], 990);

    wanted = (struct audit_query){
        .ascending = true, .from_ms = now - 3600000, .to_ms = now + 3600000, .text = "NUMBER\":99"};
    seen.count = 0;
    query(&wanted, &seen, &next);
    mem_free(next);
    assert_int_equal(seen.count, 11); /* 99 and 990 to 999 */
    wanted = (struct audit_query){.to_ms = now - 3600000};
    seen.count = 0;
    query(&wanted, &seen, &next);
    mem_free(next);
    assert_int_equal(seen.count, 1);
    wanted = (struct audit_query){.start_key = "../../etc:1"};
    assert_int_equal(audit_log_query(dir, &wanted, note_event, &seen, &next, &error), TP_INVALID);
    mem_free(path);
    mem_free(old_path);
}

static void test_event_codes(void **state)
{
    json_t *event = event_new("user.login", false, "example.com");
    (void)state;
    assert_string_equal(json_get_text(event, "code", ""), "T1000W");
    assert_string_equal(json_get_text(event, "cluster_name", ""), "example.com");
    assert_int_equal(strlen(json_get_text(event, "uid", "")), 36);
    assert_int_equal(json_get_int(event, "ei", -1), 0);
    json_decref(event);
    assert_string_equal(event_code("user.login", true), "T1000I");
    assert_string_equal(event_code("session.rejected", false), "T1006W");
    assert_string_equal(event_code("exec", false), "T3002E");
    assert_string_equal(event_code("join_token.delete", true), "TJT01I");
    assert_string_equal(event_code("no.such", true), "TCC00E");
    assert_false(event_known("no.such"));
    for (size_t i = 0; event_name_at(i); i++)
        assert_true(event_known(event_name_at(i)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty_log_is_sound, begin, end),
        cmocka_unit_test_setup_teardown(test_events_survive_reopening, begin, end),
        cmocka_unit_test_setup_teardown(test_every_size_is_sound, begin, end),
        cmocka_unit_test_setup_teardown(test_bad_lines_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_one_batch_at_a_time, begin, end),
        cmocka_unit_test_setup_teardown(test_second_opener_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_kill_loses_no_acknowledged_event, begin, end),
        cmocka_unit_test_setup_teardown(test_torn_tail_is_cut_off, begin, end),
        cmocka_unit_test_setup_teardown(test_shortened_day_file_is_restored, begin, end),
        cmocka_unit_test_setup_teardown(test_full_disk_records_nothing_by_half, begin, end),
        cmocka_unit_test_setup_teardown(test_lost_position_is_counted, begin, end),
        cmocka_unit_test_setup_teardown(test_lost_checkpoint_is_told, begin, end),
        cmocka_unit_test_setup_teardown(test_foreign_key_is_told, begin, end),
        cmocka_unit_test_setup_teardown(test_every_changed_byte_and_every_cut_is_found, begin, end),
        cmocka_unit_test_setup_teardown(test_damage_is_named, begin, end),
        cmocka_unit_test_setup_teardown(test_earlier_checkpoint_shows_a_rewritten_log, begin, end),
        cmocka_unit_test_setup_teardown(test_query, begin, end),
        cmocka_unit_test(test_event_codes),
    };
    int failed;
    key = key_generate(KEY_ED25519);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    key_free(key);
    return failed;
}
