/* Scan of quantized codes in blocks of 32 rows, then exact distances of the candidates: a measurement of what codes can
 * save. A nibble is 4, 2 or 1 components of 1, 2 or 4 bits; byte i of a pair of nibbles belongs to row i of the
 * block. Tables of 16 entries of 7 bits are looked up with one byte shuffle for 32 rows. */
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 32, FLUSH = 128 };

typedef struct { float lower; int32_t row; } Candidate;
typedef struct { float distance; int32_t row; } Neighbour;

/* Sums of the table entries of 32 rows. */
static void block_sums(const uint8_t *codes, const uint8_t *tables, int64_t pairs, uint32_t *sums) {
    const __m256i low = _mm256_set1_epi8(0x0f);
    __m256i total[4];
    for (int at = 0; at < 4; at++) total[at] = _mm256_setzero_si256();
    for (int64_t first = 0; first < pairs; first += FLUSH) {
        const int64_t last = first + FLUSH < pairs ? first + FLUSH : pairs;
        __m256i both = _mm256_setzero_si256(), odd = both;
        for (int64_t pair = first; pair < last; pair++) {
            const __m256i byte = _mm256_loadu_si256((const __m256i *)(codes + BLOCK * pair));
            const __m256i one = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(tables + 32 * pair)));
            const __m256i two = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(tables + 32 * pair + 16)));
            const __m256i sum = _mm256_add_epi8(
                _mm256_shuffle_epi8(one, _mm256_and_si256(byte, low)),
                _mm256_shuffle_epi8(two, _mm256_and_si256(_mm256_srli_epi16(byte, 4), low)));
            both = _mm256_add_epi16(both, sum);
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16(sum, 8));
        }
        const __m256i even = _mm256_sub_epi16(both, _mm256_slli_epi16(odd, 8));
        const __m256i less = _mm256_unpacklo_epi16(even, odd), more = _mm256_unpackhi_epi16(even, odd);
        total[0] = _mm256_add_epi32(total[0], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(less)));
        total[1] = _mm256_add_epi32(total[1], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(more)));
        total[2] = _mm256_add_epi32(total[2], _mm256_cvtepu16_epi32(_mm256_extracti128_si256(less, 1)));
        total[3] = _mm256_add_epi32(total[3], _mm256_cvtepu16_epi32(_mm256_extracti128_si256(more, 1)));
    }
    for (int at = 0; at < 4; at++) _mm256_storeu_si256((__m256i *)(sums + 8 * at), total[at]);
}

/* The largest of the `take` smallest lower bounds; these come first. */
static float keep_smallest(Candidate *all, int64_t count, int64_t take) {
    int64_t left = 0, right = count - 1, wanted = take - 1;
    while (left < right) {
        const float pivot = all[(left + right) / 2].lower;
        int64_t up = left, down = right;
        while (up <= down) {
            while (all[up].lower < pivot) up++;
            while (all[down].lower > pivot) down--;
            if (up <= down) { const Candidate other = all[up]; all[up++] = all[down]; all[down--] = other; }
        }
        if (wanted <= down) right = down;
        else if (wanted >= up) left = up;
        else break;
    }
    return all[wanted].lower;
}

static int by_lower(const void *one, const void *other) {
    const float a = ((const Candidate *)one)->lower, b = ((const Candidate *)other)->lower;
    return (a > b) - (a < b);
}

static float squared(const float *a, const float *b, int64_t d) {
    __m256 sum = _mm256_setzero_ps(), more = sum;
    int64_t at = 0;
    for (; at + 16 <= d; at += 16) {
        const __m256 x = _mm256_sub_ps(_mm256_loadu_ps(a + at), _mm256_loadu_ps(b + at));
        const __m256 y = _mm256_sub_ps(_mm256_loadu_ps(a + at + 8), _mm256_loadu_ps(b + at + 8));
        sum = _mm256_fmadd_ps(x, x, sum);
        more = _mm256_fmadd_ps(y, y, more);
    }
    float parts[8], total = 0;
    _mm256_storeu_ps(parts, _mm256_add_ps(sum, more));
    for (int i = 0; i < 8; i++) total += parts[i];
    for (; at < d; at++) total += (a[at] - b[at]) * (a[at] - b[at]);
    return total;
}

/* Nearest k of the rows of some cells. Rows stand by cell, each cell begins a block: `blocks` (cells + 1) says which,
 * `rows` (cells) how many it has. `base`, `scale`, `error` are per row, padded like the blocks; `gaps` are the squared
 * distances of the query from the centroids of `probes`. Returns how many candidates were compared exactly, -1
 * where `take` was too small to prove the answer. */
int64_t codes_scan(const uint8_t *codes, int64_t pairs, const int64_t *blocks, const int64_t *rows, const float *base,
                   const float *scale, const float *error, const float *vectors, int64_t d, const float *query,
                   const uint8_t *tables, float step, float offset, const int32_t *probes, const float *gaps,
                   int64_t count, float width, int64_t take, int64_t k, Neighbour *nearest) {
    Candidate *found = malloc(sizeof *found * (4 * take + BLOCK));
    if (!found) return -2;
    const float rounding = step * sqrtf((float)pairs / 6);
    float threshold = INFINITY;
    int64_t held = 0;
    int dropped = 0;
    for (int64_t probe = 0; probe < count; probe++) {
        const int64_t cell = probes[probe];
        const float gap = gaps[probe], root = sqrtf(gap);
        for (int64_t block = blocks[cell], left = rows[cell]; left > 0; block++, left -= BLOCK) {
            uint32_t sums[BLOCK];
            float lower[BLOCK];
            block_sums(codes + block * pairs * BLOCK, tables, pairs, sums);
            const int64_t first = block * BLOCK;
            for (int i = 0; i < BLOCK; i++)
                lower[i] = base[first + i] + gap - 2 * scale[first + i] * (step * (float)(int32_t)sums[i] + offset) -
                           2 * width * (error[first + i] * root + scale[first + i] * rounding);
            int any = 0;
            for (int i = 0; i < BLOCK; i++) any |= lower[i] < threshold;
            if (!any) { dropped = 1; continue; }
            for (int i = 0; i < BLOCK && i < left; i++) {
                if (lower[i] < threshold) found[held++] = (Candidate){lower[i], (int32_t)(first + i)};
                else dropped = 1;
            }
            if (held >= 4 * take) { threshold = keep_smallest(found, held, take); held = take; dropped = 1; }
        }
    }
    if (held > take) { threshold = keep_smallest(found, held, take); held = take; dropped = 1; }
    qsort(found, held, sizeof *found, by_lower);
    int64_t kept = 0, at = 0;
    for (; at < held; at++) {
        if (kept == k && found[at].lower > nearest[k - 1].distance) break;
        const float distance = squared(vectors + (int64_t)found[at].row * d, query, d);
        if (kept == k && distance >= nearest[k - 1].distance) continue;
        int64_t place = kept < k ? kept++ : k - 1;
        for (; place > 0 && nearest[place - 1].distance > distance; place--) nearest[place] = nearest[place - 1];
        nearest[place] = (Neighbour){distance, found[at].row};
    }
    free(found);
    return at == held && dropped ? -1 : at;
}
