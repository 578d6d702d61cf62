/* Computes one layer by a kernel of tvmconv, and checks it: an input of ones by weights of ones counts the taps. */
#include <stdio.h>
#include <stdlib.h>
#include "layer.h"

#define CONV(name) mb1ic16ih14oc32oh14kh3ph1_indirect_##name
enum { IC = 16, OC = 32, SIZE = 14, TAPS = 9 };

static float *ones(size_t n) {
    float *array = malloc(n * sizeof *array);
    for (size_t i = 0; array && i < n; i++) array[i] = 1;
    return array;
}

int main(void) {
    float *x = ones(SIZE * SIZE * IC), *w = ones(OC * IC * TAPS), *y = ones(SIZE * SIZE * OC);
    void *packed = malloc(CONV(packed_bytes)()), *workspace = malloc(CONV(workspace_bytes)(1));
    if (!x || !w || !y || !packed || !workspace) return 1;

    int status = CONV(pack)(w, NULL, packed);           /* once: OIHW weights, no bias */
    status |= CONV(clamp)(0, 100, packed);              /* y is between 0 and 100 */
    status |= CONV(prepare)(workspace);                 /* once for each workspace */
    status |= CONV(run)(x, packed, y, workspace, NULL); /* many times */
    if (status) return 1;

    float corner = y[0], middle = y[(7 * SIZE + 7) * OC];
    printf("corner %g, middle %g\n", corner, middle); /* 4 taps of 16 channels; 9 taps are 144, clamped */
    free(x), free(w), free(y), free(packed), free(workspace);
    return corner == 64 && middle == 100 ? 0 : 1;
}
