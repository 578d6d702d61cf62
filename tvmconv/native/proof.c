/* A layer's problem, and its result by the definition, in integers: nothing of it is shared with what it judges. */
#include <stdlib.h>
#include "standalone.h"

enum { EXACT = 1 << 24, LARGEST_INPUT = 4, LARGEST_BIAS = 31 }; /* integers up to the first are exact in float32 */

size_t x_size(const layer *l) { return (size_t)l->mb * l->ih * l->iw * l->ic; }
size_t y_size(const layer *l) { return (size_t)l->mb * l->oh * l->ow * l->oc; }
static size_t w_size(const layer *l) { return (size_t)l->oc * (l->ic / l->g) * l->kh * l->kw; }

/* The largest value that inputs and weights may have. */
static int32_t largest_input(const layer *l) {
    int64_t products = (int64_t)(l->ic / l->g) * l->kh * l->kw;
    int32_t largest = LARGEST_INPUT;
    while (largest > 1 && products * largest * largest > EXACT - 1 - LARGEST_BIAS) largest--;
    return largest;
}

/* From −largest to largest, but never 0, which would hide what it is multiplied with. G. Marsaglia, "Xorshift RNGs". */
static int32_t draw(uint32_t *state, int32_t largest) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    int32_t value = (int32_t)(*state >> 8) % (2 * largest) - largest;
    return value >= 0 ? value + 1 : value;
}

/* Where an element of an image of c channels lies in the layer's layout, by its place as NHWC. */
static size_t placed(const layer *l, size_t nhwc, int32_t h, int32_t w, int32_t c) {
    size_t pixels = (size_t)h * w, pixel = nhwc / c % pixels, image = nhwc / c / pixels;
    return l->nchw ? (image * c + nhwc % c) * pixels + pixel : nhwc;
}

/* One output, of x as NHWC and w as OHWI. */
static int32_t output(const layer *l, const int32_t *x, const int32_t *w, size_t n, int32_t oh, int32_t ow, int32_t oc) {
    int32_t sum = 0, icg = l->ic / l->g, first = oc / (l->oc / l->g) * icg;
    for (int32_t kh = 0; kh < l->kh; kh++)
        for (int32_t kw = 0; kw < l->kw; kw++) {
            int64_t ih = (int64_t)oh * l->sh + kh * ((int64_t)l->dh + 1) - l->ph;
            int64_t iw = (int64_t)ow * l->sw + kw * ((int64_t)l->dw + 1) - l->pw;
            if (ih < 0 || ih >= l->ih || iw < 0 || iw >= l->iw) continue;
            const int32_t *pixel = x + ((n * l->ih + ih) * l->iw + iw) * l->ic + first;
            const int32_t *tap = w + (((size_t)oc * l->kh + kh) * l->kw + kw) * icg;
            for (int32_t ic = 0; ic < icg; ic++) sum += pixel[ic] * tap[ic];
        }
    return sum;
}

static void convolve(const layer *l, const int32_t *x, const int32_t *w, const float *bias, int32_t *y) {
    for (int32_t n = 0; n < l->mb; n++)
        for (int32_t oh = 0; oh < l->oh; oh++)
            for (int32_t ow = 0; ow < l->ow; ow++)
                for (int32_t oc = 0; oc < l->oc; oc++) *y++ = output(l, x, w, n, oh, ow, oc) + (int32_t)bias[oc];
}

/* Bounds that leave the middle half of the outputs' range. */
static void clamp(problem *p, size_t outputs) {
    int32_t low = p->expected[0], high = low;
    for (size_t i = 0; i < outputs; i++) {
        low = p->expected[i] < low ? p->expected[i] : low;
        high = p->expected[i] > high ? p->expected[i] : high;
    }
    int32_t quarter = (high - low) / 4;
    p->lower = low += quarter;
    p->upper = high -= quarter;
    for (size_t i = 0; i < outputs; i++) {
        int32_t y = p->expected[i];
        p->expected[i] = y < low ? low : y > high ? high : y;
    }
}

int make_problem(const layer *l, problem *p) {
    size_t xs = x_size(l), ws = w_size(l), icg = l->ic / l->g, taps = (size_t)l->kh * l->kw;
    int32_t *x = malloc(xs * sizeof *x), *w = malloc(ws * sizeof *w), largest = largest_input(l);
    *p = (problem){malloc(xs * sizeof(float)), malloc(ws * sizeof(float)), malloc(l->oc * sizeof(float)), 0, 0,
                   malloc(y_size(l) * sizeof(int32_t))};
    int enough = x && w && p->x && p->w && p->bias && p->expected;
    if (enough) {
        uint32_t state = 20190704;
        for (size_t i = 0; i < xs; i++) p->x[placed(l, i, l->ih, l->iw, l->ic)] = x[i] = draw(&state, largest);
        for (size_t i = 0; i < ws; i++) {
            size_t oc = i / (taps * icg), tap = i / icg % taps, ic = i % icg;
            p->w[(oc * icg + ic) * taps + tap] = w[i] = draw(&state, largest);
        }
        for (int32_t i = 0; i < l->oc; i++) p->bias[i] = draw(&state, LARGEST_BIAS);
        convolve(l, x, w, p->bias, p->expected);
        clamp(p, y_size(l));
    }
    free(x);
    free(w);
    return enough;
}

void free_problem(problem *p) {
    free(p->x);
    free(p->w);
    free(p->bias);
    free(p->expected);
}

double largest_error(const layer *l, const problem *p, const float *y) {
    double largest = 0;
    for (size_t i = 0; i < y_size(l); i++) {
        double error = (double)y[placed(l, i, l->oh, l->ow, l->oc)] - p->expected[i];
        error = error < 0 ? -error : error;
        if (!(error <= largest)) largest = error;
        if (error != error) return error;
    }
    return largest;
}
