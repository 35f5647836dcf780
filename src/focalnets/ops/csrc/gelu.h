// GELU by the error function and its derivative, without divisions.
//
// With a = |x| and h(a) = Phi(-a), the upper tail of the normal distribution: gelu(x) = max(x, 0) - a h(a). The
// logarithm of h is nearly a parabola, so h(a) = 2^p(a) with a polynomial p; and phi(a) / h(a), the hazard rate, is
// nearly linear, so the derivative Phi(x) + x phi(x) needs only one polynomial more. Coefficients: weighted minimax
// fits on [0, 5.75], exact at 0; the derivative takes a finer p because there errors of h are multiplied by a times the
// hazard rate. Largest errors in float32 for |x| < 6.5: gelu 6e-7, derivative 1.5e-7; those of PyTorch's own are 1.2e-6
// and 2.7e-7. AVX-512 looks the coefficients of h itself up in registers instead, which takes two thirds of the time and
// leaves an error of 4e-8 besides the rounding of the result.
#pragma once

#include "vector.h"

namespace FOCAL_NAMESPACE {
namespace {

constexpr float largest_magnitude = 5.75f;  // beyond it a h(a) is below 3e-8

// 2^p for -120 < p <= 0.
FOCAL_INLINE Vector exp2_of(Vector p) {
  const float round_to_integer = 12582912.0f;  // 1.5 * 2^23: the sum's lowest mantissa bits are the rounded p
  const Vector rounded = p + round_to_integer;
  const Vector f = fraction(p, rounded - round_to_integer);
  Vector power = splat(1.326473033e-03f);
  power = power * f + 9.671513725e-03f;
  power = power * f + 5.550733746e-02f;
  power = power * f + 2.402224207e-01f;
  power = power * f + 6.931469776e-01f;
  power = power * f + 1.0f;
  return (Vector)((Integers)power + ((Integers)rounded << 23));
}

FOCAL_INLINE Vector upper_tail(Vector a) {
  Vector p = splat(1.264263746e-05f);
  p = p * a + -8.876481476e-05f;
  p = p * a + -3.121437330e-04f;
  p = p * a + 7.228094153e-03f;
  p = p * a + -5.257475694e-02f;
  p = p * a + -4.591913737e-01f;
  p = p * a + -1.151106351e+00f;
  p = p * a + -1.0f;
  return exp2_of(p);
}

FOCAL_INLINE Vector fine_upper_tail(Vector a) {
  Vector p = splat(-2.451496925e-06f);
  p = p * a + 3.527302196e-05f;
  p = p * a + -1.691268736e-04f;
  p = p * a + -1.719250149e-04f;
  p = p * a + 7.100738159e-03f;
  p = p * a + -5.251613609e-02f;
  p = p * a + -4.592034996e-01f;
  p = p * a + -1.151105548e+00f;
  p = p * a + -1.0f;
  return exp2_of(p);
}

FOCAL_INLINE Vector hazard_rate(Vector a) {
  Vector rate = splat(1.249662425e-05f);
  rate = rate * a + -1.572717711e-04f;
  rate = rate * a + 6.357790851e-04f;
  rate = rate * a + 7.581015577e-04f;
  rate = rate * a + -1.989033801e-02f;
  rate = rate * a + 1.093323095e-01f;
  rate = rate * a + 6.365552849e-01f;
  return rate * a + 7.978887398e-01f;
}

#if defined(__AVX512F__)
// h(a) for 0 <= a < 7.75 around the nearest multiple k / 2 of one half: the sum over n of coefficient n of column k times
// (a - k / 2)^n. Interpolation at the Chebyshev points of each interval.
alignas(64) constexpr float tail_coefficients[6][16] = {
    {5.000000000e-01f, 3.085375726e-01f, 1.586552709e-01f, 6.680719554e-02f,
     2.275012247e-02f, 6.209661253e-03f, 1.349898870e-03f, 2.326304530e-04f,
     3.167187606e-05f, 3.397844921e-06f, 2.866829618e-07f, 1.899362445e-08f,
     9.869701723e-10f, 4.018666303e-11f, 1.281201599e-12f, 3.196345911e-14f},
    {-3.989422619e-01f, -3.520653248e-01f, -2.419707328e-01f, -1.295175999e-01f,
     -5.399096385e-02f, -1.752829924e-02f, -4.431847949e-03f, -8.726828382e-04f,
     -1.338304137e-04f, -1.598381459e-05f, -1.486736323e-06f, -1.077001457e-07f,
     -6.076155579e-09f, -2.669768573e-10f, -9.135933329e-12f, -2.434838626e-13f},
    {6.672411515e-16f, 8.800965548e-02f, 1.209809557e-01f, 9.713960439e-02f,
     5.399391055e-02f, 2.191150934e-02f, 6.647537928e-03f, 1.526799984e-03f,
     2.674783464e-04f, 3.591395944e-05f, 3.707766837e-06f, 2.950000351e-07f,
     1.811763894e-08f, 8.599430057e-10f, 3.157236625e-11f, 8.972041859e-13f},
    {6.648779660e-02f, 4.400745034e-02f, 1.670495180e-06f, -2.698161267e-02f,
     -2.699573524e-02f, -1.533783693e-02f, -5.909318104e-03f, -1.636234228e-03f,
     -3.345196310e-04f, -5.125980533e-05f, -5.942047210e-06f, -5.242930570e-07f,
     -3.536419158e-08f, -1.829227325e-09f, -7.272889929e-11f, -2.226712304e-12f},
    {-1.891078982e-14f, -1.988475583e-02f, -1.997597702e-02f, -6.131651346e-03f,
     4.373463802e-03f, 5.885741673e-03f, 3.333987435e-03f, 1.194073702e-03f,
     2.977280819e-04f, 5.380196308e-05f, 7.197748346e-06f, 7.220785960e-07f,
     5.477987841e-08f, 3.161250595e-09f, 1.393664906e-10f, 4.708925957e-12f},
    {-9.863002226e-03f, -4.553670064e-03f, 3.961407579e-03f, 5.816644523e-03f,
     2.260428155e-03f, -6.419275887e-04f, -1.100006979e-03f, -5.805735709e-04f,
     -1.841734193e-04f, -3.974589345e-05f, -6.127639153e-06f, -6.921783324e-07f,
     -5.816239579e-08f, -3.671785098e-09f, -1.753608786e-10f, -6.368070567e-12f}};

// The same with polynomials of third degree: GELU is wrong by at most 1.2e-5 then.
alignas(64) constexpr float coarse_tail_coefficients[4][16] = {
    {5.000000000e-01f, 3.085472944e-01f, 1.586650384e-01f, 6.681018547e-02f,
     2.274797605e-02f, 6.206783552e-03f, 1.348271732e-03f, 2.320487747e-04f,
     3.152713207e-05f, 3.371746629e-06f, 2.831999286e-07f, 1.864512844e-08f,
     9.606072976e-10f, 3.866996460e-11f, 1.214554995e-12f, 2.971939144e-14f},
    {-3.989374465e-01f, -3.520630983e-01f, -2.419726704e-01f, -1.295204443e-01f,
     -5.399206850e-02f, -1.752798307e-02f, -4.431310001e-03f, -8.723995291e-04f,
     -1.337406855e-04f, -1.596448239e-05f, -1.483761102e-06f, -1.073647237e-07f,
     -6.048029945e-09f, -2.652052947e-10f, -9.051530847e-12f, -2.404267366e-13f},
    {-6.280764986e-16f, 8.676611538e-02f, 1.197319682e-01f, 9.675653451e-02f,
     5.426757704e-02f, 2.227949427e-02f, 6.855886260e-03f, 1.601385809e-03f,
     2.860660858e-04f, 3.927105934e-05f, 4.156614684e-06f, 3.399986492e-07f,
     2.152897630e-08f, 1.056653722e-09f, 4.023740006e-11f, 1.189723544e-12f},
    {6.587106996e-02f, 4.372276755e-02f, 2.494433325e-04f, -2.661793625e-02f,
     -2.685448577e-02f, -1.537802073e-02f, -5.978089172e-03f, -1.672515025e-03f,
     -3.460242755e-04f, -5.374154612e-05f, -6.324485527e-06f, -5.674721762e-07f,
     -3.899053189e-08f, -2.058027764e-09f, -8.364954012e-11f, -2.623028289e-12f}};

// h(a); unless null, `slope` becomes h'(a), by the same polynomial.
template <int degree>
FOCAL_INLINE Vector tabulated_upper_tail(Vector a, const float (&table)[degree + 1][16], Vector* slope = nullptr) {
  const float round_to_half = 6291456.0f;  // 1.5 * 2^22: the sum's lowest mantissa bits are k
  const Vector rounded = a + round_to_half;
  const Vector f = a - (rounded - round_to_half);
  const auto coefficients = [&](int n) __attribute__((always_inline)) {
    return (Vector)_mm512_permutexvar_ps((__m512i)rounded, _mm512_load_ps(table[n]));
  };
  Vector h = coefficients(degree), rise = {};
  FOCAL_UNROLL
  for (int n = degree - 1; n >= 0; --n) {
    rise = rise * f + h;
    h = h * f + coefficients(n);
  }
  if (slope) *slope = rise;
  return h;
}

FOCAL_INLINE Vector gelu(Vector x) {
  const Vector a = magnitude(x, 7.7f);
  return positive_part(x) - a * tabulated_upper_tail<5>(a, tail_coefficients);
}
FOCAL_INLINE Vector coarse_gelu(Vector x) {
  const Vector a = magnitude(x, 7.7f);
  return positive_part(x) - a * tabulated_upper_tail<3>(a, coarse_tail_coefficients);
}
#else
FOCAL_INLINE Vector gelu(Vector x) {
  const Vector a = magnitude(x, largest_magnitude);
  return positive_part(x) - a * upper_tail(a);
}
FOCAL_INLINE Vector coarse_gelu(Vector x) { return gelu(x); }
#endif

// As exact as maps of this type are.
template <class Element>
FOCAL_INLINE Vector gelu_for(Vector x) {
  if constexpr (sizeof(Element) == 2)
    return coarse_gelu(x);
  else
    return gelu(x);
}

FOCAL_INLINE Vector gelu_with_derivative(Vector x, Vector* derivative) {
  const Vector a = magnitude(x, largest_magnitude);
  const Vector h = fine_upper_tail(a);
  const Vector t = a * h;
  const Vector below = h - t * hazard_rate(a);  // the derivative at -a; at a it is 1 - below
  *derivative = x < 0.0f ? below : 1.0f - below;
  return positive_part(x) - t;
}

// As exact as maps of this type are: with AVX-512 the derivative for bfloat16 is wrong by at most 3.3e-6.
template <class Element>
FOCAL_INLINE Vector gelu_with_derivative_for(Vector x, Vector* derivative) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Element) == 2) {
    const Vector a = magnitude(x, 7.7f);
    Vector slope;
    const Vector h = tabulated_upper_tail<5>(a, tail_coefficients, &slope);
    const Vector below = slope * a + h;
    *derivative = x < 0.0f ? below : 1.0f - below;
    return positive_part(x) - a * h;
  }
#endif
  return gelu_with_derivative(x, derivative);
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
