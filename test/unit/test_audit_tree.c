/* Hashes, tile names and checkpoints against values from their specifications. */
#include "audit/merkle.h"
#include "audit/note.h"
#include "audit/tile.h"
#include "audit/tree.h"
#include "base/enc.h"
#include "base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* RFC 6962's reference log: the eight leaves and the roots of its first 1 to 8 leaves. */
static void test_rfc6962_roots(void **state)
{
    static const char *const leaves[] = {
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
    static const char *const roots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    struct merkle_edge edge = {0};
    struct tree *tree = tree_new(-1);
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        uint8_t hash[32], by_edge[32], by_tree[32];
        struct buf leaf;
        char *hex;
        buf_init(&leaf, 0);
        assert_int_equal(dec_hex(leaves[i], strlen(leaves[i]), &leaf), TP_OK);
        merkle_leaf(buf_head(&leaf), buf_size(&leaf), hash);
        merkle_edge_add(&edge, hash);
        tree_append(tree, buf_head(&leaf), buf_size(&leaf));
        merkle_edge_root(&edge, by_edge);
        tree_root(tree, by_tree);
        hex = enc_hex(by_edge, 32);
        assert_string_equal(hex, roots[i]);
        assert_memory_equal(by_edge, by_tree, 32);
        mem_free(hex);
        buf_free(&leaf);
    }
    tree_free(tree);
}

static void test_both_ways_of_hashing_agree(void **state)
{
    struct merkle_edge edge = {0};
    struct tree *tree = tree_new(-1);
    (void)state;
    for (uint32_t i = 0; i < 66000; i++) {
        uint8_t hash[32], by_edge[32], by_tree[32];
        merkle_leaf(&i, sizeof(i), hash);
        merkle_edge_add(&edge, hash);
        tree_append(tree, &i, sizeof(i));
        if (i % 251 && i < 65530)
            continue;
        merkle_edge_root(&edge, by_edge);
        tree_root(tree, by_tree);
        assert_memory_equal(by_edge, by_tree, 32);
    }
    tree_free(tree);
}

static void test_tile_paths(void **state)
{
    char path[TILE_PATH_MAX];
    (void)state;
    tile_path(0, 0, 256, path);
    assert_string_equal(path, "tile/0/000");
    tile_path(1, 67, 8, path);
    assert_string_equal(path, "tile/1/067.p/8");
    tile_path(TILE_ENTRIES, 1234067, 256, path);
    assert_string_equal(path, "tile/entries/x001/x234/067");
    tile_path(7, UINT64_MAX, 255, path);
    assert_string_equal(path, "tile/7/x018/x446/x744/x073/x709/x551/615.p/255");
}

/* The example of the signed-note specification's Go implementation. */
static void test_verifier_key(void **state)
{
    static const char text[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    struct note_key key;
    struct tp_error error = {0};
    char *again, *broken;
    (void)state;
    assert_int_equal(note_parse_key(text, &key, &error), TP_OK);
    assert_string_equal(key.name, "PeterNeumann");
    again = note_verifier_key(key.name, key.public_key);
    assert_string_equal(again, text);
    mem_free(again);
    for (size_t i = 0; text[i]; i++) {
        broken = mem_strdup(text);
        broken[i] = broken[i] == 'Z' ? 'Y' : 'Z';
        assert_int_equal(note_parse_key(broken, &key, &error), TP_INVALID);
        broken[i] = '\0';
        assert_int_equal(note_parse_key(broken, &key, &error), TP_INVALID);
        mem_free(broken);
    }
}

static void test_checkpoint_round_trip(void **state)
{
    struct key *key = key_generate(KEY_ED25519), *other = key_generate(KEY_ED25519);
    struct note_key verifier = {.name = "example.com/audit"};
    struct checkpoint checkpoint = {.size = 123456789, .root = {1, 2, 3}}, read = {0};
    struct tp_error error = {0};
    char *text = note_sign_checkpoint(key, verifier.name, &checkpoint), *longer;
    (void)state;
    assert_int_equal(key_ed25519_public(key, verifier.public_key), TP_OK);
    assert_int_equal(note_open_checkpoint((uint8_t *)text, strlen(text), &verifier, &read, &error), TP_OK);
    assert_int_equal(read.size, checkpoint.size);
    assert_memory_equal(read.root, checkpoint.root, 32);
    longer = mem_printf("%s\xe2\x80\x94 witness.example AAAAAAECAwQ=\n", text); /* a signature of somebody else */
    assert_int_equal(note_open_checkpoint((uint8_t *)longer, strlen(longer), &verifier, &read, &error), TP_OK);
    assert_int_equal(note_open_checkpoint((uint8_t *)longer, strlen(longer) - 1, &verifier, &read, &error), TP_CORRUPT);
    assert_int_equal(key_ed25519_public(other, verifier.public_key), TP_OK);
    assert_int_equal(note_open_checkpoint((uint8_t *)text, strlen(text), &verifier, &read, &error), TP_CORRUPT);
    mem_free(longer);
    mem_free(text);
    key_free(key);
    key_free(other);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(note_name_ok("example.com/audit"));
    assert_false(note_name_ok(""));
    assert_false(note_name_ok("a b"));
    assert_false(note_name_ok("a+b"));
    assert_false(note_name_ok("a\nb"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc6962_roots),
        cmocka_unit_test(test_both_ways_of_hashing_agree),
        cmocka_unit_test(test_tile_paths),
        cmocka_unit_test(test_verifier_key),
        cmocka_unit_test(test_checkpoint_round_trip),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
