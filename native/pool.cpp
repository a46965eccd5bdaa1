#include "pool.hpp"

#include <system_error>
#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

// Never destroyed, so that a thread that still renders while the process exits finds it intact.
Pool* the_pool = nullptr;

#if !defined(_WIN32)
void replace_pool_in_child() {
  const int threads = the_pool->threads();
  the_pool = new Pool();  // the old one refers to threads that do not exist here, and perhaps to locked mutexes
  the_pool->set_threads(threads);
}
#endif

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// A worker that has just finished polls this often before it sleeps (about 0.1 ms): the phases of one render follow
// each other faster than a sleeping thread wakes.
constexpr int SPINS_BEFORE_SLEEP = 3000;

}  // namespace

Pool& Pool::instance() {
  static const bool made = [] {
    the_pool = new Pool();
#if !defined(_WIN32)
    pthread_atfork(nullptr, nullptr, replace_pool_in_child);
#endif
    return true;
  }();
  (void)made;
  return *the_pool;
}

void Pool::set_threads(int count) { wanted_threads_.store(count < 1 ? 1 : count); }

void Pool::run_erased(int count, Function function, void* context) {
  if (count <= 0) return;
  std::unique_lock<std::mutex> lock(run_mutex_, std::try_to_lock);
  if (lock.owns_lock()) resize(wanted_threads_.load());
  if (count == 1 || !lock.owns_lock() || workers_.empty()) {
    for (int i = 0; i < count; i++) function(context, i);
    return;
  }
  function_ = function;
  context_ = context;
  task_count_ = count;
  next_task_.store(0, std::memory_order_relaxed);
  busy_workers_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  {
    std::lock_guard<std::mutex> sleep_lock(sleep_mutex_);
    generation_.fetch_add(1, std::memory_order_release);
  }
  if (sleeping_workers_.load() > 0) wake_.notify_all();
  drain();
  for (int spins = 0; busy_workers_.load(std::memory_order_acquire);) {
    if (++spins < SPINS_BEFORE_SLEEP)
      relax();
    else
      std::this_thread::yield();
  }
}

void Pool::drain() {
  for (int i; (i = next_task_.fetch_add(1, std::memory_order_relaxed)) < task_count_;) function_(context_, i);
}

void Pool::resize(int threads) {
  if (threads - 1 == static_cast<int>(workers_.size())) return;
  {
    std::lock_guard<std::mutex> lock(sleep_mutex_);
    stop_.store(true);
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
  workers_.clear();
  stop_.store(false);
  const unsigned generation = generation_.load();
  try {
    for (int i = 1; i < threads; i++) workers_.emplace_back([this, generation] { work(generation); });
  } catch (const std::system_error&) {  // the system gives no more threads: do with those there are
    wanted_threads_.store(static_cast<int>(workers_.size()) + 1);
  }
}

void Pool::work(unsigned seen) {
  for (;;) {
    int spins = 0;
    while (generation_.load(std::memory_order_acquire) == seen) {
      if (++spins < SPINS_BEFORE_SLEEP) {
        relax();
        continue;
      }
      std::unique_lock<std::mutex> lock(sleep_mutex_);
      sleeping_workers_.fetch_add(1);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      sleeping_workers_.fetch_sub(1);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    drain();
    busy_workers_.fetch_sub(1, std::memory_order_release);
  }
}
