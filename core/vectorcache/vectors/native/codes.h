/* Lower bounds of distances for blocks of codes, and the tables of a query. See vectorcache/vectors/codes.py.
 *
 * A code is a sequence of nibbles. A query has a table of 16 inner products, 7 bits each, for each nibble. One byte
 * shuffle looks up a nibble of 16, 32 or 64 bytes at once (fast scan: Andre et al. 2015). A block has 32 rows: the
 * base, scale and error of each row (float32), and then, for each byte of a code, that byte of the 32 rows.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK_ROWS = 32, FACTORS = 3, FLUSH = 256, ENTRIES = 16, LARGEST_ENTRY = 127 };

struct coding {
    int64_t bits, width; /* bits per component, bytes of a code */
    int64_t size;        /* number of components that a round of the rotation transforms */
    const float *centre; /* (d) */
    const float *signs;  /* (rounds, d) */
    int64_t rounds;
    double deviations; /* distance of the lower bound from the estimate, in standard errors */
};

/* Tables of one query: for each byte of a code, 16 entries for the lower nibble, then 16 for the upper. */
struct tables {
    uint8_t *entries;
    float step, offset; /* the inner product is step * sum + offset */
    float rounding;     /* standard error of the inner product, because entries are rounded */
};

/* Terms of the lower bound of a row: base + below - scale * (step * sum + offset) - error * root. Rows whose bound is
 * below the limit are candidates. */
struct terms {
    float below, step, offset, root, limit;
};

/* Computes the lower bounds of a block's rows. Returns a mask of the rows whose bound is below the limit. */
typedef uint32_t block_bounds(const uint8_t *block, const uint8_t *tables, int64_t width, const struct terms *terms,
                              float *bounds);

enum { FACTOR_BYTES = FACTORS * BLOCK_ROWS * sizeof(float) };

/* Prefetches the bytes of the next block at the offset of these codes. The hardware prefetcher does not cross pages, so
 * a scan without prefetches waits for memory most of the time. */
static inline void prefetch_next_block(const uint8_t *codes, int64_t width)
{
    __builtin_prefetch(codes + FACTOR_BYTES + BLOCK_ROWS * width);
}

/* The sum of the entries of both nibbles fits into a byte. Two bytes are added as one word. The sum of words is the sum
 * of the even bytes plus 256 times that of the odd bytes. The sum of the odd bytes is also computed separately and is
 * subtracted in the end. FLUSH additions do not overflow the sums of even and odd bytes. */
#if defined(__GNUC__) && !defined(__clang__)
typedef uint8_t bytes16 __attribute__((vector_size(16), aligned(1)));
typedef uint16_t words8 __attribute__((vector_size(16), aligned(1)));

static void block_sums_16(const uint8_t *codes, const uint8_t *tables, int64_t width, int32_t *sums)
{
    memset(sums, 0, sizeof(int32_t) * BLOCK_ROWS);
    for (int64_t first = 0; first < width; first += FLUSH) {
        int64_t last = first + FLUSH < width ? first + FLUSH : width;
        for (int half = 0; half < BLOCK_ROWS; half += 16) {
            words8 both = {0}, odd = {0};
            for (int64_t at = first; at < last; at++) {
                bytes16 code = *(const bytes16 *)(codes + BLOCK_ROWS * at + half);
                bytes16 lower = *(const bytes16 *)(tables + 2 * ENTRIES * at);
                bytes16 upper = *(const bytes16 *)(tables + 2 * ENTRIES * at + ENTRIES);
                words8 sum = (words8)(__builtin_shuffle(lower, code & 15) + __builtin_shuffle(upper, code >> 4));
                both += sum;
                odd += sum >> 8;
            }
            words8 even = both - (odd << 8);
            for (int i = 0; i < 8; i++) {
                sums[half + 2 * i] += even[i];
                sums[half + 2 * i + 1] += odd[i];
            }
        }
    }
}
#else
static void block_sums_16(const uint8_t *codes, const uint8_t *tables, int64_t width, int32_t *sums)
{
    memset(sums, 0, sizeof(int32_t) * BLOCK_ROWS);
    for (int64_t at = 0; at < width; at++)
        for (int i = 0; i < BLOCK_ROWS; i++) {
            uint8_t code = codes[BLOCK_ROWS * at + i];
            sums[i] += tables[2 * ENTRIES * at + (code & 15)] + tables[2 * ENTRIES * at + ENTRIES + (code >> 4)];
        }
}
#endif

static uint32_t block_bounds_16(const uint8_t *block, const uint8_t *tables, int64_t width, const struct terms *terms,
                                float *bounds)
{
    const float *base = (const float *)block, *scale = base + BLOCK_ROWS, *error = scale + BLOCK_ROWS;
    int32_t sums[BLOCK_ROWS];
    uint32_t lower = 0;
    block_sums_16(block + FACTOR_BYTES, tables, width, sums);
    for (int i = 0; i < BLOCK_ROWS; i++)
        bounds[i] = base[i] + terms->below - scale[i] * (terms->step * (float)sums[i] + terms->offset)
            - error[i] * terms->root;
    for (int i = 0; i < BLOCK_ROWS; i++)
        lower |= (uint32_t)(bounds[i] < terms->limit) << i;
    return lower;
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(VECTORCACHE_PORTABLE)
#include <immintrin.h>

enum { PARTS = BLOCK_ROWS / 8 };

/* Adds the sums of 32 rows, given as words of the even and the odd rows, to the totals in the order of the rows. */
__attribute__((target("avx2"))) static inline void add_words(__m256i *total, __m256i even, __m256i odd)
{
    __m256i less = _mm256_unpacklo_epi16(even, odd), more = _mm256_unpackhi_epi16(even, odd);
    total[0] = _mm256_add_epi32(total[0], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(less)));
    total[1] = _mm256_add_epi32(total[1], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(more)));
    total[2] = _mm256_add_epi32(total[2], _mm256_cvtepu16_epi32(_mm256_extracti128_si256(less, 1)));
    total[3] = _mm256_add_epi32(total[3], _mm256_cvtepu16_epi32(_mm256_extracti128_si256(more, 1)));
}

/* Adds the sums of 32 rows to the totals. */
__attribute__((target("avx2"))) static inline void block_sums_32(const uint8_t *codes, const uint8_t *tables,
                                                                 int64_t width, __m256i *total)
{
    const __m256i low = _mm256_set1_epi8(15);
    for (int64_t first = 0; first < width; first += FLUSH) {
        int64_t last = first + FLUSH < width ? first + FLUSH : width;
        __m256i both = _mm256_setzero_si256(), odd = both;
        for (int64_t at = first; at < last; at++) {
            prefetch_next_block(codes + BLOCK_ROWS * at, width);
            __m256i code = _mm256_loadu_si256((const __m256i *)(codes + BLOCK_ROWS * at));
            const __m128i *pair = (const __m128i *)(tables + 2 * ENTRIES * at);
            __m256i lower = _mm256_broadcastsi128_si256(_mm_loadu_si128(pair));
            __m256i upper = _mm256_broadcastsi128_si256(_mm_loadu_si128(pair + 1));
            __m256i sum = _mm256_add_epi8(
                _mm256_shuffle_epi8(lower, _mm256_and_si256(code, low)),
                _mm256_shuffle_epi8(upper, _mm256_and_si256(_mm256_srli_epi16(code, 4), low)));
            both = _mm256_add_epi16(both, sum);
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16(sum, 8));
        }
        add_words(total, _mm256_sub_epi16(both, _mm256_slli_epi16(odd, 8)), odd);
    }
}

__attribute__((target("avx2"))) static uint32_t block_bounds_32(const uint8_t *block, const uint8_t *tables,
                                                                int64_t width, const struct terms *terms,
                                                                float *bounds)
{
    const float *base = (const float *)block, *scale = base + BLOCK_ROWS, *error = scale + BLOCK_ROWS;
    __m256 below = _mm256_set1_ps(terms->below), step = _mm256_set1_ps(terms->step);
    __m256 offset = _mm256_set1_ps(terms->offset), root = _mm256_set1_ps(terms->root);
    __m256 limit = _mm256_set1_ps(terms->limit);
    __m256i total[PARTS];
    uint32_t lower = 0;
    for (int part = 0; part < PARTS; part++)
        total[part] = _mm256_setzero_si256();
    block_sums_32(block + FACTOR_BYTES, tables, width, total);
    for (int i = 0; i < BLOCK_ROWS; i += 8) {
        __m256 product = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(total[i / 8]), step), offset);
        __m256 bound = _mm256_add_ps(_mm256_loadu_ps(base + i), below);
        bound = _mm256_sub_ps(bound, _mm256_mul_ps(_mm256_loadu_ps(scale + i), product));
        bound = _mm256_sub_ps(bound, _mm256_mul_ps(_mm256_loadu_ps(error + i), root));
        _mm256_storeu_ps(bounds + i, bound);
        lower |= (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(bound, limit, _CMP_LT_OQ)) << i;
    }
    return lower;
}

/* Adds the sums of 32 rows to the totals. Looks up two bytes of each row at once, each byte in its own tables. */
__attribute__((target("avx512bw"))) static inline void block_sums_64(const uint8_t *codes, const uint8_t *tables,
                                                                     int64_t width, __m256i *total)
{
    const __m512i low = _mm512_set1_epi8(15);
    int64_t pairs = width / 2;
    for (int64_t first = 0; first < pairs; first += FLUSH) {
        int64_t last = first + FLUSH < pairs ? first + FLUSH : pairs;
        __m512i both = _mm512_setzero_si512(), odd = both;
        for (int64_t at = first; at < last; at++) {
            prefetch_next_block(codes + 2 * BLOCK_ROWS * at, width);
            __m512i code = _mm512_loadu_si512(codes + 2 * BLOCK_ROWS * at);
            /* 16 entries each for the lower and upper nibble of the first byte, then those of the second byte. */
            __m512i four = _mm512_loadu_si512(tables + 4 * ENTRIES * at);
            __m512i lower = _mm512_shuffle_i64x2(four, four, 0xA0), upper = _mm512_shuffle_i64x2(four, four, 0xF5);
            __m512i sum = _mm512_add_epi8(
                _mm512_shuffle_epi8(lower, _mm512_and_si512(code, low)),
                _mm512_shuffle_epi8(upper, _mm512_and_si512(_mm512_srli_epi16(code, 4), low)));
            both = _mm512_add_epi16(both, sum);
            odd = _mm512_add_epi16(odd, _mm512_srli_epi16(sum, 8));
        }
        __m512i even = _mm512_sub_epi16(both, _mm512_slli_epi16(odd, 8));
        add_words(total, _mm512_castsi512_si256(even), _mm512_castsi512_si256(odd));
        add_words(total, _mm512_extracti64x4_epi64(even, 1), _mm512_extracti64x4_epi64(odd, 1));
    }
    if (width % 2)
        block_sums_32(codes + BLOCK_ROWS * (width - 1), tables + 2 * ENTRIES * (width - 1), 1, total);
}

__attribute__((target("avx512bw"))) static uint32_t block_bounds_64(const uint8_t *block, const uint8_t *tables,
                                                                    int64_t width, const struct terms *terms,
                                                                    float *bounds)
{
    const float *base = (const float *)block, *scale = base + BLOCK_ROWS, *error = scale + BLOCK_ROWS;
    __m512 below = _mm512_set1_ps(terms->below), step = _mm512_set1_ps(terms->step);
    __m512 offset = _mm512_set1_ps(terms->offset), root = _mm512_set1_ps(terms->root);
    __m512 limit = _mm512_set1_ps(terms->limit);
    __m256i total[PARTS];
    uint32_t lower = 0;
    for (int part = 0; part < PARTS; part++)
        total[part] = _mm256_setzero_si256();
    block_sums_64(block + FACTOR_BYTES, tables, width, total);
    for (int i = 0; i < BLOCK_ROWS; i += 16) {
        __m512i sums = _mm512_inserti64x4(_mm512_castsi256_si512(total[i / 8]), total[i / 8 + 1], 1);
        __m512 product = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), step), offset);
        __m512 bound = _mm512_add_ps(_mm512_loadu_ps(base + i), below);
        bound = _mm512_sub_ps(bound, _mm512_mul_ps(_mm512_loadu_ps(scale + i), product));
        bound = _mm512_sub_ps(bound, _mm512_mul_ps(_mm512_loadu_ps(error + i), root));
        _mm512_storeu_ps(bounds + i, bound);
        lower |= (uint32_t)_mm512_cmp_ps_mask(bound, limit, _CMP_LT_OQ) << i;
    }
    return lower;
}

static block_bounds *best_block_bounds(void)
{
    if (__builtin_cpu_supports("avx512bw"))
        return block_bounds_64;
    return __builtin_cpu_supports("avx2") ? block_bounds_32 : block_bounds_16;
}
#else
static block_bounds *best_block_bounds(void)
{
    return block_bounds_16;
}
#endif

static const float LEVELS_1[] = {-0.7979f, 0.7979f};
static const float LEVELS_2[] = {-1.5104f, -0.4528f, 0.4528f, 1.5104f};
static const float LEVELS_4[] = {-2.7326f, -2.0690f, -1.6181f, -1.2562f, -0.9424f, -0.6568f, -0.3881f, -0.1284f,
                                 0.1284f,  0.3881f,  0.6568f,  0.9424f,  1.2562f,  1.6181f,  2.0690f,  2.7326f};

/* Walsh-Hadamard transform of size components, a power of two, in place. It preserves the norm. */
INLINE void hadamard(float *values, int64_t size)
{
    for (int64_t half = 1; half < size; half *= 2)
        for (int64_t first = 0; first < size; first += 2 * half)
            for (int64_t i = first; i < first + half; i++) {
                float a = values[i], b = values[i + half];
                values[i] = a + b;
                values[i + half] = a - b;
            }
    float scale = 1.0f / sqrtf((float)size);
    for (int64_t i = 0; i < size; i++)
        values[i] *= scale;
}

/* vectorcache.vectors.codes.rotated, in place. */
INLINE void rotate(float *values, int64_t d, const struct coding *coding)
{
    for (int64_t round = 0; round < coding->rounds; round++) {
        for (int64_t i = 0; i < d; i++)
            values[i] *= coding->signs[round * d + i];
        hadamard(round % 2 ? values + d - coding->size : values, coding->size);
    }
}

/* Makes the tables of a rotated query, whose values are padded with zeros to the full width. The products of a nibble
 * are symmetric about zero, from -reach to reach. */
INLINE void make_tables(struct tables *tables, const float *rotated, const struct coding *coding)
{
    const float *levels = coding->bits == 1 ? LEVELS_1 : coding->bits == 2 ? LEVELS_2 : LEVELS_4;
    int64_t components = 4 / coding->bits, count = 1 << coding->bits, mask = count - 1;
    float largest = levels[count - 1], farthest = 0;
    tables->offset = 0;
    for (int64_t nibble = 0; nibble < 2 * coding->width; nibble++) {
        float reach = 0;
        for (int64_t i = 0; i < components; i++)
            reach += fabsf(rotated[nibble * components + i]) * largest;
        tables->offset -= reach;
        farthest = reach > farthest ? reach : farthest;
    }
    tables->step = farthest > FLT_MIN * LARGEST_ENTRY ? 2 * farthest / LARGEST_ENTRY : 1.0f;
    tables->rounding = tables->step * sqrtf((float)coding->width / 6);
    float inverse = 1.0f / tables->step;
    float of_entry[4][ENTRIES];
    for (int64_t i = 0; i < components; i++)
        for (int64_t entry = 0; entry < ENTRIES; entry++)
            of_entry[i][entry] = levels[(entry >> (coding->bits * i)) & mask] * inverse;
    for (int64_t nibble = 0; nibble < 2 * coding->width; nibble++) {
        float products[ENTRIES], reach = 0;
        for (int64_t entry = 0; entry < ENTRIES; entry++)
            products[entry] = 0.5f; /* rounds to the nearest integer */
        for (int64_t i = 0; i < components; i++) {
            float value = rotated[nibble * components + i];
            reach += fabsf(value) * largest * inverse;
            for (int64_t entry = 0; entry < ENTRIES; entry++)
                products[entry] += of_entry[i][entry] * value;
        }
        for (int64_t entry = 0; entry < ENTRIES; entry++) {
            float value = products[entry] + reach;
            tables->entries[nibble * ENTRIES + entry] = (uint8_t)(value > 0 ? (int32_t)value : 0);
        }
    }
}
