/* A correct, plain convolution of N1 H5 W6 IC3 -> OC4, 3x3, padding 1, in the shape that the shim expects of compiled
   TIR, and one fault for each value of FAULT. test_verify.py builds one kernel of each. The workspace holds one float,
   a zero, that every sum starts from. */
#include <stddef.h>
#include <stdint.h>

enum { H = 5, W = 6, IC = 3, OC = 4, K = 3, WEIGHTS = OC * IC * K * K };
enum fault {
    NONE, READS_BEFORE_X, READS_BEHIND_X, WRITES_BEFORE_Y, WRITES_BEHIND_Y, READS_BEHIND_PACKED, WRITES_BEHIND_WORKSPACE,
    WRITES_X, WRITES_PACKED, WANTS_ALIGNMENT, TRUSTS_WORKSPACE, TRUSTS_NUMBERS, SKIPS_LAST, NO_BIAS, NO_CLAMP,
    OFF_BY_ONE, HANGS, ENDS, NEEDS_ALL_UNITS,
    USES_WORKSPACE /* no fault: it is the kernel's own memory */
};

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define TIR(name) JOIN(JOIN(PREFIX, tir), name)
#define VOLATILE(pointer) ((volatile float *)(intptr_t)(pointer))

void TIR(pack)(const float *w, const float *bias, float *packed) {
    packed[0] = -__builtin_inff(), packed[1] = __builtin_inff();
    for (int i = 0; i < WEIGHTS; i++) packed[2 + i] = w[i];
    for (int c = 0; c < OC; c++) packed[2 + WEIGHTS + c] = bias ? bias[c] : 0;
}

void TIR(prepare)(float *workspace, void *same) {
    (void)same;
    if (FAULT == TRUSTS_WORKSPACE) return;
    if (FAULT == TRUSTS_NUMBERS && workspace[0] == workspace[0]) return; /* not NaN: taken for prepared already */
    workspace[0] = 0;
}

void TIR(run)(int64_t address, int64_t operand, const float *packed, float *y, float *workspace, int64_t same,
              int32_t image, int32_t first, int32_t last) {
    float *x = (float *)(intptr_t)address;
    const float *w = packed + 2, *bias = w + WEIGHTS;
    (void)operand, (void)same, (void)image; /* nor are there parts of the work: each range of units computes everything */
    if (FAULT == NEEDS_ALL_UNITS && last - first < 2) return;
    if (FAULT == READS_BEFORE_X) (void)VOLATILE(x)[-1];
    if (FAULT == READS_BEHIND_X) (void)VOLATILE(x)[H * W * IC];
    if (FAULT == WRITES_BEFORE_Y) VOLATILE(y)[-1] = 0;
    if (FAULT == WRITES_BEHIND_Y) VOLATILE(y)[H * W * OC] = 0;
    if (FAULT == READS_BEHIND_PACKED) (void)VOLATILE(packed)[2 + WEIGHTS + OC];
    if (FAULT == WRITES_BEHIND_WORKSPACE) VOLATILE(workspace)[1] = 0;
    if (FAULT == WRITES_X) VOLATILE(x)[0] = x[0];
    if (FAULT == WRITES_PACKED) VOLATILE(packed)[0] = packed[0];
    if (FAULT == WANTS_ALIGNMENT && address % 64) __builtin_trap();
#if defined(__x86_64__)
    if (FAULT == ENDS) __asm__ volatile("syscall" ::"a"(231), "D"(7)); /* exit_group(7), without libc */
#endif
    while (FAULT == HANGS) __asm__ volatile("");
    for (int h = 0; h < H; h++)
        for (int v = 0; v < W; v++)
            for (int c = 0; c < OC; c++) {
                float sum = workspace[0];
                for (int r = 0; r < K; r++)
                    for (int s = 0; s < K; s++)
                        for (int i = 0; i < IC; i++) {
                            int ih = h + r - 1, iw = v + s - 1;
                            if (ih < 0 || ih >= H || iw < 0 || iw >= W) continue;
                            sum += x[(ih * W + iw) * IC + i] * w[((c * IC + i) * K + r) * K + s];
                        }
                if (FAULT != NO_BIAS) sum += bias[c];
                if (FAULT == OFF_BY_ONE && h == 1 && v == 2 && c == 3) sum += 1;
                if (FAULT == SKIPS_LAST && h == H - 1 && v == W - 1 && c == OC - 1) continue;
                if (FAULT != NO_CLAMP && sum < packed[0]) sum = packed[0];
                if (FAULT != NO_CLAMP && sum > packed[1]) sum = packed[1];
                y[(h * W + v) * OC + c] = sum;
            }
    if (FAULT == USES_WORKSPACE) workspace[0] = 5;
}
