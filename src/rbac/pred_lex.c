#include "rbac/pred_private.h"

#include "base/mem.h"

#include <ctype.h>
#include <string.h>

enum tp_err pred_lexer_fail(const struct pred_lexer *lexer, const char *why)
{
    return err_set(lexer->error, TP_INVALID, "the expression is wrong at character %zu: %s", lexer->start + 1, why);
}

void pred_lexer_free(struct pred_lexer *lexer)
{
    mem_free(lexer->value);
    lexer->value = NULL;
}

static enum tp_err read_string(struct pred_lexer *lexer, char quote)
{
    char *out = mem_alloc(strlen(lexer->text + lexer->at) + 1);
    size_t size = 0;
    mem_free(lexer->value);
    lexer->value = out;
    lexer->token = PRED_STRING;
    for (;;) {
        char c = lexer->text[lexer->at];
        if (c == '\0')
            return pred_lexer_fail(lexer, "the closing quote is missing");
        lexer->at++;
        if (c == quote)
            return TP_OK;
        if (c == '\\' && quote == '"') {
            c = lexer->text[lexer->at];
            if (c == '\0' || !strchr("\\\"nt", c))
                return pred_lexer_fail(lexer, "unknown escape in a text; write \\\\ for one backslash");
            lexer->at++;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        out[size++] = c;
    }
}

static void keep(struct pred_lexer *lexer, enum pred_token token, size_t size)
{
    mem_free(lexer->value);
    lexer->value = mem_strndup(lexer->text + lexer->start, size);
    lexer->token = token;
    lexer->at = lexer->start + size;
}

static enum tp_err read_word(struct pred_lexer *lexer)
{
    const char *start = lexer->text + lexer->start;
    size_t size = 0;
    bool number = isdigit((unsigned char)*start);
    while (isalnum((unsigned char)start[size]) || start[size] == '_')
        size++;
    if (number && (strspn(start, "0123456789") != size || size > 18))
        return pred_lexer_fail(lexer, "not a whole number");
    keep(lexer, number ? PRED_NUMBER : PRED_NAME, size);
    return TP_OK;
}

enum tp_err pred_lexer_next(struct pred_lexer *lexer)
{
    static const struct {
        const char *text;
        enum pred_token token;
    } marks[] = {{"&&", PRED_AND},  {"||", PRED_OR},        {"==", PRED_EQUAL},     {"!=", PRED_UNEQUAL},
                 {"!", PRED_NOT},   {".", PRED_DOT},        {",", PRED_COMMA},      {"(", PRED_OPEN},
                 {")", PRED_CLOSE}, {"[", PRED_OPEN_INDEX}, {"]", PRED_CLOSE_INDEX}};
    char c;
    lexer->at += strspn(lexer->text + lexer->at, " \t\r\n");
    lexer->start = lexer->at;
    c = lexer->text[lexer->at];
    if (c == '\0') {
        lexer->token = PRED_END;
        return TP_OK;
    }
    if (c == '"' || c == '`') {
        lexer->at++;
        return read_string(lexer, c);
    }
    if (isalnum((unsigned char)c) || c == '_')
        return read_word(lexer);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t size = strlen(marks[i].text);
        if (strncmp(lexer->text + lexer->at, marks[i].text, size) == 0) {
            lexer->at += size;
            lexer->token = marks[i].token;
            return TP_OK;
        }
    }
    if (c == '\'')
        return pred_lexer_fail(lexer, "texts stand in double quotes here");
    if (c == '&' || c == '|' || c == '=')
        return pred_lexer_fail(lexer, "write &&, || or ==");
    return pred_lexer_fail(lexer, "unexpected character");
}
