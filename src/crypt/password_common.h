/* Passwords of twelve characters and more that appear at the top of published lists of leaked ones, in lower case. */
#ifndef CRYPT_PASSWORD_COMMON_H
#define CRYPT_PASSWORD_COMMON_H

#define PASSWORD_COMMON_LIST                                                                                          \
    "123456789012", "1234567890123", "12345678901234", "123456789012345", "1234567890123456", "0123456789012",        \
        "012345678901", "098765432109", "987654321098", "1234567890ab", "1234567890abc", "123456789abc",              \
        "123456789abcd", "123123123123", "121212121212", "112233445566", "111222333444", "123412341234",              \
        "123456123456", "123451234512345", "qwertyuiop12", "qwertyuiop123", "qwertyuiop1234", "qwertyuiopas",         \
        "qwertyuiopasdf", "qwertyuiopasdfgh", "qwertyuiop[]", "qwertyuiop[]\\", "qwerty123456", "qwerty1234567",      \
        "qwerty12345678", "qwerty123456789", "qwertyqwerty", "123456qwerty", "1234567qwerty", "12345qwertyuiop",      \
        "1q2w3e4r5t6y", "1q2w3e4r5t6y7u", "1q2w3e4r5t6y7u8i", "1q2w3e4r5t6y7u8i9o", "1q2w3e4r5t6y7u8i9o0p",           \
        "1qaz2wsx3edc", "1qaz2wsx3edc4rfv", "1qazxsw23edc", "qazwsxedcrfv", "qazwsxedcrfvtgb", "zaq12wsxcde3",        \
        "asdfghjkl123", "asdfghjkl1234", "asdfghjkl;'", "asdfasdfasdf", "asdfghasdfgh", "asdfqwer1234",               \
        "qwerasdfzxcv", "qwer1234asdf", "zxcvbnm12345", "zxcvbnm123456", "zxcvbnm,./123", "azertyuiop12",             \
        "azertyuiop123", "abcdefghijkl", "abcdefghijklm", "abcdefghijklmn", "abcdefghijklmnop",                       \
        "abcdefghijklmnopqrstuvwxyz", "abcdef123456", "abcd1234abcd", "abc123abc123", "abcabcabcabc", "a1b2c3d4e5f6", \
        "a123456789012", "a1234567890b", "passwordpassword", "password1234", "password12345", "password123456",       \
        "password1234567", "password12345678", "password123!", "password1234!", "password@123", "password@1234",      \
        "password!123", "password!1234", "password2020", "password2021", "password2022", "password2023",              \
        "password2024", "password2025", "password2026", "p@ssw0rd1234", "p@ssw0rd123!", "p@ssword1234",               \
        "passw0rd1234", "passw0rd12345", "passwd123456", "mypassword12", "mypassword123", "thisispassword",           \
        "thisisapassword", "changeme1234", "changeme12345", "changemenow!", "changemeplease", "letmein12345",         \
        "letmein123456", "letmeinletmein", "letmeinplease", "welcome12345", "welcome123456", "welcome@1234",          \
        "welcomewelcome", "administrator", "administrator1", "administrator123", "admin1234567", "admin12345678",     \
        "admin123456789", "adminadmin12", "adminadmin123", "adminadminadmin", "adminpassword", "administration",      \
        "rootpassword", "rootroot1234", "rootrootroot", "toortoortoor", "testtesttest", "testpassword",               \
        "test12345678", "testing12345", "testing123456", "testuser1234", "guestguestguest", "defaultpassword",        \
        "default12345", "secretsecret", "secret123456", "secretpassword", "supersecret1", "supersecret123",           \
        "supersecretpassword", "topsecret123", "iloveyou1234", "iloveyou12345", "iloveyou123456", "iloveyouiloveyou", \
        "iloveyousomuch", "iloveyouforever", "iloveyou4ever", "ihateyou1234", "fuckyou12345", "fuckyou123456",        \
        "monkeymonkey", "monkey123456", "dragon123456", "dragondragon", "sunshine1234", "sunshine12345",              \
        "princess1234", "princess12345", "football1234", "football12345", "baseball1234", "basketball12",             \
        "basketball123", "liverpool123", "liverpoolfc1", "manchester12", "manchesterunited", "superman1234",          \
        "batman123456", "starwars1234", "starwars12345", "pokemon12345", "pokemon123456", "michael12345",             \
        "charlie12345", "jordan123456", "shadow123456", "master123456", "mastermaster", "trustno1trustno1",           \
        "whatever1234", "computer1234", "computer12345", "internet1234", "internet12345", "samsung12345",             \
        "google123456", "facebook1234", "facebook12345", "linkedin1234", "microsoft123", "windows12345",              \
        "ubuntu123456", "linux1234567", "teleport1234", "tport12345678", "kubernetes12", "kubernetes123",             \
        "correcthorsebatterystaple", "correct horse battery staple", "000000000000", "111111111111", "222222222222",  \
        "333333333333", "444444444444", "555555555555", "666666666666", "777777777777", "888888888888", "999999999999"

#endif
