/* Runs one layer without TVM or Python: weights, input and expected output come from a file, as raw float32. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "layer.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define CONV(name) JOIN(PREFIX, name)

static float *floats(FILE *file, size_t count) {
    float *values = malloc(count * sizeof *values);
    if (!values || fread(values, sizeof *values, count, file) != count) exit(3);
    return values;
}

/* A pool that runs the tasks backwards: their order must not matter. */
static int backwards(void *ctx, void (*task)(void *, int32_t), void *arg, int32_t n) {
    *(int *)ctx += n;
    while (n--) task(arg, n);
    return 0;
}

int main(int argc, char **argv) {
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!file) return 2;
    float *w = floats(file, W_SIZE), *bias = floats(file, OC), *x = floats(file, X_SIZE), *expected = floats(file, Y_SIZE);
    float *y = malloc(Y_SIZE * sizeof *y);
    void *packed = malloc(CONV(packed_bytes)()), *workspace = malloc(CONV(workspace_bytes)(1) + 1);
    int tasks = 0;
    tvmconv_pool pool = {backwards, &tasks};
    if (CONV(pack)(w, bias, packed) || CONV(clamp)(LOWER, UPPER, packed) || CONV(prepare)(workspace)) return 4;
    for (int pooled = 0; pooled < 2; pooled++) {
        memset(y, 0xff, Y_SIZE * sizeof *y); /* NaN */
        if (CONV(run)(x, packed, y, workspace, pooled ? &pool : NULL)) return 5;
        if (memcmp(y, expected, Y_SIZE * sizeof *y)) return 6;
    }
    if (CONV(run)(NULL, packed, y, workspace, NULL) != TVMCONV_NULL) return 7;
    tvmconv_pool nobody = {NULL, NULL};
    if (CONV(run)(x, packed, y, workspace, &nobody) != TVMCONV_NULL) return 9;
    if (CONV(run)((float *)((char *)x + 1), packed, y, workspace, NULL) != TVMCONV_MISALIGNED) return 8;
    printf("%s\n%d tasks\n", CONV(describe)(), tasks);
    return 0;
}
