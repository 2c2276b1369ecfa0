/*
 * replay.c - a fuzzer without libFuzzer: it is given nothing, and then each file of its corpus. So every run of the
 * tests finds out whether the fuzzers still hold, and whether what was found once is found again.
 *
 * The program is called fuzz.NAME_fuzz; its corpus is spec/fuzz/corpus/NAME, which need not exist. Runs in the top
 * directory.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_MAX = 1 << 20 };

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int give(const uint8_t *bytes, size_t size) {
    uint8_t *data = malloc(size > 0 ? size : 1); /* of its size, so that sanitizers see what reads beyond it */
    if (!data)
        return 1;
    memcpy(data, bytes, size);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

static int give_file(const char *path) {
    static uint8_t bytes[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    if (!file)
        return 1;
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return give(bytes, size);
}

int main(int argc, char **argv) {
    const char *name = argc > 0 ? strstr(argv[0], "fuzz.") : NULL;
    const char *end = name ? strstr(name, "_fuzz") : NULL;
    char directory[256], path[600];
    int given = 0, failed = give((const uint8_t *)"", 0);
    if (!end)
        return 2;
    name += strlen("fuzz.");
    snprintf(directory, sizeof directory, "spec/fuzz/corpus/%.*s", (int)(end - name), name);
    DIR *corpus = opendir(directory);
    for (struct dirent *entry; corpus && (entry = readdir(corpus));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        failed += give_file(path);
        given++;
    }
    if (corpus)
        closedir(corpus);
    printf("%d files of its corpus and nothing\n%d passed, %d failed\n", given, failed == 0, failed);
    return failed > 0;
}
