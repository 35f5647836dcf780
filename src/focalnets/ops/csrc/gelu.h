// GELU by the error function and its derivative, without divisions.
//
// With a = |x| and h(a) = Phi(-a), the upper tail of the normal distribution: gelu(x) = max(x, 0) - a h(a). The
// logarithm of h is nearly a parabola, so h(a) = 2^p(a) with a polynomial p; and phi(a) / h(a), the hazard rate, is
// nearly linear, so the derivative Phi(x) + x phi(x) needs only one polynomial more. Coefficients: weighted minimax
// fits on [0, 5.75], exact at 0; the derivative takes a finer p because there errors of h are multiplied by a times the
// hazard rate. Largest errors in float32 for |x| < 6.5: gelu 6e-7, derivative 1.5e-7; those of PyTorch's own are 1.2e-6
// and 2.7e-7.
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

FOCAL_INLINE Vector gelu(Vector x) {
  const Vector a = magnitude(x, largest_magnitude);
  return positive_part(x) - a * upper_tail(a);
}

FOCAL_INLINE Vector gelu_with_derivative(Vector x, Vector* derivative) {
  const Vector a = magnitude(x, largest_magnitude);
  const Vector h = fine_upper_tail(a);
  const Vector t = a * h;
  const Vector below = h - t * hazard_rate(a);  // the derivative at -a; at a it is 1 - below
  *derivative = x < 0.0f ? below : 1.0f - below;
  return positive_part(x) - t;
}

}  // namespace
}  // namespace FOCAL_NAMESPACE
