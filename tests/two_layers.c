/* Runs two layers of one file, the second on what the first gives. Weights, input and expected output come from a file,
   as raw float32; A and B are the layers' prefixes, the sizes are those of the arrays, in elements. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net.h"

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define MEMORY(layer) malloc(JOIN(layer, packed_bytes)()), *JOIN(layer, workspace) = malloc(JOIN(layer, workspace_bytes)(1) + 1)

static float *floats(FILE *file, size_t count) {
    float *values = malloc(count * sizeof *values);
    if (!values || (file && fread(values, sizeof *values, count, file) != count)) exit(3);
    return values;
}

int main(int argc, char **argv) {
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!file) return 2;
    float *w_a = floats(file, W_A), *w_b = floats(file, W_B), *x = floats(file, X), *expected = floats(file, Y);
    float *between = floats(NULL, BETWEEN), *y = floats(NULL, Y);
    void *a = MEMORY(A), *b = MEMORY(B);
    if (JOIN(A, pack)(w_a, NULL, a) || JOIN(B, pack)(w_b, NULL, b)) return 4;
    if (JOIN(A, prepare)(JOIN(A, workspace)) || JOIN(B, prepare)(JOIN(B, workspace))) return 5;
    if (JOIN(A, run)(x, a, between, JOIN(A, workspace), NULL)) return 6;
    if (JOIN(B, run)(between, b, y, JOIN(B, workspace), NULL)) return 7;
    return memcmp(y, expected, Y * sizeof *y) ? 8 : 0;
}
