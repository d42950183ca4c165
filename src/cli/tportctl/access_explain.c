/* tportctl access explain, access who: why, and who. */
#include "base/clock.h"
#include "base/mem.h"
#include "cli/common/output.h"
#include "cli/tportctl/access_world.h"
#include "rbac/explain.h"

#include <stdio.h>
#include <string.h>

static const char *const formats[] = {"text", "json", NULL};

static enum tp_err read_question(const struct command_line *line, const char *verb, const char *reference,
                                 struct rbac_question *question, char **ret_kind, struct tp_error *error)
{
    const char *slash = strchr(reference, '/');
    const char *at = command_text(line, "at", NULL);
    char *word = slash ? mem_strndup(reference, (size_t)(slash - reference)) : mem_strdup(reference);
    const char *kind = tportctl_kind(word);
    *ret_kind = mem_strdup(kind ? kind : word);
    mem_free(word);
    enum tp_err err = rbac_question_read(verb, *ret_kind, slash && slash[1] ? slash + 1 : NULL, question, error);
    if (!err)
        err = rbac_question_as(question, command_text(line, "login", NULL), command_text(line, "kube-group", NULL),
                               error);
    question->at_ms = clock_wall_ms();
    if (!err && at && clock_parse_ms(at, &question->at_ms))
        err = err_set(error, TP_INVALID, "--at must be a time such as 2026-01-31T08:00:00Z, not \"%s\"", at);
    return err;
}

static void print_line(const char *text)
{
    output_safe(text);
    (void)printf("\n");
}

static void print_text(const json_t *answer)
{
    size_t index;
    json_t *one;
    char *text = mem_printf("%s: %s%s%s%s%s%s", output_text_at(answer, "decision"), output_text_at(answer, "reason"),
                            *output_text_at(answer, "role") ? " by role " : "", output_text_at(answer, "role"),
                            *output_text_at(answer, "section") ? ", spec." : "", output_text_at(answer, "section"), "");
    print_line(text);
    mem_free(text);
    if (*output_text_at(answer, "detail"))
        print_line(output_text_at(answer, "detail"));
    if (json_get_bool(answer, "conditional", false))
        print_line("only for those of which the condition holds; name one (KIND/NAME) to see for which");
    if (strcmp(output_text_at(answer, "mfa"), "code") == 0)
        print_line("with a one-time code before each session");
    if (strcmp(output_text_at(answer, "mfa"), "hardware_key") == 0)
        print_line("with a hardware key before each session, which this version does not know: nobody gets in by it");
    json_array_foreach (json_object_get(answer, "roles"), index, one) {
        text = mem_printf("  role %s: %s (%s%s%s)", output_text_at(one, "role"), output_text_at(one, "answer"),
                          output_text_at(one, "reason"), *output_text_at(one, "detail") ? ": " : "",
                          output_text_at(one, "detail"));
        print_line(text);
        mem_free(text);
    }
}

static json_t *explain(const struct rbac_question *question, const struct access_world *world, const struct user *user)
{
    size_t count;
    struct role **roles = access_world_roles(world, user, question->at_ms, &count);
    const char *lock = access_world_lock(world, user, question->login, question->resource, question->at_ms);
    json_t *answer = rbac_explain(question, roles, count, user, lock);
    for (size_t i = 0; i < count; i++)
        role_unref(roles[i]);
    mem_free(roles);
    return answer;
}

/* What the question is about; of what is to be created, made up here (ret_made), only its name is known. */
static enum tp_err find_resource(const struct access_world *world, struct rbac_question *question, json_t **ret_made,
                                 struct tp_error *error)
{
    if (!question->name)
        return TP_OK;
    enum tp_err err = access_world_resource(world, question->kind, question->name, &question->resource, error);
    if (err != TP_NOT_FOUND || strcmp(question->verb, "create") != 0)
        return err;
    *ret_made = json_pack("{s:s, s:{s:s}, s:{}}", "kind", question->kind, "metadata", "name", question->name, "spec");
    question->resource = *ret_made;
    return TP_OK;
}

enum tp_err tportctl_access_explain(struct command_line *line, struct tp_error *error)
{
    struct rbac_question question = {0};
    char *kind = NULL;
    struct access_world world = {0};
    struct user *user = NULL;
    json_t *made = NULL;
    const char *format = NULL;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (!err)
        err = read_question(line, line->args[1], line->args[2], &question, &kind, error);
    if (!err)
        err = access_world_open(line, question.name ? question.kind : NULL, &world, error);
    if (!err)
        err = access_world_user(&world, line->args[0], &user, error);
    if (!err)
        err = find_resource(&world, &question, &made, error);
    if (!err) {
        json_t *answer = explain(&question, &world, user);
        if (!answer)
            err = err_set(error, TP_INVALID, "the question is not UTF-8");
        else if (strcmp(format, "json") == 0)
            output_json(answer);
        else
            print_text(answer);
        json_decref(answer);
    }
    json_decref(made);
    user_free(user);
    access_world_free(&world);
    mem_free(kind);
    return err;
}

enum tp_err tportctl_access_who(struct command_line *line, struct tp_error *error)
{
    struct rbac_question question = {0};
    char *kind = NULL;
    struct access_world world = {0};
    const char *format = NULL;
    json_t *list = json_array(), *item;
    size_t index;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (!err)
        err = read_question(line, "access", line->args[0], &question, &kind, error);
    if (!err)
        err = access_world_open(line, question.kind, &world, error);
    if (!err)
        err = access_world_resource(&world, question.kind, question.name, &question.resource, error);
    json_array_foreach (world.users, index, item) {
        struct user *user = NULL;
        json_t *answer;
        if (err || user_parse_json(item, &user, NULL))
            continue;
        answer = explain(&question, &world, user);
        if (!answer)
            err = err_set(error, TP_INVALID, "the question is not UTF-8");
        if (strcmp(output_text_at(answer, "decision"), "allow") == 0)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "user", user->name, "role",
                                                  output_text_at(answer, "role"), "detail",
                                                  output_text_at(answer, "detail")));
        json_decref(answer);
        user_free(user);
    }
    if (!err && strcmp(format, "json") == 0)
        output_json(list);
    else if (!err && json_array_size(list) == 0)
        print_line("Nobody gets in.");
    json_array_foreach (list, index, item) {
        if (!err && strcmp(format, "text") == 0) {
            char *text = mem_printf("%s (role %s: %s)", output_text_at(item, "user"), output_text_at(item, "role"),
                                    output_text_at(item, "detail"));
            print_line(text);
            mem_free(text);
        }
    }
    json_decref(list);
    access_world_free(&world);
    mem_free(kind);
    return err;
}
