// A small thread pool. Not OpenMP: torch brings its own OpenMP runtime, and a second one in the process would fight it.
//
// Tasks are handed out dynamically, so which thread runs which task varies. Callers make results independent of that by
// letting each task write its own memory and summing afterwards in a fixed order.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

class Pool {
 public:
  // The pool of this process. A forked child gets a fresh one: threads do not survive a fork.
  static Pool& instance();

  void set_threads(int count);
  int threads() const { return wanted_threads_.load(); }

  // Calls task(i) once for each i in [0, count), and returns when all are done. Runs serially if another thread is
  // using the pool at that moment. Tasks must not throw.
  template <class Task>
  void run(int count, Task&& task) {
    run_erased(
        count, [](void* context, int index) { (*static_cast<std::remove_reference_t<Task>*>(context))(index); }, &task);
  }

 private:
  using Function = void (*)(void* context, int index);
  void run_erased(int count, Function function, void* context);
  void resize(int threads);
  void work(unsigned seen_generation);
  void drain();

  std::vector<std::thread> workers_;
  std::mutex run_mutex_, sleep_mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> generation_{0};  // counts calls of run; a worker waits for it to change
  std::atomic<int> next_task_{0}, busy_workers_{0}, sleeping_workers_{0};
  std::atomic<int> wanted_threads_{1};
  std::atomic<bool> stop_{false};
  int task_count_ = 0;
  Function function_ = nullptr;
  void* context_ = nullptr;
};

template <class Task>
inline void parallel_for(int count, Task&& task) {
  Pool::instance().run(count, task);
}
