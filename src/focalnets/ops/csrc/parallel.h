// Memory and threads of one call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#if defined(_OPENMP)
#include <omp.h>
#else
#include <atomic>
#include <thread>
#include <vector>
#endif

#if defined(_WIN32)
#define FOCAL_EXPORT extern "C" __declspec(dllexport)
#else
#define FOCAL_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace focal {

enum Status { done = 0, out_of_memory = 1, unknown_instruction_set = 2, missing_instruction_set = 3 };

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Addresses are those of cache lines; `failed` once an allocation failed or there are more than fit.
class Memory {
 public:
  ~Memory() {
    for (int i = 0; i < count_; ++i) ::operator delete(blocks_[i], std::align_val_t(64));
  }

  float* floats(int64_t size) {
    void* block = nullptr;
    if (count_ < most)
      block = ::operator new(static_cast<size_t>(larger(size, 1)) * sizeof(float), std::align_val_t(64), std::nothrow);
    if (!block)
      failed = true;
    else
      blocks_[count_++] = block;
    return static_cast<float*>(block);
  }

  bool failed = false;

 private:
  static constexpr int most = 16;
  void* blocks_[most];
  int count_ = 0;
};

// Runs tasks 0 .. count - 1; run(task, thread).
template <class Run>
void in_parallel(int64_t threads, int64_t count, const Run& run) {
  threads = smaller(threads, count);
  if (threads <= 1) {
    for (int64_t task = 0; task < count; ++task) run(task, 0);
    return;
  }
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(threads))
  for (int64_t task = 0; task < count; ++task) run(task, omp_get_thread_num());
#else
  std::atomic<int64_t> next{0};
  const auto work = [&](int64_t thread) {
    for (int64_t task = next++; task < count; task = next++) run(task, thread);
  };
  std::vector<std::thread> others;
  for (int64_t thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (auto& other : others) other.join();
#endif
}

}  // namespace focal
