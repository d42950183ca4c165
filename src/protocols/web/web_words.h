/* The words of the pages that the server writes, in the languages of the browser UI. */
#ifndef WEB_WEB_WORDS_H
#define WEB_WEB_WORDS_H

#include "base/buf.h"
#include "base/err.h"

enum web_language { WEB_ENGLISH, WEB_KOREAN };

/* X(name, English, Korean). Plain text: it is escaped where it is written; "{}" stands for a name. */
#define WEB_WORDS(X)                                                                                                                               \
    X(START_PAGE, "Start page", "첫 페이지")                                                                                                       \
    X(SIGN_IN_HERE, "Sign in here", "여기서 로그인")                                                                                               \
    X(ERROR_TITLE, "Error", "오류")                                                                                                                \
    X(ERROR_HEAD, "That did not work", "처리하지 못했습니다")                                                                                      \
    X(ERROR_NOT_FOUND, "There is no such page.", "없는 페이지입니다.")                                                                             \
    X(ERROR_DENIED, "This form is no longer valid; open the link again and send it from there.",                                                   \
      "더는 쓸 수 없는 양식입니다. 링크를 다시 열고 거기에서 보내세요.")                                                                           \
    X(ERROR_LIMIT, "Too many tries. Wait a minute and try again.", "시도가 너무 많습니다. 1분 뒤에 다시 시도하세요.")                              \
    X(ERROR_LATER, "The server cannot do this now; try again in a moment.",                                                                        \
      "서버가 지금은 처리할 수 없습니다. 잠시 뒤에 다시 시도하세요.")                                                                              \
    X(ERROR_OTHER, "The server could not do this.", "서버가 처리하지 못했습니다.")                                                                 \
    X(LINK_TITLE, "Link not valid", "쓸 수 없는 링크")                                                                                             \
    X(LINK_HEAD, "This link is not valid", "쓸 수 없는 링크입니다")                                                                                \
    X(LINK_TEXT, "It has been used already, it has expired, or it was copied incompletely. Nothing was changed.",                                  \
      "이미 썼거나, 기한이 지났거나, 일부만 복사된 링크입니다. 바뀐 것은 없습니다.")                                                               \
    X(LINK_ASK, "Ask your administrator for a new link. If you have finished before, you can simply sign in.",                                     \
      "관리자에게 새 링크를 부탁하세요. 이미 마쳤다면 바로 로그인하면 됩니다.")                                                                    \
    X(INVITE_TITLE, "Invitation", "초대")                                                                                                          \
    X(INVITE_HEAD, "Welcome, {}", "{} 님, 환영합니다")                                                                                             \
    X(INVITE_TEXT, "Two steps, and your account is ready: a second factor on your phone, and a password.",                                         \
      "두 단계면 계정이 준비됩니다. 휴대전화에 2단계 인증을 설정하고, 비밀번호를 정합니다.")                                                       \
    X(RESET_TITLE, "Reset", "로그인 초기화")                                                                                                       \
    X(RESET_HEAD, "Welcome back, {}", "{} 님, 다시 오셨군요")                                                                                      \
    X(RESET_TEXT, "Your sign-in was reset. Set up your second factor again, then choose a new password.",                                          \
      "로그인이 초기화되었습니다. 2단계 인증을 다시 설정한 뒤 새 비밀번호를 정하세요.")                                                            \
    X(FACTOR_STEP, "Set up the second factor", "2단계 인증 설정")                                                                                  \
    X(FACTOR_SCAN,                                                                                                                                 \
      "Scan this with an authenticator app on your phone, such as FreeOTP, Aegis, Google Authenticator or 1Password.",                             \
      "휴대전화의 인증 앱(FreeOTP, Aegis, Google Authenticator, 1Password 등)으로 스캔하세요.")                                                    \
    X(FACTOR_IMAGE, "QR code for your authenticator app; the same secret stands below as text",                                                    \
      "인증 앱에 쓸 QR 코드. 같은 비밀 값이 아래에 글자로 있습니다")                                                                               \
    X(FACTOR_TYPE, "Can't scan? Type this secret into the app (time-based, 6 digits):",                                                            \
      "스캔할 수 없으면 이 비밀 값을 앱에 입력하세요(시간 기반, 6자리):")                                                                          \
    X(FACTOR_CODE, "The code that the app shows now", "앱에 지금 표시된 코드")                                                                     \
    X(FACTOR_CODE_HINT, "Six digits; a new one comes every 30 seconds.", "여섯 자리 숫자이며 30초마다 바뀝니다.")                                  \
    X(NEXT, "Next", "다음")                                                                                                                        \
    X(PASSWORD_STEP, "Choose a password", "비밀번호 정하기")                                                                                       \
    X(PASSWORD_AFTER, "Your second factor is set up.", "2단계 인증을 설정했습니다.")                                                               \
    X(PASSWORD, "Password", "비밀번호")                                                                                                            \
    X(PASSWORD_HINT, "At least 12 characters. Several words in a row are easy to remember and hard to guess.",                                     \
      "12자 이상이어야 합니다. 낱말 여러 개를 이으면 외우기 쉽고 알아맞히기 어렵습니다.")                                                          \
    X(PASSWORD_REPEAT, "The same password again", "같은 비밀번호 한 번 더")                                                                        \
    X(FINISH, "Finish", "마치기")                                                                                                                  \
    X(READY_TITLE, "Ready", "준비 완료")                                                                                                           \
    X(READY_HEAD, "You are ready", "준비되었습니다")                                                                                               \
    X(READY_TEXT, "Your password and second factor are set.", "비밀번호와 2단계 인증을 설정했습니다.")                                             \
    X(READY_WAIT, "Wait for the next code in the app before you sign in: each code works once.",                                                   \
      "코드는 한 번만 쓸 수 있으니 앱에 다음 코드가 나오면 로그인하세요.")                                                                         \
    X(READY_TERMINAL, "Or from a terminal:", "터미널에서는:")                                                                                      \
    X(COMMAND, "Command", "명령")                                                                                                                  \
    X(COPY, "Copy", "복사")                                                                                                                        \
    X(COPIED, "Copied", "복사했습니다")                                                                                                            \
    X(COPY_REFUSED, "The browser did not let us copy. Select the text and press Ctrl+C.",                                                          \
      "브라우저가 복사를 허용하지 않았습니다. 글을 선택하고 Ctrl+C를 누르세요.")                                                                   \
    X(WRONG_FORM, "The form was incomplete; fill in all fields.", "빠진 칸이 있습니다. 모두 채우세요.")                                            \
    X(WRONG_SHORT, "This password is too short: it needs at least 12 characters.",                                                                 \
      "비밀번호가 너무 짧습니다. 12자 이상이어야 합니다.")                                                                                         \
    X(WRONG_LONG, "This password is too long: at most 128 bytes.",                                                                                 \
      "비밀번호가 너무 깁니다. 128바이트까지 쓸 수 있습니다.")                                                                                     \
    X(WRONG_REPEAT, "The two entries are not the same; type both again.",                                                                          \
      "두 비밀번호가 서로 다릅니다. 둘 다 다시 입력하세요.")                                                                                       \
    X(WRONG_PASSWORD, "This password cannot be taken; choose another one.",                                                                        \
      "쓸 수 없는 비밀번호입니다. 사용자 이름이나 흔한 비밀번호, 제어 문자는 안 됩니다. 다른 비밀번호를 정하세요.")                                \
    X(WRONG_DIGITS, "The code has six digits; type the one that the app shows now.",                                                               \
      "코드는 여섯 자리 숫자입니다. 앱에 지금 표시된 것을 입력하세요.")                                                                            \
    X(WRONG_CODE,                                                                                                                                  \
      "The code does not match. Wait for the next one; if that does not match either, scan the picture "                                           \
      "again and check the clock of your phone.",                                                                                                  \
      "코드가 맞지 않습니다. 다음 코드를 기다렸다가 입력하세요. 그래도 맞지 않으면 그림을 다시 스캔하고 " \
      "휴대전화의 시계를 확인하세요.")                                                                                                             \
    X(WRONG_OLD, "That took a while, so the code is needed once more: type the one that the app shows now.",                                       \
      "시간이 지나 코드가 한 번 더 필요합니다. 앱에 지금 표시된 것을 입력하세요.")

enum web_word {
    WORD_NONE,
#define X(name, english, korean) WORD_##name,
    WEB_WORDS(X)
#undef X
};

/* The one that an Accept-Language header (or NULL) likes best; of equals the first, else English. */
enum web_language web_language_of(const char *accept_language);
/* "en", "ko": for HTML. */
const char *web_language_tag(enum web_language language);
/* The text as it is; "" for WORD_NONE. */
const char *web_word_text(enum web_language language, enum web_word word);
/* The same as HTML, with value (escaped too) in place of "{}"; NULL: there is none. */
void web_word_put(struct buf *out, enum web_language language, enum web_word word, const char *value);
/* What to say of a refusal when nothing is known but its code. */
enum web_word web_word_of(enum tp_err code);

#endif
